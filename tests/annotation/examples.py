"""Fictional comparisons for the tests of annotation/."""

import socket
from collections.abc import Sequence
from pathlib import Path

from annotation import embedded
from annotation.api import Api
from annotation.rounds import Round, label_round
from stages.core.recipe import Annotation
from stages.core.records import Candidate, Comparison

WORKSPACE = "test-recipe"

GOOD = (
    "걱정이 많으셨겠습니다. 말씀하신 증상만으로는 원인을 확정하기 어렵지만 근육의 긴장인 경우가 많습니다. 며칠 쉬어도 "
    "나아지지 않거나 열이 함께 나면 가까운 병원에서 진료를 받아 보시기 바랍니다."
)
OTHER = (
    "불편하시겠습니다. 우선 무리한 운동을 피하고 물을 충분히 드시면서 경과를 살펴보세요. 통증이 심해지거나 일주일 넘게 "
    "이어지면 전문의와 상의하여 필요한 검사를 받는 것이 좋겠습니다."
)
REPEATING = "두통이 두통이 " * 60


def comparison(number: int, *, a: str = GOOD, b: str = REPEATING, question: str | None = None) -> Comparison:
    return Comparison(
        id=f"comparison-{number:04}",
        consult_id=f"consult-{number:04}",
        question=question or f"지어낸 질문 {number}: 어제부터 머리가 아픕니다. 어떻게 해야 할까요?",
        patient_information=f"{20 + number % 50}세, 앓던 병 없음",
        a=candidate(number, "a", a),
        b=candidate(number, "b", b),
    )


def candidate(number: int, side: str, text: str) -> Candidate:
    return Candidate(
        id=f"candidate-{number:04}-{side}",
        consult_id=f"consult-{number:04}",
        text=text,
        checkpoint="sft",
        temperature=0.9,
        top_p=0.95,
        seed=number,
        tokens=len(text) // 2,
        finished=text is not REPEATING,
    )


def round_of(some: Sequence[Comparison], config: Annotation, file: Path = Path("unused.jsonl")) -> Round:
    """The round of labelling of these comparisons in WORKSPACE."""
    return label_round(WORKSPACE, some, config, file)


def comparisons(first: int, count: int) -> list[Comparison]:
    return [comparison(number) for number in range(first, first + count)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((embedded.HOST, 0))
        return int(probe.getsockname()[1])


def respond(
    person: Api, comparison_id: str, value: str | None, *, status: str = "submitted", comment: str = ""
) -> None:
    """Answer one comparison through the API, as the page does."""
    wanted = {"type": "terms", "scope": {"entity": "record", "property": "external_id"}, "values": [comparison_id]}
    record_id = None
    for dataset in reversed(person.get("/me/datasets?status=ready")["items"]):  # the newest first, most often the one
        path = f"/me/datasets/{dataset['id']}/records/search"
        if found := person.post(path, {"filters": {"and": [wanted]}})["items"]:
            record_id = found[0]["record"]["id"]
            break
    values = {"preference": {"value": value}} if value else {}
    if comment:
        values["comment"] = {"value": comment}
    item = {"record_id": record_id, "status": status, "values": values or None}
    done = person.post("/me/responses/bulk", {"items": [item]})["items"]
    assert done[0]["error"] is None, done
