# SPDX-License-Identifier: Apache-2.0
"""bench/grow at its smallest, on real servers; and what it makes of figures: plots, tables, arithmetic."""
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest

import servers
from harness import BUILD, SOURCE

BENCH = os.path.join(SOURCE, "bench")
sys.path.insert(0, BENCH)

import plot		# noqa: E402
import report		# noqa: E402
import scaling		# noqa: E402

CURVES = ["workers", "concurrency", "nodes", "batch", "size", "tables"]
SVG = "{http://www.w3.org/2000/svg}"


def grow(*arguments, timeout=60):
    return subprocess.run([sys.executable, "-B", os.path.join(BENCH, "grow"), *arguments], text=True, capture_output=True,
                          timeout=timeout)


def test_list_shows_curves_that_the_manual_explains():
    done = grow("--list")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"(?m)^([a-z]+): ", done.stdout) == CURVES
    with open(os.path.join(BENCH, "README.md"), encoding="utf-8") as file:
        explained = re.findall(r"(?m)^\| \*([a-z]+)\* \|", file.read())
    assert explained == CURVES


@pytest.mark.parametrize("arguments, complaint", [
    (["wrokers"], "no curve wrokers; there are workers"), (["--rounds", "0"], "--rounds"), (["--seconds", "0"], "--seconds"),
    (["workers", "--points", "3"], "has the points 1,2,4,8,16"), (["--points", "1"], "one curve"),
    (["--draw", "x.json", "nodes"], "--draw")])
