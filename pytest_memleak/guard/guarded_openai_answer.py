"""A server's answer to a request of OpenAI's API, limited to what the guard read."""

from __future__ import annotations

import json
from collections import Counter
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_memleak.formats.textless_values import (
    CLOSED,
    FILTERED,
    STREAMED,
    USUAL_KEYS,
    is_id_key,
)
from pytest_memleak.guard.dropped_parts import DROPPED
from pytest_memleak.guard.long_prompts import overlapping_pieces
from pytest_memleak.guard.own_ids import OwnIds
from pytest_memleak.guard.request_texts import texts_of_request
from pytest_memleak.guard.stop_at_passage import GuardedText, History
from pytest_memleak.guard.word_budget import COUNTED, Budget, PlacesOfPassages
from pytest_memleak.scoring.measure_table import CONVERSATION_BUDGET, PASSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_memleak.library.library import Library, Passage

    Path = tuple[str | int, ...]
    Pieces = Iterator[tuple[Path, str]]

_HEAD = ("id", "object", "created", "model", "system_fingerprint")
_UNFINISHED = (None, "", "null")
_ALL: Path = ()  # the field of all texts
_NO_TEXT = (int, float, type(None))


class StoppedChoice(NamedTuple):
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
    Every string is read, also those that a server adds, but for values of closed lists;
    ids are the guard's own. Numbers in lists may be tokens: they are dropped, with
    logprobs and audio.

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
        ids: OwnIds | None = None,
        excuse_context: bool = False,
    ) -> None:
        """Start the answer to a request for chat completions or completions.

        budget:          the most words of one book in the conversation; None: any
                         number
        further_budgets: that other conversations share
        places:          of the library; one made for it serves many answers
        ids:             for the server's; the same for all answers, whose requests they
                         restore
        excuse_context:  whether what the client and its tools wrote excuses, too
        """
        self.stops: list[StoppedChoice] = []
        asked = texts_of_request(request, library, excuse_context=excuse_context)
        self._prompts = [*map(library.read_prompt, asked.prompts)]
        places = places or PlacesOfPassages(library)
        self._budgets = [*further_budgets]
        if budget is not None:
            self._budgets.insert(0, Budget(budget, places))
        history = self._history(
            library,
            history=asked.history,
            limit=limit,
            places=places,
        )
        self._stream = partial(
            GuardedText,
            library,
            limit,
            history=history,
            budgets=self._budgets,
            places=places,
        )
        choices_requested = _int_or_default(request.get("n"), 1)
        self._each = max(choices_requested, 1)
        self._choices = self._each * len(self._prompts)
        self._model = request.get("model")
        self._ids = ids or OwnIds()
        self._no_prompt = library.read_prompt("")
        self._keys = self._stream(prompt=self._no_prompt)
        self._texts: dict[int | None, _Texts] = {}
        self._begun: set[int] = set()
        self._over: set[int] = set()
        self._whole = False
        self._head: dict[str, Any] = {}
        # The objects of a body, by the places of their texts.
        self._objects: dict[Path, Any] = {}
        self._held: list[dict[str, Any]] = []

    def _history(
        self,
        library: Library,
        history: str,
        limit: int,
        places: PlacesOfPassages,
    ) -> History:
        """Return the model's earlier turns, after counting their words."""
        if not history:
            return History("", ())
        prompt = self._prompts[0]
        for piece in overlapping_pieces(history) if self._budgets else ():
            passages = library.find([piece], prompt, least=COUNTED)
            for budget in self._budgets:
                budget.add(places.of(passages))
        return History.of(library, history, prompt, limit)

    @property
    def ended(self) -> bool:
        """Whether all choices have ended, by themselves or by the guard."""
        return all(number in self._over for number in range(self._choices))

    @property
    def begun_choices_have_ended(self) -> bool:
        """Whether there is a choice, and all that the server began have ended."""
        return bool(self._over) and self._begun <= self._over

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
        others = {key: body[key] for key in body if key != "choices"}
        sent = self._guarded(others, ())
        self._head = {key: sent[key] for key in _HEAD if key in sent}
        self._send(self._texts_of(None).pause())
        choices = self._read_choices(_dicts_in_list(body.get("choices")), whole=whole)
        of_ended = body.get("choices") and not choices and not whole
        if of_ended and not sent.get("usage"):
            return []
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
        numbers = [
            _int_or_default(choice.get("index"), nth)
            for nth, choice in enumerate(choices)
        ]
        self._begun.update(numbers)
        for nth, choice in enumerate(choices):
            number = numbers[nth]
            if number in self._over and not whole:
                continue
            texts = self._texts_of(number)
            guarded = self._guarded(choice, ("choices", number))
            goes_on = whole and numbers[nth + 1 : nth + 2] == [number]
            has_reason = choice.get("finish_reason") not in _UNFINISHED
            if not goes_on and (whole or has_reason):
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

    def encoded(self, chunk: Mapping[str, Any]) -> bytes:
        """Return a chunk as a server-sent event."""
        return f"data: {json.dumps(chunk)}\n\n".encode()

    @property
    def last_chunk(self) -> bytes:
        """What ends a stream."""
        return b"data: [DONE]\n\n"

    def close(self) -> None:
        """Count the words that left, also if the client left before the end."""
        streams: list[GuardedText] = []
        for texts in self._texts.values():
            streams += texts.streams
        for budget in self._budgets:
            budget.count_unread(streams)

    def _guarded(self, part: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Return what may be sent of an object; texts join it later, when they may."""
        guarded: dict[str, Any] = {}
        for key, value in part.items():
            is_empty = value is None or value in ([], {})
            if key in DROPPED and not is_empty:
                continue
            if not self._guard_lets_key_through(key):
                continue
            place = (*path, key)
            if key == "index" and path and isinstance(path[-1], int):
                guarded[key] = path[-1]
            elif isinstance(value, dict):
                guarded[key] = self._guarded(value, place)
            elif isinstance(value, list):
                guarded[key] = self._guarded_list(value, place)
            elif isinstance(value, str):
                self._guard_string(guarded, place, value)
            elif isinstance(value, _NO_TEXT):
                guarded[key] = value
        return guarded

    def _guard_lets_key_through(self, key: str) -> bool:
        """Tell whether a key may be sent: it is usual, or read as part of a text."""
        if key in USUAL_KEYS:
            return True
        text = f"{key} "
        released = self._keys.feed(text)
        rest = self._keys.end()
        return released + rest == text

    def _guarded_list(self, values: list[Any], place: Path) -> list[Any]:
        guarded: list[Any] = []
        for nth, value in enumerate(values):
            own_place = (*place, len(guarded))
            if isinstance(value, dict):
                number = _int_or_default(value.get("index"), nth)
                guarded.append(self._guarded(value, (*place, number)))
            elif isinstance(value, list):
                guarded.append(self._guarded_list(value, own_place))
            elif isinstance(value, str):
                guarded.append("")
                self._objects[own_place] = guarded
                self._read_text(own_place, value)
        return guarded

    def _guard_string(
        self,
        guarded: dict[str, Any],
        place: Path,
        value: str,
    ) -> None:
        key = str(place[-1])
        if value in CLOSED.get(key, ()):
            guarded[key] = value
        elif is_id_key(key) and place[0] != "data":
            guarded[key] = self._ids.own(value)
        elif key == "model" and len(place) == 1 and isinstance(self._model, str):
            guarded[key] = self._model
        elif key == "system_fingerprint":
            guarded[key] = self._ids.own(value)
        else:
            guarded[key] = ""
            self._objects[place] = guarded
            self._read_text(place, value)

    def _read_text(self, place: Path, text: str) -> None:
        number = int(place[1]) if place[0] == "choices" else None
        whole = self._whole or number is None
        texts = self._texts_of(number)
        self._send(texts.read(place, text, whole=whole))
        if place[-1] not in STREAMED:
            self._send(texts.end_of(place))

    def _texts_of(self, number: int | None) -> _Texts:
        """Return the texts of a choice; None: of no choice.

        Those of a choice that wasn't requested are further fields of the nearest one
        that was.
        """
        choice = None
        prompt = self._no_prompt
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
                self._objects[place][place[-1]] += text
            elif text:
                self._held.append(self._head | _chunk_with_text_at(place, text))


class _Texts:
    """The texts of a choice: a stream a place, one a field, and one for all.

    A character leaves once all its streams
    release it, so what leaves is in order.

    passage: what ended them
    """

    def __init__(
        self, make: Callable[[], GuardedText], stops: list[StoppedChoice]
    ) -> None:
        self.passage: Passage | None = None
        self._make = make
        self._stops = stops
        self._streams: dict[Path, GuardedText] = {}
        self._first: dict[Path, Path] = {}  # place of a field, and of all
        self._may_leave: Counter[Path] = Counter()  # characters, by stream
        self._waiting: list[tuple[Path, str]] = []
        self._last: Path = ()

    def read(
        self,
        place: Path,
        text: str,
        *,
        whole: bool,
    ) -> Pieces:
        """Add the text of a place; yield what may leave now, by its place.

        whole: no text of another field goes on in it
        """
        self._last = place
        if text and not self.passage:
            if place not in self._streams:
                self._start(place)
            stream_of_all = self._streams.get(_ALL)
            if whole and stream_of_all:
                self._add(_ALL, stream_of_all.end())
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

    def end_of(self, place: Path) -> Pieces:
        """End the text of a place, which is whole; yield what may leave now.

        A client may still join it to the next one there.
        """
        if not self.passage:
            self._pause(self._streams_of(place))
        return self._leaving()

    def pause(self) -> Pieces:
        """Yield what may leave of all; texts may go on at their places, or be whole."""
        self._pause([*self._streams])
        return self._leaving()

    @property
    def streams(self) -> list[GuardedText]:
        """All streams so far."""
        return list(self._streams.values())

    def _start(self, place: Path) -> None:
        """Start a place's stream, and wider ones once they have a second place."""
        for wider in _streams_with(place)[1:]:
            first = self._first.setdefault(wider, place)
            if first == place or wider in self._streams:
                continue
            self._streams[wider] = copy(self._streams[first])
            self._may_leave[wider] = self._may_leave[first]
        self._streams[place] = self._make()

    def _pause(self, places: Sequence[Path]) -> None:
        for place in places:
            stream = self._streams[place]
            rest = stream.end() if place == _ALL else stream.release_rest()
            self._add(place, rest)

    def _streams_of(self, place: Path) -> list[Path]:
        return [wider for wider in _streams_with(place) if wider in self._streams]

    def _add(self, stream: Path, text: str) -> None:
        self._may_leave[stream] += len(text)
        passage = self._streams[stream].passage
        if not passage or self.passage:
            return
        self.passage = passage
        numbers = [part for part in self._last if isinstance(part, int)]
        names = [part for part in self._last if isinstance(part, str)]
        stop = StoppedChoice(
            choice=numbers[0] if numbers else 0,
            field=".".join(names),
            passage=passage,
            exceeded=self._streams[stream].exceeded,
        )
        self._stops.append(stop)

    def _leaving(self) -> Pieces:
        while self._waiting:
            place, text = self._waiting[0]
            streams = self._streams_of(place)
            size = len(text)
            for stream in streams:
                size = min(size, self._may_leave[stream])
            yield place, text[:size]
            self._may_leave.subtract(dict.fromkeys(streams, size))
            if size < len(text):
                self._waiting[0] = place, text[size:]
                return
            self._waiting.pop(0)


def _streams_with(place: Path) -> list[Path]:
    """Return the streams of a place: its own, its field's at any index, and all's."""
    names = [part for part in place[2:] if isinstance(part, str)]
    field = (*place[:2], "*", *names)
    return [place, field, _ALL]


def _dicts_in_list(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [part for part in value if isinstance(part, dict)]


def _int_or_default(value: Any, default: int) -> int:
    """Return a number as a server or client may read it: also 3.0 and "3"."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return number if number >= 0 else default


def _chunk_with_text_at(place: Path, text: str) -> dict[str, Any]:
    """Return the text at its place in a chunk, in lists by its index."""
    value: Any = text
    for key in reversed(place):
        if isinstance(key, str):
            value = {key: value}
        elif isinstance(value, dict):
            value = [{"index": key, **value}]
        else:
            value = [value]
    nested: dict[str, Any] = value
    return nested
