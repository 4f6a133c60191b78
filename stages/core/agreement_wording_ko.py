"""What an `Agreement` says, in Korean: the functions of `agreement_wording`, in the words of the annotators' own form.

Behind numbers and names stand only particles that do not change with the sound before them.
"""

from collections.abc import Mapping

from stages.core import agreement_cases as cases
from stages.core import wording_ko as wording
from stages.core.agreement import FEWEST_GAPS, Agreement, Alpha, Fell, Hurry, Lean, Remark, Share
from stages.core.agreement_cases import FIRM, TENTATIVE, signed
from stages.core.records import Choice, Flag
from stages.core.statistics import LEVEL, p_text

# As annotators read them (annotation.dataset, which needs argilla; a test holds that they are the same).
VALUE_NAMES: dict[Choice, str] = {
    "a": "A가 더 낫다",
    "b": "B가 더 낫다",
    "tie": "비슷하다",
    "both_bad": "둘 다 부적절하다",
}
FLAG_NAMES: dict[Flag, str] = {
    "missed_emergency": "응급을 놓침",
    "dangerous_treatment": "위험한 약·처치",
    "wrong_information": "틀린 의학 정보",
    "false_certainty": "근거 없는 단정",
    "discourages_care": "진료를 막음",
    "personal_data": "개인정보",
    "other": "그 밖의 위험",
}
VERDICTS: dict[cases.Verdict, str] = {
    "too few": "비교 문항이 너무 적어 아무 결론도 내릴 수 없습니다",
    "chance": "우연을 넘는 일치가 확인되지 않았습니다",
    "below chance": "우연으로 기대되는 것보다 더 자주 의견이 갈렸습니다",
    "firm": f"우연을 넘어 일치하며, 크리펜도르프가 확실한 결론의 기준으로 삼은 {FIRM}에 이릅니다",
    "tentative": f"우연을 넘어 일치하며, 크리펜도르프가 잠정적인 결론의 기준으로 삼은 {TENTATIVE}에 이릅니다",
    "below tentative": (
        f"우연은 넘지만 크리펜도르프가 요구하는 {TENTATIVE}에는 못 미치므로, 한 사람의 판단만으로는 말할 수 있는 것이 "
        "거의 없습니다"
    ),
    "open": f"우연은 넘지만, 크리펜도르프가 요구하는 {TENTATIVE}에 이르는지는 확인되지 않았습니다",
}
NO_INTERVALS: dict[cases.NoInterval, str] = {
    "one comparison": "비교 문항이 하나뿐이어서 신뢰구간을 구할 수 없고, 이 값으로 알 수 있는 것도 거의 없습니다",
    "nobody differed": (
        "의견이 갈린 문항이 없어 재표집으로는 신뢰구간을 구할 수 없습니다. 앞으로도 의견이 갈리지 않으리라는 증거는 "
        "아닙니다"
    ),
    "too alike": "다른 값을 고른 응답이 너무 적어 재표집으로는 신뢰구간을 구할 수 없습니다",
}
SIZES: dict[cases.Size, str] = {
    "large": "큰 효과",
    "medium": "중간 효과",
    "small": "작은 효과",
    "under small": "Cohen이 작은 효과라고 한 크기에도 못 미침",
}
MEANS = (
    "크리펜도르프 알파(Krippendorff’s alpha)는 같은 비교 문항을 두고 평가자들의 의견이 실제로 갈린 정도를, 같은 "
    "응답들을 문항에 무작위로 나누어 놓았을 때 갈릴 정도와 견준 값입니다. 1이면 갈린 적이 전혀 없고, 0이면 우연으로 "
    "기대되는 만큼만 일치하며, 0보다 작으면 우연으로 기대되는 것보다 더 자주 갈린 것입니다. 크리펜도르프는 개별 "
    "판단에서 확실한 결론을 끌어내려면 0.8 이상, 잠정적인 결론을 끌어내려면 0.667 이상을 요구합니다."
)
MEANS_NOT = (
    "알파가 높다고 해서 선택된 답변이 옳다는 뜻은 아닙니다. 모두의 의견이 같아도 틀릴 수 있고, 두 답변이 똑같이 "
    "좋으면 훌륭한 의사들끼리도 의견이 갈릴 수 있습니다. 알파는 평가자 한 사람 한 사람에 대해서는 아무것도 말해 "
    "주지 않습니다. 그것은 평가자별 표에서 볼 수 있습니다."
)
RULE = (
    "다음 가운데 하나라도 해당하는 평가자는 이름이 오릅니다. 다른 평가자들의 과반 의견과 일치하는 비율이 다른 "
    "평가자들보다 낮은 사람, 자신의 반복 문항에 처음과 같은 판단을 하는 비율이 낮은 사람, A를 고르는 비율이 높거나 "
    "낮은 사람(셋 모두 나머지 평가자를 합한 것과 견주며, Fisher의 정확 검정, 양측, 셋 각각에 대해 평가자 수만큼 "
    "Holm 보정을 한 뒤 p < 0.05. A를 고른 비율은 절반과도 달라야 합니다), 그리고 제출과 제출 사이 시간의 중앙값이 "
    f"다른 평가자들의 3분의 1보다 짧은 사람입니다(양쪽 모두 그런 시간이 {FEWEST_GAPS}회 이상일 때만 보며, 모의 "
    "평가자에게는 적용하지 않습니다). 이름이 오른 것은 살펴볼 이유일 뿐 판정이 아니며, 그 때문에 응답이 제외되는 "
    "사람은 없습니다. 아무 문제가 없어도 각 검정은 이런 실행 스무 번 가운데 많게는 한 번꼴로 누군가의 이름을 우연히 "
    "올립니다."
)


