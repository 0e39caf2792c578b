# SPDX-License-Identifier: Apache-2.0
"""A changed configuration while the daemon runs: who is touched, who is not, and that nothing is lost."""
import json
import os
import re
import shutil
import signal
import time

import pytest

from harness import BUILD, Daemon, Sim, poll
from test_limits import JITTER_MS, Node, arrivals, most_within, node, posts		# noqa: F401
from test_worker import POST

FAST = """\
tasks: {lease: 3s}
restart: {first: 200ms, cap: 2s}
drain: 120s
"""
FLOWS = """\
  refresh_profile_basic: {workers: 2, concurrency: 3}
  refresh_orders_by_store: {workers: 1, concurrency: 3}
"""
FLOW = "refresh_profile_basic"
OTHERS = {"sink", "timer", "worker refresh_orders_by_store"}


@pytest.fixture
def run(tmp_path):
    """run(latency=…, …): a daemon, started; it and its simulator are stopped."""
    started = []

    def make(latency=0, extra=FAST, flows=FLOWS, ready=True, plugins=None, **more):
        sim = Sim(tmp_path, "--latency", str(latency))
        started.append(sim)
        daemon = Daemon(tmp_path, sim.url, mode="processes", extra=extra, flows=flows, **more)
        started.append(daemon)
        if plugins:
            daemon.environment["SLUICE_PLUGIN_PATH"] += f":{plugins}"
        daemon.start(ready)
        return daemon

    yield make
    for one in reversed(started):
        one.stop()


def edit(daemon, pattern, text):
    with open(daemon.config) as config:
        before = config.read()
    after, count = re.subn(pattern, text, before)
    assert count == 1, pattern
    with open(daemon.config, "w") as config:
        config.write(after)
    return before


def restore(daemon, text):
    with open(daemon.config, "w") as config:
        config.write(text)


def log(daemon):
    with open(daemon.log, errors="replace") as lines:
        return lines.read()


def roles(daemon):
    return {role["title"]: role for role in (daemon.status() or {}).get("roles", [])}


def pids(daemon):
    return {title: role["pid"] for title, role in roles(daemon).items()}


def reload(daemon, *options):
    """{how it changes: titles} and the whole answer."""
    answer = json.loads(daemon.ctl("--json", "reload", *options).stdout)
    changes = {}
    for change in answer["changes"]:
        changes.setdefault(change["change"], set()).add(change["process"])
    return changes, answer


def settled(daemon):
    """pids, once every process is ready and those that leave are gone."""
    poll("the reload to be over", lambda: daemon.alive() and (daemon.status() or {}).get("ready"))
    return pids(daemon)


def submit(daemon, count):
    daemon.submit(FLOW, "handle=user_{i}", "profile_id=null", count=count)


def check_nothing_lost(daemon, count):
    daemon.wait_idle()
    assert daemon.store("SELECT status, attempt, crashes, count(*) FROM scrape_request_log GROUP BY 1, 2, 3") == [
        ("COMPLETE", 0, 0, count)]
    for queue, (committed, rows, distinct) in daemon.books().items():
        assert committed == rows == distinct, queue
    assert "died" not in log(daemon)


def test_workers_come_and_go_while_tasks_run(run):
    daemon = run(latency=1500)
    before = pids(daemon)
    submit(daemon, 24)
    edit(daemon, r"workers: 2", "workers: 4")
    expected = {"started": {f"worker {FLOW} 3/4", f"worker {FLOW} 4/4"},
                "untouched": OTHERS | {f"worker {FLOW} 1/4", f"worker {FLOW} 2/4"}}
    changes, answer = reload(daemon, "-n")
    assert changes == expected and answer["applied"] is False
    assert pids(daemon) == before
    changes, answer = reload(daemon)
    assert changes == expected and answer["applied"] is True
    assert answer["counts"] == {"untouched": 5, "adjusted": 0, "restarted": 0, "started": 2, "stopped": 0}
    after = settled(daemon)
    assert {title: pid for title, pid in after.items() if title in OTHERS} == {
        title: pid for title, pid in before.items() if title in OTHERS}
    assert [after[f"worker {FLOW} {i}/4"] for i in (1, 2)] == [before[f"worker {FLOW} {i}/2"] for i in (1, 2)]
    # Now by signal, and all but one of those that run tasks have to go.
    submit(daemon, 48)
    poll("all four to work", lambda: len({worker for worker, in daemon.store(
        "SELECT worker FROM scrape_request_log WHERE status = 'PROCESSING'")}) == 4)
    edit(daemon, r"workers: 4", "workers: 1")
    daemon.process.send_signal(signal.SIGHUP)
    poll("the reload to begin", lambda: "started=0 restarted=0 stopped=3 adjusted=0 untouched=4" in log(daemon))
    last = settled(daemon)
    assert set(last) == OTHERS | {f"worker {FLOW}"}
    assert last[f"worker {FLOW}"] == before[f"worker {FLOW} 1/2"]
    assert all(last[title] == before[title] for title in OTHERS)
    check_nothing_lost(daemon, 72)


