"""A book asked for by the beginnings of its excerpts: what is measured, against the oracle."""

from hypothesis import assume, given
from hypothesis import strategies as st
from scored_books import book_of, drawn

from pytest_memleak.books.instructions import BARE_PREFIX, beginnings
from pytest_memleak.records import Scoring
from pytest_memleak.scoring.analysis import analyze
from pytest_memleak.scoring.measures import measure
from pytest_memleak.scoring.null_books import excess_over_null

PHRASE = st.lists(st.sampled_from([*"abcde", "b.", "A"]), min_size=1, max_size=12)


def asked(*texts, prefix_words):
    return beginnings(book_of(*texts), prefix_words=prefix_words, template=BARE_PREFIX)


LINE = "a b c d e f g h i j k l m n o p q r s t u v w x y z"


def test_the_prompts_words_are_in_no_number():
    book = asked(LINE, prefix_words=6)
    found = measure(book, drawn([LINE]), Scoring())
    assert (found.words, found.bmc) == (20, 1.0)
    assert (found.longest_span.words, found.longest_span.start, found.longest_span.end) == (
        20, 0, 20,
    )  # fmt: skip
    echo = measure(book, drawn(["a b c d e f and no more"]), Scoring(k=2, trim=2))
    assert (echo.bmc, echo.longest_block.words, echo.longest_span.words) == (0, 0, 0)
    # A run that begins in the prompt has its words after the prompt alone.
    across = measure(book, drawn(["d e f g h i j"]), Scoring(k=4, trim=0))
    assert (across.bmc, across.longest_span.words) == (4 / 20, 4)
    assert measure(book, drawn(["d e f g h i j"]), Scoring()).longest_span.words == 0


def test_what_the_book_repeats_of_the_prompt_is_given_away():
    book = asked("a b c d e f x a b c d e y z v w", prefix_words=6)
    found = measure(book, drawn(["x a b c d e y z"]), Scoring(k=3, trim=5))
    assert (found.words, found.bmc) == (10, 0)


def test_nothing_lies_across_the_gap_between_two_excerpts():
    book = asked("a b c d e f", "g h i j k l", prefix_words=2)
    found = measure(book, drawn(["d e f i j k"]), Scoring(k=4))
    assert (found.words, found.bmc) == (8, 0)
    both = measure(book, drawn(["c d e f"], ["i j k l"]), Scoring(k=4))
    assert (both.bmc, both.longest_block.words, both.longest_block.start) == (1.0, 4, 0)


def test_chance_and_provenance_stay_within_the_borders_too():
    book = asked("a b c d e f", "g h i j k l", prefix_words=2)
    scoring = Scoring(k=4, trim=0)
    across = ["e f i j", "d e f i j k"]
    nulls = {"other": [(None, one) for one in across]}
    null = excess_over_null(book, [(None, "n o p q")], nulls, scoring)
    assert (null.null_bmc, null.null_longest_span) == (0, 0)
    found = analyze(book, drawn(across), scoring)
    assert found.cross.count == 0


@given(
    st.lists(st.tuples(PHRASE, st.lists(PHRASE, max_size=3)), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 20))),
    st.integers(1, 8),
    st.integers(1, 6),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_agrees_with_the_oracle(oracle, texts, reciting, prefix_words, k, trim, threshold):
    book = asked(*(" ".join(text) for text, _ in texts), prefix_words=prefix_words)
    whole = [word for text, _ in texts for word in text]
    answers = {
        one.id: [" ".join(text) for text in said]
        for one, (_, said) in zip(book.excerpts, texts, strict=True)
    }
    for number, start, length in reciting:
        answers[f"p_id{number % len(texts) + 1}"].append(" ".join(whole[start : start + length]))
    parts = [(one.id, one.instruction or "", one.text) for one in book.excerpts]
    settings = {"k": k, "trim": trim, "span_threshold": threshold}
    expected = oracle.measure_continuations(parts, answers, **settings)
    assume(expected["words"] >= k)

    found = measure(book, drawn(*answers.values()), Scoring(**settings))
    assert found.words == expected["words"]
    assert found.bmc == expected["bmc"]
    block, span = found.longest_block, found.longest_span
    assert (block.words, block.start, block.end) == expected["longest_block"]
    assert (
        span.words, span.start, span.end, span.excerpt_id, span.generation
    ) == expected["longest_span"]  # fmt: skip
    assert [(one.start, one.end) for one in found.spans] == expected["spans"]
    assert list(found.coverage.reach) == expected["reach"]
    assert list(found.coverage.rounds) == expected["rounds"]
