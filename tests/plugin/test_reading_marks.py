"""Reading text marks a test, by itself or by a fixture that outlives it; nothing else does."""

import copy
import dataclasses
import pickle
import re

import pytest

from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.plugin import reporting_views as views
from pytest_memleak.records import Book, Excerpt, Generation
from pytest_memleak.verdict.evaluation import Evaluation

SECRET = "counted nine lanterns along the quay"
REDACTED = (
    "AssertionError: test_own.py:*: redacted, since this test read protected text; *"
)
EXCERPTS = (Excerpt("p1", SECRET, f"Write {SECRET}", "One"),)
BOOK = Book("b", "Title", "Author", EXCERPTS, "digest", excluded=EXCERPTS)
GENERATION = Generation("p1", 0, SECRET, reasoning=SECRET)


@pytest.fixture
def reads(monkeypatch):
    counted = []
    monkeypatch.setattr(views, "LISTENERS", [lambda: counted.append(1)])
    return counted


@pytest.fixture
def evaluation():
    empty = dict.fromkeys(
        ("suite", "suite_digest", "pair", "verdict_result", "completeness")
    )
    generations = {"generations": lambda: [GENERATION]}
    return Evaluation(**empty, book=BOOK, protected={"b": BOOK}, **generations)


def test_numbers_ids_titles_places_and_repr_count_as_no_read(reads, evaluation):
    view = views.view_of_evaluation(evaluation)
    (excerpt,), (generation,) = view.book.excerpts, view.generations()
    (completion,) = views.views_of_completions([Completion(SECRET, reasoning=SECRET)])
    assert (view.book.title, excerpt.id, excerpt.chapter) == ("Title", "p1", "One")
    places = (generation.excerpt_id, generation.ordinal, completion.finish_reason)
    assert places == ("p1", 0, "stop")
    assert SECRET not in repr([view, excerpt, generation, completion])
    assert repr(excerpt) == repr(BOOK.excerpts[0])
    assert isinstance(excerpt, Excerpt)
    assert not reads


@pytest.mark.parametrize(
    "read",
    [
        lambda view: view.book.excerpts[0].text,
        lambda view: view.book.excerpts[0].instruction,
        lambda view: view.book.excluded[0].text,
        lambda view: view.protected["b"].excerpts[0].text,
        lambda view: [generation.text for generation in view.generations()],
        lambda view: [generation.reasoning for generation in view.generations()],
        lambda view: [generation.written for generation in view.generations()],
        lambda view: view.book == views.view_of_book(BOOK),
        lambda view: hash(view.book),
        lambda view: dataclasses.asdict(view.book),
        lambda view: dataclasses.replace(view.book.excerpts[0], id="p2"),
        lambda view: copy.copy(view.book.excerpts[0]),
        lambda view: pickle.dumps(view.book),
        lambda _: views.views_of_completions([Completion(SECRET)])[0].written,
        lambda _: views.views_of_completions([SECRET]),
    ],
)
def test_access_to_text_counts_as_a_read(reads, evaluation, read):
    read(views.view_of_evaluation(evaluation))
    assert reads


def test_a_view_that_was_pickled_still_counts_reads(reads):
    excerpt = pickle.loads(pickle.dumps(views.view_of_book(BOOK))).excerpts[0]
    reads.clear()
    assert excerpt.text == SECRET
    assert reads


@pytest.fixture
def run(pytester, suite, own_tests, gate):
    """Runs tests of a recorded model, without the suite's own."""

    def go(tests, *options, conftest="", replaced=(), **expected):
        suite(*replaced)
        pytester.makeconftest("import pytest\n" + conftest)
        own_tests(tests)
        result = gate("test_own.py", "-k", "clean", *options, **expected)
        assert "INTERNALERROR" not in result.stdout.str()
        return result

    return go


LASTING = """
@pytest.fixture(scope="session")
def text(memleak_book):
    yield (text := memleak_book.excerpts[0].text)
    KIND
@pytest.fixture(scope="session")
def broken(memleak_book):
    raise ValueError(memleak_book.excerpts[0].text)
@pytest.fixture(scope="module")
def derived(memleak_pair, request):
    return {"it": request.getfixturevalue("text")}
"""
USERS = {name: name for name in ("text", "broken", "derived")}
USERS["request"] = "request.getfixturevalue('text')"


