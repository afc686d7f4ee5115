"""Providers' servers, each with a suite that fine-tunes a model there and draws from it.

    with world_of("openai-batch", folder, stories=..., storage=..., tokenizer=...) as scenario:
        scenario.write_suite(run_folder, samples=12)
        subprocess.run([...], cwd=run_folder, env={**os.environ, **scenario.environment})
        scenario.books.rows("completion")

The server is a thread of the test's process: it outlives a run that is killed, and what it has
billed stands in `books`. Its fine-tuned models recite the held-out story.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import Fault, FaultPlan
from gcs_server import GcsDoor
from http_server import Books, HttpServer
from openai_server import OpenAIServer
from reciter import Reciter
from vertex_server import VertexServer

HOUSE = Path(__file__).parents[2] / "fixtures" / "books"
EXCERPTS = 4
WORDS = 60
LIMIT = 30
HOURLY = 3.0
SECRETS = {
    "openai": "sk-test-Vq3x9LmT0aZr7Bn2Kd5W",
    "vertex": "ya29.a0Vq3x9LmT0aZr7Bn2Kd5Wc4",
    "tinker": "tml-Vq3x9LmT0aZr7Bn2Kd5W",
}

# The ways to draw, and the options that ask for them.
KINDS: dict[str, dict[str, Any]] = {
    "openai": {},
    "openai-store": {"store": True},
    "openai-batch": {"batch": True},
    "vertex": {},
    "vertex-batch": {"batch": True},
    "vertex-open": {"deployment.hours": 1, "deployment.machine_type": "g2-standard-12"}
    | {"deployment.accelerator_type": "NVIDIA_L4", "deployment.accelerator_count": 1},
    "tinker": {},
}


@dataclass(frozen=True, slots=True)
class Places:
    """What a provider's server calls the places where something may go wrong.

    every: patterns of all that a run calls for itself (Google's tokens are its library's matter)
    paid:  of what costs money
    sample, tune, batch: where draws are made online, and jobs begun
    """

    every: tuple[str, ...]
    paid: tuple[str, ...]
    sample: str
    tune: str
    batch: str = ""


PLACES = {
    "openai": Places(
        ("*",),
        ("*.create", "chat"),
        "chat",
        "jobs.create",
        "batches.create",
    ),
    "vertex": Places(
        ("[!t]*", "tunings.*"),
        ("tunings.create", "generate", "batches.create"),
        "generate",
        "tunings.create",
        "batches.create",
    ),
    "vertex-open": Places(
        ("[!t]*", "tunings.*"),
        ("tunings.create", "deploy", "chat"),
        "chat",
        "tunings.create",
    ),
    "tinker": Places(("*",), ("train", "weights.save", "sample"), "sample", "train"),
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
base_model = "base"
price = {{ input = 2.0, output = 8.0, training = 10.0{hourly} }}
{finetune}
[model.options]
{options}
"""


