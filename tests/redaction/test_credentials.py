import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.redaction.credentials import masked, without_credentials

KEYS = [
    "sk-proj-abcDEF0123456789", "sk-ant-api03-abcDEF0123456789", "tml-abcdefghijkl0123",
    "Basic c3ZjOmh1bnRlcjIyMjI=", "ya29.a0AfH6SMBx-example_token", "hf_abcdefghijklmnop",
    "AIzaSyD-0123456789abcdefghij", "ghp_0123456789abcdefABCD", "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\ndef\n-----END RSA PRIVATE KEY-----",
]  # fmt: skip


MASKED = {
    **{
        f"401: the key {key} was refused": "401: the key [masked] was refused"
        for key in KEYS
    },
    "Authorization: Bearer abcd1234": "Authorization: Bearer [masked]",
    "sent api_key=abcd1234&n=2": "sent api_key=[masked]&n=2",
    '{"token": "abcd1234", "n": 2}': '{"token": "[masked]", "n": 2}',
    "https://user:hunter22@host/x": "https://user:[masked]@host/x",
    "GET http://svc:pass@word@host/v1": "GET http://svc:[masked]@host/v1",
    "OPENAI_API_KEY: abcd1234": "OPENAI_API_KEY: [masked]",
}
PLAIN = (
    "429 Too Many Requests - 200 tokens per minute",
    "no response within 600 s",
    "max_tokens: 5 is too few; the token limit is 4096",
    "ask-me-anything is no model",
    "basic training failed",
    "Basic Authentication is needed",
    "no http://localhost:8000/v1 here",
)


@pytest.mark.parametrize("message", [*MASKED, *PLAIN])
def test_keys_are_masked_and_plain_words_stay(message):
    assert masked(message) == MASKED.get(message, message)


def test_secrets_of_the_environment_are_masked(monkeypatch):
    monkeypatch.setenv("SOME_SERVICE_KEY", "open sesame")
    monkeypatch.setenv("PAGER", "less and less")
    assert (
        masked("it said open sesame, less and less")
        == "it said [masked], less and less"
    )


@pytest.mark.parametrize(("url", "plain"), [
    ("http://svc:password@host/v1", "http://host/v1"),
    ("http://svc:pass@word@host:8000/v1", "http://host:8000/v1"),
    ("http://svc:pa/ss@host/v1", "http://host/v1"),
    ("https://token@host", "https://host"),
    ("http://localhost:8000/v1", "http://localhost:8000/v1"),
    ("http://localhost:8000/v1/@me", "http://localhost:8000/v1/@me"),
    ("https://host/a@b?c=d@e#f", "https://host/a@b"),
    ("https://host/v1?key=secret", "https://host/v1"),
    ("http://svc:pa?ss#word@host/v1?key=secret", "http://host/v1"),
    ("postgresql+psycopg://me:secret@db/x", "postgresql+psycopg://db/x"),
    ("", ""),
    ("no url", "no url"),
])  # fmt: skip
def test_urls_come_without_credentials(url, plain):
    assert without_credentials(url) == plain


HOSTILE = [
    "a-", "api_key-", "token ", "://", "://a:", "eyJ", "eyJ-", "-----BEGIN", "sk-", "bearer ",
    "AKIA", "-----BEGIN PRIVATE KEY", "token=", "://@", "key:", "  ", "authorization: basic ",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_masking_takes_linear_time(part):
    """Four times as long as what took 30 s: whatever is quadratic would take minutes."""
    many = part * (160_000 // len(part))
    masked(many, limit=len(many))
    assert len(masked(many)) <= 300


def test_half_a_secret_at_the_cut_is_not_shown(monkeypatch):
    monkeypatch.setenv("SOME_SERVICE_KEY", "open sesame and more")
    long = "sk-" + "a" * 8_470
    for secret in ("open sesame and more", "tml-abcdefghijkl0123"):
        for before in range(30):
            shown = masked(f"{long} {'x' * before} {secret} {'y ' * 9_000}")
            assert not any(secret[:size] in shown for size in range(5, len(secret)))


def test_a_masked_message_is_one_line_of_bounded_length():
    message = masked("first\nsecond\x1b[31m\x00 " + "x" * 1000, limit=40)
    assert message.startswith("first second [31m x")
    assert len(message) == 40
    assert message.endswith("…")


@given(st.text(), st.sampled_from(KEYS), st.text())
def test_a_key_is_masked_in_any_surroundings(before, key, after):
    secret = key.splitlines()[0]
    assert secret not in masked(f"{before} {key} {after}", limit=10_000)
