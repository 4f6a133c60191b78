"""The README's figures: what the GPU benchmarks measured, from tests/benchmarks/results/*.json to figures/*.svg there.

    python -m tests.benchmarks.figures

The same results make the same bytes. A figure keeps its own colours, light and dark, because no style of a page reaches
into an <img>, and its own background, because not every browser tells an <img> of the page's theme.
"""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from stages.core import plots
from stages.core.plots import Bar
from tests.benchmarks.training_speed import PARAMETERS, VARIANTS

RESULTS = Path(__file__).parent / "results"
MARGIN = 14
WIDTH = plots.WIDTH + 2 * MARGIN
NOTE_CHARACTERS = 64  # a line, in the size below
STYLE = """
svg {
  --paper: #ffffff; --ink: #1c2024; --soft: #5c6670; --rule: #dfe3e7; --track: #f1f3f5;
  --sft: #1f66b0; --dpo: #b4560f; --base: #8b959e;
  font-family: -apple-system, BlinkMacSystemFont, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif;
}
@media (prefers-color-scheme: dark) {
  svg {
    --paper: #15181b; --ink: #e4e7ea; --soft: #9aa4ae; --rule: #3a4148; --track: #20252a;
    --sft: #6fb1f2; --dpo: #f0a05c; --base: #7b858f;
  }
}
.paper { fill: var(--paper); stroke: var(--rule); }
.title { fill: var(--ink); font-size: 15px; font-weight: 600; }
.note { fill: var(--soft); font-size: 12px; }
.label, .number { fill: var(--ink); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.number { font-weight: 600; }
.end { text-anchor: end; }
.track { fill: var(--track); }
.bar { fill: currentColor; }
.sft { color: var(--sft); }
.dpo { color: var(--dpo); }
.neither { color: var(--base); }
.shares .rest { fill: none; }
.speeds .track { fill: none; }
.speeds .room { fill: var(--track); stroke: var(--base); }
"""


@dataclass(frozen=True)
class Speed:
    """One variant of training_speed on one card, in tokens a second without padding; `bound` is in the same unit."""

    variant: str
    device: str
    tokens_per_second: float
    peak_gib: float
    bound: float

    @property
    def card(self) -> str:
        """`H100` of `1 x NVIDIA H100 80GB HBM3`."""
        return self.device.rpartition("NVIDIA ")[2].split()[0]


def main() -> None:
    folder = RESULTS / "figures"
    folder.mkdir(exist_ok=True)
    for name, figure in figures(RESULTS).items():
        (folder / name).write_text(figure, encoding="utf-8")
        print(folder / name)


def figures(results: Path) -> dict[str, str]:
    """File name to SVG, from a folder of the benchmarks' JSON files."""
    loop = json.loads((results / "preference_loop-h100.json").read_text(encoding="utf-8"))
    return {
        "training-speed.svg": sft_figure(speeds(results, "sft")),
        "preference-speed.svg": dpo_figure(speeds(results, "dpo")),
        "preference-loop.svg": loop_figure(loop),
    }


def speeds(results: Path, kind: str) -> list[Speed]:
    """What was measured of `kind` (sft or dpo), in the order of training_speed's variants; failures are left out.

    A variant that was measured in two runs stands there twice.
    """
    files = sorted(results.glob("training_speed-*.json"))
    found = [
        Speed(
            variant=row["variant"],
            device=run["device"],
            tokens_per_second=row["tokens_per_second"],
            peak_gib=row["peak_gib"],
            bound=run["matrix_tflops"] * 1e12 / (4 * PARAMETERS),
        )
        for run in (json.loads(file.read_text(encoding="utf-8")) for file in files)
        for row in run["rows"]
        if "error" not in row and row["kind"] == kind
    ]
    order = list(VARIANTS[kind])
    return sorted(found, key=lambda row: (order.index(row.variant), row.device, row.tokens_per_second))


def sft_figure(rows: Sequence[Speed]) -> str:
    note = (
        "Tokens without padding. Gemma-2-2b's shape, random weights, NF4, LoRA on all linear layers; rows as long as "
        "the real ones. A line for each run that measured a variant."
    )
    return speed_figure("SFT: tokens a second, peak memory", note, rows, "sft")


