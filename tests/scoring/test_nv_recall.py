"""Near-verbatim recall, docs/method.md, and the matching blocks that it rests on."""

import difflib
import random

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import full
from scored_books import book_of, prose

from pytest_memleak.errors import BookError, RecordsError
from pytest_memleak.records import Generation
from pytest_memleak.scoring import matching_blocks as module
from pytest_memleak.scoring.matching_blocks import EqualRun, matching_blocks
from pytest_memleak.scoring.nv_recall import (
    NearSpan,
    NearVerbatimTally,
    near_verbatim,
    near_verbatim_spans,
)


def text_of(words, seed=0, vocabulary=400):
    rng = random.Random(seed)
    return [f"word{rng.randrange(vocabulary)}" for _ in range(words)]


def by_difflib(a, b):
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return [tuple(block) for block in matcher.get_matching_blocks()][:-1]


def literal_blocks(book, text):
    """Section 8's blocks after pass 1 and after pass 2, as (i, j, i_end, j_end, matched)."""
    blocks = [(i, j, i + n, j + n, n) for i, j, n in by_difflib(book, text)]
    passes = []
    for gap, align, shortest in ((2, 1, 20), (10, 3, 100)):
        at = 0
        while at + 1 < len(blocks):
            i, j, i_end, j_end, n = blocks[at]
            next_i, next_j, next_i_end, next_j_end, next_n = blocks[at + 1]
            in_book, in_text = next_i - i_end, next_j - j_end
            if max(in_book, in_text) <= gap and abs(in_book - in_text) <= align:
                blocks[at : at + 2] = [(i, j, next_i_end, next_j_end, n + next_n)]
            else:
                at += 1
        blocks = [block for block in blocks if block[4] >= shortest]
        passes.append(list(blocks))
    return passes


def flat(block):
    return (
        block.book_start,
        block.text_start,
        block.book_end,
        block.text_end,
        block.words,
    )


# Words copied before each edit, left out, put in.
EDITS = st.lists(st.tuples(*map(st.integers, (0, 0, 0), (40, 12, 12))), max_size=30)


@settings(max_examples=examples(600, fast=30))
@given(st.integers(0, 50), st.sampled_from([2, 5, 30, 400]), EDITS, st.integers(0, 60))
def test_near_verbatim_equals_section_8_read_literally(seed, vocabulary, edits, start):
    book = text_of(700, seed, vocabulary)
    fresh = iter(text_of(400, seed + 1, vocabulary))
    text, at = [], start
    for copied, left_out, put_in in edits:
        text += book[at : at + copied]
        text += [next(fresh) for _ in range(put_in)]
        at += copied + left_out
    first, second = literal_blocks(book, text)
    result = near_verbatim(" ".join(book), " ".join(text))
    matched = sum(block[4] for block in second)
    assert [flat(block) for block in result.blocks] == second
    assert result.nv_recall == matched / len(book)
    assert (result.missing, result.additional) == (
        len(book) - matched,
        len(text) - matched,
    )
    spans = near_verbatim_spans(" ".join(book), " ".join(text))
    assert [flat(span) for span in spans] == first
    assert [sum(run.words for run in span.runs) for span in spans] == [
        b[4] for b in first
    ]


def test_marks_and_capitals_change_no_recall():
    book = "A, b\u00a0c\u200bd — É " * 30
    result = near_verbatim(book, book.lower())
    assert [len(result.blocks), result.nv_recall, result.missing] == [1, 1.0, 0]
    assert result.raw == ((0, 0, 120),)


SENTENCE = "“Well, my dear,” said the officer of Harriet’s, finally; first a coat, then an ice."
PARAGRAPH = " ".join(f"{SENTENCE} number{n}" for n in range(20))
LOOK_ALIKE = str.maketrans("aeocpxySHKT", "аеосрхуЅНΚТ")


def test_changed_names_leave_a_long_block():
    for name in ("Lucy", "the Admiral"):
        result = near_verbatim(PARAGRAPH, PARAGRAPH.replace("Harriet", name))
        assert [(b.book_start, b.words) for b in result.blocks] == [(0, 300)]
        assert result.missing == 20
    text = [
        f"other{n}" if n % 20 == 10 else word
        for n, word in enumerate(PARAGRAPH.split())
    ]
    text = "\u200b".join(" ".join(text).replace(",", "").replace("fi", "ﬁ")).translate(
        LOOK_ALIKE
    )
    assert near_verbatim(PARAGRAPH, text).nv_recall == 1 - 16 / 320
    assert not set(text.split()) & set(PARAGRAPH.split())


def test_an_empty_text_recalls_nothing_and_a_book_without_words_raises_an_error():
    assert near_verbatim("a book", " ").nv_recall == 0
    with pytest.raises(BookError, match="no words"):
        near_verbatim(" — ", "text")


