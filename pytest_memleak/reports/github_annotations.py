"""Annotations of GitHub's CI: what doesn't pass, at the model's line of its suite."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_memleak.records.pair_result import PairResult, RunReport
    from pytest_memleak.reports.screen_view import FirstScreen, ScreenCause

_WORDS = {
    "fail": "FAIL",
    "unexpected": "a leak was expected",
    "inconclusive": "INCONCLUSIVE",
    "unrun": "not run",
}
_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTY = _IN_MESSAGE | {":": "%3A", ",": "%2C"}


def annotation_lines(
    run: RunReport,
    view: FirstScreen,
    environment: Mapping[str, str],
) -> Iterator[str]:
    """Yield a workflow command for each cause; nothing outside GitHub's CI.

    GitHub shows ten a step at most; the first screen has no more than five causes.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return
    root = Path(environment.get("GITHUB_WORKSPACE") or Path.cwd())
    results = {result.pair: result for result in (*run.results, *run.unrun)}
    for cause in view.causes:
        yield _annotation(cause, results[cause.where[0]], root)


def _annotation(cause: ScreenCause, result: PairResult, root: Path) -> str:
    path = Path(result.suite.path)
    shown = os.path.relpath(path, root)
    title = f"memleak: {_WORDS[cause.kind]}, {cause.count}"
    text = f"{cause.text} ({cause.place})"
    if cause.fix:
        text += f". Fix: {cause.fix}"
    properties = {
        "file": Path(shown).as_posix(),
        "line": str(_line_naming_model(result.model.id, path)),
        "title": title,
    }
    listed = ",".join(
        f"{name}={_with_escapes(value, _IN_PROPERTY)}"
        for name, value in properties.items()
    )
    return f"::error {listed}::{_with_escapes(inert(text), _IN_MESSAGE)}"


def _line_naming_model(model: str, path: Path) -> int:
    """Return the line of a suite file that names the model; 1 if none does."""
    pattern = re.compile(rf"""\s*id\s*=\s*["']{re.escape(model)}["']""")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return 1
    in_models = False
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("["):
            in_models = line.strip() == "[[model]]"
        if in_models and pattern.match(line):
            return number
    return 1


def _with_escapes(text: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)
