"""How likely a model finds each of the five letters as the next token after a question's own prompt."""

import logging
from collections.abc import Sequence
from typing import Any

from stages.core.records import LETTERS

log = logging.getLogger("kormed")


def letter_tokens(tokenizer: Any, prefix: str) -> tuple[int, ...] | None:
    """The token of each letter with `prefix` before it; None where a letter is no single token of its own."""
    found = [tokenizer.encode(prefix + letter, add_special_tokens=False) for letter in LETTERS]
    if any(len(tokens) != 1 for tokens in found) or len({token for (token, *_) in found}) < len(LETTERS):
        return None
    return tuple(token for (token,) in found)


def letter_log_probabilities(model: Any, contexts: Sequence[str], prefix: str) -> list[tuple[float, ...]] | list[None]:
    """Natural log-probabilities of A to E for each context, through the lm-eval model that answered it.

    lm-eval's own `loglikelihood` would move the newline that ends Gemma's chat template into the letter, so that each
    became two tokens and five forwards were run where one says it all; the letters' ratios are the same in both.
    """
    tokens = letter_tokens(model.tokenizer, prefix)
    if tokens is None:
        log.info("evaluate: the letters A to E are not single tokens of this tokenizer, so none gets a log-probability")
        return [None] * len(contexts)
    requests = [
        ((context, prefix + letter), ids, [token])
        for context in contexts
        for ids in [model.tok_encode(context)]
        for letter, token in zip(LETTERS, tokens, strict=True)
    ]
    scores = [score for score, _ in model._loglikelihood_tokens(requests, disable_tqdm=True)]
    width = len(LETTERS)
    return [tuple(scores[start : start + width]) for start in range(0, len(scores), width)]
