"""Words in both modes, docs/method.md: against an oracle, and uniseg in fifteen scripts."""

import re
import unicodedata
from itertools import accumulate

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import full
from uniseg.graphemecluster import grapheme_clusters

from pytest_memleak.scoring.words import normalized, words

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


@given(TEXTS, st.sampled_from(["paper", "unicode"]))
@settings(max_examples=examples(200))
def test_words_equal_the_oracle_in_each_mode(oracle, text, mode):
    assert words(text, mode) == oracle.words(text, mode)


@pytest.mark.parametrize("step", [31, full(1)])
def test_single_characters_equal_the_oracle_in_both_modes(oracle, step):
    for code in range(0, 0x30000, step):
        text = f"a{chr(code)}b {chr(code)}"
        for mode in ("paper", "unicode"):
            assert words(text, mode) == oracle.words(text, mode), (mode, hex(code))


def test_a_megabyte_without_a_space_is_one_word():
    assert len(words("木a" * 500_000)) == 1


# "All human beings are born free and equal in dignity and rights" (UDHR, article 1), or
# so.
SCRIPTS = {
    "Latin": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια.",
    "Cyrillic": "Все люди рождаются свободными и равными в своём достоинстве и правах.",
    "Hebrew": "כׇּל בְּנֵי אָדָם נוֹלְדוּ בְּנֵי חוֹרִין וְשָׁוִים בְּעֶרְכָּם",
    "Arabic": "يُولَدُ جَمِيعُ النَّاسِ أَحْرَارًا مُتَسَاوِينَ فِي الكَرَامَةِ وَالحُقُوقِ",
    "Devanagari": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।",
    "Bengali": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "Tamil": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "Telugu": "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులు.",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในศักดิ์ศรี ทำน้ำ",
    "Lao": "ມະນຸດເກີດມາມີສິດເສລີພາບ ແລະ ສະເໝີໜ້າກັນໃນທຸກໆດ້ານ ນ້ຳ",
    "Khmer": "មនុស្សទាំងអស់ កើតមកមានសេរីភាព និងសមភាព",
    "Burmese": "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် မွေးဖွားလာသူများ ဖြစ်သည်။",
    "Han": "人人生而自由，在尊严和权利上一律平等。",
    "Kana": "すべての人間は、生まれながらにして自由であり、ガギグ パピプ",
    "Hangul": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი",
}
# What any edition of ICU's dictionaries has.
UNSPACED = {
    "Thai": "มนุษย์ เกิด อิสระ ศักดิ์ศรี น้ำ", "Lao": "ມະນຸດ ສິດ ແລະ", "Khmer": "មនុស្ស មាន សេរីភាព",
    "Burmese": "လူ တူညီ", "Han": "自由 尊严 权利 一律 平等", "Kana": "すべて の 人間 は 自由",
}  # fmt: skip
# The vowel am, which NFKC decomposes, behind a letter that may have it.
AM = re.compile(
    "([\u0e01-\u0e2e][\u0e31-\u0e4e]*?)(?:\u0e4d([\u0e48-\u0e4b]?)\u0e32)"
    "|([\u0e81-\u0eae][\u0eb1-\u0ece]*?)(?:\u0ecd([\u0ec8-\u0ecb]?)\u0eb2)"
)


def as_it_is_counted(text):
    text = unicodedata.normalize("NFKC", text)
    return "".join(c for c in text if unicodedata.category(c) != "Cf").lower()


def is_mark(char):
    return unicodedata.category(char).startswith("M")


def check(text):
    text = AM.sub(
        lambda am: am[1] + am[2] + "\u0e33" if am[1] else am[3] + am[4] + "\u0eb3",
        as_it_is_counted(text),
    )
    borders = {0, *accumulate(map(len, grapheme_clusters(text)))}
    end = 0
    for word in words(text, "unicode"):
        # A run goes on behind blanks.
        place = re.compile(r"\s*".join(map(re.escape, word))).search(text, end)
        # What stands between words has no letter, and no mark that a letter carries.
        assert not any(c.isalnum() for c in text[end : place.start()])
        assert not is_mark(word[0])
        assert not (end and is_mark(text[end]))
        end = place.end()
        assert {place.start(), end} <= borders
    assert not any(c.isalnum() for c in text[end:])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_words_split_no_grapheme_and_lose_no_mark(script, form):
    check(unicodedata.normalize(form, SCRIPTS[script]))


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_are_what_stands_between_spaces_or_what_icu_knows(script):
    text = as_it_is_counted(SCRIPTS[script])
    if script not in UNSPACED:
        assert words(text, "unicode") == [word.strip(".,।॥") for word in text.split()]
    else:
        assert set(UNSPACED[script].split()) <= set(words(text, "unicode"))


@pytest.mark.parametrize(("text", "expected"), [
    ("Кот é _", ["кот", "é"]), ("un\u00adbeliev\u200bable", ["unbelievable"]),
    ("ﬁne ½", ["fine", "1", "2"]), ("人々 is 木", ["人々", "is", "木"]),
    ("abc木def", ["abc", "木", "def"]), ("世界3人権", ["世界", "3", "人権"]),
    ("한국어", ["한국어"]), ("\u212aelvin", ["kelvin"]), ("aΣーa", ["aς", "ー", "a"]),
    # Marks stay with their letters.
    ("हिन्दी में", ["हिन्दी", "में"]), ("שָׁלוֹם", ["שָׁלוֹם"]), ("السَّلَامُ", ["السَّلَامُ"]),
    ("ໂລກ", ["ໂລກ"]), ("ទឹក", ["ទឹក"]), ("မြန်မာ", ["မြန်မာ"]), ("น้ำ; น้ํา; นํ้า", ["น้ำ"] * 3),
    ("ນ້ຳ", ["ນ້ຳ"]), ("กิn", ["กิ", "n"]), ("nกิ", ["n", "กิ"]), ("ปี๒๕๕๐ที่", ["ปี", "๒๕๕๐", "ที่"]),
    # Runs go on behind a blank and a line's end, but not behind an empty line.
    ("自\n由", ["自由"]), ("自 \r\n\u3000由", ["自由"]), ("自\n \n由", ["自", "由"]),
    ("自\u200b由", ["自由"]),
    ("a\u0301\u20dd-\u0301b \u0301", ["á\u20dd", "b"]),
    ("_\u0301 _\u0301a", ["_\u0301a"]), ("か\u3099", ["が"]),
    ("木\U000e0100木", ["木\U000e0100", "木"]),
])  # fmt: skip
def test_unicode_mode_keeps_every_script_and_mark(text, expected):
    assert words(text, "unicode") == expected


LETTERS = st.sampled_from(sorted({c for text in SCRIPTS.values() for c in text}))
ANY = st.text(
    alphabet=LETTERS | st.sampled_from("\u200d\u200c\u0e4d\u0e33\u0eb3\u0ecd_ a")
)
MARKS = st.sampled_from("\u0301\u0323\u0344\u0345\u05b0\u0f71\u0f73")


@given(ANY)
def test_mixtures_of_fifteen_scripts_lose_no_letter(text):
    check(text)


@given(
    st.text(
        alphabet=LETTERS | st.characters(categories=["Mn", "Mc", "Me"]), max_size=200
    )
    | st.tuples(
        st.sampled_from("aé\u1ea5\u0915\u2126"), st.text(MARKS, min_size=40)
    ).map("".join)
)
def test_many_marks_are_put_in_order_as_unicode_does_it(text):
    for form in ("NFC", "NFKC"):
        assert normalized(text, form) == unicodedata.normalize(form, text)
