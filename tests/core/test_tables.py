"""tables: whatever a user's file looks like, each row is read, or handed on with its line and the reason."""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.core.errors import KormedError
from stages.core.tables import Row, Table, Unread, as_text, encodable, encoding_of, flaw, mapping_problems, open_table

HEADER = "번호,질문,답변\n"
FEVER = "1,열이 나요,물을 드시고 쉬세요\n"
COUGH = "2,기침이 나요,가습기를 켜 보세요\n"
FEVER_CELLS = {"번호": "1", "질문": "열이 나요", "답변": "물을 드시고 쉬세요"}
COUGH_CELLS = {"번호": "2", "질문": "기침이 나요", "답변": "가습기를 켜 보세요"}


def written(folder: Path, name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def cells(path: Path) -> list[dict[str, object]]:
    """What could be read; a test that uses it wants that to be everything."""
    rows = list(open_table(path).rows())
    assert not [row for row in rows if isinstance(row, Unread)]
    return [dict(row.cells) for row in rows if isinstance(row, Row)]


def kept(path: Path) -> list[tuple[int, object]]:
    """Number and first cell of the rows that could be read."""
    rows = [row for row in open_table(path).rows() if isinstance(row, Row)]
    return [(row.number, next(iter(row.cells.values()))) for row in rows]


def unread(path: Path) -> list[tuple[int, str]]:
    return [(row.number, row.reason) for row in open_table(path).rows() if isinstance(row, Unread)]


def refusal(path: Path) -> str:
    with pytest.raises(KormedError) as error:
        list(open_table(path).rows())
    return str(error.value)


def json_lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_csv_reads_the_same_in_every_encoding_that_excel_writes(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "rows.csv", HEADER + FEVER + COUGH, encoding)
    assert cells(path) == [FEVER_CELLS, COUGH_CELLS]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be"])
def test_jsonl_reads_the_same_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "rows.jsonl", json_lines(FEVER_CELLS, COUGH_CELLS), encoding)
    assert cells(path) == [FEVER_CELLS, COUGH_CELLS]


def test_an_encoding_other_than_utf_8_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kormed")
    open_table(written(tmp_path, "plain.csv", HEADER + FEVER))
    assert not caplog.messages
    path = written(tmp_path, "korean.csv", HEADER + FEVER, "cp949")
    open_table(path)
    assert caplog.messages == [f"{path}: not UTF-8; read as cp949"]


def test_a_line_of_a_cp949_file_that_is_utf_8_by_chance_is_read_as_cp949(tmp_path: Path) -> None:
    assert "짜".encode("cp949").decode("utf-8") != "짜"
    path = written(tmp_path, "rows.csv", HEADER + FEVER + "2,짜,짜\n" + COUGH, "cp949")
    assert cells(path)[1] == {"번호": "2", "질문": "짜", "답변": "짜"}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_file_with_both_encodings_is_read_line_by_line(tmp_path: Path, ending: str) -> None:
    if ending == "csv":
        lines = [HEADER.encode(), FEVER.encode(), COUGH.encode("cp949"), FEVER.encode()]
    else:
        fever, cough = json_lines(FEVER_CELLS), json_lines(COUGH_CELLS)
        lines = [fever.encode(), cough.encode("cp949"), fever.encode()]
    assert cells(written(tmp_path, f"rows.{ending}", b"".join(lines))) == [FEVER_CELLS, COUGH_CELLS, FEVER_CELLS]


def test_a_line_in_no_known_encoding_costs_itself_alone(tmp_path: Path) -> None:
    content = HEADER.encode() + FEVER.encode() + b"2,\xff\xfe\x80,x\n" + COUGH.encode()
    path = written(tmp_path, "rows.csv", content)
    assert unread(path) == [(3, "neither UTF-8 nor CP949")]
    assert kept(path) == [(2, "1"), (4, "2")]


