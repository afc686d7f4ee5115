"""Scripts without spaces: chance and planted passages in the UDHR, and books without ICU."""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest
from marks import full
from scored_books import book_of, generations_of

from pytest_memleak import score
from pytest_memleak.books.build_book import with_icu_version, words_digest
from pytest_memleak.errors import BookError
from pytest_memleak.records import Scoring
from pytest_memleak.scoring import words as words_module
from pytest_memleak.scoring.folding import passage_words
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.words import needs_icu, words

CAT = {"chinese": "猫", "japanese": "猫", "thai": "แมว"}
LANGUAGES = tuple(CAT)


def halves(language):
    path = Path(__file__).parent / "udhr" / f"{language}.txt"
    paragraphs = path.read_text(encoding="utf-8").strip().split("\n\n")
    size, at = sum(map(len, paragraphs)) / 2, 0
    while size > 0:
        size -= len(paragraphs[at])
        at += 1
    return "\n\n".join(paragraphs[:at]), "\n\n".join(paragraphs[at:])


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_halves_of_a_text_share_no_more_than_english_ones(language):
    measured = [
        score(book_of(book), generations_of([text]), word_mode="unicode")
        for book, text in (halves(language), reversed(halves(language)))
    ]
    assert sum(half.bmc for half in measured) / 2 <= 0.15
    assert max(half.longest_span.words for half in measured) <= 11


def passage_at(text, start, count=60):
    end = start + count
    while len(words(text[start:end], "unicode")) < count:
        end += 1
    return text[start:end]


def with_cats(passage, cat):
    """The passage with every tenth word changed."""
    its = words(passage, "unicode")
    its[9::10] = [cat] * len(its[9::10])
    return "".join(its)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("step", [900, full(61)])
def test_a_passage_in_other_text_is_found_at_38(language, step):
    book, other = halves(language)
    passages = [passage_at(book, start) for start in range(0, len(book) * 2 // 3, step)]
    changed = [with_cats(passage, CAT[language]) for passage in passages]
    texts = [
        other[:200] + passage + other[200:400] for passage in (*passages, *changed)
    ]
    tally = Tally(book_of(book), Scoring(word_mode="unicode"))
    tally.add(generations_of(texts))
    result = tally.passages()
    assert min(result.by_round[: len(passages)]) >= 38
    assert min(result.nv_by_round[: len(passages)]) >= 38
    assert max(result.by_round[len(passages) :]) < 38
    near = sorted(result.nv_by_round[len(passages) :])
    assert near[len(near) // 20] >= 38  # of 19 in 20


@pytest.mark.full
@pytest.mark.parametrize(
    "letters", ["人人生而自由在尊严和权利上一律平等", "มนุษย์ทั้งหลายเกิดมา", "漢"]
)
def test_a_run_of_400_000_letters_is_no_burden(letters):
    text = letters * (400_000 // len(letters))
    began = time.process_time()
    assert len(words(text, "unicode")) > 90_000
    assert time.process_time() - began < 10  # usually 0.5 s


def test_words_do_not_depend_on_texts_read_before():
    """ICU reads a mark otherwise before the first Japanese letter of a process."""
    text = "from pytest_memleak.scoring.words import words; print(*words('ーひ', 'unicode'))"
    alone = subprocess.check_output([sys.executable, "-c", text], encoding="utf-8")
    assert alone.split() == words("あア漢。ーひ", "unicode")[-2:] == ["ー", "ひ"]


@pytest.fixture
def without_icu(monkeypatch):
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    words_module._word_breaker.cache_clear()
    yield
    words_module._word_breaker.cache_clear()


@pytest.mark.usefixtures("without_icu")
@pytest.mark.parametrize("mode", ["paper", "unicode"])
@pytest.mark.parametrize("place", ["text", "excluded"])
def test_a_book_that_needs_icu_is_refused_without_it(mode, place):
    english = book_of("one two three four five six 漢 seven, eight nine ten.")
    assert SharedIndex([english], k=5, mode=mode)
    note = book_of("人権").excerpts
    parts = {
        "text": {"excerpts": english.excerpts + note},
        "excluded": {"excluded": note},
    }
    needy = dataclasses.replace(english, **parts[place])
    with pytest.raises(BookError, match="package icu4py isn't installed") as caught:
        SharedIndex([needy], k=5, mode=mode)
    assert caught.value.hint.startswith("install it with: pip install")
    # Generations may be in any script.
    assert words("人権 น้ำ", "unicode") == ["人", "権", "น้ำ"]
    assert passage_words("人権 น้ำ") == ["人", "権", "นา"]


@pytest.mark.parametrize("mode", ["paper", "unicode"])
def test_a_novel_with_a_name_in_japanese_needs_no_icu(without_icu, mode):
    novel = book_of("one two three four five six seven " * 10 + "人権 eight nine ten.")
    assert SharedIndex([novel], k=5, mode=mode)
    assert with_icu_version(novel, mode=mode) == novel


@pytest.mark.parametrize(("others", "is_needed"), [(198, True), (199, False)])
def test_icu_is_needed_from_a_hundredth_of_the_letters_on(others, is_needed):
    assert needs_icu(["a" * others + " 人権"]) == is_needed


def test_a_book_is_the_same_to_the_ledger_with_every_version_of_icu(monkeypatch):
    book = book_of("人人生而自由，平等")
    digest = words_digest(book)
    monkeypatch.setattr(words_module, "_word_breaker", lambda: None)
    assert words_digest(book) == digest
