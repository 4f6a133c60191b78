"""compare: what may stand beside each other, what the table says of it, and what is refused with which way out."""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stages import cli
from stages.core import eda
from stages.core.artifacts import Manifest, digest, hash_folder
from stages.core.pipeline import Run
from stages.core.published import QUESTIONS
from stages.core.recipe import load_recipe
from stages.core.records import Answer, Judged, write_jsonl

SETTINGS: dict[str, Any] = {
    "task": "kormedmcqa",
    "task_version": 3.0,
    "fewshot": 5,
    "chat_template": True,
    "fewshot_as_multiturn": False,
    "limit": None,
    "max_gen_toks": 1024,
    "base": "google/gemma-2-2b-it",
    "base_fingerprint": "0011",
    "dtype": "bfloat16",
    "quantization": "nf4",
    "lm_eval": "0.4.13",
}
HUNDRED = {"doctor": 60, "nurse": 40}  # questions


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which commands are typed."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def type_compare(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, ["compare", *map(str, words)])


def told(*words: str | Path) -> str:
    """What a good comparison prints, line breaks of its sentences undone."""
    done = type_compare(*words)
    assert done.exit_code == 0, done.stderr
    return " ".join(done.stdout.split())


def refused(*words: str | Path) -> str:
    done = type_compare(*words)
    assert done.exit_code == 2, done.output
    assert done.stdout == "" and "Traceback" not in done.stderr
    return done.stderr


def table_row(text: str, label: str) -> list[str]:
    """The cells of a table's row after its first."""
    tables = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    (cells,) = [cells for cells in tables if cells[0] == label]
    return cells[1:]


