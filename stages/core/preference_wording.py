"""The preference side and the form of answers, in English. `preference_wording_ko` says the same in Korean, under the
same names. What was not shown is not said.
"""

from stages.core.answer_form import AnswerForm, LengthChange, Trait, TraitShare
from stages.core.figures import decimal, percent, signed
from stages.core.preference_side import LogProbability, PreferenceSide, Quartiles
from stages.core.statistics import Interval, PairedTest, Score, p_text, smallest_shown

PAIR_HEADINGS = ("answer", "log-probability under SFT", "under DPO", "per token under SFT", "under DPO", "tokens")
FORM_HEADINGS = ("of the answers", "SFT", "DPO", "only DPO's", "only SFT's", "from SFT to DPO")
CHOSEN, REJECTED = "chosen", "rejected"
LENGTH = "length in characters (median, middle half)"
TRAITS: dict[Trait, str] = {
    "cut_off": "cut off at the token limit",
    "repeating": "repeating itself",
    "refusing": "declining to answer",
    "empty": "empty",
}
PAIRS_MEAN = (
    "Held-out pairs are pairs that annotators chose between and that DPO was not trained on. DPO's implicit "
    "reward is how far it raised an answer's log-probability above SFT's, times beta; it agrees with the "
    "annotators where the reward of the chosen answer is the higher one. A model that had learned nothing from "
    "them would agree in one half. The log-probability says how likely the model is to write just this answer: "
    "the nearer to 0, the likelier. Tokens are the median, in brackets the middle half of the answers."
)
FORM_MEANS = (
    "Greedy answers to the same held-out consults. An answer repeats itself where more than a fifth of its "
    "stretches of 10 characters stood in it before. It declines where it says so in words we know (“답변드릴 수 "
    "없습니다”); other words are not found, so the true share may be higher; to send a patient to a doctor is not "
    "declining. Form says nothing of whether an answer is right."
)
COLUMNS_MEAN = "Only DPO's and only SFT's are the consults where just that one's answer is so."


def pairs(found: PreferenceSide) -> list[str]:
    """The held-out pairs in sentences."""
    said = [accuracy(found), ties(found), by_consult(found), dropped(found), margin(found)]
    said += [moved(CHOSEN, found.chosen), moved(REJECTED, found.rejected), longer(found)]
    return [sentence for sentence in said if sentence]


def accuracy(found: PreferenceSide) -> str:
    one = found.accuracy
    verdict = f"no difference from a coin shown ({p_text(one.p)})"
    if one.shown:
        side = "more" if one.right > one.wrong else "less"
        verdict = f"{side} often than a coin would ({p_text(one.p)})"
    return (
        f"DPO's reward agrees with the annotators in {counted(one.score)} held-out pair{'s' * (found.pairs != 1)} "
        f"({percent(one.score)}, 95 % interval {within(one.interval)}): {verdict}{too_few(one.right + one.wrong)}."
    )


def ties(found: PreferenceSide) -> str:
    """Empty where there is none."""
    count = found.accuracy.ties
    if not count:
        return ""
    verb = "has a reward that is" if count == 1 else "have rewards that are"
    return f"{count:,} of them {verb} the same for both answers and {'counts' if count == 1 else 'count'} as wrong."


def by_consult(found: PreferenceSide) -> str:
    """Empty where each pair is another consult's."""
    if not found.by_consult:
        return ""
    one, s = found.accuracy, "s" * (found.consults != 1)
    return (
        f"The {found.pairs:,} pairs are of {found.consults:,} consult{s}; pairs of one consult are alike, so interval "
        f"and tests go by consult ({one.right:,} mostly right, {one.wrong:,} mostly wrong)."
    )


def dropped(found: PreferenceSide) -> str:
    """Empty where none was."""
    if not found.dropped:
        return ""
    were = "pair was" if found.dropped == 1 else "pairs were"
    return f"{found.dropped:,} more held-out {were} too long for dpo.max_length, and nothing is known of them."


def margin(found: PreferenceSide) -> str:
    than = "above" if found.margin >= 0 else "below"
    return f"On average the {CHOSEN} answer's reward is {abs(found.margin):.3f} {than} the {REJECTED} one's."


def moved(name: str, side: LogProbability) -> str:
    """What became of the `name`d answers' log-probability, CHOSEN or REJECTED."""
    how = f"by {signed(side.change)} on average"
    if side.before is not None and side.after is not None:
        how = f"from {decimal(side.before)} to {decimal(side.after)} on average"
    test = side.test
    return (
        f"The {name} answers' log-probability moved {how} from SFT to DPO, up for {test.gained:,} and down for "
        f"{test.lost:,} of {test.questions:,}: {verdict(test, 'mostly up', 'mostly down')}."
    )


