"""Provider "together": open weights at Together AI, fine-tuned with LoRA and deployed.

The key comes from TOGETHER_API_KEY. The paper's recipe for open weights is the default
(arXiv 2603.20957). Together keeps neither metadata nor request ids, so a fine-tune's
suffix and an endpoint's name have the digest.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.interfaces.abilities import Abilities, Finetuning
from pytest_memleak.interfaces.protocols import (
    JobState,
    JobStatus,
    ProviderSetup,
    TrainingSet,
)
from pytest_memleak.providers.call_errors import CallErrorFactory, safe_message
from pytest_memleak.providers.openai.chat import ChatEndpoint
from pytest_memleak.providers.openai.deployed_model import open_model
from pytest_memleak.providers.openai.openai_provider import (
    preferred_job,
    training_file_bytes,
)
from pytest_memleak.providers.option_tables import read_table
from pytest_memleak.providers.system_messages import (
    system_messages,
    trained_messages,
)
from pytest_memleak.providers.together.together_client import PROVIDER, TogetherCalls
from pytest_memleak.providers.together.together_deployment import (
    WEIGHTS,
    Deployments,
    name_from_digest,
)
from pytest_memleak.providers.together.together_options import (
    FinetuneTable,
    OptionsTable,
)

if TYPE_CHECKING:
    from together.types import FinetuneModelLimits, FinetuneResponse

_ENDED_BADLY = {"cancel_requested", "cancelled", "error", "user_error"}


class TogetherProvider:
    """One model at Together AI; creating it calls nothing."""

    name = PROVIDER
    batch = False

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
        self._system = system_messages(options.system, setup)
        self._trained_system = trained_messages(
            self._system,
            setup,
            trains=self._recipe.system,
        )
        untuned = setup.untuned('base_model = "Qwen/Qwen3-8B"')
        if options.deployment is None and (
            model.finetune_books or WEIGHTS.fullmatch(untuned)
        ):
            raise setup.error(
                "options.deployment is missing",
                "Together serves fine-tuned models only while they are deployed: "
                "add [model.options.deployment]",
            )
        self.concurrency = options.concurrency
        self.completions_per_call = options.completions_per_call
        self._base = model.base_model or untuned
        self._untuned = untuned
        self._options = options
        self._calls = TogetherCalls(
            base_url=options.base_url,
            project=options.project,
            timeout=setup.deadline,
        )
        self._chat = self._calls.chat
        self._machines = Deployments(self._calls, untuned=untuned, options=options)

    @property
    def abilities(self) -> Abilities:
        """A fine-tune belongs to a project and a server, and must be deployed."""
        machines = self._machines
        return Abilities(
            finetuning=Finetuning(
                find=self.find_finetune,
                start=self.start_finetune,
                poll=self.poll_finetune,
                weights_options=frozenset({"base_url", "project"}),
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

    def open(self, endpoint: str | None) -> ChatEndpoint:
        """Return the endpoint of weights, or of a model that needs no deployment."""
        options, model = self._options, endpoint or self._untuned
        return open_model(
            model,
            self._chat
            if options.deployment is None
            else self._machines.calls_to[model],
            fixed="/revisions/" in model,
            system=self._system,
            api=options.api,
            plain=options.sampling == "plain",
        )

    def find_finetune(self, digest: str) -> str | None:
        """Return a job of that digest that hasn't failed, preferably a finished one."""
        return preferred_job(
            (job.id, job.status)
            for job in self._calls.call(self._base, "fine_tuning.list").data
            if job.suffix == name_from_digest(digest) and job.status not in _ENDED_BADLY
        )

    def start_finetune(self, training: TrainingSet) -> str:
        """Upload the examples (the server knows the files it has), and start a job."""
        recipe = self._recipe
        limits = self._finetune_limits()
        job: FinetuneResponse
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{name_from_digest(training.digest)}.jsonl")
            path.write_bytes(training_file_bytes(training, self._trained_system))
            file = self._calls.call(
                self._base,
                "files.upload",
                path,
                purpose="fine-tune",
                check=False,
            )
        job = self._calls.call(
            self._base,
            "fine_tuning.create",
            training_file=file.id,
            model=self._base,
            n_epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="linear",
            lora=True,
            lora_r=recipe.rank,
            lora_alpha=recipe.rank,
            random_seed=recipe.seed,
            train_on_inputs="auto",
            suffix=name_from_digest(training.digest),
            model_limits=limits,
        )
        return job.id

    def poll_finetune(self, job_id: str) -> JobState:
        """Return the job's state; its `endpoint` is its weights' resource name."""
        job: FinetuneResponse = self._calls.call(
            self._base,
            "fine_tuning.retrieve",
            job_id,
        )
        if job.status in _ENDED_BADLY:
            events = [event.message for event in job.events or () if event.message]
            detail = ": ".join([job.status, *events[-1:]])
            return JobState(JobStatus.FAILED, detail=safe_message(detail))
        if job.status != "completed":
            return JobState(JobStatus.RUNNING)
        weights = self._weights_resource_name(job)
        if weights is None:
            return JobState(
                JobStatus.FAILED,
                detail="It succeeded without naming a model",
            )
        return JobState(JobStatus.SUCCEEDED, endpoint=weights, tokens=job.token_count)

    def _finetune_limits(self) -> FinetuneModelLimits:
        """Return what the model's fine-tunes allow. Raises ProviderError otherwise."""
        limits: FinetuneModelLimits = self._calls.call(
            self._base,
            "fine_tuning.model_limits",
            model_name=self._base,
        )
        recipe, lora = self._recipe, limits.lora_training
        rates = limits.min_learning_rate, limits.max_learning_rate
        for name, value, least, most in (
            ("rank", recipe.rank, 1, lora.max_rank),
            ("batch_size", recipe.batch_size, lora.min_batch_size, lora.max_batch_size),
            ("epochs", recipe.epochs, 1, limits.max_num_epochs),
            ("learning_rate", recipe.learning_rate, *rates),
        ):
            if value != "max" and not least <= value <= most:
                raise CallErrorFactory(
                    PROVIDER, self._base, "fine_tuning.model_limits"
                ).final(
                    f"finetune.{name} is {value:g}, but the model allows {least:g} to "
                    f"{most:g}",
                    f"correct {name} in [model.finetune]",
                )
        return limits

    def _weights_resource_name(self, job: FinetuneResponse) -> str | None:
        """Return the resource name of the merged model, or else of the adapter."""
        object_id, revision = job.api_model_object_id, job.api_model_object_revision_id
        if not object_id:
            object_id, revision = job.adapter_object_id, job.adapter_object_revision_id
        if not object_id:
            return None
        path = f"projects/{self._calls.project(self._base)}/models/{object_id}"
        return f"{path}/revisions/{revision}" if revision else path

    def _close(self) -> None:
        for calls in (self._calls, self._chat, *self._machines.calls_to.values()):
            calls.close()
