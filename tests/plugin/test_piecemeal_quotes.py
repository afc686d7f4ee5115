"""A book that is told piece by piece is a quote from the thirteenth word on."""

from pytest_memleak.plugin.piecemeal_quotes import Pieces, messages_of
from pytest_memleak.redaction.text import without_quotes

BOOK = "the ferryman counted nine lanterns along the quay and did not like the number at all"


def pieces(most=12):
    return Pieces(lambda text: without_quotes(text, [BOOK], most=most) != text, most=most)


def test_words_go_on_with_a_quote_from_the_thirteenth_on():
    told = pieces()
    assert [told.goes_on(word) for word in BOOK.split()] == [False] * 12 + [True] * 4
    assert not told.goes_on("another matter")
    assert [told.goes_on(word) for word in BOOK.split()[:12]] == [False] * 12


def test_lines_do():
    told = pieces()
    assert not told.goes_on("the ferryman counted nine lanterns")
    assert not told.goes_on("along the quay and")
    assert told.goes_on("did not like the")


def test_what_was_shown_does_not_count_again():
    told = pieces(most=2)
    assert [told.goes_on(one) for one in ("along the", "quay", "of a town", "the quay")] == [
        *(False, True, False, False)
    ]


def test_after_a_hundred_nothing_is_looked_at():
    told = pieces()
    assert [told.goes_on("x") for _ in range(101)] == [False] * 100 + [True]


def test_properties_keep_their_names_and_ours_their_values():
    words = [(f"w{n}", word) for n, word in enumerate(BOOK.split())]
    told = [*words[:8], ("memleak.bmc", "0.5"), *words[8:], ("n", 3)]
    kept = pieces().properties(told)
    assert [name for name, _ in kept] == [name for name, _ in told]
    assert [value for _, value in kept] == [
        *(BOOK.split()[:8]), "0.5", *BOOK.split()[8:12], *["withheld"] * 4, 3
    ]  # fmt: skip
    assert pieces().properties(told[:10]) == told[:10]


def test_an_exception_says_what_it_groups_notes_and_follows_from():
    first, second = ValueError("one"), ValueError("two")
    group = ExceptionGroup("of them", [first, ExceptionGroup("more", [second])])
    group.add_note("three")
    group.__cause__ = KeyError("four")
    assert set(messages_of(group)) == {"one", "two", "three", "'four'"}
    first.__context__ = first
    assert list(messages_of(first)) == ["one"]
    assert list(messages_of(None)) == []
