# SPDX-License-Identifier: Apache-2.0
"""How the chain from task to row grows: with worker processes, with tasks at once in each, with nodes."""
import contextlib
import time

import meter
import rig as rigs
from plot import Panel
from report import Run
from stage_chain import EVENTS, LOAD, ROWS, Chain
from stage_task import people, submit_people

LATENCY_MS = 500		# of the upstream where tasks at once are what limits
TAIL = 5.0			# seconds at most that what servers do afterwards counts as well


def slope(samples, of, first=0.2, last=0.8):
    """Growth per second of the middle part of [(time, value)]; of: where the values end."""
    begin = next(sample for sample in samples if sample[1] >= first * of)
    end = next(sample for sample in samples if sample[1] >= last * of)
    if end[0] <= begin[0]:		# all at once: from the beginning then
        begin = samples[0]
    return (end[1] - begin[1]) / max(end[0] - begin[0], 0.001)


def pace(curve, x, seconds):
    """How many items are some seconds of work at x: as expected, but for how the machine did at the point before."""
    return int(curve.expected[x] * curve.speed * seconds)


def speed_of(curve, x, run):
    """What pace() is told by a point: a part of it, for the next one is limited by something else."""
    return min(2.0, max(0.2, run.figures["rate"] / curve.expected[x]))


def roles_of(daemons):
    """{role: [pid]} for a meter; all of them together are the supervisors and what is below them."""
    roles = {"supervisor": [daemon.pid for daemon in daemons]}
    for daemon in daemons:
        for role, pids in daemon.roles().items():
            roles.setdefault(role, []).extend(pids)
    return roles


def without_roles(used, roles):
    """What was used, the supervisor without its children."""
    for kind in used["cpu"], used["peak"]:
        kind["supervisor"] -= sum(kind[role] for role in roles if role != "supervisor")
    return used


class TaskCurve(Chain):
    """Points are daemons with a new database and all tasks there before they start; what is counted is what came after."""
    item, programs, rate = "task", ("all", "sluice-sim"), "rate"
    latency_ms, least, speed, failed = 0, 50, 1.0, False

    def prepare(self):
        super().prepare()
        self.sim = self.rig.simulator(self.latency_ms)

    def clear_queues(self):
        if self.failed:			# nothing is left of points that ended well
            super().clear_queues()

    def shape(self, x):
        """(nodes, workers of each, concurrency of each worker)"""
        raise NotImplementedError

    def measure(self, x, seconds):
        nodes, workers, concurrency = self.shape(x)
        count = max(self.least, pace(self, x, seconds), 2 * nodes * workers * concurrency if seconds >= 1 else 0)
        self.failed, config = True, self.configure(workers, concurrency)
        with contextlib.ExitStack() as stack:
            daemons = [stack.enter_context(rigs.Sluiced(self.rig, config)) for _ in range(nodes)]
            submit_people(daemons[0], (number % LOAD for number in people(count)))
            self.store.sql("VACUUM ANALYZE", self.database)
            self.store.sql("CHECKPOINT")
            self.rig.settle()
            run = self.run(daemons, count)
        self.failed = False
        self.store.sql(f"DROP DATABASE {self.database}")
        self.speed = speed_of(self, x, run)
        return run

    def run(self, daemons, count):
        before = self.sizes()
        for daemon in daemons:
            daemon.begin()
        for daemon in daemons:
            daemon.wait_ready()
        roles, start = roles_of(daemons), self.counters(daemons)
        watch = self.rig.meter({**roles, "upstream": self.sim.process.pid,
                                **self.rig.pids("postgresql", "rabbitmq", "clickhouse")}, self.name)
        done, rows, connections = self.watch(daemons, count)
        meter.settle([server.process.pid for server in (self.store, self.warehouse)], deadline=TAIL)
        used = without_roles(watch.stop(), roles)
        wrong = self.books(count).wrong
        if wrong:
            raise RuntimeError("; ".join(wrong))
        items = count - start["tasks_completed_total"]
        figures = {"rate": slope(done, count), "landed": slope(rows, count * ROWS, first=0) / ROWS,
                   "worker MiB": used["peak"]["worker"] / len(roles["worker"]), "connections": connections,
                   **self.per_task(daemons, before, count)}
        return Run(figures, max(1, items), used)

    def counters(self, daemons):
        total = {}
        for daemon in daemons:
            for name, value in daemon.status().get("metrics", {}).items():
                total[name.removeprefix("sluice_")] = total.get(name.removeprefix("sluice_"), 0) + value
        return total

    def watch(self, daemons, count):
        """[(time, tasks)], [(time, rows)] until all are there; connections to the database in the middle of it."""
        begin = moved = time.monotonic()
        done, rows, connections = [(begin, 0)], [(begin, 0)], 0
        while rows[-1][1] < count * ROWS:
            total, now = self.counters(daemons), time.monotonic()
            for samples, name in ((done, "tasks_completed_total"), (rows, "sink_rows_total")):
                if total.get(name, 0) != samples[-1][1]:
                    samples.append((now, total.get(name, 0)))
                    moved = now
            if not connections and done[-1][1] >= count / 2:
                connections = int(self.store.sql("SELECT count(*) FROM pg_stat_activity"
                                                 f" WHERE datname = '{self.database}'", "postgres")[0])
            if now - moved > 60:
                raise RuntimeError(f"{done[-1][1]} of {count} tasks, {rows[-1][1]} of {count * ROWS} rows, and for a"
                                   f" minute no more\n{daemons[0].daemon.tail(20)}")
            for daemon in daemons:
                daemon.daemon.alive()
            time.sleep(0.03)
        return done, rows, connections

    def sizes(self):
        """Bytes: written ahead, in the table of tasks, and in the tables of current state."""
        row, = self.store.sql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), pg_total_relation_size('scrape_request_log'),"
                              " coalesce(sum(pg_total_relation_size(relid)), 0) FROM pg_stat_user_tables"
                              " WHERE relname NOT IN ('outbox', 'scrape_request_log')", self.database)
        return [int(field) for field in row.split("|")]

    def per_task(self, daemons, before, count):
        total = self.counters(daemons)
        log, tasks, state = self.sizes()
        packed, = self.warehouse.query("SELECT sum(bytes_on_disk), sum(rows) FROM system.parts"
                                       " WHERE database = '_e' AND active")
        return {"WAL kB": (log - before[0]) / count / 1000, "task kB": tasks / count / 1000,
                "state kB": (state - before[2]) / count / 1000,
                "outbox kB": total["outbox_bytes_total"] / count / 1000,
                "answer kB": total["response_bytes_total"] / count / 1000,
                "warehouse kB": int(packed[0]) / max(1, int(packed[1])) * ROWS / 1000}

    @staticmethod
    def rates(points, more=()):
        return Panel("tasks/s", [("committed", points("rate")), ("landed", points("landed")), *more],
                     log=bool(more), dashed=[label for label, _ in more])


