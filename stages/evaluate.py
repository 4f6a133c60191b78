"""evaluate: one checkpoint on lm-eval's stock KorMedMCQA (version 3.0), and its answers to the held-out consults.

Writes `answers.jsonl` (Answer, every item), `settings.json` (what the numbers depend on), `lm_eval/` (the same in
lm-eval's own format), for SFT and DPO `heldout.jsonl` (HeldoutAnswer), and where the recipe names other tasks
`other.json` (their figures). A stopped run goes on at the subset or task it was in.
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lm_eval
import yaml
from lm_eval.tasks import TaskManager

from stages.core import chat, exam_files, models, other_tasks
from stages.core.artifacts import write_json
from stages.core.errors import KormedError
from stages.core.exam_files import Examined
from stages.core.exam_letters import letter_log_probabilities, letter_tokens
from stages.core.exam_model import ExamModel
from stages.core.generation import generate
from stages.core.other_tasks import Figure
from stages.core.reading import read_letter
from stages.core.recipe import Evaluate
from stages.core.records import (
    LETTERS,
    Answer,
    Consult,
    HeldoutAnswer,
    append_jsonl,
    read_appended,
    read_jsonl,
    write_jsonl,
)
from stages.core.statistics import calibration_error

log = logging.getLogger("kormed")

TASK_VERSION = 3.0  # 2.0 read no letter out of sentences and scored Gemma 0.0 (lm-evaluation-harness#3103)


def run(
    config: Evaluate, out: Path, *, prepare: Path, sft: Path | None = None, dpo: Path | None = None
) -> dict[str, float]:
    adapter = dpo or sft
    others = other_tasks.find(config.tasks, config.task_folder) if config.tasks else None
    loaded = models.loaded(config.model)
    benchmark = prepare / "benchmark"
    subsets = sorted(folder.name for folder in benchmark.iterdir() if folder.is_dir())
    with stock_tasks(benchmark, subsets) as tasks, loaded.checkpoint(adapter) as model:
        exam_model = ExamModel(pretrained=model, tokenizer=loaded.tokenizer, batch_size=config.batch_size)
        exam_model.watched = letter_tokens(loaded.tokenizer, before_a_letter(config)) or ()
        answers = {subset: answers_to(config, out, exam_model, tasks, subset) for subset in subsets}
        longest = config.max_gen_toks or stock_task(tasks, subsets[0]).config.generation_kwargs["max_gen_toks"]
        exam_model.watched = ()
        figures = run_others(config, out, exam_model, others)
        if adapter is not None:
            consults = read_jsonl(prepare / "consults" / "heldout.jsonl", Consult)[: config.heldout_limit]
            answer_consults(config, out / "heldout.jsonl", model, loaded.tokenizer, consults)
    write_jsonl(out / "answers.jsonl", [answer for subset in subsets for answer in answers[subset]])
    write_json(out / "settings.json", settings(config, answers, longest, figures))
    exam_files.write(
        out / "lm_eval",
        [exam_files.kept(out / f"{subset}.json") for subset in subsets],
        {"pretrained": config.model.base} | ({} if adapter is None else {"peft": str(adapter)}),
        exam_model.chat_template(True) if config.chat_template else None,
    )
    for subset in subsets:
        (out / f"{subset}.jsonl").unlink()  # first: it says that the other one is there
        (out / f"{subset}.json").unlink()
    return metrics(answers)


def answers_to(config: Evaluate, out: Path, exam_model: Any, tasks: TaskManager, subset: str) -> list[Answer]:
    """A subset's answers, put aside in `out` with lm-eval's results, or those that a stopped run put there."""
    answers = read_appended(out / f"{subset}.jsonl", Answer)
    if not answers:
        examined = examine(config, exam_model, tasks, subset)
        answers = answered(config, exam_model, examined, subset)
        exam_files.keep(out / f"{subset}.json", examined)
        write_jsonl(out / f"{subset}.jsonl", answers)
    log.info("evaluate: %s %d of %d right", subset, sum(answer.correct for answer in answers), len(answers))
    return answers


def metrics(answers: Mapping[str, Sequence[Answer]]) -> dict[str, float]:
    """Shares of right answers, overall and by subset: as lm-eval reads them, as we do, and by the likeliest letter."""
    every = [answer for rows in answers.values() for answer in rows]
    confidences = [answer.confidence for answer in every if answer.confidence is not None]
    found = {
        **shares("accuracy", answers, lambda answer: answer.correct),
        "questions": len(every),
        "no_letter": sum(answer.extracted not in LETTERS for answer in every),
        **shares("accuracy_read", answers, lambda answer: answer.read == answer.target),
        "no_letter_read": sum(answer.read is None for answer in every),
    }
    if confidences:
        found |= shares("accuracy_letters", answers, lambda answer: answer.likeliest == answer.target)
        right = [answer.likeliest == answer.target for answer in every]
        found["calibration_error"] = calibration_error(confidences, right)
    return found


def shares(name: str, answers: Mapping[str, Sequence[Answer]], is_right: Callable[[Answer], bool]) -> dict[str, float]:
    right = {subset: [is_right(answer) for answer in rows] for subset, rows in answers.items()}
    every = [one for rows in right.values() for one in rows]
    return {name: sum(every) / len(every)} | {f"{name}_{s}": sum(rows) / len(rows) for s, rows in right.items()}


@contextmanager
def stock_tasks(benchmark: Path, subsets: list[str]) -> Iterator[TaskManager]:
    """lm-eval's own YAML of each subset, included whole, but with `dataset_path` set to our copy of the benchmark.

    Raises:
        KormedError: the installed lm-eval has another version of the task.
    """
    path = str(benchmark.resolve())
    with tempfile.TemporaryDirectory() as folder:
        for subset in subsets:
            task = {
                "include": str(Path(lm_eval.__file__).parent / "tasks" / "kormedmcqa" / f"{subset}.yaml"),
                "task": f"kormedmcqa_{subset}",
                "dataset_path": path,
                # datasets 5.2 keys a local folder's cache by its last name and the layout of its files, not by its path
                # or content: of two folders named `benchmark` the second is silently answered with the first one's rows
                "dataset_kwargs": {"cache_dir": f"{folder}/cache"},
            }
            (Path(folder) / f"{subset}.yaml").write_text(yaml.safe_dump(task, allow_unicode=True), encoding="utf-8")
        tasks = TaskManager(include_path=folder, include_defaults=False)
        version = float(stock_task(tasks, subsets[0]).VERSION)
        if version != TASK_VERSION:
            raise KormedError(
                f"lm-eval {lm_eval.__version__}: task kormedmcqa has version {version}, {TASK_VERSION} was wanted; "
                f"versions do not compare. pip install 'lm-eval>=0.4.13'"
            )
        yield tasks


def stock_task(tasks: TaskManager, subset: str) -> Any:
    return tasks.load([f"kormedmcqa_{subset}"])["tasks"][f"kormedmcqa_{subset}"]


def examine(config: Evaluate, exam_model: Any, tasks: TaskManager, subset: str) -> Examined:
    """One subset through `lm_eval.simple_evaluate`."""
    return simple_evaluate(
        config,
        exam_model,
        tasks,
        f"kormedmcqa_{subset}",
        num_fewshot=config.fewshot,
        fewshot_as_multiturn=False,  # the task's few-shot target is empty: turns would not alternate
        gen_kwargs=None if config.max_gen_toks is None else {"max_gen_toks": config.max_gen_toks},
    )


def simple_evaluate(config: Evaluate, exam_model: Any, tasks: TaskManager, name: str, **asked: Any) -> Examined:
    started = time.monotonic()
    results = lm_eval.simple_evaluate(
        model=exam_model,
        tasks=[name],
        task_manager=tasks,
        batch_size=config.batch_size,
        limit=config.limit,
        apply_chat_template=config.chat_template,
        log_samples=True,
        random_seed=config.seed,
        numpy_random_seed=config.seed,
        torch_random_seed=config.seed,
        fewshot_random_seed=config.seed,
        **asked,
    )
    if results is None:
        raise AssertionError("lm-eval gives results on rank 0 only")
    return Examined(time.monotonic() - started, results)


def answered(config: Evaluate, exam_model: Any, examined: Examined, subset: str) -> list[Answer]:
    """Each item's answer, with the letters' log-probabilities after the very prompt that it was an answer to."""
    samples = examined.results["samples"][f"kormedmcqa_{subset}"]
    contexts = [sample["arguments"][0][0] for sample in samples]
    answers = [
        Answer(
            subset=subset,
            doc_id=sample["doc_id"],
            doc_hash=sample["doc_hash"],
            target=sample["target"],
            text=sample["resps"][0][0],
            extracted=sample["filtered_resps"][0],
            correct=bool(sample["exact_match"]),
            letters=letters,
            read=read_letter(sample["resps"][0][0], [sample["doc"][letter] for letter in LETTERS]),
        )
        for sample, letters in zip(
            samples, letter_log_probabilities(exam_model, contexts, before_a_letter(config)), strict=True
        )
    ]
    return sorted(answers, key=lambda answer: answer.doc_id)


def before_a_letter(config: Evaluate) -> str:
    """As lm-eval has it before a choice: a chat template opens the answer itself; few-shot examples write a space."""
    return "" if config.chat_template else " "


def run_others(config: Evaluate, out: Path, exam_model: Any, tasks: TaskManager | None) -> list[Figure]:
    """The recipe's other tasks as lm-eval runs them: their own few-shot count, as turns where there is a template."""
    if tasks is None:
        return []
    file = out / "other.json"
    figures = [Figure(**row) for row in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []
    for name in [name for name in config.tasks if name not in {figure.asked for figure in figures}]:
        examined = simple_evaluate(config, exam_model, tasks, name, fewshot_as_multiturn=config.chat_template)
        new = other_tasks.figures(name, examined.results)
        log.info("evaluate: %s: %s", name, ", ".join(f"{f.task} {f.metric} {f.value:.4g}" for f in new))
        figures += new
        write_json(file, [asdict(figure) for figure in figures])
    return figures


def answer_consults(config: Evaluate, file: Path, model: Any, tokenizer: Any, consults: list[Consult]) -> None:
    """Greedy answers to consults that no training step saw; `file` ends in the consults' order."""
    found = {answer.consult_id: answer for answer in read_appended(file, HeldoutAnswer)}
    for batch in generate(
        model,
        tokenizer,
        [chat.consult_prompt(consult.question, consult.patient_information) for consult in consults],
        max_new_tokens=config.heldout_max_new_tokens,
        sampling=None,
        batch_size=config.batch_size,
        seed=config.seed,
        done=frozenset(index for index, consult in enumerate(consults) if consult.id in found),
    ):
        new = [
            HeldoutAnswer(
                consult_id=consults[answer.index].id,
                question=consults[answer.index].question,
                patient_information=consults[answer.index].patient_information,
                reference=consults[answer.index].answer,
                text=answer.text,
                finished=answer.finished,
            )
            for answer in batch
        ]
        append_jsonl(file, new)
        found |= {answer.consult_id: answer for answer in new}
    log.info("evaluate: %d of %d held-out consults answered", len(found), len(consults))
    write_jsonl(file, [found[consult.id] for consult in consults])


def settings(
    config: Evaluate, answers: Mapping[str, Sequence[Answer]], max_gen_toks: int, figures: Sequence[Figure]
) -> dict[str, Any]:
    """What the accuracies depend on; results compare only where these are equal."""
    return {
        "task": "kormedmcqa",
        "task_version": TASK_VERSION,
        "fewshot": config.fewshot,
        "chat_template": config.chat_template,
        "fewshot_as_multiturn": False,
        "limit": config.limit,
        "max_gen_toks": max_gen_toks,
        "subsets": {subset: {"questions": len(rows)} for subset, rows in answers.items()},
        "letters_as": [before_a_letter(config) + letter for letter in LETTERS],
        "other_tasks": {
            figure.task: {"version": figure.version, "fewshot": figure.fewshot, "n": figure.n} for figure in figures
        },
        "base": config.model.base,
        "base_fingerprint": models.fingerprint(config.model),
        "dtype": config.model.dtype,
        "quantization": models.quantization(config.model),
        "lm_eval": lm_eval.__version__,
    }
