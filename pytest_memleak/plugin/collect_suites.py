"""Suite files as test modules: one item per pair; an expected leak is an xfail.

Light, since pytest imports it for any folder with a suite.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import contextlib
import os
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.errors import MemleakError
from pytest_memleak.plugin.options import folded, pair_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_memleak.records import Pair, Suite

    Failed = Exception
else:
    # What pytest.fail raises: shown by its message alone, and JUnit's <failure> or
    # <error>.
    Failed = pytest.fail.Exception

TEST_NAME = "test_memorization"


class Outcome(Failed):
    """A verdict of this package, shown by its message alone.

    summarized: whether it is the pair's own, which the terminal's summary shows with
    its reasons
    """

    def __init__(self, message: str, *, summarized: bool = False) -> None:
        super().__init__(message)
        self.pytrace = False
        self.summarized = summarized

    def __init_subclass__(cls) -> None:
        cls.__module__ = "builtins"  # as pytest's own Failed, for the short summary


class LimitExceeded(Outcome):
    """FAIL: a measure exceeds its limit."""


class UnexcusedPassage(Outcome):
    """FAIL of a control, or a pair expected to leak, by another book's passage."""


class PairInconclusive(Outcome):
    """INCONCLUSIVE: incomplete evidence. Raised in fixtures, so that it is an error."""


class SuiteModule(pytest.Module):
    """A suite file, collected as a module that holds `test_memorization`.

    load: reads and validates a suite file; test: the test that the module holds.
    """

    suite: Suite
    load: Callable[[pytest.Config, Path], Suite]
    test: Callable[..., None]

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Read the suite; an invalid one is a collection error."""
        try:
            self.suite = self.load(self.config, self.path)
        except MemleakError as error:
            raise self.CollectError(folded(str(error), self.config)) from None
        name, _, _ = self.path.name.partition(".")
        module = types.ModuleType(name, str(self.path))
        module.__file__ = str(self.path)
        module.test_memorization = self.test  # type: ignore[attr-defined]
        self.obj = module
        return super().collect()

    def istestfunction(self, obj: object, name: str) -> bool:  # noqa: ARG002 - pytest's signature
        """Collect the suite's test whatever python_functions is."""
        return name == TEST_NAME


def unrun_verdicts(items: Iterable[pytest.Item]) -> dict[str, str]:
    """Return the verdict of each pair's item until it runs; "" if a mark skips it."""
    verdicts = {}
    for item in items:
        if not pair_of(item):
            continue
        is_skipped = skip_reason(item) is not None
        verdicts[item.nodeid] = "" if is_skipped else "NOT RUN"
    return verdicts


def skip_reason(item: pytest.Item) -> str | None:
    """Return the reason of the mark that skips the item, as pytest evaluates it."""
    skipping: Any = item.config.pluginmanager.get_plugin("skipping")
    if not skipping:
        return None
    # The error of a mark's condition, with which the test fails.
    with contextlib.suppress(Exception, Failed):
        skip = skipping.evaluate_skip_marks(item)
        if skip:
            return str(skip.reason)
    return None


def parametrize_pairs(
    metafunc: pytest.Metafunc,
    load: Callable[[pytest.Config, Path], Suite],
) -> None:
    """Make one item per pair, for a suite file's test or a test marked with a suite."""
    module = metafunc.definition.getparent(SuiteModule)
    if module is not None:
        suite = module.suite
        params = []
        for pair in suite.pairs:
            marks = _marks_of_expected_leak(pair)
            params.append(pytest.param(pair, id=pair.id, marks=marks))
    elif path := _suite_of_marker(metafunc.definition):
        try:
            suite = load(metafunc.config, Path(os.path.realpath(path)))
        except MemleakError as error:
            text = folded(str(error), metafunc.config)
            raise pytest.Collector.CollectError(text) from None
        params = [pytest.param(pair, id=pair.id) for pair in suite.pairs]
    else:
        return
    metafunc.parametrize("memleak_pair", params, indirect=True, scope="session")


def _marks_of_expected_leak(pair: Pair) -> list[pytest.MarkDecorator]:
    if pair.expected == "pass":
        return []
    reason = f"{pair.model.id} is expected to leak {pair.book.id}"
    return [
        pytest.mark.xfail(
            reason=reason,
            raises=LimitExceeded,
            strict=True,
        )
    ]


def _suite_of_marker(definition: pytest.Function) -> Path | None:
    marker = definition.get_closest_marker("copyright")
    if marker is None:
        return None
    if marker.args or set(marker.kwargs) - {"suite"}:
        raise pytest.Collector.CollectError(
            f"{definition.name}: @pytest.mark.copyright takes suite=..., got "
            f"{(*marker.args, *marker.kwargs)}\n"
            '  write @pytest.mark.copyright(suite="release.memleak.toml")',
        )
    suite = marker.kwargs.get("suite")
    if suite is None:
        return None
    return Path(definition.path.parent, suite)
