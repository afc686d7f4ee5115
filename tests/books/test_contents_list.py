"""Which blocks are a list of contents within the text, against a slow oracle."""

import pytest
from epub_texts import p, paragraphs
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.books.contents_list import CONTENTS, with_contents_marked
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.text_blocks import TextBlock
from pytest_memleak.books.text_decoding import letters_and_digits

TITLES = [f"Chapter {number}. The {number}th Voyage" for number in range(1, 8)]
TEXT = TextBlock("The boat lay in the harbor, and its owner sat on the quay.")


def chapters(titles=TITLES):
    blocks = []
    for title in titles:
        blocks += [TextBlock(title, 2), TEXT]
    return blocks


def marked(*blocks):
    (document,) = with_contents_marked([tuple(blocks)])
    return [block.text for block in document if block.matter == CONTENTS]


@pytest.mark.parametrize(
    "entry", ["{}", "{} . . . . 17", "{}\u00a0xii", "{}".upper(), "{} ………… 203"]
)
def test_a_list_of_contents_is_matter(entry):
    entries = [entry.format(title) for title in TITLES]
    assert marked(*map(TextBlock, entries), TEXT, *chapters()) == entries


def test_the_title_contents_before_a_list_is_matter():
    entries = ["Contents", *TITLES]
    assert marked(*map(TextBlock, entries), *chapters()) == entries


def test_an_entry_may_repeat_headings_in_a_row():
    titles = [f"BOOK {number}—THE SEA" for number in range(6)]
    blocks = []
    for title in titles:
        first, _, second = title.partition("—")
        blocks += [TextBlock(first, 1), TextBlock(second, 2), TEXT]
    assert marked(*map(TextBlock, titles), *blocks) == titles


def test_a_single_entry_that_differs_belongs_to_the_list():
    entries = [*TITLES[:5], "Chapter 5b. A title of its own", *TITLES[5:]]
    more = [f"Part {number}" for number in range(9)]
    blocks = [*map(TextBlock, [*entries, *more]), *chapters([*TITLES, *more])]
    assert marked(*blocks) == [*entries, *more]


@pytest.mark.parametrize(
    "blocks",
    [
        [*map(TextBlock, TITLES[:4]), TEXT, *chapters()],
        [*map(TextBlock, reversed(TITLES)), TEXT, *chapters()],
        [*chapters(), *map(TextBlock, TITLES)],
        [TextBlock(title) for title in TITLES],
        [*map(TextBlock, TITLES[:3]), TEXT, *map(TextBlock, TITLES[3:]), *chapters()],
        [TextBlock(f"{title} {TEXT.text}") for title in TITLES] + chapters(),
    ],
    ids=["four entries", "backwards", "behind", "no headings", "parted", "more words"],
)
def test_other_blocks_are_text(blocks):
    assert marked(*blocks) == []


def test_sentences_that_a_book_repeats_as_headings_are_text():
    long = [f"{number} {TEXT.text}" for number in range(6)]
    assert marked(*map(TextBlock, long), *chapters(long)) == []


def slow_lists(blocks):
    """Try every run of blocks, longest first, from the left."""
    headings = [
        (index, letters_and_digits(block.text))
        for index, block in enumerate(blocks)
        if block.level
    ]
    listed = set()
    start = 0
    while start < len(blocks):
        end, after = start, 0
        first = None
        while end < len(blocks):
            letters = letters_and_digits(blocks[end].text)
            later = [
                index
                for index, heading in headings
                if index > max(end, after) and heading == letters
            ]
            if not later:
                break
            first, after = first or later[0], later[0]
            end += 1
        if end - start >= 5 and first >= end:
            listed |= set(range(start, end))
        start = max(end, start) + 1
    return listed


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0, 0, 1])),
        max_size=40,
    )
)
def test_marked_blocks_are_those_of_the_oracle(pairs):
    blocks = [TextBlock(text, level) for text, level in pairs]
    for index in range(1, len(blocks)):
        # Headings in a row have keys of their own, which the oracle leaves out.
        if blocks[index].level and blocks[index - 1].level:
            blocks[index] = TextBlock(blocks[index].text)
    (document,) = with_contents_marked([tuple(blocks)])
    listed = {index for index, block in enumerate(document) if block.matter}
    missing = listed ^ slow_lists(blocks)
    # Of these, only single blocks between two lists.
    assert all({index - 1, index + 1} <= listed for index in missing)


def test_a_list_in_an_epub_is_neither_read_nor_searched(new_epub):
    documents = {"list.xhtml": f"<h1>A Book</h1>{p(TITLES)}"}
    for number, title in enumerate(TITLES):
        text = p(paragraphs(f"harbor{number}", 8))
        documents[f"c{number}.xhtml"] = f"<h2>{title}</h2>{text}"
    manuscript = read_epub(new_epub(documents).write())
    assert not set(TITLES) & set(manuscript.paragraphs())
    for excluded in manuscript.excluded:
        assert not set(TITLES) & set(excluded.paragraphs)
    assert [chapter.title for chapter in manuscript.chapters] == TITLES
