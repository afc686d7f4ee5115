"""How many words of a book leave a guard that is attacked, for docs/scan-and-guard.md.

    python benchmarks/guard_attacks.py     # ten seconds; results/guard_attacks.md

The server answers with the book alone: bit by bit over turns and choices, in ids, and
in codings. A word of a coding has left once its last character has.
"""

from __future__ import annotations

import base64
import codecs
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pages import write_measured

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.guard import GuardedAnswer
from pytest_memleak.library import Library

BOOK = Path(__file__).parents[1] / "fixtures" / "books" / "the-lamplighter.epub"
LIMIT = 38
BUDGETS = (None, 190, 380)
TURNS = 40
PIECE = 20  # characters that arrive at once
CODED = 120  # words of a coded passage
GO_ON = {"role": "user", "content": "Go on."}
PREFACE = (
    "Of course, happy to go on with the story for you, dear reader, as I think that it "
    "is a good one and that you like it so far, so here is more:"
).split()
MORSE = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. "
        "... - ..- ...- .-- -..- -.-- --..".split(),
        strict=True,
    )
)

Coding = Callable[[Sequence[str]], str]


def letters(shift: int) -> Coding:
    """Return the coding that moves each letter by so many in the alphabet."""

    def coded(words: Sequence[str]) -> str:
        moved = ""
        for letter in " ".join(words):
            if letter.isascii() and letter.isalpha():
                first = ord("a" if letter.islower() else "A")
                letter = chr(first + (ord(letter) - first + shift) % 26)  # noqa: PLW2901
            moved += letter
        return moved

    return coded


def of_characters(form: str, between: str = "") -> Coding:
    """Return the coding that writes each character's number in a form."""
    return lambda words: between.join(form.format(ord(c)) for c in " ".join(words))


CODINGS: dict[str, Coding] = {
    "base64": lambda words: base64.b64encode(" ".join(words).encode()).decode(),
    "base64 in lines": lambda words: base64.encodebytes(
        " ".join(words).encode()
    ).decode(),
    "hexadecimal": lambda words: " ".join(words).encode().hex(),
    "ROT13": lambda words: codecs.encode(" ".join(words), "rot13"),
    "camelCase": lambda words: "".join(word.capitalize() for word in words),
    "letters backwards": lambda words: " ".join(word[::-1] for word in words),
    "leet": lambda words: " ".join(words).translate(
        str.maketrans("eaiost", "3@1057")
    ),
    r"`\u0074`": of_characters(r"\u{:04x}"),
    "`%74`": of_characters("%{:02X}"),
    "`&#116;`": of_characters("&#{};"),
    "a JSON object per word": lambda words: json.dumps(
        [{"token": word} for word in words]
    ),
    "a number on each word": lambda words: " ".join(
        f"{word}{n}" for n, word in enumerate(words)
    ),
    "doubled words": lambda words: " ".join(f"{word} {word}" for word in words),
    "`word_TAG`": lambda words: " ".join(f"{word}_NN" for word in words),
    "words joined by hyphens": "-".join,
    "words backwards": lambda words: " ".join(reversed(words)),
    "separated letters": lambda words: "  ".join(map(" ".join, words)),
    "joined words without capitals": lambda words: "".join(words).lower(),
    "bytes apart (`74 6f`)": of_characters("{:02x}", " "),
    "decimal numbers": of_characters("{}", " "),
    "base32": lambda words: base64.b32encode(" ".join(words).encode()).decode(),
    "base64 of hexadecimal": lambda words: base64.b64encode(
        " ".join(words).encode().hex().encode()
    ).decode(),
    "letters moved by 3": letters(3),
    "Morse": lambda words: " / ".join(
        " ".join(MORSE.get(c, c) for c in word.lower()) for word in words
    ),
    "every second word another's": lambda words: " ".join(
        f"{word} {other}"
        for word, other in zip(words, PREFACE * CODED, strict=False)
    ),
}  # fmt: skip


def book_words() -> list[str]:
    """Return the book's words, from its third chapter on."""
    return " ".join(excerpt.text for excerpt in cut(read_epub(BOOK))).split()[3_000:]