def refused(daemon, *expected):
    """Both ways to ask are refused, with these lines; nothing has changed."""
    before, seen = pids(daemon), log(daemon).count("the configuration was refused")
    done = daemon.ctl("reload", check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert "sluicectl: the configuration was refused: nothing has changed" in done.stderr
    for line in expected:
        assert line in done.stderr
    only = daemon.ctl("reload", "-n", "--json", check=False)
    assert only.returncode == 1
    assert [line for line in expected if line not in "\n".join(json.loads(only.stdout)["errors"])] == []
    daemon.process.send_signal(signal.SIGHUP)
    poll("the second refusal", lambda: log(daemon).count("the configuration was refused") == seen + 2)
    for line in expected:
        assert log(daemon).count(line) == 2
    assert pids(daemon) == before


def test_what_cannot_be_is_refused_and_everything_goes_on(run):
    daemon = run(latency=500)
    before = pids(daemon)
    submit(daemon, 30)
    good = edit(daemon, r"workers: 2", "workers: many")
    with open(daemon.config) as config:
        line = next(i for i, text in enumerate(config, 1) if "many" in text)
    edit(daemon, r"  refresh_orders_by_store: ", "  refresh_orders_by_shop: ")
    refused(daemon, f"{daemon.config}:{line}:36: ", f"{daemon.config}:{line + 1}:3: ")
    restore(daemon, good)
    edit(daemon, r"tasks: sqlite:\S*", "tasks: sqlite:${STATE}/other.db")
    edit(daemon, r"mode: processes", "mode: single")
    edit(daemon, r"workers: 2", "workers: 5")		# of which nothing comes either
    refused(daemon, f"{daemon.config}: stores: tasks: a change of it needs a restart of the daemon",
            f"{daemon.config}: mode: a change of it needs a restart of the daemon")
    restore(daemon, good)
    changes, _ = reload(daemon)
    assert set(changes) == {"untouched"} and changes["untouched"] == set(before)
    text = daemon.ctl("reload").stdout
    assert f"untouched  worker {FLOW} 1/2\n" in text and text.endswith("\n5 untouched\n")
    check_nothing_lost(daemon, 30)
    assert pids(daemon) == before


def put_plugin(folder):
    """Another file of the same name: tests/modules/faulty.c."""
    new = folder / "new"
    shutil.copy(os.path.join(BUILD, "tests", "modules", ".libs", "faulty.so"), new)
    new.chmod(0o644)
    new.rename(folder / "faulty.so")


def test_only_those_whose_part_changes_are_started_afresh(run, tmp_path):
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    daemon = run(plugins=folder)
    pid = pids(daemon)

    def expect(**expected):
        nonlocal pid
        changes, answer = reload(daemon)
        changes.pop("untouched", None)
        assert changes == {change: set(titles) for change, titles in expected.items()}
        now = settled(daemon)
        touched = {title for change, titles in expected.items() if change != "adjusted" for title in titles}
        assert {title for title in set(pid) | set(now) if pid.get(title) != now.get(title)} == touched
        pid = now
        return answer

    # A flow of another plugin; the timer knows the flows, for their schedules.
    edit(daemon, r"\nsinks:\n", "\n  refresh_yt_profiles: {workers: 1}\nsinks:\n")
    expect(started=["worker refresh_yt_profiles"], restarted=["timer"])
    daemon.submit("refresh_yt_profiles", "channel_ids=[\"UC1\"]")
    poll("the task of the new flow", lambda: daemon.statuses() == {"COMPLETE": 1})
    # A plugin dropped in, its flow, and another file of it: nobody else loads it.
    put_plugin(folder)
    expect()
    edit(daemon, r"\nsinks:\n", "\n  faulty_flow: {workers: 1}\nsinks:\n")
    expect(started=["worker faulty_flow"], restarted=["timer"])
    put_plugin(folder)
    expect(restarted=["worker faulty_flow"])
    (folder / "faulty.so").unlink()
    done = daemon.ctl("reload", check=False)
    assert done.returncode == 1 and 'flow "faulty_flow"' in done.stderr and pids(daemon) == pid
    edit(daemon, r"\n  faulty_flow: .*\n", "\n")
    expect(stopped=["worker faulty_flow"], restarted=["timer"])
    edit(daemon, r"refresh_yt_profiles: \{workers: 1\}", "refresh_yt_profiles: {workers: 1, concurrency: 7}")
    expect(restarted=["worker refresh_yt_profiles"])
    edit(daemon, r"  order_log_events: \{\}", "  order_log_events: {batch: {age: 2s}}")
    expect(restarted=["sink"])
    edit(daemon, r"\n  refresh_yt_profiles: .*\n", "\n")
    expect(stopped=["worker refresh_yt_profiles"], restarted=["timer"])
    edit(daemon, r"\nmode: processes\n", "\nmode: processes\nlog: {level: debug}\n")
    everybody = list(pid)
    assert expect(adjusted=everybody)["log_level"] == "debug"
    submit(daemon, 5)
    daemon.wait_idle()
    assert re.search(rf"debug\s+worker {FLOW} \d/2\[\d+\]:? request ", log(daemon))
    # What only the supervisor heeds touches nobody.
    edit(daemon, r"restart: \{first: 200ms", "restart: {first: 300ms")
    expect()
    assert daemon.stop() == 0
    assert "died" not in log(daemon)


def test_a_second_reload_and_an_end_while_the_first_still_drains(run):
    daemon = run(latency=4000)
    before = pids(daemon)
    submit(daemon, 6)
    poll("tasks to run", lambda: daemon.statuses().get("PROCESSING") == 6)
    edit(daemon, r"workers: 2, concurrency: 3", "workers: 2, concurrency: 4")
    changes, _ = reload(daemon)
    assert changes["restarted"] == {f"worker {FLOW} 1/2", f"worker {FLOW} 2/2"}
    status = daemon.status()
    assert status["reloading"] and not status["ready"]
    assert {role["state"] for role in status["roles"] if role["title"].startswith(f"worker {FLOW}")} == {"draining"}
    edit(daemon, r"workers: 2, concurrency: 4", "workers: 1, concurrency: 5")
    changes, _ = reload(daemon)
    assert changes["restarted"] == {f"worker {FLOW}"} and changes["stopped"] == {f"worker {FLOW} 2/2"}
    after = settled(daemon)
    assert set(after) == OTHERS | {f"worker {FLOW}"}
    assert after[f"worker {FLOW}"] != before[f"worker {FLOW} 1/2"]
    assert daemon.statuses() == {"COMPLETE": 6}		# they were let finish
    # And once more, ended in the middle.
    submit(daemon, 5)
    poll("tasks to run", lambda: daemon.statuses().get("PROCESSING") == 5)
    edit(daemon, r"concurrency: 5", "concurrency: 2")
    assert reload(daemon)[0]["restarted"] == {f"worker {FLOW}"}
    assert daemon.stop() == 0
    assert daemon.statuses() == {"COMPLETE": 11}
    daemon.start()
    check_nothing_lost(daemon, 11)


def test_who_waits_to_be_started_again_is_started_with_what_is_new(run):
    daemon = run(ready=False, environment={"SLUICE_CHDB": "/nonexistent/libchdb.so"},
                 extra="restart: {first: 1h, cap: 1h}\n")

    def deaths():
        return len(re.findall(r'died role="?sink"? ', log(daemon)))
    poll("the sink to wait", lambda: deaths() == 1 and roles(daemon)["sink"]["state"] == "waiting")
    changes, _ = reload(daemon)
    assert set(changes) == {"untouched"} and "sink" in changes["untouched"]
    assert roles(daemon)["sink"]["state"] == "waiting"
    edit(daemon, r"  order_log_events: \{\}", "  order_log_events: {batch: {age: 2s}}")
    assert reload(daemon)[0]["restarted"] == {"sink"}
    poll("the sink to be tried again", lambda: deaths() == 2)
    assert daemon.stop() == 0


def test_limits_hold_at_once(node):		# noqa: F811
    one = node({POST: "{workers: 2, concurrency: 20, sources: [rapidapi-arraybobo]}"}, mode="processes",
               source=', limits: ["40/s"]', extra=FAST)
    workers = {f"worker {POST} 1/2", f"worker {POST} 2/2"}
    poll("the workers", lambda: all(roles(one).get(title, {}).get("state") == "ready" for title in workers))
    before = {title: pids(one)[title] for title in workers}
    tasks = 2000		# more than go while a slow machine reads the configuration again
    ids = one.add(*posts(one, tasks))
    poll("some of the tasks", lambda: one.statuses().get("COMPLETE", 0) >= 80)
    edit(one, r'limits: \["40/s"\]', 'limits: ["4/s"]')
    assert reload(one)[0]["adjusted"] == workers
    lowered = time.time() * 1000 + 5 * JITTER_MS
    most = one.statuses().get("COMPLETE", 0) + 24
    poll("some more", lambda: one.statuses().get("COMPLETE", 0) >= most)
    edit(one, r'limits: \["4/s"\]', 'limits: ["1000/s"]')
    raised = time.time() * 1000
    assert reload(one)[0]["adjusted"] == workers
    assert {task.status for task in one.ended(ids, 600)} == {"COMPLETE"}
    assert {title: pids(one)[title] for title in workers} == before
    times = arrivals(one, source="rapidapi-arraybobo")
    assert len(times) == tasks
    slow = [t for t in times if lowered <= t < raised]
    assert len(slow) >= 8 and most_within(slow, 1000 - JITTER_MS) <= 4
    assert most_within([t for t in times if t >= raised], 1000) > 4
    assert most_within(times, 1000 - JITTER_MS) > 4		# or all of this says nothing
