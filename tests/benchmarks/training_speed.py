"""SFT and DPO at Gemma-2-2b's exact shape (random weights) on one GPU: what each speed-up is worth, side by side.

    python -m tests.benchmarks.training_speed sft [--variants NAME,NAME] [--steps 8] [--json FILE] [--profile FOLDER]
    python -m tests.benchmarks.training_speed dpo …

Rows are random token ids as long as the real ones: nine in ten like exam questions (a letter to learn), one in ten like
a consult (350 to 1,250 tokens, a third of them answer); pairs have 300 to 600 tokens a side. Tokens are counted without
padding, time between the optimizer's steps, the first ones (compilation, warm-up) left out. Every variant is a process
of its own, so that neither memory nor a crash passes from one to the next.

The bound is 4 x parameters FLOP a token (frozen weights need no gradient) at the rate that this GPU reaches in a bf16
matrix product of 8,192 x 8,192 x 8,192, measured first. "with ref" are the pairs a second over the recipe's two epochs
where the reference's log-probabilities are computed once, before them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTTrainer

from stages import sft
from stages.core import models, training
from stages.core.pipeline import device
from stages.core.recipe import Dpo, Model, Sft
from tests.benchmarks.provenance import provenance
from tests.benchmarks.published_shape import write_base

PARAMETERS = 2.61e9
SECONDS = 240  # a variant at most; compiling flex attention for heads of 256 takes half a minute a length
EPOCHS = 2  # of DPO in the recipe, over which the reference's share is spread

OURS = {"gradient_checkpointing": False, "optimizer": "adamw_torch_fused", "lora": {"dropout": 0.0}}
LOW_MEMORY = {
    "batch_size": 1,
    "gradient_accumulation": 16,
    "optimizer": "paged_adamw_8bit",
    "lora": {"dropout": 0.0},
}
SFT: dict[str, dict[str, Any]] = {
    "tutorial: eager 4x4, checkpointing": {"tutorial": True},
    "padding-free 16 rows": {**OURS, "batch_size": 16},
    "packed 8,192": {**OURS, "batch_size": 1, "pack_tokens": 8192},
    "packed 8,192, compiled": {**OURS, "batch_size": 1, "pack_tokens": 8192, "compile": True},
    "packed 16,384, compiled": {**OURS, "batch_size": 1, "pack_tokens": 16384, "compile": True},
    "padding-free 16 rows, compiled": {**OURS, "batch_size": 16, "compile": True},
    "low memory: 1x16, checkpointing": LOW_MEMORY,
    "low memory: 4x4, checkpointing": {**LOW_MEMORY, "batch_size": 4, "gradient_accumulation": 4},
    "low memory: packs of 2,048": {**LOW_MEMORY, "gradient_accumulation": 2, "pack_tokens": 2048},
    "low memory: packs of 4,096": {**LOW_MEMORY, "gradient_accumulation": 1, "pack_tokens": 4096},
}
DPO: dict[str, dict[str, Any]] = {
    "TRL's defaults: eager, batch 8, checkpointing": {"tutorial": True},
    "padding-free 8 pairs, reference once": {**OURS, "batch_size": 8},
    "padding-free 8 pairs, reference once, compiled": {**OURS, "batch_size": 8, "compile": True},
    "padding-free 16 pairs, reference once, compiled": {**OURS, "batch_size": 16, "compile": True},
    "low memory: 1x16, checkpointing": LOW_MEMORY,
    "low memory: 2x8, checkpointing": {**LOW_MEMORY, "batch_size": 2, "gradient_accumulation": 8},
}
VARIANTS = {"sft": SFT, "dpo": DPO}


class Clock(TrainerCallback):
    """When each optimizer step was over on the GPU."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.at.append(time.perf_counter())


def sft_rows(count: int, tokens: int) -> Dataset:
    """Lengths as measured on KorMedMCQA and Hidoc (mean 190), answers as long as they are there."""
    rng = np.random.default_rng(0)
    exam = np.exp(rng.normal(np.log(150), 0.4, count))
    lengths = np.clip(np.where(rng.random(count) < 0.9, exam, rng.uniform(350, 1250, count)), 40, 1280).astype(int)
    rows = []
    for length in lengths:
        answer = length // 3 if length > 340 else 3
        ids = rng.integers(300, tokens, length).tolist()
        rows.append({"input_ids": ids, "completion_mask": [0] * (length - answer) + [1] * answer})
    return Dataset.from_list(rows)


