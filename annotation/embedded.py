"""The embedded Argilla: its environment, its home, its people, and one server process for as long as we need it.

Homes, both in the working directory unless the environment says otherwise:
    .argilla/        KORMED_ARGILLA_HOME   database, credentials.json, server.log; only its owner can read it
    .venv-argilla/   KORMED_ARGILLA_VENV   argilla-server and what it pins, which our own environment cannot hold

The server listens on 127.0.0.1 only and never outlives the process that started it.
"""

import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Literal

from annotation.api import Api, Refused
from stages.core.errors import KormedError
from stages.core.recipe import Annotation

log = logging.getLogger("kormed")

HOST = "127.0.0.1"
PROGRAM = Path(__file__).parent / "server"
REQUIREMENTS = PROGRAM / "requirements.txt"
PYTHON_END = (3, 14)  # greenlet 3.1.1, which argilla-server 2.8.0 pins, has no wheel for it
READY_SECONDS = 90  # 6 s measured on 2 cores; a cold disk or a busy machine may need more
STOP_SECONDS = 15


@dataclass(frozen=True)
class Credential:
    """How somebody signs in."""

    username: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)
    role: Literal["owner", "annotator"]


@dataclass(frozen=True)
class Server:
    """A running server that we started. `new`: credentials made for it, to be shown once."""

    url: str
    home: Path
    new: tuple[Credential, ...]
    process: "subprocess.Popen[bytes]" = field(repr=False)
    log_start: int = field(repr=False)  # byte of server.log where this run begins

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def wait(self) -> None:
        """Until the process ends, which it should not by itself.

        Raises:
            KormedError: it ended; shows the end of its log.
        """
        code = self.process.wait()
        raise KormedError(
            f"the Argilla server at {self.url} ended by itself (exit code {code}); every answer that it acknowledged "
            f"is in {self.home}; start it again. {_log_end(self.home, self.log_start)}"
        )

    def stop(self) -> None:
        """End the process that we started, by its id, and wait for it."""
        (self.home / "server.json").unlink(missing_ok=True)  # first, or we might remove a successor's
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.is_alive:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()  # what it acknowledged is on the disk already
                self.process.wait()


def home_folder() -> Path:
    return Path(os.environ.get("KORMED_ARGILLA_HOME") or ".argilla").absolute()


def environment_folder() -> Path:
    return Path(os.environ.get("KORMED_ARGILLA_VENV") or ".venv-argilla").absolute()


@contextmanager
def running(config: Annotation, workspace: str) -> Iterator[Server]:
    """A server for the duration of the block."""
    server = start(config, workspace)
    try:
        yield server
    finally:
        server.stop()


def start(config: Annotation, workspace: str) -> Server:
    """Start the server of this home and see to its environment, its people and the workspace. Returns when it answers.

    Raises:
        KormedError: the port or the home is in use, the environment cannot be made, or the server does not come up.
    """
    home = home_folder()
    python = ensure_environment()
    _ensure_home(home)
    with _locked(home) as lock:
        owner, is_new = _ensure_owner(home)
        log.info("starting the embedded Argilla; its data is in %s", home)
        process, url, log_start = _launch(python, home, config.port, lock)
    server = Server(url, home, (owner,) if is_new else (), process, log_start)
    try:
        _wait_until_ready(server)
        new = ensure_people(home, url, workspace, config.annotators)
    except BaseException:
        server.stop()
        raise
    return Server(url, home, (*server.new, *new), process, log_start)


