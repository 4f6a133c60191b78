"""backup and restore: the embedded Argilla's home in one file, and back, log-ins and all.

The file is a plain tar of
    manifest.json      when it was made, how many records and responses it holds, SHA-256 of the others
    argilla.db         the database at one moment
    credentials.json   everybody's password and API key
    secret_key         what log-ins are signed with
so it is as secret as the home itself: whoever reads it can sign in as anybody, and reads what patients wrote. What
else lies in the home (log, certificate, the page's files) is made anew.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from annotation import database, people
from annotation.embedded import find_running, home_folder
from stages.core.errors import KormedError

DATABASE = "argilla.db"
CREDENTIALS = "credentials.json"
SECRET_KEY = "secret_key"
KEPT = (DATABASE, CREDENTIALS, SECRET_KEY)
MANIFEST = "manifest.json"
PREVIOUS = ".previous"
REPLACED = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", CREDENTIALS, SECRET_KEY)
FORMAT = 1
LARGEST_MANIFEST = 2**16  # bytes; ours has 500
BLOCK = 2**20


@dataclass(frozen=True)
class Manifest:
    """What a backup holds. `made`: ISO 8601, UTC. `sha256`: by member's name."""

    format: int
    made: str
    records: int
    responses: int
    sha256: dict[str, str]


def backup(file: Path | None) -> str:
    """The home into `file`; without one into argilla-<UTC>.tar in the working directory. The server may be running.

    Returns a sentence that says where it is and what is in it.

    Raises:
        KormedError: there is nothing to back up, the database is damaged, something stands at `file` already, or the
            disk does not take it; then nothing stands at `file`.
    """
    home = home_folder()
    if missing := [name for name in KEPT if not (home / name).exists()]:
        raise KormedError(
            f"{home}: nothing to back up, there is no {missing[0]}; an embedded Argilla begins with `kormed annotate "
            "serve` (make label), and a team's own is backed up where it runs"
        )
    database.check(home / DATABASE)
    now = datetime.now(UTC)
    target = (file or Path(f"argilla-{now:%Y%m%dT%H%M%SZ}.tar")).absolute()
    _refuse_taken(target)
    with _told(f"{target}: the backup cannot be written"), _own_folder(home / ".backup") as folder:
        with people.changing(home):  # a password that is being changed stands in two of them
            database.copy(home / DATABASE, folder / DATABASE)
            for name in (CREDENTIALS, SECRET_KEY):
                (folder / name).write_bytes((home / name).read_bytes())
        if found := database.damage(folder / DATABASE):
            raise KormedError(f"{target}: the copy of the database is damaged ({found}); see to this disk")
        records, responses = _counts(folder / DATABASE)
        hashes = {name: _sha256((folder / name).open("rb")) for name in KEPT}
        manifest = Manifest(FORMAT, now.isoformat(timespec="seconds"), records, responses, hashes)
        _write(target, folder, manifest)
    return (
        f"{target}: {records:,} records and {responses:,} responses, {target.stat().st_size / 2**20:.1f} MB. It holds "
        "patients' questions, everybody's password and the key that signs log-ins: keep it where only you can read it"
    )


def restore(file: Path) -> str:
    """The home as the backup has it. Returns a sentence that says what is there now, and where what stood there is.

    Everything is verified before anything is touched. Killed in the middle, it is said at the next start, and the
    same command finishes.

    Raises:
        KormedError: the file is missing, cut off, changed or not a backup of ours; the home's server runs; the disk
            does not take it.
    """
    home, source = home_folder(), file.absolute()
    manifest = _read_manifest(source)
    with _told(f"{home}: the backup cannot be restored"):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _without_server(home), _own_folder(home / ".restore") as folder:
            _unpack(source, folder, manifest)
            marker = home / database.RESTORING
            people.write_private(marker, str(source))
            aside = _set_aside(home)
            for name in KEPT:
                (folder / name).rename(home / name)
            _settle(home)
            marker.unlink()
            _settle(home)
    moved = f"; what stood there is in {aside}" if aside else ""
    return (
        f"{home}: {manifest.records:,} records and {manifest.responses:,} responses as they were on {manifest.made}"
        f"{moved}. Passwords and log-ins are those of then (credentials.json)"
    )


