"""Redaction of tests that read text of a book or a model.

PYTEST_DONT_REWRITE

`reporting_views` reports each read, which marks the running test. Whatever a marked
test raises, skips with, warns of, logs, prints, or records is redacted before any
other plugin sees it. A test that reads no text is reported in full.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.errors import CallsDropped, MemleakError
from pytest_memleak.plugin.collect_suites import Outcome
from pytest_memleak.plugin.reporting_views import LISTENERS
from pytest_memleak.redaction.text import first_words

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from warnings import WarningMessage

# What redacts their reports; absent with --memleak-quote full.
redaction_key: pytest.StashKey[RedactedTests] = pytest.StashKey()

_REDACTED = "redacted"
_HINT = (
    "redacted, since this test read protected text; to see the rest, rerun with "
    "--memleak-quote full"
)
_DROPPED = f"[captured output {_REDACTED}]"
_INTERRUPTED = "generations that were received are in the ledger; rerun to continue"


class RedactedTests:
    """Marks tests that read text, and redacts their reports.

    most: how many words of a skip reason are shown.
    """

    def __init__(self, config: pytest.Config, *, most: int) -> None:
        self._config = config
        self._most = most
        self._item: pytest.Item | None = None
        self._marked = False
        self._request: pytest.FixtureRequest | None = None
        self._reads = 0
        self._calls = 0
        # Fixtures of a wider scope whose code read text.
        self._reading_fixtures: set[pytest.FixtureDef[Any]] = set()
        # The attributes of the running test's report before other plugins changed it.
        self._original_attributes: dict[str, Any] = {}
        # The run's properties in JUnit's report, and how many there were before the
        # running test.
        self._properties: list[tuple[list[Any], int]] = []
        LISTENERS.append(self.mark)
        config.add_cleanup(lambda: LISTENERS.remove(self.mark))

    # --- which tests are marked

    def mark(self) -> None:
        """Mark the running test or, after Ctrl-C, the teardown of its fixtures."""
        self._reads += 1
        self._marked = True

    @property
    def marked(self) -> bool:
        """Whether the running test or one of its fixtures read text."""
        item = self._item
        if item is not None and self._reading_fixtures and not self._marked:
            used = self._fixtures_of(item)
            if any(fixture.argname in used for fixture in self._reading_fixtures):
                self.mark()
        return self._marked

    def _fixtures_of(self, item: pytest.Item) -> set[str]:
        """Return the names of the fixtures that a test uses."""
        used = set(getattr(item, "fixturenames", ()))
        # None once the test has ended.
        arguments = getattr(item, "funcargs", None) or {}
        for request in (self._request, arguments.get("request")):
            if request:
                used.update(request.fixturenames)
        return used

    def most_words(self) -> int | None:
        """Return how many words a log record may have now; None for all."""
        if self.marked:
            return 0
        return self._most if self._calls else None

    @contextlib.contextmanager
    def shortening_output(self) -> Iterator[None]:
        """Drop captured output; shorten warnings and log records."""
        self._calls += 1
        before = self._take_captured_output()
        try:
            with warnings.catch_warnings(record=True) as recorded:
                yield
        except MemleakError:
            raise
        except BaseException:
            self.mark()  # its traceback has our own calls, with their arguments
            raise
        finally:
            self._calls -= 1
            self._drop_output()
            # With tee-sys, all would be shown again.
            if self._config.getoption("capture") != "tee-sys":
                output, errors = before
                sys.stdout.write(output)
                sys.stderr.write(errors)
            self._warn_shortened(recorded)

    def _warn_shortened(self, recorded: Iterable[WarningMessage]) -> None:
        """Give the first warning of each line again, with a shortened text."""
        first: dict[tuple[str, int], WarningMessage] = {}
        for warning in recorded:
            first.setdefault((warning.filename, warning.lineno), warning)
        for (file, line), warning in first.items():
            text = self._first_words_or_redacted(str(warning.message))
            copy = _copy_with_text(warning.category, text)
            warnings.warn_explicit(copy, None, file, line)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_fixture_setup(
        self,
        fixturedef: pytest.FixtureDef[Any],
        request: pytest.FixtureRequest,
    ) -> Generator[None, Any, Any]:
        """Remember which fixtures read text; redact what they and finalizers raise."""
        reads = self._reads
        self._request = request
        try:
            return (yield)
        except (KeyboardInterrupt, pytest.exit.Exception):
            raise
        except BaseException as error:
            if not self.marked:
                raise
            copy = self._exception_with_location_only(error)
        finally:
            may_have_read = self._may_have_read(fixturedef)
            has_read = self._reads > reads or may_have_read
            if fixturedef.scope != "function" and has_read:
                self._reading_fixtures.add(fixturedef)
            finalizers = getattr(fixturedef, "_finalizers", [])
            finish = functools.partial(self._finish, fixturedef)
            finalizers[:] = [
                functools.partial(finish, finalizer) for finalizer in finalizers
            ]
        raise copy  # outside the handler, so that no frame refers to the original

    def _may_have_read(self, fixture: pytest.FixtureDef[Any]) -> bool:
        """Tell whether a fixture may have read text through its request."""
        if "request" not in fixture.argnames or not self.marked:
            return False
        # pytest's own fixtures read no text.
        module = str(fixture.func.__module__)
        return not module.startswith("_pytest")

    def _finish(
        self,
        fixture: pytest.FixtureDef[Any],
        finalizer: Callable[[], object],
    ) -> None:
        if fixture in self._reading_fixtures:
            self.mark()
        try:
            finalizer()
        except BaseException as error:
            if not self.marked:
                raise
            copy = self._exception_with_location_only(error)
        else:
            return
        raise copy

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Forget a finished fixture."""
        self._reading_fixtures.discard(fixturedef)

    # --- their reports

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Note the running test; redact errors that end the run."""
        self._item = item
        self._marked = False
        self._request = None
        self._original_attributes = {}
        self._properties = []
        for plugin in self._config.pluginmanager.get_plugins():
            if type(plugin).__name__ == "LogXML":  # pytest's JUnit reporter
                properties = plugin.global_properties
                self._properties.append((properties, len(properties)))
        try:
            return (yield)
        # Of another plugin, too, which ends as an internal error.
        except BaseException as error:
            if not self.marked:
                raise
            copy = self._exception_with_location_only(error)
        finally:
            for name in ("shouldstop", "shouldfail"):
                reason = getattr(item.session, name)
                if self.marked and isinstance(reason, str):
                    setattr(item.session, name, self._first_words_or_redacted(reason))
            self._item = None
            self._marked = False
        raise copy

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Generator[None, Any, Any]:
        """Redact output, properties, and marks before any other plugin reads them."""
        try:
            return (yield)
        finally:
            if self.marked:
                self._drop_output()
                self._drop_records()

    pytest_runtest_setup = pytest_runtest_teardown = pytest_runtest_call

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(
        self,
        call: pytest.CallInfo[Any],
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Redact report and exception before any other plugin sees them."""
        if self.marked:
            # What `capsys` had, for one, comes after the phase's end.
            self._drop_records()
        report = yield
        if self.marked and call.excinfo is not None:
            raised = call.excinfo.value
            error = self._exception_with_location_only(raised)
            if isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
                path, line, _ = report.longrepr
                report.longrepr = path, line, f"Skipped: {error}"
            else:
                report.longrepr = str(error)
                if not isinstance(error, Outcome):
                    report.longrepr = f"{type(error).__name__}: {error}"
            if error is not raised and not self._config.getoption("usepdb"):
                call.excinfo = pytest.ExceptionInfo.from_exception(error)
        self._original_attributes = dict(vars(report))
        for name, value in vars(report).items():
            if isinstance(value, list):
                self._original_attributes[name] = list(value)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(
        self,
        report: pytest.TestReport,
    ) -> Generator[None, Any, Any]:
        """Redact what other plugins added or changed, and the names of subtests."""
        if self.marked:
            for name, value in [*vars(report).items()]:
                self._redact_change(report, name, value)
            subtest: Any = report
            if hasattr(subtest, "context"):
                subtest.context = type(subtest.context)(msg=_REDACTED, kwargs={})
        return (yield)

    def _redact_change(
        self,
        report: pytest.TestReport,
        name: str,
        value: Any,
    ) -> None:
        """Redact an attribute of a report if another plugin changed it."""
        before = self._original_attributes.get(name)
        if isinstance(value, list):
            value[:] = [entry for entry in value if entry in (before or ())]
        elif not value or value == before or name == "outcome":
            return
        elif name == "longrepr" and isinstance(value, tuple):
            report.longrepr = (
                *value[:-1],
                self._first_words_or_redacted(str(value[-1])),
            )
        elif name == "longrepr" or isinstance(value, str):
            setattr(report, name, self._first_words_or_redacted(str(value)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: WarningMessage) -> None:
        """Redact a warning's message."""
        if self.marked:
            warning_message.message = _copy_with_text(
                warning_message.category,
                _REDACTED,
            )

    def _drop_records(self) -> None:
        """Remove the test's output and others' properties; shorten marks' reasons."""
        item: Any = self._item
        own = []
        for entry in item.user_properties:
            name = str(entry[0])
            if name.startswith("memleak."):
                own.append(entry)
        item.user_properties[:] = own
        for properties, count in self._properties:
            del properties[count:]
        sections = item._report_sections  # noqa: SLF001 - other plugins read it
        sections[:] = [(when, "stdout", _DROPPED) for when, *_ in sections[-1:]]
        for node in item.listchain():
            for place, mark in enumerate(node.own_markers):
                reason = mark.kwargs.get("reason")
                if isinstance(reason, str):
                    short = {
                        **mark.kwargs,
                        "reason": self._first_words_or_redacted(reason),
                    }
                    make_mark = getattr(pytest.mark, mark.name)
                    node.own_markers[place] = make_mark(*mark.args, **short).mark

    def _take_captured_output(self) -> tuple[str, str]:
        """Return and clear the captured output."""
        capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
        if not capture:
            return "", ""
        output, errors = capture.read_global_capture()
        return output, errors

    def _drop_output(self) -> None:
        if any(self._take_captured_output()):
            print(_DROPPED)

    def _first_words_or_redacted(self, text: str) -> str:
        if not self._most:
            return _REDACTED
        return first_words(text, self._most)

    def _exception_with_location_only(self, error: BaseException) -> BaseException:
        """Return an exception of the same kind that has its location only."""
        if isinstance(error, Outcome):
            error.__cause__ = error.__context__ = None
            error.__notes__ = []
        if isinstance(error, (Outcome, _Redacted)):
            return error
        if isinstance(error, KeyboardInterrupt):
            text = _INTERRUPTED
            if isinstance(error, CallsDropped):
                text = f"{error}; {text}"
            return _with_new_traceback(pytest.Session.Interrupted(text))
        text = f"{self._place_of(error)}: {_HINT}"
        if isinstance(error, pytest.skip.Exception | pytest.xfail.Exception):
            text = self._first_words_or_redacted(str(error))
        copy = _copy_with_text(type(error), text)
        for name, value in vars(error).items():
            if isinstance(value, int | None):
                vars(copy)[name] = value
        vars(copy)["msg"] = text
        return _with_new_traceback(copy)

    def _place_of(self, error: BaseException) -> str:
        """Return file and line of an error, in the test's own file if possible."""
        item = self._item
        frames = list(traceback.extract_tb(error.__traceback__))
        if not frames:
            return "?:0"
        own = []
        if item:
            own = [frame for frame in frames if frame.filename == str(item.path)]
        last = (own or frames)[-1]
        path = last.filename
        with contextlib.suppress(ValueError):
            path = str(Path(path).relative_to(self._config.rootpath))
        return f"{path}:{last.lineno}"


def _with_new_traceback(error: BaseException) -> BaseException:
    """Return the exception with a new traceback, whose frames hold nothing else."""
    with contextlib.suppress(BaseException):
        raise error
    error.__context__ = None
    return error


class _Redacted:
    """The mark of redacted exceptions."""


def _copy_with_text(kind: type[BaseException], text: str) -> Any:
    """Return an exception of that kind whose only content is `text`."""
    methods: dict[str, Any] = {
        "__str__": lambda _: text,
        "__repr__": lambda _: f"{kind.__name__}({text!r})",
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
    }
    wider = next(
        base for base in (Warning, Exception, BaseException) if issubclass(kind, base)
    )
    for base in (kind, wider):  # some kinds can't be made from a text
        with contextlib.suppress(Exception):
            like: Any = type(kind.__name__, (_Redacted, base), methods)
            return like.__new__(like, text)
    raise AssertionError(kind)
