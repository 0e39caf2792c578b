# SPDX-License-Identifier: Apache-2.0
"""From the broker into the warehouse, and decoding alone."""
import contextlib
import os
import re
import subprocess
import urllib.parse

import rig as rigs
from report import Run, Target

QUEUE = "profile_log_events_q"
TABLE = "_e.profile_log_events"
CONFIG = """\
version: 1
stores:
  tasks: sqlite:${{STATE}}/sluice.db
  bus: {bus}
  warehouse: {warehouse}
sinks:
{sinks}
"""


class Sink:
    """A queue full of events, and who empties it into the table."""

    def __init__(self, rig):
        self.rig = rig

    def prepare(self):
        self.broker, self.warehouse = self.rig.rabbitmq(), self.rig.clickhouse()
        self.warehouse.query("CREATE DATABASE IF NOT EXISTS _e")
        self.config = CONFIG.format(bus=self.broker.url(), warehouse=self.warehouse.url(database="_e"),
                                    sinks="  profile_log_events: {}")
        with rigs.Sluiced(self.rig, self.config) as sluiced:	# makes queue and table
            sluiced.start()

    def finish(self):
        self.warehouse.query(f"TRUNCATE TABLE IF EXISTS {TABLE}")

    def fill(self, events, per_message=None):
        """The queue with exactly so many events, the table with none."""
        per_message = str(per_message or self.per_message)
        self.warehouse.query(f"TRUNCATE TABLE IF EXISTS {TABLE}")
        if self.rig.shared is not None:
            command = [self.rig.compiled("fill"), QUEUE, str(events), per_message]
        else:
            command = [os.path.join(self.rig.build, "bench/queue_fill"), self.broker.url(), QUEUE, str(events),
                       per_message]
        done = rigs.run(command, env=self.rig.environment(), timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f"filling the queue: {done.stdout}{done.stderr}")
        self.rig.settle()

    def rows(self):
        return int(self.warehouse.query(f"SELECT count() FROM {TABLE}")[0][0])

    def measure_sluice(self, events):
        """The rate up to the last insert but one: after it the sink waits for the batch to grow, as it should."""
        self.fill(events)
        with rigs.Sluiced(self.rig, self.config) as sluiced:
            start = sluiced.start(every=0.005)
            watch = self.rig.meter({"sluiced": sluiced.pid, **self.rig.pids("rabbitmq", "clickhouse")}, self.name)
            samples = sluiced.watch("sink_rows_total", events, 180)
            used = watch.stop()
        counted, distinct = self.warehouse.query(f"SELECT count(), uniqExact(event_id) FROM {TABLE}")[0]
        if not int(counted) == int(distinct) == events:
            raise RuntimeError(f"{events} events, {counted} rows, {distinct} distinct")
        steady = samples[-2] if len(samples) > 1 and samples[-2][1] >= events / 2 else samples[-1]
        return Run({"rate": steady[1] / (steady[0] - start), "until empty": events / (samples[-1][0] - start)},
                   events, used)

    def measure_reference(self, command, pattern, count, stores=True):
        """One that takes messages of one event each; stores: into the table."""
        self.fill(count, 1)
        run = self.rig.reference(command, pattern, count, self.groups())
        if stores and self.rows() < count:
            raise RuntimeError(f"{os.path.basename(command[0])}: {self.rows()} rows of {count}")
        return run

    def measure_go_sinker(self):
        count = 20000 if self.rig.quick else 100000
        return self.measure_reference([self.rig.go_sinker(), "-q", QUEUE, "-n", str(count), "-c", "20", "-prefetch", "1"],
                                      r"= (\d+) events/s", count)

    def groups(self):
        return self.rig.pids("rabbitmq", "clickhouse")


