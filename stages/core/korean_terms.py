"""The fixed phrases that artifacts hold in English, such as reasons and steps, in Korean: `korean_terms.yaml`."""

import re
from functools import cache
from pathlib import Path

import yaml

TERMS = Path(__file__).with_name("korean_terms.yaml")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
FOLLOWS = ((": ", ""), ("/", ""), (" (", ")"))  # between which a phrase is followed by others


def term(english: str) -> str:
    """The phrase in Korean; as it stands where it is none of ours, such as a user's own name.

    Behind a colon, a stroke (`kormedmcqa/doctor`) or in brackets at the end, phrases may follow, joined by commas.
    """
    if known := _filled_in(english):
        return known
    for begin, end in FOLLOWS:
        phrase, found, told = english.removesuffix(end).partition(begin)
        if found and english.endswith(end) and (known := _filled_in(phrase)):
            return known + begin.lstrip() + ", ".join(map(term, told.split(", "))) + end
    return english


def _filled_in(english: str) -> str | None:
    """The phrase with its own numbers in the places of `#`; None where it is not known."""
    known = terms().get(NUMBER.sub("#", english))
    numbers = iter(NUMBER.findall(english))
    return known and re.sub("#", lambda _: next(numbers), known)


@cache
def terms() -> dict[str, str]:
    """English to Korean, `#` for each number, which come in the same order on both sides."""
    found: dict[str, str] = yaml.safe_load(TERMS.read_text(encoding="utf-8"))
    return found
