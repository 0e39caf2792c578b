# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL, RabbitMQ, Redis and ClickHouse with a proxy in front of each, nodes of the daemon on them, and their books."""
import contextlib
import os

import pika

import servers
from harness import DEADLINE, QUEUES, Daemon, poll

DATABASE = "cluster"
TABLES = {table: (table, "event_id") for table in QUEUES.values()}	# routing key and identity
TABLES["trace_log_events"] = ("trace_log", "id")
FAST = """\
tasks: {lease: 4s}
relay: {lease: 3s}
restart: {first: 50ms, cap: 500ms}
suspects: {hold: 6s}
breaker: {first: 200ms, cap: 2s}
"""


class Node(Daemon):
    """One sluiced of the cluster; start more on the same servers for more nodes."""

    def __init__(self, cluster, folder, sim, **options):
        os.makedirs(folder, exist_ok=True)
        options.setdefault("extra", FAST)
        options.setdefault("sink", "deadline: 1s, batch: {age: 300ms}")
        super().__init__(folder, sim, mode="processes", tasks=cluster.tasks_url, bus=cluster.bus_url,
                         warehouse=cluster.warehouse_url, limits=cluster.limits_url, **options)
        with open(self.config, "a") as out:		# the sinks stand last
            out.write(f"  trace_log_events: {{{options['sink']}}}\n")
        self.cluster = cluster
        self.before = {}	# counters of daemons that were killed

    def role_pids(self, role):
        status = self.status() or {}
        return [entry["pid"] for entry in status.get("roles", []) if entry["role"] == role and entry["pid"] > 0]

    def counters(self):
        """{(role, figure): number} for the whole node, and {(title, figure): number} for each sink."""
        found = dict(self.before)
        for entry in (self.status() or {}).get("roles", []):
            for figure in ("rows", "suspects", "repeats", "dead_letters", "published", "messages", "events", "redo",
                           "claimed", "completed"):
                if figure in entry:
                    for key in {(entry["role"], figure), (entry["title"], figure)}:
                        found[key] = found.get(key, 0) + entry[figure]
        return found

    def kill_supervisor(self):
        """Its counters go with it: noted first, as far as they are told."""
        self.before = self.counters()
        self.kill()
        self.start(ready=False)


class Cluster:
    database = DATABASE

    def __init__(self, folder, postgres, rabbitmq, clickhouse, redis):
        self.folder = str(folder)
        self.postgres, self.rabbitmq, self.clickhouse, self.redis = postgres, rabbitmq, clickhouse, redis
        self.proxies = [servers.Proxy(server.port) for server in (postgres, rabbitmq, clickhouse, redis)]
        self.postgres_proxy, self.rabbitmq_proxy, self.clickhouse_proxy, self.redis_proxy = self.proxies
        postgres.create_database(DATABASE)
        clickhouse.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        self.tasks_url = postgres.url(DATABASE, self.postgres_proxy.port)
        self.bus_url = rabbitmq.url("?heartbeat=2", port=self.rabbitmq_proxy.port)
        self.limits_url = redis.url(port=self.redis_proxy.port)
        self.warehouse_url = clickhouse.url(port=self.clickhouse_proxy.port, database=DATABASE)

    def close(self):
        for proxy in self.proxies:
            proxy.close()
        # What a test that failed has left is not for the next one.
        with contextlib.suppress(AssertionError, pika.exceptions.AMQPError):
            self.rabbitmq.delete_queues()
        with contextlib.suppress(AssertionError):
            self.clickhouse.query(f"DROP DATABASE IF EXISTS {DATABASE}")
        with contextlib.suppress(AssertionError):
            self.postgres.sql(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- what it holds ---

    def sql(self, statement):
        """Rows of the task store, asked past the proxy: each a list of texts."""
        return [row.split("|") for row in self.postgres.sql(statement, DATABASE)]

    def statuses(self):
        return {status: int(count) for status, count in
                self.sql("SELECT status, count(*) FROM scrape_request_log GROUP BY status")}

    def committed(self):
        """Events the store has committed, by their routing key."""
        return {address.rpartition("/")[2]: int(events) for address, events in
                self.sql("SELECT queue, sum(events) FROM outbox_total GROUP BY queue")}

    def waiting(self):
        return int(self.sql("SELECT count(*) FROM outbox")[0][0])

    def rows(self, table):
        row = self.clickhouse.query(f"SELECT count(), uniqExact({TABLES[table][1]}) FROM {DATABASE}.{table}")[0]
        return int(row[0]), int(row[1])

    def books(self):
        """{table: (committed, rows, distinct identities)}"""
        committed = self.committed()
        return {table: (committed.get(key, 0), *self.rows(table)) for table, (key, _) in TABLES.items()}

    def balanced(self):
        return all(committed == rows for committed, rows, _ in self.books().values())

    def dead_letters(self):
        """In the broker, and in the task store."""
        return (sum(count for name, count in self.rabbitmq.queues().items() if name.startswith("error.")) +
                int(self.sql("SELECT count(*) FROM dead_letter")[0][0]))

    def wait_done(self, tasks, deadline=DEADLINE * 2):
        """Every task has ended, everything is published and has landed, and no message is left."""
        poll("all tasks to end", lambda: sum(self.statuses().get(end, 0) for end in ("COMPLETE", "FAILED")) == tasks,
             deadline, 0.5)
        poll("the outbox to drain", lambda: self.waiting() == 0, deadline, 0.5)
        try:
            poll("all events to land", self.balanced, deadline, 0.5)
        except AssertionError as late:
            raise AssertionError(f"{late}: {self.books()}, {self.rabbitmq.queues()}") from None
        poll("the queues to be empty", lambda: not any(self.rabbitmq.queues().values()), deadline, 0.5)

    def check(self, tasks):
        """Nothing lost, nothing doubled."""
        books = self.books()
        assert self.statuses() == {"COMPLETE": tasks}
        for table, (committed, rows, distinct) in books.items():
            assert rows == distinct == committed, (table, committed, rows, distinct)
        assert self.dead_letters() == 0
        return books

    def ledger(self, nodes, books):
        """Text: what became of the tasks and of the events of each table."""
        total = {}
        for node in nodes:
            for key, number in node.counters().items():
                total[key] = total.get(key, 0) + number

        def of(role, name):
            return total.get((role, name), 0)
        lines = [f"tasks: claimed {of('worker', 'claimed')}, completed {of('worker', 'completed')}",
                 f"messages: published {of('relay', 'published')}, of them once more {of('relay', 'redo')}; "
                 f"confirmed {of('relay', 'messages')} with {of('relay', 'events')} events",
                 f"{'table':28}{'committed':>11}{'rows':>9}{'distinct':>10}{'inserted':>10}{'suspicious':>12}"
                 f"{'there already':>15}{'dead':>6}"]
        for table, (committed, rows, distinct) in books.items():
            sink = "sink " + table
            lines.append(f"{table:28}{committed:11}{rows:9}{distinct:10}{of(sink, 'rows'):10}{of(sink, 'suspects'):12}"
                         f"{of(sink, 'repeats'):15}{of(sink, 'dead_letters'):6}")
        return "\n".join(lines)
