"""Opens what the pairs of a run need, each thing once: books, providers, endpoints."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from pytest_memleak.contracts.protocols import (
    CountsTokens,
    Manuscript,
    ProviderSetup,
    Recording,
)
from pytest_memleak.errors import BookError, Inconclusive, SuiteError
from pytest_memleak.story.cataloguing import Catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_memleak.contracts.extensions import Extensions
    from pytest_memleak.contracts.protocols import Endpoint, Provider, TrainingSet
    from pytest_memleak.records import Book, BookSource, Excerpt, Model, Pair, Scoring, Suite
    from pytest_memleak.sampling.budget import Plan
    from pytest_memleak.sampling.remote_jobs import Waiting
    from pytest_memleak.story.resources import Means
    from pytest_memleak.story.summarizing import SummaryWriter

__all__ = ["Workshop"]

# Two books by one author may share a motto; a book and another edition of it share pages.
_SHARED_RUN = 20
_SHARED_SHARE = 0.01

_TOKENS_PER_WORD = 4 / 3


class Workshop:
    """The books and endpoints of one suite, opened when first asked for.

    `state` is the folder that providers may keep weights in.
    """

    def __init__(self, suite: Suite, extensions: Extensions, *, state: Path, means: Means) -> None:
        self.suite = suite
        self.extensions = extensions
        self._state = state
        self.means = means
        self._mode = suite.pairs[0].scoring.words
        self._uncompleted: dict[str, Book] = {}
        self._books: dict[str, Book] = {}
        self._providers: dict[str, Provider] = {}
        self._endpoints: dict[str, Endpoint | Recording] = {}

    def close(self) -> None:
        """Let go of the providers' connections, where they have any."""
        for provider in self._providers.values():
            close = getattr(provider, "close", None)
            if close is not None:
                close()

    def book(self, source: BookSource) -> Book:
        """The book, cut and with its instructions; the summarizer writes the summaries it lacks.

        Raises BookError or RecordsError for a book that cannot be used, Inconclusive for one
        that its user has yet to bring or whose summaries cannot be had now.
        """
        if source.id not in self._books:
            self._books[source.id] = self._summarized(source, self._cut(source))
        return self._books[source.id]

    def book_of(self, pair: Pair) -> Book:
        """The pair's book as its probe needs it: only instructions need summaries.

        Raises as `book` does.
        """
        if pair.probe.kind == "instruction":
            return self.book(pair.book)
        return self._cut(pair.book)

    def outstanding_summaries(self, source: BookSource) -> Plan | None:
        """What the summaries that the book lacks would take; None where it lacks none."""
        lacking = self._lacking_summaries(source, self._cut(source))
        return self._summary_writer.outstanding(source.id, lacking) if lacking else None

    def provider(self, model: Model) -> Provider:
        """The model's provider; SuiteError for an unknown one or bad options."""
        if model.id not in self._providers:
            place = self._place(model)
            factory = self.extensions.provider(model.provider, place=place)
            setup = ProviderSetup(
                model=model,
                place=place,
                root=self.suite.path.parent,
                state=self._state / model.provider,
                # A summarizer reads books as they are, before they have summaries.
                read_book=self._book_by_id(
                    place, self._cut if self._is_summarizer(model) else self.book
                ),
            )
            self._providers[model.id] = factory(setup)
        return self._providers[model.id]

    def training_books(self, model: Model) -> tuple[Book, ...]:
        """The books that the model is fine-tuned on."""
        return tuple(self.book(self.suite.book(book_id)) for book_id in model.finetune_books)

    def endpoint(self, model: Model, waiting: Waiting | None = None) -> Endpoint | Recording:
        """The model's endpoint; fine-tuned first, if the suite asks for it and nobody has yet.

        Raises Inconclusive where it cannot be had now, SuiteError for what must be mended.
        """
        if model.id not in self._endpoints:
            provider = self.provider(model)
            name = model.endpoint
            if model.finetune_books:
                name = self._finetuned(model, provider, waiting)
            self._endpoints[model.id] = provider.open(name)
        return self._endpoints[model.id]

    def training_set(self, model: Model) -> TrainingSet:
        """What the model is fine-tuned on, named by everything that makes it what it is.

        Of the options that is what the provider says (`weights_options`), else all of them. One
        that the ledger knows by all of them, as it was named once, keeps that name.
        """
        from pytest_memleak.ledger.jobs import begun

        provider = self.provider(model)
        shaping = getattr(provider, "weights_options", model.options.keys())
        by_all = self._training_set(model, model.options)
        if model.options.keys() <= shaping or begun(
            self.means.ledger, provider.name, by_all.digest
        ):
            return by_all
        shaped = {name: value for name, value in model.options.items() if name in shaping}
        return self._training_set(model, shaped)

    def _training_set(self, model: Model, options: Mapping[str, object]) -> TrainingSet:
        from pytest_memleak.sampling.finetune import training_set

        return training_set(
            self.training_books(model),
            {
                "provider": model.provider,
                "base": model.base,
                "finetune": model.finetune,
                "options": options,
            },
        )

    def job_of(self, model: Model) -> str | None:
        """The id of the fine-tune behind the model, as the ledger has it."""
        if not model.finetune_books:
            return None
        from pytest_memleak.ledger.listing import list_jobs

        digest = self.training_set(model).digest
        jobs = (job.job_id for job in list_jobs(self.means.ledger) if job.digest == digest)
        return next(jobs, None)

    def training_tokens(self, model: Model) -> int:
        """About how many tokens a fine-tune of the model reads in all its epochs.

        How many epochs there are, its provider says (`epochs`), or else the suite; one, where
        that is left to the provider's server. Tokens are the provider's count
        (`count_tokens`), if it can count, or 4/3 of the words.
        """
        provider = self.provider(model)
        epochs = getattr(provider, "epochs", model.finetune.get("epochs"))
        count = provider.count_tokens if isinstance(provider, CountsTokens) else None
        texts = [
            text
            for example in self.training_set(model).examples
            for text in (example.instruction, example.text)
        ]
        if count is not None:
            tokens: float = sum(map(count, texts))
        else:
            tokens = sum(len(text.split()) for text in texts) * _TOKENS_PER_WORD
        return int(tokens * (epochs if isinstance(epochs, int) else 1))

    def _finetuned(self, model: Model, provider: Provider, waiting: Waiting | None) -> str:
        from pytest_memleak.ledger.jobs import finetuned
        from pytest_memleak.sampling.finetune import ensure_finetune

        training = self.training_set(model)
        ledger = self.means.ledger
        if not self.means.offline:
            return ensure_finetune(
                ledger,
                provider,
                training,
                wait=self.means.wait,
                retry=self.means.patience,
                waiting=waiting,
            )
        name = finetuned(ledger, provider.name, training.digest)
        if name is None:
            raise Inconclusive(
                f"the ledger has no finished fine-tune of {model.id!r}",
                place=ledger.place,
                hint="run without --memleak-offline to fine-tune it",
            )
        return name

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

    def _is_summarizer(self, model: Model) -> bool:
        return self.suite.summarizer is not None and model is self.suite.summarizer.model

    def _place(self, model: Model) -> str:
        named = model.id if self._is_summarizer(model) else f"model {model.id!r}"
        return f"{self.suite.path}: {named}"

    def _book_by_id(
        self, place: str, reader: Callable[[BookSource], Book]
    ) -> Callable[[str], Book]:
        def read(book_id: str) -> Book:
            try:
                return reader(self.suite.book(book_id))
            except KeyError:
                known = ", ".join(sorted(one.id for one in self.suite.books))
                raise SuiteError(
                    f"there is no book {book_id!r}; known ids: {known}", place=place
                ) from None

        return read

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """The books that nobody asks for; see `pytest_memleak.story.cataloguing`."""
        root = self.suite.path.parent
        books: dict[str, Callable[[], Book]] = {
            path.relative_to(root).as_posix(): functools.partial(self._loose, path)
            for path in self.suite.catalogue
        }
        if self.suite.cross_book:
            tested = {pair.book.id: pair.book for pair in self.suite.pairs}
            books |= {name: functools.partial(self._cut, one) for name, one in tested.items()}
        return Catalogue(books, self.suite.pairs[0].scoring, shelf_bytes=self.means.shard_memory)

    # --- reading ---------------------------------------------------------------------------

    def _refuse_missing(self, source: BookSource) -> None:
        for path in (source.source, source.summaries):
            if path is not None and not path.exists():
                raise Inconclusive(
                    f"there is no {path}",
                    place=f"book {source.id!r}",
                    hint=f"put the file there; {self.suite.name} leaves it to you to bring it",
                )

    def _cut(self, source: BookSource) -> Book:
        """The book with the instructions that it brings itself."""
        if source.id not in self._uncompleted:
            self._refuse_missing(source)
            self._uncompleted[source.id] = self._read(source)
        return self._uncompleted[source.id]

    def _loose(self, path: Path) -> Book:
        """A book of the catalogue, cut; not kept."""
        from pytest_memleak.books.assemble import make_book

        read = self.extensions.read_book(path)
        return make_book(path.name, read, mode=self._mode) if isinstance(read, Manuscript) else read

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

    def _lacking_summaries(self, source: BookSource, book: Book) -> tuple[Excerpt, ...]:
        """The excerpts whose summaries are the summarizer's to write."""
        from pytest_memleak.books.instructions import DEFAULT_INSTRUCTION, check_template

        if self.suite.summarizer is None or source.summaries is not None:
            return ()
        template = DEFAULT_INSTRUCTION if source.instruction is None else source.instruction
        if "summary" not in check_template(template, place=f"book {source.id!r}"):
            return ()
        return tuple(excerpt for excerpt in book.excerpts if not excerpt.instruction)

    def _summarized(self, source: BookSource, book: Book) -> Book:
        from pytest_memleak.books.assemble import with_summaries

        lacking = self._lacking_summaries(source, book)
        if not lacking:
            return book
        instructed = functools.partial(
            with_summaries,
            book,
            author=source.author,
            title=source.title,
            template=source.instruction,
            mode=self._mode,
        )
        # What is wrong with author, title or template is said before anything is paid for.
        instructed(dict.fromkeys((excerpt.id for excerpt in lacking), ""))
        return instructed(self._summary_writer.write(source.id, lacking))

    @functools.cached_property
    def _summary_writer(self) -> SummaryWriter:
        from pytest_memleak.ledger.prices import Terms
        from pytest_memleak.story.summarizing import SummaryWriter

        summarizer = self.suite.summarizer
        assert summarizer is not None  # noqa: S101 - asked before by _lacking_summaries
        model = summarizer.model
        opened = self.endpoint(model)
        if isinstance(opened, Recording):
            raise SuiteError(
                f"the provider {model.provider!r} reads what is there: it cannot write summaries",
                place=self._place(model),
                hint="name a chat model, or give the books files of summaries",
            )
        terms = Terms(self.provider(model), model.price and model.price[:2])
        return SummaryWriter(summarizer, opened, terms, means=self.means, mode=self._mode)


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
