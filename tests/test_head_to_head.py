"""head_to_head: every held-out consult that both checkpoints answered is put up once, or its absence has a reason."""

from pathlib import Path

import pytest

from stages import head_to_head
from stages.core.errors import KormedError
from stages.core.pairing import comparison_id
from stages.core.recipe import HeadToHead
from stages.core.records import Comparison, Dropped, HeldoutAnswer, read_jsonl, write_jsonl

Texts = dict[str, str]  # an answer's text by consult id


class Table:
    """Held-out answers of both checkpoints on disk, and what `head_to_head` makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.metrics: dict[str, float] = {}

    def compare(self, sft: Texts, dpo: Texts, *, asked: Texts | None = None, limit: int | None = None) -> "Table":
        """`asked`: what DPO was asked instead, by consult id."""
        self.out.mkdir(parents=True)
        for name, texts, questions in (("sft", sft, {}), ("dpo", dpo, asked or {})):
            (self.folder / name).mkdir()
            write_jsonl(
                self.folder / name / "heldout.jsonl",
                [
                    HeldoutAnswer(
                        consult_id=id,
                        question=questions.get(id, f"{id} 물음"),
                        patient_information="30대",
                        reference="쉬세요.",
                        text=text,
                        finished=not text.endswith("…"),
                    )
                    for id, text in texts.items()
                ],
            )
        self.metrics = head_to_head.run(
            HeadToHead(seed=42, limit=limit),
            self.out,
            evaluate_sft=self.folder / "sft",
            evaluate_dpo=self.folder / "dpo",
        )
        return self

    def rows(self) -> list[Comparison]:
        return read_jsonl(self.out / "comparisons.jsonl", Comparison)

    def reasons(self) -> Texts:
        return {row.id: row.reason for row in read_jsonl(self.out / "dropped.jsonl", Dropped)}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def many(count: int, word: str) -> Texts:
    return {f"k{n}": f"{word} {n}" for n in range(count)}


def test_the_answers_to_one_consult_are_compared_with_each_other(table: Table) -> None:
    rows = table.compare(many(5, "쉬세요"), many(5, "가세요")).rows()
    assert [row.consult_id for row in rows] == ["k0", "k1", "k2", "k3", "k4"]
    for row in rows:
        assert {row.a.text, row.b.text} == {f"쉬세요 {row.consult_id[1:]}", f"가세요 {row.consult_id[1:]}"}
        assert row.id == comparison_id(row.consult_id, row.a.text, row.b.text)
    assert table.metrics == {"comparisons": 5, "dropped": 0, "identical": 0}


def test_equal_answers_are_counted_and_not_shown(table: Table) -> None:
    table.compare({"k1": "쉬세요.", "k2": "푹 쉬세요."}, {"k1": "가세요.", "k2": "푹  쉬세요.\n"})
    assert [row.consult_id for row in table.rows()] == ["k1"]
    assert table.reasons() == {"k2": "both answers are the same"}
    assert table.metrics == {"comparisons": 1, "dropped": 1, "identical": 1}


def test_a_consult_that_only_one_checkpoint_answered_is_dropped_and_names_it(table: Table) -> None:
    table.compare({"k1": "쉬세요.", "k2": "쉬세요."}, {"k1": "가세요.", "k3": "가세요."})
    assert [row.consult_id for row in table.rows()] == ["k1"]
    assert table.reasons() == {
        "k2": "only one checkpoint answered it: sft",
        "k3": "only one checkpoint answered it: dpo",
    }


def test_a_cut_off_answer_is_compared_and_known_for_one(table: Table) -> None:
    (row,) = table.compare({"k1": "쉬세요."}, {"k1": "가세…"}).rows()
    assert {candidate.checkpoint: candidate.finished for candidate in (row.a, row.b)} == {"sft": True, "dpo": False}


def test_a_larger_limit_keeps_the_consults_of_a_smaller_one(tmp_path: Path) -> None:
    few, more = (
        {
            row.consult_id
            for row in Table(tmp_path / str(n)).compare(many(30, "쉬세요"), many(30, "가세요"), limit=n).rows()
        }
        for n in (5, 12)
    )
    assert (len(few), len(more)) == (5, 12)
    assert few < more
    assert few != {f"k{n}" for n in range(5)}, "drawn, not the first ones"


def test_different_questions_under_one_id_are_refused(table: Table) -> None:
    with pytest.raises(KormedError, match="different questions as consult k1; evaluate both again"):
        table.compare({"k1": "쉬세요."}, {"k1": "가세요."}, asked={"k1": "다른 물음"})


def test_where_dpo_changed_no_answer_there_is_nothing_to_ask_and_that_is_said(table: Table) -> None:
    with pytest.raises(KormedError, match="the same answer to every one of 3 held-out consults"):
        table.compare(many(3, "쉬세요"), many(3, "쉬세요"))
    assert len(table.reasons()) == 3


def test_without_held_out_answers_the_setting_is_named(table: Table) -> None:
    with pytest.raises(KormedError, match="prepare.heldout_consults"):
        table.compare({}, {})
