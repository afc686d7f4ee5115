from __future__ import annotations

import hashlib
import json

import pytest

from pytest_memleak.books.summary_files import load_summaries, write_summaries
from pytest_memleak.errors import BookError
from pytest_memleak.records import Excerpt

EXCERPTS = (Excerpt("p_id1", "It rainéd."), Excerpt("p_id2", "It stopped."))
DIGEST = hashlib.sha256("It rainéd.".encode()).hexdigest()
GOOD = {
    "p_id1": {"summary": "Rain.", "excerpt_sha256": DIGEST},
    "p_id2": {"summary": "None.", "excerpt_sha256": hashlib.sha256(b"It stopped.").hexdigest()},
}


@pytest.fixture
def load(tmp_path):
    def load_this(data):
        path = tmp_path / "book.summaries.json"
        path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        return load_summaries(path, EXCERPTS)

    return load_this


def test_what_is_written_can_be_loaded(tmp_path):
    path = tmp_path / "book.summaries.json"
    write_summaries(path, EXCERPTS, {"p_id1": "Rain.", "p_id2": "None."})
    assert json.loads(path.read_bytes()) == GOOD
    assert load_summaries(path, EXCERPTS) == {"p_id1": "Rain.", "p_id2": "None."}
    assert [one.name for one in tmp_path.iterdir()] == ["book.summaries.json"]


def test_notes_are_allowed(load):
    assert set(load({"_about": "by hand", **GOOD})) == {"p_id1", "p_id2"}


def without(entry, key):
    return {**GOOD, entry: {name: value for name, value in GOOD[entry].items() if name != key}}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"p_id1": GOOD["p_id1"]}, "excerpt 'p_id2' has no summary"),
        ({**GOOD, "p_id3": GOOD["p_id1"]}, "'p_id3', which isn't an excerpt of the book"),
        ({**GOOD, "p_id1": {**GOOD["p_id1"], "excerpt_sha256": "0" * 64}}, "'p_id1' differs from"),
        ({**GOOD, "p_id1": {**GOOD["p_id1"], "summary": " "}}, "'p_id1' has no summary"),
        (without("p_id2", "summary"), "'p_id2' has no summary"),
        (without("p_id2", "excerpt_sha256"), "'p_id2' has no excerpt_sha256"),
        ({**GOOD, "p_id1": "Rain."}, "'p_id1' isn't an object"),
        ([], "is not a JSON object"),
        (b"", "is not JSON"),
        (b"{", "is not JSON: .* at line 1"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        (b"[" * 100_000, "is invalid JSON"),
    ],
)
def test_what_does_not_fit_is_refused(load, tmp_path, data, match):
    with pytest.raises(BookError, match=match) as caught:
        load(data)
    assert caught.value.location == str(tmp_path / "book.summaries.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BookError, match="cannot be read: No such file"):
        load_summaries(tmp_path / "nowhere.json", EXCERPTS)


def test_nothing_is_written_where_a_summary_is_missing(tmp_path):
    path = tmp_path / "book.summaries.json"
    with pytest.raises(BookError, match="'p_id2' has no summary"):
        write_summaries(path, EXCERPTS, {"p_id1": "Rain."})
    assert not path.exists()


def test_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "no" / "book.summaries.json"
    with pytest.raises(BookError, match="cannot be written"):
        write_summaries(path, EXCERPTS, {"p_id1": "Rain.", "p_id2": "None."})
