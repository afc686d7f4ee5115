"""A git remote as a witness: an append-only log of announcements, a commit each.

    witness = GitWitness(url, folder)      its copy is kept in the folder
    head = witness.fetch()                 the log's head, "" of an empty log
    commit = witness.append(files, after=head)
    witness.export(commit)                 the log up to there, as a git bundle

Any URL works that git knows. Git's own configuration logs in. The log is a branch of
its own, which is only ever pushed forward: git rejects a push after another's, and
fetching a branch whose history was rewritten.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import urlsplit

from filelock import FileLock

from pytest_memleak.errors import EvidenceError, file_errors
from pytest_memleak.redaction.credentials import masked, without_credentials
from pytest_memleak.redaction.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BRANCH = "refs/heads/memleak-witness"
_SECONDS = 120  # that one command of git may take
_LONGEST_REASON = 200  # characters
_ADDED = "A"
MERGE = "merge"
_SHA256_DIGITS = 64
FOLDERS = ("announcements", "ends")
"""The folders of the log; files beside them aren't its own."""

# Not the user's: an announcement tells nothing of who made it.
_AUTHOR = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "pytest-memleak"), ("EMAIL", "memleak@localhost"))
}
_QUIET = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_SSH_VARIANT": "ssh"}

# What a user's variables may say: how to log in, connect and trace. All others place
# git elsewhere, as those do that git sets for its hooks.
_KEPT_VARIABLES = re.compile(
    "GIT_(SSH|SSL|HTTP|ASKPASS|PROXY|CONFIG|TRACE|CURL|EXEC_PATH|ALLOW_PROTOCOL"
    "|PROTOCOL)"
)

# Settings of a user's that would refuse a push, divert it, or run the user's hooks.
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "gc.auto=0",
    "push.gpgSign=if-asked",
    "push.recurseSubmodules=no",
    "push.followTags=false",
    "push.pushOption=",
)


class _Git(Protocol):
    """Runs git with arguments and input, and returns its output."""

    def __call__(self, *arguments: str, data: bytes = b"") -> bytes:
        """Raise EvidenceError where git fails."""


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """A file that a commit of the log changes.

    status: git's letter, A where the commit adds the file; `MERGE` for a commit with
        several parents, which has no path
    parent: the commit before, "" of the first
    """

    commit: str
    parent: str
    status: str
    path: str
    content: bytes


