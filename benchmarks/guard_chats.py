"""Which honest chats about books a guard ends, for docs/scan-and-guard.md; its cost.

    MEMLEAK_BOOKS=FOLDER python benchmarks/guard_chats.py     # results/guard_chats.md

FOLDER has six novels as EPUBs. A chat is about one of them: each answer has some
sentences of talk and, between quotation marks, sentences in a row of the novel. All six
are protected, and each answer passes the guard with the earlier turns in its request.
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from pages import write_measured

from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.guard import GuardedAnswer
from pytest_memleak.guard.word_budget import COUNTED, Budget, PlacesOfPassages
from pytest_memleak.library import Library
from pytest_memleak.scoring.book_words import NEAR_MATCH

LIMIT = 38
BUDGET = 380
CHATS = 60
ANSWERS = 1_000
WORDS = 250  # of an honest answer
PIECE = 20  # characters that arrive at once
SEED = 11
TALK = [
    sentence.replace("\n", " ")
    for sentence in """\
That is one of my favorite moments, because it shows how {a} feels about {b}.

Readers have long argued about whether {a} deserves our sympathy here; I lean
towards yes.

The scene works by contrast: what {a} says and what {b} understands are two
different things.

Notice how the narrator keeps us at a distance until the end of the chapter.

If {a} had simply told {b} the truth, most of the second half of the plot would
never have happened.

Critics of the time were less kind about this part, and called it melodrama.

You might compare it with the earlier meeting, where {b} was still sure of being
right.

It is a fair question. The text itself gives us only a few hints, and they point in
both directions.

My own theory is that {a} knew from the start, and that the letter only confirmed
it.

