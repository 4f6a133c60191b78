"""Agreement: against published examples and another implementation, and what must not be called a bias."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from nltk.metrics.agreement import AnnotationTask
from numpy.typing import NDArray

from stages.core.agreement import VALUES, Agreement, alpha, alphas, kappa, measure
from stages.core.pairing import swap
from stages.core.recipe import Agreement as Settings
from stages.core.records import Candidate, Choice, Comparison, Flag, Response

START = datetime(2026, 5, 4, 9, tzinfo=UTC)
KRIPPENDORFF: dict[str, tuple[list[str], float]] = {  # Computing Krippendorff's Alpha-Reliability (2011), A, B and C
    "binary, two observers": (["0100000010", "1110010000"], 0.095),
    "nominal, two observers": (["aabbdcccedda", "babbbccceddd"], 0.692),
    "nominal, four observers, missing": (
        ["123321412...", "1233224125.3", ".3332342251.", "12332441251."],
        0.743,
    ),
}


def table(observers: Sequence[str]) -> NDArray[np.int64]:
    """Counts of each value in the units that at least two observers judged; a dot is a missing value."""
    values = sorted({value for observer in observers for value in observer} - {"."})
    units = [[unit.count(value) for value in values] for unit in zip(*observers, strict=True)]
    return np.array([unit for unit in units if sum(unit) > 1], dtype=np.int64)


def theirs(observers: Sequence[str]) -> float:
    """nltk's alpha, from the units that at least two observers judged: it cannot take others."""
    judged = [at for at, unit in enumerate(zip(*observers, strict=True)) if len(unit) - unit.count(".") > 1]
    rows = [(str(who), at, values[at]) for who, values in enumerate(observers) for at in judged if values[at] != "."]
    return float(AnnotationTask(rows).alpha())


@pytest.mark.parametrize("name", KRIPPENDORFF)
def test_alpha_is_the_published_one(name: str) -> None:
    observers, published = KRIPPENDORFF[name]
    found = alpha(table(observers), 100, seed=0).value
    assert found is not None
    assert round(found, 3) == published


@pytest.mark.parametrize("seed", range(12))
def test_alpha_is_nltks_whatever_is_missing(seed: int) -> None:
    rng = random.Random(seed)
    units = rng.randint(8, 40)
    truth = rng.choices("ABCD", k=units)
    observers = [
        "".join("." if rng.random() < 0.3 else t if rng.random() < 0.6 else rng.choice("ABCD") for t in truth)
        for _ in range(rng.randint(2, 6))
    ]
    assert alpha(table(observers), 100, seed=0).value == pytest.approx(theirs(observers))


def test_a_unit_drawn_twice_counts_twice() -> None:
    rows = np.array([[3, 0, 0, 0], [1, 2, 0, 0], [0, 1, 0, 1]])
    often = np.array([[2, 1, 3]])
    drawn_out = np.repeat(rows, often[0], axis=0)
    assert alphas(rows, often)[0] == pytest.approx(alpha(drawn_out, 100, seed=0).value)


def test_the_interval_is_that_of_resampling_units_one_by_one() -> None:
    rng = np.random.default_rng(5)
    rows = rng.multinomial(3, [0.5, 0.3, 0.1, 0.1], size=60)
    found = alpha(rows, 4000, seed=1)
    one_by_one = [alpha(rows[rng.integers(0, 60, 60)], 100, seed=0).value for _ in range(1500)]
    low, high = np.quantile(np.array(one_by_one, dtype=float), (0.025, 0.975))
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


def test_the_same_seed_gives_the_same_interval() -> None:
    rows = table(KRIPPENDORFF["nominal, four observers, missing"][0])
    assert alpha(rows, 200, seed=3) == alpha(rows, 200, seed=3) != alpha(rows, 200, seed=4)


def test_one_value_throughout_has_no_alpha() -> None:
    found = alpha(np.array([[2, 0, 0, 0], [3, 0, 0, 0]]), 100, seed=0)
    assert (found.value, found.low, found.same, found.one_valued) == (None, None, 1.0, 100)


