import tracemalloc

import pytest
from epub_texts import page
from hypothesis import given
from hypothesis import strategies as st
from marks import full

from pytest_memleak.books.html_blocks import read_markup


def texts(body):
    return [block.text for block in read_markup(page(body).encode()).blocks]


@pytest.mark.parametrize(("body", "expected"), [
    ("<p><i>un</i>believ<b>able</b></p>", ["unbelievable"]),
    ('<p><span class="dropcap">T</span>he cat</p>', ["The cat"]),
    ('<p><span style="float:left"><big>T</big></span><small>HE</small> cat</p>', ["THE cat"]),
    ('<p><img alt="T" src="t.png"/>he cat</p>', ["The cat"]),
    ('<p><img alt="A map of the town" src="m.png"/>Text</p>', ["Text"]),
    ("<p>one</p><p>two</p>", ["one", "two"]),
    ("<div>one<p>two</p>three</div>", ["one", "two", "three"]),
    ("<p>one<br/>two</p>", ["one\ntwo"]),
    ("<p>one<br/>\n<br/>two</p>", ["one\ntwo"]),
    ("<ul><li>one</li><li>two</li></ul>", ["one", "two"]),
    ("<table><tr><td>one</td><td>two</td></tr></table>", ["one", "two"]),
    ("<dl><dt>one</dt><dd>two</dd></dl>", ["one", "two"]),
    ('<p>one<span style="display: block">two</span>three</p>', ["one", "two", "three"]),
    ("<p>one</p><hr/>two", ["one", "two"]),
    ("<p><ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp>字<rt>ji</rt></ruby>です</p>", ["漢字です"]),
    # A label's letters are hidden from screen readers alone; a switch shows its
    # default.
    ('<p><i aria-label="The"><b aria-hidden="true">T</b>he</i> cat</p>', ["The cat"]),
    ("<p>a<epub:switch><epub:case required-namespace='x'>b</epub:case>"
     "<epub:default>c</epub:default></epub:switch></p>", ["ac"]),
    ("<p>  one\n\t two  </p>", ["one two"]),
    ("<p>H<sub>2</sub>O and 1<sup>st</sup></p>", ["H2O and 1st"]),
    ("<p>a <custom-tag>b</custom-tag>c</p>", ["a bc"]),
    ("<p>one<!-- gone -->two<?gone?></p>", ["onetwo"]),
    ("<p><![CDATA[<one>]]> two</p>", ["<one> two"]),
    ("<pre>one\n  two\n\nthree</pre>", ["one\ntwo", "three"]),
    ("<p></p><p> </p><p>&#160;</p>", []),
    ("<p>hy&shy;phen&#173;at&#xAD;ed</p>", ["hyphenated"]),
    ("<p>a\u2060\u200b\u200c\u200d\ufeffb</p>", ["ab"]),
    ("<p>a&nbsp;b&thinsp;c\u202fd\u2009e\u3000f</p>", ["a b c d e f"]),
    ("<p>&eacute;t&eacute;&mdash;&ldquo;x&rdquo; &lt;y&gt; &amp;amp;</p>",
     ["été—“x” <y> &amp;"]),
    ("<p>e\u0301te\u0301 n\u0303</p>", ["été ñ"]),
    ("<p>of<i>\ufb01</i>ce \ufb02y wa\ufb04e \ufb06 \ufb16</p>", ["office fly waffle st վն"]),
    ("<p>x² ½ Ⅷ ｱ</p>", ["x² ½ Ⅷ ｱ"]),
    # Numbers of windows-1252 where Unicode's were meant.
    ("<p>it&#146;s &#150; &#x93;so&#x94;</p>", ["it’s – “so”"]),
])  # fmt: skip
def test_inline_elements_join_and_blocks_separate(body, expected):
    assert texts(body) == expected


