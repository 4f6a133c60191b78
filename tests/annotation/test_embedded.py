"""embedded: one command starts it, nobody else gets in, nothing is lost when it stops."""

import fcntl
import json
import os
import resource
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import argilla
import pytest

from annotation import embedded, environment, supervisor
from annotation.api import Api, Refused
from annotation.connection import connect
from annotation.embedded import Server
from annotation.people import Credential, credentials
from annotation.pull import pull
from annotation.push import push
from annotation.rounds import label_round
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, comparisons, free_port, respond


def sign_in(url: str, person: Credential) -> str:
    """A log-in as the page makes it; returns its token."""
    request = urllib.request.Request(f"{url}/api/v1/token", data=sign_in_form(person))
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["access_token"])


def sign_in_form(person: Credential) -> bytes:
    return f"username={person.username}&password={person.password}".encode()


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
    tables = [Path(f"/proc/{server.pid}/net/{name}") for name in ("tcp", "tcp6")]
    if not tables[0].exists():
        pytest.skip("needs Linux's /proc")
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    listening = {
        row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == config.port
    }
    assert listening == {"0100007F"}  # 127.0.0.1, bytes reversed


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
def test_what_a_page_from_elsewhere_sends_is_refused(
    server: Server, people: dict[str, Credential], origin: str
) -> None:
    for path, form in (("version", None), ("token", sign_in_form(people["doctor-kim"]))):
        request = urllib.request.Request(f"{server.url}/api/v1/{path}", data=form, headers={"Origin": origin})
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(request, timeout=30)
        assert refused.value.headers["access-control-allow-origin"] is None
        assert "a page from elsewhere may send nothing here" in refused.value.read().decode()


def test_the_page_itself_gets_in_by_both_names(
    server: Server, config: Annotation, people: dict[str, Credential]
) -> None:
    for origin in (server.url, f"http://localhost:{config.port}"):
        form = sign_in_form(people["doctor-kim"])
        request = urllib.request.Request(f"{origin}/api/v1/token", data=form, headers={"Origin": origin})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["access_token"]


def test_another_host_name_is_refused(server: Server) -> None:
    """Else a page elsewhere could point its own name at 127.0.0.1."""
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
    process = Path(f"/proc/{server.pid}")
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
    round = label_round("kept", some, config, tmp_path / "responses.jsonl")
    home.mkdir(mode=0o700)
    (home / "argilla.db.new").write_bytes(b"half of the tables, from a first start that was cut short")
    with embedded.running(config, "kept") as server, connect(config, "kept") as client:
        push(client, round)
        lee = credentials(home)["doctor-lee"]
        token = sign_in(server.url, lee)
        respond(Api(server.url, lee.api_key), some[0].id, "b")
    assert embedded.find_running(home) is None
    assert not server.is_alive

    config = config.model_copy(update={"annotators": ("doctor-lee", "doctor-park")})
    with embedded.running(config, "kept") as server, connect(config, "kept") as client:
        assert [person.username for person in server.new] == ["doctor-park"]
        assert whoami(server.url, token) == "doctor-lee"
        assert pull(client, round).submitted == 1
        park = Api(server.url, credentials(home)["doctor-park"].api_key)
        respond(park, some[1].id, "a")

    (home / "credentials.json").unlink()  # lost: the people stay, their passwords are new
    with embedded.running(config, "kept") as server, connect(config, "kept") as client:
        assert [person.username for person in server.new] == ["owner", "doctor-lee", "doctor-park"]
        assert whoami(server.url, sign_in(server.url, server.new[1])) == "doctor-lee"
        assert pull(client, round).submitted == 2


@pytest.fixture(scope="module")
def battered(config: Annotation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tests may kill; its owner's workspace is WORKSPACE, as in `config`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KORMED_ARGILLA_HOME", str(tmp_path_factory.mktemp("battered") / "home"))
        server = embedded.start(config.model_copy(update={"port": free_port()}), WORKSPACE)
    yield server
    server.stop()


@pytest.fixture
def battered_client(battered: Server, config: Annotation, monkeypatch: pytest.MonkeyPatch) -> Iterator[argilla.Argilla]:
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(battered.home))
    with connect(config, WORKSPACE) as client:
        yield client


