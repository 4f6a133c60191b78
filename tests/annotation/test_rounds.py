"""rounds: who is asked what, which comparisons come again, and where one round ends and another begins."""

from pathlib import Path

import pytest

from annotation import rounds
from stages.core.errors import KormedError
from stages.core.pairing import swap
from stages.core.pipeline import Run
from stages.core.recipe import Annotation
from tests.annotation.examples import comparisons, round_of


def config(repeats: float = 0.0, seed: int = 42) -> Annotation:
    return Annotation(seed=seed, annotators=("doctor-kim", "doctor-lee"), repeats=repeats)


def test_the_recipes_share_comes_again_with_swapped_sides_and_its_own_id() -> None:
    some = comparisons(1, 60)
    round = round_of(some, config(0.05))
    assert len(round.repeats) == 3
    assert [one.id for one in round.shown[:60]] == [one.id for one in some]
    originals = {one.id: one for one in some}
    for one in round.shown[60:]:
        original = originals[round.repeats[one.id]]
        assert one.id not in round.originals
        assert (one.a, one.b) == (original.b, original.a)


def test_where_any_repeats_are_wanted_there_is_one_and_without_there_is_none() -> None:
    assert len(round_of(comparisons(1, 3), config(0.05)).repeats) == 1
    assert round_of(comparisons(1, 3), config(0)).repeats == {}
    assert round_of([], config(0.5)).repeats == {}


def test_a_larger_share_keeps_the_repeats_of_a_smaller_one() -> None:
    drawn = [set(round_of(comparisons(1, 40), config(share)).repeats) for share in (0.05, 0.1, 0.5, 1)]
    assert [len(one) for one in drawn] == [2, 4, 20, 40]
    assert drawn[0] < drawn[1] < drawn[2] < drawn[3]


def test_which_ones_are_repeated_hangs_on_the_seed_and_not_on_the_order() -> None:
    some = comparisons(1, 40)
    drawn = round_of(some, config(0.1)).repeats
    assert drawn == round_of(some[::-1], config(0.1)).repeats
    assert drawn != round_of(some, config(0.1, seed=43)).repeats


def test_repeats_change_nothing_about_which_dataset_it_is_and_other_comparisons_do() -> None:
    some = comparisons(1, 10)
    assert round_of(some, config()).dataset == round_of(some, config(0.5)).dataset
    assert round_of(some, config()).dataset != round_of(comparisons(2, 10), config()).dataset


def test_answers_to_repeats_that_are_no_longer_shown_still_belong_to_the_round() -> None:
    some = comparisons(1, 10)
    assert {swap(one).id for one in some} <= round_of(some, config(0)).known


def test_adjudicators_have_a_workspace_of_their_own(tiny_run: Run) -> None:
    recipe = tiny_run.recipe
    annotation = recipe.annotation.model_copy(update={"adjudicators": ("professor-han",)})
    run = Run(recipe.model_copy(update={"annotation": annotation}), tiny_run.folder.parent)
    label, adjudication = rounds.label(run), rounds.adjudication(run)
    assert adjudication.workspace != label.workspace
    assert adjudication.people == ("professor-han",)
    assert adjudication.responses_each == 1
    assert adjudication.file == label.file
    assert adjudication.known == label.known


def test_a_teams_workspace_may_be_called_otherwise_and_only_theirs(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARGILLA_WORKSPACE", "neurology")
    assert rounds.label(tiny_run).workspace == tiny_run.recipe.name
    monkeypatch.setenv("ARGILLA_API_URL", "https://argilla.example.org")
    assert rounds.label(tiny_run).workspace == "neurology"
    assert rounds.adjudication(tiny_run).workspace == "neurology-adjudication"


@pytest.mark.parametrize(("name", "stage"), [("label", "candidates"), ("compare", "head_to_head")])
def test_a_round_without_comparisons_says_which_stage_makes_them(
    tiny_run: Run, tmp_path: Path, name: str, stage: str
) -> None:
    with pytest.raises(KormedError, match=f"run `kormed {stage} RECIPE` first"):
        rounds.ROUNDS[name](Run(tiny_run.recipe, tmp_path))
