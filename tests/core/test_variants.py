"""Variants of the exam as the report gets them, from files as evaluate writes them."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.core.errors import KormedError
from stages.core.findings import Evaluation, Settings
from stages.core.records import Checkpoint, Variant, VariantAnswer, write_jsonl
from stages.core.statistics import Score, mcnemar
from stages.core.variants import variant_rows

ASKED: dict[str, dict[str, Any]] = {
    "zero_shot": {"task": "kormedmcqa", "fewshot": 0, "chat_template": True, "prompts": {"nurse": "abc"}},
    "chat_form": {"task": "kormedmcqa_chat_form", "fewshot": 0, "chat_template": True, "prompts": {"nurse": "def"}},
}
SETTINGS: dict[str, Any] = {
    "task": "kormedmcqa",
    "task_version": 3.0,
    "fewshot": 5,
    "chat_template": True,
    "fewshot_as_multiturn": False,
    "limit": None,
    "max_gen_toks": 4,
    "base": "base",
    "dtype": "float32",
    "quantization": "none",
    "lm_eval": "0.4.13",
}


def answer(variant: Variant, at: int, written: str) -> VariantAnswer:
    """To an item whose right answer is A; `written` is a letter or `-` for none, the likeliest letter is always A."""
    return VariantAnswer(
        subset="nurse",
        doc_id=at,
        doc_hash=str(at),
        target="A",
        text=written,
        extracted="" if written == "-" else written,
        correct=written == "A",
        letters=(-0.1, -2.0, -3.0, -4.0, -5.0),
        variant=variant,
    )


def evaluated(
    models: Path, checkpoint: Checkpoint, answers: dict[Variant, str], asked: dict[str, Any] | None = None
) -> Evaluation:
    """`answers` has a letter an item for each form; with none, as an evaluation from before there were forms."""
    folder = models / "evaluate" / checkpoint
    folder.mkdir(parents=True)
    told = {name: how for name, how in (ASKED if asked is None else asked).items() if name in answers}
    (folder / "settings.json").write_text(json.dumps(SETTINGS | ({"variants": told} if answers else {})))
    if answers:
        rows = [answer(name, at, one) for name, text in answers.items() for at, one in enumerate(text)]
        write_jsonl(folder / "variants.jsonl", rows)
    return Evaluation(checkpoint, folder, Settings.model_validate(SETTINGS), {}, {}, "cpu")


def test_every_form_has_every_checkpoint_and_its_neighbours_compared(tmp_path: Path) -> None:
    rows = variant_rows(
        [
            evaluated(tmp_path, "base", {"zero_shot": "BBBBBBBBA-", "chat_form": "----------"}),
            evaluated(tmp_path, "sft", {"zero_shot": "AAAAAAAABB", "chat_form": "A---------"}),
            evaluated(tmp_path, "dpo", {"zero_shot": "AAAAAAAABB", "chat_form": "AAAAAAAAAA"}),
        ]
    )
    zero, chat = rows
    assert (zero.variant, zero.fewshot, zero.chat_template, chat.variant) == ("zero_shot", 0, True, "chat_form")
    assert [(cell.checkpoint, cell.score, cell.without_letter) for cell in zero.cells] == [
        ("base", Score(1, 10), 1),
        ("sft", Score(8, 10), 0),
        ("dpo", Score(8, 10), 0),
    ]
    assert [cell.likeliest for cell in chat.cells] == [Score(10, 10)] * 3
    assert [(c.before, c.after, c.test.gained, c.test.lost) for c in zero.contrasts] == [
        ("base", "sft", 8, 1),
        ("sft", "dpo", 0, 0),
    ]
    assert zero.contrasts[0].test.p == mcnemar(8, 1)
    assert zero.contrasts[0].test.adjusted == 2 * mcnemar(8, 1)
    assert [(c.test.gained, c.test.lost) for c in chat.contrasts] == [(1, 0), (9, 0)]


def test_evaluations_without_other_forms_have_no_rows(tmp_path: Path) -> None:
    assert variant_rows([evaluated(tmp_path, "base", {}), evaluated(tmp_path, "sft", {})]) == []


@pytest.mark.parametrize(
    ("sft", "asked", "told"),
    [
        ({"chat_form": "AB"}, None, "forms chat_form there and zero_shot, chat_form in .*base; evaluate again with"),
        ({}, None, "forms none but the headline's there and zero_shot, chat_form in"),
        (
            {"zero_shot": "AB", "chat_form": "ABC"},
            None,
            "in form chat_form, 1 questions do not pair .* question 2 of nurse",
        ),
        (
            {"zero_shot": "AB", "chat_form": "AB"},
            ASKED | {"zero_shot": ASKED["zero_shot"] | {"chat_template": False}},
            "zero_shot cannot be compared .* chat_template is True for base and False for sft",
        ),
        (
            {"zero_shot": "AB", "chat_form": "AB"},
            ASKED | {"chat_form": ASKED["chat_form"] | {"prompts": {"nurse": "xyz"}}},
            "chat_form cannot be compared .* the prompts differ",
        ),
        ({"zero_shot": "AB", "chat_form": ""}, None, "sft: variants.jsonl has no answers in form chat_form"),
    ],
)
def test_checkpoints_that_were_not_asked_the_same_are_refused(
    tmp_path: Path, sft: dict[Variant, str], asked: dict[str, Any] | None, told: str
) -> None:
    base = evaluated(tmp_path, "base", {"zero_shot": "AA", "chat_form": "BB"})
    with pytest.raises(KormedError, match=f"{told}.*kormed evaluate --checkpoint sft RECIPE --force"):
        variant_rows([base, evaluated(tmp_path, "sft", sft, asked)])


def test_an_item_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    base = evaluated(tmp_path, "base", {"zero_shot": "AB"})
    rows = [answer("zero_shot", 0, "A")] * 2
    write_jsonl(base.folder / "variants.jsonl", rows)
    with pytest.raises(KormedError, match="question 0 of nurse stands there twice in form zero_shot"):
        variant_rows([base])
