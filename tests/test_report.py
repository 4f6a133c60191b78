"""report: what a reader must be able to trust, on small real artifact folders."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stages import report
from stages.core import agreement, chat, eda
from stages.core.artifacts import Manifest
from stages.core.errors import KormedError
from stages.core.recipe import Agreement, Report
from stages.core.records import (
    Answer,
    Candidate,
    Checkpoint,
    Choice,
    Comparison,
    Consult,
    Dropped,
    Example,
    HeldoutAnswer,
    Message,
    Preference,
    Response,
    read_jsonl,
    write_jsonl,
)
from tests.pages import assert_asks_nothing_of_the_network, words

SETTINGS: dict[str, Any] = {
    "task": "kormedmcqa",
    "task_version": 3.0,
    "fewshot": 5,
    "chat_template": True,
    "fewshot_as_multiturn": False,
    "limit": None,
    "max_gen_toks": None,
    "base": "google/gemma-2-2b-it",
    "base_fingerprint": "0011",
    "dtype": "bfloat16",
    "quantization": "nf4",
    "lm_eval": "0.4.13",
}
CONSULT = Consult(
    id="consult-1",
    question="열이 사흘째 나는데 병원에 가야 할까요?",
    patient_information="34세 여성\n특이 병력 없음",
    answer="사흘 넘게 열이 나면 진료를 받으시는 것이 좋습니다.",
    source="consult",
)


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_rows(path: Path, rows: Sequence[BaseModel]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)


def write_manifest(folder: Path, stage: str, config: dict[str, Any] | None = None) -> None:
    manifest = Manifest(
        stage=stage,
        config=config or {"seed": 42},
        inputs={},
        content="c0ffee" * 10,
        files={},
        metrics={},
        seconds=61.0,
        finished_at="2026-05-04T10:20:30+00:00",
        commit="0123456789abcdef0123456789abcdef01234567",
        libraries={"trl": "1.16.0"},
        device="1 x NVIDIA H200",
    )
    write_json(folder / "manifest.json", asdict(manifest))


def exam_rows(source: str, letters: str) -> list[Example]:
    """One exam row a letter, each ten characters longer than the one before."""
    return [
        Example(
            id=f"{source}/train/{number}",
            question="가" * 10 * number,
            instruction=chat.EXAM_INSTRUCTION,
            answer=letter,
            source=source,
        )
        for number, letter in enumerate(letters, start=1)
    ]


def write_eda(run: Path, rows: Sequence[Example], tokens: bool = True, **changes: Any) -> None:
    flow = (
        eda.FlowStep(
            step="decontamination",
            what="exam questions",
            before=len(rows) + 1,
            dropped={"stem stands in the benchmark": 1},
            after=len(rows),
        ),
    )
    found = eda.Eda(
        benchmark={"doctor": {"train": 101, "dev": 2, "test": 435, "fewshot": 5}},
        consult_parts={"sft": 0, "preference": 1, "heldout": 1},
        flow=flow,
        lengths=tuple(eda.measure(rows, (lambda texts: [2 * len(text) for text in texts]) if tokens else None)),
        letters=eda.letters(rows),
        tokenizer="google/gemma-2-2b-it" if tokens else None,
        tokens_missing=None if tokens else "google/gemma-2-2b-it is gated",
    )
    write_json(run / "prepare" / "eda.json", found.model_copy(update=changes).model_dump(mode="json"))


def write_prepare(run: Path) -> None:
    folder = run / "prepare"
    write_eda(run, exam_rows("kormedmcqa/doctor", "ABCDE" * 12) + exam_rows("kormedmcqa/nurse", "ABCDE" * 8))
    write_rows(
        folder / "dropped.jsonl",
        [
            Dropped(
                id="kormedmcqa/doctor/train/7",
                reason="stem stands in the benchmark",
                text="고혈압의 첫 치료는?",
                hit="kormedmcqa/doctor/test/3",
            )
        ],
    )
    write_rows(folder / "consults" / "preference.jsonl", [CONSULT])
    write_rows(folder / "consults" / "heldout.jsonl", [CONSULT])
    write_manifest(folder, "prepare", {"benchmark": "sean0042/KorMedMCQA"})


def write_log(folder: Path, rows: list[dict[str, float]], epochs: float = 1.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    summary = {"step": len(rows), "epoch": epochs, "train_runtime": 60.0, "train_loss": 1.2}
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, summary]), encoding="utf-8")
    write_rows(folder / "dropped.jsonl", [])


def write_sft(run: Path, losses: Sequence[float] = (2.4, 1.6, 1.1)) -> None:
    write_log(run / "sft", [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)])
    write_manifest(run / "sft", "sft")


def write_dpo(run: Path) -> None:
    rows = [
        {"step": step, "loss": 0.69 - step / 100, "rewards/margins": step / 50, "rewards/accuracies": 0.5 + step / 20}
        for step in range(1, 6)
    ]
    write_log(run / "dpo", rows)
    write_json(
        run / "dpo" / "proof.json",
        {"weights_equal": True, "loss": 0.693147, "expected_loss": 0.693147, "largest_margin": 0.0},
    )
    write_manifest(run / "dpo", "dpo")


def write_labels(run: Path, annotators: Sequence[str]) -> None:
    a, b = (
        Candidate(
            id=f"consult-1/{n}",
            consult_id="consult-1",
            text=text,
            checkpoint="sft",
            temperature=0.9,
            top_p=0.95,
            seed=42,
            tokens=20,
            finished=True,
        )
        for n, text in enumerate(("진료를 받으세요.", "괜찮습니다."))
    )
    comparison = Comparison(
        id="comparison-1",
        consult_id="consult-1",
        question=CONSULT.question,
        patient_information=CONSULT.patient_information,
        a=a,
        b=b,
    )
    preference = Preference(
        id="comparison-1",
        consult_id="consult-1",
        prompt=(Message(role="user", content=CONSULT.question),),
        chosen=(Message(role="assistant", content=a.text),),
        rejected=(Message(role="assistant", content=b.text),),
        votes={"a": 2},
        agreement=1.0,
    )
    write_rows(run / "candidates" / "candidates.jsonl", [a, b])
    write_rows(run / "candidates" / "comparisons.jsonl", [comparison])
    write_rows(run / "candidates" / "dropped.jsonl", [])
    write_manifest(run / "candidates", "candidates")
    write_rows(run / "preferences" / "train.jsonl", [preference])
    write_rows(run / "preferences" / "heldout.jsonl", [])
    write_rows(run / "preferences" / "dropped.jsonl", [])
    each = {"submitted": 1, "a": 1, "b": 0, "tie": 0, "both_bad": 0}
    write_json(
        run / "preferences" / "labels.json",
        {
            "responses": {"submitted": len(annotators), "draft": 0, "discarded": 0},
            "values": {"a": len(annotators), "b": 0, "tie": 0, "both_bad": 0},
            "annotators": dict.fromkeys(annotators, each),
            "comparisons": 1,
            "labelled": 1,
            "kept": 1,
            "dropped": {},
            "agreement": 1.0,
            "adjudicated": 0,
            "lengths": {"chosen_longer": 1, "rejected_longer": 0, "equal": 0, "p": 1.0, "warning": None},
            "unsafe": 0,
        },
    )
    write_manifest(run / "preferences", "preferences")


def write_agreement(run: Path, annotators: Sequence[str]) -> None:
    """Agreement on 20 comparisons that the first annotators all answer alike, and the last one always with A."""
    comparisons = read_jsonl(run / "candidates" / "comparisons.jsonl", Comparison)
    many = [one.model_copy(update={"id": f"{one.id}/{number}"}) for one in comparisons for number in range(20)]
    alike: list[Choice] = ["a", "b"]
    responses = [
        Response(
            comparison_id=one.id,
            annotator=name,
            value="a" if name == annotators[-1] else alike[number % 2],
            status="submitted",
            submitted_at=datetime(2026, 5, 4, 9, tzinfo=UTC) + timedelta(seconds=30 * number),
            unsafe_b=("missed_emergency",) if number == 0 else (),
        )
        for name in annotators
        for number, one in enumerate(many)
    ]
    found = agreement.measure(many, responses, Agreement(seed=42, resamples=100))
    write_json(run / "agreement" / "agreement.json", asdict(found))
    write_manifest(run / "agreement", "agreement")


WINRATE: dict[str, Any] = {
    "comparisons": 40,
    "identical": 6,
    "judged": 36,
    "undecided": 3,
    "unjudged": 1,
    "dpo": 18,
    "sft": 11,
    "tie": 5,
    "both_bad": 2,
    "win_rate": 21.5 / 36,
    "low": 0.45,
    "high": 0.73,
    "p": 0.2649,
    "annotators": ["kim", "lee"],
    "responses": 78,
}


def write_winrate(run: Path, **changes: Any) -> None:
    write_json(run / "winrate" / "winrate.json", WINRATE | changes)
    write_manifest(run / "winrate", "winrate")


def write_evaluation(
    run: Path,
    checkpoint: Checkpoint,
    right: dict[str, tuple[int, int]],
    text: str = "진료를 받으시는 것이 좋습니다.",
    settings: dict[str, object] | None = None,
) -> None:
    """`right` maps a subset to right answers and questions; the first ones are the right ones."""
    folder = run / "evaluate" / checkpoint
    answers = [
        Answer(
            subset=subset,
            doc_id=number,
            doc_hash=f"{subset}-{number}",
            target="ABCDE"[number % 5],
            text="정답",
            extracted="ABCDE"[number % 5] if number < correct else "[invalid]",
            correct=number < correct,
        )
        for subset, (correct, questions) in right.items()
        for number in range(questions)
    ]
    write_rows(folder / "answers.jsonl", answers)
    write_json(folder / "settings.json", SETTINGS | (settings or {}))
    if checkpoint != "base":
        told = HeldoutAnswer(
            consult_id=CONSULT.id,
            question=CONSULT.question,
            patient_information=CONSULT.patient_information,
            reference=CONSULT.answer,
            text=text,
            finished=True,
        )
        write_rows(folder / "heldout.jsonl", [told])
    write_manifest(folder, f"evaluate/{checkpoint}")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A run without DPO: the published doctor figures, 33.10 % to 38.39 %."""
    write_prepare(tmp_path)
    write_sft(tmp_path)
    write_evaluation(tmp_path, "base", {"doctor": (144, 435), "nurse": (40, 100)})
    write_evaluation(tmp_path, "sft", {"doctor": (167, 435), "nurse": (41, 100)})
    return tmp_path


