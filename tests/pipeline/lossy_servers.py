"""Servers that lose completions, by chance or not, and a suite that samples them."""

import json
import random
from contextlib import contextmanager
from dataclasses import dataclass, field

from answer_sets import book_of
from corpus import shakespeare

from pytest_memleak.errors import ProviderBusy
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.hookspecs import hookimpl
from pytest_memleak.pipeline.cut_books import CutBooks
from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.pipeline.suite_run import SuiteRun
from pytest_memleak.sampling.retry import Retry
from pytest_memleak.suite.load import load_suite

EXCERPTS, WORDS = 6, 30
HASTY = Retry(recovery=0.0, first=0.0, pause=lambda event, _: event)
SUITE = """
[suite]
samples = {samples}
confidence = 0
[limits]
longest_span = 20
[[book]]
id = "play"
source = "play.json"
[[model]]
id = "m"
provider = "lossy"
weights_version = "1"
price = {{ input = 1.0, output = 1.0 }}
"""
BOOK = book_of("play", list(shakespeare()), words=WORDS, excerpts=EXCERPTS)
INSTRUCTIONS = [excerpt.instruction for excerpt in BOOK.excerpts]
OTHER_PLAYS = list(shakespeare()[100_000:200_000])


def busy(status):
    return ProviderBusy(status, provider="lossy", endpoint="w", call="sample")


ERROR = "500 Internal Server Error"


@dataclass
class Lossy:
    """A provider of honest texts; `deliver` returns those that arrive, or raises.

    deliver: called with the server, the instruction, and the texts of a call
    """

    deliver: object
    completions_per_call: int = 1
    seed: int = 0
    calls: int = 0
    asked: list = field(default_factory=list)

    name = "lossy"
    concurrency = 1
    batch = False
    id = "lossy-weights"

    def __post_init__(self):
        self.random = random.Random(self.seed)

    @hookimpl
    def memleak_providers(self):
        return {"lossy": lambda setup: self}

    def open(self, endpoint):
        return self

    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        texts = [self.text() for _ in range(n)]
        if temperature == 0:
            return texts
        self.calls += 1
        self.asked.append(instruction)
        return self.deliver(self, instruction, texts)

    def text(self):
        start = self.random.randrange(len(OTHER_PLAYS) - WORDS)
        return " ".join(OTHER_PLAYS[start : start + WORDS])

    @property
    def control_calls(self):
        return sum(instruction not in INSTRUCTIONS for instruction in self.asked)


def honest(server, instruction, texts):
    return texts


def fails(share, status=ERROR):
    """Fail a share of all calls, whatever they ask for."""

    def deliver(server, instruction, texts):
        if server.random.random() < share:
            raise busy(status)
        return texts

    return deliver


def censors(share):
    """Fail a share of the calls for the book, and none for anything else."""

    def deliver(server, instruction, texts):
        if instruction in INSTRUCTIONS and server.random.random() < share:
            raise busy(ERROR)
        return texts

    return deliver


def fails_one_excerpt(share):
    def deliver(server, instruction, texts):
        if instruction == INSTRUCTIONS[0] and server.random.random() < share:
            raise busy(ERROR)
        return texts

    return deliver


def blanks(share, of):
    """Return no text in a share of the calls for these instructions."""

    def deliver(server, instruction, texts):
        if instruction in of and server.random.random() < share:
            return [""] * len(texts)
        return texts

    return deliver


def blanks_all(share):
    """Return no text in a share of all calls, whatever they ask for."""

    def deliver(server, instruction, texts):
        return [""] * len(texts) if server.random.random() < share else texts

    return deliver


def drops_choices(share):
    """Drop a share of the choices for the book beside the first, and of nothing else."""

    def deliver(server, instruction, texts):
        if instruction not in INSTRUCTIONS:
            return texts
        others = [text for text in texts[1:] if server.random.random() >= share]
        return [texts[0], *others]

    return deliver


def caps(most):
    return lambda server, instruction, texts: texts[:most]


def outage(first, calls):
    """Fail so many calls in a row."""

    def deliver(server, instruction, texts):
        if first <= server.calls < first + calls:
            raise busy(ERROR)
        return texts

    return deliver


@contextmanager
def lossy_suite(folder, server, *, samples, offline=False):
    """Open the suite with the server."""
    rows = [
        {
            "excerpt_id": excerpt.id,
            "excerpt_text": excerpt.text,
            "instruction": excerpt.instruction,
        }
        for excerpt in BOOK.excerpts
    ]
    (folder / "play.json").write_text(json.dumps(rows))
    path = folder / "lossy.memleak.toml"
    path.write_text(SUITE.format(samples=samples))
    ledger = f"sqlite:///{folder / 'ledger.db'}"
    resources = Resources(ledger, offline=offline)
    resources.retry = HASTY
    try:
        extensions = Extensions([server])
        yield SuiteRun(
            load_suite(path),
            extensions,
            cut_books=CutBooks(extensions),
            state=folder,
            resources=resources,
        )
    finally:
        resources.close()


def evaluation(folder, server, *, samples, offline=False):
    with lossy_suite(folder, server, samples=samples, offline=offline) as run:
        return evaluate_pair(run.suite.pairs[0], run)
