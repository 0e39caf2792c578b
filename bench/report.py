# SPDX-License-Identifier: Apache-2.0
"""Runs into medians, spreads and ratios; as text and as JSON."""
import os
import platform
import statistics
import time

NOISY = 0.1		# cores that strangers took, beyond which a figure is marked


class Run:
    """One measurement of one contender: figures by name, and what the processes used for it."""

    def __init__(self, figures, events=0, used=None, note=""):
        self.figures = dict(figures)
        self.events = events
        self.used = used or {"seconds": 0.0, "cpu": {}, "peak": {}, "elsewhere": 0.0}
        self.note = note


class Target:
    """What a figure, or its ratio to a reference's in the same round, is to be."""

    def __init__(self, contender, figure, at_least=None, at_most=None, to=None, to_figure=None):
        self.contender, self.figure, self.to = contender, figure, to
        self.to_figure = to_figure or figure
        self.at_least, self.at_most = at_least, at_most

    def text(self):
        return f"{self.contender} / {self.to} {self.bound()}" if self.to else f"{self.figure} {self.bound()}"

    def bound(self):
        return f">= {plain(self.at_least)}" if self.at_least is not None else f"<= {plain(self.at_most)}"

    def values(self, runs):
        mine = [run.figures[self.figure] for run in runs.get(self.contender, []) if self.figure in run.figures]
        if self.to is None:
            return mine
        other = [run.figures[self.to_figure] for run in runs.get(self.to, []) if self.to_figure in run.figures]
        return [a / b for a, b in zip(mine, other) if b]

    def met(self, value):
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


def plain(value):
    """A number with as many digits as mean something."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}".rstrip("0").rstrip(".")
    return f"{value:.3g}"


def spread(values):
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "values": values}


def summary(stage, runs, missing):
    """A stage's part of the JSON."""
    contenders = {}
    for name, list_ in runs.items():
        names = dict.fromkeys(figure for run in list_ for figure in run.figures)
        contenders[name] = {
            "figures": {figure: spread([run.figures[figure] for run in list_ if figure in run.figures])
                        for figure in names},
            "runs": [{"figures": run.figures, "events": run.events, "note": run.note, **run.used} for run in list_],
            "cpu_us_per_event": {process: statistics.median([run.used["cpu"][process] * 1e6 / run.events
                                                             for run in list_ if run.events and process in run.used["cpu"]])
                                 for process in dict.fromkeys(p for run in list_ if run.events for p in run.used["cpu"])},
            "peak_mib": {process: max(run.used["peak"].get(process, 0) for run in list_)
                         for process in dict.fromkeys(p for run in list_ for p in run.used["peak"])},
            "elsewhere_cores": max(run.used["elsewhere"] for run in list_),
        }
    targets = []
    for target in stage.targets:
        values = target.values(runs)
        entry = {"text": target.text(), "bound": target.bound(), "figure": target.figure, "contender": target.contender, "to": target.to,
                 "at_least": target.at_least, "at_most": target.at_most}
        if values:
            entry.update(spread(values), met=target.met(statistics.median(values)))
        targets.append(entry)
    return {"name": stage.name, "what": stage.what, "contenders": contenders, "targets": targets, "missing": missing}


def columns(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        yield "  " + "  ".join(cells).rstrip()


def text_of(part):
    """The same for people."""
    lines = [f"{part['name']}: {part['what']}"]
    rows = [["", "median", "low", "high"]]
    for name, contender in part["contenders"].items():
        for figure, values in contender["figures"].items():
            rows.append([f"{name} {figure}", *(plain(values[key]) for key in ("median", "low", "high"))])
    lines += columns(rows) if len(rows) > 1 else []
    for name, contender in part["contenders"].items():
        each = contender["cpu_us_per_event"]
        cpu = ", ".join(f"{process} {plain(value)}" for process, value in each.items())
        if len(each) > 1:
            cpu += f", together {plain(sum(each.values()))}"
        peak = ", ".join(f"{process} {value:.0f}" for process, value in contender["peak_mib"].items())
        if cpu or peak:
            lines.append(f"  {name}:" + (f" CPU us/event: {cpu};" if cpu else "") + (f" peak MiB: {peak}" if peak else ""))
        if contender["elsewhere_cores"] > NOISY:
            lines.append(f"  {name}: noisy: others took up to {contender['elsewhere_cores']:.2f} cores meanwhile")
        for note in dict.fromkeys(run["note"] for run in contender["runs"] if run["note"]):
            lines.append(f"  {name}: {note}")
    for target in part["targets"]:
        if "median" in target:
            lines.append(f"  {'ok  ' if target['met'] else 'MISS'} {target['text']}: {plain(target['median'])}"
                         f" ({plain(target['low'])} to {plain(target['high'])})")
        else:
            lines.append(f"  ---  {target['text']}: not measured")
    lines += [f"  left out: {name}: {why}" for name, why in part["missing"].items()]
    return "\n".join(lines)


def table_of(parts):
    """All targets of these stages, with what was measured beside them."""
    rows = [["stage", "figure", "target", "measured", ""]]
    for part in parts:
        for target in part["targets"]:
            figure = target["figure"] + (f" / {target['to']}" if target["to"] else "")
            measured = plain(target["median"]) if "median" in target else "not measured"
            rows.append([part["name"], figure, target["bound"], measured, {True: "met", False: "missed"}.get(target.get("met"), "")])
    return "\n".join(columns(rows))


def machine(cpus):
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cpus_used": sorted(cpus), "kernel": platform.release(), "load": os.getloadavg(),
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
