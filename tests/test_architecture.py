"""The shape of the package: no circle of imports, no long chain, no name that says nothing.

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

import pytest_memleak
from pytest_memleak.records.pair_result import PairResult
from pytest_memleak.reports.output_table import BADGE, JUNIT, REPORTS, STEP_SUMMARY
from pytest_memleak.scoring.measure_table import MEASURES

PACKAGE = Path(pytest_memleak.__file__).parent
# Lower them when you can; never raise them.
MOST_DEEP = 17
MOST_EMPTY_NAMES = 1  # SQLAlchemy's `one()`
OWN_KIND = re.compile(
    r"^class (\w+(?=\(.*\bProtocol\b)|\w*(?:Endpoint|Provider)\b)", re.MULTILINE
)
PROBE = re.compile(
    r"runtime_checkable|(?:isinstance|issubclass)\((?:[^()]|\([^()]*\))*?,\s+(?P<kind>[^)]*)\)"
    r"|(?:hasattr|getattr)\(\w*(?:endpoint|provider),"
)
EMPTY_NAMES = {"one", "found", "told", "said", "made", "known"}


@functools.cache
def trees():
    """For each file of the package, every node of its syntax tree."""
    return {
        path: [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        for path in PACKAGE.rglob("*.py")
    }


def read():
    """For each file of the package, what it imports of the package."""
    root = PACKAGE.parent
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(
            ".__init__"
        ): nodes
        for path, nodes in trees().items()
    }
    return {name: {*imported(nodes, files)} - {name} for name, nodes in files.items()}


def imported(nodes, files):
    for node in nodes:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, ast.unparse(node)
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
            yield from [prefix for prefix in prefixes if prefix in files][:1]


def test_imports_are_no_circle_and_chains_of_them_short():
    imports = read()
    assert len(imports) > 100
    faces = {
        name for name in imports if (PACKAGE.parent / name.replace(".", "/")).is_dir()
    }
    depth = {}
    for name in graphlib.TopologicalSorter(
        imports
    ).static_order():  # CycleError names a circle
        if name not in faces:
            depth[name] = 1 + max(
                (depth[other] for other in imports[name] - faces), default=0
            )
    assert max(depth.values()) <= MOST_DEEP


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


def test_names_say_what_they_hold():
    empty = []
    for path, nodes in trees().items():
        for node in nodes:
            names = (
                str(getattr(node, kind, "")) for kind in ("id", "arg", "attr", "name")
            )
            empty += [
                (path.name, n) for n in names if n.strip("_").lower() in EMPTY_NAMES
            ]
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


def test_one_class_holds_a_pair_s_result():
    fields = {field.name for field in dataclasses.fields(PairResult)}
    repeated = []
    for path, nodes in trees().items():
        if path.parent.name == "suite":  # what users write
            continue
        for node in nodes:
            names, most = set(), 5  # of a line of a table
            if isinstance(node, ast.Dict):
                names = {
                    key.value for key in node.keys if isinstance(key, ast.Constant)
                }
            elif isinstance(node, ast.ClassDef) and node.name not in {
                "PairResult",
                *OTHER_RECORDS,
            }:
                names = {
                    getattr(part.target, "id", "")
                    for part in node.body
                    if isinstance(part, ast.AnnAssign)
                }
                most = 2 if node.bases else 4  # of a model of a library, or a record
            if len(names & fields) > most:
                repeated.append(f"{path.name}:{node.lineno}: {sorted(names & fields)}")
    assert repeated == []


def test_files_have_names_that_tell_them_apart():
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    assert not [
        name
        for name, count in Counter(file.name for file in files).items()
        if count > 1
    ]
    vague = {
        "utils",
        "util",
        "helpers",
        "helper",
        "common",
        "misc",
        "manager",
        "base",
        "core",
    }
    assert not {file.stem for file in files} & vague
    # Few names stand at the top, and the story is told on a page.
    assert len(pytest_memleak.__all__) <= 13
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py",
        "builtin.py",
        "errors.py",
    }
    assert (
        len((PACKAGE / "pipeline" / "evaluate_pair.py").read_text().splitlines()) <= 170
    )


def test_each_mutant_changes_a_line_that_is_there_once():
    root = PACKAGE.parent
    mutants = json.loads((root / "tests" / "mutants.json").read_text(encoding="utf-8"))
    assert len(mutants) >= 40
    for mutant in mutants:
        text = (root / mutant["file"]).read_text(encoding="utf-8")
        assert text.count(mutant["line"]) == 1, mutant
        assert mutant["tests"], mutant


def test_whoever_changes_it_is_told_where_things_are():
    root = PACKAGE.parent
    listed = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(
        r"\]\(([^)#:]+)\)|`((?:pytest_memleak|tests|docs)/[^` ]*)`", listed
    )
    named = {one for pair in paths for one in pair if one and "NAME" not in one}
    assert named
    assert not {path for path in named if not (root / path).exists()}
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    table = (
        listed.partition("| layer | packages |")[2]
        .partition("\n\n")[0]
        .splitlines()[2:]
    )
    floors = [re.findall(r"`(\w+)(?:\.py)?`", line) for line in table]
    assert floors == [re.findall(r"\w+", layer) for layer in layers]
