"""embedded: one command starts it, nobody else gets in, nothing is lost when it stops."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from annotation import embedded
from annotation.api import Api, Refused
from annotation.connection import connect
from annotation.embedded import Credential, Server
from annotation.pull import pull
from annotation.push import push
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, comparisons, free_port, respond


def sign_in(url: str, person: Credential) -> str:
    """A log-in as the page makes it; returns its token."""
    form = f"username={person.username}&password={person.password}".encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/token", data=form), timeout=30) as answer:
        return str(json.load(answer)["access_token"])


def whoami(url: str, token: str) -> str:
    request = urllib.request.Request(f"{url}/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["username"])


def test_everybody_of_the_recipe_gets_in_with_generated_credentials(
    server: Server, config: Annotation, people: dict[str, Credential]
) -> None:
    assert [person.username for person in server.new] == ["owner", *config.annotators]
    assert len({person.password for person in server.new}) == len({person.api_key for person in server.new}) == 4
    for person in server.new:
        assert whoami(server.url, sign_in(server.url, person)) == person.username
    roles = {person.username: person.role for person in people.values()}
    assert roles == {"owner": "owner", **dict.fromkeys(config.annotators, "annotator")}


def test_the_stock_default_user_does_not_exist(server: Server) -> None:
    with pytest.raises(Refused, match="401"):
        Api(server.url, "argilla.apikey").get("/me")


@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_the_right_key_nothing_is_told(server: Server, key: str) -> None:
    for path in ("/me", "/me/datasets", "/users", "/me/workspaces"):
        with pytest.raises(Refused, match="401"):
            Api(server.url, key).get(path)


def test_an_annotator_cannot_list_users_or_read_others_answers(doctor: Api, owner: Api) -> None:
    with pytest.raises(Refused, match="403"):
        doctor.get("/users")
    dataset = owner.get("/me/datasets")["items"]
    for one in dataset[:1]:
        with pytest.raises(Refused, match="403"):
            doctor.get(f"/datasets/{one['id']}/records?include=responses")


def test_only_loopback_is_listened_on(server: Server, config: Annotation) -> None:
    tables = [Path(f"/proc/{server.process.pid}/net/{name}") for name in ("tcp", "tcp6")]
    if not tables[0].exists():
        pytest.skip("needs Linux's /proc")
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    listening = {
        row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == config.port
    }
    assert listening == {"0100007F"}  # 127.0.0.1, bytes reversed


def test_another_origin_and_another_host_name_are_refused(server: Server) -> None:
    evil = urllib.request.Request(f"{server.url}/api/v1/version", headers={"Origin": "https://evil.example"})
    with urllib.request.urlopen(evil, timeout=30) as answer:
        assert answer.headers["access-control-allow-origin"] is None
    rebound = urllib.request.Request(f"{server.url}/api/v1/version", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(rebound, timeout=30)


def test_the_page_asks_nobody_else_for_anything(server: Server) -> None:
    copies = list((server.home / "tmp").rglob("_nuxt"))
    assert len(copies) == 1  # the copies of earlier starts are gone
    sheets = [sheet.read_text(encoding="utf-8") for sheet in copies[0].rglob("*.css")]
    assert sheets and not any("googleapis" in sheet or "@import url(http" in sheet for sheet in sheets)
    with urllib.request.urlopen(server.url, timeout=30) as page:
        assert "default-src 'self'" in page.headers["content-security-policy"]


def test_the_home_is_its_owners_alone(server: Server) -> None:
    paths = [server.home, *server.home.iterdir()]
    assert {"argilla.db", "credentials.json", "secret_key", "server.log", "server.json"} <= {
        path.name for path in paths
    }
    assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_no_secret_stands_in_the_log_or_in_the_process_list(server: Server, people: dict[str, Credential]) -> None:
    process = Path(f"/proc/{server.process.pid}")
    seen = (server.home / "server.log").read_bytes()
    if process.exists():
        seen += (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    secrets = [secret for person in people.values() for secret in (person.password, person.api_key)]
    secrets.append((server.home / "secret_key").read_text(encoding="ascii"))
    assert [secret for secret in secrets if secret.encode() in seen] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/jobs/1"), ("POST", "/datasets/1/import"), ("POST", "/datasets/1/export"), ("POST", "/webhooks")],
)
def test_what_stays_off_says_so(owner: Api, method: str, path: str) -> None:
    with pytest.raises(Refused, match="501 kormed's embedded Argilla: ") as refused:
        owner.call(method, path, {} if method == "POST" else None)
    assert refused.value.status == 501


def test_a_second_server_of_the_same_home_is_refused(server: Server, config: Annotation) -> None:
    with pytest.raises(KormedError, match=f"runs already at {server.url}"):
        embedded.start(config, WORKSPACE)
    assert embedded.find_running(server.home) == server.url


def test_a_taken_port_is_named_with_the_way_out(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "home"))
    with socket.socket() as other:
        other.bind((embedded.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(KormedError, match=f"port {port} .*--set annotation.port="):
            embedded.start(config.model_copy(update={"port": port}), WORKSPACE)


def test_a_restart_keeps_log_ins_and_answers_and_a_new_annotator_is_added(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(home))
    config = config.model_copy(update={"annotators": ("doctor-lee",), "port": free_port()})
    some = comparisons(1, 2)
    with embedded.running(config, "kept") as server, connect(config, "kept") as client:
        push(client, "kept", some, config)
        lee = embedded.credentials(home)["doctor-lee"]
        token = sign_in(server.url, lee)
        respond(Api(server.url, lee.api_key), some[0].id, "b")
    assert embedded.find_running(home) is None
    assert not server.is_alive

    config = config.model_copy(update={"annotators": ("doctor-lee", "doctor-park")})
    with embedded.running(config, "kept") as server, connect(config, "kept") as client:
        assert [person.username for person in server.new] == ["doctor-park"]
        assert whoami(server.url, token) == "doctor-lee"
        assert pull(client, "kept", some, tmp_path / "responses.jsonl").submitted == 1
        park = Api(server.url, embedded.credentials(home)["doctor-park"].api_key)
        respond(park, some[1].id, "a")
        server.process.kill()
        with pytest.raises(KormedError, match="ended by itself"):
            server.wait()

    (home / "credentials.json").unlink()  # lost: the people stay, their passwords are new
    with embedded.running(config, "kept") as server, connect(config, "kept") as client:
        assert [person.username for person in server.new] == ["owner", "doctor-lee", "doctor-park"]
        assert whoami(server.url, sign_in(server.url, server.new[1])) == "doctor-lee"
        assert pull(client, "kept", some, tmp_path / "responses.jsonl").submitted == 2


def test_the_server_ends_with_the_command_that_started_it_even_when_that_is_killed(
    config: Annotation, tmp_path: Path
) -> None:
    port = free_port()
    program = (
        "import sys, time; from annotation import embedded; from stages.core.recipe import Annotation\n"
        f"server = embedded.start(Annotation(seed=1, annotators=('a1',), port={port}), 'w')\n"
        "print(server.process.pid, flush=True); time.sleep(60)"
    )
    env = os.environ | {"KORMED_ARGILLA_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=env, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while embedded.find_running(tmp_path / "home") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert embedded.find_running(tmp_path / "home") is None
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.1)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "argilla.db").write_bytes(b"this is no database " * 100)
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(home))
    with pytest.raises(KormedError, match="(?s)did not start.*server.log.*file is not a database"):
        embedded.start(config.model_copy(update={"port": free_port()}), WORKSPACE)
    assert embedded.find_running(home) is None


def test_a_folder_that_others_read_and_that_is_not_ours_is_left_alone(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "somebody's").write_text("file")
    tmp_path.chmod(0o755)
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path))
    with pytest.raises(KormedError, match="KORMED_ARGILLA_HOME"):
        embedded.start(config, WORKSPACE)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_pip_failing_shows_its_words_and_the_way_out_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "venv"
    monkeypatch.setenv("KORMED_ARGILLA_VENV", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(KormedError, match="(?s)PIP_INDEX_URL.*No matching distribution"):
        embedded.ensure_environment()
    (folder / "left-over").write_text("of the first try")
    monkeypatch.setattr(embedded, "REQUIREMENTS", tmp_path / "requirements.txt")
    (tmp_path / "requirements.txt").write_text("# nothing to install\n")
    assert embedded.ensure_environment() == folder / "bin" / "python"
    assert not (folder / "left-over").exists()
    (folder / "bin" / "python").unlink()
    embedded.ensure_environment()  # complete, so not touched again
    assert not (folder / "bin" / "python").exists()


def test_a_folder_that_is_not_our_environment_is_never_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    monkeypatch.setenv("KORMED_ARGILLA_VENV", str(tmp_path))
    with pytest.raises(KormedError, match="KORMED_ARGILLA_VENV"):
        embedded.ensure_environment()
    assert (tmp_path / "thesis.txt").exists()


def test_the_server_imports_nothing_of_ours() -> None:
    sources = list(embedded.PROGRAM.glob("*.py"))
    assert len(sources) >= 3
    assert [
        source
        for source in sources
        if "from stages" in source.read_text()
        or "annotation"
        in "".join(line for line in source.read_text().splitlines() if line.startswith(("import", "from")))
    ] == []
