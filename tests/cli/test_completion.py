"""`memleak --print-completion`: what a shell completes."""

import shutil
import subprocess
import sys

import pytest

from pytest_memleak.cli.main import main

shtab = pytest.importorskip("shtab")

COMPLETE = """
source /dev/stdin
COMP_WORDS=(memleak {words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_memleak
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def script(capsys):
    def printed(shell, code=None):
        with pytest.raises(SystemExit) as ended:
            main(["--print-completion", shell])
        assert (ended.value.code or None) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return printed


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("led", {"ledger"}),
        ("t", {"table", "trace", "try"}),
        ("ledger hi", {"history"}),
        ("table --fo", {"--format"}),
        ("prepare boo", {"book.epub"}),
    ],
)
def test_bash_completes_commands_options_and_files(script, tmp_path, words, expected):
    (tmp_path / "book.epub").touch()
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", COMPLETE.format(words=words)],
        input=script("bash"),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert set(done.stdout.split()) == expected, done.stderr


def test_other_shells_have_a_script_too_and_none_without_the_extra(script, monkeypatch):
    assert "ledger" in script("zsh")
    assert "ledger" in script("tcsh")
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert "pip install 'pytest-memleak[completion]'" in script("bash", code=2)
