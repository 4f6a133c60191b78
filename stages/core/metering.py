"""What a stage costs while it runs: the seconds of each of its sessions, GPUs and peak memory. Imports no torch.

A session is one process's go at a stage (rank 0's, where there are several processes). It notes what it has cost so far
in `.sessions/<number>.json` of the partial folder, every few seconds and at its end: a killed process loses no more
than what came after its last note. Each session writes its own file alone, so that a torn one takes no other with it.
"""

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

log = logging.getLogger("kormed")

SESSIONS = ".sessions"  # in a partial folder
NOTE_SECONDS = 5.0

MemoryOf = Literal["gpu", "process", "process since it began"]


@dataclass(frozen=True)
class Session:
    """What one session has cost.

    Attributes:
        seconds: of wall-clock time, from its start on.
        gpus: processes with a GPU that worked on it, one GPU each; 0 where nothing was put on a GPU.
        peak_memory: bytes; None where the system does not tell.
        peak_memory_of: `gpu`: the most that PyTorch had allocated on one GPU at a time, which leaves out CUDA's own
            context and what its allocator keeps in reserve. Without a GPU `process`: the most of this process that was
            in main memory at a time (the kernel's VmHWM), which leaves out processes that it started. Where the kernel
            could not be told to count anew it is that of the `process since it began`, earlier stages among it.
    """

    seconds: float
    gpus: int
    peak_memory: int | None
    peak_memory_of: MemoryOf | None


class Meter:
    """Counts from when it is made. What the process held by then (a base model kept in memory) counts as well."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._started = time.monotonic()
        self._allocations = gpu_allocations()
        _reset_gpu_peaks()
        self._of: MemoryOf = "process" if _reset_process_peak() else "process since it began"

    def read(self) -> Session:
        seconds = time.monotonic() - self._started
        if gpu_allocations() > self._allocations:
            return Session(seconds, self._processes, max(_gpu_numbers("allocated_bytes.all.peak")), "gpu")
        peak = _process_peak()
        return Session(seconds, 0, peak, self._of if peak is not None else None)


@dataclass(frozen=True)
class Spent:
    """What all sessions of a stage have cost together.

    `gpu_seconds`: seconds of each session times its GPUs. `gpus`: the most of a session. `peak_memory`: the largest of
    a session, on a GPU where any was on one.
    """

    sessions: int
    seconds: float
    gpus: int
    gpu_seconds: float
    peak_memory: int | None
    peak_memory_of: MemoryOf | None

    @classmethod
    def by(cls, sessions: Sequence[Session]) -> Self:
        """Raises ValueError where there are no sessions."""
        largest = max(sessions, key=lambda session: (session.peak_memory_of == "gpu", session.peak_memory or 0))
        return cls(
            sessions=len(sessions),
            seconds=sum(session.seconds for session in sessions),
            gpus=max(session.gpus for session in sessions),
            gpu_seconds=sum(session.seconds * session.gpus for session in sessions),
            peak_memory=largest.peak_memory,
            peak_memory_of=largest.peak_memory_of,
        )


class Sessions:
    """Those that filled a partial folder: earlier ones as they noted themselves, and this one."""

    def __init__(self, partial: Path, processes: int) -> None:
        self._earlier = _noted(partial / SESSIONS)
        self._place = partial / SESSIONS / f"{_next_number(partial / SESSIONS)}.json"
        self._meter = Meter(processes)
        self._said = False

    def spent(self) -> Spent:
        return Spent.by([*self._earlier, self._meter.read()])

    def note(self) -> None:
        """What this session has cost so far, to its file. A note that cannot be written costs the run nothing."""
        temporary = self._place.with_suffix(".tmp")
        try:
            self._place.parent.mkdir(exist_ok=True)
            temporary.write_text(json.dumps(asdict(self._meter.read())), encoding="utf-8")
            temporary.replace(self._place)
        except OSError as error:
            if not self._said:
                log.warning("%s: the time taken so far is not noted (%s)", self._place, error.strerror)
            self._said = True


@contextmanager
def session(partial: Path, processes: int) -> Iterator[Sessions]:
    """A new session in `partial`, of so many processes, noted while the block runs and once it ends, however it ends.

    Behind the block nothing is written any more.
    """
    sessions = Sessions(partial, processes)
    over = threading.Event()

    def keep_noting() -> None:
        while not over.wait(NOTE_SECONDS):
            sessions.note()

    sessions.note()
    thread = threading.Thread(target=keep_noting, name="kormed-sessions", daemon=True)
    thread.start()
    try:
        yield sessions
    finally:
        over.set()
        thread.join()
        sessions.note()


def gpu_allocations() -> int:
    """How often this process has taken memory on a GPU so far: more of it later on means that a GPU was used."""
    return sum(_gpu_numbers("allocation.all.allocated"))


def _gpu_numbers(name: str) -> list[int]:
    """One of PyTorch's memory statistics for each GPU; nothing where this process has not used CUDA."""
    cuda = _cuda()
    return [] if cuda is None else [cuda.memory_stats(at).get(name, 0) for at in range(cuda.device_count())]


def _reset_gpu_peaks() -> None:
    cuda = _cuda()
    for at in range(cuda.device_count()) if cuda is not None else ():
        cuda.reset_peak_memory_stats(at)


def _cuda() -> Any:
    """`torch.cuda` once something in this process has used it; None before, and for stages without torch."""
    torch = sys.modules.get("torch")
    if torch is None or getattr(torch.__spec__, "_initializing", False):  # another thread is just importing it
        return None
    return torch.cuda if torch.cuda.is_initialized() else None


def _reset_process_peak() -> bool:
    """Whether the kernel counts the process's peak from now on (proc(5), /proc/pid/clear_refs, since Linux 4.0)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _process_peak() -> int | None:
    """Bytes of the process's peak resident set since that was reset or, if it never was, since the process began."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def _noted(folder: Path) -> list[Session]:
    """Every session that began in the partial folder; of one whose note is torn only that it was there is known."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(Session(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, TypeError, ValueError):
            log.warning("%s: not a whole note, so what that session cost is not counted", path)
            found.append(Session(0.0, 0, None, None))
    return found


def _next_number(folder: Path) -> int:
    return 1 + max((int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()), default=0)