def test_a_damaged_utf_8_line_is_not_taken_for_korean_in_cp949(tmp_path: Path) -> None:
    damaged = "걋놽".encode()[:-2] + b"\n"  # CP949 by chance, where it reads 嫄뗪납 or so
    lines = [json_lines(FEVER_CELLS).encode()] * 3
    path = written(tmp_path, "rows.jsonl", b"".join([*lines, damaged, lines[0]]))
    assert unread(path) == [(4, "neither UTF-8 nor CP949")]


def test_a_file_cut_off_in_the_middle_of_a_character_is_still_utf_8(tmp_path: Path) -> None:
    content = json_lines(FEVER_CELLS, COUGH_CELLS, FEVER_CELLS).encode()
    path = written(tmp_path, "rows.jsonl", content[:-7])
    assert encoding_of(path) == "mixed"
    assert [number for number, _ in unread(path)] == [3]
    assert len(kept(path)) == 2


# JSONL


def test_jsonl_columns_are_those_of_all_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", json_lines({"q": "가"}, {"q": "나", "late": 1}))
    assert open_table(path).columns == ("q", "late")


def test_a_table_can_be_read_again(tmp_path: Path) -> None:
    for path in (
        written(tmp_path, "rows.csv", HEADER + FEVER),
        written(tmp_path, "rows.jsonl", json_lines(FEVER_CELLS)),
    ):
        table = open_table(path)
        assert list(table.rows()) == list(table.rows()) == [Row(table_line(path), FEVER_CELLS)]


