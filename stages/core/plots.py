"""Small pictures as inline SVG: text stays text, colours are the page's CSS, so no font and no theme breaks them."""

import math
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 230  # in SVG units; narrow, so that the labels stay readable when a phone scales the picture down
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40
HISTOGRAM = 170  # its height; lower than a curve's, because several stand under one another
PERCENT = ((0, "0 %"), (25, "25 %"), (50, "50 %"), (75, "75 %"), (100, "100 %"))  # a scale of shares
LABEL_CHARACTERS = 46  # of a waterfall's label a line; the number stands to its right
ROW = 24  # height of a line of a forest plot


@dataclass(frozen=True)
class Words:
    """The words that pictures write themselves; another language brings its own. Names in braces are filled in."""

    step: str = "step"  # under a curve's horizontal axis
    curve: str = "{label} from step {start} to {end}: first {first}, last {last}"
    beside: str = "{label}: first {first}, last {last}"
    histogram: str = "{label}: {rows} rows; the highest bar, of {most}, from {low} to below {high} {unit}"


ENGLISH = Words()


@dataclass(frozen=True)
class Curve:
    """A measured value over training steps. `left_out` counts logged values that were not finite numbers."""

    points: tuple[tuple[float, float], ...]
    left_out: int = 0

    @property
    def first(self) -> float:
        return self.points[0][1]

    @property
    def last(self) -> float:
        return self.points[-1][1]


@dataclass(frozen=True)
class Bar:
    """One bar of a waterfall: from `low` to `high` on the scale of all of them, with its number as it is printed."""

    label: str
    low: float
    high: float
    number: str
    hue: str  # CSS class


@dataclass(frozen=True)
class Place:
    """One line of a chart of intervals, on the scale of all of them: `places` are low, value and high, or percentiles
    5, 25, 50, 75 and 95, whose inner three make a box; a single one is a value whose interval is not known.
    """

    label: str
    places: tuple[float, ...]
    number: str  # as it is printed
    hue: str  # CSS class


@dataclass(frozen=True)
class Difference:
    """One line of a forest plot: a difference and its interval, on the scale of all of them."""

    label: str
    low: float
    value: float
    high: float
    number: str  # as it is printed
    questions: int  # the mark's area follows it
    is_all: bool  # the line that sums up its group is drawn as a diamond


@dataclass(frozen=True)
class Contrasted:
    """One group of a forest plot, such as a subset a line and one for all, under its name."""

    name: str
    hue: str  # CSS class
    rows: tuple[Difference, ...]


def curve(rows: Sequence[dict[str, object]], key: str) -> Curve:
    """The values of `key` over `step` in transformers' log history; rows without it (summaries) are passed over."""
    logged = [(row["step"], row[key]) for row in rows if key in row and "step" in row]
    points = tuple((float(x), float(y)) for x, y in logged if _is_finite(x) and _is_finite(y))  # type: ignore[arg-type]
    return Curve(points, len(logged) - len(points))


def line_chart(
    line: Curve,
    *,
    label: str,
    hue: str,
    level: float | None = None,
    beside: Curve | None = None,
    beside_label: str = "",
    words: Words = ENGLISH,
) -> str:
    """One curve, or two on one scale, as an SVG element that scales to its container; the CSS classes are the report's.

    Args:
        label: what the vertical axis shows; the picture's accessible name as well.
        hue: CSS class that gives the line its colour.
        level: a value that is drawn as a dashed line, for example where a loss starts. None: no such line.
        beside: a second curve, drawn broken and without colour, and what it is called. None: there is none.

    Raises:
        ValueError: the first curve has no points.
    """
    if not line.points:
        raise ValueError(f"{label}: no points")
    others = beside.points if beside else ()
    steps = [x for x, _ in line.points]
    values = [y for _, y in (*line.points, *others)] + ([] if level is None else [level])
    last_step = max(x for x, _ in (*line.points, *others))
    x_ticks, y_ticks = ticks(0, last_step, 5), ticks(min(values), max(values), 4)
    x_low, x_high, y_low, y_high = 0, last_step, y_ticks[0], y_ticks[-1]
    decimals = max(len(f"{tick:g}".partition(".")[2]) for tick in y_ticks)

    def x(step: float) -> float:
        return round(LEFT + (step - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1)

    first, last = f"{line.first:.4g}", f"{line.last:.4g}"
    name = words.curve.format(label=label, start=f"{steps[0]:g}", end=f"{steps[-1]:g}", first=first, last=last)
    if beside and others:
        first, last = f"{beside.first:.4g}", f"{beside.last:.4g}"
        name += "; " + words.beside.format(label=beside_label, first=first, last=last)
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">']
    for tick in y_ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 8}" y="{y(tick) + 4}">{tick:.{decimals}f}</text>')
    for tick in (tick for tick in x_ticks if tick.is_integer() and tick <= x_high):
        parts.append(f'<text class="tick middle" x="{x(tick)}" y="{HEIGHT - BOTTOM + 18}">{tick:g}</text>')
    if level is not None:
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(level)}" y2="{y(level)}"/>')
    for points, classes in ((line.points, hue), (others, "beside")):
        if points:
            drawn = " ".join(f"{x(step)},{y(value)}" for step, value in points)
            parts.append(f'<polyline class="line {classes}" points="{drawn}"/>')
        if len(points) <= 12:  # few points are shown as such; a single one would be no line at all
            parts += [f'<circle class="dot {classes}" cx="{x(s)}" cy="{y(v)}" r="3"/>' for s, v in points]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="tick middle" x="{middle}" y="{HEIGHT - 4}">{escape(words.step)}</text>')
    return "".join([*parts, "</svg>"])


