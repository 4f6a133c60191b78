"""What the search box means: a line as somebody typed it against the texts of one record.

Of Elasticsearch's simple query strings it knows what a person types: every word must be there, "a phrase", -without,
this | that, +word and word*. Three things differ from the stock engine, each for Korean's sake or the annotator's:

- A term is found as part of a word too, because particles stick to their noun (기침 in 기침을, 침 in 기침).
- Brackets and ~ are letters: people paste from the record that they look at, and 혈압(수축기) is no expression.
- Records hold text as HTML, since the page sets it as such. What is compared is what the page shows: "<" finds "&lt;".

Only the standard library: called by SQLite for each record, and by tests from kormed's own environment.
"""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

TOKEN = re.compile(r'(?P<sign>[-+]?)(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s|"]+))|(?P<bar>\|)')
SYLLABLES = re.compile("[가-힣]+")

# What else a Hangul syllable can come from than its own \uXXXX: its letters (U+11xx), or &#54620; in HTML.
OTHER_SPELLINGS = ("&", "\\u11")

# A pasted consult has some 200 words. Without an end one request could keep the server busy for minutes.
MOST_TERMS = 500
MOST_CHARACTERS = 5000


@dataclass(frozen=True)
class Term:
    """`read` is what a text goes through to be compared: no more than this term needs, it takes most of the time."""

    text: str
    wanted: bool  # False: must not be there
    stored: str | None  # its longest run of syllables as JSON spells it in the table; None where it has none
    read: Callable[[str], str]


@dataclass(frozen=True)
class Query:
    """Chats are lists of messages whose role is no text; of other fields every text and number counts, not the keys.

    Where the query is for all fields of a record and they hold nothing but text it `is_whole`.
    """

    chats: frozenset[str]
    others: frozenset[str]
    is_whole: bool
    alternatives: tuple[tuple[Term, ...], ...]  # one must hold, and it does when each of its terms does


def terms(line: str) -> list[list[tuple[str, bool]]]:
    """(text, wanted) of each term, in alternatives. None at all where the line is blank or only signs.

    Raises:
        ValueError: more than can be answered in reasonable time.
    """
    if len(line) > MOST_CHARACTERS:
        raise ValueError(f"a search takes up to {MOST_CHARACTERS:,} characters, these are {len(line):,}")
    alternatives: list[list[tuple[str, bool]]] = [[]]
    for token in TOKEN.finditer(line):
        if token["bar"]:
            alternatives.append([])
            continue
        text = token["phrase"] if token["word"] is None else token["word"].rstrip("*")
        if (text := _spaced(_composed(text))).strip("-+"):
            alternatives[-1].append((text, token["sign"] != "-"))
    if (count := sum(map(len, alternatives))) > MOST_TERMS:
        raise ValueError(f"a search takes up to {MOST_TERMS} words, these are {count:,}")
    return [alternative for alternative in alternatives if alternative]


def matches(fields: str, query: str) -> bool:
    """Whether a record fits. fields: the table's JSON; query: Query as JSON, alternatives as of terms()."""
    parsed = _parsed(query)
    texts: dict[Callable[[str], str], list[str]] = {}

    def holds(term: Term) -> bool:
        if term.stored and not any(other in fields for other in OTHER_SPELLINGS):
            # Decides most records without decoding them, which is most of the time.
            if term.stored not in fields:
                return False
            if (
                parsed.is_whole and term.read is str and f"\\{term.stored}" not in fields
            ):  # a backslash makes it \\uXXXX
                return True
        if not texts:
            texts[str] = list(_texts(fields, parsed))
        if term.read not in texts:
            texts[term.read] = [term.read(text) for text in texts[str]]
        return any(term.text in text for text in texts[term.read])

    return any(all(holds(term) == term.wanted for term in every) for every in parsed.alternatives)


@lru_cache(maxsize=16)
def _parsed(query: str) -> Query:
    wanted = json.loads(query)
    alternatives = tuple(tuple(_term(*term) for term in every) for every in wanted["alternatives"])
    return Query(frozenset(wanted["chats"]), frozenset(wanted["others"]), wanted["is_whole"], alternatives)


def _term(text: str, wanted: bool) -> Term:
    longest = max(SYLLABLES.findall(text), key=len, default="")
    stored = json.dumps(longest)[1:-1] if longest else None
    read = str if text == longest else _spaced if " " in text else str.casefold
    return Term(text, wanted, stored, read)


def _texts(fields: str, query: Query) -> Iterator[str]:
    """As the page shows them, syllables composed: a Mac's keyboard and file names spell them by their letters."""
    for name, value in json.loads(fields).items():
        if name in query.chats:
            found = [message["content"] for message in value or ()]
        elif name in query.others:
            found = list(_leaves(value))
        else:
            continue
        yield from (_composed(html.unescape(text)) for text in found)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _spaced(text: str) -> str:
    return " ".join(text.casefold().split())  # a line's end in a phrase is a space
