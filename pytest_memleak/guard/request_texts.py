"""What a request says: words that excuse an answer's, and the model's earlier turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.formats.reasoning_and_tool_calls import Kept, Place, texts_in
from pytest_memleak.guard.long_prompts import LONG, shortened, shortened_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_memleak.library.library import Library

_TURNS = ("messages", "input")
_MODEL = frozenset({"assistant", "model"})
# Beside messages, what users write; all else is their client's.
_OF_USERS = ("suffix", "prediction")
# Files are data, and a passage in them isn't what a user wrote.
_FILES = frozenset({"file", "image_url", "input_audio", "input_image", "source"})
_RESULTS = ("_result", "_output")  # ends of the types of what tools return


class RequestTexts(NamedTuple):
    """The texts of a request.

    prompts: for each prompt, the words that excuse the same ones in its answers
    history: what the model wrote in earlier turns
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
    `excuse_context`. What the model wrote in earlier turns never does.
    """
    of_model = _shortening(shortened_history, library, without=frozenset())
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
    """Yield a request's parts but its prompts, by writer: user, model, or client."""
    for key, value in request.items():
        if key in _TURNS:
            turns = value if isinstance(value, list) else [value]
            for turn in turns:
                yield from _parts_of_turn(turn)
        elif key != "prompt":
            yield "user" if key in _OF_USERS else "client", {key: value}


def _parts_of_turn(turn: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(turn, dict):
        yield "user", turn
        return
    role = turn.get("role")
    kind = str(turn.get("type"))
    content = turn.get("content")
    is_of_model = isinstance(role, str) and role in _MODEL
    if is_of_model or (role is None and kind.endswith(("_call", "reasoning"))):
        yield "model", turn
    elif role != "user":
        yield "client", turn
    elif isinstance(content, list):
        for part in content:
            is_result = isinstance(part, dict) and _is_result(part)
            yield "client" if is_result else "user", part
    else:
        yield "user", content


def _is_result(part: Mapping[str, Any]) -> bool:
    return str(part.get("type")).endswith(_RESULTS)


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