@pytest.mark.parametrize("gone", [
    '<a epub:type="noteref" href="#n">12</a>',
    '<a role="doc-noteref" href="#n">12</a>',
    '<sup><a href="#n">12</a></sup>',
    '<a href="notes.xhtml#n"><sup>12</sup></a>',
    '<a href="#n">[12]</a>',
    '<a href="#n" class="fnanchor">[A]</a>',
    '<sup><a href="#n">*</a></sup>',
    *('<a href="#note4">4</a>', '<a href="notes.xhtml#fn_12">12</a>'),
    '<sup><a href="#x">note 4</a></sup>',
    '<a class="footnote-ref" href="#x">4</a>',
    *('<a id="page12">12</a>', '<span id="Page_012">[12]</span>'),
    '<a class="x-ebookmaker-pageno" title="12">[Pg 12]</a>',
    '<span epub:type="pagebreak" title="12">12</span>',
    *('<i role="doc-pagebreak">12</i>', '<span epub:type="pagebreak" id="p12"/>'),
    '<span class="pagenum">[Pg 12]</span>',
    '<span class="pageno"><a id="p12"></a>xii</span>',
    "<span hidden=''>secret</span>",
    *('<i style="color:red; DISPLAY : none">secret</i>', '<i aria-hidden="true">secret</i>'),
    '<span style="visibility:hidden">secret</span>',
    *("<script>secret()</script>", "<style>p { secret: 1 }</style>"),
    '<svg xmlns="http://www.w3.org/2000/svg"><title>secret</title><text>x</text></svg>',
    "<select><option>secret</option></select>",
    *(f"<{tag}>secret</{tag}>" for tag in ("template", "noscript", "audio", "object")),
])  # fmt: skip
def test_elements_that_no_reader_sees_go_and_their_neighbors_join(gone):
    assert texts(f"<p>un{gone}believable</p>") == ["unbelievable"]


A = {"a": 0}
MATTER = ('epub:type="frontmatter', 'role="doc-dedication', 'epub:type="index')


@pytest.mark.parametrize("gone", [
    '<aside epub:type="footnote" id="n"><p>12. secret</p></aside>',
    '<section epub:type="endnotes"><h2>Notes</h2><ol><li>secret</li></ol></section>',
    '<aside role="doc-footnote"><p>secret</p></aside>',
    '<nav epub:type="toc"><ol><li>secret</li></ol></nav>',
    "<div hidden='hidden'><div><p>secret</p></div></div>",
    '<section class="pg-boilerplate pgheader" id="pg-header"><p>secret</p></section>',
    '<section epub:type="titlepage"><h1>secret</h1></section>',
    *(f'<section {kind}"><p>secret</p></section>' for kind in MATTER),
])  # fmt: skip
def test_blocks_that_are_not_the_text_go(gone):
    assert texts(f"<p>one</p>{gone}<p>two</p>") == ["one", "two"]


@pytest.mark.parametrize("kept", [
    *('<a href="#ch2">see 2</a>', '<a href="#ch2">2</a>', '<a href="#note4">see there</a>'),
    *('<span id="page12">13</span>', '<span id="p12">word</span>', "x<sup>2</sup>"),
    '<a href="http://example.org"><sup>12</sup></a>',
    '<span class="pagenum">not a page</span>',
    '<div class="pagebreak"><p>after a break</p></div>',
])  # fmt: skip
def test_elements_that_only_look_like_apparatus_stay(kept):
    assert "".join(texts(f"<div>{kept}</div>"))


@pytest.mark.parametrize(("body", "expected", "declares"), [
    ('<section epub:type="backmatter"><p>a</p></section><p>b</p>', {"b": 0}, False),
    ('<div epub:type="frontmatter"><div role="doc-prologue"><p>a</p></div></div>', A, True),
    ('<div epub:type="frontmatter"><div epub:type="chapter"><p>a</p></div></div>', {}, True),
    ('<div epub:type="preface"><p>a</p></div>', {}, False),
    ('<div epub:type="bodymatter"><div epub:type="preface"><p>a</p></div></div>', A, True),
    ('<div epub:type="chapter"><div epub:type="epigraph"><p>a</p></div></div>', A, True),
    ('<div epub:type="introduction"><p>a</p></div>', A, False),
    ('<section role="doc-chapter"><p>a</p></section>', A, True),
    ('<section role="doc-afterword"><p>a</p></section>', {}, False),
    # Headings, by level.
    ("<h1>One</h1><p>a</p>", {"One": 1} | A, False),
    ("<h6><i>O</i>ne</h6>", {"One": 6}, False),
    ("<h2>I<br/>The Storm</h2>", {"I The Storm": 2}, False),
    ("<hgroup><h3>II</h3><p>Black Dog</p></hgroup>", {"II: Black Dog": 3}, False),
    ("<hgroup><p>No heading</p></hgroup>", {"No heading": 0}, False),
    ("<h2></h2><p>a</p>", A, False),
    (f"<h2>{'word ' * 31}</h2>", {("word " * 31).strip(): 0}, False),
])  # fmt: skip
def test_declared_matter_and_headings_are_told_from_text(body, expected, declares):
    markup = read_markup(page(body).encode())
    assert {block.text: block.level for block in markup.blocks} == expected
    assert markup.declares_body is declares


