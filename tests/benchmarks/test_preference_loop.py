"""The preference loop's benchmark on a tiny base: it runs to its end, without a server and without lm-eval."""

import json
import subprocess
import sys
from pathlib import Path

from stages.core.recipe import Annotation
from stages.core.records import Response, read_jsonl
from tests.benchmarks.preference_loop import answer
from tests.conftest import DEMO, ROOT
from tests.judgements import comparison

LOOP = "import runpy, sys; runpy.run_module('tests.benchmarks.preference_loop', run_name='__main__')"
MODULES = "print('modules', *sorted({'argilla', 'lm_eval'} & set(sys.modules)))"  # a bare GPU machine has neither


def test_the_loop_runs_from_consults_to_a_win_rate_of_fresh_answers(tiny_base: Path, tmp_path: Path) -> None:
    arguments = [tiny_base, DEMO / "kormedmcqa", "--tiny", "--out", tmp_path, "--json", tmp_path / "found.json"]
    settings = ["--set", "model.dtype=float32", "model.attention=eager"]  # a Gemma 2
    done = subprocess.run(
        [sys.executable, "-c", f"{LOOP}; {MODULES}", *map(str, arguments), *settings],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "modules"
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [row["stage"] for row in found["stages"]] == ["prepare", "sft", "candidates", "preferences", "dpo"]
    for fresh in found["fresh"].values():
        counts = fresh["winrate"]
        assert counts["comparisons"] + counts["identical"] == fresh["answers"]["dpo"]["answers"] == 6
        assert 0 <= counts["low"] <= counts["win_rate"] <= counts["high"] <= 1
        assert fresh["answers"]["sft"]["answers"] == 6
    assert "SFT" in (tmp_path / "preference_loop.log").read_text(encoding="utf-8")


def test_an_annotator_answers_a_comparison_once_however_often_the_loop_goes_on(tmp_path: Path) -> None:
    config = Annotation(seed=1, annotators=("simulated-1", "simulated-2"))
    file = tmp_path / "responses" / "responses.jsonl"
    answer([comparison("1"), comparison("2")], file, config, "label")
    first = read_jsonl(file, Response)
    answer([comparison("2"), comparison("3")], file, config, "label")
    assert read_jsonl(file, Response)[:4] == first
    assert [(row.comparison_id, row.annotator) for row in read_jsonl(file, Response)[4:]] == [
        ("3", "simulated-1"),
        ("3", "simulated-2"),
    ]