class OneEvent(Sink):
    name, what = "sink-one", "RabbitMQ to ClickHouse, one event per message; events/s"
    contenders = ("sluice", "drain", "node_sinker", "go_sinker")
    per_message = 1
    targets = (Target("sluice", "rate", at_least=0.85, to="drain"),
               Target("sluice", "rate", at_least=1.5, to="node_sinker"),
               Target("sluice", "rate", at_least=4, to="go_sinker"))

    def measure(self, contender):
        count = 60000 if self.rig.quick else 400000		# seconds for each
        if contender == "sluice":
            return self.measure_sluice(count)
        if contender == "drain":
            return self.measure_reference([self.rig.compiled("drain"), QUEUE, str(count), "20000", "1000"],
                                          r"(\d+) messages/s", count, stores=False)
        if contender == "node_sinker":
            return self.measure_reference([*self.rig.node("node_sinker.js", "amqplib"), QUEUE, str(count), "10000", "5000"],
                                          r"= (\d+)/s", count)
        return self.measure_go_sinker()


class ManyEvents(Sink):
    name, what = "sink-many", "RabbitMQ to ClickHouse, 100 events per message; events/s"
    contenders = ("sluice", "insert", "go_sinker")		# the last one reads the same events one by one, as it must
    per_message = 100
    targets = (Target("sluice", "rate", at_least=0.6, to="insert"), Target("sluice", "rate", at_least=25, to="go_sinker"))
    file = None

    def size(self):
        return 300000 if self.rig.quick else 1500000

    def measure(self, contender):
        if contender == "sluice":
            run = self.measure_sluice(self.size())
            if self.file is None:
                self.save()
            return run
        if contender == "go_sinker":
            return self.measure_go_sinker()
        if self.file is None:		# the rows come from the table
            self.measure_sluice(self.size())
            self.save()
        return self.measure_insert()

    def address(self, query, **settings):
        return f"http://127.0.0.1:{self.warehouse.port}/?" + urllib.parse.urlencode({"query": query, **settings})

    def save(self):
        """The rows in the order they were sent, as Native blocks of the server's own size."""
        self.file = os.path.join(self.rig.fresh("native"), "rows")
        query = f"SELECT * FROM {TABLE} ORDER BY length(assumeNotNull(handle)), handle FORMAT Native"
        # All rows are sorted in memory, which is more than a query may use otherwise.
        address = self.address(query, max_memory_usage=8 << 30)
        subprocess.run(["curl", "-sS", "--fail", "-o", self.file, address], check=True, timeout=120)

    def measure_insert(self):
        self.warehouse.query(f"TRUNCATE TABLE IF EXISTS {TABLE}")
        self.rig.settle()
        run = self.rig.reference(
            ["curl", "-sS", "--fail", "-X", "POST", "-H", "Expect:", "-T", self.file, "-w", "time %{time_total}\n",
             self.address(f"INSERT INTO {TABLE} FORMAT Native")], r"time ([\d.]+)", self.size(), self.groups())
        if self.rows() != self.size():
            raise RuntimeError(f"insert: {self.rows()} rows of {self.size()}")
        run.figures["rate"] = self.size() / run.figures["rate"]
        return run

    def finish(self):
        super().finish()
        if self.file is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.file)


class Decode:
    name, what = "decode", "decoding events of 500 bytes and encoding columns, one core; events/s"
    contenders = ("sluice",)
    targets = (Target("sluice", "rate", at_least=500000),)

    def __init__(self, rig):
        self.rig = rig

    def prepare(self):
        pass

    def finish(self):
        pass

    def measure(self, _contender):
        count = 1000000 if self.rig.quick else 3000000
        done = rigs.run([os.path.join(self.rig.build, "bench/decode_bench"), "-n", str(count)])
        found = re.search(r"cpu (\d+) events/s", done.stdout)
        if done.returncode != 0 or not found:
            raise RuntimeError(f"decode_bench: {done.stdout}{done.stderr}")
        return Run({"rate": float(found.group(1))}, count)


STAGES = (OneEvent, ManyEvents, Decode)
