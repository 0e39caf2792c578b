# SPDX-License-Identifier: Apache-2.0
"""Events through a broker: relays publish the outbox and share it, sinks consume; what fails, loses and doubles nothing."""
import json
import os
import re
import signal
import sqlite3
import time

import pytest

import conftest
import frames
import servers
from harness import DEADLINE, QUEUES, Daemon, Sim, poll

pika = pytest.importorskip("pika")

# Nobody waits for suspects where there are none: then a slow machine makes none.
CALM, CALM_SINK = "suspects: {hold: 60s}\n", "deadline: 30s, batch: {age: 200ms}"
# Where there are, they are looked up soon.
QUICK, QUICK_SINK = "suspects: {hold: 3s}\nrestart: {first: 50ms, cap: 200ms}\n", "deadline: 1s, batch: {age: 200ms}"
FLOWS = """\
  refresh_profile_basic: {workers: 1, concurrency: 10}
  refresh_orders_by_store: {workers: 1, concurrency: 10}
"""
EXCHANGE = "beat.dx"
SLOW = 0.3		# seconds between questions that take a process each
PLACES = {EXCHANGE + "/" + table: queue for queue, table in QUEUES.items()}
# What the replaced system's producers send, by routing key.
MEMBERS = {
    "scrape_request_log_events": "event_id scl_id flow platform params status priority reason event_timestamp picked_at"
                                 " expires_at retry_count",
    "post_log_events": "event_id source platform profile_id handle shortcode publish_time event_timestamp metrics dimensions",
    "profile_log_events": "event_id source platform profile_id handle event_timestamp metrics dimensions",
}


