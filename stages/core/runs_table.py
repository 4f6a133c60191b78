"""Several runs' exams as Markdown that reads as it stands in a terminal: accuracies, tests, what to know of them."""

from collections.abc import Mapping, Sequence

from stages.core import between_runs, findings, markdown
from stages.core.between_runs import Between, Exam
from stages.core.findings import ALL
from stages.core.published import PublishedSource
from stages.core.statistics import PairedTest, Score, change_text, p_text
from stages.core.wording import NAMES

ACCURACIES = (
    "Accuracy in % (95 % interval, Wilson); under it the change relative to the run's first row (–: of nothing)."
)
NOT_BY_US = " A star marks what others published: not run by us, copied as printed, without interval or test."


def told(exam: Exam) -> str:
    first = exam.evaluations[0]
    return (
        f"{exam.name} ({first.folder.parent.parent}): {first.settings.base}, {first.settings.dtype}, quantization "
        f"{first.settings.quantization}, lm-eval {first.settings.lm_eval}; {first.device}"
    )


def how_asked(exam: Exam, is_part: bool) -> str:
    settings = exam.evaluations[0].settings
    tokens = settings.max_gen_toks
    limit = "" if settings.limit is None else f", the first {settings.limit:,} questions of each subset alone"
    part = f", of its subsets {', '.join(sorted(exam.subsets))} alone" if is_part else ""
    return (
        f"lm-eval's task {settings.task} {settings.task_version}, {settings.fewshot}-shot, "
        f"{'with' if settings.chat_template else 'without'} chat template, "
        f"{'as many new tokens as the task allows' if tokens is None else f'at most {tokens:,} new tokens'}"
        f"{limit}{part}."
    )


def accuracies(exams: Sequence[Exam], sources: Sequence[PublishedSource]) -> str:
    """A run's checkpoints under each other, a base that runs share once; below them what others published."""
    names = [row.name for row in findings.rows(exams[0].evaluations)]
    questions = [f"{row.questions:,}" for row in findings.rows(exams[0].evaluations)]
    shared = {exam.label: group for group in between_runs.shared_bases(exams) for exam in group}
    found = [["", *names], ["questions", *questions]]
    for exam in exams:
        group = shared.get(exam.label, [exam])
        for at, evaluation in enumerate(exam.evaluations):
            is_base = evaluation.checkpoint == "base"
            if is_base and group[0] is not exam:
                continue
            cells = [row.cells[at] for row in findings.rows(exam.evaluations)]
            label = base_label(group, exams) if is_base else exam.named(evaluation)
            found.append([label, *(scored(cell.score, name) for cell, name in zip(cells, names, strict=True))])
            if at:
                against = NAMES[exam.evaluations[0].checkpoint]
                found.append([f"  vs {against}", *(change_text(cell.change) for cell in cells)])
    return markdown.table([*found, *published_rows(sources, names)])


def base_label(group: Sequence[Exam], exams: Sequence[Exam]) -> str:
    return "base" if len(group) == len(exams) > 1 else f"{'+'.join(exam.label for exam in group)} base"


def scored(score: Score, name: str) -> str:
    """A single subset's interval is wide, so its bounds are whole percents; that keeps the table within a terminal."""
    low, high = 100 * score.interval.low, 100 * score.interval.high
    if name == ALL:
        return f"{score.percent:.2f} ({low:.1f}-{high:.1f})"
    return f"{score.percent:.2f} ({low:.0f}-{high:.0f})"


def published_rows(sources: Sequence[PublishedSource], names: Sequence[str]) -> list[list[str]]:
    """Figures where the source prints any; nothing is worked out of them, so there are none for all subsets at once."""
    found = []
    for source in sources:
        for row in source.rows:
            figures: Mapping[str, str] = {name: source.text(percent) for name, percent in row.accuracies.items()}
            changes: Mapping[str, str] = {name: change_text(change) for name, change in row.relative_changes.items()}
            found.append([f"{source.id} {NAMES[row.checkpoint]}*", *(figures.get(name, "-") for name in names)])
            if row.relative_to:
                found.append([f"  vs {NAMES[row.relative_to]}", *(changes.get(name, "-") for name in names)])
    return found


def published_sources(sources: Sequence[PublishedSource]) -> list[str]:
    """Where the figures are from and what they do not say, a sentence each."""
    found = []
    for source in sources:
        models = ", ".join(dict.fromkeys(row.model for row in source.rows))
        unsaid = f"; it does not say {' or '.join(source.unsaid)}, so its questions may have been put differently"
        found.append(
            f"{source.id}*, not run by us: {models} on {source.benchmark} in {source.title} ({source.source})"
            f"{unsaid if source.unsaid else ''}"
        )
    return found


def tested(exams: Sequence[Exam]) -> list[str]:
    """The tests between runs as a table, what it means, and in which subsets a difference is shown: blocks of text.

    None where all runs gave the same answers.
    """
    tests = between_runs.tests(exams)
    if not tests:
        return []
    rows = [
        ["", "questions", "gained", "lost", "points (95 %)", "verdict"],
        *([named(test) + " (best)" * test.of_the_best, *tested_cells(test.overall)] for test in tests),
    ]
    family = f"Holm's correction over these {len(tests)} tests" if len(tests) > 1 else "one test, so no correction"
    meaning = (
        f"Gained: only the first-named was right; lost: only the other. McNemar's exact test, {family}; the interval "
        f"(Tango) is of this difference alone, and where the two disagree the test decides."
    )
    if any(test.of_the_best for test in tests):
        meaning += " Best: of each run the checkpoint with most right answers, chosen by these very questions."
    by_subset = [f"{named(test)}: {where(test)}" for test in tests if len(test.by_subset) > 1]
    return [
        markdown.table(rows),
        markdown.paragraph(meaning),
        listed("By subset, Holm's correction over the subsets of each comparison:", by_subset),
    ]


def named(test: Between) -> str:
    return f"{test.after} against {test.before}"


def tested_cells(test: PairedTest) -> tuple[str, ...]:
    return (
        f"{test.questions:,}",
        f"{test.gained:,}",
        f"{test.lost:,}",
        f"{test.points:+.1f} ({test.interval.low:+.1f} to {test.interval.high:+.1f})",
        test.verdict,
    )


def where(test: Between) -> str:
    shown = [f"{subset} {one.verdict}" for subset, one in test.by_subset.items() if one.shown]
    rest = {subset: one for subset, one in test.by_subset.items() if not one.shown}
    if rest:
        smallest = min(one.adjusted for one in rest.values())
        shown.append(f"no difference shown in {', '.join(rest)} (smallest {p_text(smallest)})")
    return "; ".join(shown)


def remarks(exams: Sequence[Exam]) -> list[str]:
    """What the answers and settings themselves say against reading too much into the table, a sentence each."""
    found = [
        f"{' and '.join(exam.name for exam in group)} have the same base, and it gave the same answers: it stands once"
        for group in between_runs.shared_bases(exams)
        if len(group) > 1
    ]
    found += between_runs.restless_bases(exams)
    found += between_runs.untested(exams)
    found += between_runs.uneven(exams)
    unchecked = between_runs.unchecked_prompts(exams)
    if unchecked and len(exams) > 1:
        found.append(
            f"{', '.join(unchecked)}: evaluated before prompts were recorded, so whether the few-shot examples and the "
            f"template's text were the same could not be checked; questions, right answers and settings are"
        )
    return found


def listed(head: str, sentences: Sequence[str]) -> str:
    """A headed list; empty where there is nothing to say."""
    return "\n".join([head, "", *(markdown.paragraph(sentence, "- ") for sentence in sentences)]) if sentences else ""
