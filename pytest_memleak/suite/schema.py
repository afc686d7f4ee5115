"""The suite file's tables, keys, types and defaults.

`memleak-suite.schema.json` is made of them (CONTRIBUTING.md). Editors complete a suite
file that has `#:schema .../memleak-suite.schema.json` on its first line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    create_model,
)
from pydantic_core import PydanticCustomError

from pytest_memleak.records.measurement import ProbeKind
from pytest_memleak.redaction.text import inert
from pytest_memleak.scoring.confidence_bounds import MIN_DETECTION_LIMIT
from pytest_memleak.scoring.measure_table import MEASURES

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Price = Annotated[float, Field(ge=0, le=1_000_000)]
Text = Annotated[str, Field(min_length=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Expected = Literal["pass", "leak"]

_LONGEST_NAME = 200


def _shown_name(name: str) -> str:
    """Return a name that a server may have: what reports show of it is all of it."""
    if inert(name, longest=_LONGEST_NAME) == name:
        return name
    raise PydanticCustomError(
        "served_name",
        "Input should be a name of at most 200 characters, without control characters "
        "or blanks in a row",
    )


ServedName = Annotated[str, Field(min_length=1), AfterValidator(_shown_name)]


class _Table(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        strict=True,
    )


_KINDS: dict[str, Any] = {"share": Share, "count": Count, "number": FiniteFloat}


class LimitsTable(_Table):
    """The highest value that each measure may have; set any of them."""

    preset: Literal["strict", "paper"] | None = Field(
        None,
        description="a named set of limits, only in [limits]; other keys may tighten "
        "it",
    )
    measures: dict[str, FiniteFloat] = Field(
        default_factory=dict,
        description="limits on measures that extensions add, by name",
    )


if not TYPE_CHECKING:  # One more field per row of the measure table.
    LimitsTable = create_model(
        "LimitsTable",
        __base__=LimitsTable,
        __doc__=LimitsTable.__doc__,
        **{
            row.name: (_KINDS[row.kind] | None, Field(None, description=row.about))
            for row in MEASURES.values()
        },
    )


class PriceTable(_Table):
    """`price`: US$ per million tokens, and per hour of a deployed model."""

    input: Price = Field(description="US$ per million prompt tokens")
    output: Price = Field(description="US$ per million completion tokens")
    training: Price = Field(0, description="US$ per million trained tokens")
    hour: Price | None = Field(
        None,
        description="US$ per hour that a model is deployed",
    )


class SummarizerTable(_Table):
    """`[suite.summarizer]`: the chat model that writes missing summaries."""

    provider: Text = Field(
        description="openai, or another installed provider that can sample",
    )
    base_model: Text | None = Field(
        None,
        description="the provider's name for the model",
    )
    endpoint: Text | None = Field(
        None,
        description="an existing endpoint instead of base_model",
    )
    temperature: Annotated[float, Field(ge=0, le=10)] | Literal["default"] = Field(
        1.0,
        description='temperature of the summaries; "default" omits it from requests; '
        "a change rewrites them",
    )
    prompt: Text | None = Field(
        None,
        description="prompt template with {passage}, {words}; a change rewrites the "
        "summaries",
    )
    price: PriceTable | None = Field(None, description="for cost estimates and budgets")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="the provider's own options, validated by it",
    )


class AnswerKeys(_Table):
    """Completeness requirements, in `[suite]` and per model."""

    min_length_ratio: Share | None = Field(
        None,
        description="length ratio (generation words / excerpt words) below which a "
        "generation is short; default 0.2",
    )
    max_short: Share | None = Field(
        None,
        description="maximum share of short generations; default 0.25",
    )
    max_unanswered: Share | None = Field(
        None,
        description="maximum share of generations that aren't answers: withheld, "
        "empty, refused, ...; default 0.05",
    )
    accept_refusals: bool | None = Field(
        None,
        description="whether refusals count as answers; default false",
    )
    max_prompt_overlap: Share | None = Field(
        None,
        description="maximum share of measured words that their own instruction "
        "contains; default 0.1",
    )


class SuiteTable(AnswerKeys):
    """`[suite]`: sampling and measuring of every pair."""

    samples: Positive = Field(100, description="generations per excerpt")
    temperature: Annotated[float, Field(ge=0, le=10)] | Literal["default"] = Field(
        1.0,
        description='sampling temperature; "default" omits it from requests',
    )
    seed: Count | Literal["none"] = Field(
        0,
        description='sampling seed, for providers that accept one; "none" omits it '
        "from requests",
    )
    k: Annotated[Positive, Field(le=20)] = Field(
        5,
        description="minimum match length, in words",
    )
    trim: Count = Field(
        5,
        description="length m of the instruction's m-grams to trim from matches; 0: "
        "don't trim",
    )
    span_threshold: Count = Field(
        20,
        description="length threshold T of spans_over, in words",
    )
    word_mode: Literal["paper", "unicode"] = Field(
        "paper",
        description="what counts as a word: the paper's rule, or a rule that covers "
        "all scripts",
    )
    max_tokens: Positive | Literal["default"] | None = Field(
        None,
        description="maximum tokens per generation; default: by the excerpt's length; "
        '"default" omits it from requests',
    )
    max_age_days: Annotated[FiniteFloat, Field(gt=0)] = Field(
        7.0,
        description="days after which generations expire if the endpoint's weights are "
        "identified by name only",
    )
    preregistered: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        None,
        description="SHA-256 of the preregistered suite; once changed, no pair can "
        "pass",
    )
    confidence: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.95,
        description="confidence level of intervals; 0 uses the observed values alone",
    )
    detection_limit: Annotated[float, Field(ge=MIN_DETECTION_LIMIT, le=1)] | None = (
        Field(
            None,
            description="highest acceptable detection limit (recall rate per prompt); "
            "a pair with too few samples for it can't pass",
        )
    )
    instruction_template: Text | None = Field(
        None,
        description="instruction template with {words}, {author}, {title}, {summary}",
    )
    summarizer: SummarizerTable | None = Field(
        None,
        description="chat model that writes missing summaries",
    )
    probe: ProbeKind = Field("instruction", description="kind of prompt")
    prefix_words: Positive = Field(
        50,
        description='words of the excerpt in the prompt, for probe = "continuation"',
    )
    continuation_template: Text | None = Field(
        None,
        description="prompt template with {prefix}, {words}, for probe = "
        '"continuation"',
    )
    turns: Positive = Field(
        300,
        description="most turns of a conversation after its opening, for probe = "
        '"extraction"',
    )
    probability: bool = Field(
        False,
        description="also measure how likely the model is to write windows of the "
        "book, where its provider gives log-probabilities; judges nothing",
    )


class SamplingTable(_Table):
    """`[sampling]`: when to stop sampling, and how long to wait for each call."""

    stop_on_fail: bool = Field(
        False,
        description="stop sampling once a limit is exceeded",
    )
    deadline: float = Field(
        600.0,
        gt=0,
        le=1_000_000,
        description="seconds that one call to a provider may take; after a timeout, "
        "half as many generations are requested",
    )


class BookTable(_Table):
    """`[[book]]`: a book to test with, or to fine-tune on."""

    id: Id = Field(description="the book's name in node ids and in this file")
    source: Text = Field(
        description="the book's path, relative to this file: .epub, .txt, the paper's "
        ".json, ...; or a folder or a table (.csv) of books",
    )
    title: Text | None = Field(
        None,
        description="title; default: from the book's metadata",
    )
    author: Text | None = Field(
        None,
        description="author; default: from the book's metadata",
    )
    metadata: dict[str, str | int | float] = Field(
        default_factory=dict,
        description="further facts, such as year or group, for selectors, reports, and "
        "tables",
    )
    role: Literal["test", "train", "negative-control"] = Field(
        "test",
        description="train: only for fine-tuning; negative-control: a book in no "
        "training set, measured but not gated",
    )
    summaries: Text | None = Field(
        None,
        description="path of a file with one summary per excerpt",
    )
    prompts: Text | None = Field(
        None,
        description="path of a file of prompts, a JSON line each, for probe = "
        '"prompts"',
    )
    include: list[Text] = Field(
        default_factory=list,
        description="documents to read in full; names or patterns with * and ?",
    )
    exclude: list[Text] = Field(
        default_factory=list,
        description="documents to leave out; names or patterns with * and ?",
    )
    encoding: Text | None = Field(
        None,
        description="encoding of plain text that isn't UTF-8, such as windows-1251 or "
        "shift_jis",
    )
    approved: Digest | None = Field(
        None,
        description="digest of the text that you saw and approved, as `memleak "
        "prepare` prints it",
    )
    bring_your_own: bool = Field(
        False,
        description="you supply the file; while it is missing, its pairs are "
        "INCONCLUSIVE and the suite stays valid",
    )


class CollectionTable(_Table):
    """`[[collection]]`: many works, each judged by itself."""

    id: Id = Field(description="the collection's name in node ids and in this file")
    source: Text = Field(
        description="pattern of files, relative to this file, one work each, such as "
        "songs/**; or one file of many works: under headings, or in rows of .jsonl or "
        ".json",
    )
    title: Text | None = Field(
        None,
        description="title of the collection; default: its id",
    )
    author: Text | None = Field(
        None,
        description="default author, for works that name none",
    )
    role: Literal["test", "train"] = Field(
        "test",
        description="train: only for fine-tuning",
    )
    limits: LimitsTable = Field(
        LimitsTable(),
        description="limits of each work, instead of the suite's",
    )
    unit: Literal["sentence", "line"] = Field(
        "sentence",
        description="smallest unit when cutting excerpts; line: keep every line",
    )
    summaries: Text | None = Field(
        None,
        description="path of a file with one summary per excerpt",
    )
    encoding: Text | None = Field(
        None,
        description="encoding of plain text that isn't UTF-8, such as windows-1251 or "
        "shift_jis",
    )
    approved: Digest | None = Field(
        None,
        description="digest of the text that you saw and approved, as `memleak "
        "prepare` prints it",
    )
    bring_your_own: bool = Field(
        False,
        description="you supply the files; while they are missing, their pairs are "
        "INCONCLUSIVE and the suite stays valid",
    )


class CatalogTable(_Table):
    """`[[catalog]]`: protected works, never prompted; every generation is scanned."""

    source: Text = Field(
        description="pattern of books or of `memleak catalog build` files, relative to "
        "this file, such as books/**/*.epub",
    )


class CommonTable(_Table):
    """`[[common]]`: texts that anyone may quote; limits don't apply to their words."""

    source: Text = Field(
        description="pattern of texts, relative to this file, such as "
        "common/psalm-23.txt or common/*",
    )


