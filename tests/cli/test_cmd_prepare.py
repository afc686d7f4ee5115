"""`memleak prepare`: a book becomes the paper's records; which files are rejected."""

import json
from pathlib import Path

import pytest

from pytest_memleak.books.build_book import make_book, words_digest
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.instructions import write_summaries
from pytest_memleak.books.plain_text import read_text
from pytest_memleak.cli.main import main

LAMPLIGHTER = "fixtures/books/the-lamplighter.epub"
STORY = "Every word of it was true, and they all knew it well enough by then. " * 120
WORDS = 15 * 120
KUSAMAKURA = (
    "山路を登りながら、こう考えた。智に働けば角が立つ。情に棹させば流される。" * 40
)
SHORT = {"excerpt_id": "p_id1", "excerpt_text": "a b c d e f g h"}


@pytest.fixture
def prepare(tmp_path, capsys):
    """Prepares a book; returns the records, and what was printed."""

    def run(*arguments):
        output = tmp_path / "out.json"
        assert main(["prepare", "-o", str(output), *map(str, arguments)]) == 0
        return json.loads(output.read_text(encoding="utf-8")), capsys.readouterr()

    return run


EXPLAINED = [
    "document",
    "label",
    "read",
    "words",
    "matter",
    "notes",
    "headings",
    "rule",
]