def test_where_nobody_differed_there_is_no_interval() -> None:
    found = alpha(np.array([[2, 0, 0, 0], [0, 2, 0, 0]] * 20), 100, seed=0)
    assert (found.value, found.low, found.high) == (1.0, None, None)


def test_resamples_of_one_value_are_counted_and_many_of_them_leave_no_interval() -> None:
    found = alpha(np.array([[2, 0, 0, 0]] * 20 + [[1, 1, 0, 0]]), 1000, seed=0)
    assert found.one_valued > 250  # (20/21)^21 = 0.36 of them
    assert found.value is not None
    assert found.low is None


def test_nothing_judged_twice_has_no_alpha() -> None:
    assert alpha(np.zeros((0, 4), dtype=np.int64), 100, seed=0).comparisons == 0


def candidate(id: str, length: int) -> Candidate:
    text = (id * length)[:length]
    return Candidate(
        id=id,
        consult_id=id[:-1],
        text=text,
        checkpoint="sft",
        temperature=0.9,
        top_p=0.95,
        seed=0,
        tokens=9,
        finished=True,
    )


def comparison(number: int, longer: str = "a") -> Comparison:
    """Answers of 30 and 20 characters; `longer` is the side of the longer one, or `neither`."""
    a, b = (30 if longer == side else 20 for side in "ab")
    consult = f"consult-{number:03}"
    return Comparison(
        id=f"comparison-{number:03}",
        consult_id=consult,
        question="지어낸 질문",
        patient_information="",
        a=candidate(f"{consult}a", a),
        b=candidate(f"{consult}b", b),
    )


COMPARISONS = [comparison(number, "a" if number % 2 else "b") for number in range(40)]


def says(name: str, id: str, value: Choice | None, at: float = 0, **more: Any) -> Response:
    """`at`: seconds since the first."""
    moment = START + timedelta(seconds=at)
    return Response(
        comparison_id=id, annotator=name, value=value, submitted_at=moment, **({"status": "submitted"} | more)
    )


def answers(name: str, values: Sequence[Choice], every: float = 30) -> list[Response]:
    """One response to each of the first comparisons, `every` so many seconds."""
    return [
        says(name, one.id, value, at * every) for at, (one, value) in enumerate(zip(COMPARISONS, values, strict=False))
    ]


def measured(responses: Sequence[Response], comparisons: Sequence[Comparison] = COMPARISONS) -> Agreement:
    return measure(comparisons, responses, Settings(seed=42, resamples=200))


SIDES: list[Choice] = ["a", "b"]
TRUTH: list[Choice] = [*SIDES * 16, "tie", "tie", "both_bad", "both_bad", "a", "a", "b", "b"]


def wrong(values: Sequence[Choice], at: Sequence[int]) -> list[Choice]:
    """The same values but for some, which say something else."""
    return [VALUES[(VALUES.index(v) + 1) % 4] if number in at else v for number, v in enumerate(values)]


def test_cohens_kappa_is_the_textbook_one() -> None:
    """Two readers of 50 grant proposals: both yes 20, both no 15, 5 and 10 differ; kappa 0.40."""
    yes, no = SIDES[:1], SIDES[1:]
    first, second = yes * 25 + no * 25, yes * 20 + no * 5 + yes * 10 + no * 15
    ones, others = (
        [says(name, str(at), value) for at, value in enumerate(values)]
        for name, values in (("one", first), ("other", second))
    )
    found = kappa("one", "other", ones, others)
    assert found.comparisons == 50
    assert found.value == pytest.approx(0.4)


def test_kappa_is_not_defined_without_shared_comparisons_or_with_one_value() -> None:
    assert kappa("one", "other", [says("one", "1", "a")], [says("other", "2", "a")]).value is None
    alike = kappa("one", "other", [says("one", "1", "a")], [says("other", "1", "a")])
    assert (alike.comparisons, alike.value) == (1, None)


def test_drafts_discarded_and_responses_to_other_candidates_do_not_count() -> None:
    id = COMPARISONS[0].id
    found = measured(
        [
            says("kim", id, "a"),
            says("lee", id, "b", status="draft"),
            says("park", id, None, status="discarded"),
            says("kim", "comparison-of-older-candidates", "b"),
        ]
    )
    assert [(one.name, one.responses) for one in found.annotators] == [("kim", 1)]


