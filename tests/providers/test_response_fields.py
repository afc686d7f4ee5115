"""What a server's names and words become before a report or a ledger has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.providers.response_fields import server_name


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, None),
        ("base", "base"),
        ("", ""),
        ("evil\x1b[2J\r\nname", "evil [2J name"),
        ("a\u202eb\u200bc", "a b c"),
        (7, "(int)"),
        (["base"], "(list)"),
        ("x" * 100_000, "x" * 200),
    ],
)
def test_a_server_s_name_is_kept_in_a_short_line(sent, kept):
    assert server_name(sent) == kept


@given(st.text(max_size=300))
def test_no_server_s_name_has_a_line_s_end_or_an_escape(sent):
    name = server_name(sent)
    assert name.isprintable()
    assert len(name) <= 200
    assert server_name(name) == name
