"""evaluate: one checkpoint on lm-eval's stock KorMedMCQA (version 3.0), and its answers to the held-out consults.

Writes `answers.jsonl` (Answer, every item), `settings.json` (what the numbers depend on), `lm_eval/` (the same in
lm-eval's own format), `variants.jsonl` (VariantAnswer: every item in the recipe's other forms), for SFT and DPO
`heldout.jsonl` (HeldoutAnswer), and where the recipe names other tasks `other.json` (their figures). A stopped run goes
on at the subset or task it was in.
"""

import functools
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lm_eval

from stages.core import chat, exam_files, exam_forms, models, other_tasks
from stages.core.artifacts import write_json
from stages.core.exam_files import Examined
from stages.core.exam_forms import TASK_VERSION, Form, exam_tasks, prompts_sha256, stock_task
from stages.core.exam_letters import letter_log_probabilities, letter_tokens
from stages.core.exam_model import ExamModel
from stages.core.generation import generate
from stages.core.other_tasks import Figure, Others
from stages.core.reading import read_letter
from stages.core.recipe import Evaluate
from stages.core.records import (
    LETTERS,
    Answer,
    Consult,
    HeldoutAnswer,
    VariantAnswer,
    append_jsonl,
    read_appended,
    read_jsonl,
    write_jsonl,
)
from stages.core.statistics import calibration_error

log = logging.getLogger("kormed")

BySubset = Mapping[str, Sequence[Answer]]


def run(
    config: Evaluate, out: Path, *, prepare: Path, sft: Path | None = None, dpo: Path | None = None
) -> dict[str, float]:
    adapter = dpo or sft
    others = other_tasks.find(config.tasks, config.task_folder) if config.tasks else None
    loaded = models.loaded(config.model)
    benchmark = prepare / "benchmark"
    subsets = sorted(folder.name for folder in benchmark.iterdir() if folder.is_dir())
    forms = [exam_forms.headline(config), *exam_forms.variants(config)]
    with exam_tasks(benchmark, subsets) as tasks, loaded.checkpoint(adapter) as model:
        exam_model = ExamModel(pretrained=model, tokenizer=loaded.tokenizer, batch_size=config.batch_size)
        longest = config.max_gen_toks or stock_task(tasks, subsets[0]).config.generation_kwargs["max_gen_toks"]
        require_room(exam_model, longest, others)
        answers = {
            form: {subset: answers_to(config, out, exam_model, tasks, form, subset) for subset in subsets}
            for form in forms
        }
        figures = run_others(config, out, exam_model, others)
        if adapter is not None:
            consults = read_jsonl(prepare / "consults" / "heldout.jsonl", Consult)[: config.heldout_limit]
            answer_consults(config, out / "heldout.jsonl", model, loaded.tokenizer, consults)
    headline, *variants = forms
    write_jsonl(out / "answers.jsonl", [answer for subset in subsets for answer in answers[headline][subset]])
    if variants:
        write_jsonl(out / "variants.jsonl", [row for form in variants for row in variant_answers(form, answers[form])])
    parts = {form: {subset: exam_files.kept(out / f"{form.part(subset)}.json") for subset in subsets} for form in forms}
    write_json(out / "settings.json", settings(config, answers[headline], longest, figures, prompts(parts)))
    exam_files.write(
        out / "lm_eval",
        list(parts[headline].values()),
        {"pretrained": config.model.base} | ({} if adapter is None else {"peft": str(adapter)}),
        exam_model.chat_template(True) if config.chat_template else None,
    )
    for part in [form.part(subset) for form in forms for subset in subsets]:
        (out / f"{part}.jsonl").unlink()  # first: it says that the other one is there
        (out / f"{part}.json").unlink()
    found = metrics(answers[headline])
    for form in variants:
        found |= variant_metrics(str(form.variant), answers[form])
    return found


def require_room(exam_model: ExamModel, longest: int, others: Others | None) -> None:
    """Before the first question, since the last task may be hours away.

    Raises:
        KormedError: the exam or a task asks for more new tokens than the base holds.
    """
    exam_model.require_room({"max_gen_toks": longest}, "the exam", "set evaluate.max_gen_toks to fewer")
    for task, how in others.generating.items() if others else ():
        exam_model.require_room(
            how,
            f"task {task}",
            "take it out of evaluate.tasks, or lower max_gen_toks in a copy of its file",
        )


def answers_to(config: Evaluate, out: Path, exam_model: ExamModel, tasks: Any, form: Form, subset: str) -> list[Answer]:
    """A subset's answers, put aside in `out` with lm-eval's results, or those that a stopped run put there."""
    part = form.part(subset)
    answers = read_appended(out / f"{part}.jsonl", Answer)
    if not answers:
        exam_model.watched = letter_tokens(exam_model.tokenizer, form.before_a_letter) or ()
        examined = examine(config, exam_model, tasks, form, subset)
        answers = answered(exam_model, examined, form, subset)
        exam_model.forget()
        exam_files.keep(out / f"{part}.json", examined)
        write_jsonl(out / f"{part}.jsonl", answers)
    name = subset if form.variant is None else f"{form.variant} {subset}"
    log.info("evaluate: %s %d of %d right", name, sum(answer.correct for answer in answers), len(answers))
    return answers


