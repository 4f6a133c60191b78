"""The report's sentences. They follow the numbers: what was not shown is not said."""

import re
from collections.abc import Sequence

from stages.core import eda as data
from stages.core.eda import Eda, FlowStep, Lengths, Move
from stages.core.findings import Contrast, Generated, Labels, Proof, Reason, Row, Settings, Winrate
from stages.core.plots import Curve
from stages.core.records import is_simulated
from stages.core.statistics import PairedTest, Score, p_text, smallest_shown

NAMES = {"base": "base", "sft": "SFT", "dpo": "DPO"}
TASK_TOKENS = 1024  # max_gen_toks of kormedmcqa 3.0
CHANCE = 20.0  # percent; five choices
EXTENTS = (  # under a table of lengths with bars
    "A row is the whole user turn (instruction, patient information or choices, question) and the answer. In the bar "
    "under the numbers the dot is the median, the box holds the middle half of the rows and the line nine of ten; "
    "the bars of a column share one scale."
)
VALUES = ("submitted", "a", "b", "tie", "both_bad")  # columns of the annotators' table


def summary(
    base: str,
    rows: int,
    preferences: int | None,
    overall: Row,
    contrasts: Sequence[Contrast],
    winrate: Winrate | None,
) -> list[str]:
    """The run in three sentences or so. `preferences` is None where DPO was not evaluated."""
    then = "" if preferences is None else f", then trained on {count(preferences, 'preference')} (DPO)"
    checkpoints = [NAMES[cell.checkpoint] for cell in overall.cells]
    questions = count(overall.questions, "exam question")
    sentences = [
        f"{base} was fine-tuned on {count(rows, 'instruction row')} (SFT){then}; "
        f"{', '.join(checkpoints[:-1])} and {checkpoints[-1]} answered the same {questions}."
    ]
    percent = {cell.checkpoint: cell.score.percent for cell in overall.cells}
    for contrast in contrasts[: len(checkpoints) - 1]:
        sentences.append(
            f"{NAMES[contrast.after]} got {percent[contrast.after]:.2f} % right against {NAMES[contrast.before]}'s "
            f"{percent[contrast.before]:.2f} %: {contrast.overall.verdict}."
        )
    return [*sentences, *([preferred(winrate)] if winrate else [])]


def simulated(labels: Labels | None) -> str:
    """What must stand wherever labels or DPO appear; empty where every annotator is a person."""
    return simulated_among(list(labels.annotators)) if labels else ""


def simulated_among(annotators: Sequence[str]) -> str:
    """What must stand wherever the annotators' judgements appear; empty where every one of them is a person."""
    found = [name for name in annotators if is_simulated(name)]
    if not found:
        return ""
    if len(found) == len(annotators):
        return "Simulated annotators: a rule with seeded disagreement, no human judged these answers."
    return (
        f"Some annotators are simulated ({', '.join(found)}): their labels are a rule with seeded disagreement, no "
        f"human gave them."
    )


def points(test: PairedTest) -> str:
    """Net change in percentage points, with its sign."""
    return "0.0" if test.gained == test.lost else f"{test.points:+.1f}".replace("-", "−")


def scored(score: Score | None) -> str:
    """A share of right answers with its 95 % interval; a dash where there is none."""
    if score is None:
        return "–"
    low, high = 100 * score.interval.low, 100 * score.interval.high
    return f"{score.percent:.2f} % ({low:.1f}–{high:.1f})"


def resolution(test: PairedTest) -> str:
    """What difference so many questions could show."""
    changed = test.gained + test.lost
    least = smallest_shown(changed)
    found = f"{changed:,} of {test.questions:,} questions changed sides"
    if least is None:
        return f"{found}: with so few, no outcome could have been shown."
    return (
        f"{found}: a net change of {least:,} ({100 * least / test.questions:.1f} points) is the least that could "
        f"have been shown, before correction."
    )


