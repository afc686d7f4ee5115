"""`memleak prepare --explain`, and books that it refuses since no gate could measure them."""

import pytest

from pytest_memleak.cli.main import main

LAMPLIGHTER = "fixtures/books/the-lamplighter.epub"
KUSAMAKURA = "山路を登りながら、こう考えた。智に働けば角が立つ。情に棹させば流される。" * 40


@pytest.fixture
def refused(capsys):
    def check(*arguments):
        assert main(["prepare", *map(str, arguments)]) == 2
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return out, err

    return check


def test_explain_lists_every_document_of_the_spine(capsys):
    assert main(["prepare", LAMPLIGHTER, "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("document", "label", "read", "words", "matter", "notes", "headings", "rule")
    ]
    by_name = {line.split()[0]: line for line in lines[1:12]}
    assert "Colophon" in by_name["EPUB/text/colophon.xhtml"]
    assert "left out" in by_name["EPUB/text/colophon.xhtml"]
    assert by_name["EPUB/text/chapter-3.xhtml"].split()[-8:] == [
        *("text", "1,659", "0", "49", "5", "it", "is", "text")
    ]
    assert by_name["EPUB/nav.xhtml"].endswith('the spine calls it linear="no"')
    assert lines[12].startswith("12,345 words of text in 7 of 11 documents")
    assert lines[13:] == [
        "left out because the landmarks place it outside the text: 3 documents, 108 words",
        'left out because the spine calls it linear="no": 1 document, 0 words',
    ]


def test_include_and_exclude_come_before_every_rule(tmp_path, capsys):
    output = tmp_path / "book.json"
    said = ["--include", "colophon*", "--exclude", "EPUB/text/chapter-7.xhtml"]
    assert main(["prepare", LAMPLIGHTER, "-o", str(output), "--explain", *said]) == 0
    out = capsys.readouterr().out
    assert f"{12_345 - 1_943 + 81:,} words -> {output}" in out
    assert "include names it" in out
    assert "left out because exclude names it: 1 document" in out


def test_a_text_is_one_document(tmp_path, capsys):
    book = tmp_path / "story.txt"
    book.write_text("All the words of a story that is short. " * 10, encoding="utf-8")
    assert main(["prepare", str(book), "--explain"]) == 0
    assert "90 words of text in 1 of 1 document;" in capsys.readouterr().out


def test_a_name_that_fits_nothing_is_refused(refused):
    _, err = refused(LAMPLIGHTER, "--explain", "--exclude", "chapter-9*")
    assert "exclude names 'chapter-9*', which matches no document of the book" in err


def test_without_an_output_there_is_nothing_to_do(refused):
    _, err = refused(LAMPLIGHTER)
    assert "-o BOOK.json" in err


def test_a_book_that_the_mode_paper_cannot_see_is_refused_with_the_remedy(tmp_path, refused):
    book, output = tmp_path / "kusamakura.txt", tmp_path / "out.json"
    book.write_text(KUSAMAKURA + " Kusamakura by Soseki, all of it.", encoding="utf-8")
    _, err = refused(book, "-o", output)
    assert "word mode 'paper' keeps 6 of its" in err
    assert 'set word_mode = "unicode"' in err
    assert not output.exists()
    assert main(["prepare", str(book), "-o", str(output), "--word-mode", "unicode"]) == 0


def test_a_book_of_a_few_words_is_refused(tmp_path, refused):
    book, output = tmp_path / "note.txt", tmp_path / "out.json"
    book.write_text("Just four words here.", encoding="utf-8")
    out, err = refused(book, "-o", output, "--explain")
    assert "it has 4 words, fewer than k = 5" in err
    assert "4 words of text in 1 of 1 document" in out
    assert not output.exists()
