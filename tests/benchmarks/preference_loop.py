"""Does the preference loop close? Real weights and exam, SFT, candidates, labels by rule, DPO, judged fresh answers.

    python -m tests.benchmarks.preference_loop BASE BENCHMARK [--json FILE] [--out FOLDER] [--set K=V ...] [--tiny]

BASE is Gemma 3 270M as recipes/demo/base_model.py makes it, BENCHMARK a folder of KorMedMCQA's <subset>/<split>.jsonl;
the consults are template_consults.py's. Everything is recipes/gemma-3-270m.yaml, changed by --set; --tiny makes a few
steps of each stage, to see that it runs. A stopped run goes on where it was; all of it, with the log, is under --out.

At the end SFT and DPO each answer the consults that no training step saw, greedy and once more sampled as candidates
are. The annotators who gave the labels (annotation/rule.py: a rule with seeded disagreement, nobody's opinion of
medicine) judge the answers in pairs, blind, through `head_to_head` and `winrate`. No server takes part: what annotators
say goes into the files that `pull` would write.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from annotation.rule import ADVICE, flags, score, vote
from stages import head_to_head, winrate
from stages.core import artifacts, chat, models
from stages.core.artifacts import Manifest
from stages.core.generation import generate
from stages.core.pairing import repetition
from stages.core.pipeline import Run, duration
from stages.core.recipe import Annotation, load_recipe
from stages.core.records import (
    Candidate,
    Comparison,
    Consult,
    HeldoutAnswer,
    Response,
    RoundName,
    append_jsonl,
    read_jsonl,
    read_whole_lines,
    write_jsonl,
    write_rows,
)
from tests.benchmarks.provenance import provenance
from tests.benchmarks.template_consults import consults

ROOT = Path(__file__).parents[2]
CONSULTS = 1700
TINY = (
    "prepare.subsets=[doctor]",
    *("sft.max_steps=2", "sft.pack_tokens=2048"),
    *("candidates.limit=12", "candidates.per_consult=3", "candidates.max_new_tokens=48", "candidates.batch_size=12"),
    "candidates.allow_truncated=true",
    # Two steps of SFT write nothing that a rule tells apart, so what is said is drawn.
    *("annotation.annotators=[simulated-1]", "annotation.responses_per_comparison=1"),
    "annotation.simulation.disagreement=1",
    *("dpo.max_steps=2", "dpo.batch_size=2", "dpo.learning_rate=1e-2"),
    *("evaluate.heldout_limit=6", "evaluate.heldout_max_new_tokens=48"),
)

Way = Literal["greedy", "sampled"]
Checkpoint = Literal["sft", "dpo"]
WAYS: tuple[Way, ...] = ("greedy", "sampled")
CHECKPOINTS: tuple[Checkpoint, ...] = ("sft", "dpo")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("models/preference-loop"))
    parser.add_argument("--set", nargs="*", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--tiny", action="store_true")
    asked = parser.parse_args()
    run = open_run(asked.base, asked.benchmark, asked.out, [*(TINY if asked.tiny else ()), *asked.overrides])
    log_to(asked.out / "preference_loop.log")
    stages = make(run)
    took = {row["stage"]: row["seconds"] for row in stages}
    found = {
        **provenance(),
        "settings": [*(TINY if asked.tiny else ()), *asked.overrides],
        "stages": stages,
        "candidates": of_candidates(run, took["candidates"]),
        "fresh": {way: judged(run, way) for way in WAYS},
    }
    print("\n".join(told(found)))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")


def open_run(base: Path, benchmark: Path, out: Path, overrides: Sequence[str]) -> Run:
    """The recipe on these inputs, its consults written; the same texts each time, so that nothing becomes stale."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "template_consults.jsonl"
    inputs = [f"model.base={base}", f"prepare.benchmark={benchmark}", f"prepare.consults={file}"]
    recipe = load_recipe(ROOT / "recipes" / "gemma-3-270m.yaml", [*inputs, *overrides])
    write_rows(file, consults(CONSULTS, recipe.seed))
    return Run(recipe, out)


