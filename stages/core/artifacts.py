"""Artifacts: folders that are complete exactly when `manifest.json` stands in them.

A stage fills `models/<recipe>/.<stage>.partial/`; the manifest is written last, then the folder is renamed into place.
A killed run leaves the partial folder, and the same request resumes in it. Nothing complete is ever written over.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from stages.core import metering
from stages.core.errors import KormedError

log = logging.getLogger("kormed")

MANIFEST = "manifest.json"
REQUEST = "request.json"
LAUNCH = ".launch"  # in a partial folder: which launch of several processes fills it
CLAIM_SECONDS = 600
PREVIOUS = ".previous"
LIBRARIES = ("kormed", "torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "lm-eval", "accelerate")


@dataclass(frozen=True)
class Request:
    """What is asked of a stage: the same request gives the same artifact.

    Attributes:
        stage: for example `sft` or `evaluate/base`.
        config: the stage's recipe section, as plain JSON.
        inputs: content hash of each part of each artifact read, by `artifact` or `artifact:part`.
        incidental: keys of the section (`a.b`) that change how the artifact comes about and not what it is, such as the
            delay between two requests; they are recorded and make nothing stale.
    """

    stage: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    incidental: tuple[str, ...] = ()

    @property
    def essence(self) -> dict[str, Any]:
        """What two requests must have in common to be the same, as plain JSON."""
        config = {key: value for key, value in flatten(self.config).items() if key not in self.incidental}
        plain: dict[str, Any] = json.loads(
            json.dumps({"stage": self.stage, "config": config, "inputs": dict(self.inputs)})
        )
        return plain


@dataclass(frozen=True)
class Manifest:
    """What was made, of what, with what, and at what cost.

    Attributes:
        files: SHA-256 by relative path.
        seconds: of all sessions, where the stage was stopped and gone on with; the wait between them does not count.
        sessions: how many there were. Manifests from before they were counted say 1, and mean the last one alone.
        gpus: processes that worked on it with a GPU, one GPU each; the most of a session. 0: it ran on a CPU.
        gpu_seconds: the GPUs of each session times its seconds.
        peak_memory: bytes, of rank 0's process; the largest of the sessions. What is counted: `metering.Session`.

    The last four are None where an artifact was made before they were recorded; `peak_memory` and what it is of also
    where the system does not tell.
    """

    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    content: str
    files: dict[str, str]
    metrics: dict[str, float]
    seconds: float
    finished_at: str
    commit: str | None
    libraries: dict[str, str]
    device: str
    sessions: int = 1
    gpus: int | None = None
    gpu_seconds: float | None = None
    peak_memory: int | None = None
    peak_memory_of: metering.MemoryOf | None = None

    def part(self, name: str) -> str:
        """Content hash of one file or folder of the artifact, so that a reader is stale only if that part changed."""
        files = {p: h for p, h in self.files.items() if p == name or p.startswith(f"{name}/")}
        return digest(files)


def digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{h}  {p}" for p, h in sorted(files.items())).encode()).hexdigest()


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under `folder` by relative path; the manifest and our own bookkeeping left out."""
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.relative_to(folder).as_posix() not in (MANIFEST, REQUEST, LAUNCH, ".lock")
        and path.relative_to(folder).parts[0] != metering.SESSIONS
    }


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a complete artifact; None where there is none.

    Raises:
        KormedError: a manifest stands there that we did not write.
    """
    path = folder / MANIFEST
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise KormedError(f"{folder}: a file stands where this folder or one above it goes; move it away") from None
    except (TypeError, ValueError) as error:
        raise KormedError(f"{path}: not a manifest of this kormed ({error}); move the folder away") from None


def changed(folder: Path, manifest: Manifest) -> str | None:
    """What of a complete artifact is no longer what its manifest says; None where all of it is."""
    names = sorted({p for p, h in manifest.files.items() ^ hash_folder(folder).items()})
    if not names:
        return None
    return (
        f"changed after it was made: {', '.join(names[:3])}{' …' * (len(names) > 3)}; put the file"
        f"{'s' * (len(names) > 1)} back, or remake the artifact with --force (the changed one moves to {PREVIOUS}/)"
    )


def differences(manifest: Manifest, request: Request, section: str = "") -> list[str]:
    """Why a complete artifact is not what is asked for, one line a changed key or input; empty when it is.

    `section` stands before each key, as `prepare.` does in a recipe. A setting that did not exist when the artifact was
    made and now asks for nothing (None, an empty list) is no difference.
    """
    lines = []
    was, now = flatten(manifest.config), flatten(request.config)
    for key in sorted((was.keys() | now.keys()) - set(request.incidental)):
        if was.get(key) != now.get(key) and not (key not in was and now[key] == []):
            file = key.removesuffix("_sha256")
            changed_file = f"the file or folder that {file} names has changed"
            changed_key = f"{section}{key}: {_made_with(key, manifest.config, was)}, asked for {now.get(key)!r}"
            lines.append(changed_file if file != key else changed_key)
    for name in sorted(manifest.inputs.keys() | request.inputs.keys()):
        before, after = manifest.inputs.get(name), request.inputs.get(name)
        if before != after:
            change = "is new" if before is None else "is gone" if after is None else "has changed"
            lines.append(f"input {name} {change}")
    return lines


def _made_with(key: str, config: Mapping[str, Any], was: Mapping[str, Any]) -> str:
    """A section is recorded whole, so what is not in it was no setting yet; below that, a key may be one's own."""
    if key in was:
        return f"made with {was[key]!r}"
    return "made without it" if key.partition(".")[0] in config else "made before this setting existed"


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, below in value.items():
        if isinstance(below, Mapping):
            flat |= flatten(below, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = below
    return flat


def make(
    folder: Path,
    request: Request,
    run: Callable[[Path], dict[str, float]],
    *,
    device: Callable[[], str],
    replace: bool = False,
) -> Manifest:
    """Fill `folder` by calling `run` on its partial folder, resuming one that the same request left.

    With `replace` an artifact that stands at `folder` moves to `.previous/` once the new one is whole. Under several
    processes, which share the storage, only rank 0 keeps the books; the others begin once the folder is theirs too.

    Raises:
        KormedError: another process makes the same artifact, or something that is not ours stands at `folder`.
    """
    partial = partial_place(folder)
    if not keeps_books():
        _wait_until_claimed(partial)
        run(partial)
        return Manifest(request.stage, {}, {}, "", {}, {}, 0, "", None, {}, device())
    if folder.exists() and not replace:
        if (folder / MANIFEST).exists():
            raise KormedError(f"{folder}: another process has just made it; run the same command again")
        raise KormedError(f"{folder}: exists and holds no {MANIFEST}, so it is not ours; move it away")
    partial.mkdir(parents=True, exist_ok=True)
    with lock(partial, request.stage):
        _claim(partial, request)
        if processes() > 1:
            (partial / LAUNCH).write_text(launch_id(), encoding="utf-8")
        with metering.session(partial, processes()) as sessions:
            metrics = run(partial)
            (partial / LAUNCH).unlink(missing_ok=True)
            files = hash_folder(partial)
        spent = sessions.spent()
        manifest = Manifest(
            stage=request.stage,
            config=dict(request.config),
            inputs=dict(request.inputs),
            content=digest(files),
            files=files,
            metrics=metrics,
            seconds=round(spent.seconds, 1),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=commit(),
            libraries=libraries(),
            device=device(),
            sessions=spent.sessions,
            gpus=spent.gpus,
            gpu_seconds=round(spent.gpu_seconds, 1),
            peak_memory=spent.peak_memory,
            peak_memory_of=spent.peak_memory_of,
        )
        write_json(partial / MANIFEST, asdict(manifest))
        shutil.rmtree(partial / metering.SESSIONS, ignore_errors=True)  # none where no note could be written
        (partial / REQUEST).unlink()
        (partial / ".lock").unlink()
        if folder.exists():
            log.info("%s: the one before moved to %s", request.stage, set_aside(folder))
        partial.replace(folder)
    return manifest


def processes() -> int:
    """How many processes were launched for this command (torchrun and accelerate set WORLD_SIZE)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def keeps_books() -> bool:
    """True in the one process that moves folders and writes manifests: rank 0, where there are several."""
    return int(os.environ.get("RANK", "0")) == 0


def launch_id() -> str:
    """What the processes of one launch have in common and those of another have not."""
    names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_STEP_ID")
    return " ".join(os.environ.get(name, "") for name in names)


def _wait_until_claimed(partial: Path) -> None:
    """Until rank 0 of this launch has made the partial folder this request's own.

    If rank 0 refuses to go on, the launcher ends the others.

    Raises:
        KormedError: it never comes, for example because the machines share no storage.
    """
    deadline = time.monotonic() + CLAIM_SECONDS
    while time.monotonic() < deadline:
        try:
            if (partial / LAUNCH).read_text(encoding="utf-8") == launch_id():
                return
        except FileNotFoundError:
            pass
        time.sleep(0.1)
    raise KormedError(
        f"{partial}: rank 0 has not begun in it within {CLAIM_SECONDS} s; with several machines `models` must be on "
        f"storage that all of them share"
    )


def begun_otherwise(folder: Path, request: Request) -> bool:
    """Whether a stopped run for `folder` had another request, so that this one would not go on from there."""
    mark = partial_place(folder) / REQUEST
    return mark.exists() and json.loads(mark.read_text(encoding="utf-8")) != request.essence


def _claim(partial: Path, request: Request) -> None:
    """Make the partial folder this request's own; what another request left in it moves to `.previous/`."""
    mark = partial / REQUEST
    if mark.exists():
        if json.loads(mark.read_text(encoding="utf-8")) == request.essence:
            return
        aside = previous_place(partial.with_name(partial.name.removeprefix(".").removesuffix(".partial")), "partial")
        aside.mkdir(parents=True)
        for path in [p for p in partial.iterdir() if p.name != ".lock"]:
            path.rename(aside / path.name)
        log.info("%s: what was begun with other settings or inputs moved to %s", request.stage, aside)
    write_json(mark, request.essence)


def set_aside(folder: Path) -> Path:
    """Move an artifact to `.previous/<name>-<time>` beside it. Returns where it went."""
    place = previous_place(folder, "")
    place.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(place)
    return place


def discard_partial(folder: Path) -> None:
    """Move what a stopped run left for `folder` to `.previous/`, so that the next one begins anew."""
    partial = partial_place(folder)
    if partial.exists():
        with lock(partial, folder.name):
            place = previous_place(folder, "partial")
            place.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(place)


def partial_place(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial")


def previous_place(folder: Path, kind: str) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    name = "-".join(filter(None, (folder.name, kind, stamp)))
    place = folder.parent / PREVIOUS / name
    tries = 2
    while place.exists():
        place = folder.parent / PREVIOUS / f"{name}-{tries}"
        tries += 1
    return place


@contextmanager
def lock(folder: Path, what: str) -> Iterator[None]:
    """Hold `folder` for this process; a lock dies with its process, so a killed run never blocks the next."""
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KormedError(f"{folder}: another process is making {what}; wait for it or stop it") from None
        yield


def write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def commit() -> str | None:
    """The git commit of the working directory, with `+changes` where the tree differs from it; None outside git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
