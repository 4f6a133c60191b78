"""The base model and its adapters: one base in memory, adapters switched on and off."""

import functools
import gc
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from stages.core.artifacts import write_json
from stages.core.chat import END_OF_TURN, GEMMA_TEMPLATE
from stages.core.errors import KormedError
from stages.core.fast_lora import speed_up_lora
from stages.core.recipe import Model

log = logging.getLogger("kormed")

BASE_MARK = "base.json"  # in every adapter's folder: which base it stands on

Quantization = Literal["nf4", "none"]


def quantization(model: Model) -> Quantization:
    """What `auto` comes to on this machine."""
    if model.quantization != "auto":
        return model.quantization
    return "nf4" if torch.cuda.is_available() else "none"


def load_tokenizer(model: Model) -> Tokenizer:
    """The base's tokenizer, padding left, with Gemma's chat template where the base has none (a pretrained one).

    Raises:
        KormedError: it is not there, is gated, is not a Gemma tokenizer, or takes a turn's end apart.
    """
    tokenizer: Tokenizer = from_pretrained(AutoTokenizer, model, padding_side="left")
    end = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    if end in (None, tokenizer.unk_token_id):
        raise KormedError(f"{model.base}: its tokenizer has no {END_OF_TURN}; a Gemma 2 or 3 was wanted (model.base)")
    if (found := tokenizer.encode(END_OF_TURN, add_special_tokens=False)) != [end]:
        # transformers 5.17 makes such a tokenizer of a GGUF; a model trained with it never ends an answer.
        raise KormedError(
            f"{model.base}: its tokenizer makes {len(found)} tokens of {END_OF_TURN} and one was wanted, so no answer "
            f"would ever end; take tokenizer.json from the original model, or convert a GGUF again with transformers "
            f"5.23 or later (for the demo's model: remove the folder and run python recipes/demo/base_model.py)"
        )
    if not tokenizer.chat_template:
        tokenizer.chat_template = GEMMA_TEMPLATE
    return tokenizer


def load_base(model: Model, shardable: bool = False) -> PreTrainedModel:
    """A fresh copy of the base, ready for LoRA: NF4 with double quantisation (QLoRA, arXiv 2305.14314) or plain.

    Of several processes each has its own, on its own GPU. `shardable`: NF4's bytes stand in a tensor of the other
    weights' type, since FSDP shards floating-point numbers of one type only (bitsandbytes' FSDP-QLoRA guide).

    Raises:
        KormedError: it is not there, is gated, or does not fit.
    """
    kind = quantization(model)
    dtype = getattr(torch, model.dtype)
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": model.attention, "use_safetensors": True}
    if kind == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=dtype if shardable else torch.uint8,
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        # Under DDP torch.compile would split what it compiles by DDP's buckets, and fails at flex attention
        # (pytorch#137481); here DDP surrounds what is compiled, so that there is nothing to split.
        torch._dynamo.config.optimize_ddp = False
        options["device_map"] = {"": torch.cuda.current_device()}
    elif model.quantization == "auto":
        log.info("model: no GPU here, so the base stays in %s instead of NF4 (model.quantization=auto)", model.dtype)
    base: PreTrainedModel = from_pretrained(AutoModelForCausalLM, model, **options)
    if kind == "nf4" and not torch.cuda.is_available():
        keep_gradients(base)
    ends = base.config.get_text_config().eos_token_id  # a list in Gemma 3's instruction-tuned releases
    tokens = [*(ends if isinstance(ends, list) else [ends]), load_tokenizer(model).convert_tokens_to_ids(END_OF_TURN)]
    # As Gemma's instruction-tuned releases have it. Without it generation runs on past the end of the answer.
    base.generation_config.eos_token_id = list(dict.fromkeys(t for t in tokens if isinstance(t, int)))
    return base


def keep_gradients(base: PreTrainedModel) -> None:
    """Switch off bitsandbytes' AVX512-BF16 repacking on CPUs: after one no-grad forward hardly any gradient comes."""
    from bitsandbytes.nn import Linear4bit

    for module in base.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


