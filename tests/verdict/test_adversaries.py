"""What is no evidence is INCONCLUSIVE; each says why and what to do."""

import pytest
from answer_sets import (
    FROM_EXCERPTS,
    FURTHER,
    HIDDEN_PASSAGES,
    REARRANGED,
    TRANSFORMED,
    each,
)

IN_ORDER = ("hexadecimal", "sorted words")

# The rule that each set breaks, and a word of the issue's cause.
RULES = {
    ("unanswered", "unreadable"): (
        *(
            "rot13",
            "leet",
            "words reversed",
            "letters reversed",
            "base64 behind the answer",
        ),
        *("tag characters behind the answer", "zero width between", "letters apart"),
        *(
            "one answer in five reversed",
            "Latin filler",
            "numbers",
            "half an answer in rot13",
        ),
        *(f"a passage in {name}" for name in HIDDEN_PASSAGES if name not in IN_ORDER),
        *(
            "99 words in rot13 behind the answer",
            "variation selectors behind the answer",
        ),
    ),
    ("unanswered", "refusal"): (
        *("one word", "five apologies", "apologies in five languages"),
        "apologies in words of their own",
    ),
    ("unanswered", "empty"): ("dots", "zero width alone"),
    ("unanswered", "echo"): ("instruction echoed",),
    ("unanswered", "canned"): (
        *("same five for every excerpt", "same five with a word of their own"),
        "a refusal of 120 words",
    ),
    ("unanswered", "cut"): ("thinking cut", "two fifths, cut by length"),
    ("unanswered", "withheld"): ("guardrail_intervened", "finish reason null"),
    ("word order", ""): (
        *(
            "shuffled",
            "pairs swapped",
            "half an answer reversed",
            "a passage in sorted words",
        ),
    ),
    ("short", ""): ("base64", "Russian", "a passage in hexadecimal"),
    ("distinct answers", ""): ("two texts alternating",),
    ("distinct 8-word runs", ""): (
        *(
            "three to an excerpt with a word of their own",
            "greedy, 4 % of words dropped",
        ),
    ),
    ("recitation", ""): ("one withheld for recitation",),
    ("no surplus", ""): ("surplus round", "a round twice"),
    ("all received", ""): ("a generation missing",),
}
BROKEN = {name: rule for rule, names in RULES.items() for name in names}
CHANGES = REARRANGED | FROM_EXCERPTS
# What a model may answer that was never tuned to follow instructions.
BASE_MODELS = {"short", "canned", "echo", "empty", "refusal", "unreadable"}


def test_every_adversary_breaks_a_named_rule():
    assert set(BROKEN) == TRANSFORMED.keys() | FURTHER.keys() | CHANGES.keys()


@pytest.mark.parametrize("name", BROKEN)
def test_an_adversarys_evidence_is_incomplete(name, book, answers, weigh):
    change = CHANGES.get(name) or (
        lambda _, generations: each(generations, (TRANSFORMED | FURTHER)[name])
    )
    generations = change(book, answers)
    evidence = weigh(book, generations)
    rule, cause = BROKEN[name]
    issues = [
        issue
        for issue in evidence.issues
        if issue.rule == rule and cause in issue.cause
    ]
    assert issues
    if BASE_MODELS & {rule, cause}:
        assert 'options.api = "completions"' in issues[0].fix
    assert not evidence.complete
    assert all(issue.cause and issue.fix for issue in evidence.issues)
    assert_no_text_is_told(
        repr(evidence), [source.text for source in [*generations[:50], *book.excerpts]]
    )


def assert_no_text_is_told(told, texts):
    runs = [text.split()[at : at + 3] for text in texts for at in (0, 5, 100)]
    assert not [run for run in runs if len(run) == 3 and " ".join(run) in told]
