"""What an `Agreement` says, in sentences for agreement.html and the report. What was not shown is not said."""

from collections.abc import Mapping

from stages.core import agreement_cases as cases
from stages.core import wording
from stages.core.agreement import FEWEST_GAPS, Agreement, Alpha, Fell, Hurry, Lean, Remark, Share
from stages.core.agreement_cases import FIRM, TENTATIVE, signed
from stages.core.records import Choice, Flag
from stages.core.statistics import LEVEL, p_text

VALUE_NAMES: dict[Choice, str] = {"a": "A better", "b": "B better", "tie": "tie", "both_bad": "both bad"}
FLAG_NAMES: dict[Flag, str] = {
    "missed_emergency": "missed emergency",
    "dangerous_treatment": "dangerous treatment",
    "wrong_information": "wrong information",
    "false_certainty": "false certainty",
    "discourages_care": "discourages care",
    "personal_data": "personal data",
    "other": "other",
}
VERDICTS: dict[cases.Verdict, str] = {
    "too few": "too few comparisons to conclude anything",
    "chance": "no agreement beyond chance shown",
    "below chance": "they differ more than by chance",
    "firm": f"beyond chance, and firm by Krippendorff's {FIRM}",
    "tentative": f"beyond chance, and enough for Krippendorff's {TENTATIVE}",
    "below tentative": (
        f"more than chance, and less than the {TENTATIVE} that Krippendorff asks for, so single votes say little"
    ),
    "open": f"more than chance; whether it reaches Krippendorff's {TENTATIVE} is not shown",
}
NO_INTERVALS: dict[cases.NoInterval, str] = {
    "one comparison": "one comparison gives no interval, and shows next to nothing",
    "nobody differed": (
        "where nobody differed, resampling gives no interval, which does not prove that nobody ever will"
    ),
    "too alike": "so few of the responses differ in value that resampling gives no interval",
}
SIZES: dict[cases.Size, str] = {
    "large": "large",
    "medium": "medium",
    "small": "small",
    "under small": "under what Cohen calls small",
}
MEANS = (
    "Alpha compares how often annotators of one comparison differed with how often they would differ if the same "
    "answers were dealt out at random: 1 is no difference at all, 0 is what chance would give, and below 0 they differ "
    "more than by chance. Krippendorff asks for 0.8 where firm conclusions rest on single judgements and 0.667 for "
    "tentative ones."
)
MEANS_NOT = (
    "It does not say that the chosen answers are right: people can agree and be wrong, and good doctors can differ "
    "where two answers are equally good. It says nothing of one annotator alone; that is what the table is for."
)
RULE = (
    "Somebody is named where they say less often what the majority of the other annotators says, answer fewer of their "
    "own repeats the same, or choose A more or less often than the others pooled (Fisher's exact test, two-sided, "
    "p < 0.05 after Holm's correction over the annotators, for each of the three; of A the share must differ from one "
    "half as well); or where their median time between submissions is under a third of the others' "
    f"(at least {FEWEST_GAPS} such times on both sides; simulated annotators are not judged by it). To be named is a "
    "reason to look, not a verdict, and nobody's responses are dropped for it. Each of the tests names somebody by "
    "mere chance in up to one of twenty such runs."
)


def lead(found: Agreement) -> list[str]:
    """The page in a few sentences."""
    everyone = len(found.annotators)
    judged = "all" if found.judged == found.comparisons else f"{found.judged:,} of"
    names = sorted(found.far_off)
    off = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} far off the others; see below in what."
    return [
        f"{wording.count(everyone, 'annotator')} gave {wording.count(found.responses, 'response')} to {judged} "
        f"{wording.count(found.comparisons, 'comparison')}.",
        agreed(found.alpha),
        *([off] if names else far_off(found)),
    ]


def agreed(alpha: Alpha) -> str:
    """Alpha in words."""
    if not alpha.comparisons:
        return "No comparison was judged by two annotators, so how far they agree is not known."
    on = f"on {wording.count(alpha.comparisons, 'comparison')} that two or more of them judged"
    if alpha.same is None or alpha.by_chance is None or alpha.value is None:
        return f"All {alpha.responses:,} responses {on} are the same value, so alpha is not defined."
    said = (
        f"Two annotators of one comparison said the same in {100 * alpha.same:.1f} % of pairs, {on}; by chance "
        f"it would be {100 * alpha.by_chance:.1f} %. Krippendorff's alpha is {signed(alpha.value)}"
    )
    if alpha.low is None or alpha.high is None:
        return f"{said}; {NO_INTERVALS[cases.no_interval(alpha)]}."
    verdict = VERDICTS[cases.verdict(alpha.low, alpha.high, alpha.comparisons)]
    return f"{said} (95 % interval {signed(alpha.low)} to {signed(alpha.high)}): {verdict}."


def caution(alpha: Alpha) -> str:
    """What the interval cannot be trusted with; empty where there is nothing to say."""
    if alpha.low is None:
        return ""
    found = []
    if alpha.comparisons < cases.FEW:
        found.append(f"An interval from {alpha.comparisons} comparisons is rather too short than too long.")
    if alpha.one_valued:
        found.append(f"{alpha.one_valued:,} resamples had one value only, for which alpha is not defined; left out.")
    return " ".join(found)


def consistent(found: Agreement) -> str:
    """Self-consistency in words."""
    same = found.repeats.same
    if not same.of:
        return "No hidden repeat was answered, so how far annotators agree with themselves is not known."
    always_a, always_b, p = found.repeats.always_a, found.repeats.always_b, found.repeats.p
    flips = always_a + always_b
    said = (
        f"Comparisons shown once more with their sides swapped were answered the same in {counted(same)}, "
        f"{within(same)}. Agreement with others can hardly be better than agreement with oneself."
    )
    if not flips:
        return f"{said} Nobody chose the same side twice."
    lean = f"a lean to {'A' if always_a > always_b else 'B'} shown" if p < LEVEL else "no lean to a side shown"
    return (
        f"{said} In {flips:,} of {same.of:,} the side stayed the same and the text did not, {always_a:,} × A and "
        f"{always_b:,} × B: {lean} ({p_text(p)}){_too_few(flips)}."
    )


