# SPDX-License-Identifier: Apache-2.0
"""From measured curves to what a load needs: the tables of SCALING.md, between their markers."""
import math

import report

DRAWN = ("postgresql", "worker", "relay", "rabbitmq", "sink", "clickhouse")
HIDDEN = ("WAL kB", "task kB", "state kB", "outbox kB", "answer kB", "warehouse kB")	# figures of a task: they are constants

RATE = 11600			# events per second: a billion a day
EVENTS, ROWS = 13, 16		# of a task; with its status events
LARGEST = 12			# of them in one queue and table
WORKERS = 16			# processes of a node
MESSAGE = 0.262144		# MB that a relay puts into one
LOADS = (1, 10, 100)
BASE = 4			# worker processes of the point that the constants are taken from
USED = 0.6			# of a core that is to be busy
LATENCY = 0.5			# seconds that an upstream takes
DAY = 86400


def cpu(point):
    """{process: us per item} of what is to be paid for: without the simulated upstream."""
    mine = {process: value for process, value in point["cpu_us"].items() if process in DRAWN}
    other = sum(value for process, value in point["cpu_us"].items() if process in ("timer", "supervisor"))
    return {**{process: mine[process] for process in DRAWN if process in mine}, **({"other": other} if other > 0 else {})}


def figure_names(part):
    names = dict.fromkeys(name for point in part["points"] for name in point["figures"])
    return [name for name in names if name not in HIDDEN]


class Constant:
    """A measured number with the points it was taken from; noisy when one of them is."""

    def __init__(self, value, curve, points):
        self.value, self.curve = value, curve
        self.xs = [f"{point['x']:,}" for point in points]
        self.noisy = any(point["noisy"] for point in points)

    def text(self, unit):
        return f"{report.plain(self.value)} {unit}".strip() + (" *noisy*" if self.noisy else "")

    def where(self):
        return f"{self.curve}, {' and '.join(self.xs)}"


class Figures:
    """The points of a result by curve, and what can be taken from them; None where it was not measured."""

    def __init__(self, result):
        self.curves = {part["name"]: part["points"] for part in result["curves"] if part["points"]}

    def of(self, curve, x, value, near=False):
        """value(point) at x, or at the point nearest to it."""
        point = min(self.curves.get(curve, []), key=lambda point: abs(point["x"] - x), default=None)
        return Constant(value(point), curve, [point]) if point and (near or point["x"] == x) else None

    def best(self, curve, figure):
        point = max(self.curves.get(curve, []), key=lambda point: point["figures"][figure], default=None)
        return Constant(point["figures"][figure], curve, [point]) if point else None

    def between(self, curve, value):
        """value(first point, last point)"""
        points = self.curves.get(curve, [])
        return Constant(value(points[0], points[-1]), curve, [points[0], points[-1]]) if len(points) > 1 else None

    def ratio(self, curve):
        """CPU per item of the last point to that of the first."""
        return self.between(curve, lambda first, last: sum(cpu(last).values()) / sum(cpu(first).values()))

    def rise(self, curve, value):
        """How much value(point) grows from the first point to the last, for each 1,000 of x."""
        return self.between(curve, lambda first, last: (value(last) - value(first)) / (last["x"] - first["x"]) * 1000)


def us(process):
    return lambda point: cpu(point)[process]


def figure(name):
    return lambda point: point["figures"][name]


