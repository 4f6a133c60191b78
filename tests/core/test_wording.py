"""The report's sentences: what was not shown is not said, in any of the cases."""

import re

import pytest

from stages.core import wording
from tests.sentences import (
    CASES,
    FLAT,
    LEANING,
    LENGTHS,
    MIXED,
    MODEL,
    SIMULATED,
    THREE,
    TWO,
    contrasts,
    held_out,
    overall,
    said,
    winrate,
)


def summary(*arguments: object) -> list[str]:
    found = wording.summary(*arguments)  # type: ignore[arg-type]
    assert len(found) == 3
    assert all(sentence.endswith(".") and not re.search(r"\. [A-Z]", sentence) for sentence in found)
    return found


def test_the_summary_of_a_gain_is_three_sentences() -> None:
    assert summary(MODEL, 3_401, None, *TWO, None) == [
        "google/gemma-2-2b-it was fine-tuned on 3,401 instruction rows (SFT).",
        "On the same 500 exam questions SFT got 39.00 % right against base's 34.00 %: better (p = 0.001).",
        "No checkpoint that was trained on preferences was evaluated.",
    ]


def test_where_no_difference_is_shown_the_summary_says_what_that_means() -> None:
    _, exam, _ = summary(MODEL, 3_401, None, *FLAT, None)
    assert exam.endswith(
        "no difference shown (p = 0.55), so these answers do not tell whether training helped or harmed."
    )


def test_the_best_checkpoint_is_held_against_the_base_and_dpo_against_sft() -> None:
    _, exam, _ = summary(MODEL, 3_401, 410, *THREE, None, ["kim"])
    assert "SFT got 39.00 % right against base's 34.00 %: better (p = 0.003);" in exam
    assert exam.endswith("DPO got 38.00 % right against SFT's 39.00 %: no difference shown (p = 0.42).")
    ahead = overall(170, 175, 220), contrasts((25, 20), (60, 15), (70, 20))
    assert "DPO got 44.00 % right against base's 34.00 %: better" in summary(MODEL, 3_401, 410, *ahead, None)[1]


def test_what_dpo_was_shown_to_harm_is_not_called_unknown() -> None:
    worse = overall(200, 202, 150), contrasts((25, 23), (10, 62), (12, 62))
    _, exam, _ = summary(MODEL, 3_401, 410, *worse, None)
    assert "so these answers do not tell whether SFT helped or harmed; DPO got 30.00 % right" in exam
    assert exam.endswith("worse (p < 0.001).")


def test_of_equally_good_checkpoints_the_earlier_is_called_the_best() -> None:
    equal = overall(170, 195, 195), contrasts((40, 15), (0, 0), (40, 15))
    assert "SFT got 39.00 % right against base's" in summary(MODEL, 3_401, 410, *equal, None)[1]


def test_heldout_preferences_are_said_with_their_interval_and_chance() -> None:
    shown = summary(MODEL, 3_401, 410, *THREE, None, ["kim"], held_out(39, 51))[2]
    assert "in 76.5 % of 51 held-out preferences (95 % interval 63.2–86.0 %)" in shown
    assert shown.endswith("more often than the 50 % of chance (p < 0.001).")
    unsure = summary(MODEL, 3_401, 410, *THREE, None, ["kim"], held_out(27, 51))[2]
    assert unsure.endswith("no difference shown from the 50 % of chance (p = 0.78).")
    fewer = summary(MODEL, 3_401, 410, *THREE, None, ["kim"], held_out(9, 51))[2]
    assert fewer.endswith("less often than the 50 % of chance (p < 0.001).")


def test_a_win_rate_goes_before_heldout_preferences() -> None:
    found = summary(MODEL, 3_401, 410, *THREE, winrate(), ["kim"], held_out(39, 51))
    assert found[2] == wording.preferred(winrate())


def test_answers_that_nobody_compared_are_not_called_preferred() -> None:
    found = summary(MODEL, 3_401, 410, *THREE, None, ["kim"])[2]
    assert found == "Nobody compared DPO's answers with SFT's, so whether they are preferred is not known."


def test_simulated_annotators_are_named_in_the_sentence_itself() -> None:
    found = summary(MODEL, 3_401, 410, *THREE, winrate(annotators=SIMULATED), SIMULATED)
    assert found[0].endswith("trained on 410 preferences (DPO) that simulated annotators gave, no human.")
    assert found[2].startswith("Compared blind by simulated annotators on 36 held-out consults")
    mixed = summary(MODEL, 3_401, 410, *THREE, winrate(annotators=MIXED), MIXED)
    assert mixed[0].endswith("some of them by simulated annotators.")
    assert "simulated" not in "".join(summary(MODEL, 3_401, 410, *THREE, winrate(), ["kim"]))


def test_verdicts_follow_the_adjusted_p() -> None:
    tests = [contrasts(changed)[0].overall for changed in ((60, 15), (15, 60), (20, 19))]
    assert [wording.verdict(test) for test in tests] == [
        "better (p < 0.001)",
        "worse (p < 0.001)",
        "no difference shown (p = 1.00)",
    ]


def test_what_dpo_learned_of_simulated_annotators_is_not_called_a_preference_of_doctors() -> None:
    for names in (SIMULATED, MIXED):
        note = wording.simulated_among(names)
        found = wording.limits(overall(4, 5), note, 0, None)[3]
        assert found == f"{note} From their labels DPO learned that rule, not what doctors prefer."
    people = wording.limits(overall(4, 5), wording.simulated_among(["kim"]), 0, None)
    assert not any("DPO" in limit for limit in people)


def test_a_base_below_guessing_is_not_said_to_be_level_with_it() -> None:
    """With 13 % of 3,009 it is below: many answers held no letter."""
    found = wording.limits(overall(400, 500, questions=3_009), "", 0, None)[-1]
    assert found.startswith("The base model is not shown to do better than guessing on these questions (13.29 %")


def test_a_dpo_that_did_not_start_at_sft_is_not_said_to() -> None:
    found = [said(wording, name, arguments) for name, arguments in CASES if name == "proved"]
    assert found[0].endswith("what DPO departs from is the SFT model.")
    assert found[1].endswith("what DPO departs from is NOT shown to be the SFT model.")


def test_a_lean_to_length_is_a_sentence() -> None:
    assert wording.leaning(LEANING) == "The chosen answer is longer."
    assert wording.leaning(LENGTHS) == ""


@pytest.mark.parametrize(
    ("part", "text"),
    [(0, "0 %"), (1, "under 0.1 %"), (5_000, "50.0 %"), (9_999, "over 99.9 %"), (10_000, "100 %")],
)
def test_a_share_that_only_rounds_to_none_or_all_is_not_said_to_be_it(part: int, text: str) -> None:
    assert wording.share(part, 10_000) == text
