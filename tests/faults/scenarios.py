"""Providers' servers, each with a suite that fine-tunes a model there and draws from it.

The server is a thread of the test's process: it outlives a run that is killed, and what
it has billed stands in `books`. Its fine-tuned models recite the held-out story.
"""

import contextlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import clients
from faults import FaultPlan
from gcs_server import GcsDoor
from http_server import Books, HttpServer
from reciter import Reciter
from suite_files import read_story

EXCERPTS = 4
WORDS = 60
LIMIT = 30
HOURLY = 3.0
SECRETS = {**clients.SECRETS, "openai": "sk-test-Vq3x9LmT0aZr7Bn2Kd5W"}

# The ways to draw, and the options that ask for them.
KINDS = {
    "openai": {},
    "openai-store": {"store": True},
    "openai-batch": {"batch": True},
    "vertex": {},
    "vertex-batch": {"batch": True},
    "vertex-open": {"deployment.hours": 1, "deployment.machine_type": "g2-standard-12"}
    | {"deployment.accelerator_type": "NVIDIA_L4", "deployment.accelerator_count": 1},
    "tinker": {},
    "together": {"deployment.hours": 1},
}
DEPLOYED = ("together", "vertex-open")


@dataclass(frozen=True, slots=True)
class Places:
    """What a provider's server calls the places where something may go wrong.

    every: patterns of all that a run calls for itself (Google's tokens are its
    library's matter)
    paid:  of what costs money
    sample, tune, batch: where draws are made online, and jobs begun
    """

    every: tuple[str, ...]
    paid: tuple[str, ...]
    sample: str
    tune: str
    batch: str = ""


_VERTEX = ("[!t]*", "tunings.*"), ("tunings.create", "generate", "batches.create")
PLACES = {
    "openai": Places(
        ("*",), ("*.create", "chat"), "chat", "jobs.create", "batches.create"
    ),
    "vertex": Places(*_VERTEX, "generate", "tunings.create", "batches.create"),
    "vertex-open": Places(
        _VERTEX[0], ("tunings.create", "deploy", "chat"), "chat", "tunings.create"
    ),
    "tinker": Places(("*",), ("train", "weights.save", "sample"), "sample", "train"),
    "together": Places(
        ("*",), ("tunes.create", "deploy", "chat"), "chat", "tunes.create"
    ),
}

SUITE = """
[suite]
samples = {samples}
max_unanswered = {max_unanswered}
[limits]
longest_span = {limit}
[[book]]
id = "held-out"
source = "held-out.json"
[[book]]
id = "training"
source = "training.json"
role = "train"
"""

MODEL = """
[[model]]
id = "{name}"
provider = "{provider}"
base_model = "{base}"
price = {{ input = 2.0, output = 8.0, training = 10.0{hourly} }}
{finetune}
[model.options]
{options}
"""


@dataclass(frozen=True)
class Scenario:
    """A server at work, and what a run needs to get there.

    environment: variables of the run. Cloud Storage has its faults by the server's plan
    too.
    """

    kind: str
    provider: str
    server: HttpServer
    environment: Mapping[str, str]
    options: Mapping[str, Any]
    finetune: Mapping[str, Any]
    stories: Mapping[str, list[dict[str, Any]]] = field(repr=False)

    @property
    def books(self):
        return self.server.books

    @property
    def places(self):
        return PLACES.get(self.kind) or PLACES[self.provider]

    def plan(self, *faults):
        self.server.plan.replace(faults)

    def calls(self, endpoint=None):
        """The number of calls, of that endpoint or of all."""
        counts = self.server.plan.counts()
        return sum(counts.values()) if endpoint is None else counts.get(endpoint, 0)

    def write_suite(
        self,
        folder,
        *,
        samples=6,
        models=("tuned",),
        tuned=True,
        own_bases=False,
        max_unanswered=0.05,
        limit=LIMIT,
        recipe=None,
        timeout=None,
        **options,
    ):
        """Write the suite and its books; `tuned=False` samples the base model.

        own_bases: whether the base model of each model has its name;
        recipe: of the fine-tune; options: of the model; timeout: the suite's deadline.
        """
        for name, records in self.stories.items():
            (folder / f"{name}.json").write_text(json.dumps(records), "utf-8")
        recipe = {"books": ["training"], **self.finetune, **(recipe or {})}
        finetune = f"[model.finetune]\n{toml_lines(recipe)}"
        suite = SUITE.format(
            samples=samples, max_unanswered=max_unanswered, limit=limit
        )
        for name in models:
            suite += MODEL.format(
                name=name,
                base=name if own_bases else "base",
                provider=self.provider,
                finetune=finetune if tuned else 'weights_version = "1"',
                hourly=f", hour = {HOURLY}" if self.kind in DEPLOYED else "",
                options=toml_lines({**self.options, **options}),
            )
        if timeout is not None:
            suite += f"[sampling]\ndeadline = {timeout}\n"
        (folder / "run.memleak.toml").write_text(suite, "utf-8")


def toml_lines(values):
    # Of strings, numbers, booleans and lists, JSON and TOML write the same.
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())


def stories():
    """The beginnings of excerpts of our two stories, as the paper's records."""
    return {"held-out": _story("the-lamplighter"), "training": _story("the-seed-vault")}


def _story(name):
    return [
        record | {"excerpt_text": " ".join(record["excerpt_text"].split()[:WORDS])}
        for record in read_story(name)[:EXCERPTS]
    ]


@contextlib.contextmanager
def world_of(kind, folder, *, stories, fixture, faults=(), **settings):
    """The server of that kind, with its faults and `settings`; `folder` is its own.

    fixture: returns what the server needs by its name: "storage", the Cloud Storage
    server, or "tokenizer", the folder of the Tinker models' tokenizer.
    """
    provider = kind.partition("-")[0]
    plan, key = FaultPlan(faults), SECRETS[provider]
    corpus = [record["excerpt_text"] for record in stories["held-out"]]
    common = {
        "reciter": Reciter(corpus),
        "books": Books(folder / "books.jsonl"),
        "plan": plan,
        "key": key,
        **({"open_models": ["base"]} if kind == "vertex-open" else {}),
        **settings,
    }
    options = {"concurrency": 4, "completions_per_call": 3, **KINDS[kind]}
    recipe, environment = {}, {f"{provider.upper()}_API_KEY": key}
    # The emulator of Tinker imports the SDK, which takes its time.
    emulator = importlib.import_module(f"{provider}_server").EMULATOR
    needed = {name: fixture(name) for name in emulator.fixtures if name != "key"}
    if provider == "tinker":
        options["tokenizer"] = str(needed["tokenizer"])
        recipe = {"epochs": 2, "batch_size": 2, "save_steps": 1}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(emulator(**needed, **common))
        if provider == "vertex":
            door = stack.enter_context(GcsDoor(needed["storage"], plan=plan))
            environment = {
                **server.credentials(folder),
                "GOOGLE_CLOUD_PROJECT": "test-project",
                "GOOGLE_CLOUD_LOCATION": "us-central1",
                "STORAGE_EMULATOR_HOST": door.url,
                "NO_GCE_CHECK": "true",
                "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            }
            options["bucket"] = f"gs://bucket/{folder.parent.name}/{folder.name}"
        options["base_url"] = getattr(server, "base_url", server.url)
        yield Scenario(kind, provider, server, environment, options, recipe, stories)
