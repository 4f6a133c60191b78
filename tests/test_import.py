"""import: the user's own rows become raw consults and exam questions, and each one that does not has its reason."""

import csv
import io
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import import_
from stages.core.chat import CONSULT_INSTRUCTION
from stages.core.consults import read_consults
from stages.core.errors import KormedError
from stages.core.imported import answer_number, iso_date
from stages.core.kormedmcqa import draw_splits
from stages.core.recipe import Import
from stages.core.records import Dropped, ExamQuestion, RawConsult, read_jsonl

DEMO = Path(__file__).parents[1] / "recipes" / "demo"
FEVER = {"question": "열이 나요", "answer": "물을 드시고 쉬세요"}
COUGH = {"question": "기침이 나요", "answer": "가습기를 켜 보세요"}
EXAM = {"question": "가장 먼저 할 검사는?", "A": "혈액", "B": "소변", "C": "심전도", "D": "초음파", "E": "내시경"}


def jsonl(folder: Path, *rows: dict[str, Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def csv_file(folder: Path, *rows: dict[str, Any], name: str = "rows.csv") -> Path:
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path = folder / name
    path.write_text(written.getvalue(), encoding="utf-8", newline="")
    return path


def run(folder: Path, **sections: Any) -> Path:
    """The filled folder."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    metrics = import_.run(Import.model_validate({"seed": 42} | sections), out)
    assert metrics["dropped"] == len(dropped(out))
    assert metrics["consults"] == len(consults(out))
    return out


def import_consults(path: Path, **columns: str) -> Path:
    return run(path.parent, consults={"path": path, "columns": columns})


def import_questions(path: Path, columns: dict[str, str] | None = None, **settings: Any) -> Path:
    return run(path.parent, questions={"path": path, "columns": columns or {}, **settings})


def consults(out: Path) -> list[RawConsult]:
    return read_jsonl(out / "consults.jsonl", RawConsult)


def dropped(out: Path) -> list[Dropped]:
    """Of both kinds of row: a test imports one."""
    return [row for place in (out, out / "questions") for row in read_jsonl(place / "dropped.jsonl", Dropped)]


def reasons(out: Path) -> dict[str, str]:
    return {row.id.rpartition("/")[2]: row.reason for row in dropped(out)}


def questions(out: Path, name: str = "doctor/all") -> list[ExamQuestion]:
    return read_jsonl(out / "questions" / f"{name}.jsonl", ExamQuestion)


def refusal(folder: Path, **sections: Any) -> str:
    with pytest.raises(KormedError) as error:
        run(folder, **sections)
    return str(error.value)


# Consults


def test_every_named_column_finds_its_place(tmp_path: Path) -> None:
    row = {
        "번호": "C-1",
        "제목": "열",
        "질문": "열이 나요",
        "환자": "30세 여성",
        "답변": "쉬세요",
        "의사": "김하늘",
        "병원": "푸른의원",
        "추천": "1,204",
        "날짜": "2026.6.8 10:15",
        "태그": "열, 감기",
        "과": "내과",
    }
    names = ["id", "title", "question", "patient_information", "answer", "doctor", "clinic", "recommendations", "date"]
    columns = dict(zip([*names, "tags", "department"], row, strict=True))
    path = csv_file(tmp_path, row)
    (consult,) = consults(import_consults(path, **columns))
    (answer,) = consult.answers
    assert (consult.own_ids, consult.title, consult.body) == (("C-1",), "열", "열이 나요")
    assert (consult.patient_information, consult.date, consult.tags) == ("30세 여성", "2026-06-08", ("열", "감기"))
    assert consult.department == "내과"
    assert consult.url == f"{path}:2"
    assert (answer.source, answer.text, answer.doctor, answer.clinic) == (f"{path}:2", "쉬세요", "김하늘", "푸른의원")
    assert answer.recommendations == 1204


def test_what_is_not_named_is_not_known(tmp_path: Path) -> None:
    (consult,) = consults(import_consults(jsonl(tmp_path, FEVER | {"title": "열", "doctor": "김하늘"})))
    assert consult.patient_information is None
    assert (consult.title, consult.answers[0].doctor, consult.answers[0].recommendations) == ("", "", None)


def test_the_reports_form_comes_in_as_prepare_would_read_it(tmp_path: Path) -> None:
    """The same row has the same patient information and texts, whichever way it comes into a run."""
    rows = [json.loads(line) for line in (DEMO / "consults.jsonl").read_text(encoding="utf-8").splitlines()]
    path = jsonl(tmp_path, *({key: value for key, value in row.items() if key != "id"} for row in rows))
    made = consults(import_consults(path, instruction="instruction"))
    wanted = read_consults(path)
    assert [(c.body, c.patient_information, c.answers[0].text) for c in made] == [
        (c.question, c.patient_information, c.answer) for c in wanted
    ]


def test_an_instruction_in_another_form_is_dropped(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        FEVER | {"instruction": "질문에 답하세요"},
        COUGH | {"instruction": f"{CONSULT_INSTRUCTION}\n\n40세 남성"},
    )
    out = import_consults(path, instruction="instruction")
    assert reasons(out) == {"rows.jsonl:1": "instruction does not open with the report's sentence"}
    assert consults(out)[0].patient_information == "40세 남성"


def test_the_same_question_under_the_same_id_is_one_consult_with_two_answers(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [FEVER | {"id": 1}, COUGH | {"id": 2}, FEVER | {"id": 1, "answer": "해열제를 드세요"}]
    out = import_consults(jsonl(tmp_path, *rows), id="id")
    first, second = consults(out)
    assert [answer.text for answer in first.answers] == ["물을 드시고 쉬세요", "해열제를 드세요"]
    assert [answer.source.rpartition(":")[2] for answer in first.answers] == ["1", "3"]
    assert len({answer.id for answer in first.answers}) == 2
    assert len(second.answers) == 1
    assert dropped(out) == []


def test_another_question_under_the_same_id_is_dropped_under_its_place(tmp_path: Path) -> None:
    path = jsonl(tmp_path, FEVER | {"id": "x"}, COUGH | {"id": "x"}, FEVER | {"id": "x"})
    out = import_consults(path, id="id")
    other, repeat = dropped(out)
    (kept,) = consults(out)
    assert (other.id, other.hit, other.text) == (f"{path}:2", kept.id, "기침이 나요")
    assert other.reason == "its id stands there before, with another question"
    assert (repeat.id, repeat.hit, repeat.reason) == (f"{path}:3", kept.id, "repeats an earlier row")
    assert kept.body == "열이 나요"


def test_a_users_own_id_goes_no_further_than_the_raw_consult(tmp_path: Path) -> None:
    """Hospitals' ids are chart numbers and names; ours is made of what was asked, and the same on every import."""
    rows = [FEVER | {"id": "홍길동-20231234"}, COUGH | {"id": "7"}]
    one = consults(import_consults(jsonl(tmp_path, *rows), id="id"))
    (tmp_path / "again").mkdir()
    other = consults(import_consults(jsonl(tmp_path / "again", *rows[::-1]), id="id"))
    assert {consult.own_ids: consult.id for consult in one} == {consult.own_ids: consult.id for consult in other}
    assert not [consult for consult in one if "홍길동" in consult.id or "2023" in consult.id]


def test_a_question_under_two_ids_is_one_consult_that_both_lead_to(tmp_path: Path) -> None:
    rows = [FEVER | {"id": "a"}, FEVER | {"id": "b", "answer": "해열제를 드세요"}]
    (consult,) = consults(import_consults(jsonl(tmp_path, *rows), id="id"))
    assert consult.own_ids == ("a", "b")
    assert len(consult.answers) == 2


def test_without_ids_a_row_that_repeats_another_is_dropped_and_another_answer_is_added(tmp_path: Path) -> None:
    out = import_consults(jsonl(tmp_path, FEVER, FEVER, FEVER | {"answer": "해열제를 드세요"}))
    assert reasons(out) == {"rows.jsonl:2": "repeats an earlier row"}
    (consult,) = consults(out)
    assert [answer.text for answer in consult.answers] == ["물을 드시고 쉬세요", "해열제를 드세요"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "열이 나요", "answer": ""}, "answer is empty"),
        ({"question": " \n", "answer": "쉬세요"}, "question is empty"),
        ({"question": "열이 나요"}, "answer is empty"),
        ({"question": "열이 나요", "answer": None}, "answer is empty"),
        ({"question": "열이 나요", "answer": ["쉬세요"]}, "answer is no text but list"),
        ({"question": "열\0이 나요", "answer": "쉬세요"}, "question holds a NUL byte"),
        ({"question": "열이 나요 \ud83d", "answer": "쉬세요"}, "question holds half a character (a lone surrogate)"),
        (
            {"question": "열이 나요", "answer": "네<end_of_turn>"},
            "answer holds <end_of_turn>, a control token of Gemma's",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_dropped_with_its_reason(
    tmp_path: Path, row: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kormed")
    path = jsonl(tmp_path, COUGH, row)
    out = import_consults(path)
    assert reasons(out) == {"rows.jsonl:2": reason}
    assert len(consults(out)) == 1
    assert f"dropped 1 of 2: {reason} (the first: {path}:2)" in caplog.text


def test_a_dropped_row_keeps_its_own_id_where_it_has_one(tmp_path: Path) -> None:
    out = import_consults(jsonl(tmp_path, FEVER | {"id": "a"}, COUGH | {"id": "b", "answer": ""}), id="id")
    assert list(reasons(out)) == ["b"]


def test_html_emoji_marks_and_a_megabyte_come_through_untouched(tmp_path: Path) -> None:
    text = "<p>열이 나요😢 &lt;3</p>\u200f p<0.05"
    out = import_consults(csv_file(tmp_path, FEVER | {"question": text}, COUGH | {"answer": "가" * 1_000_000}))
    first, second = consults(out)
    assert first.body == text
    assert len(second.answers[0].text) == 1_000_000


def test_numbers_and_gaps_of_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table(
            {
                "id": [1.0, 2.0, math.nan],
                "q": ["열이 나요", "기침이 나요", "목이 아파요"],
                "a": ["쉬세요", None, "쉬세요"],
                "stars": [3.0, 0.0, math.nan],
                "tags": [["열", "감기"], [], None],
            }
        ),
        path,
    )
    out = import_consults(path, id="id", question="q", answer="a", recommendations="stars", tags="tags")
    first, last = consults(out)
    assert (first.own_ids, first.answers[0].recommendations, first.tags) == (("1",), 3, ("열", "감기"))
    assert last.own_ids == ()
    assert (last.url, last.answers[0].recommendations) == (f"{path}:3", None)
    assert reasons(out) == {"2": "answer is empty"}


def test_recommendations_that_are_no_number_are_not_taken_for_none(tmp_path: Path) -> None:
    path = csv_file(tmp_path, FEVER | {"likes": "많음"}, COUGH | {"likes": "3"})
    out = import_consults(path, recommendations="likes")
    assert list(reasons(out).values()) == ["recommendations is no number"]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026.06.08", "2026-06-08"),
        ("2026년 6월 8일", "2026-06-08"),
        ("2026-06-08T10:15:00", "2026-06-08"),
        ("2026.02.31", "2026.02.31"),
        ("어제", "어제"),
        ("", ""),
    ],
)
def test_a_date_is_read_where_it_can_be(text: str, date: str) -> None:
    assert iso_date(text) == date


