"""Third-party parsers in a subprocess with caps on time and memory.

    parse_in_subprocess("pdf", data, budget=budget, of="characters of text")

A megabyte of PDF can take gigabytes, and a C library can crash. The subprocess reads a
file from stdin and writes lines of JSON: the texts, then an object, unless it crashes.
It has a temporary folder of its own, which goes with it.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pytest_memleak.books.archive import Amount, Budget
from pytest_memleak.books.lost_text import (
    make_parser_enter_all_text,
    validate_no_lost_text,
    validate_no_skipped_commands,
    validate_no_skipped_groups,
)
from pytest_memleak.errors import BookError, file_errors

Format = Literal[
    "pdf",
    "docx",
    "markdown",
    "verse",
    "fb2",
    "latex",
    "odt",
    "rtf",
    "mobi",
]

_MAX_PAGES = 3_000
_MOST_SECONDS = 20
_MOST_MEBIBYTES = 480

# What names the folder of temporary files, by system.
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")

# Wall-clock seconds, for systems without CPU limits and busy machines.
_DEADLINE = 30 * _MOST_SECONDS


def parse_in_subprocess(
    name: Format,
    data: bytes,
    *,
    budget: Budget,
    of: Amount,
) -> list[str]:
    """Parse the bytes of a file in a subprocess and return its texts.

    of: the amount of the budget that caps them; nothing is spent.

    Raises BookError, naming the budget's place, for a file that the parser can't read,
    for more than the budget has left, for over 20 s of processor time or 480 MiB, and
    for a crash.
    """
    place = str(budget.place)
    most = budget.left(of)
    lines = _lines(name, data, place, most)
    last = json.loads(lines.pop()) if lines else {}
    if not isinstance(last, dict) or not last:
        raise _cap_error(place)
    if "long" in last:
        budget.allow(most + 1, of)
    if "message" in last:
        raise BookError(last["message"], location=place, hint=last["hint"])
    return [json.loads(line) for line in lines]


def _lines(
    name: str,
    data: bytes,
    place: str,
    most: int,
) -> list[str]:
    command = [sys.executable, "-P", "-m", __name__, name, str(most)]
    # The subprocess must import the same packages.
    paths = os.pathsep.join(map(os.path.abspath, sys.path))
    try:
        with (
            file_errors(BookError, place),
            tempfile.TemporaryDirectory() as folder,
        ):
            done = subprocess.run(  # noqa: S603 - our own module
                command,
                input=data,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ
                | {"PYTHONPATH": paths}
                | dict.fromkeys(_TEMPORARY, folder),
                timeout=_DEADLINE,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise _cap_error(place) from None
    return done.stdout.decode("utf-8", "surrogatepass").split("\n")[:-1]


def _cap_error(place: str) -> BookError:
    return BookError(
        f"can't be read within {_MOST_SECONDS} s of CPU time and {_MOST_MEBIBYTES} MiB",
        location=place,
        hint="the file is damaged or hostile: use a different edition, an EPUB or "
        "plain text",
    )


def _limit_own_resources() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # as on Windows
        import resource

        for what, most in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, _MOST_SECONDS),
            (resource.RLIMIT_AS, _MOST_MEBIBYTES << 20),
        ):
            hard = resource.getrlimit(what)[1]
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)  # noqa: PLW2901
            resource.setrlimit(what, (most, most))


# What a bookmark's view is: a point, or a page as wide as the window from some height
# on.
_XYZ, _FIT_WIDTH = 1, 3

# pdfium marks the hyphens that divide words.
_PDF_LINE = re.compile("[^\r\n\x02\ufffe]+[\x02\ufffe]?")
_NOTE_MARK = re.compile(r"(?<=[^\s\d])(?:\d{1,4}|[*†‡§‖¶]{1,4})(?!\w)")
_RAISED = 0.2
_SMALLEST, _FARTHEST = 0.1, 1e6  # points; a hostile page may have any


def _parse_pdf(data: bytes) -> Iterator[str]:
    """Yield the outline as JSON, and the lines of each page, if it is readable."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise BookError("is password-protected", hint="unlock it first") from None
        raise BookError(
            "isn't a readable PDF",
            hint="download the file again",
        ) from None
    if len(document) > _MAX_PAGES:
        raise BookError(
            f"has {len(document):,} pages; the maximum is {_MAX_PAGES:,}",
            hint="if this is a collection, split it into one file per book",
        )
    bookmarks: list[tuple[int, str, int | None, float | None]] = []
    with contextlib.suppress(pypdfium2.PdfiumError):
        bookmarks += map(_bookmark, islice(document.get_toc(), _MAX_PAGES))
    yield json.dumps(bookmarks)
    for number in range(len(document)):
        text = ""
        with contextlib.suppress(pypdfium2.PdfiumError):
            page = document[number]
            text = "\n".join(_pdf_lines(page.get_textpage()))
            page.close()
        yield text


