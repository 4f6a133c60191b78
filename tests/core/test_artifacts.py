"""artifacts: complete or not there, never written over, and a killed run goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stages.core import artifacts
from stages.core.artifacts import (
    MANIFEST,
    PREVIOUS,
    Manifest,
    Request,
    changed,
    differences,
    hash_folder,
    read_manifest,
    set_aside,
)
from stages.core.errors import KormedError
from stages.core.metering import SESSIONS, Session, Spent

ROOT = Path(__file__).parents[2]

# A second process that makes the artifact named on its command line and never ends by itself.
ANOTHER_PROCESS = """
import sys, time
from pathlib import Path
from stages.core import metering
from stages.core.artifacts import Request, make

metering.NOTE_SECONDS = 0.05

def run(out):
    (out / "step-1.txt").write_text("made by the other process")
    print("working", flush=True)
    time.sleep(600)

make(Path(sys.argv[1]), Request("sft", {"epochs": 3}, {}), run, device=lambda: "test")
"""


def request(config: Mapping[str, Any] | None = None, inputs: Mapping[str, str] | None = None) -> Request:
    return Request("sft", {"epochs": 3} if config is None else config, inputs or {})


def make(folder: Path, asked: Request, run: Callable[[Path], dict[str, float]]) -> Manifest:
    return artifacts.make(folder, asked, run, device=lambda: "test")


def write_adapter(out: Path) -> dict[str, float]:
    (out / "tokenizer").mkdir(exist_ok=True)
    (out / "tokenizer" / "vocabulary.txt").write_text("가 나 다", encoding="utf-8")
    (out / "adapter.txt").write_text("weights", encoding="utf-8")
    return {"loss": 1.5}


def stop_half_way(out: Path) -> dict[str, float]:
    (out / "step-1.txt").write_text("half of the work", encoding="utf-8")
    raise KeyboardInterrupt


@contextmanager
def another_process_making(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A real second process in the middle of its run; killed when the test is done with it."""
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "working\n"
            yield process
        finally:
            process.kill()


# What a complete artifact is


def test_an_artifact_holds_what_was_made_and_how(tmp_path: Path) -> None:
    made = make(tmp_path / "sft", request(inputs={"prepare": "abc"}), write_adapter)
    assert read_manifest(tmp_path / "sft") == made
    assert (made.stage, made.config, made.inputs, made.metrics) == (
        "sft",
        {"epochs": 3},
        {"prepare": "abc"},
        {"loss": 1.5},
    )
    assert set(made.files) == {"adapter.txt", "tokenizer/vocabulary.txt"}
    assert made.libraries["kormed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sft"]
    assert sorted(path.name for path in (tmp_path / "sft").iterdir()) == ["adapter.txt", MANIFEST, "tokenizer"]


def test_the_folder_has_its_name_only_once_it_is_complete(tmp_path: Path) -> None:
    seen = []

    def run(out: Path) -> dict[str, float]:
        seen.append((tmp_path / "sft").exists())
        return write_adapter(out)

    make(tmp_path / "sft", request(), run)
    assert seen == [False]
    assert (tmp_path / "sft" / MANIFEST).exists()


def test_the_same_content_has_the_same_hash_wherever_and_whenever_it_is_made(tmp_path: Path) -> None:
    one = make(tmp_path / "one" / "sft", request(), write_adapter)
    other = make(tmp_path / "other" / "sft", request(), write_adapter)
    assert one.content == other.content

    def write_another(out: Path) -> dict[str, float]:
        metrics = write_adapter(out)
        (out / "adapter.txt").write_text("other weights", encoding="utf-8")
        return metrics

    assert make(tmp_path / "third" / "sft", request(), write_another).content != one.content


def test_a_renamed_file_changes_the_hash_although_its_content_is_the_same(tmp_path: Path) -> None:
    def write_renamed(out: Path) -> dict[str, float]:
        metrics = write_adapter(out)
        (out / "adapter.txt").rename(out / "adapter.bin")
        return metrics

    one = make(tmp_path / "one", request(), write_adapter)
    assert make(tmp_path / "other", request(), write_renamed).content != one.content


def test_a_part_changes_only_with_its_own_files(tmp_path: Path) -> None:
    def write(benchmark: str, neighbour: str) -> Callable[[Path], dict[str, float]]:
        def run(out: Path) -> dict[str, float]:
            for name, text in (("benchmark/test.txt", benchmark), ("benchmark-notes/test.txt", neighbour)):
                (out / name).parent.mkdir()
                (out / name).write_text(text, encoding="utf-8")
            return {}

        return run

    one = make(tmp_path / "one", request(), write("a", "b"))
    same_part = make(tmp_path / "two", request(), write("a", "changed"))
    other_part = make(tmp_path / "three", request(), write("changed", "b"))
    assert one.part("benchmark") == same_part.part("benchmark") != other_part.part("benchmark")
    assert one.part("benchmark/test.txt") == same_part.part("benchmark/test.txt")


