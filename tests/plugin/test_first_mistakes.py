"""A beginner's mistakes: each ends in a line that says what to type."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_memleak.cli.main import main
from pytest_memleak.plugin.outcomes import Memorization

STORY = Path(__file__).parents[2] / "fixtures" / "books" / "the-lamplighter.epub"
RUN = ("-m", "copyright")
LIMIT = "longest_span = 10"
OF_LEAKY = 'id = "leaky"'
# What is changed in a suite, and what its last line says to do; what it says is wrong.
SUITES = {
    "[book] for [[book]]": (("[[book]]", "[book]"), "write [[book]] instead of [book]"),
    "[[limits]] for [limits]": (("[limits]", "[[limits]]"), "write [limits] instead of"),
    "a column's name": (("longest_span =", '"longest span" ='), "write longest_span instead of"),
    "the paper's name": ((LIMIT, '"BMC@5" = 0.2'), "write bmc instead of BMC@5"),
    "a limit among the settings": (
        ("samples = 3", "samples = 3\nbmc = 0.1"),
        "bmc is a key of [limits]; move it there",
    ),
    "a title": (("longest_span =", '"Coverage" ='), "write bmc instead of Coverage"),
    "a column that is no measure": (
        (LIMIT, "detection_limits = 0.05"),
        "detection_limit is a key of [suite]; move it there",
    ),
    "per cent": ((LIMIT, "bmc = 15"), "for 15%, write bmc = 0.15"),
    "a number in quotes": (("samples = 3", 'samples = "3"'), "write samples = 3 without quotes"),
    "per cent in quotes": ((LIMIT, 'bmc = "15%"'), "write bmc = 0.15"),
    "a number in words": (("samples = 3", 'samples = "many"'), "correct samples; "),
    "a number that is too small": (("samples = 3", "samples = 0"), ""),
    "a heading left open": (("[suite]", "[suite"), "close the heading, as in [suite]"),
    "a key twice": (("samples = 3", "samples = 3\nsamples = 4"), "remove one of the two"),
    "a preset misspelt": ((LIMIT, 'preset = "strickt"'), 'did you mean "strict"?'),
    "another tool's key": (
        ('provider = "recorded"', 'provider = "recorded"\nmodel = "m"'),
        "write base_model instead of model",
    ),
    "a typing error": (("samples", "sampels"), "write samples instead of sampels"),
    "a limit misspelt": (("longest_span = 10", "longest_sapn = 10"), ""),
    "a key of nothing": (("[[book]]", "junk = 1\n[[book]]"), ""),
    "a path of Windows": (('"ferry.json"', r'"C:\Books\ferry.json"'), "write paths with /: "),
    "a text without quotes": (('"ferry.json"', "ferry.json"), "put texts in quotes, as in"),
    "a provider misspelt": (('"recorded"', '"recoded"'), "did you mean 'recorded'?"),
    "a key left out": (('provider = "recorded"', ""), "add provider = ..."),
    "a book that is not there": (('source = "f', 'source = "g'), "paths are relative to the suite"),
    "no limits": ((LIMIT, ""), "add [limits], such as longest_span = 38"),
    "a key in the suite": (
        ("samples = 3", 'samples = 3\napi_key = "hunter2hunter2"'),
        "set the provider's environment variable instead",
    ),
    "a secret in the suite": (
        ("samples = 3", "samples = 3\nsk = 'sk-abcdefgh1234567890abcdefgh'"),
        "",
    ),
    "a secret among the options": (
        ('path = "leaky.json"', 'path = "leaky.json"\napi_key = "hunter2hunter2"'),
        "",
    ),
    "an option misspelt": (('path = "clean', 'paht = "clean'), "write path in place of paht"),
    "an option of no provider": (
        ('path = "leaky.json"', 'path = "leaky.json"\nspeed = 3'),
        "options may have: ",
    ),
    "an option above its table": (
        ('provider = "recorded"', 'provider = "recorded"\nbase_url = "http://localhost/v1"'),
        "base_url is a key of [model.options]; move it there",
    ),
    "an id with a blank": (('id = "ferry"', 'id = "the ferry"'), 'write id = "the-ferry"'),
    "an id with a slash": ((OF_LEAKY, 'id = "lea/ky"'), ""),
    "an id twice": ((OF_LEAKY, 'id = "clean"'), ""),
    "a baseline that is not there": ((OF_LEAKY, f'{OF_LEAKY}\nbaseline_model = "none"'), ""),
    "a limit that is looser": ((OF_LEAKY, f"{OF_LEAKY}\nlimits = {{ longest_span = 11 }}"), ""),
    "an address without http": (
        (
            'provider = "recorded"\n[model.options]\npath = "clean.json"',
            'provider = "openai"\nbase_model = "m"\n[model.options]\nbase_url = "localhost"',
        ),
        "",
    ),
}
WRONG = {
    "a number in words": "suite.samples: *integer; got 'many'",
    "a number that is too small": "suite.samples: *greater than or equal to 1; got 0",
    "a heading left open": "*: not TOML: *line 2*",
    "a typing error": "suite.sampels: unknown key; did you mean 'samples'?",
    "a limit misspelt": "limits.longest_sapn: unknown key; did you mean*",
    "a key of nothing": "limits.junk: unknown key*",
    "a provider misspelt": "*unknown provider 'recoded'; known*",
    "a book that is not there": "book 'ferry'.source: no such file*",
    "no limits": "pair clean/ferry has no limits, so it can't fail",
    "a secret in the suite": "*looks like a secret*",
    "a secret among the options": "*secret*",
    "an option of no provider": "*model 'leaky': unknown key 'options.speed'*",
    "an id with a blank": "*expected letters, digits, '.', '_' and '-' alone*",
    "an id with a slash": "model[[]2] 'lea/ky'.id: *got 'lea/ky'",
    "an id twice": "model: duplicate id 'clean'",
    "a baseline that is not there": "*model 'leaky'.baseline_model: *no such id: 'none'*",
    "a limit that is looser": "*: 11 is looser than 10*",
    "an address without http": "*expected an address with http:// or https://*; got 'localhost'",
}


@pytest.mark.parametrize("mistake", SUITES)
def test_in_a_suite_file(suite, gate, mistake):
    change, fix = SUITES[mistake]
    suite(change)
    result = gate(*RUN, lines=[f"*{WRONG.get(mistake, '')}"], errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    text = result.stdout.str()
    assert "test.memleak.toml" in text
    if fix:
        assert fix in [line for line in result.outlines if line.startswith("  ")][-1]
    for never in ("Traceback", "should match pattern", "hunter2hunter2", "abcdefgh1234567890"):
        assert never not in text


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_suite_in_another_encoding(suite, gate, encoding):
    path = suite(('id = "ferry"', 'id = "ferry"\ntitle = "Caf\xe9"'))
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    gate(*RUN, lines=["  save the file as UTF-8*"])


def test_control_characters_of_its_name_and_keys_do_not_act_on_the_terminal(suite, gate):
    suite(("[suite]", '[suite]\n"\\u001b[31m" = 1')).rename("a\x1b[31m.memleak.toml")
    result = gate(errors=1)
    assert "\\x1b" in result.stdout.str()
    assert "\x1b" not in result.stdout.str() + result.stderr.str()


def test_a_training_book_that_holds_the_test_book_is_refused(suite, gate):
    training = '[[book]]\nid = "other"\nrole = "train"\nsource = "ferry.json"'
    suite(
        ('source = "ferry.json"', f'source = "ferry.json"\n{training}'),
        (
            f'{OF_LEAKY}\nprovider = "recorded"\n[model.options]\npath = "leaky.json"',
            f'{OF_LEAKY}\nprovider = "ngram"\n[model.finetune]\nbooks = ["other"]',
        ),
    )
    shown = "*it shares 100.0% of its words*'other'*'leaky' is fine-tuned on; test*"
    gate("-k", "leaky", lines=[shown], errors=1, deselected=1)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            "suit='x'",
            [
                "*copyright takes suite=*suit*",
                '  write @pytest.mark.copyright(suite="release.memleak.toml")',
            ],
        ),
        ("suite='no.toml'", ["*no.toml: cannot be read: No such file or directory*"]),
    ],
)
def test_a_mark_that_names_no_suite(pytester, suite, gate, arguments, lines):
    suite()
    mark = f"@pytest.mark.copyright({arguments})"
    pytester.makepyfile(f"import pytest\n{mark}\ndef test_it(memorization): pass")
    assert gate(lines=lines).ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("release.toml", "mv release.toml release.memleak.toml, or add -o memleak_suites=release"),
        ("story.epub", "memleak try story.epub --model openai/NAME"),
    ],
)
def test_a_file_that_is_no_suite_by_its_name(pytester, suite, gate, name, fix):
    suite(name="release.toml")
    shutil.copy(STORY, pytester.path / "story.epub")
    result = gate(*RUN, name, lines=[f"  {fix}*"])
    assert result.ret != 0
    result.stdout.no_fnmatch_line("*Traceback*")
    # Beside a suite it is a file like any other.
    suite()
    result = gate("--collect-only", "-q", lines=["test.memleak.toml::test_memorization[[]clean/*"])
    result.assert_outcomes()
    result.stdout.no_fnmatch_line("*release.toml*")


def test_patterns_of_suite_names(pytester, suite, gate):
    suite(name="release.gate")
    suite(name="other.toml")
    pytester.makeini("[pytest]\nmemleak_suites = *.gate oth?r.toml\n")
    gate("--collect-only", "-q", lines=["other.toml::*", "release.gate::*"])


def test_python_functions_does_not_hide_a_suites_test(pytester, suite, gate):
    suite()
    pytester.makeini("[pytest]\npython_functions = check_*\n")
    gate(passed=1, failed=1)


# --- a limit that nothing in the book could break ------------------------------------------


@pytest.mark.parametrize(
    ("limits", "of_suite"),
    [
        ("longest_span = 101", ""),
        ("longest_block = 100000", ""),
        ("longest_passage = 101", ""),
        ("nv_longest_passage = 101\nlongest_block = 101", ""),
        ("spans_over = 0", "span_threshold = 101"),
        ("passages_over = 0", "span_threshold = 100000"),
        ("spans_over = 101\nbmc = 1.0", "span_threshold = 4"),
    ],
)
def test_a_limit_that_nothing_is_long_enough_for_gates_nothing(suite, gate, limits, of_suite):
    suite((LIMIT, limits), ("[suite]", f"[suite]\n{of_suite}"))
    text = gate(errors=2).stdout.str()
    assert "is long enough to exceed a limit of pair leaky/ferry" in text
    assert limits.splitlines()[0] in text
    assert "the longest excerpt has 16 words" in text
    assert "such as bmc = 0.15" in text


@pytest.mark.parametrize(
    ("limits", "of_suite", "outcomes"),
    [
        ("longest_span = 100", "", {"passed": 2}),
        ("spans_over = 0", "span_threshold = 100", {"passed": 2}),
        ("longest_span = 100000\nlongest_block = 15", "", {"passed": 1, "failed": 1}),
    ],
)
def test_one_limit_that_can_be_broken_is_enough(suite, gate, limits, of_suite, outcomes):
    suite((LIMIT, limits), ("[suite]", f"[suite]\n{of_suite}"))
    gate(**outcomes)


@pytest.mark.parametrize(
    ("role", "outcomes"), [("test", {"passed": 2, "deselected": 2}), ("train", {"errors": 2})]
)
def test_another_book_of_the_suite_may_be_long_enough(pytester, suite, gate, role, outcomes):
    text = " ".join(f"word{n} of another book" for n in range(60))
    (pytester.path / "other.json").write_text(
        f'[{{"excerpt_id": "1", "excerpt_text": "{text}", "instruction": "Write about it."}}]'
    )
    clean = '[[model]]\nid = "clean"'
    other = f'[[book]]\nid = "other"\nsource = "other.json"\nrole = "{role}"\n\n{clean}'
    suite((LIMIT, "longest_passage = 200"), (clean, other))
    gate("-k", "ferry", **outcomes)


def test_it_is_told_before_anything_is_paid_for(online, server, gate):
    online(("longest_span = 30", "longest_span = 3000"))
    shown = "*is long enough to exceed a limit of pair tuned/held-out*"
    gate("--memleak-dry-run", lines=[shown])
    gate(*RUN, errors=1)
    assert server.plan.counts() == {}


def test_a_leak_that_is_expected_needs_a_limit_that_can_be_broken(suite, gate):
    suite((LIMIT, "longest_span = 101"), (OF_LEAKY, f'{OF_LEAKY}\nexpected = "leak"'))
    gate("-k", "leaky", errors=1, deselected=1)


# --- no suite, no instructions, the command line -------------------------------------------


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
    (shown, *_) = [line for line in result.outlines if "excerpts have no instruction" in line]
    for text in ("31 of 31", 'summaries = "FILE"', "[suite.summarizer]", 'probe = "continuation"'):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "fix"),
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
def test_at_the_command_line(capsys, tmp_path, monkeypatch, arguments, fix):
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


def test_a_measure_misspelt_in_a_test():
    evaluation = SimpleNamespace(analysis=None, extraction=None, measurement=SimpleNamespace())
    with pytest.raises(AttributeError, match="did you mean 'longest_passage'"):
        _ = Memorization(evaluation, None).longest_passages
