"""Where a run takes place, as its environment says: CI system, job, lock file."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pytest_memleak.records.made_by import NO_CI, MadeBy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LOCK_FILES = (
    "pylock.toml",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "conda-lock.yml",
)
_LONGEST_ADDRESS = 300  # characters
_VARIABLE = re.compile(r"\{(\w+)\}")


class _System(NamedTuple):
    """A CI system, by the variable that it sets.

    job: the address of a job, with variables in braces
    """

    name: str
    variable: str
    job: str


_SYSTEMS = (
    _System(
        "GitHub Actions",
        "GITHUB_ACTIONS",
        "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",
    ),
    _System("GitLab CI", "GITLAB_CI", "{CI_JOB_URL}"),
    _System("Jenkins", "JENKINS_URL", "{BUILD_URL}"),
    _System("CircleCI", "CIRCLECI", "{CIRCLE_BUILD_URL}"),
    _System("Buildkite", "BUILDKITE", "{BUILDKITE_BUILD_URL}#{BUILDKITE_JOB_ID}"),
    _System(
        "Azure Pipelines",
        "TF_BUILD",
        "{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results"
        "?buildId={BUILD_BUILDID}",
    ),
    _System("Travis CI", "TRAVIS", "{TRAVIS_JOB_WEB_URL}"),
    _System("TeamCity", "TEAMCITY_VERSION", "{BUILD_URL}"),
    _System("another CI system", "CI", ""),
)


def run_origin(
    operator: str | None,
    environment: Mapping[str, str],
    folder: Path,
) -> MadeBy:
    """Return who makes a run, and where.

    folder: where a lock file may be
    """
    host, job = _host(environment)
    lock_file = next((name for name in _LOCK_FILES if (folder / name).is_file()), None)
    digest = None
    if lock_file is not None:
        try:
            data = (folder / lock_file).read_bytes()
        except OSError:
            lock_file = None
        else:
            digest = hashlib.sha256(data).hexdigest()
    return MadeBy(operator, host, job, lock_file, digest)


def _host(environment: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the CI system and the job's address; None where it has none."""
    for system in _SYSTEMS:
        if environment.get(system.variable, "").lower() in ("", "false", "0"):
            continue
        names = _VARIABLE.findall(system.job)
        if not names or not all(environment.get(name) for name in names):
            return system.name, None
        address = system.job.format_map(environment)
        return system.name, _plain_address(address)
    return NO_CI, None


def _plain_address(address: str) -> str | None:
    """Return a web address without a user or password; None for any other text."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    is_web = parts.scheme in ("http", "https") and parts.netloc
    if not is_web or not address.isprintable() or len(address) > _LONGEST_ADDRESS:
        return None
    _, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=host).geturl()
