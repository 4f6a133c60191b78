"""The model card of an adapter: `README.md` with the hub's metadata, its numbers those of the report.

No text of a consult, an exam question or an annotator stands in it, no annotator's name and no folder of this machine.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import yaml
from huggingface_hub import EvalResult, ModelCardData

from stages.core import beside, chat, cost, cost_wording, figures, findings, statistics, wording
from stages.core.artifacts import Manifest
from stages.core.eda import CONSULTS, Eda
from stages.core.findings import Cell, Contrast, Evaluation, Labels, Reason, Row, Settings, Winrate
from stages.core.pages import environment
from stages.core.preference_side import Accuracy
from stages.core.records import Checkpoint, is_simulated

Tuned = Literal["sft", "dpo"]

SHOWN: dict[Tuned, tuple[Checkpoint, ...]] = {"sft": ("base", "sft"), "dpo": ("base", "sft", "dpo")}
STAGES: dict[Tuned, tuple[str, ...]] = {  # that the adapter and its numbers are made of
    "sft": ("collect", "import", "restructure", "prepare", "sft", "evaluate/base", "evaluate/sft"),
    "dpo": (
        *("collect", "import", "restructure", "prepare", "sft", "candidates", "agreement", "preferences", "dpo"),
        *("evaluate/base", "evaluate/sft", "evaluate/dpo", "winrate"),
    ),
}
OWN_FOLDERS = ("models", "data", "recipes")  # a name below one of these is a folder of a kormed run and no hub id
GEMMA_TERMS = re.compile(r"gemma-?[23]\b", re.IGNORECASE)  # Gemma 2 and 3 come under Google's Gemma Terms of Use


def render(
    checkpoint: Tuned,
    *,
    name: str,
    evaluations: Sequence[Evaluation],
    rows: Sequence[Row],
    contrasts: Sequence[Contrast],
    artifacts: Sequence[Manifest],
    eda: Eda,
    dropped: Sequence[Reason],
    epochs: float,
    labels: Labels | None = None,
    pairs: tuple[int, int] | None = None,
    winrate: Winrate | None = None,
    heldout: Accuracy | None = None,
) -> str:
    """The card of one adapter, from what the report has read; what came after that adapter is left out of it.

    Args:
        name: the run's.
        evaluations: of base, SFT and, where there is DPO, DPO; `rows` and `contrasts` are what `findings` makes of
            them, so that corrections of p-values are those of the report.
        artifacts: manifests of all stages that the report reads, the adapter's own among them.
        dropped: rows that this adapter's training left out; `epochs`: how often it saw the others.
        labels: None where the run has none; `pairs`: preferences to train on and held out; `heldout`: what DPO's reward
            makes of the latter.
    """
    by_stage = {manifest.stage: manifest for manifest in artifacts if manifest.stage in STAGES[checkpoint]}
    shown = [evaluation for evaluation in evaluations if evaluation.checkpoint in SHOWN[checkpoint]]
    table = [replace(row, cells=tuple(c for c in row.cells if c.checkpoint in SHOWN[checkpoint])) for row in rows]
    preferred = checkpoint == "dpo"
    settings, trainer, prepare = shown[0].settings, by_stage[checkpoint], by_stage["prepare"]
    benchmark = prepare.config.get("benchmark")
    simulated = wording.simulated(labels) if preferred else ""
    title = f"{name}-{checkpoint}"
    card = environment(is_html=False)
    card.filters["markdown"] = wording.markdown
    return card.get_template("model_card.md.j2").render(
        front_matter=metadata(checkpoint, title, settings, table, prepare),
        title=title,
        checkpoint=checkpoint,
        base=shareable(settings.base),
        hub_base=hub_id(settings.base),
        revision=revision(trainer),
        fingerprint=settings.base_fingerprint,
        simulated=simulated,
        result=result(table[-1], contrasts, checkpoint),
        prepared=wording.prepared(eda),
        consults=consults(eda),
        trained=trained(checkpoint, dropped, epochs, eda, pairs),
        labels=labels if preferred else None,
        annotators=annotators(labels) if labels else "",
        heldout=heldout if preferred else None,
        winrate=winrate if preferred else None,
        winrate_simulated=wording.simulated_among(winrate.annotators) if winrate and preferred else "",
        rows=table,
        asked=asked(settings, benchmark, shown[-1].device),
        uneven=findings.uneven(shown),
        contrasts=[contrast for contrast in contrasts if contrast.after in SHOWN[checkpoint]],
        compared=len(contrasts),
        readings=beside.readings(shown),
        caveats=caveats(table[-1], beside.readings(shown)),
        hyperparameters=hyperparameters(trainer),
        costs=cost_wording.summary(cost.totals(cost.costs(list(by_stage.values())))),
        cost_means=cost_wording.MEANS,
        artifacts=[by_stage[stage] for stage in STAGES[checkpoint] if stage in by_stage],
        weights=trainer.files.get("adapter_model.safetensors"),
        content=trainer.content,
        libraries=", ".join(f"{library} {version}" for library, version in sorted(trainer.libraries.items())),
        benchmark_sha256=prepare.config.get("benchmark_sha256"),
        licence=licence(settings.base),
        limits=limits(table[-1], simulated, winrate if preferred else None),
        of_kormedmcqa=eda.published_benchmark or (hub_id(benchmark) or "").lower().endswith("/kormedmcqa"),
        benchmark=hub_id(benchmark) or (f"a folder named {shareable(benchmark)}" if benchmark else "an imported file"),
        quantization=settings.quantization,
        decontaminate=prepare.config.get("decontaminate"),
        deidentified=prepare.config.get("deidentify") is not False or "restructure" in prepare.inputs,
        consult_instruction=chat.CONSULT_INSTRUCTION,
        exam_instruction=chat.EXAM_INSTRUCTION,
        NAMES=wording.NAMES,
        bounds=figures.bounds,
        wording=wording,
        statistics=statistics,
    )


def metadata(checkpoint: Tuned, title: str, settings: Settings, rows: Sequence[Row], prepare: Manifest) -> str:
    """The card's YAML. What is not known to stand on a hub is not named as if it did."""
    benchmark = hub_id(prepare.config.get("benchmark"))
    data = ModelCardData(
        language="ko",
        license=licence(settings.base),
        base_model=hub_id(settings.base),
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["lora", "trl", checkpoint, "korean", "medical", "kormed"],
        datasets=[benchmark] if benchmark else None,
        metrics=["accuracy"],
        model_name=title,
        eval_results=[evaluated(row, own(row, checkpoint), settings, prepare) for row in rows],
    )
    return data.to_yaml()


