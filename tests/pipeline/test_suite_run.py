"""Books, providers and endpoints of one suite, and what is drawn from them."""

import json
import random
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from pytest_memleak.errors import (
    BookError,
    Inconclusive,
    JobPending,
    ProviderError,
    SuiteError,
)
from pytest_memleak.interfaces.abilities import Abilities, Finetuning
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.hookspecs import hookimpl
from pytest_memleak.interfaces.protocols import JobState, JobStatus
from pytest_memleak.pipeline.cut_books import CutBooks
from pytest_memleak.pipeline.required_samples import Purpose, RequiredSamples
from pytest_memleak.pipeline.resources import Resources
from pytest_memleak.pipeline.sample_pair import sample_requirement
from pytest_memleak.pipeline.sampling_plan import PlanMode, SamplingPlan
from pytest_memleak.pipeline.shared_text import validate_no_shared_text
from pytest_memleak.pipeline.suite_run import SuiteRun
from pytest_memleak.sampling.retry import Retry
from pytest_memleak.suite.load import load_suite

BOOK = (
    "The ferryman counted nine lanterns along the quay.",
    "His grandmother had warned him.",
)
HASTY = Retry(
    deadline=20.0,
    tries=2,
    recovery=0.0,
    first=0.0,
    poll=0.0,
    pause=lambda event, _: event,
)


def prose(seed, length):
    chosen = random.Random(seed)
    return " ".join(f"w{chosen.randrange(100_000)}" for _ in range(length))


def asked_for(number):
    return f"Write of {number}: somebody at work near water sees more than he likes to."


def records(*texts):
    return [
        {"excerpt_id": f"p_id{n}", "excerpt_text": text, "instruction": asked_for(n)}
        for n, text in enumerate(texts, start=1)
    ]


class FakeEndpoint:
    """Answers with numbered texts; asked: what was sampled, without canaries."""

    def __init__(self, *, name=None, says="nothing"):
        if name is not None:
            self.id = name
        self.says, self.asked = says, []

    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        if temperature == 0:
            return ["the same as ever"] * n
        self.asked.append(instruction)
        return [f"{self.says} {len(self.asked)}"] * n


class FakeProvider:
    name = "fake"
    concurrency = 1
    completions_per_call = 1
    batch = False
    weights_options = None

    def __init__(self, world, setup):
        self.world, self.setup = world, setup
        self.closed = False
        world.made.append(self)

    @property
    def abilities(self):
        finetuning = Finetuning(
            find=self.find_finetune,
            start=self.start_finetune,
            poll=self.poll_finetune,
            weights_options=self.weights_options,
        )
        return Abilities(finetuning=finetuning, close=self.close)

    def find_finetune(self, digest):
        return None

    def start_finetune(self, training):
        self.world.tuned.append(training)
        return "job-1"

    def poll_finetune(self, job_id):
        return self.world.job

    def open(self, endpoint):
        self.world.opened.append(endpoint)
        if self.world.refuses:
            raise self.world.refuses
        return self.world.endpoint

    def close(self):
        self.closed = True


MODEL = '[[model]]\nid = "m"\nprovider = "fake"\n'


class World(SimpleNamespace):
    @hookimpl
    def memleak_providers(self):
        return {"fake": lambda setup: FakeProvider(self, setup)}

    def suite_run(self, *, offline=False, suite=None):
        """The suite opened anew, as another run would."""
        resources = Resources(f"sqlite:///{self.folder / 'ledger.db'}", offline=offline)
        resources.retry = HASTY
        self.resources.append(resources)
        suite = load_suite(self.write(suite or {}))
        extensions = Extensions([self])
        return SuiteRun(
            suite,
            extensions,
            cut_books=CutBooks(extensions),
            state=self.folder / "state",
            resources=resources,
        )

    def write(self, changes):
        (self.folder / "ferry.json").write_text(json.dumps(records(*BOOK)))
        tables = {
            "suite": "suite.samples = 2\nlimits.longest_span = 10",
            "book": '[[book]]\nid = "ferry"\nsource = "ferry.json"',
            "model": MODEL,
        }
        path = self.folder / "x.memleak.toml"
        path.write_text("\n".join((tables | changes).values()))
        return path


@pytest.fixture
def world(tmp_path):
    providers = World(
        folder=tmp_path, endpoint=FakeEndpoint(name="fake-weights"), refuses=None
    )
    providers.job = JobState(JobStatus.SUCCEEDED, endpoint="ft:1")
    providers.made, providers.opened, providers.tuned, providers.resources = (
        [],
        [],
        [],
        [],
    )
    yield providers
    for resources in providers.resources:
        resources.close()


