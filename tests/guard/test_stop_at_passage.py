"""A stream ends before more than the limit of a passage has left, as the gate counts passages."""

import os
import random
import sys
from itertools import islice
from pathlib import Path

import pytest
from disguised_texts import DISGUISES, book, planted, prose
from examples import examples
from guarded_texts import deltas, every_7th, library, longest
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import full
from scored_books import book_of

from pytest_memleak.guard import GuardedText
from pytest_memleak.library import Library, read_book
from pytest_memleak.records import Scoring

LIMIT = 38
FOLDER = os.environ.get("MEMLEAK_BOOKS")
NOVELS = sorted(Path(FOLDER).glob("*.epub")) if FOLDER else []


def sent_by(stream, pieces):
    """What leaves, piece by piece, up to the stream's end or its stop."""
    return "".join([*map(stream.feed, pieces), stream.end()])


def in_symbols(first):
    """Write letters as those of a block of Unicode that starts with `first`."""
    symbols = {ord("a") + nth: ord(first) + nth for nth in range(26)}
    return lambda words: " ".join(words).lower().translate(symbols)


CHANGES = {
    "verbatim": " ".join, "every 7th word changed": every_7th, **DISGUISES,
    "circled letters": in_symbols("\u24d0"), "flag letters": in_symbols("\U0001f1e6"),
    "tag characters": lambda words: "".join(chr(0xE0000 + ord(c)) for c in " ".join(words)),
}  # fmt: skip


@pytest.mark.parametrize("most", [30, full(1), full(8), full(1_000)])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_stream_stops_within_the_limit(change, most):
    rng = random.Random(most)
    for text in islice(
        planted(change, "the-lamplighter", length=100), 1 if most == 30 else 8
    ):
        stream = GuardedText(library())
        sent = sent_by(stream, deltas(text, rng, most))
        assert text.startswith(sent)
        assert longest(sent) <= LIMIT < stream.passage.words
        assert stream.passage.book == "the-lamplighter"
        # As much leaves as may: what comes next is a passage over the limit, or soon
        # is.
        assert longest(text[: len(sent) + 400]) > LIMIT
        assert (stream.feed("more"), stream.end()) == ("", "")


def test_no_more_words_leave_than_the_limit_where_some_are_changed():
    protected = Library.of([book_of(" ".join(WORDS))])
    for step in (*range(6, 12), len(WORDS) + 1):  # and where none is
        words = [
            "otherwise" if n % step == step - 1 else word
            for n, word in enumerate(WORDS)
        ]
        for pieces in (deltas(" ".join(words), random.Random(step)), [" ".join(words)]):
            sent = sent_by(GuardedText(protected), pieces).split()
            assert LIMIT - 4 <= len(sent) - sent.count("otherwise") <= LIMIT


WORDS = [f"w{n}" for n in range(300)]
PIECES = st.one_of(
    st.tuples(st.integers(0, 260), st.integers(1, 60)).map(
        lambda at: WORDS[at[0] :][: at[1]]
    ),
    st.lists(
        st.sampled_from(["the", "sea", "and", "a-\nside", "<b>", "1984", "**so**"]),
        max_size=9,
    ),
)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(PIECES, max_size=12), st.lists(PIECES, max_size=2), st.integers(0, 1 << 16),
    st.sampled_from([20, 38]),
)  # fmt: skip
def test_a_stream_ends_what_the_gate_would_report_and_nothing_else(
    pieces, asked, seed, limit
):
    protected = Library.of([book_of(" ".join(WORDS[:150]), " ".join(WORDS[150:]))])
    text, prompt = (" ".join(map(" ".join, parts)) for parts in (pieces, asked))
    stream = GuardedText(protected, limit, prompt=prompt)
    sent = sent_by(stream, deltas(text, random.Random(seed), 12))
    assert longest(sent, prompt, protected=protected) <= limit
    if stream.passage is None:
        assert sent == text
        assert longest(text, prompt, protected=protected) <= limit
    else:
        assert text.startswith(sent)
        most = max(
            passage.words for passage in protected.find([text], [prompt], least=5)
        )
        assert most + (4 if prompt else 0) >= stream.passage.words > limit


