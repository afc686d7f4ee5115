"""The log of a witness: which runs were announced, and which of them ended.

An announcement is a JSON file, named by its own digest, in a commit of its own. It
states the head that it follows, from which the seed comes, so that nothing but the log
chose it. An end names its announcement and the digest of the bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pytest_memleak.pipeline.witness_git_remote import MERGE
from pytest_memleak.records.witness_records import AnnouncedPair
from pytest_memleak.results.evidence_file import canonical_json
from pytest_memleak.results.result_codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_memleak.pipeline.witness_git_remote import CommittedFile

_ANNOUNCEMENT = "pytest-memleak announcement 1"
_END = "pytest-memleak end 1"
_SEED_BYTES = 4


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a run tells a witness before its first call.

    head:   the log's head that it follows
    ledger: the first link of the ledger's chain, which names the ledger
    """

    schema: str
    head: str
    ledger: str
    pairs: tuple[AnnouncedPair, ...]

    def covers(self, ledger: str, pairs: Iterable[AnnouncedPair]) -> bool:
        """Tell whether a run of these pairs with this ledger goes on with it."""
        return self.ledger == ledger and set(pairs) <= set(self.pairs)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """That an announced run ended with a bundle, by the digest in it."""

    schema: str
    announcement: str
    bundle: str


@dataclass(frozen=True, slots=True)
class LoggedAnnouncement:
    """An announcement in the log, the commit that holds it, and its time stamp.

    text:  the bytes that were stamped
    stamp: the response of a time stamp authority (RFC 3161), None without one
    """

    commit: str
    announcement: Announcement
    text: bytes
    stamp: bytes | None = None


@dataclass(frozen=True, slots=True)
class AnnouncedAttempts:
    """The attempts at a model and a book that a witness knows of.

    number: of the pair, in the order of announcements, from 1; None if it isn't one
    """

    number: int | None
    announced: int
    without_result: int

    @property
    def text(self) -> str:
        """Such as `attempt 3 of 3`, and how many have no result."""
        text = f"attempt {self.number or 'none'} of {self.announced:,}"
        return f"{text} known to {{witness}}, {self.without_result:,} without a result"


@dataclass(slots=True)
class WitnessLog:
    """The announcements and ends of a log, in its order.

    faults: a sentence for each change that an append-only log doesn't allow
    """

    head: str
    announcements: dict[str, LoggedAnnouncement] = field(default_factory=dict)
    bundles: defaultdict[str, list[str]] = field(
        default_factory=lambda: defaultdict(list),
    )
    faults: list[str] = field(default_factory=list)

    def announcement_to_continue(
        self,
        ledger: str,
        pairs: Iterable[AnnouncedPair],
    ) -> LoggedAnnouncement | None:
        """Return the last announcement that a run of these pairs goes on with."""
        wanted = list(pairs)
        for logged in reversed(self.announcements.values()):
            if logged.announcement.covers(ledger, wanted):
                return logged
        return None

    def count_announced_attempts(
        self, own: AnnouncedPair, own_commit: str
    ) -> AnnouncedAttempts:
        """Count the attempts at a model and a book, whatever suites called them.

        Each set of prompts and settings of an announcement is one.
        """
        announced: list[tuple[str, AnnouncedPair]] = []
        for logged in self.announcements.values():
            pairs = logged.announcement.pairs
            same = [pair for pair in pairs if pair.identity == own.identity]
            announced += [(logged.commit, pair) for pair in same]
        key = (own_commit, own)
        number = announced.index(key) + 1 if key in announced else None
        open_ones = [pair for commit, pair in announced if not self.bundles.get(commit)]
        return AnnouncedAttempts(number, len(announced), len(open_ones))


def read_log(head: str, files: Iterable[CommittedFile]) -> WitnessLog:
    """Read a log; anything but announcements and ends of this form is a fault."""
    log = WitnessLog(head)
    stamps = {}
    for file in files:
        place = PurePosixPath(file.path)
        if file.status == MERGE:
            log.faults.append(
                f"commit {file.commit[:12]} is a merge, which hides others"
            )
        elif file.status != "A":
            log.faults.append(f"commit {file.commit[:12]} changes {file.path}")
        elif place.suffix == ".tsr":
            stamps[file.commit, place.stem] = file.content
        elif hashlib.sha256(file.content).hexdigest() != place.stem:
            log.faults.append(f"{file.path} isn't what its name says")
        else:
            _add(log, file)
    for logged in list(log.announcements.values()):
        name = hashlib.sha256(logged.text).hexdigest()
        stamp = stamps.get((logged.commit, name))
        log.announcements[logged.commit] = LoggedAnnouncement(
            logged.commit, logged.announcement, logged.text, stamp
        )
    return log


def _add(log: WitnessLog, file: CommittedFile) -> None:
    try:
        content = json.loads(file.content)
        if content["schema"] == _ANNOUNCEMENT:
            announcement = decode(Announcement, content)
            logged = LoggedAnnouncement(file.commit, announcement, file.content)
            log.announcements[file.commit] = logged
            if announcement.head != file.parent:
                log.faults.append(
                    f"announcement {file.commit[:12]} names another head than the "
                    "one it follows",
                )
        elif content["schema"] == _END:
            end = decode(RunEnd, content)
            log.bundles[end.announcement].append(end.bundle)
        else:
            log.faults.append(f"{file.path} has a form that this version doesn't know")
    except (ValueError, ValidationError, LookupError, TypeError, RecursionError):
        log.faults.append(f"{file.path} can't be read")


def announcement_text(
    head: str,
    ledger: str,
    pairs: Iterable[AnnouncedPair],
) -> bytes:
    """Return the announcement of a run in canonical JSON."""
    distinct = sorted(
        set(pairs), key=lambda pair: (pair.identity, pair.settings, pair.prompts)
    )
    announcement = Announcement(_ANNOUNCEMENT, head, ledger, tuple(distinct))
    return canonical_json(encode(announcement))


def end_text(announcement: str, bundle_sha256: str) -> bytes:
    """Return the end of a run in canonical JSON."""
    return canonical_json(encode(RunEnd(_END, announcement, bundle_sha256)))


def announcement_files(text: bytes, stamp: bytes | None) -> Mapping[str, bytes]:
    """Return the files of an announcement's commit by their paths."""
    place = f"announcements/{_place_of(text)}"
    files = {f"{place}.json": text}
    if stamp is not None:
        files[f"{place}.tsr"] = stamp
    return files


def end_files(text: bytes) -> Mapping[str, bytes]:
    """Return the file of an end's commit by its path."""
    return {f"ends/{_place_of(text)}.json": text}


def _place_of(text: bytes) -> str:
    """Name a text in one of 256 folders, since each commit lists its folder again."""
    name = hashlib.sha256(text).hexdigest()
    return f"{name[:2]}/{name}"


def seed_from_log_head(head: str) -> int:
    """Return the seed, of 31 bits, that follows from a log's head."""
    digest = hashlib.sha256(b"pytest-memleak seed " + head.encode()).digest()
    return int.from_bytes(digest[:_SEED_BYTES]) >> 1