def test_no_manifest_is_no_artifact(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "nothing") is None


@pytest.mark.parametrize("content", ["not json", "[]", '{"name": "a browser extension"}', '{"stage": "sft"}', "\xff"])
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content, encoding="latin-1")
    with pytest.raises(KormedError, match="not a manifest of this kormed") as error:
        read_manifest(tmp_path)
    assert str(tmp_path / MANIFEST) in str(error.value)


# What was changed by hand


def assert_whole(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest is not None
    assert changed(folder, manifest) is None


def change(folder: Path) -> None:
    (folder / "adapter.txt").write_text("other weights", encoding="utf-8")


def add(folder: Path) -> None:
    (folder / "tokenizer" / "notes.txt").write_text("mine", encoding="utf-8")


def remove(folder: Path) -> None:
    (folder / "tokenizer" / "vocabulary.txt").unlink()


@pytest.mark.parametrize(
    ("by_hand", "named"),
    [(change, "adapter.txt"), (add, "tokenizer/notes.txt"), (remove, "tokenizer/vocabulary.txt")],
)
def test_a_file_changed_by_hand_is_noticed_and_named(
    tmp_path: Path, by_hand: Callable[[Path], None], named: str
) -> None:
    manifest = make(tmp_path / "sft", request(), write_adapter)
    assert changed(tmp_path / "sft", manifest) is None
    by_hand(tmp_path / "sft")
    assert named in str(changed(tmp_path / "sft", manifest))


# Why an artifact is not what is asked for


def test_the_same_request_makes_no_difference(tmp_path: Path) -> None:
    asked = request({"lora": {"r": 16}, "targets": ["q", "v"], "max_steps": None}, {"prepare": "abc"})
    make(tmp_path / "sft", asked, write_adapter)
    manifest = read_manifest(tmp_path / "sft")
    assert manifest is not None
    assert differences(manifest, asked) == []


def test_a_setting_that_did_not_exist_when_an_artifact_was_made_is_called_that(tmp_path: Path) -> None:
    manifest = make(tmp_path / "sft", request({"epochs": 3, "columns": {"question": "질문"}}), write_adapter)
    asked = request({"epochs": 3, "columns": {"question": "질문", "answer": "답"}, "variants": ["zero_shot"]})
    assert differences(manifest, asked, "sft.") == [
        "sft.columns.answer: made without it, asked for '답'",
        "sft.variants: made before this setting existed, asked for ['zero_shot']",
    ]


def test_a_setting_that_did_not_exist_and_asks_for_nothing_makes_nothing_stale(tmp_path: Path) -> None:
    manifest = make(tmp_path / "sft", request({"epochs": 3}), write_adapter)
    assert differences(manifest, request({"epochs": 3, "tasks": [], "task_folder": None})) == []
    assert differences(manifest, request({"epochs": 3, "tasks": ["arc"]})) != []


def test_every_difference_is_one_line_with_both_values(tmp_path: Path) -> None:
    made = make(
        tmp_path / "sft",
        request({"epochs": 3, "lora": {"r": 16, "alpha": 32}}, {"prepare:train.jsonl": "a", "old": "b"}),
        write_adapter,
    )
    asked = request({"epochs": 3, "lora": {"r": 8, "alpha": 32}}, {"prepare:train.jsonl": "c", "new": "d"})
    lines = differences(made, asked)
    assert len(lines) == 4
    knob, *inputs = lines
    assert "lora.r" in knob
    assert "16" in knob
    assert "8" in knob
    assert sorted(inputs) == ["input new is new", "input old is gone", "input prepare:train.jsonl has changed"]


# Stopped, killed, and something in the way


def test_a_stopped_run_leaves_its_work_and_the_same_request_goes_on_with_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "sft", request(), stop_half_way)
    assert not (tmp_path / "sft").exists()

    def go_on(out: Path) -> dict[str, float]:
        assert (out / "step-1.txt").read_text(encoding="utf-8") == "half of the work"
        return write_adapter(out)

    make(tmp_path / "sft", request(), go_on)
    assert (tmp_path / "sft" / "step-1.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sft"]


