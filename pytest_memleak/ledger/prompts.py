"""The prompts of a pair: each instruction of its book, with its keys in the ledger.

A PromptSpec is one excerpt's instruction with everything that shapes its generations:
temperature, seed, and maximum tokens. The ledger keys it by endpoint and two digests
(SHA-256, hexadecimal), of the instruction and of the settings. If a book has the same
instruction twice, each gets its own generations, so prompts are numbered by repeat.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_memleak.interfaces.protocols import SampleRequest
from pytest_memleak.records import Book, Sampling

TOKENS_PER_WORD = 4 / 3
SPARE_TOKENS = 50
# Enough for a preamble and a passage over every preset limit, at two tokens per word.
CANARY_TOKENS = 200
# Of an answer to a prompt that requests no excerpt.
ANSWER_TOKENS = 800
_MOST_REPEATS = 10_000  # of one instruction in a book


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """One excerpt's instruction and its settings.

    book_words: digest of the book's words, or of its id if the book has none
    max_tokens: maximum tokens of a generation; an estimate if it isn't `capped`
    capped: whether requests have `max_tokens`
    seed: None sends none
    before: the conversation before the instruction
    parent: the digest of that conversation; "" without one
    most_prompt_tokens: of a turn whose conversation isn't known yet; else None
    """

    book_id: str
    book_words: str
    excerpt_id: str
    instruction: str = field(repr=False)
    instruction_digest: str
    settings_digest: str
    temperature: float | None
    max_tokens: int
    seed: int | None
    prompt_words: int
    capped: bool = True
    before: tuple[str, ...] = field(default=(), repr=False)
    parent: str = ""
    most_prompt_tokens: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The two digests that name the prompt in the ledger."""
        return self.instruction_digest, self.settings_digest

    @property
    def has_matching_digests(self) -> bool:
        """Whether the digests match the prompt, for some repeat of it in its book."""
        settings = _settings_digest(
            self.temperature,
            self.max_tokens if self.capped else None,
            self.seed,
        )
        if self.settings_digest != settings:
            return False
        return any(
            self.instruction_digest
            == prompt_digest(self.instruction, repeat, self.parent)
            for repeat in range(_MOST_REPEATS)
        )

    def seed_from(self, first: int) -> int | None:
        """Return the seed (31 bits) of the call that begins at the ordinal `first`."""
        if self.seed is None:
            return None
        digest = digest_of_parts(self.seed, self.instruction_digest, first)
        return int(digest[:8], 16) & 0x7FFF_FFFF

    def request(self, request_id: str, ordinals: Sequence[int]) -> SampleRequest:
        """Build the request of a call for these ordinals."""
        return SampleRequest(
            request_id,
            self.instruction,
            n=len(ordinals),
            temperature=self.temperature,
            max_tokens=self.max_tokens if self.capped else None,
            seed=self.seed_from(ordinals[0]),
            before=self.before,
        )


@dataclass(frozen=True, slots=True)
class PairPrompts:
    """A pair's prompts in excerpt order, and the number of samples of each."""

    pair: str
    samples: int
    temperature: float | None
    specs: tuple[PromptSpec, ...]

    @property
    def requested(self) -> int:
        """The number of generations of a complete pair."""
        return self.samples * len(self.specs)


@dataclass(frozen=True, slots=True)
class Ask:
    """Some ordinals of one prompt, few enough for one call."""

    prompt: PromptSpec
    ordinals: tuple[int, ...]


def build_prompts(
    pair: str,
    book: Book,
    sampling: Sampling,
    *,
    words: Callable[[str], int],
) -> PairPrompts:
    """Build the prompts for `book`: its excerpts with an instruction, and its own.

    `words` counts what tokens are estimated by. A generation may have int(words * 4/3)
    + 50 tokens, or `ANSWER_TOKENS` where the prompt requests no excerpt.
    """
    repeats: Counter[tuple[str, ...]] = Counter()
    specs = []
    for excerpt_id, texts, excerpt_words in _prompt_texts_by_id(book, words):
        repeat = repeats[texts]
        repeats[texts] += 1
        max_tokens = ANSWER_TOKENS
        if excerpt_words is not None:
            max_tokens = max_tokens_for_words(excerpt_words)
        capped = sampling.max_tokens != "default"
        if isinstance(sampling.max_tokens, int):
            max_tokens = sampling.max_tokens
        *before, instruction = texts
        parent = digest_of_parts(*before) if before else ""
        specs.append(
            PromptSpec(
                book_id=book.id,
                book_words=book.words_digest or digest_of_parts(book.id),
                excerpt_id=excerpt_id,
                instruction=instruction,
                instruction_digest=prompt_digest(instruction, repeat, parent),
                settings_digest=_settings_digest(
                    sampling.temperature,
                    max_tokens if capped else None,
                    sampling.seed,
                ),
                temperature=sampling.temperature,
                max_tokens=max_tokens,
                seed=sampling.seed,
                prompt_words=sum(map(words, texts)),
                capped=capped,
                before=tuple(before),
                parent=parent,
            ),
        )
    return PairPrompts(pair, sampling.samples, sampling.temperature, tuple(specs))


