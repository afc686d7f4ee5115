"""Folding: what only looks different is made alike."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.scoring.folding import LATIN_FORMS, LOOK_ALIKES, folded_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\u00a0\u2003", []),
        ("The END, the", ["the", "end", "the"]),
        ("“Don’t,” he said. (Why?)", ["don't", "he", "said", "why"]),
        ("don`t don´t don′t donʼt", ["don't"] * 4),
        ("well-known well‐known well‑known", ["well-known"] * 3),
        ("house—and house -- and house--and", ["house", "and"] * 3),
        ("wait… what, wait...what", ["wait", "what"] * 2),
        ("— ... *** _x_", ["x"]),
        ("ﬁnd ﬂour eﬃcient", ["find", "flour", "efficient"]),
        ("œuvre Æther ĳs", ["oeuvre", "aether", "ijs"]),
        ("w\u200bo\u200cr\u200dd\u2060s\u00ad \ufeffa\u034fb", ["words", "ab"]),
        ("a\x00b a\x1bb a\ud800b", ["ab"] * 3),
        ("ＦＵＬＬ 𝐛𝐨𝐥𝐝 Ⅷ x²", ["full", "bold", "viii", "x2"]),
        ("naïve nai\u0308ve café İstanbul", ["naive", "naive", "cafe", "istanbul"]),
        ("straße STRASSE", ["strasse", "strasse"]),
        ("nо соре раgе", ["no", "cope", "page"]),  # Cyrillic о, соре, ра and е
        ("ΝΟΤΕ Τhе ɡοɑt", ["note", "the", "goat"]),
        ("ʟɪɢʜᴛ ᏟᎪᎢ սոіt", ["light", "cat", "unit"]),
        ("a\u202ebc\u202c d", ["abc", "d"]),
    ],
)  # fmt: skip
def test_looks_alike_reads_alike(text, expected):
    assert folded_words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Жизнь прекрасна", ["жизнь", "прекрасна"]),
        ("Ἀθήνα λόγος Λόγος", ["αθηνα", "λογοσ", "λογοσ"]),
        ("か\u3099く がく", ["がく", "がく"]),
        ("한국어 שלום", ["한국어", "שלום"]),
        ("木々", ["木々"]),
    ],
)
def test_other_scripts_stay_what_they_are(text, expected):
    assert folded_words(text) == expected


def test_a_capital_at_the_head_of_a_word_changes_nothing():
    assert folded_words("Гора Нет Вас Зима Σοφία") == folded_words("гора нет вас зима σοφία")


def test_every_look_alike_is_one_letter_of_the_script_it_imitates():
    forms = [*LATIN_FORMS.items(), *LOOK_ALIKES.items()]
    for letter, its_forms in forms:
        for form in its_forms:
            assert folded_words(f"x{form}x") == [f"x{letter}x"], unicodedata.name(form)
    everything = "".join(its_forms for _, its_forms in forms)
    assert len(set(everything)) == len(everything)
    assert not any(form.isascii() for form in everything)


@given(st.text(max_size=60))
def test_any_text_folds_and_folding_again_changes_nothing(text):
    folded = folded_words(text)
    assert all(word and not any(map(str.isspace, word)) for word in folded)
    assert folded_words(" ".join(folded)) == folded


def test_a_megabyte_without_a_space():
    assert len(folded_words("a." * 500_000)) == 1
    assert folded_words("." * 1_000_001) == []
