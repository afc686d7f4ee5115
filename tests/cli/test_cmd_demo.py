"""`memleak demo`: the quickstart from what is installed, once in an environment of its own."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def check_demo(done, folder):
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [line.split()[-1] for line in done.stdout.splitlines() if "310/310" in line]
    assert verdicts == ["PASS", "PASS", "(expected)", "(expected)"]
    assert (folder / "report.html").stat().st_size > 10_000
    assert "next: memleak try BOOK.epub --model openai/NAME" in done.stdout


@pytest.mark.full
def test_the_demo_runs_and_leaves_its_files(memleak, tmp_path):
    check_demo(memleak("demo"), tmp_path / "memleak-demo")
    suite = tmp_path / "memleak-demo" / "quickstart.memleak.toml"
    # A suite that was changed is the reader's own: it is neither written over nor passed over.
    suite.write_text(suite.read_text().replace('expected = "leak"\n', ""))
    again = memleak("demo")
    assert again.returncode == 1
    assert "memleak-demo/quickstart.memleak.toml changed?" in again.stdout
    assert again.stdout.splitlines()[-1].startswith("next: memleak demo another-folder")


def test_the_wheel_takes_what_the_demo_needs():
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = tables["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert all((ROOT / source).is_file() for source in included)
    assert all(target == f"pytest_memleak/demo/{source}" for source, target in included.items())
    (suite,) = [one for one in included if one.endswith(".toml")]
    named = {
        path
        for book in tomllib.loads((ROOT / suite).read_text(encoding="utf-8"))["book"]
        for path in (book["source"], book["summaries"])
    }
    assert {os.path.normpath(Path(suite).parent / one) for one in named} <= set(included)


@pytest.mark.full
def test_from_pip_install_to_the_table_in_one_command(tmp_path):
    """A new environment, a new home, no repository at hand."""
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    there = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv/bin/python", "-m", "pip", "install", "-q", ROOT]
    subprocess.run(pip, check=True, cwd=folder)
    done = subprocess.run(
        [tmp_path / "venv/bin/memleak", "demo"],
        cwd=folder,
        env=there,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    check_demo(done, folder / "memleak-demo")