def log_to(file: Path) -> None:
    logging.basicConfig(
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(file, encoding="utf-8")],
    )
    logging.getLogger("kormed").setLevel(logging.INFO)


def make(run: Run) -> list[dict[str, Any]]:
    """Every stage up to DPO, with seconds, tokens a second where the trainer counts them, peak memory and metrics."""
    rows = []
    for name in ("prepare", "sft", "candidates", "preferences", "dpo"):
        if name == "preferences":
            comparisons = read_jsonl(run.path("candidates") / "comparisons.jsonl", Comparison)
            answer(comparisons, run.responses, run.recipe.annotation, "label")
        forget_peak()
        manifest = run.bring(name)
        rows.append(
            {
                "stage": name,
                "seconds": manifest.seconds,
                "peak_gib": peak_of(run, manifest),
                "tokens_per_second": trained_tokens(run.path(name) / "log.jsonl"),
                "metrics": manifest.metrics,
            }
        )
    models.release()
    return rows


def answer(comparisons: Sequence[Comparison], file: Path, config: Annotation, round: RoundName) -> None:
    """What every annotator says of every comparison, appended to `file` as `pull` does; what stands there stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    said = {(row.comparison_id, row.annotator) for row in (read_whole_lines(file, Response) if file.exists() else [])}
    append_jsonl(
        file,
        [
            Response(
                comparison_id=comparison.id,
                annotator=annotator,
                value=vote(comparison, annotator, config.simulation, config.seed),
                status="submitted",
                comment="simulated",
                submitted_at=datetime.now(UTC),
                round=round,
                unsafe_a=tuple(flags(comparison)["a"]),
                unsafe_b=tuple(flags(comparison)["b"]),
            )
            for comparison in comparisons
            for annotator in config.annotators
            if (comparison.id, annotator) not in said
        ],
    )


def judged(run: Run, way: Way) -> dict[str, Any]:
    """DPO's win rate over SFT in fresh answers to the held-out consults, and what the answers are like."""
    folder = run.path("fresh") / way
    forget_peak()
    started = time.monotonic()
    given = {checkpoint: fresh_answers(run, checkpoint, way, folder / checkpoint) for checkpoint in CHECKPOINTS}
    seconds = time.monotonic() - started
    pairs, verdicts = folder / "head_to_head", folder / "verdicts.jsonl"
    pairs.mkdir(exist_ok=True)
    verdicts.unlink(missing_ok=True)
    head_to_head.run(run.recipe.head_to_head, pairs, evaluate_sft=folder / "sft", evaluate_dpo=folder / "dpo")
    answer(read_jsonl(pairs / "comparisons.jsonl", Comparison), verdicts, run.recipe.annotation, "compare")
    return {
        "winrate": winrate.run(run.recipe.head_to_head, folder, head_to_head=pairs, verdicts=verdicts),
        "answers": {checkpoint: like(answers) for checkpoint, answers in given.items()},
        "seconds": round(seconds, 1),
        "peak_gib": peak_gib(),
    }


