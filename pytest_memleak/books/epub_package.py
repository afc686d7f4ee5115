"""An EPUB's package file, repaired so that ebooklib can read it.

ebooklib rejects the whole book if any manifest item is missing, remote or has a
fragment, a namespace is wrong, or the navigation is malformed. So it gets a tidy
package: the container's first rootfile with the spine's documents and the navigation.
Warnings list what was dropped.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from pytest_memleak.books.archive import Archive, outside_zip_error
from pytest_memleak.books.text_decoding import elements, legible, parse_xml
from pytest_memleak.errors import BookError

if TYPE_CHECKING:
    from lxml.etree import _Element

# A package of 20,000 items has about 3 MB; the parsed tree takes about twenty times
# that.
_MAX_BYTES = 16 << 20


def parse_member(archive: Archive, name: str) -> _Element:
    """Parse a small XML file leniently; return its root, or raise BookError."""
    root = parse_xml(archive.read(name, limit=_MAX_BYTES))
    if root is None:
        raise _not_an_epub_error(archive, f"{name!r} isn't XML")
    return root


def _not_an_epub_error(archive: Archive, problem: str) -> BookError:
    return BookError(problem, location=archive.place, hint="check that it is an EPUB")


# --- the package
# --------------------------------------------------------------------------

# Marks the navigation document; ebooklib would parse it under its own property, and
# often fail.
NAVIGATION = "navigation-document"

_CONTAINER = "META-INF/container.xml"
_OPF = "http://www.idpf.org/2007/opf"
_DC = "http://purl.org/dc/elements/1.1/"
_PACKAGE_TYPE = "application/oebps-package+xml"
_DOCUMENT = "application/xhtml+xml"
_DOCUMENT_TYPES = {_DOCUMENT, "text/html", "text/x-oeb1-document"}
_DRAWING = "image/svg+xml"
_DOCUMENT_SUFFIXES = (".xhtml", ".html", ".htm", ".xht")
_NCX_TYPE = "application/x-dtbncx+xml"
_TIDY_NAME = "package.opf"
_TIDY_CONTAINER = f"""<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="{_TIDY_NAME}" media-type="{_PACKAGE_TYPE}"/>
</rootfiles></container>""".encode()
_SHOWN = 3

# More characters than any title, more authors than any book.
_MOST_TEXT = 1_000
_MOST_ELEMENTS = 100
_MOST_FALLBACKS = 10


# Examples of each kind of warning.
_Notes = defaultdict[str, list[str]]


@dataclass(frozen=True, slots=True)
class RepairedPackage:
    """The files that describe an EPUB, by the names that ebooklib reads, and warnings.

    The manifest has the documents' names from the archive's root; `ncx` is the name of
    EPUB 2's table of contents there, if any.
    """

    files: dict[str, bytes] = field(repr=False)
    ncx: str | None
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Item:
    """A manifest item; `name`: the archive's member of a document or contents."""

    id: str
    href: str
    media_type: str
    properties: str
    fallback: str
    name: str | None

    @property
    def is_document(self) -> bool:
        """Whether it is XHTML or HTML."""
        path = self.href.lower().partition("#")[0]
        return self.media_type in _DOCUMENT_TYPES or path.endswith(_DOCUMENT_SUFFIXES)


def repair_package(archive: Archive) -> RepairedPackage:
    """Read and repair the package file that the container names first.

    Raises BookError without a package file, a spine or one of its documents, and for a
    path outside the archive.
    """
    notes: _Notes = defaultdict(list)
    name = _find_package_file(archive, notes)
    root = parse_member(archive, name)
    items = _read_manifest(root, archive, posixpath.dirname(name))
    spine = _read_spine(root, items, archive, notes)
    package = _write_package(root, items, spine, posixpath.dirname(name))
    files = {_CONTAINER: _TIDY_CONTAINER, _TIDY_NAME: package}
    ncx = next(
        (item.name for item in items.values() if item.media_type == _NCX_TYPE),
        None,
    )
    return RepairedPackage(files, ncx, _warnings(notes))


# --- the container
# -------------------------------------------------------------------------


