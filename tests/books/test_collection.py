"""Collections: which works a file or a pattern holds, how they are cut, and what is left out."""

import json
from pathlib import Path

import pytest

from pytest_memleak.books.build_book import paper_records, with_summaries
from pytest_memleak.books.formats import read_manuscript
from pytest_memleak.books.works import make_collection, read_works
from pytest_memleak.errors import BookError, RecordsError
from pytest_memleak.records import CollectionSource

ASKED = "Write {words} words, the poem {title} by {author}."
SUITE = Path(__file__).parents[2] / "suites" / "collection"


@pytest.fixture
def collect(tmp_path):
    """The collection in files that are written first; one file is named, several are a pattern."""

    def make(files, *, unit="sentence", together=None, **more):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        alone = len(files) == 1 if together is None else together
        source = CollectionSource(tuple(tmp_path / one for one in files), alone, unit)
        made = read_works(source, read_manuscript)
        return make_collection("songs", made, in_lines=unit == "line", **({"k": 5} | more))

    return make


def poem(word, lines=4, each=6):
    return "\n".join(" ".join(f"{word}{n}x{m}" for m in range(each)) for n in range(lines))


def told(book):
    return [(one.id, one.title, one.first, one.end) for one in book.works]


# --- which works there are -----------------------------------------------------------------


def test_of_files_each_is_a_work_whatever_stands_in_it(collect):
    book = collect(
        {
            "b/two.txt": poem("two"),
            "a/one.md": f"# First\n\n{poem('one')}\n\n# Second\n\n{poem('more')}",
        }
    )
    assert told(book) == [("b/two.txt", "two", 0, 1), ("a/one.md", "one", 1, 2)]
    assert "more3x5" in book.excerpts[1].text


def test_a_file_alone_holds_a_work_under_each_heading(collect):
    text = f"# The Kite\n\n{poem('kite')}\n\n# The Kettle\n\n{poem('kettle')}\n"
    book = collect({"songs.md": text})
    assert told(book) == [("songs.md:1", "The Kite", 0, 1), ("songs.md:2", "The Kettle", 1, 2)]
    assert [one.chapter for one in book.excerpts] == ["The Kite", "The Kettle"]


def test_a_file_alone_without_headings_is_no_collection(collect):
    with pytest.raises(BookError, match="no headings that separate its works"):
        collect({"songs.txt": poem("kite")})


def test_rows_of_json_are_works_with_their_own_title_and_author(collect):
    rows = [{"title": "Kite", "author": "Ann", "text": poem("kite")}, {"text": poem("kettle")}]
    text = "\n".join(map(json.dumps, rows))
    book = collect({"songs.jsonl": text}, author="Bob", template=ASKED)
    assert [(one.title, one.author) for one in book.works] == [
        ("Kite", "Ann"),
        ("songs.jsonl:2", "Bob"),
    ]
    assert book.excerpts[0].instruction == "Write 24 words, the poem Kite by Ann."
    assert book.excerpts[1].instruction == "Write 24 words, the poem songs.jsonl:2 by Bob."


def test_a_row_with_tags_is_refused(collect):
    lines = poem("kite").replace("\n", "<br/>\n")
    rows = [{"text": poem("other") + " a < b, b > c"}, {"text": lines}]
    with pytest.raises(BookError, match=r"is HTML, not plain text") as refused:
        collect({"songs.jsonl": "\n".join(map(json.dumps, rows))})
    assert "record 2" in str(refused.value)


def test_one_work_whose_words_run_together_is_named(collect):
    rows = [{"text": poem(f"work{number}", lines=20)} for number in range(90)]
    rows[70]["text"] = rows[70]["text"].replace(" ", "").replace("\n", "")
    with pytest.raises(BookError, match=r"work 'songs\.jsonl:71'.*in words of over 40"):
        collect({"songs.jsonl": "\n".join(map(json.dumps, rows))})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"title": "Kite"}, "record 1: text is missing"),
        ({"text": 5}, "record 1: text isn't a string"),
        ({"text": "all the words of it", "title": ["Kite"]}, "record 1: title isn't a string"),
        ("Kite", "record 1: isn't an object"),
    ],
)
def test_a_row_of_another_form_is_named(collect, row, said):
    with pytest.raises(BookError, match=said) as refused:
        collect({"songs.jsonl": json.dumps(row)})
    assert "a row is {" in str(refused.value)


