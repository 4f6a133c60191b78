"""The report's sentences in English. They follow the numbers: what was not shown is not said.

`wording_ko` says the same in Korean, in functions of the same names; what both are made of is `figures`.
"""

from collections.abc import Sequence

from stages.core import eda as data
from stages.core import figures
from stages.core.eda import Eda, FlowStep, Lengths, Move
from stages.core.figures import CHANCE as CHANCE
from stages.core.figures import TASK_TOKENS
from stages.core.figures import VALUES as VALUES
from stages.core.figures import markdown as markdown
from stages.core.figures import number as number
from stages.core.figures import points as points
from stages.core.figures import scored as scored
from stages.core.figures import seen as seen
from stages.core.figures import unbroken as unbroken
from stages.core.findings import (
    Contrast,
    Generated,
    LabelLengths,
    Labels,
    Proof,
    Reason,
    Row,
    Settings,
    Uneven,
    Winrate,
)
from stages.core.learning import (
    ChosenFell,
    HeldOutAtChance,
    HeldOutStayed,
    LossNeverFell,
    LossRises,
    NoneHeldOut,
    NotLookedAt,
    PolicyAgrees,
    Remark,
)
from stages.core.plots import Curve
from stages.core.preference_side import Accuracy
from stages.core.statistics import PairedTest, p_text, smallest_shown

NAMES = {"base": "base", "sft": "SFT", "dpo": "DPO"}
NOUNS = {"exam questions": "exam question", "consults": "consult"}
EXTENTS = (  # under a table of lengths with bars
    "A row is the whole user turn (instruction, patient information or choices, question) and the answer. In the bar "
    "under the numbers the dot is the median, the box holds the middle half of the rows and the line nine of ten; "
    "the bars of a column share one scale."
)
WIN_RATE, DPO_BETTER = "DPO’s win rate", "DPO’s answer better"
COMPARED: dict[figures.Compared, str] = {
    "train": "exam questions, train",
    "dev": "exam questions, dev",
    "test": "exam questions, test",
    "questions": "exam questions, together",
    "consults": "consults",
    "shortest": "shortest consult, characters",
    "median": "median consult, characters",
    "longest": "longest consult, characters",
}


def summary(
    base: str,
    rows: int,
    preferences: int | None,
    overall: Row,
    contrasts: Sequence[Contrast],
    winrate: Winrate | None,
    annotators: Sequence[str] = (),
    heldout: Accuracy | None = None,
) -> list[str]:
    """The run in three sentences: what was trained on what, what the exam says, what the preference side says.

    Args:
        preferences: that DPO was trained on, chosen by `annotators`. None: DPO was not evaluated.
        heldout: held-out preferences that DPO's model agrees with. None: not measured.
    """
    return [
        _trained(base, rows, preferences, annotators),
        _examined(overall, contrasts),
        _preference_side(overall, winrate, annotators, heldout),
    ]


def _trained(base: str, rows: int, preferences: int | None, annotators: Sequence[str]) -> str:
    by = {
        "people": "",
        "some": ", some of them by simulated annotators",
        "simulated": " that simulated annotators gave, no human",
    }[figures.annotated(annotators)]
    then = "" if preferences is None else f", then trained on {count(preferences, 'preference')} (DPO){by}"
    return f"{base} was fine-tuned on {count(rows, 'instruction row')} (SFT){then}."


def _examined(overall: Row, contrasts: Sequence[Contrast]) -> str:
    found = figures.exam_result(overall, contrasts)
    best, last = found.best, found.last

    def against(contrast: Contrast) -> str:
        before, after = contrast.before, contrast.after
        return (
            f"{NAMES[after]} got {found.percent[after]:.2f} % right against {NAMES[before]}'s "
            f"{found.percent[before]:.2f} %: {verdict(contrast.overall)}"
        )

    means = ""
    if not best.overall.shown:
        what = "SFT" if last and best.after == "sft" else "training"  # what DPO did stands behind it
        means = f", so these answers do not tell whether {what} helped or harmed"
    then = f"; {against(last)}" if last else ""
    but = f"; but {', and '.join(cautions(found))}" if cautions(found) else ""
    return f"On the same {count(overall.questions, 'exam question')} {against(best)}{means}{then}{but}."


