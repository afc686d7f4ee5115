"""Provider "vertex": Gemini on Vertex AI, fine-tuned there or used as it is.

    [[model]]
    id = "tuned"
    provider = "vertex"
    base = "gemini-2.5-flash"
    [model.finetune]         # or: endpoint = "projects/.../locations/.../endpoints/..."
    books = ["kafka-on-the-shore"]
    [model.options]
    bucket = "gs://my-bucket/memleak"
    batch = true

Credentials are found by Google's own means (`gcloud auth application-default login`,
GOOGLE_APPLICATION_CREDENTIALS, ...), project and location in the options or in
GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION. The recipe is Vertex AI's unless the suite says
otherwise (arXiv 2603.20957). Labels and display names at Google carry digests, never texts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pytest_memleak.contracts.protocols import (
    JobState,
    JobStatus,
    ProviderSetup,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.errors import MissingExtra, ProviderError, SuiteError
from pytest_memleak.providers.failures import safe_message
from pytest_memleak.providers.option_tables import Table, read_table
from pytest_memleak.providers.vertex.gemini import GeminiEndpoint, GeminiSettings
from pytest_memleak.providers.vertex.storage import Bucket
from pytest_memleak.providers.vertex.vertex_batch import BatchGeminiEndpoint
from pytest_memleak.providers.vertex.vertex_client import PROVIDER, Calls

if TYPE_CHECKING:
    from google.genai import Client
    from google.genai.types import CreateTuningJobConfig, TuningJob

__all__ = ["FinetuneTable", "OptionsTable", "VertexProvider"]

_PACKAGES = {
    "google.genai": "google-genai",
    "google.cloud.storage": "google-cloud-storage",
}
_MODEL = re.compile(r"(?:(?:publishers|projects)/)?[\w@.:/-]+")
_RESOURCE = re.compile(r"projects/([^/]+)/locations/([^/]+)/endpoints/[^/]+")
_OURS = ("candidateCount", "maxOutputTokens", "seed", "temperature")
_ENDED_BADLY = frozenset({"JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"})
_ADAPTERS = {1: "ONE", 2: "TWO", 4: "FOUR", 8: "EIGHT", 16: "SIXTEEN", 32: "THIRTY_TWO"}


class OptionsTable(Table):
    """`[model.options]` of this provider.

    project, location: whose and where; default GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION.
    bucket: where training data and batches go, in the location of the model.
    base_url: a server in front of Vertex AI (a proxy); default GOOGLE_VERTEX_BASE_URL, or none.
    batch: draw by batch prediction: half the price, within a day.
    concurrency: how many calls may run at once; default from 8 to 64, as the server bears.
    completions_per_call: the most completions to ask for in one call (`candidateCount`).
    timeout: seconds that any wait for a server may last.
    sampling: "plain" asks for the model's own distribution (topP 1), "server" for its default.
    system: a system instruction before every instruction that is asked.
    thinking_budget: tokens a thinking model may think, on top of an answer's; 0 turns it off.
    safety_threshold: of every harm category; default Vertex AI's own.
    generation_config: further fields of the request's generationConfig, as the API has them.
    """

    project: str | None = Field(default=None, min_length=1)
    location: str | None = Field(default=None, min_length=1)
    bucket: str | None = Field(default=None, pattern=r"^gs://[^\s/]+(/[^\s/]+)*/?$")
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]")
    batch: bool = False
    concurrency: int | None = Field(default=None, ge=1)
    completions_per_call: int = Field(default=8, ge=1, le=8)
    timeout: float = Field(default=300.0, gt=0)
    sampling: Literal["plain", "server"] = "plain"
    system: str | None = None
    thinking_budget: int | None = Field(default=None, ge=0)
    safety_threshold: (
        Literal[
            "OFF",
            "BLOCK_NONE",
            "BLOCK_ONLY_HIGH",
            "BLOCK_MEDIUM_AND_ABOVE",
            "BLOCK_LOW_AND_ABOVE",
        ]
        | None
    ) = None
    generation_config: dict[str, Any] = Field(default_factory=dict)


class FinetuneTable(Table):
    """`[model.finetune]` of this provider, beside `books`: the recipe, where it is not Google's."""

    epochs: int | None = Field(default=None, ge=1)
    learning_rate_multiplier: float | None = Field(default=None, gt=0)
    adapter_size: Literal[1, 2, 4, 8, 16, 32] | None = None


