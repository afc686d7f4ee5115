"""The suite file as it is written: tables, keys, types and defaults.

A JSON Schema made from these classes ships as `memleak-suite.schema.json`, so that editors
complete a suite file: put `#:schema .../memleak-suite.schema.json` on its first line. After a
change here, write it anew:

    cd pytest_memleak/suite
    python -m pytest_memleak.suite.schema > memleak-suite.schema.json
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, create_model

from pytest_memleak.scoring.detection_limit import LEAST_DETECT
from pytest_memleak.scoring.measure_table import MEASURES

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Text = Annotated[str, Field(min_length=1)]
Expected = Literal["pass", "leak"]
ProbeKey = Literal["instruction", "continuation", "probability"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, strict=True)


_KINDS: dict[str, Any] = {"share": Share, "count": Count, "number": FiniteFloat}


class LimitsTable(_Table):
    """The most that each measure may be; any subset."""

    preset: Literal["strict", "paper"] | None = Field(
        None,
        description="limits under one name, in [limits] alone; keys beside it may tighten them",
    )
    measures: dict[str, FiniteFloat] = Field(
        default_factory=dict, description="limits on the measures that extensions bring, by name"
    )


if not TYPE_CHECKING:  # a field for each row of the table, before what extensions bring
    LimitsTable = create_model(
        "LimitsTable",
        __base__=_Table,
        __doc__=LimitsTable.__doc__,
        **{
            row.name: (_KINDS[row.kind] | None, Field(None, description=row.about))
            for row in MEASURES.values()
        },
        preset=(Literal["strict", "paper"] | None, LimitsTable.model_fields["preset"]),
        measures=(dict[str, FiniteFloat], LimitsTable.model_fields["measures"]),
    )


class PriceTable(_Table):
    """`price`: US$ per million tokens, and an hour of what has to be deployed."""

    input: Annotated[float, Field(ge=0)] = Field(description="US$ per million prompt tokens")
    output: Annotated[float, Field(ge=0)] = Field(description="US$ per million completion tokens")
    training: Annotated[float, Field(ge=0)] = Field(0, description="US$ per million trained tokens")
    hour: Annotated[float, Field(ge=0)] | None = Field(
        None, description="US$ an hour that a deployed model stands"
    )


class SummarizerTable(_Table):
    """`[suite.summarizer]`: the chat model that writes summaries where there are none."""

    provider: Text = Field(description="openai, or any other installed provider that is sampled")
    base_model: Text | None = Field(None, description="the provider's name of the model")
    endpoint: Text | None = Field(None, description="an endpoint that exists, in place of base")
    temperature: Annotated[float, Field(ge=0, le=10)] = Field(
        1.0, description="temperature of the summaries; another one has them written anew"
    )
    price: PriceTable | None = Field(None, description="for plans and budgets")
    options: dict[str, Any] = Field(
        default_factory=dict, description="the provider's own options, checked by it"
    )


class ProbabilityTable(_Table):
    """`[suite.probability]`: the windows of `probe = "probability"`, and how they are judged."""

    prefix_tokens: Positive = Field(50, description="tokens that the model is given")
    suffix_tokens: Positive = Field(50, description="tokens whose probability is asked for")
    stride: Positive = Field(10, description="tokens from one window to the next")
    top_k: Count = Field(40, description="only so many likeliest tokens may be drawn; 0: all")
    temperature: Annotated[float, Field(gt=0, le=10)] = Field(
        1.0, description="temperature of the sampling scheme"
    )
    n: Positive = Field(100, description="tries in which a window may come")
    p: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="least probability that it comes in them"
    )


class AnswerKeys(_Table):
    """How complete answers have to be; of `[suite]`, and of a model that differs."""

    min_length_ratio: Share | None = Field(
        None, description="share of an excerpt's words under which an answer is short (0.2)"
    )
    max_short: Share | None = Field(
        None, description="share of the answers that may be short (0.25)"
    )
    max_unanswered: Share | None = Field(
        None, description="share of the answers that may be none: withheld, refused, ... (0.05)"
    )
    accept_refusals: bool | None = Field(
        None, description="whether a refusal counts as an answer (false)"
    )
    max_prompt_overlap: Share | None = Field(
        None, description="share of the words that instructions may tell (0.1)"
    )


class SuiteTable(AnswerKeys):
    """`[suite]`: how every pair is sampled and measured."""

    samples: Positive = Field(100, description="generations per excerpt")
    temperature: Annotated[float, Field(ge=0, le=10)] | Literal["default"] = Field(
        1.0, description='sampling temperature; "default" sends none'
    )
    seed: Count = Field(0, description="seed of the sampling, where a provider takes one")
    k: Annotated[Positive, Field(le=20)] = Field(
        5, description="shortest match that counts, in words"
    )
    trim: Count = Field(
        5, description="m of the m-grams that an instruction gives away; 0 trims nothing"
    )
    span_threshold: Count = Field(20, description="T of spans_over, in words")
    word_mode: Literal["paper", "unicode"] = Field("paper", description="what counts as a word")
    max_tokens: Positive | None = Field(
        None, description="the most tokens of an answer; default: what the excerpt's length needs"
    )
    max_age_days: Annotated[FiniteFloat, Field(gt=0)] = Field(
        7.0, description="days after which answers of an endpoint that is only a name do not count"
    )
    preregistered: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="SHA-256 of the suite that was announced; of another one no pair can pass"
    )
    confidence: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.95, description="of intervals; 0 judges by observed values alone"
    )
    detection_limit: Annotated[float, Field(ge=LEAST_DETECT, le=1)] | None = Field(
        None,
        description="share of the answers to its prompt in which a passage may come unseen; fewer "
        "samples than that takes make no pass",
    )
    pairs: Literal["all", "listed"] = Field(
        "all", description="all: every model meets every test book; listed: only each [[pair]]"
    )
    instruction_template: Text | None = Field(
        None, description="template of the instructions; {words}, {author}, {title}, {summary}"
    )
    summarizer: SummarizerTable | None = Field(
        None, description="a chat model that writes the summaries that books do not bring"
    )
    probe: ProbeKey = Field("instruction", description="how models are asked for the books")
    prefix_words: Positive = Field(
        50, description='words of an excerpt that probe = "continuation" asks with'
    )
    continuation_template: Text | None = Field(
        None, description="template of the prompts of that probe; {prefix}"
    )
    probability: ProbabilityTable = Field(
        ProbabilityTable(), description='windows of probe = "probability"'
    )


class SamplingTable(_Table):
    """`[sampling]`: when to stop drawing."""

    stop_on_fail: bool = Field(False, description="sample no more rounds once a limit is exceeded")


class BookTable(_Table):
    """`[[book]]`: a book to test with, or to train on."""

    id: Id = Field(description="name of the book in node ids and elsewhere in this file")
    source: Text = Field(
        description="path of the book, from this file: .epub, .txt, the paper's .json, ..."
    )
    title: Text | None = Field(None, description="title; default: what the book says of itself")
    author: Text | None = Field(None, description="author; default: what the book says of itself")
    role: Literal["test", "train", "negative-control"] = Field(
        "test",
        description="train: used only to fine-tune; control: known to be in no training set, "
        "measured like any, gates nothing",
    )
    summaries: Text | None = Field(None, description="path of a file with a summary per excerpt")
    include: list[Text] = Field(
        default_factory=list,
        description="documents of an EPUB that are read whole; * and ? may be any",
    )
    exclude: list[Text] = Field(
        default_factory=list, description="documents of an EPUB that are not read"
    )
    bring_your_own: bool = Field(
        False,
        description="whoever runs the suite puts the file there; until then its pairs are "
        "INCONCLUSIVE instead of an error of this file",
    )


class CollectionTable(_Table):
    """`[[collection]]`: works that are each a book, tested or trained on together."""

    id: Id = Field(description="name of the collection in node ids and elsewhere in this file")
    source: Text = Field(
        description="pattern of files, from this file, each a work, as in songs/**; or one file "
        "that holds many: under headings, or in rows of .jsonl or .json"
    )
    title: Text | None = Field(None, description="title of the collection; default: its id")
    author: Text | None = Field(None, description="author of the works that do not say")
    role: Literal["test", "train"] = Field("test", description="train: used only to fine-tune")
    limits: LimitsTable = Field(
        LimitsTable(), description="limits of each work, in place of the suite's"
    )
    unit: Literal["sentence", "line"] = Field(
        "sentence", description="line: lines are kept as they are, and none is parted"
    )
    summaries: Text | None = Field(None, description="path of a file with a summary per excerpt")
    bring_your_own: bool = Field(
        False,
        description="whoever runs the suite puts the files there; until then its pairs are "
        "INCONCLUSIVE instead of an error of this file",
    )


class CatalogTable(_Table):
    """`[[catalog]]`: protected books that nobody asks for, looked for in every generation."""

    source: Text = Field(
        description="pattern of books, or of files of `memleak catalog build`, from this file, "
        "as in books/**/*.epub"
    )


class CommonTable(_Table):
    """`[[common]]`: texts that anybody may quote, which excuse what they contain."""

    source: Text = Field(
        description="pattern of texts, from this file, as in common/psalm-23.txt or common/*"
    )


class FinetuneTable(BaseModel):
    """`[model.finetune]`: the training books, and the provider's own recipe beside them."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    books: list[Id] = Field(min_length=1, description="ids of the books to fine-tune on")


