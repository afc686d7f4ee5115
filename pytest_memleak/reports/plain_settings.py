"""Settings as a suite file has them: one key a line, values as they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_memleak.records.pair_result import PairResult

# Where a finding has them: keys of [suite.probability], which only that probe reads.
_WINDOWS = "probe.windows."
_RECIPE = ("base_model", "baseline_model", "weights_version", "job")


def flatten(settings: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting that has a value, those of inner tables with dots in their names."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{name}{key}.")
        elif value is not None:
            yield f"{name}{key}", value


def setting_texts(result: PairResult) -> Iterator[tuple[str, str]]:
    """How a pair was sampled, measured and judged, without what its probe does not read."""
    for key, value in flatten(result.settings):
        if key.startswith(_WINDOWS) and result.probe != "probability":
            continue
        if key == "probe.prefix_words" and result.probe != "continuation":
            continue
        yield (
            key.replace(_WINDOWS, "probability.").replace("probe.kind", "probe"),
            value_text(value),
        )


def model_recipe(result: PairResult, titles: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What the model of a pair is: provider, base, what it was tuned on and how, its options.

    titles: of books by their ids.
    """
    settings = result.model_settings
    yield "provider", str(settings["provider"])
    yield from ((key, str(settings[key])) for key in _RECIPE if settings.get(key))
    if settings["finetune_books"]:
        yield (
            "tuned on",
            ", ".join(titles.get(value, value) for value in settings["finetune_books"]),
        )
    yield from (
        (key, value_text(value)) for key, value in flatten(settings["finetune"], "finetune.")
    )
    for key, value in flatten(settings["options"], "options."):
        books = [titles.get(value, value) for value in value] if isinstance(value, list) else value
        yield key, value_text(books)
    if settings["served_names"]:
        yield "served_names", value_text(settings["served_names"])


def value_text(value: object) -> str:
    """A value as a suite file has it, without quotation marks and brackets."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value))
    return str(value)
