"""The proofs of issue "fast and the same": rows side by side in one sequence train exactly what padded rows train."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import Gemma3ForCausalLM, Gemma3TextConfig
from trl.trainer.utils import add_fused_lm_head

from stages import sft
from stages.core import chat, models, padding_free
from stages.core.pipeline import Run
from stages.core.recipe import Lora, Model
from stages.core.records import Example, read_jsonl
from tests.tiny_gemma import with_adapter

LENGTHS = (300, 40, 5, 211)  # the tiny model's sliding window is 128


@pytest.fixture(scope="module")
def rows() -> dict[str, torch.Tensor]:
    """Padded rows of random tokens; every second token is to be predicted."""
    width = max(LENGTHS)
    ids = torch.randint(300, 1000, (len(LENGTHS), width), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(width)[None] < torch.tensor(LENGTHS)[:, None]).long()
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, ::2] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def adapted(base: Path | Gemma3ForCausalLM) -> Any:
    """A model with an adapter, scored as TRL scores it."""
    model = models.load_base(fp32(base)) if isinstance(base, Path) else base
    add_fused_lm_head(model)
    return with_adapter(model)


def fp32(base: Path) -> Model:
    return Model(base=str(base), quantization="none", dtype="float32")


def step(model: Any, rows: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probabilities of the labels, and the gradients of their mean."""
    scores = model(**rows, fused_lm_head=True).log_probs
    (-scores.sum() / (rows["labels"][:, 1:] != -100).sum()).backward()
    return scores.detach(), {n: w.grad for n, w in model.named_parameters() if w.grad is not None}


def assert_the_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert float((found[name] - gradient).abs().max()) <= 1e-5 * float(gradient.abs().max()), name


def test_rows_without_padding_have_the_scores_and_gradients_of_padded_rows(
    tiny_base: Path, rows: dict[str, torch.Tensor]
) -> None:
    wanted, gradients = step(adapted(tiny_base), rows)
    model = adapted(tiny_base)
    padding_free.remove_padding(model.get_base_model(), 256)
    found, flat_gradients = step(model, rows)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert_the_same(flat_gradients, gradients)


def test_a_gemma_3_is_the_same_without_padding_too(rows: dict[str, torch.Tensor]) -> None:
    """Another window, local layers with a rotary base of their own, and no soft-capping."""
    config = Gemma3TextConfig(
        vocab_size=1000,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=64,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        pad_token_id=0,
    )
    config._attn_implementation = "eager"

    def fresh() -> Any:
        torch.manual_seed(0)
        return adapted(Gemma3ForCausalLM(config))

    wanted, gradients = step(fresh(), rows)
    model = fresh()
    padding_free.remove_padding(model.get_base_model(), 128)
    found, flat_gradients = step(model, rows)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert_the_same(flat_gradients, gradients)


def test_another_row_in_the_pack_changes_nothing_of_a_row(tiny_base: Path) -> None:
    """No attention across documents, the sliding window's layers included: the neighbour's tokens are all replaced."""
    model = adapted(tiny_base)
    padding_free.remove_padding(model.get_base_model(), 128)
    generator = torch.Generator().manual_seed(3)
    before, row, other = (torch.randint(300, 1000, (n,), generator=generator) for n in (150, 200, 150))
    positions = torch.cat([torch.arange(150), torch.arange(200)])[None]
    with torch.no_grad():
        one, two = (
            model(input_ids=torch.cat([first, row])[None], position_ids=positions).logits[:, 150:]
            for first in (before, other)
        )
        alone = model(input_ids=row[None], position_ids=torch.arange(200)[None]).logits
    assert torch.equal(one, two)
    torch.testing.assert_close(one, alone, rtol=1e-5, atol=1e-5)


def pairs(shared: Sequence[int], chosen: Sequence[int], rejected: Sequence[int]) -> dict[str, torch.Tensor]:
    """Padded sides as TRL has them, the chosen ones first: `shared` tokens are the same, the rest a side's own."""
    generator = torch.Generator().manual_seed(5)
    stems = [torch.randint(300, 1000, (length,), generator=generator) for length in shared]
    sides = []
    for first, lengths in ((300, chosen), (650, rejected)):  # so that the first token after the stem differs
        own = [torch.randint(first, first + 350, (length,), generator=generator) for length in lengths]
        sides += [torch.cat(side) for side in zip(stems, own, strict=True)]
    ids = torch.nn.utils.rnn.pad_sequence(sides, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(side) for side in sides], batch_first=True)
    answer = torch.arange(ids.shape[1]) >= torch.tensor([*shared, *shared])[:, None]
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(~(answer & mask.bool()), -100)}


# A window's worth apart and more (the tiny model's is 128), nothing shared, a side that is the other one's beginning.
PAIRS = ((150, 200, 40), (220, 90, 0), (7, 30, 160)), ((150, 0, 30), (4, 60, 90), (9, 3, 0))


