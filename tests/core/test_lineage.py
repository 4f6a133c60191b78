"""lineage: a row is followed up to its source and down to what was made of it, and its siblings stay out."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from stages import trace
from stages.core.artifacts import MANIFEST
from stages.core.errors import KormedError
from stages.core.lineage import about, read_lines
from stages.core.pairing import comparison_id

RAW: dict[str, object] = {
    "id": "hidoc-C1",
    "url": "https://site/view/C1",
    "title": "t",
    "body": "비밀 이야기",
    "answers": [{}, {}],
}
MADE: dict[str, object] = {
    "question": "왜 아픈가요?",
    "patient_information": "30대",
    "answer": "쉬세요.",
    "source": "hidoc",
}


def write(run: Path, file: str, *rows: Mapping[str, object]) -> None:
    path = run / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def finish(run: Path, artifact: str, **config: object) -> None:
    manifest = {
        "stage": artifact,
        "config": config,
        "inputs": {},
        "content": "",
        "files": {},
        "metrics": {},
        "seconds": 1.0,
        "finished_at": "2026-11-25T00:00:00+00:00",
        "commit": None,
        "libraries": {},
        "device": "CPU",
    }
    (run / artifact / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two doctors' answers to one consult, each a row of its own; the first went all the way."""
    run = tmp_path / "models" / "mine"
    write(run, "collect/consults.jsonl", RAW, RAW | {"id": "hidoc-C2"})
    rows = [MADE | {"id": f"hidoc-C1/{n}", "raw_id": "hidoc-C1"} for n in (1, 2)]
    write(run, "restructure/consults.jsonl", *rows, MADE | {"id": "hidoc-C2/1", "raw_id": "hidoc-C2"})
    decision = {"id": "hidoc-C1/1", "rule": "answer", "detail": "the longest of 2", "before": None}
    write(run, "restructure/decisions.jsonl", decision, decision | {"id": "hidoc-C1/2"})
    write(run, "prepare/consults/preference.jsonl", rows[0])
    gone = {"id": "hidoc-C1/2", "reason": "too_short", "text": "…", "hit": None, "similarity": None}
    write(run, "prepare/dropped.jsonl", gone)
    candidate = {"id": "hidoc-C1/1/0", "consult_id": "hidoc-C1/1", "checkpoint": "sft", "text": "답변"}
    write(run, "candidates/candidates.jsonl", candidate)
    write(run, "candidates/comparisons.jsonl", {"id": "cmp-1", "consult_id": "hidoc-C1/1", "a": {}, "b": {}})
    response = {"comparison_id": "cmp-1", "annotator": "doctor-kim", "value": "a", "status": "submitted"}
    write(run, "responses/responses.jsonl", response)
    for artifact in ("collect", "restructure", "candidates"):
        finish(run, artifact)
    finish(run, "prepare", benchmark="data/questions")
    return run


def places(run: Path, id: str) -> list[str]:
    return [f"{line.file.relative_to(run)}:{line.number}" for line in about(read_lines(run), id)]


def test_a_consult_is_followed_from_the_page_to_the_annotators_response(run: Path) -> None:
    assert places(run, "hidoc-C1/1") == [
        "collect/consults.jsonl:1",
        "restructure/consults.jsonl:1",
        "restructure/decisions.jsonl:1",
        "prepare/consults/preference.jsonl:1",
        "candidates/candidates.jsonl:1",
        "candidates/comparisons.jsonl:1",
        "responses/responses.jsonl:1",
    ]


def test_a_comparison_is_followed_up_as_well(run: Path) -> None:
    found = places(run, "cmp-1")
    assert "collect/consults.jsonl:1" in found
    assert "responses/responses.jsonl:1" in found
    assert "restructure/consults.jsonl:2" not in found


def test_a_raw_consult_leads_to_all_of_its_rows_and_to_no_others(run: Path) -> None:
    found = places(run, "hidoc-C1")
    assert {"restructure/consults.jsonl:1", "restructure/consults.jsonl:2", "prepare/dropped.jsonl:1"} <= set(found)
    assert "restructure/consults.jsonl:3" not in found


def test_an_unfinished_artifact_tells_nothing(run: Path) -> None:
    (run / "candidates" / MANIFEST).unlink()
    assert "candidates/candidates.jsonl:1" not in places(run, "hidoc-C1/1")


def test_the_trace_gives_reasons_and_no_raw_text(run: Path) -> None:
    told = trace.trace("hidoc-C1/2", None, run.parent)
    assert "dropped: too_short" in told
    assert "the longest of 2" in told
    assert "https://site/view/C1" in told
    assert "비밀" not in told


def test_an_exam_question_names_its_place_in_the_benchmark(run: Path) -> None:
    (run / "prepare" / "eda.json").write_text('{"benchmark": {"doctor": {"train": 7}}}', encoding="utf-8")
    assert "data/questions: doctor, train, row 7" in trace.trace("kormedmcqa/doctor/train/7", [run])
    with pytest.raises(KormedError, match="knows this id"):
        trace.trace("kormedmcqa/doctor/train/8", [run])


