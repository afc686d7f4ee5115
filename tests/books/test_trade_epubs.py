"""EPUBs as trade publishers and converters make them, one feature each, with their true text."""

import difflib
import random
import re

import pytest
from epub_texts import NOTICE, contents, ncx

from pytest_memleak.books.epub import read_epub
from pytest_memleak.errors import BookError
from pytest_memleak.scoring.words import words

LANGUAGES = {
    "en": "the of and to a in that is was he it for with as his on be at by she had not but from",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch",
    "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se il",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más pero",
}
NOUNS = (
    "harbor lantern window mother letter river garden captain winter kitchen mountain brother"
    " morning candle bridge station forest island doctor village corner shadow silence journey"
)
PEOPLE = ("Anna", "Mr. Lodge", "Peter", "Ruth", "the Baron")


class Writer:
    """Writes prose, never the same twice."""

    def __init__(self, seed, language="en"):
        self._random = random.Random(seed)
        self._common, self._nouns = LANGUAGES[language].split(), NOUNS.split()
        self.language = language

    def sentence(self, length=None):
        length = length or self._random.randint(6, 20)
        lists = (self._nouns, self._common)
        chosen = [self._random.choice(lists[n % 2]) for n in range(length)]
        chosen.append(self._random.choice(self._nouns) + self._random.choice(["s", "less", ""]))
        text = " ".join([self._random.choice(PEOPLE), *chosen])
        return text[0].upper() + text[1:] + "."

    def paragraphs(self, count=10):
        return [
            " ".join(self.sentence() for _ in range(self._random.randint(3, 6)))
            for _ in range(count)
        ]


def p(paragraphs, attributes=""):
    return "".join(f"<p{attributes}>{text}</p>" for text in paragraphs)


class Trade:
    """A novel of three chapters, and its EPUB: documents, what else is in it, the true text."""

    metadata = "<dc:title>The Salt Road</dc:title><dc:creator>Jane Marlowe</dc:creator>"

    def __init__(self, name, language="en"):
        self.write = Writer(name, language)
        self.chapters = [self.write.paragraphs(10) for _ in range(3)]
        self.truth = [text for chapter in self.chapters for text in chapter]
        language = f"<dc:language>{language}</dc:language>"
        self.settings = {"metadata": f"{self.metadata}{language}"}
        self.documents = {}

    def add(self, name, body):
        self.documents[f"{name}.xhtml"] = body

    def add_chapters(self, heading="<h2>Chapter {}</h2>", between=p):
        for number, chapter in enumerate(self.chapters, start=1):
            self.add(f"c{number}", heading.format(number) + between(chapter))

    def list_documents(self, **titles):
        links = [(title, f"{name}.xhtml") for name, title in titles.items()]
        self.settings["nav"] = contents(*links)

    @property
    def others(self):
        """Text that isn't the book's."""
        return p(self.write.paragraphs(12))

    @property
    def preview(self):
        return p(self.write.paragraphs(6))


USUAL = {}
UNUSUAL = {}
CHAPTER_TITLES = {"c1": "1. The Storm", "c2": "2. The Calm", "c3": "3. The Light"}
FRONT = {
    "cover": "<div><img src='c.jpg' alt='Cover'/></div>",
    "also": "<p>ALSO BY JANE MARLOWE</p><p>The Other Shore</p><p>A Winter Harbor</p>",
    "title": "<p>THE SALT ROAD</p><p>Jane Marlowe</p><p>Harbor Books</p>",
    "copy": NOTICE,
}
ABOUT = "<h2>About the Author</h2><p>Jane Marlowe lives by the sea. This is her third novel.</p>"
CHAPTER = "<h2>Chapter {}</h2>"


def usual(build):
    USUAL[build.__name__.removeprefix("_")] = build
    return build


# --- chapters and their titles -------------------------------------------------------------

