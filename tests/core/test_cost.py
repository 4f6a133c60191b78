"""cost: what manifests say of time, GPUs and memory, and what they do not say is called unknown."""

import inspect
from types import ModuleType
from typing import Any

import pytest

from stages.core import cost, cost_wording, cost_wording_ko, figures
from stages.core.artifacts import Manifest

GIBIBYTE = 2**30


def manifest(stage: str, seconds: float, device: str = "1 x NVIDIA H100", **said: Any) -> Manifest:
    return Manifest(stage, {}, {}, "", {}, {}, seconds, "2026-05-04T10:20:30+00:00", None, {}, device, **said)


def on_gpu(stage: str, seconds: float, gibibytes: float, gpus: int = 1, **said: Any) -> Manifest:
    recorded = {"gpus": gpus, "gpu_seconds": gpus * seconds, "peak_memory": int(gibibytes * GIBIBYTE)}
    return manifest(stage, seconds, **(recorded | {"peak_memory_of": "gpu"} | said))


def on_cpu(stage: str, seconds: float, gibibytes: float) -> Manifest:
    said = {"gpus": 0, "gpu_seconds": 0.0, "peak_memory": int(gibibytes * GIBIBYTE), "peak_memory_of": "process"}
    return manifest(stage, seconds, "CPU, 2 cores, x86_64", **said)


RUN = [
    on_cpu("prepare", 90, 1.5),
    on_gpu("sft", 3600, 21),
    on_gpu("candidates", 900, 12),
    on_cpu("preferences", 10, 0.5),
    on_gpu("dpo", 1800, 20),
    on_gpu("evaluate/base", 180, 9),
    on_gpu("evaluate/sft", 180, 9),
    on_gpu("evaluate/dpo", 180, 9),
]
OLD = [manifest("sft", 3600, "8 x NVIDIA H100"), manifest("prepare", 61, "CPU, 2 cores, x86_64")]


def said(manifests: list[Manifest], words: ModuleType = cost_wording) -> list[str]:
    sentences: list[str] = words.summary(cost.totals(cost.costs(manifests)))
    return sentences


def test_gpu_hours_and_time_without_a_gpu_are_told_apart() -> None:
    assert said(RUN) == [
        "SFT, candidates, DPO and evaluation took 1.9 GPU hours on 1 x NVIDIA H100; the largest peak was 21.0 GiB "
        "(sft).",
        "Prepare and preferences took 1 min 40 s without a GPU (CPU, 2 cores, x86_64); the largest peak was 1.5 GiB of "
        "main memory (prepare).",
    ]


def test_several_gpus_count_each_and_a_session_with_fewer_counts_those() -> None:
    (total,) = cost.totals(cost.costs([on_gpu("sft", 3600, 21, gpus=4, gpu_seconds=10800.0, sessions=2)]))
    assert total.hours == 3.0
    assert cost_wording.took(total).startswith("SFT took 3.0 GPU hours on 4 x NVIDIA H100; its peak was 21.0 GiB")
    (mixed,) = cost.totals(cost.costs([on_gpu("sft", 3600, 21, gpus=4), on_gpu("dpo", 3600, 21)]))
    assert mixed.hours == 5.0
    assert "on up to 4 x NVIDIA H100" in cost_wording.took(mixed)


def test_each_kind_of_gpu_has_its_own_total() -> None:
    totals = cost.totals(cost.costs([on_gpu("sft", 3600, 21), on_gpu("dpo", 7200, 90, device="1 x NVIDIA H200")]))
    assert [(total.device, total.hours) for total in totals] == [("NVIDIA H100", 1.0), ("NVIDIA H200", 2.0)]


def test_a_stage_that_used_no_gpu_in_a_process_that_had_one_is_no_gpu_hour() -> None:
    (row,) = cost.costs([manifest("report", 30, gpus=0, gpu_seconds=0.0)])
    assert (row.kind, row.gpu_hours, cost_wording.gpu_hours(row)) == ("cpu", None, "–")


def test_what_old_manifests_do_not_say_is_unknown_and_never_0() -> None:
    rows = cost.costs(OLD)
    assert [(row.hours, row.peak_memory) for row in rows] == [(None, None)] * 2
    assert [cost_wording.time(row) for row in rows] == ["at least 1 h 00 min", "at least 1 min 01 s"]
    assert [cost_wording.gpu_hours(row) for row in rows] == ["unknown", "–"]
    assert [cost_wording.memory(row) for row in rows] == ["unknown", "unknown"]
    assert said(OLD) == [
        "How many GPU hours SFT took on NVIDIA H100 is unknown, since it was made before that was recorded; the last "
        "session took 1 h 00 min.",
        "How long prepare took without a GPU (CPU, 2 cores, x86_64) is unknown, since it was made before that was "
        "recorded; the last session took 1 min 01 s.",
    ]


def test_an_old_stage_among_new_ones_is_named_beside_their_total() -> None:
    first, second = said([on_gpu("sft", 3600, 21), manifest("dpo", 1800)])
    assert first.startswith("SFT took 1.0 GPU hours")
    assert second.startswith("How many GPU hours DPO took on NVIDIA H100 is unknown")


def test_a_cell_says_in_how_many_sessions() -> None:
    (row,) = cost.costs([on_gpu("sft", 7500, 21, sessions=3)])
    assert cost_wording.time(row) == "2 h 05 min in 3 sessions"
    assert cost_wording_ko.time(row) == "2시간 05분 (세션 3개)"


def test_a_short_stage_is_not_said_to_have_cost_nothing() -> None:
    assert [figures.hours(hours) for hours in (0, 0.001, 0.25, 1.94, 1234.5)] == [
        "0.00",
        "<0.01",
        "0.25",
        "1.9",
        "1,234.5",
    ]


def test_korean_has_the_same_names_with_the_same_signatures() -> None:
    def surface(module: ModuleType) -> dict[str, Any]:
        found = inspect.getmembers(module, inspect.isfunction)
        functions = [(name, function) for name, function in found if function.__module__ == module.__name__]
        constants = {name: type(value) for name, value in vars(module).items() if name.isupper()}
        return {name: inspect.signature(function) for name, function in functions} | constants

    assert surface(cost_wording) == surface(cost_wording_ko)
    assert len(cost_wording.HEADINGS) == len(cost_wording_ko.HEADINGS)


@pytest.mark.parametrize("manifests", [RUN, OLD, [on_gpu("sft", 3600, 21), manifest("dpo", 1800)]])
def test_korean_says_the_same_numbers(manifests: list[Manifest]) -> None:
    english, korean = said(manifests), said(manifests, cost_wording_ko)
    assert len(english) == len(korean)
    for total in cost.totals(cost.costs(manifests)):
        if total.known and total.kind == "gpu":
            assert f"{figures.hours(total.hours)}시간" in korean[0]
        if total.peak:
            assert any(f"{total.peak.stage})" in sentence for sentence in korean)


def test_korean_reads_as_it_should() -> None:
    assert said(RUN, cost_wording_ko)[0] == (
        "SFT, 후보 답변 생성, DPO, 평가 단계에 든 GPU 시간은 1 x NVIDIA H100에서 1.9시간이고, 최대 메모리는 "
        "21.0 GiB(sft)였습니다."
    )
    assert said(OLD, cost_wording_ko)[1] == (
        "데이터 준비 단계는 이를 기록하기 전에 만들어져 전체 시간을 알 수 없습니다(장치: CPU, 2 cores, x86_64, 마지막 "
        "세션 1분 01초)."
    )
