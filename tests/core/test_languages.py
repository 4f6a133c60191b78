"""The Korean report: nothing of it is left in English, and nothing is kept that no page says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml
from jinja2 import nodes

from stages.core import decontamination, eda, korean_terms, quality
from stages.core.korean_terms import term
from stages.core.languages import KOREAN_WORDS, korean
from stages.core.pages import TEMPLATES, environment
from stages.core.records import LETTERS, Checkpoint, Choice, Flag, Mark
from tests import test_report as runs

STAGES = TEMPLATES.parent.parent
BILINGUAL = sorted([*TEMPLATES.glob("report/*.html.j2"), *TEMPLATES.glob("*_parts.html.j2")])
PLACEHOLDER = re.compile(r"%\((\w+)\)s")
LATIN_WORD = re.compile(r"[A-Za-z]{2,}")
ENTERING = ("FlowStep", "drop", "without")  # what enters a step by its name
KOREAN_TEXT = re.compile(r'<(pre|code)\b.*?</\1>|<(\w+)[^>]* lang="ko"[^>]*>.*?</\2>', re.DOTALL)  # data, not the page
ENGLISH_WORD = r"\b[A-Za-z][a-z'’-]*\b"
ENGLISH = re.compile(rf"{ENGLISH_WORD}(?: {ENGLISH_WORD}){{2,}}")  # three words that no comma parts, as it does names
SAID_ALOUD = re.compile(r'\b(?:aria-label|title|alt|data-unit|data-label)="([^"]*)"')


def messages() -> set[str]:
    """What the templates mark with `_("…")`; of a plural both forms."""
    found = set()
    for template in BILINGUAL:
        source = template.read_text(encoding="utf-8")
        for _, _, message in environment().extract_translations(source):  # type: ignore[attr-defined]  # the extension's
            found |= {message} if isinstance(message, str) else {one for one in message if one}
    return found


def constants() -> Iterator[str]:
    """Every text in the sources; the filled-in parts of an f-string are a NUL."""
    for module in STAGES.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(v.value) if isinstance(v, ast.Constant) else "\0" for v in node.values)


def translated() -> Iterator[str]:
    """Texts of the modules that hand some of theirs to `Language.translate`."""
    for module in STAGES.rglob("*.py"):
        source = module.read_text(encoding="utf-8")
        if "translate(" in source:
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_everything_that_a_template_says_has_korean_words() -> None:
    assert messages() - korean().words.keys() == set()


def test_no_korean_words_are_kept_that_nothing_says() -> None:
    assert korean().words.keys() - messages() - set(translated()) == set()


def test_the_same_numbers_and_names_are_filled_in_on_both_sides() -> None:
    for english, said in korean().words.items():
        assert set(PLACEHOLDER.findall(english)) == set(PLACEHOLDER.findall(said)), english
        if english in messages():  # they are always formatted, so a % alone would break the page
            filled_in = dict.fromkeys(PLACEHOLDER.findall(english), "…")
            assert "%(" not in said % filled_in, english


@pytest.mark.parametrize("file", [KOREAN_WORDS, korean_terms.TERMS], ids=lambda path: str(path.name))
def test_nothing_has_two_korean_wordings_of_which_one_would_be_lost(file: Path) -> None:
    node = yaml.compose(file.read_text(encoding="utf-8"))
    assert isinstance(node, yaml.MappingNode)
    keys = [key.value for key, _ in node.value]
    assert sorted(keys) == sorted(set(keys))


@pytest.mark.parametrize("template", BILINGUAL, ids=lambda path: str(path.name))
def test_a_template_says_nothing_that_is_not_marked(template: Path) -> None:
    tree = environment().parse(template.read_text(encoding="utf-8"))
    written = "".join(data.data for data in tree.find_all(nodes.TemplateData))
    seen = re.sub(r"<[^>]*>|&\w+;", " ", written)
    assert LATIN_WORD.findall(seen) == []
    assert [words for words in SAID_ALOUD.findall(written) if LATIN_WORD.search(words)] == []
    marked = {id(const) for call in tree.find_all(nodes.Call) if is_looked_up(call) for const in strings(call)}
    assert [const.value for const in strings(tree) if id(const) not in marked and is_a_phrase(const.value)] == []


def strings(node: nodes.Node) -> list[nodes.Const]:
    return [const for const in node.find_all(nodes.Const) if isinstance(const.value, str)]


def is_looked_up(call: nodes.Call) -> bool:
    """`_("…")`, or an argument by which a sentence is told what it speaks of, or which part of data is asked for."""
    called = call.node
    if isinstance(called, nodes.Name):
        return called.name in ("_", "gettext", "ngettext")
    return isinstance(called, nodes.Getattr) and getattr(called.node, "name", "") in ("wording", "said")


def is_a_phrase(value: str) -> bool:
    """Two English words side by side, which no name of a file, key or class is."""
    return re.search(r"[A-Za-z]{2,}[,;:.]? [A-Za-z]{2,}", value) is not None


def test_what_the_pipeline_writes_has_korean_terms() -> None:
    written = [
        *decontamination.REASONS.values(),
        decontamination.REPEATS,
        decontamination.NEARLY_REPEATS,
        decontamination.CONTRADICTS,
        "broken_encoding",
        *quality.DROPPING,
        *get_args(Flag),
        *get_args(Mark),
        *(value for value in get_args(Choice) if value not in ("a", "b")),  # those are no reason to drop anything
        *eda.KINDS,
        *get_args(eda.TextPart),
        *get_args(eda.Unit),
        eda.ALL,
    ]
    assert [phrase for phrase in written if term(phrase) == phrase] == []


def test_steps_of_the_data_have_korean_terms() -> None:
    steps = set()
    for file in ("prepare.py", "core/waterfall.py", "core/exam_sources.py"):
        for node in ast.walk(ast.parse((STAGES / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in ENTERING:
                named = [keyword.value for keyword in node.keywords if keyword.arg == "step"]
                given = [
                    c.value for part in (*node.args, *named) for c in ast.walk(part) if isinstance(c, ast.Constant)
                ]
                steps |= {value for value in given if isinstance(value, str)} - set(eda.KINDS)
    assert {"import", "collect", "benchmark", "quality", "decontamination", "duplicates", "split"} <= steps
    assert [step for step in steps if term(step) == step] == []


def test_no_term_is_kept_that_no_artifact_can_hold() -> None:
    texts = set(constants())
    pieces = {piece for text in texts for piece in (text, *text.split(": "), text.partition(" (")[0])}
    written = {piece.replace("\0", "#") for piece in pieces}
    patterns = [
        re.compile(".+".join(map(re.escape, piece.split("\0"))), re.DOTALL)
        for piece in pieces
        if "\0" in piece and len(LATIN_WORD.findall(piece)) > 2
    ]
    unused = [
        phrase
        for phrase in korean_terms.terms()
        if phrase not in written and not any(pattern.fullmatch(phrase) for pattern in patterns)
    ]
    assert unused == []


def test_a_term_has_as_many_numbers_in_korean() -> None:
    assert [one for one in korean_terms.terms().items() if one[0].count("#") != one[1].count("#")] == []


def test_numbers_and_what_follows_a_term_are_kept() -> None:
    assert term("longer than max_length 1,024") == "max_length(1,024) 초과"
    assert term("no such page: HTTP 404") == "없는 페이지: HTTP 404"
    assert term("kormedmcqa/doctor") == "kormedmcqa/의사"
    assert term("fewer than two usable answers (empty, repeating)") == (
        "쓸 수 있는 답변이 두 개 미만(비어 있음, 같은 말 반복)"
    )


def test_a_users_own_name_stands_as_it_is() -> None:
    for name in ("hospital-a", "my/doctor", "내과 상담.csv", "tie-breaker (2026)", "", *LETTERS):
        assert term(name) == name


def test_a_term_from_a_file_can_bring_no_markup_into_a_page() -> None:
    templates = environment(language=korean())
    page = templates.from_string("{{ name | term }}").render(name="tie: <script>100 %</script>")
    assert page == "비슷함: &lt;script&gt;100 %&lt;/script&gt;"


def whole_report(run: Path) -> str:
    """report.html of a run that has everything, labels of two people, one of them simulated, and a second round."""
    runs.write_prepare(run)
    runs.write_sft(run)
    runs.write_labels(run, ["kim", "simulated-1"])
    runs.write_agreement(run, ["kim", "simulated-1"])
    runs.write_dpo(run)
    runs.write_winrate(run)
    right: dict[Checkpoint, int] = {"base": 144, "sft": 167, "dpo": 166}
    for checkpoint, number in right.items():
        runs.write_evaluation(
            run, checkpoint, {"doctor": (number, 435), "nurse": (40, 100)}, settings={"letters_as": ["A", "B"]}
        )
    runs.made(run)
    return (run / "report/report.html").read_text(encoding="utf-8")


def test_the_korean_half_of_a_report_has_no_english_sentence(tmp_path: Path) -> None:
    html = whole_report(tmp_path)
    assert english_in(runs.half(html, "ko")) == []
    assert len(english_in(runs.half(html, "en"))) > 100  # so the measure finds them


def english_in(half: str) -> list[str]:
    html = KOREAN_TEXT.sub("", half)
    html = re.sub(r"<cite.*?</cite>", "", html)  # what others call their work
    spoken = [*SAID_ALOUD.findall(html), re.sub(r"\s*<[^>]*>\s*", "|", html)]
    return [found for text in spoken for found in ENGLISH.findall(text)]