def find_running(home: Path) -> str | None:
    """Address of this home's server; None unless its process lives and answers."""
    try:
        state = json.loads((home / "server.json").read_text(encoding="utf-8"))
        os.kill(state["pid"], 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    except PermissionError:
        pass  # it lives, as another user's process
    try:
        Api(state["url"], key="", seconds=10).get("/version")
    except KormedError:
        return None
    return str(state["url"])


def credentials(home: Path) -> dict[str, Credential]:
    """Everybody in credentials.json by username; empty before the first start."""
    path = home / "credentials.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        people = [content["owner"], *content["annotators"].values()]
        return {person["username"]: Credential(**person) for person in people}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KormedError(
            f"{path}: not the credentials that we wrote; move it away and start the server again for new passwords"
        ) from None


def ensure_people(home: Path, url: str, workspace: str, annotators: Sequence[str]) -> tuple[Credential, ...]:
    """The workspace exists, each annotator is a member with known credentials. Returns those made just now."""
    known = credentials(home)
    api = Api(url, known["owner"].api_key)
    users = {user["username"]: user for user in api.get("/users")["items"]}
    new = []
    for name in annotators:
        user = users.get(name)
        if user and name in known and known[name].api_key == user["api_key"]:
            continue
        password = secrets.token_urlsafe(12)
        if user is None:
            account = {"first_name": name, "username": name, "role": "annotator", "password": password}
            user = users[name] = api.post("/users", account)
        else:  # credentials.json was lost: the person stays, the password is new
            api.patch(f"/users/{user['id']}", {"password": password})
        known[name] = Credential(name, password, user["api_key"], "annotator")
        new.append(known[name])
        _write_credentials(home, known)
    join_workspace(api, workspace, [users[name] for name in annotators])
    return tuple(new)


def join_workspace(api: Api, workspace: str, users: Sequence[dict[str, str]]) -> None:
    """Make the workspace if it is not there, and the users its members if they are not."""
    found = next((item for item in api.get("/me/workspaces")["items"] if item["name"] == workspace), None)
    if found is None:
        found = api.post("/workspaces", {"name": workspace})
    path = f"/workspaces/{found['id']}/users"
    members = {user["username"] for user in api.get(path)["items"]}
    for user in users:
        if user["username"] not in members:
            api.post(path, {"user_id": user["id"]})


def ensure_environment() -> Path:
    """The Python that has argilla-server, installed on first use; made anew when requirements.txt changed.

    Raises:
        KormedError: venv or pip failed; shows pip's last lines.
    """
    folder = environment_folder()
    python = folder / "bin" / "python"
    marker, wanted = folder / "kormed-complete", hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if _reads(marker, wanted):
        return python
    lock_file = folder / "kormed-lock"  # also says that the folder is ours to empty
    if folder.exists() and not lock_file.exists() and any(folder.iterdir()):
        raise KormedError(
            f"{folder}: not an environment that we made; empty it, or set KORMED_ARGILLA_VENV to another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock_file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits here, and finds it done
            if not _reads(marker, wanted):
                _build_environment(folder, python, keep=lock_file)
                marker.write_text(wanted, encoding="ascii")
    except OSError as error:
        raise KormedError(f"{folder}: cannot set up Argilla's environment: {error}") from None
    return python


def _reads(marker: Path, wanted: str) -> bool:
    return marker.exists() and marker.read_text(encoding="ascii") == wanted


def _build_environment(folder: Path, python: Path, keep: Path) -> None:
    log.info("setting up the embedded Argilla's own environment in %s; once, a minute or two", folder)
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left != keep:
            left.unlink()
    begun = time.monotonic()
    base, without_system = _base_python(), "; on Debian and Ubuntu `apt install python3-venv` first"
    _install([base, "-m", "venv", str(folder)], f"{folder}: {base} -m venv failed{without_system}")
    _install(
        [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", str(REQUIREMENTS)],
        f"{folder}: pip could not install {REQUIREMENTS}; on a closed network set PIP_INDEX_URL to your mirror, "
        "or PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder of wheels (`pip download -r` fills one), and try again",
    )
    log.info("the embedded Argilla's environment is ready (%.0f s)", time.monotonic() - begun)


def _base_python() -> str:
    """Ours, unless it is newer than what argilla-server's pins were built for."""
    if sys.version_info < PYTHON_END:
        return sys.executable
    known = [f"python3.{minor}" for minor in range(PYTHON_END[1] - 1, 10, -1)]
    if found := next(filter(None, map(shutil.which, known)), None):
        return found
    raise KormedError(
        f"the embedded Argilla needs a Python from 3.11 to 3.{PYTHON_END[1] - 1}, here is {sys.version.split()[0]}; "
        "install one beside it, or use a team's own Argilla through ARGILLA_API_URL and ARGILLA_API_KEY"
    )


def _install(command: list[str], failure: str) -> None:
    # A constraints file or a path meant for our own environment would bend this one.
    foreign = ("PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_PREFIX", "PYTHONPATH", "PYTHONHOME")
    env = {name: value for name, value in os.environ.items() if name not in foreign}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env
    )
    if done.returncode != 0:
        raise KormedError("\n".join([failure, *done.stdout.splitlines()[-12:]]))


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
        raise KormedError(
            f"{home}: cannot keep Argilla's data here: {error.strerror or error}; "
            "mend it, or set KORMED_ARGILLA_HOME to another folder"
        ) from None


@contextmanager
def _locked(home: Path) -> Iterator[IO[str]]:
    """One server a home. The server inherits the lock, and so holds it as long as it lives, whatever becomes of us."""
    with open(home / "lock", "a+", encoding="ascii", opener=_private) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            url = find_running(home)
            where = f"runs already at {url}" if url else "is starting or stopping just now"
            raise KormedError(
                f"{home}: this home's Argilla {where}; use that one, or end the command that started it, "
                "or set KORMED_ARGILLA_HOME to another folder"
            ) from None
        yield lock


def _launch(python: Path, home: Path, port: int, lock: IO[str]) -> tuple["subprocess.Popen[bytes]", str, int]:
    url = f"http://{HOST}:{port}"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a just-ended server leaves it waiting
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise KormedError(
                f"port {port} of {HOST} cannot be used ({error.strerror}): end what listens there, or choose another "
                f"with --set annotation.port={port + 1 if port < 65535 else port - 1}"
            ) from None
        # The socket is bound here and handed over, so that nobody can take the port in between.
        with open(home / "server.log", "ab", opener=_private) as server_log:
            log_start = server_log.tell()
            process = subprocess.Popen(
                [python, "-B", PROGRAM, "--home", home, "--socket", str(listener.fileno())],
                stdin=subprocess.PIPE,  # the server stops when this closes, even if we are killed
                stdout=server_log,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(), lock.fileno()),
                start_new_session=True,  # Ctrl-C is for us; we then stop the server in order
                env={k: v for k, v in os.environ.items() if not k.startswith(("ARGILLA_", "PYTHON"))},
            )
    _write_private(home / "server.json", json.dumps({"pid": process.pid, "port": port, "url": url}))
    return process, url, log_start


def _wait_until_ready(server: Server) -> None:
    api = Api(server.url, key="", seconds=5)
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if not server.is_alive:
            raise KormedError(f"the Argilla server did not start. {_log_end(server.home, server.log_start)}")
        try:
            api.get("/version")
            return
        except Refused:
            raise
        except KormedError:
            time.sleep(0.1)
    raise KormedError(
        f"the Argilla server did not answer within {READY_SECONDS} s. {_log_end(server.home, server.log_start)}"
    )


def _log_end(home: Path, start_byte: int) -> str:
    path = home / "server.log"
    with path.open("rb") as file:
        file.seek(start_byte)
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join([f"The end of {path}:", *lines[-12:]]) if lines else f"{path} says nothing."


def _ensure_owner(home: Path) -> tuple[Credential, bool]:
    known = credentials(home)
    if "owner" in known:
        return known["owner"], False
    owner = Credential("owner", secrets.token_urlsafe(12), secrets.token_urlsafe(48), "owner")
    _write_credentials(home, {"owner": owner, **known})
    return owner, True


def _write_credentials(home: Path, people: dict[str, Credential]) -> None:
    content = {
        "owner": asdict(people["owner"]),
        "annotators": {name: asdict(person) for name, person in people.items() if name != "owner"},
    }
    _write_private(home / "credentials.json", json.dumps(content, indent=2) + "\n")


def _write_private(path: Path, content: str) -> None:
    """Through a temporary file, so that a full disk or a kill leaves the old content."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise KormedError(f"{path}: cannot be written: {error.strerror}") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
