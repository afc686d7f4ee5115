"""The fixtures of ledgers."""

from ledgers import ask, hasty, ledger, memory, postgres, url_above  # noqa: F401 - fixtures
