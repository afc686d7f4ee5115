"""What each report of a run says of a pair: its verdict, and the text around it."""

import html
import json
import re
import xml.etree.ElementTree as ET

OUTCOMES = {"PASS": [], "FAIL": ["failure"], "INCONCLUSIVE": ["error"]}
SHOWN = r"\w+(?:, (?:under )?\d+% refused)?"


def read_reports(folder, terminal):
    """What each report of a run in the folder says."""
    return {
        "terminal": terminal.partition(" memorization ")[2],
        "junit": ET.parse(folder / "junit.xml").getroot(),
        "html": (folder / "report.html").read_text("utf-8"),
        "markdown": (folder / "step.md").read_text("utf-8"),
        "evidence": json.loads((folder / "evidence.json").read_text("utf-8")),
    }


def properties(element):
    """The properties of a JUnit report's element, or of the report in a file."""
    if isinstance(element, str):
        element = ET.parse(element)
    return {entry.get("name"): entry.get("value") for entry in element.iter("property")}


def plain(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def in_the_terminal(text, pair):
    (row,) = re.findall(rf"^{pair} .*$", text, re.MULTILINE)
    details = re.search(rf"^(.*) {pair}\n((?:  .*\n)*)", text, re.MULTILINE)
    shown = re.search(rf"({SHOWN})\s*$", row)[1]
    # The first screen has the causes of a pair that isn't decided.
    causes = re.findall(rf"^[?] .*\W{pair}\W.*\n(?:  .*\n)*", text, re.MULTILINE)
    block = f"{details[1]} {details[2]}" if details else row
    return shown, " ".join([block, *causes])


def in_junit(root, pair):
    (case,) = [
        case for case in root.iter("testcase") if case.get("name").endswith(f"[{pair}]")
    ]
    verdicts = {
        entry.get("value")
        for entry in case.iter("property")
        if entry.get("name") == "memleak.verdict"
    }
    outcomes = [outcome for outcome in case if outcome.tag in ("failure", "error")]
    assert [outcome.tag for outcome in outcomes] == OUTCOMES[
        "".join(verdicts).partition(",")[0]
    ]
    return " ".join(verdicts), "".join(f"{outcome.text}" for outcome in outcomes)


def in_html(page, pair):
    model, _, _ = pair.partition("/")
    (part,) = [
        plain(part)
        for part in re.findall(r"<article.*?</article>", page, re.DOTALL)
        if re.search(
            rf"words(, not counting prompts)?; pair {re.escape(pair)} ", plain(part)
        )
    ]
    shown = re.search(rf"{model} on .*? [✓✗?!] ({SHOWN})", part)[1]
    return re.sub(r"^\w+", lambda word: word[0].upper(), shown), part


def in_markdown(text, pair):
    (row,) = [
        plain(line)
        for line in text.splitlines()
        if plain(line).startswith(f"| {pair} |")
    ]
    details = re.findall(r"<details>.*?</details>", text, re.DOTALL)
    return row.split(" | ")[1].partition(" ")[2], "".join(
        plain(detail) for detail in details if plain(detail).startswith(f"{pair}: ")
    )


def in_evidence(bundle, pair):
    (result,) = [result for result in bundle["pairs"] if result["pair"] == pair]
    return result["verdict"], "\n".join(result["reasons"])


READERS = {
    "terminal": in_the_terminal,
    "junit": in_junit,
    "html": in_html,
    "markdown": in_markdown,
    "evidence": in_evidence,
}
HTML_WORDS = {"PASSED": "PASS", "FAILED": "FAIL"}