@pytest.fixture
def three(two: Path) -> Path:
    """The same run with labels from simulated annotators, and DPO."""
    write_labels(two, ["simulated-1", "simulated-2"])
    write_dpo(two)
    write_evaluation(two, "dpo", {"doctor": (166, 435), "nurse": (41, 100)})
    return two


def made(run: Path, side_by_side: int = 12) -> tuple[str, str]:
    """report.html's English half and report.md of whatever artifacts stand in `run`."""
    folders = {
        name: run / name.replace("evaluate_", "evaluate/")
        for name in ("candidates", "agreement", "preferences", "dpo", "evaluate_dpo", "winrate")
        if (run / name.replace("evaluate_", "evaluate/")).exists()
    }
    out = run / "report"
    out.mkdir(exist_ok=True)
    metrics = report.run(
        Report(side_by_side=side_by_side),
        out,
        prepare=run / "prepare",
        sft=run / "sft",
        evaluate_base=run / "evaluate/base",
        evaluate_sft=run / "evaluate/sft",
        **folders,
    )
    assert metrics["checkpoints"] == (3 if "evaluate_dpo" in folders else 2)
    html = (out / "report.html").read_text(encoding="utf-8")
    return half(html, "en"), (out / "report.md").read_text(encoding="utf-8")


def half(html: str, language: str) -> str:
    """The page in one of its languages."""
    return html.partition(f'<main lang="{language}"')[2].partition("</main>")[0]


