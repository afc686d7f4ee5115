import json
from pathlib import Path

import pytest

from pytest_memleak.books.book_file_types import read_manuscript
from pytest_memleak.books.build_book import make_book, paper_records, with_instructions
from pytest_memleak.books.chapters import build_chapters, validate_has_words
from pytest_memleak.books.instructions import load_summaries, write_summaries
from pytest_memleak.books.text_blocks import TextBlock
from pytest_memleak.books.works import make_collection, read_works
from pytest_memleak.builtin import memleak_read_book
from pytest_memleak.errors import BookError, RecordsError
from pytest_memleak.formats.paper_format import book_from_records
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.records import CollectionSource

TEXT = "Every word of it was true, and they all knew it well enough. " * 60
MANUSCRIPT = Manuscript("A Book", "An Author", (Chapter("I", (TEXT,)),), ("a warning",))


@pytest.fixture
def summaries(tmp_path):
    path = tmp_path / "summaries.json"
    excerpts = make_book("x", MANUSCRIPT).excerpts
    write_summaries(
        path, excerpts, {one.id: f"What {one.id} says." for one in excerpts}
    )
    return path


def test_a_book_takes_title_author_and_warnings_from_its_manuscript(summaries):
    book = make_book("a-book", MANUSCRIPT, summaries=summaries)
    assert (book.id, book.title, book.author) == ("a-book", "A Book", "An Author")
    assert book.warnings == ("a warning",)
    assert [one.id for one in book.excerpts] == ["p_id1", "p_id2"]
    assert book.excerpts[1].instruction.endswith(
        "voice of An Author\n\nContent: What p_id2 says."
    )
    assert (book.excerpts[0].chapter, len(book.digest)) == ("I", 64)


def test_the_suites_title_author_and_template_come_first(summaries):
    other = make_book(
        "x",
        MANUSCRIPT,
        title="Other",
        author="Else",
        summaries=summaries,
        template="{title} by {author}: {summary}",
    )
    assert (other.title, other.author) == ("Other", "Else")
    assert other.excerpts[0].instruction == "Other by Else: What p_id1 says."


def test_a_book_without_summaries_has_instructions_only_if_the_template_needs_none():
    bare = make_book("x", MANUSCRIPT)
    assert {one.instruction for one in bare.excerpts} == {None}
    record = paper_records(bare)[0]
    assert (record["instruction"], record["detail"]) == ("", "")
    go_on = make_book("x", MANUSCRIPT, template="Go on with {title}.")
    assert go_on.excerpts[0].instruction == "Go on with A Book."


def test_the_digest_depends_on_instructions(summaries):
    book = make_book("a-book", MANUSCRIPT, summaries=summaries)
    bare = make_book("x", MANUSCRIPT)
    emulated = make_book("x", MANUSCRIPT, summaries=summaries, author="Else")
    assert len({made.digest for made in (book, bare, emulated)}) == 3


def test_a_book_without_an_author_cannot_fill_the_template(summaries):
    nameless = Manuscript(None, None, MANUSCRIPT.chapters)
    book = make_book("x", nameless)
    assert (book.title, book.author) == ("", "")
    needs = "book 'x': the instruction template needs the book's author"
    with pytest.raises(BookError, match=needs):
        make_book("x", nameless, summaries=summaries)


def test_summaries_of_a_changed_excerpt_are_rejected(summaries):
    other = Manuscript(
        "A Book", "An Author", (Chapter("I", (TEXT.replace("true", "false"),)),)
    )
    with pytest.raises(BookError, match="'p_id1' has changed since it was summarized"):
        make_book("x", other, summaries=summaries)


def test_paper_records_hold_the_book(summaries, tmp_path):
    book = make_book("A Book", MANUSCRIPT, summaries=summaries)
    records = paper_records(book, summaries=load_summaries(summaries, book.excerpts))
    keys = "excerpt_id excerpt_text instruction author_name book_name word_count detail"
    assert [list(record) for record in records] == [keys.split()] * 2
    assert records[0]["detail"] == "What p_id1 says."
    assert sum(record["word_count"] for record in records) == 13 * 60
    assert book_from_records(records, book_id="A Book").digest == book.digest
    path = tmp_path / "book.json"
    path.write_text(json.dumps(records))
    assert memleak_read_book(path, (), ()).digest == book.digest


p = TextBlock


