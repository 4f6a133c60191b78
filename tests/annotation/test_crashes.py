"""Crashes: kill -9 at random moments under load loses nothing that the server acknowledged.

After a kill the files hold what the kernel was given, synced or not, so killing proves that an answer is written before
it is acknowledged, and that what is half written is undone. That it is also on the disk by then, for a power cut, is
what `synchronous = FULL` is for: SQLite then waits for the disk before each commit ends. Here it is proven only that
the server's own connections have that setting. Disks that lie about having written are out of anybody's reach.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import argilla
import pytest

from annotation import embedded
from annotation.connection import connect
from annotation.embedded import Server
from annotation.environment import ensure_environment
from annotation.people import credentials
from annotation.progress import progress
from annotation.pull import pull
from annotation.push import push
from annotation.rounds import Round
from stages.core.recipe import Annotation
from stages.core.records import Response, read_jsonl
from tests.annotation.examples import WORKSPACE, comparisons, free_port, round_of
from tests.annotation.load import Person, at_work, may_hold

pytestmark = pytest.mark.crash

ROOT = Path(__file__).parents[2]
KILLS = 20
SEED = 4
COMPARISONS = 250  # so few that most are completed meanwhile
WANTED = 2  # responses a comparison
NAMES = tuple(f"annotator-{number}" for number in range(1, 7))
PATIENCE_SECONDS = 90


@dataclass(frozen=True)
class Content:
    """What a database holds of the labelling, and what is wrong with it.

    `lagging`: records that are pending with enough submitted responses, or completed with too few.
    """

    responses: tuple[tuple[str, str, str], ...]  # record, username, value
    comparison_ids: dict[str, str]  # by record
    lagging: tuple[str, ...]
    damages: tuple[object, ...]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """One of its own for each test here."""
    return tmp_path / "home"


@pytest.fixture
def config() -> Annotation:
    return Annotation(seed=1, annotators=NAMES, responses_per_comparison=WANTED, repeats=0, port=free_port())


@pytest.fixture
def work(config: Annotation, tmp_path: Path) -> Round:
    return round_of(comparisons(1, COMPARISONS), config, tmp_path / "responses.jsonl")


def test_twenty_kills_at_random_moments_under_load_lose_nothing(
    config: Annotation, work: Round, home: Path, tmp_path: Path
) -> None:
    rng = random.Random(SEED)
    with embedded.running(config, WORKSPACE) as server, connect(config, WORKSPACE) as client:
        push(client, work)
        people = crowd(server.url, home, work)
        with at_work(people):
            for kill in range(KILLS):
                if kill % 5 != 4:  # every fifth hits the start after the one before
                    wait_until(partial(more_is_acknowledged, people, than=acknowledged(people)))
                time.sleep(rng.uniform(0, 2))
                pid = server.pid
                os.kill(pid, signal.SIGKILL)
                wait_until(partial(is_gone, pid))
                left = what_is_left(home, tmp_path / f"left-{kill}")
                assert_kept(left, people)  # before the next process, which takes seconds to start, can add to it
                wait_until(partial(is_replaced, server, pid))
            wait_until(partial(more_is_acknowledged, people, than=acknowledged(people)))
        assert_all_is_right(client, work, home, people)


def test_the_starting_command_killed_under_load_loses_nothing(
    config: Annotation, work: Round, home: Path, tmp_path: Path
) -> None:
    program = (
        "import sys, time; from annotation import embedded; from stages.core.recipe import Annotation\n"
        f"server = embedded.start(Annotation.model_validate_json(sys.argv[1]), {WORKSPACE!r})\n"
        "print(server.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, config.model_dump_json()]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        with connect(config, WORKSPACE) as client:
            push(client, work)
        people = crowd(f"http://{embedded.HOST}:{config.port}", home, work)
        with at_work(people):
            time.sleep(random.Random(SEED).uniform(1, 3))
            starter.kill()
            wait_until(partial(is_gone, pid))
            left = what_is_left(home, tmp_path / "left")
    assert left.responses
    assert_kept(left, people)
    with embedded.running(config, WORKSPACE), connect(config, WORKSPACE) as client:
        assert_all_is_right(client, work, home, people)


def test_the_servers_own_connections_wait_for_the_disk_before_a_commit_ends(tmp_path: Path) -> None:
    program = f"""
