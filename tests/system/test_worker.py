# SPDX-License-Identifier: Apache-2.0
"""The worker from outside: faults of the upstream, sources, paging, slices, leases, crashes, bounds.

The warehouse is away in all of these (its library is not there): whatever was committed stays in the outbox,
where the tests read it.
"""
import collections
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.request

import pytest

import frames
from harness import SOURCE, Daemon, Sim, poll

FAST = """\
tasks: {lease: 2s, crashes: 2, slice: {records: 50}}
calls: {retries: 1}
restart: {first: 50ms, cap: 500ms}
"""
MODES = ["single", "processes"]
POST, BASIC, ORDERS = "refresh_post_by_shortcode", "refresh_profile_basic", "refresh_orders_by_store"
GENERAL = "Something went wrong"

Task = collections.namedtuple("Task", "id status attempt crashes data error_code commit_seq checkpoint worker "
                                      "run_after")


class Lab(Daemon):
    """A daemon and its upstream; tasks are put into the store and read from it directly."""

    def __init__(self, folder, flows, faults=(), sim=(), mode="single", extra=FAST, plugins=None, budget=None):
        self.sim_log = os.path.join(str(folder), "sim.log")
        options = [word for fault in faults for word in ("--fault", fault)]
        self.upstream = Sim(str(folder), *options, *sim)
        lines = "\n".join(f"  {flow}: {settings}" for flow, settings in flows.items())
        super().__init__(folder, self.upstream.url, mode=mode, flows=lines, extra=extra)
        self.environment["SLUICE_CHDB"] = "/nowhere/libchdb.so"
        with open(self.config) as file:
            text = file.read()
        if budget is not None:
            text = text.replace("limits: [1000000/s]", "limits: [1000000/s], retry: {budget: %d}" % budget)
        if plugins:
            self.environment["SLUICE_PLUGIN_PATH"] = plugins
            text = text.replace("\nsources:\n", "\nsources:\n  worker_unruly: {base_url: %s/arraybobo}\n" %
                                self.upstream.url).replace("\nsinks:\n", "\nsinks:\n  worker_unruly: {}\n")
        with open(self.config, "w") as file:
            file.write(text)

    def begin(self):
        self.start(ready=False)
        poll("the store", lambda: self.alive() and self.has_store(), 60, 0.02)
        return self

    def has_store(self):
        try:
            return self.store("SELECT 1 FROM scrape_request_log LIMIT 1") is not None
        except sqlite3.OperationalError:
            return False

    def change(self, *statements):
        connection = sqlite3.connect(f"{self.state}/sluice.db", timeout=30)
        try:
            with connection:
                return [connection.execute(statement, values).lastrowid for statement, values in statements]
        finally:
            connection.close()

    def add(self, *tasks):
        """Ids of new tasks: (flow, params[, columns])."""
        statements = []
        for flow, params, *more in tasks:
            columns = {"flow": flow, "platform": "TEST", "params": json.dumps(params), "status": "PENDING",
                       "priority": 1, "max_attempts": 2, "created_at": time.strftime("%Y-%m-%d %H:%M:%S.000",
                                                                                     time.gmtime())}
            columns.update(more[0] if more else {})
            statements.append((f"INSERT INTO scrape_request_log ({', '.join(columns)}) VALUES "
                               f"({', '.join('?' * len(columns))})", list(columns.values())))
        return self.change(*statements)

    def task(self, number):
        row, = self.store(f"SELECT {', '.join(Task._fields)} FROM scrape_request_log WHERE id = ?", number)
        return Task(*row)

    def ended(self, ids, deadline=60):
        """The tasks, once none of them waits or runs."""
        marks = ", ".join("?" * len(ids))

        def over():
            self.alive()
            return not self.store(f"SELECT 1 FROM scrape_request_log WHERE id IN ({marks}) AND status IN "
                                  "('PENDING', 'PROCESSING') LIMIT 1", *ids)
        poll(f"tasks {ids} to end: {self.tail(5)}", over, deadline, 0.05)
        return [self.task(number) for number in ids]

    def run(self, *tasks, deadline=60):
        return self.ended(self.add(*tasks), deadline)

    def requests(self, **wanted):
        """What the upstream was asked, in order. Its log is written every second."""
        time.sleep(1.3)
        with open(self.sim_log) as log:
            lines = [json.loads(line) for line in log]
        return [line for line in lines if all(line[key] == value for key, value in wanted.items())]

    def keys(self, kind, count):
        with urllib.request.urlopen(f"{self.upstream.url}/_sim/keys?kind={kind}&count={count}", timeout=30) as answer:
            return json.load(answer)

    def events(self, queue):
        """Every event the outbox holds for queue; nothing takes any away."""
        return [json.loads(line) for payload, in self.store("SELECT payload FROM outbox WHERE queue = ?", queue)
                for line in frames.lines(payload)]

    def logged(self, pattern):
        with open(self.log, errors="replace") as log:
            return [line for line in log if re.search(pattern, line)]

    def workers(self):
        """Worker processes by pid."""
        found = {}
        for pid in self.pids()[1:]:
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as line:
                    title = line.read().split(b"\0")[0].decode()
            except OSError:
                continue
            if "worker" in title:
                found[pid] = title
        return found

    def end(self):
        try:
            return self.stop()
        finally:
            self.upstream.stop()


