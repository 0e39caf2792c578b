# SPDX-License-Identifier: Apache-2.0
"""Starts a private daemon and simulator in a folder of their own, and asks them what they did."""
import json
import os
import signal
import sqlite3
import subprocess
import time

BUILD = os.path.abspath(os.environ.get("top_builddir", "build"))
SOURCE = os.path.abspath(os.environ.get("top_srcdir", os.path.join(os.path.dirname(__file__), "..", "..")))
SIM = os.path.join(BUILD, "sluice-sim")
SLUICED = os.path.join(BUILD, "sluiced")
SLUICECTL = os.path.join(BUILD, "sluicectl")
DEADLINE = int(os.environ.get("SLUICE_DEADLINE", "240"))		# seconds: generous, nothing waits for it when all is well

QUEUES = {		# queue of the outbox → table of the warehouse
    "profile_log_events_q": "profile_log_events",
    "post_log_events_q": "post_log_events",
    "order_log_events_q": "order_log_events",
    "scrape_request_log_events_q": "scrape_request_log_events",
}

# The simulator has no limits: what the plugins ship would only slow the tests down.
CONFIG = """\
version: 1
mode: {mode}
stores:
  tasks: {tasks}
  bus: {bus}
  limits: {limits}
  warehouse: {warehouse}
  objects: file:${{STATE}}/objects
{extra}
sources:
  graphapi: {{base_url: {sim}/graphapi/v12.0, credential: {{token: t, user_id: "178414"}}}}
  rapidapi-arraybobo: {{base_url: {sim}/arraybobo, credential: {{X-RapidAPI-Key: k}}, limits: [1000000/s]}}
  rapidapi-jotucker: {{base_url: {sim}/jotucker, credential: {{X-RapidAPI-Key: k}}, limits: [1000000/s]}}
  rocketapi: {{base_url: {sim}/rocketapi, credential: {{Authorization: k}}, limits: [1000000/s]}}
  ytapitoken: {{base_url: {sim}/ytapitoken, credential: {{key: k}}}}
  yt-v31: {{base_url: {sim}/yt-v31, credential: {{X-RapidAPI-Key: k}}, limits: [1000000/s]}}
  shopify: {{base_url: "{sim}/shopify/{{handle}}", credential: {{X-Shopify-Access-Token: k}}}}
flows:
{flows}
sinks:
  profile_log_events: {{{sink}}}
  post_log_events: {{{sink}}}
  order_log_events: {{{sink}}}
  scrape_request_log_events: {{{sink}}}
"""

FLOWS = ["refresh_profile_by_handle", "refresh_profile_by_profile_id", "refresh_profile_basic",
         "refresh_post_by_shortcode", "refresh_yt_profiles", "refresh_yt_posts",
         "refresh_yt_posts_by_channel_id", "refresh_yt_posts_by_playlist_id", "refresh_orders_by_store"]


def poll(what, check, deadline=DEADLINE, every=0.1):
    """Waits until check() is true and returns what it gave."""
    end = time.monotonic() + deadline
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s for {what}")
        time.sleep(every)


class Sim:
    def __init__(self, folder, *options):
        self.process = subprocess.Popen([SIM, "--log", os.path.join(folder, "sim.log"), *options],
                                        stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process.stdout.close()


class Daemon:
    """sluiced on a folder; may be killed and started again."""

    def __init__(self, folder, sim, mode="single", flows=None, extra="", config=None, environment=None,
                 warehouse="chdb:${STATE}/warehouse", sink="", tasks="sqlite:${STATE}/sluice.db", bus="direct",
                 limits="local"):
        self.folder = str(folder)
        self.state = os.path.join(self.folder, "state")
        self.config = config or os.path.join(self.folder, "flows.yaml")
        self.log = os.path.join(self.folder, "sluiced.log")
        self.process = None
        if config is None:
            lines = flows or "\n".join(f"  {flow}: {{workers: 1, concurrency: 5}}" for flow in FLOWS)
            with open(self.config, "w") as out:
                out.write(CONFIG.format(mode=mode, sim=sim, extra=extra, flows=lines, warehouse=warehouse,
                                        sink=sink, tasks=tasks, bus=bus, limits=limits))
        self.environment = dict(os.environ, SLUICE_PLUGIN_PATH=os.path.join(BUILD, "plugins.d"), SLUICE_SBIN=BUILD,
                                **(environment or {}))

    def start(self, ready=True):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen([SLUICED, "-f", self.config, "--state", self.state],
                                            stderr=log, stdout=log, env=self.environment)
        if ready:
            poll("the daemon to be ready", lambda: self.alive() and (self.status() or {}).get("ready"))

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"sluiced left with {self.process.returncode}:\n{self.tail()}")
        return True

    def tail(self, lines=30):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def ctl(self, *arguments, check=True, timeout=DEADLINE):
        done = subprocess.run([SLUICECTL, "-f", self.config, "--state", self.state, *arguments], text=True,
                              capture_output=True, env=self.environment, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"sluicectl {arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def status(self):
        done = self.ctl("status", "--json", check=False)
        try:
            return json.loads(done.stdout).get("daemon") or json.loads(done.stdout)
        except ValueError:
            return None

    def submit(self, flow, *params, count=None):
        more = ["--count", str(count)] if count else []
        return self.ctl("submit", flow, *params, *more)

    def sql(self, statement, deadline=60):
        """Rows of the warehouse; asked again while the sink is being restarted."""
        def ask():
            done = self.ctl("query", statement, "--json", check=False)
            return [json.loads(done.stdout)] if done.returncode == 0 else None
        answer = poll(f"an answer to {statement}", ask, deadline)[0]
        rows = answer["data"] if isinstance(answer, dict) else answer
        return [list(row.values()) if isinstance(row, dict) else row for row in rows]

    def store(self, statement, *values):
        """Rows of the task store, read beside the daemon."""
        path = f"file:{self.state}/sluice.db?mode=ro"
        connection = sqlite3.connect(path, uri=True, timeout=30)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def statuses(self):
        return dict(self.store("SELECT status, count(*) FROM scrape_request_log GROUP BY status"))

    def wait_idle(self, deadline=DEADLINE):
        """No task waits or runs, and the outbox is empty."""
        def idle():
            statuses = self.statuses()
            return (not statuses.get("PENDING") and not statuses.get("PROCESSING") and
                    self.store("SELECT count(*) FROM outbox")[0][0] == 0)
        poll("all tasks to end and the outbox to drain", idle, deadline)

    def committed(self):
        """Events the store has committed to each queue since it was made."""
        return dict(self.store("SELECT queue, sum(events) FROM outbox_total GROUP BY queue"))

    def books(self):
        """{queue: (committed, rows, distinct identities)} for every queue."""
        committed = self.committed()
        answer = {}
        for queue, table in QUEUES.items():
            row = self.sql(f"SELECT count(), uniqExact(event_id) FROM {table}")[0]
            answer[queue] = (committed.get(queue, 0), int(row[0]), int(row[1]))
        return answer

    def pids(self):
        """Processes of the daemon, the supervisor first."""
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return [self.process.pid] + [int(pid) for pid in children.stdout.split()]

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(timeout=60)

    def stop(self):
        """Drains; the exit status. One that does not leave is killed, and that is an error wherever it happens."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"sluiced did not leave when told:\n{self.tail()}") from None
        return self.process.returncode
