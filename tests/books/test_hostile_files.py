"""Files that would hang, fill or mislead a reader: each is read or refused, and nothing worse."""

import multiprocessing
import random
import resource
import struct
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from pytest_memleak.books import boilerplate as matter
from pytest_memleak.books.book_file_types import read_manuscript
from pytest_memleak.books.epub_contents import navigation_entries, ncx_entries
from pytest_memleak.books.excerpts import cut
from pytest_memleak.books.html_attributes import class_styles
from pytest_memleak.books.html_blocks import read_markup
from pytest_memleak.books.sentences import cut_paragraph
from pytest_memleak.books.text_decoding import (
    is_binary,
    legible,
    read_source,
    without_controls,
)
from pytest_memleak.books.works import make_collection, read_works
from pytest_memleak.builtin import memleak_read_book
from pytest_memleak.errors import BookError, MemleakError
from pytest_memleak.interfaces.protocols import Manuscript
from pytest_memleak.records import CollectionSource
from pytest_memleak.scoring.words import words

MEBI = 1 << 20
N = 200_000
RANDOM = random.Random(1).randbytes(MEBI)
BODIES = {
    "links in links": "<a href='#n'>1" * 20_000 + " word",
    "page numbers in page numbers": "<span class='pagenum'>-" * 20_000 + " word",
    "end tags that close nothing": f"{'<b>' * 150_000}word{'</i>' * 150_000}",
    "tags alone": "<b/>" * 2_100_000 + "word",
    "a paragraph a letter": "<p>a" * 400_000,
    "headings alone": "<h1>a</h1>" * 150_000,
    "notes alone": "<p>word</p>" + "<i role='doc-footnote'>a note</i>" * 150_000,
    "a chapter a word": "<h1>a</h1><p>b</p>" * 50_000,
    "a break a letter": "<pre>" + "a\n" * 1_100_000 + "</pre>",
    "a word a letter": f"<p>{'a ' * MEBI}</p>",
    "no space": f"<p>{'word-' * N}</p>",
    "no space in Thai": f"<p>{'กิ' * N}</p>",
    "a title as long as a book": f"<h1>{'word' * MEBI}</h1>"
    + "<h2>a</h2><p>b</p>" * 2_000,
    "attributes": "<p " + " ".join(f"a{n}='1'" for n in range(N)) + ">word</p>",
    "entities": f"<p>{'&eacute;&' * N}</p>",
    "notes that link back": "<p id='n'><a href='#n'>1</a> a<sup><a href='#n'>1</a></sup></p>"
    * N,
    "headings in bold": "<p><b>Chapter 1</b></p>" * 150_000,
    "lines of drawings": "<svg>" + "<text>a</text>" * 400_000 + "</svg>",
}
DOCUMENTS = {
    "comments before a document type": b"<!---->" * N
    + b"<!DOCTYPE html []><p>word</p>",
    "expansions": b'<!DOCTYPE p [<!ENTITY l "'
    + b"x" * 100
    + b'">]><p>'
    + b"&l;" * N
    + b"</p>",
    "metas": b"<meta " * 1_000 + b"<p>word</p>",
    "zeros": bytes(MEBI),
    "random bytes": RANDOM,
}
TEXTS = {
    "blank lines.txt": b"\n \n" * N + b"word",
    "numerals.txt": b"I\n\n" * N + b"word",
    "lines.txt": b"a\n" * 1_100_000,
    "an only word.txt": b"word" * MEBI,
    **dict.fromkeys(("empty.txt", "empty.epub"), b""),
    **dict.fromkeys(("random.txt", "random.html", "random.md"), RANDOM),
    "works in many lines.jsonl": b'{"text": "' + b"la la la la la\\n" * 450_000 + b'"}',
    "works.md": b"# A\n\nla la la la la\n\n" * 5_000,
    "random.epub": b"PK\x03\x04" + RANDOM,
    "marks.md": b"*a* " * 2_000_000,
    "open links.md": b"![" * 95_000,
    "lists in lists.md": b"".join(b"  " * n + b"- a\n" for n in range(1_500)),
    "quotes in quotes.md": b"> " * 900_000 + b"a",
    "random.pdf": b"%PDF-1.7\n" + RANDOM,
    "random.docx": b"PK\x03\x04" + RANDOM,
    "braces.rtf": b"{\\rtf1 " + b"{" * 1_000_000,
    "itself.tex": rb"\def\a{\a\a}\begin{document}\a words\end{document}",
    "sections.fb2": b"<FictionBook><body>" + b"<section>" * N,
    "times.lrc": b"[00:01]" * 1_000_000 + b"a",
}


