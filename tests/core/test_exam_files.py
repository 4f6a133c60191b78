"""lm-eval's result files of an evaluation that came in parts."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.core import exam_files
from stages.core.errors import KormedError
from stages.core.exam_files import Examined


def part(task: str, seconds: float = 2.0) -> Examined:
    """What one call of `lm_eval.simple_evaluate` for one task returns, as far as it is read."""
    sample: dict[str, Any] = {
        "doc_id": 0,
        "doc": {"question": "열이 나면?"},
        "target": "B",
        "arguments": [("열이 나면?\n정답：", {"until": ["."]})],
        "resps": [["B"]],
        "filtered_resps": ["B"],
        "doc_hash": "a",
        "prompt_hash": "b",
        "target_hash": "c",
        "exact_match": 1.0,
    }
    return Examined(
        seconds,
        {
            "results": {task: {"alias": task, "exact_match,none": 1.0}},
            "group_subtasks": {},
            "configs": {task: {"task": task}},
            "versions": {task: 3.0},
            "n-shot": {task: 5},
            "higher_is_better": {task: {"exact_match": True}},
            "n-samples": {task: {"original": 1, "effective": 1}},
            "samples": {task: [sample]},
            "config": {"model": "Gemma2ForCausalLM", "limit": None},
            "date": seconds,
        },
    )


def test_parts_become_one_results_file_and_one_file_of_samples_a_task(tmp_path: Path) -> None:
    exam_files.write(tmp_path / "out", [part("nurse"), part("pharm", 3.5)], {"pretrained": "google/gemma"}, None)
    (file,) = (tmp_path / "out" / "google__gemma").glob("results_*.json")
    results = json.loads(file.read_text(encoding="utf-8"))
    assert (
        results["results"].keys() == results["versions"].keys() == results["task_hashes"].keys() == {"nurse", "pharm"}
    )
    assert results["config"] == {"model": "hf", "model_args": {"pretrained": "google/gemma"}, "limit": None}
    assert (results["model_name"], results["date"]) == ("google/gemma", 2.0)
    assert 5.5 <= float(results["total_evaluation_time_seconds"]) < 15
    names = sorted(path.name for path in file.parent.glob("samples_*"))
    stamp = file.stem.removeprefix("results_")
    assert names == [f"samples_nurse_{stamp}.jsonl", f"samples_pharm_{stamp}.jsonl"]


def test_a_part_that_was_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    exam_files.keep(tmp_path / "nurse.json", part("nurse"))
    exam_files.write(tmp_path / "kept", [exam_files.kept(tmp_path / "nurse.json")], {"pretrained": "base"}, "template")
    exam_files.write(tmp_path / "fresh", [part("nurse")], {"pretrained": "base"}, "template")
    kept, fresh = (next((tmp_path / name).rglob("samples_*")).read_bytes() for name in ("kept", "fresh"))
    assert kept == fresh


def test_what_a_stopped_run_had_begun_to_write_makes_way(tmp_path: Path) -> None:
    for _ in range(2):
        exam_files.write(tmp_path / "out", [part("nurse")], {"pretrained": "base"}, None)
    assert len(list((tmp_path / "out").rglob("*.json*"))) == 2


def test_files_that_lm_eval_could_not_write_are_an_error(tmp_path: Path) -> None:
    """Its own class only logs that it failed."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(KormedError, match="lm-eval did not write its result files"):
        exam_files.write(tmp_path / "file" / "out", [part("nurse")], {"pretrained": "base"}, None)