class ModelTable(AnswerKeys):
    """`[[model]]`: a model under test."""

    id: Id = Field(description="name of the model in node ids and elsewhere in this file")
    provider: Text = Field(description="ngram, recorded, or any other installed provider")
    base_model: Text | None = Field(None, description="the provider's name of the (base) model")
    endpoint: Text | None = Field(None, description="an endpoint that exists: no fine-tuning")
    baseline_model: Id | None = Field(None, description="id of the model it is compared with")
    price: PriceTable | None = Field(None, description="for plans and budgets")
    weights_version: Text | None = Field(
        None, description="which weights stand behind the name; another one has all drawn anew"
    )
    served_names: list[Text] = Field(
        default_factory=list, description="names that the server may give this model"
    )
    expected: Expected = Field("pass", description="leak: all its pairs must fail their limits")
    probe: ProbeKey | None = Field(None, description="another probe, for this model")
    limits: LimitsTable = Field(LimitsTable(), description="tighter limits for this model")
    finetune: FinetuneTable | None = Field(None, description="what it is fine-tuned on, and how")
    options: dict[str, Any] = Field(
        default_factory=dict, description="the provider's own options, checked by it"
    )


class PairTable(_Table):
    """`[[pair]]`: one model and one book, where something differs for them."""

    model: Id = Field(description="a model's id")
    book: Id = Field(description="id of a test book or collection")
    samples: Positive | None = Field(None, description="generations per excerpt, for this pair")
    expected: Expected | None = Field(None, description="leak: this pair must fail its limits")
    probe: ProbeKey | None = Field(None, description="another probe, for this pair")
    limits: LimitsTable = Field(LimitsTable(), description="tighter limits for this pair")


