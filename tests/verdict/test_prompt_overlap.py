"""The nearest excerpt of each summary, against sums over every word of the book."""

import math
import random
from collections import Counter

import pytest

from pytest_memleak.verdict.prompt_overlap import count_nearest_to_own_text


def vector(counts, texts):
    """(1 + ln count) * ln(E/e) per word of the book."""
    return {
        word: (1 + math.log(counts[word])) * math.log(len(texts) / e)
        if counts[word]
        else 0.0
        for word, e in Counter(
            word for text in texts for word in set(text.split())
        ).items()
    }


def cosine(one, other):
    length = math.hypot(*one.values()) * math.hypot(*other.values())
    return sum(one[word] * other[word] for word in one) / length if length else 0.0


def slow(summaries, texts):
    rows = [vector(Counter(text.split()), texts) for text in texts]
    hits = 0
    for own, summary in enumerate(summaries):
        cosines = [cosine(vector(summary, texts), row) for row in rows]
        hits += all(
            cosines[own] > it + 1e-12 for n, it in enumerate(cosines) if n != own
        )
    return hits


@pytest.mark.parametrize("seed", range(20))
def test_aimed_summaries_are_those_of_the_definition(seed):
    draw = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(40)]
    texts = [" ".join(draw.choices(vocabulary, k=25)) for _ in range(11)]
    texts.append(texts[0])  # of two that are alike, neither is the only nearest
    summaries = [
        Counter(draw.choices([*text.split(), "unheard"], k=6)) for text in texts
    ]
    hits = slow(summaries, texts)
    assert 0 < hits < 12
    assert count_nearest_to_own_text(summaries, texts) == hits


def test_a_summary_of_words_in_all_excerpts_or_none_aims_at_nothing():
    texts = [f"the sea {name}" for name in ("ann", "bob", "cid")]
    summaries = map(Counter, (["the", "sea"], ["nobody"], ["cid"]))
    assert count_nearest_to_own_text(summaries, texts) == 1
