"""agreement.html from an `Agreement`: self-contained, no script, no request to anywhere, no patient's text.

Its pictures are the report's too, in the report's language.
"""

from collections.abc import Sequence
from functools import partial

from markupsafe import Markup

from stages.core import plots, wording
from stages.core.agreement import VALUES, Agreement, Alpha, Annotator, Kappa, Share
from stages.core.agreement_cases import FIRM, TENTATIVE, signed
from stages.core.languages import ENGLISH, Language
from stages.core.pages import environment
from stages.core.plots import Bar, Place


def render(agreement: Agreement, name: str) -> str:
    """The page about the responses of the run `name`."""
    templates = environment()
    templates.filters["unbroken"] = wording.unbroken
    templates.globals |= names(ENGLISH)
    return templates.get_template("agreement.html.j2").render(agreement=agreement, name=name)


def names(language: Language) -> dict[str, object]:
    """What templates call, in one language."""
    return {
        "VALUES": VALUES,
        "alpha_picture": partial(alpha_picture, language),
        "shares_picture": partial(shares_picture, language),
        "by_annotator": partial(by_annotator, language),
        "pace_picture": partial(pace_picture, language),
        "pattern_picture": partial(pattern_picture, language),
        "kappa_of": kappa_of,
    }


def alpha_picture(language: Language, alpha: Alpha) -> Markup | None:
    """Alpha on its scale, which begins at 0 or as far below as there is need. None: not defined."""
    if alpha.value is None:
        return None
    if alpha.low is None or alpha.high is None:
        row = Place(language.translate("alpha"), (alpha.value,), signed(alpha.value), "exam")
    else:
        number = language.translate("%(value)s (%(low)s to %(high)s)") % {
            "value": signed(alpha.value),
            "low": signed(alpha.low),
            "high": signed(alpha.high),
        }
        row = Place(language.translate("alpha, 95 % interval"), (alpha.low, alpha.value, alpha.high), number, "exam")
    begin = next((tick for tick in (0.0, -0.25, -0.5) if tick <= min(row.places)), -1.0)
    scale = [(0.0, language.translate("0 chance")), (TENTATIVE, f"{TENTATIVE}"), (FIRM, f"{FIRM}"), (1.0, "1")]
    if begin < 0:
        scale.insert(0, (begin, signed(begin)))
    label = language.translate("Krippendorff's alpha")
    return Markup(plots.intervals([row], label=label, scale=scale, levels=(TENTATIVE, FIRM)))


def shares_picture(
    language: Language, rows: Sequence[tuple[str, str, Share]], label: str, level: float | None = 0.5
) -> Markup | None:
    """Shares with their intervals on a scale of percent; rows are name, hue and share. None: nothing was counted."""
    said = language.modules["said"]
    drawn = [
        Place(name, (100 * share.low, 100 * share.count / share.of, 100 * share.high), said.counted(share), hue)
        for name, hue, share in rows
        if share.low is not None and share.high is not None
    ]
    levels = () if level is None else (100 * level,)
    return Markup(plots.intervals(drawn, label=label, scale=plots.PERCENT, levels=levels)) if drawn else None


def by_annotator(
    language: Language, found: Agreement, what: str, everyone: Share | None
) -> list[tuple[str, str, Share]]:
    """Rows of a picture: each annotator's share, and that of all where there are several."""
    rows = [(one.name, hue(one), _share_of(one, what)) for one in found.annotators]
    if everyone is None or len(rows) < 2:
        return rows
    return [*rows, (language.translate("all"), "exam", everyone)]


def _share_of(one: Annotator, what: str) -> Share:
    shares = {
        "majority": one.with_majority,
        "consistency": one.repeats.same,
        "side": one.side_a,
        "longer": one.longer,
    }
    return shares[what]


def pace_picture(language: Language, found: Agreement) -> Markup | None:
    """How the time between submissions is spread. None: nobody's is known."""
    said = language.modules["said"]
    rows = [
        Place(one.name, one.pace.percentiles, f"{said.seconds(one.pace.percentiles[2])} ({one.pace.gaps})", hue(one))
        for one in found.annotators
        if one.pace and one.pace.percentiles
    ]
    if not rows:
        return None
    end = max(row.places[-1] for row in rows)
    scale = [(tick, said.seconds(tick) if tick else "0") for tick in plots.ticks(0, max(end, 1), 4)]
    return Markup(plots.intervals(rows, label=language.translate("time between submissions"), scale=scale))


def pattern_picture(language: Language, found: Agreement) -> Markup | None:
    """Comparisons by how their votes fell. None: nothing was judged."""
    said, wording = language.modules["said"], language.modules["wording"]
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
    label = language.translate("comparisons by how their votes fell")
    return Markup(plots.waterfall(bars, label=label)) if bars else None


def hue(one: Annotator) -> str:
    return "base" if one.is_simulated else "consult"


def kappa_of(found: Agreement, one: str, other: str) -> Kappa:
    return next(kappa for kappa in found.kappas if {kappa.one, kappa.other} == {one, other})
