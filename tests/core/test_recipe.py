"""recipe: nothing in a recipe is guessed, nothing in it vanishes, and all that is wrong is said at once."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from stages.core.errors import KormedError
from stages.core.recipe import Recipe, Section, load_recipe

SMALLEST = "name: small\nmodel: {base: some/model}\nprepare: {benchmark: some/benchmark}\n"


def write(folder: Path, text: str, name: str = "recipe.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str, *overrides: str) -> Recipe:
    return load_recipe(write(folder, text), overrides)


def refusal(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(KormedError) as error:
        load(folder, text, *overrides)
    return str(error.value)


def test_a_recipe_needs_a_name_a_base_and_a_benchmark_only(tmp_path: Path) -> None:
    recipe = load(tmp_path, SMALLEST)
    assert (recipe.name, recipe.model.base, recipe.prepare.benchmark) == ("small", "some/model", "some/benchmark")
    assert recipe.prepare.consults is None


def test_seed_and_model_are_written_once_and_reach_every_section_that_has_them(tmp_path: Path) -> None:
    recipe = load(tmp_path, SMALLEST + "seed: 7\n")
    assert {recipe.prepare.seed, recipe.sft.seed, recipe.candidates.seed, recipe.preferences.seed} == {7}
    assert {recipe.annotation.seed, recipe.dpo.seed, recipe.evaluate.seed} == {7}
    assert recipe.sft.model == recipe.dpo.model == recipe.candidates.model == recipe.evaluate.model == recipe.model


def test_a_section_may_have_a_seed_of_its_own(tmp_path: Path) -> None:
    recipe = load(tmp_path, SMALLEST + "seed: 7\nsft: {seed: 8}\n")
    assert (recipe.sft.seed, recipe.dpo.seed) == (8, 7)


def test_a_section_may_change_one_key_of_the_model_and_keeps_the_others(tmp_path: Path) -> None:
    text = SMALLEST.replace("{base: some/model}", "{base: some/model, quantization: none}")
    for recipe in (
        load(tmp_path, text + "sft: {model: {attention: sdpa}}\n"),
        load(tmp_path, text, "sft.model.attention=sdpa"),
    ):
        assert recipe.sft.model == recipe.model.model_copy(update={"attention": "sdpa"})
        assert recipe.dpo.model == recipe.model


def test_a_refusal_always_says_what_the_problem_is(tmp_path: Path) -> None:
    """A section's own model without a base once gave `0 problems`."""
    message = refusal(tmp_path, "name: small\nprepare: {benchmark: some/benchmark}\nsft: {model: {dtype: float32}}\n")
    assert "0 problems" not in message
    assert "model" in message.partition("\n")[2]


def test_all_problems_come_at_once_each_with_the_nearest_key(tmp_path: Path) -> None:
    message = refusal(
        tmp_path,
        "name: Not A Name\nmodel: {base: some/model, quantisation: nf4}\nprepare: {heldout_consults: 2}\n"
        "sft: {learning_rte: 1, epochs: many, lora: {rank: 8}}\nevalute: {fewshot: 0}\n",
    )
    assert "name: " in message
    assert "model.quantisation: unknown key; did you mean quantization?" in message
    assert "prepare.benchmark: missing" in message
    assert "prepare.heldout_consults: " in message
    assert "sft.learning_rte: unknown key; did you mean learning_rate?" in message
    assert "sft.epochs: " in message
    assert "sft.lora.rank: unknown key" in message
    assert "evalute: unknown key; did you mean evaluate?" in message
    assert message.splitlines()[0].endswith("8 problems")
    assert len(message.splitlines()) == 9


def test_an_unknown_key_near_to_nothing_lists_the_known_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALLEST + "report: {zzz: 1}\n")
    assert "report.zzz: unknown key" in message
    assert "side_by_side" in message


def test_a_problem_of_the_shared_model_is_told_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALLEST.replace("some/model", "some/model, dtype: float16"))
    assert message.count("found 'float16'") == 1
    assert message.splitlines()[0].endswith("1 problem")


@pytest.mark.parametrize("key", ["1", "true", "null", "[a, b]"])
def test_a_key_that_is_no_text_is_refused_as_well(tmp_path: Path, key: str) -> None:
    assert "recipe.yaml" in refusal(tmp_path, SMALLEST + f"{key}: 5\n")


def test_a_section_written_twice_is_refused_instead_of_dropping_the_first(tmp_path: Path) -> None:
    """YAML's own reader keeps the last one and says nothing."""
    message = refusal(tmp_path, SMALLEST + "sft: {epochs: 1}\ndpo: {beta: 0.2}\nsft: {batch_size: 2}\n")
    assert "sft" in message


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_a_file_without_sections_is_refused(tmp_path: Path, text: str) -> None:
    assert "a mapping of sections was wanted" in refusal(tmp_path, text)


def test_broken_yaml_says_where(tmp_path: Path) -> None:
    message = refusal(tmp_path, "name: small\nmodel: {base: [}\n")
    assert "recipe.yaml: not YAML" in message
    assert "line 2" in message


