"""The report's sentences. They follow the numbers: what was not shown is not said."""

import re
from collections.abc import Sequence

from stages.core.findings import Contrast, Generated, Labels, Proof, Reason, Row, Settings
from stages.core.plots import Curve
from stages.core.statistics import PairedTest, smallest_shown

NAMES = {"base": "base", "sft": "SFT", "dpo": "DPO"}
TASK_TOKENS = 1024  # max_gen_toks of kormedmcqa 3.0
CHANCE = 20.0  # percent; five choices
VALUES = ("submitted", "a", "b", "tie", "both_bad")  # columns of the annotators' table


def summary(base: str, rows: int, preferences: int | None, overall: Row, contrasts: Sequence[Contrast]) -> list[str]:
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
    return sentences


def simulated(labels: Labels | None) -> str:
    """What must stand wherever labels or DPO appear; empty where every annotator is a person."""
    if labels is None or not labels.simulated:
        return ""
    if len(labels.simulated) == len(labels.annotators):
        return "Simulated annotators: a rule with seeded disagreement, no human judged these answers."
    return (
        f"Some annotators are simulated ({', '.join(labels.simulated)}): their labels are a rule with seeded "
        f"disagreement, no human gave them."
    )


def points(test: PairedTest) -> str:
    """Net change in percentage points, with its sign."""
    return "0.0" if test.gained == test.lost else f"{test.points:+.1f}".replace("-", "−")


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


def limits(overall: Row, simulated: str, answers_shown: int) -> list[str]:
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