HEADINGS = {
    "h2_headings": CHAPTER,
    "number_and_title_headings": "<h1>{0}</h1><h2>The Storm, Part {0}</h2>",
    "heading_with_line_break": "<h2>Chapter {}<br/>The Storm</h2>",
    "calibre_bold_headings": "<p class='calibre1'><b class='calibre2'>Chapter {}</b></p>",
    "calibre_bold_in_span": "<p><span><strong>CHAPTER {}</strong></span></p>",
}


def _with_heading(heading):
    return lambda book: book.add_chapters(heading)


USUAL |= {name: _with_heading(heading) for name, heading in HEADINGS.items()}


@usual
def _headings_as_paragraphs(book):
    book.add_chapters("<p class='cn'>{0}</p><p class='ct'>Storm {0}</p>")
    book.settings["ncx"] = ncx(*((f"{n}. Storm {n}", f"c{n}.xhtml") for n in (1, 2, 3)))


@usual
def _titles_in_the_contents_alone(book):
    book.add_chapters("")
    book.list_documents(**CHAPTER_TITLES)


@usual
def _one_file(book):
    body = "".join(
        f"<p><b>Chapter {n}</b></p>{p(chapter)}" for n, chapter in enumerate(book.chapters, start=1)
    )
    book.add("index", body)


@usual
def _split_files_of_a_converter(book):
    halves = []
    for number, chapter in enumerate(book.chapters, start=1):
        halves += [f"<p><b>Chapter {number}</b></p>{p(chapter[:5])}", p(chapter[5:])]
    for number, half in enumerate(halves):
        book.add(f"index_split_{number:03}", half)


@usual
def _part_pages(book):
    for number, chapter in enumerate(book.chapters, start=1):
        book.add(f"part{number}", f"<section epub:type='part'><h1>Part {number}</h1></section>")
        book.add(f"c{number}", f"<h2>Chapter {number}</h2>{p(chapter)}")


@usual
def _prologue_and_epilogue(book):
    names = ("Prologue", "Chapter 1", "Epilogue")
    for number, (name, chapter) in enumerate(zip(names, book.chapters, strict=True)):
        book.add(f"c{number}", f"<section epub:type='{name.lower()[:8]}'><h2>{name}</h2>"
                 f"{p(chapter)}</section>")  # fmt: skip


@usual
def _not_linear_but_listed(book):
    book.add_chapters()
    book.list_documents(**CHAPTER_TITLES)
    spine = ["c1.xhtml", "c2.xhtml", '<itemref idref="c3.xhtml" linear="no"/>']
    book.settings["spine"] = spine


# --- forms of words and lines --------------------------------------------------------------


def _first_words(change):
    """A form in which each paragraph is set."""
    return lambda book: book.add_chapters(between=lambda texts: "".join(map(change, texts)))


FORMS = {
    "drop_cap": lambda text: (
        f"<p><span class='dc' style='float:left'>{text[0]}</span>{text[1:]}</p>"
    ),
    "drop_cap_image": lambda text: f"<p><img src='i.png' alt='{text[0]}'/>{text[1:]}</p>",
    "small_capitals": lambda text: f"<p><span class='sc'>{text[:12]}</span>{text[12:]}</p>",
    "soft_hyphens": lambda text: f"<p>{text.replace('arbo', 'ar&#173;bo')}</p>",
    "zero_width_marks": lambda text: f"<p>{text.replace('anter', 'an&#8203;ter&#8288;')}</p>",
    "italics_within_words": lambda text: f"<p>{text.replace('inter', 'in<i>ter</i>')}</p>",
    "scene_breaks": lambda text: f"<p>{text}</p><p>* * *</p><hr/>",
    "verse_in_lines": lambda text: f"<p>{text.replace('. ', '.<br/>')}</p>",
    "page_breaks": lambda text: f"<p><span epub:type='pagebreak' title='12'>12</span>{text}</p>",
    "page_numbers": lambda text: f"<p><span class='pagenum'>[12]</span>{text}</p>",
    "page_anchors": lambda text: f"<p><a id='page_12'>12</a>{text}</p>",
    "ruby": lambda text: f"<p>{text.replace('river', '<ruby>river<rt>ree</rt></ruby>')}</p>",
    "hidden_attribute": lambda text: f"<p>{text}</p><p hidden='hidden'>{text}</p>",
    "hidden_style": lambda text: f"<p>{text}</p><p style='display: none'>{text[:40]}</p>",
}
USUAL |= {name: _first_words(change) for name, change in FORMS.items()}


