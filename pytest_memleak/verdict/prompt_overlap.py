"""Whether a book's instructions request its excerpts without containing their words.

docs/method.md. An instruction aims at its own excerpt if that is uniquely nearest to
its summary.
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
from pytest_memleak.scoring.words import requested_words, words
from pytest_memleak.verdict.evidence_requirements import exact_fraction, fix
from pytest_memleak.verdict.shingles import run_hashes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.records import Book, Excerpt
    from pytest_memleak.scoring.array_types import Floats
    from pytest_memleak.verdict.evidence_requirements import GenerationRequest
    from pytest_memleak.verdict.shingles import Keys


FEWEST_WORDS = 10
"""Words that each instruction has of its own; those of its template don't count."""

_FEWEST_AIMED = 4  # in smaller books, chance alone gives half the right neighbor
_SHORTEST_RUN = 5
_ANY = AnswerLimits()


@dataclass(frozen=True, slots=True)
class PromptOverlap:
    """What instructions contain of the book, and what they request.

    share: of the measured words, those in runs that their own instruction has; None for
        trim = 0
    not_requested: ids of the excerpts that have no instruction
    vague: ids of those whose instruction has under 10 own words (none under
        continuation)
    aimed: number of instructions uniquely nearest to their own excerpt; None if not
        judged
    by_title: whether title and author alone request a collection's works
    """

    share: Fraction | None
    not_requested: tuple[str, ...]
    vague: tuple[str, ...]
    aimed: int | None
    by_title: bool = False


def prompt_overlap(book: Book, request: GenerationRequest) -> PromptOverlap:
    """Compare each excerpt with its own instruction, also in folded words."""
    if request.named is not None:
        return PromptOverlap(share=None, not_requested=(), vague=(), aimed=None)
    # What else was requested makes no difference.
    prompts_only = replace(
        request,
        samples=0,
        temperature=None,
        recorded=False,
        limits=_ANY,
    )
    return _compare(book, prompts_only)


@functools.lru_cache(maxsize=64)  # checked before and after sampling, by each model
def _compare(book: Book, request: GenerationRequest) -> PromptOverlap:
    own_words = []
    if not request.continuation:
        own_words = list(_words_beyond_template(book, request))
    by_title = _names_works(book, request) and not any(own_words)
    aimed = None
    if by_title:
        own_words = [_instruction_words(excerpt) for excerpt in book.excerpts]
    elif len(own_words) >= _FEWEST_AIMED:
        texts = [excerpt.text for excerpt in book.excerpts]
        aimed = count_nearest_to_own_text(own_words, texts)
    vague = []
    for excerpt, counts in zip(book.excerpts, own_words, strict=False):
        if excerpt.instruction and counts.total() < FEWEST_WORDS:
            vague.append(excerpt.id)
    not_requested = [excerpt.id for excerpt in book.excerpts if not excerpt.instruction]
    share = None
    if request.trim:
        share = _share_in_instructions(book, request)
    return PromptOverlap(
        share=share,
        not_requested=tuple(not_requested),
        vague=tuple(vague),
        aimed=aimed,
        by_title=by_title,
    )


def _names_works(book: Book, request: GenerationRequest) -> bool:
    """Tell whether instructions name a collection's works by title and author."""
    template = request.template
    names_both = "{title}" in template and "{author}" in template
    return bool(book.works) and names_both


def instruction_issues(book: Book, request: GenerationRequest) -> list[Issue]:
    """Return why answers to the book's instructions would be no evidence."""
    rules = instruction_rules(
        prompt_overlap(book, request),
        request,
        excerpts=len(book.excerpts),
    )
    return [outcome for outcome in rules if isinstance(outcome, Issue)]


def instruction_rules(
    overlap: PromptOverlap,
    request: GenerationRequest,
    *,
    excerpts: int,
) -> Iterator[Issue | RuleCheck | str]:
    """Yield issues, margins and notes on instructions."""
    yield from _check_requests(overlap, excerpts)
    yield from _check_aim(overlap, excerpts)
    yield from _check_share(overlap, request)


def _check_requests(overlap: PromptOverlap, excerpts: int) -> Iterator[Issue]:
    """Yield issues for instructions that are missing or say too little."""
    not_requested = overlap.not_requested
    if not_requested:
        excerpts_text = amount(excerpts, "excerpt")
        yield _issue(
            "instructions",
            f"no instruction for {len(not_requested):,} of {excerpts_text} "
            f"({not_requested[0]}), so the model was never prompted for that text",
            "not requested",
        )
    vague = overlap.vague
    if vague:
        yield _issue(
            "instructions",
            f"instructions with under {FEWEST_WORDS} words of their own can't say what "
            f"they request: {len(vague):,} of {excerpts:,} ({vague[0]})",
            "vague",
        )


def _check_aim(
    overlap: PromptOverlap,
    excerpts: int,
) -> Iterator[Issue | RuleCheck | str]:
    """Judge whether instructions resemble their own excerpts."""
    if overlap.by_title:
        yield (
            "match of instruction and excerpt not judged: "
            "works are requested by title and author"
        )
    aimed = overlap.aimed
    if aimed is None:
        return
    yield RuleCheck(
        rule="instruction match",
        value=aimed / excerpts,
        bound=">=",
        threshold=0.5,
    )
    # Those without words of their own can't aim, and are issues already.
    silent = len(overlap.not_requested) + len(overlap.vague)
    if 2 * (aimed + silent) < excerpts:
        yield _issue(
            "instruction match",
            f"{aimed:,} of {excerpts:,} instructions resemble their own excerpt more "
            "than any other; at least half must",
            "instruction match",
        )