def test_the_newest_response_of_an_annotator_counts() -> None:
    id = COMPARISONS[0].id
    found = measured([says("kim", id, "a"), says("kim", id, "tie", 60)])
    assert found.annotators[0].values == {"a": 0, "b": 0, "tie": 1, "both_bad": 0}


def test_an_adjudicators_decision_is_no_annotators_response() -> None:
    id = COMPARISONS[0].id
    found = measured([says("kim", id, "a"), says("lee", id, "b"), says("professor-han", id, "b", round="adjudication")])
    assert [one.name for one in found.annotators] == ["kim", "lee"]
    (undecided,) = found.undecided
    assert (undecided.comparison_id, undecided.adjudicated) == (id, "b")


def test_a_comparison_judged_by_one_is_not_undecided() -> None:
    assert measured([says("kim", COMPARISONS[0].id, "a")]).undecided == ()


def again(name: str, number: int, value: Choice, **more: Any) -> Response:
    return says(name, swap(COMPARISONS[number]).id, value, 5000 + number, **more)


def test_the_same_text_on_the_other_side_is_the_same_answer() -> None:
    first = answers("kim", ["a", "b", "tie", "both_bad"])
    found = measured([*first, *(again("kim", n, v) for n, v in enumerate(["b", "a", "tie", "both_bad"]))])  # type: ignore[arg-type]
    assert (found.repeats.same.count, found.repeats.same.of) == (4, 4)
    assert (found.responses, found.repeated) == (4, 4)


def test_who_keeps_the_side_changes_the_answer() -> None:
    first = answers("kim", ["a", "a", "b", "a"])
    found = measured([*first, *(again("kim", n, v) for n, v in enumerate(["a", "a", "b", "tie"]))]).repeats  # type: ignore[arg-type]
    assert (found.same.count, found.same.of, found.always_a, found.always_b) == (0, 4, 2, 1)


def test_a_repeat_of_what_somebody_else_answered_tells_nothing() -> None:
    assert measured([*answers("kim", ["a"]), again("lee", 0, "b")]).repeats.same.of == 0


def test_repeats_give_no_second_vote() -> None:
    found = measured([*answers("kim", ["a"]), again("kim", 0, "b")])
    assert found.side_a.decided == 1
    assert found.alpha.comparisons == 0


def test_responses_to_one_comparison_are_one_toss_of_the_coin() -> None:
    """Four people who all find the left answer better, ten times: p is that of 10 tosses, not of 40."""
    found = measured([r for name in ("kim", "lee", "park", "choi") for r in answers(name, ["a"] * 10)]).side_a
    assert (found.chosen, found.decided) == (40, 40)
    assert (found.comparisons.count, found.comparisons.of) == (10, 10)
    assert found.comparisons.p == pytest.approx(2 / 2**10)


def test_ties_are_no_choice_of_a_side() -> None:
    found = measured(answers("kim", ["a", "tie", "both_bad", "b"])).annotators[0].side_a
    assert (found.count, found.of) == (1, 2)


def test_who_takes_the_longer_answer_always_is_seen() -> None:
    longer: list[Choice] = ["a" if number % 2 else "b" for number in range(12)]
    found = measured(answers("kim", longer)).length
    assert (found.longer.chosen, found.longer.decided, found.equal) == (12, 12, 0)
    assert found.h == pytest.approx(np.pi / 2)
    assert found.median_difference == 10
    assert found.longer.comparisons.shown


def test_answers_of_the_same_length_are_left_out_and_counted() -> None:
    some = [comparison(0, "neither"), comparison(1, "a"), comparison(2, "neither")]
    found = measured([says("kim", some[0].id, "a"), says("kim", some[1].id, "b"), says("kim", some[2].id, "tie")], some)
    assert (found.length.longer.chosen, found.length.longer.decided, found.length.equal) == (0, 1, 1)


