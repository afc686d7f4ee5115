"""Tests that read text leave no 13 words of it in any report; tests that read none are in full."""

import html
import json
import re

import pytest
from ledger_file import generated_texts
from marks import full
from quoted_words import REPORT_FILES, grams
from suite_files import write_json

for plugin in ("pytest_jsonreport", "pytest_reportlog", "pytest_html", "allure_pytest"):
    pytest.importorskip(plugin)

# What a careless user's tests may do with a text. `text` is the book's, then an
# answer's.
WAYS = {
    "asserts": "assert text == ''",
    "compares_texts": "assert text == text + 'x'",
    "compares_lists": "assert text.split() == []",
    "compares_dicts": "assert dict(enumerate(text.split())) == {}",
    "raises": "raise ValueError(text)",
    "raises_from": "raise KeyError('x') from ValueError(text)",
    "raises_while_handling": "try:\n        raise ValueError(text)\n    except ValueError:\n"
    "        raise RuntimeError('later')",
    "notes": "error = ValueError('x')\n    error.add_note(text)\n    raise error",
    "groups": "raise ExceptionGroup('some', [ValueError(text)])",
    "fails": "pytest.fail(text)",
    "fails_plainly": "pytest.fail(text, pytrace=False)",
    "skips": "pytest.skip(text)",
    "xfails": "pytest.xfail(text)",
    "prints": "print(text)",
    "prints_and_fails": "print(text)\n    assert not text",
    "prints_errors": "import sys\n    print(text, file=sys.stderr)\n    assert 0",
    "logs": "logging.getLogger('own').error(text)",
    "logs_by_parts": "logging.getLogger('own').error('%s', text)\n    assert 0",
    "logs_words": "for word in text.split():\n        logging.getLogger('own').error(word)",
    "logs_traces": "try:\n        raise ValueError(text)\n    except ValueError:\n"
    "        logging.getLogger('own').exception('x')",
    "warns": "warnings.warn(text)",
    "warns_and_fails": "warnings.warn(text)\n    assert 0",
    "warns_of_a_kind": "warnings.warn(DeprecationWarning(text))",
    "tokens": "raise ValueError('Ġ'.join(text.split()))",
    "tags": "raise ValueError(' '.join(f'{word}/NN' for word in text.split()))",
    "notes_words": "error = ValueError('x')\n    for word in text.split():\n"
    "        error.add_note(word)\n    raise error",
    "warns_by_the_word": "for word in text.split():\n        warnings.warn(word)",
    "subtests_by_the_word": "for word in text.split()[:18]:\n"
    "        with subtests.test(word):\n            assert 0",
    "keeps_locals": "words = text.split()\n    copy = {'a': [text]}\n    assert 0",
    "exits": "raise SystemExit(text)",
    "records": "record_property('text', text)",
    "records_words": "record_property('text', text.split())",
    "records_in_xml": "record_testsuite_property('text', text)",
    "says_in_a_subtest": "with subtests.test(text):\n        assert not text",
    "says_in_a_subtest_s_name": "with subtests.test('x', text=text):\n        print(text)",
    "skips_a_subtest": "with subtests.test('x'):\n        pytest.skip(text)",
    "calls": "def inner(argument):\n        assert not argument\n    inner(text)",
    "own_kind": "class Own(Exception):\n        def __str__(self): return text\n    raise Own",
    "own_repr": "class Own:\n        def __repr__(self): return text\n    assert Own() is None",
    "asserts_with_words": "assert 0, text",
    "xpasses": "request.node.add_marker(pytest.mark.xfail(reason=text, strict=True))",
    "prints_to_capsys": "capsys = request.getfixturevalue('capsys')\n    print(text)\n    assert 0",
    "adds_a_section": "request.node.add_report_section('call', 'x', text)\n    assert 0",
    "makes_a_record": "record = logging.makeLogRecord({'msg': text, 'levelno': 40})\n"
    "    logging.getLogger('own').handle(record)",
    "filters_records": "own = logging.getLogger('filtered')\n"
    "    own.addFilter(lambda record: setattr(record, 'msg', text) or True)\n"
    "    own.error('x')",
    "logs_extra": "logging.getLogger('own').error('x', extra={'excerpt': text})",
    "xfails_by_the_module_s_mark": "mark = pytest.mark.xfail(reason=text)\n"
    "    request.node.parent.add_marker(mark)\n    assert not text",
    "tells_a_hook": "request.node.seen = text\n    assert 0",
    "xfails_by_mark": "request.node.add_marker(pytest.mark.xfail(reason=text))\n"
    "    assert not text",
}
FIXTURES = (
    "memleak_book, memleak_evaluation, memleak_endpoint, "
    "record_property, record_testsuite_property, subtests, request"
)
HEAD = """
import json, logging, pytest, warnings
pytestmark = pytest.mark.copyright(suite="online.memleak.toml")
"""
HOOK = """
import pytest
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    report = yield
    if seen := getattr(item, "seen", ""):
        report.longrepr, report.description = Exception(seen), seen
        report.extras = [seen]
    return report
"""
HARMLESS = """
def test_harmless(memleak_evaluation):
    warnings.warn("x")
    assert 0
"""
TEXTS = {
    "book": "text = ' '.join(excerpt.text for excerpt in memleak_book.excerpts)",
    "answer": "text = next(iter(memleak_evaluation.generations())).text",
}
OTHERS = """
@pytest.fixture
def broken(memleak_book):
    raise ValueError(" ".join(excerpt.text for excerpt in memleak_book.excerpts))
def test_of_a_broken_fixture(broken): pass
@pytest.fixture
def left(memleak_book):
    yield
    raise ValueError(" ".join(excerpt.text for excerpt in memleak_book.excerpts))
def test_of_a_fixture_that_breaks_afterwards(left): pass
def test_of_a_sample(memleak_book, memleak_endpoint):
    asked = {"n": 1, "temperature": 1.0, "max_tokens": 300, "seed": 1}
    (completion,) = memleak_endpoint.sample(memleak_book.excerpts[0].instruction, **asked)
    assert completion.text == ""

def test_of_a_measure(memorization):
    assert memorization.longest_span == 0, memorization

@pytest.mark.parametrize("exc_info", [False, True])
def test_of_what_reads_text_when_it_is_logged(memleak_book, exc_info):
    class Lazy(Exception):
        def __str__(self):
            return memleak_book.excerpts[0].text
    logging.getLogger("own").error("lazily: %s", Lazy(), exc_info=Lazy() if exc_info else None)
    assert not exc_info
"""