def test_a_cp949_recipe_is_refused_by_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(("# 한글 설명\n" + SMALLEST).encode("cp949"))
    with pytest.raises(KormedError, match="UTF-8"):
        load_recipe(path)


def test_a_recipe_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(SMALLEST, encoding="utf-8-sig")
    assert load_recipe(path).name == "small"


def test_a_missing_recipe_names_the_nearest_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "recipes", SMALLEST, "gemma.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KormedError, match="did you mean recipes/gemma.yaml"):
        load_recipe(Path("recipes/gema.yaml"))


@pytest.mark.parametrize(
    "name", ["../elsewhere", "a/b", ".hidden", "", "Large", "이름", "two words", "-x", "name\n"], ids=repr
)
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KormedError, match="name: "):
        load(tmp_path, SMALLEST, f'name="{name}"'.replace("\n", "\\n"))


# extends


def test_a_recipe_that_extends_another_changes_only_what_it_names(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST + "sft: {epochs: 5, lora: {r: 8, alpha: 64}}\ndpo: {beta: 0.3}\n", "below.yaml")
    recipe = load(tmp_path, "extends: below.yaml\nname: above\nsft: {lora: {r: 4}}\n")
    assert (recipe.name, recipe.model.base) == ("above", "some/model")
    assert (recipe.sft.epochs, recipe.sft.lora.r, recipe.sft.lora.alpha, recipe.dpo.beta) == (5, 4, 64, 0.3)


def test_a_list_is_replaced_and_not_added_to(tmp_path: Path) -> None:
    write(tmp_path, "name: b\nmodel: {base: m}\nprepare: {benchmark: x, subsets: [doctor, nurse]}\n", "b.yaml")
    assert load(tmp_path, "extends: b.yaml\nprepare: {subsets: [pharm]}\n").prepare.subsets == ("pharm",)


def test_extends_is_a_chain_and_each_path_is_relative_to_the_recipe_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    write(tmp_path, SMALLEST + "seed: 1\nsft: {epochs: 1, batch_size: 1}\n", "root.yaml")
    write(tmp_path / "cluster", "extends: ../root.yaml\nsft: {epochs: 2}\n", "middle.yaml")
    recipe = load(tmp_path, "extends: cluster/middle.yaml\nname: top\nseed: 3\n")
    assert (recipe.name, recipe.seed, recipe.sft.epochs, recipe.sft.batch_size) == ("top", 3, 2, 1)


@pytest.mark.parametrize("links", [("a",), ("b", "a"), ("b", "c", "a")])
def test_a_circle_of_extends_is_an_error_and_not_an_endless_loop(tmp_path: Path, links: tuple[str, ...]) -> None:
    for name, target in zip(("a", *links), links, strict=False):
        write(tmp_path, f"extends: {target}.yaml\n", f"{name}.yaml")
    with pytest.raises(KormedError, match="circle"):
        load_recipe(tmp_path / "a.yaml")


def test_two_recipes_on_one_root_are_no_circle(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST, "root.yaml")
    assert load(tmp_path, "extends: root.yaml\nname: one\n").name == "one"
    assert load(tmp_path, "extends: root.yaml\nname: two\n").name == "two"


def test_a_missing_or_odd_parent_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, "extends: nowhere.yaml\n")
    assert "recipe.yaml: extends:" in message
    assert "nowhere.yaml is not there; the path is taken from the recipe's own folder" in message
    assert "extends" in refusal(tmp_path, "extends: [a.yaml, b.yaml]\n")


def test_a_typo_in_the_parent_does_not_vanish(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST + "sft: {epoch: 5}\n", "below.yaml")
    assert "sft.epoch: unknown key; did you mean epochs?" in refusal(tmp_path, "extends: below.yaml\nname: above\n")


# --set


@pytest.mark.parametrize("number", ["1e-4", "0.0001", "1.0e-4"])
def test_a_learning_rate_may_be_written_as_people_write_it(tmp_path: Path, number: str) -> None:
    """YAML reads 1e-4 as a string; the typed recipe makes a number of it, in the file as on the command line."""
    assert load(tmp_path, SMALLEST, f"sft.learning_rate={number}").sft.learning_rate == pytest.approx(1e-4)
    assert load(tmp_path, SMALLEST + f"sft: {{learning_rate: {number}}}\n").sft.learning_rate == pytest.approx(1e-4)


def test_only_the_first_equals_sign_separates_key_and_value(tmp_path: Path) -> None:
    assert load(tmp_path, SMALLEST, "model.base=folder/a=b=c").model.base == "folder/a=b=c"


def test_a_set_reaches_a_nested_key_in_a_section_that_the_file_does_not_have(tmp_path: Path) -> None:
    recipe = load(tmp_path, SMALLEST, "sft.lora.r=2", "candidates.sampling.top_p=0.5")
    assert (recipe.sft.lora.r, recipe.candidates.sampling.top_p) == (2, 0.5)