def recall_of(book, *generations):
    tally = NearVerbatimTally(book)
    for generation in generations:
        tally.add(Generation(*generation))
    return tally.recall()


def test_spans_lie_in_the_prompted_excerpt():
    first, second = text_of(100, 1), text_of(60, 2)
    book = book_of(" ".join(first), " ".join(second), "x")
    near = [*first[10:25], "changed", *first[26:41]]
    recall = recall_of(
        book,
        ("p_id2", 1, " ".join(second[20:50])),
        ("p_id1", 3, " ".join(near)),
        ("p_id2", 0, " ".join(second[:19])),  # one word short
        ("p_id1", 0, " ".join(second)),  # another excerpt's
        ("p_id3", 0, ""),
        ("p_id2", 2, " ".join(second[30:55])),
    )
    assert recall.words == 161
    assert recall.nv_recall == (30 + 35) / 161
    assert recall.longest_span == NearSpan(30, 10, 41, "p_id1", 3)


def test_a_tally_without_spans_recalls_nothing():
    recall = recall_of(book_of("some words", ""), ("p_id2", 0, "some words"))
    assert (recall.longest_span, recall.nv_recall) == (NearSpan(0), 0)
    with pytest.raises(RecordsError, match="p_id9"):
        recall_of(book_of("some words"), ("p_id9", 0, "x"))
    # No text is in any representation.
    book = " ".join(f"zebra{n}" for n in range(200))
    assert "zebra" not in repr(
        (near_verbatim(book, book), recall_of(book_of(book), ("p_id1", 0, book)))
    )


@pytest.fixture(scope="module", params=[0, 30], ids="difflib_up_to_{}".format)
def own_steps(request):
    """Takes the module's own steps where it would leave small texts to difflib."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SMALL", request.param)
        yield


@st.composite
def two_texts(draw):
    """Two texts over a small alphabet; the second perhaps cut and pasted from the first."""
    letters = st.sampled_from("abcdefgh"[: draw(st.integers(1, 8))])
    a = draw(st.lists(letters, max_size=50))
    if not a or draw(st.booleans()):
        return a, draw(st.lists(letters, max_size=50))
    pieces = draw(
        st.lists(
            st.tuples(st.integers(0, len(a) - 1), st.integers(1, 12), letters),
            max_size=6,
        )
    )
    return a, [
        word for at, words, then in pieces for word in [*a[at : at + words], then]
    ]


@settings(max_examples=examples(2_000, fast=100))
@given(two_texts())
def test_matching_blocks_equal_difflibs(own_steps, texts):
    assert matching_blocks(*texts) == by_difflib(*texts)


@pytest.mark.parametrize("alphabet", [2, 3, full(10), 200])
@pytest.mark.parametrize("share_changed", [0.02, 0.3, 1.0])
def test_matching_blocks_of_longer_texts_equal_difflibs(alphabet, share_changed):
    rng = random.Random(alphabet)
    a = rng.choices(range(alphabet), k=1_000)
    b = [
        word if rng.random() > share_changed else rng.randrange(alphabet) for word in a
    ]
    for _ in range(5):  # and some of it moved
        at = rng.randrange(900)
        b[at : at + 30] = a[900 - at : 930 - at]
    a, b = [str(word) for word in a], [str(word) for word in b]
    assert matching_blocks(a, b) == by_difflib(a, b)


@pytest.mark.parametrize(
    ("words", "seed"), [(6_000, 1), *(full(30_000, n) for n in range(3))]
)
def test_matching_blocks_of_prose_equal_difflibs(words, seed):
    rng = random.Random(seed)
    a, other = prose(rng, words), prose(rng, words)
    nearly = [word if rng.random() > 0.05 else rng.choice(other) for word in a]
    for b in (other, nearly):
        assert matching_blocks(a, b) == by_difflib(a, b)


def test_a_book_with_every_twentieth_word_changed_is_aligned_with_itself():
    book = prose(random.Random(3), 100_000)
    changed = [f"new{n}" if n % 20 == 19 else word for n, word in enumerate(book)]
    assert matching_blocks(book, changed) == [
        EqualRun(n, n, 19) for n in range(0, 100_000, 20)
    ]


@pytest.mark.parametrize(("a", "b", "count"), [
    (["la"] * 100_000, ["la"] * 100_000, 1),
    (["la"] * 100_000, (["la"] * 99 + ["oh"]) * 1_000, 1_000),
    ([str(n % 7) for n in range(70_000)], [str(n % 11) for n in range(70_000)], 6_364),
    ([str(n) for n in range(50_000)], [str(n) for n in reversed(range(50_000))], 1),
], ids=["one_word", "one_word_with_breaks", "periods", "reversed"])  # fmt: skip
def test_repetitive_texts_of_a_books_size_are_aligned(a, b, count):
    assert len(matching_blocks(a, b)) == count