def h(text, level=2):
    return TextBlock(text, level)


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        # A document may hold several chapters, and a chapter several documents.
        ([[h("One"), p("a"), h("Two"), p("b")], [p("c")], [h("Three"), p("d")]],
         [("One", ("a",)), ("Two", ("b", "c")), ("Three", ("d",))]),
        ([[p("a")], [h("One"), p("b")]], [(None, ("a",)), ("One", ("b",))]),
        # Headings without text between them are one title, across documents too.
        ([[h("Part I", 1)], [h("Chapter 1"), p("a")]], [("Part I: Chapter 1", ("a",))]),
        ([[h("I"), h("The Storm"), p("a")]], [("I: The Storm", ("a",))]),
        # A heading within another's text is named after it, in the same document only.
        ([[h("I"), p("a"), h("Letter", 3), p("b"), h("II"), p("c")]],
         [("I", ("a",)), ("I: Letter", ("b",)), ("II", ("c",))]),
        ([[h("Prologue", 1), p("a")], [h("Chapter 1"), p("b")]],
         [("Prologue", ("a",)), ("Chapter 1", ("b",))]),
        # The book's own title says nothing about a place in it, unless it is all there
        # is.
        ([[h("A Book!", 1), h("I"), p("a")]], [("I", ("a",))]),
        ([[h("A Book", 1), p("a")]], [("A Book", ("a",))]),
        # Headings at the end, or of nothing, open no chapter.
        ([[h("One"), p("a"), h("End")]], [("One", ("a",))]),
        ([[h("One")]], []),
        ([], []),
        # A text that is set in headings is a text.
        ([[h(f"line {n}") for n in range(9)]], [(None, tuple(f"line {n}" for n in range(9)))]),
    ],
)  # fmt: skip
def test_headings_open_chapters_and_become_their_titles(documents, expected):
    named = {str(number): blocks for number, blocks in enumerate(documents)}
    chapters = build_chapters(named, title="A Book")
    assert [(one.title, one.paragraphs) for one in chapters] == expected


def test_long_titles_are_cut_and_words_required():
    blocks = [h("x" * 150), h("y" * 150), p("a")]
    (chapter,) = build_chapters({"document": blocks}, title=None)
    assert len(chapter.title) == 200
    validate_has_words([Chapter(None, ("...", "Кот"))], place="x", hint="y")
    with pytest.raises(BookError, match="contains no words"):
        validate_has_words([Chapter(None, ("...", "_ —"))], place="x", hint="y")


ASKED = "Write {words} words, the poem {title} by {author}."
SUITE = Path(__file__).parents[2] / "suites" / "collection"


@pytest.fixture
def collect(tmp_path):
    """The collection in files that are written first; one file is named, several are a pattern."""

    def make(files, *, unit="sentence", **more):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [text] if isinstance(text, str) else map(json.dumps, text)
            path.write_text("\n".join(lines), encoding="utf-8")
        source = CollectionSource(
            tuple(tmp_path / one for one in files), len(files) == 1, unit
        )
        made = read_works(source, read_manuscript)
        return make_collection(
            "songs", made, in_lines=unit == "line", **({"k": 5} | more)
        )

    return make


def poem(word, lines=4, each=6):
    return "\n".join(
        " ".join(f"{word}{n}x{m}" for m in range(each)) for n in range(lines)
    )


def told(book):
    return [(one.id, one.title, one.first, one.end) for one in book.works]


@pytest.fixture
def refuse(collect):
    def check(files, match, hint="", **more):
        with pytest.raises((BookError, RecordsError), match=match) as caught:
            collect(files, **more)
        assert hint in str(caught.value)

    return check


def test_each_file_of_a_pattern_is_a_work(collect):
    two = f"# First\n\n{poem('one')}\n\n# Second\n\n{poem('more')}"
    book = collect({"b/two.txt": poem("two"), "a/one.md": two})
    assert told(book) == [("b/two.txt", "two", 0, 1), ("a/one.md", "one", 1, 2)]
    assert "more3x5" in book.excerpts[1].text


def test_headings_of_a_single_file_separate_its_works(collect):
    book = collect(
        {
            "songs.md": f"# The Kite\n\n{poem('kite')}\n\n# The Kettle\n\n{poem('kettle')}"
        }
    )
    assert told(book) == [
        ("songs.md:1", "The Kite", 0, 1),
        ("songs.md:2", "The Kettle", 1, 2),
    ]
    assert [one.chapter for one in book.excerpts] == ["The Kite", "The Kettle"]


