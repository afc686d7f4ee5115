"""Seeded cases of protected books and generations that recite them, and their tallies."""

from pytest_memleak.records import Generation, Scoring
from pytest_memleak.scoring.generation_tally import Tally
from pytest_memleak.scoring.multi_book_index import SharedIndex
from pytest_memleak.scoring.protected_passages import Protected


def tally_of(
    books, generations, *, excused=(), unprotected=(), scoring=None, measured=None, catalog=(),
    least=0,
):  # fmt: skip
    scoring = scoring or Scoring()
    ids = [book.id for book in books if book.id not in {*catalog, *unprotected}]
    further = tuple(book.id for book in books if book.id in catalog)
    index = SharedIndex(books, k=scoring.k, mode=scoring.word_mode)
    protected = Protected(
        index, measured or ids[0], tuple(ids), tuple(excused), further, least
    )
    measured = next(book for book in books if book.id == protected.measured)
    tally = Tally(measured, scoring, protected=protected)
    tally.add(generations)
    return tally


def passages_of(books, generations, **settings):
    return tally_of(books, generations, **settings).passages()


ODD = [
    "é", "cafe\u0301", "ÿyyyyyyÿ", "averylongwordindeed", "averylongwordindeeD", "İx", "МaрУ",
    "straße",
]  # fmt: skip
MARKUP = [
    "*", "**", "_", "<b>", "</i>", "<br>", "&nbsp;", "\u200b", "-\n", "\n3. ", "\r\n", "1", "“",
]  # fmt: skip


def edited(rng, words):
    generations = []
    for word in words:
        chance = rng.random()
        if chance < 0.04:
            generations.append("changed")
        elif chance < 0.07:
            generations += [word, "put", "in"]
        elif chance >= 0.1:
            generations.append(word)
    return generations


def case_of(rng):
    vocabulary = [f"w{n}" for n in range(rng.choice([3, 6, 12, 40, 200]))]
    vocabulary += rng.sample(ODD, rng.choice([0, 0, 3]))
    markup = rng.choice([(), (), MARKUP])

    def spoken(words):
        if not markup:
            return " ".join(words)
        ends = [rng.choice(markup) if rng.random() < 0.08 else "" for _ in words]
        return "".join(
            word + end + rng.choice(["" if end else " ", " ", " ", ", "])
            for word, end in zip(words, ends, strict=True)
        )

    books, pool = [], ["w0"]
    for number in range(rng.choice([1, 1, 2, 3])):
        excerpts, excused = [], rng.random() < 0.3
        for _ in range(rng.randint(1, 3)):
            words = rng.choices(vocabulary, k=rng.randint(0, 35))
            if pool and rng.random() < 0.6:
                at = rng.randrange(len(pool))
                words[rng.randint(0, len(words)) :] = pool[at : at + rng.randint(5, 30)]
            pool += words
            excerpts.append(words)
        excerpts[0] += rng.choices(vocabulary, k=5)
        books.append(
            {"id": f"book{number}", "excerpts": [spoken(excerpt) for excerpt in excerpts],
             "contiguous": rng.random() < 0.8, "excused": excused,
             "protected": number == 0 or not excused or rng.random() < 0.5}
        )  # fmt: skip
    requested = []
    for number in range(len(books[0]["excerpts"])):
        at = rng.randrange(len(pool))
        requested.append(
            (f"p_id{number + 1}", spoken(pool[at : at + rng.choice([0, 3, 7, 12])]))
        )
    generations = {}
    for excerpt_id, _ in requested:
        texts = []
        for _ in range(rng.randint(0, 2)):
            words = []
            for _ in range(rng.randint(0, 3)):
                at = rng.randrange(len(pool))
                stretch = pool[at : at + rng.randint(1, 40)]
                words += edited(rng, stretch) if rng.random() < 0.5 else stretch
                words += rng.choices(vocabulary, k=rng.choice([0, 1, 4]))
            texts.append(spoken(words))
        generations[excerpt_id] = texts
    settings = {
        "k": rng.choice([5, 5, 5, 1, 3, 8]), "trim": rng.choice([5, 5, 0, 2, 7]),
        "span_threshold": rng.choice([0, 4, 8, 20]), "mode": rng.choice(["paper", "unicode"]),
    }  # fmt: skip
    return books, requested, generations, settings


def generations_of(texts_by_excerpt):
    return [
        Generation(excerpt_id, ordinal, text)
        for excerpt_id, texts in texts_by_excerpt.items()
        for ordinal, text in enumerate(texts)
    ]
