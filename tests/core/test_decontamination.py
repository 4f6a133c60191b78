"""decontamination: what is the same question in another dress, and what is not."""

import unicodedata

import pytest

from stages.core.decontamination import (
    Hit,
    Item,
    Rule,
    as_dropped,
    clusters,
    find_hits,
    near_duplicates,
    same_answer,
)
from stages.core.records import Consult, ExamQuestion
from stages.core.shingles import fold

CHOICES = ("두통", "복통", "흉통", "요통", "관절통")
OTHERS = ("발열", "기침", "가래", "오한", "구토")
TEST = Item("test/1", "가장 흔한 증상으로 옳은 것은?", CHOICES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HbA1c 검사는?", "hba1c검사는"),
        ("가장  흔한\n증상은?", "가장 흔한 증상은 ?"),
        ("「당뇨병」의 정의", '"당뇨병" 의 정의.'),
        ("ＨＩＶ 검사", "HIV 검사"),
        ("두통", unicodedata.normalize("NFD", "두통")),  # as single letters, which macOS writes
        ("Vitamin B₁₂", "vitamin B12"),
    ],
)
def test_spacing_punctuation_case_and_composition_do_not_make_another_question(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("옳은 것은?", "옳지 않은 것은?"),
        ("35세 남자", "53세 남자"),
        ("혈압이 높다", "혈압이 낮다"),
        ("비타민 A", "비타민 B"),
    ],
)
def test_a_word_or_a_number_does_make_another_question(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("1.5 mg을", "15 mg을"), ("-1℃에서", "1℃에서"), ("pH < 7.35는?", "pH > 7.35는?")]
)
def test_a_number_or_a_sign_that_makes_another_question_is_not_folded_away(one: str, other: str) -> None:
    assert fold(one) != fold(other)


VIGNETTE = Item(
    "test/2",
    "58세 남자가 2주 전부터 기침과 38.5도의 열이 있어 병원에 왔다. 고혈압으로 암로디핀을 복용하고 있다. "
    "가슴 사진에서 오른쪽 아래폐야에 경화가 있다. 세프트리악손 1.5 g을 투여한 뒤 두드러기가 생겼다. 처치는?",
    ("에피네프린 근육주사", "항히스타민제 경구투여", "세프트리악손 감량", "기관지내시경검사", "경과관찰"),
)
SUBJECT = Item(
    "test/3", "뜰채봉합의 원칙에 관한 설명으로 옳은 것은?", ("실을 길게", "매듭 하나", "깊게", "얕게", "빠르게")
)
BENCHMARK = [TEST, VIGNETTE, SUBJECT]


def found(*rows: Item, rule: Rule = "stem", threshold: float = 0.5) -> list[Hit]:
    return find_hits(rows, BENCHMARK, rule=rule, threshold=threshold)


def kinds(*rows: Item) -> list[str]:
    return [hit.kind for hit in found(*rows)]


def vignette(*changes: tuple[str, str], choices: tuple[str, ...] = VIGNETTE.choices) -> Item:
    text = VIGNETTE.text
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return Item("train/2", text, choices)


def test_the_four_ways_to_stand_in_the_benchmark_are_told_apart() -> None:
    assert kinds(vignette(choices=VIGNETTE.choices[::-1])) == ["exact_stem_and_choices"]
    assert kinds(vignette(choices=OTHERS)) == ["exact_stem"]
    reworded = ("병원에 왔다", "내원하였다")
    assert kinds(vignette(reworded)) == ["near_stem_and_choices"]
    assert kinds(vignette(reworded, choices=OTHERS)) == ["near_stem"]


def test_a_dropped_row_names_what_it_hit() -> None:
    (dropped,) = as_dropped(found(Item("train/9", TEST.text, CHOICES[::-1])))
    assert (dropped.id, dropped.hit, dropped.text, dropped.similarity) == ("train/9", "test/1", TEST.text, 1)


def test_a_hit_names_the_item_whose_choices_are_the_same_before_another_with_its_stem() -> None:
    hits = find_hits([TEST], [Item("test/0", TEST.text, OTHERS), TEST], rule="stem", threshold=0.5)
    assert [hit.hit_id for hit in hits] == ["test/1", "test/0"]


