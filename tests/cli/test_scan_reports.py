"""The files of a scan: an HTML page, SARIF, and the verdict on a customer's training set."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from lxml import html
from scored_books import prose

from pytest_memleak.cli.main import main

RNG = random.Random(9)
NOVEL = [" ".join(prose(RNG, 100)) for _ in range(30)]
LONG = " ".join(NOVEL[12].split()[10:70])
SHORT = " ".join(NOVEL[3].split()[10:35])
HARMLESS = " ".join(RNG.choices([f"v{n}" for n in range(900)], k=50))


def row(text, date=None):
    beside = {"created_at": date} if date else {}
    return f"{json.dumps({'prompt': 'Go on.', 'completion': text, **beside})}\n"


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("novel.txt").write_text("\n\n".join(NOVEL), encoding="utf-8")
    Path("logs").mkdir()
    rows = [
        row(HARMLESS),
        row(LONG, "2026-03-04T05:06:07Z"),
        row(SHORT, "2026-03-04"),
        row(f"{LONG} {HARMLESS}", "2026-05-06 07:08"),
    ]
    Path("logs/a.jsonl").write_text("".join(rows), encoding="utf-8")


@pytest.fixture
def scan(capsys):
    """Runs the command: exit code, output, and errors."""

    def go(*options, kind="--logs", where="logs"):
        capsys.readouterr()
        code = main(["scan", "novel.txt", kind, where, *options])
        return code, *capsys.readouterr()

    return go


def page(*scanned):
    return html.fromstring(Path("out/page.html").read_text(encoding="utf-8"))


def table(document, section):
    rows = document.xpath(f"//section[@id='{section}']//tbody/tr")
    return [
        [" ".join(cell.text_content().split()) for cell in line if cell.tag != "path"]
        for line in rows
    ]


def test_the_page_says_which_books_how_much_where_and_when(scan):
    assert scan("--html", "out/page.html")[0] == 1
    document = page()
    assert "FAIL" in document.xpath("//p[@class='verdict']")[0].text_content()
    book, _ = table(document, "books")
    assert book[:4] == ["novel.txt", "3", "60", "60"]
    assert len(document.xpath("//section[@id='books']//svg/path")) > 0
    passages = table(document, "passages")
    assert [cells[0] for cells in passages] == ["60"] * 4 + ["25"] * 2
    assert passages[0][2:] == ["novel.txt", "1,210", "logs/a.jsonl", "2", "2026-03-04"]
    assert [cells[:2] for cells in table(document, "files")] == [["logs/a.jsonl", "3"]]
    assert [cells[:2] for cells in table(document, "time")] == [
        ["2026-03-04", "2"],
        ["2026-05-06", "1"],
    ]


def test_many_dates_are_counted_by_month(scan):
    rows = [row(SHORT, f"2026-{month:02}-{day:02}") for month in (1, 2, 3) for day in range(1, 29)]  # fmt: skip
    Path("logs/a.jsonl").write_text("".join(rows), encoding="utf-8")
    scan("--html", "out/page.html")
    assert [cells[:2] for cells in table(page(), "time")] == [
        ["2026-01", "28"],
        ["2026-02", "28"],
        ["2026-03", "28"],
    ]


def test_a_report_quotes_only_if_asked(scan):
    words = " ".join(LONG.split()[:5])
    scan("--html", "out/page.html", "--sarif", "out/s.sarif")
    for path in Path("out").iterdir():
        assert words not in path.read_text(encoding="utf-8")
    scan("--html", "out/page.html", "--quote")
    assert words in page().text_content()


def test_a_hostile_name_is_text_in_the_page(scan):
    name = "<img src=x onerror=alert(1)>\x1b.jsonl"
    Path("logs", name).write_text(f"{row(LONG)}<script>\n", encoding="utf-8")
    scan("--html", "out/page.html", "--sarif", "out/s.sarif")
    document = page()
    assert not document.xpath("//img|//script")
    assert "onerror" in document.text_content()
    assert "\x1b" not in Path("out/page.html").read_text(encoding="utf-8")
    results = json.loads(Path("out/s.sarif").read_text())["runs"][0]["results"]
    uris = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results}  # fmt: skip
    assert "logs/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%1B.jsonl" in uris


def test_a_clean_scan_says_so_in_its_page(scan):
    Path("logs/a.jsonl").write_text(row(HARMLESS), encoding="utf-8")
    assert scan("--html", "out/page.html")[0] == 0
    document = page()
    assert "PASS" in document.xpath("//p[@class='verdict']")[0].text_content()
    assert not document.xpath("//section[@id='time']")


def test_sarif_has_a_result_per_passage_at_its_line(scan):
    scan("--sarif", "out/s.sarif")
    (run,) = json.loads(Path("out/s.sarif").read_text())["runs"]
    levels = [(result["level"], result["ruleId"]) for result in run["results"]]
    assert levels.count(("error", "verbatim-passage")) == 2
    assert levels.count(("error", "near-passage")) == 2
    assert levels.count(("note", "verbatim-passage")) == 1
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "logs/a.jsonl"},
        "region": {"startLine": 2},
    }
    prints = [
        result["partialFingerprints"]["primaryLocationLineHash"]
        for result in run["results"]
    ]
    assert len(set(prints)) == len(prints)
    assert run["invocations"][0]["executionSuccessful"] is True


def test_sarif_has_what_code_scanning_requires(scan):
    table = "prompt,completion\nGo on.,{}\n"
    Path("logs/t.csv").write_text(table.format(LONG), encoding="utf-8")
    scan("--sarif", "out/s.sarif")
    (run,) = json.loads(Path("out/s.sarif").read_text())["runs"]
    for rule in run["tool"]["driver"]["rules"]:
        for key in ("shortDescription", "fullDescription", "help"):
            assert 0 < len(rule[key]["text"]) <= 1024
    for result in run["results"]:
        [location] = result["locations"]
        assert location["physicalLocation"]["region"]["startLine"] >= 1
        assert result["partialFingerprints"]["primaryLocationLineHash"]
    messages = [result["message"]["text"] for result in run["results"]]
    assert any(message.endswith("of the book, in row 4") for message in messages)


@pytest.mark.parametrize("inside", [True, False])
def test_sarif_names_a_file_by_its_path_below_this_folder_or_in_full(scan, inside):
    folder = Path("logs").resolve()
    if not inside:
        Path("else where").mkdir()
        os.chdir("else where")
        shutil.copy("../novel.txt", ".")
    scan("--sarif", "s.sarif", where=str(folder))
    (run,) = json.loads(Path("s.sarif").read_text())["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place["uri"] == ("logs/a.jsonl" if inside else f"{folder.as_uri()}/a.jsonl")


def test_sarif_names_what_could_not_be_read(scan):
    with Path("logs/a.jsonl").open("a", encoding="utf-8") as file:
        file.write("no row\n")
    assert scan("--sarif", "out/s.sarif")[0] == 3
    (run,) = json.loads(Path("out/s.sarif").read_text())["runs"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    (note,) = invocation["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("not JSON: Expecting value")
    assert note["locations"][0]["physicalLocation"]["region"] == {"startLine": 5}


def verdict(scan, *options):
    code, _, _ = scan("--customer", "acme", *options, kind="--training")
    return code, json.loads(Path("acme.verdict.json").read_text(encoding="utf-8"))


def test_a_customers_verdict_names_rows_and_no_book(scan):
    code, result = verdict(scan)
    assert (code, result["exit_code"], result["verdict"]) == (1, 1, "FAIL")
    assert (result["customer"], result["rows"]) == ("acme", 4)
    assert (result["rows_with_passages"], result["share_of_rows"]) == (3, 0.75)
    file = "logs/a.jsonl"
    assert result["rows_to_remove"] == [
        {"file": file, "row": 2, "words": 60},
        {"file": file, "row": 4, "words": 60},
    ]
    text = Path("acme.verdict.json").read_text(encoding="utf-8")
    assert "novel" not in text
    assert " ".join(LONG.split()[:3]) not in text


def test_a_clean_set_passes_and_an_unread_row_is_inconclusive(scan):
    Path("logs/a.jsonl").write_text(row(HARMLESS), encoding="utf-8")
    code, result = verdict(scan)
    assert (code, result["verdict"], result["rows_to_remove"]) == (0, "PASS", [])
    with Path("logs/a.jsonl").open("a", encoding="utf-8") as file:
        file.write("no row\n")
    code, result = verdict(scan)
    assert (code, result["verdict"]) == (3, "INCONCLUSIVE")
    assert result["unread"][0]["row"] == 2


def test_what_exceeds_a_limit_fails_also_if_a_row_is_unread(scan):
    with Path("logs/a.jsonl").open("a", encoding="utf-8") as file:
        file.write("no row\n")
    code, result = verdict(scan)
    assert (code, result["exit_code"], result["verdict"]) == (3, 3, "FAIL")


def test_a_customers_verdict_is_on_a_training_set(scan):
    code, _, err = scan("--customer", "acme")
    assert code == 2
    assert "--customer is for training sets" in err


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a b", "a" * 101])
def test_a_customers_name_is_part_of_a_files_name(scan, name):
    code, _, err = scan("--customer", name, kind="--training")
    assert code == 2
    assert "can't be part of a file's name" in err


@pytest.mark.parametrize("option", ["--html", "--sarif"])
@pytest.mark.parametrize("path", ["logs/report", "logs/deep/report", "logs/a.jsonl"])
def test_a_report_among_the_scanned_files_is_an_error(scan, option, path):
    before = Path("logs/a.jsonl").read_bytes()
    code, out, err = scan(option, path)
    assert (code, out) == (2, "")
    assert "name a file outside the scanned folders" in err
    assert Path("logs/a.jsonl").read_bytes() == before


def test_a_report_that_cannot_be_written_is_an_error_before_the_scan(scan):
    Path("out").mkdir()
    code, out, err = scan("--html", "out")
    assert (code, out) == (2, "")
    assert "out: can't be written" in err
