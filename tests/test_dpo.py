import json
import math
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from trl import DPOConfig, DPOTrainer

from stages import dpo
from stages.core import chat, models, training
from stages.core.artifacts import hash_folder
from stages.core.errors import KormedError, ProofFailed
from stages.core.pipeline import Run
from stages.core.recipe import Dpo
from stages.core.records import Preference, read_jsonl, write_jsonl


@pytest.fixture(scope="module")
def trained(labelled_run: Run) -> Path:
    labelled_run.bring("dpo")
    return labelled_run.path("dpo")


def trainer(run: Run, config: Dpo, folder: Path, *, adapter: Path | None) -> DPOTrainer:
    """A trainer as `dpo.run` makes it; without an adapter, the way that silently takes the base for reference."""
    base = models.load_base(config.model)
    rows = read_jsonl(run.path("preferences") / "train.jsonl", Preference)
    peft_config = None if adapter else LoraConfig(r=16, lora_alpha=32, target_modules=list(run.recipe.sft.lora.targets))
    return DPOTrainer(
        model=PeftModel.from_pretrained(base, adapter, is_trainable=True) if adapter else base,
        args=DPOConfig(**training.arguments(config, folder), beta=config.beta, loss_type=[config.loss]),
        train_dataset=Dataset.from_list([row.model_dump(include={"prompt", "chosen", "rejected"}) for row in rows]),
        processing_class=models.load_tokenizer(config.model),
        peft_config=peft_config,
    )


def test_dpo_moves_away_from_sft_and_proves_where_it_started(trained: Path, labelled_run: Run) -> None:
    proof = json.loads((trained / "proof.json").read_text())
    assert proof["weights_equal"] and proof["reference_frozen"]
    assert proof["largest_margin"] == 0
    assert proof["loss"] == pytest.approx(math.log(2), rel=1e-6)
    before = load_file(labelled_run.path("sft") / "adapter_model.safetensors")
    after = load_file(trained / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    rows = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    margins = [row["rewards/margins"] for row in rows if "rewards/margins" in row]
    assert len(margins) == 4
    assert margins[0] == 0
    assert margins[-1] != 0


def test_the_saved_adapter_stands_on_the_base_alone(trained: Path) -> None:
    assert sorted(hash_folder(trained)) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "base.json",
        "dropped.jsonl",
        "log.jsonl",
        "proof.json",
    ]


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge", "robust"])
def test_every_offered_loss_starts_at_its_own_value_for_margin_0(labelled_run: Run, tmp_path: Path, loss: str) -> None:
    config = labelled_run.recipe.dpo.model_copy(update={"loss": loss, "beta": 0.3})
    proof = dpo.prove(
        trainer(labelled_run, config, tmp_path, adapter=labelled_run.path("sft")), config, labelled_run.path("sft")
    )
    assert proof["loss"] == pytest.approx({"sigmoid": 0.693147, "ipo": 2.777778, "hinge": 1, "robust": 0.693147}[loss])


def test_a_reference_that_is_the_base_instead_of_sft_stops_the_run(labelled_run: Run, tmp_path: Path) -> None:
    """The trap: with a peft_config TRL starts a new adapter and takes the bare base for reference, without a word."""
    config = labelled_run.recipe.dpo
    with pytest.raises(ProofFailed, match="the reference is not the SFT policy"):
        dpo.prove(trainer(labelled_run, config, tmp_path, adapter=None), config, labelled_run.path("sft"))


def test_a_policy_that_is_not_what_sft_saved_stops_the_run(labelled_run: Run, tmp_path: Path) -> None:
    config = labelled_run.recipe.dpo
    wrong = trainer(labelled_run, config, tmp_path, adapter=labelled_run.path("sft"))
    with torch.no_grad():
        next(p for n, p in wrong.model.named_parameters() if "lora_B.default" in n).add_(0.5)
    with pytest.raises(ProofFailed, match="the reference is not the SFT policy"):
        dpo.prove(wrong, config, labelled_run.path("sft"))


