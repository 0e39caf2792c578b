# SPDX-License-Identifier: Apache-2.0
"""Dead letters as an operator handles them: sluicectl dead over the task store, over a broker, beside a daemon."""
import json
import os
import re
import signal
import sqlite3
import subprocess
import time

import pytest

import frames
import harness
from harness import Daemon, Sim, poll

OK, FAILED, USAGE = 0, 1, 2
QUEUE, OTHER = "profile_log_events_q", "post_log_events_q"
CONFIG = """\
version: 1
stores: {%s}
sinks:
  profile_log_events: {}
  post_log_events: {}
"""


class Ctl:
    """sluicectl on a state directory and a configuration of its own."""

    def __init__(self, folder, stores=""):
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        self.config = folder / "flows.yaml"
        self.config.write_text(CONFIG % stores)
        self.environment = {**os.environ, "SLUICE_PLUGIN_PATH": os.path.join(harness.BUILD, "plugins.d"),
                            "SLUICE_STATE": str(self.state), "SLUICE_CONFIG": str(self.config)}

    def command(self, *args):
        return [harness.SLUICECTL, *map(str, args)]

    def __call__(self, *args):
        done = subprocess.run(self.command(*args), env=self.environment, capture_output=True, text=True,
                              timeout=harness.DEADLINE, check=False)
        return done.returncode, done.stdout, done.stderr

    def json(self, *args):
        status, out, err = self("--json", *args)
        assert status == OK, err
        return json.loads(out)

    def store(self):
        return sqlite3.connect(self.state / "sluice.db", timeout=30, isolation_level=None)

    def park(self, count, queue=QUEUE, reason="column metrics: no such member", first=0):
        with self.store() as db:
            db.execute("BEGIN IMMEDIATE")
            for n in range(first, first + count):
                db.execute("INSERT INTO dead_letter (queue, dedup_id, payload, reason, code, first_at, last_at, count)"
                           " VALUES (?, ?, ?, ?, 'column', '2026-01-02 03:04:05.006', '2026-01-03 03:04:05.006', 2)",
                           (queue, f"id/{n}", f'{{"n":{n},"ä":1}}', reason))
            db.execute("COMMIT")
        db.close()

    def count(self, table):
        db = self.store()
        found = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        db.close()
        return found


@pytest.fixture
def ctl(tmp_path):
    made = Ctl(tmp_path)
    assert made("schema", "apply")[0] == OK
    return made


def test_list(ctl):
    assert ctl.json("dead", "list") == []
    ctl.park(2)
    ctl.park(1, OTHER, "x" * 100, first=2)
    letters = ctl.json("dead", "list")
    assert [(letter["queue"], letter["id"]) for letter in letters] == [(QUEUE, "1"), (QUEUE, "2"), (OTHER, "3")]
    assert letters[0] == {"queue": QUEUE, "id": "1", "code": "column", "reason": "column metrics: no such member",
                          "first": "2026-01-02 03:04:05.006", "last": "2026-01-03 03:04:05.006", "count": 2,
                          "size": len('{"n":0,"ä":1}'.encode())}
    assert [letter["id"] for letter in ctl.json("dead", "list", OTHER)] == ["3"]
    status, out, err = ctl("dead", "list", "--limit", 2)
    assert (status, len(out.splitlines())) == (OK, 3) and "there are more" in err
    assert "x" * 67 + "..." in ctl("dead", "list", OTHER)[1]


def test_show(ctl):
    ctl.park(2)
    letter = ctl.json("dead", "show", 2)
    assert letter["payload"] == '{"n":1,"ä":1}' and letter["headers"] is None and letter["count"] == 2
    assert ctl("dead", "show", 2, "--raw") == (OK, '{"n":1,"ä":1}', "")
    assert re.search(r'^payload +{"n":1,"ä":1}$', ctl("dead", "show", 2)[1], re.M)
    for missing in "3", "no/such":
        assert ctl("dead", "show", missing) == (
            FAILED, "", f"sluicectl: there is no dead letter {missing}; 'sluicectl dead list' lists those there are\n")
    assert ctl("dead", "show", 2, "--queue", OTHER)[0] == FAILED


