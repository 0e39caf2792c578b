# SPDX-License-Identifier: Apache-2.0
"""Permission from outside: limits by the simulator's own log, waiting, breaker, retries, fallback.

The upstream's log has the time at which each request arrived. What the limiter lets go takes its time to get there, and not always
the same: windows are shorter by JITTER_MS than what the limit says.
How much of the budget is used depends on the machine: only the long form asks for what an idle one reaches.
"""
import collections
import os
import re
import signal
import time

import pytest

from harness import poll
from test_worker import BASIC, FAST, ORDERS, POST, Lab, basic

JITTER_MS = int(os.environ.get("SLUICE_JITTER", "300"))
LONG = int(os.environ.get("SLUICE_LIMIT_SECONDS", "0"))		# the long form: two nodes, eight workers, 50/s


class Node(Lab):
    """A daemon of its own; several may share the upstream."""

    def __init__(self, folder, flows, upstream=None, source="", limits="local", sim=(), **more):
        folder.mkdir(exist_ok=True)
        super().__init__(folder, flows, sim=["--threads", "8", *sim], **more)
        if upstream:
            self.upstream.stop()
            self.upstream, self.sim_log = upstream.upstream, upstream.sim_log
        with open(self.config) as file:
            text = file.read()
        text = re.sub(r"(rapidapi-arraybobo: \{base_url: )\S+?(/arraybobo, .*?), limits: [^\]]*\]",
                      lambda at: at[1] + self.upstream.url + at[2] + source, text)
        with open(self.config, "w") as file:
            file.write(text.replace("\n  limits: local\n", f"\n  limits: {limits}\n"))

    def end(self, upstream=True):
        try:
            return self.stop()
        finally:
            if upstream:
                self.upstream.stop()

    def metric(self, name):
        return self.status()["metrics"].get(name, 0)


@pytest.fixture
def node(tmp_path):
    made = []

    def make(*arguments, **more):
        made.append(Node(tmp_path / f"node-{len(made)}", *arguments, **more))
        return made[-1].begin()
    yield make
    for one in made:
        one.end(upstream=False)
    if made:
        made[0].upstream.stop()