@usual
def _verse_in_blocks(book):
    book.settings["files"] = {"OEBPS/style.css": ".line { display: block; text-indent: -1em }"}
    lines = "<p>{}</p>".format
    book.add_chapters(
        between=lambda texts: "".join(
            lines("".join(f"<span class='line'>{line}</span>" for line in text.split(". ")))
            for text in texts
        )
    )


@usual
def _classes_that_css_hides(book):
    book.settings["files"] = {"OEBPS/s.css": "p.hide, .mobi{display:none} .mobi{margin:0}"}
    hidden = "<p class='hide'>Buy the other books now.</p><div class='mobi'>Not shown here.</div>"
    book.add_chapters(between=lambda texts: p(texts) + hidden)


@usual
def _markup_that_is_not_xml(book):
    book.add_chapters(between=lambda texts: "".join(f"<p>{text}<br>" for text in texts))


# --- notes ---------------------------------------------------------------------------------


@usual
def _declared_footnotes(book):
    note = "<aside epub:type='footnote' id='n{0}'><p>See the log of the ship.</p></aside>"
    reference = "<a epub:type='noteref' href='#n{0}'>{0}</a>"
    book.add_chapters(between=lambda texts: "".join(
        f"<p>{text}{reference.format(n)}</p>{note.format(n)}" for n, text in enumerate(texts)
    ))  # fmt: skip


def _reference(name, number, text):
    return (
        f"<p>{text}<a id='{name}r{number}' href='{{}}#{name}n{number}'><sup>{number}</sup></a></p>"
    )


@usual
def _linked_notes_behind_each_chapter(book):
    for number, texts in enumerate(book.chapters, start=1):
        name = f"c{number}"
        body = "".join(_reference(name, n, text).format("") for n, text in enumerate(texts))
        notes = "".join(
            f"<p id='{name}n{n}'><a href='#{name}r{n}'>{n}.</a> {book.write.sentence()}</p>"
            for n in range(len(texts))
        )
        book.add(name, f"<h2>Chapter {number}</h2>{body}{notes}")


def _end_notes(book, heading, link):
    notes = ""
    for number, texts in enumerate(book.chapters, start=1):
        name = f"c{number}"
        body = "".join(_reference(name, n, text).format("n.xhtml") for n, text in enumerate(texts))
        book.add(name, f"<h2>Chapter {number}</h2>{body}")
        notes += f"<h3>Chapter {number}</h3>" + "".join(
            link.format(f"{name}n{n}", f"{name}.xhtml#{name}r{n}", n, book.write.sentence())
            for n in range(len(texts))
        )
    book.add("n", f"{heading}{notes}")


AT_START = "<p id='{0}'><a href='{1}'>{2}</a> {3}</p>"
AT_END = "<li id='{0}'><p>{3} <a href='{1}'>↩</a></p></li>"
USUAL |= {
    "end_notes": lambda book: _end_notes(book, "<h2>Notes</h2>", AT_START),
    "german_end_notes": lambda book: _end_notes(book, "<h2>Anmerkungen</h2>", AT_START),
    "end_notes_under_a_title_of_their_own": lambda book: _end_notes(
        book, "<h2>What the Log Says</h2>", AT_END
    ),
}

# --- front and back matter -----------------------------------------------------------------