def test_another_question_is_no_hit() -> None:
    assert found(Item("train/1", "가장 드문 후유증은?", OTHERS)) == []


def test_the_same_stem_with_one_of_five_choices_changed_is_graver_than_the_stem_alone() -> None:
    (hit,) = found(vignette(choices=(*VIGNETTE.choices[:4], "퇴원")))
    assert (hit.kind, hit.stem_similarity) == ("exact_stem_near_choices", 1)
    assert hit.choices_similarity is not None
    assert 0.5 < hit.choices_similarity < 1


@pytest.mark.parametrize(
    "changes",
    [
        [("병원에 왔다", "병원에왔다"), ("아래폐야에 경화가", "아래 폐야에경화가")],
        [("남자가", "남자는"), ("열이", "열은"), ("두드러기가", "두드러기는"), ("경화가", "경화")],
        [("2주", "14일"), ("38.5도", "101.3°F"), ("1.5 g", "1,500 mg")],
        [("남자", "남성"), ("고혈압", "혈압이 높아"), ("복용", "섭취"), ("오른쪽", "우측")],
    ],
    ids=["spacing", "particles", "units", "synonyms"],
)
def test_a_reworded_question_is_found(changes: list[tuple[str, str]]) -> None:
    (hit,) = found(vignette(*changes, choices=OTHERS))
    assert hit.hit_id == "test/2"


def test_choices_in_other_units_are_the_same_choices() -> None:
    item = Item("test/9", "가상약의 첫 투여량으로 적절한 것은?", ("0.5 g", "1 g", "1.5 g", "2 g", "3 g"))
    row = Item("train/9", "가상약의 첫 투여량으로 적절한 것은?", ("500 mg", "1000 mg", "1500 mg", "2000 mg", "3000 mg"))
    (hit,) = find_hits([row], [item], rule="stem_and_choices", threshold=0.5)
    assert (hit.choices_similarity, hit.dropped) == (1, True)


def test_choices_make_up_for_a_stem_that_was_rewritten() -> None:
    item = Item("test/9", "쓰고 난 주삿바늘을 버릴 때 사용하는 전용용기는?", VIGNETTE.choices)
    row = Item("train/9", "근육주사를 놓은 다음 다 쓰고 난 주삿바늘과 솜을 버리는 전용용기는?", VIGNETTE.choices)
    (hit,) = find_hits([row], [item], rule="stem", threshold=0.5)
    assert (hit.kind, hit.choices_similarity) == ("near_stem_and_choices", 1)
    assert hit.stem_similarity < 0.5


def test_the_same_choices_under_another_question_are_no_hit() -> None:
    assert found(Item("train/1", "나비 모양의 가상장기에서 나오는 호르몬은?", VIGNETTE.choices)) == []


def test_questions_that_share_only_how_exams_ask_are_no_hits() -> None:
    assert found(Item("train/1", "무지개판막의 구조에 관한 설명으로 옳은 것은?", OTHERS)) == []


def test_another_way_to_ask_about_the_same_subject_is_a_hit_that_says_how_little_it_shares() -> None:
    (hit,) = found(Item("train/1", "뜰채봉합의 원칙으로 옳은 것은?", OTHERS))
    assert hit.kind == "near_stem"
    assert "generic stem" in hit.reason
    assert "choices (similarity 0.00)" in hit.reason


def test_the_reason_gives_the_similarity_of_stem_and_choices() -> None:
    (hit,) = found(vignette(("병원에 왔다", "내원하였다"), choices=OTHERS))
    assert f"stem ({hit.stem_similarity:.2f})" in hit.reason
    assert f"similarity {hit.choices_similarity:.2f}" in hit.reason
    assert hit.hit_text == VIGNETTE.text


@pytest.mark.parametrize(("rule", "stem", "both"), [("stem", True, True), ("stem_and_choices", False, True)])
def test_the_rule_decides_what_is_dropped_and_what_is_kept_is_still_reported(
    rule: Rule, stem: bool, both: bool
) -> None:
    stem_alone, with_choices = found(vignette(choices=OTHERS), vignette(), rule=rule)
    assert (stem_alone.dropped, with_choices.dropped) == (stem, both)
    assert ("kept" in stem_alone.reason) is not stem


