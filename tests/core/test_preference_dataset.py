"""The dataset's folder: `load_dataset` reads these rows and no others, TRL takes them, and the card tells no names."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from trl.data_utils import is_conversational

from stages.core import chat, preference_dataset
from stages.core.preference_labels import labels
from stages.core.records import Dropped, Preference
from stages.core.votes import newest
from tests.judgements import comparison, rules, says

LOAD = """
import json, sys
from datasets import load_dataset
for folder in sys.argv[1:]:
    loaded = load_dataset(folder)
    print(json.dumps({split: {"columns": rows.column_names, "rows": rows.to_list()} for split, rows in loaded.items()}))
"""


def preference(number: int, word: str = "답") -> Preference:
    return Preference(
        id=f"c{number}",
        consult_id=f"consult-{number}",
        prompt=chat.consult_prompt(f"{number}번째 물음", "30대"),
        chosen=chat.reply(f"나은 {word} {number}"),
        rejected=chat.reply(f"못한 {word}"),
        votes={"a": 1},
        agreement=1,
    )


def write(folder: Path, train: list[Preference], test: list[Preference], annotator: str = "doctor-kim") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    comparisons = [comparison(row.id) for row in (*train, *test)]
    ids = [row.id for row in comparisons]
    votes = newest([says(annotator, "a", id) for id in ids], ids)
    dropped = [Dropped(id="c9", reason="the better answer was marked unsafe: other", text="물음")]
    preference_dataset.write(
        folder,
        {"train": train, "test": test},
        comparisons,
        labels(votes, newest([rules("a", ids[0])], ids, "adjudication"), [*train, *test], dropped),
        name="mine",
        base="/home/kim-minji/models/gemma-2-2b-it",
        unsafe="drop",
    )
    return folder


def load(tmp_path: Path, *folders: Path) -> list[dict[str, Any]]:
    """What another process reads, with a cache of its own and without a hub."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, folders)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def card(folder: Path) -> tuple[dict[str, Any], str]:
    _, front_matter, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front_matter), text


def test_datasets_reads_both_splits_with_trls_columns(tmp_path: Path) -> None:
    train, test = [preference(1), preference(2)], [preference(3)]
    (loaded,) = load(tmp_path, write(tmp_path / "dataset", train, test))
    assert loaded.keys() == {"train", "test"}
    assert [set(split["columns"]) for split in loaded.values()] == [{"prompt", "chosen", "rejected"}] * 2
    assert loaded["train"]["rows"] == [as_trl_has_it(row) for row in train]
    assert all(is_conversational(row) for row in (*loaded["train"]["rows"], *loaded["test"]["rows"]))


def as_trl_has_it(row: Preference) -> dict[str, Any]:
    messages = {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
    return {name: [{"role": m.role, "content": m.content} for m in turns] for name, turns in messages.items()}


def test_without_held_out_rows_there_is_no_test_split_and_the_card_says_so(tmp_path: Path) -> None:
    folder = write(tmp_path / "dataset", [preference(1)], [])
    (loaded,) = load(tmp_path, folder)
    assert loaded.keys() == {"train"}
    assert not (folder / "test.jsonl").exists()
    assert "There is no test split" in card(folder)[1]


def test_another_runs_preferences_and_later_ones_are_not_taken_from_datasets_cache(tmp_path: Path) -> None:
    """datasets 5.2 once gave the first of two folders of the same name for both, without a word."""
    first = write(tmp_path / "one" / "dataset", [preference(1, "처음")], [])
    other = write(tmp_path / "other" / "dataset", [preference(1, "다른")], [])
    (one,), (two,) = (
        [row["chosen"][0]["content"] for row in read["train"]["rows"]] for read in load(tmp_path, first, other)
    )
    assert (one, two) == ("나은 처음 1", "나은 다른 1")
    write(first, [preference(1, "나중")], [])
    (again,) = load(tmp_path, first)
    assert again["train"]["rows"][0]["chosen"][0]["content"] == "나은 나중 1"


def test_the_card_gives_counts_and_says_what_the_data_is_and_is_not(tmp_path: Path) -> None:
    facts, text = card(write(tmp_path / "dataset", [preference(1), preference(2)], [preference(3)]))
    assert facts["language"] == ["ko"]
    assert facts["size_categories"] == ["n<1K"]
    assert "license" not in facts
    for told in (
        "| train | 2 |",
        "| test | 1 |",
        "1 annotator gave 3 submitted responses",
        "3 comparisons with 1.",
        "unknown, no comparison was judged twice",
        "| the better answer was marked unsafe | 1 |",
        "checkpoint sft of gemma-2-2b-it, temperature 0.9, top_p 0.95",
        "No licence is set",
        "questions about their health",
    ):
        assert told in text
    assert "simulated" not in text


def test_no_annotator_and_no_folder_of_this_machine_is_named(tmp_path: Path) -> None:
    text = (write(tmp_path / "dataset", [preference(1)], []) / "README.md").read_text(encoding="utf-8")
    assert "doctor-kim" not in text
    assert "dr-choi" not in text
    assert "kim-minji" not in text


def test_simulated_annotators_are_called_so(tmp_path: Path) -> None:
    _, text = card(write(tmp_path / "dataset", [preference(1)], [], annotator="simulated-1"))
    assert "**All of the annotators are simulated" in text


@pytest.mark.parametrize(("count", "size"), [(999, "n<1K"), (1_000, "1K<n<10K"), (2_000_000, "n>1M")])
def test_the_size_is_given_in_the_hubs_words(count: int, size: str) -> None:
    assert yaml.safe_load(preference_dataset.front_matter("mine", {}, count))["size_categories"] == [size]
