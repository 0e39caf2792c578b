# SPDX-License-Identifier: Apache-2.0
"""Known secrets, an upstream that repeats what it is sent in every answer, errors of all kinds: and then a search
of everything the node wrote and sluicectl says. None of the secrets may be anywhere."""
import base64
import http.server
import json
import os
import re
import shutil
import sqlite3
import subprocess
import threading
import time
import urllib.parse

import pytest

import harness
from harness import BUILD, SOURCE, Daemon

SECRETS = {
    "graph": "graph-S3cr&t/42", "header": "head-S3cret+42", "rocket": "rocket'S3cret'42", "tube": "tube=S3cret 42",
    "shop": "shop\"S3cret\"42", "bearer": "bear-S3cret~42", "key": "key%2FS3cret%42", "query": "query?S3cret#42",
    "hand": "hand\\S3cret:42", "app": "app-S3cret-42", "ticket": "ticket-S3cret-42", "file": "file-S3cret-42",
}
CONFIG = """\
version: 1
mode: processes
log: {{level: debug}}
tasks: {{lease: 2s, crashes: 1, slice: {{records: 1}}}}
http: {{timeout: 1s}}
trace: {{body: 64KiB}}
calls: {{retries: 1}}
restart: {{first: 50ms, cap: 500ms}}
sources:
  graphapi: {{base_url: {url}/graph, credential: {{token: !file {token}, user_id: "178414"}}}}
  rapidapi-arraybobo: {{base_url: {url}/bobo, credential: {{X-RapidAPI-Key: {header}, X-RapidAPI-Host: a.example}}}}
  rocketapi: {{base_url: {url}/rocket, credential: {{Authorization: {rocket}}}}}
  ytapitoken: {{base_url: {url}/tube, credential: {{key: {tube}}}}}
  shopify: {{base_url: "{url}/shop/{{handle}}", credential: {{X-Shopify-Access-Token: {shop}}}}}
  echo-bearer: {{base_url: {url}/bearer, credential: {{token: {bearer}}}}}
  echo-header: {{base_url: {url}/header, credential: {{key: {key}}}}}
  echo-query: {{base_url: {url}/query, credential: {{key: {query}}}}}
  echo-hand: {{base_url: {url}/hand, credential: {{key: {hand}}}}}
plugins:
  secrets_echo: {{app_secret: {app}}}
defaults: {{attempts: 1, concurrency: 10, timeout: 4s}}
flows:
  refresh_profile_basic:
  refresh_post_by_shortcode:
  refresh_yt_profiles:
  refresh_orders_by_store:
  secrets_echo:
"""
# The last three take the credential away: one after another, when the others have ended.
MODES = ["badjson", "fine", "cut", "slow", "e400", "e500", "e429", "e403", "e401"]
KINDS = ["bearer", "header", "query", "hand"]


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent, in every member that plugins look at; how, the request's own text says."""
    protocol_version = "HTTP/1.1"
    pages = 0
    limited = set()

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        values = [value for name, value in self.headers.items() if name not in ("Host", "Accept-Encoding", "Accept")]
        echo = " ".join([self.path, urllib.parse.unquote(self.path), sent, urllib.parse.unquote(sent), *values,
                         base64.b64encode("user:".encode() + values[-1].encode()).decode()])
        mode = next((mode for mode in [*MODES, "next", "crash"] if mode in self.path), "e500")
        # A limit that holds for ever is waited for as long.
        if mode == "e429" and self.path in Echo.limited:
            mode = "e500"
        Echo.limited.add(self.path)
        if mode == "cut":
            self.close_connection = True
            return
        if mode == "slow":
            time.sleep(2)
        body = json.dumps({"message": f"no key {echo}", "errors": f"[API] {echo}", "error": {
            "code": 190 if mode == "e401" else 10, "message": f"no token {echo}", "errors": [{"reason": "keyInvalid"}]}})
        if mode == "badjson":
            body = body[:-2] + "]"
        elif mode in ("next", "crash"):
            Echo.pages += 1
            body = {"page": f"p{Echo.pages}"}
            if Echo.pages % 4:
                body["next"] = f"http://{self.headers['Host']}{self.path}"
            body = json.dumps(body)
        self.send_response(int(mode[1:]) if mode[0] == "e" else 200)
        self.send_header("Content-Length", str(len(body)))
        if mode == "e429":
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body.encode())


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Who gave up does not hear the answer."""


@pytest.fixture
def upstream():
    server = Server(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def plugins(tmp_path):
    """A folder with the shipped plugins and the one that sends secrets in every way."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    target = folder / "secrets_echo.so"
    subprocess.run([os.environ.get("CC", "cc").split()[-1], "-std=gnu11", "-shared", "-fPIC", "-I",
                    os.path.join(SOURCE, "include"), "-o", target,
                    os.path.join(SOURCE, "tests", "modules", "secrets_echo.c")], check=True)
    for name in os.listdir(os.path.join(BUILD, "plugins.d")):
        if name.endswith(".so"):
            shutil.copy(os.path.join(BUILD, "plugins.d", name), folder)
    for name in os.listdir(folder):
        os.chmod(folder / name, 0o755)
    return str(folder)