class Broker:
    """What a stranger does on the broker."""

    def __init__(self, server):
        self.server, self.connection = server, None
        for queue in QUEUES:
            for name in queue, "suspect." + queue, "error." + queue:
                self.channel().queue_delete(name)

    def channel(self):
        """One that works: the last test, or an error, may have ended the one before."""
        if self.connection is None or not self.connection.is_open:
            self.connection = pika.BlockingConnection(pika.URLParameters(self.server.url("?heartbeat=0")))
            self.opened = self.connection.channel()
        if not self.opened.is_open:
            self.opened = self.connection.channel()
        return self.opened

    def copy(self, *keys):
        """A queue that gets what is published with these keys, as long as this connection lasts."""
        channel = self.channel()
        channel.exchange_declare(EXCHANGE, "direct", durable=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        for key in keys:
            channel.queue_bind(queue, EXCHANGE, key)
        return queue

    def take(self, queue):
        """[(method, properties, body)] of all that is in the queue."""
        found = []
        while True:
            method, properties, body = self.channel().basic_get(queue, auto_ack=True)
            if method is None:
                return found
            found.append((method, properties, body))

    def waiting(self):
        """Messages that nobody holds, of all queues of the sinks."""
        count = 0
        for queue in QUEUES:
            for name in queue, "suspect." + queue, "error." + queue:
                count += self.channel().queue_declare(name, passive=True).method.message_count
        return count

    def close(self):
        if self.connection is not None and self.connection.is_open:
            self.connection.close()
        self.connection = None


class Relayed(Daemon):
    """A daemon whose books say what became of what a relay publishes. Its tasks are in a server's database, or in SQLite."""

    def __init__(self, folder, sim, postgres=None, database=None, port=None, **options):
        if postgres:
            options["tasks"] = postgres.url(database, port)
        super().__init__(folder, sim, flows=options.pop("flows", FLOWS), **options)
        self.postgres, self.database = postgres, database

    def store(self, statement, *values):
        if not self.postgres:
            return super().store(statement, *values)
        rows = [row.split("|") for row in self.postgres.sql(statement, self.database)]
        return [tuple(int(field) if field.isdigit() else field for field in row) for row in rows]

    def keep_sinks(self, *names):
        """The others' queues are somebody else's."""
        with open(self.config) as file:
            lines = file.readlines()
        first = lines.index("sinks:\n") + 1
        with open(self.config, "w") as out:
            out.writelines(lines[:first] + [line for line in lines[first:] if line.split(":")[0].strip() in names])

    def holders(self):
        """{title of the relay: shards it holds}"""
        return {name.split("/", 1)[1].rpartition("/")[0]: count for name, count in self.store(
            "SELECT holder, count(*) FROM relay_shard WHERE lease_until > extract(epoch FROM now()) * 1000"
            " GROUP BY holder")}

    def committed(self):
        """Here by place, there by queue: both by queue."""
        found = {}
        for place, events in self.store("SELECT queue, sum(events) FROM outbox_total GROUP BY queue"):
            queue = PLACES.get(place, place)
            found[queue] = found.get(queue, 0) + events
        return found

    def metric(self, name):
        return self.status()["metrics"][f"sluice_{name}"]

    def log_text(self):
        with open(self.log, errors="replace") as lines:
            return lines.read()

    def pid_of(self, title):
        return next(role["pid"] for role in self.status()["roles"] if role["title"] == title)

    def state_of(self, title):
        return next(role["state"] for role in self.status()["roles"] if role["title"] == title)

    def wait_idle(self, deadline=DEADLINE):
        poll("all tasks to end and the outbox to drain", lambda: self.store(
            "SELECT (SELECT count(*) FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING')) +"
            " (SELECT count(*) FROM outbox)")[0][0] == 0, deadline, SLOW)

    def books(self):
        committed = self.committed()
        rows = {table: (int(count), int(distinct)) for table, count, distinct in self.sql(" UNION ALL ".join(
            f"SELECT '{table}' AS t, count() AS c, uniqExact(event_id) AS d FROM {table}" for table in QUEUES.values()))}
        return {queue: (committed.get(queue, 0), *rows[table]) for queue, table in QUEUES.items()}

    def wait_landed(self, broker, lost=()):
        """All tasks have ended and nothing is on its way any more; the books balance, but for those of lost queues."""
        self.wait_idle()
        poll("the queues to be empty", lambda: broker.waiting() == 0 and self.metric("sink_buffer_rows") == 0, every=SLOW)

        def balanced():
            books = self.books()
            return all(rows == committed for queue, (committed, rows, _) in books.items() if queue not in lost) and books
        books = poll("all events to land", balanced, every=SLOW)
        assert self.metric("sink_buffer_rows") == 0 and broker.waiting() == 0
        for queue, (committed, rows, distinct) in books.items():
            assert rows == distinct and (rows == committed or queue in lost), (queue, committed, rows, distinct)
        return books


def submit(daemon, profiles=0, shops=0):
    if profiles:
        daemon.submit("refresh_profile_basic", "handle=user_{i}", "profile_id=null", count=profiles)
    if shops:
        daemon.submit("refresh_orders_by_store", "store=shop-{i}", "limit=50", count=shops)


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    started = Sim(tmp_path_factory.mktemp("sim"), "--orders", "20", "--latency", "20")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def rabbitmq():
    """One that does nothing just because time goes by: who waits for something else than an answer is seen."""
    yield from conftest.started(lambda: servers.RabbitMQ(settings=["heartbeat = 60"]))


@pytest.fixture
def broker(rabbitmq):
    made = Broker(rabbitmq)
    yield made
    made.close()


@pytest.fixture
def proxy_of():
    """proxy_of(server): lasts longer than the daemons."""
    made = []

    def one(server):
        made.append(servers.Proxy(server.port))
        return made[-1]
    yield one
    for proxy in made:
        proxy.close()


@pytest.fixture
def make(tmp_path, sim, postgres, rabbitmq, proxy_of, request):
    """make(…): a daemon on servers, not started yet; on the database of the test. All are stopped."""
    made = []
    database = re.sub(r"\W+", "_", request.node.name)[:60]
    postgres.create_database(database)

    def one(bus="", extra=CALM, sink=CALM_SINK, **options):
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Relayed(folder, sim.url, postgres, database, bus=bus or rabbitmq.url(), extra=extra, sink=sink,
                            **options))
        return made[-1]
    yield one
    for daemon in made:
        for pid in daemon.pids() if daemon.process and daemon.process.poll() is None else []:
            os.kill(pid, signal.SIGCONT)
        daemon.stop()


