"""A server's answer to one request of OpenAI's API, limited to what the guard has read."""

from __future__ import annotations

from collections import Counter
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.formats.reasoning_and_tool_calls import texts_in
from pytest_memleak.guard.guarded_stream import Stream
from pytest_memleak.scoring.measure_table import PASSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_memleak.library.library import Library, Passage

    Path = tuple[str | int, ...]
    Pieces = Iterator[tuple[Path, str]]

FILTERED = "content_filter"
"""The finish reason of a choice that the guard ended."""

# Strings of the server's own, which no model writes.
_NAMES = {
    *(
        "code",
        "finish_reason",
        "id",
        "model",
        "object",
        "param",
        "role",
        "service_tier",
    ),
    *("system_fingerprint", "type"),
}
_REPLACED = {
    "finish_reason",
    "type",
}  # of a choice, by a client; other strings it joins
LONGEST_NAME = 128
_UNFINISHED = (None, "", "null")
_ALL: Path = ()  # the field of all texts
_FILES = {"file", "image_url", "input_audio"}
_FORWARDED = _NAMES | {
    "arguments", "cached_tokens", "choices", "completion_tokens", "completion_tokens_details",
    "content", "created", "delta", "error", "function", "function_call", "index", "message",
    "name", "prompt_tokens", "prompt_tokens_details", "reasoning", "reasoning_content",
    "reasoning_tokens", "refusal", "text", "tool_calls", "total_tokens", "usage",
}  # fmt: skip
_OF_BODY = _FORWARDED | {"data"}  # a list of models


class Stop(NamedTuple):
    """A choice that the guard ended: its number, the field of its text, and the passage."""

    choice: int
    field: str
    passage: Passage


