"""Limits that hold what they say: a suite is refused whose settings would take that from them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_memleak.errors import SuiteError
from pytest_memleak.suite.schema import SuiteTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_memleak.records import Measure
    from pytest_memleak.suite.schema import SuiteFile

PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "strict": MappingProxyType(
            {
                "longest_passage": 38,
                "nv_longest_passage": 38,
                "passages_over": 5,
                "bmc": 0.15,
                "longest_block": 50,
                "longest_span": 38,
                "spans_over": 0,
                "greedy_bmc": 0.15,
                "greedy_longest_span": 38,
            }
        ),
        "paper": MappingProxyType(
            {"bmc": 0.15, "longest_block": 100, "longest_span": 38, "spans_over": 0}
        ),
    }
)


# --- limits that hold what they say -------------------------------------------------------

_DEFAULTS = {name: field.default for name, field in SuiteTable.model_fields.items()}
_LOOSEN = "a suite may only tighten a preset: write its limits out to loosen them"


def refuse_loosened_preset(written: SuiteFile, path: Path) -> None:
    """Raise SuiteError for a preset that is not the suite's, or that the suite loosens."""
    below = [(f"model {model.id!r}", model.limits) for model in written.model]
    below += [
        (f"collection {collection.id!r}", collection.limits) for collection in written.collection
    ]
    below += [(f"pair {pair.model}/{pair.book}", pair.limits) for pair in written.pair]
    for where, limits in below:
        if limits.preset:
            raise SuiteError(
                f"{where}.limits.preset: a preset is one of the whole suite",
                location=str(path),
                hint=f'write preset = "{limits.preset}" in [limits]',
            )
    preset, suite = written.limits.preset, written.suite
    if preset is None:
        return
    looser = {
        "k": suite.k > _DEFAULTS["k"],
        "trim": 0 < suite.trim < _DEFAULTS["trim"],
        "span_threshold": suite.span_threshold > _DEFAULTS["span_threshold"],
        "confidence": suite.confidence < _DEFAULTS["confidence"],
    }
    if any(looser.values()):
        keys = ", ".join(
            f"suite.{key}: {getattr(suite, key)} is looser than {_DEFAULTS[key]}"
            for key, is_looser in looser.items()
            if is_looser
        )
        raise SuiteError(
            f"{keys}, which the preset {preset!r} rests on",
            location=str(path),
            hint=_LOOSEN,
        )


def refuse_toothless_limits(
    limits: Mapping[str, float],
    measures: Mapping[str, Measure],
    origins: Mapping[str, str],
    suite: SuiteTable,
    pair: str,
    path: Path,
) -> None:
    """Raise SuiteError for a pair that nothing could fail, and for a k that passes over failures.

    measures: the table that the limits are of; origins: per limit the key that sets it.
    """
    if not limits.keys() - {"leaking_works"}:
        raise SuiteError(
            f"the pair {pair} has no limits, so nothing could fail",
            location=str(path),
            hint="add [limits], such as longest_span = 38",
        )
    if all(limit >= 1 and measures[name].kind == "share" for name, limit in limits.items()):
        raise SuiteError(
            f"the pair {pair} has only limits that no share is over "
            f"({', '.join(f'{name} = {limit:g}' for name, limit in limits.items())}), so nothing "
            "could fail",
            location=str(path),
            hint="add a limit below 1, or one on a length, such as longest_span = 38",
        )
    if suite.k <= _DEFAULTS["k"]:
        return
    for name, limit in limits.items():
        runs = measures[name].runs
        words = limit + 1 if runs == "longest" else suite.span_threshold + 1
        if runs and words < suite.k:
            raise SuiteError(
                f"suite.k: matches under {suite.k} words do not count, and one of {words:g} is "
                f"over {origins.get(name, name)}",
                location=str(path),
                hint=f"leave k out, or write k = {words:g}",
            )
