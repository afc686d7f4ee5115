"""Record the screens of docs/screens.md: terminals as they were, an HTML report in Chromium.

    python docs/figures/screens.py     # needs the extras `dev` and `formats`, and chromium

Terminals are recorded through a pseudo-terminal of so many columns, so that colours, widths and
line breaks are what a reader would see, and written as SVG that loads nothing.
"""

from __future__ import annotations

import base64
import fcntl
import io
import itertools
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

import pypdfium2
import pyte
from make import chromium, report_of_figures, taken
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / "docs" / "screens"
ROWS = 400
LONGEST = 300  # seconds that a command may take

DARK = TerminalTheme(
    (18, 21, 28),
    (222, 222, 222),
    [(40, 44, 52), (255, 123, 137), (126, 211, 145), (240, 200, 100), (122, 162, 247),
     (203, 166, 247), (110, 200, 215), (222, 222, 222)],
)  # fmt: skip
THEMES = {"dark": DARK, "light": DEFAULT_TERMINAL_THEME}
COMMANDS = {
    "quickstart": ("pytest -m copyright suites/quickstart -k lamplighter --no-header", (80,)),
    "demo": ("memleak demo", (80, 120)),
}
RELEASE = "novelist 7"
DESK = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
HIGHEST = 1500


def main() -> None:
    """Record everything."""
    SCREENS.mkdir(exist_ok=True)
    for name, (command, widths) in COMMANDS.items():
        for width in widths:
            shown = recorded(command, width)
            for theme in THEMES:
                write_svg(shown, command, width, theme, SCREENS / f"{name}-{width}-{theme}.svg")
    with report_of_figures("--memleak-release", RELEASE) as report:
        photograph(report)


# --- terminals -----------------------------------------------------------------------------


def recorded(command: str, width: int) -> list[Text]:
    """The lines that a command leaves on a terminal, in a copy of what it needs."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("suites", "fixtures"):
            (Path(folder) / name).symlink_to(ROOT / name)
        screen = pyte.Screen(width, ROWS)
        pyte.ByteStream(screen).feed(_output(command, width, Path(folder)))
    lines = [_line(screen.buffer[y], width) for y in range(ROWS)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    return lines


def _output(command: str, width: int, folder: Path) -> bytes:
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        bin_ = str(Path(sys.executable).parent)
        os.environ |= {
            "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "COLUMNS": str(width),
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
        }
        os.execvp("sh", ["sh", "-c", command])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, width, 0, 0))
    said, until = b"", time.monotonic() + LONGEST
    try:
        while time.monotonic() < until:
            if select.select([terminal], [], [], 1)[0]:
                part = os.read(terminal, 65536)
                if not part:
                    break
                said += part
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    return said


def _line(cells: dict[int, pyte.screens.Char], width: int) -> Text:
    line = Text()
    for style, alike in itertools.groupby((cells[x] for x in range(width)), key=_style):
        line.append("".join(cell.data for cell in alike), style)
    line.rstrip()
    return line


def _style(cell: pyte.screens.Char) -> Style:
    colour = cell.fg.replace("brown", "yellow")
    return Style(color=colour, bold=cell.bold, italic=cell.italics)


def write_svg(lines: list[Text], command: str, width: int, theme: str, file: Path) -> None:
    """The lines below the command that gave them, as a picture that loads nothing."""
    console = Console(record=True, width=width, file=io.StringIO(), legacy_windows=False)
    prompt = Style(color="green", bold=True)
    console.print(Text.assemble(("$ ", prompt), (command, Style(bold=True))), soft_wrap=True)
    for line in lines:
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="", theme=THEMES[theme], unique_id=f"{file.stem}")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono'")
    label = f'role="img" aria-label="A terminal of {width} columns after: {command}"'
    file.write_text(svg.replace("<svg ", f"<svg {label} ", 1), encoding="utf-8")


# --- the HTML report -----------------------------------------------------------------------


def photograph(report: Path) -> None:
    """The report on a desk, light and dark, on a phone, and two of its printed pages."""
    with chromium() as browser:
        for name, size, scheme in (
            ("desk-light", DESK, "light"),
            ("desk-dark", DESK, "dark"),
            ("phone", PHONE, "light"),
        ):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(report.as_uri())
            for part, place in {"cover": 0, "pair": _top_of_the_leak(browser)}.items():
                clip = {"x": 0, "y": place, "width": size["width"], "height": HIGHEST}
                taken(browser, clip, SCREENS / f"report-{name}-{part}.png", scale=0.75)
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        made = browser.execute_cdp_cmd(
            "Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True}
        )
    pages = pypdfium2.PdfDocument(base64.b64decode(made["data"]))
    texts = [page.get_textpage().get_text_range() for page in pages]
    overview = next(n for n, text in enumerate(texts) if "One row for each pair" in text)
    for name, number in (("cover", 0), ("overview", overview)):
        pages[number].render(scale=1.1).to_pil().save(SCREENS / f"report-print-{name}.png")


def _top_of_the_leak(browser: object) -> int:
    """Where the last pair that failed begins."""
    place: int = browser.execute_script(  # type: ignore[attr-defined]
        "const last = [...document.querySelectorAll('article.is-fail')].at(-1);"
        "return Math.round(last.getBoundingClientRect().top + scrollY - 24)"
    )
    return place


if __name__ == "__main__":
    main()
