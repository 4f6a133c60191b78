"""Other benchmarks as the report gets them, from files as evaluate writes them."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from stages.core.elsewhere import elsewhere
from stages.core.errors import KormedError
from stages.core.findings import Evaluation, Settings
from stages.core.other_tasks import Figure
from stages.core.records import Checkpoint

SETTINGS: dict[str, Any] = {
    "task": "kormedmcqa",
    "task_version": 3.0,
    "fewshot": 5,
    "chat_template": True,
    "fewshot_as_multiturn": False,
    "limit": None,
    "max_gen_toks": None,
    "base": "base",
    "dtype": "float32",
    "quantization": "none",
    "lm_eval": "0.4.13",
}


def figure(task: str, value: float, **changes: Any) -> Figure:
    found: dict[str, Any] = {
        "asked": task,
        "task": task,
        "version": "1.0",
        "fewshot": 0,
        "metric": "acc",
        "filter": "none",
        "value": value,
        "stderr": 0.02,
        "n": 100,
    }
    return Figure(**(found | changes))


def evaluated(models: Path, checkpoint: Checkpoint, *figures: Figure) -> Evaluation:
    """Without figures as an evaluation of a recipe that names no other task."""
    folder = models / "evaluate" / checkpoint
    folder.mkdir(parents=True)
    if figures:
        (folder / "other.json").write_text(json.dumps([asdict(one) for one in figures]), encoding="utf-8")
    return Evaluation(checkpoint, folder, Settings.model_validate(SETTINGS), {}, {}, "cpu")


def test_every_metric_of_a_task_has_every_checkpoints_value_in_the_recipes_order(tmp_path: Path) -> None:
    values: dict[Checkpoint, float] = {"base": 0.5, "sft": 0.25, "dpo": 0.125}
    found = elsewhere(
        [
            evaluated(tmp_path, name, figure("quiz", value), figure("quiz", value + 9, metric="acc_norm"))
            for name, value in values.items()
        ]
    )
    assert [one.metric for one in found] == ["acc", "acc_norm"]
    assert found[0].values == {"base": (0.5, 0.02), "sft": (0.25, 0.02), "dpo": (0.125, 0.02)}
    assert found[1].values["sft"] == (9.25, 0.02)


def test_a_group_and_a_metric_without_an_error_are_taken_as_they_are(tmp_path: Path) -> None:
    group = {"fewshot": None, "n": None, "stderr": None, "version": "N/A"}
    (one,) = elsewhere([evaluated(tmp_path, name, figure("all", 0.5, **group)) for name in ("base", "sft")])
    assert (one.fewshot, one.items, one.values["sft"]) == (None, None, (0.5, None))


def test_a_figure_that_is_no_number_stays_one_and_stops_nothing(tmp_path: Path) -> None:
    """A perplexity can run over; Python writes such figures as NaN and Infinity."""
    (one,) = elsewhere(
        [evaluated(tmp_path, name, figure("tales", math.inf, stderr=math.nan)) for name in ("base", "sft")]
    )
    assert math.isinf(one.values["base"][0])


def test_a_recipe_without_other_tasks_has_none(tmp_path: Path) -> None:
    assert elsewhere([evaluated(tmp_path, name) for name in ("base", "sft", "dpo")]) == []


def test_figures_pair_by_what_they_are_of_and_not_by_their_place(tmp_path: Path) -> None:
    base = evaluated(tmp_path, "base", figure("quiz", 0.5), figure("tales", 0.25))
    sft = evaluated(tmp_path, "sft", figure("tales", 0.2), figure("quiz", 0.4))
    assert [(one.task, one.values["sft"][0]) for one in elsewhere([base, sft])] == [("quiz", 0.4), ("tales", 0.2)]


@pytest.mark.parametrize(
    "changes", [{"version": "2.0"}, {"fewshot": 5}, {"n": 50}, {"metric": "f1"}, {"filter": "first_letter"}], ids=str
)
def test_a_task_that_was_put_otherwise_is_refused_with_a_way_out(tmp_path: Path, changes: dict[str, Any]) -> None:
    base = evaluated(tmp_path, "base", figure("tales", 0.5), figure("quiz", 0.5))
    sft = evaluated(tmp_path, "sft", figure("tales", 0.5), figure("quiz", 0.5, **changes))
    with pytest.raises(KormedError) as error:
        elsewhere([base, sft])
    assert "quiz in another version, number of examples or items" in str(error.value)
    assert "tales" not in str(error.value)
    assert "`kormed evaluate --checkpoint sft RECIPE --force` (or, if that one is right, base" in str(error.value)


def test_a_task_that_only_one_checkpoint_was_asked_is_refused_on_either_side(tmp_path: Path) -> None:
    base, sft = evaluated(tmp_path, "base", figure("quiz", 0.5)), evaluated(tmp_path, "sft", figure("quiz", 0.5))
    dpo = evaluated(tmp_path, "dpo")
    with pytest.raises(KormedError, match=r"evaluate/dpo: .*: quiz only for sft; .*--checkpoint dpo RECIPE --force"):
        elsewhere([base, sft, dpo])
    with pytest.raises(KormedError, match=r"quiz only for base; evaluate again"):
        elsewhere([base, dpo])
    with pytest.raises(KormedError, match=r"quiz only for sft; evaluate again"):
        elsewhere([dpo, sft])


@pytest.mark.parametrize(
    "content",
    ['[{"task": "quiz"}]', '{"task": "quiz"}', "[", json.dumps([asdict(figure("quiz", 0.5)) | {"value": "high"}])],
    ids=["a field is missing", "no list", "cut off", "no number"],
)
def test_a_file_that_does_not_fit_is_named_with_a_way_out(tmp_path: Path, content: str) -> None:
    base, sft = evaluated(tmp_path, "base"), evaluated(tmp_path, "sft")
    (sft.folder / "other.json").write_text(content, encoding="utf-8")
    with pytest.raises(KormedError, match=r"evaluate/sft/other\.json: no figures.*--checkpoint sft RECIPE --force"):
        elsewhere([base, sft])
