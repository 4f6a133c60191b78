"""tokens: counted by the base's own tokenizer; where that is out of reach, the reason is said."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from stages.core.tokens import NoTokenizer, counter


def test_tokens_are_counted_as_the_base_counts_them_without_special_tokens(tiny_base: Path) -> None:
    texts = ["두통이 있어요.", "", "정답: A\n다음 중 옳은 것은?"]
    tokenizer = Tokenizer.from_file(str(tiny_base / "tokenizer.json"))
    counts = counter(str(tiny_base), None)(texts)
    assert counts == [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]
    assert counts[1] == 0
    assert counts[2] > counts[0] > 0


def test_a_long_text_is_counted_whole(tiny_base: Path) -> None:
    count = counter(str(tiny_base), None)
    assert count(["두통 " * 5000])[0] >= 5000


@pytest.mark.parametrize("base", ["nowhere", "./nowhere", "google/gemma-2-2b-it"])
def test_a_tokenizer_out_of_reach_is_named(base: str) -> None:
    with pytest.raises(NoTokenizer, match=base.lstrip("./")):
        counter(base, None)
