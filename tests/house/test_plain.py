"""Plain text: nothing that moves a cursor, turns text round or hides passes, and what people write does."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streameval.plain import cleaned, is_plain

CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
HOSTILE = st.text(
    st.one_of(
        st.characters(categories=CATEGORIES),
        st.sampled_from("\u200c\u200d"),
        st.characters(),
    ),
    max_size=12,
)


def test_every_character_of_the_refused_categories_is_refused_alone_and_within():
    found = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in CATEGORIES]
    assert len(found) > 2_000
    passed = [char for char in found if is_plain(char) or is_plain(f"a{char}b") or is_plain(f"é{char}b")]
    assert passed == []
    assert {char for char in found if is_plain(f"é{char}é")} == {"\u200c", "\u200d"}


def test_what_is_seen_is_let_pass():
    seen = ("L", "M", "N", "P", "S", "Zs", "Co")
    wrong = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)).startswith(seen) and not is_plain(chr(code))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fraud v2 (EU/DE) = 50 %",
        "Zoë Ångström",
        "می\u200cخواهم",
        "क्\u200dष",
        "👩\u200d💻",
        "🏳\ufe0f\u200d🌈",
        "東京",
        "العربية",
        "a\xa0b",
    ],
)
def test_names_as_people_write_them_are_plain(text):
    assert is_plain(text)
    assert cleaned(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred", "a�[31mred"),
        ("a\x9b31mred", "a�31mred"),
        ("12\u202e34", "12�34"),
        ("a\u2028b\u2029c\nd", "a�b�c�d"),
        ("fra\u200dud", "fra�ud"),
        ("\u200cé", "�é"),
        ("é\u200d\u200dé", "é��é"),
        ("é\u200d\x00", "é��"),
        ("\ufeffid", "�id"),
        ("so\xadft", "so�ft"),
        ("\udc80", "�"),
        ("A\U000e0041", "A�"),
    ],
)
def test_what_hides_or_moves_is_refused_and_shown_as_a_replacement(text, shown):
    assert not is_plain(text)
    assert cleaned(text) == shown


@given(HOSTILE)
def test_cleaned_text_is_plain_and_plain_text_stays(text):
    shown = cleaned(text)
    assert is_plain(shown)
    assert (shown == text) is is_plain(text)
    assert len(shown) == len(text)
