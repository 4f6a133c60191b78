"""Length balance: a warning where pairs lean towards length by more than chance and by enough to matter."""

import pytest

from stages.core import chat
from stages.core.preference_lengths import Lengths, lengths
from stages.core.records import Preference


def preference(chosen: str, rejected: str) -> Preference:
    return Preference(
        id="c1",
        consult_id="consult-1",
        prompt=chat.consult_prompt("물음", "환자"),
        chosen=chat.reply(chosen),
        rejected=chat.reply(rejected),
        votes={"a": 1},
        agreement=1,
    )


def test_pairs_are_counted_by_which_answer_is_longer() -> None:
    rows = [
        preference("길고 긴 답", "답"),
        preference("답", "길고 긴 답"),
        preference("더 긴 답", "답"),
        preference("답", "예"),
    ]
    assert lengths(rows) == Lengths(chosen_longer=2, rejected_longer=1, equal=1)


def test_blanks_around_an_answer_make_it_no_longer() -> None:
    assert lengths([preference("답\n\n  ", "답")]) == Lengths(0, 0, 1)


def test_the_warning_gives_the_numbers_and_what_to_do() -> None:
    warning = Lengths(chosen_longer=45, rejected_longer=15, equal=7).warning
    assert warning is not None
    assert "the longer one in 45 of 60 pairs that differ in length (75 %, exact binomial p < 0.001)" in warning
    assert "dpo.beta" in warning


def test_a_lean_towards_short_answers_is_a_lean_as_well() -> None:
    warning = Lengths(chosen_longer=15, rejected_longer=45, equal=0).warning
    assert warning is not None
    assert "the shorter one in 45 of 60 pairs" in warning


@pytest.mark.parametrize(
    ("longer", "shorter", "why"),
    [
        (4, 1, "few pairs: p is 0.375"),
        (5, 0, "not even a clean sweep of five is below 0.05"),
        (1560, 1440, "p is below 0.05, the share is 52 %"),
        (0, 0, "all are as long as each other"),
        (30, 30, "as many one way as the other"),
    ],
)
def test_chance_and_trifles_are_not_warned_of(longer: int, shorter: int, why: str) -> None:
    assert Lengths(longer, shorter, equal=3).warning is None, why


def test_without_pairs_that_differ_there_is_no_p() -> None:
    assert Lengths(0, 0, 9).p is None
    assert Lengths(8, 0, 9).p == pytest.approx(2 / 2**8)