def test_a_fixture_that_outlives_a_test_marks_every_test_that_uses_it(run):
    first = "def test_first(text, derived, tmp_path): pass\n"
    first += "@pytest.mark.xfail\ndef test_bad(broken): pass\n"
    uses = "".join(
        f"def test_of_{user}(memleak_pair, {user}):\n    assert {value} == 0\n"
        for user, value in USERS.items()
    )
    without = "def test_without(memleak_book, tmp_path):\n    assert len(memleak_book.excerpts) == 3\n"
    options = ("-l", "--full-trace")
    result = run(
        first + uses + without, *options, conftest=LASTING.replace("KIND", "pass")
    )
    result.stdout.fnmatch_lines(["*assert 2 == 3*"])
    text = result.stdout.str()
    assert SECRET not in text
    for user in USERS:
        (section,) = (
            part for part in text.split("\n____") if f" test_of_{user}[" in part[:120]
        )
        kind = "ValueError" if user == "broken" else "AssertionError"
        assert re.search(rf"{kind}: \S+: redacted, ", section), user


def test_the_end_of_a_lasting_fixture_is_redacted(run):
    ends = "print(memleak_book); assert memleak_book.excerpts[0].title == 0"
    tests = "def test_first(text): pass\n\ndef test_last(memleak_book): pass\n"
    lines = ["AttributeError: conftest.py:*: redacted, *"]
    expected = {"lines": lines, "passed": 2, "errors": 1, "deselected": 2}
    result = run(tests, "-l", conftest=LASTING.replace("KIND", ends), **expected)
    assert SECRET not in result.stdout.str()


def test_a_fixture_that_ends_after_ctrl_c_is_redacted(run):
    tests = "def test_it(text): raise KeyboardInterrupt\n"
    ends = "__import__('logging').error(text); raise ValueError(text)"
    result = run(tests, "--log-cli-level=0", conftest=LASTING.replace("KIND", ends))
    result.stderr.fnmatch_lines(["ValueError: conftest.py:*: redacted, *"])
    assert SECRET not in result.stdout.str() + result.stderr.str()


PRINTS_AND_RECORDS = """
@pytest.fixture
def prepared(memleak_book, record_property):
    print("prepared it")
def test_it(prepared, memleak_book, record_property, record_testsuite_property, request):
    record_property("before", 1)
    record_testsuite_property("first", "of the run")
    request.node.add_marker(pytest.mark.xfail(reason="known " * 13))
    text = memleak_book.excerpts[0].text
    record_property("after", text)
    record_testsuite_property("last", text)
    print(text)
    assert 0
"""
DROPPED = (
    'name="before"',
    'name="first"',
    'name="after"',
    'name="last"',
    "prepared it",
)


@pytest.mark.parametrize(
    ("words", "reason"), [("12", f"{'known ' * 12}…"), ("0", "redacted")]
)
def test_output_and_records_of_a_test_that_reads_text_are_dropped(
    run, pytester, words, reason
):
    junit = ("--junitxml=junit.xml", "-o", "junit_logging=all")
    junit += ("-o", "junit_family=xunit1")
    options = ("-rx", "--xfail-tb", *junit, f"--memleak-quote={words}")
    expected = {"lines": [f"XFAIL *{reason}"], "xfailed": 1, "deselected": 1}
    run(PRINTS_AND_RECORDS, *options, **expected)
    xml = (pytester.path / "junit.xml").read_text("utf-8")
    assert "[captured output redacted]" in xml
    for text in DROPPED:
        assert text not in xml


