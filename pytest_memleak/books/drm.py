"""Whether an EPUB is under DRM (OCF 3.3, section 4.2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pytest_memleak.books.members import parse_member
from pytest_memleak.errors import BookError

if TYPE_CHECKING:
    from lxml.etree import _Element

    from pytest_memleak.books.archive import Archive

_ENCRYPTION = "META-INF/encryption.xml"
_RIGHTS = {"META-INF/rights.xml": "Adobe's DRM", "META-INF/sinf.xml": "Apple's"}

# Fonts are scrambled with these so that they are not taken out of the book; no key is needed.
_FONT_OBFUSCATION = {
    "http://www.idpf.org/2008/embedding",
    "http://ns.adobe.com/pdf/enc#RC",
}
_FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".woff", ".woff2", ".eot", ".pfb", ".pfa", ".dfont")
_BOOK_SUFFIXES = (
    ".xhtml", ".html", ".htm", ".xht", ".xml", ".opf", ".ncx", ".css", ".svg", ".jpg", ".jpeg",
    ".png", ".gif", ".webp", ".js", ".smil",
)  # fmt: skip
_MEDIA_SUFFIXES = (".mp3", ".mp4", ".m4a", ".m4v", ".mov", ".ogg", ".oga", ".ogv", ".opus", ".webm")


def refuse_drm(archive: Archive) -> None:
    """Raise BookError for the files of a DRM, and where anything is encrypted that is read.

    Fonts, sound and film are not: nobody reads them here.
    """
    for rights, maker in _RIGHTS.items():
        if archive.find(rights) is not None:
            raise _under_drm(archive, f"it has {rights}, as {maker} writes it")
    name = archive.find(_ENCRYPTION)
    if name is None:
        return
    for target, algorithm in _encrypted(parse_member(archive, name)):
        if not _is_no_text(target, algorithm):
            raise _under_drm(
                archive, f"{_ENCRYPTION} says that {target or 'something'!r} is encrypted"
            )


def _under_drm(archive: Archive, why: str) -> BookError:
    return BookError(f"is under DRM: {why}", location=archive.place, hint="use a copy without DRM")


def _is_no_text(target: str, algorithm: str) -> bool:
    path = target.lower()
    if algorithm in _FONT_OBFUSCATION:
        return bool(path) and not path.endswith(_BOOK_SUFFIXES)
    return path.endswith(_FONT_SUFFIXES + _MEDIA_SUFFIXES)


def _encrypted(root: _Element) -> Iterator[tuple[str, str]]:
    """What each `EncryptedData` is about and its method, which comes before that of any key."""
    target = algorithm = ""
    begun = False
    for element in root.iter():
        name = str(element.tag).rpartition("}")[2].lower()
        if name == "encrypteddata":
            if begun:
                yield target, algorithm
            target, algorithm, begun = "", "", True
        elif name == "cipherreference":
            target = target or unquote(element.get("URI") or "")
        elif name == "encryptionmethod":
            algorithm = algorithm or element.get("Algorithm") or ""
    if begun:
        yield target, algorithm
