"""The documentation against the code: it has all that the code has, and nothing else.

Whole suite files load, Python compiles, and output is shown as it is printed.
"""

import ast
import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pluggy
import pytest
import write_reference as reference
from own_plugin import OWN_PLUGIN
from pydantic import TypeAdapter
from write_reference import PROVIDERS, SHARED_KEYS, code, provider_tables

from pytest_memleak import errors
from pytest_memleak.cli import main as cli
from pytest_memleak.interfaces import hookspecs
from pytest_memleak.interfaces.abilities import Abilities
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.plugin import fixtures
from pytest_memleak.providers.option_tables import read_table
from pytest_memleak.records import Model
from pytest_memleak.records.pair_result import RunReport
from pytest_memleak.suite.load import load_suite
from pytest_memleak.suite.schema import SuiteFile
from pytest_memleak.suite.suite_file import expand
from pytest_memleak.suite.written_suite import WrittenSuite

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
PACKAGE = ROOT / "pytest_memleak"


@dataclass(frozen=True)
class Snippet:
    page: str
    language: str
    title: str
    text: str

    def __str__(self):
        return f"{self.page}, {self.title or self.text.splitlines()[0]}"


def snippets(*languages, pages=PAGES):
    fence = re.compile(
        r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL
    )
    results = [
        Snippet(page.name, *match.groups(default=""))
        for page in pages
        for match in fence.finditer(page.read_text(encoding="utf-8"))
    ]
    return [snippet for snippet in results if snippet.language in languages]


def titled(page, title):
    (result,) = [
        snippet
        for snippet in snippets(
            "toml", "python", "json", "text", "console", pages=[DOCS / page]
        )
        if snippet.title == title
    ]
    return result.text


def prose(page):
    """The page's lines without fenced code, and the headings that each stands under."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [(above, line) for _, above, line in reference.outside_code(lines)]


def named(page, *headings):
    """What the rows of a table are about: the first code in each, which comes once."""
    return set(reference.rows_in(page, headings))


@pytest.mark.parametrize("page", reference.PAGES)
def test_reference_tables_have_what_the_code_has(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert reference.page_text(page) == text, (
        "run python tests/settings/write_reference.py"
    )


OWN_FIXTURES = {
    name
    for name, value in vars(fixtures).items()
    if getattr(value, "__module__", None) == fixtures.__name__
    and "FixtureFunctionMarker" in repr(vars(value))
}
HOOKS = {name for name in vars(hookspecs) if name.startswith("memleak_")}
ABLE = {"free", "id", *(field.name for field in dataclasses.fields(Abilities))}


@pytest.mark.parametrize(
    ("page", "headings", "names"),
    [
        ("fixtures.md", ["Marker"], {*reference.Recorder().markers}),
        ("fixtures.md", ["Fixtures"], OWN_FIXTURES),
        ("extending.md", ["A provider", "What it may also have"], ABLE),
        ("extending.md", ["Hooks"], HOOKS),
        ("errors.md", ["Exceptions"], {*errors.__all__}),
    ],
)
def test_a_reference_table_has_a_row_for_every_name(page, headings, names):
    assert named(page, *headings) == names


def commands(parser):
    """Every subcommand that does something by itself, and what it takes."""
    inner = [
        action for action in parser._actions if isinstance(action.choices, Mapping)
    ]
    for action in inner:
        for chosen in action.choices.values():
            yield from commands(chosen)
    taken = {
        argument(action)
        for action in parser._actions
        if action not in inner and action.dest != "help"
    }
    if parser.get_default("run") is not None:
        yield parser.prog, taken


def argument(action):
    """As in the usage line: `-o, --output BOOK.json`."""
    chosen = f"{{{','.join(action.choices)}}}" if action.choices else None
    metavar = action.metavar or chosen or action.dest.upper()
    value = [] if action.nargs == 0 else [metavar]
    return " ".join(
        [*([", ".join(action.option_strings)] * bool(action.option_strings)), *value]
    )


COMMANDS = dict(commands(cli._parser()))
SHARED_ARGUMENTS = "Arguments of several commands"


def test_commands_and_their_arguments_are_documented():
    documented = {
        code(line) for _, line in prose(DOCS / "cli.md") if line.startswith("## `")
    }
    assert documented == set(COMMANDS)
    shared = named("cli.md", SHARED_ARGUMENTS)
    for command, taken in COMMANDS.items():
        own = named("cli.md", f"`{command}`") if taken - shared else set()
        assert own == taken - shared, command


def test_shared_arguments_name_all_their_commands():
    for argument, takers, _ in reference.rows_in(
        "cli.md", (SHARED_ARGUMENTS,)
    ).values():
        names = re.findall(r"`([^`]+)`", takers)
        documented = {
            command
            for command in COMMANDS
            if any(f"{command} ".startswith(f"memleak {name} ") for name in names)
        }
        taking = {
            command for command, taken in COMMANDS.items() if code(argument) in taken
        }
        assert documented == taking, argument
        assert len(taking) > 1, argument


def test_examples_of_keys_are_valid():
    assert named("suite.md", "The tables") == {
        name for name, _ in reference.SUITE_TABLES if "." not in name
    }
    for kind in dict.fromkeys(kind for _, kind in reference.SUITE_TABLES):
        check_examples(reference.rows_in("suite.md", reference.section_of(kind)), kind)


def check_examples(documented, kind):
    for name, row in documented.items():
        field = kind.model_fields[name]
        shown = tomllib.loads(code(row[4]))
        assert list(shown) == [name]
        TypeAdapter(Annotated[field.annotation, field]).validate_python(shown[name])
        assert shown[name] != reference.default_of(kind, name), (
            f"{name}: this is its default"
        )


SUITES = [snippet for snippet in snippets("toml") if snippet.title != "pyproject.toml"]


def tables_of(snippet, folder):
    """A suite's tables with the books that its CSV files list, which are written first."""
    for table in snippets("csv", pages=[DOCS / snippet.page]):
        path = folder / table.title
        path.parent.mkdir(exist_ok=True)
        path.write_text(table.text, encoding="utf-8")
    suite = WrittenSuite(
        tomllib.loads(snippet.text), snippet.text, folder / "any.memleak.toml"
    )
    return expand(suite).tables


