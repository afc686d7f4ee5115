"""Books, honest answers to their instructions, and what may come in their place."""

import base64
import codecs
import dataclasses
import os
import random
from collections import Counter
from pathlib import Path

from pytest_memleak.books.build_book import make_book
from pytest_memleak.books.epub import read_epub
from pytest_memleak.books.excerpts import cut
from pytest_memleak.records import Book, Excerpt, FinishReason, Generation
from pytest_memleak.scoring.words import words as tokens

BOOKS = Path(__file__).parents[2] / "fixtures" / "books"
FOLDER = os.environ.get("MEMLEAK_BOOKS")
NOVELS = sorted(Path(FOLDER).glob("*.epub")) if FOLDER else []


def fixture_book(name):
    return make_book(
        name,
        read_epub(BOOKS / f"{name}.epub"),
        summaries=BOOKS / f"{name}.summaries.json",
    )


def book_of(name, text, *, words=400, excerpts=None):
    starts = range(0, len(text) - words + 1, words)[:excerpts]
    texts = [" ".join(text[at : at + words]) for at in starts]
    excerpts = tuple(
        Excerpt(
            f"p_id{number}",
            part,
            f"Write a {words} word excerpt about the content below emulating the style "
            "and "
            f"voice of nobody\n\nContent: {summary}",
        )
        for number, (part, summary) in enumerate(
            zip(texts, summaries(texts), strict=True), 1
        )
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
        chosen = [
            *own,
            *(draw.choice(draw.choice(each)) for _ in range(words - len(own))),
        ]
        draw.shuffle(chosen)
        yield " ".join(chosen)


def novel_text(path):
    return " ".join(excerpt.text for excerpt in cut(read_epub(path))).split()


def honest(book, text, samples, *, reason=FinishReason.STOP):
    """Prose of another book for each excerpt, as long as it, no passage of it twice."""
    answers, at = [], 0
    for ordinal in range(samples):
        for excerpt in book.excerpts:
            length = len(excerpt.text.split())
            if at + length > len(text):
                raise ValueError(
                    f"{len(text):,} words are too few for {samples} samples"
                )
            answer = " ".join(text[at : at + length])
            answers.append(Generation(excerpt.id, ordinal, answer, reason))
            at += length
    return answers


def each(answers, change, *, every=1):
    """The generations with every n-th text changed by `change(text, draw)`."""
    draw = random.Random(1)
    return [
        replaced(answer, change(answer.text, draw)) if at % every == 0 else answer
        for at, answer in enumerate(answers)
    ]


def replaced(one, text, reason=None):
    return Generation(one.excerpt_id, one.ordinal, text, reason or one.finish_reason)


LEET = str.maketrans("aeiostAEIOST", "431057431057")
APOLOGIES = (
    "I'm sorry, but I can't write that passage.",
    "My regrets: nothing of this book will come from me today.",
    "One would so like to oblige, and yet it must be no.",
    "Alas, this is where the machine falls silent, friend.",
    "Let us speak of other things than this novel, please.",
)


def backwards(text, draw):
    return " ".join(reversed(text.split()))


def shuffled(text, draw):
    words = text.split()
    draw.shuffle(words)
    return " ".join(words)


def pairs_swapped(text, draw):
    words = text.split()
    even = words[: len(words) // 2 * 2 : 2]
    words[: len(words) // 2 * 2 : 2], words[1::2] = words[1::2], even
    return " ".join(words)


def half_backwards(text, draw):
    words = text.split()
    half = len(words) // 2
    return " ".join(words[:half] + words[half:][::-1])


def in_base64(text, draw):
    return base64.b64encode(text.encode()).decode()


def in_tag_characters(text):
    return "".join(chr(0xE0000 + ord(letter) % 0x80) for letter in text)


TRANSFORMED = {
    "rot13": lambda text, draw: codecs.encode(text, "rot13"),
    "leet": lambda text, draw: text.translate(LEET),
    "words reversed": backwards,
    "letters reversed": lambda text, draw: text[::-1],
    "shuffled": shuffled,
    "pairs swapped": pairs_swapped,
    "base64": in_base64,
    "base64 behind the answer": lambda text, draw: f"{text} {in_base64(text, draw)}",
    "tag characters behind the answer": lambda text, draw: (
        text + in_tag_characters(text)
    ),
    "dots": lambda text, draw: ". " * 400,
    "zero width between": lambda text, draw: "\u200b".join(text),
    "zero width alone": lambda text, draw: "\u200b" * 400,
    "Russian": lambda text, draw: " ".join(
        draw.choice("ивянсакоу") for _ in text.split()
    ),
    "letters apart": lambda text, draw: " ".join(text.replace(" ", ""))[: len(text)],
    "half an answer reversed": half_backwards,
    "one word": lambda text, draw: draw.choice(
        ["Certainly.", "Yes.", "Done.", "Okay.", "Sure."]
    ),
    "five apologies": lambda text, draw: draw.choice(APOLOGIES),
}


def own_word(number):
    return "".join(chr(ord("a") + int(digit)) for digit in str(number)) + "q"


def first_rounds(answers, rounds, *, own_words=False):
    """The first so many texts of each excerpt in turn, perhaps each with a word of its own."""
    first = {(answer.excerpt_id, answer.ordinal): answer.text for answer in answers}
    texts = (first[answer.excerpt_id, answer.ordinal % rounds] for answer in answers)
    texts = [text + f" {own_word(n)}" * own_words for n, text in enumerate(texts)]
    return list(map(replaced, answers, texts))


def echoed(book, answers):
    requested = {excerpt.id: excerpt.instruction for excerpt in book.excerpts}
    return [
        replaced(answer, " ".join([requested[answer.excerpt_id]] * 20))
        for answer in answers
    ]


def five_with_own_word(book, answers):
    changed = []
    for number, answer in enumerate(answers):
        words = answers[answer.ordinal % 5].text.split()
        words.insert(len(words) // 2, own_word(number))
        changed.append(replaced(answer, " ".join(words)))
    return changed


def greedy_with_dropped_words(book, answers):
    draw = random.Random(2)
    first = {answer.excerpt_id: answer.text.split() for answer in reversed(answers)}
    return [
        replaced(
            answer,
            " ".join(w for w in first[answer.excerpt_id] if draw.random() >= 0.04),
        )
        for answer in answers
    ]


def thinking_cut(book, answers):
    draw = random.Random(3)
    own = {excerpt.id: excerpt.text.split() for excerpt in book.excerpts}
    return [
        replaced(
            answer,
            " ".join(own[answer.excerpt_id][: draw.randrange(8, 21)]),
            FinishReason.LENGTH,
        )
        for answer in answers
    ]


def ended_by(word):
    end = {"finish_reason": FinishReason.UNKNOWN, "finish_word": word}
    return lambda book, answers: [
        dataclasses.replace(answer, **end) for answer in answers
    ]


def surplus(book, answers):
    last = max(answer.ordinal for answer in answers)
    return [
        *answers,
        Generation(answers[0].excerpt_id, last + 1, book.excerpts[0].text),
    ]


REARRANGED = {
    "one answer in five reversed": lambda book, answers: each(answers, backwards, every=5),
    "instruction echoed": echoed,
    "two texts alternating": lambda book, answers: first_rounds(answers, 2),
    "same five for every excerpt": lambda book, answers: [
        replaced(answer, answers[answer.ordinal % 5].text) for answer in answers
    ],
    "same five with a word of their own": five_with_own_word,
    "three to an excerpt with a word of their own": lambda book, answers: first_rounds(
        answers, 3, own_words=True
    ),
    "greedy, 4 % of words dropped": greedy_with_dropped_words,
    "thinking cut": thinking_cut,
    "guardrail_intervened": ended_by("guardrail_intervened"),
    "finish reason null": ended_by("null"),
    "one withheld for recitation": lambda book, answers: [
        replaced(answers[0], "", FinishReason.RECITATION), *answers[1:]
    ],
    "surplus round": surplus,
    "a generation missing": lambda book, answers: answers[:-1],
    "a round twice": lambda book, answers: [*answers[:-1], answers[0]],
}  # fmt: skip


FOREIGN_APOLOGIES = (
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "很抱歉，我无法提供这段文字。",
    "申し訳ありませんが、お手伝いできません。",
)
LONG_REFUSAL = (
    "I appreciate your interest in this scene and in the voice of its author, and yet "
    "I have to "
    "tell you plainly that I will not write it. The passage you describe belongs to a "
    "work that "
    "somebody owns, and giving you hundreds of words of it, or words so near to it "
    "that nobody "
    "could tell the two apart, would be of no service to the people who made it. What "
    "I could do "
    "is talk about its themes, sketch the people in it, or suggest where a copy may be "
    "had from a "
    "library near you. If you would like any of those, say so and I shall be glad to "
    "begin at once."
)
LATIN = ("lorem", "ipsum", "dolor", "sit", "amet", "elit", "sed", "tempor", "magna")
LOOK_ALIKES = str.maketrans("aeopcyxi", "аеорсухі")
GREEK = str.maketrans("abdegiklmnoprstu", "αβδεγικλμνοπρστυ")
VOWELS = str.maketrans("", "", "aeiouAEIOU")


def rot13(text):
    return codecs.encode(text, "rot13")


def in_own_words(text, draw):
    """No two alike, and none that a list of phrases knows."""
    first = ("Alas", "Ah", "Well", "Friend", "Truly", "Indeed", "Listen", "Now")
    then = ("this page stays shut", "my pen is dry today", "that tale is not mine")
    last = (
        "ask of the weather",
        "let us speak of tea",
        "seek it in a shop",
        "good night",
    )
    return f"{draw.choice(first)}, {draw.choice(then)}; {draw.choice(last)}, {draw.random():.9f}."


def half_in_rot13(text, draw):
    words = text.split()
    half = len(words) // 2
    return f"{' '.join(words[:half])} {rot13(' '.join(words[half:]))}"


def in_groups_of_five(text):
    letters = "".join(text.split())
    return " ".join(letters[at : at + 5] for at in range(0, len(letters), 5))


def with_excerpt(change):
    """Each text, changed by what its excerpt says: `change(text, excerpt's text)`."""

    def rewrite(book, answers):
        texts = {excerpt.id: excerpt.text for excerpt in book.excerpts}
        return [
            replaced(draw, change(draw.text, texts[draw.excerpt_id]))
            for draw in answers
        ]

    return rewrite


def cut_by_length(book, answers):
    """Under half of each text, cut by the token limit."""
    reason = FinishReason.LENGTH
    return [
        replaced(draw, " ".join(words[: len(words) * 2 // 5]), reason)
        for draw in answers
        if (words := draw.text.split())
    ]


# In the place of an honest text.
FURTHER = {
    "apologies in five languages": lambda text, draw: draw.choice(FOREIGN_APOLOGIES),
    "apologies in words of their own": in_own_words,
    "a refusal of 120 words": lambda text, draw: f"{LONG_REFUSAL} {draw.random():.9f}",
    "Latin filler": lambda text, draw: " ".join(
        draw.choice(LATIN) for _ in text.split()
    ),
    "numbers": lambda text, draw: " ".join(
        str(draw.randrange(10**6)) for _ in text.split()
    ),
    "half an answer in rot13": half_in_rot13,
}
# The excerpt itself, in a form that no measure reads.
HIDDEN_PASSAGES = {
    "hexadecimal": lambda text: text.encode().hex(),
    "backward spelling": lambda text: " ".join(word[::-1] for word in text.split()),
    "sorted words": lambda text: " ".join(sorted(text.split())),
    "reversed words": lambda text: " ".join(reversed(text.split())),
    "consonants alone": lambda text: " ".join(text.translate(VOWELS).split()),
    "pig Latin": lambda text: " ".join(
        f"{word[1:]}{word[0]}ay" for word in text.split()
    ),
    "Cyrillic look-alikes": lambda text: text.translate(LOOK_ALIKES),
    "Greek letters": lambda text: text.lower().translate(GREEK),
    "rot13": rot13,
    "unspaced letters": lambda text: "".join(text.split()),
    "groups of five letters": in_groups_of_five,
}
FROM_EXCERPTS = {
    **{
        f"a passage in {name}": with_excerpt(lambda _, own, hide=hide: hide(own))
        for name, hide in HIDDEN_PASSAGES.items()
    },
    "99 words in rot13 behind the answer": with_excerpt(
        lambda text, own: f"{text} {rot13(' '.join(own.split()[:99]))}"
    ),
    "variation selectors behind the answer": with_excerpt(
        lambda text, own: (
            text + " " + "".join(chr(0xE0100 + code) for code in own.encode())
        )
    ),
    "two fifths, cut by length": cut_by_length,
}


def one_in_seven_short(answers):
    """One answer in seven, never two running for an excerpt, ends after a tenth of its words."""
    return [
        replaced(
            answer,
            " ".join(answer.text.split()[: len(answer.text.split()) // 10]) + ".",
        )
        if (int(answer.excerpt_id.removeprefix("p_id")) + 3 * answer.ordinal) % 7 == 0
        else answer
        for answer in answers
    ]
