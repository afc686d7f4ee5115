from itertools import combinations, count, pairwise

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.books.excerpts import Row, cheapest_cuts, cut
from pytest_memleak.books.sentences import cut_paragraph
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.scoring.words import words


def manuscript(*chapters):
    """A manuscript of chapters, each a list of paragraphs; titles are their numbers."""
    titled = tuple(
        Chapter(str(number), tuple(one)) for number, one in enumerate(chapters)
    )
    return Manuscript("A Book", "An Author", titled)


def paragraph(count, *, sentence=10):
    """So many words, no two alike, in sentences of so many words."""
    tokens = [f"w{number}" for number in range(count)]
    groups = [tokens[at : at + sentence] for at in range(0, count, sentence)]
    return " ".join(" ".join(group).capitalize() + "." for group in groups)


def sizes(excerpts, mode="paper"):
    return [len(words(excerpt.text, mode)) for excerpt in excerpts]


def fit(excerpts, mode="paper"):
    return all(300 <= size <= 500 for size in sizes(excerpts, mode))


def test_ids_order_chapters_blank_lines_and_words():
    first, second = cut(manuscript([paragraph(200), paragraph(150)], [paragraph(400)]))
    assert (first.id, second.id) == ("p_id1", "p_id2")
    assert (first.chapter, second.chapter) == ("0", "1")
    assert first.text == f"{paragraph(200)}\n\n{paragraph(150)}"
    assert first.instruction is None
    # Line breaks within a paragraph stay.
    verse = "\n".join(paragraph(10) for _ in range(40))
    assert cut(manuscript([verse]))[0].text == verse
    excerpts = cut(
        manuscript(["* * *", paragraph(300), "* * *"], ["—"], [paragraph(300)])
    )
    assert [excerpt.text.count("*") for excerpt in excerpts] == [6, 0]
    assert "—" in excerpts[0].text
    text = "雨が降った。" * 200
    book = manuscript([text])
    assert fit(cut(book, mode="unicode"), "unicode")
    with pytest.raises(
        BookError, match="contains no words in word mode 'paper'"
    ) as caught:
        cut(book, place="book 'x'")
    assert caught.value.location == "book 'x'"
    assert 'word_mode = "unicode"' in caught.value.hint


SENTENCE = (
    "On that day he had gone with Mr. Holmwood and J. Seward to the house of Dr. Van"
)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (paragraph(1_200, sentence=35), (".",)),
        (f"{SENTENCE} Helsing by the river. " * 100, ("by the river.",)),
        (
            "“" + paragraph(1_200) + "”",
            (".", "”"),
        ),  # a speech, within its quotation marks
        (paragraph(1_700, sentence=1_700), ("",)),  # a sentence, between words
    ],
    ids=range(4),
)
def test_a_long_paragraph_is_cut_at_sentence_ends(text, ends):
    excerpts = cut(manuscript([text]))
    assert fit(excerpts)
    assert all(excerpt.text.endswith(ends) for excerpt in excerpts)
    assert " ".join(excerpt.text for excerpt in excerpts) == text.strip()


@pytest.mark.parametrize(
    ("chapters", "expected"),
    [
        ([[310, 490]], [310, 490]),  # ends of paragraphs come before nearer sizes
        (
            [[250, 400, 250]],
            None,
        ),  # paragraphs that fit nowhere are cut at sentence ends, too
        *(
            ([row], None)
            for row in ([426, 35, 557], [233, 244, 563], [15, 50, 498, 486])
        ),
        (
            [[700], [50], [700]],
            None,
        ),  # a short chapter joins a neighbor, a long one none
        (
            [[300], [300], [500]],
            [300, 300, 500],
        ),  # a chapter of 300 words keeps to itself
        ([[90]] * 50, None),
        ([[7]] * 300, None),
        ([[10, 20], [30]], [60]),  # a book of under 300 words is one excerpt
    ],
)
def test_chapters_are_cut_into_excerpts_of_300_to_500_words(chapters, expected):
    counts = sizes(
        cut(manuscript(*([paragraph(n) for n in chapter] for chapter in chapters)))
    )
    assert sum(counts) == sum(map(sum, chapters))
    assert counts == expected or (
        expected is None and 300 <= min(counts) <= max(counts) <= 500
    )


@pytest.mark.parametrize("count", [501, 550, 599])
def test_a_chapter_that_cannot_be_divided_gives_the_longest_short_excerpts(count):
    found = sizes(cut(manuscript([paragraph(count, sentence=1)])))
    assert len(found) == 2
    assert max(found) <= 500
    assert min(found) >= count - 302


COUNTS = st.one_of(st.integers(0, 120), st.integers(0, 900), st.just(250))
CHAPTERS = st.lists(st.lists(COUNTS, max_size=8), min_size=1, max_size=5)