@pytest.mark.parametrize("snippet", SUITES, ids=str)
def test_a_suite_in_the_docs_has_valid_tables(snippet, tmp_path):
    tables = tables_of(snippet, tmp_path)
    for name, value in tables.items():
        field = SuiteFile.model_fields[name]
        TypeAdapter(Annotated[field.annotation, field]).validate_python(value)
    for model in tables.get("model", []):
        check_provider_tables(model)


@pytest.mark.parametrize("snippet", SUITES, ids=str)
def test_a_whole_suite_in_the_docs_loads(snippet, tmp_path):
    tables = tables_of(snippet, tmp_path)
    if not {"book", "model"} <= tables.keys():
        return
    folder = tmp_path / "suites" / "any"
    folder.mkdir(parents=True)
    if (tmp_path / "books").exists():
        shutil.copytree(tmp_path / "books", folder / "books")
    for book in tables["book"]:
        for key in ("source", "summaries", "prompts"):
            make_empty_file(folder / book.get(key, "nothing.txt"))
    path = folder / "any.memleak.toml"
    path.write_text(snippet.text, encoding="utf-8")
    assert load_suite(path).pairs


def make_empty_file(path):
    path.parent.resolve().mkdir(parents=True, exist_ok=True)
    path.touch()


def check_provider_tables(model):
    tables = provider_tables(model["provider"])
    finetune = {
        key: value for key, value in model.get("finetune", {}).items() if key != "books"
    }
    for name, values in (("options", model.get("options", {})), ("finetune", finetune)):
        if name in tables:
            read_table(tables[name], values, place="docs", name=name)
        else:
            assert not values


@pytest.mark.parametrize("provider", PROVIDERS)
def test_examples_of_a_provider_s_keys_are_valid(provider):
    """Of its own rows, and of those that several providers share."""
    sections = {
        code(line)
        for _, line in prose(DOCS / "providers.md")
        if line.startswith("## `")
    }
    assert sections == PROVIDERS.keys()
    tables = provider_tables(provider)
    headings = {above[1:] for above, _ in prose(DOCS / "providers.md")}
    for name in ("options", "finetune"):
        section = (f"`{provider}`", f"`[model.{name}]`")
        assert (section in headings) == (name in tables)
    for name, kind in tables.items():
        heading = f"`[model.{name}]`"
        shared = (
            {}
            if "." in name
            else reference.rows_in("providers.md", (SHARED_KEYS, heading))
        )
        shared = {key: row for key, row in shared.items() if key in kind.model_fields}
        check_examples(
            shared | reference.rows_in("providers.md", (f"`{provider}`", heading)), kind
        )


@pytest.mark.parametrize("name", ["options", "finetune"])
def test_shared_keys_belong_to_several_providers(name):
    tables = [provider_tables(provider).get(name) for provider in PROVIDERS]
    keys = Counter(key for table in tables if table for key in table.model_fields)
    shared = reference.rows_in("providers.md", (SHARED_KEYS, f"`[model.{name}]`"))
    assert min(keys[key] for key in shared) > 1


