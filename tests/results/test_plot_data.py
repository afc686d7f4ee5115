"""What travels with a finding so that its pair can be drawn, and its passages told."""

import dataclasses
import json

import numpy as np
import pytest

from pytest_memleak.books.instructions import beginnings
from pytest_memleak.records import BookPart, Generation, Scoring
from pytest_memleak.records.pair_result import PairResult
from pytest_memleak.records.plot_records import PlotData
from pytest_memleak.results.coverage_map import decode_rounds_per_word
from pytest_memleak.results.result_codec import decode, encode
from pytest_memleak.scoring.four_measures import measure
from pytest_memleak.scoring.span_sources import cross_excerpt


@pytest.fixture(scope="module")
def book(make_book):
    part = BookPart("p1", "word " * 13, kept=True, rule="", words=1)
    return dataclasses.replace(make_book(), parts=(part,))


@pytest.fixture(scope="module")
def answers(book, recite):
    return list(recite(book))


@pytest.fixture(scope="module")
def result(book, answers, make_result):
    return make_result(book, answers)


def test_the_heat_is_the_measured_coverage_round_by_round(book, answers, result):
    measured = measure(book, answers, Scoring())
    times = decode_rounds_per_word(result.coverage)
    assert times.tolist() == list(measured.coverage.rounds)
    assert np.mean(times > 0) == pytest.approx(result.values["bmc"])
    assert len(result.coverage.times.split()) < len(times) / 10
    # And it is so after its way through JSON.
    travelled = decode(PairResult, json.loads(json.dumps(encode(result))))
    assert (travelled.plot, travelled.coverage) == (result.plot, result.coverage)
    assert set(encode(result)["plot"]) == {
        field.name for field in dataclasses.fields(PlotData)
    }


def test_plot_data_has_chapters_and_lengths(book, result):
    seen = result.plot
    assert [chapter.title for chapter in seen.chapters] == [
        "Chapter 1",
        "Chapter 2",
        "Chapter 3",
    ]
    assert [chapter.start for chapter in seen.chapters] == [0, 640, 1280]
    assert result.book.parts[0].label.startswith("word " * 12 + "… #")
    assert max(length for length, _ in seen.lengths) == result.values["longest_span"]
    curve = result.coverage.curve
    assert len(curve) == len(seen.guess) == result.coverage.rounds == 6
    assert curve[-1] == pytest.approx(result.values["bmc"], abs=1e-6)


@pytest.mark.parametrize("over", [5, 20, 39])
def test_links_are_the_cross_excerpt_spans_over_the_threshold(
    book, answers, make_result, over
):
    scoring = Scoring(span_threshold=over)
    seen = make_result(book, answers, scoring=scoring).plot
    cross = cross_excerpt(book, answers, scoring)
    long = [span for span in cross.spans if span.words > over]
    ids = [excerpt.id for excerpt in book.excerpts]
    spans = {(one.start, one.end): one for one in long if one.cross}
    assert (seen.long_count, seen.long_cross) == (len(long), len(spans))
    assert len(spans) > 0
    assert len(seen.links) == len(spans)
    for link in seen.links:
        whole = spans[link.start, link.end]
        assert ids[link.target] == whole.target
        assert [ids[source] for source in link.sources] == [
            source for source in whole.sources if source != whole.target
        ]
    lengths = [link.end - link.start for link in seen.links]
    assert lengths == sorted(lengths, reverse=True)


def test_a_span_names_the_excerpts_that_gave_it(book, make_result):
    passage = " ".join(book.excerpts[2].text.split()[10:50])
    result = make_result(
        book, [Generation("p_id2", 0, passage), Generation("p_id4", 0, passage)]
    )
    [note] = result.plot.spans
    span = note.passage
    assert (span.excerpt_id, note.sources, span.words) == (
        "p_id2",
        ("p_id2", "p_id4"),
        40,
    )
    assert len(span.quote.split(" … ")[0].split()) == 12


def test_the_text_travels_only_where_all_of_it_was_asked_for(
    book, answers, make_result
):
    assert make_result(book, answers, quoted=500).plot.text is None
    whole = make_result(book, answers, quoted=None).plot
    assert whole.text == tuple(excerpt.text for excerpt in book.excerpts)
    assert book.excerpts[0].text[:30] not in repr(whole)


def test_plot_data_without_recall_or_measurement_is_empty(book, make_result):
    result = make_result(book, [Generation("p_id0", 0, "nothing at all")])
    assert result.coverage.times == "0x1920"
    assert (result.plot.spans, result.plot.links, result.plot.lengths) == ((), (), ())
    result = make_result(book, [])
    assert result.plot is None
    assert decode(PairResult, json.loads(json.dumps(encode(result)))) == result


def test_a_continuations_passage_has_the_whole_books_place(make_book, make_result):
    whole = make_book(excerpts=3, words=80)
    rests = beginnings(whole, prefix_words=30)
    its_words = (
        " ".join(excerpt.text for excerpt in whole.excerpts).replace(".", "").split()
    )

    def passages(*answers, prompted="p_id1"):
        generations = [
            Generation(prompted, number, text) for number, text in enumerate(answers)
        ]
        passage = make_result(rests, generations, samples=3, whole=whole).passages
        return [one for one in passage if "near" not in one.kind]

    rest, elsewhere = " ".join(its_words[115:150]), "nothing of it is said here at all"
    (passage,) = passages(rest, rest, elsewhere)
    assert (passage.start, passage.end, passage.excerpt_id) == (115, 150, "p_id1")
    rate = passage.rate
    assert (passage.book, rate.start, rate.end, rate.hits, rate.tries) == (
        None,
        55,
        90,
        2,
        3,
    )
    # No one prompt asks for what runs on into the next excerpt, or stands in another
    # prompt.
    (passage,) = passages(" ".join(its_words[130:170]))
    assert (passage.start, passage.end, passage.rate) == (130, 170, None)
    (passage,) = passages(" ".join(its_words[0:25]))
    assert (passage.start, passage.end, passage.rate) == (0, 25, None)
    assert (passage.excerpt_id, passage.prompted_excerpt) == ("p_id0", "p_id1")
