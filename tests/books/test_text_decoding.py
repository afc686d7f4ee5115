import pytest

from pytest_memleak.books.text_decoding import decode, read_source

TEXT = "<p>café “and” Ωμέγα – Кот 漢字</p>"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_encodings_need_no_declaration(encoding):
    assert decode(TEXT.encode(encoding)) == (TEXT, None)
    if "16" in encoding:  # but may have one
        document = f'<?xml version="1.0" encoding="UTF-16"?>{TEXT}'
        assert read_source(document.encode(encoding)).text == TEXT


NOTE = ("not UTF-8; read as windows-1252",)
XML = '<?xml version="1.0" encoding="{}"?>'
META = '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2">'


@pytest.mark.parametrize(
    ("declaration", "encoding", "text", "notes"),
    [
        (XML.format("windows-1252"), "cp1252", "<p>“café”</p>", ()),
        ("<?xml version='1.0' encoding='KOI8-R'?>", "koi8-r", "<p>Кот</p>", ()),
        ('<meta charset="shift_jis">', "shift_jis", "<p>漢字</p>", ()),
        (META, "iso8859-2", "<p>Łódź</p>", ()),
        # Latin-1 is declared where windows-1252 is meant; UTF-16 and UTF-8 where they aren't.
        (XML.format("iso-8859-1"), "cp1252", "<p>“café”</p>", ()),
        (XML.format("UTF-16"), "utf-8", "<p>café</p>", None),
        (XML.format("utf-8"), "cp1252", "<p>“café”</p>", NOTE),
    ],
)
def test_declared_encodings_are_honoured(declaration, encoding, text, notes):
    source = read_source((declaration + text).encode(encoding))
    assert source.text.endswith(text)
    assert notes in (None, source.notes)
    assert "caf" not in repr(source)


def test_one_broken_character_does_not_make_utf_8_something_else():
    broken = decode("“café” Ωμέγα ".encode() + b"\xff")
    assert broken == ("“café” Ωμέγα \ufffd", "1 characters are not UTF-8")


@pytest.mark.parametrize("name", ["no-such-code", "rot13", "hex", "utf-7", "unicode_escape"])
def test_what_is_no_encoding_of_text_is_not_used(name):
    text, note = decode(b"\\u0041 +AEE-", declared=name)
    assert text == "\\u0041 +AEE-"
    assert note == f"the declared encoding {name!r} is unknown; read as UTF-8"


def test_named_entities_become_characters_but_never_markup():
    source = read_source(b"<p>&eacute;&nbsp;&mdash;&hellip; &amp;&lt;&LT;&AMP; &unknown; AT&T</p>")
    assert source.text == "<p>é\xa0—… &amp;&lt;&#60;&#38; &amp;unknown; AT&T</p>"


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE html>",
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/TR/xhtml11.dtd">',
        '<!doctype html [<!ENTITY a "]>"> <!-- ] > \' --> <?p ]>?>]>',
    ],
)
def test_the_document_type_goes(doctype):
    text = f"<!-- first -->\n<?xml-stylesheet href='x'?>{doctype}<p>text</p>"
    assert read_source(text.encode()).text.endswith("<p>text</p>")
    assert "DOCTYPE" not in read_source(text.encode()).text.upper()
    # One that never ends loses no text.
    assert "word" in read_source(b"<!DOCTYPE html [ <p>word</p>").text


def test_entities_of_the_document_are_not_expanded_but_noted():
    levels = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)]
    bomb = '<!ENTITY a0 "lol">' + "".join(levels)
    outside = '<!ENTITY x SYSTEM "file:///etc/passwd">'
    source = read_source(f"<!DOCTYPE p [{bomb}{outside}]><p>&a9;word&x;</p>".encode())
    assert source.text == "<p>word</p>"
    note = "left out 2 references to entities that the document declares"
    assert source.notes[0].startswith(note)


def test_short_entities_of_the_document_are_characters():
    declared = """<!ENTITY oe "&#339;"><!ENTITY oe "x"><!ENTITY lt2 '&#60;b'><!ENTITY eacute 'E'>"""
    source = read_source(f"<!DOCTYPE p [{declared}]><p>c&oe;ur &lt2; &eacute;</p>".encode())
    assert source.text == "<p>cœur &#60;b é</p>"
    assert source.notes == ()


def test_but_only_a_million_characters_of_them():
    text = f'<!DOCTYPE p [<!ENTITY a "{"x" * 100}">]><p>{"&a;" * 20_000}</p>'
    source = read_source(text.encode())
    assert source.text.count("x") == 1_000_000
    assert source.notes[0].startswith("left out 10,000 references")


def test_control_characters_go():
    assert read_source(b"<p>one\x00 word\x0cand\x1b more</p>").text == "<p>one word and more</p>"