class Workers(TaskCurve):
    name, what = "workers", "task to row with more worker processes of 50 tasks; tasks/s"
    axis, x_log = "worker processes", True
    note = f"{EVENTS} events and 3 status events of each task; 50 tasks at once in a process"
    expected = {1: 180, 2: 250, 4: 280, 8: 280, 16: 280}
    quick = (1, 4, 16)

    def shape(self, x):
        return 1, x, 50

    @classmethod
    def panels(cls, points, _xs, cpu):
        return [cls.rates(points), cpu]


class Concurrency(TaskCurve):
    name = "concurrency"
    what = f"task to row with more tasks at once in one worker, an answer taking {LATENCY_MS} ms; tasks/s"
    axis, x_log, note = "tasks at once", True, f"one worker process; the upstream answers after {LATENCY_MS} ms"
    expected = {x: min(x * 1000 / LATENCY_MS, 180) for x in (5, 20, 100, 500, 2000)}
    quick = (5, 100, 500)
    latency_ms, least = LATENCY_MS, 20

    def shape(self, x):
        return 1, 1, x

    @classmethod
    def panels(cls, points, xs, cpu):
        bound = [x * 1000 / LATENCY_MS for x in xs]
        return [cls.rates(points, [("tasks / latency", bound)]), cpu,
                Panel("memory of the worker, MiB", [("peak", points("worker MiB"))])]


class Nodes(TaskCurve):
    name, what = "nodes", "task to row with more daemons on the same servers, each with 2 workers of 50 tasks; tasks/s"
    axis, x_log, note = "nodes", False, "all nodes and all servers share the same processors"
    expected = {1: 250, 2: 270, 3: 270}
    quick = (1, 2)

    def shape(self, x):
        return x, 2, 50

    @classmethod
    def panels(cls, points, _xs, cpu):
        return [cls.rates(points), cpu]


CURVES = (Workers, Concurrency, Nodes)
