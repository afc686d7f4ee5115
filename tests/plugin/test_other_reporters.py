"""No reporter of anybody's tells 13 words of a book or an answer; with --memleak-quote 0, none."""

import json
import re

import pytest
from marks import full
from test_redaction import grams

for plugin in ("pytest_jsonreport", "pytest_reportlog", "pytest_html", "allure_pytest"):
    pytest.importorskip(plugin)

# What a careless user's tests may do with a text. `text` is the book's, then an answer's.
WAYS = {
    "asserts": "assert text == ''",
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
    "numbers": "raise ValueError('\\n'.join(f'{n} {w}' for n, w in enumerate(text.split())))",
    "underlines": "raise ValueError('_'.join(text.split()))",
    "shouts": "raise ValueError(text.upper())",
    "escapes": "raise ValueError(ascii(text.replace(' ', chr(8201))))",
    "dumps": "raise ValueError(json.dumps(text.split()))",
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
    "xfails_by_mark": "request.node.add_marker(pytest.mark.xfail(reason=text))\n"
    "    assert not text",
}
# In other looks, and in pieces: whose text it is makes no difference to them.
LOOKS = {
    "escapes_for_html": "import html\n    raise ValueError(html.escape(ascii(text)))",
    "escapes_for_a_url": "import urllib.parse\n    raise ValueError(urllib.parse.quote(text))",
    "encodes": "assert text.encode() == b''",
    "encodes_as_json": "assert json.dumps({'a': text}) == ''",
    "decomposes": "import unicodedata\n    assert unicodedata.normalize('NFD', text) == ''",
    "colours": "raise ValueError(' '.join(f'\\x1b[1;31m{w}\\x1b[39;49;00m' for w in text.split()))",
    "hyphenates": "raise ValueError(chr(173).join(text))",
    "reads_numbers": "import re\n    assert re.findall('.', text) == []",
    "notes_words": "error = ValueError('x')\n    for word in text.split():\n"
    "        error.add_note(word)\n    raise error",
    "groups_words": "raise ExceptionGroup('x', [ValueError(word) for word in text.split()])",
    "chains_words": "error = None\n    for word in text.split()[:18]:\n"
    "        new = ValueError(word)\n        new.__cause__ = error\n        error = new\n"
    "    raise error",
    "records_by_the_word": "for n, word in enumerate(text.split()):\n"
    "        record_property(f'w{n}', word)",
    "records_by_the_line": "for n, word in enumerate(text.split('.')):\n"
    "        record_property('line', ' '.join(word.split()[:9]))",
    "warns_by_the_word": "for word in text.split():\n        warnings.warn(word)",
    "subtests_by_the_word": "for word in text.split()[:18]:\n"
    "        with subtests.test(word):\n            assert 0",
}
FIXTURES = (
    "book, evaluation, endpoint, record_property, record_testsuite_property, subtests, request"
)
HEAD = """
import json, logging, pytest, warnings
pytestmark = pytest.mark.copyright(suite="online.memleak.toml")
"""
HARMLESS = """
def test_harmless(evaluation):
    warnings.warn("x")
    assert 0
"""
TEXTS = {
    "book": "text = ' '.join(one.text for one in book.excerpts)",
    "answer": "text = next(iter(evaluation.generations())).text",
    "sampled": "text = endpoint.sample(book.excerpts[0].instruction, n=1, temperature=1.0,"
    " max_tokens=300, seed=1)[0].text",
}
IN_FIXTURES = """
@pytest.fixture
def broken(book):
    raise ValueError(" ".join(one.text for one in book.excerpts))

def test_of_a_broken_fixture(broken): pass

@pytest.fixture
def left(book):
    yield
    raise ValueError(" ".join(one.text for one in book.excerpts))

def test_of_a_fixture_that_breaks_afterwards(left): pass

def test_without_an_evaluation(book):
    assert " ".join(one.text for one in book.excerpts) == ""
"""


def careless():
    tests = [
        f"def test_{name}_of_{whose}({FIXTURES}):\n    {text}\n    {way}\n"
        for name, way in (WAYS | LOOKS).items()
        for whose, text in TEXTS.items()
        if whose == "book" or name in WAYS
    ]
    return HEAD + "\n".join(tests) + IN_FIXTURES


@pytest.fixture(autouse=True)
def _with_others(monkeypatch, _only_our_plugin):
    others = ("html", "metadata", "allure_pytest", "pytest_jsonreport", "pytest_reportlog")
    plugins = ("memleak", "xdist", *others)
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p {name}" for name in plugins))