def test_with_the_rule_off_hits_are_found_and_none_is_dropped() -> None:
    hits = found(vignette(), rule="report")
    assert [(hit.kind, hit.dropped) for hit in hits] == [("exact_stem_and_choices", False)]
    assert as_dropped(hits) == []


def test_how_near_is_too_near_is_the_recipes_choice() -> None:
    row = vignette(("병원에 왔다", "내원하였다"), choices=OTHERS)
    (hit,) = found(row)
    assert found(row, threshold=hit.stem_similarity - 0.01) != []
    assert found(row, threshold=hit.stem_similarity + 0.01) == []


def test_a_row_is_dropped_once_for_its_gravest_hit() -> None:
    twin = Item("test/8", VIGNETTE.text, OTHERS)
    hits = find_hits([vignette()], [twin, VIGNETTE], rule="stem", threshold=0.5)
    assert [hit.hit_id for hit in hits] == ["test/2", "test/8"]
    (dropped,) = as_dropped(hits)
    assert (dropped.id, dropped.hit, dropped.similarity) == ("train/2", "test/2", 1)
    assert dropped.reason == "stem and choices stand in the benchmark"


def test_reasons_of_dropped_rows_can_be_counted() -> None:
    """The similarity stands in a field of its own, or every row would be dropped for another reason."""
    hits = found(vignette(("병원에 왔다", "내원하였다")), vignette(("오른쪽", "왼쪽")))
    assert len({hit.reason for hit in hits}) == 2
    assert len({dropped.reason for dropped in as_dropped(hits + found(vignette(("오른쪽", "우측"))))}) == 1


def test_a_stem_that_many_test_items_share_gives_a_row_three_hits_at_most() -> None:
    many = [Item(f"test/{number}", VIGNETTE.text, (f"{number}번",)) for number in range(100)]
    assert len(find_hits([vignette()], many, rule="stem", threshold=0.5)) == 3


CONSULT = Item("consult-1", "이럴 때 어떻게 해야 하나요?", context="30세 여성, 사흘째 기침.")


def test_a_consult_is_compared_by_its_question_and_with_its_patient_information() -> None:
    text, ask = VIGNETTE.text.removesuffix(" 처치는?"), "처치는?"
    assert kinds(Item("consult-1", VIGNETTE.text, context="30세 여성")) == ["exact_stem"]
    assert kinds(Item("consult-1", ask, context=text)) == ["exact_stem"]
    assert kinds(Item("consult-1", ask, context=text.replace("병원에 왔다", "내원하였다"))) == ["near_stem"]
    assert kinds(CONSULT) == []


def test_an_exam_question_hidden_in_a_longer_consult_is_found() -> None:
    before = "작년부터 직장을 옮기고 잠을 설치며 커피를 하루 다섯 잔 마십니다. 부모님은 두 분 다 건강하십니다. "
    after = " 걱정이 많아 여쭙니다. 이번 달에 이사를 앞두고 있어 짐을 많이 날랐고 식사는 거를 때가 잦았습니다."
    story = before + VIGNETTE.text.replace("남자가", "아버지가") + after + " 운동은 주말에 산책만 하고 술은 끊었습니다."
    (hit,) = found(Item("consult-1", "무엇을 해야 하나요?", context=story))
    assert (hit.kind, hit.hit_id, hit.choices_similarity) == ("contained", "test/2", None)
    assert hit.stem_similarity > 0.9
    assert "of the exam question stands in this text" in hit.reason


def test_a_short_exam_question_in_a_long_consult_is_chance() -> None:
    assert (
        found(Item("consult-1", "가장 흔한 증상으로 옳은 것은 무엇인지 알려 주세요.", context="사흘째 기침. " * 40))
        == []
    )


@pytest.mark.parametrize(
    "text", ["?!", "…", "👍🏽", "\u202e\u200f", "가" * 350_000, "<p>&nbsp;</p>", "1,234,567" * 999]
)
def test_odd_texts_are_compared_without_a_crash_and_hit_nothing(text: str) -> None:
    assert found(Item("train/1", text, ("", "", "", "", "")), Item("consult-1", text, context=text)) == []


