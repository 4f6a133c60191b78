import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_file_task_name, get_results_filenames, get_sample_results_filenames, make_table

from stages import evaluate
from stages.core import models
from stages.core.errors import KormedError
from stages.core.exam_files import Examined
from stages.core.exam_model import ExamModel
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


def lm_eval_results(run: Run, checkpoint: str) -> dict[str, Any]:
    (file,) = (run.path(f"evaluate/{checkpoint}") / "lm_eval").rglob("results_*.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


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
    (own_samples,) = (evaluated.path("evaluate/base") / "lm_eval").rglob("samples_kormedmcqa_nurse_*.jsonl")
    assert [json.loads(line) for line in own_samples.read_text(encoding="utf-8").splitlines()] == stock
    (stock_results,) = (tmp_path / "out").rglob("results_*.json")
    for part in ("results", "versions", "n-shot", "n-samples", "higher_is_better", "task_hashes"):
        named = json.loads(stock_results.read_text(encoding="utf-8"))[part]["kormedmcqa_nurse"]
        assert lm_eval_results(evaluated, "base")[part]["kormedmcqa_nurse"] == named


def test_lm_evals_own_tools_read_its_result_files(evaluated: Run) -> None:
    folder = evaluated.path("evaluate/sft") / "lm_eval"
    names = [str(path) for path in folder.rglob("*.json*")]
    assert len(get_results_filenames(names)) == 1
    tasks = {get_file_task_name(Path(name).name) for name in get_sample_results_filenames(names)}
    assert tasks == {f"kormedmcqa_{subset}" for subset in ("dentist", "doctor", "nurse", "pharm")}
    table = make_table(lm_eval_results(evaluated, "sft"))
    manifest = evaluated.manifest("evaluate/sft")
    assert manifest is not None
    rows = {cells[1].strip(): cells for line in table.splitlines() if (cells := line.split("|"))[1:2]}
    for task in tasks:
        assert [rows[task][at].strip() for at in (2, 3, 4, 5)] == ["3", "extract_answer", "1", "exact_match"]
        assert float(rows[task][7]) == manifest.metrics[task.replace("kormedmcqa", "accuracy")]


def test_letters_have_their_log_probability_after_the_very_prompt_of_the_question(evaluated: Run) -> None:
    """By a plain forward of the base over each prompt alone, as lm-eval's samples have it."""
    loaded = models.loaded(evaluated.recipe.model)
    with loaded.checkpoint(evaluated.path("sft")) as model:
        for answer in answers(evaluated, "sft"):
            (file,) = (evaluated.path("evaluate/sft") / "lm_eval").rglob(f"samples_kormedmcqa_{answer.subset}_*.jsonl")
            sample = json.loads(file.read_text(encoding="utf-8").splitlines()[answer.doc_id])
            prompt = sample["arguments"]["gen_args_0"]["arg_0"]
            ids = loaded.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
            assert ids[0, 0] == loaded.tokenizer.bos_token_id
            with torch.no_grad():
                likely = model(input_ids=ids).logits[0, -1].log_softmax(-1)
            wanted = [float(likely[loaded.tokenizer.convert_tokens_to_ids(letter)]) for letter in "ABCDE"]
            assert answer.letters == pytest.approx(wanted, abs=1e-4)
            assert answer.likeliest == "ABCDE"[wanted.index(max(wanted))]


def test_accuracies_by_letter_and_by_reading_stand_beside_the_headline(evaluated: Run) -> None:
    manifest = evaluated.manifest("evaluate/sft")
    assert manifest is not None
    rows = answers(evaluated, "sft")
    assert manifest.metrics["accuracy_letters"] == sum(a.likeliest == a.target for a in rows) / 8
    nurse = [a for a in rows if a.subset == "nurse"]
    assert manifest.metrics["accuracy_letters_nurse"] == sum(a.likeliest == a.target for a in nurse) / 2
    assert manifest.metrics["accuracy_read"] == sum(a.read == a.target for a in rows) / 8
    assert 0 <= manifest.metrics["calibration_error"] <= 1


def test_an_answer_with_a_korean_ending_is_read_and_the_headline_stays_lm_evals(evaluated: Run) -> None:
    """Texts as an instruction-tuned model writes them, in samples as lm-eval gives them."""
    loaded = models.loaded(evaluated.recipe.model)
    doc = {"question": "열이 나면?", "A": "수분", "B": "수면", "C": "운동", "D": "금식", "E": "목욕"}
    texts = ("정답은 B번입니다", "②", "수분입니다", "모르겠습니다")
    samples = [
        {
            "doc_id": at,
            "doc_hash": str(at),
            "doc": doc,
            "target": "B",
            "arguments": [("열이 나면?\n정답：", {})],
            "resps": [[text]],
            "filtered_resps": [""],
            "exact_match": 0.0,
        }
        for at, text in enumerate(texts)
    ]
    examined = Examined(1.0, {"samples": {"kormedmcqa_nurse": samples}})
    with loaded.checkpoint(None) as model:
        exam_model = ExamModel(pretrained=model, tokenizer=loaded.tokenizer, batch_size=2)
        rows = evaluate.answered(evaluated.recipe.evaluate, exam_model, examined, "nurse")
    assert [answer.read for answer in rows] == ["B", "B", "A", None]
    found = evaluate.metrics({"nurse": rows})
    assert (found["accuracy"], found["accuracy_read"], found["no_letter"], found["no_letter_read"]) == (0, 0.5, 4, 1)


def test_an_answer_from_before_letters_were_scored_still_reads() -> None:
    old = {
        "subset": "nurse",
        "doc_id": 0,
        "doc_hash": "h",
        "target": "B",
        "text": "B",
        "extracted": "B",
        "correct": True,
    }
    answer = Answer.model_validate(old)
    assert (answer.letters, answer.likeliest, answer.confidence, answer.read) == (None, None, None, None)


def test_confidence_is_the_likeliest_letters_share_among_the_five() -> None:
    logs = tuple(math.log(p) for p in (0.1, 0.4, 0.1, 0.1, 0.1))
    answer = Answer(subset="s", doc_id=0, doc_hash="h", target="B", text="", extracted="", correct=False, letters=logs)
    assert answer.likeliest == "B"
    assert answer.confidence == pytest.approx(0.5)


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

    def until_nurse(config: Evaluate, exam_model: object, tasks: TaskManager, subset: str) -> Examined:
        asked.append(subset)
        if asked == ["dentist", "doctor", "nurse"]:
            raise KeyboardInterrupt
        return examine(config, exam_model, tasks, subset)

    monkeypatch.setattr(evaluate, "examine", until_nurse)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(evaluated.recipe.evaluate, tmp_path, prepare=evaluated.path("prepare"))
    evaluate.run(evaluated.recipe.evaluate, tmp_path, prepare=evaluated.path("prepare"))
    assert asked == ["dentist", "doctor", "nurse", "nurse", "pharm"]
    assert read_jsonl(tmp_path / "answers.jsonl", Answer) == answers(evaluated, "base")
    wanted = {"answers.jsonl", "settings.json", "lm_eval"}
    assert {path.name for path in tmp_path.iterdir()} == wanted
    assert len(list((tmp_path / "lm_eval").rglob("samples_*.jsonl"))) == 4


def test_another_version_of_the_task_is_refused_before_any_question_is_asked(
    evaluated: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "TASK_VERSION", 2.0)
    with pytest.raises(KormedError, match=r"version 3.0, 2.0 was wanted; versions do not compare"):
        evaluate.run(evaluated.recipe.evaluate, tmp_path, prepare=evaluated.path("prepare"))
    assert not list(tmp_path.glob("*.jsonl"))


MANNERS = """\
task: manners
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
fewshot_split: test
num_fewshot: 1
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["예", "아니요"]
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.5}}
"""


def test_a_task_of_ones_own_is_run_beside_the_exam(
    evaluated: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"question": f"인사에 답하나요? ({at})", "answer": at % 2} for at in range(5)]
    (tmp_path / "manners.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    for name in ("manners", "customs"):
        text = MANNERS.format(rows=tmp_path / "manners.jsonl").replace("manners\n", f"{name}\n", 1)
        (tmp_path / "tasks").mkdir(exist_ok=True)
        (tmp_path / "tasks" / f"{name}.yaml").write_text(text, encoding="utf-8")
    config = evaluated.recipe.evaluate.model_copy(
        update={"tasks": ("manners", "customs"), "task_folder": tmp_path / "tasks", "limit": 4}
    )
    asked: list[str] = []
    ask = evaluate.simple_evaluate

    def until_customs(config: Evaluate, exam_model: object, tasks: TaskManager, name: str, **how: Any) -> Examined:
        asked.append(name)
        if asked.count("customs") == 1 and name == "customs":
            raise KeyboardInterrupt
        return ask(config, exam_model, tasks, name, **how)

    monkeypatch.setattr(evaluate, "simple_evaluate", until_customs)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(config, out, prepare=evaluated.path("prepare"))
    evaluate.run(config, out, prepare=evaluated.path("prepare"))
    assert asked[-3:] == ["manners", "customs", "customs"]
    figures = json.loads((out / "other.json").read_text(encoding="utf-8"))
    assert [(f["task"], f["version"], f["fewshot"], f["metric"], f["n"]) for f in figures] == [
        ("manners", "1.5", 1, "acc", 4),
        ("customs", "1.5", 1, "acc", 4),
    ]
    assert all(f["value"] in (0, 0.25, 0.5, 0.75, 1) and f["stderr"] is not None for f in figures)
    settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert settings["other_tasks"]["manners"] == {"version": "1.5", "fewshot": 1, "n": 4}


def test_an_unknown_task_is_refused_before_the_base_is_asked_anything(evaluated: Run, tmp_path: Path) -> None:
    config = evaluated.recipe.evaluate.model_copy(update={"tasks": ("arc_chalenge",)})
    with pytest.raises(KormedError, match="did you mean.*arc_challenge"):
        evaluate.run(config, tmp_path, prepare=evaluated.path("prepare"))
    assert not list(tmp_path.iterdir())
