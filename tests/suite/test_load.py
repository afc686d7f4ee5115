"""From a suite file to a Suite, and everything that is wrong with one."""

import dataclasses
import datetime
import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.errors import SuiteError
from pytest_memleak.records import Limits, Measure, Model, Sampling, Scoring
from pytest_memleak.scoring.measure_table import PRESETS
from pytest_memleak.suite.load import load_suite

MINIMAL = {
    "limits": {"longest_span": 38},
    "book": [{"id": "road", "source": "road.txt"}],
    "model": [{"id": "m", "provider": "ngram"}],
}
FULL = {
    "suite": {
        "samples": 7,
        "temperature": 0.5,
        "seed": 3,
        "k": 4,
        "trim": 3,
        "span_threshold": 9,
        "word_mode": "unicode",
        "max_unanswered": 0.1,
        "instruction_template": "Write: {summary}",
    },
    "limits": {"bmc": 0.15, "longest_block": 100, "longest_span": 38, "spans_over": 3},
    "book": [
        {
            "id": "road",
            "source": "road.txt",
            "title": "T",
            "author": "A",
            "summaries": "sum.json",
        },
        {"id": "sea", "source": "sea.txt", "role": "train"},
    ],
    "model": [
        {
            "id": "m",
            "provider": "openai",
            "base_model": "gpt",
            "baseline_model": "n",
            "price": {"input": 3.75, "output": 15.0},
            "finetune": {"books": ["sea"], "epochs": 2},
            "options": {"url": "http://x"},
            "limits": {"bmc": 0.1},
        },
        {"id": "n", "provider": "openai", "endpoint": "ft:x", "expected": "leak"},
    ],
    "pair": [
        {
            "model": "n",
            "book": "road",
            "samples": 2,
            "expected": "pass",
            "limits": {"longest_span": 20},
        },
    ],
}


def toml(value):
    """`value` as it stands in TOML, tables inline."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def document(tables):
    return "\n".join(f"{toml(name)} = {toml(value)}" for name, value in tables.items())


def changed(tables, where, value):
    """`tables` with the value at `where` replaced or added; ... takes it out."""
    first, *rest = where
    copied = tables.copy()
    if rest:
        old = copied[first] if isinstance(copied, list) else copied.get(first, {})
        copied[first] = changed(old, rest, value)
    elif value is ...:
        del copied[first]
    else:
        copied[first] = value
    return copied


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that has the books' files."""
    folder_ = tmp_path_factory.mktemp("suite")
    for name in ("road.txt", "sea.txt", "sum.json"):
        (folder_ / name).touch()
    return folder_


@pytest.fixture(scope="module")
def load(folder):
    """Loads a suite from its tables, its text or its bytes."""

    def read(content):
        path = folder / "x.memleak.toml"
        text = document(content) if isinstance(content, dict) else content
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_suite(path)

    return read


@pytest.fixture
def refused(load, folder):
    """What is said of a suite that cannot be run, without the file's name."""

    def read(content):
        with pytest.raises(SuiteError) as caught:
            load(content)
        assert re.fullmatch(rf"{folder}/x\.memleak\.toml(:\d+)?", caught.value.location)
        return str(caught.value).removeprefix(f"{caught.value.location}: ").strip()

    return read


def test_a_minimal_suite_has_the_defaults(load, folder):
    suite = load(document(MINIMAL).encode("utf-8-sig"))  # some editors write this mark
    (pair,) = suite.pairs
    assert pair.id == "m/road"
    assert (pair.sampling, pair.scoring) == (Sampling(), Scoring())
    assert (pair.limits, pair.expected) == (Limits(longest_span=38), "pass")
    assert pair.suite == suite.path == folder / "x.memleak.toml"
    assert pair.book == suite.book("road")
    assert (pair.book.source, pair.book.role) == (folder / "road.txt", "test")
    assert (pair.book.summaries, pair.book.bring_your_own) == (None, False)


def test_a_suite_has_its_file_s_name_and_digest(load):
    suite = load(FULL)
    assert suite.name == "x.memleak.toml"
    assert suite.digest == hashlib.sha256(document(FULL).encode()).hexdigest()


def test_books_to_train_on_are_in_no_pair(load):
    assert [pair.id for pair in load(FULL).pairs] == ["m/road", "n/road"]


