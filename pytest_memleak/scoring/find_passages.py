"""Passages in texts: matches, and chains of matches of folded words (docs/method.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.intervals import count_up
from pytest_memleak.scoring.prompt_trimming import (
    NO_RANGES,
    Ranges,
    in_prompt,
    outside_prompt,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_memleak.scoring.book_words import BookMatches
    from pytest_memleak.scoring.intervals import Positions

NEAR_PASSAGE = 20
"""The least matched words of a near-verbatim passage."""

_GAP, _SHIFT = 10, 3
_INSERTED, _SKIPPED = 25, 2
_START_BITS, _PART_BITS = 27, 20
_CELL, _TOGETHER, _SPREAD = 256, 1 << 20, 0x9E3779B1


class _State(NamedTuple):
    """A chain so far: minus its words, its start in the text and in the book, its ends."""

    minus_words: int
    place: int
    start: int
    place_end: int
    end: int


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


class _Matches(NamedTuple):
    """Matches by text, part, and start in the book.

    own: the words outside the prompt; cut: whether the prompt contains any
    """

    place: Positions
    start: Positions
    words: Positions
    own: Positions
    cut: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> _Matches:
        """Return the `chosen` matches."""
        place, start, words, own, cut = self
        return _Matches(
            place[chosen], start[chosen], words[chosen], own[chosen], cut[chosen]
        )


def verbatim_passages(
    matched: BookMatches, prompt_ranges: Ranges, *, trim: int, keep: int
) -> TextPassages:
    """Return the matches without words in the prompt, from `keep` words on.

    prompt_ranges: where texts contain `trim`-grams of their own instructions.
    """
    of, place, place_end = outside_prompt(
        matched.place,
        matched.place + matched.words,
        prompt_ranges,
        trim=trim,
        keep=keep,
    )
    words, start = place_end - place, matched.start[of] + place - matched.place[of]
    text, book = matched.text[of], matched.book[of]
    return TextPassages(text, book, place, place_end, start, start + words, words)


def find_chains(
    matched: BookMatches, prompt_ranges: Ranges, *, trim: int
) -> TextPassages:
    """Return the longest chain, from 20 words, that ends with each match; the first of equals.

    A chain joins a text's matches with one part of a book.

    prompt_ranges: where texts contain `trim`-grams of their own instructions.
    """
    matched = matched.where(_may_chain(matched))
    group = (matched.text << _PART_BITS) | matched.part
    place_end = matched.place + matched.words
    cut = in_prompt(matched.place, place_end, prompt_ranges, trim=trim)
    kept = outside_prompt(
        matched.place[cut], place_end[cut], prompt_ranges, trim=trim, keep=1
    )
    own = matched.words.copy()
    own[cut] = np.bincount(
        kept.of, weights=kept.end - kept.start, minlength=np.count_nonzero(cut)
    ).astype(np.intp)
    matches = _Matches(matched.place, matched.start, matched.words, own, cut)
    first, then = _edges(matches, group)
    counts = own >= NEAR_PASSAGE
    counts[first] = counts[then] = True  # few: most matches are alone, and too short
    number = np.cumsum(counts) - 1
    matched, matches = matched.where(counts), matches.where(counts)
    first, then = _without_shortcuts(matches, number[first], number[then])
    best = _best(matches, first, then, prompt_ranges, trim)
    enough = np.flatnonzero(best[:, 0] <= -NEAR_PASSAGE)
    words, place, start, place_end, end = best[enough].T
    text, book = matched.text[enough], matched.book[enough]
    return TextPassages(text, book, place, place_end, start, end, -words)


def _may_chain(matched: BookMatches) -> Positions:
    """Return the matches that may belong to a chain of enough words for a passage.

    Their numbers, by text, part, and start: a chain continues only within reach in the
    book.
    """
    text, _, _, part, start, words = matched
    numbers = 1 << (4 * len(text)).bit_length()
    hashed = (text * _SPREAD + part) & (numbers - 1)  # for few matches in many texts
    enough = np.flatnonzero(np.bincount(hashed, words, numbers)[hashed] >= NEAR_PASSAGE)
    group = (text[enough] << _PART_BITS) | part[enough]
    order = np.argsort(group, kind="stable")  # which is fast where they are sorted
    enough, nth_group = enough[order], np.cumsum(np.diff(group[order], prepend=-1) > 0)
    start = (nth_group << _START_BITS) + start[enough]
    order = np.argsort(start, kind="stable")
    enough, start = enough[order], start[order]
    words = words[enough]
    reached = np.maximum.accumulate(start + words + _GAP)
    apart = np.ones(len(start), dtype=np.bool_)
    np.greater(start[1:], reached[:-1], out=apart[1:])
    first = np.flatnonzero(apart)
    together = np.add.reduceat(words, first) if len(first) else words
    return enough[(together >= NEAR_PASSAGE).repeat(np.diff(first, append=len(start)))]


def _edges(matches: _Matches, group: Positions) -> tuple[Positions, Positions]:
    """Return all pairs of matches of which the second follows the first, by number.

    Each match checks the cells of the text within its reach, and in each the matches
    within its reach in the book: distant repeats of a refrain cost nothing, in text or
    book.
    """
    place, start, words, _, _ = matches
    nothing = np.empty(0, dtype=np.intp)
    if not len(place):
        return nothing, nothing
    cell, last_cell = place // _CELL, (place + words + _INSERTED) // _CELL
    begin = np.flatnonzero(np.diff(group, prepend=-1))
    of = np.arange(len(begin)).repeat(np.diff(begin, append=len(group)))
    lowest, highest = np.minimum.reduceat(cell, begin), np.maximum.reduceat(cell, begin)
    shift = np.cumsum(highest - lowest + 1) - highest - 1  # groups share no cell
    further = np.minimum(last_cell, highest[of]) - cell
    cell += shift[of]
    key = (cell << _START_BITS) | start
    order = np.argsort(key, kind="stable")
    key = key[order]
    with_next = np.flatnonzero(key[1:] <= key[:-1] + words[order[:-1]] + _GAP)
    active = np.arange(len(place)).repeat(further)
    looks = (count_up(cell + 1, further) << _START_BITS) | start[active]
    active = np.concatenate((order[with_next], active))
    looks = np.concatenate((key[with_next], looks))
    first_match = key.searchsorted(looks, side="right")
    count = key.searchsorted(looks + words[active] + _GAP, side="right") - first_match
    some = np.flatnonzero(count)
    active, first_match, count = active[some], first_match[some], count[some]
    ahead = np.cumsum(count)
    firsts, thens = [nothing], [nothing]
    at = 0
    while at < len(active):
        done = ahead[at] - count[at]
        to = max(at + 1, int(ahead.searchsorted(done + _TOGETHER, side="right")))
        first = active[at:to].repeat(count[at:to])
        then = order[count_up(first_match[at:to], count[at:to])]
        at = to
        in_book = np.maximum(start[then] - start[first] - words[first], 0)
        in_text = np.maximum(place[then] - place[first] - words[first], 0)
        follows = (in_text <= _GAP) & (abs(in_book - in_text) <= _SHIFT)
        follows |= (in_text <= _INSERTED) & (in_book <= _SKIPPED)
        follows &= place[then] > place[first]
        firsts.append(first[follows])
        thens.append(then[follows])
    return np.concatenate(firsts), np.concatenate(thens)


def _without_shortcuts(
    matches: _Matches, first: Positions, then: Positions
) -> tuple[Positions, Positions]:
    """Drop the pairs with a third match between, which only adds its words.

    A short match leaves the next one within reach of the previous one.
    """
    place, start, words = matches[:3]
    clear = place[then] >= place[first] + words[first]
    clear &= start[then] >= start[first] + words[first]
    size = len(place)
    next_match = np.full(size + 1, size)
    np.minimum.at(next_match, first[clear], then[clear])
    code = np.sort(first[clear] * size + then[clear])
    if not len(code):
        return first, then
    between = next_match[first] * size + then
    nth = np.minimum(code.searchsorted(between), len(code) - 1)
    kept = code[nth] != between
    return first[kept], then[kept]


def _best(
    matches: _Matches,
    first: Positions,
    then: Positions,
    prompt_ranges: Ranges,
    trim: int,
) -> Positions:
    """Return, per match, the best chain that ends with it, as a `_State`; shape (n, 5)."""
    place, start, words, own, _ = matches
    best = np.stack((-own, place, start, place + words, start + words), axis=1)
    if not len(first):
        return best
    tangled = _tangled(matches, first, then)
    on_path = ~tangled[then]
    head = _along_paths(best, first[on_path], then[on_path])
    if tangled.any():
        after = np.flatnonzero(tangled[head] & ~tangled)
        best[after, 0] += own[
            head[after]
        ]  # without its head, which has yet to be computed
        edges = first[~on_path], then[~on_path]
        for row, state in _states(
            best, matches, head, edges, prompt_ranges, trim
        ).items():
            best[row] = state
        best[after, 0] += best[head[after], 0]
        best[after, 1:3] = best[head[after], 1:3]
    return best


def _tangled(matches: _Matches, first: Positions, then: Positions) -> NDArray[np.bool_]:
    """Return the matches whose best chain doesn't follow from the best one to a single match.

    Several matches precede it, or the prompt contains words of an overlap, or a chain
    to it ends further on than it does, or it overlaps a chain to another such match.
    """
    place, start, words, _, cut = matches
    size = len(place)
    begin = np.stack((place, start), axis=1)
    end = begin + words[:, None]
    within = (end[then] < end[first]).any(axis=1)
    overlap = (begin[then] < end[first]).any(axis=1)
    tangled = np.bincount(then, minlength=size) > 1
    is_last = np.bincount(first, minlength=size) == 0
    tangled[then[within & ~is_last[then]]] = True
    tangled[then[overlap & (cut[first] | cut[then])]] = True
    furthest = end.copy()  # that any chain to it ends
    edges = np.flatnonzero(within)
    while len(edges):
        reached = furthest[first[edges]]
        further = (reached > furthest[then[edges]]).any(axis=1)
        changed = then[edges[further]]
        np.maximum.at(furthest, changed, reached[further])
        edges = np.flatnonzero(np.bincount(changed, minlength=size)[first])
    overlap = (begin[then] < furthest[first]).any(axis=1)
    first, then = first[overlap], then[overlap]
    while (spreading := tangled[first] & ~tangled[then]).any():
        tangled[then[spreading]] = True
    return tangled


def _along_paths(best: Positions, first: Positions, then: Positions) -> Positions:
    """Compute `best` where each match follows one other: its chain is all before it.

    Returns the first match of each chain, which follows none here.
    """
    words = best[:, 3] - best[:, 1]
    overlap = (best[first, 3:] - best[then, 1:3]).max(axis=1)
    none = len(best)
    total, before, head = (
        np.append(best[:, 0], 0),
        np.full(none + 1, none),
        np.arange(none + 1),
    )
    total[then] += np.minimum(np.maximum(overlap, 0), words[then])
    best[then, 3:] = np.maximum(best[then, 3:], best[first, 3:])
    before[then] = head[then] = first
    moving = then
    while len(moving):  # each step doubles the counted way back
        step = before[moving]
        total[moving], before[moving], head[moving] = (
            total[moving] + total[step], before[step], head[step],
        )  # fmt: skip
        moving = moving[before[moving] < none]
    best[then, 0] = total[then]
    best[then, 1:3] = best[head[then], 1:3]
    return head[:-1]


def _states(
    best: Positions,
    matches: _Matches,
    head: Positions,
    edges: tuple[Positions, Positions],
    prompt_ranges: Ranges,
    trim: int,
) -> dict[int, _State]:
    """Return, per tangled match, the best of all chains to it.

    best: those of all others, less what is before `head` if that is tangled
    edges: to tangled matches, by the first
    """
    before: dict[int, list[int]] = {}
    for previous, row in zip(*(column.tolist() for column in edges), strict=True):
        before.setdefault(row, []).append(previous)
    previous_rows = np.unique(edges[0])
    others = zip(
        previous_rows.tolist(), head[previous_rows].tolist(), best[previous_rows].tolist(),
        strict=True,
    )  # fmt: skip
    plain = {
        previous: (its_head, _State(*state)) for previous, its_head, state in others
    }
    rows = sorted(before)  # each after those before it
    ends: dict[int, list[_State]] = {}

    def states_of(previous: int) -> list[_State]:
        its_head, state = plain[previous]
        if previous in ends or its_head not in ends:
            return ends.get(previous, [state])
        words, place, start, _, _ = ends[its_head][0]
        return [
            _State(words + state.minus_words, place, start, state.place_end, state.end)
        ]

    columns = (column[rows].tolist() for column in matches)
    for row, place, start, words, own, cut in zip(rows, *columns, strict=True):
        prompt_places = _prompt_places(place, words, prompt_ranges, trim) if cut else ()
        states = [_State(-own, place, start, place + words, start + words)]
        for previous in before[row]:
            for total, head_place, head_start, reached, end in states_of(previous):
                seen = max(0, reached - place, end - start)
                new = max(0, words - seen)
                if prompt_places:
                    new -= sum(at >= place + seen for at in prompt_places)
                ends_at = max(reached, place + words), max(end, start + words)
                states.append(_State(total - new, head_place, head_start, *ends_at))
        ends[row] = _worth_keeping(states)
    return {row: states[0] for row, states in ends.items()}


def _worth_keeping(states: list[_State]) -> list[_State]:
    """Return the states that may still become the best, the best so far first."""
    states.sort()
    kept = states[:1]
    for state in states[1:]:
        if not any(
            better.place_end <= state.place_end and better.end <= state.end
            for better in kept
        ):
            kept.append(state)
    return kept


def _prompt_places(
    place: int, words: int, prompt_ranges: Ranges, trim: int
) -> frozenset[int]:
    """Return the places of a match's words that its instruction contains."""
    firsts, lasts = prompt_ranges.first, prompt_ranges.last
    end = place + words
    places: set[int] = set()
    at = int(lasts.searchsorted(place, side="right"))
    while at < len(firsts) and firsts[at] <= end - trim:
        first = max(int(firsts[at]), place)
        last = min(int(lasts[at]) - 1, end - trim)
        places.update(range(first, last + trim))
        at += 1
    return frozenset(places)


