"""An evidence bundle recomputed from the suite, its books, and the ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from pytest_memleak.books.archive import sha256_of
from pytest_memleak.errors import (
    EvidenceError,
    Inconclusive,
    MemleakError,
    MissingFile,
)
from pytest_memleak.ledger.hash_chain import Head
from pytest_memleak.pipeline.bundle_files import FileDigests
from pytest_memleak.records import Verdict
from pytest_memleak.records.number_format import amount, moment
from pytest_memleak.redaction.text import is_hidden, server_word_limit
from pytest_memleak.results.build_result import (
    build_result_without_quotes,
    build_unrun_result,
)
from pytest_memleak.results.evidence_file import causes_of_differences, json_differences
from pytest_memleak.results.result_codec import encode, encode_pair
from pytest_memleak.results.run_evidence import LIMITATIONS, suite_controls, versions
from pytest_memleak.results.run_verdict import run_result
from pytest_memleak.results.tried_prompts import tried_prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.pipeline.resources import Resources
    from pytest_memleak.pipeline.suite_run import SuiteRun
    from pytest_memleak.records import Completeness, Pair, Suite
    from pytest_memleak.records.pair_result import PairResult
    from pytest_memleak.results.evidence_file import EvidenceFile
    from pytest_memleak.verdict.evaluation import Evaluation


_NOT_KEPT = re.compile(r"endpoint \d+ \(not kept\)")


@dataclass(slots=True)
class Verification:
    """The verification of a bundle, in sentences.

    wrong: where the bundle differs
    checked: what was verified
    unchecked: what couldn't be
    missing: files without which nothing was recomputed
    lacking: "book" if one is missing, and the options whose values are: "suite",
        "ledger", "baseline", "model", "public_key"
    attested: whether a signature by the given key is valid
    complete: whether everything that can be recomputed was
    witnessed: whether a receipt shows that the run was announced before its calls
    attempts: which attempts a witness knows the pairs as, by the receipt
    current: whether requirements were stated, and the bundle meets them all
    """

    wrong: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)
    attested: bool = False
    complete: bool = True
    witnessed: bool = False
    attempts: list[str] = field(default_factory=list)
    current: bool = False

    @property
    def levels(self) -> list[str]:
        """The levels of verification reached."""
        recomputed = self.complete and not self.wrong
        levels = {
            "attested": self.attested,
            "recomputed": recomputed,
            "witnessed": self.witnessed and not self.wrong,
            "current": recomputed and self.current,
        }
        return [level for level, is_reached in levels.items() if is_reached]

    def add_check(self, wrong: Sequence[str], checked: str) -> None:
        """Note what is wrong, or else that something was verified."""
        self.wrong += wrong
        if not wrong:
            self.checked.append(checked)


class Evaluate(Protocol):
    """Evaluates a pair: `Run.evaluate`."""

    def __call__(self, pair: Pair, *, endpoint: Endpoint | None = None) -> Evaluation:
        """Return the pair's evaluation, by this endpoint or the suite's."""


def recompute(
    evidence: EvidenceFile,
    verification: Verification,
    *,
    resources: Resources,
    suite_run_for: Callable[[Path], SuiteRun],
    evaluate: Evaluate,
    suites: Sequence[Path] = (),
    folders: Sequence[Path],
    models_named: bool = False,
    missing: Sequence[str] = (),
) -> None:
    """Recompute all of a bundle, as of its own time, and note the results.

    resources, suite_run_for, evaluate: of the `Run` that recomputes it
    suites: files to read in place of the bundle's suites of the same names
    folders: where files may be opened; a suite of `suites` may be anywhere
    models_named: whether the caller named the models
    missing: a sentence for everything that the caller knows to be missing

    Raises MemleakError for what can't be read, or may not be.
    """
    comparison = _Comparison(
        evidence,
        verification,
        resources,
        suite_run_for,
        evaluate,
        suites,
        folders,
        models_named,
    )
    comparison.compare_result()
    if comparison.lacks_files(missing) or not comparison.has_unchanged_ledger():
        return
    pairs, entries = evidence.content.pairs, evidence.bundle["pairs"]
    with contextlib.ExitStack() as stack:
        if any(map(_hides_server_words, pairs)):
            stack.enter_context(server_word_limit(0))
        for pair, entry in zip(pairs, entries, strict=True):
            comparison.compare_pair(pair, entry)
    comparison.check_pairs_complete()


def evaluate_as_claimed(
    evidence: EvidenceFile,
    claimed: PairResult,
    *,
    resources: Resources,
    suite_run_for: Callable[[Path], SuiteRun],
    evaluate: Evaluate,
    suites: Sequence[Path] = (),
    folders: Sequence[Path],
) -> Evaluation:
    """Return a pair's evaluation as of the bundle's run; arguments as in `recompute`.

    Raises MemleakError for what can't be read, or may not be.
    """
    comparison = _Comparison(
        evidence,
        Verification(),
        resources,
        suite_run_for,
        evaluate,
        suites,
        folders,
        _models_named=True,
    )
    return comparison.evaluate_as_of_run(claimed)


def _hides_server_words(pair: PairResult) -> bool:
    """Tell whether the bundle's run hid the words of servers (--memleak-quote 0)."""
    names: list[str | None] = [*pair.completeness.withheld]
    for server in pair.provenance.served if pair.provenance else ():
        names += [server.model, server.fingerprint]
    return any(is_hidden(name) for name in names if name is not None)


