"""What a person is shown of a book: chapters, cuts with their rules, and alarms."""

import json
import re

import pytest
from epub_texts import p, page, paragraphs, prose

from pytest_memleak.books.book_outline import outline_of
from pytest_memleak.books.build_book import make_book
from pytest_memleak.books.epub import read_epub
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.protocols import Manuscript
from pytest_memleak.records import Book, Excerpt


@pytest.fixture
def outline(new_epub):
    """Outlines an EPUB of these documents."""

    def read(documents, **choice):
        path = new_epub(documents=documents).write()
        manuscript = read_epub(path, **choice)
        book = make_book("b", manuscript, mode="unicode")
        return outline_of(manuscript, book, mode="unicode")

    return read


def chapter(number, count=15):
    return page(f"<h1>Chapter {number}</h1>{prose(f'ship{number}', count)}")


def novel(*numbers):
    return {f"c{number}.xhtml": chapter(number) for number in numbers}


def test_a_chapter_has_its_words_its_ends_and_its_document(outline):
    shown = outline(novel(1, 2, 3))
    first = shown.chapters[0]
    assert (first.title, first.words) == ("Chapter 1", 15 * 52)
    assert first.begins.startswith("The ship1 went on by the sea road,")
    assert first.ends.endswith("by the sea road, mile 59, and said so.")
    assert [one.documents for one in shown.chapters] == [
        (f"OEBPS/c{number}.xhtml",) for number in (1, 2, 3)
    ]
    assert (shown.words, shown.left_out) == (3 * 15 * 52, 0)
    assert (shown.cuts, shown.alarms) == ((), ())


def test_a_chapter_without_a_heading_belongs_to_the_one_before(outline):
    documents = {"a.xhtml": chapter(1), "b.xhtml": page(prose("sea")), **novel(2, 3)}
    assert [one.documents for one in outline(documents).chapters] == [
        ("OEBPS/a.xhtml", "OEBPS/b.xhtml"),
        ("OEBPS/c2.xhtml",),
        ("OEBPS/c3.xhtml",),
    ]


def test_a_document_that_is_left_out_is_a_cut_with_its_rule(outline):
    about = page(f"<h1>About the Author</h1>{prose('author', 6)}")
    [cut] = outline({**novel(1, 2, 3), "about.xhtml": about}).cuts
    assert (cut.document, cut.label) == ("OEBPS/about.xhtml", "About the Author")
    assert cut.words == 6 * 52 + 3
    assert cut.begins.startswith("About the Author The author went on")
    assert cut.rule == "its first line marks it as 'about the author'"
    assert not cut.inside


def test_an_excluded_document_is_a_cut(outline):
    [cut] = outline(novel(1, 2, 3), exclude=["c2.xhtml"]).cuts
    assert (cut.document, cut.rule) == ("OEBPS/c2.xhtml", "it matches exclude")


def test_a_notice_between_text_is_an_alarm(outline):
    before, *after = paragraphs("captain", 15)
    notice = "All rights reserved. No part of this publication may be reproduced."
    body = "".join(f"<p>{text}</p>" for text in (before, notice, *after))
    shown = outline({**novel(1, 2), "c3.xhtml": page(f"<h1>Chapter 3</h1>{body}")})
    [cut] = shown.cuts
    assert (cut.rule, cut.words, cut.inside) == ("copyright notice", 11, 11)
    assert shown.alarms == ("11 words cut inside chapters: copyright notice",)


def test_a_notice_at_the_end_is_no_alarm(outline):
    notice = "<p>Copyright © 2019 by Jane Doe. All rights reserved.</p>"
    last = page(f"<h1>Chapter 3</h1>{prose('captain')}{notice}")
    shown = outline({**novel(1, 2), "c3.xhtml": last})
    assert [cut.inside for cut in shown.cuts] == [0]
    assert shown.alarms == ()


def test_a_gap_in_the_numbers_of_chapters_is_an_alarm(outline):
    assert outline(novel(1, 2, 4, 5)).alarms == ("chapter numbers missing: 3",)


def test_words_in_drawings_are_an_alarm(outline):
    labels = "".join(f"<text>m{number} n</text>" for number in range(80))
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg">{labels}</svg>'
    first = page(f"<h1>Chapter 1</h1>{drawing}{prose('ship')}")
    [alarm] = outline({"c1.xhtml": first, **novel(2, 3)}).alarms
    assert alarm == "160 words are hidden or in drawings, and aren't read"


def test_records_of_the_paper_are_outlined_by_their_excerpts(tmp_path):
    rows = [
        {"excerpt_id": f"p_id{number}", "excerpt_text": f"{text} end{number}."}
        for number, text in enumerate(paragraphs("ship", 3))
    ]
    path = tmp_path / "book.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    book = Extensions().read_book(path)
    [shown] = outline_of(book, book, mode="paper").chapters
    assert (shown.title, shown.words) == (None, 3 * 53)
    assert shown.begins.startswith("The ship went on")
    assert shown.ends.endswith("end2.")