def random_book(lengths, sentence, rng):
    """Make chapters of paragraphs of so many words, in sentences of `sentence` words."""
    numbers = count(1)

    def text(size):
        tokens = []
        for position in range(size):
            token = f"w{next(numbers)}"
            tokens.append(token.capitalize() if position % sentence == 0 else token)
            if position % sentence == sentence - 1:
                tokens[-1] += rng.choice([".", "!”", "?", "…"])
        return " ".join(tokens) or "* * *"

    return manuscript(*[[text(size) for size in sizes] for sizes in lengths])


def chapters_of_words(book):
    chapter_of = {}
    for index, chapter in enumerate(book.chapters):
        for paragraph in chapter.paragraphs:
            chapter_of |= dict.fromkeys(words(paragraph), index)
    return chapter_of


@settings(max_examples=examples(60))
@given(CHAPTERS, st.integers(1, 60), st.randoms(use_true_random=False))
def test_excerpts_of_random_books_keep_order_size_and_chapters(lengths, sentence, rng):
    book = random_book(lengths, sentence, rng)
    chapter_of = chapters_of_words(book)
    long = {index for index, one in enumerate(lengths) if sum(one) >= 300}
    if not chapter_of:
        return
    excerpts = cut(book)
    assert [word for one in excerpts for word in words(one.text)] == list(chapter_of)
    assert [one.id for one in excerpts] == [
        f"p_id{n}" for n in range(1, len(excerpts) + 1)
    ]
    for excerpt in excerpts:
        found = words(excerpt.text)
        assert 0 < len(found) <= 500
        assert len({chapter_of[word] for word in found} & long) <= 1


@pytest.mark.parametrize("lead", ["HAMLET.", "The Second Part", "He said:", "1"])
def test_excerpts_neither_end_on_a_bare_speaker_nor_are_scraps(lead):
    speeches = [one for _ in range(40) for one in (lead, paragraph(95))]
    excerpts = cut(manuscript(speeches))
    assert fit(excerpts)
    assert not any(excerpt.text.endswith(lead) for excerpt in excerpts)
    # Paragraphs of 416 words, each a sentence of its own, with 84 words among them.
    counts = [416] * 16
    counts[8:8] = [84]
    counts[4:4] = [480]
    bare = [
        " ".join(f"{at}w{number}" for number in range(n)) for at, n in enumerate(counts)
    ]
    assert fit(cut(manuscript(bare)))


def parts(text, **settings):
    pieces = cut_paragraph(text, **{"mode": "paper", "longest": 500, **settings})
    return [text[piece.start : piece.end].strip() for piece in pieces]


@pytest.mark.parametrize("sentences", [
    ["It rained.", "“Did it?” said Mr. Holmwood… He said (quietly. In Oct. 1893): “Yes. I went.”",
     "It cost 5. No. 7 of Louis XIV. Ah! Dufour paid J. Seward, of the U.S. Navy.", "He did it."],
    ["Er kam am 3. Mai, z. B. mit Hr. Meier und Nr. 5 usw. Dann kam er.",
     "„Halt! Steh still!“ rief er.", "Sie sagte: »Nein. Nie mehr.«", "Er ging."],
    ["M. Dupont et Mme. Bovary arrivent.", "« Oui ! Je viens. » dit M. Homais.", "Il part donc."],
    ["И. С. Тургенев жил в г. Москве.", "«Иди сюда! Скорее!» крикнул он.", "Он ушел домой."],
    ["सभी मनुष्य स्वतंत्र हैं।", "क्या यह सच है?", "डॉ. शर्मा ने कहा॥", "वह गया।"],
    ["هل هذا صحيح يا صديقي؟", "نعم، قال د. أحمد ذلك.", "ثم ذهب إلى البيت."],
    ["یہ ایک کتاب ہے۔", "کیا یہ سچ ہے؟", "وہ چلا گیا۔"], ["ሰው ሁሉ ነጻ ነው።", "እውነት ነው፧", "ሄደ።"],
    ["Είναι αλήθεια αυτό;", "Ναι, είναι· το ξέρω.", "Έφυγε τότε αυτός."],
    ["Բոլոր մարդիկ ազատ են։", "Նա գնաց տուն։"], ["လူတိုင်းသည် လွတ်လပ်သည်။", "သူသွားသည်။"],
], ids=range(11))  # fmt: skip
def test_a_sentence_ends_at_the_marks_of_its_language(sentences):
    assert parts(" ".join(sentences), mode="unicode") == sentences


def test_sentences_end_without_spaces_in_some_scripts():
    sentences = [
        "雨が降った。",
        "「本当？」と言った。",
        "「はい。」",
        "「いいえ！」と答えた。",
        "他走了！",
    ]
    assert parts("".join(sentences), mode="unicode") == sentences
    text = "x" * 100_000  # without any border
    assert parts(text, longest=0) == [text]


