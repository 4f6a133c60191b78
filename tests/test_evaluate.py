import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.utils import get_file_task_name, get_results_filenames, get_sample_results_filenames, make_table

from stages import evaluate
from stages.core import exam_forms, models
from stages.core.chat import exam_example, example_prompt
from stages.core.errors import KormedError
from stages.core.exam_files import Examined
from stages.core.exam_forms import Form
from stages.core.exam_model import ExamModel
from stages.core.pipeline import Run
from stages.core.recipe import Evaluate
from stages.core.records import Answer, Consult, ExamQuestion, HeldoutAnswer, VariantAnswer, read_jsonl


@pytest.fixture(scope="module")
def evaluated(tiny_run: Run) -> Run:
    for checkpoint in ("base", "sft"):
        tiny_run.bring(f"evaluate/{checkpoint}")
    return tiny_run


def answers(run: Run, checkpoint: str) -> list[Answer]:
    return read_jsonl(run.path(f"evaluate/{checkpoint}") / "answers.jsonl", Answer)


def variants(run: Run, checkpoint: str) -> list[VariantAnswer]:
    return read_jsonl(run.path(f"evaluate/{checkpoint}") / "variants.jsonl", VariantAnswer)


def settings(run: Run, checkpoint: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path(f"evaluate/{checkpoint}") / "settings.json").read_text())
    return found


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
    found = settings(evaluated, "sft")
    assert found["task_version"] == 3.0
    assert (found["fewshot"], found["chat_template"], found["limit"]) == (1, True, 2)
    assert found["subsets"]["nurse"] == {"questions": 2}
    assert found["quantization"] == "none"
    assert {name: (v["task"], v["fewshot"], v["chat_template"]) for name, v in found["variants"].items()} == {
        "zero_shot": ("kormedmcqa", 0, True),
        "chat_form": ("kormedmcqa_chat_form", 0, True),
    }


def test_accuracy_is_the_share_of_right_items(evaluated: Run) -> None:
    manifest = evaluated.manifest("evaluate/sft")
    assert manifest is not None
    rows = answers(evaluated, "sft")
    assert manifest.metrics["accuracy"] == sum(a.extracted == a.target for a in rows) / len(rows)


def run_stock_lm_eval(run: Run, base: Path, folder: Path, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    """lm-eval's own command over the base with our tokenizer, in `folder`/out; its samples by task, by item."""
    mirror = folder / "sean0042"
    mirror.mkdir()
    (mirror / "KorMedMCQA").symlink_to(run.path("prepare").resolve() / "benchmark")
    copy = folder / "base"
    copy.mkdir()
    for file in base.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    loaded = models.loaded(run.recipe.model)
    loaded.tokenizer.save_pretrained(copy)  # with the chat template, and the ends that Gemma's own releases declare
    loaded.base.generation_config.save_pretrained(copy)
    subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "hf"),
            *("--model_args", f"pretrained={copy},dtype=float32,attn_implementation=eager"),
            *("--num_fewshot", "1", "--limit", "2", "--device", "cpu"),
            *("--apply_chat_template", "--fewshot_as_multiturn", "false"),
            *("--batch_size", str(run.recipe.evaluate.batch_size)),
            *("--gen_kwargs", "max_gen_toks=4", "--log_samples", "--output_path", str(folder / "out"), *arguments),
        ],
        cwd=folder,
        env=os.environ | {"HF_DATASETS_CACHE": str(folder / "cache")},
        check=True,
        capture_output=True,
    )
    found = {}
    for file in (folder / "out").rglob("samples_*.jsonl"):
        name = file.name.removeprefix("samples_").rpartition("_")[0]
        rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        found[name] = sorted(rows, key=lambda row: int(row["doc_id"]))
    return found


def prompt_of(sample: dict[str, Any]) -> str:
    return str(sample["arguments"]["gen_args_0"]["arg_0"])


def test_the_stock_lm_eval_command_gives_the_same_answers(evaluated: Run, tiny_base: Path, tmp_path: Path) -> None:
    """The headline is the task as lm-eval ships it: same prompts, same texts, same letters as its own command."""
    stock = run_stock_lm_eval(evaluated, tiny_base, tmp_path, "--tasks", "kormedmcqa_nurse")["kormedmcqa_nurse"]
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