def cautions(found: figures.ExamResult) -> list[str]:
    """What keeps a difference from being one of medicine."""
    said = []
    if found.formless:
        checkpoint, percent = found.formless
        said.append(f"{percent:.1f} % of {NAMES[checkpoint]}'s answers named no letter, which counts as wrong")
    if found.guess:
        letter, percent = found.guess
        said.append(f"no checkpoint is shown to do better than always answering {letter} ({percent:.2f} %)")
    return said


def _preference_side(overall: Row, winrate: Winrate | None, annotators: Sequence[str], heldout: Accuracy | None) -> str:
    if winrate:
        return preferred(winrate)
    if heldout:
        by = "simulated annotators" if figures.annotated(annotators) == "simulated" else "the annotators"
        words = {"better": "more often than", "worse": "less often than", "not shown": "no difference shown from"}
        return (
            f"DPO's model holds the answer that {by} chose for the better one in {heldout.score.percent:.1f} % of "
            f"{count(heldout.score.questions, 'held-out preference')} (95 % interval "
            f"{figures.bounds(heldout.interval)} %): {words[figures.against_chance(heldout)]} the 50 % of chance "
            f"({p_text(heldout.p)})."
        )
    if figures.has_dpo(overall):
        return "Nobody compared DPO's answers with SFT's, so whether they are preferred is not known."
    return "No checkpoint that was trained on preferences was evaluated."


def verdict(test: PairedTest) -> str:
    """`better (p = 0.003)`, `worse (p < 0.001)` or `no difference shown (p = 0.41)`; p is the adjusted one."""
    return test.verdict


def simulated(labels: Labels | None) -> str:
    """What must stand wherever labels or DPO appear; empty where every annotator is a person."""
    return simulated_among(list(labels.annotators)) if labels else ""


def simulated_among(annotators: Sequence[str]) -> str:
    """What must stand wherever the annotators' judgements appear; empty where every one of them is a person."""
    match figures.annotated(annotators):
        case "people":
            return ""
        case "simulated":
            return "Simulated annotators: a rule with seeded disagreement, no human judged these answers."
        case "some":
            names = ", ".join(figures.simulated_names(annotators))
            return (
                f"Some annotators are simulated ({names}): their labels are a rule with seeded disagreement, no human "
                f"gave them."
            )


def resolution(test: PairedTest) -> str:
    """What difference so many questions could show."""
    could = figures.resolution(test)
    found = f"{could.changed:,} of {could.questions:,} questions changed sides"
    if could.least is None:
        return f"{found}: with so few, no outcome could have been shown."
    said = (
        f"{found}: a net change of {could.least:,} ({could.points:.1f} points) is the least that could "
        f"have been shown, before correction."
    )
    if could.detectable is not None:
        said += f" A true difference of {could.detectable:.1f} points would show in 80 of 100 such exams, corrected too"
        said += f"; the one that was seen, with {could.needed:,} questions." if could.needed is not None else "."
    return said


def limits(overall: Row, simulated: str, answers_shown: int, winrate: Winrate | None) -> list[str]:
    """What a reader must not conclude. `simulated`: what is said of those who gave the labels, as `simulated_among`."""
    base = overall.cells[0].score
    said: dict[figures.Limit, str] = {
        "device": (
            "These models are not a medical device. Nothing they write may be used to diagnose, treat or advise anyone."
        ),
        "licence": (
            "KorMedMCQA is licensed CC BY-NC 2.0: no commercial use; whether that binds models trained on it is for "
            "you to settle before you pass them on."
        ),
        "accuracy": (
            "Multiple-choice accuracy measures exam knowledge. It does not measure whether a free-text answer to a "
            "patient is right, safe or kind."
        ),
        "annotators": f"{simulated} From their labels DPO learned that rule, not what doctors prefer.",
        "winrate": (
            "A win rate says which answers those who judged liked better. It does not say that the better one is right "
            "or safe, and those who gave the preferences may like what DPO learned from them more than others would."
        ),
        "small": (
            f"The sample is small: with {count(overall.questions, 'question')} the 95 % interval of an accuracy "
            f"reaches up to ±{figures.half_width(overall):.1f} points, and that of a single subset further."
        ),
        "consults": (
            "This report holds texts as they were given: held-out consults with answers, and the beginnings of rows "
            "that were left out. Treat it as patient data unless they are de-identified or fictional; "
            "report.side_by_side=0 leaves the consults with answers out."
        ),
        "guessing": (
            f"The base model is not shown to do better than guessing on these questions ({base.percent:.2f} %, 95 % "
            f"interval {figures.bounds(base.interval)} %; chance {CHANCE:.0f} %, always answering {overall.letter} "
            f"{100 * overall.letter_share:.1f} %). At that level a run proves the machinery, not medicine."
        ),
    }
    return [said[limit] for limit in figures.limits(overall, bool(simulated), answers_shown, winrate)]


