"""What a generation's ordinal means: requested, placed beyond that, or surplus.

A prompt's generations are numbered from 0, and the suite requests those below its
`samples`. A surplus generation came when its ordinal was taken: it is paid for and
stored, has a number below 0, and is never scored.
"""

from __future__ import annotations

import sqlalchemy as sa

from pytest_memleak.ledger.tables import generations

IS_PLACED = generations.c.ordinal >= 0
IS_SURPLUS = generations.c.ordinal < 0


def is_requested(samples: int) -> sa.ColumnElement[bool]:
    """Select the generations that a suite with so many samples requests."""
    is_below = generations.c.ordinal < samples
    return sa.and_(IS_PLACED, is_below)


def is_beyond(samples: int) -> sa.ColumnElement[bool]:
    """Select the generations that such a suite doesn't request."""
    is_further = generations.c.ordinal >= samples
    return sa.or_(IS_SURPLUS, is_further)
