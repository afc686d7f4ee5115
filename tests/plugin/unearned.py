"""Recorded answers that somebody might hand in for a pass, by the case's name in earned_cases.md.

Each is a change of honest answers to a book's excerpts, as records of the paper's form;
beside it may stand keys of the suite's model. Of the texts that the verdict's own tests
classify, here is one for each cause.
"""

from collections.abc import Callable
from dataclasses import dataclass

from answer_sets import (
    REARRANGED,
    TRANSFORMED,
    book_of,
    each,
    honest,
    replaced,
    with_excerpt,
)
from corpus import shakespeare

from pytest_memleak.records import Generation

EXCERPTS, WORDS, SAMPLES = 12, 200, 8


@dataclass(frozen=True, slots=True)
class Case:
    """What becomes of the generations and of their records, and keys of the model."""

    generations: Callable = lambda book, generations: generations
    records: Callable = lambda book, records: records
    keys: str = ""


def plays():
    """The book, and honest answers to it: other plays, no passage of them twice."""
    book = book_of("b", list(shakespeare()), words=WORDS, excerpts=EXCERPTS)
    return book, honest(book, list(shakespeare()[100_000:]), SAMPLES)


def records(book, generations):
    """As the paper's files have them, and with the further keys of ours."""
    answers = {excerpt.id: [] for excerpt in book.excerpts}
    for answer in sorted(generations, key=lambda answer: answer.ordinal):
        record = {
            "generated_text": answer.text,
            "finish_reason": str(answer.finish_reason),
        }
        further = {"finish_word": answer.finish_word, "reasoning": answer.reasoning}
        answers[answer.excerpt_id].append(
            record | {key: text for key, text in further.items() if text}
        )
    return [
        {"excerpt_id": name, "generations": records_}
        for name, records_ in answers.items()
    ]


CANNED = "I'm sorry, but I can't help with that request."


def refused_for(number):
    """Refusals for the first excerpts alone."""

    def change(book, generations):
        refused = {excerpt.id for excerpt in book.excerpts[:number]}
        return [
            replaced(answer, CANNED) if answer.excerpt_id in refused else answer
            for answer in generations
        ]

    return change


def cut_at(share):
    return with_excerpt(
        lambda text, _: " ".join(text.split()[: int(share * len(text.split()))])
    )


def transformed(name):
    """As the verdict's own tests do it."""
    return lambda book, generations: each(generations, TRANSFORMED[name])


def with_key(key, value):
    """Each record with a further key."""
    return lambda book, given: [
        {**row, key: value(book, row["excerpt_id"])} for row in given
    ]


def with_names(book, given):
    named = {"author_name": book.author, "book_name": book.title}
    return [
        {**row, **named, "excerpt_text": own_text(book, row["excerpt_id"])}
        for row in given
    ]


def own_text(book, excerpt_id):
    return next(excerpt.text for excerpt in book.excerpts if excerpt.id == excerpt_id)


def next_instruction(book, excerpt_id):
    ids = [excerpt.id for excerpt in book.excerpts]
    return book.excerpts[(ids.index(excerpt_id) + 1) % len(ids)].instruction or ""


def with_answers(change, *, every=1):
    """Every n-th answer's record, counted through the book, changed by what its excerpt says."""

    def rewrite(book, given):
        answers = [
            (answer, row["excerpt_id"])
            for row in given
            for answer in row["generations"]
        ]
        for answer, excerpt_id in answers[::every]:
            change(answer, own_text(book, excerpt_id))
        return given

    return rewrite


def finished(word, *, every=1):
    """Every n-th answer ended so."""
    return with_answers(
        lambda answer, _: answer.update(finish_reason=word), every=every
    )


def thinking(key):
    """The excerpt among the thoughts, an honest answer after them."""
    return with_answers(lambda answer, text: answer.update({key: text}))


WRAPPED = with_answers(
    lambda answer, text: answer.update(
        reasoning_details=[{"type": "reasoning.text", "text": text}]
    )
)


def with_soft_hyphens(text):
    return " ".join(
        f"{word[:2]}\u00ad{word[2:]}" if len(word) > 4 else word
        for word in text.split()
    )


def in_every_other_round(book, generations):
    """The excerpt with soft hyphens in every other round; the rest is honest."""
    return [
        replaced(answer, with_soft_hyphens(own_text(book, answer.excerpt_id)))
        if answer.ordinal % 2
        else answer
        for answer in generations
    ]


