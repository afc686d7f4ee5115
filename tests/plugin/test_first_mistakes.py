"""A beginner's mistakes: each ends in a line that says what to type."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_memleak.cli.main import main
from pytest_memleak.plugin.outcomes import Memorization

STORY = Path(__file__).parents[2] / "fixtures" / "books" / "the-lamplighter.epub"
RUN = ("-m", "copyright")
SUITES = {
    "[book] for [[book]]": (("[[book]]", "[book]"), "write [[book]] instead of [book]"),
    "[[limits]] for [limits]": (("[limits]", "[[limits]]"), "write [limits] instead of"),
    "a column's name": (("longest_span =", '"longest span" ='), "write longest_span instead of"),
    "the paper's name": (("longest_span = 10", '"BMC@5" = 0.2'), "write bmc instead of BMC@5"),
    "a limit among the settings": (
        ("samples = 3", "samples = 3\nbmc = 0.1"),
        "bmc is a key of [limits]; move it there",
    ),
    "a title": (("longest_span =", '"Coverage" ='), "write bmc instead of Coverage"),
    "a column that is no measure": (
        ("longest_span = 10", "detection_limits = 0.05"),
        "detection_limit is a key of [suite]; move it there",
    ),
    "per cent": (("longest_span = 10", "bmc = 15"), "for 15%, write bmc = 0.15"),
    "a number in quotes": (("samples = 3", 'samples = "3"'), "write samples = 3 without quotes"),
    "per cent in quotes": (("longest_span = 10", 'bmc = "15%"'), "write bmc = 0.15"),
    "a number in words": (("samples = 3", 'samples = "three"'), "correct samples; "),
    "a heading left open": (("[suite]", "[suite"), "close the heading, as in [suite]"),
    "a key twice": (("samples = 3", "samples = 3\nsamples = 4"), "remove one of the two"),
    "a preset misspelt": (("longest_span = 10", 'preset = "strickt"'), 'did you mean "strict"?'),
    "another tool's key": (
        ('provider = "recorded"', 'provider = "recorded"\nmodel = "m"'),
        "write base_model instead of model",
    ),
    "a typing error": (("samples", "sampels"), "write samples instead of sampels"),
    "a path of Windows": (('"ferry.json"', r'"C:\Books\ferry.json"'), "write paths with /: "),
    "a text without quotes": (('"ferry.json"', "ferry.json"), "put texts in quotes, as in"),
    "a provider misspelt": (('"recorded"', '"recoded"'), "did you mean 'recorded'?"),
    "a key left out": (('provider = "recorded"', ""), "add provider = ..."),
    "a book that is not there": (('source = "f', 'source = "g'), "paths are relative to the suite"),
    "no limits": (("longest_span = 10", ""), "add [limits], such as longest_span = 38"),
    "a key in the suite": (
        ("samples = 3", 'samples = 3\napi_key = "hunter2hunter2"'),
        "set the provider's environment variable instead",
    ),
    "an option misspelt": (('path = "clean', 'paht = "clean'), "write path in place of paht"),
    "an option of no provider": (('path = "clean', 'zoom = "clean'), "options may have: "),
    "an option above its table": (
        ('provider = "recorded"', 'provider = "recorded"\nbase_url = "http://localhost/v1"'),
        "base_url is a key of [model.options]; move it there",
    ),
    "an id with a blank": (('id = "ferry"', 'id = "the ferry"'), 'write id = "the-ferry"'),
}


@pytest.mark.parametrize("mistake", SUITES)
def test_in_a_suite_file(pytester, suite, mistake):
    change, said = SUITES[mistake]
    suite(change)
    result = pytester.runpytest(*RUN)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    lines = [line for line in result.outlines if line.startswith("  ")]
    assert said in lines[-1]
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_suite_in_another_encoding(pytester, suite, encoding):
    path = suite(('id = "ferry"', 'id = "ferry"\ntitle = "Caf\xe9"'))
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    pytester.runpytest(*RUN).stdout.fnmatch_lines(["  save the file as UTF-8*"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('id = "ferry"', 'id = "the ferry"'), "expected letters, digits, '.', '_' and '-' alone*"),
        (
            (
                '"recorded"',
                '"openai"\nbase_model = "m"',
                'path = "clean.json"',
                'base_url = "localhost"',
            ),
            "expected an address with http:// or https://*; got 'localhost'",
        ),
    ],
)
def test_a_pattern_is_told_in_words(pytester, suite, change, said):
    path = suite()
    text = path.read_text(encoding="utf-8")
    for old, new in zip(change[::2], change[1::2], strict=True):
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    result = pytester.runpytest(*RUN)
    result.stdout.fnmatch_lines([f"*{said}"])
    result.stdout.no_fnmatch_line("*should match pattern*")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("release.toml", "mv release.toml release.memleak.toml, or add -o memleak_suites=release"),
        ("story.epub", "memleak try story.epub --model openai/NAME"),
    ],
)
def test_a_file_that_is_no_suite_by_its_name(pytester, suite, name, said):
    suite(name="release.toml")
    shutil.copy(STORY, pytester.path / "story.epub")
    result = pytester.runpytest(*RUN, name)
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"  {said}*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    # Beside a suite it is a file like any other.
    suite()
    pytester.runpytest("--collect-only", "-q").assert_outcomes()


def test_no_suite_at_all(pytester):
    result = pytester.runpytest(*RUN)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["  memleak init writes one; memleak demo runs one"])
    pytester.runpytest().stdout.no_fnmatch_line("*memleak init*")


ASKED = """
[limits]
longest_passage = 38
[[book]]
id = "story"
source = "story.epub"
[[model]]
id = "m"
provider = "ngram"
[model.options]
order = 2
pretraining = ["story"]
"""


@pytest.mark.parametrize("option", [(), ("--memleak-dry-run",)])
def test_a_book_without_instructions(pytester, option):
    shutil.copy(STORY, pytester.path / "story.epub")
    (pytester.path / "it.memleak.toml").write_text(ASKED)
    result = pytester.runpytest(*RUN, *option)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (told, *_) = [one for one in result.outlines if "excerpts have no instruction" in one]
    assert "31 of 31" in told
    for way in ('summaries = "FILE"', "[suite.summarizer]", 'probe = "continuation"'):
        assert way in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tyr", "it.epub"], "did you mean try?"),
        ([], "run memleak --help for usage"),
        (["prepare", "it.epub"], "add -o BOOK.json, or --explain"),
        (["prepare", "gone.epub", "-o", "it.json"], "No such file in /"),
        (["prepare", "stori.txt", "-o", "it.json"], "did you mean story.txt?"),
        (["prepare", "no/story.txt", "-o", "it.json"], "No such folder: no"),
        (["prepare", ".", "-o", "it.json"], "for a collection, write a pattern: '**'"),
        (["try", "stori.txt", "--model", "openai/base"], "did you mean story.txt?"),
        (["try", "it.epub", "--model", "gpt-4o"], "as in --model openai/gpt-4o"),
        (["verify", "gone.json"], "No such file in /"),
        (["ledger", "list"], "name the ledger with --ledger"),
        (["score", "--k", "five", "a", "b"], "run memleak score --help for usage"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_at_the_command_line(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "story.txt").write_text("It was so.")
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    error = capsys.readouterr().err
    assert said in error.splitlines()[-1]
    assert "Traceback" not in error


def test_a_measure_misspelt_in_a_test():
    evaluation = SimpleNamespace(analysis=None, extraction=None, measurement=SimpleNamespace())
    with pytest.raises(AttributeError, match="did you mean 'longest_passage'"):
        _ = Memorization(evaluation, None).longest_passages
