"""Small pictures as inline SVG: text stays text, colours are the page's CSS, so no font and no theme breaks them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 230  # in SVG units; narrow, so that the labels stay readable when a phone scales the picture down
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40


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


def curve(rows: Sequence[dict[str, object]], key: str) -> Curve:
    """The values of `key` over `step` in transformers' log history; rows without it (summaries) are passed over."""
    logged = [(row["step"], row[key]) for row in rows if key in row and "step" in row]
    points = tuple((float(x), float(y)) for x, y in logged if _is_finite(x) and _is_finite(y))  # type: ignore[arg-type]
    return Curve(points, len(logged) - len(points))


def line_chart(line: Curve, *, label: str, hue: str, level: float | None = None) -> str:
    """One curve as an SVG element that scales to its container; the CSS classes are the report's.

    Args:
        label: what the vertical axis shows; the picture's accessible name as well.
        hue: CSS class that gives the line its colour.
        level: a value that is drawn as a dashed line, for example where a loss starts. None: no such line.

    Raises:
        ValueError: the curve has no points.
    """
    if not line.points:
        raise ValueError(f"{label}: no points")
    steps = [x for x, _ in line.points]
    values = [y for _, y in line.points] + ([] if level is None else [level])
    x_ticks, y_ticks = ticks(0, max(steps), 5), ticks(min(values), max(values), 4)
    x_low, x_high, y_low, y_high = 0, max(steps), y_ticks[0], y_ticks[-1]
    decimals = max(len(f"{tick:g}".partition(".")[2]) for tick in y_ticks)

    def x(step: float) -> float:
        return round(LEFT + (step - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1)

    name = f"{label} from step {steps[0]:g} to {steps[-1]:g}: first {line.first:.4g}, last {line.last:.4g}"
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">']
    for tick in y_ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 8}" y="{y(tick) + 4}">{tick:.{decimals}f}</text>')
    for tick in (tick for tick in x_ticks if tick.is_integer() and tick <= x_high):
        parts.append(f'<text class="tick middle" x="{x(tick)}" y="{HEIGHT - BOTTOM + 18}">{tick:g}</text>')
    if level is not None:
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(level)}" y2="{y(level)}"/>')
    drawn = " ".join(f"{x(step)},{y(value)}" for step, value in line.points)
    parts.append(f'<polyline class="line {hue}" points="{drawn}"/>')
    if len(line.points) <= 12:  # few points are shown as such; a single one would be no line at all
        parts += [f'<circle class="dot {hue}" cx="{x(s)}" cy="{y(v)}" r="3"/>' for s, v in line.points]
    parts.append(f'<text class="tick middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}">step</text>')
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


def _spread(low: float, high: float) -> tuple[float, float]:
    """Bounds that are visibly apart, so that a flat curve has an axis around it."""
    if high - low > 1e-4 * max(abs(low), abs(high)):
        return low, high
    room = abs(low) * 0.1 or 1.0
    return low - room, high + room


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
