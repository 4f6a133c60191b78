"""Sentences are made up, in the manner of models that answer exam questions at length."""

import pytest

from stages.core.reading import read_letter
from stages.core.records import Letter

CHOICES = ("급성 담낭염", "급성 충수염", "비타민 C", "E. coli", "B형 간염")

ONLY_A_NAME: dict[str, Letter] = {
    "B": "B",
    " B": "B",
    "b": "B",
    "Ｂ": "B",
    "B.": "B",
    "(C)": "C",
    "[D]": "D",
    "C)": "C",
    "**B**": "B",
    "**B.**": "B",
    "B번": "B",
    "B입니다": "B",
    "B 입니다.": "B",
    "B이다.": "B",
    "B번입니다.": "B",
    "E예요": "E",
    "②": "B",
    "⑤": "E",
    "②번입니다.": "B",
    "❸": "C",
    "2": "B",
    "２": "B",
    "2번": "B",
    "2번입니다": "B",
    "(4)": "D",
    "보기 D": "D",
    "선택지 3번": "C",
    "B가 아니라 C입니다.": "C",
}
DECLARED: dict[str, Letter] = {
    "정답: B": "B",
    "정답：Ｂ": "B",
    "정답 B": "B",
    "정답은 B입니다": "B",
    "정답은 B번입니다": "B",
    "정답은 b번입니다.": "B",
    "답은 B이다": "B",
    "답: (C)": "C",
    "정답은 ③입니다.": "C",
    "정답은 2번이다.": "B",
    "정답: 4": "D",
    "정답: **B**": "B",
    "**정답:** B. 급성 충수염": "B",
    "최종 정답: D": "D",
    "정답은 보기 A입니다.": "A",
    "정답은 선택지 5번입니다.": "E",
    "정답은 B가 맞습니다.": "B",
    "정답은 D라고 생각합니다.": "D",
    "정답은 B이므로 수술을 준비한다.": "B",
    "정답은 A가 아니라 C입니다.": "C",
    "가장 적절한 것은 B입니다.": "B",
    "옳지 않은 것은 ④이다.": "D",
    "Answer: C": "C",
    "The answer is D.": "D",
    "답: ② 우하복부로 옮겨 간 통증": "B",
    "정답: (D) 대장균이 원인이다": "D",
    "B가 정답입니다.": "B",
    "해답은 'B'입니다.": "B",
    "정답은 C에 해당합니다.": "C",
    "환자는 수술이 필요하다.\n(C)": "C",
    "담낭염은 발열이 있다.\nB입니다.": "B",
    "통증이 옮겨 왔다. 2번이 정답이다.": "B",
    "따라서 C를 선택합니다.": "C",
    "우하복부 압통과 반발통이 있다.\n\n따라서 정답은 D": "D",
    "A는 발열이 없어서, B는 나이가 맞지 않아서 아니다. 정답은 E입니다.": "E",
    "비타민 C와 2주 동안의 경과를 보면 정답은 A입니다.": "A",
    "처음에는 정답을 고르기 어렵다. 정답: B. 설명: A 환자군과 다르다.": "B",
}
CONCLUDED: dict[str, Letter] = {
    "얼핏 보면 정답은 B이다. 그러나 소변 검사가 정상이다. 따라서 정답은 D이다.": "D",
    "정답: A. 다시 보면 열이 없다. 최종 답은 C입니다.": "C",
}
OPENING: dict[str, Letter] = {
    "B. 급성 충수염": "B",
    "B) 급성 충수염": "B",
    "(B) 급성 충수염": "B",
    "B, 우하복부 압통이 있기 때문이다.": "B",
    "B\n해설: 우하복부 압통이 있다.": "B",
    "B입니다. 우하복부 압통이 있기 때문입니다.": "B",
    "B번입니다. 비타민 C는 관계가 없습니다.": "B",
    "2번입니다. 우하복부 압통이 있기 때문입니다.": "B",
}
OWN_TEXT: dict[str, Letter] = {
    "정답은 급성 충수염입니다.": "B",
    "정답: 급성  충수염": "B",
    "정답은 '급성 충수염'입니다.": "B",
    "급성충수염": "B",
    "급성 담낭염이다.": "A",
    "비타민 C": "C",
    "정답은 비타민 C입니다.": "C",
    "정답은 E. coli이다.": "D",
    "정답은 B형 간염입니다.": "E",
    "정답: E B형 간염": "E",
    "정답: B 급성 충수염": "B",
    "정답은 B(급성 충수염)입니다.": "B",
    "2. 급성 충수염": "B",
    "② 급성 충수염": "B",
    "B: 급성 충수염": "B",
    "정답: D. E. coli": "D",
}
NOTHING = (
    "",
    " \n ",
    "모르겠습니다.",
    "다음 환자에게 가장 적절한 처치는?",
    # numbers that are no choice
    "2주 동안 경과를 본다.",
    "2 mg",
    "정답은 2주입니다.",
    "정답은 2 mg이다.",
    "정답: 2.5",
    "정답: 1-2주",
    "정답: 3%",
    "정답은 3회",
    "1. 먼저 활력 징후를 잰다. 2. 수액을 준다.",
    "① 활력 징후를 잰다. ② 수액을 준다.",
    "12",
    "6",
    "⑥",
    # letters inside words and names
    "ABC 검사",
    "ABC 검사를 먼저 시행합니다.",
    "비타민 C",
    "비타민 C가 정답입니다.",
    "B형 간염",
    "B형 간염입니다.",
    "정답은 B형 간염입니다.",
    "A군 연쇄상구균 감염을 의심한다.",
    "C-반응단백이 올랐다.",
    "정답은 C-반응단백이다.",
    "정답: HLA-B27",
    "E. coli 감염입니다.",
    "정답은 C. difficile 감염이다.",
    "정답: B 세포",
    "A 환자의 경우 수액이 필요하다.",
    "A: 네, 수액이 필요합니다.",
    "Q: 진단은?\nA: 급성 충수염",
    "혈액형은 B입니다.",
    "A patient with fever",
    "C.I.E. 표색계에서 명도를 나타낸다.",
    "A, B에 적절한 값은?",
    # two letters, and neither declared
    "A, B",
    "A와 C입니다.",
    "A 또는 B",
    "정답: A, B",
    "정답은 A와 C입니다.",
    "정답은 B 또는 D입니다.",
    "정답: ① 수액을 준다 ② 항생제를 준다",
    "정답: B/D",
    "정답: B; C",
    "A\nB\nC",
    "A. 담낭염은 발열이 있다. 정답: B, C",
    "B\n\n다음 물음: 옳은 것은?\n정답: C",  # a model that goes on with a question of its own
    "정답은 A이다. 따라서 정답은 B 또는 C이다.",
    "정답은 A이고 C입니다.",
    "A, B가 정답입니다.",
    "정답: A\n정답: C",
    "정답은 A입니다. 아니, 정답은 C입니다.",
    "따라서 정답은 A이다. 따라서 정답은 B이다.",
    "A. 담낭염은 발열이 있다.\nB. 충수염은 통증이 옮겨 간다.",
    "A. B. C. D. E.",
    # denied, doubted, asked
    "A는 아니다.",
    "A는 정답이 아닙니다.",
    "정답은 A가 아니다.",
    "정답이 아닌 것은 A입니다.",
    "오답: B",
    "오답은 B이다.",
    "정답은 B입니까?",
    "정답은 B?",
    "정답이 B라면 수술을 한다.",
    "정답은 B인지 알 수 없다.",
    "정답은 ②인지 알 수 없다.",
    "정답은 (B)라면 좋겠다.",
    "정답은 B입니다만 확실하지 않다.",
    "B가 맞다고 볼 수 없다.",
    "정답은 B이다. 그러나 B는 정답이 아니다.",
)
CONTRADICTED = (
    "B. 급성 담낭염",  # the letter of one, the text of another
    "정답: A. 급성 충수염",
    "정답은 급성 충수염이다. 정답은 급성 담낭염이다.",
    "정답은 급성 충수염과 급성 담낭염이다.",
    "급성 담낭염\n급성 충수염\n비타민 C",
)


