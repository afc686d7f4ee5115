"""What a run may use to sample: ledgers, time, and money."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Any, Protocol

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger import CLOCK_SKEW, is_path, real_path
from pytest_memleak.records.phases import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.records.provenance import Provenance
    from pytest_memleak.sampling.retry import Retry
    from pytest_memleak.scoring.generation_tally import Count


class ScoringPool(Protocol):
    """The processes that match generations with a book (`parallel`)."""

    @property
    def tally_generations(self) -> Count:
        """Match and count."""

    def close(self) -> None:
        """StopRule the processes."""


class Resources:
    """The limits and means of a run.

    ledger_url: where generations are stored, opened with the first sample
    wait: whether to wait for fine-tunes and batches
    offline: whether to use only what the ledger has
    budget: US$ that the run may spend, None for no limit
    pool: starts the processes that match generations with a book; None for this one
    alone
    run: a name that all processes of the run share, and with it the budget
    progress: receives how far the run is
    as_of: when the run was, in seconds since 1970, where an earlier one is recomputed;
        claimed: what its bundle says of who generated a pair's samples
    hosts: that may receive a key, beside the providers' own; None where no call can be
    made
    retry: how long to wait for calls and jobs; None for the default
    new_ledger: the name of the ledger that the run created; "" if it created none
    """

    retry: Retry | None = None
    new_ledger = ""

    def __init__(
        self,
        ledger_url: str,
        *,
        wait: bool = True,
        offline: bool = False,
        budget: float | None = None,
        run: str | None = None,
        pool: Callable[[], ScoringPool] | None = None,
        progress: Progress | None = None,
        as_of: float | None = None,
        hosts: Iterable[str] | None = (),
    ) -> None:
        self.hosts = None if hosts is None else frozenset(hosts)
        self.as_of = as_of
        self.claimed: Provenance | None = None
        self.progress = progress or Progress()
        self.wait = wait
        self.offline = offline
        self.budget = budget
        self._run = run
        self._make_pool = pool
        self._url = ledger_url
        self._open: dict[str, Ledger] = {}
        self._unidentified: list[object] = []

    @property
    def evaluation_time(self) -> float:
        """The time of the evaluation, in seconds since 1970, after everything stored.

        The clock of another machine may be ahead, or this one's may have been.
        """
        if self.as_of is not None:
            return self.as_of
        # A bundle has it to the microsecond.
        return max(
            [
                time.time(),
                *(ledger.last_call_ended + 1e-6 for ledger in self._open.values()),
            ],
        )

    @property
    def tally_generations(self) -> Count:
        """The function that matches and counts: in this process, or in others."""
        if self._pool is not None:
            return self._pool.tally_generations
        from pytest_memleak.scoring.generation_tally import tally_generations

        return tally_generations

    @functools.cached_property
    def _pool(self) -> ScoringPool | None:
        return self._make_pool and self._make_pool()

    @property
    def ledger(self) -> Ledger:
        """The run's ledger, in memory if offline there is none. Raises LedgerError."""
        is_new = self.is_ledger_file_missing
        if is_new and self.offline:
            return self.memory_ledger
        ledger = self._open_ledger(self._url)
        self.new_ledger = ledger.place if is_new else self.new_ledger
        return ledger

    @property
    def existing_ledger(self) -> Ledger | None:
        """The run's ledger, if it exists. Raises LedgerError if it is no longer one."""
        in_memory = self._url.startswith("sqlite") and not self._ledger_file
        if self._url not in self._open and (in_memory or self.is_ledger_file_missing):
            return None
        return self._open_ledger(self._url, create=False)

    @property
    def is_ledger_file_missing(self) -> bool:
        """Whether the run's ledger is a file that doesn't exist yet."""
        return self._url not in self._open and bool(
            self._ledger_file and not self._ledger_file.exists(),
        )

    @property
    def ledger_name(self) -> str:
        """The run's ledger by its path, or by its database without a password."""
        from pytest_memleak.ledger.engines import parse_url, url_without_password

        return url_without_password(parse_url(self._url))

    @property
    def _ledger_file(self) -> Path | None:
        """The file of the run's ledger; None for a database."""
        if is_path(self._url):
            return real_path(self._url)
        from pytest_memleak.ledger.engines import parse_url, sqlite_file

        return sqlite_file(parse_url(self._url))

    def hash_chain_end(self) -> dict[str, Any] | None:
        """Return the end of the ledger's hash chain; None without a readable ledger.

        `validate_ledger` reports what is wrong with it.
        """
        from pytest_memleak.ledger.hash_chain import chain_head

        try:
            ledger = self.existing_ledger
            end = ledger.read(chain_head) if ledger else None
            return dataclasses.asdict(end) if end else None
        except LedgerError:
            return None

    def ledger_origin(self) -> str:
        """Return the first link of the ledger's hash chain, which no other has.

        Creates the ledger if it is missing, unless offline. Raises LedgerError.
        """
        from pytest_memleak.ledger.hash_chain import first_link

        return self.ledger.read(first_link) or ""

    @property
    def memory_ledger(self) -> Ledger:
        """A ledger in memory, for endpoints that nothing identifies across runs."""
        return self._open_ledger("sqlite://")

    def name_for_unidentified(self, endpoint: object) -> str:
        """Return a name, in this run, for an endpoint without an id."""
        if not any(endpoint is other for other in self._unidentified):
            self._unidentified.append(endpoint)
        number = next(
            number
            for number, other in enumerate(self._unidentified)
            if endpoint is other
        )
        return f"endpoint {number} (not kept)"

    def validate_ledger(self) -> None:
        """Raise LedgerError where the run's ledger is damaged or was replaced."""
        if self._url in self._open:
            self._open[self._url].validate_file()
        elif (
            self._ledger_file and self._ledger_file.exists()
        ):  # processes of the run may have written to it
            from pytest_memleak.ledger.ledger import Ledger

            with Ledger(self._url, create=False) as ledger:
                ledger.validate_file()

    def close(self) -> None:
        """Close the ledgers and stop worker processes."""
        pool = self.__dict__.pop("_pool", None)
        if pool is not None:
            pool.close()
        while self._open:
            self._open.popitem()[1].close()

    def _open_ledger(self, url: str, *, create: bool = True) -> Ledger:
        if url not in self._open:
            from pytest_memleak.ledger.ledger import Ledger

            ledger = Ledger(url, run=self._run, create=create)
            ahead = ledger.last_call_ended - time.time()
            if self.as_of is None and ahead > CLOCK_SKEW:
                ledger.close()
                raise LedgerError(
                    f"Its last call ended {ahead / 3_600:,.1f} hours ahead of this "
                    "machine's clock",
                    location=ledger.place,
                    hint="correct this machine's clock; if it is right, start a new "
                    "ledger",
                )
            self._open[url] = ledger
        return self._open[url]
