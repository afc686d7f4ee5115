"""Situations that a verdict is made of (docs/method.md), and the verdict that is right in each.

    analysis, completeness, limits, verdict, reasons

An asterisk in a reason stands for any text.
"""

from dataclasses import replace
from fnmatch import fnmatchcase

from pytest_memleak.records import (
    Block,
    Book,
    Completeness,
    Estimate,
    Excerpt,
    Generation,
    Issue,
    Limits,
    Scoring,
    Span,
    Verdict,
)
from pytest_memleak.scoring.analysis import analyze
from pytest_memleak.scoring.null_books import ChanceLevel, NullBook
from pytest_memleak.scoring.nv_recall import NearSpan, NearVerbatimRecall
from pytest_memleak.scoring.protected_passages import ProtectedPassage

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE

TEXTS = {"p1": "a b c d e f g h", "p2": "i j k l m n o p"}
BOOK = Book(
    "b", "B", "A", tuple(Excerpt(*its, "write") for its in TEXTS.items()), digest=""
)
DRAWN = [
    Generation(name, n, f"nothing {n}") for name in ("p1", "p2") for n in range(10)
]
CLEAN = analyze(BOOK, DRAWN, Scoring())


def analysis(
    *, bmc=0.0, high=None, block=0, span=0, over=0, nv=None, excess=None, gain=None, further=None,
    passage=0, nv_passage=0,
):  # fmt: skip
    """An analysis with these measures, whose intervals end at `high` or at `(value, high)`."""
    runs = {
        "longest_block": Block(block),
        "longest_span": Span(span),
        "spans_over": over,
    }
    measurement = replace(CLEAN.measurement, bmc=bmc, **runs)
    guess = (bmc,) * len(CLEAN.error.guess)
    error = replace(
        CLEAN.error, bmc=bmc, high=bmc if high is None else high, guess=guess
    )
    passages = {"longest_passage": passage, "nv_longest_passage": nv_passage}
    passages = {name: ProtectedPassage(words) for name, words in passages.items()}
    changes = {"measurement": measurement, "error": error}
    changes["passages"] = replace(CLEAN.passages, **passages)
    if nv is not None:
        changes["near"] = NearVerbatimRecall(
            words=16, nv_recall=nv, longest_span=NearSpan(span)
        )
    if excess is not None:
        value, end, low = (*excess, 0.0)[:3]
        changes["null"] = ChanceLevel(
            words=100, bmc=value, books=(NullBook("a", 0.0, 0),), null_bmc=0.0,
            null_longest_span=0, excess=value, low=low, high=end,
            own_high=1.0, p=0.5, visible=2.0, confidence=0.95,
        )  # fmt: skip
    if gain is not None:
        value, end, low = (*gain, 0.0)[:3]
        changes["uplift"] = Estimate(value, low, end)
    if further is not None:
        changes["further"] = {"rhymes": further}
    return replace(CLEAN, **changes)


def completeness(*, received=100, issues=()):
    """So many of 100 generations, with these issues besides."""
    missing = (
        ()
        if received == 100
        else (f"{received} of 100 requested generations received",)
    )
    all_issues = tuple(Issue("all received", cause) for cause in (*missing, *issues))
    return Completeness(100, received, issues=all_issues)


WHOLE = completeness()
HALF = completeness(received=50)
GAP = completeness(issues=("the server went away",))

ONE_OVER = (
    "bmc 0.2345 exceeds the limit 0.1567",
    "longest_block 101 exceeds the limit 100",
    "longest_span 39 exceeds the limit 38",
    "spans_over 1 exceeds the limit 0",
)
BMC = Limits(bmc=0.1567)
DOUBT = analysis(bmc=0.1234, high=0.2345)
OPEN = INCONCLUSIVE
NO_CHANCE = (
    "bmc_excess has a limit, but couldn't be measured: it needs a negative control*"
)
NO_BASELINE = (
    "uplift has a limit, but couldn't be measured: the model needs a baseline*"
)
NO_NV = "nv_recall has a limit, but couldn't be measured: it wasn't requested; give it a limit"
NV_OVER = "nv_recall 0.2345 exceeds the limit 0.1234"
GOT_HALF = "50 of 100 requested generations received"

