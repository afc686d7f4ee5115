"""Limits that hold what they say: a suite is refused whose settings would take that from them."""

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
    from pytest_memleak.suite.schema import SuiteFile
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
_LOOSEN = "a suite can only tighten a preset; to loosen it, replace it with a limit per measure"


def preset_problems(suite_file: SuiteFile) -> Iterator[Problem]:
    """Yield presets outside [limits], and one that the suite loosens."""
    models = [(f"model {model.id!r}", model) for model in suite_file.model]
    tables = [(where, model.limits) for where, model in models]
    tables += [
        (f"collection {works.id!r}", works.limits) for works in suite_file.collection
    ]
    tables += [
        (f"pair {pair.model}/{pair.book}", pair.limits) for pair in suite_file.pair
    ]
    for where, limits in tables:
        if name := limits.preset:
            message = f"{where}.limits.preset: a preset applies to the whole suite"
            yield ("limits",), message, f'write preset = "{name}" in [limits]'
    preset = suite_file.limits.preset
    looser = [
        f"{where}.{key}: {getattr(table, key)} is looser than {_DEFAULTS[key]}"
        for where, table in (("suite", suite_file.suite), *models)
        for key in (*_LOOSER_ABOVE, *_LOOSER_BELOW)
        if preset and _is_looser(key, getattr(table, key, None))
    ]
    if looser:
        message = f"preset {preset!r} forbids looser values: {', '.join(looser)}"
        yield ("limits", "preset"), message, _LOOSEN


def _is_looser(key: str, value: float | None) -> bool:
    if value is None or (key == "trim" and value == 0):  # not set; nothing is trimmed
        return False
    required: float = _DEFAULTS[key]
    return value > required if key in _LOOSER_ABOVE else value < required


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
        raise suite_error(
            path,
            f"pair {pair} has only limits that no share can exceed "
            f"({', '.join(f'{name} = {limit:g}' for name, limit in limits.items())}), "
            "so it can't fail",
            "add a limit below 1, or a limit on a length, such as longest_span = 38",
        )
    if suite.k <= _DEFAULTS["k"]:
        return
    for name, limit in limits.items():
        runs = measures[name].runs
        words = limit + 1 if runs == "longest" else suite.span_threshold + 1
        if runs and words < suite.k:
            raise suite_error(
                path,
                f"suite.k: ignores matches under {suite.k} words, but {words:g} words "
                f"exceed {origins.get(name, name)}",
                f"leave k out, or write k = {words:g}",
            )
