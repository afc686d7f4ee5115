import pytest
from epub_texts import page

from pytest_memleak.books.epub import read_epub

XHTML = "application/xhtml+xml"


def item(name, href, kind=XHTML, fallback=None):
    more = f' fallback="{fallback}"' if fallback else ""
    return f'<item id="{name}" href="{href}" media-type="{kind}"{more}/>'


def test_only_documents_of_the_spine_are_read(new_epub):
    manifest = [
        item("gone", "gone.xhtml"),
        item("image", "gone.png", "image/png"),
        item("remote", "https://example.org/a.mp3", "audio/mpeg"),
        item("part", "three.xhtml#part"),
        '<item id="noid-href" media-type="text/css"/><item href="x.css" '
        'media-type="text/css"/>',
        item("cover", "../../cover.jpg", "image/jpeg"),
    ]
    made = new_epub(
        {"one.xhtml": "<p>one</p>", "two.xhtml": "<p>two</p>"},
        manifest="".join(manifest),
        files={"OEBPS/three.xhtml": b"<p>three</p>"},
        spine=["one.xhtml", "two.xhtml", "part", "remote", "unknown"],
    )
    manuscript = read_epub(made.write())
    assert manuscript.chapters[0].paragraphs == ("one", "two", "three")
    assert manuscript.warnings == (
        "left out spine items that aren't XHTML (1): 'remote'",
        "left out spine items that aren't in the manifest (1): 'unknown'",
    )


def test_documents_that_only_the_contents_name_are_a_warning(new_epub):
    entries = [
        '<li><a href="one.xhtml#top">One</a></li>',
        '<li><a href="two.xhtml">Two</a></li>',
        '<li><a href="two.xhtml#middle">Three</a></li>',
    ]
    made = new_epub(
        {"one.xhtml": "<p>one</p>"},
        manifest=item("two", "two.xhtml"),
        files={"OEBPS/two.xhtml": b"<p>two</p>"},
        nav=f'<nav epub:type="toc"><ol>{"".join(entries)}</ol></nav>',
    )
    assert read_epub(made.write()).warnings == (
        "its contents name documents that its spine lacks, so they aren't read: "
        "OEBPS/two.xhtml",
    )


def test_the_first_rootfile_of_an_epub_is_read(new_epub, text_of):
    pdf = f'<rootfile full-path="x.pdf" media-type="{PDF}"/>'
    files = rootfiles("OEBPS/content.opf", "OEBPS/other.opf", first=pdf) | {
        "OEBPS/other.opf": new_epub().package.replace("one.xhtml", "other.xhtml"),
        "OEBPS/other.xhtml": "<p>Other.</p>",
    }
    assert text_of(files=files) == ["Some words."]
    moved = new_epub().package.replace('href="', 'href="../OEBPS/')
    files = rootfiles("my%20book/a.opf") | {"my book/a.opf": moved}
    assert text_of(files=files) == ["Some words."]


def test_an_epub_without_a_container_is_read_with_a_warning(new_epub):
    manuscript = read_epub(new_epub(leave_out={"META-INF/container.xml"}).write())
    assert manuscript.chapters[0].paragraphs == ("Some words.",)
    assert "META-INF/container.xml is missing" in manuscript.warnings[0]


def test_names_in_utf_8_need_no_mark(new_epub):
    files = {"OEBPS/part-XX.xhtml": b"<p>two</p>"}
    path = new_epub(
        manifest=item("a", "part-%C3%A4.xhtml"), files=files, spine=["a"]
    ).write()
    path.write_bytes(path.read_bytes().replace(b"part-XX", "part-ä".encode()))
    assert read_epub(path).chapters[0].paragraphs == ("two",)


PDF = "application/pdf"
FALLBACKS = [
    item("pdf", "x.pdf", PDF, "svg"),
    item("svg", "x.svg", "image/svg+xml", "one.xhtml"),
    item("loop", "l.pdf", PDF, "loop"),
]
PICTURES = [item(f"i{n}", f"{n}.png", "image/png") for n in range(20_000)]
NAMES = [f"{number}.xhtml" for number in range(500)]


