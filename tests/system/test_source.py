# SPDX-License-Identifier: Apache-2.0
"""Sources that fail or are stopped: what processes and nodes know of them together."""
import contextlib
import http.server
import json
import threading
import time
import urllib.error
import urllib.request

import pytest

from harness import Daemon, Sim, poll
from test_worker import POST

SOURCE = "rapidapi-arraybobo"
FIRST_S = 0.5
SETTINGS = f"breaker: {{{{failures: 3, first: {FIRST_S}s, cap: 1s}}}}\nlimits: {{{{max_hold: {{}}}}}}\n"
FLOWS = f"  {POST}: {{workers: 2, concurrency: 5, attempts: 50, sources: [{SOURCE}]}}"


class Upstream:
    """The simulator behind a door that, while shut, answers 503 after a while; it knows who asked when."""

    def __init__(self, folder):
        self.sim = Sim(folder)
        self.shut = False
        self.asked = []		# (node, begun, ended), of those that found it shut
        self.passed = 0
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                begun = time.monotonic()
                _, node, path = self.path.split("/", 2)
                if upstream.shut:
                    time.sleep(0.2)		# two at once would meet
                    upstream.asked.append((node, begun, time.monotonic()))
                    self.answer(503, b"{}")
                    return
                upstream.passed += 1
                request = urllib.request.Request(f"{upstream.sim.url}/{path}", headers=dict(self.headers))
                try:
                    with urllib.request.urlopen(request, timeout=30) as answer:
                        self.answer(answer.status, answer.read())
                except urllib.error.HTTPError as refused:
                    self.answer(refused.code, refused.read())

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def url(self, node):
        return f"http://127.0.0.1:{self.server.server_port}/{node}"

    def posts(self, count):
        with urllib.request.urlopen(f"{self.sim.url}/_sim/keys?kind=post&count={count}", timeout=30) as answer:
            return json.load(answer)

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.sim.stop()


class Node(Daemon):
    def __init__(self, folder, upstream, hold="5s", **options):
        folder.mkdir()
        super().__init__(folder, upstream.url(folder.name), mode="processes", flows=FLOWS,
                         extra=SETTINGS.format(hold), **options)
        self.environment["SLUICE_CHDB"] = "/nowhere/libchdb.so"

    def begin(self):
        """The sinks have no warehouse and are never ready."""
        self.start(ready=False)
        poll("the workers", lambda: self.alive() and len(self.workers("ready")) == 2)
        return self

    def workers(self, state):
        roles = (self.status() or {}).get("roles", [])
        return [role for role in roles if role["role"] == "worker" and role["state"] == state]

    def add(self, codes):
        path = f"{self.folder}/tasks"
        with open(path, "w") as file:
            file.writelines(json.dumps({"shortcode": code}) + "\n" for code in codes)
        self.ctl("submit", POST, "--file", path)

    def sources(self):
        """What is not in order."""
        return {row["source"]: row for row in json.loads(self.ctl("source", "list", "--json").stdout)
                if row["state"] != "closed"}

    def told(self, text):
        """How many of its workers' lines say so."""
        with open(self.log, errors="replace") as log:
            return sum(text in line for line in log)


@pytest.fixture
def upstream(tmp_path):
    with contextlib.closing(Upstream(tmp_path)) as made:
        yield made


@contextlib.contextmanager
def running(*nodes):
    try:
        yield [node.begin() for node in nodes]
    finally:
        for node in nodes:
            node.stop()


def watch(upstream, count):
    """One at a time tries, after its pause: what came since all knew that the source fails."""
    time.sleep(1)		# whoever was under way
    first = len(upstream.asked)
    poll("some to try", lambda: len(upstream.asked) >= first + count)
    tried = sorted(upstream.asked[first:], key=lambda one: one[1])
    gaps = [after[1] - before[2] for before, after in zip(tried, tried[1:])]
    print("tried by", [one[0] for one in tried], "pauses", [round(gap, 2) for gap in gaps])
    assert all(gap >= FIRST_S * 0.95 for gap in gaps), tried