def _write(target: Path, folder: Path, manifest: Manifest) -> None:
    """Under a temporary name first, read again, then renamed."""
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with open(temporary, "wb", opener=people.private) as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                content = json.dumps(asdict(manifest), indent=1).encode()
                tar.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))
                for name in KEPT:
                    with (folder / name).open("rb") as part:
                        tar.addfile(_member(name, (folder / name).stat().st_size), part)
            file.flush()
            os.fsync(file.fileno())
        _verify(temporary)
        _refuse_taken(target)
        temporary.rename(target)
        _settle(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _read_manifest(file: Path) -> Manifest:
    """Raises KormedError where the file has other members than ours, or no manifest of ours."""
    with _tar(file) as tar:
        members = tar.getmembers()
        if sorted(member.name for member in members) != sorted((MANIFEST, *KEPT)) or not all(
            member.isreg() for member in members
        ):
            raise _foreign(file, f"it was to hold {', '.join((MANIFEST, *KEPT))} and nothing else")
        if tar.getmember(MANIFEST).size > LARGEST_MANIFEST:
            raise _foreign(file, f"its {MANIFEST} is far too large")
        content = _content(tar, MANIFEST).read()
    try:
        manifest = Manifest(**json.loads(content))
    except (ValueError, TypeError):
        raise _foreign(file, f"its {MANIFEST} is not one of ours") from None
    if manifest.format != FORMAT or set(manifest.sha256) != set(KEPT):
        raise _foreign(file, f"its {MANIFEST} is of format {manifest.format}, this kormed reads {FORMAT}")
    return manifest


def _verify(file: Path) -> None:
    manifest = _read_manifest(file)
    with _tar(file) as tar:
        for name in KEPT:
            if _sha256(_content(tar, name)) != manifest.sha256[name]:
                raise KormedError(f"{file}: {name} reads otherwise than it was written; see to this disk")


def _unpack(file: Path, folder: Path, manifest: Manifest) -> None:
    """Every part of it into `folder`, each proven to be what was backed up."""
    with _tar(file) as tar:
        for name in KEPT:
            with open(folder / name, "xb", opener=people.private) as written:
                shutil.copyfileobj(_content(tar, name), written, BLOCK)
                written.flush()
                os.fsync(written.fileno())
            if _sha256((folder / name).open("rb")) != manifest.sha256[name]:
                raise _foreign(file, f"{name} is not what was backed up, its SHA-256 is another")
    if found := database.damage(folder / DATABASE):
        raise _foreign(file, f"its database is damaged: {found}")
    if _counts(folder / DATABASE) != (manifest.records, manifest.responses) or not people.credentials(folder):
        raise _foreign(file, "its database or its credentials are not what its manifest says")


def _set_aside(home: Path) -> Path | None:
    """What a restore replaces, moved away; None where nothing was there."""
    there = [name for name in REPLACED if (home / name).exists()]
    if not there:
        return None
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    aside = home / PREVIOUS / stamp
    aside.parent.mkdir(mode=0o700, exist_ok=True)
    aside.mkdir(mode=0o700)
    for name in there:
        (home / name).rename(aside / name)
    _settle(aside)
    return aside


def _counts(file: Path) -> tuple[int, int]:
    """Records and responses."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            query = "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM responses)"
            records, responses = connection.execute(query).fetchone()
        except sqlite3.Error as error:
            raise KormedError(f"{file}: not a database of Argilla's ({error})") from None
    return int(records), int(responses)


@contextmanager
def _tar(file: Path) -> Iterator[tarfile.TarFile]:
    """Raises KormedError for what is wrong with the file, when it is opened and as it is read."""
    try:
        read = file.open("rb")
    except FileNotFoundError:
        raise KormedError(f"{file}: no such file; `kormed annotate backup` makes one") from None
    except OSError as error:
        raise KormedError(f"{file}: the backup cannot be read: {error.strerror}") from None
    with read:
        try:
            with tarfile.open(fileobj=read, mode="r:") as tar:
                yield tar
        except tarfile.TarError as error:
            raise _foreign(file, str(error)) from None


def _content(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    content = tar.extractfile(name)
    assert content is not None  # of a regular file
    return content


def _foreign(file: Path, why: str) -> KormedError:
    return KormedError(
        f"{file}: not a whole backup that `kormed annotate backup` made ({why}); nothing was restored from it"
    )


def _sha256(file: IO[bytes]) -> str:
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it only reads


def _refuse_taken(target: Path) -> None:
    if target.exists():
        raise KormedError(f"{target}: stands there already, and a backup overwrites nothing; name another file")


@contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for the time of the block; what a killed process left in it goes first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(folder / "lock", "wb", opener=people.private) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KormedError(f"{folder}: another backup or restore is at work; wait for it") from None
        _empty(folder)
        try:
            yield folder
        finally:
            _empty(folder)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "lock":
            path.unlink()


@contextmanager
def _without_server(home: Path) -> Iterator[None]:
    """The home is ours alone for the time of the block, as embedded.start has it.

    Raises:
        KormedError: its server runs.
    """
    with open(home / "lock", "ab", opener=people.private) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            url = find_running(home)
            raise KormedError(
                f"{home}: this home's Argilla {f'runs at {url}' if url else 'is starting or stopping just now'}, and "
                "would write over what is restored: end the command that started it, then restore"
            ) from None
        yield


@contextmanager
def _told(what: str) -> Iterator[None]:
    """A disk's refusal in one sentence."""
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise KormedError(f"{what}: {why}") from None


def _settle(folder: Path) -> None:
    """Renames in the folder are on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
