"""The report's own pictures, each in the page's language, as inline SVG (core/plots.py)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from stages.core import findings, plots
from stages.core.figures import signed
from stages.core.findings import Contrast
from stages.core.languages import Language
from stages.core.plots import Contrasted, Difference
from stages.core.records import Checkpoint
from stages.core.statistics import PairedTest


def forest(language: Language, contrasts: Sequence[Contrast]) -> Markup:
    """Every comparison of two checkpoints, by subset and over all questions, in points with 95 % intervals."""
    groups = [
        Contrasted(
            f"{names[contrast.before]} → {names[contrast.after]}",
            "base" if (contrast.before, contrast.after) == ("base", "dpo") else contrast.after,
            (
                *(difference(language, language.term(name), test) for name, test in contrast.by_subset.items()),
                difference(language, language.term(findings.ALL), contrast.overall, is_all=True),
            ),
        )
        for names in [language.modules["wording"].NAMES]
        for contrast in contrasts
    ]
    return Markup(
        plots.forest(
            groups,
            label=language.translate("Change in right answers"),
            unit=language.translate("points (interval)"),
            worse=language.translate("fewer right"),
            better=language.translate("more right"),
        )
    )


def difference(language: Language, label: str, test: PairedTest, *, is_all: bool = False) -> Difference:
    low, high = test.interval.low, test.interval.high
    number = language.modules["wording"].points(test)
    shown = f"{number} ({signed(low, 1)} … {signed(high, 1)})"
    return Difference(label, low, test.points, high, shown, test.questions, is_all)


@dataclass(frozen=True)
class Chart:
    """A picture of the training log: a key over the steps, what it shows, the level drawn for comparison, and a second
    key on the same scale with its own name. Names are terms, which each language has its own word for.
    """

    key: str
    label: str
    level: float | None = None
    beside: str | None = None
    beside_label: str = ""


SFT_CHARTS = (Chart("loss", "loss"),)


def charts(
    language: Language, logged: Sequence[dict[str, object]], hue: Checkpoint, wanted: Sequence[Chart]
) -> list[dict[str, Any]]:
    """Each with its curves; no picture where nothing was logged."""
    found = []
    for chart in wanted:
        line = plots.curve(logged, chart.key)
        beside = plots.curve(logged, chart.beside) if chart.beside else None
        picture = None
        if line.points:
            svg = plots.line_chart(
                line,
                label=language.term(chart.label),
                hue=hue,
                level=chart.level,
                beside=beside,
                beside_label=language.term(chart.beside_label),
                words=language.pictures,
            )
            picture = Markup(svg)
        shown = beside if beside and beside.points else None
        found.append({**asdict(chart), "curve": line, "beside": shown, "picture": picture})
    return found


def win_rate(language: Language, winrate: findings.Winrate) -> Markup:
    wording = language.modules["wording"]
    low, win_rate, high = (100 * share for share in (winrate.low, winrate.win_rate, winrate.high))
    row = plots.Place(wording.DPO_BETTER, (low, win_rate, high), f"{win_rate:.1f} % ({low:.1f}–{high:.1f} %)", "dpo")
    return Markup(plots.intervals([row], label=wording.WIN_RATE, scale=plots.PERCENT, levels=(50,)))


def dpo_charts(proof: findings.Proof) -> list[Chart]:
    return [
        Chart("loss", "loss", proof.expected_loss),
        Chart("rewards/margins", "reward margin, chosen minus rejected", 0.0, "eval_rewards/margins", "held out"),
        Chart(
            "rewards/accuracies",
            "share of pairs with chosen above rejected",
            0.5,
            "eval_rewards/accuracies",
            "held out",
        ),
        Chart("logps/chosen", "log-probability of the chosen answers", None, "logps/rejected", "rejected"),
    ]
