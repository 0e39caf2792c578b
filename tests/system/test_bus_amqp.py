# SPDX-License-Identifier: Apache-2.0
"""The RabbitMQ bus: the contract of every bus, its own cases, and a broker that fails."""
import os
import re
import subprocess
import time

import pytest

import conftest
import servers
from harness import BUILD, DEADLINE, poll

def run(program, *arguments):
    done = subprocess.run([os.path.join(BUILD, *program.split("/")), *arguments], text=True, timeout=DEADLINE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.split("\n") if "OK ]" not in line)
    return done.stdout


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory):
    """One with TLS besides."""
    folder = str(tmp_path_factory.mktemp("tls"))
    servers.certificate(folder, "localhost")
    for server in conftest.started(lambda: servers.RabbitMQ(tls=folder)):
        server.certificates = folder
        yield server


@pytest.mark.parametrize("queues", ["classic", "quorum"])
def test_contract(rabbitmq, queues):
    run("tests/contract/bus_test", rabbitmq.url(f"?queues={queues}"))


class Flow:
    """Messages from a publisher to a sink while the broker has trouble: so many, or from now until the end."""

    def __init__(self, publisher, reader, queue, count=0, options=()):
        self.process = subprocess.Popen([os.path.join(BUILD, "tests/contract/bus_flow"), publisher, reader, queue,
                                         str(count), "1000000" if count else "2000", *options], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.out = ""

    def read_until(self, pattern):
        """What it says until it says this."""
        while not re.search(pattern, self.out, re.I):
            line = self.process.stdout.readline()
            assert line, self.out
            self.out += line

    def end(self):
        self.out += self.process.communicate(timeout=DEADLINE)[0]
        print(self.out)
        assert self.process.returncode == 0, self.out
        words = self.out.splitlines()[-1].split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def kill(self):
        self.process.kill()
        self.out += self.process.communicate(timeout=DEADLINE)[0]
        return self.out


def queues_empty(broker, queue):
    # Of quorum queues the broker tells old numbers for a while.
    poll(f"{queue} to be empty",
         lambda: not any(count for name, count in broker.queues().items() if queue in name), 30)


def test_untroubled(rabbitmq):
    told = Flow(rabbitmq.url(), rabbitmq.url(), "calm", 10000).end()
    assert told["suspects"] == told["redone"] == 0
    queues_empty(rabbitmq, "calm")


def test_a_sink_that_is_full_for_long(rabbitmq):
    """A broker ends connections whose bytes nobody takes; nothing is suspect only because an insert takes a minute."""
    told = Flow(rabbitmq.url(), rabbitmq.url(), "full", 3000, ("20000", "50000")).end()
    assert told["suspects"] == told["repeats"] == told["lost"] == 0
    queues_empty(rabbitmq, "full")


def test_connections_are_cut(rabbitmq):
    proxy = servers.Proxy(rabbitmq.port)
    flow = Flow(rabbitmq.url(port=proxy.port), rabbitmq.url(port=proxy.port), "cut")
    for _ in range(4):
        poll("both connections", lambda: len(proxy.pairs) >= 2)
        time.sleep(0.5)
        proxy.cut()
    told = flow.end()
    proxy.close()
    assert told["lost"] >= 3 and told["repeats"] > 0
    queues_empty(rabbitmq, "cut")


def test_broker_is_away(rabbitmq):
    proxy = servers.Proxy(rabbitmq.port)
    proxy.refuse()
    flow = Flow(rabbitmq.url(port=proxy.port), rabbitmq.url(port=proxy.port), "away", 5000)
    flow.read_until("no connection to the broker")
    proxy.refuse(False)
    flow.end()
    proxy.close()


def test_broker_is_killed(rabbitmq):
    flows = {}
    for queues in "classic", "quorum":
        url = rabbitmq.url(f"?queues={queues}")
        flows[queues] = Flow(url, url, f"killed-{queues}")
    poll("messages", lambda: all(rabbitmq.queues().get(f"killed-{queues}") for queues in flows))
    rabbitmq.kill()
    rabbitmq.start()
    for flow in flows.values():
        assert flow.end()["suspects"] > 0
    queues_empty(rabbitmq, "killed-")


def test_memory_alarm(rabbitmq):
    """Publishing waits, nothing is sent twice."""
    flow = Flow(rabbitmq.url(), rabbitmq.url(), "alarm")
    rabbitmq.alarm()
    flow.read_until("the broker takes no messages")
    rabbitmq.alarm(False)
    told = flow.end()
    assert told["redone"] == told["suspects"] == 0
    queues_empty(rabbitmq, "alarm")


def test_broker_hangs(rabbitmq):
    """Heartbeats tell."""
    url = rabbitmq.url("?heartbeat=1")
    flow = Flow(url, url, "hang")
    poll("messages", lambda: rabbitmq.queues().get("hang"))
    rabbitmq.pause()
    flow.read_until("connection to the broker is lost")
    time.sleep(10)		# the other connection has missed its heartbeats too
    rabbitmq.resume()
    told = flow.end()
    assert told["lost"] >= 1
    queues_empty(rabbitmq, "hang")


def test_queue_of_another_kind_is_named(rabbitmq):
    flow = Flow(rabbitmq.url("?queues=quorum"), rabbitmq.url("?queues=classic"), "kind")
    flow.read_until(r'ERROR.*queue "kind" as a durable (classic|quorum) queue.*inequivalent arg \'x-queue-type\'')
    flow.kill()


def test_tls(rabbitmq, tmp_path):
    other = str(tmp_path)
    servers.certificate(other, "localhost")

    def url(folder, host="localhost"):
        return rabbitmq.url(f"?ca={folder}/certificate.pem", port=rabbitmq.tls_port, scheme="amqps", host=host)
    mine = url(rabbitmq.certificates)
    Flow(mine, mine, "tls", 5000).end()
    for wrong in url(other), url(rabbitmq.certificates, "127.0.0.1"):
        flow = Flow(wrong, wrong, "tls")
        flow.read_until("no connection to the broker")
        assert "sent" not in flow.kill(), flow.out
