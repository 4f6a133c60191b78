import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from stages import evaluate
from stages.core import models
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.recipe import Evaluate
from stages.core.records import Answer, Consult, HeldoutAnswer, read_jsonl


@pytest.fixture(scope="module")
def evaluated(tiny_run: Run) -> Run:
    for checkpoint in ("base", "sft"):
        tiny_run.bring(f"evaluate/{checkpoint}")
    return tiny_run


def answers(run: Run, checkpoint: str) -> list[Answer]:
    return read_jsonl(run.path(f"evaluate/{checkpoint}") / "answers.jsonl", Answer)


def test_base_and_sft_answer_the_identical_items(evaluated: Run) -> None:
    base, sft = answers(evaluated, "base"), answers(evaluated, "sft")
    assert [(a.subset, a.doc_hash, a.target) for a in base] == [(a.subset, a.doc_hash, a.target) for a in sft]
    assert len(base) == 8
    assert [a.text for a in base] != [a.text for a in sft]


def test_what_the_numbers_depend_on_stands_beside_them(evaluated: Run) -> None:
    settings = json.loads((evaluated.path("evaluate/sft") / "settings.json").read_text())
    assert settings["task_version"] == 3.0
    assert (settings["fewshot"], settings["chat_template"], settings["limit"]) == (1, True, 2)
    assert settings["subsets"]["nurse"] == {"questions": 2}
    assert settings["quantization"] == "none"


def test_accuracy_is_the_share_of_right_items(evaluated: Run) -> None:
    manifest = evaluated.manifest("evaluate/sft")
    assert manifest is not None
    rows = answers(evaluated, "sft")
    assert manifest.metrics["accuracy"] == sum(a.extracted == a.target for a in rows) / len(rows)


def test_the_stock_lm_eval_command_gives_the_same_answers(evaluated: Run, tiny_base: Path, tmp_path: Path) -> None:
    """The headline is the task as lm-eval ships it: same prompts, same texts, same letters as its own command."""
    mirror = tmp_path / "sean0042"
    mirror.mkdir()
    (mirror / "KorMedMCQA").symlink_to(evaluated.path("prepare").resolve() / "benchmark")
    base = tmp_path / "base"
    base.mkdir()
    for file in tiny_base.iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    loaded = models.loaded(evaluated.recipe.model)
    loaded.tokenizer.save_pretrained(base)  # with the chat template, and the ends that Gemma's own releases declare
    loaded.base.generation_config.save_pretrained(base)
    config = evaluated.recipe.evaluate
    subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "hf"),
            *("--model_args", f"pretrained={base},dtype=float32,attn_implementation=eager"),
            *("--tasks", "kormedmcqa_nurse", "--num_fewshot", "1", "--limit", "2", "--device", "cpu"),
            *("--apply_chat_template", "--fewshot_as_multiturn", "false", "--batch_size", str(config.batch_size)),
            *("--gen_kwargs", "max_gen_toks=4", "--log_samples", "--output_path", str(tmp_path / "out")),
        ],
        cwd=tmp_path,
        env=os.environ | {"HF_DATASETS_CACHE": str(tmp_path / "cache")},
        check=True,
        capture_output=True,
    )
    (samples,) = (tmp_path / "out").rglob("samples_kormedmcqa_nurse*.jsonl")
    stock = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    ours = [answer for answer in answers(evaluated, "base") if answer.subset == "nurse"]
    assert [(s["doc_id"], s["doc_hash"], s["target"]) for s in stock] == [
        (a.doc_id, a.doc_hash, a.target) for a in ours
    ]
    assert [(s["resps"][0][0], s["filtered_resps"][0]) for s in stock] == [(a.text, a.extracted) for a in ours]


def test_held_out_consults_are_answered_in_order_by_sft_only(evaluated: Run) -> None:
    consults = read_jsonl(evaluated.path("prepare") / "consults" / "heldout.jsonl", Consult)[:2]
    heldout = read_jsonl(evaluated.path("evaluate/sft") / "heldout.jsonl", HeldoutAnswer)
    assert [answer.consult_id for answer in heldout] == [consult.id for consult in consults]
    assert [answer.reference for answer in heldout] == [consult.answer for consult in consults]
    assert not (evaluated.path("evaluate/base") / "heldout.jsonl").exists()


def test_a_stopped_evaluation_goes_on_behind_the_last_whole_subset(
    evaluated: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    examine = evaluate.examine

    def until_nurse(
        config: Evaluate, model: object, tokenizer: object, tasks: TaskManager, subset: str
    ) -> list[Answer]:
        if subset == "nurse" and not asked.count("nurse"):
            asked.append(subset)
            raise KeyboardInterrupt
        asked.append(subset)
        return examine(config, model, tokenizer, tasks, subset)

    monkeypatch.setattr(evaluate, "examine", until_nurse)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(evaluated.recipe.evaluate, tmp_path, prepare=evaluated.path("prepare"))
    evaluate.run(evaluated.recipe.evaluate, tmp_path, prepare=evaluated.path("prepare"))
    assert asked == ["dentist", "doctor", "nurse", "nurse", "pharm"]
    assert read_jsonl(tmp_path / "answers.jsonl", Answer) == answers(evaluated, "base")


def test_another_version_of_the_task_is_refused_before_any_question_is_asked(
    evaluated: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "TASK_VERSION", 2.0)
    with pytest.raises(KormedError, match=r"version 3.0, 2.0 was wanted; versions do not compare"):
        evaluate.run(evaluated.recipe.evaluate, tmp_path, prepare=evaluated.path("prepare"))
    assert not list(tmp_path.glob("*.jsonl"))