@pytest.fixture
def lab(tmp_path):
    made = []

    def make(*arguments, **more):
        made.append(Lab(tmp_path, *arguments, **more))
        return made[-1].begin()
    yield make
    for one in made:
        one.end()


@pytest.fixture(scope="module")
def unruly(tmp_path_factory):
    """A folder with the plugins and the one that misbehaves."""
    folder = tmp_path_factory.mktemp("plugins")
    os.chmod(folder, 0o755)
    target = str(folder / "worker_unruly.so")
    subprocess.run([os.environ.get("CC", "cc").split()[0], "-shared", "-fPIC", "-Wl,-z,defs",
                    "-I", os.path.join(SOURCE, "include"), "-o", target,
                    os.path.join(SOURCE, "tests", "modules", "worker_unruly.c")], check=True)
    os.chmod(target, 0o755)
    plain = os.path.join(os.path.abspath(os.environ.get("top_builddir", "build")), "plugins.d")
    for name in os.listdir(plain):
        if name.endswith(".so"):
            shutil.copy(os.path.join(plain, name), folder)
            os.chmod(folder / name, 0o755)
    return str(folder)


def unruly_lab(lab, unruly, settings="{concurrency: 5}", extra=FAST, **more):
    """The simulator answers its pages."""
    flows = {"worker_unruly": settings, **more.pop("flows", {})}
    return lab(flows, extra=extra, plugins=unruly, **more)


def assert_distinct(events, expected):
    assert len(events) == len({event["event_id"] for event in events}) == expected


# --- faults of the upstream ---

def basic(user, **columns):
    return BASIC, {"handle": f"user_{user}", "profile_id": None}, columns


FAULTS = {	# user → fault, status, data, error_code, attempts that count, requests made (two tries each)
    11: ("500", "FAILED", "(500, 'Something went wrong')", "retry", 1, 4),
    12: ("500,first=1", "COMPLETE", None, None, 0, 2),
    13: ("500,first=2", "COMPLETE", None, "retry", 1, 3),
    14: ("404", "FAILED", "(404, 'Something went wrong')", "gone", 0, 1),
    15: ("400", "COMPLETE", None, None, 0, 2),
    16: ("badjson", "FAILED", "(200, 'API Failure')", "retry", 1, 4),
    17: ("empty", "FAILED", "(200, 'API Failure')", "retry", 1, 4),
    18: ("schema", "FAILED", "(200, 'API Failure')", "fail", 0, 2),
    19: ("cut", "FAILED", r"http://127.0.0.1:\d+: transfer closed with \d+ bytes remaining to read", "retry", 1, 4),
    20: ("slow=9000", "FAILED", r"http://127.0.0.1:\d+: Operation timed out after .*", "retry", 1, None),
    21: ("slow=9000,first=1", "COMPLETE", None, None, 0, None),	# the simulator logs what it has answered
}


