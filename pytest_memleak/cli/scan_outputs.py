"""The files that `memleak scan` writes: a page, SARIF, and a customer's verdict."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak import __version__
from pytest_memleak.errors import SettingsError, file_errors
from pytest_memleak.redaction.file_writing import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CUSTOMER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ScanOutputs(NamedTuple):
    """What a scan writes beside what it prints.

    html, sarif: files
    customer:    whose verdict is written to NAME.verdict.json
    """

    html: Path | None
    sarif: Path | None
    customer: str | None

    @property
    def verdict(self) -> Path | None:
        """The file of the customer's verdict."""
        return Path(f"{self.customer}.verdict.json") if self.customer else None

    def validate(self, named: Iterable[Path], scanned: Iterable[Path]) -> None:
        """Raise SettingsError for files that can't be written, or would be scanned.

        named: what the scan was given; scanned: the files in it
        """
        if self.customer is not None and not _CUSTOMER.fullmatch(self.customer):
            raise SettingsError(
                f"--customer {self.customer!r} can't be part of a file's name",
                hint="use up to 100 letters, digits, dots, hyphens, and underscores",
            )
        # Path.resolve raises errors for circles of links.
        files = set(map(_resolved_path, scanned))
        folders = set(map(_resolved_path, named))
        for path in self._output_files():
            place = _resolved_path(path)
            if place in files or not folders.isdisjoint(place.parents):
                raise SettingsError(
                    "this report would be scanned itself, or overwrite what is scanned",
                    location=str(path),
                    hint="name a file outside the scanned folders",
                )
            with file_errors(SettingsError, path, "can't be written"):
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    raise IsADirectoryError(21, "Is a directory")

    def _output_files(self) -> Iterator[Path]:
        for path in (self.html, self.sarif, self.verdict):
            if path is not None:
                yield path


def _resolved_path(path: Path) -> Path:
    return Path(os.path.realpath(path))


def write_scan_reports(
    outputs: ScanOutputs,
    report: dict[str, Any],
    exit_code: int,
) -> None:
    """Write the reports of a scan. Raises SettingsError."""
    now = datetime.datetime.now(datetime.UTC)
    texts: dict[Path, str] = {}
    if outputs.html:
        from pytest_memleak.reports.html.scan_page import scan_page

        texts[outputs.html] = scan_page(report, created=now, version=__version__)
    if outputs.sarif:
        from pytest_memleak.reports.scan_sarif import sarif_of

        texts[outputs.sarif] = sarif_of(report, version=__version__)
    if outputs.customer and outputs.verdict:
        from pytest_memleak.reports.scan_verdict import customer_verdict

        texts[outputs.verdict] = customer_verdict(
            report,
            customer=outputs.customer,
            exit_code=exit_code,
            created=now.isoformat(timespec="seconds"),
            version=__version__,
        )
    for path, text in texts.items():
        with file_errors(SettingsError, path, "can't be written"):
            write_whole(path, text, errors="backslashreplace")