def test_a_broken_line_and_a_broken_encoding_are_counted_beside_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = ["question,answer", "열이 나요,쉬세요", "기침이 나요", '"목이 아파요,쉬세요', "코가 막혀요,쉬세요"]
    path.write_bytes("\n".join(lines).encode() + b"\n\xff\x80,x\n")
    out = import_consults(path)
    assert reasons(out) == {
        "rows.csv:3": "fewer columns than the header names",
        "rows.csv:4": "not CSV (unexpected end of data)",
        "rows.csv:6": "neither UTF-8 nor CP949",
    }
    assert [consult.body for consult in consults(out)] == ["열이 나요", "코가 막혀요"]


# The mapping


def test_all_problems_of_the_mapping_are_told_at_once(tmp_path: Path) -> None:
    message = refusal(
        tmp_path,
        consults={
            "path": csv_file(tmp_path, {"질문": "가", "답변": "나"}),
            "columns": {"question": "질문", "answer": "답", "doctor": "의사"},
        },
        questions={"path": csv_file(tmp_path, EXAM | {"정답": 1}, name="exam.csv")},
    )
    assert message.startswith("3 problems")
    assert "import.consults.columns.answer: no column '답'" in message
    assert "import.consults.columns.doctor: no column '의사'" in message
    assert "import.questions.columns.answer: no column 'answer'" in message
    assert "there are '질문', '답변'" in message