def test_two_questions_without_a_letter_are_not_the_same() -> None:
    rows = [Item("1", "👍"), Item("2", "😀"), Item("3", "?"), Item("4", "👍")]
    assert [(hit.row_id, hit.hit_id) for hit in near_duplicates(rows, threshold=0.5)] == [("4", "1")]


def test_the_later_of_two_near_duplicates_goes_and_names_the_earlier() -> None:
    first, later = vignette(), Item("train/7", VIGNETTE.text.replace("남자가", "남자는"), VIGNETTE.choices[::-1])
    (hit,) = near_duplicates([first, later], threshold=0.7)
    assert (hit.row_id, hit.hit_id, hit.dropped, hit.against) == ("train/7", "train/2", True, "training")
    assert hit.choices_similarity == 1
    assert as_dropped([hit])[0].reason == "nearly repeats an earlier row"
    assert near_duplicates([later, first], threshold=0.7)[0].row_id == "train/2"


def test_a_repeated_row_goes_and_the_first_one_stays() -> None:
    rows = [
        Item("train/1", "물음 하나", CHOICES),
        Item("train/2", "물음 둘", CHOICES),
        Item("train/3", "물음  하나?", CHOICES[::-1]),
        Item("train/4", "물음 하나", CHOICES),
    ]
    hits = near_duplicates(rows, threshold=0.9)
    assert [(hit.row_id, hit.hit_id, hit.choices_similarity) for hit in hits] == [
        ("train/3", "train/1", 1),
        ("train/4", "train/1", 1),
    ]


@pytest.mark.parametrize(
    ("choices", "others"),
    [
        (("1.5 mg", "3 mg"), ("15 mg", "3 mg")),
        (("+", "++", "+++", "-", "±"), ("<", ">", "=", "≤", "≥")),
        (("-2", "-1"), ("2", "1")),
    ],
)
def test_choices_that_differ_in_a_sign_or_a_decimal_point_are_not_the_same(
    choices: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """A row dropped for nothing is lost training data, and the reason written beside it is false."""
    assert near_duplicates([Item("1", "알맞은 것은?", choices), Item("2", "알맞은 것은?", others)], threshold=0.5) == []


def test_an_exam_question_is_compared_by_stem_and_all_five_choices() -> None:
    question = ExamQuestion(question="물음", A="하나만", B="둘만", C="셋만", D="넷만", E="다섯만", answer=1)
    other_answer = question.model_copy(update={"answer": 2})
    other_choice = question.model_copy(update={"E": "아무도 아님"})
    rows = [Item.of("1", question), Item.of("2", other_answer), Item.of("3", other_choice)]
    (hit,) = near_duplicates(rows, threshold=1)
    assert (hit.row_id, hit.row_answer, hit.hit_answer) == ("2", "둘만", "하나만")
    assert as_dropped([hit])[0].reason == "repeats an earlier row with another answer"


def test_an_exact_repetition_is_called_one() -> None:
    rows = [vignette(), Item("train/8", VIGNETTE.text.replace("다. ", "다 .\n\n"), VIGNETTE.choices)]
    assert [dropped.reason for dropped in as_dropped(near_duplicates(rows, threshold=0.7))] == [
        "repeats an earlier row"
    ]


def test_a_row_like_one_that_is_gone_stays_but_shares_its_cluster() -> None:
    """The third is like the second, which repeats the first, and not enough like the first."""
    middle = "다라마바사아자차카타파하거너더러"
    rows = [Item("1", f"가나{middle}머버"), Item("2", f"고노{middle}머버"), Item("3", f"고노{middle}퍼허")]
    assert [(hit.row_id, hit.hit_id) for hit in near_duplicates(rows, threshold=0.7)] == [("2", "1")]
    assert clusters(rows, threshold=0.7) == [{"1", "2", "3"}]


STATEMENTS = (
    "실을 길게 남기고 두 번 묶는다",
    "매듭은 한쪽에 모아 둔다",
    "깊은 층을 먼저 꿰맨다",
    "바늘을 비스듬히 넣는다",
    "다음 날 실을 뽑는다",
)


def asked(id: str, text: str, right: int, choices: tuple[str, ...] = STATEMENTS) -> Item:
    return Item(id, text, choices, answer=choices[right])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("뜰채봉합의 원칙에 관한 설명으로 옳은 것은?", "뜰채봉합의 원칙에 관한 설명으로 옳지 않은 것은?"),
        ("「가상법」상 봉합사의 업무에 해당하는 것은?", "「가상법」상 봉합사의 업무에 해당하지 않는 것은?"),
        ("뜰채봉합을 한 날 저녁에 환자가 해도 되는 것은?", "뜰채봉합을 한 날 저녁에 환자가 해서는 안 되는 것은?"),
    ],
)
def test_the_opposite_question_with_the_same_choices_is_no_near_duplicate(one: str, other: str) -> None:
    assert near_duplicates([asked("1", one, 2), asked("2", other, 0)], threshold=0.5) == []
    rows = [Item("1", one, STATEMENTS), Item("2", other, STATEMENTS)]  # answers not known: what is asked decides
    assert near_duplicates(rows, threshold=0.5) == []


