"""What is no evidence is INCONCLUSIVE; each says why and what to do."""

import pytest
from answer_sets import REARRANGED, TRANSFORMED, each

RULES = {
    "rot13": "unanswered",
    "leet": "unanswered",
    "words reversed": "unanswered",
    "letters reversed": "unanswered",
    "shuffled": "word order",
    "pairs swapped": "word order",
    "base64": "short",
    "base64 behind the answer": "unanswered",
    "tag characters behind the answer": "unanswered",
    "dots": "unanswered",
    "zero width between": "unanswered",
    "zero width alone": "unanswered",
    "Russian": "short",
    "letters apart": "unanswered",
    "half an answer reversed": "word order",
    "one word": "unanswered",
    "five apologies": "unanswered",
    "one answer in five reversed": "unanswered",
    "instruction echoed": "unanswered",
    "two texts alternating": "distinct answers",
    "same five for every excerpt": "unanswered",
    "same five with a word of their own": "unanswered",
    "three to an excerpt with a word of their own": "distinct 8-word runs",
    "greedy, 4 % of words dropped": "distinct 8-word runs",
    "thinking cut": "unanswered",
    "guardrail_intervened": "unanswered",
    "finish reason null": "unanswered",
    "one withheld for recitation": "recitation",
    "surplus round": "no more",
    "a generation missing": "all there",
    "a round twice": "no more",
}


def test_every_set_is_told_what_it_breaks():
    assert set(RULES) == set(TRANSFORMED) | set(REARRANGED)


@pytest.mark.parametrize("name", RULES)
def test_no_evidence_is_complete(name, book, answers, weigh):
    if name in TRANSFORMED:
        drawn = each(answers, TRANSFORMED[name])
    else:
        drawn = REARRANGED[name](book, answers)
    evidence = weigh(book, drawn)
    assert RULES[name] in [issue.rule for issue in evidence.issues]
    assert not evidence.complete
    assert all(issue.cause and issue.fix for issue in evidence.issues)
    assert_no_text_is_told(repr(evidence), [one.text for one in [*drawn[:50], *book.excerpts]])


def assert_no_text_is_told(told, texts):
    runs = [text.split()[at : at + 3] for text in texts for at in (0, 5, 100)]
    assert not [run for run in runs if len(run) == 3 and " ".join(run) in told]
