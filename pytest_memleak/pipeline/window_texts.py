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

from pytest_memleak.ledger.prompts import PairPrompts, digest_of
from pytest_memleak.pipeline.prompted_book import pair_prompts
from pytest_memleak.records import Book, BookPrompt, Pair
from pytest_memleak.scoring.window_probability import (
    PREFIX_TOKENS,
    WINDOW_TOKENS,
    Window,
    most_windows,
    windows_of_tokens,
)
from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.interfaces.abilities import TokenLogprobs

# Up to so many characters, before a blank if there is one: some 400 tokens of English,
# which every context has room for.
_PART = re.compile(r".{1,1500}(?=\s|\Z)|.{1,1500}", re.DOTALL)
# More tokens than estimated, for a plan at its highest.
_MARGIN = 1.5
_BEGIN_OF_TEXT = 1


@dataclass(frozen=True, slots=True)
class BookSection:
    """Text of a book without a break.

    first: the number of its first excerpt
    starts: where each of its excerpts begins, in characters
    """

    first: int
    starts: tuple[int, ...]
    text: str = field(repr=False)

    def excerpt_at(self, place: int) -> int:
        """Return the number of the excerpt in which a character stands, from 0."""
        within = sum(start <= place for start in self.starts)
        return self.first + within - 1


@dataclass(frozen=True, slots=True)
class BookWindow:
    """A window of a section, and the id of its text."""

    id: str
    section: BookSection
    window: Window

    @property
    def text(self) -> str:
        """Its prefix and the window."""
        return self.section.text[self.window.prefix : self.window.end]

    @property
    def prefix_length(self) -> int:
        """The length of its prefix, in characters."""
        return self.window.start - self.window.prefix


@dataclass(frozen=True, slots=True)
class WindowTexts:
    """The texts of a pair's book."""

    pair: Pair
    book: Book

    def parts(self) -> PairPrompts:
        """Return the parts of the book as prompts."""
        prompts = []
        for number, section in enumerate(self.sections()):
            for part in _PART.finditer(section.text):
                name = _part_id(number, part.start())
                prompts.append(BookPrompt(name, part[0]))
        return self._prompts(prompts)

    def windows(self, parts: Mapping[str, TokenLogprobs]) -> list[BookWindow]:
        """Return the windows, by the tokens of each part; none cross an empty part."""
        windows = []
        for number, section in enumerate(self.sections()):
            for starts, end in _token_runs(section, number, parts):
                for window in windows_of_tokens(starts, end):
                    name = f"window {number}.{window.prefix}.{window.end}"
                    windows.append(BookWindow(name, section, window))
        return windows

    def prompts_of(self, windows: Iterable[BookWindow]) -> PairPrompts:
        """Return windows as prompts."""
        by_id = {window.id: BookPrompt(window.id, window.text) for window in windows}
        return self._prompts([*by_id.values()])

    def foreseen_windows(self, tokens: int) -> PairPrompts:
        """Return prompts for as many windows as a book of so many tokens may have.

        tokens: as estimated
        """
        (first,) = self._prompts([BookPrompt("foreseen", "")]).questions
        count = most_windows(math.ceil(tokens * _MARGIN))
        whole = _BEGIN_OF_TEXT + PREFIX_TOKENS + WINDOW_TOKENS
        foreseen = []
        for number in range(count):
            name = f"foreseen {number}"
            digest = digest_of(name, self.book.id)
            window = replace(first, excerpt_id=name, instruction_digest=digest)
            foreseen.append(replace(window, most_prompt_tokens=whole))
        return replace(self._prompts([]), questions=tuple(foreseen))

    def sections(self) -> Iterator[BookSection]:
        """Yield the book's sections, in order."""
        excerpts = self.book.excerpts
        for first, end in pairwise([0, *self.book.breaks, len(excerpts)]):
            texts = [excerpt.text for excerpt in excerpts[first:end]]
            starts = [0]
            for text in texts[:-1]:
                starts.append(starts[-1] + len(text) + len(_BETWEEN))
            yield BookSection(first, tuple(starts), _BETWEEN.join(texts))

    def word_at(self, section: BookSection, place: int) -> int:
        """Return the number of the book's words before a character of a section."""
        mode = self.pair.scoring.word_mode
        number = section.excerpt_at(place)
        excerpts = self.book.excerpts
        before = sum(len(words(each.text, mode)) for each in excerpts[:number])
        start = section.starts[number - section.first]
        return before + len(words(section.text[start:place], mode))

    def _prompts(self, prompts: Sequence[BookPrompt]) -> PairPrompts:
        """Return texts as prompts; in the ledger, they are no attempt at the book."""
        sampling = replace(
            self.pair.sampling,
            samples=1,
            temperature=0.0,
            seed=None,
            max_tokens=1,
        )
        book = replace(
            self.book,
            excerpts=(),
            prompts=tuple(prompts),
            words_digest=digest_of(self.book.words_digest, "log-probabilities"),
        )
        return pair_prompts(replace(self.pair, sampling=sampling), book)


_BETWEEN = "\n\n"  # excerpts, as between paragraphs


def _part_id(section: int, start: int) -> str:
    return f"part {section}.{start}"


def _token_runs(
    section: BookSection,
    number: int,
    parts: Mapping[str, TokenLogprobs],
) -> Iterator[tuple[list[int], int]]:
    """Yield where tokens begin, up to each part without any, and where they end."""
    starts: list[int] = []
    for part in _PART.finditer(section.text):
        inside = parts[_part_id(number, part.start())].starts
        if not inside and starts:
            yield starts, part.start()
            starts = []
        starts += [part.start() + start for start in inside]
    if starts:
        yield starts, len(section.text)
