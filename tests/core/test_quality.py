"""quality: what a rule is for it catches, and what only looks like it stays as it was. All texts are fictional."""

import unicodedata
from pathlib import Path
from typing import get_args

import pytest

from stages.core.chat import CONTROL_TOKENS
from stages.core.consults import read_consults
from stages.core.quality import RULES, Cleaned, clean, is_broken, restore, sentences, tidy
from stages.core.recipe import Quality, Rule
from stages.core.records import Consult

DEMO = Path(__file__).parents[2] / "recipes" / "demo" / "consults.jsonl"
DEFAULT = Quality()
QUESTION = "어제부터 열이 나고 목이 아픈데 병원에 꼭 가야 하나요?"
ADVICE = "열이 38도를 넘지 않으면 물을 자주 드시고 푹 쉬면서 이틀 정도 지켜보셔도 됩니다."
SECOND = "숨이 차거나 열이 사흘 넘게 이어지면 내과에서 진찰을 받으세요."
WHOLE = f"{ADVICE} {SECOND}"


def consult(**changes: str) -> Consult:
    plain = Consult(id="c-1", question=QUESTION, patient_information="30세 여성, 38.1℃", answer=WHOLE, source="consult")
    return plain.model_copy(update=changes)


def cleaned(config: Quality = DEFAULT, /, **changes: str) -> Cleaned:
    return clean(consult(**changes), config)


def answer(text: str) -> str:
    """The answer after the rules; a test that uses it wants the row to stay."""
    found = cleaned(answer=text)
    assert found.consult is not None, found.dropped
    return found.consult.answer


def question(text: str) -> str:
    found = cleaned(question=text)
    assert found.consult is not None, found.dropped
    return found.consult.question


def reason(**changes: str) -> str | None:
    dropped = cleaned(**changes).dropped
    return dropped.reason if dropped else None


def rules(found: Cleaned) -> list[str]:
    return [decision.rule for decision in found.decisions]


def only(rule: Rule) -> Quality:
    return Quality(skip=tuple(other for other in get_args(Rule) if other != rule))


# The whole


def test_the_demos_consults_pass_untouched() -> None:
    made = read_consults(DEMO)
    assert len(made) == 72
    for one in made:
        assert clean(one, DEFAULT) == Cleaned(one, None, ())


def test_every_rule_has_one_sentence_and_stands_in_the_recipe_in_the_same_order() -> None:
    assert tuple(RULES) == get_args(Rule)
    assert all(sentence.endswith(".") for sentence in RULES.values())


DIRTY = {
    "question": "<p>열이\u200b 나요&nbsp;&nbsp;😢</p>\r\n\r\n\r\n\r\n병원에 가야 하나요? p&lt;0.05",
    "answer": (
        "안녕하세요. 하이닥 내과 상담의 [이름]입니다.<br><br>질문 주셔서 감사합니다.\n\n\n"
        f"{WHOLE} 저희 병원으로 내원해 주세요. 답변이 도움이 되셨길 바랍니다. 상담 문의 [전화번호]. 감사합니다."
    ),
}


def test_cleaning_what_is_clean_does_nothing() -> None:
    once = cleaned(**DIRTY)
    assert once.consult is not None
    assert once.consult.answer == WHOLE
    assert once.consult.question == "열이 나요 😢\n\n병원에 가야 하나요? p<0.05"
    assert clean(once.consult, DEFAULT) == Cleaned(once.consult, None, ())


@pytest.mark.parametrize(
    "text",
    [
        f"&amp;lt;b&amp;gt;안녕하세요&amp;lt;/b&amp;gt; {WHOLE}",
        f"<\u200bbr>{WHOLE}&#8203;",
        f"{WHOLE} 감사합니다. 지금 예약하세요! 감사합니다. 빠른 쾌유를 빕니다. 이벤트 중입니다.",
        f"안녕하세요.\u200b 안녕하세요. {WHOLE}\n감사합니다\n감사합니다",
        f"{WHOLE} 저희 병원으로 오세요 저희 병원으로 오세요",
        f"1. {ADVICE}\n2. 저희 병원에 예약하세요.\n3. {SECOND}",
    ],
)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = cleaned(answer=text)
    assert once.consult is not None
    assert once.decisions
    assert clean(once.consult, DEFAULT) == Cleaned(once.consult, None, ())


def test_every_change_can_be_taken_back() -> None:
    found = cleaned(**DIRTY)
    assert found.consult is not None
    assert {"markup", "control_characters", "whitespace", "greeting", "advert_sentences"} == set(rules(found))
    assert {decision.id for decision in found.decisions} == {"c-1"}
    assert restore(found.consult, found.decisions) == consult(**DIRTY)


@pytest.mark.parametrize("rule", get_args(Rule))
def test_a_rule_that_is_switched_off_does_nothing(rule: Rule) -> None:
    off = Quality(skip=(rule,))
    for changes in (DIRTY, *DROPPED.values()):
        found = cleaned(off, **changes)
        assert rule not in rules(found)
        assert found.dropped is None or found.dropped.reason != rule


def test_with_every_rule_off_the_worst_row_stays() -> None:
    worst = {"question": "��", "answer": "<b>저희 병원으로 오세요</b>"}
    assert cleaned(Quality(skip=get_args(Rule)), **worst) == Cleaned(consult(**worst), None, ())


DROPPED: dict[Rule, dict[str, str]] = {
    "broken_encoding": {"answer": WHOLE.replace("열", "\ufffd")},
    "too_long": {"question": "열이 나요. 어떻게 하나요? " * 300},
    "repeated_characters": {"question": "ㅋ" * 50},
    "advert": {"answer": "안녕하세요. 저희 병원은 최신 장비를 갖추고 있습니다. 지금 바로 예약하세요!"},
    "no_answer": {"answer": "정확한 진단을 위해 가까운 병원에 내원하셔서 진료를 받아 보시기 바랍니다."},
    "too_short": {"answer": "괜찮습니다. 쉬세요."},
    "not_korean": {"answer": "You should rest at home, drink water and see a doctor if the fever lasts. 네."},
    "question_is_answer": {"answer": QUESTION + "!"},
}


@pytest.mark.parametrize("rule", DROPPED)
def test_a_dropping_rule_names_itself_and_keeps_the_text_it_objects_to(rule: Rule) -> None:
    found = cleaned(**DROPPED[rule])
    assert found.consult is None
    assert found.decisions == ()
    assert found.dropped is not None
    assert (found.dropped.id, found.dropped.reason) == ("c-1", rule)
    assert [found.dropped.text] == list(DROPPED[rule].values())


# Markup


