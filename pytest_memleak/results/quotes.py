"""A passage in reports: a few of its words, and how often it is generated."""

from __future__ import annotations

import operator
import re
from difflib import SequenceMatcher
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from pytest_memleak.records.measurement import Passage
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import QUOTED_WORDS, inert, short_name
from pytest_memleak.scoring.words import end_of_words, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_memleak.records import Block, Book, Excerpt, Measurement
    from pytest_memleak.records.measurement import PassageRate
    from pytest_memleak.scoring.analysis import Analysis

    Split = Callable[[str], list[str]]

_LONGEST_WORD = 40
_BEFORE_WORD = re.compile(r"^[^\w“‘\"'(]+")  # the end of what stands before
_SOFT_HYPHEN = "\u00ad"
_CLOSING = '.,;:!?…”")]'
_LETTER = re.compile(r"\w")
REST = " … (+"  # before the number of words left out


def own_passage(
    kind: str, run: Block, analysis: Analysis, book: Book, quoted: int | None
) -> Passage:
    """Build the passage of a run of the pair's own book, with its place in the whole book."""
    measured = analysis.measurement
    start, end = run.start or 0, run.end or 0
    first, last = measured.excerpt_at(start), measured.excerpt_at(end - 1)
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
    book: Book, run: Block, measured: Measurement, *, most: int | None = QUOTED_WORDS
) -> str:
    """Quote a run as printed, at most `most` words of it (0: none; None: all); count the rest."""
    if most == 0 or run.start is None or run.end is None:
        return ""
    place = measured.excerpt_at(run.start)
    skipped = run.start - measured.excerpt_starts[place]
    split = partial(words, mode=measured.word_mode)
    return _quoted(book.excerpts[place:], split, skipped, run.words, most)


def quote_passage(
    excerpts: Sequence[Excerpt],
    split: Split,
    skipped: int,
    size: int,
    most: int | None,
    *,
    place: int,
    answers: list[str],
) -> tuple[str, str]:
    """Quote a passage of any book as `quote` does, and its generation beside it if words differ.

    Both begin shortly before the first change. skipped: words of the excerpts before
    the passage; answers: the readings of the generation, if any; place: the passage's
    first word in them
    """
    if most == 0:
        return "", ""
    answer, *further = answers or [""]
    while further and place >= (length := len(split(answer))):
        place -= length
        answer, *further = further
    answered = split(answer)[place:]
    texts = (split(excerpt.text) for excerpt in excerpts if answered)
    printed = list(islice(chain.from_iterable(texts), skipped, skipped + size))
    differ = enumerate(map(operator.ne, printed, answered))
    change = next((nth for nth, differs in differ if differs), 0)
    before = 0 if most is None else max(0, min(change - most // 2, size - most))
    head = "… " if before else ""
    quoted = head + _quoted(excerpts, split, skipped + before, size, most)
    if most is None:
        blocks = SequenceMatcher(
            None, printed, answered, autojunk=False
        ).get_matching_blocks()
        answered = answered[
            : max((block.b + block.size for block in blocks[:-1]), default=0)
        ]
    count = len(answered) if most is None else most
    beside = _printed([answer], split, place + before, count)
    if not answered or words(beside, "unicode") == words(
        quoted.partition(REST)[0], "unicode"
    ):
        return quoted, ""
    return quoted, head + beside + (" …" if len(answered) > before + count else "")


def _quoted(
    excerpts: Sequence[Excerpt], split: Split, start: int, size: int, most: int | None
) -> str:
    count = size if most is None else min(size, most)
    text = _printed((excerpt.text for excerpt in excerpts), split, start, count)
    return text + (f"{REST}{amount(size - count, 'word')})" if size > count else "")


def _printed(texts: Iterable[str], split: Split, skipped: int, count: int) -> str:
    """Return `count` words as printed; as counted, where those would be more words."""
    pieces: list[str] = []
    missing = count
    for text in texts:
        counted = split(text)
        if taken := counted[skipped : skipped + missing]:
            start, end = (
                end_of_words(place, text, split)
                for place in (skipped, skipped + len(taken))
            )
            rest = text[end:]
            end += len(rest) - len(rest.lstrip(_CLOSING))
            printed = (
                _BEFORE_WORD.sub("", text[start:end]).replace(_SOFT_HYPHEN, "").split()
            )
            # Words that aren't counted, such as those of other scripts, aren't quoted
            # on top.
            few = [
                piece for piece in printed if split(piece) or not _LETTER.search(piece)
            ]
            sizes = (len(words(" ".join(shown), "unicode")) for shown in (printed, few))
            fit = [0 < size <= len(taken) for size in sizes]
            pieces += printed if fit[0] else few if fit[1] else taken
        missing -= len(taken)
        skipped = max(skipped - len(counted), 0)
        if not missing:
            break
    shown = (inert(piece, longest=_LONGEST_WORD) for piece in pieces)
    return " ".join(filter(None, shown))  # of a control character nothing is left


def passage_rate(analysis: Analysis, start: int, end: int) -> PassageRate | None:
    """Return how often their prompt generated all words [start, end) of the pair's book.

    None if they cross two excerpts, which no single prompt requests.
    """
    from pytest_memleak.scoring.passage_rates import passage_rates  # with numpy

    measured, error = analysis.measurement, analysis.error
    if measured.excerpt_at(start) != measured.excerpt_at(end - 1):
        return None
    (rate,) = passage_rates(
        [(start, end)],
        analysis.own_runs,
        n=error.rounds,
        alike=error.likeness.alike,
        confidence=error.confidence,
    )
    return rate
