"""What is asked about each excerpt: the paper's instructions, templates, summaries, beginnings."""

import dataclasses
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.books.instructions import (
    BARE_PREFIX,
    CONTINUE_INSTRUCTION,
    DEFAULT_INSTRUCTION,
    beginnings,
    instruct,
    load_summaries,
    used_placeholders,
    validate_continuation,
    write_summaries,
)
from pytest_memleak.errors import BookError
from pytest_memleak.records import Book, Excerpt
from pytest_memleak.scoring.words import words

EXCERPTS = (
    Excerpt("p_id1", "It rainéd, don't you see?"),
    Excerpt("p_id2", "It stopped."),
)
SUMMARIES = {"p_id1": "Rain {words}.", "p_id2": "No rain."}


def instructions(excerpts=EXCERPTS, **settings):
    known = {"author": "A", "title": "T", "summaries": None, "place": "book 'x'"}
    return instruct(excerpts, **known | settings)


def test_the_papers_form_and_templates_of_ones_own():
    assert used_placeholders(DEFAULT_INSTRUCTION) == {"words", "author", "summary"}
    first, second = instructions(author="A. N. Author", title=None, summaries=SUMMARIES)
    assert first.instruction == (
        "Write a 5 word excerpt about the content below emulating the style and voice "
        "of"
        " A. N. Author\n\nContent: Rain {words}."
    )
    assert second.instruction.startswith("Write a 2 word excerpt")
    assert (first.id, first.text) == (EXCERPTS[0].id, EXCERPTS[0].text)
    asked = instructions(template="{{{title}}} by {author}: go on")
    assert {one.instruction for one in asked} == {"{T} by A: go on"}
    japanese = [Excerpt("p_id1", "雨が降った")]
    (excerpt,) = instructions(japanese, template="{words}", mode="unicode", author=None)
    assert excerpt.instruction == "5"
    assert instructions() == EXCERPTS  # without summaries, nobody has written any


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        *(
            (
                {"template": name},
                f"the unknown placeholder {name}",
                "{words}, {author}, {title}",
            )
            for name in (
                "{}",
                "{0}",
                "{genre}",
                "{author.name}",
                "{words:,}",
                "{title!r}",
            )
        ),
        ({"template": "{summary[0]}"}, "the unknown placeholder", "{summary}"),
        *(
            ({"template": braces}, "template", "")
            for braces in ("{", "}", "a {author", "{a{b}}")
        ),
        (
            {"template": "{author}", "author": None},
            "the book's author",
            'author = "..."',
        ),
        ({"template": "{title}", "title": None}, "the book's title", 'title = "..."'),
        ({"summaries": {"p_id1": "x"}}, "'p_id2' has no summary", ""),
    ],
)
def test_templates_that_cannot_be_filled_are_rejected(settings, message, hint):
    with pytest.raises(BookError) as caught:
        instructions(**settings)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.location == "book 'x'"


DIGESTS = [hashlib.sha256(one.text.encode()).hexdigest() for one in EXCERPTS]
GOOD = {
    "p_id1": {"summary": "Rain.", "excerpt_sha256": DIGESTS[0]},
    "p_id2": {"summary": "None.", "excerpt_sha256": DIGESTS[1]},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "book.summaries.json"


def but(entry, **changes):
    values = {
        name: value
        for name, value in (GOOD[entry] | changes).items()
        if value is not None
    }
    return {**GOOD, entry: values}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"p_id1": GOOD["p_id1"]}, "the book has 2 excerpts, the file 1 summary"),
        (
            {**GOOD, "p_id3": GOOD["p_id1"]},
            "'p_id3', which isn't an excerpt of the book",
        ),
        (but("p_id1", excerpt_sha256="0" * 64), "'p_id1' has changed"),
        (but("p_id1", summary=" "), "'p_id1' has no summary"),
        (but("p_id2", excerpt_sha256=None), "'p_id2' has no excerpt_sha256"),
        ({**GOOD, "p_id1": "Rain."}, "'p_id1' isn't an object"),
        ([], "isn't a JSON object"),
        (b"", "is empty"),
        (b"{", "isn't JSON: .* at line 1"),
        (b"\xff\xfe", "isn't UTF-8"),
        (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        (b"[" * 100_000, "is invalid JSON"),
        (None, "can't be read: No such file"),
    ],
)
def test_summaries_that_do_not_fit_are_rejected(path, data, match):
    if data is not None:
        path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    with pytest.raises(BookError, match=match) as caught:
        load_summaries(path, EXCERPTS)
    assert caught.value.location == str(path)


