# SPDX-License-Identifier: Apache-2.0
"""How the way from the broker into the warehouse grows: with rows of an insert, with the size of events, with tables."""
import os
import shutil
import stat
import time

import meter
import rig as rigs
from curve_tasks import TAIL, pace, roles_of, slope, speed_of, without_roles
from plot import Panel
from report import Run
from stage_sink import CONFIG

RELAY_EVENTS, RELAY_BYTES = 500, 262144		# what a relay puts into one message, by default
BATCH_ROWS, BATCH_BYTES = 50000, 32 << 20	# and a sink into one insert
INSERTS = 4					# at least, or a rate says nothing
USUAL = 600					# bytes of an event


class SinkCurve:
    """Points are queues that were filled before, and a daemon with nothing but sinks that empties them."""
    item, programs, rate = "event", ("all", "bench/queue_fill", "bench/tables.la"), "rate"
    speed = 1.0

    def __init__(self, rig):
        self.rig = rig

    def prepare(self):
        self.broker, self.warehouse = self.rig.rabbitmq(), self.rig.clickhouse()
        self.warehouse.query("CREATE DATABASE IF NOT EXISTS _e")
        self.plugins = self.rig.fresh("plugins")
        plugin = os.path.join(self.plugins, "tables.so")
        shutil.copyfile(os.path.join(self.rig.build, "bench", ".libs", "tables.so"), plugin)
        os.chmod(plugin, stat.S_IRUSR | stat.S_IXUSR)	# nobody else may write it, or it is refused
        self.made = set()

    def finish(self):
        for table in self.made:
            self.warehouse.query(f"DROP TABLE IF EXISTS _e.{table}")
            self.broker.ctl("delete_queue", table + "_q", check=False)

    def shape(self, x):
        """(tables, rows of an insert or None, bytes of an event, most events)"""
        raise NotImplementedError

    def daemon(self, tables, batch):
        each = f"{{batch: {{rows: {batch}}}}}" if batch else "{}"
        config = CONFIG.format(bus=self.broker.url(), warehouse=self.warehouse.url(database="_e"),
                               sinks="\n".join(f"  {table}: {each}" for table in tables))
        return rigs.Sluiced(self.rig, config, self.plugins)

    def fill(self, tables, events, size, batch):
        per_message = max(1, min(RELAY_EVENTS, RELAY_BYTES // size, batch or RELAY_EVENTS))
        each = -(-events // len(tables) // per_message) * per_message
        for table in tables:
            self.warehouse.query(f"TRUNCATE TABLE IF EXISTS _e.{table}")
            done = rigs.run([os.path.join(self.rig.build, "bench/queue_fill"), self.broker.url(), table + "_q", str(each),
                             str(per_message), str(size)], timeout=300)
            if done.returncode != 0:
                raise RuntimeError(f"filling the queue: {done.stdout}{done.stderr}")
        self.rig.settle()
        return each * len(tables)

    def measure(self, x, seconds):
        count, batch, size, most = self.shape(x)
        tables = [f"table_{number + 1}" for number in range(count)]
        if not self.made.issuperset(tables):
            with self.daemon(tables, batch) as sluiced:		# makes queues and tables
                sluiced.start()
            self.made.update(tables)
        least = INSERTS * min(batch or BATCH_ROWS, BATCH_BYTES // size) if seconds >= 1 else 1000
        events = self.fill(tables, min(most, max(least, pace(self, x, seconds))), size, batch)
        with self.daemon(tables, batch) as sluiced:
            run = self.run(sluiced, events, size)
        rows = [self.warehouse.query(f"SELECT count(), uniqExact(event_id) FROM _e.{table}")[0] for table in tables]
        if not sum(int(row[0]) for row in rows) == sum(int(row[1]) for row in rows) == events:
            raise RuntimeError(f"{events} events, rows and distinct ones in each table: {rows}")
        self.speed = speed_of(self, x, run)
        return run

    def run(self, sluiced, events, size):
        start = sluiced.start(every=0.01)
        roles = {role: pids for role, pids in roles_of([sluiced]).items() if role in ("supervisor", "sink")}
        watch = self.rig.meter({**roles, **self.rig.pids("rabbitmq", "clickhouse")}, self.name)
        first = sluiced.metric("sink_rows_total")
        samples = [(start, 0)] + sluiced.watch("sink_rows_total", events, 240)
        end = time.monotonic()
        meter.settle([self.warehouse.process.pid], deadline=TAIL)	# merges
        used = without_roles(watch.stop(), roles)
        rate = slope(samples, events, first=0)
        return Run({"rate": rate, "MB/s": rate * size / 1e6, "until empty": events / (end - start),
                    "rows of an insert": events / max(1, sluiced.metric("sink_batches_total"))},
                   max(1, events - first), used)

    @classmethod
    def panels(cls, points, _xs, cpu):
        return [Panel("events/s", [("inserted", points("rate"))], log=cls.y_log), cpu]


class Batch(SinkCurve):
    name, what = "batch", "RabbitMQ to ClickHouse with larger inserts; events/s"
    axis, x_log, y_log = "rows of an insert (batch.rows)", True, True
    note = f"events of {USUAL} bytes, in messages of no more than an insert"
    expected = {100: 4000, 1000: 40000, 5000: 80000, 20000: 90000, 50000: 100000}
    quick = (100, 5000, 50000)

    def shape(self, x):
        return 1, x, USUAL, max(200 * x, 20000)


class Size(SinkCurve):
    name, what = "size", "RabbitMQ to ClickHouse with larger events; events/s"
    axis, x_log, y_log, note = "bytes of an event", True, True, "messages of 256 KiB or 500 events, as relays make them"
    expected = {300: 130000, 1000: 70000, 3000: 30000, 10000: 10000, 30000: 3500}
    quick = (300, 3000, 30000)

    def shape(self, x):
        return 1, None, x, 400000000 // x

    @classmethod
    def panels(cls, points, xs, cpu):
        return [*super().panels(points, xs, cpu)[:1], Panel("MB/s", [("inserted", points("MB/s"))]), cpu]


class Tables(SinkCurve):
    name, what = "tables", "RabbitMQ to ClickHouse with as many events in more queues and tables; events/s in all"
    axis, x_log, y_log, note = "queues and tables, a sink process for each", True, False, f"events of {USUAL} bytes"
    expected = {1: 100000, 2: 110000, 4: 110000, 8: 100000}
    quick = (1, 8)

    def shape(self, x):
        return x, None, USUAL, 1000000


CURVES = (Batch, Size, Tables)
