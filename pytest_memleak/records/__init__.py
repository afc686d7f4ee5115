"""Frozen records that the packages exchange, a file per subject.

Fields with a book's or a model's text are left out of `repr`, so no assertion diff, log
line or traceback quotes them.
"""

from __future__ import annotations

from pytest_memleak.records.book import (
    Book,
    BookPart,
    BookPrompt,
    Excerpt,
    WordMode,
    Work,
)
from pytest_memleak.records.generation import FinishReason, Generation, Kind, Origin
from pytest_memleak.records.measurement import (
    Block,
    Coverage,
    Estimate,
    Measure,
    Measurement,
    ProbeKind,
    Span,
)
from pytest_memleak.records.pair import (
    AnswerLimits,
    BookSource,
    CollectionSource,
    Model,
    Pair,
    Probe,
    Sampling,
    Scoring,
    Suite,
    Summarizer,
)
from pytest_memleak.records.verdicts import (
    Completeness,
    Issue,
    LimitCheck,
    Limits,
    RuleCheck,
    Verdict,
    VerdictResult,
    WorkVerdict,
)

__all__ = [
    "AnswerLimits",
    "Block",
    "Book",
    "BookPart",
    "BookPrompt",
    "BookSource",
    "CollectionSource",
    "Completeness",
    "Coverage",
    "Estimate",
    "Excerpt",
    "FinishReason",
    "Generation",
    "Issue",
    "Kind",
    "LimitCheck",
    "Limits",
    "Measure",
    "Measurement",
    "Model",
    "Origin",
    "Pair",
    "Probe",
    "ProbeKind",
    "RuleCheck",
    "Sampling",
    "Scoring",
    "Span",
    "Suite",
    "Summarizer",
    "Verdict",
    "VerdictResult",
    "WordMode",
    "Work",
    "WorkVerdict",
]
