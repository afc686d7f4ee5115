"""Words of near-verbatim matching, folded (sections 8 and 11), and words as keys."""

import unicodedata

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.scoring.folding import (
    LATIN,
    LATIN_FORMS,
    LOOK_ALIKES,
    folded_words,
    passage_words,
    with_gaps,
)
from pytest_memleak.scoring.keyed_texts import (
    keyed,
    keyed_folded,
    texts_changed_by_folding,
)
from pytest_memleak.scoring.word_hashes import LONG, keys_of, spelled
from pytest_memleak.scoring.words import words


@pytest.mark.parametrize(("text", "expected"), [
    ("", []), (" \n\u00a0\u2003", []), ("The END, the", ["the", "end", "the"]),
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
    ("ΝΟΤΕ Τhе ɡοɑt", ["note", "the", "goat"]), ("ʟɪɢʜᴛ ᏟᎪᎢ սոіt", ["light", "cat", "unit"]),
    ("a\u202ebc\u202c d", ["abc", "d"]),
    # Other scripts stay what they are.
    ("Жизнь прекрасна", ["жизнь", "прекрасна"]),
    ("Ἀθήνα λόγος Λόγος", ["αθηνα", "λογοσ", "λογοσ"]),
    ("か\u3099く がく", ["がく", "がく"]), ("한국어 שלום", ["한국어", "שלום"]), ("木々", ["木々"]),
])  # fmt: skip
def test_letters_that_look_alike_fold_alike(text, expected):
    assert folded_words(text) == expected


def test_every_look_alike_is_one_letter_of_the_script_it_imitates():
    forms = [*LATIN_FORMS.items(), *LOOK_ALIKES.items()]
    for letter, its_forms in forms:
        for form in its_forms:
            assert folded_words(f"x{form}x") == [f"x{letter}x"], unicodedata.name(form)
    everything = "".join(its_forms for _, its_forms in forms)
    assert len(set(everything)) == len(everything)
    # None is a Latin letter.
    for form, letters in LATIN.items():
        assert not form.isascii()
        assert letters.isascii()
        assert letters == letters.lower()
        assert unicodedata.category(form) in ("Lu", "Ll", "Lt", "Lm", "Lo", "So")


@given(st.text(max_size=60))
def test_folding_again_changes_nothing(text):
    folded = folded_words(text)
    assert all(word and not any(map(str.isspace, word)) for word in folded)
    assert folded_words(" ".join(folded)) == folded


@pytest.mark.parametrize(("text", "expected"), [
    ("The END, don’t", "the end don t"),
    ("w\u200bo\u200dr\u2060d s\u00ado\ufefft", "word sot"),
    ("caf\u00e9 cafe\u0301 na\u0308i\u0323ve", "cafe cafe naive"),
    ("ＦＵＬＬ 𝐛𝐨𝐥𝐝 ﬁnd x² Straße", "full bold find x2 strasse"),
    ("Mаrу Ηаs", "mary has"),
    ("w<b>or</b>d <i class='x'>one</i><br>two<br/>three", "word one two three class x"),
    ("a <y> 1 < 2 > 0", "a 1 2 0"),
    ("w<b title='1 > 0' x=\"'>\">or</b>d <i it's>one</i>", "word one title 1 0 x it s"),
    ("a<br/>b\U000e0063\U000e0064 e\U000e0066g", "a b eg cd f"),
    ("w\x01o\x00r\x7fd\x9f n\u3164e\uffa0x\ue000t\u2065s", "word nexts"),
    ("ꓮꓑ ɓǥⱥ ⲣⲟ 🅰🇧 ⓒ", "ap bga po ab c"),
    ("a&nbsp;b&amp;c &#8212; d", "a b c d"),
    (f"&#{5_000 * '0'}97;b &#{5_000 * '9'} c &#0; &#x{5_000 * '0'}64", "ab c d"),
    ("wo**r**d **bold** _under_score", "word bold under score"),
    ("exam-\nple exam- \r\n ple self-made", "example example self made"),
    ("3. And it\n[12] came 4\n3:16 to\n00:12:05 pass", "and it came 4 to pass"),
    ("(7) that 3rd\n4th", "that 3rd 4th"), ("1 2 3\n12a b\n**5** x", "12a b x"),
    ("one\r\ntwo\rthree\u2028four", "one two three four"),
    ("to<!-- x -->wn ha<wbr>ll <!-- never --> ends <!-- open", "town hall ends open x never"),
    ("", ""), ("\x1b[1mb\x1b[0mo\x9b3mld \x1b]8;;x\x1b\\l\x1b]8;;\x07ink", "bold link"),
])  # fmt: skip
def test_passage_words_fold_step_by_step(text, expected):
    assert passage_words(text) == expected.split()


def test_a_text_in_another_script_stays_readable_as_itself():
    for text in (
        "Все счастливые семьи похожи",
        "Ἐν ἀρχῇ ἦν ὁ λόγος",
        "自由 の 国",
        "เกิด มา",
    ):
        assert len(passage_words(text)) == len(text.split())
    assert passage_words("Наташа МИР") == passage_words("НАТАША мир")
    # A capital at the head of a word changes nothing.
    assert folded_words("Гора Нет Вас Зима Σοφία") == folded_words(
        "гора нет вас зима σοφία"
    )