def longer(found: PreferenceSide) -> str:
    """What a rule that knows nothing but length would be worth; empty where tokens were not counted."""
    if found.longer is None:
        return ""
    return (
        f"Always taking the answer with more tokens would agree with the annotators in {counted(found.longer)} "
        f"({percent(found.longer)})."
    )


def pair_row(name: str, side: LogProbability) -> tuple[str, ...]:
    """A row under PAIR_HEADINGS; dashes where an older run did not write it down."""
    values = (side.before, side.after, side.before_per_token, side.after_per_token)
    return (name, *(decimal(value) for value in values), spread(side.tokens))


def form(found: AnswerForm) -> list[str]:
    """The form of the answers in sentences."""
    said = [identical(found), length(found), *(trait(share) for share in found.shares), without(found)]
    return [sentence for sentence in said if sentence]


def identical(found: AnswerForm) -> str:
    if found.identical is None:
        return f"SFT answered {found.consults:,} held-out consult{'s' * (found.consults != 1)}."
    same = f"to {found.identical:,} of them" if found.identical else "to none of them"
    return (
        f"SFT and DPO answered the same {found.consults:,} held-out consult{'s' * (found.consults != 1)}, {same} with "
        f"the same words."
    )


def length(found: AnswerForm) -> str:
    if found.dpo is None or found.change is None:
        return f"SFT's answers have {found.sft.median:,.0f} characters (median)."
    return (
        f"SFT's answers have {found.sft.median:,.0f} characters and DPO's {found.dpo.median:,.0f} (medians); DPO's is "
        f"the longer one for {found.change.test.gained:,} and the shorter one for {found.change.test.lost:,}: "
        f"{verdict(found.change.test, 'longer', 'shorter')}. {median_change(found.change)}"
    )


def median_change(change: LengthChange) -> str:
    said = f"The median change of one answer is {signed(change.median, 0)} characters"
    if change.interval is None:
        return f"{said}; so few answers give no interval."
    return f"{said} (95 % interval {signed(change.interval.low, 0)} to {signed(change.interval.high, 0)})."


def trait(share: TraitShare) -> str:
    """Empty where no answer of either has the trait."""
    if not share.sft.correct and not (share.dpo and share.dpo.correct):
        return ""
    name = TRAITS[share.trait]
    said = f"{name[0].upper()}{name[1:]}: {counted(share.sft)} of SFT's answers ({percent(share.sft)})"
    if share.dpo is None or share.test is None:
        return f"{said}."
    return (
        f"{said} and {counted(share.dpo)} of DPO's ({percent(share.dpo)}): "
        f"{verdict(share.test, 'more with DPO', 'fewer with DPO')}."
    )


def without(found: AnswerForm) -> str:
    """Which traits no answer has; empty where each is found in one."""
    names = [TRAITS[one.trait] for one in found.shares if not trait(one)]
    return f"Found in no answer: {', '.join(names)}." if names else ""


def form_rows(found: AnswerForm) -> list[tuple[str, ...]]:
    """Rows under FORM_HEADINGS."""
    test = found.change.test if found.change else None
    first = (LENGTH, spread(found.sft), spread(found.dpo), *changed(test, "longer", "shorter"))
    return [
        first,
        *(
            (TRAITS[one.trait], scored(one.sft), scored(one.dpo), *changed(one.test, "more", "fewer"))
            for one in found.shares
        ),
    ]


def changed(test: PairedTest | None, more: str, fewer: str) -> tuple[str, str, str]:
    """The last cells of a row under FORM_HEADINGS."""
    if test is None:
        return ("–", "–", "–")
    return (f"{test.gained:,}", f"{test.lost:,}", verdict(test, more, fewer))


def verdict(test: PairedTest, more: str, fewer: str) -> str:
    if not test.gained and not test.lost:
        return "no change"
    if not test.shown:
        return f"no difference shown ({p_text(test.adjusted)}){too_few(test.gained + test.lost)}"
    return f"{more if test.gained > test.lost else fewer} ({p_text(test.adjusted)})"


def too_few(count: int) -> str:
    """What stands behind a p of `count` pairs of which not even a clean sweep could be shown; empty else."""
    return "; with so few, none could have been shown" if smallest_shown(count) is None else ""


def scored(score: Score | None) -> str:
    """`12 of 40 (30.0 %, 18–45 %)`."""
    return "–" if score is None else f"{counted(score)} ({percent(score)}, {within(score.interval)})"


def counted(score: Score) -> str:
    return f"{score.correct:,} of {score.questions:,}"


def within(interval: Interval) -> str:
    return f"{100 * interval.low:.0f}–{100 * interval.high:.0f} %"


def spread(lengths: Quartiles | None) -> str:
    """`389 (340–452)`: the median and the middle half."""
    return "–" if lengths is None else f"{lengths.median:,.0f} ({lengths.low:,.0f}–{lengths.high:,.0f})"