def most_within(times, window_ms):
    """The most arrivals in any window of that length."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - window_ms:
            first += 1
        most = max(most, last - first + 1)
    return most


def used(times, count, period_ms):
    """Of what the limit allowed once it was reached: from the first request after the first burst to the last one."""
    return (len(times) - 2 * count) * period_ms / (count * (times[-1] - times[count]))


def posts(daemon, count, first=0):
    return [(POST, {"shortcode": code}) for code in daemon.keys("post", first + count)[first:]]


def arrivals(daemon, **wanted):
    return sorted(line["arrived"] for line in daemon.requests(**wanted))


def check_budget(nodes, count, period_ms, tasks, least, middle=None):
    """All nodes together keep to the limit and use it; middle happens when half is done."""
    share = tasks // len(nodes)
    ids = {one: one.add(*posts(one, share, share * i)) for i, one in enumerate(nodes)}

    def done():
        return sum(one.statuses().get("COMPLETE", 0) for one in nodes)
    if middle:
        poll("half of the tasks", lambda: done() >= tasks // 2)
        middle()
    for one, numbers in ids.items():
        assert {task.status for task in one.ended(numbers, 600)} == {"COMPLETE"}
    times = arrivals(nodes[0], source="rapidapi-arraybobo")
    assert len(times) == tasks
    most, part = most_within(times, period_ms - JITTER_MS), used(times, count, period_ms)
    print(f"{tasks} requests, limit {count}/{period_ms} ms: at most {most_within(times, period_ms)} in any window "
          f"({most} in {period_ms - JITTER_MS} ms), {part:.1%} used")
    assert most <= count
    assert part >= least


def flow(concurrency=20, more=""):
    return {POST: f"{{workers: 2, concurrency: {concurrency}, sources: [rapidapi-arraybobo]{more}}}"}


def test_one_node_keeps_and_uses_the_budget(node):
    """Two processes share the file."""
    check_budget([node(flow(), mode="processes", source=', limits: ["60/2s"]')], 60, 2000, 300, 0.6)


def test_two_nodes_share_the_budget(node, redis):
    redis.cli("FLUSHALL")
    one = node(flow(), source=', limits: ["60/2s"]', limits=redis.url(database=5))
    other = node(flow(), upstream=one, source=', limits: ["60/2s"]', limits=redis.url(database=5))
    check_budget([one, other], 60, 2000, 300, 0.6)


def test_redis_restarted_in_the_middle(node, redis):
    """What was used before is not known afterwards: it counts as used up, and never more goes than the limit."""
    redis.cli("FLUSHALL")
    one = node(flow(), source=', limits: ["60/2s"]', limits=redis.url(database=6))
    other = node(flow(), upstream=one, source=', limits: ["60/2s"]', limits=redis.url(database=6))

    def restart():
        redis.kill()
        redis.start()
    check_budget([one, other], 60, 2000, 300, 0.3, restart)
    for daemon in (one, other):
        with open(daemon.log) as log:
            assert "p%40ss" not in log.read()


@pytest.mark.skipif(not LONG, reason="the long form: SLUICE_LIMIT_SECONDS=60")
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("kind", ["redis", "local"])
def test_long(node, redis, kind, restarted):
    """Two nodes with four workers each share Redis; of one node with local: eight workers."""
    if kind == "local" and restarted:
        pytest.skip("nothing to restart")
    redis.cli("FLUSHALL")
    more = dict(mode="processes", source=', limits: ["50/s"]')
    flows = {POST: "{workers: %d, concurrency: 20, sources: [rapidapi-arraybobo]}" % (4 if kind == "redis" else 8)}
    if kind == "redis":
        one = node(flows, limits=redis.url(database=7), **more)
        nodes = [one, node(flows, upstream=one, limits=redis.url(database=7), **more)]
    else:
        nodes = [node(flows, **more)]

    def restart():
        redis.kill()
        redis.start()
    check_budget(nodes, 50, 1000, 50 * LONG, 0.85 if restarted else 0.93, restart if restarted else None)


# --- waiting ---

def test_what_waits_too_long_goes_back_and_its_flow_is_not_claimed(node):
    daemon = node({POST: "{concurrency: 2, sources: [rapidapi-arraybobo]}", BASIC: "{sources: [rapidapi-jotucker]}"},
                  source=', limits: ["3/h"]', extra=FAST + "limits: {max_hold: 1s}\n")
    ids = daemon.add(*posts(daemon, 8))
    poll("three to pass", lambda: daemon.statuses().get("COMPLETE") == 3)
    poll("the worker to see that nothing is left", lambda: daemon.logged("no budget for a flow's requests"))
    poll("all others to be back", lambda: daemon.statuses() == {"COMPLETE": 3, "PENDING": 5})
    claimed = daemon.metric("sluice_tasks_claimed_total")
    ids += daemon.add(*posts(daemon, 20, 8))
    other, = daemon.ended(daemon.add(basic(1)))		# the timer has nudged by then
    assert other.status == "COMPLETE"
    assert daemon.metric("sluice_tasks_claimed_total") == claimed + 1
    back = [task for task in map(daemon.task, ids) if task.run_after]
    assert back and all(task.attempt == task.crashes == 0 for task in back)
    assert all(50 * 60 < task.run_after / 1000 - time.time() <= 70 * 60 for task in back)
    assert len(arrivals(daemon, source="rapidapi-arraybobo")) == 3


def test_who_waits_in_line_goes_in_time(node):
    """Shorter than max_hold: the tasks keep their slots, and their time-out does not run."""
    daemon = node({POST: "{concurrency: 10, timeout: 1s, attempts: 1, sources: [rapidapi-arraybobo]}"},
                  source=', limits: ["2/2s"]')
    tasks = daemon.run(*posts(daemon, 6))
    assert [(task.status, task.attempt) for task in tasks] == [("COMPLETE", 0)] * 6
    assert not daemon.metric("sluice_tasks_released_total")


def test_limits_of_a_flow_count_tasks_and_of_an_item_its_value(node):
    daemon = node({ORDERS: '{concurrency: 4, limits: ["3/h"], item: {store: 1/h}}'}, sim=["--orders", "40"],
                  extra=FAST + "limits: {max_hold: 1s}\n")
    first, again, second = daemon.add(*((ORDERS, {"store": f"shop-{i}", "limit": 10}) for i in (1, 1, 2)))
    done = [task for task in daemon.ended([second])]
    poll("the same shop's second to go back", lambda: [daemon.task(i).run_after for i in (first, again)].count(None) == 1)
    assert done[0].status == "COMPLETE"
    third, = daemon.run((ORDERS, {"store": "shop-3", "limit": 10}))
    assert third.status == "COMPLETE", "one shop's limit is no other's"
    late, = daemon.add((ORDERS, {"store": "shop-4", "limit": 10}))
    poll("the fourth task to go back", lambda: daemon.task(late).run_after)
    asked = collections.Counter(line["key"] for line in daemon.requests(op="orders"))
    assert asked == {"shop-1": 4, "shop-2": 4, "shop-3": 4}


def test_credential_limits_and_another_source(node):
    daemon = node({POST: "{concurrency: 5, sources: [rapidapi-arraybobo, rapidapi-jotucker]}"},
                  source=', credential_limits: ["4/h"]')
    tasks = daemon.run(*posts(daemon, 12))
    assert {task.status for task in tasks} == {"COMPLETE"}
    asked = collections.Counter(line["source"] for line in daemon.requests(op="post"))
    assert asked == {"rapidapi-arraybobo": 4, "rapidapi-jotucker": 8}


def test_what_one_process_is_told_the_others_keep_to(node):
    daemon = node({ORDERS: "{workers: 3, concurrency: 1}"}, mode="processes",
                  faults=["key=shop-1,first=1,429,retry_after=4"])
    tasks = daemon.run(*((ORDERS, {"store": "shop-1"}) for _ in range(6)))
    assert {task.status for task in tasks} == {"COMPLETE"}
    lines = daemon.requests(key="shop-1")
    told = next(line["t"] for line in lines if line["status"] == 429)
    assert [line for line in lines if told + 700 < line["t"] < told + 3900] == []


# --- sources that fail ---

def test_a_breaker_opens_and_closes(node):
    daemon = node({POST: "{concurrency: 20, attempts: 20, retry: {first: 100ms, cap: 200ms}, "
                         "sources: [rapidapi-arraybobo]}"},
                  extra="calls: {retries: 0}\nbreaker: {failures: 4, first: 300ms, cap: 500ms}\n",
                  faults=["source=rapidapi-arraybobo,first=1,500"])
    tasks = daemon.run(*(work + ({"max_attempts": 20},) for work in posts(daemon, 20)))
    assert {task.status for task in tasks} == {"COMPLETE"}
    assert daemon.metric("sluice_breaker_opened_total") >= 1
    assert daemon.logged("breaker open.*source=rapidapi-arraybobo") and daemon.logged("breaker closed")
    poll("the breaker to be closed", lambda: daemon.metric("sluice_breakers_open") == 0)


def test_an_outage_is_no_storm(node):
    """While nothing answers, one request at a time tries; the tasks wait and count no attempt."""
    daemon = node({POST: "{concurrency: 10, sources: [rapidapi-arraybobo]}"},
                  extra="breaker: {failures: 3, first: 500ms, cap: 1s}\nlimits: {max_hold: 2s}\n",
                  faults=["source=rapidapi-arraybobo,500"])
    daemon.add(*posts(daemon, 200))
    poll("the breaker to open", lambda: daemon.logged("breaker open"))
    poll("some probes", lambda: len(arrivals(daemon, source="rapidapi-arraybobo")) >= 14)
    times = arrivals(daemon, source="rapidapi-arraybobo")
    probes = times[10:]			# those before may have been under way
    assert all(after - before >= 200 for before, after in zip(probes, probes[1:])), probes
    assert daemon.metric("sluice_breakers_open") == 1
    assert not daemon.statuses().get("COMPLETE")


def test_retries_have_a_budget(node):
    """What comes without being paid for is for both processes together."""
    begun = time.monotonic()
    daemon = node({POST: "{workers: 2, concurrency: 20, attempts: 1, sources: [rapidapi-arraybobo]}"}, mode="processes",
                  source=", retry: {attempts: 3, first: 10ms, cap: 20ms, budget: 0}",
                  extra="breaker: {failures: 1000}\n", faults=["source=rapidapi-arraybobo,500"])
    tasks = daemon.run(*(work + ({"max_attempts": 1},) for work in posts(daemon, 60)))
    assert {(task.status, task.error_code) for task in tasks} == {("FAILED", "retry")}
    asked = len(arrivals(daemon, source="rapidapi-arraybobo"))
    minutes = int(time.monotonic() - begun) // 60
    assert 60 < asked <= 60 + 20 * (minutes + 1), "twenty in a minute; 180 without a budget"
    assert daemon.metric("sluice_retries_refused_total") > 0


def test_fallback_on_error(node):
    daemon = node({POST: "{concurrency: 5, attempts: 1, fallback: error, sources: [rapidapi-arraybobo, "
                         "rapidapi-jotucker]}",
                   BASIC: "{sources: [rapidapi-arraybobo, rapidapi-jotucker]}"},
                  extra=FAST + "breaker: {failures: 1000}\n", faults=["source=rapidapi-arraybobo,500"])
    other, *tasks = daemon.run(basic(1, max_attempts=1), *posts(daemon, 3))
    assert {task.status for task in tasks} == {"COMPLETE"}
    assert (other.status, other.error_code) == ("FAILED", "retry"), "this flow does not allow it"
    asked = collections.Counter((line["source"], line["status"]) for line in daemon.requests(op="post"))
    assert asked[("rapidapi-jotucker", 200)] == 3


def test_a_source_is_stopped_and_started_by_command(node):
    daemon = node({POST: "{concurrency: 2, sources: [rapidapi-arraybobo]}",
                   BASIC: "{sources: [rapidapi-arraybobo, rapidapi-jotucker]}"},
                  extra=FAST + "limits: {max_hold: 1s}\n")
    answer = daemon.ctl("source", "stop", "rapidapi-arrayboba", check=False)
    assert answer.returncode == 1 and 'did you mean "rapidapi-arraybobo"' in answer.stderr
    daemon.ctl("source", "stop", "rapidapi-arraybobo")
    assert daemon.ctl("source", "list").stdout.count(" stopped ") == 1
    assert "source rapidapi-arraybobo is stopped" in daemon.ctl("status").stdout
    poll("the worker to know", lambda: daemon.logged("source stopped by command"))
    worker, = daemon.workers()
    os.kill(worker, signal.SIGKILL)		# its successor is told
    poll("another worker", lambda: set(daemon.workers()) - {worker})
    other, = daemon.run(basic(1))
    assert other.status == "COMPLETE"
    waiting = daemon.add(*posts(daemon, 3))
    poll("the tasks to be put back", lambda: daemon.task(waiting[0]).run_after)
    assert not daemon.requests(source="rapidapi-arraybobo")
    daemon.ctl("source", "start", "rapidapi-arraybobo")
    assert " stopped " not in daemon.ctl("source", "list").stdout
    assert {task.status for task in daemon.ended(waiting, 120)} == {"COMPLETE"}


def test_gone_is_counted_apart_and_tried_again_where_wanted(node):
    daemon = node({POST: "{sources: [rapidapi-arraybobo]}",
                   BASIC: "{sources: [rapidapi-arraybobo], attempts: 2, retry: {on: [gone], first: 10ms}}"},
                  faults=["source=rapidapi-arraybobo,404"])
    work, = posts(daemon, 1)
    post, user = daemon.run(work, basic(1))
    assert (post.status, post.error_code, post.attempt) == ("FAILED", "gone", 0)
    assert (user.status, user.error_code, user.attempt) == ("FAILED", "gone", 1)
    assert daemon.metric("sluice_tasks_gone_total") >= 1


def test_a_cursor_meets_no_other_provider(node):
    """Paging goes on with the source that began it, even when that one refuses for a while."""
    extra = FAST + "operations: {instagram.posts_by_id: {sources: {rapidapi-jotucker: 1, rapidapi-arraybobo: 1}}}\n"
    daemon = node({"refresh_profile_by_profile_id": "{concurrency: 10, fallback: error}"}, extra=extra,
                  faults=["op=posts,rate=0.2,429,retry_after=1", "op=posts,rate=0.1,500"], sim=["--profiles", "200"])
    profiles = daemon.keys("profile", 30)
    daemon.run(*(("refresh_profile_by_profile_id", {"profile_id": key}) for key in profiles), deadline=240)
    begun, further = collections.defaultdict(set), 0
    # Not in the order of the log: what was answered at once may stand before what led to it.
    for line in sorted(daemon.requests(op="posts"), key=lambda line: line["arrived"]):
        if line["cursor"] == "" and line["status"] == 200:
            begun[line["key"]].add(line["source"])
        elif line["cursor"] != "":
            further += 1
            assert line["source"] in begun[line["key"]], line
    assert further > 5 and len(set.union(*begun.values())) == 2


def test_nothing_secret_is_a_key(node):
    """What names a credential in the limits' file tells nothing of it."""
    daemon = node({BASIC: "{sources: [rapidapi-arraybobo]}"}, source=', limits: [9/s], credential_limits: [9/s]')
    daemon.run(basic(1))
    names = [name for name in os.listdir(daemon.state) if name.startswith("limits")]
    assert names
    held = b"".join(open(os.path.join(daemon.state, name), "rb").read() for name in names)
    assert b"source/rapidapi-arraybobo" in held
    assert re.search(rb"credential/rapidapi-arraybobo/[0-9a-f]{12}\0", held)
    assert b"X-RapidAPI-Key" not in held
