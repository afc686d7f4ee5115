"""What may be repeated of a server's or a library's message: one line, no keys, no texts.

safe_message("Incorrect API key provided: sk-abc...")  ->  "Incorrect API key provided: [masked]"
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_memleak.redaction.keys import masked

__all__ = ["safe_message"]

_QUOTED_WORDS = 5


def safe_message(message: str, *, texts: Sequence[str] = ()) -> str:
    """A message in one short line, without keys; withheld where it quotes one of `texts`.

    It quotes a text that has five words in a row of it.
    """
    words = message.split()
    runs = {
        " ".join(words[start : start + _QUOTED_WORDS])
        for start in range(len(words) - _QUOTED_WORDS + 1)
    }
    if any(run in " ".join(text.split()) for text in texts for run in runs):
        return "(message withheld: it quotes what was asked)"
    return masked(message)
