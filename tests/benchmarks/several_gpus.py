"""SFT at Gemma-2-2b's exact shape (random weights) on one GPU and on two: how much faster, and whether it is the same.

    python -m tests.benchmarks.several_gpus [--steps 12] [--json FILE] [--base FOLDER]

Weak scaling: each GPU has a pack of 8,192 tokens in a step, so two do twice the work. Strong scaling: a step has two
packs, one after the other on one GPU or one on each of two; then both train the same, and the adapters are compared.
Last FSDP against DDP, both without compilation and with checkpointing: memory, and the adapters again. Rows and clock
are those of tests/benchmarks/training_speed.py: time between the optimizer's steps on rank 0, the first half of them
left out. `--tiny` tries this script on a CPU, with a tiny Gemma and without FSDP, which wants GPUs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from stages import sft
from stages.core import artifacts, launching, sharding
from stages.core.pipeline import device
from stages.core.recipe import Model, Sft
from tests.benchmarks.provenance import provenance
from tests.benchmarks.published_shape import write_base
from tests.benchmarks.training_speed import OURS, Clock, sft_rows

FAST = {**OURS, "batch_size": 1, "pack_tokens": 8192, "compile": True}
PLAIN = {**FAST, "compile": False, "gradient_checkpointing": True}
TINY = {"pack_tokens": 1280, "optimizer": "adamw_torch", "compile": False}


@dataclass(frozen=True)
class Variant:
    """A training on `gpus`, whose steps have `packs` in all."""

    name: str
    gpus: int
    packs: int
    settings: dict[str, Any]


VARIANTS = (
    Variant("1 GPU, 1 pack a step", 1, 1, FAST),
    Variant("1 GPU, 2 packs a step", 1, 2, FAST),
    Variant("2 GPUs, 2 packs a step", 2, 2, FAST),
    Variant("2 GPUs, DDP, checkpointing", 2, 2, PLAIN),
    Variant("2 GPUs, FSDP, checkpointing", 2, 2, {**PLAIN, "parallel": "fsdp"}),
)


def measure(variant: Variant, base: Path, steps: int, out: Path, tiny: bool) -> None:
    """In each process: train, and in rank 0 write what it took and the adapter to `out`."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    settings = variant.settings | (TINY if tiny else {})
    model = Model(base=str(base), dtype="float32" if tiny else "bfloat16")
    config = Sft(seed=0, model=model, max_steps=steps, gradient_accumulation=variant.packs, **settings)
    rows = sft_rows(2 * (steps + 2) * settings["pack_tokens"] // 190, len(tokenizer))  # of 190 tokens in the mean
    trainer: Any = sft.make_trainer(config, out / "trainer", rows, tokenizer)
    trainer.args.save_strategy = "no"
    clock = Clock()
    trainer.add_callback(clock)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    weights = sharding.whole_adapter(trainer.model)
    if not artifacts.keeps_books():
        return
    if weights is None:
        weights = get_peft_model_state_dict(trainer.model)
    save_file({name.replace(".default.", "."): value.cpu() for name, value in weights.items()}, out / "adapter")
    warm = steps // 2
    seconds = (clock.at[-1] - clock.at[warm - 1]) / (steps - warm)
    seen = [row["num_tokens"] for row in trainer.state.log_history if "num_tokens" in row]  # of all processes so far
    tokens = (seen[-1] - seen[warm - 1]) / (steps - warm)
    found = {
        "variant": variant.name,
        "gpus": variant.gpus,
        "tokens_per_second": tokens / seconds,
        "tokens_per_step": tokens,
        "seconds_per_step": seconds,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0,
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
    }
    (out / "found.json").write_text(json.dumps(found), encoding="utf-8")


def start(variant: Variant, base: Path, steps: int, out: Path, tiny: bool) -> dict[str, Any]:
    """The variant in processes of its own, a process a GPU. Returns what rank 0 found, or its exit code."""
    out.mkdir()
    command = [sys.executable, "-m", __spec__.name, "--one", variant.name, "--base", str(base), "--out", str(out)]
    command += ["--steps", str(steps), *(["--tiny"] if tiny else [])]
    if variant.gpus == 1:
        code = subprocess.run(command, env=os.environ | {"CUDA_VISIBLE_DEVICES": "0"}).returncode
    else:
        code = launching.spawn(command, variant.gpus, os.environ)
    if code:
        return {"variant": variant.name, "gpus": variant.gpus, "error": f"exit code {code}"}
    found: dict[str, Any] = json.loads((out / "found.json").read_text(encoding="utf-8"))
    return found


def difference(one: Path, other: Path) -> float | None:
    """Of two adapters: the norm of their difference as a share of the first one's norm, over its B matrices, which
    begin at 0. None where one is missing.
    """
    if not ((one / "adapter").exists() and (other / "adapter").exists()):
        return None
    first, second = load_file(one / "adapter"), load_file(other / "adapter")
    names = [name for name in first if "lora_B" in name]
    if first.keys() != second.keys() or not names:
        raise AssertionError(f"{one} and {other} are not adapters of the same form")
    flat = [torch.cat([weights[name].double().flatten() for name in names]) for weights in (first, second)]
    return float((flat[0] - flat[1]).norm() / flat[0].norm())


def ratio(rows: list[dict[str, Any]], one: int, other: int) -> float | None:
    speeds = [rows[at].get("tokens_per_second") if at < len(rows) else None for at in (one, other)]
    return speeds[1] / speeds[0] if speeds[0] and speeds[1] else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--base", type=Path, help="a folder for the random weights, kept for the next call")
    parser.add_argument("--tiny", action="store_true", help="a tiny Gemma instead, to try this script on a CPU")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        (variant,) = [variant for variant in VARIANTS if variant.name == asked.one]
        measure(variant, asked.base, asked.steps, asked.out, asked.tiny)
        return
    with tempfile.TemporaryDirectory() as folder:
        base = asked.base or Path(folder) / "base"
        write_base(base, tiny=asked.tiny)
        variants = VARIANTS[:4] if asked.tiny else VARIANTS
        outs = [Path(folder) / str(at) for at in range(len(variants))]
        rows = []
        for variant, out in zip(variants, outs, strict=True):
            rows.append(start(variant, base, asked.steps, out, asked.tiny))
            print(f"{variant.name}: {rows[-1].get('error') or round(rows[-1]['tokens_per_second'])}", flush=True)
        summary = {
            "weak_scaling": ratio(rows, 0, 2),
            "strong_scaling": ratio(rows, 1, 2),
            "adapters_differ_by": difference(outs[1], outs[2]),
            "fsdp_differs_from_ddp_by": difference(outs[3], outs[-1]) if not asked.tiny else None,
        }
    report(rows, summary)
    if asked.json:
        found = provenance() | {"gpus": torch.cuda.device_count(), "rows": rows, **summary}
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def report(rows: list[dict[str, Any]], summary: dict[str, float | None]) -> None:
    print(f"\n{torch.cuda.device_count()} x {device()}")
    print(f"{'variant':<32}{'tokens/s':>10}{'tokens/step':>13}{'s/step':>9}{'GiB a GPU':>11}")
    for row in [row for row in rows if "error" not in row]:
        print(
            f"{row['variant']:<32}{row['tokens_per_second']:>10,.0f}{row['tokens_per_step']:>13,.0f}"
            f"{row['seconds_per_step']:>9.3f}{row['peak_gib']:>11.1f}"
        )
    for name, value in summary.items():
        print(f"{name.replace('_', ' ')}: {'not measured' if value is None else f'{value:.3g}'}")


if __name__ == "__main__":
    main()