def test_relative_change_is_written_as_the_published_report_writes_it(two: Path) -> None:
    html, markdown = made(two)
    assert "33.10 %" in words(html)
    assert "38.39 % ▴ 15.98 % 33.9–43.0" in words(html)
    assert "| doctor (435) | 33.10 % (28.8–37.7) | 38.39 % ▴ 15.98 % (33.9–43.0) |" in markdown


def test_a_run_of_less_than_an_epoch_is_not_said_to_have_trained_on_every_row(two: Path) -> None:
    write_log(two / "sft", [{"step": 1, "loss": 2.0}], epochs=0.35)
    html, markdown = made(two)
    for page in (html, markdown):
        assert "fine-tuned on 35 instruction rows" in page
        assert "Trained on 35 of 100 instruction rows, less than one epoch (0.35)." in page


def test_there_is_a_row_for_all_questions(two: Path) -> None:
    _, markdown = made(two)
    assert "| all (535) | 34.39 %" in markdown


def test_a_difference_that_was_shown_is_called_one(two: Path) -> None:
    html, markdown = made(two)
    assert "SFT got 38.88 % right against base's 34.39 %: better (p < 0.001)." in words(html)
    assert "| doctor | 435 | 23 | 0 | +5.3 |" in markdown


def test_no_difference_shown_is_said_where_that_is_so(three: Path) -> None:
    html, markdown = made(three)
    assert "DPO got 38.69 % right against SFT's 38.88 %: no difference shown (p = 1.00)." in words(html)
    assert "SFT → DPO: 1 of 535 questions changed sides: with so few, no outcome could have been shown." in markdown


