"""report, section by section: what a run has beside the headline stands there in both languages and both formats."""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stages.core.decontamination import Hit
from stages.core.errors import KormedError
from stages.core.languages import korean
from stages.core.other_tasks import Figure
from stages.core.records import (
    LETTERS,
    Answer,
    Checkpoint,
    HeldoutAnswer,
    Judged,
    Preference,
    Variant,
    VariantAnswer,
    read_jsonl,
    write_jsonl,
)
from tests import test_report as runs
from tests.pages import assert_asks_nothing_of_the_network, words

RIGHT: dict[Checkpoint, dict[str, tuple[int, int]]] = {  # the first ones of each subset are the right ones
    "base": {"doctor": (12, 40), "nurse": (20, 60)},
    "sft": {"doctor": (20, 40), "nurse": (35, 60)},
    "dpo": {"doctor": (19, 40), "nurse": (35, 60)},
}
FORMS: dict[str, dict[str, Any]] = {
    "zero_shot": {"task": "kormedmcqa", "fewshot": 0, "chat_template": True, "prompts": {"nurse": "abc"}},
    "chat_form": {"task": "kormedmcqa_chat_form", "fewshot": 0, "chat_template": True, "prompts": {"nurse": "def"}},
}
FORM_RIGHT: dict[Checkpoint, dict[Variant, int]] = {  # of 20 questions
    "base": {"zero_shot": 2, "chat_form": 3},
    "sft": {"zero_shot": 3, "chat_form": 15},
    "dpo": {"zero_shot": 3, "chat_form": 15},
}
ELSEWHERE: dict[Checkpoint, tuple[float, float]] = {"base": (0.512, 61.25), "sft": (0.458, 74.5), "dpo": (0.442, 75.0)}
PUBLISHED = "Beside the published figures, which are not run by us"
GIBIBYTE = 2**30
LENGTHS = {"base": (), "sft": (30, 31, 29, 32), "dpo": (60, 62, 58, 0)}  # characters of the answers to four consults


def letters_of(likeliest: str) -> tuple[float, ...]:
    """Log-probabilities of A to E, of which one has 0.6."""
    return tuple(math.log(0.6 if letter == likeliest else 0.1) for letter in LETTERS)


def ask_letters(run: Path, checkpoint: Checkpoint) -> None:
    """Every second answer has the right letter as its likeliest; half of those without a letter can be read."""
    file = run / "evaluate" / checkpoint / "answers.jsonl"
    changed = [
        answer.model_copy(
            update={
                "letters": letters_of(answer.target if number % 2 else "A"),
                "read": answer.target if answer.correct or number % 2 else None,
            }
        )
        for number, answer in enumerate(read_jsonl(file, Answer))
    ]
    write_jsonl(file, changed)


def write_forms(run: Path, checkpoint: Checkpoint) -> None:
    rows = [
        VariantAnswer(
            variant=variant,
            subset="nurse",
            doc_id=number,
            doc_hash=str(number),
            target="B",
            text="B" if number < right else "모르겠습니다",
            extracted="B" if number < right else "[invalid]",
            correct=number < right,
            letters=letters_of("B" if number < 8 else "A"),
        )
        for variant, right in FORM_RIGHT[checkpoint].items()
        for number in range(20)
    ]
    write_jsonl(run / "evaluate" / checkpoint / "variants.jsonl", rows)


def hit(row: str, item: str, *, dropped: bool) -> Hit:
    return Hit(
        row_id=row,
        hit_id=item,
        kind="exact_stem",
        against="benchmark",
        stem_similarity=1.0,
        choices_similarity=None,
        dropped=dropped,
        reason="stem stands in the benchmark",
        row_text="고혈압의 첫 치료는?",
        hit_text="고혈압의 첫 치료는?",
    )


def write_hits(run: Path) -> None:
    """Doctor's questions 1 (its row was dropped) and 3 (its row was kept), which every checkpoint got right."""
    hits = [
        hit("kormedmcqa/doctor/train/7", "kormedmcqa/doctor/test/1", dropped=True),
        hit("kormedmcqa/doctor/train/8", "kormedmcqa/doctor/test/3", dropped=False),
        hit("kormedmcqa/doctor/train/9", "kormedmcqa/doctor/dev/5", dropped=True),
    ]
    runs.write_rows(run / "prepare" / "hits.jsonl", hits)


