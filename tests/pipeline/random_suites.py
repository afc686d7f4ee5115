"""Random suites with models in this process, which count their calls and fail on demand."""

import contextlib
import json
import random
from dataclasses import dataclass

import sqlalchemy as sa
from hypothesis import strategies as st

from pytest_memleak.errors import ProviderError
from pytest_memleak.interfaces.abilities import Abilities, BatchCalls, Finetuning
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.hookspecs import hookimpl
from pytest_memleak.interfaces.protocols import (
    Completion,
    JobState,
    JobStatus,
    RequestEndpoint,
)
from pytest_memleak.ledger.call_outcomes import CallState
from pytest_memleak.ledger.tables import calls
from pytest_memleak.pipeline.cut_books import CutBooks
from pytest_memleak.pipeline.dry_run import plan_run
from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.pipeline.suite_run import SuiteRun
from pytest_memleak.sampling.retry import Retry
from pytest_memleak.suite.load import load_suite

HASTY = Retry(
    deadline=20.0,
    tries=1,
    recovery=0.0,
    first=0.0,
    poll=0.0,
    pause=lambda event, _: event,
)
EXCERPTS = 2


def prose(seed, length=40):
    """Return random words that no other seed gives."""
    chosen = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(chosen.choices(letters, k=6)) for _ in range(length))


class Server:
    """What the models of all suites share: their answers, their calls, and their failures.

    leaks: whether the models reproduce a book
    failing: the numbers of the calls that fail, over all runs
    """

    def __init__(self, *, leaks=False):
        self.leaks = leaks
        self.calls = 0
        self.failing = frozenset()
        self.batches = {}

    @hookimpl
    def memleak_providers(self):
        return {"counting": lambda setup: CountingProvider(self, setup)}

    def answer(self, request):
        """Answer a call: always anew, but at temperature 0, as a model does."""
        self.calls += 1
        if self.calls in self.failing:
            raise ProviderError(
                "503 gone", provider="counting", endpoint="e", call="sample"
            )
        first = request.instruction if request.temperature == 0 else self.calls
        summarizes = request.instruction.startswith("Summarize")
        recall = prose("ferry 0") if self.leaks and not summarizes else ""
        return [
            Completion(f"{recall} {prose(f'{first} {n}')}") for n in range(request.n)
        ]


class CountingProvider:
    """A provider of a model whose options say what it can do."""

    name = "counting"

    def __init__(self, server, setup):
        self.server, self.model = server, setup.model
        options = setup.model.options
        self.concurrency = 1
        self.completions_per_call = options.get("per_call", 1)
        self.batch = options.get("batch", False)

    def open(self, endpoint):
        return CountingEndpoint(self, endpoint or self.model.id)

    @property
    def abilities(self):
        finetuning = Finetuning(
            find=lambda digest: None,
            start=lambda training: f"job-{training.digest}",
            poll=self._poll,
        )
        return Abilities(finetuning=finetuning)

    def _poll(self, job_id):
        return JobState(JobStatus.SUCCEEDED, endpoint=job_id.replace("job", "tuned"))


class CountingEndpoint(RequestEndpoint):
    """A model of the server."""

    def __init__(self, provider, name, *, continues=False):
        self._provider, self._name = provider, name
        self.id = f"{name} continues" if continues else name

    @property
    def abilities(self):
        options = self._provider.model.options
        batches = BatchCalls(self._find, self._start, self._poll, self._read)
        return Abilities(
            fixed_weights=options.get("fixed", False),
            continuing=self._continuing if options.get("continues") else None,
            batches=batches if self._provider.batch else None,
        )

    def answer(self, request):
        return self._provider.server.answer(request)

    def _continuing(self):
        return CountingEndpoint(self._provider, self._name, continues=True)

    def _find(self, digest):
        return None

    def _start(self, requests, digest):
        self._provider.server.batches[digest] = list(requests)
        return digest

    def _poll(self, batch_id):
        return JobState(JobStatus.SUCCEEDED)

    def _read(self, batch_id):
        for request in self._provider.server.batches[batch_id]:
            yield request.key, self._provider.server.answer(request)


def last_call(ledger):
    """Return the number of the ledger's last call, 0 without any."""
    query = sa.select(sa.func.coalesce(sa.func.max(calls.c.id), 0))
    return ledger.read(lambda connection: connection.scalar(query))


def answered_calls(ledger, *, after):
    """Count the answered calls after another; an earlier run's batch began before."""
    answered = (calls.c.state == CallState.ANSWERED, calls.c.id > after)
    query = sa.select(sa.func.count()).select_from(calls).where(*answered)
    return ledger.read(lambda connection: connection.scalar(query))


@dataclass
class RandomSuite:
    """A suite in a folder, run as often as needed."""

    folder: object
    text: str
    server: Server

    @contextlib.contextmanager
    def opened(self, *, offline=False):
        """Open the suite as another run would."""
        path = self.folder / "x.memleak.toml"
        path.write_text(self.text)
        url = f"sqlite:///{self.folder / 'ledger.db'}"
        resources = Resources(url, offline=offline)
        resources.retry = HASTY
        with contextlib.closing(resources):
            suite = load_suite(path)
            extensions = Extensions([self.server])
            run = SuiteRun(
                suite,
                extensions,
                cut_books=CutBooks(extensions),
                state=self.folder / "state",
                resources=resources,
            )
            with contextlib.closing(run):
                yield run

    def planned(self, *, pairs=None):
        """Return the calls that a run of the suite, or of its first pairs, would make."""
        return sum(plan.calls for plan in self.plans(pairs=pairs))

    def planned_generations(self, *, pairs=None):
        """Return the generations that such a run would request, which its cost counts."""
        return sum(plan.generations for plan in self.plans(pairs=pairs))

    def plans(self, *, pairs=None):
        """Return the plans of such a run's steps."""
        with self.opened() as run:
            plan = plan_run(run.suite.pairs[:pairs], lambda _: run)
            assert plan.obstacles == ()
            return [step.sampling for step in plan.steps if step.sampling]

    def run(self, *, pairs=None, failing=()):
        """Evaluate the suite, or its first pairs; return the number of answered calls.

        failing: numbers of calls that fail, from 1
        """
        self.server.failing = {self.server.calls + number for number in failing}
        with self.opened() as run:
            before = last_call(run.resources.ledger)
            run.note_evaluated_pairs(run.suite.pairs[:pairs])
            for pair in run.suite.pairs[:pairs]:
                evaluate_pair(pair, run)
            return answered_calls(run.resources.ledger, after=before)