def test_a_test_that_evaluates_with_an_endpoint_of_its_own_is_marked(run, pytester):
    result = run(
        """
def test_it(memorization, memleak_endpoint):
    assert memleak_endpoint.seen == []
""",
        "--junitxml=junit.xml",
        conftest="""
import random
class Mine:
    seen = []
    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        print(instruction)
        self.seen.append(instruction)
        words = "SECRET and did not like it at all he said".split()
        return [" ".join(random.Random((seed or 0) + each).sample(words, 14)) for each in range(n)]
@pytest.fixture(scope="session")
def memleak_endpoint():
    return Mine()
""".replace("SECRET", SECRET),
    )
    result.stdout.fnmatch_lines([REDACTED])
    assert "superstition" not in result.stdout.str()
    assert 'name="memleak.' in (pytester.path / "junit.xml").read_text("utf-8")


def test_an_error_of_ones_own_endpoint_is_named_without_its_words(run):
    fixture = """
from pytest_memleak.errors import Inconclusive
class Mine:
    def sample(self, instruction, **_):
        raise Inconclusive(instruction)
@pytest.fixture(scope="session")
def memleak_endpoint():
    return Mine()
"""
    lines = ["*Inconclusive at line 6 of *conftest.py*"]
    result = run(
        "def test_it(memorization): pass", conftest=fixture, lines=lines, errors=1
    )
    assert "superstition" not in result.stdout.str()


def test_an_error_of_ones_own_hook_is_redacted(pytester, suite, own_tests):
    suite()
    pytester.makeconftest("""
import pytest
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    yield
    assert item.funcargs["memleak_book"].excerpts[0].text == ""
""")
    own_tests("def test_it(memleak_book): memleak_book.excerpts[0].text\n")
    result = pytester.runpytest(
        "test_own.py", "-k", "clean", "--full-trace", "--junitxml=x.xml"
    )
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    result.stdout.fnmatch_lines(
        ["INTERNALERROR*AssertionError: conftest.py:5: redacted, *"]
    )
    assert SECRET not in result.stdout.str() + (pytester.path / "x.xml").read_text(
        "utf-8"
    )


PROVIDER = """
import logging, random, warnings
from pytest_memleak import hookimpl
class Chatty:
    name, concurrency, completions_per_call, batch = "chatty", 1, 1, False
    def __init__(self, setup): pass
    def open(self, endpoint): return self
    def sample(self, instruction, *, n, temperature, max_tokens, seed):
        print(instruction)
        long = "sent " + instruction * 3
        logging.getLogger("library").warning("%s", long)
        warnings.warn(long)
        for word in instruction.split():
            warnings.warn(word)
        words = "a parrot sat in rain on some boat and said nothing to anybody there".split()
        return [" ".join(random.Random(seed).sample(words, 14))]
@hookimpl
def memleak_providers():
    return {"chatty": Chatty}
"""
SENT = "sent Write about: An old superstition unsettles a boatman one night, and …"
CHATTY = (
    'provider = "recorded"\n[model.options]\npath = "clean.json"',
    'provider = "chatty"',
)


def test_libraries_say_little_during_a_provider_s_call(run):
    lines = [
        "[[]captured output redacted[]]",
        "prepared it",
        f"WARNING *{SENT}",
        "a line of its own",
        f"*UserWarning: {SENT}",
        "*UserWarning: Write",
    ]
    tests = "@pytest.fixture\ndef prepared():\n    print('prepared it')\n"
    tests += "def test_it(prepared, memleak_evaluation):\n"
    tests += "    print('a line of its own')\n    assert 0\n"
    options = ("--memleak-allow-paid", "-Wdefault")
    result = run(tests, *options, conftest=PROVIDER, replaced=[CHATTY], lines=lines)
    text = result.stdout.str()
    assert text.count("UserWarning: ") == 2
    assert "UserWarning: superstition" not in text
    assert f"{SENT[:-2]} " not in text.replace(SENT, "")


@pytest.mark.parametrize("words", ["12", "0"])
def test_a_servers_message_is_shown_unless_no_word_may_be(
    gate, online, monkeypatch, words
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else-0123456789")
    online()
    lines = ["*openai*", "  Fix: *OPENAI_API_KEY*"]
    result = gate(
        "-m", "copyright", "-l", f"--memleak-quote={words}", lines=lines, errors=1
    )
    text = result.stdout.str()
    assert ("Incorrect API key" in text) is (words == "12")
    assert ("(message redacted: --memleak-quote 0)" in text) is (words == "0")
