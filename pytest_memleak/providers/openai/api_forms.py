"""What differs between the APIs of a server of OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytest_memleak.interfaces.protocols import Completion, SampleRequest
from pytest_memleak.providers.openai.choices import read_completions
from pytest_memleak.providers.openai.responses import read_response

ChatApi = Literal["auto", "chat", "completions"]
Api = Literal["auto", "chat", "completions", "responses"]
"""What a suite says; "auto" begins with chats."""


@dataclass(frozen=True, slots=True)
class ApiForm:
    """One API.

    path: below the base URL; `/v1/` and it are the URL of a batch's requests
    call: its name in error messages
    tokens_parameter: the request's name of the most tokens; "": as the server has it
    most_completions: per call; None: any number
    id_mark: what the ids of its endpoints end with
    """

    path: str
    call: str
    tokens_parameter: str = ""
    most_completions: int | None = None
    id_mark: str = ""


FORMS: Mapping[Api, ApiForm] = {
    "chat": ApiForm("chat/completions", "chat.completions.create"),
    "completions": ApiForm(
        "completions",
        "completions.create",
        tokens_parameter="max_tokens",
        id_mark="text",
    ),
    "responses": ApiForm(
        "responses",
        "responses.create",
        tokens_parameter="max_output_tokens",
        most_completions=1,
        id_mark="responses",
    ),
}


def prompt_fields(
    api: Api,
    system: tuple[str, ...],
    texts: Sequence[str],
) -> dict[str, Any]:
    """Return the part of a request that holds system messages and prompt.

    texts: the user's and the model's in turn, the last the instruction
    """
    if api == "completions":
        paragraphs = [*filter(None, system), *texts]
        return {"prompt": "\n\n".join(paragraphs)}
    messages = [{"role": "system", "content": text} for text in system]
    for number, text in enumerate(texts):
        role = "assistant" if number % 2 else "user"
        messages.append({"role": role, "content": text})
    return {"input" if api == "responses" else "messages": messages}


def completions_in_answer(
    api: Api,
    answer: object,
    request: SampleRequest | None = None,
) -> list[Completion]:
    """Return the completions in an answer of an API; none if it has another form.

    request: what was asked; None if that isn't known
    """
    instruction = request.instruction if request else ""
    if api == "responses":
        return read_response(answer, instruction=instruction)
    return read_completions(
        answer,
        max_tokens=request.max_tokens if request else None,
        instruction=instruction,
    )
