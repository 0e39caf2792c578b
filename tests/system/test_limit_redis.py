# SPDX-License-Identifier: Apache-2.0
"""Limits kept in Redis: the contract of every limiter, and a server that fails."""
import os
import subprocess
import threading

import pytest

import servers
from harness import BUILD, DEADLINE, poll

COUNT, PERIOD_MS = 20, 200		# of limit_flow's limit


def run(program, *arguments):
    done = subprocess.run([os.path.join(BUILD, *program.split("/")), *arguments], text=True, timeout=DEADLINE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.split("\n") if "OK ]" not in line)
    return done.stdout


def test_contract_on_a_port(redis):
    run("tests/contract/limit_test", redis.url(database=3))


def test_contract_on_a_socket(redis):
    run("tests/contract/limit_test", redis.socket_url(database=4), "5000")


class Flow:
    """A steady demand of one process while the server has trouble."""

    def __init__(self, url, state, on_error="wait"):
        self.log, self.told, self.grants = [], {}, []
        self.state = state
        self.process = subprocess.Popen([os.path.join(BUILD, "tests/contract/limit_flow"), url, str(state), on_error],
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("granted "):
                words = line.split()
                self.told = dict(zip(words[::2], map(int, words[1::2])))
            else:
                self.log.append(line)

    def until(self, name, count):
        poll(f"{name} to be {count}", lambda: self.told.get(name, 0) >= count)

    def more(self, name="granted", count=COUNT + 1):
        self.until(name, self.told.get(name, 0) + count)

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=DEADLINE)
        self.reader.join(timeout=DEADLINE)
        log = "".join(self.log)
        print(log, self.told)
        assert self.process.returncode == 0, log
        assert "p%40ss" not in log and servers.Redis.password not in log
        self.grants = [int(line) for line in open(os.path.join(self.state, "grants"))]
        assert_promise(self)
        return dict(self.told, log=log)


def assert_promise(*flows):
    """Never more than the limit in any window, of all of them together, whatever happened."""
    grants = sorted(grant for flow in flows for grant in flow.grants)
    for first, late in zip(grants, grants[COUNT:]):
        assert late - first >= PERIOD_MS * 1000


@pytest.fixture
def start(tmp_path):
    """Starts flows; what is left of them ends with the test. """
    flows = []

    def start(url, state="state", on_error="wait"):
        (tmp_path / state).mkdir(exist_ok=True)
        flows.append(Flow(url, tmp_path / state, on_error))
        return flows[-1]
    yield start
    for flow in flows:
        flow.process.kill()
        flow.process.wait()


@pytest.fixture
def empty(redis):
    """The server as if nobody had ever used it."""
    if redis.process.poll() is not None:
        redis.start()
    redis.cli("FLUSHALL")
    return redis


def test_untroubled(empty, start):
    two = [start(empty.url(), name) for name in ("one", "other")]
    for flow in two:
        flow.more(count=3 * COUNT)
    for flow in two:
        told = flow.end()
        assert told["lost"] == told["other"] == 0 and told["connects"] == 1
    assert_promise(*two)
    # What is said about a key goes by itself; only the marker stays.
    poll("the keys to expire", lambda: empty.cli("KEYS", "*") == "{sluice:limits}")


def test_a_store_seen_before_that_is_empty_counts_as_used_up(empty, start):
    flow = start(empty.url())
    flow.more()
    assert flow.end()["lost"] == 0
    empty.cli("FLUSHALL")
    flow = start(empty.url())
    flow.more()
    told = flow.end()
    assert told["lost"] == 1 and told["first_ms"] >= PERIOD_MS


def test_connections_are_cut(empty, start):
    proxy = servers.Proxy(empty.port)
    flow = start(empty.url(port=proxy.port))
    for _ in range(4):
        flow.more()
        proxy.cut()
        flow.more("connects", 1)
    flow.more()
    told = flow.end()
    proxy.close()
    assert told["connects"] >= 5 and told["lost"] == 0


def test_an_answer_is_lost(empty, start):
    proxy = servers.Proxy(empty.port)
    flow = start(empty.url(port=proxy.port))
    for _ in range(3):
        flow.more()
        proxy.cut_on(b"EVALSHA", True)
        assert proxy.triggered.wait(DEADLINE)
        flow.more("connects", 1)
    flow.more()
    told = flow.end()
    proxy.close()
    assert told["away"] >= 3 and told["lost"] == 0


