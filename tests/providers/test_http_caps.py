"""Answers without end, endless errors, redirects: real sockets on loopback, each client."""

import pytest
from clients import HTTP_APIS, INSTRUCTION, sample
from faults import Fault, FaultKind
from hostile import ACTS
from marks import full

from pytest_memleak.errors import ProviderBusy, ProviderError, UnusableResponse
from pytest_memleak.providers.call_errors import RequestRejected
from pytest_memleak.redaction.text import server_word_limit
from pytest_memleak.sampling.billing_doubt import in_doubt

# The SDK of Tinker leaves the connection open by which it asks for its settings.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

CHAT = {"openai": "chat", "vertex": "generate", "tinker": "sample"}
CHAT |= dict.fromkeys(HTTP_APIS, "chat")
EVERY = pytest.mark.parametrize("name", CHAT)


@pytest.fixture
def failure_of(name, serve, provider_of):
    """`failure_of(act)`: of a call, and no more, that is answered by an act of hostile.py."""

    def failure_of(act, **options):
        server = serve()
        endpoint = provider_of(server, **options).open(None)
        sample(endpoint)
        server.plan.replace([Fault(FaultKind.HOSTILE, CHAT[name], code=act)])
        with pytest.raises(ProviderError) as error:
            sample(endpoint)
        assert server.plan.calls(CHAT[name]) == 2
        return error.value

    return failure_of


@pytest.mark.parametrize(
    ("name", "act", "message"),
    [
        *(
            (name, "endless_body", "has an unexpected format")
            for name in ("openai", "vertex", *HTTP_APIS)
        ),
        ("tinker", "endless_body", "The response was longer than 16000000 bytes"),
        # Nothing packed is unpacked.
        *(
            (name, "gzip_bomb", "has an unexpected format")
            for name in ("openai", *HTTP_APIS)
        ),
    ],
)
def test_an_answer_that_never_ends_is_read_up_to_a_bound(failure_of, act, message):
    assert message in failure_of(act).cause


@pytest.mark.parametrize(
    ("name", "act"), [(name, "key_twice") for name in CHAT if name != "tinker"]
)
def test_an_answer_with_a_key_twice_is_unusable(failure_of, act):
    error = failure_of(act)
    assert isinstance(error, UnusableResponse)
    assert error.cause == "The response has an object with the same key twice"


@pytest.mark.parametrize(
    ("act", "status"), [("endless_error", 403), ("long_message", 400)]
)
@EVERY
def test_an_error_that_is_long_is_cut_off_and_keeps_its_status(failure_of, act, status):
    error = failure_of(act)
    assert isinstance(error, RequestRejected)
    assert error.status == status
    assert len(error.cause) < 1000


REDIRECTS = [
    ("redirect_elsewhere", "redirects to a different server (http://127.0.0.1:9)"),
    ("redirect_unreadable", "redirects to an invalid address"),
    ("redirect_to_a_file", "redirects to a different server (file:)"),
    ("redirect_with_password", "redirects to a different server (http://127.0.0.1:9)"),
    ("redirect_to_many_labels", "a different server (http://a.b.c.d.e.f.g.h.i.j.k … #"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "act", "message"), [
    *((name, *REDIRECTS[0]) for name in CHAT),
    *((name, *redirect) for name in ("openai", *HTTP_APIS) for redirect in REDIRECTS[1:]),
    *(full(name, *redirect) for name in ("vertex", "tinker") for redirect in REDIRECTS[1:]),
])  # fmt: skip
def test_a_redirect_to_another_host_is_told_and_not_followed(failure_of, act, message):
    """It is final: the same host by https, too, would redirect each further call."""
    error = failure_of(act)
    assert message in error.cause
    assert "set base_url to the address that answers" in error.hint
    assert not isinstance(error, ProviderBusy)
    assert not in_doubt(error)
    assert "hunter2" not in str(error)
    with server_word_limit(0):
        hidden = failure_of(act).cause
    assert "127" not in hidden
    assert "a.b" not in hidden


@EVERY
def test_a_redirect_in_a_circle_is_final_and_not_billed(name, serve, provider_of):
    server = serve()
    server.plan.replace(
        [Fault(FaultKind.HOSTILE, CHAT[name], code="redirect_for_ever")]
    )
    with pytest.raises(ProviderError, match="redirects in a circle") as error:
        sample(provider_of(server).open(None))
    assert not isinstance(error.value, ProviderBusy)
    assert not in_doubt(error.value)


@pytest.mark.parametrize("name", ["openai", "vertex", *HTTP_APIS])
def test_an_error_has_as_much_time_as_an_answer(failure_of):
    assert "no response within 0.2 s" in failure_of("slow_error", timeout=0.2).cause


@pytest.mark.parametrize("name", ["vertex", *HTTP_APIS])
def test_a_body_that_is_no_error_of_googles_is_not_quoted(failure_of, books):
    failure = str(failure_of("status_206"))
    assert not any(row["text"][:20] in failure for row in books.rows("completion"))


# What drips before a body ends by the deadline of sampling, as for every client.
DRIPPING = {"slow_headers", "slow_1xx", "endless_1xx"}


@pytest.mark.parametrize("act", sorted(ACTS.keys() - DRIPPING))
@pytest.mark.parametrize("name", HTTP_APIS)
def test_a_hostile_answer_is_completions_or_a_provider_error(
    name, serve, provider_of, act
):
    server = serve()
    endpoint = provider_of(server, timeout=0.5).open(None)
    server.plan.replace([Fault(FaultKind.HOSTILE, CHAT[name], code=act)])
    completions, failure = [], None
    try:
        completions = sample(endpoint)
    except ProviderError as error:
        failure = error
    assert completions or failure is not None
    if failure is not None:
        assert len(str(failure)) < 1000
        assert INSTRUCTION[:30] not in str(failure)
        assert failure.__context__ is None
