"""The pages of results/ that hold what was measured, between two marks of a name."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_measured"]

_RESULTS = Path(__file__).parent / "results"


def write_measured(page: str, table: str, *, name: str = "measured") -> None:
    """Put the table where the page's last one of that name is."""
    path, begin, end = (
        _RESULTS / page,
        f"<!-- {name}: begin -->",
        f"<!-- {name}: end -->",
    )
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")