def test_sentences_stay_whole_beside_a_short_excerpt():
    sentences = [
        " ".join(f"s{number}w{n}" for n in range(280)).capitalize() + "."
        for number in range(4)
    ]
    assert [
        excerpt.text for excerpt in cut(manuscript([" ".join(sentences)]))
    ] == sentences
    # In a sentence that is too long, doubtful ends come before any place between words.
    text = "It was Dr. Who on (of them. All) No. 5" + " word" * 30
    pieces = cut_paragraph(text, mode="paper", longest=20)
    assert [text[: piece.end].rsplit(maxsplit=1)[-1] for piece in pieces[:3]] == [
        "Dr.",
        "them.",
        "No.",
    ]
    assert not any(piece.ends_sentence for piece in pieces[:-1])


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        *((run, "paper") for run in ("word, ", "word—", "word.")),
        ("漢", "unicode"),
        ("ก", "unicode"),
    ],
)
def test_a_sentence_that_is_too_long_is_cut_between_words(text, mode):
    text *= 1_500
    pieces = cut_paragraph(text, mode=mode, longest=500)
    assert max(piece.words for piece in pieces) <= 50
    assert not any(piece.ends_sentence for piece in pieces[:-1])
    joined = [word for one in pieces for word in words(text[one.start : one.end], mode)]
    assert joined == words(text, mode)


TOKENS = [
    "word",
    "Mr.",
    "U.S.",
    "end.",
    "“So?”",
    "漢字。",
    "a—b",
    "Ünï",
    "5.5",
    "...",
    "o'er",
    "İ",
]
PROSE = st.lists(st.sampled_from([*TOKENS, "\n"]), max_size=60)


@given(PROSE, st.sampled_from([" ", "", "\n"]), st.sampled_from(["paper", "unicode"]))
def test_cut_paragraphs_keep_every_character_and_word(tokens, separator, mode):
    text = separator.join(tokens)
    pieces = cut_paragraph(text, mode=mode, longest=5)
    assert "".join(text[piece.start : piece.end] for piece in pieces) == text
    assert all(one.end == other.start for one, other in pairwise(pieces))
    joined = [word for one in pieces for word in words(text[one.start : one.end], mode)]
    assert joined == words(text, mode)
    counts = [len(words(text[piece.start : piece.end], mode)) for piece in pieces]
    assert [piece.words for piece in pieces] == counts


PRICES = st.sampled_from([0.0, 40.0, 120.0])
UNIT = st.tuples(st.integers(1, 9), PRICES, st.integers(0, 1), st.booleans())
UNITS = st.lists(UNIT, min_size=1, max_size=8)


def price_of(found, units, long_chapters, *, shortest, longest, allow_short):
    """The price of a way to cut, said again from the module's own description; None: no way."""
    total = 0.0
    for first, end in found:
        size = sum(words for words, _, _ in units[first:end])
        chapters = [chapter for _, _, chapter in units[first:end]]
        if (size > longest and end - first > 1) or (
            size < shortest and not allow_short
        ):
            return None
        if len(set(chapters)) > 1 and len(long_chapters & set(chapters)) > 1:
            return None
        middle, reach = (shortest + longest) / 2, (longest - shortest) / 2
        if size < shortest:
            total += 1000 + 10 * (shortest - size)
        else:
            total += 10 * ((min(size, longest) - middle) / reach) ** 2
        total += 60 * (chapters[-1] - chapters[0])
        total += units[end - 1][1] if end < len(units) else 0.0
    return total


def all_ways(units):
    """Yield all ways to cut a row of so many units."""
    for cuts in range(units):
        for inner in combinations(range(1, units), cuts):
            yield list(pairwise([0, *inner, units]))


@given(UNITS, st.booleans())
def test_cheapest_cuts_cost_the_least_of_all_ways(drawn, allow_short):
    chapter, units = 0, []
    for size, price, step, _ in drawn:
        chapter += step
        units.append((size, price, chapter))
    long_chapters = frozenset(
        number
        for number, (*_, is_long) in zip(range(chapter + 1), drawn, strict=False)
        if is_long
    )
    sizes = {"shortest": 4, "longest": 8, "allow_short": allow_short}
    words_of, prices_of, chapters_of = zip(*units, strict=True)
    given_row = Row(words_of, prices_of, chapters_of, long_chapters)
    found = cheapest_cuts(given_row, **sizes)
    prices = [
        price_of(way, units, long_chapters, **sizes) for way in all_ways(len(units))
    ]
    cheapest = min((one for one in prices if one is not None), default=None)
    if cheapest is None:
        assert found is None
    else:
        assert price_of(found, units, long_chapters, **sizes) == pytest.approx(cheapest)
