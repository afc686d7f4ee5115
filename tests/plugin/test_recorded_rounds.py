"""Of a recording with more rounds than the suite asks for, nothing reads the others."""

import json
from pathlib import Path

import pytest
from ferry import BOOK, CLEAN
from suite_files import read_bundle, write_answers, write_book, write_json

EXTENSION = """
from pytest_memleak.interfaces.hookspecs import hookimpl
def read_rounds(book, generations):
    return max(one.ordinal for one in generations) + 1
@hookimpl
def memleak_measures():
    return {"read_rounds": read_rounds}
"""
QUAY = (
    "Of all boats that winter left behind, only a barge would still take ropes aboard."
)
WINDS = (
    "Seven clerks kept the registry of winds, and none had ever been outside in a gale."
)
LIMIT, MODEL = "longest_span = 10", '[[model]]\nid = "clean"'
LIMITS = f"{LIMIT}\nbmc_excess = 1.0\n[limits.measures]\nread_rounds = 2"
BOOKS = '[[book]]\nid = "quay"\nsource = "quay.json"\n[[catalog]]\nsource = "library/*.txt"\n'


@pytest.fixture
def pair(pytester, suite, gate):
    """The pair of a recording whose third round, not requested, recites three books."""
    pytester.makeconftest(EXTENSION)
    answers = (*CLEAN[:2], f"{BOOK[0]} {QUAY} {WINDS}")
    replaced = (("samples = 3", "samples = 2"), (LIMIT, LIMITS), (MODEL, BOOKS + MODEL))
    suite(*replaced, clean=answers)
    pytester.mkdir("library").joinpath("winds.txt").write_text(WINDS, "utf-8")
    texts = {f"p_id{n}": text for n, text in enumerate((QUAY, CLEAN[2]), 1)}
    write_book("quay.json", texts, "Write about {}: a boat.".format)
    chosen = ("-k", "clean and ferry", "--memleak-evidence=evidence.json")
    gate(*chosen, errors=1, deselected=3)  # a round that was not requested is no pass
    pairs = {pair["pair"]: pair for pair in read_bundle()["pairs"]}
    return pairs["clean/ferry"]


def test_null_and_extensions_read_the_requested_rounds_alone(pair):
    measures = pair["measures"]
    assert measures["read_rounds"]["value"] == 2
    assert (measures["bmc"]["value"], measures["longest_span"]["value"]) == (0, 0)
    null = measures["null"]
    assert (null["null_bmc"], null["null_longest_span"]) == (0, 0)


def test_passages_are_found_in_rounds_that_were_not_requested(pair):
    assert pair["catalog"]["books"] == 1
    passage = pair["measures"]["longest_passage"]
    assert (passage["value"], passage["origin"]) == (16, "unrequested")


def test_a_round_that_an_excerpt_lacks_is_lost(suite, gate):
    suite()
    names = [f"p_id{number}" for number in range(1, len(BOOK) + 1)]
    write_answers("clean.json", dict.fromkeys(names, CLEAN) | {names[0]: CLEAN[:2]})
    chosen = ("-k", "clean", "-v", "--memleak-evidence=evidence.json")
    lost = f"*Lost: 1 of {3 * len(BOOK)} completions never came or came empty*"
    gate(*chosen, errors=1, deselected=1, lines=[lost])
    (pair,) = (pair for pair in read_bundle()["pairs"] if pair["pair"] == "clean/ferry")
    assert pair["completeness"]["delivery"]["lost"] == 1


def test_a_pass_counts_what_the_provider_withheld(suite, gate):
    suite(("samples = 3", "samples = 3\nmax_unanswered = 0.2"))
    rows = json.loads(Path("clean.json").read_text("utf-8"))
    for row in rows:
        for generation in row["generations"]:
            generation["finish_reason"] = "stop"
    rows[0]["generations"][0]["finish_reason"] = "content_filter"
    write_json("clean.json", rows)
    counts = (
        "  Generations: 5 answers, 1 withheld; finish reasons of withheld text: "
        "1 content_filter;*"
    )
    gate("-k", "clean", lines=["PASS clean/ferry", counts], passed=1, deselected=1)