@pytest.mark.parametrize(
    ("text", "clean_text"),
    [
        ("열이 나요<br>어떻게<br/>하나요<BR />정말로요?", "열이 나요\n어떻게\n하나요\n정말로요?"),
        ("<p>열이 나요.</p><p>어떻게 하나요?</p>", "열이 나요.\n\n어떻게 하나요?"),
        ('<div class="desc">열이 <b>많이</b> <a href="x?a=1&b=2">나요</a></div>', "열이 많이 나요"),
        ("<ul><li>기침이 나요</li><li>열이 나요</li></ul>", "기침이 나요\n\n열이 나요"),
        ("열이 나요<!-- 광고 --><script>var a = '<b>';</script> 어떻게 하죠?", "열이 나요 어떻게 하죠?"),
        ("체온이 38&#46;5도&nbsp;&gt; 37도 &amp; 오한", "체온이 38.5도 > 37도 & 오한"),
        ("열이 나요 &lt;b&gt;많이&lt;/b&gt; 나요", "열이 나요 많이 나요"),
    ],
)
def test_html_becomes_text(text: str, clean_text: str) -> None:
    assert question(text) == clean_text


@pytest.mark.parametrize(
    "text",
    [
        "검사 결과가 p<0.05라고 하는데 무슨 뜻인가요?",
        "선생님 감사해요 <3 열이 내려갔어요",
        "혈압이 a<b 이고 c>d 라고 적혀 있어요",
        "AST<40, ALT>40 이면 정상인가요?",
        "R&D 부서에서 일하는데 AT&T 이어폰 때문에 귀가 아파요",
        "<검사 결과> 백혈구 12,000 이상인가요?",
        "10<나이<20 에서 키가 더 크나요?",
        "<이름 모를 약>을 먹었는데 괜찮나요?",
    ],
)
def test_a_sign_that_is_no_tag_stays(text: str) -> None:
    assert question(text) == text


@pytest.mark.parametrize("token", CONTROL_TOKENS)
def test_no_entity_brings_a_control_token_to_light(token: str) -> None:
    hidden = token.replace("<", "&lt;").replace(">", "&gt;")
    assert token not in question(f"열이 나요 {hidden} 어떻게 하나요?")
    assert token not in question(f"열이 나요 {token[:3]}\u200b{token[3:]} 어떻게 하나요?")


# Control characters


@pytest.mark.parametrize(
    ("text", "clean_text"),
    [
        ("\ufeff열이\u200b 나\u200c요\u2060 어떻게 하나요?", "열이 나요 어떻게 하나요?"),
        ("\u200f열이 나요\u202e 어떻게\u202c 하나요?", "열이 나요 어떻게 하나요?"),
        ("열이\x00 나요\x07 어떻게\x1b 하나요?", "열이 나요 어떻게 하나요?"),
        ("열이 나요\r\n어떻게 하나요?\r정말요", "열이 나요\n어떻게 하나요?\n정말요"),
        ("열이 나요\u2028어떻게 하나요?", "열이 나요\n어떻게 하나요?"),
        (unicodedata.normalize("NFD", "열이 나요 어떻게 하나요?"), "열이 나요 어떻게 하나요?"),
        ("열이\u3164 나요 어떻게 하나요?", "열이 나요 어떻게 하나요?"),
    ],
)
def test_what_cannot_be_seen_is_removed(text: str, clean_text: str) -> None:
    assert question(text) == clean_text


@pytest.mark.parametrize(
    "text", ["열이 나요😢 괜찮을까요? 👩‍⚕️", "체온 38.5℃, 5㎎ 먹었어요. 괜찮나요?", "①번 약 ½알 먹어요"]
)
def test_what_can_be_seen_stays(text: str) -> None:
    assert question(text) == text


# Whitespace


def test_runs_of_spaces_and_blank_lines_become_one() -> None:
    assert question(" 열이   나요\t\t어떻게\u3000하나요? \n\n \n\n 정말요 ") == "열이 나요 어떻게 하나요?\n\n정말요"


# One text, where there is no consult yet


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ("<p>열이\u200b 나요&nbsp;&nbsp;😢</p>\r\n\r\n\r\n어떻게 하나요?", "열이 나요 😢\n\n어떻게 하나요?"),
        ("AST\t48\nALT\t72\n\nGGT\t90", "AST 48\nALT 72\n\nGGT 90"),
        ("p&lt;0.05, Na<135, <3\vp<0.05", "p<0.05, Na<135, <3\np<0.05"),
        ("&amp;amp;lt;b&amp;gt;굵게&lt;/b&gt;", "굵게"),
        ("<&#8203;br>안녕하세요. 저희 병원으로 오세요.", "안녕하세요. 저희 병원으로 오세요."),
        ("", ""),
    ],
)
def test_a_text_is_tidied_and_nothing_that_it_says_goes(text: str, tidied: str) -> None:
    assert tidy(text) == tidied
    assert tidy(tidied) == tidied


