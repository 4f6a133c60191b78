import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stages.core import preference_side, preference_wording, preference_wording_ko
from stages.core.errors import KormedError
from stages.core.preference_side import PreferenceSide, accuracy, interval_by_consult, measure
from stages.core.records import Dropped, Judged, Message, Preference, write_jsonl, write_rows
from stages.core.statistics import coin, wilson

LANGUAGES = (preference_wording, preference_wording_ko)


def judged(id: str, margin: float, **fields: Any) -> Judged:
    plain = Judged(id=id, margin=margin, loss=0.6, chosen_change=5 * margin, rejected_change=-5 * margin)
    return plain.model_copy(update=fields)


def recorded(id: str, margin: float, chosen: tuple[float, int], rejected: tuple[float, int]) -> Judged:
    """With log-probability under SFT and tokens of each side, as dpo writes it now."""
    return judged(
        id,
        margin,
        chosen_before=chosen[0],
        chosen_tokens=chosen[1],
        rejected_before=rejected[0],
        rejected_tokens=rejected[1],
    )


def found(rows: list[Judged], consult_of: dict[str, str] | None = None) -> PreferenceSide:
    side = measure(rows, consult_of or {row.id: f"consult-{row.id}" for row in rows})
    assert side is not None
    return side


def test_a_tie_counts_as_wrong_and_is_told() -> None:
    side = found([judged("1", 0.3), judged("2", 0.0), judged("3", -0.1)])
    assert (side.accuracy.score.correct, side.accuracy.score.questions, side.accuracy.ties) == (1, 3, 1)
    assert side.margin == pytest.approx(0.2 / 3)
    assert "1 of them has a reward that is the same" in preference_wording.ties(side)


def test_a_dpo_that_moved_nothing_is_not_called_worse_than_a_coin() -> None:
    side = found([judged(str(n), 0.0) for n in range(12)])
    assert (side.accuracy.right, side.accuracy.wrong, side.accuracy.shown) == (0, 0, False)
    assert "0 of 12 held-out pairs" in preference_wording.accuracy(side)
    assert "no difference from a coin shown" in preference_wording.accuracy(side)
    lone = found([judged(str(n), 0.1 if n < 8 else 0.0) for n in range(12)])
    assert (lone.accuracy.right, lone.accuracy.wrong, lone.accuracy.p) == (8, 0, coin(8, 8))


def test_pairs_of_different_consults_get_wilsons_interval_and_the_exact_test() -> None:
    side = found([judged(str(n), 0.1 if n < 31 else -0.1) for n in range(50)])
    assert not side.by_consult
    assert side.accuracy.interval == wilson(31, 50)
    assert side.accuracy.p == coin(31, 50) == pytest.approx(0.119, abs=1e-3)
    assert preference_wording.accuracy(side) == (
        "DPO's reward agrees with the annotators in 31 of 50 held-out pairs (62.0 %, 95 % interval 48–74 %): no "
        "difference from a coin shown (p = 0.12)."
    )


def test_what_is_shown_is_said_on_either_side_of_a_coin() -> None:
    right, wrong = (found([judged(str(n), margin) for n in range(20)]) for margin in (0.1, -0.1))
    assert "more often than a coin would (p < 0.001)" in preference_wording.accuracy(right)
    assert "less often than a coin would (p < 0.001)" in preference_wording.accuracy(wrong)
    assert "자주 일치했습니다(p < 0.001)" in preference_wording_ko.accuracy(right)
    assert "드물게 일치했습니다(p < 0.001)" in preference_wording_ko.accuracy(wrong)


def test_many_pairs_of_few_consults_show_no_more_than_the_consults() -> None:
    """40 pairs that are 4 consults' ten times each would be called shown if they were taken for 40."""
    rows = [judged(f"{consult}-{n}", 0.1) for consult in range(4) for n in range(10)]
    side = found(rows, {row.id: row.id.partition("-")[0] for row in rows})
    assert (side.pairs, side.consults, side.by_consult) == (40, 4, True)
    assert (side.accuracy.right, side.accuracy.wrong, side.accuracy.p) == (4, 0, coin(4, 4))
    assert not side.accuracy.shown
    assert side.accuracy.interval == wilson(4, 4)
    assert side.chosen.test.gained == 4
    assert "interval and tests go by consult (4 mostly right, 0 mostly wrong)" in preference_wording.by_consult(side)
    assert "상담 4건" in preference_wording_ko.by_consult(side)


