"""Every exception of the project.

    MemleakError            what is wrong, where, and the fix
    ├── SuiteError          the suite file: unknown key, invalid value, missing book
    │   └── MissingFile     a file that the suite names and that doesn't exist
    ├── BookError           a book that can't be read, cut, or prompted for
    ├── RecordsError        the paper's JSON, JSONL, or our records: invalid form or ids
    │   └── UnknownExcerpt  generations of excerpts that the book doesn't have
    ├── SettingsError       an invalid setting of the measures (k = 0), or a budget
    ├── EvidenceError       a bundle, a key, a witness: unreadable or unwritable
    ├── LedgerError         the ledger: unreachable, of a newer program, damaged
    ├── MissingExtra        a provider's SDK isn't installed
    └── Inconclusive        evidence can't be completed now; never a pass
        ├── JobPending      a job or deployment is running at the provider
        ├── BudgetExceeded  the next call may cost more than the rest of the budget
        └── ProviderError   a call to a model failed permanently
            └── ProviderBusy  a retry may succeed (429, 5xx, connection, deadline)
                ├── CallTimeout       no response within the suite's deadline
                ├── UnusableResponse  a response that can't be used: repeated once
                └── RequestNotSent    never reached the server: not billed
    KeyboardInterrupt       Ctrl-C, which isn't an error
    └── CallsDropped        once more, so that calls in flight were given up

A message states what was expected, what was found, and where; `hint` states the fix.
No message contains text of a book or a model.
"""

from __future__ import annotations

import contextlib
import errno
import re
import shlex
from collections.abc import Iterator
from typing import Any

__all__ = [
    "BookError",
    "BudgetExceeded",
    "CallTimeout",
    "EvidenceError",
    "Inconclusive",
    "JobPending",
    "LedgerError",
    "MemleakError",
    "MissingExtra",
    "MissingFile",
    "ProviderBusy",
    "ProviderError",
    "RecordsError",
    "RequestNotSent",
    "SettingsError",
    "SuiteError",
    "UnknownExcerpt",
    "UnusableResponse",
]


DISK_FULL = "The disk is full"
FREE_SPACE = "free space and rerun; stored generations are reused"
NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""System errors of a full disk, and of a full quota."""


class MemleakError(Exception):
    """An error that the user can fix; shown without a traceback.

    `location` is a file, a file and key, or an endpoint; `hint` is the next step, by
    default the class's.
    """

    default_hint: str | None = None

    def __init__(
        self,
        message: str,
        *,
        location: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.location = location
        self.hint = hint
        super().__init__(self.message)

    def __setattr__(self, name: str, value: object) -> None:
        """Escape control characters: keys, paths, and names can have them."""
        if isinstance(value, str):
            value = escaped(value)
        super().__setattr__(name, value)

    def __str__(self) -> str:
        text = f"{self.location}: {self.message}" if self.location else self.message
        return f"{text}\n  {self.fix}" if self.fix else text

    @property
    def fix(self) -> str:
        """What to do next; empty where no one knows."""
        return self.hint or self.default_hint or ""

    @property
    def line(self) -> str:
        """The whole error on one line, for a table or a list."""
        line, *others = str(self).replace("\n  ", "\n").splitlines() or [""]
        for other in others:
            line = f"{line.rstrip('.')}; {other}"
        return line

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments can't be pickled by default (xdist).
        return (_rebuild, (type(self), self.__dict__))


def escaped(text: str) -> str:
    """Return a text, such as a path, with control characters escaped, but line ends."""
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    is_shown = character.isprintable() or character == "\n"
    return character if is_shown else ascii(character)[1:-1]


def _rebuild(kind: type[MemleakError], state: dict[str, object]) -> MemleakError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (state["message"],)
    return error


@contextlib.contextmanager
def file_errors(
    kind: type[MemleakError],
    path: object,
    failure: str = "can't be read",
    *,
    hint: str | None = None,
    causes: tuple[type[Exception], ...] = (OSError,),
) -> Iterator[None]:
    """Raise an error of that kind, with the system's words, for any of the causes."""
    try:
        yield
    except causes as error:
        if getattr(error, "errno", None) in NO_ROOM:
            raise kind(DISK_FULL, location=str(path), hint=FREE_SPACE) from None
        cause = getattr(error, "strerror", None) or error
        raise kind(f"{failure}: {cause}", location=str(path), hint=hint) from None


class SuiteError(MemleakError):
    """An invalid suite file."""