def constants(figures):
    """[(name, meaning, unit, Constant or None)]"""
    rows = [(f"us_{process}", f"CPU of {what} for a task", "us", figures.of("workers", BASE, us(process), near=True))
            for process, what in (("postgresql", "PostgreSQL"), ("worker", "the workers"), ("relay", "the relay"),
                                  ("rabbitmq", "RabbitMQ"), ("sink", "the sinks"), ("clickhouse", "ClickHouse with its merges"),
                                  ("other", "timer and supervisor, which is asked all the time here,"))]
    rows += [(name, what, "kB", figures.of("workers", BASE, figure(key), near=True))
             for name, what, key in (("kb_wal", "write-ahead log of PostgreSQL for a task", "WAL kB"),
                                     ("kb_task", "its row with indexes and old versions", "task kB"),
                                     ("kb_state", "its current state in PostgreSQL, when all of it is new", "state kB"),
                                     ("kb_events", "its events, as JSON, through outbox and broker", "outbox kB"),
                                     ("kb_answer", "what the upstream answers", "answer kB"),
                                     ("kb_table", "its rows on ClickHouse's disk, packed", "warehouse kB"))]
    memory = figure("worker MiB")
    rows += [("mib_worker", "memory of a worker with few tasks", "MiB", figures.of("concurrency", 5, memory, near=True)),
             ("mib_tasks", "and for each 1,000 tasks at once", "MiB", figures.rise("concurrency", memory)),
             *((f"x_{curve}", f"CPU of {'an event' if curve == 'tables' else 'a task'} with most {curve} to that with one", "",
                figures.ratio(curve)) for curve in ("workers", "nodes", "tables"))]
    names = ("sink", "the sink"), ("clickhouse", "ClickHouse")
    rows += [(f"us_{process}_{size}", f"CPU of {what} for an event in inserts of {size:,}", "us",
              figures.of("batch", size, us(process))) for size in (100, 50000) for process, what in names]
    rows += [(f"us_{process}_kb", f"CPU of {what} for each kB of an event", "us", figures.rise("size", us(process)))
             for process, what in (("rabbitmq", "RabbitMQ"), *names)]
    best = "most that one queue and one sink carried"
    return rows + [("mb_queue", best, "MB/s", figures.best("size", "MB/s")),
                   ("ev_queue", best, "events/s", figures.best("batch", "rate"))]


def needs(found):
    """[(what, formula, unit, value of a load or None)]; found: {name: Constant or None}."""
    def of(name):
        return found[name].value if found[name] else None

    def times(factor, *names):
        """Tasks, times factor, times what is found under all these names."""
        values = [of(name) for name in names]
        return None if None in values else lambda load: tasks(load) * factor * math.prod(values)

    def tasks(load):
        return load * RATE / EVENTS

    cores = 1e-6 / USED
    rows = [("events", f"load x {RATE:,}", "1/s", lambda load: load * RATE),
            ("tasks `t`, requests", f"events / {EVENTS}", "1/s", tasks),
            ("tasks at once", f"t x {LATENCY} s", "", lambda load: tasks(load) * LATENCY),
            ("**PostgreSQL** cores", f"t x us_postgresql / 10^6 / {USED}", "", times(cores, "us_postgresql")),
            ("its log", "t x kb_wal", "MB/s", times(1e-3, "kb_wal")),
            ("its table of tasks", "t x kb_task x 86,400", "GB/day", times(DAY * 1e-6, "kb_task")),
            ("its current state, were all profiles of a day new", "t x kb_state x 86,400", "GB", times(DAY * 1e-6, "kb_state")),
            ("**workers** cores", f"t x us_worker / 10^6 / {USED}", "", times(cores, "us_worker")),
            ("answers", "t x kb_answer x 8", "Gbit/s", times(8e-6, "kb_answer")),
            ("**relays** cores", f"t x us_relay / 10^6 / {USED}", "", times(cores, "us_relay")),
            ("**RabbitMQ** cores, kept once", f"t x us_rabbitmq / 10^6 / {USED}", "", times(cores, "us_rabbitmq")),
            ("in, and out again", "t x kb_events", "MB/s", times(1e-3, "kb_events")),
            ("messages of 256 KiB", f"that / {MESSAGE}", "1/s", times(1e-3 / MESSAGE, "kb_events")),
            ("**sinks** cores", f"t x us_sink / 10^6 / {USED}", "", times(cores, "us_sink")),
            ("**ClickHouse** cores, one replica", f"t x us_clickhouse / 10^6 / {USED}", "", times(cores, "us_clickhouse")),
            ("rows for the largest table", f"t x {LARGEST}", "1/s", lambda load: tasks(load) * LARGEST),
            ("cores, were all inserts large", f"t x kb_events x us_clickhouse_kb / 10^6 / {USED}", "",
             times(cores, "kb_events", "us_clickhouse_kb")),
            ("its disk, one replica", "t x kb_table x 86,400", "GB/day", times(DAY * 1e-6, "kb_table"))]
    if None not in (of("us_worker"), of("us_relay")):
        def connections(load):
            processes = math.ceil(tasks(load) * cores * of("us_worker"))
            return processes + math.ceil(tasks(load) * cores * of("us_relay")) + 2 * math.ceil(processes / WORKERS)
        rows.insert(4, ("connections", f"workers + relays + 2 for each node of {WORKERS} workers", "", connections))
    worker = found["mib_worker"], found["mib_tasks"]
    if None not in worker and of("us_worker") is not None:
        # A worker process is one thread: so many as cores, each with its part of the tasks at once.
        def memory(load):
            return tasks(load) * (cores * of("us_worker") * worker[0].value + LATENCY / 1000 * worker[1].value) / 1024
        rows.insert(9, ("their memory", "cores x mib_worker + tasks at once / 1,000 x mib_tasks", "GiB", memory))
    return rows


