"""The errors of failed calls, and the part of a server's message that they may quote.

    failing = CallErrorFactory("openai", endpoint="gpt-oss-20b", call="models.list")
    raise failing.of_response(ErrorResponse(429, "slow down", retry_after=2.0))     # a
    ProviderBusy

The same for every client: which HTTP status is temporary, which exception means that
nothing was sent, and the messages of a missed deadline, a broken connection, or an
unexpected response. A client adds its SDK's exceptions and its own hints.

safe_message("Incorrect API key: sk-abc...")  ->  "Incorrect API key: [masked]"
"""

from __future__ import annotations

import email.utils
import http.client
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import IO, Any

from pytest_memleak.errors import (
    CallTimeout,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
    UnusableResponse,
)
from pytest_memleak.formats.distinct_keys import DuplicateKey, json_with_distinct_keys
from pytest_memleak.providers.error_meanings import (
    NO_CREDIT,
    TokenLimit,
    is_about_key,
    is_moderation,
    lacks_credit,
    lacks_model,
    reads_as_error,
    token_limit,
)
from pytest_memleak.redaction.credentials import masked
from pytest_memleak.redaction.text import (
    QUOTED_WORDS,
    WORD,
    first_words,
    most_server_words,
    server_word,
)

RAISE_DEADLINE = "raise deadline in [sampling]"
_QUOTED_WORDS = 5
_HIDDEN = "(message redacted: --memleak-quote 0)"
_LONGEST_MESSAGE = 2000
_TRY_AGAIN = frozenset({408, 409, 425, 429, 499})
# A proxy stopped waiting for the model; 524 is Cloudflare's.
_TIMEOUTS = frozenset({408, 504, 524})
_PROXY_TIMEOUT = "raise the timeout of the proxy, or lower max_tokens in [[model]]"
# Exceptions of httpx, urllib3, aiohttp, and sockets for a connection that was never
# made.
_NO_CONNECTION = {
    "ClientConnectorError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectTimeoutError",
    "ConnectionRefusedError",
    "EmptyPoolError",
    "NameResolutionError",
    "NewConnectionError",
    "PoolTimeout",
    "SSLCertVerificationError",
    "gaierror",
}
# A server's words for the highest number that it allows.
_BOUND = re.compile(
    r"(?:<=?|at most|up to|maximum(?: (?:of|is|value))?|max(?:imum)? ?[:=]"
    r"|less than or equal to|\b1 (?:to|and|-)) ?(\d{1,6})\b",
    re.ASCII | re.IGNORECASE,
)