def test_a_pair_has_the_suite_s_settings(load):
    first, _ = load(FULL).pairs
    sampling = (first.sampling.samples, first.sampling.temperature, first.sampling.seed)
    assert sampling == (7, 0.5, 3)
    assert first.answers.max_unanswered == 0.1
    assert first.scoring == Scoring(k=4, trim=3, span_threshold=9, word_mode="unicode")
    limits = {"bmc": 0.1, "longest_block": 100, "longest_span": 38, "spans_over": 3}
    assert first.limits == Limits(**limits)


def test_a_pair_has_its_book_s_facts(load, folder):
    book = load(FULL).pairs[0].book
    assert (book.title, book.author) == ("T", "A")
    assert book.instruction_template == "Write: {summary}"
    assert book.summaries == folder / "sum.json"


def test_a_pair_has_its_model_with_recipe_and_price(load):
    finetune = {"finetune_books": ("sea",), "finetune": {"epochs": 2}}
    own = {"base_model": "gpt", "baseline_model": "n", "options": {"url": "http://x"}}
    model = Model("m", "openai", **own, **finetune, price=(3.75, 15.0, 0.0))
    assert load(FULL).pairs[0].model == model


def test_a_pair_table_overrides_its_model_and_suite(load):
    first, second = load(FULL).pairs
    assert second.model.endpoint == "ft:x"
    assert second.expected == "pass"
    assert second.sampling == dataclasses.replace(first.sampling, samples=2)
    assert second.limits["longest_span"] == 20


def test_a_model_is_tested_on_all_test_books_unless_it_lists_some(load):
    books = [{"id": book, "source": "road.txt"} for book in ("a", "b")]
    models = [{"id": model, "provider": "ngram"} for model in ("m", "n")]
    tables = MINIMAL | {"book": books, "model": models}
    assert [pair.id for pair in load(tables).pairs] == ["m/a", "m/b", "n/a", "n/b"]
    listed = tables | {
        "model": [models[0] | {"tests": []}, models[1] | {"tests": ["a"]}]
    }
    assert [pair.id for pair in load(listed).pairs] == ["n/a"]


def test_a_model_s_expected_result_holds_for_its_pairs_unless_they_override_it(load):
    tables = changed(MINIMAL, ["model", 0, "expected"], "leak")
    pair = {"model": "m", "book": "road"}
    for pairs in ([], [pair]):
        assert load(tables | {"pair": pairs}).pairs[0].expected == "leak"
    assert (
        load(tables | {"pair": [pair | {"expected": "pass"}]}).pairs[0].expected
        == "pass"
    )


@pytest.mark.parametrize(
    ("general", "own", "limits"),
    [
        ({"bmc": 0.5}, {}, {"bmc": 0.5}),
        ({}, {"bmc": 0.5}, {"bmc": 0.5}),
        ({"bmc": 0, "spans_over": 0}, {"bmc": 0.0}, {"bmc": 0.0, "spans_over": 0}),
    ],
)
def test_limits_of_suite_or_model_are_enough_and_may_be_zero(
    load, general, own, limits
):
    tables = changed(MINIMAL, ["limits"], general)
    assert load(changed(tables, ["model", 0, "limits"], own)).pairs[0].limits == limits


def test_a_book_of_ones_own_may_still_be_missing(load, folder):
    book = {
        "id": "mine",
        "source": "mine.epub",
        "summaries": "s.json",
        "bring_your_own": True,
    }
    source = load(MINIMAL | {"book": [book]}).pairs[0].book
    assert (source.source, source.summaries) == (
        folder / "mine.epub",
        folder / "s.json",
    )
    assert source.bring_your_own


def test_paths_start_from_the_suites_folder_or_the_root(load, folder):
    absolute = str(folder / "road.txt")
    for written in ("road.txt", "./road.txt", f"../{folder.name}/road.txt", absolute):
        suite = load(changed(MINIMAL, ["book", 0, "source"], written))
        assert suite.books[0].source.samefile(folder / "road.txt")


