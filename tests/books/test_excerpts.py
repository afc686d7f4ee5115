from __future__ import annotations

import random

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_memleak.books.excerpts import cut
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.scoring.words import words


def manuscript(*chapters):
    """A manuscript of chapters, each a list of paragraphs; titles are their numbers."""
    return Manuscript(
        "A Book",
        "An Author",
        tuple(Chapter(str(number), tuple(one)) for number, one in enumerate(chapters)),
    )


def paragraph(count, *, sentence=10):
    """So many words, no two alike, in sentences of so many words."""
    tokens = [f"w{number}" for number in range(count)]
    groups = [tokens[at : at + sentence] for at in range(0, count, sentence)]
    return " ".join(" ".join(group).capitalize() + "." for group in groups)


def sizes(excerpts, mode="paper"):
    return [len(words(excerpt.text, mode)) for excerpt in excerpts]


def test_ids_order_chapters_and_blank_lines():
    first, second = cut(manuscript([paragraph(200), paragraph(150)], [paragraph(400)]))
    assert (first.id, second.id) == ("p_id1", "p_id2")
    assert (first.chapter, second.chapter) == ("0", "1")
    assert first.text == f"{paragraph(200)}\n\n{paragraph(150)}"
    assert first.instruction is None


def test_line_breaks_within_a_paragraph_stay():
    verse = "\n".join(paragraph(10) for _ in range(40))
    assert cut(manuscript([verse]))[0].text == verse


def test_paragraph_ends_are_preferred_to_nearer_sizes():
    assert sizes(cut(manuscript([paragraph(310), paragraph(490)]))) == [310, 490]


def test_a_long_paragraph_is_cut_at_sentence_ends():
    excerpts = cut(manuscript([paragraph(1_200, sentence=35)]))
    assert all(300 <= size <= 500 for size in sizes(excerpts))
    assert all(excerpt.text.endswith(".") for excerpt in excerpts)
    assert " ".join(excerpt.text for excerpt in excerpts) == paragraph(1_200, sentence=35)


def test_titles_and_initials_end_no_sentence():
    sentence = "On that day he had gone with Mr. Holmwood and J. Seward to the house of Dr. Van"
    excerpts = cut(manuscript([f"{sentence} Helsing by the river. " * 100]))
    assert all(excerpt.text.endswith("by the river.") for excerpt in excerpts)


def test_a_long_speech_is_cut_within_its_quotation_marks():
    excerpts = cut(manuscript(["“" + paragraph(1_200) + "”"]))
    assert all(300 <= size <= 500 for size in sizes(excerpts))
    assert all(excerpt.text.endswith((".", "”")) for excerpt in excerpts)


def test_a_sentence_of_over_500_words_is_cut_between_words():
    sentence = paragraph(1_700, sentence=1_700)
    excerpts = cut(manuscript([sentence]))
    assert all(300 <= size <= 500 for size in sizes(excerpts))
    assert " ".join(excerpt.text for excerpt in excerpts) == sentence


def test_paragraphs_that_fit_nowhere_are_cut_at_sentence_ends_too():
    assert min(sizes(cut(manuscript([paragraph(250), paragraph(400), paragraph(250)])))) >= 300


def test_short_chapters_join_a_neighbour_and_long_ones_never_each_other():
    excerpts = cut(manuscript([paragraph(700)], [paragraph(50)], [paragraph(700)]))
    assert sum(sizes(excerpts)) == 1_450
    assert all(300 <= size <= 500 for size in sizes(excerpts))


def test_a_chapter_of_300_words_keeps_to_itself():
    assert sizes(cut(manuscript([paragraph(300)], [paragraph(300)], [paragraph(500)]))) == [
        300,
        300,
        500,
    ]


def test_many_short_chapters_are_merged():
    excerpts = cut(manuscript(*[[paragraph(90)] for _ in range(50)]))
    assert all(300 <= size <= 500 for size in sizes(excerpts))


def test_a_book_under_300_words_is_one_excerpt():
    assert sizes(cut(manuscript([paragraph(10), paragraph(20)], [paragraph(30)]))) == [60]


@pytest.mark.parametrize("count", [501, 550, 599])
def test_a_chapter_that_cannot_be_divided_gives_the_longest_short_excerpts(count):
    found = sizes(cut(manuscript([paragraph(count, sentence=1)])))
    assert len(found) == 2
    assert max(found) <= 500
    assert min(found) >= count - 302