def asked(settings: Settings, benchmark: object, device: str) -> str:
    """The line under the table: how the questions were put, and on what."""
    tokens = "" if settings.max_gen_toks is None else f", at most {settings.max_gen_toks:,} tokens an answer"
    if settings.max_gen_toks not in (None, TASK_TOKENS):
        tokens += f" (the task's own: {TASK_TOKENS:,})"
    extent = "all" if settings.limit is None else f"at most the first {settings.limit:,} of each subset's"
    quantization = "not quantized" if settings.quantization == "none" else f"quantized to {settings.quantization}"
    return (
        f"Task {settings.task} {settings.task_version:.1f} of lm-eval {settings.lm_eval}, {extent} test questions of "
        f"{benchmark}; {settings.fewshot} few-shot examples; chat template {'on' if settings.chat_template else 'off'}"
        f"{', examples as turns' if settings.fewshot_as_multiturn else ''}; greedy decoding{tokens}; "
        f"base {settings.base}, {settings.dtype}, {quantization}; on {device}."
    )


def uneven(found: Uneven) -> str:
    """What is not the same for all checkpoints."""
    return f"Not the same for all checkpoints: {differing(found)}. That alone can move single answers."


def differing(found: Uneven) -> str:
    listed = ", ".join(f"{value} for {NAMES[checkpoint]}" for checkpoint, value in found.values.items())
    return f"{found.name} differs: {listed}"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def trained_on(reasons: Sequence[Reason], of: int, what: str, epochs: float) -> str:
    """Rows that a trainer took, how often, and those it did not."""
    rows = figures.trained(reasons, of, epochs)
    if epochs < 1:
        found = f"Trained on {rows.saw:,} of {count(rows.took, what)}, less than one epoch ({epochs:.2f})."
    else:
        found = f"Trained on {count(rows.took, what)} for {epochs:.3g} epoch{'s' * (epochs != 1)}."
    if reasons:
        named = ", ".join(f"{one.count:,} ({reason(one.reason)})" for one in reasons)
        found += f" Left out of {of:,}: {named}."
    return found


def reason(given: str) -> str:
    """Why a row was dropped or set aside, as the stage wrote it."""
    return given.replace("_", " ")


def remark(found: Remark) -> str:
    """What a training's curves show."""
    match found:
        case LossRises():
            return (
                f"The loss rises at the end: {found.last:.3g} in the last fifth of the steps, {found.lowest:.3g} in "
                f"the lowest. The learning rate may be too high, or the last rows differ from the others."
            )
        case LossNeverFell():
            return (
                "The last fifth of the steps has no clearly lower loss than the first: nothing shows that it learned."
            )
        case ChosenFell():
            return (
                f"The chosen answers became less likely than under SFT (reward {figures.measured(found.reward)} in the "
                f"last fifth of the steps): the margin comes from rejected answers that fell further. dpo.nll_weight "
                f"holds them up."
            )
        case NoneHeldOut():
            return (
                "No preference was held out, so nothing here tells learning the preference from learning these pairs "
                "by heart (preferences.heldout)."
            )
        case NotLookedAt():
            return "The held-out preferences were not looked at."
        case HeldOutAtChance():
            return (
                f"The margins grow, and yet the policy agrees with no more than {_agreed(found)}, where chance is 50 %."
            )
        case HeldOutStayed():
            return (
                f"The margins grow while the held-out accuracy does not: {100 * found.first:.1f} % at the first look, "
                f"{_agreed(found)}. So it looks when pairs are learned by heart and not the preference behind them."
            )
        case PolicyAgrees():
            return f"The policy agrees with {_agreed(found)}; chance is 50 %."


