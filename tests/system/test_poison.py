# SPDX-License-Identifier: Apache-2.0
"""One message in a hundred is poison: exactly the good ones arrive, exactly the bad ones are set aside, with reasons.

SLUICE_MESSAGES says how many messages (100000 is the long form).
"""
import gzip
import itertools
import json
import os
import random
import re
import time

import pika
import pytest

import frames
from cluster import DATABASE
from harness import DEADLINE, Daemon, poll

MESSAGES = int(os.environ.get("SLUICE_MESSAGES", "5000"))
QUEUE = "profile_log_events_q"
TABLE = "profile_log_events"


def event(number, **change):
    """As the replaced system's producers write them."""
    made = {"event_id": f"id-{number}", "source": "rapidapi", "platform": "INSTAGRAM", "profile_id": f"p{number % 1000}",
            "handle": f"user_{number % 1000}", "event_timestamp": "2026-03-01 10:20:30",
            "metrics": {"followers": number, "ratio": 0.5, "nothing": None}, "dimensions": {"name": "ü" * (number % 50)},
            "retry_count": 1}
    made.update(change)
    return json.dumps(made).encode()


def publish(channel, body, **properties):
    properties.setdefault("content_type", "application/json")
    channel.basic_publish("beat.dx", TABLE, body, pika.BasicProperties(delivery_mode=2, **properties))


class Poison:
    """Each kind: (what is sent under a number, properties, what the reason says)."""
    kinds = {
        "broken": (lambda n: event(n)[:-20], {}, r"."),
        "not an object": (lambda n: json.dumps([f"id-{n}"]).encode(), {}, r"object"),
        "a key is missing": (lambda n: event(n).replace(b'"platform"', b'"plattform"'), {}, r"platform"),
        "wrong type": (lambda n: event(n, event_timestamp={"no": "time"}), {}, r"event_timestamp"),
        "refused by the table": (lambda n: event(n, handle="refuse me"), {}, r"Value passed to 'throwIf'|throwIf"),
        "empty": (lambda n: b"", {}, r"."),
        "content type": (lambda n: b"\x89PNG\r\n\x1a\n" + bytes([n % 256]), {"content_type": "image/png"},
                         r"content-type image/png"),
        "packed, and cut off": (lambda n: frames.pack(event(n))[:-5], {"content_encoding": "lz4"}, r"packed with lz4, and"),
        "packed, and no JSON": (lambda n: frames.pack(event(n)[:-20]), {"content_encoding": "lz4"}, r"."),
        "packed, and too large": (lambda n: frames.pack(b"x" * 20_000_000), {"content_encoding": "lz4"},
                                  r"unpacked more than 16777216 bytes"),
        "packed as nobody can": (lambda n: gzip.compress(event(n)), {"content_encoding": "gzip"}, r"content-encoding gzip"),
    }


def letters(channel):
    """{message-id: (reason, code)} of all dead letters, which stay where they are."""
    found = {}
    while True:
        method, properties, _ = channel.basic_get("error." + QUEUE)
        if method is None:
            break
        headers = properties.headers
        found[headers["x-sluice-id"] if "x-sluice-id" in headers else properties.message_id] = (
            headers["x-sluice-reason"], headers["x-sluice-code"])
    channel.basic_nack(0, multiple=True, requeue=True)
    return found


@pytest.fixture
def chain(tmp_path, rabbitmq, clickhouse):
    """The daemon with a sink that reads the broker's queue, and a channel to it; its tasks are in SQLite."""
    clickhouse.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    config = tmp_path / "flows.yaml"
    config.write_text(f"""\
version: 1
stores:
  bus: {rabbitmq.url()}
  warehouse: {clickhouse.url(database=DATABASE)}
suspects: {{hold: 10s}}
sinks:
  {TABLE}: {{deadline: 2s, batch: {{age: 300ms}}}}
""")
    daemon = Daemon(tmp_path, None, config=str(config))
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", rabbitmq.port, heartbeat=0))
    try:
        daemon.start()
        poll("the queue to be declared", lambda: "error." + QUEUE in rabbitmq.queues())
        yield daemon, connection.channel()
    finally:
        daemon.stop()
        connection.close()
        for queue in rabbitmq.queues():
            rabbitmq.ctl("delete_queue", queue)
        clickhouse.query(f"DROP DATABASE {DATABASE}")