def test_without_dpo_nothing_speaks_of_dpo(two: Path) -> None:
    html, markdown = made(two)
    assert "DPO" not in words(html)
    assert "DPO" not in markdown
    assert "Labels" not in words(html)


def test_with_dpo_all_three_are_compared(three: Path) -> None:
    html, markdown = made(three)
    for contrast in ("base → SFT", "SFT → DPO", "base → DPO"):
        assert contrast in words(html)
        assert f"**{contrast}**" in markdown
    assert "the loss was 0.6931 (expected at margin 0: 0.6931) and the largest margin 0" in words(html)


def test_simulated_annotators_are_named_wherever_labels_or_dpo_appear(three: Path) -> None:
    banner = "Simulated annotators: a rule with seeded disagreement, no human judged these answers."
    html, markdown = made(three)
    sections = re.split(r"<section ", html)
    head, by_id = sections[0], {section.split('"')[1].removeprefix("en-"): section for section in sections[1:]}
    assert banner in head
    for section in ("accuracy", "training", "labels", "answers", "limits"):
        assert banner in by_id[section], section
    assert markdown.count(banner) == html.count(banner)


def test_human_annotators_get_no_such_banner(three: Path) -> None:
    write_labels(three, ["kim", "lee"])
    html, _ = made(three)
    assert "imulated" not in html


def test_simulated_annotators_among_people_are_named(three: Path) -> None:
    write_labels(three, ["kim", "simulated-1"])
    html, _ = made(three)
    assert "Some annotators are simulated (simulated-1)" in words(html)


def test_an_answer_cannot_inject_markup(two: Path) -> None:
    attack = "<script>alert(1)</script>\n<img src=http://evil.example/x.png onerror=alert(2)>\n</p>```\n# 제목 | `x`"
    write_evaluation(two, "sft", {"doctor": (167, 435), "nurse": (41, 100)}, text=attack)
    html, markdown = made(two)
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\n&lt;img" in html  # the line break is kept
    assert re.search(r"(?<!\\)<(script|img)", markdown) is None
    assert "\n> \\# 제목 \\| \\`x\\`" in markdown


def test_the_page_asks_nothing_of_the_network(three: Path) -> None:
    made(three)
    assert_asks_nothing_of_the_network((three / "report" / "report.html").read_text(encoding="utf-8"))


def test_both_languages_have_the_same_sections_and_korean_is_seen_first(three: Path) -> None:
    made(three)
    html = (three / "report" / "report.html").read_text(encoding="utf-8")
    korean, english = (re.findall(rf'<section id="{code}-([a-z-]+)"', half(html, code)) for code in ("ko", "en"))
    assert korean == english
    assert '<html lang="ko">' in html
    assert re.findall(r'id="language-(\w+)"[^>]* checked', html) == ["ko"]


def test_a_base_that_knew_nothing_has_no_relative_change(two: Path) -> None:
    write_evaluation(two, "base", {"doctor": (0, 435), "nurse": (0, 100)})
    html, markdown = made(two)
    assert "38.39 % – 33.9–43.0" in words(html)
    assert "38.39 % – (33.9–43.0)" in markdown


def test_failed_extraction_and_the_best_single_letter_stand_beside_the_scores(two: Path) -> None:
    _, markdown = made(two)
    assert "| nurse | 60 (60.0 %) | 59 (59.0 %) | A 20.00 % |" in markdown