def lead(found: Agreement) -> list[str]:
    """The page in a few sentences."""
    judged = " 전체" if found.judged == found.comparisons else f" 중 {found.judged:,}개"
    names = ", ".join(sorted(found.far_off))
    off = f"다른 평가자들과 크게 다른 평가자가 있습니다({names}). 무엇이 다른지는 아래에 있습니다."
    return [
        f"평가자 {len(found.annotators):,}명이 비교 문항 {found.comparisons:,}개{judged}에 "
        f"응답 {found.responses:,}건을 제출했습니다.",
        agreed(found.alpha),
        *([off] if names else far_off(found)),
    ]


def agreed(alpha: Alpha) -> str:
    """Alpha in words."""
    if not alpha.comparisons:
        return "두 명 이상이 판단한 비교 문항이 없어, 평가자들의 의견이 얼마나 일치하는지 알 수 없습니다."
    on = f"두 명 이상이 판단한 비교 문항 {alpha.comparisons:,}개"
    if alpha.same is None or alpha.by_chance is None or alpha.value is None:
        return f"{on}의 응답 {alpha.responses:,}건이 모두 같은 값이어서 알파를 정의할 수 없습니다."
    said = (
        f"{on}에서 같은 문항에 대한 두 평가자의 응답을 짝지어 보면 {100 * alpha.same:.1f} %의 쌍이 같은 판단이었고, "
        f"우연이라면 {100 * alpha.by_chance:.1f} %일 것입니다. 크리펜도르프 알파는 {signed(alpha.value)}입니다"
    )
    if alpha.low is None or alpha.high is None:
        return f"{said}. {NO_INTERVALS[cases.no_interval(alpha)]}."
    verdict = VERDICTS[cases.verdict(alpha.low, alpha.high, alpha.comparisons)]
    return f"{said}(95 % 신뢰구간 {signed(alpha.low)}~{signed(alpha.high)}). {verdict}."


def caution(alpha: Alpha) -> str:
    """What the interval cannot be trusted with; empty where there is nothing to say."""
    if alpha.low is None:
        return ""
    found = []
    if alpha.comparisons < cases.FEW:
        found.append(f"비교 문항 {alpha.comparisons}개로 구한 신뢰구간은 넓게 나오기보다 좁게 나오기 쉽습니다.")
    if alpha.one_valued:
        found.append(
            f"재표집 {alpha.one_valued:,}회는 응답이 한 가지 값뿐이어서 알파를 정의할 수 없으므로 제외했습니다."
        )
    return " ".join(found)