def _agreed(found: PolicyAgrees | HeldOutStayed | HeldOutAtChance) -> str:
    return f"{100 * found.last:.1f} % of {count(found.of, 'held-out preference')} at the last look"


def course(curve: Curve, level: float | None) -> str:
    """A training curve in words."""
    left_out = f" {curve.left_out} logged values were no finite numbers and are left out." if curve.left_out else ""
    if not curve.points:
        return f"Nothing was logged.{left_out}"
    (first_step, first), (last_step, last) = curve.points[0], curve.points[-1]
    dashed = "" if level is None else f" (dashed: {level:.4g})"
    if len(curve.points) == 1:
        return f"{figures.measured(first)} at step {first_step:g}, the only one logged{dashed}.{left_out}"
    low, high = map(figures.measured, figures.extent(curve))
    return (
        f"{figures.measured(first)} at step {first_step:g}, {figures.measured(last)} at step {last_step:g}; "
        f"between {low} and {high}{dashed}.{left_out}"
    )


def prepared(eda: Eda) -> str:
    """The training rows in a sentence or two."""
    named = [count(rows, NOUNS[what]) for what, rows in figures.prepared(eda)]
    if not named:
        return "No row was left to train on."
    verb = "was" if eda.rows == 1 else "were"
    made = f"{count(eda.rows, 'training row')} {verb} prepared for SFT: {' and '.join(named)}."
    if len(named) == 1:
        made = f"{named[0]} {verb} prepared for SFT."
    lost = [f"{dropped:,} of {count(of, NOUNS[what])}" for what, dropped, of in figures.lost(eda)]
    return f"{made} Dropped on the way: {' and '.join(lost)}." if lost else f"{made} No row was dropped on the way."


def flowed(flow: Sequence[FlowStep], what: data.What) -> str:
    """What came of the rows of one kind, in words."""
    rows = figures.flow(flow, what)
    if rows is None:
        return f"No {what} were used."
    uses = ", ".join(f"{aside:,} {reason(use)}" for aside, use in rows.uses)
    found = f"{count(rows.came_in, NOUNS[what])} came in"
    found += f", {rows.made:,} more rows were made of them" if rows.made else ""
    found += f"; {rows.left:,} became training rows."
    found += f" Set aside for another use: {uses}." if uses else ""
    found += f" {rows.vanished:,} went without a recorded reason." if rows.vanished else ""
    if rows.worst is None:
        return f"{found} None was dropped."
    most = f"the most for one reason, {rows.worst.rows:,}, at" if rows.reasons > 1 else "all of them at"
    return (
        f"{found} Dropped: {rows.dropped:,} ({share(rows.dropped, rows.rows)}), {most} {rows.worst.step}: "
        f"{reason(rows.worst.reason)}."
    )


def move(move: Move) -> str:
    """The label of a bar of the waterfall."""
    match move.kind:
        case "in":
            return "came in"
        case "out":
            return "training rows"
        case "set aside":
            return f"{move.step}, set aside: {reason(move.reason)}"
        case "added":
            return f"{move.step}: more rows made of them"
        case "unexplained":
            return f"{move.step}: gone, and no reason was recorded"
    return f"{move.step}: {reason(move.reason)}"


def moved(move: Move, of: int) -> str:
    """The number of a bar of the waterfall, and its share of all rows that entered."""
    rows = f"{figures.sign(move)}{move.rows:,}"
    return rows if move.kind == "in" else f"{rows} ({share(move.rows, of)})"


def share(part: int, of: int) -> str:
    """In percent; neither none nor all is said of a share that only rounds to it."""
    side, percent = figures.rounded(part, of)
    return f"{side} {percent}".strip()


def spread(lengths: Lengths) -> str:
    """Where most of the lengths lie."""
    if lengths.rows == 1:
        return f"One row, of {number(lengths.median)} {lengths.unit}."
    median = f"Median {number(lengths.median)} {lengths.unit} (dashed)"
    if lengths.rows < 20:
        return f"{median}, from {number(lengths.minimum)} to {number(lengths.maximum)}."
    return (
        f"{median}; nine of ten rows lie between {lengths.percentile_5:,.0f} and {lengths.percentile_95:,.0f}, "
        f"the longest has {number(lengths.maximum)}."
    )


