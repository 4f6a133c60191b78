"""data.html: the numbers of the record, in a page that asks nothing of anyone."""

import re
from typing import Any

import pytest

from stages.core import chat, data_page, eda
from stages.core.eda import Eda, FlowStep, Hits
from stages.core.languages import ENGLISH, korean
from stages.core.records import Example
from tests.pages import assert_asks_nothing_of_the_network, words

PUBLISHED = {"all": {"train": 3_401, "dev": 1_059, "test": 3_009}}


def exam(number: int, letter: str, source: str = "kormedmcqa/doctor") -> Example:
    return Example(
        id=f"{source}/train/{number}",
        question="가" * 10 * number,
        instruction=chat.EXAM_INSTRUCTION,
        answer=letter,
        source=source,
    )


def consult(number: int) -> Example:
    return Example(
        id=f"consult-{number}",
        question="물" * number,
        instruction=chat.consult_instruction("34세 여성"),
        answer="쉬세요.",
        source="consult",
    )


ROWS = [exam(number, "ABCDE"[number % 5]) for number in range(1, 31)]
ROWS += [exam(number, "B", "kormedmcqa/nurse") for number in range(1, 6)]
CONSULTS = [consult(number) for number in range(1, 25)]
FLOW = (
    FlowStep(step="duplicates", what="exam questions", before=36, dropped={"repeats an earlier row": 1}, after=35),
    FlowStep(step="quality", what="consults", before=40, dropped={"advert": 9, "too <short>": 1}, after=30),
    FlowStep(step="split", what="consults", before=30, set_aside={"held out from all training": 6}, after=24),
)


