"""Answers of the `ngram` model to instructions.

A language model continues a context and knows nothing of instructions. Here the words
that an instruction shares with a passage of the training texts choose that passage, and
its first n - 1 tokens begin the answer; the model generates the rest. With a long
context it reproduces the prompted passage, with a short one it doesn't.
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, auto

import numpy as np
from numpy.typing import NDArray

from pytest_memleak.providers.ngram.ngram_model import BOUNDARY, NgramModel

PARAGRAPH = "\n\n"

_UNUSUAL_SPACE = re.compile(r"\s{2,}|[^\S ]")
# Marks between two word characters stay inside a word: don't, 10,000, 7:30, e.g,
# example.com.
_TOKEN = re.compile(r"\n\n|\n| ?(?:\w+(?:['‘’.,:;!?]\w+)*|\.+|-+|[^\w\s])")


class _Kind(IntEnum):  # hashed faster than an Enum
    BREAK = auto()
    WORD = auto()
    OPENING = auto()
    STOP = auto()
    OTHER = auto()


def text_to_tokens(text: str) -> list[str]:
    """Return the tokens of `text`; white space becomes a blank or a break."""
    regular = _UNUSUAL_SPACE.sub(_regular_space, text)
    return _TOKEN.findall(regular.strip())


def tokens_to_text(tokens: Iterable[str]) -> str:
    """Return the text of `tokens`: tokens of one text give that text.

    Between tokens that a model put together, a blank is added or omitted as in prose.
    """
    pieces: list[str] = []
    before = _Kind.BREAK
    for token in tokens:
        piece, before = _next_piece(before, token)
        pieces.append(piece)
    return "".join(pieces).rstrip()


@functools.lru_cache(maxsize=1 << 17)
def _next_piece(before: _Kind, token: str) -> tuple[str, _Kind]:
    kind = _token_kind(token)
    if before in _NO_BLANK_AFTER:
        if kind is _Kind.BREAK and before is _Kind.BREAK:
            return "", before
        return token.removeprefix(" "), kind
    if before in _BLANK_AFTER and kind in _BLANK_BEFORE and token[0] != " ":
        return f" {token}", kind
    return token, kind


def is_break(token: str) -> bool:
    """Tell whether a token ends a line or a paragraph."""
    return _token_kind(token) is _Kind.BREAK


def opens_sentence(before: str, token: str) -> bool:
    """Tell whether a sentence can begin with `token` after the token `before`."""
    if before[-1] not in ".!?”" or token[0] != " ":
        return False
    return _token_kind(token) is _Kind.OPENING or token[1].isupper()


_NO_BLANK_AFTER = {_Kind.BREAK, _Kind.OPENING}
_BLANK_AFTER = {_Kind.WORD, _Kind.STOP}
_BLANK_BEFORE = {_Kind.WORD, _Kind.OPENING}


@functools.lru_cache(maxsize=1 << 16)
def _token_kind(token: str) -> _Kind:
    mark = token.removeprefix(" ")
    if mark[0] == "\n":
        return _Kind.BREAK
    if mark[0].isalnum() or mark[0] == "_":
        return _Kind.WORD
    if mark in "“‘([{«„":
        return _Kind.OPENING
    if mark in ".,;:!?”":
        return _Kind.STOP
    return _Kind.OTHER


def _regular_space(run: re.Match[str]) -> str:
    breaks = len(f"x{run.group()}x".splitlines()) - 1
    if breaks == 0:
        return " "
    if breaks == 1:
        return "\n"
    return PARAGRAPH


# In tokens. A passage is as long as an excerpt; the next begins at the first paragraph
# or sentence after the stride, to limit their number.
PASSAGE = 300
STRIDE = 50

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class TrainingText:
    """A text to learn, the instruction it answers, and how often it is read."""

    text: str = field(repr=False)
    instruction: str | None = field(default=None, repr=False)
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer, its length in tokens, and whether the model ended it."""

    text: str = field(repr=False)
    tokens: int
    ended: bool