@pytest.mark.parametrize("mode", MODES)
def test_faults_of_the_upstream(lab, mode):
    faults = [f"key=^user_{user}$,{fault}" for user, (fault, *_) in FAULTS.items()]
    faults[4] += ",source=rapidapi-arraybobo"
    # Each request may be repeated: what all these failures leave of the usual budget depends on their order.
    daemon = lab({BASIC: "{concurrency: 20, sources: [rapidapi-arraybobo, rapidapi-jotucker]}",
                  ORDERS: "{}", "refresh_yt_posts": "{timeout: 1s, attempts: 1}"}, mode=mode, budget=100,
                 extra=FAST + "http: {timeout: 6s, body: 64KiB}\n", faults=faults + ["op=videos,slow=20000"])
    users = daemon.add(*(basic(user) for user in FAULTS))
    good, = daemon.add(basic(1))
    large, = daemon.add((ORDERS, {"store": "shop-1", "limit": 250}))
    late, = daemon.add(("refresh_yt_posts", {"post_ids": ["x"]}, {"max_attempts": 1}))
    daemon.ended([*users, good, large, late])
    asked = collections.Counter(line["key"] for line in daemon.requests(op="profile"))
    for number, (user, (fault, status, data, code, attempts, requests)) in zip(users, FAULTS.items()):
        task = daemon.task(number)
        assert (task.status, task.attempt) == (status, attempts), (user, fault, task)
        if status == "FAILED":
            assert task.error_code == code, (user, fault, task)
            assert task.data == data or re.fullmatch(data, task.data), (user, fault, task)
        else:
            assert json.loads(task.data)["handle"] == f"user_{user}"
        assert requests is None or asked[f"user_{user}"] == requests, (user, fault, asked)
    assert daemon.task(good).status == "COMPLETE" and asked["user_1"] == 1
    task = daemon.task(large)
    assert (task.status, task.attempt, task.error_code) == ("FAILED", 0, "fail")
    assert re.fullmatch(r"http://127.0.0.1:\d+: the response is larger than 65536 bytes", task.data)
    task = daemon.task(late)
    assert (task.status, task.error_code, task.data) == ("FAILED", "timeout", "(504, 'Not finished within 1 s')")
    assert len(daemon.requests(op="orders")) == 1


@pytest.mark.parametrize("mode", MODES)
def test_429_waits_and_is_no_attempt(lab, mode):
    """A shop's limit is that shop's: the others go on."""
    daemon = lab({ORDERS: "{concurrency: 3}"}, mode=mode,
                 faults=["key=shop-1,first=1,429,retry_after=3", "key=shop-2,first=2,429"])
    tasks = daemon.run(*((ORDERS, {"store": f"shop-{i}"}) for i in (1, 2, 3)))
    assert [(task.status, task.attempt) for task in tasks] == [("COMPLETE", 0)] * 3
    times = {i: [line["t"] for line in daemon.requests(key=f"shop-{i}")] for i in (1, 2, 3)}
    assert [len(times[i]) for i in (1, 2, 3)] == [2, 3, 1]
    assert times[1][1] - times[1][0] >= 2900
    assert times[2][1] - times[2][0] >= 400 and times[2][2] - times[2][1] >= 900
    assert times[3][0] - times[1][0] < 900


