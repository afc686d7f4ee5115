"""What a server answers one request of OpenAI's API, without what a guard didn't read."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.library.guarded_text import Stream
from pytest_memleak.records.reasoning_and_tool_calls import texts_in
from pytest_memleak.scoring.measure_table import PASSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_memleak.library.library import Library, Passage

    Path = tuple[str | int, ...]

FILTERED = "content_filter"
"""The finish reason of a choice that the guard ended."""

# Strings of the server's own, which no model writes.
_NAMES = {
    *("code", "finish_reason", "id", "model", "object", "param", "role", "service_tier"),
    *("system_fingerprint", "type"),
}
LONGEST_NAME = 128
_UNFINISHED = (None, "", "null")
_ALL = ""  # the text of all fields
_FILES = {"file", "image_url", "input_audio"}
_FORWARDED = _NAMES | {
    "arguments", "cached_tokens", "choices", "completion_tokens", "completion_tokens_details",
    "content", "created", "data", "delta", "error", "function", "function_call", "index", "message",
    "name", "prompt_tokens", "prompt_tokens_details", "reasoning", "reasoning_content",
    "reasoning_tokens", "refusal", "text", "tool_calls", "total_tokens", "usage",
}  # fmt: skip


class Stop(NamedTuple):
    """A choice that the guard ended: its number, the field of its text, and the passage."""

    choice: int
    field: str
    passage: Passage


class GuardedAnswer:
    """The answer to one request, whole or in chunks, with all text of each choice guarded.

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

    def __init__(
        self, library: Library, request: Mapping[str, Any], limit: int = PASSAGE_LIMIT
    ) -> None:
        """Start the answer to a request for chat completions or completions."""
        self.stops: list[Stop] = []
        self._library, self._limit = library, limit
        self._prompts = _prompts(request)
        self._each = n if isinstance(n := request.get("n"), int) and n > 0 else 1
        self._choices = self._each * len(self._prompts)
        self._streams: dict[int | None, dict[str, _PlacedStream]] = defaultdict(dict)
        self._over: set[int] = set()
        self._head: dict[str, Any] = {}
        self._held: list[dict[str, Any]] = []

    @property
    def ended(self) -> bool:
        """Whether all choices have ended, by themselves or by the guard."""
        return all(number in self._over for number in range(self._choices))

    def read(self, body: Mapping[str, Any], *, whole: bool = False) -> list[dict[str, Any]]:
        """Return what may be sent of a chunk: itself, after text that was held back.

        whole: the body is an answer, not a chunk
        """
        self._head, self._held, choices = {}, [], []
        for key, value in body.items():
            if key in _FORWARDED and key != "choices":
                self._head[key] = self._forwarded(value, (key,), ending=True)
        for nth, choice in enumerate(_objects(body.get("choices"))):
            number = _number(choice, nth)
            if number in self._over and not whole:
                continue
            ending = whole or choice.get("finish_reason") not in _UNFINISHED
            path = "choices", number
            guarded = self._forwarded(choice, path, ending=ending)
            streams = self._streams[self._choice_of(path)]
            if ending:
                self._release(streams, number)
                self._over.add(number)
            if _passage(streams):
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
        for streams in self._streams.values():
            self._release(streams)
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
        if path[-1] in _NAMES and path[0] != "error":
            return value if len(value) <= LONGEST_NAME else ""
        return self._read(value, path, ending=ending)

    def _read(self, text: str, path: Path, *, ending: bool) -> str:
        """Return what may be sent of a text; hold what may now be sent of texts before it."""
        choice, field = self._choice_of(path), _field(path)
        if choice is not None and choice != path[1]:
            field = f"{path[1]}.{field}"  # beside the choice that was asked for, and with it
        streams = self._streams[choice]
        if _passage(streams):
            return ""
        if field not in streams:
            prompt = "" if choice is None else self._prompts[choice // self._each]
            if len(streams) == 1:
                (first,) = streams.values()  # whose text is all text up to here
                streams[_ALL] = _PlacedStream(self._library, self._limit, prompt=prompt)
                streams[_ALL].read(first.path, first.sent, ending=True)
                streams[_ALL].ended = first.ended
            streams[field] = _PlacedStream(self._library, self._limit, prompt=prompt)
        sent = streams[field].read(path, text, ending=ending)
        if whole := streams.get(_ALL):
            sent = [part for each in sent for part in whole.read(*each, ending=False)]
            sent += whole.read(path, "", ending=ending)
        self._held += [self._head | _at(*part) for part in sent if part[0] != path]
        if passage := _passage(streams):
            self.stops.append(Stop(choice or 0, field, passage))
        return "".join(part for place, part in sent if place == path)

    def _choice_of(self, path: Path) -> int | None:
        """Return the choice that a text counts for, the nearest that was asked for; None: none."""
        if path[0] != "choices":
            return None
        return min(max(int(path[1]), 0), self._choices - 1)

    def _release(self, streams: Mapping[str, _PlacedStream], number: int | None = None) -> None:
        """Send the text that was held back, of one choice or all of these streams."""
        for field, stream in streams.items():
            if not field or number not in (None, *stream.path[1:2]):
                continue
            if text := self._read("", stream.path, ending=True):
                self._held.append(self._head | _at(stream.path, text))


class _PlacedStream(Stream):
    """A stream of texts at several places of an answer.

    path, ended: of the last text, and whether it was whole
    """

    path: Path = ()
    ended = False
    _places: tuple[Path, ...] = ()  # of each character that it holds back

    def read(self, path: Path, text: str, *, ending: bool) -> list[tuple[Path, str]]:
        """Add a text; return what may be sent now, by its place."""
        if self.ended and (path[0] != "choices" or _field(path) != _field(self.path)):
            self._text, self._sent = f"{self._text} ", self._sent + 1  # words of two texts
        self.path, self.ended = path, ending
        self._places += (path,) * len(text)
        sent = self.feed(text) + (self.end() if ending else "")
        places, self._places = self._places[: len(sent)], self._places[len(sent) :]
        runs = groupby(zip(places, sent, strict=True), key=itemgetter(0))
        return [(place, "".join(letter for _, letter in run)) for place, run in runs]


def _passage(streams: Mapping[str, Stream]) -> Passage | None:
    return next((stream.passage for stream in streams.values() if stream.passage), None)


def _field(path: Path) -> str:
    return ".".join(key for key in path if isinstance(key, str))


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


def _prompts(request: Mapping[str, Any]) -> list[str]:
    """Return all text of a request by prompt, each of which has `n` choices."""
    prompts = request.get("prompt")
    if not isinstance(prompts, list) or not prompts or isinstance(prompts[0], int):
        prompts = [prompts]
    texts = (
        texts_in(
            {**request, "prompt": prompt}, kept=lambda at, its: its if _FILES.isdisjoint(at) else []
        )
        for prompt in prompts
    )
    return list(map("\n".join, texts))