def fresh_answers(run: Run, checkpoint: Checkpoint, way: Way, folder: Path) -> list[Candidate]:
    """A checkpoint's answers to the held-out consults, made now, and in `heldout.jsonl` as `evaluate` writes them."""
    config = run.recipe.evaluate
    sampling = None if way == "greedy" else run.recipe.candidates.sampling
    rows = read_jsonl(run.path("prepare") / "consults" / "heldout.jsonl", Consult)[: config.heldout_limit]
    loaded = models.loaded(config.model)
    with loaded.checkpoint(run.path(checkpoint)) as model:
        batches = generate(
            model,
            loaded.tokenizer,
            [chat.consult_prompt(row.question, row.patient_information) for row in rows],
            max_new_tokens=config.heldout_max_new_tokens,
            sampling=sampling,
            batch_size=config.batch_size,
            seed=config.seed,
        )
        found = {rows[one.index].id: one for batch in batches for one in batch}
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(
        folder / "heldout.jsonl",
        [
            HeldoutAnswer(
                consult_id=row.id,
                question=row.question,
                patient_information=row.patient_information,
                reference=row.answer,
                text=found[row.id].text,
                finished=found[row.id].finished,
            )
            for row in rows
        ],
    )
    return [
        Candidate(
            id=row.id,
            consult_id=row.id,
            text=found[row.id].text,
            checkpoint=checkpoint,
            temperature=sampling.temperature if sampling else 0,
            top_p=sampling.top_p if sampling else 1,
            seed=config.seed,
            tokens=found[row.id].tokens,
            finished=found[row.id].finished,
        )
        for row in rows
    ]


def of_candidates(run: Run, seconds: float) -> dict[str, float]:
    """What the answers are like that SFT gave to be compared; `seconds` it took, loading included."""
    found = like(read_jsonl(run.path("candidates") / "candidates.jsonl", Candidate))
    return found | {"tokens_per_second": found["answers"] * found["tokens"] / seconds}


def like(answers: Sequence[Candidate]) -> dict[str, float]:
    """Means over the answers: what the annotators' rule looks at, and its score (0 to 1)."""
    return {
        "answers": len(answers),
        "score": statistics.fmean(map(score, answers)),
        "finished": statistics.fmean(one.finished for one in answers),
        "advice": statistics.fmean(ADVICE.search(one.text) is not None for one in answers),
        "repetition": statistics.fmean(repetition(one.text) for one in answers),
        "characters": statistics.fmean(len(one.text) for one in answers),
        "tokens": statistics.fmean(one.tokens or 0 for one in answers),
    }


def trained_tokens(log: Path) -> float | None:
    """Tokens a second of a training, from what TRL counted; None: not a training, or not counted."""
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    tokens = [row["num_tokens"] for row in rows if "num_tokens" in row]
    seconds = [row["train_runtime"] for row in rows if "train_runtime" in row]
    return tokens[-1] / seconds[-1] if tokens and seconds else None


def forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> float | None:
    """Since `forget_peak`; None on a CPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None


def peak_of(run: Run, manifest: Manifest) -> float | None:
    """The stage's peak, measured now or, where it stood already, when it was made."""
    file = run.folder / "peaks.json"
    peaks: dict[str, list[Any]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if peaks.get(manifest.stage, [None])[0] != manifest.finished_at:
        peaks[manifest.stage] = [manifest.finished_at, peak_gib()]
        artifacts.write_json(file, peaks)
    gib: float | None = peaks[manifest.stage][1]
    return gib


def told(found: dict[str, Any]) -> list[str]:
    """The whole of it as lines of text."""
    lines = [f"{found['device']}, {', '.join(f'{name} {version}' for name, version in found['libraries'].items())}"]
    lines.append(f"{'stage':<14}{'took':>14}{'tokens/s':>10}{'peak GiB':>10}  metrics")
    for row in found["stages"]:
        lines.append(
            f"{row['stage']:<14}{duration(row['seconds']):>14}{number(row['tokens_per_second'], 0):>10}"
            f"{number(row['peak_gib'], 1):>10}  {listed(row['metrics'])}"
        )
    lines.append(f"candidates: {listed(found['candidates'])}")
    for way, fresh in found["fresh"].items():
        lines += [f"fresh answers, {way}, {checkpoint}: {listed(of)}" for checkpoint, of in fresh["answers"].items()]
        lines.append(f"fresh answers, {way}: {winrate.sentence(fresh['winrate'], fresh['winrate'])}")
    return lines


def listed(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:,.{decimals}f}"


if __name__ == "__main__":
    main()
