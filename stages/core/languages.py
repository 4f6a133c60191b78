"""The languages that a page speaks: whose sentences it takes, and the words of its templates.

Sentences that follow numbers are functions, the same ones in a module a language. What a template says itself is
written there in English, marked with `_("…")`, and looked up in `korean.yaml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from stages.core import agreement_wording, wording

KOREAN_WORDS = Path(__file__).with_name("korean.yaml")


@dataclass(frozen=True)
class Language:
    """`modules`: the sentences, by the name under which templates know them. `words`: English to this language."""

    code: Literal["en", "ko"]
    name: str  # as it calls itself
    modules: Mapping[str, Any]
    words: Mapping[str, str] = field(default_factory=dict)

    def translate(self, english: str) -> str:
        """The template's word in this language; as it stands where there is none, such as a user's own name."""
        return self.words.get(english, english)


ENGLISH = Language("en", "English", {"wording": wording, "said": agreement_wording})


@cache
def korean() -> Language:
    return Language("ko", "한국어", {"wording": wording, "said": agreement_wording}, read_words(KOREAN_WORDS))


def read_words(path: Path) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found
