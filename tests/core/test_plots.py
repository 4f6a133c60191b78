"""Pictures: whatever a trainer logged, an SVG without colours or fonts of its own."""

from xml.etree import ElementTree

import pytest

from stages.core.plots import (
    WIDTH,
    Bar,
    Contrasted,
    Curve,
    Difference,
    Place,
    Words,
    curve,
    forest,
    grouped_bars,
    histogram,
    interval_bar,
    intervals,
    line_chart,
    spread_bar,
    ticks,
    waterfall,
)


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


def rects(svg: str, hue: str) -> list[dict[str, float]]:
    """The bars of one colour, in the order drawn."""
    found = [element.attrib for element in ElementTree.fromstring(svg) if element.tag == "rect"]
    sides = ("x", "y", "width", "height")
    return [
        {side: float(rect[side]) for side in sides if side in rect} for rect in found if hue in rect["class"].split()
    ]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg) if element.tag == "text"]


def inside(svg: str) -> bool:
    """Every bar and every text lies within its picture."""
    root = ElementTree.fromstring(svg)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    bars = [element.attrib for element in root if element.tag == "rect"]
    written = [element.attrib for element in root if element.tag == "text"]
    return all(
        0 <= float(bar["x"]) <= float(bar["x"]) + float(bar["width"]) <= width + 0.2
        and 0 <= float(bar["y"]) <= float(bar["y"]) + float(bar["height"]) <= height
        for bar in bars
    ) and all(0 <= float(text["y"]) <= height for text in written)


