# SPDX-License-Identifier: Apache-2.0
"""Tasks into a real ClickHouse server that is killed, stopped and restarted, by sinks that are killed: each event
arrives exactly once, and the daemon comes up before its warehouse does."""
import os
import random
import signal
import subprocess
import time

import pytest

from harness import DEADLINE, QUEUES, Daemon, Sim, poll
from servers import ClickHouse, Proxy

pytestmark = pytest.mark.skipif(not ClickHouse.installed(), reason="clickhouse-server is not installed")
ROUNDS = int(os.environ.get("SLUICE_FAULTS", "12"))
# A look-up comes well after any insert is over: hold is several deadlines.
EXTRA = """\
tasks: {lease: 3s}
restart: {first: 50ms, cap: 200ms}
breaker: {first: 50ms, cap: 200ms}
suspects: {hold: 3s}
"""


def sink_pids(daemon):
    found = subprocess.run(["pgrep", "-P", str(daemon.process.pid), "-f", "sluiced: sink"], capture_output=True,
                           text=True)
    return [int(pid) for pid in found.stdout.split()]


def fault(kind, daemon, server, chance):
    if kind == "sink killed":
        for pid in sink_pids(daemon):
            os.kill(pid, signal.SIGKILL)
    elif kind == "server killed":
        server.kill()
        time.sleep(chance.uniform(0.0, 0.5))
        server.start()
    elif kind == "server restarted":
        server.restart()
    else:					# longer than an insert may take
        server.pause()
        time.sleep(chance.uniform(0.3, 2.0))
        if kind == "server hangs, sink killed":
            for pid in sink_pids(daemon):
                os.kill(pid, signal.SIGKILL)
        server.resume()


KINDS = ["sink killed", "server killed", "server restarted", "server hangs", "server hangs, sink killed"]


def test_an_insert_that_outlives_its_sink(tmp_path):
    """The server goes on with the INSERT of a killed sink for longer than suspects are held."""
    server = ClickHouse(tmp_path / "clickhouse")
    sim = Sim(tmp_path, "--latency", "5")
    daemon = Daemon(tmp_path, sim.url, extra=EXTRA.replace("hold: 3s", "hold: 300ms"),
                    warehouse=server.url(database="events"))
    running = ("SELECT query_id FROM system.processes WHERE position(query_id, '/profile_log_events/') > 0 "
               "AND elapsed > 0.2")

    def strike():
        """Whether a sink met the insert of one before it: on a slow machine that has ended by then, now and then."""
        daemon.ctl("submit", "refresh_profile_basic", "handle=user_{i}", "profile_id=null", "--count", "50")
        poll("the insert to run", lambda: server.query(running))
        for pid in sink_pids(daemon):
            os.kill(pid, signal.SIGKILL)
        daemon.wait_idle()
        committed, rows, distinct = daemon.books()["profile_log_events_q"]
        assert rows == distinct == committed > 0
        with open(daemon.log, errors="replace") as log:
            return "nobody waits for" in log.read()
    try:
        server.start()
        daemon.start()
        for column in ("slow", "slower"):		# one may take 3 s
            server.query(f"ALTER TABLE events.profile_log_events ADD COLUMN {column} UInt8 MATERIALIZED "
                         "sleepEachRow(0.05)")
        poll("a sink to meet the insert of a killed one", strike)
    finally:
        daemon.stop()
        sim.stop()
        server.stop()


def count(servers, table):
    return [int(server.query(f"SELECT count() FROM events.{table}")[0][0]) for server in servers]


