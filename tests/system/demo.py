# SPDX-License-Identifier: Apache-2.0
"""The demonstration behind scripts/demo: the whole line on embedded stores, with its books balanced at the end.

Starts the simulator and sluiced, submits tasks of every flow, shows how they get on, and compares
what the simulator served with what arrived in the warehouse. Run again it goes on with the same data.
"""
import argparse
import json
import os
import sys
import time
import urllib.request

from harness import QUEUES, SOURCE, Daemon, Sim, poll

SHARES = [		# flow, share of the tasks, kind of keys, parameters for a lot of keys
    ("refresh_profile_by_handle", 0.25, "handle", 1, lambda keys: {"handle": keys[0]}),
    ("refresh_profile_by_profile_id", 0.12, "profile", 1, lambda keys: {"profile_id": keys[0]}),
    ("refresh_profile_basic", 0.13, "handle", 1, lambda keys: {"handle": keys[0], "profile_id": None}),
    ("refresh_post_by_shortcode", 0.13, "post", 1, lambda keys: {"shortcode": keys[0]}),
    ("refresh_yt_profiles", 0.10, "channel", 4, lambda keys: {"channel_ids": keys}),
    ("refresh_yt_posts", 0.08, "video", 10, lambda keys: {"post_ids": keys}),
    ("refresh_yt_posts_by_channel_id", 0.05, "channel", 1,
     lambda keys: {"channel_id": keys[0], "filter": {"start_date": "2020-01-01", "end_date": "2099-01-01"}}),
    ("refresh_orders_by_store", 0.09, "store", 1, lambda keys: {"store": keys[0], "limit": 50}),
    # last: it looks up what refresh_yt_profiles has stored
    ("refresh_yt_posts_by_playlist_id", 0.05, "channel", 1, lambda keys: {"channel_id": keys[0], "max_posts": 50}),
]

QUERIES = [
    ("Rows and sources of the post events",
     "SELECT platform, source, count() AS events, uniqExact(shortcode) AS posts FROM post_log_events"
     " GROUP BY platform, source ORDER BY events DESC"),
    ("The five profiles with the most followers",
     "SELECT handle, argMax(JSONExtractInt(metrics, 'followers'), event_timestamp) AS followers,"
     " argMax(JSONExtractString(dimensions, 'full_name'), event_timestamp) AS name FROM profile_log_events"
     " WHERE platform = 'INSTAGRAM' GROUP BY handle ORDER BY followers DESC LIMIT 5"),
    ("Tasks by flow and last status",
     "SELECT flow, status, count() AS tasks FROM (SELECT flow, scl_id, argMax(status, (event_timestamp,"
     " status IN ('COMPLETE', 'FAILED'))) AS status FROM scrape_request_log_events GROUP BY flow, scl_id)"
     " GROUP BY flow, status ORDER BY flow, status"),
]

DISTINCT = {		# what the simulator counts → the same in the warehouse
    "profiles": "SELECT uniqExact(profile_id) FROM profile_log_events WHERE platform = 'INSTAGRAM'",
    "posts": "SELECT uniqExact(shortcode) FROM post_log_events WHERE platform = 'INSTAGRAM'",
    "channels": "SELECT uniqExact(profile_id) FROM profile_log_events WHERE platform = 'YOUTUBE'",
    "videos": "SELECT uniqExact(shortcode) FROM post_log_events WHERE platform = 'YOUTUBE'",
    "orders": "SELECT uniqExact(platform_order_id) FROM order_log_events WHERE platform = 'SHOPIFY'",
}


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def table(head, rows):
    rows = [head] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells).rstrip())


