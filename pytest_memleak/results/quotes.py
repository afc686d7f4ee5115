"""A passage in reports: a few of its words, and how often it is generated."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from pytest_memleak.records.measurement import Passage
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import QUOTED_WORDS, inert, short_name
from pytest_memleak.scoring.words import place_after_words, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_memleak.records import Block, Book, Excerpt, Measurement
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.scoring.analysis import Analysis

    Split = Callable[[str], list[str]]
    QuotesOfBookAndAnswer = tuple[str, str]

_LONGEST_WORD = 40
_BEFORE_WORD = re.compile(r"^[^\w“‘\"'(]+")  # the end of what stands before
_SOFT_HYPHEN = "\u00ad"
_CLOSING = '.,;:!?…”")]'
_LETTER = re.compile(r"\w")
REST = " … (+"  # before the number of words left out


def own_passage(
    kind: str,
    run: Block,
    analysis: Analysis,
    book: Book,
    quoted: int | None,
) -> Passage:
    """Build the passage of a run of the pair's own book, placed in the whole book."""
    measured = analysis.measurement
    start = run.start or 0
    end = run.end or 0
    first = measured.excerpt_at(start)
    last = measured.excerpt_at(end - 1)
    excerpt = book.excerpts[first]
    return Passage(
        kind=kind,
        words=run.words,
        start=start + book.words_in_prompts(first),
        end=end + book.words_in_prompts(last),
        chapter=shown_title(excerpt.chapter),
        excerpt_id=excerpt.id,
        generation=getattr(run, "generation", None),
        quote=quote(book, run, measured, most=quoted),
        rate=passage_rate(analysis, start, end),
    )


def shown_title(title: str | None) -> str | None:
    """Shorten a chapter's title, since headings may have a book's text in them."""
    return title and short_name(title)


def quote(
    book: Book,
    run: Block,
    measured: Measurement,
    *,
    most: int | None = QUOTED_WORDS,
) -> str:
    """Quote a run as printed, and count the words left out.

    most: words to quote, 0 for none and None for all
    """
    if most == 0 or run.start is None or run.end is None:
        return ""
    place = measured.excerpt_at(run.start)
    skipped = run.start - measured.excerpt_starts[place]
    split = partial(words, mode=measured.word_mode)
    return _quoted(
        excerpts=book.excerpts[place:],
        split=split,
        start=skipped,
        size=run.words,
        most=most,
    )


