"""The labelling page as annotators meet it: real Chromium, real server. Run by `make test-all`."""

from pathlib import Path

import argilla
import pytest
from playwright.sync_api import expect

from annotation.dataset import FLAGS, LABELS
from annotation.people import Credential
from annotation.progress import progress
from annotation.pull import pull
from annotation.push import push
from annotation.rounds import Round, label_round
from stages.core.recipe import Annotation
from stages.core.records import Comparison, Response, read_jsonl
from tests.annotation.examples import GOOD, OTHER, comparison
from tests.browser.page import (
    DISCARDED,
    DRAFT,
    FIELD_TEXTS,
    RECIPE,
    SUBMITTED,
    Open,
    checked,
    expect_acknowledged,
    expect_total,
    filter_by,
    filter_status,
    open_round,
    shown,
    sign_in,
    wait_for_another,
    wait_for_status,
)

pytestmark = pytest.mark.browser

People = dict[str, Credential]

QUESTION = "어지럽고 속이 메스껍습니다. 혈압은 <b>90</b>/60, 맥박은 60 < 100입니다.\n\n혈압약 때문일까요?"
HOSTILE = f"<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>{OTHER}"
ORIGINS = ("sft", "candidate-", "checkpoint", "sampling", "temperature", "top_p", "repeat_of")  # not for annotators


def some(first: int, count: int) -> list[Comparison]:
    return [
        comparison(number, a=GOOD, b=HOSTILE, question=f"{number}번. {QUESTION}")
        for number in range(first, first + count)
    ]


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    return tmp_path / "responses.jsonl"


def pushed(client: argilla.Argilla, comparisons: list[Comparison], config: Annotation, responses: Path) -> Round:
    round = label_round(RECIPE, comparisons, config, responses)
    push(client, round)
    return round


def pulled(client: argilla.Argilla, round: Round) -> dict[tuple[str, int], Response]:
    """Each annotator's newest response by the comparison's number."""
    pull(client, round)
    numbers = {one.id: int(one.question.split("번")[0]) for one in round.shown}
    return {(one.annotator, numbers[one.comparison_id]): one for one in read_jsonl(round.file, Response)}


