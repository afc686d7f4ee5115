"""An evidence bundle recomputed from the suite, its books, and the ledger."""

from __future__ import annotations

import contextlib
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
from pytest_memleak.redaction.text import is_hidden, server_words
from pytest_memleak.results.build_result import build_plain_result, build_unrun_result
from pytest_memleak.results.evidence_file import differences
from pytest_memleak.results.result_codec import encode_pair
from pytest_memleak.results.run_evidence import (
    bundle_controls,
    limitations,
    versions,
)
from pytest_memleak.results.run_verdict import pair_verdict, run_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Pair, Suite
    from pytest_memleak.verdict.evaluation import Evaluation


_NOT_KEPT = re.compile(r"endpoint \d+ \(not kept\)")


@dataclass(slots=True)
class Recomputation:
    """The result, in sentences.

    wrong: where the bundle differs; checked: what holds; unchecked: what can't be verified
    complete: whether every pair of the bundle could be recomputed
    """

    wrong: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    complete: bool = True


def recompute(
    bundle: Mapping[str, Any],
    of_suite: Callable[[Path], SuiteRun],
    evaluated: Callable[..., Evaluation],
    resources: Resources,
    *,
    suites: Sequence[Path] = (),
    folders: Sequence[Path],
    models_named: bool = False,
) -> Recomputation:
    """Recompute all of a bundle, as of when it was made.

    of_suite, evaluated: of the run that recomputes it (`pipeline.run.Run`)
    suites: files that replace those of their names in the bundle
    folders: where files may be opened; a suite of `suites` may be anywhere
    models_named: whether the caller named the models

    Raises MemleakError for what can't be read, or may not be.
    """
    again = _Again(
        bundle, of_suite, evaluated, resources, suites, folders, models_named=models_named
    )
    again.look_at_result()
    if again.has_its_ledger():
        with server_words(0) if _has_hidden_names(bundle) else contextlib.nullcontext():
            for entry in bundle["pairs"]:
                again.look_at_pair(entry)
        again.look_for_pairs()
    return again.result


def _has_hidden_names(bundle: Mapping[str, Any]) -> bool:
    """Tell whether the bundle's run hid the words of servers (--memleak-quote 0)."""
    names = [
        name
        for pair in bundle["pairs"]
        for name in (
            *(pair["completeness"].get("withheld") or ()),
            *(
                name
                for server in (pair["provenance"] or {}).get("served", ())
                for name in (server.get("model"), server.get("fingerprint"))
            ),
        )
    ]
    return any(isinstance(name, str) and is_hidden(name) for name in names)


def end_of(second: str) -> float:
    """Return the end of the second in which a bundle was made, in seconds since 1970."""
    return datetime.datetime.fromisoformat(second).timestamp() + 1


class _Absent:
    """A test's own endpoint, of which only the ledger is left."""

    def __init__(self, name: str) -> None:
        self.id = name

    def sample(self, *_: object, **__: object) -> NoReturn:
        raise Inconclusive(f"{self.id} is a test's own endpoint, and not here")


