"""What a request says: words that excuse an answer's, and the model's earlier turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.formats.reasoning_and_tool_calls import Kept, Place, texts_in
from pytest_memleak.guard.long_prompts import LONG, shorten_history, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_memleak.library.library import Library

_TURNS = ("messages", "input")
# What clients and their tools write, by a turn's role and by a request's key.
_ROLES_OF_CLIENTS = ("system", "developer", "tool")
_KEYS_OF_CLIENTS = (
    "system", "instructions", "documents", "tools", "functions", "tool_choice",
    "response_format", "text",
)  # fmt: skip
# Files are data, and a passage in them isn't what a user wrote.
_FILES = frozenset({"file", "image_url", "input_audio", "input_image", "source"})
_RESULTS = ("_result", "_output")  # ends of the types of what tools return


class RequestTexts(NamedTuple):
    """The texts of a request.

    prompts: for each prompt, the words that excuse the same ones in its answers
    history: what the model wrote in earlier turns, or may have written
    """

    prompts: list[str]
    history: str


def texts_of_request(
    request: Mapping[str, Any],
    library: Library,
    *,
    excuse_context: bool = False,
) -> RequestTexts:
    """Return the texts of a request; of long ones, what shares words with books.

    What users wrote excuses. What their client and its tools wrote does, too, with
    `excuse_context`. All else is history, since the model may have written it.
    """
    of_model = _shortening(shorten_history, library, without=frozenset())
    excused = _shortening(shortened, library, without=_FILES)
    history: list[str] = []
    excusing: list[str] = []
    for writer, part in _parts(request):
        if writer == "model":
            history += texts_in(part, kept=of_model)
        elif writer == "user" or excuse_context:
            excusing += texts_in(part, kept=excused)
    prompts = request.get("prompt")
    if not isinstance(prompts, list) or not prompts or isinstance(prompts[0], int):
        prompts = [prompts]
    every = [
        "\n".join([*texts_in(prompt, kept=excused), *excusing]) for prompt in prompts
    ]
    prompts = [shortened(prompt, library) for prompt in every]
    return RequestTexts(prompts, "\n".join(history))


def _parts(request: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a request's parts but its prompts, by writer: user, client, or model.

    Turns come last, since an answer continues them.
    """
    for key, value in request.items():
        if key in _KEYS_OF_CLIENTS:
            yield "client", {key: value}
        elif key != "prompt" and key not in _TURNS:
            yield "model", {key: value}
    for key in _TURNS:
        turns = request.get(key)
        if key == "input" and isinstance(turns, str):
            yield "user", turns
            continue
        for turn in turns if isinstance(turns, list) else [turns]:
            yield from _parts_of_turn(turn)


def _parts_of_turn(turn: Any) -> Iterator[tuple[str, Any]]:
    role = turn.get("role") if isinstance(turn, dict) else None
    if role == "user":
        content = turn.get("content")
        for part in content if isinstance(content, list) else [content]:
            yield "client" if _is_result(part) else "user", part
    elif role in _ROLES_OF_CLIENTS or (role is None and _is_result(turn)):
        yield "client", turn
    else:
        yield "model", turn


def _is_result(part: Any) -> bool:
    return isinstance(part, dict) and str(part.get("type")).endswith(_RESULTS)


def _shortening(
    shorten: Callable[[str, Library], str],
    library: Library,
    *,
    without: frozenset[str],
) -> Kept:
    """Return what chooses texts: none below some keys, and of long ones a part."""

    def kept(place: Place, pieces: list[str]) -> list[str]:
        if not without.isdisjoint(place):
            return []
        if sum(map(len, pieces)) <= LONG:
            return pieces
        return [shorten("\n".join(pieces), library)]

    return kept
