"""What an evidence bundle says, computed once more: from the suite, its books and the ledger."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_memleak.errors import EvidenceError, Inconclusive
from pytest_memleak.ledger.hash_chain import Head
from pytest_memleak.records import Verdict
from pytest_memleak.results.build_result import facts, unrun
from pytest_memleak.results.evidence_file import differences
from pytest_memleak.results.run_evidence import limitations, pair_evidence, versions
from pytest_memleak.results.run_verdict import controls_in, result_of, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Pair, Suite
    from pytest_memleak.verdict.evaluation import Evaluation


_NOT_KEPT = re.compile(r"endpoint \d+ \(not kept\)")


@dataclass(slots=True)
class Recomputed:
    """What came of it, in sentences.

    wrong: where the bundle differs; checked: what holds; unchecked: what cannot be told
    complete: whether every pair that was run could be computed again
    """

    wrong: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    complete: bool = True


def recomputed(
    made: Mapping[str, Any],
    of_suite: Callable[[Path], SuiteRun],
    evaluated: Callable[..., Evaluation],
    resources: Resources,
    *,
    suites: Sequence[Path] = (),
    folders: Sequence[Path],
    models_named: bool = False,
) -> Recomputed:
    """Compute all of a bundle again, as of when it was made.

    of_suite, evaluated: of the run that computes it (`pipeline.run.Run`)
    suites:  files that stand for those of their names, wherever the bundle says they are
    folders: where files may be opened; a suite of `suites` may be anywhere
    models_named: whether somebody has said by name of which models it has to be

    Raises MemleakError for what cannot be read, or may not be.
    """
    again = _Again(made, of_suite, evaluated, resources, suites, folders, models_named=models_named)
    again.look_at_result()
    if again.has_its_ledger():
        for said in made["pairs"]:
            again.look_at_pair(said)
        again.look_for_pairs()
    return again.found


def end_of(second: str) -> float:
    """The end of the second in which a bundle was made, in seconds since 1970."""
    return datetime.datetime.fromisoformat(second).timestamp() + 1


class _Absent:
    """An endpoint of a test's own, which only the ledger still knows."""

    def __init__(self, name: str) -> None:
        self.id = name

    def sample(self, *_: object, **__: object) -> NoReturn:
        raise Inconclusive(f"{self.id} is a test's own endpoint, and not here")


