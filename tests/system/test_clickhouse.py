# SPDX-License-Identifier: Apache-2.0
"""The ClickHouse server's driver on a real server: its contract, TLS, hosts that fail."""
import os
import subprocess

import pytest

from harness import BUILD, QUEUES, Daemon, Sim, poll
from servers import ClickHouse, Tls, free_port

pytestmark = pytest.mark.skipif(not ClickHouse.installed(), reason="clickhouse-server is not installed")
CONTRACT = os.path.join(BUILD, "tests", "contract", "warehouse_test")
SINKS = os.path.join(BUILD, "tests", "contract", "sink_tables_test")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ClickHouse(tmp_path_factory.mktemp("clickhouse")) as clickhouse:
        yield clickhouse


def contract(url, *patterns, program=CONTRACT):
    """Runs the tests that each pattern names (only * and ? are special); the first run that fails, or the last."""
    for pattern in patterns or ["test_*"]:
        done = subprocess.run([program, url], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
                              env=dict(os.environ, WAREHOUSE_TESTS=pattern))
        assert "Running 0 test(s)" not in done.stdout, pattern
        if done.returncode != 0:
            break
    return done


SEVERAL = ("test_*es", "test_one_block_is_one_part")	# rows, look-ups, queries; some bytes


def test_contract(server):
    done = contract(server.url())
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_compressed(server, compression):
    """As it is not by itself: that is test_contract."""
    done = contract(server.url(options=f"?compression={compression}"), *SEVERAL)
    if "this build of sluice has" in done.stdout:
        pytest.skip("built without it")
    assert done.returncode == 0, done.stdout


def test_every_sink_has_its_table(server):
    done = contract(server.url(), program=SINKS)
    assert done.returncode == 0, done.stdout


def test_tls_is_verified(server, tmp_path):
    tls = Tls(tmp_path, server.port)
    stranger = Tls(tmp_path / "stranger", server.port)
    try:
        done = contract(server.url(tls.port, options=f"?ca={tls.certificate}", tls=True), *SEVERAL)
        assert done.returncode == 0, done.stdout
        for wrong in server.url(tls.port, tls=True), server.url(tls.port, options=f"?ca={stranger.certificate}", tls=True):
            done = contract(wrong, "test_slices")
            assert done.returncode != 0
            assert "certificate" in done.stdout
            assert ClickHouse.password not in done.stdout
    finally:
        tls.close()
        stranger.close()


def test_a_dead_host_is_passed_over(server):
    url = f"clickhouse://{server.user}:p%40ss%2Fw%3Ard@127.0.0.1:{free_port()},127.0.0.1:{server.port}"
    done = contract(url, "test_slices")
    assert done.returncode == 0, done.stdout


def test_a_server_in_another_time_zone(tmp_path):
    with ClickHouse(tmp_path, timezone="Asia/Kolkata") as clickhouse:
        done = contract(clickhouse.url(), "test_lookup*")
        assert done.returncode == 0, done.stdout
        done = contract(clickhouse.url(), "test_every_type")
        assert done.returncode == 0, done.stdout
        done = contract(clickhouse.url(), program=SINKS)
        assert done.returncode == 0, done.stdout


def test_plain_tables_become_replacing_ones(server, tmp_path):
    """As the manual says it; then rows that stand twice, as what remains of exactly-once may bring them, go away."""
    sim = Sim(tmp_path)
    daemon = Daemon(tmp_path, sim.url, warehouse=server.url(database="events"))
    tables = [f"events.{table}" for table in QUEUES.values()]
    try:
        daemon.start()
        daemon.ctl("submit", "refresh_profile_basic", "handle=user_{i}", "profile_id=null", "--count", "5")
        daemon.wait_idle()
        daemon.stop()
        with open(daemon.config, "a") as config:
            config.write("warehouse: {engine: replacing}\n")
        daemon.start(ready=False)
        poll("the plain tables to be refused", lambda: "is a MergeTree, which stays as it is" in daemon.tail())
        daemon.stop()
        for table in tables:
            server.query(f"RENAME TABLE {table} TO {table}_plain")
        daemon.start()
        for table in tables:
            server.query(f"INSERT INTO {table} SELECT * FROM {table}_plain")
        daemon.ctl("submit", "refresh_profile_basic", "handle=user_{i}", "profile_id=null", "--count", "5")
        daemon.wait_idle()
        for queue, (committed, rows, distinct) in daemon.books().items():
            assert rows == distinct == committed, (queue, committed, rows, distinct)
        for table in tables:
            rows = server.query(f"SELECT count() FROM {table}")
            server.query(f"INSERT INTO {table} SELECT * FROM {table}")
            assert server.query(f"SELECT count() FROM {table} FINAL") == rows
            server.query(f"OPTIMIZE TABLE {table} FINAL")
            assert server.query(f"SELECT count() FROM {table}") == rows
    finally:
        daemon.stop()
        sim.stop()


def test_wrong_password(server):
    done = contract(server.url().replace("p%40ss", "wrong"))
    assert done.returncode != 0
    assert "Wrong password" in done.stdout
    assert "wrong%2F" not in done.stdout