def test_a_reworded_question_with_another_right_answer_is_no_near_duplicate() -> None:
    first = asked("1", "뜰채봉합을 할 때 지켜야 하는 첫째 원칙은?", 2)
    reworded = "뜰채봉합을 할 때 지켜야 하는 둘째 원칙은?"
    assert near_duplicates([first, asked("2", reworded, 0)], threshold=0.5) == []
    (hit,) = near_duplicates([first, asked("2", reworded, 2, STATEMENTS[::-1])], threshold=0.5)
    assert hit.reason.endswith("same answer")
    other_words = (*STATEMENTS[:2], "깊은 층을 먼저 봉합한다", *STATEMENTS[3:])
    (hit,) = near_duplicates([first, asked("2", reworded, 2, other_words)], threshold=0.5)
    assert hit.same_answer is True


def test_a_row_like_two_earlier_ones_repeats_the_one_with_its_answer() -> None:
    text = "뜰채봉합을 할 때 지켜야 하는 {} 원칙은?"
    rows = [asked(word, text.format(word), right) for word, right in (("첫째", 0), ("둘째", 1), ("셋째", 1))]
    assert [(hit.row_id, hit.hit_id) for hit in near_duplicates(rows, threshold=0.5)] == [("셋째", "둘째")]


def test_questions_with_the_same_words_share_a_cluster_whatever_their_answers() -> None:
    rows = [asked("1", "뜰채봉합의 원칙으로 옳은 것은?", 2), asked("2", "뜰채봉합의 원칙으로 옳지 않은 것은?", 0)]
    assert clusters(rows, threshold=0.5) == [{"1", "2"}]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("가상막 떼어내기", "가상막떼어내기", True),
        ("가상마이신(virtumycin)", "virtumycin", True),
        ("발끝 지각저하", "발끝감각저하", True),
        ("0.5 g 정맥주사", "500 mg 정맥주사", True),
        ("0.5 g 정맥주사", "0.3 g 정맥주사", False),
        ("경과관찰", "가상막 떼어내기", False),
        ("+", "-", False),
        ("+", "+", True),
    ],
)
def test_right_answers_are_the_same_in_other_words_but_not_with_other_numbers(
    one: str, other: str, is_same: bool
) -> None:
    assert same_answer(Item("1", "물음", (one,), answer=one), Item("2", "물음", (other,), answer=other)) is is_same


def test_an_answer_that_the_other_question_calls_wrong_is_another_answer() -> None:
    one = Item("1", "물음", ("가상막 절제술", "경과관찰"), answer="가상막 절제술")
    other = Item("2", "물음", ("가상막 절개술", "가상막 절제술"), answer="가상막 절개술")
    assert same_answer(one, other) is False
    assert same_answer(one, Item("3", "물음", other.choices, answer="가상막 절제술")) is True
    assert same_answer(one, Item("consult", "물음", answer="가상막 절제술")) is None


