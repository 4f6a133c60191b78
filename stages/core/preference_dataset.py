"""The preferences as a folder that `datasets.load_dataset` reads: TRL's three columns a split, and a card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from stages.core.artifacts import digest, hash_file
from stages.core.pages import environment
from stages.core.records import Comparison, Preference, is_simulated, write_rows

COLUMNS = {"prompt", "chosen", "rejected"}
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}  # the hub's words


def write(
    folder: Path,
    splits: Mapping[str, Sequence[Preference]],
    comparisons: Sequence[Comparison],
    labels: Mapping[str, Any],
    *,
    name: str,
    base: str | None,
    unsafe: Literal["drop", "keep"],
) -> None:
    """Each split that has rows as `<split>.jsonl`, and `README.md`, which names no annotator.

    `labels` are the counts of labels.json; `base` is the model that wrote the answers, None where its artifact tells
    none.
    """
    folder.mkdir(exist_ok=True)
    files = {}
    for split in (split for split, rows in splits.items() if rows):
        files[split] = folder / f"{split}.jsonl"
        write_rows(files[split], (row.model_dump(mode="json", include=COLUMNS) for row in splits[split]))
    answers = [candidate for comparison in comparisons for candidate in (comparison.a, comparison.b)]
    counts = {split: len(rows) for split, rows in splits.items()}
    card = (
        environment(is_html=False)
        .get_template("preference_card.md.j2")
        .render(
            front_matter=front_matter(name, files, sum(counts.values())),
            name=name,
            counts=counts,
            base=shareable(base),
            checkpoints=sorted({answer.checkpoint for answer in answers}),
            sampling=sorted({f"temperature {answer.temperature:g}, top_p {answer.top_p:g}" for answer in answers}),
            labels=labels,
            annotators=len(labels["annotators"]),
            simulated=sum(map(is_simulated, labels["annotators"])),
            unsafe=unsafe,
        )
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def front_matter(name: str, files: Mapping[str, Path], count: int) -> str:
    """The card's YAML, for `load_dataset` and the hub.

    The configuration is named for the files' content: datasets 5.2 knows a local folder in its cache by the folder's
    last name, the configuration and the names of its files. Under one fixed name it silently loads another run's
    preferences, or those that this run had before more was labelled.
    """
    content = digest({split: hash_file(path) for split, path in files.items()})
    configuration = {
        "config_name": f"preferences-{content[:8]}",
        "data_files": [{"split": split, "path": path.name} for split, path in files.items()],
    }
    size = next((words for limit, words in SIZES.items() if count < limit), "n>1M")
    return yaml.safe_dump(
        {
            "language": ["ko"],
            "pretty_name": f"{name}: preferences between answers to health questions",
            "size_categories": [size],
            "tags": ["preference", "dpo", "trl", "medical"],
            "configs": [configuration],
        },
        allow_unicode=True,
        sort_keys=False,
    )


def shareable(base: str | None) -> str | None:
    """A model on this machine without the folders that it stands in, which are nobody else's business."""
    return Path(base).name if base and Path(base).is_absolute() else base
