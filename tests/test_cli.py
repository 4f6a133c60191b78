"""cli: every command says what it does and how it is typed, and every mistake gets one message with the way out."""

import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from stages import cli
from stages.core import pipeline
from stages.core.artifacts import MANIFEST, PREVIOUS
from stages.core.errors import KormedError, ProofFailed
from stages.core.pipeline import PIPELINE, STAGES
from stages.core.recipe import load_recipe
from stages.core.records import Response, append_jsonl

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "recipes" / "demo"
HEAVY = {"torch", "transformers", "trl", "peft", "lm_eval", "argilla", "bitsandbytes", "accelerate"}


def commands(
    group: click.Group = cli.main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())
RECIPE = {"file", "id", "target", "source", "runs"}  # what a command may ask for instead of a recipe


class Desk:
    """A user's folder: a recipe on copies of the demo's data, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(DEMO / "kormedmcqa" / "doctor", folder / "benchmark" / "doctor")
        shutil.copy(DEMO / "consults.jsonl", folder / "consults.jsonl")
        self.consults = folder / "consults.jsonl"
        self.test = folder / "benchmark" / "doctor" / "test.jsonl"
        self.recipe = folder / "mine.yaml"
        self.recipe.write_text(
            "name: mine\nmodel: {base: nowhere}\n"
            "prepare: {benchmark: benchmark, subsets: [doctor], consults: consults.jsonl}\n",
            encoding="utf-8",
        )
        self.models = folder / "models" / "mine"

    def kormed(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli.main, arguments)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The CLI sets logging, warnings and environment for its process; the test's process gets its own back."""
    monkeypatch.chdir(tmp_path)
    for name, value in cli.QUIET.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    loggers = [logging.getLogger(name) for name in ("kormed", "lm_eval", "lm-eval", "bitsandbytes", "argilla", "httpx")]
    before = [(logger, logger.level, logger.propagate, logger.handlers) for logger in loggers]
    with warnings.catch_warnings():
        yield Desk(tmp_path)
    for logger, level, propagate, handlers in before:
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


def assert_one_message(result: Result, *fragments: str, exit_code: int = 2) -> None:
    assert result.exit_code == exit_code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for fragment in fragments:
        assert fragment in result.stderr


# Help and examples


