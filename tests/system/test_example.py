# SPDX-License-Identifier: Apache-2.0
"""The example plugin is built out of the tree, with nothing but the installed headers, dropped in and run."""
import json
import os
import shutil
import subprocess

import pytest

import harness

SOURCE = os.path.join(harness.SOURCE, "examples", "weather", "weather.c")
ANSWER = {"timezone": "GMT", "current_weather": {"temperature": 13.25, "windspeed": 7, "time": "2026-01-02T03:00"}}


def run(*command, **env):
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True,
                          timeout=harness.DEADLINE, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """Installs headers and sluice.pc into a folder, and builds the example as somebody else would."""
    root = str(tmp_path_factory.mktemp("root"))
    run("make", "-C", harness.BUILD, "install-sluiceincludeHEADERS", "install-nodist_pkgconfigDATA",
        f"DESTDIR={root}", MAKEFLAGS="")
    found = [folder for folder, _, files in os.walk(root) if "sluice.pc" in files]
    assert len(found) == 1
    flags = run("pkg-config", "--cflags", "sluice", PKG_CONFIG_PATH=found[0], PKG_CONFIG_SYSROOT_DIR=root)
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copy(SOURCE, folder)
    os.chmod(folder, 0o755)
    target = str(folder / "weather.so")
    run(os.environ.get("CC", "cc").split()[0], "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-z,defs",
        *flags.split(), "-o", target, str(folder / "weather.c"))
    os.chmod(target, 0o755)
    return target


def test_it_is_short():
    with open(SOURCE, encoding="utf-8") as file:
        assert len(file.readlines()) <= 120


def test_it_is_accepted(plugin):
    run(harness.SLUICECTL, "plugin", "check", plugin)


def test_it_runs(plugin, tmp_path):
    (tmp_path / "weather.current.json").write_text(json.dumps(ANSWER))
    out = run(harness.SLUICECTL, "flow", "try", "refresh_weather", "place=Berlin", "latitude=52.52",
              "longitude=13.41", "--replay", str(tmp_path), "--json",
              SLUICE_PLUGIN_PATH=os.path.dirname(plugin))
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    record, = [line for line in lines if line["kind"] == "record"]
    assert (record["type"], record["key"], record["source"]) == ("weather", "Berlin", "open-meteo")
    assert record["metrics"] == {"temperature": 13.25, "wind_speed": 7}
    upsert, = [line for line in lines if line["kind"] == "upsert"]
    assert upsert["table"] == "weather_now"
    event, = [line for line in lines if line["kind"] == "event"]
    assert event["stream"] == "weather_log"
    assert event["data"]["place"] == "Berlin"
    assert event["data"]["observed_at"] == "2026-01-02 03:00:00"
    assert event["data"]["metrics"] == record["metrics"]
