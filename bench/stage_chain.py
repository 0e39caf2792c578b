# SPDX-License-Identifier: Apache-2.0
"""The whole chain: tasks in, rows out, on servers and on the embedded stores."""
import collections
import itertools
import json
import os
import statistics
import threading
import time
import urllib.request

import rig as rigs
from report import Run, Target
from stage_task import people, submit_people

EVENTS = 13			# of a task, and its three status events beside them
ROWS = EVENTS + 3
TABLES = {"profile_log_events": 1, "post_log_events": 12, "scrape_request_log_events": 3}	# rows of a task
RATE = 11600			# events per second, status events not counted
LOAD = 20000			# different profiles
PROBES = 1000000		# the first profile of those whose events are waited for

CONFIG = """\
version: 1
mode: {mode}
stores:
{stores}
sources:
  graphapi: {{base_url: {sim}/graphapi/v12.0, credential: {{token: t, user_id: "178414"}}}}
flows:
  refresh_profile_basic: {{workers: {workers}, concurrency: {concurrency}}}
sinks:
  profile_log_events: {{}}
  post_log_events: {{}}
  scrape_request_log_events: {{}}
"""


class Books:
    """Whether every event that was committed is in its table, once."""

    def __init__(self, query, tasks):
        self.wrong = []
        for table, each in TABLES.items():
            rows, distinct = map(int, query(f"SELECT count(), uniqExact(event_id) FROM _e.{table}"))
            if not rows == distinct == each * tasks:
                self.wrong.append(f"{table}: {each * tasks} expected, {rows} rows, {distinct} distinct")


class Chain:
    """On PostgreSQL, RabbitMQ and ClickHouse; each measurement has a new database, empty queues, empty tables."""

    def __init__(self, rig):
        self.rig, self.round = rig, 0

    def prepare(self):
        self.store, self.broker, self.warehouse = self.rig.postgres(), self.rig.rabbitmq(), self.rig.clickhouse()
        self.sim = self.rig.simulator()
        self.warehouse.query("CREATE DATABASE IF NOT EXISTS _e")

    def drop_tables(self):
        for table in TABLES:
            self.warehouse.query(f"DROP TABLE IF EXISTS _e.{table}")

    def finish(self):
        self.drop_tables()
        self.store.drop_databases()

    def open(self):
        return rigs.Sluiced(self.rig, self.configure())

    def configure(self, workers=2, concurrency=50):
        """The configuration of a new database, empty queues and no tables."""
        self.round += 1
        self.drop_tables()
        self.database = f"{self.name}{self.round}"
        self.clear_queues()
        stores = (f"  tasks: {self.store.create_database(self.database)}\n  bus: {self.broker.url()}\n"
                  f"  warehouse: {self.warehouse.url(database='_e')}")
        return CONFIG.format(mode="processes", stores=stores, sim=self.sim.url, workers=workers, concurrency=concurrency)

    def clear_queues(self):
        for queue in TABLES:
            self.broker.ctl("purge_queue", queue + "_q", check=False)

    def meter(self, sluiced):
        return self.rig.meter({"sluiced": sluiced.pid, "simulator": self.sim.process.pid,
                            **self.rig.pids("postgresql", "rabbitmq", "clickhouse")}, self.name)

    def books(self, tasks):
        return Books(lambda sql: self.warehouse.query(sql)[0], tasks)


