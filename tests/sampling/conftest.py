"""The fixtures of ledgers."""

from ledgers import ask, hasty, ledger, memory, postgres, url  # noqa: F401 - fixtures