def test_a_break_is_no_pace() -> None:
    responses = [says("kim", one.id, "a", at) for one, at in zip(COMPARISONS, (0, 40, 100, 4000), strict=False)]
    pace = measured(responses).annotators[0].pace
    assert pace is not None
    assert (pace.gaps, pace.breaks, pace.median) == (2, 1, 50)


def test_a_mark_at_the_repeat_is_the_same_mark() -> None:
    flags: tuple[Flag, ...] = ("missed_emergency",)
    first = says("kim", COMPARISONS[0].id, "b", unsafe_a=flags)
    found = measured([first, again("kim", 0, "a", unsafe_b=flags), says("lee", COMPARISONS[0].id, "b", unsafe_a=flags)])
    assert found.flags.comparisons == 1
    assert found.flags.by_several == 1
    assert found.flags.reasons == {"missed_emergency": 2}
    assert found.flags.sides == {"a": 2, "b": 0}
    assert found.flags.people == {"kim": 1, "lee": 1}


def test_who_answers_by_chance_among_people_who_agree_is_named() -> None:
    responses = [
        *answers("kim", wrong(TRUTH, [3, 17])),
        *answers("lee", wrong(TRUTH, [5, 22])),
        *answers("park", random.Random(1).choices(VALUES, k=40)),
    ]
    found = measured(responses)
    assert [(one.annotator, one.about) for one in found.remarks] == [("park", "majority")]
    assert found.far_off == {"park"}


def test_who_chooses_one_side_does_not_make_the_others_look_far_off() -> None:
    people = {"kim": TRUTH, "lee": TRUTH, "park": ["a"] * 40}
    found = measured([r for name, values in people.items() for r in answers(name, values)])  # type: ignore[arg-type]
    assert {one.annotator for one in found.remarks if one.about == "side"} == {"park"}


def test_who_does_not_agree_with_oneself_is_named() -> None:
    found = measured(
        [
            response
            for name in ("kim", "lee", "park")
            for response in (
                *answers(name, TRUTH),
                *(again(name, n, "a" if name == "park" else {"a": "b", "b": "a"}[TRUTH[n]]) for n in range(16)),  # type: ignore[arg-type]
            )
        ]
    )
    assert {(one.annotator, one.about) for one in found.remarks} == {("park", "consistency")}


def test_people_who_agree_are_not_named() -> None:
    people = {"kim": wrong(TRUTH, [1]), "lee": wrong(TRUTH, [2, 9]), "park": wrong(TRUTH, [4, 30, 31])}
    found = measured([r for name, values in people.items() for r in answers(name, values)])
    assert found.far_off == frozenset()


def test_one_annotator_is_far_off_from_nobody() -> None:
    assert measured(answers("kim", ["a"] * 40, every=1)).far_off == frozenset()


def test_who_takes_a_fifth_of_the_others_time_is_named() -> None:
    found = measured([*answers("kim", TRUTH, 30), *answers("lee", TRUTH, 25), *answers("park", TRUTH, 5)])
    (hurry,) = found.hurries
    assert (hurry.annotator, hurry.median, hurry.gaps, hurry.others_gaps) == ("park", 5, 39, 78)


def test_too_few_times_name_nobody() -> None:
    assert measured([*answers("kim", TRUTH, 30), *answers("park", TRUTH[:10], 1)]).hurries == ()


def test_a_simulated_annotator_has_no_pace() -> None:
    found = measured([*answers("kim", TRUTH, 30), *answers("simulated-1", TRUTH, 0)])
    assert {one.name: one.pace is None for one in found.annotators} == {"kim": False, "simulated-1": True}
    assert found.hurries == ()


def test_votes_are_told_by_how_they_fell() -> None:
    found = measured([*answers("kim", ["a", "b", "a"]), *answers("lee", ["a", "a"]), *answers("park", ["a", "tie"])])
    assert [(one.same, one.of, one.comparisons) for one in found.pattern] == [(3, 3, 1), (1, 3, 1), (1, 1, 1)]


def test_no_response_at_all_is_measured_without_an_error() -> None:
    found = measured([])
    assert (found.responses, found.annotators, found.alpha.value, found.side_a.value) == (0, (), None, None)