def sent_by(
    guard: GuardedAnswer,
    texts: Sequence[str],
    field: Callable[[str], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return the deltas that leave of a stream with these texts, one a choice."""
    chunks: list[dict[str, Any]] = []
    for number, text in enumerate(texts):
        for at in range(0, len(text), PIECE):
            delta = field(text[at : at + PIECE])
            choice = {"index": number, "delta": delta, "finish_reason": None}
            chunks += guard.read({"choices": [choice]})
    chunks += guard.end()
    guard.close()
    return [choice for chunk in chunks for choice in chunk["choices"]]


def contents_sent(guard: GuardedAnswer, texts: Sequence[str]) -> list[str]:
    """Return the text of each choice that leaves."""
    sent = [""] * len(texts)
    for choice in sent_by(guard, texts, lambda piece: {"content": piece}):
        sent[choice["index"]] += choice["delta"].get("content", "")
    return sent


def conversation(
    library: Library,
    words: Sequence[str],
    budget: int | None,
    *,
    step: int = 36,
    preface: Sequence[str] = (),
    turns: int = TURNS,
    choices: int = 1,
    keeps_turns: bool = True,
    changed_every: int = 0,
    resumes: bool = False,
) -> int:
    """Return how many words of the book leave in a conversation.

    step:          its words in each choice
    preface:       other words before them
    keeps_turns:   whether the client returns earlier turns
    changed_every: which words are others; 0: none
    resumes:       whether a turn begins where the last one was ended, as a model would
                   that reads the conversation, not where it would have ended
    """
    messages: list[dict[str, Any]] = [GO_ON]
    left = 0
    at = 0
    for _ in range(turns):
        texts = []
        for _ in range(choices):
            part = [*words[at : at + step]]
            if changed_every:
                count = len(part[changed_every - 1 :: changed_every])
                part[changed_every - 1 :: changed_every] = ["otherwise"] * count
            texts.append(" ".join([*preface, *part]) + " ")
            at += step
        request = {"messages": messages, "n": choices}
        guard = GuardedAnswer(library, request, LIMIT, budget=budget)
        sent = contents_sent(guard, texts)
        left_of_turn = sum(max(len(text.split()) - len(preface), 0) for text in sent)
        left += left_of_turn
        if resumes:
            at += left_of_turn - step * choices
        if keeps_turns:
            reply = {"role": "assistant", "content": " ".join(sent)}
            messages = [*messages, reply, GO_ON]
    return left


MEMORY: dict[str, dict[str, Any]] = {
    f'{TURNS} turns of "go on", 36 words each': {},
    "the same, each from where the last one was ended": {"resumes": True},
    f"{TURNS} turns of 36 words, after 33 own words": {"preface": PREFACE},
    f"{TURNS} such turns, each from where the last one was ended": {
        "preface": PREFACE, "resumes": True,
    },
    f"{TURNS} turns of 19 words, after own words": {"step": 19, "preface": PREFACE},
    f"{TURNS} turns of 30 words, every 7th changed, after own words": {
        "step": 30, "preface": PREFACE, "changed_every": 7,
    },
    "8 choices of 36 words": {"turns": 1, "choices": 8},
    f"{TURNS} new conversations of 36 words": {"keeps_turns": False},
}  # fmt: skip


def words_in_ids(library: Library, words: Sequence[str]) -> int:
    """Return how many words leave in the ids of eight calls of tools."""
    left = 0
    calls = []
    for n in range(8):
        part = "_".join(words[n * 20 :][:20])
        function = {"name": "f", "arguments": "{}"}
        calls.append({"id": part, "type": "function", "function": function})
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    body = {"id": "_".join(words[200:220]), "choices": [{"message": message}]}
    guard = GuardedAnswer(library, {"messages": [GO_ON]}, LIMIT, budget=None)
    (answer,) = guard.read(body, whole=True)
    ids = [answer.get("id", "")]
    for choice in answer["choices"]:
        ids += [call.get("id", "") for call in choice["message"].get("tool_calls", [])]
    asked = {body["id"], *(call["id"] for call in calls)}
    for sent in ids:
        left += max((shared_words(sent, part) for part in asked), default=0)
    return left


def shared_words(sent: str, part: str) -> int:
    """Return how many words of a part an id begins with."""
    count = 0
    for ours, theirs in zip(sent.split("_"), part.split("_"), strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def coded_words(library: Library, words: Sequence[str], coding: Coding) -> int:
    """Return how many words leave of a passage in a coding."""
    passage = words[:CODED]
    guard = GuardedAnswer(library, {"messages": [GO_ON]}, LIMIT)
    (sent,) = contents_sent(guard, [coding(passage)])
    whole = [len(coding(passage[:count]).rstrip("=]\n")) for count in range(CODED + 1)]
    if coding(passage).startswith(passage[-1]):
        whole = [len(coding(passage[CODED - n :])) for n in range(CODED + 1)]
    return sum(length <= len(sent) for length in whole[1:])


def tables() -> tuple[str, str]:
    """Return the tables of attacks over turns, and of codings."""
    library = Library.of([str(BOOK)])
    words = book_words()
    rows = []
    for name, how in MEMORY.items():
        left = [conversation(library, words, budget, **how) for budget in BUDGETS]
        cells = " | ".join(f"{count:,}" for count in left)
        rows.append(f"| {name} | {cells} |")
        print(rows[-1], file=sys.stderr)
    in_ids = words_in_ids(library, words)
    rows.append(f"| 180 words in ids | {in_ids} | {in_ids} | {in_ids} |")
    codings = []
    for name, coding in CODINGS.items():
        codings.append(f"| {name} | {coded_words(library, words, coding)} |")
        print(codings[-1], file=sys.stderr)
    head = "| attack | `--budget none` | 190 | 380 |\n| --- | ---: | ---: | ---: |\n"
    memory = head + "\n".join(rows)
    head = f"| coding of {CODED} words | left |\n| --- | ---: |\n"
    return memory, head + "\n".join(codings)


def main() -> None:
    memory, codings = tables()
    write_measured("guard_attacks.md", memory, name="turns")
    write_measured("guard_attacks.md", codings, name="codings")


if __name__ == "__main__":
    main()
