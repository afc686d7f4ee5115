"""Every format through the front door: HTML, Markdown, zips, JSONL, Word, PDF, and the refused."""

import json
import re
import sys
import zipfile

import pytest

from pytest_memleak import builtin
from pytest_memleak.books.excerpts import cut
from pytest_memleak.errors import BookError, RecordsError
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.records import Book


def told(manuscript):
    return [(one.title, one.paragraphs) for one in manuscript.chapters]


@pytest.fixture
def read(tmp_path):
    """Reads a book of this name: text, bytes, rows, or members of a zip."""

    def read_book(name, content):
        path = tmp_path / name
        if isinstance(content, dict):
            with zipfile.ZipFile(path, "w") as made:
                for member, data in content.items():
                    made.writestr(member, data)
        else:
            if isinstance(content, list):
                content = "\n".join(map(json.dumps, content))
            path.write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        return builtin.memleak_read_book(path, (), ())

    return read_book


@pytest.fixture
def refuse(read):
    def check(name, content, match, hint=""):
        with pytest.raises((BookError, RecordsError), match=match) as caught:
            read(name, content)
        assert hint in (caught.value.hint or "")

    return check


PAGE = (
    "<html><head><title>A Book &amp; More</title><meta name='author' content='Ann "
    "Author'></head>"
    "<body><h2>One</h2><p>The <i>first</i> text.<p>More.<h2>Two</h2><p>The "
    "end.</body></html>"
)
CHAPTERS = [("One", ("The first text.", "More.")), ("Two", ("The end.",))]
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


@pytest.mark.parametrize("suffix", ["html", "htm", "xhtml", "HTML"])
def test_an_html_page_is_read_with_title_author_and_chapters(read, suffix):
    manuscript = read(f"book.{suffix}", PAGE)
    assert (manuscript.title, manuscript.author) == ("A Book & More", "Ann Author")
    assert told(manuscript) == CHAPTERS
    (part,) = manuscript.parts
    assert (part.name, part.words, part.headings) == (f"book.{suffix}", 6, 2)


def test_markdown_is_read_with_its_header_and_headings(read):
    text = (
        "---\ntitle: A Book\nauthor: 'Ann Author'\n---\n# One\n\nThe "
        "*first*\ntext.\n\nMore.\n\n"
        "Two\n===\n\nThe [end](http://x.org).\n"
    )
    manuscript = read("book.md", text)
    assert (manuscript.title, manuscript.author) == ("A Book", "Ann Author")
    assert told(manuscript) == CHAPTERS
    assert len(cut(read("book.md", "# One\n\n" + "All the words of it. " * 100))) == 1


def test_markdown_over_eight_million_characters_is_rejected(refuse):
    refuse("book.md", "word " * 1_600_001, "has 8,000,005 characters", "pandoc")


def test_paper_records_are_a_book_in_the_order_of_their_ids(read):
    rows = [{"excerpt_id": f"p_id{n}", "excerpt_text": f"text {n}"} for n in (2, 1)]
    book = read("book.jsonl", rows)
    assert isinstance(book, Book)
    assert [one.text for one in book.excerpts] == ["text 1", "text 2"]


def test_rows_that_are_not_json_are_rejected(refuse):
    refuse("book.jsonl", "{", "line 1: not JSON")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"1-0.txt": "CHAPTER I\n\nText."}, [("CHAPTER I", ("Text.",))]),
        ({"1-h/1-h.htm": PAGE, "1-h/images/a.png": "x", "1.txt": "other"}, CHAPTERS),
    ],
)
def test_the_only_text_in_a_zip_is_read(read, refuse, members, expected):
    assert told(read("book.zip", members)) == expected
    two = {"a.txt": "words", "b.txt": "words"}
    refuse("book.zip", two, "contains 2 text files; expected one", "'a.txt', 'b.txt'")
    refuse("book.zip", {"a.png": "x"}, "contains neither .txt nor .html", "unpack it")


def paragraph(*runs, style=None):
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}{''.join(runs)}</w:p>"


def run(text):
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


@pytest.fixture
def word():
    pytest.importorskip("mammoth")

    def make(document):
        text = paragraph(run("of a note")) if "footnoteReference" in document else ""
        note = f'<w:footnote w:id="1">{text}</w:footnote>'
        return {
            "word/footnotes.xml": f"<w:footnotes {W}>{note}</w:footnotes>",
            "word/document.xml": document,
        }

    return make


