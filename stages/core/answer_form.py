"""The form of SFT's and DPO's greedy answers to the same held-out consults: long, cut off, repeating, refusing, empty.

Form is not quality: a short answer can be right and a long one wrong. It shows what preference training does beside
what it was asked to, such as writing at greater length (arXiv 2403.19159).

- Length: Unicode code points of the answer without the blanks around it (a Hangul syllable is one).
- Cut off: the answer met the token limit before its end.
- Repeating: more than a fifth (`REPEATING`) of its 10-character shingles, blanks left out, stood in it before: the
  seq-rep-n of Welleck et al. (arXiv 1908.04319) over characters, as a Korean word with its endings hardly comes again.
  The bound is ours. Every one of the demo's 72 answers and of 1,200 unrepeating ones from
  tests/benchmarks/template_consults.py had a share of 0.00; 40 greedy answers of the pretrained Gemma 3 270M, which all
  run in circles, had 0.50 to 0.98; an answer that says each of its sentences twice comes near 0.5. (Gopher's filter of
  web pages, arXiv 2112.11446, A1.1, allows 0.10 of an English page's characters in repeated 10-word sequences. What
  keeps a candidate from the annotators, `pairing.REPEATING_SHARE`, is 0.5: it would rather show than hide.)
- Refusing: it declines to answer; see `refusals`.
- Empty: nothing but blanks.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.stats import quantile_test

from stages.core.pairing import repetition
from stages.core.preference_side import Quartiles, quartiles
from stages.core.records import HeldoutAnswer
from stages.core.refusals import is_refusal
from stages.core.statistics import Interval, PairedTest, Score, paired_tests

REPEATING = 0.2

Trait = Literal["cut_off", "repeating", "refusing", "empty"]
TRAITS: tuple[Trait, ...] = get_args(Trait)


@dataclass(frozen=True)
class TraitShare:
    """How many answers of each checkpoint have a trait; the test is from SFT to DPO, `gained` those that only DPO has.

    `dpo` and `test` are None where DPO did not answer.
    """

    trait: Trait
    sft: Score
    dpo: Score | None
    test: PairedTest | None


@dataclass(frozen=True)
class LengthChange:
    """What became of an answer's length from SFT to DPO, consult by consult, in characters.

    Attributes:
        median: of the differences.
        interval: 95 % interval of that median, by order statistics (scipy's `quantile_test`); None: too few answers.
        test: exact sign test; `gained`: consults whose answer became longer, `lost`: shorter.
    """

    median: float
    interval: Interval | None
    test: PairedTest


@dataclass(frozen=True)
class AnswerForm:
    """Of the consults that each checkpoint answered; Holm's family is `shares` and the length, five tests.

    Attributes:
        consults: answered by SFT, and by DPO where that is there.
        identical: consults to which both gave the same answer; None, like all of DPO's, where DPO did not answer.
        sft, dpo: lengths in characters.
    """

    consults: int
    identical: int | None
    sft: Quartiles
    dpo: Quartiles | None
    change: LengthChange | None
    shares: tuple[TraitShare, ...]


def measure(sft: Mapping[str, HeldoutAnswer], dpo: Mapping[str, HeldoutAnswer] | None) -> AnswerForm | None:
    """Answers by consult id; of consults that only one of both answered nothing is counted. None where none is left."""
    consults = [id for id in sft if dpo is None or id in dpo]
    if not consults:
        return None
    earlier = [sft[id] for id in consults]
    before = [traits(answer) for answer in earlier]
    lengths = [characters(answer.text) for answer in earlier]
    if dpo is None:
        shares = tuple(TraitShare(trait, _score(before, trait), None, None) for trait in TRAITS)
        return AnswerForm(len(consults), None, quartiles(lengths), None, None, shares)
    later = [dpo[id] for id in consults]
    after = [traits(answer) for answer in later]
    new_lengths = [characters(answer.text) for answer in later]
    differences = [new - old for old, new in zip(lengths, new_lengths, strict=True)]
    *tests, length_test = paired_tests(
        [
            *(_changed([trait in one for one in before], [trait in one for one in after]) for trait in TRAITS),
            (len(consults), sum(one > 0 for one in differences), sum(one < 0 for one in differences)),
        ]
    )
    return AnswerForm(
        consults=len(consults),
        identical=sum(old.text.strip() == new.text.strip() for old, new in zip(earlier, later, strict=True)),
        sft=quartiles(lengths),
        dpo=quartiles(new_lengths),
        change=LengthChange(float(np.median(differences)), _interval_of_median(differences), length_test),
        shares=tuple(
            TraitShare(trait, _score(before, trait), _score(after, trait), test)
            for trait, test in zip(TRAITS, tests, strict=True)
        ),
    )


def traits(answer: HeldoutAnswer) -> frozenset[Trait]:
    found: dict[Trait, bool] = {
        "cut_off": not answer.finished,
        "repeating": repetition(answer.text) > REPEATING,
        "refusing": is_refusal(answer.text),
        "empty": not answer.text.strip(),
    }
    return frozenset(trait for trait, has in found.items() if has)


def characters(text: str) -> int:
    return len(unicodedata.normalize("NFC", text.strip()))


def _score(answers: Sequence[frozenset[Trait]], trait: Trait) -> Score:
    return Score(sum(trait in answer for answer in answers), len(answers))


def _changed(before: Sequence[bool], after: Sequence[bool]) -> tuple[int, int, int]:
    """How many, and how many of them gained and lost it."""
    pairs = list(zip(before, after, strict=True))
    return len(pairs), pairs.count((False, True)), pairs.count((True, False))


def _interval_of_median(differences: Sequence[int]) -> Interval | None:
    found = quantile_test(differences, q=0, p=0.5).confidence_interval(confidence_level=0.95)
    low, high = float(found.low), float(found.high)
    return None if np.isnan(low) or np.isnan(high) else Interval(low, high)
