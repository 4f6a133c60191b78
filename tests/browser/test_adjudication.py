"""From two people's disagreement to a preference: two annotators, an adjudicator, one page. Run by `make test-all`."""

from pathlib import Path

import argilla
import pytest
from playwright.sync_api import expect

from annotation import labelling, rounds
from annotation.dataset import FLAGS, LABELS
from annotation.people import Credential
from annotation.progress import progress
from annotation.push import push
from stages import preferences
from stages.core import artifacts
from stages.core.pipeline import Run
from stages.core.recipe import Annotation, Preferences, load_recipe
from stages.core.records import Dropped, Preference, Response, read_jsonl, write_jsonl
from tests.annotation.examples import GOOD, OTHER, comparison
from tests.browser.page import (
    FIELD_TEXTS,
    RECIPE,
    Open,
    expect_acknowledged,
    expect_total,
    open_round,
    shown,
    sign_in,
)

pytestmark = pytest.mark.browser

DEMO = Path(__file__).parents[2] / "recipes" / "demo" / "demo.yaml"
AGREED, DISPUTED = 1, 2
COMPARISONS = [
    comparison(n, a=GOOD, b=OTHER, question=f"{n}번. 지어낸 질문: 기침이 오래갑니다.") for n in (AGREED, DISPUTED)
]


@pytest.fixture
def run(config: Annotation, tmp_path: Path) -> Run:
    """A run that has come as far as these comparisons."""
    run = Run(load_recipe(DEMO).model_copy(update={"name": RECIPE, "annotation": config}), tmp_path / "models")

    def write(out: Path) -> dict[str, float]:
        write_jsonl(out / "comparisons.jsonl", COMPARISONS)
        return {}

    request = artifacts.Request(stage="candidates", config={"model": {"base": "a-model"}}, inputs={})
    artifacts.make(run.path("candidates"), request, write, device=lambda: "cpu")
    return run


def test_two_disagree_an_adjudicator_decides_and_the_preferences_are_right(
    client: argilla.Argilla,
    config: Annotation,
    people: dict[str, Credential],
    open_page: Open,
    run: Run,
    tmp_path: Path,
) -> None:
    round = rounds.label(run)
    push(client, round)
    for name in config.annotators:
        page = open_page()
        open_round(page, people[name], round)
        for count in (1, 2):
            if (name, shown(page)) == ("doctor-lee", DISPUTED):  # who sees what the other did not
                page.press("2", "2", "ArrowDown", "ArrowDown", "Shift+Enter")
                page.window.keyboard.type("용량이 위험합니다")
                page.press("Escape", "Enter")
            else:
                page.press("1", "Enter")
            expect_acknowledged(page, count)
            if count == 1:
                expect(page.window.locator(".record .status-tag.--pending")).to_be_visible()
    assert (progress(client, round).completed, progress(client, round).conflicts) == (2, 1)

    told = labelling.open_conflicts(run)
    assert "1 put before doctor-han now" in told
    assert make_preferences(run, tmp_path / "before")[1] == ["undecided"]

    page = open_page()
    sign_in(page, people["doctor-han"])
    card = page.window.locator(".dataset-card")
    expect(card).to_have_count(1)  # not what the annotators work on
    card.click()
    assert shown(page) == DISPUTED
    expect_total(page, 1)
    titles = page.window.locator(".text_field_component__title-content").all_inner_texts()
    assert titles == ["환자 정보", "질문", "답변 A", "답변 B", "평가자들의 판단"]
    said = page.window.locator(FIELD_TEXTS).last.inner_text()
    for word in (LABELS["a"], LABELS["b"], FLAGS["dangerous_treatment"], "용량이 위험합니다"):
        assert word in said
    page.shoot("adjudication")
    page.window.locator(".panel__header").first.click()
    expect(page.window.get_by_role("heading", name="조정 안내")).to_be_visible()
    expect(page.window.get_by_role("heading", name="답변 비교 안내")).to_be_attached()  # the criteria are the same
    page.window.locator(".panel__header").first.click()
    page.press("Tab", "2", "Enter")
    expect_acknowledged(page, 1)
    everything = page.window.content() + page.told()
    assert [word for word in (*config.annotators, "sft", "candidate-", "top_p") if word in everything] == []

    labelling.pull_responses(run)
    found = read_jsonl(run.responses, Response)
    assert [(one.round, one.value) for one in found if one.annotator == "doctor-han"] == [("adjudication", "b")]
    made, dropped = make_preferences(run, tmp_path / "after")
    assert dropped == []
    agreed, disputed = sorted(made, key=lambda row: row.id)
    assert (agreed.chosen[0].content, agreed.rejected[0].content) == (GOOD, OTHER)
    assert (agreed.adjudicated, agreed.votes, agreed.agreement) == (False, {"a": 2}, 1.0)
    assert (disputed.chosen[0].content, disputed.rejected[0].content) == (OTHER, GOOD)
    assert (disputed.adjudicated, disputed.votes) == (True, {"a": 1, "b": 1})


def make_preferences(run: Run, out: Path) -> tuple[list[Preference], list[str]]:
    """The preferences of what was pulled so far, and why the other comparisons make none."""
    out.mkdir()
    config = Preferences(seed=1, min_responses=2, heldout=0)
    preferences.run(config, out, candidates=run.path("candidates"), responses=run.responses)
    dropped = [row.reason for row in read_jsonl(out / "dropped.jsonl", Dropped)]
    return read_jsonl(out / "train.jsonl", Preference), dropped