def test_written_summaries_can_be_loaded_and_invalid_ones_are_not_written(path):
    with pytest.raises(BookError, match="'p_id2' has no summary"):
        write_summaries(path, EXCERPTS, {"p_id1": "Rain."})
    assert not path.exists()
    with pytest.raises(BookError, match="can't be written"):
        write_summaries(
            path / "no.json", EXCERPTS, {"p_id1": "Rain.", "p_id2": "None."}
        )
    summaries = {"p_id1": "Rain.", "p_id2": "None."}
    write_summaries(path, EXCERPTS, summaries)
    assert json.loads(path.read_bytes()) == GOOD
    assert load_summaries(path, EXCERPTS) == summaries
    assert [*path.parent.iterdir()] == [path]
    path.write_text(json.dumps({"_about": "by hand", **GOOD}))
    assert load_summaries(path, EXCERPTS) == summaries


def book(*texts):
    excerpts = tuple(
        Excerpt(f"p_id{n}", text, "Write.") for n, text in enumerate(texts, 1)
    )
    return Book("b", "B", "Nobody", excerpts, digest="whole")


def test_an_excerpt_is_parted_after_so_many_words_at_most_half():
    asked = beginnings(book("One, two “three” — four. Five six."), prefix_words=3)
    (excerpt,) = asked.excerpts
    assert excerpt.instruction == CONTINUE_INSTRUCTION.format(
        prefix="One, two “three", words=5
    )
    assert excerpt.text == "” — four. Five six."
    assert (excerpt.id, asked.contiguous) == ("p_id1", False)
    assert asked.digest not in ("", "whole")
    (excerpt,) = beginnings(book("{a} b {c} d"), prefix_words=2).excerpts
    assert excerpt.instruction.endswith("{a} b")
    bad = {
        "Go on.": "has no {prefix}",
        "{prefix} {summary}": "{summary}",
        "{prefix": "is invalid",
    }
    for template, said in bad.items():
        with pytest.raises(BookError) as caught:
            validate_continuation(template)
        assert said in str(caught.value)
    asked = beginnings(
        book("a b c d e", "alone", "…"), prefix_words=50, template=BARE_PREFIX
    )
    parted = [(one.instruction, one.text) for one in asked.excerpts]
    assert parted == [("a b", " c d e"), (None, "alone"), (None, "…")]


MIXED = st.text(
    st.sampled_from("ab Z1_’.\n é国王かกI\u0300\u00ad\u200b㏂㎏İΣς\u0344"), max_size=60
)


@given(
    MIXED | st.text(max_size=40),
    st.integers(1, 12),
    st.sampled_from(["paper", "unicode"]),
)
def test_beginnings_and_excerpts_keep_every_word(text, prefix_words, mode):
    settings = {"prefix_words": prefix_words, "template": BARE_PREFIX, "mode": mode}
    (parted,) = beginnings(book(text), **settings).excerpts
    if parted.instruction is None:
        assert parted == dataclasses.replace(book(text).excerpts[0], instruction=None)
        return
    assert parted.instruction + parted.text == text
    assert words(parted.instruction, mode) + words(parted.text, mode) == words(
        text, mode
    )
    asked = len(words(parted.instruction, mode))
    least = min(prefix_words, len(words(text, mode)) // 2)
    # One character may be two words in mode unicode.
    assert asked == least if mode == "paper" else least <= asked
