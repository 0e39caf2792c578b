# SPDX-License-Identifier: Apache-2.0
"""The supervisor from outside: what dies is started again and named, and nothing that runs is lost."""
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from harness import BUILD, SLUICED, Daemon, Sim, poll

FAST = """\
tasks: {lease: 3s}
restart: {first: 200ms, cap: 2s}
"""
FLOWS = """\
  refresh_profile_basic: {workers: 2, concurrency: 3}
  refresh_orders_by_store: {workers: 1, concurrency: 3}
"""
FLOW = "refresh_profile_basic"


@pytest.fixture
def run(tmp_path):
    """run(latency=…, mode=…, …): a daemon that is not started yet, with its simulator; both are stopped."""
    started = []

    def make(latency=0, mode="processes", extra=FAST, flows=FLOWS, modules=(), environment=None):
        sim = Sim(tmp_path, "--latency", str(latency))
        started.append(sim)
        daemon = Daemon(tmp_path, sim.url, mode=mode, extra=extra, flows=flows, environment=environment)
        started.append(daemon)
        if modules:
            folder = tmp_path / "plugins"
            folder.mkdir(mode=0o755)
            for module in modules:
                copy = folder / f"{module}.so"
                shutil.copy(os.path.join(BUILD, "tests", "modules", ".libs", f"{module}.so"), copy)
                copy.chmod(0o644)
            daemon.environment["SLUICE_PLUGIN_PATH"] += f":{folder}"
        return daemon

    yield make
    for one in reversed(started):
        one.stop()


def submit(daemon, count):
    daemon.submit(FLOW, "handle=user_{i}", "profile_id=null", count=count)


def log(daemon):
    with open(daemon.log, errors="replace") as lines:
        return lines.read()


def running(daemon):
    """{pid of a worker: the ids of its tasks}"""
    answer = {}
    for task, worker in daemon.store("SELECT id, worker FROM scrape_request_log WHERE status = 'PROCESSING'"):
        answer.setdefault(int(worker.rsplit("/", 1)[1]), set()).add(task)
    return answer


def obituary(daemon, pid):
    """(how it ended, the ids of its tasks) of the process pid, once the log has it."""
    def find():
        return re.search(rf"died role=\S.* pid={pid} (.*) uptime_s=\d+ tasks=\[([\d,]*)\]", log(daemon))
    found = poll(f"the obituary of {pid}", find, deadline=60)
    return found.group(1), {int(task) for task in found.group(2).split(",") if task}


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def roles(daemon):
    return (daemon.status() or {}).get("roles", [])


def tasks(daemon, columns="status, attempt, crashes"):
    return daemon.store(f"SELECT {columns} FROM scrape_request_log ORDER BY id")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_killed_worker_is_named_and_its_tasks_run_again(run, number):
    daemon = run(latency=3000)
    daemon.start()
    before = {role["title"]: role["pid"] for role in roles(daemon)}
    submit(daemon, 6)
    victim = next(iter(poll("a task to run", lambda: running(daemon))))
    os.kill(victim, number)
    how, ids = obituary(daemon, victim)
    assert how.startswith(f"signal={int(number)} (")
    assert ids
    daemon.wait_idle()
    assert daemon.statuses() == {"COMPLETE": 6}
    # Counted as a crash of those tasks and of no other, and as an attempt of none.
    crashed = {task for task, crashes in tasks(daemon, "id, crashes") if crashes == 1}
    assert crashed == ids
    assert all(crashes <= 1 and attempt == 0 for attempt, crashes in tasks(daemon, "attempt, crashes"))
    poll("the worker to be back", lambda: (daemon.status() or {}).get("ready"))
    after = {role["title"]: role["pid"] for role in roles(daemon)}
    title = next(title for title, pid in before.items() if pid == victim)
    assert after.pop(title) != before.pop(title)
    assert after == before
    for queue, (committed, rows, distinct) in daemon.books().items():
        assert committed == rows == distinct, queue


@pytest.mark.parametrize("mode", ["single", "processes"])
def test_a_killed_supervisor_leaves_nobody_behind(run, mode):
    daemon = run(latency=1000, mode=mode)
    daemon.start()
    submit(daemon, 20)
    poll("tasks to run", lambda: running(daemon))
    pids = daemon.pids()
    assert len(pids) >= 4		# itself, a sink, a worker, a timer
    daemon.kill()
    poll("all processes to end", lambda: all(gone(pid) for pid in pids), deadline=30)
    daemon.start()
    daemon.wait_idle()
    assert daemon.statuses() == {"COMPLETE": 20}
    for queue, (committed, rows, distinct) in daemon.books().items():
        assert committed == rows == distinct, queue
    assert daemon.stop() == 0


