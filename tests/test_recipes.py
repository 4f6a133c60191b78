"""The recipes that are shipped: each one is good, says how it is run, and keeps out of the others' way."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from stages.core.recipe import load_recipe

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
DEMO = ROOT / "recipes" / "demo"
SUBSETS = ("doctor", "nurse", "pharm", "dentist")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a user stands who types the commands of the recipes' headers."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_shipped_recipe_is_good(path: Path) -> None:
    assert load_recipe(path).name


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_shipped_recipe_begins_with_the_command_that_runs_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    header = text[: re.search(r"^[^#\n]", text, re.MULTILINE).start()]  # type: ignore[union-attr]
    commands = [line for line in header.splitlines() if re.match(r"#\s+(make|kormed) ", line)]
    assert any(name_of(path) in line or line.split()[1:3] == ["make", "demo"] for line in commands)


def test_no_two_shipped_recipes_write_into_the_same_folder() -> None:
    names = Counter(load_recipe(path).name for path in RECIPES)
    assert [name for name, count in names.items() if count > 1] == []


def test_the_published_recipe_is_the_default_one_and_marks_what_is_ours() -> None:
    recipe = load_recipe(ROOT / "recipes" / "gemma-2-2b-it.yaml")
    assert recipe.model.base == "google/gemma-2-2b-it"
    assert recipe.prepare.benchmark == "sean0042/KorMedMCQA"
    assert recipe.prepare.subsets == SUBSETS
    assert (recipe.evaluate.fewshot, recipe.evaluate.chat_template, recipe.evaluate.limit) == (5, True, None)
    text = (ROOT / "recipes" / "gemma-2-2b-it.yaml").read_text(encoding="utf-8")
    sections = re.split(r"\n(?=\w)", text)
    for section in ("seed", "sft", "candidates", "annotation", "dpo", "evaluate"):
        (own,) = [part for part in sections if part.startswith(f"{section}:")]
        assert "[ours]" in own.splitlines()[0]


def test_every_checkpoint_of_a_recipe_stands_on_one_base() -> None:
    for path in RECIPES:
        recipe = load_recipe(path)
        bases = {recipe.sft.model.base, recipe.candidates.model.base, recipe.dpo.model.base, recipe.evaluate.model.base}
        assert bases == {recipe.model.base}, path


def test_the_demo_needs_no_hub() -> None:
    recipe = load_recipe(DEMO / "demo.yaml")
    assert recipe.prepare.benchmark is not None
    assert Path(recipe.prepare.benchmark).is_dir()
    assert recipe.prepare.consults is not None
    assert recipe.prepare.consults.is_file()
    assert recipe.model.base.startswith("models/")


def test_the_demos_readme_tells_its_data_as_they_are() -> None:
    readme = (DEMO / "README.md").read_text(encoding="utf-8")
    for subset in SUBSETS:
        told = re.search(rf"\| {subset}\s*\|\s*(\d+)\s*\|\s*(\d+)\s*\|\s*(\d+)\s*\|\s*(\d+)\s*\|", readme)
        assert told is not None
        for split, count in zip(("train", "dev", "test", "fewshot"), told.groups(), strict=True):
            lines = (DEMO / "kormedmcqa" / subset / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
            assert len(lines) == int(count), f"{subset}/{split}"
    told_consults = re.search(r"`consults.jsonl`: (\d+) rows", readme)
    assert told_consults is not None
    assert len((DEMO / "consults.jsonl").read_text(encoding="utf-8").splitlines()) == int(told_consults.group(1))


def test_the_demo_is_large_enough_and_its_answers_are_not_all_one_letter() -> None:
    rows = [
        json.loads(line)
        for path in (DEMO / "kormedmcqa").rglob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) >= 120
    assert len((DEMO / "consults.jsonl").read_text(encoding="utf-8").splitlines()) >= 60
    shares = Counter(row["answer"] for row in rows)
    assert shares.keys() == {1, 2, 3, 4, 5}
    assert max(shares.values()) / len(rows) < 0.3