def examples(text: str) -> list[str]:
    r"""The lines of a docstring's `\b` blocks."""
    blocks = re.findall(r"\x08\n(.*?)(?:\n\s*\n|\Z)", text, re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def parse(line: str) -> None:
    """Let Click and the recipe's own check read a `kormed …` line as a user types it, without running it."""
    words = shlex.split(line)
    while "=" in words[0]:  # ARGILLA_API_URL=… before the command
        words.pop(0)
    assert words.pop(0) == "kormed", line
    command: click.Command = cli.main
    while isinstance(command, click.Group):
        assert words[0] in command.commands, f"{line}: no such command"
        command = command.commands[words.pop(0)]
    values = command.make_context(command.name, words).params
    if file := values.get("file"):
        assert file.exists(), f"{line}: no such file"
    for recipe in values.get("recipes", (values.get("recipe"),)):
        assert recipe is not None or not RECIPE.isdisjoint(values), f"{line}: names no recipe"
        if recipe is not None:
            load_recipe(recipe, values.get("overrides", ()))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_a_sentence_and_an_example_of_itself_that_works(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    text = COMMANDS[path].help or ""
    sentence = text.partition("\n")[0]
    assert sentence.endswith(".")
    lines = examples(text)
    assert lines
    assert any(f"kormed {' '.join(path)} " in line for line in lines)
    for line in lines:
        parse(line)


def test_the_examples_of_the_whole_program_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = examples(cli.main.help or "")
    assert lines
    for line in lines:
        parse(line)


@pytest.mark.parametrize(
    "line",
    [
        "kormed trainn recipes/demo/demo.yaml",
        "kormed sft recipes/demo/demo.yaml --epochs 3",
        "kormed sft recipes/demo/demo.yaml --set sft.epoch=3",
        "kormed sft recipes/nothing.yaml",
    ],
)
def test_an_example_that_does_not_work_would_be_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises((AssertionError, click.UsageError, KormedError)):
        parse(line)


def test_every_stage_of_the_pipeline_has_its_command() -> None:
    assert {pipeline.command(stage.name).partition(" ")[0] for stage in PIPELINE} <= {path[0] for path in COMMANDS}


def test_help_lists_every_command_with_its_sentence(desk: Desk) -> None:
    for flag in ("--help", "-h"):
        result = desk.kormed(flag)
        assert result.exit_code == 0
        for name in cli.main.commands:
            assert re.search(rf"^  {name} +\S", result.stdout, re.MULTILINE), name


def written_commands() -> list[tuple[str, str]]:
    """Commands that a reader is told to type: in the READMEs' code blocks and at the head of each recipe."""
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "recipes").rglob("*.md"))]:
        for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            found += [(path.relative_to(ROOT).as_posix(), line) for line in block.splitlines()]
    for path in sorted((ROOT / "recipes").rglob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [(path.relative_to(ROOT).as_posix(), line[1:]) for line in lines if line.startswith("#  ")]
    return [
        (place, re.split(r"\s{2,}|\s#\s", line.strip().removeprefix("$ "))[0])
        for place, line in found
        if re.match(r"\s*(\$ )?([A-Z_]+=\S+ )*(make|kormed) ", line)
    ]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_the_readme_shows_how_to_start() -> None:
    lines = [line for place, line in written_commands() if place == "README.md"]
    assert "make demo" in lines


def test_every_written_command_exists_and_names_a_recipe_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = written_commands()
    assert len(lines) >= 2
    for place, line in lines:
        if "make" not in shlex.split(line):
            parse(line)
            continue
        for word in shlex.split(line.partition("make ")[2]):
            key, equals, value = word.partition("=")
            if equals and key == "RECIPE":
                load_recipe(Path(value))
            elif not equals:
                assert key in make_targets(), f"{place}: {line}: no such target"


# Start


def modules_after(folder: Path, *arguments: str) -> set[str]:
    """Names of the top-level packages that a real process has imported once it has run the command."""
    code = (
        "import sys\nfrom stages.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print('MODULES', *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["sft", "--help"], ["annotate", "push", "--help"], ["--version"]])
def test_help_imports_nothing_that_takes_time(tmp_path: Path, arguments: list[str]) -> None:
    slow = {*HEAVY, "datasets", "pandas", "numpy", "pyarrow", "scipy", "matplotlib"}
    assert not modules_after(tmp_path, *arguments) & slow


@pytest.mark.parametrize("verb", ["check", "status", "prepare"])
def test_what_needs_no_model_imports_no_torch(desk: Desk, verb: str) -> None:
    assert not modules_after(desk.folder, verb, "mine.yaml") & HEAVY


def python_m_stages(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "stages", *arguments], cwd=folder, capture_output=True, text=True)


def test_python_m_stages_is_kormed(desk: Desk) -> None:
    good = python_m_stages(desk.folder, "check", "mine.yaml")
    assert (good.returncode, good.stdout) == (0, "mine.yaml: good (runs as mine)\n")
    bad = python_m_stages(desk.folder, "check", "yours.yaml")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert len(bad.stderr.splitlines()) == 1
    assert "yours.yaml: no such recipe" in bad.stderr


# What goes well


def test_prepare_prints_its_result_on_stdout_and_its_talk_on_stderr(desk: Desk) -> None:
    result = desk.kormed("prepare", "mine.yaml")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"prepare: models/mine/prepare  rows \d+ .*\n", result.stdout)
    assert "dropped 2 of" in result.stderr
    assert (desk.models / "prepare" / MANIFEST).exists()


def test_the_same_command_again_says_that_it_is_done(desk: Desk) -> None:
    first = desk.kormed("prepare", "mine.yaml")
    again = desk.kormed("prepare", "mine.yaml")
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert "done already" in again.stderr


def test_force_says_where_the_one_before_went(desk: Desk) -> None:
    desk.kormed("prepare", "mine.yaml")
    result = desk.kormed("prepare", "mine.yaml", "--force")
    assert result.exit_code == 0, result.output
    (old,) = (desk.models / PREVIOUS).iterdir()
    assert str(old.relative_to(desk.folder)) in result.stderr


def test_status_shows_what_is_done_and_what_is_missing(desk: Desk) -> None:
    desk.kormed("prepare", "mine.yaml")
    result = desk.kormed("status", "mine.yaml")
    assert result.exit_code == 0
    assert re.search(r"^prepare +done ", result.stdout, re.MULTILINE)
    assert re.search(r"^sft +missing$", result.stdout, re.MULTILINE)
    changed = desk.kormed("status", "mine.yaml", "--set", "prepare.seed=7")
    assert re.search(r"^prepare +stale ", changed.stdout, re.MULTILINE)


def test_check_tells_the_good_ones_and_every_problem_of_the_others(desk: Desk) -> None:
    (desk.folder / "bad.yaml").write_text("name: bad\nmodle: {base: x}\n", encoding="utf-8")
    result = desk.kormed("check", "mine.yaml", "bad.yaml", "nothing.yaml")
    assert result.exit_code == 2
    assert result.stdout == "mine.yaml: good (runs as mine)\n"
    assert "modle: unknown key; did you mean model?" in result.stderr
    assert "nothing.yaml: no such recipe" in result.stderr
    assert not (desk.folder / "models").exists()


