"""A server's answer to a request of OpenAI's API, limited to what the guard read."""

from __future__ import annotations

from collections import Counter
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.guard.guarded_stream import History, Stream
from pytest_memleak.guard.request_texts import texts_of_request
from pytest_memleak.guard.word_budget import COUNTED, Budget, PlacesOfPassages
from pytest_memleak.scoring.measure_table import CONVERSATION_BUDGET, PASSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_memleak.guard.request_texts import RequestTexts
    from pytest_memleak.library.library import Library, Passage

    Path = tuple[str | int, ...]
    Pieces = Iterator[tuple[Path, str]]

FILTERED = "content_filter"
"""The finish reason of a choice that the guard ended."""

# Strings of the server's own, which no model writes.
_NAMES = {
    "code",
    "finish_reason",
    "id",
    "model",
    "object",
    "param",
    "role",
    "service_tier",
    "system_fingerprint",
    "type",
}
# Names of a choice that a client replaces by later ones; it joins other strings.
_REPLACED = {"finish_reason", "type"}
LONGEST_NAME = 128
_UNFINISHED = (None, "", "null")
_ALL: Path = ()  # the field of all texts
_FORWARDED = _NAMES | {
    "arguments",
    "cached_tokens",
    "choices",
    "completion_tokens",
    "completion_tokens_details",
    "content",
    "created",
    "delta",
    "error",
    "function",
    "function_call",
    "index",
    "message",
    "name",
    "prompt_tokens",
    "prompt_tokens_details",
    "reasoning",
    "reasoning_content",
    "reasoning_tokens",
    "refusal",
    "text",
    "tool_calls",
    "total_tokens",
    "usage",
}
_OF_BODY = _FORWARDED | {"data"}  # a list of models


class Stop(NamedTuple):
    """A choice that the guard ended.

    field:    of its text
    passage:  in the text
    exceeded: what the passage exceeds: "limit" or "budget"
    """

    choice: int
    field: str
    passage: Passage
    exceeded: str