@pytest.fixture
def daemon(tmp_path, upstream, plugins):
    token = tmp_path / "token"
    token.write_text(SECRETS["graph"])
    token.chmod(0o600)
    config = tmp_path / "flows.yaml"
    config.write_text(CONFIG.format(url=upstream, token=token,
                                    **{name: json.dumps(secret) for name, secret in SECRETS.items()}))
    config.chmod(0o600)
    daemon = Daemon(tmp_path, upstream, config=str(config))
    daemon.environment["SLUICE_PLUGIN_PATH"] = plugins
    yield daemon
    daemon.stop()


def run(daemon, *modes):
    """Tasks that get such answers, put into the store as sluicectl would; until they have ended."""
    tasks = []
    for mode in modes:
        tasks += [("secrets_echo", {"kind": kind, "mode": mode}) for kind in KINDS]
        if mode in MODES:
            tasks += [("refresh_profile_basic", {"handle": mode, "profile_id": None}),
                      ("refresh_post_by_shortcode", {"shortcode": mode}),
                      ("refresh_yt_profiles", {"channel_ids": [f"UC{mode}"]}),
                      ("refresh_orders_by_store", {"store": f"{mode}.example"})]
    connection = sqlite3.connect(f"{daemon.state}/sluice.db", timeout=60)
    with connection:
        connection.executemany(
            "INSERT INTO scrape_request_log (flow, platform, params, status, priority, max_attempts, created_at)"
            " VALUES (?, 'TEST', ?, 'PENDING', 1, 1, datetime('now'))", [(flow, json.dumps(params)) for flow, params in tasks])
    connection.close()
    daemon.wait_idle()


def spellings(secret):
    """How it may have been written; of base64 what a secret gives wherever in it it stands."""
    yield secret
    for safe in ("", "/", "-_.~/:?"):
        quoted = urllib.parse.quote(secret, safe=safe)
        yield from (quoted, urllib.parse.quote_plus(secret, safe=safe), quoted.replace("%", "%25"))
        yield re.sub("%..", lambda match: match.group().lower(), quoted)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(json.dumps(secret)[1:-1])[1:-1]
    for before in range(3):
        text = base64.b64encode(b"\0" * before + secret.encode()).decode()
        yield text[(0, 2, 3)[before]:len(text.rstrip("=")) - 1]


def search(name, data):
    """data: bytes. The core of every secret is looked for too, so that no half of one is left."""
    for secret in SECRETS.values():
        for spelled in {*spellings(secret)}:
            assert spelled.encode() not in data, (name, spelled, data[max(0, data.find(spelled.encode()) - 200):][:400])
    at = data.find(b"S3cr")
    assert at < 0, (name, data[max(0, at - 200):at + 200])


