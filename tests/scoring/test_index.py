"""The index: codes, anchors and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.errors import BookError, SettingsError
from pytest_memleak.records import Book, Excerpt
from pytest_memleak.scoring import index as module
from pytest_memleak.scoring.index import CODE_LENGTH, UNKNOWN, Index


def book_of(*texts):
    excerpts = (Excerpt(f"p_id{n}", text) for n, text in enumerate(texts, start=1))
    return Book("b", "B", "A", tuple(excerpts), digest="")


def anchor_intervals(index):
    """The intervals of the book's words that an anchor holds, from the book's own text."""
    coded = index.code(index_words(index))
    found = set()
    for number in index.anchors(coded).tolist():
        ahead, start = number >> 32, (number & 0xFFFFFFFF) >> 1
        length = index.k if number & 1 else index.anchor
        if ahead == 0:
            found.add((start, start + length))
    return found


def index_words(index):
    words = {code: word for word, code in index._codes.items()}
    coded = index._numbers[1:-1].tobytes().decode("utf-32-le")
    return [words[coded[i : i + CODE_LENGTH]] for i in range(0, len(coded), CODE_LENGTH)]


def test_words_and_excerpts():
    index = Index(book_of("a b c", "...", "D e"), k=2)
    assert index.total == 5
    assert index.bounds == {"p_id1": (0, 3), "p_id2": (3, 3), "p_id3": (3, 5)}
    assert index.order == {"p_id1": 0, "p_id2": 1, "p_id3": 2}
    assert index_words(index) == ["a", "b", "c", "d", "e"]


def test_unknown_words_are_coded_alike():
    index = Index(book_of("a b c d e"), k=5)
    assert index.code_text("x, Y z!") == 3 * UNKNOWN
    assert index.code_text("a x b")[CODE_LENGTH:-CODE_LENGTH] == UNKNOWN
    assert index.code_text("") == ""


@given(st.integers(1, 10_000))
def test_every_word_has_a_code_of_its_own(size):
    index = Index(book_of(" ".join(f"w{n}" for n in range(size))), k=1)
    codes = set(index._codes.values())
    assert len(codes) == size
    assert {len(code) for code in codes} == {CODE_LENGTH}
    firsts, seconds = ({code[place] for code in codes} for place in (0, 1))
    assert not firsts & seconds
    assert UNKNOWN[0] not in firsts | seconds


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=12, max_size=80),
    st.integers(1, 12),
    st.sampled_from([0, 1, 2, module._FEW_PLACES]),
)
def test_each_k_words_of_the_book_hold_an_anchor(words, k, few):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEW_PLACES", few)
        index = Index(book_of(" ".join(words)), k=k)
    anchors = anchor_intervals(index)
    for start in range(len(words) - k + 1):
        assert any(start <= first and last <= start + k for first, last in anchors)


@given(st.lists(st.sampled_from("abc"), min_size=4, max_size=40), st.integers(1, 4), st.data())
def test_anchors_are_found_wherever_their_words_stand(words, k, data):
    index = Index(book_of(" ".join(words)), k=k)
    text = data.draw(st.lists(st.sampled_from("abcx"), max_size=30))
    found = index.anchors(index.code(text)).tolist()
    assert found == sorted(found)
    lengths = {0: index.anchor, 1: index.k}
    seen = set()
    for number in found:
        ahead, start, length = number >> 32, (number & 0xFFFFFFFF) >> 1, lengths[number & 1]
        assert text[start : start + length] == words[start + ahead : start + ahead + length]
        seen.add((start + ahead, length, start))
    for first, last in anchor_intervals(index):
        for at in range(len(text) - (last - first) + 1):
            same = text[at : at + last - first] == words[first:last]
            assert same == ((first, last - first, at) in seen)


def test_a_vocabulary_whose_codes_leave_latin_1():
    words = [f"w{n}" for n in range(13_000)]
    index = Index(book_of(" ".join(words)), k=5)
    assert max(map(max, index._codes.values())) > "\xff"
    assert index_words(index) == words


def test_a_k_below_one_is_refused():
    with pytest.raises(SettingsError, match="at least 1, not 0"):
        Index(book_of("a b c"), k=0)


def test_a_book_of_fewer_than_k_words_is_refused():
    with pytest.raises(BookError, match="2 words, fewer than k = 3"):
        Index(book_of("a b"), k=3)


@pytest.mark.parametrize("mode", ["paper", "unicode"])
def test_a_book_whose_words_run_together_is_refused(mode):
    page = [f"word{number}" for number in range(300)]
    fused = " ".join((*page, "".join(page)))
    with pytest.raises(BookError, match="50% of its letters are in words of over 40"):
        Index(book_of(fused), k=5, mode=mode)


def test_a_long_word_is_no_fault_of_a_book():
    jest = "bababadalgharaghtakamminarronnkonnbronntonnerronntuonnthunntrovarrhounawnskawn" * 3
    law = "rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz"
    assert Index(book_of(f"the fall {jest} of a law {law} was read"), k=5).total == 9
    thai = "ภาษาไทยไม่มีช่องว่าง" * 40
    assert Index(book_of(thai), k=5, mode="unicode").total > 300
    web = "https://example.com/" + "/".join(f"page-{number}" for number in range(90))
    assert Index(book_of(web), k=5).total > 90


def test_a_book_that_the_mode_cannot_see_is_refused():
    with pytest.raises(BookError, match=r"keeps 3 of its 9 words \(33%\)"):
        Index(book_of("木 々 ひ ら が な one two three"), k=3)
    assert Index(book_of("木 々 ひ ら が な one two three"), k=3, mode="unicode").total == 9
