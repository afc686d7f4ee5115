"""Trainings that a client has to drive, as jobs that can be started, looked at and taken up.

A job is a training set kept in a folder, a lock that whoever drives it holds, and, once it has
ended, the name of its weights. It is driven by a thread of one process; a lock that is free
means that nobody drives it, as after a crash, and whoever looks at the job next takes it up.
One that fails again and again without getting further is not, for every try may cost something.
When the process ends, the thread is asked to stop, and given some time to save what it has done.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pytest_memleak.errors import ProviderBusy, ProviderError
from pytest_memleak.interfaces.protocols import JobState, JobStatus, TrainingExample, TrainingSet
from pytest_memleak.redaction.private_files import private_folder

_GRACE = 60.0
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Weights:
    """Trained weights at the provider; `tokens` trained for them, if that is known."""

    path: str
    tokens: int | None = None


@dataclass(slots=True)
class Drive:
    """A thread at work on a job.

    stop: set when it is to save and end; progress: set by it when it has saved something;
    failure: what it died of.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    progress: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None
    thread: threading.Thread | None = None


Train = Callable[[str, TrainingSet, Drive], Weights | None]
"""Trains the job of that name; None if it was stopped before it was done."""


class Jobs:
    """The jobs in `folder`, which is made at need; `train` does the work."""

    def __init__(self, folder: Path, train: Train) -> None:
        self._folder = folder
        self._train = train
        self._drives: dict[str, Drive] = {}
        self._in_vain: dict[str, int] = {}
        self._guard = threading.Lock()

    def is_started(self, job: str) -> bool:
        """Whether the job has been started, or has ended, in this folder."""
        return self._path(job, "training").is_file() or self._path(job, "weights").is_file()

    def start(self, job: str, training: TrainingSet) -> None:
        """Keep the training set and begin to train, unless that was done before."""
        if not self.is_started(job):
            pairs = [[example.instruction, example.text] for example in training.examples]
            _write(self._path(job, "training"), {"digest": training.digest, "examples": pairs})
        self.look(job)

    def end(self, job: str, weights: Weights) -> None:
        """Write down that the job has ended, and with which weights."""
        _write(self._path(job, "weights"), {"path": weights.path, "tokens": weights.tokens})
        self._path(job, "training").unlink(missing_ok=True)

    def look(self, job: str) -> JobState | None:
        """Where the job stands, after taking it up if nobody drives it; None if it is unknown.

        Raises what the thread that drove it has died of, once; the next look begins again. A
        ProviderBusy becomes a ProviderError when it has come too often without progress.
        """
        with self._guard:
            state = self._ended(job)
            if state is not None:
                self._drives.pop(job, None)
                return state
            drive = self._drives.get(job)
            if drive is not None and drive.thread is not None and drive.thread.is_alive():
                return JobState(JobStatus.RUNNING)
            self._drives.pop(job, None)
            if drive is not None and drive.failure is not None:
                raise self._failure(job, drive, drive.failure)
            return self._take_up(job)

    def _failure(self, job: str, drive: Drive, error: BaseException) -> BaseException:
        tries = 1 if drive.progress.is_set() else self._in_vain.get(job, 0) + 1
        self._in_vain[job] = tries
        if not isinstance(error, ProviderBusy) or tries < _TRIES:
            return error
        self._in_vain.pop(job)
        return ProviderError(
            f"{error.cause} ({tries} times, without progress)",
            provider=error.provider,
            endpoint=error.endpoint,
            call=error.call,
            hint=error.hint or "Checkpoints are kept: rerun when the provider works again.",
        )

    def _take_up(self, job: str) -> JobState | None:
        path = self._path(job, "training")
        if not path.is_file():
            return self._ended(job)  # it may have ended a moment ago
        lock = FileLock(self._path(job, "lock"), thread_local=False)
        with contextlib.suppress(Timeout):
            lock.acquire(blocking=False)
            self._drives[job] = self._drive(job, path, lock)
        return JobState(JobStatus.RUNNING)

    def _drive(self, job: str, path: Path, lock: FileLock) -> Drive:
        drive = Drive()
        farewell = functools.partial(_farewell, drive)

        def work() -> None:
            try:
                weights = self._train(job, _training(path), drive)
                if weights is not None:
                    self.end(job, weights)
            except BaseException as error:  # noqa: BLE001 - raised again by `look`
                drive.failure = error
            finally:
                lock.release()
                atexit.unregister(farewell)

        drive.thread = threading.Thread(target=work, name=f"memleak-{job[:24]}", daemon=True)
        atexit.register(farewell)
        drive.thread.start()
        return drive

    def _ended(self, job: str) -> JobState | None:
        try:
            record = json.loads(self._path(job, "weights").read_bytes())
        except FileNotFoundError:
            return None
        return JobState(JobStatus.SUCCEEDED, endpoint=record["path"], tokens=record["tokens"])

    def _path(self, job: str, kind: str) -> Path:
        return self._folder / f"{job}.{kind}"


def _farewell(drive: Drive) -> None:
    """At the end of the process: let the thread finish its step and save."""
    drive.stop.set()
    if drive.thread is not None:
        drive.thread.join(_GRACE)


def _training(path: Path) -> TrainingSet:
    record = json.loads(path.read_bytes())
    examples = tuple(TrainingExample(asked, text) for asked, text in record["examples"])
    return TrainingSet(examples, record["digest"])


def _write(path: Path, record: dict[str, Any]) -> None:
    """Write a file that other processes see complete or not at all."""
    private_folder(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:24]}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(record, file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
