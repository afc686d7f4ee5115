"""Calls to Together AI's SDK, which fails as OpenAI's does: one tool generates both."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pytest_memleak.providers.call_errors import Failing, Refusal
from pytest_memleak.providers.http_caps import Bounds
from pytest_memleak.providers.openai.openai_client import OpenAICalls
from pytest_memleak.providers.provider_registry import PROVIDERS

if TYPE_CHECKING:
    from together import Together

PROVIDER = "together"
NEEDS = PROVIDERS[PROVIDER].needs
OFFICIAL_URL = f"https://{NEEDS.host}"
(KEY,) = NEEDS.keys

_Answer = TypeVar("_Answer")

_NO_FINETUNES = (
    "base_model must be one that Together fine-tunes (tg models public): name another, or test an "
    "existing model with endpoint = ..."
)


class TogetherCalls(OpenAICalls):
    """One server and project.

    base_url: None for TOGETHER_BASE_URL or Together
    project:  None for TOGETHER_PROJECT_ID or the key's own project
    """

    sdk = PROVIDER

    def __init__(self, *, base_url: str | None, project: str | None, timeout: float) -> None:
        super().__init__(
            base_url=NEEDS.address_of(base_url) or OFFICIAL_URL,
            key_variable=KEY,
            organization=None,
            project=project or os.environ.get("TOGETHER_PROJECT_ID"),
            timeout=timeout,
            provider=PROVIDER,
            official_url=OFFICIAL_URL,
        )

    def call(self, name: str, function: Callable[[Together], _Answer], *, endpoint: str) -> _Answer:
        """Return the result of `function`; raise Refused or ProviderBusy."""
        return self.ask(name, cast("Callable[[Any], _Answer]", function), endpoint=endpoint)

    @property
    def chat_url(self) -> str:
        """The address that speaks OpenAI's API."""
        return f"{self._address}/v1"

    @property
    def chat(self) -> OpenAICalls:
        """The calls of models that need no deployment."""
        return OpenAICalls(
            base_url=self.chat_url,
            key_variable=KEY,
            organization=None,
            project=None,
            timeout=self._timeout,
            provider=PROVIDER,
            official_url=f"{OFFICIAL_URL}/v1",
        )

    def project(self, *, endpoint: str) -> str:
        """Return the id of the project that pays."""
        if self._project is None:
            caller = self.call("whoami", lambda client: client.whoami(), endpoint=endpoint)
            project = getattr(caller, "project", None)
            if project is None:
                raise Failing(PROVIDER, endpoint, "whoami").final(
                    "The key belongs to no project", "set options.project or TOGETHER_PROJECT_ID"
                )
            self._project = str(project.id)
        return self._project

    def _connected(self) -> Any:
        from together import DefaultHttpxClient, Together

        with self._lock:
            if self._client is None:
                http_client = DefaultHttpxClient(
                    base_url=self._address,
                    timeout=self._timeout,
                    # The SDK sends an upload, without the key, to the address that it receives.
                    event_hooks=Bounds(self._timeout, uploads=("/v1/files",)).hooks,
                )
                client: Any = Together(
                    api_key=self._key(),
                    base_url=self._address,
                    timeout=self._timeout,
                    max_retries=0,
                    http_client=http_client,
                )
                self._client = client
                weakref.finalize(self, client.close)
            return self._client

    def _hint(self, refusal: Refusal, *, call: str) -> str | None:
        if call.startswith("fine_tuning") and refusal.status != HTTPStatus.UNAUTHORIZED:
            return _NO_FINETUNES
        if refusal.status == HTTPStatus.NOT_FOUND:
            return "check base_model, endpoint, and options.project"
        return super()._hint(refusal, call=call)
