"""The languages that a page speaks: whose sentences it takes, and the words of its templates.

Sentences that follow numbers are functions, the same ones in a module a language. What a template says itself is
written there in English, marked with `_("…")`, and looked up in `korean.yaml`. What an artifact holds in English is
looked up in `korean_terms.yaml`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from stages.core import (
    agreement_wording,
    agreement_wording_ko,
    cost_wording,
    cost_wording_ko,
    korean_terms,
    plots,
    preference_wording,
    preference_wording_ko,
    wording,
    wording_ko,
)

KOREAN_WORDS = Path(__file__).with_name("korean.yaml")
PICTURES = plots.Words(
    step="스텝",
    curve="{label}, 스텝 {start}~{end}: 처음 {first}, 마지막 {last}",
    beside="{label}: 처음 {first}, 마지막 {last}",
    histogram="{label}: {rows}행, 가장 높은 막대는 {low} 이상 {high} 미만({unit})의 {most}행",
)


@dataclass(frozen=True)
class Language:
    """`modules`: the sentences, by the name under which templates know them. `words`: English to this language.
    `term`: puts a fixed phrase out of an artifact, such as a reason, into it. `pictures`: what pictures say themselves.
    """

    code: Literal["en", "ko"]
    name: str  # as it calls itself
    modules: Mapping[str, Any]
    words: Mapping[str, str] = field(default_factory=dict)
    term: Callable[[str], str] = str
    pictures: plots.Words = plots.ENGLISH

    def translate(self, english: str) -> str:
        """What a template says itself, in this language."""
        return self.words.get(english, english)


ENGLISH = Language(
    "en",
    "English",
    {"wording": wording, "said": agreement_wording, "preference": preference_wording, "costs_said": cost_wording},
)


@cache
def korean() -> Language:
    return Language(
        "ko",
        "한국어",
        {
            "wording": wording_ko,
            "said": agreement_wording_ko,
            "preference": preference_wording_ko,
            "costs_said": cost_wording_ko,
        },
        read_words(KOREAN_WORDS),
        korean_terms.term,
        PICTURES,
    )


def read_words(path: Path) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found
