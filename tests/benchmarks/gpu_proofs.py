"""The proofs of tests/core once more where they matter: on the GPU.

    python -m tests.benchmarks.gpu_proofs

Training, on a tiny Gemma 2 with heads of 16 and of 256 (Gemma's own; flex attention has other blocks and kernels for
them): rows side by side in flex attention ("flat") against padded rows in eager attention, PEFT's LoRA against ours
("lora"), layers compiled and not, and what a pair's sides share computed once ("pairs"). Prints the loss and how far
the gradients are from those of float32, as a share of their length; what bf16 in eager attention has itself stands
beside it.

Generation, float32: slots with merged weights and CUDA graphs against transformers' generate, greedy, row by row; and
whether samples of one prompt differ.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from trl.trainer.utils import add_fused_lm_head

from stages.core import fast_lora, models, padding_free, slots, training
from stages.core.recipe import Model, Sampling
from tests.tiny_gemma import with_adapter, write_tiny_gemma

DEMO = Path(__file__).parents[2] / "recipes" / "demo"
LENGTHS = (300, 40, 5, 211, 130, 90)  # the tiny model's sliding window is 128
SHARED = 60  # tokens at most that a row and the third one after it begin with, as a pair's sides do


def make(base: Path, dtype: str, quantization: Any, *, lora: bool, flat: bool, compiled: bool, pairs: bool) -> Any:
    model = models.load_base(Model.model_validate({"base": str(base), "quantization": quantization, "dtype": dtype}))
    add_fused_lm_head(model)
    made = with_adapter(model)
    if flat:
        model.set_attn_implementation(padding_free.FLEX)
        padding_free.remove_padding(model, 256, pairs)
    if lora:
        fast_lora.speed_up_lora(made)
    if compiled:
        training.compile_layers(made)
    return made


def step(model: Any, rows: dict[str, torch.Tensor], autocast: bool) -> tuple[float, torch.Tensor]:
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        output = model(**rows, fused_lm_head=True)
        loss = -output.log_probs.sum() / (rows["labels"][:, 1:] != -100).sum()
    loss.backward()
    gradients = [w.grad.flatten() for _, w in sorted(model.named_parameters()) if w.grad is not None]
    return loss.item(), torch.cat(gradients).float()


def prove_training(base: Path, head_dim: int) -> None:
    torch.manual_seed(0)
    width, half = max(LENGTHS), len(LENGTHS) // 2
    ids = torch.randint(300, 1000, (len(LENGTHS), width), device="cuda")
    ids[half:, :SHARED] = ids[:half, :SHARED]
    mask = (torch.arange(width)[None] < torch.tensor(LENGTHS)[:, None]).long().cuda()
    rows = {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}
    for quantization in ("none", "nf4"):
        plain = {"lora": False, "flat": False, "compiled": False, "pairs": False}
        expected, gradients = step(make(base, "float32", quantization, **plain), rows, False)
        for dtype in ("float32", "bfloat16"):
            for on in ((), ("lora",), ("flat",), ("lora", "flat"), tuple(plain)[:3], tuple(plain)):
                torch._dynamo.reset()
                model = make(base, dtype, quantization, **(plain | dict.fromkeys(on, True)))
                loss, found = step(model, rows, dtype == "bfloat16")
                away = float((found - gradients).norm() / gradients.norm())
                print(
                    f"heads of {head_dim:<4}{quantization:<5}{dtype:<9}{', '.join(on) or 'plain':<28}"
                    f"loss {loss:.6f} against {expected:.6f}, gradients {away:.1e} away",
                    flush=True,
                )


def prove_generation(base: Path) -> None:
    settings = Model(base=str(base), quantization="none", dtype="float32")
    loaded = models.Loaded(settings)
    model: Any = loaded.base
    end = list(model.generation_config.eos_token_id)
    rng = torch.Generator().manual_seed(0)
    prompts = [torch.randint(300, 1000, (n,), generator=rng).tolist() for n in (5, 40, 130, 200, 300, 17)]
    alone = []
    for prompt in prompts:
        ids = torch.tensor([prompt], device=model.device)
        with torch.inference_mode():
            found = model.generate(input_ids=ids, max_new_tokens=40, do_sample=False, eos_token_id=end, pad_token_id=0)
        alone.append(found[0, len(prompt) :].tolist())
    greedy = answers(model, [slots.Row(at, tuple(p), 40) for at, p in enumerate(prompts)], end, None)
    same = sum(greedy[at] == found for at, found in enumerate(alone))
    print(f"greedy, {len(prompts)} prompts: {same} answers equal transformers' generate")
    rows = [slots.Row(at, tuple(prompts[at // 4]), 40) for at in range(4 * len(prompts))]
    sampled = answers(model, rows, end, Sampling(temperature=0.9, top_p=0.95))
    distinct = [len({tuple(sampled[4 * at + n]) for n in range(4)}) for at in range(len(prompts))]
    print(f"sampled, 4 a prompt: {distinct} different ones")


def answers(model: Any, rows: list[slots.Row], end: list[int], sampling: Sampling | None) -> dict[int, list[int]]:
    found = slots.decode(model, rows, slots=4, end=end, sampling=sampling, seed=1)
    return {row.index: tokens for ended in found for row, tokens in ended}


def main() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    texts = [path.read_text(encoding="utf-8") for path in sorted(DEMO.rglob("*.jsonl"))]
    with tempfile.TemporaryDirectory() as folder:
        tiny = write_tiny_gemma(Path(folder) / "16", texts)
        prove_generation(tiny)
        prove_training(write_tiny_gemma(Path(folder) / "256", texts, head_dim=256), 256)
        prove_training(tiny, 16)


if __name__ == "__main__":
    main()
