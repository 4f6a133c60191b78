"""The preference side and the form of answers, in Korean. `preference_wording` says the same in English, under the same
names. What was not shown is not said.
"""

from stages.core.answer_form import AnswerForm, LengthChange, Trait, TraitShare
from stages.core.figures import decimal, percent, signed
from stages.core.preference_side import LogProbability, PreferenceSide, Quartiles
from stages.core.statistics import Interval, PairedTest, Score, p_text, smallest_shown

PAIR_HEADINGS = ("답변", "SFT의 로그 확률", "DPO의 로그 확률", "SFT의 토큰당", "DPO의 토큰당", "토큰 수")
FORM_HEADINGS = ("답변의 형식", "SFT", "DPO", "DPO만", "SFT만", "SFT에서 DPO로")
CHOSEN, REJECTED = "선택된 답변", "선택되지 않은 답변"
LENGTH = "글자 수(중앙값, 가운데 절반의 범위)"
TRAITS: dict[Trait, str] = {
    "cut_off": "토큰 한도에서 잘림",
    "repeating": "같은 말 반복",
    "refusing": "답변 거부",
    "empty": "빈 답변",
}
PAIRS_MEAN = (
    "따로 둔 선호 쌍은 평가자가 둘 중 나은 답변을 고른 쌍 가운데 DPO 학습에 쓰지 않은 것입니다. DPO의 암묵적 "
    "보상은 답변의 로그 확률을 SFT보다 얼마나 높였는지에 베타를 곱한 값이며, 선택된 답변의 보상이 더 높으면 "
    "평가자의 선택과 일치한 것으로 셉니다. 선호를 전혀 배우지 못한 모델이라면 절반에서 일치합니다. 로그 확률은 "
    "모델이 바로 그 답변을 쓸 가능성을 나타내며, 0에 가까울수록 가능성이 높습니다. 토큰 수는 중앙값이고, 괄호 "
    "안은 가운데 절반의 범위입니다."
)
FORM_MEANS = (
    "따로 둔 같은 상담에 탐욕적(greedy) 디코딩으로 생성한 답변입니다. 10글자 구간 가운데 5분의 1이 넘게 앞에서 "
    "이미 나온 것이면 ‘같은 말 반복’으로 봅니다. 답변 거부는 “답변드릴 수 없습니다”와 같이 미리 정한 표현으로 "
    "찾으므로 다른 표현은 놓칠 수 있어 실제 비율은 이보다 높을 수 있으며, 진료를 권하는 말은 거부로 세지 "
    "않습니다. 형식은 답변이 옳은지를 말해 주지 않습니다."
)
COLUMNS_MEAN = "‘DPO만’과 ‘SFT만’은 둘 중 그 모델의 답변만 그러한 상담의 수입니다."


def pairs(found: PreferenceSide) -> list[str]:
    """The held-out pairs in sentences."""
    said = [accuracy(found), ties(found), by_consult(found), dropped(found), margin(found)]
    said += [moved(CHOSEN, found.chosen), moved(REJECTED, found.rejected), longer(found)]
    return [sentence for sentence in said if sentence]


def accuracy(found: PreferenceSide) -> str:
    one = found.accuracy
    behind = f"({p_text(one.p)}{too_few(one.right + one.wrong)})"
    verdict = f"동전 던지기와의 차이가 확인되지 않았습니다{behind}"
    if one.shown:
        verdict = f"동전 던지기보다 {'자주' if one.right > one.wrong else '드물게'} 일치했습니다{behind}"
    return (
        f"DPO의 보상은 따로 둔 선호 쌍 {counted(one.score)}에서 평가자의 선택과 일치했습니다"
        f"(선호 정확도 {percent(one.score)}, 95 % 신뢰구간 {within(one.interval)}). {verdict}."
    )


def ties(found: PreferenceSide) -> str:
    """Empty where there is none."""
    count = found.accuracy.ties
    return f"이 가운데 {count:,}개는 두 답변의 보상이 똑같아 틀린 것으로 세었습니다." if count else ""


def by_consult(found: PreferenceSide) -> str:
    """Empty where each pair is another consult's."""
    if not found.by_consult:
        return ""
    one = found.accuracy
    return (
        f"선호 쌍 {found.pairs:,}개는 상담 {found.consults:,}건에서 나왔습니다. 같은 상담의 쌍은 서로 비슷하므로 "
        f"신뢰구간과 검정은 상담 단위로 계산했습니다(대부분 일치한 상담 {one.right:,}건, "
        f"대부분 일치하지 않은 상담 {one.wrong:,}건)."
    )


def dropped(found: PreferenceSide) -> str:
    """Empty where none was."""
    if not found.dropped:
        return ""
    return f"따로 둔 선호 쌍 {found.dropped:,}개가 더 있지만 dpo.max_length보다 길어 결과를 알 수 없습니다."


def margin(found: PreferenceSide) -> str:
    than = "높습니다" if found.margin >= 0 else "낮습니다"
    return f"{CHOSEN}의 보상은 {REJECTED}의 보상보다 평균 {abs(found.margin):.3f}만큼 {than}."


def moved(name: str, side: LogProbability) -> str:
    """What became of the `name`d answers' log-probability, CHOSEN or REJECTED."""
    how = f"로그 확률은 SFT에서 DPO로 평균 {signed(side.change)}만큼 변했습니다"
    if side.before is not None and side.after is not None:
        how = f"로그 확률은 평균이 SFT에서 {decimal(side.before)}, DPO에서 {decimal(side.after)}입니다"
    test = side.test
    return (
        f"{name}의 {how}. {test.questions:,}건 중 {test.gained:,}건에서 오르고 {test.lost:,}건에서 내렸으며, "
        f"{verdict(test, '오른 쪽이 더 많습니다', '내린 쪽이 더 많습니다')}."
    )


