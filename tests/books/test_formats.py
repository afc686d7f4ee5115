"""Every format through the front door: HTML, Markdown, zips, JSONL, Word, PDF, and the refused."""

from __future__ import annotations

import json
import sys
import zipfile

import pytest

from pytest_memleak import builtin
from pytest_memleak.books import cut
from pytest_memleak.errors import BookError, RecordsError
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.records import Book


def told(manuscript):
    return [(one.title, one.paragraphs) for one in manuscript.chapters]


def memleak_read_book(path):
    return builtin.memleak_read_book(path, (), ())


PAGE = (
    "<html><head><title>A Book &amp; More</title><meta name='author' content='Ann Author'></head>"
    "<body><h2>One</h2><p>The <i>first</i> text.<p>More.<h2>Two</h2><p>The end.</body></html>"
)
CHAPTERS = [("One", ("The first text.", "More.")), ("Two", ("The end.",))]


@pytest.mark.parametrize("suffix", ["html", "htm", "xhtml", "HTML"])
def test_html(tmp_path, suffix):
    path = tmp_path / f"book.{suffix}"
    path.write_text(PAGE, encoding="utf-8")
    manuscript = memleak_read_book(path)
    assert (manuscript.title, manuscript.author) == ("A Book & More", "Ann Author")
    assert told(manuscript) == CHAPTERS
    (part,) = manuscript.parts
    assert (part.name, part.words, part.headings) == (path.name, 6, 2)


def test_markdown(tmp_path):
    path = tmp_path / "book.md"
    path.write_text(
        "---\ntitle: A Book\nauthor: 'Ann Author'\n---\n# One\n\nThe *first*\ntext.\n\nMore.\n\n"
        "Two\n===\n\nThe [end](http://x.org).\n",
        encoding="utf-8",
    )
    manuscript = memleak_read_book(path)
    assert (manuscript.title, manuscript.author) == ("A Book", "Ann Author")
    assert told(manuscript) == CHAPTERS


def test_markdown_of_more_than_eight_million_characters(tmp_path):
    path = tmp_path / "book.md"
    path.write_text("word " * 1_600_001, encoding="utf-8")
    with pytest.raises(BookError, match="has 8,000,005 characters") as caught:
        memleak_read_book(path)
    assert "pandoc" in caught.value.hint


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"1-0.txt": "CHAPTER I\n\nText."}, [("CHAPTER I", ("Text.",))]),
        ({"1-h/1-h.htm": PAGE, "1-h/images/a.png": "x", "1.txt": "other"}, CHAPTERS),
    ],
)
def test_a_zip_of_project_gutenbergs(tmp_path, members, expected):
    path = tmp_path / "book.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    assert told(memleak_read_book(path)) == expected


@pytest.mark.parametrize(
    ("names", "match", "hint"),
    [
        (["a.txt", "b.txt"], "contains 2 texts; expected one", "'a.txt', 'b.txt'"),
        (["a.png"], "contains neither .txt nor .html", "unpack it"),
    ],
)
def test_a_zip_that_is_not_one_book(tmp_path, names, match, hint):
    path = tmp_path / "book.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            made.writestr(name, "words")
    with pytest.raises(BookError, match=match) as caught:
        memleak_read_book(path)
    assert hint in caught.value.hint


def test_jsonl(tmp_path):
    path = tmp_path / "book.jsonl"
    rows = [{"excerpt_id": f"p_id{n}", "excerpt_text": f"text {n}"} for n in (2, 1)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    book = memleak_read_book(path)
    assert isinstance(book, Book)
    assert [one.text for one in book.excerpts] == ["text 1", "text 2"]
    path.write_text("{", encoding="utf-8")
    with pytest.raises(RecordsError, match="line 1: not JSON"):
        memleak_read_book(path)


# --- Word ----------------------------------------------------------------------------------

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def paragraph(*runs, style=None):
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}{''.join(runs)}</w:p>"