def finish(folder: Path, stage: str, inputs: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """A manifest that fits what stands in the folder."""
    files = hash_folder(folder)
    manifest = Manifest(
        stage, {}, dict(inputs), digest(files), files, dict(metrics), 61.0, "2026-05-04T10:20:30+00:00", None, {}, "GPU"
    )
    (folder / "manifest.json").write_text(json.dumps(asdict(manifest)), encoding="utf-8")


def evaluated(
    name: str,
    right: Mapping[str, Collection[int]],
    questions: Mapping[str, int] = HUNDRED,
    wrong: str = "B",
    **settings: Any,
) -> Path:
    """A run whose checkpoints answered `right` questions correctly, counted over the subsets, and `wrong` otherwise."""
    run = Path("models") / name
    asked = [(subset, number) for subset, count in questions.items() for number in range(count)]
    for checkpoint, numbers in right.items():
        folder = run / "evaluate" / checkpoint
        folder.mkdir(parents=True)
        answers = [
            Answer(
                subset=subset,
                doc_id=doc_id,
                doc_hash=f"{subset}-{doc_id}",
                target="A",
                text="A" if at in numbers else wrong,
                extracted="A" if at in numbers else wrong,
                correct=at in numbers,
            )
            for at, (subset, doc_id) in enumerate(asked)
        ]
        write_jsonl(folder / "answers.jsonl", answers)
        prompts = {subset: f"asked {subset}" for subset in questions}
        (folder / "settings.json").write_text(json.dumps(SETTINGS | {"prompts": prompts} | settings), encoding="utf-8")
        finish(folder, f"evaluate/{checkpoint}", {"prepare:benchmark": "of this run"}, {})
    return run


def prepared(run: Path, test_questions: Mapping[str, int]) -> None:
    """prepare's folder, with the benchmark that the run was evaluated on."""
    folder = run / "prepare"
    (folder / "benchmark").mkdir(parents=True)
    (folder / "benchmark" / "README.md").write_text("fictional", encoding="utf-8")
    found = eda.Eda(
        benchmark={subset: {"test": count} for subset, count in test_questions.items()},
        consult_parts={},
        flow=(),
        lengths=(),
        letters={},
        tokenizer=None,
        tokens_missing="not counted",
    )
    (folder / "eda.json").write_text(json.dumps(found.model_dump(mode="json")), encoding="utf-8")
    finish(folder, "prepare", {}, {})
    manifest = Manifest(**json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    for evaluation in (run / "evaluate").iterdir():
        finish(evaluation, f"evaluate/{evaluation.name}", {"prepare:benchmark": manifest.part("benchmark")}, {})


# The table


def test_runs_stand_beside_each_other_with_intervals_changes_and_paired_tests() -> None:
    evaluated("one", {"base": range(20), "sft": range(40)})
    evaluated("two", {"base": range(20), "sft": [*range(39), *range(60, 80)]})
    done = type_compare("one", "models/two")
    assert done.exit_code == 0, done.stderr
    assert table_row(done.stdout, "questions") == ["60", "40", "100"]
    assert table_row(done.stdout, "1 SFT") == ["66.67 (54-77)", "0.00 (0-9)", "40.00 (30.9-49.8)"]
    assert table_row(done.stdout, "2 SFT") == ["65.00 (52-76)", "50.00 (35-65)", "59.00 (49.2-68.1)"]
    changes = [line.split("|")[4].strip() for line in done.stdout.splitlines() if line.startswith("|   vs base")]
    assert changes == ["▴ 100.00 %", "▴ 195.00 %"]
    tested = table_row(done.stdout, "2 SFT against 1 SFT")
    assert tested[:3] == ["100", "20", "1"] and tested[3].startswith("+19.0 (")
    assert tested[4] == "better (p < 0.001)"
    assert "nurse better (p < 0.001); no difference shown in doctor (smallest p = 1.00)" in done.stdout
    assert "lm-eval's task kormedmcqa 3.0, 5-shot, with chat template, at most 1,024 new tokens." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_one_base_with_the_same_answers_stands_once_and_is_not_tested() -> None:
    for name, sft in (("one", range(30)), ("two", range(35)), ("three", range(25))):
        evaluated(name, {"base": range(20), "sft": sft})
    said = told("one", "two", "three")
    assert said.count("base |") - said.count("vs base |") == 1
    assert "one and two and three have the same base, and it gave the same answers: it stands once" in said
    assert "base against" not in said
    assert "Holm's correction over these 2 tests" in said


def test_the_same_base_that_answers_otherwise_shows_what_moves_without_training() -> None:
    evaluated("one", {"base": range(20), "sft": range(30)})
    evaluated("two", {"base": range(23), "sft": range(30)}, quantization="none")
    said = told("one", "two")
    assert "1 base" in said and "2 base against 1 base" in said
    assert "one and two have the same base, and 3 of 100 answers of it differ in their text" in said
    assert "quantization differs: nf4 for 1, none for 2" in said
    assert "2 SFT gave the same answers as 1 SFT, word for word" in said


def test_runs_on_different_bases_are_compared_and_said_to_be() -> None:
    evaluated("one", {"base": range(20), "sft": range(30)})
    evaluated("two", {"base": range(20), "sft": range(40)}, base="google/gemma-2-9b-it", base_fingerprint="2233")
    said = told("one", "two")
    assert "base differs: google/gemma-2-2b-it for 1, google/gemma-2-9b-it for 2, so a difference between" in said
    assert "it stands once" not in said
    assert "2 base gave the same answers as 1 base, word for word" in said


def test_holms_correction_is_over_all_tests_of_the_table() -> None:
    """9 gained and 1 lost: p = 0.021 alone; corrected over three tests it is no longer shown."""
    evaluated("one", {"sft": range(10)})
    for number in (1, 2, 3):
        evaluated(f"later-{number}", {"sft": [*range(1, 10), *range(50, 59)]}, wrong="BCD"[number - 1])
    assert "9 | 1 | +8.0" in told("one", "later-1") and "better (p = 0.021)" in told("one", "later-1")
    said = told("one", "later-1", "later-2", "later-3")
    assert said.count("no difference shown (p = 0.064)") == 3


def test_the_best_of_each_run_are_compared_where_they_are_other_checkpoints() -> None:
    evaluated("one", {"base": range(20), "sft": range(40), "dpo": range(35)})
    evaluated("two", {"base": range(20), "sft": range(30), "dpo": range(50)})
    said = told("one", "two")
    assert "2 DPO against 1 SFT (best)" in said
    assert "Best: of each run the checkpoint with most right answers, chosen by these very questions" in said
    evaluated("three", {"base": range(20), "sft": range(45), "dpo": range(35)})
    assert "(best)" not in told("one", "three")


def test_a_run_without_dpo_gives_no_empty_row_and_says_what_has_no_counterpart() -> None:
    evaluated("one", {"base": range(20), "sft": range(30)})
    evaluated("two", {"base": range(20), "sft": range(35), "dpo": range(40)})
    said = told("one", "two")
    assert "1 DPO" not in said
    assert "2 DPO is not tested against its like: one has no evaluated DPO" in said


def test_some_subsets_alone_are_compared_only_when_asked_for() -> None:
    evaluated("one", {"sft": range(20)}, {"doctor": 60, "nurse": 40})
    evaluated("two", {"sft": range(30)}, {"doctor": 60})
    said = refused("one", "two")
    assert "two was not asked nurse, and one was; compare what both were asked with --subset doctor" in said
    said = told("one", "two", "--subset", "doctor")
    assert "of its subsets doctor alone" in said and "nurse" not in said
    assert "| 60 | 10 | 0 |" in said
    said = refused("one", "two", "--subset", "nurse")
    assert "--subset nurse: two was not asked it; it was asked doctor" in said


def test_the_same_goes_to_a_file_as_to_the_terminal(desk: Path) -> None:
    evaluated("one", {"sft": range(20)})
    evaluated("two", {"sft": range(30)})
    done = type_compare("one", "two", "--output", "table.md")
    assert done.exit_code == 0 and done.stdout == "" and "table.md" in done.stderr
    assert (desk / "table.md").read_text(encoding="utf-8") == type_compare("one", "two").stdout
    assert not list(desk.glob(".*.tmp"))
    assert "no folder nowhere" in refused("one", "two", "--output", "nowhere/table.md")
    assert "this is a folder" in refused("one", "two", "--output", "models")


def test_runs_of_one_name_in_two_places_are_told_apart() -> None:
    evaluated("one", {"sft": range(20)})
    shutil.copytree("models/one", "elsewhere/models/one")
    said = told("one", "elsewhere/models/one")
    assert "1. one (models/one): " in said and "2. elsewhere/models/one (elsewhere/models/one): " in said


# Refusals


@pytest.mark.parametrize(
    ("setting", "other", "said"),
    [
        ("task_version", 2.0, "task_version is 3.0 in one and 2.0 in two; evaluate both again with one kormed"),
        ("fewshot", 0, "fewshot is 5 in one and 0 in two; "),
        ("chat_template", False, "`kormed evaluate RECIPE --set evaluate.chat_template=true --force`"),
        ("limit", 100, "`kormed evaluate RECIPE --set evaluate.limit=null --force`"),
        ("max_gen_toks", 8, "max_gen_toks is 1024 in one and 8 in two"),
    ],
)
def test_runs_that_were_asked_in_another_way_are_refused(setting: str, other: Any, said: str) -> None:
    evaluated("one", {"base": range(20), "sft": range(30)})
    evaluated("two", {"base": range(20), "sft": range(30)}, **{setting: other})
    message = refused("one", "two")
    assert "two cannot be compared with one: " in message
    assert said in message


def test_other_prompts_are_refused_and_unrecorded_ones_are_said() -> None:
    evaluated("one", {"sft": range(20)})
    evaluated("two", {"sft": range(30)}, prompts={"doctor": "asked doctor", "nurse": "with other examples"})
    message = refused("one", "two")
    assert "what was put to them differs in nurse" in message
    assert "prepare both from the same benchmark" in message
    assert "nurse" not in told("one", "two", "--subset", "doctor")
    evaluated(
        "other-base", {"sft": range(30)}, prompts={"doctor": "x", "nurse": "y"}, base="other", base_fingerprint="9"
    )
    assert "with evaluate.chat_template=false both get the same text" in refused("one", "other-base")
    evaluated("old", {"sft": range(30)}, prompts=None)
    assert "old: evaluated before prompts were recorded" in told("one", "old")


def test_questions_that_do_not_pair_are_refused_by_number() -> None:
    evaluated("one", {"sft": range(20)}, {"doctor": 60})
    evaluated("two", {"sft": range(20)}, {"doctor": 58})
    message = refused("one", "two")
    assert "2 questions do not pair (first: question 58 of doctor), so they were not asked the same" in message
    assert "prepare.benchmark" in message


def test_another_right_answer_to_the_same_question_is_refused() -> None:
    evaluated("one", {"sft": range(20)})
    folder = evaluated("two", {"sft": range(20)}) / "evaluate" / "sft"
    file = folder / "answers.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"target": "A"', '"target": "C"', 1), encoding="utf-8")
    finish(folder, "evaluate/sft", {}, {})
    assert "the right answer to question 0 of doctor is C there and A here" in refused("one", "two")


def test_checkpoints_of_one_run_on_different_bases_are_refused() -> None:
    evaluated("one", {"sft": range(20)})
    evaluated("two", {"base": range(20)}, base="another", base_fingerprint="4455")
    evaluated("two-sft", {"sft": range(20)})
    shutil.copytree("models/two-sft/evaluate/sft", "models/two/evaluate/sft")
    assert "base is another for base and google/gemma-2-2b-it for sft" in refused("one", "two")


def test_checkpoints_of_one_run_that_were_put_other_prompts_are_refused() -> None:
    evaluated("one", {"sft": range(20)})
    evaluated("two", {"base": range(20)}, prompts={"doctor": "asked doctor", "nurse": "with other examples"})
    evaluated("two-sft", {"sft": range(20)})
    shutil.copytree("models/two-sft/evaluate/sft", "models/two/evaluate/sft")
    message = refused("one", "two")
    assert "models/two/evaluate/sft: cannot be compared with models/two/evaluate/base: what was put" in message
    assert "differs in nurse" in message and "--force" in message
    evaluated("three", {"base": range(20)}, prompts=None)  # from before prompts were recorded: not known to differ
    shutil.copytree("models/two-sft/evaluate/sft", "models/three/evaluate/sft")
    assert "2 SFT" in told("one", "three")


def test_a_subset_that_one_checkpoint_lacks_is_named() -> None:
    evaluated("one", {"sft": range(20)})
    evaluated("two", {"base": range(20)}, {"doctor": 60})
    evaluated("two-sft", {"sft": range(20)})
    shutil.copytree("models/two-sft/evaluate/sft", "models/two/evaluate/sft")
    assert "only one of them has nurse (base has doctor)" in refused("one", "two")


def test_answers_that_were_changed_by_hand_are_refused() -> None:
    evaluated("one", {"sft": range(20)})
    file = evaluated("two", {"sft": range(20)}) / "evaluate" / "sft" / "answers.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"correct": false', '"correct": true'), encoding="utf-8")
    assert "changed after it was made: answers.jsonl" in refused("one", "two")


def test_an_interrupted_evaluation_is_named_with_the_command_that_goes_on() -> None:
    evaluated("one", {"sft": range(20)})
    evaluated("two", {"sft": range(30)})
    Path("models/two/evaluate/.dpo.partial").mkdir()
    said = told("one", "two")
    assert "models/two/evaluate/dpo: begun and not finished; `kormed evaluate RECIPE --checkpoint dpo` goes on" in said
    shutil.rmtree("models/two/evaluate/sft")
    assert "models/two/evaluate/dpo: begun and not finished" in refused("one", "two")
    Path("models/one/evaluate/.sft.partial").mkdir()
    evaluated("three", {"sft": range(30)})
    said = told("one", "three")
    assert "models/one/evaluate/sft: the finished evaluation; a newer one was begun and stopped" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one"], "one run alone; name another one, or --published"),
        (["one", "models/one"], "models/one: named twice"),
        (["one", "tow"], "tow: no such recipe or run; did you mean two? evaluated in models: one, two"),
        (["one", "nothing.yaml"], "nothing.yaml: no such recipe"),
        (["one", "models/two/evaluate/sft"], "a part of a run; name the run, models/two"),
        (["one", "empty"], "models/empty: no checkpoint is evaluated there; `kormed evaluate RECIPE` does it"),
    ],
)
def test_what_cannot_be_found_is_said_with_what_to_type(words: list[str], said: str) -> None:
    evaluated("one", {"sft": range(20)})
    evaluated("two", {"sft": range(30)})
    Path("models/empty").mkdir()
    assert said in refused(*words)