@pytest.mark.parametrize("asked", [request({"epochs": 4}), request(inputs={"prepare": "changed"})])
def test_a_different_request_starts_anew_and_moves_the_stopped_one_aside(tmp_path: Path, asked: Request) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "sft", request(), stop_half_way)

    def start_anew(out: Path) -> dict[str, float]:
        assert not (out / "step-1.txt").exists()
        return write_adapter(out)

    make(tmp_path / "sft", asked, start_anew)
    (kept,) = (tmp_path / PREVIOUS).glob("*/step-1.txt")
    assert kept.read_text(encoding="utf-8") == "half of the work"
    assert not (tmp_path / "sft" / "step-1.txt").exists()


def test_what_is_not_ours_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(KormedError, match="not ours") as error:
        make(tmp_path / "sft", request(), write_adapter)
    assert str(tmp_path / "sft") in str(error.value)
    assert hash_folder(tmp_path).keys() == {"sft/thesis.txt"}


def test_two_processes_cannot_make_the_same_artifact_at_once(tmp_path: Path) -> None:
    def must_not_run(out: Path) -> dict[str, float]:
        raise AssertionError("two processes wrote into one folder")

    with another_process_making(tmp_path / "sft"):
        with pytest.raises(KormedError, match="another process is making sft"):
            make(tmp_path / "sft", request(), must_not_run)
        with pytest.raises(KormedError, match="another process is making sft"):
            make(tmp_path / "sft", request({"epochs": 4}), must_not_run)
        assert (tmp_path / ".sft.partial" / "step-1.txt").exists()


def test_a_killed_process_leaves_no_lock_and_its_work_is_gone_on_with(tmp_path: Path) -> None:
    with another_process_making(tmp_path / "sft") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def go_on(out: Path) -> dict[str, float]:
        assert (out / "step-1.txt").read_text(encoding="utf-8") == "made by the other process"
        return write_adapter(out)

    make(tmp_path / "sft", request(), go_on)
    assert_whole(tmp_path / "sft")


def test_two_artifacts_moved_aside_in_the_same_second_both_stay(tmp_path: Path) -> None:
    for at in range(3):
        make(tmp_path / "sft", request({"epochs": at}), write_adapter)
        set_aside(tmp_path / "sft")
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / PREVIOUS).glob(f"*/{MANIFEST}")]
    assert sorted(manifest["config"]["epochs"] for manifest in kept) == [0, 1, 2]
    assert not (tmp_path / "sft").exists()


# What it cost


def stopped(folder: Path) -> Path:
    """A session that came to nothing. Returns the folder of notes."""
    with pytest.raises(KeyboardInterrupt):
        make(folder, request(), stop_half_way)
    return artifacts.partial_place(folder) / SESSIONS


def note(place: Path, seconds: float) -> None:
    place.write_text(json.dumps(json.loads(place.read_text(encoding="utf-8")) | {"seconds": seconds}), encoding="utf-8")


def test_the_time_before_a_kill_counts(tmp_path: Path) -> None:
    place = tmp_path / ".sft.partial" / SESSIONS / "1.json"
    with another_process_making(tmp_path / "sft") as process:
        while json.loads(place.read_text(encoding="utf-8"))["seconds"] < 0.3:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    noted = json.loads(place.read_text(encoding="utf-8"))["seconds"]
    made = make(tmp_path / "sft", request(), write_adapter)
    assert made.sessions == 2
    assert made.seconds >= round(noted, 1)
    assert_whole(tmp_path / "sft")
    assert read_manifest(tmp_path / "sft") == made


def test_the_seconds_are_those_of_all_sessions_and_the_note_is_gone_once_it_is_whole(tmp_path: Path) -> None:
    notes = stopped(tmp_path / "sft")
    note(notes / "1.json", 5000)
    stopped(tmp_path / "sft")
    note(notes / "2.json", 300)
    made = make(tmp_path / "sft", request(), write_adapter)
    assert made.sessions == 3
    assert 5300 <= made.seconds < 5400
    assert not (tmp_path / "sft" / SESSIONS).exists()


def test_a_session_with_other_settings_counts_for_nothing(tmp_path: Path) -> None:
    note(stopped(tmp_path / "sft") / "1.json", 5000)
    made = make(tmp_path / "sft", request({"epochs": 4}), write_adapter)
    assert made.sessions == 1
    assert made.seconds < 5000


