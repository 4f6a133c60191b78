"""What DPO needs beside a trainer: TRL's settings, the proofs, the reference's log-probabilities, looks at held-out
pairs.

The policy is the adapter "default", the reference TRL's frozen copy of it, "ref".
"""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, TypeVar

import torch
from accelerate.utils import broadcast_object_list, gather_object  # type: ignore[import-untyped]
from datasets import Dataset
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import DPOTrainer

from stages.core import artifacts, models, training, watching
from stages.core.errors import KormedError, ProofFailed
from stages.core.recipe import Dpo
from stages.core.records import Judged, Preference, Record, append_jsonl, read_appended, read_numbered

log = logging.getLogger("kormed")

R = TypeVar("R")

TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids")  # TRL's columns
ACCURACY = "eval_rewards/accuracies"  # TRL's name, which transformers keeps the best checkpoint by
FALLING = 0.05  # our choice: chosen answers that lost a twentieth of their log-probability are worth a line

# How far the precomputed reference may be from the policy at step 0, as a share of a log-probability (of -10, where it
# is nearer to 0). Both come from the same weights, in batches of other shapes. In float32 the tests' tiny model differs
# by 1e-7. bf16 keeps 8 bits of a number, also of a logit of 30: a valid run of Gemma 3 270M started with a margin of
# 0.0104 and a loss of 0.6880 instead of ln 2. Pairs that were mixed up differ by tenths.
TOLERANCE = {"float32": 1e-5, "bfloat16": 5e-2}
LEAST = 10

Adapter = Literal["default", "ref"]
Pair = dict[str, Any]  # a row of TRL's dataset: id, prompt_ids, chosen_ids, rejected_ids
Batch = dict[str, torch.Tensor]


class LogProbabilities(Record):
    """A pair's log-probabilities under the reference. `of`: a digest of that reference and of the pair's tokens."""

    id: str
    of: str
    chosen: float
    rejected: float


def read_pairs(path: Path) -> list[Preference]:
    """Raises KormedError where a pair's sides are the same text, which is no preference."""
    pairs = []
    for line, pair in read_numbered(path, Preference):
        chosen, rejected = ([message.content.strip() for message in side] for side in (pair.chosen, pair.rejected))
        if chosen == rejected:
            raise KormedError(
                f"{path}:{line}: pair {pair.id}: chosen and rejected are the same text, which is no preference; take "
                f"the pair out where it comes from and make the preferences anew"
            )
        pairs.append(pair)
    return pairs


def arguments(config: Dpo, out: Path) -> dict[str, Any]:
    """Keyword arguments of DPOConfig. The looks at held-out pairs are `Looks`'s, not TRL's."""
    mixed = config.nll_weight > 0
    return training.arguments(config, out) | {
        "beta": config.beta,
        "loss_type": [config.loss, "sft"] if mixed else [config.loss],
        "loss_weights": [1.0, config.nll_weight] if mixed else None,
        "label_smoothing": config.label_smoothing,
        "ld_alpha": config.length_desensitised,
        "metric_for_best_model": None if config.early_stopping is None else ACCURACY,
        "greater_is_better": None if config.early_stopping is None else True,
    }


def pair_loss(config: Dpo, gap: float) -> float:
    """The loss of a pair whose chosen answer's log-probability moved up by `gap` more than the rejected one's.

    For ipo the moves are means over the answers' tokens, as in TRL, which asked the paper's authors. With a
    length-desensitised loss the log-probabilities weigh tokens differently and the rest stays. What `nll_weight` mixes
    in is not in it.

    Sources: arXiv 2305.18290 (sigmoid), 2305.10425 (hinge), 2310.12036 (ipo, eq. 17), 2403.00409 (robust).
    """
    match config.loss:
        case "sigmoid":
            return softplus(-config.beta * gap)
        case "robust":
            smoothing = config.label_smoothing
            kept, flipped = softplus(-config.beta * gap), softplus(config.beta * gap)
            return ((1 - smoothing) * kept - smoothing * flipped) / (1 - 2 * smoothing)
        case "hinge":
            return max(0.0, 1 - config.beta * gap)
        case "ipo":
            return (gap - 1 / (2 * config.beta)) ** 2


