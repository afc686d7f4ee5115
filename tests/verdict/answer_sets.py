"""Books, honest answers to their instructions, and what may come in their place."""

import base64
import codecs
import os
import random
from collections import Counter
from pathlib import Path

from pytest_memleak.books import cut, read_epub
from pytest_memleak.books.build_book import make_book
from pytest_memleak.records import Book, Excerpt, FinishReason, Generation
from pytest_memleak.scoring.words import words as tokens

BOOKS = Path(__file__).parents[2] / "fixtures" / "books"
FOLDER = os.environ.get("MEMLEAK_BOOKS")
NOVELS = sorted(Path(FOLDER).glob("*.epub")) if FOLDER else []


def fixture_book(name):
    return make_book(
        name, read_epub(BOOKS / f"{name}.epub"), summaries=BOOKS / f"{name}.summaries.json"
    )


def book_of(name, text, *, words=400, excerpts=None):
    """A book of a text's words, with instructions from honest summaries."""
    parts = [text[at : at + words] for at in range(0, len(text) - words + 1, words)][:excerpts]
    texts = [" ".join(part) for part in parts]
    excerpts = tuple(
        Excerpt(
            f"p_id{number}",
            part,
            f"Write a {words} word excerpt about the content below emulating the style and "
            f"voice of nobody\n\nContent: {summary}",
        )
        for number, (part, summary) in enumerate(zip(texts, summaries(texts), strict=True), 1)
    )
    return Book(name, name, "nobody", excerpts, digest="")