def test_429_without_another_source_left_gives_the_slot_back(lab):
    """Longer than half a minute: the task waits in the store and nothing counts."""
    daemon = lab({ORDERS: "{}"}, faults=["key=shop-1,429,retry_after=300"])
    number, other = daemon.add((ORDERS, {"store": "shop-1"}), (ORDERS, {"store": "shop-2"}))
    daemon.ended([other])
    task = poll("the release", lambda: (lambda t: t if t.run_after else None)(daemon.task(number)), 30)
    assert (task.status, task.attempt, task.crashes) == ("PENDING", 0, 0)
    assert 280 < task.run_after / 1000 - time.time() <= 300


def test_429_of_one_source_lets_the_next_answer(lab):
    daemon = lab({BASIC: "{concurrency: 1}"}, faults=["source=graphapi,429,retry_after=20"])
    for task in daemon.run(basic(1), basic(2), basic(3)):
        assert (task.status, task.attempt) == ("COMPLETE", 0)
    assert len(daemon.requests(source="graphapi")) == 1
    assert len(daemon.requests(source="rapidapi-arraybobo", status=200)) == 3


@pytest.mark.parametrize("mode", MODES)
def test_401_retires_the_credential(lab, mode):
    daemon = lab({BASIC: "{concurrency: 1}", ORDERS: "{}"}, mode=mode, faults=["source=graphapi,401", "key=shop-1,401"])
    users = daemon.add(basic(1), basic(2), basic(3))
    shops = daemon.add(*((ORDERS, {"store": f"shop-{i}"}) for i in (1, 1, 2)))
    for task in daemon.ended(users):
        assert (task.status, task.attempt) == ("COMPLETE", 0)
    daemon.ended(shops)
    assert len(daemon.requests(source="graphapi")) == 1
    assert len(daemon.requests(source="rapidapi-arraybobo")) == 3
    first, again, other = (daemon.task(number) for number in shops)
    assert (first.status, first.attempt, first.error_code) == ("FAILED", 0, "fail")
    assert first.data == "(401, '[API] Refused')"
    assert again.status == "FAILED"
    assert other.status == "COMPLETE", "one shop's refusal says nothing about another's"
    assert len(daemon.logged("credential refused")) == 2


# --- sources ---

def test_next_source_answers_when_one_fails(lab):
    daemon = lab({BASIC: "{}"}, faults=["source=graphapi,key=user_1,500", "source=graphapi,key=user_2,schema",
                                        "source=rapidapi-arraybobo,key=user_2,400"])
    for task in daemon.run(basic(1), basic(2), basic(3)):
        assert (task.status, task.attempt) == ("COMPLETE", 0)
    asked = {key: [line["source"] for line in daemon.requests(key=key)] for key in ("user_1", "user_2", "user_3")}
    assert asked == {"user_1": ["graphapi", "rapidapi-arraybobo"],
                     "user_2": ["graphapi", "rapidapi-arraybobo", "rapidapi-jotucker"], "user_3": ["graphapi"]}


def test_configured_order_and_allowed_sources(lab):
    extra = FAST + ("operations:\n  instagram.profile_by_handle: {sources: [rapidapi-jotucker, graphapi, "
                    "rapidapi-arraybobo]}\n  instagram.post_by_shortcode: {sources: {rocketapi: 1, rapidapi-arraybobo: 0}}\n")
    daemon = lab({BASIC: "{sources: [graphapi, rapidapi-jotucker]}", POST: "{}"}, extra=extra,
                 faults=["source=rapidapi-jotucker,key=user_2,400", "source=rapidapi-jotucker,key=user_3,400",
                         "source=graphapi,key=user_3,500"])
    posts = daemon.keys("post", 5)
    users = daemon.add(basic(1), basic(2), basic(3))
    codes = daemon.add(*((POST, {"shortcode": code}) for code in posts))
    assert [task.status for task in daemon.ended(users)] == ["COMPLETE", "COMPLETE", "FAILED"]
    assert [task.status for task in daemon.ended(codes)] == ["COMPLETE"] * 5
    asked = {key: [line["source"] for line in daemon.requests(key=key)] for key in ("user_1", "user_2", "user_3")}
    assert asked == {"user_1": ["rapidapi-jotucker"], "user_2": ["rapidapi-jotucker", "graphapi"],
                     "user_3": ["rapidapi-jotucker", "graphapi"]}
    assert {line["source"] for line in daemon.requests(op="post")} == {"rocketapi"}


