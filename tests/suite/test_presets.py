"""Limits under one name: whole in a pair's limits, tightened beside it, never loosened."""

import json

import pytest

from pytest_memleak.errors import SuiteError
from pytest_memleak.scoring.measure_table import PRESETS
from pytest_memleak.suite.load import load_suite

SUITE = """
[suite]
samples = 2
[limits]
preset = "strict"
[[book]]
id = "one"
source = "book.json"
[[model]]
id = "m"
provider = "recorded"
[model.options]
path = "x.json"
"""


@pytest.fixture
def loaded(tmp_path):
    record = {"excerpt_id": "p_id1", "excerpt_text": "a b c d e f"}
    record["instruction_template"] = "Write."
    (tmp_path / "book.json").write_text(json.dumps([record]))

    def load(*replacements):
        text = SUITE
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "x.memleak.toml"
        path.write_text(text)
        return load_suite(path)

    return load


@pytest.mark.parametrize("name", PRESETS)
def test_its_values_are_the_pairs_limits(loaded, name):
    continued = ("samples = 2", 'samples = 2\nprobe = "continuation"')
    (pair,) = loaded(("strict", name), continued).pairs
    assert pair.limits == PRESETS[name]
    assert pair.detection_limit is None
    assert set(pair.limit_origins.values()) == {"limits.preset"}


def test_greedy_limits_hold_where_greedy_generations_are_requested(loaded):
    (pair,) = loaded().pairs
    assert PRESETS["strict"].keys() - pair.limits.keys() == {"greedy_bmc", "greedy_longest_span"}


def test_strict_is_nowhere_looser_than_paper():
    strict, paper = PRESETS["strict"], PRESETS["paper"]
    assert all(strict[name] <= limit for name, limit in paper.items())


def test_keys_beside_it_tighten(loaded):
    (pair,) = loaded(('"strict"', '"strict"\nbmc = 0.05\nnv_recall = 0.01')).pairs
    assert pair.limits == {**loaded().pairs[0].limits, "bmc": 0.05, "nv_recall": 0.01}
    assert pair.limit_origins["bmc"] == "limits.bmc"


def test_probabilities_have_limits_of_their_own(loaded):
    probe = 'provider = "recorded"\nprobe = "probability"\nlimits = { extractable = 0.01 }'
    (pair,) = loaded(('provider = "recorded"', probe)).pairs
    assert pair.limits == {"extractable": 0.01}


COLLECTION = '[[collection]]\nid = "c"\nsource = "book.json"\nlimits = {{ {} }}\n[[model]]'
REFUSED = [
    ('"strict"', '"lenient"', "limits.preset: Input should be 'strict' or 'paper'"),
    ('"strict"', '"strict"\nbmc = 0.2\nspans_over = 1',
     "limits.bmc: 0.2 is looser than 0.15, limits.spans_over: 1 is looser than 0, the limit"),
    ('"strict"', '"strict"\nbmc = 0.2',
     "write bmc = 0.15 or less, or leave it out, or replace"),
    ('provider = "recorded"', 'provider = "recorded"\nlimits = { preset = "paper" }',
     "model 'm'.limits.preset: a preset applies to the whole suite"),
    ('"strict"', "3", "limits.preset"),
    ("[[model]]", COLLECTION.format("bmc = 0.5"),
     "collection 'c'.limits.bmc: 0.5 is looser than 0.15"),
    ("[[model]]", COLLECTION.format("leaking_works = 1.0"),
     "collection 'c'.limits.leaking_works: 1.0 is looser than 0.0"),
    ("samples = 2", "samples = 2\nk = 8", "suite.k: 8 is looser than 5"),
    ("samples = 2", "samples = 2\ntrim = 1", "suite.trim: 1 is looser than 5"),
    ("samples = 2", "samples = 2\nspan_threshold = 38", "suite.span_threshold: 38 is looser"),
    ("samples = 2", "samples = 2\nconfidence = 0.9", "suite.confidence: 0.9 is looser"),
    ("samples = 2", "samples = 2\nprefix_words = 4", "suite.prefix_words: 4 is looser than 50"),
    ("samples = 2", "samples = 2\nmax_unanswered = 0.9\nmax_short = 0.3",
     "suite.max_short: 0.3 is looser than 0.25, suite.max_unanswered: 0.9 is looser than 0.05"),
    ('provider = "recorded"', 'provider = "recorded"\nmin_length_ratio = 0.1',
     "model 'm'.min_length_ratio: 0.1 is looser than 0.2, the value that the preset 'strict'"),
    ('provider = "recorded"', 'provider = "recorded"\nmax_prompt_overlap = 0.2',
     "model 'm'.max_prompt_overlap: 0.2 is looser than 0.1"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), REFUSED)
def test_what_is_refused(loaded, old, new, said):
    with pytest.raises(SuiteError) as refused:
        loaded((old, new))
    assert said in str(refused.value)
