# SPDX-License-Identifier: Apache-2.0
"""The whole chain on PostgreSQL, RabbitMQ, Redis and ClickHouse: everything fails in turn, and nothing is lost or doubled.

SLUICE_TASKS says how many tasks (20000 is the long form), SLUICE_FAULTS how often each fault happens.
"""
import os
import random
import signal
import time

import pytest

from cluster import FAST, Cluster, Node
from harness import DEADLINE, Sim, poll

TASKS = int(os.environ.get("SLUICE_TASKS", "2000"))
TURNS = int(os.environ.get("SLUICE_FAULTS", "1"))
LOT = 100
FLOWS = """\
  refresh_profile_by_handle: {workers: 1, concurrency: 20}
  refresh_profile_basic: {workers: 2, concurrency: 20}
  refresh_orders_by_store: {workers: 1, concurrency: 20}
"""


@pytest.fixture
def cluster(tmp_path, postgres, rabbitmq, clickhouse, redis):
    with Cluster(tmp_path, postgres, rabbitmq, clickhouse, redis) as made:
        yield made


def submit(node, tasks):
    """Tasks over two platforms: 4 in 10 profiles, 2 in 10 profiles with their pages, 4 in 10 shops."""
    for flow, share, *params in (("refresh_profile_basic", 4, "handle=user_{i}", "profile_id=null"),
                                 ("refresh_profile_by_handle", 2, "handle=user_{i}"),
                                 ("refresh_orders_by_store", 4, "store=shop-{i}", "limit=50")):
        node.submit(flow, *params, count=tasks * share // 10)


class Faults:
    def __init__(self, cluster, node, chance):
        self.cluster, self.node, self.chance = cluster, node, chance

    def all(self):
        return [self.kill_worker, self.kill_relay, self.kill_sink, self.kill_timer, self.kill_supervisor,
                self.restart_postgres, self.terminate_backends, self.cut_between_commit_and_answer,
                self.restart_rabbitmq, self.kill_rabbitmq, self.memory_alarm, self.kill_clickhouse,
                self.clickhouse_answers_500, self.clickhouse_hangs, self.kill_redis, self.cut_every_connection]

    def kill_role(self, role):
        def strike():
            pids = self.node.role_pids(role)
            try:
                os.kill(self.chance.choice(pids), signal.SIGKILL)
            except (IndexError, ProcessLookupError):		# it is just being started again
                return False
            return True
        poll(f"a {role} to kill", strike)

    def kill_worker(self):
        self.kill_role("worker")

    def kill_relay(self):
        self.kill_role("relay")

    def kill_sink(self):
        self.kill_role("sink")

    def kill_timer(self):
        self.kill_role("timer")

    def kill_supervisor(self):
        self.node.kill_supervisor()

    def restart_postgres(self):
        self.cluster.postgres.restart()

    def terminate_backends(self):
        self.cluster.postgres.terminate_backends()

    def cut_between_commit_and_answer(self):
        self.cluster.postgres_proxy.cut_on(b"COMMIT", forward=True)
        assert self.cluster.postgres_proxy.triggered.wait(DEADLINE)

    def restart_rabbitmq(self):
        self.cluster.rabbitmq.restart()

    def kill_rabbitmq(self):
        self.cluster.rabbitmq.kill()
        self.cluster.rabbitmq.start()

    def memory_alarm(self):
        self.cluster.rabbitmq.alarm()
        time.sleep(2)
        self.cluster.rabbitmq.alarm(False)

    def kill_clickhouse(self):
        self.cluster.clickhouse.kill()
        self.cluster.clickhouse.start()

    def clickhouse_answers_500(self):
        self.cluster.clickhouse_proxy.answer(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n"
                                             b"Connection: close\r\n\r\n")
        time.sleep(2)
        self.cluster.clickhouse_proxy.answer(None)

    def clickhouse_hangs(self):
        self.cluster.clickhouse.pause()
        time.sleep(4)
        self.cluster.clickhouse.resume()

    def kill_redis(self):
        self.cluster.redis.kill()
        self.cluster.redis.start()

    def cut_every_connection(self):
        for proxy in self.cluster.proxies:
            proxy.cut()


def progress(cluster):
    """Rows in the warehouse; -1 while it does not answer."""
    try:
        return cluster.rows("post_log_events")[0]
    except (AssertionError, OSError):
        return -1


def test_everything_fails_in_turn(tmp_path, cluster):
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    print(f"seed {seed}, {TASKS} tasks")
    sim = Sim(tmp_path, "--orders", "20", "--latency", "5")
    node = Node(cluster, os.path.join(tmp_path, "node"), sim.url, flows=FLOWS)
    faults = Faults(cluster, node, chance)
    kinds = faults.all() * TURNS
    chance.shuffle(kinds)
    lot = TASKS // len(kinds) // 10 * 10
    try:
        node.start()
        for number, fault in enumerate(kinds):
            submit(node, lot if number < len(kinds) - 1 else TASKS - lot * (len(kinds) - 1))
            time.sleep(chance.uniform(0.2, 1.0))
            before, start = progress(cluster), time.monotonic()
            fault()
            over = time.monotonic()
            poll(f"rows to land after {fault.__name__}",
                 lambda: progress(cluster) > before or cluster.balanced(), DEADLINE, 0.05)
            print(f"{fault.__name__}: took {over - start:.1f} s, rows landed again after {time.monotonic() - over:.1f} s")
        poll("the daemon to be ready", lambda: node.alive() and (node.status() or {}).get("ready"))
        cluster.wait_done(TASKS)
        books = cluster.check(TASKS)
        print(cluster.ledger([node], books))
        assert sum(rows for _, rows, _ in books.values()) > TASKS
        assert node.stop() == 0
    finally:
        node.stop()
        sim.stop()


def test_two_nodes_share_the_work(tmp_path, cluster):
    """No task runs twice, both finish some; when one dies the other takes over when its leases end."""
    sim = Sim(tmp_path, "--orders", "20", "--latency", "400")
    nodes = [Node(cluster, os.path.join(tmp_path, name), sim.url, flows=FLOWS) for name in ("one", "two")]
    tasks = 0

    def finished_by(node):
        return node.counters().get(("worker", "completed"), 0)

    def submit_more():
        nonlocal tasks
        submit(nodes[0], 3 * LOT)
        tasks += 3 * LOT

    def both_work():
        if sum(finished_by(node) for node in nodes) > tasks - 2 * LOT:
            submit_more()
        return all(finished_by(node) > 20 and node.counters().get(("relay", "events"), 0) > 0 for node in nodes)
    try:
        for node in nodes:
            node.start()
        poll("both nodes to finish tasks and to publish", both_work)
        submit_more()
        poll("the first node to be at it", lambda: cluster.statuses().get("PROCESSING", 0) > 20)
        nodes[0].kill()
        killed = time.monotonic()
        cluster.wait_done(tasks)
        print(f"done {time.monotonic() - killed:.1f} s after the kill of a node")
        books = cluster.check(tasks)
        # Those that the dead node ran were claimed again; each of all was completed once.
        rows = cluster.clickhouse.query("SELECT status, count(), uniqExact(scl_id) FROM cluster.scrape_request_log_events"
                                        " WHERE status = 'COMPLETE' GROUP BY status")
        assert rows == [["COMPLETE", str(tasks), str(tasks)]]
        print(cluster.ledger(nodes[1:], books))
        assert nodes[1].stop() == 0
    finally:
        for node in nodes:
            node.stop()
        sim.stop()


def test_sink_dies_between_insert_and_acknowledgement(tmp_path, cluster):
    """The rows are there, the messages come again: they are found, and nothing stands twice."""
    sim = Sim(tmp_path)
    node = Node(cluster, os.path.join(tmp_path, "node"), sim.url, flows=FLOWS)
    try:
        node.start()
        submit(node, 20)
        cluster.wait_done(20)
        before = cluster.rows("post_log_events")[0]
        # Whichever table it is: the server gets the insert, its answer reaches nobody, and then nobody is there to ask.
        sinks = node.role_pids("sink")
        cluster.clickhouse_proxy.swallow_answer(b"INSERT")
        submit(node, 20)
        assert cluster.clickhouse_proxy.triggered.wait(DEADLINE)
        for pid in sinks:
            os.kill(pid, signal.SIGKILL)
        cluster.wait_done(40)
        books = cluster.check(40)
        print(cluster.ledger([node], books))
        assert cluster.rows("post_log_events")[0] > before
        assert node.counters().get(("sink", "repeats"), 0) > 0
        assert node.stop() == 0
    finally:
        node.stop()
        sim.stop()


def test_inserts_outlive_their_deadline_and_their_sink(tmp_path, cluster):
    """The server goes on with INSERTs for longer than anybody waits: the resolver looks nothing up before they are over."""
    sim = Sim(tmp_path)
    node = Node(cluster, os.path.join(tmp_path, "node"), sim.url, flows=FLOWS, extra=FAST.replace("6s", "1500ms"))
    table = f"{cluster.database}.profile_log_events"
    running = ("SELECT query_id FROM system.processes WHERE position(query_id, '/profile_log_events/') > 0 "
               "AND elapsed > 0.2")
    try:
        node.start()
        submit(node, 20)
        cluster.wait_done(20)
        # Half a second for each row. The server lets no column take more than 3 s, and computes equal ones once.
        for number in range(10):
            cluster.clickhouse.query(f"ALTER TABLE {table} ADD COLUMN slow{number} UInt8 MATERIALIZED "
                                     f"sleepEachRow({0.05 + number / 1000})")
        submit(node, 40)
        poll("an insert to run", lambda: cluster.clickhouse.query(running))
        for pid in node.role_pids("sink"):
            os.kill(pid, signal.SIGKILL)
        cluster.wait_done(60)
        print(cluster.ledger([node], cluster.check(60)))
        # Held for less time than an insert takes: who did not look for running ones would have inserted again.
        assert node.counters().get(("sink profile_log_events", "repeats"), 0) > 0
        assert node.stop() == 0
    finally:
        node.stop()
        sim.stop()


def test_a_table_that_took_no_rows_is_tried_again(tmp_path, cluster):
    """Every batch timed out and was given up, the breaker is open, and nothing is held that could be a probe."""
    sim = Sim(tmp_path)
    node = Node(cluster, os.path.join(tmp_path, "node"), sim.url, flows=FLOWS,
                extra=FAST.replace("breaker: {", "breaker: {failures: 1, "))
    try:
        node.start()
        submit(node, 20)
        cluster.wait_done(20)
        cluster.clickhouse.pause()
        submit(node, 20)
        poll("a breaker to open", lambda: "the table takes no rows" in node.tail(200))
        time.sleep(8)		# longer than what is held may be inserted
        cluster.clickhouse.resume()
        cluster.wait_done(40)
        cluster.check(40)
        assert node.stop() == 0
    finally:
        cluster.clickhouse.resume()
        node.stop()
        sim.stop()