def _bookmark(entry: Any) -> tuple[int, str, int | None, float | None]:
    """Return an entry's depth, title, page, and height on the page, if any."""
    target = entry.get_dest()
    if target is None:
        return entry.level, entry.get_title(), None, None
    mode, view = target.get_view()
    at = {_XYZ: 1, _FIT_WIDTH: 0}.get(mode, len(view))
    height = view[at] if at < len(view) else None
    return entry.level, entry.get_title(), target.get_index(), height


def _pdf_lines(page: Any) -> Iterator[str]:
    """Yield the page's lines: size of type, left, right and lower edge, and text.

    Without raised numbers and marks that follow a letter or a punctuation mark: they
    refer to notes. A hyphen that divides a word ends its line.
    """
    import pypdfium2.raw as pdfium

    count = page.count_chars()
    text = "".join(chr(pdfium.FPDFText_GetUnicode(page, at)) for at in range(count))
    loose = pdfium.FS_RECTF()
    left, right, bottom, top, baseline = (ctypes.c_double() for _ in range(5))
    for line in _PDF_LINE.finditer(text):
        if line[0].isspace():
            continue
        first, end = line.span()
        boxes: list[tuple[float, float, float, float]] = []
        for at in (first, (first + end) // 2, end - 1):
            pdfium.FPDFText_GetLooseCharBox(page, at, loose)
            height = loose.top - loose.bottom
            boxes.append((height, loose.left, loose.right, loose.bottom))
        size = sorted(boxes)[1][0]
        base = sorted(box[3] for box in boxes)[1]
        pieces: list[str] = []
        start = first
        for mark in _NOTE_MARK.finditer(text, first, end):
            pdfium.FPDFText_GetCharBox(page, mark.start(), left, right, bottom, top)
            pdfium.FPDFText_GetCharOrigin(page, mark.start() - 1, left, baseline)
            if bottom.value - baseline.value > _RAISED * size:
                pieces.append(text[start : mark.start()])
                start = mark.end()
        pieces.append(text[start:end])
        place = (max(_SMALLEST, size), boxes[0][1], boxes[2][2], base)
        numbers = " ".join(f"{_clamped(number):.1f}" for number in place)
        yield f"{numbers} {''.join(pieces).strip()}"


def _clamped(number: float) -> float:
    return min(max(-_FARTHEST, number), _FARTHEST)


def _parse_docx(data: bytes) -> Iterator[str]:
    """Yield the document as HTML, without its images."""
    import mammoth

    def no_image(_: object) -> list[object]:
        return []

    try:
        data, texts = make_parser_enter_all_text(data)
        document = io.BytesIO(data)
        result = mammoth.convert_to_html(document, convert_image=no_image)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - mammoth raises errors of any kind
        raise BookError(
            f"mammoth can't read this Word document ({type(error).__name__})",
            hint="save it again as .docx, or as .txt",
        ) from None
    validate_no_lost_text(texts, result.value, parser="mammoth")
    yield result.value


_HEAP_EXHAUSTED = 251
_PLACE_IN_FILE = re.compile(r"line \d+,? column \d+")
# Without a space before a character's substitute, pandoc drops the letter behind that,
# too.
_RTF_CHARACTER = re.compile(rb"(?<!\\)(\\u-?\d{1,5})(?=[^\s\\\d{}])")
# Pandoc skips old drawings, with their text.
_RTF_DRAWING = re.compile(rb"(?<={)\\\*(?=\\do\b)")


def _parse_with_pandoc(data: bytes, *, name: str) -> Iterator[str]:
    """Yield the document as HTML, with its title and authors in the head."""
    import pypandoc

    if name == "rtf":
        data = _RTF_CHARACTER.sub(rb"\1 ", data)
        data = _RTF_DRAWING.sub(b"", data)
        validate_no_skipped_groups(data)
    texts: list[tuple[int, str]] = []
    if name in {"fb2", "odt"}:
        data, texts = make_parser_enter_all_text(data)
    command = [pypandoc.get_pandoc_path(), "--sandbox", "--standalone", "--verbose"]
    done = subprocess.run(  # noqa: S603 - the extra's own program
        [*command, f"--from={name}", "--to=html5", "--wrap=none"],
        input=data,
        capture_output=True,
        check=False,
    )
    log = done.stderr.decode("utf-8", "replace")
    if done.returncode < 0 or done.returncode == _HEAP_EXHAUSTED:
        raise MemoryError
    if done.returncode:
        where = _PLACE_IN_FILE.search(log)
        place = f" ({where[0]})" if where else ""
        raise BookError(
            f"pandoc can't read this file as {name}{place}",
            hint="save it again, or as .docx or .txt",
        )
    validate_no_skipped_commands(data, log)
    html = done.stdout.decode("utf-8")
    validate_no_lost_text(texts, html, parser="pandoc")
    head, _, rest = html.partition('<header id="title-block-header">')
    header, _, body = rest.partition("</header>")
    _, _, abstract = header.partition('<div class="abstract">')
    # The abstract of other formats is a publisher's annotation.
    if abstract and name == "latex":
        _, _, text = abstract.partition("</div>")
        yield f"{head}<div>{text}{body}"
    else:
        yield f"{head}{body}"


_CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="content.opf"
media-type="application/oebps-package+xml"/></rootfiles></container>"""
_TEXT_SUFFIXES = frozenset(
    (".css", ".htm", ".html", ".ncx", ".opf", ".svg", ".xhtml", ".xml"),
)


def _parse_mobi(data: bytes) -> Iterator[str]:
    """Yield a Kindle book as an EPUB without pictures and fonts, in base 64."""
    import mobi

    folder = Path(tempfile.mkdtemp())
    book = folder / "book.mobi"
    book.write_bytes(data)
    try:
        # It prints what it does.
        with contextlib.redirect_stdout(sys.stderr):
            unpacked = Path(mobi.extract(str(book))[1])
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - mobi raises errors of any kind
        raise BookError(
            f"mobi can't read this Kindle book ({type(error).__name__})",
            hint="convert it with Calibre: ebook-convert FILE.mobi FILE.epub",
        ) from None
    if unpacked.suffix == ".pdf":
        raise BookError(
            "is a PDF in a Kindle book (a print replica)",
            hint="use the PDF, or a different edition",
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as epub:
        if unpacked.suffix == ".epub":
            _copy_texts(unpacked, epub)
        else:
            epub.writestr("META-INF/container.xml", _CONTAINER)
            for path in unpacked.parent.iterdir():
                if path.suffix in _TEXT_SUFFIXES:
                    epub.writestr(path.name, path.read_bytes())
    yield base64.b64encode(packed.getvalue()).decode("ascii")


def _copy_texts(path: Path, epub: zipfile.ZipFile) -> None:
    with zipfile.ZipFile(path) as source:
        for name in source.namelist():
            if Path(name).suffix in _TEXT_SUFFIXES:
                epub.writestr(name, source.read(name))


def render_markdown(text: str, *, lines: bool) -> str:
    """Render Markdown as HTML; `lines`: keep all lines, not only explicit breaks."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"breaks": lines}).render(text))


def _parse_markdown(data: bytes, *, lines: bool = False) -> Iterator[str]:
    yield render_markdown(data.decode("utf-8", "surrogatepass"), lines=lines)


_PARSERS: dict[str, Callable[[bytes], Iterator[str]]] = {
    "pdf": _parse_pdf,
    "docx": _parse_docx,
    "mobi": _parse_mobi,
    "markdown": _parse_markdown,
    "verse": partial(_parse_markdown, lines=True),
    **{
        name: partial(_parse_with_pandoc, name=name)
        for name in ("fb2", "latex", "odt", "rtf")
    },
}


def _main(name: str, most: int) -> None:
    _limit_own_resources()
    try:
        data = sys.stdin.buffer.read()
        parse = _PARSERS[name]
        for text in parse(data):
            most -= len(text)
            if most < 0:
                _write({"long": True})
                return
            _write(text)
        _write({"done": True})
    except BookError as error:
        _write({"message": error.message, "hint": error.hint})
    except MemoryError:
        sys.exit(1)


def _write(value: Any) -> None:
    line = f"{json.dumps(value, ensure_ascii=False)}\n"
    sys.stdout.buffer.write(line.encode("utf-8", "surrogatepass"))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