def draw(opened, **own):
    (pair, *_) = opened.suite.pairs
    required = RequiredSamples(Purpose.OWN, pair, **own)
    walk = PlanMode.READING if opened.resources.offline else PlanMode.SAMPLING
    plan = SamplingPlan(
        (required,), opened.endpoints, walk, opened.suite, opened.ids_in_this_run
    )
    generations = sample_requirement(required, plan)
    return generations, list(generations.generations())


@pytest.mark.parametrize("missing", ["mine.json", "mine.summaries.json"])
def test_a_book_that_is_yours_to_bring_is_waited_for(world, missing):
    source = (
        '[[book]]\nid = "mine"\nsource = "mine.json"\nsummaries = "mine.summaries.json"'
    )
    opened = world.suite_run(suite={"book": f"{source}\nbring_your_own = true"})
    for name in {"mine.json", "mine.summaries.json"} - {missing}:
        (world.folder / name).write_text(json.dumps(records(*BOOK)))
    with pytest.raises(
        Inconclusive, match=f"book 'mine': no such file: .*{missing}"
    ) as caught:
        opened.books.book_with_instructions(opened.suite.books[0])
    assert "the suite expects you to provide it" in caught.value.hint
    (world.folder / missing).write_text(json.dumps(records(*BOOK)))
    assert opened.books.book_with_instructions(opened.suite.books[0]).id == "mine"


def test_a_provider_is_made_once_and_told_what_it_needs(world):
    opened = world.suite_run()
    (model,) = opened.suite.models
    provider = opened.endpoints.provider(model)
    assert opened.endpoints.provider(model) is provider
    setup = provider.setup
    assert setup.model is model
    assert setup.place == f"{world.folder / 'x.memleak.toml'}: model 'm'"
    assert (setup.root, setup.state) == (world.folder, world.folder / "state" / "fake")
    assert setup.read_book("ferry") is opened.books.book_with_instructions(
        opened.suite.books[0]
    )
    with pytest.raises(
        SuiteError, match="there is no book 'sea'; known ids: ferry"
    ) as caught:
        setup.read_book("sea")
    assert caught.value.location == setup.place


def test_an_endpoint_is_opened_once_by_the_name_in_the_suite_and_let_go_of(world):
    opened = world.suite_run(suite={"model": f'{MODEL}endpoint = "ft:x"'})
    opened.close()
    (model,) = opened.suite.models
    assert (
        opened.endpoints.open_endpoint(model)
        is opened.endpoints.open_endpoint(model)
        is world.endpoint
    )
    assert world.opened == ["ft:x"]
    opened.close()
    assert [provider.closed for provider in world.made] == [True]


TUNED = {
    "model": f'{MODEL}[model.finetune]\nbooks = ["sea"]\nepochs = 2',
    "more": '[[book]]\nid = "sea"\nsource = "sea.json"\nrole = "train"',
}


@pytest.fixture
def tuned(world):
    (world.folder / "sea.json").write_text(
        json.dumps(records("At sea.", "All day long."))
    )
    return world


def fine_tuned(world, suite):
    opened = world.suite_run(suite=suite)
    return opened.endpoints.open_endpoint(opened.suite.models[0])


def test_another_recipe_is_another_fine_tune(tuned):
    changes = {
        "epochs = 2": "epochs = 3",
        '"fake"': '"fake"\nbase_model = "other"',
        '"fake"\n': '"fake"\noptions = { url = "http://x" }\n',
    }
    recipes = [
        TUNED["model"],
        *(TUNED["model"].replace(*change) for change in changes.items()),
    ]
    digests = set()
    for recipe in recipes:
        opened = tuned.suite_run(suite=TUNED | {"model": recipe})
        digests.add(opened.endpoints.training_set(opened.suite.models[0]).digest)
    assert len(digests) == 4


def with_options(options):
    return TUNED | {
        "model": TUNED["model"].replace('"fake"', f'"fake"\noptions = {options}')
    }


def test_options_that_do_not_shape_the_weights_make_no_other_fine_tune(
    tuned, monkeypatch
):
    monkeypatch.setattr(FakeProvider, "weights_options", frozenset({"url"}))
    at = ["{ url = 'x' }", "{ timeout = 5, url = 'x' }", "{ url = 'x', timeout = 6 }"]
    for options in at:
        fine_tuned(tuned, with_options(options))
    assert len(tuned.tuned) == 1
    fine_tuned(tuned, with_options("{ url = 'y', timeout = 6 }"))
    assert len(tuned.tuned) == 2