def test_the_documents_of_a_folder_keep_their_cuts(tmp_path):
    for number in (1, 2):
        text = "\n\n".join(paragraphs(f"ship{number}"))
        notice = "Copyright © 2019 by Jane Doe. All rights reserved."
        (tmp_path / f"{number}.txt").write_text(f"{text}\n\n{notice}\n")
    manuscript = Extensions().read_book(tmp_path)
    assert isinstance(manuscript, Manuscript)
    assert [(cut.document, cut.rule) for cut in manuscript.cuts] == [
        ("1.txt", "copyright notice"),
        ("2.txt", "copyright notice"),
    ]


def test_excerpts_are_outlined_by_their_chapters():
    texts = [("One", "a b"), ("One", "c d"), ("Two", "e f")]
    excerpts = tuple(
        Excerpt(f"p_id{number}", text, chapter=title)
        for number, (title, text) in enumerate(texts)
    )
    book = Book("b", "T", "A", excerpts, "")
    chapters = outline_of(book, book, mode="paper").chapters
    assert [(one.title, one.words, one.ends) for one in chapters] == [
        ("One", 4, "a b c d"),
        ("Two", 2, "e f"),
    ]


def test_a_chapter_out_of_place_is_an_alarm(outline):
    shown = outline(novel(1, 2, 5, 3, 4, 6))
    assert shown.alarms == ("chapter numbers out of place: 5 after 2",)


def test_chapters_in_another_order_are_out_of_place_and_none_is_missing(outline):
    shown = outline(novel(1, 2, 5, 6, 3, 4, 7))
    assert shown.alarms == ("chapter numbers out of place: 3 after 6",)


def test_chapters_of_parts_that_count_from_1_are_in_their_places(outline):
    second_part = {
        f"part2-{number}.xhtml": page(f"<h1>Chapter {number}</h1>{prose(text)}")
        for number, text in enumerate(["storm", "island", "rescue"], start=1)
    }
    assert outline({**novel(1, 2, 3), **second_part}).alarms == ()


def test_a_chapter_without_every_second_space_is_an_alarm(outline):
    glued = re.sub(r"(\w+) (\w+)", r"\1\2", prose("ship3", 15))
    page_3 = page(f"<h1>Chapter 3</h1>{glued}")
    shown = outline({**novel(1, 2), "c3.xhtml": page_3, **novel(4)})
    assert shown.alarms == ("Chapter 3: spaces may be missing between words",)


def test_a_chapter_with_text_from_before_it_is_an_alarm(outline):
    # Not a whole document that occurs twice, which is cut.
    repeated = page(f"<h1>Chapter 4</h1>{prose('ship2', 15)}<p>The end came soon.</p>")
    shown = outline({**novel(1, 2, 3), "c4.xhtml": repeated})
    assert shown.alarms == ("Chapter 4: repeats text from before it",)
    assert [one.has_alarm for one in shown.chapters] == [False, False, False, True]


def test_a_song_s_refrain_in_each_chapter_is_no_alarm(outline):
    refrain = "<p>Oh, the lamp, the lamp, the lamp that burns for the sea.</p>" * 3
    pages = {
        f"c{number}.xhtml": page(f"<h1>Chapter {number}</h1>{prose(name)}{refrain}")
        for number, name in enumerate(("ship", "sail", "keel"), start=1)
    }
    assert outline(pages).alarms == ()


def test_a_chapter_in_a_misread_encoding_is_an_alarm(outline):
    accented = prose("ship3", 15).replace("sea", "océan").replace("mile", "où")
    misread = accented.encode().decode("cp1252")
    documents = {**novel(1, 2), "c3.xhtml": page(f"<h1>Chapter 3</h1>{misread}")}
    assert outline({**documents, **novel(4, 5)}).alarms == (
        "Chapter 3: no generation could match it: its UTF-8 was read as windows-1252 "
        "and saved again",
    )


@pytest.mark.parametrize("form", ["{}. ", "[{}] ", "{} ", "({}) "])
def test_numbered_notes_at_the_end_of_a_chapter_are_an_alarm(outline, form):
    notes = p(f"{form.format(n)}See the old chart of the port." for n in (1, 2, 3))
    third = page(f"<h1>Chapter 3</h1>{prose('ship3', 15)}{notes}")
    shown = outline({**novel(1, 2), "c3.xhtml": third, **novel(4)})
    assert shown.alarms == ("Chapter 3: ends in numbered notes (24 words in all)",)


def test_a_chapter_of_numbered_verses_alone_is_no_alarm(outline):
    verses = p(f"{n} {text}" for n, text in enumerate(paragraphs("ship3"), start=1))
    third = page(f"<h1>Chapter 3</h1>{verses}")
    assert outline({**novel(1, 2), "c3.xhtml": third, **novel(4)}).alarms == ()


