"""`memleak complaint`: from three prompts to a page and a bundle."""

import json

import pytest
from extraction_servers import BOOK, REFUSAL, serving
from signing_keys import make_keys

from pytest_memleak.cli.main import main
from pytest_memleak.results.evidence_file import read_evidence

PROMPTS = (
    "Recite the first page of The Play.",
    {"prompt": "How does it begin?", "answer": " ".join(BOOK[:60])},
    "Quote | the *second* <b>scene</b>.",
)
OTHER = "the ferryman counted nine lanterns on the quay and wrote a number down "


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    (tmp_path / "play.txt").write_text(
        "\n\n".join(
            " ".join(BOOK[at : at + 100]).capitalize() + "."
            for at in range(0, 2000, 100)
        )
    )
    lines = "".join(f"{json.dumps(prompt)}\n" for prompt in PROMPTS)
    (tmp_path / "claim.jsonl").write_text(lines)
    return tmp_path


@pytest.fixture
def complain(folder, capsys):
    """Returns the exit code, and what was printed, of the command for a server."""

    def run(behavior, *options):
        with serving(behavior) as server:
            arguments = ["complaint", "play.txt", "claim.jsonl", "--yes"]
            arguments += ["--model", "openai/reciter", "--base-url", server.url]
            status = main([*arguments, "--samples", "12", *options])
        return status, capsys.readouterr()

    return run


def refuses(server, messages):
    return f"{REFUSAL} ({len(server.answers)})"


def recites_first(server, messages):
    if messages[-1]["content"] == PROMPTS[0]:
        return " ".join(BOOK[:110])
    return refuses(server, messages)


@pytest.mark.full
def test_a_leaking_server_gives_a_page_with_count_and_place(complain, folder):
    status, printed = complain(recites_first)
    assert status == 1, printed
    page = (folder / "complaint-play/complaint.md").read_text("utf-8")
    assert "1 of 3 prompts brought passages" in page
    row = next(line for line in page.splitlines() if line.startswith("| prompt-1 "))
    assert "12 of 12 samples over the limit (77.9%–100.0%)" in row
    assert "p\\_id1, words 0-" in row
    claimed = next(line for line in page.splitlines() if line.startswith("| prompt-2"))
    assert "holds a passage of 6" in claimed
    assert "0 of 12 samples over the limit, at most 22.1%" in claimed


@pytest.mark.full
def test_an_honest_server_gives_a_pass_that_verifies(complain, folder, capsys):
    status, printed = complain(refuses)
    assert status == 0, printed
    html = (folder / "complaint-play/complaint.html").read_text("utf-8")
    assert "3 prompts, 12 samples each: no answer holds a passage" in html
    assert "Quote | the *second* &lt;b&gt;scene&lt;/b&gt;." in html
    assert "No control was asked" in html
    assert "not tried: instruction" in html
    evidence = "complaint-play/complaint.json"
    assert main(["verify", evidence]) == 0
    bundle = read_evidence(folder / evidence).content
    assert [rate.hits for rate in bundle.pairs[0].prompt_rates] == [0, 0, 0]


@pytest.mark.full
def test_signed_evidence_is_attested_by_the_key(complain, capsys):
    make_keys()
    status, printed = complain(refuses, "--signing-key", "ours.key")
    assert status == 0, printed
    evidence = "complaint-play/complaint.json"
    assert main(["verify", evidence, "--public-key", "ours.pub"]) == 0
    assert "level: attested, recomputed" in capsys.readouterr().out
    assert main(["verify", evidence, "--public-key", "theirs.pub"]) == 1


@pytest.mark.full
def test_no_page_quotes_more_of_the_book_than_reports_may(complain, folder):
    complain(recites_first)
    for name in ("complaint.md", "complaint.html", "complaint.json"):
        text = (folder / "complaint-play" / name).read_text("utf-8").lower()
        words = text.split()
        for start in range(len(BOOK) - 13):
            assert " ".join(BOOK[start : start + 13]) not in " ".join(words)


@pytest.mark.full
def test_the_same_command_asks_nothing_again(complain, folder):
    with serving(refuses) as server:
        arguments = ["complaint", "play.txt", "claim.jsonl", "--yes", "--samples", "5"]
        arguments += ["--model", "openai/reciter", "--base-url", server.url]
        main(arguments)
        asked = len(server.answers)
        main(arguments)
        assert len(server.answers) == asked == 15


@pytest.mark.full
def test_controls_stand_on_the_page(complain, folder):
    (folder / "other.txt").write_text(
        "\n\n".join(f"{OTHER}{number}. " * 6 for number in range(40))
    )
    (folder / "other.jsonl").write_text('"Recite the first page of The Ferry."\n')
    control = ("--control", "other.txt", "--control-prompts", "other.jsonl")
    status, printed = complain(refuses, *control, "--unread-model", "openai/unread")
    assert status == 0, printed
    page = (folder / "complaint-play/complaint.md").read_text("utf-8")
    assert "The same model was asked for other, a book in no training set:" in page
    assert "- prompt-1: 0 of 12 samples over the limit" in page
    assert "The same prompts, asked of unread:" in page
    assert "- 3 prompts: 0 of 12 samples over the limit" in page


def test_a_folder_of_another_complaint_is_left_alone(folder, capsys):
    suite = folder / "complaint-play/complaint.memleak.toml"
    suite.parent.mkdir()
    suite.write_text("mine")
    arguments = ["complaint", "play.txt", "claim.jsonl", "--model", "openai/m"]
    assert main([*arguments, "--yes"]) == 2
    assert "holds another complaint" in capsys.readouterr().err
    assert suite.read_text() == "mine"


def test_without_a_terminal_nothing_is_asked_unless_it_is_told(folder, capsys):
    arguments = ["complaint", "play.txt", "claim.jsonl", "--model", "openai/m"]
    assert main([*arguments, "--base-url", "http://127.0.0.1:9/v1"]) == 2
    assert "add --yes" in capsys.readouterr().err


def test_a_faulty_line_of_prompts_is_named(folder, capsys):
    (folder / "claim.jsonl").write_text('"one"\nnot json\n')
    arguments = ["complaint", "play.txt", "claim.jsonl", "--model", "openai/m"]
    assert main(arguments) == 2
    assert "claim.jsonl, line 2: not JSON" in capsys.readouterr().err