def test_an_interval_by_consult_is_never_narrower_than_that_of_the_pairs() -> None:
    consults = [str(n // 2) for n in range(200)]
    is_right = [n % 3 > 0 for n in range(200)]
    alone, pairs = interval_by_consult(consults, is_right), wilson(sum(is_right), 200)
    assert alone.low <= pairs.low < pairs.high <= alone.high


def test_consults_that_agree_within_themselves_widen_the_interval() -> None:
    consults = [str(n // 4) for n in range(240)]
    alike = [n // 4 % 2 == 0 for n in range(240)]
    found, pairs = interval_by_consult(consults, alike), wilson(sum(alike), 240)
    assert found.high - found.low > 1.5 * (pairs.high - pairs.low)


def test_a_consult_with_half_of_its_pairs_right_is_on_no_side() -> None:
    one = accuracy(["a", "a", "b", "b", "c"], [0.1, -0.1, 0.1, 0.1, -0.1])
    assert (one.score.correct, one.score.questions) == (3, 5)
    assert (one.right, one.wrong) == (1, 1)


def test_log_probabilities_stand_before_and_after_an_answer_and_a_token() -> None:
    side = found([recorded("1", 0.2, (-100.0, 50), (-60.0, 20)), recorded("2", 0.4, (-50.0, 10), (-90.0, 30))])
    assert [side.chosen.before, side.chosen.after] == pytest.approx([-75, -73.5])
    assert side.chosen.before_per_token == pytest.approx((-2 - 5) / 2)
    assert side.chosen.after_per_token == pytest.approx((-99 / 50 - 48 / 10) / 2)
    assert [side.rejected.before, side.rejected.change] == pytest.approx([-75, -1.5])
    assert side.chosen.tokens is not None and side.chosen.tokens.median == 30
    assert side.longer is not None and (side.longer.correct, side.longer.questions) == (1, 2)
    assert preference_wording.pair_row("chosen", side.chosen)[1:5] == ("−75.00", "−73.50", "−3.50", "−3.39")
    assert "from −75.00 to −73.50 on average" in preference_wording.moved("chosen", side.chosen)


def test_an_artifact_from_before_log_probabilities_were_kept_still_says_what_moved() -> None:
    side = found([judged(str(n), 0.1) for n in range(12)])
    assert [side.chosen.before, side.chosen.tokens, side.longer] == [None, None, None]
    assert side.chosen.change == pytest.approx(0.5)
    assert "by +0.50 on average from SFT to DPO, up for 12 and down for 0 of 12: mostly up (p < 0.001)" in (
        preference_wording.moved("chosen", side.chosen)
    )
    assert preference_wording.pair_row("chosen", side.chosen)[1:] == ("–",) * 5
    assert preference_wording.longer(side) == ""


def test_tokens_are_told_where_log_probabilities_are_none() -> None:
    """As of a length-desensitised loss."""
    side = found([judged("1", 0.1, chosen_tokens=7, rejected_tokens=9)])
    assert side.chosen.before is None
    assert side.chosen.tokens is not None and side.chosen.tokens.median == 7
    assert side.longer is not None and side.longer.correct == 0


def preference(id: str, consult: str) -> Preference:
    def said(text: str) -> tuple[Message, ...]:
        return (Message(role="assistant", content=text),)

    asked = (Message(role="user", content="열이 나요"),)
    chosen, rejected = said("물을 드세요."), said("모릅니다.")
    return Preference(
        id=id, consult_id=consult, prompt=asked, chosen=chosen, rejected=rejected, votes={"a": 1}, agreement=1.0
    )


@pytest.fixture
def artifacts(tmp_path: Path) -> tuple[Path, Path]:
    dpo, preferences = tmp_path / "dpo", tmp_path / "preferences"
    dpo.mkdir()
    preferences.mkdir()
    write_jsonl(preferences / "heldout.jsonl", [preference("1", "x"), preference("2", "x"), preference("3", "y")])
    return dpo, preferences


def test_it_is_read_from_what_dpo_and_preferences_wrote(artifacts: tuple[Path, Path]) -> None:
    dpo, preferences = artifacts
    write_jsonl(dpo / "heldout.jsonl", [judged("1", 0.1), judged("2", 0.2)])
    write_jsonl(dpo / "heldout_dropped.jsonl", [Dropped(id="3", reason="too long", text="")])
    side = preference_side.read(dpo, preferences)
    assert side is not None
    assert (side.pairs, side.consults, side.dropped) == (2, 1, 1)
    assert "1 more held-out pair was too long" in preference_wording.dropped(side)


def test_a_run_without_held_out_pairs_has_no_preference_side(artifacts: tuple[Path, Path]) -> None:
    assert preference_side.read(*artifacts) is None
    (artifacts[0] / "heldout.jsonl").touch()
    assert preference_side.read(*artifacts) is None


def test_an_old_heldout_file_is_read(artifacts: tuple[Path, Path]) -> None:
    old = {"id": "1", "margin": -0.02, "loss": 0.7, "chosen_change": -0.06, "rejected_change": 0.2}
    write_rows(artifacts[0] / "heldout.jsonl", [old])
    side = preference_side.read(*artifacts)
    assert side is not None and side.accuracy.score.correct == 0


def test_pairs_of_other_preferences_are_refused_with_a_way_out(artifacts: tuple[Path, Path]) -> None:
    write_jsonl(artifacts[0] / "heldout.jsonl", [judged("9", 0.1)])
    with pytest.raises(KormedError, match="1 pairs \\(first: 9\\).*kormed dpo RECIPE --force"):
        preference_side.read(*artifacts)


def test_korean_has_the_same_names_with_the_same_signatures() -> None:
    def surface(module: ModuleType) -> dict[str, Any]:
        functions = inspect.getmembers(
            module, lambda one: inspect.isfunction(one) and one.__module__ == module.__name__
        )
        constants = {name: type(value) for name, value in vars(module).items() if name.isupper()}
        return {name: inspect.signature(function) for name, function in functions} | constants

    assert surface(preference_wording) == surface(preference_wording_ko)
    assert len(preference_wording.PAIR_HEADINGS) == len(preference_wording_ko.PAIR_HEADINGS)
    assert len(preference_wording.FORM_HEADINGS) == len(preference_wording_ko.FORM_HEADINGS)
    assert preference_wording.TRAITS.keys() == preference_wording_ko.TRAITS.keys()


def test_both_languages_say_the_same_numbers() -> None:
    rows = [recorded(str(n), 0.1 - 0.03 * n, (-100.5 - n, 50), (-60.0, 20 + n)) for n in range(8)]
    side = found(rows, {row.id: str(int(row.id) // 2) for row in rows})
    english, korean = (module.pairs(side) for module in LANGUAGES)
    assert len(english) == len(korean)
    for one, other in zip(english, korean, strict=True):
        assert numbers(one) == numbers(other)
    assert [module.pair_row("", side.chosen)[1:5] for module in LANGUAGES] == [
        ("−104.00", "−104.03", "−2.08", "−2.08"),
    ] * 2


def numbers(sentence: str) -> list[str]:
    """Its figures, in order of size, for word order differs."""
    return sorted(re.findall(r"\d[\d.,]*\d|\d", sentence))


def test_a_record_of_now_goes_to_disk_and_back(tmp_path: Path) -> None:
    row = recorded("1", 0.2, (-100.0, 50), (-60.0, 20))
    write_jsonl(tmp_path / "heldout.jsonl", [row])
    assert Judged.model_validate(json.loads((tmp_path / "heldout.jsonl").read_text(encoding="utf-8"))) == row
