"""300 ways to tamper with evidence: each is found or refused, with a sentence that says what."""

import base64
import hashlib
import json
import random
import subprocess
from functools import partial
from pathlib import Path

import pytest
from marks import full
from test_evidence import holder, leaves
from test_verify import WIDE

from pytest_memleak.results.evidence_file import canonical_json, seal_bundle

pytest.importorskip("securesystemslib.dsse")
pytest.importorskip("securesystemslib.signer")
pytest.importorskip("in_toto_attestation.v1.statement")

BUNDLE, SUITE, SIGNED = "evidence.json", "test.memleak.toml", "signed.json"
BY_OUR_KEY = ("--public-key", "ours.pub")
# Nothing that is kept tells these: only a signature holds them.
TAKEN_AS_SAID = {"release", "selection", "program", "platform", "limitations", "created", "tests"}
TAKEN_AS_SAID |= {"path", "stopped_early", "calls_this_run", "sha256"}


@pytest.fixture
def release(pytester, suite):
    """Evidence of release 2.1, unsigned and signed, the signed one of 2.0, and two keys."""
    for name in ("ours", "theirs"):
        for command in (
            ("genpkey", "-algorithm", "ed25519", "-out", f"{name}.key"),
            ("pkey", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub"),
        ):
            subprocess.run(["openssl", *command], check=True, capture_output=True)
    suite(WIDE)
    for name, *options in (
        ("earlier.json", "--memleak-release=2.0", "--memleak-signing-key=ours.key"),
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


def load(name):
    return json.loads(Path(name).read_text(encoding="utf-8"))


def dump(made, name=BUNDLE):
    Path(name).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def in_envelope(name=SIGNED):
    envelope = load(name)
    return envelope, json.loads(base64.b64decode(envelope["payload"]))


def put_in_envelope(envelope, statement):
    payload = base64.b64encode(canonical_json(statement)).decode()
    dump(envelope | {"payload": payload}, SIGNED)


def sealed_again(change):
    """Change the bundle, and make its digest anew, as who has the program can."""

    def tamper(chosen):
        made = load(BUNDLE)
        change(made, chosen)
        dump(made | seal_bundle(made))
        return BUNDLE

    return tamper


def field(chosen):
    made = load(BUNDLE)
    change_a_field(made, chosen)
    dump(made)
    return BUNDLE


def byte(chosen):
    name = chosen.choice((BUNDLE, SIGNED))
    data = bytearray(Path(name).read_bytes())
    data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(7)
    Path(name).write_bytes(data)
    return (name, *BY_OUR_KEY) if name == SIGNED else name


def cut_short(chosen):
    data = Path(BUNDLE).read_bytes()
    Path(BUNDLE).write_bytes(data[: chosen.randrange(len(data))])
    return BUNDLE


def empty(made, chosen):
    made.update(pairs=[], result=chosen.choice(("PASS", "INCONCLUSIVE")))


def signed_field(chosen):
    envelope, statement = in_envelope()
    change_a_field(statement, chosen)
    put_in_envelope(envelope, statement)
    return (SIGNED, *BY_OUR_KEY)


def signed_field_sealed_again(chosen):
    envelope, statement = in_envelope()
    change_a_field(statement["predicate"], chosen)
    statement["predicate"] |= seal_bundle(statement["predicate"])
    put_in_envelope(envelope, statement)
    return (SIGNED, *BY_OUR_KEY)


def signed_again_by_another_key(chosen):
    from pytest_memleak.reports.signature import sign_bundle

    _, statement = in_envelope()
    made = statement["predicate"] | {"release": f"2.{chosen.randrange(9)}"}
    dump(sign_bundle(made | seal_bundle(made), Path("theirs.key")), SIGNED)
    return (SIGNED, *BY_OUR_KEY)


def signature(chosen):
    envelope, _ = in_envelope()
    [one] = envelope["signatures"]
    key = chosen.choice(("keyid", "sig"))
    at = chosen.randrange(len(one[key]) - 2)
    one[key] = one[key][:at] + chosen.choice("ABCDEF") * 2 + one[key][at + 2 :]
    dump(envelope | {"signatures": [one | {"sig": f"{one['sig'][:-4]}AAA="}]}, SIGNED)
    return (SIGNED, *BY_OUR_KEY)


def signature_of_another_release(_):
    envelope, earlier = load(SIGNED), load("earlier.json")
    dump(envelope | {"signatures": earlier["signatures"]}, SIGNED)
    return (SIGNED, *BY_OUR_KEY)


def signature_cut_off(_):
    _, statement = in_envelope()
    dump(statement["predicate"], SIGNED)
    return (SIGNED, *BY_OUR_KEY)


def replayed(chosen):
    expected = chosen.choice((("--release", "2.1"), ("--not-before", "2999-01-01")))
    return ("earlier.json", *BY_OUR_KEY, *expected)


def book(chosen):
    records = load("ferry.json")
    one = chosen.choice(records)
    words = one["excerpt_text"].split()
    at = chosen.randrange(len(words))
    words[at : at + 1] = chosen.choice(([], ["lamps"], [words[at], words[at]]))
    one["excerpt_text"] = " ".join(words)
    Path("ferry.json").write_text(json.dumps(records), encoding="utf-8")
    return BUNDLE


def book_s_file(chosen):
    path = Path("ferry.json")
    path.write_text(path.read_text() + " " * chosen.randint(1, 9), encoding="utf-8")
    return BUNDLE


def book_taken_away(chosen):
    path = Path("ferry.json")
    path.write_text("" if chosen.random() < 0.5 else "[]", encoding="utf-8")
    return BUNDLE


def generation(chosen):
    path = Path(chosen.choice(("clean.json", "leaky.json")))
    records = load(path)
    one = chosen.choice(chosen.choice(records)["generations"])
    one["generated_text"] = chosen.choice(("", one["generated_text"] + " at all", "Rain fell."))
    path.write_text(json.dumps(records), encoding="utf-8")
    return BUNDLE


def suite_s_file(chosen):
    path = Path(SUITE)
    text = path.read_text(encoding="utf-8")
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
    path.write_text(text.replace(old, new), encoding="utf-8")
    return BUNDLE


def suite_and_bundle(chosen):
    """Both fit, and are not what was announced."""
    announced = hashlib.sha256(Path(SUITE).read_bytes()).hexdigest()
    suite_s_file(chosen)
    made = load(BUNDLE)
    for pair in made["pairs"]:
        pair["suite"]["sha256"] = hashlib.sha256(Path(SUITE).read_bytes()).hexdigest()
    dump(made | seal_bundle(made))
    return (BUNDLE, "--suite-sha256", announced)


TAMPERS = {
    "field": field,
    "field, sealed again": sealed_again(partial(change_a_field, kept=True)),
    "field gone, sealed again": sealed_again(take_out_a_field),
    "byte": byte,
    "cut short": cut_short,
    "trimmed": sealed_again(lambda made, chosen: made["pairs"].pop(chosen.randrange(2))),
    "emptied": sealed_again(empty),
    "doubled": sealed_again(
        lambda made, chosen: made["pairs"].append(chosen.choice(made["pairs"]))
    ),
    "signed field": signed_field,
    "signed field, sealed again": signed_field_sealed_again,
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
    from pytest_memleak.cli.main import main

    def verified(arguments):
        arguments = (arguments,) if isinstance(arguments, str) else arguments
        capsys.readouterr()
        code = main(["verify", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    assert verified(BUNDLE)[0] == 0
    assert verified((SIGNED, *BY_OUR_KEY, "--release", "2.1"))[0] == 0
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