def rootfiles(*paths, first=""):
    kind = "application/oebps-package+xml"
    files = "".join(
        f'<rootfile full-path="{one}" media-type="{kind}"/>' for one in paths
    )
    return {"META-INF/container.xml": f"<c><rootfiles>{first}{files}</rootfiles></c>"}


@pytest.mark.parametrize(
    "settings",
    [
        {
            "manifest": "".join(FALLBACKS),
            "files": {
                "OEBPS/x.pdf": b"%PDF",
                "OEBPS/x.svg": b"<svg/>",
                "OEBPS/l.pdf": b"%PDF",
            },
            "spine": ["pdf", "loop"],
        },
        {"nav": "", "files": {"OEBPS/nav.xhtml": b"<nav><ol>" * 5_000}},
        {
            "manifest": "".join(PICTURES),
            "files": {f"OEBPS/{n}.png": b"" for n in range(9_999)},
        },
    ],
    ids=("fallbacks", "a malformed navigation document", "many items"),
)
def test_files_beside_the_documents_change_no_text(text_of, settings):
    assert text_of(**settings) == ["Some words."]


def test_many_documents_of_many_encodings(text_of, new_epub):
    assert text_of({name: f"<p>{name}</p>" for name in NAMES}) == NAMES
    documents = {"a.xhtml": "<p>&eacute;&nbsp;&mdash;</p>"}
    documents["d.xhtml"] = "<html><body><p>“é”</p></body></html>".encode("cp1252")
    manuscript = read_epub(new_epub(documents).write())
    assert manuscript.chapters[0].paragraphs == ("é —", "“é”")
    assert manuscript.warnings == ("'OEBPS/d.xhtml': not UTF-8; read as windows-1252",)


@pytest.mark.parametrize(("href", "member"), [
    ("a%20b.xhtml", "OEBPS/a b.xhtml"),
    ("caf%C3%A9.xhtml", "OEBPS/café.xhtml"),
    ("../Text/a.xhtml", "Text/a.xhtml"),
    ("./a.xhtml", "OEBPS/a.xhtml"),
    ("/Text/a.xhtml", "Text/a.xhtml"),
    ("A.XHTML", "OEBPS/a.xhtml"),
    ("100%.xhtml", "OEBPS/100%.xhtml"),
    ("a%231.xhtml", "OEBPS/a#1.xhtml"),
])  # fmt: skip
def test_addresses_in_the_manifest_lead_to_members(text_of, href, member):
    files = {member: page("<p>found</p>")}
    assert text_of({}, manifest=item("a", href), files=files, spine=["a"]) == ["found"]


@pytest.mark.parametrize(("old", "new"), [
    ('xmlns="http://www.idpf.org/2007/opf"', ""),
    ('xmlns="http://www.idpf.org/2007/opf"', 'xmlns="http://openebook.org/namespaces/oeb/1.0/"'),
    ("<dc:title>A Book", "<dc:title>A & B &eacute;"),
    ("<manifest>", "<!-- a comment --><?and more?><manifest>"),
    ('<?xml version="1.0"?>', '<?xml version="1.0"?><!DOCTYPE package [<!ENTITY a "b">]>'),
    ("<spine>", '<spine toc="no-such-ncx">'),
])  # fmt: skip
def test_packages_with_wrong_namespaces_are_read(new_epub, text_of, old, new):
    assert text_of(package=new_epub().package.replace(old, new)) == ["Some words."]


@pytest.mark.parametrize(
    "half",
    [
        "&#xD800;",
        "&#x00dfff;",
        "&#55296;",
        "&#56320;",
        "&#57000;",
        "&#57343;",
        "&#055300;",
        "&#0;",
        "&#27;",
        "&#x1B;",
        "&#xFFFF;",
        "&#x110000;",
    ],
)
def test_references_to_no_character_of_xml_are_read_as_none(new_epub, half):
    metadata = f"<dc:title>A{half}Book&#55295;&#57344;</dc:title>"
    manifest = item(f"{half}a", f"{half}.png", "image/png")
    path = new_epub(metadata=metadata, manifest=manifest).write()
    assert read_epub(path).title == "A\ufffdBook\ud7ff\ue000"


