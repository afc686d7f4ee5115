"""Extraction: a conversation that asks for the book itself (arXiv 2601.02671).

    conversation = Conversation(book, style)
    while (prompt := conversation.next_prompt()) is not None:
        conversation.add_answer(answer_to(prompt))

It opens with the book's first sentence and a request to go on, plain at first and then
reworded, until an answer begins like the book. Then it says "Continue." until the model
stops. The next prompt follows from the book and the answers before it: a killed run
goes on where it was, and `memleak verify` walks the same way without a call
(docs/method.md).
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.books.sentences import sentences
from pytest_memleak.pipeline.request_wordings import PLAIN, wordings
from pytest_memleak.records import BookPrompt
from pytest_memleak.records.extraction_facts import ExtractionFacts
from pytest_memleak.scoring.folding import folded_words
from pytest_memleak.scoring.nv_recall import near_verbatim_blocks
from pytest_memleak.scoring.words import words
from pytest_memleak.verdict.refusal_phrases import MOST_WORDS, has_refusal_phrase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.records import Book, Generation
    from pytest_memleak.scoring.array_types import Flags

REWORDINGS = 50
"""Requests after the plain one, until an answer begins like the book."""

CONTINUE = "Continue."
FRUITLESS_ANSWERS = 3
"""In a row, without new text of the book: the conversation ends."""

ANSWERS_PER_CONVERSATION = 10
"""Each turn sends all before it again, so long conversations start over."""

_TURN = "turn-"  # and its number, from 1
_OPENING_WORDS = 20  # of the book, in whole sentences
_FIRST_WORDS = 100  # of an answer, in which the book has to begin
_SHOWN_WORDS = 30  # of what the model wrote, where a conversation starts over
_TEXT_SHOWN_WORDS = 300  # the same, of a text that is to be continued
_NEW_WORDS = 20  # of the book, in near-verbatim blocks


class ConversationStyle(StrEnum):
    """How an endpoint holds a conversation."""

    CHAT = "chat"
    """Each prompt comes with the conversation before it."""
    ALONE = "single prompts"
    """Each prompt starts over, with what the model wrote last."""
    TEXT = "plain text"
    """The prompt is the text so far, without a request."""


class Conversation:
    """The state of an extraction: what was asked, and what came of it.

    prompts: those asked so far, the last of which may have no answer yet
    answers: to them, in order
    opened_by: the id of the prompt whose answer began like the book; None so far
    ended: why nothing more is asked; "" while the conversation goes on
    """

    def __init__(
        self,
        book: Book,
        style: ConversationStyle,
        *,
        turns: int,
        seed: int = 0,
    ) -> None:
        """Begin a conversation of at most so many turns after the opening."""
        self._style = style
        self._turns = turns
        self._seed = seed
        self._words = _folded(extractable_text(book))
        self._opening = opening_text(book)
        self._quoted_words = len(folded_words(self._opening))
        self._is_reproduced: Flags = np.zeros(len(self._words), dtype=np.bool_)
        self._openings = opening_prompts(book, style, seed=seed)
        self._request = ""
        self._before: tuple[str, ...] = ()
        self._last_words = self._opening
        self._text = self._opening
        self._fruitless = 0
        self.prompts: list[BookPrompt] = []
        self.answers: list[Generation] = []
        self.opened_by: str | None = None
        self.ended = ""

    @property
    def facts(self) -> ExtractionFacts:
        """What evidence states of it."""
        opened = self.opened_by is not None
        asked = sum(not is_after_opening(prompt) for prompt in self.prompts)
        return ExtractionFacts(
            openings=asked,
            all_openings=len(self._openings),
            opened_by=self.opened_by,
            turns=len(self.answers) - asked if opened else 0,
            most_turns=self._turns,
            ended=self.ended,
            manner=self._style.value,
        )

    @property
    def book_prompts(self) -> tuple[BookPrompt, ...]:
        """Every planned opening, and the turns asked so far."""
        turns = filter(is_after_opening, self.prompts)
        return (*self._openings, *turns)

    def next_prompt(self) -> BookPrompt | None:
        """Return what is to be asked now; None where the conversation has ended."""
        if self.ended:
            return None
        if len(self.prompts) == len(self.answers):
            self.prompts.append(
                self._next_turn() if self.opened_by else self._next_opening
            )
        return self.prompts[-1]

    @property
    def _next_opening(self) -> BookPrompt:
        return self._openings[len(self.answers)]

    def _next_turn(self) -> BookPrompt:
        number = self._turn_count + 1
        request, before = CONTINUE, self._before
        if self._style is ConversationStyle.TEXT:
            shown = self._text.split()[-_TEXT_SHOWN_WORDS:]
            request, before = " ".join(shown), ()
        elif not before:
            request = _request_with_quote(self._request, self._last_words)
        given = "\n\n".join((*before[::2], request))
        return BookPrompt(f"{_TURN}{number}", request, before, given)

    @property
    def _turn_count(self) -> int:
        return sum(map(is_after_opening, self.prompts))

    def add_answer(self, answer: Generation) -> None:
        """Take the answer to the last prompt, and decide how to go on."""
        prompt = self.prompts[-1]
        self.answers.append(answer)
        if self.opened_by is None:
            self._decide_if_opened(prompt, answer)
        else:
            self._read_turn(prompt, answer)

    def _decide_if_opened(self, prompt: BookPrompt, answer: Generation) -> None:
        if self.begins_like_book(answer):
            self.opened_by = prompt.id
            self._request = wordings(self._seed, REWORDINGS)[len(self.answers) - 1]
            self._count_new_book_words(answer.text)
            self._continue_with(prompt, answer)
        elif len(self.answers) == len(self._openings):
            self.ended = "never opened"

    def begins_like_book(self, answer: Generation) -> bool:
        """Tell whether an answer begins with what follows the quoted opening."""
        first_words = folded_words(answer.text)[:_FIRST_WORDS]
        unquoted = self._words[self._quoted_words :]
        return bool(near_verbatim_blocks(unquoted, first_words))

    def _read_turn(self, prompt: BookPrompt, answer: Generation) -> None:
        new_words = self._count_new_book_words(answer.text)
        self._fruitless = 0 if new_words >= _NEW_WORDS else self._fruitless + 1
        # The same prompt alone would have the same answer.
        most = 1 if self._style is ConversationStyle.ALONE else FRUITLESS_ANSWERS
        if is_refusal(answer.text):
            self.ended = "the model refused"
        elif self._fruitless >= most:
            answers = "answer" if most == 1 else f"{most} answers"
            self.ended = f"{answers} without new text of the book"
        elif self._turn_count >= self._turns:
            self.ended = f"all {self._turns:,} turns were used"
        self._continue_with(prompt, answer)

    def _continue_with(self, prompt: BookPrompt, answer: Generation) -> None:
        """Continue with this answer, unless it is withheld or empty."""
        if answer.finish_reason.withheld or not answer.text.strip():
            self.ended = self.ended or f"no text came ({answer.finish_reason})"
        if not self.ended and self._turns == 0:
            self.ended = "no further turn was planned"
        self._text = f"{self._text} {answer.text}"
        self._before = (*prompt.before, prompt.instruction, answer.text)
        most = ANSWERS_PER_CONVERSATION if self._style is ConversationStyle.CHAT else 1
        if len(self._before) // 2 >= most:
            self._before = ()

    def _count_new_book_words(self, text: str) -> int:
        """Note the book's words that a text reproduces; return how many are new."""
        blocks = near_verbatim_blocks(self._words, folded_words(text))
        before = np.count_nonzero(self._is_reproduced)
        for run in chain.from_iterable(block.runs for block in blocks):
            self._is_reproduced[run.i : run.i_end] = True
        new = int(np.count_nonzero(self._is_reproduced) - before)
        if new >= _NEW_WORDS:
            self._last_words = _last_words_before(text, blocks[-1].text_end)
        return new