def test_the_reason_tells_a_reworded_question_from_the_same_subject_asked_for_something_else() -> None:
    benchmark = [asked("test/1", "뜰채봉합을 한 날 저녁에 환자가 해도 되는 것은?", 2)]
    others = ("산책을 한다", "깊은 층을 먼저 꿰맨다", "찬물을 마신다", "책을 읽는다", "일찍 잔다")
    reworded = asked("train/1", "뜰채봉합을 한 날 밤에 환자가 해도 되는 것은?", 1, others)
    opposite = asked("train/2", "뜰채봉합을 한 날 저녁에 환자가 하면 안 되는 것은?", 0, others)
    same, other = find_hits([reworded, opposite], benchmark, rule="stem_and_choices", threshold=0.4)
    assert (same.same_answer, same.row_answer, same.hit_answer) == (True, STATEMENTS[2], STATEMENTS[2])
    assert (same.asks_else, other.asks_else, other.same_answer) == (False, True, False)
    assert "same answer" in same.reason
    assert "asks something else" in other.reason
    assert "other answer" in other.reason


def test_a_like_stem_with_the_same_answer_is_a_match_for_the_rule_that_wants_more_than_the_stem() -> None:
    item = Item(VIGNETTE.id, VIGNETTE.text, VIGNETTE.choices, answer="에피네프린 근육주사")
    text = VIGNETTE.text.replace("병원에 왔다", "내원하였다")
    same = Item("train/1", text, ("에피네프린을 근육주사", *OTHERS[1:]), answer="에피네프린을 근육주사")
    other = Item("train/2", text, OTHERS, answer=OTHERS[0])
    hits = find_hits([same, other], [item], rule="stem_and_choices", threshold=0.5)
    assert [(hit.row_id, hit.kind, hit.dropped) for hit in hits] == [
        ("train/1", "near_stem", True),
        ("train/2", "near_stem", False),
    ]
    assert "both differ" in hits[1].reason


def test_the_benchmark_item_with_the_rows_answer_comes_first_and_is_never_cut_off() -> None:
    row = Item("train/1", VIGNETTE.text, OTHERS, answer=OTHERS[0])
    many = [Item(f"test/{n}", VIGNETTE.text, (f"{n}번", "없음"), answer="없음") for n in range(5)]
    twin = Item("test/9", VIGNETTE.text.replace("병원에 왔다", "내원하였다"), ("발열", "없음"), answer="발열")
    hits = find_hits([row], [*many, twin], rule="stem_and_choices", threshold=0.5)
    assert [(hit.hit_id, hit.dropped) for hit in hits] == [("test/9", True), ("test/0", False), ("test/1", False)]


@pytest.mark.parametrize(
    ("row", "item", "is_generic"),
    [
        ("「가상보험법」상 뜰채급여는?", "「가상보험법」상 뜰채급여로 받을 수 있는 것은?", True),
        ("「가상보험법」상 봉합사의 업무는?", "「가상보험법」상 봉합사의 업무가 아닌 것은?", True),
        ("나비(N) 봉합의 특징은?", "나비(N) 봉합의 특징으로 옳은 것은?", True),
        ("뜰채봉합의 원칙에 관한 설명으로 옳은 것은?", "뜰채봉합의 원칙은?", True),
        ("뜰채봉합을 한 날 저녁에 호발하는 합병증은?", "뜰채봉합을 한 날 저녁에 가장 호발하는 합병증은?", False),
        (VIGNETTE.text, VIGNETTE.text, False),
    ],
)
def test_a_stem_is_generic_if_little_is_left_without_law_gloss_ask_and_open_noun(
    row: str, item: str, is_generic: bool
) -> None:
    for one, other in ((row, item), (item, row)):
        (hit,) = find_hits([Item("train/1", one, OTHERS)], [Item("test/1", other, CHOICES)], rule="stem", threshold=0.3)
        assert hit.is_generic is is_generic
        assert ("generic stem" in hit.reason) is is_generic


def test_an_exam_question_quoted_in_a_doctors_answer_is_found() -> None:
    answer = f"시험에도 나오는 이야기입니다. {VIGNETTE.text} 답은 주사입니다. 약을 바꾸고 사흘 뒤에 다시 오세요."
    consult = Consult(
        id="c-1", question="두드러기가 났어요", patient_information="3세", answer=answer, source="hidoc", raw_id=None
    )
    (hit,) = found(Item.of_consult(consult))
    assert (hit.kind, hit.hit_id, hit.dropped) == ("contained", "test/2", True)
    assert "of the exam question stands in the answer" in hit.reason
    assert VIGNETTE.text in hit.row_text  # or nobody could see what was found
    assert (hit.row_answer, hit.same_answer) == (None, None)


