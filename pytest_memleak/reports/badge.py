"""A badge of a verified bundle: what came of a release, and which bundle says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from pytest_memleak.records import Verdict
from pytest_memleak.redaction.text import inert
from pytest_memleak.results.run_verdict import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLORS = {"PASS": "#2e7d32", "FAIL": "#c62828"}
_UNDECIDED = "#8a6d00"
_LABEL = "memorization"
_CHARACTER, _MARGIN, _LONGEST = 6.6, 12, 60

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img">
<title>{label}: {said}</title>
<desc>{counted}; made {created}; evidence sha256 {sha256}</desc>
<rect width="{width}" height="20" rx="3" fill="{color}"/>
<path d="M3 0h{left}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#444"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{label_at}" y="14" textLength="{label_width}">{label}</text>
<text x="{said_at}" y="14" textLength="{said_width}">{said}</text>
</g>
</svg>
"""


def badge(made: Mapping[str, Any]) -> str:
    """The SVG for a bundle that was verified: its result, release, and the digest to ask for."""
    gates = all(one["gates"] for one in made["suites"]) or made["result"] == Verdict.FAIL
    said = made["result"] if gates else f"{made['result']}, gates nothing"
    said = inert(said + (f" {made['release']}" if made["release"] else ""), longest=_LONGEST)
    label_width, said_width = (round(len(one) * _CHARACTER) for one in (_LABEL, said))
    left = label_width + _MARGIN
    return _SVG.format(
        label=_LABEL,
        said=escape(said),
        counted=escape(counted(made["pairs"])),
        created=escape(made["created"]),
        sha256=escape(made["sha256"]),
        color=_COLORS.get(made["result"], _UNDECIDED),
        width=left + said_width + _MARGIN,
        left=left - 3,
        label_at=left / 2,
        label_width=label_width,
        said_at=left + (said_width + _MARGIN) / 2,
        said_width=said_width,
    )