class FinetuneTable(BaseModel):
    """`[model.finetune]`: the training books and the provider's own settings."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        strict=True,
    )

    books: list[Id] = Field(
        min_length=1,
        description="ids of the books to fine-tune on",
    )
    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of these books' excerpts to fine-tune on; a larger one has "
        "those of a smaller one, too",
    )


class ModelTable(AnswerKeys):
    """`[[model]]`: a model under test."""

    id: Id = Field(description="the model's name in node ids and in this file")
    provider: Text = Field(
        description="openai, ngram, recorded, or another installed provider",
    )
    base_model: Text | None = Field(
        None,
        description="the provider's name for the (base) model",
    )
    endpoint: Text | None = Field(
        None,
        description="an existing endpoint, without fine-tuning",
    )
    baseline_model: Id | None = Field(
        None,
        description="id of the baseline model, for uplift",
    )
    price: PriceTable | None = Field(None, description="for cost estimates and budgets")
    weights_version: Text | None = Field(
        None,
        description="version of the weights behind the name; a new version is "
        "resampled",
    )
    served_names: list[ServedName] = Field(
        default_factory=list,
        description="names under which the server may report this model",
    )
    tests: list[Id] | None = Field(
        None,
        description="ids of the books that it is tested with; default: all",
    )
    expected: Expected = Field(
        "pass",
        description="leak: a positive control; all its pairs must fail their limits",
    )
    seed: Count | Literal["none"] | None = Field(
        None,
        description="sampling seed for this model instead of the suite's",
    )
    max_tokens: Positive | Literal["default"] | None = Field(
        None,
        description="maximum tokens per generation of this model, instead of the "
        "suite's",
    )
    probe: ProbeKind | None = Field(
        None,
        description="probe for this model instead of the suite's",
    )
    limits: LimitsTable = Field(
        LimitsTable(),
        description="tighter limits for this model",
    )
    finetune: FinetuneTable | None = Field(
        None,
        description="training books and settings",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="the provider's own options, validated by it",
    )


class PairTable(_Table):
    """`[[pair]]`: settings for one model and one book."""

    model: Id = Field(description="the model's id")
    book: Id = Field(description="id of a test book or collection")
    samples: Positive | None = Field(
        None,
        description="generations per excerpt, for this pair",
    )
    expected: Expected | None = Field(
        None,
        description="leak: a positive control; this pair must fail its limits",
    )
    probe: ProbeKind | None = Field(
        None,
        description="probe for this pair instead of the suite's",
    )
    limits: LimitsTable = Field(
        LimitsTable(),
        description="tighter limits for this pair",
    )


class SuiteFile(_Table):
    """A whole suite file."""

    suite: SuiteTable = Field(SuiteTable(), description="sampling and measuring")
    sampling: SamplingTable = Field(
        SamplingTable(),
        description="when to stop sampling",
    )
    limits: LimitsTable = Field(LimitsTable(), description="limits of every pair")
    book: list[BookTable] = Field(default_factory=list, description="the books")
    collection: list[CollectionTable] = Field(
        default_factory=list,
        description="the collections of works",
    )
    model: list[ModelTable] = Field(min_length=1, description="the models")
    pair: list[PairTable] = Field(
        default_factory=list,
        description="settings for single pairs",
    )
    catalog: list[CatalogTable] = Field(
        default_factory=list,
        description="protected works that generations are scanned for, though no "
        "prompt is about them",
    )
    common: list[CommonTable] = Field(
        default_factory=list,
        description="texts that anyone may quote; their passages don't count",
    )
