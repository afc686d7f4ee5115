"""Provider "vertex": Gemini and open models on Vertex AI, with or without fine-tuning.

    [[model]]
    id = "tuned"
    provider = "vertex"
    base_model = "gemini-3.5-flash"
    [model.finetune]         # or: endpoint = "projects/.../locations/.../endpoints/..."
    books = ["kafka-on-the-shore"]
    [model.options]
    bucket = "gs://my-bucket/memleak"
    batch = true

An open model (Llama, Gemma, Qwen) needs a machine and its price:

    base_model = "meta/llama3_1@llama-3.1-8b"
    price = { input = 0, output = 0, training = 1.0, hour = 1.5 }
    [model.options.deployment]
    machine_type = "g2-standard-12"
    accelerator_type = "NVIDIA_L4"
    accelerator_count = 1

Google's libraries find the credentials (`gcloud auth application-default login`,
GOOGLE_APPLICATION_CREDENTIALS, ...); project and location are options, or
GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION. The default recipe is Vertex AI's (arXiv
2603.20957). Labels and display names at Google contain digests, never texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pytest_memleak.errors import Inconclusive
from pytest_memleak.interfaces.abilities import Abilities, Finetuning
from pytest_memleak.interfaces.protocols import (
    JobState,
    JobStatus,
    ProviderSetup,
    TrainingExample,
    TrainingSet,
)
from pytest_memleak.providers.call_errors import CallErrorFactory, safe_message
from pytest_memleak.providers.openai.chat import ChatEndpoint
from pytest_memleak.providers.openai.deployed_model import open_model
from pytest_memleak.providers.openai.openai_provider import preferred_job
from pytest_memleak.providers.option_tables import read_table
from pytest_memleak.providers.provider_registry import validate_installed
from pytest_memleak.providers.system_messages import (
    system_messages,
    trained_messages,
)
from pytest_memleak.providers.vertex.gemini import (
    GeminiEndpoint,
    GeminiSettings,
    system_instruction,
)
from pytest_memleak.providers.vertex.vertex_batch import (
    ENDED_BADLY,
    BatchGeminiEndpoint,
    Bucket,
    job_state_name,
)
from pytest_memleak.providers.vertex.vertex_client import PROVIDER, VertexCalls
from pytest_memleak.providers.vertex.vertex_endpoints import (
    AttachedEndpoint,
    Deployments,
    display_name,
)
from pytest_memleak.providers.vertex.vertex_options import (
    RESOURCE,
    FinetuneTable,
    OptionsTable,
    models_to_tune_and_sample,
    project_and_location,
    validate_generation_config,
    validate_options_of_model_kind,
)

if TYPE_CHECKING:
    from google.genai.types import CreateTuningJobConfig, TuningJob

_TO_DEPLOY = {"agentplatform": "google-cloud-aiplatform", "openai": "openai"}
_NO_ENDPOINT = "The job succeeded without naming an endpoint"
_NO_WEIGHTS = "The job succeeded, but its output_uri has no weights (a config.json)"
_ADAPTERS = {1: "ONE", 2: "TWO", 4: "FOUR", 8: "EIGHT", 16: "SIXTEEN", 32: "THIRTY_TWO"}


class VertexProvider:
    """One model on Vertex AI; creating it calls nothing."""

    name = PROVIDER

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
        self._base, self._untuned = models_to_tune_and_sample(setup)
        self._system = system_messages(options.system, setup)
        self._trained_system = trained_messages(
            self._system,
            setup,
            trains=self._recipe.system,
        )
        project, location = project_and_location(options, setup)
        validate_generation_config(options, setup)
        if options.bucket is None and (options.batch or model.finetune_books):
            raise Inconclusive(
                "options.bucket is missing",
                location=setup.place,
                hint="fine-tuning and batches use Cloud Storage; name a bucket of the "
                'project, as in bucket = "gs://my-bucket/memleak"',
            )
        deployment = options.deployment
        validate_options_of_model_kind(options, self._recipe, setup)
        if deployment is not None:
            validate_installed(PROVIDER, _TO_DEPLOY, extra="vertex")
        self.concurrency = options.concurrency
        self.completions_per_call = options.completions_per_call
        self.batch = options.batch
        self._options = options
        self._calls = VertexCalls(
            project=project,
            location=location,
            base_url=options.base_url,
            timeout=setup.deadline,
        )
        self._machines = Deployments(
            self._calls,
            untuned=self._untuned,
            table=deployment,
        )

    @property
    def abilities(self) -> Abilities:
        """A fine-tune belongs to a project and a server; an open model is deployed."""
        owner = frozenset({"base_url", "location", "project"})
        machines = self._machines
        return Abilities(
            finetuning=Finetuning(
                find=self.find_finetune,
                start=self.start_finetune,
                poll=self.poll_finetune,
                weights_options=owner,
                epochs=self._recipe.epochs,
                system=self._trained_system,
            ),
            close=self._close,
            deployments=machines.abilities(
                find=machines.find,
                start=machines.start,
                poll=machines.poll_deployment,
                end=machines.end,
            ),
        )

    def open(self, endpoint: str | None) -> GeminiEndpoint | ChatEndpoint:
        """Return the endpoint of a resource name; None for the suite's model.

        An open model must be deployed before it is called.
        """
        if (table := self._options.deployment) is not None:
            weights = endpoint or self._untuned
            return open_model(
                weights,
                self._machines.calls_to[weights],
                fixed=weights.startswith("gs://"),
                system=self._system,
                api=table.api,
                plain=self._options.sampling == "plain",
            )
        settings = GeminiSettings(
            model=endpoint or self._untuned,
            system=self._system,
            thinking_budget=self._options.thinking_budget,
            safety_threshold=self._options.safety_threshold,
            generation_config=self._options.generation_config,
            plain=self._options.sampling == "plain",
        )
        if self._options.batch and self._options.bucket:
            return BatchGeminiEndpoint(
                settings=settings,
                calls=self._calls,
                bucket=self._options.bucket,
            )
        if RESOURCE.fullmatch(settings.model):
            return AttachedEndpoint(
                settings=settings,
                calls=self._calls,
                address=lambda: self._machines.address(settings.model),
            )
        return GeminiEndpoint(settings=settings, calls=self._calls)

    def _close(self) -> None:
        self._calls.close()
        for calls in self._machines.calls_to.values():
            calls.close()

    def find_finetune(self, digest: str) -> str | None:
        """Return a job of that digest that hasn't failed, preferably a finished one."""
        name = display_name(digest)

        def jobs_of_digest() -> list[tuple[str, str]]:
            # All of them, since the API doesn't document its filter.
            all_jobs = self._calls.vertex().tunings.list(config={"page_size": 100})
            return [
                (job.name, job_state_name(job))
                for job in all_jobs
                if job.tuned_model_display_name == name and job.name
            ]

        jobs = self._calls.ask("tunings.list", jobs_of_digest, endpoint=self._base)
        return preferred_job(job for job in jobs if job[1] not in ENDED_BADLY)

    def start_finetune(self, training: TrainingSet) -> str:
        """Upload the examples once, and start a job on them."""
        if self._options.bucket is None:
            failing = CallErrorFactory(PROVIDER, self._base, "storage.upload")
            raise failing.final("options.bucket isn't set")
        bucket = Bucket(self._options.bucket, calls=self._calls, endpoint=self._base)
        uri = bucket.upload_once(
            _training_lines(training.examples, self._trained_system),
            name=f"finetune-{training.digest}",
        )

        job: TuningJob = self._calls.ask_quietly(
            "tunings.tune",
            lambda: self._calls.vertex().tunings.tune(
                base_model=self._base,
                training_dataset={"gcs_uri": uri},
                config=self._tuning_config(training.digest),
            ),
            endpoint=self._base,
        )
        if not job.name:
            raise CallErrorFactory(PROVIDER, self._base, "tunings.tune").final(
                "The response doesn't name the job",
            )
        return job.name

    def poll_finetune(self, job_id: str) -> JobState:
        """Return the job's state; its `endpoint` is a resource name."""
        job = self._calls.ask(
            "tunings.get",
            lambda: self._calls.vertex().tunings.get(name=job_id),
            endpoint=self._base,
        )
        state = job_state_name(job)
        if state in ENDED_BADLY:
            detail = state.removeprefix("JOB_STATE_").lower()
            if job.error is not None and job.error.message:
                detail = f"{detail}: {safe_message(job.error.message)}"
            return JobState(JobStatus.FAILED, detail=detail)
        if state != "JOB_STATE_SUCCEEDED":
            return JobState(JobStatus.RUNNING)
        if self._options.deployment is not None:
            endpoint, lacking = self._weights_folder(job), _NO_WEIGHTS
        else:
            endpoint, lacking = _tuned_endpoint(job), _NO_ENDPOINT
        if endpoint is None:
            return JobState(JobStatus.FAILED, detail=lacking)
        return JobState(
            JobStatus.SUCCEEDED,
            endpoint=endpoint,
            tokens=_trained_tokens(job),
        )

    def _weights_folder(self, job: TuningJob) -> str | None:
        """Return the folder below the job's output that holds a whole model."""
        if job.output_uri is None or self._options.bucket is None:
            return None
        bucket = Bucket(self._options.bucket, calls=self._calls, endpoint=self._base)
        folders = bucket.folders_with(job.output_uri, "config.json")
        final = [folder for folder in folders if folder.endswith("/final")]
        return next(iter(final or folders), None)

    def _tuning_config(self, digest: str) -> CreateTuningJobConfig:
        from google.genai import types

        recipe = self._recipe
        size = mode = output = None
        if recipe.adapter_size is not None:
            size = types.AdapterSize[f"ADAPTER_SIZE_{_ADAPTERS[recipe.adapter_size]}"]
        if recipe.tuning_mode is not None:
            mode = types.TuningMode[f"TUNING_MODE_{recipe.tuning_mode.upper()}"]
        # An open model's weights go there.
        if self._options.deployment is not None and self._options.bucket is not None:
            output = f"{self._options.bucket.rstrip('/')}/memleak/tuned-{digest}"
        return types.CreateTuningJobConfig(
            tuned_model_display_name=display_name(digest),
            epoch_count=recipe.epochs,
            learning_rate_multiplier=recipe.learning_rate_multiplier,
            adapter_size=size,
            learning_rate=recipe.learning_rate,
            batch_size=recipe.batch_size,
            tuning_mode=mode,
            output_uri=output,
        )


def _tuned_endpoint(job: TuningJob) -> str | None:
    if job.tuned_model is None:
        return None
    return job.tuned_model.endpoint


def _trained_tokens(job: TuningJob) -> int | None:
    """Return the billed tokens: those of the training set, once per epoch."""
    tokens = epochs = None
    stats, spec = job.tuning_data_stats, job.supervised_tuning_spec
    if stats is not None and stats.supervised_tuning_data_stats is not None:
        tokens = stats.supervised_tuning_data_stats.total_billable_token_count
    if spec is not None and spec.hyper_parameters is not None:
        epochs = spec.hyper_parameters.epoch_count
    if tokens is None or epochs is None:
        return None
    return tokens * epochs


def _training_lines(
    examples: Iterable[TrainingExample],
    system: tuple[str, ...],
) -> Iterator[bytes]:
    beginning = {"systemInstruction": system_instruction(system)} if system else {}
    for example in examples:
        line = {
            **beginning,
            "contents": [
                {"role": "user", "parts": [{"text": example.instruction}]},
                {"role": "model", "parts": [{"text": example.text}]},
            ],
        }
        yield json.dumps(line).encode() + b"\n"
