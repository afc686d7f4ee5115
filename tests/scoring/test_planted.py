"""Passages planted in other prose are found, whatever was done to them (docs/method.md)."""

import random
from functools import cache
from itertools import islice

import pytest
from examples import examples
from marks import full
from scored_books import book_of

from pytest_memleak.records import Generation, Scoring
from pytest_memleak.scoring.catalog_scan import GenerationPrefilter, book_keys
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected

TRIALS = 1_000
BOOK_WORDS, EXCERPT_WORDS = 4_000, 400
NAMES = ("Harriet", "Mr Weston", "Emma", "Knightley")


@cache
def vocabulary():
    rng = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgk"
    return [
        "".join(rng.choices(letters, range(22, 0, -1), k=rng.randint(2, 10)))
        for _ in range(9_000)
    ]


@cache
def prose(seed, count):
    """Words with capitals, points and names; the common ones often, as in any language."""
    rng = random.Random(f"prose {seed}")
    words = []
    while len(words) < count:
        word = vocabulary()[int(len(vocabulary()) ** rng.random()) - 1]
        words += rng.choice(NAMES).split() if rng.random() < 0.04 else [word]
    words[::11] = map(str.capitalize, words[::11])
    words[6::11] = [f"{word}," for word in words[6::11]]
    words[10::11] = [f"{word}." for word in words[10::11]]
    return words[:count]


@cache
def books():
    pages = range(0, BOOK_WORDS, EXCERPT_WORDS)
    texts = (
        [" ".join(prose(n, BOOK_WORDS)[at:][:EXCERPT_WORDS]) for at in pages]
        for n in range(3)
    )
    return tuple(book_of(*its, book_id=f"book{n}") for n, its in enumerate(texts))


@cache
def index():
    return SharedIndex(books(), k=5)


def planted(length, change, *, book=0, place=None, prompted="p_id1", separator=" "):
    around = prose("others", 60_000)
    for trial in range(TRIALS):
        rng = random.Random(f"{trial} {length}")
        at = rng.randrange(BOOK_WORDS - length) if place is None else place(rng, length)
        passage = change(prose(book, BOOK_WORDS)[at : at + length], rng)
        cut = rng.randrange(len(around) - 400)
        before, after = (
            " ".join(around[cut : cut + 150]),
            " ".join(around[cut + 150 : cut + 300]),
        )
        yield Generation(prompted, trial, separator.join((before, passage, after)))


def tallied(generations):
    protected = Protected(index(), "book0", ("book0", "book1", "book2"))
    tally = Tally(books()[0], Scoring(), protected=protected)
    tally.add(generations)
    return tally.passages()


def verbatim(words, _):
    return " ".join(words)


def own_page(rng, length):
    return rng.randrange(EXCERPT_WORDS - length + 1)


def other_page(rng, length):
    return rng.randrange(EXCERPT_WORDS, BOOK_WORDS - length)


