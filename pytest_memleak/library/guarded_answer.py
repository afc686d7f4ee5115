"""What a server answers one request of OpenAI's API, without what a guard didn't read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.library.stream import LIMIT, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_memleak.library.library import Library, Passage

    Path = tuple[str | int, ...]

FILTERED = "content_filter"
"""The finish reason of a choice that the guard ended."""

# Strings of the server's own, which no model writes.
_NAMES = {
    *("code", "finish_reason", "id", "model", "object", "param", "role", "service_tier"),
    *("system_fingerprint", "type"),
}
_LONGEST_NAME = 128
_FORWARDED = _NAMES | {
    *("arguments", "choices", "content", "created", "delta", "error", "function", "function_call"),
    *("index", "message", "name", "reasoning", "reasoning_content", "refusal", "text"),
    *("tool_calls", "usage", "completion_tokens", "completion_tokens_details", "prompt_tokens"),
    *("prompt_tokens_details", "total_tokens", "cached_tokens", "reasoning_tokens"),
}


class Stop(NamedTuple):
    """A choice that the guard ended: its number, the field of its text, and the passage."""

    choice: int
    field: str
    passage: Passage


class GuardedAnswer:
    """The answer to one request, whole or in chunks, with each text of each choice guarded.

        answer = GuardedAnswer(library, request)
        for chunk in chunks:
            for guarded in answer.read(chunk):
                send(guarded)
            if answer.ended:
                break
        for guarded in answer.end():
            send(guarded)

    Only the keys of a fixed list are forwarded. Of their values, numbers and short names of the
    server's own are; any other string is read. So logprobs, audio, and what a server adds are not.

    stops: the choices that the guard ended
    """

    def __init__(self, library: Library, request: Mapping[str, Any], limit: int = LIMIT) -> None:
        """Start the answer to a request for chat completions or completions."""
        self.stops: list[Stop] = []
        self._library, self._limit = library, limit
        self._prompts = list(_prompts(request))
        self._each = n if isinstance(n := request.get("n"), int) and n > 0 else 1
        self._streams: dict[tuple[int, str], tuple[Stream, Path]] = {}
        self._over: set[int] = set()
        self._head: dict[str, Any] = {}
        self._held: list[dict[str, Any]] = []

    @property
    def ended(self) -> bool:
        """Whether all choices have ended, by themselves or by the guard."""
        return len(self._over) >= self._each * len(self._prompts)

    def read(self, body: Mapping[str, Any], *, whole: bool = False) -> list[dict[str, Any]]:
        """Return what may be sent of a chunk: itself, after text that was held back.

        whole: the body is an answer, not a chunk
        """
        self._head, self._held, choices = {}, [], []
        for key in body.keys() & (_FORWARDED - {"choices"}):
            self._head[key] = self._forwarded(body[key], (key,), ending=True)
        for nth, choice in enumerate(_objects(body.get("choices"))):
            number = _number(choice, nth)
            if number in self._over:
                continue
            ending = whole or choice.get("finish_reason") is not None
            guarded = self._forwarded(choice, ("choices", number), ending=ending)
            if ending:
                self._release(number)
                self._over.add(number)
            if any(stop.choice == number for stop in self.stops):
                guarded["finish_reason"] = FILTERED
                self._over.add(number)
            choices.append(guarded)
        if body.get("choices") and not choices and not whole:
            return []  # of choices that have ended
        if "choices" in body:
            self._head["choices"] = choices
        return [*self._held, self._head]

    def end(self) -> list[dict[str, Any]]:
        """Return the text held back of choices that the server didn't end."""
        self._held = []
        for number in {number for number, _ in self._streams} - self._over:
            self._release(number)
        return self._held

    def _forwarded(self, value: Any, path: Path, *, ending: bool) -> Any:
        if isinstance(value, dict):
            return {
                key: self._forwarded(part, (*path, key), ending=ending)
                for key, part in value.items()
                if key in _FORWARDED
            }
        if isinstance(value, list):
            return [
                self._forwarded(part, (*path, _number(part, nth)), ending=ending)
                for nth, part in enumerate(_objects(value))
            ]
        if not isinstance(value, str):
            return value
        if path[-1] in _NAMES:
            return value if len(value) <= _LONGEST_NAME else ""
        return self._read(value, path, ending=ending)

    def _read(self, text: str, path: Path, *, ending: bool) -> str:
        """Return what may be sent of a text; all at one place of a choice's lists are one text."""
        number = path[1] if path[0] == "choices" and isinstance(path[1], int) else 0
        place = number, ".".join(key for key in path if isinstance(key, str))
        stream, last = self._streams.get(place) or (self._stream(number), path)
        self._streams[place] = stream, path
        if stream.passage:
            return ""
        if last != path and (held := stream.end()):
            self._held.append(self._head | _at(last, held))
        text = stream.feed(text) + (stream.end() if ending else "")
        if stream.passage:
            self.stops.append(Stop(*place, stream.passage))
        return text

    def _stream(self, number: int) -> Stream:
        nth = number // self._each
        prompt = self._prompts[nth] if 0 <= nth < len(self._prompts) else ""
        return Stream(self._library, self._limit, prompt=prompt)

    def _release(self, number: int) -> None:
        """Send the text of a choice that was held back."""
        for (choice, _), (_, path) in [*self._streams.items()]:
            if choice == number and (text := self._read("", path, ending=True)):
                self._held.append({**self._head, **_at(path, text)})


def _objects(value: Any) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _number(part: Mapping[str, Any], nth: int) -> int:
    index = part.get("index")
    return index if isinstance(index, int) else nth


def _at(path: Path, text: str) -> dict[str, Any]:
    """Return the text at its place in a chunk, in lists by its index."""
    value: Any = text
    for key in reversed(path):
        value = [{"index": key, **value}] if isinstance(key, int) else {key: value}
    nested: dict[str, Any] = value
    return nested


def _prompts(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the prompts of a request, each of which has `n` choices; "" for tokens by number."""
    if "messages" in request:
        yield "\n".join(_texts([part.get("content") for part in _objects(request["messages"])]))
        return
    prompt = request.get("prompt")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        yield from (part if isinstance(part, str) else "" for part in prompt)
    else:
        yield prompt if isinstance(prompt, str) else ""


def _texts(contents: list[Any]) -> Iterator[str]:
    for content in contents:
        if isinstance(content, str):
            yield content
        else:
            yield from (
                part["text"] for part in _objects(content) if isinstance(part.get("text"), str)
            )