class _AbsentEndpoint:
    """A test's own endpoint, of which only the ledger is left."""

    def __init__(self, name: str) -> None:
        self.id = name

    def sample(self, *_: object, **__: object) -> NoReturn:
        raise Inconclusive(
            f"{self.id} is a test's own endpoint, so it isn't available here",
        )


@dataclass
class _Comparison:
    """The bundle compared with suites, books, and ledger; fields as in `recompute`."""

    _evidence: EvidenceFile
    result: Verification
    _resources: Resources
    _of_suite: Callable[[Path], SuiteRun]
    _evaluate: Evaluate
    _given: Sequence[Path]
    _folders: Sequence[Path]
    _models_named: bool

    def __post_init__(self) -> None:
        self._bundle = self._evidence.content
        self._end = self._resources.evaluation_time
        self._last_entry = 0.0
        self._late: Mapping[str, Sequence[float]] = {}
        self._named = {path.name: Path(os.path.realpath(path)) for path in self._given}
        self._suites: dict[Path, Suite] = {}
        self._computed = 0

    def compare_result(self) -> None:
        bundle = self._bundle
        compared = bundle.compared.verdict if bundle.compared else None
        computed = run_result(
            bundle.pairs,
            uncollected=bundle.uncollected,
            compared=compared,
            exit_status=bundle.exit_status,
        )
        if bundle.result != computed:
            self.result.wrong.append(
                f"result: the bundle says {bundle.result}, but its pairs give "
                f"{computed}",
            )
        controls = suite_controls(bundle.pairs, by="path")
        claimed = {"suites": self._evidence.bundle["suites"]}
        self.result.wrong += json_differences(
            claimed,
            {"suites": [encode(suite) for suite in controls]},
        )
        tried = [encode(group) for group in tried_prompts(bundle.pairs)]
        claimed = {"tried": self._evidence.bundle.get("tried")}
        self.result.wrong += json_differences(claimed, {"tried": tried})
        self.result.unchecked += [
            f"{suite} couldn't be collected" for suite in bundle.uncollected
        ]
        self.result.unchecked += [
            f"{summary.suite}: no pair is gated: all are controls"
            for summary in controls
            if not summary.gates
        ]
        if bundle.program.get("pytest-memleak") != versions()["pytest-memleak"]:
            self.result.unchecked.append("limitations: written by a different version")
        elif bundle.limitations != LIMITATIONS:
            self.result.wrong.append("limitations: they differ from this version's")

    def lacks_files(self, others: Sequence[str]) -> bool:
        """Tell whether a suite of the bundle, or a file that it names, isn't here.

        others: further files that are missing
        """
        missing: dict[str, None] = dict.fromkeys(others)
        for pair in self._bundle.pairs:
            sentences = self._missing_files(pair, without_ledger=bool(others))
            missing |= dict.fromkeys(sentences)
        if missing:
            self._compare_files()
        self.result.missing += missing
        self.result.complete = not missing
        return bool(missing)

    def _missing_files(
        self,
        pair: PairResult,
        *,
        without_ledger: bool,
    ) -> Iterator[str]:
        """Yield the pair's suite and book, where they aren't here.

        without_ledger: whether nothing is recomputed, so that a suite that was changed
            need not be readable
        """
        path = self._path_of(pair)
        if not path.exists():
            self.result.lacking.add("suite")
            yield (
                f"the suite: no file {path}; run memleak verify in the folder where "
                "pytest ran, or give the suite's path with --suite"
            )
            return
        try:
            suite = self._suite_of_pair(pair)
        except MissingFile as error:
            self.result.lacking.add("book")
            yield str(error)
            return
        except MemleakError:
            if not without_ledger or sha256_of(path) == pair.suite.sha256:
                raise
            return
        # A book that its reader supplies may be missing where the suite is read.
        for book in suite.books:
            is_read = book.id == pair.book.id and pair.book.sha256
            if is_read and not book.source.exists():
                self.result.lacking.add("book")
                yield f"the book {book.id}: no file {book.source}"

    def _compare_files(self) -> None:
        """Compare the suites and books that are here with the bundle's digests."""
        digests = FileDigests()
        for pair in self._bundle.pairs:
            path = self._path_of(pair)
            digests.compare_suite(pair.suite, path)
            suite = self._suites.get(path)
            for book in suite.books if suite else ():
                if book.id == pair.book.id:
                    digests.compare_book(pair.book, book.source)
        self.result.wrong += digests.wrong
        self.result.checked += digests.checked

    def has_unchanged_ledger(self) -> bool:
        """Tell whether the ledger is the bundle's and unchanged.

        If not, no pair is recomputed.
        """
        from pytest_memleak.ledger.verify_chain import check_ledger

        if self._bundle.ledger is None:
            if any(map(_needs_ledger, self._bundle.pairs)):
                self.result.wrong.append(
                    "ledger: the bundle has generations from a ledger, but not its "
                    "last entry",
                )
            return True
        head = Head(self._bundle.ledger.entries, self._bundle.ledger.link)
        chain = check_ledger(self._resources.ledger, bundle_head=head, until=self._end)
        self._last_entry, self._late = chain.at, chain.late
        if chain.wrong:
            place = self._resources.ledger.place
            sampled = self._sampled_endpoints()
            if sampled and chain.entries and not sampled & chain.endpoints:
                chain.wrong.insert(
                    0,
                    "it has none of the bundle's calls; name theirs with --ledger URL",
                )
                self.result.lacking.add("ledger")
            self.result.wrong += [f"ledger {place}: {fault}" for fault in chain.wrong]
            self.result.unchecked.append(
                "no pair was recomputed, because the ledger failed verification",
            )
            return False
        entry = f"its entry {head.entries:,} matches the bundle"
        self.result.checked.append(f"the ledger is unchanged, and {entry}")
        return True

    def _sampled_endpoints(self) -> set[str | None]:
        """Return the endpoints whose generations the ledger must hold."""
        endpoints: set[str | None] = set()
        for pair in filter(_needs_ledger, self._bundle.pairs):
            endpoints.update(count.endpoint for count in pair.sampled)
        return endpoints

    def _suite_pair(self, claimed: PairResult) -> Pair:
        suite = self._suite_of_pair(claimed)
        for pair in suite.pairs:
            if pair.id == claimed.pair:
                return pair
        raise EvidenceError(
            f"the suite has no pair {claimed.pair!r}",
            location=str(suite.path),
        )

    def evaluate_as_of_run(self, claimed: PairResult) -> Evaluation:
        """Return the pair's evaluation as of the bundle's run."""
        self._set_ledger_time(claimed)
        evaluation, _ = self._evaluate_offline(self._suite_pair(claimed), claimed)
        return evaluation

    def _set_ledger_time(self, claimed: PairResult) -> None:
        """Let the ledger be read as of the pair's evaluation in the bundle's run."""
        as_of = self._end if claimed.as_of is None else claimed.as_of
        self._resources.as_of = min(as_of, self._end)
        self._resources.claimed = claimed.provenance

    def compare_pair(self, claimed: PairResult, entry: Mapping[str, Any]) -> None:
        """Compare a pair of the bundle, and its raw JSON, with the recomputed pair."""
        suite = self._suite_of_pair(claimed)
        pair = self._suite_pair(claimed)
        name, endpoint = claimed.pair, claimed.model.endpoint
        if endpoint is not None and _NOT_KEPT.fullmatch(endpoint):
            self.result.complete = False
            self.result.unchecked.append(
                f"{name}: no ledger holds the generations of {endpoint}",
            )
            return
        lines = [
            *self._late_call_faults(claimed),
            *self._pair_differences(claimed, entry, pair, suite),
        ]
        self.result.wrong += [f"{name}: {line}" for line in lines]

    def _late_call_faults(self, claimed: PairResult) -> Iterator[str]:
        """Yield that earlier calls were written only after the bundle's entry."""
        until = self._end if claimed.as_of is None else claimed.as_of
        endpoints = {count.endpoint for count in claimed.sampled if count.endpoint}
        for endpoint in sorted(endpoints):
            calls = sum(ended <= until for ended in self._late.get(endpoint, ()))
            if calls:
                yield (
                    f"{amount(calls, 'call')} to {endpoint} ended before the pair was "
                    "evaluated, but were added to the ledger after the bundle's entry"
                )

    def check_pairs_complete(self) -> None:
        """Check that the bundle has whole suites, and each pair once per endpoint."""
        pairs = self._bundle.pairs
        present = {(self._path_of(pair), pair.pair) for pair in pairs}
        counts = Counter(
            (self._path_of(pair), pair.pair, pair.model.endpoint, pair.plain_verdict)
            for pair in pairs
        )
        self.result.wrong += [
            f"{name}: the bundle has this pair {count:,} times"
            for (_, name, *_), count in counts.items()
            if count > 1
        ]
        for path, suite in self._suites.items():
            self.result.wrong += [
                f"{pair.id}: the suite {suite.name} has this pair, but the bundle "
                "doesn't"
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
                "pairs recomputed from suite, books, and ledger: "
                f"{self._computed:,} of {len(pairs):,}",
            )

    def _path_of(self, pair: PairResult) -> Path:
        name = pair.suite.name
        if name in self._named:
            return self._named[name]
        return validate_path(Path(pair.suite.path), self._folders)

    def _suite_of_pair(self, pair: PairResult) -> Suite:
        path = self._path_of(pair)
        if path not in self._suites:
            suite_run = self._of_suite(path)
            if self._bundle.witness is not None:
                suite_run.use_seed(self._bundle.witness.seed)
            suite = suite_run.suite
            selected = {
                pair.pair
                for pair in self._bundle.pairs
                if pair.was_selected and self._path_of(pair) == path
            }
            suite_run.note_evaluated_pairs(
                [pair for pair in suite.pairs if pair.id in selected]
            )
            validate_suite_paths(suite, self._folders)
            self._suites[path] = suite
        return self._suites[path]

    def _pair_differences(
        self,
        claimed: PairResult,
        entry: Mapping[str, Any],
        pair: Pair,
        suite: Suite,
    ) -> Iterator[str]:
        if claimed.plain_verdict is Verdict.NOT_RUN:
            recomputed = build_unrun_result(pair, suite, reasons=claimed.reasons)
        else:
            self._set_ledger_time(claimed)
            evaluation, absent = self._evaluate_offline(pair, claimed)
            recomputed = build_result_without_quotes(evaluation)
            provenance = evaluation.provenance
            if (
                provenance
                and provenance.last is not None
                and provenance.last > self._resources.evaluation_time
            ):
                created = moment(self._bundle.created)
                yield f"its generations were sampled after {created}"
            yield from self._verdict_changed_by_later_calls(evaluation, absent)
            self._computed += 1
        stated = encode_pair(self._with_bundle_only_facts(recomputed, claimed))
        stated["suite"]["path"] = claimed.suite.path
        yield from causes_of_differences(entry, stated)

    def _with_bundle_only_facts(
        self, recomputed: PairResult, claimed: PairResult
    ) -> PairResult:
        """Return the result with what only the bundle's run knew.

        That includes why generations are missing.
        """
        recomputed = dataclasses.replace(
            recomputed,
            tests=claimed.tests,
            stopped_early=claimed.stopped_early,
        )
        if claimed.probability is not None and claimed.probability.fault:
            self.result.unchecked.append(f"{claimed.pair}: its incomplete probability")
            recomputed = dataclasses.replace(
                recomputed, probability=claimed.probability
            )
        if not _differs_only_in_missing(
            claimed.completeness,
            recomputed.completeness,
        ):
            return recomputed
        self.result.unchecked.append(f"{claimed.pair}: why generations are missing")
        own_issues = recomputed.completeness.issues
        issues = claimed.completeness.issues
        reasons = recomputed.reasons
        if recomputed.plain_verdict is not Verdict.FAIL:
            reasons = (*map(str, issues), *reasons[len(own_issues) :])
        completeness = dataclasses.replace(recomputed.completeness, issues=issues)
        return dataclasses.replace(
            recomputed,
            completeness=completeness,
            reasons=reasons,
        )

    def _verdict_changed_by_later_calls(
        self,
        evaluation: Evaluation,
        absent: _AbsentEndpoint | None,
    ) -> Iterator[str]:
        """Yield that calls from the evaluation to the run's end change the verdict.

        Nothing else ties the evaluation's time to the run's.
        """
        from pytest_memleak.ledger.sampling_history import called_between
        from pytest_memleak.pipeline.evaluate_pair import evaluate_pair

        pair, book, endpoint = evaluation.pair, evaluation.book, evaluation.endpoint
        if evaluation.as_of is None or book is None or endpoint is None:
            return
        until = max(self._end - 1, self._last_entry)
        ledger = self._resources.ledger
        if called_between(ledger, endpoint, book.words_digest, evaluation.as_of, until):
            self._resources.as_of = until
            again = evaluate_pair(pair, self._of_suite(pair.suite), endpoint=absent)
            if again.verdict != evaluation.verdict:
                yield (
                    f"as_of: the verdict is {again.verdict} with the ledger's calls up "
                    "to the end of the bundle's run"
                )

    def _evaluate_offline(
        self,
        pair: Pair,
        claimed: PairResult,
    ) -> tuple[Evaluation, _AbsentEndpoint | None]:
        absent = None
        endpoint = claimed.model.endpoint
        evaluation = self._evaluate(pair)
        is_of_suite = claimed.suite.sha256 == evaluation.suite_digest
        if is_of_suite and endpoint not in (None, evaluation.endpoint):
            absent = _AbsentEndpoint(endpoint)
            evaluation = self._evaluate(pair, endpoint=absent)
            note = (
                f"{pair.id}: sampled from {endpoint}, a test's own endpoint instead of "
                "the suite's"
            )
            if not self._models_named:
                self.result.complete = False
                self.result.lacking.add("model")
                note += "; if this is the model under test, name it with --model"
            self.result.unchecked.append(note)
        provenance, received = evaluation.provenance, evaluation.completeness.received
        if provenance and received > provenance.calls == 0:
            self.result.unchecked.append(
                f"{pair.id}: all its generations are from files, which don't prove "
                "which model wrote them",
            )
        return evaluation, absent