# --- what is published ---

def header(properties, name):
    return (properties.headers or {}).get("x-sluice-" + name)


def event_ids(messages, redo):
    """Of the events in those messages that have this mark."""
    return {json.loads(line)["event_id"] for _, properties, body in messages if header(properties, "redo") == redo
            for line in frames.lines(body)}


@pytest.mark.parametrize("events, packing", [(500, "lz4"), (500, "none"), (1, "lz4")])
def test_messages(make, broker, events, packing):
    """Events committed, published and inserted are the same; messages look as other consumers expect them."""
    began = int(time.time())
    queues = {key: broker.copy(key) for key in MEMBERS}
    daemon = make(bus=broker.server.url("?heartbeat=60"), extra=CALM + f"relay: {{batch: {{events: {events}}}}}\n"
                  f"outbox: {{packing: {packing}}}\n")
    daemon.start()
    submit(daemon, profiles=20)
    books = daemon.wait_landed(broker)
    assert books["profile_log_events_q"][0] == 20
    message_ids, published, packed = [], 0, 0
    for key, queue in queues.items():
        lines = []
        for method, properties, body in broker.take(queue):
            objects = [json.loads(line) for line in frames.lines(body)]
            assert len(objects) == header(properties, "events") <= events
            assert properties.content_type == ("application/json" if len(objects) == 1 else "application/x-ndjson")
            assert properties.content_encoding == ("lz4" if frames.is_frame(body) else None)
            packed += frames.is_frame(body)
            assert properties.delivery_mode == 2 and header(properties, "schema") == 1
            assert set(properties.headers) == {"x-sluice-events", "x-sluice-schema"}
            assert began <= properties.timestamp <= time.time()
            assert (method.exchange, method.routing_key, method.redelivered) == (EXCHANGE, key, False)
            message_ids.append(properties.message_id)
            lines += objects
        for event in lines:
            assert set(event) == set(MEMBERS[key].split())
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", event["event_timestamp"])
            assert all(isinstance(event[member], dict) for member in ("metrics", "dimensions") if member in event)
        assert len({event["event_id"] for event in lines}) == len(lines) == books[key + "_q"][0]
        published += len(lines)
    assert len(set(message_ids)) == len(message_ids)
    assert all(re.fullmatch(r"[0-9a-f-]{36}:\d+:\d+", each) for each in message_ids)
    assert daemon.metric("relay_events_total") == published
    assert daemon.metric("relay_messages_total") == len(message_ids)
    assert (published == len(message_ids)) == (events == 1)
    assert (packed > 0) == (packing == "lz4" and events > 1)
    assert daemon.metric("relay_redo_total") == daemon.metric("sink_suspects_total") == 0
    begin = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - begin < 15, daemon.tail()
    assert broker.waiting() == 0


