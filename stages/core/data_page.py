"""data.html from an `Eda`: self-contained, no script, no request to anywhere.

Its pictures are the report's too, in the report's language.
"""

import re
from functools import partial

from markupsafe import Markup

from stages.core import eda as data
from stages.core import plots, wording
from stages.core.eda import Eda, Lengths, What
from stages.core.languages import ENGLISH, Language
from stages.core.pages import environment

HUES: dict[What | None, str] = {"exam questions": "exam", "consults": "consult", None: "base"}
HANGUL = re.compile(r"[ㄱ-ㆎ가-힣]")


def render(eda: Eda, name: str) -> str:
    """The page about the data of the run `name`."""
    templates = environment()
    templates.filters["unbroken"] = wording.unbroken
    templates.globals |= names(ENGLISH)
    return templates.get_template("data.html.j2").render(eda=eda, name=name)


def names(language: Language) -> dict[str, object]:
    """What templates call, in one language."""
    return {
        "data": data,
        "flow_picture": partial(flow_picture, language),
        "length_picture": partial(length_picture, language),
        "letters_picture": partial(letters_picture, language),
        "spread_bar": spread_bar,
        "end_of": end_of,
        "is_korean": is_korean,
    }


def flow_picture(language: Language, eda: Eda, what: What) -> Markup | None:
    """The waterfall of one kind of row. None: no such rows came in."""
    wording = language.modules["wording"]
    moves = data.moves(eda.flow, what)
    if not moves or not moves[0].rows:
        return None
    hues = {"dropped": "drop", "unexplained": "drop", "set aside": "aside"}
    bars = [
        plots.Bar(
            wording.move(move),
            move.low,
            move.high,
            wording.moved(move, data.entered(moves)),
            hues.get(move.kind, HUES[what]),
        )
        for move in moves
    ]
    label = language.translate("%(what)s, from what came in to training rows") % {"what": language.term(what)}
    return Markup(plots.waterfall(bars, label=label))


def length_picture(language: Language, lengths: Lengths) -> Markup:
    bins = [(bin.low, bin.high, bin.rows) for bin in lengths.histogram]
    source, part, unit = map(language.term, (lengths.source, lengths.part, lengths.unit))
    label = language.translate("%(source)s, length of the %(part)s in %(unit)s") % {
        "source": source,
        "part": part,
        "unit": unit,
    }
    hue = HUES[lengths.what]
    return Markup(plots.histogram(bins, label=label, unit=unit, hue=hue, level=lengths.median, words=language.pictures))


def letters_picture(language: Language, eda: Eda) -> Markup:
    """Shares of the right answers by source; of several sources, not their sum. There is at least one."""
    groups = [
        (
            language.term(source.rpartition("/")[2]),
            [(letter, 100 * rows / sum(counts.values())) for letter, rows in counts.items()],
        )
        for source, counts in eda.letters.items()
        if source != data.EXAM
    ]
    label = language.translate("share of each right answer")
    return Markup(plots.grouped_bars(groups, label=label, hue="exam", level=wording.CHANCE))


def spread_bar(lengths: Lengths, end: float) -> Markup:
    """Percentiles 5, 25, 50, 75 and 95 on a scale that ends at `end`."""
    places = (
        lengths.percentile_5,
        lengths.percentile_25,
        lengths.median,
        lengths.percentile_75,
        lengths.percentile_95,
    )
    return Markup(plots.spread_bar(places, end=end, hue=HUES[lengths.what]))


def end_of(found: list[Lengths]) -> float:
    """Where a scale ends on which all the lengths' bars can be compared."""
    return plots.ticks(0, max((lengths.percentile_95 for lengths in found), default=1), 4)[-1]


def is_korean(text: str) -> bool:
    return HANGUL.search(text) is not None