OPF, META = "OEBPS/content.opf", "META-INF/container.xml"
SPINLESS = f"<package><manifest>{item('a', 'one.xhtml')}</manifest><spin/></package>"


@pytest.mark.parametrize(("settings", "match"), [
    ({"leave_out": {META, OPF}}, r"the zip contains no package file \(OPF\)"),
    ({"leave_out": {OPF}}, rf"package file \(OPF\) '{OPF}' that {META} names isn't in"),
    ({"files": {META: "<container/>"}}, "names no package file"),
    ({"files": rootfiles("../content.opf")}, "points outside the zip"),
    *(({"files": {OPF: data}}, f"'{OPF}' isn't XML") for data in (b"", b"\x89PNG\r\n", b"a")),
    ({"spine": [], "hint": "repair"}, "the package has no spine"),
    ({"package": SPINLESS}, "the package has no spine"),
    ({"spine": ["one.xhtml", "b"], "manifest": item("b", "b.xhtml")},
     r"documents of the spine \(1\) are missing from the zip: 'b.xhtml'"),
    ({"spine": ["unknown"], "hint": "'unknown'"}, "no document of the spine can"),
    ({"manifest": item("a", "../../evil.xhtml")}, "points outside the zip"),
    ({"manifest": item("a", "..%2F..%2Fevil.xhtml")}, "points outside the zip"),
    ({"manifest": item("a", "..\\..\\evil.xhtml")}, "points outside the zip"),
    ({"files": {"META-INF/encryption.xml": b"\0\1"}}, "'META-INF/encryption.xml' isn't XML"),
])  # fmt: skip
def test_packages_that_cannot_be_read_are_rejected(refused, settings, match):
    refused(match, **settings)


AES = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
IDPF = "http://www.idpf.org/2008/embedding"
ADOBE = "http://ns.adobe.com/pdf/enc#RC"
KEY = f'<KeyInfo><EncryptedKey><EncryptionMethod Algorithm="{AES}"/></EncryptedKey></KeyInfo>'


def encrypted(*entries, key=""):
    data = "".join(
        f'<enc:EncryptedData><enc:EncryptionMethod Algorithm="{algorithm}"/>{key}'
        f'<enc:CipherData><enc:CipherReference URI="{target}"/></enc:CipherData>'
        "</enc:EncryptedData>"
        for algorithm, target in entries
    )
    opening = (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"'
        ' xmlns:enc="http://www.w3.org/2001/04/xmlenc#">'
    )
    return {"META-INF/encryption.xml": f"{opening}{data}</encryption>"}


@pytest.mark.parametrize("files", [
    encrypted((IDPF, "OEBPS/fonts/a.otf"), (ADOBE, "OEBPS/fonts/b.TTF")),
    encrypted((IDPF, "OEBPS/fonts/00001")),
    encrypted((IDPF, "fonts/1"), key=KEY),  # of two methods, that of the data counts
    encrypted((AES, "OEBPS/fonts/a.woff2")),
    encrypted((AES, "OEBPS/film.mp4"), (AES, "OEBPS/song.MP3")),
    encrypted(),
])  # fmt: skip
def test_fonts_may_be_encrypted(text_of, files):
    assert text_of(files=files) == ["Some words."]


@pytest.mark.parametrize(("files", "match"), [
    *(
        (encrypted((IDPF, "a.otf"), entry), "is protected by DRM")
        for entry in (
            *((AES, f"OEBPS/{name}") for name in ("one.xhtml", "cover.jpg", "00001")),
            *((IDPF, "OEBPS/one.xhtml"), (AES, ""), ("", "OEBPS/one.xhtml")),
        )
    ),
    ({"META-INF/encryption.xml": "<e><EncryptedData/></e>"}, "is protected by DRM"),
    ({"META-INF/rights.xml": "<rights/>"}, "DRM: it contains META-INF/rights.xml"),
    ({"META-INF/sinf.xml": "<rights/>"}, "DRM: it contains META-INF/sinf.xml"),
])  # fmt: skip
def test_encryption_of_anything_but_fonts_is_drm(refused, files, match):
    refused(match, files=files, hint="use a copy without DRM")
