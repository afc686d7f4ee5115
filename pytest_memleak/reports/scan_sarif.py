"""A scan in SARIF 2.1.0, which code scanning shows beside the scanned files.

It has places and counts, no text. Sources: the OASIS standard, sections 3.13 to 3.58,
and GitHub's "SARIF support for code scanning", which requires more of rules,
fingerprints, and regions.
"""

from __future__ import annotations

import hashlib
import json
import os
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_memleak.formats.log_files import kind_of_rows
from pytest_memleak.scoring.measure_table import LONGEST_PASSAGE, NV_LONGEST_PASSAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, Any]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_MOST_RESULTS = 25_000  # that GitHub takes of a run
_RULES = {
    False: ("verbatim-passage", "A row has a verbatim passage of a protected book."),
    True: ("near-passage", "A row has a near-verbatim passage of a protected book."),
}
_HELP = (
    "The message names the book, and where in it the passage is. Compare the row with "
    "that place: take the row out of a training set; a model's answer shows that it "
    "reproduces the book."
)


def sarif_of(report: Row, *, version: str) -> str:
    """Return a scan's report as SARIF.

    A passage over its limit is an error, any other one a note. Beyond the passages that
    GitHub takes, the shorter ones are left out, and counted in a notification.
    """
    passages = sorted(report["passages"], key=itemgetter("words"), reverse=True)
    notes = [_notification(place) for place in report["unread"]]
    further = len(passages) - _MOST_RESULTS
    if further > 0:
        text = f"{further:,} shorter passages are left out"
        notes.append({"level": "note", "message": {"text": text}})
    is_complete = not (report["unread_rows"] or report["unread_files"])
    invocation = {
        "executionSuccessful": is_complete,
        "toolExecutionNotifications": notes,
    }
    rules = [_rule(name, text) for name, text in _RULES.values()]
    driver = {"name": "pytest-memleak", "version": version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "results": [
            _result(passage, report["limits"]) for passage in passages[:_MOST_RESULTS]
        ],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return f"{json.dumps(log, indent=1)}\n"


def _rule(name: str, text: str) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": _HELP},
    }


def _result(passage: Row, limits: Mapping[str, float | None]) -> dict[str, Any]:
    name, _ = _RULES[passage["near"]]
    measure = NV_LONGEST_PASSAGE if passage["near"] else LONGEST_PASSAGE
    limit = limits[measure.name]
    is_over = limit is not None and passage["words"] > limit
    kind = "near-verbatim" if passage["near"] else "verbatim"
    text = (
        f"{passage['words']:,} words of a {kind} passage of {passage['book']}, from "
        f"word {passage['start']:,} of the book, in row {passage['row']:,}"
    )
    fields = ("book", "near", "start", "end", "file", "row", "text", "place")
    identity = json.dumps([passage[field] for field in fields])
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return {
        "ruleId": name,
        "level": "error" if is_over else "note",
        "message": {"text": text},
        "locations": [_location_of_row(passage)],
        "partialFingerprints": {"primaryLocationLineHash": digest},
    }


def _notification(place: Row) -> dict[str, Any]:
    cause = place["cause"].removesuffix(".")
    text = f"{cause}. {place['fix']}" if place["fix"] else cause
    return {
        "level": "error",
        "message": {"text": text},
        "locations": [_location_of_row(place)],
    }


def _location_of_row(place: Row) -> dict[str, Any]:
    """Return a row's place: its line where rows are lines, else the file's first."""
    file = str(place["file"])
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(file)}}
    if place["row"] is None:
        return {"physicalLocation": location}
    if kind_of_rows(file) == "line":
        location["region"] = {"startLine": place["row"]}
        return {"physicalLocation": location}
    location["region"] = {"startLine": 1}
    name = {"fullyQualifiedName": f"row {place['row']}"}
    return {"physicalLocation": location, "logicalLocations": [name]}


def _uri(file: str) -> str:
    """Return a file's URI, relative to the working folder if it is below that."""
    path = Path(file)
    if path.is_absolute() and not path.is_relative_to(Path.cwd()):
        return path.as_uri()
    if path.is_absolute():
        path = path.relative_to(Path.cwd())
    return quote(os.fsencode(path.as_posix()))
