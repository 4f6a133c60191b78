import numpy as np
import pytest
import torch

from stages.core import nucleus
from stages.core.nucleus import choose, uniforms
from stages.core.recipe import Sampling


def by_hand(logits: np.ndarray, drawn: float, temperature: float, top_p: float) -> int:
    """The definition: softmax, likeliest first, the smallest set of mass top_p, and where `drawn` of its mass falls."""
    chances = np.exp(logits / temperature - (logits / temperature).max())
    chances /= chances.sum()
    order = np.argsort(-chances)
    mass = np.cumsum(chances[order])
    kept = int(np.argmax(mass >= top_p)) if top_p < 1 else len(mass) - 1
    return int(order[min(np.searchsorted(mass, drawn * mass[kept] if top_p < 1 else drawn, side="right"), kept)])


@pytest.mark.parametrize("likeliest", [4, 1024])
@pytest.mark.parametrize(("temperature", "top_p"), [(0.9, 0.95), (1.7, 0.5), (0.3, 0.1), (1.0, 1.0)])
def test_tokens_come_from_the_inverse_of_the_nucleus(
    temperature: float, top_p: float, likeliest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nucleus, "LIKELIEST", likeliest)  # 4: most rows need more, and are sorted whole
    rng = np.random.default_rng(3)
    logits, drawn = rng.normal(0, 2, (300, 60)), rng.random(300)
    chosen = choose(
        torch.tensor(logits, dtype=torch.float32),
        torch.tensor(drawn, dtype=torch.float32),
        Sampling(temperature=temperature, top_p=top_p),
    )
    assert chosen.tolist() == [by_hand(row, u, temperature, top_p) for row, u in zip(logits, drawn, strict=True)]


def test_tokens_are_as_frequent_as_their_chances_within_the_nucleus() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    drawn = torch.tensor(uniforms(seed=1, row=0, count=20_000))
    counts = choose(logits.expand(20_000, 4), drawn, Sampling(temperature=1.0, top_p=0.9)).bincount(minlength=4)
    expected = 20_000 * np.array([0.5, 0.3, 0.15]) / 0.95
    assert counts[3] == 0
    chi_square = float(((counts[:3].numpy() - expected) ** 2 / expected).sum())
    assert chi_square < 13.8  # p = 0.001 with 2 degrees of freedom


def test_the_likeliest_token_is_always_kept() -> None:
    logits = torch.tensor([[1.0, 5.0, 2.0]])
    assert choose(logits, torch.tensor([0.999]), Sampling(temperature=1.0, top_p=0.01)).tolist() == [1]


def test_every_row_and_seed_has_its_own_numbers() -> None:
    assert uniforms(1, 2, 5) == uniforms(1, 2, 9)[:5]
    assert len({tuple(uniforms(seed, row, 3)) for seed in range(4) for row in range(4)}) == 16
