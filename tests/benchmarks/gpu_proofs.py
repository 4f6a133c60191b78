"""The proofs of tests/core/test_padding_free.py and test_fast_lora.py once more where they matter: on the GPU.

    python -m tests.benchmarks.gpu_proofs

A tiny Gemma 2 in float32: rows side by side in flex attention against padded rows in eager attention, PEFT's LoRA
against ours, layers compiled and not. Prints the largest difference of loss and gradients, relative to the largest
gradient of each weight.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from trl.trainer.utils import add_fused_lm_head

from stages.core import fast_lora, models, padding_free, training
from stages.core.recipe import Lora, Model
from tests.tiny_gemma import write_tiny_gemma

DEMO = Path(__file__).parents[2] / "recipes" / "demo"
LENGTHS = (300, 40, 5, 211, 130)  # the tiny model's sliding window is 128


def make(base: Path, quantization: Any, *, lora: bool, flat: bool, compiled: bool) -> Any:
    model = models.load_base(Model(base=str(base), quantization=quantization, dtype="float32"))
    add_fused_lm_head(model)
    torch.manual_seed(1)
    made = get_peft_model(model, LoraConfig(r=8, target_modules=list(Lora().targets)))
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    if flat:
        model.set_attn_implementation(padding_free.FLEX)
        padding_free.remove_padding(model, 256)
    if lora:
        fast_lora.speed_up_lora(made)
    if compiled:
        training.compile_layers(made)
    return made.train()


def step(model: Any, rows: dict[str, torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    output = model(**rows, fused_lm_head=True)
    loss = -output.log_probs.sum() / (rows["labels"][:, 1:] != -100).sum()
    loss.backward()
    return float(loss), {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def main() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    width = max(LENGTHS)
    ids = torch.randint(300, 1000, (len(LENGTHS), width), device="cuda")
    mask = (torch.arange(width)[None] < torch.tensor(LENGTHS)[:, None]).long().cuda()
    rows = {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}
    with tempfile.TemporaryDirectory() as folder:
        texts = [path.read_text(encoding="utf-8") for path in sorted(DEMO.rglob("*.jsonl"))]
        base = write_tiny_gemma(Path(folder) / "tiny", texts)
        for quantization in ("none", "nf4"):
            expected, grads = step(make(base, quantization, lora=False, flat=False, compiled=False), rows)
            for lora, flat, compiled in ((1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1)):
                model = make(base, quantization, lora=bool(lora), flat=bool(flat), compiled=bool(compiled))
                loss, found = step(model, rows)
                worst = max(float((found[n] - g).abs().max() / g.abs().max()) for n, g in grads.items())
                print(
                    f"{quantization:<5} fast LoRA {lora}, padding-free flex {flat}, compiled {compiled}: "
                    f"loss {loss:.7f} against {expected:.7f}, gradients differ by {worst:.1e} at most"
                )


if __name__ == "__main__":
    main()
