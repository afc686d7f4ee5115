"""What goes wrong, and when: the fault plan of an emulator, which may change while it runs.

Endpoints have the names that the emulator's routes give them ("chat", "files.create",
...). Faults of transport are acted out by `http_server.HttpServer`, and the first that
fits strikes; faults of content by the handler.
"""

import math
import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase


class FaultKind(StrEnum):
    """What goes wrong. "Work" is what is done, recorded and billed."""

    # of transport
    STATUS = "status"  # `status` (and Retry-After) instead of the work
    DROP = "drop"  # the connection is closed before the work
    SLOW = "slow"  # the work, then `seconds` of silence, then the answer
    TRUNCATE = "truncate"  # the work, then half of the answer's body
    TRICKLE = "trickle"  # the work, then the answer in small pieces for `seconds`
    LOSE = "lose"  # the work, then the connection is closed without an answer
    # of content
    IGNORE_N = "ignore_n"  # one completion, however many were asked for
    ONE_MORE = "one_more"  # one completion more than was asked for; `code` is its text, if given
    EMPTY = "empty"  # completions without text
    FILTER = "filter"  # completions withheld by a filter
    RECITATION = "recitation"  # completions withheld because they recite
    REFUSE = "refuse"  # completions refused in a field of their own
    REJECT = (
        "reject"  # a prompt that a filter rejects: 400 with the code "content_filter"
    )
    EXPIRE = "expire"  # a batch that expires with `share` of its requests answered
    FAIL = "fail"  # a job or a batch that ends in failure
    PARTIAL = "partial"  # a batch that ends with `share` of its requests answered, the rest failed
    GREEDY = "greedy"  # a server that ignores temperature
    REFUSE_PARAMETER = (
        "refuse_parameter"  # 400 for each of the parameters that `code` names
    )
    ONLY_ONE = "only_one"  # 400 for any temperature but 1
    THINK = "think"  # thoughts in place of an answer; `code` is their name, if given
    BESIDE = "beside"  # `message` beside the answer, in the way that `code` names
    REROUTE = "reroute"  # another model answers, and says so
    NO_CHAT = "no_chat"  # 404 for a chat
    ENDED = "ended"  # `code` as the finish reason
    # of both
    HOSTILE = (
        "hostile"  # the work, then what `hostile.ACTS` has under `code` for an answer
    )


TRANSPORT = {
    *map(
        FaultKind, ("status", "drop", "slow", "truncate", "trickle", "lose", "hostile")
    )
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong at `endpoint`, which may hold the wildcards of `fnmatch`.

    calls: which calls of the endpoint, from 0, those that were struck included; None:
    every call
    status, code, message, retry_after: of STATUS; `code` is the provider's word for the
    error
    seconds: of SLOW and TRICKLE
    asked: strikes only requests in whose path or body these words stand
    share: of EXPIRE and PARTIAL; of EMPTY, FILTER and REFUSE that of a call's
    completions
    """

    kind: FaultKind
    endpoint: str = "*"
    calls: tuple[int, ...] | None = None
    status: int = 500
    retry_after: float | None = None
    code: str | None = None
    message: str = "emulated fault"
    seconds: float = 0.5
    share: float = 1.0
    asked: str = ""

    def strikes(self, endpoint, call, message=""):
        return (
            fnmatchcase(endpoint, self.endpoint)
            and (self.calls is None or call in self.calls)
            and self.asked in message
        )


def rate_limit(endpoint, *, calls=None, retry_after=0.01):
    return Fault(
        FaultKind.STATUS,
        endpoint,
        calls,
        429,
        retry_after,
        message="emulated rate limit",
    )


def server_error(endpoint, *, calls=None, **details):
    return Fault(FaultKind.STATUS, endpoint, calls, **details)


def _maker(kind):
    return lambda endpoint, *, calls=None, **details: Fault(
        kind, endpoint, calls, **details
    )


drop, lose, truncate, slow, trickle = map(
    _maker,
    (
        FaultKind.DROP,
        FaultKind.LOSE,
        FaultKind.TRUNCATE,
        FaultKind.SLOW,
        FaultKind.TRICKLE,
    ),
)


def on_the_way(what, endpoint, *, calls=None, late=1.0):
    """One of `ON_THE_WAY`; answers that come late take `late` seconds."""
    seconds = {"slow": {"seconds": late}, "trickling": {"seconds": 2 * late}}.get(
        what, {}
    )
    return ON_THE_WAY[what](endpoint, calls=calls, **seconds)


ON_THE_WAY = {
    "429": rate_limit,
    "500": server_error,
    "dropped": drop,
    "lost": lose,
    "truncated": truncate,
    "slow": slow,
    "trickling": trickle,
}
"""What may happen to any call between client and server."""


@dataclass(frozen=True, slots=True)
class Strike:
    call: int
    transport: Fault | None = None
    content: dict[FaultKind, Fault] = field(default_factory=dict)

    def parameters(self):
        fault = self.content.get(FaultKind.REFUSE_PARAMETER)
        return (fault.code or "").split() if fault else []

    def struck(self, kind, choices):
        """The completions of a call that such a fault strikes."""
        fault = self.content.get(kind)
        return choices[: max(1, math.ceil(fault.share * len(choices)))] if fault else []

    def reached(self, requests):
        short = self.content.get(FaultKind.EXPIRE) or self.content.get(
            FaultKind.PARTIAL
        )
        return math.floor(len(requests) * short.share) if short else len(requests)


class FaultPlan:
    """Faults, and the number of calls each endpoint has had."""

    def __init__(self, faults=()):
        self._faults = list(faults)
        self._calls = Counter()
        self._lock = threading.Lock()

    def add(self, *faults):
        with self._lock:
            self._faults.extend(faults)

    def replace(self, faults):
        """Drop what was planned and plan these; the counters go on."""
        with self._lock:
            self._faults = list(faults)

    def calls(self, endpoint):
        return self._calls[endpoint]

    def counts(self):
        with self._lock:
            return dict(self._calls)

    def strike(self, endpoint, message=""):
        """Count a call of `endpoint`, and say what goes wrong with it; message: path and body."""
        with self._lock:
            call = self._calls[endpoint]
            self._calls[endpoint] += 1
            fitting = [
                fault
                for fault in self._faults
                if fault.strikes(endpoint, call, message)
            ]
        transport = next((fault for fault in fitting if fault.kind in TRANSPORT), None)
        content = {
            fault.kind: fault for fault in fitting if fault.kind not in TRANSPORT
        }
        return Strike(call, transport, content)