def test_what_a_stage_cost_changes_nothing_of_its_content(tmp_path: Path) -> None:
    def stop_with_nothing(out: Path) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "resumed" / "sft", request(), stop_with_nothing)
    resumed = make(tmp_path / "resumed" / "sft", request(), write_adapter)
    at_once = make(tmp_path / "sft", request(), write_adapter)
    assert (resumed.content, resumed.files) == (at_once.content, at_once.files)
    assert changed(tmp_path / "resumed" / "sft", resumed) is None


@pytest.mark.parametrize("torn", ["", '{"seconds": 12', "[]", '{"seconds": 12.0}', "\x00\x00"])
def test_a_torn_note_is_a_session_of_unknown_length_and_the_others_count(tmp_path: Path, torn: str) -> None:
    notes = stopped(tmp_path / "sft")
    note(notes / "1.json", 5000)
    stopped(tmp_path / "sft")
    (notes / "2.json").write_text(torn, encoding="utf-8")
    made = make(tmp_path / "sft", request(), write_adapter)
    assert made.sessions == 3
    assert 5000 <= made.seconds < 5100


def test_a_note_that_finds_no_space_left_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notes = tmp_path / ".sft.partial" / SESSIONS
    notes.mkdir(parents=True)
    (notes / "1.tmp").symlink_to("/dev/full")
    made = make(tmp_path / "sft", request(), write_adapter)
    assert made.sessions == 1
    assert_whole(tmp_path / "sft")
    assert caplog.text.count("No space left on device") == 1


def test_the_memory_of_one_stage_is_not_charged_to_the_next(tmp_path: Path) -> None:
    def take(mebibytes: int) -> Callable[[Path], dict[str, float]]:
        def run(out: Path) -> dict[str, float]:
            os.urandom(mebibytes * 2**20)
            return {}

        return run

    large = make(tmp_path / "large", request(), take(200))
    small = make(tmp_path / "small", request(), take(1))
    assert large.peak_memory is not None
    assert small.peak_memory is not None
    assert large.peak_memory_of == small.peak_memory_of == "process"
    assert large.peak_memory > 200 * 2**20
    assert small.peak_memory < large.peak_memory - 100 * 2**20
    assert (small.gpus, small.gpu_seconds) == (0, 0)


def test_gpu_seconds_are_each_sessions_own_and_the_peak_is_the_largest_on_a_gpu() -> None:
    sessions = [
        Session(60.0, 0, 9 * 2**30, "process"),
        Session(100.0, 4, 3 * 2**30, "gpu"),
        Session(50.0, 2, 5 * 2**30, "gpu"),
    ]
    assert Spent.by(sessions) == Spent(3, 210.0, 4, 500.0, 5 * 2**30, "gpu")


def test_a_manifest_from_before_this_was_counted_says_that_it_does_not_know(tmp_path: Path) -> None:
    make(tmp_path / "sft", request(), write_adapter)
    place = tmp_path / "sft" / MANIFEST
    said = json.loads(place.read_text(encoding="utf-8"))
    for key in ("sessions", "gpus", "gpu_seconds", "peak_memory", "peak_memory_of"):
        del said[key]
    place.write_text(json.dumps(said), encoding="utf-8")
    read = read_manifest(tmp_path / "sft")
    assert read is not None
    assert (read.sessions, read.gpus, read.gpu_seconds, read.peak_memory, read.peak_memory_of) == (1, *[None] * 4)


# Under several processes


def test_only_rank_0_keeps_the_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    ran = []

    def compute(out: Path) -> dict[str, float]:
        ran.append(out)
        return {"loss": 1.5}

    (tmp_path / ".sft.partial").mkdir()
    (tmp_path / ".sft.partial" / artifacts.LAUNCH).write_text(artifacts.launch_id())  # as rank 0 did
    make(tmp_path / "sft", request(), compute)
    assert ran == [tmp_path / ".sft.partial"]
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == [".sft.partial", artifacts.LAUNCH]


def test_rank_0_writes_the_manifest_as_a_single_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    make(tmp_path / "sft", request(), write_adapter)
    assert_whole(tmp_path / "sft")


# The code's own state


def test_the_commit_is_none_outside_git_and_marked_where_the_tree_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert artifacts.commit() is None
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / "code.py").write_text("", encoding="utf-8")
    subprocess.run(["git", "add", "code.py"], check=True)
    subprocess.run(["git", *identity, "commit", "-q", "-m", "first"], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert artifacts.commit() == head
    (tmp_path / "my-recipe.yaml").write_text("", encoding="utf-8")
    assert artifacts.commit() == head, "a user's own recipe is no change of the code"
    (tmp_path / "code.py").write_text("print()", encoding="utf-8")
    assert artifacts.commit() == f"{head}+changes"
