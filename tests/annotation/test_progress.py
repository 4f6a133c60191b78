"""progress: the numbers that tell a coordinator whom to remind."""

import argilla

from annotation.api import Api
from annotation.embedded import Credential, Server
from annotation.progress import Share, progress, render
from annotation.push import push
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, comparisons, respond


def test_a_comparison_is_complete_after_as_many_answers_as_the_recipe_asks_for(
    client: argilla.Argilla, config: Annotation, server: Server, people: dict[str, Credential], doctor: Api
) -> None:
    some = comparisons(300, 3)
    push(client, WORKSPACE, some, config)
    colleague = Api(server.url, people["simulated-1"].api_key)
    for one in some[:2]:
        respond(doctor, one.id, "a")
    respond(colleague, some[0].id, "b")
    respond(colleague, some[1].id, "b", status="draft")
    respond(colleague, some[2].id, None, status="discarded")

    state = progress(client, WORKSPACE, some)
    assert (state.total, state.completed, state.pending) == (3, 1, 2)
    assert state.shares == (
        Share("doctor-kim", submitted=2, draft=0, discarded=0),
        Share("simulated-1", submitted=1, draft=1, discarded=1),
        Share("simulated-2", submitted=0, draft=0, discarded=0),
    )
    table = render(state).splitlines()
    assert table[0] == "1 of 3 comparisons completed (33 %), 2 pending"
    assert table[2].split() == ["doctor-kim", "2", "0", "0"]
    assert len({len(line) for line in table[1:]}) == 1


def test_progress_of_a_fresh_push_is_all_pending(client: argilla.Argilla, config: Annotation) -> None:
    some = comparisons(310, 2)
    push(client, WORKSPACE, some, config)
    state = progress(client, WORKSPACE, some)
    assert (state.total, state.completed, state.pending) == (2, 0, 2)