def test_a_word_document_is_read_with_its_headings(read, word):
    note = '<w:r><w:footnoteReference w:id="1"/></w:r>'
    body = (
        paragraph(run("One"), style="Heading1")
        + paragraph(run("The fir"), run("st"), note, run(" text."))
        + paragraph(run("More."))
        + paragraph(run("Two"), style="Heading1")
        + paragraph(run("The end."))
    )
    document = f"<w:document {W}><w:body>{body}</w:body></w:document>"
    manuscript = read("book.docx", word(document))
    assert told(manuscript) == CHAPTERS
    assert manuscript.parts[0].notes > 0


LOST = "The keeper climbed the stairs."
BOX = f"<w:drawing><w:txbxContent>{paragraph(run(LOST))}</w:txbxContent></w:drawing>"
MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"


def test_text_of_word_elements_is_read_or_its_loss_is_an_error(read, refuse, word):
    ruby = f"<w:ruby><w:rt>{run('gloss')}</w:rt><w:rubyBase>{run('base')}</w:rubyBase></w:ruby>"
    field = f"<w:fldSimple w:instr='X'>{run(' field')}</w:fldSimple><w:bdo>{run(' bdo')}</w:bdo>"
    document = f"<w:document {W}><w:body>{{}}</w:body></w:document>"
    body = paragraph(f"<w:r>{ruby}</w:r>", field)
    assert told(read("a.docx", word(document.format(body)))) == [
        (None, ("base field bdo",))
    ]
    box = f"<m:AlternateContent xmlns:m='{MC}'><m:Choice>{BOX}</m:Choice></m:AlternateContent>"
    lost = document.format(paragraph(run("Text.")) + paragraph(f"<w:r>{box}</w:r>"))
    refuse(
        "b.docx",
        word(lost),
        r"mammoth leaves out \d\d letters .* paragraph 3",
        "text boxes",
    )


@pytest.mark.parametrize(
    ("document", "match", "hint"),
    [
        (
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
            "has a document type",
            "the file is hostile",
        ),
        ("<w:document", "mammoth can't read this Word document", "save it again"),
    ],
)
def test_invalid_word_documents_are_rejected(refuse, word, document, match, hint):
    refuse("book.docx", word(document), match, hint)


def pdf(pages, outline=()):
    """A PDF in Helvetica; readers find its objects by themselves.

    pages: their lines, of 12 points one beneath the other, or each with size, left edge
        and height; {1} is raised
    outline: titles, each with its page and height
    """
    first = 4 + len(outline)
    kids = " ".join(f"{first + 1 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        f"<</Type/Catalog/Pages 2 0 R/Outlines<</First 4 0 R/Last {first - 1} 0 R>>>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, (title, page, height) in enumerate(outline, start=5):
        following = f"/Next {number} 0 R" if number < first else ""
        target = f"{first + 1 + 2 * page} 0 R"
        objects.append(
            f"<</Title({title})/Dest[{target}/XYZ 72 {height} 0]{following}>>"
        )
    for lines in pages:
        placed = (
            line if isinstance(line, tuple) else (12, 72, 720 - 16 * at, line)
            for at, line in enumerate(lines)
        )
        shown = "".join(
            f"/F {size} Tf 1 0 0 1 {x} {y} Tm ({text}) Tj "
            for size, x, y, text in placed
        )
        stream = re.sub(r"\{(\d)\}", r") Tj 5 Ts (\1) Tj 0 Ts (", f"BT {shown} ET")
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {len(objects)} "
            "0 R"
            "/Resources<</Font<</F 3 0 R>>>>>>"
        )
    body = "".join(
        f"{number} 0 obj\n{one}\nendobj\n" for number, one in enumerate(objects, 1)
    )
    return f"%PDF-1.4\n{body}trailer<</Size {len(objects) + 1}/Root 1 0 R>>\n%%EOF\n".encode()


def test_a_pdf_is_read_without_running_heads_and_page_numbers(read):
    pytest.importorskip("pypdfium2")
    lines = (
        "A BOOK {0}\nThe {1} of this page went down to the sea in the morn-\n"
        "ing, and he came back to the house at the end of the night.\nHe slept.\n"
        "On the next day the {1} went again to the same old sea, and\n"
        "did not come back to his {1}'s house for a year and a day\n{0}"
    )
    names = enumerate(("sailor", "captain", "cook", "mate", "boy"), start=1)
    pages = [lines.format(number, name).split("\n") for number, name in names]
    manuscript = read("book.pdf", pdf(pages))
    found = [text for one in manuscript.chapters for text in one.paragraphs]
    whole = " ".join(found)
    assert "A BOOK" not in whole
    assert whole.count("in the morning, and he") == 5
    assert "He slept." not in found  # it ends its paragraph
    assert found[0].endswith("He slept.")
    assert manuscript.warnings[0].endswith(
        "removed running heads and page numbers (10), line-end hyphens (5), and lines "
        "of footnotes (0)"
    )


