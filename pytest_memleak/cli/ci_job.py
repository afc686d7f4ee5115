"""The job that runs a suite in CI, as `memleak init` writes it."""

from __future__ import annotations

from pathlib import Path

from pytest_memleak.cli.run_pytest import command_line
from pytest_memleak.providers.provider_registry import PROVIDERS, Needs

_GITHUB = """\
name: memorization
on:
  workflow_dispatch:
  push:
    tags: ["v*"]
jobs:
  memorization:
    runs-on: ubuntu-latest
    timeout-minutes: 350
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.13"
      # Made for {requirement} as docs/ci.md says: every file by its hash.
      - run: pip install --require-hashes -r memleak.lock
      # The answers, so that none is paid for twice: a cache must be as private as the books.
      - uses: actions/cache@v4
        with:
          path: .memleak
          key: memleak-${{{{ github.run_id }}}}
          restore-keys: memleak-
      - run: {command}
{environment}\
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: memleak
          path: |
            memleak.xml
            memleak.html
            memleak.json
"""
_GITLAB = """\
memorization:
  image: python:3.13
  rules:
    - if: $CI_COMMIT_TAG
  cache:
    key: memleak
    paths: [.memleak/]
  script:
    # Made for {requirement} as docs/ci.md says: every file by its hash.
    - pip install --require-hashes -r memleak.lock
    - {command}
  artifacts:
    when: always
    paths: [memleak.html, memleak.json]
    reports:
      junit: memleak.xml
"""
CI = {
    "github": (Path(".github/workflows/memorization.yml"), _GITHUB),
    "gitlab": (Path(".gitlab-ci.yml"), _GITLAB),
}
"""Whose jobs are known: the file, and what stands in it."""


def ci_job(name: str, suite: Path, provider: str) -> tuple[Path, str] | None:
    """The file of the job and its text; None for `none`. SettingsError for a name unknown."""
    from pytest_memleak.errors import SettingsError

    if name == "none":
        return None
    if name not in CI:
        raise SettingsError(f"--ci: there is no {name!r}", hint=f"one of {', '.join(CI)}, or none")
    path, text = CI[name]
    needs = PROVIDERS[provider].needs if provider in PROVIDERS else Needs()
    command = command_line(
        *("pytest", "-m", "copyright", suite.as_posix(), "--memleak-quote", "0"),
        *(
            "--junitxml=memleak.xml",
            "--memleak-html=memleak.html",
            "--memleak-evidence=memleak.json",
        ),
    )
    variables = [
        f"          {one}: ${{{{ secrets.{one} }}}}\n" for one in (*needs.keys, *needs.settings)
    ]
    return path, text.format(
        requirement=needs.requirement,
        command=command,
        environment="".join(["        env:\n", *variables]) if variables else "",
    )