@usual
def _whole_front_matter(book):
    for name, body in FRONT.items():
        book.add(name, body)
    book.add("ded", "<p>For my mother</p>")
    book.add("epi", "<p>The sea is never full.</p>")
    book.add_chapters("<p>{}</p>")
    titles = {"title": "Title Page", "copy": "Copyright"}
    book.list_documents(**titles, **CHAPTER_TITLES)


@usual
def _praise(book):
    book.add("praise", f"<h2>Praise for The Salt Road</h2>{book.others}")
    book.add("title", FRONT["title"])
    book.add_chapters()


@usual
def _notice_behind_the_last_chapter(book):
    book.add_chapters()
    book.documents["c3.xhtml"] += NOTICE


@usual
def _authors_preface(book):
    preface = book.write.paragraphs(8)
    book.add(
        "p", f"<section epub:type='preface'><h2>Preface</h2>{p(preface)}<p>J. M.</p></section>"
    )
    book.add_chapters()
    book.truth = [*preface, "J. M.", *book.truth]


@usual
def _declared_foreword(book):
    book.add("f", f"<section epub:type='foreword'><h2>Foreword</h2>{book.others}</section>")
    book.add_chapters()


def _scholarly(book):
    return p(
        f"{text} Marlowe wrote of it to her sister, and Marlowe’s letters survive."
        for text in book.write.paragraphs(10)
    )


@usual
def _scholarly_introduction(book):
    book.add("title", FRONT["title"])
    book.add("i", f"<h2>Introduction</h2>{_scholarly(book)}")
    book.add("n", "<h2>A Note on the Text</h2><p>This follows the first edition of 1871.</p>")
    book.add_chapters()


@usual
def _scholarly_introduction_under_its_own_title(book):
    book.add("i", f"<h2>Salt, Sand, and the Making of a Modern Myth</h2>{_scholarly(book)}")
    book.add_chapters()


@usual
def _scholarly_afterword(book):
    book.add_chapters()
    book.add("a", f"<h2>Afterword</h2>{_scholarly(book)}")
    book.add("f", "<h2>Further Reading</h2><p>R. Lodge, The Sea in Letters, Harbor Press.</p>")


@usual
def _acknowledgments(book):
    book.add_chapters()
    thanks = p(f"{text} I am grateful. Thanks to {text}" for text in book.write.paragraphs(9))
    book.add("ack", f"<h2>Acknowledgments</h2>{thanks}")
    book.add("about", ABOUT)


@usual
def _discussion_guide(book):
    book.add_chapters()
    questions = "".join(f"<li>{book.write.sentence(19)[:-1]}?</li>" for _ in range(24))
    book.add("g", f"<h2>Discussion Guide</h2><ol>{questions}</ol>")


@usual
def _keep_reading(book):
    book.add_chapters()
    book.add("k", "<h2>Keep Reading</h2><p>Turn the page for the next novel by Jane Marlowe.</p>")
    book.add("k1", f"<h2>Chapter 1</h2>{book.preview}")


@usual
def _preview_under_its_own_title(book):
    book.add("also", FRONT["also"])
    book.add_chapters()
    book.add("about", ABOUT)
    book.add("next", f"<h2>The Other Shore</h2>{book.preview}")


@usual
def _preview_that_begins_anew(book):
    book.add_chapters()
    book.add("about", ABOUT)
    book.add("next", "<p>The Far Shore</p><p>Jane Marlowe</p>")
    book.add("next1", f"<h2>Chapter 1</h2>{book.preview}")


@usual
def _preview_in_the_last_chapters_file(book):
    book.add_chapters()
    preview = f"<h2>An Excerpt from The Other Shore</h2><h3>Chapter 1</h3>{book.preview}"
    book.documents["c3.xhtml"] += f"{ABOUT}{preview}"