def test_what_prepare_writes_is_the_same_collection_again(collect):
    long = "\n\n".join(poem(f"long{n}", lines=20) for n in range(8))
    first = collect({"a.txt": long, "b.txt": poem("kite")}, author="Ann")
    assert [one.end - one.first for one in first.works] == [2, 1]
    again = collect({"songs.json": json.dumps(paper_records(first))})
    assert [(one.title, one.author, one.first, one.end) for one in again.works] == [
        ("a", "Ann", 0, 2),
        ("b", "Ann", 2, 3),
    ]
    assert [one.text for one in again.excerpts] == [one.text for one in first.excerpts]


def test_works_of_one_name_stay_two_when_they_are_read_again(collect):
    rows = [{"title": "Song", "author": "Ann", "text": poem(one)} for one in ("a", "b", "c")]
    first = collect({"songs.jsonl": "\n".join(map(json.dumps, rows))})
    again = collect({"again.json": json.dumps(paper_records(first))})
    assert [one.title for one in again.works] == [
        "Song",
        "Song (songs.jsonl:2)",
        "Song (songs.jsonl:3)",
    ]
    assert [one.text for one in again.excerpts] == [one.text for one in first.excerpts]


def test_rows_of_the_papers_that_name_no_work_are_not_taken_for_one(collect):
    rows = [{"excerpt_id": f"p_id{n}", "excerpt_text": poem(f"w{n}")} for n in range(9)]
    with pytest.raises(BookError, match="rows without book_name") as refused:
        collect({"songs.jsonl": "\n".join(map(json.dumps, rows))})
    assert "work 1" in refused.value.location


# --- how they are cut ----------------------------------------------------------------------


def test_no_excerpt_is_of_two_works_however_short_they_are(collect):
    book = collect({f"{n:03}.txt": poem(f"w{n}", lines=2) for n in range(60)})
    assert len(book.excerpts) == len(book.works) == 60
    assert book.breaks == tuple(range(1, 60))
    assert [one.id for one in book.excerpts[:3]] == ["p_id1", "p_id2", "p_id3"]


def test_lines_are_kept_and_never_parted_where_they_are_the_unit(collect):
    stanzas = [poem(f"s{n}", lines=5, each=7) for n in range(40)]
    [*texts] = (
        one.text
        for one in collect(
            {"a.txt": "\n\n".join(stanzas), "b.txt": poem("b")}, unit="line"
        ).excerpts
    )
    lines = [line for text in texts[:-1] for line in text.split("\n") if line]
    assert lines == "\n".join(stanzas).split("\n")
    sizes = [len(text.split()) for text in texts[:-1]]
    assert all(300 <= size <= 500 for size in sizes)
    # Cuts are at the ends of stanzas.
    assert all(len(text.split("\n\n")[-1].split("\n")) == 5 for text in texts[:-1])
    assert texts[-1] == poem("b")


def test_markdown_keeps_the_lines_of_verse_too(collect):
    text = f"# Kite\n\n{poem('kite')}\n\n# Kettle\n\n{poem('kettle')}\n"
    assert collect({"songs.md": text}, unit="line").excerpts[0].text == poem("kite")
    assert collect({"songs.md": text}).excerpts[0].text == poem("kite").replace("\n", " ")


def test_rows_keep_theirs(collect):
    rows = json.dumps({"text": "one two three\r\nfour five six\r\n\r\nseven eight"})
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
    assert [(one.kept, one.words, one.matter) for one in book.parts] == [
        (True, 24, 8),
        (True, 24, 0),
    ]


