# SPDX-License-Identifier: Apache-2.0
"""Tasks on PostgreSQL with every commit on disk: ones that do nothing, and ones of the usual size."""
import os
import shutil
import stat
import tempfile

import rig as rigs
from report import Run, Target

NOOP = """\
version: 1
mode: processes
stores:
  tasks: {tasks}
  bus: direct
  warehouse: {warehouse}
flows:
  noop: {{workers: {workers}, concurrency: 256}}
sinks:
  scrape_request_log_events: {{}}
"""


class Noop:
    """Both sides have their tasks in the database before the clock starts."""
    name, what = "noop", "tasks that do nothing: claimed and completed, status events written; tasks/s"
    contenders = ("sluice", "graphile")
    targets = (Target("sluice", "rate", at_least=1, to="graphile"),)

    def __init__(self, rig):
        self.rig, self.round = rig, 0

    def prepare(self):
        self.store, self.warehouse = self.rig.postgres(), self.rig.clickhouse()
        self.warehouse.query("CREATE DATABASE IF NOT EXISTS _e")
        self.plugins = self.rig.fresh("plugins")
        plugin = os.path.join(self.plugins, "noop.so")
        shutil.copyfile(os.path.join(self.rig.build, "bench", ".libs", "noop.so"), plugin)
        os.chmod(plugin, stat.S_IRUSR | stat.S_IXUSR)	# nobody else may write it, or it is refused

    def finish(self):
        self.warehouse.query("DROP TABLE IF EXISTS _e.scrape_request_log_events")
        self.store.drop_databases()

    def measure(self, contender):
        self.round += 1
        # The reference takes a minute to put 40,000 jobs into its table.
        counts = {"sluice": 30000, "graphile": 15000} if self.rig.quick else {"sluice": 100000, "graphile": 40000}
        return getattr(self, contender)(counts[contender])

    def sluice(self, count):
        config = NOOP.format(tasks=self.store.create_database(f"noop{self.round}"),
                             warehouse=self.warehouse.url(database="_e"), workers=2)
        with rigs.Sluiced(self.rig, config, self.plugins) as sluiced:
            sluiced.submit("noop", "--count", str(count))
            self.store.sql("VACUUM ANALYZE", f"noop{self.round}")
            self.store.sql("CHECKPOINT")
            self.rig.settle()
            start = sluiced.start()
            watch = self.rig.meter({"sluiced": sluiced.pid, **self.rig.pids("postgresql", "clickhouse")}, self.name)
            samples = sluiced.watch("tasks_completed_total", count, 180)
            used = watch.stop()
        return Run({"rate": count / (samples[-1][0] - start)}, count, used)

    def graphile(self, count):
        name = f"graphile{self.round}"
        url = self.store.create_database(name)
        self.rig.settle()
        command = [*self.rig.node("graphile.js", "graphile-worker", "pg"), str(count), "24", "batched"]
        return self.rig.reference(command, r"= (\d+)/s", count, self.rig.pids("postgresql"),
                                  dict(os.environ, PG_URL=url))


TASK = """\
version: 1
mode: processes
stores:
  tasks: {tasks}
  bus: {bus}
  warehouse: clickhouse://127.0.0.1:9/_e
sources:
  graphapi: {{base_url: {sim}/graphapi/v12.0, credential: {{token: t, user_id: "178414"}}}}
flows:
  refresh_profile_basic: {{workers: 2, concurrency: 50}}
sinks: {sinks}
"""
SINKS = ("profile_log_events", "post_log_events", "scrape_request_log_events")


def people(count, first=0):
    """Numbers of simulated profiles that have posts: every fiftieth has none."""
    number = first
    while count > 0:
        if number % 50 != 49:
            yield number
            count -= 1
        number += 1


def submit_people(sluiced, numbers):
    with tempfile.NamedTemporaryFile("w", dir=sluiced.folder, suffix=".jsonl", encoding="utf-8") as out:
        for number in numbers:
            out.write('{"handle":"user_%d","profile_id":null}\n' % number)
        out.flush()
        sluiced.submit("refresh_profile_basic", "--file", out.name)


class Task:
    """A response of about 36 kB, 13 records upserted, 13 events confirmed by the broker."""
    name, what = "task", "tasks with a response of 36 kB, 13 upserts and 13 events into RabbitMQ; tasks/s"
    contenders = ("sluice", "py_worker")
    targets = (Target("sluice", "rate", at_least=6, to="py_worker"),)
    events = 13

    def __init__(self, rig):
        self.rig, self.round = rig, 0

    def prepare(self):
        self.store, self.broker = self.rig.postgres(), self.rig.rabbitmq()
        self.sim = self.rig.simulator()
        self.reference_ready = False
        # The events are to end in the broker: their sinks run once, so that the queues are there.
        with rigs.Sluiced(self.rig, self.config("task0", SINKS)) as sluiced:
            sluiced.start()
            rigs.harness.poll("the queues", lambda: {sink + "_q" for sink in SINKS} <= set(self.broker.queues()))

    def config(self, database, sinks):
        return TASK.format(tasks=self.store.create_database(database), bus=self.broker.url(), sim=self.sim.url,
                           sinks="{" + ", ".join(f"{sink}: {{}}" for sink in sinks) + "}")

    def finish(self):
        self.clear_queues()
        self.store.drop_databases()

    def clear_queues(self):
        for sink in SINKS:
            self.broker.ctl("purge_queue", sink + "_q")

    def measure(self, contender):
        self.round += 1
        return getattr(self, contender)()

    def sluice(self):
        count = 3000 if self.rig.quick else 20000
        name = f"task{self.round}"
        with rigs.Sluiced(self.rig, self.config(name, ["order_log_events"])) as sluiced:
            submit_people(sluiced, people(count))
            self.store.sql("VACUUM ANALYZE", name)
            self.store.sql("CHECKPOINT")
            self.rig.settle()
            start = sluiced.start()
            watch = self.rig.meter({"sluiced": sluiced.pid, "simulator": self.sim.process.pid,
                                 **self.rig.pids("postgresql", "rabbitmq")}, self.name)
            done = sluiced.watch("tasks_completed_total", count, 180)[-1][0]
            # Status events are relayed too: three of each task.
            end = sluiced.watch("relay_events_total", count * (self.events + 3), 180)[-1][0]
            used = watch.stop()
            if sluiced.metric("events_total") != count * self.events:
                raise RuntimeError(f"{count} tasks made {sluiced.metric('events_total')} events")
        self.clear_queues()
        return Run({"rate": count / (end - start), "until committed": count / (done - start)}, count * self.events, used)

    def py_worker(self):
        count = 1000 if self.rig.quick else 4000
        command = self.rig.python("py_worker.py", "asyncpg", "uvloop", "kombu", "aio_pika")
        port = self.rig.nginx()
        if not self.reference_ready:
            self.store.create_database("py_worker")
            with open(os.path.join(self.rig.shared, "py_worker.sql"), encoding="utf-8") as file:
                self.store.sql(file.read(), "py_worker")
            self.reference_ready = True
        self.store.sql("CHECKPOINT")
        self.rig.settle()
        run = self.rig.reference([*command, "tuned", "2", "50", str(count)], r"= ([\d.]+) tasks/s", count * self.events,
                                 self.rig.pids("postgresql", "rabbitmq"),
                                 dict(self.rig.environment(), PG_URL=self.store.url("py_worker"), UPSTREAM_PORT=str(port)))
        self.clear_queues()
        return run


STAGES = (Noop, Task)