FOREIGN = {
    "de": ("Widmung", "Danksagung", "Über die Autorin", "Fragen für Lesekreise", "Weiterlesen"),
    "fr": ("Dédicace", "Remerciements", "À propos de l’autrice", "Guide de lecture",
           "Continuez votre lecture"),
    "es": ("Dedicatoria", "Agradecimientos", "Sobre la autora", "Guía de lectura", "Sigue leyendo"),
}  # fmt: skip


def _foreign(book):
    first, *last = FOREIGN[book.write.language]
    book.add("m0", f"<h2>{first}</h2><p>Marie</p>")
    book.add_chapters("<h2>{}</h2>")
    for number, title in enumerate(last, start=1):
        book.add(f"m{number}", f"<h2>{title}</h2>{p(book.write.paragraphs(2))}")


USUAL |= {f"matter_{language}": _foreign for language in FOREIGN}


# --- what can't be matched, and what is there twice ----------------------------------------


def unusual(build):
    UNUSUAL[build.__name__.removeprefix("_")] = build
    return build


@unusual
def _glued_words(book):
    book.add_chapters(between=lambda texts: p(text.replace(" ", "") for text in texts))


@unusual
def _positioned_words(book):
    word = "<span style='position:absolute;left:9px'>{}</span>".format
    book.add_chapters(between=lambda texts: p("".join(map(word, t.split())) for t in texts))


@unusual
def _spaced_letters(book):
    book.add_chapters(between=lambda texts: p(" ".join(text) for text in texts))


@unusual
def _letters_that_a_font_encodes(book):
    cipher = str.maketrans("abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm")
    book.add_chapters(between=lambda texts: p(text.translate(cipher) for text in texts))


@unusual
def _text_in_drawings(book):
    drawing = "<svg xmlns='http://www.w3.org/2000/svg'>{}</svg>"
    line = "<text><tspan x='0'>{}</tspan></text>".format
    book.add_chapters(between=lambda texts: drawing.format("".join(map(line, texts))))


@unusual
def _most_is_hidden(book):
    book.add_chapters(between=lambda texts: p(texts, " style='display:none'"))


@unusual
def _a_chapter_under_two_names(book):
    book.add_chapters()
    book.documents["copy-of-c2.xhtml"] = book.documents["c2.xhtml"]


@unusual
def _the_whole_book_once_more(book):
    book.add_chapters()
    book.add("all", "".join(map(p, book.chapters)))


def _book(name):
    language = name[-2:] if name.startswith("matter_") else "en"
    book = Trade(name, language)
    (USUAL | UNUSUAL)[name](book)
    return book


def _errors(true, read):
    """The number of words that differ, and of words of the true text that are missing."""
    matcher = difflib.SequenceMatcher(None, true, read, autojunk=False)
    errors = missing = 0
    for kind, start, end, first, last in matcher.get_opcodes():
        if kind == "equal":
            continue
        before, after = (words(" ".join(texts)) for texts in (true[start:end], read[first:last]))
        inner = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        for change, a, b, c, d in inner:
            if change != "equal":
                errors += max(b - a, d - c)
                missing += b - a
    return errors, missing


@pytest.fixture
def read(new_epub):
    def read_trade(name):
        book = _book(name)
        return book, read_epub(new_epub(book.documents, **book.settings).write())

    return read_trade


@pytest.mark.parametrize("name", USUAL)
def test_a_usual_trade_epub_is_read_word_for_word(read, name):
    book, manuscript = read(name)
    texts = [text.replace("\n", " ") for one in manuscript.chapters for text in one.paragraphs]
    errors, missing = _errors(book.truth, texts)
    most = 0.0015 * len(words(" ".join(book.truth)))
    assert (missing, errors <= most) == (0, True), errors


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("glued_words", "in words of over 40"),
        ("positioned_words", "in words of over 40"),
        ("spaced_letters", "letters on average: it has spaces between letters"),
        ("letters_that_a_font_encodes", "hardly any common words, though its language is 'en'"),
        ("text_in_drawings", "hidden or in drawings"),
        ("most_is_hidden", "hidden or in drawings"),
    ],
)
def test_a_book_that_cannot_be_matched_is_rejected_with_the_place(read, name, message):
    with pytest.raises(BookError, match=message) as caught:
        read(name)
    assert re.search(r"'OEBPS/c\d\.xhtml'", caught.value.message)
    assert re.search("use (?:another|a different) edition", caught.value.hint)