def test_of_a_row_of_one_paragraph_the_notice_goes_alone(collect):
    text = f"The kite rose over the town. {NOTICE} It fell before the night was over."
    [first, *_] = collect({"a.jsonl": json.dumps({"text": text}), "b.txt": poem("b")}).excerpts
    assert first.text == "The kite rose over the town.\n\nIt fell before the night was over."


# --- what is left out, and refused ---------------------------------------------------------


def test_works_of_under_k_words_are_named_and_left_out(collect):
    book = collect({"a.txt": poem("a"), "tiny.txt": "Only four words here", "c.txt": poem("c")})
    assert [one.title for one in book.works] == ["a", "c"]
    assert book.warnings == ("left out works too short for a match of k = 5 words: tiny",)
    assert [(one.label, one.kept, one.words, one.matter) for one in book.parts] == [
        ("a", True, 24, 0),
        ("tiny", False, 0, 4),
        ("c", True, 24, 0),
    ]
    assert [one.id for one in book.excerpts] == ["p_id1", "p_id2"]


def test_a_collection_of_nothing_else_is_refused(collect):
    with pytest.raises(BookError, match="has no work of k = 5 words or more"):
        collect({"a.txt": "Four words it has", "b.txt": "* * *\n\nand two"})


def test_a_work_that_the_mode_paper_cannot_see_is_refused_by_name(collect):
    hindi = "नदी के किनारे एक नाव बँधी थी और रात थी " * 3
    with pytest.raises(BookError, match=r"work 'b\.txt'"):
        collect({"a.txt": poem("a"), "b.txt": hindi})
    assert len(collect({"a.txt": poem("a"), "b.txt": hindi}, mode="unicode").works) == 2


def test_a_word_that_the_mode_paper_does_not_see_is_no_matter(collect):
    assert len(collect({"a.txt": "à six o'clock à la gare", "b.txt": poem("b")}).works) == 2


def test_what_a_work_lacks_for_its_instruction_is_told_with_the_work(collect):
    with pytest.raises(BookError, match=r"work 'b\.txt': .* needs the book's author"):
        collect({"b.txt": poem("b"), "a.txt": poem("a")}, template=ASKED)


def test_summaries_are_written_into_the_instruction_of_their_work(collect):
    book = collect({"a.txt": poem("a"), "b.txt": poem("b")}, author="Ann")
    asked = with_summaries(
        book, {"p_id1": "rain", "p_id2": "wind"}, template="{title} by {author}: {summary}"
    )
    assert [one.instruction for one in asked.excerpts] == ["a by Ann: rain", "b by Ann: wind"]


def test_the_suite_that_ships_has_thirty_works_and_more():
    verse = CollectionSource((SUITE / "poems.md",), True, "line")
    notices = CollectionSource((SUITE / "notices.jsonl",), True)
    books = [
        make_collection("c", read_works(one, read_manuscript), k=5, in_lines=one.unit == "line")
        for one in (verse, notices)
    ]
    assert [len(one.works) for one in books] == [21, 12]
    assert all(not one.warnings for one in books)


# --- hostile ones --------------------------------------------------------------------------

HOSTILE = {
    "rows of nothing": ("a.jsonl", '{"text": "la"}\n' * 20_001, "more than 20,000 works"),
    "brackets": ("a.json", "[" + "[]," * 6_000_000 + "[]]", "more than the 16,777,216 bytes"),
    "a row of brackets": ("a.jsonl", "[" + "[]," * 6_000_000 + "[]]", "more than the 16,777,216"),
    "a row without end": ("a.jsonl", '{"text": "' + "la " * 6_000_000 + '"}', "the line has more"),
    "no rows": ("a.json", "[]", "contains no rows"),
    "deep rows": ("a.json", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_collection_is_comes_to_an_end(collect, name):
    file, text, said = HOSTILE[name]
    with pytest.raises((BookError, RecordsError), match=said):
        collect({file: text}, unit="line")
