"""The paper's six designs, tuned and untuned, by each provider's emulator."""

import pytest
from study_suites import DESIGNS, PROVIDERS, SUITES
from suite_files import replace_all

from pytest_memleak.suite.load import load_suite


def finetunes(server):
    return server.books.rows("weights" if server.provider == "tinker" else "finetune")


@pytest.mark.full
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_tuned_models_fail_and_untuned_ones_pass(emulated, run, provider, design):
    server, path = emulated(provider, design)
    suite = load_suite(path)
    outcome = run(server, str(path))
    verdict = "passed" if design == "none" else "failed"
    assert outcome.result.parseoutcomes() == {verdict: len(suite.pairs)}
    assert len(suite.pairs) >= 8
    tuned = {(model.base_model, *model.finetune_books) for model in suite.models}
    assert len(finetunes(server)) == (0 if design == "none" else len(tuned))
    books = {model.id: set(model.finetune_books) for model in suite.models}
    assert not [pair.id for pair in suite.pairs if pair.book.id in books[pair.model.id]]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_test_to_copy_fine_tunes_what_a_suite_does_and_once(
    emulated, run, pytester, provider
):
    server, path = emulated(provider, "cross_author", tested=2)
    text = (SUITES / "test_recall.py").read_text("utf-8")
    trained = ("norwegian-wood", "murakami-0"), ("kafka-on-the-shore", "murakami-1")
    copied = path.parent / "test_recall.py"
    copied.write_text(replace_all(text, trained), "utf-8")
    pytester.makeconftest('pytest_plugins = ["endpoints"]')
    outcome = run(server, str(copied))
    pairs = len(load_suite(path).pairs)
    assert outcome.result.parseoutcomes() == {"failed": pairs}
    outcome.result.stdout.fnmatch_lines(
        ["AssertionError: suites/paper/test_recall.py:*"]
    )
    tuned = len(finetunes(server))
    assert tuned == len({pair.model.base_model for pair in load_suite(path).pairs})
    assert run(server, str(path)).result.parseoutcomes() == {"failed": pairs}
    assert len(finetunes(server)) == tuned
