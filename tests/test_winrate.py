"""winrate: how often people preferred DPO, with an interval and words that claim no more than was seen."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from stages import winrate
from stages.core.checkpoint_pairs import IDENTICAL, Outcome, pair
from stages.core.errors import KormedError
from stages.core.recipe import HeadToHead
from stages.core.records import (
    Choice,
    Comparison,
    Dropped,
    HeldoutAnswer,
    Response,
    RoundName,
    append_jsonl,
    write_jsonl,
)

Status = Literal["submitted", "draft", "discarded"]


def comparison(number: int) -> Comparison:
    sft, dpo = (
        HeldoutAnswer(
            consult_id=f"k{number}",
            question="물음",
            patient_information="30대",
            reference="쉬세요.",
            text=f"{name} {number}",
            finished=True,
        )
        for name in ("sft", "dpo")
    )
    made = pair(sft, dpo, seed=42)
    assert isinstance(made, Comparison)
    return made


def says(
    annotator: str, outcome: Outcome, row: Comparison, status: Status = "submitted", round: RoundName = "compare"
) -> Response:
    """The side that the annotator has to click for this outcome."""
    sides: dict[str, Choice] = {row.a.checkpoint: "a", row.b.checkpoint: "b", "tie": "tie", "both_bad": "both_bad"}
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Response(
        comparison_id=row.id,
        annotator=annotator,
        value=sides[outcome],
        status=status,
        submitted_at=moment,
        round=round,
    )


class Table:
    """A head_to_head artifact and verdicts on disk, and what `winrate` makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: dict[str, float] = {}

    def count(self, rows: list[Comparison], verdicts: list[Response], *, identical: int = 0, seed: int = 42) -> Any:
        for name in ("head_to_head", "out"):
            (self.folder / name).mkdir(exist_ok=True)
        write_jsonl(self.folder / "head_to_head" / "comparisons.jsonl", rows)
        same = [Dropped(id=f"same-{n}", reason=IDENTICAL, text="물음") for n in range(identical)]
        once = [Dropped(id="once", reason="only one checkpoint answered it: sft", text="물음")]
        write_jsonl(self.folder / "head_to_head" / "dropped.jsonl", [*same, *once])
        (self.folder / "verdicts.jsonl").unlink(missing_ok=True)
        append_jsonl(self.folder / "verdicts.jsonl", verdicts)
        self.metrics = winrate.run(
            HeadToHead(seed=seed),
            self.folder / "out",
            head_to_head=self.folder / "head_to_head",
            verdicts=self.folder / "verdicts.jsonl",
        )
        return json.loads((self.folder / "out" / "winrate.json").read_text(encoding="utf-8"))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def judged(outcomes: list[Outcome]) -> tuple[list[Comparison], list[Response]]:
    """One comparison an outcome, each judged by one annotator."""
    rows = [comparison(number) for number in range(len(outcomes))]
    return rows, [says("kim", outcome, row) for row, outcome in zip(rows, outcomes, strict=True)]


def interval(low_and_high: dict[Outcome, int]) -> tuple[float, float]:
    bounds = winrate.interval(Counter(low_and_high), HeadToHead(seed=42))
    return bounds.low, bounds.high


def test_sides_lead_back_to_checkpoints_and_every_comparison_is_accounted_for(table: Table) -> None:
    rows = [comparison(number) for number in range(8)]
    assert {row.a.checkpoint for row in rows} == {"sft", "dpo"}, "both orders are among them"
    verdicts = [
        *(says("kim", "dpo", row) for row in rows[:3]),
        says("kim", "sft", rows[3]),
        says("kim", "tie", rows[4]),
        says("kim", "both_bad", rows[5]),
        says("kim", "dpo", rows[6]),
        says("lee", "sft", rows[6]),
    ]
    found = table.count(rows, verdicts, identical=2)
    counts = {name: found[name] for name in ("comparisons", "judged", "undecided", "unjudged", "identical")}
    assert counts == {"comparisons": 8, "judged": 6, "undecided": 1, "unjudged": 1, "identical": 2}
    assert (found["dpo"], found["sft"], found["tie"], found["both_bad"]) == (3, 1, 1, 1)
    assert found["win_rate"] == pytest.approx((3 + 1) / 6)
    assert found["p"] == pytest.approx(10 / 16)  # 3 of 4: (1 + 4) / 16 on each side
    assert (found["annotators"], found["responses"]) == (["kim", "lee"], 8)


