"""What editors and shells read: the schema of suites, and a script of completion."""

import builtins
import json
import shutil
import subprocess
import sys

import jsonschema
import pytest


def test_the_schema_that_is_printed_is_that_of_the_package(memleak):
    done = memleak("suite-schema")
    assert done.returncode == 0
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert {"suite", "limits", "book", "model"} <= schema["properties"].keys()


def test_init_writes_the_line_of_the_schema(memleak, lamplighter, here):
    memleak("init", "--book", lamplighter, "--model", "openai/base")
    (suite,) = here.glob("*.memleak.toml")
    assert suite.read_text().startswith("#:schema ./memleak-suite.schema.json\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash isn't installed")
def test_bash_completes_a_command_and_an_option(memleak, tmp_path):
    script = memleak("completion", "bash").stdout
    asks = 'COMP_WORDS=({words}); COMP_CWORD={last}; _shtab_memleak; echo "${{COMPREPLY[@]}}"'
    for words, last, expected in (
        ("memleak suite-s", 1, "suite-schema"),
        ("memleak view --pa", 2, "--pair"),
    ):
        typed = f"{script}\n{asks.format(words=words, last=last)}\n"
        (tmp_path / "typed.sh").write_text(typed)
        done = subprocess.run(
            ["bash", "typed.sh"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [expected]


def test_a_shell_without_a_script_is_an_error(memleak):
    done = memleak("completion", "xyz")
    assert done.returncode == 2
    assert "choose from" in done.stderr


def test_without_shtab_the_command_says_what_to_install(memleak, monkeypatch):
    imported = builtins.__import__

    def missing(name, *arguments, **more):
        if name == "shtab":
            raise ImportError(name)
        return imported(name, *arguments, **more)

    monkeypatch.delitem(sys.modules, "shtab", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    done = memleak("completion", "bash")
    assert done.returncode == 2
    assert "pip install 'pytest-memleak[completion]'" in done.stderr


@pytest.mark.parametrize("option", ["--memleak-ledger=own.db", "--rootdir=.."])
@pytest.mark.parametrize("variable", [False, True])
def test_commands_follow_the_ledger_that_pytest_s_settings_name(
    memleak, tmp_path, option, variable, monkeypatch
):
    if variable:
        monkeypatch.setenv("PYTEST_ADDOPTS", f"-q {option}")
    else:
        (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = -q {option}\n")
    parent = tmp_path.parent / ".memleak" / "ledger.db"
    place = parent if "rootdir" in option else "own.db"
    assert f"{place}: No ledger exists here" in memleak("ledger", "list").stderr