def consistent(found: Agreement) -> str:
    """Self-consistency in words."""
    same = found.repeats.same
    if not same.of:
        return "응답한 반복 문항이 없어, 평가자들이 자신의 판단과 얼마나 일치하는지 알 수 없습니다."
    always_a, always_b, p = found.repeats.always_a, found.repeats.always_b, found.repeats.p
    flips = always_a + always_b
    said = (
        f"두 답변의 자리를 바꾸어 한 번 더 보여 준 반복 문항에서는 {counted(same)}에서 처음과 같은 판단을 했습니다"
        f"({within(same)}). 다른 평가자와의 일치도가 자신과의 일치도보다 높기는 어렵습니다."
    )
    if not flips:
        return f"{said} 두 번 모두 같은 자리를 고른 경우는 없습니다."
    lean = f"{'A' if always_a > always_b else 'B'} 쪽으로 치우친 것이 확인되었습니다"
    verdict = lean if p < LEVEL else "한쪽으로 치우쳤다고 확인되지 않았습니다"
    return (
        f"{said} {same.of:,}건 중 {flips:,}건에서는 고른 자리가 그대로이고 고른 글이 바뀌었습니다"
        f"(A {always_a:,}건, B {always_b:,}건). {verdict}({p_text(p)}).{_too_few(flips)}"
    )


def sided(lean: Lean) -> str:
    """Whether A is chosen more than B, in words. Which answer is A was drawn by seed."""
    if not lean.decided:
        return "한쪽을 고른 응답이 없어, 한쪽으로 치우쳤는지 알 수 없습니다."
    shown = f"{'A' if cases.leans_to(lean) else 'B'} 쪽으로 치우친 것이 확인되었습니다"
    return _leaning(lean, shown, "한쪽으로 치우쳤다고 확인되지 않았습니다", ("A를", "A가"))


def lengthy(found: Agreement) -> str:
    """Whether the longer answer is chosen, in words."""
    length = found.length
    equal = f" 길이가 같은 두 답변 가운데서 고른 응답이 {length.equal:,}건 있습니다." * bool(length.equal)
    if length.h is None or length.median_difference is None:
        return f"길이가 다른 두 답변 가운데서 고른 응답이 없습니다.{equal}"
    shown = f"더 {'긴' if cases.leans_to(length.longer) else '짧은'} 답변 쪽으로 치우친 것이 확인되었습니다"
    not_shown = "길이에 따라 치우쳤다고 확인되지 않았습니다"
    said = _leaning(length.longer, shown, not_shown, ("더 긴 답변을", "더 긴 답변이"), "길이가 다른 ")
    longer = "깁니다" if length.median_difference >= 0 else "짧습니다"
    could = not cases.is_too_few(length.longer.comparisons.of)  # an effect size of two responses says nothing
    effect = f" 절반과 견준 Cohen의 h는 {signed(length.h)}입니다({SIZES[cases.size(length.h)]})." if could else ""
    return (
        f"{said}{effect} 고른 답변은 다른 답변보다 {abs(length.median_difference):,.0f}자 더 {longer}(중앙값).{equal}"
    )


def _leaning(lean: Lean, shown: str, not_shown: str, which: tuple[str, str], of: str = "") -> str:
    """`which` is what was chosen, as the object and as the subject of a sentence; `of` tells which answers."""
    by_comparison = lean.comparisons
    chosen, got_more = which
    said = (
        f"{of}두 답변 중 하나를 고른 응답 {lean.decided:,}건 가운데 {lean.chosen:,}건"
        f"({wording.share(lean.chosen, lean.decided)})이 {chosen} 골랐습니다."
    )
    if not by_comparison.of or by_comparison.p is None:
        return f"{said} 어느 한쪽이 더 많은 표를 얻은 비교 문항은 없습니다."
    verdict = shown if by_comparison.shown else not_shown
    tested = f"{verdict}({p_text(by_comparison.p)}).{_too_few(by_comparison.of)}"
    if by_comparison.of == lean.decided:  # one response each
        return f"{said} {tested}"
    return f"{said} 비교 문항별로 보면 {counted(by_comparison)}에서 {got_more} 더 많은 표를 얻었습니다. {tested}"


