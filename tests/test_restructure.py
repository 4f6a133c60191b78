import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import restructure
from stages.core.errors import KormedError
from stages.core.recipe import Restructure, Rewriter
from stages.core.records import Consult, Decision, Dropped, RawAnswer, RawConsult, read_jsonl, write_jsonl
from stages.core.rewriting import CONSULT, PROBLEMS, Rewrite
from tests.llm_server import MODEL, LlmServer, llm_server

Point = Callable[[LlmServer], None]

ADVICE = "술을 끊고 한 달 뒤에 다시 검사해 보시기 바랍니다. 그때까지 약은 의사와 상의해서 드세요."
SERVER = Rewriter(kind="server", model=MODEL, in_flight=2, timeout_seconds=5, tries=2)


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> Point:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return lambda server: monkeypatch.setenv("OPENAI_BASE_URL", server.url)


def raw(at: int, **changes: object) -> RawConsult:
    row: dict[str, object] = {
        "id": f"C{at:04}",
        "url": f"view/C{at:04}",
        "title": "간수치가 높아요",
        "body": f"{20 + at}세 남자입니다. 검사에서 AST {100 + at} 나왔어요. 술을 끊으면 나을까요?",
        "answers": (RawAnswer(id="1", text="네."), RawAnswer(id="2", text=ADVICE)),
    }
    return RawConsult.model_validate(row | changes)


def run(folder: Path, raws: list[RawConsult], out: str = "out", **changes: Any) -> dict[str, float]:
    """The stage on these raw consults. Returns its metrics; the files lie in `folder / out`."""
    (folder / "raw").mkdir(exist_ok=True)
    (folder / out).mkdir(exist_ok=True)
    write_jsonl(folder / "raw" / "consults.jsonl", raws)
    config = Restructure.model_validate({"seed": 7, "rewriter": SERVER} | changes)
    return restructure.run(config, folder / out, collect=folder / "raw")


def test_each_consult_becomes_a_row_or_has_a_reason(tmp_path: Path, point: Point) -> None:
    raws = [
        raw(0),
        raw(1),
        raw(2),
        raw(3, answers=()),
        raw(4, answers=[{"id": "1", "text": "네."}]),
        raw(5, body="가" * 9000),
    ]
    with llm_server({"AST 101": ["dropped_value"], "AST 102": ["dropped_value", "*"]}) as server:
        point(server)
        metrics = run(tmp_path, raws)
    consults = read_jsonl(tmp_path / "out" / "consults.jsonl", Consult)
    assert [(row.id, row.raw_id, row.source) for row in consults] == [
        ("C0000", "C0000", "hidoc"),
        ("C0001", "C0001", "hidoc"),
    ]
    assert consults[0].question == "간수치가 높아요. 술을 끊으면 나을까요?"
    assert consults[0].patient_information == "20세 남자입니다. 검사에서 AST 100 나왔어요."
    assert consults[0].answer == ADVICE
    dropped = {row.id: row for row in read_jsonl(tmp_path / "out" / "dropped.jsonl", Dropped)}
    assert {id: row.reason for id, row in dropped.items()} == {
        "C0002": "every rewrite was rejected: 2 tries, the last: missing: 102, AST, AST 102",
        "C0003": "no usable answer: there is none",
        "C0004": "no usable answer: answer 1: 2 characters, 40 to 4,000 are wanted",
        "C0005": "too long: 9,010 characters, at most 8,000 are wanted",
    }
    assert (
        dropped["C0002"].text == "간수치가 높아요\n\n22세 남자입니다. 검사에서 AST 102 나왔어요. 술을 끊으면 나을까요?"
    )
    assert metrics == {
        "consults": 2,
        "dropped": 4,
        "rewritten_first_try": 1,
        "retried": 2,
        "rejected": 1,
        "masks": 0,
    }


def test_markup_of_a_web_page_costs_no_row_and_the_tidying_is_written_down(tmp_path: Path, point: Point) -> None:
    body = '<p>20세&nbsp;남자입니다.<br><b>AST 100</b> 나왔어요.</p><img src="http://a.example/b.png">술을 끊을까요?'
    answers = [{"id": "1", "text": f"<p>{ADVICE}</p>", "source": "own.csv:3"}, {"id": "2", "text": "<b>네.</b>"}]
    with llm_server() as server:
        point(server)
        run(tmp_path, [raw(0, body=body, answers=answers)])
    (consult,) = read_jsonl(tmp_path / "out" / "consults.jsonl", Consult)
    assert (consult.question, consult.answer) == ("간수치가 높아요. 술을 끊을까요?", ADVICE)
    assert consult.patient_information == "20세 남자입니다. AST 100 나왔어요."
    tidied, chosen, _ = read_jsonl(tmp_path / "out" / "decisions.jsonl", Decision)
    assert (tidied.rule, tidied.detail, tidied.before) == ("tidied", "body, answer 1", None)
    assert chosen.detail.startswith("answer 1 (own.csv:3) of 2")


