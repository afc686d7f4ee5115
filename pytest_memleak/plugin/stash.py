"""Where the plugin keeps this run, its progress on the screen, and what items use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_memleak.pipeline.run import Run
    from pytest_memleak.plugin.progress import Display
    from pytest_memleak.plugin.redacted_tests import RedactedTests
    from pytest_memleak.plugin.run_record import RunRecord
    from pytest_memleak.verdict.evaluation import Evaluation

__all__ = [
    "display_key",
    "doubt_key",
    "evaluation_key",
    "marked_key",
    "of_books_key",
    "published_key",
    "redaction_key",
    "refused_key",
    "run_key",
    "run_record_key",
]

display_key: pytest.StashKey[Display | None] = pytest.StashKey()
run_record_key: pytest.StashKey[RunRecord] = pytest.StashKey()
run_key: pytest.StashKey[Run] = pytest.StashKey()
# Why nothing may run.
refused_key: pytest.StashKey[str] = pytest.StashKey()
# Of an item: what its test was given, by the endpoint that it was given it with.
evaluation_key: pytest.StashKey[Evaluation] = pytest.StashKey()
# Of an item: the evaluation that its reports have told of already.
published_key: pytest.StashKey[Evaluation] = pytest.StashKey()
# Of an item: why it does not pass, as its test was told, until a report says so.
doubt_key: pytest.StashKey[str] = pytest.StashKey()
# Whether the function whose tests are being made is marked as one of books.
of_books_key: pytest.StashKey[bool] = pytest.StashKey()
# Of an item: its test read text of a book or a model.
marked_key: pytest.StashKey[bool] = pytest.StashKey()
# What redacts the reports of such tests; none with --memleak-quote full.
redaction_key: pytest.StashKey[RedactedTests] = pytest.StashKey()
