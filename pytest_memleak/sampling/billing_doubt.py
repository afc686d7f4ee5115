"""Whether a failed call may have been answered and billed."""

from __future__ import annotations

import re
from http import HTTPStatus

from pytest_memleak.errors import CallTimeout, ProviderBusy, ProviderError

_HTTP_STATUS = re.compile(r"(\d{3})\b")
# With these, the server may still have done the work.
_UNSURE = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.GATEWAY_TIMEOUT,
    524,  # Cloudflare's timeout
}


class NoAnswer(CallTimeout):
    """A call that was abandoned, and may still do its work."""


class UnforeseenError(ProviderError):
    """An error that no provider should raise; the call may have been billed."""

    in_doubt = True


def in_doubt(error: ProviderError) -> bool:
    """Tell whether a failed call may have been answered and billed.

    The error decides if it knows. Otherwise, a broken connection is in doubt; an error
    with a retry time, or with an HTTP status at the start of its cause, was a
    rejection.
    """
    if error.in_doubt is not None:
        return error.in_doubt
    if isinstance(error, ProviderBusy) and error.retry_after is not None:
        return False
    status = _HTTP_STATUS.match(error.cause)
    return status is None or int(status[1]) in _UNSURE
