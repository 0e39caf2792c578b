# SPDX-License-Identifier: Apache-2.0
"""What it costs to do nothing, and to have much to do."""
import os
import re
import time

import meter
import rig as rigs
from report import Run, Target

WORKERS = 105			# processes of the system that Sluice replaces


class Idle:
    """The shipped flows.yaml on servers, its workers multiplied until there are at least so many."""
    name, what = "idle", f"flows.yaml with {WORKERS} workers on three servers, nothing to do"
    contenders = ("sluice",)
    targets = (Target("sluice", "PSS MiB", at_most=300), Target("sluice", "CPU % of a core", at_most=1))

    def __init__(self, rig):
        self.rig, self.round = rig, 0

    def prepare(self):
        self.store, self.broker, self.warehouse = self.rig.postgres(), self.rig.rabbitmq(), self.rig.clickhouse()
        self.warehouse.query("CREATE DATABASE IF NOT EXISTS _e")

    def finish(self):
        for table in "profile_log_events", "post_log_events", "order_log_events", "scrape_request_log_events":
            self.warehouse.query(f"DROP TABLE IF EXISTS _e.{table}")
        self.store.drop_databases()

    def config(self, tasks):
        with open(os.path.join(rigs.SOURCE, "flows.yaml"), encoding="utf-8") as file:
            text = file.read()
        for key, url in (("tasks", tasks), ("bus", self.broker.url()), ("warehouse", self.warehouse.url(database="_e"))):
            text, changed = re.subn(rf"(?m)^  {key}: .*$", f"  {key}: {url}", text)
            if changed != 1:
                raise RuntimeError(f"flows.yaml has {changed} lines for stores.{key}")
        head, mark, flows = text.partition("\nflows:\n")
        workers = re.compile(r"(\{workers: )(\d+)")		# each flow says how many
        shipped = sum(int(found[2]) for found in workers.finditer(flows))
        factor = -(-WORKERS // shipped)
        return head + mark + workers.sub(lambda m: m[1] + str(int(m[2]) * factor), flows), shipped * factor

    def measure(self, _contender):
        self.round += 1
        config, workers = self.config(self.store.create_database(f"idle{self.round}"))
        with rigs.Sluiced(self.rig, config) as sluiced:
            self.rig.settle()
            sluiced.start(every=0.1)
            time.sleep(10 if self.rig.quick else 140)	# connections are closed after a minute, all sleep longer after two
            watch = self.rig.meter({"sluiced": sluiced.pid, **self.rig.pids("postgresql", "rabbitmq", "clickhouse")}, self.name)
            time.sleep(10 if self.rig.quick else 60)
            used = watch.stop()
            pids = meter.tree(meter.processes(), [sluiced.pid])
            pss = sum(map(meter.pss_kib, pids)) * 1024 / meter.MIB
            roles = {}
            for role in sluiced.status()["roles"]:
                roles[role["role"]] = roles.get(role["role"], 0) + 1
        if roles.get("worker") != workers:
            raise RuntimeError(f"{roles} and not {workers} workers")
        percent = {name: used["cpu"][name] * 100 / used["seconds"] for name in used["cpu"]}
        return Run({"PSS MiB": pss, "processes": len(pids), "CPU % of a core": percent["sluiced"] + percent["postgresql"],
                    **{f"{name} CPU %": percent[name] for name in percent}}, 0, used)


class Claims:
    """Eight processes claim lots of 50 from a backlog: as the store's driver does it, every claim on disk."""
    name, what = "claims", "claiming from a long backlog and from a short one; tasks/s"
    contenders = ("short", "long")
    targets = (Target("long", "rate", at_least=0.9, to="short"),)
    short = 10000

    def __init__(self, rig):
        self.rig, self.round = rig, 0
        self.long = 300000 if rig.quick else 10000000
        self.what = f"claiming from a backlog of {self.long:,} tasks and from one of {self.short:,}; tasks/s"

    def prepare(self):
        self.store = self.rig.postgres()
        self.program = os.path.join(self.rig.build, "bench/store_bench")
        self.backlog("claims_long", self.long)

    def finish(self):
        self.store.drop_databases()

    def backlog(self, name, count):
        url = self.store.create_database(name)
        done = rigs.run([self.program, "-u", url, "-n", "0"])	# makes the tables
        if done.returncode != 0:
            raise RuntimeError(f"store_bench: {done.stderr}")
        self.long_sql(
            "INSERT INTO scrape_request_log (platform, flow, status, priority, params, created_at, retry_count)"
            " SELECT 'BENCH', 'bench', 'PENDING', 1 + i % 3, '{\"handle\":\"somebody\"}', now() AT TIME ZONE 'UTC', 0"
            f" FROM generate_series(1, {count}) AS i;"
            f" INSERT INTO task_total (flow, status, shard, tasks) VALUES ('bench', 'PENDING', 0, {count})", name)
        self.long_sql("VACUUM ANALYZE scrape_request_log", name)
        self.long_sql("CHECKPOINT", name)
        return url

    def long_sql(self, text, database):
        """As Postgres.sql, which does not wait for so long."""
        done = rigs.run([os.path.join(self.store.bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
                         "-p", str(self.store.port), "-U", "sluice", "-d", database, "-c", text], timeout=1200)
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr}")

    def measure(self, contender):
        self.round += 1
        name = "claims_long"
        if contender == "short":
            name = f"claims{self.round}"
            self.backlog(name, self.short)
        count = 8000
        self.rig.settle()
        run = self.rig.reference([self.program, "-c", "-u", self.store.url(name), "-n", str(count), "-p", "8", "-b", "50"],
                                 r": (\d+) tasks/s", count, self.rig.pids("postgresql"))
        run.used["cpu"]["sluice"] = run.used["cpu"].pop("reference")
        run.used["peak"]["sluice"] = run.used["peak"].pop("reference")
        if contender == "short":
            self.store.sql(f"DROP DATABASE {name}")
        return run


STAGES = (Idle, Claims)