class _Again:
    def __init__(
        self,
        bundle: Mapping[str, Any],
        of_suite: Callable[[Path], SuiteRun],
        evaluated: Callable[..., Evaluation],
        resources: Resources,
        suites: Sequence[Path],
        folders: Sequence[Path],
        *,
        models_named: bool,
    ) -> None:
        self.result = Recomputation()
        self._models_named = models_named
        self._bundle = bundle
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
        bundle = self._bundle
        comparison = bundle["compared"]
        compared = Verdict(comparison["verdict"]) if comparison else None
        computed = run_result(bundle["pairs"], uncollected=bundle["uncollected"], compared=compared)
        if bundle["result"] != computed:
            self.result.wrong.append(
                f"result: the bundle says {bundle['result']}, its pairs give {computed}"
            )
        controls = [summary.to_json() for summary in bundle_controls(bundle["pairs"])]
        self.result.wrong += differences({"suites": list(bundle["suites"])}, {"suites": controls})
        self.result.unchecked += [
            f"{suite} could not be collected" for suite in bundle["uncollected"]
        ]
        self.result.unchecked += [
            f"{summary['suite']}: it gates nothing: every pair is a control"
            for summary in controls
            if not summary["gates"]
        ]
        self._look_at_limitations()

    def _look_at_limitations(self) -> None:
        bundle, here = self._bundle, versions()["pytest-memleak"]
        if bundle["program"].get("pytest-memleak") != here:
            self.result.unchecked.append(
                f"its limitations are those of another version ({here} is installed)"
            )
        elif bundle["limitations"] != limitations():
            self.result.wrong.append("limitations: they aren't those of this version")

    def has_its_ledger(self) -> bool:
        """Tell whether the ledger is as it was written; from another, nothing can be recomputed."""
        from pytest_memleak.ledger.verify_chain import check_ledger

        if self._bundle["ledger"] is None:
            if any(map(_is_of_a_ledger, self._bundle["pairs"])):
                self.result.wrong.append(
                    "ledger: the bundle has generations of a ledger, but not its end"
                )
            return True
        head = Head(**self._bundle["ledger"])
        chain = check_ledger(self._resources.ledger, bundle_head=head)
        self._last_entry = chain.at
        if chain.wrong:
            self.result.wrong += [f"ledger: {fault}" for fault in chain.wrong]
            self.result.unchecked.append("no pair was recomputed from such a ledger")
            return False
        self.result.checked.append(
            f"the ledger is as it was written, entry {head.entries:,} as the bundle has it"
        )
        return True

    def look_at_pair(self, entry: Mapping[str, Any]) -> None:
        suite = self._suite_of(entry)
        pair = next((candidate for candidate in suite.pairs if candidate.id == entry["pair"]), None)
        if pair is None:
            raise EvidenceError(
                f"the suite has no pair {entry['pair']!r}", location=str(suite.path)
            )
        name, endpoint = entry["pair"], entry["model"]["endpoint"]
        if endpoint is not None and _NOT_KEPT.fullmatch(endpoint):
            self.result.complete = False
            self.result.unchecked.append(f"{name}: generations of {endpoint} are in no ledger")
            return
        self.result.wrong += [f"{name}: {line}" for line in self._of_pair(entry, pair, suite)]

    def look_for_pairs(self) -> None:
        """Check that the bundle covers whole suites, and has each pair once per endpoint."""
        pairs = self._bundle["pairs"]
        present = {(self._path_of(entry), entry["pair"]) for entry in pairs}
        counts = Counter(
            (self._path_of(entry), entry["pair"], entry["model"]["endpoint"], pair_verdict(entry))
            for entry in pairs
        )
        self.result.wrong += [
            f"{name}: the bundle has this pair {count:,} times"
            for (_, name, *_), count in counts.items()
            if count > 1
        ]
        for path, suite in self._suites.items():
            self.result.wrong += [
                f"{pair.id}: the suite {suite.name} has this pair, but the bundle doesn't"
                for pair in suite.pairs
                if (path, pair.id) not in present
            ]
        self.result.wrong += [
            f"the bundle has no pair of the given suite {path}"
            for path in self._given
            if path.resolve() not in self._suites
        ]
        if not self.result.wrong:
            self.result.checked.append(
                f"{self._computed:,} of {len(self._bundle['pairs']):,} pairs recomputed from "
                "suite, books, and ledger"
            )

    def _path_of(self, entry: Mapping[str, Any]) -> Path:
        from pathlib import Path

        suite = entry["suite"]
        if suite["name"] in self._named:
            return self._named[suite["name"]]
        path = validate_path(Path(suite["path"]), self._folders)
        if not path.exists():
            raise EvidenceError(
                f"the suite {suite['name']!r} that it names is missing",
                location=str(path),
                hint=f"run this in the folder of the run, or give its path: "
                f"--suite {suite['name']}",
            )
        return path

    def _suite_of(self, entry: Mapping[str, Any]) -> Suite:
        path = self._path_of(entry)
        if path not in self._suites:
            suite_run = self._of_suite(path)
            suite = suite_run.suite
            suite_run.expect(suite.pairs)
            validate_suite_paths(suite, self._folders)
            self._suites[path] = suite
        return self._suites[path]

    def _of_pair(self, entry: Mapping[str, Any], pair: Pair, suite: Suite) -> Iterator[str]:
        if pair_verdict(entry) is Verdict.NOT_RUN:
            recomputed_entry = encode_pair(
                build_unrun_result(pair, suite, reasons=tuple(entry["reasons"]))
            )
        else:
            as_of = self._end
            if entry.get("as_of"):
                as_of = datetime.datetime.fromisoformat(entry["as_of"]).timestamp()
            self._resources.as_of = min(as_of, self._end)
            evaluation, absent = self._evaluated(pair, entry["model"]["endpoint"])
            recomputed_entry, provenance = (
                encode_pair(build_plain_result(evaluation)),
                evaluation.provenance,
            )
            if provenance and provenance.last is not None and provenance.last > self._resources.now:
                yield f"its generations were sampled after {self._bundle['created']}"
            yield from self._by_the_end(evaluation, absent)
            _take_calls_of_that_run(recomputed_entry["provenance"], entry.get("provenance"))
            self._computed += 1
        # Nothing stored determines these, so the bundle's values stand.
        recomputed_entry["suite"]["path"] = entry["suite"]["path"]
        recomputed_entry["stopped_early"] = entry["stopped_early"]
        recomputed_entry["tests"] = entry["tests"]
        yield from differences(entry, json.loads(json.dumps(recomputed_entry)))

    def _by_the_end(self, evaluation: Evaluation, absent: _Absent | None) -> Iterator[str]:
        """Yield how calls between the evaluation and the bundle's end change the pair's verdict.

        Nothing else ties a pair's moment to the bundle's.
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
                    f"as_of: it is {again.verdict} by the calls in the ledger between then and the "
                    "end of the bundle's run"
                )

    def _evaluated(self, pair: Pair, endpoint: str | None) -> tuple[Evaluation, _Absent | None]:
        absent = None
        evaluation = self._evaluate(pair)
        if endpoint not in (None, evaluation.endpoint):
            absent = _Absent(endpoint)
            evaluation = self._evaluate(pair, endpoint=absent)
            note = f"{pair.id}: answered by {endpoint}, a test's own endpoint, not the suite's"
            if not self._models_named:
                self.result.complete = False
                note += "; name it with --model, if it is the model under test"
            self.result.unchecked.append(note)
        provenance = evaluation.provenance
        imported = provenance.imported if provenance else 0
        if imported or (provenance and not provenance.calls):
            count = (
                f"{imported:,} of its generations are" if imported else "all its generations are"
            )
            self.result.unchecked.append(
                f"{pair.id}: {count} from files, which don't show their model"
            )
        return evaluation, absent


def _is_of_a_ledger(entry: Mapping[str, Any]) -> bool:
    """Tell whether a pair has generations that a ledger must hold."""
    if _NOT_KEPT.fullmatch(entry["model"]["endpoint"] or ""):
        return False
    provenance = entry["provenance"] or {}
    return bool(provenance.get("calls") or provenance.get("imported") or entry.get("windows"))


def _take_calls_of_that_run(provenance: dict[str, Any] | None, bundle_provenance: object) -> None:
    """Take the number of calls of the bundle's run, which only their total can check."""
    if provenance and isinstance(bundle_provenance, dict):
        calls = bundle_provenance.get("calls_this_run")
        if type(calls) is int and 0 <= calls <= provenance["calls"]:
            provenance["calls_this_run"] = calls


def validate_path(path: Path, folders: Sequence[Path]) -> Path:
    """Follow the path's links. Raises EvidenceError outside all folders, or if it is no file.

    A missing path passes: opening it fails.
    """
    # Not `resolve`, which raises RuntimeError for a circle of links before Python 3.13.
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(os.path.realpath(folder)) for folder in folders):
        allowed = ", ".join(str(folder) for folder in folders)
        raise EvidenceError(
            f"outside the folders that may be read ({allowed})",
            location=str(path),
            hint="if you trust its folder, allow it: --folder DIR",
        )
    if real.exists() and not real.is_file() and not real.is_dir():
        raise EvidenceError("neither a file nor a folder", location=str(path))
    return real


def validate_suite_paths(suite: Suite, folders: Sequence[Path]) -> None:
    """Raise EvidenceError where a suite names an existing path that may not be opened."""
    for path in _paths(suite):
        validate_path(path, folders)


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
            for path in {Path(named.replace("{book}", book_id)) for book_id in ids}:
                at = root / path.expanduser() if str(path).startswith("~") else root / path
                if _is_there(at):
                    yield at


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for a path
        return False
