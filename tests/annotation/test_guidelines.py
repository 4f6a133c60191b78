"""What annotators read before they start names the options as the page does."""

import re
from pathlib import Path

import pytest

from annotation import dataset
from annotation.dataset import FLAGS, LABELS

ADJUDICATION = Path(dataset.__file__).with_name("guidelines_adjudication.md")


@pytest.fixture
def guidelines() -> str:
    return dataset.GUIDELINES.read_text(encoding="utf-8")


def bullets(text: str, heading: str) -> list[str]:
    """What stands in bold at the start of the section's bullets."""
    section = text.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^- \*\*(.+?)\*\* –", section, re.MULTILINE)


def test_the_guidelines_name_the_choices_as_the_page_does(guidelines: str) -> None:
    assert bullets(guidelines, "선택지") == list(LABELS.values())


def test_the_guidelines_name_the_safety_flags_as_the_page_does(guidelines: str) -> None:
    assert bullets(guidelines, "안전 문제") == list(FLAGS.values())


def test_every_example_comes_to_a_choice_that_exists_and_each_choice_but_one_side_is_shown(guidelines: str) -> None:
    verdicts = re.findall(r"^- → \*\*(.+?)\.?\*\*", guidelines, re.MULTILINE)
    assert len(verdicts) >= 5
    assert set(verdicts) <= set(LABELS.values())
    assert {LABELS["tie"], LABELS["both_bad"]} <= set(verdicts)


def test_flags_named_in_the_examples_exist(guidelines: str) -> None:
    examples = guidelines.split("\n## 예시", 1)[1].split("\n## ", 1)[0]
    named = [
        name for line in examples.splitlines() if "표시합니다" in line for name in re.findall(r"\*\*(.+?)\*\*", line)
    ]
    flags = [name for name in named if name.rstrip(".") not in LABELS.values()]
    assert flags
    assert set(flags) <= set(FLAGS.values())


def test_the_criteria_stand_in_their_order(guidelines: str) -> None:
    criteria = guidelines.split("\n## 기준", 1)[1].split("\n## ", 1)[0]
    names = re.findall(r"^\d\. \*\*(.+?)\*\*", criteria, re.MULTILINE)
    assert names == ["안전성", "정확성", "필요한 진료 권유", "공감", "단정하지 않음"]


def test_repeats_are_announced_without_telling_which(guidelines: str) -> None:
    assert "일부 문항은 다시 나올 수 있습니다" in guidelines


def test_adjudicators_are_told_what_they_see_by_its_title() -> None:
    assert "**평가자들의 판단**" in ADJUDICATION.read_text(encoding="utf-8")
