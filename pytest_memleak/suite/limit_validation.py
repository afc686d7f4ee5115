"""Validation of limits: rejects settings that keep a limit from being exceeded."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from pytest_memleak.errors import SuiteError
from pytest_memleak.records import AnswerLimits
from pytest_memleak.scoring.measure_table import LEAKING_WORKS
from pytest_memleak.suite.schema import SuiteTable
from pytest_memleak.suite.written_suite import safe_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_memleak.records import Measure
    from pytest_memleak.suite.schema import LimitsTable, ModelTable, SuiteFile
    from pytest_memleak.suite.written_suite import Location, Problem

# A preset requires the defaults, or what is stricter.
_DEFAULTS = {name: field.default for name, field in SuiteTable.model_fields.items()}
_DEFAULTS |= dataclasses.asdict(AnswerLimits())
_LOOSER_ABOVE = (
    "k",
    "span_threshold",
    "max_short",
    "max_unanswered",
    "max_prompt_overlap",
)
_LOOSER_BELOW = ("trim", "confidence", "prefix_words", "min_length_ratio")
_LOOSEN = (
    "a suite can only tighten a preset; to loosen it, replace it with a limit per "
    "measure"
)


class LimitOrigin(NamedTuple):
    """Where the suite sets a limit: the key, as messages name it, and its location."""

    key: str
    location: Location


class TableOfLimits(NamedTuple):
    """A table of limits: its key, as messages name it, its location, and the limits."""

    key: str
    location: Location
    limits: LimitsTable

    def origin(self, name: str) -> LimitOrigin:
        """Return where the table sets the limit of a measure, or its preset."""
        steps = ("measures", name) if name in self.limits.measures else (name,)
        key = ".".join((self.key, *map(safe_key, steps)))
        return LimitOrigin(key, (*self.location, *steps))


def tables_of_limits(suite_file: SuiteFile) -> Iterator[TableOfLimits]:
    """Yield every table of limits, the general ones first."""
    yield TableOfLimits("limits", ("limits",), suite_file.limits)
    for index, works in enumerate(suite_file.collection):
        key = f"collection {works.id!r}.limits"
        yield TableOfLimits(key, ("collection", index, "limits"), works.limits)
    for index, model in enumerate(suite_file.model):
        key = f"model {model.id!r}.limits"
        yield TableOfLimits(key, ("model", index, "limits"), model.limits)
    for index, pair in enumerate(suite_file.pair):
        key = f"pair {pair.model}/{pair.book}.limits"
        yield TableOfLimits(key, ("pair", index, "limits"), pair.limits)


def preset_problems(suite_file: SuiteFile) -> Iterator[Problem]:
    """Yield presets outside [limits], and one that the suite loosens."""
    for table in tables_of_limits(suite_file):
        if table.limits.preset and table.location != ("limits",):
            key, location = table.origin("preset")
            message = f"{key}: a preset applies to the whole suite"
            hint = f'write preset = "{table.limits.preset}" in [limits]'
            yield location, message, hint
    preset = suite_file.limits.preset
    if not preset:
        return
    looser = _looser_values("suite", ("suite",), suite_file.suite)
    for index, model in enumerate(suite_file.model):
        looser |= _looser_values(f"model {model.id!r}", ("model", index), model)
    if looser:
        listed = ", ".join(looser.values())
        message = f"preset {preset!r} forbids looser values: {listed}"
        yield next(iter(looser)), message, _LOOSEN


def _looser_values(
    where: str,
    location: Location,
    table: SuiteTable | ModelTable,
) -> dict[Location, str]:
    """Return what is looser than the defaults, by its location."""
    looser = {}
    for key in (*_LOOSER_ABOVE, *_LOOSER_BELOW):
        value = getattr(table, key, None)
        if _is_looser_than_preset(key, value):
            text = f"{where}.{key}: {value} is looser than {_DEFAULTS[key]}"
            looser[*location, key] = text
    return looser


def _is_looser_than_preset(key: str, value: float | None) -> bool:
    if value is None or (key == "trim" and value == 0):  # not set; nothing is trimmed
        return False
    required: float = _DEFAULTS[key]
    if key in _LOOSER_ABOVE:
        return value > required
    return value < required


def validate_limits(
    limits: Mapping[str, float],
    measures: Mapping[str, Measure],
    origins: Mapping[str, LimitOrigin],
    suite: SuiteTable,
    pair: str,
    place: Callable[[Location], str],
) -> None:
    """Raise SuiteError for a pair that can't fail, or a k that hides failures.

    origins: where the suite sets each limit
    place: returns the file and line of a key
    """
    if not limits.keys() - {LEAKING_WORKS.name}:
        raise SuiteError(
            f"pair {pair} has no limits, so it can't fail",
            location=place(("limits",)),
            hint="add [limits], such as longest_span = 38",
        )
    if all(
        limit >= 1 and measures[name].kind == "share" for name, limit in limits.items()
    ):
        listed = ", ".join(f"{name} = {limit:g}" for name, limit in limits.items())
        raise SuiteError(
            f"pair {pair} has only limits that no share can exceed ({listed}), so it "
            "can't fail",
            location=place(origins[next(iter(limits))].location),
            hint="add a limit below 1, or a limit on a length, such as "
            "longest_span = 38",
        )
    if suite.k <= _DEFAULTS["k"]:
        return
    for name, limit in limits.items():
        runs = measures[name].runs
        if not runs:
            continue
        words = limit + 1 if runs == "longest" else suite.span_threshold + 1
        if words < suite.k:
            key = origins[name].key if name in origins else name
            raise SuiteError(
                f"suite.k: ignores matches under {suite.k} words, but {words:g} words "
                f"exceed {key}",
                location=place(("suite", "k")),
                hint=f"leave k out, or write k = {words:g}",
            )
