"""What a run was asked to run, and what became of the tests of its pairs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Selection:
    """What a run was asked to run, as it was typed; all of it where everything is empty.

    keyword: of -k; markers: of -m; arguments: files, folders and node ids; deselected: of
    --deselect
    """

    keyword: str = ""
    markers: str = ""
    arguments: tuple[str, ...] = ()
    deselected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PairTest:
    """A test of a pair, and what became of it.

    suite_path, pair: whose test it is
    endpoint: by which its evaluation was made, as in the finding; None where there is none
    test:     its node id without parameters
    outcome:  passed, failed, error, skipped, xfailed, xpassed, crashed, unfinished, deselected or
              not run
    reason:   why there is no evaluation; "" where there is one
    """

    suite_path: str
    pair: str
    endpoint: str | None
    test: str
    outcome: str
    reason: str = ""