def _record(book, number, *, instruction):
    excerpt = {"excerpt_id": f"p_id{number}", "excerpt_text": prose(f"{book} {number}")}
    if instruction:
        asked = prose(f"asked of {book} {number}", 14)
        excerpt["instruction"] = f"Write of {asked}."
    return excerpt


def _generations(number):
    texts = [{"generated_text": prose(f"recorded {number} {n}")} for n in range(12)]
    return {"excerpt_id": f"p_id{number}", "generations": texts}


def write_books(folder, *, bare):
    """Write the books that suites name; bare: without instructions."""
    for name in ("ferry", "quay", "sea", "control"):
        records = [
            _record(name, number, instruction=not bare) for number in range(EXCERPTS)
        ]
        (folder / f"{name}.json").write_text(json.dumps(records))
    recorded = [_generations(number) for number in range(EXCERPTS)]
    (folder / "recorded.json").write_text(json.dumps(recorded))


_MODEL_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "per_call": st.integers(1, 4),
        "batch": st.booleans(),
        "fixed": st.booleans(),
        "continues": st.booleans(),
    },
)


@st.composite
def model_tables(draw, name, *, bare, recorded):
    """Draw a model's table: of the counting provider, of n-grams, or recorded.

    bare: whether its books lack instructions, which pretraining reads
    """
    kinds = ["counting", "counting", "ngram"] + ["recorded"] * recorded
    kind = draw(st.sampled_from(kinds))
    table = {"id": name, "provider": kind}
    if kind == "recorded":
        return table | {"options": {"path": "recorded.json"}}
    if kind == "ngram":
        # Another order is another model, also where both are trained on one book.
        options = {"order": len(name) + 1}
        if bare or draw(st.booleans()):
            return table | {"options": options, "finetune": {"books": ["sea"]}}
        return table | {"options": options | {"pretraining": ["sea"]}}
    table["options"] = draw(_MODEL_OPTIONS)
    if draw(st.booleans()):
        table["finetune"] = {"books": ["sea"]}
    elif draw(st.booleans()):
        table["endpoint"] = "shared"
    return table


def _toml(value):
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_toml(part)}" for key, part in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


@dataclass(frozen=True)
class Drawn:
    """A drawn suite: its text, and what its files and its server are like.

    bare: whether books lack instructions, so that a summarizer writes summaries
    may_stop: whether sampling stops early, since every model reproduces a book
    one_way: whether models of one endpoint request as many completions per call: if
        not, and calls of the first model fail, the second makes them in its own way
    """

    text: str
    bare: bool
    may_stop: bool
    one_way: bool = True

    def with_label(self, folder):
        """Return the suite in an empty folder."""
        write_books(folder, bare=self.bare)
        return RandomSuite(folder, self.text, Server(leaks=self.may_stop))


@st.composite
def suites(draw):
    """Draw a suite: its models, books, controls, baseline, limits, and samples."""
    probe = draw(st.sampled_from(["instruction", "continuation"]))
    leaks = draw(st.booleans())
    bare = probe == "instruction" and draw(st.booleans())
    settings = {"samples": draw(st.integers(1, 12 if leaks else 5))}
    settings |= {"probe": probe, "confidence": 0, "prefix_words": 8}
    if bare:
        settings["summarizer"] = {"provider": "counting", "base_model": "writer"}
    limits = {"longest_span": 20}
    if draw(st.booleans()):
        limits["bmc_excess"] = 0.5
    models = [draw(model_tables("m", bare=bare, recorded=probe == "instruction"))]
    if draw(st.booleans()):
        models.append(draw(model_tables("before", bare=bare, recorded=False)))
        models[0]["baseline_model"] = "before"
    tables = {
        "suite": settings,
        "sampling": {"stop_on_fail": leaks},
        "limits": limits,
        "book": draw(book_tables()),
        "model": models,
    }
    text = "\n".join(f"{name} = {_toml(table)}" for name, table in tables.items())
    return Drawn(text, bare, leaks, _in_one_way(models))


def _in_one_way(models):
    per_call = {
        model.get("options", {}).get("per_call", 1)
        for model in models
        if "endpoint" in model
    }
    return len(per_call) <= 1


@st.composite
def book_tables(draw):
    """Draw one or two test books, a training book, and perhaps a control."""
    names = ["ferry", "quay"][: draw(st.integers(1, 2))]
    roles = dict.fromkeys(names, "test") | {"sea": "train"}
    if draw(st.booleans()):
        roles["control"] = "negative-control"
    return [
        {
            "id": name,
            "source": f"{name}.json",
            "role": role,
            "title": f"The {name}",
            "author": "Nobody",
        }
        for name, role in roles.items()
    ]