The film versions usually drop this, which is a pity, since it explains why {b}
leaves.""".split("\n\n")
]
NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"”’]?\s+(?=[A-Z“])")


class Kind(NamedTuple):
    """A kind of chats.

    least, most: sentences that an answer quotes in a row
    every:       which answers quote
    """

    name: str
    turns: int
    least: int
    most: int
    every: int = 1


KINDS = (
    Kind("nothing", 20, 0, 0),
    Kind("a sentence in every second answer", 10, 1, 1, every=2),
    Kind("a sentence in every answer", 10, 1, 1),
    Kind("one to three sentences in every answer", 5, 1, 3),
    Kind("one to three sentences in every answer", 10, 1, 3),
    Kind("one to three sentences in every answer", 20, 1, 3),
    Kind("three sentences in every answer", 10, 3, 3),
)


class Ended(NamedTuple):
    """What a guard ended of a kind: answers by the limit, chats by the budget.

    quoting: chats that quote more than the budget, if the limit ends no answer
    """

    answers: int
    chats: int
    quoting: int


class Novel:
    """The sentences of a novel, and the names in it."""

    def __init__(self, path: Path) -> None:
        self.text = " ".join(excerpt.text for excerpt in cut(read_epub(path)))
        self.names = NAME.findall(self.text)
        self.sentences = SENTENCE_END.split(self.text)

    def answer(self, draw: random.Random, quoted: int) -> str:
        """Return talk with so many sentences of the novel in it."""
        if not quoted:
            return f"{self._talk(draw)} {self._talk(draw)}"
        at = draw.randrange(len(self.sentences) - quoted)
        quotation = " ".join(self.sentences[at : at + quoted])
        return f"{self._talk(draw)}\n\n“{quotation}”\n\n{self._talk(draw)}"

    def _talk(self, draw: random.Random) -> str:
        a, b = draw.choice(self.names), draw.choice(self.names)
        chosen = draw.sample(TALK, draw.randint(2, 4))
        return " ".join(sentence.format(a=a, b=b) for sentence in chosen)


def answers_of(kind: Kind, novel: Novel, draw: random.Random) -> list[str]:
    """Return the answers of a chat."""
    answers = []
    for turn in range(kind.turns):
        quotes = turn % kind.every == 0
        count = draw.randint(kind.least, kind.most) if quotes else 0
        answers.append(novel.answer(draw, count))
    return answers


def passed(
    library: Library,
    messages: list[dict[str, Any]],
    text: str,
) -> tuple[str, set[str]]:
    """Return what leaves of an answer, and what ended it: the limit, or the budget."""
    guard = GuardedAnswer(library, {"messages": messages}, LIMIT, budget=BUDGET)
    chunks: list[dict[str, Any]] = []
    for at in range(0, len(text), PIECE):
        delta = {"content": text[at : at + PIECE]}
        chunks += guard.read({"choices": [{"index": 0, "delta": delta}]})
    chunks += guard.end()
    guard.close()
    sent = ""
    for chunk in chunks:
        for choice in chunk["choices"]:
            sent += choice["delta"].get("content", "")
    return sent, {stop.exceeded for stop in guard.stops}


def ended_of(kind: Kind, novels: list[Novel], library: Library) -> Ended:
    """Let the chats of a kind pass the guard."""
    draw = random.Random(f"{SEED} {kind}")
    places = PlacesOfPassages(library)
    chats = answers = quoting = 0
    for number in range(CHATS):
        messages: list[dict[str, Any]] = [{"role": "user", "content": "And here?"}]
        over_budget = False
        texts = answers_of(kind, novels[number % len(novels)], draw)
        quoted = places.of(library.find(texts, least=COUNTED))
        quoting += Budget(BUDGET, places).excess(quoted, None) is not None
        for text in texts:
            sent, exceeded = passed(library, messages, text)
            over_budget |= "budget" in exceeded
            answers += "limit" in exceeded
            messages.append({"role": "assistant", "content": sent})
            messages.append({"role": "user", "content": "And here?"})
        chats += over_budget
    return Ended(answers, chats, quoting)


def honest_answers(novels: list[Novel], protected: Library) -> tuple[int, int]:
    """Return how many answers of the last novel are ended, and how many share words."""
    words = novels[-1].text.split()
    draw = random.Random(SEED)
    ended = sharing = 0
    for _ in range(ANSWERS):
        at = draw.randrange(len(words) - WORDS)
        text = " ".join(words[at : at + WORDS])
        sent, _ = passed(protected, [], text)
        ended += sent != text
        sharing += bool(protected.find([text], least=NEAR_MATCH))
    return ended, sharing


def microseconds_per_word(novels: list[Novel], library: Library, turns: int) -> float:
    """Return what an honest answer's word costs, reading so many earlier turns too."""
    draw = random.Random(SEED)
    kind = Kind("", turns + 1, 0, 0)
    words = seconds = 0.0
    for novel in novels * 5:
        *earlier, last = answers_of(kind, novel, draw)
        messages = [{"role": "assistant", "content": text} for text in earlier]
        text = " ".join([last] * 3)
        begun = time.process_time()
        passed(library, messages, text)
        seconds += time.process_time() - begun
        words += len(text.split())
    return seconds / words * 1e6


def main() -> None:
    paths = sorted(Path(os.environ["MEMLEAK_BOOKS"]).glob("*.epub"))
    novels = [Novel(path) for path in paths]
    library = Library.of([str(path) for path in paths])
    rows = []
    for kind in KINDS:
        ended = ended_of(kind, novels, library)
        count = f"{ended.answers:,} of {CHATS * kind.turns:,}"
        row = f"| {kind.name} | {kind.turns} | {count} | {ended.chats} |"
        rows.append(f"{row} {ended.quoting} |")
        print(rows[-1], file=sys.stderr)
    others = Library.of([str(path) for path in paths[:-1]])
    stopped, sharing = honest_answers(novels, others)
    costs = [microseconds_per_word(novels, library, turns) for turns in (0, 10, 40)]
    table = f"""\
| {CHATS} chats whose answers quote | turns | answers over the limit | chats over the \
budget | that quote more than it |
| --- | ---: | ---: | ---: | ---: |
{chr(10).join(rows)}

Of {ANSWERS:,} answers of {WORDS} words from another novel, {stopped} were ended; \
{sharing} share {NEAR_MATCH} words in a row or more with a protected one.

Processor time per word of an answer, that for reading the earlier turns included: \
{costs[0]:.0f} µs without any, {costs[1]:.0f} µs after 10, \
{costs[2]:.0f} µs after 40."""
    write_measured("guard_chats.md", table)


if __name__ == "__main__":
    main()
