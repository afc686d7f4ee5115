"""The instruction that asks a model for an excerpt, in the paper's form or the suite's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from string import Formatter

from pytest_memleak.errors import BookError
from pytest_memleak.records import Excerpt, WordMode
from pytest_memleak.scoring.words import words

# The paper's (arXiv 2603.20957), word for word.
DEFAULT_INSTRUCTION = (
    "Write a {words} word excerpt about the content below emulating the style and voice of"
    " {author}\n\nContent: {summary}"
)

_PLACEHOLDERS = ("words", "author", "title", "summary")


def check_template(
    template: str, *, placeholders: Sequence[str] = _PLACEHOLDERS, place: str | None = None
) -> frozenset[str]:
    """Return which of the `placeholders` a template uses.

    Raises BookError, naming `place`, for any other, for one with a format or an attribute, and
    for a brace that stands alone.
    """
    try:
        fields = [(name, form, cast) for _, name, form, cast in Formatter().parse(template)]
    except ValueError as error:
        raise BookError(
            f"the instruction template cannot be read: {error}",
            location=place,
            hint="write {{ and }} for braces that are meant as such",
        ) from None
    names = set()
    for name, form, cast in fields:
        if name is None:
            continue
        if name not in placeholders or form or cast:
            allowed = ", ".join(f"{{{placeholder}}}" for placeholder in placeholders)
            written = name + (f"!{cast}" if cast else "") + (f":{form}" if form else "")
            raise BookError(
                f"the instruction template has the placeholder {{{written}}}",
                location=place,
                hint=f"it may have {allowed}",
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
    """The excerpts with their instructions; `summaries` are by the excerpts' ids.

    `{words}` is the excerpt's number of words in `mode`. Without summaries, a template that needs
    them leaves the excerpts as they are: nobody has written their instructions yet.

    Raises BookError, naming `place`, for a bad template, a summary that is missing, and an author
    or a title that the template needs and nobody knows.
    """
    excerpts = tuple(excerpts)
    used = check_template(template, place=place)
    if "summary" in used and summaries is None:
        return excerpts
    for name, value in (("author", author), ("title", title)):
        if name in used and not value:
            raise BookError(
                f"the instruction template needs the book's {name}, which the file does not give",
                location=place,
                hint=f'say {name} = "..." for this book in the suite file',
            )
    return tuple(
        dataclasses.replace(
            excerpt,
            instruction=template.format(
                words=len(words(excerpt.text, mode)),
                author=author,
                title=title,
                summary=_summary(excerpt, summaries or {}, place) if "summary" in used else "",
            ),
        )
        for excerpt in excerpts
    )


def _summary(excerpt: Excerpt, summaries: Mapping[str, str], place: str | None) -> str:
    if excerpt.id not in summaries:
        raise BookError(
            f"the excerpt {excerpt.id!r} has no summary",
            location=place,
            hint="every excerpt needs one: write it, or have any chat model write it",
        )
    return summaries[excerpt.id]
