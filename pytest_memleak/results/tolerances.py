"""How much worse a release may be: `bmc=0.01,longest_span=10`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_memleak.errors import SettingsError
from pytest_memleak.scoring.measure_table import MEASURES, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def parsed_tolerances(value: str) -> dict[str, float]:
    """Per measure, by how much it may rise. Raises SettingsError for anything else."""
    tolerances: dict[str, float] = {}
    for part in value.split(","):
        measure, _, by = part.partition("=")
        try:
            number = float(by)
        except ValueError:
            number = math.nan
        name = measure.strip()
        if not (name and 0 <= number < math.inf):
            raise SettingsError(f"expected MEASURE=NUMBER,... from 0 on, got {part!r}")
        if name in tolerances:
            raise SettingsError(f"{name} stands there twice")
        tolerances[name] = number
    return tolerances


def refuse_untestable(tolerances: Mapping[str, float], brought: Iterable[str] = ()) -> None:
    """Raise SettingsError for tolerances by which nothing could be called worse.

    A name that is no measure, or one that no round tells of; a share that may rise by all of it.
    brought: the measures of extensions, which are known, and of which no round tells.
    """
    testable = [name for name, row in MEASURES.items() if row.by_round]
    known = [*MEASURES, *brought]
    for name, by in tolerances.items():
        if name not in known:
            raise SettingsError(f"there is no measure {name!r}; {nearest(name, known)}")
        if name not in testable:
            raise SettingsError(
                f"{name} has no value in each round, so that a rise cannot be told from noise; "
                f"name {', '.join(testable)}"
            )
        if by >= 1 and MEASURES[name].kind == "share":
            raise SettingsError(
                f"{name}={by:g}: no share rises by that much, so that nothing could fail",
                hint=f"it is a share: a rise by 1 % is {name}=0.01",
            )
