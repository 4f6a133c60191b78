from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.core.errors import KormedError
from stages.core.published import PUBLISHED, PublishedSource, read_published
from stages.core.recipe import Subset
from stages.core.statistics import relative_change

QUESTIONS: dict[Subset, int] = {"doctor": 435, "nurse": 878, "pharm": 885, "dentist": 811}  # of KorMedMCQA's test split


def source(name: str) -> PublishedSource:
    (found,) = [source for source in read_published() if source.id == name]
    return found


def test_every_figure_has_a_source_and_none_is_said_to_be_ours() -> None:
    assert [source.id for source in read_published()] == ["report", "paper"]
    for source in read_published():
        assert source.title.strip()
        assert source.source.strip()
        assert source.run_by_us is False
        assert all(row.accuracies.keys() == QUESTIONS.keys() for row in source.rows)


def test_what_the_sources_do_not_say_is_not_filled_in() -> None:
    for source in read_published():
        assert (source.task_version, source.fewshot, source.template) == (None, None, None)


def test_the_reports_relative_changes_follow_from_its_own_accuracies() -> None:
    base, tuned = source("report").rows
    assert (base.checkpoint, tuned.checkpoint, tuned.relative_to) == ("base", "sft", "base")
    for subset, printed in tuned.relative_changes.items():
        change = relative_change(base.accuracies[subset], tuned.accuracies[subset])
        assert change is not None
        assert round(change, 2) == printed


@pytest.mark.parametrize("row", source("report").rows, ids=lambda row: row.checkpoint)
def test_the_reports_accuracies_are_whole_numbers_of_questions(row: Any) -> None:
    """Shares of as many questions as the benchmark has; a wrong digit, or pharm and dentist exchanged, would not be."""
    for subset, percent in row.accuracies.items():
        right = round(percent * QUESTIONS[subset] / 100)
        assert round(100 * right / QUESTIONS[subset], 2) == percent


def test_the_papers_accuracies_make_its_overall_figure() -> None:
    """lm-evaluation-harness's issue 3103 says that the paper has 29.18 for this model; its subsets have one decimal."""
    (row,) = source("paper").rows
    overall = sum(percent * QUESTIONS[subset] for subset, percent in row.accuracies.items()) / sum(QUESTIONS.values())
    assert overall == pytest.approx(29.18, abs=0.05)


# A file that does not fit


def shipped() -> Any:
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))


def refusal(path: Path) -> str:
    with pytest.raises(KormedError) as caught:
        read_published(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def refusal_of(content: Any, folder: Path) -> str:
    path = folder / "published.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return refusal(path)


@pytest.mark.parametrize("field", ["title", "source", "fewshot", "template", "task_version", "rows"])
def test_a_source_without_a_field_is_refused_by_name(field: str, tmp_path: Path) -> None:
    content = shipped()
    del content["sources"][0][field]
    assert f"sources.0.{field}" in refusal_of(content, tmp_path)


@pytest.mark.parametrize("field", ["title", "source"])
def test_a_blank_source_is_refused(field: str, tmp_path: Path) -> None:
    content = shipped()
    content["sources"][1][field] = " "
    assert f"sources.1.{field}" in refusal_of(content, tmp_path)


def test_figures_that_we_ran_are_refused(tmp_path: Path) -> None:
    content = shipped()
    content["sources"][0]["run_by_us"] = True
    assert "run_by_us" in refusal_of(content, tmp_path)


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan"), "many"])
def test_an_accuracy_that_is_no_percentage_is_refused(percent: object, tmp_path: Path) -> None:
    content = shipped()
    content["sources"][0]["rows"][0]["accuracies"]["nurse"] = percent
    assert "nurse" in refusal_of(content, tmp_path)


def test_a_subset_that_the_benchmark_lacks_is_refused(tmp_path: Path) -> None:
    content = shipped()
    content["sources"][0]["rows"][0]["accuracies"]["vet"] = 50.0
    assert "vet" in refusal_of(content, tmp_path)


def test_changes_of_nothing_are_refused(tmp_path: Path) -> None:
    content = shipped()
    del content["sources"][0]["rows"][1]["relative_to"]
    assert "relative_to" in refusal_of(content, tmp_path)
    content = shipped()
    del content["sources"][0]["rows"][0]
    assert "no base row" in refusal_of(content, tmp_path)


def test_the_same_row_or_source_twice_is_refused(tmp_path: Path) -> None:
    content = shipped()
    content["sources"][0]["rows"].append(content["sources"][0]["rows"][0])
    assert "same model and checkpoint" in refusal_of(content, tmp_path)
    content = shipped()
    content["sources"].append(content["sources"][0])
    assert "same id" in refusal_of(content, tmp_path)


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path) -> None:
    refusal(tmp_path / "nothing.yaml")
    (tmp_path / "broken.yaml").write_text("sources: [", encoding="utf-8")
    assert "not YAML" in refusal(tmp_path / "broken.yaml")
    (tmp_path / "empty.yaml").write_text("", encoding="utf-8")
    refusal(tmp_path / "empty.yaml")
    (tmp_path / "korean.yaml").write_bytes("sources: 출처".encode("cp949"))
    refusal(tmp_path / "korean.yaml")
