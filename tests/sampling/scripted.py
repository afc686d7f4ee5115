"""Endpoints that do as they are told, and count what they are asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_reservations import Terms


@dataclass(frozen=True)
class Asked:
    """One call as the endpoint saw it."""

    number: int
    instruction: str
    n: int
    temperature: float
    max_tokens: int
    seed: int | None
    request_id: str | None = None


def answers(asked: Asked) -> list[Completion]:
    """As many completions as were asked for, each of them new."""
    return [Completion(f"{asked.number}.{place} {asked.instruction}") for place in range(asked.n)]


Reply = Callable[[Asked], Sequence[Completion | str]]


class Scripted:
    """Plays its replies in turn, the last one for ever; exceptions are raised."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self._replies = list(replies) or [answers]
        self._lock = threading.Lock()
        self.calls: list[Asked] = []

    def sample(
        self,
        instruction: str,
        *,
        n: int,
        temperature: float,
        max_tokens: int,
        seed: int | None,
        request_id: str | None = None,
    ) -> Sequence[Completion | str]:
        with self._lock:
            number = len(self.calls)
            asked = Asked(number, instruction, n, temperature, max_tokens, seed, request_id)
            self.calls.append(asked)
            reply = self._replies[min(number, len(self._replies) - 1)]
        if isinstance(reply, Exception):
            raise reply
        return reply(asked)


class Keeping(Scripted):
    """As above, with `kept`: the answers that are there by request id."""

    def __init__(self, *replies: Reply | Exception) -> None:
        super().__init__(*replies)
        self.kept: dict[str, Sequence[Completion]] = {}
        self.scan_scope: list[str] = []
        self.recovering: list[Exception] = []

    def sample_as(self, request_id: str, instruction: str, **settings) -> Sequence[Completion]:
        return self.sample(instruction, request_id=request_id, **settings)

    def recover(self, request_id: str) -> Sequence[Completion] | None:
        self.scan_scope.append(request_id)
        if self.recovering:
            raise self.recovering.pop(0)
        return self.kept.get(request_id)


@dataclass(frozen=True)
class Sampler:
    """The provider's terms."""

    name: str = "scripted"
    concurrency: int | None = 1
    completions_per_call: int = 1
    batch: bool = False


@dataclass(frozen=True)
class CountingSampler(Sampler):
    """A provider that counts tokens: one a character."""

    counted: list[str] = field(default_factory=list)

    def count_tokens(self, text: str) -> int:
        self.counted.append(text)
        return len(text)


def terms(
    concurrency: int | None = 1,
    per_call: int = 1,
    *,
    price: tuple[float, float] | None = None,
    batch: bool = False,
) -> Terms:
    return Terms(Sampler("scripted", concurrency, per_call, batch), price)


def busy(cause: str = "429 Too Many Requests", **more: object) -> ProviderBusy:
    return ProviderBusy(cause, provider="scripted", endpoint="e", call="sample", **more)


def broken(cause: str = "400 Bad Request") -> ProviderError:
    return ProviderError(cause, provider="scripted", endpoint="e", call="sample")
