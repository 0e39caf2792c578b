# SPDX-License-Identifier: Apache-2.0
"""bench/run: what it understands and how it reckons. That its stages run takes minutes and is tried by running them."""
import os
import re
import subprocess
import sys

import pytest

from harness import SOURCE

BENCH = os.path.join(SOURCE, "bench")
sys.path.insert(0, BENCH)

import meter	# noqa: E402
import report	# noqa: E402


def bench(*arguments):
    return subprocess.run([sys.executable, "-B", os.path.join(BENCH, "run"), *arguments], text=True, capture_output=True,
                          timeout=60)


def test_list_shows_stages_that_the_manual_explains():
    done = bench("--list")
    assert done.returncode == 0, done.stderr
    stages = re.findall(r"(?m)^([a-z-]+): ", done.stdout)
    assert len(stages) >= 10 and len(set(stages)) == len(stages)
    with open(os.path.join(BENCH, "README.md"), encoding="utf-8") as file:
        explained = re.findall(r"(?m)^### ([a-z-]+)", file.read())
    assert stages == explained


@pytest.mark.parametrize("arguments, complaint", [
    (["sink-oen"], "no stage sink-oen; there are sink-one"), (["--rounds", "0"], "--rounds"), (["--cpus", "0"], "--cpus"),
    (["--fast"], "--fast"), (["--rounds", "many"], "--rounds")])
def test_wrong_arguments(arguments, complaint):
    done = bench(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_without_a_build(tmp_path):
    done = bench("--build", str(tmp_path), "decode")
    assert done.returncode == 1
    assert "no build folder" in done.stderr


class Stage:
    name, what = "race", "two runners; m/s"
    targets = (report.Target("we", "rate", at_least=1.5, to="they"), report.Target("we", "peak", at_most=3),
               report.Target("we", "rate", at_least=4, to="others"))


def used(cpu, elsewhere=0.0):
    return {"seconds": 1.0, "cpu": {"legs": cpu}, "peak": {"legs": 10.0}, "elsewhere": elsewhere}


def test_ratios_are_of_the_same_round():
    runs = {"we": [report.Run({"rate": rate, "peak": 5}, 100, used(0.5, rate / 100)) for rate in (10, 20, 60)],
            "they": [report.Run({"rate": rate}) for rate in (10, 10, 20)]}
    part = report.summary(Stage, runs, {"others": "they are not here"})
    ratio, peak, absent = part["targets"]
    assert ratio["values"] == [1, 2, 3] and ratio["median"] == 2 and ratio["met"]
    assert peak["median"] == 5 and not peak["met"]
    assert "median" not in absent
    assert part["contenders"]["we"]["figures"]["rate"]["median"] == 20
    assert part["contenders"]["we"]["cpu_us_per_event"] == {"legs": 5000}
    text = report.text_of(part)
    assert "ok   we / they >= 1.5: 2 (1 to 3)" in text
    assert "MISS peak <= 3: 5" in text
    assert "we / others >= 4: not measured" in text and "left out: others: they are not here" in text
    assert "noisy: others took up to 0.60 cores" in text
    table = [line.split() for line in report.table_of([part]).splitlines()]
    assert table == [["stage", "figure", "target", "measured"], ["race", "rate", "/", "they", ">=", "1.5", "2", "met"],
                     ["race", "peak", "<=", "3", "5", "missed"],
                     ["race", "rate", "/", "others", ">=", "4", "not", "measured"]]


def test_meter_counts_children_that_ended():
    burner = ("import subprocess, sys, time\n"
              "burn = 'import time\\nwhile time.process_time() < 0.5: pass'\n"
              "print('ready', flush=True); sys.stdin.readline()\n"
              "subprocess.run([sys.executable, '-c', burn])\n"
              "print('done', flush=True); sys.stdin.readline()\n")
    process = subprocess.Popen([sys.executable, "-c", burner], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == "ready\n"
        watch = meter.Meter({"burner": process.pid, "nobody": None})
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        seen = watch.stop()
    finally:
        process.communicate("\n", timeout=60)
    assert set(seen["cpu"]) == {"burner"}
    assert seen["cpu"]["burner"] >= 0.45
    assert seen["peak"]["burner"] > 1