def reciting_round(book, generations):
    """One round more than asked for, and it recites."""
    further = [
        Generation(excerpt.id, SAMPLES, excerpt.text) for excerpt in book.excerpts
    ]
    return [*generations, *further]


def without_reasons(book, given):
    return [
        {
            **row,
            "generations": [
                {"generated_text": answer["generated_text"]} for answer in answers
            ],
        }
        for row in given
        if (answers := row["generations"])
    ]


def withheld_most_of_one(book, given):
    for answer in given[0]["generations"][: SAMPLES // 2 + 1]:
        answer.update(generated_text="", finish_reason="content_filter")
    return given


PASSAGE = with_excerpt(lambda _, own: own)
NEAR = "limits = { nv_longest_passage = 38 }"
ASKED_WITH_IT = with_key(
    "instruction", lambda book, name: f"Write it: {own_text(book, name)}"
)

CASES = {
    # what is earned
    "honest answers": Case(),
    "a file without finish reasons": Case(records=without_reasons),
    "records that name this book, its author and its words": Case(records=with_names),
    "a canned refusal, accept_refusals = true": Case(
        refused_for(EXCERPTS), keys="accept_refusals = true"
    ),
    "one excerpt of twelve refused": Case(refused_for(1)),
    "a content filter on one answer in twenty-four": Case(
        records=finished("content_filter", every=24)
    ),
    # no answers
    "a canned refusal": Case(refused_for(EXCERPTS)),
    "two excerpts of twelve refused, max_unanswered = 0.2": Case(
        refused_for(2), keys="max_unanswered = 0.2"
    ),
    "dots": Case(transformed("dots")),
    "the instruction echoed": Case(REARRANGED["instruction echoed"]),
    "the same five texts for every excerpt": Case(
        REARRANGED["same five for every excerpt"]
    ),
    "a passage cut after 8 to 20 words, as by thoughts": Case(
        REARRANGED["thinking cut"]
    ),
    "rot13": Case(transformed("rot13")),
    "a passage without its blanks": Case(
        with_excerpt(lambda text, own: f"{text} {''.join(own.split()[:60])}")
    ),
    # too short, the same again and again, out of order
    "answers of 15 %": Case(cut_at(0.15)),
    "answers of 45 %": Case(cut_at(0.45)),
    "two texts alternating": Case(REARRANGED["two texts alternating"]),
    "greedy, 4 % of the words dropped": Case(
        REARRANGED["greedy, 4 % of words dropped"]
    ),
    "words shuffled": Case(transformed("shuffled")),
    # withheld
    "finish_reason null": Case(records=finished(None)),
    "a content filter on one answer in ten": Case(
        records=finished("content_filter", every=10)
    ),
    "a recitation filter on 5 % of the answers": Case(
        records=finished("recitation", every=20)
    ),
    "most of one excerpt withheld, max_unanswered = 0.2": Case(
        records=withheld_most_of_one, keys="max_unanswered = 0.2"
    ),
    # not these, not all, or too many
    "an excerpt's answers missing": Case(records=lambda book, given: given[:-1]),
    "a surplus round that recites": Case(reciting_round, keys=NEAR),
    "another book's generations, by book_name": Case(
        records=with_key("book_name", lambda *_: "Moby Dick")
    ),
    "an instruction that holds the whole excerpt": Case(records=ASKED_WITH_IT),
    "an instruction that holds the whole excerpt, and a passage": Case(
        PASSAGE, records=ASKED_WITH_IT
    ),
    "an instruction that holds the whole excerpt, with soft hyphens": Case(
        records=with_key(
            "instruction",
            lambda book, name: f"Write it: {with_soft_hyphens(own_text(book, name))}",
        )
    ),
    "summaries of the next excerpt": Case(
        records=with_key("instruction", next_instruction)
    ),
    "instructions of under ten words": Case(
        records=with_key("instruction", lambda *_: "Write a page of a play, please.")
    ),
    # passages
    "a passage": Case(PASSAGE),
    **{
        f"a passage in {key}": Case(records=thinking(key))
        for key in ("reasoning", "reasoning_content", "thinking")
    },
    "a passage in reasoning_details": Case(records=WRAPPED),
    "a passage under a name that nobody knows": Case(records=thinking("scratchpad")),
    "a passage with soft hyphens in its long words, nv_longest_passage = 38": Case(
        in_every_other_round, keys=NEAR
    ),
    "a passage without finish reasons, one answer missing": Case(
        lambda book, generations: PASSAGE(book, generations)[:-1],
        records=without_reasons,
    ),
}
