"""One stage in several processes on this machine, a GPU each: `kormed sft RECIPE --gpus 2`.

accelerate, which the trainers stand on, finds the others through RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT, as torchrun and `accelerate launch` set them. On several machines those two start the same command
(recipes/cluster/). Started here, one error is one message, and Ctrl-C or a kill ends all processes.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import torch

from stages.core import models
from stages.core.errors import KormedError
from stages.core.pipeline import Run

GRACE_SECONDS = 10  # for rank 0 to say what is wrong, once another has failed
STOP_SECONDS = 60  # for a process to end after Ctrl-C, which may come in the middle of a checkpoint


def launch(run: Run, name: str, arguments: Sequence[str], gpus: int) -> int:
    """Make the artifact `name` by `kormed ARGUMENTS` in `gpus` processes. Returns the exit code.

    What it needs is made first, in this process alone.

    Raises:
        KormedError: there are not so many GPUs, or an input is stale.
    """
    require_gpus(gpus)
    run.bring_inputs(name)
    models.release()
    return spawn([sys.executable, "-m", "stages", *arguments], gpus, os.environ)


def require_gpus(gpus: int) -> None:
    found = torch.cuda.device_count()
    if gpus > found:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        visible = f" (CUDA_VISIBLE_DEVICES={seen})" if seen is not None else ""
        raise KormedError(
            f"--gpus {gpus}: {found or 'no'} GPU{'s' * (found != 1)} to be seen here{visible}; "
            + (f"ask for {found} at most" if found else "leave it out to run on the CPU")
        )


def spawn(command: Sequence[str], processes: int, environment: Mapping[str, str]) -> int:
    """Run a command as `processes` ranks of one group and wait for them. Returns the first exit code that is not 0."""
    shared = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes))),
    }
    ranks: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            ranks.append(
                subprocess.Popen(
                    command,
                    env={**environment, **shared, **own},
                    process_group=0,  # so that Ctrl-C comes to them once, from here
                    preexec_fn=die_with_parent,
                )
            )
        return wait(ranks)
    except KeyboardInterrupt:
        send(ranks, signal.SIGINT)
        if not ended(ranks[:1], STOP_SECONDS):
            raise
        return ranks[0].returncode or 0  # it has said so
    finally:
        send(ranks, signal.SIGKILL)
        ended(ranks, STOP_SECONDS)


def wait(ranks: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Until all have ended well, or one has not: the others, which would wait for it forever, are then ended too."""
    while True:
        codes = [rank.poll() for rank in ranks]
        if failed := [code for code in codes if code]:
            if not codes[0]:  # else it has said what was wrong, and the others would only repeat it
                ended(ranks, GRACE_SECONDS)
            send(ranks, signal.SIGTERM)
            ended(ranks, GRACE_SECONDS)
            return failed[0] if failed[0] > 0 else 1
        if None not in codes:
            return 0
        time.sleep(0.1)


def send(ranks: Sequence["subprocess.Popen[bytes]"], how: signal.Signals) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.send_signal(how)


def ended(ranks: Sequence["subprocess.Popen[bytes]"], seconds: float) -> bool:
    """Wait for all of them, so long at most. Returns whether they have ended."""
    deadline = time.monotonic() + seconds
    while any(rank.poll() is None for rank in ranks):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def die_with_parent() -> None:
    """So that a killed launcher leaves no process on a GPU (prctl(2), PR_SET_PDEATHSIG; Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