def _find_package_file(archive: Archive, notes: _Notes) -> str:
    container = archive.find(_CONTAINER)
    if container is None:
        packages = [name for name in archive.names if name.lower().endswith(".opf")]
        if not packages:
            raise _not_an_epub_error(archive, "the zip contains no package file (OPF)")
        notes[f"{_CONTAINER} is missing; used the first package file instead"].append(
            packages[0],
        )
        return packages[0]
    rootfiles = list(elements(parse_member(archive, container), "rootfile"))
    rootfiles.sort(key=lambda rootfile: rootfile.get("media-type") != _PACKAGE_TYPE)
    path = rootfiles[0].get("full-path") if rootfiles else None
    if not path:
        raise _not_an_epub_error(archive, f"{_CONTAINER} names no package file (OPF)")
    for address in (path, unquote(path)):
        name = archive.find(_archive_path(address, archive))
        if name:
            return name
    raise _not_an_epub_error(
        archive,
        f"the package file (OPF) {path!r} that {_CONTAINER} names isn't in the zip",
    )


# --- manifest and spine
# --------------------------------------------------------------------


def _read_manifest(
    root: _Element,
    archive: Archive,
    folder: str,
) -> dict[str, _Item]:
    items: dict[str, _Item] = {}
    # Anywhere in the file: searching each of many nested manifests would take too long.
    for element in elements(root, "item"):
        item = _Item(
            id=element.get("id") or "",
            href=(element.get("href") or "").strip(),
            media_type=(element.get("media-type") or "").strip().lower(),
            properties=element.get("properties") or "",
            fallback=element.get("fallback") or "",
            name=None,
        )
        if item.is_document or item.media_type in {_NCX_TYPE, _DRAWING}:
            item.name = _member_of_href(item.href, archive, folder)
        if item.id:
            items.setdefault(item.id, item)
    return items


def _member_of_href(
    href: str,
    archive: Archive,
    folder: str,
) -> str | None:
    """Return the archive's name of a manifest item's address, if it is there."""
    # A name may contain "#" or "%", so try the literal address first.
    path = href.partition("#")[0]
    for address in (href, unquote(href), path, unquote(path)):
        if not address:
            continue
        name = archive.find(_archive_path(address, archive, folder))
        if name:
            return name
    return None


def _joined(path: str, folder: str) -> str:
    path = path.replace("\\", "/")
    if path.startswith("/"):
        return posixpath.normpath(path[1:])
    return posixpath.normpath(posixpath.join(folder, path))


def _archive_path(
    path: str,
    archive: Archive,
    folder: str = "",
) -> str:
    """Return a path from the archive's root. Raises BookError if it leads outside."""
    joined = _joined(path, folder)
    if joined == ".." or joined.startswith("../"):
        raise outside_zip_error(path, archive.place)
    return joined


def _read_spine(
    root: _Element,
    items: dict[str, _Item],
    archive: Archive,
    notes: _Notes,
) -> list[tuple[_Item, str]]:
    """Return the documents to read, in order, each with its `linear`."""
    spines = elements(root, "spine")
    references = list(elements(root, "itemref"))
    if next(spines, None) is None or not references:
        raise BookError(
            "the package has no spine, so the reading order is unknown",
            location=archive.place,
            hint="repair the EPUB with an editor such as Sigil",
        )
    spine: dict[str, tuple[_Item, str]] = {}
    missing: list[str] = []
    for reference in references:
        idref = reference.get("idref") or ""
        item = _document(idref, items)
        if item is None:
            kind = "aren't XHTML" if idref in items else "aren't in the manifest"
            notes[f"left out spine items that {kind}"].append(idref)
        elif item.name and item.name in spine:
            notes["documents listed twice in the spine were read only once"].append(
                item.name,
            )
        elif item.name:
            linear = (reference.get("linear") or "yes").strip().lower()
            spine[item.name] = (item, linear)
        else:
            missing.append(repr(item.href[:80]))
    if missing:
        raise BookError(
            f"documents of the spine ({len(missing):,}) are missing from the zip: "
            + ", ".join(missing[:_SHOWN]),
            location=archive.place,
            hint="use a complete copy, or repair it with an editor such as Sigil",
        )
    if not spine:
        raise BookError(
            "no document of the spine can be read",
            location=archive.place,
            hint="; ".join(_warnings(notes)),
        )
    return list(spine.values())


def _document(idref: str, items: dict[str, _Item]) -> _Item | None:
    """Return the spine's item, or the first XHTML document among its fallbacks.

    Without one, a drawing is the page itself.
    """
    item = first = items.get(idref)
    for _ in range(_MOST_FALLBACKS):
        if item is None:
            break
        if item.is_document:
            return item
        item = items.get(item.fallback)
    return first if first and first.media_type == _DRAWING else None


