"""What SFT and DPO share: the trainer's settings, progress, resuming, and keeping only rows that fit whole."""

import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerState,
)
from transformers import PreTrainedTokenizerBase as Tokenizer
from trl.trainer import utils as trl_utils

from stages.core import artifacts, estimate, fast_lora, models, padding_free, sharding, watching
from stages.core.errors import KormedError
from stages.core.recipe import Dpo, Sft, Training
from stages.core.records import Dropped, Message

log = logging.getLogger("kormed")

Row = TypeVar("Row")
CHECKPOINTS = "checkpoints"


def arguments(config: Training, out: Path) -> dict[str, Any]:
    """Keyword arguments that SFTConfig and DPOConfig have in common."""
    on_gpu = torch.cuda.is_available()
    if config.optimizer.startswith("paged") and not on_gpu:
        raise KormedError(f"optimizer {config.optimizer} needs a GPU and none is here; set it to adamw_torch")
    if on_gpu and config.model.dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise KormedError(
            f"{torch.cuda.get_device_name()} has no bfloat16, which Gemma 2 needs; set model.dtype=float32"
        )
    if "tensorboard" in config.report_to:  # beside the adapter; the checkpoints' own folder goes when the run is over
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "tensorboard")
    return {
        "output_dir": str(out / CHECKPOINTS),
        "num_train_epochs": config.epochs,
        "max_steps": -1 if config.max_steps is None else config.max_steps,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": accumulation(config, artifacts.processes()),
        "gradient_checkpointing": config.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.scheduler,
        "warmup_steps": config.warmup_ratio,  # below 1 it is a share of all steps
        "optim": config.optimizer,
        "max_length": config.max_length,
        "bf16": on_gpu and config.model.dtype == "bfloat16",
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "seed": config.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a NaN is to be seen, and to stop the run
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "report_to": list(config.report_to) or "none",
        "disable_tqdm": True,
        **sharding.trainer_arguments(config),
    }


def accumulation(config: Training, processes: int) -> int:
    """Batches that this process adds up in a step; says so where a step is then another than on one GPU."""
    each = config.batches_each(processes)
    if each * processes != config.gradient_accumulation:
        log.warning(
            "%d processes do not divide gradient_accumulation %d, so a step has %d times the rows of one on a single "
            "GPU (a larger learning_rate may fit; with gradient_accumulation=%d it would be the same step)",
            processes,
            config.gradient_accumulation,
            processes,
            config.gradient_accumulation * processes,
        )
    return each


def score_answers_only() -> None:
    """Let TRL project only the answer's positions on the vocabulary on a CPU too, as it does on a GPU.

    On 2 cores an SFT step of Gemma 3 270M falls from 6.5 to 2.0 s. The switch is private to TRL (it asks whether the
    device runs Triton): where it is gone, training is slower and no different.
    """
    if not torch.cuda.is_available() and hasattr(trl_utils, "_use_triton"):
        trl_utils._use_triton = lambda device: True


def is_padding_free(config: Training) -> bool:
    """What `padding_free: null` comes to on this machine. Packed rows always are: else they would see each other."""
    if isinstance(config, Sft) and config.pack_tokens is not None:
        return True
    return torch.cuda.is_available() and config.compile if config.padding_free is None else config.padding_free


def speed_up(trainer: Trainer, config: Training, length: int | None = None) -> None:
    """Make the trainer's model faster and no different: no padding, LoRA in fewer passes, compiled layers.

    `length`: of every sequence in tokens, where it is known.
    """
    model: Any = trainer.model
    base = model.get_base_model()
    on_gpu = torch.cuda.is_available()
    if is_padding_free(config):
        if on_gpu:
            base.set_attn_implementation(padding_free.FLEX)
        multiple = length or (estimate.FILLED_TO if config.compile else padding_free.BLOCK)
        padding_free.remove_padding(base, multiple, pairs=isinstance(config, Dpo))
    if not sharding.shards(config):  # FSDP moves the weights that a fast layer has taken hold of
        fast_lora.speed_up_lora(model)
    if config.compile and on_gpu:
        compile_layers(model)