def test_a_consult_that_asks_nothing_in_so_many_words_still_becomes_a_question(tmp_path: Path, point: Point) -> None:
    body = "20세 남자입니다. AST 100 나왔어요. 인터넷에는 말이 다 달라서 헷갈립니다. 감사합니다."
    with llm_server() as server:
        point(server)
        metrics = run(tmp_path, [raw(0, body=body)])
    (consult,) = read_jsonl(tmp_path / "out" / "consults.jsonl", Consult)
    assert consult.question == "'간수치가 높아요'에 대해 알고 싶습니다."
    assert metrics["rewritten_first_try"] == 1


def test_every_decision_on_the_way_is_written_down(tmp_path: Path, point: Point) -> None:
    with llm_server({"AST 101": ["dropped_value"]}) as server:
        point(server)
        run(tmp_path, [raw(1, title="010-1234-5678로 연락 주세요")])
    decisions = read_jsonl(tmp_path / "out" / "decisions.jsonl", Decision)
    assert [(row.rule, row.detail) for row in decisions] == [
        ("answer chosen", f"answer 2 of 2, 1 usable: longest within 40-4,000 characters ({len(ADVICE)})"),
        ("deidentified", "phone 1"),
        ("rewritten", "taken at try 2; try 1 rejected: missing: 101, AST, AST 101"),
    ]
    assert decisions[2].before is not None and decisions[2].before.startswith("[전화번호]로 연락 주세요")
    (rewrite,) = read_jsonl(tmp_path / "out" / "rewrites.jsonl", Rewrite)
    assert (rewrite.tries, rewrite.original) == (2, decisions[2].before)
    masked = json.loads((tmp_path / "out" / "masked.json").read_text(encoding="utf-8"))
    assert masked == {"before": {"title": {"phone": 1}}, "after": {}}


PLANTED = ("표도담", "4567", "8910", "dodam", "한빛누리", "별하늘로", "900101", "9999")


@pytest.mark.parametrize("kind", ["server", "none"])
def test_no_personal_data_reaches_the_server_or_any_file(tmp_path: Path, point: Point, kind: str) -> None:
    answers = [
        {"id": "1", "text": f"안녕하세요. 하이닥 상담의 표도담입니다. {ADVICE}", "doctor": "표도담[전문의]"},
        {"id": "2", "text": f"표도담 선생님 말씀처럼요. {ADVICE} 한빛누리 내과로 오세요.", "clinic": "한빛누리내과"},
        {"id": "3", "text": "표도담입니다. 02-4567-8910"},
    ]
    personal = "표도담입니다. 010-4567-8910, dodam@example.com, 주민번호 900101-1234567, 서울시 강남구 별하늘로 12."
    bodies = [raw(at).body + " " + personal for at in range(5)]
    raws = [raw(at, title="표도담 선생님께", body=body, answers=answers) for at, body in enumerate(bodies)]
    raws.append(raw(5, body=personal * 100, answers=answers))  # too long
    raws.append(raw(6, body=personal, answers=answers[2:], patient_information=personal))  # no usable answer
    faults = {"AST 101": ["dropped_value"], "AST 102": ["not_json", "*"], "AST 103": ["personal_data", "wrong_keys"]}
    with llm_server(faults) as server:
        point(server)
        run(tmp_path, raws, answers="each", rewriter=SERVER.model_copy(update={"kind": kind}))
    assert len(server.bodies) == (0 if kind == "none" else 8)
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    written["server"] = json.dumps(server.bodies, ensure_ascii=False)
    assert {(name, detail) for name, text in written.items() for detail in PLANTED if detail in text} == set()
    masked = json.loads(written["masked.json"])
    assert set(masked["before"]) == {"answers", "body", "patient_information", "title"}
    assert masked["after"] == ({} if kind == "none" else {"rewrite": {"phone": 1}})


def test_with_each_every_usable_answer_is_a_row_and_the_question_is_asked_once(tmp_path: Path, point: Point) -> None:
    answers = [{"id": str(n), "text": text} for n, text in enumerate((ADVICE, "네.", ADVICE + " 또 오세요."))]
    with llm_server() as server:
        point(server)
        metrics = run(tmp_path, [raw(0, answers=answers)], answers="each")
    consults = read_jsonl(tmp_path / "out" / "consults.jsonl", Consult)
    assert [(row.id, row.raw_id) for row in consults] == [("C0000/1", "C0000"), ("C0000/3", "C0000")]
    (dropped,) = read_jsonl(tmp_path / "out" / "dropped.jsonl", Dropped)
    assert (dropped.id, dropped.text) == ("C0000/2", "네.")
    assert (metrics["consults"], metrics["dropped"], len(server.asked)) == (2, 1, 1)