# Real runs, by their recipes


@pytest.fixture
def real(tiny_run: Run, tiny_recipe_file: Path, desk: Path) -> tuple[Path, Path]:
    """Two recipes whose runs are evaluated by the pipeline itself: the same, but for their names."""
    recipes = []
    for name in ("first", "second"):
        recipe = desk / f"{name}.yaml"
        text = tiny_recipe_file.read_text(encoding="utf-8").replace("name: tiny", f"name: {name}")
        recipe.write_text(f"{text}", encoding="utf-8")
        shutil.copytree(tiny_run.folder, desk / "models" / name, ignore=shutil.ignore_patterns("evaluate"))
        if name == "first":
            Run(load_recipe(recipe)).bring("evaluate/base")
        recipes.append(recipe)
    shutil.copytree("models/first/evaluate", "models/second/evaluate")
    return recipes[0], recipes[1]


def test_runs_of_recipes_are_compared_and_a_stale_one_is_said_to_be(real: tuple[Path, Path]) -> None:
    first, second = real
    said = told(first, second)
    assert "stale" not in said and "could not be checked" not in said
    assert "first and second have the same base, and it gave the same answers" in said
    second.write_text(second.read_text(encoding="utf-8").replace("limit: 2,", "limit: 3,"), encoding="utf-8")
    said = told(first, second)
    assert "models/second: stale, so these are figures of how it was then: evaluate/base" in said
    assert "evaluate.limit: made with 2, asked for 3" in said
    shutil.rmtree("models/second/evaluate")
    assert f"no checkpoint is evaluated there; `kormed evaluate {second}` does it" in refused(first, second)


