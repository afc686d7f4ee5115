"""The budgets of clients over all their conversations of some hours, in a file."""

from __future__ import annotations

import sqlite3
import time
from hashlib import sha256
from threading import RLock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pytest_memleak.errors import SettingsError
from pytest_memleak.guard.word_budget import Budget, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from multidict import MultiMapping

    from pytest_memleak.guard.word_budget import PlacesOfPassages

_TABLE = """
CREATE TABLE IF NOT EXISTS covered (
    client TEXT NOT NULL, book TEXT NOT NULL,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, sent REAL NOT NULL
)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS of_client ON covered (client, sent)"
_READ = 'SELECT book, start, "end" FROM covered WHERE client = ? AND sent > ?'
_WRITE = "INSERT INTO covered VALUES (?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM covered WHERE sent <= ?"
_HEADERS_OF_KEYS = ("Authorization", "x-api-key", "api-key")
_SECONDS = 3600  # in an hour
_WAIT = 30  # seconds for another guard that writes to the same file


class ClientBudgets:
    """A budget per client for what left in `hours` hours, in any conversation.

    The file holds a digest of each client's key, and places in books, but no text. Its
    rows are deleted once they are too old to count.
    """

    def __init__(
        self,
        path: Path,
        words: int,
        hours: float,
        places: PlacesOfPassages,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Open the file, or create it; raise SettingsError if that fails.

        now: the time in seconds, for tests
        """
        self._words = words
        self._seconds = hours * _SECONDS
        self._places = places
        self._now = now
        self._lock = RLock()
        self._active: WeakValueDictionary[str, _ClientBudget] = WeakValueDictionary()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(
                path,
                timeout=_WAIT,
                isolation_level=None,
                check_same_thread=False,
            )
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute(_TABLE)
            self._file.execute(_INDEX)
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(
                f"can't keep the clients' budgets there: {error}",
                location=str(path),
                hint="make the folder writable, or remove the file if it is another's",
            ) from None

    def of(self, key: str) -> Budget:
        """Return the budget of the client with this key; of all without one if empty.

        Requests at the same time share one, and each reads the file again.
        """
        client = sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        with self._lock:
            budget = self._active.get(client)
            if budget is None:
                budget = _ClientBudget(
                    words=self._words,
                    places=self._places,
                    kept_by=self,
                    client=client,
                )
                self._active[client] = budget
        with budget.lock:
            budget.restart(self._places_of(client))
        return budget

    def _places_of(self, client: str) -> list[Place]:
        oldest = self._now() - self._seconds
        with self._lock:
            self._file.execute(_DELETE, [oldest])
            rows = self._file.execute(_READ, [client, oldest]).fetchall()
        return [Place(*row) for row in rows]

    def keep(self, client: str, places: Iterable[Place]) -> None:
        """Write what a client got now."""
        now = self._now()
        with self._lock:
            self._file.execute("BEGIN")
            self._file.executemany(_WRITE, [(client, *place, now) for place in places])
            self._file.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _ClientBudget(Budget):
    """A client's budget, which also writes what it adds."""

    def __init__(
        self,
        words: int,
        places: PlacesOfPassages,
        kept_by: ClientBudgets,
        client: str,
    ) -> None:
        super().__init__(words, places)
        self._kept_by = kept_by
        self._client = client

    def restart(self, places: Iterable[Place]) -> None:
        """Start again from what the file has."""
        with self.lock:
            self._covered.clear()
            super().add(places)

    def add(self, places: Iterable[Place]) -> None:
        """Count what has left, and keep what is new."""
        with self.lock:
            new = [place for place in dict.fromkeys(places) if not self._has(place)]
            super().add(new)
            if new:
                self._kept_by.keep(self._client, new)


def client_keys_from_headers(headers: MultiMapping[str]) -> list[str]:
    """Return the keys that a client sends, in any API's headers; [""]: none.

    Each counts, since the client may choose which of them the server reads.
    """
    keys: dict[str, None] = {}
    for name in _HEADERS_OF_KEYS:
        for value in headers.getall(name, ()):
            *_, key = ["", *value.split()]  # behind the scheme, in any letter case
            keys[key] = None
    keys.pop("", None)
    return [*keys] or [""]
