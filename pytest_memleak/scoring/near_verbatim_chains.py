"""Chains of matches of folded words: which match continues one, and the best chains.

Defined in docs/method.md, as near-verbatim passages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_memleak.scoring.word_ranges import count_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pytest_memleak.scoring.excused_words import RemainingWords
    from pytest_memleak.scoring.prompt_trimming import Ranges
    from pytest_memleak.scoring.word_ranges import Positions

LONGEST_GAP = 10
"""The longest gap between two matches of a chain, in words."""

# How much longer that gap may be in one of text and book than in the other.
_SHIFT = 3
# The most words inserted in the text, where the book goes on within so few.
_INSERTED = 25
_SKIPPED = 2
START_BITS = 27
"""Bits of a place in a book."""

# Words of a text in a cell, and pairs of matches compared at once.
_CELL = 256
_TOGETHER = 1 << 20


class _State(NamedTuple):
    """A chain so far.

    minus_words: least for the longest chain, so that the best comes first
    place, start: where it begins in the text and in the book
    place_end, end: where it ends in them
    """

    minus_words: int
    place: int
    start: int
    place_end: int
    end: int

    def ends_before(self, other: _State) -> bool:
        """Return whether it ends no further on than the other, in text and book."""
        return self.place_end <= other.place_end and self.end <= other.end


# The columns of many such states.
MINUS_WORDS = 0
_PLACE = 1
_PLACE_END = 3
_BEGIN = slice(1, 3)
_ENDS = slice(3, 5)


class _Match(NamedTuple):
    """One of several matches."""

    place: int
    start: int
    words: int
    own: int
    cut: bool


class ChainMatches(NamedTuple):
    """Matches by text, part, and start in the book.

    own: the words that count; cut: whether some don't, since the prompt contains them
    or a text excuses them
    """

    place: Positions
    start: Positions
    words: Positions
    own: Positions
    cut: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> ChainMatches:
        """Return the `chosen` matches."""
        return ChainMatches(
            place=self.place[chosen],
            start=self.start[chosen],
            words=self.words[chosen],
            own=self.own[chosen],
            cut=self.cut[chosen],
        )

    def rows(self, numbers: list[int]) -> Iterator[_Match]:
        """Yield the matches of these numbers."""
        columns = [column[numbers].tolist() for column in self]
        return map(_Match._make, zip(*columns, strict=True))


class Uncounted(NamedTuple):
    """Words that count for no chain: those of the prompt, and the book's excused ones.

    prompt_ranges: where texts contain `trim`-grams of their own instructions
    remaining: the words that aren't excused of the one book that all match, if any is
    """

    prompt_ranges: Ranges
    trim: int
    remaining: RemainingWords | None = None

    def places(self, match: _Match) -> frozenset[int]:
        """Return where in the text these words of a match are."""
        places = _prompt_places(match, self.prompt_ranges, self.trim)
        if self.remaining is None:
            return places
        before = self.remaining.before[match.start : match.start + match.words + 1]
        is_excused = before[1:] == before[:-1]
        excused = match.place + np.flatnonzero(is_excused)
        return places.union(excused.tolist())


class Edges(NamedTuple):
    """Pairs of matches of which the second follows the first, by number."""

    first: Positions
    then: Positions

    def where(self, chosen: NDArray[np.bool_] | Positions) -> Edges:
        """Return the `chosen` pairs, by truth value or by number."""
        return Edges(self.first[chosen], self.then[chosen])


class _Looks(NamedTuple):
    """Ranges of sorted matches that may follow a match: `size` from `begin` on."""

    match: Positions
    begin: Positions
    size: Positions


def edges_between(matches: ChainMatches, group: Positions) -> Edges:
    """Return all pairs of matches of which the second follows the first, by number.

    Each match checks the cells of the text within its reach, and in each the matches
    within its reach in the book: distant repeats of a refrain cost nothing, in text or
    book.

    group: of each match, ascending
    """
    nothing = np.empty(0, dtype=np.intp)
    if not len(matches.place):
        return Edges(nothing, nothing)
    cell, further_cells = _cells_and_reach(matches, group)
    key = (cell << START_BITS) | matches.start
    order = np.argsort(key, kind="stable")
    looks = _where_to_look(
        matches,
        key=key[order],
        order=order,
        cell=cell,
        further_cells=further_cells,
    )
    parts = [Edges(nothing, nothing)]
    looked = np.cumsum(looks.size)
    at = 0
    while at < len(looked):
        done = looked[at] - looks.size[at]
        most = done + _TOGETHER
        within = int(looked.searchsorted(most, side="right"))
        to = max(at + 1, within)
        begin = looks.begin[at:to]
        size = looks.size[at:to]
        first = looks.match[at:to].repeat(size)
        place_in_order = count_up(begin, size)
        pairs = Edges(first, order[place_in_order])
        follows = _continues_chain(matches, pairs)
        parts.append(pairs.where(follows))
        at = to
    return Edges(
        first=np.concatenate([pairs.first for pairs in parts]),
        then=np.concatenate([pairs.then for pairs in parts]),
    )


def _cells_and_reach(
    matches: ChainMatches, group: Positions
) -> tuple[Positions, Positions]:
    """Return the cell of the text of each match, and how many further ones it reaches.

    Cells are numbered so that groups share none.
    """
    cell = matches.place // _CELL
    place_end = matches.place + matches.words
    reached_cell = (place_end + _INSERTED) // _CELL
    step = np.diff(group, prepend=-1)
    begin = np.flatnonzero(step)
    matches_of_group = np.diff(begin, append=len(group))
    groups = np.arange(len(begin))
    nth_group = groups.repeat(matches_of_group)
    lowest = np.minimum.reduceat(cell, begin)
    highest = np.maximum.reduceat(cell, begin)
    last_cell = np.minimum(reached_cell, highest[nth_group])
    further = last_cell - cell
    cells_of_group = highest - lowest + 1
    end_of_group = np.cumsum(cells_of_group)
    ahead = end_of_group - highest - 1
    own_cell = cell + ahead[nth_group]
    return own_cell, further


def _where_to_look(
    matches: ChainMatches,
    key: Positions,
    order: Positions,
    cell: Positions,
    further_cells: Positions,
) -> _Looks:
    """Return where each match looks for those that follow it.

    key: cell and start of the matches in `order`, ascending
    """
    reach = matches.words + LONGEST_GAP
    reach_in_order = reach[order]
    reached_key = key + reach_in_order
    has_next = key[1:] <= reached_key[:-1]
    with_next = np.flatnonzero(has_next)
    numbers = np.arange(len(cell))
    in_further = numbers.repeat(further_cells)
    further_cell = count_up(cell + 1, further_cells)
    first_key_of_cell = further_cell << START_BITS
    further_key = first_key_of_cell | matches.start[in_further]
    match = np.concatenate((order[with_next], in_further))
    from_key = np.concatenate((key[with_next], further_key))
    to_key = from_key + reach[match]
    begin = key.searchsorted(from_key, side="right")
    end = key.searchsorted(to_key, side="right")
    size = end - begin
    some = np.flatnonzero(size)
    return _Looks(
        match=match[some],
        begin=begin[some],
        size=size[some],
    )


def _continues_chain(matches: ChainMatches, pairs: Edges) -> NDArray[np.bool_]:
    """Return in which pairs the second match continues the chain of the first.

    The gap in the text and that in the book are about as long, or words are inserted.
    """
    first, then = pairs
    start_ahead = matches.start[then] - matches.start[first]
    place_ahead = matches.place[then] - matches.place[first]
    words = matches.words[first]
    gap_in_book = np.maximum(start_ahead - words, 0)
    gap_in_text = np.maximum(place_ahead - words, 0)
    shift = abs(gap_in_book - gap_in_text)
    follows: NDArray[np.bool_] = gap_in_text <= LONGEST_GAP
    follows &= shift <= _SHIFT
    has_words_inserted = gap_in_text <= _INSERTED
    has_words_inserted &= gap_in_book <= _SKIPPED
    follows |= has_words_inserted
    follows &= place_ahead > 0
    return follows


def without_shortcuts(matches: ChainMatches, edges: Edges) -> Edges:
    """Drop the pairs with a third match between, which only adds its words.

    A short match leaves the next one within reach of the previous one.
    """
    first, then = edges
    place_end = matches.place + matches.words
    end = matches.start + matches.words
    is_clear = matches.place[then] >= place_end[first]
    is_clear &= matches.start[then] >= end[first]
    clear = edges.where(is_clear)
    if not len(clear.first):
        return edges
    size = len(matches.place)
    next_match = np.full(size + 1, size)  # the first that follows clear of each match
    np.minimum.at(next_match, clear.first, clear.then)
    clear_pairs = clear.first * size + clear.then
    clear_pairs.sort()
    pair_behind_next = next_match[first] * size + then
    nth = clear_pairs.searchsorted(pair_behind_next)
    nth = np.minimum(nth, len(clear_pairs) - 1)
    has_none_between = clear_pairs[nth] != pair_behind_next
    return edges.where(has_none_between)


def best_chains(
    matches: ChainMatches,
    edges: Edges,
    uncounted: Uncounted,
) -> Positions:
    """Return, per match, the best chain that ends with it; shape (n, 5) as `_State`."""
    place_end = matches.place + matches.words
    end = matches.start + matches.words
    alone = (-matches.own, matches.place, matches.start, place_end, end)
    best = np.stack(alone, axis=1)
    if not len(edges.first):
        return best
    tangled = _needs_all_chains(matches, edges)
    to_tangled = tangled[edges.then]
    head = _extend_along_paths(best, edges.where(~to_tangled))
    if not tangled.any():
        return best
    behind_tangled = np.flatnonzero(tangled[head] & ~tangled)
    their_head = head[behind_tangled]
    # Without the head itself, which has yet to be computed.
    best[behind_tangled, MINUS_WORDS] += matches.own[their_head]
    states = _best_of_all_chains(
        best,
        matches=matches,
        head=head,
        edges=edges.where(to_tangled),
        uncounted=uncounted,
    )
    for row, state in states.items():
        best[row] = state
    best[behind_tangled, MINUS_WORDS] += best[their_head, MINUS_WORDS]
    best[behind_tangled, _BEGIN] = best[their_head, _BEGIN]
    return best


def _needs_all_chains(matches: ChainMatches, edges: Edges) -> NDArray[np.bool_]:
    """Return the matches whose best chain isn't just the best to one match and it.

    Several matches precede it, or the prompt contains words of an overlap, or a chain
    to it ends further on than it does, or it overlaps a chain to another such match.
    """
    first, then = edges
    size = len(matches.place)
    begin = np.stack((matches.place, matches.start), axis=1)  # in text and book
    end = begin + matches.words[:, None]
    ends_earlier = end[then] < end[first]
    ends_within: NDArray[np.bool_] = np.any(ends_earlier, axis=1)
    begins_inside = begin[then] < end[first]
    overlaps = begins_inside.any(axis=1)
    has_cut = matches.cut[first] | matches.cut[then]
    matches_behind = np.bincount(first, minlength=size)
    matches_before = np.bincount(then, minlength=size)
    is_last = matches_behind == 0
    tangled = matches_before > 1
    goes_on = ~is_last[then]
    tangled[then[ends_within & goes_on]] = True
    tangled[then[overlaps & has_cut]] = True
    furthest = _furthest_ends(end, edges, ends_within)
    begins_inside_chain = begin[then] < furthest[first]
    overlapping = np.flatnonzero(begins_inside_chain.any(axis=1))
    return _mark_what_follows(tangled, edges.where(overlapping))


def _furthest_ends(
    end: Positions,
    edges: Edges,
    ends_within: NDArray[np.bool_],
) -> Positions:
    """Return, per match, the furthest that any chain to it ends in text and book.

    end: of the matches themselves; shape (n, 2), like the result
    ends_within: in which pairs the second match ends before the first does
    """
    furthest = end.copy()
    active = np.flatnonzero(ends_within)
    while len(active):
        first, then = edges.where(active)
        reached = furthest[first]
        is_further = reached > furthest[then]
        further = is_further.any(axis=1)
        changed = then[further]
        np.maximum.at(furthest, changed, reached[further])
        is_changed = np.zeros(len(end), dtype=np.bool_)
        is_changed[changed] = True
        active = np.flatnonzero(is_changed[edges.first])
    return furthest


def _mark_what_follows(marked: NDArray[np.bool_], edges: Edges) -> NDArray[np.bool_]:
    """Mark whatever follows a marked match, and what follows that, in place."""
    while True:
        spreading = marked[edges.first] & ~marked[edges.then]
        if not spreading.any():
            return marked
        newly_marked = edges.then[spreading]
        marked[newly_marked] = True


def _extend_along_paths(best: Positions, edges: Edges) -> Positions:
    """Compute `best` where each match follows one other: its chain is all before it.

    Returns the first match of each chain, which follows none here.
    """
    first, then = edges
    words = best[:, _PLACE_END] - best[:, _PLACE]
    ends_before = best[first, _ENDS]
    overlap_in_each = ends_before - best[then, _BEGIN]
    overlap = overlap_in_each.max(axis=1)
    overlap = np.clip(overlap, 0, words[then])
    best[then, _ENDS] = np.maximum(best[then, _ENDS], ends_before)
    none = len(best)
    total = np.append(best[:, MINUS_WORDS], 0)
    total[then] += overlap
    before = np.full(none + 1, none)
    before[then] = first
    head = np.arange(none + 1)
    head[then] = first
    moving = then
    while len(moving):  # each step doubles the counted way back
        step = before[moving]
        total_before = total[moving] + total[step]
        before_step = before[step]
        head_of_step = head[step]
        total[moving] = total_before
        before[moving] = before_step
        head[moving] = head_of_step
        moving = moving[before_step < none]
    best[then, MINUS_WORDS] = total[then]
    best[then, _BEGIN] = best[head[then], _BEGIN]
    return head[:-1]


def _best_of_all_chains(
    best: Positions,
    matches: ChainMatches,
    head: Positions,
    edges: Edges,
    uncounted: Uncounted,
) -> dict[int, _State]:
    """Return, per tangled match, the best of all chains to it.

    best: those of all others, less what is before `head` if that is tangled
    edges: to tangled matches, by the first
    """
    before = _matches_before(edges)
    previous = np.unique(edges.first)
    numbers = previous.tolist()
    head_of = dict(zip(numbers, head[previous].tolist(), strict=True))
    plain = dict(zip(numbers, best[previous].tolist(), strict=True))
    ends: dict[int, list[_State]] = {}  # of tangled matches, the best first

    def states_of(match: int) -> list[_State]:
        if match in ends:
            return ends[match]
        state = _State(*plain[match])
        states_of_head = ends.get(head_of[match])
        if not states_of_head:
            return [state]
        best_head = states_of_head[0]
        joined = _State(
            minus_words=best_head.minus_words + state.minus_words,
            place=best_head.place,
            start=best_head.start,
            place_end=state.place_end,
            end=state.end,
        )
        return [joined]

    rows = sorted(before)  # each after those before it
    for match, last in zip(rows, matches.rows(rows), strict=True):
        gone: frozenset[int] = frozenset()
        if last.cut:
            gone = uncounted.places(last)
        states = [_chain_of_one(last)]
        for previous_match in before[match]:
            for state in states_of(previous_match):
                states.append(_chain_with_match(state, last, gone))
        ends[match] = _worth_keeping(states)
    return {match: states[0] for match, states in ends.items()}


def _matches_before(edges: Edges) -> dict[int, list[int]]:
    """Return the matches that each match follows."""
    before: dict[int, list[int]] = {}
    for first, then in zip(edges.first.tolist(), edges.then.tolist(), strict=True):
        before.setdefault(then, []).append(first)
    return before


def _chain_of_one(match: _Match) -> _State:
    """Return the chain of one match."""
    return _State(
        minus_words=-match.own,
        place=match.place,
        start=match.start,
        place_end=match.place + match.words,
        end=match.start + match.words,
    )


def _chain_with_match(
    state: _State,
    match: _Match,
    gone: frozenset[int],
) -> _State:
    """Return the chain with one more match; what overlaps counts once.

    gone: places of its words that count for no chain
    """
    overlap_in_text = state.place_end - match.place
    overlap_in_book = state.end - match.start
    overlap = max(0, overlap_in_text, overlap_in_book)
    new_words = max(0, match.words - overlap)
    new_place = match.place + overlap
    if gone:
        new_words -= sum(place >= new_place for place in gone)
    place_end = match.place + match.words
    end = match.start + match.words
    return _State(
        minus_words=state.minus_words - new_words,
        place=state.place,
        start=state.start,
        place_end=max(state.place_end, place_end),
        end=max(state.end, end),
    )


def _worth_keeping(states: list[_State]) -> list[_State]:
    """Return the states that may still become the best, the best so far first."""
    states.sort()
    kept: list[_State] = []
    for state in states:
        if not any(better.ends_before(state) for better in kept):
            kept.append(state)
    return kept


def _prompt_places(
    match: _Match,
    prompt_ranges: Ranges,
    trim: int,
) -> frozenset[int]:
    """Return the places of a match's words that its instruction contains."""
    place, words = match.place, match.words
    last_gram = place + words - trim
    places: set[int] = set()
    at = int(prompt_ranges.last.searchsorted(place, side="right"))
    while at < len(prompt_ranges.first):
        range_first = int(prompt_ranges.first[at])
        range_last = int(prompt_ranges.last[at]) - 1
        if range_first > last_gram:
            break
        first = max(range_first, place)
        last = min(range_last, last_gram)
        places.update(range(first, last + trim))
        at += 1
    return frozenset(places)
