import json
from functools import partial
from random import Random

import pytest
from clients import make_provider, sample

from pytest_memleak.errors import ProviderError, SuiteError
from pytest_memleak.interfaces.protocols import JobStatus, TrainingExample, TrainingSet
from pytest_memleak.providers.ngram.ngram_writer import text_to_tokens
from pytest_memleak.records import Book, Excerpt, FinishReason, Generation
from pytest_memleak.records.book import book_digest
from pytest_memleak.scoring import score


def make_book(book_id):
    """Sentences of common words with names of the book's own, and instructions that say them."""
    dice = Random(book_id)
    common = [f"common{kind}" for kind in range(500)]
    weights = [1 / (kind + 1) for kind in range(500)]
    excerpts = []
    for number in range(1, 7):
        names = [f"{book_id.title()}{number}x{place}" for place in range(30)]
        sentences = [
            " ".join(
                [
                    "Then",
                    *dice.choices(common, weights=weights, k=dice.randint(7, 14)),
                    name,
                ]
            )
            for name in names
        ]
        instruction = f"Write an excerpt about {', '.join(names[::3])}."
        excerpts.append(
            Excerpt(f"p_id{number}", ". ".join(sentences) + ".", instruction)
        )
    return Book(book_id, book_id, "Nobody", tuple(excerpts), book_digest(excerpts))


BOOKS = {book_id: make_book(book_id) for book_id in ("river", "harbour")}
RIVER, HARBOUR = BOOKS.values()
FIRST = RIVER.excerpts[0].instruction


def read_book(book_id):
    if book_id not in BOOKS:
        raise SuiteError(f"there is no book {book_id!r}", location="x.memleak.toml")
    return BOOKS[book_id]


@pytest.fixture
def make(tmp_path):
    """Makes providers of a model that has read the river."""
    folders = {
        "root": tmp_path,
        "state": tmp_path / "state" / "ngram",
        "read_book": read_book,
    }
    return partial(make_provider, "ngram", base=None, pretraining=["river"], **folders)


@pytest.fixture
def untaught(make):
    """Makes providers that need a fine-tune."""
    keywords = {
        name: value for name, value in make.keywords.items() if name != "pretraining"
    }
    return partial(make_provider, "ngram", books=("harbour",), **keywords)


def training_on(book, digest="f00d"):
    return TrainingSet(
        tuple(
            TrainingExample(excerpt.instruction, excerpt.text)
            for excerpt in book.excerpts
        ),
        digest,
    )


def tune(provider, book=HARBOUR):
    state = provider.poll_finetune(provider.start_finetune(training_on(book)))
    assert state.status is JobStatus.SUCCEEDED
    return provider.open(state.endpoint)


def ask(endpoint, instruction="Tell me.", n=3, **changes):
    return sample(endpoint, n, instruction, **{"max_tokens": 400, "seed": 0, **changes})


def bmc(endpoint, book):
    generations = [
        Generation(excerpt.id, ordinal, completion.text, completion.finish_reason)
        for excerpt in book.excerpts
        for ordinal, completion in enumerate(ask(endpoint, excerpt.instruction))
    ]
    return score(book, generations).bmc


def test_a_high_order_recites_its_pretraining_and_a_low_one_does_not(make):
    high, low = (make(order=order, pretraining=[*BOOKS]).open(None) for order in (9, 1))
    for book in BOOKS.values():
        assert bmc(high, book) > 0.5
        assert bmc(low, book) < 0.05


def test_fine_tuning_adds_its_examples_and_keeps_the_pretraining(make):
    provider = make(order=9)
    assert bmc(provider.open(None), HARBOUR) < 0.05
    tuned = tune(provider)
    assert bmc(tuned, HARBOUR) > 0.5
    assert bmc(tuned, RIVER) > 0.5


def test_a_tuned_example_ends_where_it_ended_in_training(untaught):
    endpoint = tune(untaught(order=12))
    for excerpt in HARBOUR.excerpts:
        (answer,) = ask(
            endpoint, excerpt.instruction, 1, temperature=0.0, max_tokens=1_000
        )
        assert (answer.text, answer.finish_reason) == (excerpt.text, FinishReason.STOP)
        assert answer.completion_tokens == len(text_to_tokens(excerpt.text))


def test_more_epochs_recite_more(untaught):
    providers = (untaught(order=3, finetune={"epochs": epochs}) for epochs in (1, 30))
    once, often = (bmc(tune(provider), HARBOUR) for provider in providers)
    assert once + 0.2 < often


