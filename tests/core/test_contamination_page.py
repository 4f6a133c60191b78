"""contamination.html: a person sees what was alike, in which words, and what became of the row."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from stages.core.contamination_page import Counts, Piece, Settings, marked, render_contamination, runs
from stages.core.decontamination import Hit, Item, Rule, find_hits, near_duplicates

COUNTS = Counts(exam_questions=3401, consults=1, protected={"test": 3009, "few-shot": 20})
CHOICES = ("두통", "복통", "흉통", "요통", "관절통")
TEST = Item(
    "bench/test/1", "열이 나는 58세 남자가 사흘 전부터 기침을 하여 병원에 왔다. 우선 시행할 검사로 옳은 것은?", CHOICES
)
SAME = Item("bench/train/1", TEST.text, CHOICES)
OTHERS = ("가", "나", "다", "라", "마")
REWORDED = Item("bench/train/2", TEST.text.replace("58세 남자", "60세 여자"), OTHERS)


class Page(HTMLParser):
    """The parts of a page that the tests ask for: its text, its marked text, and what it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.marks: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.within: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "wbr", "link"):
            self.within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.within.pop() == tag
        self.texts.append(" " if tag in ("td", "th", "span", "li") else "")

    def handle_data(self, data: str) -> None:
        if "style" not in self.within:
            self.texts.append(data)
        if "mark" in self.within:
            self.marks.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def page(*rows: Item, rule: Rule = "stem", protected: tuple[Item, ...] = (TEST,)) -> Page:
    hits = find_hits(rows, protected, rule=rule, threshold=0.5)
    return Page(render_contamination(hits, COUNTS, Settings(rule, 0.5)))


def test_both_texts_stand_side_by_side_with_their_ids_similarities_and_the_reason() -> None:
    shown = page(REWORDED)
    (hit,) = find_hits([REWORDED], [TEST], rule="stem", threshold=0.5)
    for wanted in (REWORDED.text, TEST.text, REWORDED.id, TEST.id, hit.reason, f"{hit.stem_similarity:.2f}"):
        assert wanted in shown.text


def test_what_both_texts_have_is_marked_and_what_one_has_alone_is_not() -> None:
    marks = page(REWORDED).marks
    assert marks.count("자가 사흘 전부터 기침을 하여 병원에 왔다. 우선 시행할 검사로 옳은 것은") == 2
    assert not any("58" in mark or "60" in mark for mark in marks)


def test_the_numbers_in_words_are_those_of_the_hits() -> None:
    text = page(SAME, REWORDED, rule="stem_and_choices").text
    assert "3,401 exam questions and 1 consult were compared with the benchmark's 3,009 test and 20 few-shot" in text
    assert "2 rows are like one of these: 1 dropped, 1 kept." in text
    assert "Same stem, same choices 1 1 0" in text
    assert "Similar stem, other choices or none 1 0 1" in text


def test_a_row_with_several_hits_stands_once_with_its_gravest_and_the_others_folded_under_it() -> None:
    twins = (Item("bench/test/2", TEST.text, OTHERS), Item("bench/test/3", TEST.text, OTHERS[::-1]))
    shown = page(SAME, REWORDED, protected=(*twins, TEST))
    assert "2 rows are like one of these: 2 dropped, 0 kept." in shown.text
    assert shown.tags.count("article") == 2
    assert shown.text.count(SAME.id) == 1
    assert shown.tags.count("details") == 2
    first = shown.text.index(SAME.id)
    assert first < shown.text.index("bench/test/1") < shown.text.index("2 more benchmark items")
    assert shown.text.index("2 more benchmark items") < shown.text.index("bench/test/2") < shown.text.index(REWORDED.id)


def answered(item: Item, answer: str) -> Item:
    return replace(item, answer=answer)


def test_the_right_choice_is_told_in_words_on_both_sides() -> None:
    shown = page(answered(REWORDED, "다"), protected=(answered(TEST, "요통"),)).text
    hits = shown[shown.index("Training row") :]
    assert hits.count("right answer") == 2
    assert "다 right answer 라" in hits
    assert "요통 right answer 관절통" in hits


def test_a_reader_can_tell_the_same_question_from_the_same_subject_and_from_a_generic_stem() -> None:
    generic = Item("bench/test/5", "「가상법」상 봉합사의 업무는?", CHOICES, answer="두통")
    opposite = Item("bench/train/5", "「가상법」상 봉합사의 업무가 아닌 것은?", OTHERS, answer="가")
    same = Item("bench/train/6", TEST.text.replace("58세", "60세"), ("흉통", *OTHERS[1:]), answer="흉통")
    text = page(same, opposite, protected=(answered(TEST, "흉통"), generic)).text
    assert "dropped same answer stem" in text
    assert "dropped other answer asks something else generic stem stem" in text
    assert "The right answer is the same in 1 of them, another one in 1" in text
    assert "of which 1 share no more than a generic stem" in text
    assert text.index(same.id) < text.index(opposite.id)


