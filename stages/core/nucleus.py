"""The next tokens of many rows at once: greedy, or from a tempered nucleus by one uniform number a row."""

import numpy as np
import torch
from torch import Tensor

from stages.core.recipe import Sampling

LIKELIEST = 1024  # tokens that are sorted for every row; a nucleus that needs more has its whole vocabulary sorted
SORTED_ROWS = 32  # whose whole vocabularies are sorted at once: half a gigabyte


def uniforms(seed: int, row: int, count: int) -> list[float]:
    """Numbers in [0, 1) for the steps of one row, the same whatever stands beside it."""
    drawn: list[float] = np.random.default_rng([seed, row]).random(count, dtype=np.float32).tolist()
    return drawn


def choose(logits: Tensor, drawn: Tensor, sampling: Sampling | None) -> Tensor:
    """One token a row: the likeliest (`sampling` None), or the one where the nucleus' cumulative mass passes `drawn`.

    The nucleus is transformers' (TopPLogitsWarper): after the temperature, the smallest set of likeliest tokens whose
    mass reaches top_p. A nucleus is rarely wider than a few hundred of Gemma's 256,000 tokens, and sorting them all is
    slow: so only the likeliest are sorted, and all of them for rows that need it.

    Args:
        logits: [rows, vocabulary], float32.
        drawn: [rows], in [0, 1).
    """
    if sampling is None:
        return logits.argmax(-1)
    scores = logits / sampling.temperature
    normaliser = scores.logsumexp(-1, keepdim=True)
    best, tokens = scores.topk(min(LIKELIEST, scores.shape[-1]))
    mass = (best - normaliser).exp().cumsum(-1)
    chosen = tokens.gather(-1, inverse(mass, drawn, sampling.top_p)).squeeze(-1)
    enough = mass[:, -1] > drawn if sampling.top_p == 1 else mass[:, -1] >= sampling.top_p
    if tokens.shape[-1] == scores.shape[-1]:
        return chosen
    for rows in torch.split((~enough).nonzero().squeeze(-1), SORTED_ROWS):
        best, tokens = scores[rows].sort(-1, descending=True)
        mass = (best - normaliser[rows]).exp().cumsum(-1)
        chosen[rows] = tokens.gather(-1, inverse(mass, drawn[rows], sampling.top_p)).squeeze(-1)
    return chosen


def inverse(mass: Tensor, drawn: Tensor, top_p: float) -> Tensor:
    """Where in rows of cumulative mass, likeliest first, the number drawn falls within the nucleus: [rows, 1]."""
    end = mass.shape[-1] - 1
    if top_p == 1:
        return torch.searchsorted(mass, drawn[:, None], right=True).clamp(max=end)
    last = (mass < top_p).sum(-1, keepdim=True).clamp(max=end)
    return torch.searchsorted(mass, drawn[:, None] * mass.gather(-1, last), right=True).minimum(last)