def compile_layers(model: Any) -> None:
    """Each kind of decoder layer is compiled once, and anew for each length that comes up."""
    torch._dynamo.config.recompile_limit = 64
    model.enable_input_require_grads()  # or the first layer, whose input has no gradient, is a kind of its own
    for layer in model.get_base_model().base_model.layers:
        layer.forward = torch.compile(layer.forward, dynamic=False)


@dataclass(frozen=True)
class Fitting(Generic[Row]):
    """Rows to train on with the tokens of their sequences (one in SFT, a pair's two sides in DPO), and the others.

    `shared`: of each pair, the tokens of its prompt; empty in SFT.
    """

    rows: list[Row]
    lengths: list[list[int]]
    shared: list[int]
    dropped: list[Dropped]


def rows_that_fit(
    rows: Sequence[Row],
    texts: Callable[[Row], Sequence[tuple[Sequence[Message], Sequence[Message]]]],
    id: Callable[[Row], str],
    tokenizer: Tokenizer,
    max_length: int,
) -> Fitting[Row]:
    """Tell rows of which every (prompt, answer) is at most `max_length` tokens from those that are longer.

    A row that is cut teaches the model to stop nowhere, so nothing is ever cut.
    """
    found = Fitting[Row]([], [], [], [])
    for row in rows:
        sequences = texts(row)
        lengths = [count_tokens(tokenizer, (*prompt, *answer)) for prompt, answer in sequences]
        if max(lengths) <= max_length:
            found.rows.append(row)
            found.lengths.append(lengths)
            if len(sequences) > 1:
                found.shared.append(count_tokens(tokenizer, sequences[0][0]))
        else:
            reason = f"longer than max_length {max_length}"
            found.dropped.append(Dropped(id=id(row), reason=reason, text=f"{max(lengths)} tokens"))
    return found


def count_tokens(tokenizer: Tokenizer, messages: Sequence[Message]) -> int:
    ids: Any = tokenizer.apply_chat_template([m.model_dump() for m in messages], return_dict=True)
    return len(ids["input_ids"])


def train_in_float32(trainer: Trainer) -> None:
    """Undo TRL's cast of a quantised model's trainable adapter to bf16.

    DPO's updates (learning rate 5e-6) are below bf16's resolution and would be rounded away, and DPO's frozen copy of
    the adapter is not cast, so policy and reference would differ before the first step: margins of 0.0016 and a loss of
    0.69237 instead of ln 2 were seen with NF4 on an H100 (trl 1.16). The products still run in bf16 under autocast.
    """
    for parameter in trainer.model.parameters():  # type: ignore[union-attr]
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def preflight(stage: str, config: Training, lengths: Sequence[Sequence[int]], shared: Sequence[int] = ()) -> None:
    """Before anything is loaded: what is missing or cannot run here, and a line on steps, tokens, memory and time.

    `lengths`: of each row, the tokens of its sequences: one in SFT, a pair's two sides in DPO. `shared`: of each pair,
    the tokens that its sides begin with.

    Raises:
        KormedError: a library that report_to wants is missing; this model or GPU lacks the attention that is asked
            for; or the training does not fit into the GPU's free memory.
    """
    watching.require_reporters(stage, config.report_to)
    architecture = models.from_pretrained(AutoConfig, config.model).get_text_config()
    require_attention(config, architecture)
    is_nf4 = models.quantization(config.model) == "nf4"
    needed = estimate.training(
        config, estimate.shape(architecture), lengths, is_nf4, is_padding_free(config), artifacts.processes(), shared
    )
    log.info("%s: %s", stage, estimate.work(needed))
    if torch.cuda.is_available():
        require_room(stage, config, needed, torch.cuda.mem_get_info()[0] / 2**30, torch.cuda.get_device_name())


def require_room(stage: str, config: Training, needed: estimate.Estimate, free: float, device: str) -> None:
    """Say what a training will take of a GPU with `free` GiB; raises KormedError where it will not fit."""
    log.info("%s: %s", stage, estimate.memory(needed, free))
    if hint := estimate.duration(needed, device):
        log.info("%s: %s", stage, hint)
    estimate.require_room(stage, config, needed, free)
    if needed.gib > estimate.WARN_ABOVE * free:
        log.warning("%s: may run out of GPU memory; if it does, %s", stage, estimate.way_out(stage, config, needed))


