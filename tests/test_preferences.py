"""preferences: what people said becomes chosen and rejected, and nothing else does."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages import preferences
from stages.core.errors import KormedError
from stages.core.pairing import swap
from stages.core.recipe import Preferences
from stages.core.records import (
    Choice,
    Comparison,
    Dropped,
    Preference,
    Response,
    append_jsonl,
    read_jsonl,
    write_jsonl,
)
from tests.judgements import Status, comparison, rules, says


class Table:
    """Comparisons and responses on disk, and what `preferences` makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.metrics: dict[str, float] = {}

    def judge(self, responses: list[Response], comparisons: list[Comparison] | None = None, **config: Any) -> "Table":
        (self.folder / "candidates").mkdir()
        self.out.mkdir()
        write_jsonl(self.folder / "candidates" / "comparisons.jsonl", comparisons or [comparison("c1")])
        append_jsonl(self.folder / "responses.jsonl", responses)
        self.metrics = preferences.run(
            Preferences(seed=42, **({"heldout": 0} | config)),
            self.out,
            candidates=self.folder / "candidates",
            responses=self.folder / "responses.jsonl",
        )
        return self

    def rows(self, part: str = "train") -> list[Preference]:
        return read_jsonl(self.out / f"{part}.jsonl", Preference)

    def reasons(self) -> dict[str, str]:
        return {row.id: row.reason for row in read_jsonl(self.out / "dropped.jsonl", Dropped)}

    def labels(self) -> dict[str, Any]:
        labels: dict[str, Any] = json.loads((self.out / "labels.json").read_text(encoding="utf-8"))
        return labels


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


# A second comparison with a winner, where the first one makes no preference: none at all would be an error.
BOTH = [comparison("c1"), comparison("c2")]
SETTLED = says("kim", "a", "c2")


@pytest.mark.parametrize(
    ("value", "chosen", "rejected"), [("a", "c1의 a 답", "c1의 b 답"), ("b", "c1의 b 답", "c1의 a 답")]
)
def test_the_better_answer_is_chosen_and_the_other_one_rejected(
    table: Table, value: Choice, chosen: str, rejected: str
) -> None:
    (row,) = table.judge([says("kim", value)]).rows()
    assert [(message.role, message.content) for message in row.chosen] == [("assistant", chosen)]
    assert [(message.role, message.content) for message in row.rejected] == [("assistant", rejected)]
    assert (row.id, row.consult_id) == ("c1", "consult-c1")


def test_the_prompt_is_the_one_sft_trained_on(table: Table) -> None:
    (row,) = table.judge([says("kim", "a")]).rows()
    (message,) = row.prompt
    assert message.role == "user"
    assert message.content == (
        "다음은 환자 정보와 질문입니다. 환자 정보를 참고하여 질문에 답변해주세요.\n\nc1 환자\n\nc1 물음"
    )


def test_the_majority_decides_and_its_share_is_the_agreement(table: Table) -> None:
    (row,) = table.judge([says("kim", "b"), says("lee", "a"), says("park", "b")]).rows()
    assert row.chosen[0].content == "c1의 b 답"
    assert row.agreement == pytest.approx(2 / 3)
    assert row.votes == {"a": 1, "b": 2}


@pytest.mark.parametrize("value", ["tie", "both_bad"])
def test_a_tie_and_two_bad_answers_make_no_preference(table: Table, value: Choice) -> None:
    table.judge([says("kim", value), says("lee", value), says("park", "a"), SETTLED], BOTH)
    assert [row.id for row in table.rows()] == ["c2"]
    assert table.reasons() == {"c1": value}


@pytest.mark.parametrize(
    "values",
    [
        ("a", "b"),
        ("a", "tie"),
        ("a", "b", "tie"),
        ("a", "a", "b", "b"),
        ("a", "a", "b", "tie"),  # the most votes, but not more than half
    ],
)
def test_without_more_than_half_there_is_no_winner(table: Table, values: tuple[Choice, ...]) -> None:
    table.judge([*(says(f"annotator-{at}", value) for at, value in enumerate(values)), SETTLED], BOTH)
    assert table.reasons() == {"c1": "undecided"}


