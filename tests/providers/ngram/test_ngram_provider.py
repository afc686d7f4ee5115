from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from pytest_memleak.errors import ProviderError, SuiteError
from pytest_memleak.interfaces.protocols import (
    Completion,
    Endpoint,
    JobStatus,
    Provider,
    ProviderSetup,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.providers.ngram.ngram_provider import NgramProvider
from pytest_memleak.providers.ngram.ngram_writer import tokenise
from pytest_memleak.records import Book, Excerpt, FinishReason, Generation, Model
from pytest_memleak.records.book import book_digest
from pytest_memleak.scoring import score

MakeProvider = Callable[..., NgramProvider]


def make_book(book_id: str, *, excerpts: int = 6) -> Book:
    """Sentences of common words with names of the book's own, and instructions that say them."""
    dice = Random(book_id)
    common = [f"common{kind}" for kind in range(500)]
    weights = [1 / (kind + 1) for kind in range(500)]
    made = []
    for number in range(1, excerpts + 1):
        names = [f"{book_id.title()}{number}x{place}" for place in range(30)]
        sentences = [
            " ".join(["Then", *dice.choices(common, weights=weights, k=dice.randint(7, 14)), name])
            for name in names
        ]
        instruction = f"Write an excerpt about {', '.join(names[::3])}."
        made.append(Excerpt(f"p_id{number}", ". ".join(sentences) + ".", instruction))
    return Book(book_id, book_id, "Nobody", tuple(made), book_digest(made))


BOOKS = {book_id: make_book(book_id) for book_id in ("river", "harbour")}


def read_book(book_id: str) -> Book:
    if book_id not in BOOKS:
        raise SuiteError(f"there is no book {book_id!r}", location="x.memleak.toml")
    return BOOKS[book_id]


@pytest.fixture
def make_provider(tmp_path: Path) -> MakeProvider:
    def make(options: dict[str, Any] | None = None, **model: Any) -> NgramProvider:
        setup = ProviderSetup(
            model=Model("small", "ngram", options=options or {}, **model),
            place="x.memleak.toml: model 'small'",
            root=tmp_path,
            state=tmp_path / "state" / "ngram",
            read_book=read_book,
        )
        return NgramProvider(setup)

    return make


def training_on(book: Book, digest: str = "f00d") -> TrainingSet:
    return TrainingSet(
        tuple(TrainingExample(one.instruction or "", one.text) for one in book.excerpts), digest
    )


def tuned(provider: Provider, training: TrainingSet) -> Endpoint:
    state = provider.poll_finetune(provider.start_finetune(training))
    assert state.status is JobStatus.SUCCEEDED
    assert state.endpoint is not None
    return provider.open(state.endpoint)


def answer(endpoint: Endpoint, instruction: str, **changes: Any) -> list[Completion]:
    settings = {"n": 3, "temperature": 1.0, "max_tokens": 400, "seed": 0} | changes
    completions = endpoint.sample(instruction, **settings)
    assert all(isinstance(one, Completion) for one in completions)
    return list(completions)  # type: ignore[arg-type]


def bmc(endpoint: Endpoint, book: Book, **changes: Any) -> float:
    drawn = [
        Generation(excerpt.id, ordinal, completion.text, completion.finish_reason)
        for excerpt in book.excerpts
        for ordinal, completion in enumerate(answer(endpoint, excerpt.instruction or "", **changes))
    ]
    return score(book, drawn).bmc


# --- what it recites -----------------------------------------------------------------------


def test_a_high_order_recites_its_pretraining_and_a_low_one_does_not(
    make_provider: MakeProvider,
) -> None:
    books = ["river", "harbour"]
    high = make_provider({"order": 9, "pretraining": books}).open(None)
    low = make_provider({"order": 1, "pretraining": books}).open(None)
    assert isinstance(high, Endpoint)
    for book in BOOKS.values():
        assert bmc(high, book) > 0.5
        assert bmc(low, book) < 0.05


def test_a_book_it_never_read_is_not_recited(make_provider: MakeProvider) -> None:
    endpoint = make_provider({"order": 9, "pretraining": ["river"]}).open(None)
    assert bmc(endpoint, BOOKS["harbour"]) < 0.05


def test_fine_tuning_adds_its_examples_and_keeps_the_pretraining(
    make_provider: MakeProvider,
) -> None:
    provider = make_provider({"order": 9, "pretraining": ["river"]}, finetune_books=("harbour",))
    endpoint = tuned(provider, training_on(BOOKS["harbour"]))
    assert bmc(endpoint, BOOKS["harbour"]) > 0.5
    assert bmc(endpoint, BOOKS["river"]) > 0.5
    assert bmc(provider.open(None), BOOKS["harbour"]) < 0.05


def test_a_tuned_example_ends_where_it_ended_in_training(make_provider: MakeProvider) -> None:
    provider = make_provider({"order": 12}, finetune_books=("harbour",))
    endpoint = tuned(provider, training_on(BOOKS["harbour"]))
    for excerpt in BOOKS["harbour"].excerpts:
        (one,) = answer(endpoint, excerpt.instruction or "", n=1, temperature=0.0, max_tokens=1_000)
        assert one.text == excerpt.text
        assert one.finish_reason is FinishReason.STOP
        assert one.completion_tokens == len(tokenise(excerpt.text))


def test_more_epochs_recite_more(make_provider: MakeProvider) -> None:
    spread = [
        bmc(
            tuned(
                make_provider({"order": 3}, finetune_books=("river",), finetune={"epochs": epochs}),
                training_on(BOOKS["river"]),
            ),
            BOOKS["river"],
        )
        for epochs in (1, 30)
    ]
    assert spread[0] + 0.2 < spread[1]


def test_the_probability_of_a_given_text_can_be_asked(make_provider: MakeProvider) -> None:
    endpoint = make_provider({"order": 9, "pretraining": ["river"]}).open(None)
    own, other = (tokenise(BOOKS[name].excerpts[2].text) for name in ("river", "harbour"))
    logs = endpoint.model.log_probabilities(own[:8], own[8:58])
    assert np.exp(logs.sum()) > 0.01
    assert endpoint.model.log_probabilities(other[:8], other[8:58]).sum() == -np.inf


# --- how it answers ------------------------------------------------------------------------


def test_the_same_question_gets_the_same_answer(make_provider: MakeProvider) -> None:
    options = {"order": 4, "pretraining": ["river"]}
    one, two = (make_provider(options).open(None) for _ in range(2))
    instruction = BOOKS["river"].excerpts[0].instruction or ""
    assert answer(one, instruction, seed=7) == answer(two, instruction, seed=7)
    assert answer(one, instruction, seed=7) != answer(one, instruction, seed=70)
    assert answer(one, instruction, seed=7) != answer(one, instruction + " Please.", seed=7)


def test_answers_do_not_hang_on_how_calls_are_grouped(make_provider: MakeProvider) -> None:
    endpoint = make_provider({"order": 4, "pretraining": ["river"]}).open(None)
    instruction = BOOKS["river"].excerpts[3].instruction or ""
    other = BOOKS["river"].excerpts[4].instruction or ""
    at_once = answer(endpoint, instruction, n=6, seed=100)
    in_parts = answer(endpoint, instruction, n=4, seed=100)
    answer(endpoint, other, n=2, seed=100)
    in_parts += answer(endpoint, instruction, n=2, seed=104)
    assert at_once == in_parts


def test_without_a_seed_answers_differ(make_provider: MakeProvider) -> None:
    endpoint = make_provider({"order": 2, "pretraining": ["river"]}).open(None)
    assert answer(endpoint, "Tell me.", seed=None) != answer(endpoint, "Tell me.", seed=None)


def test_at_temperature_0_the_seed_makes_no_difference(make_provider: MakeProvider) -> None:
    endpoint = make_provider({"order": 4, "pretraining": ["river"]}).open(None)
    answers = answer(endpoint, "Tell me.", temperature=0.0, n=5, seed=None)
    assert len({one.text for one in answers}) == 1


def test_a_cut_off_answer_says_so_and_counts_its_tokens(make_provider: MakeProvider) -> None:
    endpoint = make_provider({"order": 2, "pretraining": ["river"]}).open(None)
    for one in answer(endpoint, "Tell me more.", max_tokens=25):
        assert one.finish_reason is FinishReason.LENGTH
        assert one.completion_tokens == 25
        assert one.prompt_tokens == 4
        assert 0 < len(tokenise(one.text)) <= 25


@pytest.mark.parametrize(
    "wrong", [{"temperature": -0.1}, {"temperature": float("nan")}, {"max_tokens": 0}]
)
def test_what_cannot_be_sampled_is_an_error(
    make_provider: MakeProvider, wrong: dict[str, float]
) -> None:
    endpoint = make_provider({"pretraining": ["river"]}).open(None)
    with pytest.raises(ProviderError, match="Expected a temperature of 0 or more"):
        answer(endpoint, "Tell me.", **wrong)


# --- jobs and endpoints --------------------------------------------------------------------


def test_a_fine_tune_is_found_once_it_was_started(make_provider: MakeProvider) -> None:
    provider = make_provider({"pretraining": ["river"]}, finetune_books=("harbour",))
    assert provider.find_finetune("f00d") is None
    job = provider.start_finetune(training_on(BOOKS["harbour"]))
    assert provider.find_finetune("f00d") == job
    assert provider.find_finetune("beef") is None


def test_another_process_opens_a_tuned_endpoint(make_provider: MakeProvider) -> None:
    options = {"order": 5, "pretraining": ["river"]}
    first = make_provider(options, finetune_books=("harbour",))
    job = first.start_finetune(training_on(BOOKS["harbour"]))
    later = make_provider(options, endpoint=job)
    instruction = BOOKS["harbour"].excerpts[0].instruction or ""
    assert answer(later.open(job), instruction) == answer(first.open(job), instruction)


def test_an_endpoint_s_id_names_its_weights(make_provider: MakeProvider) -> None:
    training = training_on(BOOKS["harbour"])
    endpoints = [
        make_provider({"order": 3, "pretraining": ["river"]}).open(None),
        make_provider({"order": 4, "pretraining": ["river"]}).open(None),
        make_provider({"order": 3, "pretraining": ["harbour"]}).open(None),
        *(
            tuned(make_provider({"order": 3, "pretraining": ["river"]}, finetune=recipe), training)
            for recipe in ({}, {"epochs": 2})
        ),
    ]
    assert len({one.id for one in endpoints}) == len(endpoints)  # type: ignore[attr-defined]
    again = make_provider({"order": 3, "pretraining": ["river"]}).open(None)
    assert again.id == endpoints[0].id  # type: ignore[attr-defined]


def test_an_endpoint_of_other_options_is_not_opened(make_provider: MakeProvider) -> None:
    options = {"order": 3, "pretraining": ["river"]}
    job = make_provider(options).start_finetune(training_on(BOOKS["harbour"]))
    with pytest.raises(ProviderError, match="trained with another order"):
        make_provider(options | {"order": 9}).open(job)


def test_an_endpoint_that_was_never_trained_is_not_opened(make_provider: MakeProvider) -> None:
    provider = make_provider({"pretraining": ["river"]})
    unknown = f"ngram:{'0' * 64}"
    assert provider.poll_finetune(unknown).status is JobStatus.FAILED
    with pytest.raises(ProviderError, match="train again") as caught:
        provider.open(unknown)
    assert caught.value.endpoint == unknown


@pytest.mark.parametrize("endpoint", ["gpt-4o", "ngram:../../x", "ngram:0123", ""])
def test_the_id_of_another_provider_is_not_opened(
    make_provider: MakeProvider, endpoint: str
) -> None:
    with pytest.raises(ProviderError, match="Expected ngram:"):
        make_provider({"pretraining": ["river"]}).open(endpoint)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"training": "f00d"}', b"\xff\xfe\x00"])
