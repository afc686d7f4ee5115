"""Passages in texts: matches, and chains of matches of folded words.

Defined in docs/method.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.near_verbatim_chains import (
    LONGEST_GAP,
    MINUS_WORDS,
    START_BITS,
    ChainMatches,
    Edges,
    Uncounted,
    best_chains,
    edges_between,
    without_shortcuts,
)
from pytest_memleak.scoring.prompt_trimming import (
    NO_RANGES,
    Ranges,
    in_prompt,
    outside_prompt,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.book_words import BookMatches
    from pytest_memleak.scoring.excused_words import RemainingWords
    from pytest_memleak.scoring.word_ranges import Positions

LEAST_NEAR_VERBATIM_WORDS = 20
"""The least matched words of a near-verbatim passage."""

_PART_BITS = 20  # of the number of a book's part
_SPREAD = 0x9E3779B1  # odd, and otherwise arbitrary


class TextPassages(NamedTuple):
    """Passages of one kind, one entry each.

    text, book:   their numbers
    place, place_end: of its words among all texts' words
    start, end:   of its words among the book's words
    words:        matching words, without those in the instruction
    """

    text: Positions
    book: Positions
    place: Positions
    place_end: Positions
    start: Positions
    end: Positions
    words: Positions

    def where(self, chosen: NDArray[np.bool_] | Positions) -> TextPassages:
        """Return the `chosen` passages, by truth value or by number."""
        return TextPassages(*(column[chosen] for column in self))


def verbatim_passages(
    matched: BookMatches,
    prompt_ranges: Ranges,
    *,
    trim: int,
    least_words: int,
) -> TextPassages:
    """Return the matches without words in the prompt, from `least_words` words on.

    prompt_ranges: where texts contain `trim`-grams of their own instructions.
    """
    pieces = outside_prompt(
        matched.place,
        matched.place + matched.words,
        prompt_ranges,
        trim=trim,
        least_words=least_words,
    )
    of, place, place_end = pieces
    words = place_end - place
    skipped = place - matched.place[of]
    start = matched.start[of] + skipped
    return TextPassages(
        text=matched.text[of],
        book=matched.book[of],
        place=place,
        place_end=place_end,
        start=start,
        end=start + words,
        words=words,
    )


def find_chains(
    matched: BookMatches,
    prompt_ranges: Ranges,
    *,
    trim: int,
    remaining: RemainingWords | None = None,
) -> TextPassages:
    """Return the longest chain, from 20 words, that ends with each match.

    Of equals the first. A chain joins a text's matches with one part of a book.

    prompt_ranges: where texts contain `trim`-grams of their own instructions.
    remaining: of a single book that all match, the words that count
    """
    matched = matched.where(_matches_that_may_chain(matched))
    uncounted = Uncounted(prompt_ranges, trim, remaining)
    matches = _without_prompt(matched, prompt_ranges, trim)
    if remaining is not None:
        matches = _without_excused(matches, uncounted, remaining)
    edges = edges_between(matches, group=_chain_groups(matched.text, matched.part))
    # Few matches are left: most are alone, and too short.
    is_kept = matches.own >= LEAST_NEAR_VERBATIM_WORDS
    is_kept[edges.first] = True
    is_kept[edges.then] = True
    new_number = np.cumsum(is_kept) - 1
    matched = matched.where(is_kept)
    matches = matches.where(is_kept)
    edges = Edges(new_number[edges.first], new_number[edges.then])
    edges = without_shortcuts(matches, edges)
    best = best_chains(matches, edges, uncounted)
    enough = np.flatnonzero(best[:, MINUS_WORDS] <= -LEAST_NEAR_VERBATIM_WORDS)
    minus_words, place, start, place_end, end = best[enough].T
    return TextPassages(
        text=matched.text[enough],
        book=matched.book[enough],
        place=place,
        place_end=place_end,
        start=start,
        end=end,
        words=-minus_words,
    )


def _chain_groups(text: Positions, part: Positions) -> Positions:
    """Return a number per text and part of a book: no chain leaves a group."""
    return (text << _PART_BITS) | part


def _without_prompt(
    matched: BookMatches,
    prompt_ranges: Ranges,
    trim: int,
) -> ChainMatches:
    """Return the matches with the count of their words outside the prompt."""
    place = matched.place
    place_end = place + matched.words
    cut = in_prompt(place, place_end, prompt_ranges, trim=trim)
    pieces = outside_prompt(
        place[cut],
        place_end[cut],
        prompt_ranges,
        trim=trim,
        least_words=1,
    )
    own_of_cut = np.bincount(
        pieces.of,
        weights=pieces.end - pieces.start,
        minlength=np.count_nonzero(cut),
    )
    own = matched.words.copy()
    own[cut] = own_of_cut.astype(np.intp)
    return ChainMatches(
        place=place,
        start=matched.start,
        words=matched.words,
        own=own,
        cut=cut,
    )


def _without_excused(
    matches: ChainMatches,
    uncounted: Uncounted,
    remaining: RemainingWords,
) -> ChainMatches:
    """Count only words that remain of the book, too."""
    remaining_words = remaining.words(matches.start, matches.start + matches.words)
    is_cut = remaining_words < matches.words
    own = matches.own.copy()
    own[is_cut] = remaining_words[is_cut]
    # Where the prompt contains some as well, each word is uncounted once.
    cut_twice = np.flatnonzero(is_cut & matches.cut).tolist()
    for row, match in zip(cut_twice, matches.rows(cut_twice), strict=True):
        own[row] = match.words - len(uncounted.places(match))
    return matches._replace(own=own, cut=matches.cut | is_cut)


def _matches_that_may_chain(matched: BookMatches) -> Positions:
    """Return the matches that may belong to a chain of enough words for a passage.

    Their numbers, by text, part, and start: a chain continues only within reach in the
    book.
    """
    enough = _matches_in_large_groups(matched)
    group = _chain_groups(matched.text[enough], matched.part[enough])
    order = np.argsort(group, kind="stable")  # which is fast where they are sorted
    enough = enough[order]
    begins_group = np.diff(group[order], prepend=-1) > 0
    nth_group = np.cumsum(begins_group)
    start = (nth_group << START_BITS) + matched.start[enough]
    order = np.argsort(start, kind="stable")
    enough = enough[order]
    start = start[order]
    words = matched.words[enough]
    end = start + words
    reached = np.maximum.accumulate(end + LONGEST_GAP)
    begins_stretch = np.ones(len(start), dtype=np.bool_)
    np.greater(start[1:], reached[:-1], out=begins_stretch[1:])
    first = np.flatnonzero(begins_stretch)
    if not len(first):
        return enough
    stretch_words = np.add.reduceat(words, first)
    stretch_matches = np.diff(first, append=len(start))
    stretch_is_enough = stretch_words >= LEAST_NEAR_VERBATIM_WORDS
    is_enough = stretch_is_enough.repeat(stretch_matches)
    return enough[is_enough]


def _matches_in_large_groups(matched: BookMatches) -> Positions:
    """Return the numbers of matches whose group may have enough words for a passage.

    Groups are hashed, since there may be few matches in many texts.
    """
    size = 1 << (4 * len(matched.text)).bit_length()
    hashed_group = (matched.text * _SPREAD + matched.part) & (size - 1)
    words_of_group = np.bincount(hashed_group, matched.words, size)
    return np.flatnonzero(words_of_group[hashed_group] >= LEAST_NEAR_VERBATIM_WORDS)


def _longest_within(
    matched: BookMatches,
    place: int,
    place_end: int,
) -> int:
    """Return the words of the longest chain of a text's matches within its words.

    place, place_end: the range that the matches are cut to
    """
    match_end = matched.place + matched.words
    first = np.maximum(matched.place, place)
    end = np.minimum(match_end, place_end)
    skipped = first - matched.place
    start = matched.start + skipped
    words_within = end - first
    inside = np.flatnonzero(words_within > 0)
    by_part = np.lexsort((start[inside], matched.part[inside]))
    inside = inside[by_part]
    words = words_within[inside]
    matches = ChainMatches(
        place=first[inside],
        start=start[inside],
        words=words,
        own=words,
        cut=np.zeros(len(inside), dtype=np.bool_),
    )
    edges = edges_between(matches, group=matched.part[inside])
    best = best_chains(matches, edges, Uncounted(NO_RANGES, trim=1))
    return int(-best[:, MINUS_WORDS].min(initial=0))


def longest_within_each(matches: BookMatches, chains: TextPassages) -> Positions:
    """Return, per chain, the words of the longest of these matches in its text there.

    Words that don't count for the chain are among them.
    """
    order = np.argsort(matches.text, kind="stable")
    matches = matches.where(order)
    longest = np.zeros(len(chains.words), dtype=np.intp)
    for row, text in enumerate(chains.text.tolist()):
        first = matches.text.searchsorted(text, side="left")
        last = matches.text.searchsorted(text, side="right")
        longest[row] = _longest_within(
            matches.where(np.arange(first, last)),
            place=int(chains.place[row]),
            place_end=int(chains.place_end[row]),
        )
    return longest


def contained_in(
    matches: BookMatches,
    passages: TextPassages,
    by: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return a mask of the passages that a book marked by `by` contains."""
    around = matches.where(by[matches.book])
    return inside(passages, around.place, around.place + around.words)