@pytest.mark.parametrize("status", ["draft", "discarded"])
def test_only_what_was_submitted_counts(table: Table, status: Status) -> None:
    (row,) = table.judge([says("kim", "a"), says("lee", "b", status=status), says("park", "b", status=status)]).rows()
    assert row.chosen[0].content == "c1의 a 답"
    assert row.agreement == 1


def test_a_draft_alone_is_no_response(table: Table) -> None:
    table.judge([says("kim", "a", status="draft"), SETTLED], BOTH)
    assert table.reasons() == {"c1": "no response"}


def test_a_submitted_response_without_a_value_is_no_vote_and_no_crash(table: Table) -> None:
    table.judge([says("kim", None), SETTLED], BOTH)
    assert [row.id for row in table.rows()] == ["c2"]
    assert "c1" in table.reasons()


def test_an_annotators_newest_response_replaces_the_one_before(table: Table) -> None:
    (row,) = table.judge([says("kim", "a"), says("lee", "b"), says("kim", "b")]).rows()
    assert row.chosen[0].content == "c1의 b 답"
    assert sum(row.votes.values()) == 2


def test_a_response_taken_back_to_a_draft_no_longer_counts(table: Table) -> None:
    table.judge([says("kim", "a"), says("kim", "a", status="draft"), SETTLED], BOTH)
    assert table.reasons() == {"c1": "no response"}


def test_two_annotators_of_one_comparison_do_not_replace_each_other(table: Table) -> None:
    (row,) = table.judge([says("kim", "a"), says("lee", "a")]).rows()
    assert row.votes == {"a": 2}


def test_too_few_responses_make_no_preference_where_the_recipe_wants_more(table: Table) -> None:
    responses = [says("kim", "a"), says("kim", "b", "c2"), says("lee", "b", "c2")]
    table.judge(responses, BOTH, min_responses=2)
    assert [row.id for row in table.rows()] == ["c2"]
    assert "fewer than 2" in table.reasons()["c1"]


def test_drafts_do_not_count_towards_the_responses_a_comparison_needs(table: Table) -> None:
    responses = [says("kim", "a"), says("lee", "a", status="draft"), says("kim", "b", "c2"), says("lee", "b", "c2")]
    assert [row.id for row in table.judge(responses, BOTH, min_responses=2).rows()] == ["c2"]


def test_responses_to_comparisons_of_older_candidates_are_counted_aloud_and_not_fatal(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="kormed"):
        table.judge([says("kim", "a"), says("kim", "b", "gone-1"), says("lee", "b", "gone-2")])
    assert [row.id for row in table.rows()] == ["c1"]
    assert any("2 responses" in message for message in caplog.messages)
    assert table.labels()["responses"]["submitted"] == 1


def test_every_comparison_ends_as_a_preference_or_with_a_reason(table: Table) -> None:
    comparisons = [comparison(f"c{at}") for at in range(1, 7)]
    responses = [
        says("kim", "a", "c1"),
        says("kim", "tie", "c2"),
        says("kim", "both_bad", "c3"),
        says("kim", "a", "c4"),
        says("lee", "b", "c4"),
        says("kim", "b", "c5", status="discarded"),
    ]
    table.judge(responses, comparisons)
    assert [row.id for row in table.rows()] == ["c1"]
    assert table.reasons() == {
        "c2": "tie",
        "c3": "both_bad",
        "c4": "undecided",
        "c5": "no response",
        "c6": "no response",
    }
    assert table.metrics == {"preferences": 1, "train": 1, "heldout": 0, "dropped": 5}


# Adjudicators and hidden repeats

SPLIT = [says("kim", "a"), says("lee", "b")]


def test_an_adjudicator_decides_what_annotators_left_undecided_and_the_votes_stay_theirs(table: Table) -> None:
    (row,) = table.judge([*SPLIT, rules("b")]).rows()
    assert row.chosen[0].content == "c1의 b 답"
    assert row.adjudicated
    assert row.votes == {"a": 1, "b": 1}
    assert row.agreement == 0.5
    assert table.labels()["adjudicated"] == 1
    assert table.labels()["annotators"].keys() == {"kim", "lee"}