def interval_bar(low: float, value: float, high: float, *, end: float, hue: str, mark: float | None = None) -> str:
    """A 95 % interval on a scale from 0 to `end`, all in one unit; `mark` is a dashed line, such as chance."""

    def x(position: float) -> float:
        return round(2 + 116 * min(position, end) / end, 1)

    marked = "" if mark is None else f'<line class="level" x1="{x(mark)}" x2="{x(mark)}" y1="1" y2="15"/>'
    return (
        '<svg class="interval" viewBox="0 0 120 16" aria-hidden="true">'
        f'<line class="grid" x1="2" x2="118" y1="8" y2="8"/>{marked}'
        f'<line class="whisker {hue}" x1="{x(low)}" x2="{x(high)}" y1="8" y2="8"/>'
        f'<circle class="dot {hue}" cx="{x(value)}" cy="8" r="4"/></svg>'
    )


def spread_bar(places: tuple[float, float, float, float, float], *, end: float, hue: str) -> str:
    """How a length is spread, on a scale from 0 to `end`: a line over the outer two places, a box over the inner two,
    a dot at the one in the middle. For percentiles 5, 25, 50, 75 and 95, say.
    """
    low, quarter, middle, three_quarters, high = (round(2 + 116 * min(place, end) / end, 1) for place in places)
    return (
        '<svg class="interval" viewBox="0 0 120 16" aria-hidden="true">'
        '<line class="grid" x1="2" x2="118" y1="8" y2="8"/>'
        f'<line class="whisker {hue}" x1="{low}" x2="{high}" y1="8" y2="8"/>'
        f'<rect class="box {hue}" x="{quarter}" width="{round(max(1, three_quarters - quarter), 1)}" y="4" height="8"/>'
        f'<circle class="dot {hue}" cx="{middle}" cy="8" r="3"/></svg>'
    )