def careless(every):
    """Each way with each text; or with one of them, by turns."""
    tests = [
        f"def test_{name}_of_{whose}({FIXTURES}):\n    {text}\n    {way}\n"
        for number, (name, way) in enumerate(WAYS.items())
        for turn, (whose, text) in enumerate(TEXTS.items())
        if every or turn == number % 2
    ]
    return HEAD + "\n".join(tests) + OTHERS


@pytest.fixture(autouse=True)
def _with_others(monkeypatch, _only_our_plugin):
    others = (
        "html",
        "metadata",
        "allure_pytest",
        "pytest_jsonreport",
        "pytest_reportlog",
    )
    plugins = ("memleak", "xdist", *others)
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p {name}" for name in plugins))


@pytest.fixture
def written(pytester, online, stories, monkeypatch):
    """Runs them with every reporter, and gives all that was written by name."""

    def go(*options, tests, run="runpytest_subprocess"):
        online(("samples = 6", "samples = 2"))
        write_json("held-out.json", stories["held-out"][:2])
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step.md"))
        pytester.makepyfile(test_own=tests, conftest=HOOK)
        result = getattr(pytester, run)(
            *(
                "test_own.py",
                "-m",
                "copyright",
                "-p",
                "no:cacheprovider",
                "-W",
                "default",
            ),
            *("--junitxml=junit.xml", "-o", "junit_logging=all", "--log-file=log.txt"),
            *(
                "--json-report",
                "--json-report-file=report.json",
                "--report-log=log.jsonl",
            ),
            *("--html=other.html", "--self-contained-html", "--alluredir=allure"),
            *(f"{option}={name}" for option, name in REPORT_FILES.items()),
            *("--log-level=DEBUG", "--xfail-tb", "-rA", "-l", *options),
        )
        names = (
            "junit.xml",
            "log.txt",
            "report.json",
            "log.jsonl",
            "other.html",
            "step.md",
        )
        files = [pytester.path / name for name in (*names, *REPORT_FILES.values())]
        files += sorted((pytester.path / "allure").iterdir())
        texts = {path.name: path.read_text("utf-8") for path in files}
        return texts | {"stdout": result.stdout.str(), "stderr": result.stderr.str()}

    return go


@pytest.fixture
def protected(pytester, stories):
    """The books' and answers' texts, once a run has ended."""

    def texts():
        generated = generated_texts(pytester.path)
        assert generated
        return [
            *generated,
            *(row["excerpt_text"] for story in stories.values() for row in story),
        ]

    return texts


def assert_not_copied(shown, protected_texts):
    """No text that was written holds so many words of a protected one."""
    kept = set().union(*(grams(undone(text)) for text in protected_texts))
    for name, text in shown.items():
        copied = kept.intersection([*grams(text), *grams(undone(text))])
        assert not copied, f"{name}: {min(copied)}"


def undone(text):
    """What a text says once numbers, tags and marks between its words are gone."""
    text = re.sub(r"\\u[0-9a-f]{4}|\\[nrt]", " ", text)
    return re.sub(r"[\d_Ġ]+|\bE\b|/NN\b", " ", text)


