"""The embedded Argilla: its environment, its home, its people, and a server for as long as we need it.

Homes, both in the working directory unless the environment says otherwise:
    .argilla/        KORMED_ARGILLA_HOME   database, credentials.json, server.log; only its owner can read it
    .venv-argilla/   KORMED_ARGILLA_VENV   argilla-server and what it pins, which our own environment cannot hold

The server listens on 127.0.0.1 only, unless it is shared (sharing.py), and never outlives the process that started it.
"""

import fcntl
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from annotation import database, people
from annotation.api import Api
from annotation.environment import ensure_environment
from annotation.people import Credential, private
from annotation.sharing import Shared, Sharing, ensure_shared
from annotation.supervisor import Supervisor
from stages.core.errors import KormedError
from stages.core.recipe import Annotation

log = logging.getLogger("kormed")

HOST = "127.0.0.1"
PROGRAM = Path(__file__).parent / "server"
LEAST_FREE = 100 * 2**20  # bytes; a start copies 14 MB of the page, and each comparison takes about 12 KB
CLOCK_SECONDS = 600  # a clock that is corrected by less is left alone
RESTART_SECONDS = 30  # how long we wait for a server whose process lives, as while it is started again


@dataclass(frozen=True)
class Server:
    """A running server that we started. `new`: credentials made for it, to be shown once.

    Where it is shared, `shared_urls` are its https addresses, and `fingerprint` is its certificate's.
    """

    url: str
    home: Path
    new: tuple[Credential, ...]
    supervisor: Supervisor = field(repr=False)
    shared_urls: tuple[str, ...] = ()
    fingerprint: str | None = None

    @property
    def pid(self) -> int:
        """Of its current process, another one after each restart."""
        return self.supervisor.pid

    @property
    def restarts(self) -> int:
        """How often it ended by itself and was started again."""
        return self.supervisor.restarts

    @property
    def is_alive(self) -> bool:
        """It serves, or is being started again."""
        return self.supervisor.is_alive

    def wait(self) -> None:
        """Until another thread stops it.

        Raises:
            KormedError: it ended again and again and was given up; shows the end of its log.
        """
        self.supervisor.wait()

    def stop(self) -> None:
        """End it in order, and wait until it has."""
        self.supervisor.stop()


def home_folder() -> Path:
    return Path(os.environ.get("KORMED_ARGILLA_HOME") or ".argilla").absolute()


@contextmanager
def running(config: Annotation, recipe: str, sharing: Sharing | None = None) -> Iterator[Server]:
    """A server for the duration of the block."""
    server = start(config, recipe, sharing)
    try:
        yield server
    finally:
        server.stop()


def start(config: Annotation, recipe: str, sharing: Sharing | None = None) -> Server:
    """Start this home's server; see to its environment, its people and their workspaces. Returns when it answers.

    From then on it is started again whenever it ends by itself.

    Raises:
        KormedError: the port or the home is in use, the home cannot be written or its database is damaged, the disk
            is full, the environment or the certificate cannot be made, or the server does not come up.
    """
    home = home_folder()
    python = ensure_environment()
    _ensure_home(home)
    url = f"http://{HOST}:{config.port}"
    with ExitStack() as opened:
        lock = opened.enter_context(_lock(home))
        _check_disk(home)
        _check_clock(home)
        database.check(home / "argilla.db")
        owner, is_new = people.ensure_owner(home)
        shared = ensure_shared(sharing, python, home, config.port) if sharing else None
        sockets = [opened.enter_context(_listen(HOST, config.port))]
        if shared:
            sockets.append(opened.enter_context(_listen("", shared.port)))
        log.info("starting the embedded Argilla; its data is in %s", home)
        supervisor = Supervisor(_command(python, home, config.port, sockets, shared), url, home, sockets, lock)
        opened.pop_all()  # they are the supervisor's now
    supervisor.start()
    try:
        new = people.ensure_people(home, url, people.workspaces(recipe, config))
    except BaseException:
        supervisor.stop()
        raise
    new = (owner, *new) if is_new else new
    if not shared:
        return Server(url, home, new, supervisor)
    return Server(url, home, new, supervisor, shared.urls, shared.certificate.fingerprint)


