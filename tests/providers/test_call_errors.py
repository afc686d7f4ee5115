"""What may be repeated of somebody else's message."""

import pytest

from pytest_memleak.providers.call_errors import safe_message, stored_message
from pytest_memleak.redaction.text import server_word_limit

ASKED = "Write about the night on which the lamp went out for good."
KEYS = ["sk-abc123DEF456ghi789", "tml-abc123DEF456", "ya29.a0AfH6SMBx-example_token"]


@pytest.mark.parametrize("key", [*KEYS, "plain-looking-value"])
def test_no_key_is_left_in_it(monkeypatch, key):
    monkeypatch.setenv("MY_SERVICE_TOKEN", "plain-looking-value")
    shown = safe_message(f"no:\n {key} is not\tgood; sent was Bearer {key}, twice")
    assert shown == "no: [masked] is not good; sent was Bearer [masked], twice"


def test_a_message_is_short_since_it_could_be_of_a_book():
    of_a_book = " ".join(f"word{place}" for place in range(1000))
    assert 200 < len(safe_message(of_a_book)) <= 300
    with server_word_limit(12):
        assert safe_message(of_a_book) == " ".join(of_a_book.split()[:12]) + " …"


NUMBERS = (
    "This model's maximum context length is 2048 tokens. However, you requested 2100 "
    "tokens (100 in the messages, 2000 in the completion). Please reduce the length."
)


def test_a_servers_numbers_are_shown_unless_fewer_words_may_be():
    with server_word_limit(12):
        assert safe_message(NUMBERS) == NUMBERS
    with server_word_limit(11):
        assert safe_message(NUMBERS).endswith("length is 2048 tokens. However, you …")


def test_a_message_that_quotes_the_prompt_is_redacted():
    withheld = "(message redacted: it quotes the prompt)"
    assert (
        safe_message("refused: the night  on which\nthe lamp", texts=(ASKED,))
        == withheld
    )
    assert (
        safe_message('bad input:"The night on,which the lamp"', texts=(ASKED,))
        == withheld
    )
    assert (
        safe_message("不能回答:灯在夜里亮着", texts=("写一写灯在夜里亮着的样子",))
        == withheld
    )
    assert safe_message(f"cannot answer {ASKED}", texts=("else", ASKED)) == withheld
    few = "refused: the night on which nothing was"
    assert safe_message(few, texts=(ASKED,)) == few


def test_a_message_can_be_left_out_as_a_whole():
    with server_word_limit(0):
        assert (
            safe_message("the lamp is out") == "(message redacted: --memleak-quote 0)"
        )
        assert (
            stored_message("the lamp is out") == "(message redacted: --memleak-quote 0)"
        )
    with server_word_limit(2):
        assert stored_message("the lamp is out") == "the lamp …"
    assert (
        safe_message("the lamp is out")
        == stored_message("the lamp is out")
        == "the lamp is out"
    )


def test_a_proxys_message_about_a_timeout_is_shown():
    message = (
        "litellm.Timeout: APITimeoutError - Request timed out. Error_str: Request timed "
        "out. - timeout value=0.5, time taken=0.51 seconds Deployment Info: "
        "request_timeout: None timeout: 0.5 LiteLLM: model group 'm' failed with the "
        "error above. No fallback was attempted."
    )
    with server_word_limit(12):
        assert safe_message(message) == message