def test_figures_that_were_published_do_not_stand_beside_another_benchmark(real: tuple[Path, Path]) -> None:
    said = refused(real[0], "--published")
    assert "first was not asked KorMedMCQA (" in said and "doctor has 10 test questions there and 435" in said


# Published figures


def test_published_figures_stand_beside_ours_marked_and_with_what_they_do_not_say() -> None:
    """144 of the 435 doctor's questions are the report's own 33.10 %."""
    run = evaluated("mine", {"base": range(144)}, QUESTIONS)
    prepared(run, QUESTIONS)
    done = type_compare("mine", "--published")
    assert done.exit_code == 0, done.stderr
    assert table_row(done.stdout, "1 base")[0].startswith("33.10 (")
    assert table_row(done.stdout, "report base*") == ["33.10", "48.86", "42.49", "35.64", "-"]
    assert table_row(done.stdout, "vs base") == ["▴ 15.98 %", "▴ 4.44 %", "▴ 1.32 %", "▴ 6.20 %", "-"]
    assert table_row(done.stdout, "paper base*")[0] == "13.3"  # one decimal, as printed there
    said = " ".join(done.stdout.split())
    assert "A star marks what others published: not run by us, copied as printed" in said
    assert "report*, not run by us: " in said and "paper*, not run by us: " in said
    assert "it does not say lm-eval's task version or few-shot count or template" in said
    assert "is not what was published" not in said
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_only_the_subsets_that_a_run_was_asked_stand_beside_it() -> None:
    run = evaluated("mine", {"base": range(144)}, {"doctor": 435})
    prepared(run, {"doctor": 435})
    assert table_row(type_compare("mine", "--published").stdout, "report SFT*") == ["38.39", "-"]


