"""A provider's part of a suite file: its `options` and `finetune` tables, validated.

Each table is a pydantic model that forbids unknown keys. An error is a SuiteError with
place, key, and value. A value that looks like a secret is rejected and never shown:
secrets belong in the environment.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pytest_memleak.errors import SuiteError
from pytest_memleak.providers.provider_registry import host_of
from pytest_memleak.redaction.credentials import masked

_SHOWN = 80
_URL = r"^https?://[^\s/]\S*$"
_SHAPES = {
    _URL: "expected an address with http:// or https://, as in http://localhost:8000/v1",
    "^[A-Za-z_][A-Za-z0-9_]*$": "expected the name of an environment variable, as in "
    "OPENAI_API_KEY",
    r"^(auto|cpu|mps|cuda(:\d+)?)$": "expected auto, cpu, mps, cuda, or cuda:NUMBER",
    r"^gs://[^\s/]+(/[^\s/]+)*/?$": "expected a bucket, as in gs://NAME",
    "^[A-Za-z0-9][A-Za-z0-9._-]*$": "expected only letters, digits, '.', '_', and '-', "
    "starting with a letter or digit",
    "^[0-9a-f]{64}$": "expected 64 lowercase hexadecimal digits",
}
"""The patterns of these tables and of suite files, in words."""
_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:api[_-]?key|secret|passw(?:or)?d|credentials?|authorization|bearer)(?:$|[_-])",
    re.IGNORECASE,
)
_TOKEN_NAME = re.compile(r"(?:^|[_-])token$", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"\b(?:(?:sk|pk|rk|tml|tgp|gsk|xai|hf|ghp|glpat)[-_](?=[A-Za-z_-]*\d)|AKIA|AIza|ya29\.)"
    r"[A-Za-z0-9_-]{16,}"
    r"|\bBearer\s+\S{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|://[^/\s:@]+:[^/\s@]+@",
)
_RANDOM = re.compile(
    r"(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=(?:\D*\d){4})[A-Za-z0-9_+=-]{32,}",
)
_VARIABLE_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


def _validated_url(url: str) -> str:
    if not host_of(url):
        raise ValueError(_SHAPES[_URL])
    return url


Address = Annotated[str, Field(pattern=_URL), AfterValidator(_validated_url)]


class Table(BaseModel):
    """A table of a suite file, without unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )


TableT = TypeVar("TableT", bound=Table)


def read_table(
    kind: type[TableT],
    values: Mapping[str, Any],
    *,
    place: str,
    name: str,
) -> TableT:
    """Return `values` as a table; SuiteError for a wrong key or value.

    place: the suite file and the model's entry; name: the table's name below it
        ("options")
    """
    validate_no_secrets(values, place=place, name=name)
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
    # A misspelled key is missing, too, but the misspelling explains more.
    first = next(
        (problem for problem in problems if problem["type"] == "extra_forbidden"),
        problems[0],
    )
    # pydantic reports each type of a union by itself, below their shared key.
    option = first["loc"][:1]
    alike = [problem for problem in problems if problem["loc"][:1] == option]
    key = name
    for steps in zip(*(problem["loc"] for problem in alike), strict=False):
        if len(set(steps)) > 1:
            break
        key += f".{masked(str(steps[0]))}"
    if first["type"] == "extra_forbidden":
        raise SuiteError(
            f"unknown key {key!r}",
            location=place,
            hint=_unknown_key_hint(kind, first["loc"], name),
        )
    expected = ", or ".join(map(problem_text, alike))
    raise SuiteError(
        f"{key}: {expected}; got {_shortened_repr(first.get('input'))}",
        location=place,
        hint=f"correct {key} in the suite file",
    )


def problem_text(problem: Mapping[str, Any]) -> str:
    """Return a problem of pydantic in words."""
    if problem["type"] in {"model_type", "dict_type"}:
        return "Input should be a table"
    text: str = problem["msg"].removeprefix("Value error, ")
    shapes = (
        words
        for pattern, words in _SHAPES.items()
        if text.endswith(f"pattern '{pattern}'")
    )
    return next(shapes, text)


def _unknown_key_hint(
    kind: type[Table],
    place: Sequence[int | str],
    name: str,
) -> str:
    """Return the hint for an unknown key."""
    near = difflib.get_close_matches(str(place[-1]), kind.model_fields, n=1, cutoff=0.7)
    if near and len(place) == 1:
        return f"write {near[0]} in place of {masked(str(place[-1]))}"
    accepted = f"{name} accepts: {', '.join(kind.model_fields)}"
    others = (
        "keys of [[model]] go above this table; max_tokens and the like go in [suite]; "
    )
    return f"{others}{accepted}" if name == "options" else accepted


def validate_no_secrets(
    values: Mapping[str, Any],
    *,
    place: str,
    name: str,
) -> None:
    """Raise SuiteError if any value, at any depth, looks like a key or a password."""
    for key, value in _strings_at_any_depth(values, name):
        if _looks_secret(key.rpartition(".")[2], value):
            raise SuiteError(
                f"{masked(key)} looks like a secret (value not shown)",
                location=place,
                hint="suite files must not contain secrets: remove it, and set the "
                "provider's environment variable instead",
            )


def _strings_at_any_depth(value: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _strings_at_any_depth(inner, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings_at_any_depth(inner, key)
    elif isinstance(value, str):
        yield key, value


def _looks_secret(name: str, value: str) -> bool:
    if _SECRET_VALUE.search(value) or _RANDOM.fullmatch(value):
        return True
    if _VARIABLE_NAME.fullmatch(value):
        return False  # the name of an environment variable
    if _SECRET_NAME.search(name):
        return bool(value)
    return (
        bool(_TOKEN_NAME.search(name))
        and re.fullmatch(r"[\w.+=-]{16,}", value) is not None
    )


def _shortened_repr(value: object) -> str:
    text = repr(value)
    return (
        text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
    )
