"""The guard's own errors, in the form of OpenAI's API, whatever went wrong."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from aiohttp import web

ERROR_TYPE = "memleak_guard"
"""The type of the guard's own errors."""


def error_body(message: str) -> dict[str, Any]:
    """Return the JSON of an error."""
    error = {"message": message, "type": ERROR_TYPE, "param": None, "code": None}
    return {"error": error}


def error_response(
    status: int,
    message: str,
    **headers: str,
) -> web.Response:
    """Return the answer that has an error."""
    return web.json_response(error_body(message), status=status, headers=headers)


class RequestHandler(web.RequestHandler):
    """A connection's handler that also answers bad HTTP, and failures, in JSON."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Log an error, and return its answer, which closes the connection."""
        super().handle_error(request, status, exc, message)
        cause = "memleak guard failed; nothing unread was sent"
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            cause = f"{HTTPStatus(status).phrase}: the request isn't valid HTTP"
        response = error_response(status, cause)
        response.force_close()
        return response