def require_attention(config: Training, architecture: Any) -> None:
    """Raises KormedError where the model or the GPU lacks the attention that the recipe asks for."""
    softcap = getattr(architecture, "attn_logit_softcapping", None)
    if config.model.attention == "sdpa" and softcap is not None:
        raise KormedError(
            f"{config.model.base}: caps its attention's logits at {softcap:g}, which sdpa leaves out; set "
            f"model.attention=eager"
        )
    if is_padding_free(config) and torch.cuda.is_available():
        require_triton(torch.cuda.get_device_name(), torch.cuda.get_device_capability())


def require_triton(device: str, capability: tuple[int, int]) -> None:
    """Raises KormedError where a GPU cannot run flex attention, which Triton compiles (compute capability 8.0 and up,
    Triton's README).
    """
    if capability < (8, 0):
        raise KormedError(
            f"{device}: compute capability {'.'.join(map(str, capability))}, and training without padding needs 8.0 "
            f"(flex attention); set padding_free to false, and sft.pack_tokens to null"
        )


def train(trainer: Trainer, stage: str, out: Path) -> dict[str, float]:
    """Run a trainer from its last whole checkpoint to the end and write `log.jsonl`. Returns the mean loss of the
    last tenth of the steps, and how many there were.

    Raises:
        KormedError: out of memory (with the setting to change).
        ProofFailed: the loss or the gradient is no number, the loss stays far above its start, or no gradient comes.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(watching.Progress(stage, out))
    checkpoint = last_checkpoint(out)
    if checkpoint is not None:
        log.info("%s: going on from %s", stage, checkpoint.name)
        if trainer.is_fsdp_enabled:
            sharding.restore(trainer, checkpoint)
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json")) if checkpoint else None
    try:
        if state is not None and state.global_step >= state.max_steps:  # transformers would train one step more
            trainer._load_from_checkpoint(str(checkpoint))
            trainer.state = state
        else:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except torch.OutOfMemoryError:
        raise KormedError(
            f"{stage}: out of GPU memory; lower {stage}.batch_size (and raise {stage}.gradient_accumulation as much), "
            f"set {stage}.gradient_checkpointing=true, or lower {stage}.max_length"
        ) from None
    history = trainer.state.log_history
    if artifacts.keeps_books():
        with (out / "log.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in history)
    losses = [row["loss"] for row in history if "loss" in row]
    tail = losses[-max(1, len(losses) // 10) :]
    return {"loss": sum(tail) / len(tail), "steps": trainer.state.global_step}


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint of which every file is whole; those that are not are removed, so none is tried twice.

    A kill cuts off what was being written (the trainer writes `trainer_state.json` last); a full disk or a power cut
    may cut off any file.
    """
    whole = []
    for folder in (out / CHECKPOINTS).glob("checkpoint-*"):
        if wrong := broken(folder):
            if artifacts.keeps_books():
                log.info("checkpoint %s is cut off (%s) and was removed", folder.name, wrong)
                shutil.rmtree(folder)
        else:
            whole.append(folder)
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def broken(checkpoint: Path) -> str | None:
    """The first file of a checkpoint that is missing or not whole, None where all are.

    Weights are held against the length that their header gives, what torch wrote (zip files) against checksums.
    """
    # Under FSDP weights and optimizer are folders of shards. Without an optimizer the trainer would begin a new one.
    for names in (
        ("adapter_model.*", "pytorch_model_fsdp*"),
        ("optimizer*",),
        ("scheduler.pt",),
        ("trainer_state.json",),
    ):
        if not any(path for name in names for path in checkpoint.glob(name)):
            return f"no {names[0]}"
    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        try:
            match file.suffix:
                case ".json":
                    json.loads(file.read_text(encoding="utf-8"))
                case ".safetensors":
                    with safe_open(file, framework="pt"):
                        pass
                case ".pt" | ".pth" | ".bin":
                    with zipfile.ZipFile(file) as content:
                        if content.testzip() is not None:
                            return file.name
        except (OSError, ValueError, SafetensorError, zipfile.BadZipFile):
            return file.name
    return None


def drop_checkpoints(out: Path) -> None:
    """The finished adapter stands beside them, so they are only weight now."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
