"""kormedmcqa: three sources, the same questions; and what is said where one is damaged. All items are made up."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from stages.core.errors import KormedError
from stages.core.kormedmcqa import SPLITS, read_benchmark, write_mirror

SUBSETS = ("doctor", "nurse")


def item(text: str, answer: Any = 3, **columns: Any) -> dict[str, Any]:
    return {"question": text, "A": "가", "B": "나", "C": "다", "D": "라", "E": "마", "answer": answer, **columns}


def write_split(folder: Path, subset: str, split: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / subset / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benchmark of two subsets, two items a split, each with a text and an answer of its own."""
    for at, subset in enumerate(SUBSETS):
        for split in SPLITS:
            rows = [item(f"{subset} {split} {n}", answer=1 + (at + n) % 5) for n in (1, 2)]
            write_split(tmp_path / "benchmark", subset, split, rows)
    return tmp_path / "benchmark"


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `datasets` keeps of a mirror stays in the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def refusal(source: Path | str, subsets: tuple[str, ...] = SUBSETS) -> str:
    with pytest.raises(KormedError) as error:
        read_benchmark(str(source), None, subsets)
    return str(error.value)


# A folder of <subset>/<split>.jsonl


def test_a_folder_of_jsonl_files_is_read_by_subset_and_split(folder: Path) -> None:
    questions = read_benchmark(str(folder), None, SUBSETS)
    assert {(subset, split) for subset, splits in questions.items() for split in splits} == {
        (subset, split) for subset in SUBSETS for split in ("train", "dev", "test", "fewshot")
    }
    assert [question.question for question in questions["nurse"]["test"]] == ["nurse test 1", "nurse test 2"]
    assert [question.letter for question in questions["doctor"]["test"]] == ["B", "C"]


def test_only_the_subsets_of_the_recipe_are_read(folder: Path) -> None:
    shutil.rmtree(folder / "nurse")
    assert list(read_benchmark(str(folder), None, ("doctor",))) == ["doctor"]


def test_extra_columns_of_the_original_are_accepted(folder: Path) -> None:
    columns = {"subject": "doctor", "year": 2022, "period": 1, "q_number": 17, "cot": "까닭", "F": ""}
    write_split(folder, "doctor", "test", [item("물음", answer=2, **columns)])
    (question,) = read_benchmark(str(folder), None, SUBSETS)["doctor"]["test"]
    assert question.choices == ("가", "나", "다", "라", "마")
    assert (question.letter, question.cot) == ("B", "까닭")


def test_a_sixth_choice_is_refused_and_not_dropped_silently(folder: Path) -> None:
    path = write_split(folder, "doctor", "test", [item("좋은 줄"), item("여섯 가지", F="바")])
    message = refusal(folder)
    assert f"{path}:2: " in message
    assert "five choices were wanted" in message


@pytest.mark.parametrize("answer", [0, 6, -1, "B", "", None, 2.5, [1]])
def test_an_answer_outside_1_to_5_names_file_line_and_field(folder: Path, answer: Any) -> None:
    path = write_split(folder, "nurse", "train", [item("좋은 줄"), item("나쁜 줄", answer=answer)])
    message = refusal(folder)
    assert f"{path}:2: " in message
    assert "'answer'" in message


def test_an_answer_of_a_sixth_choice_is_refused_and_not_shortened(folder: Path) -> None:
    path = write_split(folder, "doctor", "test", [item("물음", answer=6, F="바")])
    assert f"{path}:1: " in refusal(folder)


@pytest.mark.parametrize("field", ["question", "A", "E", "answer"])
def test_a_missing_field_names_file_line_and_field(folder: Path, field: str) -> None:
    row = item("물음")
    del row[field]
    path = write_split(folder, "doctor", "fewshot", [item("좋은 줄"), item("좋은 줄 둘"), row])
    message = refusal(folder)
    assert f"{path}:3: " in message
    assert repr(field) in message


@pytest.mark.parametrize("text", ["", "   \n"])
def test_a_question_without_text_names_file_line_and_field(folder: Path, text: str) -> None:
    path = write_split(folder, "doctor", "test", [item(text)])
    message = refusal(folder)
    assert f"{path}:1: " in message
    assert "'question'" in message


@pytest.mark.parametrize("split", SPLITS)
def test_an_empty_split_is_named(folder: Path, split: str) -> None:
    path = write_split(folder, "nurse", split, [])
    message = refusal(folder)
    assert str(path) in message
    assert "empty" in message


@pytest.mark.parametrize("split", SPLITS)
def test_a_missing_split_is_named(folder: Path, split: str) -> None:
    (folder / "doctor" / f"{split}.jsonl").unlink()
    message = refusal(folder)
    assert str(folder / "doctor" / f"{split}.jsonl") in message
    assert "no such file" in message


