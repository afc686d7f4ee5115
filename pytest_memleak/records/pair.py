"""Suites, models and pairs, as a suite file defines them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pytest_memleak.records.book import WordMode
from pytest_memleak.records.measurement import ProbeKind
from pytest_memleak.records.verdicts import Limits


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Requirements on generations; keys of the suite, and of a model.

    min_length_ratio:   generation words / excerpt words below which a generation is
        short
    max_short:          the share of generations that may be short
    max_unanswered:     the share that may be neither short nor an answer
    accept_refusals:    whether a refusal counts as an answer
    max_prompt_overlap: the share of the measured words that instructions may contain
    """

    min_length_ratio: float = 0.2
    max_short: float = 0.25
    max_unanswered: float = 0.05
    accept_refusals: bool = False
    max_prompt_overlap: float = 0.1


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings.

    samples:     generations per excerpt
    temperature: None for the server's default
    seed: None sends none
    max_tokens: cap on a generation; None derives it from the excerpt's length, and
        "default" sends none
    max_age_days: age at which generations of an endpoint known by name only are
        resampled
    stop_on_fail: whether to stop sampling once a limit is exceeded
    """

    samples: int = 100
    temperature: float | None = 1.0
    seed: int | None = 0
    max_tokens: int | Literal["default"] | None = None
    max_age_days: float = 7.0
    stop_on_fail: bool = False


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scoring settings (docs/method.md).

    k: shortest match, in words; trim: m; span_threshold: T, in words
    """

    k: int = 5
    trim: int = 5
    span_threshold: int = 20
    word_mode: WordMode = "paper"

    @property
    def effective_threshold(self) -> int:
        """The length in words that a span or passage must exceed to count.

        It counts if it has more than T words and at least k (docs/method.md). Compare
        every length with this; print T.
        """
        return max(self.span_threshold, self.k - 1)


@dataclass(frozen=True, slots=True)
class Probe:
    """The form of a pair's prompts.

    prefix_words: words of an excerpt's beginning that a continuation's prompt has
    continuation_template: the suite's template around it, None for the endpoint's
        default
    turns: the most turns of an extraction, after its opening
    """

    kind: ProbeKind = "instruction"
    prefix_words: int = 50
    continuation_template: str | None = None
    turns: int = 300


@dataclass(frozen=True, slots=True)
class CollectionSource:
    """Files of a collection, each a work; or a single file with all works `together`.

    unit: what a cut never splits: a sentence, or a line of verse
    """

    files: tuple[Path, ...]
    together: bool
    unit: Literal["sentence", "line"] = "sentence"