class _Again:
    def __init__(
        self,
        made: Mapping[str, Any],
        of_suite: Callable[[Path], SuiteRun],
        evaluated: Callable[..., Evaluation],
        resources: Resources,
        suites: Sequence[Path],
        folders: Sequence[Path],
        *,
        models_named: bool,
    ) -> None:
        self.found = Recomputed()
        self._models_named = models_named
        self._made = made
        self._of_suite = of_suite
        self._evaluate = evaluated
        self._resources = resources
        self._end = resources.now
        self._last_entry = 0.0
        self._given = suites
        self._named = {path.name: Path(os.path.realpath(path)) for path in suites}
        self._folders = folders
        self._suites: dict[Path, Suite] = {}
        self._computed = 0

    def look_at_result(self) -> None:
        made = self._made
        said = made["compared"]
        compared = Verdict(said["verdict"]) if said else None
        told = result_of(made["pairs"], uncollected=made["uncollected"], compared=compared)
        if made["result"] != told:
            self.found.wrong.append(
                f"result: the bundle says {made['result']}, its pairs give {told}"
            )
        controls = [one.to_json() for one in controls_in(made["pairs"])]
        self.found.wrong += differences({"suites": list(made["suites"])}, {"suites": controls})
        self.found.unchecked += [f"{one} could not be collected" for one in made["uncollected"]]
        self.found.unchecked += [
            f"{one['suite']}: it gates nothing: all its pairs are controls or expected to leak"
            for one in controls
            if not one["gates"]
        ]
        self._look_at_limitations()

    def _look_at_limitations(self) -> None:
        made, here = self._made, versions()["pytest-memleak"]
        if made["program"].get("pytest-memleak") != here:
            self.found.unchecked.append(
                f"its limitations are those of another version than this ({here})"
            )
        elif made["limitations"] != limitations():
            self.found.wrong.append("limitations: they are not those that this version tells")

    def has_its_ledger(self) -> bool:
        """Whether the ledger is as it was written: from another nothing can be computed."""
        from pytest_memleak.ledger.verify_chain import check_ledger

        if self._made["ledger"] is None:
            if any(map(_is_of_a_ledger, self._made["pairs"])):
                self.found.wrong.append("ledger: the bundle has answers of one, and not its end")
            return True
        head = Head(**self._made["ledger"])
        checked = check_ledger(self._resources.ledger, said=head)
        self._last_entry = checked.at
        if checked.wrong:
            self.found.wrong += [f"ledger: {one}" for one in checked.wrong]
            self.found.unchecked.append("no pair was computed again, from such a ledger")
            return False
        self.found.checked.append(
            f"the ledger is as it was written, entry {head.entries:,} as the bundle has it"
        )
        return True

    def look_at_pair(self, said: Mapping[str, Any]) -> None:
        suite = self._suite_of(said)
        pair = next((one for one in suite.pairs if one.id == said["pair"]), None)
        if pair is None:
            raise EvidenceError(f"the suite has no pair {said['pair']!r}", location=str(suite.path))
        name, endpoint = said["pair"], said["model"]["endpoint"]
        if endpoint is not None and _NOT_KEPT.fullmatch(endpoint):
            self.found.complete = False
            self.found.unchecked.append(f"{name}: answers of {endpoint} are in no ledger")
            return
        self.found.wrong += [f"{name}: {line}" for line in self._of_pair(said, pair, suite)]

    def look_for_pairs(self) -> None:
        """A bundle is of whole suites, and has each pair once by each endpoint."""
        pairs = self._made["pairs"]
        there = {(self._path_of(one), one["pair"]) for one in pairs}
        told = Counter(
            (self._path_of(one), one["pair"], one["model"]["endpoint"], verdict_of(one))
            for one in pairs
        )
        self.found.wrong += [
            f"{name}: the bundle has this pair {count:,} times"
            for (_, name, *_), count in told.items()
            if count > 1
        ]
        for path, suite in self._suites.items():
            self.found.wrong += [
                f"{pair.id}: the suite {suite.name} has this pair, and the bundle has not"
                for pair in suite.pairs
                if (path, pair.id) not in there
            ]
        self.found.wrong += [
            f"the bundle has no pair of the suite {path}, which was given for it"
            for path in self._given
            if path.resolve() not in self._suites
        ]
        if not self.found.wrong:
            self.found.checked.append(
                f"{self._computed:,} of {len(self._made['pairs']):,} pairs computed again from "
                "suite, books and ledger"
            )

    def _path_of(self, said: Mapping[str, Any]) -> Path:
        from pathlib import Path

        suite = said["suite"]
        if suite["name"] in self._named:
            return self._named[suite["name"]]
        path = refuse_outside(Path(suite["path"]), self._folders)
        if not path.exists():
            raise EvidenceError(
                f"the suite {suite['name']!r} that it names is not there",
                location=str(path),
                hint=f"run this in the folder of the run, or say where it is: "
                f"--suite {suite['name']}",
            )
        return path

    def _suite_of(self, said: Mapping[str, Any]) -> Suite:
        path = self._path_of(said)
        if path not in self._suites:
            suite_run = self._of_suite(path)
            suite = suite_run.suite
            suite_run.expect(suite.pairs)
            refuse_paths_outside(suite, self._folders)
            self._suites[path] = suite
        return self._suites[path]

    def _of_pair(self, said: Mapping[str, Any], pair: Pair, suite: Suite) -> Iterator[str]:
        if verdict_of(said) is Verdict.NOT_RUN:
            found = pair_evidence(unrun(pair, suite, reasons=tuple(said["reasons"])))
        else:
            as_of = self._end
            if said.get("as_of"):
                as_of = datetime.datetime.fromisoformat(said["as_of"]).timestamp()
            self._resources.as_of = min(as_of, self._end)
            evaluation, absent = self._evaluated(pair, said["model"]["endpoint"])
            found, answerer = pair_evidence(facts(evaluation)), evaluation.provenance
            if answerer and answerer.last is not None and answerer.last > self._resources.now:
                yield f"its answers were drawn after {self._made['created']}"
            yield from self._by_the_end(evaluation, absent)
            _take_calls_of_that_run(found["provenance"], said.get("provenance"))
            self._computed += 1
        # Nothing that is kept tells these, so they are taken as they are said.
        found["suite"]["path"] = said["suite"]["path"]
        found["stopped_early"] = said["stopped_early"]
        found["tests"] = said["tests"]
        yield from differences(said, json.loads(json.dumps(found)))

    def _by_the_end(self, evaluation: Evaluation, absent: _Absent | None) -> Iterator[str]:
        """What the pair becomes by calls that ended after its evaluation, before the bundle's end.

        Nothing else binds the moment that a bundle names for a pair to the bundle's own.
        """
        from pytest_memleak.ledger.sampling_history import called_between
        from pytest_memleak.pipeline.evaluate_pair import evaluate

        pair, book, endpoint = evaluation.pair, evaluation.book, evaluation.endpoint
        if evaluation.as_of is None or book is None or endpoint is None:
            return
        until = max(self._end - 1, self._last_entry)
        ledger = self._resources.ledger
        if called_between(ledger, endpoint, book.words_digest, evaluation.as_of, until):
            self._resources.as_of = until
            again = evaluate(pair, self._of_suite(pair.suite), endpoint=absent)
            if again.verdict != evaluation.verdict:
                yield (
                    f"as_of: it is {again.verdict} by the calls that the ledger has of "
                    "it between then and the end of the bundle's run"
                )

    def _evaluated(self, pair: Pair, endpoint: str | None) -> tuple[Evaluation, _Absent | None]:
        absent = None
        evaluation = self._evaluate(pair)
        if endpoint not in (None, evaluation.endpoint):
            absent = _Absent(endpoint)
            evaluation = self._evaluate(pair, endpoint=absent)
            said = f"{pair.id}: answered by {endpoint}, a test's own endpoint and not the suite's"
            if not self._models_named:
                self.found.complete = False
                said += "; name it by --model, if that is the model which is meant"
            self.found.unchecked.append(said)
        answerer = evaluation.provenance
        imported = answerer.imported if answerer else 0
        if imported or (answerer and not answerer.calls):
            count = f"{imported:,} of its answers are" if imported else "its answers are all"
            self.found.unchecked.append(
                f"{pair.id}: {count} from files: nothing says who gave them"
            )
        return evaluation, absent