class Load(threading.Thread):
    """Submits tasks at a steady rate, by a process every few seconds: starting one takes a fifth of a second of CPU."""
    AHEAD_S = 3

    def __init__(self, sluiced, per_second, probes=lambda: []):
        """probes: gives the numbers of those that go among the next lot."""
        super().__init__(daemon=True)
        self.sluiced, self.per_second, self.probes = sluiced, per_second, probes
        self.submitted, self.error = 0, None
        self.numbers = itertools.cycle(people(LOAD))
        self.ending = threading.Event()
        self.start_time = time.monotonic()

    def run(self):
        try:
            while not self.ending.wait(max(0.0, self.next_time() - time.monotonic())):
                due = int(self.due() + self.AHEAD_S * self.per_second) - self.submitted
                submit_people(self.sluiced, self.lot(due))
                self.submitted += due
        except Exception as error:	# told by the thread that waits
            self.error = error

    def lot(self, count):
        """The probes among the others, evenly."""
        probes = self.probes()
        lot = list(itertools.islice(self.numbers, count - len(probes)))
        for place, probe in enumerate(probes, 1):
            lot.insert(place * count // len(probes) - 1, probe)
        return lot

    def due(self):
        """So many tasks should have been submitted."""
        return (time.monotonic() - self.start_time) * self.per_second

    def next_time(self):
        """A little before all are due, for submitting takes a while."""
        return self.start_time + self.submitted / self.per_second - 0.5

    def end(self):
        self.ending.set()
        self.join()
        if self.error is not None:
            raise self.error


def growth(lags):
    """How much longer, in seconds, the lag of the last third is than that of the middle one."""
    third = len(lags) // 3
    return statistics.mean(lags[-third:]) - statistics.mean(lags[-2 * third:-third])


class Steady(Chain):
    name, what = "chain", f"task to row on three servers at {RATE:,} events/s and as fast as it goes; events/s"
    contenders = ("steady", "burst")
    targets = (Target("steady", "rate", at_least=0.99 * RATE), Target("steady", "lag growth s", at_most=0.5),
               Target("steady", "books balance", at_least=1))

    def measure(self, contender):
        return getattr(self, contender)()

    def steady(self):
        seconds = 15 if self.rig.quick else 600
        with self.open() as sluiced:
            sluiced.start()
            load = Load(sluiced, RATE / EVENTS)
            load.start()
            time.sleep(5 if self.rig.quick else 10)		# what happens once only
            watch, start, first = self.meter(sluiced), time.monotonic(), sluiced.metric("sink_rows_total")
            lags = []
            while time.monotonic() - start < seconds and load.error is None:
                time.sleep(0.5)
                lags.append(max(0, load.due() - sluiced.metric("sink_rows_total") / ROWS) / load.per_second)
            rows, elapsed = sluiced.metric("sink_rows_total") - first, time.monotonic() - start
            used = watch.stop()
            load.end()
            figures, note = self.drain(sluiced, load.submitted)
        return Run({"rate": rows / ROWS * EVENTS / elapsed, "lag s": statistics.median(lags), "lag growth s": growth(lags),
                    **figures}, rows // ROWS * EVENTS, used, note)

    def drain(self, sluiced, tasks):
        """Waits for what is still on its way, as long as it moves and for ten minutes at most; then the books."""
        start, last, moved = time.monotonic(), -1, time.monotonic()
        while (rows := sluiced.metric("sink_rows_total")) < tasks * ROWS:
            now = time.monotonic()
            if rows != last:
                last, moved = rows, now
            if now - moved > 60 or now - start > (10 if self.rig.quick else 600):
                return {}, f"{tasks * ROWS - rows} rows of {tasks * ROWS} had not arrived {now - start:.0f} s after the end"
            time.sleep(0.1)
        statuses = self.store.sql("SELECT status, count(*) FROM scrape_request_log GROUP BY 1", self.database)
        wrong = self.books(tasks).wrong
        if statuses != [f"COMPLETE|{tasks}"]:
            wrong.append(f"tasks: {statuses}, not {tasks} COMPLETE")
        return {"books balance": float(not wrong), "drained after s": time.monotonic() - start}, "; ".join(wrong)

    def burst(self):
        """How much it can take: all tasks are there before the daemon starts."""
        count = 5000 if self.rig.quick else 50000
        with self.open() as sluiced:
            submit_people(sluiced, (n % LOAD for n in people(count)))
            self.store.sql("VACUUM ANALYZE", self.database)
            self.rig.settle()
            start = sluiced.start()
            watch = self.meter(sluiced)
            done = sluiced.watch("tasks_completed_total", count, 300)[-1][0]
            end = sluiced.watch("sink_rows_total", count * ROWS, 300)[-1][0]
            used = watch.stop()
            wrong = self.books(count).wrong
        return Run({"rate": count * EVENTS / (end - start), "until committed": count * EVENTS / (done - start)},
                   count * EVENTS, used, "; ".join(wrong))


class Fresh(Chain):
    name, what = "freshness", f"task committed to all its 13 rows visible, at {RATE // 2:,} events/s; seconds"
    contenders = ("sluice",)
    targets = (Target("sluice", "p99 s", at_most=2),)

    PER_SECOND = 20		# probes: tasks among those of the load whose rows are asked for

    def measure(self, _contender):
        self.probing, self.numbers, self.made = False, people(1000000, PROBES), collections.deque()
        with self.open() as sluiced:
            sluiced.start()
            self.began = time.time()
            load = Load(sluiced, RATE / 2 / EVENTS, self.probes)
            load.start()
            time.sleep(5)		# what happens once only
            self.probing = True
            watch = self.meter(sluiced)
            seen, late = self.watch(10 if self.rig.quick else 120, 15 if self.rig.quick else 30)
            used = watch.stop()
            load.end()
            lags = self.lags(seen)
        lags.sort()
        return Run({"p50 s": lags[len(lags) // 2], "p99 s": lags[int(len(lags) * 0.99)], "max s": lags[-1]},
                   int(RATE / 2 * used["seconds"]), used, f"{len(lags)} probes, {late} of them never seen")

    def probes(self):
        if not self.probing:
            return []
        lot = list(itertools.islice(self.numbers, self.PER_SECOND * Load.AHEAD_S))
        self.made.append(dict(zip(self.profile_ids(lot), (f"user_{number}" for number in lot))))
        return lot

    def watch(self, seconds, more_seconds):
        """Asks for the probes' rows all the time, and a while longer for those of the last.

        {handle: wall clock when all its rows were seen}, and how many were not.
        """
        waiting, seen, start = {}, {}, time.monotonic()
        while self.probing or (waiting and time.monotonic() - start < seconds + more_seconds):
            self.probing = time.monotonic() - start < seconds
            while self.made:
                waiting.update(self.made.popleft())
            for profile in self.arrived(waiting):
                seen[waiting.pop(profile)] = time.time()
            time.sleep(0.1)
        late = len(waiting)
        seen.update((handle, time.time()) for handle in waiting.values())	# at least so late
        return seen, late

    def profile_ids(self, numbers):
        url = f"{self.sim.url}/_sim/keys?kind=profile&from={numbers[0]}&count={numbers[-1] - numbers[0] + 1}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            keys = json.load(answer)
        return [keys[number - numbers[0]] for number in numbers]

    def arrived(self, waiting):
        if not waiting:
            return []
        condition = "platform = 'INSTAGRAM' AND profile_id IN (" + ",".join(f"'{profile}'" for profile in waiting) + ")"
        rows = self.warehouse.query(
            "SELECT profile_id, count() FROM (" + " UNION ALL ".join(
                f"SELECT profile_id FROM _e.{table} WHERE {condition}" for table in ("profile_log_events", "post_log_events"))
            + ") GROUP BY profile_id")
        return [profile for profile, count in rows if int(count) == EVENTS]

    def lags(self, seen):
        rows = self.store.sql("SELECT params->>'handle', extract(epoch FROM pg_xact_commit_timestamp(xmin))"
                              " FROM scrape_request_log WHERE status = 'COMPLETE'", self.database)
        committed = dict(row.split("|") for row in rows)
        # A task that is not complete is as old as the run.
        return [at - float(committed.get(handle, self.began)) for handle, at in seen.items()]


class Embedded:
    name, what = "embedded", "the same on SQLite and chDB, mode: single; tasks/s (13 events each)"
    contenders = ("sluice",)
    targets = (Target("sluice", "rate", at_least=500),)

    def __init__(self, rig):
        self.rig = rig

    def prepare(self):
        self.sim = self.rig.simulator()
        self.rig.need_chdb()

    def finish(self):
        pass

    def measure(self, _contender):
        count = 2000 if self.rig.quick else 20000
        stores = "  tasks: sqlite:${STATE}/sluice.db\n  bus: direct\n  warehouse: chdb:${STATE}/warehouse"
        with rigs.Sluiced(self.rig, CONFIG.format(mode="single", stores=stores, sim=self.sim.url, workers=2,
                                                    concurrency=50)) as sluiced:
            sluiced.start()		# makes the stores
            sluiced.stop()
            submit_people(sluiced, people(count))
            self.rig.settle()
            start = sluiced.start()
            watch = self.rig.meter({"sluiced": sluiced.pid, "simulator": self.sim.process.pid}, self.name)
            done = sluiced.watch("tasks_completed_total", count, 300)[-1][0]
            end = sluiced.watch("sink_rows_total", count * ROWS, 300)[-1][0]
            used = watch.stop()
            wrong = Books(lambda sql: sluiced.daemon.sql(sql)[0], count).wrong
        if wrong:
            raise RuntimeError("; ".join(wrong))
        return Run({"rate": count / (end - start), "until committed": count / (done - start)}, count * EVENTS, used)


STAGES = (Steady, Fresh, Embedded)