def dpo_rows(count: int, tokens: int) -> Dataset:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        prompt = int(rng.integers(100, 250))
        sides = [rng.integers(300, tokens, int(rng.integers(200, 350))).tolist() for _ in "ab"]
        rows.append(
            {
                "prompt_ids": rng.integers(300, tokens, prompt).tolist(),
                "chosen_ids": sides[0],
                "rejected_ids": sides[1],
                "ref_chosen_logps": -2000.0,
                "ref_rejected_logps": -2000.0,
            }
        )
    return Dataset.from_list(rows)


def make_sft(base: Path, variant: dict[str, Any], steps: int, out: Path) -> SFTTrainer:
    tokenizer = AutoTokenizer.from_pretrained(base)
    if variant.get("tutorial"):
        config = Sft(seed=0, model=Model(base=str(base)), max_steps=steps, batch_size=4, gradient_accumulation=4)
        training.speed_up = lambda *args, **kwargs: None  # what TRL does by itself
    else:
        config = Sft(seed=0, model=Model(base=str(base)), max_steps=steps, **variant)
    rows = config.batch_size * config.gradient_accumulation * (config.pack_tokens or 190) // 190 * (steps + 4)
    return sft.make_trainer(config, out, sft_rows(rows, len(tokenizer)), tokenizer)


class RowsAsTheyAre(DPOTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset


def make_dpo(base: Path, variant: dict[str, Any], steps: int, out: Path) -> DPOTrainer:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tutorial = variant.get("tutorial")
    knobs = {"batch_size": 8, "gradient_accumulation": 1} if tutorial else {"gradient_accumulation": 1} | variant
    knobs.pop("lora", None)
    config = Dpo(seed=0, model=Model(base=str(base)), max_steps=steps, **knobs)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=list(Sft(seed=0, model=config.model).lora.targets))
    training.score_answers_only()
    trainer = RowsAsTheyAre(
        model=get_peft_model(models.load_base(config.model), lora),
        args=DPOConfig(**training.arguments(config, out)),
        train_dataset=dpo_rows(config.batch_size * config.gradient_accumulation * (steps + 2), len(tokenizer)),
        processing_class=tokenizer,
    )
    training.train_in_float32(trainer)
    if not tutorial:
        trainer.precompute_ref_logps = True
        training.speed_up(trainer, config)
    return trainer


