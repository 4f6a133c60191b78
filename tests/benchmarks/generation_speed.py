"""Candidates at Gemma-2-2b's exact shape (random weights) on one GPU: our slots against plain generate, side by side.

    python -m tests.benchmarks.generation_speed [--consults 373] [--per-consult 4] [--new-tokens 512] [--json FILE]

NF4 and a random LoRA adapter of rank 16 on all linear layers, sampling at the recipe's temperature and top_p. Prompts
are 100 to 400 random token ids, each asked `per-consult` times. Random weights never end an answer, so every row has
its own length beforehand, drawn by seed (log-normal, median 200, a few at the limit), as an end token would have it:
our slots take it as the row's limit; plain generate runs each batch until its longest row ends, as it does with end
tokens; only tokens within the rows' lengths count. The last norm is scaled by 8, so that the next token's distribution
is as peaked as a trained model's (random weights alone give every token nearly the same chance).

Plain generate answers batches of 8 rows of like length, spread over all of them, for about 40 s. Every variant is a
process of its own, so that neither memory nor a crash passes from one to the next; loading is not counted, recording
CUDA graphs is. The bound is what the GPU's memory can deliver, measured by a copy: a step of as many rows as there are
slots reads the weights once, and the keys and values of every row.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.utils import WorkloadHints

from stages.core.generation import batches
from stages.core.models import Loaded
from stages.core.pipeline import device
from stages.core.recipe import Candidates, Model, Sampling, Sft
from stages.core.slots import Row, decode
from tests.benchmarks.provenance import provenance
from tests.benchmarks.published_shape import write_base

SECONDS = {"plain generate, batches of 8": 150, "slots": 120, "transformers' continuous batching": 100}  # at most
MEASURED = 40.0  # seconds of plain generate and of transformers' continuous batching
SAMPLING = Sampling()
SHARPER = 8.0


def rows_to_answer(consults: int, per_consult: int, new_tokens: int, vocabulary: int) -> list[Row]:
    rng = np.random.default_rng(0)
    prompts = [tuple(rng.integers(8, vocabulary, rng.integers(100, 401)).tolist()) for _ in range(consults)]
    lengths = np.clip(np.exp(rng.normal(np.log(200), 0.6, consults * per_consult)), 8, new_tokens).astype(int)
    return [Row(at, prompts[at // per_consult], int(length)) for at, length in enumerate(lengths)]


def load(base: Path) -> Any:
    """The base with a random adapter in it, as `Loaded.checkpoint` gives it."""
    on_gpu = torch.cuda.is_available()
    model = Model(base=str(base), quantization="nf4" if on_gpu else "none", dtype="bfloat16" if on_gpu else "float32")
    loaded = Loaded(model)
    torch.manual_seed(0)
    targets = list(Sft(seed=0, model=model).lora.targets)
    peft = get_peft_model(loaded.base, LoraConfig(r=16, lora_alpha=32, target_modules=targets, init_lora_weights=False))
    peft.eval()
    loaded.base.get_decoder().norm.weight.data.fill_(SHARPER - 1)  # Gemma's norm multiplies by 1 + weight
    return loaded.base


def settings(new_tokens: int) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=new_tokens,
        eos_token_id=-1,
        pad_token_id=0,
        do_sample=True,
        temperature=SAMPLING.temperature,
        top_p=SAMPLING.top_p,
        top_k=0,
    )


def plain(model: Any, rows: list[Row], slots: int) -> Iterator[list[Row]]:
    """Batches of 8 as `generate` takes them, from all over the rows; each batch runs until its longest row ends."""
    cut = batches([len(row.ids) for row in rows], 8)
    order = np.random.default_rng(1).permutation(len(cut))
    started = time.perf_counter()
    for batch in ([rows[i] for i in cut[at]] for at in order):
        width = max(len(row.ids) for row in batch)
        ids = torch.tensor([[*[0] * (width - len(row.ids)), *row.ids] for row in batch], device=model.device)
        seen = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in batch], device=model.device)
        with torch.inference_mode():
            model.generate(
                input_ids=ids, attention_mask=seen, generation_config=settings(max(row.limit for row in batch))
            )
        yield batch
        if time.perf_counter() - started > MEASURED:
            return


def over_slots(model: Any, rows: list[Row], slots: int) -> Iterator[list[Row]]:
    for ended in decode(model, rows, slots=slots, end=[], sampling=SAMPLING, seed=0):
        yield [row for row, _ in ended]


def continuous(model: Any, rows: list[Row], slots: int) -> Iterator[list[Row]]:
    """transformers' own, over its paged eager attention, which leaves Gemma 2's soft-capping out (eager_paged.py)."""
    hints = WorkloadHints(max(len(row.ids) for row in rows), max(row.limit for row in rows), len(rows))
    # its own choice takes 90 % of the memory for pages, and leaves too little for attention's copies of them
    share = {"max_memory_percent": 0.5} if torch.cuda.is_available() else {"num_blocks": 64, "max_batch_tokens": 512}
    started = time.perf_counter()
    with model.continuous_batching_context_manager(
        generation_config=settings(max(row.limit for row in rows)),
        continuous_batching_config=ContinuousBatchingConfig(**share),
        workload_hints=hints,
        timeout=10,
    ) as manager:
        for row in rows:
            manager.add_request(list(row.ids), request_id=str(row.index), max_new_tokens=row.limit)
        ended = 0
        while ended < len(rows) and time.perf_counter() - started < MEASURED:
            result = manager.get_result(timeout=1)
            if result is None and not manager.is_running():
                raise RuntimeError("its thread ended by itself")
            if result is not None and result.is_finished():
                row = rows[int(result.request_id)]
                if result.error or len(result.generated_tokens) != row.limit:
                    raise RuntimeError(f"{len(result.generated_tokens)} of {row.limit} tokens: {result.error}")
                ended += 1
                yield [row]


VARIANTS = dict(zip(SECONDS, (plain, over_slots, continuous), strict=True))


def measure(name: str, base: Path, asked: argparse.Namespace) -> dict[str, Any]:
    model = load(base)
    rows = rows_to_answer(asked.consults, asked.per_consult, asked.new_tokens, model.config.vocab_size)
    with torch.inference_mode():  # libraries load and choose in their first run
        model.generate(input_ids=torch.tensor([rows[0].ids], device=model.device), generation_config=settings(2))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    ended = [row for some in VARIANTS[name](model, rows, asked.slots) for row in some]
    seconds = time.perf_counter() - started
    tokens = sum(row.limit for row in ended)
    return {
        "variant": name,
        "rows": len(ended),
        "of": len(rows),
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "seconds": seconds,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0,
        "bytes_a_token": bytes_a_token(model, rows, min(asked.slots, len(rows))),
        "bytes_a_second": copied_a_second(),
    }


def bytes_a_token(model: Any, rows: list[Row], slots: int) -> float:
    """What must be read for one token, the mean over all rows: its share of the weights, and its keys and values."""
    config = model.config
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    position = config.num_hidden_layers * 2 * config.num_key_value_heads * config.head_dim * 2
    seen = sum(row.limit * (len(row.ids) + row.limit / 2) for row in rows) / sum(row.limit for row in rows)
    return float(weights / slots + position * seen)


def copied_a_second() -> float:
    """Bytes a second that the GPU's memory gives and takes while it copies 2 GiB."""
    if not torch.cuda.is_available():
        return float("nan")
    torch.cuda.empty_cache()
    source = torch.empty(2**31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(10):
        target.copy_(source)
    torch.cuda.synchronize()
    return 10 * 2 * 2**31 / (time.perf_counter() - started)


def run_alone(name: str, base: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """The variant's row from a process of its own, or its error."""
    command = [sys.executable, "-m", __spec__.name, "--one", name, "--base", str(base), "--slots", str(asked.slots)]
    command += ["--consults", str(asked.consults), "--per-consult", str(asked.per_consult)]
    command += ["--new-tokens", str(asked.new_tokens)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS[name])
        output, errors = done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        output, errors = "", f"more than {SECONDS[name]} s\n{(error.stderr or b'').decode()[-1500:]}"
    print(f"--- {name}\n{errors[-1500:]}", file=sys.stderr, flush=True)
    found = [line for line in output.splitlines() if line.startswith("RESULT ")]
    return json.loads(found[0].removeprefix("RESULT ")) if found else {"variant": name, "error": errors[-1500:]}


def table(rows: list[dict[str, Any]]) -> str:
    heads = f"{'rows':>12}{'tokens/s':>10}{'x plain':>9}{'seconds':>9}{'GiB':>7}{'of bound':>10}"
    lines = [f"{'variant':<36}{heads}"]
    first = next((row["tokens_per_second"] for row in rows if "plain" in row["variant"] and "error" not in row), None)
    for row in rows:
        if "error" in row:
            lines.append(f"{row['variant']:<36}  {' '.join(row['error'].split())[-200:]}")
            continue
        bound = row["bytes_a_second"] / row["bytes_a_token"]
        times = f"{row['tokens_per_second'] / first:.1f}" if first else "-"
        lines.append(
            f"{row['variant']:<36}{row['rows']:>6} of {row['of']:<5}{row['tokens_per_second']:>7,.0f}{times:>9}"
            f"{row['seconds']:>9.1f}{row['peak_gib']:>7.1f}{row['tokens_per_second'] / bound:>10.1%}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--consults", type=int, default=373)
    parser.add_argument("--per-consult", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=512)
    parser.add_argument("--slots", type=int, default=Candidates.model_fields["batch_size"].default)
    parser.add_argument("--variants", default="", help="parts of names, separated by ;")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a tiny Gemma instead, to try this script on a CPU")
    parser.add_argument("--base", type=Path, help="a folder for the random weights, kept for the next call")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    base = asked.base or Path(tempfile.mkdtemp()) / "base"
    if asked.one:
        logging.basicConfig(format="%(message)s")
        logging.getLogger("kormed").setLevel(logging.INFO)
        print("RESULT", json.dumps(measure(asked.one, base, asked)), flush=True)
        return
    write_base(base, tiny=asked.tiny)
    wanted = asked.variants.split(";")
    rows = [run_alone(name, base, asked) for name in VARIANTS if any(part in name for part in wanted)]
    print(f"{device()}, torch {torch.__version__}, {asked.consults} x {asked.per_consult} rows, {asked.slots} slots")
    print(table(rows))
    if asked.json:
        found = provenance() | {"rows": rows}
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