def quote_passage(
    excerpts: Sequence[Excerpt],
    split: Split,
    skipped: int,
    size: int,
    most: int | None,
    *,
    place: int,
    answers: list[str],
) -> QuotesOfBookAndAnswer:
    """Quote a passage of any book, and its generation beside it if words differ.

    Both begin shortly before the first change.

    skipped: words of the excerpts before the passage
    most:    words to quote, 0 for none and None for all
    place:   the passage's first word in `answers`
    answers: the readings of the generation, if any
    """
    if most == 0:
        return "", ""
    answer, place = _reading_at(answers, place, split)
    answered = split(answer)[place:]
    printed: list[str] = []
    if answered:
        printed = _words_of(excerpts, split, skipped, size)
    before = 0
    if most is not None:
        change = _first_change(printed, answered)
        latest = size - most
        before = max(0, min(change - most // 2, latest))
    head = "… " if before else ""
    quoted = head + _quoted(excerpts, split, skipped + before, size, most)
    count = most
    if count is None:
        answered = _until_last_match(printed, answered)
        count = len(answered)
    beside = _printed(
        texts=[answer],
        split=split,
        skipped=place + before,
        count=count,
    )
    own_words, _, _ = quoted.partition(REST)
    if not answered or _have_same_words(beside, own_words):
        return quoted, ""
    tail = " …" if len(answered) > before + count else ""
    return quoted, head + beside + tail


def _have_same_words(text: str, other: str) -> bool:
    return words(text, "unicode") == words(other, "unicode")


def _reading_at(
    answers: list[str],
    place: int,
    split: Split,
) -> tuple[str, int]:
    """Return the reading with the word at this place of all, and its place there."""
    if not answers:
        return "", place
    for answer in answers[:-1]:
        length = len(split(answer))
        if place < length:
            return answer, place
        place -= length
    return answers[-1], place


def _words_of(
    excerpts: Sequence[Excerpt],
    split: Split,
    skipped: int,
    size: int,
) -> list[str]:
    """Return `size` words of the excerpts, after the skipped ones."""
    words_of_each = (split(excerpt.text) for excerpt in excerpts)
    all_words = chain.from_iterable(words_of_each)
    return list(islice(all_words, skipped, skipped + size))


def _first_change(printed: list[str], answered: list[str]) -> int:
    """Return the place of the first word that differs; 0 if none does."""
    pairs = zip(printed, answered, strict=False)
    for nth, (own, other) in enumerate(pairs):
        if own != other:
            return nth
    return 0


def _until_last_match(printed: list[str], answered: list[str]) -> list[str]:
    """Return an answer's words up to the last that the printed ones have."""
    matcher = SequenceMatcher(None, printed, answered, autojunk=False)
    *blocks, _end = matcher.get_matching_blocks()
    if not blocks:
        return []
    ends = [block.b + block.size for block in blocks]
    return answered[: max(ends)]


def _quoted(
    excerpts: Sequence[Excerpt],
    split: Split,
    start: int,
    size: int,
    most: int | None,
) -> str:
    count = size if most is None else min(size, most)
    texts = (excerpt.text for excerpt in excerpts)
    printed = _printed(texts, split, start, count)
    if size == count:
        return printed
    left_out = amount(size - count, "word")
    return f"{printed}{REST}{left_out})"


def _printed(
    texts: Iterable[str],
    split: Split,
    skipped: int,
    count: int,
) -> str:
    """Return `count` words as printed; as counted, where those would be more words."""
    pieces: list[str] = []
    missing = count
    for text in texts:
        counted = split(text)
        taken = counted[skipped : skipped + missing]
        if taken:
            pieces += _printed_pieces(text, split, skipped, taken)
        missing -= len(taken)
        skipped = max(skipped - len(counted), 0)
        if not missing:
            break
    shown = (inert(piece, longest=_LONGEST_WORD) for piece in pieces)
    return " ".join(filter(None, shown))  # of a control character nothing is left


def _printed_pieces(
    text: str,
    split: Split,
    skipped: int,
    taken: list[str],
) -> list[str]:
    """Return some words of a text as printed, if those are no more than counted."""
    start = place_after_words(skipped, text, split)
    end = place_after_words(skipped + len(taken), text, split)
    rest = text[end:]
    end += len(rest) - len(rest.lstrip(_CLOSING))
    whole = _BEFORE_WORD.sub("", text[start:end])
    printed = whole.replace(_SOFT_HYPHEN, "").split()
    if _has_at_most(printed, len(taken)):
        return printed
    # Words that aren't counted, such as those of other scripts, aren't quoted on top.
    counted = [piece for piece in printed if split(piece) or not _LETTER.search(piece)]
    if _has_at_most(counted, len(taken)):
        return counted
    return taken


def _has_at_most(pieces: list[str], count: int) -> bool:
    """Tell whether the pieces have a word in mode unicode, and no more than `count`."""
    text = " ".join(pieces)
    return 0 < len(words(text, "unicode")) <= count


def passage_rate(
    analysis: Analysis,
    start: int,
    end: int,
) -> PassageRate | None:
    """Return how often their prompt generated all words [start, end) of the book.

    None if they cross two excerpts, which no single prompt requests.
    """
    from pytest_memleak.scoring.passage_rates import passage_rates  # with numpy

    measured = analysis.measurement
    error = analysis.error
    first = measured.excerpt_at(start)
    last = measured.excerpt_at(end - 1)
    if first != last:
        return None
    (rate,) = passage_rates(
        [(start, end)],
        analysis.own_runs,
        n=error.rounds,
        alike=error.likeness.alike,
        confidence=error.confidence,
    )
    return rate
