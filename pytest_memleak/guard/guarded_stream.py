"""A generation that is sent as it is written, up to too long a passage of a book."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.book_words import NEAR_MATCH
from pytest_memleak.scoring.find_passages import NEAR_PASSAGE
from pytest_memleak.scoring.further_readings import ODD, STRANGE, USUAL, odd_marks
from pytest_memleak.scoring.measure_table import PASSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.library.library import Library, Passage

# Per word of the limit: passages with words inserted, or in JSON objects, have fewer.
_CHARACTERS = 80
_LONGEST_WORD = 256
# The most last words that may belong to a passage without showing it.
_UNMATCHED = NEAR_MATCH - 1
_UNMATCHED_BACKWARD = 12
_USUAL = frozenset(USUAL.split())
_WORD = re.compile(r"[^\W_]+")
# A letter may be a word in scripts without spaces, and a space in byte-level tokens;
# folding makes words of symbols.
_WORD_START = re.compile(
    r"(?<![^\W_])[^\W_]|[\u0100-\u0143\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u20a0-\U0010ffff]",
)


class Stream:
    """One generation, which ends before more than `limit` words of a passage have left.

    As in docs/scan-and-guard.md: feed it deltas until there is a passage, then send its
    `end()`. It holds back the words that could exceed the limit until it has read them.
    A match shows only from its fifth word on, so the last four words may belong to a
    passage, too, and up to four of the prompt's words may count as a passage's. It
    matches the last 80 characters per word of the limit, in memory that doesn't grow.

    passage: what ended it
    """

    def __init__(
        self,
        library: Library,
        limit: int = PASSAGE_LIMIT,
        *,
        prompt: str = "",
    ) -> None:
        """Start a generation; words that `prompt` contains don't count.

        Raises SettingsError for a limit below the shortest near-verbatim passage, and
        for one that a book is too short to exceed.
        """
        if limit < NEAR_PASSAGE:
            raise SettingsError(
                f"the limit must be at least {NEAR_PASSAGE} words, not {limit}",
                hint="use a higher limit: "
                "ordinary prose shares shorter runs with books",
            )
        library.validate_limit(limit)
        self.passage: Passage | None = None
        self._library = library
        self._limit = limit
        self._prompt = prompt
        self._text = ""
        self._sent = 0  # characters
        self._matched = 0  # characters
        self._allowed = limit  # words that may leave unread

    def feed(self, delta: str) -> str:
        """Add text; return the text that may be sent now."""
        return self._release(delta, ended=False)

    def end(self) -> str:
        """Return the rest that may be sent; what follows is another text."""
        rest = self._release("", ended=True)
        self._text += " "
        self._sent += 1
        return rest

    def _release(self, delta: str, *, ended: bool) -> str:
        if self.passage:
            return ""
        self._text += delta
        starts = [word.start() for word in _WORD_START.finditer(self._text, self._sent)]
        if len(starts) > self._allowed:
            whole = len(self._text)
            if not ended:
                whole = self._end_of_whole_words(starts)
            if whole > self._matched and not self._allow_more(starts, whole):
                return self._stop(starts, whole)
        sent = self._sent
        self._sent = len(self._text)
        if len(starts) > self._allowed and not ended:
            self._sent = starts[self._allowed]
        self._allowed -= min(len(starts), self._allowed)
        released = self._text[sent : self._sent]
        self._forget()
        return released

    def _allow_more(self, starts: Sequence[int], whole: int) -> bool:
        """Match the text up to `whole`; tell whether no passage exceeds the limit."""
        longest = self._longest_passage(whole)
        if longest > self._limit:
            return False
        self._matched = whole
        complete = bisect_left(starts, whole)
        self._allowed = max(complete + self._limit - self._may_match(longest), 0)
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
        longest = max(longest, NEAR_PASSAGE - 1)
        odd = len(odd_marks([text])[0])
        if odd < ODD:
            longest += odd // 2
        backward = _words_since_a_usual_one(text)
        if backward < STRANGE:
            return max(longest, backward) + _UNMATCHED
        return longest + _UNMATCHED_BACKWARD

    def _passages(self, end: int) -> list[Passage]:
        return self._library.find([self._text[:end]], [self._prompt])

    def _longest_passage(self, end: int) -> int:
        return max((passage.words for passage in self._passages(end)), default=0)

    def _stop(self, starts: Sequence[int], whole: int) -> str:
        """End the generation before the first word that exceeds the limit."""
        ends = [start for start in starts[1:] if start < whole]
        ends.append(whole)
        nth = bisect_right(ends, self._limit, key=self._longest_passage)
        self.passage = max(self._passages(ends[nth]), key=attrgetter("words"))
        nth -= self.passage.words - self._limit - 1
        return self._text[self._sent : starts[max(nth, 0)]]

    def _forget(self) -> None:
        """Forget text that no passage over the limit reaches back to."""
        window = _CHARACTERS * self._limit
        over = min(len(self._text) - window, self._sent - 1)
        if over > window // 3:
            cut = max(self._text.find(" ", over, self._sent - 1), over)
            self._text = self._text[cut:]
            self._sent -= cut
            self._matched -= cut


def _words_since_a_usual_one(text: str) -> int:
    """Count the trailing words that may be reversed: a long stretch shows that."""
    words = _WORD.findall(text[-_LONGEST_WORD * 2 :].lower())
    for count, word in enumerate(reversed(words)):
        if word in _USUAL:
            return count
    return len(words)
