# SPDX-License-Identifier: Apache-2.0
"""skip_after: what failed for good so often gets no more tasks, until it is forgotten."""
import json
import os
import re
import sqlite3
import time

import pytest

from harness import Daemon, Sim, poll

BASIC, POST = "refresh_profile_basic", "refresh_post_by_shortcode"
FLOWS = f"""\
  {BASIC}:
    {{concurrency: 20, attempts: 1, skip_after: 2 failures / 180d,
     schedule: {{cron: "@yearly", params: [{{handle: user_14, profile_id: null}}, {{handle: user_1, profile_id: null}}]}}}}
  {POST}:
    {{skip_after: 1 failure / 30d, schedule: {{cron: "* * * * * *", params: [{{shortcode: gone}}]}}}}
"""
FAULTS = ["key=^user_14$,404", "key=^user_11$,500", "key=^user_15$,404,first=1", "key=^gone$,404"]
FAST = "calls: {retries: 0}\n"
TASKS_FAILED, SKIPPED = 3, 5
LINE = (r"sluicectl: skipped: \{\"handle\":\"user_14\"\} failed %d times since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, "
        r"last: \(404, 'Something went wrong'\); use --force\n")


@pytest.fixture
def daemon(tmp_path):
    """No warehouse is needed for any of this: its library is not there."""
    sim = Sim(tmp_path, *[word for fault in FAULTS for word in ("--fault", fault)])
    daemon = Daemon(tmp_path, sim.url, flows=FLOWS, extra=FAST, environment={"SLUICE_CHDB": "/nowhere/libchdb.so"})
    os.mkdir(daemon.state, mode=0o700)
    yield daemon
    if daemon.process:
        daemon.stop()
    sim.stop()


def skipped(daemon, *options):
    return json.loads(daemon.ctl("task", "skipped", "--json", *options).stdout)


def run(daemon, handle, *options):
    """Makes a task and waits for its end: (exit status, what is said)."""
    done = daemon.ctl("submit", BASIC, f"handle={handle}", "profile_id=null", "--wait", *options, check=False)
    return done.returncode, done.stderr


def test_failures_are_remembered(daemon):
    daemon.start(ready=False)
    assert run(daemon, "user_14")[0] == TASKS_FAILED
    assert skipped(daemon, BASIC) == []
    assert run(daemon, "user_14")[0] == TASKS_FAILED
    status, said = run(daemon, "user_14")
    assert status == SKIPPED and re.fullmatch(LINE % 2, said), said
    # Retries that were used up are no failure for good.
    assert [run(daemon, "user_11")[0] for _ in range(3)] == [TASKS_FAILED] * 3
    # A success forgets.
    assert [run(daemon, "user_15")[0] for _ in range(2)] == [TASKS_FAILED, 0]
    row, = skipped(daemon, "--all", BASIC)
    assert (row["flow"], row["key"], row["failures"]) == (BASIC, '{"handle":"user_14"}', 2)
    assert row["error"] == "(404, 'Something went wrong')" and row["first_at"] <= row["last_at"]
    assert skipped(daemon, BASIC) == [row]
    table = daemon.ctl("task", "skipped", BASIC).stdout.splitlines()
    assert table[0].split() == ["FLOW", "KEY", "FAILURES", "FIRST", "LAST", "ERROR"] and "user_14" in table[1]

    # Many at once, and by a schedule: the others are made.
    with open(os.path.join(daemon.folder, "lines"), "w") as lines:
        lines.write('{"handle":"user_14"}\n{"handle":"user_1"}\n{"profile_id":null,"handle":"user_14"}\n')
    done = daemon.ctl("submit", BASIC, "profile_id=null", "--file", lines.name, check=False)
    assert done.returncode == SKIPPED and len(done.stdout.splitlines()) == 1
    assert re.fullmatch(LINE % 2 * 2 + "sluicectl: 2 of 3 tasks were skipped\n", done.stderr), done.stderr
    answer = json.loads(daemon.ctl("submit", BASIC, "profile_id=null", "--file", lines.name, "--json",
                                   check=False).stdout)
    assert len(answer["ids"]) == 1 and [one["params"]["handle"] for one in answer["skipped"]] == ["user_14"] * 2
    assert {key: answer["skipped"][0][key] for key in ("key", "failures", "first_at", "error")} == \
        {key: row[key] for key in ("key", "failures", "first_at", "error")}
    assert daemon.ctl("schedule", "run", BASIC).stdout == \
        "1 tasks made, 0 skipped, 1 left out for what failed before\n"

    # Made nevertheless, and forgotten.
    assert run(daemon, "user_14", "--force")[0] == TASKS_FAILED
    assert skipped(daemon, BASIC)[0]["failures"] == 3
    assert daemon.ctl("task", "forget", BASIC, "handle=user_14", "profile_id=null").stdout == "3 failures forgotten\n"
    assert run(daemon, "user_14")[0] == TASKS_FAILED
    assert json.loads(daemon.ctl("task", "forget", BASIC, "--all", "--json").stdout) == {
        "flow": BASIC, "key": None, "forgotten": 1}
    assert skipped(daemon, "--all", BASIC) == []


def test_schedules_go_on(daemon):
    """A slot each second, of something that is gone: it is asked for until that is known."""
    def fails():
        rows = {row["flow"]: row for row in json.loads(daemon.ctl("schedule", "list", "--json").stdout)}
        return (rows[POST]["last"] or {}).get("fails", 0)

    def tasks():
        return daemon.store("SELECT status, count(*) FROM scrape_request_log WHERE flow = ? GROUP BY status", POST)

    daemon.start(ready=False)
    poll("a slot to be left out", lambda: fails() >= 1)
    # What was made before that has ended, and nothing came after it.
    before = poll("the tasks to end", lambda: tasks() if [row[0] for row in tasks()] == ["FAILED"] else None)
    seen = fails()
    poll("more slots to be left out", lambda: fails() >= seen + 2)
    assert tasks() == before
    with open(daemon.log) as log:
        assert re.search(rf"schedule carried out flow={POST} slot=\".*\" tasks=0 skipped=0 failing=1 refused=0", log.read())


def test_old_failures_go(daemon):
    """Rows that no flow has to remember any more."""
    daemon.submit(BASIC, "handle=user_1", "profile_id=null")		# makes the store
    now = int(time.time() * 1000)
    with sqlite3.connect(f"{daemon.state}/sluice.db") as connection:
        connection.executemany("INSERT INTO task_failure (flow, key, task_id, failed_ms, until_ms, error) VALUES"
                               " (?, '{}', ?, 1, ?, '')", [(BASIC, 1, now - 1000), (BASIC, 2, now + 10**9),
                                                           ("no_flow_any_more", 3, now - 1000)])
    daemon.start(ready=False)
    poll("old failures to be forgotten",
         lambda: daemon.store("SELECT task_id FROM task_failure WHERE flow <> ?", POST) == [(2,)])
    with open(daemon.log) as log:
        poll("the log", lambda: "old failures forgotten failures=2" in log.read())


def test_wrong_words(daemon):
    for words, status, text in (
            (["task", "forget", BASIC], 2, "which? Give parameters, as in handle=abc, or --all"),
            (["task", "forget", BASIC, "--all", "handle=a"], 2, "--all goes with no parameters"),
            (["task", "forget", BASIC, "handel=a"], 1, 'unknown parameter "handel" (did you mean "handle"?)'),
            (["task", "skipped", "refresh_yt_posts"], 1, 'flow "refresh_yt_posts" is not listed below flows:')):
        done = daemon.ctl(*words, check=False)
        assert (done.returncode, text in done.stderr) == (status, True), done.stderr