def limits(overall: Row, simulated: str, answers_shown: int, winrate: Winrate | None) -> list[str]:
    """What a reader must not conclude."""
    base = overall.cells[0].score
    half_width = max(cell.score.interval.high - cell.score.interval.low for cell in overall.cells) * 50
    found = [
        "These models are not a medical device. Nothing they write may be used to diagnose, treat or advise anyone.",
        "KorMedMCQA is licensed CC BY-NC 2.0: no commercial use; whether that binds models trained on it is for you to "
        "settle before you pass them on.",
        "Multiple-choice accuracy measures exam knowledge. It does not measure whether a free-text answer to a patient "
        "is right, safe or kind.",
    ]
    if simulated:
        found.append(f"{simulated} What DPO learned here is that rule.")
    if winrate:
        found.append(
            "A win rate says which answers those who judged liked better. It does not say that the better one is right "
            "or safe, and those who gave the preferences may like what DPO learned from them more than others would."
        )
    if half_width > 2.5:
        found.append(
            f"The sample is small: with {overall.questions:,} questions the 95 % interval of an accuracy reaches up to "
            f"±{half_width:.1f} points, and that of a single subset further."
        )
    if answers_shown:
        found.append(
            "This report holds questions and answers of held-out consults as they were given. Treat it as patient data "
            "unless they are de-identified or fictional; report.side_by_side=0 leaves them out."
        )
    if base.interval.low <= max(CHANCE / 100, overall.letter_share):
        found.append(
            f"The base model cannot be told from guessing on these questions ({base.percent:.2f} %, 95 % interval "
            f"{100 * base.interval.low:.1f}–{100 * base.interval.high:.1f} %; chance {CHANCE:.0f} %, always answering "
            f"{overall.letter} {100 * overall.letter_share:.1f} %). At that level a run proves the machinery, not "
            f"medicine."
        )
    return found


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


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def trained_on(reasons: Sequence[Reason], of: int, what: str, epochs: float) -> str:
    """Rows that a trainer took, how often, and those it did not."""
    dropped = sum(reason.count for reason in reasons)
    took = of - dropped
    if epochs < 1:
        found = f"Trained on {seen(took, epochs):,} of {count(took, what)}, less than one epoch ({epochs:.2f})."
    else:
        found = f"Trained on {count(took, what)} for {epochs:.3g} epoch{'s' * (epochs != 1)}."
    if reasons:
        named = ", ".join(f"{reason.count:,} ({reason.reason})" for reason in reasons)
        found += f" Left out of {of:,}: {named}."
    return found


def seen(rows: int, epochs: float) -> int:
    """How many of the rows a training saw at least once."""
    return min(rows, round(rows * epochs))


def course(curve: Curve, level: float | None) -> str:
    """A training curve in words."""
    left_out = f" {curve.left_out} logged values were no finite numbers and are left out." if curve.left_out else ""
    if not curve.points:
        return f"Nothing was logged.{left_out}"
    (first_step, first), (last_step, last) = curve.points[0], curve.points[-1]
    dashed = "" if level is None else f" (dashed: {level:.4g})"
    if len(curve.points) == 1:
        return f"{_value(first)} at step {first_step:g}, the only one logged{dashed}.{left_out}"
    low, high = min(y for _, y in curve.points), max(y for _, y in curve.points)
    return (
        f"{_value(first)} at step {first_step:g}, {_value(last)} at step {last_step:g}; "
        f"between {_value(low)} and {_value(high)}{dashed}.{left_out}"
    )