def test_rows_are_works_with_their_own_title_and_author(collect):
    rows = [
        {"title": "Kite", "author": "Ann", "text": poem("kite")},
        {"text": poem("kettle")},
    ]
    book = collect({"songs.jsonl": rows}, author="Bob", template=ASKED)
    works = [(one.title, one.author) for one in book.works]
    assert works == [("Kite", "Ann"), ("songs.jsonl:2", "Bob")]
    assert book.excerpts[0].instruction == "Write 24 words, the poem Kite by Ann."
    assert (
        book.excerpts[1].instruction == "Write 24 words, the poem songs.jsonl:2 by Bob."
    )


TAGS = [
    {"text": poem("other") + " a < b, b > c"},
    {"text": poem("a").replace("\n", "<br/>\n")},
]
UNNAMED = [{"excerpt_id": f"p_id{n}", "excerpt_text": poem(f"w{n}")} for n in range(9)]
TOGETHER = [{"text": poem(f"work{number}", lines=20)} for number in range(90)]
TOGETHER[70] = {"text": "".join(TOGETHER[70]["text"].split())}
HINDI = "नदी के किनारे एक नाव बँधी थी और रात थी " * 3


@pytest.mark.parametrize(
    ("files", "said", "hint"),
    [
        ({"a.txt": poem("kite")}, "no headings that separate its works", ""),
        ({"a.jsonl": TAGS}, "is HTML, not plain text", "record 2"),
        ({"a.jsonl": TOGETHER}, r"work 'a\.jsonl:71'.*in words of over 40", ""),
        ({"a.jsonl": UNNAMED}, "rows without book_name", "work 1"),
        ({"a.jsonl": [{"title": "Kite"}]}, "record 1: text is missing", "a row is {"),
        ({"a.jsonl": [{"text": 5}]}, "record 1: text isn't a string", "a row is {"),
        (
            {"a.jsonl": [{"text": "a b", "title": ["Kite"]}]},
            "1: title isn't a str",
            "a row is {",
        ),
        ({"a.jsonl": ["Kite"]}, "record 1: isn't an object", "a row is {"),
        (
            {"a.txt": "Four words it has", "b.txt": "* * *\n\nand two"},
            "has no work of k = 5",
            "",
        ),
        ({"a.txt": poem("a"), "b.txt": HINDI}, r"work 'b\.txt'", ""),
    ],
    ids=range(10),
)
def test_an_invalid_work_is_rejected_by_its_name(refuse, files, said, hint):
    refuse(files, said, hint)


def test_prepared_records_are_the_same_collection_again(collect):
    long = "\n\n".join(poem(f"long{n}", lines=20) for n in range(8))
    first = collect({"a.txt": long, "b.txt": poem("kite")}, author="Ann")
    assert [one.end - one.first for one in first.works] == [2, 1]
    again = collect({"songs.json": json.dumps(paper_records(first))})
    works = [(one.title, one.author, one.first, one.end) for one in again.works]
    assert works == [("a", "Ann", 0, 2), ("b", "Ann", 2, 3)]
    assert [one.text for one in again.excerpts] == [one.text for one in first.excerpts]
    # Works of one name stay two.
    rows = [
        {"title": "Song", "author": "Ann", "text": poem(one)} for one in ("a", "b", "c")
    ]
    first = collect({"songs.jsonl": rows})
    again = collect({"again.json": json.dumps(paper_records(first))})
    names = ["Song", "Song (songs.jsonl:2)", "Song (songs.jsonl:3)"]
    assert [one.title for one in again.works] == names
    assert [one.text for one in again.excerpts] == [one.text for one in first.excerpts]


def test_excerpts_stay_within_a_work_and_keep_its_lines(collect):
    book = collect({f"{n:03}.txt": poem(f"w{n}", lines=2) for n in range(60)})
    assert len(book.excerpts) == len(book.works) == 60
    assert book.breaks == tuple(range(1, 60))
    assert [one.id for one in book.excerpts[:3]] == ["p_id1", "p_id2", "p_id3"]
    stanzas = [poem(f"s{n}", lines=5, each=7) for n in range(40)]
    book = collect({"a.txt": "\n\n".join(stanzas), "b.txt": poem("b")}, unit="line")
    texts = [one.text for one in book.excerpts]
    lines = [line for text in texts[:-1] for line in text.split("\n") if line]
    assert lines == "\n".join(stanzas).split("\n")
    assert all(
        300 <= size <= 500 for size in [len(text.split()) for text in texts[:-1]]
    )
    # Cuts are at the ends of stanzas.
    assert all(len(text.split("\n\n")[-1].split("\n")) == 5 for text in texts[:-1])
    assert texts[-1] == poem("b")
    text = f"# Kite\n\n{poem('kite')}\n\n# Kettle\n\n{poem('kettle')}\n"
    assert collect({"songs.md": text}, unit="line").excerpts[0].text == poem("kite")
    assert collect({"songs.md": text}).excerpts[0].text == poem("kite").replace(
        "\n", " "
    )

    rows = [{"text": "one two three\r\nfour five six\r\n\r\nseven eight"}]
    text = collect({"songs.jsonl": rows}, unit="line").excerpts[0].text
    assert text == "one two three\nfour five six\n\nseven eight"