class GitWitness:
    """A git remote, and the copy of its log in a folder of this machine.

    Every method raises EvidenceError where git fails.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.name = shown_url(url)
        self._copy = folder

    @classmethod
    def kept_in(cls, state: Path, url: str) -> Self:
        """Return the witness whose copy is kept in the state folder of a project."""
        digest = hashlib.sha256(url.encode()).hexdigest()
        return cls(url, state / "witness" / f"{digest[:16]}.git")

    def fetch(self) -> str:
        """Bring the copy up to date; return the log's head, "" of an empty log.

        Raises EvidenceError also where the log doesn't hold what the copy does: its
        history was rewritten.
        """
        with self._locked():
            heads = self._git("ls-remote", "--", self.url, _BRANCH).split()
            if not heads:
                return self._head_of_emptied_log()
            self._create_copy(heads[0])
            self._fetch_branch(heads[0])
            return heads[0]

    def append(self, files: Mapping[str, bytes], *, after: str) -> str | None:
        """Add a commit with these files; return it, or None if the head has moved.

        after: the head that it must follow, "" of an empty log
        """
        with self._locked():
            self._create_copy(after)
            commit = self._commit(files, after)
            pushed = self._run("push", "-q", "--", self.url, f"{commit}:{_BRANCH}")
            if pushed.returncode == 0:
                self._git("update-ref", _BRANCH, commit)
                return commit
        head = self.fetch()
        if head == commit:  # the answer to the push was lost
            return commit
        if head != after:
            return None
        raise self._error("doesn't take the announcement", pushed.stderr)

    def files(self, head: str) -> Iterator[CommittedFile]:
        """Yield the files of all commits up to a head, in their order."""
        if head:
            yield from _files(self._git_bytes, head)

    def export(self) -> bytes:
        """Return the log as a git bundle, which git verifies without a network."""
        return self._git_bytes("bundle", "create", "-q", "-", _BRANCH)

    def contains(self, commit: str) -> bool:
        """Tell whether a commit belongs to the log that was fetched."""
        ancestry = self._run("merge-base", "--is-ancestor", commit, _BRANCH)
        return ancestry.returncode == 0

    def _head_of_emptied_log(self) -> str:
        if (self._copy / "HEAD").exists():
            stored = self._run("rev-parse", "--verify", "-q", _BRANCH)
            if stored.returncode == 0:
                raise self._rewritten_error()
        return ""

    def _create_copy(self, head: str) -> None:
        if not (self._copy / "HEAD").exists():
            with file_errors(EvidenceError, self._copy, "can't be written"):
                self._copy.mkdir(parents=True, exist_ok=True)
            _initialize(self._git_bytes, head)

    def _fetch_branch(self, head: str) -> None:
        stored = self._run("rev-parse", "--verify", "-q", _BRANCH)
        self._git("fetch", "-q", "--no-tags", "--", self.url, _BRANCH)
        if stored.returncode == 0:
            before = stored.stdout.decode().strip()
            ancestry = self._run("merge-base", "--is-ancestor", before, head)
            if ancestry.returncode:
                raise self._rewritten_error()
        self._git("update-ref", _BRANCH, head)

    def _commit(self, files: Mapping[str, bytes], parent: str) -> str:
        index = self._copy / "memleak-index"
        index.unlink(missing_ok=True)
        place = {"GIT_INDEX_FILE": str(index)}
        if parent:
            self._git("read-tree", parent, environment=place)
        for path, content in files.items():
            blob = self._git("hash-object", "-w", "--stdin", data=content).strip()
            entry = f"100644,{blob},{path}"
            self._git("update-index", "--add", "--cacheinfo", entry, environment=place)
        tree = self._git("write-tree", environment=place).strip()
        parents = ("-p", parent) if parent else ()
        message = next(iter(files))
        commit = self._git(
            "commit-tree", tree, *parents, "-m", message, environment=_AUTHOR
        )
        return commit.strip()

    def _locked(self) -> FileLock:
        lock = self._copy.with_suffix(".lock")
        with file_errors(EvidenceError, lock, "can't be written"):
            lock.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(lock)

    def _run(
        self,
        *arguments: str,
        data: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        place = {"GIT_DIR": str(self._copy), **(environment or {})}
        return _run_git(*arguments, data=data, environment=place, place=self.name)

    def _git_bytes(self, *arguments: str, data: bytes = b"") -> bytes:
        completed = self._run(*arguments, data=data)
        if completed.returncode:
            raise self._error(f"git {arguments[0]} failed", completed.stderr)
        return completed.stdout

    def _git(
        self,
        *arguments: str,
        data: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> str:
        completed = self._run(*arguments, data=data, environment=environment)
        if completed.returncode:
            raise self._error(f"git {arguments[0]} failed", completed.stderr)
        return completed.stdout.decode()

    def _error(self, what: str, output: bytes) -> EvidenceError:
        return EvidenceError(
            f"The witness {what}: {_reason(output)}",
            location=self.name,
            hint=f"make sure that this works: git ls-remote {self.name}; if it does, "
            f"move the copy {self._copy} away, and rerun: it is fetched again",
        )

    def _rewritten_error(self) -> EvidenceError:
        return EvidenceError(
            "The witness's history was rewritten: announcements that it had are gone",
            location=self.name,
            hint="ask who keeps the witness to restore the branch memleak-witness; "
            f"{self._copy} has its former history",
        )


def files_in_export(data: bytes) -> tuple[str, tuple[CommittedFile, ...]]:
    """Return the head of an exported log, and the files of its commits.

    Git checks every object by its digest. Raises EvidenceError for other data.
    """
    with tempfile.TemporaryDirectory(prefix="memleak-") as folder:
        copy, bundle = Path(folder) / "log.git", Path(folder) / "log.bundle"
        bundle.write_bytes(data)

        def git(*arguments: str, data: bytes = b"") -> bytes:
            place = {"GIT_DIR": str(copy)}
            completed = _run_git(
                *arguments, data=data, environment=place, place="the receipt's log"
            )
            if completed.returncode:
                raise EvidenceError(
                    f"The receipt's log isn't whole: {_reason(completed.stderr)}",
                    hint="restore the receipt that the run wrote",
                )
            return completed.stdout

        copy.mkdir()
        is_sha256 = b"object-format=sha256" in data[:_LONGEST_REASON]
        _initialize(git, "0" * 64 if is_sha256 else "")
        fetch = ("-c", "fetch.fsckObjects=true", "fetch", "-q", "--no-tags")
        git(*fetch, str(bundle), f"{_BRANCH}:{_BRANCH}")
        head = git("rev-parse", _BRANCH).decode().strip()
        return head, tuple(_files(git, head))


def shown_url(url: str) -> str:
    """Return a URL without what may be a secret: user, password, and query."""
    return inert(without_credentials(url))


def validate_url(url: str) -> None:
    """Raise EvidenceError for an address that can't be a git remote's."""
    parts = urlsplit(url)
    if not url.strip() or url.startswith("-") or not (parts.netloc or parts.path):
        raise EvidenceError(
            "not the address of a git remote",
            location=shown_url(url),
            hint="write a URL, as in https://git.example/witness.git, or a path",
        )


def _initialize(git: _Git, head: str) -> None:
    form = "sha256" if len(head) == _SHA256_DIGITS else "sha1"
    git("init", "-q", "--bare", f"--object-format={form}")


def _files(git: _Git, head: str) -> Iterator[CommittedFile]:
    """Yield what each commit of the log changes; `git` runs there."""
    form = "--format=format:%x01%H %P"
    order = ("--first-parent", "--reverse", "--no-renames", "--name-status")
    listed = git("-c", "core.quotePath=true", "log", *order, form, head, "--")
    changes = []
    for text in listed.decode("utf-8", "replace").split("\x01")[1:]:
        names, *lines = text.splitlines()
        commit, *parents = names.split()
        if len(parents) > 1:
            changes.append((commit, parents[0], MERGE, ""))
        for line in filter(None, lines):
            status, _, path = line.partition("\t")
            if path.partition("/")[0] in FOLDERS:
                parent = parents[0] if parents else ""
                changes.append((commit, parent, status, path))
    added = [change for change in changes if change[2] == _ADDED]
    contents = iter(_contents(git, [(change[0], change[3]) for change in added]))
    for commit, parent, status, path in changes:
        content = next(contents) if status == _ADDED else b""
        yield CommittedFile(commit, parent, status, path, content)


def _contents(git: _Git, places: list[tuple[str, str]]) -> Iterator[bytes]:
    """Yield the content of each path of a commit; empty where git has none."""
    asked = "".join(f"{commit}:{path}\n" for commit, path in places)
    output = git("cat-file", "--batch", data=asked.encode())
    at = 0
    for _ in places:
        end = output.index(b"\n", at)
        *_, kind, size = output[at:end].rsplit(b" ", 2)
        at = end + 1
        if kind != b"blob":
            yield b""
            continue
        yield output[at : at + int(size)]
        at += int(size) + 1


def _run_git(
    *arguments: str,
    data: bytes,
    environment: Mapping[str, str],
    place: str,
) -> subprocess.CompletedProcess[bytes]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or _KEPT_VARIABLES.match(name)
    }
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    try:
        return subprocess.run(  # noqa: S603 - no shell
            ("git", *settings, *arguments),  # noqa: S607 - the user's own git
            input=data,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={**inherited, **_QUIET, **environment},
        )
    except FileNotFoundError:
        raise EvidenceError(
            "A witness needs git, which isn't installed",
            location=place,
            hint="install git, or omit --memleak-witness",
        ) from None
    except subprocess.TimeoutExpired:
        raise EvidenceError(
            f"The witness didn't answer within {_SECONDS} seconds",
            location=place,
            hint=f"make sure that this works: git ls-remote {place}",
        ) from None


def _reason(output: bytes) -> str:
    """Return the first error that git printed, without credentials."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))]
    line = (fatal or lines or ["no reason given"])[0]
    return masked(line, limit=_LONGEST_REASON)