class MissingFile(SuiteError):
    """A file that a suite names, and that doesn't exist."""


class BookError(MemleakError):
    """A book that can't be read, cut into excerpts, or prompted for."""


class RecordsError(MemleakError):
    """Records of excerpts or generations that aren't in the paper's format."""


class UnknownExcerpt(RecordsError):
    """Generations of excerpts that the book doesn't have.

    first, more: the excerpts' ids.
    """

    default_hint = "score generations against the book whose prompts produced them"

    def __init__(
        self,
        first: str,
        *more: str,
        book_id: str,
        location: str | None = None,
        hint: str | None = None,
    ) -> None:
        others = f" (and {len(more)} more)" if more else ""
        super().__init__(
            f"the book {book_id!r} has no excerpt {first!r}{others}",
            location=location,
            hint=hint,
        )


class SettingsError(MemleakError, ValueError):
    """An invalid setting of the measures, or an invalid budget."""


class EvidenceError(MemleakError):
    """An evidence bundle, or a key for its signature, that can't be read or written."""


class LedgerError(MemleakError):
    """A ledger that can't be opened, has a newer schema, or is damaged."""


class MissingExtra(MemleakError):
    """An extra that isn't installed; user: what needs it."""

    def __init__(
        self,
        user: str,
        *,
        package: str,
        extra: str,
    ) -> None:
        super().__init__(
            f"{user} needs the package {package!r}, which isn't installed",
            hint=f"install it with: {install_command(extra)}",
        )


def install_command(extra: str) -> str:
    """Return the command that installs an extra's packages, with their lower bounds.

    It works however this package was installed, also if no index has it.
    """
    from importlib import metadata

    of_extra = re.compile(rf"""(.+?) *; *extra *== *["']{extra}["']""")
    matches = map(of_extra.fullmatch, metadata.requires("pytest-memleak") or ())
    packages = [match[1] for match in matches if match]
    return shlex.join(["pip", "install", *packages])


class Inconclusive(MemleakError):
    """Evidence for a verdict that is missing and can't be completed in this run."""


class JobPending(Inconclusive):
    """A job, batch, or deployment that is still running at the provider."""


class BudgetExceeded(Inconclusive):
    """A paid call that may exceed `--memleak-budget`."""


class ProviderError(Inconclusive):
    """A call to a provider that failed permanently.

    The message names provider, endpoint, call, and cause. Unless `in_doubt` is set, the
    call was rejected and not billed.
    """

    default_hint = "check the model's keys in the suite, and the server's log"
    in_doubt: bool | None = False

    def __init__(
        self,
        cause: str,
        *,
        provider: str,
        endpoint: str,
        call: str,
        hint: str | None = None,
    ) -> None:
        super().__init__(
            f"{call} failed: {cause}",
            location=f"{provider} endpoint {endpoint}",
            hint=hint,
        )
        self.cause = cause
        self.provider = provider
        self.endpoint = endpoint
        self.call = call


class ProviderBusy(ProviderError):
    """A call that failed temporarily.

    retry_after: the seconds to wait that the provider requested, if any.
    in_doubt: whether the call may have been answered and billed nevertheless. None
        means that it may, unless there is a `retry_after`, or the cause begins with an
        HTTP status other than 408, 502, 504, and 524.
    """

    default_hint = "rerun later"

    def __init__(
        self,
        cause: str,
        *,
        retry_after: float | None = None,
        in_doubt: bool | None = None,
        **place: Any,
    ) -> None:
        super().__init__(cause, **place)
        self.retry_after = retry_after
        self.in_doubt = in_doubt


class CallTimeout(ProviderBusy):
    """A call that missed its deadline, or a proxy's.

    It's repeated with half of its generations, if it had several.

    halved: whether the next attempt requests less
    """

    halved = False


class UnusableResponse(ProviderBusy):
    """A response that can't be used; it may be billed, so it's repeated only once."""


class RequestNotSent(ProviderBusy):
    """A call that never reached the server: refused connection, unknown host.

    It is never billed and never in doubt.

    lasting: whether a retry is useless, as with an invalid certificate
    """

    def __init__(
        self,
        cause: str,
        *,
        lasting: bool = False,
        **place: Any,
    ) -> None:
        super().__init__(cause, in_doubt=False, **place)
        self.lasting = lasting


class CallsDropped(KeyboardInterrupt):
    """Raised when Ctrl-C ends the wait for calls in flight; its text counts them."""