NOTICE = "Copyright © 1999 by Ann Example. All rights reserved."


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.jsonl"])
@pytest.mark.parametrize(
    ("unit", "between"), [("line", "\n"), ("line", "\n\n"), ("sentence", "\n\n")]
)
def test_notices_are_left_out_of_works_and_told(collect, name, unit, between):
    text = f"{poem('kite')}{between}{NOTICE}"
    text = json.dumps({"text": text}) if name.endswith("jsonl") else text
    book = collect({name: text, "b.txt": poem("b")}, unit=unit)
    assert book.excerpts[0].text.split() == poem("kite").split()
    parts = [(one.kept, one.words, one.matter) for one in book.parts]
    assert parts == [(True, 24, 8), (True, 24, 0)]


def test_works_that_are_too_short_are_left_out_with_a_warning(collect):
    book = collect(
        {"a.txt": poem("a"), "tiny.txt": "Only four words here", "c.txt": poem("c")}
    )
    assert [one.title for one in book.works] == ["a", "c"]
    assert book.warnings == (
        "left out works too short for a match of k = 5 words: tiny",
    )
    parts = [(one.label, one.kept, one.words, one.matter) for one in book.parts]
    assert parts == [("a", True, 24, 0), ("tiny", False, 0, 4), ("c", True, 24, 0)]
    assert [one.id for one in book.excerpts] == ["p_id1", "p_id2"]
    # Words of other scripts are matter in mode paper, not those beside it.
    assert len(collect({"a.txt": poem("a"), "b.txt": HINDI}, mode="unicode").works) == 2
    assert (
        len(collect({"a.txt": "à six o'clock à la gare", "b.txt": poem("b")}).works)
        == 2
    )
    text = f"The kite rose over the town. {NOTICE} It fell before the night was over."
    [first, *_] = collect({"a.jsonl": [{"text": text}], "b.txt": poem("b")}).excerpts
    assert (
        first.text
        == "The kite rose over the town.\n\nIt fell before the night was over."
    )


def test_summaries_are_written_for_their_work_and_the_suite_that_ships_has_many(
    collect, refuse
):
    book = collect({"a.txt": poem("a"), "b.txt": poem("b")}, author="Ann")
    summaries = {"p_id1": "rain", "p_id2": "wind"}
    asked = with_instructions(
        book, summaries, template="{title} by {author}: {summary}"
    )
    assert [one.instruction for one in asked.excerpts] == [
        "a by Ann: rain",
        "b by Ann: wind",
    ]
    files = {"b.txt": poem("b"), "a.txt": poem("a")}
    refuse(files, r"work 'b\.txt': .* needs the book's author", template=ASKED)
    verse = CollectionSource((SUITE / "poems.md",), True, "line")
    notices = CollectionSource((SUITE / "notices.jsonl",), True)
    books = [
        make_collection(
            "c", read_works(one, read_manuscript), k=5, in_lines=one.unit == "line"
        )
        for one in (verse, notices)
    ]
    assert [len(one.works) for one in books] == [21, 12]
    assert all(not one.warnings for one in books)


HOSTILE = {
    "rows of nothing": (
        "a.jsonl",
        '{"text": "la"}\n' * 20_001,
        "more than 20,000 works",
    ),
    "brackets": (
        "a.json",
        "[" + "[]," * 6_000_000 + "[]]",
        "the maximum of 16,777,216 bytes",
    ),
    "a row of brackets": (
        "a.jsonl",
        "[" + "[]," * 6_000_000 + "[]]",
        "the maximum of 16,777,216",
    ),
    "a row without end": (
        "a.jsonl",
        '{"text": "' + "la " * 6_000_000 + '"}',
        "the line exceeds",
    ),
    "no rows": ("a.json", "[]", "contains no rows"),
    "deep rows": ("a.json", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_collections_are_rejected(refuse, name):
    file, text, said = HOSTILE[name]
    refuse({file: text}, said, unit="line")