def cut_off(number, end):
    """A chapter whose last paragraph is cut off, so that it ends in `end`."""
    *texts, last = paragraphs(f"ship{number}", 8)
    sentence = "In the night the keeper went down to the sea in the north by the old"
    return page(f"<h1>Chapter {number}</h1>{p([*texts, last, f'{sentence} {end}'])}")


@pytest.mark.parametrize("end", ["road and", "Salt", "road,", "дорога", "रास्ता"])
def test_a_chapter_that_ends_in_the_middle_of_a_sentence_is_an_alarm(outline, end):
    shown = outline({**novel(1, 2), "c3.xhtml": cut_off(3, end), **novel(4)})
    assert shown.alarms == ("Chapter 3: may end in the middle of a sentence",)
    assert [one.has_alarm for one in shown.chapters] == [False, False, True, False]


def test_a_chinese_chapter_that_ends_in_the_middle_of_a_sentence_is_an_alarm(outline):
    closed = "他在夜里沿着海边的旧路走下去，看见了远处的灯。"
    ends = {1: closed, 2: f"{closed * 3}他在夜里，", 3: closed}
    documents = {
        f"c{number}.xhtml": page(f"<h1>Chapter {number}</h1>{p([closed * 9, end])}")
        for number, end in ends.items()
    }
    assert outline(documents).alarms == (
        "Chapter 2: may end in the middle of a sentence",
    )


@pytest.mark.parametrize("end", ["road.", "road …", "road—", "road”", "road 7", "道。"])
def test_a_chapter_that_ends_with_a_mark_or_a_number_is_no_alarm(outline, end):
    shown = outline({**novel(1, 2), "c3.xhtml": cut_off(3, end), **novel(4)})
    assert shown.alarms == ()


def test_a_chapter_that_ends_within_a_short_quotation_is_an_alarm(outline):
    third = (
        f"<h1>Chapter 3</h1>{prose('ship3', 15)}<p>“Very well. Your mother insists</p>"
    )
    shown = outline({**novel(1, 2), "c3.xhtml": page(third), **novel(4)})
    assert shown.alarms == ("Chapter 3: may end in the middle of a sentence",)


def test_a_signature_at_the_end_of_a_chapter_is_no_alarm(outline):
    letter = f"<h1>Chapter 3</h1>{prose('ship3', 15)}<p>Your brother, R. Walton</p>"
    assert outline({**novel(1, 2), "c3.xhtml": page(letter), **novel(4)}).alarms == ()


def test_a_signature_at_the_end_of_excerpts_is_no_alarm():
    closed = paragraphs("ship", 1)[0]
    texts = {
        "One": closed,
        "Two": f"{closed}\n\nYour brother, R. Walton",
        "Three": closed,
    }
    excerpts = tuple(
        Excerpt(f"p_id{number}", text, chapter=title)
        for number, (title, text) in enumerate(texts.items())
    )
    book = Book("b", "T", "A", excerpts, "")
    assert outline_of(book, book, mode="paper").alarms == ()


def test_a_long_heading_is_shortened_in_alarms(outline):
    heading = " ".join(f"word{number}" for number in range(30))
    documents = {"c3.xhtml": cut_off(3, "road and").replace("Chapter 3", heading)}
    *_, alarm = outline({**novel(1, 2), **documents, **novel(4, 5)}).alarms
    assert "word11 …" in alarm
    assert "word12" not in alarm


def test_a_book_whose_chapters_end_without_marks_has_no_alarm(outline):
    lists = {f"c{number}.xhtml": cut_off(number, "road and") for number in (3, 4)}
    assert outline({**novel(1, 2), **lists, **novel(5)}).alarms == ()


def test_a_tenth_of_many_chapters_may_end_in_the_middle_of_sentences(outline):
    documents = {**novel(*range(1, 19)), "c19.xhtml": cut_off(19, "road and")}
    documents["c20.xhtml"] = cut_off(20, "road and")
    [alarm] = outline(documents).alarms
    assert alarm == "Chapter 19, Chapter 20: may end in the middle of a sentence"


def test_a_chapter_without_a_number_is_marked_among_numbered_ones(outline):
    preface = page(f"<h1>On Lamps</h1>{prose('editor', 15)}")
    shown = outline({"p.xhtml": preface, **novel(1, 2, 3)})
    assert [one.lacks_number for one in shown.chapters] == [True, False, False, False]


def test_a_repeated_document_names_the_one_with_most_of_its_text(outline):
    pages = {
        name: page(f"<h1>Chapter {name}</h1><p>From the log.</p>{prose(word, 15)}")
        for name, word in (("1", "ship"), ("2", "sail"), ("3", "sail"))
    }
    shown = outline({f"c{name}.xhtml": text for name, text in pages.items()})
    assert [cut.rule for cut in shown.cuts] == ["it repeats 'OEBPS/c2.xhtml'"]