def test_unroutable(make, broker):
    """What no queue takes is set aside with the reason, or dropped where that is wanted; the rest arrives."""
    daemon = make(extra=CALM + "streams: {order_log_events: {unrouted: drop}}\n")
    daemon.start()
    for key in "post_log_events", "order_log_events":
        broker.channel().queue_unbind(key + "_q", EXCHANGE, key)
    submit(daemon, profiles=20, shops=20)
    lost = {"post_log_events_q", "order_log_events_q"}
    books = daemon.wait_landed(broker, lost)
    posts, orders = books["post_log_events_q"], books["order_log_events_q"]
    assert posts[0] > 0 and orders[0] == 400 and posts[1] == orders[1] == 0
    letters = daemon.store("SELECT queue, reason, code, sum(count), count(*) FROM dead_letter GROUP BY 1, 2, 3")
    assert letters == [(EXCHANGE + "/post_log_events", "312 NO_ROUTE", "unroutable", posts[0], posts[0])]
    assert daemon.metric("relay_dead_letters_total") == posts[0]
    assert daemon.metric("relay_dropped_total") == orders[0]
    found = daemon.store("SELECT payload FROM dead_letter LIMIT 1")[0][0]
    assert set(json.loads(found)) == set(MEMBERS["post_log_events"].split())

    # An exchange that is not there takes the connection along; the relay makes it again.
    broker.channel().exchange_delete(EXCHANGE)
    submit(daemon, profiles=20)
    daemon.wait_idle()

    def aside():
        return daemon.store("SELECT count(*) FROM dead_letter")[0][0] + daemon.metric("relay_dropped_total")
    poll("each event to be a row or set aside", lambda:
         sum(rows for _, rows, _ in daemon.books().values()) + aside() == sum(daemon.committed().values()), every=SLOW)
    assert aside() > posts[0] + orders[0]
    assert "the broker closed the channel: 404 NOT_FOUND - no exchange 'beat.dx'" in daemon.log_text()
    for _, rows, distinct in daemon.books().values():
        assert rows == distinct
    assert daemon.stop() == 0


# --- relays that share, die, and stand still ---

def sharing(daemon, **expected):
    poll(f"the relays to hold {expected}", lambda: daemon.holders() == {
        title.replace("_", " ", 1).replace("_", "/"): count for title, count in expected.items()}, every=SLOW)


def test_two_relays_share(make, broker):
    """Also while there is more to do than they can; when one dies the other takes over."""
    daemon = make(extra="suspects: {hold: 3s}\nrestart: {first: 1m, cap: 1m}\nrelay: {workers: 2, lease: 2s}\n",
                  sink=QUICK_SINK)
    daemon.start()
    submit(daemon, shops=100)
    sharing(daemon, relay_1_2=8, relay_2_2=8)
    poll("events to be sent", lambda: daemon.metric("relay_events_total") > 500)
    os.kill(daemon.pid_of("relay 1/2"), signal.SIGKILL)
    sharing(daemon, relay_2_2=16)
    daemon.wait_landed(broker)
    assert daemon.stop() == 0
    assert daemon.holders() == {}


def test_killed_between_confirm_and_delete(make, broker, postgres, proxy_of):
    """What was published but not deleted is sent again by the successor, looked up late, and is not doubled."""
    proxy = proxy_of(postgres)
    copy = broker.copy(*QUEUES.values())
    # The sink holds the original while the redo message comes.
    daemon = make(port=proxy.port, extra="suspects: {hold: 6s}\nrestart: {first: 50ms}\nrelay: {lease: 1s}\n",
                  sink="deadline: 1s, batch: {age: 3s}")
    daemon.start()
    sharing(daemon, relay=16)
    proxy.hold_on(b"DELETE FROM outbox")
    submit(daemon, profiles=20)
    assert proxy.triggered.wait(60)
    killed = daemon.pid_of("relay")
    os.kill(killed, signal.SIGKILL)
    begin = time.monotonic()
    poll("suspects", lambda: daemon.metric("sink_suspects_total") > 0)
    assert time.monotonic() - begin >= 6
    daemon.wait_landed(broker)
    assert daemon.metric("relay_redo_total") >= 1
    messages = broker.take(copy)
    redo, fresh = (event_ids(messages, mark) for mark in (1, None))
    # They had been published by the dead one.
    assert redo and redo <= fresh
    assert daemon.stop() == 0