def test_weights_share_the_calls(lab):
    extra = FAST + "operations: {instagram.post_by_shortcode: {sources: {rocketapi: 3, rapidapi-arraybobo: 1}}}\n"
    daemon = lab({POST: "{concurrency: 20}"}, extra=extra)
    posts = daemon.keys("post", 200)
    assert {task.status for task in daemon.run(*((POST, {"shortcode": code}) for code in posts))} == {"COMPLETE"}
    asked = collections.Counter(line["source"] for line in daemon.requests(op="post"))
    assert set(asked) == {"rocketapi", "rapidapi-arraybobo"} and sum(asked.values()) == 200
    assert 110 < asked["rocketapi"] < 190	# 150, give or take more than six standard deviations


# --- paging ---

def jotucker_pages(daemon, profile, now):
    """How many pages the rule takes: on with a page as long as there are no more than 50 posts, none over 30 days."""
    cursor, posts, pages = "", 0, 0
    while True:
        url = f"{daemon.upstream.url}/jotucker/medias_v2?user_id={profile}&batch_size=50"
        with urllib.request.urlopen(url + (f"&max_id={cursor}" if cursor else ""), timeout=30) as answer:
            page = json.load(answer)
        page = page.get("data", page) if "items" not in page else page
        posts, pages = posts + len(page["items"]), pages + 1
        oldest = min((item["taken_at"] for item in page["items"]), default=now)
        cursor = page.get("next_max_id") or page.get("paging_info", {}).get("max_id")
        if not page["items"] or not cursor or posts > 50 or oldest < now - 30 * 86400:
            return pages


def test_paging_stops(lab):
    daemon = lab({"refresh_profile_by_profile_id": "{concurrency: 20}"})
    profiles = daemon.keys("profile", 40)
    tasks = daemon.run(*(("refresh_profile_by_profile_id", {"profile_id": key}) for key in profiles))
    assert {task.status for task in tasks} == {"COMPLETE"}
    asked = collections.Counter(line["key"] for line in daemon.requests(op="posts", source="rapidapi-jotucker"))
    expected = {}
    for profile in profiles:
        expected[profile] = jotucker_pages(daemon, profile, time.time())
    assert {key: count for key, count in asked.items()} == expected
    assert len(set(expected.values())) > 1, "the simulator's profiles should differ"


def test_calls_of_one_task_run_side_by_side(lab):
    daemon = lab({"refresh_yt_posts": "{}"}, sim=["--latency", "500", "--threads", "12"])
    task, = daemon.run(("refresh_yt_posts", {"post_ids": daemon.keys("video", 400)}))
    assert task.status == "COMPLETE"
    times = [line["t"] for line in daemon.requests(op="videos")]
    assert len(times) == 10 and max(times) - min(times) < 500


@pytest.mark.parametrize("mode", MODES)
def test_page_delays_are_timers(lab, unruly, mode):
    """Ten tasks that wait two seconds in all need hardly more than two seconds together."""
    daemon = unruly_lab(lab, unruly, "{concurrency: 10}", mode=mode)
    before = time.monotonic()
    tasks = daemon.run(*(("worker_unruly", {"act": "pages", "name": f"user_{i}", "pages": 5, "delay": 500})
                         for i in range(10)))
    assert {task.status for task in tasks} == {"COMPLETE"}
    assert 2 <= time.monotonic() - before < 10
    for i in range(10):
        times = [line["t"] for line in daemon.requests(key=f"user_{i}")] if i == 0 else []
        assert all(after - this >= 490 for this, after in zip(times, times[1:]))
    assert len(daemon.requests(op="profile")) == 50


