"""Ways to tamper with evidence by chance: each is noticed or rejected, with a sentence on it."""

import json
import random
from pathlib import Path

import pytest
from marks import full
from test_evidence import changed, holder, leaves
from test_signed_evidence import dump, make_keys
from test_verify import WIDE

from pytest_memleak.cli.main import main
from pytest_memleak.results.evidence_file import seal_bundle

BUNDLE, SIGNED, EARLIER = (Path(f"{name}.json") for name in ("evidence", "signed", "earlier"))
BOOK, SUITE = Path("ferry.json"), Path("test.memleak.toml")
BY_OUR_KEY = ("--public-key", "ours.pub")
OF_SIGNED = (SIGNED.name, *BY_OUR_KEY)
# Nothing that is kept tells these: only a signature holds them.
TAKEN_AS_SAID = {"release", "selection", "program", "platform", "limitations", "created", "tests"}
TAKEN_AS_SAID |= {"path", "stopped_early", "calls_this_run", "sha256"}


@pytest.fixture
def release(pytester, suite):
    """Evidence of release 2.1, unsigned and signed, the signed one of 2.0, and two keys."""
    make_keys()
    suite(WIDE)
    for name, *options in (
        (EARLIER, "--memleak-release=2.0", "--memleak-signing-key=ours.key"),
        (SIGNED, "--memleak-release=2.1", "--memleak-signing-key=ours.key"),
        (BUNDLE, "--memleak-release=2.1"),
    ):
        pytester.runpytest(f"--memleak-evidence={name}", *options).assert_outcomes(passed=2)
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
    path = chosen.choice((BUNDLE, SIGNED))
    data = bytearray(path.read_bytes())
    # Of an envelope, the payload and the signature: layout and key ids may be any tool's.
    end = data.index(b'"keyid"') if path == SIGNED else len(data)
    data[chosen.randrange(data.index(b'"payload"') if path == SIGNED else 0, end)] ^= (
        1 << chosen.randrange(7)
    )
    path.write_bytes(data)
    return OF_SIGNED if path == SIGNED else None


def cut_short(chosen):
    data = BUNDLE.read_bytes()
    BUNDLE.write_bytes(data[: chosen.randrange(len(data))])


def signature_of_another_release(_):
    dump(SIGNED, load(SIGNED) | {"signatures": load(EARLIER)["signatures"]})
    return OF_SIGNED


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
    "signature of another release": signature_of_another_release,
    "book": book,
    "book's file": lambda chosen: BOOK.write_text(BOOK.read_text() + " " * chosen.randint(1, 9)),
    "book taken away": lambda chosen: BOOK.write_text(chosen.choice(("", "[]"))),
    "generation": generation,
    "suite's file": suite_s_file,
}
ALL = range(180)


@pytest.mark.full
@pytest.mark.parametrize(
    "seeds",
    [ALL[: len(TAMPERS)], full(ALL[len(TAMPERS) :])],
    ids=["one of each kind", "all the others"],
)
def test_whatever_is_tampered_with_is_noticed(release, seeds, capsys):
    def verified(arguments):
        capsys.readouterr()
        code = main(["verify", *(arguments if isinstance(arguments, tuple) else (BUNDLE.name,))])
        return code, *capsys.readouterr()

    assert verified(None)[0] == 0
    assert verified((*OF_SIGNED, "--release", "2.1"))[0] == 0
    for seed in seeds:
        kind, tamper = list(TAMPERS.items())[seed % len(TAMPERS)]
        code, out, err = verified(tamper(random.Random(seed)))
        where = f"{kind}, seed {seed}"
        assert code in (1, 2), where
        wrong = out.partition("wrong:\n")[2].partition("checked:\n")[0]
        no_pass = out.startswith("evidence.json: INCONCLUSIVE (no pair)")
        assert (code == 2 and len(err.split()) >= 4) or wrong or no_pass, where
        for name, data in release.items():
            Path(name).write_bytes(data)
