"""The HTTP of Tinker's SDK, held to the bounds of every client here.

    bound_the_sdk()                 # before the first of its clients is made
    not_taken(error.response)       # Astray or Endless, where an answer was not taken

The SDK makes its HTTP clients itself, and takes none from outside: so what it makes them of is
replaced, once for the process. Its own transport (pyqwest) is left out, since that follows
redirects, key and texts included, and unpacks, before anyone can look.
"""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Any

from pytest_memleak.providers.call_errors import Astray
from pytest_memleak.providers.http_caps import Bounds, Endless

# Twice what the SDK waits for any piece of an answer, its long polls included.
_LONGEST_ANSWER = 120.0
_WHY = "memleak_why"


@functools.cache
def bound_the_sdk() -> None:
    """From now on the SDK reads no more, and follows no further, than `Bounds` allow."""
    import httpx
    from tinker import _base_client as sdk

    bounds = Bounds(timeout=_LONGEST_ANSWER)

    class Bounded(sdk.AsyncHttpxClientWrapper):
        def __init__(self, **settings: Any) -> None:
            settings.pop("transport", None)
            super().__init__(**{**settings, "event_hooks": bounds.async_hooks})

        async def send(self, request: httpx.Request, **settings: Any) -> httpx.Response:
            """An answer; in the place of one that is not taken, an error.

            An exception would have the SDK ask again, for as long as the process lives, and
            keep all that it had read. Of the errors with a status this is one that it takes.
            """
            try:
                return await super().send(request, **settings)
            except (Astray, Endless) as error:
                why = type(error)(*error.args)
            return httpx.Response(
                HTTPStatus.NOT_ACCEPTABLE, request=request, extensions={_WHY: why}
            )

    sdk.AsyncHttpxClientWrapper = Bounded  # type: ignore[misc]


def not_taken(response: Any) -> Astray | Endless | None:
    """Why an answer was not taken; None where it was."""
    why: Astray | Endless | None = response.extensions.get(_WHY)
    return why