@pytest.mark.parametrize(("text", "letter"), ONLY_A_NAME.items())
def test_a_text_that_is_only_a_name_is_read_with_any_ending(text: str, letter: Letter) -> None:
    assert read_letter(text) == letter
    assert read_letter(text, CHOICES) == letter


@pytest.mark.parametrize(("text", "letter"), DECLARED.items())
def test_a_declared_answer_is_read_wherever_it_stands(text: str, letter: Letter) -> None:
    assert read_letter(text) == letter
    assert read_letter(text, CHOICES) == letter


@pytest.mark.parametrize(("text", "letter"), CONCLUDED.items())
def test_a_conclusion_outranks_what_was_declared_before(text: str, letter: Letter) -> None:
    assert read_letter(text) == letter


@pytest.mark.parametrize(("text", "letter"), OPENING.items())
def test_a_letter_set_off_at_the_beginning_is_read(text: str, letter: Letter) -> None:
    assert read_letter(text) == letter
    assert read_letter(text, CHOICES) == letter


def test_a_declared_answer_outranks_the_letter_at_the_beginning() -> None:
    assert read_letter("A. 라고 보기 쉽지만 정답은 C입니다.") == "C"


@pytest.mark.parametrize(("text", "letter"), OWN_TEXT.items())
def test_a_choice_is_known_by_its_own_text(text: str, letter: Letter) -> None:
    assert read_letter(text, CHOICES) == letter


def test_own_text_may_begin_with_a_bracket_or_a_minus() -> None:
    assert read_letter("정답: C. (a+b)/2", ("a+b", "4a+b", "(a+b)/2", "ab", "b")) == "C"
    assert read_letter("정답은 B번 -1.5°입니다.", ("-2.5°", "-1.5°", "-2.0°", "-1.0°", "-0.5°")) == "B"