def pdf(content, resources=b"", more=()):
    """A PDF of one page with this content, deflated, and more objects behind it, from 6."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[5 0 R]/Count 1>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        stream(content),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources"
        b"<</Font<</F 3 0 R>>" + resources + b">>>>",
        *more,
    ]
    whole = b"%PDF-1.5\n"
    for number, one in enumerate(objects, start=1):
        whole += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    return whole + b"trailer<</Size %d/Root 1 0 R>>\n%%%%EOF\n" % (len(objects) + 1)


def stream(content, keys=b""):
    packed = zlib.compress(content, 9)
    head = b"<</Filter/FlateDecode/Length %d%b>>" % (len(packed), keys)
    return head + b"stream\n" + packed + b"\nendstream"


def forms_in_forms(depth):
    """Objects each of which is drawn ten times by the one before it."""
    keys = (
        b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>"
    )
    return [stream(b"/X Do " * 10, keys % number) for number in range(7, 7 + depth)]


PDFS = {
    "words without end": lambda: pdf(
        b"BT /F 12 Tf " + b"(a) Tj 0 -1 Td " * 9_000_000 + b"ET"
    ),
    "lines without end": lambda: pdf(b"0 0 m 1 1 l S " * 9_000_000),
    "states without end": lambda: pdf(b"q " * 20_000_000),
    "spaces without end": lambda: pdf(b" " * 600_000_000),
    "forms in forms": lambda: pdf(
        b"/X Do ", b"/XObject<</X 6 0 R>>", forms_in_forms(9)
    ),
    "pages in themselves": lambda: (
        b"%PDF-1.5\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[2 0 R 2 0 R]/Count 3>>endobj\ntrailer<</Root 1 0 "
        b"R>>\n%%EOF"
    ),
    "pages that are not there": lambda: pdf(b"BT ET").replace(
        b"/Count 1", b"/Count 2999"
    ),
}
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
TABLE = "<w:tbl><w:tr><w:tc>"
WORD_BODIES = {
    "a paragraph a letter": "<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 300_000,
    "tables in tables": TABLE * 20_000 + "</w:tc></w:tr></w:tbl>" * 20_000,
    "breaks": f"<w:p><w:r>{'<w:br/>' * 1_500_000}</w:r></w:p>",
    "no end tags": "<w:p>" * 500_000,
}


# These keep a processor busy for a second, or for ten.
LONG = {
    *(
        "marks.md",
        "open links.md",
        "random.md",
        "works.md",
        "a paragraph a letter",
        "breaks",
    ),
    *(
        "headings alone",
        "a chapter a word",
        "no space in Thai",
        "a word a letter",
        "entities",
    ),
    *("braces.rtf", "sections.fb2", "times.lrc", "blank lines.txt", "links in links"),
    *("numerals.txt", "works in many lines.jsonl"),
    *("lines without end", "spaces without end", "forms in forms"),
    *("notes that link back", "headings in bold", "notes alone", "lines of drawings"),
    *(
        "page numbers in page numbers",
        "no space",
        "lists in lists.md",
        "words without end",
    ),
}


def _marked(names):
    return [
        pytest.param(one, marks=pytest.mark.full if one in LONG else ())
        for one in names
    ]


def outcome(path):
    """What comes of reading and cutting a file, within 600 MB and 30 s of processor time."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_read_within_bounds, args=(path, theirs))
    child.start()
    theirs.close()
    try:
        if ours.poll(900):
            return ours.recv()
        child.kill()
        pytest.fail("the reader has come to no end")
    except EOFError:
        child.join()
        pytest.fail(f"the reader ended by {child.exitcode}: too much memory or time")
    finally:
        child.join()