@pytest.mark.parametrize(
    ("source", "names", "hidden"),
    [
        ("lib/**", ["lib/a.txt", "lib/b/c.txt"], ["lib/.f", "lib/b/.g/h"]),
        (".d/**", [".d/e.txt"], []),
        ("lib/.*", ["lib/.f"], []),
        ("?.txt", ["?.txt", "a.txt"], []),
    ],
)
def test_a_pattern_takes_what_is_below(load, folder, source, names, hidden):
    for name in (
        "lib/a.txt",
        "lib/b/c.txt",
        "lib/b/.g/h",
        ".d/e.txt",
        "lib/.f",
        "?.txt",
        "a.txt",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("A")
    tables = {"catalog": {}, "common": {}, "collection": {"id": "c"}}
    suite = load(
        MINIMAL | {name: [keys | {"source": source}] for name, keys in tables.items()}
    )
    (own,) = (book.collection.files for book in suite.books if book.collection)
    common = [book.source for book in suite.books if book.role == "common"]
    assert [*own] == [folder / name for name in names]
    assert (
        [*suite.catalog]
        == common
        == sorted(folder / name for name in (*names, *hidden))
    )


def test_a_link_that_leads_nowhere_is_an_error(load, folder):
    (folder / "link.md").symlink_to("nowhere")
    with pytest.raises(
        SuiteError, match=r"'link\.md' leads nowhere\n  restore the file"
    ):
        load(MINIMAL | {"catalog": [{"source": "*.md"}]})


REJECTED = [
    # unknown keys
    (["suit"], {}, "suit: unknown key\n  write suite instead of suit"),
    (["suite", "zzz"], 3, "suite.zzz: unknown key; known keys: *samples*"),
    (["model", 1, "limits", "bcm"], 1, "model[2] 'n'.limits.bcm: unknown key\n  write bmc *"),
    # missing ones
    (["book"], ..., "book: missing; the suite needs a book or a collection"),
    (["model"], ..., "model: missing"),
    (["book", 0, "id"], ..., "book[1].id: missing"),
    (["model", 0, "price", "output"], ..., "model[1] 'm'.price.output: missing"),
    (["model", 0, "finetune"], {}, "model[1] 'm'.finetune.books: missing"),
    (["model", 0, "finetune", "share"], 0, "*finetune.share: *greater than 0; got 0"),
    (["model", 0, "finetune", "share"], 1.5, "*finetune.share: *less than or equal to 1; got 1.5"),
    # of another type
    (["suite"], [], "suite: *; got []"),
    (["book"], {"id": "x"}, "book: *list*; got *"),
    (["suite", "samples"], "7", "suite.samples: *integer; got '7'"),
    (["suite", "samples"], datetime.date(2024, 1, 2), "suite.samples: *integer; got *2024*"),
    (["suite", "word_mode"], "ascii", "suite.word_mode: *'paper' or 'unicode'; got 'ascii'"),
    (["model", 0, "tests"], ["lake"], "model 'm'.tests: no such id: 'lake'; known ids: road, sea"),
    (["model", 0, "tests"], ["sea"], "model 'm'.tests: 'sea' has the role 'train'*"),
    (["model", 1, "tests"], [], "pair n/road: the book isn't in the model's tests"),
    # out of range
    (["suite", "samples"], 0, "suite.samples: *greater than or equal to 1; got 0"),
    (["suite", "detection_limit"], 5e-324, "*: *greater than or equal to 0.000001; got 5e-324"),
    (["suite", "temperature"], float("nan"), "suite.temperature: *; got nan"),
    (["limits", "bmc"], float("inf"), "limits.bmc: expected a finite number; got inf"),
    (["model", 0, "price", "output"], 1e308, "*.price.output: *or equal to 1000000; got 1e+308"),
    # ids and empty strings
    (["book", 0, "id"], "a/b", "book[1] 'a/b'.id: *; got 'a/b'"),
    (["model", 0, "id"], "x" * 101, "model[1] '*.id: *100 characters; got 'xxx*(103 characters)"),
    (["book", 0, "source"], "", "book[1] 'road'.source: *; got ''"),
    # a server's names, which are kept without control characters and cut
    (["model", 0, "served_names"], ["a\x1b[2J"], "*served_names*without control characters*"),
    (["model", 0, "served_names"], ["\u202eb"], "*served_names*without control characters*"),
    (["model", 0, "served_names"], ["x" * 201], "*served_names*at most 200 characters*"),
    # across the tables
    (["book", 1, "id"], "road", "book: duplicate id 'road'"),
    (["pair"], [{"model": "n", "book": "road"}] * 2, "pair: duplicate id 'n/road'"),
    (["model", 0, "baseline_model"], "o",
     "model 'm'.baseline_model: no such id: 'o'; known ids: m, n"),
    (["model", 0, "baseline_model"], "m", "model 'm'.baseline_model: a model can't be its own*"),
    (["model", 0, "finetune", "books"], ["x"], "model 'm'.finetune.books: no such id: 'x'; known*"),
    (["model", 0, "endpoint"], "ft", "model 'm' has both finetune and endpoint ('ft')*"),
    (["pair", 0, "model"], "o", "pair[1].model: no such id: 'o'; known ids: m, n"),
    (["pair", 0, "book"], "lake", "pair[1].book: no such id: 'lake'; known ids: road, sea"),
    (["pair", 0, "book"], "sea", "pair[1].book: 'sea' has the role 'train'*"),
    (["book", 0, "role"], "train", "pair[1].book: 'road' has the role 'train'*"),
    (["book", 0, "source"], "no.epub", "book 'road'.source: no such file: 'no.epub'*looked*"),
    (["book", 0, "summaries"], "no.json", "book 'road'.summaries: no such file: 'no.json'*"),
    (["model", 0, "limits", "bmc"], 0.2, "model 'm'.limits.bmc: 0.2 is looser than 0.15*"),
    (["pair", 0, "limits", "longest_span"], 39, "pair n/road.limits.longest_span: 39 is looser*"),
    # secrets
    (["model", 0, "options", "api_key"], "hunter2hunter2", "*options.api_key looks like a secret*"),
    (["model", 0, "endpoint"], "sk-abcdefgh1234567890", "*endpoint looks like a secret*"),
    # what nothing can hold
    (["suite", "seed"], 2**63, "suite.seed: the number exceeds 64 bits"),
    (["model", 0, "options", "n"], -(10**4000), "*.options.n: the number exceeds 64 bits"),
    (["book", 0, "source"], "x" * 5000, "book 'road'.source: 'xxx*(5002 characters) can't be*"),
    (["book", 0, "source"], "a\0b", "book 'road'.source: *"),
    (["catalog"], [{"source": "."}], "catalog[1].source: '.' is a folder"),
    (["catalog"], [{"source": "a/" * 3000}], "catalog[1].source: * isn't a valid file pattern: *"),
    (["common"], [{"source": "*/" * 1500}], "common[1].source: * isn't a valid file pattern: *"),
    (["collection"], [{"id": "c", "source": "./"}], "collection 'c'.source: './' is a folder"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "value", "shown"),
    REJECTED,
    ids=[".".join(map(str, row[0])) for row in REJECTED],
)
def test_an_invalid_suite_is_rejected_with_key_and_value(refused, where, value, shown):
    message = refused(changed(FULL, where, value))
    problem = ".*".join(map(re.escape, shown.split("*")))
    what_to_type = r"(\n  [^\n]*)?"
    assert re.fullmatch(problem + what_to_type, message, re.DOTALL), message
    assert "hunter2" not in message
    assert all(c.isprintable() or c == "\n" for c in message)


NO_SHARE = "pair m/road has only limits that no share can exceed (bmc = 1"
NO_PAIR = "the suite has no pair to test\n"
SHORT = "suite.k: ignores matches under {0} words, but {1} words exceed limits.{2}"
USELESS = [
    ({"limits": {}}, "pair m/road has no limits, so it can't fail\n"),
    ({"limits": {"bmc": 1.0, "nv_recall": 1.0}}, NO_SHARE),
    ({"model": [MINIMAL["model"][0] | {"tests": []}]}, NO_PAIR),
    ({"book": [MINIMAL["book"][0] | {"role": "train"}]}, NO_PAIR),
    (
        {"suite": {"k": 20}, "limits": {"longest_passage": 18}},
        SHORT.format(20, 19, "longest_passage"),
    ),
    (
        {"suite": {"k": 8, "span_threshold": 6}, "limits": {"spans_over": 0}},
        SHORT.format(8, 7, "spans_over"),
    ),
]


@pytest.mark.parametrize(("tables", "message"), USELESS)
def test_a_suite_that_could_not_fail_is_rejected(refused, tables, message):
    assert refused(MINIMAL | tables).startswith(message)


LINED = """
[suite]
samples = 3
[limits]
bmc = 0.1
[[book]]
id = "road"
source = "road.txt"
[[model]]
id = "m"
provider = "openai"
base_model = "x"
"""
MODEL_LIMITS = "[model.limits]\n"
PAIR_LIMITS = '[[pair]]\nmodel = "m"\nbook = "road"\n[pair.limits]\n'
WRONG_LIMITS = {
    # What replaces the limit in line 5, or is appended; and the line and key of the error.
    "bcm = 0.1": (5, "limits.bcm"),
    "bmc = 10": (5, "limits.bmc"),
    'bmc = "low"': (5, "limits.bmc"),
    "leaking_works = 1": (5, "limits.leaking_works"),
    "measures = { own = 1 }": (5, "limits.measures.own"),
    "bmc = 1": (5, "pair m/road"),
    "": (4, "pair m/road"),
    'preset = "strict"\nbmc = 0.5': (6, "limits.bmc"),
    f"{MODEL_LIMITS}bmc = 0.2": (14, "model 'm'.limits.bmc"),
    f'{MODEL_LIMITS}preset = "strict"': (14, "model 'm'.limits.preset"),
    f"{PAIR_LIMITS}bmc = 0.2": (17, "pair m/road.limits.bmc"),
    f"{PAIR_LIMITS}leaking_works = 1": (17, "pair m/road.limits.leaking_works"),
}


@pytest.mark.parametrize("limit", WRONG_LIMITS)
def test_an_error_about_a_limit_names_file_line_and_key(folder, limit):
    line, key = WRONG_LIMITS[limit]
    path = folder / "x.memleak.toml"
    text = LINED + limit if "[" in limit else LINED.replace("bmc = 0.1", limit)
    path.write_text(text)
    with pytest.raises(SuiteError) as error:
        load_suite(path)
    assert str(error.value).startswith(f"{path}:{line}: {key}")


def test_a_value_that_loosens_a_preset_is_named_with_its_line(folder):
    path = folder / "x.memleak.toml"
    text = LINED.replace("samples = 3", "max_short = 0.5")
    path.write_text(text.replace("bmc = 0.1", 'preset = "strict"'))
    with pytest.raises(SuiteError) as error:
        load_suite(path)
    assert error.value.location == f"{path}:3"


def test_a_limit_of_a_listed_model_is_named_with_its_line(folder):
    """Though there are more models than tables."""
    path = folder / "x.memleak.toml"
    text = LINED.replace('"x"', '["x", "y"]').replace('"m"', '"m{base_model}"')
    path.write_text(f"{text}{MODEL_LIMITS}bmc = 0.2")
    with pytest.raises(SuiteError) as error:
        load_suite(path)
    assert error.value.location == f"{path}:14"


def test_an_extension_s_share_cannot_exceed_a_limit_of_1(folder):
    path = folder / "x.memleak.toml"
    path.write_text(document(MINIMAL | {"limits": {"measures": {"own": 1.0}}}))
    brought = {"own": Measure("own", kind="share", function=lambda *_: 1.0)}
    with pytest.raises(
        SuiteError, match=r"only limits that no share can exceed \(own = 1\)"
    ):
        load_suite(path, brought)
    brought = {"own": Measure("own", kind="count", function=lambda *_: 2.0)}
    assert load_suite(path, brought).pairs[0].limits["own"] == 1.0


def test_an_error_names_all_problems_at_once(refused, folder):
    lines = refused(
        changed(changed(FULL, ["suite", "k"], 0), ["limits", "bcm"], 1)
    ).splitlines()
    places = [line.strip().split(": ")[:2] for line in lines[:-1]]
    assert places == [["line 1", "suite.k"], ["line 2", "limits.bcm"]]
    assert lines[-2].endswith("limits.bcm: unknown key; did you mean 'bmc'?")
    assert (
        lines[-1].strip()
        == f"change the value of k; memleak doctor {folder}/x.memleak.toml checks it "
        "again"
    )


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"[suite", "not TOML: "),
        (b"[suite]\nsamples = ten", "(at line 2, column 11): samples = ten"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8: byte 0x89 at 0"),
        (b'[suite]\ninstruction_template = "caf\xe9"', "not UTF-8: byte 0xe9 at 35"),
        ("[suite]".encode("utf-16"), "if this is one, save it as UTF-8"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "invalid TOML: nested too deeply"),
        (
            b"[suite]\nsamples = " + b"9" * 5000,
            "invalid TOML: a number has too many digits",
        ),
        (
            b"[suite]\nsamples = 0x" + b"f" * 5000,
            "suite.samples: the number exceeds 64 bits",
        ),
        (b"[suite]\n" + b"a." * 3000 + b"a = 1", "suite.a.a.a"),
        (b"[x]\na = " + b"[" * 60 + b"]" * 60, "x.a[1][1]"),
        (b"", "book: missing"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_a_file_that_is_no_suite_is_an_error(refused, content, shown):
    message = refused(content)
    assert shown in message
    assert len(message) < 500
    assert all(c.isprintable() or c == "\n" for c in message)


@pytest.mark.parametrize(
    "content",
    [
        "KEY = 1",
        "[KEY]",
        "[suite]\nKEY = 1",
        "[[model]]\nid = 'm'\nKEY = 1",
        "[suite]\nsamples = 'x'\n[KEY]\nKEY = 'x'",
        "KEY = 1\nKEY = 2",
        "[a]\nKEY = {}\n[a.KEY]\n[a.KEY]",
        f"KEY = {9**99}",
        'book = [{id = "road", source = "road.txt"}]\nmodel = [{id = "m", provider = '
        '"openai"}]\n'
        "[limits.measures]\nKEY = 1",
    ],
)
def test_a_hostile_key_shows_no_secret_and_no_control_character(refused, content):
    message = refused(
        content.replace("KEY", '"sk-proj-Vq3x9LmT0aZr7Bn2 \\u001b[2J\\n"')
    )
    assert "Vq3x9" not in message
    assert all(c.isprintable() or c == "\n" for c in message)


STRICT = MINIMAL | {"limits": {"preset": "strict"}}
CONTINUED = MINIMAL | {"suite": {"probe": "continuation"}}


@pytest.mark.parametrize("name", PRESETS)
def test_a_pair_has_the_limits_of_its_preset(load, name):
    (pair,) = load(CONTINUED | {"limits": {"preset": name}}).pairs
    limits = {name: it for name, it in PRESETS[name].items() if name != "extracted"}
    assert pair.limits == limits
    assert pair.detection_limit is None
    assert set(pair.limit_origins.values()) == {"limits.preset"}


def test_greedy_limits_hold_where_greedy_generations_are_requested(load):
    (pair,) = load(STRICT).pairs
    assert PRESETS["strict"].keys() - pair.limits.keys() == {
        "greedy_bmc",
        "greedy_longest_span",
        "extracted",
    }


def test_an_extraction_has_the_limits_on_passages_and_on_what_is_extracted(load):
    suite = {"suite": {"probe": "extraction", "detection_limit": 0.05}}
    (pair,) = load(STRICT | suite).pairs
    assert set(pair.limits) == {
        "longest_passage",
        "nv_longest_passage",
        "passages_over",
        "extracted",
    }
    assert (pair.sampling.samples, pair.sampling.temperature) == (1, 0.0)
    assert pair.detection_limit is None


def test_a_collection_cannot_be_extracted(load):
    suite = changed(MINIMAL, ["suite"], {"probe": "extraction"})
    with pytest.raises(SuiteError, match="an extraction asks for one book"):
        load(suite | {"limits": {"longest_passage": 9}, "collection": collection()})


def test_strict_is_nowhere_looser_than_paper():
    strict, paper = PRESETS["strict"], PRESETS["paper"]
    assert all(strict[name] <= limit for name, limit in paper.items())


def test_keys_beside_a_preset_tighten(load):
    beside = {"bmc": 0.05, "nv_recall": 0.01}
    (pair,) = load(changed(STRICT, ["limits"], {"preset": "strict", **beside})).pairs
    assert pair.limits == {**load(STRICT).pairs[0].limits, **beside}
    assert pair.limit_origins["bmc"] == "limits.bmc"
    tighter = {"suite": {"k": 4, "trim": 0, "prefix_words": 60, "max_unanswered": 0.0}}
    assert load(STRICT | tighter).pairs[0].answers.max_unanswered == 0


def collection(**limits):
    return [{"id": "c", "source": "road.txt", "limits": limits}]


@pytest.mark.parametrize(("where", "value", "message"), [
    (["limits", "preset"], "lenient", "limits.preset: Input should be 'strict' or 'paper'"),
    (["limits"], {"preset": "strict", "bmc": 0.2, "spans_over": 1},
     "limits.bmc: 0.2 is looser than 0.15, limits.spans_over: 1 is looser than 0, "
     "the more"),
    (["limits", "bmc"], 0.2, "write bmc = 0.15 or less, or leave it out, or replace"),
    (["model", 0, "limits", "preset"], "paper",
     "model 'm'.limits.preset: a preset applies to the whole suite"),
    (["collection"], collection(bmc=0.5), "collection 'c'.limits.bmc: 0.5 is looser than 0.15"),
    (["collection"], collection(leaking_works=1.0),
     "collection 'c'.limits.leaking_works: 1.0 is looser than 0.0"),
    (["suite", "k"], 8, "suite.k: 8 is looser than 5"),
    (["suite", "trim"], 1, "suite.trim: 1 is looser than 5"),
    (["suite", "span_threshold"], 38, "suite.span_threshold: 38 is looser"),
    (["suite", "confidence"], 0.9, "suite.confidence: 0.9 is looser"),
    (["suite", "prefix_words"], 4, "suite.prefix_words: 4 is looser than 50"),
    (["suite"], {"max_unanswered": 0.9, "max_short": 0.3},
     "suite.max_short: 0.3 is looser than 0.25, suite.max_unanswered: 0.9 is looser "
     "than 0.05"),
    (["model", 0, "min_length_ratio"], 0.1,
     "preset 'strict' forbids looser values: model 'm'.min_length_ratio: 0.1 is "
     "looser than 0.2"),
    (["model", 0, "max_prompt_overlap"], 0.2, "model 'm'.max_prompt_overlap: 0.2 is looser"),
])  # fmt: skip
def test_settings_that_loosen_a_preset_are_rejected(refused, where, value, message):
    assert message in refused(changed(STRICT, where, value))


WORDS = ["road", "sea", "m", "n", "all", "listed", "leak", "road.txt", "x" * 3000]
NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats()
SCALARS = (
    st.booleans() | NUMBERS | st.text(max_size=8) | st.sampled_from(WORDS) | st.dates()
)
NAMES = st.sampled_from(
    ["id", "source", "bmc", "books", "limits", "samples", "input", "expected", "role"]
) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, here=()):
    """Where there is something in the tables."""
    yield here
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[name], (*here, name))


