"""The environment of its own that the embedded Argilla runs in: what argilla-server pins, ours cannot hold.

.venv-argilla/ in the working directory, or where KORMED_ARGILLA_VENV says.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from stages.core.errors import KormedError

log = logging.getLogger("kormed")

REQUIREMENTS = Path(__file__).parent / "server" / "requirements.txt"
PYTHON_END = (3, 14)  # greenlet 3.1.1, which argilla-server 2.8.0 pins, has no wheel for it


def environment_folder() -> Path:
    return Path(os.environ.get("KORMED_ARGILLA_VENV") or ".venv-argilla").absolute()


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
