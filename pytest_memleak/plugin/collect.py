"""Suite files as test modules: one function, one item per pair.

PYTEST_DONT_REWRITE

A suite file beside other tests is seen even if only those are run: what it needs is imported
where it is read.
"""

from __future__ import annotations

import os
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_memleak.errors import MemleakError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_memleak.records import Pair, Suite
    from pytest_memleak.verdict.evaluation import Evaluation

TEST_NAME = "test_memorization"


@pytest.mark.copyright
def test_memorization(evaluation: Evaluation, request: pytest.FixtureRequest) -> None:  # noqa: ARG001 - asked for to be made
    """The model's memorization of the book is within its limits."""
    from pytest_memleak.plugin.outcomes import hold_limits, remembering_doubt

    with remembering_doubt(request.node):
        hold_limits(request.node)


class SuiteModule(pytest.Module):
    """A suite file, collected as a module that holds `test_memorization`."""

    suite: Suite

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Read the suite; what is wrong with it is a collection error."""
        try:
            self.suite = _checked(self.config, self.path)
        except MemleakError as error:
            raise self.CollectError(str(error)) from None
        module = types.ModuleType(self.path.name.partition(".")[0], str(self.path))
        module.__file__ = str(self.path)
        module.test_memorization = test_memorization  # type: ignore[attr-defined]
        self.obj = module
        return super().collect()

    def istestfunction(self, obj: object, name: str) -> bool:  # noqa: ARG002 - pytest's signature
        """Whatever python_functions says, the suite's test is one."""
        return name == TEST_NAME


def parametrize_pairs(metafunc: pytest.Metafunc) -> None:
    """One item per pair, for the test of a suite file or one marked with a suite."""
    module = metafunc.definition.getparent(SuiteModule)
    if module is not None:
        suite = module.suite
        params = [pytest.param(pair, id=pair.id, marks=_expected(pair)) for pair in suite.pairs]
    elif path := _marked_suite(metafunc.definition):
        suite = _load(metafunc, path)
        params = [pytest.param(pair, id=pair.id) for pair in suite.pairs]
    else:
        return
    metafunc.parametrize("pair", params, indirect=True, scope="session")


def _expected(pair: Pair) -> list[pytest.MarkDecorator]:
    if pair.expected == "pass":
        return []
    from pytest_memleak.plugin.outcomes import LimitExceeded

    reason = f"{pair.model.id} is expected to leak {pair.book.id}"
    return [pytest.mark.xfail(reason=reason, raises=LimitExceeded, strict=True)]


def _marked_suite(definition: pytest.Function) -> Path | None:
    marker = definition.get_closest_marker("copyright")
    if marker is None:
        return None
    if marker.args or set(marker.kwargs) - {"suite"}:
        raise pytest.Collector.CollectError(
            f"{definition.name}: @pytest.mark.copyright takes suite=..., got "
            f"{(*marker.args, *marker.kwargs)}\n"
            '  write @pytest.mark.copyright(suite="release.memleak.toml")'
        )
    suite = marker.kwargs.get("suite")
    return None if suite is None else definition.path.parent / suite


def _load(metafunc: pytest.Metafunc, path: Path) -> Suite:
    try:
        return _checked(metafunc.config, Path(os.path.realpath(path)))
    except MemleakError as error:
        raise pytest.Collector.CollectError(str(error)) from None


def _checked(config: pytest.Config, path: Path) -> Suite:
    from pytest_memleak.plugin.outcomes import run_of
    from pytest_memleak.plugin.preflight import refuse_bad_suite

    suite_run = run_of(config).of_suite(path)
    refuse_bad_suite(suite_run, config)
    return suite_run.suite