def across_a_border(rng, length):
    border = rng.randrange(1, BOOK_WORDS // EXCERPT_WORDS - 1) * EXCERPT_WORDS
    return border - rng.randrange(1, length)


def near_a_border(rng, _):
    return rng.randrange(1, 5) * EXCERPT_WORDS + rng.randrange(1, 399)


@pytest.mark.parametrize("length", [20, 40, 60, 400])
@pytest.mark.parametrize(
    ("book", "place"),
    [(0, own_page), (0, other_page), (0, across_a_border), (1, None)],
    ids=["own page", "other page", "across a border", "other book"],
)
def test_a_verbatim_passage_is_always_found(length, book, place):
    if place is across_a_border and length == EXCERPT_WORDS:
        place = near_a_border
    trials = examples(TRIALS)
    result = tallied(islice(planted(length, verbatim, book=book, place=place), trials))
    assert sum(words >= length for words in result.by_round) == trials
    assert sum(words >= length for words in result.nv_by_round) == trials
    assert result.longest_passage.book == f"book{book}"


def every(step, other):
    def change(words, rng):
        return " ".join(
            other(word, rng) if n % step == step - 1 else word
            for n, word in enumerate(words)
        )

    return change


def swapped(words, _):
    words = list(words)
    for at in range(8, len(words) - 1, 10):
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def each(change):
    return lambda words, rng: " ".join(change(word, rng) for word in words)


def lines(begin, end="\n", length=8):
    def change(words, _):
        rows = [
            " ".join(words[at : at + length]) for at in range(0, len(words), length)
        ]
        return (
            "\n"
            + end.join(begin(n) + row for n, row in enumerate(rows, start=1))
            + "\n"
        )

    return change


def insertions(begin, end="\n", length=12):
    """Up to 25 words before each of the passage's lines."""
    return lines(lambda n: begin.format(n, (*NAMES, "Anne Elliot")[n % 5]), end, length)


INSERTIONS = {
    "speakers": insertions("{1} (aside, to nobody in the room): "),
    "stage directions": insertions(
        "({1} walks before the window, up and down, and won't look.) "
    ),
    "notes": insertions(
        "Note {0}. The second edition reads otherwise here, as {1} was the first to "
        "remark in the "
        "margin of her copy.\n"
    ),
    "citations": insertions(
        "(as in the first edition, London, volume {0}, chapter nine, page 17) "
    ),
    "comments": insertions(
        "<!-- line {0}: {1} speaks; checked against the printed book -->"
    ),
    "comments in code": insertions(
        "    text += nextLine(chapter, {0})  // read by {1}: ", length=10
    ),
    "table rows": insertions("| part {0} | {1} | read aloud | no remark | ", " |\n"),
    "columns": insertions(
        "{1} sat by the fire all evening long and said   ", length=10
    ),
    "subtitles": insertions(
        "\n{0}\n00:12:{0:02},000 --> 00:13:{0:02},500 (music)\n{1}, in another room:\n"
    ),
}


def parted(words, _):
    parts = []
    for n, word in enumerate(words):
        letters = word.rstrip(".,")
        parts.append(
            f"{word[:2]}-\n{word[2:]}" if n % 8 == 7 and len(letters) > 3 else word
        )
    return " ".join(parts)


LOOK_ALIKE = str.maketrans("aeocpxyi", "аеосрхуі")
FULL_WIDTH = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)})
CHANGES = {
    "none": verbatim,
    "every 7th word": every(7, lambda word, _: "changed"),
    "every 10th word": every(10, lambda word, _: "changed"),
    "every 20th word": every(20, lambda word, _: "changed"),
    "neighbours swapped": swapped,
    "two words put in": every(10, lambda word, _: f"{word} put in"),
    "zero-width": each(lambda word, rng: f"{word[:1]}\u200b{word[1:]}"),
    "soft hyphens": each(lambda word, rng: "\u00ad".join(word)),
    "homoglyphs": each(lambda word, rng: word.translate(LOOK_ALIKE)),
    "combining marks": each(lambda word, rng: "".join(c + "\u0336" for c in word)),
    "accents": each(lambda word, rng: word.replace("e", "e\u0301").replace("o", "ö")),
    "full width": each(lambda word, rng: word.translate(FULL_WIDTH)),
    "bold": each(lambda word, rng: f"**{word}**"),
    "bold within": each(lambda word, rng: f"{word[:1]}**{word[1:]}**"),
    "tagged": each(lambda word, rng: f"<b>{word}</b>"),
    "tagged within": each(lambda word, rng: f"{word[:1]}<i class='x'>{word[1:]}</i>"),
    "tagged with attributes": each(lambda word, rng: f"<span title='a > b'>{word}</span>"),
    "underscores": lambda words, rng: "_".join(words),
    "no-break spaces": lambda words, rng: "&nbsp;".join(words),
    "line breaks": lambda words, rng: "<br>".join(words),
    "CRLF": lambda words, rng: "\r\n".join(words),
    "line numbers": lines("{} ".format),
    "numbers in brackets": lines("[{}] ".format),
    "verse numbers": lines("3:{} ".format),
    "time stamps": lines("00:12:{:02} ".format),
    "hyphenated line ends": parted,
    "capitals": each(lambda word, rng: word.upper()),
}  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize(("book", "length"), [(0, 60), (1, 100), (1, 400)])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_passage_is_always_found_nearly_verbatim(change, book, length):
    result = tallied(planted(length, change, book=book, separator="\n"))
    assert sum(words >= 20 for words in result.nv_by_round) == TRIALS


OTHER_NAMES = {
    "Harriet": "Lucy", "Emma": "Anne Elliot", "Knightley": "Wentworth", "Weston": "Croft",
}  # fmt: skip


def renamed(words, _):
    return " ".join(OTHER_NAMES.get(word.rstrip(".,"), word) for word in words)


def survived(change, trials):
    """Of so many changed passages of a catalog's book, how many let it survive, and no other."""
    keys = [(f"book{n}", book_keys(book, k=5)) for n, book in enumerate(books())]
    count = 0
    for generation in islice(planted(60, change, book=2, separator="\n"), trials):
        result = list(
            GenerationPrefilter([generation.text], k=5).matching_books(
                keys, least_verbatim_words=20
            )
        )
        assert {survivor.name for survivor in result} <= {"book2"}
        count += sum(survivor.nv_longest >= 20 for survivor in result)
    return count


@pytest.mark.parametrize("trials", [5, full(TRIALS)])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_passage_of_a_catalog_book_is_always_found(change, trials):
    assert survived(change, trials) == trials


@pytest.mark.parametrize("change", INSERTIONS.values(), ids=INSERTIONS)
def test_a_passage_with_words_inserted_is_always_found(change):
    result = tallied(islice(planted(60, change, separator="\n"), 25))
    assert sum(words >= 20 for words in result.nv_by_round) == 25
    assert survived(change, 5) == 5


@pytest.mark.parametrize("in_catalog", [False, full(True)])
def test_a_passage_with_its_names_changed_is_nearly_always_found(in_catalog):
    if in_catalog:
        assert survived(renamed, TRIALS) >= 990
    else:
        assert (
            sum(words >= 20 for words in tallied(planted(60, renamed)).nv_by_round)
            >= 990
        )


def test_other_prose_alone_contains_no_passage():
    around = prose("others", 60_000)
    texts = (" ".join(around[at : at + 400]) for at in range(0, 60_000, 400))
    result = tallied(Generation("p_id1", n, text) for n, text in enumerate(texts))
    assert result.nv_longest_passage == 0
    assert result.longest_passage < 12
