"""How many words of one book may leave, over all answers that share a budget."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.guard.covered_words import CoveredWords
from pytest_memleak.scoring.book_words import NEAR_MATCH
from pytest_memleak.scoring.find_passages import LEAST_NEAR_VERBATIM_WORDS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from pytest_memleak.guard.covered_words import Interval
    from pytest_memleak.library.library import Library, Passage
    from pytest_memleak.library.read_prompts import ReadPrompts

COUNTED = 8
"""The fewest words in a row that a budget counts: honest texts share shorter runs."""


UNSEEN = LEAST_NEAR_VERBATIM_WORDS - 1 + NEAR_MATCH - 1
"""The most last words of a text that may count only with those that follow."""


class Place(NamedTuple):
    """Words of a book as measured, [start, end)."""

    book: str
    start: int
    end: int


class Excess(NamedTuple):
    """By how many words a book's would exceed a budget."""

    book: str
    words: int


class _Unread(NamedTuple):
    """A text that leaves in part before it is matched: so many of its words did."""

    text: str
    prompt: ReadPrompts
    words: int


class PlacesOfPassages:
    """Where passages are in their books, near-verbatim ones as measured words, too."""

    def __init__(self, library: Library) -> None:
        """Note where both readings of the library's books are."""
        self.library = library
        self._numbers = library.index.numbers
        self._measured = library.index.measured_places()

    def of(self, passages: Iterable[Passage]) -> list[Place]:
        """Return the places of the passages that count."""
        return list(self._counted(passages))

    def _counted(self, passages: Iterable[Passage]) -> Iterator[Place]:
        for passage in passages:
            if passage.words < COUNTED:
                continue
            start = passage.start
            end = passage.end
            if passage.near:
                number = self._numbers[passage.book]
                start, end = self._measured.measured_interval(number, start, end)
            yield Place(
                book=passage.book,
                start=start,
                end=end,
            )


class Budget:
    """The words of one book that may leave; a repetition is free.

    Words in runs of 8 count (near-verbatim: 20), each place in the book once. Several
    streams, also of other threads, may share it: what one of them sent before matching
    it is matched once that could matter to another.

    words: of each book
    """

    def __init__(self, words: int, places: PlacesOfPassages) -> None:
        """Start a budget of which nothing is spent."""
        self.words = words
        self.lock = RLock()
        self._places = places
        self._covered: dict[str, CoveredWords] = defaultdict(CoveredWords)
        self._unread: dict[Hashable, _Unread] = {}

    def add(self, places: Iterable[Place]) -> None:
        """Count what has left."""
        with self.lock:
            for book, start, end in places:
                self._covered[book].add(start, end)

    def excess(self, places: Iterable[Place], sender: Hashable) -> Excess | None:
        """Return by what these places would exceed the budget; None: they wouldn't.

        sender: whose text has them, and not only those that left
        """
        places = list(places)
        with self.lock:
            others = self._words_of_others(sender)
            excess = self._excess(places, others)
            if excess and others:
                self._match(self._unread.keys() - {sender})
                excess = self._excess(places, 0)
        return excess

    def left(self, sender: Hashable, enough: int) -> int:
        """Return how many words of any one book may leave unread.

        sender: whose own unread words don't count
        enough: fewer are worth matching what others sent unread
        """
        with self.lock:
            others = self._words_of_others(sender)
            left = self._least_left() - others
            if others and left < enough:
                self._match(self._unread.keys() - {sender})
                left = self._least_left()
        return left

    def note_unread(
        self,
        sender: Hashable,
        text: str,
        prompt: ReadPrompts,
        words: int,
    ) -> None:
        """Note that the last `words` of a text left before they were matched."""
        with self.lock:
            if words:
                self._unread[sender] = _Unread(text, prompt, words)
            else:
                self._unread.pop(sender, None)

    def matched_by_another(self, sender: Hashable) -> bool:
        """Tell whether another sender had matched what this one noted as unread."""
        with self.lock:
            return sender not in self._unread

    def count_unread(self, senders: Iterable[Hashable]) -> None:
        """Match and count what these senders, which have ended, sent unread."""
        with self.lock:
            self._match({sender for sender in senders if sender in self._unread})

    def _has(self, place: Place) -> bool:
        """Tell whether all words of a place have left."""
        return self._covered[place.book].has(place.start, place.end)

    def _words_of_others(self, sender: Hashable) -> int:
        """Return how many words of one book others may have sent before matching them.

        An unread word may count together with words before it.
        """
        others = self._unread.keys() - {sender}
        return sum(self._unread[other].words + UNSEEN for other in others)

    def _match(self, senders: Iterable[Hashable]) -> None:
        """Match what these sent unread, and count it."""
        library = self._places.library
        for sender in [*senders]:
            unread = self._unread.pop(sender)
            passages = library.find([unread.text], unread.prompt, least=COUNTED)
            self.add(self._places.of(passages))

    def _least_left(self) -> int:
        """Return the words left of the book of which most have left; below 0: none."""
        sizes = [covered.size for covered in self._covered.values()]
        return self.words - max(sizes, default=0)

    def _excess(self, places: Sequence[Place], unread: int) -> Excess | None:
        more: dict[str, list[Interval]] = defaultdict(list)
        for book, start, end in places:
            more[book].append((start, end))
        allowed = self.words - unread
        for book, intervals in more.items():
            covered = self._covered[book]
            new = covered.new_words(intervals)
            total = covered.size + new
            if new and total > allowed:
                return Excess(book, total - max(covered.size, allowed))
        return None


def spend_if_allowed(
    budgets: Sequence[Budget],
    places: Sequence[Place],
    sender: Hashable,
) -> bool:
    """Count what leaves if all budgets allow it, and tell whether they do."""
    with ExitStack() as locks:
        for budget in budgets:
            locks.enter_context(budget.lock)
        if any(budget.excess(places, sender) for budget in budgets):
            return False
        for budget in budgets:
            budget.add(places)
    return True
