"""Every exception of the project.

    MemleakError                what was wrong, where, and what to do next
    ├── SuiteError              the suite file: unknown key, bad value, missing book
    ├── BookError               a book that cannot be read, cut or prompted for
    ├── RecordsError            the paper's JSON, JSONL or our records: bad form, bad ids
    ├── SettingsError           a setting of the measures that means nothing (k = 0)
    ├── EvidenceError           an evidence bundle or a key that cannot be read or written
    ├── LedgerError             the ledger: unreachable, newer than this program, damaged
    ├── MissingExtra            a provider's SDK is not installed
    └── Inconclusive            evidence cannot be completed now; never a pass
        ├── JobPending          a fine-tune, batch or deployment is under way at the provider
        ├── BudgetExceeded      the next call would cost more than is left
        └── ProviderError       a call to a model failed for good
            ├── TopKUnavailable  it tells fewer of the likeliest tokens than top-k needs
            └── ProviderBusy    it may succeed when tried again (429, 5xx, connection, deadline)
                └── RequestNotSent  it never reached the server: not billed, whatever comes of it

A message says what was expected, what was seen and where; `hint` says what to do next.
No message carries a book's or a model's text.
"""

from __future__ import annotations

__all__ = [
    "BookError",
    "BudgetExceeded",
    "EvidenceError",
    "Inconclusive",
    "JobPending",
    "LedgerError",
    "MemleakError",
    "MissingExtra",
    "ProviderBusy",
    "ProviderError",
    "RecordsError",
    "RequestNotSent",
    "SettingsError",
    "SuiteError",
    "TopKUnavailable",
]


class MemleakError(Exception):
    """Something a user can act on; shown without a traceback.

    `location` is where it was seen (a file, a file and key, an endpoint), `hint` the next step.
    """

    def __init__(
        self, message: str, *, location: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.location}: {self.message}" if self.location else self.message
        return f"{text}\n  {self.hint}" if self.hint else text

    @property
    def line(self) -> str:
        """All of it on one line, for a table or a list."""
        return "; ".join(str(self).replace("\n  ", "\n").splitlines())

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive pickling (xdist, Ray) on their own.
        return (_rebuild, (type(self), self.__dict__))


def _rebuild(kind: type[MemleakError], state: dict[str, object]) -> MemleakError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (state["message"],)
    return error


class SuiteError(MemleakError):
    """A suite file that cannot be run as written."""


class BookError(MemleakError):
    """A book that cannot be read, cut into excerpts or prompted for."""


class RecordsError(MemleakError):
    """Records of excerpts or generations that are not of the paper's form."""


class SettingsError(MemleakError, ValueError):
    """A setting of the measures, or a budget, that means nothing."""


class EvidenceError(MemleakError):
    """An evidence bundle, or a key for its signature, that cannot be read or written."""


class LedgerError(MemleakError):
    """A ledger that cannot be opened, is of a newer schema, or is damaged."""


class MissingExtra(MemleakError):
    """A provider was asked for whose SDK is not installed."""

    def __init__(self, provider: str, *, package: str, extra: str) -> None:
        super().__init__(
            f"provider {provider!r} needs the package {package!r}, which is not installed",
            hint=f"install it with: pip install 'pytest-memleak[{extra}]'",
        )


class Inconclusive(MemleakError):
    """The evidence for a verdict is not there and cannot be had in this run."""


class JobPending(Inconclusive):
    """A job or a batch at the provider has not ended yet."""


class BudgetExceeded(Inconclusive):
    """The next paid call would exceed what `--memleak-budget` allows."""


class ProviderError(Inconclusive):
    """A call to a provider failed, and trying again would not help.

    The message names provider, endpoint, call and cause. Unless `in_doubt` says otherwise, the
    call was refused and is not billed.
    """

    in_doubt: bool | None = False

    def __init__(
        self, cause: str, *, provider: str, endpoint: str, call: str, hint: str | None = None
    ) -> None:
        super().__init__(
            f"{call} failed: {cause}", location=f"{provider} endpoint {endpoint}", hint=hint
        )
        self.cause = cause
        self.provider = provider
        self.endpoint = endpoint
        self.call = call


class TopKUnavailable(ProviderError):
    """A model that tells fewer of the likeliest tokens than a scheme of top-k needs.

    billed: whether it has answered all the same.
    """

    def __init__(
        self,
        cause: str,
        *,
        provider: str,
        endpoint: str,
        call: str,
        hint: str | None = None,
        billed: bool = False,
    ) -> None:
        super().__init__(cause, provider=provider, endpoint=endpoint, call=call, hint=hint)
        self.in_doubt = billed


class ProviderBusy(ProviderError):
    """A call that failed in a way that may pass.

    retry_after: the number of seconds the provider asked to wait, if it said.
    in_doubt: whether the call may have been answered, and billed, all the same. None leaves that
        to what is known: it may, unless there is a `retry_after`, or an HTTP status other than
        408, 502 and 504 in front of the cause.
    """

    def __init__(
        self,
        cause: str,
        *,
        provider: str,
        endpoint: str,
        call: str,
        hint: str | None = None,
        retry_after: float | None = None,
        in_doubt: bool | None = None,
    ) -> None:
        super().__init__(cause, provider=provider, endpoint=endpoint, call=call, hint=hint)
        self.retry_after = retry_after
        self.in_doubt = in_doubt


class RequestNotSent(ProviderBusy):
    """A call that never reached the server: connection refused, no such host, a full pool.

    It is not billed and never in doubt. lasting: whether trying again is of no use, as with a
    certificate that does not hold.
    """

    def __init__(
        self,
        cause: str,
        *,
        provider: str,
        endpoint: str,
        call: str,
        hint: str | None = None,
        lasting: bool = False,
    ) -> None:
        super().__init__(
            cause, provider=provider, endpoint=endpoint, call=call, hint=hint, in_doubt=False
        )
        self.lasting = lasting