GREEK = "Ἐν τῷ λιμένι ἡ ναῦς ἦν, καὶ ὁ δεσπότης αὐτῆς ἐκάθητο ἐπὶ τῆς ἀκτῆς, ὡς ᾔδει."
TURKISH = "İskelede ıssız bir kayık, kıyıda ağını onaran İhsan; ışık söndü."
GERMAN = "Draußen auf der Straße saß der Fischer, weiß wie Gries, und aß."


def turkish_capitals(text):
    return text.replace("i", "İ").replace("ı", "I").upper()


def capitals_without_accents(text):
    parts = unicodedata.normalize("NFD", text.upper())
    return "".join(c for c in parts if unicodedata.category(c) != "Mn")


@pytest.mark.parametrize("fold", [passage_words, folded_words])
@pytest.mark.parametrize(
    ("text", "capitals"),
    [
        (GREEK, str.upper),
        (GREEK, capitals_without_accents),
        (TURKISH, turkish_capitals),
        (GERMAN, str.upper),
        (GERMAN, lambda text: text.replace("ß", "ẞ").upper()),
    ],
)
def test_capitals_fold_as_small_letters(fold, text, capitals):
    assert fold(capitals(text)) == fold(text)


def test_greek_capitals_among_latin_letters_are_look_alikes():
    assert passage_words("ΗELLO ΝΟΤΕ") == ["hello", "note"]
    assert passage_words("δ ΗELLO") == ["δ", "hello"]


PIECES = st.sampled_from([
    *"aeZ9. -_*\n\r<>&;/[]():½²ªµßæøÞ÷ÿéK’—…–\"=¨´木각ⅧΗω🅰İﬁﬀ",
    "-\n", "- \n ", "\r\n", "\n3. ", "\n12:", "\u2010\n", "e\u0301", "\u200b", "\u00ad", "\u2028",
    "π", "ΗΝ", "ᾳ", "ΑΙ", "η\u0301", "ΗH",
    "\x85", "\x00", "\xa0", "\x01", "\x7f", "\x80", "\x9f", "\x1c", "\u3164", "\ue000",
    "\U000e0061", "<b>", "</b>", "<br>", "<x y>", "<b x='", "'>", "<i x=\"", "&nbsp;", "&amp;",
    "&lt;b&gt;", "&#13;", "аЕ", "ा", "٣", "word ", "1 ", "__", " é ", " _ ", "abcdefgÿ", "abcdefgh",
    "abcdefghi", "averylongwordofmorethansixteenbytes",
])  # fmt: skip
SOME_TEXTS = st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=5)


@settings(max_examples=examples(1_000))
@given(st.lists(PIECES, max_size=14).map("".join))
def test_passage_words_equal_the_oracle(oracle, text):
    assert passage_words(text) == oracle.folded(text)
    text = text.replace("木", "")  # a blank separates no letters of its script
    assert passage_words(with_gaps(text)) == oracle.folded(oracle.apart(text))


def spellings(keyed_texts):
    its = [keyed_texts.spelling(place) for place in range(len(keyed_texts.keys))]
    assert its[0] == b"\x00"
    return [
        b" ".join(its[first + 1 : last])
        for first, last in zip(keyed_texts.ends, keyed_texts.ends[1:], strict=False)
    ]


@settings(max_examples=examples(1_000))
@given(SOME_TEXTS)
def test_keyed_folded_texts_equal_passage_words(
    texts,
):
    plain = keyed(texts, "paper")
    folded, measured = (
        [spelled(read(text)) for text in texts] for read in (passage_words, words)
    )
    assert (
        spellings(keyed_folded(texts))
        == spellings(keyed_folded(texts, plain))
        == folded
    )
    assert keyed_folded(["the same"], same := keyed(["the same"], "paper")) is same
    changed, numbers, suspects = texts_changed_by_folding(texts, plain)
    assert spellings(changed) == [folded[number] for number in numbers]
    for number in set(range(len(texts))).difference(numbers):
        assert folded[number] == measured[number]
        assert number in suspects or with_gaps(texts[number]) == texts[number]


@settings(max_examples=examples(1_000, fast=50))
@given(SOME_TEXTS, st.sampled_from(["paper", "unicode"]))
def test_keyed_texts_have_their_words_characters_and_distinct_keys(texts, mode):
    result, expected = keyed(texts, mode), [words(text, mode) for text in texts]
    assert spellings(result) == list(map(spelled, expected))
    assert result.lengths().tolist() == list(map(len, expected))
    assert [its.tolist() for its in result.each()] == [
        keys_of(its).tolist() for its in expected
    ]
    inside = [place for place in range(len(result.keys)) if place not in result.ends]
    assert result.characters_per_word()[inside].tolist() == [
        len(word) for its in expected for word in its
    ]
    by_key = {}
    for place, key in enumerate(result.keys.tolist()):
        assert by_key.setdefault(key, result.spelling(place)) == result.spelling(place)
        assert (key >> 56 == LONG) == bool(result.is_long()[place])
        if key >> 56 != LONG:
            assert key == int.from_bytes(result.spelling(place), "little")


@pytest.mark.parametrize("letter", ["a", "é", "_", "木"])
@pytest.mark.parametrize("mode", ["paper", "unicode"])
def test_a_word_of_any_length_is_a_word(letter, mode):
    lengths = [255, 256, 257, 263, 264, 265, 600, 20_000]
    texts = [
        " ".join((letter * length, f"{letter * length}b", "an end"))
        for length in lengths
    ]
    result = keyed(texts, mode)
    assert spellings(result) == [spelled(words(text, mode)) for text in texts]
    kept = {result.spelling(place) for place in range(len(result.keys))}
    assert len(set(result.keys.tolist())) == len(kept)
