"""Test items that prepare's hits name, by prepare's own files and lm-eval's own numbering, and scores without them."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages import prepare
from stages.core.contaminated import (
    Contaminated,
    find_contaminated,
    read_contaminated,
    without_contaminated,
)
from stages.core.decontamination import Hit
from stages.core.exam_forms import exam_tasks, stock_task
from stages.core.findings import Evaluation, Settings
from stages.core.recipe import Prepare
from stages.core.records import Answer, Checkpoint, read_jsonl
from stages.core.statistics import Score

STEMS = (
    "신생아의 정상 맥박수 범위로 옳은 것은?",
    "급성 충수염 환자에게 가장 먼저 나타나는 증상은?",
    "고혈압 약을 처음 먹는 노인에게 설명할 부작용은?",
    "소아 예방접종 뒤 열이 날 때 보호자가 할 일은?",
    "임신 초기에 반드시 보충해야 하는 영양소는?",
    "당뇨병 환자의 발 관리 방법으로 알맞은 것은?",
    "치아 발치 뒤 출혈이 계속될 때 우선 할 처치는?",
    "천식 환자가 흡입제를 쓴 다음에 할 행동은?",
)
CHOICES = {"A": "가나다", "B": "라마바", "C": "사아자", "D": "차카타", "E": "파하가"}


def question(stem: str, mark: str) -> dict[str, Any]:
    return {"question": stem, **{letter: f"{text} {mark}" for letter, text in CHOICES.items()}, "answer": 1}


def write_benchmark(folder: Path, **splits: list[dict[str, Any]]) -> None:
    (folder / "nurse").mkdir(parents=True)
    for split, rows in splits.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        (folder / "nurse" / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Test questions 0 to 3. Train repeats number 1, and asks with the stem of number 2 for something else."""
    test = [question(stem, "시험") for stem in STEMS[:4]]
    other = {"question": STEMS[2], "A": "하나", "B": "둘째로", "C": "셋 이상", "D": "넷 미만", "E": "전부", "answer": 5}
    train = [question(STEMS[4], "학습"), test[1], other, question(STEMS[5], "학습")]
    write_benchmark(
        tmp_path / "benchmark",
        train=train,
        dev=[test[3], question(STEMS[6], "개발")],
        test=test,
        fewshot=[question(STEMS[7], "예시")],
    )
    out = tmp_path / "prepare"
    out.mkdir()
    settings = {
        "seed": 1,
        "benchmark": str(tmp_path / "benchmark"),
        "subsets": ["nurse"],
        "decontaminate": "stem_and_choices",
    }
    prepare.run(Prepare.model_validate(settings), out)
    return out


def test_hits_name_items_that_lm_eval_numbers_from_0(prepared: Path) -> None:
    found = read_contaminated(prepared / "hits.jsonl")
    assert found is not None
    assert found.items == {("nurse", 1), ("nurse", 2)}
    assert found.kept == {("nurse", 2)}
    texts = {hit.hit_id: hit.hit_text for hit in read_jsonl(prepared / "hits.jsonl", Hit)}
    with exam_tasks(prepared / "benchmark", ["nurse"]) as tasks:
        documents = list(stock_task(tasks, "nurse").test_docs())
    for _, doc_id in found.items:
        assert documents[doc_id]["question"] == texts[f"kormedmcqa/nurse/test/{doc_id + 1}"] == STEMS[doc_id]


def test_a_dev_question_that_is_a_test_question_contaminates_nothing(prepared: Path) -> None:
    hits = read_jsonl(prepared / "hits.jsonl", Hit)
    assert [hit.hit_id for hit in hits if "/dev/" in hit.row_id] == ["kormedmcqa/nurse/test/4"]
    assert ("nurse", 3) not in find_contaminated(hits).items


def test_a_row_that_was_dropped_for_another_item_did_not_stay(prepared: Path) -> None:
    kept, dropped = (
        next(hit for hit in read_jsonl(prepared / "hits.jsonl", Hit) if hit.dropped is wanted)
        for wanted in (False, True)
    )
    one_row = [dropped, kept.model_copy(update={"row_id": dropped.row_id})]
    assert find_contaminated(one_row) == Contaminated(frozenset({("nurse", 1), ("nurse", 2)}), frozenset())


def test_before_hits_were_written_down_nothing_is_known(tmp_path: Path) -> None:
    assert read_contaminated(tmp_path / "hits.jsonl") is None


def evaluation(checkpoint: Checkpoint, right: str) -> Evaluation:
    """Of four nurse items; `right` has a character an item, `x` where the answer was wrong."""
    settings = Settings(
        task="kormedmcqa",
        task_version=3.0,
        fewshot=0,
        chat_template=True,
        fewshot_as_multiturn=False,
        limit=None,
        max_gen_toks=4,
        base="base",
        dtype="float32",
        quantization="none",
        lm_eval="0.4.13",
    )
    answers = {
        ("nurse", str(at), at): Answer(
            subset="nurse", doc_id=at, doc_hash=str(at), target="A", text="A", extracted="A", correct=one != "x"
        )
        for at, one in enumerate(right)
    }
    return Evaluation(checkpoint, Path(checkpoint), settings, answers, {}, "cpu")


def test_scores_are_of_the_items_that_are_left() -> None:
    contaminated = Contaminated(
        frozenset({("nurse", 1), ("nurse", 2), ("doctor", 0), ("nurse", 9)}), frozenset({("nurse", 2), ("doctor", 0)})
    )
    found = without_contaminated([evaluation("base", "xoox"), evaluation("sft", "ooox")], contaminated)
    assert found.scores == {"base": Score(0, 2), "sft": Score(1, 2)}
    assert (found.left_out, found.kept) == (2, 1)  # the others were not asked


def test_where_every_item_is_contaminated_there_is_no_score() -> None:
    everything = frozenset(("nurse", at) for at in range(4))
    found = without_contaminated([evaluation("base", "xoox")], Contaminated(everything, frozenset()))
    assert (found.scores, found.left_out, found.kept) == ({}, 4, 0)