def _longest_within(matched: BookMatches, place: int, place_end: int) -> int:
    """Return the words of the longest chain of one text's matches, cut to [place, place_end)."""
    first = np.maximum(matched.place, place)
    last = np.minimum(matched.place + matched.words, place_end)
    inside = first < last
    start = (matched.start + first - matched.place)[inside]
    first, words, part = first[inside], (last - first)[inside], matched.part[inside]
    order = np.lexsort((start, part))
    first, start, words, part = first[order], start[order], words[order], part[order]
    nothing = np.zeros(len(first), dtype=np.bool_)
    matches = _Matches(first, start, words, words, nothing)
    first_match, next_match = _edges(matches, part)
    best = _best(matches, first_match, next_match, NO_RANGES, 1)
    return int(-best[:, 0].min(initial=0))


def contained_in(
    matches: BookMatches, passages: TextPassages, by: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return a mask of the passages that a book marked by `by` contains."""
    around = matches.where(by[matches.book])
    return inside(passages, around.place, around.place + around.words)


def nearly_contained_in(
    near: BookMatches, chains: TextPassages, by: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return a mask of the chains that a marked book matches with at least as many words."""
    contained: NDArray[np.bool_] = by[chains.book]
    around = near.where(by[near.book])
    if not len(around.text):
        return contained
    around = around.where(np.argsort(around.text, kind="stable"))
    for row in np.flatnonzero(~contained).tolist():
        text = chains.text[row]
        first, last = (
            around.text.searchsorted(text, side) for side in ("left", "right")
        )
        if first < last:
            of_text = around.where(np.arange(first, last))
            place, end = int(chains.place[row]), int(chains.place_end[row])
            contained[row] = _longest_within(of_text, place, end) >= chains.words[row]
    return contained


def inside(
    passages: TextPassages, around_start: Positions, around_end: Positions
) -> NDArray[np.bool_]:
    """Return a mask of the passages that lie in one of the intervals of the text."""
    if not len(around_start):
        return np.zeros(len(passages.place), dtype=np.bool_)
    order = np.argsort(around_start, kind="stable")
    around_start = around_start[order]
    reached = np.append(np.maximum.accumulate(around_end[order]), -1)
    before = around_start.searchsorted(passages.place, side="right") - 1
    is_inside: NDArray[np.bool_] = reached[before] >= passages.place_end
    return is_inside