@pytest.mark.parametrize("lengths", PAIRS)
def test_a_pair_whose_prompt_is_computed_once_has_the_scores_and_gradients_of_its_padded_sides(
    tiny_base: Path, lengths: tuple[Sequence[int], Sequence[int], Sequence[int]]
) -> None:
    rows = pairs(*lengths)
    wanted, gradients = step(adapted(tiny_base), rows)
    model = adapted(tiny_base)
    decoder = model.get_base_model().base_model
    computed: list[int] = []
    whole = decoder.forward

    def counting(**given: Any) -> Any:
        computed.append(given["input_ids"].numel())
        return whole(**given)

    decoder.forward = counting
    padding_free.remove_padding(model.get_base_model(), 128, pairs=True)
    found, flat_gradients = step(model, rows)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert_the_same(flat_gradients, gradients)
    assert computed == [-(-sum(map(sum, lengths)) // 128) * 128]


def layouts() -> list[padding_free.Layout]:
    """Rows side by side, and pairs whose sides branch off anywhere in a block."""
    rows = torch.cat([torch.arange(n) for n in (300, 40, 5, 211, 1, 1, 210)])
    given = pairs((150, 0, 200, 20), (30, 300, 140, 390), (260, 60, 256, 230))
    real, branches, _ = padding_free.side_by_side(given["input_ids"], given["attention_mask"])
    positions = (given["attention_mask"].cumsum(1) - 1).flatten()[real]
    return [
        padding_free.layout(rows, None),
        padding_free.layout(padding_free.fill_up(positions, 128), padding_free.fill_up(branches, 128)),
    ]


@pytest.mark.parametrize("rows", layouts(), ids=["rows", "pairs"])
@pytest.mark.parametrize("window", [None, 60, 128, 300])
def test_the_block_mask_of_flex_attention_lets_through_what_the_dense_mask_does(
    rows: padding_free.Layout, window: int | None
) -> None:
    mask: Any = padding_free.block_mask(rows, window)
    seen = padding_free.dense_mask(rows, window)[0, 0] == 0
    count = len(rows.documents) // 128
    blocks = seen.view(count, 128, count, 128).transpose(1, 2).flatten(2)
    partly, wholly = blocks.any(2), blocks.all(2)
    for q in range(count):
        partial = mask.kv_indices[0, 0, q, : mask.kv_num_blocks[0, 0, q]].tolist()
        full = mask.full_kv_indices[0, 0, q, : mask.full_kv_num_blocks[0, 0, q]].tolist()
        assert set(full) <= set(wholly[q].nonzero().flatten().tolist())
        if rows.branches is None:
            assert set(full) == set(wholly[q].nonzero().flatten().tolist())
        assert set(partial) | set(full) >= set(partly[q].nonzero().flatten().tolist())
        assert not set(partial) & set(full)
    places = torch.arange(len(rows.documents))
    assert torch.equal(mask.mask_mod(None, None, places[:, None], places[None]), seen)


def packed_and_not(run: Run, folder: Path) -> tuple[Any, Any, list[Example]]:
    """Trainers over the same few rows, packed into one sequence and each in a padded row of its own."""
    examples = read_jsonl(run.path("prepare") / "train.jsonl", Example)[:6]
    data = Dataset.from_list([sft.row(example) for example in examples])
    tokenizer = models.load_tokenizer(run.recipe.model)
    knobs = {"batch_size": 6, "lora": Lora(dropout=0.0), "max_steps": 1}
    rows = sft.make_trainer(run.recipe.sft.model_copy(update=knobs), folder / "rows", data, tokenizer)
    knobs |= {"batch_size": 1, "pack_tokens": 4096}
    packs = sft.make_trainer(run.recipe.sft.model_copy(update=knobs), folder / "packs", data, tokenizer)
    return packs, rows, examples


def test_a_pack_trains_the_label_weighted_mean_of_its_rows(tiny_run: Run, tmp_path: Path) -> None:
    packs, rows, _ = packed_and_not(tiny_run, tmp_path)
    assert len(packs.train_dataset) == 1
    losses, gradients = [], []
    for trainer in (packs, rows):
        torch.manual_seed(0)
        for name, weight in trainer.model.named_parameters():
            if "lora" in name:
                torch.nn.init.normal_(weight, std=0.05)
        batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        losses.append(loss.item())
        gradients.append({n: w.grad for n, w in trainer.model.named_parameters() if w.grad is not None})
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert_the_same(*gradients)


def test_labels_of_a_pack_are_the_answers_and_their_ends_with_one_bos_a_row(tiny_run: Run, tmp_path: Path) -> None:
    packs, _, examples = packed_and_not(tiny_run, tmp_path)
    tokenizer = models.load_tokenizer(tiny_run.recipe.model)
    batch = next(iter(packs.get_train_dataloader()))
    ids, labels = batch["input_ids"][0], batch["labels"][0]
    assert int((ids == tokenizer.bos_token_id).sum()) == len(examples)
    text = tokenizer.decode(labels[labels != -100])
    answers = [part.strip() for part in str(text).split(chat.END_OF_TURN)]
    assert sorted(answers[:-1]) == sorted(example.answer.strip() for example in examples)
    assert answers[-1] == ""


def test_accumulating_eight_rows_is_the_same_step_as_a_batch_of_eight(tiny_run: Run, tmp_path: Path) -> None:
    examples = read_jsonl(tiny_run.path("prepare") / "train.jsonl", Example)[:8]
    data = Dataset.from_list([sft.row(example) for example in examples])
    tokenizer = models.load_tokenizer(tiny_run.recipe.model)
    trained = []
    for size, accumulation in ((8, 1), (1, 8)):
        knobs = {
            "batch_size": size,
            "gradient_accumulation": accumulation,
            "max_steps": 2,
            "epochs": 2,
            "lora": Lora(dropout=0.0),
        }
        config = tiny_run.recipe.sft.model_copy(update=knobs)
        trainer = sft.make_trainer(config, tmp_path / str(size), data, tokenizer)
        trainer.train()
        # Of what has moved: B begins at 0, and single numbers of hardly any gradient go either way under Adam.
        moved = [w.detach().flatten() for n, w in trainer.model.named_parameters() if "lora_B" in n]
        trained.append(torch.cat(moved))
    assert float((trained[0] - trained[1]).norm()) < 1e-3 * float(trained[0].norm())