def test_patient_information_from_two_columns_is_a_problem(tmp_path: Path) -> None:
    path = csv_file(tmp_path, FEVER | {"instruction": "", "patient": ""})
    columns = {"instruction": "instruction", "patient_information": "patient"}
    assert "name one of the two" in refusal(tmp_path, consults={"path": path, "columns": columns})


def test_a_file_of_which_no_row_can_be_used_is_an_error_that_shows_why(tmp_path: Path) -> None:
    path = csv_file(tmp_path, FEVER | {"answer": ""}, COUGH | {"answer": ""})
    message = refusal(tmp_path, consults={"path": path})
    assert "no row of it can be used" in message
    assert f"2 of 2: answer is empty (the first: {path}:2)" in message


def test_a_header_without_rows_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question,answer\n", encoding="utf-8")
    assert "no row" in refusal(tmp_path, consults={"path": tmp_path / "rows.csv"})


# Exam questions


@pytest.mark.parametrize("answer", ["3", 3, "C", "c", "Ｃ", "③", "심전도", " 심전도 "])
def test_every_form_of_an_answer_is_the_same_answer(tmp_path: Path, answer: object) -> None:
    (question,) = questions(import_questions(jsonl(tmp_path, EXAM | {"answer": answer})))
    assert (question.answer, question.letter) == (3, "C")