def test_replay(ctl):
    ctl.park(5)
    ctl.park(2, OTHER, first=5)
    assert ctl("dead", "replay", 2, 4) == (OK, "2 dead letters replayed\n", "")
    assert ctl("dead", "replay", 1, 2) == (FAILED, "1 dead letter replayed\n", "sluicectl: there is no dead letter 2\n")
    assert ctl.json("dead", "replay", OTHER, "--limit", 1) == {"replayed": 1, "missing": []}
    assert [letter["id"] for letter in ctl.json("dead", "list")] == ["3", "5", "7"]
    assert ctl.json("dead", "replay", "--all") == {"replayed": 3, "missing": []}
    assert (ctl.count("dead_letter"), ctl.count("outbox")) == (0, 7)
    db = ctl.store()
    queue, payload = db.execute("SELECT queue, payload FROM outbox ORDER BY id LIMIT 1").fetchone()
    assert queue == QUEUE
    headers, event = payload.split("\n")
    assert json.loads(headers[1:]) == {"x-sluice-id": "id/1", "x-sluice-first": "2026-01-02 03:04:05.006",
                                       "x-sluice-count": 2}
    assert event == '{"n":1,"ä":1}'
    db.close()


def test_replay_to_a_queue_that_nobody_reads(ctl):
    ctl.park(1, "elsewhere_q")
    status, out, err = ctl("dead", "replay", "elsewhere_q")
    assert (status, out) == (OK, "1 dead letter replayed\n")
    assert "no sink of the configuration reads queue elsewhere_q" in err


def test_drop(ctl):
    ctl.park(3)
    status, _, err = ctl("dead", "drop", 1)
    assert status == USAGE and "say --yes" in err and ctl.count("dead_letter") == 3
    assert ctl("dead", "drop", 1, "--yes") == (OK, "1 dead letter dropped\n", "")
    assert ctl("--json", "dead", "drop", 1, 2, "--yes")[:2] == (FAILED, '{"dropped":1,"missing":["1"]}\n')
    assert ctl("dead", "drop", QUEUE, "--yes")[0] == OK
    assert (ctl.count("dead_letter"), ctl.count("outbox")) == (0, 0)


@pytest.mark.parametrize("words,message", [
    (["replay"], "which letters? Name their queue or their ids, or say --all"),
    (["replay", "--all", "7"], "--all goes with neither QUEUE nor ID"),
    (["replay", QUEUE, "7"], f'"{QUEUE}" is a queue: it stands alone'),
    (["drop", "--yes"], "which letters? Name their queue or their ids, or say --all"),
])
def test_usage(ctl, words, message):
    status, out, err = ctl("dead", *words)
    assert (status, out) == (USAGE, "") and f"sluicectl: {message}\n" in err


def test_interrupted(ctl):
    """Wherever it is killed, each letter is a letter or waits in the outbox, once."""
    ctl.park(3000)
    for turn in range(6):
        process = subprocess.Popen(ctl.command("dead", "replay", "--all"), env=ctl.environment,
                                   stdout=subprocess.DEVNULL)
        time.sleep(0.02 * turn)
        process.send_signal(signal.SIGINT if turn % 2 else signal.SIGKILL)
        process.wait(timeout=60)
        assert ctl.count("dead_letter") + ctl.count("outbox") == 3000
    assert ctl("dead", "replay", "--all")[0] == OK
    db = ctl.store()
    assert db.execute("SELECT count(*), count(DISTINCT payload) FROM outbox").fetchone() == (3000, 3000)
    assert db.execute("SELECT waiting_rows, waiting_events FROM outbox_total").fetchone() == (3000, 3000)
    db.close()