def sided(lean: Lean) -> str:
    """Whether A is chosen more than B, in words. Which answer is A was drawn by seed."""
    if not lean.decided:
        return "No response chose an answer, so a lean to a side cannot be seen."
    side = "A" if cases.leans_to(lean) else "B"
    return f"A was chosen in {_leaning(lean, f'a lean to {side} shown', 'no lean to a side shown', 'A')}"


def lengthy(found: Agreement) -> str:
    """Whether the longer answer is chosen, in words."""
    length = found.length
    equal = f" {wording.count(length.equal, 'response')} chose between answers of the same length." * bool(length.equal)
    if length.h is None or length.median_difference is None:
        return f"No response chose between answers of different length.{equal}"
    side = "longer" if cases.leans_to(length.longer) else "shorter"
    said = _leaning(length.longer, f"a lean to the {side} answer shown", "no lean to length shown", "the longer one")
    longer = "longer" if length.median_difference >= 0 else "shorter"
    could = not cases.is_too_few(length.longer.comparisons.of)  # an effect size of two responses says nothing
    effect = f" Cohen's h against one half is {signed(length.h)} ({SIZES[cases.size(length.h)]})." if could else ""
    return (
        f"The longer answer was chosen in {said}{effect} The chosen answer is "
        f"{abs(length.median_difference):,.0f} characters {longer} than the other (median).{equal}"
    )


def _leaning(lean: Lean, shown: str, not_shown: str, which: str) -> str:
    by_comparison = lean.comparisons
    decided = wording.count(lean.decided, "response")
    said = f"{lean.chosen:,} of {decided} that chose ({wording.share(lean.chosen, lean.decided)})"
    if not by_comparison.of or by_comparison.p is None:
        return f"{said}; no comparison has more votes for one answer than for the other."
    verdict = shown if by_comparison.shown else not_shown
    tested = f"{verdict} ({p_text(by_comparison.p)}){_too_few(by_comparison.of)}."
    if by_comparison.of == lean.decided:  # one response each
        return f"{said}: {tested}"
    return f"{said}. Comparison by comparison, {which} got more votes in {counted(by_comparison)}: {tested}"


def _too_few(of: int) -> str:
    return "; with so few, none could have been shown" if cases.is_too_few(of) else ""


def flagged(found: Agreement) -> str:
    """Safety flags in words."""
    flags = found.flags
    if not flags.comparisons:
        return "No answer was marked as unsafe."
    several = (
        f", {flags.by_several:,} by more than one person" if flags.by_several else ", none by more than one person"
    )
    reasons = ", ".join(f"{FLAG_NAMES[reason]} {count:,}" for reason, count in flags.reasons.items())
    marked = wording.count(flags.comparisons, "comparison")
    return f"{marked} with an answer marked as unsafe{several}. Reasons given: {reasons}."


def fell(votes: Fell) -> str:
    """The label of a bar of the picture of votes."""
    if votes.of == 1:
        return "judged by one"
    if votes.same == votes.of:
        return f"all {votes.of} the same"
    return f"{votes.same} of {votes.of} the same{'' if 2 * votes.same > votes.of else ': no majority'}"


def votes(values: Mapping[Choice, int]) -> str:
    """`A better 2, tie 1`."""
    return ", ".join(f"{VALUE_NAMES[value]} {count}" for value, count in values.items() if count)


def undecided(found: Agreement) -> str:
    twice = found.alpha.comparisons
    if not twice:
        return "None was judged twice."
    if not found.undecided:
        return f"None of {wording.count(twice, 'comparison')} that two or more judged."
    settled = sum(one.adjudicated is not None for one in found.undecided)
    return (
        f"{len(found.undecided):,} of {wording.count(twice, 'comparison')} that two or more judged without a "
        f"majority; {settled:,} decided by an adjudicator."
    )


def far_off(found: Agreement) -> list[str]:
    """A sentence for each thing that somebody is named for; one sentence where nobody is."""
    named = [*(_remark(one) for one in found.remarks), *(_hurry(one) for one in found.hurries)]
    if named:
        return named
    if len(found.annotators) < 2:
        return ["With one annotator there is nobody to compare with."]
    return ["No annotator is shown to be far off the others."]


def _remark(one: Remark) -> str:
    match one.about:
        case "majority":
            what = "says what the majority of the others says"
        case "consistency":
            what = "answers a repeat the same"
        case "side":
            what = "chooses A"
    return f"{one.annotator} {what} in {counted(one.own)}, the others in {counted(one.others)}: {p_text(one.p)}."


def _hurry(one: Hurry) -> str:
    return (
        f"{one.annotator} takes {seconds(one.median)} for an answer (median of {one.gaps}), the others "
        f"{seconds(one.others_median)} (median of {one.others_gaps})."
    )


def simulated(found: Agreement) -> str:
    return wording.simulated_among([one.name for one in found.annotators])


def counted(share: Share) -> str:
    """`12 of 40 (30.0 %)`."""
    return f"{share.count:,} of {share.of:,} ({wording.share(share.count, share.of)})" if share.of else "none"


def within(share: Share) -> str:
    """`95 % interval 18–45 %`."""
    if share.low is None or share.high is None:
        return "no interval"
    return f"95 % interval {100 * share.low:.0f}–{100 * share.high:.0f} %"


def seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s" if value < 120 else f"{value / 60:.1f} min"