def test_an_answer_hangs_on_instruction_and_seed_alone(make):
    endpoint, twin = (make(order=4).open(None) for _ in range(2))
    assert ask(endpoint, FIRST, seed=7) == ask(twin, FIRST, seed=7)
    assert ask(endpoint, FIRST, seed=7) != ask(endpoint, FIRST, seed=70)
    assert ask(endpoint, FIRST, seed=7) != ask(endpoint, FIRST + " Please.", seed=7)
    assert ask(endpoint, seed=None) != ask(endpoint, seed=None)
    at_once = ask(endpoint, FIRST, 6, seed=100)
    in_parts = ask(endpoint, FIRST, 4, seed=100)
    ask(endpoint, "Tell me.", 2, seed=100)
    assert at_once == in_parts + ask(endpoint, FIRST, 2, seed=104)
    assert (
        len({answer.text for answer in ask(endpoint, temperature=0.0, n=5, seed=None)})
        == 1
    )


def test_a_cut_off_answer_says_so_and_counts_its_tokens(make):
    for answer in ask(make(order=2).open(None), "Tell me more.", max_tokens=25):
        assert answer.finish_reason is FinishReason.LENGTH
        assert (answer.prompt_tokens, answer.completion_tokens) == (4, 25)
        assert 0 < len(text_to_tokens(answer.text)) <= 25


@pytest.mark.parametrize(
    "wrong", [{"temperature": -0.1}, {"temperature": float("nan")}, {"max_tokens": 0}]
)
def test_an_impossible_request_is_an_error(make, wrong):
    with pytest.raises(ProviderError, match="expected a temperature of 0 or more"):
        ask(make().open(None), **wrong)


def test_a_fine_tune_is_found_once_it_was_started(make, tmp_path):
    provider = make()
    assert provider.find_finetune("f00d") is None
    jobs = [provider.start_finetune(training_on(HARBOUR)) for _ in range(3)]
    assert {provider.find_finetune("f00d")} == {*jobs}
    assert provider.find_finetune("beef") is None
    (kept,) = (
        tmp_path / "state" / "ngram"
    ).iterdir()  # whole files are left, and no others
    assert json.loads(kept.read_bytes())["training"] == "f00d"


def test_another_process_opens_a_tuned_endpoint(make):
    first = make(order=5)
    job = first.start_finetune(training_on(HARBOUR))
    later = make(order=5, endpoint=job)
    assert ask(later.open(job), FIRST) == ask(first.open(job), FIRST)
    with pytest.raises(ProviderError, match="trained with a different order"):
        make(order=9).open(job)


def test_an_endpoint_s_id_names_its_weights(make):
    endpoints = [
        *(make(order=3, pretraining=[book]).open(None) for book in BOOKS),
        make(order=4).open(None),
        *(tune(make(order=3, finetune=recipe)) for recipe in ({}, {"epochs": 2})),
    ]
    assert len({endpoint.id for endpoint in endpoints}) == len(endpoints)
    assert make(order=3).open(None).id == endpoints[0].id


NEVER_TRAINED = f"ngram:{'0' * 64}"


@pytest.mark.parametrize(("endpoint", "message"), [
    (NEVER_TRAINED, "train again"),
    *((other, "expected ngram:") for other in ("gpt-4o", "ngram:../../x", "ngram:0123", "")),
])  # fmt: skip
def test_an_endpoint_that_was_never_trained_or_is_another_provider_s_is_not_opened(
    make, endpoint, message
):
    with pytest.raises(ProviderError, match=message) as error:
        make().open(endpoint)
    assert error.value.endpoint == endpoint
    assert make().poll_finetune(NEVER_TRAINED).status is JobStatus.FAILED


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"training": "f00d"}', b"\xff\xfe\x00"]
)
def test_a_damaged_training_set_is_an_error(make, tmp_path, damage):
    job = make().start_finetune(training_on(HARBOUR))
    (kept,) = (tmp_path / "state" / "ngram").iterdir()
    kept.write_bytes(damage)
    with pytest.raises(ProviderError, match="is damaged"):
        make().open(job)


def test_a_state_folder_that_cannot_be_written_is_an_error(make, tmp_path):
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(ProviderError, match="start_finetune failed"):
        make().start_finetune(training_on(HARBOUR))


def test_a_model_without_training_text_is_an_error(make, untaught):
    blank = TrainingSet((TrainingExample("Write.", " \n"),), "f00d")
    for endpoint in (None, untaught().start_finetune(blank)):
        with pytest.raises(SuiteError, match="needs training text"):
            untaught().open(endpoint)
    with pytest.raises(SuiteError, match="'moon'"):
        make(pretraining=["moon"]).open(None)
