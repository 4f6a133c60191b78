from pathlib import Path

import pytest

from stages import candidates
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.records import Candidate, Comparison, Consult, append_jsonl, read_jsonl


def test_every_consult_gets_its_answers_and_a_comparison_or_a_reason(tiny_run: Run) -> None:
    folder = tiny_run.path("candidates")
    consults = read_jsonl(tiny_run.path("prepare") / "consults" / "preference.jsonl", Consult)[:8]
    answers = read_jsonl(folder / "candidates.jsonl", Candidate)
    comparisons = read_jsonl(folder / "comparisons.jsonl", Comparison)
    assert [a.id for a in answers] == [f"{c.id}/{n}" for c in consults for n in range(3)]
    assert all(a.checkpoint == "sft" and 0 < (a.tokens or 0) <= 24 for a in answers if "empty" not in a.marks)
    assert len(comparisons) >= 4
    by_id = {a.id: a for a in answers}
    for comparison in comparisons:
        assert {comparison.a.consult_id, comparison.b.consult_id} == {comparison.consult_id}
        assert comparison.a == by_id[comparison.a.id]
        assert comparison.a.text != comparison.b.text


def test_a_stopped_run_keeps_its_answers_and_makes_the_rest(tiny_run: Run, tmp_path: Path) -> None:
    whole = read_jsonl(tiny_run.path("candidates") / "candidates.jsonl", Candidate)
    inputs = {"prepare": tiny_run.path("prepare"), "sft": tiny_run.path("sft")}
    config = tiny_run.recipe.candidates
    consults = read_jsonl(inputs["prepare"] / "consults" / "preference.jsonl", Consult)[: config.limit]
    made = candidates.answer(config, tmp_path / "whole.jsonl", consults, inputs["sft"])
    lines = (tmp_path / "whole.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "answers.jsonl").write_text(
        "".join(lines[:16]) + lines[16][:30], encoding="utf-8"
    )  # a kill's half line
    candidates.run(config, tmp_path, **inputs)
    again = {answer.id: answer for answer in read_jsonl(tmp_path / "candidates.jsonl", Candidate)}
    assert list(again) == [answer.id for answer in whole]
    kept = [Candidate.model_validate_json(line) for line in lines[:16]]
    assert [again[answer.id].text for answer in kept] == [answer.text for answer in kept]
    assert len(made) == len(whole)


def test_without_consults_the_error_says_what_to_do(tiny_run: Run, tmp_path: Path) -> None:
    (tmp_path / "prepare" / "consults").mkdir(parents=True)
    append_jsonl(tmp_path / "prepare" / "consults" / "preference.jsonl", [])
    with pytest.raises(KormedError, match="set prepare.consults to a JSONL file"):
        candidates.run(tiny_run.recipe.candidates, tmp_path, prepare=tmp_path / "prepare", sft=tiny_run.path("sft"))