@pytest.fixture
def written(pytester, online):
    """Runs them with every reporter, and gives all that was written by name."""

    def go(*options, tests):
        online()
        pytester.makepyfile(test_own=tests)
        result = pytester.runpytest_subprocess(
            *("test_own.py", "-m", "copyright", "-p", "no:cacheprovider"),
            *("--junitxml=junit.xml", "-o", "junit_logging=all", "--log-file=log.txt"),
            *("--json-report", "--json-report-file=report.json", "--report-log=log.jsonl"),
            *("--html=other.html", "--self-contained-html", "--alluredir=allure"),
            *("--memleak-html=report.html", "--memleak-evidence=evidence.json"),
            *("--log-level=DEBUG", "--xfail-tb", "-rA", "-l", *options),
        )
        names = ("junit.xml", "log.txt", "report.json", "log.jsonl", "other.html")
        files = [pytester.path / name for name in (*names, "report.html", "evidence.json")]
        files += sorted((pytester.path / "allure").iterdir())
        found = {one.name: one.read_text("utf-8") for one in files}
        return found | {"stdout": result.stdout.str(), "stderr": result.stderr.str()}

    return go


@pytest.fixture
def protected(pytester, stories):
    """The books' and answers' texts, once a run has ended."""
    import sqlalchemy as sa

    from pytest_memleak.ledger import tables as schema
    from pytest_memleak.ledger.ledger import Ledger

    def texts():
        own = [record["excerpt_text"] for story in stories.values() for record in story]
        with Ledger(f"sqlite:///{pytester.path}/.memleak/ledger.db", create=False) as ledger:
            wanted = sa.select(schema.generations.c.text)
            drawn = ledger.read(lambda connection: connection.execute(wanted).scalars().all())
        assert drawn
        return [*own, *drawn]

    return texts


def undone(text):
    """What a text says once numbers, underscores and pytest's marks between words are gone."""
    text = re.sub(r"\\u[0-9a-f]{4}|\\[nrt]", " ", text)
    return re.sub(r"[\d_]+|\bE\b", " ", text)


@pytest.mark.parametrize(
    "options",
    [
        full(("-vv", "--full-trace", "-o", "log_cli=true")),
        full(("-n", "2")),
        ("--tb=short", "-q"),
    ],
    ids=" ".join,
)
def test_no_thirteen_words_are_in_any_of_them(written, protected, options):
    found = written(*options, tests=careless())
    kept = set().union(*(grams(undone(text)) for text in protected()))
    assert f"test_{list(WAYS)[-1]}_of_answer" in found["report.json"]
    for name, text in found.items():
        for said in (text, undone(text)):
            told = kept & grams(said)
            assert not told, f"{name}: {min(told)}"


@pytest.mark.parametrize(
    "options",
    [("--tb=short", "-q"), full(("-vv",))],
    ids=" ".join,
)
def test_with_quote_0_there_is_no_word_in_any_of_them(written, protected, options):
    # What reporters say of any test, and of the machine.
    usual = written(*options, "--memleak-quote=0", tests=HEAD + HARMLESS)
    said_anyway = set().union(*map(words_of, [careless(), *usual.values()]))
    found = written(*options, "--memleak-quote=0", tests=careless())
    kept = {word for word in set().union(*map(words_of, protected())) if len(word) > 7}
    for name, text in found.items():
        told = (kept - said_anyway) & words_of(text)
        assert not told, f"{name}: {sorted(told)}"


def words_of(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def test_of_parameters_allure_tells_the_ids(pytester, suite):
    suite()
    pytester.runpytest("--alluredir=allure", "-k", "clean").assert_outcomes(passed=1, deselected=1)
    (result,) = (pytester.path / "allure").glob("*-result.json")
    told = json.loads(result.read_text("utf-8"))["parameters"]
    assert [(one["name"], one["value"]) for one in told] == [("pair", "clean/ferry")]


# What ends the whole run ends it after what it says: one run for each.
ENDS = {
    "exits_pytest": "pytest.exit(text)",
    "exits_pytest_with_a_code": "pytest.exit(text, returncode=3)",
    "interrupts": "raise KeyboardInterrupt(text)",
    "stops": "request.session.shouldstop = text",
    "fails_the_run": "request.session.shouldfail = text",
}


@pytest.mark.parametrize("way", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("most", ["12", full("0")])
def test_what_ends_a_run_is_no_quote_either(written, protected, way, most):
    whole = "\n    ".join([TEXTS["book"], way])
    tests = f"{HEAD}\ndef test_it({FIXTURES}):\n    {whole}\n"
    found = written("--full-trace", f"--memleak-quote={most}", tests=tests)
    texts = protected()
    kept = set().union(*(grams(undone(text)) for text in texts))
    for name, text in found.items():
        told = kept & grams(undone(text))
        assert not told, f"{name}: {min(told)}"
    assert "withheld, since they may quote" in found["stdout"] or most == "12"
