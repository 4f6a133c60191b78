"""records: what a user's JSONL file may look like, and what it says when it does not fit."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.core.errors import KormedError
from stages.core.records import (
    Candidate,
    Dropped,
    Example,
    ExamQuestion,
    Response,
    append_jsonl,
    read_appended,
    read_jsonl,
    read_numbered,
    read_rows,
    write_jsonl,
)

ROW = Dropped(id="row-1", reason="되풀이", text="열이 나요")
LINE = '{"id": "row-1", "reason": "되풀이", "text": "열이 나요"}'


def response(annotator: str) -> Response:
    return Response(
        comparison_id="c1",
        annotator=annotator,
        value="a",
        status="submitted",
        submitted_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    candidate = Candidate(
        id="a1",
        consult_id="consult-1",
        text='따옴표 "와" 줄바꿈\n그리고 \\ 역슬래시',
        checkpoint="sft",
        temperature=0.9,
        top_p=0.95,
        seed=0,
        tokens=12,
        finished=False,
        marks=("truncated", "repeating"),
    )
    assert write_jsonl(tmp_path / "candidates.jsonl", [candidate, candidate]) == 2
    assert read_jsonl(tmp_path / "candidates.jsonl", Candidate) == [candidate, candidate]


def test_korean_stands_in_the_file_as_korean(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [ROW])
    assert "열이 나요" in (tmp_path / "rows.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\xef\xbb\xbf" + LINE.encode() + b"\n", "a byte order mark, as Excel and Notepad write"),
        (LINE.encode() + b"\r\n", "Windows line ends"),
        (LINE.encode(), "no line end after the last row"),
        (b"\n  \n" + LINE.encode() + b"\n\n", "blank lines"),
    ],
)
def test_a_file_from_an_ordinary_editor_is_read(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert read_jsonl(path, Dropped) == [ROW], what


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
def test_a_line_separator_inside_a_string_does_not_end_the_row(tmp_path: Path, separator: str) -> None:
    row = ROW.model_copy(update={"text": f"첫 줄{separator}둘째 줄"})
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [row, row])
    assert read_jsonl(path, Dropped) == [row, row]


def test_a_raw_line_separator_inside_a_string_does_not_end_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(LINE.replace("열이 나요", "열이\u2028나요") + "\n" + LINE, encoding="utf-8")
    assert [row.text for row in read_jsonl(path, Dropped)] == ["열이\u2028나요", "열이 나요"]


def test_line_numbers_count_blank_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"\n{LINE}\n\n\n{LINE}\n", encoding="utf-8")
    assert [line for line, _ in read_numbered(path, Dropped)] == [2, 5]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('{"id": "x", "reason": "y"}', "'text'"),
        ('{"id": "x", "reason": "y", "text": 7}', "'text'"),
        ('{"id": "x", "reason": "y", "text": "z", "note": "?"}', "'note'"),
        ('{"id": "x", "reason": "y", "text": null}', "'text'"),
        ('{"id": "x", "reason": "y", "text": "\\ud83d"}', "'text'"),  # half an emoji: no text at all
    ],
)
def test_a_row_that_does_not_fit_names_file_line_and_field(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{LINE}\n{LINE}\n{line}\n", encoding="utf-8")
    with pytest.raises(KormedError) as error:
        read_jsonl(path, Dropped)
    assert f"{path}:3: " in str(error.value)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_every_field_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"question": "", "A": "가", "B": 2, "C": "다", "E": "마", "answer": 6}\n', encoding="utf-8")
    with pytest.raises(KormedError) as error:
        read_jsonl(path, ExamQuestion)
    for field in ("'question'", "'B'", "'D'", "'answer'"):
        assert field in str(error.value)
    for field in ("'A'", "'C'", "'E'"):
        assert field not in str(error.value)


@pytest.mark.parametrize(
    ("line", "says"), [('{"id": "x",', "not JSON"), ("[1, 2]", "list"), ('"text"', "str"), ("{'id': 'x'}", "not JSON")]
)
def test_a_line_that_is_no_json_object_names_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{LINE}\n{line}\n{LINE}\n", encoding="utf-8")
    with pytest.raises(KormedError) as error:
        read_jsonl(path, Dropped)
    assert f"{path}:2: " in str(error.value)
    assert says in str(error.value)


def test_a_cp949_file_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINE.encode("cp949"))
    with pytest.raises(KormedError, match="UTF-8") as error:
        read_jsonl(path, Dropped)
    assert str(path) in str(error.value)
    assert "iconv" in str(error.value)


def test_a_missing_file_and_a_folder_in_its_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(KormedError, match="no such file") as error:
        read_jsonl(tmp_path / "nothing.jsonl", Dropped)
    assert str(tmp_path / "nothing.jsonl") in str(error.value)
    with pytest.raises(KormedError, match="folder"):
        read_jsonl(tmp_path, Dropped)


def test_rows_of_foreign_columns_come_with_their_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"anything": 1}\n\n{"else": [2]}\n', encoding="utf-8")
    assert list(read_rows(path)) == [(1, {"anything": 1}), (3, {"else": [2]})]


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [ROW])

    def rows_then_failure() -> Iterator[Dropped]:
        yield ROW.model_copy(update={"text": "새 줄"})
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_jsonl(path, rows_then_failure())
    assert read_jsonl(path, Dropped) == [ROW]


def test_a_write_replaces_the_old_file_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [ROW, ROW, ROW])
    write_jsonl(path, [ROW])
    assert read_jsonl(path, Dropped) == [ROW]
    assert list(tmp_path.iterdir()) == [path]


def test_appending_keeps_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    append_jsonl(path, [response("a")])
    append_jsonl(path, [response("b"), response("c")])
    assert [row.annotator for row in read_appended(path, Response)] == ["a", "b", "c"]


@pytest.mark.parametrize("kept_bytes", [1, 40, -1])
def test_a_half_written_last_line_is_cut_off_and_the_next_append_is_whole(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "responses.jsonl"
    append_jsonl(path, [response("a"), response("b")])
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:kept_bytes])
    assert [row.annotator for row in read_appended(path, Response)] == ["a"]
    append_jsonl(path, [response("c")])
    assert [row.annotator for row in read_appended(path, Response)] == ["a", "c"]


def test_a_kill_in_the_middle_of_a_korean_character_loses_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, [ROW])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: whole.index("요".encode()) + 1])
    assert read_appended(path, Dropped) == [ROW]


def test_a_broken_line_before_the_last_is_an_error_and_nothing_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{LINE}\n{LINE[:20]}\n{LINE}\n", encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(KormedError, match=":2: "):
        read_appended(path, Dropped)
    assert path.read_bytes() == before


def test_a_file_nobody_appended_to_yet_is_empty(tmp_path: Path) -> None:
    assert read_appended(tmp_path / "nothing.jsonl", Dropped) == []


def test_records_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        ROW.reason = "another"  # type: ignore[misc]


@pytest.mark.parametrize(("answer", "letter"), [(1, "A"), (3, "C"), (5, "E")])
def test_answer_one_is_a_and_five_is_e(answer: int, letter: str) -> None:
    assert ExamQuestion(question="?", A="ㄱ", B="ㄴ", C="ㄷ", D="ㄹ", E="ㅁ", answer=answer).letter == letter


def test_an_unknown_field_of_our_own_record_is_refused_but_the_benchmarks_extra_columns_are_not() -> None:
    with pytest.raises(ValidationError):
        Example.model_validate({"id": "1", "question": "q", "instruction": "i", "answer": "a", "source": "s", "x": 1})
    columns = {"question": "q", **dict.fromkeys("ABCDE", "보기"), "answer": 2, "year": 2020, "q_number": 7}
    assert ExamQuestion.model_validate(columns).letter == "B"