def _prompt_texts_by_id(
    book: Book,
    words: Callable[[str], int],
) -> Iterator[tuple[str, tuple[str, ...], int | None]]:
    """Yield the id of each prompt, its texts, and the words of the excerpt if any."""
    for excerpt in book.excerpts:
        if excerpt.instruction:
            yield excerpt.id, (excerpt.instruction,), words(excerpt.text)
    for prompt in book.prompts:
        yield prompt.id, (*prompt.before, prompt.instruction), None


# Each column of the ledger that holds a field as it is.
_COLUMNS = {
    "book": "book_id",
    "excerpt": "excerpt_id",
    "book_words": "book_words",
    "instruction": "instruction",
    "parent": "parent",
    "instruction_digest": "instruction_digest",
    "settings_digest": "settings_digest",
}


def prompt_row(prompt: PromptSpec) -> dict[str, Any]:
    """Return the prompt's row in the ledger."""
    row = {column: getattr(prompt, name) for column, name in _COLUMNS.items()}
    return row | {
        "temperature": stored_temperature(prompt.temperature),
        "max_tokens": stored_cap(prompt),
        "seed": stored_seed(prompt.seed),
    }


def prompt_from_row(row: Mapping[Any, Any]) -> PromptSpec:
    """Build the prompt from a row of the ledger."""
    same_fields = {name: row[column] for column, name in _COLUMNS.items()}
    return PromptSpec(
        temperature=None if row["temperature"] < 0 else row["temperature"],
        max_tokens=abs(row["max_tokens"]),
        capped=row["max_tokens"] > 0,
        seed=None if row["seed"] < 0 else row["seed"],
        prompt_words=len(row["instruction"].split()),
        **same_fields,
    )


def _settings_digest(
    temperature: float | None,
    max_tokens: int | None,
    seed: int | None,
) -> str:
    return digest_of_parts(
        "default" if temperature is None else float(temperature),
        "default" if max_tokens is None else max_tokens,
        "none" if seed is None else seed,
    )


def stored_temperature(temperature: float | None) -> float:
    """Return the temperature as the ledger stores it: -1 for the server's default."""
    return -1.0 if temperature is None else temperature


def stored_seed(seed: int | None) -> int:
    """Return the seed as the ledger stores it: -1 for none."""
    return -1 if seed is None else seed


def stored_cap(prompt: PromptSpec) -> int:
    """Return the cap as the ledger stores it: the estimate below 0 for none."""
    return prompt.max_tokens if prompt.capped else -prompt.max_tokens


def max_tokens_for_words(words: int) -> int:
    """Return the maximum tokens for a generation of about this many words."""
    return int(words * TOKENS_PER_WORD) + SPARE_TOKENS


def asks_by_round(
    missing: Mapping[PromptSpec, Sequence[int]], per_call: int
) -> Iterator[Ask]:
    """Yield the calls that sample the missing ordinals, round by round.

    A round is one ordinal of each prompt, or `per_call` of them if one call returns
    several, so that an interrupted run leaves complete rounds.
    """
    asks_by_prompt = []
    for prompt, unordered in missing.items():
        ordinals = sorted(unordered)
        starts = range(0, len(ordinals), per_call)
        asks_by_prompt.append(
            [
                Ask(prompt, tuple(ordinals[start : start + per_call]))
                for start in starts
            ],
        )
    for round_ in itertools.zip_longest(*asks_by_prompt):
        yield from (ask for ask in round_ if ask is not None)


def prompt_digest(instruction: str, repeat: int, parent: str = "") -> str:
    """Return what names an instruction in the ledger.

    repeat: how many equal ones of the pair come before
    parent: the digest of the conversation before it
    """
    return digest_of_parts(instruction, repeat, *([parent] if parent else []))


def digest_of_parts(*parts: object) -> str:
    """Return the SHA-256 of some parts, each after its length (hexadecimal)."""
    digest = hashlib.sha256()
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