def novel_pdf():
    """Make a PDF of two chapters, with an outline, notes, initials and hyphens."""
    pytest.importorskip("pypdfium2")
    pages = [
        [
            (20, 200, 700, "One"),
            (30, 72, 640, "I"),
            (
                12,
                90,
                650,
                "was at 8:35 in the woods, where no fish was seen and no lighthouse-",
            ),
            (12, 72, 634, "keeper, and after me{1} there came the well-"),
            (
                12,
                72,
                618,
                "known doctor of the lighthouse, who had come to stay for the sum-",
            ),
            (12, 72, 602, "mer.{2}"),
            (12, 84, 586, "He stayed."),
            (9, 72, 100, "1 So he told me, at least, when we had met in"),
        ],
        [
            (30, 72, 720, "T"),
            (12, 90, 730, "he well-known keeper of it went on."),
            (12, 84, 698, "The summer was over."),
            (9, 72, 110, "the street."),
            (9, 72, 100, "2 It was a short one."),
        ],
        [
            (12, 72, 720, "Two"),
            (12, 72, 690, "It is all over now."),
            (8, 72, 600, "Not a note."),
        ],
        [(12, 72, 720, "Copyright 2020 by Ann Author. All rights reserved.")],
    ]
    outline = [("One", 0, 720), ("Two", 2, 740), ("Copyright", 3, 740)]
    return pdf(pages, outline)


def test_a_pdfs_initials_join_and_its_line_end_hyphens_go(read):
    manuscript = read("book.pdf", novel_pdf())
    assert told(manuscript) == [
        (
            "One",
            (
                "I was at 8:35 in the woods, where no fish was seen and no "
                "lighthouse-keeper, and after me there came the well-known doctor of "
                "the lighthouse, who had come to stay for the summer.",
                "He stayed.",
                "The well-known keeper of it went on.",
                "The summer was over.",
            ),
        ),
        ("Two", ("It is all over now.", "Not a note.")),
    ]


def test_notes_at_the_foot_of_a_pdfs_pages_are_kept_apart(read):
    manuscript = read("book.pdf", novel_pdf())
    notes = (
        "1 So he told me, at least, when we had met in",
        "the street. 2 It was a short one.",
    )
    assert [one.paragraphs for one in manuscript.excluded] == [notes]


def test_a_pdfs_outline_divides_it_into_documents(read, tmp_path):
    data = novel_pdf()
    manuscript = read("book.pdf", data)
    assert [(one.name, one.kept) for one in manuscript.parts] == [
        ("page 1", True),
        ("page 3", True),
        ("page 4", False),
    ]
    (tmp_path / "book.pdf").write_bytes(data)
    chosen = Extensions().read_book(tmp_path / "book.pdf", exclude=["page 3"])
    assert [one.title for one in chosen.chapters] == ["One"]


def test_headings_divide_a_pdf_without_an_outline(read):
    pytest.importorskip("pypdfium2")
    size, text = 12, "The keeper went down to the sea in the morning, and came back."
    pages = []
    for number in (1, 2, 3):
        lines = [(20, 72, 720, f"Chapter {number}"), (16, 72, 690, "The Sea")]
        lines += [(size, 72, 650 - 16 * at, text) for at in range(9)]
        pages.append(lines)
    pages.append(
        [(20, 72, 720, "About the Author"), (size, 72, 650, "She lives there.")]
    )
    manuscript = read("book.pdf", pdf(pages))
    assert [(part.name, part.kept) for part in manuscript.parts] == [
        ("page 1", True),
        ("page 2", True),
        ("page 3", True),
        ("page 4", False),
    ]
    titles = [chapter.title for chapter in manuscript.chapters]
    assert titles == [f"Chapter {number}: The Sea" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    "suffix", ["epub", "docx", "zip", "mobi", "fb2", "lrc", "jsonl"]
)
def test_a_pdf_under_another_name_is_named(refuse, suffix):
    if suffix == "mobi":
        pytest.importorskip("mobi")
    refuse(f"book.{suffix}", pdf([["word"]]), "is PDF|not JSON", "")


