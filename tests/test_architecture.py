"""The shape of the package: no circle of imports, and no name that says nothing.

Imports count wherever they stand, in functions and under TYPE_CHECKING, too.
"""

import ast
import dataclasses
import functools
import graphlib
import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import pytest_memleak
from pytest_memleak.records.pair_result import PairResult
from pytest_memleak.reports.output_table import BADGE, JUNIT, REPORTS, STEP_SUMMARY
from pytest_memleak.scoring.measure_table import MEASURES

PACKAGE = Path(pytest_memleak.__file__).parent
ROOT = PACKAGE.parent
OWN_KIND = re.compile(
    r"^class (\w+(?=\(.*\bProtocol\b)|\w*(?:Endpoint|Provider)\b)", re.MULTILINE
)
PROBE = re.compile(
    r"runtime_checkable|(?:isinstance|issubclass)\((?:[^()]|\([^()]*\))*?,\s+(?P<kind>[^)]*)\)"
    r"|(?:hasattr|getattr)\(\w*(?:endpoint|provider),"
)
EMPTY_NAMES = {"one", "found", "told", "said", "made", "known"}
MOST_EMPTY_NAMES = 1  # SQLAlchemy's `one()`
NAMING_ATTRIBUTES = ("id", "arg", "attr", "name")  # of a syntax tree's nodes
VAGUE_FILES = {
    *("utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "core")
}
TOP_FILES = {"__init__.py", "builtin.py", "errors.py"}


@functools.cache
def trees():
    """For each file of the package, every node of its syntax tree."""
    return {
        path: [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        for path in PACKAGE.rglob("*.py")
    }


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def imports_by_module():
    """For each module of the package, the modules of the package that it imports."""
    modules = {module_name(path): nodes for path, nodes in trees().items()}
    imports = {}
    for name, nodes in modules.items():
        names = [longest_prefix(target, modules) for target in imported_names(nodes)]
        imports[name] = {*names} - {name, None}
    return imports


def imported_names(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, ast.unparse(node)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def longest_prefix(name, modules):
    """The module that holds an imported name; None if it isn't of the package."""
    while name not in modules:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return name


def test_imports_form_no_circle():
    imports = imports_by_module()
    assert len(imports) > 100
    assert imports["pytest_memleak.pipeline.evaluate_pair"]
    graphlib.TopologicalSorter(imports).prepare()  # CycleError names a circle


def literals():
    """Each text in the package, with its file."""
    for path, nodes in trees().items():
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, path.name


def test_measures_are_named_in_their_table_alone():
    assert {file for text, file in literals() if text in MEASURES} == {
        "measure_table.py"
    }
    for path in PACKAGE.rglob("*.j2"):
        assert not MEASURES.keys() & re.findall(
            r"[\"'](\w+)[\"']", path.read_text("utf-8")
        ), path


def test_options_of_outputs_stand_in_their_table_alone():
    options = [output.option for output in (*REPORTS, STEP_SUMMARY, JUNIT, BADGE)]
    named = [
        (text, file) for text, file in literals() if text.partition("=")[0] in options
    ]
    assert sorted(named) == sorted((option, "output_table.py") for option in options)
    assert not {output.dest for output in REPORTS} & {text for text, _ in literals()}
    # Without its signs, a report isn't recognized, and its second run refuses to
    # overwrite it.
    assert all(output.signs for output in REPORTS)


def names_in(node):
    return [str(getattr(node, attribute, "")) for attribute in NAMING_ATTRIBUTES]


def test_names_say_what_they_hold():
    empty = []
    for path, nodes in trees().items():
        for node in nodes:
            for name in names_in(node):
                if name.strip("_").lower() in EMPTY_NAMES:
                    empty.append((path.name, name))
    assert len(empty) <= MOST_EMPTY_NAMES, empty


def test_providers_and_endpoints_declare_what_they_can_do():
    """One record says it (interfaces/abilities.py): no class is tested, no attribute looked for."""
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    kinds = {
        name
        for path, source in sources.items()
        if path.relative_to(PACKAGE).parts[0] in {"interfaces", "providers"}
        for name in OWN_KIND.findall(source)
    }
    assert {"Endpoint", "Provider", "ChatEndpoint", "VertexProvider"} <= kinds
    probing = [
        f"{path.name}: {probe[0]}"
        for path, source in sources.items()
        for probe in PROBE.finditer(source)
        if probe["kind"] is None or kinds & {*re.findall(r"\w+", probe["kind"])}
    ]
    assert probing == [
        "abilities.py: getattr(endpoint,",  # `id` and `baseline` of a test's own class
        "abilities.py: getattr(endpoint,",
    ]


# What a suite asks for, what is computed from it, and the strings of a page; none is
# written.
OTHER_RECORDS = {"Pair", "Evaluation", "VerdictResult", "PairView"}


MAY_REPEAT = 5  # fields, in a line of a table


def keys_of_dict(node):
    return {key.value for key in node.keys if isinstance(key, ast.Constant)}


def fields_of_class(node):
    annotated = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    return {getattr(part.target, "id", "") for part in annotated}


def repeats_fields(node, fields):
    """Whether a literal or a class has several of these fields."""
    if isinstance(node, ast.Dict):
        return len(keys_of_dict(node) & fields) > MAY_REPEAT
    if not isinstance(node, ast.ClassDef):
        return False
    if node.name in {"PairResult", *OTHER_RECORDS}:
        return False
    may_repeat = 2 if node.bases else 4  # of a model of a library, or a record
    return len(fields_of_class(node) & fields) > may_repeat


def test_pair_results_are_held_by_one_class():
    fields = {field.name for field in dataclasses.fields(PairResult)}
    repeated = []
    for path, nodes in trees().items():
        if path.parent.name == "suite":  # what users write
            continue
        for node in nodes:
            if repeats_fields(node, fields):
                repeated.append(f"{path.name}:{node.lineno}")
    assert repeated == []


def test_files_have_names_that_tell_them_apart():
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    counts = Counter(file.name for file in files)
    assert [name for name, count in counts.items() if count > 1] == []
    assert not {file.stem for file in files} & VAGUE_FILES


def test_the_package_s_top_has_only_its_entry_points_and_errors():
    assert {path.name for path in PACKAGE.glob("*.py")} == TOP_FILES


MUTANTS = json.loads((ROOT / "tests" / "mutants.json").read_text(encoding="utf-8"))


def test_a_mutant_s_line_occurs_once_in_its_file():
    assert len(MUTANTS) >= 40
    for mutant in MUTANTS:
        text = (ROOT / mutant["file"]).read_text(encoding="utf-8")
        assert text.count(mutant["line"]) == 1, mutant


def test_a_mutant_names_tests_that_exist():
    for mutant in MUTANTS:
        assert mutant["tests"], mutant
        for test in mutant["tests"]:
            path, _, name = test.partition("[")[0].partition("::")
            text = (ROOT / path).read_text(encoding="utf-8")
            assert f"def {name}" in text, test


def layers_that_are_checked():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return [re.findall(r"\w+", layer) for layer in layers]


def test_contributing_lists_the_layers_that_are_checked():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| layer | packages |")[2].partition("\n\n")[0]
    rows = table.splitlines()[2:]
    listed = [re.findall(r"`(\w+)(?:\.py)?`", row) for row in rows]
    assert listed == layers_that_are_checked()


def paths_named_in(page):
    """What a page links to beside itself, and the files of the project that it names."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:\s]+)[)#]", text) if page.suffix == ".md" else []
    for link in links:
        yield link, page.parent / link
    for name in PROJECT_FILE.findall(text):
        yield name, ROOT / name


PROJECT_FILE = re.compile(
    r"\b(?:benchmarks|docs|fixtures|suites|tests|pytest_memleak)/[\w./-]*\.[a-z]+\b"
)
PAGES = [
    *(ROOT / name for name in ("CONTRIBUTING.md", "README.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("benchmarks/**/*.md")),
    *sorted(ROOT.glob("benchmarks/*.py")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_files_that_exist(page):
    gone = []
    for name, path in paths_named_in(page):
        if "NAME" not in name and not path.exists():
            gone.append(name)
    assert gone == []


def imports_of(path):
    return {*imported_names(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))}


def test_a_test_file_imports_no_other_test_file():
    paths = sorted(ROOT.glob("tests/**/*.py"))
    test_files = {path.stem for path in paths if path.stem.startswith("test_")}
    importing = []
    for path in paths:
        for name in sorted(imports_of(path)):
            if not test_files.isdisjoint(name.split(".")):
                importing.append(f"{path.relative_to(ROOT)}: {name}")
    assert importing == []
