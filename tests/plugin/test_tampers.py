"""300 ways to tamper with evidence: each is found or refused, with a sentence that says what."""

import hashlib
import json
import random
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from marks import full
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner
from test_evidence import holder, leaves
from test_signed_evidence import dump, make_keys, put, statement_in
from test_verify import WIDE

from pytest_memleak.cli.main import main
from pytest_memleak.results.evidence_file import canonical_json, seal_bundle

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


def changed(value, chosen):
    match value:
        case bool():
            return not value
        case int() | float():
            return value + chosen.choice((1, -1, 0.5))
        case None:
            return chosen.choice(("something", 0, False))
        case str():
            return chosen.choice((value + "x", value[:-1] if value else "x", None, 7))


def change_a_field(made, chosen, *, kept=False):
    """Change a field; `kept`: of those of which something that is kept tells."""
    path = chosen.choice([one for one in leaves(made) if not kept or is_kept(one)])
    held = holder(made, path)
    held[path[-1]] = changed(held[path[-1]], chosen)


def take_out_a_field(made, chosen):
    path = chosen.choice([one for one in leaves(made) if is_kept(one)])
    del holder(made, path)[path[-1]]


def is_kept(path):
    return not {*map(str, path)} & TAKEN_AS_SAID


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def sealed_again(change):
    """Change the bundle, and make its digest anew, as who has the program can."""

    def tamper(chosen):
        made = load(BUNDLE)
        change(made, chosen)
        dump(BUNDLE, made | seal_bundle(made))

    return tamper


def in_statement(change):
    """Change the signed statement behind its signature."""

    def tamper(chosen):
        envelope, statement = statement_in(SIGNED)
        change(statement, chosen)
        put(SIGNED, envelope, statement)
        return OF_SIGNED

    return tamper


def field(chosen):
    made = load(BUNDLE)
    change_a_field(made, chosen)
    dump(BUNDLE, made)


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


def empty(made, chosen):
    made.update(pairs=[], result=chosen.choice(("PASS", "INCONCLUSIVE")))


def double(made, chosen):
    made["pairs"].append(chosen.choice(made["pairs"]))


def change_and_seal(statement, chosen):
    change_a_field(statement["predicate"], chosen)
    statement["predicate"] |= seal_bundle(statement["predicate"])


def signed_again_by_another_key(chosen):
    envelope, statement = statement_in(SIGNED)
    made = statement["predicate"] | {"release": f"2.{chosen.randrange(9)}"}
    statement["predicate"] = made | seal_bundle(made)
    key = load_pem_private_key(Path("theirs.key").read_bytes(), password=None)
    dsse = Envelope(canonical_json(statement), envelope["payloadType"], {})
    dsse.sign(CryptoSigner(key))
    dump(SIGNED, dsse.to_dict())
    return OF_SIGNED


def signature(chosen):
    envelope = load(SIGNED)
    text = envelope["signatures"][0]["sig"]
    at = chosen.randrange(len(text) - 6)
    envelope["signatures"][0]["sig"] = (
        f"{text[:at]}{chosen.choice('ABCDEF') * 2}{text[at + 2 : -4]}AAA="
    )
    dump(SIGNED, envelope)
    return OF_SIGNED


def signature_of_another_release(_):
    dump(SIGNED, load(SIGNED) | {"signatures": load(EARLIER)["signatures"]})
    return OF_SIGNED


def signature_cut_off(_):
    _, statement = statement_in(SIGNED)
    dump(SIGNED, statement["predicate"])
    return OF_SIGNED


def replayed(chosen):
    expected = chosen.choice((("--release", "2.1"), ("--not-before", "2999-01-01")))
    return (EARLIER.name, *BY_OUR_KEY, *expected)


def book(chosen):
    records = load(BOOK)
    one = chosen.choice(records)
    words = one["excerpt_text"].split()
    at = chosen.randrange(len(words))
    words[at : at + 1] = chosen.choice(([], ["lamps"], [words[at], words[at]]))
    one["excerpt_text"] = " ".join(words)
    dump(BOOK, records)


def book_s_file(chosen):
    BOOK.write_text(BOOK.read_text() + " " * chosen.randint(1, 9), encoding="utf-8")


def book_taken_away(chosen):
    BOOK.write_text("" if chosen.random() < 0.5 else "[]", encoding="utf-8")


def generation(chosen):
    path = Path(chosen.choice(("clean.json", "leaky.json")))
    records = load(path)
    one = chosen.choice(chosen.choice(records)["generations"])
    one["generated_text"] = chosen.choice(("", one["generated_text"] + " at all", "Rain fell."))
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


def suite_and_bundle(chosen):
    """Both fit, and are not what was announced."""
    announced = hashlib.sha256(SUITE.read_bytes()).hexdigest()
    suite_s_file(chosen)
    made = load(BUNDLE)
    for pair in made["pairs"]:
        pair["suite"]["sha256"] = hashlib.sha256(SUITE.read_bytes()).hexdigest()
    dump(BUNDLE, made | seal_bundle(made))
    return (BUNDLE.name, "--suite-sha256", announced)


TAMPERS = {
    "field": field,
    "field, sealed again": sealed_again(partial(change_a_field, kept=True)),
    "field gone, sealed again": sealed_again(take_out_a_field),
    "byte": byte,
    "cut short": cut_short,
    "trimmed": sealed_again(lambda made, chosen: made["pairs"].pop(chosen.randrange(2))),
    "emptied": sealed_again(empty),
    "doubled": sealed_again(double),
    "signed field": in_statement(change_a_field),
    "signed field, sealed again": in_statement(change_and_seal),
    "signed again by another key": signed_again_by_another_key,
    "signature": signature,
    "signature of another release": signature_of_another_release,
    "signature cut off": signature_cut_off,
    "replayed": replayed,
    "book": book,
    "book's file": book_s_file,
    "book taken away": book_taken_away,
    "generation": generation,
    "suite's file": suite_s_file,
    "suite and bundle": suite_and_bundle,
}
ALL = range(300)


@pytest.mark.full
@pytest.mark.parametrize(
    "seeds",
    [ALL[: len(TAMPERS)], full(ALL[len(TAMPERS) :])],
    ids=["one of each kind", "all the others"],
)
def test_whatever_is_tampered_with_is_found(release, seeds, capsys):
    def verified(arguments):
        capsys.readouterr()
        code = main(["verify", *(arguments or (BUNDLE.name,))])
        said = capsys.readouterr()
        return code, said.out, said.err

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
