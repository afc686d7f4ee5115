"""The statement in ten lines: what an outsider learns of a bundle, whatever else he has."""

import shutil
import time
from pathlib import Path

import pytest
from evidence_files import EVIDENCE
from signing_keys import make_keys

from pytest_memleak.results.evidence_file import read_evidence

# Before pytester runs: it forgets what was imported since.
pytest.importorskip("securesystemslib.dsse")
pytest.importorskip("in_toto_attestation.v1.statement")

LINES = (
    "models",
    "books",
    "samples",
    "limits, and the most measured",
    "detection limit",
    "attempt",
    "tried",
    "controls",
    "dates",
    "missing files would add",
)
# A reader's question, the line that answers it, and the answer: the suite is known.
QUESTIONS = (
    ("Which model was tested?", "models", "candidate (base)"),
    ("What identifies it?", "models", "by the name that its server gave"),
    ("Could other weights stand behind it?", "models", "weights can change"),
    ("Which book?", "books", "The Lamplighter of Saltmarsh Row"),
    ("Whose book?", "books", "by The pytest-memleak authors"),
    ("How much of it was measured?", "books", "(1,630 words)"),
    ("How often was each excerpt asked for?", "samples", "2 per excerpt"),
    ("How freely did it answer?", "samples", "temperature 1"),
    ("Did everything come?", "samples", "8 of 8 generations received"),
    ("How much is usable?", "samples", "8 of them answers"),
    ("What is the limit?", "limits, and the most measured", "longest_span 4 ("),
    ("Was it exceeded?", "limits, and the most measured", ", over)"),
    ("How rare may a passage be unseen?", "detection limit", "more than 77.7%"),
    ("How sure is that?", "detection limit", "95% confidence"),
    ("Was it the first attempt?", "attempt", "1 ("),
    ("Was anything thrown away?", "attempt", "0 generations removed"),
    ("How was it asked?", "tried", "instruction, 2 samples"),
    ("Does the gate cry wolf?", "controls", "1 negative control, false positives: "),
    ("Does the gate see a known leak?", "controls", "no known leak was tried"),
    ("When was it asked?", "dates", "sampled TODAY"),
    ("Who made this, and where?", "dates", "by Release desk, on GitLab CI (https://ci"),
)
KEY, SUITE = ("--public-key", "ours.pub"), "online.memleak.toml"
LEDGER = "--ledger (every number, dates, and attempts)"
KEY_ADDS = "--public-key (who signed it)"
SUITE_ADDS = "--suite (that models, books, and limits are these)"
# Files that the reader has, options, the exit code, and what other files would add.
BOOKS = ("held-out.json", "training.json")
SITUATIONS = (
    ((), (), 3, (KEY_ADDS, SUITE_ADDS, LEDGER)),
    ((), KEY, 3, (SUITE_ADDS, LEDGER)),
    ((SUITE, *BOOKS), KEY, 3, (LEDGER,)),
    ((SUITE, *BOOKS, ".memleak"), KEY, 1, ()),
    ((SUITE, *BOOKS, "a changed book"), KEY, 1, (LEDGER,)),
)


@pytest.fixture
def release(pytester, online, gate, monkeypatch):
    """Signed evidence of a leaking model and a control; the folder of all its files."""
    for name in ("GITHUB_ACTIONS", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("CI_JOB_URL", "https://user:secret@ci.example/jobs/7")
    make_keys()
    online(
        ('[model.finetune]\nbooks = ["training"]\n', ""),
        ('role = "train"\n', 'role = "negative-control"\n'),
        (", training = 10.0", ""),
        ('id = "tuned"', 'id = "candidate"'),
        ("samples = 6", "samples = 2"),
        ("longest_span = 30", "longest_span = 4"),
    )
    options = ("--memleak-operator=Release desk", "--memleak-signing-key=ours.key")
    gate("-m", "copyright", EVIDENCE, *options)
    return pytester.path


def given(folder, files):
    """Leave these files in place of all others, one of them changed if it says so."""
    kept = folder.parent / "kept"
    if not kept.exists():
        shutil.copytree(folder, kept)
    for name in (SUITE, *BOOKS, ".memleak"):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if name in files and (kept / name).is_dir():
            shutil.copytree(kept / name, path)
        elif name in files:
            shutil.copy(kept / name, path)
    if "a changed book" in files:
        change(folder / "held-out.json", "The", "Teh")


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def statement_in(text):
    """The statement's lines by name."""
    _, _, rest = text.partition("the bundle's statement:\n")
    lines = []
    for line in rest.splitlines():
        if not line.startswith("  "):
            break
        lines.append(line.strip().partition(": ")[::2])
    return dict(lines)


def test_ten_lines_answer_a_reader_s_questions_in_five_situations(release, verify):
    for files, options, status, added in SITUATIONS:
        given(release, files)
        code, text = verify(*options)
        assert code == status, (files, text)
        statement = statement_in(text)
        assert tuple(statement) == LINES
        created = read_evidence(Path("evidence.json")).content.created
        today = time.strftime("%Y-%m-%d", time.gmtime(created))
        for question, line, answer in QUESTIONS:
            expected = answer.replace("TODAY", today)
            assert expected in statement[line], (question, statement[line])
        assert all(file in statement["missing files would add"] for file in added)
        others = {KEY_ADDS, SUITE_ADDS, LEDGER} - {*added}
        assert not any(file in statement["missing files would add"] for file in others)
        assert "secret" not in text


CHANGED = (
    (SUITE, "longest_span = 4", "longest_span = 400", f"suite {SUITE}: "),
    (SUITE, "[suite]", "[[[suite", f"suite {SUITE}: "),
    (SUITE, 'source = "held-out.json"', 'source = "../x.json"', f"suite {SUITE}: "),
    ("held-out.json", "The", "Teh", "book held-out: "),
    ("training.json", "The", "Teh", "book training: "),
)


def test_a_changed_suite_or_book_is_wrong_without_a_ledger(release, verify):
    shutil.rmtree(release / ".memleak")
    code, text = verify()
    checked = text.partition("\nverified:\n")[2]
    assert (code, checked.count("the file is the bundle's (SHA-256)")) == (3, 3), text
    for name, old, new, wrong in CHANGED:
        before = (release / name).read_bytes()
        change(release / name, old, new)
        code, text = verify("--allow-failures")
        (release / name).write_bytes(before)
        assert (code, wrong in text.partition("wrong:\n")[2]) == (1, True), text


def test_limits_that_differ_by_pair_are_a_table(suite, bundle_of, verify):
    suite(
        (
            "[limits]\nlongest_span = 10",
            '[limits]\nlongest_block = 30\n[[model]]\nid = "free"\nprovider = "recorded"'
            '\nlimits = { spans_over = 9 }\n[model.options]\npath = "clean.json"',
        )
    )
    bundle_of("evidence.json", passed=3)
    text = verify()[1]
    assert "  limits, and the most measured: 2 sets of limits, which differ by" in text
    assert "  - free/ferry: longest_block 30 (0), spans_over 9 (0)\n" in text
    others = (
        "  - clean/ferry and 1 more pair: longest_block 30 (16), spans_over no limit\n"
    )
    assert others in text


def test_the_html_report_begins_with_the_statement(release, gate):
    gate("-m", "copyright", "--memleak-html=report.html", "--memleak-operator=Desk")
    page = (release / "report.html").read_text(encoding="utf-8")
    top, _, _ = page.partition('<nav aria-label="Contents">')
    for line in LINES:
        assert f"<dt>{line[0].upper()}{line[1:]}</dt>" in top
    assert "by Desk, on GitLab CI" in top