def test_one_of_two_hosts_fails(tmp_path):
    """It hangs, dies, refuses: rows go to the other at once and come back later; only what may be on it waits for it."""
    servers = [ClickHouse(tmp_path / f"clickhouse{number}").start() for number in range(2)]
    proxies = [Proxy(server.port) for server in servers]
    sim = Sim(tmp_path, "--latency", "5")
    url = servers[0].url(port=f"{proxies[0].port},127.0.0.1:{proxies[1].port}", database="events")
    daemon = Daemon(tmp_path, sim.url, extra=EXTRA.replace("hold: 3s", "hold: 1500ms"), warehouse=url,
                    sink="deadline: 500ms, batch: {age: 100ms}")
    table = "profile_log_events"

    def submit_until(what, check):
        def step():
            daemon.ctl("submit", "refresh_profile_basic", "handle=user_{i}", "profile_id=null", "--count", "5")
            return check()
        began = time.monotonic()
        poll(what, step, every=0.3)
        print(f"{time.monotonic() - began:.1f} s for {what}")

    try:
        daemon.start()
        daemon.ctl("submit", "refresh_profile_basic", "handle=user_{i}", "profile_id=null", "--count", "20")
        daemon.wait_idle()
        # Each sink has a host of its own to begin with; this is the table's.
        own = 0 if count(servers, table)[0] else 1
        mine, other, proxy = servers[own], servers[1 - own], proxies[own]
        troubles = {"hangs": (mine.pause, mine.resume), "dies": (mine.kill, mine.start),
                    "refuses": (proxy.refuse, lambda: proxy.refuse(False))}
        for name, (fail, heal) in troubles.items():
            before = count([other], table)[0]
            fail()
            submit_until(f"rows on the other: one {name}", lambda: count([other], table)[0] > before)
            if name == "hangs":
                # The server has the insert that got no answer, unread: nobody may decide about it, when its time has
                # come and there is no answer either; the others go on.
                time.sleep(3)
                before = count([other], table)[0]
                submit_until("more rows on the other", lambda: count([other], table)[0] > before)
                assert daemon.store("SELECT count(*) FROM outbox")[0][0] > 0
            heal()
            before = count([mine], table)[0]
            submit_until("rows on the first again", lambda: count([mine], table)[0] > before)
            daemon.wait_idle()
        mine.pause()
        daemon.stop()
        daemon.start()
        before = count([other], table)[0]
        submit_until("rows on the other after a start", lambda: count([other], table)[0] > before)
        mine.resume()
        daemon.wait_idle()
        for queue, name in QUEUES.items():
            ids = [row[0] for server in servers for row in server.query(f"SELECT event_id FROM events.{name}")]
            print(f"{queue}: {count(servers, name)}")
            assert len(ids) == len(set(ids)) == daemon.committed().get(queue, 0), queue
    finally:
        daemon.stop()
        sim.stop()
        for proxy in proxies:
            proxy.close()
        for server in servers:
            server.stop()


def test_each_event_once_whatever_fails(tmp_path):
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    print(f"seed {seed}")
    server = ClickHouse(tmp_path / "clickhouse")
    sim = Sim(tmp_path, "--orders", "20", "--latency", "5")
    daemon = Daemon(tmp_path, sim.url, extra=EXTRA, warehouse=server.url(database="events"), sink="deadline: 500ms")
    try:
        daemon.start()			# before there is a server
        for number in range(ROUNDS):
            daemon.ctl("submit", "refresh_profile_basic", "handle=user_{i}", "profile_id=null", "--count", "40")
            daemon.ctl("submit", "refresh_orders_by_store", "store=shop-{i}", "limit=50", "--count", "40")
            if number == 0:
                poll("events to wait", lambda: daemon.store("SELECT count(*) FROM outbox")[0][0] > 0)
                server.start()
            time.sleep(chance.uniform(0.0, 0.4))
            fault(KINDS[number % len(KINDS)], daemon, server, chance)
            daemon.alive()
        daemon.wait_idle(DEADLINE)
        assert daemon.statuses() == {"COMPLETE": ROUNDS * 80}
        books = daemon.books()
        for queue, (committed, rows, distinct) in books.items():
            print(f"{queue}: committed {committed}, rows {rows}, distinct {distinct}")
        for queue, (committed, rows, distinct) in books.items():
            assert rows == distinct == committed, (queue, committed, rows, distinct)
        assert sum(rows for _, rows, _ in books.values()) > ROUNDS * 80
        assert server.query("SELECT count() FROM system.tables WHERE database = 'events'") != [["0"]]
        assert daemon.store("SELECT count(*) FROM dead_letter")[0][0] == 0
        with open(daemon.log, errors="replace") as log:
            assert ClickHouse.password not in log.read()
        assert daemon.stop() == 0
    finally:
        daemon.stop()
        sim.stop()
        server.stop()
