"""Where exam questions come from: a benchmark that is named, a file of the user's own, or both."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.eda import FlowStep
from stages.core.kormedmcqa import ALL, Imported, Questions, Split, own_benchmark, read_benchmark, read_imported
from stages.core.quality import is_broken, tidy
from stages.core.recipe import Prepare
from stages.core.records import LETTERS, Decision, Dropped, ExamQuestion, read_jsonl

KORMEDMCQA, OWN = "kormedmcqa", "own"  # how ids begin: <benchmark>/<subset>/<split>/<row>

Exam = dict[str, ExamQuestion]
BySplit = Mapping[Any, Mapping[Any, Sequence[ExamQuestion]]]  # by subset, then split


@dataclass(frozen=True)
class ExamSources:
    """The benchmark that is asked and protected, the questions to train on by id, and how they came there."""

    name: str
    benchmark: Questions
    train: Exam
    step: FlowStep
    decisions: tuple[Decision, ...]


def read_exam_sources(config: Prepare, import_: Path | None) -> ExamSources:
    """With a benchmark named, imported questions are more training rows; without one they are the benchmark.

    Raises:
        KormedError: no such benchmark, or imported questions that make none.
    """
    imported = read_imported(import_ / "questions") if import_ else {}
    imported, broken, decisions = tidied(imported)
    dropped = read_jsonl(import_ / "questions" / "dropped.jsonl", Dropped) if import_ else []
    reasons = Counter(row.kind for row in dropped)
    if broken:
        reasons["broken_encoding"] = broken
    read = total(imported)
    if config.benchmark is None:
        benchmark = own_benchmark(imported, config.subsets, config.drawn_test, config.drawn_fewshot, config.seed)
        train = numbered(OWN, benchmark)
        asked: tuple[Split, ...] = ("dev", "test", "fewshot")
        uses = {f"asked in the benchmark ({split})": count(benchmark, split) for split in asked}
        uses["of a subset that prepare.subsets does not name"] = read - total(benchmark)
    else:
        benchmark = read_benchmark(config.benchmark, config.benchmark_revision, config.subsets)
        wanted = {subset: splits for subset, splits in imported.items() if subset in config.subsets}
        own = numbered(OWN, {subset: {"train": trainable(splits)} for subset, splits in wanted.items()})
        train = numbered(KORMEDMCQA, benchmark) | own
        in_subsets = total(wanted)
        uses = {
            "imported dev, test and fewshot questions": in_subsets - len(own),
            "of a subset that prepare.subsets does not name": read - in_subsets,
        }
    step = FlowStep(
        step="import" if import_ else "benchmark",
        what="exam questions",
        before=len(train) + sum(uses.values()) + sum(reasons.values()),
        dropped=dict(reasons),
        set_aside={use: rows for use, rows in uses.items() if rows},
        after=len(train),
    )
    places = [Decision(id=id, rule="imported", detail=row.source) for id, row in train.items() if row.source]
    changes = [
        Decision(id=id, rule="tidied", detail=decisions[row.source])
        for id, row in train.items()
        if row.source in decisions
    ]
    return ExamSources(OWN if config.benchmark is None else KORMEDMCQA, benchmark, train, step, (*places, *changes))


def tidied(imported: Imported) -> tuple[Imported, int, dict[str, str]]:
    """Imported questions without HTML and invisible characters; how many broken ones were left out; what was changed.

    A named benchmark is asked as it stands, so that its figures can be compared.
    """
    clean: Imported = {}
    broken = 0
    changed: dict[str, str] = {}
    for subset, splits in imported.items():
        clean[subset] = {split: [] for split in splits}
        for split, rows in splits.items():
            for row in rows:
                if any(map(is_broken, (row.question, *row.choices))):
                    broken += 1
                    continue
                texts = {field: tidy(getattr(row, field)) for field in ("question", *LETTERS)}
                fields = [field for field, text in texts.items() if text != getattr(row, field)]
                if fields:
                    changed[row.source] = f"HTML, spaces or invisible characters in {', '.join(fields)}"
                clean[subset][split].append(row.model_copy(update=texts))
    return clean, broken, changed


def numbered(benchmark: str, questions: BySplit) -> Exam:
    """The training questions under their ids."""
    return {
        f"{benchmark}/{subset}/train/{row}": question
        for subset, splits in questions.items()
        for row, question in enumerate(splits["train"], start=1)
    }


def trainable(splits: Mapping[str, Sequence[ExamQuestion]]) -> list[ExamQuestion]:
    """Imported questions that may be trained on; the file's own test and few-shot questions never are."""
    return [*splits.get("train", ()), *splits.get(ALL, ())]


def total(questions: BySplit) -> int:
    return sum(len(rows) for splits in questions.values() for rows in splits.values())


def count(questions: Questions, split: Split) -> int:
    return sum(len(splits[split]) for splits in questions.values())
