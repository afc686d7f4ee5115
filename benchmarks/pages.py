"""The pages of docs/ that hold what was measured, between two marks."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_measured"]

_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
_DOCS = Path(__file__).parents[1] / "docs"


def write_measured(page: str, table: str) -> None:
    """Put the table where the page's last one is."""
    path = _DOCS / page
    before, _, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    path.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{after}", encoding="utf-8")
