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


@pytest.fixture
def signed(pytester, suite):
    """Signed evidence of a release that passed, and another key."""
    for name in ("ours", "theirs"):
        openssl("genpkey", "-algorithm", "ed25519", "-out", f"{name}.key")
        openssl("pkey", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub")
    suite(WIDE)
    pytester.runpytest(EVIDENCE, "--memleak-signing-key=ours.key").assert_outcomes(passed=2)
    return pytester.path / "evidence.json"


def statement_in(path):
    envelope = json.loads(path.read_text(encoding="utf-8"))
    return envelope, json.loads(base64.b64decode(envelope["payload"]))


def put(path, envelope, statement):
    payload = base64.b64encode(canonical_json(statement)).decode()
    path.write_text(json.dumps(envelope | {"payload": payload}, indent=1) + "\n", encoding="utf-8")


def test_a_signature_holds_by_its_key_alone(signed, verify):  # noqa: F811
    code, told = verify("--public-key", "ours.pub", "--require-signature")
    assert code == 0
    assert "  signed by the key in ours.pub" in told
    code, told = verify("--public-key", "theirs.pub")
    assert code == 1
    assert "signature: it is not by the key in theirs.pub" in told
    code, told = verify()
    assert code == 0
    assert "Signature not verified: add --public-key" in told
    code, told = verify("--require-signature")
    assert code == 1
    assert "signature: not verified; add --public-key" in told


def test_other_tools_check_it_too(signed, pytester):
    """OpenSSL, over DSSE's encoding as its specification has it."""
    envelope, statement = statement_in(signed)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    encoded = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    (pytester.path / "encoded").write_bytes(encoded)
    (pytester.path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", "ours.pub", "-rawin", "-in", "encoded",
            "-sigfile", "sig")  # fmt: skip
    assert kind == "application/vnd.in-toto+json"
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "urn:pytest-memleak:evidence:3"
    said = {"provider": "recorded", "server": None, "endpoint": None, "served": ["clean"]}
    assert statement["subject"][0] == {
        "name": "clean",
        "digest": {"sha256": hashlib.sha256(canonical_json(said)).hexdigest()},
    }


def test_a_key_may_not_be_given_for_what_is_unsigned(pytester, signed, verify):  # noqa: F811
    _, statement = statement_in(signed)
    signed.write_text(json.dumps(statement["predicate"], indent=1) + "\n", encoding="utf-8")
    code, told = verify("--public-key", "ours.pub")
    assert code == 1
    assert "signature: there is none" in told
    code, told = verify()
    assert code == 0
    assert "Not signed: the author is unverified" in told


def test_signed_evidence_is_a_baseline(pytester, signed):
    result = pytester.runpytest("--memleak-baseline=evidence.json")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*against the baseline: bmc *(+0)"])


def test_signed_evidence_is_written_over_and_other_envelopes_are_not(pytester, signed):
    pytester.runpytest(EVIDENCE, "--memleak-signing-key=ours.key").assert_outcomes(passed=2)
    envelope, statement = statement_in(signed)
    put(signed, envelope, statement | {"predicate": {"buildType": "another"}})
    result = pytester.runpytest(EVIDENCE, "--memleak-signing-key=ours.key")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("change", "code"),
    [
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
    ],
)
def test_whatever_is_changed_is_told(signed, verify, change, code):  # noqa: F811
    envelope, statement = statement_in(signed)
    change(envelope, statement)
    put(signed, envelope, statement)
    assert verify("--public-key", "ours.pub")[0] == code


def test_subjects_are_checked_without_a_key_too(signed, verify):  # noqa: F811
    envelope, statement = statement_in(signed)
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    put(signed, envelope, statement)
    code, told = verify()
    assert code == 1
    assert "subject: doesn't match the bundle's pairs" in told


@pytest.fixture
def clock(pytester, signed):
    """Time stamps by an authority of one's own."""
    (pytester.path / "ts.cnf").write_text(AUTHORITY, encoding="utf-8")
    (pytester.path / "serial").write_text("01\n", encoding="utf-8")
    new = ("-config", "ts.cnf", "-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *new, "-extensions", "root", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=root")  # fmt: skip
    openssl("req", "-new", *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=clock")
    openssl("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "tsa.pem", "-extfile", "ts.cnf",
            "-extensions", "stamp")  # fmt: skip
    openssl("req", "-x509", *new, "-extensions", "root", "-keyout", "x.key", "-out", "x.pem",
            "-subj", "/CN=other")  # fmt: skip

    def stamp(file):
        openssl("ts", "-query", "-data", file, "-sha256", "-cert", "-out", "it.tsq")
        openssl("ts", "-reply", "-config", "ts.cnf", "-section", "clock", "-queryfile", "it.tsq",
                "-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "it.tsr")  # fmt: skip

    return stamp


def test_a_time_stamp(pytester, clock, signed, verify):  # noqa: F811
    clock("evidence.json")
    anchor = ("--timestamp", "it.tsr", "--timestamp-roots")
    code, told = verify(*anchor, "ca.pem")
    assert code == 0
    assert "  existed by 20" in told
    code, told = verify(*anchor, "x.pem")
    assert code == 1
    assert "time stamp: the trusted certificates don't confirm it" in told
    clock("ts.cnf")
    code, told = verify(*anchor, "ca.pem")
    assert code == 1
    assert "time stamp: it belongs to another file" in told


def test_made_after_it_was_stamped(pytester, clock, signed, verify):  # noqa: F811
    _, statement = statement_in(signed)
    made = statement["predicate"] | {"created": "2999-01-01T00:00:00+00:00"}
    signed.write_text(json.dumps(made | seal_bundle(made), indent=1) + "\n", encoding="utf-8")
    clock("evidence.json")
    code, told = verify("--timestamp", "it.tsr", "--timestamp-roots", "ca.pem")
    assert code == 1
    assert "created: the bundle says 2999-01-01T00:00:00+00:00, after it was stamped" in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--timestamp", "evidence.json"),
            "--timestamp and --timestamp-roots need each other",
        ),
        (
            ("--timestamp", "evidence.json", "--timestamp-roots", "ours.pub"),
            "not a response of a time stamp authority (RFC 3161)",
        ),
    ],
)
def test_what_is_no_time_stamp(signed, verify, options, said):  # noqa: F811
    code, told = verify(*options)
    assert code == 2
    assert said in told
