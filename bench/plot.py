# SPDX-License-Identifier: Apache-2.0
"""Small plots as SVG text: panels side by side, one line per series, readable on light and on dark pages."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 340, 232			# of a panel's part for the plot itself, with its labels
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 40, 44
LEGEND_ROW, LEGEND_COLUMNS, FOOT = 16, 3, 18

# Colours that differ for nearly every eye; the second is for dark pages.
COLOURS = (("#0072b2", "#56b4e9"), ("#d55e00", "#ff9d5c"), ("#007a5a", "#3ddc97"), ("#a1438a", "#e69fd0"),
           ("#8a6d00", "#f0d44c"), ("#5b5f66", "#b3b9c2"), ("#b00020", "#ff7b87"))


class Panel:
    """What is drawn over the points: series is [(label, [y or None, one of each point])]; dashed labels are no measurement.

    A series keeps its colour when one before it has nothing to show.
    """

    def __init__(self, title, series, log=False, dashed=()):
        self.title, self.log, self.dashed = title, log, dashed
        self.series = [(number % len(COLOURS), label, values) for number, (label, values) in enumerate(series)
                       if any(usable(value, log) for value in values)]


def usable(value, log):
    return value is not None and (value > 0 or not log)


def short(value):
    """10000 as 10k; three digits at most."""
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:.3g}"


class Axis:
    """Values to a place between two ends; ticks lie inside."""

    def __init__(self, values, log, first, last):
        self.log, self.first, self.last = log, first, last
        low, high = min(values), max(values)
        if log:
            self.ticks = self.decades(low, high)
            self.low, self.high = math.log(min(low, self.ticks[0]) * 0.9), math.log(max(high, self.ticks[-1]) * 1.1)
        else:
            self.ticks = self.steps(high)
            self.low, self.high = 0.0, max(high, self.ticks[-1])
        if self.high <= self.low:
            self.high = self.low + 1

    @staticmethod
    def decades(low, high):
        within = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [10.0 ** power * digit for power in within for digit in ((1,) if len(within) > 3 else (1, 2, 5))]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001] or [low]
        return ticks

    @staticmethod
    def steps(high):
        if high <= 0:
            return [0.0, 1.0]
        unit = 10.0 ** math.floor(math.log10(high))
        step = next(unit * part for part in (0.2, 0.25, 0.5, 1, 2, 2.5) if high / (unit * part) <= 5)
        return [step * i for i in range(int(math.ceil(high / step - 1e-9)) + 1)]

    def place(self, value):
        share = ((math.log(value) if self.log else value) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)


def style():
    def rules(dark):
        ink, soft, grid, page = ("#e6edf3", "#9da7b1", "#3d444d", "#0d1117") if dark else \
            ("#1f2328", "#59636e", "#d8dee4", "#ffffff")
        lines = [f".page{{fill:{page}}}.ink{{fill:{ink}}}.soft{{fill:{soft}}}.grid{{stroke:{grid}}}.open{{fill:{page}}}"]
        lines += [f".l{i}{{stroke:{pair[dark]}}}.d{i}{{fill:{pair[dark]};stroke:{pair[dark]}}}"
                  for i, pair in enumerate(COLOURS)]
        return "".join(lines)
    return ("text{font:11px system-ui,sans-serif}.title{font-size:12px;font-weight:600}path{fill:none;stroke-width:2}"
            f".grid{{stroke-width:1}}.dash{{stroke-dasharray:4 4}}{rules(0)}"
            f"@media (prefers-color-scheme:dark){{{rules(1)}}}")


def text(x, y, words, kind="soft", anchor="middle"):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def draw_axes(panel, x_axis, y_axis, xs, x_label, left):
    bottom = TOP + HEIGHT - TOP - BOTTOM
    yield text(left + 8, 22, panel.title, "ink title", "start")
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        yield f'<path class="grid" d="M{left + LEFT} {y:.1f}H{left + WIDTH - RIGHT}"/>'
        yield text(left + LEFT - 6, y + 4, short(tick), anchor="end")
    for x in xs:
        yield text(x_axis.place(x), bottom + 16, short(x))
    yield text(left + LEFT + (WIDTH - LEFT - RIGHT) / 2, bottom + 34, x_label)


def draw_series(panel, series, x_axis, y_axis, xs, noisy):
    colour, label, values = series
    places = [(x_axis.place(x), y_axis.place(value), x in noisy) for x, value in zip(xs, values) if usable(value, panel.log)]
    dash = " dash" if label in panel.dashed else ""
    yield f'<path class="l{colour}{dash}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)}"/>'
    if not dash:
        for x, y, open_ in places:
            fill = "open" if open_ else f"d{colour}"
            yield f'<circle class="l{colour} {fill}" cx="{x:.1f}" cy="{y:.1f}" r="3.5" stroke-width="2"/>'


def draw_legend(panel, left):
    for number, (colour, label, _) in enumerate(panel.series):
        row, column = divmod(number, LEGEND_COLUMNS)
        x, y = left + 12 + column * (WIDTH - 12) / LEGEND_COLUMNS, HEIGHT + 8 + row * LEGEND_ROW
        dash = " dash" if label in panel.dashed else ""
        yield f'<path class="l{colour}{dash}" d="M{x:.1f} {y:.1f}h14"/>'
        yield text(x + 18, y + 4, label, anchor="start")


def draw(title, x_label, xs, panels, x_log=False, noisy=(), note=""):
    """The whole picture. noisy: the x whose points are drawn hollow."""
    rows = max((-(-len(panel.series) // LEGEND_COLUMNS) for panel in panels), default=1)
    foot = [line for line in (note, "Hollow points: other programs took processor time meanwhile" if noisy else "") if line]
    width, height = WIDTH * len(panels), HEIGHT + rows * LEGEND_ROW + FOOT * len(foot) + 8
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
           f' role="img"><title>{escape(title)}</title><style>{style()}</style>'
           f'<rect class="page" width="{width}" height="{height}"/>']
    for number, panel in enumerate(panels):
        left = number * WIDTH
        values = [value for _, _, list_ in panel.series for value in list_ if usable(value, panel.log)] or [1.0]
        x_axis = Axis(xs, x_log, left + LEFT + 8, left + WIDTH - RIGHT - 8)
        if not x_log:
            x_axis.low = min(xs) if len(xs) > 1 else min(xs) - 1
            x_axis.high = max(xs) if len(xs) > 1 else max(xs) + 1
        y_axis = Axis(values, panel.log, HEIGHT - BOTTOM, TOP)
        out += draw_axes(panel, x_axis, y_axis, xs, x_label, left)
        for series in panel.series:
            out += draw_series(panel, series, x_axis, y_axis, xs, noisy)
        out += draw_legend(panel, left)
    out += [text(8, height - 8 - FOOT * (len(foot) - 1 - number), line, anchor="start") for number, line in enumerate(foot)]
    out.append("</svg>")
    return "\n".join(out) + "\n"