def test_a_book_under_readium_s_drm_is_named(new_epub, refused):
    locked = new_epub(files={"META-INF/license.lcpl": "{}"}).write()
    refused(
        "it contains META-INF/license.lcpl, a DRM file written by Readium LCP", locked
    )


@pytest.mark.parametrize(
    ("data", "match", "hint"),
    [
        (pdf([[]]), "contains no words", "ocrmypdf"),
        (b"%PDF-1.4 and so on", "isn't a readable PDF", "again"),
        (pdf([["word"]] * 3_001), "has 3,001 pages", "split"),
    ],
    # pytest puts a test's name into the environment, and whole files do not fit there.
    ids=["no words", "no PDF", "too long"],
)
def test_unreadable_pdfs_are_rejected(refuse, data, match, hint):
    pytest.importorskip("pypdfium2")
    refuse("book.pdf", data, match, hint)


@pytest.mark.parametrize(
    ("name", "kind", "tool"),
    [
        ("b.lcpl", "a license of Readium LCP, not the book", "without DRM"),
        ("b.kfx", "KFX", "KFX Input"),
        ("b.rst", "reStructuredText", "pandoc b.rst -o b.epub"),
        ("b.doc", "an old Word document", "soffice --convert-to docx b.doc"),
        *(
            (f"b.{end}", "is empty", "")
            for end in ("epub", "txt", "md", "html", "zip", "docx")
        ),
        *(
            (f"b.{end}", "is empty", "")
            for end in ("pdf", "json", "jsonl", "lrc", "odt", "fb2")
        ),
    ],
)
def test_formats_that_are_refused_name_the_tool(refuse, name, kind, tool):
    refuse(name, b"words" if tool else b"", kind, tool)


@pytest.mark.parametrize("suffix", ["txt", "md", "html"])
@pytest.mark.parametrize(
    ("data", "match", "hint"),
    [
        (b"PK\x03\x04 and so on", "is a zip, not text", ".epub"),
        (b"%PDF-1.7 and so on", "is PDF, not text", ".pdf"),
        (b"\xef\xbb\xbf{\\RTF1 words}", "is RTF, not text", ".rtf"),
        (b"\xd0\xcf\x11\xe0 and so on", "is an old Office document", "docx"),
        (b"\x1f\x8b\x08 and so on", "is a gzip", "unpack"),
        (
            b"A Title".ljust(60, b"\0") + b"BOOKMOBI",
            "is a Kindle book",
            "ebook-convert",
        ),
    ],
)
def test_files_of_another_format_under_a_texts_name_are_rejected(
    refuse, suffix, data, match, hint
):
    refuse(f"book.{suffix}", data, match, hint)


@pytest.mark.parametrize(
    ("suffix", "package"),
    [("pdf", "pypdfium2"), ("docx", "mammoth"), ("odt", "pypandoc")],
)
def test_a_format_without_its_package_names_the_extra(
    refuse, monkeypatch, suffix, package
):
    monkeypatch.setitem(sys.modules, package, None)
    refuse(f"book.{suffix}", b"%PDF", f"needs the package '{package}'", "pip install")