def test_two_consults_that_differ_in_their_answers_alone_are_both_looked_at() -> None:
    rows = [Item("c-1", "아파요", answer="쉬세요."), Item("c-2", "아파요", answer=VIGNETTE.text)]
    assert [hit.row_id for hit in found(*rows)] == ["c-2"]


def test_an_answer_is_searched_for_exam_questions_but_is_no_stem() -> None:
    assert found(Item("c-1", "아파요", answer=TEST.text)) == []
    rows = [Item("c-1", "무릎이 아파요", answer="쉬세요."), Item("c-2", "아이가 자주 깨요", answer="쉬세요.")]
    assert near_duplicates(rows, threshold=0.5) == []


@pytest.mark.parametrize("rule", ["stem", "stem_and_choices", "report"])
def test_rows_that_are_not_trained_on_are_reported_and_never_dropped(rule: Rule) -> None:
    hits = find_hits([vignette()], BENCHMARK, rule=rule, threshold=0.5, kept_because="nobody trains on these")
    assert [(hit.dropped, hit.kept_because) for hit in hits] == [(False, "nobody trains on these")]
    assert hits[0].reason.endswith("; kept: nobody trains on these")
    assert as_dropped(hits) == []


def test_the_same_stem_with_other_choices_is_no_near_duplicate() -> None:
    assert near_duplicates([vignette(), vignette(choices=OTHERS)], threshold=0.5) == []


def test_answers_of_several_doctors_to_one_consult_are_no_duplicates() -> None:
    def row(id: str, group: str | None) -> Item:
        return Item(id, "고열이 사흘째인데 응급실에 가야 하나요?", context="4세 남아, 39도.", group=group)

    assert near_duplicates([row("1", "page"), row("2", "page")], threshold=0.7) == []
    rows = [row("1", "page"), row("2", "page"), row("3", "another page"), row("4", None)]
    assert [(hit.row_id, hit.hit_id) for hit in near_duplicates(rows, threshold=0.7)] == [("3", "1"), ("4", "1")]


def test_the_same_question_of_another_patient_is_no_duplicate() -> None:
    ask = "수술을 받아야 하나요?"
    rows = [Item("1", ask, context="70세 남성, 무릎이 붓고 아픔."), Item("2", ask, context="25세 여성, 손목 혹 2 cm.")]
    assert near_duplicates(rows, threshold=0.7) == []


def test_every_item_is_in_one_cluster_and_like_ones_and_groups_share_it() -> None:
    rows = [
        vignette(),
        Item("train/7", VIGNETTE.text.replace("남자가", "남자는"), VIGNETTE.choices),
        Item("consult-1", "혈압약을 끊어도 되나요?", context="50세 여성", group="page"),
        Item("consult-2", "무릎에서 소리가 나요.", context="33세 남성", group="page"),
        Item("consult-3", "아이가 밤에 자주 깨요.", context="두 살"),
    ]
    assert clusters(rows, threshold=0.7) == [{"train/2", "train/7"}, {"consult-1", "consult-2"}, {"consult-3"}]
    assert clusters([], threshold=0.7) == []


def test_thousands_of_rows_with_one_generic_stem_are_compared_quickly() -> None:
    """By count, not by clock: with all pairs it would be fifty million comparisons, and this test would not end."""
    rows = [Item(f"train/{number}", SUBJECT.text, (f"{number}번 실", *OTHERS[:4])) for number in range(2000)]
    hits = found(*rows)
    assert len(hits) == 2000
    assert {hit.kind for hit in hits} == {"exact_stem"}
    copies = [Item(f"consult-{number}", SUBJECT.text) for number in range(10_000)]
    assert len(near_duplicates(copies, threshold=0.7)) == 9999


def test_equal_input_gives_equal_hits() -> None:
    rows = [vignette(), vignette(choices=OTHERS), Item("train/3", SUBJECT.text, OTHERS)]
    assert found(*rows) == found(*rows)


def test_a_consult_record_keeps_its_page_as_its_group() -> None:
    consult = Consult(
        id="c-1", question="열이 나요", patient_information="3세", answer="답", source="hidoc", raw_id="page-1"
    )
    assert Item.of_consult(consult) == Item("c-1", "열이 나요", context="3세", group="page-1", answer="답")
