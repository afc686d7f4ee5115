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


def test_the_image_holds_the_package_s_sources_and_no_ledger():
    sources = {source for source, _ in copied()}
    assert all((ROOT / source).exists() for source in sources)
    assert "." not in sources
    package = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.findall(r'^"([\w./-]+)" = "pytest_memleak/demo', package, re.MULTILINE)
    assert needed
    for path in needed:
        assert any(Path(path).is_relative_to(source) for source in sources)
    assert instructions("USER") == ["1000:1000"]


@pytest.fixture
def image(tmp_path):
    """Puts /src and /opt into a folder, and runs a command of the image there."""
    return Image(tmp_path)


class Image:
    def __init__(self, root):
        self.root = root
        self.gate = root / "gate"
        self.gate.mkdir()

    def within(self, text):
        """A path or command of the image, as of this folder."""
        for top in ("/src", "/opt"):
            text = text.replace(top, f"{self.root}{top}")
        return text

    def copy(self, source, target):
        place = Path(self.within(target))
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, place, ignore=unwanted)
        else:
            shutil.copy(source, place)

    def run(self, command):
        done = subprocess.run(
            ["sh", "-ec", self.within(command)],
            cwd=self.gate,
            env={"HOME": str(self.gate), "PATH": os.environ["PATH"]},
            check=False,
            capture_output=True,
            encoding="utf-8",
            timeout=900,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.full
def test_the_image_s_commands_make_a_gate(image):
    for source, target in copied():
        image.copy(ROOT / source, target)
    for command in instructions("RUN"):
        image.run(command)
    (path,) = instructions("ENV")
    output = image.run(f"export {path}; memleak demo && memleak --version")
    assert "reciter" in output
    assert (image.gate / "memleak-demo" / "report.html").exists()
