"""deidentify: a file alone, without a recipe; what was masked stands beside it, and a labelled file gives its score."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stages.cli import main

TEXT = "환자 김민수님, 연락처 010-1234-5678. AST 114, 2-3일 복용."


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "notes.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def deidentify(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["deidentify", *arguments])


def test_the_masked_text_comes_with_what_was_masked_and_where(tmp_path: Path) -> None:
    result = deidentify(str(write(tmp_path, {"text": TEXT, "ward": 3})))
    (row,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert row["text"] == "환자 [이름]님, 연락처 [전화번호]. AST 114, 2-3일 복용."
    assert row["ward"] == 3
    assert [(span["type"], span["text"]) for span in row["spans"]] == [("name", "김민수"), ("phone", "010-1234-5678")]
    for span in row["spans"]:
        assert TEXT[span["start"] : span["end"]] == span["text"]


def test_an_output_file_is_written_whole_and_never_over_another(tmp_path: Path) -> None:
    source, output = write(tmp_path, {"text": TEXT}, {"text": "두통"}), tmp_path / "masked.jsonl"
    assert deidentify(str(source), "--output", str(output)).exit_code == 0
    before = output.read_bytes()
    assert len(before.splitlines()) == 2
    again = deidentify(str(source), "--output", str(output))
    assert again.exit_code == 2
    assert "nothing is written over" in again.stderr
    assert output.read_bytes() == before


def test_a_bad_line_leaves_no_half_written_output(tmp_path: Path) -> None:
    output = tmp_path / "masked.jsonl"
    result = deidentify(str(write(tmp_path, {"text": TEXT}, {"note": "x"})), "--output", str(output))
    assert result.exit_code == 2
    assert "notes.jsonl:2: field 'text'" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jsonl"]


def test_a_labelled_file_gives_precision_and_recall_by_type(tmp_path: Path) -> None:
    name = {"type": "name", "start": 3, "end": 6, "text": "김민수"}
    wrong = {"type": "url", "start": 8, "end": 10, "text": TEXT[8:10]}
    result = deidentify(str(write(tmp_path, {"text": TEXT, "spans": [name, wrong]})), "--score")
    table = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert table["name"] == ["1", "1", "1", "1.000", "1.000"]
    assert table["url"] == ["1", "0", "0", "-", "0.000"]
    assert table["phone"] == ["0", "1", "0", "0.000", "-"]
    assert table["all"] == ["2", "2", "1", "0.500", "0.500"]


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"text": TEXT}, "a list of labels was wanted"),
        ({"text": TEXT, "spans": [{"type": "nickname", "start": 0, "end": 2, "text": "환자"}]}, "type"),
        (
            {"text": TEXT, "spans": [{"type": "name", "start": 0, "end": 3, "text": "김민수"}]},
            "'김민수' was wanted at 0-3",
        ),
    ],
)
def test_labels_that_do_not_fit_name_the_line(tmp_path: Path, row: dict[str, Any], wanted: str) -> None:
    result = deidentify(str(write(tmp_path, row)), "--score")
    assert result.exit_code == 2
    assert "notes.jsonl:1: " in result.stderr
    assert wanted in result.stderr
