# SPDX-License-Identifier: Apache-2.0
"""The PostgreSQL task store: the contract of every store, its own cases, and a server that fails under load."""
import os
import re
import subprocess
import time

import pytest

import servers
from harness import BUILD, DEADLINE, poll

TASKS = 3000
EVENTS = 5		# per task: bench/store_bench


def run(program, *arguments):
    done = subprocess.run([os.path.join(BUILD, *program.split("/")), *arguments], text=True, timeout=DEADLINE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.split("\n") if "OK ]" not in line)
    return done.stdout


def test_contract(postgres):
    run("tests/contract/store_test", postgres.create_database("contract"))


def test_credential_pool(postgres):
    run("tests/contract/credential_pool_test", postgres.create_database("credentials"))


def test_own_cases(postgres):
    run("tests/contract/store_postgres_test", postgres.create_database("own_cases"))


def test_through_a_pooler(postgres):
    """Connections handed out per transaction, fewer than there are processes."""
    database = "pooled"
    postgres.create_database(database)
    try:
        pooler = servers.PgBouncer(postgres, size=2)
    except servers.NotInstalled as missing:
        pytest.skip(f"{missing} is not installed")
    with pooler:
        url = postgres.url(database, pooler.port)
        run("tests/contract/store_test", url)
        out = run("bench/store_bench", "-u", url, "-n", str(TASKS), "-p", "6", "-b", "10")
        assert re.findall(r", (\d+) lost,", out) == ["0"] * 6
        assert postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                            " AND pid <> pg_backend_pid()", database) <= ["2"]
    assert postgres.sql("SELECT status, count(*) FROM scrape_request_log WHERE flow = 'bench' GROUP BY status",
                        database) == [f"COMPLETE|{TASKS}"]
    assert postgres.sql("SELECT sum(events) FROM outbox WHERE queue = 'profile_log_events'", database) == [
        str(TASKS * EVENTS)]


def test_tls(tmp_path):
    """A certificate of an authority that the URL names, or none at all."""
    try:
        server = servers.Postgres(["ssl=on", "ssl_cert_file=../certificate.pem", "ssl_key_file=../key.pem"])
    except servers.NotInstalled as missing:
        pytest.skip(f"{missing} is not installed")
    mine = servers.certificate(server.folder, owner=server.account)
    other = servers.certificate(str(tmp_path))
    with server:
        for mode, roots, accepted in [("require", None, True), ("verify-full", mine, True), ("verify-full", other, False)]:
            url = f"{server.url()}?sslmode={mode}" + (f"&sslrootcert={roots}" if roots else "")
            done = subprocess.run([os.path.join(BUILD, "bench", "store_bench"), "-u", url, "-n", "1", "-p", "1"],
                                  text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE)
            assert (done.returncode == 0) == accepted, done.stdout
            assert accepted or "certificate" in done.stdout
        assert server.sql("SELECT count(*) > 0 FROM scrape_request_log WHERE status = 'COMPLETE'") == ["t"]


def restart(server, proxy, turn):
    server.restart()


def kill(server, proxy, turn):
    server.kill()
    server.start()


def terminate(server, proxy, turn):
    server.terminate_backends()


def cut(server, proxy, turn):
    proxy.cut()


def cut_at_commit(server, proxy, turn):
    """In turn before the server gets the COMMIT, and after it has answered one that nobody will see."""
    proxy.cut_on(b"COMMIT", forward=turn % 2 == 0)
    proxy.triggered.wait(2)


def cut_at_claim(server, proxy, turn):
    proxy.cut_on(b"SKIP LOCKED", forward=turn % 2 == 0)
    proxy.triggered.wait(2)


def completed(server, database):
    return int(server.sql("SELECT count(*) FROM scrape_request_log WHERE status = 'COMPLETE'", database)[0])


@pytest.mark.parametrize("fault, pause", [(restart, 1.0), (kill, 1.0), (terminate, 0.1), (cut, 0.1),
                                          (cut_at_commit, 0.05), (cut_at_claim, 0.05)])
def test_fault_under_load(postgres, fault, pause):
    """Every task is done once: none lost, no event or row twice, and no commit taken for lost that was not."""
    database = fault.__name__
    postgres.create_database(database)
    proxy = servers.Proxy(postgres.port)
    faults = 0
    # The tasks are there before the faults begin; two processes share them.
    run("bench/store_bench", "-u", postgres.url(database), "-n", str(TASKS), "-p", "0")
    bench = subprocess.Popen([os.path.join(BUILD, "bench", "store_bench"), "-u", postgres.url(database, proxy.port),
                              "-n", "0", "-p", "2", "-b", "10"], text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    end = time.monotonic() + DEADLINE
    seen = 0
    while bench.poll() is None and time.monotonic() < end:
        time.sleep(pause)
        fault(postgres, proxy, faults)
        faults += 1
        # However slow the machine is, work goes on between two faults.
        seen = poll("another task", lambda: (lambda done: done if done > seen or bench.poll() is not None else None)(
            completed(postgres, database)))
    out = bench.communicate(timeout=DEADLINE)[0]
    proxy.close()
    print(f"{faults} times {database}: {out}")
    assert bench.returncode == 0, out
    assert faults >= 1
    assert postgres.sql("SELECT status, count(*) FROM scrape_request_log GROUP BY status", database) == [
        f"COMPLETE|{TASKS}"]
    assert postgres.sql("SELECT sum(events) FROM outbox WHERE queue = 'profile_log_events'", database) == [
        str(TASKS * EVENTS)]
    assert postgres.sql("SELECT count(*), count(DISTINCT profile_id) FROM bench_profile", database) == [
        f"{TASKS}|{TASKS}"]
    assert postgres.sql("SELECT sum(tasks) FROM task_total", database) == [str(TASKS)]
    assert re.findall(r", (\d+) lost,", out) == ["0", "0"]
