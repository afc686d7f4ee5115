"""Matching blocks equal difflib's, on every input."""

import difflib
import random
from itertools import pairwise

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import full
from scored_books import prose

from pytest_memleak.scoring import near_verbatim
from pytest_memleak.scoring.near_verbatim import EqualRun, matching_blocks


def by_difflib(a, b):
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return [tuple(block) for block in matcher.get_matching_blocks()][:-1]


@pytest.fixture(scope="module", params=[0, 30], ids="difflib_up_to_{}".format)
def own_steps(request):
    """Takes the module's own steps where it would leave small texts to difflib."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_verbatim, "_SMALL", request.param)
        yield


@st.composite
def two_texts(draw):
    """Two texts over a small alphabet; the second perhaps cut and pasted from the first."""
    letters = st.sampled_from("abcdefgh"[: draw(st.integers(1, 8))])
    a = draw(st.lists(letters, max_size=50))
    if not a or draw(st.booleans()):
        return a, draw(st.lists(letters, max_size=50))
    pieces = draw(
        st.lists(st.tuples(st.integers(0, len(a) - 1), st.integers(1, 12), letters), max_size=6)
    )
    return a, [word for at, words, then in pieces for word in [*a[at : at + words], then]]


@settings(max_examples=examples(2_000))
@given(two_texts())
def test_equals_difflib(own_steps, texts):
    assert matching_blocks(*texts) == by_difflib(*texts)


@pytest.mark.parametrize("alphabet", [2, 3, 10, 200])
@pytest.mark.parametrize("share_changed", [0.02, 0.3, 1.0])
def test_equals_difflib_on_longer_texts(alphabet, share_changed):
    rng = random.Random(alphabet)
    a = rng.choices(range(alphabet), k=1_000)
    b = [word if rng.random() > share_changed else rng.randrange(alphabet) for word in a]
    for _ in range(5):  # and some of it moved
        at = rng.randrange(900)
        b[at : at + 30] = a[900 - at : 930 - at]
    a, b = [str(word) for word in a], [str(word) for word in b]
    assert matching_blocks(a, b) == by_difflib(a, b)


@pytest.mark.parametrize(("words", "seed"), [(6_000, 1), *(full(30_000, n) for n in range(3))])
def test_equals_difflib_on_prose(words, seed):
    rng = random.Random(seed)
    a, other = prose(rng, words), prose(rng, words)
    nearly = [word if rng.random() > 0.05 else rng.choice(other) for word in a]
    for b in (other, nearly):
        assert matching_blocks(a, b) == by_difflib(a, b)


def test_a_book_against_itself_with_every_twentieth_word_changed():
    book = prose(random.Random(3), 100_000)
    changed = [f"new{n}" if n % 20 == 19 else word for n, word in enumerate(book)]
    assert matching_blocks(book, changed) == [EqualRun(n, n, 19) for n in range(0, 100_000, 20)]


def test_a_book_against_another():
    a, b = prose(random.Random(4), 100_000), prose(random.Random(5), 100_000)
    blocks = matching_blocks(a, b)
    assert all(a[i : i + n] == b[j : j + n] for i, j, n in blocks)
    assert all(
        before.i + before.words <= after.i and before.j + before.words <= after.j
        for before, after in pairwise(blocks)
    )
    longest = max(blocks, key=lambda run: run.words)
    grams = {tuple(a[i : i + longest.words + 1]) for i in range(len(a))}
    assert not any(tuple(b[j : j + longest.words + 1]) in grams for j in range(len(b)))


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [
        (["la"] * 100_000, ["la"] * 100_000, 1),
        (["la"] * 100_000, (["la"] * 99 + ["oh"]) * 1_000, 1_000),
        ([str(n % 7) for n in range(70_000)], [str(n % 11) for n in range(70_000)], 6_364),
        ([str(n) for n in range(50_000)], [str(n) for n in reversed(range(50_000))], 1),
    ],
    ids=["one_word", "one_word_with_breaks", "periods", "reversed"],
)
def test_repetitive_texts_at_the_size_of_a_book(a, b, count):
    assert len(matching_blocks(a, b)) == count
