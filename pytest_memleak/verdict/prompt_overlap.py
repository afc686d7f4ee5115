"""Whether a book's instructions request its excerpts, aim at them, and don't contain their words.

docs/method.md. An instruction aims if its own excerpt is uniquely nearest to its
summary.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from math import log
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.records import AnswerLimits, Issue, RuleCheck, Work
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.keyed_texts import keyed, keyed_folded
from pytest_memleak.scoring.text_batches import batches_of
from pytest_memleak.scoring.words import words
from pytest_memleak.verdict.evidence_requirements import exact, fix
from pytest_memleak.verdict.shingles import run_hashes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records import Book
    from pytest_memleak.verdict.evidence_requirements import GenerationRequest
    from pytest_memleak.verdict.shingles import Keys


FEWEST_WORDS = 10
"""Words that each instruction has of its own; those of its template don't count."""

_FEWEST_AIMED = 10  # in smaller books, chance alone gives many the right neighbor
_SHORTEST_RUN = 5
_ANY = AnswerLimits()


@dataclass(frozen=True, slots=True)
class PromptOverlap:
    """What instructions contain of the book, and what they request.

    share:    of the measured words, those in runs that their own instruction has; None
    for trim = 0
    unasked:  ids of the excerpts that have no instruction
    vague:    ids of those whose instruction has under 10 own words (none under
    continuation)
    aimed:    number of instructions uniquely nearest to their own excerpt; None if not
    judged
    by_title: whether title and author alone request a collection's works
    """

    share: Fraction | None
    unasked: tuple[str, ...]
    vague: tuple[str, ...]
    aimed: int | None
    by_title: bool = False


def prompt_overlap(book: Book, request: GenerationRequest) -> PromptOverlap:
    """Compare each excerpt with its own instruction, in measured and in folded words."""
    # What else was requested makes no difference.
    return _compare(
        book, replace(request, samples=0, temperature=None, recorded=False, limits=_ANY)
    )


@functools.lru_cache(maxsize=4)  # checked before and after sampling, and by each model
def _compare(book: Book, request: GenerationRequest) -> PromptOverlap:
    own = [] if request.continuation else list(_own_words(book, request))
    texts = [excerpt.text for excerpt in book.excerpts]
    named = bool(book.works) and all(
        field in request.template for field in ("{title}", "{author}")
    )
    by_title = named and not any(own)
    if by_title:
        own = [
            Counter(words(excerpt.instruction or "", "unicode"))
            for excerpt in book.excerpts
        ]
    return PromptOverlap(
        share=_share(book, request) if request.trim else None,
        unasked=tuple(
            excerpt.id for excerpt in book.excerpts if not excerpt.instruction
        ),
        vague=tuple(
            excerpt.id
            for excerpt, own_words in zip(book.excerpts, own, strict=False)
            if excerpt.instruction and own_words.total() < FEWEST_WORDS
        ),
        aimed=None if by_title or len(own) < _FEWEST_AIMED else count_aimed(own, texts),
        by_title=by_title,
    )


def instruction_issues(book: Book, request: GenerationRequest) -> list[Issue]:
    """Return why answers to the book's instructions would be no evidence."""
    rules = instruction_rules(
        prompt_overlap(book, request), request, excerpts=len(book.excerpts)
    )
    return [outcome for outcome in rules if isinstance(outcome, Issue)]


def instruction_rules(
    overlap: PromptOverlap, request: GenerationRequest, *, excerpts: int
) -> Iterator[Issue | RuleCheck | str]:
    """Yield issues, margins and notes on instructions."""
    if overlap.unasked:
        yield _issue(
            "instructions",
            f"no instruction for {len(overlap.unasked):,} of "
            f"{amount(excerpts, 'excerpt')} "
            f"({overlap.unasked[0]}), so the model was never prompted for that text",
            "not asked",
        )
    if overlap.vague:
        yield _issue(
            "instructions",
            f"instructions with under {FEWEST_WORDS} words of their own can't say what "
            "they "
            f"request: {len(overlap.vague):,} of {excerpts:,} ({overlap.vague[0]})",
            "vague",
        )
    if overlap.by_title:
        yield "match of instruction and excerpt not judged: works are requested by title and author"
    if overlap.aimed is not None:
        yield RuleCheck("instruction match", overlap.aimed / excerpts, ">=", 0.5)
        silent = len(overlap.unasked) + len(
            overlap.vague
        )  # they can't aim, and are issues above
        if 2 * (overlap.aimed + silent) < excerpts:
            yield _issue(
                "instruction match",
                f"{overlap.aimed:,} of {excerpts:,} instructions resemble their own "
                "excerpt more "
                "than any other; at least half must",
                "instruction match",
            )
    if overlap.share is None:
        yield "prompt overlap not judged: trim = 0"
        return
    most = exact(request.limits.max_prompt_overlap)
    yield RuleCheck("prompt overlap", float(overlap.share), "<=", float(most))
    if overlap.share > most:
        yield _issue(
            "prompt overlap",
            f"prompt overlap is {float(100 * overlap.share):.3g}%; max_prompt_overlap "
            "= "
            f"{request.limits.max_prompt_overlap:g}",
            "prompt overlap",
        )