HOSTILE = {  # each hides one thing in another, or opens what it never closes
    "entities in entities": "&#" * 25_000 + "5" + "3;" * 25_000,
    "ampersands": "&" + "amp;" * 25_000 + "lt;",
    "tags in tags": "<b" * 33_000 + ">" * 33_000,
    "invisible characters": "&#82" * 14_000 + "03;" * 14_000,
    "comments": "<!--" * 25_000,
    "scripts": "<script>" * 12_500,
    "attributes": "<a b='" * 16_000,
    "accents": "a" + "\u0301\u0316" * 50_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_tidied_in_one_go(text: str) -> None:
    """With time in the square of the length this file would take minutes and be noticed; no clock is asked."""
    assert tidy(tidy(text)) == tidy(text)


def test_markup_in_markup_without_end_goes_and_the_rest_of_the_text_stays() -> None:
    assert tidy("열이 나요. " + "<b" * 100 + ">" * 100 + " 목도 아파요.").startswith("열이 나요. b")
    config = only("markup")
    endless = cleaned(config, question=f"{QUESTION} {'<b' * 30}{'>' * 30}", answer=f"{WHOLE} p<0.05")
    assert endless.consult is not None
    assert "<" not in endless.consult.question and endless.consult.question.startswith(QUESTION)
    assert endless.consult.answer == f"{WHOLE} p<0.05"
    assert clean(endless.consult, config) == Cleaned(endless.consult, None, ())


def test_a_broken_text_is_told_from_a_whole_one() -> None:
    assert is_broken("열이 나\ufffd요") and is_broken("ÀÌ가 아파요")
    assert not is_broken(QUESTION) and not is_broken("")


# Greetings


@pytest.mark.parametrize(
    "opening",
    [
        "안녕하세요. 하이닥 내과 상담의 [이름]입니다. ",
        "안녕하세요, 하이닥 소아청소년과 전문의 [이름]입니다.\n\n",
        "안녕하세요 하이닥 상담의 [이름] 입니다. ",
        "안녕하십니까? [병원] 원장 [이름]입니다. ",
        "안녕하세요~^^ 내과 전문의 김하늘입니다. ",
        "안녕하세요 질문자님. ",
        "안녕하세요, [이름]님! ",
        "반갑습니다. 하이닥 건강의학과 상담의 이OO입니다. ",
        "하이닥을 찾아주셔서 감사합니다. ",
        "안녕하세요. 하이닥을 찾아 주셔서 감사합니다. ",
        "하이닥 건강 상담을 이용해 주셔서 감사합니다.\n",
        "안녕하세요. 질문해 주셔서 감사합니다. 문의하신 내용에 대해 답변드리겠습니다. ",
        "질문 잘 읽었습니다. ",
    ],
)
def test_a_greeting_at_the_start_goes(opening: str) -> None:
    assert answer(opening + WHOLE) == WHOLE


@pytest.mark.parametrize(
    "closing",
    [
        " 감사합니다.",
        "\n\n감사합니다",
        " 답변이 도움이 되셨으면 좋겠습니다. 감사합니다.",
        " 제 답변이 조금이나마 도움이 되었길 바랍니다.",
        " 도움이 되셨기를 바랍니다.",
        " 빠른 쾌유를 빕니다.",
        " 하루빨리 쾌차하시길 바랍니다.",
        " 항상 건강하시길 바랍니다. 감사합니다^^",
        " 좋은 하루 보내세요~",
        " 추가로 궁금하신 점이 있으시면 언제든지 다시 문의해 주세요. 감사합니다.",
        " 감사합니다. 하이닥 내과 상담의 [이름] 드림.",
        " 이상 하이닥 내과 상담의 [이름]이었습니다.",
        " 감사합니다 빠른 쾌유를 빕니다",
    ],
)
def test_a_closing_at_the_end_goes(closing: str) -> None:
    assert answer(WHOLE + closing) == WHOLE


@pytest.mark.parametrize(
    "text",
    [
        f"용기 내어 여쭤 주셔서 감사합니다. {WHOLE}",
        f"감기입니다. {WHOLE}",
        f"가장 먼저 만나야 할 사람은 피부과 전문의입니다. {WHOLE}",
        f"안녕하세요라는 말도 하기 힘들 만큼 목이 쉬었다면 후두염입니다. {WHOLE}",
        f"{ADVICE} 감사합니다 하고 인사할 때 목이 아프면 말을 줄이세요. {SECOND}",
        f"{ADVICE} 안녕하세요. {SECOND}",
        f"{WHOLE} 가벼운 운동도 도움이 됩니다.",
        f"{WHOLE} 이 약이 도움이 되길 바란다면 매일 드셔야 합니다.",
        f"{WHOLE} 체중을 줄여 건강을 회복하시기 바랍니다.",
        f"{WHOLE} 꼭 상담 바랍니다.",
        f"{WHOLE} 건강검진 바랍니다.",
        f"{WHOLE} 빨리 회복해야 합니다.",
        f"{WHOLE} 궁금한 점이 있으시면 담당 의사와 상의하세요.",
        f"{WHOLE} 회복에는 보통 2주가 걸립니다.",
        f"{WHOLE} 건강한 식사를 하세요.",
    ],
)
def test_what_only_sounds_like_a_greeting_stays(text: str) -> None:
    assert answer(text) == text


def test_what_a_patient_writes_is_not_edited() -> None:
    text = "안녕하세요. 열이 나서 문의드립니다. 저희 병원에 예약하라는 문자도 왔어요. 감사합니다."
    assert question(text) == text


# Adverts


@pytest.mark.parametrize(
    "advert",
    [
        "지금 예약하세요!",
        "현재 여름 이벤트 중이니 서두르세요.",
        "첫 방문 20% 할인 중입니다.",
        "저희 병원으로 내원해 주세요.",
        "자세한 상담은 저희 클리닉에 문의하시면 됩니다.",
        "본원에 내원하시면 정밀 검사를 받으실 수 있습니다.",
        "저희 병원은 최신 장비를 갖추고 있습니다.",
        "저희 [병원]에서는 풍부한 경험을 가진 의료진이 진료합니다.",
        "[병원]으로 방문해 주세요.",
        "상담 문의 [전화번호]",
        "문의 전화 02-123-4567",
        "자세한 내용은 [URL]에서 확인하세요.",
        "홈페이지 www.example.com 을 참고하세요.",
        "카카오톡 [메신저] 추가하고 상담하세요.",
        "카톡 상담도 가능합니다.",
        "내원해 주시면 자세히 상담해 드리겠습니다.",
        "저희 블로그에 자세한 글이 있습니다.",
        "선착순 50명에게 사은품을 드립니다.",
    ],
)
def test_a_sentence_that_sells_goes_and_the_rest_stays(advert: str) -> None:
    assert answer(f"{ADVICE} {advert}\n{SECOND}") in (f"{ADVICE}\n{SECOND}", f"{ADVICE} {SECOND}")


@pytest.mark.parametrize(
    "advice",
    [
        "가까운 병원에 내원하세요.",
        "내과에서 진료를 받으세요.",
        "바로 응급실로 가세요.",
        "119에 전화하세요.",
        "지금 바로 119에 전화하세요.",
        "다니시던 병원에 문의하세요.",
        "수술을 받으신 [병원]에 문의하시는 것이 좋습니다.",
        "보건소 금연클리닉에서 무료 상담을 받으실 수 있습니다.",
        "이번 주 안에 소화기내과에 예약하세요.",
        "심혈관 이벤트의 위험이 높아집니다.",
        "약국에서 구매하실 수 있는 감기약도 있습니다.",
        "본 원인은 바이러스입니다.",
        "저희 병원에서도 이런 경우에는 먼저 혈액검사를 합니다.",
        "산부인과 의사와 상담하세요.",
        "경험이 많은 의사에게 수술을 받으세요.",
        "인터넷 블로그의 민간요법은 믿지 마세요.",
        "자살예방상담전화 109에 전화하세요.",
        "예약할 때 드시는 약을 말씀하세요.",
        "결과지를 가지고 병원에 방문하세요.",
        "저희 아이도 그랬듯 대개 사흘이면 열이 내립니다.",
        "우리 몸은 체온을 스스로 조절합니다.",
    ],
)
def test_medical_advice_stays(advice: str) -> None:
    text = f"{ADVICE} {advice} {SECOND}"
    assert answer(text) == text


def test_an_answer_of_adverts_alone_is_one() -> None:
    assert reason(answer="저희 병원으로 오세요. 상담 문의는 [전화번호] 감사합니다.") == "advert"
    assert reason(answer=f"{WHOLE} 저희 병원으로 오세요.") is None


def test_what_may_save_a_patient_is_no_advert() -> None:
    for text in SAFETY:
        whole = f"{ADVICE} {text} {SECOND}"
        assert answer(whole) == whole


@pytest.mark.parametrize(
    "text",
    [
        "독극물을 드셨다면 중독정보센터 [전화번호]로 연락하시고 토하게 하지 마십시오. "
        "의식이 흐리면 눕히고 기도를 확보하세요.",
        "혈압이 140/90 이상이면 저희 병원에 내원하세요. 아스피린 100mg은 저희 병원에서 처방해 드립니다. "
        "흉통이 있으면 즉시 오세요.",
        "정신건강 위기상담전화 [전화번호]로 언제든 연락하세요. 지금 바로 전화하셔도 됩니다.",
    ],
)
def test_an_answer_that_may_save_a_patient_stays_whole(text: str) -> None:
    assert answer(text) == text


@pytest.mark.parametrize(
    "advert",
    [
        "망설이지 마시고 저희 클리닉에 문의하세요.",
        "부작용 없는 저희 병원의 레이저 시술을 예약하세요.",
        "저희 병원 바로 옆에 주차하실 수 있으니 방문해 주세요.",
        "저희 병원은 대한탈모학회가 인정한 의료진을 갖추고 있습니다.",
        "원하시면 저희 병원에서 상담해 드립니다.",
    ],
)
def test_a_seller_does_not_hide_behind_words_of_safety(advert: str) -> None:
    assert answer(f"{ADVICE} {advert}\n{SECOND}") == f"{ADVICE}\n{SECOND}"


def test_a_text_without_full_stops_is_not_one_advert() -> None:
    text = f"{'물을 자주 드시고 푹 쉬시고 ' * 3}기침은 2주를 갈 수 있고 " + "가래가 누렇게 변해도 대개 저절로 낫고 " * 2
    text += (
        "꿀물이나 따뜻한 차를 드시고 방을 촉촉하게 하시고 찬 바람을 피하시고 저희 병원으로 오시고 상담 문의 [전화번호]"
    )
    assert len(text) > 150
    assert answer(text) == text


# Written after the patterns, to see what they miss; what they do not catch to this day stands in no list here.

ADVERTS = (
    "저희 한의원에서는 체질에 맞는 한약을 처방해 드립니다.",
    "예약은 네이버 예약을 이용해 주세요.",
    "강남역 3번 출구 앞에 있는 저희 치과를 찾아 주세요.",
    "본원에서 개발한 시술로 흉터 없이 치료합니다.",
    "지금 상담 신청하시면 50% 할인해 드려요.",
    "자세한 문의는 카톡 채널로 주세요.",
    "유튜브 채널 구독 부탁드립니다.",
    "[병원] 검색하시면 더 많은 정보를 보실 수 있습니다.",
    "[병원] ☎ [전화번호]",
    "이번 달까지 임플란트 특가 행사를 하고 있습니다.",
    "저희에게 맡겨 주시면 책임지고 치료하겠습니다.",
    "진료 예약 및 상담은 [전화번호]로 연락 바랍니다.",
    "홈페이지([URL])에 방문하시면 치료 사례를 보실 수 있습니다.",
    "야간 진료도 하니 편하게 내원하세요.",
    "우리 병원은 20년 노하우로 환자를 돌봅니다.",
    "무료 상담을 신청하세요.",
    "위 제품은 저희 쇼핑몰에서 구매하실 수 있습니다.",
    "블로그에 방문하시면 후기를 보실 수 있습니다.",
    "리프팅 시술을 가장 저렴하게 받으실 수 있습니다.",
    "가까우시면 저희 의원으로 한번 오세요.",
    "비만 클리닉 오픈 이벤트를 진행합니다.",
    "저희 병원 진료 시간은 평일 9시부터 6시까지입니다.",
    "빠른 상담을 원하시면 아래 번호로 연락 주세요.",
    "주차 가능하며 지하철역에서 5분 거리입니다.",
    "내원하시면 정확히 진단해 드리겠습니다.",
    "저희 병원에 오시면 당일 검사가 가능합니다.",
    "수술 상담은 [전화번호]로 전화 주시면 친절히 안내해 드립니다.",
    "본 의원은 대학병원 출신 의료진이 진료합니다.",
    "저희 피부과에서는 레이저로 흉터를 없애 드립니다.",
    "부산에서 가장 큰 척추 병원인 [병원]을 찾아 주세요.",
    "네이버에서 [병원]을 검색해 보세요.",
    "상담을 원하시면 카카오톡으로 연락 주세요.",
    "체험단을 모집하고 있으니 신청해 주세요.",
    "3월 한 달간 라식 수술을 반값에 해 드립니다.",
    "탈모 치료 잘하는 곳으로 소문난 저희 병원에서 치료받으세요.",
    "인스타그램 팔로우하시면 할인 쿠폰을 드립니다.",
    "더 자세한 설명은 제 유튜브 채널에서 보실 수 있습니다.",
    "본원으로 예약 후 방문 부탁드립니다.",
    "전화 예약 후 내원해 주시면 기다리지 않고 진료받으실 수 있습니다.",
    "지금 등록하시면 추가 혜택이 있습니다.",
    "궁금한 점은 1588-1234로 전화 주세요.",
    "온라인 예약은 https://example.com 에서 하실 수 있습니다.",
    "믿고 찾을 수 있는 저희 센터로 오세요.",
)
SAFETY = (  # written in three rounds, each before the patterns had seen it: they took 9 of 30, 7 of 36 and 3 of 24
    "한국마약퇴치운동본부 [전화번호]로 문의하세요.",
    "식약처 의약품안전나라 [URL]에서 확인하세요.",
    "중독정보센터 [전화번호]에 바로 전화하세요.",
    "우리 병원이 아니더라도 가까운 곳에 방문하세요.",
    "지금 바로 전화 주세요.",
    "죽고 싶은 생각이 드시면 자살예방상담전화 109로 지금 바로 전화해 주세요.",
    "가슴이 조이고 식은땀이 나면 119에 연락하시고 가까운 응급실로 가세요.",
    "청소년이라면 청소년상담전화 1388에서 24시간 무료 상담을 받으실 수 있습니다.",
    "폭력을 당하고 계시다면 여성긴급전화 1366에 도움을 요청하시기 바랍니다.",
    "감염병이 의심되면 질병관리청 콜센터 1339로 문의하세요.",
    "우울감이 2주 이상 이어지면 정신건강위기상담전화 1577-0199에 연락하시면 됩니다.",
    "가까운 보건소에 문의하시면 무료로 결핵 검사를 받을 수 있습니다.",
    "치매가 걱정되시면 거주지 치매안심센터에 방문하여 선별검사를 받아보세요.",
    "중독관리통합지원센터에 전화하시면 금주 상담을 받을 수 있습니다.",
    "저희 병원이 아니어도 좋으니 오늘 안에 꼭 소아응급실을 방문하세요.",
    "약을 한꺼번에 드셨다면 상담을 기다리지 마시고 [전화번호] 중독정보센터로 문의하세요.",
    "의약품 부작용은 한국의약품안전관리원 [전화번호]로 신고하실 수 있습니다.",
    "타이레놀은 하루 4000mg을 넘기지 마시고 궁금한 점은 저희 약국에 문의하세요.",
    "열이 39도 이상이면 저희 병원 진료시간을 기다리지 말고 응급실로 가셔야 합니다.",
    "혈당이 70mg/dL 아래로 떨어지면 사탕을 드시고 15분 뒤 다시 재 보시고, 계속 낮으면 내원하세요.",
    "아이가 경련을 5분 넘게 하면 즉시 구급차를 부르세요.",
    "수술 부위가 붓고 고름이 나오면 수술받은 병원으로 바로 내원하셔야 합니다.",
    "임신 중 하혈이 있으면 예약 없이도 저희 병원 분만실로 바로 오세요.",
    "자세한 약물 정보는 식약처 의약품안전나라 [URL]에서 확인하실 수 있습니다.",
    "마약류 문제는 한국마약퇴치운동본부 상담전화 1899-0893으로 연락 주세요.",
    "아동학대가 의심되면 112로 신고해 주세요.",
    "시력이 갑자기 떨어졌다면 저희 안과에 오시거나 가까운 안과에서 당일 진료를 받으세요.",
    "한쪽 팔다리에 힘이 빠지면 뇌졸중일 수 있으니 병원 홈페이지를 찾지 말고 119를 부르세요.",
    "야간에는 응급의료포털 [URL]에서 문 연 병원을 찾아 방문하세요.",
    "술을 끊은 뒤 손이 떨리고 헛것이 보이면 저희 클리닉이든 다른 병원이든 당장 입원 치료가 필요합니다.",
    "항응고제를 드시는 분은 발치 전에 꼭 처방받은 병원에 전화로 문의하세요.",
    "백신 접종 후 호흡곤란이 오면 접종한 의원에 연락하지 말고 곧장 응급실로 가세요.",
    "노인학대 상담은 1577-1389, 치매상담콜센터는 1899-9988입니다.",
    "메트포르민은 조영제 검사 48시간 전에 중단해야 하니 저희 영상의학과로 미리 전화 주세요.",
    "산후우울증이 의심되면 중앙난임우울증상담센터 [전화번호]로 상담을 신청하세요.",
    "아이가 수은전지를 삼킨 것 같으면 저희 병원이든 어디든 내시경이 되는 곳으로 데려가세요.",
    "자살 생각이 있는 분은 카카오톡 다들어줄개 상담을 이용하실 수 있습니다.",
    "마음이 힘드시면 정신건강복지센터 [전화번호]로 문의해 주세요.",
    "코로나19가 의심되면 질병관리청 홈페이지 [URL]를 참고하세요.",
    "인슐린 10단위를 맞고도 혈당이 안 내려가면 저희 병원으로 연락 주세요.",
    "와파린을 드시는 분은 수술 5일 전에 본원에 전화 주시면 안내해 드리겠습니다.",
    "하임리히법을 하면서 119에 연락하고, 저희 병원으로 오지 마시고 가까운 응급실로 가세요.",
    "성폭력 피해를 입으셨다면 해바라기센터 [전화번호]로 연락하시면 증거 채취를 도와드립니다.",
    "임신 중 약물 상담은 마더세이프 [전화번호]에서 무료 상담을 받으실 수 있습니다.",
    "소아과 야간 진료는 달빛어린이병원 [URL]에서 검색하시면 됩니다.",
    "분만 예정일 전에 물이 새는 느낌이면 본원 분만실로 내원하세요.",
    "봉합 부위가 벌어지면 저희 병원으로 오셔서 다시 꿰매야 합니다.",
    "조영제를 맞고 온몸이 가려우면 본원 영상의학과로 연락하세요.",
    "렌즈를 낀 채 눈이 심하게 아프면 렌즈를 빼고 저희 안과에 오세요.",
    "석고붕대를 한 뒤 손끝이 저리고 퍼렇게 변하면 저희 병원으로 오셔야 합니다.",
    "독감 고위험군은 보건소에서 무료 접종을 신청하세요.",
    "희귀질환 의료비 지원은 희귀질환 헬프라인 [URL]에서 신청하세요.",
    "금연상담전화 1544-9030에서 도움을 받으실 수 있습니다.",
    "산소포화도가 92% 아래로 떨어지면 우리 병원에 전화 주세요.",
    "약물 알레르기가 있으면 저희 치과에 내원하실 때 꼭 말씀해 주세요.",
    "항암 치료 중 38도 이상 열이 나면 저희 센터로 연락하시고 밤에는 응급실로 오세요.",
    "퇴원 후 검은 변을 보면 저희 병원 소화기내과로 오세요.",
    "드시던 약을 임의로 줄이지 마시고 저희 병원에 문의하세요.",
    "마약 진통제가 남았다면 약국에 가져오시거나 [전화번호]로 문의하세요.",
    "이물질이 기도에 걸린 것 같으면 바로 [전화번호]로 전화하세요.",
    "도박 문제는 1336으로 전화하시면 24시간 상담이 됩니다.",
    "가정폭력이나 데이트폭력은 경찰 112나 긴급전화에 연락하세요.",
    "피임약을 드시는 중 종아리가 붓고 아프면 저희 산부인과로 내원하세요.",
    "갑자기 소변이 안 나오면 저희 비뇨의학과든 응급실이든 가서 소변줄을 꽂아야 합니다.",
    "광견병이 의심되는 동물에게 물렸다면 한국희귀필수의약품센터 [전화번호]로 문의하세요.",
    "생리대를 1시간에 한 장씩 적실 정도면 예약 없이 저희 병원에 오세요.",
    "투석 환자가 짠 음식을 먹고 붓는다면 저희 인공신장실로 연락하세요.",
    "아기가 6시간 넘게 소변을 안 보면 본원 소아과로 오세요.",
    "자녀가 자해를 한다면 Wee센터나 [전화번호]로 상담을 받으세요.",
    "수면제를 끊고 싶으시면 저희 병원에서 조금씩 줄이는 상담을 받으세요.",
    "잇몸에서 피가 멈추지 않으면 거즈를 물고 저희 치과로 오세요.",
    "백내장 수술 다음 날 눈이 빠질 듯 아프면 본원에 전화하세요.",
    "저희 병원에서 받은 항생제를 드시고 설사가 심해지면 연락 주세요.",
    "봉합사가 풀린 경우에는 저희 병원으로 다시 오세요.",
    "아이가 축 늘어지고 깨워도 반응이 없으면 본원 말고 큰 병원으로 가세요.",
    "저혈당이 잦으면 저희 내과에서 인슐린 양을 조절해야 합니다.",
    "목에 가시가 걸린 채 침을 못 삼키면 저희 이비인후과로 오세요.",
    "모유 수유 중에 가슴이 빨갛게 붓고 열이 나면 저희 산부인과에서 진료를 받으세요.",
    "필로폰을 끊고 싶다면 1342로 상담하시면 비밀이 지켜집니다.",
    "의료사고가 걱정되시면 한국의료분쟁조정중재원 [전화번호]로 상담을 신청하세요.",
    "재난 심리 지원은 국가트라우마센터 [전화번호]에서 받으실 수 있습니다.",
    "백신 이상반응은 예방접종도우미 홈페이지에서 신고해 주세요.",
    "저희 병원에서 스텐트를 넣은 분은 혈전을 막는 약을 1년간 거르지 마세요.",
    "저희 약국에서 산 약과 술을 함께 드시는 것은 위험합니다. 문의해 주세요.",
    "이명과 함께 갑자기 안 들리면 사흘 안에 저희 이비인후과에 내원하셔야 청력을 살립니다.",
    "당뇨발은 작은 상처도 위험하니 저희 병원에 오셔서 소독을 받으세요.",
    "중앙치매센터 상담콜센터 [전화번호]에서 간병 상담을 받으실 수 있습니다.",
    "에이즈 검사는 한국에이즈퇴치연맹 [URL]에서 익명으로 예약됩니다.",
    "간호사에게 연락해 수액이 새는지 보여 주시고, 밤이면 저희 병원 당직실로 전화하세요.",
    "태아가 하루 종일 움직이지 않으면 저희 병원에 예약 없이 방문하세요.",
    "연탄가스를 마셨다면 고압산소치료가 되는 저희 병원으로 오셔야 합니다.",
    "살충제가 눈에 들어갔다면 물로 15분 씻고 저희 안과로 오세요.",
    "철분제는 아이 손에 닿지 않게 두시고 먹었다면 [전화번호]로 전화하세요.",
    "정신건강상담은 [전화번호]에서 밤에도 받을 수 있습니다.",
    "저희 병원에서 깁스를 한 손가락이 하얗게 차가워지면 깁스를 풀러 오세요.",
)
ADVICE_OF_ALL_KINDS = (
    "증상이 계속되면 이비인후과를 방문하세요.",
    "수술 여부는 주치의와 상담해서 정하세요.",
    "처방받은 병원에 전화로 문의해 보세요.",
    "예방접종은 보건소에 문의하시면 됩니다.",
    "진통제는 약국에서 처방 없이 살 수 있습니다.",
    "통증이 심하면 지금 바로 병원에 가셔야 합니다.",
    "예약 없이도 응급실 진료를 받을 수 있습니다.",
    "검사 예약을 하실 때 금식 여부를 물어보세요.",
    "이전에 검사한 병원에서 결과지를 받아 오시면 도움이 됩니다.",
    "정신건강의학과 상담을 받아 보시길 권합니다.",
    "산정특례를 신청하시면 진료비가 줄어듭니다.",
    "국가검진은 무료로 받으실 수 있습니다.",
    "건강보험이 적용되어 본인 부담이 할인됩니다.",
    "당뇨 센터가 있는 병원에서 교육을 받으세요.",
    "우리 나라 사람에게 흔한 병입니다.",
    "저희 의사들은 보통 이런 경우 항생제를 쓰지 않습니다.",
    "본 약은 식후에 복용하세요.",
    "당원은 몸에 저장되는 에너지입니다.",
    "카카오톡을 오래 보면 목이 아플 수 있습니다.",
    "유튜브에서 본 운동을 무리하게 따라 하지 마세요.",
    "학교 상담 선생님께 도움을 청하세요.",
    "임신 중이라면 산부인과에 꼭 방문하세요.",
    "응급 상황에서는 1339나 119에 연락하세요.",
    "직접 진찰하지 않고는 말씀드리기 어렵습니다.",
    "궁금하시면 약사에게 문의하세요.",
    "체온이 오르면 다시 내원하시라고 들으셨다면 그대로 하세요.",
    "수면다원검사는 예약이 밀려 있을 수 있습니다.",
    "의료진의 경험에 따라 결과가 다를 수 있습니다.",
    "첫 방문 때 보험증을 가져가세요.",
    "지금 예약된 검사를 미루지 마세요.",
    "가정의학과에서 먼저 상담을 받으시고 필요하면 큰 병원으로 가세요.",
    "전화 상담만으로는 판단하기 어렵습니다.",
    "백신 접종 이벤트(이상반응)는 드뭅니다.",
    "최신 연구에서는 이 약이 안전하다고 합니다.",
    "저희가 아는 범위에서는 안전한 약입니다.",
    "[병원]에서 받은 CT 결과를 보면 큰 이상은 없습니다.",
    "[이름]님의 경우 수술이 급하지 않습니다.",
    "병원에 내원하셔서 혈액검사를 받아 보세요.",
    "방문하실 때 드시는 약을 모두 가져가세요.",
    "금연 상담 전화를 이용해 보세요.",
    "검사 결과를 가지고 류마티스내과를 찾아 주세요.",
    "소변이 나오지 않으면 바로 비뇨의학과에 연락하세요.",
    "수술한 병원에 연락해서 실밥 제거 날짜를 확인하세요.",
    "약을 바꾸기 전에 처방한 의사와 상담하세요.",
    "근처 안과에서 안저검사를 받아 보세요.",
    "임신 초기에는 산부인과에 예약하고 초음파를 보세요.",
    "보건소에서 무료로 검사를 받을 수 있습니다.",
    "치매안심센터에 전화하시면 검진 예약을 도와드립니다.",
    "건강보험이 되면 비용이 많이 줄어듭니다.",
    "교정 치료는 비용과 기간이 많이 듭니다.",
    "라식 수술은 18세 이후에 하는 것이 좋습니다.",
    "한약의 부작용도 생각하셔야 합니다.",
    "저희 진료실에서 흔히 보는 증상입니다.",
    "우리 병원에 오시는 분들도 같은 걱정을 많이 하십니다.",
    "대학병원에 의뢰서를 가지고 가셔야 합니다.",
    "인터넷에서 파는 약을 구매하지 마세요.",
    "블로그에서 본 식이요법은 근거가 없습니다.",
    "홈페이지에서 증상 자가검진표를 찾을 수 있습니다.",
    "상담 치료와 약물 치료를 함께 하면 효과가 좋습니다.",
    "정확한 것은 진찰을 해 봐야 알 수 있습니다.",
    "원하시면 다른 병원에서 두 번째 의견을 들어 보세요.",
    "야간에는 달빛어린이병원을 이용할 수 있습니다.",
    "자살 생각이 들면 1393으로 전화하세요.",
    "혈액투석 센터를 정해 두시는 것이 좋습니다.",
    "첫 예약 때 보호자와 함께 방문하세요.",
    "약값은 약국마다 조금씩 다릅니다.",
    "임상시험에 참여하려면 담당 의사에게 문의하세요.",
    "증상이 심해지면 다시 내원하시는 것이 좋습니다.",
    "저희 의견으로는 수술이 급하지 않습니다.",
    "방문 간호 서비스를 신청할 수 있습니다.",
)
OPENINGS = (
    "안녕하세요. [병원] 내과 전문의 [이름]입니다.",
    "네 안녕하세요.",
    "안녕하세요? 하이닥 정형외과 상담의 [이름]입니다.",
    "안녕하세요. 하이닥-네이버 지식iN 상담의사 [이름]입니다.",
    "하이닥 피부과 상담의 [이름] 원장입니다.",
    "안녕하세요 환자분",
    "안녕하세요. 소중한 질문 감사합니다.",
    "질문 감사합니다.",
    "문의하신 증상에 대해 답변 드리겠습니다.",
    "안녕하세요, 건강의학 상담의입니다.",
    "[이름]님 안녕하세요.",
    "반갑습니다.",
    "안녕하세요. 저는 재활의학과 의사입니다.",
    "먼저 하이닥을 이용해주셔서 감사드립니다.",
    "안녕하세요, 하이닥 비뇨의학과 전문의 [이름] 입니다.",
    "안녕하세요. 의사 [이름]입니다.",
    "하이닥 상담 의사 [이름]입니다.",
    "안녕하세요. 한의사 [이름]입니다.",
    "안녕하세요. 올려주신 글 잘 읽어보았습니다.",
    "하이닥 Q&A를 이용해 주셔서 진심으로 감사드립니다.",
    "안녕하세요! [병원] 대표원장 [이름]입니다.",
    "질문에 답변 드리겠습니다.",
    "안녕하십니까. 신경과 전문의입니다.",
    "안녕하세요 :)",
    "상담 의뢰해 주셔서 감사합니다.",
    "문의 주신 내용 잘 보았습니다.",
)
CLOSINGS = (
    "도움이 되셨으면 합니다.",
    "도움되셨길 바랍니다.",
    "작은 도움이라도 되었으면 합니다.",
    "답변이 되셨기를 바랍니다.",
    "건강하세요.",
    "늘 건강하세요!",
    "빨리 나으시길 바랍니다.",
    "쾌유를 기원합니다.",
    "속히 회복되시길 바랍니다.",
    "그럼 건강하시기 바랍니다.",
    "감사합니다. ^^",
    "즐거운 하루 되세요.",
    "더 궁금한 점 있으시면 질문 남겨주세요.",
    "궁금하신 사항이 있으시면 언제든지 상담해 주시기 바랍니다.",
    "이상으로 답변을 마치겠습니다.",
    "하이닥 소아청소년과 [이름] 드림",
    "좋은 결과 있으시길 바랍니다.",
    "고맙습니다.",
    "제 답변이 도움이 되었으면 좋겠네요.",
    "조금이나마 도움이 되셨길 바라며 쾌유를 빕니다.",
    "아이가 빨리 낫기를 바랍니다.",
    "늘 건강하시고 행복하세요.",
    "감사합니다~",
    "그럼 이만 줄이겠습니다.",
    "추가 질문 있으시면 남겨주세요.",
    "편안한 밤 되세요.",
    "환자분의 빠른 회복을 기원합니다.",
    "건강한 하루 보내시기 바랍니다.",
    "[병원] 내과 과장 [이름] 올림",
)
NO_GREETINGS = (
    "안녕하지 못한 밤이 이어진다면 불면증입니다.",
    "위염입니다.",
    "방광염이었습니다.",
    "질문하신 약은 안전합니다.",
    "답변을 먼저 드리면 수술은 필요 없습니다.",
    "물을 드리세요.",
    "걷기가 회복에 도움이 될 것으로 보입니다.",
    "빨리 병원에 가시길 바랍니다.",
    "건강을 위해 금연하시기 바랍니다.",
    "하루 30분씩 걸으시기 바랍니다.",
    "궁금한 점이 있으면 처방한 의사에게 문의하세요.",
    "상담을 받으시길 바랍니다.",
    "전문의 진료가 필요합니다.",
    "내과 의사입니다만 이 문제는 피부과에서 보는 것이 맞습니다.",
    "좋은 하루를 보내려면 잠을 충분히 자야 합니다.",
    "도움이 필요하면 109에 전화하세요.",
)


def test_fresh_adverts_are_told_from_fresh_advice() -> None:
    assert [text for text in ADVERTS if answer(f"{ADVICE} {text}\n{SECOND}") != f"{ADVICE}\n{SECOND}"] == []
    assert [
        text for text in ADVICE_OF_ALL_KINDS if answer(f"{ADVICE} {text} {SECOND}") != f"{ADVICE} {text} {SECOND}"
    ] == []


def test_fresh_greetings_are_told_from_what_is_said() -> None:
    assert [text for text in OPENINGS if answer(f"{text}\n{WHOLE}") != WHOLE] == []
    assert [text for text in CLOSINGS if answer(f"{WHOLE} {text}") != WHOLE] == []
    for text in (*NO_GREETINGS, *ADVICE_OF_ALL_KINDS):
        assert answer(f"{text} {WHOLE} {text}") == f"{text} {WHOLE} {text}"


# Broken encodings


@pytest.mark.parametrize(
    "text",
    [
        "안녕하세요 열이 나요".encode().decode("cp1252", "replace"),
        "열이 나고 목이 아파요".encode().decode("latin-1"),
        "열이 나고 목이 아파요".encode("cp949").decode("latin-1"),
        "열이 나고 목이 아파요".encode().decode("cp949", "ignore"),
        "ì•ˆë…•하세요 열이 나요",
        "ÀÌ가 아파요 어떻게 하나요",
        "占쏙옙占쏙옙 열이 나요",
        "열이 나\ufffd요 어떻게 하나요",
        "???? ?? ??? 39? ?? ????",
        "?? ???? ??? ????",
    ],
)
def test_what_a_wrong_encoding_left_is_dropped(text: str) -> None:
    assert reason(question=text) == "broken_encoding"
    assert reason(answer=f"{WHOLE} {text}") == "broken_encoding"


@pytest.mark.parametrize(
    "text",
    [
        "정말 괜찮은 건가요??? 너무 걱정돼요???",
        "이거 뭐예요?? 왜요?? 진짜요??",
        "체온이 38.5℃이고 ±0.5°C, 5µg, α-차단제, β₂ 작용제를 먹어요",
        "café에서 naïve 하다는 말을 들었는데 Ménière병인가요?",
        "똠얌꿍을 먹고 나서 배가 아파요. 펲시 콜라도 마셨어요",
        "감기(感氣)와 독감(毒感)은 다른가요?",
        "열이 나요 ?? 어떻게 하죠",
    ],
)
def test_odd_characters_that_were_meant_are_no_broken_encoding(text: str) -> None:
    assert reason(question=text) is None


def test_cleaning_does_not_hide_a_broken_encoding() -> None:
    """UTF-8 read as Latin-1 is half control characters: of 었 (EC 97 88) only ì would be left to be seen."""
    misread = "었었".encode().decode("latin-1")
    assert reason(answer=f"{WHOLE} {misread}") == "broken_encoding"


# Length, language, repetition


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"question": "열나요"}, "too_short"),
        ({"question": "열이 나요 어떡하죠"}, None),
        ({"answer": "네, 괜찮습니다."}, "too_short"),
        ({"answer": "가" * 10 + WHOLE * 80}, "too_long"),
        ({"question": "<p>" + "&nbsp;" * 1000 + "열이 나요 어떡하죠</p>"}, None),
        ({"patient_information": ""}, None),
        ({"patient_information": "AST 48, ALT 72, WBC 12,000"}, None),
        ({"question": "AST 48, ALT 72, GGT 90, HbA1c 6.1%인데 괜찮은가요? 약은 metformin 먹어요"}, None),
        ({"question": "What should I do about my fever? 열이요"}, "not_korean"),
        ({"question": "熱が出て喉が痛いのですが、病院に行くべきですか"}, "not_korean"),
        ({"question": "39.5 ??? 120/80 !!! ..."}, "not_korean"),
        ({"question": "너무 아파요 ㅠㅠㅠㅠㅠㅠ 어떻게 해야 하나요 제발 알려 주세요"}, None),
        ({"question": "아파요 ㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠㅠ"}, "repeated_characters"),
        ({"answer": "병원에 가 보시는 것이 좋습니다. " * 12}, "repeated_characters"),
        ({"answer": f"{WHOLE}\n--------------------\n{ADVICE[:20]}"}, None),
    ],
)
def test_bounds_are_wide_and_hold(changes: dict[str, str], why: str | None) -> None:
    assert reason(**changes) == why


