"""What travels with a finding so that its pair can be drawn, and its passages told."""

import dataclasses
import json

import numpy as np
import pytest

from pytest_memleak.books.instructions import beginnings
from pytest_memleak.records import Generation, Scoring
from pytest_memleak.records.pair_result import PairResult
from pytest_memleak.records.plot_records import PlotData
from pytest_memleak.results.coverage_map import decode_times
from pytest_memleak.results.result_codec import decode, encode
from pytest_memleak.scoring.measures import measure
from pytest_memleak.scoring.span_sources import cross_excerpt


@pytest.fixture(scope="module")
def book(make_book):
    return make_book()


@pytest.fixture(scope="module")
def answers(book, recite):
    return list(recite(book))


@pytest.fixture(scope="module")
def found(book, answers, make_result):
    return make_result(book, answers)


def test_the_heat_is_the_measured_coverage_round_by_round(book, answers, found):
    measured = measure(book, answers, Scoring())
    times = decode_times(found.coverage)
    assert times.tolist() == list(measured.coverage.rounds)
    assert np.mean(times > 0) == pytest.approx(found.values["bmc"])
    assert len(found.coverage.times.split()) < len(times) / 10
    # And it is so after its way through JSON.
    travelled = decode(PairResult, json.loads(json.dumps(encode(found))))
    assert (travelled.plot, travelled.coverage) == (found.plot, found.coverage)
    assert set(encode(found)["plot"]) == {one.name for one in dataclasses.fields(PlotData)}


def test_chapters_block_and_lengths(book, found):
    seen = found.plot
    assert [chapter.title for chapter in seen.chapters] == ["Chapter 1", "Chapter 2", "Chapter 3"]
    assert [chapter.start for chapter in seen.chapters] == [0, 640, 1280]
    assert max(length for length, _ in seen.lengths) == found.values["longest_span"]
    curve = found.coverage.curve
    assert len(curve) == len(seen.guess) == found.coverage.rounds == 6
    assert curve[-1] == pytest.approx(found.values["bmc"], abs=1e-6)


@pytest.mark.parametrize("over", [5, 20, 39])
def test_links_are_the_cross_excerpt_spans_over_the_threshold(book, answers, make_result, over):
    scoring = Scoring(span_threshold=over)
    seen = make_result(book, answers, scoring=scoring).plot
    cross = cross_excerpt(book, answers, scoring)
    long = [one for one in cross.spans if one.words > over]
    ids = [excerpt.id for excerpt in book.excerpts]
    spans = {(one.start, one.end): one for one in long if one.cross}
    assert (seen.long_count, seen.long_cross) == (len(long), len(spans))
    assert len(spans) > 0
    assert len(seen.links) == len(spans)
    for link in seen.links:
        whole = spans[link.start, link.end]
        assert ids[link.target] == whole.target
        assert [ids[one] for one in link.sources] == [
            one for one in whole.sources if one != whole.target
        ]
    lengths = [link.end - link.start for link in seen.links]
    assert lengths == sorted(lengths, reverse=True)


def test_a_span_names_the_excerpts_that_gave_it(book, make_result):
    told = " ".join(book.excerpts[2].text.split()[10:50])
    found = make_result(book, [Generation("p_id2", 0, told), Generation("p_id4", 0, told)])
    [note] = found.plot.spans
    span = note.passage
    assert (span.excerpt_id, note.sources, span.words) == ("p_id2", ("p_id2", "p_id4"), 40)
    assert len(span.quote.split(" … ")[0].split()) == 12


def test_the_text_travels_only_where_all_of_it_was_asked_for(book, answers, make_result):
    assert make_result(book, answers, quoted=500).plot.text is None
    whole = make_result(book, answers, quoted=None).plot
    assert whole.text == tuple(excerpt.text for excerpt in book.excerpts)
    assert book.excerpts[0].text[:30] not in repr(whole)


def test_a_book_that_nobody_gave_back_and_nothing_measured(book, make_result):
    found = make_result(book, [Generation("p_id0", 0, "nothing at all")])
    assert found.coverage.times == "0x1920"
    assert (found.plot.spans, found.plot.links, found.plot.lengths) == ((), (), ())
    found = make_result(book, [])
    assert found.plot is None
    assert decode(PairResult, json.loads(json.dumps(encode(found)))) == found


def test_of_a_continuation_the_place_is_the_whole_books_and_the_rate_its_own_prompts(
    make_book, make_result
):
    whole = make_book(excerpts=3, words=80)
    rests = beginnings(whole, prefix_words=30)
    its_words = " ".join(one.text for one in whole.excerpts).replace(".", "").split()

    def passages(*answers, asked="p_id1"):
        said = [Generation(asked, number, text) for number, text in enumerate(answers)]
        told = make_result(rests, said, samples=3, whole=whole).passages
        return [one for one in told if "near" not in one.kind]

    rest, elsewhere = " ".join(its_words[115:150]), "nothing of it is said here at all"
    (told,) = passages(rest, rest, elsewhere)
    assert (told.start, told.end, told.excerpt_id, told.book) == (115, 150, "p_id1", None)
    assert (told.rate.start, told.rate.end) == (55, 90)
    assert (told.rate.hits, told.rate.tries) == (2, 3)
    # No one prompt asks for what runs on into the next excerpt, or stands in another prompt.
    (told,) = passages(" ".join(its_words[130:170]))
    assert (told.start, told.end, told.rate) == (130, 170, None)
    (told,) = passages(" ".join(its_words[0:25]))
    assert (told.start, told.end, told.excerpt_id, told.asked_for) == (0, 25, "p_id0", "p_id1")
    assert told.rate is None
