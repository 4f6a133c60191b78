"""Pictures: whatever a trainer logged, an SVG without colours or fonts of its own."""

from xml.etree import ElementTree

import pytest

from stages.core.plots import Curve, curve, interval_bar, line_chart, ticks


def test_a_curve_takes_the_rows_that_logged_its_key() -> None:
    rows: list[dict[str, object]] = [
        {"step": 10, "loss": 2.0},
        {"step": 20, "rewards/margins": 0.1},
        {"step": 30, "loss": 1},
        {"step": 30, "train_runtime": 9.0, "train_loss": 1.5},
    ]
    assert curve(rows, "loss").points == ((10.0, 2.0), (30.0, 1.0))


def test_values_that_are_no_finite_numbers_are_left_out_and_counted() -> None:
    rows: list[dict[str, object]] = [
        {"step": 1, "loss": float("nan")},
        {"step": 2, "loss": float("inf")},
        {"step": 3, "loss": 1.0},
    ]
    assert curve(rows, "loss") == Curve(((3.0, 1.0),), left_out=2)


@pytest.mark.parametrize(
    "points",
    [
        ((1.0, 2.4),),
        ((1.0, 0.0), (2.0, 0.0)),
        ((5.0, 2.4), (97.0, 1.1)),
        ((1.0, -0.02), (2.0, 1e-9)),
        tuple((float(step), 1 / step) for step in range(1, 500)),
    ],
    ids=["one step", "flat at zero", "odd steps", "below zero", "many steps"],
)
def test_every_curve_stays_within_its_picture(points: tuple[tuple[float, float], ...]) -> None:
    svg = ElementTree.fromstring(line_chart(Curve(points), label="loss", hue="sft", level=0.0))
    width, height = map(float, svg.attrib["viewBox"].split()[2:])
    line = next(element for element in svg if element.tag == "polyline")
    drawn = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(drawn) == len(points)
    assert all(0 <= x <= width and 0 <= y <= height for x, y in drawn)


def test_a_single_step_is_a_dot_since_a_line_of_one_point_is_invisible() -> None:
    assert "<circle" in line_chart(Curve(((1.0, 2.4),)), label="loss", hue="sft")


def test_a_chart_is_described_in_words_and_its_label_is_escaped() -> None:
    svg = line_chart(Curve(((1.0, 2.0), (9.0, 1.0))), label='"<loss>"', hue="sft")
    name = ElementTree.fromstring(svg).attrib["aria-label"]
    assert name == '"<loss>" from step 1 to 9: first 2, last 1'


def test_colours_and_fonts_are_the_pages() -> None:
    svg = line_chart(Curve(((1.0, 2.0), (9.0, 1.0))), label="loss", hue="dpo", level=0.7)
    assert "font" not in svg
    assert "#" not in svg
    assert 'class="line dpo"' in svg


def test_no_points_are_no_picture() -> None:
    with pytest.raises(ValueError, match="loss: no points"):
        line_chart(Curve(()), label="loss", hue="sft")


@pytest.mark.parametrize(
    ("low", "high", "wanted", "expected"),
    [
        (0.43, 2.31, 4, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]),
        (0, 51.8, 5, [0.0, 20.0, 40.0, 60.0]),
        (0, 1, 5, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.02, 0.06, 4, [-0.02, 0.0, 0.02, 0.04, 0.06]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, wanted: int, expected: list[float]) -> None:
    assert ticks(low, high, wanted) == expected


def test_an_interval_bar_keeps_its_scale() -> None:
    svg = ElementTree.fromstring(interval_bar(20, 25, 30, end=50, hue="base", mark=20))
    middle = next(element for element in svg if element.tag == "circle")
    assert float(middle.attrib["cx"]) == 60.0  # half of 0-50 is half of the picture's 120