def test_a_missing_subset_is_named_with_those_that_are_there(folder: Path) -> None:
    message = refusal(folder, ("doctor", "pharm"))
    assert "no subset pharm" in message
    assert "there are doctor, nurse" in message
    assert "prepare.subsets" in message


def test_a_missing_folder_says_what_may_stand_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source in (str(tmp_path / "nothing"), "./nothing", "data/benchmarks/kormedmcqa", "kormedmcqa"):
        message = refusal(source)
        assert source in message
        assert "no such folder" in message
        assert "<subset>/<split>.jsonl" in message


# A mirror in the hub's layout


@pytest.mark.usefixtures("own_cache")
def test_a_mirror_gives_back_the_very_questions_it_was_written_from(folder: Path, tmp_path: Path) -> None:
    rows = [item("따옴표 '와' \"둘\"\n그리고 줄바꿈", cot="까닭\n둘째 줄"), item("셋째, 넷째", answer=5)]
    write_split(folder, "doctor", "fewshot", rows)
    questions = read_benchmark(str(folder), None, SUBSETS)
    write_mirror(questions, tmp_path / "mirror")
    assert read_benchmark(str(tmp_path / "mirror"), None, SUBSETS) == questions


@pytest.mark.usefixtures("own_cache")
def test_two_mirrors_of_the_same_name_are_not_mixed_up(folder: Path, tmp_path: Path) -> None:
    """datasets 5.2 keys its cache by a local folder's last name: the second one once got the first one's questions."""
    for place in ("one", "other"):
        write_split(folder, "doctor", "test", [item(f"{place} place")])
        write_mirror(read_benchmark(str(folder), None, SUBSETS), tmp_path / place / "mirror")
    for place in ("one", "other"):
        (question,) = read_benchmark(str(tmp_path / place / "mirror"), None, SUBSETS)["doctor"]["test"]
        assert question.question == f"{place} place"


def test_a_mirror_is_the_same_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    """Its hash decides whether an evaluation is stale."""
    questions = read_benchmark(str(folder), None, SUBSETS)
    for name in ("one", "other"):
        write_mirror(questions, tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 1 + len(SUBSETS) * len(SPLITS)
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def cut_parquet(mirror: Path) -> None:
    path = mirror / "doctor" / "test.parquet"
    path.write_bytes(path.read_bytes()[:100])


def leave_a_git_lfs_pointer(mirror: Path) -> None:
    (mirror / "doctor" / "test.parquet").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 100\n", encoding="utf-8"
    )


def remove_split(mirror: Path) -> None:
    (mirror / "doctor" / "test.parquet").unlink()


def remove_readme(mirror: Path) -> None:
    (mirror / "README.md").unlink()


def empty_the_folder(mirror: Path) -> None:
    shutil.rmtree(mirror)
    mirror.mkdir()


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    "damage", [cut_parquet, leave_a_git_lfs_pointer, remove_split, remove_readme, empty_the_folder]
)
def test_a_damaged_mirror_is_named_with_the_ways_out(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    mirror = tmp_path / "mirror"
    write_mirror(read_benchmark(str(folder), None, SUBSETS), mirror)
    damage(mirror)
    message = refusal(mirror)
    assert str(mirror) in message
    assert "prepare.benchmark" in message


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([item("좋은 줄"), item("나쁜 줄", answer=6)], "'answer'"),
        ([item("좋은 줄"), item("")], "'question'"),
        ([item("좋은 줄"), item("  ")], "'question'"),
        ([{k: v for k, v in item("줄").items() if k != "E"}] * 2, "'E'"),
    ],
)
def test_a_row_of_a_mirror_that_does_not_fit_names_split_row_and_field(
    folder: Path, tmp_path: Path, rows: list[dict[str, Any]], named: str
) -> None:
    mirror = tmp_path / "mirror"
    write_mirror(read_benchmark(str(folder), None, SUBSETS), mirror)
    datasets.Dataset.from_list(rows).to_parquet(mirror / "doctor" / "test.parquet")
    message = refusal(mirror)
    assert f"{mirror}: doctor/test, row " in message
    assert named in message


@pytest.mark.usefixtures("own_cache")
def test_an_empty_split_of_a_mirror_is_named(folder: Path, tmp_path: Path) -> None:
    questions = read_benchmark(str(folder), None, SUBSETS)
    questions["nurse"]["dev"] = []
    write_mirror(questions, tmp_path / "mirror")
    message = refusal(tmp_path / "mirror")
    assert "nurse" in message
    assert "dev" in message


# A hub id


def test_a_hub_id_without_a_hub_says_so_and_names_the_local_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # conftest: tests never ask a hub
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    message = refusal("nobody/no-such-benchmark")
    assert "nobody/no-such-benchmark" in message
    assert "HF_HUB_OFFLINE is set" in message
    assert "prepare.benchmark" in message
