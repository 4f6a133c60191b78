import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from stages.core import artifacts, launching
from stages.core.errors import KormedError

ROOT = Path(__file__).parents[2]


def rank(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal, sys, time\nrank = os.environ['RANK']\n{code}"]


def launcher(code: str, folder: Path) -> "subprocess.Popen[bytes]":
    """A launcher in a process of its own, with two ranks that run `code`."""
    start = (
        f"import os\nfrom stages.core.launching import spawn\nraise SystemExit(spawn({rank(code)!r}, 2, os.environ))"
    )
    return subprocess.Popen([sys.executable, "-c", start], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)})


def appears(path: Path, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.exists()


def test_each_process_knows_its_rank_and_where_the_others_are(tmp_path: Path) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    write = f"open('{tmp_path}/' + rank, 'w').write(' '.join(os.environ[name] for name in {names}))"
    assert launching.spawn(rank(write), 2, os.environ) == 0
    first, second = ((tmp_path / name).read_text().split() for name in "01")
    assert first[:4] == ["0", "0", "2", "2"]
    assert second[:4] == ["1", "1", "2", "2"]
    assert first[4:] == second[4:]


def test_what_one_process_meets_ends_all_of_them_with_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "GRACE_SECONDS", 0.2)
    assert launching.spawn(rank("sys.exit(3) if rank == '1' else time.sleep(600)"), 2, os.environ) == 3
    assert launching.spawn(rank("os.kill(os.getpid(), 9) if rank == '1' else time.sleep(600)"), 2, os.environ) == 1


def test_once_rank_0_has_said_what_is_wrong_the_others_do_not_repeat_it(capfd: pytest.CaptureFixture[str]) -> None:
    said = "time.sleep(2 * int(rank)); print('wrong in ' + rank, flush=True); sys.exit(2)"
    assert launching.spawn(rank(said), 2, os.environ) == 2
    assert capfd.readouterr().out == "wrong in 0\n"


def test_ctrl_c_reaches_each_process_once_and_the_exit_code_is_rank_0s(tmp_path: Path) -> None:
    code = (
        f"def stop(*_): open('{tmp_path}/stopped' + rank, 'a').write('once'); time.sleep(0.5); sys.exit(2)\n"
        f"signal.signal(signal.SIGINT, stop)\nopen('{tmp_path}/began' + rank, 'w')\ntime.sleep(600)"
    )
    process = launcher(code, tmp_path)
    assert appears(tmp_path / "began0")
    assert appears(tmp_path / "began1")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 2
    assert [(tmp_path / f"stopped{number}").read_text() for number in "01"] == ["once", "once"]


def test_a_killed_launcher_leaves_no_process_behind(tmp_path: Path) -> None:
    process = launcher(f"open('{tmp_path}/' + str(os.getpid()), 'w')\ntime.sleep(600)", tmp_path)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    ranks = [Path("/proc") / path.name for path in tmp_path.iterdir()]
    assert len(ranks) == 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(is_alive(proc) for proc in ranks) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(is_alive(proc) for proc in ranks)


def is_alive(proc: Path) -> bool:
    """A zombie that nobody has waited for is not."""
    try:
        return (proc / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("found", "words"), [(0, "no GPUs to be seen here.*run on the CPU"), (1, "1 GPU to be seen.*ask for 1 at most")]
)
def test_more_gpus_than_there_are_is_refused_with_their_number(
    found: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(KormedError, match=f"--gpus 2: {words}"):
        launching.require_gpus(2)


def test_gpus_that_are_hidden_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(KormedError, match=r"\(CUDA_VISIBLE_DEVICES=3\)"):
        launching.require_gpus(2)


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")


MAKE = """
from pathlib import Path
from stages.core import artifacts
if rank == "0":
    time.sleep(1)
def run(partial):
    seen = sorted(path.name for path in partial.iterdir())
    assert "foreign" not in seen, seen
    (partial / f"by{rank}").write_text(rank)
    other = partial / f"by{1 - int(rank)}"
    while rank == "0" and not other.exists():
        time.sleep(0.01)
    return {}
request = artifacts.Request("sft", {}, {})
artifacts.make(Path("made"), request, run, device=lambda: "CPU")
"""


def test_no_process_begins_in_a_folder_before_rank_0_has_cleared_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    partial = tmp_path / ".made.partial"
    partial.mkdir()
    (partial / artifacts.REQUEST).write_text('{"of": "another"}')
    (partial / artifacts.LAUNCH).write_text("of a launch that was killed")
    (partial / "foreign").write_text("")
    assert launching.spawn(rank(MAKE), 2, os.environ | {"PYTHONPATH": str(ROOT)}) == 0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {artifacts.MANIFEST, "by0", "by1"}


@pytest.mark.usefixtures("two_processes")
def test_a_process_that_sees_nothing_of_rank_0_says_that_storage_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "CLAIM_SECONDS", 0.3)
    request = artifacts.Request("sft", {}, {})
    with pytest.raises(KormedError, match="storage that all of them share"):
        artifacts.make(tmp_path / "made", request, lambda partial: {}, device=lambda: "CPU")
