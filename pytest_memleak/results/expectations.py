"""What somebody who checks a bundle expects of it, held against what it says."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_memleak.results.subjects import names_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Expected:
    """Which release a bundle has to be of; what is empty or None is left open.

    release: its name; models: by which its models go; suites: SHA-256 of its suite files;
    not_before: when the bundle may have been made, and its answers drawn, at the earliest
    """

    release: str | None = None
    models: frozenset[str] = frozenset()
    suites: frozenset[str] = frozenset()
    not_before: datetime.datetime | None = None


def unmet(expected: Expected, made: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each expectation that a bundle does not meet."""
    if expected.release not in (None, made["release"]):
        yield f"release: expected {expected.release!r}, the bundle says {made['release']!r}"
    pairs = made["pairs"]
    if expected.suites:
        told = {one["suite"]["sha256"] for one in pairs}
        yield from _apart("suite", expected.suites, told)
    if expected.models:
        yield from _apart("model", expected.models, {n for one in pairs for n in names_of(one)})
    if expected.not_before is not None:
        yield from _too_early(expected.not_before, made)


def _apart(what: str, expected: frozenset[str], told: set[str]) -> Iterator[str]:
    for one in sorted(told - expected):
        yield f"{what}: the bundle has {one!r}, which was not expected"
    for one in sorted(expected - told):
        yield f"{what}: expected {one!r}, which the bundle does not have"


def _too_early(not_before: datetime.datetime, made: Mapping[str, Any]) -> Iterator[str]:
    if datetime.datetime.fromisoformat(made["created"]) < not_before:
        yield f"created: the bundle was made on {made['created']}, before {not_before.isoformat()}"
    day = not_before.date().isoformat()
    for pair in made["pairs"]:
        if pair["verdict"] == "NOT RUN":
            continue
        drawn = (pair["provenance"] or {}).get("first")
        if drawn is None:
            yield f"{pair['pair']}: nothing says when its answers were drawn"
        elif drawn < day:
            yield f"{pair['pair']}: its first answer was drawn on {drawn}, before {day}"
