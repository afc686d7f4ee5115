"""Findings as a run makes them, from books, answers and names of a test's choosing."""

import dataclasses
import itertools
import random
from pathlib import Path

import pytest
from pair_results import named

from pytest_memleak.pipeline.limit_reachability import detection_summary
from pytest_memleak.records import (
    Book,
    BookSource,
    Completeness,
    Excerpt,
    Generation,
    Issue,
    Kind,
    Limits,
    Model,
    Pair,
    Sampling,
    Scoring,
)
from pytest_memleak.records.delivery import IndependentAnswers
from pytest_memleak.records.plot_records import Heading, SpanNote
from pytest_memleak.results.build_result import build_result
from pytest_memleak.scoring.analysis import analyze
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected
from pytest_memleak.verdict.evaluation import Evaluation
from pytest_memleak.verdict.judge import judge

_SYLLABLES = ("ba", "ko", "mi", "tu", "se"), ("lan", "ri", "dor", "vek"), "aeiou"
_WORDS = ["".join(parts) for parts in itertools.product(*_SYLLABLES)]


@pytest.fixture(scope="session")
def prose():
    """So many words that no one has written, in paragraphs; the same for the same seed."""

    def write(words, *, seed=0):
        draw = random.Random(seed)
        answer = [draw.choice(_WORDS) for _ in range(words)]
        return ".\n\n".join(" ".join(answer[i : i + 60]) for i in range(0, words, 60))

    return write


@pytest.fixture(scope="session")
def make_book(prose):
    def make(*, excerpts=6, words=320, chapters=3, book_id="ferry", seed=0):
        texts = (prose(words, seed=100 * seed + n) for n in range(excerpts))
        its = tuple(
            Excerpt(
                f"p_id{n}", text, "Write on.", f"Chapter {n * chapters // excerpts + 1}"
            )
            for n, text in enumerate(texts)
        )
        return Book(book_id, "The Ferry", "Nobody", its, digest="d" * 64)

    return make


@pytest.fixture(scope="session")
def recite():
    """Answers that share runs of `run` words with their excerpt, and now and then with another."""

    def answers(book, *, samples=6, run=40, seed=0):
        draw = random.Random(seed)
        for ordinal in range(samples):
            for excerpt in book.excerpts:
                source = excerpt if draw.random() < 0.8 else draw.choice(book.excerpts)
                words = source.text.split()
                start = draw.randrange(max(1, len(words) - run))
                text = " ".join(["so", *words[start : start + run], "then"])
                yield Generation(excerpt.id, ordinal, text)

    return answers


def evaluation_of(
    book, generations, *, model="candidate", suite="x.memleak.toml", limits=None, samples=6,
    expected="pass", endpoint="ep", issues=(), scoring=None, whole=None,
):  # fmt: skip
    source = BookSource(book.id, Path("b.epub"))
    pair = Pair(
        Path(suite), Model(id=model, provider="recorded"), source, Sampling(samples=samples),
        scoring=scoring or Scoring(), limits=limits or Limits(bmc=0.3, longest_span=30),
        expected=expected,
    )  # fmt: skip
    answers = list(generations)
    name = f"{book.id} (whole)"
    protected = None
    if whole is not None:  # of which `book` is what the prompts leave
        named = dataclasses.replace(whole, id=name)
        protected = Protected(
            SharedIndex([book, named], k=5), book.id, (name,), whole=name
        )
    analysis = analyze(book, answers, pair.scoring, protected=protected)
    issues = tuple(Issue("sampled", issue) for issue in issues)
    requested, kinds = len(book.excerpts) * samples, {Kind.ANSWER: len(answers)}
    evidence = Completeness(requested, len(answers), kinds=kinds, issues=issues)
    return Evaluation(
        suite, "5" * 64, pair, judge(analysis, evidence, pair.limits), evidence,
        book=book, endpoint=endpoint, analysis=analysis,
        measurement=analysis.measurement if analysis else None,
        protected={name: whole} if whole else {},
        detection=analysis and detection_summary(
            analysis, pair, IndependentAnswers({"p_id1": samples})
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_result():
    def make(book, generations, *, quoted=12, **settings):
        return build_result(evaluation_of(book, generations, **settings), quoted=quoted)

    return make


def spoil(result, bad, *, text):
    """The result with `bad` for each name, reason and quote, and with `text` for the book's."""
    plot = result.plot and dataclasses.replace(
        result.plot,
        chapters=(Heading(bad, 0), Heading(bad + "2", 700)),
        spans=tuple(
            SpanNote(
                dataclasses.replace(
                    note.passage, chapter=bad, excerpt_id=bad, quote=bad[:2000]
                ),
                sources=(bad, bad),
                more=3,
            )
            for note in result.plot.spans
        ),
        text=(bad,) * len(result.coverage.excerpts) if text else None,
    )
    coverage = result.coverage and dataclasses.replace(
        result.coverage,
        excerpts=tuple(
            dataclasses.replace(part, id=bad) for part in result.coverage.excerpts
        ),
    )
    renamed = named(result, suite=bad, model=bad, book=bad, endpoint=bad)
    lines = dict.fromkeys(("reasons", "warnings", "changes"), (bad, bad))
    return dataclasses.replace(
        renamed, plot=plot, coverage=coverage, pair=bad, spared=bad, **lines
    )
