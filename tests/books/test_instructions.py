from __future__ import annotations

import pytest

from pytest_memleak.books.instructions import DEFAULT_INSTRUCTION, check_template, instruct
from pytest_memleak.errors import BookError
from pytest_memleak.records import Excerpt

EXCERPTS = (Excerpt("p_id1", "It rained, don't you see?"), Excerpt("p_id2", "It stopped."))
SUMMARIES = {"p_id1": "Rain {words}.", "p_id2": "No rain."}


def test_the_papers_form():
    first, second = instruct(EXCERPTS, author="A. N. Author", title=None, summaries=SUMMARIES)
    assert first.instruction == (
        "Write a 6 word excerpt about the content below emulating the style and voice of"
        " A. N. Author\n\nContent: Rain {words}."
    )
    assert second.instruction.startswith("Write a 2 word excerpt")
    assert (first.id, first.text) == (EXCERPTS[0].id, EXCERPTS[0].text)


def test_words_are_counted_in_the_mode():
    (one,) = instruct(
        [Excerpt("p_id1", "雨が降った")],
        author=None,
        title=None,
        summaries=None,
        template="{words}",
        mode="unicode",
    )
    assert one.instruction == "5"


def test_a_template_of_ones_own():
    template = "{{{title}}} by {author}: go on"
    found = instruct(EXCERPTS, author="A", title="T", summaries=None, template=template)
    assert {one.instruction for one in found} == {"{T} by A: go on"}


def test_without_summaries_nobody_has_written_the_instructions():
    assert instruct(EXCERPTS, author="A", title="T", summaries=None) == EXCERPTS


def test_the_default_uses_what_it_may():
    assert check_template(DEFAULT_INSTRUCTION) == {"words", "author", "summary"}


@pytest.mark.parametrize(
    "placeholder",
    ["{}", "{0}", "{genre}", "{author.name}", "{words:,}", "{title!r}", "{summary[0]}"],
)
def test_unknown_placeholders(placeholder):
    with pytest.raises(BookError, match="template has the unknown placeholder") as caught:
        instruct(
            EXCERPTS, author="A", title="T", summaries=None, template=placeholder, place="book 'x'"
        )
    assert placeholder in caught.value.message
    assert "{words}, {author}, {title}, {summary}" in caught.value.hint
    assert caught.value.location == "book 'x'"


@pytest.mark.parametrize("template", ["{", "}", "a {author", "{a{b}}"])
def test_braces_that_stand_alone(template):
    with pytest.raises(BookError, match="template"):
        check_template(template)


@pytest.mark.parametrize("name", ["author", "title"])
def test_what_nobody_knows_cannot_be_written(name):
    with pytest.raises(BookError, match=f"needs the book's {name}") as caught:
        instruct(EXCERPTS, author=None, title=None, summaries=None, template=f"{{{name}}}")
    assert f'{name} = "..."' in caught.value.hint


def test_a_missing_summary_is_named():
    with pytest.raises(BookError, match="'p_id2' has no summary"):
        instruct(EXCERPTS, author="A", title="T", summaries={"p_id1": "x"})