def test_the_file_holds_what_the_report_reads_and_the_metrics_are_its_numbers(table: Table) -> None:
    found = table.count(*judged(["dpo", "sft"]))
    assert found.keys() == {
        *("comparisons", "identical", "judged", "undecided", "unjudged", "dpo", "sft", "tie", "both_bad"),
        *("win_rate", "low", "high", "p", "annotators", "responses"),
    }
    assert table.metrics == {name: value for name, value in found.items() if name != "annotators"}


def test_the_majority_decides_and_a_newer_answer_replaces_the_older(table: Table) -> None:
    row = comparison(1)
    verdicts = [says("kim", "sft", row), says("lee", "dpo", row), says("park", "sft", row), says("park", "dpo", row)]
    found = table.count([row], verdicts)
    assert (found["dpo"], found["responses"]) == (1, 3)


def test_drafts_other_rounds_and_other_comparisons_are_no_verdicts(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    row = comparison(1)
    verdicts = [
        says("kim", "dpo", row),
        says("lee", "sft", row, status="draft"),
        says("park", "sft", row, round="label"),
        says("choi", "sft", comparison(2)),
    ]
    with caplog.at_level("INFO", logger="kormed"):
        found = table.count([row], verdicts)
    assert (found["dpo"], found["sft"], found["annotators"]) == (1, 0, ["kim"])
    assert any("1 responses are to comparisons of other answers" in message for message in caplog.messages)


@pytest.mark.parametrize("outcomes", [["tie"], ["both_bad"], ["dpo", "sft"]])
def test_where_neither_is_preferred_the_win_rate_is_a_half(table: Table, outcomes: list[Outcome]) -> None:
    found = table.count(*judged(outcomes))
    assert found["win_rate"] == 0.5
    assert found["p"] == 1
    assert found["low"] < 0.5 < found["high"]


def test_a_clean_sweep_of_few_is_not_called_certain() -> None:
    """The bootstrap of five outcomes that are all alike has no width."""
    low, high = interval({"dpo": 5})
    assert low < 0.6
    assert high == 1
    low, high = interval({"sft": 5})
    assert low == 0
    assert high > 0.4


def test_of_many_the_interval_is_the_bootstraps() -> None:
    low, high = interval({"dpo": 300, "sft": 100})
    assert low == pytest.approx(0.75 - 1.96 * (0.75 * 0.25 / 400) ** 0.5, abs=0.01)  # the normal approximation's bounds
    assert high == pytest.approx(0.75 + 1.96 * (0.75 * 0.25 / 400) ** 0.5, abs=0.01)
    ties = interval({"dpo": 100, "tie": 200, "sft": 100})
    coins = interval({"dpo": 200, "sft": 200})
    assert ties[1] - ties[0] < coins[1] - coins[0], "ties vary less than wins and losses"


def test_the_same_seed_gives_the_same_interval(table: Table) -> None:
    outcomes: list[Outcome] = ["dpo", "sft", "tie", "dpo", "dpo"] * 10
    assert table.count(*judged(outcomes)) == table.count(*judged(outcomes))


@pytest.mark.parametrize(
    ("dpo", "sft", "words"),
    [(7, 5, "no preference shown"), (12, 1, "DPO is preferred"), (1, 12, "SFT is preferred")],
)
def test_the_sentence_claims_what_the_sign_test_shows(
    table: Table, caplog: pytest.LogCaptureFixture, dpo: int, sft: int, words: str
) -> None:
    outcomes: list[Outcome] = [*["dpo"] * dpo, *["sft"] * sft]  # type: ignore[list-item]
    with caplog.at_level("INFO", logger="kormed"):
        table.count(*judged(outcomes))
    (told,) = [message for message in caplog.messages if "preferred in" in message]
    assert told.startswith(f"winrate: DPO preferred in {dpo} of {dpo + sft} judged comparisons, SFT in {sft}")
    assert told.endswith(words)


def test_simulated_verdicts_are_told_for_what_they_are(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    row = comparison(1)
    with caplog.at_level("INFO", logger="kormed"):
        table.count([row], [says("simulated-1", "dpo", row), says("kim", "dpo", row)])
    assert "winrate: 1 of 2 annotators are simulated, by a rule" in caplog.messages


def test_where_nothing_is_decided_the_way_to_verdicts_is_named(table: Table) -> None:
    rows = [comparison(1), comparison(2)]
    with pytest.raises(KormedError, match=r"none of the 2 comparisons .* \(1 undecided, 1 without") as error:
        table.count(rows, [says("kim", "dpo", rows[0]), says("lee", "sft", rows[0])])
    assert "make compare-label" in str(error.value)
    assert "make pull" in str(error.value)
