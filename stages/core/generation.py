"""Answers from a model: batched by length, seeded by batch, yielded as they come so that a stopped run can go on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig
from transformers import PreTrainedTokenizerBase as Tokenizer

from stages.core.recipe import Sampling
from stages.core.records import Message


@dataclass(frozen=True)
class Generated:
    """One answer: its prompt's index, the text without special tokens, its length, and whether it came to an end."""

    index: int
    text: str
    tokens: int
    finished: bool


def prompt_ids(tokenizer: Tokenizer, prompt: Sequence[Message]) -> list[int]:
    """Token ids of a prompt up to the model's turn, with exactly one BOS (lm-eval#2049, unsloth#10312)."""
    ids: Any = tokenizer.apply_chat_template(
        [message.model_dump() for message in prompt], add_generation_prompt=True, return_dict=True
    )
    found: list[int] = list(ids["input_ids"])
    bos = tokenizer.bos_token_id
    if found[0] != bos or found.count(bos) != 1:
        raise AssertionError(f"a prompt has {found.count(bos)} BOS tokens, one was wanted")
    return found


def batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices in batches of like length, longest first, so that memory runs out at once or never."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def generate(
    model: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[Message]],
    *,
    max_new_tokens: int,
    sampling: Sampling | None,
    batch_size: int,
    seed: int,
    done: frozenset[int] = frozenset(),
) -> Iterator[list[Generated]]:
    """Answer every prompt whose index is not in `done`, a batch at a time. `sampling` None is greedy.

    The batches are cut over all prompts and each has its own seed, so that a run that was stopped and goes on gives
    the same answers as one that was not.
    """
    ids = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    end: list[int] = list(model.generation_config.eos_token_id)
    settings: dict[str, Any] = {"do_sample": False}
    if sampling is not None:
        # top_k 0: the recipe's temperature and top_p alone, not what the base's generation_config adds
        settings = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    config = GenerationConfig(
        max_new_tokens=max_new_tokens, eos_token_id=end, pad_token_id=tokenizer.pad_token_id, **settings
    )
    for number, batch in enumerate(batches([len(i) for i in ids], batch_size)):
        if done.issuperset(batch):
            continue
        torch.manual_seed(seed + number)
        padded = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, padding_side="left", return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(**padded.to(model.device), generation_config=config)
        width = padded["input_ids"].shape[1]
        yield [
            finish(tokenizer, index, row, end)
            for index, row in zip(batch, output[:, width:].tolist(), strict=True)
            if index not in done
        ]


def finish(tokenizer: Tokenizer, index: int, row: list[int], end: Sequence[int]) -> Generated:
    """Cut a generated row at its first end token; a row without one was cut off by the token limit."""
    stops = [at for at, token in enumerate(row) if token in end]
    kept = row[: stops[0]] if stops else row
    text = tokenizer.decode(kept, skip_special_tokens=True)
    return Generated(index, str(text).strip(), len(kept), finished=bool(stops))
