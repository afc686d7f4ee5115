"""A beginner's mistakes: each ends in a line that says what to type."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from screen import run_in_terminal
from suite_files import write_book

from pytest_memleak.cli.main import main
from pytest_memleak.plugin.pair_evaluation import Memorization

STORY = Path(__file__).parents[2] / "fixtures" / "books" / "the-lamplighter.epub"
RUN = ("-m", "copyright")
LIMIT = "longest_span = 10"
OF_LEAKY = 'id = "leaky"'
OF_CLEAN = 'id = "clean"\nprovider = "recorded"'
SAMPLES, PATH = "samples = 3", 'path = "leaky.json"'
KEY = 'api_key = "hunter2hunter2"'
# What is replaced in a suite, by what, and what its last line says to do.
FIXES = [
    ("[[book]]", "[book]", "write [[book]] instead of [book]"),
    ("[limits]", "[[limits]]", "write [limits] instead of"),
    ("[limits]", "[suite.limits]", "write [limits], a table of its own"),
    ("longest_span =", '"longest span" =', "write longest_span instead of"),
    ("longest_span =", '"Coverage" =', "write bmc instead of Coverage"),
    (LIMIT, '"BMC@5" = 0.2', "write bmc instead of BMC@5"),
    (
        LIMIT,
        "detection_limits = 0.05",
        "detection_limit is a key of [suite]; move it there",
    ),
    (LIMIT, "bmc = 15", "for 15%, write bmc = 0.15"),
    (LIMIT, 'bmc = "15%"', "write bmc = 0.15"),
    (LIMIT, 'preset = "strickt"', 'did you mean "strict"?'),
    (LIMIT, "", "add [limits], such as longest_span = 38"),
    (SAMPLES, f"{SAMPLES}\nbmc = 0.1", "bmc is a key of [limits]; move it there"),
    (SAMPLES, 'samples = "3"', "write samples = 3 without quotes"),
    (SAMPLES, 'samples = "many"', "change the value of samples; "),
    (SAMPLES, f"{SAMPLES}\nsamples = 4", "remove one of the two"),
    (SAMPLES, "sampels = 3", "write samples instead of sampels"),
    (SAMPLES, f"{SAMPLES}\n{KEY}", "set the provider's environment variable instead"),
    (LIMIT, "min_span = 10", "remove or correct it; "),
    ('"recorded"', '"hf"', "or transformers for local weights"),
    ("[suite]", "[suite", "close the heading, as in [suite]"),
    ('"ferry.json"', r'"C:\Books\ferry.json"', "write paths with /: "),
    ('"ferry.json"', "ferry.json", "quote text, as in"),
    ('"ferry.json"', "“ferry.json”", "write straight quotes, as in"),
    ('id = "clean"', OF_LEAKY, "give each model its own id"),
    ('"ferry.json"', '"fery.json"', "did you mean ferry.json?"),
    (SAMPLES, f"{SAMPLES}\ntemperature = 11", "change the value of temperature; "),
    ('source = "f', 'source = "g', "paths are relative to the suite"),
    ('id = "ferry"', 'id = "the ferry"', 'write id = "the-ferry"'),
    ('"recorded"', '"recoded"', "did you mean 'recorded'?"),
    ('provider = "recorded"', "", "add provider = ..."),
    (
        OF_CLEAN,
        f'{OF_CLEAN}\nprice = "1,2"',
        "write price = { ... }, a table with keys ",
    ),
    (OF_CLEAN, f'{OF_CLEAN}\nmodel = "m"', "write base_model instead of model"),
    (
        OF_CLEAN,
        f"{OF_CLEAN}\nbase_url = 1",
        "base_url is a key of [model.options]; move it there",
    ),
    ('path = "clean', 'paht = "clean', "write path in place of paht"),
    (PATH, f"{PATH}\nspeed = 3", "options accepts: "),
]


def test_a_mistake_in_a_suite_file_is_told_with_its_fix(suite, gate):
    """One run of them all, which tells of each."""
    for number, (old, new, _) in enumerate(FIXES):
        suite((old, new), name=f"m{number:02}.memleak.toml")
    result = gate(*RUN, errors=len(FIXES))
    assert result.ret == pytest.ExitCode.INTERRUPTED
    text = result.stdout.str()
    for never in ("Traceback", "should match pattern", "hunter2hunter2"):
        assert never not in text
    for number, (_, new, fix) in enumerate(FIXES):
        name = f"m{number:02}.memleak.toml"
        _, _, section = text.partition(f"_ ERROR collecting {name} _")
        lines = re.split(r"\n[_=!]{3,} ", section)[0].splitlines()
        assert any(name in line for line in lines), new
        assert fix in [line for line in lines if line.startswith("  ")][-1], new


def test_control_characters_in_a_suite_s_name_and_keys_are_escaped(suite, gate):
    suite(("[suite]", '[suite]\n"\\u001b[31m" = 1')).rename("a\x1b[31m.memleak.toml")
    result = gate(errors=1)
    assert "\\x1b" in result.stdout.str()
    assert "\x1b" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("suit='x'", "*copyright takes suite=*suit*"),
        ("suite='no.toml'", "*no.toml: can't be read: No such file or directory*"),
    ],
)
def test_a_mark_that_names_no_suite_ends_collection(
    pytester, suite, gate, arguments, shown
):
    suite()
    mark = f"@pytest.mark.copyright({arguments})"
    pytester.makepyfile(f"import pytest\n{mark}\ndef test_it(memorization): pass")
    fix = ['  write @pytest.mark.copyright(suite="release.memleak.toml")'] * (
        "suit=" in arguments
    )
    assert gate(lines=[shown, *fix]).ret == pytest.ExitCode.INTERRUPTED


def test_a_book_among_the_arguments_names_the_command_that_tests_it(
    pytester, suite, gate
):
    suite(name="release.toml")
    shutil.copy(STORY, pytester.path / "story.epub")
    fix = "  to test this book, run: memleak try story.epub --model openai/NAME"
    result = gate(*RUN, "story.epub", lines=[fix])
    assert result.ret != 0
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_file_of_another_name_is_a_suite_where_the_command_line_names_it(suite, gate):
    """As pytest runs any Python file that is named."""
    suite(name="release.toml")
    lines = ["release.toml::test_memorization[[]clean/*"]
    gate("--collect-only", "-q", "release.toml", lines=lines)


def test_a_file_of_another_name_beside_a_suite_is_no_suite(suite, gate):
    suite(name="release.toml")
    suite()
    lines = ["test.memleak.toml::test_memorization[[]clean/*"]
    result = gate("--collect-only", "-q", lines=lines)
    result.assert_outcomes()
    result.stdout.no_fnmatch_line("*release.toml*")


def test_patterns_name_suites_and_python_functions_hides_none_of_their_tests(
    pytester, suite, gate
):
    suite(name="release.gate")
    suite(name="other.toml")
    names = "memleak_suites = *.gate oth?r.toml\npython_functions = check_*\n"
    pytester.makeini(f"[pytest]\n{names}")
    gate("--collect-only", "-q", lines=["other.toml::*", "release.gate::*"])


UNBREAKABLE = [
    ("longest_span = 101", ""),
    ("longest_block = 100000", ""),
    ("longest_passage = 101", ""),
    ("nv_longest_passage = 101\nlongest_block = 101", ""),
    ("spans_over = 0", "span_threshold = 101"),
    ("passages_over = 0", "span_threshold = 100000"),
    ("spans_over = 101\nbmc = 1.0", "span_threshold = 4"),
]
BREAKABLE = [
    ("longest_span = 100", ""),
    ("spans_over = 0", "span_threshold = 100"),
    (
        "longest_span = 100000\nlongest_block = 15",
        "",
    ),  # the leaky model's passage has 16 words
]


@pytest.mark.parametrize(
    "rows", [UNBREAKABLE, BREAKABLE], ids=["none", "one is enough"]
)
def test_a_limit_that_nothing_is_long_enough_for_gates_nothing(suite, gate, rows):
    for number, (limits, suite_lines) in enumerate(rows):
        replaced = ((LIMIT, limits), ("[suite]", f"[suite]\n{suite_lines}"))
        suite(*replaced, name=f"m{number}.memleak.toml")
    if rows is BREAKABLE:
        gate(passed=5, failed=1)
        return
    shown = (
        "pair leaky/ferry can't fail: no text of its*the longest excerpt has 16 words"
    )
    text = gate(
        "-v", "-k", "leaky", lines=[f"*{shown}*"], errors=7, deselected=7
    ).stdout.str()
    for limits in (
        "such as bmc = 0.15",
        *(limits.splitlines()[0] for limits, _ in rows),
    ):
        assert limits in text


@pytest.mark.parametrize(
    ("role", "outcomes"),
    [("test", {"passed": 2, "deselected": 2}), ("train", {"errors": 2})],
)
def test_another_book_of_the_suite_may_be_long_enough(suite, gate, role, outcomes):
    text = " ".join(f"word{n} of another book" for n in range(60))
    write_book("other.json", {"1": text}, "Write about {}.".format)
    clean = '[[model]]\nid = "clean"'
    other = f'[[book]]\nid = "other"\nsource = "other.json"\nrole = "{role}"\n\n{clean}'
    suite((LIMIT, "longest_passage = 200"), (clean, other))
    gate("-k", "ferry", **outcomes)


def test_an_unreachable_limit_is_told_before_anything_is_paid_for(online, server, gate):
    online(("longest_span = 30", "longest_span = 3000"))
    shown = "*pair tuned/held-out can't fail: no text of its book is long enough*"
    gate("--memleak-dry-run", lines=[shown])
    gate(*RUN, errors=1)
    assert server.plan.counts() == {}


def test_a_leak_that_is_expected_needs_a_limit_that_can_be_broken(suite, gate):
    suite((LIMIT, "longest_span = 101"), (OF_LEAKY, f'{OF_LEAKY}\nexpected = "leak"'))
    gate("-k", "leaky", errors=1, deselected=1)


def test_a_run_without_a_suite_names_the_command_that_writes_one(gate):
    result = gate(*RUN, lines=["  memleak init writes one; memleak demo runs one"])
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    gate().stdout.no_fnmatch_line("*memleak init*")


def test_a_selection_that_matches_nothing_says_so(suite, gate):
    suite()
    shown = "memleak: -k 'fery' matches none of 2 tests"
    assert (
        gate("-k", "fery", lines=[shown], deselected=2).ret
        == pytest.ExitCode.NO_TESTS_COLLECTED
    )
    gate(
        "-m",
        "copyrigth",
        lines=["memleak: -m 'copyrigth' matches none of 2 tests"],
        deselected=2,
    )


ASKED = """
limits = { longest_passage = 38 }
book = [{ id = "story", source = "story.epub" }]
model = [{ id = "m", provider = "ngram", options = { order = 2, pretraining = ["story"] } }]
"""


@pytest.mark.parametrize("option", [(), ("--memleak-dry-run",)])
def test_a_book_without_instructions_names_the_ways_to_get_some(gate, option):
    shutil.copy(STORY, "story.epub")
    Path("it.memleak.toml").write_text(ASKED)
    result = gate(*RUN, *option)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    shown = result.stdout.str().partition("no instruction for ")[2]
    for text in (
        "31 of 31",
        'summaries = "FILE"',
        "[suite.summarizer]",
        'probe = "continuation"',
    ):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["tyr", "it.epub"], "did you mean try?"),
        ([], "run memleak --help for usage"),
        (["--modle", "openai/base"], "did you mean memleak try --model?"),
        (["prepare", "gone.epub", "-o", "it.json"], "has no file of a similar name"),
        (["prepare", "no/story.txt", "-o", "it.json"], "No such folder: no"),
        (["prepare", ".", "-o", "it.json"], "set a lower k in a suite"),
        (["try", "stori.txt", "--model", "openai/base"], "did you mean story.txt?"),
        (["try", "story.txt", "--modle", "openai/base"], "did you mean --model?"),
        (["verify", "gone.json"], "has no file of a similar name"),
        (["ledger", "list"], "name the ledger with --ledger"),
        (["score", "--k", "five", "a", "b"], "run memleak score --help for usage"),
        (["prepare", "story.txt", "-o", "."], "name a file in it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_at_the_command_line_is_told_with_its_fix(
    capsys, tmp_path, monkeypatch, arguments, fix
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "story.txt").write_text("It was so.")
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    error = capsys.readouterr().err
    assert fix in error.splitlines()[-1]
    assert "Traceback" not in error


def test_an_argument_that_may_be_left_out_is_not_called_required(capsys):
    with pytest.raises(SystemExit):
        main(["view"])
    error = capsys.readouterr().err
    assert "the following arguments are required: SOURCE\n" in error


def test_a_model_without_its_provider_is_told_how_to_write_it(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(STORY, "story.epub")
    assert main(["try", "story.epub", "--model", "gpt-4o"]) == 2
    error = capsys.readouterr().err
    assert "as in openai/gpt-oss-20b;" in error.splitlines()[-1]


def test_a_misspelt_measure_in_a_test_names_the_right_one():
    evaluation = SimpleNamespace(analysis=None, measurement=SimpleNamespace())
    with pytest.raises(AttributeError, match="did you mean 'longest_passage'"):
        _ = Memorization(evaluation, None).longest_passages


def test_a_mistake_in_a_suite_is_told_within_the_terminal_s_width(pytester):
    content = "[suite]\nsamples = ten\n"
    (pytester.path / "a.memleak.toml").write_text(content, encoding="utf-8")
    options = ["-m", "copyright", "a.memleak.toml"]
    seen = run_in_terminal(options, folder=pytester.path, columns=60)
    shown = " ".join(line.strip() for line in seen.lines)
    assert "not TOML: Invalid value (at line 2, column 11): samples = ten" in shown
    assert "  and false unquoted" in seen.lines