@pytest.mark.parametrize(("rule", "expected"), [
    (".line{display:block}", ["one", "two"]),
    ("@charset 'x'; p > span.line, b {color: red; DISPLAY : Block;}", ["one", "two"]),
    (".poem .line { display: list-item }", ["one", "two"]),
    (".line { display: block; float: left }", ["onetwo"]),
    (".line { display: inline-block }", ["onetwo"]),
    (".line b { display: block }", ["onetwo"]),
    ("@media x { .line { display: block } }", ["onetwo"]),
    ("/* .line { display: block }", ["onetwo"]),
])  # fmt: skip
def test_classes_that_style_sheets_display_as_blocks_separate_text(rule, expected):
    body = '<p><span class="line">one</span><span class="line">two</span></p>'
    document = f"<html><head><style>{rule}</style></head><body>{body}</body></html>"
    assert [block.text for block in read_markup(document.encode()).blocks] == expected


@pytest.mark.parametrize("body", [
    "<p>one<p>two & three<br>four",
    "<p>one</p><p>two & three<br>four</body>",
    '<p>one</p><p epub:type="x">two & three<br/>four</p></body></html>',
])  # fmt: skip
def test_markup_that_is_not_well_formed_is_read_as_browsers_read_it(body):
    blocks = read_markup(f"<html><body>{body}".encode()).blocks
    assert [block.text for block in blocks] == ["one", "two & three\nfour"]
    assert "three" not in repr(blocks)


@pytest.mark.parametrize(("tag", "depth"), [
    *((tag, depth) for tag in ("div", "i") for depth in (300, 3_000)),
    *(full(tag, 100_000) for tag in ("div", "i")),
])  # fmt: skip
def test_deeply_nested_and_huge_documents_are_read(tag, depth):
    text = "word " * 30 * depth
    document = f"<html><body>{f'<{tag}>' * depth}{text}{f'</{tag}>' * depth} more</body></html>"
    assert (
        " ".join(block.text for block in read_markup(document.encode()).blocks)
        == f"{text}more"
    )


def test_many_elements_cost_no_tree_and_entities_are_never_followed(tmp_path):
    document = b"<html><body><p>" + b"<b/>" * 50_000 + b"word</p></body></html>"
    tracemalloc.start()
    try:
        (block,) = read_markup(document).blocks
        assert tracemalloc.get_traced_memory()[1] < 8 * len(document)
    finally:
        tracemalloc.stop()
    assert block.text == "word"
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    document = (
        f'<!DOCTYPE html [<!ENTITY a0 "lol">{levels}<!ENTITY x SYSTEM '
        f'"{secret.as_uri()}">'
        f'<!ENTITY % p SYSTEM "{secret.as_uri()}">%p;]>'
        "<html><body><p>one &a9; two &x; three</p></body></html>"
    )
    markup = read_markup(document.encode())
    assert [block.text for block in markup.blocks] == ["one two three"]
    assert len(markup.notes) == 1


SOUP = st.text(st.sampled_from("<>/&;\"'= \n!-[]?#xpdivbsupah1"), max_size=120)


@given(st.binary(max_size=300), SOUP)
def test_bytes_and_tag_soup_raise_no_error(data, soup):
    read_markup(data)
    read_markup(soup.encode())