def test_in_four_bit_policy_and_reference_are_the_same_to_the_last_bit(labelled_run: Run, tmp_path: Path) -> None:
    """TRL casts the policy of a quantised model to bf16 and not its frozen copy: margins of 0.0016 on a GPU."""
    nf4 = labelled_run.recipe.model.model_copy(update={"quantization": "nf4", "dtype": "bfloat16"})
    config = labelled_run.recipe.dpo.model_copy(update={"model": nf4})
    made = trainer(labelled_run, config, tmp_path, adapter=labelled_run.path("sft"))
    dpo.start_from(labelled_run.path("sft"), made)
    proof = dpo.prove(made, config, labelled_run.path("sft"))
    assert proof["largest_margin"] == 0
    assert {p.dtype for p in made.model.parameters() if p.requires_grad} == {torch.float32}


def test_a_reference_rounded_to_another_precision_stops_the_run(labelled_run: Run, tmp_path: Path) -> None:
    made = trainer(labelled_run, labelled_run.recipe.dpo, tmp_path, adapter=labelled_run.path("sft"))
    for name, value in made.model.named_parameters():
        if ".ref." in name:
            value.data = value.data.bfloat16().float()
    with pytest.raises(ProofFailed, match="the reference is not the SFT policy"):
        dpo.prove(made, labelled_run.recipe.dpo, labelled_run.path("sft"))


def test_the_proof_changes_nothing_that_training_would_see(labelled_run: Run, tmp_path: Path) -> None:
    config = labelled_run.recipe.dpo
    made = trainer(labelled_run, config, tmp_path, adapter=labelled_run.path("sft"))
    before = {name: value.detach().clone() for name, value in made.model.named_parameters()}
    dpo.prove(made, config, labelled_run.path("sft"))
    assert all(torch.equal(before[name], value) for name, value in made.model.named_parameters())
    assert made.model.training
    assert not any(made._metrics.values())


def test_an_sft_adapter_of_another_base_is_refused(labelled_run: Run, tmp_path: Path) -> None:
    stranger = tmp_path / "sft"
    stranger.mkdir()
    for file in labelled_run.path("sft").iterdir():
        (stranger / file.name).write_bytes(file.read_bytes())
    (stranger / "base.json").write_text('{"base": "google/gemma-2-9b-it", "revision": null, "fingerprint": "0"}')
    with pytest.raises(KormedError, match="an adapter of google/gemma-2-9b-it, not of"):
        dpo.run(labelled_run.recipe.dpo, tmp_path, sft=stranger, preferences=labelled_run.path("preferences"))


def test_pairs_too_long_for_the_model_are_an_error_when_none_is_left(labelled_run: Run, tmp_path: Path) -> None:
    config = labelled_run.recipe.dpo.model_copy(update={"max_length": 8})
    with pytest.raises(KormedError, match=r"none of \d+ pairs fits dpo.max_length=8; raise it"):
        dpo.run(config, tmp_path, sft=labelled_run.path("sft"), preferences=labelled_run.path("preferences"))


def test_pairs_that_lean_towards_length_are_warned_of_before_training(
    labelled_run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the rows that it trains on: a pair too long to train on does not count."""
    (pair, *_) = read_jsonl(labelled_run.path("preferences") / "train.jsonl", Preference)
    pairs = [
        pair.model_copy(update={"id": f"c{n}", "chosen": chat.reply("길고 긴 답"), "rejected": chat.reply("답")})
        for n in range(9)
    ]
    endless = pair.model_copy(update={"id": "endless", "chosen": chat.reply("끝없는 답 " * 2000)})
    write_jsonl(tmp_path / "train.jsonl", [*pairs, endless])
    (tmp_path / "no-sft").mkdir()
    (tmp_path / "no-sft" / "base.json").write_text('{"base": "another", "revision": null, "fingerprint": "0"}')
    with caplog.at_level("WARNING", logger="kormed"), pytest.raises(KormedError, match="an adapter of another"):
        dpo.run(labelled_run.recipe.dpo, tmp_path, sft=tmp_path / "no-sft", preferences=tmp_path)
    (message,) = [message for message in caplog.messages if "longer one" in message]
    assert message.startswith("dpo: the chosen answer is the longer one in 9 of 9 pairs")
