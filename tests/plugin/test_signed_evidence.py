"""Signatures and time stamps: an in-toto Statement in a DSSE envelope, anchored by RFC 3161."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from evidence_files import EVIDENCE, WIDE
from signing_keys import make_keys, openssl

from pytest_memleak.cli.main import main
from pytest_memleak.results.evidence_file import canonical_json, seal_bundle

# Before pytester runs: it forgets what was imported since.
pytest.importorskip("securesystemslib.dsse")
pytest.importorskip("securesystemslib.signer")
pytest.importorskip("in_toto_attestation.v1.statement")
pytest.importorskip("rfc3161_client")

from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey


@pytest.fixture
def signed(pytester, suite, _bundles):
    """Signed evidence of a release that passed, and another key; made once."""
    if not (signed_files := _bundles.setdefault("signed", {})):
        make_keys()
        suite(WIDE)
        pytester.runpytest(EVIDENCE, "--memleak-signing-key=ours.key").assert_outcomes(
            passed=2
        )
        files = (path for path in pytester.path.iterdir() if path.is_file())
        signed_files.update({path.name: path.read_bytes() for path in files})
    for name, content in signed_files.items():
        Path(name).write_bytes(content)
    return pytester.path / "evidence.json"


def statement_in(path):
    envelope = json.loads(path.read_text(encoding="utf-8"))
    return envelope, json.loads(base64.b64decode(envelope["payload"]))


def put(path, envelope, statement):
    payload = base64.b64encode(canonical_json(statement)).decode()
    dump(path, envelope | {"payload": payload})


def dump(path, content):
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


KEY, THEIRS = ("--public-key", "ours.pub"), ("--public-key", "theirs.pub")
REQUIRED = "--require-signature"
CHANGES = (
    (lambda e, s: s["predicate"].update(release="other"), 1),
    (lambda e, s: s["subject"].clear(), 1),
    (lambda e, s: s.update(predicateType="urn:other"), 2),
    (lambda e, s: e.update(payloadType="text/plain"), 2),
    (lambda e, s: e["signatures"].clear(), 1),
    (lambda e, s: e["signatures"].append({}), 2),
    (lambda e, s: e["signatures"][0].update(sig="AAAA"), 1),
    (lambda e, s: e["signatures"][0].update(sig=1), 2),
    (lambda e, s: e.update(signatures=None), 2),
)


def test_a_signature_holds_by_its_key_alone(signed, check):
    check(
        ((*KEY, REQUIRED), 0, "  signed by the key in ours.pub"),
        (THEIRS, 1, "signature: none matches the key in theirs.pub"),
        ((), 0, "Signature not verified: add --public-key"),
        ((REQUIRED,), 1, "signature: not verified; add --public-key"),
    )


@pytest.mark.parametrize(("change", "code"), CHANGES)
def test_a_changed_envelope_holds_no_more(signed, verify, change, code):
    envelope, statement = statement_in(signed)
    change(envelope, statement)
    put(signed, envelope, statement)
    assert verify(*KEY)[0] == code


def test_a_changed_subject_is_detected_without_a_key(signed, check):
    envelope, statement = statement_in(signed)
    statement["subject"][0]["digest"]["modelNames"] = "0" * 64
    put(signed, envelope, statement)
    check(((), 1, "subject: doesn't match the bundle's pairs"))


def test_unsigned_evidence_accepts_no_key(signed, check):
    _, statement = statement_in(signed)
    dump(signed, statement["predicate"])
    check(
        (KEY, 1, "signature: missing"), ((), 0, "Not signed: the author is unverified")
    )


def test_openssl_verifies_the_signature(signed, pytester):
    """OpenSSL, over DSSE's encoding as its specification has it."""
    envelope, statement = statement_in(signed)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    encoded = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    (pytester.path / "encoded").write_bytes(encoded)
    (pytester.path / "sig").write_bytes(
        base64.b64decode(envelope["signatures"][0]["sig"])
    )
    openssl("pkeyutl -verify -pubin -inkey ours.pub -rawin -in encoded -sigfile sig")
    assert kind == "application/vnd.in-toto+json"
    assert statement["predicateType"] == "urn:pytest-memleak:evidence:3"
    names = {
        "provider": "recorded",
        "server": None,
        "endpoint": None,
        "served": ["clean"],
    }
    digest = {"modelNames": hashlib.sha256(canonical_json(names)).hexdigest()}
    assert statement["subject"][0] == {"name": "clean", "digest": digest}