@pytest.mark.parametrize("answer", ["7", "G", "정답 없음", "C번"])
def test_an_answer_that_names_no_choice_is_dropped(tmp_path: Path, answer: str) -> None:
    out = import_questions(jsonl(tmp_path, EXAM | {"answer": 1}, EXAM | {"question": "다른 물음", "answer": answer}))
    assert reasons(out) == {"rows.jsonl:2": "answer names none of the choices"}


def test_a_choices_text_is_an_answer_only_if_one_choice_has_it() -> None:
    assert answer_number("1", ["1", "2", "3", "4", "5"]) == 1
    with pytest.raises(Exception, match="more than one"):
        answer_number("같음", ["같음", "같음", "다름", "둘 다", "없음"])
    with pytest.raises(Exception, match="more than one"):
        answer_number("1", ["0", "1", "2", "3", "4"])


def test_numbers_are_signs_where_all_answers_of_the_file_are(tmp_path: Path) -> None:
    counting = {"question": "몇 개인가?", **dict(zip("ABCDE", "01234", strict=True)), "answer": "1"}
    assert questions(import_questions(jsonl(tmp_path, counting)))[0].answer == 1
    (tmp_path / "texts").mkdir()
    out = import_questions(jsonl(tmp_path / "texts", counting, EXAM | {"answer": "소변"}))
    assert reasons(out) == {"rows.jsonl:1": "answer fits more than one choice"}


def test_answers_that_count_from_zero_are_an_error_and_not_off_by_one(tmp_path: Path) -> None:
    path = jsonl(tmp_path, EXAM | {"answer": 2}, EXAM | {"question": "다른 물음", "answer": 0})
    assert f"{path}:2: answer 0; answers count from 1" in refusal(tmp_path, questions={"path": path})


@pytest.mark.parametrize(
    ("name", "subset"),
    [("doctor", "doctor"), ("Nurse", "nurse"), ("약사", "pharm"), ("치과의사", "dentist"), ("", "dentist")],
)
def test_a_subset_is_named_in_english_or_korean_or_by_the_recipe(tmp_path: Path, name: str, subset: str) -> None:
    path = jsonl(tmp_path, EXAM | {"answer": 1, "직종": name})
    out = import_questions(path, {"subset": "직종"}, subset="dentist")
    assert [path.parent.name for path in out.glob("questions/*/all.jsonl")] == [subset]


@pytest.mark.parametrize(
    ("name", "split"), [("train", "train"), ("Validation", "dev"), ("dev", "dev"), ("test", "test"), ("fewshot",) * 2]
)
def test_a_split_is_named_as_the_hub_names_it(tmp_path: Path, name: str, split: str) -> None:
    out = import_questions(jsonl(tmp_path, EXAM | {"answer": 1, "split": name}), {"split": "split"})
    assert [path.stem for path in out.glob("questions/doctor/*.jsonl")] == [split]


def test_an_unknown_subset_or_split_is_dropped_and_says_what_is_known(tmp_path: Path) -> None:
    known = EXAM | {"answer": 1, "subset": "doctor", "split": "train"}
    path = jsonl(tmp_path, known, known | {"subset": "한의사"}, known | {"split": ""})
    told = reasons(import_questions(path, {"subset": "subset", "split": "split"}))
    assert "doctor" in told["rows.jsonl:2"]
    assert "fewshot" in told["rows.jsonl:3"]