FB2 = """<?xml version="1.0" encoding="utf-8"?>
<FictionBook xmlns="http://www.gribuser.ru/xml/fictionbook/2.0"
xmlns:l="http://www.w3.org/1999/xlink"><description><title-info><author>
<first-name>Ann</first-name><last-name>Author</last-name></author>
<book-title>A Book &amp; More</book-title></title-info></description>
<body><section><title><p>One</p></title><p>The <emphasis>fir</emphasis>st<a l:href="#n1"
type="note">1</a> text.</p><p>More.</p></section>
<section><title><p>Two</p></title><p>The end.</p></section></body>
<body name="notes"><section id="n1"><p>of a note</p></section></body></FictionBook>"""
TEX = r"""\documentclass{book}\usepackage{fancyhdr}\title{A Book \& More}\author{Ann Author}
\begin{document}\maketitle\chapter{One}
The \emph{fir}st\footnote{of a note} text.

More.
\chapter{Two}
The end.
\end{document}"""
RTF = r"""{\rtf1\ansi{\info{\title A Book & More}{\author Ann Author}}{\stylesheet{\s1 heading 1;}}
{\pard\s1\outlinelevel0 One\par}{\pard \u84?he {\i fir}st{\footnote of a note} te\u120 ?t.\par}
{\pard More.\par}{\*\generator Some program that writes its name and the names of its makers;}
{\field{\*\fldinst{\*\formfield{\*\ffdeftext Nobody has ever filled this line of a form.}}}}
{\pard\s1\outlinelevel0 Two\par}{\pard The end.\par}}"""
ODF = "urn:oasis:names:tc:opendocument:xmlns"
ODT = {
    "META-INF/manifest.xml": f"<manifest xmlns='{ODF}:manifest:1.0'/>",
    "meta.xml": f"<m xmlns='{ODF}:meta:1.0'/>",
    "styles.xml": f"<o:document-styles xmlns:o='{ODF}:office:1.0'/>",
    "content.xml": f"<o:document-content xmlns:o='{ODF}:office:1.0' xmlns:t='{ODF}:text:1.0'>"
    "<o:automatic-styles/><o:body><o:text><t:h t:outline-level='1'>One</t:h>"
    "<t:p>The <t:span>fir</t:span>st<t:note "
    "t:note-class='footnote'><t:note-body><t:p>of a note"
    "</t:p></t:note-body></t:note> text.</t:p><t:p>More.</t:p><t:h "
    "t:outline-level='1'>Two</t:h>"
    "<t:p>The end.</t:p></o:text></o:body></o:document-content>",
}


@pytest.mark.parametrize(
    ("suffix", "content"), [("fb2", FB2), ("tex", TEX), ("rtf", RTF), ("odt", ODT)]
)
def test_formats_of_pandoc_are_read_like_html(read, suffix, content):
    pytest.importorskip("pypandoc")
    manuscript = read(f"book.{suffix}", content)
    named = (None, None) if suffix == "odt" else ("A Book & More", "Ann Author")
    assert (manuscript.title, manuscript.author) == named
    assert told(manuscript) == CHAPTERS
    assert [one.paragraphs[0].rstrip("↩\ufe0e") for one in manuscript.excluded] == [
        "of a note"
    ]


@pytest.mark.parametrize(("name", "content", "match", "hint"), [
    ("b.odt", "words", "pandoc can't read this file as odt", ".docx"),
    *(("b.rtf", RTF.replace("More.", rf"More.{{\*\own {{{words}}}}}"),
       r"the text in the group \\\*\\own on line \d", ".docx")
      for words in ("The gull took the bread from the sill before noon.", r"\'e1" * 40)),
    ("b.tex", TEX.replace("{One}", r"{One}\input{two}"), "leaves out a part .*two.tex", "join"),
    ("b.fb2", FB2.replace("<section>", "<p>lost</p><section>", 1), "leaves out .* p in", "EPUB"),
    *(("b.tex", TEX.replace("More.", rf"\vspace{{2em}}\pagestyle{{plain}}More \own{arguments}."),
       r"leaves out the text in \\own on line 5", rf"\newcommand{{\own}}[{count}]{{#1}}")
      for arguments, count in (("[a]{[these~words]}", 1), ("{吾輩}{わがはい}", 2))),
])  # fmt: skip
def test_text_that_pandoc_leaves_out_is_an_error(refuse, name, content, match, hint):
    pytest.importorskip("pypandoc")
    refuse(name, content, match, hint)


def test_text_of_open_documents_and_fb2_is_read_or_its_loss_is_an_error(read, refuse):
    pytest.importorskip("pypandoc")
    ruby = "<t:ruby><t:ruby-base>base</t:ruby-base><t:ruby-text>gloss</t:ruby-text></t:ruby>"
    content = ODT["content.xml"]
    odt = ODT | {"content.xml": content.replace("The <", f"{ruby}<")}
    assert told(read("a.odt", odt))[0][1][0] == "basefirst text."
    shape = f"<d:custom-shape xmlns:d='{ODF}:drawing:1.0'><t:p>{LOST}</t:p></d:custom-shape>"
    odt = ODT | {"content.xml": content.replace("More.", shape)}
    refuse("b.odt", odt, r"pandoc leaves out \d\d letters .* paragraph", "shapes")
    table = f"<table><tr><td>{LOST}</td></tr></table>"
    fb2 = FB2.replace("</p></section>", f"</p>{table}</section>", 1)
    rtf = RTF.replace("More.", r"More{\*\do\dptxbx{\dptxbxtext \pard drawn.\par}}")
    heading, paragraphs = told(read("a.rtf", rtf))[
        0
    ]  # releases of pandoc break it or not
    assert (heading, "".join(paragraphs)) == ("One", "The first text.Moredrawn.")
    refuse("b.fb2", fb2, r"pandoc leaves out \d\d letters .* paragraph", "tables")