def softplus(value: float) -> float:
    """log(1 + exp(value)), which is -log σ(-value)."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def start_from(sft: Path, trainer: DPOTrainer) -> None:
    """Give the policy SFT's weights again, to the last bit: for a quantised base TRL has rounded them to bf16."""
    training.train_in_float32(trainer)
    load_policy(trainer, sft)


def load_policy(trainer: DPOTrainer, folder: Path) -> None:
    set_peft_model_state_dict(trainer.model, load_file(folder / "adapter_model.safetensors"), adapter_name="default")


def prove(trainer: DPOTrainer, config: Dpo, sft: Path) -> dict[str, Any]:
    """Before the first update: the reference's weights are SFT's, every margin is 0, the loss is the loss at margin 0.

    The reference is computed in the same batch as the policy, so the margins are 0 to the last bit.

    Raises:
        ProofFailed: DPO would optimise against something else than SFT.
    """
    differing = differing_weights(trainer, sft, ("ref", "default"))
    trainable = [name for name, value in trainer.model.named_parameters() if ".ref." in name and value.requires_grad]
    batch = first_batch(trainer)
    loss, margin = loss_and_margin(trainer, batch)
    expected = pair_loss(config, 0)
    if config.nll_weight > 0:
        expected += config.nll_weight * mean_nll(trainer, batch)
    proof = {
        "weights_equal": not differing,
        "reference_frozen": not trainable,
        "loss": loss,
        "expected_loss": expected,
        "largest_margin": margin,
    }
    if differing or trainable or margin != 0 or not math.isclose(loss, expected, rel_tol=1e-5):
        raise ProofFailed(
            f"dpo: the reference is not the SFT policy, so training stops before the first update: {proof}; "
            f"weights that differ: {differing[:3]}; trainable: {trainable[:3]}. "
            f"Train SFT again (kormed sft RECIPE --force), or report this with the installed versions (pip freeze)"
        )
    return proof


def prove_precomputed(trainer: DPOTrainer, config: Dpo) -> dict[str, Any]:
    """Before the first update: the reference's log-probabilities that stand in the pairs are the policy's own.

    They come from batches of another shape, so they are equal within rounding only (`TOLERANCE`).

    Raises:
        ProofFailed: a pair has the log-probabilities of something else.
    """
    batch = first_batch(trainer)
    policy = log_probabilities(trainer, batch, "default")
    reference = torch.stack([batch["ref_chosen_logps"], batch["ref_rejected_logps"]]).cpu()
    deviation = float(((policy - reference).abs() / reference.abs().clamp(min=LEAST)).max())
    chosen, rejected = policy - reference
    proof = {
        "margin_with_precomputed_reference": float((config.beta * (chosen - rejected)).abs().max()),
        "loss_with_precomputed_reference": loss_and_margin(trainer, batch)[0],
        "deviation_of_precomputed_reference": deviation,
        "tolerated_deviation": TOLERANCE[config.model.dtype],
    }
    if not deviation <= TOLERANCE[config.model.dtype]:
        raise ProofFailed(
            f"dpo: the reference's precomputed log-probabilities are not those of SFT, so training stops before the "
            f"first update: {proof}. Set dpo.precompute_reference=false, which computes them in every step, and "
            f"report this with the installed versions (pip freeze)"
        )
    return proof


def prove_unchanged(trainer: DPOTrainer, sft: Path) -> dict[str, Any]:
    """After training: the reference's weights are still SFT's.

    Raises:
        ProofFailed: the run optimised against a reference that moved.
    """
    differing = differing_weights(trainer, sft, ("ref",))
    if differing:
        raise ProofFailed(
            f"dpo: the reference's weights are no longer SFT's after training ({len(differing)} differ, the first: "
            f"{differing[:3]}), so the adapter was trained against something else and is not kept. "
            f"Report this with the installed versions (pip freeze)"
        )
    return {"reference_unchanged": True}


def differing_weights(trainer: DPOTrainer, sft: Path, adapters: Sequence[Adapter]) -> list[str]:
    """Names of SFT's weights that an adapter does not have to the last bit."""
    weights = dict(trainer.model.named_parameters())
    return [
        name
        for name, value in load_file(sft / "adapter_model.safetensors").items()
        for adapter in adapters
        if not _same(weights.get(name.replace(".weight", f".{adapter}.weight")), value)
    ]


