"""labelling: what the annotate commands do with a run."""

import argilla
import pytest

from annotation import labelling
from annotation.dataset import dataset_name
from stages.core import artifacts
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.recipe import Annotation


def test_labelling_here_is_refused_while_a_teams_own_server_is_named(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the questions would go there, and the annotators be sent here."""
    monkeypatch.setenv("ARGILLA_API_URL", "https://argilla.example.org")
    with pytest.raises(KormedError, match="unset both to label on this machine"):
        labelling.serve(tiny_run, print)


def test_a_pull_waits_for_no_other_one_and_cuts_nothing(
    tiny_run: Run, client: argilla.Argilla, config: Annotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tiny_run.recipe.model_copy(update={"annotation": config}), tiny_run.folder.parent)
    pushed = labelling.push_comparisons(run)
    assert dataset_name(run.recipe.name, labelling.comparisons(run)) in pushed
    run.responses.parent.mkdir(exist_ok=True)
    with (
        artifacts.lock(run.responses.parent, "the responses"),
        pytest.raises(KormedError, match="another process is making the responses"),
    ):
        labelling.pull_responses(run)


def test_comparisons_of_a_run_without_candidates_are_asked_for(tiny_run: Run) -> None:
    empty = Run(tiny_run.recipe.model_copy(update={"name": "empty"}), tiny_run.folder.parent)
    with pytest.raises(KormedError, match="run `kormed candidates RECIPE` first"):
        labelling.comparisons(empty)
