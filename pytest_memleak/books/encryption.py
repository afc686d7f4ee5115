"""Whether an EPUB is under DRM: encryption of anything but fonts (OCF 3.3, section 4.2.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from pytest_memleak.books.members import elements, parse_member
from pytest_memleak.errors import BookError

if TYPE_CHECKING:
    from lxml.etree import _Element

    from pytest_memleak.books.archive import Archive

__all__ = ["refuse_drm"]

_ENCRYPTION = "META-INF/encryption.xml"

# Fonts are scrambled with these so that they are not taken out of the book; no key is needed.
_FONT_OBFUSCATION = {
    "http://www.idpf.org/2008/embedding",
    "http://ns.adobe.com/pdf/enc#RC",
}
_FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".woff", ".woff2", ".eot", ".pfb", ".pfa", ".dfont")
_BOOK_SUFFIXES = (
    ".xhtml", ".html", ".htm", ".xht", ".xml", ".opf", ".ncx", ".css", ".svg", ".jpg", ".jpeg",
    ".png", ".gif", ".webp", ".js", ".smil", ".mp3", ".mp4", ".m4a",
)  # fmt: skip


def refuse_drm(archive: Archive) -> None:
    """Raise BookError where `META-INF/encryption.xml` names anything that is no font."""
    name = archive.find(_ENCRYPTION)
    if name is None:
        return
    for data in elements(parse_member(archive, name), "EncryptedData"):
        target, algorithm = _target(data), _algorithm(data)
        if not _is_font(target, algorithm):
            raise BookError(
                f"is under DRM: {_ENCRYPTION} says that {target or 'something'!r} is encrypted",
                place=archive.place,
                hint="use a copy without DRM",
            )


def _is_font(target: str, algorithm: str) -> bool:
    path = target.lower()
    if algorithm in _FONT_OBFUSCATION:
        return bool(path) and not path.endswith(_BOOK_SUFFIXES)
    return path.endswith(_FONT_SUFFIXES)


def _target(data: _Element) -> str:
    reference = next(elements(data, "CipherReference"), None)
    return unquote(reference.get("URI") or "") if reference is not None else ""


def _algorithm(data: _Element) -> str:
    """The method of the data itself, which comes before that of any key."""
    method = next(elements(data, "EncryptionMethod"), None)
    return (method.get("Algorithm") or "") if method is not None else ""
