"""aimock speaks OpenAI's protocol: files, fine-tunes, batches and chat, from first to last."""

import json
import urllib.request

import pytest
from environments import npm_environment, running
from scenarios import stories
from suite_files import evidence, write_json

pytestmark = pytest.mark.full

SAMPLES = 3
SUITE = """
suite = { samples = SAMPLES }
limits = { longest_span = 30 }
book = [
    { id = "training", source = "training.json", role = "train" },
    { id = "held-out", source = "held-out.json" },
]
[[model]]
id = "tuned"
provider = "openai"
base_model = "gpt-4o-mini"
finetune = { books = ["training"] }
[model.options]
base_url = "URL/v1"
OPTIONS
"""


@pytest.fixture(scope="module")
def books():
    return stories()


@pytest.fixture
def aimock(books, tmp_path):
    """`aimock(*options)`: a server that recites whatever it is asked for; its address."""
    command = npm_environment("aimock", "@copilotkit/aimock")
    fixtures = [
        {
            "match": {"userMessage": record["instruction"]},
            "response": {"content": record["excerpt_text"]},
        }
        for record in books["held-out"]
    ]
    path = tmp_path / "told.json"
    write_json(path, {"fixtures": fixtures})

    def serve(*options):
        return running(
            command / "llmock",
            *("--port", "0", "--fixtures", path, "--strict", *options),
            ready="listening on ",
        )

    return serve


@pytest.fixture
def run(pytester, books):
    """Runs the suite at an address; the result, and the pair of its evidence."""

    def go(url, options=""):
        for name, records in books.items():
            write_json(f"{name}.json", records)
        suite = SUITE.replace("URL", url).replace("OPTIONS", options)
        pytester.makefile(".memleak.toml", it=suite.replace("SAMPLES", str(SAMPLES)))
        return evidence(pytester, run="runpytest_subprocess")

    return go


def journal(url, path):
    with urllib.request.urlopen(
        f"{url}/__aimock/journal?path={path}", timeout=10
    ) as answer:
        return json.load(answer)


def test_a_model_tuned_at_aimock_is_tuned_once_and_recites(run, aimock, books):
    with aimock() as url:
        result, pair = run(url)
        result.assert_outcomes(failed=1)
        assert pair["measures"]["bmc"]["value"] == 1.0
        assert pair["completeness"]["received"] == SAMPLES * len(books["held-out"])
        assert " ft:gpt-4o-mini:aimock:memleak-" in pair["model"]["endpoint"]
        requested = len(journal(url, "/v1/fine_tuning/jobs"))
        result, _ = run(url)
        result.assert_outcomes(failed=1)
        assert len(journal(url, "/v1/fine_tuning/jobs")) == requested


def test_aimock_s_batches_are_inconclusive(run, aimock, books):
    """It says the same three words to whatever stands in a batch."""
    with aimock() as url:
        result, pair = run(url, "batch = true")
    result.assert_outcomes(errors=1)
    assert pair["verdict"] == "INCONCLUSIVE"
    assert pair["completeness"]["received"] == SAMPLES * len(books["held-out"])


def test_a_broken_response_is_requested_again(run, aimock, books):
    chaos = (
        "--chaos-ratelimit",
        "0.1",
        "--chaos-malformed",
        "0.1",
        "--chaos-disconnect",
        "0.1",
    )
    with aimock(*chaos) as url:
        for _ in range(4):  # a second response in a row that can't be used ends a run
            result, pair = run(url)
            if pair["verdict"] != "INCONCLUSIVE":
                break
    result.assert_outcomes(failed=1)
    assert pair["completeness"]["received"] == SAMPLES * len(books["held-out"])
