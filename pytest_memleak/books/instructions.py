"""Prompts for excerpts: instructions from a template and summaries, and continuations.

In a continuation, the words in the prompt aren't measured: they count neither in N nor
in any match. The remaining book isn't contiguous.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from string import Formatter
from typing import Any

from pytest_memleak.books.archive import read_bytes
from pytest_memleak.errors import BookError, file_errors
from pytest_memleak.formats.distinct_keys import json_with_distinct_keys
from pytest_memleak.records import Book, Excerpt, WordMode
from pytest_memleak.records.book import book_digest
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.redaction.text import short_name
from pytest_memleak.scoring.words import place_after_words, requested_words, words

# The paper's (arXiv 2603.20957), word for word.
DEFAULT_INSTRUCTION = (
    "Write a {words} word excerpt about the content below emulating the style and "
    "voice of"
    " {author}\n\nContent: {summary}"
)

_PLACEHOLDERS = ("words", "author", "title", "summary")


def used_placeholders(
    template: str,
    *,
    placeholders: Sequence[str] = _PLACEHOLDERS,
    place: str | None = None,
) -> frozenset[str]:
    """Return which of the `placeholders` a template uses.

    Raises BookError, naming `place`, for any other placeholder, for a format or
    attribute, and for a single brace.
    """
    try:
        fields = [
            (name, form, cast) for _, name, form, cast in Formatter().parse(template)
        ]
    except ValueError as error:
        raise BookError(
            f"the instruction template is invalid: {error}",
            location=place,
            hint="write {{ and }} for literal braces",
        ) from None
    names = set()
    for name, form, cast in fields:
        if name is None:
            continue
        if name not in placeholders or form or cast:
            allowed = ", ".join(f"{{{placeholder}}}" for placeholder in placeholders)
            written = name
            if cast:
                written += f"!{cast}"
            if form:
                written += f":{form}"
            raise BookError(
                f"the instruction template has the unknown placeholder {{{written}}}",
                location=place,
                hint=f"allowed: {allowed}",
            )
        names.add(name)
    return frozenset(names)


def instruct(
    excerpts: Iterable[Excerpt],
    *,
    author: str | None,
    title: str | None,
    summaries: Mapping[str, str] | None,
    template: str = DEFAULT_INSTRUCTION,
    mode: WordMode = "paper",
    place: str | None = None,
) -> tuple[Excerpt, ...]:
    """Add instructions to excerpts; `summaries` are by the excerpts' ids.

    `{words}` is the excerpt's number of `requested_words` in `mode`. If the template
    needs summaries and there are none, the excerpts stay without instructions.

    Raises BookError, naming `place`, for an invalid template, a missing summary, and a
    missing author or title that the template needs.
    """
    excerpts = tuple(excerpts)
    used = used_placeholders(template, place=place)
    if "summary" in used and summaries is None:
        return excerpts
    for name, value in (("author", author), ("title", title)):
        if name in used and not value:
            raise BookError(
                f"the instruction template needs the book's {name}, which the file "
                "doesn't have",
                location=place,
                hint=f'add {name} = "..." for this book to the suite file',
            )
    return tuple(
        dataclasses.replace(
            excerpt,
            instruction=template.format(
                words=requested_words(excerpt.text, mode),
                author=author,
                title=title,
                summary=_summary(excerpt, summaries or {}, place)
                if "summary" in used
                else "",
            ),
        )
        for excerpt in excerpts
    )


def _summary(
    excerpt: Excerpt,
    summaries: Mapping[str, str],
    place: str | None,
) -> str:
    if excerpt.id not in summaries:
        raise BookError(
            f"the excerpt {excerpt.id!r} has no summary",
            location=place,
            hint="write one, or set [suite.summarizer]: every excerpt needs a summary",
        )
    return summaries[excerpt.id]


# --- continuation
# -------------------------------------------------------------------------

BARE_PREFIX = "{prefix}"
"""The template for endpoints that continue a text."""

CONTINUE_INSTRUCTION = (
    "Below is a passage that breaks off in the middle of a book. Continue exactly "
    "where it breaks"
    " off: write about {words} words of what comes next, word for word as far as you "
    "know it. Write"
    " only the continuation: don't repeat the passage and don't comment on "
    "it.\n\n{prefix}"
)
"""The template for endpoints that follow instructions."""


def validate_continuation(template: str, *, place: str | None = None) -> None:
    """Raise BookError, naming `place`, for other names than `{prefix}`, or none."""
    if "prefix" not in used_placeholders(
        template,
        placeholders=("prefix", "words"),
        place=place,
    ):
        raise BookError(
            "the continuation template has no {prefix}, so prompts would lack the "
            "passage",
            location=place,
            hint="add {prefix} where the passage belongs",
        )


def validate_summary_prompt(template: str) -> None:
    """Raise BookError for other names than `{passage}`, `{words}`, or no passage."""
    names = used_placeholders(template, placeholders=("passage", "words"))
    if "passage" not in names:
        raise BookError(
            "the prompt has no {passage}, so it would summarize nothing",
            hint="add {passage} where the text to summarize belongs",
        )


def beginnings(
    book: Book,
    *,
    prefix_words: int,
    template: str = CONTINUE_INSTRUCTION,
    mode: WordMode = "paper",
) -> Book:
    """Move the first words of each excerpt into its prompt, and return the rest.

    The prompt is `template` with the excerpt's first `prefix_words` words, at most half
    of it, as `{prefix}`, and the number of the words that remain as `{words}`. An
    excerpt of a single word can't be continued and has no instruction.
    """
    excerpts = tuple(
        _with_prefix(excerpt, prefix_words, template, mode) for excerpt in book.excerpts
    )
    return dataclasses.replace(
        book,
        excerpts=excerpts,
        digest=book_digest(excerpts),
        contiguous=False,
    )


def _with_prefix(
    excerpt: Excerpt,
    prefix_words: int,
    template: str,
    mode: WordMode,
) -> Excerpt:
    split = partial(words, mode=mode)
    half = len(split(excerpt.text)) // 2
    count = min(prefix_words, half)
    end = place_after_words(count, excerpt.text, split, reach=None)
    prefix = excerpt.text[:end]
    rest = excerpt.text[end:]
    if not count or not split(rest):
        return dataclasses.replace(excerpt, instruction=None)
    remaining = requested_words(rest, mode)
    instruction = template.format(prefix=prefix, words=remaining)
    return dataclasses.replace(
        excerpt,
        text=rest,
        instruction=instruction,
        prefix_words=count,
    )


# --- summaries
# -----------------------------------------------------------------------------

# A file of summaries is a JSON object by excerpt ids: {"p_id1": {"summary": "...",
# "excerpt_sha256": "..."}}, with the SHA-256 of the excerpt's text in UTF-8
# (hexadecimal), so that summaries of other excerpts are never used after a change of
# the book or its cutting. Keys that begin with _ are notes.
_FORM = 'expected {"p_id1": {"summary": "...", "excerpt_sha256": "..."}, ...}'
_REWRITE = "rewrite the summary of this excerpt"


def excerpt_sha256(excerpt: Excerpt) -> str:
    """Return the SHA-256 of the excerpt's text in UTF-8, hexadecimal."""
    data = excerpt.text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()


