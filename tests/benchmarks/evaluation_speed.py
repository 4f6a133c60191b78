"""Three checkpoints on KorMedMCQA: our evaluation against three runs of the stock `lm_eval` command, side by side.

    python -m tests.benchmarks.evaluation_speed BENCHMARK [--base FOLDER [--adapters SFT DPO]] [--limit N] [--json FILE]

BENCHMARK is a folder as `prepare` leaves it (models/<recipe>/prepare/benchmark). Without --base it is Gemma-2-2b's
shape with random weights, in NF4 on a GPU; random weights never write a stop string, so both get the same small number
of new tokens, and a real base as many as the task asks for. The checkpoints are the base and two adapters, random ones
where none are given. Five few-shot examples, Gemma's chat template.

Stock: `lm_eval run --model hf --batch_size auto`, a process for each checkpoint, timed from start to end. Ours: one
process for all three, timed likewise. Then how many letters and texts are the same, item by item: all in float32; in
bf16 batches of another shape round otherwise, and single answers may differ.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from stages import evaluate
from stages.core import exam_forms, models
from stages.core.exam_letters import letter_tokens
from stages.core.exam_model import ExamModel
from stages.core.pipeline import device
from stages.core.recipe import Evaluate, Lora, Model
from stages.core.records import Answer, read_jsonl, write_jsonl
from tests.benchmarks.provenance import provenance
from tests.benchmarks.published_shape import write_base

FEWSHOT = 5
ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class Asked:
    """How both are run."""

    model: Model
    benchmark: Path
    limit: int | None
    new_tokens: int | None  # None: the task's own
    batch_size: int

    @property
    def subsets(self) -> list[str]:
        return sorted(folder.name for folder in self.benchmark.iterdir() if folder.is_dir())


def random_adapters(folder: Path) -> list[Path]:
    return [folder / "adapter-1", folder / "adapter-2"]


def write_adapters(model: Model, folders: Sequence[Path]) -> None:
    """LoRA adapters that are not zero."""
    for seed, folder in enumerate(folders, start=1):
        torch.manual_seed(seed)
        config = LoraConfig(r=16, target_modules=list(Lora().targets), init_lora_weights=False)
        models.save_adapter(get_peft_model(models.load_base(model), config), folder, model)


def ours(asked: Asked, checkpoints: list[Path | None], out: Path) -> None:
    """Every checkpoint's answers to `out`/<number>/, with one base in memory."""
    config = Evaluate(
        seed=0,
        model=asked.model,
        fewshot=FEWSHOT,
        limit=asked.limit,
        batch_size=asked.batch_size,
        max_gen_toks=asked.new_tokens,
    )
    loaded = models.loaded(asked.model)
    form = exam_forms.headline(config)
    with exam_forms.exam_tasks(asked.benchmark, asked.subsets) as tasks:
        for at, checkpoint in enumerate(checkpoints):
            with loaded.checkpoint(checkpoint) as model:
                exam_model = ExamModel(pretrained=model, tokenizer=loaded.tokenizer, batch_size=config.batch_size)
                exam_model.watched = letter_tokens(loaded.tokenizer, form.before_a_letter) or ()
                found = [
                    answer
                    for subset in asked.subsets
                    for examined in [evaluate.examine(config, exam_model, tasks, form, subset)]
                    for answer in evaluate.answered(exam_model, examined, form, subset)
                ]
            (out / str(at)).mkdir()
            write_jsonl(out / str(at) / ANSWERS, found)


def stock(asked: Asked, checkpoint: Path | None, base: Path, out: Path) -> None:
    """The command as its documentation gives it, in a folder where the data set's name is a local folder's."""
    (out / "sean0042").mkdir(parents=True)
    (out / "sean0042" / "KorMedMCQA").symlink_to(asked.benchmark.resolve())
    given = [f"pretrained={base}", f"dtype={asked.model.dtype}", "attn_implementation=eager"]
    if checkpoint:
        given.append(f"peft={checkpoint}")
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args", ",".join(given)]
    command += ["--tasks", ",".join(f"kormedmcqa_{subset}" for subset in asked.subsets), "--num_fewshot", str(FEWSHOT)]
    command += ["--apply_chat_template", "--fewshot_as_multiturn", "false", "--log_samples", "--output_path", "out"]
    command += ["--batch_size", "auto" if torch.cuda.is_available() else str(asked.batch_size)]  # auto wants a GPU
    command += ["--gen_kwargs", f"max_gen_toks={asked.new_tokens}"] if asked.new_tokens else []
    command += ["--device", "cuda" if torch.cuda.is_available() else "cpu"]
    command += ["--limit", str(asked.limit)] if asked.limit else []
    environment = os.environ | {"HF_DATASETS_CACHE": str(out / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=out, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"lm_eval ended with {done.returncode}:\n{done.stderr[-3000:]}")


def stock_answers(out: Path) -> dict[tuple[str, int], tuple[str, str]]:
    """Text and letter of each item, by subset and number."""
    return {
        (file.name.split("_")[2], row["doc_id"]): (row["resps"][0][0], row["filtered_resps"][0])
        for file in (out / "out").rglob("samples_kormedmcqa_*.jsonl")
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines())
    }


