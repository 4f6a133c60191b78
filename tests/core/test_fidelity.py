import pytest

from stages.core.fidelity import facts, invented, missing

DRUGS = frozenset({"타이레놀", "메트포르민", "metformin", "아스피린", "asa"})


@pytest.mark.parametrize(
    ("original", "rewrite", "lost"),
    [
        ("35세 남자, 두통이 3일째예요", "남자, 두통이 3일째", ["35세"]),
        (
            "AST 114, ALT 60 나왔어요",
            "AST 60, ALT 114",
            ["ALT 60"],
        ),  # each number stands within reach of AST, only one of ALT
        ("혈압이 120/80 이에요", "혈압 120", ["120/80", "혈압 120/80"]),
        ("타이레놀 500mg을 하루 3번 먹어요", "타이레놀을 하루 3번 복용", ["500mg", "타이레놀 500"]),
        ("메트포르민을 먹고 있습니다", "당뇨약을 복용 중", ["메트포르민"]),
        ("MRI 찍어야 하나요", "영상 검사를 해야 하나요", ["MRI"]),
        ("골밀도 T-score -2.8", "골밀도 T-score 2.8", ["-2.8", "score -2.8"]),
        ("2~3일 전부터", "3일 전부터", ["2~3일"]),
        ("2024년 3월 5일에 다쳤어요", "2024년 3월에 다침", ["5일"]),
        ("임신 8주인데", "임신 중인데", ["8주"]),
        ("30대 여성", "여성", ["30대"]),
        ("체온 38.5도", "체온 38도", ["38.5도", "체온 38.5"]),
        ("35세 남자인데 두통이 있어요", "35세. 두통.", ["남자"]),
        ("35세 남자인데 두통이 있어요", "35세 여성. 두통.", ["남자"]),
        ("여 30세, 어지러워요", "30세. 어지러움.", ["여 30세"]),
        ("35세/남, 어지러워요", "35세 여자. 어지러움.", ["35세/남"]),
        ("오른쪽 무릎이 아파요", "좌측 무릎 통증", ["오른쪽"]),
        ("왼쪽 눈이 침침해요", "눈이 침침함", ["왼"]),
    ],
)
def test_what_a_rewrite_leaves_out_is_named(original: str, rewrite: str, lost: list[str]) -> None:
    assert missing(original, rewrite, DRUGS) == lost


@pytest.mark.parametrize(
    ("original", "rewrite"),
    [
        ("35살 남자", "35세 남자"),
        ("ＡＳＴ １１４", "AST 114"),
        ("AST가 114로 높아요", "AST: 114"),
        ("ast는114", "AST 114"),
        ("간수치(AST)가 많이 올라서 114가 나왔어요", "AST 114"),
        ("38.5℃", "38.5도"),
        ("500 mg", "500mg"),
        ("500㎎", "500 밀리그램"),
        ("1,200원", "1200원"),
        ("2~3일 전", "2-3일 전"),
        ("2~3일 전", "2일에서 3일 전"),
        ("하루 2번", "하루 두 번"),
        ("두 번 토했어요", "2번 구토"),
        ("이틀 전부터", "2일 전부터"),
        ("두세 번", "2~3번"),
        ("서른다섯 살", "35세"),
        ("백이십오 일", "125일"),
        ("2024.03.05에 수술", "2024년 3월 5일에 수술"),
        ("1. 왜 그런가요?\n2) 약은요?", "왜 그런가요? 약은요?"),
        ("① 왜 그런가요? ② 약은요?", "왜 그런가요? 약은요?"),
        ("너무 아파요 T.T OOO의원에서", "의원에서 통증"),
        ("혈액형 A형", "혈액형 A형"),
        ("타이 레놀", "타이레놀"),
        ("Metformin 500mg", "metformin 500mg"),
        ("수치가 40정도", "수치가 40 정도"),
        ("20\u200b일", "20일"),
        ("[이름] 선생님께 3번 [전화번호]", "3번"),
        ("35세 남자", "35세 남성"),
        ("남자 35세", "35세, 남"),
        ("여/42세", "42세 여성"),
        ("5살 남자아이", "5세 남아"),
        ("저희 아들이 5살인데", "5세 남아"),
        ("임신 9주입니다", "임신 9주 여성"),
        ("우측 무릎", "오른쪽 무릎"),
        ("왼손이 저려요", "좌측 손 저림"),
        ("양쪽 무릎", "오른쪽과 왼쪽 무릎"),
        ("약이 3일치 남아 있어요", "약 3일치 있음"),
        ("10여 년 전부터 열이 오른 적이 있어요", "10여 년 전부터 열이 남"),
        ("임상시험 참여자입니다", "임상시험 참여 중"),
        ("여자친구가 생겼어요", "교제를 시작함"),
        ("6개월 여 동안 20대 여고생입니다", "6개월 동안 20대 여학생"),
        ("3남 2녀를 두었고 부어오른 다리가 걱정입니다", "자녀 3남 2녀. 다리 부종."),
        ("남성형 탈모와 여성 호르몬", "탈모와 호르몬"),
    ],
)
def test_what_is_only_written_otherwise_is_neither_missing_nor_invented(original: str, rewrite: str) -> None:
    assert missing(original, rewrite, DRUGS) == []
    assert invented(original, rewrite, DRUGS) == []


@pytest.mark.parametrize(
    ("original", "rewrite", "added"),
    [
        ("열이 나요", "39도의 열", ["39도"]),
        ("AST가 높아요", "AST 114", ["114", "AST 114"]),
        ("AST 114", "AST 114 U/L", ["114 U/L"]),
        ("약을 먹어요", "타이레놀 복용", ["타이레놀"]),
        ("머리가 아파요", "[이름] 님의 두통", ["[이름]"]),
        ("[이름]입니다", "[이름], [전화번호]", ["[전화번호]"]),
        ("3일 전부터", "3주 전부터", ["3주"]),
        ("머리가 아파요", "남성. 두통.", ["남성"]),
        ("무릎이 아파요", "우측 무릎 통증", ["우측"]),
        ("오른팔이 저려요", "왼팔 저림", ["왼"]),
    ],
)
def test_what_a_rewrite_adds_is_named(original: str, rewrite: str, added: list[str]) -> None:
    assert invented(original, rewrite, DRUGS) == added


def test_a_latin_word_more_is_no_invention() -> None:
    assert invented("엠알아이 찍었어요", "MRI 촬영", DRUGS) == []


def test_a_number_that_counts_is_no_value_of_what_stands_before_it() -> None:
    assert {fact.value for fact in facts("MRI 2번, 비타민D 3일, CT 1회", DRUGS) if fact.kind == "value"} == set()


def test_a_short_latin_drug_is_no_part_of_a_word() -> None:
    assert {fact.value for fact in facts("nasal spray", DRUGS) if fact.kind == "drug"} == set()
    assert {fact.value for fact in facts("ASA 복용", DRUGS) if fact.kind == "drug"} == {"asa"}
