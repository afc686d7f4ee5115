"""The table of log formats: which keys tell a row's format, and where its parts are."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple

from pytest_memleak.formats.trace_rows import WRITERS, Calls

Path = Sequence[str]


class LogFormat(NamedTuple):
    """A format of rows.

    keys:    the keys that tell it
    row_id:  the path of a row's id
    prompt:  the path of the prompt outside messages
    texts:   the path of the model's texts outside messages
    dataset: keys of what the writer took from its dataset
    calls:   returns a row's calls, each with a request and a response, which are read
             in its place
    """

    keys: AbstractSet[str]
    row_id: Path = ("id",)
    prompt: Path = ("prompt",)
    texts: Path = ("completion",)
    dataset: AbstractSet[str] = frozenset()
    calls: Calls | None = None


LISTS_OF_MESSAGES = {"messages", "contents", "choices", "candidates"}
PAPER_FORMATS = (
    LogFormat({"excerpt_id", "generations"}),
    LogFormat({"excerpt_id", "generated_text"}),
)
LOG_FORMATS = (
    # inspect_ai
    LogFormat(
        keys={"messages", "output", "epoch"},
        prompt=("input",),
        dataset={"target", "choices", "metadata"},
    ),
    # lm-evaluation-harness
    LogFormat(
        keys={"doc", "resps"},
        row_id=("doc", "excerpt_id"),
        prompt=("arguments",),
        texts=("resps",),
        dataset={"doc", "target"},
    ),
    # promptfoo
    LogFormat(
        keys={"prompt", "response", "provider"},
        row_id=("vars", "excerpt_id"),
        prompt=("prompt", "raw"),
        texts=("response",),
        dataset={"prompt", "vars", "testCase", "gradingResult"},
    ),
    # batches of OpenAI and of Gemini
    LogFormat({"custom_id", "response"}, row_id=("custom_id",)),
    LogFormat({"request", "response"}, row_id=("key",)),
    # OpenAI's Responses
    LogFormat({"object", "output"}),
    # Anthropic's messages, and traces of Langfuse, LangSmith, and OpenTelemetry
    *(LogFormat(keys, calls=calls) for keys, calls in WRITERS),
    # requests and responses of chats, and training sets
    *(LogFormat({key}) for key in sorted(LISTS_OF_MESSAGES)),
    LogFormat({"prompt", "completion"}),
)
CALL_FORMAT = LogFormat({"request", "response"})
_FORMATS = (*PAPER_FORMATS, *LOG_FORMATS)


@lru_cache(1 << 6)  # the rows of a file have the same keys
def format_of(keys: frozenset[str]) -> LogFormat | None:
    """Return the first format whose keys a row has; None for no known format."""
    for row_format in _FORMATS:
        if row_format.keys <= keys:
            return row_format
    return None
