"""evaluate: one checkpoint on lm-eval's stock KorMedMCQA (version 3.0), and its answers to the held-out consults.

Writes `answers.jsonl` (Answer, every item), `settings.json` (what the numbers depend on) and, for SFT and DPO,
`heldout.jsonl` (HeldoutAnswer). A stopped run goes on at the subset it was in.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lm_eval
import yaml
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from stages.core import chat, models
from stages.core.artifacts import write_json
from stages.core.errors import KormedError
from stages.core.generation import generate
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

log = logging.getLogger("kormed")

TASK_VERSION = 3.0  # 2.0 read no letter out of sentences and scored Gemma 0.0 (lm-evaluation-harness#3103)


def run(
    config: Evaluate, out: Path, *, prepare: Path, sft: Path | None = None, dpo: Path | None = None
) -> dict[str, float]:
    adapter = dpo or sft
    loaded = models.loaded(config.model)
    benchmark = prepare / "benchmark"
    subsets = sorted(folder.name for folder in benchmark.iterdir() if folder.is_dir())
    answers: list[Answer] = []
    questions = {}
    with stock_tasks(benchmark, subsets) as tasks, loaded.checkpoint(adapter) as model:
        for subset in subsets:
            done = read_appended(out / f"{subset}.jsonl", Answer)
            if not done:
                done = examine(config, model, loaded.tokenizer, tasks, subset)
                write_jsonl(out / f"{subset}.jsonl", done)
            right = sum(answer.correct for answer in done)
            log.info("evaluate: %s %d of %d right", subset, right, len(done))
            questions[subset] = len(done)
            answers += done
        longest = config.max_gen_toks or stock_task(tasks, subsets[0]).config.generation_kwargs["max_gen_toks"]
        if adapter is not None:
            consults = read_jsonl(prepare / "consults" / "heldout.jsonl", Consult)[: config.heldout_limit]
            answer_consults(config, out / "heldout.jsonl", model, loaded.tokenizer, consults)
    write_jsonl(out / "answers.jsonl", answers)
    write_json(out / "settings.json", settings(config, questions, longest))
    for subset in subsets:
        (out / f"{subset}.jsonl").unlink()
    failed = sum(answer.extracted not in LETTERS for answer in answers)
    return {
        "accuracy": sum(answer.correct for answer in answers) / len(answers),
        "questions": len(answers),
        "no_letter": failed,
        **{
            f"accuracy_{subset}": sum(a.correct for a in answers if a.subset == subset) / questions[subset]
            for subset in subsets
        },
    }


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


def examine(config: Evaluate, model: Any, tokenizer: Any, tasks: TaskManager, subset: str) -> list[Answer]:
    """One subset through `lm_eval.simple_evaluate`."""
    name = f"kormedmcqa_{subset}"
    results = lm_eval.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=config.batch_size),
        tasks=[name],
        task_manager=tasks,
        num_fewshot=config.fewshot,
        limit=config.limit,
        apply_chat_template=config.chat_template,
        fewshot_as_multiturn=False,  # the task's few-shot target is empty: turns would not alternate
        gen_kwargs=None if config.max_gen_toks is None else {"max_gen_toks": config.max_gen_toks},
        log_samples=True,
        bootstrap_iters=0,
        random_seed=config.seed,
        numpy_random_seed=config.seed,
        torch_random_seed=config.seed,
        fewshot_random_seed=config.seed,
    )
    if results is None:
        raise AssertionError("lm-eval gives results on rank 0 only")
    return [
        Answer(
            subset=subset,
            doc_id=sample["doc_id"],
            doc_hash=sample["doc_hash"],
            target=sample["target"],
            text=sample["resps"][0][0],
            extracted=sample["filtered_resps"][0],
            correct=bool(sample["exact_match"]),
        )
        for sample in sorted(results["samples"][name], key=lambda sample: sample["doc_id"])
    ]


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


def settings(config: Evaluate, questions: dict[str, int], max_gen_toks: int) -> dict[str, Any]:
    """What the accuracies depend on; results compare only where these are equal."""
    return {
        "task": "kormedmcqa",
        "task_version": TASK_VERSION,
        "fewshot": config.fewshot,
        "chat_template": config.chat_template,
        "fewshot_as_multiturn": False,
        "limit": config.limit,
        "max_gen_toks": max_gen_toks,
        "subsets": {subset: {"questions": count} for subset, count in questions.items()},
        "base": config.model.base,
        "base_fingerprint": models.fingerprint(config.model),
        "dtype": config.model.dtype,
        "quantization": models.quantization(config.model),
        "lm_eval": lm_eval.__version__,
    }
