"""`memleak demo`: the quickstart, from a wheel and from a checkout."""

import os
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.full
def test_the_demo_passes_and_leaves_suite_and_report(memleak, tmp_path):
    done = memleak("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if "310/310" in line]
    assert [row.split()[-1] for row in rows] == ["PASS", "(expected)"]
    assert (tmp_path / "memleak-demo" / "report.html").stat().st_size > 10_000
    assert (
        "To test your own model: memleak try BOOK.epub --model openai/NAME"
        in done.stdout
    )


@pytest.mark.full
def test_a_changed_suite_is_run_and_not_written_over(memleak, tmp_path):
    assert memleak("demo").returncode == 0
    suite = tmp_path / "memleak-demo" / "quickstart.memleak.toml"
    suite.write_text(suite.read_text().replace('expected = "leak"\n', ""))
    again = memleak("demo")
    assert again.returncode == 1
    assert "memleak-demo/quickstart.memleak.toml changed?" in again.stdout
    assert again.stdout.splitlines()[-1].startswith("Next: memleak demo another-folder")


def files_of_suite(path):
    """The files that a suite of the project names."""
    suite = tomllib.loads((ROOT / path).read_text(encoding="utf-8"))
    for book in suite["book"]:
        for name in (book["source"], book["summaries"]):
            yield os.path.normpath(Path(path).parent / name)


def test_the_wheel_has_what_the_demo_needs():
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = tables["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for source, target in included.items():
        assert (ROOT / source).is_file()
        assert target == f"pytest_memleak/demo/{source}"
    (suite,) = [path for path in included if path.endswith(".toml")]
    assert set(files_of_suite(suite)) <= set(included)