def own(row: Row, checkpoint: Tuned) -> Cell:
    return next(cell for cell in row.cells if cell.checkpoint == checkpoint)


def evaluated(row: Row, cell: Cell, settings: Settings, prepare: Manifest) -> EvalResult:
    """One row of the table as the hub's `model-index` has it; all subsets together have no configuration's name."""
    benchmark = prepare.config.get("benchmark")
    put = {"num_few_shot": settings.fewshot, "chat_template": settings.chat_template, "questions": row.questions}
    if settings.limit is not None:
        put["limit"] = settings.limit
    return EvalResult(
        task_type="text-generation",
        task_name=f"{settings.task} {settings.task_version:.1f} of lm-eval {settings.lm_eval}",
        dataset_type=hub_id(benchmark) or shareable(benchmark),
        dataset_name=f"{shareable(benchmark)}, {'all subsets' if row.name == findings.ALL else row.name}",
        dataset_config=None if row.name == findings.ALL else row.name,
        dataset_split="test",
        dataset_revision=prepare.config.get("benchmark_revision"),
        dataset_args=put,
        metric_type="accuracy",
        metric_name="accuracy in % (exact match of the letter)",
        metric_value=cell.score.percent,
        verified=False,
    )


def result(overall: Row, contrasts: Sequence[Contrast], checkpoint: Tuned) -> list[str]:
    """This adapter against what came before it, over all questions: a sentence for each."""
    percent = {cell.checkpoint: cell.score.percent for cell in overall.cells}
    questions = wording.count(overall.questions, "question")
    but = wording.cautions(figures.exam_result(overall, contrasts))
    said = [
        f"{wording.NAMES[checkpoint]} got {percent[checkpoint]:.2f} % of {questions} right against "
        f"{wording.NAMES[contrast.before]}'s {percent[contrast.before]:.2f} %: {wording.verdict(contrast.overall)}."
        for contrast in contrasts
        if contrast.after == checkpoint
    ]
    return [*said, *([f"But {', and '.join(but)}."] if but else [])]


