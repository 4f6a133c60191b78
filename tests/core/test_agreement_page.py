"""agreement.html: what a reader is told, and what is not claimed."""

import re
from collections.abc import Sequence

import pytest

from stages.core import agreement_page, agreement_wording
from stages.core.agreement import Alpha
from stages.core.languages import ENGLISH, korean
from stages.core.records import Response
from tests.pages import assert_asks_nothing_of_the_network, words
from tests.panels import PEOPLE, TRUTH, answers, found


def page(*responses: Sequence[Response]) -> str:
    return agreement_page.render(found(*responses), "run <1>")


def told(*responses: Sequence[Response]) -> str:
    return words(page(*responses)).replace("\u00a0", " ")


def test_a_reader_is_told_what_alpha_means_and_what_it_does_not() -> None:
    text = told(*PEOPLE)
    assert "What alpha means." in text
    assert "What it does not mean. It does not say that the chosen answers are right" in text


def test_who_is_far_off_stands_there_with_the_numbers_and_the_rule() -> None:
    text = told(*PEOPLE)
    assert "3 annotators gave 90 responses to all 30 comparisons." in text
    assert "park is far off the others" in text
    assert "park chooses A in 30 of 30 (100 %), the others in 28 of 54 (51.9 %): p < 0.001." in text
    assert "park takes 4.0 s for an answer (median of 35), the others 30 s (median of 70)." in text
    assert "nobody's responses are dropped for it" in text


def test_one_annotator_with_three_responses_is_told_as_what_it_is() -> None:
    text = told(answers("kim", ["a", "b", "tie"]))
    assert "1 annotator gave 3 responses to 3 of 30 comparisons." in text
    assert "No comparison was judged by two annotators, so how far they agree is not known." in text
    assert "With one annotator there is nobody to compare with." in text
    assert "No hidden repeat was answered" in text
    assert "no lean to a side shown (p = 1.00); with so few, none could have been shown." in text
    assert "Cohen's h" not in text
    assert "Two by two" not in text
    assert "None was judged twice." in text


def test_no_lean_is_claimed_where_none_is_shown() -> None:
    text = told(answers("kim", TRUTH), answers("lee", TRUTH))
    assert ": no lean to a side shown (p = " in text
    assert "a lean to A shown" not in text


def test_a_lean_that_is_shown_is_named() -> None:
    assert "A got more votes in 30 of 30 (100 %): a lean to A shown (p < 0.001)." in told(
        answers("kim", ["a"] * 30), answers("lee", ["a"] * 29)
    )


def test_who_keeps_the_side_at_a_repeat_is_seen() -> None:
    assert "In 6 of 6 the side stayed the same and the text did not, 6 × A and 0 × B: a lean to A shown" in told(
        answers("kim", ["a"] * 30, repeats=6)
    )


def test_simulated_annotators_are_named_and_have_no_pace() -> None:
    html = page(answers("simulated-1", TRUTH, every=0), answers("simulated-2", TRUTH, every=0))
    assert "Simulated annotators: a rule with seeded disagreement, no human judged these answers." in words(html)
    assert "No annotator’s pace is known" in words(html)
    assert "imulated annotators: a rule" not in page(*PEOPLE)


def test_undecided_comparisons_stand_there_by_id_with_the_votes() -> None:
    text = told(
        answers("kim", ["a", "b"]),
        answers("lee", ["b", "b"]),
        answers("professor-han", ["tie"], round="adjudication"),
    )
    assert "1 of 2 comparisons that two or more judged without a majority; 1 decided by an adjudicator." in text
    assert "comparison-00 A better 1, B better 1 tie" in text


def test_safety_flags_are_counted() -> None:
    text = told(answers("kim", ["b"], unsafe_a=("missed_emergency", "other")))
    assert "1 comparison with an answer marked as unsafe, none by more than one person." in text
    assert "Reasons given: missed emergency 1, other 1." in text