def run(text):
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


@pytest.fixture
def word(tmp_path):
    def make(body, **more):
        path = tmp_path / "book.docx"
        members = {
            "[Content_Types].xml": f'<Types xmlns="{TYPES}"><Default Extension="xml"'
            ' ContentType="application/xml"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{RELATIONS}"><Relationship Id="a"'
            f' Type="{OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>',
            "word/_rels/document.xml.rels": f'<Relationships xmlns="{RELATIONS}"><Relationship'
            f' Id="n" Type="{OFFICE}/footnotes" Target="footnotes.xml"/></Relationships>',
            "word/styles.xml": f'<w:styles {W}><w:style w:type="paragraph" w:styleId="H1">'
            '<w:name w:val="heading 1"/></w:style></w:styles>',
            "word/footnotes.xml": f'<w:footnotes {W}><w:footnote w:id="1">'
            f"{paragraph(run('of a note'))}</w:footnote></w:footnotes>",
            "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
            **more,
        }
        with zipfile.ZipFile(path, "w") as made:
            for name, data in members.items():
                made.writestr(name, data)
        return path

    return make


def test_word(word):
    pytest.importorskip("mammoth")
    note = '<w:r><w:footnoteReference w:id="1"/></w:r>'
    path = word(
        paragraph(run("One"), style="Heading1")
        + paragraph(run("The fir"), run("st"), note, run(" text."))
        + paragraph(run("More."))
        + paragraph(run("Two"), style="Heading1")
        + paragraph(run("The end."))
    )
    manuscript = memleak_read_book(path)
    assert told(manuscript) == CHAPTERS
    assert manuscript.parts[0].notes > 0


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"word/document.xml": "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"}, "has a document type"),
        ({"word/document.xml": "<w:document"}, "mammoth can't read this Word document"),
    ],
)
def test_word_documents_that_are_none(word, members, match):
    pytest.importorskip("mammoth")
    with pytest.raises(BookError, match=match) as caught:
        memleak_read_book(word("", **members))
    assert caught.value.hint


# --- PDF -----------------------------------------------------------------------------------


