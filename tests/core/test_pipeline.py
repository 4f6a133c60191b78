"""pipeline: what is done stays done, what is stale is never written over. Real `prepare`, small fakes of the rest."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.core import artifacts, pipeline
from stages.core.artifacts import MANIFEST, PREVIOUS, hash_folder
from stages.core.errors import KormedError
from stages.core.pipeline import PIPELINE, STAGES, Run, table
from stages.core.recipe import load_recipe

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "recipes" / "demo"

# Stands for the stages that need torch: writes a line made of its own section, and notes that it ran.
FAKE_STAGE = """
from pathlib import Path

STAGE = {name!r}

def run(config, out, **reads):
    with Path({runs!r}).open("a") as file:
        file.write(STAGE + "\\n")
    (out / "made.txt").write_text(f"{{STAGE}} {{config}} {{sorted(reads)}}")
    if STAGE == {failing!r}:
        raise KeyboardInterrupt
    return dict.fromkeys(
        ("loss", "accuracy", "comparisons", "responses", "preferences", "win_rate", "checkpoints"), 1.0
    )
"""


class Kitchen:
    """A recipe on the demo's data in a folder of its own, where the heavy stages are fake ones."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.consults = folder / "consults.jsonl"
        self.consults.write_bytes((DEMO / "consults.jsonl").read_bytes())
        self.recipe = folder / "recipe.yaml"
        self.recipe.write_text(
            f"name: demo\nmodel: {{base: nowhere}}\n"
            f"prepare: {{benchmark: {DEMO}/kormedmcqa, subsets: [doctor], consults: {self.consults}}}\n",
            encoding="utf-8",
        )
        monkeypatch.syspath_prepend(folder)
        for stage in PIPELINE:
            if stage.name != "prepare":
                self.fake(stage.name)

    def fake(self, name: str, *, failing: bool = False) -> None:
        module = f"fake_{name.replace('/', '_')}{'_failing' * failing}"
        text = FAKE_STAGE.format(name=name, runs=str(self.folder / "runs.txt"), failing=name if failing else None)
        (self.folder / f"{module}.py").write_text(text, encoding="utf-8")
        sys.modules.pop(module, None)
        self.monkeypatch.setitem(STAGES, name, replace(STAGES[name], module=module))

    def run(self, *overrides: str) -> Run:
        """As a new process sees it."""
        return Run(load_recipe(self.recipe, overrides), self.folder / "models")

    @property
    def models(self) -> Path:
        return self.folder / "models" / "demo"

    def ran(self) -> list[str]:
        """The fake stages that ran since the last call."""
        file = self.folder / "runs.txt"
        names = file.read_text(encoding="utf-8").split() if file.exists() else []
        file.write_text("", encoding="utf-8")
        return names

    def label(self, text: str = "one response\n", name: str = "responses.jsonl") -> None:
        (self.models / "responses").mkdir(parents=True, exist_ok=True)
        with (self.models / "responses" / name).open("a", encoding="utf-8") as file:
            file.write(text)


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    return Kitchen(tmp_path, monkeypatch)


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file with its hash and time of writing."""
    return {
        path.relative_to(folder).as_posix(): (artifacts.hash_file(path), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refusal(run: Run, name: str, *, force: bool = False) -> str:
    with pytest.raises(KormedError) as error:
        run.bring(name, force=force)
    assert error.value.exit_code == 2
    return str(error.value)


COLLECTING = ("prepare.consults=null", "collect.pages=1", "collect.contact=me@example.org")
IMPORTING = ("prepare.consults=null", "import.consults.path=consults.csv")


# Where consults come from


@pytest.mark.parametrize("source", [COLLECTING, IMPORTING])
def test_nothing_crawls_or_calls_a_language_model_unasked(kitchen: Kitchen, source: tuple[str, ...]) -> None:
    kitchen.fake("prepare")
    asked = ["collect", "restructure"] if source is COLLECTING else ["restructure"]
    for stage in asked:
        message = refusal(kitchen.run(*source), "prepare")
        assert f"`kormed {stage} RECIPE`" in message
        assert stage not in kitchen.ran()
        kitchen.run(*source).bring(stage)
    kitchen.ran()
    kitchen.run(*source).bring("prepare")
    assert kitchen.ran() == ["prepare"]


def test_without_a_rewriter_there_is_nothing_to_ask_for(kitchen: Kitchen) -> None:
    kitchen.fake("prepare")
    kitchen.run(*IMPORTING, "restructure.rewriter.kind=none").bring("prepare")
    assert kitchen.ran() == ["import", "restructure", "prepare"]


def test_a_changed_import_file_makes_everything_behind_it_stale(kitchen: Kitchen) -> None:
    kitchen.fake("prepare")
    own = kitchen.folder / "own.csv"
    own.write_text("question,answer\n", encoding="utf-8")
    settings = (*IMPORTING, f"import.consults.path={own}", "restructure.rewriter.kind=none")
    kitchen.run(*settings).bring("prepare")
    own.write_text("question,answer\n가,나\n", encoding="utf-8")
    run = kitchen.run(*settings)
    assert [run.standing(name).state for name in ("import", "restructure", "prepare")] == ["stale"] * 3


@pytest.mark.parametrize("stage", ["collect", "import", "restructure"])
def test_a_stage_that_the_recipe_does_not_have_says_which_section_it_wants(kitchen: Kitchen, stage: str) -> None:
    message = refusal(kitchen.run(), stage)
    assert "section" in message
    assert kitchen.ran() == []


def test_a_stage_gets_what_its_recipe_has_and_nothing_else(kitchen: Kitchen) -> None:
    kitchen.run(*COLLECTING).bring("collect")
    kitchen.run(*COLLECTING).bring("restructure")
    assert (kitchen.models / "restructure" / "made.txt").read_text(encoding="utf-8").endswith("['collect']")


def test_how_it_came_about_makes_nothing_stale_and_what_it_is_does(kitchen: Kitchen) -> None:
    kitchen.run(*COLLECTING).bring("collect")
    kitchen.ran()
    polite = (*COLLECTING, "collect.delay_seconds=9", "collect.contact=you@example.org", "collect.retries=1")
    kitchen.run(*polite).bring("collect")
    assert kitchen.ran() == []
    assert "collect.pages: made with 1, asked for 2" in refusal(kitchen.run(*polite, "collect.pages=2"), "collect")


def test_a_stopped_crawl_goes_on_with_more_patience(kitchen: Kitchen) -> None:
    kitchen.fake("collect", failing=True)
    with pytest.raises(KeyboardInterrupt):
        kitchen.run(*COLLECTING).bring("collect")
    kitchen.fake("collect")
    kitchen.run(*COLLECTING, "collect.delay_seconds=9").bring("collect")
    assert not (kitchen.models / PREVIOUS).exists()


def test_the_status_promises_to_go_on_only_where_it_will(kitchen: Kitchen) -> None:
    kitchen.fake("collect", failing=True)
    with pytest.raises(KeyboardInterrupt):
        kitchen.run(*COLLECTING).bring("collect")
    (line,) = kitchen.run(*COLLECTING, "collect.retries=1").standing("collect").why
    assert "goes on from there" in line
    (line,) = kitchen.run(*COLLECTING, "collect.pages=2").standing("collect").why
    assert "sets aside" in line


def test_an_edited_prompt_makes_the_rewrites_stale(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    kitchen.run(*COLLECTING).bring("collect")
    kitchen.run(*COLLECTING).bring("restructure")
    edited = kitchen.folder / "prompt.md"
    edited.write_text("anders", encoding="utf-8")
    monkeypatch.setattr(pipeline, "PROMPT", edited)
    assert kitchen.run(*COLLECTING).standing("restructure").state == "stale"
    assert (
        kitchen.run(*COLLECTING, "restructure.rewriter.kind=none")
        .request(STAGES["restructure"], {})
        .config.keys()
        .isdisjoint({"prompt_sha256"})
    )


def test_questions_imported_beside_collected_consults_do_not_make_their_rewrites_stale(kitchen: Kitchen) -> None:
    kitchen.run(*COLLECTING).bring("collect")
    kitchen.run(*COLLECTING).bring("restructure")
    both = kitchen.run(*COLLECTING, "import.questions.path=mine.csv")
    both.bring("import")
    assert both.standing("restructure").state == "done"
    assert both.standing("prepare").state == "missing"


# The same request


def test_the_same_request_again_makes_nothing_again(kitchen: Kitchen) -> None:
    kitchen.run().bring("sft")
    before = snapshot(kitchen.models)
    assert kitchen.ran() == ["sft"]
    kitchen.run().bring("sft")
    kitchen.run().bring("prepare")
    assert kitchen.ran() == []
    assert snapshot(kitchen.models) == before


def test_missing_inputs_are_made_first_and_what_is_done_is_not_made_again(kitchen: Kitchen) -> None:
    kitchen.run().bring("candidates")
    assert kitchen.ran() == ["sft", "candidates"]
    assert (kitchen.models / "prepare" / MANIFEST).exists()
    kitchen.run().bring("evaluate/sft")
    assert kitchen.ran() == ["evaluate/sft"]


def test_a_stage_gets_its_own_section_and_what_it_reads_by_name(kitchen: Kitchen) -> None:
    kitchen.label()
    kitchen.run("dpo.beta=0.7").bring("evaluate/dpo")
    dpo = (kitchen.models / "dpo" / "made.txt").read_text(encoding="utf-8")
    assert "beta=0.7" in dpo
    assert dpo.endswith("['preferences', 'sft']")
    preferences = (kitchen.models / "preferences" / "made.txt").read_text(encoding="utf-8")
    assert preferences.endswith("['candidates', 'responses']")


# Stale


def test_a_changed_knob_is_refused_with_the_difference_and_the_ways_out(kitchen: Kitchen) -> None:
    kitchen.run().bring("prepare")
    before = snapshot(kitchen.models)
    message = refusal(kitchen.run("prepare.heldout_consults=0.3"), "prepare")
    assert str(kitchen.models / "prepare") in message
    (line,) = [line for line in message.splitlines() if "heldout_consults" in line]
    assert "0.1" in line
    assert "0.3" in line
    assert "another name" in message
    assert "kormed prepare RECIPE --force" in message
    assert str(kitchen.models / PREVIOUS) in message
    assert snapshot(kitchen.models) == before


def test_force_moves_the_old_one_to_previous_and_makes_a_new_one(kitchen: Kitchen) -> None:
    kitchen.run().bring("prepare")
    before = snapshot(kitchen.models / "prepare")
    kitchen.run("prepare.heldout_consults=0.3").bring("prepare", force=True)
    (old,) = (kitchen.models / PREVIOUS).iterdir()
    assert snapshot(old) == before
    assert snapshot(kitchen.models / "prepare") != before
    assert kitchen.run("prepare.heldout_consults=0.3").standing("prepare").state == "done"


def test_force_makes_even_what_is_done_anew(kitchen: Kitchen) -> None:
    kitchen.run().bring("sft")
    kitchen.ran()
    kitchen.run().bring("sft", force=True)
    assert kitchen.ran() == ["sft"]
    assert len(list((kitchen.models / PREVIOUS).iterdir())) == 1


def test_a_stale_input_stops_the_verb_and_says_who_needed_it(kitchen: Kitchen) -> None:
    kitchen.run().bring("sft")
    kitchen.ran()
    message = refusal(kitchen.run("prepare.heldout_consults=0.3"), "candidates")
    assert "needed by" in message
    assert "kormed prepare RECIPE --force" in message
    assert kitchen.ran() == []
    assert not (kitchen.models / "candidates").exists()


def test_force_is_for_the_stage_that_was_named_and_not_for_its_inputs(kitchen: Kitchen) -> None:
    kitchen.run().bring("sft")
    before = snapshot(kitchen.models)
    refusal(kitchen.run("prepare.heldout_consults=0.3"), "sft", force=True)
    assert snapshot(kitchen.models) == before


def test_a_corrected_consults_file_makes_prepare_stale(kitchen: Kitchen) -> None:
    kitchen.run().bring("prepare")
    lines = kitchen.consults.read_text(encoding="utf-8").splitlines(keepends=True)
    kitchen.consults.write_text("".join(lines[1:]), encoding="utf-8")
    assert "consults" in refusal(kitchen.run(), "prepare")
    kitchen.consults.write_text("".join(lines), encoding="utf-8")
    assert kitchen.run().standing("prepare").state == "done"


def test_a_corrected_benchmark_makes_prepare_stale(kitchen: Kitchen) -> None:
    mine = kitchen.folder / "benchmark"
    (mine / "doctor").mkdir(parents=True)
    for path in (DEMO / "kormedmcqa" / "doctor").iterdir():
        (mine / "doctor" / path.name).write_bytes(path.read_bytes())
    override = f"prepare.benchmark={mine}"
    kitchen.run(override).bring("prepare")
    assert kitchen.run(override).standing("prepare").state == "done"
    test = mine / "doctor" / "test.jsonl"
    test.write_text(test.read_text(encoding="utf-8").replace('"answer": 1', '"answer": 2', 1), encoding="utf-8")
    assert kitchen.run(override).standing("prepare").state == "stale"
    assert "benchmark" in refusal(kitchen.run(override), "prepare")


def test_what_stands_behind_a_stale_artifact_is_stale_too(kitchen: Kitchen) -> None:
    kitchen.run().bring("candidates")
    run = kitchen.run("prepare.seed=7")
    assert [run.standing(name).state for name in ("prepare", "sft", "candidates")] == ["stale"] * 3
    assert "prepare is stale" in run.standing("sft").why


def test_every_way_out_that_is_printed_is_a_command(kitchen: Kitchen) -> None:
    import click

    from stages.cli import main

    kitchen.label()
    for name in ("report", "evaluate/base", "evaluate/dpo"):
        kitchen.run().bring(name)
    for stage in PIPELINE:
        if stage.derived or not kitchen.run().uses(stage.name):
            continue
        message = refusal(kitchen.run(f"{stage.section}.seed=7"), stage.name)
        (command,) = [part for part in message.split("`") if part.startswith("kormed ")]
        _, verb, *arguments = command.split()
        context = main.commands[verb].make_context(verb, arguments)
        assert isinstance(context, click.Context)
        assert context.params["force"] is True


# Only what changed is made again


def test_a_change_of_the_held_out_part_alone_leaves_base_as_it_is(kitchen: Kitchen) -> None:
    kitchen.run().bring("evaluate/base")
    kitchen.run().bring("evaluate/sft")
    changed = kitchen.run("prepare.heldout_consults=0.3")
    assert changed.standing("evaluate/base").state == "stale"  # nobody can know before prepare has run
    changed.bring("prepare", force=True)
    after = kitchen.run("prepare.heldout_consults=0.3")
    assert after.standing("evaluate/base").state == "done"
    assert after.standing("evaluate/sft").state == "stale"


def test_a_change_of_the_preference_part_alone_leaves_sft_and_its_evaluation_as_they_are(kitchen: Kitchen) -> None:
    reuse = "prepare.reuse_sft_consults=true"
    kitchen.run(reuse, "prepare.preference_consults=0.3").bring("evaluate/sft")
    kitchen.run(reuse, "prepare.preference_consults=0.3").bring("candidates")
    kitchen.run(reuse, "prepare.preference_consults=0.6").bring("prepare", force=True)
    after = kitchen.run(reuse, "prepare.preference_consults=0.6")
    assert after.standing("sft").state == "done"
    assert after.standing("evaluate/sft").state == "done"
    assert after.standing("candidates").state == "stale"


def test_a_new_dpo_redoes_neither_base_nor_sft(kitchen: Kitchen) -> None:
    kitchen.label()
    kitchen.run().bring("evaluate/dpo")
    for name in ("evaluate/base", "evaluate/sft"):
        kitchen.run().bring(name)
    kitchen.ran()
    kitchen.run("dpo.beta=0.3").bring("dpo", force=True)
    run = kitchen.run("dpo.beta=0.3")
    assert [run.standing(name).state for name in ("evaluate/base", "evaluate/sft")] == ["done", "done"]
    assert kitchen.ran() == ["dpo"]


def test_new_responses_make_preferences_stale_and_nothing_before_them(kitchen: Kitchen) -> None:
    kitchen.label()
    kitchen.run().bring("preferences")
    kitchen.label("another response\n")
    run = kitchen.run()
    assert run.standing("preferences").state == "stale"
    assert run.standing("candidates").state == "done"


# People's own part


def test_without_responses_the_way_to_label_is_named(kitchen: Kitchen) -> None:
    message = refusal(kitchen.run(), "preferences")
    for way in ("make label", "make pull", "kormed annotate simulate"):
        assert way in message


def test_responses_are_read_and_never_moved_or_written(kitchen: Kitchen) -> None:
    kitchen.label()
    before = snapshot(kitchen.models / "responses")
    kitchen.run().bring("preferences")
    kitchen.run().bring("preferences", force=True)
    assert snapshot(kitchen.models / "responses") == before


# Report


def test_base_against_sft_alone_is_a_valid_report(kitchen: Kitchen) -> None:
    kitchen.run().bring("report")
    assert kitchen.ran() == ["sft", "evaluate/base", "evaluate/sft", "report"]
    read = (kitchen.models / "report" / "made.txt").read_text(encoding="utf-8")
    assert read.endswith("['evaluate_base', 'evaluate_sft', 'prepare', 'sft']")


def test_a_report_is_made_anew_unasked_once_there_is_more_to_say(kitchen: Kitchen) -> None:
    kitchen.run().bring("report")
    kitchen.label()
    kitchen.run().bring("dpo")
    assert kitchen.run().standing("report").state == "stale"
    kitchen.ran()
    kitchen.run().bring("report")
    assert kitchen.ran() == ["agreement", "evaluate/dpo", "report"]
    assert "'dpo'" in (kitchen.models / "report" / "made.txt").read_text(encoding="utf-8")


def test_evaluations_of_none_in_particular_take_dpo_once_it_is_trained(kitchen: Kitchen) -> None:
    assert kitchen.run().evaluations([]) == ["evaluate/base", "evaluate/sft"]
    assert kitchen.run().evaluations(["dpo"]) == ["evaluate/dpo"]
    kitchen.label()
    kitchen.run().bring("dpo")
    assert kitchen.run().evaluations([]) == ["evaluate/base", "evaluate/sft", "evaluate/dpo"]


# Stopped, changed by hand, in the way


def test_a_stopped_stage_says_so_and_the_same_command_goes_on(kitchen: Kitchen) -> None:
    kitchen.fake("sft", failing=True)
    with pytest.raises(KeyboardInterrupt):
        kitchen.run().bring("sft")
    standing = kitchen.run().standing("sft")
    assert standing.state == "missing"
    assert "goes on" in standing.why[0]
    kitchen.fake("sft")
    kitchen.run().bring("sft")
    assert kitchen.run().standing("sft").state == "done"
    assert not list(kitchen.models.glob(".sft*"))
    assert not (kitchen.models / PREVIOUS).exists()


def test_a_stopped_stage_asked_for_with_another_knob_is_kept_aside(kitchen: Kitchen) -> None:
    kitchen.fake("sft", failing=True)
    with pytest.raises(KeyboardInterrupt):
        kitchen.run().bring("sft")
    kitchen.fake("sft")
    kitchen.run("sft.epochs=1").bring("sft")
    (kept,) = (kitchen.models / PREVIOUS).glob("*/made.txt")
    assert "epochs=3" in kept.read_text(encoding="utf-8")
    assert "epochs=1" in (kitchen.models / "sft" / "made.txt").read_text(encoding="utf-8")


def test_a_file_changed_by_hand_stops_every_verb_that_would_read_it(kitchen: Kitchen) -> None:
    kitchen.run().bring("prepare")
    with (kitchen.models / "prepare" / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    for name in ("prepare", "sft"):
        message = refusal(kitchen.run(), name)
        assert "train.jsonl" in message
        assert "--force" in message
    assert kitchen.ran() == []


def test_force_remakes_what_was_changed_by_hand_as_the_message_promises(kitchen: Kitchen) -> None:
    kitchen.run().bring("prepare")
    train = kitchen.models / "prepare" / "train.jsonl"
    whole = train.read_bytes()
    train.write_bytes(whole + b"{}\n")
    kitchen.run().bring("prepare", force=True)
    assert train.read_bytes() == whole
    (kept,) = (kitchen.models / PREVIOUS).glob("*/train.jsonl")
    assert kept.read_bytes() == whole + b"{}\n"


def test_something_foreign_in_the_way_is_not_touched(kitchen: Kitchen) -> None:
    (kitchen.models / "prepare").mkdir(parents=True)
    (kitchen.models / "prepare" / "thesis.txt").write_text("mine", encoding="utf-8")
    for force in (False, True):
        message = refusal(kitchen.run(), "prepare", force=force)
        assert "not ours" in message
        assert str(kitchen.models / "prepare") in message
    assert hash_folder(kitchen.models).keys() == {"prepare/thesis.txt"}


def test_under_several_processes_only_rank_0_moves_and_writes(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen.run().bring("sft")
    before = snapshot(kitchen.models / "sft")
    monkeypatch.setenv("RANK", "1")
    partial = artifacts.partial_place(kitchen.models / "sft")
    partial.mkdir()
    (partial / artifacts.LAUNCH).write_text(artifacts.launch_id())  # as rank 0 did
    kitchen.run("sft.epochs=1").bring("sft", force=True)
    assert not (kitchen.models / PREVIOUS).exists()
    assert snapshot(kitchen.models / "sft") == before


# Status


def states(run: Run) -> dict[str, str]:
    """Stage and state of each line of the table that is about a stage."""
    lines = [line.split() for line in table(run).splitlines()[1:] if not line.startswith(" ")]
    return {stage: state for stage, state, *_ in lines}


def lines_of(run: Run, words: Sequence[str]) -> list[str]:
    return [line for line in table(run).splitlines() if all(word in line for word in words)]


def used(run: Run) -> list[str]:
    return [stage.name for stage in PIPELINE if run.uses(stage.name)]


def test_the_status_of_a_new_recipe_is_every_stage_of_it_missing(kitchen: Kitchen) -> None:
    assert states(kitchen.run()) == dict.fromkeys(used(kitchen.run()), "missing")
    assert not kitchen.models.exists()


def test_the_status_tells_only_of_stages_that_the_recipe_has(kitchen: Kitchen) -> None:
    assert not {"collect", "import", "restructure"} & states(kitchen.run()).keys()
    assert {"collect", "restructure"} <= states(kitchen.run(*COLLECTING)).keys()
    assert {"import", "restructure"} <= states(kitchen.run(*IMPORTING)).keys()


def test_the_status_shows_done_stale_and_why_and_missing(kitchen: Kitchen) -> None:
    kitchen.run().bring("sft")
    assert states(kitchen.run())["sft"] == "done"
    (line,) = lines_of(kitchen.run(), ["prepare", "rows"])
    rows = len((kitchen.models / "prepare" / "train.jsonl").read_text(encoding="utf-8").splitlines())
    assert line.endswith(f"rows {rows}")
    changed = kitchen.run("sft.epochs=1")
    assert states(changed) == {
        **dict.fromkeys(used(changed), "missing"),
        "prepare": "done",
        "sft": "stale",
    }
    assert len(lines_of(changed, ["epochs", "3", "1"])) == 1


def test_the_status_says_what_can_be_resumed(kitchen: Kitchen) -> None:
    kitchen.fake("sft", failing=True)
    with pytest.raises(KeyboardInterrupt):
        kitchen.run().bring("sft")
    assert lines_of(kitchen.run(), ["goes on"])


def test_the_status_is_a_table_even_where_a_file_was_changed_by_hand(kitchen: Kitchen) -> None:
    kitchen.run().bring("sft")
    (kitchen.models / "sft" / "made.txt").write_text("mine", encoding="utf-8")
    assert states(kitchen.run())["prepare"] == "done"
    assert states(kitchen.run())["sft"] == "stale"
    assert lines_of(kitchen.run(), ["made.txt"])


# Round two


def test_what_people_say_of_dpo_makes_nothing_stale_that_dpo_was_made_of(kitchen: Kitchen) -> None:
    kitchen.run().bring("candidates")
    kitchen.label()
    assert "make compare-label" in refusal(kitchen.run(), "winrate")
    kitchen.run().bring("head_to_head")
    kitchen.run().bring("report")
    kitchen.label("one verdict\n", "verdicts.jsonl")
    kitchen.ran()
    kitchen.run().bring("winrate")
    kitchen.run().bring("report")
    assert kitchen.ran() == ["winrate", "report"]
    kitchen.label("another verdict\n", "verdicts.jsonl")
    assert {name for name, state in states(kitchen.run()).items() if state == "stale"} == {"winrate", "report"}


# The table itself


def test_every_stage_reads_only_what_is_made_before_it() -> None:
    made: set[str] = set(pipeline.ENTERED)
    for stage in PIPELINE:
        for read in stage.reads:
            assert read.artifact in made, f"{stage.name} reads {read.artifact}, which comes later"
            assert read.when is None or read.when in made
        made.add(stage.name)


def test_the_manifest_says_what_it_was_made_of(kitchen: Kitchen) -> None:
    kitchen.run("seed=11").bring("sft")
    manifest: dict[str, Any] = json.loads((kitchen.models / "sft" / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["config"]["seed"] == 11
    assert manifest["config"]["model"]["base"] == "nowhere"
    assert list(manifest["inputs"]) == ["prepare:train.jsonl"]
    assert manifest["metrics"]["loss"] == 1.0
    assert manifest["seconds"] >= 0
    assert manifest["libraries"]["torch"]
    assert manifest["device"]


def test_a_stage_that_was_stopped_says_in_how_many_sessions_it_was_made(
    kitchen: Kitchen, caplog: pytest.LogCaptureFixture
) -> None:
    kitchen.fake("sft", failing=True)
    with pytest.raises(KeyboardInterrupt):
        kitchen.run().bring("sft")
    kitchen.fake("sft")
    with caplog.at_level("INFO", logger="kormed"):
        manifest = kitchen.run().bring("sft")
    assert manifest.sessions == 2
    assert " in 2 sessions -> " in caplog.text
    assert caplog.text.count("sessions") == 1, "one session is not worth a word"


class StandInForCuda:
    """What we ask of torch.cuda, on a machine with two GPUs and no need of one."""

    def __init__(self) -> None:
        self.allocations, self.peak = 0, 0

    def is_initialized(self) -> bool:
        return self.allocations > 0

    def device_count(self) -> int:
        return 2

    def get_device_name(self, at: int) -> str:
        return "NVIDIA H100"

    def memory_stats(self, at: int) -> dict[str, int]:
        used = at == 1
        return {"allocation.all.allocated": used * self.allocations, "allocated_bytes.all.peak": used * self.peak}

    def reset_peak_memory_stats(self, at: int) -> None:
        self.peak = 0

    def allocate(self, size: int) -> None:
        self.allocations, self.peak = self.allocations + 1, max(self.peak, size)


def test_a_stage_without_a_gpu_costs_none_although_one_before_it_in_the_process_used_one(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kitchen.run()
    run.bring("prepare")
    cuda = StandInForCuda()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, __spec__=None))
    module = import_module(STAGES["sft"].module)
    alone = module.run

    def on_the_gpu(*arguments: Any, **inputs: Any) -> dict[str, float]:
        cuda.allocate(21 * 2**30)
        made: dict[str, float] = alone(*arguments, **inputs)
        return made

    monkeypatch.setattr(module, "run", on_the_gpu)
    made = run.bring("sft")
    assert (made.device, made.gpus, made.peak_memory, made.peak_memory_of) == (
        "2 x NVIDIA H100",
        1,
        21 * 2**30,
        "gpu",
    )
    assert made.gpu_seconds == made.seconds
    light = run.bring("evaluate/base")
    assert light.device.startswith("CPU, ")
    assert (light.gpus, light.gpu_seconds, light.peak_memory_of) == (0, 0.0, "process")


def test_prepare_is_the_same_artifact_in_another_process(kitchen: Kitchen) -> None:
    """Nothing in it hangs on the hash seed, the folder or the time."""
    kitchen.run().bring("prepare")
    code = (
        "import sys; from pathlib import Path; from stages.core.pipeline import Run; "
        "from stages.core.recipe import load_recipe; "
        "Run(load_recipe(Path(sys.argv[1])), Path(sys.argv[2])).bring('prepare')"
    )
    elsewhere = kitchen.folder / "elsewhere"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-c", code, str(kitchen.recipe), str(elsewhere)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    here = artifacts.read_manifest(kitchen.models / "prepare")
    there = artifacts.read_manifest(elsewhere / "demo" / "prepare")
    assert here is not None
    assert there is not None
    assert here.files == there.files


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0.4 s"), (59.2, "59.2 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_a_duration_reads_as_people_say_it(seconds: float, text: str) -> None:
    assert pipeline.duration(seconds) == text


# What a failure must not cost


def test_a_force_that_fails_leaves_the_good_artifact_where_it_was(kitchen: Kitchen) -> None:
    kitchen.run().bring("sft")
    before = snapshot(kitchen.models / "sft")
    kitchen.fake("sft", failing=True)
    with pytest.raises(KeyboardInterrupt):
        kitchen.run("sft.epochs=1").bring("sft", force=True)
    assert snapshot(kitchen.models / "sft") == before
    assert kitchen.run().standing("sft").state == "done"


def test_a_force_that_was_stopped_goes_on_with_the_same_command(kitchen: Kitchen) -> None:
    kitchen.run().bring("sft")
    kitchen.fake("sft", failing=True)
    with pytest.raises(KeyboardInterrupt):
        kitchen.run("sft.epochs=1").bring("sft", force=True)
    partial = artifacts.partial_place(kitchen.models / "sft")
    (partial / "checkpoint").write_text("half-way", encoding="utf-8")
    kitchen.fake("sft")
    kitchen.run("sft.epochs=1").bring("sft", force=True)
    assert (kitchen.models / "sft" / "checkpoint").read_text(encoding="utf-8") == "half-way"
    assert kitchen.run("sft.epochs=1").standing("sft").state == "done"


def test_force_begins_anew_behind_a_stopped_run_and_keeps_what_that_left(kitchen: Kitchen) -> None:
    kitchen.fake("sft", failing=True)
    with pytest.raises(KeyboardInterrupt):
        kitchen.run().bring("sft")
    partial = artifacts.partial_place(kitchen.models / "sft")
    (partial / "checkpoint").write_text("half-way", encoding="utf-8")
    kitchen.fake("sft")
    kitchen.run().bring("sft", force=True)
    assert not (kitchen.models / "sft" / "checkpoint").exists()
    (kept,) = (kitchen.models / PREVIOUS).glob("*/checkpoint")
    assert kept.read_text(encoding="utf-8") == "half-way"


def test_after_more_labels_dpo_remakes_the_preferences_and_trains_only_if_they_changed(kitchen: Kitchen) -> None:
    """label, pull, dpo, label more, pull, dpo: no --force for what is quick to remake."""
    kitchen.label()
    kitchen.run().bring("dpo")
    kitchen.label("another response\n")
    kitchen.ran()
    kitchen.run().bring("dpo")
    assert kitchen.ran() == ["preferences"], "the same pairs came out, so the adapter stands"
    assert kitchen.run().standing("dpo").state == "done"


def test_without_consults_nothing_is_trained_before_the_verb_says_so(kitchen: Kitchen) -> None:
    assert "prepare.consults is not set" in refusal(kitchen.run("prepare.consults=null"), "dpo")
    assert kitchen.ran() == []