def table_line(path: Path) -> int:
    return 2 if path.suffix == ".csv" else 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"q": "가"', "not JSON"),
        ("물음, 답", "not JSON"),
        ('["가", "나"]', "no JSON object"),
        ("17", "no JSON object"),
        ('{"q": "가", "q": "나"}', "a key stands in it twice"),
        ("[" * 100_000, "not JSON"),
        ('{"q": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_line_that_is_no_json_object_is_handed_on_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    path = written(tmp_path, "rows.jsonl", '{"q": "앞"}\n' + line + '\n\n{"q": "뒤"}\n')
    assert unread(path) == [(2, reason)]
    assert kept(path) == [(1, "앞"), (4, "뒤")]


def test_a_half_written_last_line_is_named_as_one(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", '{"q": "가"}\n{"q": "나')
    assert unread(path) == [(2, "not JSON: the last line, cut off")]


def test_a_whole_last_line_needs_no_line_end(tmp_path: Path) -> None:
    assert kept(written(tmp_path, "rows.jsonl", '{"q": "가"}\n{"q": "나"}')) == [(1, "가"), (2, "나")]


@pytest.mark.parametrize("content", ['[{"q": "가"}]', '\ufeff [\n {"q": "가"}\n]\n'])
def test_a_json_array_is_refused_with_the_command_that_makes_jsonl_of_it(tmp_path: Path, content: str) -> None:
    assert "jq -c '.[]'" in refusal(written(tmp_path, "rows.json", content))


def test_a_jsonl_file_without_one_object_is_an_error_that_shows_why(tmp_path: Path) -> None:
    assert "line 1: not JSON" in refusal(written(tmp_path, "rows.jsonl", "번호,질문\n1,열\n"))
    assert "blank" in refusal(written(tmp_path, "blank.jsonl", "\n\n"))


# CSV


def test_quoted_fields_hold_newlines_separators_and_quotes(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", 'q,a\r\n"한 줄\r\n두 줄, 세 칸","그는 ""네""라고"\r\n다음,답\r\n')
    assert cells(path) == [
        {"q": "한 줄\r\n두 줄, 세 칸", "a": '그는 "네"라고'},
        {"q": "다음", "a": "답"},
    ]
    assert [number for number, _ in kept(path)] == [2, 4]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_of_a_csv_is_the_headers(tmp_path: Path, separator: str) -> None:
    row = separator.join(["1", '"쉼표, 세미콜론; 탭\t, 줄|"', "답"])
    path = written(tmp_path, "rows.csv", separator.join(["id", '"질문, 증상; 경과"', "a"]) + "\n" + row + "\n")
    assert cells(path) == [{"id": "1", "질문, 증상; 경과": "쉼표, 세미콜론; 탭\t, 줄|", "a": "답"}]


def test_a_tsv_is_separated_by_tabs_whatever_its_header_holds(tmp_path: Path) -> None:
    assert cells(written(tmp_path, "rows.tsv", "q, 물음, 증상\ta\n가\t나\n")) == [{"q, 물음, 증상": "가", "a": "나"}]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2,열이 나요", "fewer columns than the header names"),
        ("2,열이 나요, 어제부터요,쉬세요", "more columns than the header names"),
    ],
)
def test_a_row_with_another_number_of_columns_is_handed_on(tmp_path: Path, row: str, reason: str) -> None:
    path = written(tmp_path, "rows.csv", HEADER + FEVER + row + "\n" + COUGH)
    assert unread(path) == [(3, reason)]
    assert len(kept(path)) == 2


def test_a_quote_that_is_never_closed_costs_its_own_row_and_not_the_rest(tmp_path: Path) -> None:
    rest = "".join(f"{at},질문 {at},답변 {at}\n" for at in range(3, 200))
    path = written(tmp_path, "rows.csv", HEADER + FEVER + '2,"열이 나요,쉬세요\n' + rest)
    assert unread(path) == [(3, "not CSV (unexpected end of data)")]
    assert len(kept(path)) == 198
    assert kept(path)[1] == (4, "3")


def test_a_quote_closed_by_another_rows_quote_costs_its_own_row(tmp_path: Path) -> None:
    path = written(
        tmp_path, "rows.csv", HEADER + '1,"열이 나요,쉬세요\n' + COUGH + '3,"목이 아파요, 어제부터",쉬세요\n'
    )
    assert [number for number, _ in unread(path)] == [2]
    assert kept(path) == [(3, "2"), (4, "3")]


def test_blank_lines_between_rows_are_no_rows(tmp_path: Path) -> None:
    assert len(cells(written(tmp_path, "rows.csv", "\n" + HEADER + "\n" + FEVER + "\n\n" + COUGH + "\n"))) == 2


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_field_of_a_megabyte_is_read_whole(tmp_path: Path, ending: str) -> None:
    long = "가" * 400_000
    content = f"q,a\n{long},답\n" if ending == "csv" else json_lines({"q": long, "a": "답"})
    assert cells(written(tmp_path, f"rows.{ending}", content)) == [{"q": long, "a": "답"}]


def test_a_header_that_names_a_column_twice_is_an_error(tmp_path: Path) -> None:
    assert "twice: 답변" in refusal(written(tmp_path, "rows.csv", "질문,답변,답변\n가,나,다\n"))


def test_a_nameless_column_as_pandas_writes_it_is_left_out(tmp_path: Path) -> None:
    assert cells(written(tmp_path, "rows.csv", ",q,a\n0,가,나\n")) == [{"q": "가", "a": "나"}]


def test_lines_that_end_in_cr_alone_are_an_error_and_no_single_row(tmp_path: Path) -> None:
    assert "header cannot be read" in refusal(written(tmp_path, "rows.csv", "q,a\r가,나\r"))


def test_emoji_rtl_marks_html_and_nul_bytes_reach_the_reader_as_they_are(tmp_path: Path) -> None:
    text = "아파요😢 \u200f<b>많이</b>\u200e \x00"
    assert cells(written(tmp_path, "rows.csv", f"q,a\n{text},답\n"))[0]["q"] == text


# Parquet


def test_parquet_rows_are_numbered_and_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"q": ["열이 나요", None], "n": [1.0, math.nan], "tags": [["열", "감기"], []]}), path)
    table = open_table(path)
    first, second = table.rows()
    assert table.columns == ("q", "n", "tags")
    assert first == Row(1, {"q": "열이 나요", "n": 1.0, "tags": ["열", "감기"]})
    assert isinstance(second, Row)
    assert (second.number, as_text(second.cells["q"]), as_text(second.cells["n"])) == (2, "", "")


