"""What stands beside a suite, and what a run of it leaves: written and read in this folder."""

import json
from pathlib import Path

from pytest_memleak.books.build_book import make_book, paper_records
from pytest_memleak.books.epub import read_epub
from pytest_memleak.scoring.words import words

STORIES = Path(__file__).parents[2] / "fixtures" / "books"


def replace_all(text, replacements):
    """The text with each replacement made, of which every one must be possible."""
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return text


def write_json(name, content):
    Path(name).write_text(json.dumps(content), encoding="utf-8")


def write_book(name, texts, instruction, **more):
    """Write excerpts, and how each is asked for: by its id."""
    rows = [
        {
            "excerpt_id": key,
            "excerpt_text": text,
            "instruction": instruction(key),
            **more,
        }
        for key, text in texts.items()
    ]
    write_json(name, rows)


def write_answers(name, answers, **more):
    """Write recorded generations: the texts of each excerpt, by its id."""
    rows = [
        {
            "excerpt_id": key,
            "generations": [{"generated_text": text, **more} for text in texts],
        }
        for key, texts in answers.items()
    ]
    write_json(name, rows)


def model_table(name, provider, options, keys=""):
    """A model's table in a suite."""
    return f'[[model]]\nid = "{name}"\nprovider = "{provider}"\n{keys}\noptions = {{ {options} }}\n'


def own_endpoint(answers, keys="pass"):
    """A module with an endpoint of a test's own, whose answers to a call are that expression."""
    return f"""
import pytest
class Own:
    {keys}
    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        return {answers}
@pytest.fixture(scope="session")
def memleak_endpoint():
    return Own()
"""


def write_suite(stories, text, *replacements):
    """Write the suite with some text replaced, and its books beside it."""
    for name, records in stories.items():
        write_json(f"{name}.json", records)
    Path("it.memleak.toml").write_text(
        replace_all(text, replacements), encoding="utf-8"
    )


def read_bundle(name="evidence.json"):
    return json.loads(Path(name).read_text(encoding="utf-8"))


def read_pair(name="evidence.json"):
    """The one pair of a bundle."""
    (pair,) = read_bundle(name)["pairs"]
    return pair


def evidence(pytester, *options, run="runpytest", **outcomes):
    """Run the suite, whose test ends so; the result, and the one pair of its evidence."""
    always = ("-m", "copyright", "--memleak-evidence=evidence.json")
    result = getattr(pytester, run)(*always, *options)
    if outcomes:
        result.assert_outcomes(**outcomes)
    return result, read_pair()


def read_story(name):
    """One of our stories, as the paper's records.

    Their instructions count folded words. The emulated base model's answers depend on
    each letter of its prompt, and tests on its answers.
    """
    summaries = STORIES / f"{name}.summaries.json"
    book = make_book(name, read_epub(STORIES / f"{name}.epub"), summaries=summaries)
    records = paper_records(book)
    for record in records:
        requested = f"Write a {record['word_count']} word"
        folded = f"Write a {len(words(record['excerpt_text'], 'paper'))} word"
        assert record["instruction"].startswith(requested)
        record["instruction"] = record["instruction"].replace(requested, folded, 1)
    return records
