"""Signatures and time stamps: an in-toto Statement in a DSSE envelope, anchored by RFC 3161."""

import base64
import hashlib
import json
import subprocess

import pytest
from test_verify import EVIDENCE, WIDE, verify  # noqa: F401 - a fixture

from pytest_memleak.results.evidence_file import canonical_json, seal_bundle

# Before pytester runs: it forgets what was imported since.
pytest.importorskip("securesystemslib.dsse")
pytest.importorskip("securesystemslib.signer")
pytest.importorskip("in_toto_attestation.v1.statement")
pytest.importorskip("rfc3161_client")

AUTHORITY = """
[tsa]
default_tsa = clock
[clock]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
ess_cert_id_alg = sha256
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[stamp]
basicConstraints = CA:FALSE
extendedKeyUsage = critical,timeStamping
"""


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_keys():
    for name in ("ours", "theirs"):
        openssl("genpkey", "-algorithm", "ed25519", "-out", f"{name}.key")
        openssl("pkey", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub")


@pytest.fixture
def signed(pytester, suite):
    """Signed evidence of a release that passed, and another key."""
    make_keys()
    suite(WIDE)
    pytester.runpytest(EVIDENCE, "--memleak-signing-key=ours.key").assert_outcomes(passed=2)
    return pytester.path / "evidence.json"


def statement_in(path):
    envelope = json.loads(path.read_text(encoding="utf-8"))
    return envelope, json.loads(base64.b64decode(envelope["payload"]))


def put(path, envelope, statement):
    payload = base64.b64encode(canonical_json(statement)).decode()
    dump(path, envelope | {"payload": payload})


def dump(path, made):
    path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


@pytest.fixture
def check(verify):  # noqa: F811
    """Checks options of `memleak verify`: its exit code, and what it says."""

    def all_of(*rows):
        for options, code, said in rows:
            ended, text = verify(*options)
            assert (ended, said in text) == (code, True), (options, text)

    return all_of


KEY, THEIRS = ("--public-key", "ours.pub"), ("--public-key", "theirs.pub")
REQUIRED = "--require-signature"
CHANGES = (
    (lambda e, s: s["predicate"].update(release="other"), 1),
    (lambda e, s: s["subject"].clear(), 1),
    (lambda e, s: s.update(predicateType="urn:other"), 2),
    (lambda e, s: e.update(payloadType="text/plain"), 2),
    (lambda e, s: e.update(more=1), 2),
    (lambda e, s: e["signatures"].clear(), 1),
    (lambda e, s: e["signatures"].append({}), 1),
    (lambda e, s: e["signatures"][0].update(note="x"), 1),
    (lambda e, s: e["signatures"][0].update(sig="AAAA"), 1),
    (lambda e, s: e["signatures"][0].update(sig=1), 1),
    (lambda e, s: e.update(signatures=None), 1),
)


def test_a_signature_holds_by_its_key_alone(signed, check, verify):  # noqa: F811
    check(
        ((*KEY, REQUIRED), 0, "  signed by the key in ours.pub"),
        (THEIRS, 1, "signature: it wasn't made with the key in theirs.pub"),
        ((), 0, "Signature not verified: add --public-key"),
        ((REQUIRED,), 1, "signature: not verified; add --public-key"),
    )
    before = signed.read_bytes()
    for number, (change, code) in enumerate(CHANGES):
        envelope, statement = statement_in(signed)
        change(envelope, statement)
        put(signed, envelope, statement)
        assert verify(*KEY)[0] == code, number
        signed.write_bytes(before)
    # Subjects are checked without a key, too.
    envelope, statement = statement_in(signed)
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    put(signed, envelope, statement)
    check(((), 1, "subject: doesn't match the bundle's pairs"))
    # A key may not be given for what is unsigned.
    dump(signed, statement["predicate"])
    check((KEY, 1, "signature: missing"), ((), 0, "Not signed: the author is unverified"))


def test_other_tools_check_it_too(signed, pytester):
    """OpenSSL, over DSSE's encoding as its specification has it."""
    envelope, statement = statement_in(signed)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    encoded = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    (pytester.path / "encoded").write_bytes(encoded)
    (pytester.path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    our_key = ("-pubin", "-inkey", "ours.pub", "-rawin")
    openssl("pkeyutl", "-verify", *our_key, "-in", "encoded", "-sigfile", "sig")
    assert kind == "application/vnd.in-toto+json"
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "urn:pytest-memleak:evidence:3"
    said = {"provider": "recorded", "server": None, "endpoint": None, "served": ["clean"]}
    digest = {"sha256": hashlib.sha256(canonical_json(said)).hexdigest()}
    assert statement["subject"][0] == {"name": "clean", "digest": digest}


def test_it_is_a_baseline_and_written_over_but_no_other_envelope_is(signed, gate):
    lines = ["*since the baseline: bmc *(+0)"]
    gate("--memleak-baseline=evidence.json", lines=lines, passed=2)
    gate(EVIDENCE, "--memleak-signing-key=ours.key", passed=2)
    envelope, statement = statement_in(signed)
    put(signed, envelope, statement | {"predicate": {"buildType": "another"}})
    result = gate(EVIDENCE, "--memleak-signing-key=ours.key")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.fixture
def clock(pytester, signed):
    """Time stamps by an authority of one's own."""
    (pytester.path / "ts.cnf").write_text(AUTHORITY, encoding="utf-8")
    (pytester.path / "serial").write_text("01\n", encoding="utf-8")
    new = ("-config", "ts.cnf", "-newkey", "rsa:2048", "-nodes")
    for key, name in (("ca", "root"), ("x", "other")):
        files = ("-keyout", f"{key}.key", "-out", f"{key}.pem")
        openssl("req", "-x509", *new, "-extensions", "root", *files, "-subj", f"/CN={name}")
    openssl("req", "-new", *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=clock")
    by_root = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    extension = ("-extfile", "ts.cnf", "-extensions", "stamp")
    openssl("x509", "-req", "-in", "tsa.csr", *by_root, "-out", "tsa.pem", *extension)

    def stamp(file):
        openssl("ts", "-query", "-data", file, "-sha256", "-cert", "-out", "it.tsq")
        by_tsa = ("-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "it.tsr")
        reply = ("-config", "ts.cnf", "-section", "clock", "-queryfile", "it.tsq")
        openssl("ts", "-reply", *reply, *by_tsa)

    return stamp


def test_a_time_stamp_says_since_when_evidence_exists(clock, signed, check):
    timed = ("--timestamp", "it.tsr", "--timestamp-roots", "ca.pem")
    none = ("--timestamp", "evidence.json")
    clock("evidence.json")
    check(
        (timed, 0, "  existed by 20"),
        ((*timed[:3], "x.pem"), 1, "time stamp: the trusted certificates don't confirm it"),
        (none, 2, "--timestamp and --timestamp-roots must be used together"),
        (
            (*none, "--timestamp-roots", "ours.pub"),
            2,
            "not a response of a time stamp authority (RFC 3161)",
        ),
    )
    clock("ts.cnf")
    check((timed, 1, "time stamp: it was made for another file"))
    # Made after its time stamp.
    _, statement = statement_in(signed)
    made = statement["predicate"] | {"created": "2999-01-01T00:00:00+00:00"}
    dump(signed, made | seal_bundle(made))
    clock("evidence.json")
    check(
        (
            timed,
            1,
            "created: the bundle says 2999-01-01T00:00:00+00:00, which is after its time stamp",
        )
    )
