"""SVG badge of a verified bundle: result, release and digest."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import moment
from pytest_memleak.redaction.file_writing import write_whole
from pytest_memleak.redaction.text import inert
from pytest_memleak.results.run_verdict import verdict_counts

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_memleak.results.evidence_file import Bundle

_COLORS = {"PASS": "#2e7d32", "FAIL": "#c62828"}
_UNDECIDED = "#8a6d00"
_LABEL = "memorization"
_CHARACTER, _MARGIN, _LONGEST = 6.6, 12, 60

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img">
<title>{label}: {message}</title>
<desc>{counted}; made {created}; evidence sha256 {sha256}</desc>
<rect width="{width}" height="20" rx="3" fill="{color}"/>
<path d="M3 0h{left}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#444"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif"
font-size="11" text-anchor="middle">
<text x="{label_at}" y="14" textLength="{label_width}">{label}</text>
<text x="{message_at}" y="14" textLength="{message_width}">{message}</text>
</g>
</svg>
"""


def write_badge(bundle: Bundle, path: Path) -> None:
    """Write the SVG badge of a verified bundle."""
    every_suite_gates = all(suite.gates for suite in bundle.suites)
    gates = every_suite_gates or bundle.result is Verdict.FAIL
    message = bundle.result.value if gates else f"{bundle.result}, controls only"
    message = inert(
        message + (f" {bundle.release}" if bundle.release else ""),
        longest=_LONGEST,
    )
    label_width, message_width = (
        round(len(text) * _CHARACTER) for text in (_LABEL, message)
    )
    left = label_width + _MARGIN
    text = _SVG.format(
        label=_LABEL,
        message=escape(message),
        counted=escape(verdict_counts(bundle.pairs)),
        created=moment(bundle.created),
        sha256=escape(bundle.sha256),
        color=_COLORS.get(bundle.result, _UNDECIDED),
        width=left + message_width + _MARGIN,
        left=left - 3,
        label_at=left / 2,
        label_width=label_width,
        message_at=left + (message_width + _MARGIN) / 2,
        message_width=message_width,
    )
    write_whole(path, text)
