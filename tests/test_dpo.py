import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from trl import DPOConfig, DPOTrainer

from stages import dpo
from stages.core import chat, models, training
from stages.core import preference_training as preference
from stages.core.artifacts import hash_folder
from stages.core.errors import KormedError, ProofFailed
from stages.core.pipeline import Run
from stages.core.recipe import Dpo, Model
from stages.core.records import Dropped, Judged, Preference, read_jsonl, write_jsonl


@pytest.fixture(scope="module")
def trained(labelled_run: Run) -> Path:
    labelled_run.bring("dpo")
    return labelled_run.path("dpo")


ROUNDING = 1e-4  # of what training moved; 3e-6 was seen, since Adam takes the rounding of a gradient of 0 for whole


def changed(config: Dpo, **settings: Any) -> Dpo:
    return Dpo.model_validate(config.model_dump() | settings)


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_file(folder / "adapter_model.safetensors")
    return weights


def distance(one: Path, other: Path) -> float:
    """Of two adapters, all weights as one vector."""
    first, second = adapter(one), adapter(other)
    assert first.keys() == second.keys()
    return float(torch.cat([(first[name] - second[name]).flatten() for name in first]).norm())


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def train(run: Run, config: Dpo, out: Path, preferences: Path | None = None) -> dict[str, float]:
    out.mkdir()
    return dpo.run(config, out, sft=run.path("sft"), preferences=preferences or run.path("preferences"))