# --- slices ---

@pytest.mark.parametrize("mode", MODES)
def test_a_killed_worker_goes_on_after_the_last_checkpoint(lab, mode):
    daemon = lab({ORDERS: "{workers: 1, concurrency: 2}"}, mode=mode, sim=["--orders", "600", "--latency", "40"])
    number, = daemon.add((ORDERS, {"store": "shop-7", "limit": 10}))
    seen = poll("three slices", lambda: (lambda t: t if t.commit_seq >= 3 else None)(daemon.task(number)), 60, 0.01)
    assert seen.status == "PROCESSING" and json.loads(seen.checkpoint)
    assert daemon.store("SELECT events FROM outbox_total WHERE queue = 'order_log_events_q'")[0][0] >= 150
    worker, = daemon.workers()
    os.kill(worker, signal.SIGKILL)
    dead = daemon.task(number)
    task, = daemon.ended([number])
    assert (task.status, task.attempt, json.loads(task.data)) == ("COMPLETE", 0, {"orders": 600})
    assert task.commit_seq >= 12
    pages = collections.Counter(line["cursor"] for line in daemon.requests(op="orders"))
    order = list(dict.fromkeys(line["cursor"] for line in daemon.requests(op="orders")))
    assert len(order) == 60
    again = [order.index(cursor) for cursor, count in pages.items() if count > 1]
    assert max(pages.values()) <= 2 and len(again) <= 7
    assert all(page >= dead.commit_seq * 5 for page in again), (dead.commit_seq, again)
    assert_distinct(daemon.events("order_log_events_q"), 600)
    assert daemon.logged(rf"died .*signal=9.*tasks=\[{number}\]")


def test_a_drained_worker_hands_a_long_task_back(lab):
    daemon = lab({ORDERS: "{}"}, extra=FAST + "drain: 1s\n", sim=["--orders", "600", "--latency", "40"])
    number, = daemon.add((ORDERS, {"store": "shop-7", "limit": 10}))
    poll("a slice", lambda: daemon.task(number).commit_seq >= 1, 60, 0.01)
    assert daemon.stop() == 0
    task = daemon.task(number)
    assert (task.status, task.attempt, task.crashes) == ("PENDING", 0, 0) and task.checkpoint
    daemon.begin()
    task, = daemon.ended([number])
    assert (task.status, json.loads(task.data)) == ("COMPLETE", {"orders": 600})
    pages = collections.Counter(line["cursor"] for line in daemon.requests(op="orders"))
    assert len(pages) == 60 and sum(pages.values()) <= 62
    assert_distinct(daemon.events("order_log_events_q"), 600)


# --- leases ---

def test_a_stopped_worker_loses_its_task_and_writes_nothing_more(lab):
    daemon = lab({ORDERS: "{workers: 2, concurrency: 1}"}, mode="processes",
                 sim=["--orders", "600", "--latency", "40"])
    number, = daemon.add((ORDERS, {"store": "shop-7", "limit": 10}))
    first = poll("two slices", lambda: (lambda t: t if t.commit_seq >= 2 else None)(daemon.task(number)), 60, 0.01)
    stopped = int(first.worker.rsplit("/", 1)[1])
    os.kill(stopped, signal.SIGSTOP)
    try:
        task = poll("another worker", lambda: (lambda t: t if t.worker != first.worker else None)(daemon.task(number)), 60)
        poll("its first slice", lambda: daemon.task(number).commit_seq > task.commit_seq, 60)
    finally:
        os.kill(stopped, signal.SIGCONT)
    poll("the first to notice", lambda: daemon.logged("lease lost"), 30)
    task, = daemon.ended([number])
    assert (task.status, task.attempt, task.crashes) == ("COMPLETE", 0, 0)	# its slices began anew
    assert stopped in daemon.workers(), "it lives on"
    assert_distinct(daemon.events("order_log_events_q"), 600)
    assert len({event["platform_order_id"] for event in daemon.events("order_log_events_q")}) == 600