def ids(clickhouse):
    rows = [row[0] for row in clickhouse.query(f"SELECT event_id FROM {DATABASE}.{TABLE}")]
    assert len(rows) == len(set(rows)), "an event is there twice"
    return set(rows)


def test_a_deleted_queue_is_made_again(chain, rabbitmq, clickhouse):
    """The broker cancels the consumer; what is sent from then on arrives."""
    _, channel = chain
    numbers = itertools.count()

    def arrives():
        before = len(ids(clickhouse))
        publish(channel, event(next(numbers)))		# one that comes before the binding is nobody's
        time.sleep(1)
        return len(ids(clickhouse)) > before
    poll("an event to land", arrives)
    rabbitmq.ctl("delete_queue", QUEUE)
    poll("the queue to be there again", lambda: QUEUE in rabbitmq.queues())
    poll("an event to land", arrives)


def test_poison_is_set_aside_and_nothing_else(chain, rabbitmq, clickhouse):
    daemon, channel = chain
    clickhouse.query(f"ALTER TABLE {DATABASE}.{TABLE} ADD COLUMN guard UInt8 MATERIALIZED throwIf(handle = 'refuse me')")
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    print(f"seed {seed}")
    good, bad = set(), {}
    names = list(Poison.kinds)
    for number in range(MESSAGES):
        message_id = f"message-{number}"
        if number % 100 == 50 + number // 100 % 50:
            name = names[len(bad) % len(names)]
            make, properties, _ = Poison.kinds[name]
            publish(channel, make(number), message_id=message_id, headers={"x-kind": name}, **properties)
            bad[message_id] = name
        else:
            good.add(f"id-{number}")
            # kombu's headers, other producers' none at all
            properties = chance.choice([{}, {"content_encoding": "utf-8", "headers": {"lang": "py"}}, {"content_type": None},
                                        {"content_encoding": "lz4"}])
            body = frames.pack(event(number)) if properties.get("content_encoding") == "lz4" else event(number)
            publish(channel, body, message_id=message_id, **properties)
    huge = json.dumps({"event_id": "huge", "text": "x" * 20_000_000}).encode()
    publish(channel, huge, message_id="message-huge")
    bad["message-huge"] = "huge"

    poll("the good ones to land", lambda: len(ids(clickhouse)) >= len(good), DEADLINE, 0.5)
    poll("all to be dealt with", lambda: rabbitmq.queues()[QUEUE] == 0, DEADLINE, 0.5)
    assert ids(clickhouse) == good
    told = letters(channel)
    assert {key.partition("/")[0] for key in told} == set(bad)
    for key, (reason, code) in told.items():
        name = bad[key.partition("/")[0]]
        wanted = r"20000033 bytes|bytes" if name == "huge" else Poison.kinds[name][2]
        assert re.search(wanted, reason) and code, (name, reason, code)
    listed = json.loads(daemon.ctl("dead", "list", QUEUE, "--json", "--limit", "10000").stdout)
    listed = listed["letters"] if isinstance(listed, dict) else listed
    assert len(listed) == len(bad)

    # The table takes them now: they land, once; the others are set aside again.
    refused = {message for message, name in bad.items() if name == "refused by the table"}
    clickhouse.query(f"ALTER TABLE {DATABASE}.{TABLE} DROP COLUMN guard")
    daemon.ctl("dead", "replay", QUEUE)
    good |= {"id-" + message.partition("-")[2] for message in refused}
    poll("what was refused to land", lambda: ids(clickhouse) == good, DEADLINE, 0.5)
    poll("the others to be set aside again",
         lambda: rabbitmq.queues() == {QUEUE: 0, "suspect." + QUEUE: 0, "error." + QUEUE: len(bad) - len(refused)},
         DEADLINE, 0.5)
    assert ids(clickhouse) == good
    assert {key.partition("/")[0] for key in letters(channel)} == set(bad) - refused
    daemon.ctl("dead", "drop", QUEUE, "--yes")
    assert rabbitmq.queues()["error." + QUEUE] == 0
    assert daemon.stop() == 0
