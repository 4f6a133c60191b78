"""The published recipe's stages at Gemma-2-2b's exact shape with random weights: do they run on this GPU, how long.

    python -m tests.benchmarks.published_shape BENCHMARK [--steps 10] [--questions 8] [--json FILE]

BENCHMARK is a folder of KorMedMCQA's <subset>/<split>.jsonl; consults are the demo's. The weights are made on the spot,
so the accuracies mean nothing and stand in no table; labels alternate between the sides, without a server.
Measures the whole way, not speed at its best: a few steps each, with loading.
"""

import argparse
import json
import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerBase

from stages.core import models
from stages.core.pipeline import Run, device, duration
from stages.core.recipe import load_recipe
from stages.core.records import Comparison, Response, append_jsonl, read_jsonl
from tests.tiny_gemma import tiny_tokenizer, write_tiny_gemma

ROOT = Path(__file__).parents[2]
STAGES = ("prepare", "sft", "candidates", "preferences", "dpo", "evaluate/base", "evaluate/sft", "evaluate/dpo")


def write_random_gemma_2_2b(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """2.61 B parameters in google/gemma-2-2b's shape, with a row for each of the tokenizer's tokens, if it has more."""
    config = Gemma2Config(  # its defaults are the 9B's
        vocab_size=max(256_000, len(tokenizer)),
        hidden_size=2304,
        intermediate_size=9216,
        num_hidden_layers=26,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=4096,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Gemma2ForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_base(folder: Path, *, tiny: bool, tokenizer: Path | None = None) -> None:
    """Random weights in that shape, or a tiny Gemma 2 with which a script is tried on a CPU; kept if they are there.

    `tokenizer`: a folder with a real one, so that texts have as many tokens as they would; None: 16,000 tokens learned
    on the demo's texts.
    """
    if (folder / "config.json").exists():
        return
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "recipes" / "demo").rglob("*.jsonl"))]
    if tiny:
        write_tiny_gemma(folder, texts)
    elif tokenizer:
        write_random_gemma_2_2b(folder, AutoTokenizer.from_pretrained(tokenizer, local_files_only=True))
    else:
        write_random_gemma_2_2b(folder, tiny_tokenizer(texts, tokens=16_000))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--questions", type=int, default=8, help="a subset")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("kormed").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "gemma-2-2b-random"
        texts = [path.read_text(encoding="utf-8") for path in sorted(asked.benchmark.rglob("train.jsonl"))]
        write_random_gemma_2_2b(base, tiny_tokenizer(texts, tokens=16_000))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        recipe = load_recipe(
            ROOT / "recipes" / "gemma-2-2b-it.yaml",
            [
                *(f"model.base={base}", f"prepare.benchmark={asked.benchmark}"),
                f"prepare.consults={ROOT / 'recipes' / 'demo' / 'consults.jsonl'}",
                *(f"sft.max_steps={asked.steps}", f"dpo.max_steps={asked.steps}"),
                *("candidates.limit=48", "candidates.max_new_tokens=128", "candidates.allow_truncated=true"),
                *(f"evaluate.limit={asked.questions}", "evaluate.max_gen_toks=8", "evaluate.heldout_limit=4"),
                "evaluate.heldout_max_new_tokens=64",
            ],
        )
        rows = measure(Run(recipe, Path(folder) / "models"))
    print(f"{device()}, torch {torch.__version__}")
    print(f"{'stage':<16}{'took':>12}{'peak GiB':>10}  metrics")
    for row in rows:
        metrics = "  ".join(f"{name} {value:.4g}" for name, value in row["metrics"].items())
        print(f"{row['stage']:<16}{duration(row['seconds']):>12}{row['peak_gib']:>10.1f}  {metrics}")
    if asked.json:
        found = {
            "device": device(),
            "libraries": rows[0]["libraries"],
            "at": datetime.now(UTC).isoformat(),
            "rows": rows,
        }
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def measure(run: Run) -> list[dict[str, Any]]:
    rows = []
    for name in STAGES:
        if name == "preferences":
            label(run)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        manifest = run.bring(name)
        rows.append(
            {
                "stage": name,
                "seconds": manifest.seconds,
                "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0,
                "metrics": manifest.metrics,
                "libraries": manifest.libraries,
            }
        )
    models.release()
    return rows


def label(run: Run) -> None:
    """A response to every comparison, as `pull` would have written it."""
    comparisons = read_jsonl(run.path("candidates") / "comparisons.jsonl", Comparison)
    run.responses.parent.mkdir(parents=True)
    append_jsonl(
        run.responses,
        [
            Response(
                comparison_id=comparison.id,
                annotator="simulated-1",
                value="a" if at % 2 else "b",
                status="submitted",
                submitted_at=datetime.now(UTC),
            )
            for at, comparison in enumerate(comparisons)
        ],
    )


if __name__ == "__main__":
    main()
