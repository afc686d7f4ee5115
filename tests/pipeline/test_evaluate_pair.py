"""The story of one pair that stops early, goes down, varies, or has a book nobody can read."""

import contextlib
import itertools
import json

import pytest

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.hookspecs import hookimpl
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.pipeline.cut_books import CutBooks
from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.pipeline.suite_run import SuiteRun
from pytest_memleak.records import FinishReason, Verdict
from pytest_memleak.sampling.retry import Retry
from pytest_memleak.suite.load import load_suite

TEXT = "the ferryman counted nine lanterns along the quay and did not like the number at all"
ASKED = "Write a passage of sixteen words in which somebody waits for a boat."
SUITE = """
[suite]
samples = 4
[limits]
longest_span = 6
[[book]]
id = "ferry"
source = "ferry.json"
[[model]]
id = "m"
provider = "fake"
"""


class Fake:
    """A provider whose endpoint gives these answers in turn; an exception among them is raised.

    Canaries, which are asked without sampling, take none of them.
    """

    name = "fake"
    concurrency = 1
    completions_per_call = 1
    batch = False
    id = "fake-weights"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    @hookimpl
    def memleak_providers(self):
        return {"fake": lambda setup: self}

    def open(self, endpoint):
        return self

    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        if temperature == 0:
            return ["the same as ever"]
        answer = self.answers[self.asked]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return [answer]


CLEAN = (
    "a boat crossed before anyone was awake and left behind it only a little smoke at "
    "dawn",
    "nothing was seen from our window that evening except two gulls who quarrelled "
    "over some bread",
    "it rained so long that my mother put every bucket we owned under her leaking "
    "kitchen roof",
    "when snow came at last they burned old chairs and told each other stories until "
    "spring came",
)
DOWN = ProviderError("401 no access", provider="fake", endpoint="w", call="sample")


@pytest.fixture
def judge_it(tmp_path):
    with contextlib.ExitStack() as stack:

        def run(*answers, suite=SUITE, book=None, endpoint=None):
            record = {"excerpt_id": "p_id1", "excerpt_text": TEXT, "instruction": ASKED}
            (tmp_path / "ferry.json").write_text(
                json.dumps([record]) if book is None else book
            )
            other = record | {"instruction": f"{ASKED} Of the quay."}
            (tmp_path / "quay.json").write_text(json.dumps([other]))
            path = tmp_path / "x.memleak.toml"
            path.write_text(suite)
            resources = Resources(f"sqlite:///{tmp_path / 'ledger.db'}")
            resources.retry = Retry(tries=1, recovery=0.0)
            stack.callback(resources.close)
            extensions = Extensions([Fake(*answers)])
            run = SuiteRun(
                load_suite(path),
                extensions,
                cut_books=CutBooks(extensions),
                state=tmp_path,
                resources=resources,
            )
            return evaluate_pair(run.suite.pairs[0], run, endpoint=endpoint)

        yield run


SPARED = (
    "stopped after 5 of 12 rounds, since a limit is exceeded; this saved 7 calls for 7 "
    "generations (at most US$4.97)"
)


@pytest.mark.parametrize(
    ("samples", "expected", "drawn", "spared"),
    [(12, "pass", 5, SPARED), (5, "pass", 5, None), (12, "leak", 12, None)],
)
def test_a_broken_limit_stops_the_drawing_after_a_stage(
    judge_it, samples, expected, drawn, spared
):
    """Stages are whole rounds, the first of them five; after the last there is nothing to spare.

    The expected leak of the own book does not keep later leaks of others undrawn.
    """
    suite = SUITE.replace("samples = 4", f"samples = {samples}")
    keys = f'price = {{ input = 0.0, output = 10000.0 }}\nexpected = "{expected}"'
    suite = suite.replace('provider = "fake"', f'provider = "fake"\n{keys}')
    suite = suite.replace("[limits]", "[sampling]\nstop_on_fail = true\n[limits]")
    result = judge_it(
        TEXT, *(f"{text} {n}" for n in range(3) for text in CLEAN), suite=suite
    )
    assert result.verdict is Verdict.FAIL
    assert result.completeness.received == drawn
    assert result.spared == spared


def test_a_provider_that_goes_down_leaves_the_pair_open_with_what_there_is(judge_it):
    result = judge_it(*CLEAN[:2], DOWN)
    assert result.verdict is Verdict.INCONCLUSIVE
    first, second, *_ = result.verdict_result.reasons
    assert first == DOWN.line
    assert second.startswith("2 of 4 requested generations received; ")
    assert result.measurement.generations == 2