def read_as_strangers(path):
    """The statement in a file, as securesystemslib and in-toto verify and read it."""
    from in_toto_attestation.v1.statement import Statement

    key = SSlibKey.from_crypto(load_pem_public_key(Path("ours.pub").read_bytes()))
    envelope = Envelope.from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert envelope.verify([key], 1)
    proto = json_format.Parse(envelope.payload, statement_pb2.Statement())
    Statement.copy_from_pb(proto).validate()
    return json.loads(envelope.payload)


def test_securesystemslib_and_in_toto_read_bundle_and_test_result(signed):
    from in_toto_attestation.predicates.test_result.v0 import test_result_pb2

    bundle = read_as_strangers(signed)
    result = read_as_strangers(signed.with_name("evidence.test-result.json"))
    assert result["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert result["subject"] == bundle["subject"]
    predicate = json_format.ParseDict(result["predicate"], test_result_pb2.TestResult())
    assert predicate.result == "PASSED"
    passed = [f"test.memleak.toml::{model}/ferry" for model in ("clean", "leaky")]
    assert [*predicate.passed_tests] == passed
    digests = {entry.name: entry.digest["sha256"] for entry in predicate.configuration}
    files = [Path(name) for name in ("test.memleak.toml", "evidence.json")]
    assert digests == {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def test_a_test_result_lists_pairs_that_are_no_pass_as_failed(pytester, suite):
    make_keys()
    suite()
    pytester.runpytest(EVIDENCE, "--memleak-signing-key=ours.key", "-k", "leaky")
    _, statement = statement_in(pytester.path / "evidence.test-result.json")
    assert statement["predicate"]["result"] == "FAILED"
    assert statement["predicate"]["passedTests"] == []
    failed = [name.rpartition("/")[0] for name in statement["predicate"]["failedTests"]]
    assert failed == [
        "test.memleak.toml::clean",
        "test.memleak.toml::leaky",
    ]  # the first: not run


def test_a_test_result_of_an_earlier_run_is_removed(signed, gate):
    gate(EVIDENCE, passed=2)
    assert not signed.with_name("evidence.test-result.json").exists()


def test_a_test_result_replaces_no_other_file(signed, gate):
    result_file = signed.with_name("evidence.test-result.json")
    result_file.write_text("my notes", encoding="utf-8")
    result = gate(EVIDENCE, "--memleak-signing-key=ours.key")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result_file.read_text(encoding="utf-8") == "my notes"


def co_sign(envelope):
    """Add the signature of another key, before ours."""
    dsse = Envelope.from_dict(json.loads(json.dumps(envelope)))
    theirs = load_pem_private_key(Path("theirs.key").read_bytes(), password=None)
    signature = base64.b64encode(theirs.sign(dsse.pae())).decode()
    envelope["signatures"].insert(0, {"keyid": "notary", "sig": signature})


def use_url_safe_base64(envelope):
    for table, key in ((envelope, "payload"), (envelope["signatures"][0], "sig")):
        table[key] = table[key].replace("+", "-").replace("/", "_")


REWRITES = (
    co_sign,
    use_url_safe_base64,
    lambda envelope: envelope["signatures"][0].update(keyid="SHA256:release"),
    lambda envelope: envelope["signatures"][0].pop("keyid"),
    lambda envelope: envelope.update(note="filed on Monday"),
)


def test_any_valid_envelope_is_accepted(signed, check):
    honest = signed.read_bytes()
    for rewrite in REWRITES:
        for indent in (None, 4):
            signed.write_bytes(honest)
            envelope, _ = statement_in(signed)
            rewrite(envelope)
            signed.write_text(json.dumps(envelope, indent=indent), encoding="utf-8")
            check(((*KEY, REQUIRED), 0, "  signed by the key in ours.pub"))


CLAIM = "The bundle claims PASS (2 PASS)"
ATTESTED = f"signature valid; nothing was recomputed. {CLAIM} level: attested the "
OUR_KEY, THE_SUITE = (
    ("--public-key", "../ours.pub"),
    ("--suite", "../test.memleak.toml"),
)


@pytest.fixture
def receive(signed, capsys, monkeypatch, pytester):
    """Checks what `memleak verify` says in another folder, from which all files are out of reach.

    Without --suite: it has the bundle and the key alone.
    """
    monkeypatch.chdir(pytester.mkdir("elsewhere"))

    def check(*options, code, messages):
        capsys.readouterr()
        assert main(["verify", str(signed), "--folder", "..", *options]) == code
        text = " ".join(capsys.readouterr().out.split())
        assert all(message in text for message in messages), text

    return check


def test_a_signature_is_verified_with_bundle_and_key_alone(receive):
    missing = [ATTESTED, "missing: the suite: no file", "path with --suite"]
    receive(*OUR_KEY, code=3, messages=missing)
    other_release = (*OUR_KEY, REQUIRED, "--release", "other")
    receive(*other_release, code=1, messages=["VERIFICATION FAILED"])


def test_a_signature_is_verified_without_the_book(receive):
    Path("../ferry.json").rename("ferry.json")
    missing = [ATTESTED, "missing: ", "no such file: 'ferry.json'"]
    receive(*OUR_KEY, *THE_SUITE, code=3, messages=missing)


def test_signed_evidence_is_recomputed_with_its_files(receive):
    content = Path("../test.memleak.toml").read_bytes()
    announced = hashlib.sha256(content).hexdigest()
    recomputed = "PASS (2 PASS) level: attested, recomputed"
    not_ours = "VERIFICATION FAILED: the bundle claims PASS (2 PASS) level: none "
    for options, code, messages in (
        (OUR_KEY, 0, [recomputed, "verified: signed by the key"]),
        (("--public-key", "../theirs.pub"), 1, [not_ours, "wrong: "]),
        ((*OUR_KEY, "--not-before", "2999-01-01"), 1, ["before 2999-01-01"]),
        ((*OUR_KEY, "--suite-sha256", announced), 0, [f"{recomputed}, current "]),
    ):
        receive(*options, *THE_SUITE, code=code, messages=messages)


def test_signed_evidence_is_a_baseline(signed, gate):
    lines = ["*since the baseline: bmc *(+0)"]
    gate("--memleak-baseline=evidence.json", lines=lines, passed=2)


def test_signed_evidence_replaces_its_own_kind_alone(signed, gate):
    gate(EVIDENCE, "--memleak-signing-key=ours.key", passed=2)
    envelope, statement = statement_in(signed)
    put(signed, envelope, statement | {"predicate": {"buildType": "another"}})
    result = gate(EVIDENCE, "--memleak-signing-key=ours.key")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.fixture
def clock(signed, authority):
    """Time stamps by an authority of one's own, which an intermediate one certified."""
    for path in authority.iterdir():
        Path(path.name).write_bytes(path.read_bytes())

    def stamp(file, chain=("middle", "ca"), *, certified=True):
        concatenate("chain.pem", chain)
        certificates = "-cert" if certified else ""
        openssl(f"ts -query -data {file} -sha256 {certificates} -out it.tsq")
        by_tsa = "-signer tsa.pem -inkey tsa.key -chain chain.pem"
        reply = "-config ts.cnf -section clock -queryfile it.tsq -out it.tsr"
        openssl(f"ts -reply {reply} {by_tsa}")

    return stamp


def concatenate(path, names):
    Path(path).write_text("".join(Path(f"{name}.pem").read_text() for name in names))


# Certificates in a time stamp, whether it has any, and those that are trusted.
CHAINS = (
    (("middle", "ca"), True, ("ca",)),
    (("ca", "middle"), True, ("ca",)),
    (("x", "middle", "ca"), True, ("x", "ca")),
    (("middle",), True, ("ca", "ca", "middle")),
    ((), False, ("ca", "middle", "tsa")),
)


STAMP = ("--timestamp", "it.tsr", "--timestamp-roots")


def test_a_time_stamp_says_since_when_evidence_exists(clock, check):
    for chain, certified, roots in CHAINS:
        clock("evidence.json", chain, certified=certified)
        concatenate("roots.pem", roots)
        trusted = "-CAfile roots.pem -untrusted roots.pem"
        openssl(f"ts -verify -queryfile it.tsq -in it.tsr {trusted}")
        check(((*STAMP, "roots.pem"), 0, "  existed by 20"))


def test_a_time_stamp_needs_trusted_certificates(clock, check):
    clock("evidence.json")
    none = ("--timestamp", "evidence.json")
    untrusted = "time stamp: the trusted certificates don't confirm it"
    together = "--timestamp and --timestamp-roots must be used together"
    no_stamp = "not a response of a time stamp authority (RFC 3161)"
    check(
        ((*STAMP, "ca.pem"), 0, "  existed by 20"),
        ((*STAMP, "x.pem"), 1, untrusted),
        (none, 2, together),
        ((*none, "--timestamp-roots", "ours.pub"), 2, no_stamp),
    )


def test_a_time_stamp_of_another_file_is_wrong(clock, check):
    clock("ts.cnf")
    message = "time stamp: it was made for a different file"
    check(((*STAMP, "ca.pem"), 1, message))


def test_evidence_created_after_its_time_stamp_is_wrong(clock, signed, check):
    _, statement = statement_in(signed)
    bundle = statement["predicate"] | {"created": "2999-01-01T00:00:00+00:00"}
    dump(signed, bundle | seal_bundle(bundle))
    clock("evidence.json")
    after = "created: the bundle says 2999-01-01T00:00:00+00:00, which is after its time stamp"
    check(((*STAMP, "ca.pem"), 1, after))
