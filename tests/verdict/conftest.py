"""One book, honest answers to it, and a judge that streams them."""

import dataclasses

import pytest
from answer_sets import book_of, honest
from corpus import shakespeare

from pytest_memleak.records import AnswerLimits
from pytest_memleak.verdict.completeness import completeness
from pytest_memleak.verdict.evidence_requirements import GenerationRequest
from pytest_memleak.verdict.generation_kinds import GenerationCensus
from pytest_memleak.verdict.prompt_overlap import prompt_overlap

LIMITS = {field.name for field in dataclasses.fields(AnswerLimits)}


@pytest.fixture(scope="session")
def weigh():
    def judged(book, generations, *, over_limit=False, **settings):
        limits = AnswerLimits(
            **{key: settings.pop(key) for key in LIMITS if key in settings}
        )
        requested = GenerationRequest(**{"samples": 10} | settings, limits=limits)
        census = GenerationCensus(book, requested)
        census.read(generations)
        return completeness(
            census.counted(), prompt_overlap(book, requested), over_limit=over_limit
        )

    return judged


@pytest.fixture(scope="session")
def book():
    return book_of("plays", shakespeare(), words=200, excerpts=20)


@pytest.fixture(scope="session")
def answers(book):
    return honest(book, shakespeare()[100_000:], 10)