def test_every_pair_of_annotators_has_its_kappa() -> None:
    text = told(answers("kim", TRUTH), answers("lee", TRUTH), answers("park", ["a", "a"]))
    assert "Cohen’s kappa lee park kim 1.00 30 shared" in text
    assert "2 shared" in text


def test_the_page_asks_nothing_of_the_network_and_no_name_becomes_markup() -> None:
    html = page(*PEOPLE)
    assert_asks_nothing_of_the_network(html)
    assert "run &lt;1&gt;" in html


def test_twenty_annotators_have_a_page() -> None:
    people = [answers(f"doctor-{number}", TRUTH[number:] + TRUTH[:number]) for number in range(20)]
    html = page(*people)
    assert html.count("shared</small>") == 190


def alpha(value: float, low: float | None, high: float | None, comparisons: int = 50, same: float = 0.7) -> Alpha:
    return Alpha(value, low, high, comparisons, 2 * comparisons, same, 0.3, 0)


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (alpha(0.05, -0.2, 0.3), "0.05 (95 % interval −0.20 to 0.30): no agreement beyond chance shown."),
        (alpha(-0.4, -0.6, -0.1), "they differ more than by chance."),
        (alpha(0.4, 0.3, 0.5), "more than chance, and less than the 0.667 that Krippendorff asks for"),
        (alpha(0.6, 0.5, 0.7), "more than chance; whether it reaches Krippendorff's 0.667 is not shown."),
        (alpha(0.75, 0.68, 0.85), "beyond chance, and enough for Krippendorff's 0.667."),
        (alpha(0.9, 0.82, 0.95), "beyond chance, and firm by Krippendorff's 0.8."),
        (
            alpha(0.9, 0.82, 0.95, comparisons=9),
            "(95 % interval 0.82 to 0.95): too few comparisons to conclude anything.",
        ),
        (alpha(1.0, None, None, same=1.0), "does not prove that nobody ever will."),
        (alpha(0.0, None, None, comparisons=1), "one comparison gives no interval, and shows next to nothing."),
    ],
)
def test_alpha_is_called_what_its_interval_allows(measured: Alpha, verdict: str) -> None:
    assert verdict in agreement_wording.agreed(measured)


@pytest.mark.parametrize("value", [-0.7, -0.3, 0.0, 0.4, 1.0])
def test_alpha_stays_on_its_scale_in_the_picture(value: float) -> None:
    picture = agreement_page.alpha_picture(ENGLISH, alpha(value, value - 0.1, min(1, value + 0.1)))
    assert f"alpha, 95 % interval {value:.2f}".replace("-", "−") in str(picture)


def test_an_alpha_that_is_not_defined_has_no_picture() -> None:
    assert agreement_page.alpha_picture(ENGLISH, Alpha(None, None, None, 0, 0, None, None, 0)) is None


LATIN = re.compile(r"(?!simulated\b)[A-Za-z]{2,}")


def spoken(picture: object) -> str:
    """What a picture says, to those who see it and to those who do not."""
    return " ".join([*re.findall(r">([^<]+)<", str(picture)), *re.findall(r'aria-label="([^"]*)"', str(picture))])


def test_pictures_speak_the_language_of_their_page() -> None:
    panel = found(*PEOPLE)
    drawn = agreement_page.names(korean())
    pictures = [
        agreement_page.alpha_picture(korean(), panel.alpha),
        agreement_page.alpha_picture(korean(), alpha(-0.3, None, None)),
        agreement_page.shares_picture(
            korean(), agreement_page.by_annotator(korean(), panel, "side", panel.side_a.comparisons), "A를 고른 비율"
        ),
        agreement_page.pace_picture(korean(), panel),
        agreement_page.pattern_picture(korean(), panel),
    ]
    said = [re.sub(r"\b(kim|lee|park)\b", "", spoken(picture)) for picture in pictures]
    assert [LATIN.findall(text) for text in said] == [[]] * 5
    assert "우연" in said[0]
    assert "전체" in said[2]
    assert set(drawn) == set(agreement_page.names(ENGLISH))