def load_summaries(path: Path, excerpts: Iterable[Excerpt]) -> dict[str, str]:
    """Load the summaries of all excerpts, by id.

    Raises BookError, naming the file and the excerpt, for an unreadable or malformed
    file, a missing summary, a changed text, and a summary of an unknown excerpt.
    """
    entries = {
        key: value
        for key, value in _read_summaries(path).items()
        if not key.startswith("_")
    }
    by_id = {excerpt.id: excerpt for excerpt in excerpts}
    for excerpt_id in by_id:
        if excerpt_id not in entries:
            raise BookError(
                f"excerpt {excerpt_id!r} has no summary",
                location=str(path),
                hint=f"add it: the book has {amount(len(by_id), 'excerpt')}, the file "
                f"{amount(len(entries), 'summary', 'summaries')}",
            )
    return {
        excerpt_id: _validated_summary(entry, excerpt_id, by_id, str(path))
        for excerpt_id, entry in entries.items()
    }


def write_summaries(
    path: Path,
    excerpts: Iterable[Excerpt],
    summaries: Mapping[str, str],
) -> None:
    """Write a summary and a digest per excerpt, atomically. Raises BookError."""
    entries = {}
    for excerpt in excerpts:
        if not summaries.get(excerpt.id, "").strip():
            raise BookError(
                f"excerpt {excerpt.id!r} has no summary",
                location=str(path),
                hint="pass a summary for every excerpt",
            )
        entries[excerpt.id] = {
            "summary": summaries[excerpt.id],
            "excerpt_sha256": excerpt_sha256(excerpt),
        }
    text = json.dumps(entries, ensure_ascii=False, indent=2) + "\n"
    with file_errors(BookError, path, "can't be written"):
        write_whole(path, text)


def _read_summaries(path: Path) -> dict[str, Any]:
    place = str(path)
    data = read_bytes(path)
    try:
        value = json_with_distinct_keys(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BookError(
            "isn't UTF-8",
            location=place,
            hint="save the file as UTF-8",
        ) from None
    except json.JSONDecodeError as error:
        raise BookError(
            f"isn't JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            location=place,
            hint=_FORM,
        ) from None
    except (RecursionError, ValueError) as error:
        raise BookError(
            f"is invalid JSON: {error}",
            location=place,
            hint=_FORM,
        ) from None
    if not isinstance(value, dict):
        raise BookError("isn't a JSON object", location=place, hint=_FORM)
    return value


def _validated_summary(
    entry: object,
    excerpt_id: str,
    by_id: Mapping[str, Excerpt],
    place: str,
) -> str:
    if excerpt_id not in by_id:
        raise BookError(
            f"has a summary for {short_name(excerpt_id)!r}, which isn't an excerpt of "
            "the book",
            location=place,
            hint="check that the file was written for this book and the same excerpts",
        )
    if not isinstance(entry, Mapping):
        raise BookError(
            f"the entry of {excerpt_id!r} isn't an object",
            location=place,
            hint=_FORM,
        )
    summary, digest = entry.get("summary"), entry.get("excerpt_sha256")
    if not isinstance(summary, str) or not summary.strip():
        raise BookError(
            f"the entry of {excerpt_id!r} has no summary",
            location=place,
            hint=_FORM,
        )
    if not isinstance(digest, str):
        raise BookError(
            f"the entry of {excerpt_id!r} has no excerpt_sha256",
            location=place,
            hint=_FORM,
        )
    if digest.lower() != excerpt_sha256(by_id[excerpt_id]):
        raise BookError(
            f"the text of excerpt {excerpt_id!r} has changed since it was summarized",
            location=place,
            hint=_REWRITE,
        )
    return summary
