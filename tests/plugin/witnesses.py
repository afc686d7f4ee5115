"""A bare git repository as a witness, and runs of one model and book that tell it of them."""

import json
import os
import subprocess
from pathlib import Path

from ferry import BOOK
from suite_files import write_book

from pytest_memleak.cli.main import main

SUITE = """
[suite]
samples = 2
seed = {seed}
[limits]
longest_passage = 100
[[book]]
id = "{book}"
source = "{book}.json"
[[model]]
id = "{model}"
provider = "ngram"
[model.options]
order = 2
pretraining = ["{book}"]
"""

AUTHOR = {
    "GIT_AUTHOR_NAME": "a keeper",
    "GIT_AUTHOR_EMAIL": "keeper@localhost",
    "GIT_COMMITTER_NAME": "a keeper",
    "GIT_COMMITTER_EMAIL": "keeper@localhost",
}


def _instruction(key):
    return (
        f"Write the story {key} of a ferryman who hears an old warning about a strange "
        "passenger, and sees what comes across the dark water on the next morning."
    )


class Witnessed:
    """Runs in folders of their own, each with a fresh ledger, that share a witness."""

    def __init__(self, pytester, home=None):
        self._pytester = pytester
        self.home = home or pytester.path
        self.repository = self.home / "witness.git"
        self.repository.mkdir()
        self.git("init", "-q", "--bare")
        self.url = self.repository.as_uri()

    def git(self, *arguments):
        """Run git in the witness; what it prints."""
        done = subprocess.run(
            ("git", "-C", self.repository, *arguments),
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **AUTHOR},
        )
        return done.stdout

    def write(self, folder, *, model="babbler", book="ferry", seed=0, texts=BOOK):
        path = self.home / folder
        path.mkdir()
        os.chdir(path)
        rows = {f"p_id{number}": text for number, text in enumerate(texts, start=1)}
        write_book(f"{book}.json", rows, _instruction)
        text = SUITE.format(model=model, book=book, seed=seed)
        name = f"of_{folder}.memleak.toml"
        Path(name).write_text(text, encoding="utf-8")
        return path

    def run(self, folder, *options, url=None, how="runpytest"):
        os.chdir(self.home / folder)
        run = getattr(self._pytester, how)
        return run(
            "--rootdir=.",
            "--memleak-evidence=evidence.json",
            f"--memleak-witness={url or self.url}",
            *options,
        )

    def begin(self, folder, *options, **written):
        """Write a suite and run it once."""
        self.write(folder, **written)
        return self.run(folder, *options)

    def write_suite(self, folder):
        """Write a suite; its path."""
        return self.write(folder) / f"of_{folder}.memleak.toml"

    def verify(self, capsys, folder, *options):
        os.chdir(self.home / folder)
        capsys.readouterr()
        code = main(["verify", "evidence.json", "--allow-failures", *options])
        return code, "".join(capsys.readouterr())

    def bundle(self, folder):
        text = (self.home / folder / "evidence.json").read_text(encoding="utf-8")
        return json.loads(text)

    def log(self):
        """What each commit's JSON holds, in order."""
        head = self.git("rev-list", "--reverse", "memleak-witness").split()
        contents = []
        for commit in head:
            names = self.git("show", "--name-only", "--format=", commit).split()
            (name,) = (name for name in names if name.endswith(".json"))
            contents.append(json.loads(self.git("show", f"{commit}:{name}")))
        return contents
