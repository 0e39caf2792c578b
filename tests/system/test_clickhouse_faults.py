# SPDX-License-Identifier: Apache-2.0
"""Tasks into a real ClickHouse server that is killed, stopped and restarted, by sinks that are killed: each event
arrives exactly once, and the daemon comes up before its warehouse does."""
import os
import random
import signal
import subprocess
import time

import pytest

from harness import DEADLINE, Daemon, Sim, poll
from servers import ClickHouse

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
    try:
        server.start()
        daemon.start()
        server.query("ALTER TABLE events.profile_log_events ADD COLUMN slow UInt8 MATERIALIZED sleepEachRow(0.05)")
        daemon.ctl("submit", "refresh_profile_basic", "handle=user_{i}", "profile_id=null", "--count", "50")
        poll("the insert to run", lambda: server.query(running))
        for pid in sink_pids(daemon):
            os.kill(pid, signal.SIGKILL)
        assert server.query(running)
        daemon.wait_idle()
        committed, rows, distinct = daemon.books()["profile_log_events_q"]
        assert rows == distinct == committed > 0
        with open(daemon.log, errors="replace") as log:
            assert "nobody waits for" in log.read()
    finally:
        daemon.stop()
        sim.stop()
        server.stop()


def test_two_hosts_take_turns(tmp_path):
    """One is killed in mid-stream: the other takes over; what may be on the first waits until that is back."""
    servers = [ClickHouse(tmp_path / f"clickhouse{number}").start() for number in range(2)]
    sim = Sim(tmp_path, "--latency", "5")
    first, other = servers
    url = first.url(port=f"{first.port},127.0.0.1:{other.port}", database="events")
    daemon = Daemon(tmp_path, sim.url, extra=EXTRA, warehouse=url, sink="deadline: 500ms")
    table = "events.profile_log_events"
    try:
        daemon.start()
        for number in range(6):
            daemon.ctl("submit", "refresh_profile_basic", "handle=user_{i}", "profile_id=null", "--count", "50")
            time.sleep(0.6)
            victim = servers[number % 2]
            if number >= 2:
                victim.pause() if number < 4 else victim.kill()
                time.sleep(1.2)
                victim.resume() if number < 4 else victim.start()
        daemon.wait_idle()
        rows = [int(server.query(f"SELECT count() FROM {table}")[0][0]) for server in servers]
        ids = [{row[0] for row in server.query(f"SELECT event_id FROM {table}")} for server in servers]
        print(f"committed {daemon.committed()['profile_log_events_q']}, rows {rows}")
        # Which host took how many depends on when it was stopped; that none is missing or double does not.
        assert sum(rows) == len(ids[0] | ids[1]) == daemon.committed()["profile_log_events_q"]
    finally:
        daemon.stop()
        sim.stop()
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
