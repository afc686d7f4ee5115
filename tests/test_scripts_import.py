"""Code that no fast test runs still imports: benchmarks, figures, notebook, examples."""

import ast
import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "benchmarks", ROOT / "docs" / "figures"]
SCRIPTS = sorted(path for folder in FOLDERS for path in folder.glob("*.py"))
OUR_MODULES = {path.stem for path in [*SCRIPTS, *ROOT.glob("tests/**/*.py")]}
IMPORTS_TORCH = {"local_tokens", "small_transformers"}
# Calls that a script may make while it is imported.
MAY_CALL = {"sys.path.insert", "pytest.importorskip"}


def script_cases(heavy=()):
    cases = []
    for path in SCRIPTS:
        marks = [pytest.mark.full] if path.stem in heavy else []
        cases.append(pytest.param(path, id=path.stem, marks=marks))
    return cases


def import_or_skip(path):
    """Import a script under a name of its own, or skip by the package that it lacks."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        package = error.name.partition(".")[0]
        if package == "pytest_memleak" or package in OUR_MODULES:
            raise
        pytest.skip(f"{path.name} needs {package}")
    finally:
        del sys.modules[spec.name]


@pytest.mark.parametrize("script", script_cases(heavy=IMPORTS_TORCH))
def test_a_script_imports(script, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    import_or_skip(script)
    # pygal leaves an importer of an old form, of which later imports warn.
    sys.meta_path[:] = [each for each in sys.meta_path if hasattr(each, "find_spec")]


def code_of_notebook(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return re.sub(r"^[%!].*$", "", "\n".join(texts), flags=re.MULTILINE)


def code_of_page(path):
    blocks = re.findall(
        r"^```python[^\n]*\n(.*?)^```$",
        path.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return "\n".join(blocks)


def code_of_script(path):
    return path.read_text(encoding="utf-8")


READERS = {".py": code_of_script, ".ipynb": code_of_notebook, ".md": code_of_page}
SOURCES = [
    *SCRIPTS,
    *sorted(path for path in (ROOT / "docs").iterdir() if path.suffix in READERS),
]


def is_of_the_package(module):
    return module is not None and module.partition(".")[0] == "pytest_memleak"


def imports_of_the_package(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and is_of_the_package(node.module):
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_code_outside_the_package_imports_names_that_it_has(source):
    """Also where another package is missing, and imports inside functions."""
    missing = []
    for module, name in imports_of_the_package(READERS[source.suffix](source)):
        if not hasattr(importlib.import_module(module), name):
            missing.append(f"{module}.{name}")
    assert missing == []


@pytest.mark.parametrize("script", script_cases())
def test_a_script_does_no_work_on_import(script):
    calls = [
        ast.unparse(statement.value.func)
        for statement in ast.parse(script.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    ]
    assert not set(calls) - MAY_CALL
