"""Whether each summary has its own excerpt as the only nearest (METRICS section 10)."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import log
from typing import TYPE_CHECKING

import numpy as np

from pytest_memleak.scoring.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def aimed(summaries: Iterable[Counter[str]], texts: Sequence[str]) -> int:
    """Count the summaries whose own text, the one at the same place, is the only nearest.

    Nearest by the cosine between vectors of (1 + ln count) * ln(E/e) per word.
    """
    places: dict[str, list[int]] = defaultdict(list)
    counts: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        for word, count in Counter(words(text, "unicode")).items():
            places[word].append(place)
            counts[word].append(count)
    rarity = {word: log(len(texts) / len(its)) for word, its in places.items()}
    weights = {word: (1 + np.log(its)) * rarity[word] for word, its in counts.items()}
    squares = np.zeros(len(texts))
    for word, its in weights.items():
        squares[places[word]] += its**2
    hits = 0
    for own, summary in enumerate(summaries):
        cosines = np.zeros(len(texts))
        for word, count in summary.items():
            if word in weights:
                cosines[places[word]] += (1 + log(count)) * rarity[word] * weights[word]
        cosines /= np.sqrt(np.maximum(squares, np.finfo(float).tiny))
        hits += int((cosines >= cosines[own]).sum()) == 1
    return hits