RAISED = {*errors.__all__} - {"MissingExtra"}  # which writes its own hint
WITHOUT_A_FIX = 56  # it only falls


def test_errors_have_a_hint():
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and node.args
        and getattr(node.func, "id", getattr(node.func, "attr", "")) in RAISED
        and "hint" not in {keyword.arg for keyword in node.keywords}
    ]
    assert len(bare) <= WITHOUT_A_FIX, bare


def anchors(page):
    for _, line in prose(page):
        if heading := re.match(r"#+ (.*)", line):
            text = unicodedata.normalize("NFKD", heading[1].replace("`", ""))
            text = (
                re.sub(r"[^\w\s-]", "", text.encode("ascii", "ignore").decode())
                .strip()
                .lower()
            )
            yield re.sub(r"[-\s]+", "-", text)


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name
)
def test_a_page_s_links_lead_to_a_page_and_a_heading(page):
    for target in re.findall(
        r"\]\(([^)\s]+)\)", "\n".join(line for _, line in prose(page))
    ):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.is_file(), target
        if anchor and linked.suffix == ".md":
            assert anchor in set(anchors(linked)), target


def test_the_navigation_has_every_page():
    navigation = re.findall(
        r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    )
    assert sorted(navigation) == [page.name for page in PAGES]


def test_snippets_of_code_parse_and_those_of_files_are_equal():
    for snippet in snippets("python"):
        compile(snippet.text, str(snippet), "exec")
    for snippet in snippets("json"):
        json.loads(snippet.text)
    of_this_repository = [
        snippet for snippet in snippets("toml") if "/" in snippet.title
    ]
    assert of_this_repository
    for snippet in of_this_repository:
        assert snippet.text == (ROOT / snippet.title).read_text(encoding="utf-8"), (
            snippet
        )


@pytest.mark.skipif(
    not importlib.util.find_spec("mkdocs"), reason="needs the extra docs"
)
def test_the_site_is_built_strictly(tmp_path):
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-d",
        str(tmp_path),
    ]
    quietly = {"capture_output": True, "encoding": "utf-8", "timeout": 300}
    run = subprocess.run(command, cwd=ROOT, check=False, **quietly)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "index.html").is_file()


