from __future__ import annotations

import pytest

from pytest_memleak.books.epub import read_epub

# --- what real packages do -----------------------------------------------------------------


def test_missing_remote_and_fragment_items_are_tolerated_with_warnings(new_epub):
    made = new_epub({"one.xhtml": "<p>one</p>", "two.xhtml": "<p>two</p>"})
    made.manifest = (
        '<item id="gone" href="gone.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="image" href="gone.png" media-type="image/png"/>'
        '<item id="remote" href="https://example.org/a.mp3" media-type="audio/mpeg"/>'
        '<item id="part" href="three.xhtml#part" media-type="application/xhtml+xml"/>'
        '<item id="noid-href" media-type="text/css"/><item href="x.css" media-type="text/css"/>'
    )
    made.files["OEBPS/three.xhtml"] = b"<p>three</p>"
    made.spine = [
        f'<itemref idref="{one}"/>'
        for one in ("one.xhtml", "gone", "two.xhtml", "part", "remote", "unknown")
    ]
    manuscript = read_epub(made.write())
    assert manuscript.chapters[0].paragraphs == ("one", "two", "three")
    warnings = "\n".join(manuscript.warnings)
    for said in (
        "left out manifest items that are missing from the zip (3): 'gone.xhtml', 'gone.png', ''",
        "left out remote manifest items (1): 'https://example.org/a.mp3'",
        "ignored the fragments of manifest items (1): 'three.xhtml#part'",
        "left out manifest items without an id (1): 'x.css'",
        "left out spine items that aren't XHTML (1): 'remote'",
        "left out spine items that aren't in the manifest (1): 'unknown'",
    ):
        assert said in warnings


def test_a_fallback_stands_in_for_what_is_no_document(new_epub, text_of):
    made = new_epub()
    made.manifest = (
        '<item id="pdf" href="x.pdf" media-type="application/pdf" fallback="svg"/>'
        '<item id="svg" href="x.svg" media-type="image/svg+xml" fallback="one.xhtml"/>'
        '<item id="loop" href="l.pdf" media-type="application/pdf" fallback="loop"/>'
    )
    made.files |= {"OEBPS/x.pdf": b"%PDF", "OEBPS/x.svg": b"<svg/>", "OEBPS/l.pdf": b"%PDF"}
    made.spine = ['<itemref idref="pdf"/>', '<itemref idref="loop"/>']
    assert text_of(made.write()) == ["Some words."]


def test_of_several_rootfiles_the_first_is_read(new_epub, new_page, text_of):
    made = new_epub()
    other = made.package().replace("one.xhtml", "other.xhtml")
    kind = "application/oebps-package+xml"
    made.files |= {
        "OEBPS/other.opf": other,
        "OEBPS/other.xhtml": new_page("<p>Other.</p>"),
        "META-INF/container.xml": (
            '<container><rootfiles><rootfile full-path="x.pdf" media-type="application/pdf"/>'
            f'<rootfile full-path="OEBPS/content.opf" media-type="{kind}"/>'
            f'<rootfile full-path="OEBPS/other.opf" media-type="{kind}"/></rootfiles></container>'
        ),
    }
    assert text_of(made.write()) == ["Some words."]


def test_a_missing_container_is_replaced_by_the_package_there_is(new_epub):
    manuscript = read_epub(new_epub(leave_out={"META-INF/container.xml"}).write())
    assert manuscript.chapters[0].paragraphs == ("Some words.",)
    assert "META-INF/container.xml is missing" in manuscript.warnings[0]


@pytest.mark.parametrize(
    ("href", "member"),
    [
        ("a%20b.xhtml", "OEBPS/a b.xhtml"),
        ("caf%C3%A9.xhtml", "OEBPS/café.xhtml"),
        ("../Text/a.xhtml", "Text/a.xhtml"),
        ("./a.xhtml", "OEBPS/a.xhtml"),
        ("/Text/a.xhtml", "Text/a.xhtml"),
        ("A.XHTML", "OEBPS/a.xhtml"),
        ("100%.xhtml", "OEBPS/100%.xhtml"),
        ("a%231.xhtml", "OEBPS/a#1.xhtml"),
    ],
)
def test_addresses(new_epub, new_page, text_of, href, member):
    made = new_epub({})
    made.manifest = f'<item id="a" href="{href}" media-type="application/xhtml+xml"/>'
    made.files[member] = new_page("<p>found</p>")
    made.spine = ['<itemref idref="a"/>']
    assert text_of(made.write()) == ["found"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('xmlns="http://www.idpf.org/2007/opf"', ""),
        ('xmlns="http://www.idpf.org/2007/opf"', 'xmlns="http://openebook.org/namespaces/oeb/1.0/"'),
        ("<dc:title>A Book", "<dc:title>A & B &eacute;"),
        ("<manifest>", "<!-- a comment --><?and more?><manifest>"),
        ('<?xml version="1.0"?>', '<?xml version="1.0"?><!DOCTYPE package [<!ENTITY a "b">]>'),
        ("<spine>", '<spine toc="no-such-ncx">'),
    ],
)  # fmt: skip
def test_packages_that_are_not_quite_right(new_epub, text_of, old, new):
    made = new_epub()
    made.files["OEBPS/content.opf"] = made.package().replace(old, new)
    assert text_of(made.write()) == ["Some words."]


def test_a_malformed_navigation_document_does_no_harm(new_epub, text_of):
    made = new_epub()
    made.files["OEBPS/nav.xhtml"] = b"<nav><ol>" * 5_000
    made.manifest = (
        '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
    )
    assert text_of(made.write()) == ["Some words."]