def order(found):
    """Who needs most processor time, largest first."""
    names = {"us_postgresql": "PostgreSQL", "us_worker": "workers", "us_relay": "relays", "us_rabbitmq": "RabbitMQ",
             "us_sink": "sinks", "us_clickhouse": "ClickHouse"}
    mine = {name: found[key].value for key, name in names.items() if found[key]}
    if not mine:
        return "Nothing was measured."
    total = sum(mine.values())
    return "By processor time: " + ", ".join(f"{name} {value / total:.0%}"
                                             for name, value in sorted(mine.items(), key=lambda item: -item[1])) + "."


def constants_text(rows):
    yield "| Constant | What | From (curve, point) | Value |"
    yield "|---|---|---|---:|"
    for name, what, unit, constant in rows:
        where, value = (constant.where(), constant.text(unit)) if constant else ("", "not measured")
        yield f"| `{name}` | {what} | {where} | {value} |"


def needs_text(rows):
    yield "| Needed | Arithmetic | " + " | ".join(f"{load}x" for load in LOADS) + " |"
    yield "|---|---|" + "---:|" * len(LOADS)
    for what, formula, unit, value in rows:
        cells = ["–" if value is None else f"{report.plain(value(load))} {unit}".strip() for load in LOADS]
        yield f"| {what} | {formula} | " + " | ".join(cells) + " |"


def curves_text(result):
    for part in result["curves"]:
        names = figure_names(part)
        yield f"### {part['name']}"
        yield ""
        how = ", with `--quick`" if part["quick"] else ""
        yield f"{part['what'][0].upper()}{part['what'][1:]}; measured {part['began'][:10]}{how}."
        yield ""
        yield f"![{part['name']}](growth/{part['name']}.svg)"
        yield ""
        yield f"| {part['axis']} | " + " | ".join(names) + f" | CPU, us per {part['item']} | of which | |"
        yield "|---:|" + "---:|" * (len(names) + 1) + "---|---|"
        for point in part["points"]:
            each = cpu(point)
            parts = ", ".join(f"{name} {report.plain(value)}" for name, value in each.items())
            cells = [f"{point['x']:,}", *(report.plain(point["figures"][name]) for name in names),
                     report.plain(sum(each.values())), parts, "*noisy*" if point["noisy"] else ""]
            yield "| " + " | ".join(cells) + " |"
        for x, why in part["missing"].items():
            yield f"\nNot measured: {x}: {why.splitlines()[0]}"
        yield ""


def between(text, name, lines):
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise SystemExit(f"bench/grow: SCALING.md has no lines \"{begin.strip()}\" and \"{end}\" to write between")
    return before + begin + "\n".join(lines).rstrip("\n") + "\n" + end + after


def write(result, path):
    """Puts the tables between their markers and leaves the rest as it is."""
    figures = Figures(result)
    rows = constants(figures)
    noisy = sorted({part["name"] for part in result["curves"] for point in part["points"] if point["noisy"]})
    machine = result["machine"]
    head = [f"{machine['cpu'] or 'Unknown processor'}, {len(machine['cpus_used'])} processors for all of it,"
            f" {machine['began'][:10]}."]
    if noisy:
        head.append("**Other programs took processor time meanwhile**, so figures of these curves are to be replaced: "
                    + ", ".join(noisy) + ".")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = between(text, "constants", [*head, "", *constants_text(rows)])
    found = {name: constant for name, _, _, constant in rows}
    text = between(text, "needs", [order(found), "", *needs_text(needs(found))])
    text = between(text, "curves", curves_text(result))
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