class SuiteFile(_Table):
    """A whole suite file."""

    suite: SuiteTable = Field(SuiteTable(), description="sampling and measuring")
    sampling: SamplingTable = Field(SamplingTable(), description="when to stop drawing")
    limits: LimitsTable = Field(LimitsTable(), description="limits of every pair")
    book: list[BookTable] = Field(default_factory=list, description="the books")
    collection: list[CollectionTable] = Field(
        default_factory=list, description="the collections of works"
    )
    model: list[ModelTable] = Field(min_length=1, description="the models")
    pair: list[PairTable] = Field(default_factory=list, description="pairs that differ")
    catalog: list[CatalogTable] = Field(
        default_factory=list, description="books that nobody asks for"
    )
    common: list[CommonTable] = Field(
        default_factory=list, description="texts that anybody may quote"
    )


def json_schema() -> str:
    """The JSON Schema of suite files, as text, as it ships."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_with_providers(SuiteFile.model_json_schema()),
        "title": "pytest-memleak suite",
    }
    return json.dumps(schema, indent=2) + "\n"


_ABOUT = re.compile(r"^([a-z_, ]+): (.*(?:\n {4}.*)*)", re.MULTILINE)


def _with_providers(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of suite files, in which a model's options are those of its provider.

    A provider that an extension brings may have any.
    """
    # No run needs the providers' classes.
    from pytest_memleak.providers.option_tables import Table
    from pytest_memleak.providers.provider_registry import PROVIDERS

    definitions = dict(schema["$defs"])
    model = definitions["ModelTable"]
    conditions = []
    for provider, where in PROVIDERS.items():
        then = {}
        for kind in vars(importlib.import_module(where.module)).values():
            if isinstance(kind, type) and issubclass(kind, Table) and kind is not Table:
                about = inspect.cleandoc(kind.__doc__ or "")
                key = "options" if about.startswith("`[model.options]`") else "finetune"
                name = f"{provider.capitalize()}{key.capitalize()}"
                definitions[name] = _described(kind, about)
                for inner in _tables_within(kind, Table):
                    docstring = inspect.cleandoc(inner.__doc__ or "")
                    definitions[inner.__name__] = _described(inner, docstring)
                if key == "finetune":
                    definitions[name] = _beside_books(definitions[name], definitions)
                then[key] = {"$ref": f"#/$defs/{name}"}
        conditions.append(
            {
                "if": {"properties": {"provider": {"const": provider}}},
                "then": {"properties": then},
            }
        )
    definitions["ModelTable"] = {**model, "allOf": conditions}
    return {**schema, "$defs": definitions}


def _described(kind: type[BaseModel], about: str) -> dict[str, Any]:
    """The table's schema; what each key is for stands in the docstring of its class."""
    descriptions = {
        name.strip(): " ".join(text.split())
        for names, text in _ABOUT.findall(about)
        for name in names.split(",")
    }
    schema = kind.model_json_schema()
    properties = {
        name: {**value, "description": descriptions.get(name, f"{name} of the provider's recipe")}
        for name, value in schema["properties"].items()
    }
    schema.pop("$defs", None)  # they stand beside it
    return {**schema, "properties": properties, "description": about.partition("\n")[0]}


def _tables_within(kind: type[BaseModel], table: type[BaseModel]) -> list[type[BaseModel]]:
    """The classes of the tables that its keys may hold."""
    held = (
        candidate
        for field in kind.model_fields.values()
        for candidate in get_args(field.annotation)
    )
    return [
        candidate
        for candidate in held
        if isinstance(candidate, type) and issubclass(candidate, table)
    ]


def _beside_books(table: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    books = definitions["FinetuneTable"]["properties"]["books"]
    return {**table, "properties": {"books": books, **table["properties"]}, "required": ["books"]}


if __name__ == "__main__":
    sys.stdout.write(json_schema())
