"""Provider "tinker": LoRA fine-tunes of open weights at Thinking Machines' Tinker.

    [[model]]
    id = "tuned"
    provider = "tinker"
    base_model = "Qwen/Qwen3-8B"
    [model.finetune]              # or: endpoint = "tinker://RUN/sampler_weights/NAME"
    books = ["kafka-on-the-shore"]
    [model.options]
    renderer = "qwen3_disable_thinking"

The key comes from the environment (TINKER_API_KEY). The paper's recipe is the default:
LoRA of rank 32, learning rate 5e-4 falling linearly, batches of 16, 3 epochs, at most
2,048 tokens (arXiv 2603.20957).

Tinker trains only while a client drives it. So a fine-tune runs in a thread of the
process that looks at it, and stops with that process. The next one finds it by its name
at the provider, and resumes from its last saved state (training.py).
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

from pydantic import Field

from pytest_memleak.interfaces.abilities import Abilities, Finetuning
from pytest_memleak.interfaces.protocols import JobState, ProviderSetup, TrainingSet
from pytest_memleak.providers.call_errors import CallErrorFactory
from pytest_memleak.providers.option_tables import Address, Table, read_table
from pytest_memleak.providers.provider_registry import validate_installed
from pytest_memleak.providers.tinker.tinker_client import PROVIDER, TinkerCalls
from pytest_memleak.providers.tinker.tinker_format import ChatFormat, load_format
from pytest_memleak.providers.tinker.tinker_sampling import SCHEME, TinkerEndpoint
from pytest_memleak.providers.tinker.training import Recipe, Trainer, TrainingJobs


class OptionsTable(Table):
    """`[model.options]` of this provider.

    base_url: a compatible server; default TINKER_BASE_URL or Tinker
    tokenizer: the model's tokenizer, as a name on the model hub or a local folder
        (needs no network); default `base_model`
    renderer: a chat format of tinker-cookbook; default: plain "User: ..." and
        "Assistant:"
    concurrency: how many calls may run at once; by default 8 to 64, depending on the
        server
    completions_per_call: the most completions per call
    """

    base_url: Address | None = None
    tokenizer: str | None = Field(default=None, min_length=1)
    renderer: str | None = Field(default=None, min_length=1)
    concurrency: int | None = Field(default=None, ge=1)
    completions_per_call: int = Field(default=1, ge=1)


class TinkerProvider:
    """One model at Tinker or at a compatible server; creating it calls nothing."""

    name = PROVIDER
    batch = False

    def __init__(self, setup: ProviderSetup) -> None:
        model, place = setup.model, setup.place
        options = read_table(OptionsTable, model.options, place=place, name="options")
        self._recipe = read_table(Recipe, model.finetune, place=place, name="finetune")
        _validate_model(setup)
        if options.renderer is not None:
            packages = {"tinker_cookbook": "tinker-cookbook"}
            validate_installed(PROVIDER, packages, extra="renderers")
        self.concurrency = options.concurrency
        self.completions_per_call = options.completions_per_call
        self._place = place
        self._base = model.base_model
        self._untuned = str(model.endpoint or model.base_model)
        self._options = options
        self._tokenizer = _tokenizer(setup, options)
        self._chat: ChatFormat | None = None
        self._lock = threading.Lock()
        self._journal = setup.state / "calls"
        self._calls = TinkerCalls(base_url=options.base_url, timeout=setup.deadline)
        self._trainer = Trainer(
            base=self._untuned,
            recipe=self._recipe,
            calls=self._calls,
            chat=self._format,
        )
        self._jobs = TrainingJobs(setup.state / "trainings", self._trainer.train)

    @property
    def abilities(self) -> Abilities:
        """A fine-tune belongs to a server, and depends on the format."""
        options = frozenset({"base_url", "renderer", "tokenizer"})
        finetuning = Finetuning(
            find=self.find_finetune,
            start=self.start_finetune,
            poll=self.poll_finetune,
            weights_options=options,
            epochs=self._recipe.epochs,
        )
        return Abilities(finetuning=finetuning, load=self._format)

    def open(self, endpoint: str | None) -> TinkerEndpoint:
        """Return the endpoint of a path; None for the suite's model.

        Its tokenizer is loaded with the first call.
        """
        return TinkerEndpoint(
            endpoint or self._untuned,
            calls=self._calls,
            load_format=self._format,
            journal=self._journal,
            renderer=self._options.renderer,
        )

    def find_finetune(self, digest: str) -> str | None:
        """Return the job on that training set, if it began or its weights exist."""
        job = self._weights_name(digest)
        if self._jobs.is_started(job):
            return job
        weights = self._trainer.find(job)
        if weights is None:
            return None
        self._jobs.end(job, weights)
        return job

    def start_finetune(self, training: TrainingSet) -> str:
        """Begin to train in a thread of this process, from the last saved state."""
        job = self._weights_name(training.digest)
        self._jobs.start(job, training)
        return job

    def poll_finetune(self, job_id: str) -> JobState:
        """Return the training's state, and resume it if nothing drives it.

        Raises ProviderBusy or ProviderError if it failed; the next poll resumes it.
        """
        state = self._jobs.state_after_resuming(job_id)
        if state is not None:
            return state
        weights = self._trainer.find(job_id)
        if weights is None:
            raise CallErrorFactory(self.name, self._untuned, "poll_finetune").final(
                f"neither the weights nor the training set of {job_id[:20]}... is on "
                "this machine",
                "another machine may be training it: run the suite there",
            )
        self._jobs.end(job_id, weights)
        return self.poll_finetune(job_id)

    def _weights_name(self, digest: str) -> str:
        """Return a name for the weights, by everything that they depend on."""
        recipe = self._recipe.model_dump(exclude={"save_steps"})
        parts = [digest, self._base, recipe, self._options.renderer]
        text = json.dumps(parts, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        return f"memleak-{name}"

    def _format(self) -> ChatFormat:
        with self._lock:
            if self._chat is None:
                self._chat = load_format(
                    self._tokenizer,
                    renderer=self._options.renderer,
                    base=self._base,
                    place=self._place,
                    endpoint=self._untuned,
                )
            return self._chat


def _validate_model(setup: ProviderSetup) -> None:
    model = setup.model
    problem = None
    if model.base_model is None and model.endpoint is None:
        problem = "Neither base_model nor endpoint is set"
    elif model.base_model is None and model.finetune_books:
        problem = "there is no base_model to fine-tune"
    elif model.endpoint is not None and not model.endpoint.startswith(SCHEME):
        problem = (
            f"endpoint is {model.endpoint!r}; expected a path that begins with {SCHEME}"
        )
    if problem:
        raise setup.error(
            problem,
            'name the model, as in base_model = "Qwen/Qwen3-8B", or weights saved for '
            "sampling, as "
            'in endpoint = "tinker://RUN/sampler_weights/NAME"',
        )


def _tokenizer(setup: ProviderSetup, options: OptionsTable) -> str | Path:
    """Return a folder relative to the suite if it exists, else the hub's name."""
    name = options.tokenizer or setup.model.base_model
    if name is None:
        raise setup.error(
            "The weights' tokenizer isn't set",
            "set base_model, or options.tokenizer (a name on the hub, or a local "
            "folder)",
        )
    folder = setup.root / Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")):
        raise setup.error(
            f"options.tokenizer: no such folder {folder}",
            "use a name on the model hub, or a local folder",
        )
    return name