def test_a_document_may_be_read_as_it_is(new_epub):
    book = _book("spaced_letters")
    path = new_epub(book.documents, **book.settings).write()
    manuscript = read_epub(path, include=["c*"])
    assert len(manuscript.chapters) == 3


@pytest.mark.parametrize("name", ["a_chapter_under_two_names", "the_whole_book_once_more"])
def test_what_is_there_twice_counts_once(read, name):
    book, manuscript = read(name)
    texts = [text for chapter in manuscript.chapters for text in chapter.paragraphs]
    assert texts == book.truth
    assert "once: it is also in 'OEBPS/c" in manuscript.warnings[0]


def _headed(book, title, *, before=(), author=""):
    """A novel whose last document has that title, behind other matter."""
    book.add_chapters()
    for name in before:
        book.add(name, ABOUT)
    text = book.write.paragraphs(6)
    body = p(f"{paragraph} {author} came." for paragraph in text) if author else p(text)
    book.add("last", f"{title}{body}")
    return book


@pytest.mark.parametrize(
    ("title", "before", "author", "kept"),
    [
        ("<h2>Chapter 1</h2>", ["about"], "", False),
        ("<h2>Chapter 1</h2>", [], "", True),
        ("<h2>Chapter 4</h2>", ["about"], "", True),
        ("<p>I went home.</p>", ["about"], "", True),
        ("<p>One day in June</p>", ["about"], "", True),
        ("<h2>The Sea</h2>", [], "Marlowe", False),
        ("<h2>The Sea</h2>", [], "Harlowe", True),
        ("<section epub:type='chapter'><h2>The Sea</h2></section>", [], "Marlowe", True),
    ],
)
def test_text_is_excluded_only_if_two_signs_agree(new_epub, title, before, author, kept):
    book = _headed(Trade("x"), title, before=before, author=author)
    manuscript = read_epub(new_epub(book.documents, **book.settings).write())
    assert manuscript.parts[-1].kept is kept
    assert any("last" in one.title or "Chapter" in one.title or "Sea" in one.title
               for one in manuscript.excluded) is not kept  # fmt: skip


def test_a_book_that_names_its_author_throughout_is_read(new_epub):
    book = Trade("memoir")
    named = [[f"{text} Marlowe came." for text in chapter] for chapter in book.chapters]
    for number, chapter in enumerate(named):
        book.add(f"c{number}", f"<h2>{number}</h2>{p(chapter)}")
    manuscript = read_epub(new_epub(book.documents, **book.settings).write())
    assert all(part.kept for part in manuscript.parts)


def test_a_wrongly_declared_language_is_no_reason_to_reject(new_epub):
    book = Trade("x", "es")
    book.add_chapters()
    path = new_epub(book.documents, metadata=Trade("x").settings["metadata"]).write()
    assert len(read_epub(path).chapters) == 3


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        ({"include": ["c3.xhtml"]}, [True, True]),
        ({"include": ["c3.xhtml § 2"]}, [True, True]),
        ({"exclude": ["c3.xhtml § 2"]}, [True, False]),
        ({"exclude": ["c3.xhtml"]}, [False, False]),
    ],
)
def test_patterns_name_a_document_or_one_of_its_sections(new_epub, patterns, kept):
    book = Trade("x")
    book.add_chapters()
    book.documents["c3.xhtml"] += ABOUT
    path = new_epub(book.documents, **book.settings).write()
    assert [part.kept for part in read_epub(path).parts[2:]] == [True, False]
    assert [part.kept for part in read_epub(path, **patterns).parts[2:]] == kept
