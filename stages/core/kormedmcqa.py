"""KorMedMCQA (Kweon et al. 2024, arXiv 2403.01469): read from the hub, a local mirror, or a folder of JSONL files."""

import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from stages.core.errors import KormedError
from stages.core.records import LETTERS, ExamQuestion, describe, read_jsonl

HUB_ID = "sean0042/KorMedMCQA"

Split = Literal["train", "dev", "test", "fewshot"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test", "fewshot")

DRAWN_DEV = 5  # dev questions of a benchmark that names no splits: nothing here is tuned on them

Questions = dict[str, dict[Split, list[ExamQuestion]]]  # by subset, then split
Imported = dict[str, dict[str, list[ExamQuestion]]]  # the same; split `all` where the file names none
ALL = "all"


def read_benchmark(source: str, revision: str | None, subsets: Iterable[str]) -> Questions:
    """All splits of the named subsets.

    `source` is a folder of `<subset>/<split>.jsonl`, a folder in the hub's layout (parquet files and a README with
    `configs:`), or a hub id. Columns: question, A to E, answer 1-5; others are not needed.

    Raises:
        KormedError: source, subset or split is missing or empty, or a row does not fit (names file, line, field).
    """
    folder = Path(source)
    if folder.is_dir():
        if any(folder.glob("*/*.jsonl")):
            _require_subsets(folder, subsets)
            return {subset: {split: _read_jsonl(folder, subset, split) for split in SPLITS} for subset in subsets}
        return {subset: {split: _read_dataset(source, None, subset, split) for split in SPLITS} for subset in subsets}
    if source.startswith((".", "/")) or source.count("/") != 1 or Path(source).parent.is_dir():
        raise KormedError(
            f"{source}: no such folder; wanted a hub id such as {HUB_ID}, a local mirror of it, "
            f"or a folder of <subset>/<split>.jsonl (prepare.benchmark)"
        )
    return {subset: {split: _read_dataset(source, revision, subset, split) for split in SPLITS} for subset in subsets}


def _require_subsets(folder: Path, subsets: Iterable[str]) -> None:
    if missing := [subset for subset in subsets if not (folder / subset).is_dir()]:
        there = sorted(path.name for path in folder.iterdir() if any(path.glob("*.jsonl")))
        raise KormedError(
            f"{folder}: no subset {' and no '.join(missing)} in it; there are {', '.join(there)}. Name those that are "
            f"wanted in prepare.subsets, or add {folder / missing[0]}/<split>.jsonl"
        )


def _read_jsonl(folder: Path, subset: str, split: Split) -> list[ExamQuestion]:
    path = folder / subset / f"{split}.jsonl"
    if not path.exists():
        raise KormedError(
            f"{path}: no such file; a benchmark has {', '.join(SPLITS)} questions of every subset, each in a file "
            f"of its own. Add it, or bring the questions as one table (section import, prepare.benchmark: null)"
        )
    questions = read_jsonl(path, ExamQuestion)
    if not questions:
        raise KormedError(f"{path}: the split is empty; {split} questions of {subset} were wanted")
    return questions


def _read_dataset(source: str, revision: str | None, subset: str, split: Split) -> list[ExamQuestion]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    local = Path(source).is_dir()
    try:
        # a mirror is streamed: past the shared cache, and a damaged file is named by its own split
        rows = list(load_dataset(source, subset, split=split, revision=revision, streaming=local))
    except (ValueError, OSError, DatasetsError) as error:
        cause = error.__cause__ or error  # "an error occurred while generating the dataset" says nothing
        offline = " (HF_HUB_OFFLINE is set)" if not local and os.environ.get("HF_HUB_OFFLINE") == "1" else ""
        raise KormedError(
            f"{source}: subset {subset}, split {split} could not be read{offline}: "
            f"{' '.join(str(cause).split())[:300]}\n"
            f"  ways out: check the network, or set prepare.benchmark to a local copy (a mirror in the hub's layout, "
            f"or a folder of <subset>/<split>.jsonl)"
        ) from None
    questions = []
    for number, row in enumerate(rows, start=1):
        try:
            questions.append(
                ExamQuestion.model_validate({key: value for key, value in row.items() if value is not None})
            )
        except ValidationError as error:
            raise KormedError(f"{source}: {subset}/{split}, row {number}: {describe(error)}") from None
    if not questions:
        raise KormedError(f"{source}: {subset}/{split} is empty")
    return questions


def draw_splits(
    questions: Iterable[ExamQuestion], test_share: float, fewshot: int, rng: random.Random
) -> dict[Split, list[ExamQuestion]]:
    """Splits of a subset whose file names none: `fewshot` questions, then dev, then the share of the others for test.

    The order of the file does not matter, and every split gets at least one question.

    Raises:
        KormedError: too few questions.
    """
    shuffled = sorted(questions, key=lambda question: (question.question, question.choices, question.answer))
    rng.shuffle(shuffled)
    needed = fewshot + DRAWN_DEV + 2
    if len(shuffled) < needed:
        raise KormedError(
            f"{len(shuffled)} exam questions are too few to draw splits from: {fewshot} for fewshot, {DRAWN_DEV} for "
            f"dev, and test and train make at least {needed}; bring more, or lower prepare.drawn_fewshot"
        )
    drawn, dev, rest = shuffled[:fewshot], shuffled[fewshot:][:DRAWN_DEV], shuffled[fewshot + DRAWN_DEV :]
    n_test = min(len(rest) - 1, max(1, round(len(rest) * test_share)))
    return {"train": rest[n_test:], "dev": dev, "test": rest[:n_test], "fewshot": drawn}


def read_imported(folder: Path) -> Imported:
    """The questions that the import stage wrote, by subset and split (`all`: the file names none)."""
    found: Imported = {}
    for path in sorted(folder.glob("*/*.jsonl")):
        found.setdefault(path.parent.name, {})[path.stem] = read_jsonl(path, ExamQuestion)
    return found


def own_benchmark(imported: Imported, subsets: Iterable[str], test_share: float, fewshot: int, seed: int) -> Questions:
    """Imported questions as the benchmark; the splits of a file that names none are drawn by seed.

    Raises:
        KormedError: a subset has no questions, too few of them, or not every split.
    """
    questions: Questions = {}
    for subset in subsets:
        splits = imported.get(subset)
        if not splits:
            raise KormedError(
                f"import.questions: no questions of subset {subset}, and they are to be the benchmark; there are those "
                f"of {', '.join(imported) or 'none'} (prepare.subsets names the wanted ones)"
            )
        if ALL in splits:
            try:
                questions[subset] = draw_splits(splits[ALL], test_share, fewshot, random.Random(seed))
            except KormedError as error:
                raise KormedError(f"import.questions: subset {subset}: {error}") from None
            continue
        if missing := [split for split in SPLITS if not splits.get(split)]:
            raise KormedError(
                f"import.questions: subset {subset} has no {' and no '.join(missing)} questions, and a benchmark needs "
                f"{', '.join(SPLITS)}; add them, or leave out the split column: splits are then drawn by seed"
            )
        questions[subset] = {split: splits[split] for split in SPLITS}
    return questions


def write_mirror(questions: Questions, folder: Path) -> None:
    """Write the benchmark in the hub's layout, so that lm-eval's task reads exactly what was decontaminated against."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    configs = []
    for subset, splits in questions.items():
        (folder / subset).mkdir(parents=True, exist_ok=True)
        files = []
        for split, rows in splits.items():
            columns: dict[str, list[object]] = {
                "subject": [subset] * len(rows),
                "q_number": list(range(1, len(rows) + 1)),
                "question": [row.question for row in rows],
                **{letter: [getattr(row, letter) for row in rows] for letter in LETTERS},
                "answer": [row.answer for row in rows],
                "cot": [row.cot for row in rows],
            }
            pq.write_table(pa.table(columns), folder / subset / f"{split}.parquet")
            files.append(f"  - split: {split}\n    path: {subset}/{split}.parquet")
        configs.append(f"- config_name: {subset}\n  data_files:\n" + "\n".join(files))
    (folder / "README.md").write_text("---\nconfigs:\n" + "\n".join(configs) + "\n---\n", encoding="utf-8")
