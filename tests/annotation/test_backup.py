"""backup: one file from a home that is being written to, and the same answers, passwords and log-ins out of it."""

import fcntl
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import argilla
import pytest

from annotation import embedded
from annotation.api import Api
from annotation.backup import backup, restore
from annotation.connection import connect
from annotation.dataset import find_pushed, records
from annotation.embedded import Server
from annotation.people import Credential, credentials
from annotation.push import push
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, comparisons, free_port, respond, round_of
from tests.annotation.test_embedded import sign_in, whoami

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def saved(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the session's server, made once; tests only read it."""
    file = tmp_path_factory.mktemp("saved") / "saved.tar"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KORMED_ARGILLA_HOME", str(server.home))
        backup(file)
    return file


@pytest.fixture
def other_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another home, not there yet, that the commands now mean."""
    home = tmp_path / "other" / "home"
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(home))
    return home


@pytest.fixture
def standing_home(other_home: Path) -> Path:
    """A home with something in it. Contents are made up: what is moved aside is not looked at."""
    other_home.mkdir(parents=True, mode=0o700)
    for name in ("argilla.db", "argilla.db-wal", "credentials.json", "secret_key", "server.log"):
        (other_home / name).write_text(f"the {name} of before")
    return other_home


def files(home: Path) -> dict[str, bytes]:
    """What counts in a home."""
    paths = [path for path in home.rglob("*") if path.is_file() and not path.name.endswith("lock")]
    return {str(path.relative_to(home)): path.read_bytes() for path in paths}


def changed(saved: Path, target: Path, **contents: bytes) -> Path:
    """A copy of the backup with other contents for some members; b"" leaves one out."""
    with tarfile.open(saved) as read, tarfile.open(target, "w") as written:
        for member in read.getmembers():
            file = read.extractfile(member)
            assert file is not None
            content = contents.pop(member.name.partition(".")[0], file.read())
            if content:
                add(written, member.name, content)
        for name, content in contents.items():
            add(written, name, content)
    return target


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def test_a_backup_during_labelling_holds_every_answer_acknowledged_before_it_and_everybody_gets_in_again(
    server: Server,
    client: argilla.Argilla,
    config: Annotation,
    people: dict[str, Credential],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    round = round_of(comparisons(3000, 60), config)
    push(client, round)
    kim = people["doctor-kim"]
    token = sign_in(server.url, kim)
    acknowledged: list[tuple[str, str]] = []
    begun, stop = threading.Event(), threading.Event()

    def label(name: str) -> None:
        api = Api(server.url, people[name].api_key)
        for comparison in round.shown:
            if stop.is_set():
                return
            respond(api, comparison.id, "a", comment="지어낸 의견")
            acknowledged.append((comparison.id, name))
            if len(acknowledged) >= 20:
                begun.set()

    threads = [threading.Thread(target=label, args=(name,)) for name in config.annotators]
    for thread in threads:
        thread.start()
    try:
        assert begun.wait(120)
        file = tmp_path / "during.tar"
        while True:  # a backup may be so quick that nobody answers meanwhile, which shows nothing
            before = set(acknowledged)
            told = backup(file)
            if len(acknowledged) > len(before):
                break
            assert any(thread.is_alive() for thread in threads)
            file.unlink()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert "during.tar" in told and "password" in told and kim.password not in told

    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "restored"))
    restore(file)
    with (
        embedded.running(config.model_copy(update={"port": free_port()}), WORKSPACE) as restored,
        connect(config, WORKSPACE) as again,
    ):
        assert restored.new == ()
        assert whoami(restored.url, token) == "doctor-kim"
        assert whoami(restored.url, sign_in(restored.url, kim)) == "doctor-kim"
        dataset = find_pushed(again, round)
        assert dataset is not None
        names = {str(user.id): user.username for user in again.users}
        found = [
            (item["external_id"], names[response["user_id"]])
            for item in records(again, dataset["id"], with_responses=True)
            for response in item["responses"]
        ]
        assert before <= set(found)
        assert len(found) == len(set(found))


def test_a_backup_is_readable_by_its_owner_alone_and_leaves_nothing_else(saved: Path, server: Server) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert [path.name for path in saved.parent.iterdir()] == ["saved.tar"]
    assert [path.name for path in (server.home / ".backup").iterdir()] == ["lock"]
    with tarfile.open(saved) as tar:
        assert sorted(tar.getnames()) == ["argilla.db", "credentials.json", "manifest.json", "secret_key"]


def test_without_a_name_it_lies_in_the_working_directory_with_the_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = backup(None)
    (made,) = tmp_path.glob("argilla-*Z.tar")
    assert str(made) in told


def test_a_backup_overwrites_nothing(server: Server, tmp_path: Path) -> None:
    taken = tmp_path / "taken.tar"
    taken.write_text("somebody's")
    with pytest.raises(KormedError, match="taken.tar: stands there already"):
        backup(taken)
    assert taken.read_text() == "somebody's"


def test_a_home_without_anything_has_nothing_to_back_up(other_home: Path, tmp_path: Path) -> None:
    with pytest.raises(KormedError, match="nothing to back up.*kormed annotate serve"):
        backup(tmp_path / "none.tar")
    assert not other_home.exists() and not (tmp_path / "none.tar").exists()


def test_a_folder_that_is_not_there_is_one_sentence(server: Server, tmp_path: Path) -> None:
    with pytest.raises(KormedError, match=r"backup.tar: the backup cannot be written: No such file or directory"):
        backup(tmp_path / "none" / "backup.tar")


def test_a_damaged_database_is_not_backed_up(saved: Path, other_home: Path, tmp_path: Path) -> None:
    restore(saved)
    with (other_home / "argilla.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 40960)
    with pytest.raises(KormedError, match="argilla.db: the database is damaged"):
        backup(tmp_path / "damaged.tar")
    assert not (tmp_path / "damaged.tar").exists()


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_full_disk_is_one_sentence_and_leaves_everything_as_it_was(
    saved: Path, other_home: Path, tmp_path: Path, command: str
) -> None:
    restore(saved)
    (other_home / "secret_key").write_text("of before")
    before = files(other_home)
    target = tmp_path / "full.tar" if command == "backup" else saved
    program = (
        "import resource, signal; from pathlib import Path; from annotation import backup\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"backup.{command}(Path({str(target)!r}))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert "KormedError" in done.stderr.splitlines()[-1], done.stderr
    assert files(other_home) == before
    assert not list(tmp_path.glob("*full*"))


def test_what_stood_in_the_home_is_moved_aside_and_nothing_of_it_mixes_in(saved: Path, standing_home: Path) -> None:
    before = files(standing_home)
    told = restore(saved)
    (aside,) = (standing_home / ".previous").iterdir()
    assert str(aside) in told
    assert files(aside) == {name: content for name, content in before.items() if name != "server.log"}
    assert not (
        standing_home / "argilla.db-wal"
    ).exists()  # it would be written into the database that is no longer its
    assert {path.name for path in standing_home.iterdir()} >= {"argilla.db", "credentials.json", "secret_key"}
    assert stat.S_IMODE((standing_home / "argilla.db").stat().st_mode) == 0o600
    assert set(credentials(standing_home)) >= {"owner", "doctor-kim"}


def test_while_the_homes_server_runs_nothing_is_restored(saved: Path, server: Server) -> None:
    before = (server.home / "secret_key").read_bytes()
    with pytest.raises(KormedError, match=f"this home's Argilla runs at {server.url}.*then restore"):
        restore(saved)
    assert (server.home / "secret_key").read_bytes() == before and not (server.home / ".previous").exists()


@pytest.mark.parametrize("part", [0.0, 0.2, 0.6, 0.97])
def test_a_cut_off_backup_is_refused_and_the_home_untouched(
    saved: Path, standing_home: Path, tmp_path: Path, part: float
) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(saved.read_bytes()[: int(saved.stat().st_size * part)])
    before = files(standing_home)
    with pytest.raises(KormedError, match=r"cut.tar: not a whole backup"):
        restore(cut)
    assert files(standing_home) == before


def test_what_is_no_backup_of_ours_is_refused_and_the_home_untouched(
    saved: Path, standing_home: Path, tmp_path: Path
) -> None:
    manifest = json.loads(member(saved, "manifest.json"))
    text = tmp_path / "text.tar"
    text.write_text("지어낸 글", encoding="utf-8")
    new_format = json.dumps(manifest | {"format": 2}).encode()
    more_answers = json.dumps(manifest | {"responses": manifest["responses"] + 1}).encode()
    foreign = [
        (text, "not a whole backup"),
        (tmp_path / "none.tar", "no such file"),
        (tmp_path, "cannot be read"),
        (changed(saved, tmp_path / "1.tar", secret_key=b"another"), "secret_key is not what was backed up"),
        (changed(saved, tmp_path / "2.tar", credentials=b""), "and nothing else"),
        (changed(saved, tmp_path / "3.tar", **{"../escaped": b"x"}), "and nothing else"),
        (changed(saved, tmp_path / "4.tar", manifest=b"[]"), "manifest.json is not one of ours"),
        (changed(saved, tmp_path / "5.tar", manifest=new_format), "is of format 2, this kormed reads 1"),
        (changed(saved, tmp_path / "6.tar", manifest=b"{" * 2**17), "far too large"),
        (changed(saved, tmp_path / "7.tar", manifest=more_answers), "not what its manifest says"),
    ]
    before = files(standing_home)
    for file, why in foreign:
        with pytest.raises(KormedError, match=why):
            restore(file)
        assert files(standing_home) == before
    assert not (tmp_path / "other" / "escaped").exists() and not (tmp_path / "escaped").exists()


def test_a_link_in_the_place_of_a_file_is_refused(saved: Path, standing_home: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "link.tar", "w") as tar:
        for name in ("manifest.json", "argilla.db", "credentials.json"):
            add(tar, name, member(saved, name))
        link = tarfile.TarInfo("secret_key")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    before = files(standing_home)
    with pytest.raises(KormedError, match="not a whole backup"):
        restore(tmp_path / "link.tar")
    assert files(standing_home) == before


def test_a_restore_that_is_killed_in_the_middle_is_told_at_the_next_start_and_finished_by_the_next_restore(
    saved: Path, standing_home: Path, config: Annotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import os, signal; from pathlib import Path; from annotation import backup\n"
        "move = backup._set_aside\n"
        "backup._set_aside = lambda home: (move(home), os.kill(os.getpid(), signal.SIGKILL))\n"
        f"backup.restore(Path({str(saved)!r}))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", program], env=env).returncode == -signal.SIGKILL
    assert not (standing_home / "argilla.db").exists()
    with pytest.raises(KormedError, match=f"a restore was stopped in the middle.*kormed annotate restore {saved}"):
        embedded.start(config.model_copy(update={"port": free_port()}), WORKSPACE)
    restore(saved)
    assert (standing_home / "secret_key").read_bytes() == member(saved, "secret_key")
    (aside,) = (standing_home / ".previous").iterdir()
    assert (aside / "argilla.db").read_text() == "the argilla.db of before"
    assert not (standing_home / "restoring").exists()


def test_two_at_once_do_not_meet(server: Server, tmp_path: Path) -> None:
    (server.home / ".backup").mkdir(exist_ok=True)
    with (server.home / ".backup" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(KormedError, match="another backup or restore is at work"):
            backup(tmp_path / "second.tar")
    assert not list(tmp_path.iterdir())


def member(file: Path, name: str) -> bytes:
    with tarfile.open(file) as tar:
        content = tar.extractfile(name)
        assert content is not None
        return content.read()
