"""Where the plugin keeps this run and what items use, and which pair an item is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_memleak.plugin.progress import Display
    from pytest_memleak.records import Pair
    from pytest_memleak.verdict.evaluation import Evaluation

display_key: pytest.StashKey[Display | None] = pytest.StashKey()
# A `pipeline.run.Run`, whose type would tie all that asks for the key to the whole pipeline.
run_key: pytest.StashKey[Any] = pytest.StashKey()
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


def pair_of(item: pytest.Item) -> Pair | None:
    """The pair that an item is for, if any: others have parameters of that name, too."""
    from pytest_memleak.records import Pair

    callspec = getattr(item, "callspec", None)
    pair = callspec.params.get("memleak_pair") if callspec else None
    return pair if isinstance(pair, Pair) else None
