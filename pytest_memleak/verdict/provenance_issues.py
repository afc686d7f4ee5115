"""Whose answers these are, and whether they were sampled as requested (docs/method.md).

Nothing here reads a clock, a ledger, or a server: callers pass what they know of them.
pipeline/canaries.py checks whether the same weights still answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_memleak.records import Issue
from pytest_memleak.records.number_format import amount
from pytest_memleak.redaction.text import is_hidden, server_word, short_name
from pytest_memleak.scoring.folding import folded_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_memleak.records import Book, Work
    from pytest_memleak.records.provenance import RecordedAs

    IssuesAndNotes = tuple[tuple[Issue, ...], tuple[str, ...]]

# A date or a version behind a name: -2024-08-06, @20240806, -0613, -001, :v2. Not
# -mini, nor .1.
_BEHIND = re.compile(
    r"[-@:_](?:\d{4}-\d{2}(?:-\d{2})?|\d{8}|\d{6}|\d{4}|\d{3}|v\d+(?:\.\d+)*)",
)
_GREEDY_FIX = "test an endpoint that applies temperature 0"


def served_model_issues(
    requested: str,
    answered: Mapping[str | None, int],
    *,
    serves: Iterable[str] = (),
) -> Iterator[Issue]:
    """Check that one model answered: the requested one, or one of its served names.

    answered: number of calls whose answers the model wrote, by the name that the server
        gave, None where it gave none; a server that never gives one is believed
    serves: the suite's served names
    """
    names = {name: count for name, count in answered.items() if name}
    unnamed = sum(answered.values()) - sum(names.values())
    accepted = tuple(serves)
    unexpected = sorted(
        name for name in names if not is_requested(name, requested, accepted)
    )
    shown = {name: _quoted(name) for name in names}
    for name in unexpected:
        shown[name] = _in_quotes(server_word(name))
    if unexpected:
        first = unexpected[0]
        yield Issue(
            rule="requested model",
            cause=f"{_quoted(requested)} was requested, but {shown[first]} answered",
            fix=_served_name_fix(first, shown[first]),
        )
    if len(names) > 1:
        counts = [f"{shown[name]} {count:,}" for name, count in sorted(names.items())]
        yield Issue(
            rule="one model",
            cause=f"{len(names)} models answered ({', '.join(counts)})",
            fix="request one by its full name, and resample",
        )
    elif names and unnamed:
        (shown_name,) = shown.values()
        total = sum(answered.values())
        yield Issue(
            rule="one model",
            cause=f"{shown_name} answered, but {unnamed:,} of {amount(total, 'call')} "
            "name no model",
            fix="check for a proxy that answers in the model's place, and resample",
        )


def _served_name_fix(name: str, shown: str) -> str:
    if is_hidden(server_word(name)):
        return (
            "rerun with --memleak-quote 12 to see the served name; "
            "if it is another name for the model, add it to served_names"
        )
    return f"set served_names = [{shown}] if this is another name for the model"


def is_requested(
    name: str,
    requested: str | None,
    accepted: Iterable[str],
) -> bool:
    """Tell whether a server's name is accepted, or is the requested one.

    A version may stand behind the requested one.
    """
    name = name.casefold()
    if requested is not None and name.startswith(requested.casefold()):
        version = name.removeprefix(requested.casefold())
        if not version or _BEHIND.fullmatch(version):
            return True
    return name in {other.casefold() for other in accepted}


def sampling_issues(
    temperature: float | None,
    rejected: Sequence[str],
) -> IssuesAndNotes:
    """Check the temperature; note other parameters that the server rejects.

    temperature: None for the server's own
    """
    notes = {parameter: f"the server rejects {parameter}" for parameter in rejected}
    if temperature is None or not notes.pop("temperature", None):
        return (), tuple(notes.values())
    issue = Issue(
        rule="requested temperature",
        cause=f"the server rejects temperature, but {temperature:g} was requested",
        fix='set temperature = "default" to test the server\'s own',
    )
    return (issue,), tuple(notes.values())


def greedy_sampling_issues(
    rejected: Sequence[str],
    *,
    agreed: bool | None,
) -> Iterator[Issue]:
    """Check that generations are greedy.

    agreed: whether a prompt gave the same generation twice, if known
    """
    if "temperature" in rejected:
        yield Issue(
            rule="greedy",
            cause="the server rejects temperature, so no generation is greedy",
            fix=_GREEDY_FIX,
        )
    elif agreed is False:
        yield Issue(
            rule="greedy",
            cause="the same greedy prompt returned two different generations",
            fix=_GREEDY_FIX,
        )


REUSE_RULES = ("age", "canaries")


def age_issues(
    age_days: float,
    *,
    max_age_days: float,
    canaries: bool | None,
    wordless: bool = False,
) -> Iterator[Issue]:
    """Check that reused answers come from the weights that a name alone stands for now.

    age_days: of the oldest answer; canaries: whether they answered again as at first,
    None if they weren't requested again
    wordless: whether reasoning took all of their tokens
    """
    if age_days > max_age_days:
        yield Issue(
            rule="age",
            cause=f"the oldest generation is {age_days:.3g} days old (max_age_days = "
            f"{max_age_days:g}), and only a name identifies the weights",
            fix="resample, or set weights_version in [[model]]",
        )
    if canaries is None:
        yield Issue(
            rule="canaries",
            cause="stored generations are reused, but no canaries (fixed prompts) "
            "answered since to show that the model hasn't changed",
            fix="rerun without --memleak-offline where it can be called, "
            "or set weights_version in [[model]]",
        )
    if wordless:
        yield Issue(
            rule="canaries",
            cause="stored generations are reused, but reasoning takes all tokens of "
            "the canaries (fixed prompts), so they don't show whether the model "
            "changed",
            fix="set weights_version in [[model]] to the version of the model that "
            "answers now (resamples)",
        )
    elif canaries is False:
        yield Issue(
            rule="canaries",
            cause="the model no longer answers the canaries (fixed prompts) "
            "as it did when sampled",
            fix="set a new weights_version in [[model]] to resample",
        )


def record_issues(
    book: Book,
    records: Iterable[RecordedAs],
    *,
    continuation: bool = False,
) -> tuple[Issue, ...]:
    """Check that recorded answers belong to this book, as far as they name one.

    All is compared folded.

    continuation: whether the book's excerpts are the rests of the records'
    """
    texts = {excerpt.id: excerpt.text for excerpt in book.excerpts}
    works: dict[str, Work] = {}
    for work in book.works:
        own_excerpts = book.excerpts[work.first : work.end]
        works |= {excerpt.id: work for excerpt in own_excerpts}
    wrong: dict[str, list[str]] = {}
    for record in records:
        excerpt_id = record.excerpt_id
        text = texts.get(excerpt_id)
        fields = [*_wrong_names(book, works.get(excerpt_id), record)]
        if _is_of_other_text(record, text, continuation=continuation):
            fields.append("excerpt_text")
        for field in fields:
            wrong.setdefault(field, []).append(excerpt_id)
    return tuple(
        Issue(
            rule="recorded for this book",
            cause=f"{amount(len(ids), 'record')} with a different {field} than the "
            f"book {_quoted(book.id)} ({_quoted(ids[0])})",
            fix="supply generations sampled for this book, or correct their records",
        )
        for field, ids in wrong.items()
    )


def _wrong_names(
    book: Book,
    work: Work | None,
    record: RecordedAs,
) -> Iterator[str]:
    """Yield the names that contradict the book's, or those of a collection's work."""
    titles = [book.id, book.title]
    authors = {book.author}
    if work:
        titles.append(work.title)
        authors.add(work.author or "")
    if record.book_name and not _is_any_of_folded(record.book_name, *titles):
        yield "book_name"
    authors -= {"", "unknown", "various"}
    if (
        record.author_name
        and authors
        and not _is_any_of_folded(record.author_name, *authors)
    ):
        yield "author_name"


def _is_of_other_text(
    record: RecordedAs,
    text: str | None,
    *,
    continuation: bool,
) -> bool:
    """Tell whether a record has another text than the book's excerpt of its id."""
    if record.excerpt_text is None:
        return False
    if text is None:
        return True
    own = folded_words(text)
    recorded = folded_words(record.excerpt_text)
    if continuation and own:
        recorded = recorded[-len(own) :]
    return recorded != own


def _is_any_of_folded(name: str, *names: str) -> bool:
    return folded_words(name) in [folded_words(expected) for expected in names]


def _quoted(name: str) -> str:
    return _in_quotes(short_name(name))


def _in_quotes(name: str) -> str:
    return ascii(name).replace("'", '"')
