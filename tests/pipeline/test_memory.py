"""Memory of a run: after a pair, nothing of its generations is left but what reports show."""

import gc
import json
from collections import Counter

import pytest

from pytest_memleak.records import Generation
from pytest_memleak.verdict.generation_features import GenerationFeatures
from pytest_memleak.verdict.generation_kinds import CensusResult

TEXT = "the ferryman counted nine lanterns along the quay and did not like the number at all"
SUITE = """
suite = { samples = 2 }
limits = { longest_span = 6, bmc_excess = 1.0 }
catalog = [{ source = "library/*.txt" }]
"""
BOOK = '[[book]]\nid = "{0}"\nsource = "{0}.json"\n'
MODEL = '[[model]]\nid = "{0}"\nprovider = "recorded"\noptions.path = "{0}.json"\n'
KINDS = (Generation, GenerationFeatures, CensusResult)


class LiveObjects:
    """Counts what is alive after each pair, while nothing collects cycles of references."""

    def __init__(self):
        self.before = self._count()
        self.after = []

    def pytest_runtest_logfinish(self):
        self.after.append(self._count() - self.before)

    def _count(self):
        return Counter(kind for kind in map(type, gc.get_objects()) if kind in KINDS)


@pytest.mark.parametrize(("models", "books"), [(2, 2), (1, 3)])
def test_no_generation_is_alive_after_its_pair(pytester, monkeypatch, models, books):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.mkdir("library").joinpath("other.txt").write_text(
        "A work of others.", "utf-8"
    )
    text = SUITE + "".join(BOOK.format(f"book{number}") for number in range(books))
    for number in range(books):
        excerpt = {
            "excerpt_id": "p_id1",
            "excerpt_text": f"{TEXT} {number}",
            "instruction": "Go.",
        }
        pytester.path.joinpath(f"book{number}.json").write_text(
            json.dumps([excerpt]), "utf-8"
        )
    for number in range(models):
        text += MODEL.format(f"model{number}")
        # The second generation breaks a limit; the third is one that the suite doesn't
        # request.
        answers = [
            {"generated_text": answer} for answer in ("So it was.", TEXT, "So be it.")
        ]
        record = {"excerpt_id": "p_id1", "generations": answers}
        pytester.path.joinpath(f"model{number}.json").write_text(
            json.dumps([record]), "utf-8"
        )
    pytester.path.joinpath("a.memleak.toml").write_text(text, "utf-8")
    gc.collect()
    gc.disable()
    try:
        objects = LiveObjects()
        options = ("-p", "memleak", "-m", "copyright", "--memleak-html=a.html")
        pytester.inline_run(*options, plugins=[objects]).assertoutcome(
            failed=models * books
        )
    finally:
        gc.enable()
    assert objects.after == [Counter()] * (models * books)