def other(task: str, metric: str, value: float, **changes: Any) -> Figure:
    found: dict[str, Any] = {
        "asked": task,
        "task": task,
        "version": "1.0",
        "fewshot": 3,
        "metric": metric,
        "filter": "none",
        "value": value,
        "stderr": None,
        "n": 250,
    }
    return Figure(**(found | changes))


def write_other(run: Path, checkpoint: Checkpoint) -> None:
    right, perplexity = ELSEWHERE[checkpoint]
    figures = [
        other("village_quiz", "acc", right, stderr=0.0316),
        other("village_quiz", "acc_norm", right + 0.2, stderr=0.03),
        other("village_tales", "word_perplexity", perplexity, fewshot=0, n=12, version="2.0"),
    ]
    runs.write_json(run / "evaluate" / checkpoint / "other.json", [asdict(figure) for figure in figures])


def write_heldout(run: Path, checkpoint: Checkpoint) -> None:
    """Four consults; DPO's answers are longer but for the last, an empty one that was cut off."""
    told = [
        HeldoutAnswer(
            consult_id=f"consult-{number}",
            question=runs.CONSULT.question,
            patient_information=runs.CONSULT.patient_information,
            reference=runs.CONSULT.answer,
            text="".join(chr(ord("가") + place) for place in range(characters)),
            finished=characters > 0,
        )
        for number, characters in enumerate(LENGTHS[checkpoint])
    ]
    runs.write_rows(run / "evaluate" / checkpoint / "heldout.jsonl", told)


def write_judged(run: Path, *, old: bool = False) -> None:
    """Twelve held-out preferences of twelve consults; DPO's reward (beta 0.125) is wrong in the first alone."""
    (one,) = read_jsonl(run / "preferences" / "train.jsonl", Preference)
    pairs = [one.model_copy(update={"id": str(number), "consult_id": f"consult-{number}"}) for number in range(12)]
    now = {} if old else {"chosen_before": -40.0, "rejected_before": -50.0, "chosen_tokens": 20, "rejected_tokens": 10}
    judged = [
        Judged(id=pair.id, margin=move / 4, loss=0.6, chosen_change=move, rejected_change=-move, **now)
        for pair, move in zip(pairs, [-1.2] + [1.2] * 11, strict=True)
    ]
    runs.write_rows(run / "preferences" / "heldout.jsonl", pairs)
    runs.write_rows(run / "dpo" / "heldout.jsonl", judged)


def write_cost(folder: Path, **said: Any) -> None:
    """Fields of a manifest that stands there already."""
    file = folder / "manifest.json"
    runs.write_json(file, json.loads(file.read_text(encoding="utf-8")) | said)


def on_gpu(hours: float, gpus: int = 1, memory: float = 9) -> dict[str, Any]:
    seconds, bytes_ = 3600 * hours, int(memory * GIBIBYTE)
    said = {"seconds": seconds, "gpus": gpus, "gpu_seconds": gpus * seconds}
    return said | {"peak_memory": bytes_, "peak_memory_of": "gpu"}


def write_costs(run: Path) -> None:
    """Of all stages but candidates and preferences, whose manifests are from before cost was recorded."""
    write_cost(run / "sft", **on_gpu(2, memory=21), sessions=2)
    in_process = {"gpus": 0, "gpu_seconds": 0.0, "peak_memory": int(1.5 * GIBIBYTE), "peak_memory_of": "process"}
    write_cost(run / "prepare", device="CPU, 2 cores", seconds=90.0, **in_process)
    for folder in run.glob("evaluate/*"):
        write_cost(folder, **on_gpu(0.1))
    if (run / "dpo").exists():
        write_cost(run / "dpo", device="2 x NVIDIA H200", **on_gpu(0.5, gpus=2, memory=20))


def evaluate(run: Path, checkpoint: Checkpoint, **settings: Any) -> None:
    """A checkpoint's evaluation with all that can be beside the headline."""
    told = {"letters_as": list(LETTERS), "variants": FORMS} | settings
    runs.write_evaluation(run, checkpoint, RIGHT[checkpoint], settings=told)
    ask_letters(run, checkpoint)
    write_forms(run, checkpoint)
    write_other(run, checkpoint)
    if checkpoint != "base":
        write_heldout(run, checkpoint)


