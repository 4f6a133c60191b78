"""One embedded Argilla for all tests of annotation/, on a free port, its home in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path

import argilla
import pytest

from annotation import embedded
from annotation.api import Api
from annotation.connection import connect
from annotation.embedded import Server
from annotation.environment import environment_folder
from annotation.people import Credential, credentials
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, free_port

ENVIRONMENT = environment_folder()  # before a test changes folder


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("argilla") / "home"


@pytest.fixture(autouse=True)
def _this_home(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    _use(monkeypatch, home)


@pytest.fixture(scope="session")
def config() -> Annotation:
    """Two simulated annotators and a person; a comparison is complete with two responses, none is repeated."""
    annotators = ("simulated-1", "simulated-2", "doctor-kim")
    return Annotation(seed=42, annotators=annotators, responses_per_comparison=2, repeats=0, port=free_port())


@pytest.fixture
def simulation(config: Annotation) -> Annotation:
    return config.model_copy(update={"annotators": ("simulated-1", "simulated-2")})


@pytest.fixture(scope="session")
def server(home: Path, config: Annotation) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        _use(patch, home)
        server = embedded.start(config, WORKSPACE)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def client(server: Server, config: Annotation) -> Iterator[argilla.Argilla]:
    with pytest.MonkeyPatch.context() as patch:
        _use(patch, server.home)
        connection = connect(config, WORKSPACE)
        client = connection.__enter__()
    yield client
    connection.__exit__(None, None, None)


@pytest.fixture(scope="session")
def people(server: Server) -> dict[str, Credential]:
    return credentials(server.home)


@pytest.fixture
def owner(server: Server, people: dict[str, Credential]) -> Api:
    return Api(server.url, people["owner"].api_key)


@pytest.fixture
def doctor(server: Server, people: dict[str, Credential]) -> Api:
    """The API as an annotator who is a person."""
    return Api(server.url, people["doctor-kim"].api_key)


def _use(patch: pytest.MonkeyPatch, home: Path) -> None:
    for name in ("ARGILLA_API_URL", "ARGILLA_API_KEY"):  # a developer's own server is not for tests
        patch.delenv(name, raising=False)
    patch.setenv("KORMED_ARGILLA_HOME", str(home))
    patch.setenv("KORMED_ARGILLA_VENV", str(ENVIRONMENT))
