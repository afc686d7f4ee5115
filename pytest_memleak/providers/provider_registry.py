"""The table of this package's providers: their modules and requirements.

Whatever lists providers reads this table: their hook, the JSON Schema of suite files,
`memleak doctor`, and `memleak init`. It is quick to import; a provider's module is
imported with its first model.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_memleak.errors import MissingExtra, SuiteError
from pytest_memleak.providers.own_ports import is_own_port

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import (
        Provider,
        ProviderFactory,
        ProviderSetup,
    )


_HOST = re.compile(r"[\w.:-]+")


@dataclass(frozen=True, slots=True)
class ProviderNeeds:
    """A provider's requirements: an extra, and environment variables.

    extra:    of pytest-memleak
    packages: the extra's modules, with their names for pip
    keys:     variables that hold secrets
    settings: options for an account or a place, with their variables
    address:  the variable for another server
    host:     the provider's own server, "" if it has none
    """

    extra: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    host: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that are not installed."""
        return tuple(
            name for module, name in self.packages.items() if not _is_importable(module)
        )

    @property
    def requirement(self) -> str:
        """The requirement to install with pip."""
        return f"pytest-memleak[{self.extra}]" if self.extra else "pytest-memleak"

    @property
    def unset(self) -> tuple[str, ...]:
        """The variables that are not set."""
        return tuple(
            name for name in self.variables if not os.environ.get(name, "").strip()
        )

    @property
    def variables(self) -> tuple[str, ...]:
        """All variables of keys and settings."""
        return *self.keys, *self.settings.values()

    def address_of(self, base_url: str | None) -> str | None:
        """Return the server that a variable or the suite names, if any."""
        return base_url or os.environ.get(self.address) or None

    def validate_key_host(
        self,
        options: Mapping[str, Any],
        hosts: frozenset[str],
        *,
        place: str,
    ) -> None:
        """Raise SuiteError if a key would go to a host that only the suite file names.

        hosts: those named outside the file, beside the provider's own and `address`. A
            loopback address may receive the provider's own key, and any other where a
            process of this user listens; http elsewhere, none.
        """
        variables = [str(options.get("api_key_env", key)) for key in self.keys]
        address = self.address_of(options.get("base_url")) or (
            self.host and f"https://{self.host}"
        )
        without_key = variables and not any(map(os.environ.get, variables))
        if without_key or not (self.variables and address):
            return
        key = variables[0] if variables else "your credentials"
        host = host_of(address)
        # Clients disagree about where the host of such an address ends.
        if (
            not _HOST.fullmatch(host)
            or "\\" in address
            or "@" in (options.get("base_url") or "")
        ):
            raise SuiteError(
                "base_url isn't a plain address",
                location=place,
                hint='write scheme, host, and path, as in "https://models.example/v1"',
            )
        own = self.host if variables == [*self.keys] else None
        if is_loopback(host):
            named = {*hosts, host_of(os.environ.get(self.address, ""))}
            if "api_key_env" in options and host not in named:
                _validate_own_port(key, host, address, place=place)
            return
        if not address.lower().startswith("https:"):
            raise SuiteError(
                f"{key} would go to {host} unencrypted",
                location=place,
                hint="write https:// in base_url, or "
                f"unset {key} if the server needs none",
            )
        if host not in {*hosts, own, host_of(os.environ.get(self.address, ""))}:
            raise SuiteError(
                f"{key} would go to {host}, which only this suite file names",
                location=place,
                hint=f"if this host may receive the key, add --memleak-host {host}",
            )

    def variables_of(self, options: Mapping[str, Any]) -> list[str]:
        """Return the variables of a model with these options; your server needs none.

        A variable that the suite names is needed there, too.
        """
        if self.address_of(options.get("base_url")):
            return [str(options["api_key_env"])] if "api_key_env" in options else []
        keys = (str(options.get("api_key_env", key)) for key in self.keys)
        return [
            *keys,
            *(name for option, name in self.settings.items() if option not in options),
        ]


