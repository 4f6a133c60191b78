"""splitting: what is alike stays together, and a question that several doctors answered is asked once."""

import random
from itertools import chain

import pytest

from stages.core.errors import KormedError
from stages.core.records import Consult
from stages.core.splitting import split


def consult(id: str, raw_id: str | None = None) -> Consult:
    return Consult(id=id, question=f"물음 {id}", patient_information="", answer="답", source="consult", raw_id=raw_id)


def parts_of(
    consults: list[Consult], similar: list[set[str]] | None = None, *, reuse: bool = False, seed: int = 1
) -> tuple[dict[str, list[str]], list[str]]:
    parts, dropped = split(consults, similar or [], heldout=0.3, preference=0.5, reuse=reuse, seed=seed)
    return {part: [row.id for row in rows] for part, rows in parts.items()}, [row.id for row in dropped]


TWENTY = [consult(f"c{at:02}") for at in range(20)]


def test_the_parts_hold_every_consult_once() -> None:
    parts, dropped = parts_of(TWENTY)
    assert [len(parts[part]) for part in ("heldout", "preference", "sft")] == [6, 7, 7]
    assert sorted(chain.from_iterable(parts.values())) == [row.id for row in TWENTY]
    assert dropped == []


@pytest.mark.parametrize("seed", range(10))
def test_similar_consults_are_never_on_two_sides(seed: int) -> None:
    similar = [{"c01", "c02"}, {"c02", "c03"}, {"c10", "c11", "c12"}]  # c01 to c03 hang together through c02
    parts, _ = parts_of(TWENTY, similar, seed=seed)
    for together in ({"c01", "c02", "c03"}, {"c10", "c11", "c12"}):
        assert sum(bool(together & set(rows)) for rows in parts.values()) == 1


@pytest.mark.parametrize("seed", range(10))
def test_answers_of_several_doctors_stay_on_one_side_and_the_question_is_asked_once(seed: int) -> None:
    consults = [consult(f"q{at}/{answer}", f"q{at}") for at in range(8) for answer in range(3)]
    parts, dropped = parts_of(consults, seed=seed)
    asked = {part: {id.partition("/")[0] for id in rows} for part, rows in parts.items()}
    assert not asked["heldout"] & (asked["preference"] | asked["sft"])
    assert not asked["preference"] & asked["sft"]
    assert len(parts["heldout"]) == len(asked["heldout"])
    assert len(parts["preference"]) == len(asked["preference"])
    assert len(parts["sft"]) == 3 * len(asked["sft"])
    assert sorted([*chain.from_iterable(parts.values()), *dropped]) == sorted(row.id for row in consults)


def test_with_reuse_sft_trains_on_every_answer_to_a_preference_prompt() -> None:
    consults = [consult(f"q{at}/{answer}", f"q{at}") for at in range(8) for answer in range(3)]
    parts, dropped = parts_of(consults, reuse=True)
    assert set(parts["preference"]) < set(parts["sft"])
    assert not set(dropped) & set(parts["sft"])
    assert sorted([*parts["sft"], *parts["heldout"], *dropped]) == sorted(row.id for row in consults)


def test_the_order_of_the_file_changes_nothing() -> None:
    shuffled = random.Random(3).sample(TWENTY, k=len(TWENTY))
    similar = [{"c01", "c02"}, {"c04", "c09"}]
    assert parts_of(shuffled, similar[::-1]) == parts_of(TWENTY, similar)


def test_consults_that_are_all_alike_cannot_be_split() -> None:
    with pytest.raises(KormedError, match="at least 2"):
        parts_of(TWENTY[:3], [{"c00", "c01", "c02"}])


def test_a_large_group_of_similar_consults_still_leaves_something_to_train_on() -> None:
    parts, _ = parts_of(TWENTY, [{row.id for row in TWENTY[:19]}])
    assert parts["heldout"]
    assert parts["preference"]
