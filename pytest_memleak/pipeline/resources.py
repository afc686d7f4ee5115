"""What a run may use to sample: ledgers, time, and money."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Protocol

from pytest_memleak.errors import LedgerError
from pytest_memleak.interfaces.abilities import abilities_of, id_of
from pytest_memleak.ledger import is_path, real_path
from pytest_memleak.records.phases import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.ledger.hash_chain import Head
    from pytest_memleak.ledger.ledger import Ledger
    from pytest_memleak.parallel.actors import Actors
    from pytest_memleak.sampling.retry import Retry
    from pytest_memleak.scoring.catalog_scan import ShardScan
    from pytest_memleak.scoring.generation_tally import Count

    Scan = Callable[..., Iterable[ShardScan]]


class ScoringPool(Protocol):
    """The workers that match generations with a book (`parallel`)."""

    @property
    def tally_generations(self) -> Count:
        """Match and count."""

    def close(self) -> None:
        """Stop the processes."""


class Resources:
    """The limits and means of a run.

    ledger_url: where generations are stored, opened with the first sample
    wait: whether to wait for fine-tunes and batches
    offline: whether to use only what the ledger has
    budget: US$ that the run may spend, None for no limit
    spread: returns the workers that match generations with a book, if any
    run: a name that all processes of the run share, and with it the budget
    progress: receives how far the run is
    as_of: when the run was, in seconds since 1970, where an earlier one is recomputed
    hosts: that may receive a key, beside the providers' own; None where no call can be made
    retry: how long to wait for calls and jobs; None for the default
    """

    retry: Retry | None = None

    def __init__(
        self,
        ledger_url: str,
        *,
        wait: bool = True,
        offline: bool = False,
        budget: float | None = None,
        run: str | None = None,
        spread: Callable[[], ScoringPool | None] | None = None,
        progress: Progress | None = None,
        as_of: float | None = None,
        hosts: Iterable[str] | None = (),
    ) -> None:
        self.hosts = None if hosts is None else frozenset(hosts)
        self.as_of = as_of
        self.progress = progress or Progress()
        self.wait = wait
        self.offline = offline
        self.budget = budget
        self._run = run
        self._made_spread = spread
        self._url = ledger_url
        self._open: dict[str, Ledger] = {}
        self._unidentified: list[object] = []

    @property
    def now(self) -> float:
        """The time of the evaluation, in seconds since 1970."""
        return time.time() if self.as_of is None else self.as_of

    def aged(self, first: float, max_age_days: float) -> bool:
        """Tell whether samples are older than so many days."""
        return self.now - first > max_age_days * 86_400

    @property
    def count(self) -> Count:
        """The function that matches and counts: in this process, others, or a cluster."""
        if self._spread is not None:
            return self._spread.tally_generations
        from pytest_memleak.scoring.generation_tally import tally_generations

        return tally_generations

    @property
    def scan(self) -> Scan:
        """The function that scans a catalog: in this process or on a cluster, shard by shard."""
        on_cluster: Scan | None = getattr(self._spread, "scan_shards", None)
        if on_cluster is not None:
            return on_cluster
        from pytest_memleak.scoring.catalog_scan import scan_shards

        return scan_shards

    def actors_of(self, endpoint: Endpoint) -> Actors | None:
        """Return the endpoint in actors of a cluster; None without one, or without `portable()`."""
        on_cluster = getattr(self._spread, "actors", None)
        if on_cluster is None or (portable := abilities_of(endpoint).portable) is None:
            return None
        actors: Actors = on_cluster(portable(), endpoint_id=id_of(endpoint) or "")
        return actors

    @functools.cached_property
    def _spread(self) -> ScoringPool | None:
        return self._made_spread() if self._made_spread else None

    @property
    def ledger(self) -> Ledger:
        """The run's ledger. Raises LedgerError where it can't be opened."""
        return self._opened(self._url)

    @property
    def existing_ledger(self) -> Ledger | None:
        """The run's ledger, if it exists. Raises LedgerError where it is no longer one."""
        path = self._file
        missing = path is None if self._url.startswith("sqlite") else False
        if self._url not in self._open and (missing or (path and not path.exists())):
            return None
        return self._opened(self._url, create=False)

    @property
    def _file(self) -> Path | None:
        """The file of the run's ledger; None for a database."""
        if is_path(self._url):
            return real_path(self._url)
        from pytest_memleak.ledger.engines import file_of, parse_url

        return file_of(parse_url(self._url))

    def end_of_chain(self) -> Head | None:
        """Return the end of the ledger's hash chain; None without a readable ledger.

        `validate_ledger` reports what is wrong with it.
        """
        try:
            if self._url not in self._open and self._file and not self._file.exists():
                return None
            from pytest_memleak.ledger.hash_chain import head
            from pytest_memleak.ledger.ledger import Ledger

            if self._url in self._open:
                return self._open[self._url].read(head)
            with Ledger(self._url, create=False) as ledger:
                return ledger.read(head)
        except LedgerError:
            return None

    @property
    def unkept(self) -> Ledger:
        """A ledger in memory, for endpoints that nothing identifies across runs."""
        return self._opened("sqlite://")

    def name_of_unkept(self, endpoint: object) -> str:
        """Return a name, for this run, of an endpoint without an id; never given to another."""
        if not any(endpoint is other for other in self._unidentified):
            self._unidentified.append(endpoint)
        number = next(
            number for number, other in enumerate(self._unidentified) if endpoint is other
        )
        return f"endpoint {number} (not kept)"

    def validate_ledger(self) -> None:
        """Raise LedgerError where the run's ledger is damaged or was replaced."""
        if self._url in self._open:
            self._open[self._url].validate_file()
        elif self._file and self._file.exists():  # processes of the run may have written to it
            from pytest_memleak.ledger.ledger import Ledger

            with Ledger(self._url, create=False) as ledger:
                ledger.validate_file()

    def close(self) -> None:
        """Close the ledgers and stop worker processes."""
        spread = self.__dict__.pop("_spread", None)
        if spread is not None:
            spread.close()
        while self._open:
            self._open.popitem()[1].close()

    def _opened(self, url: str, *, create: bool = True) -> Ledger:
        if url not in self._open:
            from pytest_memleak.ledger.ledger import Ledger

            self._open[url] = Ledger(url, run=self._run, create=create)
        return self._open[url]
