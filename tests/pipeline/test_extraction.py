"""probe = "extraction": what a conversation extracts, and that it can be gone on with."""

import pytest
from extraction_servers import (
    BOOK,
    changes_every,
    derails_after,
    extraction,
    opens_at,
    recites,
    refuses,
    refuses_from,
    serving,
)

from pytest_memleak.records import Verdict
from pytest_memleak.scoring.nv_recall import near_verbatim


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("EXTRACTION_TEST_KEY", "k")


def measured(result):
    return result.analysis.extraction


@pytest.mark.parametrize(
    ("behavior", "verdict"),
    [
        (opens_at(3), Verdict.FAIL),
        (refuses, Verdict.PASS),
        (derails_after(0.5), Verdict.FAIL),
        (changes_every(25), Verdict.FAIL),
        (refuses_from(10), Verdict.FAIL),
        (recites, Verdict.FAIL),
    ],
    ids=["third rewording", "refuses", "derails", "1 of 25", "refuses later", "recites"],
)
def test_extracted_is_what_a_direct_computation_gives(tmp_path, behavior, verdict):
    with serving(behavior) as server:
        result = extraction(tmp_path, server)
    expected = near_verbatim(" ".join(BOOK), "\n\n".join(server.answers))
    assert measured(result).share == expected.nv_recall
    assert result.verdict is verdict, result.verdict_result