def write_run(run: Path, checkpoints: Sequence[Checkpoint], **settings: Any) -> Path:
    """A run with everything that the report can show; its benchmark has as many questions as KorMedMCQA."""
    runs.write_prepare(run)
    rows = runs.exam_rows("kormedmcqa/doctor", "ABCDE" * 12) + runs.exam_rows("kormedmcqa/nurse", "ABCDE" * 8)
    split = {"train": 101, "dev": 2, "fewshot": 5}
    runs.write_eda(run, rows, benchmark={"doctor": {**split, "test": 435}, "nurse": {**split, "test": 878}})
    write_hits(run)
    runs.write_sft(run)
    if "dpo" in checkpoints:
        runs.write_labels(run, ["kim", "lee"])
        runs.write_long_dpo(run, chosen=1.0, heldout=[0.75, 11 / 12])
        write_judged(run)
    for checkpoint in checkpoints:
        evaluate(run, checkpoint, **settings)
    write_costs(run)
    return run


@dataclass(frozen=True)
class Pages:
    """A report as its readers get it."""

    folder: Path
    korean: str
    english: str
    markdown: str


def reported(run: Path) -> Pages:
    english, markdown = runs.made(run)
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    return Pages(run / "report", runs.half(html, "ko"), english, markdown)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Of a run with DPO and everything else."""
    return reported(write_run(tmp_path_factory.mktemp("whole"), ("base", "sft", "dpo")))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Of a run without DPO and everything else."""
    return reported(write_run(tmp_path_factory.mktemp("pair"), ("base", "sft")))


def sections(half: str) -> dict[str, str]:
    """By their names, as they stand in the page."""
    found = re.split(r'<section id="\w\w-', half)[1:]
    return {one.partition('"')[0]: "<section>" + one.partition(">")[2] for one in found}


def section(half: str, name: str) -> str:
    return words(sections(half)[name]).replace("\u00a0", " ")


def chapter(markdown: str, heading: str) -> str:
    """What stands under a heading, up to the next one of any depth."""
    found = re.split(r"^#+ ", markdown, flags=re.MULTILINE)
    (text,) = [one for one in found if one.startswith(f"{heading}\n")]
    return text