def test_the_examples_of_the_method_hold():
    for snippet in snippets("python", pages=[DOCS / "method.md"]):
        exec(compile(snippet.text, str(snippet), "exec"), {})


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """What the quickstart prints, and its evidence bundle."""
    folder = tmp_path_factory.mktemp("quickstart")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-m", "copyright", "suites/quickstart"),
            *(
                "-p",
                "no:cacheprovider",
                f"--memleak-ledger=sqlite:///{folder}/ledger.db",
            ),
            f"--memleak-evidence={folder}/evidence.json",
        ],
        cwd=ROOT,
        env={**os.environ, **OWN_PLUGIN, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return run.stdout, json.loads(
        (folder / "evidence.json").read_text(encoding="utf-8")
    )


@pytest.mark.full
def test_the_quickstart_prints_what_is_shown(quickstart):
    printed = [" ".join(line.split()) for line in quickstart[0].splitlines()]
    shown = titled("quickstart.md", "output of suites/quickstart").splitlines()
    (index,) = snippets("console", pages=[DOCS / "index.md"])
    shown += [line for line in index.text.splitlines() if "/the-" in line]
    for line in shown[1:]:
        assert " ".join(line.split()) in printed
    assert any(line.startswith(shown[0]) for line in printed)


GATSBY = Path(os.environ.get("MEMLEAK_BOOKS", "nowhere"), "the-great-gatsby.epub")


@pytest.mark.skipif(
    not GATSBY.is_file(), reason="MEMLEAK_BOOKS names no folder with it"
)
def test_a_novel_costs_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("gatsby.memleak.toml").write_text(titled("costs.md", "gatsby.memleak.toml"))
    Path("the-great-gatsby.epub").symlink_to(GATSBY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    doctor, plan = (
        snippet.text for snippet in snippets("console", pages=[DOCS / "costs.md"])
    )
    cli.main(["doctor", "gatsby.memleak.toml"])
    assert doctor.partition("...\n")[2] in capsys.readouterr().out
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            *plan.partition("\n")[0].split()[1:],
            "-p",
            "no:cacheprovider",
        ],
        env={**os.environ, **OWN_PLUGIN, "COLUMNS": "100"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=True,
    )
    assert plan.partition("\n")[2] in run.stdout


@pytest.mark.full
def test_keys_of_evidence_are_documented(quickstart):
    bundle = quickstart[1]
    keys = {*bundle, *(f"pairs[].{key}" for pair in bundle["pairs"] for key in pair)}
    assert named("evidence.md", "What it contains") == keys - {"pairs"}


def test_the_command_line_prints_what_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("book.json", "generations.json"):
        Path(name).write_text(titled("cli.md", name), encoding="utf-8")
    score = "score book.json generations.json --span-threshold 4"
    assert cli.main([*score.split(), "--json"]) == 0
    (shown,) = json.loads(titled("cli.md", f"memleak {score} --json"))
    (row,) = json.loads(capsys.readouterr().out)
    assert {key: row[key] for key in shown} == shown


FERRY = "The ferryman counted nine lanterns along the quay and did not like the number at all."
FERRY_BOOK = {
    "excerpt_id": "p_id1",
    "excerpt_text": FERRY,
    "instruction": "Write of a worried boatman who walks beside the water at night and counts "
    "its lamps.",
}
FERRY_ANSWERS = (
    FERRY,
    "A boat crossed the river at night while everybody in the village was asleep.",
    "It rained for a while, and then an old man rowed home to his supper.",
)


@pytest.fixture
def documented_project(pytester, monkeypatch):
    """The project of docs/fixtures.md: a suite, recorded generations, and a test file."""
    for name, value in OWN_PLUGIN.items():
        monkeypatch.setenv(name, value)
    lines = []
    for answer in FERRY_ANSWERS:
        line = json.dumps({"excerpt_id": "p_id1", "generated_text": answer})
        lines.append(f"{line}\n")
    write("ferry.json", json.dumps([FERRY_BOOK]))
    write("generations.jsonl", "".join(lines))
    for name in ("stories.memleak.toml", "test_protected_passages.py"):
        write(name, titled("fixtures.md", name))
    # Another one of this name.
    monkeypatch.delitem(sys.modules, "test_protected_passages", raising=False)
    return pytester


def write(name, content):
    Path(name).write_text(content, encoding="utf-8")


def test_own_tests_in_the_docs_print_what_is_shown(documented_project):
    own = titled("fixtures.md", "test_protected_passages.py")
    write("test_limit.py", own.replace("<= 38", "<= 12"))
    result = documented_project.runpytest()
    result.assert_outcomes(passed=4, failed=1)
    shown = snippets("text", pages=[DOCS / "fixtures.md"])[0].text
    printed = [" ".join(line.split()) for line in result.outlines]
    assert all(" ".join(line.split()) in printed for line in shown.splitlines())


def test_an_own_endpoint_in_the_docs_is_tested(documented_project):
    write("conftest.py", titled("fixtures.md", "conftest.py"))
    result = documented_project.runpytest()
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["recorded/ferry * 0.000 * 3/3 * PASS*"])


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """The extension of docs/extending.md, as a module."""
    monkeypatch.chdir(tmp_path)
    extension = types.ModuleType("acme_memleak")
    source = titled("extending.md", "acme_memleak.py")
    exec(compile(source, "acme_memleak.py", "exec"), vars(extension))
    return extension


def test_the_documented_extension_reads_books(acme):
    write("tale.md", "# One\n\nIt rained.\n\nIt stopped.\n\n# Two\n\nIt snowed.\n")
    chapters = Extensions([acme]).read_book(Path("tale.md")).chapters
    expected = [("One", ("It rained.", "It stopped.")), ("Two", ("It snowed.",))]
    assert [(chapter.title, chapter.paragraphs) for chapter in chapters] == expected


def test_the_documented_extension_s_provider_samples(acme, tmp_path):
    extensions = Extensions([acme])
    assert extensions.is_free("parrot")
    model = Model("p", "parrot", options={"shout": True})
    setup = ProviderSetup(model, "docs", tmp_path, tmp_path, str)
    endpoint = extensions.provider("parrot", place="docs")(setup).open(None)
    completions = endpoint.sample("hi", n=2, temperature=1.0, max_tokens=9, seed=0)
    assert completions == ["HI 0", "HI 1"]


def test_the_documented_extension_measures_and_reports(acme):
    extensions = Extensions([acme])
    assert extensions.measures()["longest_line"].function(None, []) == 0
    extensions.report(RunReport("1.0", ()))
    assert json.loads(Path("memleak-verdicts.json").read_text(encoding="utf-8")) == {}


def test_the_documented_extension_has_all_hooks(acme):
    manager = pluggy.PluginManager("memleak")
    manager.add_hookspecs(hookspecs)
    manager.register(acme)
    manager.check_pending()
    called = {caller.name for caller in manager.get_hookcallers(acme)}
    assert called == named("extending.md", "Hooks")