def _same(parameter: torch.Tensor | None, saved: torch.Tensor) -> bool:
    """To the last bit, in the type that was saved: a copy rounded to bf16 is another policy."""
    if parameter is None:
        return False
    whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter  # FSDP shards after training
    return whole.dtype == saved.dtype and torch.equal(whole.detach().cpu(), saved)


def first_batch(trainer: DPOTrainer) -> Batch:
    batch: Batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    return batch


def loss_and_margin(trainer: DPOTrainer, batch: Batch) -> tuple[float, float]:
    """The loss that training would see and the largest mean reward or margin, without a trace in TRL's metrics."""
    training_mode = trainer.model.training
    trainer.model.eval()
    with torch.no_grad(), trainer.accelerator.autocast():
        loss = float(trainer.compute_loss(trainer.model, batch))
    trainer.model.train(training_mode)
    seen = trainer._metrics["eval"]  # where TRL keeps what it sees outside training
    margins = [*seen["rewards/margins"], *seen["rewards/chosen"], *seen["rewards/rejected"]]
    seen.clear()
    return loss, max(map(abs, margins))


def mean_nll(trainer: DPOTrainer, batch: Batch) -> float:
    """Mean negative log-likelihood of the chosen answers' tokens under the policy."""
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    with torch.no_grad(), trainer.accelerator.autocast():
        scored = trainer.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
    chosen = len(labels) // 2
    tokens = (labels[:chosen, 1:] != -100).sum()
    return float(-scored.log_probs[:chosen].double().sum() / tokens)


def log_probabilities(trainer: DPOTrainer, batch: Batch, adapter: Adapter) -> torch.Tensor:
    """Log-probabilities of a batch's answers under one adapter, on the CPU: chosen in row 0, rejected in row 1.

    TRL computes them, so a length-desensitised loss gets its own. With a `ref_model` of its own TRL leaves the adapters
    as they are, which is the policy.
    """
    own = trainer.ref_model
    trainer.ref_model = trainer.model if adapter == "default" else None
    try:
        chosen, rejected = trainer.compute_ref_log_probs(trainer.model, trainer._prepare_inputs(batch))
    finally:
        trainer.ref_model = own
    return torch.stack([chosen, rejected]).float().cpu()


def precompute_reference(trainer: DPOTrainer, config: Dpo, sft: Path, out: Path) -> None:
    """Put the reference's log-probabilities into the trainer's pairs, computed once and kept in `reference.jsonl`.

    A killed run goes on behind the last line. TRL's own precomputing pads in the dataset's order, begins anew after a
    kill and hashes every weight of the model first.
    """
    of = reference_mark(config, sft)
    datasets = [data for data in (trainer.train_dataset, trainer.eval_dataset) if data is not None]
    pairs = {digest(of, pair): pair for data in datasets for pair in data.select_columns(["id", *TOKENS])}
    file = out / "reference.jsonl"
    found = {row.of: row for row in shared(trainer, lambda: read_appended(file, LogProbabilities)) if row.of in pairs}
    missing = [(key, pair) for key, pair in pairs.items() if key not in found]
    if found:
        log.info("dpo: the reference of %d of %d pairs is there already", len(found), len(pairs))
    progress = Pace("dpo: reference", len(missing))
    for indices, values in scores(trainer, config, [pair for _, pair in missing], "ref"):
        rows = [
            LogProbabilities(id=missing[at][1]["id"], of=missing[at][0], chosen=chosen, rejected=rejected)
            for at, (chosen, rejected) in zip(indices, values, strict=True)
        ]
        if trainer.is_world_process_zero():
            append_jsonl(file, rows)
        found |= {row.of: row for row in rows}
        progress.add(len(rows))
    trainer.train_dataset = with_reference(trainer.train_dataset, of, found)
    if trainer.eval_dataset is not None:
        trainer.eval_dataset = with_reference(trainer.eval_dataset, of, found)
    trainer.precompute_ref_logps = True


def reference_mark(config: Dpo, sft: Path) -> str:
    """What the reference's log-probabilities depend on beside a pair's tokens."""
    return json.dumps(
        [
            artifacts.hash_file(sft / "adapter_model.safetensors"),
            models.fingerprint(config.model),
            models.quantization(config.model),
            config.model.dtype,
            config.length_desensitised,
        ]
    )