def histogram(
    bins: Sequence[tuple[int, int, int]],
    *,
    label: str,
    unit: str,
    hue: str,
    level: float | None = None,
    words: Words = ENGLISH,
) -> str:
    """How many rows fall between neighbouring edges, as an SVG element that scales to its container.

    Args:
        bins: low edge, high edge and rows. Where the last one is wider than the first it is drawn as wide as the
            others and marked with its low edge and a plus.
        label: whose lengths these are, in what; the picture's accessible name as well.
        unit: what stands under the horizontal axis.
        level: a value that is drawn as a dashed line, such as the median. None: no such line.

    Raises:
        ValueError: no rows.
    """
    rows = sum(count for _, _, count in bins)
    if not rows:
        raise ValueError(f"{label}: no rows")
    step = bins[0][1] - bins[0][0]
    is_open = bins[-1][1] - bins[-1][0] > step
    first, last = bins[0][0], bins[-1][0] + step
    y_ticks = _count_ticks(max(count for _, _, count in bins))
    bottom = HISTOGRAM - BOTTOM

    def x(value: float) -> float:
        return round(LEFT + (min(value, last) - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y(count: float) -> float:
        return round(bottom - count / y_ticks[-1] * (bottom - TOP), 1)

    low, high, most = max(bins, key=lambda bin: bin[2])
    name = words.histogram.format(
        label=label, rows=f"{rows:,}", most=f"{most:,}", low=f"{low:,}", high=f"{high:,}", unit=unit
    )
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HISTOGRAM}" role="img" aria-label="{escape(name)}">']
    for tick in y_ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 8}" y="{y(tick) + 4}">{tick:,.0f}</text>')
    for low, high, count in bins:
        if count:  # a bar of one row among thousands is still to be seen
            width, height = round(x(high) - x(low) - 1, 1), round(max(1, bottom - y(count)), 1)
            y_top = round(bottom - height, 1)
            parts.append(f'<rect class="bar {hue}" x="{x(low)}" width="{width}" y="{y_top}" height="{height}"/>')
    if level is not None:
        parts.append(f'<line class="level over" x1="{x(level)}" x2="{x(level)}" y1="{TOP}" y2="{bottom}"/>')
    ends = bins[-1][0] if is_open else last
    for tick in (tick for tick in ticks(first, last, 6) if first <= tick <= ends and tick.is_integer()):
        if not is_open or x(ends) - x(tick) > 40:  # room for the mark of the open end
            parts.append(f'<text class="tick middle" x="{x(tick)}" y="{bottom + 16}">{tick:,.0f}</text>')
    if is_open:
        parts.append(f'<text class="tick end" x="{WIDTH - RIGHT + 8}" y="{bottom + 16}">{ends:,}+</text>')
    parts.append(
        f'<text class="tick middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HISTOGRAM - 4}">{escape(unit)}</text>'
    )
    return "".join([*parts, "</svg>"])