def tokens(eda: Eda) -> str:
    """What a token is here, or why none was counted."""
    characters, counted = eda.of(data.ALL, "characters"), eda.of(data.ALL, "tokens")
    if not characters or not counted:
        return f"Tokens were not counted{f': {eda.tokens_missing}' if eda.tokens_missing else ''}."
    return (
        f"Tokens are {eda.tokenizer or 'the base model'}'s: one for {characters.mean / counted.mean:.1f} characters on "
        f"average. The marks that the chat template puts around each turn are not counted.{labels_shared(eda)}"
    )


def labels_shared(eda: Eda) -> str:
    """What SFT's loss is taken of, where both kinds of row are trained on; empty else, with a space before it."""
    found = figures.label_shares(eda)
    if found is None:
        return ""
    shares = [f"{100 * one.share:.1f} % in {one.rows:,} {one.what} ({one.mean:.1f} a row)" for one in found]
    question, consult = found
    return (
        f" SFT learns from label tokens alone, an answer's and those that end its turn: {' and '.join(shares)}. All "
        f"weigh the same, so a consult weighs as much as {number(round(consult.mean / question.mean, 1))} exam "
        f"questions: long answers outweigh letters."
    )


def letters(eda: Eda) -> str:
    """What guessing one letter would give on the training rows. There are exam questions among them."""
    found = figures.one_letter(eda)
    which = ", the most of any source" if found.sources > 1 else ""
    return (
        f"Always answering {' or '.join(found.letters)} would be right in {100 * found.share:.1f} % of the training "
        f"questions of {found.source}{which}; were all five letters equally frequent, it would be {CHANCE:.0f} %."
    )


def letter_lengths(eda: Eda) -> str:
    """Whether the length of a question goes with its right answer."""
    found = figures.letter_lengths(eda)
    if found is None:
        return ""
    low, high = found
    if low.median == high.median:
        return f"Rows have the same median length, {number(low.median)} characters, whatever the right answer is."
    return (
        f"By right answer the median row has between {number(low.median)} ({low.letter}) and {number(high.median)} "
        f"({high.letter}) characters."
    )


def beside_published(eda: Eda) -> list[tuple[str, str, str]]:
    """What can be compared, this run's number and the published report's."""
    return [(COMPARED[what], own, theirs) for what, own, theirs in figures.beside_published(eda)]


def consults_counted(eda: Eda) -> str:
    """Which consults the comparison is about, and of what their characters are."""
    which = "Consults that were kept, whatever they are used for" if eda.consult_lengths else "Consults trained on"
    return (
        f"{which}, each with instruction, patient information, question and answer. What exactly the published report "
        f"counted is not known here."
    )


def chosen(shown: int, answered: int) -> str:
    """Which held-out consults are shown."""
    consults = count(answered, "held-out consult")
    if shown == 0:
        return f"None shown (report.side_by_side is 0) of {consults} that were answered."
    which = f"All of {consults}" if shown == answered else f"The first {shown:,} of {consults}"
    return f"{which}, in the order drawn by seed; none was chosen for its answers."


def proved(proof: Proof) -> str:
    """What was seen before DPO's first update."""
    weights = "equalled" if proof.weights_equal else "DID NOT EQUAL"
    departs = "is the SFT model" if proof.weights_equal else "is NOT shown to be the SFT model"
    return (
        f"Before the first update the reference's weights {weights} the SFT adapter's, the loss was {proof.loss:.4f} "
        f"(expected at margin 0: {proof.expected_loss:.4f}) and the largest margin {proof.largest_margin:g}: "
        f"what DPO departs from {departs}."
    )


def made(generated: Generated) -> str:
    """The candidates stage in words."""
    dropped = {reason.reason: reason.count for reason in generated.reasons}
    written = count(generated.candidates, "candidate answer")
    return (
        f"The SFT model wrote {written} to {count(generated.consults, 'consult')}, "
        f"{generated.finished:,} of them to an end within the token limit, which made "
        f"{count(generated.comparisons, 'comparison')}{_dropped(dropped, 'consults')}."
    )


