"""What may be shown of a pair's test: no more than so many words in a row of a book or an answer.

PYTEST_DONT_REWRITE

A text, a report or an exception is held against the books of all suites of the run and against
the pair's generations. Where there is no evaluation nobody knows what was generated, and with
--memleak-quote 0 no word may be shown: then whatever this plugin does not say itself is withheld
as a whole. `ways_out` brings everything here that a test could tell.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from pytest_memleak.plugin.collect import SuiteModule
from pytest_memleak.plugin.piecemeal_quotes import Pieces, messages_of
from pytest_memleak.plugin.stash import answered_key, evaluation_key, run_key, withholding_key
from pytest_memleak.redaction.text import QUOTED_WORDS, Quotes, count_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.verdict.evaluation import Evaluation

__all__ = ["Withholding", "quoted_words", "withholding_of"]

_CAPTURED = "Captured output"
# Parts of a report that others fill with text: pytest, its subtests, HTML and JSON reporters.
_FILLED = ("user_properties", "wasxfail", "context", "extras", "_json_report_extra")
_LONGEST_KEY = 80


def quoted_words(config: pytest.Config) -> int | None:
    """How many words of a passage may be shown; None for all of them."""
    value = config.getoption("memleak_quote")
    return None if value == "full" else int(value)


def withholding_of(item: pytest.Item) -> Withholding | None:
    """The item's; None where all may be shown, or where the item has nothing to do with books."""
    most = quoted_words(item.config)
    if most is None or item.get_closest_marker("copyright") is None:
        return None
    if withholding_key not in item.stash:
        item.stash[withholding_key] = Withholding(item.config, item, most=most)
    return item.stash[withholding_key]


class Withholding:
    """Takes out of what is told of one item what may not be shown; none stands for the session."""

    def __init__(self, config: pytest.Config, item: pytest.Item | None, *, most: int) -> None:
        self._config = config
        self._item = item
        self._most = most
        self._shown: dict[str, str] = {}
        self._quotes: tuple[tuple[int, int], Quotes] | None = None
        self._warnings, self._subtests = self._pieces(), self._pieces()
        if item is not None and item.getparent(SuiteModule) is not None:
            reasons = (mark.kwargs.get("reason") for mark in item.iter_markers())
            for reason in filter(None, reasons):
                self.say(reason)
                self.say(f"[XPASS(strict)] {reason}")

    def say(self, text: str) -> str:
        """A text of this plugin's own; only runs of a book's words are taken out of it."""
        if text not in self._shown:
            plain = self._without_quotes(text)
            self._shown[text] = self._shown[plain] = plain
        return self._shown[text]

    def text(self, text: str, *, kind: str = "") -> str:
        """Anybody's text; where it is withheld as a whole, `kind` says what it was."""
        if text in self._shown or not count_words(text):
            return self._shown.get(text, text)
        unread = self._most == 0 or self._evaluation is None
        if unread and count_words(text) > self._most:
            plain = f"{kind}{_withheld(text)}"
            self._shown[text] = self._shown[plain] = plain
        return self.say(text)

    def stop(self, error: BaseException) -> BaseException:
        """What ends the whole run, with a message that may be shown and no history."""
        if isinstance(error, pytest.exit.Exception):
            return pytest.exit.Exception(self.text(error.msg), error.returncode)
        return KeyboardInterrupt(*map(self.text, map(str, error.args)))

    def value(self, value: Any) -> Any:
        """The same of every text in lists, tuples, dicts and records."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._whole({self._key(key): self.value(one) for key, one in value.items()})
        if isinstance(value, list):
            return self._whole(list(map(self.value, value)))
        if type(value) is tuple:
            return tuple(map(self.value, value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            parts = {one.name: self.value(getattr(value, one.name)) for one in fields}
            return dataclasses.replace(value, **parts)
        return value

    def report(self, report: pytest.TestReport, raised: BaseException | None = None) -> None:
        """Clean every part of a report; again where something may have been added to it since.

        raised: the exception that it tells, if that is known.
        """
        hidden = self._hidden(report)
        self._quoting().look_for((*_texts_of(report), *_texts_in(hidden)))
        length = sum(len(text) for name, text in report.sections if name != _CAPTURED)
        if length:
            note = f"{length:,} characters withheld, since they may quote the book"
            report.sections[:] = [(_CAPTURED, note)]
        report.longrepr = self._told(report, raised, hidden)
        context = getattr(report, "context", None)
        if context is not None and self._subtests.goes_on(str(context)):
            vars(report)["context"] = dataclasses.replace(context, msg="withheld", kwargs={})
        report.user_properties = self._pieces().properties(report.user_properties)
        for name in _FILLED:
            filled = getattr(report, name, None)
            if isinstance(filled, list):
                setattr(report, name, list(map(self.value, filled)))
            elif filled is not None:
                setattr(report, name, self.value(filled))

    def call(self, call: pytest.CallInfo[Any]) -> None:
        """Put another exception in the place of what was raised, which others may yet tell."""
        if call.excinfo is not None and not self._config.getoption("usepdb"):
            call.excinfo = pytest.ExceptionInfo.from_exception(self.exception(call.excinfo.value))

    def exception(self, error: BaseException) -> BaseException:
        """An exception of the same kind, with a message that may be shown and no history."""
        text = self.say(str(error)) if _is_ours(error) else self.text(str(error))
        kind = type(error)
        methods = {
            "__str__": lambda _: text,
            "__repr__": lambda _: f"{kind.__name__}({text!r})",
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
        }
        made = _made(kind, methods, text)
        made.__dict__.update(
            {
                name: self.value(value)
                for name, value in error.__dict__.items()
                if isinstance(value, str | bool | int | None)
            }
        )
        return _raised(made)

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """What is raised inside is raised with a message that may be shown."""
        try:
            yield
        except Exception as error:
            if _is_ours(error) or self.text(str(error)) == str(error):
                raise
            raise self.exception(error) from None

    # --- what is shown ---------------------------------------------------------------------

    def _hidden(self, report: pytest.TestReport) -> Any:
        """What others may show of a failure that this way of showing it leaves out."""
        if report.longrepr is None or isinstance(report.longrepr, tuple):
            return None
        parts = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        return parts["longrepr"] if parts else None

    def _told(self, report: pytest.TestReport, raised: BaseException | None, hidden: Any) -> Any:
        told: Any = report.longrepr
        if told is None:
            return None
        if isinstance(told, tuple):  # what was skipped: file, line, reason
            path, line, reason = told
            return path, line, self.text(reason)
        whole = str(told)
        if raised is not None and _is_ours(raised):
            plain = self.say(whole)
        elif raised is not None and self._is_quote("\n".join(messages_of(raised))):
            return self.text(f"{_place_of(raised)}{_withheld(whole)}")
        else:
            place = _place_of(raised) if raised else ""
            plain = self.text(whole, kind=place)
        if plain != whole:
            return plain
        if isinstance(hidden, dict) and self._evaluation is not None:
            return told if self.value(hidden) == hidden else plain
        return plain if isinstance(hidden, dict) else told

    @property
    def _evaluation(self) -> Evaluation | None:
        return self._item.stash.get(evaluation_key, None) if self._item else None

    def warning(self, warned: Any) -> Any:
        """A warning's message that may be shown, also after those of this test before it."""
        said = str(warned)
        if self._warnings.goes_on(said) and self.text(said) == said:
            return self.exception(type(warned)("withheld"))
        return warned if self.text(said) == said else self.exception(warned)

    def _pieces(self) -> Pieces:
        return Pieces(self._is_quote, most=self._most or QUOTED_WORDS)

    def _is_quote(self, text: str) -> bool:
        return self._without_quotes(text) != text

    def _without_quotes(self, text: str) -> str:
        return self._quoting().taken_out(text)

    def _quoting(self) -> Quotes:
        """Of what is protected by now: an evaluation may have come since it was last asked for."""
        by_now = (id(self._evaluation), len(self._config.stash.get(answered_key, ())))
        if self._quotes is None or self._quotes[0] != by_now:
            quotes = Quotes(self._protected, most=self._most or QUOTED_WORDS)
            self._quotes = (by_now, quotes)
        return self._quotes[1]

    def _protected(self) -> Iterator[str]:
        if run_key in self._config.stash:
            yield from self._config.stash[run_key].book_texts()
        yield from self._config.stash.get(answered_key, ())
        if self._evaluation is not None:
            yield from (one.text for one in self._evaluation.generations())

    def _whole(self, value: Any) -> Any:
        """A list of single words is a quote, too."""
        said = str(value)
        return value if self._without_quotes(said) == said else _emptied(value)

    def _key(self, key: Any) -> Any:
        return self.text(key) if isinstance(key, str) and len(key) > _LONGEST_KEY else key


