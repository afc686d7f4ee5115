"""Ways to tamper with evidence by chance: each is noticed or rejected, with a sentence on it."""

import json
import random
from pathlib import Path

import pytest
from test_evidence import changed, holder, leaves
from test_signed_evidence import dump
from test_verify import WIDE

from pytest_memleak.cli.main import main
from pytest_memleak.results.evidence_file import seal_bundle

BUNDLE, BOOK, SUITE = map(Path, ("evidence.json", "ferry.json", "test.memleak.toml"))
# Nothing that is kept tells these: only a signature holds them.
TAKEN_AS_SAID = {"release", "selection", "program", "platform", "limitations", "created", "tests"}
TAKEN_AS_SAID |= {"path", "stopped_early", "calls_this_run", "sha256"}


@pytest.fixture
def release(pytester, suite, bundle_of):
    """Evidence of a release that passed, and what it is of."""
    suite(WIDE)
    bundle_of(BUNDLE.name, "--memleak-release=2.1", passed=2)
    return {path.name: path.read_bytes() for path in pytester.path.iterdir() if path.is_file()}


def change_a_field(bundle, chosen, *, taken_as_said=TAKEN_AS_SAID):
    path = chosen.choice([path for path in leaves(bundle) if not taken_as_said & {*path}])
    parent = holder(bundle, path)
    parent[path[-1]] = changed(parent[path[-1]], chosen)


def take_out_a_field(bundle, chosen):
    path = chosen.choice([path for path in leaves(bundle) if not TAKEN_AS_SAID & {*path}])
    del holder(bundle, path)[path[-1]]


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def sealed_again(change):
    """Change the bundle, and make its digest anew, as who has the program can."""

    def tamper(chosen):
        bundle = load(BUNDLE)
        change(bundle, chosen)
        dump(BUNDLE, bundle | seal_bundle(bundle))

    return tamper


def field(chosen):
    bundle = load(BUNDLE)
    change_a_field(bundle, chosen, taken_as_said=set())
    dump(BUNDLE, bundle)


def byte(chosen):
    data = bytearray(BUNDLE.read_bytes())
    data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(7)
    BUNDLE.write_bytes(data)


def cut_short(chosen):
    data = BUNDLE.read_bytes()
    BUNDLE.write_bytes(data[: chosen.randrange(len(data))])


def book(chosen):
    records = load(BOOK)
    record = chosen.choice(records)
    words = record["excerpt_text"].split()
    at = chosen.randrange(len(words))
    words[at : at + 1] = chosen.choice(([], ["lamps"], [words[at], words[at]]))
    record["excerpt_text"] = " ".join(words)
    dump(BOOK, records)


def generation(chosen):
    path = Path(chosen.choice(("clean.json", "leaky.json")))
    records = load(path)
    answer = chosen.choice(chosen.choice(records)["generations"])
    answer["generated_text"] = chosen.choice(
        ("", f"{answer['generated_text']} at all", "Rain fell.")
    )
    dump(path, records)


def suite_s_file(chosen):
    text = SUITE.read_text(encoding="utf-8")
    old, new = chosen.choice(
        (
            ("longest_block = 30", f"longest_block = {chosen.randint(101, 999)}"),
            ("samples = 3", "samples = 2"),
            ("[suite]", f"# {chosen.random()}\n[suite]"),
            ('id = "leaky"', 'id = "leaky"\nexpected = "leak"'),
            (text, ""),
            (text[text.rindex("[[model]]") :], ""),
        )
    )
    SUITE.write_text(text.replace(old, new), encoding="utf-8")


TAMPERS = {
    "field": field,
    "field, sealed again": sealed_again(change_a_field),
    "field gone, sealed again": sealed_again(take_out_a_field),
    "byte": byte,
    "cut short": cut_short,
    "doubled": sealed_again(
        lambda bundle, chosen: bundle["pairs"].append(chosen.choice(bundle["pairs"]))
    ),
    "book": book,
    "book's file": lambda chosen: BOOK.write_text(BOOK.read_text() + " " * chosen.randint(1, 9)),
    "book taken away": lambda chosen: BOOK.write_text(chosen.choice(("", "[]"))),
    "generation": generation,
    "suite's file": suite_s_file,
}


@pytest.mark.full
@pytest.mark.parametrize("kind", TAMPERS)
def test_whatever_is_tampered_with_is_noticed(release, kind, capsys):
    for seed in range(15):
        TAMPERS[kind](random.Random(seed))
        capsys.readouterr()
        code = main(["verify", BUNDLE.name])
        out, err = capsys.readouterr()
        where = f"{kind}, seed {seed}"
        assert code in (1, 2), where
        wrong = out.partition("wrong:\n")[2].partition("checked:\n")[0]
        no_pass = out.startswith("evidence.json: INCONCLUSIVE (no pair)")
        assert (code == 2 and len(err.split()) >= 4) or wrong or no_pass, where
        for name, data in release.items():
            Path(name).write_bytes(data)
