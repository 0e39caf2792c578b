# SPDX-License-Identifier: Apache-2.0
"""sluicectl schema: what is missing is shown, done by hand or by the program, and then missing no more."""
import json
import os
import sqlite3
import subprocess

import pytest

import harness
import servers

OK, FAILED, USAGE = 0, 1, 2
CONFIG = """\
version: 1
mode: {mode}
stores: {{{stores}}}
flows:
  refresh_yt_profiles: {{workers: {workers}}}
  refresh_yt_posts: {{group: two, workers: 5}}
  refresh_yt_posts_by_channel_id: {{group: two, workers: 5}}
sinks: {{{sinks}}}
"""
SINKS = ("profile_log_events: {}, post_log_events: {}, order_log_events: {},"
         " scrape_request_log_events: {}")


class Ctl:
    def __init__(self, folder, stores="", sinks=SINKS, workers=1, mode="single"):
        self.state = folder / "state"
        self.state.mkdir(mode=0o700, exist_ok=True)
        self.config = folder / "flows.yaml"
        self.config.write_text(CONFIG.format(stores=stores, sinks=sinks, workers=workers, mode=mode))
        self.environment = {**os.environ, "SLUICE_PLUGIN_PATH": os.path.join(harness.BUILD, "plugins.d"),
                            "SLUICE_STATE": str(self.state), "SLUICE_CONFIG": str(self.config)}

    def __call__(self, *args):
        done = subprocess.run([harness.SLUICECTL, "schema", *args], env=self.environment, capture_output=True,
                              text=True, timeout=harness.DEADLINE, check=False)
        return done.returncode, done.stdout, done.stderr

    def findings(self, status):
        code, out, err = self("check", "--json")
        assert (code, err) == (status, ""), (out, err)
        told = json.loads(out)
        assert told["ok"] == (status == OK)
        assert all(finding["text"] and finding["todo"] for finding in told["findings"])
        return told

    def sqlite(self):
        return sqlite3.connect(self.state / "sluice.db", isolation_level=None)


def only(told, level):
    """The one finding there is."""
    finding, = told["findings"]
    assert finding["level"] == level
    return finding


def test_by_hand(tmp_path):
    ctl = Ctl(tmp_path)
    assert "not made yet" in only(ctl.findings(FAILED), "error")["text"]
    status, script, err = ctl("show")
    assert (status, err) == (OK, "") and not (ctl.state / "sluice.db").exists()
    db = ctl.sqlite()
    db.executescript(script)
    assert db.execute("PRAGMA page_size").fetchone()[0] == 16384
    assert db.execute("SELECT count(*) FROM store_meta WHERE name = 'store_id'").fetchone()[0] == 1
    db.close()
    assert ctl.findings(OK)["findings"] == []
    assert ctl("apply") == (OK, "nothing to do: the task store is up to date\n", "")
    status, out, _ = ctl("show")
    assert status == OK and "Nothing is missing" in out and "CREATE" not in out
    whole = json.loads(ctl("show", "--all", "--json")[1])
    assert whole["version"] == 0 and whole["newest"] == len([step for step in whole["steps"] if "migration" in step])
    assert "CREATE TABLE outbox" in whole["steps"][0]["sql"]
    assert "youtube_account" in [step.get("table") for step in whole["steps"]]


def test_apply(tmp_path):
    ctl = Ctl(tmp_path)
    status, out, err = ctl("apply")
    assert (status, err) == (OK, "")
    assert out.startswith("migration 1 applied: ") and "table youtube_account made ready\n" in out
    status, out, _ = ctl("check")
    assert status == OK and out.startswith("ok: SQLite ")
    assert json.loads(ctl("apply", "--json")[1]) == {"applied": []}
    db = ctl.sqlite()
    db.execute("ALTER TABLE youtube_account DROP COLUMN subscribers")
    db.close()
    assert "column subscribers is missing" in only(ctl.findings(FAILED), "error")["text"]
    assert json.loads(ctl("apply", "--json")[1]) == {"applied": [{"table": "youtube_account"}]}
    assert ctl.findings(OK)["findings"] == []


def test_what_no_statement_puts_right(tmp_path):
    ctl = Ctl(tmp_path)
    ctl("apply")
    db = ctl.sqlite()
    db.execute("ALTER TABLE youtube_account RENAME COLUMN subscribers TO before")
    db.execute("ALTER TABLE youtube_account ADD COLUMN subscribers DOUBLE")
    finding = only(ctl.findings(FAILED), "error")
    want = "table youtube_account: column subscribers is DOUBLE in the task store, the plugin declares BIGINT"
    assert finding["text"] == want and 'RENAME COLUMN "subscribers"' in finding["todo"]
    for command in "show", "apply":
        status, _, err = ctl(command)
        assert status == FAILED and want in err
    status, out, _ = ctl("check")
    assert (status, out) == (FAILED, f"error: {finding['text']}: {finding['todo']}\n")
    db.execute("INSERT INTO schema_migration VALUES (999, 'later', '')")
    db.close()
    finding = only(ctl.findings(FAILED), "error")
    assert "version 999, newer than" in finding["text"] and finding["todo"] == "use a newer program"
    assert ctl("show")[:2] == (FAILED, "") and ctl("apply")[:2] == (FAILED, "")


