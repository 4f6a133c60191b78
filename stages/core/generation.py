"""Answers from a model: side by side in slots, yielded as they end so that a stopped run can go on."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase as Tokenizer

from stages.core.errors import KormedError
from stages.core.recipe import Sampling
from stages.core.records import Message
from stages.core.slots import Row, decode

log = logging.getLogger("kormed")

SECONDS = 5.0  # between two lines of progress


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
    """Answer every prompt whose index is not in `done`, as answers end. `sampling` None is greedy.

    An answer depends on its prompt, its index and `seed` alone, up to rounding: not on `batch_size` (the most rows side
    by side; fewer where there are fewer prompts or less memory), nor on what is `done`. So a run that was stopped and
    goes on gives the same answers as one that was not.

    Raises:
        KormedError: it does not fit into the GPU's memory.
    """
    end: list[int] = list(model.generation_config.eos_token_id)
    rows = [
        Row(index, tuple(prompt_ids(tokenizer, prompt)), max_new_tokens)
        for index, prompt in enumerate(prompts)
        if index not in done
    ]
    progress = Progress(len(rows))
    try:
        for ended in decode(model, rows, slots=batch_size, end=end, sampling=sampling, seed=seed):
            progress.count(len(ended), sum(len(tokens) for _, tokens in ended))
            yield [finish(tokenizer, row.index, tokens, end) for row, tokens in ended]
    except torch.OutOfMemoryError:
        raise KormedError(
            f"generation: out of GPU memory with batch_size {batch_size} and up to {max_new_tokens} new tokens; lower "
            f"the stage's batch_size (candidates.batch_size, evaluate.batch_size), or free the GPU"
        ) from None


class Progress:
    """Answers and tokens so far, told every few seconds."""

    def __init__(self, rows: int) -> None:
        self.rows, self.ended, self.tokens = rows, 0, 0
        self.started = self.told = time.monotonic()

    def count(self, ended: int, tokens: int) -> None:
        self.ended, self.tokens = self.ended + ended, self.tokens + tokens
        now = time.monotonic()
        if now - self.told < SECONDS and self.ended < self.rows:
            return
        took, self.told = max(now - self.started, 1e-3), now
        left = took * (self.rows - self.ended) / self.ended
        log.info(
            "generation: %d of %d answers, %.0f tokens/s, %.0f s left", self.ended, self.rows, self.tokens / took, left
        )


def finish(tokenizer: Tokenizer, index: int, row: list[int], end: Sequence[int]) -> Generated:
    """Cut a generated row at its first end token; a row without one was cut off by the token limit."""
    stops = [at for at, token in enumerate(row) if token in end]
    kept = row[: stops[0]] if stops else row
    text = tokenizer.decode(kept, skip_special_tokens=True)
    return Generated(index, str(text).strip(), len(kept), finished=bool(stops))