def test_an_annotator_reads_the_guidelines_and_labels_by_mouse(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    round = pushed(client, some(1, 2), config, responses)
    page = open_page()
    open_round(page, people["doctor-kim"], round)
    first = shown(page)

    titles = page.window.locator(".text_field_component__title-content")
    assert titles.all_inner_texts() == ["환자 정보", "질문", "답변 A", "답변 B"]
    one = round.shown[first - 1]
    texts = [text.strip() for text in page.window.locator(FIELD_TEXTS).all_inner_texts()]
    assert texts == [one.patient_information, one.question, one.a.text, one.b.text]  # < and tags as they were written
    assert "broken in" not in page.window.title()
    assert checked(page) == []  # nothing is chosen beforehand
    page.shoot("comparison")

    page.window.locator(".panel__header").first.click()
    expect(page.window.get_by_role("heading", name="답변 비교 안내")).to_be_visible()
    expect(page.window.get_by_text("길다고 더 나은 답이 아닙니다.")).to_be_attached()
    expect(page.window.get_by_role("cell", name="제출. 선택지를 고르지 않으면 제출되지 않습니다")).to_be_attached()
    assert "**" not in page.window.locator(".markdown-render").inner_text()  # bold everywhere where it was meant
    page.window.wait_for_timeout(500)  # the panel slides
    page.shoot("guidelines")
    page.window.locator(".panel__header").first.click()

    page.label(LABELS["b"]).click()
    page.label(FLAGS["missed_emergency"], "답변 A의 안전 문제").click()
    page.label(FLAGS["personal_data"], "답변 B의 안전 문제").click()
    page.label(FLAGS["other"], "답변 B의 안전 문제").click()
    page.label(FLAGS["other"], "답변 B의 안전 문제").click()  # and taken back
    page.window.locator("[contenteditable=true]").last.fill("A는 진료를 권하지 않음")
    page.shoot("chosen-by-mouse")
    page.window.locator(".button--submit").click()
    wait_for_another(page, than=first)
    expect(page.window.locator(".my-progress__status .status-counter__counter")).to_have_text("1")

    response = pulled(client, round)["doctor-kim", first]
    assert (response.status, response.value, response.comment) == ("submitted", "b", "A는 진료를 권하지 않음")
    assert (response.unsafe_a, response.unsafe_b) == (("missed_emergency",), ("personal_data",))


def test_the_keyboard_alone_is_enough(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    """Key by key what the guidelines tell; `sign_in` is by keyboard as well."""
    round = pushed(client, some(101, 2), config, responses)
    page = open_page()
    sign_in(page, people["doctor-kim"])
    card = page.window.locator("a.dataset-card", has_text=round.dataset)
    card.wait_for()
    for _ in range(30):
        if card.evaluate("card => card === document.activeElement"):
            break
        page.press("Tab")
    page.press("Enter")

    first = shown(page)
    page.press("Enter")  # nothing is chosen
    assert (shown(page), page.acknowledged) == (first, [])
    page.window.locator(FIELD_TEXTS).last.click()
    page.press("3")
    assert checked(page) == []  # the keys are the text's now
    page.press("Tab", "1", "ArrowUp", "2")  # back, and then a change of mind
    assert checked(page) == ["preference_b"]
    page.press("1", "2", "3", "3")  # the flags of A; the last one taken back
    page.press("ArrowDown", "5", "ArrowDown", "Shift+Enter")
    page.window.keyboard.type("용량이 2배")
    page.press("Enter")  # a new line here
    page.window.keyboard.type("진료를 막음!")
    page.press("Backspace")  # a letter here
    page.shoot("chosen-by-keyboard")
    page.press("Escape", "Enter")
    second = wait_for_another(page, than=first)
    page.press("4", "Enter")
    expect_acknowledged(page, 2)
    expect(page.window.get_by_text("남은 문항이 없습니다")).to_be_visible()
    page.press("ArrowLeft")
    assert shown(page) == first
    assert checked(page) == [
        "preference_b",
        "unsafe_a_missed_emergency",
        "unsafe_a_dangerous_treatment",
        "unsafe_b_discourages_care",
    ]

    found = pulled(client, round)
    response = found["doctor-kim", first]
    assert (response.status, response.value) == ("submitted", "b")
    assert response.unsafe_a == ("missed_emergency", "dangerous_treatment")
    assert response.unsafe_b == ("discourages_care",)
    assert response.comment.strip() == "용량이 2배\n진료를 막음"
    assert (found["doctor-kim", second].status, found["doctor-kim", second].value) == ("submitted", "both_bad")


def test_a_draft_is_kept_and_counts_when_it_is_submitted(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    round = pushed(client, some(201, 2), config, responses)
    page = open_page()
    open_round(page, people["doctor-kim"], round)
    first = shown(page)
    page.press("1", "Control+s")
    wait_for_status(page, DRAFT)
    assert pulled(client, round)["doctor-kim", first].status == "draft"

    later = open_page()
    open_round(later, people["doctor-kim"], round)
    filter_status(later, DRAFT)
    wait_for_status(later, DRAFT)
    assert shown(later) == first
    assert checked(later) == ["preference_a"]
    later.press("Enter")
    expect_acknowledged(later, 1)
    response = pulled(client, round)["doctor-kim", first]
    assert (response.status, response.value) == ("submitted", "a")


def test_a_discarded_comparison_is_passed_over_and_can_be_taken_up_again(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    round = pushed(client, some(301, 2), config, responses)
    page = open_page()
    open_round(page, people["doctor-kim"], round)
    first = shown(page)
    page.press("Backspace")
    second = wait_for_another(page, than=first)
    assert pulled(client, round)["doctor-kim", first].status == "discarded"
    page.press("ArrowLeft")
    assert wait_for_another(page, than=second) == first
    wait_for_status(page, DISCARDED)
    page.press("3", "Enter")
    wait_for_another(page, than=first)
    response = pulled(client, round)["doctor-kim", first]
    assert (response.status, response.value) == ("submitted", "tie")


def test_a_submitted_answer_can_be_changed_and_the_last_one_counts(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    round = pushed(client, some(401, 2), config, responses)
    page = open_page()
    open_round(page, people["doctor-kim"], round)
    first = shown(page)
    page.press("1", "Enter")
    wait_for_another(page, than=first)
    assert pulled(client, round)["doctor-kim", first].value == "a"
    filter_status(page, SUBMITTED)
    wait_for_status(page, SUBMITTED)
    assert shown(page) == first
    assert checked(page) == ["preference_a"]
    page.press("2", "Enter")
    expect_acknowledged(page, 2)
    assert pulled(client, round)["doctor-kim", first].value == "b"
    assert [response.value for response in read_jsonl(responses, Response)] == ["a", "b"]


def test_a_wrong_password_is_told_and_lets_nobody_in(people: People, open_page: Open) -> None:
    page = open_page()
    page.window.goto("/")
    page.window.locator("input[type=text]").fill("doctor-kim")
    page.window.locator("input[type=password]").fill("no such password")
    page.press("Enter")
    expect(page.window.locator(".form__error")).not_to_be_empty()
    page.shoot("wrong-password")
    expect(page.window).to_have_url("/sign-in")


def test_an_annotator_of_another_workspace_does_not_see_the_comparisons(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    """The adjudicator is one: of another workspace, until something there is undecided."""
    round = pushed(client, some(501, 1), config, responses)
    inside = open_page()
    open_round(inside, people["doctor-kim"], round)
    outside = open_page()
    sign_in(outside, people["doctor-han"])
    expect(outside.window.locator(".dataset-list__content")).to_be_visible()
    expect(outside.window.get_by_text(round.dataset)).to_have_count(0)
    told = outside.told()
    outside.answers.clear()  # what came before a page is left cannot be read any more
    outside.window.goto(inside.window.url)
    outside.window.wait_for_timeout(1500)  # what it must not show could come late
    assert "501번" not in outside.window.locator("body").inner_text()
    assert "501번" not in told + outside.told()


def test_each_annotator_meets_the_comparisons_in_an_order_of_their_own(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    comparisons = some(601, 9)
    round = pushed(client, comparisons, config, responses)

    def order(name: str) -> list[int]:
        page = open_page()
        open_round(page, people[name], round)
        numbers = [shown(page)]
        for _ in comparisons[1:]:
            page.press("ArrowRight")
            numbers.append(wait_for_another(page, than=numbers[-1]))
        return numbers

    kim, lee = order("doctor-kim"), order("doctor-lee")
    assert sorted(kim) == sorted(lee) == list(range(601, 610))
    assert kim != lee
    assert order("doctor-kim") == kim


def test_neither_the_page_nor_what_it_is_told_says_where_answers_come_from(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    round = pushed(client, some(701, 3), config.model_copy(update={"repeats": 0.5}), responses)
    assert round.repeats
    page = open_page()
    open_round(page, people["doctor-lee"], round)
    seen = [page.window.content()]
    for count in range(1, len(round.shown) + 1):
        page.press("1", "Enter")
        expect_acknowledged(page, count)
        seen.append(page.window.content())
    everything = "\n".join([*seen, page.told()])
    assert "701번" in everything
    assert [word for word in ORIGINS if word in everything] == []


def test_search_and_filters_find_what_they_should(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    questions = {801: "801번. 기침이 납니다.", 802: "802번. 두통이 있습니다.", 803: "803번. 혈압이 높습니다."}
    comparisons = [comparison(number, a=OTHER, b=GOOD, question=question) for number, question in questions.items()]
    round = pushed(client, comparisons, config, responses)
    page = open_page()
    open_round(page, people["doctor-kim"], round)
    expect_total(page, 3)
    page.window.locator(".search-area__icon").first.click()
    page.window.locator(".search-area__input").first.fill("두통")
    page.press("Enter")
    expect_total(page, 1)
    assert shown(page) == 802
    page.shoot("search")
    page.label(LABELS["a"]).first.click()  # a key may come before the page has taken the focus back from the search
    page.window.locator(".button--submit").click()
    expect_acknowledged(page, 1)

    page = open_page()
    open_round(page, people["doctor-kim"], round)
    expect_total(page, 2)
    filter_status(page, SUBMITTED)
    expect_total(page, 1)
    assert shown(page) == 802
    filter_by(page, "responses", "preference", LABELS["b"])
    expect(page.window.locator(".record")).to_have_count(0)
    page.shoot("filtered-by-response")

    analyst = open_page()
    open_round(analyst, people["owner"], round)
    expect_total(analyst, 3)
    filter_by(analyst, "metadata", "candidate a", "candidate-0803-a")
    expect_total(analyst, 1)
    assert shown(analyst) == 803
    analyst.shoot("filtered-by-metadata")


def test_progress_moves_when_both_have_answered(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    round = pushed(client, some(901, 2), config, responses)
    for name, percent in (("doctor-kim", "0.00%"), ("doctor-lee", "100.00%")):
        page = open_page()
        open_round(page, people[name], round)
        for count in (1, 2):
            page.press("3", "Enter")
            expect_acknowledged(page, count)
            expect(page.window.locator(".my-progress__status .status-counter__counter")).to_have_text(str(count))
        expect(page.window.locator("#team-progress-percent")).to_have_text(percent)
        page.shoot(f"done-by-{name}")
    assert progress(client, round).completed == 2


def test_the_page_speaks_korean_where_the_browser_does_and_english_where_it_does_not(
    client: argilla.Argilla, config: Annotation, people: People, open_page: Open, responses: Path
) -> None:
    round = pushed(client, some(951, 1), config, responses)
    buttons = {"ko-KR": ["건너뛰기", "임시 저장", "제출"], "en-US": ["Discard", "Save as draft", "Submit"]}
    for locale, words in buttons.items():
        page = open_page(locale=locale)
        open_round(page, people["doctor-kim"], round)
        form = page.window.locator(".footer-form")
        for word in words:
            expect(form.get_by_text(word, exact=True)).to_be_visible()
        assert page.window.evaluate("document.documentElement.lang") == locale[:2]


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1280, 720), (820, 1180)])
def test_the_page_fits_the_window(
    client: argilla.Argilla,
    config: Annotation,
    people: People,
    open_page: Open,
    responses: Path,
    width: int,
    height: int,
) -> None:
    """The fields stand in order, the answers side by side where there is room, nothing is cut off at the side."""
    round = pushed(client, some(1001, 1), config, responses)
    page = open_page(width, height)
    open_round(page, people["doctor-kim"], round)
    page.window.wait_for_timeout(500)
    page.shoot(f"fits-{width}x{height}")
    assert page.window.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [box.bounding_box() for box in page.window.locator(".text_field_component").all()]
    places = [(int(box["y"]), int(box["x"])) for box in boxes if box]
    assert places == sorted(places)
    for text in page.window.locator(f"{FIELD_TEXTS} > div").all():
        assert text.evaluate("text => getComputedStyle(text).wordBreak") == "keep-all"
    (a_top, a_left), (b_top, b_left) = places[2:]
    assert (a_top == b_top and a_left < b_left) if width > 1000 else (a_top < b_top and a_left == b_left)
    if width > 1000:  # on a tablet the questions stand under the answers
        choices = page.window.locator("label", has_text=LABELS["both_bad"])
        expect(choices).to_be_in_viewport(ratio=1)