def test_explain_lists_every_document(capsys):
    assert main(["prepare", LAMPLIGHTER, "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == EXPLAINED
    by_name = {line.split()[0]: line for line in lines[1:12]}
    assert "Colophon" in by_name["EPUB/text/colophon.xhtml"]
    assert "excluded" in by_name["EPUB/text/colophon.xhtml"]
    chapter = by_name["EPUB/text/chapter-3.xhtml"].split()[-8:]
    assert chapter == ["text", "1,659", "0", "48", "5", "it", "is", "text"]
    assert by_name["EPUB/nav.xhtml"].endswith('the spine marks it linear="no"')


def test_explain_sums_what_is_excluded_by_its_rule(capsys):
    assert main(["prepare", LAMPLIGHTER, "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[12].startswith("12,345 words of text in 7 of 11 documents")
    assert lines[13:] == [
        "1.5% of the file excluded",
        "excluded because the landmarks place it outside the main text: 3 documents, "
        "108 words",
        'excluded because the spine marks it linear="no": 1 document, 0 words',
    ]


def test_include_comes_before_every_rule(prepare):
    selection = ["--include", "colophon*", "--exclude", "EPUB/text/chapter-7.xhtml"]
    _, (out, _) = prepare(LAMPLIGHTER, "--explain", *selection)
    assert f"{12_345 - 1_943 + 81:,} words -> " in out
    assert "it matches include" in out
    assert "excluded because it matches exclude: 1 document" in out


def test_summaries_become_instructions(file, prepare):
    book, summaries = file("story.txt", STORY), file("sum.json", "")
    excerpts = make_book("s", read_text(book)).excerpts
    details = {excerpt.id: f"What {excerpt.id} tells." for excerpt in excerpts}
    write_summaries(summaries, excerpts, details)
    (first, *_), _ = prepare(book, "--summaries", summaries, "--author", "A")
    assert first["detail"] == "What p_id1 tells."
    end = "style and voice of A\n\nContent: What p_id1 tells."
    assert first["instruction"].endswith(end)


def test_a_text_becomes_the_paper_s_records(file, prepare):
    book = file("story.txt", STORY)
    records, (out, err) = prepare(book, "--title", "T", "--author", "A", "--explain")
    names = {(record["book_name"], record["author_name"]) for record in records}
    assert names == {("T", "A")}
    assert sum(record["word_count"] for record in records) == WORDS
    assert all(300 <= record["word_count"] <= 500 for record in records)
    output = book.with_name("out.json")
    assert out.endswith(f"{len(records)} excerpts, {WORDS:,} words -> {output}\n")
    assert f"{WORDS:,} words of text in 1 of 1 document;" in out
    assert "without summaries, the excerpts have no instructions" in err


def test_prepared_records_can_be_scored(file, prepare, capsys):
    book = file("story.txt", STORY)
    records, _ = prepare(book)
    text = {"generated_text": records[0]["excerpt_text"]}
    generations = file("drawn.json", [{"excerpt_id": "p_id1", "generations": [text]}])
    output = str(book.with_name("out.json"))
    assert main(["score", output, str(generations), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["words"] == WORDS


def test_letters_of_every_script_are_written_as_they_are(file, tmp_path, prepare):
    prepare(file("s.txt", STORY.replace("Every", "Évery")), "--author", "x\udcff")
    content = (tmp_path / "out.json").read_bytes()
    assert "Évery".encode() in content
    assert json.loads(content)[0]["author_name"] == "x\udcff"


def test_text_of_another_encoding_is_read_with_a_warning(file, prepare):
    _, (_, err) = prepare(file("s.txt", (STORY + "café").encode("cp1252")))
    lines = err.splitlines()
    assert len(lines) > 1
    assert all(line.startswith("memleak prepare: warning: ") for line in lines)


def test_a_text_without_spaces_is_prepared_in_unicode_words(file, prepare):
    book = file("kusamakura.txt", KUSAMAKURA)
    _, (_, errors) = prepare(book, "--word-mode", "unicode")
    assert "splits it into words; 38 words are about" in errors


def test_a_book_is_shown_on_one_screen_with_the_digest_that_approves_it(capsys):
    assert main(["prepare", LAMPLIGHTER]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("The Lamplighter of Saltmarsh Row by ")
    assert lines[1].startswith("12,345 words in 7 chapters; left out: 108 words (1%)")
    assert lines[2].startswith("begins “The town of Marram Staithe stood")
    assert lines[3].startswith("ends   “…")
    assert lines[5].split()[:6] == ["1", "Five", "Pints", "in", "the", "Week"]
    assert lines[-2].startswith("left out: 108 words (Colophon, ")
    digest = words_digest(make_book("b", read_epub(Path(LAMPLIGHTER))))
    assert lines[-1] == f'approved = "{digest}"'
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 80


def test_what_is_excluded_is_a_cut_on_the_screen(capsys):
    selection = ["--exclude", "chapter-7*", "--exclude", "chapter-2*"]
    assert main(["prepare", LAMPLIGHTER, *selection]) == 0
    out = capsys.readouterr().out
    assert "5 chapters" in out
    assert "  a The Register Amended      1,9" in out
    assert "  b Forty-One Lamps           1,7" in out
    assert "it matches exclude\n" in out
    assert "“The Register Amended An extraordinary" in out


def test_a_text_too_short_for_an_excerpt_is_explained_and_rejected(file, refused):
    note = file("note.txt", "Just four words here.")
    message = "4 words of text in 1 of 1 document"
    refused("prepare", note, "-o", "out.json", "--explain", out=message)


@pytest.mark.parametrize(("name", "content", "message"), [
    *((f"gone.{end}", None, "can't be read: No such file") for end in ("epub", "txt", "json")),
    ("b.djvu", b"AT&T", "no reader for '.djvu' files\n  use .epub, .mobi, "),
    ("b", b"text", "no reader for 'b' files"), ("b.epub", b"no zip at all", "b.epub"),
    ("b.json", [SHORT], "this file already contains excerpts"), ("b.json", b"[", "not JSON"),
    ("b.txt", b"One.", "it has 1 word, fewer than k = 5"),
    ("b.txt", KUSAMAKURA + " Kusamakura by Soseki, all of it.", "'paper' recognizes only 6 of"),
])  # fmt: skip
def test_prepare_rejects_an_unreadable_book(
    refused, file, tmp_path, name, content, message
):
    book = tmp_path / name if content is None else file(name, content)
    error = refused("prepare", book, "-o", tmp_path / "out.json")
    assert message in error
    assert str(book) in error
    assert not (tmp_path / "out.json").exists()


def test_an_input_is_never_overwritten(refused, file, tmp_path):
    book, summaries = file("s.txt", STORY), file("sum.json", "{}")
    link = tmp_path / "link.json"
    link.symlink_to(book)
    for path, *more in ((book,), (link,), (summaries, "--summaries", summaries)):
        error = refused("prepare", book, "-o", path, *more)
        assert f"{path.resolve()}: the output would overwrite this input" in error
    assert (book.read_text(encoding="utf-8"), summaries.read_text()) == (STORY, "{}")


def test_a_file_that_has_no_excerpts_is_not_overwritten(refused, file, prepare):
    book, summaries = file("s.txt", STORY), file("sum.json", "{}")
    error = refused("prepare", book, "-o", summaries)
    assert "sum.json: this file exists and isn't a file of excerpts" in error
    assert "name a different file with -o, or delete it" in error
    assert summaries.read_text() == "{}"


def test_a_warning_says_that_excluded_text_is_not_in_the_file(prepare):
    _, (_, err) = prepare(LAMPLIGHTER)
    assert "this file omits 69 words of excluded text" in err
    assert f"set source to {LAMPLIGHTER} instead of this file" in err