def test_beside_a_daemon(tmp_path):
    """A bad event comes back as often as it is sent; a good one lands once, however often it is sent."""
    sim = Sim(tmp_path)
    daemon = Daemon(tmp_path, sim.url)
    good = ('{"event_id":null,"source":"s","platform":"P","profile_id":"1","handle":null,'
            '"event_timestamp":"2026-01-01 00:00:00","metrics":{},"dimensions":{}}')

    def write(sql, *values):
        db = sqlite3.connect(os.path.join(daemon.state, "sluice.db"), timeout=30)
        with db:
            db.execute(sql, values)
        db.close()

    def letters():
        return json.loads(daemon.ctl("dead", "list", "--json").stdout)

    def rows():
        return int(daemon.sql("SELECT count() FROM profile_log_events")[0][0])

    try:
        daemon.start()
        write("INSERT INTO outbox (queue, events, bytes, created_ms, payload) VALUES (?, 1, 2, 0, '{}')", QUEUE)
        letter = poll("the letter", letters)[0]
        assert letter["code"] == "column" and letter["count"] == 1 and "event_id" in letter["reason"]
        daemon.ctl("dead", "replay", letter["id"])
        again = poll("the letter again", lambda: [found for found in letters() if found["count"] == 2])[0]
        assert again["first"] == letter["first"] and again["last"] > letter["last"]
        daemon.ctl("dead", "drop", again["id"], "--yes")

        damaged = frames.pack(b'{"n":1}\n{"n":2}\n' * 100)[:-9]
        write("INSERT INTO outbox (queue, events, bytes, created_ms, payload) VALUES (?, 200, 1599, 0, ?)", QUEUE, damaged)
        letter = poll("the damaged row", letters)[0]
        assert "packed with lz4, and cut off" in letter["reason"]
        assert json.loads(daemon.ctl("dead", "show", letter["id"], "--json").stdout)["payload"] == damaged.hex()
        daemon.ctl("dead", "drop", letter["id"], "--yes")

        for turn in range(2):
            write("INSERT INTO dead_letter (queue, dedup_id, payload, reason, code, first_at, last_at, count)"
                  " VALUES (?, 'a/1', ?, '', '', '2026-01-01', '2026-01-01', 1)", QUEUE, good)
            daemon.ctl("dead", "replay", QUEUE)
            poll("the outbox to drain", lambda: daemon.store("SELECT count(*) FROM outbox")[0][0] == 0)
            assert rows() == 1
        assert letters() == []
        assert daemon.stop() == 0
    finally:
        daemon.stop()
        sim.stop()


# --- over a broker ---

@pytest.fixture
def broker_ctl(tmp_path, request):
    made = Ctl(tmp_path, 'bus: "amqp://127.0.0.1:1/"')
    if "is not built yet" in made("schema", "apply")[2]:
        pytest.skip("the configuration takes no broker")
    made.config.write_text(CONFIG % f'bus: "{request.getfixturevalue("rabbitmq").url()}"')
    return made


def test_over_a_broker(broker_ctl, rabbitmq):
    """The letters' own cases are in the contract of every bus; here is what sluicectl adds."""
    assert broker_ctl.json("dead", "list") == []
    program = os.path.join(harness.BUILD, "tests/contract/bus_park")
    subprocess.run([program, rabbitmq.url(), QUEUE, "250"], check=True, timeout=harness.DEADLINE)
    letters = broker_ctl.json("dead", "list", "--limit", 1000)
    assert [letter["id"] for letter in letters] == [f"m/{n}" for n in range(250)]
    shown = broker_ctl.json("dead", "show", "m/7")
    assert shown["payload"] == '{"n":7}' and shown["headers"] == {"trace": "t"} and shown["code"] == "column"
    assert broker_ctl("dead", "show", "m/7", "--raw") == (OK, '{"n":7}', "")
    assert broker_ctl("dead", "show", "m/999")[0] == FAILED
    assert broker_ctl("dead", "replay", "m/7", "m/999")[:2] == (FAILED, "1 dead letter replayed\n")
    assert rabbitmq.queues()[QUEUE] == 1
    # The queue is gone: nothing is lost, and it is told.
    rabbitmq.ctl("delete_queue", QUEUE)
    status, out, err = broker_ctl("dead", "replay", QUEUE)
    assert (status, out) == (FAILED, "0 dead letters replayed\n")
    assert f'there is no queue "{QUEUE}" on the broker' in err and "start sluiced" in err
    assert len(broker_ctl.json("dead", "list", "--limit", 1000)) == 249
    assert broker_ctl.json("dead", "drop", QUEUE, "--limit", 9, "--yes") == {"dropped": 9, "missing": []}
    assert rabbitmq.queues()[f"error.{QUEUE}"] == 240
    # What the task store holds is there too.
    broker_ctl.park(1, "beat.dx/nobody", first=1000)
    assert [letter["id"] for letter in broker_ctl.json("dead", "list", "--limit", 2)] == ["1", "m/10"]
    assert broker_ctl("dead", "replay", "1") == (OK, "1 dead letter replayed\n", "")
    assert broker_ctl.count("outbox") == 1


def test_broker_away(broker_ctl, rabbitmq):
    rabbitmq.stop()
    status, out, err = broker_ctl("dead", "list")
    rabbitmq.start()
    assert (status, out) == (FAILED, "") and f"broker 127.0.0.1:{rabbitmq.port}" in err and "guest:" not in err