def finished(node, count):
    flows = json.loads(node.ctl("status", "--json").stdout)["flows"]
    return sum(flow["complete"] for flow in flows) == count


def test_two_processes_try_one_at_a_time(tmp_path, upstream):
    upstream.shut = True
    with running(Node(tmp_path / "one", upstream)) as (node,):
        node.add(upstream.posts(20))
        poll("both workers to know", lambda: node.told("breaker open:") >= 2)
        watch(upstream, 5)
        row = node.sources()[SOURCE]
        assert row["state"] in ("open", "half-open") and row["failures"] > 3 and row["reason"] == "HTTP 503"
        assert row["since"] and row["node"]
        shown = node.ctl("status").stdout
        assert f"source {SOURCE} fails: its breaker is" in shown and "sluice_breakers_open " in shown
        upstream.shut = False
        poll("all tasks to end", lambda: finished(node, 20))
        assert node.sources() == {}
        poll("both workers to know", lambda: node.told("breaker closed:") >= 2)
        # By command, too.
        upstream.shut = True
        node.add(upstream.posts(30)[20:])
        poll("the breaker to open", lambda: SOURCE in node.sources())
        upstream.shut = False
        node.ctl("source", "start", SOURCE)
        assert node.sources() == {}
        poll("all tasks to end", lambda: finished(node, 30))


def test_two_nodes(tmp_path, upstream, postgres):
    url = postgres.create_database("sources")
    upstream.shut = True
    one, other = (Node(tmp_path / name, upstream, "1s", tasks=url) for name in ("one", "other"))
    with running(one, other):
        one.add(upstream.posts(20))
        poll("all workers to know", lambda: one.told("breaker open:") >= 2 and other.told("breaker open:") >= 2)
        watch(upstream, 5)
        assert other.sources()[SOURCE]["state"] in ("open", "half-open")
        upstream.shut = False
        poll("all tasks to end", lambda: finished(one, 20))
        assert other.sources() == {}

        # Stopped on one node: on all, and after a restart.
        one.ctl("source", "stop", SOURCE, "--reason", "the invoice")
        poll("all workers to know", lambda: all(node.told("source stopped by command") == 2 for node in (one, other)))
        assert other.stop() == 0
        other.begin()
        assert other.sources()[SOURCE]["state"] == "stopped" and other.sources()[SOURCE]["reason"] == "the invoice"
        assert f"source {SOURCE} is stopped by command: the invoice" in other.ctl("status").stdout
        passed = upstream.passed
        other.add(upstream.posts(30)[20:])
        poll("the tasks to be put back", lambda: postgres.sql(
            "SELECT count(*) FROM scrape_request_log WHERE run_after IS NOT NULL", "sources") != ["0"])
        assert upstream.passed == passed
        # By a node that does not run.
        assert one.stop() == 0
        one.ctl("source", "start", SOURCE)
        poll("all tasks to end", lambda: finished(other, 30))
        assert other.sources() == {}


def test_without_the_store_each_goes_on(tmp_path, upstream, postgres):
    """Calls that wait for a source that fails do not wait for a store that is away as well."""
    upstream.shut = True
    with running(Node(tmp_path / "one", upstream, "10m", tasks=postgres.create_database("away"))) as (node,):
        node.add(upstream.posts(10))
        poll("both workers to know", lambda: node.told("breaker open:") >= 2)
        postgres.kill()
        try:
            asked = len(upstream.asked)
            poll("some to try", lambda: len(upstream.asked) >= asked + 2)
            upstream.shut = False
            passed = upstream.passed
            poll("the breaker to close", lambda: upstream.passed > passed)
        finally:
            postgres.start()
        poll("all tasks to end", lambda: finished(node, 10))
        poll("the store to hear of it", lambda: node.sources() == {})