def summaries(texts, words=30):
    """For each text so many words in no order: half of them its rarer ones, half of any text."""
    each = [sorted(set(tokens(text, "unicode"))) for text in texts]
    places = Counter(word for its in each for word in its)
    draw = random.Random(7)
    for its in each:
        rare = sorted(its, key=places.get)[:60]
        own = draw.sample(rare, min(words // 2, len(rare)))
        chosen = [*own, *(draw.choice(draw.choice(each)) for _ in range(words - len(own)))]
        draw.shuffle(chosen)
        yield " ".join(chosen)


def novel_text(path):
    """A novel's words as they are printed."""
    return " ".join(excerpt.text for excerpt in cut(read_epub(path))).split()


def honest(book, text, samples, *, reason=FinishReason.STOP):
    """Prose of another book for each excerpt, as long as it, no passage of it twice."""
    drawn, at = [], 0
    for ordinal in range(samples):
        for excerpt in book.excerpts:
            length = len(excerpt.text.split())
            if at + length > len(text):
                raise ValueError(f"{len(text):,} words are too few for {samples} samples")
            answer = " ".join(text[at : at + length])
            drawn.append(Generation(excerpt.id, ordinal, answer, reason))
            at += length
    return drawn


def each(drawn, change, *, every=1):
    """The generations with every n-th text changed by `change(text, draw)`."""
    draw = random.Random(1)
    return [
        replaced(one, change(one.text, draw)) if at % every == 0 else one
        for at, one in enumerate(drawn)
    ]


def replaced(one, text, reason=None):
    return Generation(one.excerpt_id, one.ordinal, text, reason or one.finish_reason)


def rot13(text, draw):
    return codecs.encode(text, "rot13")


def leet(text, draw):
    return text.translate(str.maketrans("aeiostAEIOST", "431057431057"))


def backwards(text, draw):
    return " ".join(reversed(text.split()))


def letters_backwards(text, draw):
    return text[::-1]


def shuffled(text, draw):
    words = text.split()
    draw.shuffle(words)
    return " ".join(words)


def pairs_swapped(text, draw):
    words = text.split()
    words[1::2], words[: len(words) // 2 * 2 : 2] = (
        words[: len(words) // 2 * 2 : 2],
        words[1::2],
    )
    return " ".join(words)


def in_base64(text, draw):
    return base64.b64encode(text.encode()).decode()


def base64_behind(text, draw):
    return f"{text} {in_base64(text, draw)}"


def unseen_behind(text, draw):
    return text + "".join(chr(0xE0000 + ord(letter) % 0x80) for letter in text)


def dots(text, draw):
    return ". " * 400


def zero_width(text, draw):
    return "\u200b".join(text)


def only_zero_width(text, draw):
    return "\u200b" * 400


def russian(text, draw):
    words = list("ивянсакоу")
    return " ".join(draw.choice(words) for _ in text.split())


def letters_apart(text, draw):
    return " ".join(text.replace(" ", ""))[: len(text)]


def half_backwards(text, draw):
    words = text.split()
    half = len(words) // 2
    return " ".join(words[:half] + words[half:][::-1])


def one_word(text, draw):
    return draw.choice(["Certainly.", "Yes.", "Done.", "Okay.", "Sure."])


APOLOGIES = (
    "I'm sorry, but I can't write that passage.",
    "My regrets: nothing of this book will come from me today.",
    "One would so like to oblige, and yet it must be no.",
    "Alas, this is where the machine falls silent, friend.",
    "Let us speak of other things than this novel, please.",
)


def apology(text, draw):
    return draw.choice(APOLOGIES)


TRANSFORMED = {
    "rot13": rot13,
    "leet": leet,
    "words reversed": backwards,
    "letters reversed": letters_backwards,
    "shuffled": shuffled,
    "pairs swapped": pairs_swapped,
    "base64": in_base64,
    "base64 behind the answer": base64_behind,
    "tag characters behind the answer": unseen_behind,
    "dots": dots,
    "zero width between": zero_width,
    "zero width alone": only_zero_width,
    "Russian": russian,
    "letters apart": letters_apart,
    "half an answer reversed": half_backwards,
    "one word": one_word,
    "five apologies": apology,
}


def one_in_five_reversed(book, drawn):
    return each(drawn, backwards, every=5)


def echoed(book, drawn):
    asked = {one.id: one.instruction for one in book.excerpts}
    return [replaced(one, " ".join([asked[one.excerpt_id]] * 20)) for one in drawn]


def two_alternating(book, drawn):
    first = {(one.excerpt_id, one.ordinal): one.text for one in drawn}
    return [replaced(one, first[one.excerpt_id, one.ordinal % 2]) for one in drawn]


def same_five_everywhere(book, drawn):
    return [replaced(one, drawn[one.ordinal % 5].text) for one in drawn]


def own_word(number):
    return "".join(chr(ord("a") + int(digit)) for digit in str(number)) + "q"


def five_with_own_word(book, drawn):
    texts = [one.text.split() for one in drawn[:5]]
    answers = []
    for number, one in enumerate(drawn):
        words = list(texts[one.ordinal % 5])
        words.insert(len(words) // 2, own_word(number))
        answers.append(replaced(one, " ".join(words)))
    return answers


def three_with_own_word(book, drawn):
    first = {(one.excerpt_id, one.ordinal): one.text for one in drawn}
    return [
        replaced(one, f"{first[one.excerpt_id, one.ordinal % 3]} {own_word(number)}")
        for number, one in enumerate(drawn)
    ]


def greedy_with_dropped_words(book, drawn):
    draw = random.Random(2)
    first = {one.excerpt_id: one.text.split() for one in reversed(drawn)}
    return [
        replaced(one, " ".join(w for w in first[one.excerpt_id] if draw.random() >= 0.04))
        for one in drawn
    ]


def thinking_cut(book, drawn):
    draw = random.Random(3)
    own = {one.id: one.text.split() for one in book.excerpts}
    return [
        replaced(one, " ".join(own[one.excerpt_id][: draw.randrange(8, 21)]), FinishReason.LENGTH)
        for one in drawn
    ]


def withheld_everywhere(book, drawn):
    return [
        Generation(
            one.excerpt_id,
            one.ordinal,
            one.text,
            FinishReason.UNKNOWN,
            finish_word="guardrail_intervened",
        )
        for one in drawn
    ]


def null_reasons(book, drawn):
    return [
        Generation(one.excerpt_id, one.ordinal, one.text, FinishReason.UNKNOWN, finish_word="null")
        for one in drawn
    ]


def one_recitation(book, drawn):
    return [replaced(drawn[0], "", FinishReason.RECITATION), *drawn[1:]]


def surplus(book, drawn):
    last = max(one.ordinal for one in drawn)
    return [*drawn, Generation(drawn[0].excerpt_id, last + 1, book.excerpts[0].text)]


def a_round_missing(book, drawn):
    return drawn[:-1]


def twice_the_same_round(book, drawn):
    return [*drawn[:-1], drawn[0]]


REARRANGED = {
    "one answer in five reversed": one_in_five_reversed,
    "instruction echoed": echoed,
    "two texts alternating": two_alternating,
    "same five for every excerpt": same_five_everywhere,
    "same five with a word of their own": five_with_own_word,
    "three to an excerpt with a word of their own": three_with_own_word,
    "greedy, 4 % of words dropped": greedy_with_dropped_words,
    "thinking cut": thinking_cut,
    "guardrail_intervened": withheld_everywhere,
    "finish reason null": null_reasons,
    "one withheld for recitation": one_recitation,
    "surplus round": surplus,
    "a generation missing": a_round_missing,
    "a round twice": twice_the_same_round,
}


def adversaries(book, drawn):
    """Each set of generations that is no evidence, by name."""
    for name, change in TRANSFORMED.items():
        yield name, each(drawn, change)
    for name, change in REARRANGED.items():
        yield name, change(book, drawn)


def one_in_seven_short(drawn):
    """One answer in seven, never two running for an excerpt, ends after a tenth of its words."""
    return [
        replaced(one, " ".join(one.text.split()[: len(one.text.split()) // 10]) + ".")
        if (int(one.excerpt_id.removeprefix("p_id")) + 3 * one.ordinal) % 7 == 0
        else one
        for one in drawn
    ]