def test_paragraphs_without_words_stay_in_the_text():
    excerpts = cut(manuscript(["* * *", paragraph(300), "* * *"], ["—"], [paragraph(300)]))
    assert [excerpt.text.count("*") for excerpt in excerpts] == [6, 0]
    assert "—" in excerpts[0].text


def test_words_are_counted_in_the_mode():
    text = "雨が降った。" * 200
    book = manuscript([text])
    assert all(300 <= size <= 500 for size in sizes(cut(book, mode="unicode"), "unicode"))
    with pytest.raises(BookError, match="contains no words in word mode 'paper'") as caught:
        cut(book, place="book 'x'")
    assert caught.value.location == "book 'x'"
    assert 'word_mode = "unicode"' in caught.value.hint


@pytest.mark.parametrize("chapters", [[], [[]], [["..."], ["—"]]])
@pytest.mark.parametrize("mode", ["paper", "unicode"])
def test_a_book_of_no_words_is_refused(chapters, mode):
    with pytest.raises(BookError, match="contains no words"):
        cut(manuscript(*chapters), mode=mode)


CHAPTERS = st.lists(
    st.lists(
        st.one_of(st.integers(0, 120), st.integers(0, 900), st.just(250)), min_size=0, max_size=8
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=examples(60))
@given(CHAPTERS, st.integers(1, 60), st.randoms(use_true_random=False))
def test_the_rules_hold_whatever_the_book(lengths, sentence, rng: random.Random):
    number = 0

    def text(count):
        nonlocal number
        tokens = []
        for position in range(count):
            number += 1
            token = f"w{number}"
            tokens.append(token.capitalize() if position % sentence == 0 else token)
            if position % sentence == sentence - 1:
                tokens[-1] += rng.choice([".", "!”", "?", "…"])
        return " ".join(tokens) or "* * *"

    book = manuscript(*[[text(count) for count in one] for one in lengths])
    chapter_of = {
        word: index
        for index, chapter in enumerate(book.chapters)
        for one in chapter.paragraphs
        for word in words(one)
    }
    long = {index for index, one in enumerate(lengths) if sum(one) >= 300}
    if not chapter_of:
        return
    excerpts = cut(book)
    assert [word for one in excerpts for word in words(one.text)] == list(chapter_of)
    assert [one.id for one in excerpts] == [f"p_id{n}" for n in range(1, len(excerpts) + 1)]
    for excerpt in excerpts:
        found = words(excerpt.text)
        assert 0 < len(found) <= 500
        assert len({chapter_of[word] for word in found} & long) <= 1


@settings(max_examples=examples(60))
@given(
    st.lists(
        st.one_of(st.integers(1, 60), st.integers(230, 299), st.integers(300, 900)), min_size=4
    ).filter(lambda counts: sum(counts) >= 700),
    st.integers(5, 20),
)
def test_a_chapter_of_many_sentences_has_no_short_excerpt(counts, sentence):
    excerpts = cut(manuscript([paragraph(count, sentence=sentence) for count in counts]))
    assert all(300 <= size <= 500 for size in sizes(excerpts))


@pytest.mark.parametrize("lead", ["HAMLET.", "The Second Part", "He said:", "1"])
def test_no_excerpt_ends_on_a_bare_speaker_or_a_heading(lead):
    speeches = [one for _ in range(40) for one in (lead, paragraph(95))]
    excerpts = cut(manuscript(speeches))
    assert all(300 <= size <= 500 for size in sizes(excerpts))
    assert not any(excerpt.text.endswith(lead) for excerpt in excerpts)


def test_a_long_chapter_without_punctuation_has_no_scrap():
    # Paragraphs of 416 words, each a sentence of its own, with 84 words among them.
    bare = [" ".join(f"w{number}" for number in range(416)) for _ in range(16)]
    bare.insert(8, " ".join(f"v{number}" for number in range(84)))
    bare.insert(4, " ".join(f"u{number}" for number in range(480)))
    excerpts = cut(manuscript(bare))
    assert all(300 <= size <= 500 for size in sizes(excerpts))


def test_chapters_of_a_few_words_share_excerpts():
    excerpts = cut(manuscript(*([paragraph(7)] for _ in range(300))))
    assert all(300 <= size <= 500 for size in sizes(excerpts))