def digest(of: str, pair: Pair) -> str:
    """Of a reference, a pair's id and its tokens: what was computed for another is never taken for this one's."""
    whole = json.dumps([of, pair["id"], *(pair[column] for column in TOKENS)])
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


def with_reference(pairs: Dataset, of: str, found: Mapping[str, LogProbabilities]) -> Dataset:
    """The pairs with the two columns that TRL reads, matched by content and never by place."""
    rows = [found[digest(of, pair)] for pair in pairs.select_columns(["id", *TOKENS])]
    pairs = pairs.add_column("ref_chosen_logps", [row.chosen for row in rows])
    return pairs.add_column("ref_rejected_logps", [row.rejected for row in rows])


def shared(trainer: DPOTrainer, read: Callable[[], list[R]]) -> list[R]:
    """What rank 0 reads, in every process: the others may not see its disk."""
    holder = [read() if trainer.is_world_process_zero() else []]
    broadcast_object_list(holder)
    return holder[0]


class Pace:
    """A line every few seconds: how many of how many, and how fast."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.started = self.said = time.monotonic()

    def add(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.said > watching.SECONDS_BETWEEN_LINES or self.done == self.total:
            self.said = now
            log.info(
                "%s: %d of %d pairs, %.1f a second", self.what, self.done, self.total, self.done / (now - self.started)
            )


def scores(
    trainer: DPOTrainer, config: Dpo, pairs: Sequence[Pair], adapter: Adapter
) -> Iterator[tuple[list[int], list[tuple[float, float]]]]:
    """Log-probabilities (chosen, rejected) of all pairs under an adapter, a batch of places at a time.

    Longest first, so that hardly any padding is computed and memory that is too small shows at once. A batch holds as
    many tokens as a training step at `max_length` on one device, which holds more in memory. Several processes take
    turns, and each gets the numbers of all; one with no batch left computes the last again, since under FSDP a forward
    pass needs all of them.
    """
    lengths = [len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"])) for pair in pairs]
    batches = by_tokens([2 * length for length in lengths], 2 * config.batch_size * config.max_length)
    processes, own = trainer.accelerator.num_processes, trainer.accelerator.process_index
    for first in range(0, len(batches), processes):
        turn = batches[first : first + processes]
        mine = turn[min(own, len(turn) - 1)]
        batch = trainer.data_collator([pairs[at] for at in mine])
        values = [(float(c), float(r)) for c, r in log_probabilities(trainer, batch, adapter).T]
        told = gather_object([values])
        yield [at for indices in turn for at in indices], [pair for part in told[: len(turn)] for pair in part]


def by_tokens(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places of `lengths` in batches, longest first, each at most `budget` once all are padded to its longest.

    One that is longer than the budget is a batch of its own.
    """
    batches: list[list[int]] = []
    for at in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(at)
        else:
            batches.append([at])
    return batches


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer, whose look at the held-out pairs gives a number a pair.

    TRL gives the mean of its batches' means, which weighs the pairs of a last, smaller batch more.
    """

    def __init__(self, config: Dpo, **options: Any) -> None:
        super().__init__(**options)
        self.config = config

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = summary(judge(self, self.config))
        training_mode = self.model.training
        self.model.eval()  # TRL's log goes by it
        self.log(metrics)
        self.model.train(training_mode)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def judge(trainer: DPOTrainer, config: Dpo) -> list[Judged]:
    """Every held-out pair under the policy as it is now, in the file's order."""
    pairs = list(trainer.eval_dataset.select_columns(["id", *TOKENS]))
    policy = in_order(scores(trainer, config, pairs, "default"), len(pairs))
    if trainer.precompute_ref_logps:
        columns = [list(trainer.eval_dataset[f"ref_{side}_logps"]) for side in ("chosen", "rejected")]
        reference = list(zip(*columns, strict=True))
    else:
        reference = in_order(scores(trainer, config, pairs, "ref"), len(pairs))
    return [judged(config, *row) for row in zip(pairs, policy, reference, strict=True)]


