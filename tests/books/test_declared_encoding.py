"""Plain text in encodings other than UTF-8: declared, read as windows-1252, or refused."""

import codecs

import pytest

from pytest_memleak.books.book_file_types import read_manuscript
from pytest_memleak.errors import BookError
from pytest_memleak.interfaces.extensions import Extensions

FRENCH = (
    "À l'aube, le pêcheur répara son filet : « La mer a été mauvaise », dit-il à sa "
    "femme, qui préparait déjà le café. — Où étais-tu ?\n\n"
) * 20
CZECH = (
    "Příliš žluťoučký kůň úpěl ďábelské ódy, a šťastný rybář spravoval síť, kterou "
    "bouře roztrhala; přešel přes můstek.\n\n"
) * 20
JAPANESE = "漁師は港で網をつくろっていた。嵐が網を裂いたのだ。\n\n" * 60
CHINESE = "渔夫坐在码头上补网，暴风雨把网撕破了。他没有抬头。\n\n" * 60
RUSSIAN = "Лодка стояла в гавани, а её хозяин чинил сеть на берегу.\n\n" * 40
BY_ENCODING = {
    "shift_jis": JAPANESE,
    "gb18030": CHINESE,
    "koi8-r": RUSSIAN,
    "windows-1251": RUSSIAN,
    "iso8859-2": CZECH,
    "cp850": FRENCH.replace("—", "-"),
    "mac-roman": FRENCH,
}


@pytest.fixture
def text_file(tmp_path):
    def write(text, encoding, name="book.txt"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("encoding", BY_ENCODING)
def test_text_of_an_undeclared_encoding_is_refused(text_file, encoding):
    path = text_file(BY_ENCODING[encoding], encoding)
    with pytest.raises(BookError) as caught:
        Extensions().read_book(path)
    assert caught.value.location == str(path)
    assert "encoding = " in caught.value.hint


@pytest.mark.parametrize("suffix", [".txt", ".md", ".lrc", ".html"])
@pytest.mark.parametrize("encoding", BY_ENCODING)
def test_text_of_a_declared_encoding_is_read(text_file, encoding, suffix):
    text = BY_ENCODING[encoding]
    path = text_file(text, encoding, f"book{suffix}")
    manuscript = Extensions().read_book(path, encoding=encoding)
    assert "".join("".join(manuscript.paragraphs()).split()) == "".join(text.split())


def test_text_in_windows_1252_is_read_with_a_warning(text_file):
    manuscript = Extensions().read_book(text_file(FRENCH, "cp1252"))
    assert manuscript.paragraphs()[0] == FRENCH.split("\n\n", maxsplit=1)[0]
    assert manuscript.warnings == ("not UTF-8; read as windows-1252",)


def test_a_text_in_a_zip_is_read_in_its_encoding(tmp_path):
    import zipfile

    path = tmp_path / "book.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("book.txt", RUSSIAN.encode("koi8-r"))
    manuscript = read_manuscript(path, encoding="koi8-r")
    assert manuscript.paragraphs()[0] == RUSSIAN.split("\n\n", maxsplit=1)[0]


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("no-such", "encoding 'no-such' is unknown"),
        ("base64", "encoding 'base64' is unknown"),
        ("ascii", "isn't in the encoding 'ascii' from byte"),
    ],
)
def test_an_encoding_that_does_not_fit_is_refused(text_file, encoding, message):
    with pytest.raises(BookError, match=message) as caught:
        read_manuscript(text_file(FRENCH, "utf-8"), encoding=encoding)
    assert caught.value.hint


def test_a_package_that_answers_to_every_name_makes_no_encoding_known(text_file):
    def answer_to_every_name(_):
        return codecs.lookup("utf-8")

    codecs.register(answer_to_every_name)
    try:
        with pytest.raises(BookError, match="encoding 'no-such' is unknown"):
            read_manuscript(text_file(FRENCH, "utf-8"), encoding="no-such")
    finally:
        codecs.unregister(answer_to_every_name)


def test_an_encoding_of_an_epub_is_refused(new_epub):
    with pytest.raises(BookError, match="encoding applies only to plain text"):
        read_manuscript(new_epub().write(), encoding="koi8-r")


def test_a_byte_order_mark_is_no_part_of_the_text(text_file):
    data = (codecs.BOM_UTF8 + b"Some words.").decode("utf-8")
    assert read_manuscript(text_file(data, "utf-8"), encoding="utf-8").paragraphs() == [
        "Some words."
    ]
