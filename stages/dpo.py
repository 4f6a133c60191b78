"""dpo: SFT adapter and preferences in, DPO adapter out; first the proof that its reference is the SFT policy.

Writes the adapter (self-contained on the base), `base.json`, `proof.json` (what the proofs before and after training
saw), `log.jsonl` (a row a step: loss, rewards, margins; a row a look at the held-out pairs), `reference.jsonl` (the
reference's log-probabilities), `heldout.jsonl` (each held-out pair under the saved adapter), `dropped.jsonl`
and `heldout_dropped.jsonl`. A stopped run goes on from its last checkpoint.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase as Tokenizer
from trl import DPOConfig

from stages.core import artifacts, models, sharding, training
from stages.core import preference_training as preference
from stages.core.artifacts import write_json
from stages.core.errors import KormedError
from stages.core.preference_lengths import lengths
from stages.core.preference_training import ACCURACY, Looks, PreferenceTrainer
from stages.core.recipe import Dpo
from stages.core.records import Dropped, Preference, write_jsonl

log = logging.getLogger("kormed")


def run(config: Dpo, out: Path, *, sft: Path, preferences: Path) -> dict[str, float]:
    models.release()
    tokenizer = models.load_tokenizer(config.model)
    fitting = read(config, preferences / "train.jsonl", tokenizer)
    fitting_heldout = read(config, preferences / "heldout.jsonl", tokenizer)
    pairs, dropped = fitting.rows, fitting.dropped
    heldout, heldout_dropped = fitting_heldout.rows, fitting_heldout.dropped
    if artifacts.keeps_books():
        write_jsonl(out / "dropped.jsonl", dropped)
        write_jsonl(out / "heldout_dropped.jsonl", heldout_dropped)
    require_pairs(config, preferences, pairs, dropped, heldout)
    log.info("dpo: %d pairs, %d dropped as longer than %d tokens", len(pairs), len(dropped), config.max_length)
    log.info("dpo: %d pairs held out, %d dropped as longer than that", len(heldout), len(heldout_dropped))
    if warning := lengths(pairs).warning:
        log.warning("dpo: %s", warning)
    training.preflight("dpo", config, fitting.lengths, fitting.shared)

    trainer = make_trainer(config, out, sft, pairs, heldout, tokenizer)
    proof = prove_start(trainer, config, sft, out)
    metrics = training.train(trainer, "dpo", out)
    trainer.accelerator.wait_for_everyone()  # of several processes one alone writes from here on
    step = trainer.state.global_step if config.early_stopping is None else preference.take_best(trainer, out)
    proof |= preference.prove_unchanged(trainer, sft)
    metrics |= look(trainer, config, out, step) if heldout else {"heldout_pairs": 0}
    change, before = preference.chosen_change(trainer.state.log_history, step, config.beta)
    if warning := preference.falling(change, before):
        log.warning("dpo: %s", warning)
    if artifacts.keeps_books():
        write_json(out / "proof.json", proof)
        models.save_adapter(trainer.model, out, config.model)
        training.drop_checkpoints(out)
    return metrics | {
        "saved_step": step,
        "loss_at_step_0": proof["loss"],
        "chosen_logps_change": change,
        "pairs": len(pairs),
        "dropped": len(dropped),
    }


def prove_start(trainer: PreferenceTrainer, config: Dpo, sft: Path, out: Path) -> dict[str, Any]:
    """What was proved before the first update; the reference's log-probabilities stand in the pairs afterwards."""
    try:
        proof = preference.prove(trainer, config, sft)
        log.info("dpo: proof passed: the reference is SFT's adapter, loss %.6f at step 0", proof["loss"])
        if config.precompute_reference:
            preference.precompute_reference(trainer, config, sft, out)
            proof |= preference.prove_precomputed(trainer, config)
            log.info("dpo: with its precomputed reference the loss is %.6f", proof["loss_with_precomputed_reference"])
    except torch.OutOfMemoryError:
        raise KormedError(
            "dpo: out of GPU memory while the reference was computed; lower dpo.batch_size (and raise "
            "dpo.gradient_accumulation as much) or dpo.max_length"
        ) from None
    if artifacts.keeps_books():
        write_json(out / "proof.json", proof)
    return proof


def read(config: Dpo, file: Path, tokenizer: Tokenizer) -> training.Fitting[Preference]:
    return training.rows_that_fit(
        preference.read_pairs(file),
        texts=lambda row: [(row.prompt, row.chosen), (row.prompt, row.rejected)],
        id=lambda row: row.id,
        tokenizer=tokenizer,
        max_length=config.max_length,
    )


def require_pairs(
    config: Dpo,
    preferences: Path,
    pairs: Sequence[Preference],
    dropped: Sequence[Dropped],
    heldout: Sequence[Preference],
) -> None:
    """Raises KormedError where no pair fits, or it is to look at held-out pairs and none is there."""
    if not pairs:
        raise KormedError(
            f"{preferences}: none of {len(dropped)} pairs fits dpo.max_length={config.max_length}; raise it"
        )
    keys = [key for key in ("early_stopping", "eval_steps") if getattr(config, key) is not None]
    if keys and not heldout:
        raise KormedError(
            f"{preferences / 'heldout.jsonl'}: dpo.{keys[0]} looks at held-out pairs and there are none that fit; set "
            f"preferences.heldout above 0 (or label more), or {' and '.join(f'dpo.{key}' for key in keys)} to null"
        )


def make_trainer(
    config: Dpo,
    out: Path,
    sft: Path,
    pairs: Sequence[Preference],
    heldout: Sequence[Preference],
    tokenizer: Tokenizer,
) -> PreferenceTrainer:
    models.check_base(sft, config.model)
    base = models.load_base(config.model)
    training.score_answers_only()
    trainer = PreferenceTrainer(
        config,
        # No peft_config and no ref_model: TRL copies this adapter to a frozen one named "ref". With a peft_config the
        # reference would silently be the base.
        model=models.load_adapter(base, sft),
        args=sharding.on_one_gpu(DPOConfig(**preference.arguments(config, out))),
        train_dataset=dataset(pairs),
        eval_dataset=dataset(heldout) if heldout else None,
        processing_class=tokenizer,
        callbacks=[Looks(config)] if heldout else None,
    )
    preference.start_from(sft, trainer)
    training.speed_up(trainer, config)
    return trainer


def dataset(pairs: Sequence[Preference]) -> Dataset:
    return Dataset.from_list([row.model_dump(include={"id", "prompt", "chosen", "rejected"}) for row in pairs])


def look(trainer: PreferenceTrainer, config: Dpo, out: Path, step: int) -> dict[str, float]:
    """Each held-out pair under the policy of `step`, which is saved, to `heldout.jsonl`, and what they come to."""
    judged = preference.judge(trainer, config)
    found = preference.summary(judged)
    if artifacts.keeps_books():
        write_jsonl(out / "heldout.jsonl", judged)
        with (out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "saved": True, **found}) + "\n")
    return {
        "heldout_accuracy": found[ACCURACY],
        "heldout_margin": fmean(row.margin for row in judged),
        "heldout_pairs": len(judged),
    }