def test_the_same_answers_read_in_other_ways_stand_beside_the_headline(two: Path) -> None:
    """Of 10 right: 2 as the task reads them, 6 with Korean endings, 6 by the likeliest letter, which has 0.6 each."""
    for checkpoint in ("base", "sft"):
        write_evaluation(two, checkpoint, {"doctor": (2, 10)}, settings={"letters_as": list("ABCDE")})
        file = two / "evaluate" / checkpoint / "answers.jsonl"
        answers = read_jsonl(file, Answer)
        letters = {letter: [0.1] * 5 for letter in "ABCDE"}
        for at, letter in enumerate("ABCDE"):
            letters[letter][at] = 0.6
        changed = [
            answer.model_copy(
                update={
                    "text": f"{answer.target}입니다" if number < 6 else "모르겠습니다",
                    "read": answer.target if number < 6 else None,
                    "letters": tuple(math.log(p) for p in letters[answer.target if number < 5 else "A"]),
                }
            )
            for number, answer in enumerate(answers)
        ]
        write_jsonl(file, changed)
    html, markdown = made(two)
    assert "| right as lm-eval's task reads them (the table above) | 20.00 % (5.7–51.0) |" in markdown
    assert "| right as read with Korean endings (“B입니다”, “②”) | 60.00 % (31.3–83.2) |" in markdown
    assert "| right by the likeliest letter, nothing written | 60.00 % (31.3–83.2) |" in markdown  # question 5 is an A
    assert "| no letter: as the task reads them; with Korean endings | 8; 4 | 8; 4 |" in markdown
    assert "| calibration error of the likeliest letter | 0.0 points | 0.0 points |" in markdown
    assert "| A written (2 times right) | 1 | 1 |" in markdown
    assert "60.00 % (31.3–83.2)" in words(html)
    assert "C입니다 C C" in words(html)


def test_an_evaluation_of_old_has_no_other_readings(two: Path) -> None:
    assert all("read in other ways" not in page for page in made(two))


def test_a_limit_is_printed_under_the_table(two: Path) -> None:
    write_evaluation(two, "base", {"doctor": (3, 10)}, settings={"limit": 10})
    write_evaluation(two, "sft", {"doctor": (4, 10)}, settings={"limit": 10})
    html, _ = made(two)
    assert "at most the first 10 of each subset's test questions of sean0042/KorMedMCQA; 5 few-shot" in words(html)
    assert "The sample is small: with 10 questions" in words(html)
    assert "The base model is not shown to do better than guessing" in words(html)


def test_a_base_above_guessing_is_not_called_a_guesser(two: Path) -> None:
    html, _ = made(two)
    assert "guessing on these questions" not in words(html)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("fewshot", 0), ("chat_template", False), ("task_version", 2.0), ("base", "google/gemma-2-9b-it"), ("limit", 5)],
)
def test_checkpoints_asked_in_different_ways_are_not_compared(two: Path, setting: str, value: object) -> None:
    write_evaluation(two, "sft", {"doctor": (167, 435), "nurse": (41, 100)}, settings={setting: value})
    with pytest.raises(KormedError) as error:
        made(two)
    assert f"{setting} is {SETTINGS[setting]} for base and {value} for sft" in str(error.value)
    assert "kormed evaluate --checkpoint sft RECIPE --force" in str(error.value)


def test_checkpoints_asked_different_questions_are_not_compared(two: Path) -> None:
    write_evaluation(two, "sft", {"doctor": (167, 434), "nurse": (41, 100)})
    with pytest.raises(KormedError, match=r"1 questions do not pair .* question 434 of doctor.*--force"):
        made(two)


def test_another_precision_is_said_and_not_hidden(two: Path) -> None:
    write_evaluation(two, "sft", {"doctor": (167, 435), "nurse": (41, 100)}, settings={"quantization": "none"})
    html, markdown = made(two)
    expected = "Not the same for all checkpoints: quantization differs: nf4 for base, none for SFT."
    assert expected in words(html)
    assert expected in markdown


def test_a_training_of_one_step_still_has_a_picture(two: Path) -> None:
    write_sft(two, losses=[2.4])
    html, _ = made(two)
    assert '<circle class="dot sft"' in html
    assert "2.4 at step 1, the only one logged." in words(html)


def test_a_training_that_logged_nothing_is_said(two: Path) -> None:
    write_sft(two, losses=[])
    html, _ = made(two)
    assert "Nothing was logged." in words(html)


def test_consults_stand_side_by_side_with_the_reference_folded(three: Path) -> None:
    html, markdown = made(three)
    assert "34세 여성\n특이 병력 없음" in html
    assert f'<details><summary>Reference answer</summary><p class="text" lang="ko">{CONSULT.answer}' in html
    assert "\nSFT:\n\n> 진료를" in markdown
    assert "\nDPO:\n\n> 진료를" in markdown


def test_no_more_consults_are_shown_than_the_recipe_says(two: Path) -> None:
    html, _ = made(two, side_by_side=0)
    assert "None shown (report.side_by_side is 0) of 1 held-out consult that were answered." in words(html)