def test_each_question_says_where_it_came_from(tmp_path: Path) -> None:
    path = csv_file(tmp_path, EXAM | {"answer": "①"}, EXAM | {"question": "다른 물음", "answer": "E"})
    out = import_questions(path)
    assert [question.source for question in questions(out)] == [f"{path}:2", f"{path}:3"]


def test_a_repeated_question_is_dropped_within_a_split_and_left_to_decontamination_between_splits(
    tmp_path: Path,
) -> None:
    row = EXAM | {"answer": 1, "split": "train"}
    path = jsonl(tmp_path, row, row, row | {"answer": 2}, row | {"split": "test"})
    out = import_questions(path, {"split": "split"})
    assert [(drop.reason, drop.hit) for drop in dropped(out)] == [
        ("repeats an earlier row", f"{path}:1"),
        ("repeats an earlier row with another answer", f"{path}:1"),
    ]
    assert len(questions(out, "doctor/train")) == len(questions(out, "doctor/test")) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"F": "조직검사"}, "more than five choices"),
        ({"answer": "6"}, "more than five choices"),
        ({"answer": "f"}, "more than five choices"),
        ({"answer": "⑥"}, "more than five choices"),
        ({"E": ""}, "fewer than five choices"),
    ],
)
def test_a_question_with_other_than_five_choices_is_dropped(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    whole = EXAM | {"F": "", "answer": "1"}
    out = import_questions(csv_file(tmp_path, whole, whole | {"question": "다른 물음"} | changes))
    assert reasons(out) == {"rows.csv:3": reason}


def test_a_sixth_choice_is_seen_under_korean_names_too(tmp_path: Path) -> None:
    row = {"질문": "물음", **{f"보기{at}": f"답 {at}" for at in range(1, 7)}, "정답": 1}
    columns = {"question": "질문", **{letter: f"보기{at}" for at, letter in enumerate("ABCDE", 1)}, "answer": "정답"}
    message = refusal(tmp_path, questions={"path": jsonl(tmp_path, row), "columns": columns})
    assert "1 of 1: more than five choices" in message
    assert "import.questions.columns says which column is what" in message


def test_what_is_left_out_of_consults_and_of_questions_is_told_apart(tmp_path: Path) -> None:
    texts = jsonl(tmp_path, FEVER, FEVER | {"answer": ""})
    exam = jsonl(tmp_path, EXAM | {"answer": 1}, EXAM | {"answer": 9}, name="exam.jsonl")
    out = run(tmp_path, consults={"path": texts}, questions={"path": exam})
    assert [row.id for row in read_jsonl(out / "dropped.jsonl", Dropped)] == [f"{texts}:2"]
    assert [row.id for row in read_jsonl(out / "questions/dropped.jsonl", Dropped)] == [f"{exam}:2"]


# Splits of a benchmark that names none


def exam_questions(count: int) -> list[ExamQuestion]:
    return [
        ExamQuestion(question=f"물음 {at}", A="가", B="나", C="다", D="라", E="마", answer=1) for at in range(count)
    ]


def test_drawn_splits_hold_every_question_once() -> None:
    made = exam_questions(100)
    drawn = draw_splits(made, 0.5, 5, random.Random(42))
    assert {split: len(rows) for split, rows in drawn.items()} == {"train": 45, "dev": 5, "test": 45, "fewshot": 5}
    assert Counter(question for rows in drawn.values() for question in rows) == Counter(made)


def test_the_draw_hangs_on_the_seed_and_not_on_the_order_of_the_file() -> None:
    made = exam_questions(40)
    assert draw_splits(made, 0.5, 5, random.Random(1)) == draw_splits(made[::-1], 0.5, 5, random.Random(1))
    assert draw_splits(made, 0.5, 5, random.Random(1)) != draw_splits(made, 0.5, 5, random.Random(2))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_no_drawn_split_is_empty_and_one_question_fewer_is_too_few(share: float) -> None:
    assert all(draw_splits(exam_questions(12), share, 5, random.Random(1)).values())
    with pytest.raises(KormedError, match="at least 12"):
        draw_splits(exam_questions(11), share, 5, random.Random(1))
