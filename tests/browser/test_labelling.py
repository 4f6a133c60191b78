"""The labelling page as an annotator meets it: real Chromium, real server. Run by `make test-all`.

KORMED_SHOTS, if set, is a folder for screenshots.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import argilla
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from annotation import embedded
from annotation.connection import connect
from annotation.dataset import dataset_name
from annotation.embedded import Server
from annotation.progress import progress
from annotation.pull import pull
from annotation.push import push
from stages.core.recipe import Annotation
from stages.core.records import Comparison, Response, read_jsonl
from tests.annotation.examples import GOOD, OTHER, comparison, free_port

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("KORMED_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RECIPE = "browser-recipe"

QUESTION = "어지럽고 속이 메스껍습니다. 혈압은 <b>90</b>/60, 맥박은 60 < 100입니다.\n\n혈압약 때문일까요?"
HOSTILE = f"<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>{OTHER}"
COMPARISONS = [comparison(number, a=GOOD, b=HOSTILE, question=f"{number}번. {QUESTION}") for number in (1, 2)]


@pytest.fixture(scope="module")
def config() -> Annotation:
    return Annotation(seed=1, annotators=("doctor-kim",), responses_per_comparison=1, port=free_port())


@pytest.fixture(scope="module")
def server(config: Annotation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ARGILLA_API_URL", "ARGILLA_API_KEY"):
            patch.delenv(name, raising=False)
        patch.setenv("KORMED_ARGILLA_HOME", str(tmp_path_factory.mktemp("argilla") / "home"))
        server = embedded.start(config, RECIPE)
    yield server
    server.stop()


@pytest.fixture
def client(server: Server, config: Annotation, monkeypatch: pytest.MonkeyPatch) -> Iterator[argilla.Argilla]:
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(server.home))
    with connect(config, RECIPE) as client:
        yield client


@pytest.fixture
def requests() -> list[str]:
    return []


@pytest.fixture
def page(server: Server, requests: list[str]) -> Iterator[Page]:
    with sync_playwright() as chromium:
        browser = chromium.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1440, "height": 900}, locale="ko-KR")
        page.on("request", lambda request: requests.append(request.url))
        page.on("websocket", lambda socket: requests.append(socket.url))
        yield page
        browser.close()


def shoot(page: Page, name: str) -> None:
    if folder := os.environ.get("KORMED_SHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def shown(page: Page) -> Comparison:
    """The comparison on the page; waits until one stands there."""
    field = page.locator(".text_field_component", has_text="질문").first
    expect(field).to_contain_text("번. ")
    number = int(field.inner_text().split("번. ")[0].split()[-1])
    return next(one for one in COMPARISONS if one.question.startswith(f"{number}번"))


def open_dataset(page: Page, server: Server, client: argilla.Argilla, some: list[Comparison]) -> None:
    """Sign in as an annotator and open these comparisons' dataset from the home page."""
    doctor = embedded.credentials(server.home)["doctor-kim"]
    page.goto(server.url)
    page.locator("input[type=text]").fill(doctor.username)
    page.locator("input[type=password]").fill(doctor.password)
    shoot(page, "1-sign-in")
    page.get_by_role("button", name="Sign in").click()
    card = page.get_by_text(dataset_name(RECIPE, some))
    card.wait_for()
    shoot(page, "2-home")
    card.click()


def test_an_annotator_reads_the_guidelines_and_labels_by_mouse_and_by_keyboard(
    server: Server,
    client: argilla.Argilla,
    config: Annotation,
    page: Page,
    requests: list[str],
    tmp_path: Path,
) -> None:
    push(client, RECIPE, COMPARISONS, config)
    open_dataset(page, server, client, COMPARISONS)

    first = shown(page)
    titles = page.locator(".text_field_component__title-content")
    assert titles.all_inner_texts() == ["환자 정보", "질문", "답변 A", "답변 B"]
    texts = page.locator(".text_field_component .content-area").all_inner_texts()
    wanted = [first.patient_information, first.question, first.a.text, first.b.text]
    assert [text.strip() for text in texts] == wanted  # < and tags as they were written
    assert "broken in" not in page.title()
    expect(page.get_by_text("sft")).to_have_count(0)
    expect(page.get_by_text("candidate-")).to_have_count(0)
    shoot(page, "3-comparison")

    guidelines = page.get_by_text("Guidelines", exact=True).first
    guidelines.click()
    expect(page.get_by_role("heading", name="답변 비교 안내")).to_be_visible()
    expect(page.get_by_text("길다고 더 나은 답이 아닙니다.")).to_be_attached()
    page.wait_for_timeout(500)  # the panel slides
    shoot(page, "4-guidelines")
    guidelines.click()

    assert page.locator("input:checked").count() == 0  # nothing is chosen beforehand
    page.get_by_text("B가 더 낫다").click()
    page.locator("[contenteditable=true]").last.fill("A는 진료를 권하지 않음")
    shoot(page, "5-chosen-by-mouse")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".text_field_component", has_text="질문").first).not_to_contain_text(first.question[:3])

    second = shown(page)
    assert second.id != first.id
    page.keyboard.press("3")
    page.wait_for_timeout(300)
    shoot(page, "6-chosen-by-keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_text("100.00%")).to_be_visible()
    shoot(page, "7-done")

    assert progress(client, RECIPE, COMPARISONS).completed == 2
    pull(client, RECIPE, COMPARISONS, tmp_path / "responses.jsonl")
    responses = {response.comparison_id: response for response in read_jsonl(tmp_path / "responses.jsonl", Response)}
    assert (responses[first.id].value, responses[second.id].value) == ("b", "tie")
    assert responses[first.id].comment == "A는 진료를 권하지 않음"
    assert {(response.annotator, response.status) for response in responses.values()} == {("doctor-kim", "submitted")}

    hosts = {urlsplit(url).netloc for url in requests if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(server.url).netloc}


def test_the_search_box_finds_a_two_syllable_korean_word(
    server: Server, client: argilla.Argilla, config: Annotation, page: Page
) -> None:
    questions = {11: "11번. 기침이 납니다.", 12: "12번. 두통이 있습니다.", 13: "13번. 혈압이 높습니다."}
    some = [comparison(number, a=OTHER, b=GOOD, question=question) for number, question in questions.items()]
    push(client, RECIPE, some, config)
    open_dataset(page, server, client, some)
    page.get_by_text("1 of 3").or_(page.get_by_text("of 3")).first.wait_for()
    page.get_by_role("button", name="Search").click()
    page.get_by_role("search").fill("두통")
    page.keyboard.press("Enter")
    expect(page.get_by_text(questions[12])).to_be_visible()
    expect(page.get_by_text("of 1", exact=True)).to_be_visible()
    shoot(page, "8-search")