# What a user can get wrong


def append_line(path: Path, line: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def put_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)


def put_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine", encoding="utf-8")


BAD_INPUT: dict[str, tuple[Callable[[Desk], object], Sequence[str]]] = {
    "a missing recipe": (lambda d: d.recipe.rename(d.folder / "other.yaml"), ["mine.yaml", "no such recipe"]),
    "a wrong key": (lambda d: append_line(d.recipe, "sft: {epoch: 1}"), ["sft.epoch", "did you mean epochs?"]),
    "a wrong type": (lambda d: append_line(d.recipe, "sft: {epochs: many}"), ["sft.epochs", "'many'"]),
    "a recipe that is no YAML": (lambda d: append_line(d.recipe, "sft: ["), ["mine.yaml", "not YAML"]),
    "a folder as recipe": (lambda d: put_folder(d.recipe), ["mine.yaml"]),
    "no consults yet": (lambda d: d.consults.unlink(), ["consults.jsonl: no consults yet", "prepare.consults=null"]),
    "no consult in the file": (lambda d: d.consults.write_text(""), ["consults.jsonl", "prepare.consults=null"]),
    "a consult that is no JSON": (lambda d: append_line(d.consults, "{question:"), ["consults.jsonl:73: not JSON"]),
    "a consult without answer": (
        lambda d: append_line(d.consults, '{"question": "q", "instruction": "i"}'),
        ["consults.jsonl:73: field 'answer'"],
    ),
    "consults in CP949": (
        lambda d: d.consults.write_bytes(d.consults.read_text(encoding="utf-8").encode("cp949", errors="ignore")),
        ["consults.jsonl: not UTF-8", "iconv"],
    ),
    "a folder as consults": (lambda d: put_folder(d.consults), ["consults.jsonl", "folder"]),
    "no benchmark": (lambda d: shutil.rmtree(d.folder / "benchmark"), ["benchmark: no such folder"]),
    "a missing split": (lambda d: d.test.unlink(), ["benchmark/doctor/test.jsonl: no such file"]),
    "an empty split": (lambda d: d.test.write_text(""), ["benchmark/doctor/test.jsonl", "empty"]),
    "an answer of 6": (
        lambda d: edit(d.test, '"answer": ', '"answer": 6, "was": '),
        ["benchmark/doctor/test.jsonl:1: field 'answer'", "less than or equal to 5"],
    ),
    "an answer of 0": (
        lambda d: edit(d.test, '"answer": ', '"answer": 0, "was": '),
        ["benchmark/doctor/test.jsonl:1: field 'answer'", "greater than or equal to 1"],
    ),
    "a question without E": (lambda d: edit(d.test, '"E": ', '"e": '), ["benchmark/doctor/test.jsonl:1: field 'E'"]),
    "something foreign in the way": (
        lambda d: put_folder(d.models / "prepare"),
        ["models/mine/prepare", "not ours", "move it away"],
    ),
    "a file in the way": (
        lambda d: put_file(d.models / "prepare"),
        ["models/mine/prepare"],
    ),
    "a file where the run's folder goes": (
        lambda d: put_file(d.models),
        ["models/mine"],
    ),
}


@pytest.mark.parametrize("what", BAD_INPUT)
def test_bad_input_gets_one_message_and_nothing_is_made(desk: Desk, what: str) -> None:
    spoil, fragments = BAD_INPUT[what]
    spoil(desk)
    assert_one_message(desk.kormed("prepare", "mine.yaml"), *fragments)
    assert not list(desk.folder.rglob(MANIFEST))


@pytest.mark.parametrize(
    ("override", "fragments"),
    [
        ("sft.epochs", ["key=value"]),
        ("sft.epoch=3", ["sft.epoch", "did you mean epochs?"]),
        ("prepare.subsets=[surgeon]", ["prepare.subsets", "surgeon"]),
        ("prepare.benchmark=nobody/no-such-benchmark", ["nobody/no-such-benchmark", "prepare.benchmark"]),
    ],
)
def test_a_bad_set_gets_one_message(desk: Desk, override: str, fragments: list[str]) -> None:
    assert_one_message(desk.kormed("prepare", "mine.yaml", "--set", override), *fragments)
    assert not list(desk.folder.rglob(MANIFEST))


def test_an_unknown_command_gets_one_message(desk: Desk) -> None:
    assert_one_message(desk.kormed("train", "mine.yaml"), "train")


