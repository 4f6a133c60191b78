"""dpo: SFT adapter and preferences in, DPO adapter out; first the proof that its reference is the SFT policy.

Writes the adapter (self-contained on the base), `base.json`, `proof.json` (what the step-0 proof saw), `log.jsonl`
(a row a step: loss, rewards, margins) and `dropped.jsonl`. A stopped run goes on from its last checkpoint.
"""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from trl import DPOConfig, DPOTrainer

from stages.core import models, training
from stages.core.artifacts import write_json
from stages.core.errors import KormedError, ProofFailed
from stages.core.preference_lengths import lengths
from stages.core.recipe import Dpo
from stages.core.records import Preference, read_jsonl, write_jsonl

log = logging.getLogger("kormed")


def run(config: Dpo, out: Path, *, sft: Path, preferences: Path) -> dict[str, float]:
    models.release()
    tokenizer = models.load_tokenizer(config.model)
    rows, dropped = training.rows_that_fit(
        read_jsonl(preferences / "train.jsonl", Preference),
        texts=lambda row: [(row.prompt, row.chosen), (row.prompt, row.rejected)],
        id=lambda row: row.id,
        tokenizer=tokenizer,
        max_length=config.max_length,
    )
    write_jsonl(out / "dropped.jsonl", dropped)
    if not rows:
        raise KormedError(
            f"{preferences}: none of {len(dropped)} pairs fits dpo.max_length={config.max_length}; raise it"
        )
    log.info("dpo: %d pairs, %d dropped as longer than %d tokens", len(rows), len(dropped), config.max_length)
    if warning := lengths(rows).warning:
        log.warning("dpo: %s", warning)

    arguments = DPOConfig(
        **training.arguments(config, out),
        beta=config.beta,
        loss_type=[config.loss],
        label_smoothing=config.label_smoothing,
    )
    models.check_base(sft, config.model)
    base = models.load_base(config.model)
    training.score_answers_only()
    trainer = DPOTrainer(
        # No peft_config and no ref_model: TRL copies this adapter to a frozen one named "ref". With a peft_config the
        # reference would silently be the base.
        model=PeftModel.from_pretrained(base, sft, is_trainable=True),
        args=arguments,
        train_dataset=Dataset.from_list([row.model_dump(include={"prompt", "chosen", "rejected"}) for row in rows]),
        processing_class=tokenizer,
    )
    start_from(sft, trainer)
    proof = prove(trainer, config, sft)
    write_json(out / "proof.json", proof)
    log.info("dpo: proof passed: the reference is SFT's adapter, loss %.6f at step 0", proof["loss"])
    metrics = training.train(trainer, "dpo", out)
    models.save_adapter(trainer.model, out, config.model)
    training.drop_checkpoints(out)
    return metrics | {"pairs": len(rows), "dropped": len(dropped), "loss_at_step_0": proof["loss"]}


def start_from(sft: Path, trainer: DPOTrainer) -> None:
    """Give the policy SFT's weights again, to the last bit: for a quantised base TRL has rounded them to bf16."""
    training.train_in_float32(trainer)
    set_peft_model_state_dict(trainer.model, load_file(sft / "adapter_model.safetensors"), adapter_name="default")


def loss_at_margin_0(config: Dpo) -> float:
    """What TRL's loss comes to where policy and reference agree: sigmoid and robust -log σ(0), hinge 1, ipo (1/2β)².

    Sources: arXiv 2305.18290 (sigmoid), 2305.10425 (hinge), 2310.12036 (ipo, eq. 17), 2403.00409 (robust).
    """
    match config.loss:
        case "sigmoid" | "robust":
            return math.log(2)
        case "hinge":
            return 1.0
        case "ipo":
            return (1 / (2 * config.beta)) ** 2


def prove(trainer: DPOTrainer, config: Dpo, sft: Path) -> dict[str, Any]:
    """Before the first update: the reference's weights are SFT's, every margin is 0, the loss is the loss at margin 0.

    The reference is computed in the same batch as the policy, so the margins are 0 to the last bit.

    Raises:
        ProofFailed: DPO would optimise against something else than SFT.
    """
    saved = load_file(sft / "adapter_model.safetensors")
    weights = dict(trainer.model.named_parameters())
    differing = [
        name
        for name, value in saved.items()
        for adapter in ("ref", "default")
        if not _same(weights.get(name.replace(".weight", f".{adapter}.weight")), value)
    ]
    trainable = [name for name, value in weights.items() if ".ref." in name and value.requires_grad]
    batch = next(iter(trainer.get_train_dataloader()))
    training_mode = trainer.model.training
    trainer.model.eval()
    with torch.no_grad():
        loss = float(trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch)))
    trainer.model.train(training_mode)
    seen = trainer._metrics["eval"]  # where TRL keeps what it sees outside training
    margins = [*seen["rewards/margins"], *seen["rewards/chosen"], *seen["rewards/rejected"]]
    seen.clear()
    expected = loss_at_margin_0(config)
    proof = {
        "weights_equal": not differing,
        "reference_frozen": not trainable,
        "loss": loss,
        "expected_loss": expected,
        "largest_margin": max(map(abs, margins)),
    }
    if differing or trainable or proof["largest_margin"] != 0 or not math.isclose(loss, expected, rel_tol=1e-5):
        raise ProofFailed(
            f"dpo: the reference is not the SFT policy, so training stops before the first update: {proof}; "
            f"weights that differ: {differing[:3]}; trainable: {trainable[:3]}. "
            f"Train SFT again (kormed sft RECIPE --force), or report this with the installed versions (pip freeze)"
        )
    return proof


def _same(parameter: torch.Tensor | None, saved: torch.Tensor) -> bool:
    """To the last bit, in the type that was saved: a copy rounded to bf16 is another policy."""
    return parameter is not None and parameter.dtype == saved.dtype and torch.equal(parameter.detach().cpu(), saved)
