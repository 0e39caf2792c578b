# SPDX-License-Identifier: Apache-2.0
"""Whatever is killed, and whenever: every task completes and every event arrives exactly once."""
import os
import random
import signal
import time

import pytest

from harness import DEADLINE, Daemon, Sim, poll

KILLS = int(os.environ.get("SLUICE_KILLS", "50"))
TASKS_PER_KILL = 100
FAST = """\
tasks: {lease: 3s}
restart: {first: 50ms, cap: 200ms}
"""


def submit_lot(daemon, lot):
    """100 tasks over three platforms."""
    first = lot * 40
    daemon.ctl("submit", "refresh_profile_basic", "handle=user_{i}", "profile_id=null", "--count", "40")
    daemon.ctl("submit", "refresh_profile_by_handle", f"handle=user_{first % 900}", "--count", "20")
    daemon.ctl("submit", "refresh_orders_by_store", "store=shop-{i}", "limit=50", "--count", "40")


@pytest.mark.parametrize("mode", ["single", "processes"])
def test_kill_50_random_processes_loses_and_doubles_nothing(tmp_path, mode):
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    print(f"seed {seed}")
    sim = Sim(tmp_path, "--orders", "20", "--latency", "5")
    daemon = Daemon(tmp_path, sim.url, mode=mode, extra=FAST)
    try:
        daemon.start()
        for lot in range(KILLS):
            submit_lot(daemon, lot)
            time.sleep(chance.uniform(0.0, 0.4))
            victim = chance.choice(daemon.pids())
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
            if victim == daemon.process.pid:
                daemon.process.wait(timeout=60)
                daemon.start(ready=False)
        poll("the daemon to be ready", lambda: daemon.alive() and (daemon.status() or {}).get("ready"))
        daemon.wait_idle(DEADLINE * 2)
        statuses = daemon.statuses()
        books = daemon.books()
        for queue, (committed, rows, distinct) in books.items():
            print(f"{mode} {queue}: committed {committed}, rows {rows}, distinct {distinct}")
        assert statuses == {"COMPLETE": KILLS * TASKS_PER_KILL}
        for queue, (committed, rows, distinct) in books.items():
            assert rows == distinct == committed, (queue, committed, rows, distinct)
        assert sum(rows for _, rows, _ in books.values()) > KILLS * TASKS_PER_KILL
        assert daemon.store("SELECT count(*) FROM dead_letter")[0][0] == 0
        assert daemon.stop() == 0
    finally:
        daemon.stop()
        sim.stop()