def test_the_bounds_are_the_recipes() -> None:
    strict = Quality(answer_characters=(len(WHOLE) + 1, 4000))
    found = clean(consult(), strict)
    assert found.dropped is not None
    assert found.dropped.reason == "too_short"
    assert clean(consult(question="AST ALT 높아요 괜찮나요"), Quality(min_hangul=0.9)).consult is None


def test_a_megabyte_is_dropped_and_not_chewed_on_for_minutes() -> None:
    assert reason(answer="가" * 1_000_000) == "too_long"
    for piece in ("<a ", "안녕하세요 ", "상담 ", "&lt;", "저희 병원 ", "내원 주시면 ", "[병원]", "1. "):
        assert reason(answer=piece * 20_000) is not None


# Answers that are none


@pytest.mark.parametrize(
    "text",
    [
        "증상만으로는 정확한 진단이 어려우니 가까운 병원에 내원하셔서 진료를 받아보시기 바랍니다.",
        "안녕하세요. 정확한 진단을 위해 병원에 방문하셔서 진찰을 받으세요. 꼭 진료를 받아 보세요. 감사합니다.",
    ],
)
def test_an_answer_that_only_sends_to_a_doctor_is_none(text: str) -> None:
    assert reason(answer=text) == "no_answer"


@pytest.mark.parametrize(
    "text",
    [
        "맹장염일 수 있으니 지금 바로 응급실에 가서 진료를 받으세요.",
        "한쪽 눈이 갑자기 안 보이면 망막이 떨어진 것일 수 있으니 안과에 가세요.",
        "정확한 진단을 위해 이비인후과에서 후두내시경 검사를 받아 보시기 바랍니다.",
    ],
)
def test_a_short_answer_that_says_why_or_where_is_one(text: str) -> None:
    assert answer(text) == text


