"""Round two's pairs: nobody can tell from the sides which checkpoint wrote what, and a choice finds its way back."""

import pytest

from stages.core.checkpoint_pairs import IDENTICAL, Outcome, outcome, pair
from stages.core.records import Choice, Comparison, Dropped, HeldoutAnswer


def answer(text: str, consult_id: str = "consult-1") -> HeldoutAnswer:
    return HeldoutAnswer(
        consult_id=consult_id,
        question="왜 아픈가요?",
        patient_information="30대",
        reference="쉬세요.",
        text=text,
        finished=True,
    )


def paired(sft: str, dpo: str, consult_id: str = "consult-1", seed: int = 42) -> Comparison:
    made = pair(answer(sft, consult_id), answer(dpo, consult_id), seed)
    assert isinstance(made, Comparison)
    return made


def test_a_pair_holds_both_answers_and_what_wrote_them() -> None:
    made = paired("쉬세요.", "병원에 가세요.")
    by_checkpoint = {candidate.checkpoint: candidate for candidate in (made.a, made.b)}
    assert {name: candidate.text for name, candidate in by_checkpoint.items()} == {
        "sft": "쉬세요.",
        "dpo": "병원에 가세요.",
    }
    assert {candidate.id for candidate in (made.a, made.b)} == {"consult-1/sft", "consult-1/dpo"}
    assert all((c.temperature, c.top_p, c.tokens) == (0.0, 1.0, None) for c in (made.a, made.b))


def test_sides_are_drawn_by_seed_and_each_gets_about_half() -> None:
    first = [paired("쉬세요.", "가세요.", f"consult-{n}").a.checkpoint for n in range(200)]
    assert 70 < first.count("dpo") < 130
    assert first == [paired("쉬세요.", "가세요.", f"consult-{n}").a.checkpoint for n in range(200)]
    assert first != [paired("쉬세요.", "가세요.", f"consult-{n}", seed=7).a.checkpoint for n in range(200)]


@pytest.mark.parametrize(("sft", "dpo"), [("쉬세요.", "쉬세요."), ("푹  쉬세요.\n", " 푹 쉬세요."), ("", " \n")])
def test_the_same_answer_however_spaced_is_no_comparison(sft: str, dpo: str) -> None:
    made = pair(answer(sft), answer(dpo), 42)
    assert isinstance(made, Dropped)
    assert (made.id, made.kind) == ("consult-1", IDENTICAL)


def test_an_empty_answer_is_compared_since_leaving_it_out_would_hide_it() -> None:
    made = paired("쉬세요.", "")
    assert {made.a.text, made.b.text} == {"쉬세요.", ""}


@pytest.mark.parametrize("consult_id", [f"consult-{n}" for n in range(6)])
def test_a_choice_of_a_side_is_a_choice_of_the_checkpoint_that_stood_there(consult_id: str) -> None:
    made = paired("쉬세요.", "가세요.", consult_id)
    choice: dict[str, Choice] = {made.a.text: "a", made.b.text: "b"}
    assert outcome(made, choice["가세요."]) == "dpo"
    assert outcome(made, choice["쉬세요."]) == "sft"


@pytest.mark.parametrize("value", ["tie", "both_bad"])
def test_a_tie_and_two_bad_answers_prefer_nobody(value: Outcome) -> None:
    assert outcome(paired("쉬세요.", "가세요."), value) == value  # type: ignore[arg-type]