def test_a_run_of_a_part_or_on_another_base_is_said_not_to_be_what_was_published() -> None:
    run = evaluated("mine", {"base": range(20)}, {"doctor": 60}, limit=60, base="google/gemma-2-9b-it")
    prepared(run, {"doctor": 435})
    said = told("mine", "--published")
    assert "mine is not what was published: only the first 60 questions of each subset were asked" in said
    assert "the base is google/gemma-2-9b-it, not google/gemma-2-2b-it" in said


def test_without_its_benchmark_a_run_is_told_by_the_questions_it_was_asked() -> None:
    evaluated("whole", {"base": range(144)}, {"doctor": 435})
    assert "report base*" in told("whole", "--published")
    evaluated("part", {"base": range(20)}, {"doctor": 60}, limit=60)
    assert "of which benchmark cannot be told" in refused("part", "--published")
    evaluated("other", {"base": range(20)}, {"doctor": 60})
    assert "doctor has 60 test questions there and 435 in KorMedMCQA" in refused("other", "--published")


# Sweeps


def adapter(
    folder: str, agrees: Collection[int], pairs: Sequence[int] = range(40), inputs: Mapping[str, str] | None = None
) -> Path:
    """A DPO adapter that agrees with people on these held-out pairs."""
    path = Path(folder)
    path.mkdir(parents=True)
    rows = [
        Judged(id=f"p{n}", margin=0.1 if n in agrees else -0.1, loss=0.6, chosen_change=0, rejected_change=0)
        for n in pairs
    ]
    write_jsonl(path / "heldout.jsonl", rows)
    metrics = {
        "heldout_margin": 0.1,
        "loss": 0.5,
        "chosen_logps_change": -3.0,
        "steps": 10,
        "heldout_pairs": len(pairs),
    }
    made_of = {"sft": "one", "preferences:train.jsonl": "train", "preferences:heldout.jsonl": "heldout"}
    finish(path, "dpo", made_of | dict(inputs or {}), metrics)
    return path