def _check_share(
    overlap: PromptOverlap,
    request: GenerationRequest,
) -> Iterator[Issue | RuleCheck | str]:
    """Judge the share of the measured words that instructions contain."""
    if overlap.share is None:
        yield "prompt overlap not judged: trim = 0"
        return
    most = exact_fraction(request.limits.max_prompt_overlap)
    yield RuleCheck(
        rule="prompt overlap",
        value=float(overlap.share),
        bound="<=",
        threshold=float(most),
    )
    if overlap.share > most:
        yield _issue(
            "prompt overlap",
            f"prompt overlap is {float(100 * overlap.share):.3g}%; "
            f"max_prompt_overlap = {request.limits.max_prompt_overlap:g}",
            "prompt overlap",
        )


def _issue(
    rule: str,
    cause: str,
    kind: str,
) -> Issue:
    return Issue(rule, cause, fix(kind, recorded=False))


def _words_beyond_template(
    book: Book, request: GenerationRequest
) -> Iterator[Counter[str]]:
    """Count the words of each instruction that aren't its template's own."""
    whole = Work(
        id="",
        title=book.title,
        author=book.author,
        first=0,
        end=len(book.excerpts),
    )
    for work in book.works or (whole,):
        for excerpt in book.excerpts[work.first : work.end]:
            bare = request.template.format(
                words=requested_words(excerpt.text, request.words),
                author=work.author,
                title=work.title,
                summary="",
            )
            template_words = Counter(words(bare, "unicode"))
            yield _instruction_words(excerpt) - template_words


def _instruction_words(excerpt: Excerpt) -> Counter[str]:
    """Count the words of an excerpt's instruction."""
    return Counter(words(excerpt.instruction or "", "unicode"))


def _share_in_instructions(book: Book, request: GenerationRequest) -> Fraction:
    """Return the share of the book's words that their own instructions contain."""
    length = max(request.trim, _SHORTEST_RUN)
    overlapping = 0
    measured = 0
    for excerpts in batches_of(book.excerpts, lambda excerpt: len(excerpt.text)):
        texts = [excerpt.text for excerpt in excerpts]
        instructions = [excerpt.instruction or "" for excerpt in excerpts]
        excerpt_words = keyed(texts, request.words)
        prompt_words = keyed(instructions, request.words)
        folded_words = keyed_folded(texts)
        folded_prompt_words = keyed_folded(instructions)
        measured += int(excerpt_words.lengths().sum())
        rows = zip(
            excerpt_words.each(),
            prompt_words.each(),
            folded_words.each(),
            folded_prompt_words.each(),
            strict=True,
        )
        for plain, plain_prompt, folded, folded_prompt in rows:
            count = _words_in_instruction(plain, plain_prompt, length)
            if not np.array_equal(folded_prompt, plain_prompt):
                # Near-verbatim passages are trimmed by folded words.
                of_folded = _words_in_instruction(folded, folded_prompt, length)
                most = max(count, of_folded)
                count = min(most, len(plain))
            overlapping += count
    return Fraction(overlapping, max(measured, 1))


def _words_in_instruction(
    excerpt_keys: Keys,
    instruction_keys: Keys,
    length: int,
) -> int:
    """Count an excerpt's words in runs that its instruction has.

    length: the least words of a run
    """
    own_runs = run_hashes(excerpt_keys, length)
    instruction_runs = run_hashes(instruction_keys, length)
    shared = np.isin(own_runs, instruction_runs)
    starts = np.flatnonzero(shared)
    if not len(starts):
        return 0
    # Where two runs overlap, the earlier one has only the words between starts.
    distance = np.diff(starts)
    own_words = np.minimum(distance, length)
    return int(own_words.sum()) + length


class _WordWeights:
    """Weights of the words of some texts: (1 + ln count) * ln(E/e) per text and word.

    E is the number of texts, e the number of those with the word. The entries of each
    word lie together; `place` and `weight` have a row per entry.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._numbers: dict[str, int] = {}
        rows: list[tuple[int, int, int]] = []
        for place, text in enumerate(texts):
            counts = Counter(words(text, "unicode"))
            for word, count in counts.items():
                number = self._numbers.setdefault(word, len(self._numbers))
                rows.append((number, place, count))
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        order = table[:, 0].argsort(kind="stable")
        number, self._place, occurrences = table[order].T
        every_number = np.arange(len(self._numbers) + 1)
        self._first = number.searchsorted(every_number)
        texts_with_word = np.diff(self._first)
        self._rarity = np.log(len(texts) / texts_with_word)
        frequency = 1 + np.log(occurrences)
        self._weight = frequency * self._rarity[number]
        squared_weight = self._weight**2
        squares = np.bincount(self._place, squared_weight, minlength=len(texts))
        above_zero = np.maximum(squares, np.finfo(float).tiny)
        self._lengths = np.sqrt(above_zero)

    def cosines(self, counts: Counter[str]) -> Floats:
        """Return each text's cosine with some words, but for the length of these."""
        cosines = np.zeros(len(self._lengths))
        for word, count in counts.items():
            number = self._numbers.get(word)
            if number is None:
                continue
            entries = slice(self._first[number], self._first[number + 1])
            own_weight = (1 + log(count)) * self._rarity[number]
            place = self._place[entries]
            cosines[place] += own_weight * self._weight[entries]
        cosines /= self._lengths
        return cosines


def count_nearest_to_own_text(
    summaries: Iterable[Counter[str]], texts: Sequence[str]
) -> int:
    """Count the summaries to which their own text is uniquely nearest.

    That is the one at the same place; nearest by the cosine between `_WordWeights`.
    """
    weights = _WordWeights(texts)
    hits = 0
    for own, summary in enumerate(summaries):
        cosines = weights.cosines(summary)
        is_as_near = cosines >= cosines[own]
        hits += np.count_nonzero(is_as_near) == 1
    return hits
