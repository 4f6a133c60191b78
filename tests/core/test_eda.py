"""EDA: what a data lead reads off the training rows before trusting them."""

from collections.abc import Sequence

import pytest

from stages.core import chat, eda
from stages.core.eda import Bin, Eda, FlowStep, Lengths
from stages.core.records import Example


def exam(source: str, question: str, answer: str = "A", id: str = "") -> Example:
    return Example(
        id=id or f"{source}/{question}",
        question=question,
        instruction=chat.EXAM_INSTRUCTION,
        answer=answer,
        source=source,
    )


def consult(question: str, patient_information: str, answer: str, id: str = "c") -> Example:
    return Example(
        id=id,
        question=question,
        instruction=chat.consult_instruction(patient_information),
        answer=answer,
        source="consult",
    )


def half(texts: Sequence[str]) -> list[int]:
    """A stand-in for a tokenizer: a token for every two characters."""
    return [len(text) // 2 for text in texts]


def record(rows: Sequence[Example], flow: Sequence[FlowStep] = (), **more: object) -> Eda:
    return Eda.model_validate(
        {
            "benchmark": {},
            "consult_parts": {},
            "flow": tuple(flow),
            "lengths": tuple(eda.measure(rows, half)),
            "letters": eda.letters(rows),
            **more,
        }
    )


def one(found: Sequence[Lengths], source: str, part: str = "row", unit: str = "characters") -> Lengths:
    wanted = (source, part, unit, None)
    (only,) = [lengths for lengths in found if (lengths.source, lengths.part, lengths.unit, lengths.letter) == wanted]
    return only


OVERHEAD = len(chat.EXAM_INSTRUCTION) + 2 + 1  # a blank line, and the letter


def test_a_row_is_the_user_turn_and_the_answer() -> None:
    found = eda.measure([exam("a", "가"), exam("a", "가나다"), exam("a", "가나"), exam("b", "가" * 11)], None)
    a, everything = one(found, "a"), one(found, "all")
    assert (a.rows, a.minimum, a.median, a.maximum) == (3, OVERHEAD + 1, OVERHEAD + 2, OVERHEAD + 3)
    assert (everything.rows, everything.median, everything.maximum) == (4, OVERHEAD + 2.5, OVERHEAD + 11)


def test_the_parts_of_a_consult_are_measured_without_the_fixed_sentence() -> None:
    found = eda.measure([consult("왜 아플까요?", "34세 여성", "쉬세요.")], None)
    parts = {part: one(found, "consult", part).median for part in ("question", "patient information", "answer")}
    assert parts == {"question": 7, "patient information": 6, "answer": 4}
    assert one(found, "consult").median == len(chat.CONSULT_INSTRUCTION) + 2 + 6 + 2 + 7 + 4


def test_a_consult_of_a_patient_of_whom_nothing_is_known_has_no_patient_information() -> None:
    found = eda.measure([consult("왜 아플까요?", "", "쉬세요.")], None)
    assert one(found, "consult", "patient information").maximum == 0


def test_tokens_stand_beside_characters_where_they_can_be_counted() -> None:
    rows = [exam("a", "가나다라")]
    assert {lengths.unit for lengths in eda.measure(rows, None)} == {"characters"}
    assert one(eda.measure(rows, half), "a", "question", "tokens").median == 2


def test_every_text_is_counted_even_where_there_are_many() -> None:
    asked: list[int] = []

    def count(texts: Sequence[str]) -> list[int]:
        asked.append(len(texts))
        return half(texts)

    rows = [exam("a", "가" * number) for number in range(1, 3_001)]
    assert one(eda.measure(rows, count), "a", "question", "tokens").maximum == 1_500
    assert max(asked) <= eda.BATCH


def test_lengths_are_told_apart_by_right_answer() -> None:
    rows = [exam("a", "가", "A"), exam("a", "가나다", "E"), exam("b", "가나", "A")]
    found = record(rows)
    by_letter = {letter: found.of(eda.EXAM, "characters", "row", letter) for letter in "ABE"}
    assert by_letter["B"] is None
    assert by_letter["A"] is not None
    assert by_letter["A"].rows == 2
    assert by_letter["E"] is not None
    assert by_letter["E"].median == OVERHEAD + 3


def test_percentiles_hold_the_shares_that_they_name() -> None:
    found = one(eda.measure([exam("a", "가" * number) for number in range(1, 102)], None), "a", "question")
    assert (found.percentile_5, found.percentile_25, found.percentile_75, found.percentile_95) == (6, 26, 76, 96)
    assert found.mean == 51


def test_a_single_row_has_its_own_length_as_every_percentile() -> None:
    found = one(eda.measure([exam("a", "가나다")], None), "a", "question")
    assert (found.minimum, found.percentile_5, found.percentile_95, found.maximum) == (3, 3, 3, 3)
    assert found.histogram == (Bin(low=3, high=4, rows=1),)


def test_no_rows_have_no_lengths() -> None:
    assert eda.measure([], half) == []
    assert eda.letters([]) == {}
    assert eda.extremes([]) == ()
    assert record([]).rows == 0


@pytest.mark.parametrize(
    "values",
    [[7], [7, 7, 7], list(range(88, 800)), [0, 1], [10, 1_000_000], [*range(100, 200)] * 9 + [1_000_000], [300] * 500],
    ids=["one", "all equal", "many", "zero", "two far apart", "a megabyte among many", "many equal"],
)
def test_every_row_stands_in_one_bin_with_round_edges(values: list[int]) -> None:
    edges = eda.bin_edges(values)
    found = eda.histogram(sorted(values), edges)
    assert sum(bin.rows for bin in found) == len(values)
    assert edges[0] <= min(values)
    assert edges[-1] > max(values)
    steps = {bin.high - bin.low for bin in found[:-1]}
    assert len(steps) <= 1
    assert len(found) <= 2 * eda.BINS


def test_one_enormous_row_does_not_press_the_others_into_one_bar() -> None:
    values = [*range(100, 200)] * 9 + [1_000_000]
    found = eda.histogram(sorted(values), eda.bin_edges(values))
    assert sum(bin.rows > 0 for bin in found) > 10
    assert found[-1].high > 1_000_000


def test_subsets_share_their_bins_so_that_pictures_can_be_compared() -> None:
    rows = [exam("a", "가" * number) for number in range(10, 90)] + [exam("b", "가" * 300)]
    found = eda.measure(rows, None)
    assert [b.low for b in one(found, "a").histogram] == [b.low for b in one(found, "b").histogram]


def test_sums_stand_only_where_there_is_something_to_sum() -> None:
    alone = record([exam("kormedmcqa/doctor", "가")])
    assert [lengths.source for lengths in alone.all_sources()] == ["kormedmcqa/doctor"]
    both = record([exam("a", "가"), exam("b", "가"), consult("왜?", "", "네.")])
    assert [lengths.source for lengths in both.all_sources()] == ["a", "b", "exam questions", "consult", "all"]


def test_letters_are_counted_by_source_with_none_left_out() -> None:
    rows = [
        exam("a", "1", "A"),
        exam("a", "2", "A"),
        exam("a", "3", "C"),
        exam("b", "4", "E"),
        consult("왜?", "", "네."),
    ]
    found = eda.letters(rows)
    assert found["a"] == {"A": 2, "B": 0, "C": 1, "D": 0, "E": 0}
    assert found[eda.EXAM]["A"] + found[eda.EXAM]["E"] == 3
    assert list(found) == ["a", "b", eda.EXAM]


def test_letters_that_are_equally_frequent_are_all_named() -> None:
    assert eda.most_frequent({"A": 3, "B": 1, "C": 0}) == ("A", 0.75)
    assert eda.most_frequent({"A": 1, "B": 2, "C": 2}) == ("B, C", 0.4)


def test_label_tokens_are_those_of_the_answers_and_their_ends_by_source() -> None:
    rows = [
        consult("왜 이렇게 아플까요?", "34세 여성", "쉬세요."),
        exam("b", "가"),
        exam("a", "가" * 90),
        exam("b", "가"),
    ]
    rows.append(consult("왜 또 그럴까요?", "", "쉬세요."))  # the same answer counts again
    end = len(chat.END_OF_TURN) + 1
    found = eda.label_tokens(rows, lambda texts: [len(text) for text in texts])
    assert [(one.source, one.what, one.rows, one.tokens) for one in found] == [
        ("b", "exam questions", 2, 2 * (1 + end)),
        ("a", "exam questions", 1, 1 + end),
        ("consult", "consults", 2, 2 * (4 + end)),
    ]
    assert record(rows, label_tokens=tuple(found)).label_share("consults") == (8 + 2 * end) / (11 + 5 * end)


def test_the_longest_and_the_shortest_rows_are_named_by_kind() -> None:
    rows = [exam("a", "가" * number, id=f"a/{number}") for number in (5, 1, 9, 7)]
    questions, consults = eda.extremes([*rows, consult("왜?", "", "네.", id="c-1")], each=2)
    assert [row.id for row in questions.longest] == ["a/9", "a/7"]
    assert [row.id for row in questions.shortest] == ["a/1", "a/5"]
    assert [row.id for row in consults.longest] == ["c-1"]


def step(name: str, before: int, after: int, what: eda.What = "consults", **reasons: dict[str, int]) -> FlowStep:
    return FlowStep(step=name, what=what, before=before, after=after, **reasons)


def told(flow: Sequence[FlowStep], what: eda.What = "consults") -> list[tuple[str, str, int, int]]:
    return [(move.kind, move.reason, move.low, move.high) for move in eda.moves(flow, what)]


def test_the_waterfall_goes_down_by_step_and_reason_to_the_training_rows() -> None:
    flow = [
        step("quality", 10, 7, dropped={"advert": 1, "too short": 2}),
        step("decontamination", 50, 49, "exam questions", dropped={"stem stands in the benchmark": 1}),
        step("split", 7, 3, set_aside={"held out": 4}),
    ]
    assert told(flow) == [
        ("in", "", 0, 10),
        ("dropped", "too short", 8, 10),
        ("dropped", "advert", 7, 8),
        ("set aside", "held out", 3, 7),
        ("out", "", 0, 3),
    ]


def test_a_step_without_drops_takes_no_bar() -> None:
    assert told([step("quality", 4, 4, dropped={"advert": 0})]) == [("in", "", 0, 4), ("out", "", 0, 4)]


def test_rows_that_vanish_without_a_reason_are_not_hidden() -> None:
    within = [step("quality", 10, 7, dropped={"advert": 1})]
    assert ("unexplained", "", 7, 9) in told(within)
    between = [step("collect", 10, 10), step("quality", 8, 8)]
    assert ("unexplained", "", 8, 10) in told(between)


def test_several_answers_to_one_consult_are_more_rows_and_never_fewer_than_none() -> None:
    flow = [step("restructure", 10, 30, dropped={"no valid answer": 20})]
    assert told(flow) == [
        ("in", "", 0, 10),
        ("added", "", 10, 50),
        ("dropped", "no valid answer", 30, 50),
        ("out", "", 0, 30),
    ]


def test_nothing_that_came_in_makes_no_waterfall() -> None:
    assert told([step("quality", 3, 3)], "exam questions") == []


def test_the_published_benchmark_is_known_by_its_counts() -> None:
    published = {"a": {"train": 3_401, "dev": 1_059, "test": 3_000, "fewshot": 5}, "b": {"test": 9}}
    assert record([], benchmark=published).published_benchmark
    assert not record([], benchmark={"a": {"train": 3_400, "dev": 1_059, "test": 3_009}}).published_benchmark


def test_consults_of_all_parts_are_compared_where_they_were_measured() -> None:
    trained, kept = [consult("왜?", "", "네.")], [consult("왜?", "", "네."), consult("왜 아플까요?", "", "네.")]
    only_trained = record(trained).all_consults()
    everything = record(trained, consult_lengths=tuple(eda.measure(kept, None))).all_consults()
    assert only_trained is not None
    assert everything is not None
    assert (only_trained.rows, everything.rows) == (1, 2)


def test_a_record_comes_back_from_disk_as_it_was() -> None:
    found = record([exam("a", "가"), consult("왜?", "", "네.")], [step("quality", 3, 1, dropped={"advert": 2})])
    assert Eda.model_validate_json(found.model_dump_json()) == found
