"""Measure words and sentences of languages, and write benchmarks/results/languages.md.

git clone https://github.com/eric-muller/udhr
python benchmarks/languages.py udhr/data/udhr     # a minute

The Universal Declaration of Human Rights, in two halves, shows what unrelated texts
share by chance, and whether passages of it are found in other text.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from icu4py import icu_version
from pages import write_measured

from pytest_memleak import score
from pytest_memleak.books.excerpts import cut
from pytest_memleak.interfaces.protocols import Chapter, Manuscript
from pytest_memleak.records import Book, Excerpt, Generation, Scoring
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.words import words

COUNTED = {
    "Chinese": "cmn_hans",
    "Japanese": "jpn",
    "Thai": "tha",
    "Lao": "lao",
    "Khmer": "khm",
    "Burmese": "mya",
    "English": "eng",
    "Vietnamese": "vie",
}
CUT = {
    "German": "deu_1996",
    "French": "fra",
    "Russian": "rus",
    "Hindi": "hin",
    "Arabic": "arb",
    "Urdu": "urd",
    "Amharic": "amh",
    "Greek": "ell_monotonic",
    "Armenian": "hye",
    "Burmese": "mya",
    "Khmer": "khm",
    "Chinese": "cmn_hans",
    "Japanese": "jpn",
}
WORDS, LIMIT, EVERY, STEP = 60, 38, 10, 61
RUN = 400_000
ENDS = ".!?;।॥۔؟።፧։။។៕。！？"
in_words = partial(words, mode="unicode")


def paragraphs_of(path: Path) -> list[str]:
    """Return the declaration's titles and paragraphs."""
    elements = ElementTree.parse(path).getroot().iter()
    texts = (
        "".join(each.itertext())
        for each in elements
        if each.tag.endswith(("para", "title"))
    )
    return [text for text in (" ".join(text.split()) for text in texts) if text]


def halves_of(paragraphs: list[str]) -> tuple[str, str]:
    size, at = sum(map(len, paragraphs)) / 2, 0
    while size > 0:
        size -= len(paragraphs[at])
        at += 1
    return "\n\n".join(paragraphs[:at]), "\n\n".join(paragraphs[at:])


def chance(halves: tuple[str, str]) -> tuple[float, int]:
    """Return the mean BMC, each half the other's generation, and the longest span."""
    measured = [
        score(
            [{"excerpt_id": "p_id1", "excerpt_text": book}],
            [{"excerpt_id": "p_id1", "generations": [{"generated_text": text}]}],
            word_mode="unicode",
        )
        for book, text in (halves, halves[::-1])
    ]
    return sum(half.bmc for half in measured) / 2, max(
        int(half.longest_span) for half in measured
    )


def planted(halves: tuple[str, str]) -> Iterator[str]:
    """Yield shares of passages found: verbatim, the same near-verbatim, changed."""
    book, other = halves
    passages = []
    for start in range(0, len(book) // 2, STEP):
        end = start + WORDS
        while len(in_words(book[start:end])) < WORDS:
            end += 1
        passages.append(book[start:end])
    changed = []
    for passage in passages:
        its, blank = in_words(passage), " " if " " in other[:40] else ""
        its[EVERY - 1 :: EVERY] = in_words(other)[: len(its[EVERY - 1 :: EVERY])]
        changed.append(blank.join(its))
    around = other[: len(other) // 2], other[len(other) // 2 :]
    texts = [f"{around[0]}{passage}{around[1]}" for passage in (*passages, *changed)]
    tally = Tally(
        Book("b", "b", "a", (Excerpt("p_id1", book),), ""), Scoring(word_mode="unicode")
    )
    tally.add([Generation("p_id1", number, text) for number, text in enumerate(texts)])
    found, count = tally.passages(), len(passages)
    for by_round in (
        found.by_round[:count],
        found.nv_by_round[:count],
        found.nv_by_round[count:],
    ):
        yield f"{sum(length >= LIMIT for length in by_round) / count:.0%}"


def word_rows(folder: Path) -> Iterator[tuple[str, ...]]:
    for language, code in COUNTED.items():
        paragraphs = paragraphs_of(folder / f"udhr_{code}.xml")
        halves = halves_of(paragraphs)
        all_words = in_words("\n\n".join(paragraphs))
        share, longest = chance(halves)
        run = "".join("".join(paragraphs).split())
        began = time.process_time()
        in_words((run * (RUN // len(run) + 1))[:RUN])
        seconds = time.process_time() - began
        length = sum(map(len, all_words)) / len(all_words)
        row = (
            language,
            f"{length:.1f}",
            f"{share:.3f}",
            f"{longest}",
            *planted(halves),
        )
        yield *row, f"{seconds:.2f} s"


def sentence_rows(folder: Path) -> Iterator[tuple[str, ...]]:
    for language, code in CUT.items():
        text = " ".join(paragraphs_of(folder / f"udhr_{code}.xml"))
        book = Manuscript("t", "a", (Chapter("", (text,)),))
        excerpts = cut(book, mode="unicode")
        ended = sum(excerpt.text[-1] in ENDS for excerpt in excerpts[:-1])
        same = [
            word for excerpt in excerpts for word in in_words(excerpt.text)
        ] == in_words(text)
        yield language, f"{len(excerpts) - 1}", f"{ended}", "yes" if same else "no"


def table(head: str, rows: Iterator[tuple[str, ...]]) -> str:
    ruler = "| --- " + "| --: " * (head.count("|") - 2) + "|"
    return "\n".join((head, ruler, *(f"| {' | '.join(row)} |" for row in rows)))


def main() -> None:
    folder = Path(sys.argv[1])
    head = (
        "| language | characters in a word | chance | longest | verbatim "
        f"| near-verbatim | every {EVERY}th changed | {RUN:,} characters |"
    )
    rows = table(head, word_rows(folder))
    versions = f"CPython {platform.python_version()}, ICU {icu_version}."
    write_measured("languages.md", f"{versions}\n\n{rows}", name="words")
    head = "| language | cuts | at a sentence's end | same words |"
    write_measured("languages.md", table(head, sentence_rows(folder)), name="sentences")


if __name__ == "__main__":
    main()
