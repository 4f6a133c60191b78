"""database: damage is found before anything is written, and a copy is what stood there at one moment."""

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from annotation.database import check, copy
from annotation.embedded import Server
from stages.core.errors import KormedError

KILLED_WRITER = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = " + sys.argv[2])
connection.execute("CREATE TABLE answers (number INTEGER)")
for number in range(100):
    connection.execute("INSERT INTO answers VALUES (?)", (number,))
if sys.argv[2] == "delete":
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN")
    connection.execute("UPDATE answers SET number = zeroblob(50000)")
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_writer(file: Path, mode: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, file, mode])
    assert done.returncode == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Path:
    """A copy of a real server's."""
    copy(server.home / "argilla.db", tmp_path / "argilla.db")
    return tmp_path / "argilla.db"


def test_a_sound_database_and_a_missing_one_pass(server: Server, database: Path, tmp_path: Path) -> None:
    check(database)
    check(server.home / "argilla.db")  # while it is served
    check(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_what_is_no_database_is_named_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "argilla.db"
    file.write_text("지어낸 글 " * 1000, encoding="utf-8")
    with pytest.raises(KormedError, match=r"argilla.db.*not a database.*kormed annotate restore.*move argilla.db"):
        check(file)
    assert file.read_text(encoding="utf-8") == "지어낸 글 " * 1000


@pytest.mark.parametrize("damage", ["cut off", "noise", "zeros at the start"])
def test_a_damaged_database_is_refused_and_left_as_it_is(database: Path, damage: str) -> None:
    content = bytearray(database.read_bytes())
    match damage:
        case "cut off":
            del content[len(content) // 2 :]
        case "noise":
            content[4096 : 40 * 4096] = random.Random(1).randbytes(39 * 4096)
        case _:
            content[:100] = bytes(100)
    database.write_bytes(content)
    with pytest.raises(KormedError, match="argilla.db: the database is damaged"):
        check(database)
    assert database.read_bytes() == content


def test_an_index_that_lost_a_row_is_damage(tmp_path: Path) -> None:
    """As PRAGMA quick_check would not see."""
    file = tmp_path / "argilla.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE answers (number INTEGER)")
        connection.execute("CREATE INDEX by_number ON answers (number)")
        connection.executemany("INSERT INTO answers VALUES (?)", [(number,) for number in range(10)])
        connection.commit()
        connection.execute("PRAGMA writable_schema = ON")
        hidden = "UPDATE sqlite_master SET sql = 'CREATE INDEX by_number ON answers (number) WHERE number > 4'"
        connection.execute(f"{hidden} WHERE name = 'by_number'")
        connection.commit()
    with pytest.raises(KormedError, match="damaged .*by_number"):
        check(file)


def test_a_row_whose_record_is_gone_is_damage(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        moment = "2026-01-01 00:00:00"
        row = ("1" * 32, "2" * 32, "3" * 32, moment, moment)
        columns = "(id, workspace_id, user_id, inserted_at, updated_at)"
        connection.execute(f"INSERT INTO workspaces_users {columns} VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()
    with pytest.raises(KormedError, match="a row of workspaces_users refers to one of .* that is not there"):
        check(database)


def test_what_a_killed_server_left_is_read_and_left_for_the_next_one(tmp_path: Path) -> None:
    file = tmp_path / "argilla.db"
    killed_writer(file, "wal")
    before = contents(tmp_path)
    assert before["argilla.db-wal"]
    check(file)
    copy(file, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (100,)
    (tmp_path / "copy.db").unlink()
    assert contents(tmp_path) == before


def test_a_half_done_change_from_before_the_wal_is_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "argilla.db"
    killed_writer(file, "delete")
    assert (tmp_path / "argilla.db-journal").exists()
    check(file)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*), max(number) FROM answers").fetchone() == (100, 99)


def test_a_wal_of_another_database_is_not_written_into_this_one(server: Server, tmp_path: Path) -> None:
    """As when somebody copies argilla.db back by hand and leaves the WAL: moved away, all is as it was."""
    file = tmp_path / "argilla.db"
    killed_writer(file, "wal")
    (tmp_path / "argilla.db-shm").unlink()
    copy(server.home / "argilla.db", tmp_path / "sound.db")
    (tmp_path / "sound.db").replace(file)
    before = contents(tmp_path)
    with suppress(KormedError):  # whether the mixture looks sound is chance
        check(file)
    assert contents(tmp_path) == before
    (tmp_path / "argilla.db-wal").unlink()
    check(file)


def test_what_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "argilla.db").mkdir()
    with pytest.raises(KormedError, match=r"argilla.db: the database cannot be read"):
        check(tmp_path / "argilla.db")


def test_a_copy_holds_whole_transactions_while_others_write(tmp_path: Path) -> None:
    """Two rows come in one transaction each time: never is one of them missing in a copy."""
    file = tmp_path / "argilla.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE answers (number INTEGER, text TEXT)")
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        with closing(sqlite3.connect(file, timeout=30)) as connection:
            while not stop.is_set():
                with connection:
                    rows = [(len(written), "답" * 2000), (len(written), "말" * 2000)]
                    connection.executemany("INSERT INTO answers VALUES (?, ?)", rows)
                written.append(len(written))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            least, target = len(written), tmp_path / f"copy-{number}.db"
            copy(file, target)
            check(target)
            with closing(sqlite3.connect(target)) as connection:
                (rows, numbers) = connection.execute("SELECT count(*), count(DISTINCT number) FROM answers").fetchone()
            assert rows == 2 * numbers and numbers >= least
            assert stat.S_IMODE(target.stat().st_mode) == 0o600
    finally:
        stop.set()
        writer.join()
    assert not list(tmp_path.glob("copy-*-wal"))


def test_a_copy_overwrites_nothing(database: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.db").write_text("somebody's")
    with pytest.raises(FileExistsError):
        copy(database, tmp_path / "taken.db")
    assert (tmp_path / "taken.db").read_text() == "somebody's"
    with pytest.raises(KormedError, match=r"none.db: the database cannot be copied"):
        copy(tmp_path / "none.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists() and not (tmp_path / "none.db").exists()


def test_a_disk_that_takes_no_copy_is_one_sentence(database: Path, tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from annotation.database import copy\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"copy(Path({str(database)!r}), Path({str(tmp_path / 'copy.db')!r}))"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert "KormedError" in done.stderr and "cannot be copied" in done.stderr
    assert not (tmp_path / "copy.db").exists()