def line(markdown: str, start: str) -> list[str]:
    """The cells of the one row of a table that begins so, without the first."""
    (row,) = [one for one in markdown.splitlines() if one.startswith(f"| {start} |")]
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def tables(html: str) -> list[list[list[str]]]:
    """Every table as rows of cells' words; a cell over several columns stands there as often."""

    class Cells(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[list[list[str]]] = []
            self.span = 0  # of the cell that is open

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "table":
                self.found.append([])
            elif tag == "tr":
                self.found[-1].append([])
            elif tag in ("th", "td"):
                self.span = int(dict(attrs).get("colspan") or 1)
                self.found[-1][-1] += [""] * self.span

        def handle_endtag(self, tag: str) -> None:
            if tag in ("th", "td"):
                self.span = 0

        def handle_data(self, data: str) -> None:
            for place in range(1, self.span + 1):
                self.found[-1][-1][-place] += data

    parser = Cells()
    parser.feed(html)
    return [[[" ".join(cell.split()) for cell in row] for row in table] for table in parser.found]


def numbers(text: str) -> Counter[str]:
    """With their signs."""
    return Counter(re.findall(r"(?:[+−]|[▴▾] )?\d+(?:,\d{3})*(?:\.\d+)?", text))


def card(pages: Pages, checkpoint: Checkpoint) -> str:
    return (pages.folder / checkpoint / "README.md").read_text(encoding="utf-8")


# The page as a whole


def test_both_languages_have_the_same_numbers_in_every_section(whole: Pages, pair: Pages) -> None:
    for pages in (whole, pair):
        ours, theirs = sections(pages.korean), sections(pages.english)
        assert list(ours) == list(theirs)
        for name in ours:
            fifth = Counter("51") if "5분의 1" in ours[name] else Counter()  # which is a word in English
            assert numbers(words(ours[name])) - fifth == numbers(words(theirs[name])), name
            korean_tables, english_tables = tables(ours[name]), tables(theirs[name])
            assert len(korean_tables) == len(english_tables), name
            for said, meant in zip(korean_tables, english_tables, strict=True):
                assert len(said) == len(meant), name
                for row, other_row in zip(said, meant, strict=True):
                    assert [numbers(cell) for cell in row] == [numbers(cell) for cell in other_row], (name, row)


def test_no_section_asks_anything_of_the_network(whole: Pages) -> None:
    assert_asks_nothing_of_the_network((whole.folder / "report.html").read_text(encoding="utf-8"))


def test_every_row_of_a_table_has_a_cell_under_every_heading(whole: Pages, pair: Pages) -> None:
    for half in (whole.korean, whole.english, pair.korean, pair.english):
        for name, html in sections(half).items():
            for heading, *rows in tables(html):
                assert rows, (name, heading)
                assert {len(row) for row in rows} == {len(heading)}, (name, heading)


def test_every_row_of_a_table_in_markdown_has_a_cell_under_every_heading(whole: Pages, pair: Pages) -> None:
    for markdown in (whole.markdown, pair.markdown):
        found = re.findall(r"^(\|.+\|)\n\|((?: -+:? \|)+)\n((?:\|.*\n?)+)", markdown, re.MULTILINE)
        assert len(found) > 8
        for heading, rule, rows in found:
            counts = {len(re.findall(r"(?<!\\)\|", row)) for row in (heading, f"|{rule}", *rows.splitlines())}
            assert len(counts) == 1, heading


@pytest.mark.parametrize(
    ("heading", "name", "at"),
    [
        ("Exam accuracy", "accuracy", 0),
        (PUBLISHED, "accuracy", 1),
        ("Answers without a letter, and what guessing would give", "beside", 0),
        ("The same answers, read in other ways", "beside", 1),
        ("Other forms of the exam, and other questions", "beside", 2),
        ("Other benchmarks", "elsewhere", 0),
        ("The preference side", "preference", 0),
        ("Cost", "cost", 0),
    ],
)
def test_a_table_has_the_same_numbers_in_html_and_markdown(heading: str, name: str, at: int, whole: Pages) -> None:
    rows = [row.strip("|").split("|") for row in chapter(whole.markdown, heading).splitlines() if row.startswith("|")]
    if name == "preference":  # two tables, one after the other
        rows = rows[:4]
    shown = tables(sections(whole.english)[name])[at]
    assert len(shown) > 1
    assert [[numbers(cell) for cell in row[1:]] for row in shown[1:]] == [
        [numbers(cell) for cell in row[1:]] for row in rows[2:]
    ]


def test_a_run_without_dpo_has_no_empty_column_and_never_speaks_of_dpo(pair: Pages) -> None:
    for page in (pair.korean, pair.english, pair.markdown, card(pair, "sft")):
        assert "DPO" not in page
    for half in (pair.korean, pair.english):
        for name, html in sections(half).items():
            for heading, *rows in tables(html):
                for column, title in enumerate(heading):
                    assert any(row[column] not in ("", "–") for row in rows), (name, title)


def test_an_evaluation_of_old_still_gives_a_report_without_what_it_does_not_know(tmp_path: Path) -> None:
    runs.write_prepare(tmp_path)
    runs.write_sft(tmp_path)
    runs.write_labels(tmp_path, ["kim", "lee"])
    runs.write_dpo(tmp_path)
    write_judged(tmp_path, old=True)
    for checkpoint, right in RIGHT.items():
        runs.write_evaluation(tmp_path, checkpoint, right)
        file = tmp_path / "evaluate" / checkpoint / "settings.json"
        settings = json.loads(file.read_text(encoding="utf-8"))
        runs.write_json(file, {key: value for key, value in settings.items() if key != "base_fingerprint"})
    pages = reported(tmp_path)
    for page in (words(pages.english), pages.markdown):
        assert "Exam accuracy" in page
        assert "Other forms of the exam" not in page
        assert "Other benchmarks" not in page
        assert "read in other ways" not in page
        assert "contaminated" not in page
        assert "agrees with the annotators in 11 of 12 held-out pairs" in page
        assert "is unknown, since they were made before that was recorded" in page


# The summary


def summary(half: str) -> str:
    return words(half.partition("<nav")[0]).replace("\u00a0", " ")


def test_the_summary_says_how_many_of_the_bases_answers_named_no_letter(pair: Pages) -> None:
    """32 of 100 right and 68 without a letter; SFT has 55 right."""
    assert "SFT got 55.00 % right against base's 32.00 %: better (p \\< 0.001); but 68.0 % of base's" in pair.markdown
    assert "but 68.0 % of base's answers named no letter, which counts as wrong." in summary(pair.english)
    assert "학습 전 모델의 답변 중 68.0 %에는 보기 글자가 없어" in summary(pair.korean)


def test_the_summary_says_where_no_checkpoint_is_shown_to_beat_one_letter(tmp_path: Path) -> None:
    """The right answers are A to E in turn, so that always answering A is right in 20 of 100."""
    runs.write_prepare(tmp_path)
    runs.write_sft(tmp_path)
    runs.write_evaluation(tmp_path, "base", {"doctor": (18, 100)})
    runs.write_evaluation(tmp_path, "sft", {"doctor": (21, 100)})
    pages = reported(tmp_path)
    for page in (summary(pages.english), pages.markdown):
        assert "no difference shown (p = 0.25), so these answers do not tell whether training helped or harm" in page
        assert "but no checkpoint is shown to do better than always answering A (20.00 %)." in page
    assert "어느 체크포인트도 항상 A라고만 답하는 것(20.00 %)보다 낫다고 확인되지 않았습니다" in summary(pages.korean)
    runs.write_evaluation(tmp_path, "sft", {"doctor": (60, 100)})
    assert "always answering" not in summary(reported(tmp_path).english)


# Beside the headline


def test_other_forms_of_the_exam_stand_beside_the_headline(whole: Pages) -> None:
    text = chapter(whole.markdown, "Other forms of the exam, and other questions")
    assert re.search(r"^\| headline: [^|]*\b5\b[^|]*\| 32\.00 % \(23\.7–41\.7\) \| 55\.00 %", text, re.MULTILINE)
    assert line(text, "the same task without examples") == [
        "10.00 % (2.8–30.1)",
        "15.00 % (5.2–36.0)",
        "15.00 % (5.2–36.0)",
    ]
    trained = "in the words that SFT is trained in, without examples"
    assert [cell.partition(" (")[0] for cell in line(text, trained)] == ["15.00 %", "75.00 %", "75.00 %"]
    assert {cell.partition(" (")[0] for cell in line(text, f"{trained}, by the likeliest letter")} == {"40.00 %"}
    assert line(text, f"{trained}, no letter found") == ["17", "5", "5"]
    found = section(whole.english, "beside")
    assert "in the words that SFT is trained in, without examples 15.00 % (5.2–36.0) 75.00 %" in found
    assert "no letter found 17 5 5" in found
    assert "10.00 % (2.8–30.1) 15.00 % (5.2–36.0)" in section(whole.korean, "beside")


def test_a_gain_in_sfts_own_words_is_told_from_none_without_examples(whole: Pages) -> None:
    """12 more of 20 right is shown, one more is not."""
    for text in (whole.markdown, section(whole.english, "beside")):
        assert re.search(r"[Ww]ithout examples, base → SFT: \+5\.0 points, no difference shown \(p = 1\.00\)", text)
        assert re.search(r"[Ii]n SFT's words, base → SFT: \+60\.0 points, better \(p (=|\\?<) 0\.001\)", text)
        assert re.search(r"[Ii]n SFT's words, SFT → DPO: 0\.0 points, no difference shown", text)


def test_where_no_letter_is_a_token_of_its_own_a_dash_stands_for_the_likeliest(tmp_path: Path) -> None:
    write_run(tmp_path, ("base", "sft"))
    for checkpoint in ("base", "sft"):
        folder = tmp_path / "evaluate" / checkpoint
        plain = [one.model_copy(update={"letters": None}) for one in read_jsonl(folder / "answers.jsonl", Answer)]
        write_jsonl(folder / "answers.jsonl", plain)
        forms = read_jsonl(folder / "variants.jsonl", VariantAnswer)
        write_jsonl(folder / "variants.jsonl", [one.model_copy(update={"letters": None}) for one in forms])
    text = reported(tmp_path).markdown
    assert line(text, "right by the likeliest letter, nothing written") == ["–", "–"]
    assert line(text, "calibration error of the likeliest letter") == ["–", "–"]
    assert line(text, "the same task without examples, by the likeliest letter") == ["–", "–"]


def test_scores_without_the_contaminated_questions_stand_beside_the_headline(whole: Pages) -> None:
    """Two of the 100, which all got right: 30, 53 and 52 of 98 are left."""
    text = chapter(whole.markdown, "Other forms of the exam, and other questions")
    row = line(text, "headline, 2 contaminated questions left out")
    assert [cell.partition(" (")[0] for cell in row] == ["30.61 %", "54.08 %", "53.06 %"]
    found = section(whole.english, "beside")
    assert "headline, contaminated questions left out (2) 30.61 %" in found
    assert "30.61 %" in section(whole.korean, "beside")
    for said in (text, found):
        assert re.search(r"like 1 of them were kept", said)


def test_where_nothing_was_like_the_exam_that_is_said(tmp_path: Path) -> None:
    write_run(tmp_path, ("base", "sft"))
    runs.write_rows(tmp_path / "prepare" / "hits.jsonl", [])
    pages = reported(tmp_path)
    for text in (pages.markdown, section(pages.english, "beside")):
        assert "No row of the training data was like any of these test questions." in text


# Other benchmarks


def test_other_benchmarks_stand_with_their_errors_and_what_they_are_of(whole: Pages) -> None:
    text = chapter(whole.markdown, "Other benchmarks")
    assert line(text, "village\\_quiz, acc") == ["0.512 ± 0.032", "0.458 ± 0.032", "0.442 ± 0.032"]
    assert line(text, "village\\_tales, word\\_perplexity") == ["61.25", "74.5", "75"]
    for half in (whole.english, whole.korean):
        found = section(half, "elsewhere")
        assert "0.512 ± 0.032 0.458 ± 0.032 0.442 ± 0.032" in found
        assert "61.25 74.5 75" in found
        assert "250" in found  # items, without which nobody can judge a figure
    found = section(whole.english, "elsewhere")
    assert "village_quiz: version 1.0, 3 few-shot examples. village_tales: version 2.0, 0 few-shot examples." in found
    assert found.count("village_quiz: ") == 1  # of two metrics
    found = text.replace("\\", "")
    assert "village_quiz: version 1.0, 3 few-shot examples, 250 items. village_tales: version 2.0, 0 few-shot" in found


def test_the_name_of_ones_own_task_is_shown_letter_by_letter(tmp_path: Path) -> None:
    write_run(tmp_path, ("base", "sft"))
    for checkpoint in ("base", "sft"):
        figure = other("<img src=x>|*quiz*", "acc", 0.5, version="<b>1|0")
        runs.write_json(tmp_path / "evaluate" / checkpoint / "other.json", [asdict(figure)])
    pages = reported(tmp_path)
    assert "<img" not in pages.english + pages.korean
    assert "<img src=x>|*quiz*, acc 250 0.5 0.5" in section(pages.english, "elsewhere")
    text = chapter(pages.markdown, "Other benchmarks")
    assert "| \\<img src=x\\>\\|\\*quiz\\*, acc | 0.5 | 0.5 |" in text
    assert "version \\<b\\>1\\|0" in text


def test_a_run_without_other_benchmarks_has_no_such_section(tmp_path: Path) -> None:
    write_run(tmp_path, ("base", "sft"))
    for checkpoint in ("base", "sft"):
        (tmp_path / "evaluate" / checkpoint / "other.json").unlink()
    pages = reported(tmp_path)
    assert "elsewhere" not in sections(pages.english)
    assert "Other benchmarks" not in pages.markdown


def test_checkpoints_with_other_benchmarks_of_other_versions_stop_the_report(tmp_path: Path) -> None:
    write_run(tmp_path, ("base", "sft"))
    figures = [other("village_quiz", metric, 0.5, stderr=0.03) for metric in ("acc", "acc_norm")]
    figures.append(other("village_tales", "word_perplexity", 70.0))
    runs.write_json(tmp_path / "evaluate" / "sft" / "other.json", [asdict(figure) for figure in figures])
    with pytest.raises(KormedError, match=r": village_tales in another version.*--checkpoint sft RECIPE --force"):
        reported(tmp_path)


# The preference side and the form of answers


def test_heldout_pairs_stand_with_their_interval_and_test(whole: Pages) -> None:
    """11 of 12 by one consult each: exact binomial p = 2 * 13 / 4096."""
    for text in (whole.markdown, section(whole.english, "preference")):
        assert (
            "DPO's reward agrees with the annotators in 11 of 12 held-out pairs (91.7 %, 95 % interval 65–99 %): "
            "more often than a coin would (p = 0.006)." in text
        )
        assert (
            "chosen answers' log-probability moved from −40.00 to −39.00 on average from SFT to DPO, up for 11" in text
        )
        assert (
            "Always taking the answer with more tokens would agree with the annotators in 12 of 12 (100.0 %)." in text
        )
    assert line(whole.markdown, "chosen") == ["−40.00", "−39.00", "−2.00", "−1.95", "20 (20–20)"]
    assert line(whole.markdown, "rejected") == ["−50.00", "−51.00", "−5.00", "−5.10", "10 (10–10)"]
    assert "−40.00 −39.00 −2.00 −1.95 20" in section(whole.korean, "preference")


def test_the_form_of_answers_is_told_from_sft_to_dpo(whole: Pages) -> None:
    for text in (whole.markdown, section(whole.english, "preference")):
        assert "SFT and DPO answered the same 4 held-out consults, to none of them with the same words." in text
        assert "DPO's is the longer one for 3 and the shorter one for 1" in text
        assert "Cut off at the token limit: 0 of 4 of SFT's answers (0.0 %) and 1 of 4 of DPO's (25.0 %)" in text
        assert "Empty: 0 of 4 of SFT's answers (0.0 %) and 1 of 4 of DPO's (25.0 %)" in text
        assert "Found in no answer: repeating itself, declining to answer." in text
    assert line(whole.markdown, "empty")[2:4] == ["1", "0"]


def test_without_dpo_the_form_of_sfts_answers_is_told_alone(pair: Pages) -> None:
    for text in (pair.markdown, section(pair.english, "preference")):
        assert "The form of the answers" in text
        assert "SFT answered 4 held-out consults. SFT's answers have 30 characters (median)." in text
        assert "The preference side" not in text


def test_a_run_that_answered_no_consult_and_held_out_no_pair_has_no_such_section(tmp_path: Path) -> None:
    write_run(tmp_path, ("base", "sft"))
    (tmp_path / "evaluate" / "sft" / "heldout.jsonl").unlink()
    pages = reported(tmp_path)
    assert "preference" not in sections(pages.korean)
    assert "The form of the answers" not in pages.markdown


def test_labels_of_a_rule_are_said_to_be_that_beside_the_preference_side_and_in_dpos_card(tmp_path: Path) -> None:
    write_run(tmp_path, ("base", "sft", "dpo"))
    runs.write_labels(tmp_path, ["simulated-1"])
    write_judged(tmp_path)
    pages = reported(tmp_path)
    note = "no human judged these answers"
    assert note in section(pages.english, "preference")
    assert note in chapter(pages.markdown, "The preference side")
    assert "imulated" in card(pages, "dpo")
    assert "imulated" not in card(pages, "sft")


# Cost


def test_cost_is_added_up_over_what_was_recorded_and_the_rest_is_called_unknown(whole: Pages) -> None:
    """2 h of SFT, half an hour of DPO on two GPUs, three evaluations of 0.1 h: 3.3 GPU hours."""
    for text in (whole.markdown, section(whole.english, "cost")):
        assert (
            "SFT, DPO and evaluation took 3.3 GPU hours on up to 2 x NVIDIA H200; the largest peak was 21.0 GiB" in text
        )
        assert "How many GPU hours candidates and preferences took on NVIDIA H200 is unknown" in text
        assert "Prepare took 1 min 30 s without a GPU (CPU, 2 cores); its peak was 1.5 GiB of main memory" in text
    text = chapter(whole.markdown, "Cost")
    assert line(text, "sft") == ["2 h 00 min in 2 sessions", "1 x NVIDIA H200", "2.0", "21.0 GiB, GPU"]
    assert line(text, "dpo")[2] == "1.0"
    assert line(text, "candidates") == ["at least 1 min 01 s", "1 x NVIDIA H200", "unknown", "unknown"]
    assert line(text, "prepare")[2:] == ["–", "1.5 GiB, main memory"]


# Published figures


def test_published_figures_stand_beside_a_run_of_the_published_recipe(whole: Pages) -> None:
    row = line(chapter(whole.markdown, PUBLISHED), "doctor")
    assert [cell.split(" %")[0] for cell in row] == ["33.10", "13.3", "30.00", "38.39", "50.00", "47.50"]
    assert row[3:5] == ["38.39 % ▴ 15.98 %", "50.00 % ▴ 66.67 %"]
    assert "Figures that were asked otherwise may differ" in chapter(whole.markdown, PUBLISHED)
    for half in (whole.english, whole.korean):
        found = section(half, "accuracy")
        assert "33.10 % 13.3 % 30.00 % 38.39 % ▴ 15.98 % 50.00 % ▴ 66.67 % 47.50 %" in found
        assert "arXiv 2403.01469" in found
    assert PUBLISHED in section(whole.english, "accuracy")


@pytest.mark.parametrize("changes", [{"limit": 100}, {"base": "google/gemma-2-9b-it"}], ids=["limit", "base"])
def test_published_figures_are_absent_beside_any_other_run(changes: dict[str, Any], tmp_path: Path) -> None:
    pages = reported(write_run(tmp_path, ("base", "sft"), **changes))
    for page in (pages.korean, pages.english, pages.markdown):
        assert PUBLISHED not in page
        assert korean().words[PUBLISHED] not in page
        assert "15.98" not in page
        assert "2403.01469" not in page


def test_published_figures_are_absent_beside_another_benchmark(tmp_path: Path) -> None:
    write_run(tmp_path, ("base", "sft"))
    runs.write_eda(tmp_path, runs.exam_rows("own/doctor", "ABCDE"), benchmark={"doctor": {"test": 40}})
    assert "15.98" not in reported(tmp_path).markdown


# Pictures


def test_the_forest_plot_says_the_numbers_of_the_table(whole: Pages) -> None:
    """Net change and interval of every line, as the table of the differences has them in Markdown."""
    (name,) = re.findall(r'aria-label="(Change in right answers[^"]*)"', whole.english)
    text = chapter(whole.markdown, "Are the differences real?")
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if " to " in row]
    rows = [row for row in rows if len(row) == 8]
    assert len(rows) == 9  # three comparisons of two subsets and all questions
    for label, _, _, _, net, interval, *_ in rows:
        low, high = interval.split(" to ")
        who = "all" if label.startswith("**") else label
        assert f"{who} {net} ({low} … {high})" in name, label
    (korean_name,) = re.findall(r'class="forest">\s*<svg[^>]*aria-label="([^"]*)"', whole.korean)
    assert numbers(korean_name) == numbers(name)