def test_a_fine_tune_that_was_named_by_all_options_is_not_made_again(
    tuned, monkeypatch
):
    suite = with_options("{ url = 'x', timeout = 5 }")
    fine_tuned(tuned, suite)  # by a provider that does not say which matter
    monkeypatch.setattr(FakeProvider, "weights_options", frozenset({"url"}))
    opened = tuned.suite_run(suite=suite)
    assert opened.endpoints.finetune_job_id(opened.suite.models[0]) == "job-1"
    opened.endpoints.open_endpoint(opened.suite.models[0])
    assert (len(tuned.tuned), tuned.opened) == (1, ["ft:1", "ft:1"])


def test_a_fine_tune_that_failed_under_that_name_is_no_reason_to_keep_it(
    tuned, monkeypatch
):
    suite = with_options("{ url = 'x', timeout = 5 }")
    tuned.job = JobState(JobStatus.FAILED, detail="quota")
    with pytest.raises(ProviderError):
        fine_tuned(tuned, suite)
    monkeypatch.setattr(FakeProvider, "weights_options", frozenset({"url"}))
    opened = tuned.suite_run(suite=suite)
    assert (
        opened.endpoints.training_set(opened.suite.models[0]).digest
        != tuned.tuned[0].digest
    )


def test_an_offline_run_fine_tunes_nothing(tuned):
    opened = tuned.suite_run(suite=TUNED, offline=True)
    with pytest.raises(
        Inconclusive, match="the ledger has no finished fine-tune of 'm'"
    ):
        opened.endpoints.open_endpoint(opened.suite.models[0])
    assert (tuned.tuned, tuned.opened) == ([], [])


@pytest.mark.parametrize(
    ("epochs", "times"), [("epochs = 3", 3), ('epochs = "auto"', 1), ("", 1)]
)
def test_the_tokens_of_a_fine_tune_are_estimated(tuned, epochs, times):
    suite = TUNED | {"model": TUNED["model"].replace("epochs = 2", epochs)}
    opened = tuned.suite_run(suite=suite)
    words = 14 + 2 + 14 + 3  # of two instructions and their texts
    assert opened.endpoints.training_tokens(opened.suite.models[0]) == int(
        words * 4 / 3 * times
    )


def shares_text(world, test, training):
    (world.folder / "sea.json").write_text(json.dumps(records(training)))
    suite = TUNED | {"book": '[[book]]\nid = "lake"\nsource = "lake.json"'}
    (world.folder / "lake.json").write_text(json.dumps(records(*test)))
    opened = world.suite_run(suite=suite)
    (pair,) = opened.suite.pairs
    validate_no_shared_text(
        opened.books.book_with_instructions(pair.book), pair, opened
    )


@pytest.mark.parametrize(("run", "length", "refused"), [
    (2000, 2000, True),
    (20, 2000, True),  # 1 %
    (20, 2001, False),  # less
    (19, 100, False),  # a motto
    (0, 2000, False),
])  # fmt: skip
def test_a_test_book_that_shares_text_with_a_training_book_is_refused(
    world, run, length, refused
):
    text = prose(1, length)
    training = f"{prose(2, 500)} {' '.join(text.split()[:run])} {prose(3, 500)}"
    if not refused:
        shares_text(world, [text], training)
        return
    with pytest.raises(BookError) as caught:
        shares_text(world, [text], training)
    assert caught.value.location == f"{world.folder / 'x.memleak.toml'}: book 'lake'"
    assert caught.value.message == (
        f"it shares {run / length:.1%} of its words, in runs of 20 or more, with "
        "'sea', which "
        "the model 'm' is fine-tuned on"
    )


def test_text_is_shared_by_its_words_not_its_letters(world):
    text = prose(1, 300)
    halves = [" ".join(text.split()[:150]), " ".join(text.split()[150:])]
    with pytest.raises(BookError, match=r"shares 100.0%"):
        shares_text(world, halves, text.upper().replace(" ", ", "))