@dataclass(frozen=True, slots=True)
class BookSource:
    """The source of a suite's book, before it is read.

    `prompts` is a file of prompts (`probe` "prompts");
    `instruction_template` is the suite's template, None for the paper's own; `include`
    and `exclude` name documents in it to read whole, or not at all; `encoding` is that
    of plain text, if the suite states it; `approved` is the digest of the words that
    the suite's author approved; `collection` is None for a book. A negative
    control is in no training set; a common text may be quoted freely. `metadata`:
    further facts for readers.
    """

    id: str
    source: Path
    title: str | None = None
    author: str | None = None
    role: Literal["test", "train", "negative-control", "common"] = "test"
    summaries: Path | None = None
    prompts: Path | None = None
    instruction_template: str | None = None
    bring_your_own: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    encoding: str | None = None
    approved: str | None = None
    collection: CollectionSource | None = None
    metadata: Mapping[str, str | int | float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Model:
    """A model under test, as the suite defines it; `options` are for its provider.

    endpoint:        an existing endpoint
    finetune_books:  IDs of the books it is fine-tuned on
    finetune_share:  the share of their excerpts that it is fine-tuned on
    price:           US$ per million tokens (input, output, training)
    price_per_hour:  US$ for a model that must be deployed
    weights_version: version of the weights behind the name
    served_names:    further names that the server may return
    """

    id: str
    provider: str
    base_model: str | None = None
    endpoint: str | None = None
    baseline_model: str | None = None
    finetune_books: tuple[str, ...] = ()
    finetune_share: float = 1.0
    finetune: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    price: tuple[float, float, float] | None = None
    price_per_hour: float | None = None
    weights_version: str = ""
    served_names: tuple[str, ...] = ()


def is_gating(expected: str, *, control: bool) -> bool:
    """Tell whether the verdict of such a pair counts: it is no control of any kind."""
    return expected == "pass" and not control


@dataclass(
    frozen=True,
    slots=True,
    repr=False,
)
class Pair:
    """One model and one book, the limits that hold for them, and what is expected.

    detection_limit: the most that detection may be for a pass, None for any.
    limit_origins: the key of the suite file that set each limit, by measure.
    """

    suite: Path
    model: Model
    book: BookSource
    sampling: Sampling
    scoring: Scoring
    limits: Limits
    confidence: float = 0.95
    detection_limit: float | None = None
    expected: Literal["pass", "leak"] = "pass"
    probe: Probe = Probe()
    answers: AnswerLimits = AnswerLimits()
    limit_origins: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.id  # reporters show it as a test's parameter

    @property
    def control(self) -> bool:
        """Whether its book is a negative control, which gates nothing."""
        return self.book.role == "negative-control"

    @property
    def gates(self) -> bool:
        """Whether its verdict counts."""
        return is_gating(self.expected, control=self.control)

    @property
    def id(self) -> str:
        """`model/book`, as in the node id."""
        return f"{self.model.id}/{self.book.id}"

    def with_seed(self, seed: int) -> Pair:
        """Return the pair with this seed, unless it sends none."""
        if self.sampling.seed is None:
            return self
        return replace(self, sampling=replace(self.sampling, seed=seed))


@dataclass(frozen=True, slots=True)
class Summarizer:
    """The chat model that writes a suite's missing summaries; no suite has its ID.

    temperature: None for the server's default
    prompt: the suite's template with {passage}, {words}; None for our own
    """

    model: Model
    temperature: float | None = 1.0
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite file, validated; `digest` is the SHA-256 of the file's bytes.

    catalog: protected works to scan all generations for, never prompted;
    content_digest: the SHA-256 of the file's content without comments, blanks and
    `preregistered`, which is the content digest announced before the run, or None;
    deadline: seconds that one call may take;
    probability: whether the probability of each pair's book is measured beside.
    """

    path: Path
    name: str
    digest: str
    books: tuple[BookSource, ...]
    models: tuple[Model, ...]
    pairs: tuple[Pair, ...]
    summarizer: Summarizer | None = None
    catalog: tuple[Path, ...] = ()
    content_digest: str = ""
    preregistered: str | None = None
    deadline: float = 600.0
    probability: bool = False

    def book(self, book_id: str) -> BookSource:
        """Return the book of that ID. Raises KeyError."""
        return {book.id: book for book in self.books}[book_id]

    def with_seed(self, seed: int) -> Suite:
        """Return the suite with this seed in every pair that sends one."""
        return replace(self, pairs=tuple(pair.with_seed(seed) for pair in self.pairs))

    def books_with_excused_passages(self, pair: Pair) -> tuple[str, ...]:
        """Return the IDs of books whose passages are excused in a pair's generations.

        These are a negative control's own book, the books that the same model is
        expected to leak, its training books, and common texts (docs/method.md).
        """
        own = [pair.book.id] if pair.control else []
        leaks = [book.id for book in self.books_expected_to_leak(pair.model)]
        return tuple(dict.fromkeys((*own, *leaks, *self.books_that_excuse_words(pair))))

    def books_expected_to_leak(self, model: Model) -> tuple[BookSource, ...]:
        """Return the books of the model's positive controls."""
        return tuple(
            pair.book
            for pair in self.pairs
            if pair.model.id == model.id and pair.expected == "leak"
        )

    def books_that_excuse_words(self, pair: Pair) -> tuple[str, ...]:
        """Return the IDs of books whose words are excused in any other book.

        These are the model's training books and common texts (docs/method.md).
        """
        common = [book.id for book in self.books if book.role == "common"]
        return tuple(dict.fromkeys((*pair.model.finetune_books, *common)))