def dpo_figure(rows: Sequence[Speed]) -> str:
    note = (
        "Tokens without padding. Gemma-2-2b's shape, random weights, NF4, LoRA on all linear layers; pairs of 300 to "
        "600 tokens a side. The reference's log-probabilities: in every step with TRL's defaults; else once before "
        "training, not counted here. A prompt counts with each of its two sides, in the bound too; the padding-free "
        "variants compute it once."
    )
    return speed_figure("DPO: tokens a second, peak memory", note, rows, "dpo")


def speed_figure(title: str, note: str, rows: Sequence[Speed], hue: str) -> str:
    """A filled bar for what was measured, and an outlined one from there to the card's bound."""
    several_cards = len({row.card for row in rows}) > 1
    bars = [
        Bar(
            label=f"{row.variant} ({row.card})" if several_cards else row.variant,
            low=row.tokens_per_second,  # what a waterfall draws before its bar is the filled one here
            high=max(row.bound, row.tokens_per_second),
            number=f"{row.tokens_per_second:,.0f} · {row.peak_gib:.1f} GiB",
            hue="room",
        )
        for row in rows
    ]
    notes = [
        note,
        f"The outline ends at the bound: the measured rate of matrix products over 4 x {PARAMETERS / 1e9:g} billion "
        "FLOP a token. In tokens a second:",
    ]
    for device in sorted({row.device for row in rows}):
        notes.append(f"{device}: {extent([row.bound for row in rows if row.device == device])}")
    return svg(title, notes, plots.waterfall(bars, label=title), f"speeds {hue}")


def extent(values: Sequence[float]) -> str:
    """Where all of them lie, as it is printed; a bound is measured anew in every run."""
    low, high = (f"{value:,.0f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def loop_figure(found: dict[str, Any]) -> str:
    """Which of two fresh answers was preferred, as stairs from 0 to all judged comparisons, greedy and sampled."""
    title = "Fresh answers: is DPO's or SFT's preferred?"
    bars: list[Bar] = []
    rates = []
    for way, fresh in found["fresh"].items():
        counts = fresh["winrate"]
        judged = counts["judged"]
        preferred = counts["dpo"], counts["tie"] + counts["both_bad"], counts["sft"]
        low = 0
        for what, hue, count in zip(
            ("DPO preferred", "neither", "SFT preferred"), ("dpo", "neither", "sft"), preferred, strict=True
        ):
            number = f"{count} of {judged} · {100 * count / judged:.0f} %"
            bars.append(Bar(f"{way}: {what}", low / judged, (low + count) / judged, number, hue))
            low += count
        rate, *interval = (f"{100 * counts[key]:.0f}" for key in ("win_rate", "low", "high"))
        rates.append(f"{way}: {rate} % (95 % interval {' to '.join(interval)}), n = {judged}")
    counts = found["fresh"]["greedy"]["winrate"]
    about = (
        f"Answers to {counts['comparisons'] + counts['identical']} held-out consults, judged in pairs, blind, by the "
        "simulated annotators (a rule with seeded disagreement) whose labels DPO learned from. Gemma 3 270M on "
        f"{found['device']}. DPO's win rate, where neither counts half:"
    )
    return svg(title, [about, *rates], plots.waterfall(bars, label=title), "shares")


def svg(title: str, notes: Sequence[str], chart: str, looks: str) -> str:
    """A picture that stands alone: a chart of stages/core/plots.py between a title of one line and notes.

    Args:
        notes: paragraphs.
        looks: CSS classes of the whole, which tell what the chart's parts look like.
    """
    inner = ElementTree.fromstring(chart)
    height = int(inner.attrib["viewBox"].split()[3])
    top = MARGIN + 26
    bottom = top + height + 10
    lines = [line for note in notes for line in textwrap.wrap(note, NOTE_CHARACTERS)]
    whole = bottom + 16 * len(lines) + MARGIN
    inner.attrib.update(x=str(MARGIN), y=str(top), width=str(plots.WIDTH), height=str(height))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="{looks}" width="{WIDTH}" height="{whole}" '
            f'viewBox="0 0 {WIDTH} {whole}" role="img" aria-label="{escape(inner.attrib["aria-label"])}">',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{whole - 1}" rx="6"/>',
            f'<text class="title" x="{MARGIN}" y="{MARGIN + 14}">{escape(title)}</text>',
            *(
                f'<text class="note" x="{MARGIN}" y="{bottom + 12 + 16 * number}">{escape(line)}</text>'
                for number, line in enumerate(lines)
            ),
            ElementTree.tostring(inner, encoding="unicode"),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    main()