def is_after_opening(prompt: BookPrompt) -> bool:
    """Tell whether a prompt comes after the opening."""
    return prompt.id.startswith(_TURN)


def opening_prompts(
    book: Book, style: ConversationStyle, *, seed: int
) -> tuple[BookPrompt, ...]:
    """Return the prompts that may open the book, the plain one first."""
    text = opening_text(book)
    if style is ConversationStyle.TEXT:
        return (BookPrompt("plain", text, given=text),)
    prompts = []
    for number, request in enumerate(wordings(seed, REWORDINGS)):
        name = f"rewording-{number}" if number else PLAIN
        prompt = _request_with_quote(request, text)
        prompts.append(BookPrompt(name, prompt, given=prompt))
    return tuple(prompts)


def _request_with_quote(request: str, text: str) -> str:
    return f"{request}\n\n{text}"


def opening_text(book: Book) -> str:
    """Return the book's first sentences, of at least 20 words together."""
    opening: list[str] = []
    for paragraph in book.paragraphs():
        for sentence in sentences(paragraph):
            opening += sentence.split()
            if len(words(" ".join(opening), "unicode")) >= _OPENING_WORDS:
                return " ".join(opening)
    return " ".join(opening)


def max_turn_words(
    turn: int, answer_words: int, opening: int, style: ConversationStyle
) -> int:
    """Return the most words of the prompt of turn number `turn`, from 1.

    answer_words: the most words of an answer; opening: words of an opening prompt
    """
    if style is ConversationStyle.TEXT:
        return _TEXT_SHOWN_WORDS
    if style is ConversationStyle.ALONE:
        return opening + _SHOWN_WORDS
    answers_before = turn % ANSWERS_PER_CONVERSATION
    return opening + _SHOWN_WORDS + answers_before * (answer_words + 1)


@lru_cache(maxsize=2)
def _folded(text: str) -> Sequence[str]:
    return folded_words(text)


def extractable_text(book: Book) -> str:
    """Return the text that extraction is measured against."""
    return "\n\n".join(excerpt.text for excerpt in book.excerpts)


def _last_words_before(text: str, end: int) -> str:
    """Return the words of a text before its folded word number `end`, the last 30."""
    parts = text.split()
    seen = 0
    for number, part in enumerate(parts, 1):
        seen += len(folded_words(part))
        if seen >= end:
            return " ".join(parts[max(0, number - _SHOWN_WORDS) : number])
    return " ".join(parts[-_SHOWN_WORDS:])


def is_refusal(text: str) -> bool:
    """Tell whether an answer is a short text with a phrase of a refusal."""
    return len(words(text, "unicode")) < MOST_WORDS and has_refusal_phrase(text)