def pdf(pages):
    """A PDF with these lines on its pages, in Helvetica."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for lines in pages:
        shown = "".join(f"({line}) Tj 0 -16 Td " for line in lines)
        stream = f"BT /F1 12 Tf 72 720 Td {shown} ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents"
            f" {len(objects)} 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    data, places = "%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    data += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
        f"<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    )
    return data.encode("ascii")


@pytest.fixture
def read_pdf(tmp_path):
    pytest.importorskip("pypdfium2")

    def read(data):
        path = tmp_path / "book.pdf"
        path.write_bytes(data)
        return memleak_read_book(path)

    return read


def test_pdf(read_pdf):
    pages = [
        [
            f"A BOOK {number}",
            f"The {name} of this page went down to the sea in the morn-",
            "ing, and he came back to the house at the end of the night.",
            "He slept.",
            f"On the next day the {name} went again to the same old sea, and",
            f"did not come back to his {name}'s house for a year and a day",
            str(number),
        ]
        for number, name in enumerate(("sailor", "captain", "cook", "mate", "boy"), start=1)
    ]
    manuscript = read_pdf(pdf(pages))
    found = [text for one in manuscript.chapters for text in one.paragraphs]
    whole = " ".join(found)
    assert "A BOOK" not in whole
    assert whole.count("in the morning, and he") == 5
    assert "He slept." not in found  # it ends its paragraph
    assert found[0].endswith("He slept.")
    assert manuscript.warnings[0].endswith(
        "removed 10 running heads and page numbers and 5 hyphens at line ends"
    )


@pytest.mark.parametrize(
    ("data", "match", "hint"),
    [
        (pdf([[]]), "contains no words", "ocrmypdf"),
        (b"%PDF-1.4 and so on", "is not a readable PDF", "again"),
        (pdf([["word"]] * 3_001), "has 3,001 pages", "split"),
    ],
    # pytest puts a test's name into the environment, and whole files do not fit there.
    ids=["no words", "no PDF", "too long"],
)
def test_pdfs_that_are_refused(read_pdf, data, match, hint):
    with pytest.raises(BookError, match=match) as caught:
        read_pdf(data)
    assert hint in caught.value.hint


@pytest.mark.parametrize(("suffix", "package"), [("pdf", "pypdfium2"), ("docx", "mammoth")])
def test_without_the_extra(tmp_path, monkeypatch, suffix, package):
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / f"book.{suffix}"
    path.write_bytes(b"%PDF")
    with pytest.raises(BookError, match=f"needs the package '{package}'") as caught:
        memleak_read_book(path)
    assert "pytest-memleak[formats]" in caught.value.hint


# --- what other tools convert --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "tool"),
    [
        ("b.mobi", "a Kindle book", "ebook-convert b.mobi b.epub"),
        ("b.AZW3", "a Kindle book", "ebook-convert"),
        ("b.kfx", "KFX", "KFX Input"),
        ("b.tex", "LaTeX", "pandoc b.tex -o b.epub"),
        ("b.rtf", "RTF", "soffice"),
        ("b.doc", "an old Word document", "soffice --convert-to docx b.doc"),
    ],
)
def test_formats_that_are_refused_name_the_tool(tmp_path, name, kind, tool):
    path = tmp_path / name
    path.write_bytes(b"words")
    with pytest.raises(BookError, match=kind) as caught:
        memleak_read_book(path)
    assert tool in caught.value.hint


@pytest.mark.parametrize("suffix", ["txt", "md", "html"])
@pytest.mark.parametrize(
    ("data", "match", "hint"),
    [
        (b"PK\x03\x04 and so on", "is a zip, not text", ".epub"),
        (b"%PDF-1.7 and so on", "is PDF, not text", ".pdf"),
        (b"\xef\xbb\xbf{\\RTF1 words}", "is RTF, not text", "soffice"),
        (b"\xd0\xcf\x11\xe0 and so on", "is an old Office document", "docx"),
        (b"\x1f\x8b\x08 and so on", "is a gzip", "unpack"),
        (b"A Title".ljust(60, b"\0") + b"BOOKMOBI", "is a Kindle book", "ebook-convert"),
    ],
)
def test_no_file_under_a_texts_name_is_measured_as_one(tmp_path, suffix, data, match, hint):
    path = tmp_path / f"book.{suffix}"
    path.write_bytes(data)
    with pytest.raises(BookError, match=match) as caught:
        memleak_read_book(path)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "suffix", ["epub", "txt", "md", "html", "zip", "docx", "pdf", "json", "jsonl"]
)
def test_a_file_of_no_bytes_is_empty(tmp_path, suffix):
    path = tmp_path / f"book.{suffix}"
    path.touch()
    with pytest.raises((BookError, RecordsError), match="is empty"):
        memleak_read_book(path)


def test_what_nobody_knows_is_left_to_other_readers(tmp_path):
    assert memleak_read_book(tmp_path / "book.xyz") is None


def test_they_are_cut_as_any_book(tmp_path):
    path = tmp_path / "book.md"
    path.write_text("# One\n\n" + "All the words of it. " * 100, encoding="utf-8")
    assert len(cut(memleak_read_book(path))) == 1


@pytest.mark.parametrize("name", ["book.txt", "book.json"])
def test_only_a_book_of_several_documents_has_some_to_include(tmp_path, name):
    path = tmp_path / name
    rows = [{"excerpt_id": "p_id1", "excerpt_text": "text"}]
    path.write_text("some words" if name == "book.txt" else json.dumps(rows), encoding="utf-8")
    with pytest.raises(BookError, match="include and exclude apply to an EPUB only") as caught:
        Extensions().read_book(path, exclude=["chapter-1*"])
    assert caught.value.hint == "remove them"