class GuardedAnswer:
    """The answer to one request, whole or in chunks, with all text of each choice guarded.

    As in docs/scan-and-guard.md: read chunks until it has `ended`, then its `end()`.
    Only the keys of a fixed list are forwarded. Of their values, numbers and short
    names of the server's own are; any other string is read. So logprobs, audio, and
    what a server adds are not.

    stops: the choices that the guard ended
    """

    def __init__(
        self, library: Library, request: Mapping[str, Any], limit: int = PASSAGE_LIMIT
    ) -> None:
        """Start the answer to a request for chat completions or completions."""
        self.stops: list[Stop] = []
        self._stream = partial(Stream, library, limit)
        self._prompts = _prompts(request)
        self._each = max(_number(request.get("n"), 1), 1)
        self._choices = self._each * len(self._prompts)
        self._texts: dict[int | None, _Texts] = {}
        self._over: set[int] = set()
        self._whole = False
        self._head: dict[str, Any] = {}
        self._objects: dict[
            Path, dict[str, Any]
        ] = {}  # of a body, by the places of their texts
        self._held: list[dict[str, Any]] = []

    @property
    def ended(self) -> bool:
        """Whether all choices have ended, by themselves or by the guard."""
        return all(number in self._over for number in range(self._choices))

    def read(
        self, body: Mapping[str, Any], *, whole: bool = False
    ) -> list[dict[str, Any]]:
        """Return what may be sent of a chunk: itself, after text that was held back.

        whole: the body is an answer, not a chunk
        """
        self._objects, self._held, self._whole, choices = {}, [], whole, []
        self._head = self._guarded(
            {key: body[key] for key in body if key in _NAMES}, ()
        )
        beside = self._guarded({key: body[key] for key in body if key != "choices"}, ())
        self._send(self._texts_of(None).end())
        for nth, choice in enumerate(_dicts(body.get("choices"))):
            number = _number(choice.get("index"), nth)
            if number in self._over and not whole:
                continue
            texts = self._texts_of(number)
            guarded = self._guarded(choice, ("choices", number))
            if whole or choice.get("finish_reason") not in _UNFINISHED:
                self._send(texts.end(number))
                self._over.add(number)
            if texts.passage:
                guarded["finish_reason"] = FILTERED
                self._over.add(number)
            choices.append(guarded)
        if body.get("choices") and not choices and not whole:
            return []  # of choices that have ended
        return [
            *self._held,
            beside | ({"choices": choices} if "choices" in body else {}),
        ]

    def end(self) -> list[dict[str, Any]]:
        """Return the text held back of choices that the server didn't end."""
        self._objects, self._held = {}, []
        for texts in self._texts.values():
            self._send(texts.end())
        return self._held

    def _guarded(self, part: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Return what may be sent of an object; texts join it when they may be sent, too."""
        guarded: dict[str, Any] = {}
        for key in filter((_FORWARDED if path else _OF_BODY).__contains__, part):
            value, place = part[key], (*path, key)
            if isinstance(value, dict):
                guarded[key] = self._guarded(value, place)
            elif isinstance(value, list):
                guarded[key] = [
                    self._guarded(each, (*place, _number(each.get("index"), nth)))
                    for nth, each in enumerate(_dicts(value))
                ]
            elif key == "index" and path and isinstance(path[-1], int):
                guarded[key] = path[-1]
            elif not isinstance(value, str):
                guarded[key] = value
            elif key in _NAMES and len(value) > LONGEST_NAME and place[0] != "error":
                guarded[key] = ""
            elif (
                key in (_REPLACED if place[0] == "choices" else _NAMES)
                and place[0] != "error"
            ):
                guarded[key] = value
            else:
                guarded[key] = ""
                self._objects[place] = guarded
                number = int(place[1]) if place[0] == "choices" else None
                whole = self._whole or number is None
                self._send(self._texts_of(number).read(place, value, whole=whole))
        return guarded

    def _texts_of(self, number: int | None) -> _Texts:
        """Return the texts of a choice; None: of no choice.

        Those of a choice that wasn't requested are further fields of the nearest one
        that was.
        """
        choice = None if number is None else min(max(number, 0), self._choices - 1)
        if choice not in self._texts:
            prompt = "" if choice is None else self._prompts[choice // self._each]
            self._texts[choice] = _Texts(
                partial(self._stream, prompt=prompt), self.stops
            )
        return self._texts[choice]

    def _send(self, pieces: Pieces) -> None:
        """Add texts to their objects in the body, or to those held back before it."""
        for place, text in pieces:
            if place in self._objects:
                self._objects[place][str(place[-1])] += text
            elif text:
                self._held.append(self._head | _at(place, text))


class _Texts:
    """The texts of a choice: a stream for each place, one for each field, and one for all.

    A name is in its place's stream only. A character leaves once all its streams
    release it, so what leaves is in order.

    passage: what ended them
    """

    def __init__(self, make: Callable[[], Stream], stops: list[Stop]) -> None:
        self.passage: Passage | None = None
        self._make, self._stops = make, stops
        self._streams: dict[Path, Stream] = {}
        self._first: dict[Path, Path] = {}  # place of a field, and of all
        self._may_leave: Counter[Path] = Counter()  # characters, by stream
        self._waiting: list[tuple[Path, str]] = []
        self._last: Path = ()

    def read(self, place: Path, text: str, *, whole: bool) -> Pieces:
        """Add the text of a place; yield what may leave now, by its place.

        whole: no text of another field goes on in it
        """
        self._last = place
        if text and not self.passage:
            if place not in self._streams:
                self._start(place)
            if whole and _ALL in self._streams:
                self._add(_ALL, self._streams[_ALL].end())
            self._waiting.append((place, text))
            for each in self._streams_of(place):
                self._add(each, self._streams[each].feed(text))
        return self._leaving()

    def end(self, number: int | None = None) -> Pieces:
        """End the texts of a choice, or all; yield what may leave now."""
        for each, stream in self._streams.items():
            if each == _ALL or number in (None, *each[1:2]):
                self._add(each, stream.end())
        return self._leaving()

    def _start(self, place: Path) -> None:
        """Start a place's stream, and its field's and that of all once they have a second place."""
        for wider in _streams_with(place)[1:]:
            first = self._first.setdefault(wider, place)
            if first != place and wider not in self._streams:
                self._streams[wider] = copy(self._streams[first])
                self._may_leave[wider] = self._may_leave[first]
        self._streams[place] = self._make()

    def _streams_of(self, place: Path) -> list[Path]:
        return [each for each in _streams_with(place) if each in self._streams]

    def _add(self, stream: Path, text: str) -> None:
        self._may_leave[stream] += len(text)
        passage = self._streams[stream].passage
        if passage and not self.passage:
            self.passage = passage
            numbers = (part for part in self._last if isinstance(part, int))
            names = ".".join(part for part in self._last if isinstance(part, str))
            self._stops.append(Stop(next(numbers, 0), names, passage))

    def _leaving(self) -> Pieces:
        while self._waiting:
            place, text = self._waiting[0]
            streams = self._streams_of(place)
            size = min(len(text), *(self._may_leave[each] for each in streams))
            yield place, text[:size]
            self._may_leave.subtract(dict.fromkeys(streams, size))
            if size < len(text):
                self._waiting[0] = place, text[size:]
                return
            self._waiting.pop(0)


def _streams_with(place: Path) -> list[Path]:
    """Return a place's streams: its own, its field's (whatever its later indexes), and all's."""
    field = (*place[:2], "*", *(name for name in place[2:] if isinstance(name, str)))
    return (
        [place] if place[-1] in _NAMES and place[0] != "error" else [place, field, _ALL]
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return (
        [part for part in value if isinstance(part, dict)]
        if isinstance(value, list)
        else []
    )


def _number(value: Any, default: int) -> int:
    """Return a number as a server or client may read it: also 3.0 and "3"."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return number if number >= 0 else default


def _at(place: Path, text: str) -> dict[str, Any]:
    """Return the text at its place in a chunk, in lists by its index."""
    value: Any = text
    for key in reversed(place):
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
            {**request, "prompt": prompt},
            kept=lambda at, its: its if _FILES.isdisjoint(at) else [],
        )
        for prompt in prompts
    )
    return list(map("\n".join, texts))