def _issue(rule: str, cause: str, kind: str) -> Issue:
    return Issue(rule, cause, fix(kind, recorded=False))


def _own_words(book: Book, request: GenerationRequest) -> Iterator[Counter[str]]:
    """Count the words of each instruction that aren't its template's own."""
    whole = Work("", book.title, book.author, 0, len(book.excerpts))
    for work in book.works or (whole,):
        for excerpt in book.excerpts[work.first : work.end]:
            bare = request.template.format(
                words=len(words(excerpt.text, request.words)),
                author=work.author,
                title=work.title,
                summary="",
            )
            instruction = excerpt.instruction or ""
            yield Counter(words(instruction, "unicode")) - Counter(
                words(bare, "unicode")
            )


def _share(book: Book, request: GenerationRequest) -> Fraction:
    length = max(request.trim, _SHORTEST_RUN)
    overlapping = measured = 0
    for excerpts in batches_of(book.excerpts, lambda excerpt: len(excerpt.text)):
        texts = [excerpt.text for excerpt in excerpts]
        instructions = [excerpt.instruction or "" for excerpt in excerpts]
        excerpt_words = keyed(texts, request.words)
        as_measured = zip(
            excerpt_words.each(), keyed(instructions, request.words).each(), strict=True
        )
        as_folded = zip(
            keyed_folded(texts).each(), keyed_folded(instructions).each(), strict=True
        )
        for plain, folded in zip(as_measured, as_folded, strict=True):
            count = _words_in_instruction(*plain, length)
            if not np.array_equal(folded[1], plain[1]):
                # Near-verbatim passages are trimmed by folded words.
                count = min(
                    max(count, _words_in_instruction(*folded, length)), len(plain[0])
                )
            overlapping += count
        measured += int(excerpt_words.lengths().sum())
    return Fraction(overlapping, max(measured, 1))


def _words_in_instruction(
    excerpt_keys: Keys, instruction_keys: Keys, length: int
) -> int:
    """Count an excerpt's words in runs of at least `length` words that its instruction has."""
    at = np.flatnonzero(
        np.isin(run_hashes(excerpt_keys, length), run_hashes(instruction_keys, length))
    )
    return int(np.minimum(np.diff(at), length).sum()) + (length if len(at) else 0)


def count_aimed(summaries: Iterable[Counter[str]], texts: Sequence[str]) -> int:
    """Count the summaries to which their own text, the one at the same place, is uniquely nearest.

    Nearest by the cosine between vectors of (1 + ln count) * ln(E/e) per word.
    """
    numbers: dict[str, int] = {}
    rows = [
        (numbers.setdefault(word, len(numbers)), place, count)
        for place, text in enumerate(texts)
        for word, count in Counter(words(text, "unicode")).items()
    ]
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    word_number, place, occurrences = table[table[:, 0].argsort(kind="stable")].T
    first = word_number.searchsorted(np.arange(len(numbers) + 1))
    rarity = np.log(len(texts) / np.diff(first))
    weight = (1 + np.log(occurrences)) * rarity[word_number]
    squares = np.bincount(place, weight**2, minlength=len(texts))
    lengths = np.sqrt(np.maximum(squares, np.finfo(float).tiny))
    hits = 0
    for own, summary in enumerate(summaries):
        cosines = np.zeros(len(texts))
        for word, count in summary.items():
            if (number := numbers.get(word)) is not None:
                holders = slice(first[number], first[number + 1])
                cosines[place[holders]] += (
                    (1 + log(count)) * rarity[number] * weight[holders]
                )
        cosines /= lengths
        hits += int((cosines >= cosines[own]).sum()) == 1
    return hits
