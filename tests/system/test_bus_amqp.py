# SPDX-License-Identifier: Apache-2.0
"""The RabbitMQ bus: the contract of every bus, its own cases, and a broker that fails."""
import os
import re
import subprocess
import time

import pytest

import servers
from harness import BUILD, DEADLINE, poll

pytestmark = [pytest.mark.skipif(not os.environ.get("SLUICE_BROKER_TESTS"),
                                 reason="several minutes, and nothing uses the driver yet: set SLUICE_BROKER_TESTS=1")]


def run(program, *arguments):
    done = subprocess.run([os.path.join(BUILD, *program.split("/")), *arguments], text=True, timeout=DEADLINE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.split("\n") if "OK ]" not in line)
    return done.stdout


@pytest.mark.parametrize("queues", ["classic", "quorum"])
def test_contract(rabbitmq, queues):
    run("tests/contract/bus_test", rabbitmq.url(f"?queues={queues}"))


class Flow:
    """Messages from a publisher to a sink while the broker has trouble."""

    def __init__(self, publisher, reader, queue, count=20000, milliseconds=6000):
        self.process = subprocess.Popen([os.path.join(BUILD, "tests/contract/bus_flow"), publisher, reader, queue,
                                         str(count), str(milliseconds)],
                                        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def end(self):
        out, _ = self.process.communicate(timeout=DEADLINE)
        print(out)
        assert self.process.returncode == 0, out
        words = out.splitlines()[-1].split()
        return dict(zip(words[::2], map(int, words[1::2])))


def queues_empty(broker, queue):
    # Of quorum queues the broker tells old numbers for a while.
    poll(f"{queue} to be empty",
         lambda: not any(count for name, count in broker.queues().items() if queue in name), 30)


def test_untroubled(rabbitmq):
    told = Flow(rabbitmq.url(), rabbitmq.url(), "calm", milliseconds=1).end()
    assert told["suspects"] == told["redone"] == 0
    queues_empty(rabbitmq, "calm")


def test_connections_are_cut(rabbitmq):
    proxy = servers.Proxy(rabbitmq.port)
    flow = Flow(rabbitmq.url(port=proxy.port), rabbitmq.url(port=proxy.port), "cut")
    for _ in range(5):
        time.sleep(1)
        proxy.cut()
    told = flow.end()
    proxy.close()
    assert told["lost"] >= 4 and told["repeats"] > 0
    queues_empty(rabbitmq, "cut")


def test_broker_is_away(rabbitmq):
    proxy = servers.Proxy(rabbitmq.port)
    proxy.refuse()
    flow = Flow(rabbitmq.url(port=proxy.port), rabbitmq.url(port=proxy.port), "away", milliseconds=1)
    time.sleep(2)
    proxy.refuse(False)
    flow.end()
    proxy.close()


@pytest.mark.parametrize("queues", ["classic", "quorum"])
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_broker_restarts(rabbitmq, how, queues):
    url, queue = rabbitmq.url(f"?queues={queues}"), f"restart-{how}-{queues}"
    flow = Flow(url, url, queue)
    time.sleep(2)
    getattr(rabbitmq, how)()
    rabbitmq.start()
    told = flow.end()
    assert told["suspects"] > 0
    queues_empty(rabbitmq, queue)


def test_memory_alarm(rabbitmq):
    """Publishing waits, nothing is sent twice."""
    flow = Flow(rabbitmq.url(), rabbitmq.url(), "alarm", milliseconds=4000)
    time.sleep(1)
    rabbitmq.alarm()
    time.sleep(5)
    rabbitmq.alarm(False)
    told = flow.end()
    assert told["redone"] == told["suspects"] == 0
    queues_empty(rabbitmq, "alarm")


def test_broker_hangs(rabbitmq):
    """Heartbeats tell."""
    url = rabbitmq.url("?heartbeat=1")
    flow = Flow(url, url, "hang")
    time.sleep(2)
    rabbitmq.pause()
    time.sleep(8)
    rabbitmq.resume()
    told = flow.end()
    assert told["lost"] >= 1
    queues_empty(rabbitmq, "hang")


def test_queue_of_another_kind_is_named(rabbitmq):
    flow = Flow(rabbitmq.url("?queues=quorum"), rabbitmq.url("?queues=classic"), "kind", count=10, milliseconds=1)
    time.sleep(3)
    flow.process.kill()
    out = flow.process.communicate(timeout=DEADLINE)[0]
    assert re.search(r'ERROR.*queue "kind" as a durable (classic|quorum) queue.*inequivalent arg \'x-queue-type\'', out, re.I), out


def test_tls(tmp_path):
    mine, other = str(tmp_path / "mine"), str(tmp_path / "other")
    for folder in mine, other:
        os.makedirs(folder)
        servers.certificate(folder, "localhost")
    try:
        server = servers.RabbitMQ(tls=mine)
    except servers.NotInstalled as missing:
        pytest.skip(f"{missing} is not installed")
    with server:
        def url(folder, host="localhost"):
            return server.url(f"?ca={folder}/certificate.pem", port=server.tls_port, scheme="amqps", host=host)
        Flow(url(mine), url(mine), "tls", milliseconds=1).end()
        for wrong in url(other), url(mine, "127.0.0.1"):
            flow = Flow(wrong, wrong, "tls", count=10, milliseconds=1)
            time.sleep(3)
            flow.process.kill()
            out = flow.process.communicate(timeout=DEADLINE)[0]
            assert "no connection to the broker" in out and "sent" not in out, out