def test_a_set_takes_lists_and_null(tmp_path: Path) -> None:
    text = SMALLEST.replace("some/benchmark", "some/benchmark, consults: consults.jsonl")
    assert load(tmp_path, text).prepare.consults == Path("consults.jsonl")
    recipe = load(tmp_path, text, "prepare.consults=null", "prepare.subsets=[nurse, pharm]")
    assert recipe.prepare.consults is None
    assert recipe.prepare.subsets == ("nurse", "pharm")


def test_the_last_set_of_a_key_wins_and_beats_the_file(tmp_path: Path) -> None:
    assert load(tmp_path, SMALLEST + "sft: {epochs: 9}\n", "sft.epochs=1", "sft.epochs=2").sft.epochs == 2


def test_a_set_of_the_shared_model_or_seed_reaches_every_section(tmp_path: Path) -> None:
    recipe = load(tmp_path, SMALLEST, "model.base=another/model", "seed=5")
    assert {recipe.sft.model.base, recipe.dpo.model.base, recipe.evaluate.model.base} == {"another/model"}
    assert {recipe.sft.seed, recipe.preferences.seed} == {5}


@pytest.mark.parametrize("override", ["sft.epochs", "=3", "epochs"])
def test_a_set_without_key_and_value_shows_how_it_is_written(tmp_path: Path, override: str) -> None:
    message = refusal(tmp_path, SMALLEST, override)
    assert "key=value" in message
    assert override in message


def test_a_typo_in_a_set_gets_the_nearest_key_as_one_in_the_file_does(tmp_path: Path) -> None:
    assert "sft.epoch: unknown key; did you mean epochs?" in refusal(tmp_path, SMALLEST, "sft.epoch=3")


def test_a_set_below_a_plain_value_is_refused(tmp_path: Path) -> None:
    assert "name is not a section" in refusal(tmp_path, SMALLEST, "name.first=x")


def test_a_set_of_extends_does_not_answer_did_you_mean_extends(tmp_path: Path) -> None:
    assert "did you mean extends" not in refusal(tmp_path, SMALLEST, "extends=other.yaml")


# annotators


def test_an_annotator_named_twice_is_refused(tmp_path: Path) -> None:
    assert "annotation" in refusal(tmp_path, SMALLEST, "annotation.annotators=[kim, lee, kim]")


@pytest.mark.parametrize("name", ["owner", "김간호사", "two words", "-kim", "kim@hospital.kr", ""])
def test_a_name_argilla_would_refuse_is_refused_before_anything_starts(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, SMALLEST + f"annotation: {{annotators: ['kim-1', '{name}']}}\n")
    assert "annotation.annotators" in message


def test_more_responses_than_annotators_can_never_be_reached(tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALLEST, "annotation.annotators=[kim, lee]", "annotation.responses_per_comparison=3")
    assert "responses_per_comparison is 3" in message
    assert "2 annotators" in message
    enough = load(tmp_path, SMALLEST, "annotation.annotators=[kim, lee, park]", "annotation.responses_per_comparison=3")
    assert enough.annotation.responses_per_comparison == 3


@pytest.mark.parametrize(
    "override",
    [
        "sft.epochs=0",
        "sft.learning_rate=-1e-4",
        "sft.lora.r=0",
        "prepare.heldout_consults=0",
        "prepare.heldout_consults=1",
        "prepare.subsets=[]",
        "prepare.subsets=[surgeon]",
        "candidates.per_consult=1",
        "evaluate.limit=0",
        "evaluate.fewshot=-1",
        "annotation.port=80",
        "annotation.annotators=[]",
        "model.dtype=float16",
        "dpo.loss=sigmod",
        "sft.learning_rate=fast",
        "sft.max_steps=1.5",
    ],
)
def test_a_value_that_no_run_could_use_is_refused_by_its_key(tmp_path: Path, override: str) -> None:
    assert override.partition("=")[0] in refusal(tmp_path, SMALLEST, override)


def test_no_fewshot_at_all_is_a_number_and_not_unset(tmp_path: Path) -> None:
    assert load(tmp_path, SMALLEST, "evaluate.fewshot=0").evaluate.fewshot == 0


def test_every_choice_can_be_written_in_yaml_as_it_stands(tmp_path: Path) -> None:
    """`off`, `on`, `yes` and `no` are no words in YAML but true and false: a recipe could not say them."""

    def words(model: type[Section]) -> set[str]:
        found = {field.alias or name for name, field in model.model_fields.items()}
        for field in model.model_fields.values():
            kinds = [field.annotation]
            while kinds:
                kind = kinds.pop()
                if isinstance(kind, type) and issubclass(kind, Section):
                    found |= words(kind)
                kinds += [below for below in get_args(kind) if not isinstance(below, str)]
                found |= {word for word in get_args(kind) if isinstance(word, str)}
        return found

    known = words(Recipe)
    assert {"report", "skip", "import", "longest_in_bounds", "cosine"} <= known
    assert [word for word in known if yaml.safe_load(word) != word] == []
