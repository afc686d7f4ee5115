"""Pair results that nothing measured, and any record of whatever its types allow."""

import collections.abc
import dataclasses
import enum
import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st

from pytest_memleak.records import Completeness
from pytest_memleak.records.number_format import DAY
from pytest_memleak.records.pair_result import (
    BookFacts,
    ModelFacts,
    PairResult,
    SetLimit,
    SuiteFacts,
)
from pytest_memleak.records.plot_records import CoverageMap, CoveredExcerpt, PlacedSpan

SETTINGS = {
    "samples": 5,
    "k": 5,
    "span_threshold": 20,
    "probe": {"kind": "instruction"},
}
NOTHING = PairResult(
    pair="m/book",
    suite=SuiteFacts("s.memleak.toml", "/suites/s.memleak.toml", "5" * 64),
    book=BookFacts("book", None, None, None, None, None, None, ()),
    model=ModelFacts("m", None, "recorded", None, None, (), {}, None, {}, None, ()),
    settings=SETTINGS,
    completeness=Completeness(0, 0),
    **dict.fromkeys(
        ("provenance", "as_of", "detection", "second_opinion", "rounds", "coverage")
    ),
    **dict.fromkeys(("scan_scope", "excused", "catalog")),
    **dict.fromkeys(("sampled", "works", "reasons", "unexcused", "committed"), ()),
    measures={},
    limits={},
    control=False,
    expected="pass",
    verdict="PASS",
    leaked=False,
    stopped_early=False,
    prompts=None,
    extraction=None,
    prompt_rates=(),
    probability=None,
)


def estimated(value, low=None, high=None, **more):
    """A measure as evidence has it; without an interval, both ends are the value."""
    ends = {
        "low": value if low is None else low,
        "high": value if high is None else high,
    }
    return {"value": value} | ends | more


def limited(**limits):
    return {name: SetLimit(limit, f"limits.{name}") for name, limit in limits.items()}


def named(result, suite=None, model=None, book=None, endpoint=None):
    """The result under other names."""
    parts = {"suite": {"name": suite}, "book": {"id": book}}
    parts["model"] = {"id": model, "endpoint": endpoint}
    changes = {
        part: dataclasses.replace(
            getattr(result, part),
            **{key: name for key, name in names.items() if name is not None},
        )
        for part, names in parts.items()
    }
    return dataclasses.replace(result, **changes)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = {
    str: TEXT,
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
}
ANY = st.recursive(
    st.one_of(*NUMBERS.values()),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2)
    ),
    max_leaves=3,
)


def by_type(kind):  # noqa: PLR0911 - one for each form of a type
    """Values of a type, as annotations of records name it."""
    if kind in NUMBERS:
        return NUMBERS[kind]
    if kind is Any:
        return ANY
    if kind is CoverageMap:
        return COVERAGE
    if dataclasses.is_dataclass(kind):
        return st.deferred(lambda: any_record(kind))
    if isinstance(kind, enum.EnumType):
        return st.sampled_from(kind)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated and parts[1] is DAY:  # a day has no hour
        return st.none() | st.integers(0, 20_000).map(lambda day: day * 86_400.0)
    if origin is Annotated:
        return st.none() | st.integers(0, 2**31).map(float)
    if origin is Literal:
        return st.sampled_from(parts)
    if origin in (Union, types.UnionType):
        # Functions don't travel.
        plain = [
            part for part in parts if get_origin(part) is not collections.abc.Callable
        ]
        return st.one_of(*map(by_type, plain))
    if origin is tuple and parts[-1] is Ellipsis:
        return st.lists(by_type(parts[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(by_type, parts))
    assert origin in (dict, collections.abc.Mapping), kind
    return st.dictionaries(*map(by_type, parts), max_size=2)


def any_record(kind, **chosen):
    """Records of a class, whose fields have values of their types."""
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {
        field.name: by_type(hints[field.name]) for field in dataclasses.fields(kind)
    }
    return st.builds(kind, **fields | chosen)


COUNTS = st.integers(min_value=0)
COVERAGE = any_record(
    CoverageMap,
    rounds=COUNTS,
    times=st.sampled_from(["0x120", "0x120 3x4"]),
    excerpts=st.lists(
        st.builds(CoveredExcerpt, TEXT, COUNTS, COUNTS, COUNTS, COUNTS), max_size=2
    ).map(tuple),
    spans=st.lists(st.builds(PlacedSpan, COUNTS, COUNTS, TEXT, COUNTS), max_size=2).map(
        tuple
    ),
)
