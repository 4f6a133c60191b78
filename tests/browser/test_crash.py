"""The server is killed while somebody labels: what the page shows, and what is kept. Run by `make test-all`."""

import os
import signal
from pathlib import Path

import argilla
import pytest

from annotation.embedded import Server
from annotation.people import Credential
from annotation.pull import pull
from annotation.push import push
from annotation.rounds import Round, label_round
from stages.core.recipe import Annotation
from stages.core.records import Response, read_jsonl
from tests.annotation.examples import GOOD, OTHER, comparison
from tests.browser.page import RECIPE, Open, expect_acknowledged, open_round, shown, wait_for_another

pytestmark = pytest.mark.browser


def test_the_page_goes_on_after_a_crash_and_what_was_acknowledged_is_there(
    client: argilla.Argilla,
    config: Annotation,
    people: dict[str, Credential],
    open_page: Open,
    server: Server,
    tmp_path: Path,
) -> None:
    """An answer that is given while no server runs waits on the page, whose button turns, and is kept once one does."""
    round = pushed(client, config, 1, tmp_path)
    page = open_page()
    open_round(page, people["doctor-kim"], round)
    first = shown(page)
    page.press("1", "Enter")
    second = wait_for_another(page, than=first)

    killed = server.pid
    os.kill(killed, signal.SIGKILL)
    page.press("2", "Enter")
    page.window.wait_for_timeout(500)
    page.shoot("crashed")
    third = wait_for_another(page, than=second)
    assert server.pid != killed
    page.press("3", "Enter")
    expect_acknowledged(page, 3)
    assert answers(client, round) == {first: "a", second: "b", third: "tie"}


def test_an_answer_on_its_way_into_a_crash_is_kept_once(
    client: argilla.Argilla,
    config: Annotation,
    people: dict[str, Credential],
    open_page: Open,
    server: Server,
    tmp_path: Path,
) -> None:
    """The server has the request but not yet an answer to it when it is killed. The browser asks the next one again."""
    round = pushed(client, config, 11, tmp_path)
    page = open_page()
    open_round(page, people["doctor-kim"], round)
    first = shown(page)
    page.press("1", "Enter")
    second = wait_for_another(page, than=first)

    killed = server.pid
    os.kill(killed, signal.SIGSTOP)
    page.press("2", "Enter")
    page.window.wait_for_timeout(500)
    assert (shown(page), len(page.acknowledged)) == (second, 1)  # it does not go on without an answer
    os.kill(killed, signal.SIGKILL)
    third = wait_for_another(page, than=second)
    page.press("3", "Enter")
    expect_acknowledged(page, 3)
    assert answers(client, round) == {first: "a", second: "b", third: "tie"}


def pushed(client: argilla.Argilla, config: Annotation, first: int, folder: Path) -> Round:
    numbers = range(first, first + 4)
    comparisons = [comparison(n, a=GOOD, b=OTHER, question=f"{n}번. 지어낸 질문: 잠이 안 옵니다.") for n in numbers]
    round = label_round(RECIPE, comparisons, config, folder / "responses.jsonl")
    push(client, round)
    return round


def answers(client: argilla.Argilla, round: Round) -> dict[int, str | None]:
    """What was pulled, by the question's number."""
    pull(client, round)
    found = read_jsonl(round.file, Response)
    assert len(found) == len({one.comparison_id for one in found})
    return {int(one.comparison_id.removeprefix("comparison-")): one.value for one in found}
