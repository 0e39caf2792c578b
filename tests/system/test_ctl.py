# SPDX-License-Identifier: Apache-2.0
"""sluicectl without a daemon: what it says, what it writes, how it ends."""
import json
import os
import re
import sqlite3
import subprocess
import time

import pytest

import harness

FLOWS = """\
version: 1
flows:
  refresh_orders_by_store: {workers: 2, concurrency: 7, priority: 3}
  refresh_yt_profiles: {unique: [channel_ids]}
"""
OK, FAILED, USAGE, TIMEOUT = 0, 1, 2, 4
CHANNEL = {"id": "UC1", "snippet": {"title": "One", "description": "", "publishedAt": "2020-01-02T03:04:05Z",
                                    "thumbnails": {"default": {"url": "http://t/1"}}},
           "statistics": {"viewCount": "12", "subscriberCount": "5", "videoCount": "2"}}


@pytest.fixture
def ctl(tmp_path):
    """Runs sluicectl on a state directory and a configuration of its own: (status, out, err)."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (tmp_path / "flows.yaml").write_text(FLOWS)
    environment = {**os.environ, "SLUICE_PLUGIN_PATH": os.path.join(harness.BUILD, "plugins.d"),
                   "SLUICE_STATE": str(state), "SLUICE_CONFIG": str(tmp_path / "flows.yaml")}

    def run(*args, stdin=None, **extra):
        done = subprocess.run([harness.SLUICECTL, *map(str, args)], env={**environment, **extra}, input=stdin,
                              capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
        return done.returncode, done.stdout, done.stderr

    run.folder = tmp_path
    return run


def of(ctl, *args, **extra):
    """The JSON of a command that succeeds."""
    status, out, err = ctl("--json", *args, **extra)
    assert status == OK, err
    return json.loads(out)


# --- submit and task ---

def test_submit_list_show(ctl):
    status, out, err = ctl("submit", "refresh_orders_by_store", "store=a{i}.example", "limit=5", "--count", 3)
    assert (status, out, err) == (OK, "1\n2\n3\n", "")
    tasks = of(ctl, "task", "list")
    assert [task["id"] for task in tasks] == [3, 2, 1]
    assert [task["params"] for task in tasks] == [{"store": f"a{i}.example", "limit": 5} for i in (2, 1, 0)]
    assert {(task["flow"], task["platform"], task["status"], task["priority"]) for task in tasks} == \
        {("refresh_orders_by_store", "SHOPIFY", "PENDING", 3)}
    assert of(ctl, "task", "show", 2)["params"] == {"store": "a1.example", "limit": 5}
    status, out, _ = ctl("task", "list", "--limit", 1)
    assert status == OK and len(out.splitlines()) == 2 and "a2.example" in out
    assert of(ctl, "task", "list", "--status", "complete") == []
    assert len(of(ctl, "task", "list", "--flow", "refresh_orders_by_store", "--status", "PENDING")) == 3


@pytest.mark.parametrize("words,want", [
    (["channel_ids=a,b,c"], ["a", "b", "c"]),
    (["channel_ids=a", "channel_ids=b,c"], ["a", "b", "c"]),
    (['channel_ids=["a,b","c"]'], ["a,b", "c"]),
    (["--json-params", '{"channel_ids":["x"]}'], ["x"]),
    (["--json-params", '{"channel_ids":["x"]}', "channel_ids=y"], ["y"]),
])
def test_lists(ctl, words, want):
    identity, = of(ctl, "submit", "refresh_yt_profiles", *words)["ids"]
    assert of(ctl, "task", "show", identity)["params"] == {"channel_ids": want}


def test_null_and_file(ctl):
    lines = ctl.folder / "params.jsonl"
    lines.write_text('{"store":"a.example"}\n\n{"store":"b.example","limit":9}\n')
    assert of(ctl, "submit", "refresh_orders_by_store", "created_at_min=null", "--file", lines)["ids"] == [1, 2]
    assert [task["params"] for task in of(ctl, "task", "list")] == [
        {"store": "b.example", "limit": 9, "created_at_min": None}, {"store": "a.example", "created_at_min": None}]
    lines.write_text('{"store":"a.example"}\n{"store":5,"limit":"many"}\n{oops\n')
    status, out, err = ctl("submit", "refresh_orders_by_store", "--file", lines)
    assert (status, out) == (FAILED, "")
    assert err == f'sluicectl: {lines}:2: flow "refresh_orders_by_store": "limit" must be a whole number\n'
    assert len(of(ctl, "task", "list")) == 2


@pytest.mark.parametrize("words,message", [
    (["stroe=a", "limit=500"], 'unknown parameter "stroe" (did you mean "store"?); "store" is missing; '
                               '"limit" must be at most 250'),
    ([], '"store" is missing'),
    (["store=a", "limit=few"], '"limit" must be a whole number'),
    (["store=null"], '"store" is missing'),
])
def test_schema_refuses(ctl, words, message):
    status, out, err = ctl("submit", "refresh_orders_by_store", *words)
    assert (status, out, err) == (FAILED, "", f'sluicectl: flow "refresh_orders_by_store": {message}\n')
    status, _, err = ctl("flow", "try", "refresh_orders_by_store", *words)
    assert (status, err) == (FAILED, f'sluicectl: flow "refresh_orders_by_store": {message}\n')


def test_other_refusals(ctl):
    for words, message in (
            (["refresh_order_by_store"],
             'no plugin offers a flow "refresh_order_by_store" (did you mean "refresh_orders_by_store"?)'),
            (["refresh_orders_by_store", "store"], '"store" is no KEY=VALUE'),
            (["refresh_orders_by_store", "store=a", "store=b"], '"store" is given twice, but it is no list'),
            (["refresh_yt_posts", "post_ids=a"],
             f'flow "refresh_yt_posts" is not listed below flows: in {ctl.folder}/flows.yaml: '
             'no worker would run it')):
        assert ctl("submit", *words) == (FAILED, "", f"sluicectl: {message}\n")
    missing = ctl.folder / "none.yaml"
    status, _, err = ctl("-f", missing, "submit", "refresh_orders_by_store", "store=a")
    assert status == FAILED and str(missing) in err and "-f FILE" in err


def test_unique(ctl):
    assert ctl("submit", "refresh_yt_profiles", "channel_ids=a")[0] == OK
    status, out, err = ctl("submit", "refresh_yt_profiles", "channel_ids=a")
    assert (status, out) == (FAILED, "") and "task 1" in err
    assert ctl("submit", "refresh_yt_profiles", "channel_ids=b")[1] == "2\n"
    keyed = ["submit", "refresh_orders_by_store", "store=a", "--unique", "k{i}", "--count"]
    assert ctl(*keyed, 2)[:2] == (OK, "3\n4\n")
    assert ctl(*keyed, 1)[0] == FAILED


def test_wait_times_out(ctl):
    status, out, err = ctl("submit", "refresh_orders_by_store", "store=a", "--wait", "--timeout", "200ms")
    assert (status, out) == (TIMEOUT, "1\n")
    assert err == "sluicectl: 1 of 1 tasks have not ended within the time-out; they go on\n"
    status, out, _ = ctl("--json", "submit", "refresh_orders_by_store", "store=b", "--wait", "--timeout", "200ms")
    assert status == TIMEOUT
    assert json.loads(out) == {"flow": "refresh_orders_by_store", "ids": [2], "skipped": [], "complete": 0,
                               "failed": 0, "running": 0, "waiting": 1}


def test_task_that_is_not_there(ctl):
    status, _, err = ctl("task", "list")
    assert status == FAILED and "there is no task store" in err and "--state DIR" in err
    ctl("submit", "refresh_orders_by_store", "store=a")
    assert ctl("task", "show", 99) == (FAILED, "", "sluicectl: there is no task 99\n")


# --- flows and plugins ---

def test_flow_list_and_show(ctl):
    flows = {flow["flow"]: flow for flow in of(ctl, "flow", "list")}
    assert flows["refresh_orders_by_store"]["configured"]["workers"] == 2
    assert flows["refresh_yt_posts"]["configured"] is None
    shown = of(ctl, "flow", "show", "refresh_orders_by_store")
    assert [param["name"] for param in shown["params"]] == ["store", "limit", "updated_at_min", "created_at_min",
                                                            "created_at_max"]
    assert shown["operations"][0]["sources"] == ["shopify"]
    assert shown["streams"] == [{"name": "order_log_events", "exchange": "beat.dx", "key": "order_log_events"}]
    status, out, _ = ctl("flow", "show", "refresh_orders_by_store")
    assert status == OK and "workers 2, concurrency 7" in out
    assert re.search(r"^shopify\.orders +http +shopify", out, re.M)


def test_plugin_list_and_show(ctl):
    assert [plugin["name"] for plugin in of(ctl, "plugin", "list")] == ["instagram", "shopify", "sinks", "youtube"]
    sinks = {sink["queue"]: sink["table"] for sink in of(ctl, "plugin", "show", "sinks")["sinks"]}
    assert len(sinks) == 10 and sinks.items() >= harness.QUEUES.items()
    status, _, err = ctl("plugin", "show", "shopfy")
    assert status == FAILED
    assert err == "sluicectl: there is no plugin \"shopfy\"; 'sluicectl plugin list' lists those there are\n"


def test_the_page_of_the_sinks_knows_their_tables(ctl):
    with open(os.path.join(harness.SOURCE, "plugins", "sinks", "sluice-sinks.7")) as file:
        page = file.read()
    table = re.findall(r"^\.It (\w+) Ta (\w+)$", page.split(".Ss")[0], re.M)
    sections = dict(re.findall(r"^\.Ss (\w+)\n(.*?)(?=\.(?:Ss|Pp))", page, re.M | re.S))
    sinks = of(ctl, "plugin", "show", "sinks")["sinks"]
    assert table == [(sink["name"], sink["queue"]) for sink in sinks]
    for sink in sinks:
        words = " ".join(sections[sink["name"]].split())
        columns = ", ".join(column["name"] for column in sink["columns"])
        assert words.endswith(f"{columns}; ordered by {sink['order_by']}."), sink["name"]


def test_plugin_check(ctl):
    good = os.path.join(harness.BUILD, "plugins.d", "shopify.so")
    assert ctl("plugin", "check", good) == (OK, f"{good}: ok: plugin shopify 1.0\n", "")
    bad = ctl.folder / "bad.so"
    bad.write_text("no object")
    bad.chmod(0o644)
    status, out, err = ctl("plugin", "check", bad)
    assert (status, out) == (FAILED, "") and err.startswith(f"sluicectl: {bad}: plugin refused: ")
    status, out, _ = ctl("--json", "plugin", "check", bad)
    assert status == FAILED and json.loads(out)["ok"] is False and "plugin refused" in json.loads(out)["reason"]


def test_without_a_configuration(ctl):
    """What needs none works without; a file that was named has to be there."""
    nothing = {"SLUICE_CONFIG": ""}
    assert ctl("flow", "list", **nothing)[0] == OK
    status, _, err = ctl("-f", ctl.folder / "none.yaml", "flow", "list")
    assert status == FAILED and "none.yaml" in err
    broken = ctl.folder / "broken.yaml"
    broken.write_text("version: 1\nflows:\n  refresh_orders_by_stor: {}\n")
    status, _, err = ctl("-f", broken, "flow", "list")
    assert status == FAILED and err.startswith(f"{broken}:3:3: ") and "refresh_orders_by_store" in err


# --- flow try ---

def lines_of(out):
    return [json.loads(line) for line in out.splitlines()]


def test_try_replay(ctl):
    folder = ctl.folder / "answers"
    folder.mkdir()
    (folder / "youtube.channels-1.json").write_text("{}")
    (folder / "youtube.channels-1.http").write_text("HTTP/1.1 503 Later\nRetry-After: 1\n")
    (folder / "youtube.channels.json").write_text(json.dumps({"items": [CHANNEL]}))
    words = ["flow", "try", "refresh_yt_profiles", "channel_ids=UC1", "--replay", folder, "--now", 1700000000]
    status, out, err = ctl(*words)
    assert (status, err) == (OK, "")
    lines = lines_of(out)
    assert [line["kind"] for line in lines] == ["call", "request", "error", "request", "record", "upsert", "event",
                                                "result"]
    call, request, _, _, record, upsert, event, _ = lines
    assert (call["operation"], call["key"]) == ("youtube.channels", "UC1")
    assert request["source"] == "ytapitoken" and "none" not in request["url"]
    assert record["key"] == "UC1" and record["metrics"]["view_count"] == 12
    assert upsert["values"]["subscribers"] == 5
    assert event["data"]["event_timestamp"] == "2023-11-14 22:13:20" and event["data"]["metrics"] == record["metrics"]
    assert ctl(*words) == (status, out, err)
    assert not os.path.exists(ctl.folder / "state" / "sluice.db")


def test_try_names_the_file_that_is_missing(ctl):
    folder = ctl.folder / "answers"
    folder.mkdir()
    status, out, _ = ctl("flow", "try", "refresh_yt_profiles", "channel_ids=UC1", "--replay", folder)
    want = f"no recorded answer: neither {folder}/youtube.channels-1.json nor {folder}/youtube.channels.json is there"
    assert status == FAILED
    assert [line["text"] for line in lines_of(out) if line["kind"] == "error"] == [want, want]
    assert lines_of(out)[-1]["result"] == "fail"


def test_try_chooses_the_source(ctl):
    folder = ctl.folder / "answers"
    folder.mkdir()
    (folder / "youtube.channels.json").write_text(json.dumps({"items": [CHANNEL]}))
    _, out, _ = ctl("flow", "try", "refresh_yt_profiles", "channel_ids=UC1", "--replay", folder, "--source", "yt-v31")
    assert {line["source"] for line in lines_of(out) if line["kind"] == "request"} == {"yt-v31"}


def test_try_needs_a_credential(ctl):
    status, out, _ = ctl("flow", "try", "refresh_yt_profiles", "channel_ids=UC1")
    errors = [line["text"] for line in lines_of(out) if line["kind"] == "error"]
    assert status == FAILED
    assert errors == [f"{source} has no credential: configure one and name the file with -f FILE"
                      for source in ("ytapitoken", "yt-v31")] + ["No source is available at the moment"]


def test_try_lookup_rows(ctl):
    folder = ctl.folder / "answers"
    folder.mkdir()
    (folder / "youtube.playlist_items.json").write_text('{"items": []}')
    rows = ctl.folder / "rows.json"
    rows.write_text(json.dumps([{"channel_id": "UC2", "uploads_playlist_id": "UU2"},
                                {"channel_id": "UC1", "uploads_playlist_id": "UU1"}]))
    _, out, _ = ctl("flow", "try", "refresh_yt_posts_by_playlist_id", "channel_id=UC1", "--replay", folder,
                    "--rows", f"youtube_account={rows}")
    assert [line["key"] for line in lines_of(out) if line["kind"] == "call"][-1] in ("UU1", "UC1")
    assert any("UU1" in line["url"] for line in lines_of(out) if line["kind"] == "request")
    assert not any("UU2" in line["url"] for line in lines_of(out) if line["kind"] == "request")


def test_try_upstream(ctl, tmp_path):
    sim = harness.Sim(str(tmp_path), "--now", "1700000000")
    try:
        status, out, _ = ctl("flow", "try", "refresh_orders_by_store", "store=shop-1", "--upstream",
                             f"shopify={sim.url}/shopify/{{handle}}")
    finally:
        sim.stop()
    lines = lines_of(out)
    assert status == OK
    assert len([line for line in lines if line["kind"] == "record"]) == lines[-1]["data"]["orders"] > 0


# --- no daemon, usage ---

def test_sources(ctl):
    states = {row["source"]: row["state"] for row in of(ctl, "source", "list")}
    assert "shopify" in states and set(states.values()) == {"closed"}
    assert ctl("source", "stop", "shopify", "--reason", "the invoice") == (OK, "", "")
    row, = [row for row in of(ctl, "source", "list") if row["state"] != "closed"]
    assert row.pop("since") and row.pop("node")
    assert row == {"source": "shopify", "handle": None, "state": "stopped", "failures": 0, "next_try": None,
                   "reason": "the invoice"}
    assert re.search(r"^shopify +stopped +\d{4}-.* the invoice$", ctl("source", "list")[1], re.M)
    connection = sqlite3.connect(ctl.folder / "state" / "sluice.db")
    now = int(time.time() * 1000)
    with connection:
        connection.executemany("INSERT INTO source_state VALUES (?, ?, 0, 'HTTP 503', 'n', 7, ?, 1000, ?, ?)", [
            ("shopify", "a.example", now, now + 60000, None), ("shopify", "b.example", now, now + 60000, "token"),
            ("gone", "", now, now, None)])
    connection.close()
    assert {(row["source"], row["handle"], row["state"]) for row in of(ctl, "source", "list")
            if row["state"] != "closed"} == {("shopify", None, "stopped"), ("shopify", "a.example", "open"),
                                             ("shopify", "b.example", "half-open"), ("gone", None, "open")}
    assert of(ctl, "source", "start", "shopify") == {"source": "shopify", "stopped": False}
    assert of(ctl, "source", "start", "gone") == {"source": "gone", "stopped": False}
    assert {row["state"] for row in of(ctl, "source", "list")} == {"closed"}
    status, _, err = ctl("source", "start", "gone")
    assert status == FAILED and 'no plugin has a source "gone"' in err


def test_no_daemon(ctl):
    state = ctl.folder / "state"
    assert ctl("status") == (FAILED, "", f"sluicectl: no daemon runs on {state}\n")
    ctl("submit", "refresh_orders_by_store", "store=a")
    status, out, err = ctl("status")
    assert (status, err) == (FAILED, f"sluicectl: no daemon runs on {state}\n")
    assert re.search(r"^refresh_orders_by_store +1 +0 +0 +0 +0$", out, re.M)
    status, out, _ = ctl("status", "--json")
    assert status == FAILED and json.loads(out)["running"] is False
    assert json.loads(out)["flows"] == [{"flow": "refresh_orders_by_store", "pending": 1, "scheduled": 0,
                                         "processing": 0, "complete": 0, "failed": 0}]
    status, _, err = ctl("query", "SELECT 1")
    assert status == FAILED and f"no daemon runs on {state}" in err and "start sluiced" in err


@pytest.mark.parametrize("words,message", [
    ([], "which command?"),
    (["tsk"], 'there is no command "tsk" (did you mean "task"?)'),
    (["task"], 'after "task" comes one of list, show, skipped, forget'),
    (["task", "lst"], 'there is no command "task lst": after "task" comes one of list, show, skipped, forget'),
    (["task", "show"], "task show needs ID"),
    (["task", "show", "x"], '"x" is no task\'s number'),
    (["task", "list", "x"], 'task list takes no argument "x"'),
    (["task", "list", "--wait"], "task list has no option --wait"),
    (["task", "list", "--status", "DONE"], "--status DONE: it is one of PENDING, PROCESSING, COMPLETE, FAILED"),
    (["task", "list", "--limit"], "--limit needs a value: N"),
    (["task", "list", "--limit=0"], "--limit 0: must be a whole number of at least 1"),
    (["status", "--json=x"], "--json takes no value"),
    (["submit", "f", "--timeout", "5"], "--timeout 5: must be a duration such as 60s or 10m"),
    (["submit", "f", "--timeout", "5s"], "--timeout goes with --wait"),
    (["submit", "f", "--file", "-", "--count", "2"], "--file goes with neither --count nor --json-params"),
    (["flow", "try", "f", "--replay", "d", "--upstream", "u"], "--replay and --upstream exclude each other"),
])
def test_usage(ctl, words, message):
    status, out, err = ctl(*words)
    assert (status, out) == (USAGE, "")
    assert re.fullmatch(re.escape(f"sluicectl: {message}") + r"\nTry 'sluicectl .*--help'\.\n", err)


def test_help(ctl):
    status, out, _ = ctl("--help")
    assert status == OK
    commands = re.findall(r"^  ([a-z]+(?: [a-z-]+)?)(?: [A-Z[]| {2})", out.split("Options")[0], re.M)
    assert "flow try" in commands and len(commands) == 37
    for command in commands:
        status, shown, _ = ctl(*command.split(), "--help")
        assert status == OK and shown.startswith(f"Usage: sluicectl {command} [OPTION]...")
        assert ctl("help", *command.split())[1] == shown
    assert ctl("--version")[1].startswith("sluicectl ")