def trained(
    checkpoint: Tuned, dropped: Sequence[Reason], epochs: float, eda: Eda, pairs: tuple[int, int] | None
) -> str:
    if checkpoint == "sft":
        return wording.trained_on(dropped, eda.rows, "instruction row", epochs)
    return wording.trained_on(dropped, pairs[0], "preference", epochs) if pairs else ""


def consults(eda: Eda) -> int:
    """Consults among the training rows."""
    found = eda.of(CONSULTS, "characters")
    return found.rows if found else 0


def annotators(labels: Labels) -> str:
    """How many gave the labels, and how many of them are no people. Nobody is named."""
    simulated = sum(map(is_simulated, labels.annotators))
    people = len(labels.annotators) - simulated
    return " and ".join(
        wording.count(number, noun)
        for number, noun in ((people, "annotator"), (simulated, "simulated annotator"))
        if number
    )


def caveats(overall: Row, readings: Sequence[beside.Readings]) -> list[str]:
    """What of the exam's numbers is form and what may be knowledge, as far as they tell."""
    base, tuned = overall.cells[0], overall.cells[-1]
    name = wording.NAMES[tuned.checkpoint]
    unread = [wording.share(cell.failures, overall.questions) for cell in (base, tuned)]
    form = ", so a part of a gain can be the form of the answers" if base.failures > tuned.failures else ""
    found = [
        f"The task found no letter in {unread[0]} of base's answers and in {unread[1]} of {name}'s; such an answer "
        f"counts as wrong{form}."
    ]
    if readings and (before := readings[0].likeliest) and (after := readings[-1].likeliest):
        apart = before.interval.high < after.interval.low or after.interval.high < before.interval.low
        found.append(
            f"By the likeliest letter, which needs no form, base got {wording.scored(before)} right and {name} "
            f"{wording.scored(after)}; the intervals {'do not overlap' if apart else 'overlap'}."
        )
    return found


def limits(overall: Row, simulated: str, winrate: Winrate | None) -> list[str]:
    """The report's, without what the card says under its own headings."""
    return [limit for limit in wording.limits(overall, simulated, 0, winrate) if "CC BY-NC" not in limit]


def asked(settings: Settings, benchmark: object, device: str) -> str:
    """How the questions were put, without the folders of this machine."""
    named = settings.model_copy(update={"base": shareable(settings.base)})
    return wording.asked(named, shareable(benchmark), device)


def hyperparameters(manifest: Manifest) -> str:
    """The stage's section as resolved, as YAML, but for what changes nothing of the adapter."""
    section: dict[str, Any] = {k: v for k, v in manifest.config.items() if k not in ("report_to", "save_steps")}
    if isinstance(section.get("model"), dict):
        section["model"] = section["model"] | {"base": shareable(section["model"].get("base"))}
    return yaml.safe_dump(section, allow_unicode=True, sort_keys=False).rstrip()


def revision(manifest: Manifest) -> str | None:
    """The base's hub revision that the recipe pinned; None: it pinned none."""
    model = manifest.config.get("model")
    found = model.get("revision") if isinstance(model, dict) else None
    return found if isinstance(found, str) else None


def licence(base: str) -> str | None:
    """The hub's word for the base's terms, which bind what is derived of it; None: not known."""
    return "gemma" if GEMMA_TERMS.search(base) else None


def hub_id(place: object) -> str | None:
    """`owner/name` where that is what the recipe names, and no folder; else None.

    A folder comes first, as it does for transformers and datasets.
    """
    if not isinstance(place, str) or not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", place):
        return None
    return None if place.split("/")[0] in OWN_FOLDERS or Path(place).exists() else place


def shareable(place: object) -> str:
    """A hub id as it is; of a folder its last name alone, since the others are nobody else's business."""
    if not isinstance(place, str):
        return "an imported file"  # the recipe names no benchmark then
    return hub_id(place) or Path(place).name
