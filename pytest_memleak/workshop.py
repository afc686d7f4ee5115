"""Opens what the pairs of a run need, each thing once: books, providers, endpoints."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.errors import BookError, Inconclusive, SuiteError
from pytest_memleak.protocols import Manuscript, ProviderSetup, Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_memleak.extensions import Extensions
    from pytest_memleak.means import Means
    from pytest_memleak.protocols import Endpoint, Provider
    from pytest_memleak.records import Book, BookSource, Generation, Model, Pair, Scoring, Suite
    from pytest_memleak.sampling.run import Progress

__all__ = ["Drawn", "Workshop"]

# Two books by one author may share a motto; a book and another edition of it share pages.
_SHARED_RUN = 20
_SHARED_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Drawn:
    """What there is to measure for a pair.

    book: with the instructions that were asked; gaps: why some generations are missing.
    """

    book: Book
    generations: Iterable[Generation]
    endpoint_id: str | None
    gaps: tuple[str, ...] = ()


class Workshop:
    """The books and endpoints of one suite, opened when first asked for.

    `state` is the folder that providers may keep weights in.
    """

    def __init__(self, suite: Suite, extensions: Extensions, *, state: Path, means: Means) -> None:
        self.suite = suite
        self.extensions = extensions
        self._state = state
        self._means = means
        self._mode = suite.pairs[0].scoring.words
        self._books: dict[str, Book] = {}
        self._providers: dict[str, Provider] = {}
        self._endpoints: dict[str, Endpoint | Recording] = {}

    def book(self, source: BookSource) -> Book:
        """The book, cut and with its instructions.

        Raises BookError or RecordsError for a book that cannot be used, Inconclusive for one
        that its user has yet to bring.
        """
        if source.id not in self._books:
            self._refuse_missing(source)
            self._books[source.id] = self._read(source)
        return self._books[source.id]

    def provider(self, model: Model) -> Provider:
        """The model's provider; SuiteError for an unknown one or bad options."""
        if model.id not in self._providers:
            place = f"{self.suite.path}: model {model.id!r}"
            factory = self.extensions.provider(model.provider, place=place)
            setup = ProviderSetup(
                model=model,
                place=place,
                root=self.suite.path.parent,
                state=self._state / model.provider,
                read_book=self._book_by_id(place),
            )
            self._providers[model.id] = factory(setup)
        return self._providers[model.id]

    def training_books(self, model: Model) -> tuple[Book, ...]:
        """The books that the model is fine-tuned on."""
        return tuple(self.book(self.suite.book(book_id)) for book_id in model.finetune_books)

    def endpoint(self, model: Model) -> Endpoint | Recording:
        """The model's endpoint; fine-tuned first, if the suite asks for it and nobody has yet.

        Raises Inconclusive where it cannot be had now, SuiteError for what must be mended.
        """
        if model.id not in self._endpoints:
            provider = self.provider(model)
            name = model.endpoint
            if model.finetune_books:
                from pytest_memleak.sampling.finetune import ensure_finetune, training_set

                recipe = {"provider": model.provider, "base": model.base, **model.finetune}
                name = ensure_finetune(
                    self._means.ledger,
                    provider,
                    training_set(self.training_books(model), recipe),
                    wait=self._means.wait,
                )
            self._endpoints[model.id] = provider.open(name)
        return self._endpoints[model.id]

    def draw(
        self,
        pair: Pair,
        book: Book,
        *,
        endpoint: Endpoint | Recording | None,
        progress: Progress | None,
    ) -> Drawn:
        """Everything there is for the pair, after drawing what was missing.

        `endpoint` takes the place of the suite's. What could not be drawn is told as a gap.
        """
        try:
            opened = endpoint or self.endpoint(pair.model)
        except Inconclusive as missing:
            return Drawn(book, (), None, (missing.line,))
        if isinstance(opened, Recording):
            asked = opened.asked(book)
            return Drawn(asked, opened.generations(asked), None)
        return self._draw_through_ledger(
            pair, book, opened, own=endpoint is not None, progress=progress
        )

    def _draw_through_ledger(
        self,
        pair: Pair,
        book: Book,
        endpoint: Endpoint,
        *,
        own: bool,
        progress: Progress | None,
    ) -> Drawn:
        from pytest_memleak.sampling.budget import OwnEndpoint, Terms
        from pytest_memleak.sampling.questions import questionnaire
        from pytest_memleak.sampling.reading import generations
        from pytest_memleak.sampling.run import draw
        from pytest_memleak.scoring.words import words

        kept_as: str | None = getattr(endpoint, "id", None)
        ledger = self._means.ledger if kept_as else self._means.unkept
        name = kept_as or f"{pair.model.id} (not kept)"
        sampler = OwnEndpoint() if own else self.provider(pair.model)
        price = pair.model.price and pair.model.price[:2]
        asked = questionnaire(
            pair.id, book, pair.sampling, words=lambda text: len(words(text, pair.scoring.words))
        )
        gaps = []
        try:
            draw(
                ledger,
                endpoint,
                endpoint_id=name,
                questionnaire=asked,
                terms=Terms(sampler, price),
                budget=self._means.budget,
                progress=progress,
                wait=self._means.wait,
            )
        except Inconclusive as missing:
            gaps.append(missing.line)
        return Drawn(book, generations(ledger, name, asked), name, tuple(gaps))

    def refuse_shared_text(self, book: Book, pair: Pair) -> None:
        """Raise BookError if a training book of the pair's model holds text of the test book."""
        for training in self.training_books(pair.model):
            share = _shared_share(book, training, pair.scoring)
            if share >= _SHARED_SHARE:
                raise BookError(
                    f"it shares {share:.1%} of its words, in runs of {_SHARED_RUN} or more, with "
                    f"{training.id!r}, which the model {pair.model.id!r} is fine-tuned on",
                    place=f"{self.suite.path}: book {book.id!r}",
                    hint="test with a book that the model was not trained on",
                )

    def _book_by_id(self, place: str) -> Callable[[str], Book]:
        def read(book_id: str) -> Book:
            try:
                return self.book(self.suite.book(book_id))
            except KeyError:
                known = ", ".join(sorted(one.id for one in self.suite.books))
                raise SuiteError(
                    f"there is no book {book_id!r}; known ids: {known}", place=place
                ) from None

        return read

    def _refuse_missing(self, source: BookSource) -> None:
        for path in (source.source, source.summaries):
            if path is not None and not path.exists():
                raise Inconclusive(
                    f"there is no {path}",
                    place=f"book {source.id!r}",
                    hint=f"put the file there; {self.suite.name} leaves it to you to bring it",
                )

    def _read(self, source: BookSource) -> Book:
        from pytest_memleak.books.assemble import make_book

        read = self.extensions.read_book(source.source)
        if isinstance(read, Manuscript):
            return make_book(
                source.id,
                read,
                title=source.title,
                author=source.author,
                summaries=source.summaries,
                template=source.instruction,
                mode=self._mode,
            )
        return dataclasses.replace(
            read,
            id=source.id,
            title=source.title or read.title,
            author=source.author or read.author,
        )


def _shared_share(book: Book, other: Book, scoring: Scoring) -> float:
    """The share of the book's words that stand in the other one too, in long runs."""
    from pytest_memleak.scoring.index import Index
    from pytest_memleak.scoring.matches import find_matches

    index = Index(book, k=min(_SHARED_RUN, scoring.k), mode=scoring.words)
    text = "\n".join(excerpt.text for excerpt in other.excerpts)
    shared: set[int] = set()
    for start, end in find_matches(index, index.code_text(text)):
        if end - start >= _SHARED_RUN:
            shared.update(range(start, end))
    return len(shared) / index.total