def longer(found: PreferenceSide) -> str:
    """What a rule that knows nothing but length would be worth; empty where tokens were not counted."""
    if found.longer is None:
        return ""
    share = f"{counted(found.longer)}({percent(found.longer)})"
    return f"항상 토큰이 더 많은 답변을 고른다면 {share}에서 평가자의 선택과 일치합니다."


def pair_row(name: str, side: LogProbability) -> tuple[str, ...]:
    """A row under PAIR_HEADINGS; dashes where an older run did not write it down."""
    values = (side.before, side.after, side.before_per_token, side.after_per_token)
    return (name, *(decimal(value) for value in values), spread(side.tokens))


def form(found: AnswerForm) -> list[str]:
    """The form of the answers in sentences."""
    said = [identical(found), length(found), *(trait(share) for share in found.shares), without(found)]
    return [sentence for sentence in said if sentence]


def identical(found: AnswerForm) -> str:
    if found.identical is None:
        return f"SFT가 따로 둔 상담 {found.consults:,}건에 답했습니다."
    same = f"이 가운데 {found.identical:,}건에서는" if found.identical else "이 가운데"
    end = "두 답변이 똑같습니다" if found.identical else "똑같은 답변은 없습니다"
    return f"SFT와 DPO가 따로 둔 같은 상담 {found.consults:,}건에 답했고, {same} {end}."


def length(found: AnswerForm) -> str:
    if found.dpo is None or found.change is None:
        return f"SFT의 답변은 {found.sft.median:,.0f}자입니다(중앙값)."
    test = found.change.test
    return (
        f"답변의 길이는 SFT가 {found.sft.median:,.0f}자, DPO가 {found.dpo.median:,.0f}자입니다(중앙값). "
        f"DPO의 답변이 더 긴 상담은 {test.gained:,}건, 더 짧은 상담은 {test.lost:,}건으로, "
        f"{verdict(test, 'DPO의 답변이 더 깁니다', 'DPO의 답변이 더 짧습니다')}. {median_change(found.change)}"
    )


def median_change(change: LengthChange) -> str:
    said = f"상담별 길이 변화의 중앙값은 {signed(change.median, 0)}자입니다"
    if change.interval is None:
        return f"{said}(답변이 너무 적어 신뢰구간은 구할 수 없습니다)."
    return f"{said}(95 % 신뢰구간 {signed(change.interval.low, 0)}~{signed(change.interval.high, 0)})."


def trait(share: TraitShare) -> str:
    """Empty where no answer of either has the trait."""
    if not share.sft.correct and not (share.dpo and share.dpo.correct):
        return ""
    said = f"{TRAITS[share.trait]}: SFT의 답변 {counted(share.sft)}({percent(share.sft)})"
    if share.dpo is None or share.test is None:
        return f"{said}입니다."
    return (
        f"{said}, DPO의 답변 {counted(share.dpo)}({percent(share.dpo)})로, "
        f"{verdict(share.test, 'DPO에서 더 많습니다', 'DPO에서 더 적습니다')}."
    )


def without(found: AnswerForm) -> str:
    """Which traits no answer has; empty where each is found in one."""
    names = [TRAITS[one.trait] for one in found.shares if not trait(one)]
    return f"어느 답변에서도 찾지 못한 것: {', '.join(names)}." if names else ""


def form_rows(found: AnswerForm) -> list[tuple[str, ...]]:
    """Rows under FORM_HEADINGS."""
    test = found.change.test if found.change else None
    first = (LENGTH, spread(found.sft), spread(found.dpo), *changed(test, "더 깁니다", "더 짧습니다"))
    return [
        first,
        *(
            (TRAITS[one.trait], scored(one.sft), scored(one.dpo), *changed(one.test, "더 많습니다", "더 적습니다"))
            for one in found.shares
        ),
    ]


def changed(test: PairedTest | None, more: str, fewer: str) -> tuple[str, str, str]:
    """The last cells of a row under FORM_HEADINGS."""
    if test is None:
        return ("–", "–", "–")
    return (f"{test.gained:,}", f"{test.lost:,}", verdict(test, more, fewer))


def verdict(test: PairedTest, more: str, fewer: str) -> str:
    if not test.gained and not test.lost:
        return "변화가 없습니다"
    if not test.shown:
        return f"차이가 확인되지 않았습니다({p_text(test.adjusted)}{too_few(test.gained + test.lost)})"
    return f"{more if test.gained > test.lost else fewer}({p_text(test.adjusted)})"


def too_few(count: int) -> str:
    """What stands behind a p of `count` pairs of which not even a clean sweep could be shown; empty else."""
    return ", 수가 너무 적어 어떤 차이도 확인할 수 없음" if smallest_shown(count) is None else ""


def scored(score: Score | None) -> str:
    """`40개 중 12개(30.0 %, 18~45 %)`."""
    return "–" if score is None else f"{counted(score)}({percent(score)}, {within(score.interval)})"


def counted(score: Score) -> str:
    return f"{score.questions:,}개 중 {score.correct:,}개"


def within(interval: Interval) -> str:
    return f"{100 * interval.low:.0f}~{100 * interval.high:.0f} %"


def spread(lengths: Quartiles | None) -> str:
    """`389(340~452)`: the median and the middle half."""
    return "–" if lengths is None else f"{lengths.median:,.0f}({lengths.low:,.0f}~{lengths.high:,.0f})"
