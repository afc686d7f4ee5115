"""A book that can't be used is refused again without being read again."""

from types import SimpleNamespace

import pytest

from pytest_memleak.errors import BookError
from pytest_memleak.pipeline.prepared_books import PreparedBooks


def test_a_refused_book_is_read_once(tmp_path):
    path = tmp_path / "book.txt"
    path.touch()
    reads = []

    def refuse(source, **_):
        reads.append(source)
        raise BookError("is empty", location=source.name)

    pair = SimpleNamespace(scoring=SimpleNamespace(word_mode="unicode"))
    source = SimpleNamespace(
        id="b",
        source=path,
        summaries=None,
        collection=None,
        include=(),
        exclude=(),
        encoding=None,
    )
    suite = SimpleNamespace(pairs=[pair], books=[source])
    books = PreparedBooks(suite, SimpleNamespace(read_book=refuse), lambda: None)
    for _ in range(3):
        with pytest.raises(BookError, match="is empty"):
            books.cut_into_excerpts(source)
    assert reads == [path]
