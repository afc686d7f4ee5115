"""Log-probabilities of a prompt from servers of OpenAI's dialect, in the forms of several."""

from contextlib import ExitStack

import pytest
from clients import BOOK, make_provider
from faults import Fault, FaultKind, FaultPlan
from logprob_server import LIKELY, UNLIKELY, LogprobServer, tokens_of
from reciter import Reciter

from pytest_memleak.errors import ProviderError
from pytest_memleak.providers.openai.prompt_logprobs import tokens_in_text

TEXT = "The gulls “rose” over the quay"
OTHER = "A lamp went out"


@pytest.fixture
def name():
    return "openai"


@pytest.fixture
def server(books):
    """`server(**form)`: one that knows `TEXT`, and its endpoint."""
    with ExitStack() as servers:

        def start(*faults, **form):
            form = {"known": TEXT, "plan": FaultPlan(faults), **form}
            common = {"reciter": Reciter([BOOK]), "books": books}
            served = servers.enter_context(LogprobServer(**common, **form))
            endpoint = make_provider("openai", served, api="completions").open(None)
            return served, endpoint.abilities.token_logprobs

        yield start


def starts_in(text):
    starts = [0]
    for token in tokens_of(text)[:-1]:
        starts.append(starts[-1] + len(token))
    return tuple(starts)


@pytest.mark.parametrize("gives", ["echo", "prompt_logprobs"])
def test_a_server_tells_where_tokens_begin_and_their_log_probabilities(server, gives):
    _, read = server(gives=gives)
    known, unknown = read([TEXT, OTHER])
    assert known.logprobs == (None, *[LIKELY] * 5)
    assert known.starts == starts_in(TEXT)
    assert unknown.logprobs == (None, *[UNLIKELY] * 3)
    assert unknown.starts == starts_in(OTHER)


@pytest.mark.parametrize("refuses", [False, True])
def test_after_the_first_text_only_the_way_that_worked_is_used(server, refuses):
    served, read = server(gives="prompt_logprobs", refuses=refuses)
    read([TEXT, OTHER, TEXT])
    echoes = ["echo" in body for body in served.asked]
    assert echoes == [True, False, False, False]


def sentencepiece(token):
    return "▁" + token.strip()


def first_with_a_space(token):
    return token if token.startswith(" ") else f" {token}"


@pytest.mark.parametrize("written", [sentencepiece, first_with_a_space])
@pytest.mark.parametrize("begin", [(), ("<s>",)])
@pytest.mark.parametrize("gives", ["echo", "prompt_logprobs"])
def test_begin_of_text_and_marks_of_spaces_are_no_text(server, written, begin, gives):
    _, read = server(gives=gives, written=written, begin=begin)
    (logprobs,) = read([TEXT])
    assert logprobs.starts == starts_in(TEXT)
    first = LIKELY if begin else None
    assert logprobs.logprobs == (first, *[LIKELY] * 5)


def test_parts_of_a_character_begin_where_it_does(server):
    _, read = server(written=lambda token: token.replace("“", "\ufffd"))
    (logprobs,) = read([TEXT])
    assert logprobs.starts == starts_in(TEXT)


@pytest.mark.parametrize(
    ("tokens", "starts"),
    [
        (["\ufffd", "\ufffd", "Yes", "\ufffd", "\ufffd", " and"], (0, 0, 1, 4, 4)),
        (["", "", "Yes", "", ""], (0, 0, 1, 4, 4)),
        (["“", "Yes", "”", "”"], (0, 1, 4)),
        (["“", "No"], ()),
        ([None, "Yes", "”"], (0, 1, 4)),
        ([None, "“", "Yes", "”"], (0, 1, 4)),
        (["“", "Yes"], ()),
        ([], ()),
    ],
)
def test_all_of_a_text_must_be_found_among_the_tokens(tokens, starts):
    found = tokens_in_text([(token, -1.0) for token in tokens], "“Yes”")
    assert found.starts == starts
    assert len(found.logprobs) == len(starts)


def test_a_first_token_without_a_name_may_be_written_twice():
    tokens = [(token, -1.0) for token in (None, "da", " ish")]
    assert tokens_in_text(tokens, "dada ish").starts == (0, 2, 4)
    assert tokens_in_text(tokens, "da ish").starts == (0, 2)


@pytest.mark.parametrize(
    ("refuses", "words"),
    [
        (False, "it ignores echo and ignores prompt_logprobs"),
        (
            True,
            "'echo' is not supported) and rejects prompt_logprobs (400 Bad Request",
        ),
    ],
)
def test_a_server_that_gives_none_is_an_error_that_says_so(server, refuses, words):
    served, read = server(gives="", refuses=refuses)
    with pytest.raises(ProviderError) as caught:
        read([TEXT])
    assert f"{served.base_url} gives no log-probabilities of a prompt" in str(
        caught.value
    )
    assert words in str(caught.value)
    assert 'provider = "transformers"' in str(caught.value)
    # What was ignored was answered, and may be billed.
    assert caught.value.in_doubt is not refuses


def test_a_text_that_a_filter_rejects_has_no_tokens(server):
    fault = Fault(
        FaultKind.STATUS, "completions", (0,), status=400, code="content_filter"
    )
    _, read = server(fault)
    rejected, known = read([TEXT, TEXT])
    assert rejected.starts == ()
    assert known.starts == starts_in(TEXT)


def test_a_model_of_openai_s_own_server_has_no_such_ability(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    endpoint = make_provider("openai").open(None)
    assert endpoint.abilities.token_logprobs is None
