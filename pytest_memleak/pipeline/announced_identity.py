"""What identifies a pair to a witness: its model and its book, and never a suite's id.

Whoever renames a model, a book or a suite tests the same pair again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pytest_memleak.errors import MemleakError
from pytest_memleak.interfaces.abilities import abilities_of, id_of
from pytest_memleak.providers.provider_registry import PROVIDERS, host_of
from pytest_memleak.records.provenance import weights_digest
from pytest_memleak.records.witness_records import (
    BY_CHOSEN_NAME,
    BY_NAME,
    BY_TRAINING,
    BY_WEIGHTS,
    AnnouncedPair,
    WitnessedPair,
)
from pytest_memleak.results.build_result import pair_settings
from pytest_memleak.results.evidence_file import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Model, Pair, Summarizer
    from pytest_memleak.records.witness_records import IdentifiedBy

_SHAPING = ("temperature", "max_tokens", "probe")


def witnessed_pairs(
    suite_run: SuiteRun,
    pairs: Iterable[Pair],
) -> Iterator[WitnessedPair]:
    """Yield what is announced of pairs; makes no call.

    Leaves out recordings, which call nothing, and pairs whose model or book can't be
    opened now.
    """
    for pair in pairs:
        try:
            announced = announced_pair(pair, suite_run)
        except MemleakError:
            continue
        if announced is not None:
            yield WitnessedPair(suite_run.suite.digest, pair.id, announced)


def announced_pair(pair: Pair, suite_run: SuiteRun) -> AnnouncedPair | None:
    """Return what is announced of a pair; None for a recording.

    Raises MemleakError for a model or a book that can't be opened.
    """
    identity = _identify_model(pair.model, suite_run)
    if identity is None:
        return None
    model, identified_by = identity
    book = suite_run.books.cut_into_excerpts(pair.book).words_digest
    prompts = _prompts_digest(pair, suite_run)
    version = pair.model.weights_version or None
    settings = settings_digest(pair_settings(pair), pair.model.options, version)
    return AnnouncedPair(model, identified_by, book, prompts, settings)


def settings_digest(
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    weights_version: str | None,
) -> str:
    """Digest what is sent beside the prompts, and what else has a ledger sample again.

    More samples go on with a run, and the seed, if one is sent, is the witness's.
    """
    shaping = {name: settings[name] for name in _SHAPING}
    sends_seed = settings["seed"] is not None
    return _digest(
        {
            "settings": shaping,
            "options": options,
            "sends_seed": sends_seed,
            "weights_version": weights_version,
        }
    )


def digest_of_name(name: str) -> str:
    """Digest a model's name as its server knows it."""
    return _digest({"name": name.casefold()})


def digest_of_weights(weights_sha256: str) -> str:
    """Digest the SHA-256 of a model's weights."""
    return _digest({"weights": weights_sha256})


def _prompts_digest(pair: Pair, suite_run: SuiteRun) -> str:
    """Digest the texts that prompts are made of, as they are before any summary."""
    texts = {
        "book": suite_run.books.cut_into_excerpts(pair.book).digest,
        "template": pair.book.instruction_template,
        "prompts": suite_run.books.prompts_digest(pair),
        "summarizer": _summarizer_settings(suite_run.suite.summarizer),
    }
    return _digest(texts)


def _summarizer_settings(summarizer: Summarizer | None) -> dict[str, Any] | None:
    if summarizer is None:
        return None
    model = summarizer.model
    return {
        "model": model.endpoint or model.base_model,
        "options": model.options,
        "temperature": summarizer.temperature,
        "prompt": summarizer.prompt,
    }


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _identify_model(
    model: Model,
    suite_run: SuiteRun,
) -> tuple[str, IdentifiedBy] | None:
    if model.finetune_books:
        return _identify_training(model, suite_run), BY_TRAINING
    endpoint = suite_run.endpoints.open_endpoint(model)
    abilities = abilities_of(endpoint)
    if abilities.recording is not None:
        return None
    fingerprint = abilities.weights_fingerprint and abilities.weights_fingerprint()
    weights = weights_digest(fingerprint)
    if weights:
        return digest_of_weights(weights), BY_WEIGHTS
    place, _, _ = (id_of(endpoint) or "").partition("#")
    name = abilities.model_name or place or model.endpoint or model.base_model or ""
    is_own = _is_server_of_provider(model)
    return digest_of_name(name), BY_NAME if is_own else BY_CHOSEN_NAME


def _identify_training(model: Model, suite_run: SuiteRun) -> str:
    """Digest what a fine-tune is made of, since it may not exist yet."""
    books = [suite_run.suite.book(book_id) for book_id in model.finetune_books]
    read = map(suite_run.books.cut_into_excerpts, books)
    words = [book.words_digest for book in read]
    recipe = {
        "base": (model.base_model or "").casefold(),
        "books": sorted(words),
        "share": model.finetune_share,
        "finetune": model.finetune,
    }
    return _digest(recipe)


def _is_server_of_provider(model: Model) -> bool:
    """Tell whether a name is served by the provider itself, which gives the names."""
    provider = PROVIDERS.get(model.provider)
    if provider is None or not provider.needs.host:
        return False
    address = provider.needs.address_of(model.options.get("base_url"))
    host = host_of(address) if address else provider.needs.host
    own = provider.needs.host
    return host == own or host.endswith(f".{own}")
