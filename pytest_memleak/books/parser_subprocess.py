"""Third-party parsers in a subprocess with caps on time and memory.

    parse_in_subprocess("pdf", data, budget=budget, of="characters of text")

A megabyte of PDF can take gigabytes, and a C library can crash. The subprocess reads a file from
stdin and writes lines of JSON: the texts, then an object, unless it crashes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

from pytest_memleak.books.archive import Amount, Budget, unreadable
from pytest_memleak.errors import BookError

Format = Literal["pdf", "docx", "markdown", "verse"]

_MAX_PAGES = 3_000
_MOST_SECONDS = 20
_MOST_MEBIBYTES = 480

# Wall-clock seconds, for systems without CPU limits and busy machines.
_DEADLINE = 30 * _MOST_SECONDS


def parse_in_subprocess(name: Format, data: bytes, *, budget: Budget, of: Amount) -> list[str]:
    """Parse the bytes of a file in a subprocess and return its texts.

    of: the amount of the budget that caps them; nothing is spent.

    Raises BookError, naming the budget's place, for a file that the parser can't read, for more
    than the budget has left, for over 20 s of processor time or 480 MiB, and for a crash.
    """
    place, most = str(budget.place), budget.left(of)
    lines = _lines(name, data, place, most)
    last = json.loads(lines.pop()) if lines else {}
    if not isinstance(last, dict) or not last:
        raise _cap_error(place)
    if "long" in last:
        budget.allow(most + 1, of)
    if "message" in last:
        raise BookError(last["message"], location=place, hint=last["hint"])
    return [json.loads(line) for line in lines]


def _lines(name: str, data: bytes, place: str, most: int) -> list[str]:
    command = [sys.executable, "-P", "-m", __name__, name, str(most)]
    # The subprocess must import the same packages.
    paths = os.pathsep.join(map(os.path.abspath, sys.path))
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths},
            timeout=_DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _cap_error(place) from None
    except OSError as error:
        raise unreadable(error, place) from None
    return done.stdout.decode("utf-8", "surrogatepass").split("\n")[:-1]


def _cap_error(place: str) -> BookError:
    return BookError(
        f"can't be read within {_MOST_SECONDS} s of CPU time and {_MOST_MEBIBYTES} MiB",
        location=place,
        hint="the file is damaged or hostile: use a different edition, an EPUB or plain text",
    )


# --- in the subprocess ---------------------------------------------------------------------


def _set_limits() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # as on Windows
        import resource

        for what, most in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, _MOST_SECONDS),
            (resource.RLIMIT_AS, _MOST_MEBIBYTES << 20),
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
        if "password" in str(error).lower():
            raise BookError("is password-protected", hint="unlock it first") from None
        raise BookError("isn't a readable PDF", hint="download the file again") from None
    if len(document) > _MAX_PAGES:
        raise BookError(
            f"has {len(document):,} pages; the maximum is {_MAX_PAGES:,}",
            hint="if this is a collection, split it into one file per book",
        )
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
        raise BookError(
            f"mammoth can't read this Word document ({type(error).__name__})",
            hint="save it again as .docx, or as .txt",
        ) from None


def render_markdown(text: str, *, lines: bool) -> str:
    """Render Markdown as HTML; `lines`: keep every line, not only explicit line breaks."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"breaks": lines}).render(text))


def _markdown(data: bytes, *, lines: bool = False) -> Iterator[str]:
    yield render_markdown(data.decode("utf-8", "surrogatepass"), lines=lines)


_PARSERS: dict[str, Callable[[bytes], Iterator[str]]] = {
    "pdf": _pdf,
    "docx": _docx,
    "markdown": _markdown,
    "verse": lambda data: _markdown(data, lines=True),
}


def _main(name: str, most: int) -> None:
    _set_limits()
    try:
        for text in _PARSERS[name](sys.stdin.buffer.read()):
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