def metrics(answers: BySubset) -> dict[str, float]:
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


def variant_metrics(variant: str, answers: BySubset) -> dict[str, float]:
    """Of another form, the same as far as a reader may ask for it: as lm-eval reads it, and by the likeliest letter."""
    every = [answer for rows in answers.values() for answer in rows]
    found = shares(f"accuracy_{variant}", answers, lambda answer: answer.correct)
    found[f"no_letter_{variant}"] = sum(answer.extracted not in LETTERS for answer in every)
    if all(answer.letters is not None for answer in every):
        found |= shares(f"accuracy_letters_{variant}", answers, lambda answer: answer.likeliest == answer.target)
    return found


def variant_answers(form: Form, answers: BySubset) -> list[VariantAnswer]:
    return [VariantAnswer(**answer.model_dump(), variant=form.variant) for rows in answers.values() for answer in rows]


def shares(name: str, answers: BySubset, is_right: Callable[[Answer], bool]) -> dict[str, float]:
    right = {subset: [is_right(answer) for answer in rows] for subset, rows in answers.items()}
    every = [one for rows in right.values() for one in rows]
    return {name: sum(every) / len(every)} | {f"{name}_{s}": sum(rows) / len(rows) for s, rows in right.items()}


def examine(config: Evaluate, exam_model: ExamModel, tasks: Any, form: Form, subset: str) -> Examined:
    """One subset through `lm_eval.simple_evaluate`."""
    return simple_evaluate(
        config,
        exam_model,
        tasks,
        form.task(subset),
        num_fewshot=form.fewshot,
        apply_chat_template=form.chat_template,
        fewshot_as_multiturn=False,  # the task's few-shot target is empty: turns would not alternate
        gen_kwargs=None if config.max_gen_toks is None else {"max_gen_toks": config.max_gen_toks},
    )


def simple_evaluate(config: Evaluate, exam_model: ExamModel, tasks: Any, name: str, **asked: Any) -> Examined:
    started = time.monotonic()
    with templates_compiled_once():
        results = lm_eval.simple_evaluate(
            model=exam_model,
            tasks=[name],
            task_manager=tasks,
            batch_size=config.batch_size,
            limit=config.limit,
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


@contextmanager
def templates_compiled_once() -> Iterator[None]:
    """lm-eval compiles a task's templates anew for every question, which takes longer than a GPU needs to answer it."""
    jinja = lm_eval.utils.env
    jinja.from_string = functools.cache(jinja.from_string)
    try:
        yield
    finally:
        del jinja.from_string  # the method is there again


def answered(exam_model: ExamModel, examined: Examined, form: Form, subset: str) -> list[Answer]:
    """Each item's answer, with the letters' log-probabilities after the very prompt that it was an answer to."""
    samples = examined.results["samples"][form.task(subset)]
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
            samples, letter_log_probabilities(exam_model, contexts, form.before_a_letter), strict=True
        )
    ]
    return sorted(answers, key=lambda answer: answer.doc_id)


def run_others(config: Evaluate, out: Path, exam_model: ExamModel, others: Others | None) -> list[Figure]:
    """The recipe's other tasks as lm-eval runs them: their own few-shot count, as turns where there is a template."""
    if others is None:
        return []
    file = out / "other.json"
    figures = [Figure(**row) for row in json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []
    for name in [name for name in config.tasks if name not in {figure.asked for figure in figures}]:
        examined = simple_evaluate(
            config,
            exam_model,
            others.manager,
            name,
            apply_chat_template=config.chat_template,
            fewshot_as_multiturn=config.chat_template,
        )
        exam_model.forget()
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


def prompts(parts: Mapping[Form, Mapping[str, Examined]]) -> dict[Form, dict[str, str]]:
    """By form and subset, the fingerprint of what was asked."""
    return {
        form: {
            subset: prompts_sha256(examined.results["samples"][form.task(subset)])
            for subset, examined in by_subset.items()
        }
        for form, by_subset in parts.items()
    }


def settings(
    config: Evaluate,
    answers: BySubset,
    max_gen_toks: int,
    figures: Sequence[Figure],
    asked: Mapping[Form, Mapping[str, str]],
) -> dict[str, Any]:
    """What the accuracies depend on; results compare only where these are equal."""
    headline, *variants = asked
    return {
        "task": "kormedmcqa",
        "task_version": TASK_VERSION,
        "fewshot": headline.fewshot,
        "chat_template": headline.chat_template,
        "fewshot_as_multiturn": False,
        "limit": config.limit,
        "max_gen_toks": max_gen_toks,
        "subsets": {subset: {"questions": len(rows)} for subset, rows in answers.items()},
        "prompts": asked[headline],
        "letters_as": [headline.before_a_letter + letter for letter in LETTERS],
        "variants": {
            form.variant: {
                "task": form.group,
                "fewshot": form.fewshot,
                "chat_template": form.chat_template,
                "prompts": asked[form],
            }
            for form in variants
        },
        "other_tasks": {
            figure.task: {"version": figure.version, "fewshot": figure.fewshot, "n": figure.n} for figure in figures
        },
        "base": config.model.base,
        "base_fingerprint": models.fingerprint(config.model),
        "dtype": config.model.dtype,
        "quantization": models.quantization(config.model),
        "lm_eval": lm_eval.__version__,
    }