def test_a_parquet_text_that_is_not_utf_8_costs_its_row_alone(tmp_path: Path) -> None:
    damaged = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0\6\0\0\0"), pa.py_buffer(b"ok\xff\xfeok")]
    )
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"q": damaged}), path)
    assert unread(path) == [(2, "not UTF-8")]
    assert kept(path) == [(1, "ok"), (3, "ok")]


def test_a_cut_off_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"q": ["열이 나요"] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a whole parquet file" in refusal(path)


# Files that are something else


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.XLSX", "rows.xls"])
def test_an_excel_file_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    assert "save the sheet as CSV" in refusal(written(tmp_path, name, b"PK\x03\x04"))


def test_an_excel_file_that_is_called_csv_is_refused_too(tmp_path: Path) -> None:
    assert "save the sheet as CSV" in refusal(written(tmp_path, "rows.csv", b"PK\x03\x04\x14\x00"))


@pytest.mark.parametrize(
    ("name", "says"), [("rows.csv.gz", "unpack"), ("rows.docx", "wanted .jsonl"), ("rows", "wanted .jsonl")]
)
def test_another_kind_of_file_is_refused(tmp_path: Path, name: str, says: str) -> None:
    assert says in refusal(written(tmp_path, name, b"x"))


def test_no_file_a_folder_and_an_empty_file_are_errors(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "rows.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "folder" in refusal(tmp_path / "folder.csv")
    assert "empty" in refusal(written(tmp_path, "empty.csv", ""))


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    assert cells(written(tmp_path, "rows.csv", HEADER)) == []


# Cells


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("  열 \n", "열"),
        (None, ""),
        (math.nan, ""),
        ("NaN", ""),
        ("None", ""),
        ("없음", "없음"),
        (7, "7"),
        (3.0, "3"),
        (36.5, "36.5"),
        (Decimal("1.50"), "1.50"),
        (Decimal("NaN"), ""),
        (date(2026, 6, 8), "2026-06-08"),
        (datetime(2026, 6, 8), "2026-06-08"),
        ([1], None),
        ({}, None),
        (b"x", None),
    ],
)
def test_a_cell_becomes_text_where_it_can(cell: object, text: str | None) -> None:
    assert as_text(cell) == text


@pytest.mark.parametrize(
    ("text", "says"), [("가\0나", "NUL"), ("가\ud83d", "surrogate"), ("가<end_of_turn>나", "<end_of_turn>")]
)
def test_what_no_later_stage_can_take_is_named(text: str, says: str) -> None:
    assert says in (flaw(text) or "")


@pytest.mark.parametrize("text", ["열이 나요 😢", "p<0.05", "\u200f이름\u200e", "<b>굵게</b>", "eos, bos"])
def test_what_quality_can_clean_is_no_flaw(text: str) -> None:
    assert flaw(text) is None


def test_half_a_character_can_be_written_down() -> None:
    assert encodable("가\ud83d나") == "가\\ud83d나"


# Mapping


def problems(named: Mapping[str, str]) -> list[str]:
    return mapping_problems("columns", named, Table(Path("rows.csv"), ("번호", "Question", "answer"), lambda: iter(())))


def test_a_mapping_that_fits_has_no_problems() -> None:
    assert problems({"id": "번호", "question": "Question", "answer": "answer"}) == []


def test_every_missing_column_is_named_with_the_nearest_one_and_those_there() -> None:
    first, second = problems({"question": "question", "answer": "answr"})
    assert "columns.question: no column 'question' in rows.csv; did you mean 'Question'?" in first
    assert "did you mean 'answer'?" in second
    assert "there are '번호', 'Question', 'answer'" in first


def test_two_fields_in_one_column_are_a_problem() -> None:
    (problem,) = problems({"question": "Question", "answer": "Question"})
    assert "question and answer are the same column" in problem