def test_a_source_that_counts_no_recommendations_cannot_be_asked_for_the_most_recommended(tmp_path: Path) -> None:
    with pytest.raises(KormedError, match="set it to longest_in_bounds or each"):
        run(tmp_path, [raw(0)], answers="most_recommended", rewriter={"kind": "none"})


def test_a_consult_without_counts_is_dropped_where_others_have_some(tmp_path: Path, point: Point) -> None:
    counted = raw(0, answers=[{"id": "1", "text": ADVICE, "recommendations": 0}])
    with llm_server() as server:
        point(server)
        run(tmp_path, [counted, raw(1)], answers="most_recommended")
    assert [row.id for row in read_jsonl(tmp_path / "out" / "consults.jsonl", Consult)] == ["C0000"]
    (dropped,) = read_jsonl(tmp_path / "out" / "dropped.jsonl", Dropped)
    assert "answer 2: no recommendations counted" in dropped.reason


def test_without_a_rewriter_question_and_patient_information_stay_as_imported(tmp_path: Path) -> None:
    imported = raw(0, title="", body="술을 끊을까요?", patient_information="35세 남자")
    metrics = run(tmp_path, [imported, raw(1)], rewriter={"kind": "none"})
    one, other = read_jsonl(tmp_path / "out" / "consults.jsonl", Consult)
    assert (one.question, one.patient_information) == ("술을 끊을까요?", "35세 남자")
    assert (other.question, other.patient_information) == (f"간수치가 높아요\n\n{raw(1).body}", "")
    assert not (tmp_path / "out" / "rewrites.jsonl").exists()
    assert (metrics["consults"], metrics["rewritten_first_try"]) == (2, 0)


def test_patient_information_that_was_imported_is_shown_to_the_model(tmp_path: Path, point: Point) -> None:
    with llm_server() as server:
        point(server)
        run(tmp_path, [raw(0, patient_information="당뇨병 10년")])
    assert server.asked == [f"간수치가 높아요\n\n{raw(0).body}\n\n당뇨병 10년"]


def test_the_recipes_own_prompt_is_used_and_kept(tmp_path: Path, point: Point) -> None:
    prompt = tmp_path / "mine.md"
    prompt.write_text(f"짧게 나누세요.\n<상담>\n{CONSULT}\n</상담>\n{PROBLEMS}", encoding="utf-8")
    with llm_server() as server:
        point(server)
        run(tmp_path, [raw(0)], prompt=prompt)
    assert server.bodies[0]["messages"][0]["content"].startswith("짧게 나누세요.")
    assert (tmp_path / "out" / "prompt.md").read_text(encoding="utf-8") == prompt.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("raws", "message"), [([], "no consults in it"), ([raw(0), raw(0)], "'C0000' stands there twice")]
)
def test_a_source_that_cannot_be_used_is_an_error(tmp_path: Path, raws: list[RawConsult], message: str) -> None:
    with pytest.raises(KormedError, match=message):
        run(tmp_path, raws, rewriter={"kind": "none"})


def test_when_the_server_fails_the_same_command_goes_on_and_no_row_is_dropped(tmp_path: Path, point: Point) -> None:
    raws = [raw(at) for at in range(6)]
    with llm_server({"AST 103": ["503", "*"]}) as server:
        point(server)
        with pytest.raises(KormedError, match="the same command goes on"):
            run(tmp_path, raws)
        finished = {row.id for row in read_jsonl(tmp_path / "out" / "rewrites.jsonl", Rewrite)}
    assert finished >= {"C0000", "C0001"}
    assert not (tmp_path / "out" / "consults.jsonl").exists()
    with llm_server() as server:
        point(server)
        metrics = run(tmp_path, raws)
    assert len(server.asked) == 6 - len(finished)
    assert (metrics["consults"], metrics["dropped"]) == (6, 0)


