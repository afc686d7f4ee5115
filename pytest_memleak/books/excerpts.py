"""Excerpts of 300 to 500 words from a manuscript, cut where it costs least.

Cuts fall at paragraph ends or, where these can't give the size, at sentence ends. The
cheapest partition has no excerpt over 500 words; none under 300 if possible (a chapter
of 501 to 599 words can't avoid it); few cuts within paragraphs; sizes near 400. Two
chapters of 300 words or more never share an excerpt; a shorter chapter joins its
neighbor.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter

from pytest_memleak.books.sentences import cut_paragraph
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.records import Excerpt, WordMode
from pytest_memleak.scoring.words import words

# Costs of a part: its size, up to 10 at the ends of the range; each chapter border
# within it; being short, and each missing word. Cuts have their own costs.
_PRICE_OF_SIZE = 10.0
_PRICE_OF_CHAPTER_BORDER = 60.0
_PRICE_OF_SHORT = 1_000.0
_PRICE_OF_MISSING_WORD = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """Units in order, one entry each: words, price of a cut after it, chapter.

    `long_chapters`: chapters that must not share a part with each other.
    """

    words: Sequence[int]
    prices: Sequence[float]
    chapters: Sequence[int]
    long_chapters: frozenset[int]


def cheapest_cuts(
    row: Row,
    *,
    shortest: int,
    longest: int,
    allow_short: bool,
) -> list[tuple[int, int]] | None:
    """Return the cheapest parts as intervals [first, end) of units, if possible.

    A part has `shortest` to `longest` words; with `allow_short` it may have fewer, at a
    price that makes it the last resort. A unit of more than `longest` words is its own
    part.
    """
    count = len(row.words)
    size_prices = _size_prices(shortest, longest)
    unreachable = float("inf")
    best = [0.0] + [unreachable] * count
    first_of = [0] * (count + 1)
    for end in range(1, count + 1):
        price_of_cut = row.prices[end - 1] if end < count else 0.0
        last_chapter = row.chapters[end - 1]
        chapter_behind = last_chapter
        long_chapters = int(last_chapter in row.long_chapters)
        size = 0
        for first in range(end - 1, -1, -1):
            size += row.words[first]
            chapter = row.chapters[first]
            if chapter != chapter_behind:
                long_chapters += chapter in row.long_chapters
                chapter_behind = chapter
            if long_chapters > 1 or (size > longest and first < end - 1):
                break
            if size < shortest and not allow_short:
                continue
            price = best[first] + price_of_cut + size_prices[min(size, longest)]
            price += _PRICE_OF_CHAPTER_BORDER * (last_chapter - chapter)
            if price <= best[end]:
                best[end] = price
                first_of[end] = first
    if best[count] == unreachable:
        return None
    return _parts_by_backtracking(first_of, count)


@lru_cache(maxsize=8)
def _size_prices(shortest: int, longest: int) -> Sequence[float]:
    target = (shortest + longest) / 2
    reach = (longest - shortest) / 2
    prices: list[float] = []
    for size in range(longest + 1):
        if size < shortest:
            missing = shortest - size
            prices.append(_PRICE_OF_SHORT + _PRICE_OF_MISSING_WORD * missing)
        else:
            prices.append(_PRICE_OF_SIZE * ((size - target) / reach) ** 2)
    return tuple(prices)


def _parts_by_backtracking(
    first_of: Sequence[int], count: int
) -> list[tuple[int, int]]:
    last_first = []
    end = count
    while end:
        first = first_of[end]
        last_first.append((first, end))
        end = first
    return last_first[::-1]


# --- excerpts
# -----------------------------------------------------------------------------

SHORTEST_EXCERPT = 300
LONGEST_EXCERPT = 500

_PRICE_OF_CUT_AT_SENTENCE = 40.0
_PRICE_OF_CUT_AT_WORD = 120.0

# A shorter paragraph stays with the next.
_SMALL = 10
_NOT_SMALL = 50

# A speaker's name in capitals; initials alone are a signature.
_IN_CAPITALS = re.compile(r"[^\W\d_]{3}")

# If paragraph ends can't give the size: cut paragraphs over so many words, in so many
# neighboring excerpts.
_WORTH_CUTTING = 50
_EXCERPTS_AROUND = 2


def cut(
    manuscript: Manuscript,
    *,
    mode: WordMode = "paper",
    place: str | None = None,
) -> tuple[Excerpt, ...]:
    """Cut a manuscript into excerpts, `p_id1` onwards, in order; `mode` defines words.

    Joined, the excerpts have exactly the manuscript's words. An excerpt's `chapter` is
    the title above most of its words; blank lines separate its paragraphs.

    Raises BookError, naming `place`, without words in that mode.
    """
    units = _units(_paragraphs(manuscript.chapters, mode))
    if not any(unit.words for unit in units):
        hint = "check that it is the right book"
        if mode == "paper":
            hint = 'a book in a non-Latin script needs word_mode = "unicode"'
        raise BookError(
            f"contains no words in word mode {mode!r}",
            location=place,
            hint=hint,
        )
    long_chapters = _long_chapters(units)
    parts: list[list[_Fragment]] = []
    for run in _runs_between_long_chapters(units, long_chapters):
        parts += _cut_run(run, long_chapters, mode)
    excerpts: list[Excerpt] = []
    for number, fragments in enumerate(parts, start=1):
        chapter = manuscript.chapters[_main_chapter(fragments)]
        excerpts.append(
            Excerpt(
                id=f"p_id{number}",
                text=_text(fragments),
                chapter=chapter.title,
            ),
        )
    return tuple(excerpts)


# --- fragments and units
# -------------------------------------------------------------------


@dataclass(slots=True)
class _Fragment:
    """A part [start, end) of a paragraph of a chapter.

    `price` is that of a cut after it.
    """

    chapter: int
    paragraph: int
    text: str
    start: int
    end: int
    words: int
    price: float = 0.0


@dataclass(slots=True)
class _Unit:
    """Fragments that stay together; `chapter` is that of the first words."""

    fragments: list[_Fragment]
    words: int
    chapter: int


def _paragraphs(chapters: Sequence[Chapter], mode: WordMode) -> Iterator[_Fragment]:
    """Yield each paragraph, or its sentences if it is longer than an excerpt."""
    for chapter, chapter_text in enumerate(chapters):
        for paragraph, text in enumerate(chapter_text.paragraphs):
            count = len(words(text, mode))
            whole = _Fragment(
                chapter=chapter,
                paragraph=paragraph,
                text=text,
                start=0,
                end=len(text),
                words=count,
            )
            if whole.words > LONGEST_EXCERPT:
                yield from _sentences(whole, mode)
            else:
                yield whole


def _sentences(whole: _Fragment, mode: WordMode) -> Iterator[_Fragment]:
    for piece in cut_paragraph(whole.text, mode=mode, longest=LONGEST_EXCERPT):
        price = _PRICE_OF_CUT_AT_WORD
        if piece.end == whole.end:
            price = 0.0
        elif piece.ends_sentence:
            price = _PRICE_OF_CUT_AT_SENTENCE
        yield _Fragment(
            chapter=whole.chapter,
            paragraph=whole.paragraph,
            text=whole.text,
            start=piece.start,
            end=piece.end,
            words=piece.words,
            price=price,
        )


def _units(fragments: Iterable[_Fragment]) -> list[_Unit]:
    """Group small fragments with the next, those without words with a neighbor."""
    fragments = list(fragments)
    sizes: Counter[int] = Counter()
    for fragment in fragments:
        sizes[fragment.chapter] += fragment.words
    units: list[_Unit] = []
    for fragment in fragments:
        if not units or not _is_joined_to_unit(fragment, units[-1], sizes):
            unit = _Unit(
                fragments=[fragment],
                words=fragment.words,
                chapter=fragment.chapter,
            )
            units.append(unit)
            continue
        last = units[-1]
        if not last.words:
            last.chapter = fragment.chapter
        last.fragments.append(fragment)
        last.words += fragment.words
    return units


def _is_joined_to_unit(
    fragment: _Fragment,
    unit: _Unit,
    sizes: Mapping[int, int],
) -> bool:
    """Whether a fragment joins the unit before it; `sizes`: words of chapters."""
    if not fragment.words or not unit.words:
        return True
    if not _cut_would_strand(unit, fragment):
        return False
    if fragment.chapter == unit.chapter:
        return True
    # Chapters of a few words each, as in a dictionary, would be too many units.
    larger = max(sizes[fragment.chapter], sizes[unit.chapter])
    return larger < _SMALL


def _cut_would_strand(unit: _Unit, fragment: _Fragment) -> bool:
    """Whether a cut between them would separate a speaker, a heading or a few words."""
    if unit.words >= _SMALL or unit.words + fragment.words > LONGEST_EXCERPT:
        return False
    return fragment.words < _NOT_SMALL or _introduces_next(unit.fragments[-1])


def _introduces_next(fragment: _Fragment) -> bool:
    """Whether a short paragraph introduces the next: a speaker, a heading."""
    text = fragment.text[fragment.start : fragment.end].rstrip()
    last = text[-1:]
    if last in {":", "："}:
        return True
    if text.isupper() and _IN_CAPITALS.search(text):
        return True
    return last.isalnum()


# --- cuts
# ----------------------------------------------------------------------------------


def _long_chapters(units: Iterable[_Unit]) -> frozenset[int]:
    """Return the chapters with enough words for an excerpt."""
    sizes: Counter[int] = Counter()
    for unit in units:
        sizes[unit.chapter] += unit.words
    return frozenset(
        chapter for chapter, size in sizes.items() if size >= SHORTEST_EXCERPT
    )


def _runs_between_long_chapters(
    units: Sequence[_Unit],
    long_chapters: frozenset[int],
) -> Iterator[list[_Unit]]:
    """Yield runs of units between two long chapters, which no excerpt crosses."""
    run: list[_Unit] = []
    for unit in units:
        if run and unit.chapter != run[-1].chapter:
            around = {unit.chapter, run[-1].chapter}
            if around <= long_chapters:
                yield run
                run = []
        run.append(unit)
    yield run


def _cut_run(
    run: list[_Unit],
    long_chapters: frozenset[int],
    mode: WordMode,
) -> list[list[_Fragment]]:
    parts = _cheapest_parts_of_run(run, long_chapters, allow_short=False)
    if parts is None:
        rough = _cheapest_parts_of_run(run, long_chapters, allow_short=True) or []
        run = _with_sentences_around_short_parts(run, rough, mode)
        parts = _cheapest_parts_of_run(run, long_chapters, allow_short=True) or []
    return [_fragments(run[first:end]) for first, end in parts]


def _fragments(units: Iterable[_Unit]) -> list[_Fragment]:
    fragments: list[_Fragment] = []
    for unit in units:
        fragments += unit.fragments
    return fragments


def _cheapest_parts_of_run(
    run: Sequence[_Unit],
    long_chapters: frozenset[int],
    *,
    allow_short: bool,
) -> list[tuple[int, int]] | None:
    row = Row(
        words=[unit.words for unit in run],
        prices=[unit.fragments[-1].price for unit in run],
        chapters=[unit.chapter for unit in run],
        long_chapters=long_chapters,
    )
    return cheapest_excerpts(row, allow_short=allow_short)


def cheapest_excerpts(row: Row, *, allow_short: bool) -> list[tuple[int, int]] | None:
    """Cut a row into excerpts of 300 to 500 words (`cheapest_cuts`)."""
    return cheapest_cuts(
        row,
        shortest=SHORTEST_EXCERPT,
        longest=LONGEST_EXCERPT,
        allow_short=allow_short,
    )


def _with_sentences_around_short_parts(
    run: Sequence[_Unit],
    parts: Sequence[tuple[int, int]],
    mode: WordMode,
) -> list[_Unit]:
    """Replace paragraphs by sentences near every part that is too short."""
    finer: set[int] = set()
    for index, (first, end) in enumerate(parts):
        part_words = sum(unit.words for unit in run[first:end])
        if part_words >= SHORTEST_EXCERPT:
            continue
        before = max(index - _EXCERPTS_AROUND, 0)
        behind = index + _EXCERPTS_AROUND + 1
        around = parts[before:behind]
        first_around, _ = around[0]
        _, end_around = around[-1]
        finer.update(range(first_around, end_around))
    fragments: list[_Fragment] = []
    for index, unit in enumerate(run):
        for fragment in unit.fragments:
            if index in finer and _is_worth_cutting(fragment):
                fragments += _sentences(fragment, mode)
            else:
                fragments.append(fragment)
    return _units(fragments)


def _is_worth_cutting(fragment: _Fragment) -> bool:
    """Whether a fragment is a whole paragraph of more than a few words."""
    is_whole = fragment.end - fragment.start == len(fragment.text)
    return is_whole and fragment.words > _WORTH_CUTTING


# --- text
# ----------------------------------------------------------------------------------


def _text(fragments: Iterable[_Fragment]) -> str:
    paragraphs: list[str] = []
    for _, group in groupby(fragments, key=attrgetter("chapter", "paragraph")):
        pieces = list(group)
        first = pieces[0]
        last = pieces[-1]
        paragraph = first.text[first.start : last.end]
        paragraphs.append(paragraph.strip())
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _main_chapter(fragments: Iterable[_Fragment]) -> int:
    sizes: Counter[int] = Counter()
    for fragment in fragments:
        sizes[fragment.chapter] += fragment.words

    def size_and_place(chapter: int) -> tuple[int, int]:
        return sizes[chapter], -chapter

    return max(sizes, key=size_and_place)
