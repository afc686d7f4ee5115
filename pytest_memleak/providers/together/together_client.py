"""Calls to Together AI's SDK, which fails as OpenAI's does: one tool generates both."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pytest_memleak.providers.call_errors import CallErrorFactory, ErrorResponse
from pytest_memleak.providers.openai.openai_client import OpenAICalls
from pytest_memleak.providers.provider_registry import PROVIDERS

PROVIDER = "together"
NEEDS = PROVIDERS[PROVIDER].needs
OFFICIAL_URL = f"https://{NEEDS.host}"
(KEY,) = NEEDS.keys


class TogetherCalls(OpenAICalls):
    """One server and project.

    base_url: None for TOGETHER_BASE_URL or Together
    project:  None for TOGETHER_PROJECT_ID or the key's own project
    chat_url: the address that speaks OpenAI's API
    """

    sdk, kind = PROVIDER, "Together"
    uploads = ("/v1/files",)

    def __init__(
        self,
        *,
        base_url: str | None,
        project: str | None,
        timeout: float,
    ) -> None:
        super().__init__(
            base_url=NEEDS.address_of(base_url) or OFFICIAL_URL,
            key_variable=KEY,
            timeout=timeout,
            provider=PROVIDER,
            official_url=OFFICIAL_URL,
        )
        self._account = {"project_id": project}
        self.chat_url = f"{self._address}/v1"

    @property
    def chat(self) -> OpenAICalls:
        """The calls of models that need no deployment."""
        return OpenAICalls(
            base_url=self.chat_url,
            key_variable=KEY,
            timeout=self.timeout,
            provider=PROVIDER,
            official_url=f"{OFFICIAL_URL}/v1",
        )

    def project(self, endpoint: str) -> str:
        """Return the id of the project that pays."""

        def find(client: Any) -> str | None:
            if client.project_id is None:
                project = getattr(client.whoami(), "project", None)
                client.project_id = project and project.id
            project_id: str | None = client.project_id
            return project_id

        project_id = self.ask("whoami", find, endpoint=endpoint)
        if project_id is None:
            raise CallErrorFactory(PROVIDER, endpoint, "whoami").final(
                "The key belongs to no project",
                "set options.project or TOGETHER_PROJECT_ID",
            )
        return project_id

    def _hint(self, refusal: ErrorResponse, *, call: str) -> str | None:
        if call.startswith("fine_tuning") and refusal.status != HTTPStatus.UNAUTHORIZED:
            return "name a base_model that Together fine-tunes (tg models public)"
        if refusal.status == HTTPStatus.NOT_FOUND:
            return "check base_model, endpoint, and options.project"
        return super()._hint(refusal, call=call)