@pytest.fixture(scope="module")
def halves(labelled_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preferences of which half are held out, so that there is something to look at."""
    folder = tmp_path_factory.mktemp("halves")
    pairs = [
        pair
        for name in ("train.jsonl", "heldout.jsonl")
        for pair in read_jsonl(labelled_run.path("preferences") / name, Preference)
    ]
    write_jsonl(folder / "train.jsonl", pairs[::2])
    write_jsonl(folder / "heldout.jsonl", pairs[1::2])
    return folder


def trainer(run: Run, config: Dpo, folder: Path, *, adapter: Path | None) -> DPOTrainer:
    """A trainer as `dpo.run` makes it; without an adapter, the way that silently takes the base for reference."""
    base = models.load_base(config.model)
    rows = read_jsonl(run.path("preferences") / "train.jsonl", Preference)
    peft_config = None if adapter else LoraConfig(r=16, lora_alpha=32, target_modules=list(run.recipe.sft.lora.targets))
    return DPOTrainer(
        model=PeftModel.from_pretrained(base, adapter, is_trainable=True) if adapter else base,
        args=DPOConfig(**preference.arguments(config, folder)),
        train_dataset=dpo.dataset(rows),
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
    assert abs(margins[0]) < 1e-5  # the reference was computed before, in batches of another shape
    assert abs(margins[-1]) > 1e-5


def test_the_saved_adapter_stands_on_the_base_alone(trained: Path) -> None:
    assert sorted(hash_folder(trained)) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "base.json",
        "dropped.jsonl",
        "heldout.jsonl",
        "heldout_dropped.jsonl",
        "log.jsonl",
        "proof.json",
        "reference.jsonl",
    ]


LOSSES = {
    "sigmoid": ({"loss": "sigmoid"}, math.log(2)),
    "ipo": ({"loss": "ipo"}, 2.777778),  # (1 / (2 * 0.3)) ** 2
    "hinge": ({"loss": "hinge"}, 1),
    "robust": ({"loss": "robust"}, math.log(2)),
    "robust, a fifth of the labels wrong": ({"loss": "robust", "label_smoothing": 0.2}, math.log(2)),
    "length-desensitised": ({"length_desensitised": 0.4}, math.log(2)),
    "length-desensitised hinge": ({"loss": "hinge", "length_desensitised": 0.0}, 1),
}


@pytest.mark.parametrize(("settings", "expected"), LOSSES.values(), ids=LOSSES)
def test_every_offered_loss_starts_at_its_own_value_for_margin_0(
    labelled_run: Run, tmp_path: Path, settings: dict[str, Any], expected: float
) -> None:
    config = changed(labelled_run.recipe.dpo, beta=0.3, **settings)
    sft = labelled_run.path("sft")
    made = trainer(labelled_run, config, tmp_path, adapter=sft)
    proof = preference.prove(made, config, sft)
    assert proof["loss"] == pytest.approx(expected)
    preference.precompute_reference(made, config, sft, tmp_path)
    precomputed = preference.prove_precomputed(made, config)
    assert precomputed["loss_with_precomputed_reference"] == pytest.approx(expected, rel=1e-4)
    assert precomputed["margin_with_precomputed_reference"] < 1e-3


@pytest.mark.parametrize("settings", [{"loss": "sigmoid"}, {"loss": "ipo"}, {"length_desensitised": 0.4}])
def test_a_mixed_in_negative_log_likelihood_comes_on_top(
    labelled_run: Run, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Taken here from the whole logits, which TRL's loss never builds."""
    config = changed(labelled_run.recipe.dpo, beta=0.3, nll_weight=0.25, **settings)
    sft = labelled_run.path("sft")
    made = trainer(labelled_run, config, tmp_path, adapter=sft)
    proof = preference.prove(made, config, sft)
    batch = preference.first_batch(made)
    chosen = len(batch["input_ids"]) // 2
    tokens, answer = batch["input_ids"][:chosen, 1:], batch["completion_mask"][:chosen, 1:].bool()
    with torch.no_grad():
        logits = made.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logps = logits[:chosen, :-1].log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    nll = -logps[answer].mean().item()
    at_margin_0 = (1 / (2 * 0.3)) ** 2 if config.loss == "ipo" else math.log(2)
    assert nll > 1
    assert proof["loss"] == pytest.approx(at_margin_0 + 0.25 * nll, rel=1e-5)


def test_the_losses_are_the_papers_by_hand() -> None:
    """With -log σ(0.5) = 0.474077 and -log σ(-0.5) = 0.974077."""
    config = Dpo(seed=0, model=Model(base="none"), beta=0.5)
    assert preference.pair_loss(config, 1) == pytest.approx(0.474077, rel=1e-5)
    assert preference.pair_loss(changed(config, loss="hinge"), 1) == pytest.approx(0.5)
    assert preference.pair_loss(changed(config, loss="ipo"), 1.5) == pytest.approx(0.25)
    robust = changed(config, loss="robust", label_smoothing=0.1)  # (0.9 * 0.474077 - 0.1 * 0.974077) / 0.8
    assert preference.pair_loss(robust, 1) == pytest.approx(0.411577, rel=1e-5)


@pytest.mark.parametrize("settings", [settings for settings, _ in LOSSES.values()], ids=LOSSES)
def test_trls_loss_is_the_papers_also_away_from_margin_0(
    labelled_run: Run, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = changed(labelled_run.recipe.dpo, beta=0.3, **settings)
    made = trainer(labelled_run, config, tmp_path, adapter=labelled_run.path("sft"))
    with torch.no_grad():
        for name, value in made.model.named_parameters():
            if "lora_B.default" in name:
                value.mul_(3)
    batch = preference.first_batch(made)
    loss, _ = preference.loss_and_margin(made, batch)
    policy, reference = (preference.log_probabilities(made, batch, name) for name in ("default", "ref"))
    changes = policy - reference
    if config.loss == "ipo":
        changes = changes / torch.stack(batch["completion_mask"].sum(1).chunk(2))
    gaps = (changes[0] - changes[1]).tolist()
    assert max(map(abs, gaps)) > 1e-3
    assert loss == pytest.approx(sum(preference.pair_loss(config, gap) for gap in gaps) / len(gaps), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 0.1}, "label_smoothing does nothing with loss sigmoid; set loss to robust"),
        ({"loss": "ipo", "length_desensitised": 0.5}, "ipo takes the mean over an answer's tokens already"),
        ({"early_stopping": 2}, "set eval_steps too"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Dpo(seed=0, model=Model(base="none"), **settings)


def test_a_reference_that_is_the_base_instead_of_sft_stops_the_run(labelled_run: Run, tmp_path: Path) -> None:
    """The trap: with a peft_config TRL starts a new adapter and takes the bare base for reference, without a word."""
    config = labelled_run.recipe.dpo
    with pytest.raises(ProofFailed, match="the reference is not the SFT policy"):
        preference.prove(trainer(labelled_run, config, tmp_path, adapter=None), config, labelled_run.path("sft"))


def test_a_policy_that_is_not_what_sft_saved_stops_the_run(labelled_run: Run, tmp_path: Path) -> None:
    config = labelled_run.recipe.dpo
    wrong = trainer(labelled_run, config, tmp_path, adapter=labelled_run.path("sft"))
    with torch.no_grad():
        next(p for n, p in wrong.model.named_parameters() if "lora_B.default" in n).add_(0.5)
    with pytest.raises(ProofFailed, match="the reference is not the SFT policy"):
        preference.prove(wrong, config, labelled_run.path("sft"))


def test_in_four_bit_policy_and_reference_are_the_same_to_the_last_bit(labelled_run: Run, tmp_path: Path) -> None:
    """TRL casts the policy of a quantised model to bf16 and not its frozen copy: margins of 0.0016 on a GPU."""
    nf4 = labelled_run.recipe.model.model_copy(update={"quantization": "nf4", "dtype": "bfloat16"})
    config = labelled_run.recipe.dpo.model_copy(update={"model": nf4})
    made = trainer(labelled_run, config, tmp_path, adapter=labelled_run.path("sft"))
    preference.start_from(labelled_run.path("sft"), made)
    proof = preference.prove(made, config, labelled_run.path("sft"))
    assert proof["largest_margin"] == 0
    assert {p.dtype for p in made.model.parameters() if p.requires_grad} == {torch.float32}


def test_a_reference_rounded_to_another_precision_stops_the_run(labelled_run: Run, tmp_path: Path) -> None:
    made = trainer(labelled_run, labelled_run.recipe.dpo, tmp_path, adapter=labelled_run.path("sft"))
    for name, value in made.model.named_parameters():
        if ".ref." in name:
            value.data = value.data.bfloat16().float()
    with pytest.raises(ProofFailed, match="the reference is not the SFT policy"):
        preference.prove(made, labelled_run.recipe.dpo, labelled_run.path("sft"))


def test_the_proof_changes_nothing_that_training_would_see(labelled_run: Run, tmp_path: Path) -> None:
    config = labelled_run.recipe.dpo
    made = trainer(labelled_run, config, tmp_path, adapter=labelled_run.path("sft"))
    before = {name: value.detach().clone() for name, value in made.model.named_parameters()}
    preference.prove(made, config, labelled_run.path("sft"))
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
    write_jsonl(tmp_path / "heldout.jsonl", [])
    (tmp_path / "no-sft").mkdir()
    (tmp_path / "no-sft" / "base.json").write_text('{"base": "another", "revision": null, "fingerprint": "0"}')
    with caplog.at_level("WARNING", logger="kormed"), pytest.raises(KormedError, match="an adapter of another"):
        dpo.run(labelled_run.recipe.dpo, tmp_path, sft=tmp_path / "no-sft", preferences=tmp_path)
    (message,) = [message for message in caplog.messages if "longer one" in message]
    assert message.startswith("dpo: the chosen answer is the longer one in 9 of 9 pairs")


# The reference, computed once


def test_training_with_the_reference_computed_once_is_the_same_training(
    labelled_run: Run, trained: Path, tmp_path: Path
) -> None:
    config = changed(labelled_run.recipe.dpo, precompute_reference=False)
    train(labelled_run, config, tmp_path / "in-every-step")
    assert rows_of(tmp_path / "in-every-step")[0]["rewards/margins"] == 0
    assert not (tmp_path / "in-every-step" / "reference.jsonl").exists()
    moved = distance(labelled_run.path("sft"), trained)
    assert moved > 0
    assert distance(trained, tmp_path / "in-every-step") < ROUNDING * moved
    losses = [[row["loss"] for row in rows_of(f) if "loss" in row] for f in (trained, tmp_path / "in-every-step")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_training_without_padding_is_the_same_training(labelled_run: Run, trained: Path, tmp_path: Path) -> None:
    train(labelled_run, changed(labelled_run.recipe.dpo, padding_free=True), tmp_path / "out")
    proof = json.loads((tmp_path / "out" / "proof.json").read_text())
    assert proof["largest_margin"] == 0
    assert distance(trained, tmp_path / "out") < ROUNDING * distance(labelled_run.path("sft"), trained)


def test_the_reference_is_matched_by_what_it_was_computed_of_and_never_by_place(
    labelled_run: Run, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file with lines in another order, of another adapter, and one that a kill cut off."""
    out = tmp_path / "out"
    out.mkdir()
    lines = (trained / "reference.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    strange = json.loads(lines[0]) | {"of": "another adapter's", "chosen": -1.0, "rejected": -999.0}
    (out / "reference.jsonl").write_text(
        "".join([json.dumps(strange) + "\n", *reversed(lines[2:]), lines[0][:20]]), encoding="utf-8"
    )
    with caplog.at_level("INFO", logger="kormed"):
        dpo.run(
            labelled_run.recipe.dpo,
            out,
            sft=labelled_run.path("sft"),
            preferences=labelled_run.path("preferences"),
        )
    assert f"dpo: the reference of {len(lines) - 2} of {len(lines)} pairs is there already" in caplog.messages
    assert distance(trained, out) < ROUNDING * distance(labelled_run.path("sft"), trained)


def test_a_reference_of_something_else_stops_the_run(labelled_run: Run, tmp_path: Path) -> None:
    config, sft = labelled_run.recipe.dpo, labelled_run.path("sft")
    made = trainer(labelled_run, config, tmp_path, adapter=sft)
    preference.precompute_reference(made, config, sft, tmp_path)
    turned = made.train_dataset["ref_chosen_logps"][::-1]
    made.train_dataset = made.train_dataset.remove_columns("ref_chosen_logps").add_column("ref_chosen_logps", turned)
    with pytest.raises(ProofFailed, match="precomputed log-probabilities are not those of SFT"):
        preference.prove_precomputed(made, config)


def test_in_bf16_a_precomputed_reference_is_within_its_tolerance(labelled_run: Run, tmp_path: Path) -> None:
    model = labelled_run.recipe.dpo.model.model_copy(update={"dtype": "bfloat16"})
    config, sft = labelled_run.recipe.dpo.model_copy(update={"model": model}), labelled_run.path("sft")
    made = trainer(labelled_run, config, tmp_path, adapter=sft)
    preference.precompute_reference(made, config, sft, tmp_path)
    proof = preference.prove_precomputed(made, config)
    assert proof["deviation_of_precomputed_reference"] < proof["tolerated_deviation"] == 0.05


def test_a_batch_holds_as_many_tokens_as_it_may_once_padded() -> None:
    assert preference.by_tokens([3, 9, 4, 4, 20, 1], 12) == [[4], [1], [2, 3, 0], [5]]
    assert preference.by_tokens([], 12) == []


def test_the_reference_is_still_sft_when_training_is_over(trained: Path, labelled_run: Run, tmp_path: Path) -> None:
    assert json.loads((trained / "proof.json").read_text())["reference_unchanged"] is True
    made = trainer(labelled_run, labelled_run.recipe.dpo, tmp_path, adapter=labelled_run.path("sft"))
    with torch.no_grad():
        next(p for n, p in made.model.named_parameters() if "lora_A.ref" in n).add_(1e-6)
    with pytest.raises(ProofFailed, match="the reference's weights are no longer SFT's after training"):
        preference.prove_unchanged(made, labelled_run.path("sft"))


# The same run, however it comes about


def test_equal_seeds_give_equal_adapters(labelled_run: Run, tmp_path: Path) -> None:
    config = changed(labelled_run.recipe.dpo, gradient_accumulation=1)  # so that the order of the pairs matters
    for name, seed in (("one", 7), ("again", 7), ("other", 8)):
        train(labelled_run, changed(config, seed=seed), tmp_path / name)
    assert distance(tmp_path / "one", tmp_path / "again") == 0
    assert distance(tmp_path / "one", tmp_path / "other") > 0.01 * distance(labelled_run.path("sft"), tmp_path / "one")


def test_four_pairs_at_once_are_four_pairs_one_by_one(labelled_run: Run, tmp_path: Path) -> None:
    for batch_size, accumulation in ((4, 1), (1, 4)):
        config = changed(labelled_run.recipe.dpo, batch_size=batch_size, gradient_accumulation=accumulation)
        train(labelled_run, config, tmp_path / f"{batch_size}x{accumulation}")
    losses = [[row["loss"] for row in rows_of(tmp_path / name) if "loss" in row] for name in ("4x1", "1x4")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    moved = distance(labelled_run.path("sft"), tmp_path / "4x1")
    assert distance(tmp_path / "4x1", tmp_path / "1x4") < ROUNDING * moved


def kill_when(command: list[str], folder: Path, ready: Path, *, environment: dict[str, str]) -> None:
    """kill -9 as soon as `ready` has a whole line or is whole JSON."""
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (ready.exists() and ready.read_text()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    _, talk = process.communicate()
    assert ready.exists(), talk
    assert not (folder / "models" / "tiny" / "dpo").exists(), "the run was over before the kill"


def test_a_run_killed_in_its_reference_and_in_its_training_ends_in_the_same_adapter(
    labelled_run: Run, tiny_recipe_file: Path, tmp_path: Path
) -> None:
    """kill -9 behind the first line of the reference, kill -9 behind the first checkpoint, then once more."""
    settings = {"max_length": 400, "batch_size": 1, "max_steps": 8, "eval_steps": 2, "early_stopping": 9}
    shutil.copytree(labelled_run.folder, tmp_path / "models" / "tiny", ignore=shutil.ignore_patterns("dpo", ".dpo*"))
    sets = [part for key, value in settings.items() for part in ("--set", f"dpo.{key}={value}")]
    command = [sys.executable, "-m", "stages", "dpo", str(tiny_recipe_file), *sets]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    partial = tmp_path / "models" / "tiny" / ".dpo.partial"
    kill_when(command, tmp_path, partial / "reference.jsonl", environment=environment)
    kill_when(
        command, tmp_path, partial / "checkpoints" / "checkpoint-2" / "trainer_state.json", environment=environment
    )

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "dpo: going on from checkpoint-" in done.stderr
    resumed = tmp_path / "models" / "tiny" / "dpo"
    computed = [json.loads(line)["of"] for line in (resumed / "reference.jsonl").read_text().splitlines()]
    assert len(computed) == len(set(computed)), "computed twice"
    whole = tmp_path / "whole"
    train(labelled_run, changed(labelled_run.recipe.dpo, **settings), whole)
    assert distance(whole, resumed) < ROUNDING * distance(labelled_run.path("sft"), whole)
    looks = [[row for row in rows_of(folder) if preference.ACCURACY in row] for folder in (whole, resumed)]
    assert [row["step"] for row in looks[0]] == [row["step"] for row in looks[1]]
    assert [row[preference.ACCURACY] for row in looks[0]] == [row[preference.ACCURACY] for row in looks[1]]


# Looks at held-out pairs


def test_held_out_pairs_are_looked_at_on_the_way_and_at_the_end(
    labelled_run: Run, halves: Path, tmp_path: Path
) -> None:
    metrics = train(labelled_run, changed(labelled_run.recipe.dpo, eval_steps=2), tmp_path / "out", halves)
    looks = [row for row in rows_of(tmp_path / "out") if preference.ACCURACY in row]
    assert metrics["saved_step"] == 4
    assert [(row["step"], row.get("saved", False)) for row in looks] == [(2, False), (4, False), (4, True)]
    judged = read_jsonl(tmp_path / "out" / "heldout.jsonl", Judged)
    assert [row.id for row in judged] == [row.id for row in read_jsonl(halves / "heldout.jsonl", Preference)]
    assert metrics["heldout_pairs"] == len(judged) == 4
    assert metrics["heldout_accuracy"] == sum(row.margin > 0 for row in judged) / 4 == looks[-1][preference.ACCURACY]
    assert metrics["heldout_margin"] == pytest.approx(looks[1]["eval_rewards/margins"])
    assert metrics["heldout_margin"] != 0


def test_a_look_says_what_trl_says_of_one_pair_after_the_other(labelled_run: Run, halves: Path, tmp_path: Path) -> None:
    config = labelled_run.recipe.dpo
    pairs, heldout = (read_jsonl(halves / name, Preference) for name in ("train.jsonl", "heldout.jsonl"))
    made = dpo.make_trainer(
        config, tmp_path, labelled_run.path("sft"), pairs, heldout, models.load_tokenizer(config.model)
    )
    with torch.no_grad():
        for name, value in made.model.named_parameters():
            if "lora_B.default" in name:
                value.mul_(1.2)
    for row, judged in zip(made.eval_dataset, preference.judge(made, config), strict=True):
        made.model.eval()
        with torch.no_grad():
            loss = float(made.compute_loss(made.model, made.data_collator([row])))
        seen = made._metrics["eval"]
        assert judged.id == row["id"]
        assert judged.margin == pytest.approx(seen["rewards/margins"][-1], rel=1e-3, abs=1e-5)
        assert judged.loss == pytest.approx(loss, rel=1e-4)
        for side, before, change, tokens in (
            ("chosen", judged.chosen_before, judged.chosen_change, judged.chosen_tokens),
            ("rejected", judged.rejected_before, judged.rejected_change, judged.rejected_tokens),
        ):
            assert before is not None
            assert before + change == pytest.approx(seen[f"logps/{side}"][-1], rel=1e-4)
            assert tokens == len(row[f"{side}_ids"])


def test_a_length_desensitised_look_calls_no_sum_a_log_probability(labelled_run: Run) -> None:
    config = changed(labelled_run.recipe.dpo, length_desensitised=0.5)
    pair = {"id": "pair-1", "chosen_ids": [1, 2, 3], "rejected_ids": [1, 2]}
    found = preference.judged(config, pair, (-9.0, -8.0), (-10.0, -7.0))
    assert (found.chosen_change, found.rejected_change) == (1.0, -1.0)
    assert (found.chosen_before, found.rejected_before) == (None, None)
    assert (found.chosen_tokens, found.rejected_tokens) == (3, 2)


def test_a_run_that_gets_no_better_stops_and_keeps_its_best_look(
    labelled_run: Run, halves: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = changed(labelled_run.recipe.dpo, scheduler="constant", warmup_ratio=0.0, max_steps=40, save_steps=100)
    with caplog.at_level("INFO", logger="kormed"):
        metrics = train(labelled_run, changed(long, eval_steps=1, early_stopping=3), tmp_path / "early", halves)
    accuracies = [r[preference.ACCURACY] for r in rows_of(tmp_path / "early") if preference.ACCURACY in r][:-1]
    best = accuracies.index(max(accuracies)) + 1
    assert metrics["saved_step"] == best
    assert metrics["steps"] == len(accuracies) == best + 3 < 40
    assert "dpo: stops: no better in 3 looks (dpo.early_stopping)" in caplog.messages
    assert metrics["heldout_accuracy"] == max(accuracies)
    train(labelled_run, changed(long, max_steps=best), tmp_path / "short", halves)
    assert distance(tmp_path / "early", tmp_path / "short") < ROUNDING * distance(
        labelled_run.path("sft"), tmp_path / "short"
    )


def test_a_run_killed_after_it_stopped_early_is_over(labelled_run: Run, halves: Path, tmp_path: Path) -> None:
    """Its last checkpoint says so; without that it would train on and might find a better look."""
    config = changed(
        labelled_run.recipe.dpo, scheduler="constant", warmup_ratio=0.0, max_steps=40, eval_steps=1, early_stopping=2
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "drop_checkpoints", lambda out: None)
        whole = train(labelled_run, config, tmp_path / "whole", halves)
    (tmp_path / "cut").mkdir()
    shutil.copytree(tmp_path / "whole" / "checkpoints", tmp_path / "cut" / "checkpoints")
    cut = dpo.run(config, tmp_path / "cut", sft=labelled_run.path("sft"), preferences=halves)
    assert (cut["steps"], cut["saved_step"]) == (whole["steps"], whole["saved_step"])
    assert distance(tmp_path / "whole", tmp_path / "cut") == 0


def test_of_equally_good_looks_the_first_is_the_best() -> None:
    assert preference.since_best([0.5]) == 0
    assert preference.since_best([0.5, 0.75, 0.75, 0.6]) == 2


def test_a_held_out_pair_that_is_too_long_is_written_down_apart(
    labelled_run: Run, halves: Path, tmp_path: Path
) -> None:
    """The report takes dropped.jsonl for training pairs."""
    pairs = read_jsonl(halves / "heldout.jsonl", Preference)
    endless = pairs[0].model_copy(update={"chosen": chat.reply("끝없는 답 " * 2000)})
    shutil.copy(halves / "train.jsonl", tmp_path / "train.jsonl")
    write_jsonl(tmp_path / "heldout.jsonl", [endless, *pairs[1:]])
    metrics = train(labelled_run, changed(labelled_run.recipe.dpo, max_steps=1), tmp_path / "out", tmp_path)
    assert (metrics["heldout_pairs"], metrics["dropped"]) == (3, 0)
    (dropped,) = read_jsonl(tmp_path / "out" / "heldout_dropped.jsonl", Dropped)
    assert dropped.id == endless.id
    assert read_jsonl(tmp_path / "out" / "dropped.jsonl", Dropped) == []


def test_stopping_early_without_held_out_pairs_is_an_error_with_the_way_out(
    labelled_run: Run, halves: Path, tmp_path: Path
) -> None:
    shutil.copy(halves / "train.jsonl", tmp_path / "train.jsonl")
    write_jsonl(tmp_path / "heldout.jsonl", [])
    config = changed(labelled_run.recipe.dpo, eval_steps=2, early_stopping=1)
    with pytest.raises(KormedError, match=r"dpo.early_stopping looks at held-out pairs .* set preferences.heldout"):
        train(labelled_run, config, tmp_path / "out", tmp_path)


def test_chosen_answers_that_become_less_likely_are_told_of_with_the_way_out() -> None:
    history = [{"step": step, "rewards/chosen": 0.0, "logps/chosen": -90.0} for step in range(1, 10)]
    history.append({"step": 10, "rewards/chosen": -0.8, "logps/chosen": -108.0})
    assert preference.chosen_change(history, 9, beta=0.1) == (0, -90)
    change, before = preference.chosen_change(history, 10, beta=0.1)
    assert [change, before] == pytest.approx([-8, -100])
    warning = preference.falling(change, before)
    assert warning is not None and "-100.0 under SFT, -108.0 at the end" in warning and "dpo.nll_weight" in warning
    assert preference.falling(-4.9, -100) is None
    assert preference.falling(8, -100) is None


# Files that are not what they should be


def test_a_pair_whose_sides_are_the_same_is_refused_with_its_line(labelled_run: Run, tmp_path: Path) -> None:
    first, second, *_ = read_jsonl(labelled_run.path("preferences") / "train.jsonl", Preference)
    same = second.model_copy(update={"id": "c7", "chosen": chat.reply("같은 답"), "rejected": chat.reply("같은 답 ")})
    write_jsonl(tmp_path / "train.jsonl", [first, same])
    write_jsonl(tmp_path / "heldout.jsonl", [])
    with pytest.raises(KormedError, match=r"train.jsonl:2: pair c7: chosen and rejected are the same text") as error:
        train(labelled_run, labelled_run.recipe.dpo, tmp_path / "out", tmp_path)
    assert "같은" not in str(error.value)


@pytest.fixture
def broken(labelled_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled_run.path("sft"), tmp_path / "broken"))


def load(run: Run, folder: Path) -> None:
    models.load_adapter(models.load_base(run.recipe.model), folder)


def test_an_adapter_that_was_cut_off_is_refused(labelled_run: Run, broken: Path) -> None:
    file = broken / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(KormedError, match=r"adapter_model.safetensors: not a whole file of weights.*train it again"):
        load(labelled_run, broken)
    file.unlink()
    with pytest.raises(KormedError, match=r"adapter_model.safetensors: not there"):
        load(labelled_run, broken)


@pytest.mark.parametrize("settings", [{"r": 4}, {"target_modules": ["nowhere"]}])
def test_an_adapter_of_another_rank_or_other_layers_is_refused(
    labelled_run: Run, broken: Path, settings: dict[str, Any]
) -> None:
    file = broken / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    with pytest.raises(KormedError, match=r"its weights do not fit adapter_config.json on .*another rank"):
        load(labelled_run, broken)


def test_an_adapter_that_lacks_weights_is_refused_and_not_filled_up_at_random(labelled_run: Run, broken: Path) -> None:
    weights = adapter(broken)
    weights.pop(next(name for name in weights if "q_proj" in name))
    save_file(weights, broken / "adapter_model.safetensors")
    with pytest.raises(
        KormedError, match=r"1 weights are in only one of the file and what .* wants, the first .*q_proj"
    ):
        load(labelled_run, broken)