def _texts_of(report: pytest.TestReport) -> Iterator[str]:
    """All that a report may tell, so that what it quotes is found at once."""
    told = report.longrepr
    yield str(told[2] if isinstance(told, tuple) else told)
    for name in _FILLED:
        yield from _texts_in(getattr(report, name, None))


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        yield str(value)
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(one)


def _made(kind: type[BaseException], methods: dict[str, Any], text: str) -> BaseException:
    """An exception of a kind like that one; of a wider one where it cannot be made of a text."""
    wider = Exception if issubclass(kind, Exception) else BaseException
    for base in (kind, wider):
        with contextlib.suppress(TypeError):
            like: Any = type(kind.__name__, (base,), methods)
            made: BaseException = like.__new__(like, text)
            return made
    raise AssertionError(kind)


def _raised(error: BaseException) -> BaseException:
    """The exception with a traceback of its own, as what asks for one expects."""
    try:
        raise error  # noqa: TRY301 - to be caught at once
    except BaseException as caught:  # noqa: BLE001 - what was raised may be anything
        caught.__context__ = None
        return caught


def _withheld(text: str) -> str:
    return f"{len(text):,} characters withheld, since they may quote a book"


def _emptied(value: Any) -> Any:
    """The same lists and dicts without a word in them."""
    if isinstance(value, dict):
        return {key: _emptied(one) for key, one in value.items()}
    if isinstance(value, list):
        return list(map(_emptied, value))
    return "withheld" if isinstance(value, str) else value


def _is_ours(error: BaseException) -> bool:
    from pytest_memleak.plugin.outcomes import LimitExceeded, PairInconclusive

    return isinstance(error, LimitExceeded | PairInconclusive)


def _place_of(error: BaseException) -> str:
    """The kind of an exception, and the line that raised it."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}: " if frame else ""
    return f"{place}{type(error).__name__}: "