def find_running(home: Path) -> str | None:
    """Address of this home's server; None unless the process that started it lives and it answers.

    While it is started again this waits, for half a minute at most.
    """
    try:
        state = json.loads((home / "server.json").read_text(encoding="utf-8"))
        os.kill(state["supervisor"], 0)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, ProcessLookupError):
        return None
    except PermissionError:
        pass  # it lives, as another user's process
    try:
        Api(state["url"], key="", seconds=RESTART_SECONDS).get("/version")
    except KormedError:
        return None
    return str(state["url"])


def _ensure_home(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if home.stat().st_mode & 0o077:
            if any(home.iterdir()) and not (home / "credentials.json").exists():
                raise KormedError(
                    f"{home}: others can read this folder, and it is not one that we made; "
                    "set KORMED_ARGILLA_HOME to a folder of its own"
                )
            home.chmod(0o700)
        if not os.access(home, os.W_OK | os.X_OK):
            raise PermissionError("not writable")
    except OSError as error:
        raise _no_home(home, error) from None


def _lock(home: Path) -> IO[bytes]:
    """One server a home. The server inherits the lock, and so holds it as long as it lives, whatever becomes of us."""
    try:
        lock = os.fdopen(private(str(home / "lock"), os.O_RDWR | os.O_CREAT), "rb+")
    except OSError as error:
        raise _no_home(home, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        url = find_running(home)
        where = f"runs already at {url}" if url else "is starting or stopping just now"
        raise KormedError(
            f"{home}: this home's Argilla {where}; use that one, or end the command that started it, "
            "or set KORMED_ARGILLA_HOME to another folder"
        ) from None
    return lock


def _no_home(home: Path, error: OSError) -> KormedError:
    return KormedError(
        f"{home}: cannot keep Argilla's data here: {error.strerror or error}; "
        "mend it, or set KORMED_ARGILLA_HOME to another folder"
    )


def _check_disk(home: Path) -> None:
    free = shutil.disk_usage(home).free
    if free < LEAST_FREE:
        raise KormedError(
            f"{home}: {free / 2**20:.0f} MB are free on this disk, and the server wants {LEAST_FREE / 2**20:.0f}: "
            "make room, or set KORMED_ARGILLA_HOME to a folder on another disk"
        )


def _check_clock(home: Path) -> None:
    """Answers get the time of this machine's clock; one that went back would put new answers before old ones."""
    written = [file.stat().st_mtime for file in home.glob("argilla.db*")]
    if written and max(written) > time.time() + CLOCK_SECONDS:
        now, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) for moment in (time.time(), max(written)))
        raise KormedError(
            f"{home}: this machine's clock says {now}, yet the database was last written at {last}: set the clock "
            f"right; if it is right now and was wrong then, `touch {home}/argilla.db*` and start again"
        )


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket that takes connections from now on; they wait until a server asks for them."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a just-ended server leaves it waiting
        listener.bind((host, port))
        listener.listen(2048)  # as uvicorn does once it has it
    except OSError as error:
        listener.close()
        raise KormedError(
            f"port {port} of {host or 'this machine'} cannot be used ({error.strerror}): end what listens there, or "
            f"choose another with --set annotation.port={port + 1 if port < 65535 else port - 1}"
        ) from None
    return listener


def _command(
    python: Path, home: Path, port: int, sockets: list[socket.socket], shared: Shared | None
) -> list[str | Path]:
    origins = [f"http://{HOST}:{port}", f"http://localhost:{port}"]
    command: list[str | Path] = [python, "-B", PROGRAM, "--home", home, "--socket", str(sockets[0].fileno())]
    if shared:
        origins += [*shared.urls, f"https://{HOST}:{shared.port}", f"https://localhost:{shared.port}"]
        command += ["--shared-socket", str(sockets[1].fileno())]
        command += ["--certificate", shared.certificate.file, "--key", shared.certificate.key]
    return [*command, "--origins", *origins]
