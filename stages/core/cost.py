"""What a run has cost, from its manifests: a row a stage, and totals a kind of device. Reads; measures nothing.

What a manifest does not say is None here and stands among `unknown` in a total, never counted as 0.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stages.core.artifacts import Manifest
from stages.core.metering import MemoryOf

Kind = Literal["gpu", "cpu"]


@dataclass(frozen=True)
class Cost:
    """One stage.

    Attributes:
        seconds: wall-clock time of all sessions; None where the artifact was made before those were added up, when
            only the last session's time was kept.
        last_seconds: what the manifest says in any case: `seconds`, or the last session's.
        device: as the manifest names it.
        gpus: GPUs that worked on it (the most of a session), 0 on a CPU; None: not recorded.
        gpu_hours: GPUs times hours, by session; None on a CPU, and where it was not recorded.
        peak_memory: bytes; None: not recorded. What is counted: `metering.Session`.
    """

    stage: str
    kind: Kind
    seconds: float | None
    last_seconds: float
    sessions: int
    device: str
    gpus: int | None
    gpu_hours: float | None
    peak_memory: int | None
    peak_memory_of: MemoryOf | None

    @property
    def cpu_hours(self) -> float | None:
        """Hours of wall-clock time (not of cores) on a CPU; None on a GPU, and where they are not known."""
        return self.seconds / 3600 if self.kind == "cpu" and self.seconds is not None else None

    @property
    def hours(self) -> float | None:
        """GPU hours on a GPU, wall-clock hours on a CPU; None: not known."""
        return self.gpu_hours if self.kind == "gpu" else self.cpu_hours


@dataclass(frozen=True)
class Total:
    """The stages of one kind of device.

    Attributes:
        device: one of them (`NVIDIA H100`), or the CPU as its manifests name it.
        known: stages whose hours are known; `unknown`: the others.
        hours: of the known together: GPU hours, or wall-clock hours on a CPU.
        gpus: the fewest and the most that worked on one of the known; (0, 0) on a CPU and where none is known.
        peak: the stage with the largest peak memory; None: no stage has one.
    """

    kind: Kind
    device: str
    known: tuple[Cost, ...]
    unknown: tuple[Cost, ...]
    hours: float
    gpus: tuple[int, int]
    peak: Cost | None


def costs(manifests: Sequence[Manifest]) -> list[Cost]:
    """A row a stage, in the order given."""
    return [cost(manifest) for manifest in manifests]


def cost(manifest: Manifest) -> Cost:
    counted = manifest.gpu_seconds is not None
    on_gpu = bool(manifest.gpus) if counted else not manifest.device.startswith("CPU")
    gpu_hours = manifest.gpu_seconds / 3600 if manifest.gpu_seconds is not None and on_gpu else None
    return Cost(
        stage=manifest.stage,
        kind="gpu" if on_gpu else "cpu",
        seconds=manifest.seconds if counted else None,
        last_seconds=manifest.seconds,
        sessions=manifest.sessions,
        device=manifest.device,
        gpus=manifest.gpus,
        gpu_hours=gpu_hours,
        peak_memory=manifest.peak_memory,
        peak_memory_of=manifest.peak_memory_of,
    )


def totals(rows: Sequence[Cost]) -> list[Total]:
    """One a kind of device, GPUs first, else in the order in which they come up."""
    by_device: dict[tuple[Kind, str], list[Cost]] = {}
    for row in sorted(rows, key=lambda row: row.kind != "gpu"):
        by_device.setdefault((row.kind, device_kind(row.device)), []).append(row)
    return [total(kind, device, found) for (kind, device), found in by_device.items()]


def total(kind: Kind, device: str, rows: Sequence[Cost]) -> Total:
    known = tuple(row for row in rows if row.hours is not None)
    gpus = [row.gpus for row in known if row.gpus is not None]
    measured = [row for row in rows if row.peak_memory is not None]
    return Total(
        kind=kind,
        device=device,
        known=known,
        unknown=tuple(row for row in rows if row.hours is None),
        hours=sum(row.hours for row in known if row.hours is not None),
        gpus=(min(gpus), max(gpus)) if gpus else (0, 0),
        peak=max(measured, key=lambda row: row.peak_memory or 0, default=None),
    )


def device_kind(device: str) -> str:
    """`8 x NVIDIA H100` without its number, which is how many there were and not how many worked."""
    return re.sub(r"^\d+ x ", "", device)
