"""What the report's sentences are asked to say in tests: every function of `wording`, with values of all its cases."""

from collections.abc import Sequence
from typing import Any

from stages.core import chat, eda, figures
from stages.core.eda import Eda, FlowStep, Move
from stages.core.findings import (
    Cell,
    Contrast,
    Generated,
    LabelLengths,
    Labels,
    Proof,
    Reason,
    Row,
    Settings,
    Uneven,
    Winrate,
)
from stages.core.learning import (
    ChosenFell,
    HeldOutAtChance,
    HeldOutStayed,
    LossNeverFell,
    LossRises,
    NoneHeldOut,
    NotLookedAt,
    PolicyAgrees,
)
from stages.core.plots import Curve
from stages.core.preference_side import Accuracy, accuracy
from stages.core.records import Checkpoint, Example
from stages.core.statistics import Score, paired_tests

CHECKPOINTS: tuple[Checkpoint, ...] = ("base", "sft", "dpo")
MODEL = "google/gemma-2-2b-it"


def overall(*right: int, questions: int = 500, unread: int = 0) -> Row:
    """The row of all questions: right answers of base, SFT and perhaps DPO; `unread` of the base's name no letter.

    Always answering E would be right in 23 %.
    """
    cells = [
        Cell(name, Score(got, questions), unread if name == "base" else 0, None)
        for name, got in zip(CHECKPOINTS, right, strict=False)
    ]
    return Row("all", questions, tuple(cells), "E", 0.23)


def contrasts(*changed: tuple[int, int], questions: int = 500) -> list[Contrast]:
    """Gained and lost: base to SFT, or that, SFT to DPO and base to DPO."""
    pairs: list[tuple[Checkpoint, Checkpoint]] = [("base", "sft"), ("sft", "dpo"), ("base", "dpo")]
    tests = paired_tests([(questions, gained, lost) for gained, lost in changed])
    return [Contrast(before, after, test, {}) for (before, after), test in zip(pairs, tests, strict=False)]


def held_out(right: int, of: int) -> Accuracy:
    """Of preferences of as many consults."""
    return accuracy([f"consult-{number}" for number in range(of)], [1.0] * right + [-1.0] * (of - right))


def winrate(**changes: Any) -> Winrate:
    found = {
        "comparisons": 40,
        "identical": 6,
        "judged": 36,
        "undecided": 3,
        "unjudged": 1,
        "dpo": 18,
        "sft": 11,
        "tie": 5,
        "both_bad": 2,
        "win_rate": 0.597,
        "low": 0.45,
        "high": 0.73,
        "p": 0.2649,
        "annotators": ("kim", "lee"),
        "responses": 1_078,
    }
    return Winrate.model_validate(found | changes)


def labels(**changes: Any) -> Labels:
    found = {
        "responses": {"submitted": 1_234, "draft": 3, "discarded": 2},
        "values": {},
        "annotators": {},
        "comparisons": 600,
        "labelled": 580,
        "kept": 410,
        "dropped": {"tie": 150, "both_bad": 20},
        "agreement": 0.81,
        "adjudicated": 14,
        "lengths": LENGTHS,
        "unsafe": 7,
    }
    return Labels.model_validate(found | changes)


def settings(**changes: Any) -> Settings:
    found = {
        "task": "kormedmcqa",
        "task_version": 3.0,
        "fewshot": 5,
        "chat_template": True,
        "fewshot_as_multiturn": False,
        "limit": None,
        "max_gen_toks": None,
        "base": MODEL,
        "dtype": "bfloat16",
        "quantization": "nf4",
        "lm_eval": "0.4.13",
    }
    return Settings.model_validate(found | changes)