def _value(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


NOUNS = {"exam questions": "exam question", "consults": "consult"}


def prepared(eda: Eda) -> str:
    """The training rows in a sentence or two."""
    kinds = [(what, eda.of(what, "characters")) for what in data.KINDS]
    named = [count(found.rows, NOUNS[what]) for what, found in kinds if found]
    if not named:
        return "No row was left to train on."
    verb = "was" if eda.rows == 1 else "were"
    made = f"{count(eda.rows, 'training row')} {verb} prepared for SFT: {' and '.join(named)}."
    if len(named) == 1:
        made = f"{named[0]} {verb} prepared for SFT."
    lost = [
        f"{dropped:,} of {count(data.entered(data.moves(eda.flow, what)), NOUNS[what])}"
        for what in data.KINDS
        if (dropped := sum(step.lost for step in data.steps(eda.flow, what)))
    ]
    return f"{made} Dropped on the way: {' and '.join(lost)}." if lost else f"{made} No row was dropped on the way."


def flowed(flow: Sequence[FlowStep], what: data.What) -> str:
    """What came of the rows of one kind, in words."""
    steps = data.steps(flow, what)
    if not steps:
        return f"No {what} were used."
    moves = data.moves(flow, what)
    came_in, rows = steps[0].before, data.entered(moves)
    dropped = sum(step.lost for step in steps)
    uses = [f"{move.rows:,} {move.reason}" for move in moves if move.kind == "set aside"]
    vanished = sum(move.rows for move in moves if move.kind == "unexplained")
    found = f"{count(came_in, NOUNS[what])} came in"
    found += f", {rows - came_in:,} more rows were made of them" if rows > came_in else ""
    found += f"; {steps[-1].after:,} became training rows."
    found += f" Set aside for another use: {', '.join(uses)}." if uses else ""
    found += f" {vanished:,} went without a recorded reason." if vanished else ""
    if not dropped:
        return f"{found} None was dropped."
    reasons = [move for move in moves if move.kind == "dropped"]
    worst = max(reasons, key=lambda move: move.rows)
    most = f"the most for one reason, {worst.rows:,}, at" if len(reasons) > 1 else "all of them at"
    return f"{found} Dropped: {dropped:,} ({share(dropped, rows)}), {most} {worst.step}: {worst.reason}."


def move(move: Move) -> str:
    """The label of a bar of the waterfall."""
    match move.kind:
        case "in":
            return "came in"
        case "out":
            return "training rows"
        case "set aside":
            return f"{move.step}, set aside: {move.reason}"
        case "added":
            return f"{move.step}: more rows made of them"
        case "unexplained":
            return f"{move.step}: gone, and no reason was recorded"
    return f"{move.step}: {move.reason}"


def moved(move: Move, of: int) -> str:
    """The number of a bar of the waterfall, and its share of all rows that entered."""
    sign = {"dropped": "−", "set aside": "−", "unexplained": "−", "added": "+"}.get(move.kind, "")
    return f"{sign}{move.rows:,}" if move.kind == "in" else f"{sign}{move.rows:,} ({share(move.rows, of)})"


def share(part: int, of: int) -> str:
    """In percent; neither none nor all is said of a share that only rounds to it."""
    percent = 100 * part / of if of else 0.0
    if 0 < percent < 0.05:
        return "under 0.1 %"
    if 99.95 <= percent < 100:
        return "over 99.9 %"
    return f"{percent:.1f} %" if percent % 100 else f"{percent:.0f} %"


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


def number(value: float) -> str:
    """With thousands marked, and a decimal only where there is one."""
    return f"{value:,.1f}".removesuffix(".0")


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
    by_kind = {what: [one for one in eda.label_tokens if one.what == what] for what in data.KINDS}
    if not all(by_kind.values()):
        return ""
    means = {what: eda.labels(what) / sum(one.rows for one in found) for what, found in by_kind.items()}
    shares = [
        f"{100 * eda.label_share(what):.1f} % in {sum(one.rows for one in found):,} {what} ({means[what]:.1f} a row)"
        for what, found in by_kind.items()
    ]
    consult, question = means["consults"], means["exam questions"]
    return (
        f" SFT learns from label tokens alone, an answer's and those that end its turn: {' and '.join(shares)}. All "
        f"weigh the same, so a consult weighs as much as {number(round(consult / question, 1))} exam questions: long "
        f"answers outweigh letters."
    )


def letters(eda: Eda) -> str:
    """What guessing one letter would give on the training rows. There are exam questions among them."""
    found = {source: data.most_frequent(counts) for source, counts in eda.letters.items() if source != data.EXAM}
    source, (letter, most) = max(found.items(), key=lambda item: item[1][1])
    which = ", the most of any source" if len(found) > 1 else ""
    return (
        f"Always answering {letter.replace(', ', ' or ')} would be right in {100 * most:.1f} % of the training "
        f"questions of {source}{which}; were all five letters equally frequent, it would be {CHANCE:.0f} %."
    )


def letter_lengths(eda: Eda) -> str:
    """Whether the length of a question goes with its right answer."""
    found = [
        one
        for one in eda.lengths
        if one.letter and (one.source, one.part, one.unit) == (data.EXAM, "row", "characters")
    ]
    if len(found) < 2:
        return ""
    low, high = min(found, key=lambda one: one.median), max(found, key=lambda one: one.median)
    if low.median == high.median:
        return f"Rows have the same median length, {number(low.median)} characters, whatever the right answer is."
    return (
        f"By right answer the median row has between {number(low.median)} ({low.letter}) and {number(high.median)} "
        f"({high.letter}) characters."
    )


def beside_published(eda: Eda) -> list[tuple[str, str, str]]:
    """What can be compared, this run's number and the published report's: questions where the benchmark is that one,
    consults where there are any.
    """
    found: list[tuple[str, float, float]] = []
    if eda.published_benchmark:
        splits = data.PUBLISHED_QUESTIONS
        found += [(f"exam questions, {split}", eda.questions(split), theirs) for split, theirs in splits.items()]
        found.append(("exam questions, together", sum(map(eda.questions, splits)), sum(splits.values())))
    if consults := eda.all_consults():
        found.append(("consults", consults.rows, data.PUBLISHED_CONSULTS))
        ours = (consults.minimum, consults.median, consults.maximum)
        for which, own, theirs in zip(
            ("shortest", "median", "longest"), ours, data.PUBLISHED_CONSULT_CHARACTERS, strict=True
        ):
            found.append((f"{which} consult, characters", own, theirs))
    return [(name, number(own), number(theirs)) for name, own, theirs in found]


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
    return (
        f"Before the first update the reference's weights {weights} the SFT adapter's, the loss was {proof.loss:.4f} "
        f"(expected at margin 0: {proof.expected_loss:.4f}) and the largest margin {proof.largest_margin:g}: "
        f"what DPO departs from is the SFT model."
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
    differing = lengths.chosen_longer + lengths.rejected_longer
    if lengths.p is not None and not lengths.warning:  # the warning says it
        equal = f"; {lengths.equal:,} are of the same length" if lengths.equal else ""
        found.append(
            f"The chosen answer is the longer one in {lengths.chosen_longer:,} of {count(differing, 'preference')} "
            f"({share(lengths.chosen_longer, differing)}, {p_text(lengths.p)}{equal})."
        )
    return " ".join(found)


def unsafe(labels: Labels) -> str:
    if not labels.unsafe:
        return "No answer was marked as unsafe."
    return f"{count(labels.unsafe, 'comparison')} with an answer that somebody marked as unsafe."


def preferred(winrate: Winrate) -> str:
    """DPO's win rate in a sentence."""
    ahead = "DPO" if winrate.win_rate > 0.5 else "SFT"
    verdict = f"{ahead} preferred" if winrate.shown else "no preference shown"
    return (
        f"Compared blind on {count(winrate.judged, 'held-out consult')}, DPO's answers won "
        f"{100 * winrate.win_rate:.1f} % (95 % interval {100 * winrate.low:.1f}–{100 * winrate.high:.1f} %), "
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
    named = [f"{count:,} ({reason.replace('_', ' ')})" for reason, count in counts.items() if count]
    return f"; {what} dropped: {', '.join(named)}" if named else ""


def unbroken(text: str) -> str:
    """`p = 0.41` and `38.39 %` kept on one line."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[<=])|(?<=p [<=]) ", "\u00a0", text)


def short(commit: str | None) -> str:
    """The first characters of a commit, with its `+changes`."""
    if commit is None:
        return "not in git"
    revision, plus, changes = commit.partition("+")
    return revision[:10] + plus + changes


def markdown(text: str) -> str:
    """Any text as Markdown that shows it letter by letter, line breaks kept."""
    lines = (re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", line.strip()) for line in text.splitlines())
    return "  \n".join(re.sub(r"^([-+#=]|\d+(?=[.)](?:\s|$)))", _harmless, line) for line in lines)


def _harmless(opening: re.Match[str]) -> str:
    """What would open a list or a heading at the start of a line: the sign escaped, or the number's dot."""
    found = opening.group()
    return found + "\\" if found.isdigit() else "\\" + found
