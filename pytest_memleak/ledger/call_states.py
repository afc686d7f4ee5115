"""The states of a paid call, and what each means: open, billed, ended, spent."""

from __future__ import annotations

import re
from enum import StrEnum

import sqlalchemy as sa

from pytest_memleak.ledger.tables import calls


class CallState(StrEnum):
    """The state of a call."""

    ASKED = "asked"
    WAITING = "waiting"
    ANSWERED = "answered"
    FAILED = "failed"
    LOST = "lost"


# The cause of a call that was given up without having reached the server.
NOT_SENT = "it never reached the server"

# The cause of calls whose process ended: no server lost what they requested, nor with
# the next cause.
PROCESS_ENDED = "its process ended before a response was stored"

# The cause of calls whose response came, but found no room in the ledger.
NOT_STORED = "its response came, but the ledger couldn't store it"

# Causes of failed calls whose request the server had, and that never brought anything.
UNANSWERED = "no response came"
NO_RESPONSE_IN_BATCH = "no response in its batch"

# Beside server errors, what servers answer after they took a request.
_AFTER_ACCEPTANCE = frozenset({408, 409, 425, 499})
_TURNED_AWAY = frozenset({503, 529})
_FIRST_SERVER_ERROR = 500
_STATUS = re.compile(r"(\d{3})\b")


def is_fault(cause: str | None) -> bool:
    """Tell whether a server failed a request that it had, by the status in the cause.

    Rate limits (429) and overload (503, 529) turn a request away.
    """
    match = _STATUS.match(cause or "")
    if match is None:
        return False
    status = int(match[1])
    is_server_error = status >= _FIRST_SERVER_ERROR and status not in _TURNED_AWAY
    return is_server_error or status in _AFTER_ACCEPTANCE


def loses_completions(state: str, cause: str | None) -> bool:
    """Tell whether a call without an answer lost the completions that it requested."""
    if state == CallState.LOST:
        return cause not in (PROCESS_ENDED, NOT_STORED)
    if state != CallState.FAILED:
        return False
    text = cause or ""
    is_unanswered = text.startswith(UNANSWERED) or text == NO_RESPONSE_IN_BATCH
    return is_unanswered or is_fault(text)


OPEN = (CallState.ASKED, CallState.WAITING)
# A lost call may have been billed, and counts as billed.
BILLED = (CallState.ANSWERED, CallState.LOST)

IS_OPEN = calls.c.state.in_(OPEN)
IS_BILLED = calls.c.state.in_(BILLED)
IS_ANSWERED = calls.c.state == CallState.ANSWERED
IS_LOST = calls.c.state == CallState.LOST

# When a call ended; an open one: when it began.
call_end = sa.func.coalesce(calls.c.ended, calls.c.began)

# What a call counts as spent.
SPENT = sa.case(
    (IS_ANSWERED, calls.c.cost),
    (calls.c.state == CallState.FAILED, 0),
    else_=calls.c.estimate,
)


def spent_without_answer(state: str, estimate: int | None) -> int | None:
    """Return what a call in this state counts as spent; of an answered one, before."""
    return 0 if state == CallState.FAILED else estimate


# The sums of several calls, which have a cost only if a call was priced. What answered
# calls cost was billed; lost ones cost at most what `cost` counts for them.
TOKEN_AND_COST_SUMS = (
    sa.func.sum(calls.c.prompt_tokens).label("prompt_tokens"),
    sa.func.sum(calls.c.completion_tokens).label("completion_tokens"),
    sa.func.sum(calls.c.cost).label("cost"),
    sa.func.sum(sa.case((IS_ANSWERED, calls.c.cost), else_=0)).label("billed"),
    sa.func.count(calls.c.estimate).label("priced"),
)
