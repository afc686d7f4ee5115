"""Prose that no book holds: sentences of three parts of speech, of common and rare words."""

import functools
import itertools
import random

WORDS = [
    f"{a}{b}{c}"
    for a in ("ka", "to", "mi", "ru", "se", "no")
    for b in ("lan", "pek", "dor", "vis")
    for c in ("a", "e", "i", "o", "u", "al", "en", "is", "or", "um")
]
PARTS = [WORDS[n::3] for n in range(3)]
COMMON = [*itertools.accumulate(1 / (rank + 10) for rank in range(len(WORDS) // 3))]


@functools.cache
def prose(seed, length=300):
    """Sentences of three parts of speech, whose words are as common as in any other text."""
    chosen = random.Random(str(seed))
    return " ".join(
        chosen.choices(PARTS[n % 3], cum_weights=COMMON)[0] for n in range(length)
    )


ASKED = "Write the next part of the story, in which everybody goes home, for"
END = "and there it came to its end"  # longer than what near-verbatim spans reach over
