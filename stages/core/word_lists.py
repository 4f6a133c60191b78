"""The word lists under words/, read once."""

import re
from collections.abc import Collection
from functools import cache
from pathlib import Path

WORDS = Path(__file__).parent / "words"


@cache
def load_words(name: str) -> frozenset[str]:
    """A list of words/: one a line, `#` begins a comment line."""
    lines = (WORDS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def load_drugs() -> frozenset[str]:
    """Drug ingredients and brands in Hangul and in Latin letters, as they are usually spelled."""
    return load_words("drugs")


def alternation(words: Collection[str]) -> str:
    """A pattern for any of the words, the longest first. A space in a word is optional."""
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return "|".join(re.escape(word).replace(r"\ ", r"\s?") for word in longest_first)


def is_made_of(word: str, words: frozenset[str]) -> bool:
    """Whether the whole word can be cut into these words: 척추|관절. Not into two of one syllable in a row: 시|원."""
    after_long, after_short = [True] + [False] * len(word), [False] * (len(word) + 1)
    for end in range(1, len(word) + 1):
        after_long[end] = any(
            (after_long[start] or after_short[start]) and word[start:end] in words
            for start in range(max(0, end - 8), end - 1)
        )
        after_short[end] = after_long[end - 1] and word[end - 1] in words
    return after_long[-1] or after_short[-1]


def is_known_word(word: str) -> bool:
    """Whether it looks like a name and is none: an everyday word, a drug, a role, a word like a district."""
    return word in load_words("not_names") or word in load_drugs() or word in _other_words()


@cache
def _other_words() -> frozenset[str]:
    roles = load_words("titles") | load_words("roles") | load_words("labels") | load_words("kin")
    return load_words("not_districts") | {role.replace(" ", "") for role in roles if len(role) > 1}
