"""The templates give consults as prepare wants them, of every quality, and no two that are nearly the same."""

import random
from itertools import islice
from pathlib import Path

import pytest

from annotation.rule import ADVICE, score
from stages.core.consults import mask, read_consults
from stages.core.decontamination import Item, clusters
from stages.core.quality import clean
from stages.core.recipe import Quality, load_recipe
from stages.core.records import Candidate, write_rows
from tests.benchmarks.template_consults import SHARES, TOPICS, answer, consults
from tests.benchmarks.template_consults import Quality as Kind

ROOT = Path(__file__).parents[2]


def rule_score(text: str) -> float:
    return score(
        Candidate(
            id="c",
            consult_id="c",
            text=text,
            checkpoint="sft",
            temperature=0,
            top_p=1,
            seed=0,
            tokens=None,
            finished=True,
        )
    )


def mean_score(kind: Kind) -> float:
    rng = random.Random(0)
    scores = [rule_score(answer(topic, kind, rng)) for topic in TOPICS for _ in range(5)]
    return sum(scores) / len(scores)


def test_every_template_consult_passes_prepare_and_is_like_no_other(tmp_path: Path) -> None:
    write_rows(tmp_path / "consults.jsonl", consults(1_700, 42))
    read = read_consults(tmp_path / "consults.jsonl")
    assert [consult for consult in read if mask(consult)[1]] == []  # nothing in them looks like a person's
    cleaned = [clean(consult, Quality()) for consult in read]
    assert [one.consult for one in cleaned] == read
    near = load_recipe(ROOT / "recipes" / "gemma-3-270m.yaml").prepare.near
    groups = clusters([Item.of_consult(consult) for consult in read], threshold=near)
    assert len(groups) == len(read) == 1_700


def test_the_same_seed_gives_the_same_consults_and_more_of_them_begin_with_the_fewer() -> None:
    first = list(consults(20, 7))
    assert list(islice(consults(50, 7), 20)) == first
    assert list(consults(20, 8)) != first


def test_more_consults_than_the_templates_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="were wanted"):
        list(consults(100_000, 42))


def test_the_annotators_rule_tells_the_kinds_of_answers_apart() -> None:
    scores = {kind: mean_score(kind) for kind in SHARES}
    margin = load_recipe(ROOT / "recipes" / "gemma-3-270m.yaml").annotation.simulation.tie_margin
    assert scores["thorough"] - scores["without_advice"] > margin
    assert scores["without_advice"] - max(scores["brief"], scores["repeating"]) > margin


@pytest.mark.parametrize("kind", SHARES)
def test_only_thorough_answers_say_when_to_see_a_doctor(kind: Kind) -> None:
    rng = random.Random(1)
    advising = {ADVICE.search(answer(topic, kind, rng)) is not None for topic in TOPICS for _ in range(8)}
    assert advising == {kind == "thorough"}
