"""words: what a line in the search box means."""

import json
import unicodedata

import pytest

from annotation.server import words


def finds(line: str, *texts: str) -> bool:
    """In a dataset of text fields only, and the same in one that has others too."""
    fields = {f"field-{number}": text for number, text in enumerate(texts)}
    query = {"chats": [], "others": list(fields), "alternatives": words.terms(line)}
    found, also = (
        words.matches(json.dumps(fields), json.dumps({**query, "is_whole": is_whole})) for is_whole in (True, False)
    )
    assert found == also
    return found


TEXT = "아이가 사흘째 기침을 합니다.\n혈압(수축기)은 150/95, MRI에서 “이상 없음”. C:\\약 100%_끝 😷 Café don't"


@pytest.mark.parametrize(
    "line",
    [
        "침",
        "기침",
        "기침을",
        "침을 합",  # two words
        "사흘째 아이가",  # in any order
        '"사흘째 기침을"',
        '"합니다. 혈압"',  # over the end of a line
        "혈압(수축기)",
        "150/95",
        "mri",
        "MRI에서",
        "CAFÉ",
        "C:\\약",
        "\\",
        "100%",
        "%_끝",
        "😷",
        "don't",
        "don't 아이가",  # an apostrophe opens nothing
        "기침*",
        "+기침 +혈압",
        "없는말 | 기침",
        "없는말|기침",
        "| 기침 |",
        "기침 -두통",
        '-"기침을 사흘째"',
        "-두통 | 없는말",
        '"사흘째 기침',  # a quotation mark that nothing closes
        '기침"',
        unicodedata.normalize("NFD", "기침을"),
        " ".join(["기침"] * words.MOST_TERMS),
        "",
        "   ",
        '"" | - + *',
    ],
)
def test_a_line_finds_the_text(line: str) -> None:
    alternatives = words.terms(line)
    assert finds(line, TEXT) if alternatives else not line.strip(' "|-+*')


@pytest.mark.parametrize(
    "line",
    [
        "두통",
        "기침 두통",
        '"기침을 사흘째"',
        "기침 -아이",
        '-"사흘째 기침을"',
        "-기침 | 두통",
        "약_끝",  # _ stands for no letter
        "1%95",  # and % for none
        "기.침",
        "기침을함",
        "uae30",  # how JSON spells 기
        "\\uae30",
        "n혈압",
    ],
)
def test_a_line_does_not_find_the_text(line: str) -> None:
    assert not finds(line, TEXT)


@pytest.mark.parametrize(
    "stored", ["기침 ÉCOLE", unicodedata.normalize("NFD", "기침 ÉCOLE"), "&#44592;&#52840; &Eacute;cole"]
)
def test_one_word_is_found_however_it_is_spelt_in_the_record(stored: str) -> None:
    assert finds("기침", stored)
    assert finds(unicodedata.normalize("NFD", "침 école"), stored)
    assert not finds("-기침", stored)


def test_what_the_page_shows_is_what_is_searched() -> None:
    """Pushed text is escaped, so that the page shows a < as such."""
    assert finds("150<160", "150&lt;160 &amp; 90")
    assert finds("& 90", "150&lt;160 &amp; 90")
    assert not finds("lt;", "150&lt;160 &amp; 90")


def test_a_text_that_spells_json_is_not_taken_for_what_it_spells() -> None:
    assert not finds("기침", "\\uae30\\uce68")
    assert finds("\\uae30", "\\uae30\\uce68")


def test_words_may_stand_in_different_fields_but_a_phrase_in_one() -> None:
    assert finds("기침 두통", "기침", "두통")
    assert not finds('"기침 두통"', "기침", "두통")
    assert not finds("-두통", "기침", "두통")


@pytest.mark.parametrize("line", [" ".join(["말"] * (words.MOST_TERMS + 1)), "말" * (words.MOST_CHARACTERS + 1)])
def test_too_long_a_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="a search takes up to"):
        words.terms(line)
