# SPDX-License-Identifier: Apache-2.0
"""The pool of credentials from outside: a daemon and its simulator, whose log says which secret each request had.

The warehouse is away in all of these: what was committed stays in the outbox.
"""
import collections
import csv
import http.server
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import threading
import time
import urllib.request

import pytest

from harness import SOURCE, Daemon, Sim, poll
from test_limits import JITTER_MS, most_within
from test_worker import POST

FAST = "tasks: {lease: 5s}\ncalls: {retries: 1}\nrestart: {first: 50ms, cap: 500ms}\nlog: {level: debug}\n"
HANDLE = "refresh_profile_by_handle"
ARRAYBOBO = "rapidapi-arraybobo"


class Pool(Daemon):
    """A daemon with a pool and no static credential; secrets are what sim.log shows."""

    def __init__(self, folder, flows, faults=(), mode="single", upstream=None, **stores):
        self.sim_log = upstream.sim_log if upstream else os.path.join(str(folder), "sim.log")
        self.upstream = upstream.upstream if upstream else Sim(
            str(folder), *[word for fault in faults for word in ("--fault", fault)])
        self.secrets = []
        self.said = []
        lines = "\n".join(f"  {flow}: {settings}" for flow, settings in flows.items())
        super().__init__(folder, self.upstream.url, mode=mode, flows=lines, extra=FAST, **stores)
        self.environment["SLUICE_CHDB"] = "/nowhere/libchdb.so"
        self.key = self.new_key()

    def start(self, ready=False):
        """Without a warehouse it is never all ready; the workers are."""
        super().start(ready)

    def new_key(self, *old):
        """Writes a key beside the configuration, and a configuration that names it and the old ones."""
        name = f"key-{secrets.token_hex(4)}"
        with open(os.path.join(self.folder, name), "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(secrets.token_hex(32) + "\n")
        self.use_key(name, *old)
        return name

    def use_key(self, name, *old):
        with open(self.config) as file:
            lines = [line for line in file if not line.startswith("credentials:")]
        lines = [line.split(", credential:")[0] + "}\n" if ", credential: {" in line else line for line in lines]
        lines.insert(1, f"credentials: {{key: !file {name}, old_keys: [{', '.join('!file ' + key for key in old)}]}}\n")
        with open(self.config, "w") as file:
            file.writelines(lines)

    def ctl(self, *arguments, **options):
        done = super().ctl(*arguments, **options)
        self.said.append(done.stdout + done.stderr)
        return done

    def secret(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as out:
            out.write(text + "\n")
        self.secrets.append(text)
        return path

    def add(self, source, member, text, *more):
        path = self.secret(f"secret-{len(self.secrets)}", text)
        return json.loads(self.ctl("credential", "add", source, f"{member}=@{path}", *more, "--json").stdout)["id"]

    def credentials(self):
        return {row["id"]: row for row in json.loads(self.ctl("credential", "list", "--json").stdout)}

    def change(self, statement, *values):
        connection = sqlite3.connect(f"{self.state}/sluice.db", timeout=30)
        try:
            with connection:
                return connection.execute(statement, values).lastrowid
        finally:
            connection.close()

    def run(self, flow, *tasks):
        """Runs tasks of these parameters to their end; how many ended how."""
        now = time.strftime("%Y-%m-%d %H:%M:%S.000", time.gmtime())
        first = min(self.change("INSERT INTO scrape_request_log (flow, platform, params, status, priority, max_attempts,"
                                " created_at) VALUES (?, 'INSTAGRAM', ?, 'PENDING', 1, 2, ?)", flow, json.dumps(task),
                                now) for task in tasks)

        def over():
            self.alive()
            rows = self.store("SELECT status FROM scrape_request_log WHERE id >= ?", first)
            return rows if all(row[0] in ("COMPLETE", "FAILED") for row in rows) else None
        return collections.Counter(row[0] for row in poll("tasks to end", over))

    def requests(self):
        """What the upstream was asked, in order. Its log is written every second."""
        time.sleep(1.3)
        with open(self.sim_log) as log:
            return [json.loads(line) for line in log]

    def handles(self, count, start=0):
        return self.keys("handle", count, start)

    def keys(self, kind, count, start=0):
        url = f"{self.upstream.url}/_sim/keys?kind={kind}&from={start}&count={count}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    def leaks(self):
        """Where known secrets stand that must be nowhere: store, log, what was printed."""
        found = []
        places = [self.log] + [os.path.join(self.state, name) for name in os.listdir(self.state)]
        for path in places:
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
                found += [(path, text) for text in self.secrets if text.encode() in content]
        return found + [(said[:200], text) for said in self.said for text in self.secrets if text in said]


@pytest.fixture
def pool(tmp_path):
    made = []

    def make(flows, **options):
        made.append(Pool(tmp_path, flows, **options))
        return made[0]
    yield make
    for daemon in made:
        try:
            assert daemon.leaks() == []
        finally:
            daemon.stop()
            daemon.upstream.stop()


def states(daemon):
    return {number: row["state"] for number, row in daemon.credentials().items()}


def test_401_disables_for_good(pool):
    daemon = pool({HANDLE: "{concurrency: 1, sources: [%s]}" % ARRAYBOBO})
    bad = daemon.add(ARRAYBOBO, "X-RapidAPI-Key", "bad-secret-one")
    good = daemon.add(ARRAYBOBO, "X-RapidAPI-Key", "good-secret-two")
    daemon.start()
    assert daemon.run(HANDLE, *({"handle": handle} for handle in daemon.handles(4))) == {"COMPLETE": 4}
    poll("it to be disabled", lambda: states(daemon) == {bad: "disabled", good: "usable"})
    assert "401" in daemon.credentials()[bad]["reason"]
    # Another process does not use it either.
    daemon.stop()
    daemon.start()
    assert daemon.run(HANDLE, *({"handle": handle} for handle in daemon.handles(3, 10))) == {"COMPLETE": 3}
    used = collections.Counter(line["credential"] for line in daemon.requests())
    assert used["bad-secret-one"] == 1 and used["good-secret-two"] >= 7
    poll("its use to be noted", lambda: daemon.credentials()[good]["last_used_at"])
    # Nothing is left: the next call says so, and who enables it is heard.
    daemon.ctl("credential", "disable", str(good), "--reason", "by the test")
    poll("the worker to notice", lambda: daemon.run(HANDLE, {"handle": daemon.handles(1, 20)[0]}) == {"FAILED": 1})
    daemon.ctl("credential", "enable", str(good))
    poll("the worker to notice", lambda: daemon.run(HANDLE, {"handle": daemon.handles(1, 21)[0]}) == {"COMPLETE": 1})


def test_429_parks_and_another_goes_on(pool):
    daemon = pool({HANDLE: "{concurrency: 1, sources: [%s]}" % ARRAYBOBO},
                  faults=["credential=slow-secret-one,429,retry_after=3600", "credential=slow-secret-two,429"])
    one, two, three = (daemon.add(ARRAYBOBO, "X-RapidAPI-Key", text)
                       for text in ("slow-secret-one", "slow-secret-two", "good-secret-three"))
    daemon.start()
    assert daemon.run(HANDLE, *({"handle": handle} for handle in daemon.handles(5))) == {"COMPLETE": 5}
    poll("two to be parked", lambda: states(daemon) == {one: "parked", two: "parked", three: "usable"})
    rows = daemon.credentials()
    assert rows[one]["disabled_till"] > rows[two]["disabled_till"]
    assert (rows[one]["failures"], rows[two]["failures"]) == (0, 1)
    used = collections.Counter(line["credential"] for line in daemon.requests())
    assert used["slow-secret-one"] == 1 and used["slow-secret-two"] == 1
    daemon.stop()
    # What has passed is over: the upstream's word of an hour ago counts no more.
    for number in (one, two):
        daemon.change("UPDATE credential SET disabled_till = '2020-01-01 00:00:00.000' WHERE id = ?", number)
    assert set(states(daemon).values()) == {"usable"}


def test_a_credential_has_limits_of_its_own(pool):
    """What it may not do any more another does; when none may, the task waits in the store."""
    daemon = pool({HANDLE: "{concurrency: 1, sources: [%s]}" % ARRAYBOBO})
    daemon.add(ARRAYBOBO, "X-RapidAPI-Key", "scarce-secret-one", "--limit", "2/h")
    daemon.add(ARRAYBOBO, "X-RapidAPI-Key", "scarce-secret-two", "--limit", "20/h", "--limit", "3/min")
    daemon.start()
    daemon.submit(HANDLE, f"handle={daemon.handles(1, 40)[0]}", count=4)
    poll("the budgets to be used up", lambda: daemon.store(
        "SELECT 1 FROM scrape_request_log WHERE status = 'PENDING' AND run_after IS NOT NULL"))
    used = collections.Counter(line["credential"] for line in daemon.requests())
    assert used["scarce-secret-one"] == 2 and 1 <= used["scarce-secret-two"] <= 3
    assert not daemon.store("SELECT 1 FROM scrape_request_log WHERE status = 'FAILED'")


def test_credentials_that_are_used_up_hide_no_others(pool):
    """However many of them there are, and however long ago they were used."""
    daemon = pool({POST: "{concurrency: 1, sources: [%s]}" % ARRAYBOBO})
    for number in range(9):
        daemon.add(ARRAYBOBO, "X-RapidAPI-Key", f"scarce-secret-{number}", "--limit", "1/h")
    daemon.add(ARRAYBOBO, "X-RapidAPI-Key", "plenty-secret", "--limit", "100/h")
    daemon.start()
    assert daemon.run(POST, *({"shortcode": code} for code in daemon.keys("post", 25))) == {"COMPLETE": 25}
    used = collections.Counter(line["credential"] for line in daemon.requests())
    assert used.pop("plenty-secret") == 16 and set(used.values()) == {1} and len(used) == 9


def test_two_nodes_share_a_pool(tmp_path, postgres, redis):
    """Together they take none beyond its budget, and what one is told of a credential the other keeps to."""
    count, period_ms, tasks = 20, 2000, 240
    redis.cli("FLUSHALL")
    stores = dict(tasks=postgres.create_database("shared_pool"), limits=redis.url(database=9))
    flows = {POST: "{concurrency: 10, sources: [%s]}" % ARRAYBOBO}
    nodes = []
    try:
        for name in "first", "second":
            (tmp_path / name).mkdir()
            nodes.append(Pool(tmp_path / name, flows, mode="processes", upstream=nodes[0] if nodes else None, **stores))
        first, second = nodes
        shutil.copy2(os.path.join(first.folder, first.key), second.folder)
        second.use_key(first.key)
        good = ["good-secret-one", "good-secret-two", "good-secret-three"]
        bad = first.add(ARRAYBOBO, "X-RapidAPI-Key", "bad-secret-four")
        for text in good:
            first.add(ARRAYBOBO, "X-RapidAPI-Key", text, "--limit", f"{count}/{period_ms // 1000}s")
        for node in nodes:
            node.start()
        code, = first.keys("post", 1)
        for node in nodes:
            node.submit(POST, f"shortcode={code}", count=tasks // 2)
        poll("all tasks", lambda: postgres.sql("SELECT status, count(*) FROM scrape_request_log GROUP BY status",
                                               "shared_pool") == [f"COMPLETE|{tasks}"])
        assert all(node.status()["metrics"]["sluice_tasks_completed_total"] > 0 for node in nodes)
        assert states(first)[bad] == states(second)[bad] == "disabled"
        used = collections.defaultdict(list)
        for line in first.requests():
            used[line["credential"]].append(line["arrived"])
        # Those that were under way when the first was refused.
        assert len(used.pop("bad-secret-four")) <= 2 * 10
        assert sorted(used) == sorted(good) and sum(map(len, used.values())) == tasks
        assert all(most_within(sorted(times), period_ms - JITTER_MS) <= count for times in used.values())
        assert [node.leaks() for node in nodes] == [[], []]
    finally:
        for node in nodes:
            node.stop()
        nodes[0].upstream.stop()


def test_pages_keep_their_credential(pool):
    daemon = pool({HANDLE: "{concurrency: 4, sources: [%s]}" % ARRAYBOBO})
    for text in ("good-secret-one", "good-secret-two", "good-secret-three"):
        daemon.add(ARRAYBOBO, "X-RapidAPI-Key", text)
    tried = daemon.ctl("flow", "try", HANDLE, f"handle={daemon.handles(1, 30)[0]}").stdout
    assert '"X-RapidAPI-Key":"***"' in tried and '"kind":"result"' in tried
    daemon.start()
    assert daemon.run(HANDLE, *({"handle": handle} for handle in daemon.handles(12))) == {"COMPLETE": 12}
    pages = collections.defaultdict(list)
    requests = daemon.requests()
    for line in requests:
        if line["op"] in ("posts", "reels"):
            pages[line["op"], line["key"]].append(line)
    several = {key: lines for key, lines in pages.items() if len(lines) > 1}
    assert len(several) >= 3, pages.keys()
    for key, lines in several.items():
        assert len({line["credential"] for line in lines}) == 1, key
    assert len({line["credential"] for line in requests}) == 3


def test_a_static_credential_stays_beside_the_pool(pool):
    daemon = pool({HANDLE: "{concurrency: 1, sources: [%s]}" % ARRAYBOBO})
    bad = daemon.add(ARRAYBOBO, "X-RapidAPI-Key", "bad-secret-one")
    with open(daemon.config) as file:
        text = file.read().replace("/arraybobo}", "/arraybobo, credential: {X-RapidAPI-Key: static-secret}}")
    with open(daemon.config, "w") as file:
        file.write(text)
    daemon.secrets.append("static-secret")
    daemon.start()
    assert daemon.run(HANDLE, *({"handle": handle} for handle in daemon.handles(3))) == {"COMPLETE": 3}
    poll("it to be disabled", lambda: states(daemon) == {bad: "disabled"})
    assert {line["credential"] for line in daemon.requests()[1:]} == {"static-secret"}


def test_import_is_whole_and_may_be_repeated(pool):
    daemon = pool({HANDLE: "{}"})
    path = os.path.join(daemon.folder, "many.csv")
    rows = [[ARRAYBOBO, "", "100/30s", f"imported-secret-{i}", ""] for i in range(250)]
    rows[7][2] = "often"
    rows[100][3] = ""
    daemon.secrets += [row[3] for row in rows if row[3]]
    with open(path, "w", newline="") as out:
        csv.writer(out).writerows([["source", "handle", "limits", "X-RapidAPI-Key", "token"], *rows])
    first = daemon.ctl("credential", "import", path, "--json", check=False)
    assert first.returncode == 1
    assert json.loads(first.stdout) == {"added": 248, "changed": 0, "unchanged": 0, "bad": 2}
    assert "many.csv:9: " in first.stderr and "many.csv:102: " in first.stderr
    again = daemon.ctl("credential", "import", path, "--json", check=False)
    assert json.loads(again.stdout) == {"added": 0, "changed": 0, "unchanged": 248, "bad": 2}
    assert len(daemon.credentials()) == 248
    lines = os.path.join(daemon.folder, "more.json")
    daemon.secrets.append("imported-token")
    with open(lines, "w") as out:
        out.write(json.dumps([{"source": "graphapi", "handle": "h", "limits": ["5/s"],
                               "credentials": {"user_id": "17", "token": "imported-token"}}]))
    assert json.loads(daemon.ctl("credential", "import", lines, "--json").stdout)["added"] == 1


def test_rotation_seals_what_was_open(pool):
    daemon = pool({HANDLE: "{concurrency: 1, sources: [%s]}" % ARRAYBOBO})
    old = daemon.new_key()
    sealed = daemon.add(ARRAYBOBO, "X-RapidAPI-Key", "good-secret-one")
    open_row = daemon.change(
        "INSERT INTO credential (idempotency_key, source, credentials, enabled) VALUES (?, ?, ?, 1)",
        f"{ARRAYBOBO}:good-open-two", ARRAYBOBO, json.dumps({"X-RapidAPI-Key": "good-open-two"}))
    daemon.start()
    # A row of the original is used as it is, and printed without its secret.
    assert daemon.run(HANDLE, *({"handle": handle} for handle in daemon.handles(4))) == {"COMPLETE": 4}
    assert {line["credential"] for line in daemon.requests()} == {"good-secret-one", "good-open-two"}
    daemon.stop()
    assert "good-open-two" not in daemon.ctl("credential", "show", str(open_row)).stdout
    daemon.new_key(old)
    done = json.loads(daemon.ctl("credential", "rotate-key", "--json").stdout)
    assert done == {"sealed": 2, "current": 0, "left": 0}
    assert json.loads(daemon.ctl("credential", "rotate-key", "--json").stdout)["current"] == 2
    kept = daemon.store("SELECT group_concat(idempotency_key || credentials) FROM credential")[0][0]
    assert "good-open-two" not in kept
    # Added once more under the new key it is still the same one.
    assert daemon.add(ARRAYBOBO, "X-RapidAPI-Key", "good-secret-one") == sealed
    daemon.secrets.append("good-open-two")
    daemon.start()
    assert daemon.run(HANDLE, *({"handle": handle} for handle in daemon.handles(4, 10))) == {"COMPLETE": 4}
    daemon.stop()
    # Without the old key nothing opens what it sealed; nothing else is lost.
    daemon.change("VACUUM")
    os.remove(os.path.join(daemon.folder, old))
    daemon.new_key()
    failed = daemon.ctl("credential", "rotate-key", check=False)
    assert failed.returncode == 1 and "neither credentials.key" in failed.stderr


def test_graph_tokens_are_inspected(pool):
    daemon = pool({HANDLE: "{}"})
    numbers = {name: daemon.add("graphapi", "token", f"{name}-token", f"user_id={i}")
               for i, name in enumerate(["fine", "expired", "scopeless", "bad"])}
    done = daemon.ctl("credential", "test", *map(str, numbers.values()), "--json", check=False)
    assert done.returncode == 1
    results = {row["id"]: row for row in json.loads(done.stdout)}
    assert {name: results[number]["result"] for name, number in numbers.items()} == {
        "fine": "good", "expired": "bad", "scopeless": "bad", "bad": "bad"}
    assert "pages_show_list" in results[numbers["scopeless"]]["text"]
    rows = daemon.credentials()
    assert {name: (rows[number]["state"], rows[number]["data_access_expired"])
            for name, number in numbers.items()} == {
        "fine": ("usable", False), "expired": ("disabled", True), "scopeless": ("disabled", False),
        "bad": ("disabled", False)}
    assert daemon.ctl("credential", "test", str(numbers["fine"])).returncode == 0


class Tokens(http.server.BaseHTTPRequestHandler):
    """A token server and an API: the API takes the newest token alone."""
    tokens, grants, refusals = [], True, 0

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if not Tokens.grants or "refresh_token=refresh-secret" not in form:
            self.answer(400, {"error": "invalid_grant", "error_description": form})
            return
        Tokens.tokens.append(f"token-secret-{len(Tokens.tokens)}")
        self.answer(200, {"access_token": Tokens.tokens[-1], "expires_in": 3600, "token_type": "Bearer"})

    def do_GET(self):
        good = Tokens.tokens and self.headers["Authorization"] == f"Bearer {Tokens.tokens[-1]}"
        Tokens.refusals += not good
        self.answer(200 if good else 401, {})

    def log_message(self, *words):
        pass


def test_oauth_tokens_are_fetched_and_renewed(pool, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    plugins = tmp_path / "plugins"
    plugins.mkdir(mode=0o755)
    compiler = os.environ.get("CC", "cc").split()[0]
    subprocess.run([compiler, "-shared", "-fPIC", "-Wl,-z,defs", "-I", os.path.join(SOURCE, "include"),
                    f'-DTOKEN_URL="{url}/token"', f'-DBASE_URL="{url}"', "-o", str(plugins / "worker_oauth.so"),
                    os.path.join(SOURCE, "tests", "modules", "worker_oauth.c")], check=True)
    daemon = pool({"worker_oauth": "{}"})
    daemon.environment["SLUICE_PLUGIN_PATH"] = str(plugins)
    with open(daemon.config) as file:
        text = file.read()
    # This plugin's source alone, and no sinks.
    text = text[:text.index("\nsources:")] + "\nflows:\n  worker_oauth: {}\nsinks: {}\n"
    with open(daemon.config, "w") as file:
        file.write(text)
    number = daemon.add("worker_oauth", "refresh_token", "refresh-secret",
                        f"client_id=@{daemon.secret('i', 'oauth-hush-id')}",
                        f"client_secret=@{daemon.secret('s', 'oauth-hush-text')}")
    daemon.start()
    assert daemon.run("worker_oauth", *[{}] * 5) == {"COMPLETE": 5}
    assert len(Tokens.tokens) == 1 and Tokens.refusals == 0
    # Five seconds later the API wants another token than the one that was given.
    time.sleep(5.5)
    Tokens.tokens.append("a token of somebody else")
    assert daemon.run("worker_oauth", {}) == {"COMPLETE": 1}
    assert len(Tokens.tokens) == 3 and Tokens.refusals == 1
    daemon.secrets += Tokens.tokens
    assert daemon.ctl("credential", "test", str(number)).returncode == 0
    # The grant is gone: nothing is asked any more, and the reason is known.
    Tokens.grants = False
    done = daemon.ctl("credential", "test", str(number), check=False)
    assert done.returncode == 1 and "invalid_grant" in done.stdout
    assert daemon.credentials()[number]["state"] == "disabled"
    daemon.ctl("credential", "enable", str(number))
    daemon.stop()
    daemon.start()
    assert daemon.run("worker_oauth", {}) == {"FAILED": 1}
    poll("it to be disabled", lambda: daemon.credentials()[number]["state"] == "disabled")
    assert "invalid_grant" in daemon.credentials()[number]["reason"]
    server.shutdown()
    server.server_close()


def test_the_command_line_takes_no_secret(pool):
    daemon = pool({HANDLE: "{}"})
    refused = daemon.ctl("credential", "add", "graphapi", "user_id=1", "token=visible", check=False)
    assert refused.returncode == 1 and "others can see a command line" in refused.stderr
    refused = daemon.ctl("credential", "add", "shopify", "--file", daemon.secret("j", '{"X-Shopify-Access-Token": "s"}'),
                         check=False)
    assert "belong to handles" in refused.stderr
    daemon.secrets.clear()
    assert daemon.ctl("credential", "show", "77", check=False).returncode == 1
    assert daemon.ctl("credential", "park", "1", check=False).returncode == 2