def test_an_unknown_id_names_those_near_it(run: Path) -> None:
    with pytest.raises(KormedError, match="near it: .*hidoc-C1"):
        trace.trace("hidoc-C11", None, run.parent)


def test_rows_made_of_an_earlier_import_are_not_told_as_if_they_were_of_this_one(run: Path) -> None:
    assert "another" not in trace.trace("hidoc-C1", [run])
    manifest = json.loads((run / "prepare" / MANIFEST).read_text(encoding="utf-8"))
    manifest["inputs"] = {"restructure": "an earlier content"}
    (run / "prepare" / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert "prepare was made of another restructure than the one there now" in trace.trace("hidoc-C1", [run])


def test_a_users_own_id_leads_to_the_row(tmp_path: Path) -> None:
    run = tmp_path / "models" / "mine"
    write(run, "import/consults.jsonl", RAW | {"id": "consult-1", "own_ids": ["20231234", "7"]})
    write(run, "restructure/consults.jsonl", MADE | {"id": "consult-1", "raw_id": "consult-1"})
    for artifact in ("import", "restructure"):
        finish(run, artifact)
    assert places(run, "7") == ["import/consults.jsonl:1", "restructure/consults.jsonl:1"]


def test_before_anything_is_made_the_way_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KormedError, match="nothing is made there yet .kormed prepare"):
        trace.trace("hidoc-C1", [tmp_path / "models" / "mine"])


# Rounds


@pytest.fixture
def judged(run: Path) -> Path:
    """A comparison shown twice (its repeat swapped), adjudicated, and round two on the same run's held-out consult."""
    two = {"a": {"text": "쉬세요.", "checkpoint": "sft"}, "b": {"text": "가세요.", "checkpoint": "sft"}}
    comparison = {"id": "cmp-1", "consult_id": "hidoc-C1/1", **two}
    write(run, "candidates/comparisons.jsonl", comparison)
    said = {"comparison_id": "cmp-1", "annotator": "doctor-kim", "value": "a", "status": "submitted", "round": "label"}
    repeat = comparison_id("hidoc-C1/1", "가세요.", "쉬세요.")
    write(
        run,
        "responses/responses.jsonl",
        said,
        said | {"comparison_id": repeat, "value": "b", "unsafe_a": ["missed_emergency", "other"], "unsafe_b": []},
        said | {"annotator": "dr-choi", "value": "b", "round": "adjudication"},
        said | {"comparison_id": "of another consult"},
    )
    row = {"id": "cmp-1", "consult_id": "hidoc-C1/1", "chosen": [], "votes": {"a": 1, "b": 1}, "adjudicated": True}
    write(run, "preferences/train.jsonl", row)
    write(run, "preferences/dataset/train.jsonl", {"prompt": [], "chosen": [], "rejected": []})
    pair = {"a": {"text": "쉬세요.", "checkpoint": "dpo"}, "b": {"text": "네.", "checkpoint": "sft"}}
    write(run, "head_to_head/comparisons.jsonl", {"id": "cmp-2", "consult_id": "hidoc-C2/1", **pair})
    write(run, "head_to_head/dropped.jsonl", {"id": "hidoc-C3/1", "reason": "both answers are the same", "text": "…"})
    verdict = {"comparison_id": "cmp-2", "annotator": "doctor-lee", "value": "a", "status": "submitted"}
    write(run, "responses/verdicts.jsonl", verdict | {"round": "compare"})
    finish(run, "preferences")
    finish(run, "head_to_head")
    return run


def test_a_hidden_repeats_response_is_found_and_told_for_what_it_is(judged: Path) -> None:
    told = trace.trace("hidoc-C1/1", [judged])
    assert "doctor-kim: a (submitted)" in told
    again = "doctor-kim, shown again with sides swapped: b (submitted); A marked unsafe: missed_emergency, other"
    assert again in told
    assert "of another consult" not in told


def test_a_hidden_repeats_own_id_leads_to_the_comparison(judged: Path) -> None:
    found = places(judged, comparison_id("hidoc-C1/1", "가세요.", "쉬세요."))
    assert {"candidates/comparisons.jsonl:1", "responses/responses.jsonl:2", "collect/consults.jsonl:1"} <= set(found)


def test_who_adjudicated_is_told_and_what_came_of_it(judged: Path) -> None:
    told = trace.trace("cmp-1", [judged])
    assert "dr-choi, as adjudicator: b (submitted)" in told
    assert "preference, votes {'a': 1, 'b': 1}, decided by an adjudicator" in told


def test_a_held_out_consult_is_followed_to_what_was_said_of_its_answers(judged: Path) -> None:
    found = places(judged, "hidoc-C2/1")
    assert {"head_to_head/comparisons.jsonl:1", "responses/verdicts.jsonl:1"} <= set(found)
    told = trace.trace("hidoc-C2/1", [judged])
    assert "answers of dpo (A) and sft (B) put up for comparison" in told
    assert "doctor-lee: a (submitted)" in told
    assert "dropped: both answers are the same" in trace.trace("hidoc-C3/1", [judged])