# --- PostgreSQL ---

def test_postgres_by_hand(tmp_path, postgres):
    ctl = Ctl(tmp_path, f'tasks: "{postgres.create_database("by_hand")}"')
    assert "not made yet" in only(ctl.findings(FAILED), "error")["text"]
    status, script, err = ctl("show")
    assert (status, err) == (OK, "")
    postgres.sql(script, "by_hand")
    told = ctl.findings(OK)
    assert told["findings"] == [] and told["server"].startswith("PostgreSQL ")
    assert ctl("apply")[1] == "nothing to do: the task store is up to date\n"
    postgres.sql("ALTER TABLE youtube_account ALTER COLUMN subscribers TYPE text", "by_hand")
    finding = only(ctl.findings(FAILED), "error")
    assert "column subscribers is TEXT in the task store, the plugin declares BIGINT" in finding["text"]
    postgres.sql(finding["todo"].replace("run ", ""), "by_hand")
    assert ctl.findings(OK)["findings"] == []


def test_connections(tmp_path, postgres):
    """2 for the timer, 1 for the sinks, 5 for the group, 1 for sluicectl, and one per worker."""
    url = postgres.create_database("connections")
    stores = f'tasks: "{url}"'
    assert Ctl(tmp_path, stores)("apply")[0] == OK
    postgres.sql("DO $$BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END$$;"
                 "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;"
                 "GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO app", "connections")
    stores = stores.replace("sluice@", "app@")
    told = Ctl(tmp_path, stores, workers=4, mode="processes").findings(OK)
    assert told["findings"] == []
    assert told["connections"]["needed"] == 13 and told["connections"]["least"] == 3
    assert told["connections"]["server"] == 50 and told["connections"]["most"] == 50 - told["connections"]["reserved"]
    assert Ctl(tmp_path, stores, workers=40).findings(OK)["connections"]["needed"] == 5
    ctl = Ctl(tmp_path, stores, workers=40, mode="processes")
    text = only(ctl.findings(OK), "warning")["text"]
    for part in ("max_connections 50", "may open 49 at once", "45 for workers"):
        assert part in text
    assert ctl("check")[1].startswith("warning: ")
    postgres.sql("ALTER ROLE app CONNECTION LIMIT 2")
    text = only(ctl.findings(FAILED), "error")["text"]
    assert "the role's limit is 2" in text and "need 3" in text
    postgres.sql("ALTER ROLE app CONNECTION LIMIT -1; ALTER DATABASE connections CONNECTION LIMIT 4")
    assert "the database's limit is 4" in only(ctl.findings(OK), "warning")["text"]


def test_postgres_away(tmp_path):
    ctl = Ctl(tmp_path, 'tasks: "postgresql://u:hush@127.0.0.1:1/d"')
    finding = only(ctl.findings(FAILED), "error")
    assert "127.0.0.1" in finding["text"] and "hush" not in finding["text"] and "stores.tasks" in finding["todo"]
    status, _, err = ctl("show")
    assert status == FAILED and "127.0.0.1" in err and "hush" not in err


# --- the warehouse ---

def test_sink_tables(tmp_path):
    if not servers.ClickHouse.installed():
        pytest.skip("clickhouse-server is not installed")
    with servers.ClickHouse(tmp_path / "clickhouse") as server:
        ctl = Ctl(tmp_path, f'warehouse: "{server.url(database="default")}"',
                  sinks="profile_log_events: {durability: inserted}, post_log_events: {}, order_log_events: {},"
                        " scrape_request_log_events: {}")
        assert ctl("apply")[0] == OK
        told = ctl.findings(OK)
        assert len(told["findings"]) == 4
        assert {finding["level"] for finding in told["findings"]} == {"warning"}
        assert all("is not there yet" in finding["text"] for finding in told["findings"])
        server.query("CREATE TABLE profile_log_events (event_id UInt64, source String) ENGINE = MergeTree ORDER BY source")
        finding, = [found for found in ctl.findings(FAILED)["findings"] if found["level"] == "error"]
        assert "column event_id is declared String but is UInt64" in finding["text"]
    finding, = [found for found in ctl.findings(FAILED)["findings"] if found["level"] == "error"]
    assert "stores.warehouse" in finding["todo"] and server.password not in finding["text"]
