"""The Markdown summary, read as Markdown."""

import dataclasses

import pytest
from markdown_it import MarkdownIt
from pair_results import named

from pytest_memleak.records.book import BookPart
from pytest_memleak.records.pair_result import RunReport
from pytest_memleak.reports.github_summary import append_job_summary, summary


@pytest.fixture(scope="module")
def book(make_book):
    return make_book()


@pytest.fixture(scope="module")
def leak(book, recite, make_result):
    return make_result(book, recite(book, run=60), model="leaky", expected="pass")


def markdown_of(*findings):
    return summary(RunReport("9.9", findings))


def test_a_book_s_excluded_share_is_stated_once(leak):
    parts = (
        BookPart("a", "One", kept=True, rule="it is text", words=960),
        BookPart(
            "b",
            "Notes",
            kept=False,
            rule="its title",
            words=0,
            matter=40,
            by_title=True,
        ),
    )
    both = dataclasses.replace(leak, book=dataclasses.replace(leak.book, parts=parts))
    line = "ferry: 4.0% of the file excluded; 40 words of that only because of a title"
    assert markdown_of(both, both).split("\n").count(line) == 1
    assert "of the file excluded" not in markdown_of(leak)


def tokens(text):
    """Every token, those inside lines too."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def rows(text):
    """The cells of the table, as a reader sees them."""
    result, inside = [], False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            result.append([])
        inside = token.type in {"td_open", "th_open"} or (
            inside and token.type == "inline"
        )
        if token.type == "inline" and inside:
            result[-1].append("".join(child.content for child in token.children))
            inside = False
    return result


def test_a_pair_has_a_row_with_reasons_and_places_of_passages(leak):
    clean = dataclasses.replace(
        named(leak, model="b"), pair="b/ferry", verdict="PASS", reasons=()
    )
    wanted = dataclasses.replace(named(leak, model="c"), expected="leak")
    screen_map = rows(markdown_of(leak, clean, wanted))[:2]
    assert screen_map == [
        ["book", "leaky", "c", "b"],
        ["The Ferry", "❌ bmc .634", "☑️ (bmc .634)", "✅"],
    ]
    heading, *result = rows(markdown_of(leak, clean, wanted))[2:]
    assert heading[:3] == ["pair", "verdict", "longest_passage"]
    assert [row[0] for row in result] == ["leaky/ferry", "b/ferry", "leaky/ferry"]
    assert [row[1] for row in result] == ["❌ FAIL", "✅ PASS", "☑️ FAIL (expected)"]
    low, high = leak.intervals["bmc"]
    assert result[0][3] == f"{leak.values['bmc']:.3f} ({low:.3f}–{high:.3f}) > 0.300"
    assert result[0][4] == f"{leak.values['longest_block']:,}"
    assert result[0][-2:] == ["36 of 36", "39.4%"]
    shown = "".join(
        token.content for token in tokens(markdown_of(leak)) if token.type == "text"
    )
    assert all(part in shown for part in (*leak.reasons, leak.passages[0].place))


HOSTILE = [
    "<script>alert(1)</script>",
    "a | b | c\n| d |",
    "[x](http://x.invalid) ![x](http://x.invalid/p.png) https://x.invalid "
    "www.x.invalid a@b.cd",
    "`code` **bold** _em_ ~~gone~~ <!-- # ",
    "</details></summary><b>",
    "\x1b[31mred\x07 \u202eleft \x00 \ud800",
    "&lt;b&gt; &#60;b&#62;",
    "x" * 5_000_000,
    "\\` \\<b> \\",
    "- list\n\n# heading\n\n> quote",
]


def spoiled_result(leak, bad):
    """A result whose every name, reason and place is this text."""
    passages = []
    for passage in leak.passages:
        passages.append(dataclasses.replace(passage, chapter=bad, excerpt_id=bad))
    lists = dict.fromkeys(("reasons", "warnings", "changes"), (bad,))
    names = dict.fromkeys(("pair", "spared"), bad)
    named_badly = named(leak, model=bad, book=bad)
    return dataclasses.replace(named_badly, passages=tuple(passages), **lists, **names)


def html_in(parsed):
    """The beginnings of the tags that a Markdown text has as HTML."""
    html = [token.content for token in parsed if token.type.startswith("html")]
    return {content.split(">")[0] for content in html}


@pytest.mark.parametrize("bad", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_and_reasons_stay_text(leak, bad):
    spoiled = spoiled_result(leak, bad)
    text = markdown_of(spoiled, spoiled)
    text.encode()
    expected, parsed = tokens(markdown_of(leak, leak)), list(tokens(text))
    assert {token.type for token in parsed} <= {token.type for token in expected}
    details = {"<details", "</details", "</summary", "<summary"}
    assert html_in(parsed) <= details | {"<code", "</code"}
    assert [len(row) for row in rows(text)] == [2, 2, 9, 9, 9]
    assert "://" not in text
    assert "www." not in text
    assert len(text) < 50_000


def test_a_long_hostile_name_is_cut_but_stays_as_it_is(leak):
    (bad,) = [text for text in HOSTILE if text.startswith("[x]")]
    text = markdown_of(spoiled_result(leak, bad))
    assert rows(text)[-1][0] in {bad[:120], bad[:119] + "…"}


def test_a_thousand_pairs_fit_on_github_s_page(leak):
    many = [
        dataclasses.replace(leak, reasons=("x" * 2000,) * 8, pair="&" * 300)
        for _ in range(1000)
    ]
    text = markdown_of(*many)
    assert len(text.encode()) < 1_048_576
    assert "and 800 more pairs" in text


def test_the_summary_is_appended_to_those_of_other_steps(tmp_path, leak):
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    append_job_summary(RunReport("9.9", (leak,)), path)
    assert path.read_text(encoding="utf-8").startswith(
        "before\n## ❌ Memorization: FAIL\n"
    )