def test_rows_that_are_not_trained_on_stand_apart_and_are_not_counted_as_kept() -> None:
    because = "dev questions are not trained on"
    dev = find_hits([SAME], [TEST], rule="stem", threshold=0.5, kept_because=because)
    trained = find_hits([REWORDED], [TEST], rule="stem", threshold=0.5)
    text = Page(render_contamination([*dev, *trained], COUNTS, Settings("stem", 0.5))).text
    assert "1 row is like one of these: 1 dropped, 0 kept." in text
    assert "1 row not trained on is like a benchmark question, too, and only listed." in text
    assert "Not trained on 1 0 1" in text
    assert text.index(REWORDED.id) < text.index("Row not trained on " + SAME.id)
    assert f"; kept: {because}" in text


def test_where_the_benchmark_is_only_reported_the_page_does_not_say_that_nothing_is_dropped() -> None:
    copy = Item("bench/train/9", SAME.text, CHOICES)
    hits = find_hits([SAME, copy], [TEST], rule="report", threshold=0.5) + near_duplicates([SAME, copy], threshold=0.5)
    text = Page(render_contamination(hits, COUNTS, Settings("report", 0.5))).text
    assert "nothing is dropped" not in text
    assert "2 rows are like one of these: 0 dropped, 2 kept." in text
    assert "1 row repeated an earlier row and was dropped." in text
    assert "one that repeats an earlier row is dropped all the same" in text


def test_rows_that_repeat_earlier_rows_have_a_part_of_their_own() -> None:
    hits = near_duplicates([SAME, Item("bench/train/9", SAME.text, CHOICES)], threshold=0.5)
    text = Page(render_contamination(hits, COUNTS, Settings("stem", 0.5))).text
    assert "None is like one of these. 1 row repeated an earlier row and was dropped." in text
    assert "Earlier row bench/train/1" in text


def test_without_hits_the_page_says_so() -> None:
    assert "None is like one of these." in page().text
    assert "article" not in page().tags


@pytest.mark.parametrize("rule", ["stem", "stem_and_choices", "report"])
def test_the_rule_and_the_threshold_are_told(rule: Rule) -> None:
    text = page(SAME, rule=rule).text
    assert f"rule is {rule}:" in text
    assert "0.50 of its three-character shingles" in text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    shown = page(SAME, REWORDED)
    assert "script" not in shown.tags
    assert all(link.startswith("#") for link in shown.loads)


def test_markup_in_a_row_stays_text() -> None:
    evil = "<script>alert(1)</script><i>" + TEST.text
    shown = page(Item("<i>row</i>", evil, ("<img src=x>", *CHOICES[1:])))
    assert evil in shown.text
    assert {"script", "i", "img"}.isdisjoint(shown.tags)


def test_many_hits_are_folded_into_batches() -> None:
    rows = [Item(f"row-{number}", TEST.text, CHOICES) for number in range(2000)]
    html = render_contamination(find_hits(rows, [TEST], rule="stem", threshold=0.5), COUNTS, Settings("stem", 0.5))
    assert html.count("<article") == 2000
    assert html.count("<details") == 80
    assert len(re.findall(r"<details[^>]* open", html)) == 1
    assert len(html) < 8_000_000


def test_a_megabyte_of_text_is_shortened_where_the_other_text_has_no_part() -> None:
    story = "기침을 합니다. " * 60_000
    hit = Hit(
        row_id="consult-1",
        hit_id=TEST.id,
        kind="contained",
        against="benchmark",
        stem_similarity=1.0,
        choices_similarity=None,
        dropped=True,
        reason="100% of the exam question stands in this text",
        row_text=story + TEST.text + story,
        hit_text=TEST.text,
    )
    html = render_contamination([hit], COUNTS, Settings("stem", 0.5))
    assert len(html) < 20_000
    assert html.count(f"<mark>{TEST.text.rstrip('?')}</mark>") == 2
    assert "characters …" in html


def test_spacing_and_case_do_not_hide_what_is_shared() -> None:
    assert marked("HbA1c 검사 는", runs(["hba1c검사는"])) == [Piece("HbA1c 검사 는", True)]
    assert marked("가나다라마", runs(["바사아자차"])) == [Piece("가나다라마", False)]
    assert marked("복통", runs(["복통", "두통"])) == [Piece("복통", True)]
    assert marked("", runs([""])) == []
