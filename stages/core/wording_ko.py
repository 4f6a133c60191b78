"""The report's sentences in Korean: the functions of `wording`, which says the same in English.

For readers who know medicine and no statistics. Behind numbers and names stand only particles that do not change with
the sound before them, or that fit the word which is written out.
"""

from collections.abc import Sequence

from stages.core import eda as data
from stages.core import figures
from stages.core.eda import Eda, FlowStep, Lengths, Move
from stages.core.figures import CHANCE as CHANCE
from stages.core.figures import TASK_TOKENS
from stages.core.figures import VALUES as VALUES
from stages.core.figures import markdown as markdown
from stages.core.figures import number as number
from stages.core.figures import points as points
from stages.core.figures import scored as scored
from stages.core.figures import seen as seen
from stages.core.figures import unbroken as unbroken
from stages.core.findings import (
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
from stages.core.korean_terms import term
from stages.core.learning import (
    ChosenFell,
    HeldOutAtChance,
    HeldOutStayed,
    LossNeverFell,
    LossRises,
    NoneHeldOut,
    NotLookedAt,
    PolicyAgrees,
    Remark,
)
from stages.core.plots import Curve
from stages.core.preference_side import Accuracy
from stages.core.statistics import PairedTest, p_text, smallest_shown

NAMES = {"base": "학습 전", "sft": "SFT", "dpo": "DPO"}
MODELS = {"base": "학습 전 모델", "sft": "SFT 모델", "dpo": "DPO 모델"}  # as sentences call them
NOUNS = {  # what is counted, and its counter
    "exam question": ("시험 문항", "개"),
    "question": ("시험 문항", "개"),
    "instruction row": ("학습 예시", "개"),
    "training row": ("학습 예시", "개"),
    "consult": ("상담", "건"),
    "held-out consult": ("따로 둔 상담", "건"),
    "candidate answer": ("후보 답변", "개"),
    "comparison": ("비교 문항", "개"),
    "blinded pair": ("답변 쌍", "개"),
    "annotator": ("평가자", "명"),
    "response": ("응답", "건"),
    "submitted response": ("제출된 응답", "건"),
    "preference": ("선호 쌍", "개"),
    "held-out preference": ("따로 둔 선호 쌍", "개"),
}
KINDS: dict[data.What, tuple[str, str]] = {"exam questions": NOUNS["exam question"], "consults": NOUNS["consult"]}
UNITS: dict[data.Unit, str] = {"characters": "자", "tokens": "토큰"}
EXTENTS = (
    "한 행의 길이는 사용자 발화 전체(지시문, 환자 정보 또는 선택지, 질문)와 답변을 합친 것입니다. 숫자 아래 그림에서 "
    "점은 중앙값, 상자는 가운데 절반, 선은 행 열 개 중 아홉 개가 드는 범위이며, 같은 열의 그림은 눈금이 같습니다."
)
WIN_RATE, DPO_BETTER = "DPO의 승률", "DPO의 답변이 더 나음"
COMPARED: dict[figures.Compared, str] = {
    "train": "시험 문항, train",
    "dev": "시험 문항, dev",
    "test": "시험 문항, test",
    "questions": "시험 문항, 합계",
    "consults": "상담",
    "shortest": "가장 짧은 상담(글자 수)",
    "median": "상담 길이의 중앙값(글자 수)",
    "longest": "가장 긴 상담(글자 수)",
}


def summary(
    base: str,
    rows: int,
    preferences: int | None,
    overall: Row,
    contrasts: Sequence[Contrast],
    winrate: Winrate | None,
    annotators: Sequence[str] = (),
    heldout: Accuracy | None = None,
) -> list[str]:
    """The run in three sentences; the arguments are those of `wording.summary`."""
    return [
        _trained(base, rows, preferences, annotators),
        _examined(overall, contrasts),
        _preference_side(overall, winrate, annotators, heldout),
    ]


def _trained(base: str, rows: int, preferences: int | None, annotators: Sequence[str]) -> str:
    begun = f"{base} 모델을 {count(rows, 'instruction row')}로 지도 미세조정(SFT)"
    if preferences is None:
        return f"{begun}했습니다."
    by = {
        "people": "평가자가 고른",
        "some": "일부는 사람이 아니라 모의 평가자가 고른",
        "simulated": "사람이 아니라 모의 평가자가 고른",
    }[figures.annotated(annotators)]
    return f"{begun}한 다음, {by} {count(preferences, 'preference')}로 선호 최적화(DPO)했습니다."


def _examined(overall: Row, contrasts: Sequence[Contrast]) -> str:
    found = figures.exam_result(overall, contrasts)

    def against(contrast: Contrast, end: str) -> str:
        before, after = contrast.before, contrast.after
        words = {"better": "보다 높았", "worse": "보다 낮았", "not shown": "와 차이가 확인되지 않았"}
        return (
            f"{MODELS[after]}의 정답률은 {found.percent[after]:.2f} %로 {MODELS[before]}의 "
            f"{found.percent[before]:.2f} %{words[figures.outcome(contrast.overall)]}{end}"
            f"({p_text(contrast.overall.adjusted)})"
        )

    said = f"같은 {count(overall.questions, 'exam question')}에서 "
    if found.best.overall.shown:
        said += against(found.best, "으며" if found.last else "습니다")
    else:
        what = "SFT가" if found.last and found.best.after == "sft" else "학습이"  # what DPO did stands behind it
        means = f"{what} 도움이 되었는지 해가 되었는지 알 수 없{'으며' if found.last else '습니다'}"
        said += f"{against(found.best, '으므로')} {means}"
    said = f"{said}, {against(found.last, '습니다')}." if found.last else f"{said}."
    return f"{said} 다만 {'. 또한 '.join(cautions(found))}." if cautions(found) else said


def cautions(found: figures.ExamResult) -> list[str]:
    """What keeps a difference from being one of medicine."""
    said = []
    if found.formless:
        checkpoint, percent = found.formless
        said.append(f"{MODELS[checkpoint]}의 답변 중 {percent:.1f} %에는 보기 글자가 없어 틀린 것으로 세었습니다")
    if found.guess:
        letter, percent = found.guess
        said.append(f"어느 체크포인트도 항상 {letter}라고만 답하는 것({percent:.2f} %)보다 낫다고 확인되지 않았습니다")
    return said


def _preference_side(overall: Row, winrate: Winrate | None, annotators: Sequence[str], heldout: Accuracy | None) -> str:
    if winrate:
        return preferred(winrate)
    if heldout:
        by = "모의 평가자" if figures.annotated(annotators) == "simulated" else "평가자"
        words = {"better": "보다 높습니다", "worse": "보다 낮습니다", "not shown": "와 차이가 확인되지 않았습니다"}
        return (
            f"DPO 모델이 더 낫다고 본 답변은 학습에 쓰지 않고 {count(heldout.score.questions, 'held-out preference')} "
            f"중 {heldout.score.percent:.1f} %에서 {by}의 선택과 같았고(95 % 신뢰구간 "
            f"{figures.bounds(heldout.interval)} %), 이는 우연히 같을 비율인 50 "
            f"%{words[figures.against_chance(heldout)]}({p_text(heldout.p)})."
        )
    if figures.has_dpo(overall):
        return "SFT 모델과 DPO 모델의 답변을 직접 비교한 사람이 없어, 어느 쪽이 더 나은지는 알 수 없습니다."
    return "선호 데이터로 학습한 모델은 평가하지 않았습니다."


def verdict(test: PairedTest) -> str:
    """`더 높음 (p = 0.003)`, `더 낮음 (p < 0.001)` or `차이가 확인되지 않음 (p = 0.41)`; p is the adjusted one."""
    words = {"better": "더 높음", "worse": "더 낮음", "not shown": "차이가 확인되지 않음"}
    return f"{words[figures.outcome(test)]} ({p_text(test.adjusted)})"


def simulated(labels: Labels | None) -> str:
    """What must stand wherever labels or DPO appear; empty where every annotator is a person."""
    return simulated_among(list(labels.annotators)) if labels else ""


def simulated_among(annotators: Sequence[str]) -> str:
    """What must stand wherever the annotators' judgements appear; empty where every one of them is a person."""
    match figures.annotated(annotators):
        case "people":
            return ""
        case "simulated":
            return (
                "평가자는 모두 사람이 아닌 모의 평가자입니다. 판단은 정해진 규칙에 무작위 불일치(시드 고정)를 섞어 "
                "만든 것이며, 이 답변들을 판단한 사람은 없습니다."
            )
        case "some":
            names = ", ".join(figures.simulated_names(annotators))
            return (
                f"일부 평가자는 사람이 아닌 모의 평가자입니다({names}). 이들의 라벨은 정해진 규칙에 무작위 불일치(시드 "
                f"고정)를 섞어 만든 것이며, 사람이 매긴 것이 아닙니다."
            )


def resolution(test: PairedTest) -> str:
    """What difference so many questions could show."""
    could = figures.resolution(test)
    found = f"정답 여부가 달라진 문항은 {could.questions:,}개 중 {could.changed:,}개입니다."
    if could.least is None:
        return f"{found} 이렇게 적으면 결과가 어떻게 나왔든 차이를 확인할 수 없습니다."
    said = (
        f"{found} 이때 확인할 수 있는 가장 작은 순변화는 보정 전 기준으로 {could.least:,}개"
        f"({could.points:.1f}%p)입니다."
    )
    if could.detectable is not None:
        said += f" 실제 차이가 {could.detectable:.1f}%p라면 보정한 뒤에도 이런 시험 100번 중 80번에서 확인됩니다."
    if could.detectable is not None and could.needed is not None:
        said += f" 이번에 나온 만큼의 차이를 그렇게 확인하려면 문항이 {could.needed:,}개 있어야 합니다."
    return said


def uneven(found: Uneven) -> str:
    """What is not the same for all checkpoints."""
    return f"체크포인트마다 조건이 다릅니다. {differing(found)}. 이것만으로도 개별 답변이 달라질 수 있습니다."


def differing(found: Uneven) -> str:
    listed = ", ".join(f"{NAMES[checkpoint]} {value}" for checkpoint, value in found.values.items())
    return f"{term(found.name)}: {listed}"


def limits(overall: Row, simulated: str, answers_shown: int, winrate: Winrate | None) -> list[str]:
    """What a reader must not conclude. `simulated`: what is said of those who gave the labels, as `simulated_among`."""
    base = overall.cells[0].score
    said: dict[figures.Limit, str] = {
        "device": ("이 모델들은 의료기기가 아닙니다. 모델이 쓴 내용은 누구에게도 진단·치료·상담에 사용할 수 없습니다."),
        "licence": (
            "KorMedMCQA의 라이선스는 CC BY-NC 2.0이며, 상업적 이용이 금지됩니다. 이 데이터로 학습한 모델에도 같은 "
            "제한이 적용되는지는 모델을 다른 사람에게 넘기기 전에 직접 확인해야 합니다."
        ),
        "accuracy": (
            "객관식 정답률은 시험 지식을 잰 것입니다. 환자에게 글로 쓴 답변이 정확한지, 안전한지, 친절한지는 재지 "
            "않습니다."
        ),
        "annotators": f"{simulated} DPO가 이들의 라벨에서 배운 것은 의사의 선호가 아니라 이 규칙입니다.",
        "winrate": (
            "승률은 비교한 평가자가 어느 답변을 더 낫게 보았는지만 말해 줍니다. 더 낫다고 한 답변이 의학적으로 맞거나 "
            "안전하다는 뜻은 아니며, 선호 데이터를 만든 평가자는 DPO가 배운 답변을 다른 사람보다 더 좋게 볼 수 "
            "있습니다."
        ),
        "small": (
            f"표본이 작습니다. 시험 문항 {overall.questions:,}개로는 정답률의 95 % 신뢰구간이 많게는 "
            f"±{figures.half_width(overall):.1f}%p에 이르고, 과목별 신뢰구간은 이보다 더 넓습니다."
        ),
        "consults": (
            "이 보고서에는 따로 둔 상담의 질문과 답변, 그리고 제외한 행의 앞부분이 입력된 그대로 실려 있습니다. 비식별 "
            "처리한 글이나 지어낸 글이 아니라면 환자 정보로 다루어야 합니다. report.side_by_side=0으로 설정하면 상담의 "
            "질문과 답변은 싣지 않습니다."
        ),
        "guessing": (
            f"이 문항들에서 학습 전 모델의 정답률이 찍어서 맞히는 것보다 높다고 할 수 없습니다({base.percent:.2f} %, "
            f"95 % 신뢰구간 {figures.bounds(base.interval)} %; 무작위로 찍으면 {CHANCE:.0f} %, 항상 {overall.letter}만 "
            f"고르면 {100 * overall.letter_share:.1f} %). 이 수준의 "
            f"결과는 파이프라인이 작동한다는 것만 보여 줄 뿐, 의학 지식에 대해서는 아무것도 보여 주지 않습니다."
        ),
    }
    return [said[limit] for limit in figures.limits(overall, bool(simulated), answers_shown, winrate)]


def asked(settings: Settings, benchmark: object, device: str) -> str:
    """The line under the table: how the questions were put, and on what."""
    tokens = "" if settings.max_gen_toks is None else f", 답변당 최대 {settings.max_gen_toks:,}토큰"
    if settings.max_gen_toks not in (None, TASK_TOKENS):
        tokens += f"(과제 자체의 값: {TASK_TOKENS:,})"
    extent = "test 문항 전체" if settings.limit is None else f"과목별 test 문항 중 처음 {settings.limit:,}개까지"
    quantization = "양자화하지 않음" if settings.quantization == "none" else f"{settings.quantization} 양자화"
    return (
        f"lm-eval {settings.lm_eval}의 {settings.task} {settings.task_version:.1f} 과제, {benchmark}의 {extent}; "
        f"few-shot 예시 {settings.fewshot}개; 채팅 템플릿 {'사용' if settings.chat_template else '사용하지 않음'}"
        f"{', 예시를 대화 차례로 나눔' if settings.fewshot_as_multiturn else ''}; 탐욕적(greedy) 디코딩{tokens}; "
        f"base 모델 {settings.base}, {settings.dtype}, {quantization}; 장치 {device}."
    )


def count(number: int, noun: str) -> str:
    """`상담 5건`; `noun` is the English one, as `wording.count` has it."""
    return _counted(number, *NOUNS[noun])


def _counted(number: int, noun: str, counter: str) -> str:
    return f"{noun} {number:,}{counter}"


def trained_on(reasons: Sequence[Reason], of: int, what: str, epochs: float) -> str:
    """Rows that a trainer took, how often, and those it did not."""
    rows = figures.trained(reasons, of, epochs)
    noun, counter = NOUNS[what]
    if epochs < 1:
        found = f"{count(rows.took, what)} 중 {rows.saw:,}{counter}로 학습해, 한 에폭에 못 미칩니다({epochs:.2f}에폭)."
    else:
        found = f"{count(rows.took, what)}로 {epochs:.3g}에폭 학습했습니다."
    if reasons:
        named = ", ".join(f"‘{reason(one.reason)}’ {one.count:,}{counter}" for one in reasons)
        found += f" 전체 {of:,}{counter} 중 제외한 {noun}: {named}."
    return found


def reason(given: str) -> str:
    """Why a row was dropped or set aside, or in which step."""
    return term(given)


def remark(found: Remark) -> str:
    """What a training's curves show."""
    match found:
        case LossRises():
            return (
                f"손실이 끝에 가서 다시 올랐습니다. 스텝을 다섯 구간으로 나눌 때 마지막 구간의 평균은 "
                f"{found.last:.3g}, 가장 낮은 구간의 평균은 {found.lowest:.3g}입니다. 학습률이 너무 높거나, 마지막에 "
                f"나온 예시들이 다른 예시들과 다를 수 있습니다."
            )
        case LossNeverFell():
            return (
                "스텝을 다섯 구간으로 나눌 때 마지막 구간의 손실이 첫 구간보다 뚜렷이 낮지 않습니다. 무언가를 배웠다는 "
                "근거가 없습니다."
            )
        case ChosenFell():
            return (
                f"선택된 답변이 나올 확률이 SFT 모델 때보다 낮아졌습니다(스텝을 다섯 구간으로 나눌 때 마지막 구간의 "
                f"보상 평균 {figures.measured(found.reward)}). 마진이 커진 것은 선택되지 않은 답변의 확률이 더 많이 "
                f"떨어졌기 때문입니다. dpo.nll_weight 값을 주면 선택된 답변의 확률을 붙들어 둘 수 있습니다."
            )
        case NoneHeldOut():
            return (
                "따로 둔 선호 쌍이 없어, 선호를 배웠는지 학습한 쌍을 외웠을 뿐인지 구별할 수 없습니다"
                "(preferences.heldout)."
            )
        case NotLookedAt():
            return "학습하는 동안 따로 둔 선호 쌍에서 잰 값이 없습니다."
        case HeldOutAtChance():
            return (
                f"마진은 커졌지만, 모델의 판단은 마지막 측정에서 {_agreed(found)}에서만 평가자의 선택과 같습니다. "
                f"우연이라면 50 %입니다."
            )
        case HeldOutStayed():
            return (
                f"마진은 커지는데 따로 둔 선호 쌍의 정확도는 오르지 않습니다. 첫 측정에서 {100 * found.first:.1f} %, "
                f"마지막 측정에서 {_agreed(found)}입니다. 쌍을 외우기만 하고 그 뒤에 있는 선호는 배우지 못할 때 이런 "
                f"모습이 됩니다."
            )
        case PolicyAgrees():
            return (
                f"모델의 판단은 마지막 측정에서 {_agreed(found)}에서 평가자의 선택과 같습니다. 우연이라면 50 %입니다."
            )


def _agreed(found: PolicyAgrees | HeldOutStayed | HeldOutAtChance) -> str:
    return f"{count(found.of, 'held-out preference')} 중 {100 * found.last:.1f} %"


def course(curve: Curve, level: float | None) -> str:
    """A training curve in words."""
    left_out = f" 유한한 수가 아닌 기록 {curve.left_out}개는 뺐습니다." if curve.left_out else ""
    if not curve.points:
        return f"기록된 값이 없습니다.{left_out}"
    (first_step, first), (last_step, last) = curve.points[0], curve.points[-1]
    dashed = "" if level is None else f"(점선: {level:.4g})"
    if len(curve.points) == 1:
        return f"기록된 값은 {first_step:g}스텝의 {figures.measured(first)} 하나입니다{dashed}.{left_out}"
    low, high = map(figures.measured, figures.extent(curve))
    return (
        f"{first_step:g}스텝에서 {figures.measured(first)}, {last_step:g}스텝에서 {figures.measured(last)}, 가장 낮을 "
        f"때 {low}, 가장 높을 때 {high}입니다{dashed}.{left_out}"
    )


def prepared(eda: Eda) -> str:
    """The training rows in a sentence or two."""
    named = [_counted(rows, *KINDS[what]) for what, rows in figures.prepared(eda)]
    if not named:
        return "학습할 예시가 남지 않았습니다."
    made = f"SFT에 쓸 {count(eda.rows, 'training row')}를 준비했습니다({', '.join(named)})."
    if len(named) == 1:
        made = f"SFT에 쓸 학습 예시는 {named[0]}입니다."
    lost = [f"{_counted(of, *KINDS[what])} 중 {dropped:,}{KINDS[what][1]}" for what, dropped, of in figures.lost(eda)]
    return (
        f"{made} 그 과정에서 버린 것은 {', '.join(lost)}입니다." if lost else f"{made} 그 과정에서 버린 것은 없습니다."
    )


def flowed(flow: Sequence[FlowStep], what: data.What) -> str:
    """What came of the rows of one kind, in words."""
    noun, counter = KINDS[what]
    rows = figures.flow(flow, what)
    if rows is None:
        return f"사용한 {noun}: 없음."
    uses = ", ".join(f"‘{reason(use)}’ {aside:,}{counter}" for aside, use in rows.uses)
    made = f", 여기서 더 만든 것은 {rows.made:,}{counter}" if rows.made else ""
    found = f"들어온 {noun}은 {rows.came_in:,}{counter}{made}, 학습 예시가 된 것은 {rows.left:,}{counter}입니다."
    found += f" 다른 용도로 떼어 둔 것: {uses}." if uses else ""
    found += f" 기록된 사유 없이 사라진 것: {rows.vanished:,}{counter}." if rows.vanished else ""
    if rows.worst is None:
        return f"{found} 버린 것은 없습니다."
    where = f"{reason(rows.worst.step)} 단계의 ‘{reason(rows.worst.reason)}’"
    most = f"가장 많은 사유는 {where}, {rows.worst.rows:,}{counter}" if rows.reasons > 1 else f"사유는 모두 {where}"
    return f"{found} 버린 것: {rows.dropped:,}{counter}({share(rows.dropped, rows.rows)}), {most}입니다."


def move(move: Move) -> str:
    """The label of a bar of the waterfall."""
    step = reason(move.step)
    match move.kind:
        case "in":
            return "들어온 것"
        case "out":
            return "학습 예시"
        case "set aside":
            return f"{step}, 따로 둠: {reason(move.reason)}"
        case "added":
            return f"{step}: 더 만든 것"
        case "unexplained":
            return f"{step}: 기록된 사유 없이 사라짐"
    return f"{step}: {reason(move.reason)}"


def moved(move: Move, of: int) -> str:
    """The number of a bar of the waterfall, and its share of all rows that entered."""
    rows = f"{figures.sign(move)}{move.rows:,}"
    return rows if move.kind == "in" else f"{rows} ({share(move.rows, of)})"


def share(part: int, of: int) -> str:
    """In percent; neither none nor all is said of a share that only rounds to it."""
    side, percent = figures.rounded(part, of)
    return f"{percent} {({'': '', 'under': '미만', 'over': '초과'})[side]}".strip()


def spread(lengths: Lengths) -> str:
    """Where most of the lengths lie."""
    unit = UNITS[lengths.unit]
    if lengths.rows == 1:
        return f"한 행뿐이며, 길이는 {number(lengths.median)}{unit}입니다."
    median = f"중앙값 {number(lengths.median)}{unit}(점선)"
    if lengths.rows < 20:
        return f"{median}, 최소 {number(lengths.minimum)}{unit}, 최대 {number(lengths.maximum)}{unit}입니다."
    return (
        f"{median}이며, 행 열 개 중 아홉 개는 {lengths.percentile_5:,.0f}–{lengths.percentile_95:,.0f}{unit}, 가장 긴 "
        f"행은 {number(lengths.maximum)}{unit}입니다."
    )


def tokens(eda: Eda) -> str:
    """What a token is here, or why none was counted."""
    characters, counted = eda.of(data.ALL, "characters"), eda.of(data.ALL, "tokens")
    if not characters or not counted:
        return f"토큰은 세지 않았습니다{f'({eda.tokens_missing})' if eda.tokens_missing else ''}."
    return (
        f"토큰은 {eda.tokenizer or 'base'} 모델의 토크나이저로 세었고, 토큰 하나는 평균 "
        f"{characters.mean / counted.mean:.1f}자입니다. 채팅 템플릿이 발화 앞뒤에 붙이는 표시는 세지 않았습니다."
        f"{labels_shared(eda)}"
    )


def labels_shared(eda: Eda) -> str:
    """What SFT's loss is taken of, where both kinds of row are trained on; empty else, with a space before it."""
    found = figures.label_shares(eda)
    if found is None:
        return ""
    shares = [
        f"{100 * one.share:.1f} %는 {_counted(one.rows, *KINDS[one.what])}(행마다 평균 {one.mean:.1f}토큰)"
        for one in found
    ]
    question, consult = found
    return (
        f" SFT는 라벨 토큰, 즉 답변과 그 끝 표시에서만 배우며, 그중 {', '.join(shares)}에 있습니다. 모든 라벨 토큰의 "
        f"비중이 같으므로 상담 한 건의 비중은 시험 문항 {number(round(consult.mean / question.mean, 1))}개와 같습니다. "
        f"긴 답변이 정답 글자보다 학습을 더 크게 좌우합니다."
    )


def letters(eda: Eda) -> str:
    """What guessing one letter would give on the training rows. There are exam questions among them."""
    found = figures.one_letter(eda)
    which = "(출처 중 가장 높음)" if found.sources > 1 else ""
    return (
        f"{term(found.source)}의 학습 문항은 항상 {' 또는 '.join(found.letters)}만 골라도 {100 * found.share:.1f} %를 "
        f"맞힙니다{which}. 다섯 선택지가 고르게 정답이라면 {CHANCE:.0f} %입니다."
    )


def letter_lengths(eda: Eda) -> str:
    """Whether the length of a question goes with its right answer."""
    found = figures.letter_lengths(eda)
    if found is None:
        return ""
    low, high = found
    if low.median == high.median:
        return f"행 길이의 중앙값은 정답이 무엇이든 {number(low.median)}자로 같습니다."
    return (
        f"정답에 따라 나누면 행 길이의 중앙값은 가장 짧을 때 {number(low.median)}자({low.letter}), 가장 길 때 "
        f"{number(high.median)}자({high.letter})입니다."
    )


def beside_published(eda: Eda) -> list[tuple[str, str, str]]:
    """What can be compared, this run's number and the published report's."""
    return [(COMPARED[what], own, theirs) for what, own, theirs in figures.beside_published(eda)]


def consults_counted(eda: Eda) -> str:
    """Which consults the comparison is about, and of what their characters are."""
    which = "용도와 관계없이 남긴 모든 상담" if eda.consult_lengths else "학습에 쓴 상담"
    return (
        f"{which}을 센 것이며, 상담마다 지시문, 환자 정보, 질문, 답변을 합친 길이입니다. 공개된 보고서가 정확히 무엇을 "
        f"세었는지는 알 수 없습니다."
    )


def chosen(shown: int, answered: int) -> str:
    """Which held-out consults are shown."""
    consults = count(answered, "held-out consult")
    if shown == 0:
        return f"모델이 답한 {consults} 중 여기에 보이는 것은 없습니다(report.side_by_side 값이 0)."
    which = (
        f"아래는 모델이 답한 {consults} 전부"
        if shown == answered
        else f"아래는 모델이 답한 {consults} 중 처음 {shown:,}건"
    )
    return f"{which}이며, 시드로 뽑은 순서 그대로입니다. 답변을 보고 고른 것은 없습니다."


def proved(proof: Proof) -> str:
    """What was seen before DPO's first update."""
    weights = "같고" if proof.weights_equal else "같지 않고"
    departs = "은 SFT 모델입니다" if proof.weights_equal else "이 SFT 모델이라고 볼 수 없습니다"
    return (
        f"첫 업데이트 전에 참조 모델의 가중치는 SFT 어댑터의 가중치와 {weights}, 손실은 {proof.loss:.4f}"
        f"(마진이 0일 때의 이론값 {proof.expected_loss:.4f}), 가장 큰 마진은 {proof.largest_margin:g}입니다. 따라서 "
        f"DPO의 출발점{departs}."
    )


def made(generated: Generated) -> str:
    """The candidates stage in words."""
    dropped = {reason.reason: reason.count for reason in generated.reasons}
    return (
        f"SFT 모델이 {count(generated.consults, 'consult')}에 {count(generated.candidates, 'candidate answer')}를 "
        f"썼고, 그중 토큰 한도 안에서 끝맺은 것은 {generated.finished:,}개입니다. 이것으로 만든 "
        f"{_noun('comparison', generated.comparisons)}입니다.{_dropped(dropped, *NOUNS['consult'])}"
    )


def labelled(labels: Labels, pairs: tuple[int, int]) -> str:
    """Responses and what became of them; `pairs` are those to train on and those held out."""
    agreement = (
        "두 번 판단한 비교 문항이 없어 일치도는 알 수 없습니다"
        if labels.agreement is None
        else f"같은 비교 문항을 판단한 두 평가자가 같은 값을 고른 비율은 {100 * labels.agreement:.0f} %입니다"
    )
    draft, discarded = (labels.responses.get(status, 0) for status in ("draft", "discarded"))
    submitted = count(labels.responses.get("submitted", 0), "submitted response")
    return (
        f"{count(labels.comparisons, 'comparison')} 중 {labels.labelled:,}개에 라벨이 있으며, {submitted}에서 나온 "
        f"것입니다(작성 중 {draft}건, 폐기 {discarded}건은 세지 않음). {agreement}. 여기서 나온 선호 쌍 "
        f"{labels.kept:,}개 중 학습용은 {pairs[0]:,}개, 따로 둔 것은 "
        f"{pairs[1]:,}개입니다.{_dropped(labels.dropped, *NOUNS['comparison'])}"
    )


def settled(labels: Labels) -> str:
    """Adjudicators' share in the preferences, and whether the longer answer is the chosen one; may be empty."""
    found = []
    if labels.adjudicated:
        found.append(f"이 가운데 {labels.adjudicated:,}개는 조정자가 결정했습니다.")
    lengths = labels.lengths
    if lengths.p is not None and not lengths.warning:  # the warning says it
        differing = figures.differing(lengths)
        equal = f"; 길이가 같은 쌍 {lengths.equal:,}개" if lengths.equal else ""
        found.append(
            f"두 답변의 길이가 다른 {count(differing, 'preference')} 중 {lengths.chosen_longer:,}개에서 더 긴 답변이 "
            f"선택되었습니다({share(lengths.chosen_longer, differing)}, {p_text(lengths.p)}{equal})."
        )
    return " ".join(found)


def leaning(lengths: LabelLengths) -> str:
    """The warning that chosen answers are mostly the longer, or the shorter ones; empty where there is none."""
    if not lengths.warning or lengths.p is None:
        return ""
    longer = lengths.chosen_longer > lengths.rejected_longer
    most, differing = max(lengths.chosen_longer, lengths.rejected_longer), figures.differing(lengths)
    return (
        f"길이가 다른 쌍 {differing}개 중 {most}개({100 * most / differing:.0f} %, 정확 이항 검정 "
        f"{p_text(lengths.p)})에서 더 {'긴' if longer else '짧은'} 답변이 선택되었으며, DPO는 여기서 답변의 질이 "
        f"아니라 길이를 배울 수 있습니다(arXiv 2403.19159). 어느 평가자가 길이에 따라 고르는지 agreement.html에서 보고 "
        f"그 평가자와 안내문을 함께 다시 읽어 보십시오. 학습한 뒤에는 따로 둔 상담에 대한 SFT 답변과 DPO 답변의 길이를 "
        f"비교하십시오. dpo.beta 값을 높이면 DPO 모델이 SFT 모델에서 덜 멀어집니다."
    )


def unsafe(labels: Labels) -> str:
    if not labels.unsafe:
        return "안전 문제가 표시된 답변은 없습니다."
    return f"누군가 답변에 안전 문제를 표시한 {_noun('comparison', labels.unsafe)}입니다."


def preferred(winrate: Winrate) -> str:
    """DPO's win rate in a sentence."""
    by = {
        "people": "평가자가",
        "some": "일부는 모의 평가자인 평가자들이",
        "simulated": "사람이 아니라 모의 평가자가",
    }[figures.annotated(winrate.annotators)]
    verdict = "어느 쪽 답변이 더 나은지 확인되지 않았습니다"
    if winrate.shown:
        verdict = f"{'DPO' if winrate.win_rate > 0.5 else 'SFT'} 모델의 답변이 더 낫다고 확인되었습니다"
    return (
        f"학습에 쓰지 않고 {count(winrate.judged, 'held-out consult')}의 답변을 {by} 모델 이름을 가린 채 비교한 결과, "
        f"DPO 모델의 승률은 {100 * winrate.win_rate:.1f} %"
        f"(95 % 신뢰구간 {100 * winrate.low:.1f}–{100 * winrate.high:.1f} %, ‘비슷하다’와 ‘둘 다 부적절하다’는 "
        f"절반으로 계산)로, {verdict}({p_text(winrate.p)})."
    )


def compared(winrate: Winrate) -> str:
    """Who compared what in round two."""
    same = count(winrate.identical, "consult")
    identical = f" 두 모델의 답변이 같은 {same}은 보여 주지 않았습니다." if winrate.identical else ""
    return (
        f"{count(len(winrate.annotators), 'annotator')}이 따로 둔 상담에 대한 SFT 모델과 DPO 모델의 "
        f"{count(winrate.comparisons, 'blinded pair')}를 모델 이름을 가린 채 비교해 "
        f"{count(winrate.responses, 'response')}을 냈습니다. 과반의 판단이 있는 쌍 {winrate.judged:,}개, 없는 쌍 "
        f"{winrate.undecided:,}개, 응답이 없는 쌍 {winrate.unjudged:,}개입니다.{identical}"
    )


def decided(winrate: Winrate) -> str:
    """What so many comparisons with a winner could show."""
    least = smallest_shown(winrate.dpo + winrate.sft)
    found = f"승부가 갈린 {_noun('comparison', winrate.dpo + winrate.sft)}입니다."
    if least is None:
        return f"{found} 이렇게 적으면 결과가 어떻게 나왔든 정확 부호 검정으로 차이를 확인할 수 없습니다."
    return f"{found} 이때 정확 부호 검정으로 확인할 수 있는 가장 작은 차이는 {least:,}개입니다."


def _noun(noun: str, number: int) -> str:
    """`상담은 5건`, the number as what is told."""
    name, counter = NOUNS[noun]
    return f"{name}은 {number:,}{counter}"


def _dropped(counts: dict[str, int], noun: str, counter: str) -> str:
    named = [f"‘{reason(why)}’ {number:,}{counter}" for why, number in counts.items() if number]
    return f" 제외한 {noun}: {', '.join(named)}." if named else ""


def short(commit: str | None) -> str:
    """The first characters of a commit, with its `+changes`."""
    return "git에 없음" if commit is None else figures.short(commit)