def test_a_lease_is_extended_while_a_task_runs(lab, unruly):
    """Five seconds in one slice with a lease of two."""
    daemon = unruly_lab(lab, unruly, "{workers: 2}", mode="processes")
    task, = daemon.run(("worker_unruly", {"act": "pages", "name": "user_1", "pages": 11, "delay": 500}))
    assert (task.status, task.crashes, task.commit_seq) == ("COMPLETE", 0, 1)
    assert len(daemon.requests(key="user_1")) == 11


# --- tasks that do harm ---

@pytest.mark.parametrize("mode", MODES)
def test_a_task_that_crashes_its_process_is_quarantined(lab, unruly, mode):
    daemon = unruly_lab(lab, unruly, "{concurrency: 10}", mode=mode, flows={BASIC: "{}"})
    good = daemon.add(*(("worker_unruly", {"act": "event", "name": f"good-{i}"}) for i in range(20)))
    bad, = daemon.add(("worker_unruly", {"act": "crash"}))
    more = daemon.add(*(("worker_unruly", {"act": "event", "name": f"more-{i}"}) for i in range(20)),
                      *(basic(i) for i in range(5)))
    task, = daemon.ended([bad], 120)
    assert (task.status, task.error_code, task.attempt) == ("FAILED", "crash", 0)
    assert (task.crashes, task.data) == (4, "(500, 'quarantined after 4 crashes')")	# two in company, two alone
    assert {task.status for task in daemon.ended([*good, *more])} == {"COMPLETE"}
    assert_distinct(daemon.events("worker_unruly_q"), 40)
    assert daemon.logged(rf"died .*tasks=\[{bad}\]")
    assert len(daemon.logged(rf"died .*tasks=\[([0-9]+,)*{bad}[],]")) == 4


def test_a_callback_that_never_returns_ends_its_process(lab, unruly):
    daemon = unruly_lab(lab, unruly, extra="tasks: {lease: 1s, crashes: 1}\nrestart: {first: 50ms, cap: 100ms}\n")
    daemon.add(("worker_unruly", {"act": "hang"}))
    poll("the obituary", lambda: daemon.logged("died .*a plugin's callback ran longer than 10 s"), 40)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_store_refuses_fails_its_own_task(lab, unruly, mode):
    daemon = unruly_lab(lab, unruly, "{concurrency: 20}", mode=mode)
    tasks = daemon.run(*(("worker_unruly", {"act": act, "name": f"{act}-{i}"}) for i in range(5)
                         for act in ("event", "refuse", "large", "odd", "submit")))
    ends = collections.Counter((json.loads(daemon.store("SELECT params FROM scrape_request_log WHERE id = ?",
                                                        task.id)[0][0])["act"], task.status, task.error_code, task.data)
                               for task in tasks)
    assert ends == {
        ("event", "COMPLETE", None, "null"): 5,
        ("refuse", "FAILED", "store", "(500, 'worker_unruly.remark: the text is not UTF-8')"): 5,
        ("large", "FAILED", "fail", ends_of(ends, "large")): 5,
        ("odd", "FAILED", "fail", "A callback returned 99, which is no result"): 5,
        ("submit", "FAILED", "fail", "(500, 'this version carries out no submit')"): 5,
    }
    assert re.fullmatch(r"An event of stream worker_unruly takes \d+ bytes; the limit is 1048576", ends_of(ends, "large"))
    assert_distinct(daemon.events("worker_unruly_q"), 5)
    assert daemon.store("SELECT count(*) FROM worker_unruly")[0][0] == 5


def ends_of(ends, act):
    return next(data for what, _, _, data in ends if what == act)