def _is_of_a_ledger(said: Mapping[str, Any]) -> bool:
    """Whether a pair has answers that a ledger has to know."""
    if _NOT_KEPT.fullmatch(said["model"]["endpoint"] or ""):
        return False
    answerer = said["provenance"] or {}
    return bool(answerer.get("calls") or answerer.get("imported") or said.get("windows"))


def _take_calls_of_that_run(found: dict[str, Any] | None, said: object) -> None:
    """How many calls the bundle's run made, which nothing tells but that there were no more."""
    if found and isinstance(said, dict):
        calls = said.get("calls_this_run")
        if type(calls) is int and 0 <= calls <= found["calls"]:
            found["calls_this_run"] = calls


def refuse_outside(path: Path, folders: Sequence[Path]) -> Path:
    """The path, with its links followed; EvidenceError for one outside of all folders, or no file.

    A path to nothing is let through: whoever opens it says so.
    """
    # Not `resolve`, which raises RuntimeError for a circle of links before Python 3.13.
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(os.path.realpath(folder)) for folder in folders):
        allowed = ", ".join(str(one) for one in folders)
        raise EvidenceError(
            f"outside of the folders that may be read ({allowed})",
            location=str(path),
            hint="allow its folder, if you trust it: --folder DIR",
        )
    if real.exists() and not real.is_file() and not real.is_dir():
        raise EvidenceError("neither a file nor a folder", location=str(path))
    return real


def refuse_paths_outside(suite: Suite, folders: Sequence[Path]) -> None:
    """Raise EvidenceError where anything that a suite names is there, and may not be opened."""
    for path in _paths(suite):
        refuse_outside(path, folders)


def _paths(suite: Suite) -> Iterator[Path]:
    for book in suite.books:
        yield book.source
        if book.summaries is not None:
            yield book.summaries
    yield from suite.catalog
    root = suite.path.parent
    ids = [book.id for book in suite.books]
    for model in suite.models:
        for named in (
            model.base_model,
            model.endpoint,
            model.baseline_model,
            *model.options.values(),
        ):
            if not isinstance(named, str) or "\0" in named:
                continue
            for path in {Path(named.replace("{book}", one)) for one in ids}:
                at = root / path.expanduser() if str(path).startswith("~") else root / path
                if _is_there(at):
                    yield at


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for a path
        return False