def test_a_run_on_exam_questions_alone_has_no_consults(two: Path) -> None:
    (two / "evaluate" / "sft" / "heldout.jsonl").unlink()
    for part in ("preference", "heldout"):
        write_rows(two / "prepare" / "consults" / f"{part}.jsonl", [])
    html, _ = made(two)
    assert "No held-out consult was answered in this run." in words(html)


def test_dropped_rows_are_shown_with_what_they_hit(two: Path) -> None:
    html, markdown = made(two)
    assert "1 × stem stands in the benchmark" in words(html)
    assert "kormedmcqa/doctor/train/7 고혈압의 첫 치료는? kormedmcqa/doctor/test/3" in words(html)
    assert "(hit kormedmcqa/doctor/test/3)" in markdown


def data_of(html: str) -> str:
    return words(html.partition('<section id="en-data">')[2].partition("</section>")[0]).replace("\u00a0", " ")


def test_lengths_stand_by_source_in_characters_and_tokens(two: Path) -> None:
    html, markdown = made(two)
    row = len(chat.user_turn(chat.EXAM_INSTRUCTION, "")) + 1
    low, median, high = row + 10, row + 305, row + 600
    assert f"doctor (60) {low} {median} {high} " in data_of(html)
    tokens = f"{2 * low} | {2 * median} | {2 * high:,}"  # as write_eda counts them
    assert f"| kormedmcqa/doctor | 60 | {low} | {median} | {high} | {tokens} |" in markdown
    assert "| exam questions | 100 |" in markdown


def test_lengths_stand_by_right_answer(two: Path) -> None:
    html, markdown = made(two)
    row = len(chat.user_turn(chat.EXAM_INSTRUCTION, "")) + 1
    assert f"A (20) {row + 10} " in data_of(html)
    assert f"| exam questions, A | 20 | {row + 10} |" in markdown
    assert f"| kormedmcqa/nurse, E | 8 | {row + 50} |" in markdown


def test_the_waterfall_of_drops_is_in_both_formats(two: Path) -> None:
    html, markdown = made(two)
    assert "101 exam questions came in; 100 became training rows. Dropped: 1 (1.0 %)" in data_of(html)
    assert 'aria-label="exam questions, from what came in to training rows: came in 101; decontamination: stem' in html
    assert "| decontamination: stem stands in the benchmark | −1 (1.0 %) |" in markdown


def test_lengths_are_pictured_too(two: Path) -> None:
    html, _ = made(two)
    assert 'aria-label="exam questions, length of the row in characters: 100 rows; the highest bar,' in html
    assert 'aria-label="exam questions, length of the row in tokens: 100 rows; the highest bar,' in html


def test_why_tokens_are_missing_is_said(two: Path) -> None:
    write_eda(two, exam_rows("kormedmcqa/doctor", "ABCDE"), tokens=False)
    html, markdown = made(two)
    assert "Tokens were not counted: google/gemma-2-2b-it is gated." in data_of(html)
    assert "Tokens were not counted: google/gemma-2-2b-it is gated." in markdown
    assert "| – | – | – |" in markdown


def test_the_published_counts_stand_beside_ours_where_the_benchmark_is_that_one(two: Path) -> None:
    assert "not measured by us" not in made(two)[1]
    published = {"doctor": {"train": 3_401, "dev": 1_059, "test": 3_009}}
    write_eda(two, exam_rows("kormedmcqa/doctor", "ABCDE"), benchmark=published)
    html, markdown = made(two)
    assert "exam questions, together 7,469 7,469" in data_of(html)
    assert "| exam questions, together | 7,469 | 7,469 |" in markdown


def test_an_eda_of_another_version_is_named(two: Path) -> None:
    write_json(two / "prepare" / "eda.json", {"benchmark": {}})
    with pytest.raises(KormedError, match=r"eda\.json: .*field 'flow'"):
        made(two)


def test_every_artifact_stands_in_the_provenance(three: Path) -> None:
    _, markdown = made(three)
    for stage in (
        "prepare",
        "sft",
        "candidates",
        "preferences",
        "dpo",
        *(f"evaluate/{c}" for c in ("base", "sft", "dpo")),
    ):
        assert f"| {stage} | 2026-05-04 10:20 | 1 min 01 s | 1 x NVIDIA H200 | 0123456789 | c0ffeec0ffee |" in markdown