# --- the tidy package
# ----------------------------------------------------------------------


def _write_package(
    root: _Element,
    items: dict[str, _Item],
    spine: list[tuple[_Item, str]],
    folder: str,
) -> bytes:
    from lxml import etree

    package = etree.Element(f"{{{_OPF}}}package", nsmap={"opf": _OPF, "dc": _DC})
    package.append(_metadata(root))
    manifest = etree.SubElement(package, f"{{{_OPF}}}manifest")
    new_spine = etree.SubElement(package, f"{{{_OPF}}}spine")
    needed = {item.id: item for item, _ in spine}
    for item in items.values():
        if _is_navigation(item):
            needed[item.id] = item
    for item in needed.values():
        attributes = {
            "id": item.id,
            "href": quote(item.name or ""),
            "media-type": _DOCUMENT,
        }
        if _is_navigation(item):
            attributes["properties"] = NAVIGATION
        etree.SubElement(manifest, f"{{{_OPF}}}item", attributes)
    for item, linear in spine:
        etree.SubElement(
            new_spine,
            f"{{{_OPF}}}itemref",
            {"idref": item.id, "linear": linear},
        )
    guide = etree.SubElement(package, f"{{{_OPF}}}guide")
    for reference in elements(root, "reference"):
        href = posixpath.normpath(
            posixpath.join(folder, unquote(reference.get("href") or "")),
        )
        etree.SubElement(
            guide,
            f"{{{_OPF}}}reference",
            {"type": reference.get("type") or "", "href": href},
        )
    return etree.tostring(package, encoding="utf-8")


def _is_navigation(item: _Item) -> bool:
    return "nav" in item.properties.split() and item.name is not None


def _metadata(root: _Element) -> _Element:
    """Return language, titles (main ones first), and creators who are authors."""
    from lxml import etree

    metadata = etree.Element(f"{{{_OPF}}}metadata", nsmap={"opf": _OPF, "dc": _DC})
    refined = _refinements(root)
    titles = _first_nonempty_elements(root, "title")
    titles.sort(key=lambda title: not _is_main_title(title, refined))
    creators = _first_nonempty_elements(root, "creator")
    authors = [creator for creator in creators if _is_author(creator, refined)]
    languages = islice(elements(root, "language"), 1)
    chosen_by_name = (
        ("title", titles),
        ("creator", authors or creators),
        ("language", languages),
    )
    for name, chosen in chosen_by_name:
        for element in chosen:
            etree.SubElement(metadata, f"{{{_DC}}}{name}").text = _text(element)
    return metadata


# Values of `<meta refines="#id" property="p">` elements, by (id, p).
_Refinements = dict[tuple[str | None, str], set[str | None]]


def _first_nonempty_elements(root: _Element, name: str) -> list[_Element]:
    """Return the first elements of that name, without empty ones."""
    first = islice(elements(root, name), _MOST_ELEMENTS)
    return [element for element in first if _text(element)]


def _is_main_title(title: _Element, refined: _Refinements) -> bool:
    key = (title.get("id"), "title-type")
    types = refined.get(key, {"main"})
    return types == {"main"}


def _is_author(creator: _Element, refined: _Refinements) -> bool:
    """Whether a creator has the role of an author, or none."""
    role = creator.get(f"{{{_OPF}}}role") or creator.get("role")
    if role is not None:
        return role == "aut"
    roles = refined.get((creator.get("id"), "role"))
    return not roles or "aut" in roles


def _refinements(root: _Element) -> _Refinements:
    refined: _Refinements = {}
    for meta in elements(root, "meta"):
        target = meta.get("refines")
        name = meta.get("property")
        if target and name:
            key = (target.lstrip("#"), name)
            values = refined.setdefault(key, set())
            values.add(_text(meta))
    return refined


def _text(element: _Element) -> str:
    pieces = islice(element.itertext(), _MOST_TEXT)
    joined = "".join(map(str, pieces))
    text = joined[:_MOST_TEXT]
    return " ".join(legible(text).split())


def _warnings(notes: _Notes) -> tuple[str, ...]:
    warnings: list[str] = []
    for kind, examples in notes.items():
        # repr escapes control characters, which a terminal would obey.
        shown = [repr(example[:80]) for example in examples[:_SHOWN]]
        if len(examples) > _SHOWN:
            shown.append("...")
        warnings.append(f"{kind} ({len(examples):,}): {', '.join(shown)}")
    return tuple(warnings)
