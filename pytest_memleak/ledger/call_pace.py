"""How long an endpoint's calls take, by those that the ledger has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from pytest_memleak.ledger.call_states import CallState
from pytest_memleak.ledger.tables import calls, stored_prompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.ledger.ledger import Ledger

_LATEST = 500  # calls
_SAMPLE = "sample"  # not in a batch, whose calls wait for its other ones


def seconds_per_call(ledger: Ledger, endpoint_id: str) -> float | None:
    """Return the seconds that each of the endpoint's latest answered calls took.

    Calls that overlap share their time. None without any.
    """
    query = (
        sa.select(calls.c.began, calls.c.ended)
        .join(stored_prompts, stored_prompts.c.id == calls.c.prompt)
        .where(stored_prompts.c.endpoint == endpoint_id)
        .where(calls.c.state == CallState.ANSWERED, calls.c.kind == _SAMPLE)
        .where(calls.c.ended.is_not(None))
        .order_by(calls.c.began.desc())
        .limit(_LATEST)
    )
    times = [(row.began, row.ended) for row in ledger.rows(query)]
    return busy_seconds(times) / len(times) if times else None


def busy_seconds(times: Sequence[tuple[float, float]]) -> float:
    """Return how long at least one of the intervals lasted, in seconds."""
    busy = 0.0
    until = float("-inf")
    for began, ended in sorted(times):
        start = max(began, until)
        busy += max(0.0, ended - start)
        until = max(until, ended)
    return busy
