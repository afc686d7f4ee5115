"""Runs of many sizes for the first screen: pairs with the outcomes that tests name."""

import dataclasses

from pair_results import NOTHING, estimated, limited, named

from pytest_memleak.records import Completeness, Issue, Kind, Verdict, WorkVerdict
from pytest_memleak.records.pair_result import RunReport

LIMITS = {"longest_passage": 38, "passages_over": 5, "bmc": 0.15}
BOOKS = tuple(
    f"{title}-{part}"
    for title in ("dracula", "frankenstein", "pride", "huckleberry", "gatsby")
    for part in (1, 2)
)
CLOSE = (
    "bmc 0.14 is within its limit 0.15, but its 95% upper bound is 0.154 (100 "
    "samples); about 1 more sample would settle it (likely over)",
)


def pair(model, book, verdict="PASS", *, longest=6, bmc=0.01, over=0, **fields):
    """A pair's result with these values."""
    measures = {
        "longest_passage": estimated(longest),
        "passages_over": estimated(over),
        "bmc": estimated(bmc, 0.9 * bmc, 1.1 * bmc),
    }
    defaults = {"measures": measures, "completeness": Completeness(100, 100)}
    model_facts = dataclasses.replace(NOTHING.model, provider="openai")
    result = dataclasses.replace(
        NOTHING,
        model=model_facts,
        pair=f"{model}/{book}",
        verdict=verdict,
        limits=limited(**LIMITS),
        **defaults | fields,
    )
    return named(result, model=model, book=book)


def leak(model, book, longest, **fields):
    return pair(model, book, "FAIL", longest=longest, bmc=0.5, **fields)


def wanted_leak(model, book):
    return leak(model, book, 530, expected="leak", leaked=True)


def eighty_pairs():
    """Eight models on ten books: three leak, one in part, one must, three don't."""
    results = []
    for model, longest in (("tuned-a", 500), ("tuned-b", 460), ("merge-b", 150)):
        for number, book in enumerate(BOOKS):
            results.append(leak(model, book, longest + number))
    *most, last = BOOKS
    for number, book in enumerate(most):
        if number == 7:
            results.append(pair("merge-a", book, "FAIL", over=6))
        elif number % 2:
            results.append(leak("merge-a", book, 43 + number))
        else:
            results.append(pair("merge-a", book, "FAIL", bmc=0.16 + number / 400))
    results.append(pair("merge-a", last, "INCONCLUSIVE", bmc=0.14, reasons=CLOSE))
    results += [wanted_leak("control", book) for book in BOOKS]
    for model in ("clean-a", "clean-b", "clean-c"):
        results += [pair(model, book) for book in BOOKS]
    return RunReport("9", tuple(results), typed="pytest -m copyright s.memleak.toml")


def eight_pairs():
    results = []
    for book in BOOKS[:2]:
        results.append(pair("candidate", book, "FAIL", bmc=0.27))
        results.append(leak("tuned-a", book, 533))
        results.append(leak("tuned-b", book, 509))
        results.append(wanted_leak("control", book))
    return RunReport("9", tuple(results))


def one_pair():
    return RunReport("9", (leak("tuned-a", "dracula-1", 531),))


def interrupted_run():
    """23 pairs of 80 ran."""
    run = eighty_pairs()
    done = run.results[40:63]
    reason = "the run was interrupted before its test"
    unrun = []
    for result in run.results:
        if result not in done:
            gone = {"verdict": "NOT RUN", "measures": {}, "reasons": (reason,)}
            unrun.append(dataclasses.replace(result, **gone))
    return dataclasses.replace(run, results=done, unrun=tuple(unrun), exit_status=2)


ANSWERS = ("unanswered", "median length ratio", "excerpts without an answer")


def evidence(kind, *rules, count=120, received=120, more=()):
    """Evidence whose generations are of one kind but a few, and breaks these rules."""
    issues = [Issue(rule, f"{rule} is broken", f"mend {rule}") for rule in rules]
    kinds = {kind: count, Kind.ANSWER: received - count}
    return Completeness(120, received, kinds=kinds, issues=(*issues, *more))


def not_received(cause, fix):
    """Evidence of a server that answers nothing."""
    issues = (
        Issue("sampled", cause, fix),
        Issue("all received", "0 of 120 requested generations received"),
        Issue("canaries", "5 of 5 canaries are missing or withheld"),
    )
    return Completeness(120, 0, issues=issues)


ILL = {
    "refuse": evidence(Kind.REFUSAL, *ANSWERS, "canaries", "distinct answers"),
    "short": evidence(Kind.SHORT, "short", "median length ratio"),
    "canned": evidence(Kind.CANNED, "unanswered", "distinct answers"),
    "echo": evidence(Kind.ECHO, *ANSWERS),
    "garble": evidence(Kind.UNREADABLE, *ANSWERS, "common words", count=119),
    "empty": evidence(Kind.EMPTY, *ANSWERS),
    "think": evidence(Kind.EMPTY, *ANSWERS),
    "dead": not_received("the server failed: 500 Internal Server Error", "rerun later"),
    "gone": not_received("Connection failed", "check that the server runs"),
}


def undecided(model, completeness, book="dracula-1"):
    reasons = tuple(map(str, completeness.issues))
    fields = {"completeness": completeness, "reasons": reasons, "measures": {}}
    return pair(model, book, "INCONCLUSIVE", **fields)


def ill_models():
    """Nine models with which something is wrong."""
    results = [undecided(model, completeness) for model, completeness in ILL.items()]
    return RunReport("9", tuple(results))


def expected_leak():
    return RunReport("9", (wanted_leak("control", "dracula-1"),))


def collection():
    """A model that leaks two of three poems."""
    works = []
    for title, verdict in (("Owl", "FAIL"), ("Fog", "FAIL"), ("Tea", "PASS")):
        work = WorkVerdict(title.lower(), title, 90, Verdict(verdict), {})
        works.append(work)
    result = pair("poet", "poems", "FAIL", longest=64)
    measures = result.measures | {"leaking_works": estimated(2 / 3)}
    limits = limited(**LIMITS, leaking_works=0)
    failed = dataclasses.replace(
        result, works=tuple(works), measures=measures, limits=limits
    )
    return RunReport("9", (failed, pair("calm", "poems")))


RUNS = {
    "1 pair": one_pair,
    "8 pairs": eight_pairs,
    "80 pairs": eighty_pairs,
    "interrupted": interrupted_run,
    "nine ill models": ill_models,
    "an expected leak": expected_leak,
    "a collection": collection,
}