def facts(rows: list[Example], **more: Any) -> Eda:
    found = {
        "benchmark": {"doctor": {"train": 36, "test": 9}},
        "consult_parts": {},
        "flow": FLOW,
        "lengths": tuple(eda.measure(rows, lambda texts: [len(text) // 2 for text in texts])),
        "letters": eda.letters(rows),
        "extremes": eda.extremes(rows),
        "tokenizer": "google/gemma-2-2b-it",
    }
    return Eda.model_validate(found | more)


def page(rows: list[Example], **more: Any) -> str:
    return data_page.render(facts(rows, **more), "run <1>")


def test_the_page_says_what_came_of_the_rows() -> None:
    text = words(page(ROWS + CONSULTS))
    assert "59 training rows were prepared for SFT: 35 exam questions and 24 consults." in text
    assert "Dropped on the way: 1 of 36 exam questions and 10 of 40 consults." in text
    assert "40 consults came in; 24 became training rows." in text
    assert "Set aside for another use: 6 held out from all training." in text
    assert "Dropped: 10 (25.0 %), the most for one reason, 9, at quality: advert." in text


def test_rows_that_a_step_made_count_as_rows_that_can_be_dropped() -> None:
    flow = (FlowStep(step="restructure", what="consults", before=10, dropped={"no valid answer": 26}, after=24),)
    text = words(page(CONSULTS, flow=flow))
    assert "Dropped on the way: 26 of 50 consults." in text
    assert "10 consults came in, 40 more rows were made of them; 24 became training rows." in text
    assert "Dropped: 26 (52.0 %), all of them at restructure: no valid answer." in text


def test_rows_that_vanished_are_said() -> None:
    flow = (FlowStep(step="quality", what="consults", before=30, after=24),)
    assert "24 became training rows. 6 went without a recorded reason." in words(page(CONSULTS, flow=flow))


def test_the_waterfall_is_said_to_those_who_do_not_see_it() -> None:
    html = page(ROWS + CONSULTS)
    assert (
        'aria-label="consults, from what came in to training rows: came in 40; quality: advert −9 (22.5 %); '
        "quality: too &lt;short&gt; −1 (2.5 %); split, set aside: held out from all training −6 (15.0 %); "
        'training rows 24 (60.0 %)"'
    ) in html


def test_minimum_median_and_maximum_stand_by_source_and_letter() -> None:
    text = words(page(ROWS + CONSULTS))
    row = chat.user_turn(chat.EXAM_INSTRUCTION, "")
    assert f"nurse (5) {len(row) + 11} {len(row) + 31} {len(row) + 51}" in text
    assert f"D (6) {len(row) + 31} {len(row) + 156} {len(row) + 281}" in text


def test_the_published_numbers_stand_beside_ours_only_where_they_can_be_compared() -> None:
    assert "published report" not in words(page(ROWS))
    same_benchmark = words(page(ROWS, benchmark=PUBLISHED))
    assert "published report not measured by us" in same_benchmark
    assert "exam questions, together 7,469 7,469" in same_benchmark
    assert "2,108" not in same_benchmark
    with_consults = words(page(ROWS + CONSULTS))
    assert "consults 24 373" in with_consults
    assert "2,108" in with_consults
    assert "7,469" not in with_consults


def test_why_tokens_are_missing_is_said() -> None:
    html = page(ROWS, lengths=tuple(eda.measure(ROWS, None)), tokenizer=None, tokens_missing="the model is gated")
    assert "Tokens were not counted: the model is gated." in words(html)
    assert "tokens<small" not in html


def test_what_was_not_looked_for_is_not_called_absent() -> None:
    unsought = words(page(ROWS))
    assert "This was not looked for" in unsought
    assert "None was found." not in unsought
    sought = words(page(ROWS, hits=(), quality={}, masks={}))
    assert "None was found." in sought
    assert "Nothing was found to mask." in sought


def test_checks_are_shown_with_their_numbers_and_korean_is_marked_as_such() -> None:
    html = page(
        ROWS,
        hits=(Hits(reason="stem nearly stands in the benchmark", dropped=16, kept=3),),
        quality={"no_greeting": 61},
        masks={"[이름]": 44},
    )
    text = words(html)
    assert "stem nearly stands in the benchmark 16 3" in text
    assert "no greeting 61" in text
    assert '<span lang="ko">[이름]</span>' in html


def test_rows_are_named_and_no_text_of_them_is_shown() -> None:
    html = page(ROWS + CONSULTS)
    assert "<code>consult-24</code>" in html
    assert "물" not in html
    assert "34세" not in html


def test_nothing_can_inject_markup() -> None:
    html = page(ROWS, quality={"<script>alert(1)</script>": 1}, tokenizer="<img src=x>")
    assert "<script" not in html
    assert "<img" not in html
    assert "run &lt;1&gt;" in html


@pytest.mark.parametrize(
    "rows",
    [[], ROWS[:1], CONSULTS[:1], ROWS[:3], CONSULTS],
    ids=["none", "one question", "one consult", "few", "consults alone"],
)
def test_a_page_is_made_of_whatever_rows_there_are(rows: list[Example]) -> None:
    text = words(page(rows, flow=(), benchmark={}))
    assert "No benchmark was read." in text
    assert ("No row was left to train on." in text) == (not rows)


def test_the_page_asks_nothing_of_the_network() -> None:
    assert_asks_nothing_of_the_network(page(ROWS + CONSULTS))


def test_pictures_speak_the_language_of_their_page() -> None:
    found = facts(ROWS + CONSULTS)
    pictures = [
        data_page.flow_picture(korean(), found, "exam questions"),
        *(data_page.length_picture(korean(), lengths) for lengths in found.lengths if not lengths.letter),
        data_page.letters_picture(korean(), found),
    ]
    for picture in pictures:
        said = re.sub("<[^>]*?(aria-label=[^>]*)?>", r" \1 ", str(picture)).replace("aria-label", "")
        assert set(re.findall("[A-Za-z]{2,}", said)) <= {"kormedmcqa"}, said
    assert set(data_page.names(korean())) == set(data_page.names(ENGLISH))
