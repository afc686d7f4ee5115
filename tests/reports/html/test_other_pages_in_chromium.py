"""The pages of view, scan, and complaint in a real browser."""

import json
from pathlib import Path

import pytest
from extraction_servers import BOOK, serving
from suite_files import write_answers, write_book

from pytest_memleak.cli.main import main

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

DESK, PHONE = (1440, 900), (390, 844)

SUITE = """
[suite]
samples = 1
[limits]
longest_passage = 38
[[book]]
id = "play"
source = "play.json"
[[model]]
id = "leaky"
provider = "recorded"
options = { path = "leaky.json" }
[[model]]
id = "clean"
provider = "recorded"
options = { path = "clean.json" }
"""


def write_view():
    """A page with a passage of 600 words, which its frame doesn't hold."""
    text = " ".join(BOOK[:600])
    write_book("play.json", {"p_id0": text}, lambda key: f"Write {key}.")
    write_answers("leaky.json", {"p_id0": [text]})
    write_answers("clean.json", {"p_id0": ["Rain fell. " * 100]})
    Path("s.memleak.toml").write_text(SUITE)
    assert main(["view", "s.memleak.toml"]) == 0
    return Path(".memleak/view.html")


def write_scan():
    Path("play.txt").write_text(" ".join(BOOK))
    rows = [
        {"completion": " ".join(BOOK[:60]), "created_at": "2026-03-04"},
        {"completion": " ".join(BOOK[70:150]), "created_at": "2026-05-04"},
    ]
    lines = [json.dumps(row) for row in rows]
    Path("log.jsonl").write_text("\n".join(lines))
    command = ["scan", "play.txt", "--logs", "log.jsonl", "--html", "scan.html"]
    assert main([*command, "--quote", "--text", "/completion"]) == 1
    return Path("scan.html")


def recite(server, messages):
    return " ".join(BOOK[:110])


def write_complaint():
    Path("play.txt").write_text(" ".join(BOOK))
    Path("claim.jsonl").write_text(json.dumps({"prompt": "Recite The Play."}))
    command = ["complaint", "play.txt", "claim.jsonl", "--yes", "--samples", "3"]
    with serving(recite) as server:
        model = ["--model", "openai/reciter", "--base-url", server.url]
        assert main([*command, *model]) == 1
    return Path("complaint-play/complaint.html")


WRITERS = {"view": write_view, "scan": write_scan, "complaint": write_complaint}


@pytest.fixture(params=WRITERS)
def address(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    return WRITERS[request.param]().absolute().as_uri()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_page_breaks_no_rule_of_accessibility(
    violations, open_page, address, size, dark
):
    open_page(address, size, dark=dark)
    assert violations() == {}


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_page_does_not_scroll_sideways(browser, open_page, address, size):
    open_page(address, size)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]