def test_after_a_crash_it_is_started_again_and_requests_wait_meanwhile(
    battered: Server,
    battered_client: argilla.Argilla,
    config: Annotation,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kim = credentials(battered.home)["doctor-kim"]
    api, token = Api(battered.url, kim.api_key), sign_in(battered.url, kim)
    some = comparisons(7000, 1)
    round = label_round(WORKSPACE, some, config, tmp_path / "responses.jsonl")
    push(battered_client, round)
    respond(api, some[0].id, "a")
    killed, restarts = battered.pid, battered.restarts
    os.kill(killed, signal.SIGKILL)
    assert embedded.find_running(battered.home) == battered.url  # waits, is not refused
    assert whoami(battered.url, token) == "doctor-kim"
    assert battered.is_alive and battered.restarts == restarts + 1 and battered.pid != killed
    assert json.loads((battered.home / "server.json").read_text())["pid"] == battered.pid
    assert pull(battered_client, round).submitted == 1
    (line,) = [record.message for record in caplog.records if "starting it again" in record.message]
    assert "killed by signal 9" in line and str(battered.home / "server.log") in line


def test_a_status_that_a_crash_left_behind_is_mended(
    battered: Server, battered_client: argilla.Argilla, config: Annotation, tmp_path: Path
) -> None:
    """Argilla keeps an answer first and its record's status after, so that a crash can come between."""
    some = comparisons(7100, 2)
    push(battered_client, label_round(WORKSPACE, some, config, tmp_path / "responses.jsonl"))
    for name in ("doctor-kim", "simulated-1"):
        respond(Api(battered.url, credentials(battered.home)[name].api_key), some[0].id, "a")
    query = "SELECT status FROM records WHERE external_id IN (?, ?) ORDER BY external_id"
    ids = [one.id for one in some]
    with closing(sqlite3.connect(battered.home / "argilla.db")) as database, database:
        assert database.execute(query, ids).fetchall() == [("completed",), ("pending",)]
        database.execute("UPDATE records SET status = 'pending' WHERE external_id = ?", ids[:1])
        database.execute("UPDATE records SET status = 'completed' WHERE external_id = ?", ids[1:])
    os.kill(battered.pid, signal.SIGKILL)
    assert embedded.find_running(battered.home)
    with closing(sqlite3.connect(battered.home / "argilla.db")) as database:
        assert database.execute(query, ids).fetchall() == [("completed",), ("pending",)]


def test_a_full_disk_refuses_an_answer_with_a_sentence_and_takes_it_when_there_is_room(
    battered: Server, battered_client: argilla.Argilla, config: Annotation, tmp_path: Path
) -> None:
    if not hasattr(resource, "prlimit"):
        pytest.skip("needs Linux's prlimit")
    some = comparisons(7200, 2)
    round = label_round(WORKSPACE, some, config, tmp_path / "responses.jsonl")
    push(battered_client, round)
    kim = Api(battered.url, credentials(battered.home)["doctor-kim"].api_key)
    (path,) = {
        f"/records/{item['record']['id']}/responses"
        for dataset in kim.get("/me/datasets?status=ready")["items"]
        for item in kim.post(f"/me/datasets/{dataset['id']}/records/search", {})["items"]
        if item["record"]["external_id"] == some[1].id
    }
    values = {"preference": {"value": "b"}, "comment": {"value": "지어낸 메모"}}
    _, most = resource.prlimit(battered.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(battered.pid, resource.RLIMIT_FSIZE, (0, most))  # no file grows: each write fails
    try:
        for ask in (
            lambda: respond(kim, some[0].id, "a"),
            lambda: kim.post(path, {"status": "submitted", "values": values}),
        ):
            with pytest.raises(Refused, match="the disk refuses .*make room") as refused:
                ask()
            assert refused.value.status == 507 and "지어낸" not in str(refused.value)
        assert kim.get("/me")["username"] == "doctor-kim"  # reading goes on
    finally:
        resource.prlimit(battered.pid, resource.RLIMIT_FSIZE, (most, most))
    assert pull(battered_client, round).submitted == 0
    respond(kim, some[0].id, "a")
    kim.post(path, {"status": "submitted", "values": values})
    assert pull(battered_client, round).submitted == 2
    assert "지어낸" not in (battered.home / "server.log").read_text(encoding="utf-8")


def test_a_stop_in_the_middle_of_a_restart_stops(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "home"))
    server = embedded.start(config.model_copy(update={"port": free_port()}), WORKSPACE)
    killed = server.pid
    os.kill(killed, signal.SIGKILL)
    while server.pid == killed:
        time.sleep(0.01)
    server.stop()
    server.wait()  # at once, and without an error: it was we who stopped it
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    assert not server.is_alive and not (server.home / "server.json").exists()
    with (server.home / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_server_that_ends_again_and_again_is_given_up_with_the_end_of_its_log(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(supervisor, "TRIES", 2)
    with embedded.running(config.model_copy(update={"port": free_port()}), WORKSPACE) as server:
        (server.home / "secret_key").unlink()
        (server.home / "secret_key").mkdir()
        os.kill(server.pid, signal.SIGTERM)
        with pytest.raises(KormedError, match="(?s)2 times in a row .*server.log.*Is a directory.*secret_key"):
            server.wait()
        assert not server.is_alive and embedded.find_running(server.home) is None
        with pytest.raises(KormedError, match="no answer"):
            Api(server.url, "").get("/version")


@pytest.mark.parametrize("moment", ["serving", "restarting"])
def test_the_server_ends_with_the_command_that_started_it_even_when_that_is_killed(tmp_path: Path, moment: str) -> None:
    home = tmp_path / "home"
    program = (
        "import os, signal, time; from annotation import embedded; from stages.core.recipe import Annotation\n"
        f"server = embedded.start(Annotation(seed=1, annotators=('a1',), port={free_port()}), 'w')\n"
        "first = server.pid\n"
        f"if {moment == 'restarting'}:\n"
        "    os.kill(first, signal.SIGKILL)\n"
        "    while server.pid == first: time.sleep(0.01)\n"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    env = os.environ | {"KORMED_ARGILLA_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=env, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.send_signal(signal.SIGKILL)
    assert embedded.find_running(home) is None
    deadline = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.1)
    with (home / "lock").open() as lock:  # held until then: nobody else wrote to the same database
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "secret_key").mkdir(parents=True)
    (home / "credentials.json").write_text(
        '{"owner": {"username": "owner", "password": "p", "api_key": "k", "role": "owner"}, "annotators": {}}'
    )
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(home))
    with pytest.raises(KormedError, match="(?s)did not start.*server.log.*Is a directory.*secret_key"):
        embedded.start(config.model_copy(update={"port": free_port()}), WORKSPACE)
    assert embedded.find_running(home) is None


def test_a_home_that_cannot_be_written_is_named_with_the_way_out(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("somebody's")
    for home in (in_the_way, in_the_way / "home", Path("/proc/home")):
        monkeypatch.setenv("KORMED_ARGILLA_HOME", str(home))
        with pytest.raises(KormedError, match=f"{home}: cannot keep Argilla's data here.*KORMED_ARGILLA_HOME"):
            embedded.start(config, WORKSPACE)
        assert embedded.find_running(home) is None
    assert in_the_way.read_text() == "somebody's"


def test_too_little_space_is_refused_before_anything_is_written(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(embedded, "LEAST_FREE", 2**62)
    with pytest.raises(KormedError, match="MB are free on this disk.*make room"):
        embedded.start(config, WORKSPACE)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["lock"]


def test_a_damaged_database_is_refused_and_left_as_it_is(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "argilla.db").write_bytes(b"this is no database " * 100)
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(home))
    with pytest.raises(KormedError, match=r"argilla.db: the database is damaged \(file is not a database\)"):
        embedded.start(config.model_copy(update={"port": free_port()}), WORKSPACE)
    assert (home / "argilla.db").read_bytes() == b"this is no database " * 100
    assert embedded.find_running(home) is None


def test_a_clock_that_went_back_is_refused_with_both_ways_out(
    config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    database = home / "argilla.db"
    database.write_bytes(b"")
    os.utime(database, (time.time() + 3600,) * 2)
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(home))
    with pytest.raises(KormedError, match="set the clock right.*touch .*argilla.db"):
        embedded.start(config, WORKSPACE)
    assert {path.name for path in home.iterdir()} == {"argilla.db", "lock"}


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
        environment.ensure_environment()
    (folder / "left-over").write_text("of the first try")
    monkeypatch.setattr(environment, "REQUIREMENTS", tmp_path / "requirements.txt")
    (tmp_path / "requirements.txt").write_text("# nothing to install\n")
    assert environment.ensure_environment() == folder / "bin" / "python"
    assert not (folder / "left-over").exists()
    (folder / "bin" / "python").unlink()
    environment.ensure_environment()  # complete, so not touched again
    assert not (folder / "bin" / "python").exists()


def test_a_folder_that_is_not_our_environment_is_never_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    monkeypatch.setenv("KORMED_ARGILLA_VENV", str(tmp_path))
    with pytest.raises(KormedError, match="KORMED_ARGILLA_VENV"):
        environment.ensure_environment()
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
