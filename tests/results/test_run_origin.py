"""Who makes a run, and where, as its environment says."""

import hashlib

import pytest

from pytest_memleak.records.made_by import MadeBy
from pytest_memleak.results.run_origin import run_origin

GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "a/b",
    "GITHUB_RUN_ID": "7",
}
# Variables, the host, and the job's address.
HOSTS = (
    ({}, "a machine outside CI", None),
    ({"CI": "false"}, "a machine outside CI", None),
    ({"CI": "true"}, "another CI system", None),
    (GITHUB, "GitHub Actions", "https://github.example/a/b/actions/runs/7"),
    ({"GITHUB_ACTIONS": "true"}, "GitHub Actions", None),
    (
        {"GITLAB_CI": "true", "CI_JOB_URL": "https://u:secret@ci.example/jobs/7"},
        "GitLab CI",
        "https://ci.example/jobs/7",
    ),
    ({"JENKINS_URL": "x", "BUILD_URL": "javascript:alert(1)"}, "Jenkins", None),
    ({"JENKINS_URL": "x", "BUILD_URL": "https://ci/\n"}, "Jenkins", None),
)


@pytest.mark.parametrize(("environment", "host", "job"), HOSTS)
def test_a_run_s_host_is_its_ci_system_and_job(tmp_path, environment, host, job):
    origin = run_origin("Desk", environment, tmp_path)
    assert origin == MadeBy("Desk", host, job)


def test_a_lock_file_is_named_with_its_digest(tmp_path):
    (tmp_path / "uv.lock").write_bytes(b"version = 1\n")
    origin = run_origin(None, {}, tmp_path)
    digest = hashlib.sha256(b"version = 1\n").hexdigest()
    assert (origin.lock_file, origin.lock_sha256) == ("uv.lock", digest)
    assert origin.text == (
        f"by no named operator, on a machine outside CI, lock file uv.lock {digest}"
    )
