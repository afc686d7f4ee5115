"""Lines of a terminal break between words, and never within a command."""

import pytest

from pytest_memleak.reports.line_breaks import wrapped

SUITE = "a-suite-of-a-long-name.memleak.toml"


@pytest.mark.parametrize(
    "command",
    [
        f"pytest -m copyright {SUITE} --memleak-host models.example",
        f"memleak try a-book.epub --model openai/a-model -o {SUITE}",
        "pip install 'httpx>=0.28' 'openai>=2.0' 'pydantic>=2.12'",
    ],
)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_command_after_a_colon_stays_whole(command, width):
    text = f"this suite exists; to do what it says: {command}; or name another file"
    lines = wrapped(text, width, indent=2)
    assert " ".join(" ".join(lines).split()) == text
    assert [line for line in lines if command in line]
    assert all(len(line) <= width for line in lines if command not in line)


def test_a_sentence_about_a_command_breaks_between_its_words():
    text = "To see what is missing, memleak doctor shows every key that a suite needs"
    assert max(map(len, wrapped(text, 30))) <= 30