def nearly_contained_in(
    near: BookMatches,
    chains: TextPassages,
    by: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return a mask of the chains that a marked book matches with as many words."""
    contained: NDArray[np.bool_] = by[chains.book]
    around = near.where(by[near.book])
    if not len(around.text):
        return contained
    around = around.where(np.argsort(around.text, kind="stable"))
    for row in np.flatnonzero(~contained).tolist():
        text = chains.text[row]
        first = around.text.searchsorted(text, side="left")
        last = around.text.searchsorted(text, side="right")
        if first == last:
            continue
        of_text = around.where(np.arange(first, last))
        longest = _longest_within(
            of_text,
            place=int(chains.place[row]),
            place_end=int(chains.place_end[row]),
        )
        contained[row] = longest >= chains.words[row]
    return contained


def inside(
    passages: TextPassages,
    around_start: Positions,
    around_end: Positions,
) -> NDArray[np.bool_]:
    """Return a mask of the passages that lie in one of the intervals of the text."""
    if not len(around_start):
        return np.zeros(len(passages.place), dtype=np.bool_)
    order = np.argsort(around_start, kind="stable")
    around_start = around_start[order]
    around_end = around_end[order]
    reached = np.maximum.accumulate(around_end)
    reached = np.append(reached, -1)  # for -1, where no interval begins before
    last_before = around_start.searchsorted(passages.place, side="right") - 1
    is_inside: NDArray[np.bool_] = reached[last_before] >= passages.place_end
    return is_inside
