"""What a provider or an endpoint can do beyond its protocol: one record, all of it optional.

    if (batches := abilities_of(endpoint).batches) is not None:
        batch_id = batches.start(requests, digest)

Providers and endpoints declare the record as their attribute `abilities`; nothing probes for names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_memleak.interfaces.protocols import Endpoint


@dataclass(frozen=True, slots=True)
class Obeyed:
    """One request parameter: its requested values, and those that the server rejected.

    A rejected value was omitted from the request, or replaced by an equivalent.
    """

    asked: tuple[Any, ...]
    refused: tuple[Any, ...] = ()

    @property
    def taken(self) -> tuple[Any, ...]:
        """The values that the server didn't reject; it may still have ignored them."""
        return tuple(value for value in self.asked if value not in self.refused)


@dataclass(frozen=True, slots=True)
class Abilities:
    """The abilities of an endpoint; the defaults are those of a class with `sample` alone.

    fixed_weights: whether the endpoint's id identifies its weights, by their digest or a
        fine-tune's name; else they may change, and generations age (METRICS section 10)
    model_name:    the name in requests, which responses should repeat; None if servers use none
    obeyed:        returns the parameters requested so far, by the server's own names; one that the
        server silently ignores counts as accepted
    continuing:    returns an endpoint of the same weights, with an id of its own, whose `sample`
        continues a text's beginning without chat; None if the model only answers instructions
    portable:      returns a picklable function that opens the endpoint in another process
    """

    fixed_weights: bool = False
    model_name: str | None = None
    obeyed: Callable[[], Mapping[str, Obeyed]] = dict
    continuing: Callable[[], Endpoint | None] | None = None
    portable: Callable[[], Callable[[], Endpoint]] | None = None


_NONE = Abilities()


def abilities_of(owner: object) -> Abilities:
    """Return the record that a provider or an endpoint declares; the defaults without one."""
    abilities: Abilities = getattr(owner, "abilities", _NONE)
    return abilities


def id_of(endpoint: object) -> str | None:
    """Return the endpoint's own id; None if nothing names its weights."""
    endpoint_id: str | None = getattr(endpoint, "id", None)
    return endpoint_id or None


def baseline_of(endpoint: object) -> Endpoint | None:
    """Return the baseline model (`uplift`) that a test's own endpoint brings, if any."""
    baseline: Endpoint | None = getattr(endpoint, "baseline", None)
    return baseline