# Model cards


def test_each_adapter_gets_a_card_with_the_tables_numbers(whole: Pages) -> None:
    tuned: dict[Checkpoint, str] = {"sft": "55.00 %", "dpo": "54.00 %"}
    for checkpoint, percent in tuned.items():
        text = card(whole, checkpoint)
        assert text.startswith("---\n")
        assert f"{checkpoint.upper()} got {percent} of 100 questions right against base's 32.00 %" in text.replace(
            "\u00a0", " "
        )
        assert percent in line(whole.markdown, "all (100)")[1 if checkpoint == "sft" else 2]
    assert "11 of 12 held-out preferences" in card(whole, "dpo")


def test_a_run_without_dpo_has_no_card_for_it(pair: Pages) -> None:
    assert (pair.folder / "sft" / "README.md").exists()
    assert not (pair.folder / "dpo").exists()


# Uneven settings


def test_what_is_not_the_same_for_all_checkpoints_is_said_in_korean_too(tmp_path: Path) -> None:
    write_run(tmp_path, ("base", "sft"))
    evaluate(tmp_path, "sft", quantization="none")
    pages = reported(tmp_path)
    said = "체크포인트마다 조건이 다릅니다. 양자화: 학습 전 nf4, SFT none. 이것만으로도 개별 답변이 달라질 수 있습니다."
    assert said in section(pages.korean, "accuracy")
    assert "quantization differs: nf4 for base, none for SFT" in section(pages.english, "accuracy")