def test_the_stock_command_runs_our_task_files_and_finds_what_we_find(
    evaluated: Run, tiny_base: Path, tmp_path: Path
) -> None:
    stock = run_stock_lm_eval(
        evaluated,
        tiny_base,
        tmp_path,
        *("--include_path", str(exam_forms.OURS), "--tasks", "kormedmcqa_letters,kormedmcqa_chat_form"),
    )
    subsets = ("dentist", "doctor", "nurse", "pharm")
    assert stock.keys() == {f"kormedmcqa_{form}_{subset}" for form in ("letters", "chat_form") for subset in subsets}

    letters = [(subset, sample) for subset in subsets for sample in stock[f"kormedmcqa_letters_{subset}"]]
    likeliest = ["ABCDE"[max(range(5), key=lambda at: float(sample["resps"][at][0][0]))] for _, sample in letters]
    ours = answers(evaluated, "base")
    assert [(subset, sample["doc_hash"]) for subset, sample in letters] == [(a.subset, a.doc_hash) for a in ours]
    assert likeliest == [answer.likeliest for answer in ours]
    assert [sample["acc"] for _, sample in letters] == [answer.likeliest == answer.target for answer in ours]

    chat = [(subset, sample) for subset in subsets for sample in stock[f"kormedmcqa_chat_form_{subset}"]]
    rows = [row for row in variants(evaluated, "base") if row.variant == "chat_form"]
    assert [
        (subset, s["doc_hash"], s["resps"][0][0], s["filtered_resps"][0], s["exact_match"]) for subset, s in chat
    ] == [(row.subset, row.doc_hash, row.text, row.extracted, row.correct) for row in rows]
    (file,) = (tmp_path / "out").rglob("results_*.json")
    groups = json.loads(file.read_text(encoding="utf-8"))["results"]
    manifest = evaluated.manifest("evaluate/base")
    assert manifest is not None
    assert groups["kormedmcqa_letters"]["acc,none"] == manifest.metrics["accuracy_letters"]
    assert groups["kormedmcqa_chat_form"]["exact_match,extract_answer"] == manifest.metrics["accuracy_chat_form"]

    own = settings(evaluated, "base")
    for subset in subsets:
        asked = [sample | {"arguments": [[prompt_of(sample)]]} for sample in stock[f"kormedmcqa_chat_form_{subset}"]]
        assert exam_forms.prompts_sha256(asked) == own["variants"]["chat_form"]["prompts"][subset]
        asked = [sample | {"arguments": [[prompt_of(sample)]]} for sample in stock[f"kormedmcqa_letters_{subset}"]]
        assert exam_forms.prompts_sha256(asked) == own["prompts"][subset]


def test_the_chat_form_is_token_by_token_the_prompt_that_sft_was_trained_on(evaluated: Run) -> None:
    config = evaluated.recipe.evaluate.model_copy(update={"limit": None, "max_gen_toks": 1})
    benchmark = evaluated.path("prepare") / "benchmark"
    loaded = models.loaded(config.model)
    (form,) = (form for form in exam_forms.variants(config) if form.variant == "chat_form")
    with loaded.checkpoint(None) as model, exam_forms.exam_tasks(benchmark, ["doctor"]) as tasks:
        exam_model = ExamModel(pretrained=model, tokenizer=loaded.tokenizer, batch_size=8)
        examined = evaluate.examine(config, exam_model, tasks, form, "doctor")
    samples = examined.results["samples"]["kormedmcqa_chat_form_doctor"]
    assert len(samples) > 2
    for sample in samples:
        example = exam_example("id", ExamQuestion.model_validate(sample["doc"]), "source")
        messages = [message.model_dump() for message in example_prompt(example)]
        trained = loaded.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert exam_model.context(sample["arguments"][0][0], 1) == tuple(trained)
        assert sample["target"] == example.answer


def test_without_examples_and_in_chat_form_every_item_is_answered_again(evaluated: Run) -> None:
    for checkpoint in ("base", "sft"):
        headline, rows = answers(evaluated, checkpoint), variants(evaluated, checkpoint)
        manifest = evaluated.manifest(f"evaluate/{checkpoint}")
        assert manifest is not None
        for name in ("zero_shot", "chat_form"):
            own = [row for row in rows if row.variant == name]
            assert [(row.subset, row.doc_id, row.target) for row in own] == [
                (answer.subset, answer.doc_id, answer.target) for answer in headline
            ]
            assert [row.letters for row in own] != [answer.letters for answer in headline]
            assert manifest.metrics[f"accuracy_{name}"] == sum(row.correct for row in own) / len(own)
            right = sum(row.likeliest == row.target for row in own)
            assert manifest.metrics[f"accuracy_letters_{name}"] == right / len(own)


