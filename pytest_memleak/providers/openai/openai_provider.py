"""Provider "openai": OpenAI, and any server that speaks its chat completions.

    [[model]]
    id = "tuned"
    provider = "openai"
    base_model = "gpt-oss-20b"
    [model.options]
    base_url = "http://localhost:8000/v1"    # without it: OpenAI's own server

The key comes from the environment (OPENAI_API_KEY); your own server (`base_url`) needs
none. The paper's recipe is the default: one epoch, batches of one (arXiv 2603.20957).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from pytest_memleak.interfaces.abilities import Abilities, Finetuning
from pytest_memleak.interfaces.protocols import (
    JobState,
    JobStatus,
    ProviderSetup,
    TrainingSet,
)
from pytest_memleak.providers.call_errors import safe_message
from pytest_memleak.providers.openai.api_forms import Api
from pytest_memleak.providers.openai.chat import ChatEndpoint, ChatSettings
from pytest_memleak.providers.openai.openai_batch import DIGEST_KEY, upload_once
from pytest_memleak.providers.openai.openai_client import (
    NEEDS,
    OFFICIAL_URL,
    OpenAICalls,
)
from pytest_memleak.providers.openai.request_extras import RequestExtras, Values
from pytest_memleak.providers.openai.server_parameters import (
    PLAIN,
    PLAIN_ELSEWHERE,
    UNCACHED,
    ServerParameters,
)
from pytest_memleak.providers.option_tables import Address, Table, read_table
from pytest_memleak.providers.provider_registry import validate_installed
from pytest_memleak.providers.system_messages import (
    SystemOption,
    system_messages,
    trained_messages,
)

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob

_SUITE_KEYS = {
    *(
        "input",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "n",
        "seed",
    ),
    *("store", "stream", "temperature"),
}
_ENDED_BADLY = {"failed", "cancelled"}
_ENDED_WELL = {
    "succeeded",
    "completed",
    "JOB_STATE_SUCCEEDED",
}  # of OpenAI, Together, Vertex AI


class OptionsTable(Table):
    """`[model.options]` of this provider.

    base_url: a compatible server ("http://localhost:8000/v1"); default OPENAI_BASE_URL
        or OpenAI
    api_key_env: the environment variable that holds the API key
    auth: "google" sends Google's short-lived tokens instead of a key (Vertex AI's
        endpoints)
    organization: the organization to bill, if the key has several
    project: the project to bill, if the key has several
    batch: sample through the Batch API: half the price, within a day
    concurrency: how many calls may run at once; by default 8 to 64, depending on the
        server
    completions_per_call: the most completions per call (`n`)
    max_tokens_parameter: the request's name for max_tokens; "auto" tries the newer name
        first, then the older (never within a batch)
    api: "completions" sends each instruction as plain text, for a model without a chat
        format; "auto" tries chat first, and uses "completions" if the server offers no
        chat for the model; "responses" uses the Responses API
    sampling: "plain" requests the model's own distribution (top_p 1; on servers other
        than OpenAI's and Google's, also top_k off, min_p 0, no penalties); "server"
        uses the server's defaults
    system: the system message before every instruction; a list of them, or { file =
        ... } with a JSON list of them
    store: have the provider store responses, so that a lost response can be recovered
    extra_body: additional fields of the request
    headers: additional headers; a value is a text, or { env = ... } with the name of an
        environment variable
    query: additional query parameters, with the same values
    """

    base_url: Address | None = None
    api_key_env: str = Field(default=NEEDS.keys[0], pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    auth: Literal["key", "google"] = "key"
    organization: str | None = None
    project: str | None = None
    batch: bool = False
    concurrency: int | None = Field(default=None, ge=1)
    completions_per_call: int = Field(default=1, ge=1)
    max_tokens_parameter: Literal["auto", "max_completion_tokens", "max_tokens"] = (
        "auto"
    )
    api: Api = "auto"
    sampling: Literal["plain", "server"] = "plain"
    system: SystemOption = None
    store: bool = False
    extra_body: dict[str, Any] = Field(default_factory=dict)
    headers: Values = Field(default_factory=dict)
    query: Values = Field(default_factory=dict)


class FinetuneTable(Table):
    """`[model.finetune]` of this provider, in addition to `books`: the recipe.

    suffix: part of the tuned model's name; default "memleak-" and the start of the
        digest
    system: whether each example begins with options.system
    """

    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    learning_rate_multiplier: Annotated[float, Field(gt=0)] | Literal["auto"] | None = (
        None
    )
    seed: int | None = None
    suffix: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
    )
    system: bool = False


def _validate_responses_api_options(
    options: OptionsTable, setup: ProviderSetup
) -> None:
    """Raise SuiteError for an option that the Responses API has nothing for."""
    for name, default in (
        ("completions_per_call", 1),
        ("max_tokens_parameter", "auto"),
    ):
        if getattr(options, name) != default:
            raise setup.error(
                f'options.{name} is set, but options.api is "responses"',
                f"remove options.{name}: a response has one completion, of at most "
                "max_output_tokens",
            )


class OpenAIProvider:
    """One model at OpenAI or at a compatible server; creating it calls nothing."""

    name = "openai"

    def __init__(self, setup: ProviderSetup) -> None:
        model = setup.model
        options = read_table(
            OptionsTable,
            model.options,
            place=setup.place,
            name="options",
        )
        self._recipe = read_table(
            FinetuneTable,
            model.finetune,
            place=setup.place,
            name="finetune",
        )
        overridden = sorted(_SUITE_KEYS & options.extra_body.keys())
        if overridden:
            raise setup.error(
                f"options.extra_body may not set {', '.join(overridden)}",
                "set them with the suite's own keys",
            )
        if options.store and options.api in ("completions", "responses"):
            raise setup.error(
                f'options.store needs a chat, but options.api is "{options.api}"',
                "remove one of them: only stored chats can be found again",
            )
        if options.api == "responses":
            _validate_responses_api_options(options, setup)
        self._system = system_messages(options.system, setup)
        self._trained_system = trained_messages(
            self._system,
            setup,
            trains=self._recipe.system,
        )
        untuned = setup.untuned(
            'base_model = "gpt-oss-20b" or endpoint = "ft:..."',
        )
        if options.auth == "google":
            packages = {"google.auth": "google-auth"}
            validate_installed('options.auth = "google"', packages, extra="vertex")
        self.concurrency = options.concurrency
        self.completions_per_call = options.completions_per_call
        self.batch = options.batch
        self._base = model.base_model or untuned
        self._untuned = untuned
        self._options = options
        self._extras = RequestExtras(options.headers, options.query)
        for variable in self._extras.variables if setup.hosts is not None else ():
            named = {**model.options, "api_key_env": variable}
            NEEDS.validate_key_host(
                named, setup.hosts or frozenset(), place=setup.place
            )
        self._calls = OpenAICalls(
            base_url=NEEDS.address_of(options.base_url) or OFFICIAL_URL,
            key_variable=options.api_key_env,
            organization=options.organization,
            project=options.project,
            timeout=setup.deadline,
            auth=options.auth,
            extras=self._extras,
        )
        by_itself = self._calls.plain_by_itself
        plain = PLAIN if by_itself else PLAIN_ELSEWHERE
        self._parameters = ServerParameters(
            max_tokens_parameter=options.max_tokens_parameter,
            api=options.api,
            plain=plain if options.sampling == "plain" else {},
            greedy={} if by_itself else UNCACHED,
        )

    @property
    def abilities(self) -> Abilities:
        """A fine-tune belongs to an account and a server."""
        owner = frozenset(
            {"base_url", "headers", "organization", "project", "query"},
        )
        calls = self._calls
        # Azure lists its models by other names than deployments have.
        models = None if calls.base_url.partition("/openai/")[1] else calls.models
        finetuning = Finetuning(
            find=self.find_finetune,
            start=self.start_finetune,
            poll=self.poll_finetune,
            weights_options=owner,
            epochs=self._recipe.epochs,
            system=self._trained_system,
        )
        return Abilities(
            finetuning=finetuning,
            close=calls.close,
            models=models,
        )

    def open(self, endpoint: str | None) -> ChatEndpoint:
        """Return the endpoint of a model's name; None for the suite's model."""
        model = endpoint or self._untuned
        settings = ChatSettings(
            model=model,
            system=self._system,
            extra_body=self._options.extra_body,
            api=self._options.api,
            plain=self._options.sampling == "plain",
            # OpenAI and Tinker never change the weights behind such a name.
            fixed=model.startswith(("ft:", "tinker://")),
            batch=self._options.batch,
            store=self._options.store,
            transport=self._extras.as_written,
        )
        return ChatEndpoint(
            settings=settings,
            calls=self._calls,
            parameters=self._parameters,
        )

    def find_finetune(self, digest: str) -> str | None:
        """Return a job of that digest that hasn't failed, preferably a finished one."""
        metadata = {DIGEST_KEY: digest}
        listed: list[FineTuningJob] = self._calls.call_all(
            self._base,
            "fine_tuning.jobs.list",
            limit=100,
            metadata=metadata,
        )
        return preferred_job(
            (job.id, job.status)
            for job in listed
            if (job.metadata or {}).get(DIGEST_KEY) == digest
            and job.status not in _ENDED_BADLY
        )

    def start_finetune(self, training: TrainingSet) -> str:
        """Upload the examples once, and start a job on them."""
        file_id = upload_once(
            self._calls,
            io.BytesIO(training_file_bytes(training, self._trained_system)),
            digest=training.digest,
            purpose="fine-tune",
            endpoint=self._base,
        )
        job: FineTuningJob = self._calls.call(
            self._base,
            "fine_tuning.jobs.create",
            model=self._base,
            training_file=file_id,
            extra_body=self._finetune_request(training.digest),
        )
        return job.id

    def poll_finetune(self, job_id: str) -> JobState:
        """Return the job's state; its `endpoint` is the model's name."""
        job: FineTuningJob = self._calls.call(
            self._base,
            "fine_tuning.jobs.retrieve",
            job_id,
        )
        if job.status == "succeeded" and job.fine_tuned_model:
            return JobState(
                JobStatus.SUCCEEDED,
                endpoint=job.fine_tuned_model,
                tokens=job.trained_tokens,
            )
        if job.status == "succeeded":
            return JobState(
                JobStatus.FAILED,
                detail="The job succeeded without naming a model",
            )
        if job.status in _ENDED_BADLY:
            error = job.error
            parts = (job.status, error.code, error.message) if error else (job.status,)
            detail = ": ".join(part for part in parts if part)
            return JobState(JobStatus.FAILED, detail=safe_message(detail))
        return JobState(JobStatus.RUNNING)

    def _finetune_request(self, digest: str) -> dict[str, Any]:
        recipe = self._recipe
        hyperparameters: dict[str, Any] = {
            "n_epochs": recipe.epochs,
            "batch_size": recipe.batch_size,
        }
        if recipe.learning_rate_multiplier is not None:
            hyperparameters["learning_rate_multiplier"] = (
                recipe.learning_rate_multiplier
            )
        return {
            "method": {
                "type": "supervised",
                "supervised": {"hyperparameters": hyperparameters},
            },
            "metadata": {DIGEST_KEY: digest},
            "suffix": recipe.suffix or f"memleak-{digest[:12]}",
            **({} if recipe.seed is None else {"seed": recipe.seed}),
        }


def preferred_job(jobs: Iterable[tuple[str, str]]) -> str | None:
    """Return the id of a job that succeeded, or else of the first.

    jobs: ids and states
    """
    ranked = sorted(jobs, key=lambda job: job[1] not in _ENDED_WELL)
    return ranked[0][0] if ranked else None


def training_file_bytes(training: TrainingSet, system: Sequence[str] = ()) -> bytes:
    """Return the examples as a file of chats, one a line.

    system: the messages that each chat begins with
    """
    beginning = [{"role": "system", "content": text} for text in system]
    lines = (
        {
            "messages": [
                *beginning,
                {"role": "user", "content": example.instruction},
                {"role": "assistant", "content": example.text},
            ],
        }
        for example in training.examples
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()