def prepared(exam: int = 40, consults: int = 30, *, tokens: bool = True, **changes: Any) -> Eda:
    rows = [
        Example(
            id=f"kormedmcqa/{'doctor' if number % 2 else 'nurse'}/train/{number}",
            question="가" * 10 * number,
            instruction=chat.EXAM_INSTRUCTION,
            answer="ABCDE"[number % 5],
            source=f"kormedmcqa/{'doctor' if number % 2 else 'nurse'}",
        )
        for number in range(1, exam + 1)
    ]
    rows += [
        Example(
            id=f"consult-{number}",
            question="물" * number,
            instruction=chat.consult_instruction("34세 여성"),
            answer="쉬세요." * number,
            source="consult",
        )
        for number in range(1, consults + 1)
    ]

    def count(texts: Sequence[str]) -> list[int]:
        return [1 + len(text) // 2 for text in texts]

    found = Eda(
        benchmark={"all": {"train": 3_401, "dev": 1_059, "test": 3_009}},
        consult_parts={},
        flow=FLOW,
        lengths=tuple(eda.measure(rows, count if tokens else None)),
        label_tokens=tuple(eda.label_tokens(rows, count)) if tokens else (),
        letters=eda.letters(rows),
        tokenizer=MODEL if tokens else None,
    )
    return found.model_copy(update=changes)


LENGTHS = LabelLengths(chosen_longer=220, rejected_longer=180, equal=10, p=0.05, warning=None)
LEANING = LabelLengths(chosen_longer=320, rejected_longer=80, equal=10, p=0.0001, warning="the chosen answer is longer")
FLOW = (
    FlowStep(
        step="duplicates", what="exam questions", before=1_041, dropped={"repeats an earlier row": 1}, after=1_040
    ),
    FlowStep(step="quality", what="consults", before=40, dropped={"advert": 9, "too_short": 1}, after=30),
    FlowStep(step="split", what="consults", before=30, set_aside={"held out from all training": 6}, after=24),
)
MADE = (FlowStep(step="restructure", what="consults", before=10, dropped={"no usable answer": 26}, after=24),)
VANISHED = (FlowStep(step="quality", what="consults", before=30, after=24),)
TOO_LONG = [Reason("longer than max_length 512", 12, ())]
SIMULATED = ["simulated-1", "simulated-2"]
MIXED = ["kim", "simulated-1"]
LOSS = Curve(((1, 2.41), (20, 1.5), (60, 1.12)), left_out=2)
THREE = (overall(170, 195, 190), contrasts((40, 15), (10, 15), (40, 20)))
TWO = (overall(170, 195), contrasts((40, 15)))
FLAT = (overall(170, 175), contrasts((25, 20)))

CASES: list[tuple[str, tuple[Any, ...]]] = [
    ("summary", (MODEL, 3_401, None, *TWO, None)),
    ("summary", (MODEL, 3_401, None, *FLAT, None)),
    ("summary", (MODEL, 3_401, None, overall(195, 170), contrasts((15, 40)), None)),
    ("summary", (MODEL, 3_401, 1_410, *THREE, None, ["kim"])),
    ("summary", (MODEL, 3_401, 1_410, *THREE, None, SIMULATED, held_out(39, 51))),
    ("summary", (MODEL, 3_401, 1_410, *THREE, None, ["kim"], held_out(27, 51))),
    ("summary", (MODEL, 3_401, 1_410, *THREE, None, MIXED, held_out(9, 51))),
    ("summary", (MODEL, 3_401, 1_410, overall(170, 175, 180), contrasts((25, 20), (9, 4), (30, 20)), winrate(), MIXED)),
    ("summary", (MODEL, 3_401, None, overall(170, 195, unread=61), contrasts((40, 15)), None)),
    ("summary", (MODEL, 3_401, None, overall(110, 120), contrasts((25, 15)), None)),
    ("summary", (MODEL, 3_401, None, overall(60, 125, unread=210), contrasts((80, 15)), None)),
    ("summary", (MODEL, 3_401, 1_410, overall(60, 125, 90, unread=210), contrasts((80, 15), (5, 40), (60, 30)), None)),
    ("verdict", (THREE[1][0].overall,)),
    ("verdict", (THREE[1][1].overall,)),
    ("verdict", (contrasts((15, 60))[0].overall,)),
    ("simulated", (None,)),
    ("simulated", (labels(annotators={"simulated-1": {}}),)),
    ("simulated_among", (SIMULATED,)),
    ("simulated_among", (MIXED,)),
    ("resolution", (THREE[1][0].overall,)),
    ("resolution", (contrasts((3, 1))[0].overall,)),
    ("resolution", (contrasts((0, 0))[0].overall,)),
    ("resolution", (contrasts((20, 20))[0].overall,)),  # nothing differed, so no number of questions would show it
    ("resolution", (contrasts((401, 400), questions=3_009)[0].overall,)),  # it would take too many
    ("resolution", (contrasts((420, 380), questions=3_009)[0].overall,)),
    ("cautions", (figures.exam_result(overall(60, 125, unread=210), contrasts((80, 15))),)),
    ("uneven", (Uneven("quantization", {"base": "nf4", "sft": "none"}),)),
    ("differing", (Uneven("device", {"sft": "1 x NVIDIA H100", "dpo": "CPU, 2 cores"}),)),
    ("limits", (overall(10, 11, questions=50), "", 0, None)),
    ("limits", (overall(4, 5, questions=20), "(note)", 12, winrate())),
    ("limits", (overall(400, 500, questions=3_009), "", 0, None)),
    ("asked", (settings(), "sean0042/KorMedMCQA", "1 x NVIDIA H200")),
    (
        "asked",
        (
            settings(limit=1_000, max_gen_toks=24, quantization="none", chat_template=False, fewshot_as_multiturn=True),
            "own",
            "CPU",
        ),
    ),
    ("count", (1_234, "consult")),
    ("trained_on", ([], 3_401, "instruction row", 3.0)),
    ("trained_on", (TOO_LONG, 3_401, "instruction row", 0.35)),
    ("trained_on", (TOO_LONG, 410, "preference", 1.0)),
    ("reason", ("repeats an earlier row",)),
    *[
        ("remark", (found,))
        for found in (
            LossRises(1.502, 0.801),
            LossNeverFell(),
            ChosenFell(-0.912),
            NoneHeldOut(),
            NotLookedAt(),
            PolicyAgrees(0.75, 1_204),
            HeldOutStayed(0.75, 0.5, 12),
            HeldOutAtChance(0.45, 12),
        )
    ],
    ("course", (Curve(()), None)),
    ("course", (Curve(((1, -2.4),)), 0.6931)),
    ("course", (LOSS, 0.6931)),
    *[("prepared", (found,)) for found in (prepared(), prepared(40, 0), prepared(0, 0), prepared(flow=()))],
    ("flowed", (FLOW, "exam questions")),
    ("flowed", (FLOW, "consults")),
    ("flowed", (MADE, "consults")),
    ("flowed", (VANISHED, "consults")),
    ("flowed", ((), "consults")),
    *[
        ("move", (Move(kind=kind, step="quality", reason="advert", low=0, high=1_234),))
        for kind in ("in", "dropped", "set aside", "added", "unexplained", "out")
    ],
    *[
        ("moved", (Move(kind=kind, step="quality", reason="advert", low=0, high=1_234), 4_000))
        for kind in ("in", "dropped", "added")
    ],
    *[("share", (part, 10_000)) for part in (0, 1, 2_500, 9_999, 10_000)],
    *[("spread", (prepared(exam).of(eda.EXAM, unit),)) for exam in (1, 10, 40) for unit in ("characters", "tokens")],
    ("tokens", (prepared(),)),
    ("tokens", (prepared(40, 0),)),
    ("tokens", (prepared(tokens=False, tokens_missing="gated"),)),
    ("labels_shared", (prepared(),)),
    ("letters", (prepared(41),)),
    ("letters", (prepared(4, 0),)),
    ("letter_lengths", (prepared(),)),
    ("letter_lengths", (prepared(0),)),
    ("beside_published", (prepared(),)),
    ("consults_counted", (prepared(),)),
    *[("chosen", shown) for shown in ((0, 12), (3, 1_200), (12, 12))],
    *[
        ("proved", (Proof(weights_equal=equal, loss=0.693147, expected_loss=0.693147, largest_margin=0.0),))
        for equal in (True, False)
    ],
    ("made", (Generated(1_200, 1_150, 300, 290, [Reason("fewer than two usable answers (truncated)", 10, ())]),)),
    ("labelled", (labels(), (370, 40))),
    ("labelled", (labels(agreement=None, dropped={}), (370, 40))),
    ("settled", (labels(),)),
    ("settled", (labels(adjudicated=0, lengths=LEANING),)),
    ("leaning", (LENGTHS,)),
    ("unsafe", (labels(),)),
    ("unsafe", (labels(unsafe=0),)),
    ("preferred", (winrate(),)),
    ("preferred", (winrate(win_rate=0.8, low=0.65, high=0.9, p=0.0003, annotators=MIXED),)),
    ("preferred", (winrate(win_rate=0.2, low=0.1, high=0.35, p=0.0003, annotators=SIMULATED),)),
    ("compared", (winrate(),)),
    ("compared", (winrate(identical=0),)),
    ("decided", (winrate(),)),
    ("decided", (winrate(dpo=2, sft=1),)),
    ("short", (None,)),
    ("short", ("0123456789abcdef+changes",)),
]


def said(module: Any, name: str, arguments: Sequence[Any]) -> str:
    """What a function of the module says, lists and tables joined."""
    found = getattr(module, name)(*arguments)
    if isinstance(found, str):
        return found
    return "\n".join(line if isinstance(line, str) else " | ".join(line) for line in found)