def _too_few(of: int) -> str:
    return " 건수가 너무 적어, 치우침이 있어도 확인할 수 없었을 것입니다." if cases.is_too_few(of) else ""


def flagged(found: Agreement) -> str:
    """Safety flags in words."""
    flags = found.flags
    if not flags.comparisons:
        return "안전 문제로 표시된 답변이 없습니다."
    several = (
        f"이 가운데 {flags.by_several:,}개에서는 같은 답변을 두 명 이상이 표시했습니다."
        if flags.by_several
        else "같은 답변을 두 명 이상이 표시한 경우는 없습니다."
    )
    reasons = ", ".join(f"{FLAG_NAMES[reason]} {count:,}건" for reason, count in flags.reasons.items())
    marked = f"안전 문제로 표시된 답변이 있는 비교 문항은 {flags.comparisons:,}개입니다."
    return f"{marked} {several} 표시한 이유: {reasons}."


def fell(votes: Fell) -> str:
    """The label of a bar of the picture of votes."""
    if votes.of == 1:
        return "한 명만 판단"
    if votes.same == votes.of:
        return f"{votes.of}명 모두 같음"
    return f"{votes.of}명 중 {votes.same}명 같음{'' if 2 * votes.same > votes.of else ': 과반 없음'}"


def votes(values: Mapping[Choice, int]) -> str:
    """`A가 더 낫다 2, 비슷하다 1`."""
    return ", ".join(f"{VALUE_NAMES[value]} {count}" for value, count in values.items() if count)


def undecided(found: Agreement) -> str:
    twice = found.alpha.comparisons
    if not twice:
        return "두 명 이상이 판단한 비교 문항이 없습니다."
    if not found.undecided:
        return f"두 명 이상이 판단한 비교 문항 {twice:,}개 모두에 과반 의견이 있습니다."
    settled = sum(one.adjudicated is not None for one in found.undecided)
    return (
        f"두 명 이상이 판단한 비교 문항 {twice:,}개 중 {len(found.undecided):,}개에는 과반 의견이 없고, 그 가운데 "
        f"{settled:,}개는 조정자가 결정했습니다."
    )


def far_off(found: Agreement) -> list[str]:
    """A sentence for each thing that somebody is named for; one sentence where nobody is."""
    named = [*(_remark(one) for one in found.remarks), *(_hurry(one) for one in found.hurries)]
    if named:
        return named
    if len(found.annotators) < 2:
        return ["평가자가 한 명뿐이어서 비교할 다른 평가자가 없습니다."]
    return ["다른 평가자들과 크게 다르다고 확인된 평가자는 없습니다."]


def _remark(one: Remark) -> str:
    match one.about:
        case "majority":
            what = "다른 평가자들의 과반 의견과 일치한 경우"
        case "consistency":
            what = "반복 문항에 처음과 같은 판단을 한 경우"
        case "side":
            what = "A를 고른 경우"
    own, others = counted(one.own), counted(one.others)
    return f"{one.annotator}: {what}가 {own}이고, 다른 평가자들은 {others}입니다({p_text(one.p)})."


def _hurry(one: Hurry) -> str:
    return (
        f"{one.annotator}: 한 문항에 걸린 시간이 {seconds(one.median)}({one.gaps}회의 중앙값)이고, 다른 평가자들은 "
        f"{seconds(one.others_median)}({one.others_gaps}회의 중앙값)입니다."
    )


def simulated(found: Agreement) -> str:
    return wording.simulated_among([one.name for one in found.annotators])


def counted(share: Share) -> str:
    """`40건 중 12건(30.0 %)`."""
    return f"{share.of:,}건 중 {share.count:,}건({wording.share(share.count, share.of)})" if share.of else "없음"


def within(share: Share) -> str:
    """`95 % 신뢰구간 18–45 %`."""
    if share.low is None or share.high is None:
        return "신뢰구간 없음"
    return f"95 % 신뢰구간 {100 * share.low:.0f}–{100 * share.high:.0f} %"


def seconds(value: float) -> str:
    return f"{value:.1f}초" if value < 10 else f"{value:.0f}초" if value < 120 else f"{value / 60:.1f}분"
