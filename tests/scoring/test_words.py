"""Words in both modes, METRICS section 1."""

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import full

from pytest_memleak.scoring.words import words

ODD = st.sampled_from(
    [
        *"aZ09_ '-.,\n\t\x00\x1c\x85\xa0",
        "\u00ad", "\u2060", "\u200b", "\u200d", "’", "“", "—", "…",
        "é", "e\u0301", "²", "½", "ª", "İ", "ı", "K", "Å", "Σ", "ς", "ß", "ﬁ", "Ⅷ", "Кот", "木",
        "々", "〇", "ひ", "カ", "ｶ", "ー", "ก", "กิ", "한", "नि", "٣", "𝐀",
        "\ud800", "🦀", "ff", "don't",
    ]
)  # fmt: skip
TEXTS = st.lists(ODD | st.text(max_size=4), max_size=40).map("".join)


@pytest.mark.parametrize(("text", "expected"), [
    ("Don't stop—1984 co_op café", ["don", "t", "stop", "1984", "co_op", "café"]),
    ("é", []), ("_ __ _a", ["_a"]), ("Кот", []), ("\u212a", []), ("\u212aelvin", ["kelvin"]),
    ("İstanbul", ["i\u0307stanbul"]), ("un\u00adbelievable", ["un", "believable"]), ("", []),
    ("x² 2²", ["x²", "2²"]), ("café\u0301s", ["café", "s"]), ("ΑΣ1'Α2", ["ας1", "α2"]),
])  # fmt: skip
def test_paper_mode_follows_the_law(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("Кот é _", ["кот", "é"]), ("un\u00adbeliev\u200bable", ["unbelievable"]),
    ("ﬁne ½", ["fine", "1", "2"]), ("木々 is 木", ["木", "々", "is", "木"]),
    ("ひらカナ", ["ひ", "ら", "カ", "ナ"]), ("abc木def", ["abc", "木", "def"]),
    ("한국어", ["한국어"]), ("\u212aelvin", ["kelvin"]), ("aΣーa", ["aς", "ー", "a"]),
])  # fmt: skip
def test_unicode_mode_keeps_every_script(text, expected):
    assert words(text, "unicode") == expected


@given(TEXTS, st.sampled_from(["paper", "unicode"]))
@settings(max_examples=examples(200))
def test_each_mode_equals_the_oracle(oracle, text, mode):
    assert words(text, mode) == oracle.words(text, mode)


@pytest.mark.parametrize("step", [31, full(1)])
def test_every_single_character_in_both_modes(oracle, step):
    for code in range(0, 0x30000, step):
        text = f"a{chr(code)}b {chr(code)}"
        for mode in ("paper", "unicode"):
            assert words(text, mode) == oracle.words(text, mode), (mode, hex(code))


def test_a_megabyte_without_a_space_is_one_word():
    assert len(words("木a" * 500_000)) == 1