PLACES = list(places(FULL))[1:]
NEW = [(*where, None) for where in PLACES]


@st.composite
def suites(draw):
    tables = FULL
    for where in draw(st.lists(st.sampled_from(PLACES + NEW), min_size=1, max_size=3)):
        named = [draw(NAMES) if step is None else step for step in where]
        try:
            tables = changed(tables, named, draw(VALUES))
        except (LookupError, TypeError, AttributeError):
            continue  # an earlier change took that place away
    return tables


@pytest.mark.parametrize(
    "contents",
    [
        suites(),
        st.dictionaries(st.sampled_from(list(FULL)) | NAMES, VALUES, max_size=5),
        st.binary(max_size=80) | st.text(max_size=80).map(str.encode),
    ],
    ids=["a changed suite", "any TOML", "any bytes"],
)
@given(data=st.data())
def test_arbitrary_content_loads_or_is_a_suite_error(load, folder, contents, data):
    content = data.draw(contents)
    try:
        suite, error = load(content), None
    except SuiteError as refusal:
        suite, error = None, refusal
    if error:
        assert re.fullmatch(rf"{folder}/x\.memleak\.toml(:\d+)?", error.location)
        assert error.message
        assert all(c.isprintable() or c == "\n" for c in str(error))
        return
    assert suite.pairs
    for pair in suite.pairs:
        assert pair.limits
        assert all(limit >= 0 for limit in pair.limits.values())
        assert pair.sampling.samples >= 1
