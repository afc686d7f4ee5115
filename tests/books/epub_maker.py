"""EPUBs made to order."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from epub_texts import page

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