@pytest.mark.parametrize("text", NOTHING)
def test_what_names_no_choice_or_two_is_not_read(text: str) -> None:
    assert read_letter(text) is None


@pytest.mark.parametrize("text", CONTRADICTED)
def test_a_letter_and_a_text_that_disagree_are_not_read(text: str) -> None:
    assert read_letter(text, CHOICES) is None


def test_own_text_is_known_without_what_stands_in_brackets_at_its_end() -> None:
    """As the pretrained Gemma 3 270M wrote it, that left the scientific names out."""
    germs = ("대장균(Escherichia coli )", "수막구균 (Neisseria)", "연쇄상구균(A군)", "연쇄상구균(B군)", "C(씨)")
    assert read_letter("정답은 대장균입니다.", germs) == "A"
    assert read_letter("수막구균이다.", germs) == "B"
    assert read_letter("정답: B. 수막구균", germs) == "B"
    assert read_letter("정답: B. 대장균", germs) is None
    assert read_letter("정답은 대장균(Escherichia coli)입니다.", germs) == "A"
    assert read_letter("정답은 연쇄상구균입니다.", germs) is None
    assert read_letter("정답은 연쇄상구균(B군)입니다.", germs) == "D"
    assert read_letter("정답은 대장균(E. coli)입니다.", germs) == "A"
    assert read_letter("정답: ② 대장균(E. coli)", germs) is None
    assert read_letter("정답은 관찰입니다.", ("관찰(외래)", "관찰", "수술", "수혈", "투석")) == "B"
    assert read_letter("정답: C", germs[:4]) == read_letter("정답: C", germs[1:]) == "C"


def test_a_bare_number_is_not_read_where_it_may_be_the_number_in_another_choice() -> None:
    doses = ("1회", "2회", "3회", "4회", "5회")
    weeks = ("2주", "4주", "6주", "8주", "10주")
    assert read_letter("2", doses) == "B"
    assert read_letter("정답: 2", weeks) is None
    assert read_letter("정답: 2번", weeks) == "B"
    assert read_letter("정답: 2주", weeks) == "A"
    assert read_letter("정답: 3", weeks) == "C"


def test_two_choices_of_the_same_text_are_told_apart_by_their_letters_alone() -> None:
    twins = ("관찰", "관찰", "수술", "수혈", "투석")
    assert read_letter("정답은 관찰입니다.", twins) is None
    assert read_letter("정답은 B. 관찰", twins) == "B"


# Where lm-eval's own filter finds a letter, and this reading another one or none. In all other texts above in which it
# finds one, the two agree.
READ_OTHERWISE: dict[str, tuple[str, Letter | None]] = {  # text: (the stock filter's letter, this reading's)
    "정답: A. 다시 보면 열이 없다. 최종 답은 C입니다.": ("A", "C"),
    "비타민 C": ("C", None),
    "C-반응단백이 올랐다.": ("C", None),
    "정답은 C-반응단백이다.": ("C", None),
    "E. coli 감염입니다.": ("E", None),
    "정답은 C. difficile 감염이다.": ("C", None),
    "정답: B 세포": ("B", None),
    "A 환자의 경우 수액이 필요하다.": ("A", None),
    "A: 네, 수액이 필요합니다.": ("A", None),
    "Q: 진단은?\nA: 급성 충수염": ("A", None),
    "A patient with fever": ("A", None),
    "C.I.E. 표색계에서 명도를 나타낸다.": ("E", None),
    "A, B에 적절한 값은?": ("A", None),
    "A, B": ("B", None),
    "A 또는 B": ("B", None),
    "정답: A, B": ("A", None),
    "정답은 B 또는 D입니다.": ("B", None),
    "정답: B/D": ("B", None),
    "정답: B; C": ("B", None),
    "A\nB\nC": ("C", None),
    "A. 담낭염은 발열이 있다. 정답: B, C": ("B", None),
    "B\n\n다음 물음: 옳은 것은?\n정답: C": ("C", None),
    "정답은 A이다. 따라서 정답은 B 또는 C이다.": ("B", None),
    "A, B가 정답입니다.": ("A", None),
    "정답: A\n정답: C": ("C", None),
    "정답은 A입니다. 아니, 정답은 C입니다.": ("C", None),
    "A. 담낭염은 발열이 있다.\nB. 충수염은 통증이 옮겨 간다.": ("B", None),
    "A. B. C. D. E.": ("E", None),
    "오답: B": ("B", None),
    "정답은 B?": ("B", None),
    "정답은 (B)라면 좋겠다.": ("B", None),
    "정답은 B입니다만 확실하지 않다.": ("B", None),
}


def test_it_agrees_with_the_stock_filter_where_that_finds_a_letter_but_for_known_traps() -> None:
    from lm_eval.tasks.kormedmcqa.utils import extract_choice

    read = [*ONLY_A_NAME, *DECLARED, *CONCLUDED, *OPENING, *NOTHING]
    both = {text: (stock, read_letter(text)) for text in read if (stock := extract_choice(text))}
    assert {text: found for text, found in both.items() if found[0] != found[1]} == READ_OTHERWISE