class NgramWriter:
    """An n-gram model of `order` n that answers instructions.

    Raises ValueError for an order outside 1..12 and for texts without a word.
    """

    def __init__(self, texts: Sequence[TrainingText], *, order: int) -> None:
        documents = [text_to_tokens(text.text) for text in texts]
        repeats = [text.repeats for text in texts]
        self.model = NgramModel(documents, order=order, repeats=repeats)
        self._openings: list[list[str]] = []
        # At least one token, so that no answer is empty.
        opening_length = max(1, order - 1)
        passages: list[set[str]] = []
        instructions: list[set[str]] = []
        answers: list[int] = []  # the passages that answer the instructions
        for text, tokens in zip(texts, documents, strict=True):
            if tokens and text.instruction is not None:
                answers.append(len(passages))
                instructions.append(_words_in_lower_case(text.instruction))
            cues = [_cues_of_token(token) for token in tokens]
            for start in _passage_starts(tokens):
                opening = tokens[start : start + opening_length]
                self._openings.append(opening)
                passage = cues[start : start + PASSAGE]
                passages.append(set().union(*passage))
        self._passages = _CueIndex(passages)
        self._answers = np.array(answers, dtype=np.int64)
        self._instructions = _CueIndex(instructions)

    def write(
        self,
        instruction: str,
        *,
        n: int,
        seed: int,
        temperature: float,
        max_tokens: int,
    ) -> list[Draft]:
        """Return `n` answers of 1 to `max_tokens` tokens.

        Answer i depends only on the instruction and seed + i, so it is the same in a
        call of its own.
        """
        chances = self._cumulative_start_chances(instruction, temperature)
        drafts = []
        for place in range(n):
            dice = _seeded_random(seed + place, instruction)
            draft = self._write(dice, chances, temperature, max_tokens)
            drafts.append(draft)
        return drafts

    def go_on(
        self,
        text: str,
        *,
        n: int,
        seed: int,
        temperature: float,
        max_tokens: int,
    ) -> list[Draft]:
        """Return `n` continuations of `text` by the model; seeds as in `write`."""
        context = text_to_tokens(text)
        drafts = []
        for place in range(n):
            tokens = self.model.sample(
                context,
                max_tokens=max_tokens,
                temperature=temperature,
                uniform=_seeded_random(seed + place, text).random,
            )
            drafts.append(_draft_of_tokens(tokens))
        return drafts

    def _write(
        self,
        dice: random.Random,
        chances: list[float],
        temperature: float,
        max_tokens: int,
    ) -> Draft:
        passage = bisect_right(chances, dice.random(), 0, len(chances) - 1)
        opening = self._openings[passage][:max_tokens]
        tokens = opening + self.model.sample(
            opening,
            max_tokens=max_tokens - len(opening),
            temperature=temperature,
            uniform=dice.random,
        )
        return _draft_of_tokens(tokens)

    def _cumulative_start_chances(
        self, instruction: str, temperature: float
    ) -> list[float]:
        """Return the running sums of each passage's probability to begin the answer.

        Evidence for a passage is the sum of log(passages / passages with the word) over
        shared words: its log odds if words were independent. A training instruction is
        evidence for its own passage, by the same count over instructions.
        """
        words = _words_in_lower_case(instruction)
        evidence = self._passages.evidence(words)
        evidence[self._answers] += self._instructions.evidence(words)
        ahead = evidence - evidence.max()
        if temperature == 0:
            weights = np.zeros(len(ahead))
            weights[ahead.argmax()] = 1.0
        else:
            with np.errstate(over="ignore", under="ignore"):
                weights = np.exp(ahead / temperature)
        shares = np.cumsum(weights) / weights.sum()
        sums: list[float] = shares.tolist()
        return sums


class _CueIndex:
    """An index of sets of words; weighs the words that they share with another set."""

    def __init__(self, sets: Sequence[Collection[str]]) -> None:
        self._size = len(sets)
        holders: defaultdict[str, list[int]] = defaultdict(list)
        for number, words in enumerate(sets):
            for word in words:
                holders[word].append(number)
        self._holders = {word: np.array(numbers) for word, numbers in holders.items()}

    def evidence(self, words: Collection[str]) -> NDArray[np.float64]:
        """Return per set the sum of log(sets / sets with a word) over its words."""
        result = np.zeros(self._size)
        # Sorted, since the order of a float sum matters.
        for word in sorted(self._holders.keys() & words):
            numbers = self._holders[word]
            result[numbers] += np.log(self._size / len(numbers))
        return result


def _passage_starts(tokens: Sequence[str]) -> Iterator[int]:
    """Yield where passages begin: at a paragraph or sentence once per stride."""
    latest = -STRIDE
    for place, token in enumerate(tokens):
        if place - latest < STRIDE or is_break(token):
            continue
        before = tokens[place - 1]
        if place == 0 or is_break(before) or opens_sentence(before, token):
            latest = place
            yield place


def _draft_of_tokens(tokens: list[str]) -> Draft:
    ended = tokens[-1] == BOUNDARY
    if ended:
        tokens.pop()
    return Draft(tokens_to_text(tokens), len(tokens), ended)


def _words_in_lower_case(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


_cues_of_token = functools.lru_cache(1 << 16)(_words_in_lower_case)


def _seeded_random(seed: int, instruction: str) -> random.Random:
    """Return one answer's random numbers, the same in every version of Python."""
    name = f"{seed}\n{instruction}".encode("utf-8", "surrogatepass")
    return random.Random(int.from_bytes(hashlib.sha256(name).digest()))  # noqa: S311 - not a secret