@dataclass(frozen=True)
class Scenario:
    """A server at work, and what a run needs to get there.

    environment: variables of the run. Cloud Storage has its faults by the server's plan too.
    """

    kind: str
    provider: str
    server: HttpServer
    environment: Mapping[str, str]
    options: Mapping[str, Any]
    finetune: Mapping[str, Any]
    stories: Mapping[str, list[dict[str, Any]]] = field(repr=False)

    @property
    def books(self) -> Books:
        """What the server has billed."""
        return self.server.books

    @property
    def places(self) -> Places:
        """What the server calls its endpoints."""
        return PLACES.get(self.kind) or PLACES[self.provider]

    def plan(self, *faults: Fault) -> None:
        """What goes wrong from now on."""
        self.server.plan.replace(faults)

    def calls(self) -> int:
        """How many calls have been made so far."""
        return sum(self.server.plan.counts().values())

    def write_suite(
        self,
        folder: Path,
        *,
        samples: int = 6,
        models: Iterable[str] = ("tuned",),
        tuned: bool = True,
        max_unanswered: float = 0.05,
        limit: int = LIMIT,
        recipe: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Write the suite and its books; `tuned=False` draws from the base model, named.

        recipe: of the fine-tune; options: of the model.
        """
        for name, records in self.stories.items():
            (folder / f"{name}.json").write_text(json.dumps(records), "utf-8")
        finetune = _table(
            "model.finetune", {"books": ["training"], **self.finetune, **(recipe or {})}
        )
        suite = SUITE.format(samples=samples, max_unanswered=max_unanswered, limit=limit)
        for name in models:
            suite += MODEL.format(
                name=name,
                provider=self.provider,
                finetune=finetune if tuned else 'weights_version = "1"',
                hourly=f", hour = {HOURLY}" if self.kind == "vertex-open" else "",
                options=toml_lines({**self.options, **options}),
            )
        (folder / "run.memleak.toml").write_text(suite, "utf-8")


def _table(name: str, values: Mapping[str, Any]) -> str:
    return f"[{name}]\n{toml_lines(values)}"


def toml_lines(values: Mapping[str, Any]) -> str:
    """The lines of a table."""
    # Of strings, numbers, booleans and lists, JSON and TOML write the same.
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())


def stories(*, excerpts: int = EXCERPTS, words: int = WORDS) -> dict[str, list[dict[str, Any]]]:
    """The beginnings of excerpts of our two stories, as the paper's records."""
    return {
        "held-out": _story("the-lamplighter", excerpts, words),
        "training": _story("the-seed-vault", excerpts, words),
    }


def _story(name: str, excerpts: int, words: int) -> list[dict[str, Any]]:
    from pytest_memleak.books.build_book import make_book, paper_records
    from pytest_memleak.books.epub import read_epub

    book = make_book(
        name, read_epub(HOUSE / f"{name}.epub"), summaries=HOUSE / f"{name}.summaries.json"
    )
    records = paper_records(
        dataclasses.replace(
            book,
            excerpts=tuple(
                dataclasses.replace(one, text=" ".join(one.text.split()[:words]))
                for one in book.excerpts[:excerpts]
            ),
        )
    )
    return list(records)


@contextlib.contextmanager
def world_of(
    kind: str,
    folder: Path,
    *,
    stories: Mapping[str, list[dict[str, Any]]],
    storage: str,
    tokenizer: Path,
    faults: Iterable[Fault] = (),
    **settings: Any,
) -> Iterator[Scenario]:
    """The server of that kind, with its faults and `settings`; `folder` is its own.

    storage: the Cloud Storage server; tokenizer: the folder of the Tinker models' tokenizer.
    """
    provider = kind.partition("-")[0]
    folder.mkdir(parents=True, exist_ok=True)
    corpus = [record["excerpt_text"] for record in stories["held-out"]]
    common = {
        "reciter": Reciter(corpus),
        "books": Books(folder / "books.jsonl"),
        "plan": FaultPlan(faults),
        **({"open_models": ["base"]} if kind == "vertex-open" else {}),
        **settings,
    }
    make = {"openai": _openai, "vertex": _vertex, "tinker": _tinker}[provider]
    with contextlib.ExitStack() as stack:
        server, environment, options, finetune = make(
            stack, folder, common, storage=storage, tokenizer=tokenizer
        )
        yield Scenario(
            kind=kind,
            provider=provider,
            server=server,
            environment=environment,
            options={"concurrency": 4, "completions_per_call": 3, **options, **KINDS[kind]},
            finetune=finetune,
            stories=stories,
        )


_Made = tuple[HttpServer, dict[str, str], dict[str, Any], dict[str, Any]]


def _openai(stack: contextlib.ExitStack, folder: Path, common: dict[str, Any], **_: Any) -> _Made:
    key = SECRETS["openai"]
    server = stack.enter_context(OpenAIServer(key=key, **common))
    return server, {"OPENAI_API_KEY": key}, {"base_url": server.base_url}, {}


def _vertex(
    stack: contextlib.ExitStack, folder: Path, common: dict[str, Any], *, storage: str, **_: Any
) -> _Made:
    door = stack.enter_context(GcsDoor(storage, plan=common["plan"]))
    server = stack.enter_context(VertexServer(storage=storage, key=SECRETS["vertex"], **common))
    environment = {
        "GOOGLE_APPLICATION_CREDENTIALS": str(server.write_credentials(folder)),
        "GOOGLE_CLOUD_PROJECT": "test-project",
        "GOOGLE_CLOUD_LOCATION": "us-central1",
        "STORAGE_EMULATOR_HOST": door.url,
        "NO_GCE_CHECK": "true",
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
    }
    place = f"gs://bucket/{folder.parent.name}/{folder.name}"
    return server, environment, {"base_url": server.url, "bucket": place}, {}


def _tinker(
    stack: contextlib.ExitStack, folder: Path, common: dict[str, Any], *, tokenizer: Path, **_: Any
) -> _Made:
    from tinker_server import TinkerServer  # with the SDK, which takes its time

    key = SECRETS["tinker"]
    server = stack.enter_context(TinkerServer(key=key, tokenizer=tokenizer, **common))
    options = {"base_url": server.url, "tokenizer": str(tokenizer)}
    recipe = {"epochs": 2, "batch_size": 2, "save_steps": 1}
    return server, {"TINKER_API_KEY": key}, options, recipe
