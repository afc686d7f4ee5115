"""What a model is fine-tuned on: instruction/excerpt pairs, and the digest of all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from pytest_memleak.errors import (
    BookError,
)
from pytest_memleak.interfaces.protocols import (
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.ledger.prompts import digest_of_parts
from pytest_memleak.records import Book


def build_training_set(
    books: Iterable[Book],
    recipe: Mapping[str, object],
    *,
    share: float = 1.0,
) -> TrainingSet:
    """Build the instruction/excerpt pairs of the books, and the digest that names them.

    recipe: everything else that shapes the fine-tune, as JSON values: provider and its
    location, base model, hyperparameters. Raises BookError without any pair.
    share: of the pairs, at least one
    """
    training_books = tuple(books)
    examples = []
    for book in training_books:
        for excerpt in book.excerpts:
            if excerpt.instruction:
                example = TrainingExample(excerpt.instruction, excerpt.text)
                examples.append(example)
    if not examples:
        names = [repr(book.id) for book in training_books]
        named = ", ".join(names) or "none"
        raise BookError(
            f"Nothing to fine-tune on: no excerpt of the books ({named}) "
            "has an instruction",
            hint="add summaries to the training books, "
            "from which instructions are built",
        )
    examples = _choose_share(examples, share)
    texts = []
    for example in examples:
        texts += [example.instruction, example.text]
    named_recipe = json.dumps(recipe, sort_keys=True, default=str)
    digest = digest_of_parts(named_recipe, *texts)
    return TrainingSet(tuple(examples), digest)


def _choose_share(
    examples: Sequence[TrainingExample],
    share: float,
) -> list[TrainingExample]:
    """Choose a share of the examples, in their order, and at least one.

    They are chosen by digests of their texts: as if at random, always the same, and
    those of a smaller share are among those of a larger one.
    """
    count = max(1, round(share * len(examples)))
    if count == len(examples):
        return list(examples)
    places = range(len(examples))
    by_digest = sorted(places, key=lambda place: digest_of_parts(examples[place].text))
    return [examples[place] for place in sorted(by_digest[:count])]