def test_honest_prose_leaves_whole_and_at_once():
    words = prose("the-seed-vault")
    for at in range(0, len(words) - 400, 800):
        text = " ".join(words[at : at + 400])
        stream = GuardedText(library())
        for delta in deltas(text, random.Random(at)):
            assert stream.feed(delta) == delta
        assert (stream.end(), stream.passage) == ("", None)


@pytest.mark.full
@pytest.mark.skipif(len(NOVELS) < 3, reason="MEMLEAK_BOOKS names no folder of 3 EPUBs")
def test_a_thousand_honest_answers_of_real_prose_leave_whole():
    *protected, other = NOVELS
    index = Library.of(protected)
    words = " ".join(excerpt.text for excerpt in read_book(other).excerpts).split()
    rng = random.Random(5)
    for _ in range(1_000):
        at = rng.randrange(len(words) - 250)
        text = " ".join(words[at : at + 250])
        stream = GuardedText(index)
        assert sent_by(stream, deltas(text, rng)) == text
        assert stream.passage is None


def test_words_of_the_prompt_or_a_common_text_are_no_passage():
    words = prose("the-lamplighter")
    text, quoted = " ".join(words[300:500]), " ".join(words[280:460])
    assert sent_by(GuardedText(library(), prompt=f"Go on: {text}"), [text]) == text
    beyond = GuardedText(library(), prompt=quoted)
    assert 0 < longest(sent_by(beyond, deltas(text, random.Random(1))), quoted) <= LIMIT
    common = Library.of(
        [book("the-lamplighter")], common=[book_of(quoted, book_id="quoted")]
    )
    assert [*common.sizes] == ["the-lamplighter"]
    for passage in (" ".join(words[300:450]), every_7th(words[300:450])):
        assert longest(passage) > 100
        assert longest(passage, protected=common) == 0
        assert sent_by(GuardedText(common), [passage]) == passage
    assert GuardedText(common).feed(text) != text


def test_a_passage_over_a_long_answer_takes_no_more_memory():
    rng, stream = random.Random(2), GuardedText(library())
    words = prose("the-seed-vault")
    sizes = []
    for _ in range(10):
        for delta in deltas(" ".join(rng.sample(words, 500)), rng, 100):
            stream.feed(delta)
        sizes.append(sum(sys.getsizeof(part) for part in vars(stream).values()))
    assert max(sizes[-3:]) < 1.2 * max(sizes[:3])
    assert stream.passage is None
    assert longest(stream.feed(f" {' '.join(prose('the-lamplighter')[:100])}")) <= LIMIT
    assert stream.passage
    # Nor does a word without end.
    blob = GuardedText(library())
    for _ in range(100):
        blob.feed("QmFzZTY0" * 100)
    assert sum(sys.getsizeof(part) for part in vars(blob).values()) < 50_000


@pytest.mark.parametrize("limit", [20, 150, full(2_000)])
def test_any_limit_holds_after_a_long_answer(limit):
    words = " ".join(
        [*prose("the-seed-vault")[:1_000], *prose("the-lamplighter")[: limit + 60]]
    )
    stream = GuardedText(library(), limit)
    sent = sent_by(stream, deltas(words, random.Random(limit), 40))
    assert stream.passage.words > limit
    assert limit - 9 <= longest(sent) <= limit


@pytest.mark.parametrize("language", ["chinese", full("thai")])
def test_scripts_without_spaces(language):
    pytest.importorskip("icu4py")
    text = (
        Path(__file__).parents[1] / "scoring" / "udhr" / f"{language}.txt"
    ).read_text("utf-8")
    protected = Library.of([book_of(text)], Scoring(word_mode="unicode"))
    stream = GuardedText(protected)
    sent = sent_by(stream, deltas(text[300:900], random.Random(1), 3))
    assert 30 <= longest(sent, protected=protected) <= LIMIT < stream.passage.words
