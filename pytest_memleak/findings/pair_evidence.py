"""What the evidence bundle says of one pair; plain values, all of which can be computed again."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_memleak.records import Pair
    from pytest_memleak.scoring.analysis import Analysis
    from pytest_memleak.scoring.extraction import Extraction
    from pytest_memleak.verdict.evaluation import Evaluation

__all__ = ["pair_evidence", "settings_of"]


def pair_evidence(evaluation: Evaluation) -> dict[str, Any]:
    """What the bundle says of one pair; plain values, all of which can be computed again."""
    pair, model = evaluation.pair, evaluation.pair.model
    completeness, analysis = evaluation.completeness, evaluation.analysis
    return {
        "pair": pair.id,
        "suite": {
            "name": evaluation.suite,
            "path": _relative(pair.suite),
            "sha256": evaluation.suite_digest,
        },
        "book": {
            "id": pair.book.id,
            "sha256": evaluation.book.digest if evaluation.book else None,
            "words": analysis.measurement.words if analysis else None,
            "excerpts": len(evaluation.book.excerpts) if evaluation.book else None,
        },
        "model": {
            "id": model.id,
            "provider": model.provider,
            "base": model.base,
            "baseline": model.baseline,
            "endpoint": evaluation.endpoint,
            "finetune_books": list(model.finetune_books),
            "finetune": model.finetune,
            "job": evaluation.job,
            "options": model.options,
        },
        "settings": settings_of(pair),
        "counts": {
            "asked": completeness.asked,
            "got": completeness.got,
            "withheld": {why.value: count for why, count in completeness.withheld.items()},
            "generations_sha256": evaluation.digest_of("own"),
            "greedy_sha256": evaluation.digest_of("greedy"),
        },
        "measures": _measures(analysis, evaluation.extraction),
        "windows": _windows(evaluation.extraction),
        "elsewhere": [dataclasses.asdict(one) for one in evaluation.elsewhere],
        "limits": {
            name: {"limit": limit, "set_by": pair.limit_origins.get(name)}
            for name, limit in pair.limits.given().items()
        },
        "expected": pair.expected,
        "verdict": evaluation.judgement.verdict.value,
        "reasons": list(evaluation.judgement.reasons),
        "stopped_early": evaluation.spared is not None,
    }


def settings_of(pair: Pair) -> dict[str, Any]:
    """How the pair was sampled, measured and judged: the suite's keys."""
    return {
        **dataclasses.asdict(pair.sampling),
        **dataclasses.asdict(pair.scoring),
        "confidence": pair.confidence,
        "probe": dataclasses.asdict(pair.probe),
    }


def _measures(analysis: Analysis | None, extraction: Extraction | None) -> dict[str, Any]:
    if analysis is None:
        return _estimated(extraction) if extraction else {}
    found = _estimated(analysis)
    block, span = analysis.measurement.longest_block, analysis.measurement.longest_span
    found["longest_block"] |= {"start": block.start, "end": block.end}
    found["longest_span"] |= {
        "start": span.start,
        "end": span.end,
        "excerpt_id": span.excerpt_id,
        "generation": span.generation,
    }
    found["self_agreement"] = {"value": analysis.agreement}
    found["cross_excerpt"] = {
        "spans": analysis.cross.count,
        "cross": analysis.cross.cross,
        "ratio": analysis.cross.ratio,
    }
    if analysis.null:
        found["null"] = dataclasses.asdict(analysis.null)
    return found


def _estimated(known: Analysis | Extraction) -> dict[str, Any]:
    from pytest_memleak.scoring.analysis import estimates  # with numpy: not needed to collect

    return {
        name: {"value": one.value, "low": one.low, "high": one.high}
        for name, one in estimates(known).items()
    }


def _windows(extraction: Extraction | None) -> dict[str, Any] | None:
    """The map along the book: p_z of every window, and what it makes of it; no text."""
    if extraction is None:
        return None
    settings = extraction.settings
    return {
        "tokens": extraction.tokens,
        "windows": extraction.windows,
        "p_z": f"top-k {settings.top_k}, temperature {settings.temperature:g}"
        if extraction.top_k
        else "plain product",
        "n": settings.n,
        "p": settings.p,
        "discoverable": extraction.discoverable_share,
        # In order, from token 0 by the stride; "zero" where p_z is 0, null where it is not known.
        "ln_p_z": ["zero" if one == -math.inf else one for one in extraction.log_p],
        "discoverable_windows": [place for place, one in enumerate(extraction.discoverable) if one],
        "chapters": [start for _, start in extraction.chapters],
    }


def _relative(path: Path) -> str:
    """The suite's path from here, so that the bundle names no folder of its author's."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name
