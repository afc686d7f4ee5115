"""The HTML report as text: what it says, what it keeps to itself, and how large it gets."""

import base64
import dataclasses
import datetime
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pair_results import estimated, limited, named
from result_fixtures import spoil

from pytest_memleak.records import Limits, Measure, Scoring
from pytest_memleak.records.pair_result import RunReport, SetLimit
from pytest_memleak.records.plot_records import CoveredExcerpt, Heading
from pytest_memleak.records.provenance import Provenance, ServedBy
from pytest_memleak.reports.html.page import render
from pytest_memleak.results.coverage_map import compare_coverage, decode_rounds_per_word
from pytest_memleak.scoring.coverage_similarity import self_agreement
from pytest_memleak.scoring.words import words

MADE = datetime.datetime(2031, 2, 3, 4, 5, tzinfo=datetime.UTC)
NO_END = {"meta", "link", "path", "rect", "wbr", "input"}


class Page(HTMLParser):
    """Elements, the text a reader sees, and whether every element is closed in its place."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open, self._may_break = [], [], [], False
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._may_break = tag == "wbr"
        if tag not in NO_END:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in NO_END:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            if self._may_break:
                data = self.texts.pop() + data
            self.texts.append(data)
        self._may_break = False

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.elements if name in attrs]


def page_of(*findings):
    return render(RunReport("9.9", findings), created=MADE)


@pytest.fixture(scope="module")
def book(make_book):
    return make_book()


@pytest.fixture(scope="module")
def leak(book, recite, make_result):
    return make_result(book, recite(book, run=60), model="leaky")


def test_the_statement_names_every_limit(leak):
    names = ["longest_passage", "passages_over", "nv_longest_passage", "bmc"]
    names += ["longest_block", "longest_span", "spans_over"]
    limits = limited(**dict.fromkeys(names, 0.5))
    text = Page(page_of(dataclasses.replace(leak, limits=limits))).text
    _, _, statement = text.partition("Limits, and the most measured")
    statement, _, _ = statement.partition("Detection limit")
    assert [name for name in names if name in statement] == names


@pytest.fixture(scope="module")
def other(book, recite, make_result):
    return make_result(
        book, recite(book, run=12, seed=5), model="mild", limits=Limits(bmc=0.9)
    )


@pytest.fixture(scope="module")
def wanted(book, recite, make_result):
    return make_result(book, recite(book, run=60), model="wanted", expected="leak")


@pytest.fixture(scope="module")
def silent(book, make_result):
    return make_result(book, [], model="silent", issues=("the server said <no>",))


def test_the_overview_has_pairs_measures_intervals_limits_and_verdicts(leak, other):
    text = Page(page_of(leak, other)).text
    for pair in (leak, other):
        low, high = (100 * end for end in pair.intervals["bmc"])
        shown = [
            f"{pair.model.id} on The Ferry",
            pair.verdict,
            f"{low:.1f}–{high:.1f}%",
        ]
        shown += [f"{100 * pair.values['bmc']:.1f}%"]
        shown += [f"{pair.values[name]:,}" for name in ("longest_block", "spans_over")]
        assert [part for part in shown if part not in text] == []
    shown = ["exceeds the limit 30.0%", "within the limit 90.0%", "nv_longest_passage"]
    assert [part for part in (*shown, *leak.reasons) if part not in text] == []


def section(page, title, until):
    """What the page says from a heading on to another."""
    return page.text.partition(title)[2].partition(until)[0]


@pytest.fixture(scope="module")
def released(leak, other):
    """The page of a release whose limits and book are known, beside an evidence file."""
    limits = leak.limits | {"bmc": SetLimit(leak.limits["bmc"].limit, "limits.preset")}
    book = dataclasses.replace(leak.book, file_sha256="f" * 64)
    result = dataclasses.replace(leak, limits=limits, book=book)
    evidence = {"evidence": Path("out/evidence.json")}
    run = RunReport("9.9", (other, result), evidence, release="novelist 7")
    return Page(render(run, created=MADE))


def test_the_cover_states_result_worst_passage_and_detection_limit(released, leak):
    front = section(released, "Skip to the results", "Contents")
    worst = max(leak.passages, key=lambda passage: passage.words)
    for shown in (
        "Release novelist 7",
        "✗ FAIL 1 pair over a limit, 1 passed; 2 models, 1 book.",
        "Next memleak view out/evidence.json --pair leaky/ferry",
        f"Worst passage {worst.words} words",
        worst.quote,
        f"The Ferry , {worst.chapter} , excerpt {worst.excerpt_id}, words",
        "leaky on The Ferry ✗ FAIL",
        "Detection limit 39.4%: a passage that occurs in more than this share of a "
        "prompt's",
        "To recompute it, run “memleak verify evidence.json”",
    ):
        assert shown in front


def test_the_cover_names_suite_book_and_the_source_of_limits(released):
    suite = "Suite x.memleak.toml sha256 " + "5" * 64
    tested = section(released, suite, "Overview One row")
    tested = tested.replace("Words measured ", "").replace("Digests (SHA-256) ", "")
    assert "Report created 03 February 2031, 04:05 UTC" in tested
    assert "provider recorded" in tested
    assert f"The Ferry by Nobody 1,920 file {'f' * 64} words {'d' * 64}" in tested
    limit = r"bmc coverage, share of words, k = 5 (At most )?30.0% .* limits.preset"
    assert re.search(limit, tested)


@pytest.fixture(scope="module")
def sound(wanted):
    """A positive control that leaks nothing."""
    return dataclasses.replace(wanted, verdict="PASS")


@pytest.fixture(scope="module")
def unrun(silent):
    return dataclasses.replace(silent, verdict="NOT RUN", reasons=("deselected",))


@pytest.mark.parametrize(
    ("findings", "more", "result"),
    [
        (["other"], {}, "✓ PASS 1 pair passed; 1 model, 1 book."),
        (["leak", "silent"], {}, "✗ FAIL"),
        (["sound"], {}, "✗ FAIL"),
        (["other", "silent"], {}, "? INCONCLUSIVE"),
        (["other"], {"unrun": ["unrun"]}, "? INCONCLUSIVE"),
        (["other"], {"uncollected": ("b.memleak.toml",)}, "? INCONCLUSIVE"),
    ],
)
def test_the_cover_s_result_is_that_of_the_evidence(request, findings, more, result):
    def results(names):
        return tuple(map(request.getfixturevalue, names))

    if "unrun" in more:
        more = {"unrun": results(more["unrun"])}
    run = RunReport("9.9", results(findings), **more)
    page = Page(render(run, created=MADE))
    front = section(page, "The Ferry Memorization report", "Next")
    assert front.startswith(f" {result}")


def test_an_expected_leak_is_told_from_a_failure(leak, other, wanted, sound):
    expected = Page(page_of(other, wanted)).text
    assert "PASS 1 pair leaked as expected, 1 passed;" in expected
    text = Page(page_of(leak, wanted)).text
    assert "FAIL (expected)" in text
    assert "1 pair over a limit, 1 leaked as expected;" in text
    assert "PASS (a leak was expected)" in Page(page_of(sound)).text


def test_a_pair_without_measures_states_its_cause(silent):
    text = Page(page_of(silent)).text
    for shown in ("1 pair the server said <no> silent/ferry", "Nothing was measured"):
        assert shown in text


def test_a_run_without_results_names_the_pairs_not_run(unrun):
    nothing = Page(render(RunReport("9.9", (), unrun=(unrun,)), created=MADE)).text
    assert "? INCONCLUSIVE 0 of 1 pairs ran;" in nothing
    assert "silent/ferry: deselected" in nothing


def test_worst_passages_name_their_answer_and_stand_before_tables(leak):
    block = max(leak.spans, key=lambda one: one.words)
    assert block.generation is None
    assert block.words > max(passage.words for passage in leak.passages)
    page = Page(page_of(leak))
    assert f"{block.words} words in a row" not in section(
        page, "Worst passage", "What this run could see"
    )
    pair = page.text.partition("Pair 1 of 1")[2]
    assert (
        pair.index("Worst passages")
        < pair.index("Measures")
        < pair.index("Map of the book")
    )
    for passage in leak.passages:
        excerpt = passage.prompted_excerpt or passage.excerpt_id
        assert f"excerpt {excerpt}, generation {passage.generation}" in pair
    assert "answer 1" not in pair


def test_spans_from_other_excerpts_prompts_are_shown_if_long(book, recite, make_result):
    answers = list(recite(book, run=30))
    arcs = ("the right prompt", 'class="arcs"')
    short, long = (
        page_of(make_result(book, answers, scoring=Scoring(span_threshold=over)))
        for over in (40, 20)
    )
    assert (
        "No span over 40 words came from the prompt of another excerpt"
        in Page(short).text
    )
    assert "Stronger: over 40 words; bold: over 80." in Page(long).text
    assert all(part in long and part not in short for part in arcs)
    assert "cross-excerpt" not in short


def test_settings_and_recipe_are_listed_key_by_key(leak):
    options = {"order": 2, "extra_body": {"top_k": 40}, "pretraining": ["ferry"]}
    recipe = {
        "finetune_books": ("ferry", "quay"),
        "finetune": {"epochs": 3},
        "options": options,
    }
    passage = dataclasses.replace(leak, model=dataclasses.replace(leak.model, **recipe))
    settings = section(
        Page(page_of(passage)), "Evidence and settings", "How to read this"
    )
    assert "fine-tuned on The Ferry, quay finetune.epochs 3 options.order 2" in settings
    assert "options.extra_body.top_k 40 options.pretraining The Ferry" in settings
    assert "probe instruction" in settings
    assert "span_threshold 20" in settings
    assert not {"{", "prefix_words"} & {*settings, *settings.split()}


def test_a_title_stands_for_an_id_unless_two_books_share_it(leak, other):
    again = dataclasses.replace(named(other, book="ferry-2"), pair="mild/ferry-2")
    text = Page(page_of(leak, again)).text
    assert "leaky on The Ferry (ferry)" in text
    assert "mild on The Ferry (ferry-2)" in text


def test_the_release_and_the_suite_stand_at_the_head_of_printed_pages(leak):
    bad = 'r"} </style><script>1</script> @import url(x)'
    hostile = named(leak, suite=bad)
    page = render(RunReport("9.9", (hostile,)), created=MADE)
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    [head] = re.findall(r'@top-left\{content:"([^"]*)"\}', style)
    shown = re.sub(r"\\([0-9a-f]+) ", lambda match: chr(int(match[1], 16)), head)
    assert shown == f"Memorization report · FAIL: {bad}"
    assert "@import" not in style
    assert "url(" not in style
    assert "<script" not in page


def test_chapters_and_agreement_of_models_are_shown(
    book, leak, other, recite, make_result
):
    apart = make_result(book, recite(book), model="apart", scoring=Scoring(k=8))
    text = Page(page_of(leak, other, apart)).text
    for n in range(3):
        share = 100 * np.mean(
            decode_rounds_per_word(leak.coverage)[640 * n : 640 * (n + 1)] > 0
        )
        assert f"Chapter {n + 1} 640 {share:.1f}%" in text
    alike = compare_coverage(leak.coverage, other.coverage)
    assert text.count(f"{alike.jaccard:.2f} by chance {alike.baseline:.2f}") == 2
    assert (
        f"{self_agreement(book, list(recite(book, run=60)), Scoring()):.2f} with itself"
        in text
    )
    assert "Not compared, because excerpts or words differ: apart." in text


def test_an_extension_s_measure_and_its_limit_are_shown(leak):
    brought = dataclasses.replace(
        leak,
        measures=leak.measures | {"longest_line": estimated(71.5)},
        limits=leak.limits | limited(longest_line=60.0),
        brought=(Measure("longest_line", title="longest line", unit="letters"),),
    )
    shown = "longest_line longest line 71.5 letters ✗ exceeds the limit 60"
    assert shown in Page(page_of(brought)).text


def runs_of(text, length):
    page = words(text)
    return {tuple(page[i : i + length]) for i in range(len(page) - length + 1)}


def test_a_page_quotes_at_most_twelve_words_and_none_with_quote_0(
    book, leak, other, recite, make_result
):
    page = page_of(leak, other)
    passage = " ".join(excerpt.text for excerpt in book.excerpts)
    assert not runs_of(page, 13) & runs_of(passage, 13)
    assert runs_of(Page(page).text, 12) & runs_of(passage, 12)  # the test can see words
    page = page_of(make_result(book, recite(book), quoted=0))
    assert not runs_of(page, 2) & runs_of(passage, 2)


def test_quote_full_shows_the_whole_book_in_color(book, recite, make_result):
    result = make_result(book, recite(book, run=60), quoted=None)
    page = page_of(result)
    text = Page(page).text
    for excerpt in book.excerpts:
        assert " ".join(excerpt.text.split()) in text.replace(" .", ".")
    marked = re.findall(r'<mark class="h\d">(.*?)</mark>', page)
    assert sum(len(words(one)) for one in marked) == np.count_nonzero(
        decode_rounds_per_word(result.coverage)
    )


HOSTILE = [
    "<script>fetch('http://x.invalid/')</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></svg><svg onload=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "\x1b[31mred\x1b]0;title\x07",
    "right\u202eleft\u2066isolated\u2069",
    "nul\x00half\ud800half\udfff",
    "javascript:alert(1)",
    "x" * 5_000_000,
    "&lt;script&gt;&#60;b&#62;",
    "]]><!--",
]


def hostile_page(leak, bad):
    """A page whose every name, reason and quote is this text."""
    completeness = {"withheld": {bad: 3}, "notes": (bad,)}
    served = (ServedBy(bad, bad, 3),)
    hostile = dataclasses.replace(
        spoil(leak, bad, text=len(bad) < 1000),
        completeness=dataclasses.replace(leak.completeness, **completeness),
        provenance=Provenance(bad, served, 1.0, 2.0, 3, 4, refused=(bad,), weights=bad),
    )
    return page_of(hostile, named(hostile, model=bad + "b"))


def tags_of(page):
    return {tag for tag, _ in page.elements}


def attributes_of(page):
    return {name for _, attrs in page.elements for name in attrs}


OF_PASSAGES = {"h4", "mark", "ul", "li", "p"}
ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


@pytest.mark.parametrize("bad", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_and_reasons_stay_text(leak, bad):
    page = hostile_page(leak, bad)
    page.encode()
    plain = Page(page_of(leak, named(leak, model="b")))
    parsed = Page(page)
    assert tags_of(parsed) <= tags_of(plain) | OF_PASSAGES
    assert attributes_of(parsed) <= attributes_of(plain)
    assert not ACTING.search(page)
    assert all(link.startswith(("#", "data:,")) for link in parsed.attributes("href"))
    assert len(page) < 1_000_000


def test_a_page_runs_and_fetches_nothing(leak, other):
    page = page_of(leak, other)
    parsed = Page(page)
    assert "script" not in {tag for tag, _ in parsed.elements}
    for name in ("style", "src", "action", "srcset", "data", "xlink:href"):
        assert parsed.attributes(name) == []
    assert not [
        name for _, attrs in parsed.elements for name in attrs if name.startswith("on")
    ]
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    [policy] = [
        attrs["content"] for tag, attrs in parsed.elements if attrs.get("http-equiv")
    ]
    assert policy.split("; ")[:2] == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
    ]
    assert "unsafe" not in policy


def test_anchors_are_unique_and_graphics_described(leak, other):
    parsed = Page(page_of(leak, other, named(leak, book="second")))
    ids = parsed.attributes("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in parsed.attributes("href") if link[0] == "#"} <= set(
        ids
    )
    for labels in parsed.attributes("aria-labelledby"):
        assert set(labels.split()) <= set(ids)
    for tag, attrs in parsed.elements:
        if tag == "svg":
            label = attrs.get("aria-label") or attrs.get("aria-labelledby")
            assert attrs.get("aria-hidden") == "true" or (
                attrs["role"] == "img" and label
            )
    scopes = [attrs.get("scope") for tag, attrs in parsed.elements if tag == "th"]
    assert set(scopes) == {"col", "row"}
    tables = sum(tag == "table" for tag, _ in parsed.elements)
    assert sum(tag == "caption" for tag, _ in parsed.elements) == tables


def grid(failing, passing, models=4, books=20):
    """Pairs of models and books, of which every fourth fails."""
    numbers = range(models * books)
    results = (passing if number % 4 else failing for number in numbers)
    return [
        named(result, model=f"m{number % models}", book=f"b{number // models}")
        for number, result in zip(numbers, results, strict=True)
    ]


@pytest.fixture(scope="module")
def clean(book, recite, make_result):
    return make_result(book, recite(book, run=3), model="clean", limits=Limits(bmc=0.9))


def test_many_pairs_are_a_matrix_with_failures_first(leak, clean, silent):
    doubted = named(silent, model="m0", book="doubted")
    page = page_of(doubted, *grid(leak, clean, books=3))
    parsed = Page(page)
    screen_map = section(parsed, "what decided it", "Worst passage")
    assert len(re.findall(r"✗ fail bmc \.\d+", screen_map)) == 3
    assert screen_map.count("✓ pass") == 9
    assert "? inconclusive no answer" in screen_map
    kinds = re.findall(r'<article id="[^"]+" class="is-(\w+)', page)
    assert kinds == ["fail"] * 3 + ["inconclusive"] + ["pass"] * 9
    links = re.findall(r'<li class="is-(\w+)">', page)
    assert links == kinds
    assert page.count(' brief"') == 9
    assert page.count("Map of the book") == 3
    # Their settings stand once.
    assert page.count("<dt>span_<wbr>threshold</dt>") == 1
    few = page_of(leak, clean)
    assert ' brief"' not in few
    assert "Map of the book" in few.partition(">clean<")[2]


def long_coverage(coverage, times):
    """A coverage of many words in 500 excerpts, with a curve of 100 samples."""
    starts = [n * len(times) // 500 for n in range(500)]
    ends = [*starts[1:], len(times)]
    excerpts = []
    for n, (start, end) in enumerate(zip(starts, ends, strict=True)):
        excerpts.append(CoveredExcerpt(f"p_id{n}", start, end - start, 0, 0))
    return dataclasses.replace(
        coverage,
        rounds=100,
        times=" ".join(f"{count}x1" for count in times),
        excerpts=tuple(excerpts),
        curve=tuple(np.linspace(0.1, 0.9, 100).tolist()),
    )


def long_plot(plot, words_of_book):
    """A plot with 80 chapters, twelve times the spans, and 150 links."""
    chapters = [Heading(f"Chapter {n}", n * words_of_book // 80) for n in range(80)]
    return dataclasses.replace(
        plot,
        chapters=tuple(chapters),
        guess=tuple(np.linspace(0.9, 1, 100).tolist()),
        spans=plot.spans * 12,
        links=(plot.links * 150)[:150],
    )


@pytest.mark.full
def test_eighty_pairs_of_long_books_stay_under_a_megabyte(leak, clean):
    draw = np.random.default_rng(1)
    times = np.repeat(draw.integers(0, 101, 20_000), draw.integers(1, 15, 20_000))
    assert len(times) > 100_000
    result = dataclasses.replace(
        leak,
        book=dataclasses.replace(leak.book, words=len(times)),
        plot=long_plot(leak.plot, len(times)),
        coverage=long_coverage(leak.coverage, times),
    )
    assert 200_000 < len(page_of(*grid(result, clean)).encode()) < 1_000_000
