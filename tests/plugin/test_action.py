"""action.yml: its shell steps, run as GitHub's runner would."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from signing_keys import make_keys

from pytest_memleak.cli.main import main

ACTION = yaml.safe_load(
    (Path(__file__).parents[2] / "action.yml").read_text(encoding="utf-8")
)
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "run" in step}

SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")


@pytest.fixture
def step(pytester, tmp_path):
    """Runs a step with these inputs; the others have their defaults."""

    def run(name, **given):
        inputs = {
            key: spec.get("default", "") for key, spec in ACTION["inputs"].items()
        } | given
        stands_for = re.compile(r"\$\{\{ inputs\.([\w-]+) \}\}")
        environment = {
            key: stands_for.sub(lambda found: inputs[found[1]], value)
            for key, value in STEPS[name]["env"].items()
        }
        assert "${{" not in STEPS[name]["run"]  # an input is never part of a script
        return subprocess.run(
            [*SHELL, STEPS[name]["run"]],
            cwd=pytester.path,
            env={
                **os.environ,
                **environment,
                "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            capture_output=True,
            check=False,
            encoding="utf-8",
        )

    return run


@pytest.mark.full
def test_the_measure_step_leaves_reports_and_a_summary(step, suite, pytester, tmp_path):
    suite()
    # Options are those of every line.
    options = "-k clean\n--memleak-release 2.1\n"
    done = step("Measure", suite="test.memleak.toml", options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    reports = pytester.path / "memleak-reports"
    names = {path.name for path in reports.iterdir()}
    assert names == {"memleak.xml", "memleak.html", "memleak.json"}
    assert json.loads((reports / "memleak.json").read_text())["release"] == "2.1"
    assert "ferry | ✅ PASS" in (tmp_path / "summary.md").read_text(encoding="utf-8")


@pytest.mark.full
def test_a_wrong_option_fails_the_measure_step(step, suite):
    suite()
    options = "-k clean\n\n--memleak-signing-key no.key"
    done = step("Measure", suite="test.memleak.toml", options=options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR


@pytest.mark.full
def test_the_measure_step_signs_with_the_key_of_its_input(
    step, suite, pytester, monkeypatch
):
    suite()
    make_keys()
    monkeypatch.setenv("TMPDIR", str(pytester.mkdir("temporary")))
    key = (pytester.path / "ours.key").read_text()
    step("Measure", suite="test.memleak.toml", **{"signing-key": key})
    evidence = pytester.path / "memleak-reports" / "memleak.json"
    assert (
        main(["verify", str(evidence), "--public-key", "ours.pub", "--allow-failures"])
        == 0
    )
    assert not [*(pytester.path / "temporary").glob("tmp.*")]


@pytest.mark.full
def test_a_leak_fails_the_step_and_an_input_runs_nothing(step, suite, pytester):
    suite()
    options = "-k leaky; touch $(echo owned)"
    done = step("Measure", suite="test.memleak.toml", options=options)
    assert done.returncode != 0
    assert not (pytester.path / "owned").exists()


@pytest.mark.full
def test_a_leak_leaves_its_reports_in_the_named_folder(step, suite, pytester):
    suite()
    done = step("Measure", suite="test.memleak.toml", folder="there")
    assert done.returncode == 1
    assert (pytester.path / "there" / "memleak.xml").exists()
