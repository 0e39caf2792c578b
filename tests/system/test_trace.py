# SPDX-License-Identifier: Apache-2.0
"""Traces: one row for every request that the simulator saw, whatever became of it, and no secret in any."""
import collections
import json
import os
import socket

import pytest

import harness
from harness import Daemon, Sim

SECRETS = {"graphapi": "graph-S3cr&t/42", "rapidapi-arraybobo": "bobo-S3cret-42", "ytapitoken": "tube=S3cret+42",
           "shopify": "shop\"S3cret\"42"}
QUICK = """\
http: {timeout: 2s}
calls: {retries: 1}
restart: {first: 200ms, cap: 2s}
"""
FLOWS = "\n".join(f"  {flow}: {{workers: 1, concurrency: 10, attempts: 1}}" for flow in harness.FLOWS)


@pytest.fixture
def run(tmp_path):
    """run(*faults, extra=…, source=…): a running daemon whose sinks take the traces, and what its simulator saw."""
    started = []

    def make(*faults, extra="", source=""):
        sim = Sim(tmp_path, *(word for fault in faults for word in ("--fault", fault)))
        started.append(sim)
        text = harness.CONFIG.format(
            mode="single", sim=sim.url, extra=QUICK + extra, flows=FLOWS, warehouse="chdb:${STATE}/warehouse",
            sink="", tasks="sqlite:${STATE}/sluice.db", bus="direct", limits="local") + "  trace_log_events: {}\n"
        for name, member in (("graphapi", "token: t"), ("rapidapi-arraybobo", "X-RapidAPI-Key: k"),
                             ("ytapitoken", "key: k"), ("shopify", "X-Shopify-Access-Token: k")):
            lines = text.split("\n")
            at = next(i for i, line in enumerate(lines) if line.startswith(f"  {name}:"))
            lines[at] = lines[at].replace(member, f"{member[:-1]}'{SECRETS[name]}'")
            if name == source:
                lines[at] = lines[at][:-1] + ", trace: 0}"
            text = "\n".join(lines)
        config = os.path.join(tmp_path, "flows.yaml")
        with open(config, "w") as out:
            out.write(text)
        daemon = Daemon(tmp_path, sim.url, config=config)
        started.append(daemon)
        daemon.start()

        def seen():
            daemon.wait_idle()
            sim.stop()
            started.remove(sim)
            with open(os.path.join(tmp_path, "sim.log")) as log:
                return [json.loads(line) for line in log]
        return daemon, seen

    yield make
    for one in reversed(started):
        one.stop()


def submit(daemon, count=6):
    """Tasks whose sources take their credential in the query and in headers, one of them bound to a handle."""
    daemon.submit("refresh_profile_basic", "handle=user_{i}", "profile_id=null", count=count)
    daemon.submit("refresh_yt_profiles", 'channel_ids=["UCnobody0000000000000000"]')
    daemon.submit("refresh_orders_by_store", "store=shop-{i}.example", count=2)


def rows(daemon):
    columns = ["id", "host_name", "service_name", "timestamp", "time_taken", "method", "uri", "headers", "response_status",
               "remote_address", "only_request", "request_body", "response_body"]
    Row = collections.namedtuple("Row", columns)
    return [Row(*row) for row in daemon.sql(f"SELECT {', '.join(columns)} FROM trace_log_events")]


def test_every_request_is_traced_and_no_secret_is(run):
    daemon, seen = run("source=graphapi,key=user_1,status=500", "source=graphapi,key=user_2,status=401",
                       "source=rapidapi-arraybobo,slow=6000", "source=graphapi,key=user_3,cut=10",
                       "source=rapidapi-jotucker,badjson", extra="trace: {body: 16KiB}\n")
    submit(daemon)
    requests = seen()
    traces = rows(daemon)
    assert len(requests) > 10 and len(traces) == len(requests)
    assert len({row.id for row in traces}) == len(traces)
    assert {row.host_name for row in traces} == {socket.gethostname()}
    assert {row.service_name for row in traces} == {"beat"}
    # What got no answer, for it was cut off or too slow, has status 0 and took its time.
    unanswered = [row for row in traces if int(row.response_status) == 0]
    slow = [row for row in unanswered if "/arraybobo/" in row.uri]
    assert slow and all(int(row.time_taken) >= 1 for row in slow)
    assert [row for row in unanswered if "/graphapi/" in row.uri]
    for status in (401, 500):
        wanted = sum(request["status"] == status for request in requests)
        assert wanted > 0 and sum(int(row.response_status) == status for row in traces) == wanted
    answered = [row for row in traces if int(row.response_status) != 0]
    assert {row.remote_address for row in answered} == {"127.0.0.1"}
    assert any(row.response_body.startswith("{") for row in answered)
    # Where the secrets were, there is something else.
    assert any("access_token=***" in row.uri for row in traces) and any("key=***" in row.uri for row in traces)
    assert any('"X-Shopify-Access-Token":"***"' in row.headers for row in traces)
    assert not [row for row in traces if "S3cr" in "".join(map(str, row))]


def test_a_failed_task_leaves_its_traces(run):
    daemon, seen = run("status=500", extra="trace: {sample: 1}\n")
    daemon.submit("refresh_orders_by_store", "store=shop-{i}.example", count=3)
    requests = seen()
    assert daemon.statuses() == {"FAILED": 3}
    traces = rows(daemon)
    assert len(traces) == len(requests) == 6
    assert {int(row.response_status) for row in traces} == {500}
    assert {row.response_body for row in traces} == {""}


def test_a_sample_is_drawn(run):
    daemon, seen = run(extra="trace: {sample: 0.5, service: scraper}\n", source="shopify")
    daemon.submit("refresh_profile_basic", "handle=user_{i}", "profile_id=null", count=200)
    daemon.submit("refresh_orders_by_store", "store=shop-{i}.example", count=5)
    requests = seen()
    drawn = rows(daemon)
    asked = sum(request["source"] != "shopify" for request in requests)
    assert asked >= 200 and len(requests) > asked
    # Half of 200 with a deviation of 7: nobody lives to see 50.
    assert asked / 4 < len(drawn) < asked * 3 / 4
    assert not [row for row in drawn if "/shopify/" in row.uri] and {row.service_name for row in drawn} == {"scraper"}