class Demo:
    def __init__(self, options):
        self.options = options
        os.makedirs(options.folder, exist_ok=True)
        self.sim = Sim(options.folder, "--profiles", str(max(1000, options.tasks)))
        self.daemon = Daemon(options.folder, self.sim.url, config=os.path.join(SOURCE, "scripts", "demo.yaml"),
                             environment={"SIM": self.sim.url, "MODE": options.mode})

    def totals(self):
        """{flow: {complete, failed, requests, events}} since the store was made."""
        flows = {}
        for flow, status, tasks in self.daemon.store("SELECT flow, status, tasks FROM task_total"):
            flows.setdefault(flow, {})[status] = tasks
        for flow, requests, events in self.daemon.store("SELECT flow, requests, events FROM flow_total"):
            flows.setdefault(flow, {}).update(requests=requests, events=events)
        return flows

    def submit(self, flow, share, kind, lot, params):
        count = max(1, int(self.options.tasks * share))
        keys = []
        while len(keys) < count * lot:
            more = fetch(f"{self.sim.url}/_sim/keys?kind={kind}&from={len(keys)}&count={min(1000, count * lot - len(keys))}")
            if not more:
                break
            keys += more
        path = os.path.join(self.options.folder, "params.jsonl")
        with open(path, "w") as out:
            for i in range(count):
                some = [keys[(i * lot + k) % len(keys)] for k in range(lot)]
                out.write(json.dumps(params(list(dict.fromkeys(some)))) + "\n")
        self.daemon.ctl("submit", flow, "--file", path)
        return count

    def progress(self, done_before, submitted):
        live = sys.stdout.isatty()
        last = 0

        def show():
            nonlocal last
            statuses = self.daemon.statuses()
            waiting = self.daemon.store("SELECT coalesce(sum(events), 0) FROM outbox")[0][0]
            ended = statuses.get("COMPLETE", 0) + statuses.get("FAILED", 0) - done_before
            idle = not statuses.get("PENDING") and not statuses.get("PROCESSING") and waiting == 0
            if live or idle or time.monotonic() - last > 2:
                last = time.monotonic()
                print(f"{chr(13) if live else ''}  {ended}/{submitted} tasks ended, {statuses.get('PROCESSING', 0)} running, "
                      f"{waiting} events on their way    ", end="" if live else "\n", flush=True)
            return idle
        poll("the tasks to end and the events to arrive", show, self.options.deadline, 0.2)
        if live:
            print()

    def submit_all(self):
        counts, phases = {}, [SHARES[:-1], SHARES[-1:]]
        ended = sum(n for status, n in self.daemon.statuses().items() if status in ("COMPLETE", "FAILED"))
        for phase in phases:
            for flow, share, kind, lot, params in phase:
                counts[flow] = self.submit(flow, share, kind, lot, params)
            self.progress(ended, sum(counts.values()))
        return counts

    def books(self, marker):
        """What does not balance, as sentences."""
        wrong = []
        served = fetch(self.sim.url + "/_sim/stats")["since_mark"]
        print("\nSince this run's marker: served by the simulator, distinct in the warehouse")
        rows = []
        for what, statement in DISTINCT.items():
            found = int(self.daemon.sql(f"{statement} AND event_timestamp >= '{marker}'")[0][0])
            rows.append([what, served[what], found])
            if served[what] != found:
                wrong.append(f"{what}: the simulator served {served[what]}, the warehouse has {found}")
        table(["", "served", "warehouse"], rows)
        print("\nAll runs: events committed to the outbox, rows in the warehouse")
        rows = []
        for queue, (committed, count, distinct) in self.daemon.books().items():
            rows.append([QUEUES[queue], committed, count, distinct])
            if not committed == count == distinct:
                wrong.append(f"{QUEUES[queue]}: {committed} events committed, {count} rows, {distinct} distinct")
        table(["table", "committed", "rows", "distinct"], rows)
        return wrong

    def memory(self):
        roles = self.daemon.status()["roles"]
        return {role["title"]: role.get("rss_peak_bytes", 0) for role in roles}

    def run(self):
        print(f"Starting sluiced (mode: {self.options.mode}) and sluice-sim; state in {self.daemon.state}")
        self.daemon.start()
        fetch(self.sim.url + "/_sim/mark?name=demo")
        time.sleep(1.0 - time.time() % 1.0)	# events have whole seconds: this run's begin with the next
        marker = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        before, began = self.totals(), time.monotonic()
        print(f"Submitting about {self.options.tasks} tasks over three platforms")
        counts = self.submit_all()
        seconds = time.monotonic() - began
        after = self.totals()
        rows, failed, events = [], 0, 0
        for flow, submitted in counts.items():
            change = {key: after.get(flow, {}).get(key, 0) - before.get(flow, {}).get(key, 0)
                      for key in ("COMPLETE", "FAILED", "requests", "events")}
            rows.append([flow, submitted, *change.values()])
            failed += change["FAILED"]
            events += change["events"]
        print()
        table(["flow", "submitted", "complete", "failed", "requests", "events"], rows)
        total = sum(counts.values())
        print(f"\n  {total} tasks and {events} events in {seconds:.1f} s: "
              f"{total / seconds:.0f} tasks/s, {events / seconds:.0f} events/s")
        for title, peak in self.memory().items():
            print(f"  peak memory of {title}: {peak / 1048576:.0f} MiB")
        for title, statement in QUERIES:
            print(f"\n{title}\n  {statement}")
            for line in self.daemon.ctl("query", statement).stdout.splitlines():
                print("  " + line)
        wrong = self.books(marker)
        if failed:
            wrong.append(f"{failed} tasks failed")
        return wrong

    def stop(self):
        status = self.daemon.stop()
        self.sim.stop()
        return status


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", type=int, default=330, help="about how many tasks (default %(default)s)")
    parser.add_argument("--mode", choices=["single", "processes"], default="single")
    parser.add_argument("--folder", default=os.path.join(os.environ.get("top_builddir", "build"), "demo"),
                        help="where the data stays between runs (default %(default)s)")
    parser.add_argument("--deadline", type=int, default=600, help="seconds to wait at most (default %(default)s)")
    options = parser.parse_args()
    demo = Demo(options)
    try:
        wrong = demo.run()
    finally:
        status = demo.stop()
    if status != 0:
        wrong.append(f"sluiced left with status {status}; see {demo.daemon.log}")
    for sentence in wrong:
        print("NOT BALANCED: " + sentence)
    if not wrong:
        print("\nThe books balance.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