def test_a_damaged_training_set_is_an_error(
    make_provider: MakeProvider, tmp_path: Path, damage: bytes
) -> None:
    provider = make_provider({"pretraining": ["river"]})
    job = provider.start_finetune(training_on(BOOKS["harbour"]))
    (kept,) = (tmp_path / "state" / "ngram").iterdir()
    kept.write_bytes(damage)
    with pytest.raises(ProviderError, match="is damaged"):
        provider.open(job)


def test_a_state_folder_that_cannot_be_written_is_an_error(
    make_provider: MakeProvider, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    provider = make_provider({"pretraining": ["river"]})
    with pytest.raises(ProviderError, match="start_finetune failed"):
        provider.start_finetune(training_on(BOOKS["harbour"]))


def test_only_whole_files_are_left_in_the_state_folder(
    make_provider: MakeProvider, tmp_path: Path
) -> None:
    provider = make_provider({"pretraining": ["river"]})
    for _ in range(3):
        provider.start_finetune(training_on(BOOKS["harbour"]))
    (kept,) = (tmp_path / "state" / "ngram").iterdir()
    assert json.loads(kept.read_bytes())["training"] == "f00d"


# --- options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ({"order": 0}, "options.order", "0"),
        ({"order": 13}, "options.order", "13"),
        ({"order": "3"}, "options.order", "'3'"),
        ({"order": True}, "options.order", "True"),
        ({"order": 2.5}, "options.order", "2.5"),
        ({"pretraining": "river"}, "options.pretraining", "'river'"),
        ({"pretraining": [""]}, "options.pretraining", "''"),
        ({"pretraining": [7]}, "options.pretraining", "7"),
        ({"smoothing": "none"}, "options.smoothing", "order, pretraining"),
    ],
)
def test_a_bad_option_is_named_with_place_key_and_value(
    make_provider: MakeProvider, options: dict[str, Any], key: str, value: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        make_provider({"pretraining": ["river"]} | options)
    assert caught.value.location == "x.memleak.toml: model 'small'"
    assert key in str(caught.value)
    assert value in str(caught.value)


@pytest.mark.parametrize("recipe", [{"epochs": 0}, {"epochs": 1.5}, {"rank": 32}])
def test_a_bad_recipe_is_an_error(make_provider: MakeProvider, recipe: dict[str, Any]) -> None:
    with pytest.raises(SuiteError, match=r"finetune\.(epochs|rank)"):
        make_provider({"pretraining": ["river"]}, finetune=recipe)


def test_a_base_model_is_refused(make_provider: MakeProvider) -> None:
    with pytest.raises(SuiteError, match="'gpt-4o': an ngram model has no base model"):
        make_provider({"pretraining": ["river"]}, base_model="gpt-4o")


def test_nothing_to_train_on_is_an_error_at_once(make_provider: MakeProvider) -> None:
    with pytest.raises(SuiteError, match=r"options\.pretraining"):
        make_provider({"order": 3})


def test_without_pretraining_there_is_no_model_before_fine_tuning(
    make_provider: MakeProvider,
) -> None:
    provider = make_provider(finetune_books=("river",))
    with pytest.raises(SuiteError, match="needs training text"):
        provider.open(None)


def test_training_texts_without_a_word_are_an_error(make_provider: MakeProvider) -> None:
    provider = make_provider(finetune_books=("river",))
    job = provider.start_finetune(TrainingSet((TrainingExample("Write.", " \n"),), "f00d"))
    with pytest.raises(SuiteError, match="needs training text"):
        provider.open(job)


def test_a_pretraining_book_that_the_suite_lacks_is_an_error(make_provider: MakeProvider) -> None:
    with pytest.raises(SuiteError, match="'moon'"):
        make_provider({"pretraining": ["moon"]}).open(None)