class VertexProvider:
    """One model on Vertex AI. Nothing is called before a verb is."""

    name = PROVIDER
    weights_options = frozenset({"base_url", "location", "project"})

    def __init__(self, setup: ProviderSetup) -> None:
        model = setup.model
        options = read_table(OptionsTable, model.options, place=setup.place, name="options")
        self._recipe = read_table(FinetuneTable, model.finetune, place=setup.place, name="finetune")
        self._base, self._untuned = _models(setup)
        project, location = _whose_and_where(options, setup)
        _check_config(options, setup)
        if options.bucket is None and (options.batch or model.finetune_books):
            raise SuiteError(
                "options.bucket is missing",
                place=setup.place,
                hint="fine-tuning and batches go through Cloud Storage: name a bucket of the "
                'project, as in bucket = "gs://my-bucket/memleak"',
            )
        for module, package in _PACKAGES.items():
            if not _installed(module):
                raise MissingExtra(PROVIDER, package=package, extra="vertex")
        self.concurrency = options.concurrency
        self.completions_per_call = options.completions_per_call
        self.batch = options.batch
        self.epochs = self._recipe.epochs
        self._options = options
        self._calls = Calls(
            project=project,
            location=location,
            base_url=options.base_url,
            timeout=options.timeout,
        )

    def open(self, endpoint: str | None) -> GeminiEndpoint:
        """The endpoint of that resource name; None means the suite's `endpoint`, or `base`.

        A BatchEndpoint where the options say `batch`.
        """
        settings = GeminiSettings(
            model=endpoint or self._untuned,
            system=self._options.system,
            thinking_budget=self._options.thinking_budget,
            safety_threshold=self._options.safety_threshold,
            generation_config=self._options.generation_config,
            plain=self._options.sampling == "plain",
        )
        if self._options.batch and self._options.bucket:
            return BatchGeminiEndpoint(
                settings=settings, calls=self._calls, bucket=self._options.bucket
            )
        return GeminiEndpoint(settings=settings, calls=self._calls)

    # --- fine-tuning

    def close(self) -> None:
        """Let go of the connections."""
        self._calls.close()

    def find_finetune(self, digest: str) -> str | None:
        """The name of a job that carries `digest` and has not failed; one that succeeded first."""
        name = _display_name(digest)
        jobs = self._calls.ask(
            "tunings.list",
            # All of them: the API does not say what it can filter by.
            lambda client: [
                (_state(job), job.name)
                for job in client.tunings.list(config={"page_size": 100})
                if job.tuned_model_display_name == name and job.name
            ],
            endpoint=self._base,
        )
        jobs = [job for job in jobs if job[0] not in _ENDED_BADLY]
        jobs.sort(key=lambda job: job[0] != "JOB_STATE_SUCCEEDED")
        return jobs[0][1] if jobs else None

    def start_finetune(self, training: TrainingSet) -> str:
        """Upload the examples, unless that was done before, and start a job on them."""
        if self._options.bucket is None:
            raise self._failed("storage.upload", "options.bucket does not say where to put it")
        bucket = Bucket(self._options.bucket, calls=self._calls, endpoint=self._base)
        uri = bucket.upload_once(
            _training_lines(training.examples),
            name=f"finetune-{training.digest}",
        )

        def tune(client: Client) -> str | None:
            with warnings.catch_warnings():
                # Every call of it warns that it is experimental.
                warnings.simplefilter("ignore")
                job: TuningJob = client.tunings.tune(
                    base_model=self._base,
                    training_dataset={"gcs_uri": uri},
                    config=self._job(training.digest),
                )
                return job.name

        name = self._calls.ask("tunings.tune", tune, endpoint=self._base)
        if not name:
            raise self._failed("tunings.tune", "the answer does not name the job")
        return name

    def poll_finetune(self, job_id: str) -> JobState:
        """Where the job stands; its endpoint's resource name once it succeeded."""
        job = self._calls.ask(
            "tunings.get", lambda client: client.tunings.get(name=job_id), endpoint=self._base
        )
        state = _state(job)
        if state in _ENDED_BADLY:
            said = str(job.error.message or "") if job.error else ""
            ended = state.removeprefix("JOB_STATE_").lower()
            detail = f"{ended}: {safe_message(said)}" if said else ended
            return JobState(JobStatus.FAILED, detail=detail)
        if state != "JOB_STATE_SUCCEEDED":
            return JobState(JobStatus.RUNNING)
        endpoint = job.tuned_model.endpoint if job.tuned_model else None
        if endpoint is None:
            return JobState(JobStatus.FAILED, detail="it succeeded without naming an endpoint")
        return JobState(JobStatus.SUCCEEDED, endpoint=endpoint, tokens=_trained_tokens(job))

    def _job(self, digest: str) -> CreateTuningJobConfig:
        from google.genai import types

        recipe = self._recipe
        size = _ADAPTERS.get(recipe.adapter_size or 0)
        return types.CreateTuningJobConfig(
            tuned_model_display_name=_display_name(digest),
            epoch_count=recipe.epochs,
            learning_rate_multiplier=recipe.learning_rate_multiplier,
            adapter_size=types.AdapterSize[f"ADAPTER_SIZE_{size}"] if size else None,
        )

    def _failed(self, call: str, cause: str) -> ProviderError:
        return ProviderError(cause, provider=PROVIDER, endpoint=self._base, call=call)


