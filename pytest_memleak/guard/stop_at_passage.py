"""A generation that is sent as it is written, up to too long a passage of a book."""

from __future__ import annotations

import re
from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.errors import SettingsError
from pytest_memleak.formats.decode_words import SHORTEST_BLOB
from pytest_memleak.guard.word_budget import (
    COUNTED,
    UNSEEN,
    Budget,
    PlacesOfPassages,
    spend_if_allowed,
)
from pytest_memleak.scoring.book_words import NEAR_MATCH
from pytest_memleak.scoring.find_passages import LEAST_NEAR_VERBATIM_WORDS
from pytest_memleak.scoring.further_readings import ODD, STRANGE, USUAL, odd_marks
from pytest_memleak.scoring.measure_table import PASSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.guard.word_budget import Excess, Place
    from pytest_memleak.library.library import Library, Passage
    from pytest_memleak.library.read_prompts import ReadPrompts

# Per word of the limit: passages with words inserted, or in JSON objects, have fewer.
_CHARACTERS = 80
_LONGEST_WORD = 256
_ANY_NUMBER = 1 << 60  # of words, without a budget
# The most last words that may belong to a passage without showing it.
_UNMATCHED = NEAR_MATCH - 1
_UNMATCHED_BACKWARD = 12
_USUAL = frozenset(USUAL.split())
_WORD = re.compile(r"[^\W_]+")
# A letter may be a word in scripts without spaces, and a space in byte-level tokens;
# folding makes words of symbols, and decoding makes many of a long word, or of one with
# capitals inside.
_WORD_START = re.compile(
    r"(?<![^\W_])[^\W_]|[\u0100-\u0143\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u20a0-\U0010ffff]"
    r"|(?<=[^\W_]{24})[^\W_]|(?<=[a-z])[A-Z]|(?<=[a-z][A-Z])[A-Z]",
)

# Of which each character counts as a word, from the 25th on.
_BEGUN_BLOB = re.compile(rf"(?<![\w+/-])[\w+/-]{{24,{SHORTEST_BLOB - 1}}}\Z", re.ASCII)


class History(NamedTuple):
    """What left before a text that may continue it.

    text:     its end, as far back as passages are looked for
    passages: those in it, which stop nothing by themselves
    """

    text: str
    passages: tuple[Passage, ...]

    @classmethod
    def of(
        cls,
        library: Library,
        text: str,
        prompt: ReadPrompts,
        limit: int,
    ) -> History:
        """Return the history of texts with this limit."""
        end = text[-_CHARACTERS * limit :]
        return cls(end, tuple(library.find([end], prompt)))


_NO_HISTORY = History("", ())