def test_paused_beyond_its_lease(make, broker, rabbitmq):
    """A relay that goes on after its leases have ended writes nothing more of what they covered."""
    copy = broker.copy(*QUEUES.values())
    daemon = make(extra=QUICK + "relay: {workers: 2, lease: 2s, window: 1, batch: {events: 1}}\n", sink=QUICK_SINK)
    daemon.start()
    sharing(daemon, relay_1_2=8, relay_2_2=8)

    def at_hand():
        """(title, ids of rows) of a relay that has many events at hand."""
        return daemon.store("SELECT split_part(holder, '/', 2) || '/' || split_part(holder, '/', 3), string_agg(id::text, ',')"
                            " FROM relay_shard s JOIN outbox o ON o.id = ANY (s.sending) GROUP BY 1"
                            " HAVING sum(events) > 10 ORDER BY sum(events) DESC LIMIT 1")
    rabbitmq.pause()		# so that all but one message waits in the relay
    try:
        submit(daemon, shops=30)
        title, rows = poll("a relay to have rows at hand", at_hand)[0]
        pid = daemon.pid_of(title)
        os.kill(pid, signal.SIGSTOP)
    finally:
        rabbitmq.resume()
    poll("the other to hold all", lambda: list(daemon.holders().values()) == [16] and title not in daemon.holders())
    poll("the other to have sent them", lambda: not daemon.store(f"SELECT id FROM outbox WHERE id IN ({rows})"))
    os.kill(pid, signal.SIGCONT)
    sharing(daemon, relay_1_2=8, relay_2_2=8)
    rows = str(rows).split(",")
    daemon.wait_landed(broker)
    assert "the leases of the outbox's shards are over" in daemon.log_text()
    fresh = {}
    for _, properties, _ in broker.take(copy):
        row = properties.message_id.split(":")[1]
        if row in rows and header(properties, "redo") is None:
            fresh[row] = fresh.get(row, 0) + 1
    # The one that had been written when the broker stood still.
    assert sum(fresh.values()) <= 1, fresh
    assert daemon.metric("relay_redo_total") >= len(rows)
    assert daemon.stop() == 0


def test_cut_off_relay_leaves_the_shards_to_others(make, broker, rabbitmq, proxy_of):
    """Two nodes, one of which cannot reach the broker."""
    proxy = proxy_of(rabbitmq)
    extra = QUICK + "relay: {lease: 1s}\n"
    near = make(extra=extra, sink=QUICK_SINK)
    far = make(extra=extra, bus=rabbitmq.url(port=proxy.port), sink=QUICK_SINK)
    far.keep_sinks("order_log_events")
    near.start()
    far.start()
    poll("the nodes to share", lambda: shares(near) == [8, 8])
    proxy.refuse()
    poll("one to hold all", lambda: shares(near) == [16])
    submit(near, profiles=20)
    near.wait_landed(broker)
    proxy.refuse(False)
    poll("the nodes to share again", lambda: shares(near) == [8, 8])
    assert far.stop() == near.stop() == 0


def shares(daemon):
    return sorted(count for count, in daemon.store(
        "SELECT count(*) FROM relay_shard WHERE lease_until > extract(epoch FROM now()) * 1000 GROUP BY holder"))


# --- servers ---

def test_memory_alarm(make, broker, rabbitmq):
    """The broker takes nothing: the outbox fills up to its bound, workers stop, and all goes on afterwards."""
    daemon = make(extra=CALM + "outbox: {max_bytes: 1MiB}\n", flows="  refresh_orders_by_store: {concurrency: 2}")
    daemon.start()
    rabbitmq.alarm()
    # More than two at a time can do before the outbox is looked at.
    submit(daemon, shops=150)
    poll("the broker to take nothing", lambda: daemon.metric("bus_blocked") == 1)
    poll("the workers to pause", lambda: daemon.metric("claiming_paused") > 0)
    assert "do the relays reach the broker?" in daemon.log_text()
    assert daemon.statuses().get("PENDING", 0) > 0
    assert daemon.store("SELECT sum(waiting_bytes) FROM outbox_total")[0][0] >= 1 << 20
    rabbitmq.alarm(False)
    poll("the workers to go on", lambda: daemon.metric("claiming_paused") == 0)
    daemon.wait_landed(broker)
    assert daemon.statuses() == {"COMPLETE": 150}
    assert daemon.metric("relay_redo_total") == daemon.metric("sink_suspects_total") == 0
    assert daemon.stop() == 0