def labels_of(html: str) -> str:
    return words(html.partition('<section id="en-labels">')[2].partition("</section>")[0]).replace("\u00a0", " ")


def test_agreement_and_bias_stand_with_the_labels(three: Path) -> None:
    write_agreement(three, ["kim", "lee", "park"])
    html, markdown = made(three)
    for text in (labels_of(html), markdown.replace("\\", "")):
        assert "Krippendorff's alpha is " in text
        assert "No hidden repeat was answered" in text
        assert "A was chosen in 40 of 60 responses that chose (66.7 %)." in text
        assert "park chooses A in 20 of 20 (100 %), the others in 20 of 40 (50.0 %): p < 0.001." in text
        assert "1 comparison with an answer marked as unsafe, 1 by more than one person." in text
    assert 'aria-label="Krippendorff&#x27;s alpha: alpha, 95 % interval' in html
    assert 'aria-label="A chosen: kim 10 of 20 (50.0 %); lee' in html
    assert "| agreement | 2026-05-04" in markdown


def test_labels_without_an_agreement_still_tell_of_flags(three: Path) -> None:
    labels = json.loads((three / "preferences" / "labels.json").read_text(encoding="utf-8"))
    write_json(three / "preferences" / "labels.json", labels | {"unsafe": 1, "adjudicated": 1})
    text = labels_of(made(three)[0])
    assert "1 comparison with an answer that somebody marked as unsafe." in text
    assert "Of these, 1 decided by an adjudicator." in text
    assert "The chosen answer is the longer one in 1 of 1 preference (100 %, p = 1.00)." in text


def test_a_warning_of_uneven_lengths_is_an_alert_in_both_formats(three: Path) -> None:
    labels = json.loads((three / "preferences" / "labels.json").read_text(encoding="utf-8"))
    lengths = {"chosen_longer": 40, "rejected_longer": 12, "equal": 0, "p": 0.0001, "warning": "the chosen is longer"}
    write_json(three / "preferences" / "labels.json", labels | {"lengths": lengths})
    html, markdown = made(three)
    assert '<p class="alert" role="note">The chosen is longer.</p>' in html
    assert "> **The chosen is longer.**" in markdown


def test_labels_of_another_version_are_named(three: Path) -> None:
    labels = json.loads((three / "preferences" / "labels.json").read_text(encoding="utf-8"))
    write_json(three / "preferences" / "labels.json", {key: v for key, v in labels.items() if key != "unsafe"})
    with pytest.raises(KormedError, match=r"labels\.json: field 'unsafe'"):
        made(three)


def test_an_agreement_of_another_version_is_named(three: Path) -> None:
    write_json(three / "agreement" / "agreement.json", {"comparisons": 1})
    write_manifest(three / "agreement", "agreement")
    with pytest.raises(KormedError, match=r"agreement\.json: field "):
        made(three)


def test_a_win_rate_whose_interval_holds_one_half_shows_no_preference(three: Path) -> None:
    write_winrate(three)
    html, markdown = made(three)
    said = (
        "DPO's answers won 59.7 % (95 % interval 45.0–73.0 %), ties and two bad answers counted half: "
        "no preference shown (p = 0.26)."
    )
    assert words(html).replace("\u00a0", " ").count(said) == 2  # at the top, and in its section
    assert said in markdown
    assert "To 6 consults both gave the same answer, which was not shown." in words(html)
    assert 'aria-label="DPO’s win rate: DPO’s answer better 59.7 % (45.0–73.0 %)"' in html
    assert "| SFT's | 11 | 30.6 % |" in markdown


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"win_rate": 0.8, "low": 0.65, "high": 0.9, "p": 0.0003}, "DPO preferred (p < 0.001)"),
        ({"win_rate": 0.2, "low": 0.1, "high": 0.35, "p": 0.0003}, "SFT preferred (p < 0.001)"),
        ({"win_rate": 0.64, "low": 0.51, "high": 0.77, "p": 0.061}, "no preference shown (p = 0.061)"),
    ],
)
def test_a_preference_is_claimed_only_where_interval_and_test_agree(
    three: Path, changes: dict[str, float], verdict: str
) -> None:
    write_winrate(three, **changes)
    assert f"counted half: {verdict}." in words(made(three)[0]).replace("\u00a0", " ")


