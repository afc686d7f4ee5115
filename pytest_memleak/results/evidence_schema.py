"""What a bundle must have at least before anything of it is believed or compared."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


def _a_time(value: str) -> str:
    when = datetime.datetime.fromisoformat(value)
    if when.tzinfo is None:
        raise ValueError("it has no time zone")
    when.timestamp()
    return value


_Number = Annotated[int, Field(ge=0)]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Suite(_Shape):
    name: str
    path: str
    sha256: str


class _Test(_Shape):
    test: str
    outcome: str
    reason: str


class _Model(_Shape):
    id: str
    provider: str
    base_model: str | None
    endpoint: str | None
    options: dict[str, Any]


class _Served(_Shape):
    model: str | None


class _Provenance(_Shape):
    requested: str | None
    served: list[_Served]
    first: str | None
    last: str | None
    imported: int


class _Ledger(_Shape):
    entries: Annotated[int, Field(ge=1)]
    link: str


class _Excerpt(_Shape):
    id: str
    start: _Number
    words: _Number
    covered: _Number
    longest_span: _Number


class _Span(_Shape):
    start: _Number
    end: _Number
    excerpt_id: str
    generation: _Number


class _Coverage(_Shape):
    rounds: _Number
    times: Annotated[str, Field(pattern=r"^\d{1,9}x\d{1,9}( \d{1,9}x\d{1,9})*$")]
    excerpts: list[_Excerpt]
    spans: list[_Span]
    curve: list[float]


class _Pair(_Shape):
    pair: str
    suite: _Suite
    book: dict[str, Any]
    model: _Model
    settings: dict[str, Any]
    measures: dict[str, dict[str, Any]]
    provenance: _Provenance | None
    as_of: Annotated[str, AfterValidator(_a_time)] | None = None
    coverage: _Coverage | None = None
    limits: dict[str, dict[str, Any]]
    control: bool
    expected: Literal["pass", "leak"]
    verdict: Annotated[str, Field(pattern=r"^(PASS|FAIL|INCONCLUSIVE|NOT RUN)(, .*)?$")]
    reasons: list[str]
    unexcused: list[str]
    leaked: bool
    stopped_early: bool
    tests: list[_Test]


class _Compared(_Shape):
    tolerances: dict[str, float]
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]


class _Bundle(_Shape):
    model_config = ConfigDict(strict=True, extra="forbid")

    schema_: Annotated[str, Field(alias="schema")]
    program: dict[str, str | None]
    platform: dict[str, str]
    limitations: list[str]
    created: Annotated[str, AfterValidator(_a_time)]
    result: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    release: str | None
    selection: dict[str, Any]
    uncollected: list[str]
    ledger: _Ledger | None
    pairs: list[_Pair]
    compared: _Compared | None
    suites: list[dict[str, Any]]
    sha256: str


def misshapen(made: dict[str, Any]) -> str | None:
    """The first thing that a bundle lacks or has in another form; None if it is a bundle."""
    try:
        _Bundle.model_validate(made)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except OverflowError:
        return "created: no time"
    return None