def search_files(folder):
    searched = 0
    for path, _, names in os.walk(folder):
        for name in names:
            if os.path.isfile(os.path.join(path, name)):
                with open(os.path.join(path, name), "rb") as file:
                    search(os.path.join(path, name), file.read())
                searched += 1
    return searched


def search_ctl(daemon):
    """Everything sluicectl can be asked."""
    ids = [row[0] for row in daemon.store("SELECT id FROM scrape_request_log")]
    commands = [["status"], ["status"], ["task", "list", "--limit", "1000"], ["flow", "list"], ["plugin", "list"],
                ["dead", "list"], ["schema", "check"], *(["task", "show", str(number)] for number in ids[::9]),
                ["flow", "show", "secrets_echo"], ["plugin", "show", "secrets_echo"],
                ["submit", "secrets_echo", "kind=hand"], ["query", "SELECT nonsense"],
                ["flow", "try", "secrets_echo", "kind=hand", "mode=e401"],
                ["flow", "try", "secrets_echo", "kind=query", "mode=next"],
                ["flow", "try", "refresh_orders_by_store", "store=e403.example"]]
    for number, command in enumerate(commands):
        done = daemon.ctl(*command, *(["--json"] if number % 2 else []), check=False)
        search(command, (done.stdout + done.stderr).encode())


def search_tables(daemon):
    """The warehouse's files are compressed: its rows are read."""
    tables = [row[0] for row in daemon.sql("SELECT name FROM system.tables WHERE database = currentDatabase()")]
    assert "trace_log_events" in tables
    for table in tables:
        search(table, "\n".join(str(row) for row in daemon.sql(f"SELECT * FROM {table}")).encode())
    return int(daemon.sql("SELECT count() FROM trace_log_events")[0][0])


def test_no_secret_is_anywhere(daemon):
    daemon.start()
    run(daemon, "next", "crash", *MODES[:-3])
    for mode in MODES[-3:]:
        run(daemon, mode)
    with open(daemon.log, errors="replace") as log:
        text = log.read()
    # It did go wrong in every way, and the upstream was heard: *** stands where it repeated a secret.
    assert "signal=" in text and "request task=" in text and "credential refused" in text
    failures = "\n".join(row[0] for row in daemon.store("SELECT data FROM scrape_request_log WHERE status = 'FAILED'"))
    for said in ("no key", "no token", "[API]", "quarantined", "timed out"):
        assert said in failures, failures
    assert failures.count("***") > 10
    requests = sum(row[0] for row in daemon.store("SELECT events FROM outbox_total WHERE queue = 'trace_log'"))
    assert search_tables(daemon) == requests > 50
    for pid in daemon.pids():
        with open(f"/proc/{pid}/cmdline", "rb") as arguments:
            search(f"arguments of {pid}", arguments.read())
    search_ctl(daemon)
    assert search_files(daemon.state) > 5
    daemon.kill()			# what a clean end would have tidied away stays
    assert search_files(daemon.state) > 5
    search("log", open(daemon.log, "rb").read())


def test_a_wrong_configuration_tells_no_secret(daemon):
    """A mistake next to each secret, and secrets where none belongs."""
    with open(daemon.config) as file:
        good = file.read()
    for old, new in (("echo-hand: {", "echo-hand: {limits: [\"x\"], "), ("{key: ", "{kye: "), ("credential: ", "credentials: "),
                     ("plugins:\n  secrets_echo: {app_secret: ", "plugins:\n  secrets_echo: {app_secrets: "),
                     ("version: 1", "version: 1\nsinks: {x: 1}")):
        assert old in good
        with open(daemon.config, "w") as out:
            out.write(good.replace(old, new))
        done = subprocess.run([harness.SLUICED, "-n", "-f", daemon.config, "--state", daemon.state], env=daemon.environment,
                              capture_output=True, check=False)
        assert done.returncode != 0 and done.stderr
        search(new, done.stdout + done.stderr)
