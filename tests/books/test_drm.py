from __future__ import annotations

import pytest

from pytest_memleak.books.epub import read_epub
from pytest_memleak.errors import BookError

AES = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
IDPF = "http://www.idpf.org/2008/embedding"
ADOBE = "http://ns.adobe.com/pdf/enc#RC"


@pytest.fixture
def encrypted(new_epub):
    def make(*entries):
        data = "".join(
            f'<enc:EncryptedData><enc:EncryptionMethod Algorithm="{algorithm}"/>'
            f'<enc:CipherData><enc:CipherReference URI="{target}"/></enc:CipherData>'
            "</enc:EncryptedData>"
            for algorithm, target in entries
        )
        made = new_epub()
        made.files["META-INF/encryption.xml"] = (
            '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"'
            f' xmlns:enc="http://www.w3.org/2001/04/xmlenc#">{data}</encryption>'
        )
        return made.write()

    return make


@pytest.mark.parametrize(
    "entries",
    [
        [(IDPF, "OEBPS/fonts/a.otf"), (ADOBE, "OEBPS/fonts/b.TTF")],
        [(IDPF, "OEBPS/fonts/00001")],
        [(AES, "OEBPS/fonts/a.woff2")],
        [(AES, "OEBPS/film.mp4"), (AES, "OEBPS/song.MP3")],
        [],
    ],
)
def test_fonts_may_be_encrypted(encrypted, entries):
    assert read_epub(encrypted(*entries)).chapters[0].paragraphs == ("Some words.",)


@pytest.mark.parametrize(
    "entry",
    [
        (AES, "OEBPS/one.xhtml"),
        (AES, "OEBPS/cover.jpg"),
        (AES, "OEBPS/00001"),
        (IDPF, "OEBPS/one.xhtml"),
        (AES, ""),
        ("", "OEBPS/one.xhtml"),
    ],
)
def test_anything_else_is_drm(encrypted, entry):
    with pytest.raises(BookError, match="is protected by DRM") as caught:
        read_epub(encrypted((IDPF, "a.otf"), entry))
    assert caught.value.hint == "use a copy without DRM"


def test_encryption_that_names_nothing_is_drm(new_epub):
    made = new_epub(files={"META-INF/encryption.xml": "<e><EncryptedData/></e>"})
    with pytest.raises(BookError, match="is protected by DRM"):
        read_epub(made.write())


def test_encryption_that_cannot_be_read_is_refused(new_epub):
    made = new_epub(files={"META-INF/encryption.xml": b"\x00\x01"})
    with pytest.raises(BookError, match=r"'META-INF/encryption.xml' is not XML"):
        read_epub(made.write())


@pytest.mark.parametrize("name", ["rights.xml", "sinf.xml"])
def test_the_files_of_a_drm_mean_drm(new_epub, name):
    made = new_epub(files={f"META-INF/{name}": "<rights/>"})
    with pytest.raises(BookError, match=f"is protected by DRM: it contains META-INF/{name}"):
        read_epub(made.write())


def test_of_two_methods_that_of_the_data_counts(new_epub):
    made = new_epub()
    made.files["META-INF/encryption.xml"] = (
        f'<e><EncryptedData><EncryptionMethod Algorithm="{IDPF}"/><KeyInfo><EncryptedKey>'
        f'<EncryptionMethod Algorithm="{AES}"/></EncryptedKey></KeyInfo><CipherData>'
        '<CipherReference URI="fonts/1"/></CipherData></EncryptedData></e>'
    )
    assert read_epub(made.write()).chapters