def test_a_stale_artifact_gets_one_message_and_stays(desk: Desk) -> None:
    desk.kormed("prepare", "mine.yaml")
    before = (desk.models / "prepare" / MANIFEST).read_bytes()
    result = desk.kormed("prepare", "mine.yaml", "--set", "prepare.heldout_consults=0.4")
    assert_one_message(result, "heldout_consults", "0.4", "--force", "another name")
    assert (desk.models / "prepare" / MANIFEST).read_bytes() == before


def test_a_file_changed_by_hand_gets_one_message(desk: Desk) -> None:
    desk.kormed("prepare", "mine.yaml")
    append_line(desk.models / "prepare" / "train.jsonl", "{}")
    assert_one_message(desk.kormed("prepare", "mine.yaml"), "train.jsonl", "--force")


FAKE_CANDIDATES = """
from stages.core.records import Candidate, Comparison, write_jsonl

def run(config, out, **reads):
    def candidate(side):
        return Candidate(id=side, consult_id="x", text=side, checkpoint="sft", temperature=1, top_p=1, seed=0, tokens=1,
                         finished=True)
    row = Comparison(id="c1", consult_id="x", question="q", patient_information="p", a=candidate("a"), b=candidate("b"))
    write_jsonl(out / "comparisons.jsonl", [row])
    return {"loss": 1.0, "comparisons": 1}
"""


@pytest.mark.parametrize("verb", ["preferences", "dpo"])
def test_comparisons_that_nobody_answered_get_one_message(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    (desk.folder / "fake_candidates.py").write_text(FAKE_CANDIDATES, encoding="utf-8")
    monkeypatch.syspath_prepend(desk.folder)
    for name in ("sft", "candidates"):
        monkeypatch.setitem(STAGES, name, replace(STAGES[name], module="fake_candidates"))
    draft = Response(
        comparison_id="c1", annotator="kim", value="a", status="draft", submitted_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    (desk.models / "responses").mkdir(parents=True)
    append_jsonl(desk.models / "responses" / "responses.jsonl", [draft])
    assert_one_message(desk.kormed(verb, "mine.yaml"), "no submitted response", "make label", "make pull")
    assert not (desk.models / "preferences").exists()


# Full disks, Ctrl-C, and our own faults


def test_a_full_disk_gets_one_message_and_the_same_command_goes_on(desk: Desk) -> None:
    """/dev/full is a real full disk: what prepare writes for train.jsonl ends there."""
    partial = desk.models / ".prepare.partial"
    partial.mkdir(parents=True)
    (partial / ".train.jsonl.tmp").symlink_to("/dev/full")
    result = desk.kormed("prepare", "mine.yaml")
    assert_one_message(result, "the disk is full", "same command", exit_code=2)
    assert not (desk.models / "prepare").exists()
    assert not (partial / ".train.jsonl.tmp").is_symlink(), "the next try begins with a fresh file"
    assert desk.kormed("prepare", "mine.yaml").exit_code == 0


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "train.jsonl"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 246080 vs 245968"),  # torch.save
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["the system's", "torch's", "a library's"],
)
def test_a_full_disk_is_known_in_whatever_a_library_wraps_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def save(config: Any, out: Path) -> dict[str, float]:
        raise error

    monkeypatch.setattr("stages.prepare.run", save)
    assert_one_message(desk.kormed("prepare", "mine.yaml"), "the disk is full", exit_code=2)


def test_ctrl_c_says_what_can_be_resumed(desk: Desk) -> None:
    code = (
        "import time, stages.prepare\nfrom stages.cli import main\n"
        "def run(config, out):\n    print('working', flush=True)\n    time.sleep(60)\n"
        "stages.prepare.run = run\nmain()\n"
    )
    command = [sys.executable, "-c", code, "prepare", "mine.yaml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "Traceback" not in talk
    assert "same command" in talk
    assert "kormed status" in talk
    assert desk.kormed("prepare", "mine.yaml").exit_code == 0


def test_a_failed_proof_is_told_bare_and_is_no_mistake_of_the_user(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def prove(config: Any, out: Path) -> dict[str, float]:
        raise ProofFailed("the reference is not SFT")

    monkeypatch.setattr("stages.prepare.run", prove)
    assert_one_message(desk.kormed("prepare", "mine.yaml"), "the reference is not SFT", exit_code=1)


def test_a_fault_of_ours_keeps_its_traceback(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(config: Any, out: Path) -> dict[str, float]:
        raise ZeroDivisionError

    monkeypatch.setattr("stages.prepare.run", break_down)
    assert isinstance(desk.kormed("prepare", "mine.yaml").exception, ZeroDivisionError)