def test_an_answer_that_repeats_the_question_is_none() -> None:
    long = f"{QUESTION} 약은 먹지 않았고 기침도 조금 납니다."
    assert reason(question=long, answer=f" {long}\n") == "question_is_answer"
    assert reason(question=long, answer=f"{long} {WHOLE}") is None


# Sentences


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("체온이 38.5도입니다. 물을 드세요.", 2),
        ("1. 물을 드세요. 2. 쉬세요.", 2),
        ("감사합니다 빠른 쾌유를 빕니다", 2),
        ("물을 드세요\n쉬세요", 2),
        ("정말요?! 네… 그럼요~", 3),
        ("", 0),
    ],
)
def test_sentences_are_told_apart_and_make_up_the_text_again(text: str, count: int) -> None:
    pieces = sentences(text)
    assert "".join(pieces) == text
    assert len([piece for piece in pieces if piece.strip()]) == count


def test_only_one_rule_runs_where_the_others_are_off() -> None:
    found = cleaned(only("greeting"), answer=f"안녕하세요. <b>{ADVICE}</b>  저희 병원으로 오세요. {SECOND} 감사합니다.")
    assert found.consult is not None
    assert found.consult.answer == f"<b>{ADVICE}</b>  저희 병원으로 오세요. {SECOND}"
    assert rules(found) == ["greeting"]


def test_an_answer_that_only_greets_is_none() -> None:
    assert reason(answer="안녕하세요. 하이닥 내과 상담의 [이름]입니다. 질문 주셔서 감사합니다.") == "no_answer"