def test_an_abstract_is_text(read):
    pytest.importorskip("pypandoc")
    abstract = r"\maketitle\begin{abstract}Of a boy.\end{abstract}"
    manuscript = read("b.tex", TEX.replace(r"\maketitle", abstract))
    assert told(manuscript) == [(None, ("Of a boy.",)), *CHAPTERS]


def test_timed_lyrics_are_read_in_the_order_of_singing(read):
    lyrics = (
        "[ti: A Song ]\n[ar:Ann Author]\n[offset:+20]\n[00:01.50]The <00:01.60>first "
        "line\n"
        "[00:03.00][01:00.5]It comes again\n[00:05.00]\n[00:30:00]The last\nof all\n"
    )
    manuscript = read("song.lrc", lyrics)
    assert (manuscript.title, manuscript.author) == ("A Song", "Ann Author")
    assert told(manuscript) == [
        (None, ("The first line\nIt comes again", "The last\nof all\nIt comes again"))
    ]


ROW = {"author": "Ann Author", "text": "The first text.\n\nMore."}


def test_rows_of_a_book_are_its_chapters(read):
    rows = [ROW | {"title": "One"}, ROW | {"title": "Two", "text": "The end."}]
    manuscript = read("book.jsonl", rows)
    assert (manuscript.title, manuscript.author) == (None, "Ann Author")
    assert told(manuscript) == CHAPTERS
    assert [part.name for part in manuscript.parts] == ["book.jsonl:1", "book.jsonl:2"]


def test_a_single_row_is_a_book_of_its_title(read):
    whole = read(
        "book.jsonl", [{"title": "A Book", "text": "CHAPTER I\n\nOne.\n\nTwo."}]
    )
    assert (whole.title, told(whole)) == ("A Book", [("CHAPTER I", ("One.", "Two."))])


@pytest.mark.parametrize(
    ("row", "match", "hint"),
    [
        ({"title": "Two"}, "record 2: text is missing", "a row is"),
        ({"text": "a<br>b"}, "record 2: is HTML", "remove the tags"),
    ],
)
def test_a_row_without_plain_text_is_rejected(refuse, row, match, hint):
    refuse("book.jsonl", [ROW, row], match, hint)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "book"
    path.mkdir()
    return path


def test_an_empty_folder_is_rejected(folder):
    with pytest.raises(BookError, match="is empty"):
        Extensions().read_book(folder)


def test_files_of_a_folder_are_chapters_in_the_order_of_their_numbers(folder):
    (folder / "10 Two.txt").write_text("The end.")
    (folder / "9.html").write_text(PAGE.partition("<h2>Two")[0])
    (folder / ".hidden").write_text("words")
    manuscript = Extensions().read_book(folder)
    assert told(manuscript) == [CHAPTERS[0], ("10 Two", ("The end.",))]


def test_a_folder_with_a_file_that_is_no_chapter_is_rejected(folder):
    (folder / "cover.png").write_bytes(b"image")
    with pytest.raises(BookError, match=r"cover\.png: isn't a chapter") as caught:
        Extensions().read_book(folder)
    assert "nothing else" in caught.value.hint


def test_a_folder_of_books_is_rejected(folder):
    (folder / "a novel.epub").write_bytes(b"PK")
    with pytest.raises(
        BookError, match=r"a novel\.epub: is a book of its own, not a chapter"
    ):
        Extensions().read_book(folder)


@pytest.mark.parametrize("name", ["book.txt", "book.json"])
def test_include_and_exclude_are_errors_for_a_book_of_one_document(
    read, tmp_path, name
):
    rows = [{"excerpt_id": "p_id1", "excerpt_text": "text"}]
    assert read("book.xyz", "words") is None  # left to other readers
    (tmp_path / name).write_text(
        "some words" if name == "book.txt" else json.dumps(rows)
    )
    with pytest.raises(
        BookError,
        match="include and exclude apply only to an EPUB, a Kindle book, or a PDF",
    ) as caught:
        Extensions().read_book(tmp_path / name, exclude=["chapter-1*"])
    assert caught.value.hint == "remove them"