def agreement(own: list[Answer], other: dict[tuple[str, int], tuple[str, str]]) -> dict[str, int]:
    if {(one.subset, one.doc_id) for one in own} != set(other):
        raise AssertionError("both were to be asked the same questions")
    pairs = [((one.text, one.extracted), other[one.subset, one.doc_id]) for one in own]
    return {
        "questions": len(pairs),
        "equal_texts": sum(one[0] == two[0] for one, two in pairs),
        "equal_letters": sum(one[1] == two[1] for one, two in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--base", type=Path, help="a folder of real weights, unquantised")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--limit", type=int, help="questions a subset")
    parser.add_argument("--new-tokens", type=int, help="of an answer; without it 8 of random weights, else the task's")
    parser.add_argument("--tokenizer", type=Path, help="a folder with a real one, for random weights")
    parser.add_argument("--adapters", type=Path, nargs=2, metavar=("SFT", "DPO"), help="of the base; without it random")
    parser.add_argument("--batch-size", type=int, default=64 if torch.cuda.is_available() else 8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quantization", choices=["auto", "nf4", "none"], default="auto", help="of random weights")
    parser.add_argument("--tiny", action="store_true", help="a tiny Gemma instead, to try this script on a CPU")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.ours or Path(temporary)
        base = given.base or folder / "base"
        quantization = "none" if given.base else given.quantization
        model = Model.model_validate({"base": str(base), "quantization": quantization, "dtype": given.dtype})
        new_tokens = given.new_tokens or (None if given.base else 8)
        asked = Asked(model, given.benchmark, given.limit, new_tokens, given.batch_size)
        if given.ours:
            ours(asked, [None, *(given.adapters or random_adapters(folder))], folder)
            return
        if not given.base:
            write_base(base, tiny=given.tiny, tokenizer=given.tokenizer)
        if not given.adapters:
            write_adapters(model, random_adapters(folder))
        for found in compare(asked, [None, *(given.adapters or random_adapters(folder))], folder):
            print("\n".join(told(found)), flush=True)
            if given.json:  # after each, for a machine that may be taken away
                given.json.write_text(json.dumps(provenance() | found, indent=1), encoding="utf-8")


def compare(asked: Asked, checkpoints: list[Path | None], folder: Path) -> Iterator[dict[str, Any]]:
    """What is known after ours and each stock run."""
    same_for_stock = write_stock_base(asked.model, folder / "stock-base")
    models.release()
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", __spec__.name, *sys.argv[1:], "--ours", str(folder)], check=True)
    seconds = {"ours": [time.monotonic() - started], "stock": []}
    same = []
    for at, checkpoint in enumerate(checkpoints):
        out = folder / f"stock-{at}"
        started = time.monotonic()
        stock(asked, checkpoint, same_for_stock, out)
        seconds["stock"].append(time.monotonic() - started)
        same.append(agreement(read_jsonl(folder / str(at) / ANSWERS, Answer), stock_answers(out)))
        yield {"model": asked.model.model_dump(), "seconds": seconds, "agreement": same}


def write_stock_base(model: Model, folder: Path) -> Path:
    """The same weights, with the chat template and the ends of an answer that Gemma's own releases declare in files.

    NF4 ones as they are in our memory: transformers 5 no longer takes lm-eval's `load_in_4bit`.
    """
    folder.mkdir()
    loaded = models.loaded(model)
    loaded.tokenizer.save_pretrained(folder)
    loaded.base.generation_config.save_pretrained(folder)
    is_nf4 = models.quantization(model) == "nf4"
    if is_nf4:
        loaded.base.save_pretrained(folder)
    for file in Path(model.base).iterdir():
        if not (folder / file.name).exists() and not (is_nf4 and ".safetensors" in file.name):
            (folder / file.name).symlink_to(file.resolve())
    return folder


def told(found: dict[str, Any]) -> list[str]:
    ours_took, stock_took = (sum(found["seconds"][name]) for name in ("ours", "stock"))
    each = ", ".join(f"{seconds:.0f}" for seconds in found["seconds"]["stock"])
    runs = len(found["seconds"]["stock"])
    ratio = f", {stock_took / ours_took:.1f} x" if runs == 3 else ""
    return [
        f"{device()}, {found['model']['dtype']}, {found['model']['quantization']}",
        f"{runs} of 3 runs of lm_eval: {stock_took:.0f} s ({each}); ours, all 3: {ours_took:.0f} s{ratio}",
        *(
            f"checkpoint {at}, {same['questions']} questions: {same['equal_letters']} letters, {same['equal_texts']} "
            f"texts equal"
            for at, same in enumerate(found["agreement"])
        ),
    ]


if __name__ == "__main__":
    main()
