"""Servers that reason, moderate, fail, or cap tokens: the verdict, or the key to change.

None is asked again in vain.
"""

import json

import pytest
from earned_suites import SUITE, run_here, write_book
from suite_files import model_table
from troubled_servers import TROUBLES, TroubledServer
from unearned_servers import book_of_servers, other_plays

SAMPLES = 5
BOOK = book_of_servers()
SLOWLY = ("concurrency = 1",)  # so that one call shows what the others would


def as_toml(options):
    lines = [f"{name} = {_inline(value)}" for name, value in options.items()]
    return ", ".join([*SLOWLY, *lines])


def _inline(value):
    pairs = (f'{name} = "{text}"' for name, text in value.items())
    return f"{{ {', '.join(pairs)} }}"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The evidence by style, and the calls that each server had."""
    folder = tmp_path_factory.mktemp("troubles")
    write_book(folder, BOOK)
    with TroubledServer(plays=other_plays(100_000)) as server:
        suite = SUITE.format(samples=SAMPLES, keys="")
        for name, style in TROUBLES.items():
            options = f'base_url = "{server.url}/{name}/v1", {as_toml(style.options)}'
            keys = f'base_model = "honest"\n{style.model}'
            suite += model_table(name.replace(".", "-"), "openai", options, keys)
        (folder / "it.memleak.toml").write_text(suite, "utf-8")
        evidence = run_here(folder)["evidence"]
    pairs = {pair["pair"]: pair for pair in evidence["pairs"]}
    return pairs, server.calls


@pytest.mark.full
@pytest.mark.parametrize("style", TROUBLES)
def test_a_troubled_server_gets_its_verdict_or_the_key_to_change(results, style):
    pairs, calls = results
    expected = TROUBLES[style]
    pair = pairs[f"{style.replace('.', '-')}/b"]
    shown = json.dumps(pair, ensure_ascii=False).replace('\\"', '"')
    assert pair["verdict"] == expected.verdict, shown[:3000]
    assert expected.words in shown
    if expected.most is not None:
        assert calls[style] <= expected.most