def test_a_provider_down_from_the_start_leaves_nothing_to_measure(judge_it):
    result = judge_it(DOWN)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert (result.measurement, result.analysis) == (None, None)
    assert (result.completeness.requested, result.completeness.received) == (4, 0)
    assert result.verdict_result.reasons == (DOWN.line,)
    # And a leak before it went down is a leak.
    result = judge_it(TEXT, DOWN)
    assert (result.verdict, result.completeness.received) == (Verdict.FAIL, 1)


def test_greedy_answers_that_vary_name_the_lines_to_write(judge_it):
    class Varying(Fake):
        def sample(self, instruction, **settings):
            return super().sample(instruction, **settings | {"temperature": 1.0})

    suite = SUITE.replace("samples = 4", 'probe = "continuation"\nsamples = 4')
    suite = suite.replace("longest_span = 6", 'preset = "strict"\nbmc = 0.1')
    result = judge_it(suite=suite, endpoint=Varying(*CLEAN, *CLEAN, *CLEAN))
    (fix,) = (
        issue.fix for issue in result.completeness.issues if issue.rule == "greedy"
    )
    assert fix == (
        'in x.memleak.toml, add weights_version = "1" to [[model]] (resamples), and '
        "replace preset "
        "in [limits], one key per line: longest_passage = 38, passages_over = 5, "
        "nv_longest_passage = 38, longest_block = 50, longest_span = 38, spans_over = 0"
    )


def test_what_a_server_writes_beside_greedy_answers_makes_them_no_others(judge_it):
    milliseconds = itertools.count(100)

    class Timed(Fake):
        def sample(self, instruction, **settings):
            [text] = super().sample(instruction, **settings)
            beside = f"predicted in {next(milliseconds)} ms"
            return [Completion(text, FinishReason.STOP, reasoning=beside)]

    suite = SUITE.replace("samples = 4", 'probe = "continuation"\nsamples = 4')
    suite = suite.replace("longest_span = 6", "greedy_longest_span = 6")
    result = judge_it(suite=suite, endpoint=Timed(*CLEAN))
    assert "greedy" not in [issue.rule for issue in result.completeness.issues]


@pytest.mark.parametrize(("book", "message"), [
    ("[", "not JSON"),
    ("", "the file is empty"),
    ('[{"excerpt_id": "p1", "excerpt_text": "one two"}]', "fewer than k = 5"),
    ('[{"excerpt_id": "p1", "excerpt_text": "Кот и мышь жили в доме"}]', "unicode"),
])  # fmt: skip
def test_a_book_that_cannot_be_read_or_measured_leaves_the_pair_open(
    judge_it, book, message
):
    result = judge_it(*CLEAN, book=book)
    assert result.verdict is Verdict.INCONCLUSIVE
    (reason,) = result.verdict_result.reasons
    assert message in reason
    assert "\n" not in reason
    assert (result.book, result.measurement) == (None, None)


POINTS = SUITE.replace("samples = 4", "samples = 4\nconfidence = 0")
TWO_BOOKS = POINTS.replace("longest_span = 6", "bmc_excess = 0.5")
TWO_BOOKS += '[[book]]\nid = "quay"\nsource = "quay.json"\n'
WITH_BASELINE = POINTS.replace("longest_span = 6", "uplift = 0.5")
WITH_BASELINE += (
    'baseline_model = "before"\n[[model]]\nid = "before"\nprovider = "fake"\n'
)


def test_an_endpoint_of_ones_own_is_judged_in_the_suites_place(judge_it):
    # Chance is measured with it, too: the suite's own has no answer to give.
    own = Fake(*CLEAN, *CLEAN)
    assert judge_it(suite=TWO_BOOKS, endpoint=own).verdict is Verdict.PASS
    assert own.asked == 8


def test_an_endpoint_of_ones_own_brings_its_own_baseline(judge_it):
    own = Fake(*CLEAN[:3], TEXT)
    own.baseline = Fake(*CLEAN)
    own.baseline.id = "before-tuning"
    result = judge_it(suite=WITH_BASELINE, endpoint=own)
    assert result.verdict is Verdict.FAIL
    assert "uplift 1" in result.verdict_result.reasons[0]
    assert own.baseline.asked == 4
    # It is not compared with the suite's.
    result = judge_it(suite=WITH_BASELINE, endpoint=Fake(*CLEAN))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert any(
        "needs an attribute `baseline`" in reason
        for reason in result.verdict_result.reasons
    )
