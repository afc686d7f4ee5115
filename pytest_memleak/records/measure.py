"""A measure as a row of the table: what everything that limits, judges or shows it must know.

The rows of this package stand in `pytest_memleak.scoring.measure_table`; extensions bring more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from pytest_memleak.records.measurement import Block

__all__ = ["Estimate", "Measure", "Needs", "ProbeKind"]

ProbeKind = Literal["instruction", "continuation", "probability"]


class Estimate(NamedTuple):
    """A value, and its interval where it has one (else both ends are the value).

    p: one-sided, of "no more than chance"; None where nothing tells it
    """

    value: float
    low: float
    high: float
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What must have been evaluated for a measure to be had.

    part:       the attribute of an Analysis or an Extraction that is then there
    otherwise:  what to say where it is not
    of_windows: the same of a pair whose probe is "probability"
    """

    part: str
    otherwise: str = "it was not asked for"
    of_windows: str = 'the probe "probability" has no generations'


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure.

    name:     its only one: in suite files, code, reports and JSON alike
    title, unit: for whoever does not know it; `{k}` and `{span_threshold}` are the suite's
    about:    what its limit is on, for the schema of suite files
    kind:     "share": a fraction, with limits from 0 to 1; "count": a whole number, with limits
              from 0; "number": any, with any finite limit
    runs:     of what matches in k words in a row and more: the words of the longest run, or the
              number of runs over span_threshold; None where a larger k would hide none of it
    of_works: whether each work of a collection is held against its limit
    rises:    whether more samples can only raise it, so that a limit once broken stays broken
    overview: the probes whose overviews show it, limit or not
    needs:    what it cannot be had without
    read:     of what `needs` names (an Analysis or an Extraction): its value, perhaps with an
              interval; None where it cannot be had
    by_round: of what `needs` names: its value in each round alone, of a share in whole words;
              None for one of which no round tells, which releases cannot be compared in
    function: of an extension's, in place of `read`: (book, generations) -> number
    """

    name: str
    title: str = ""
    unit: str = ""
    about: str = ""
    kind: Literal["share", "count", "number"] = "number"
    runs: Literal["longest", "number"] | None = None
    of_works: bool = False
    rises: bool = False
    overview: tuple[ProbeKind, ...] = ()
    needs: Needs = field(default=Needs("further"), repr=False)
    read: Callable[[Any], Estimate | Block | float | None] | None = field(
        default=None, repr=False, compare=False
    )
    by_round: Callable[[Any], Iterable[int]] | None = field(default=None, repr=False, compare=False)
    function: Callable[..., float] | None = field(default=None, repr=False, compare=False)

    def estimate(self, known: Any) -> Estimate | None:
        """Its value and interval from an Analysis or an Extraction; None where there is none."""
        if self.read is None or getattr(known, self.needs.part, None) is None:
            return None
        value = self.read(known)
        if value is None or isinstance(value, Estimate):
            return value
        number = value.words if isinstance(value, Block) else value
        return Estimate(number, number, number)

    def told(self) -> Measure:
        """The row without its functions, for whoever only shows it."""
        return replace(self, read=None, by_round=None, function=None)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Measure:
        """A row that was told, from its plain values."""
        return cls(**{**data, "overview": tuple(data["overview"]), "needs": Needs(**data["needs"])})

    def refusal(self, limit: float) -> str | None:
        """Why a number cannot be a limit on it; None where it can."""
        if not math.isfinite(limit):
            return "a limit is a finite number"
        if self.kind == "share" and not 0 <= limit <= 1:
            return "a limit on a share is from 0 to 1"
        if self.kind == "count" and (limit < 0 or limit != int(limit)):
            return "a limit on a count is a whole number, 0 or more"
        return None
