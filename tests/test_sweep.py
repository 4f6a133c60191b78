import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stages import cli, sweep
from stages.core.artifacts import Manifest, read_manifest
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.recipe import Recipe


@pytest.fixture
def desk(labelled_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a labelled run, in which commands are typed. Returns the run's."""
    shutil.copytree(labelled_run.folder, tmp_path / "models" / "tiny", ignore=shutil.ignore_patterns("dpo", ".dpo*"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models" / "tiny"


def type_sweep(recipe: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.main, ["sweep", str(recipe), *words])


def entered(folder: Path) -> dict[str, bytes]:
    """Everything beside the sweep, by path."""
    files = [path for path in folder.rglob("*") if path.is_file() and "sweep" not in path.parts]
    return {str(path): path.read_bytes() for path in files}


def test_each_combination_is_trained_once_and_ranked(desk: Path, tiny_recipe_file: Path) -> None:
    before = entered(desk)
    words = ("--set", "dpo.max_steps=2", "--values", "dpo.beta=0.05,0.3", "--values", "dpo.loss=sigmoid,ipo")
    first = type_sweep(tiny_recipe_file, *words)
    assert first.exit_code == 0, first.stderr
    head, *rows = first.stdout.split("\n\n")[0].splitlines()
    assert head.startswith("settings") and "held-out accuracy (95 %)" in head
    names = ["beta=0.05 loss=ipo", "beta=0.05 loss=sigmoid", "beta=0.3 loss=ipo", "beta=0.3 loss=sigmoid"]
    assert sorted(row[: row.index("  ")] for row in rows) == names
    best = rows[0].split()[:2]
    sets = f"--set dpo.max_steps=2 --set dpo.{best[0]} --set dpo.{best[1]}"
    assert f"take the first: kormed dpo {tiny_recipe_file} {sets}" in first.stdout
    made = {path.name: read_manifest(path) for path in (desk / "sweep").iterdir() if path.is_dir()}
    assert sorted(made) == [name.replace(" ", ",") for name in names]
    assert all(manifest is not None and manifest.stage == "dpo" for manifest in made.values())
    assert entered(desk) == before  # labels, preferences and SFT are read where they stand

    second = type_sweep(tiny_recipe_file, *words)
    assert second.stdout == first.stdout
    assert second.stderr.count("done already") == 6  # sft, preferences and the four
    assert {path.name: read_manifest(path) for path in (desk / "sweep").iterdir() if path.is_dir()} == made


def test_the_reference_is_computed_once_for_the_whole_sweep(desk: Path, tiny_recipe_file: Path) -> None:
    done = type_sweep(tiny_recipe_file, "--set", "dpo.max_steps=1", "--values", "dpo.beta=0.05,0.3")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("the reference of 8 of 8 pairs is there already") == 1
    one, other = (desk / "sweep" / f"beta={beta}" / "reference.jsonl" for beta in ("0.05", "0.3"))
    assert one.read_bytes() == other.read_bytes()


def test_a_combination_that_fails_does_not_lose_the_others(desk: Path, tiny_recipe_file: Path) -> None:
    done = type_sweep(tiny_recipe_file, "--set", "dpo.max_steps=1", "--values", "dpo.max_length=8,1024")
    assert done.exit_code == 2
    assert "\nmax_length=1024" in done.stdout and "max_length=8 " not in done.stdout
    assert "sweep: 1 of 2 combinations failed" in done.stderr
    assert "  dpo.max_length=8: " in done.stderr and "fits dpo.max_length=8; raise it" in done.stderr


def test_a_combination_of_other_settings_before_is_kept_beside_the_new_one(desk: Path, tiny_recipe_file: Path) -> None:
    for steps in (1, 2):
        done = type_sweep(tiny_recipe_file, "--set", f"dpo.max_steps={steps}", "--values", "dpo.beta=0.05")
        assert done.exit_code == 0, done.stderr
    assert "beta=0.05 is made anew: dpo.max_steps: made with 1, asked for 2" in done.stderr
    (old,) = (desk / "sweep" / ".previous").iterdir()
    steps_of = [
        json.loads((folder / "manifest.json").read_text())["metrics"]["steps"]
        for folder in (old, desk / "sweep" / "beta=0.05")
    ]
    assert steps_of == [1, 2]


def test_a_sweep_without_held_out_pairs_is_refused_before_it_trains(desk: Path, tiny_recipe_file: Path) -> None:
    done = type_sweep(tiny_recipe_file, "--set", "preferences.heldout=0", "--values", "dpo.beta=0.05,0.3")
    assert done.exit_code == 2
    assert "no pairs held out, and a sweep compares by them; set preferences.heldout above 0" in done.stderr
    assert not (desk / "sweep").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("sft.epochs=1,2", "a key of section dpo and its values were wanted"),
        ("dpo.beta", "a key of section dpo and its values were wanted"),
        ("dpo.beta=0.1,", "a key of section dpo and its values were wanted"),
        ("dpo.save_steps=1,2", "save_steps changes nothing in the adapter"),
        ("dpo.bet=1,2", "did you mean beta?"),
        ("dpo.beta=0.1,large", "dpo.beta: Input should be a valid number"),
        ("dpo.beta=0.1,0.10", "dpo.beta=0.10 is the same as dpo.beta=0.1"),
    ],
)
def test_values_that_cannot_be_swept_are_refused_before_anything_runs(
    tiny_recipe_file: Path, values: str, message: str
) -> None:
    with pytest.raises(KormedError) as error:
        sweep.combinations(tiny_recipe_file, (), (values,))
    assert message in str(error.value)


def finished(recipe: Recipe, beta: float, agrees: Sequence[int], margin: float = 0.1) -> sweep.Trained:
    """A combination that agrees with the held-out pairs of these numbers, of a hundred."""
    metrics = {"heldout_margin": margin, "loss": 0.5, "chosen_logps_change": -3.0, "steps": 10, "heldout_pairs": 100}
    return sweep.Trained(
        sweep.Combination(f"beta={beta}", (f"dpo.beta={beta}",), recipe),
        Manifest("dpo", {}, {}, "", {}, metrics, 61.0, "", None, {}, ""),
        {f"c{number}": number in agrees for number in range(100)},
    )


def test_the_table_tells_a_difference_from_noise(tiny_recipe: Recipe) -> None:
    results = [
        finished(tiny_recipe, 0.1, range(52)),
        finished(tiny_recipe, 0.3, range(80)),
        finished(tiny_recipe, 0.5, range(79)),
    ]
    said = sweep.table(results, "mine.yaml", ["dpo.epochs=1"])
    rows = said.splitlines()[1:4]
    assert [row.split()[0] for row in rows] == ["beta=0.3", "beta=0.5", "beta=0.1"]
    assert "80.0 % (71-87), 80 of 100" in rows[0] and "1 min 01 s" in rows[0]
    assert rows[1].endswith("no difference shown (p = 1.00)")
    assert rows[2].endswith("worse (p < 0.001)")
    assert "The first is shown to be better than 1 of 2 others; the other differences are noise" in said
    assert said.endswith("take the first: kormed dpo mine.yaml --set dpo.epochs=1 --set dpo.beta=0.3")


def test_the_table_says_when_all_of_it_may_be_noise(tiny_recipe: Recipe) -> None:
    said = sweep.table([finished(tiny_recipe, 0.1, range(52)), finished(tiny_recipe, 0.3, range(55))], "mine.yaml", [])
    assert "No difference to the first is shown: with so few held-out pairs all of it may be noise" in said
    assert "the first and another judge at most 3 pairs differently, too few to show anything" in said


def test_of_equally_good_combinations_the_larger_margin_stands_first(tiny_recipe: Recipe) -> None:
    results = [finished(tiny_recipe, 0.1, range(60), margin=0.1), finished(tiny_recipe, 0.3, range(60), margin=0.2)]
    assert sweep.table(results, "mine.yaml", []).splitlines()[1].startswith("beta=0.3")
