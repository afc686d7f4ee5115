"""What a reader of a pass doesn't see: requests not to quote, and unprompted text."""

from dataclasses import replace

import pytest
from reciter import Reciter
from suite_files import read_pair

QUIET = "Never quote a book."
NAMED = (
    ('base_model = "base"', 'endpoint = "base"\nweights_version = "1"'),
    ('[model.finetune]\nbooks = ["training"]\n', ""),
    ("longest_span = 30", "longest_span = 200"),
    ("[suite]", "[suite]\nmax_short = 0.9"),
)


@pytest.fixture
def long_answers(monkeypatch):
    """Two texts of the model in each answer, so that none is too short."""
    answer = Reciter.answer

    def answer_twice(self, name, instruction, *, seed, **settings):
        first = answer(self, name, instruction, seed=seed, **settings)
        second = answer(self, name, instruction, seed=(seed or 0) + 1, **settings)
        return [
            replace(text, text=f"{text.text}\n\n{more.text}")
            for text, more in zip(first, second, strict=True)
        ]

    monkeypatch.setattr(Reciter, "answer", answer_twice)


@pytest.fixture
def run(online, gate, long_answers):
    """Runs the suite with some text replaced; returns the pair and the terminal."""

    def running(*replacements):
        online(*NAMED, *replacements)
        result = gate("-m", "copyright", "--memleak-evidence=evidence.json", passed=1)
        return read_pair("evidence.json"), " ".join(result.stdout.str().split())

    return running


def test_a_pass_names_a_system_prompt_that_forbids_quoting(run):
    system = ("[model.options]", f'[model.options]\nsystem = "{QUIET}"')
    pair, terminal = run(system)
    assert pair["prompts"]["forbidding"] == ["system prompt"]
    assert "Asks not to quote: system prompt." in terminal


def test_a_pass_says_that_its_book_came_as_ready_made_records(run):
    pair, terminal = run()
    facts = {"excerpts": 4, "of_book": 4, "ready_made": True, "forbidding": []}
    facts |= {"file_sha256": None}
    assert pair["prompts"] == facts
    assert "Prompted for 4 excerpts, from ready-made records: text of the" in terminal
    assert "Asks not to quote" not in terminal
