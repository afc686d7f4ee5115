"""The Dockerfile: its commands, run in a new environment; what it takes along."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = [
    line.partition(" ")[::2]
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def instructions(kind):
    return [rest for name, rest in STEPS if name == kind]


def copied():
    """What is taken along, and where it goes."""
    for line in instructions("COPY"):
        *sources, target = line.split()
        for source in sources:
            yield source, target + Path(source).name if target.endswith("/") else target


def test_it_takes_along_what_the_package_is_made_of_and_no_ledger():
    sources = {source for source, _ in copied()}
    assert all((ROOT / source).exists() for source in sources)
    assert "." not in sources
    package = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.findall(r'^"([\w./-]+)" = "pytest_memleak/demo', package, re.MULTILINE)
    assert needed
    for path in needed:
        assert any(Path(path).is_relative_to(source) for source in sources)
    assert instructions("USER") == ["1000:1000"]


@pytest.mark.full
def test_its_commands_make_a_gate(tmp_path):
    def here(text):
        return text.replace("/src", f"{tmp_path}/src").replace(
            "/opt", f"{tmp_path}/opt"
        )

    for source, target in copied():
        place = Path(here(target))
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / source, place)
    gate = tmp_path / "gate"
    gate.mkdir()
    environment = {"HOME": str(gate), "PATH": os.environ["PATH"]}
    (path,) = instructions("ENV")
    commands = [
        *instructions("RUN"),
        f"export {path}; memleak demo && memleak --version",
    ]
    for command in commands:
        settings = {"capture_output": True, "encoding": "utf-8", "timeout": 900}
        shell = ["sh", "-ec", here(command)]
        done = subprocess.run(shell, cwd=gate, env=environment, check=False, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "reciter" in done.stdout
    assert (gate / "memleak-demo" / "report.html").exists()