def judged(config: Dpo, pair: Pair, policy: tuple[float, float], reference: tuple[float, float]) -> Judged:
    chosen, rejected = (now - before for now, before in zip(policy, reference, strict=True))
    if config.loss == "ipo":
        gap = chosen / len(pair["chosen_ids"]) - rejected / len(pair["rejected_ids"])
    else:
        gap = chosen - rejected
    plain = config.length_desensitised is None  # else TRL's numbers weigh tokens: no log-probabilities of answers
    return Judged(
        id=pair["id"],
        margin=config.beta * (chosen - rejected),
        loss=pair_loss(config, gap),
        chosen_change=chosen,
        rejected_change=rejected,
        chosen_before=reference[0] if plain else None,
        rejected_before=reference[1] if plain else None,
        chosen_tokens=len(pair["chosen_ids"]),
        rejected_tokens=len(pair["rejected_ids"]),
    )


def in_order(parts: Iterator[tuple[list[int], list[tuple[float, float]]]], count: int) -> list[tuple[float, float]]:
    values = dict(pair for indices, part in parts for pair in zip(indices, part, strict=True))
    return [values[at] for at in range(count)]


def summary(rows: Sequence[Judged]) -> dict[str, float]:
    """TRL's names. A pair whose margin is 0 counts as wrong, as in TRL."""
    return {
        ACCURACY: sum(row.margin > 0 for row in rows) / len(rows),
        "eval_loss": fmean(row.loss for row in rows),
        "eval_rewards/margins": fmean(row.margin for row in rows),
        "eval_logps_change/chosen": fmean(row.chosen_change for row in rows),
        "eval_logps_change/rejected": fmean(row.rejected_change for row in rows),
    }


class Looks(TrainerCallback):
    """Asks for looks at the held-out pairs and, with `early_stopping`, saves at each and stops.

    What it goes by is the trainer's log, which stands in every checkpoint, so that a killed run stops where it would
    have. transformers' EarlyStoppingCallback counts for itself.
    """

    def __init__(self, config: Dpo) -> None:
        self.config = config

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        last = state.global_step >= state.max_steps and self.config.early_stopping is not None
        if last or (self.config.eval_steps is not None and state.global_step % self.config.eval_steps == 0):
            control.should_evaluate = True
            control.should_save |= self.config.early_stopping is not None

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        accuracies = [row[ACCURACY] for row in state.log_history if ACCURACY in row]
        log.info("dpo: step %d: agrees with %.1f %% of the held-out pairs", state.global_step, 100 * accuracies[-1])
        patience = self.config.early_stopping
        if patience is not None and since_best(accuracies) >= patience and state.global_step < state.max_steps:
            log.info("dpo: stops: no better in %d looks (dpo.early_stopping)", patience)
            control.should_training_stop = True
            state.max_steps = state.global_step  # so that one that is killed now and goes on sees that it was done


def since_best(accuracies: Sequence[float]) -> int:
    """Looks behind the best one; of equals the first is the best, as the one nearest to SFT."""
    return len(accuracies) - 1 - accuracies.index(max(accuracies))


def take_best(trainer: DPOTrainer, out: Path) -> int:
    """Give the policy the weights of the best look's checkpoint. Returns its step."""
    step = trainer.state.best_global_step
    if step is None:
        raise AssertionError("a run with early stopping looks at least once, at its last step")
    load_policy(trainer, out / training.CHECKPOINTS / f"checkpoint-{step}")
    log.info("dpo: keeps step %d, which agrees with most held-out pairs", step)
    return int(step)


def chosen_change(history: Sequence[Mapping[str, float]], step: int, beta: float) -> tuple[float, float]:
    """How far training moved the chosen answers' log-probability from SFT's, mean over the last tenth of the steps up
    to `step`, and what it was under SFT. TRL's reward is beta times that move, so it does not matter that other steps
    have other pairs.
    """
    rows = [row for row in history if "rewards/chosen" in row and row["step"] <= step]
    tail = rows[-max(1, len(rows) // 10) :]
    change = fmean(row["rewards/chosen"] / beta for row in tail)
    return change, fmean(row["logps/chosen"] for row in tail) - change


def falling(change: float, before: float) -> str | None:
    """A warning where chosen answers lost more than a twentieth of their log-probability (`FALLING`)."""
    if change >= FALLING * before:
        return None
    return (
        f"the chosen answers became less likely: log-probability {before:.1f} under SFT, {before + change:.1f} at the "
        f"end. DPO does that while it pushes the rejected ones down (arXiv 2404.19733); dpo.nll_weight above 0, for "
        f"example 0.2, holds them up"
    )