def labelled(labels: Labels, pairs: tuple[int, int]) -> str:
    """Responses and what became of them; `pairs` are those to train on and those held out."""
    agreement = (
        "no comparison was judged twice, so agreement is unknown"
        if labels.agreement is None
        else f"two annotators of one comparison gave the same value in {100 * labels.agreement:.0f} % of pairs"
    )
    others = ", ".join(f"{labels.responses.get(status, 0)} {status}" for status in ("draft", "discarded"))
    submitted = count(labels.responses.get("submitted", 0), "submitted response")
    return (
        f"{labels.labelled:,} of {count(labels.comparisons, 'comparison')} labelled, in {submitted} "
        f"({others}, not counted); {agreement}. Preferences made of them: {labels.kept:,}, "
        f"{pairs[0]:,} to train on and {pairs[1]:,} held out{_dropped(labels.dropped, 'comparisons')}."
    )


def settled(labels: Labels) -> str:
    """Adjudicators' share in the preferences, and whether the longer answer is the chosen one; may be empty."""
    found = []
    if labels.adjudicated:
        found.append(f"Of these, {labels.adjudicated:,} decided by an adjudicator.")
    lengths = labels.lengths
    if lengths.p is not None and not lengths.warning:  # the warning says it
        differing = figures.differing(lengths)
        equal = f"; {lengths.equal:,} are of the same length" if lengths.equal else ""
        found.append(
            f"The chosen answer is the longer one in {lengths.chosen_longer:,} of {count(differing, 'preference')} "
            f"({share(lengths.chosen_longer, differing)}, {p_text(lengths.p)}{equal})."
        )
    return " ".join(found)


def leaning(lengths: LabelLengths) -> str:
    """The warning that chosen answers are mostly the longer, or the shorter ones; empty where there is none."""
    warning = lengths.warning
    return f"{warning[0].upper()}{warning[1:]}." if warning else ""


def unsafe(labels: Labels) -> str:
    if not labels.unsafe:
        return "No answer was marked as unsafe."
    return f"{count(labels.unsafe, 'comparison')} with an answer that somebody marked as unsafe."


def preferred(winrate: Winrate) -> str:
    """DPO's win rate in a sentence."""
    by = {"people": "", "some": " by annotators, some simulated,", "simulated": " by simulated annotators"}
    ahead = "DPO" if winrate.win_rate > 0.5 else "SFT"
    verdict = f"{ahead} preferred" if winrate.shown else "no preference shown"
    return (
        f"Compared blind{by[figures.annotated(winrate.annotators)]} on {count(winrate.judged, 'held-out consult')}, "
        f"DPO's answers won {100 * winrate.win_rate:.1f} % "
        f"(95 % interval {100 * winrate.low:.1f}–{100 * winrate.high:.1f} %), "
        f"ties and two bad answers counted half: {verdict} ({p_text(winrate.p)})."
    )


def compared(winrate: Winrate) -> str:
    """Who compared what in round two."""
    people = count(len(winrate.annotators), "annotator")
    identical = (
        f" To {count(winrate.identical, 'consult')} both gave the same answer, which was not shown."
        if winrate.identical
        else ""
    )
    return (
        f"{people} gave {count(winrate.responses, 'response')} to {count(winrate.comparisons, 'blinded pair')} of "
        f"SFT's and DPO's answers to held-out consults: {winrate.judged:,} have a majority, {winrate.undecided:,} "
        f"none, {winrate.unjudged:,} no response.{identical}"
    )


def decided(winrate: Winrate) -> str:
    """What so many comparisons with a winner could show."""
    least = smallest_shown(winrate.dpo + winrate.sft)
    found = f"{count(winrate.dpo + winrate.sft, 'comparison')} with a winner"
    if least is None:
        return f"{found}: with so few, no outcome could have been shown by the exact sign test."
    return f"{found}: a lead of {least:,} is the least that the exact sign test could have shown."


def _dropped(counts: dict[str, int], what: str) -> str:
    named = [f"{count:,} ({reason(why)})" for why, count in counts.items() if count]
    return f"; {what} dropped: {', '.join(named)}" if named else ""


def short(commit: str | None) -> str:
    """The first characters of a commit, with its `+changes`."""
    return "not in git" if commit is None else figures.short(commit)
