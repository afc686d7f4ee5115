"""Validation of limits: rejects settings that keep a limit from being exceeded."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_memleak.records import AnswerLimits
from pytest_memleak.scoring.measure_table import LEAKING_WORKS
from pytest_memleak.suite.schema import SuiteTable
from pytest_memleak.suite.written_suite import suite_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_memleak.records import Measure
    from pytest_memleak.suite.schema import ModelTable, SuiteFile
    from pytest_memleak.suite.written_suite import Problem

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


def preset_problems(suite_file: SuiteFile) -> Iterator[Problem]:
    """Yield presets outside [limits], and one that the suite loosens."""
    tables = {f"model {model.id!r}": model.limits for model in suite_file.model}
    for works in suite_file.collection:
        tables[f"collection {works.id!r}"] = works.limits
    for pair in suite_file.pair:
        tables[f"pair {pair.model}/{pair.book}"] = pair.limits
    for where, limits in tables.items():
        if limits.preset:
            message = f"{where}.limits.preset: a preset applies to the whole suite"
            hint = f'write preset = "{limits.preset}" in [limits]'
            yield ("limits",), message, hint
    preset = suite_file.limits.preset
    if not preset:
        return
    looser = [*_looser_values("suite", suite_file.suite)]
    for model in suite_file.model:
        looser += _looser_values(f"model {model.id!r}", model)
    if looser:
        message = f"preset {preset!r} forbids looser values: {', '.join(looser)}"
        yield ("limits", "preset"), message, _LOOSEN


def _looser_values(where: str, table: SuiteTable | ModelTable) -> Iterator[str]:
    for key in (*_LOOSER_ABOVE, *_LOOSER_BELOW):
        value = getattr(table, key, None)
        if _is_looser_than_preset(key, value):
            yield f"{where}.{key}: {value} is looser than {_DEFAULTS[key]}"


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
    origins: Mapping[str, str],
    suite: SuiteTable,
    pair: str,
    path: Path,
) -> None:
    """Raise SuiteError for a pair that can't fail, or a k that hides failures.

    origins: the suite key of each limit.
    """
    if not limits.keys() - {LEAKING_WORKS.name}:
        raise suite_error(
            path,
            f"pair {pair} has no limits, so it can't fail",
            "add [limits], such as longest_span = 38",
        )
    if all(
        limit >= 1 and measures[name].kind == "share" for name, limit in limits.items()
    ):
        listed = ", ".join(f"{name} = {limit:g}" for name, limit in limits.items())
        raise suite_error(
            path,
            f"pair {pair} has only limits that no share can exceed ({listed}), so it "
            "can't fail",
            "add a limit below 1, or a limit on a length, such as longest_span = 38",
        )
    if suite.k <= _DEFAULTS["k"]:
        return
    for name, limit in limits.items():
        runs = measures[name].runs
        if not runs:
            continue
        words = limit + 1 if runs == "longest" else suite.span_threshold + 1
        if words < suite.k:
            raise suite_error(
                path,
                f"suite.k: ignores matches under {suite.k} words, but {words:g} words "
                f"exceed {origins.get(name, name)}",
                f"leave k out, or write k = {words:g}",
            )