def test_what_annotators_decide_themselves_is_not_called_adjudicated(table: Table) -> None:
    (row,) = table.judge([says("kim", "a"), says("lee", "a")]).rows()
    assert not row.adjudicated
    assert table.labels()["adjudicated"] == 0


@pytest.mark.parametrize("value", ["tie", "both_bad"])
def test_an_adjudicators_tie_makes_no_preference_either(table: Table, value: Choice) -> None:
    table.judge([*SPLIT, rules(value), SETTLED], BOTH)
    assert table.reasons() == {"c1": value}


def test_adjudicators_who_do_not_agree_leave_it_undecided_and_the_reason_says_so(table: Table) -> None:
    table.judge([*SPLIT, rules("a"), rules("b", name="dr-han"), SETTLED], BOTH)
    assert table.reasons() == {"c1": "undecided: the adjudicators do not agree either"}
    assert table.labels()["dropped"] == {"undecided": 1}


@pytest.mark.parametrize("status", ["draft", "discarded"])
def test_an_adjudicators_draft_decides_nothing(table: Table, status: Status) -> None:
    table.judge([*SPLIT, rules("a", status=status), SETTLED], BOTH)
    assert table.reasons() == {"c1": "undecided"}


def test_an_adjudicators_word_stands_over_a_majority_that_came_about_later_and_that_is_told(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="kormed"):
        (row,) = table.judge([*SPLIT, rules("b"), says("lee", "a")]).rows()
    assert row.chosen[0].content == "c1의 b 답"
    assert row.adjudicated
    assert (row.votes, row.agreement) == ({"a": 2}, 0)
    assert "preferences: c1: the adjudicators' b stands over the annotators' a" in caplog.messages


def test_an_adjudicator_who_takes_the_decision_back_leaves_it_to_the_annotators(table: Table) -> None:
    (row,) = table.judge([*SPLIT, rules("b"), says("lee", "a"), rules("b", status="discarded")]).rows()
    assert row.chosen[0].content == "c1의 a 답"
    assert not row.adjudicated


def test_an_adjudicator_is_no_stand_in_for_annotators_who_have_not_answered_yet(table: Table) -> None:
    responses = [says("kim", "a"), rules("a"), says("kim", "a", "c2"), says("lee", "a", "c2")]
    table.judge(responses, BOTH, min_responses=2)
    assert table.reasons() == {"c1": "fewer than 2 responses"}