def test_twenty_thousand_manifest_items(new_epub, text_of):
    made = new_epub()
    made.manifest = "".join(
        f'<item id="i{number}" href="{number}.png" media-type="image/png"/>'
        for number in range(20_000)
    )
    made.files |= {f"OEBPS/{number}.png": b"" for number in range(0, 20_000, 2)}
    assert text_of(made.write()) == ["Some words."]


def test_two_thousand_documents(new_epub, text_of):
    names = [f"{number}.xhtml" for number in range(2_000)]
    assert text_of(new_epub({name: f"<p>{name}</p>" for name in names}).write()) == names


def test_encodings_and_entities_through_the_whole_reader(new_epub, text_of):
    utf_16 = '<?xml version="1.0" encoding="UTF-16"?><html><body><p>wide é</p></body></html>'
    cp1252 = '<?xml version="1.0" encoding="windows-1252"?><html><body><p>“é”</p></body></html>'
    path = new_epub(
        {
            "a.xhtml": utf_16.encode("utf-16"),
            "b.xhtml": cp1252.encode("cp1252"),
            "c.xhtml": "<p>&eacute;&nbsp;&mdash;</p>",
        }
    ).write()
    assert text_of(path) == ["wide é", "“é”", "é —"]


def test_notes_on_documents_name_them(new_epub):
    document = "<html><body><p>“é”</p></body></html>".encode("cp1252")
    manuscript = read_epub(new_epub({"a.xhtml": document}).write())
    assert manuscript.warnings == ("'OEBPS/a.xhtml': not UTF-8; read as windows-1252",)


def test_source_indentation_never_splits_words(new_epub, text_of):
    body = "<p>\n  <i>un</i><b>believ</b><span>\n</span>able\n</p>"
    assert text_of(new_epub({"a.xhtml": body}).write()) == ["unbeliev able"]


# --- what is refused -----------------------------------------------------------------------


def test_no_package(new_epub, refused):
    left_out = {"META-INF/container.xml", "OEBPS/content.opf"}
    refused(new_epub(leave_out=left_out).write(), r"the zip contains no package file \(OPF\)")


def test_a_package_that_is_not_there(new_epub, refused):
    refused(
        new_epub(leave_out={"OEBPS/content.opf"}).write(),
        r"package file \(OPF\) 'OEBPS/content.opf' that META-INF/container.xml names is not in",
    )


def test_a_container_without_rootfiles(new_epub, refused):
    made = new_epub(files={"META-INF/container.xml": "<container/>"})
    refused(made.write(), "names no package file")


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n", b"plain text"])
def test_a_package_that_is_no_xml(new_epub, refused, data):
    refused(new_epub(files={"OEBPS/content.opf": data}).write(), "'OEBPS/content.opf' is not XML")


@pytest.mark.parametrize(
    "half", ["&#xD800;", "&#x00dfff;", "&#55296;", "&#56320;", "&#57000;", "&#57343;", "&#055300;"]
)
def test_half_a_character_in_a_package_is_read_as_none(new_epub, half):
    made = new_epub(metadata=f"<dc:title>A{half}Book&#55295;&#57344;</dc:title>")
    made.manifest = f'<item id="{half}a" href="{half}.png" media-type="image/png"/>'
    assert read_epub(made.write()).title == "A\ufffdBook\ud7ff\ue000"


def test_no_spine(new_epub, refused):
    refused(new_epub(spine=[]).write(), "the package has no spine", hint="repair")
    made = new_epub()
    made.files["OEBPS/content.opf"] = made.package().replace("spine", "spin")
    refused(made.write(), "the package has no spine")


def test_a_spine_of_missing_documents_only(new_epub, refused):
    made = new_epub(leave_out={"OEBPS/one.xhtml"})
    refused(made.write(), "no document of the spine can be read", hint="one.xhtml")


@pytest.mark.parametrize("href", ["../../evil.xhtml", "..%2F..%2Fevil.xhtml", "..\\..\\evil.xhtml"])
def test_an_address_that_leads_out(new_epub, refused, href):
    made = new_epub()
    made.manifest = f'<item id="a" href="{href}" media-type="application/xhtml+xml"/>'
    refused(made.write(), "leads out of the zip")


def test_a_rootfile_that_leads_out(new_epub, refused):
    made = new_epub()
    made.files["META-INF/container.xml"] = '<c><rootfile full-path="../content.opf"/></c>'
    refused(made.write(), "leads out of the zip")


def test_a_rootfile_whose_path_is_percent_encoded(new_epub, text_of):
    made = new_epub()
    made.files["META-INF/container.xml"] = '<c><rootfile full-path="my%20book/a.opf"/></c>'
    made.files["my book/a.opf"] = made.package().replace('href="', 'href="../OEBPS/')
    assert text_of(made.write()) == ["Some words."]


def test_an_image_that_leads_out_is_left_out(new_epub, text_of):
    made = new_epub()
    made.manifest = '<item id="a" href="../../cover.jpg" media-type="image/jpeg"/>'
    path = made.write()
    assert text_of(path) == ["Some words."]
    assert read_epub(path).warnings == (
        "left out manifest items outside the zip (1): '../../cover.jpg'",
    )


def test_style_sheets_say_which_lines_stand_apart(new_epub, text_of):
    made = new_epub(
        {"a.xhtml": "<p><span class='line'>one</span><span class='line'>two</span></p>"}
    )
    made.files["OEBPS/s.css"] = "/* . { */ .line, i.x { display: block }"
    assert text_of(made.write()) == ["one", "two"]
