"""The documentation against the code: everything there is stands in it, and nothing else.

Reference tables have what they speak of in their first column, as code. Whole suite files load,
Python compiles, and what is shown as output is what comes out.
"""

import ast
import dataclasses
import importlib.util
import inspect
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
from typing import Annotated, get_args

import pluggy
import pytest
from own_plugin import OWN_PLUGIN
from pydantic import BaseModel, TypeAdapter

from pytest_memleak import builtin, errors
from pytest_memleak.cli import main as cli
from pytest_memleak.interfaces import hookspecs
from pytest_memleak.interfaces.abilities import Abilities
from pytest_memleak.interfaces.extensions import Extensions
from pytest_memleak.interfaces.protocols import ProviderSetup
from pytest_memleak.plugin import fixtures
from pytest_memleak.plugin import hooks as plugin
from pytest_memleak.providers.option_tables import Table as OptionsTable
from pytest_memleak.providers.option_tables import read_table
from pytest_memleak.records import Model
from pytest_memleak.records.pair import AnswerLimits
from pytest_memleak.records.pair_result import RunReport
from pytest_memleak.suite.load import load_suite
from pytest_memleak.suite.matrix import Written, expand
from pytest_memleak.suite.schema import SuiteFile, SuiteTable

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
    fence = re.compile(r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
    found = [
        Snippet(page.name, *match.groups(default=""))
        for page in pages
        for match in fence.finditer(page.read_text(encoding="utf-8"))
    ]
    return [one for one in found if one.language in languages]


def titled(page, title):
    (found,) = [
        one
        for one in snippets("toml", "python", "json", "text", "console", pages=[DOCS / page])
        if one.title == title
    ]
    return found.text


def prose(page):
    """The page's lines without fenced code, and the headings that each stands under."""
    headings, fenced = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            if heading := re.match(r"(#+) (.*)", line):
                level = len(heading[1])
                headings = [*headings[: level - 1], heading[2]]
            yield tuple(headings), line


def rows(page, *headings):
    """The rows of the table under these headings (and no deeper), cell by cell."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for above, line in prose(DOCS / page)
        if line.startswith("|") and above[1:] == headings
    ]
    assert len(found) > 2, f"{page} has no table under {' / '.join(headings)}"
    return found[2:]


def named(page, *headings):
    """What the rows of a table are about: the first code in each, which comes once."""
    names = [code(row[0]) for row in rows(page, *headings)]
    assert len(set(names)) == len(names)
    return set(names)


def code(cell):
    found = re.search(r"`([^`]+)`", cell)
    assert found, f"a row begins without code: {cell}"
    return found[1]


class Recorder:
    """Stands in for pytest's parser and config: writes down what a plugin declares."""

    def __init__(self):
        self.options, self.inis, self.markers = {}, {}, []
        self.workerinput = {}  # as in a worker, where no reporting is set up

    def getgroup(self, *_):
        return self

    def addoption(self, *names, **settings):
        assert names[0].startswith("--memleak-")
        metavar = settings.get("metavar")
        default = default_in_help(settings)
        self.options |= {f"{name} {metavar}" if metavar else name: default for name in names}

    def addini(self, name, **settings):
        self.inis[name] = default_in_help(settings)

    def getoption(self, _):
        return None

    def addinivalue_line(self, name, line):
        assert name == "markers"
        self.markers.append(re.match(r"\w+", line)[0])


def default_in_help(settings):
    """What the help says after "default:", which has to be there for any default but none."""
    stated, default = re.search(r"\(default: (.*)\)$", settings["help"]), settings.get("default")
    if not stated:
        assert not default, settings
        return "off" if settings.get("action") == "store_true" else "none"
    if default:
        value = " ".join(default) if isinstance(default, list) else default
        assert stated[1] in {"%(default)s", value}
        return value
    return stated[1]


def test_options_ini_keys_and_marks_are_documented():
    declared = Recorder()
    plugin.pytest_addoption(declared)
    plugin.pytest_configure(declared)
    for heading, defaults in (("Command line", declared.options), ("Ini keys", declared.inis)):
        documented = rows("options.md", heading)
        assert named("options.md", heading) == set(defaults)
        assert {code(row[0]): row[1].replace("`", "") for row in documented} == defaults
    assert named("fixtures.md", "Marker") == set(declared.markers)


def test_fixtures_are_documented():
    own = {
        name: vars(value)
        for name, value in vars(fixtures).items()
        if getattr(value, "__module__", None) == fixtures.__name__
    }
    made = {name for name, said in own.items() if "FixtureFunctionMarker" in repr(said)}
    assert named("fixtures.md", "Fixtures") == made


def test_what_a_provider_may_also_have_is_documented():
    able = {"free", "id", *(field.name for field in dataclasses.fields(Abilities))}
    assert named("extending.md", "A provider", "What it may also have") == able


def test_hooks_and_exceptions_are_documented():
    hooks = {name for name in vars(hookspecs) if name.startswith("memleak_")}
    assert named("extending.md", "Hooks") == hooks
    assert named("errors.md", "Exceptions") == set(errors.__all__)


def commands(parser):
    """Every subcommand that does something by itself, and what it takes."""
    inner = [one for one in parser._actions if isinstance(one.choices, Mapping)]
    for action in inner:
        for chosen in action.choices.values():
            yield from commands(chosen)
    taken = {argument(one) for one in parser._actions if one not in inner and one.dest != "help"}
    if parser.get_default("run") is not None:
        yield parser.prog, taken


def argument(action):
    """As in the usage line: `-o, --output BOOK.json`."""
    chosen = f"{{{','.join(action.choices)}}}" if action.choices else None
    metavar = action.metavar or chosen or action.dest.upper()
    value = [] if action.nargs == 0 else [metavar]
    return " ".join([*([", ".join(action.option_strings)] * bool(action.option_strings)), *value])


COMMANDS = dict(commands(cli._parser()))
SHARED_ARGUMENTS = "Arguments of several commands"


def test_commands_and_what_they_take_are_documented():
    documented = {code(line) for _, line in prose(DOCS / "cli.md") if line.startswith("## `")}
    assert documented == set(COMMANDS)
    shared = named("cli.md", SHARED_ARGUMENTS)
    for command, taken in COMMANDS.items():
        own = named("cli.md", f"`{command}`") if taken - shared else set()
        assert own == taken - shared, command


def test_arguments_of_several_commands_name_all_of_these():
    for argument, takers, _ in rows("cli.md", SHARED_ARGUMENTS):
        names = re.findall(r"`([^`]+)`", takers)
        documented = {
            command
            for command in COMMANDS
            if any(f"{command} ".startswith(f"memleak {name} ") for name in names)
        }
        taking = {command for command, taken in COMMANDS.items() if code(argument) in taken}
        assert documented == taking, argument
        assert len(taking) > 1, argument


def table_in(annotation):
    """The class of the table that a field holds, by itself, in a list or optionally."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(table_in, get_args(annotation))), None)


def suite_tables(kind=SuiteFile, path=""):
    """Every table of a suite file, and its name: `[suite]`, `[[book]]`, `[model.finetune]`."""
    for name, field in kind.model_fields.items():
        inner = table_in(field.annotation)
        if inner is not None:
            several = "list" in str(field.annotation)
            yield f"[[{path}{name}]]" if several else f"[{path}{name}]", inner
            yield from suite_tables(inner, f"{path}{name}.")


SUITE_TABLES = list(suite_tables())


def section_of(kind):
    """The headings of the one section of suite.md that is about this table."""
    names = {f"`{name}`" for name, table in SUITE_TABLES if table is kind}
    headings = {above for above, _ in prose(DOCS / "suite.md") if above and above[-1] in names}
    sections = {above[1:] for above in headings} - {()}
    assert len(sections) == 1, f"{kind.__name__} needs one section of {' or '.join(names)}"
    return sections.pop()


def test_tables_and_keys_of_suites_are_documented():
    names = {name for name, _ in SUITE_TABLES if "." not in name}
    assert named("suite.md", "The tables") == names
    for kind in dict.fromkeys(kind for _, kind in SUITE_TABLES):
        section = section_of(kind)
        check_keys(rows("suite.md", *section), kind, keys_of_other_tables(section))


def keys_of_other_tables(section):
    """The rows of other tables that a section names: "Also `a` and `b` of [`[suite]`](#suite)"."""
    text = "\n".join(line for above, line in prose(DOCS / "suite.md") if above[1:] == section)
    found = []
    for sentence in re.findall(r"^Also (.*?)(?:\n\n|\. )", f"{text}\n\n", re.MULTILINE | re.DOTALL):
        for names, table in re.findall(r"(.*?)\sof\s\[`(\[+\w+\]+)`\]", sentence, re.DOTALL):
            keys = set(re.findall(r"`(\w+)`", names))
            documented = [row for row in rows("suite.md", f"`{table}`") if code(row[0]) in keys]
            assert len(documented) == len(keys), f"{table} doesn't have all of {keys}"
            found += documented
    return found


def check_keys(table, kind, of_other_tables=()):
    """Key, type, default, meaning, example: keys and defaults are the class's, examples valid.

    A key that another table documents may be without a default here: the other table has it.
    """
    documented = [*table, *of_other_tables]
    assert sorted(code(row[0]) for row in documented) == sorted(kind.model_fields)
    for row in documented:
        key, _, default, _, example = row
        name, field = code(key), kind.model_fields[code(key)]
        if row not in of_other_tables or default_of(kind, name) != "none":
            assert read_default(default) == default_of(kind, name), f"default of {name}"
        shown = tomllib.loads(code(example))
        assert list(shown) == [name]
        TypeAdapter(Annotated[field.annotation, field]).validate_python(shown[name])
        assert shown[name] != default_of(kind, name), f"the example of {name} is its default"


def default_of(kind, name):
    """What holds without the key: its own default, or in `[suite]` that of the answers' record."""
    field = kind.model_fields[name]
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if kind is SuiteTable and default is None:
        default = getattr(AnswerLimits(), name, None)
    empty = default is None or default in ({}, (), []) or isinstance(default, BaseModel)
    return "none" if empty else default


def read_default(cell):
    return cell if "`" not in cell else tomllib.loads(f"x = {code(cell)}")["x"]


@pytest.mark.parametrize("snippet", snippets("toml"), ids=str)
def test_suites_in_the_docs_are_valid(snippet, tmp_path):
    tables = tomllib.loads(snippet.text)
    if snippet.title == "pyproject.toml":
        return
    for table in snippets("csv", pages=[DOCS / snippet.page]):
        (tmp_path / table.title).parent.mkdir(exist_ok=True)
        (tmp_path / table.title).write_text(table.text, encoding="utf-8")
    tables = expand(Written(tables, snippet.text, tmp_path / "any.memleak.toml")).tables
    for name, value in tables.items():
        field = SuiteFile.model_fields[name]
        TypeAdapter(Annotated[field.annotation, field]).validate_python(value)
    for model in tables.get("model", []):
        check_provider_tables(model)
    if {"book", "model"} <= tables.keys():
        folder = tmp_path / "suites" / "any"
        if (tmp_path / "books").exists():
            shutil.copytree(tmp_path / "books", folder / "books")
        for book in tables["book"]:
            for key in ("source", "summaries"):
                file = folder / book.get(key, "nothing.txt")
                folder.mkdir(parents=True, exist_ok=True)
                file.parent.resolve().mkdir(parents=True, exist_ok=True)
                file.touch()
        path = folder / "any.memleak.toml"
        path.write_text(snippet.text, encoding="utf-8")
        assert load_suite(path).pairs


def check_provider_tables(model):
    tables = provider_tables(model["provider"])
    finetune = {key: value for key, value in model.get("finetune", {}).items() if key != "books"}
    for name, values in (("options", model.get("options", {})), ("finetune", finetune)):
        if name in tables:
            read_table(tables[name], values, place="docs", name=name)
        else:
            assert not values


PROVIDERS = builtin.memleak_providers()


def provider_tables(provider):
    """A provider's own tables, by what they are: `options`, `finetune`."""
    module = importlib.import_module(PROVIDERS[provider].module)
    tables = {}
    for kind in vars(module).values():
        ours = isinstance(kind, type) and issubclass(kind, OptionsTable)
        if ours and kind is not OptionsTable:
            name = re.match(r"`\[model\.(\w+)\]`", inspect.getdoc(kind))[1]
            assert name in {"options", "finetune"}
            assert name not in tables
            tables[name] = kind
    return tables


def test_providers_are_documented():
    (summary,) = {above[1:] for above, _ in prose(DOCS / "providers.md") if above[1:] == ()}
    assert named("providers.md", *summary) == set(PROVIDERS)
    sections = {code(line) for _, line in prose(DOCS / "providers.md") if line.startswith("## `")}
    assert sections == set(PROVIDERS)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_keys_of_a_provider_are_documented(provider):
    """Those of several providers once, unless a provider's own table has them."""
    tables = provider_tables(provider)
    options = tables["options"].model_fields if "options" in tables else {}
    headings = {above[1:] for above, _ in prose(DOCS / "providers.md")}
    for name in ("options", "finetune"):
        section = (f"`{provider}`", f"`[model.{name}]`")
        assert (section in headings) == (name in tables)
        if name in tables:
            own = rows("providers.md", *section)
            left = tables[name].model_fields.keys() - {code(row[0]) for row in own}
            shared = rows("providers.md", "Keys of several providers", section[1])
            check_keys([*own, *(row for row in shared if code(row[0]) in left)], tables[name])
    for key, field in options.items():
        for inner in get_args(field.annotation):
            if isinstance(inner, type) and issubclass(inner, OptionsTable):
                section = (f"`{provider}`", f"`[model.options.{key}]`")
                check_keys(rows("providers.md", *section), inner)


@pytest.mark.parametrize("name", ["options", "finetune"])
def test_keys_of_several_providers_are_of_several(name):
    tables = [provider_tables(provider).get(name) for provider in PROVIDERS]
    keys = Counter(key for table in tables if table for key in table.model_fields)
    shared = rows("providers.md", "Keys of several providers", f"`[model.{name}]`")
    assert min(keys[code(row[0])] for row in shared) > 1


RAISED = {*errors.__all__} - {"MissingExtra"}  # which writes its own hint
WITHOUT_A_FIX = 94  # it only falls


def test_errors_say_what_to_type_next():
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
            text = re.sub(r"[^\w\s-]", "", text.encode("ascii", "ignore").decode()).strip().lower()
            yield re.sub(r"[-\s]+", "-", text)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_to_a_page_and_a_heading(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(line for _, line in prose(page))):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.is_file(), target
        if anchor and linked.suffix == ".md":
            assert anchor in set(anchors(linked)), target


def test_every_page_is_in_the_navigation():
    navigation = re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(navigation) == [page.name for page in PAGES]


def test_snippets_are_what_they_say():
    for snippet in snippets("python"):
        compile(snippet.text, str(snippet), "exec")
    for snippet in snippets("json"):
        json.loads(snippet.text)
    of_this_repository = [one for one in snippets("toml") if "/" in one.title]
    assert of_this_repository
    for snippet in of_this_repository:
        assert snippet.text == (ROOT / snippet.title).read_text(encoding="utf-8"), snippet


@pytest.mark.skipif(not importlib.util.find_spec("mkdocs"), reason="needs the extra docs")
def test_the_site_is_built_strictly(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    quietly = {"capture_output": True, "encoding": "utf-8", "timeout": 300}
    run = subprocess.run(command, cwd=ROOT, check=False, **quietly)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "index.html").is_file()


def test_the_method_s_examples_hold():
    for snippet in snippets("python", pages=[DOCS / "method.md"]):
        exec(compile(snippet.text, str(snippet), "exec"), {})


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """What the quickstart prints, and its evidence bundle."""
    folder = tmp_path_factory.mktemp("quickstart")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-m", "copyright", "suites/quickstart"),
            *("-p", "no:cacheprovider", f"--memleak-ledger=sqlite:///{folder}/ledger.db"),
            f"--memleak-evidence={folder}/evidence.json",
        ],
        cwd=ROOT,
        env={**os.environ, **OWN_PLUGIN, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return run.stdout, json.loads((folder / "evidence.json").read_text(encoding="utf-8"))


@pytest.mark.full
def test_the_quickstart_says_what_is_shown(quickstart):
    printed = [" ".join(line.split()) for line in quickstart[0].splitlines()]
    shown = titled("quickstart.md", "output of suites/quickstart").splitlines()
    (index,) = snippets("console", pages=[DOCS / "index.md"])
    shown += [line for line in index.text.splitlines() if "/the-" in line]
    for line in shown[1:]:
        assert " ".join(line.split()) in printed
    assert any(line.startswith(shown[0]) for line in printed)


def test_the_readme_begins_with_what_it_is_and_has_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = readme.partition("\n\n")[2].partition(".")[0].partition(":")[0]
    assert "memorization" in first
    assert len(re.findall(r"^    python3 -m venv", readme, re.MULTILINE)) == 2


GATSBY = Path(os.environ.get("MEMLEAK_BOOKS", "nowhere"), "the-great-gatsby.epub")


@pytest.mark.skipif(not GATSBY.is_file(), reason="MEMLEAK_BOOKS names no folder with it")
def test_a_novel_costs_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("gatsby.memleak.toml").write_text(titled("costs.md", "gatsby.memleak.toml"))
    Path("the-great-gatsby.epub").symlink_to(GATSBY)
    power, plan = (one.text for one in snippets("console", pages=[DOCS / "costs.md"]))
    assert cli.main(["power", "gatsby.memleak.toml"]) == 0
    assert capsys.readouterr().out == power.partition("\n")[2]
    run = subprocess.run(
        [sys.executable, "-m", *plan.partition("\n")[0].split()[1:], "-p", "no:cacheprovider"],
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
    assert named("evidence.md", "What stands in it") == keys - {"pairs"}


def test_the_command_line_says_what_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("book.json", "generations.json"):
        Path(name).write_text(titled("cli.md", name), encoding="utf-8")
    score = "score book.json generations.json --span-threshold 4"
    assert cli.main(score.split()) == 0
    (shown,) = snippets("console", pages=[DOCS / "cli.md"])[:1]
    assert capsys.readouterr().out == shown.text.partition("\n")[2]
    assert cli.main([*score.split(), "--json"]) == 0
    (shown,) = json.loads(titled("cli.md", f"memleak {score} --json"))
    (row,) = json.loads(capsys.readouterr().out)
    assert {key: row[key] for key in shown} == shown


def test_tests_and_an_endpoint_of_ones_own_run(pytester, monkeypatch):
    for name, value in OWN_PLUGIN.items():
        monkeypatch.setenv(name, value)
    text = "The ferryman counted nine lanterns along the quay and did not like the number at all."
    asked = "Write of a worried boatman who walks beside the water at night and counts its lamps."
    book = {"excerpt_id": "p_id1", "excerpt_text": text, "instruction": asked}
    others = (
        "A boat crossed the river at night while everybody in the village was asleep.",
        "It rained for a while, and then an old man rowed home to his supper.",
    )
    answers = [{"excerpt_id": "p_id1", "generated_text": one} for one in (text, *others)]
    own = titled("fixtures.md", "test_protected_passages.py")
    for name, content in {
        "ferry.json": json.dumps([book]),
        "generations.jsonl": "".join(f"{json.dumps(one)}\n" for one in answers),
        "stories.memleak.toml": titled("fixtures.md", "stories.memleak.toml"),
        "test_protected_passages.py": own,
        "test_limit.py": own.replace("<= 38", "<= 12"),
    }.items():
        Path(name).write_text(content, encoding="utf-8")
    result = pytester.runpytest_subprocess(timeout=300)
    result.assert_outcomes(passed=4, failed=1)
    shown = snippets("text", pages=[DOCS / "fixtures.md"])[0].text
    printed = [" ".join(line.split()) for line in result.outlines]
    assert all(" ".join(line.split()) in printed for line in shown.splitlines())
    Path("test_limit.py").unlink()
    Path("conftest.py").write_text(titled("fixtures.md", "conftest.py"), encoding="utf-8")
    result = pytester.runpytest_subprocess(timeout=300)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["recorded/ferry * 0.000 * 3/3 * PASS*"])


def test_an_extension_runs_and_covers_every_hook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extension = types.ModuleType("acme_memleak")
    source = titled("extending.md", "acme_memleak.py")
    exec(compile(source, "acme_memleak.py", "exec"), vars(extension))
    extensions = Extensions([extension])
    Path("tale.md").write_text("# One\n\nIt rained.\n\nIt stopped.\n\n# Two\n\nIt snowed.\n")
    chapters = extensions.read_book(Path("tale.md")).chapters
    told = [("One", ("It rained.", "It stopped.")), ("Two", ("It snowed.",))]
    assert [(one.title, one.paragraphs) for one in chapters] == told

    assert extensions.is_free("parrot")
    model = Model("p", "parrot", options={"shout": True})
    setup = ProviderSetup(model, "docs", tmp_path, tmp_path, str)
    endpoint = extensions.provider("parrot", place="docs")(setup).open(None)
    said = endpoint.sample("hi", n=2, temperature=1.0, max_tokens=9, seed=0)
    assert said == ["HI 0", "HI 1"]

    assert extensions.measures()["longest_line"].function(None, []) == 0
    extensions.report(RunReport("1.0", ()))
    assert json.loads(Path("memleak-verdicts.json").read_text(encoding="utf-8")) == {}

    manager = pluggy.PluginManager("memleak")
    manager.add_hookspecs(hookspecs)
    manager.register(extension)
    manager.check_pending()
    called = {one.name for one in manager.get_hookcallers(extension)}
    assert called == named("extending.md", "Hooks")