def test_a_hidden_repeat_never_votes_and_is_no_stranger(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    repeat = swap(comparison("c1")).id
    responses = [says("kim", "a"), says("kim", "a", repeat), says("lee", "b", repeat), says("park", "a", repeat)]
    with caplog.at_level("INFO", logger="kormed"):
        (row,) = table.judge(responses).rows()
    assert (row.votes, row.chosen[0].content) == ({"a": 1}, "c1의 a 답")
    assert table.labels()["responses"]["submitted"] == 1
    assert not any("other candidates" in message for message in caplog.messages)


# Safety flags


def test_a_better_answer_that_anybody_marked_unsafe_is_dropped_with_every_reason(table: Table) -> None:
    responses = [
        says("kim", "a", unsafe_a=("wrong_information",)),
        says("lee", "a", unsafe_a=("missed_emergency", "wrong_information")),
        says("park", "a"),
        SETTLED,
    ]
    table.judge(responses, BOTH)
    assert table.reasons() == {"c1": "the better answer was marked unsafe: missed_emergency, wrong_information"}
    assert table.labels()["dropped"] == {"the better answer was marked unsafe": 1}
    assert table.labels()["unsafe"] == 1


def test_who_preferred_the_other_answer_can_mark_the_winner_unsafe(table: Table) -> None:
    table.judge([says("kim", "a"), says("lee", "a"), says("park", "b", unsafe_a=("other",)), SETTLED], BOTH)
    assert table.reasons() == {"c1": "the better answer was marked unsafe: other"}


def test_an_adjudicators_flag_counts_like_an_annotators(table: Table) -> None:
    ruling = says("dr-choi", "b", round="adjudication", unsafe_b=("false_certainty",))
    table.judge([*SPLIT, ruling, SETTLED], BOTH)
    assert table.reasons() == {"c1": "the better answer was marked unsafe: false_certainty"}


def test_an_unsafe_answer_that_lost_is_what_a_preference_is_for(table: Table) -> None:
    (row,) = table.judge([says("kim", "a", unsafe_b=("missed_emergency",))]).rows()
    assert row.chosen[0].content == "c1의 a 답"
    assert table.labels()["unsafe"] == 1


def test_a_flag_in_a_draft_is_not_counted(table: Table) -> None:
    table.judge([says("kim", "a"), says("lee", "a", status="draft", unsafe_a=("other",))])
    assert [row.id for row in table.rows()] == ["c1"]
    assert table.labels()["unsafe"] == 0


def test_a_recipe_may_keep_what_was_marked_unsafe(table: Table) -> None:
    table.judge([says("kim", "a", unsafe_a=("other",))], unsafe="keep")
    assert [row.id for row in table.rows()] == ["c1"]
    assert table.labels()["unsafe"] == 1


# Length


def test_a_lean_towards_longer_answers_is_warned_of_and_kept_with_the_labels(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    comparisons = [longer_a(f"c{at}") for at in range(8)]
    with caplog.at_level("WARNING", logger="kormed"):
        table.judge([says("kim", "a", row.id) for row in comparisons], comparisons)
    (message,) = caplog.messages
    assert "the chosen answer is the longer one in 8 of 8 pairs" in message
    lengths = table.labels()["lengths"]
    assert (lengths["chosen_longer"], lengths["rejected_longer"], lengths["equal"]) == (8, 0, 0)
    assert lengths["p"] == pytest.approx(2 / 2**8)
    assert f"preferences: {lengths['warning']}" == message


def test_without_a_lean_there_is_no_warning(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    comparisons = [longer_a(f"c{at}") for at in range(8)]
    with caplog.at_level("WARNING", logger="kormed"):
        table.judge([says("kim", "ab"[at % 2], row.id) for at, row in enumerate(comparisons)], comparisons)  # type: ignore[arg-type]
    assert not caplog.messages
    assert table.labels()["lengths"]["warning"] is None


def longer_a(id: str) -> Comparison:
    one = comparison(id)
    return one.model_copy(update={"a": one.a.model_copy(update={"text": f"{one.a.text}, 그리고 더"})})


# Nothing to train on


@pytest.mark.parametrize(
    "responses",
    [[], [says("kim", "a", status="draft"), says("lee", "b", status="discarded")], [says("kim", "a", "gone")]],
)
def test_without_any_submitted_response_the_way_to_label_is_named(table: Table, responses: list[Response]) -> None:
    with pytest.raises(KormedError, match="no submitted response") as error:
        table.judge(responses)
    assert "make label" in str(error.value)
    assert "make pull" in str(error.value)


def test_with_ties_only_there_is_nothing_to_train_on(table: Table) -> None:
    with pytest.raises(KormedError, match="winner"):
        table.judge([says("kim", "tie"), says("lee", "tie")])
    assert table.reasons() == {"c1": "tie"}


def test_a_broken_line_among_the_responses_is_named(table: Table) -> None:
    path = table.folder / "responses.jsonl"
    path.write_text(
        '{"comparison_id": "c1", "annotator": "kim", "value": "c", "status": "submitted"}\n', encoding="utf-8"
    )
    with pytest.raises(KormedError) as error:
        table.judge([says("lee", "a")])
    assert f"{path}:1: " in str(error.value)
    assert "'value'" in str(error.value)
    assert "'submitted_at'" in str(error.value)


def test_a_pull_killed_in_its_last_line_does_not_stop_preferences(table: Table) -> None:
    """The half line is nobody's answer yet: the next pull writes it whole."""
    path = table.folder / "responses.jsonl"
    table.judge([says("kim", "a"), says("lee", "a")])
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    (table.out / "again").mkdir()
    metrics = preferences.run(
        Preferences(seed=42, heldout=0), table.out / "again", candidates=table.folder / "candidates", responses=path
    )
    assert metrics["train"] == 1
    (row,) = read_jsonl(table.out / "again" / "train.jsonl", Preference)
    assert row.votes == {"a": 1}


# Held out


def many(consults: int, each: int) -> tuple[list[Comparison], list[Response]]:
    comparisons = [comparison(f"c{c}-{n}", f"consult-{c}") for c in range(consults) for n in range(each)]
    return comparisons, [says("kim", "a", row.id) for row in comparisons]


def test_a_consult_stands_in_train_or_held_out_and_never_in_both(table: Table) -> None:
    comparisons, responses = many(consults=10, each=3)
    table.judge(responses, comparisons, heldout=0.3)
    train = {row.consult_id for row in table.rows()}
    heldout = {row.consult_id for row in table.rows("heldout")}
    assert (len(train), len(heldout)) == (7, 3)
    assert not train & heldout
    assert len(table.rows()) + len(table.rows("heldout")) == 30


def test_the_same_seed_holds_the_same_consults_out_whatever_the_order(tmp_path: Path) -> None:
    comparisons, responses = many(consults=12, each=1)
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one = Table(tmp_path / "one").judge(responses, comparisons, heldout=0.25)
    other = Table(tmp_path / "other").judge(responses[::-1], comparisons[::-1], heldout=0.25)
    assert {row.id for row in one.rows("heldout")} == {row.id for row in other.rows("heldout")}


def test_no_share_held_out_means_all_of_it_is_trained_on(table: Table) -> None:
    comparisons, responses = many(consults=3, each=1)
    table.judge(responses, comparisons, heldout=0)
    assert (len(table.rows()), len(table.rows("heldout"))) == (3, 0)


@pytest.mark.parametrize("consults", [1, 2])
def test_a_large_held_out_share_of_few_preferences_leaves_one_to_train_on(table: Table, consults: int) -> None:
    """It once said that no comparison had a winner, which was not so."""
    comparisons, responses = many(consults=consults, each=1)
    assert table.judge(responses, comparisons, heldout=0.9).metrics["train"] >= 1


# The dataset's folder


def test_the_splits_of_the_dataset_are_train_and_held_out(table: Table) -> None:
    comparisons, responses = many(consults=10, each=2)
    table.judge(responses, comparisons, heldout=0.2)
    for split, part in (("train", "train"), ("test", "heldout")):
        rows = [json.loads(line) for line in (table.out / "dataset" / f"{split}.jsonl").read_text().splitlines()]
        assert [row["prompt"][0]["content"] for row in rows] == [row.prompt[0].content for row in table.rows(part)]
    assert not {row.consult_id for row in table.rows()} & {row.consult_id for row in table.rows("heldout")}
    assert (table.out / "dataset" / "README.md").exists()


# Labels


def test_labels_tell_who_said_what_and_how_far_they_agree(table: Table) -> None:
    responses = [
        says("kim", "a", "c1"),
        says("lee", "a", "c1"),
        says("park", "b", "c1"),
        says("kim", "tie", "c2"),
        says("lee", "both_bad", "c2"),
        says("park", "a", "c2", status="draft"),
        says("kim", "a", "c3", status="discarded"),
    ]
    labels = table.judge(responses, [*BOTH, comparison("c3"), comparison("c4")]).labels()
    assert labels["responses"] == {"submitted": 5, "draft": 1, "discarded": 1}
    assert labels["values"] == {"a": 2, "b": 1, "tie": 1, "both_bad": 1}
    assert labels["annotators"]["kim"] == {"submitted": 2, "a": 1, "b": 0, "tie": 1, "both_bad": 0}
    assert labels["annotators"].keys() == {"kim", "lee", "park"}
    assert (labels["comparisons"], labels["labelled"], labels["kept"]) == (4, 2, 1)
    assert labels["dropped"] == {"undecided": 1, "no response": 2}
    assert labels["agreement"] == pytest.approx(1 / 4)  # of c1's three pairs and c2's one, kim and lee on c1


def test_one_annotator_agrees_with_nobody_and_the_agreement_is_not_there(table: Table) -> None:
    assert table.judge([says("kim", "a")]).labels()["agreement"] is None
