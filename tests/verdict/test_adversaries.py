"""What is no evidence is INCONCLUSIVE; each says why and what to do."""

import pytest
from answer_sets import REARRANGED, TRANSFORMED, each

RULES = {
    "unanswered": (
        *("rot13", "leet", "words reversed", "letters reversed", "base64 behind the answer"),
        *("tag characters behind the answer", "dots", "zero width between", "zero width alone"),
        *("letters apart", "one word", "five apologies", "one answer in five reversed"),
        *("instruction echoed", "same five for every excerpt", "thinking cut"),
        *("same five with a word of their own", "guardrail_intervened", "finish reason null"),
    ),
    "word order": ("shuffled", "pairs swapped", "half an answer reversed"),
    "short": ("base64", "Russian"),
    "distinct answers": ("two texts alternating",),
    "distinct 8-word runs": (
        *("three to an excerpt with a word of their own", "greedy, 4 % of words dropped"),
    ),
    "recitation": ("one withheld for recitation",),
    "no surplus": ("surplus round", "a round twice"),
    "all received": ("a generation missing",),
}
BROKEN = {name: rule for rule, names in RULES.items() for name in names}


def test_every_set_is_told_what_it_breaks():
    assert set(BROKEN) == set(TRANSFORMED) | set(REARRANGED)


@pytest.mark.parametrize("name", BROKEN)
def test_no_evidence_is_complete(name, book, answers, weigh):
    change = REARRANGED.get(name) or (lambda _, drawn: each(drawn, TRANSFORMED[name]))
    drawn = change(book, answers)
    evidence = weigh(book, drawn)
    assert BROKEN[name] in [issue.rule for issue in evidence.issues]
    assert not evidence.complete
    assert all(issue.cause and issue.fix for issue in evidence.issues)
    assert_no_text_is_told(repr(evidence), [one.text for one in [*drawn[:50], *book.excerpts]])


def assert_no_text_is_told(told, texts):
    runs = [text.split()[at : at + 3] for text in texts for at in (0, 5, 100)]
    assert not [run for run in runs if len(run) == 3 and " ".join(run) in told]
