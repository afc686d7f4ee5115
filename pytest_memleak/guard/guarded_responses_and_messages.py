"""An answer of the Responses or the Messages API, limited to what the guard read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pytest_memleak.formats.stream_events import (
    event_with_text_replaced,
    index_in_event,
    place_of_part,
    streamed_text,
)
from pytest_memleak.formats.textless_values import FILTERED, REFUSED, USUAL_KEYS
from pytest_memleak.guard.guarded_openai_answer import GuardedAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_memleak.guard.guarded_openai_answer import Path, Pieces
    from pytest_memleak.library.library import Library

_ANSWER: Path = ("choices", 0, "answer")  # the place of all that an answer holds
_EVENT: Path = (*_ANSWER, "event")
_LAST_EVENTS = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "message_stop",
     "error"},
)  # fmt: skip
_ITEMS = frozenset({"output", "content"})
_NAME = re.compile(r"[a-z_.]+")
# Random letters that a server adds, so that no one infers texts from sizes.
_PADDING = "obfuscation"


class GuardedItems(GuardedAnswer):
    """The answer to one request of the Responses or the Messages API.

    It has one choice. Text that goes on from event to event leaves as it is read. At
    any other event all that was read leaves, and what that event holds or repeats is
    read as a whole: by itself, and as if each text went on at its place. What repeats
    the request's own options is sent as it is.

    A stop ends the whole answer: as `incomplete` with `content_filter`, or, in the
    Messages API, with the stop reason `refusal`. The server is read to its end, since
    that has the usage.
    """

    def __init__(
        self,
        library: Library,
        request: Mapping[str, Any],
        **rules: Any,
    ) -> None:
        """Start the answer; the rules are those of `GuardedAnswer`."""
        super().__init__(library, request, **rules)
        self._request = request
        self._deltas: dict[Path, Mapping[str, Any]] = {}  # the last of each text
        self._left: dict[Path, str] = {}
        self._open: set[int] = set()  # content blocks of Messages
        self._place: Path = ()
        self._stopped_at: Path = ()
        self._has_ended = False
        self._events = 0

    @property
    def ended(self) -> bool:
        """Whether the server's last event was read."""
        return self._has_ended

    @property
    def begun_choices_have_ended(self) -> bool:
        """Whether the server's last event was read."""
        return self._has_ended

    def read(
        self,
        body: Mapping[str, Any],
        *,
        whole: bool = False,
    ) -> list[dict[str, Any]]:
        """Return what may be sent of an event: itself, after text that was held back.

        whole: the body is an answer, not an event
        """
        self._objects = {}
        self._held = []
        if whole:
            return [self._read_whole(body)]
        return [self._numbered(event) for event in self._read_event(body)]

    def end(self) -> list[dict[str, Any]]:
        """Return the text held back that the server didn't end."""
        self._objects = {}
        self._held = []
        self._end_texts()
        return [self._numbered(event) for event in self._held]

    def encoded(self, chunk: Mapping[str, Any]) -> bytes:
        """Return a server-sent event with its name."""
        name = str(chunk.get("type", "error"))
        line = f"event: {name}\n" if _NAME.fullmatch(name) else ""
        return f"{line}data: {json.dumps(chunk)}\n\n".encode()

    @property
    def last_chunk(self) -> bytes:
        """What ends a stream: nothing, since its last event does."""
        return b""

    def _read_whole(self, body: Mapping[str, Any]) -> dict[str, Any]:
        sent = self._guarded_answer(body)
        self._end_texts()
        if self._stopped_at:
            self._mark_stopped(sent)
        self._has_ended = True
        return sent

    def _read_event(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self._stopped_at:
            return self._read_after_stop(event)
        streamed = streamed_text(event)
        if streamed:
            place = (*_ANSWER, *streamed.place)
            self._deltas[place] = event
            self._feed(place, streamed.text, whole=False)
            return self._held
        if event.get("type") == "ping":
            return [{"type": "ping"}]
        self._end_texts()
        if self._stopped_at:
            return [*self._held, *self._read_after_stop(event)]
        sent = self._guarded_event(event)
        self._end_texts()
        if self._stopped_at and event.get("type") in _LAST_EVENTS:
            self._mark_event_stopped(sent)
        self._note_event(event)
        return [*self._held, sent]

    def _read_after_stop(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what a client needs of an event after the stop: ends, and usage."""
        kind = event.get("type")
        is_end = kind in _LAST_EVENTS or kind == "message_delta"
        closes = kind == "content_block_stop"
        if closes and index_in_event(event, "index") in self._open:
            is_end = True
        if not is_end:
            return []
        sent = self._guarded_event(event)
        self._mark_event_stopped(sent)
        self._note_event(event)
        return [sent]

    def _note_event(self, event: Mapping[str, Any]) -> None:
        kind = event.get("type")
        if kind == "content_block_start":
            self._open.add(index_in_event(event, "index"))
        elif kind == "content_block_stop":
            self._open.discard(index_in_event(event, "index"))
        elif kind in _LAST_EVENTS:
            self._has_ended = True

    def _guarded_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return what may be sent of an event whose texts are whole."""
        sent: dict[str, Any] = {}
        for key, value in event.items():
            if key == _PADDING:
                continue
            place = place_of_part(event, key)
            if place is None or not isinstance(value, dict):
                sent |= self._guarded({key: value}, _EVENT)
            elif place:
                sent[key] = self._guarded(value, (*_ANSWER, *place))
            else:
                sent[key] = self._guarded_answer(value)
        return sent

    def _guarded_answer(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return what may be sent of an answer; it repeats options of the request."""
        repeated = {
            key: value
            for key, value in answer.items()
            if value and key in self._request and self._request[key] == value
        }
        others = {key: answer[key] for key in answer if key not in repeated}
        for key in _ITEMS & others.keys():  # last: after a stop nothing is read
            others[key] = others.pop(key)
        sent = self._guarded(others, _ANSWER)
        sent.update(repeated)
        return sent

    def _guard_string(
        self,
        guarded: dict[str, Any],
        place: Path,
        value: str,
    ) -> None:
        if place == (*_ANSWER, "model") and isinstance(self._model, str):
            guarded["model"] = self._model
        else:
            super()._guard_string(guarded, place, value)

    def _read_text(self, place: Path, text: str) -> None:
        """Read a whole text of an event; after the stop, take what left of it."""
        if self._stopped_at:
            self._objects[place][place[-1]] = self._left.get(place, "")
            return
        self._left[place] = ""
        self._feed(place, text, whole=True)
        self._end_texts()

    def _feed(
        self,
        place: Path,
        text: str,
        *,
        whole: bool,
    ) -> None:
        self._place = place
        self._send(self._texts_of(0).read(place, text, whole=whole))
        self._note_stop()

    def _end_texts(self) -> None:
        self._send(self._texts_of(0).pause())
        self._note_stop()

    def _note_stop(self) -> None:
        if self._texts_of(0).passage and not self._stopped_at:
            self._stopped_at = self._place

    def _send(self, pieces: Pieces) -> None:
        """Add texts to their objects in the event, or to events of their own."""
        for place, text in pieces:
            if not text:
                continue
            self._left[place] = self._left.get(place, "") + text
            if place in self._objects:
                self._objects[place][place[-1]] += text
            elif place in self._deltas:
                added = event_with_text_replaced(self._deltas[place], text)
                event = {key: added[key] for key in added if key in USUAL_KEYS}
                if isinstance(event.get("item_id"), str):
                    event["item_id"] = self._ids.own(event["item_id"])
                self._held.append(event)

    def _mark_event_stopped(self, event: dict[str, Any]) -> None:
        """Let an event that ends the answer say that a filter did."""
        if isinstance(event.get("response"), dict):
            event["type"] = "response.incomplete"
            self._mark_stopped(event["response"])
        elif event.get("type") == "message_delta":
            event["delta"] = {"stop_reason": REFUSED, "stop_sequence": None}

    def _mark_stopped(self, answer: dict[str, Any]) -> None:
        """Let an answer say that a filter ended it, without what came after."""
        key = "content"
        if isinstance(answer.get("output"), list):
            key = "output"
            answer["status"] = "incomplete"
            answer["incomplete_details"] = {"reason": FILTERED}
        else:
            answer["stop_reason"] = REFUSED
            answer["stop_sequence"] = None
        stopped_at = self._stopped_at[len(_ANSWER) :]
        is_in_items = len(stopped_at) > 1 and stopped_at[0] == key
        if is_in_items and isinstance(answer.get(key), list):
            answer[key] = answer[key][: int(stopped_at[1]) + 1]

    def _numbered(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event with its number among those that are sent."""
        if "sequence_number" in event:
            event["sequence_number"] = self._events
            self._events += 1
        return event
