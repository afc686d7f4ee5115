"""EPUBs made to order, good ones and bad ones."""

import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from epub_texts import page

from pytest_memleak.books.epub import read_epub
from pytest_memleak.errors import BookError

XHTML = "application/xhtml+xml"
CONTAINER = (
    '<?xml version="1.0"?><container version="1.0"'
    ' xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/content.opf" '
    'media-type="application/oebps-package+xml"/>'
    "</rootfiles></container>"
)


@dataclass
class EpubMaker:
    """Writes an EPUB with `documents` as its spine; everything else can be overridden."""

    folder: Path
    documents: dict[str, str | bytes] = field(default_factory=dict)
    spine: list[str] | None = None  # ids, or elements
    manifest: str = ""
    metadata: str = "<dc:title>A Book</dc:title><dc:creator>An Author</dc:creator>"
    after_spine: str = ""
    files: dict[str, str | bytes] = field(default_factory=dict)
    leave_out: set[str] = field(default_factory=set)
    package: str | None = None
    nav: str | None = None  # the body of a navigation document
    ncx: str | None = None

    def __post_init__(self):
        items = [(name, name, XHTML, "") for name in self.documents]
        if self.nav is not None:
            items.append(("nav", "nav.xhtml", XHTML, ' properties="nav"'))
            self.files.setdefault("OEBPS/nav.xhtml", page(self.nav))
        if self.ncx is not None:
            items.append(("ncx", "toc.ncx", "application/x-dtbncx+xml", ""))
            self.files["OEBPS/toc.ncx"] = self.ncx
        spine = self.documents if self.spine is None else self.spine
        references = [
            one if "<" in one else f'<itemref idref="{one}"/>' for one in spine
        ]
        manifest = "".join(
            f'<item id="{name}" href="{href}" media-type="{kind}"{more}/>'
            for name, href, kind, more in items
        )
        self.package = self.package or (
            '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" '
            'version="3.0">'
            "<metadata "
            f'xmlns:dc="http://purl.org/dc/elements/1.1/">{self.metadata}</metadata>'
            f"<manifest>{manifest}{self.manifest}</manifest>"
            f"<spine>{''.join(references)}</spine>{self.after_spine}</package>"
        )

    def write(self):
        members = {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": CONTAINER,
            "OEBPS/content.opf": self.package,
        }
        members |= {f"OEBPS/{key}": value for key, value in self.documents.items()}
        members |= self.files
        path = self.folder / "book.epub"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as epub:
            for member, data in members.items():
                if member not in self.leave_out:
                    epub.writestr(member, data)
        return path


@pytest.fixture
def new_epub(tmp_path):
    """Make an EpubMaker from documents by name: text of a body, or bytes as they are."""

    def make(documents=None, **settings):
        given = {"one.xhtml": "<p>Some words.</p>"} if documents is None else documents
        pages = {
            name: body
            if isinstance(body, bytes) or body.startswith("<?xml")
            else page(body)
            for name, body in given.items()
        }
        return EpubMaker(tmp_path, documents=pages, **settings)

    return make


@pytest.fixture
def patch_member():
    """Overwrite a field in a member's entry of the zip's table of contents."""
    fields = {"flags": (8, "<H"), "method": (10, "<H"), "size": (24, "<L")}

    def patch(path, member, name, value):
        data = bytearray(path.read_bytes())
        offset, form = fields[name]
        struct.pack_into(form, data, data.rindex(member.encode()) - 46 + offset, value)
        path.write_bytes(data)

    return patch


@pytest.fixture
def text_of(new_epub):
    """The paragraphs of an EPUB at a path, or of one made of these documents and settings."""

    def read(made=None, **settings):
        path = made if isinstance(made, Path) else new_epub(made, **settings).write()
        chapters = read_epub(path).chapters
        return [paragraph for chapter in chapters for paragraph in chapter.paragraphs]

    return read


@pytest.fixture
def refused(new_epub):
    def check(match, made=None, hint="", **settings):
        path = made if isinstance(made, Path) else new_epub(made, **settings).write()
        with pytest.raises(BookError, match=match) as caught:
            read_epub(path)
        assert caught.value.location == str(path)
        assert hint in (caught.value.hint or "")
        return str(caught.value)

    return check
