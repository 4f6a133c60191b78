"""The labelling page in a window, found by what stands on it and not by its words, which differ by language."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import BrowserContext, Locator, Response, expect
from playwright.sync_api import Page as Window

from annotation.people import Credential
from annotation.rounds import Round

RECIPE = "browser-recipe"

RESTART_MILLISECONDS = 60_000  # of a killed server, on a busy machine; nothing else needs so long
FIELD_TEXTS = ".text_field_component .content-area"
DRAFT, SUBMITTED, DISCARDED = "draft", "submitted", "discarded"


@dataclass(frozen=True)
class Page:
    """One person's window. `asked`: every address it asked for; `answers`: what the server's API answered."""

    window: Window
    asked: list[str] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[str]:
        """Addresses of the answers, new or changed, of which the server said that it has them."""
        kept = [answer for answer in self.answers if answer.request.method in ("POST", "PUT") and answer.ok]
        return [answer.url for answer in kept if re.search(r"/records/[^/]+/responses$|/responses/[^/]+$", answer.url)]

    def told(self) -> str:
        """All that the API told the page, except the token with which it signed in."""
        return "\n".join(answer.text() for answer in self.answers if not answer.url.endswith("/token"))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.window.keyboard.press(key)
            self.window.wait_for_timeout(100)  # the page moves its focus after a key, in a later turn of its loop

    def shoot(self, name: str) -> None:
        if folder := os.environ.get("KORMED_SHOTS"):
            self.window.screenshot(path=str(Path(folder) / f"{name}.png"))

    def label(self, text: str, question: str = "") -> Locator:
        """An option by its text; `question` by the start of its title where several have it."""
        form = self.window.locator(".questions > div", has_text=question) if question else self.window.locator("form")
        return form.get_by_text(text, exact=True)


Open = Callable[..., Page]


def new_page(context: BrowserContext) -> Page:
    page = Page(context.new_page())
    page.window.on("request", lambda request: page.asked.append(request.url))
    page.window.on("websocket", lambda socket: page.asked.append(socket.url))
    page.window.on("response", lambda response: page.answers.append(response) if "/api/" in response.url else None)
    return page


def sign_in(page: Page, who: Credential) -> None:
    """By keyboard: the cursor stands in the first field."""
    page.window.goto("/")
    page.window.locator("input[type=text]").wait_for()
    page.window.keyboard.type(who.username)
    page.press("Tab")
    page.window.keyboard.type(who.password)
    page.press("Enter")
    page.window.locator(".user").wait_for()


def open_round(page: Page, who: Credential, round: Round) -> None:
    """Sign in and open the round's dataset from the list."""
    sign_in(page, who)
    page.window.locator(".dataset-card", has_text=round.dataset).click()
    shown(page)


def shown(page: Page) -> int:
    """The number with which the question on the page begins; waits until one stands there."""
    question = page.window.locator(FIELD_TEXTS).nth(1)
    expect(question).to_contain_text("번. ")
    return int(question.inner_text().split("번. ")[0])


def wait_for_another(page: Page, than: int) -> int:
    """The next question's number, when it has come."""
    question = page.window.locator(FIELD_TEXTS).nth(1)
    expect(question).not_to_contain_text(f"{than}번. ", timeout=RESTART_MILLISECONDS)
    return shown(page)


def wait_for_status(page: Page, status: str) -> None:
    expect(page.window.locator(f".record .status-tag.--{status}")).to_be_visible()


def checked(page: Page) -> list[str]:
    """Options that are chosen, as question_value."""
    return [str(box.get_attribute("id")) for box in page.window.locator("form input:checked").all()]


def filter_status(page: Page, status: str) -> None:
    page.window.locator(".filters__status button").first.click()
    page.window.locator(f".filters__status .option.{status} label").click()
    expect(page.window.locator(f".filters__status button.{status}")).to_be_visible()


def filter_by(page: Page, kind: str, property: str, value: str) -> None:
    """kind: metadata or responses; property as the page lists it."""
    page.window.locator(".filters__filter-button button").click()
    page.window.locator(f".{kind}-filter button").first.click()
    page.window.locator(f".{kind}-filter .category__item", has_text=property).click()
    page.window.locator(f".{kind}-filter .labels-selector__item", has_text=value).locator("label").click()
    page.window.keyboard.press("Escape")


def expect_total(page: Page, count: int) -> None:
    """So many comparisons fit the search and the filters."""
    expect(page.window.locator(".pagination__info span").last).to_have_text(f"of {count}")


def expect_acknowledged(page: Page, count: int) -> None:
    """So many answers were said to be kept; waits for the last."""
    for _ in range(300):
        if len(page.acknowledged) >= count:
            break
        page.window.wait_for_timeout(100)
    assert len(page.acknowledged) == count
