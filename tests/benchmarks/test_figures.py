"""The README's figures say what the committed results say, each of them, and nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.benchmarks.figures import RESULTS, figures

SVG = "{http://www.w3.org/2000/svg}"
SPEEDS = {"sft": "training-speed.svg", "dpo": "preference-speed.svg"}


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return figures(RESULTS)


def texts(figure: str, kind: str) -> list[str]:
    return [found.text or "" for found in ElementTree.fromstring(figure).iter(f"{SVG}text") if kind in classes(found)]


def classes(element: ElementTree.Element) -> list[str]:
    return element.get("class", "").split()


def runs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("training_speed-*.json")]


def test_committed_figures_are_those_of_the_committed_results(drawn: dict[str, str]) -> None:
    committed = {file.name: file.read_text(encoding="utf-8") for file in (RESULTS / "figures").iterdir()}
    assert committed == drawn, "run `python -m tests.benchmarks.figures`"


def test_every_measured_speed_stands_in_its_figure_with_its_card_and_memory(drawn: dict[str, str]) -> None:
    for run in runs(RESULTS):
        for row in [row for row in run["rows"] if "error" not in row]:
            figure = drawn[SPEEDS[row["kind"]]]
            assert f"{row['tokens_per_second']:,.0f} · {row['peak_gib']:.1f} GiB" in texts(figure, "number")
            assert row["variant"].split()[0] in " ".join(texts(figure, "label"))
            assert run["device"] in " ".join(texts(figure, "note"))


def test_a_figure_of_two_cards_names_the_card_of_each_bar(drawn: dict[str, str]) -> None:
    labels = texts(drawn["training-speed.svg"], "label")
    assert "packed 16,384, compiled (H100)" in labels
    assert "packed 16,384, compiled (H200)" in labels


def test_a_bar_is_as_long_as_its_speed_and_its_outline_ends_at_the_bound_of_its_run(drawn: dict[str, str]) -> None:
    bounds = [run["matrix_tflops"] * 1e12 / (4 * 2.61e9) for run in runs(RESULTS)]
    rows = [
        (row["tokens_per_second"], bound)
        for run, bound in zip(runs(RESULTS), bounds, strict=True)
        for row in run["rows"]
        if row.get("kind") == "sft"
    ]
    longest = max(bound for _, bound in rows)
    expected = sorted((speed / longest, bound / longest) for speed, bound in rows)
    figure = ElementTree.fromstring(drawn["training-speed.svg"])
    filled = [float(bar.attrib["width"]) for bar in figure.iter(f"{SVG}rect") if "rest" in classes(bar)]
    outlined = [
        float(bar.attrib["x"]) + float(bar.attrib["width"])
        for bar in figure.iter(f"{SVG}rect")
        if "room" in classes(bar)
    ]
    found = sorted((speed / 420, bound / 420) for speed, bound in zip(filled, outlined, strict=True))
    assert found == [pytest.approx(one, abs=1e-3) for one in expected]


def test_a_variant_that_failed_is_left_out(tmp_path: Path, drawn: dict[str, str]) -> None:
    results = shutil.copytree(RESULTS, tmp_path / "results")
    file = results / "training_speed-h200-sft.json"
    file.chmod(0o644)
    run = json.loads(file.read_text(encoding="utf-8"))
    run["rows"][0] = {"variant": run["rows"][0]["variant"], "error": "out of memory"}
    file.write_text(json.dumps(run), encoding="utf-8")
    before, after = (texts(some["training-speed.svg"], "label") for some in (drawn, figures(results)))
    assert [label for label in before if label not in after] == ["packed 8,192, compiled (H200)"]


def test_the_loops_figure_shows_how_every_judged_comparison_fell(drawn: dict[str, str]) -> None:
    found = json.loads((RESULTS / "preference_loop-h100.json").read_text(encoding="utf-8"))
    figure = drawn["preference-loop.svg"]
    shown = dict(zip(texts(figure, "label"), texts(figure, "number"), strict=True))
    for way, fresh in found["fresh"].items():
        counts = fresh["winrate"]
        fell = [int(shown[f"{way}: {what}"].split()[0]) for what in ("DPO preferred", "neither", "SFT preferred")]
        assert fell == [counts["dpo"], counts["judged"] - counts["dpo"] - counts["sft"], counts["sft"]]
        rate = f"{way}: {100 * counts['win_rate']:.0f} % (95 % interval"
        assert any(note.startswith(rate) and note.endswith(f"n = {counts['judged']}") for note in texts(figure, "note"))


def test_a_figure_stands_alone_in_light_and_dark(drawn: dict[str, str]) -> None:
    for figure in drawn.values():
        assert ElementTree.fromstring(figure).tag == f"{SVG}svg"
        assert "prefers-color-scheme: dark" in figure
        assert not any(outside in figure for outside in ("href", "url(", "@import", "<script"))


def test_a_label_leaves_room_for_the_number_beside_it(drawn: dict[str, str]) -> None:
    for figure in drawn.values():
        beside: dict[str, int] = {}
        for text in ElementTree.fromstring(figure).iter(f"{SVG}text"):
            if {"label", "number"} & set(classes(text)):
                beside[text.attrib["y"]] = beside.get(text.attrib["y"], 0) + len(text.text or "")
        assert max(beside.values()) <= 64  # what 420 units held in DejaVu Sans, the widest font tried