class RequestRejected(ProviderError):
    """The server rejected the request; see `ErrorResponse`."""

    def __init__(
        self,
        cause: str,
        rejection: ErrorResponse,
        **place: Any,
    ) -> None:
        super().__init__(cause, **place)
        self.status = rejection.status
        self.code = rejection.code
        self.named = rejection.named
        self.most = rejection.most
        self.moderated = rejection.moderated
        self.token_limit = rejection.token_limit


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An HTTP error response.

    code: the server's name of the error
    retry_after: in seconds
    named: the rejected parameters
    """

    status: int
    message: str = field(default="", repr=False)
    code: str | None = None
    retry_after: float | None = None
    named: tuple[str, ...] = ()

    @property
    def most(self) -> int | None:
        """The highest number that the message allows."""
        bounds = _BOUND.findall(self.message[:_LONGEST_MESSAGE])
        return max(map(int, bounds), default=None)

    @property
    def moderated(self) -> bool:
        """Whether a filter rejected the prompt."""
        return is_moderation(self.status, self.code, self.message)

    @property
    def is_about_key(self) -> bool:
        """Whether the key is wrong, or missing."""
        return is_about_key(self.status, self.code, self.message)

    @property
    def lacks_model(self) -> bool:
        """Whether the server has no model of that name."""
        return lacks_model(self.status, self.code, self.message)

    @property
    def token_limit(self) -> TokenLimit | None:
        """The limit of tokens that the message is about, if it is about one."""
        return token_limit(self.message)

    @property
    def is_final(self) -> bool:
        """Whether a retry is useless: an account without credit has status 429, too."""
        return not is_temporary_status(self.status) or lacks_credit(
            self.status, self.code
        )

    @property
    def hint(self) -> str | None:
        """What the server's words say to do; None if they don't."""
        if lacks_credit(self.status, self.code):
            return NO_CREDIT
        return self.token_limit.hint if self.token_limit else None


@dataclass(frozen=True, slots=True)
class CallErrorFactory:
    """Creates the errors of one call; `texts` are what no message may quote."""

    provider: str
    endpoint: str
    call: str
    texts: Sequence[str] = field(default=(), repr=False)

    @property
    def place(self) -> dict[str, Any]:
        """The arguments of an error that name the call."""
        return {"provider": self.provider, "endpoint": self.endpoint, "call": self.call}

    def final(self, cause: str, hint: str | None = None) -> ProviderError:
        """Create a final error."""
        return ProviderError(cause, hint=hint, **self.place)

    def busy(
        self,
        cause: str,
        hint: str | None = None,
        *,
        after: float | None = None,
    ) -> ProviderBusy:
        """Create a temporary error; `after`: the seconds that the server asks for."""
        return ProviderBusy(cause, hint=hint, retry_after=after, **self.place)

    def overdue(self, cause: str, hint: str | None = None) -> CallTimeout:
        """Create the error of a call that missed its deadline."""
        return CallTimeout(
            cause,
            hint=hint or RAISE_DEADLINE,
            in_doubt=True,
            **self.place,
        )

    def unusable(self, cause: str, hint: str | None = None) -> UnusableResponse:
        """Create the error of a response that came and can't be used."""
        return UnusableResponse(cause, hint=hint, in_doubt=True, **self.place)

    def not_sent(
        self,
        cause: str,
        hint: str | None = None,
        *,
        lasting: bool = False,
    ) -> RequestNotSent:
        """Create the error of an unsent call; `lasting` if a retry is useless."""
        return RequestNotSent(cause, hint=hint, lasting=lasting, **self.place)

    def of_response(
        self, rejection: ErrorResponse, hint: str | None = None
    ) -> ProviderError:
        """Create a RequestRejected; a ProviderBusy for a temporary status.

        Where a proxy stopped waiting for the model, that is a CallTimeout.
        """
        cause = self.cause(rejection)
        hint = rejection.hint or hint
        if rejection.is_final:
            return RequestRejected(cause, rejection, hint=hint, **self.place)
        kind: type[ProviderBusy] = ProviderBusy
        if rejection.status in _TIMEOUTS:
            kind = CallTimeout
            hint = hint or _PROXY_TIMEOUT
        return kind(cause, hint=hint, retry_after=rejection.retry_after, **self.place)

    def cause(self, rejection: ErrorResponse) -> str:
        """Return status, code, and message in one line."""
        parts = []
        if rejection.code:
            parts.append(f"({rejection.code})")
        if rejection.message:
            parts.append(f"- {rejection.message}")
        phrase = http.client.responses.get(rejection.status, "unknown status")
        if not parts:
            return f"{rejection.status} {phrase}"
        words = safe_message(" ".join(parts), texts=self.texts)
        return f"{rejection.status} {phrase} {words}"

    def connection(
        self,
        error: BaseException,
        *,
        server: str,
        timeout: float,
    ) -> ProviderError:
        """Create the error of a call without a response, or of one that wasn't sent."""
        kinds = []
        for link in exception_chain(error):
            if isinstance(link, UnfollowedRedirect):
                return self.astray(link, server=server)
            kinds.append(type(link).__name__)
        hint = f"check that {server} runs and is reachable"
        if not _NO_CONNECTION.isdisjoint(kinds):
            if "SSLError" in kinds:
                hint += "; without TLS, write http://"
            return self.not_sent(
                f"Connection failed ({kinds[-1]}). Nothing was sent or billed",
                hint,
                lasting="SSLCertVerificationError" in kinds,
            )
        if any("Timeout" in kind for kind in kinds):
            return self.overdue(f"no response within {timeout:g} s")
        # The SDK's own exception comes first, and that of the HTTP library second.
        kind = kinds[min(1, len(kinds) - 1)]
        return self.busy(f"The connection failed or was interrupted ({kind})", hint)

    def astray(self, error: UnfollowedRedirect, *, server: str) -> ProviderError:
        """Create the error of a redirect that isn't followed: nothing was billed."""
        return self.final(
            str(error),
            f"set base_url to the address that answers; {server} redirects requests",
        )

    def rows(self, lines: IO[bytes], place: str) -> Iterator[dict[str, Any]]:
        """Yield each line's JSON object; ProviderBusy for a damaged line."""
        lines.seek(0)
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json_with_distinct_keys(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise self.busy(f"line {number} of {place} isn't a JSON object")
            yield row

    def malformed(
        self, server: str, error: BaseException | None = None
    ) -> ProviderError:
        """Create the error of a response in an unexpected form.

        One that is compressed is final, since the next one would be, too.
        """
        for link in exception_chain(error):
            if isinstance(link, CompressedResponse):
                failure = self.final(str(link), f"turn compression off at {server}")
                failure.in_doubt = True
                return failure
        cause = "The response has an unexpected format"
        if any(isinstance(link, DuplicateKey) for link in exception_chain(error)):
            cause = "The response has an object with the same key twice"
        return self.unusable(cause, f"check {server}, which sent it")


class CompressedResponse(ValueError):
    """A response in a form that the request doesn't allow, and that can't be read."""

    def __init__(self, encoding: str) -> None:
        name = server_word(encoding)
        super().__init__(
            f"The response is compressed ({name}), though none was allowed"
        )


class UnfollowedRedirect(Exception):
    """A redirect that isn't followed: to another server, or in a circle."""


def is_temporary_status(status: int) -> bool:
    """Tell whether an HTTP status is temporary."""
    server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return status in _TRY_AGAIN or (
        server_error and status != HTTPStatus.NOT_IMPLEMENTED
    )


def exception_chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def retry_after(headers: Mapping[str, Any] | None) -> float | None:
    """Return the seconds to wait, from `retry-after-ms` or `retry-after`."""
    headers = headers or {}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = str(headers.get(name, ""))[:_LONGEST_MESSAGE]
        is_number = re.fullmatch(r"\d+(\.\d+)?", value)
        if is_number and math.isfinite(float(value)):
            return float(value) * unit
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    left = moment - datetime.now(UTC)
    return max(0.0, left.total_seconds())


def safe_message(message: str, *, texts: Sequence[str] = ()) -> str:
    """Return a message's 300 characters, without keys; redacted if it quotes `texts`.

    A quote is five words in a row, within the message's first 2,000 characters. Of a
    message that may be of a book, only the first words are shown; so are they where
    fewer than QUOTED_WORDS may be shown.
    """
    most = most_server_words()
    if most == 0:
        return _HIDDEN
    message = message[:_LONGEST_MESSAGE]
    if any(_shares_five_words(message, text) for text in texts):
        return "(message redacted: it quotes the prompt)"
    shown = masked(message)
    if most is not None and not reads_as_error(shown):
        return first_words(shown, most)
    return stored_message(shown)


def _shares_five_words(message: str, text: str) -> bool:
    """Tell whether a message has five words in a row of a text."""
    words = WORD.findall(message.casefold())
    words_of_text = " ".join(WORD.findall(text.casefold()))
    for end in range(_QUOTED_WORDS, len(words) + 1):
        run = words[end - _QUOTED_WORDS : end]
        if " ".join(run) in words_of_text:
            return True
    return False


def stored_message(message: str) -> str:
    """Return a message that an earlier run stored, with this run's number of words."""
    most = most_server_words()
    if most is None or most >= QUOTED_WORDS:
        return message
    if most == 0:
        return _HIDDEN
    return first_words(message, most)
