"""Passages that a bundle commits to, so that one can be disclosed without the book.

    commit_passages(evaluation)       the digests that a bundle has
    disclose(evaluation, number)      one passage's prompt and words, with its proof
    disclosure_faults(file, bundle)   what isn't as the bundle committed to it

A digest covers the passage's place, its words in the book and in the generation, and
the digest of its prompt, all with a nonce from the text around the passage, which only
its owner can compute. The bundle's other digests of the pair tie it to the ledger:
`memleak verify` recomputes it like any number. A prompt that quotes the book
(continuation) is disclosed by its digest alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import EvidenceError
from pytest_memleak.records.number_format import amount
from pytest_memleak.records.pair_result import CommittedPassage
from pytest_memleak.results.passage_details import listed_passages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_memleak.records import Book, Excerpt
    from pytest_memleak.records.measurement import Passage
    from pytest_memleak.results.evidence_file import Bundle
    from pytest_memleak.verdict.evaluation import Evaluation

SCHEMA = "pytest-memleak disclosure 1"
_MAX_BYTES = 10_000_000
_KEYS = {
    "schema",
    "bundle_sha256",
    "pair",
    "passage",
    "book_text",
    "generation_text",
    "prompt",
    "prompt_sha256",
    "nonce",
}


@dataclass(frozen=True, slots=True)
class _Opening:
    """What opens a digest. prompt: None for a passage without one of its own."""

    passage: Passage
    prompt: str | None
    nonce: str


def commit_passages(evaluation: Evaluation) -> tuple[CommittedPassage, ...]:
    """Return the digests of the passages that reports list, in their order."""
    return tuple(_committed(opening) for opening in _openings(evaluation))


def disclose(
    evaluation: Evaluation,
    number: int,
    bundle_sha256: str,
) -> dict[str, Any]:
    """Return a passage with its proof, in plain values.

    number: of the passage among the pair's, from 1
    Raises EvidenceError if the pair has no such passage.
    """
    openings = list(_openings(evaluation))
    if not 0 < number <= len(openings):
        raise EvidenceError(
            f"{evaluation.pair.id} has no passage {number}",
            hint=f"it has {amount(len(openings), 'passage')}, numbered from 1",
        )
    opening = openings[number - 1]
    quotes_book = evaluation.pair.probe.kind != "instruction"
    return {
        "schema": SCHEMA,
        "bundle_sha256": bundle_sha256,
        "pair": evaluation.pair.id,
        "passage": number,
        "book_text": opening.passage.quote,
        "generation_text": opening.passage.answer or opening.passage.quote,
        "prompt": None if quotes_book else opening.prompt,
        "prompt_sha256": _prompt_digest(opening.nonce, opening.prompt),
        "nonce": opening.nonce,
    }


def read_disclosure(path: Path) -> dict[str, Any]:
    """Read a file of `memleak disclose`. Raises EvidenceError if it is no JSON object.

    Its formatting must be the program's, so that no byte of it can differ unseen.
    """
    from pytest_memleak.results.evidence_file import read_regular  # with pydantic

    data = read_regular(path, most=_MAX_BYTES)
    try:
        disclosed = json.loads(data)
    except (ValueError, RecursionError):
        disclosed = None
    if not isinstance(disclosed, dict) or data != written(disclosed).encode():
        raise EvidenceError(
            "not a file of memleak disclose, or changed since",
            location=str(path),
            hint="ask for the original file",
        )
    return disclosed


def written(disclosed: Mapping[str, Any]) -> str:
    """Return a disclosure as its file has it."""
    return json.dumps(disclosed, indent=1) + "\n"


def disclosure_faults(disclosed: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    """Yield what isn't as the bundle committed to it; nothing if all is."""
    if disclosed.keys() != _KEYS or disclosed["schema"] != SCHEMA:
        yield "disclosure: not a file of memleak disclose"
        return
    if disclosed["bundle_sha256"] != bundle.sha256:
        yield "disclosure: it is of another bundle"
        return
    number = disclosed["passage"]
    pairs = [pair for pair in bundle.pairs if pair.pair == disclosed["pair"]]
    committed = [pair.committed for pair in pairs]
    if not committed or type(number) is not int:
        yield "disclosure: the bundle has no such pair"
    elif not any(0 < number <= len(passages) for passages in committed):
        yield "disclosure: the bundle has no such passage"
    elif not any(
        _opens(passages[number - 1], disclosed)
        for passages in committed
        if 0 < number <= len(passages)
    ):
        yield "disclosure: the bundle's digest of this passage differs"


def _opens(committed: CommittedPassage, disclosed: Mapping[str, Any]) -> bool:
    nonce, prompt = disclosed["nonce"], disclosed["prompt"]
    is_prompt = prompt is None or (
        disclosed["prompt_sha256"] == _prompt_digest(nonce, prompt)
    )
    digest = _digest(
        [
            *_place(committed),
            disclosed["book_text"],
            disclosed["generation_text"],
            disclosed["prompt_sha256"],
            nonce,
        ],
    )
    return is_prompt and digest == committed.sha256


def _committed(opening: _Opening) -> CommittedPassage:
    passage = opening.passage
    committed = CommittedPassage(
        kind=passage.kind,
        words=passage.words,
        start=passage.start,
        end=passage.end,
        book=passage.book,
        excerpt_id=passage.excerpt_id,
        prompted_excerpt=passage.prompted_excerpt,
        generation=passage.generation,
        source=passage.source,
        sha256="",
    )
    digest = _digest(
        [
            *_place(committed),
            passage.quote,
            passage.answer or passage.quote,
            _prompt_digest(opening.nonce, opening.prompt),
            opening.nonce,
        ],
    )
    return dataclasses.replace(committed, sha256=digest)


def _place(committed: CommittedPassage) -> tuple[Any, ...]:
    return (
        committed.kind,
        committed.words,
        committed.start,
        committed.end,
        committed.book,
        committed.excerpt_id,
        committed.prompted_excerpt,
        committed.generation,
        committed.source,
    )


def _openings(evaluation: Evaluation) -> Iterator[_Opening]:
    book = evaluation.book
    if book is None:
        return
    prompts = {excerpt.id: excerpt.instruction for excerpt in book.excerpts}
    for passage in listed_passages(evaluation, None):
        prompted = passage.prompted_excerpt or passage.excerpt_id
        own = passage.book is None or passage.prompted_excerpt is not None
        yield _Opening(
            passage,
            prompts.get(prompted) if own else None,
            _nonce(evaluation, passage),
        )


def _nonce(evaluation: Evaluation, passage: Passage) -> str:
    """Return a nonce from the text of the excerpt in which the passage begins."""
    books: list[Book] = list(evaluation.protected.values())
    if evaluation.book is not None:
        books.insert(0, evaluation.book)
    own = evaluation.pair.book.id
    excerpts: list[Excerpt] = []
    for book in books:
        if book.id == (passage.book or own):
            excerpts += book.excerpts
    text = next(each.text for each in excerpts if each.id == passage.excerpt_id)
    return _digest(["nonce", passage.start, passage.end, text])


def _prompt_digest(nonce: object, prompt: object) -> str:
    return _digest(["prompt", nonce, prompt])


def _digest(value: object) -> str:
    """Return the SHA-256 of a list's JSON, in ASCII without blanks (hexadecimal)."""
    text = json.dumps(value, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
