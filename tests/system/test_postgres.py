# SPDX-License-Identifier: Apache-2.0
"""The daemon with its tasks in PostgreSQL: server and processes fail, and nothing is lost or doubled."""
import os
import random
import signal
import time

import pytest

import servers
from harness import DEADLINE, Daemon, Sim, poll
from test_kill import FAST, submit_lot

ROUNDS = int(os.environ.get("SLUICE_FAULTS", "12"))
TASKS_PER_ROUND = 100


class PostgresDaemon(Daemon):
    def __init__(self, folder, sim, server, database, **options):
        super().__init__(folder, sim, tasks=server.create_database(database), mode="processes", **options)
        self.server, self.database = server, database

    def store(self, statement, *values):
        rows = [row.split("|") for row in self.server.sql(statement, self.database)]
        return [tuple(int(field) if field.isdigit() else field for field in row) for row in rows]

    def connections(self):
        """Process ids of the backends that serve it."""
        return {row[0] for row in self.store("SELECT pid FROM pg_stat_activity WHERE application_name = 'sluice'"
                                             " AND datname = current_database()")}


def test_faults_lose_and_double_nothing(tmp_path, postgres):
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    print(f"seed {seed}")
    sim = Sim(tmp_path, "--orders", "20", "--latency", "5")
    daemon = PostgresDaemon(tmp_path, sim.url, postgres, "faults", extra=FAST)

    def kill_process():
        try:
            os.kill(chance.choice(daemon.pids()[1:]), signal.SIGKILL)
        except ProcessLookupError:
            pass

    def kill_server():
        postgres.kill()
        time.sleep(chance.uniform(0.0, 1.0))
        postgres.start()

    faults = [kill_process, postgres.terminate_backends, postgres.restart, kill_server]
    try:
        daemon.start()
        for turn in range(ROUNDS):
            submit_lot(daemon, turn)
            time.sleep(chance.uniform(0.0, 0.5))
            faults[turn % len(faults)]()
        poll("the daemon to be ready", lambda: daemon.alive() and (daemon.status() or {}).get("ready"))
        daemon.wait_idle(DEADLINE * 2)
        books = daemon.books()
        for queue, (committed, rows, distinct) in books.items():
            print(f"{queue}: committed {committed}, rows {rows}, distinct {distinct}")
        assert daemon.statuses() == {"COMPLETE": ROUNDS * TASKS_PER_ROUND}
        for queue, (committed, rows, distinct) in books.items():
            assert rows == distinct == committed, (queue, committed, rows, distinct)
        assert sum(rows for _, rows, _ in books.values()) > ROUNDS * TASKS_PER_ROUND
        assert daemon.store("SELECT count(*) FROM dead_letter")[0][0] == 0
        assert daemon.stop() == 0
    finally:
        daemon.stop()
        sim.stop()


def test_idle_workers_hold_no_connection(tmp_path, postgres):
    """Their connections are cut, and not opened again before there is work. The timer has two, the sinks one."""
    sim = Sim(tmp_path)
    daemon = PostgresDaemon(tmp_path, sim.url, postgres, "idle")
    try:
        daemon.start()
        time.sleep(1)
        postgres.terminate_backends()
        end = time.monotonic() + 15		# workers that hear nothing for 10 s ask by themselves
        while time.monotonic() < end:
            assert len(daemon.connections()) <= 3
            time.sleep(0.2)
        assert len(daemon.connections()) >= 2
        daemon.submit("refresh_profile_basic", "handle=user_1", "profile_id=null")
        daemon.wait_idle()
        assert daemon.statuses() == {"COMPLETE": 1}
        assert daemon.stop() == 0
    finally:
        daemon.stop()
        sim.stop()


def test_a_queue_is_read_by_one_node(tmp_path, postgres, clickhouse):
    """With direct: a second node's sinks wait, take over when the first one has died, and give way when they are late."""
    sim = Sim(tmp_path)
    clickhouse.query("CREATE DATABASE IF NOT EXISTS handover")
    url = postgres.create_database("handover")
    nodes = []
    for name in "first", "second":
        folder = tmp_path / name
        folder.mkdir()
        nodes.append(Daemon(folder, sim.url, mode="processes", tasks=url, sink="deadline: 1s",
                            warehouse=clickhouse.url(database="handover"), extra=FAST + "suspects: {hold: 2s}\n",
                            flows="  refresh_profile_basic: {workers: 1, concurrency: 10}"))

    def landed(events):
        row = clickhouse.query("SELECT count(), uniqExact(event_id) FROM handover.profile_log_events")[0]
        assert row[0] == row[1]
        return int(row[0]) == events

    def submit(node, count):
        node.submit("refresh_profile_basic", "handle=user_{i}", "profile_id=null", count=count)
    try:
        nodes[0].start()
        submit(nodes[0], 20)
        poll("events of the first node", lambda: landed(20))
        nodes[1].start()
        submit(nodes[1], 20)
        poll("more events", lambda: landed(40))
        poll("the second node to wait", lambda: "another node reads this queue" in nodes[1].tail(200))
        # Stopped for longer than it may read: somebody else's then.
        for pid in nodes[0].pids():
            os.kill(pid, signal.SIGSTOP)
        submit(nodes[1], 20)
        poll("the second node to read", lambda: landed(60))
        for pid in nodes[0].pids():
            os.kill(pid, signal.SIGCONT)
        poll("the first node to notice", lambda: "another node reads the queue" in nodes[0].tail(200))
        submit(nodes[1], 20)
        poll("events, once each", lambda: landed(80))
        for node in nodes:
            assert node.stop() == 0
    finally:
        for node in nodes:
            node.stop()
        sim.stop()


def test_more_workers_than_connections(tmp_path):
    """All workers are busy, on a server that takes fewer connections: they take turns, the other roles get through."""
    workers = int(os.environ.get("SLUICE_WORKERS", "24"))
    places, tasks = workers * 2 // 5, 40 * workers if workers < 25 else 950
    try:
        server = servers.Postgres([f"max_connections={workers - 4}"])
    except servers.NotInstalled as missing:
        pytest.skip(f"{missing} is not installed")
    sim = Sim(tmp_path, "--latency", "50")
    flows = f"  refresh_profile_basic: {{workers: {workers}, concurrency: 2}}"
    extra = f"tasks: {{connections: {places}}}\nrestart: {{ready: 4m}}\n"
    with server:
        daemon = PostgresDaemon(tmp_path, sim.url, server, "many", flows=flows, extra=extra)
        try:
            daemon.start()
            daemon.submit("refresh_profile_basic", "handle=user_{i}", "profile_id=null", count=tasks)
            most = 0
            end = time.monotonic() + 2 * DEADLINE
            while daemon.statuses() != {"COMPLETE": tasks}:
                most = max(most, len(daemon.connections()))
                assert time.monotonic() < end, daemon.statuses()
                time.sleep(0.2)
            busy = [entry for entry in daemon.status()["roles"] if entry.get("completed", 0) > 0]
            print(f"at most {most} connections at once, {len(busy)} workers finished tasks")
            assert places < len(busy)
            assert most <= places + 4		# the timer's two, the sinks', who asks
            daemon.wait_idle()
            assert "too many clients" not in daemon.tail(1000)
            assert daemon.stop() == 0
        finally:
            daemon.stop()
            sim.stop()
