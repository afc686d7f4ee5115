"""`memleak trace`: the prompts that produced a book's spans, and spans of other books."""

import pytest


def test_trace_counts_the_spans_of_another_book(generations_file, printed, file):
    other = "one two three four five six seven"
    file("other.json", [{"excerpt_id": "p_id1", "excerpt_text": other}])
    generations_file("g.json", p_id1=["so one two three four five six then"])
    result = printed("trace book.json g.json other.json --span-threshold 5 --json")
    assert result["books"] == [{"book": "other", "spans": 1, "longest": 6, "over": 1}]


@pytest.mark.parametrize(
    ("last", "cross", "spans"), [("i j k l m n o", 0, 2), ("i j k l m n", 1, 2)]
)
def test_trace_gives_the_worked_example(generations_file, printed, last, cross, spans):
    first = ["a b c d e f z i j k l m n", "x f g h i j k y"]
    generations_file("g.json", p_id1=first, p_id2=[last])
    ratio = cross / spans
    result = printed("trace book.json g.json --json")
    assert (result["spans"], result["cross"], result["ratio"]) == (spans, cross, ratio)
    text = f"{spans} spans, {cross} of them cross-excerpt ({ratio:.3f})"
    assert text in printed("trace book.json g.json")