import asyncio, json, sys
sys.path.insert(0, {str(embedded.PROGRAM)!r})
import app  # as the server does: its hook is for every connection made from then on
from argilla_server.database import async_engine
from sqlalchemy import text

async def settings():
    async with async_engine.connect() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return {{name: (await connection.execute(text(f"PRAGMA {{name}}"))).scalar() for name in names}}

print(json.dumps(asyncio.run(settings())))
"""
    env = {"PATH": os.environ["PATH"], "ARGILLA_HOME_PATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [str(ensure_environment()), "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, check=True)
    full = 2
    assert json.loads(done.stdout) == {"journal_mode": "wal", "synchronous": full, "foreign_keys": 1}


def crowd(url: str, home: Path, work: Round) -> list[Person]:
    """Without a pause. Half of them go on as the page does where an answer fails, half send it again until it is in."""
    known = credentials(home)
    return [
        Person(url, known[name], work.dataset, 0, random.Random(name), changes=0.2, insists=number % 2 == 0)
        for number, name in enumerate(NAMES)
    ]


def what_is_left(home: Path, folder: Path) -> Content:
    """Of a server that was killed: its files as they are, looked at elsewhere, as its own next start mends them."""
    folder.mkdir()
    for name in ("argilla.db", "argilla.db-wal"):
        if (home / name).exists():
            shutil.copy(home / name, folder)
    return read(folder / "argilla.db")


def read(database: Path) -> Content:
    with closing(sqlite3.connect(database)) as db:
        checks = [row for row in db.execute("PRAGMA integrity_check") if row != ("ok",)]
        foreign = list(db.execute("PRAGMA foreign_key_check"))
        rows = db.execute(
            "SELECT record_id, username, json_extract(\"values\", '$.preference.value') "
            "FROM responses JOIN users ON users.id = user_id WHERE responses.status = 'submitted'"
        ).fetchall()
        twice = [key for key, count in Counter(row[:2] for row in rows).items() if count > 1]
        lagging = db.execute(
            "SELECT records.id FROM records LEFT JOIN responses "
            "ON record_id = records.id AND responses.status = 'submitted' GROUP BY records.id "
            "HAVING (records.status = 'completed') != (count(responses.id) >= ?)",
            (WANTED,),
        ).fetchall()
        comparison_ids = {str(UUID(key)): name for key, name in db.execute("SELECT id, external_id FROM records")}
    return Content(
        responses=tuple((str(UUID(record)), username, value) for record, username, value in rows),
        comparison_ids=comparison_ids,
        lagging=tuple(record for (record,) in lagging),
        damages=(*checks, *foreign, *twice),
    )


def assert_kept(content: Content, people: Sequence[Person]) -> None:
    """Every acknowledged answer is there with its last value, and nothing that nobody sent."""
    assert content.damages == ()
    held = {(record, username): value for record, username, value in content.responses}
    allowed = may_hold(people)
    wrong = {key: (held.get(key), values) for key, values in allowed.items() if held.get(key) not in values}
    assert wrong == {}
    assert held.keys() <= allowed.keys()


def assert_all_is_right(client: argilla.Argilla, work: Round, home: Path, people: Sequence[Person]) -> None:
    """Nobody works any more: table, progress, pull and log-ins agree with what was acknowledged."""
    content = read(home / "argilla.db")
    assert_kept(content, people)
    assert content.lagging == ()
    assert [one for person in people for one in person.failed if one.status is not None] == []

    each = Counter(record for record, _, _ in content.responses)
    theirs = Counter(username for _, username, _ in content.responses)
    state = progress(client, work)
    assert state.completed == sum(count >= WANTED for count in each.values())
    assert state.total == COMPARISONS
    assert {share.annotator: share.submitted for share in state.shares} == {name: theirs[name] for name in NAMES}

    pull(client, work)
    pulled = [(one.comparison_id, one.annotator, one.value) for one in read_jsonl(work.file, Response)]
    named = [(content.comparison_ids[record], username, value) for record, username, value in content.responses]
    assert sorted(pulled) == sorted(named)

    for person in people:
        assert person.is_signed_in(), person.failed  # with the token from before the first kill
        assert person.sign_in(), person.failed


def acknowledged(people: Sequence[Person]) -> int:
    return sum(sent.acknowledged for person in people for sent in list(person.sent))


def more_is_acknowledged(people: Sequence[Person], *, than: int) -> bool:
    return acknowledged(people) > than


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def is_replaced(server: Server, pid: int) -> bool:
    return server.pid != pid


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
