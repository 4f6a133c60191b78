"""From two people's disagreement to a preference: two annotators, an adjudicator, one page. Run by `make test-all`."""

from dataclasses import replace
from pathlib import Path

import argilla
import pytest
from playwright.sync_api import expect

from annotation.dataset import LABELS
from annotation.people import Credential, adjudication_workspace
from annotation.progress import progress
from annotation.pull import pull
from annotation.push import push
from annotation.rounds import Round, label_round
from stages import preferences
from stages.core.recipe import Annotation, Preferences
from stages.core.records import Dropped, Preference, Response, read_jsonl, write_jsonl
from stages.core.votes import is_conflict, newest, submitted
from tests.annotation.examples import GOOD, OTHER, comparison
from tests.browser.page import (
    FIELD_TEXTS,
    RECIPE,
    Open,
    expect_acknowledged,
    expect_total,
    filter_status,
    open_round,
    shown,
    sign_in,
)

pytestmark = pytest.mark.browser

AGREED, DISPUTED = 1, 2
COMPARISONS = [
    comparison(n, a=GOOD, b=OTHER, question=f"{n}번. 지어낸 질문: 기침이 오래갑니다.") for n in (AGREED, DISPUTED)
]


def test_two_disagree_an_adjudicator_decides_and_the_preferences_are_right(
    client: argilla.Argilla, config: Annotation, people: dict[str, Credential], open_page: Open, tmp_path: Path
) -> None:
    round = label_round(RECIPE, COMPARISONS, config, tmp_path / "responses.jsonl")
    push(client, round)
    keys = {("doctor-kim", AGREED): "1", ("doctor-kim", DISPUTED): "1", ("doctor-lee", AGREED): "1"}
    for name in config.annotators:
        page = open_page()
        open_round(page, people[name], round)
        for count in (1, 2):
            if (key := keys.get((name, shown(page)))) is None:  # doctor-lee, who sees what the other did not
                page.press("2", "2", "ArrowDown", "ArrowDown", "Shift+Enter")
                page.window.keyboard.type("용량이 위험합니다")
                page.press("Escape", "Enter")
            else:
                page.press(key, "Enter")
            expect_acknowledged(page, count)
            if count == 1:
                expect(page.window.locator(".record .status-tag.--pending")).to_be_visible()
    assert progress(client, round).completed == 2

    pull(client, round)
    undecided = [one for one in COMPARISONS if is_conflict(said_of(round, one.id), round.responses_each)]
    assert undecided == [COMPARISONS[1]]
    assert make_preferences(round, tmp_path / "before")[1] == ["undecided"]

    words = "A가 더 낫다: 1명\nB가 더 낫다: 1명\n답변 A의 안전 문제: 위험한 약·처치 1명\n의견: 용량이 위험합니다"
    decision = replace(
        round,
        name="adjudication",
        workspace=adjudication_workspace(RECIPE),
        shown=tuple(undecided),
        people=config.adjudicators,
        responses_each=1,
        said={undecided[0].id: words},
    )
    push(client, decision)
    page = open_page()
    sign_in(page, people["doctor-han"])
    card = page.window.locator(".dataset-card")
    expect(card).to_have_count(1)  # not what the annotators work on
    card.click()
    assert shown(page) == DISPUTED
    expect_total(page, 1)
    titles = page.window.locator(".text_field_component__title-content").all_inner_texts()
    assert titles == ["환자 정보", "질문", "답변 A", "답변 B", "평가자들의 판단"]
    assert page.window.locator(FIELD_TEXTS).last.inner_text().strip() == words
    page.shoot("adjudication")
    page.press("2", "Enter")
    expect_acknowledged(page, 1)
    everything = page.window.content() + page.told()
    assert [name for name in (*config.annotators, "sft", "candidate-", "top_p") if name in everything] == []

    pull(client, decision)
    found = read_jsonl(round.file, Response)
    assert [(one.round, one.value) for one in found if one.annotator == "doctor-han"] == [("adjudication", "b")]
    made, dropped = make_preferences(round, tmp_path / "after")
    assert dropped == []
    agreed, disputed = sorted(made, key=lambda row: row.id)
    assert (agreed.chosen[0].content, agreed.rejected[0].content) == (GOOD, OTHER)
    assert (agreed.adjudicated, agreed.votes, agreed.agreement) == (False, {"a": 2}, 1.0)
    assert (disputed.chosen[0].content, disputed.rejected[0].content) == (OTHER, GOOD)
    assert (disputed.adjudicated, disputed.votes) == (True, {"a": 1, "b": 1})


def test_the_analyst_sees_who_said_what_on_the_page(
    client: argilla.Argilla, config: Annotation, people: dict[str, Credential], open_page: Open, tmp_path: Path
) -> None:
    """The owner's own queue is as empty as the others' is full: everything there is still theirs to look at."""
    one = comparison(11, a=GOOD, b=OTHER, question="11번. 지어낸 질문: 어지럽습니다.")
    round = label_round(RECIPE, [one], config, tmp_path / "responses.jsonl")
    push(client, round)
    page = open_page()
    open_round(page, people["doctor-kim"], round)
    page.press("3", "Enter")
    expect_acknowledged(page, 1)
    filter_status(page, "submitted")
    expect(page.window.get_by_text(LABELS["tie"]).first).to_be_visible()


def said_of(round: Round, id: str) -> list[Response]:
    return submitted(newest(read_jsonl(round.file, Response), [id])[id])


def make_preferences(round: Round, out: Path) -> tuple[list[Preference], list[str]]:
    """The preferences of what was pulled so far, and why the other comparisons make none."""
    candidates = out / "candidates"
    candidates.mkdir(parents=True)
    write_jsonl(candidates / "comparisons.jsonl", round.comparisons)
    config = Preferences(seed=1, min_responses=2, heldout=0)
    preferences.run(config, out, candidates=candidates, responses=round.file)
    dropped = [row.reason for row in read_jsonl(out / "dropped.jsonl", Dropped)]
    return read_jsonl(out / "train.jsonl", Preference), dropped
