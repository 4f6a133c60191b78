"""One embedded Argilla a module and one Chromium for all: people sign in side by side, each in a window of their own.

KORMED_SHOTS, if set, is a folder for screenshots.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import argilla
import pytest
from playwright.sync_api import Browser, sync_playwright

from annotation import embedded
from annotation.connection import connect
from annotation.embedded import Server
from annotation.environment import environment_folder
from annotation.people import Credential, credentials
from stages.core.recipe import Annotation
from tests.annotation.examples import free_port
from tests.browser.page import RECIPE, Open, Page, new_page

ENVIRONMENT = environment_folder()  # before a test changes folder
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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def config() -> Annotation:
    return Annotation(
        seed=1,
        annotators=("doctor-kim", "doctor-lee"),
        adjudicators=("doctor-han",),
        responses_per_comparison=2,
        repeats=0,
        port=free_port(),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("argilla") / "home"


@pytest.fixture(autouse=True)
def _this_home(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    _use(monkeypatch, home)


@pytest.fixture(scope="module")
def server(config: Annotation, home: Path) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        _use(patch, home)
        server = embedded.start(config, RECIPE)
    yield server
    server.stop()


@pytest.fixture
def client(server: Server, config: Annotation) -> Iterator[argilla.Argilla]:
    with connect(config, RECIPE) as client:
        yield client


@pytest.fixture
def people(server: Server) -> dict[str, Credential]:
    return credentials(server.home)


@pytest.fixture
def open_page(chromium: Browser, server: Server) -> Iterator[Open]:
    """A window for somebody; what all of them asked for is looked at in the end: nothing outside this machine."""
    pages: list[Page] = []

    def open_page(width: int = 1440, height: int = 900, locale: str = "ko-KR") -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, locale=locale, base_url=server.url, timezone_id="Asia/Seoul"
        )
        pages.append(new_page(context))
        return pages[-1]

    yield open_page
    asked = {urlsplit(url).netloc for page in pages for url in page.asked if not url.startswith(("data:", "blob:"))}
    for page in pages:
        page.window.context.close()
    assert asked <= {urlsplit(server.url).netloc}


def _use(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in ("ARGILLA_API_URL", "ARGILLA_API_KEY"):  # a developer's own server is not for tests
        patch.delenv(name, raising=False)
    patch.setenv("KORMED_ARGILLA_HOME", str(home))
    patch.setenv("KORMED_ARGILLA_VENV", str(ENVIRONMENT))