def measure(kind: str, name: str, base: Path, steps: int, profile: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        make = make_sft if kind == "sft" else make_dpo
        trainer: Any = make(base, VARIANTS[kind][name], steps, Path(folder))
        counts: list[tuple[int, int]] = []
        collate = trainer.data_collator

        def counting(rows: list[dict[str, Any]]) -> Any:
            sides = ("chosen_ids", "rejected_ids")
            tokens = [
                len(row["input_ids"]) if kind == "sft" else sum(len(row["prompt_ids"]) + len(row[s]) for s in sides)
                for row in rows
            ]
            counts.append((sum(tokens), len(rows)))
            return collate(rows)

        trainer.data_collator = counting
        trainer.args.save_strategy = "no"
        clock = Clock()
        trainer.add_callback(clock)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        if profile:
            from torch.profiler import ProfilerActivity
            from torch.profiler import profile as profiler

            trainer.add_callback(Profile(profiler(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]), profile))
        trainer.train()
        peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        reference = reference_seconds(trainer) if kind == "dpo" and trainer.precompute_ref_logps else None
    warm = max(2, steps // 2)
    seconds = (clock.at[-1] - clock.at[warm - 1]) / (steps - warm)
    accumulation = trainer.args.gradient_accumulation_steps
    tokens = np.mean([count for count, _ in counts]) * accumulation
    rows = np.mean([count for _, count in counts]) * accumulation
    return {
        "kind": kind,
        "variant": name,
        "tokens_per_second": float(tokens / seconds),
        "pairs_per_second": float(rows / seconds) if kind == "dpo" else None,
        "reference_seconds_per_pair": reference,
        "tokens_per_step": float(tokens),
        "seconds_per_step": seconds,
        "seconds_until_first_step": clock.at[0] - started,
        "peak_gib": peak,
        "losses": losses,
    }


def reference_seconds(trainer: Any) -> float:
    """What the reference's log-probabilities of a pair take, as computed once before training."""
    batches = [
        trainer._prepare_inputs(batch) for batch, _ in zip(trainer.get_train_dataloader(), range(6), strict=False)
    ]
    started = 0.0
    for at, batch in enumerate(batches):
        if at == 2:  # the first two compile
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            started = time.perf_counter()
        trainer.compute_ref_log_probs(trainer.model, batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    pairs: int = trainer.args.per_device_train_batch_size * (len(batches) - 2)
    return (time.perf_counter() - started) / pairs


class Profile(TrainerCallback):
    def __init__(self, profiler: Any, file: Path) -> None:
        self.profiler, self.file = profiler, file

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == state.max_steps - 2:
            self.profiler.start()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.profiler.stop()
        table = self.profiler.key_averages().table(sort_by="cuda_time_total", row_limit=45, max_name_column_width=80)
        self.file.write_text(table, encoding="utf-8")


def matrix_rate() -> float:
    """FLOP/s of a bf16 product of 8,192 x 8,192 x 8,192 on random data."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in "ab")
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(20):
        a @ b
    torch.cuda.synchronize()
    return float(20 * 2 * 8192**3 / (time.perf_counter() - started))


def write(file: Path, rate: float, rows: list[dict[str, Any]]) -> None:
    found = provenance() | {"matrix_tflops": rate / 1e12, "rows": rows}
    file.write_text(json.dumps(found, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=["sft", "dpo"])
    parser.add_argument("--variants", help="names or parts of them, separated by ;")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", type=Path, help="a folder for a profile of each variant's last steps")
    parser.add_argument("--tiny", action="store_true", help="a tiny Gemma instead, to try this script on a CPU")
    parser.add_argument("--base", type=Path, help="a folder for the random weights, kept for the next call")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    base = asked.base or Path(tempfile.mkdtemp()) / "base"
    if asked.one:
        profile = asked.profile and asked.profile / f"{asked.kind}-{list(VARIANTS[asked.kind]).index(asked.one)}.txt"
        print("RESULT", json.dumps(measure(asked.kind, asked.one, base, asked.steps, profile)), flush=True)
        return
    write_base(base, tiny=asked.tiny)
    rate = matrix_rate() if torch.cuda.is_available() else 1.0
    torch.cuda.empty_cache()
    bound = rate / (4 * PARAMETERS)
    wanted = (asked.variants or "").split(";")
    rows: list[dict[str, Any]] = []
    for name in [name for name in VARIANTS[asked.kind] if any(part in name for part in wanted)]:
        command = [sys.executable, "-m", __spec__.name, asked.kind, "--one", name, "--base", str(base)]
        command += ["--steps", str(asked.steps), *(["--profile", str(asked.profile)] if asked.profile else [])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
            output, errors = done.stdout, done.stderr
        except subprocess.TimeoutExpired as error:
            output, errors = "", f"more than {SECONDS} s\n{(error.stderr or b'').decode()[-1500:]}"
        found = [line for line in output.splitlines() if line.startswith("RESULT ")]
        row = json.loads(found[0].removeprefix("RESULT ")) if found else {"variant": name, "error": errors[-2500:]}
        rows.append(row)
        print(f"{name}: {row.get('error') or row['tokens_per_second']}", flush=True)
        if asked.json:  # after each, so that a run that is cut off leaves what it has measured
            write(asked.json, rate, rows)
    print(f"\n{device()}, {rate / 1e12:.0f} TFLOP/s, bound {bound:,.0f} tokens/s")
    heads = f"{'tokens/s':>10}{'pairs/s':>9}{'with ref':>9}{'bound':>8}{'s/step':>8}"
    print(f"{'variant':<50}{heads}{'tokens/step':>13}{'GiB':>7}{'1st s':>7}")
    for row in [row for row in rows if "error" not in row]:
        pairs = f"{row['pairs_per_second']:.1f}" if row["pairs_per_second"] else "-"
        reference = row["reference_seconds_per_pair"] or 0.0
        both = f"{1 / (1 / row['pairs_per_second'] + reference / EPOCHS):.1f}" if row["pairs_per_second"] else "-"
        print(
            f"{row['variant']:<50}{row['tokens_per_second']:>10,.0f}{pairs:>9}{both:>9}"
            f"{row['tokens_per_second'] / bound:>8.1%}"
            f"{row['seconds_per_step']:>8.3f}{row['tokens_per_step']:>13,.0f}{row['peak_gib']:>7.1f}"
            f"{row['seconds_until_first_step']:>7.0f}"
        )


if __name__ == "__main__":
    main()
