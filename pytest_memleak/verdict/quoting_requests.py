"""Whether prompts ask the model not to quote, so that readers of a pass learn of it.

The suite's author may ask so: it decides nothing, but it is part of what was measured.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_memleak.records.measurement import BY_EXCERPT
from pytest_memleak.records.pair_result import PromptFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.records import Book, Pair

_NEAR = r"[^.!?。！？\n]{0,60}"
# Words that forbid, and words of quoting soon after, by language.
_PAIRS = (
    # English
    (
        r"\b(?:do not|don't|must not|never|without|avoid|refrain from)\b",
        r"\b(?:quot\w*|verbatim|reproduc\w*|recit\w*|copy\w*|word[ -]for[ -]word)\b",
    ),
    # German
    (
        r"\b(?:nicht|niemals|kein\w*|ohne|vermeide\w*)\b",
        r"\b(?:zitier\w*|zitat\w*|wörtlich\w*|wortlaut|wiedergeb\w*)\b",
    ),
    (r"\bzitier\w*\b", r"\b(?:nicht|nie|niemals)\b"),
    # French
    (
        r"\b(?:ne|sans|jamais|évite\w*)\b",
        r"\b(?:citer|citez|citations?|reprodui\w*|recopi\w*|mot pour mot)\b",
    ),
    # Spanish
    (
        r"\b(?:no|sin|nunca|evita\w*)\b",
        r"\b(?:cites|citar|citas|reproduzc\w*|copies|copiar|textualmente)\b",
    ),
    # Chinese
    (r"(?:不要|不得|请勿|禁止|避免)", r"(?:引用|照抄|复制|原文|逐字)"),
    # Japanese
    (r"(?:引用|原文|逐語)", r"(?:しない|せず|避け|禁止|ないで)"),
)
_ALONE = r"\bin your own words\b|\bparaphras\w*\b|\bin eigenen worten\b"
_TOGETHER = "|".join(f"{first}{_NEAR}{second}" for first, second in _PAIRS)
_FORBIDS = re.compile(f"{_TOGETHER}|{_ALONE}", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+")
_MOST_DIGITS = 6


def forbids_quoting(text: str) -> bool:
    """Tell whether a prompt, or a template of prompts, asks not to quote."""
    return _FORBIDS.search(text.replace("’", "'")) is not None


def prompt_facts(
    pair: Pair,
    book: Book | None,
    *,
    ready_made: bool,
    file_sha256: str | None = None,
) -> PromptFacts:
    """Return what readers of a pass learn of its prompts.

    ready_made: whether the book came as records, with their own instructions
    file_sha256: of the file of named prompts
    """
    if pair.probe.kind not in BY_EXCERPT:
        return PromptFacts(
            excerpts=0,
            of_book=0,
            ready_made=False,
            forbidding=tuple(
                _prompts_that_forbid_quoting(pair, book, ready_made=False)
            ),
            file_sha256=file_sha256,
        )
    excerpts = book.excerpts if book else ()
    prompted = sum(bool(excerpt.instruction) for excerpt in excerpts)
    of_book = len(excerpts)
    if ready_made:
        numbers = [_first_number(excerpt.id) for excerpt in excerpts]
        of_book = max(of_book, *numbers, 0)
    return PromptFacts(
        excerpts=prompted,
        of_book=of_book,
        ready_made=ready_made,
        forbidding=tuple(
            _prompts_that_forbid_quoting(pair, book, ready_made=ready_made)
        ),
    )


def _first_number(excerpt_id: str) -> int:
    number = _NUMBER.search(excerpt_id)
    return int(number[0][:_MOST_DIGITS]) if number else 0


def _prompts_that_forbid_quoting(
    pair: Pair, book: Book | None, *, ready_made: bool
) -> Iterator[str]:
    """Name the prompts that ask not to quote."""
    system = pair.model.options.get("system")
    if isinstance(system, str) and forbids_quoting(system):
        yield "system prompt"
    template = pair.book.instruction_template
    if pair.probe.kind == "continuation":
        template = pair.probe.continuation_template
    if template is not None and forbids_quoting(template):
        yield "template"
    elif ready_made and book is not None and pair.probe.kind == "instruction":
        instructions = [excerpt.instruction or "" for excerpt in book.excerpts]
        if 2 * sum(map(forbids_quoting, instructions)) > len(instructions):
            yield "records' instructions"