def grouped_bars(
    groups: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, label: str, hue: str, level: float | None = None
) -> str:
    """Shares in percent, a bar each, side by side in named groups; the highest of each group is drawn strongest.

    Args:
        groups: name, and the bars' names and percentages. Every group has the same bars.
        level: a percentage that is drawn as a dashed line, such as chance. None: no such line.

    Raises:
        ValueError: no groups.
    """
    if not groups:
        raise ValueError(f"{label}: no groups")
    y_ticks = ticks(0, max(share for _, bars in groups for _, share in bars), 4)
    bottom = HEIGHT - BOTTOM
    slot = (WIDTH - LEFT - RIGHT) / len(groups)
    width = 0.86 * slot / max(len(bars) for _, bars in groups)

    def y(share: float) -> float:
        return round(bottom - share / y_ticks[-1] * (bottom - TOP), 1)

    said = []
    parts = []
    for tick in y_ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 8}" y="{y(tick) + 4}">{tick:g} %</text>')
    for number, (group, bars) in enumerate(groups):
        start = LEFT + (number + 0.07) * slot
        strongest = max(share for _, share in bars)
        for place, (bar, share) in enumerate(bars):
            x, faint = round(start + place * width, 1), "" if share == strongest else " faint"
            parts.append(
                f'<rect class="bar {hue}{faint}" x="{x}" width="{round(0.88 * width, 1)}" y="{y(share)}" '
                f'height="{round(bottom - y(share), 1)}"/>'
            )
            middle = round(x + 0.44 * width, 1)
            parts.append(f'<text class="tick middle" x="{middle}" y="{bottom + 14}">{escape(bar)}</text>')
        middle = round(start + 0.43 * slot, 1)
        parts.append(f'<text class="tick middle" x="{middle}" y="{HEIGHT - 8}">{escape(group)}</text>')
        said.append(f"{group} " + ", ".join(f"{bar} {share:.1f} %" for bar, share in bars))
    if level is not None:
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(level)}" y2="{y(level)}"/>')
    name = f"{label}: {'; '.join(said)}"
    return "".join(
        [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">', *parts, "</svg>"]
    )


def waterfall(bars: Sequence[Bar], *, label: str) -> str:
    """From what came in to what is left, a bar a line under its label and number; what stands before a bar is shown
    pale, so that the eye sees how much is left.

    Raises:
        ValueError: no bars, or nothing came in.
    """
    end = max((bar.high for bar in bars), default=0)
    if end <= 0:
        raise ValueError(f"{label}: nothing came in")
    parts = []
    y = 0
    for bar in bars:
        lines = textwrap.wrap(bar.label, LABEL_CHARACTERS)
        parts.append(f'<text class="number end" x="{WIDTH}" y="{y + 14}">{escape(bar.number)}</text>')
        for line in lines:
            y += 15
            parts.append(f'<text class="label" x="0" y="{y - 1}">{escape(line)}</text>')
        low, high = (round(WIDTH * place / end, 1) for place in (bar.low, bar.high))
        y += 4
        parts.append(f'<rect class="track" x="0" width="{WIDTH}" y="{y}" height="9"/>')
        if low:
            parts.append(f'<rect class="bar rest" x="0" width="{low}" y="{y}" height="9"/>')
        if bar.high > bar.low:
            width = round(max(high - low, 1.5), 1)  # one row of thousands is still to be seen
            x = round(min(low, WIDTH - width), 1)
            parts.append(f'<rect class="bar {bar.hue}" x="{x}" width="{width}" y="{y}" height="9"/>')
        y += 19
    name = f"{label}: " + "; ".join(f"{bar.label} {bar.number}" for bar in bars)
    return "".join(
        [
            f'<svg class="waterfall" viewBox="0 0 {WIDTH} {y - 8}" role="img" aria-label="{escape(name)}">',
            *parts,
            "</svg>",
        ]
    )


def intervals(
    rows: Sequence[Place], *, label: str, scale: Sequence[tuple[float, str]], levels: Sequence[float] = ()
) -> str:
    """Values with their intervals, a line each under its label and number, over one scale.

    Args:
        scale: the ticks and their names; the first and the last are where it begins and ends, and places beyond are
            drawn there.
        levels: values that are drawn as dashed lines in every row, such as what chance would give.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError(f"{label}: no rows")
    start, end = scale[0][0], scale[-1][0]
    bottom = 40 * len(rows)

    def x(place: float) -> float:
        return round(6 + (min(max(place, start), end) - start) / (end - start) * (WIDTH - 12), 1)

    parts = []
    for number, row in enumerate(rows):
        y = 40 * number
        parts.append(f'<text class="label" x="0" y="{y + 14}">{escape(row.label)}</text>')
        parts.append(f'<text class="number end" x="{WIDTH}" y="{y + 14}">{escape(row.number)}</text>')
        for kind, places in (("grid", [tick for tick, _ in scale]), ("level", levels)):
            parts += [f'<line class="{kind}" x1="{x(p)}" x2="{x(p)}" y1="{y + 18}" y2="{y + 34}"/>' for p in places]
        drawn = [x(place) for place in row.places]
        if len(drawn) > 1:
            parts.append(
                f'<line class="whisker {row.hue}" x1="{drawn[0]}" x2="{drawn[-1]}" y1="{y + 26}" y2="{y + 26}"/>'
            )
        if len(drawn) == 5:
            width = round(max(1, drawn[3] - drawn[1]), 1)
            parts.append(f'<rect class="box {row.hue}" x="{drawn[1]}" width="{width}" y="{y + 21}" height="10"/>')
        parts.append(f'<circle class="dot {row.hue}" cx="{drawn[len(drawn) // 2]}" cy="{y + 26}" r="4.5"/>')
    for tick, name in scale:
        anchor = "start" if tick == start else "end" if tick == end else "middle"
        place = {"start": 0, "end": WIDTH}.get(anchor, x(tick))
        parts.append(f'<text class="tick {anchor}" x="{place}" y="{bottom + 16}">{escape(name)}</text>')
    name = f"{label}: " + "; ".join(f"{row.label} {row.number}" for row in rows)
    return "".join(
        [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {bottom + 20}" role="img" aria-label="{escape(name)}">',
            *parts,
            "</svg>",
        ]
    )


def forest(groups: Sequence[Contrasted], *, label: str, unit: str, worse: str, better: str) -> str:
    """Differences with their intervals in groups, about a line at 0: squares, and a diamond for all of a group.

    The scale reaches as far as the widest interval. The columns of labels and numbers are as wide as their words.

    Args:
        label: what is compared; the picture's accessible name begins with it and goes on with all numbers.
        unit: what stands over the column of numbers, such as their unit.
        worse: what a difference below 0 means, written to the left of 0 under the scale; `better` to the right.

    Raises:
        ValueError: no rows, or the words are so long that they leave no room for the scale.
    """
    rows = [row for group in groups for row in group.rows]
    if not rows:
        raise ValueError(f"{label}: no rows")
    scale = ticks(min(0, *(row.low for row in rows)), max(0, *(row.high for row in rows)), 4)
    left, right = max(_extent(row.label) for row in rows) + 14, WIDTH - max(_extent(row.number) for row in rows) - 14
    if right - left < 60:
        raise ValueError(f"{label}: no room for a scale between {rows[0].label!r} and {rows[0].number!r}")
    bottom = 20 + ROW * (len(rows) + len(groups))
    most = max((row.questions for row in rows if not row.is_all), default=1)

    def x(points: float) -> float:
        return round(left + (points - scale[0]) / (scale[-1] - scale[0]) * (right - left), 1)

    parts = [f'<text class="tick end" x="{WIDTH}" y="12">{escape(unit)}</text>']
    y = 20
    for group in groups:
        parts.append(f'<text class="number" x="0" y="{y + 19}">{escape(group.name)}</text>')
        y += ROW
        for tick in scale:
            end = y + ROW * len(group.rows)
            parts.append(
                f'<line class="{"grid" if tick else "zero"}" x1="{x(tick)}" x2="{x(tick)}" y1="{y}" y2="{end}"/>'
            )
        for row in group.rows:
            weight = " all" if row.is_all else ""
            parts.append(f'<text class="estimate{weight}" x="0" y="{y + 16}">{escape(row.label)}</text>')
            parts.append(f'<text class="estimate{weight} end" x="{WIDTH}" y="{y + 16}">{escape(row.number)}</text>')
            low, value, high = x(row.low), x(row.value), x(row.high)
            if row.is_all:
                parts.append(_diamond(low, value, high, y + 12, group.hue))
            else:
                parts.append(_square(low, value, high, y + 12, group.hue, row.questions / most))
            y += ROW
    for tick in scale:
        parts.append(f'<text class="tick middle" x="{x(tick)}" y="{bottom + 15}">{_signed(tick)}</text>')
    meeting = max(x(0) - 6, _extent(worse))  # near the left edge there is less room than the word needs
    parts.append(f'<text class="tick end" x="{meeting}" y="{bottom + 31}">{escape(worse)}</text>')
    parts.append(f'<text class="tick" x="{meeting + 12}" y="{bottom + 31}">{escape(better)}</text>')
    told = [f"{group.name}: " + ", ".join(f"{row.label} {row.number}" for row in group.rows) for group in groups]
    name = f"{label}, {unit}: {'; '.join(told)}"
    size = f"0 0 {WIDTH} {bottom + 35}"
    return f'<svg class="chart" viewBox="{size}" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'


def _diamond(low: float, value: float, high: float, y: float, hue: str) -> str:
    low, high = round(min(low, value - 3), 1), round(max(high, value + 3), 1)  # of thousands it would be a line
    return f'<polygon class="bar {hue}" points="{low},{y} {value},{y - 7} {high},{y} {value},{y + 7}"/>'


def _square(low: float, value: float, high: float, y: float, hue: str, share: float) -> str:
    """With its interval; `share` is its area's of the largest one."""
    side = round(max(5, 11 * math.sqrt(share)), 1)  # the smallest is still to be seen
    left, top = round(value - side / 2, 1), round(y - side / 2, 1)
    return (
        f'<line class="whisker thin {hue}" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
        f'<rect class="bar {hue}" x="{left}" y="{top}" width="{side}" height="{side}"/>'
    )


def _extent(text: str) -> float:
    """About how wide a text of 12 units is; the page's font is not known here. Hangul is as wide as it is high."""
    return sum(12 if unicodedata.east_asian_width(letter) in "WF" else 6.8 for letter in text)


def _signed(number: float) -> str:
    return f"{number:+g}".replace("-", "−") if number else "0"


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """About `wanted` round values that lie within low-high or just enclose it; at least two.

    Example: `ticks(0.43, 2.31, 4)` is [0.0, 0.5, 1.0, 1.5, 2.0, 2.5].
    """
    low, high = _spread(low, high)
    raw = (high - low) / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _count_ticks(most: int) -> list[float]:
    """Whole numbers from 0, about four of them: there is no half row."""
    found = (ticks(0, most, wanted) for wanted in (3, 2, 1))
    return next((some for some in found if all(tick.is_integer() for tick in some)), [0.0, float(most)])


def _spread(low: float, high: float) -> tuple[float, float]:
    """Bounds that are visibly apart, so that a flat curve has an axis around it."""
    if high - low > 1e-4 * max(abs(low), abs(high)):
        return low, high
    room = abs(low) * 0.1 or 1.0
    return low - room, high + room


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