LIVE = (
    "stdout",
    "stderr",
)  # with --capture=tee-sys, where tests print to the terminal themselves
MODES = [
    *(("-n", "2"), ("--tb=native",), ("--capture=tee-sys",)),
    ("--full-trace", "-vv", "-o", "log_cli=true"),
]


@pytest.mark.parametrize(
    ("every", "options"),
    [(False, ()), full(True, ()), *(full(True, mode) for mode in MODES)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_careless_tests_leave_no_thirteen_words_in_any_report(
    written, protected, every, options
):
    tests = careless(every)
    count = tests.count("\ndef test_")
    assert count == (103 if every else 54)
    run = "runpytest_subprocess" if every else "runpytest"
    texts = written(*options, tests=tests, run=run)
    assert f"test_{list(WAYS)[-1]}_of_" in texts["report.json"]
    assert "“" in texts["stdout"]  # something is quoted, only not much
    assert '"memleak":' not in texts["log.jsonl"]
    live = LIVE if "--capture=tee-sys" in options else ()
    assert_not_copied({name: texts[name] for name in texts.keys() - live}, protected())
    reported = [test["nodeid"] for test in json.loads(texts["report.json"])["tests"]]
    assert len({node_id.partition("[")[0] for node_id in reported}) == count
    assert re.search(
        r"AssertionError: test_own\.py:\d+: redacted, .*--memleak-quote full",
        texts["junit.xml"],
    )


@pytest.mark.full
@pytest.mark.parametrize("options", [("--tb=short", "-q"), ("-vv",)], ids=" ".join)
def test_reports_hold_no_word_of_a_book_with_quote_0(written, protected, options):
    # What reporters say of any test, and of the machine.
    usual = written(*options, "--memleak-quote=0", tests=HEAD + HARMLESS)
    shown_anyway = set().union(*map(words_of, [careless(True), *usual.values()]))
    texts = written(*options, "--memleak-quote=0", tests=careless(True))
    kept = {word for word in set().union(*map(words_of, protected())) if len(word) > 7}
    for name, text in texts.items():
        copied = (kept - shown_anyway) & words_of(text)
        assert not copied, f"{name}: {sorted(copied)}"


def words_of(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def test_allure_shows_the_ids_of_parameters(pytester, gate, suite):
    suite()
    gate("--alluredir=allure", "-k", "clean", passed=1, deselected=1)
    (result,) = (pytester.path / "allure").glob("*-result.json")
    (parameter,) = json.loads(result.read_text("utf-8"))["parameters"]
    assert (parameter["name"], parameter["value"]) == ("memleak_pair", "clean/ferry")


HONEST = """
def test_counts(memleak_book):
    assert len(memleak_book.excerpts) == 3
def test_measures(memorization, memleak_book):
    assert memorization.longest_span <= 3, [excerpt.id for excerpt in memleak_book.excerpts]
def test_generates(memleak_evaluation):
    lengths = [generation.completion_tokens for generation in memleak_evaluation.generations()]
    assert len(lengths) == 2, "so many were drawn for the excerpts of the book that is held out"
def test_raises(memleak_pair, memleak_endpoint):
    print("a line that tells a reader which model was looked at in this run of all of them")
    raise RuntimeError(f"no test that reads nothing has to hide {memleak_pair.id} and more")
def test_skips(memleak_book):
    pytest.skip("there is no other edition of this book here to hold it against, so it is skipped")
def test_records(memleak_book, record_property):
    title = memleak_book.title
    record_property("title", f"{title} has parts, of which some are longer than others are")
    warnings.warn("its summaries were written by hand, and some are longer than others will be")
    logging.getLogger("own").warning(
        "the book %s was read from a file with all of its chapters in order", memleak_book.id
    )
    assert 0
"""


def test_six_honest_tests_are_reported_in_full(written):
    texts = written(tests=HEAD + HONEST, run="runpytest")
    for report in ("junit.xml", "report.json", "log.jsonl", "stdout"):
        text = " ".join(html.unescape(texts[report]).replace("\\n", " ").split())
        assert "redacted" not in text, report
        for shown in (
            "assert 2 == 3",
            "longest span of",
            "assert 6 == 2",
            "so many were drawn for the excerpts of the book that is held out",
            "a line that tells a reader which model was looked at in this run of all "
            "of them",
            "no test that reads nothing has to hide tuned/held-out and more",
            "there is no other edition of this book here to hold it against, so it is "
            "skipped",
            "was read from a file with all of its chapters in order",
        ):
            assert shown in text, (report, shown)
    title = "The Lamplighter of Saltmarsh Row has parts, of which some are longer than others are"
    assert title in texts["junit.xml"]
    assert title in texts["log.jsonl"]
    assert (
        "its summaries were written by hand, and some are longer than"
        in texts["stdout"]
    )