BINS = {
    "one row": [(7, 8, 1)],
    "one bin": [(100, 200, 12)],
    "gaps": [(0, 50, 3), (50, 100, 0), (100, 150, 1)],
    "open end": [(100, 120, 400), (120, 140, 9), (140, 1_000_001, 1)],
    "many": [(low, low + 25, 1 + low // 25) for low in range(75, 800, 25)],
    "great numbers": [(0, 500_000, 99_999), (500_000, 1_000_000, 1)],
}


@pytest.mark.parametrize("bins", BINS.values(), ids=BINS)
def test_every_histogram_stays_within_its_picture(bins: list[tuple[int, int, int]]) -> None:
    svg = histogram(bins, label="rows", unit="tokens", hue="exam", level=bins[0][0] + 0.5)
    assert inside(svg)
    assert len(rects(svg, "exam")) == sum(rows > 0 for _, _, rows in bins)


def test_a_bar_is_as_high_as_its_rows() -> None:
    svg = histogram([(0, 10, 4), (10, 20, 2)], label="rows", unit="tokens", hue="exam")
    high, low = rects(svg, "exam")
    assert high["height"] == pytest.approx(2 * low["height"], abs=0.2)
    assert high["y"] + high["height"] == low["y"] + low["height"]


def test_great_numbers_are_written_out() -> None:
    written = texts(histogram(BINS["great numbers"], label="rows", unit="tokens", hue="exam"))
    assert "1,000,000" in written
    assert "100,000" in written


def test_one_row_among_thousands_is_still_to_be_seen() -> None:
    svg = histogram([(0, 10, 50_000), (10, 20, 1)], label="rows", unit="tokens", hue="exam")
    assert rects(svg, "exam")[1]["height"] >= 1


def test_there_are_no_half_rows_on_the_axis() -> None:
    for most in range(1, 30):
        svg = histogram([(0, 10, most), (10, 20, 1)], label="rows", unit="", hue="exam")
        assert all("." not in text for text in texts(svg))
        assert rects(svg, "exam")[0]["y"] >= 0


def test_an_open_end_is_drawn_as_wide_as_the_others_and_marked() -> None:
    svg = histogram(BINS["open end"], label="rows", unit="tokens", hue="exam")
    assert len({bar["width"] for bar in rects(svg, "exam")}) == 1
    assert "140+" in texts(svg)


def test_a_histogram_is_told_in_words() -> None:
    svg = histogram([(0, 10, 4), (10, 20, 2_000)], label="<doctor>", unit="tokens", hue="exam")
    name = ElementTree.fromstring(svg).attrib["aria-label"]
    assert name == "<doctor>: 2,004 rows; the highest bar, of 2,000, from 10 to below 20 tokens"


def test_no_rows_are_no_histogram() -> None:
    with pytest.raises(ValueError, match="doctor: no rows"):
        histogram([(0, 10, 0)], label="doctor", unit="tokens", hue="exam")


GROUPS = [("doctor", [("A", 22.8), ("B", 17.2)]), ("nurse", [("A", 10.0), ("B", 90.0)])]


def test_the_highest_bar_of_each_group_is_drawn_strongest() -> None:
    svg = grouped_bars(GROUPS, label="shares", hue="exam", level=20)
    root = ElementTree.fromstring(svg)
    strong = ["faint" not in rect.attrib["class"] for rect in root if rect.tag == "rect"]
    assert strong == [True, False, False, True]
    assert inside(svg)


def test_grouped_bars_are_told_in_words() -> None:
    name = ElementTree.fromstring(grouped_bars(GROUPS, label="shares", hue="exam")).attrib["aria-label"]
    assert name == "shares: doctor A 22.8 %, B 17.2 %; nurse A 10.0 %, B 90.0 %"


def test_no_groups_are_no_picture() -> None:
    with pytest.raises(ValueError, match="shares: no groups"):
        grouped_bars([], label="shares", hue="exam")


FALL = [
    Bar("came in", 0, 200, "200", "consult"),
    Bar(
        "a reason that is so long that it cannot stand on a single line of a picture on a phone",
        150,
        200,
        "−50",
        "drop",
    ),
    Bar("one row", 149, 150, "−1", "drop"),
    Bar("training rows", 0, 149, "149", "consult"),
]


def test_a_waterfall_goes_down_from_the_end_of_the_bar_before() -> None:
    svg = waterfall(FALL, label="consults")
    (whole, left), (long, single) = rects(svg, "consult"), rects(svg, "drop")
    assert whole["width"] == WIDTH
    assert long["x"] == pytest.approx(0.75 * WIDTH)
    assert long["x"] + long["width"] == pytest.approx(WIDTH)
    assert left["width"] == pytest.approx(149 / 200 * WIDTH, abs=0.1)
    assert single["width"] > 1
    assert whole["y"] < long["y"] < single["y"] < left["y"]
    assert inside(svg)


def test_no_row_left_is_no_bar() -> None:
    svg = waterfall([FALL[0], Bar("training rows", 0, 0, "0", "consult")], label="consults")
    assert len(rects(svg, "consult")) == 1


def test_a_long_reason_goes_on_in_the_next_line() -> None:
    written = texts(waterfall(FALL, label="consults"))
    assert "a reason that is so long that it cannot stand" in written
    assert "on a single line of a picture on a phone" in written


def test_a_waterfall_is_told_in_words() -> None:
    name = ElementTree.fromstring(waterfall([FALL[0], FALL[3]], label="consults")).attrib["aria-label"]
    assert name == "consults: came in 200; training rows 149"


def test_a_waterfall_needs_something_that_came_in() -> None:
    with pytest.raises(ValueError, match="consults: nothing came in"):
        waterfall([Bar("came in", 0, 0, "0", "consult")], label="consults")


def test_a_spread_bar_keeps_its_scale_and_cuts_off_what_lies_beyond() -> None:
    svg = spread_bar((0, 25, 50, 75, 400), end=100, hue="exam")
    root = ElementTree.fromstring(svg)
    middle = next(element for element in root if element.tag == "circle")
    whisker = next(element for element in root if "whisker" in element.attrib["class"])
    (box,) = rects(svg, "exam")
    assert float(middle.attrib["cx"]) == 60.0  # half of 0-100 is half of the picture's 120
    assert (box["x"], box["width"]) == (31.0, 58.0)
    assert float(whisker.attrib["x2"]) == 118.0


@pytest.mark.parametrize(
    "svg",
    [
        histogram(BINS["many"], label="rows", unit="tokens", hue="exam", level=300),
        grouped_bars(GROUPS, label="shares", hue="exam", level=20),
        waterfall(FALL, label="consults"),
        spread_bar((1, 2, 3, 4, 5), end=10, hue="exam"),
        forest(
            [Contrasted("g", "sft", (Difference("all", -1, 0, 1, "0", 5, True),))],
            label="",
            unit="",
            worse="",
            better="",
        ),
    ],
    ids=["histogram", "grouped bars", "waterfall", "spread bar", "forest"],
)
def test_no_picture_has_a_colour_or_a_font_of_its_own(svg: str) -> None:
    assert "font" not in svg
    assert "fill" not in svg
    assert "#" not in svg


ROWS = [
    Place("kim", (20.0, 40.0, 70.0), "8 of 20 (40.0 %)", "consult"),
    Place("<lee>", (1.0, 2.0, 3.0, 4.0, 250.0), "3 s", "consult"),
    Place("park", (-5.0,), "unknown", "base"),
]


def test_intervals_beyond_the_scale_are_drawn_at_its_end() -> None:
    svg = ElementTree.fromstring(
        intervals(ROWS, label="shares", scale=[(0, "0"), (50, "50"), (100, "100")], levels=[50])
    )
    width, height = map(float, svg.attrib["viewBox"].split()[2:])
    for element in svg:
        for at, end in (("x1", width), ("x2", width), ("cx", width), ("y1", height), ("y2", height), ("cy", height)):
            assert 0 <= float(element.attrib.get(at, 0)) <= end


def test_a_row_of_five_places_has_a_box_and_a_row_of_one_has_no_line() -> None:
    svg = ElementTree.fromstring(intervals(ROWS, label="shares", scale=[(0, "0"), (100, "100")]))
    kinds = [element.attrib.get("class", "").split()[0] for element in svg if element.tag != "text"]
    assert (kinds.count("dot"), kinds.count("whisker"), kinds.count("box")) == (3, 2, 1)


def test_intervals_are_said_to_those_who_do_not_see_them() -> None:
    svg = ElementTree.fromstring(intervals(ROWS, label="shares", scale=[(0, "0"), (100, "100")]))
    assert svg.attrib["aria-label"] == "shares: kim 8 of 20 (40.0 %); <lee> 3 s; park unknown"


def test_no_intervals_are_no_picture() -> None:
    with pytest.raises(ValueError, match="shares: no rows"):
        intervals([], label="shares", scale=[(0, "0"), (100, "100")])


CHANGES = [
    Contrasted(
        "base → <SFT>",
        "sft",
        (
            Difference("doctor", -3.4, 2.3, 8.0, "+2.3 (−3.4 to +8.0)", 435, False),
            Difference("nurse", -0.2, 3.4, 7.1, "+3.4 (−0.2 to +7.1)", 878, False),
            Difference("all", 1.3, 2.9, 4.5, "+2.9 (+1.3 to +4.5)", 1313, True),
        ),
    ),
    Contrasted("SFT → DPO", "dpo", (Difference("all", -52.0, -12.5, 31.0, "−12.5 (−52.0 to +31.0)", 8, True),)),
]


def plotted(groups: list[Contrasted]) -> ElementTree.Element:
    svg = forest(groups, label="net change", unit="points", worse="← worse", better="better →")
    return ElementTree.fromstring(svg)


def test_a_forest_has_a_square_for_each_subset_and_a_diamond_for_all() -> None:
    drawn = [(element.tag, element.attrib["class"]) for element in plotted(CHANGES) if element.tag != "text"]
    marks = [(tag, kind) for tag, kind in drawn if tag != "line"]
    assert marks == [("rect", "bar sft"), ("rect", "bar sft"), ("polygon", "bar sft"), ("polygon", "bar dpo")]
    assert drawn.count(("line", "zero")) == 2  # one a group
    assert [kind for _, kind in drawn].count("whisker thin sft") == 2


def test_a_squares_area_follows_its_questions() -> None:
    small, large = rects(forest(CHANGES, label="", unit="", worse="", better=""), "sft")
    assert small["width"] ** 2 / large["width"] ** 2 == pytest.approx(435 / 878, abs=0.01)


def test_a_forest_keeps_its_scale_and_its_intervals_on_it() -> None:
    svg = plotted(CHANGES)
    ticks_at = {
        element.text: float(element.attrib["x"])
        for element in svg
        if element.tag == "text" and "middle" in element.attrib["class"]
    }
    assert list(ticks_at) == ["−75", "−50", "−25", "0", "+25", "+50"]
    zero, point = ticks_at["0"], (ticks_at["+50"] - ticks_at["0"]) / 50
    (diamond,) = [element for element in svg if element.attrib.get("class") == "bar dpo"]
    corners = [float(corner.split(",")[0]) for corner in diamond.attrib["points"].split()]
    assert corners == pytest.approx([zero - 52 * point, zero - 12.5 * point, zero + 31 * point, corners[1]], abs=0.2)
    (line,) = {element.attrib["x1"] for element in svg if element.attrib.get("class") == "zero"}
    assert float(line) == zero


def test_zero_is_on_the_scale_where_every_interval_keeps_off_it() -> None:
    groups = [Contrasted("g", "sft", (Difference("all", 8.0, 9.0, 10.0, "+9.0", 50, True),))]
    svg = plotted(groups)
    assert "0" in [element.text for element in svg if element.tag == "text"]
    worse = next(element for element in svg if element.text == "← worse")
    assert float(worse.attrib["x"]) > 40  # ends far enough from the edge to be read


def test_a_forest_is_told_in_words_with_all_its_numbers() -> None:
    assert plotted(CHANGES).attrib["aria-label"] == (
        "net change, points: base → <SFT>: doctor +2.3 (−3.4 to +8.0), nurse +3.4 (−0.2 to +7.1), "
        "all +2.9 (+1.3 to +4.5); SFT → DPO: all −12.5 (−52.0 to +31.0)"
    )


def test_a_forest_needs_rows_and_room() -> None:
    with pytest.raises(ValueError, match="net change: no rows"):
        plotted([Contrasted("base → SFT", "sft", ())])
    with pytest.raises(ValueError, match="net change: no room"):
        plotted([Contrasted("g", "sft", (Difference("치과의사" * 9, -1, 0, 1, "0.0", 5, False),))])


KOREAN = Words(
    step="스텝",
    curve="{label}: {start}스텝 {first}에서 {end}스텝 {last}까지",
    beside="{label}: {first}에서 {last}까지",
    histogram="{label}: {rows}행, 가장 많은 구간은 {low} 이상 {high} 미만 {unit}의 {most}행",
)


def test_pictures_in_another_language_hold_no_english() -> None:
    group = Contrasted("기본 → 학습", "sft", (Difference("의사", -1.0, 0.5, 2.0, "+0.5 (−1.0 ~ +2.0)", 9, False),))
    falling = Curve(((1.0, 2.0), (9.0, 1.0)))
    svgs = [
        line_chart(falling, label="손실", hue="sft", beside=falling, beside_label="검증", words=KOREAN),
        histogram([(0, 10, 4), (10, 20, 2)], label="의사", unit="토큰", hue="exam", level=5, words=KOREAN),
        grouped_bars([("의사", [("가", 22.8), ("나", 17.2)])], label="정답", hue="exam", level=20),
        waterfall([Bar("들어온 행", 0, 2, "2", "consult")], label="상담"),
        intervals([Place("김", (1.0, 2.0, 3.0), "2 %", "consult")], label="비율", scale=[(0, "0"), (100, "100")]),
        forest([group], label="정확도 변화", unit="점", worse="← 낮아짐", better="높아짐 →"),
    ]
    for svg in svgs:
        root = ElementTree.fromstring(svg)
        said = [root.attrib["aria-label"], *texts(svg)]
        assert [text for text in said if any("a" <= letter.lower() <= "z" for letter in text)] == []


def test_a_curve_and_a_histogram_are_told_in_the_words_given() -> None:
    line = line_chart(Curve(((1.0, 2.0), (9.0, 1.0))), label="손실", hue="sft", words=KOREAN)
    bars = histogram([(0, 10, 4), (10, 20, 2_000)], label="의사", unit="토큰", hue="exam", words=KOREAN)
    names = [ElementTree.fromstring(svg).attrib["aria-label"] for svg in (line, bars)]
    assert names == [
        "손실: 1스텝 2에서 9스텝 1까지",
        "의사: 2,004행, 가장 많은 구간은 10 이상 20 미만 토큰의 2,000행",
    ]