def test_server_is_away_at_first(empty, start):
    proxy = servers.Proxy(empty.port)
    proxy.refuse()
    flow = start(empty.url(port=proxy.port))
    flow.until("away", 3)
    assert flow.told["granted"] == 0
    proxy.refuse(False)
    flow.more()
    told = flow.end()
    proxy.close()
    assert "no connection to Redis" in told["log"] and "Redis answers again" in told["log"]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_server_restarts_and_has_lost_its_data(empty, start, how):
    two = [start(empty.url(), name) for name in ("one", "other")]
    for flow in two:
        flow.more()
    getattr(empty, how)()
    empty.start()
    for flow in two:
        flow.more()
    for flow in two:
        told = flow.end()
        assert told["connects"] == 2 and told["longest_ms"] >= PERIOD_MS and "lost its data" in told["log"]
    assert_promise(*two)


def test_server_restarts_with_old_data(start, tmp_path):
    """What was loaded from the disk may not be the last that was known."""
    with servers.Redis(tmp_path / "redis") as server:
        flow = start(server.url())
        flow.more()
        server.cli("SAVE")
        flow.more()
        server.kill()
        server.start()
        assert "{sluice:limits}" in server.cli("KEYS", "*")
        flow.until("lost", 1)
        flow.more()
        flow.end()


def test_data_is_thrown_away(empty, start):
    two = [start(empty.url(), name) for name in ("one", "other")]
    for times in 1, 2:
        for flow in two:
            flow.more()
        empty.cli("FLUSHALL")
        for flow in two:
            flow.until("lost", times)
    for flow in two:
        flow.more()
    for flow in two:
        assert flow.end()["connects"] == 1
    assert_promise(*two)


def test_scripts_are_thrown_away(empty, start):
    flow = start(empty.url())
    for _ in range(5):
        flow.more()
        empty.cli("SCRIPT", "FLUSH")
    flow.more()
    told = flow.end()
    assert told["lost"] == told["away"] == 0 and told["connects"] == 1


def test_somebody_elses_keys(empty, start):
    """Values that are no records, or no strings: as after a loss."""
    for number, command in enumerate([("SET", "{sluice:limits}:flow/source", "nothing of ours"),
                                      ("SADD", "{sluice:limits}:flow/source", "member"),
                                      ("SADD", "{sluice:limits}", "member")]):
        empty.cli("FLUSHALL")
        empty.cli(*command)
        flow = start(empty.url(), str(number))
        flow.more()
        assert flow.end()["first_ms"] >= PERIOD_MS


def test_server_hangs(empty, start):
    flow = start(empty.url())
    flow.more()
    empty.pause()
    flow.more("away", 2)
    empty.resume()
    flow.more()
    told = flow.end()
    assert told["connects"] >= 2 and "no answer in time" in told["log"]


def test_server_refuses_to_write(empty, start):
    flow = start(empty.url())
    flow.more()
    empty.cli("CONFIG", "SET", "maxmemory", "1")
    flow.more("away", 2)
    empty.cli("CONFIG", "SET", "maxmemory", "0")
    flow.more()
    told = flow.end()
    assert told["lost"] == 0 and "OOM" in told["log"]


def test_wrong_password_is_told_without_it(empty, start):
    for url in empty.url(user="nobody"), f"redis://127.0.0.1:{empty.port}":
        flow = start(url)
        flow.until("away", 1)
        told = flow.end()
        assert told["granted"] == told["connects"] == 0
        assert "WRONGPASS" in told["log"] or "NOAUTH" in told["log"]


def test_node_goes_on_with_its_share(empty, start):
    """... as if everything were used up, at the beginning and at the end: the promise holds over both."""
    flow = start(empty.url(), on_error="local")
    flow.more()
    empty.pause()
    flow.until("own", 2 * COUNT)
    empty.resume()
    flow.until("lost", 1)
    flow.more(count=2 * COUNT)
    told = flow.end()
    assert told["granted"] > told["own"] + COUNT
    assert "goes on with its share" in told["log"] and "had gone on without Redis" in told["log"]


def test_host_by_its_name(empty, start):
    flow = start(empty.url().replace("127.0.0.1", "localhost"))
    flow.more()
    flow.end()
    flow = start("redis://no-such-host.invalid")
    flow.until("away", 1)
    assert "cannot find the host" in flow.end()["log"]