def _differs_only_in_missing(claimed: Completeness, recomputed: Completeness) -> bool:
    """Tell whether a bundle's issues differ only in why generations are missing."""
    stated = set(claimed.issues)
    computed = set(recomputed.issues)
    added = {issue.rule for issue in stated - computed}
    omitted = {issue.rule for issue in computed - stated} - {"all received"}
    missing = {issue.rule for issue in computed} & {"sampled", "null"}
    if recomputed.received < recomputed.requested:
        missing.add("sampled")
    return bool(recomputed.requested and added) and added | omitted <= missing


def _needs_ledger(pair: PairResult) -> bool:
    """Tell whether a pair has generations that a ledger must hold."""
    if _NOT_KEPT.fullmatch(pair.model.endpoint or ""):
        return False
    return bool(pair.provenance and pair.provenance.calls)


def validate_path(path: Path, folders: Sequence[Path]) -> Path:
    """Follow the path's links.

    A missing path passes: opening it fails. Raises EvidenceError outside all folders,
    or if it is no file.
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
    """Raise EvidenceError where a suite names a path that may not be opened."""
    for path in _suite_file_paths(suite):
        validate_path(path, folders)


def _suite_file_paths(suite: Suite) -> Iterator[Path]:
    for book in suite.books:
        yield book.source
        if book.summaries is not None:
            yield book.summaries
        if book.prompts is not None:
            yield book.prompts
    yield from suite.catalog
    root = suite.path.parent
    for model in suite.models:
        for named in (
            model.base_model,
            model.endpoint,
            model.baseline_model,
            *model.options.values(),
        ):
            if isinstance(named, str) and "\0" not in named:
                yield from _existing_paths(named, root, suite)


def _existing_paths(
    named: str,
    root: Path,
    suite: Suite,
) -> Iterator[Path]:
    """Yield the paths that a model's key may name, for each book of the suite."""
    for name in {named.replace("{book}", book.id) for book in suite.books}:
        path = Path(name)
        full = root / (path.expanduser() if name.startswith("~") else path)
        if _exists(full):
            yield full


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for a path
        return False