def test_wrong_arguments(arguments, complaint):
    done = grow(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_figures_that_are_none(tmp_path, text):
    path = tmp_path / "growth.json"
    path.write_text(text)
    done = grow("--draw", str(path), "--plots", str(tmp_path / "plots"))
    assert done.returncode == 1 and str(path) in done.stderr
    assert not (tmp_path / "plots").exists()


# --- figures that somebody thought of ---

def point(x, figures, cpu_us, noisy=False):
    return {"x": x, "figures": figures, "cpu_us": cpu_us, "noisy": noisy, "elsewhere_cores": 0.5 if noisy else 0.0,
            "runs": []}


def curve(name, points, **more):
    return {"name": name, "what": f"{name} grow", "axis": "how many", "item": "task", "quick": False,
            "began": "2026-01-02T03:04:05Z", "points": points, "missing": {}, **more}


def made_up():
    task = {"rate": 100.0, "landed": 90.0, "worker MiB": 20.0, "connections": 4, "WAL kB": 50.0, "task kB": 1.0, "state kB": 30.0,
            "outbox kB": 40.0, "answer kB": 35.0, "warehouse kB": 10.0}
    us = {"postgresql": 3000.0, "worker": 600.0, "relay": 100.0, "rabbitmq": 300.0, "sink": 200.0, "clickhouse": 900.0,
          "timer": 10.0, "supervisor": 5.0, "upstream": 99999.0}
    return {"machine": {"cpu": "A processor", "cpus_used": [0, 1], "began": "2026-01-02T03:04:05Z"}, "curves": [
        curve("workers", [point(1, task, us), point(4, dict(task, rate=250.0), us, noisy=True)]),
        curve("concurrency", [point(5, task, us), point(2005, dict(task, **{"worker MiB": 60.0}), us)])]}


def constants_of(result):
    return {name: constant for name, _, _, constant in scaling.constants(scaling.Figures(result))}


def test_what_a_load_needs():
    found = constants_of(made_up())
    assert found["us_postgresql"].value == 3000 and found["us_postgresql"].noisy
    assert found["us_other"].value == 15
    assert found["mib_worker"].value == 20 and not found["mib_worker"].noisy
    assert found["mib_tasks"].value == pytest.approx(20)
    assert found["x_workers"].value == pytest.approx(1) and found["x_nodes"] is None
    needs = {what: value for what, _, _, value in scaling.needs(found)}
    tasks = 11600 / 13
    assert needs["**PostgreSQL** cores"](10) == pytest.approx(10 * tasks * 3000e-6 / 0.6)
    assert needs["its log"](1) == pytest.approx(tasks * 0.05)
    assert needs["answers"](100) == pytest.approx(100 * tasks * 35e3 * 8 / 1e9)
    assert needs["their memory"](1) == pytest.approx((tasks * 600e-6 / 0.6 * 20 + tasks * 0.5 / 1000 * 20) / 1024)
    assert needs["cores, were all inserts large"] is None
    assert needs["connections"](1) == 1 + 1 + 2 and needs["connections"](100) == 90 + 15 + 2 * 6


def test_tables_are_written_between_their_marks(tmp_path):
    path = tmp_path / "SCALING.md"
    shutil.copyfile(os.path.join(BENCH, "SCALING.md"), path)
    before = path.read_text()
    scaling.write(made_up(), path)
    once = path.read_text()
    assert "| `us_postgresql` | CPU of PostgreSQL for a task | workers, 4 | 3,000 us *noisy* |" in once
    assert "| `x_nodes` | CPU of a task with most nodes to that with one |  | not measured |" in once
    assert re.search(r"\| \*\*PostgreSQL\*\* cores \| .* \| 4\.46 \| 44\.6 \| 446\.2 \|", once)
    assert "are to be replaced: workers." in once
    assert "By processor time: PostgreSQL 59%, ClickHouse 18%, workers 12%, RabbitMQ 6%, sinks 4%, relays 2%." in once
    scaling.write(made_up(), path)
    assert path.read_text() == once

    def by_hand(text):
        return re.sub(r"(?s)(<!-- ([a-z]+): begin -->).*?(<!-- \2: end -->)", r"\1\3", text)
    assert by_hand(once) == by_hand(before)
    path.write_text(before.replace("<!-- needs: end -->", ""))
    with pytest.raises(SystemExit, match="needs"):
        scaling.write(made_up(), path)


def drawn(path):
    root = xml.parse(path).getroot()
    assert root.tag == SVG + "svg"
    return root, [element.text for element in root.iter(SVG + "text")]


def test_plots(tmp_path):
    path, plots = tmp_path / "growth.json", tmp_path / "plots"
    path.write_text(json.dumps(made_up()))
    done = grow("--draw", str(path), "--plots", str(plots))
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(plots)) == ["concurrency.svg", "workers.svg"]
    root, texts = drawn(plots / "workers.svg")
    assert {"tasks/s", "CPU, us per task", "worker processes", "committed", "postgresql"} <= set(texts)
    dots = list(root.iter(SVG + "circle"))
    assert len(dots) == 2 * (2 + 7)		# two rates, six processes and all together
    assert sum("open" in dot.get("class").split() for dot in dots) == len(dots) / 2
    assert not any("Hollow" in text for text in drawn(plots / "concurrency.svg")[1])


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[0.001, 0.002], [1], [5, 5, 5], [0, 12], [3, 40000, 7e6], [99, 101], [0, 0]])
def test_axes_hold_their_values(log, values):
    values = [value for value in values if value > 0 or not log] or [1]
    axis = plot.Axis(values, log, 200, 40)
    assert axis.ticks == sorted(set(axis.ticks)) and 1 <= len(axis.ticks) <= 12
    for value in values + axis.ticks:
        assert 39.9 <= axis.place(value) <= 200.1


# --- the smallest run ---

def installed():
    try:
        servers.Postgres.find()
        servers.RabbitMQ.find()
    except servers.NotInstalled as missing:
        return str(missing)
    return "" if servers.ClickHouse.installed() else "ClickHouse's server (Debian: clickhouse-server)"


def test_two_points_of_a_curve(tmp_path):
    if installed():
        pytest.skip(f"{installed()} is not installed")
    path, plots = tmp_path / "growth.json", tmp_path / "plots"
    done = grow("workers", "--points", "1,2", "--seconds", "0.01", "--rounds", "1", "--built", "--build", BUILD,
                "--json", str(path), "--plots", str(plots), timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(path.read_text())
    part, = result["curves"]
    assert part["name"] == "workers" and part["missing"] == {}
    assert [each["x"] for each in part["points"]] == [1, 2]
    for each in part["points"]:
        assert each["figures"]["rate"] > 0 and each["figures"]["landed"] > 0
        assert each["figures"]["WAL kB"] > 1 and each["figures"]["answer kB"] > 1
        assert each["noisy"] == (each["elsewhere_cores"] > report.NOISY)
        assert set(scaling.DRAWN) <= set(each["cpu_us"])
    assert {"tasks/s", "worker processes"} <= set(drawn(plots / "workers.svg")[1])
    assert "worker processes" in done.stdout
