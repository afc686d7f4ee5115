"""The texts of a book whose log-probabilities are asked: first parts, then windows.

The parts show where the model's tokens begin, from which the windows follow; each
window is then asked with its prefix alone, as a sampler would see it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from pytest_memleak.ledger.prompts import PairPrompts, digest_of_parts
from pytest_memleak.pipeline.prompted_book import pair_prompts
from pytest_memleak.records import Book, BookPrompt, Pair
from pytest_memleak.scoring.window_probability import (
    PREFIX_TOKENS,
    STRIDE,
    WINDOW_TOKENS,
    Window,
    windows_of_tokens,
)
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.interfaces.abilities import TokenLogprobs

# Up to so many characters, before a blank if there is one.
_PART = re.compile(r".{1,500}(?=\s|\Z)|.{1,500}", re.DOTALL)
# More tokens than estimated, for a plan at its highest.
_MARGIN = 1.5
_MOST_PROMPT_TOKENS = 1 + PREFIX_TOKENS + WINDOW_TOKENS  # with the begin of text
_BETWEEN_EXCERPTS = "\n\n"  # as between paragraphs


@dataclass(frozen=True, slots=True)
class BookPiece:
    """Text of a book without a break.

    words_before: how many words of the book are before it
    """

    words_before: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BookWindow:
    """A window of a piece of a book."""

    piece: BookPiece
    window: Window

    @property
    def text(self) -> str:
        """Its prefix and the window."""
        return self.piece.text[self.window.prefix : self.window.end]

    @property
    def prefix_length(self) -> int:
        """The length of its prefix, in characters."""
        return self.window.start - self.window.prefix

    def overlaps(self, other: BookWindow) -> bool:
        """Tell whether both, without their prefixes, share characters."""
        own, others = self.window, other.window
        return (
            self.piece == other.piece
            and own.start < others.end
            and others.start < own.end
        )


@dataclass(frozen=True, slots=True)
class WindowTexts:
    """The texts of a pair's book."""

    pair: Pair
    book: Book

    def parts(self) -> PairPrompts:
        """Return the parts of the book as prompts."""
        texts: list[str] = []
        for piece in self._pieces():
            texts += _PART.findall(piece.text)
        return self.prompts_of(texts)

    def windows(self, tokens_of: Mapping[str, TokenLogprobs]) -> list[BookWindow]:
        """Return the windows; none cross a part whose tokens aren't known.

        tokens_of: the tokens of each part, by its text
        """
        windows: list[BookWindow] = []
        for piece in self._pieces():
            starts: list[int] = []
            for part in _PART.finditer(piece.text):
                inside = tokens_of[part[0]].starts
                if not inside:
                    windows += _windows_in(piece, starts, part.start())
                    starts = []
                starts += [part.start() + start for start in inside]
            windows += _windows_in(piece, starts, len(piece.text))
        return windows

    def foreseen_windows(self, tokens: int) -> PairPrompts:
        """Return prompts for as many windows as a book of so many tokens may have.

        tokens: as estimated
        """
        count = math.ceil(tokens * _MARGIN / STRIDE)
        prompts = self.prompts_of(map(str, range(count)))
        specs = []
        for spec in prompts.specs:
            specs.append(replace(spec, most_prompt_tokens=_MOST_PROMPT_TOKENS))
        return replace(prompts, specs=tuple(specs))

    def prompts_of(self, texts: Iterable[str]) -> PairPrompts:
        """Return texts as prompts, each once; in the ledger, no attempt at the book."""
        sampling = replace(
            self.pair.sampling, samples=1, temperature=0.0, seed=None, max_tokens=1
        )
        prompts = []
        for text in dict.fromkeys(texts):
            prompts.append(BookPrompt(digest_of_parts(text), text))
        book = replace(
            self.book,
            excerpts=(),
            prompts=tuple(prompts),
            words_digest=digest_of_parts(self.book.words_digest, "log-probabilities"),
        )
        return pair_prompts(replace(self.pair, sampling=sampling), book)

    def words_of(self, window: BookWindow) -> tuple[int, int]:
        """Return the words of a window in the book, half-open."""
        piece, place = window.piece, window.window
        before = piece.words_before + self._count_words(piece.text[: place.start])
        return before, before + self._count_words(piece.text[place.start : place.end])

    def _pieces(self) -> Iterator[BookPiece]:
        """Yield the book's text, cut at its breaks."""
        excerpts = self.book.excerpts
        words_before = 0
        for first, end in pairwise([0, *self.book.breaks, len(excerpts)]):
            texts = [excerpt.text for excerpt in excerpts[first:end]]
            piece = BookPiece(words_before, _BETWEEN_EXCERPTS.join(texts))
            yield piece
            words_before += self._count_words(piece.text)

    def _count_words(self, text: str) -> int:
        return len(words(text, self.pair.scoring.word_mode))


def _windows_in(
    piece: BookPiece,
    starts: Sequence[int],
    end: int,
) -> Iterator[BookWindow]:
    for window in windows_of_tokens(starts, end):
        yield BookWindow(piece, window)