SITUATIONS = [
    # complete evidence
    (analysis(), WHOLE, Limits(bmc=0.0), PASS, ()),
    (analysis(bmc=0.1567), WHOLE, BMC, PASS, ()),
    (analysis(bmc=0.1234, high=0.1567), WHOLE, BMC, PASS, ()),
    (analysis(bmc=0.2345), WHOLE, BMC, FAIL, ONE_OVER[:1]),
    (DOUBT, WHOLE, BMC, OPEN, ("bmc 0.1234 is within its limit 0.1567, but *",)),
    (analysis(block=100, span=38), WHOLE, Limits(longest_block=100, longest_span=38), PASS, ()),
    (analysis(bmc=0.2345, block=101, span=39, over=1), WHOLE,
     Limits(bmc=0.1567, longest_block=100, longest_span=38, spans_over=0), FAIL, ONE_OVER),
    # any passage of any protected book
    (analysis(passage=38, nv_passage=38), WHOLE, Limits(longest_passage=38, nv_longest_passage=38),
     PASS, ()),
    (analysis(nv_passage=60), WHOLE, Limits(longest_passage=38, nv_longest_passage=38), FAIL,
     ("nv_longest_passage 60 exceeds the limit 38",)),
    (analysis(passage=39), GAP, Limits(longest_passage=38), FAIL,
     ("longest_passage 39 exceeds the limit 38",)),
    # one limit broken outweighs another in doubt
    (analysis(bmc=0.1234, high=0.2345, span=39), WHOLE, Limits(bmc=0.1567, longest_span=38), FAIL,
     ONE_OVER[2:3]),
    # something missing: never a pass, and still a failure where a limit is broken
    (analysis(), HALF, BMC, OPEN, (GOT_HALF,)),
    (analysis(), GAP, BMC, OPEN, ("the server went away",)),
    (analysis(), completeness(received=50, issues=("gone",)), BMC, OPEN, (GOT_HALF, "gone")),
    (DOUBT, HALF, BMC, OPEN, (GOT_HALF, "bmc 0.1234 is within*")),
    (analysis(bmc=0.2345), HALF, BMC, FAIL, ONE_OVER[:1]),
    (analysis(span=39), HALF, Limits(longest_span=38), FAIL, ONE_OVER[2:3]),
    (analysis(over=1), GAP, Limits(spans_over=0), FAIL, ONE_OVER[3:]),
    # no measurement, no limit
    (None, WHOLE, BMC, OPEN, ("no limit was evaluated",)),
    (None, GAP, BMC, OPEN, ("the server went away",)),
    (analysis(), WHOLE, Limits(), OPEN, ("no limit was evaluated",)),
    # measures that cannot always be had
    (analysis(), WHOLE, Limits(bmc_excess=0.0512), OPEN, (NO_CHANCE,)),
    (analysis(), WHOLE, Limits(nv_recall=0.0512), OPEN, (NO_NV,)),
    (analysis(), WHOLE, Limits(bmc=0.1567, uplift=0.0512), OPEN, (NO_BASELINE,)),
    (analysis(bmc=0.2345), WHOLE, Limits(bmc=0.1567, uplift=0.0512), FAIL, ONE_OVER[:1]),
    (analysis(excess=(0.0123, 0.0434)), WHOLE, Limits(bmc_excess=0.0512), PASS, ()),
    (analysis(excess=(0.0123, 0.0612)), WHOLE, Limits(bmc_excess=0.0512), OPEN,
     ("bmc_excess 0.0123 is within its limit 0.0512, but *",)),
    (analysis(excess=(0.1234, 0.2345, 0.06)), WHOLE, Limits(bmc_excess=0.0512), FAIL,
     ("bmc_excess 0.1234 exceeds the limit 0.0512",)),
    # nor do they fail while their interval reaches down to the limit
    (analysis(gain=(0.1234, 0.2345, 0.0512)), WHOLE, Limits(uplift=0.0512), OPEN,
     ("uplift 0.1234 exceeds its limit 0.0512, but *",)),
    (analysis(gain=(0.1234, 0.2345, 0.06)), WHOLE, Limits(uplift=0.0512), FAIL,
     ("uplift 0.1234 exceeds the limit 0.0512",)),
    (analysis(nv=0.2345, span=30), WHOLE, Limits(nv_longest_span=29), FAIL,
     ("nv_longest_span 30 exceeds the limit 29",)),
    (analysis(nv=0.1234, span=30), WHOLE, Limits(nv_recall=0.1234, nv_longest_span=30), PASS, ()),
    # those that more samples may lower do not fail on half the evidence
    (analysis(excess=(0.1234, 0.2345, 0.06)), HALF, Limits(bmc_excess=0.0512), OPEN, (GOT_HALF,)),
    (analysis(gain=(0.1234, 0.2345, 0.06)), GAP, Limits(uplift=0.0512), OPEN, ("the server*",)),
    (analysis(nv=0.2345), HALF, Limits(nv_recall=0.1234), FAIL, (NV_OVER,)),
    # one that is not there
    (analysis(), completeness(received=99), BMC, OPEN,
     ("99 of 100 requested generations received",)),
    # a limit of nothing and of everything
    (analysis(bmc=0.0, high=0.001), WHOLE, Limits(bmc=0.0), OPEN,
     ("bmc 0 is within its limit 0, but *",)),
    (analysis(bmc=1.0, block=16, span=8, over=1), WHOLE, Limits(bmc=1.0), PASS, ()),
    (analysis(span=5), WHOLE, Limits(longest_span=0), FAIL,
     ("longest_span 5 exceeds the limit 0",)),
    # several limits, of which some are broken, in doubt or not to be had
    (analysis(bmc=0.2345, span=39), WHOLE, Limits(longest_span=38, bmc=0.1567), FAIL,
     (ONE_OVER[0], ONE_OVER[2])),
    (analysis(bmc=0.1234, high=0.2345, excess=(0.0123, 0.0612)), WHOLE,
     Limits(bmc=0.1567, bmc_excess=0.0512), OPEN,
     ("bmc 0.1234 is within its limit 0.1567, but *",
      "bmc_excess 0.0123 is within its limit 0.0512, but *")),
    (DOUBT, WHOLE, Limits(bmc=0.1567, nv_recall=0.0512), OPEN,
     (NO_NV, "bmc 0.1234 is within its limit 0.1567, but *")),
    (analysis(gain=(0.0123, 0.0434), excess=(0.0123, 0.0434)), WHOLE,
     Limits(uplift=0.0512, bmc_excess=0.0512), PASS, ()),
    (analysis(gain=(0.1234, 0.2345, 0.06), span=39), GAP, Limits(uplift=0.0512, longest_span=38),
     FAIL, ONE_OVER[2:3]),
    # measures that extensions bring are exact, and judged on complete evidence
    (analysis(further=3.0), WHOLE, Limits(rhymes=3.0), PASS, ()),
    (analysis(further=4.0), WHOLE, Limits(rhymes=3.0), FAIL, ("rhymes 4 exceeds the limit 3",)),
    (analysis(further=4.0), HALF, Limits(rhymes=3.0), OPEN, (GOT_HALF,)),
    (analysis(), WHOLE, Limits(rhymes=3.0), OPEN,
     ("rhymes has a limit, but couldn't be measured: *",)),
]  # fmt: skip


def says(reasons, expected):
    return len(reasons) == len(expected) and all(map(fnmatchcase, reasons, expected))