def _read_within_bounds(path, results):
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + 600 * MEBI
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
    try:
        results.send(_read(path))
    except MemleakError as error:
        results.send(error)
    except BaseException as error:  # noqa: BLE001 - the test names whatever it was
        results.send(repr(error)[:200])


def _read(path):
    if path.stem.startswith("works"):
        source = CollectionSource((path,), together=True, unit="line")
        works = read_works(source, read_manuscript)
        make_collection(str(path), works, k=5, in_lines=True, mode="unicode")
    elif isinstance(read := memleak_read_book(path, (), ()), Manuscript):
        cut(read, mode="unicode", place=str(path))
    return "read"


def accept(path, said=None):
    """It is read, or refused with a place and a hint, as `said`; returns how large it was."""
    found = outcome(path)
    if found != "read":
        assert isinstance(found, BookError), found
        assert str(path) in (found.location or "")
        assert found.hint
    assert said is None or said in getattr(found, "message", found)
    return path.stat().st_size


@pytest.mark.parametrize("name", _marked(BODIES | DOCUMENTS))
def test_hostile_documents_are_read_or_rejected_within_bounds(new_epub, name):
    accept(new_epub({"one.xhtml": (BODIES | DOCUMENTS)[name]}).write())


@pytest.mark.parametrize("name", _marked(TEXTS))
def test_hostile_texts_are_read_or_rejected_within_bounds(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(TEXTS[name])
    accept(path)


@pytest.mark.parametrize("name", _marked(PDFS))
def test_hostile_pdfs_are_read_or_rejected_within_bounds(tmp_path, name):
    pytest.importorskip("pypdfium2")
    path = tmp_path / "book.pdf"
    path.write_bytes(PDFS[name]())
    assert accept(path) < 2 * MEBI


@pytest.mark.full
@pytest.mark.parametrize("name", _marked(WORD_BODIES))
def test_hostile_word_documents_are_read_or_rejected_within_bounds(tmp_path, name):
    pytest.importorskip("mammoth")
    path = tmp_path / "book.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        body = f'<w:document xmlns:w="{W}"><w:body>{WORD_BODIES[name]}</w:body></w:document>'
        made.writestr("word/document.xml", body)
    accept(path)


@pytest.mark.full
def test_a_page_that_takes_its_time_on_three_thousand_pages(tmp_path):
    pytest.importorskip("pypdfium2")
    path = tmp_path / "book.pdf"
    data = pdf(b"0 0 m 1 1 l S " * 100_000 + b"BT /F 12 Tf (word) Tj ET")
    path.write_bytes(
        data.replace(b"[5 0 R]/Count 1", b"[%b]/Count 3000" % (b"5 0 R " * 3_000))
    )
    accept(path, "within 20 s of CPU time")


def test_packages_that_are_read_and_members_that_are_not(new_epub):
    """Items that fall back on each other, each of them in the spine; packages in packages."""
    chain = "".join(
        f'<item id="i{n}" href="{n}.bin" media-type="x/y" fallback="i{n + 1}"/>'
        for n in range(2_000)
    )
    spine = [*(f"i{n}" for n in range(2_000)), "one.xhtml"]
    accept(new_epub(manifest=chain, spine=spine).write(), "read")
    nested = "<manifest>" * 200 + '<item id="x"/>' * 20_000 + "</manifest>" * 200
    accept(new_epub(manifest=nested).write(), "read")
    path = new_epub(
        {f"{n}.xhtml": "<p>" + "a " * 5 * MEBI + "</p>" for n in range(2)}
    ).write()
    assert accept(path, "20,000,000 characters of text") < MEBI
    path = new_epub({f"{n}.xhtml": f"<p>word {n}</p>" for n in range(3)}).write()
    data = bytearray(path.read_bytes())
    start = data.find(b"PK\x01\x02")
    while start >= 0:
        struct.pack_into("<L", data, start + 42, 0)
        start = data.find(b"PK\x01\x02", start + 4)
    path.write_bytes(data)
    accept(path)


@pytest.mark.full
def test_documents_of_nothing_and_a_table_of_many_members(new_epub, tmp_path):
    path = new_epub(
        {f"{n}.xhtml": "<!--" + " " * 30 * MEBI + "-->word" for n in range(4)}
    ).write()
    accept(path, "bytes of markup")
    path = tmp_path / "book.epub"
    with zipfile.ZipFile(path, "w") as made:
        for number in range(60_000):
            made.writestr(f"{number}", b"")
    accept(path)


@pytest.mark.full
@pytest.mark.parametrize("letters", ["word ", "слово ", "a🦀 ", "木", "a. "])
def test_a_text_of_64_mebibytes_is_read_or_rejected_within_bounds(tmp_path, letters):
    path = tmp_path / "book.txt"
    data = letters.encode()
    path.write_bytes(data * (64 * MEBI // len(data)))
    accept(path)


SEEDS = [
    " ", "\n", "\n ", "a", "a ", "-", "*", "* ", "_", "1", "i", "[", "[ ", ". ", ".", ".”", '"',
    "'", "é", "é ", "’", "木", "ก", "a\u0301", "\u0301", "\u0323\u0301", "&", "&a", "&amp;", "<",
    "</", "</b>", "<b>", "<p>", "<!--", "<!-->", "<?", "<a href='#'>", "<meta ", "<br/>",
    "display:", "<!ENTITY ", "]>", "END OF PROJECT GUTENBERG ", "*START OF THE PROJECT GUTENBERG ",
    "START OF THE PROJECT GUTENBERG ", "THE SMALL PRINT!", "Title:", "Title:\n ",
    "/*", "{", "}", ".a,", "@", "copyright ", "copyright a a ", "published ", "10 ", "street ",
    "reproduced ", "ISBN ", "<ol>", "<navPoint>", "<a href='x'>",
]  # fmt: skip


def around(before, after=""):
    return lambda text: read_markup(f"{before}{text}{after}".encode())


SEE_A_BOOK = {
    "a document": around(""),
    "a document type": around("<!DOCTYPE html [", "]><p>word</p>"),
    "a paragraph": around("<p>", "</p>"),
    "a link": around("<p>x<a href='#n'>", "</a></p>"),
    "a page number": around("<p>x<span class='pagenum'>", "</span></p>"),
    "lines as they stand": around("<pre>", "</pre>"),
    "a heading": around("<h1>", "</h1><p>word</p>"),
    "a style": lambda text: read_markup(
        f'<p style="{text.replace(chr(34), "")}">'.encode()
    ),
    "a source": lambda text: read_source(text.encode()),
    "a licence": lambda text: matter.without_license([f"{text} PROJECT GUTENBERG"]),
    "a header": lambda text: matter.header_field(
        [text, "*** START OF THE PROJECT GUTENBERG"], "Title"
    ),
    "characters": lambda text: (is_binary(text), legible(text), without_controls(text)),
    "a style sheet": lambda text: class_styles([text, f"{text}{{display:block}}"]),
    "a copyright page": lambda text: matter.find_notices([text[:2_400], text]),
    "a title": matter.matter_kind_of_title,
    "contents": lambda text: (
        navigation_entries(f"<nav epub:type='toc'><ol>{text}".encode(), "n", "toc"),
        ncx_entries(f"<navPoint>{text}".encode(), "n"),
    ),
    "words of the paper": words,
    "words of every script": lambda text: words(text, "unicode"),
    "sentences": lambda text: cut_paragraph(text, mode="paper", longest=500),
    "sentences of every script": lambda text: cut_paragraph(
        text, mode="unicode", longest=500
    ),
}
LENGTH = 100_000


def seconds(see, text):
    taken = []
    for _ in range(2):
        start = time.process_time()
        SEE_A_BOOK[see](text)
        taken.append(time.process_time() - start)
    return min(taken)


@pytest.mark.full
@pytest.mark.parametrize("see", SEE_A_BOOK)
def test_four_times_as_much_takes_four_times_as_long(see):
    for seed in SEEDS:
        once, four = (
            seconds(see, (seed * size)[:size]) for size in (2 * LENGTH, 8 * LENGTH)
        )
        # Sixteen times is what a quadratic step would take; under 20 ms there is only
        # noise.
        assert four < 9 * max(once, 0.02), seed