class GuardedText:
    """One generation, which ends before more than `limit` words of a passage have left.

    As in docs/scan-and-guard.md: feed it deltas until there is a passage, then send its
    `end()`. It holds back the words that could exceed the limit until it has read them.
    A match shows only from its fifth word on, so the last four words may belong to a
    passage, too, and up to four of the prompt's words may count as a passage's. It
    matches the last 80 characters per word of the limit, in memory that doesn't grow.
    A nearly spent budget holds back words until the whole passage shows that they may
    begin.

    passage:  what ended it
    exceeded: what that exceeds: "limit" or "budget"
    """

    def __init__(
        self,
        library: Library,
        limit: int = PASSAGE_LIMIT,
        *,
        prompt: str | ReadPrompts = "",
        history: History = _NO_HISTORY,
        budgets: Sequence[Budget] = (),
        places: PlacesOfPassages | None = None,
    ) -> None:
        """Start a generation; words that `prompt` contains don't count.

        history: what it may continue
        budgets: of which it spends words, by their `places`; several may share each

        Raises SettingsError for a limit below the shortest near-verbatim passage, and
        for one that a book is too short to exceed.
        """
        if limit < LEAST_NEAR_VERBATIM_WORDS:
            raise SettingsError(
                f"the limit must be at least {LEAST_NEAR_VERBATIM_WORDS} words, "
                f"not {limit}",
                hint="use a higher limit: "
                "ordinary prose shares shorter runs with books",
            )
        library.validate_books_exceed(limit)
        self.passage: Passage | None = None
        self.exceeded = ""
        self._library = library
        self._limit = limit
        if isinstance(prompt, str):
            prompt = library.read_prompt(prompt)
        self._prompt = prompt
        self._budgets = budgets
        self._places = places or PlacesOfPassages(library) if budgets else None
        self._history = history
        self._text = f"{history.text}\n" if history.text else ""
        self._before = len(self._text)  # characters of the history
        self._sent = len(self._text)  # characters
        self._matched = len(self._text)  # characters
        # Words that may leave unread by the limit, and those that did.
        self._allowed = 0 if history.text else limit
        self._unread = 0
        self._flushed = False  # what was sent last may end inside a word

    def feed(self, delta: str) -> str:
        """Add text; return the text that may be sent now."""
        return self._release(delta, ended=False)

    def release_rest(self) -> str:
        """Return the rest that may be sent; what follows goes on with its last word."""
        rest = self._release("", ended=True)
        self._flushed = True
        return rest

    def end(self) -> str:
        """Return the rest that may be sent; what follows is another text."""
        rest = self.release_rest()
        self._text += " "
        self._sent += 1
        return rest

    def _release(self, delta: str, *, ended: bool) -> str:
        if self.passage:
            return ""
        self._text += delta
        left = self._left()
        starts = self._word_starts(left)
        matched = bisect_left(starts, self._matched)
        most = matched + self._affordable(left)
        if not ended and most < self._allowed:
            most += _UNMATCHED  # so that it isn't matched word by word
        if len(starts) > min(self._allowed, most):
            whole = len(self._text)
            if not ended:
                whole = self._end_of_whole_words(starts)
            if whole > self._matched:
                if not self._match_and_allow_more(starts, whole):
                    return self._stop(starts, whole)
                left = self._left()
                matched = bisect_left(starts, whole)
        if ended:
            return self._take_sendable(starts, len(starts))
        most = matched + self._affordable(left)
        if left < UNSEEN:
            most -= UNSEEN  # so that a passage over the budget leaves no part of it
        return self._take_sendable(starts, max(min(self._allowed, most), 0))

    def _word_starts(self, left: int) -> list[int]:
        """Return where the words begin that haven't left.

        The rest of the last word is unread again after release_rest, or if another
        stream of a budget of which little is left matched what left of this one.
        """
        starts = [word.start() for word in _WORD_START.finditer(self._text, self._sent)]
        goes_on = _WORD.match(self._text, self._sent) and starts[:1] != [self._sent]
        is_unread = self._flushed
        if self._unread and self._affordable(left) < self._limit:
            matched = [budget.matched_by_another(self) for budget in self._budgets]
            is_unread |= any(matched)
        if goes_on and is_unread:
            starts.insert(0, self._sent)
        return starts

    def _take_sendable(self, starts: Sequence[int], most: int) -> str:
        """Return what may leave: up to `most` of the words that begin at `starts`."""
        sent = self._sent
        count = min(len(starts), most)
        self._sent = len(self._text)
        if count < len(starts):
            self._sent = starts[count]
        self._allowed -= min(count, self._allowed)
        matched_words = bisect_left(starts, self._matched)
        self._unread += max(count - matched_words, 0)
        released = self._text[sent : self._sent]
        self._flushed &= not released
        if released or not self._unread:
            self._note_unread()
        self._forget()
        return released

    def _note_unread(self) -> None:
        for budget in self._budgets:
            text = self._text[: self._sent]
            budget.note_unread(
                sender=self,
                text=text,
                prompt=self._prompt,
                words=self._unread,
            )

    def _left(self) -> int:
        """Return how many words the budgets have left."""
        enough = self._limit + UNSEEN
        left = [budget.left(self, enough=enough) for budget in self._budgets]
        return min(left, default=_ANY_NUMBER)

    def _affordable(self, left: int) -> int:
        """Return how many words may leave unread of budgets with so many left."""
        return max(left - UNSEEN - self._unread, 0)

    def _match_and_allow_more(self, starts: Sequence[int], whole: int) -> bool:
        """Match the text up to `whole`; tell whether nothing in it exceeds a limit."""
        passages = self._passages(whole)
        longest = _longest(passages)
        if longest > self._limit:
            return False
        if not spend_if_allowed(self._budgets, self._counted(passages), self):
            return False
        self._matched = whole
        self._unread = 0
        complete = bisect_left(starts, whole)
        left_by_limit = self._limit - self._may_match(longest)
        self._allowed = max(complete + left_by_limit, 0)
        return True

    def _end_of_whole_words(self, starts: Sequence[int]) -> int:
        """Return the place up to which the next text changes no word."""
        last = self._text[-1]
        has_ended = last.isascii() and not last.isalnum()
        if has_ended or len(self._text) - starts[-1] > _LONGEST_WORD:
            return len(self._text)
        return starts[-1]

    def _may_match(self, longest: int) -> int:
        """Return the most words of a passage in the matched text.

        longest: of the passages that show; others show once there are enough signs of a
                 disguise
        """
        text = self._text[: self._matched]
        longest = max(longest, LEAST_NEAR_VERBATIM_WORDS - 1)
        odd = len(odd_marks([text])[0])
        if odd < ODD:
            longest += odd // 2
        backward = _count_words_after_usual_one(text)
        if backward < STRANGE:
            return max(longest, backward) + _UNMATCHED
        return longest + _UNMATCHED_BACKWARD

    def _passages(self, end: int) -> list[Passage]:
        """Return the passages up to `end` that aren't wholly in the history."""
        least = COUNTED if self._budgets else LEAST_NEAR_VERBATIM_WORDS
        text = self._text[:end]
        passages = self._library.find([text], self._prompt, least=least)
        if not self._before or _longest(self._history.passages) <= self._limit:
            return passages
        beyond = [each for each in passages if not self._is_in_history(each)]
        answer = text[self._before :]
        return beyond + self._library.find([answer], self._prompt, least=least)

    def _is_in_history(self, passage: Passage) -> bool:
        for other in self._history.passages:
            is_alike = other.book == passage.book and other.near == passage.near
            is_within = other.start <= passage.start and passage.end <= other.end
            if is_alike and is_within:
                return True
        return False

    def _stop(self, starts: Sequence[int], whole: int) -> str:
        """End the generation before the first word that exceeds a limit."""
        ends = [start for start in starts[1:] if start < whole]
        ends.append(whole)
        nth = bisect_left(ends[:-1], True, key=self._exceeds)
        passages = self._passages(ends[nth])
        longest = _longest(passages)
        if longest > self._limit:
            self.exceeded = "limit"
            self.passage = max(passages, key=attrgetter("words"))
            nth -= longest - self._limit - 1
        elif excess := self._excess(passages):
            self.exceeded = "budget"
            of_book = [each for each in passages if each.book == excess.book]
            self.passage = max(of_book, key=attrgetter("place_end"))
            nth -= _words_over(self.passage, excess) - 1
        stop = self._end_before_begun_blob(starts[max(nth, 0)])
        released = self._text[self._sent : stop]
        self._count_sent(self._sent + len(released))
        return released

    def _end_before_begun_blob(self, end: int) -> int:
        """Return an end before what may be the beginning of a blob, too short to read.

        A client can read it.
        """
        start = max(end - SHORTEST_BLOB - 1, 0)
        begun = _BEGUN_BLOB.search(self._text[start:end])
        return end - len(begun[0]) if begun else end

    def _exceeds(self, end: int) -> bool:
        """Tell whether the text up to `end` exceeds the limit, or a budget."""
        passages = self._passages(end)
        if _longest(passages) > self._limit:
            return True
        return self._excess(passages) is not None

    def _excess(self, passages: Sequence[Passage]) -> Excess | None:
        places = self._counted(passages)
        excesses = [budget.excess(places, self) for budget in self._budgets]
        return max(filter(None, excesses), key=attrgetter("words"), default=None)

    def _counted(self, passages: Sequence[Passage]) -> list[Place]:
        return self._places.of(passages) if self._places else []

    def _count_sent(self, end: int) -> None:
        """Count what left of a text that ends here."""
        if self._budgets:
            places = self._counted(self._passages(end))
            for budget in self._budgets:
                budget.add(places)
                budget.note_unread(
                    sender=self,
                    text="",
                    prompt=self._prompt,
                    words=0,
                )

    def _forget(self) -> None:
        """Forget text that no passage over the limit reaches back to."""
        window = _CHARACTERS * self._limit
        last_sent = self._sent - 1
        over = min(len(self._text) - window, last_sent)
        if over <= window // 3:
            return
        blank = self._text.find(" ", over, last_sent)
        cut = max(blank, over)
        self._text = self._text[cut:]
        self._sent -= cut
        self._matched -= cut
        self._before = max(self._before - cut, 0)


def _longest(passages: Sequence[Passage]) -> int:
    return max((passage.words for passage in passages), default=0)


def _words_over(passage: Passage, excess: Excess) -> int:
    """Return how many of a passage's last words may not leave: all if none counted.

    Else each answer could begin the passage again.
    """
    least = LEAST_NEAR_VERBATIM_WORDS if passage.near else COUNTED
    if passage.words - excess.words < least:
        return passage.place_end - passage.place
    return excess.words


def _count_words_after_usual_one(text: str) -> int:
    """Count the trailing words that may be reversed: a long stretch shows that."""
    end_of_text = text[-_LONGEST_WORD * 2 :]
    words = _WORD.findall(end_of_text.lower())
    for count, word in enumerate(reversed(words)):
        if word in _USUAL:
            return count
    return len(words)
