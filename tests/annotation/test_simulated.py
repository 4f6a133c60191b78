"""simulated: they answer by the stated rule, as themselves, and never for a person."""

from collections import Counter
from pathlib import Path

import argilla
import pytest

from annotation.connection import api_keys
from annotation.progress import progress
from annotation.pull import pull
from annotation.push import push
from annotation.rule import judge, score, vote
from annotation.simulated import simulate
from stages.core.errors import KormedError
from stages.core.recipe import Annotation, Simulation
from stages.core.records import Comparison, Response, read_jsonl
from tests.annotation.examples import GOOD, OTHER, REPEATING, WORKSPACE, comparison, comparisons, round_of


def run(client: argilla.Argilla, some: list[Comparison], config: Annotation) -> dict[str, int]:
    round = round_of(some, config)
    keys = api_keys(client, WORKSPACE, config.annotators)
    return simulate(client.api_url, keys, round, config, config.seed).submitted


def test_a_repeating_answer_loses_and_two_bad_ones_are_both_bad() -> None:
    good_against_bad = comparison(1, a=GOOD, b=REPEATING)
    assert judge(good_against_bad.a, good_against_bad.b, 0.05) == "a"
    assert judge(good_against_bad.b, good_against_bad.a, 0.05) == "b"
    bad = comparison(1, a="aaaa bbbb " * 100, b="").model_copy()
    assert judge(bad.b, bad.b, 0.05) == "both_bad"


def test_equally_good_answers_are_a_tie_and_the_margin_is_the_recipes() -> None:
    near = comparison(1, a=GOOD, b=OTHER)
    gap = abs(score(near.a) - score(near.b))
    assert judge(near.a, near.b, tie_margin=gap + 0.001) == "tie"
    assert judge(near.a, near.a, tie_margin=0) == "tie"


def test_cut_off_latin_and_very_short_answers_score_lower() -> None:
    whole = comparison(1, a=GOOD).a
    assert score(whole.model_copy(update={"finished": False})) < score(whole)
    assert score(
        whole.model_copy(update={"text": "Please see a doctor if the pain does not go away soon, thank you."})
    ) < score(whole)
    assert score(whole.model_copy(update={"text": "네."})) < score(whole)
    assert score(whole.model_copy(update={"text": "  "})) == 0


def test_disagreement_is_drawn_by_seed_annotator_and_comparison() -> None:
    some = [comparison(number) for number in range(400)]
    simulation = Simulation(disagreement=0.2)
    votes = [vote(one, "simulated-1", simulation, seed=1) for one in some]
    assert votes == [vote(one, "simulated-1", simulation, seed=1) for one in some]
    assert votes != [vote(one, "simulated-2", simulation, seed=1) for one in some]
    assert 0.10 < 1 - Counter(votes)["a"] / len(votes) < 0.20  # a fifth draws, a quarter of those draws `a` again
    assert {vote(one, "simulated-1", Simulation(disagreement=0), seed=1) for one in some} == {"a"}


def test_what_they_submit_is_what_pull_brings(client: argilla.Argilla, simulation: Annotation, tmp_path: Path) -> None:
    some, file = comparisons(400, 12), tmp_path / "responses.jsonl"
    push(client, round_of(some, simulation))
    assert run(client, some, simulation) == {"simulated-1": 12, "simulated-2": 12}
    pulled = pull(client, round_of(some, simulation, file))
    assert (pulled.submitted, pulled.draft, pulled.discarded) == (24, 0, 0)
    known = {one.id: one for one in some}
    for response in read_jsonl(file, Response):
        expected = vote(known[response.comparison_id], response.annotator, simulation.simulation, simulation.seed)
        assert (response.value, response.status, response.comment) == (expected, "submitted", "simulated")
    assert progress(client, round_of(some, simulation)).completed == 12


def test_running_it_again_answers_nothing_again(client: argilla.Argilla, simulation: Annotation) -> None:
    some = comparisons(420, 3)
    push(client, round_of(some, simulation))
    run(client, some, simulation)
    assert run(client, some, simulation) == {"simulated-1": 0, "simulated-2": 0}


def test_they_take_turns_where_one_response_is_enough(client: argilla.Argilla, simulation: Annotation) -> None:
    some = comparisons(430, 6)
    once = simulation.model_copy(update={"responses_per_comparison": 1})
    push(client, round_of(some, once))
    assert run(client, some, once) == {"simulated-1": 3, "simulated-2": 3}
    assert progress(client, round_of(some, once)).completed == 6


def test_a_person_beside_simulated_annotators_is_not_answered_for(client: argilla.Argilla, config: Annotation) -> None:
    some = comparisons(440, 1)
    push(client, round_of(some, config))
    assert run(client, some, config) == {"simulated-1": 1, "simulated-2": 1}
    shares = {share.annotator: share.submitted for share in progress(client, round_of(some, config)).shares}
    assert shares["doctor-kim"] == 0


def test_without_a_simulated_annotator_nothing_is_simulated(client: argilla.Argilla, config: Annotation) -> None:
    people = config.model_copy(update={"annotators": ("doctor-kim",), "responses_per_comparison": 1})
    with pytest.raises(KormedError, match="doctor-kim: nothing is ever answered in a person's name"):
        run(client, comparisons(440, 1), people)


def test_a_server_without_these_users_is_a_clear_error(client: argilla.Argilla) -> None:
    with pytest.raises(KormedError, match="simulated-unknown"):
        api_keys(client, WORKSPACE, ("simulated-unknown",))


def test_comparisons_that_were_not_pushed_are_named(client: argilla.Argilla, simulation: Annotation) -> None:
    with pytest.raises(KormedError, match="kormed annotate push"):
        run(client, comparisons(450, 1), simulation)