def test_a_second_daemon_is_refused_and_told_who_is_there(run):
    daemon = run()
    daemon.start()
    second = subprocess.run([SLUICED, "-f", daemon.config, "--state", daemon.state], env=daemon.environment,
                            capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert (f"state directory {daemon.state} is in use by sluiced with pid {daemon.process.pid}: "
            "stop it, or choose another (--state)") in second.stderr
    assert daemon.status()["ready"]


@pytest.mark.parametrize("mode", ["single", "processes"])
def test_term_lets_running_tasks_finish(run, mode):
    daemon = run(latency=1500, mode=mode, extra=FAST + "drain: 120s\n")
    daemon.start()
    submit(daemon, 40)
    started = set().union(*poll("tasks to run", lambda: running(daemon)).values())
    assert daemon.stop() == 0
    by_id = {task: (status, attempt, crashes) for task, status, attempt, crashes in
             tasks(daemon, "id, status, attempt, crashes")}
    assert {status for status, _, _ in by_id.values()} <= {"COMPLETE", "PENDING"}
    assert all(by_id[task] == ("COMPLETE", 0, 0) for task in started)
    assert all(attempt == crashes == 0 for _, attempt, crashes in by_id.values())
    assert "draining" in log(daemon) and "stopped" in log(daemon) and "died" not in log(daemon)


@pytest.mark.parametrize("mode", ["single", "processes"])
def test_term_gives_back_what_does_not_finish(run, mode):
    daemon = run(latency=100000, mode=mode, extra=FAST + "drain: 3s\nhttp: {timeout: 200s}\n")
    daemon.start()
    submit(daemon, 10)
    poll("tasks to run", lambda: running(daemon))
    assert daemon.stop() == 0
    assert set(tasks(daemon)) == {("PENDING", 0, 0)}
    assert "died" not in log(daemon)


def test_term_twice_stops_at_once_and_loses_nothing(run):
    daemon = run(latency=2000, extra=FAST + "drain: 600s\n")
    daemon.start()
    submit(daemon, 20)
    poll("tasks to run", lambda: running(daemon))
    pids = daemon.pids()
    daemon.process.send_signal(signal.SIGTERM)
    poll("the drain to begin", lambda: "draining" in log(daemon))
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(timeout=60) == 0
    assert "told twice: stopping at once" in log(daemon)
    assert all(gone(pid) for pid in pids)
    daemon.start()
    daemon.wait_idle()
    assert daemon.statuses() == {"COMPLETE": 20}
    for queue, (committed, rows, distinct) in daemon.books().items():
        assert committed == rows == distinct, queue


FAULTY = FLOWS + "  faulty_flow: {workers: 1, concurrency: 1}\n"


def faulty(run, how, extra=FAST):
    daemon = run(flows=FAULTY, modules=["faulty"], extra=extra)
    daemon.start()
    pid = next(role["pid"] for role in roles(daemon) if role["title"] == "worker faulty_flow")
    daemon.submit("faulty_flow", f"how={how}")
    return daemon, pid


def test_a_callback_that_hangs_is_ended_and_named(run):
    daemon, pid = faulty(run, "hang")
    how, ids = obituary(daemon, pid)
    assert how == "signal=14 (a plugin's callback ran longer than 10 s)"
    assert ids == {1}
    assert "died" not in "".join(line for line in log(daemon).splitlines() if "faulty_flow" not in line)


def test_a_callback_that_crashes_every_time_is_given_up(run):
    daemon, pid = faulty(run, "crash", FAST.replace("lease: 3s", "lease: 1s, crashes: 2"))
    how, ids = obituary(daemon, pid)
    assert how.startswith("signal=11 (Segmentation fault) core=")
    assert ids == {1}
    submit(daemon, 3)		# the others go on
    poll("the task to be given up", lambda: daemon.statuses().get("FAILED") == 1)
    status, attempt, crashes, data = tasks(daemon, "status, attempt, crashes, data")[0]
    assert status == "FAILED" and attempt == 0 and crashes >= 2
    assert "crash" in data
    poll("the others to complete", lambda: daemon.statuses().get("COMPLETE") == 3)


def test_a_callback_that_exits_is_no_clean_end(run):
    daemon, pid = faulty(run, "exit")
    how, ids = obituary(daemon, pid)
    assert how == "status=0"
    assert ids == {1}


def test_a_good_plugin_beside_bad_ones_runs(run):
    daemon = run(flows=FAULTY, modules=["faulty", "wild", "undefined", "major2"], environment={"SLUICE_WILD": "crash"})
    daemon.start()
    text = log(daemon)
    assert "wild.so: plugin refused: crashed while being loaded (signal 11, Segmentation fault)" in text
    assert "undefined.so: plugin refused: cannot be loaded: undefined symbol: sluice_test_nobody_has_this" in text
    assert "major2.so: plugin refused: exports no sluice_plugin_v1" in text
    daemon.submit("faulty_flow", "how=ok")
    daemon.wait_idle()
    assert daemon.statuses() == {"COMPLETE": 1}


def test_a_sink_that_cannot_start_is_reported_and_tried_again(run):
    daemon = run(environment={"SLUICE_CHDB": "/nonexistent/libchdb.so"})
    daemon.start(ready=False)
    pauses = poll("three tries", lambda: (lambda found: found if len(found) >= 3 else None)(
        re.findall(r'died role="?sink"? pid=\d+ status=1 .* reason="(.*)" again_in_ms=(\d+)', log(daemon))))
    assert all("/nonexistent/libchdb.so" in reason for reason, _ in pauses)
    assert int(pauses[2][1]) > int(pauses[0][1])
    assert all(int(pause) <= 2000 * 1.5 for _, pause in pauses)
    status = daemon.status()
    assert not status["ready"]
    sink = next(role for role in status["roles"] if role["role"] == "sink")
    assert sink["restarts"] >= 2 and sink["state"] in ("waiting", "starting")
    # What needs no sink goes on meanwhile.
    submit(daemon, 3)
    poll("tasks to complete", lambda: daemon.statuses().get("COMPLETE") == 3)
    assert daemon.stop() == 0


def test_a_drain_does_not_wait_for_who_is_not_there(run):
    """All that is left to drain is a sink between two starts, which are far apart."""
    daemon = run(environment={"SLUICE_CHDB": "/nonexistent/libchdb.so"}, extra="restart: {first: 1h, cap: 1h}\n")
    daemon.start(ready=False)
    poll("the sink to wait", lambda: [role for role in (daemon.status() or {}).get("roles", ())
                                      if role["role"] == "sink" and role["state"] == "waiting"])
    assert daemon.stop() == 0


def test_ps_shows_what_each_process_is(run):
    daemon = run()
    daemon.start()
    titles = set()
    for pid in daemon.pids()[1:]:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            titles.add(line.read().split(b"\0")[0].decode())
    assert titles == {"sluiced: sink", "sluiced: timer", f"sluiced: worker {FLOW} 1/2", f"sluiced: worker {FLOW} 2/2",
                      "sluiced: worker refresh_orders_by_store"}
    assert titles == {f"sluiced: {role['title']}" for role in roles(daemon)}


def test_a_bad_configuration_is_refused_with_its_places(run):
    daemon = run(flows=FLOWS + "  refresh_profile_basik: {workers: many}\n")
    with open(daemon.config) as text:
        line = text.read().splitlines().index("  refresh_profile_basik: {workers: many}") + 1
    for options in ([], ["-n"]):
        done = subprocess.run([SLUICED, *options, "-f", daemon.config, "--state", daemon.state],
                              env=daemon.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert done.stdout == ""
        assert f"{daemon.config}:{line}:3: " in done.stderr
        assert f'did you mean "{FLOW}"' in done.stderr
        assert f"{daemon.config}:{line}:36: " in done.stderr
        assert not os.path.exists(daemon.state)


@pytest.mark.parametrize("key, url, reason", [
    ("tasks", "postgresql://h/x?nosuch=1", "nosuch"),
    ("bus", "amqp://u:geheim@/x", "must look like amqp://"),
    ("bus", "amqp://u:geheim@h/x?heartbeet=1", "known are queues, heartbeat"),
    ("warehouse", "clickhouse://u:geheim@h:99999/x", "must look like clickhouse://"),
    ("warehouse", "clickhouse://h/x?compression=lz5", "lz5"),
])
def test_a_bad_url_is_refused_with_its_place(run, key, url, reason):
    daemon = run()
    with open(daemon.config) as config:
        lines = config.read().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith(f"  {key}:"))
    lines[number] = f"  {key}: {url}"
    with open(daemon.config, "w") as config:
        config.write("\n".join(lines) + "\n")
    done = subprocess.run([SLUICED, "-n", "-f", daemon.config, "--state", daemon.state],
                          env=daemon.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "geheim" not in done.stderr
    assert f"{daemon.config}:{number + 1}:{len(key) + 5}: stores: {key}: " in done.stderr
    assert reason in done.stderr


def test_without_a_section_every_sink_runs(run):
    daemon = run()
    with open(daemon.config) as text:
        config = text.read()
    with open(daemon.config, "w") as out:
        out.write(config[:config.index("\nsinks:\n") + 1])
    daemon.start()
    submit(daemon, 3)
    daemon.wait_idle()
    tables = daemon.sql("SELECT name FROM system.tables WHERE database = '_e' ORDER BY name")
    shown = json.loads(daemon.ctl("--json", "plugin", "show", "sinks").stdout)
    assert [row[0] for row in tables] == sorted(sink["table"] for sink in shown["sinks"])
    for committed, rows, distinct in daemon.books().values():
        assert committed == rows == distinct
    assert daemon.books()["profile_log_events_q"][0] == 3
    daemon.stop()
    assert daemon.process.returncode == 0


def test_a_good_configuration_is_summed_up(run):
    daemon = run()
    done = subprocess.run([SLUICED, "-n", "-f", daemon.config, "--state", daemon.state], env=daemon.environment,
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{daemon.config}: ok: 2 flows, 3 workers, 4 sinks, 4 plugins\n"
    assert not os.path.exists(daemon.state)
