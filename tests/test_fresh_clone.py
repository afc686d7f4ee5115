"""`pytest -m copyright` in this repository, with no more installed than the package itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from marks import full
from own_plugin import OWN_PLUGIN

WITHOUT_DEV = """
import sys
import pytest
class NotInstalled:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "hypothesis":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled())
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("paths", "collected"),
    [((), "quickstart/quickstart"), full(("suites",), "whack_a_mole/cross_author")],
)
def test_suites_are_collected_without_the_extra_dev(paths, collected):
    options = [*paths, "-m", "copyright", "--collect-only", "-q"]
    command = [sys.executable, "-c", WITHOUT_DEV, *options, "-p", "no:cacheprovider"]
    settings = {"cwd": Path(__file__).parents[1], "env": {**os.environ, **OWN_PLUGIN}}
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, **settings
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"suites/{collected}.memleak.toml::test_memorization" in result.stdout
