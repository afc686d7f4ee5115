"""Limits inside the sampling error, chance, uplift, near-verbatim recall, early stop."""

from pathlib import Path

import pytest
from invented_prose import ASKED, END, prose
from marks import full
from suite_files import model_table, write_answers, write_book

EXCERPTS = {f"p_id{n}": prose(n) for n in range(1, 11)}
OTHER = {f"p_id{n}": prose(100 + n) for n in range(1, 11)}
CANARY = 1  # of each excerpt, where there are five or fewer

SUITE = """
suite = { samples = 20 }
limits = { LIMITS }
book = [{ id = "tale", source = "tale.json" }, { id = "other", source = "other.json" }]
[[model]]
id = "model"
provider = "recorded"
options = { path = "model-{book}.json" }
"""


@pytest.fixture
def suite():
    def write(limits, *, recalled, suite=SUITE, other=(), samples=20):
        """`recalled(round, excerpt_id)` gives the words of an excerpt that a round recalls."""
        for name, excerpts in (("tale", EXCERPTS), ("other", OTHER)):
            instructions = {
                key: f"{ASKED} {key}: {' '.join(excerpts[key].split()[::6])}"
                for key in excerpts
            }
            write_book(f"{name}.json", excerpts, instructions.get)
        for name, ids, says in (
            ("model-tale", EXCERPTS, recalled),
            ("model-other", OTHER, lambda *_: ""),
            *other,
        ):
            answers = {
                i: [f"{says(n, i)} {END} {prose((name, i, n))}" for n in range(samples)]
                for i in ids
            }
            write_answers(f"{name}.json", answers)
        path = Path("doubt.memleak.toml")
        path.write_text(suite.replace("LIMITS", limits))
        return path

    return write


def words(excerpt_id, start, end):
    return " ".join(EXCERPTS[excerpt_id].split()[start:end])


WHOLLY = {"recalled": lambda _, i: words(i, 0, 200)}


def one_span_a_round(number, excerpt_id):
    """Each round recalls one span of 30 words, in the excerpt whose turn it is."""
    return (
        words(excerpt_id, number, number + 30)
        if excerpt_id == f"p_id{number % 10 + 1}"
        else ""
    )


def test_a_limit_inside_the_interval_is_inconclusive(gate, suite, own_tests):
    path = suite("bmc = 0.15", recalled=one_span_a_round)
    own_tests(
        """
        def test_mine(memorization):
            assert memorization.longest_span <= 40
        """,
        suite="doubt.memleak.toml",
    )
    # A test of one's own gets the measurement all the same.
    shown = "bmc 0.1* is within its limit 0.15, but its 95% upper bound*(20 samples)*"
    gate("-k", "tale", lines=[f"*{shown}"], errors=1, passed=1, deselected=2)
    # Confidence 0 judges by observed values.
    text = path.read_text().replace("samples = 20", "samples = 20, confidence = 0.0")
    path.write_text(text)
    gate("-k", "tale", passed=2, deselected=2)


def test_one_null_book_gives_no_interval_of_chance_so_no_excess_fails(gate, suite):
    suite("bmc_excess = 0.05", **WHOLLY)
    lines = ["*bmc_excess 0.* its limit 0.05, but its 95% * bound is * (1 null book)*"]
    gate("-k", "tale", "--junitxml=out.xml", lines=lines, errors=1, deselected=1)
    assert 'name="memleak.bmc_excess.high"' in Path("out.xml").read_text()


def test_a_suite_with_one_book_says_how_to_get_a_null(gate, suite):
    text = SUITE.replace(', { id = "other", source = "other.json" }', "")
    suite("bmc_excess = 0.05", **WHOLLY, suite=text)
    gate(lines=["*bmc_excess *second test book in the suite*"], errors=1)


BASELINE = SUITE.replace('id = "model"', 'id = "model"\nbaseline_model = "before"')
BASELINE += model_table("before", "recorded", 'path = "before-{book}.json"')


@pytest.mark.parametrize(
    ("known", "limit", "outcome", "shown"),
    [
        (lambda *_: "", "0.10", "failed", "*uplift 0.6* > 0.1*"),
        full(lambda _, i: words(i, 0, 200), "0.40", "passed", "*PASS*"),
        (None, "0.20", "errors", "*baseline 'before': *before-tale.json*"),
    ],
    ids=["fails", "the baseline knows it too", "there is none"],
)
def test_uplift_is_judged_over_the_baseline(gate, suite, known, limit, outcome, shown):
    before = [("before-tale", EXCERPTS, known), ("before-other", OTHER, lambda *_: "")]
    before = before if known else ()
    suite(f"uplift = {limit}", **WHOLLY, suite=BASELINE, other=before)
    gate("-k", "model and tale", lines=[shown], deselected=3, **{outcome: 1})


def test_a_limit_that_holds_never_stops_early(gate, online, server):
    online(
        (
            '[model.finetune]\nbooks = ["training"]',
            'endpoint = "base"\nweights_version = "1"',
        ),
        ("longest_span = 30", "spans_over = 40\n\n[sampling]\nstop_on_fail = true"),
        ("samples = 6", "samples = 12"),
    )
    gate("-m", "copyright", passed=1)
    assert len(server.books.rows("completion")) == 4 * (12 + CANARY)
