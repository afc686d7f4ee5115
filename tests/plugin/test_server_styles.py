"""Thirty-five styles of servers: an honest model passes, a reciting one fails, errors are told."""

import json
from functools import partial

import pytest
from clients import make_provider
from earned_suites import SUITE, run_here, write_book
from server_styles import GONE, STYLES, StyledServer
from suite_files import model_table
from unearned_servers import book_of_servers, other_plays

from pytest_memleak.errors import ProviderError
from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
from pytest_memleak.pipeline.run import open_suite
from pytest_memleak.records.phases import Progress
from pytest_memleak.redaction.text import server_word_limit

PLAYS = other_plays(100_000)
BOOK = book_of_servers()
provider_of = partial(make_provider, "openai")


@pytest.fixture(scope="module")
def server():
    texts = {excerpt.instruction: excerpt.text for excerpt in BOOK.excerpts}
    with StyledServer(plays=PLAYS, book=texts) as running:
        yield running


def url_of(server, style):
    return f"{server.url}/{style}/v1"


@pytest.mark.parametrize("style", STYLES)
def test_a_call_is_answered_and_an_error_told_in_the_servers_words(server, style):
    provider = provider_of(base="reciting", base_url=url_of(server, style))
    endpoint, settings = (
        provider.open(None),
        {"temperature": None, "max_tokens": 200, "seed": 1},
    )
    excerpt = BOOK.excerpts[0]
    (answer, *_) = endpoint.sample(excerpt.instruction, n=4, **settings)
    assert answer.text == excerpt.text
    assert answer.finish_reason.value == "stop"
    refused = {
        name
        for name, support in endpoint.abilities.parameter_values().items()
        if support.rejected
    }
    assert refused >= {name for name in STYLES[style].refuses if name != "temperature"}
    gone = provider_of(base="gone", base_url=url_of(server, style)).open(None)
    with server_word_limit(None), pytest.raises(ProviderError, match=GONE):
        gone.sample("Write.", n=1, **settings)


def test_another_model_is_named_while_the_first_samples_come(server, tmp_path):
    write_book(tmp_path, BOOK)
    options = f'base_url = "{url_of(server, "azure-unknown")}"'
    suite = SUITE.format(samples=1, keys="")
    suite += model_table("m", "openai", options, 'base_model = "honest"')
    path = tmp_path / "it.memleak.toml"
    path.write_text(suite, "utf-8")
    notes = []
    with open_suite(path) as run:
        run.resources.progress = Progress(lambda event: notes.append(event.note))
        evaluate_pair(run.suite.pairs[0], run)
    assert 'set served_names = ["snapshot-of-another-name"] if' in "".join(notes)


@pytest.fixture(scope="module")
def pairs(server, tmp_path_factory):
    """The pairs of the evidence, by style and model."""
    folder = tmp_path_factory.mktemp("styles")
    write_book(folder, BOOK)
    pairs = {}
    for keys in sorted({style.suite for style in STYLES.values()}):
        suite = SUITE.format(samples=5, keys=keys)
        for name, style in STYLES.items():
            for model in ("honest", "reciting") if style.suite == keys else ():
                options = f'base_url = "{url_of(server, name)}"'
                named = f'base_model = "{model}"\n{style.model}'
                suite += model_table(f"{name}-{model}", "openai", options, named)
        (folder / "it.memleak.toml").write_text(suite, "utf-8")
        evidence = run_here(folder, "--memleak-quote=full")["evidence"]
        pairs |= {pair["pair"]: pair for pair in evidence["pairs"]}
    return pairs


@pytest.mark.full
@pytest.mark.parametrize("style", STYLES)
def test_an_honest_server_passes_and_a_reciting_one_fails(pairs, style):
    honest, reciting = pairs[f"{style}-honest/b"], pairs[f"{style}-reciting/b"]
    assert reciting["verdict"] == "FAIL"
    assert honest["verdict"] == ("INCONCLUSIVE" if STYLES[style].words else "PASS")
    assert STYLES[style].words in json.dumps(honest)


@pytest.mark.full
def test_so_do_those_that_are_asked_for_responses(server, tmp_path):
    write_book(tmp_path, BOOK)
    options = f'base_url = "{url_of(server, "openai")}", api = "responses"'
    suite = SUITE.format(samples=5, keys="")
    for model in ("honest", "reciting"):
        suite += model_table(model, "openai", options, f'base_model = "{model}"')
    (tmp_path / "it.memleak.toml").write_text(suite, "utf-8")
    evidence = run_here(tmp_path, "--memleak-quote=full")["evidence"]
    verdicts = {pair["pair"]: pair["verdict"] for pair in evidence["pairs"]}
    assert verdicts == {"honest/b": "PASS", "reciting/b": "FAIL"}
    assert "seed" in json.dumps(evidence["pairs"][0]["provenance"])