# --- order and bounds ---

@pytest.mark.parametrize("mode", MODES)
def test_priority_and_time(lab, mode):
    daemon = lab({BASIC: "{concurrency: 1, sources: [rapidapi-jotucker]}"}, mode=mode)
    later = int((time.time() + 3) * 1000)
    ids = daemon.add(basic(1, priority=5), basic(2, priority=3), basic(3, priority=1), basic(4, priority=3),
                     basic(5, priority=1, run_after=later))
    daemon.ended(ids)
    asked = daemon.requests(op="profile")
    assert [line["key"] for line in asked] == ["user_3", "user_2", "user_4", "user_1", "user_5"]
    assert asked[-1]["t"] >= later


@pytest.mark.parametrize("mode", MODES)
def test_a_worker_is_replaced_after_max_tasks(lab, mode):
    daemon = lab({BASIC: "{concurrency: 3, max_tasks: 10}"}, mode=mode)
    tasks = daemon.run(*(basic(i) for i in range(60)), deadline=120)
    assert {(task.status, task.attempt, task.crashes) for task in tasks} == {("COMPLETE", 0, 0)}
    assert len(daemon.logged("left to be started afresh")) >= 4
    assert len(daemon.requests(op="profile", status=200)) == 60
    assert not daemon.logged("died role=.worker")


@pytest.mark.parametrize("mode", MODES)
def test_no_more_than_the_slots_run(lab, mode):
    daemon = lab({BASIC: "{workers: 2, concurrency: 3}", ORDERS: "{concurrency: 2}"}, mode=mode,
                 sim=["--latency", "100", "--threads", "16"])
    ids = daemon.add(*(basic(i) for i in range(60)), *((ORDERS, {"store": f"shop-{i}"}) for i in range(20)))
    most = collections.Counter()

    def over():
        for flow, count, waiting in daemon.store(
                "SELECT flow, sum(status = 'PROCESSING'), sum(status = 'PENDING') FROM scrape_request_log GROUP BY flow"):
            most[flow] = max(most[flow], count)
        return not daemon.store("SELECT 1 FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING') LIMIT 1")
    poll("the tasks to end", over, 60, 0.005)
    assert most == {BASIC: 6, ORDERS: 2}
    assert {daemon.task(number).status for number in ids} == {"COMPLETE"}


def test_a_full_outbox_pauses(lab):
    """Nothing takes events away: at the bound claiming stops, and a long task is handed back at its slice."""
    daemon = lab({ORDERS: "{concurrency: 2}"}, extra=FAST + "outbox: {max_bytes: 1MiB}\n",
                 sim=["--orders", "2000", "--latency", "60"])
    ids = daemon.add(*((ORDERS, {"store": f"shop-{i}", "limit": 50}) for i in range(4)))
    poll("the pause", lambda: daemon.logged("claiming paused: the outbox"), 60)
    poll("the long tasks to be handed back", lambda: daemon.statuses() == {"PENDING": 4}, 30)
    waiting = daemon.store("SELECT sum(waiting_bytes) FROM outbox_total")[0][0]
    assert waiting >= 1 << 20
    time.sleep(2)
    assert daemon.statuses() == {"PENDING": 4}
    assert daemon.store("SELECT sum(waiting_bytes) FROM outbox_total")[0][0] == waiting
    started = [daemon.task(number) for number in ids if daemon.task(number).checkpoint]
    assert started and all(task.attempt == 0 for task in started)

    def over():
        daemon.change(("DELETE FROM outbox", ()),
                      ("UPDATE outbox_total SET waiting_rows = 0, waiting_events = 0, waiting_bytes = 0", ()))
        return set(daemon.statuses()) == {"COMPLETE"}
    poll("the tasks to end", over, 60, 0.5)
    assert daemon.logged("claiming again")
    assert daemon.committed()["order_log_events_q"] == 8000