class Loaded:
    """One base in memory and the adapters that were put on it so far."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tokenizer = load_tokenizer(model)
        self.base: PreTrainedModel = load_base(model)
        self.base.train(False)
        # A prompt's last position is a slice with gaps. On a CPU torch multiplies it with a frozen matrix as a batch of
        # products, each with its own copy of the 262k x 640 weights: 9 GB and 30 s for 28 prompts. Packed, it does not.
        self.base.get_output_embeddings().register_forward_pre_hook(lambda _, hidden: (hidden[0].contiguous(),))
        self.peft: PeftModel | None = None

    @contextmanager
    def checkpoint(self, adapter: Path | None) -> Iterator[PreTrainedModel]:
        """The base with `adapter` on; with None, the base as if no adapter had ever been there.

        What comes out is the base itself: PEFT puts its layers into it.
        """
        if adapter is None:
            with self.peft.disable_adapter() if self.peft is not None else nullcontext():
                yield self.base
            return
        check_base(adapter, self.model)
        name = "checkpoint-" + hashlib.sha256(str(adapter.resolve()).encode()).hexdigest()[:8]
        if self.peft is None:
            self.peft = PeftModel.from_pretrained(self.base, adapter, adapter_name=name)
        elif name not in self.peft.peft_config:
            self.peft.load_adapter(adapter, adapter_name=name)
        self.peft.set_adapter(name)
        self.peft.eval()
        speed_up_lora(self.peft)
        yield self.base


@functools.lru_cache(maxsize=1)
def loaded(model: Model) -> Loaded:
    """The base kept in memory between stages that only read it, so that three evaluations load it once."""
    return Loaded(model)


def release() -> None:
    """Forget the base kept by `loaded`, before training loads its own."""
    loaded.cache_clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@functools.lru_cache
def fingerprint(model: Model) -> str:
    """A hash of a few rows of the embedding and of every layer, so that a base is known wherever it lies.

    Read from the files, where nothing is quantised; in bf16, so that a copy saved in float32 is the same base.
    """
    rows = hashlib.sha256()
    for name, file in sorted(_tensors(model).items()):
        if name.endswith(("embed_tokens.weight", "o_proj.weight", "down_proj.weight")):
            with safe_open(file, framework="pt") as tensors:
                values = tensors.get_slice(name)[:4].to(torch.bfloat16).contiguous().view(torch.int16)
            rows.update(name.encode() + values.numpy().tobytes())
    return rows.hexdigest()[:16]


def _tensors(model: Model) -> dict[str, Path]:
    """The file of each of the base's tensors, in its folder or in the hub's cache, where loading has put it."""

    def find(name: str) -> Path | None:
        if Path(model.base).is_dir():
            return Path(model.base) / name if (Path(model.base) / name).exists() else None
        cached = try_to_load_from_cache(model.base, name, revision=model.revision)
        return Path(cached) if isinstance(cached, str) else None

    index = find("model.safetensors.index.json")
    files = set(json.loads(index.read_text())["weight_map"].values()) if index else {"model.safetensors"}
    tensors: dict[str, Path] = {}
    for name in sorted(files):
        file = find(name)
        if file is None:
            raise KormedError(f"{model.base}: no {name} there; only safetensors are read (model.base)")
        try:
            with safe_open(file, framework="pt") as content:
                tensors |= dict.fromkeys(content.keys(), file)
        except SafetensorError as error:
            raise KormedError(cut_off(model, error)) from None
    return tensors


def save_adapter(
    trained: PeftModel, folder: Path, model: Model, weights: dict[str, torch.Tensor] | None = None
) -> None:
    """The trained adapter alone (DPO's frozen copy of SFT stays behind), and which base it stands on."""
    trained.save_pretrained(str(folder), selected_adapters=["default"], state_dict=weights)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    write_json(folder / BASE_MARK, {"base": model.base, "revision": model.revision, "fingerprint": fingerprint(model)})


def load_adapter(base: PreTrainedModel, adapter: Path) -> PeftModel:
    """An adapter on its base, ready to be trained further.

    Raises:
        KormedError: its file is missing or cut off, or its weights are not what its configuration and the base want.
    """
    file = adapter / "adapter_model.safetensors"
    again = "train it again (--force), or put the file back from where it came"
    try:
        with safe_open(file, framework="pt") as content:
            saved = set(content.keys())
    except FileNotFoundError:
        raise KormedError(f"{file}: not there, so {adapter} is no adapter; {again}") from None
    except SafetensorError as error:
        raise KormedError(f"{file}: not a whole file of weights, perhaps cut off ({error}); {again}") from None
    try:
        model = PeftModel.from_pretrained(base, adapter, is_trainable=True)
    except torch.OutOfMemoryError:
        raise
    except (OSError, RuntimeError, TypeError, ValueError) as error:  # PEFT's words for a rank, targets or JSON that
        raise KormedError(  # do not fit
            f"{adapter}: its weights do not fit adapter_config.json on {base.config.name_or_path} (another rank, other "
            f"targets or another base): {' '.join(str(error).split())[:300]}; {again}"
        ) from None
    differing = sorted(saved ^ set(get_peft_model_state_dict(model, save_embedding_layers=False)))
    if differing:  # PEFT leaves what it does not find as it was made, at random
        raise KormedError(
            f"{file}: {len(differing)} weights are in only one of the file and what adapter_config.json wants, the "
            f"first {differing[0]}; {again}"
        )
    return model


def check_base(adapter: Path, model: Model) -> None:
    """Raises KormedError where the adapter was trained on another base."""
    mark = adapter / BASE_MARK
    if not mark.exists():
        raise KormedError(f"{adapter}: no {BASE_MARK} in it, so it is no adapter that kormed trained")
    was = json.loads(mark.read_text(encoding="utf-8"))
    if was["fingerprint"] != fingerprint(model):
        raise KormedError(
            f"{adapter}: an adapter of {was['base']}, not of {model.base} as it is now; "
            f"set model.base to the one it was trained on, or train again"
        )


def from_pretrained(kind: Any, model: Model, **options: Any) -> Any:
    """A tokenizer, configuration or model (`kind`: one of transformers' Auto classes), from safetensors and no code.

    Raises:
        KormedError: it is not there, is gated, or does not fit.
    """
    try:
        return kind.from_pretrained(model.base, revision=model.revision, trust_remote_code=False, **options)
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise KormedError(_why_not_loaded(model, error)) from None
    except SafetensorError as error:
        raise KormedError(cut_off(model, error)) from None
    except torch.OutOfMemoryError:
        raise KormedError(
            f"{model.base}: does not fit into the GPU's memory; free it, or set model.quantization=nf4"
        ) from None


def cut_off(model: Model, error: Exception) -> str:
    return (
        f"{model.base}: a safetensors file of it is cut off or damaged ({' '.join(str(error).split())[:200]}); "
        f"download or copy it again (model.base)"
    )


def _why_not_loaded(model: Model, error: Exception) -> str:
    chain: list[BaseException] = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(below)
    if any(isinstance(e, GatedRepoError) for e in chain) or "gated repo" in str(error):
        return (
            f"{model.base}: a gated model. Accept its licence at https://huggingface.co/{model.base} with your "
            f"account, then set HF_TOKEN to a token of that account (or set model.base to a local copy)"
        )
    if Path(model.base).is_dir() and not (Path(model.base) / "config.json").exists():
        return f"{model.base}: no config.json in it, so it is not a model folder (model.base)"
    if Path(model.base).is_dir():
        return f"{model.base}: not a model folder that transformers can load: {' '.join(str(error).split())[:300]}"
    if model.base.startswith((".", "/")) or model.base.count("/") != 1:
        return (
            f"{model.base}: no such folder; wanted a hub id or a folder with config.json and safetensors (model.base)"
        )
    return (
        f"{model.base}: neither a local folder nor to be had from the hub: {' '.join(str(error).split())[:300]}\n"
        f"  ways out: check the network and the id, or set model.base to a local copy"
    )
