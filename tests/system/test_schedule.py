# SPDX-License-Identifier: Apache-2.0
"""Schedules: each slot makes its tasks once, whoever is killed; the removal of old tasks."""
import json
import os
import signal
import sqlite3
from collections import Counter

from harness import Daemon, Sim, poll

FAST = """\
tasks: {lease: 3s}
timer: {lease: 3s}
restart: {first: 50ms, cap: 200ms}
"""
BIG = 1200		# three steps
BIG_EVERY = 5		# seconds


def slots_of(rows, flow):
    """{second of the slot: tasks} from idempotency keys."""
    return Counter(int(key.split(" ")[2]) // 1000 for (key,) in rows if key.split(" ")[1] == flow)


def keys_of(daemon):
    return daemon.store("SELECT idempotency_key FROM scrape_request_log WHERE idempotency_key LIKE 'schedule %'")


def schedules(daemon):
    return {row["flow"]: row for row in json.loads(daemon.ctl("schedule", "list", "--json").stdout)}


def metric(daemon, name):
    return (daemon.status() or {}).get("metrics", {}).get(name, 0)


def roles(daemon, word):
    """Process ids of the node's processes of a role."""
    return [role["pid"] for role in daemon.status()["roles"] if role["title"].startswith(word) and role["pid"] > 0]


def test_slots_make_their_tasks(tmp_path):
    """The timer is killed again and again; with catch_up: all no second is left out, and none is done twice."""
    (tmp_path / "stores.csv").write_text('store,limit\nshop-1,5\n"shop-2",\nshop-1,5\n')
    flows = """\
  refresh_profile_basic:
    schedule: {cron: "* * * * * *", catch_up: all, params: [{handle: user_1, profile_id: }, {handle: user_2, profile_id: }]}
  refresh_orders_by_store: {schedule: {cron: "*/2 * * * * *", zone: Asia/Kolkata, jitter: 1s, file: stores.csv}}
  refresh_profile_by_handle:
    schedule:
      cron: "*/3 * * * * *"
      query: >-
        SELECT 'user_' || count(*) AS handle FROM scrape_request_log WHERE status = 'COMPLETE'
        AND flow = 'refresh_orders_by_store' HAVING count(*) > 0
"""
    sim = Sim(tmp_path, "--orders", "3")
    daemon = Daemon(tmp_path, sim.url, flows=flows, extra=FAST)
    try:
        daemon.start()
        for lot in range(1, 4):
            for pid in roles(daemon, "timer"):
                os.kill(pid, signal.SIGKILL)
            poll("slots", lambda lot=lot: schedules(daemon)["refresh_profile_basic"]["last"]["slots"] >= 4 * lot)
        poll("a slot of the query", lambda: slots_of(keys_of(daemon), "refresh_profile_by_handle"))
        poll("a slot of the file", lambda: schedules(daemon)["refresh_orders_by_store"]["last"]["tasks"] >= 2)
        poll("tasks to be carried out", lambda: daemon.statuses().get("COMPLETE", 0) > 10)
        assert metric(daemon, "sluice_timer_active") == 1
        assert metric(daemon, "sluice_schedule_slots_total") > 0
        assert daemon.stop() == 0
        every = slots_of(keys_of(daemon), "refresh_profile_basic")
        done = schedules(daemon)
        # The last one may be unfinished.
        first, last = min(every), max(every)
        assert [every[second] for second in range(first, last)] == [2] * (last - first)
        row = done["refresh_profile_basic"]["last"]
        assert row["missed"] == 0 and row["tasks"] == sum(every.values())
        orders = slots_of(keys_of(daemon), "refresh_orders_by_store")
        assert set(orders.values()) == {2}          # the third line is the first once more
        assert all(second % 2 == 0 for second in orders)
        row = done["refresh_orders_by_store"]["last"]
        assert (row["tasks"], row["skips"]) == (2 * len(orders), len(orders)) and row["error"] is None
        assert row["slots"] == len(orders)
    finally:
        daemon.stop()
        sim.stop()


def test_one_of_two_nodes(tmp_path, postgres):
    """Two nodes on one store; the one whose timer is active is killed at once, and the other goes on."""
    names = "".join(json.dumps({"handle": f"user_{i}", "profile_id": None}) + "\n" for i in range(BIG))
    flows = f"""\
  refresh_profile_basic: {{schedule: {{cron: "*/{BIG_EVERY} * * * * *", catch_up: all, file: names.jsonl}}}}
  refresh_profile_by_handle: {{schedule: {{cron: "* * * * * *", catch_up: all, params: [{{handle: user_1}}]}}}}
"""
    sim = Sim(tmp_path)
    url = postgres.create_database("schedule")

    def sql(statement):
        return [tuple(row.split("|")) for row in postgres.sql(statement, "schedule")]

    def last_slot():
        return int(sql("SELECT coalesce(max(slot_ms), 0) FROM schedule WHERE finished")[0][0]) // 1000

    nodes = []
    for name in "first", "second":
        folder = tmp_path / name
        folder.mkdir()
        (folder / "names.jsonl").write_text(names)
        nodes.append(Daemon(folder, sim.url, mode="processes", tasks=url, flows=flows, extra=FAST))
    try:
        for node in nodes:
            node.start()
            # Nobody has to carry the tasks out.
            for pid in roles(node, "worker"):
                os.kill(pid, signal.SIGSTOP)
        poll("one of the timers to be active", lambda: any(metric(node, "sluice_timer_active") for node in nodes))
        before = last_slot()
        poll("some slots", lambda: last_slot() >= before + BIG_EVERY + 1)
        active = [node for node in nodes if metric(node, "sluice_timer_active")]
        assert len(active) == 1
        active[0].kill()
        killed = last_slot()
        poll("the other node to go on", lambda: last_slot() > killed + BIG_EVERY)
        nodes.remove(active[0])
        nodes[0].kill()
        keys = sql("SELECT idempotency_key FROM scrape_request_log WHERE idempotency_key LIKE 'schedule %'")
        for flow, every, tasks in ("refresh_profile_basic", BIG_EVERY, BIG), ("refresh_profile_by_handle", 1, 1):
            slots = slots_of(keys, flow)
            assert all(second % every == 0 for second in slots)
            first, last = min(slots), max(slots)
            # The last one may be unfinished.
            assert {slots[second] for second in range(first, last, every)} == {tasks}, (flow, slots)
            row = sql(f"SELECT tasks, skips, missed, slots FROM schedule WHERE name = '{flow}'")[0]
            assert row == (str(sum(slots.values())), "0", "0", str(len(slots)))
        assert sql("SELECT count(*), count(DISTINCT idempotency_key) FROM scrape_request_log"
                   " WHERE idempotency_key IS NOT NULL") == [(str(len(keys)), str(len(keys)))]
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.kill()
        sim.stop()


def test_slots_that_passed(tmp_path):
    """A daemon that was away: the rule says which slots come. The schedule's row is put back by an hour."""
    flows = "\n".join(f"  {flow}: {{schedule: {{cron: \"0 * * * * *\", catch_up: {rule}, params: [{params}]}}}}"
                      for flow, rule, params in (("refresh_orders_by_store", "last", "{store: a}"),
                                                 ("refresh_yt_profiles", "all", "{channel_ids: [a]}"),
                                                 ("refresh_profile_by_handle", "none", "{handle: a}")))
    sim = Sim(tmp_path)
    daemon = Daemon(tmp_path, sim.url, flows=flows, extra=FAST)
    try:
        daemon.start()
        poll("the schedules to be known", lambda: daemon.store("SELECT count(*) FROM schedule") == [(3,)])
        assert daemon.stop() == 0
        with sqlite3.connect(f"{daemon.state}/sluice.db") as connection:
            connection.execute("UPDATE schedule SET slot_ms = slot_ms / 60000 * 60000 - 3600000")
        daemon.start()

        def rows():
            return {flow: row["last"] for flow, row in schedules(daemon).items()}
        poll("the slots of an hour", lambda: rows()["refresh_yt_profiles"]["tasks"] >= 60)
        poll("the others to be looked at", lambda: all(row["slots"] + row["missed"] >= 60 for row in rows().values()))
        last, every, none = (rows()[flow] for flow in ("refresh_orders_by_store", "refresh_yt_profiles",
                                                       "refresh_profile_by_handle"))
        # A minute or two may begin while all this happens.
        assert 1 <= last["tasks"] <= 5 and 59 <= last["missed"] <= 62
        assert every["missed"] == 0 and 60 <= every["tasks"] <= 65
        assert none["missed"] >= 59 and none["tasks"] <= 5
        assert daemon.stop() == 0
    finally:
        daemon.stop()
        sim.stop()


def test_lists_that_are_wrong(tmp_path):
    """What cannot be read is told and tried again; an entry that is wrong holds up no other."""
    path = tmp_path / "stores.csv"
    path.write_text("store\na\n")
    flows = """\
  refresh_orders_by_store: {schedule: {cron: "*/2 * * * * *", file: stores.csv}}
  refresh_profile_by_handle: {schedule: {cron: "* * * * * *", query: SELECT handle FROM nowhere}}
"""
    sim = Sim(tmp_path, "--orders", "1")
    daemon = Daemon(tmp_path, sim.url, flows=flows, extra=FAST)

    def error(flow, text):
        # Not with sluicectl: it reads the configuration, and the file with it.
        return [row for row in daemon.store("SELECT error, made, refused FROM schedule WHERE name = ? AND error LIKE ?",
                                            flow, f"%{text}%")]
    try:
        daemon.start()
        poll("a first task", lambda: keys_of(daemon))
        assert poll("the wrong query", lambda: error("refresh_profile_by_handle", "nowhere"))
        assert metric(daemon, "sluice_schedule_errors_total") >= 1
        assert "no such table: nowhere" in daemon.ctl("schedule", "list").stdout
        path.write_text("store,limit\na,5\nb,many\nc,6\n")
        assert poll("the wrong line", lambda: error("refresh_orders_by_store", 'stores.csv:3: "limit" must be a whole'))[0][
            1:] == (2, 1)
        refused = daemon.ctl("schedule", "list", check=False)
        assert refused.returncode == 1 and 'flows.yaml:' in refused.stderr and "stores.csv:3" in refused.stderr
        path.unlink()
        poll("the missing file", lambda: error("refresh_orders_by_store", "No such file"))
        path.write_text("store\na\n")
        poll("the slot to be made up for", lambda: not error("refresh_orders_by_store", ""))
        assert daemon.stop() == 0
    finally:
        daemon.stop()
        sim.stop()


def test_by_hand(tmp_path):
    """sluicectl schedule run, with no daemon at all."""
    flows = """\
  refresh_yt_profiles: {unique: [channel_ids], schedule: {cron: "@yearly", params: [{channel_ids: [a]}, {channel_ids: b}]}}
  refresh_orders_by_store: {schedule: {cron: 0 0 1 1 *, query: "SELECT 'shop-' || id AS store, id AS limits FROM scrape_request_log"}}
  refresh_profile_by_handle: {}
"""
    daemon = Daemon(tmp_path, "http://127.0.0.1:9", flows=flows)
    os.mkdir(daemon.state, mode=0o700)
    assert schedules(daemon)["refresh_yt_profiles"]["last"] is None
    assert daemon.ctl("schedule", "run", "refresh_yt_profiles").stdout == "2 tasks made, 0 skipped\n"
    # Both are waiting.
    assert json.loads(daemon.ctl("schedule", "run", "refresh_yt_profiles", "--json").stdout) == {
        "flow": "refresh_yt_profiles", "made": 0, "skipped": 2, "failing": 0, "refused": 0}
    refused = daemon.ctl("submit", "refresh_yt_profiles", "channel_ids=b", check=False)
    assert refused.returncode == 1 and "task 2 of flow refresh_yt_profiles is already waiting" in refused.stderr
    assert daemon.store("SELECT params, unique_key, reason FROM scrape_request_log ORDER BY id") == [
        ('{"channel_ids":["a"]}', '{"channel_ids":["a"]}', "schedule"),
        ('{"channel_ids":["b"]}', '{"channel_ids":["b"]}', "schedule")]
    wrong = daemon.ctl("schedule", "run", "refresh_orders_by_store", check=False)
    assert wrong.returncode == 1 and "query: entry 2" in wrong.stderr and 'unknown parameter "limits"' in wrong.stderr
    none = daemon.ctl("schedule", "run", "refresh_profile_by_handle", check=False)
    assert none.returncode == 1 and "has no schedule" in none.stderr
    listed = schedules(daemon)["refresh_yt_profiles"]
    assert listed["by_hand"]["tasks"] == 2 and listed["by_hand"]["skips"] == 2 and listed["last"] is None
    assert listed["next"].endswith("-01-01 00:00:00") and listed["zone"] == "UTC"
    table = daemon.ctl("schedule", "list").stdout.splitlines()
    assert table[0].split()[:4] == ["FLOW", "CRON", "ZONE", "NEXT"] and len(table) == 3


def test_old_tasks_go(tmp_path):
    sim = Sim(tmp_path)
    daemon = Daemon(tmp_path, sim.url, extra=FAST.replace("lease: 3s}", "lease: 3s, keep: {complete: 2h}}", 1))
    os.mkdir(daemon.state, mode=0o700)
    try:
        daemon.submit("refresh_profile_by_handle", "handle=user_{i}", count=700)
        with sqlite3.connect(f"{daemon.state}/sluice.db") as connection:
            connection.execute("UPDATE scrape_request_log SET status = CASE WHEN id % 2 = 0 THEN 'COMPLETE' ELSE 'FAILED'"
                               " END, created_at = datetime('now', '-4 hours'), scraped_at ="
                               " datetime('now', CASE WHEN id <= 100 THEN '-90 minutes' ELSE '-3 hours' END)")
        daemon.start()
        poll("old tasks to be removed", lambda: daemon.statuses() == {"COMPLETE": 50, "FAILED": 350})
        assert poll("the count", lambda: metric(daemon, "sluice_tasks_removed_total")) == 300
        with open(daemon.log) as log:
            assert "old tasks removed tasks=300" in log.read()
        assert daemon.stop() == 0
    finally:
        daemon.stop()
        sim.stop()