def test_servers_fail(make, broker, postgres, rabbitmq, proxy_of):
    """Connections are cut while messages are on their way, and both servers restarted: nothing is lost or doubled."""
    proxy = proxy_of(rabbitmq)
    daemon = make(bus=rabbitmq.url(port=proxy.port), extra=QUICK + "relay: {lease: 2s}\n", sink=QUICK_SINK)
    daemon.start()
    broker.close()
    for fault in proxy.cut, proxy.cut, postgres.restart, rabbitmq.restart:
        submit(daemon, profiles=20, shops=30)
        time.sleep(0.3)
        fault()
    daemon.wait_landed(broker)
    assert daemon.statuses() == {"COMPLETE": 200}
    assert daemon.stop() == 0


# --- beginnings and ends ---

def test_from_direct_to_broker(tmp_path, sim, broker, rabbitmq):
    """Rows that wait for a direct: reader go to the same queues, as suspects: it may have inserted their events."""
    daemon = Relayed(tmp_path, sim.url, extra=QUICK, sink="deadline: 1s, batch: {age: 1h}")
    later = None
    try:
        daemon.start()
        submit(daemon, profiles=20)
        poll("the tasks to end", lambda: daemon.statuses() == {"COMPLETE": 20})
        rows = daemon.store("SELECT queue, events, bytes, created_ms, payload FROM outbox WHERE queue LIKE 'p%'")
        assert daemon.stop() == 0		# inserts them
        # As if it had been killed before it deleted them. And others were never inserted.
        database = sqlite3.connect(os.path.join(daemon.state, "sluice.db"))
        with database:
            database.executemany("INSERT INTO outbox (queue, events, bytes, created_ms, payload) VALUES (?, ?, ?, ?, ?)", rows)
            database.executemany("UPDATE outbox_total SET waiting_rows = waiting_rows + 1,"
                                 " waiting_events = waiting_events + ?, waiting_bytes = waiting_bytes + ? WHERE queue = ?",
                                 [(events, size, queue) for queue, events, size, *_ in rows])
        database.close()
        submit(daemon, profiles=20)
        repeated = sum(events for _, events, *_ in rows)
        assert repeated > 20
        later = Relayed(tmp_path, sim.url, bus=rabbitmq.url(), extra=QUICK, sink=QUICK_SINK)
        later.start()
        books = later.wait_landed(broker)
        assert later.statuses() == {"COMPLETE": 40} and books["scrape_request_log_events_q"][0] == 120
        assert later.metric("sink_repeats_total") == repeated
        assert later.metric("sink_suspects_total") >= repeated + 20
        assert later.stop() == 0
    finally:
        daemon.stop()
        if later:
            later.stop()


def test_clean_end_under_backlog(make, broker):
    """What the broker has sent is dealt with, the rest is left to it: the next start has nothing to suspect."""
    daemon = make(extra=CALM + "relay: {batch: {events: 1}}\n",
                  sink="deadline: 30s, batch: {rows: 100, age: 200ms}, prefetch: 200")
    daemon.start()
    sink = daemon.pid_of("sink")
    os.kill(sink, signal.SIGSTOP)
    submit(daemon, shops=50)
    daemon.wait_idle()
    daemon.process.terminate()
    poll("the relay to end", lambda: daemon.state_of("relay") == "gone")
    os.kill(sink, signal.SIGCONT)
    assert daemon.process.wait(timeout=60) == 0
    waiting = broker.waiting()
    assert 0 < waiting < 1000 + 3 * 50, daemon.tail()
    daemon.start()
    daemon.wait_landed(broker)
    assert daemon.metric("sink_suspects_total") == 0
    assert daemon.stop() == 0
