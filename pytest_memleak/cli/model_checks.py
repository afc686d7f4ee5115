"""What `memleak doctor` checks of a model: its options, keys, and server."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_memleak.cli.doctor_check import Check, error_without_subject
from pytest_memleak.errors import (
    MemleakError,
    ProviderBusy,
    ProviderError,
    RequestNotSent,
    SuiteError,
)
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.providers.provider_registry import PROVIDERS, ProviderNeeds, host_of
from pytest_memleak.redaction.text import server_word
from pytest_memleak.verdict.provenance_issues import is_requested

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_memleak.interfaces.protocols import Provider
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Model

_SECONDS = 5.0
_SHOWN = 8
_PORTS = {"http": 80, "https": 443}


def check_model(model: Model, suite_run: SuiteRun) -> Iterable[Check]:
    """Check a model's options and keys, and its server if the keys may go there."""
    subject = f"model {model.id}"
    try:
        provider = suite_run.endpoints.provider(model)
    except MemleakError as error:
        return [Check(subject, "unusable", error_without_subject(error, subject).line)]
    checks = [
        Check(subject, f"{model.provider}, valid options"),
        *_check_load(subject, provider),
        *check_access(model),
    ]
    needs = _needs_of_provider(model)
    host = host_of(needs.address_of(model.options.get("base_url")) or "")
    try:
        needs.validate_key_host(model.options, frozenset({host}), place=model.id)
    except SuiteError as error:  # whoever trusts the host
        return [
            *checks,
            Check(subject, "not contacted", error_without_subject(error, subject).line),
        ]
    try:
        needs.validate_key_host(model.options, frozenset(), place=model.id)
    except SuiteError as error:
        return [
            *checks,
            Check(
                subject, f"not contacted: {error_without_subject(error, subject).line}"
            ),
        ]
    if not any(check.fix for check in checks):
        checks += check_server_lists_model(model, provider)
    return checks


def _check_load(subject: str, provider: Provider) -> Iterator[Check]:
    """Check what only the first call loads, so that a dry run doesn't wait for it."""
    load = abilities_of(provider).load
    if load is None:
        return
    try:
        load()
    except MemleakError as error:
        yield Check(
            subject, "can't be called", error_without_subject(error, subject).line
        )


def _needs_of_provider(model: Model) -> ProviderNeeds:
    built_in = PROVIDERS.get(model.provider)
    return built_in.needs if built_in else ProviderNeeds()


def validate_variables(model: Model, *, place: str) -> None:
    """Raise SuiteError for a key or setting that the environment lacks.

    place: the model's, in the suite
    """
    missing = [check.subject for check in _check_variables(model) if check.fix]
    if not missing:
        return
    names = " and ".join(missing)
    verb = "isn't" if len(missing) == 1 else "aren't"
    hint = f"export {' '.join(f'{name}=...' for name in missing)}, then rerun"
    if _needs_of_provider(model).keys and not model.options.get("base_url"):
        hint += "; for your own server, add base_url"
    raise SuiteError(
        f"{names} {verb} set in the environment", location=place, hint=hint
    )


def check_access(model: Model) -> Iterator[Check]:
    """Check the model's keys, or that its server is reachable."""
    yield from _check_variables(model)
    url = _needs_of_provider(model).address_of(model.options.get("base_url"))
    if isinstance(url, str):
        yield check_server(url)


def _check_variables(model: Model) -> Iterator[Check]:
    """Check the environment variables of the model's keys and settings."""
    needs = _needs_of_provider(model)
    # An endpoint's full name has project and location.
    is_full = (model.endpoint or "").startswith("projects/")
    named = {*needs.settings.values()} if is_full else set()
    for name in needs.variables_of(model.options):
        if name in named:
            continue
        if os.environ.get(name, "").strip():
            yield Check(name, "set")
        else:
            yield Check(name, "not set", f"export {name}=...")


def check_server(url: str) -> Check:
    """Check that a server accepts connections."""
    from pytest_memleak.redaction.credentials import without_credentials

    subject = f"server {without_credentials(url)}"
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        address = (parts.hostname or "", port)
        socket.create_connection(address, timeout=_SECONDS).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fix = "start it, or correct options.base_url"
        return Check(subject, f"unreachable: {reason}", fix)
    return Check(subject, "reachable")


def check_server_lists_model(model: Model, provider: Provider) -> Iterator[Check]:
    """Check that the server's list of models has this one."""
    models = abilities_of(provider).models
    if models is None:
        return
    subject = f"model {model.id}"
    name = model.endpoint or model.base_model
    if model.finetune_books:
        name = model.base_model
    try:
        listed = models()
    except RequestNotSent as error:  # as no call will be
        yield Check(subject, f"no list of models: {error.cause}", error.fix)
        return
    except ProviderBusy as error:
        yield Check(subject, f"no list of models: {error.cause}")
        return
    except ProviderError as error:
        yield Check(
            subject, "no list of models", error_without_subject(error, subject).line
        )
        return
    listed_name = _listed_name((name or "").casefold(), [*listed])
    if listed_name is not None:
        state = "listed by the server"
        if shutdown := listed[listed_name]:
            state += f"; shutdown: {shutdown}"
        yield Check(subject, state)
    elif listed:
        shown = first_names_text([server_word(other) for other in sorted(listed)])
        yield Check(
            subject,
            f"the server doesn't list {name}",
            f"name one that it lists: {shown}",
        )


def _listed_name(wanted: str, listed: Sequence[str]) -> str | None:
    """Return the list's name of the wanted model, if it is listed."""
    names = {other.casefold(): other for other in listed}
    if wanted in names and _is_listed(wanted, wanted):
        return names[wanted]
    for other, name in names.items():
        if _is_listed(other, wanted):
            return name
    return None


def _is_listed(listed: str, wanted: str) -> bool:
    """Tell whether a listed name, perhaps with publisher or version, is wanted."""
    is_part = listed.startswith(f"{wanted}:") or listed.endswith(f"/{wanted}")
    return is_part or is_requested(listed, wanted, ())


def first_names_text(names: Sequence[str]) -> str:
    """List the first of several names, and how many there are beside."""
    shown = ", ".join(names[:_SHOWN])
    if len(names) > _SHOWN:
        shown += f", and {len(names) - _SHOWN} more"
    return shown