@pytest.mark.parametrize(("quoted", "refused"), [(1_000, True), (998, False)])
def test_common_texts_that_are_the_test_book_are_refused(world, quoted, refused):
    text = prose(1, 2_000).split()
    for name, part in (
        ("a", text[: quoted // 2]),
        ("b", text[1_000 : 1_000 + quoted // 2]),
    ):
        (world.folder / f"{name}.txt").write_text(" ".join(part))
    (world.folder / "lake.json").write_text(json.dumps(records(" ".join(text))))
    (world.folder / "pond.json").write_text(json.dumps(records(prose(3, 2_000))))
    book = '[[book]]\nid = "lake"\nsource = "lake.json"\n\n[[common]]\nsource = "*.txt"'
    book += '\n\n[[book]]\nid = "pond"\nsource = "pond.json"'
    opened = world.suite_run(suite={"book": book})
    refusal = pytest.raises(BookError, match=r"texts excuse 50\.0% of its words")
    for pair in opened.suite.pairs:  # passages of any test book fail any pair
        with refusal if refused else nullcontext():
            validate_no_shared_text(
                opened.books.book_with_instructions(pair.book), pair, opened
            )


@pytest.mark.parametrize(("run", "refused"), [(11, False), (12, True)])
@pytest.mark.parametrize("hyphens", [False, True])
def test_common_texts_of_pieces_of_the_test_book_are_refused(
    world, run, refused, hyphens
):
    words = prose(1, 2_000).split()
    (world.folder / "lake.json").write_text(json.dumps(records(" ".join(words))))
    pieces = [" ".join(words[at : at + run]) for at in range(0, 1_200, run)]
    text = " zzz ".join(pieces)
    if hyphens:  # which folding alone removes
        text = "\u00ad".join(text).replace("\u00ad \u00ad", " ")
    (world.folder / "a.txt").write_text(text, encoding="utf-8")
    book = '[[book]]\nid = "lake"\nsource = "lake.json"\n\n[[common]]\nsource = "*.txt"'
    opened = world.suite_run(suite={"book": book})
    (pair,) = opened.suite.pairs
    refusal = pytest.raises(BookError, match=r"texts excuse 60\.0% of its words")
    with refusal if refused else nullcontext():
        validate_no_shared_text(
            opened.books.book_with_instructions(pair.book), pair, opened
        )


def test_pieces_of_the_test_book_in_a_training_book_are_refused(world):
    text = prose(1, 2_000)
    words = text.split()
    pieces = [" ".join(words[at : at + 12]) for at in range(0, 1_200, 12)]
    with pytest.raises(BookError, match=r"'m' is fine-tuned on excuse 60\.0%"):
        shares_text(world, [text], " zzz ".join(pieces))


def test_an_endpoint_that_cannot_be_opened_now_is_an_issue_and_a_wrong_name_an_error(
    world,
):
    world.refuses = JobPending("it is being deployed", location="fake")
    generations, got = draw(world.suite_run())
    assert (got, generations.endpoint_id) == ([], None)
    assert [str(issue) for issue in generations.issues] == [
        "fake: it is being deployed"
    ]
    world.refuses = SuiteError("there is no such endpoint", location="x")
    with pytest.raises(SuiteError):
        draw(world.suite_run())


def test_an_own_endpoint_takes_the_suites_place_and_is_kept_for_one_run(world):
    opened, own = world.suite_run(), FakeEndpoint(says="own")
    generations, first = draw(opened, endpoint=own)
    assert {generation.text.split()[0] for generation in first} == {"own"}
    assert "not kept" in generations.endpoint_id
    assert (len(own.asked), world.endpoint.asked, world.made) == (4, [], [])
    assert draw(opened, endpoint=own)[1] == first
    assert len(own.asked) == 4
    assert not (world.folder / "ledger.db").exists()
    draw(world.suite_run(), endpoint=own)
    assert len(own.asked) == 8
    # One with an id is kept by it.
    own = FakeEndpoint(name="my-weights-1", says="own")
    generations, first = draw(world.suite_run(), endpoint=own)
    assert generations.endpoint_id == "my-weights-1"
    assert draw(world.suite_run(), endpoint=own)[1] == first
    assert len(own.asked) == 4


def test_two_own_endpoints_do_not_answer_for_each_other(world):
    class Empty(FakeEndpoint):
        def __len__(self):
            return 0

    opened = world.suite_run()
    for endpoint in (
        FakeEndpoint(says="first"),
        FakeEndpoint(says="second"),
        Empty(says="own"),
    ):
        _, got = draw(opened, endpoint=endpoint)
        assert {generation.text.split()[0] for generation in got} == {endpoint.says}
