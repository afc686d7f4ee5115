"""Scripts that no other test runs, in benchmarks/ and docs/figures/, still import."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "benchmarks", ROOT / "docs" / "figures"]
SCRIPTS = sorted(path for folder in FOLDERS for path in folder.glob("*.py"))
OUR_MODULES = {path.stem for path in [*SCRIPTS, *ROOT.glob("tests/**/*.py")]}
IMPORTS_TORCH = {"local_tokens"}
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


@pytest.mark.parametrize("script", script_cases())
def test_a_script_imports_only_names_that_the_package_has(script):
    """Also the script that lacks another package, and imports inside functions."""
    missing = []
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        if node.module.partition(".")[0] != "pytest_memleak":
            continue
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                missing.append(f"{node.module}.{alias.name}")
    assert missing == []


@pytest.mark.parametrize("script", script_cases())
def test_a_script_does_no_work_on_import(script):
    calls = [
        ast.unparse(statement.value.func)
        for statement in ast.parse(script.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    ]
    assert not set(calls) - MAY_CALL