def test_simulated_annotators_of_round_two_are_named_there(three: Path) -> None:
    write_labels(three, ["kim", "lee"])
    write_winrate(three, annotators=["simulated-1"])
    html, markdown = made(three)
    section = html.partition('<section id="en-round-two">')[2].partition("</section>")[0]
    assert "Simulated annotators: a rule with seeded disagreement" in section
    assert "> **Simulated annotators: a rule with seeded disagreement" in markdown


def test_without_round_two_nothing_speaks_of_it(three: Path) -> None:
    html, markdown = made(three)
    assert "ound two" not in html
    assert "ound two" not in markdown


def test_an_unfinished_evaluation_stops_the_report(two: Path) -> None:
    (two / "evaluate" / "base" / "manifest.json").unlink()
    with pytest.raises(KormedError, match=r"not complete .*`kormed evaluate --checkpoint base RECIPE"):
        made(two)


def test_malformed_settings_are_named(two: Path) -> None:
    write_json(two / "evaluate" / "base" / "settings.json", {key: v for key, v in SETTINGS.items() if key != "fewshot"})
    with pytest.raises(KormedError, match=r"settings\.json: field 'fewshot'"):
        made(two)


def test_the_same_artifacts_give_the_same_report(three: Path) -> None:
    assert made(three) == made(three)


def write_long_dpo(run: Path, *, chosen: float, heldout: Sequence[float]) -> None:
    """50 steps with growing margins; `chosen` is the reward that the chosen answers move to."""
    write_dpo(run)
    rows: list[dict[str, float]] = [
        {
            "step": step,
            "loss": 0.69 - step / 200,
            "rewards/margins": step / 50,
            "rewards/accuracies": 0.5 + step / 200,
            "rewards/chosen": chosen * step / 50,
            "logps/chosen": -80 + 10 * chosen * step / 50,
            "logps/rejected": -90 - step,
        }
        for step in range(1, 51)
    ]
    looks = [
        {"step": at * 50 // len(heldout), "eval_rewards/accuracies": share, "eval_rewards/margins": share - 0.5}
        for at, share in enumerate(heldout, start=1)
    ]
    write_log(run / "dpo", [*rows, *looks])


def training_of(html: str) -> str:
    return words(html.partition('<section id="en-training">')[2].partition("</section>")[0])


def test_margins_that_grow_while_heldout_accuracy_does_not_are_called_out(three: Path) -> None:
    write_rows(three / "preferences" / "heldout.jsonl", read_jsonl(three / "preferences" / "train.jsonl", Preference))
    write_long_dpo(three, chosen=-1.0, heldout=[0.75, 0.5])
    html, markdown = made(three)
    for page in (training_of(html), markdown):
        assert "The margins grow while the held-out accuracy does not: 75.0 % at the first look, 50.0 % of" in page
        assert "The chosen answers became less likely than under SFT (reward −0.91" in page
    assert "Held out (broken line): 0.75 at step 25, 0.5 at step 50" in training_of(html)
    assert "Rejected (broken line): −91 at step 1, −140 at step 50" in training_of(html)


def test_a_dpo_that_went_well_gets_no_such_remark(three: Path) -> None:
    write_rows(three / "preferences" / "heldout.jsonl", read_jsonl(three / "preferences" / "train.jsonl", Preference))
    write_long_dpo(three, chosen=1.0, heldout=[0.5, 0.75])
    said = training_of(made(three)[0])
    assert "The policy agrees with 75.0 % of" in said
    assert "less likely" not in said
    assert "does not" not in said


def test_preferences_of_which_none_is_held_out_are_said_to_prove_nothing(three: Path) -> None:
    write_rows(three / "preferences" / "heldout.jsonl", [])
    said = training_of(made(three)[0])
    assert "No preference was held out, so nothing here tells learning the preference from learning these pairs" in said


def test_a_loss_that_rises_at_the_end_is_said_and_scatter_is_not(two: Path) -> None:
    jitter = [0.05 * (-1) ** step for step in range(60)]
    write_sft(two, [2.4 - step / 20 + jitter[step] for step in range(40)] + [1.5 + jitter[s] for s in range(20)])
    for page in map(words, made(two)):
        assert "The loss rises at the end: 1.5 in the last fifth of the steps" in page
    write_sft(two, [2.4 - step / 40 + 4 * jitter[step] for step in range(60)])
    assert "The loss rises" not in made(two)[0]
    write_sft(two, [2.4 + jitter[step] for step in range(60)])
    assert "nothing shows that it learned" in words(made(two)[0])
