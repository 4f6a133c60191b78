"""turns and engine: in what order each annotator sees the records, through the running server."""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest

from annotation.api import Api
from annotation.server import turns
from tests.annotation.server.examples import (
    RESPONSE_STATUS,
    by,
    is_in,
    make_dataset,
    make_workspace,
    put_records,
    record,
    record_id,
    respond,
    search,
    text,
    where,
)

TWO = ("doctor-kim", "simulated-1")
ORIGINALS = [f"original-{number:02}" for number in range(40)]
REPEATS = {f"repeat-{number:02}": ORIGINALS[number] for number in range(0, 40, 4)}
EVERY = {*ORIGINALS, *REPEATS}


@pytest.fixture(scope="module")
def workspace(persons: dict[str, Api]) -> str:
    return make_workspace(persons["owner"], "queues", TWO)


def records() -> list[dict[str, Any]]:
    originals = [{"external_id": name, "fields": {"text": f"질문 {name}"}} for name in ORIGINALS]
    repeats = [
        {"external_id": name, "fields": {"text": f"질문 {name}"}, "metadata": {"repeat_of": original}}
        for name, original in REPEATS.items()
    ]
    return originals + repeats


@pytest.fixture(scope="module")
def one_each(persons: dict[str, Api], workspace: str) -> str:
    dataset = make_dataset(persons["owner"], workspace, "one-each", each=1)
    put_records(persons["owner"], dataset, records())
    return dataset


@pytest.fixture(scope="module")
def both(persons: dict[str, Api], workspace: str) -> str:
    dataset = make_dataset(persons["owner"], workspace, "both", each=2)
    put_records(persons["owner"], dataset, records())
    return dataset


def queue(person: Api, dataset: str) -> list[str]:
    return search(person, dataset, page="limit=1000")


def own_parts(mine: list[str], others: list[str]) -> list[set[str]]:
    """What may be my part of two annotators' queues: it comes first for me and last for the other.

    More than one where what comes behind my part is by chance what ends theirs.
    """
    middle = range(len(mine) // 4, len(mine) * 3 // 4)
    return [set(mine[:length]) for length in middle if set(mine[:length]) == set(others[len(others) - length :])]


def test_two_annotators_with_one_response_a_record_begin_with_different_halves(
    doctor: Api, first: Api, one_each: str
) -> None:
    doctors, firsts = queue(doctor, one_each), queue(first, one_each)
    assert set(doctors) == set(firsts) == EVERY  # everybody can reach everything
    assert own_parts(doctors, firsts)


def test_a_repeat_goes_to_who_had_the_original_and_not_right_behind_it(doctor: Api, first: Api, one_each: str) -> None:
    doctors, firsts = queue(doctor, one_each), queue(first, one_each)
    parts = own_parts(doctors, firsts)
    assert any(all((repeat in own) == (original in own) for repeat, original in REPEATS.items()) for own in parts)
    for repeat, original in REPEATS.items():
        for order in (doctors, firsts):
            assert abs(order.index(repeat) - order.index(original)) > 1


def test_a_repeat_stands_half_a_queue_away_from_its_original() -> None:
    user = b"an annotator's id"
    for name in ORIGINALS:
        between = abs(turns.place(name, user, is_repeat=False) - turns.place(name, user, is_repeat=True))
        assert between == 1 << 63  # of 64 bits


def test_where_everybody_answers_everything_the_queues_are_only_mixed(doctor: Api, first: Api, both: str) -> None:
    doctors, firsts = queue(doctor, both), queue(first, both)
    assert set(doctors) == set(firsts) == EVERY
    assert len({tuple(doctors), tuple(firsts), tuple(sorted(EVERY))}) == 3
    assert len(set(doctors[:20]) & set(firsts[:20])) > 0


def test_an_owner_who_is_no_annotator_sees_a_mix_of_everything(owner: Api, one_each: str) -> None:
    assert set(queue(owner, one_each)) == EVERY
    assert queue(owner, one_each) != sorted(EVERY)


def test_pages_of_a_queue_do_not_overlap_and_are_the_same_the_next_time(doctor: Api, one_each: str) -> None:
    whole = queue(doctor, one_each)
    assert queue(doctor, one_each) == whole
    pages = [search(doctor, one_each, page=f"offset={offset}&limit=7") for offset in range(0, 63, 7)]
    assert [name for page in pages for name in page] == whole
    assert pages[-1] == []


def test_what_is_left_keeps_its_order_when_answered_records_drop_out(doctor: Api, owner: Api, workspace: str) -> None:
    dataset = make_dataset(owner, workspace, "shrinking", each=1)
    put_records(owner, dataset, records())
    waiting = where(is_in(RESPONSE_STATUS, "pending"), is_in(record("status"), "pending"))
    before = search(doctor, dataset, waiting, "limit=1000")
    for name in before[:3] + before[10:12]:
        respond(doctor, record_id(owner, dataset, name), {"label": "yes"})
    left = [name for name in before if name not in (*before[:3], *before[10:12])]
    assert search(doctor, dataset, waiting, "limit=1000") == left
    assert search(doctor, dataset, text("repeat") | waiting, "limit=1000") == [
        name for name in left if name.startswith("repeat")
    ]


def test_a_sort_that_somebody_chose_wins_over_turns(doctor: Api, one_each: str) -> None:
    assert search(doctor, one_each, by((record("external_id"), "asc")), "limit=1000") == sorted(EVERY)


def test_a_queue_is_the_same_in_another_process() -> None:
    """As after a restart: Python salts its own hashes anew each time."""
    program = "from annotation.server import turns; print(turns.are_mine([*'abcdefgh'], [b'x', b'y'], 0, 1)); "
    program += "print([turns.place(key, b'x', is_repeat=False) for key in 'abcdefgh'])"
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


PEOPLE = [f"person {number}".encode() for number in range(6)]
KEYS = [f"comparison-{number}" for number in range(3000)]


def turns_of(people: Sequence[bytes], wanted: int) -> list[frozenset[bytes]]:
    """Of each key, who has their turn."""
    mine = [turns.are_mine(KEYS, people, me, wanted) for me in range(len(people))]
    return [
        frozenset(person for person, own in zip(people, row, strict=True) if own) for row in zip(*mine, strict=True)
    ]


def test_every_record_is_the_turn_of_as_many_people_as_wanted_and_every_pair_shares_some() -> None:
    """Agreement between two people needs records that both have."""
    drawn = turns_of(PEOPLE, 2)
    assert {len(people) for people in drawn} == {2}
    pairs = Counter(drawn)
    assert set(pairs) == {frozenset(pair) for pair in combinations(PEOPLE, 2)}
    assert max(pairs.values()) < 1.5 * min(pairs.values())
    work = Counter(person for people in drawn for person in people)
    assert max(work.values()) < 1.2 * min(work.values())


def test_who_joins_later_takes_turns_over_but_moves_none_between_the_others() -> None:
    for before, after in zip(turns_of(PEOPLE[:5], 2), turns_of(PEOPLE, 2), strict=True):
        assert after == before or (PEOPLE[5] in after and len(after & before) == 1)


@pytest.mark.parametrize(("count", "wanted"), [(1, 2), (2, 2), (3, 3), (6, 9)])
def test_no_more_people_than_wanted_all_have_their_turn(count: int, wanted: int) -> None:
    assert set(turns_of(PEOPLE[:count], wanted)) == {frozenset(PEOPLE[:count])}