RUN = """
from pathlib import Path
from stages import restructure
from stages.core.recipe import Restructure
folder = Path({folder!r})
restructure.run(Restructure.model_validate_json({config!r}), folder / "out", collect=folder / "raw")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_goes_on_without_asking_anything_twice(
    tmp_path: Path, point: Point, how: signal.Signals
) -> None:
    raws = [raw(at) for at in range(24)]
    faults = {f"AST {100 + at}": ["not_json"] for at in range(0, 24, 5)}
    with llm_server(faults) as server:
        point(server)
        run(tmp_path, raws, out="whole")
    (tmp_path / "out").mkdir()
    config = Restructure(seed=7, rewriter=SERVER).model_dump_json()
    kept = tmp_path / "out" / "rewrites.jsonl"
    with llm_server(faults, seconds=0.05) as server:
        point(server)
        process = subprocess.Popen(
            [sys.executable, "-c", RUN.format(folder=str(tmp_path), config=config)], stderr=subprocess.DEVNULL
        )
        while not kept.exists() or kept.read_bytes().count(b"\n") < 5:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(how)
        process.wait()
        finished = {json.loads(line)["id"] for line in kept.read_text(encoding="utf-8").splitlines()}
    assert len(finished) < 24
    with kept.open("a", encoding="utf-8") as file:
        file.write('{"id": "C00')  # a line that the kill cut off
    with llm_server(faults) as server:
        point(server)
        run(tmp_path, raws)
    asked = {f"C{int(consult.split('AST ')[1][:3]) - 100:04}" for consult in server.asked}
    assert asked == {row.id for row in raws} - finished
    for name in ("consults.jsonl", "dropped.jsonl", "decisions.jsonl", "masked.json", "rewrites.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_finished_rewrite_of_another_text_is_not_kept(tmp_path: Path, point: Point) -> None:
    with llm_server() as server:
        point(server)
        run(tmp_path, [raw(0), raw(1)])
        run(tmp_path, [raw(0), raw(1, body=raw(7).body)])
    assert len(server.asked) == 3


def test_a_finished_rewrite_with_another_prompt_or_by_another_model_is_not_kept(tmp_path: Path, point: Point) -> None:
    prompt = tmp_path / "mine.md"
    prompt.write_text(f"짧게 나누세요.\n<상담>\n{CONSULT}\n</상담>\n{PROBLEMS}", encoding="utf-8")
    with llm_server() as server:
        point(server)
        for changes in ({}, {"prompt": prompt}, {"rewriter": SERVER.model_copy(update={"model": "other"})}, {}):
            run(tmp_path, [raw(0)], **changes)
    assert len(server.asked) == 4


def test_other_tries_and_more_requests_at_once_throw_no_finished_rewrite_away(tmp_path: Path, point: Point) -> None:
    with llm_server({"AST 102": ["not_json", "not_json"]}) as server:
        point(server)
        run(tmp_path, [raw(0), raw(1), raw(2)])
        more = {"tries": 3, "in_flight": 5, "batch_size": 1, "timeout_seconds": 4}
        metrics = run(tmp_path, [raw(0), raw(1), raw(2)], rewriter=SERVER.model_copy(update=more))
    assert len(server.asked) == 1 + 1 + 2 + 1  # the one that was rejected is asked again, now that it has a third try
    assert metrics["consults"] == 3
    assert len(read_jsonl(tmp_path / "out" / "rewrites.jsonl", Rewrite)) == 3


@pytest.mark.parametrize(
    ("url", "changes", "message"),
    [
        ("", {}, "OPENAI_BASE_URL is not set"),
        ("http://127.0.0.1:9/v1", {"prompt": Path("gone.md")}, "gone.md: a prompt"),
    ],
)
def test_what_would_stop_the_rewriter_stops_before_the_consults_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(KormedError, match=message):
        run(tmp_path, [], **changes)  # no consults: that would be the next thing to be said


def test_progress_is_told_by_time_and_at_the_end(
    tmp_path: Path, point: Point, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "kormed")
    with llm_server() as server:
        point(server)
        run(tmp_path, [raw(at) for at in range(12)])
        assert [line for line in caplog.messages if "rejected" in line] == [
            "restructure: 12 of 12 consults, 0 of them rejected"
        ]
        monkeypatch.setattr(restructure, "PROGRESS_SECONDS", 0.0)
        run(tmp_path, [raw(at) for at in range(12)], out="again")
    assert "restructure: 3 of 12 consults, 0 of them rejected" in caplog.messages


def test_a_local_model_that_cannot_rewrite_leaves_every_row_with_its_reasons(tmp_path: Path, tiny_base: Path) -> None:
    prompt = tmp_path / "short.md"
    prompt.write_text(f"{CONSULT}\n{PROBLEMS}", encoding="utf-8")
    rewriter = Rewriter(kind="local", model=str(tiny_base), max_new_tokens=8, tries=2, quantization="none")
    metrics = run(tmp_path, [raw(at) for at in range(3)], rewriter=rewriter, prompt=prompt)
    assert (metrics["consults"], metrics["dropped"], metrics["rejected"], metrics["retried"]) == (0, 3, 3, 3)
    for row in read_jsonl(tmp_path / "out" / "dropped.jsonl", Dropped):
        assert row.reason.startswith("every rewrite was rejected: 2 tries, the last: ")
        assert "세 남자입니다" in row.text
