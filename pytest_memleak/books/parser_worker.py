"""The subprocess that runs third-party parsers with limits on time and memory.

    python -P parser_worker.py FORMAT MOST < FILE

A megabyte of PDF can take gigabytes, and a C library can crash. The output is lines of JSON: the
texts, then `{"done": true}` or `{"failed": why}`. `MOST` is the maximum number of characters in the
output. This script imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

MOST_SECONDS = 20
MOST_MEBIBYTES = 480
MAX_PAGES = 3_000


def _set_limits() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # as on Windows
        import resource

        for what, most in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, MOST_SECONDS),
            (resource.RLIMIT_AS, MOST_MEBIBYTES << 20),
        ):
            hard = resource.getrlimit(what)[1]
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (least, least))


def _pdf(data: bytes) -> Iterator[str]:
    """Yield the text of each page, empty for an unreadable page."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise _Failure("locked" if "password" in str(error).lower() else "unreadable") from None
    if len(document) > MAX_PAGES:
        raise _Failure("pages", len(document))
    for number in range(len(document)):
        text = ""
        with contextlib.suppress(pypdfium2.PdfiumError):
            page = document[number]
            text = page.get_textpage().get_text_range()
            page.close()
        yield text


def _docx(data: bytes) -> Iterator[str]:
    """Yield the document as HTML, without its images."""
    import mammoth

    def no_image(_: object) -> list[object]:
        return []

    try:
        yield mammoth.convert_to_html(io.BytesIO(data), convert_image=no_image).value
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - mammoth raises errors of any kind
        raise _Failure(type(error).__name__) from None


def _markdown(data: bytes, *, lines: bool = False) -> Iterator[str]:
    from markdown_it import MarkdownIt

    yield MarkdownIt("commonmark", {"breaks": lines}).render(data.decode("utf-8", "surrogatepass"))


_PARSERS: dict[str, Callable[[bytes], Iterator[str]]] = {
    "pdf": _pdf,
    "docx": _docx,
    "markdown": _markdown,
    "verse": lambda data: _markdown(data, lines=True),
}


class _Failure(Exception):
    def __init__(self, why: str, number: int = 0) -> None:
        super().__init__(why)
        self.message = {"failed": why, "number": number}


def _main(name: str, most: int) -> None:
    _set_limits()
    try:
        for text in _within(most, _PARSERS[name](sys.stdin.buffer.read())):
            _write(text)
        _write({"done": True})
    except _Failure as failure:
        _write(failure.message)
    except MemoryError:
        sys.exit(1)


def _within(most: int, texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        most -= len(text)
        if most < 0:
            raise _Failure("long")
        yield text


def _write(value: Any) -> None:
    line = f"{json.dumps(value, ensure_ascii=False)}\n"
    sys.stdout.buffer.write(line.encode("utf-8", "surrogatepass"))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