@dataclass(frozen=True, slots=True)
class BuiltInProvider:
    """A provider whose module is imported with its first model.

    name:    that of its class
    free:    whether it costs nothing
    by_name: whether PROVIDER/NAME is enough to open a model of it
    """

    module: str
    name: str
    needs: ProviderNeeds = field(default_factory=ProviderNeeds)
    free: bool = False
    by_name: bool = True

    def __call__(self, setup: ProviderSetup) -> Provider:
        """Create the provider of one model."""
        factory: ProviderFactory = getattr(
            importlib.import_module(self.module),
            self.name,
        )
        provider = factory(setup)
        if setup.hosts is not None:
            self.needs.validate_key_host(
                setup.model.options,
                setup.hosts,
                place=setup.place,
            )
        validate_installed(provider.name, self.needs.packages, extra=self.needs.extra)
        return provider


_HERE = "pytest_memleak.providers"

PROVIDERS = {
    "ngram": BuiltInProvider(
        f"{_HERE}.ngram.ngram_provider",
        "NgramProvider",
        free=True,
        by_name=False,
    ),
    "recorded": BuiltInProvider(
        f"{_HERE}.recorded",
        "RecordedProvider",
        free=True,
        by_name=False,
    ),
    "openai": BuiltInProvider(
        f"{_HERE}.openai.openai_provider",
        "OpenAIProvider",
        ProviderNeeds(
            "openai",
            {"openai": "openai"},
            keys=("OPENAI_API_KEY",),
            address="OPENAI_BASE_URL",
            host="api.openai.com",
        ),
    ),
    "vertex": BuiltInProvider(
        f"{_HERE}.vertex.vertex_provider",
        "VertexProvider",
        ProviderNeeds(
            "vertex",
            {
                "google.genai": "google-genai",
                "google.cloud.storage": "google-cloud-storage",
            },
            settings={
                "project": "GOOGLE_CLOUD_PROJECT",
                "location": "GOOGLE_CLOUD_LOCATION",
            },
            address="GOOGLE_VERTEX_BASE_URL",
            host="googleapis.com",
        ),
    ),
    "tinker": BuiltInProvider(
        f"{_HERE}.tinker.tinker_provider",
        "TinkerProvider",
        ProviderNeeds(
            "tinker",
            {"tinker": "tinker", "transformers": "transformers"},
            keys=("TINKER_API_KEY",),
            address="TINKER_BASE_URL",
            host="tinker.thinkingmachines.dev",
        ),
    ),
    "together": BuiltInProvider(
        f"{_HERE}.together.together_provider",
        "TogetherProvider",
        ProviderNeeds(
            "together",
            {"together": "together", "openai": "openai"},
            keys=("TOGETHER_API_KEY",),
            address="TOGETHER_BASE_URL",
            host="api.together.ai",
        ),
    ),
    "transformers": BuiltInProvider(
        f"{_HERE}.transformers.transformers_provider",
        "TransformersProvider",
        ProviderNeeds(
            "local",
            {"torch": "torch", "transformers": "transformers", "peft": "peft"},
        ),
    ),
    "vllm": BuiltInProvider(
        f"{_HERE}.vllm.vllm_provider",
        "VllmProvider",
        ProviderNeeds(
            "vllm",
            {"vllm": "vllm", "transformers": "transformers"},
        ),
    ),
}


def host_of(url: str) -> str:
    """Return the host of a URL, "" for none and for an invalid host or port."""
    with suppress(ValueError):
        parts = urlsplit(url)
        host = parts.hostname or "" if parts.port != 0 else ""
        host.encode("idna")
        return host
    return ""


def _validate_own_port(
    key: str,
    host: str,
    address: str,
    *,
    place: str,
) -> None:
    """Raise SuiteError unless a process of this user listens at a loopback address."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    if not is_own_port(port):
        raise SuiteError(
            f"{key} would go to port {port} of this machine, where no process that is "
            "known to be yours listens",
            location=place,
            hint=f"start your server first, or add --memleak-host {host} if whoever "
            "listens there may receive the key",
        )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def validate_installed(
    provider: str,
    packages: Mapping[str, str],
    *,
    extra: str,
) -> None:
    """Raise MissingExtra for the first of these modules that isn't installed."""
    for module, package in packages.items():
        if not _is_importable(module):
            raise MissingExtra(f"provider {provider!r}", package=package, extra=extra)


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of its parent package
        return False
