"""agreement.html from an `Agreement`: self-contained, no script, no request to anywhere, no patient's text.

Its pictures are the report's too.
"""

from collections.abc import Sequence

from markupsafe import Markup

from stages.core import agreement_wording as said
from stages.core import plots, wording
from stages.core.agreement import VALUES, Agreement, Alpha, Annotator, Kappa, Share
from stages.core.agreement_wording import FIRM, TENTATIVE
from stages.core.pages import environment
from stages.core.plots import Bar, Place


def render(agreement: Agreement, name: str) -> str:
    """The page about the responses of the run `name`."""
    templates = environment()
    templates.filters["unbroken"] = wording.unbroken
    templates.globals |= TEMPLATE_NAMES
    return templates.get_template("agreement.html.j2").render(agreement=agreement, name=name)


def alpha_picture(alpha: Alpha) -> Markup | None:
    """Alpha on its scale, which begins at 0 or as far below as there is need. None: not defined."""
    if alpha.value is None:
        return None
    if alpha.low is None or alpha.high is None:
        row = Place("alpha", (alpha.value,), said.signed(alpha.value), "exam")
    else:
        number = f"{said.signed(alpha.value)} ({said.signed(alpha.low)} to {said.signed(alpha.high)})"
        row = Place("alpha, 95 % interval", (alpha.low, alpha.value, alpha.high), number, "exam")
    begin = next((tick for tick in (0.0, -0.25, -0.5) if tick <= min(row.places)), -1.0)
    scale = [(0.0, "0 chance"), (TENTATIVE, f"{TENTATIVE}"), (FIRM, f"{FIRM}"), (1.0, "1")]
    if begin < 0:
        scale.insert(0, (begin, said.signed(begin)))
    return Markup(plots.intervals([row], label="Krippendorff's alpha", scale=scale, levels=(TENTATIVE, FIRM)))


def shares_picture(rows: Sequence[tuple[str, str, Share]], label: str, level: float | None = 0.5) -> Markup | None:
    """Shares with their intervals on a scale of percent; rows are name, hue and share. None: nothing was counted."""
    drawn = [
        Place(name, (100 * share.low, 100 * share.count / share.of, 100 * share.high), said.counted(share), hue)
        for name, hue, share in rows
        if share.low is not None and share.high is not None
    ]
    levels = () if level is None else (100 * level,)
    return Markup(plots.intervals(drawn, label=label, scale=plots.PERCENT, levels=levels)) if drawn else None


def by_annotator(found: Agreement, what: str, everyone: Share | None) -> list[tuple[str, str, Share]]:
    """Rows of a picture: each annotator's share, and that of all where there are several."""
    rows = [(one.name, hue(one), _share_of(one, what)) for one in found.annotators]
    return [*rows, ("all", "exam", everyone)] if everyone is not None and len(rows) > 1 else rows


def _share_of(one: Annotator, what: str) -> Share:
    shares = {
        "majority": one.with_majority,
        "consistency": one.repeats.same,
        "side": one.side_a,
        "longer": one.longer,
    }
    return shares[what]


def pace_picture(found: Agreement) -> Markup | None:
    """How the time between submissions is spread. None: nobody's is known."""
    rows = [
        Place(one.name, one.pace.percentiles, f"{said.seconds(one.pace.percentiles[2])} ({one.pace.gaps})", hue(one))
        for one in found.annotators
        if one.pace and one.pace.percentiles
    ]
    if not rows:
        return None
    end = max(row.places[-1] for row in rows)
    scale = [(tick, said.seconds(tick) if tick else "0") for tick in plots.ticks(0, max(end, 1), 4)]
    return Markup(plots.intervals(rows, label="time between submissions", scale=scale))


def pattern_picture(found: Agreement) -> Markup | None:
    """Comparisons by how their votes fell. None: nothing was judged."""
    bars = [
        Bar(
            said.fell(votes),
            0,
            votes.comparisons,
            f"{votes.comparisons:,} ({wording.share(votes.comparisons, found.judged)})",
            "base" if votes.of == 1 else "exam" if 2 * votes.same > votes.of else "drop",
        )
        for votes in found.pattern
    ]
    return Markup(plots.waterfall(bars, label="comparisons by how their votes fell")) if bars else None


def hue(one: Annotator) -> str:
    return "base" if one.is_simulated else "consult"


def kappa_of(found: Agreement, one: str, other: str) -> Kappa:
    return next(kappa for kappa in found.kappas if {kappa.one, kappa.other} == {one, other})


TEMPLATE_NAMES: dict[str, object] = {
    "wording": wording,
    "said": said,
    "VALUES": VALUES,
    "alpha_picture": alpha_picture,
    "shares_picture": shares_picture,
    "by_annotator": by_annotator,
    "pace_picture": pace_picture,
    "pattern_picture": pattern_picture,
    "kappa_of": kappa_of,
}