class GuardedAnswer:
    """The answer to one request, whole or in chunks, with each choice guarded.

    As in docs/scan-and-guard.md: read chunks until it has `ended`, then its `end()`.
    Only the keys of a fixed list are forwarded. Of their values, numbers and short
    names of the server's own are; any other string is read. So logprobs, audio, and
    what a server adds are not.

    stops: the choices that the guard ended
    """

    def __init__(
        self,
        library: Library,
        request: Mapping[str, Any],
        limit: int = PASSAGE_LIMIT,
        *,
        budget: int | None = CONVERSATION_BUDGET,
        further_budgets: Sequence[Budget] = (),
        places: PlacesOfPassages | None = None,
        excuse_context: bool = False,
    ) -> None:
        """Start the answer to a request for chat completions or completions.

        budget:          the most words of one book in the conversation; None: any
                         number
        further_budgets: that other conversations share
        places:          of the library; one made for it serves many answers
        excuse_context:  whether what the client and its tools wrote excuses, too
        """
        self.stops: list[Stop] = []
        asked = texts_of_request(request, excuse_context=excuse_context)
        self._prompts = asked.prompts
        places = places or PlacesOfPassages(library)
        self._budgets = [*further_budgets]
        if budget is not None:
            self._budgets.insert(0, Budget(budget, places))
        history = self._history(library, asked, limit, places)
        self._stream = partial(
            Stream,
            library,
            limit,
            history=history,
            budgets=self._budgets,
            places=places,
        )
        self._each = max(_number(request.get("n"), 1), 1)
        self._choices = self._each * len(self._prompts)
        self._texts: dict[int | None, _Texts] = {}
        self._over: set[int] = set()
        self._whole = False
        self._head: dict[str, Any] = {}
        # The objects of a body, by the places of their texts.
        self._objects: dict[Path, dict[str, Any]] = {}
        self._held: list[dict[str, Any]] = []

    def _history(
        self,
        library: Library,
        asked: RequestTexts,
        limit: int,
        places: PlacesOfPassages,
    ) -> History:
        """Return the model's earlier turns, after counting their words."""
        history = asked.history
        if not history:
            return History("", ())
        prompt = asked.prompts[0]
        if self._budgets:
            found = library.find([history], [prompt], least=COUNTED)
            for budget in self._budgets:
                budget.add(places.of(found))
        return History.of(library, history, prompt, limit)

    @property
    def ended(self) -> bool:
        """Whether all choices have ended, by themselves or by the guard."""
        return all(number in self._over for number in range(self._choices))

    def read(
        self,
        body: Mapping[str, Any],
        *,
        whole: bool = False,
    ) -> list[dict[str, Any]]:
        """Return what may be sent of a chunk: itself, after text that was held back.

        whole: the body is an answer, not a chunk
        """
        self._objects = {}
        self._held = []
        self._whole = whole
        names = {key: body[key] for key in body if key in _NAMES}
        others = {key: body[key] for key in body if key != "choices"}
        self._head = self._guarded(names, ())
        sent = self._guarded(others, ())
        self._send(self._texts_of(None).end())
        choices = self._read_choices(_dicts(body.get("choices")), whole=whole)
        if body.get("choices") and not choices and not whole:
            return []  # of choices that have ended
        if "choices" in body:
            sent["choices"] = choices
        return [*self._held, sent]

    def _read_choices(
        self,
        choices: Sequence[dict[str, Any]],
        *,
        whole: bool,
    ) -> list[dict[str, Any]]:
        """Return what may be sent of the choices that haven't ended."""
        sent = []
        for nth, choice in enumerate(choices):
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
            sent.append(guarded)
        return sent

    def end(self) -> list[dict[str, Any]]:
        """Return the text held back of choices that the server didn't end."""
        self._objects = {}
        self._held = []
        for texts in self._texts.values():
            self._send(texts.end())
        return self._held

    def close(self) -> None:
        """Count the words that left, also if the client left before the end."""
        streams = [stream for texts in self._texts.values() for stream in texts.streams]
        for budget in self._budgets:
            budget.settle(streams)

    def _guarded(self, part: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Return what may be sent of an object; texts join it later, when they may."""
        forwarded = _FORWARDED if path else _OF_BODY
        guarded: dict[str, Any] = {}
        for key, value in part.items():
            if key not in forwarded:
                continue
            place = (*path, key)
            if isinstance(value, dict):
                guarded[key] = self._guarded(value, place)
            elif isinstance(value, list):
                guarded[key] = self._guarded_list(value, place)
            elif key == "index" and path and isinstance(path[-1], int):
                guarded[key] = path[-1]
            elif not isinstance(value, str):
                guarded[key] = value
            elif _is_name(place) and len(value) > LONGEST_NAME:
                guarded[key] = ""
            elif _is_forwarded_unread(place):
                guarded[key] = value
            else:
                guarded[key] = ""
                self._objects[place] = guarded
                self._read_text(place, value)
        return guarded

    def _guarded_list(self, values: list[Any], place: Path) -> list[dict[str, Any]]:
        guarded = []
        for nth, value in enumerate(_dicts(values)):
            number = _number(value.get("index"), nth)
            guarded.append(self._guarded(value, (*place, number)))
        return guarded

    def _read_text(self, place: Path, text: str) -> None:
        number = int(place[1]) if place[0] == "choices" else None
        whole = self._whole or number is None
        self._send(self._texts_of(number).read(place, text, whole=whole))

    def _texts_of(self, number: int | None) -> _Texts:
        """Return the texts of a choice; None: of no choice.

        Those of a choice that wasn't requested are further fields of the nearest one
        that was.
        """
        choice = None
        prompt = ""
        if number is not None:
            choice = min(max(number, 0), self._choices - 1)
            prompt = self._prompts[choice // self._each]
        if choice not in self._texts:
            make = partial(self._stream, prompt=prompt)
            self._texts[choice] = _Texts(make, self.stops)
        return self._texts[choice]

    def _send(self, pieces: Pieces) -> None:
        """Add texts to their objects in the body, or to those held back before it."""
        for place, text in pieces:
            if place in self._objects:
                self._objects[place][str(place[-1])] += text
            elif text:
                self._held.append(self._head | _at(place, text))


class _Texts:
    """The texts of a choice: a stream a place, one a field, and one for all.

    A name is in its place's stream only. A character leaves once all its streams
    release it, so what leaves is in order.

    passage: what ended them
    """

    def __init__(self, make: Callable[[], Stream], stops: list[Stop]) -> None:
        self.passage: Passage | None = None
        self._make = make
        self._stops = stops
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
            for stream_place in self._streams_of(place):
                released = self._streams[stream_place].feed(text)
                self._add(stream_place, released)
        return self._leaving()

    def end(self, number: int | None = None) -> Pieces:
        """End the texts of a choice, or all; yield what may leave now."""
        for place, stream in self._streams.items():
            if place == _ALL or number is None or number in place[1:2]:
                self._add(place, stream.end())
        return self._leaving()

    @property
    def streams(self) -> list[Stream]:
        """All streams so far."""
        return list(self._streams.values())

    def _start(self, place: Path) -> None:
        """Start a place's stream, and wider ones once they have a second place."""
        for wider in _streams_with(place)[1:]:
            first = self._first.setdefault(wider, place)
            if first != place and wider not in self._streams:
                self._streams[wider] = copy(self._streams[first])
                self._may_leave[wider] = self._may_leave[first]
        self._streams[place] = self._make()

    def _streams_of(self, place: Path) -> list[Path]:
        return [wider for wider in _streams_with(place) if wider in self._streams]

    def _add(self, stream: Path, text: str) -> None:
        self._may_leave[stream] += len(text)
        passage = self._streams[stream].passage
        if passage and not self.passage:
            self.passage = passage
            numbers = [part for part in self._last if isinstance(part, int)]
            names = [part for part in self._last if isinstance(part, str)]
            choice = numbers[0] if numbers else 0
            exceeded = self._streams[stream].exceeded
            self._stops.append(Stop(choice, ".".join(names), passage, exceeded))

    def _leaving(self) -> Pieces:
        while self._waiting:
            place, text = self._waiting[0]
            streams = self._streams_of(place)
            size = min(len(text), *(self._may_leave[stream] for stream in streams))
            yield place, text[:size]
            self._may_leave.subtract(dict.fromkeys(streams, size))
            if size < len(text):
                self._waiting[0] = place, text[size:]
                return
            self._waiting.pop(0)


def _is_name(place: Path) -> bool:
    """Tell whether a string is a server's own name; an error's may be any text."""
    return place[-1] in _NAMES and place[0] != "error"


def _is_forwarded_unread(place: Path) -> bool:
    """Tell whether a name is forwarded as it is; a choice's may be part of a text."""
    if place[0] == "choices":
        return place[-1] in _REPLACED
    return _is_name(place)


def _streams_with(place: Path) -> list[Path]:
    """Return a place's streams: its own, its field's at any index, and all's."""
    if _is_name(place):
        return [place]
    names = [part for part in place[2:] if isinstance(part, str)]
    field = (*place[:2], "*", *names)
    return [place, field, _ALL]


def _dicts(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [part for part in value if isinstance(part, dict)]


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
