import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from stages.core import models
from stages.core.chat import END_OF_TURN, GEMMA_TEMPLATE
from stages.core.errors import KormedError
from stages.core.models import Loaded
from stages.core.recipe import Model
from tests.tiny_gemma import write_tiny_gemma


def model(base: Path | str, **options: str) -> Model:
    return Model.model_validate({"base": str(base), "quantization": "none", "dtype": "float32"} | options)


@pytest.fixture(scope="module")
def adapters(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two adapters of the tiny base with different random weights."""
    made = []
    for seed in (1, 2):
        base = models.load_base(model(tiny_base))
        torch.manual_seed(seed)
        peft = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
        folder = tmp_path_factory.mktemp(f"adapter-{seed}")
        models.save_adapter(peft, folder, model(tiny_base))
        made.append(folder)
    return made[0], made[1]


def logits(tiny: Loaded, adapter: Path | None) -> torch.Tensor:
    with tiny.checkpoint(adapter) as checkpoint, torch.inference_mode():
        output: torch.Tensor = checkpoint(torch.tensor([[2, 300, 301, 302]])).logits
    return output


def test_switching_adapters_gives_each_checkpoint_its_own_answers_and_the_base_back_to_the_bit(
    tiny_base: Path, adapters: tuple[Path, Path]
) -> None:
    tiny = Loaded(model(tiny_base))
    base, first, second = logits(tiny, None), logits(tiny, adapters[0]), logits(tiny, adapters[1])
    assert not torch.equal(base, first)
    assert not torch.equal(first, second)
    assert torch.equal(logits(tiny, None), base)
    assert torch.equal(logits(tiny, adapters[0]), first)


def test_an_adapter_of_another_base_is_refused_with_both_names(
    tiny_base: Path, adapters: tuple[Path, Path], tmp_path: Path
) -> None:
    other = write_tiny_gemma(tmp_path / "other", ["다른 모델"], seed=9)
    with pytest.raises(KormedError, match=f"an adapter of {tiny_base}, not of {other}"):
        logits(Loaded(model(other)), adapters[0])


def test_a_moved_base_is_still_the_same_base(tiny_base: Path, adapters: tuple[Path, Path], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(tiny_base)
    assert logits(Loaded(model(moved)), adapters[0]).shape[-1] > 0


def test_a_folder_that_kormed_did_not_train_is_no_adapter(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(KormedError, match="no adapter that kormed trained"):
        logits(Loaded(model(tiny_base)), tmp_path)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("./no/such/folder", "no such folder"),
        ("someone/some-gemma", "neither a local folder nor to be had from the hub"),
    ],
)
def test_a_base_that_is_not_there_is_named_with_a_way_out(base: str, message: str) -> None:
    with pytest.raises(KormedError, match=message) as raised:
        models.load_tokenizer(model(base))
    assert str(raised.value).startswith(base)
    assert "model.base" in str(raised.value)


def test_a_gated_base_says_which_licence_to_accept_and_which_variable_to_set() -> None:
    from huggingface_hub.errors import GatedRepoError

    error = OSError("You are trying to access a gated repo.")
    error.__cause__ = GatedRepoError.__new__(GatedRepoError)  # as transformers chains it
    message = models._why_not_loaded(model("google/gemma-2-2b-it"), error)
    assert "https://huggingface.co/google/gemma-2-2b-it" in message
    assert "HF_TOKEN" in message


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KormedError, match="not a model folder"):
        models.load_base(model(tmp_path))


def test_a_pretrained_base_without_a_template_gets_gemmas(tiny_base: Path) -> None:
    assert models.load_tokenizer(model(tiny_base)).chat_template == GEMMA_TEMPLATE


def test_four_bit_training_on_a_cpu_keeps_its_gradient_after_an_evaluation(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On AVX512-BF16 CPUs bitsandbytes repacks 4-bit weights in a no-grad forward; then hardly any gradient comes."""
    from bitsandbytes.nn import Linear4bit

    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)  # whatever CPU the test runs on
    base = models.load_base(model(tiny_base, quantization="nf4", dtype="bfloat16"))
    layers = [module for module in base.modules() if isinstance(module, Linear4bit)]
    assert layers
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    peft = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    ids = torch.tensor([[2, 300, 301, 302, 303]])

    def gradient() -> float:
        peft.zero_grad()
        peft(ids, labels=ids).loss.backward()
        return sum(float(p.grad.norm()) for n, p in peft.named_parameters() if p.grad is not None and "lora_B" in n)

    before = gradient()
    with torch.no_grad():
        peft(ids)
    assert gradient() == pytest.approx(before, rel=1e-3)
    assert before > 1e-4


def test_a_base_whose_weights_are_cut_off_is_named(tiny_base: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(tiny_base, cut)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    wanted = model(cut)
    for read in (models.load_base, models.fingerprint):
        with pytest.raises(KormedError, match="a safetensors file of it is cut off or damaged"):
            read(wanted)


def test_a_tokenizer_that_takes_the_end_of_a_turn_apart_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    """transformers 5.17 made one of Gemma 3 270M's GGUF: training ran, and answers did not end."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    file = base / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != END_OF_TURN]
    file.write_text(json.dumps(content), encoding="utf-8")
    settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("extra_special_tokens")
    (base / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(KormedError, match=r"base: its tokenizer makes \d+ tokens of <end_of_turn> and one was wanted"):
        models.load_tokenizer(Model(base=str(base)))


def test_a_base_with_several_ends_keeps_them_all(tiny_base: Path, tmp_path: Path) -> None:
    """Gemma 3's instruction-tuned releases declare a list."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    settings = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps(settings | {"eos_token_id": [1, 7]}), encoding="utf-8")
    loaded = models.load_base(model(base))
    end = models.load_tokenizer(model(base)).convert_tokens_to_ids(END_OF_TURN)
    assert loaded.generation_config.eos_token_id == [1, 7, end]