def test_a_sweep_and_the_runs_own_dpo_are_ranked_by_the_same_held_out_pairs() -> None:
    adapter("models/one/sweep/beta=0.1", range(20))
    adapter("models/one/sweep/beta=0.3", range(35))
    adapter("models/one/dpo", range(34))
    Path("models/one/sweep/.beta=0.5.partial").mkdir()
    done = type_compare("models/one/sweep", "models/one/dpo")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("1. models/one/sweep/beta=0.3\n2. models/one/dpo\n3. models/one/sweep/beta=0.1\n")
    assert table_row(done.stdout, "1")[0] == "87.5 % (74-95), 35 of 40"
    assert table_row(done.stdout, "2")[3] == "no difference shown (p = 1.00)"
    assert table_row(done.stdout, "3")[3] == "worse (p < 0.001)"
    said = " ".join(done.stdout.split())
    assert "shown to be better than 1 of 2 others" in said
    assert "models/one/sweep/.beta=0.5.partial: begun and not finished" in said
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_adapters_with_other_held_out_pairs_are_refused_and_another_sft_is_said() -> None:
    adapter("models/one/dpo", range(20))
    adapter("models/two/dpo", range(20), inputs={"preferences:heldout.jsonl": "others"})
    assert "other pairs were held out" in refused("models/one/dpo", "models/two/dpo")
    adapter("models/three/dpo", range(30), inputs={"sft": "another"})
    said = told("models/one/dpo", "models/three/dpo")
    assert "they start from different SFT adapters" in said and "is now" not in said
    Path("models/three/sft").mkdir()
    finish(Path("models/three/sft"), "sft", {}, {})
    assert "models/three/dpo starts from another SFT adapter than models/three/sft is now" in told(
        "models/one/dpo", "models/three/dpo"
    )


def test_what_has_no_scale_in_common_is_refused() -> None:
    evaluated("one", {"sft": range(20)})
    adapter("models/one/sweep/beta=0.1", range(20))
    assert "they have no scale in common" in refused("one", "models/one/sweep")
    assert "one DPO adapter alone" in refused("models/one/sweep")
    adapter("models/one/sweep/beta=0.3", range(20))
    assert "are about the exam" in refused("models/one/sweep", "--published")
    Path("models/two/sweep").mkdir(parents=True)
    assert "no combination is finished" in refused("models/two/sweep", "models/one/dpo")
    adapter("models/three/dpo", (), ())
    assert "no held-out pair was judged" in refused("models/one/sweep", "models/three/dpo")


def test_what_sweep_leaves_is_what_compare_reads(labelled_run: Run, tiny_recipe_file: Path, desk: Path) -> None:
    shutil.copytree(labelled_run.folder, desk / "models" / "tiny", ignore=shutil.ignore_patterns("dpo", ".dpo*"))
    words = ["sweep", str(tiny_recipe_file), "--set", "dpo.max_steps=1", "--values", "dpo.beta=0.05,0.3"]
    swept = CliRunner().invoke(cli.main, words)
    assert swept.exit_code == 0, swept.stderr
    done = type_compare("models/tiny/sweep")
    assert done.exit_code == 0, done.stderr
    first = swept.stdout.splitlines()[1].split()[0]
    assert done.stdout.startswith(f"1. models/tiny/sweep/{first}\n")
    assert table_row(done.stdout, "1")[0] in swept.stdout
    assert "another SFT adapter" not in done.stdout