# --- the suite's entry ---------------------------------------------------------------------


def _models(setup: ProviderSetup) -> tuple[str, str]:
    """What is fine-tuned, and what is sampled where nothing is."""
    base, endpoint = setup.model.base, setup.model.endpoint
    untuned = endpoint or base
    if untuned is None:
        raise SuiteError(
            "there is neither base nor endpoint",
            place=setup.place,
            hint='name the model, as in base = "gemini-2.5-flash" or '
            'endpoint = "projects/.../locations/.../endpoints/..."',
        )
    for key, value in (("base", base), ("endpoint", endpoint)):
        if value is not None and (not _MODEL.fullmatch(value) or ".." in value):
            raise SuiteError(
                f"{key} = {value!r} is no name of a model",
                place=setup.place,
                hint='expected "gemini-...", "publishers/.../models/..." or '
                '"projects/.../locations/.../endpoints/..."',
            )
    return base or untuned, untuned


def _whose_and_where(options: OptionsTable, setup: ProviderSetup) -> tuple[str | None, str | None]:
    """Project and location: the options', the endpoint's own, or the environment's."""
    named = _RESOURCE.fullmatch(setup.model.endpoint or "")
    project, location = named.groups() if named else (None, None)
    if location and options.location not in {None, location}:
        raise SuiteError(
            f"options.location is {options.location!r}, but the endpoint is in {location!r}",
            place=setup.place,
            hint="take options.location out, or name an endpoint that is there",
        )
    return (
        options.project or project or os.environ.get("GOOGLE_CLOUD_PROJECT"),
        options.location or location or os.environ.get("GOOGLE_CLOUD_LOCATION"),
    )


def _check_config(options: OptionsTable, setup: ProviderSetup) -> None:
    ours = {_plain(name): name for name in _OURS}
    if options.thinking_budget is not None:
        ours[_plain("thinkingConfig")] = "thinkingConfig"
    overridden = sorted(name for name in options.generation_config if _plain(name) in ours)
    if overridden:
        raise SuiteError(
            f"options.generation_config may not set {', '.join(overridden)}",
            place=setup.place,
            hint="these come from the suite's own keys",
        )


def _plain(name: str) -> str:
    """A field's name as it is compared: the API takes camelCase and snake_case alike."""
    return name.replace("_", "").lower()


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the namespace it is in
        return False


# --- jobs ----------------------------------------------------------------------------------


def _display_name(digest: str) -> str:
    """The tuned model's display name (at most 128 characters), by which a job is found again."""
    return f"memleak-{digest}"


def _state(job: TuningJob) -> str:
    return str(job.state.value) if job.state else ""


def _trained_tokens(job: TuningJob) -> int | None:
    """The billed tokens: those of the training set, once an epoch."""
    stats = job.tuning_data_stats.supervised_tuning_data_stats if job.tuning_data_stats else None
    spec = job.supervised_tuning_spec.hyper_parameters if job.supervised_tuning_spec else None
    tokens = stats.total_billable_token_count if stats else None
    epochs = spec.epoch_count if spec else None
    return None if tokens is None or epochs is None else tokens * epochs


def _training_lines(examples: Iterable[TrainingExample]) -> Iterator[bytes]:
    for example in examples:
        line = {
            "contents": [
                {"role": "user", "parts": [{"text": example.instruction}]},
                {"role": "model", "parts": [{"text": example.text}]},
            ]
        }
        yield json.dumps(line).encode() + b"\n"