def test_the_zero_shot_variant_is_the_headline_of_a_recipe_without_examples(
    evaluated: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = evaluated.recipe.evaluate.model_copy(update={"fewshot": 0, "variants": ("zero_shot",)})
    with caplog.at_level(logging.INFO, logger="kormed"):
        evaluate.run(config, tmp_path, prepare=evaluated.path("prepare"))
    assert "no variant zero_shot: evaluate.fewshot is 0" in caplog.text
    assert not (tmp_path / "variants.jsonl").exists()
    rows = [row for row in variants(evaluated, "base") if row.variant == "zero_shot"]
    assert read_jsonl(tmp_path / "answers.jsonl", Answer) == [
        Answer(**row.model_dump(exclude={"variant"})) for row in rows
    ]
    told = json.loads((tmp_path / "settings.json").read_text())
    assert told["prompts"] == settings(evaluated, "base")["variants"]["zero_shot"]["prompts"]


def test_checkpoints_that_were_asked_the_same_have_the_same_fingerprint_of_prompts(evaluated: Run) -> None:
    base, sft = settings(evaluated, "base"), settings(evaluated, "sft")
    assert base["prompts"] == sft["prompts"]
    assert base["prompts"].keys() == {"dentist", "doctor", "nurse", "pharm"}
    assert len({sha for part in (base, *base["variants"].values()) for sha in part["prompts"].values()}) == 12


def test_a_task_that_asks_for_more_tokens_than_the_base_holds_is_refused_before_the_exam(
    evaluated: Run, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "인사?", "answer": "네"}\n', encoding="utf-8")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "essay.yaml").write_text(
        f"task: essay\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path / 'rows.jsonl'}}}}}\n"
        'test_split: test\noutput_type: generate_until\ndoc_to_text: "{{question}}"\ndoc_to_target: "{{answer}}"\n'
        'generation_kwargs: {until: ["."], max_gen_toks: 4096}\nmetadata: {version: 1.0}\n',
        encoding="utf-8",
    )
    config = evaluated.recipe.evaluate.model_copy(update={"tasks": ("essay",), "task_folder": tmp_path / "tasks"})
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KormedError, match=r"task essay asks for up to 4096 new tokens.*take it out of evaluate\.tasks"):
        evaluate.run(config, out, prepare=evaluated.path("prepare"))
    assert not list(out.iterdir())


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
        rows = evaluate.answered(exam_model, examined, exam_forms.headline(evaluated.recipe.evaluate), "nurse")
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
    subsets = ["dentist", "doctor", "nurse", "pharm"]
    whole = [f"{form}{subset}" for form in ("", "zero_shot_", "chat_form_") for subset in subsets]

    def until(place: str) -> Callable[..., Examined]:
        def ask(config: Evaluate, exam_model: ExamModel, tasks: object, form: Form, subset: str) -> Examined:
            asked.append(form.part(subset))
            if asked[-1] == place:
                raise KeyboardInterrupt
            return examine(config, exam_model, tasks, form, subset)

        return ask

    for place in ("nurse", "chat_form_doctor"):
        monkeypatch.setattr(evaluate, "examine", until(place))
        with pytest.raises(KeyboardInterrupt):
            evaluate.run(evaluated.recipe.evaluate, tmp_path, prepare=evaluated.path("prepare"))
    monkeypatch.setattr(evaluate, "examine", until("the end"))
    found = evaluate.run(evaluated.recipe.evaluate, tmp_path, prepare=evaluated.path("prepare"))
    assert asked == [*whole[:3], *whole[2:10], *whole[9:]]
    assert read_jsonl(tmp_path / "answers.jsonl", Answer) == answers(evaluated, "base")
    assert read_jsonl(tmp_path / "variants.jsonl", VariantAnswer) == variants(evaluated, "base")
    manifest = evaluated.manifest("evaluate/base")
    assert manifest is not None
    assert found == manifest.metrics
    assert json.loads((tmp_path / "settings.json").read_text()) == settings(evaluated, "base")
    wanted = {"answers.jsonl", "variants.jsonl", "settings.json", "lm_eval"}
    assert {path.name for path in tmp_path.iterdir()} == wanted
    assert len(list((tmp_path / "lm_eval").rglob("samples_*.jsonl"))) == 4


def test_another_version_of_the_task_is_refused_before_any_question_is_asked(
    evaluated: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exam_forms, "TASK_VERSION", 2.0)
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
        update={"tasks": ("manners", "customs"), "task_folder": tmp_path / "tasks", "limit": 4, "variants": ()}
    )
    asked: list[str] = []
    ask = evaluate.simple_evaluate

    def until_customs(config: Evaluate, exam_model: ExamModel, tasks: object, name: str, **how: Any) -> Examined:
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
    told = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert told["other_tasks"]["manners"] == {"version": "1.5", "fewshot": 1, "n": 4}
    assert told["variants"] == {}
    assert not (out / "variants.jsonl").exists()


def test_an_unknown_task_is_refused_before_the_base_is_asked_anything(evaluated: Run, tmp_path: Path) -> None:
    config = evaluated.recipe.evaluate.model_copy(update={"tasks": ("arc_chalenge",)})
    with pytest.raises(KormedError, match="did you mean.*arc_challenge"):
        evaluate.run(config, tmp_path, prepare=evaluated.path("prepare"))
    assert not list(tmp_path.iterdir())
