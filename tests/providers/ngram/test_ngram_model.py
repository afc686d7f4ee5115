from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.providers.ngram.ngram_model import BOUNDARY, NgramModel

token_lists = st.lists(st.sampled_from("abc"), max_size=12)
corpora = st.lists(token_lists, min_size=1, max_size=4).filter(any)
contexts = st.lists(st.sampled_from(["a", "b", "c", "unread", BOUNDARY]), max_size=6)
orders = st.integers(1, 6)


def witten_bell(documents, repeats, order):
    """P(token | context) by the formula, from counts made with loops."""
    followers = {}
    for document, times in zip(documents, repeats, strict=True):
        text = [BOUNDARY, *document, BOUNDARY]
        for place in range(1, len(text)):
            for length in range(min(place, order - 1) + 1):
                context = tuple(text[place - length : place])
                followers.setdefault(context, Counter())[text[place]] += times

    def probability(context, token):
        h = tuple(context[max(0, len(context) - order + 1) :])
        if h not in followers:
            return probability(h[1:], token)
        counts = followers[h]
        seen, kinds = counts.total(), len(counts)
        if not h:
            return counts[token] / seen
        share = seen / (seen + kinds)
        return share * counts[token] / seen + (1 - share) * probability(h[1:], token)

    return probability


def probabilities(oracle, model, context):
    return np.array([oracle(context, token) for token in model.vocabulary])


temperatures = st.sampled_from([0.001, 0.05, 0.3, 0.7, 1.0, 1.5, 20.0])


@given(corpora, orders, contexts, temperatures, st.data())
def test_tokens_are_drawn_in_proportion_to_the_power_of_their_probability(
    documents, order, context, temperature, data
):
    size = len(documents)
    repeats = data.draw(st.lists(st.integers(1, 3), min_size=size, max_size=size))
    model = NgramModel(documents, order=order, repeats=repeats)
    points = 500
    settings = {"max_tokens": 1, "temperature": temperature}
    generations = Counter(
        model.sample(context, uniform=lambda u=(i + 0.5) / points: u, **settings)[0]
        for i in range(points)
    )
    p = probabilities(witten_bell(documents, repeats, order), model, context)
    powers = (p / p.max()) ** (1 / temperature)
    observed = [generations[token] / points for token in model.vocabulary]
    # A token owns one piece of [0, 1) for each length of context; an end may miss one
    # point.
    assert observed == pytest.approx(powers / powers.sum(), abs=(order + 1) / points)


@given(corpora, orders, contexts)
def test_temperature_0_takes_the_likeliest(documents, order, context):
    model = NgramModel(documents, order=order)
    oracle = witten_bell(documents, [1] * len(documents), order)
    tokens = model.sample(
        context, max_tokens=20, temperature=0.0, uniform=Random(1).random
    )
    for place, token in enumerate(tokens):
        p = probabilities(oracle, model, [*context, *tokens[:place]])
        assert p[model.vocabulary.index(token)] == pytest.approx(p.max(), rel=1e-12)


def test_a_text_ends_where_the_training_text_ended_and_none_reaches_into_the_next():
    model = NgramModel([["a", "b", "c"]], order=4)
    tokens = model.sample(
        [BOUNDARY], max_tokens=50, temperature=0.0, uniform=Random(1).random
    )
    assert tokens == ["a", "b", "c", BOUNDARY]
    model = NgramModel([["x", "x", "a"], ["b", "c"]], order=3)
    points = [place / 50 for place in range(50)]
    across, alone = (
        [
            model.sample(context, max_tokens=3, temperature=1.0, uniform=lambda u=u: u)
            for u in points
        ]
        for context in (["a", BOUNDARY], [BOUNDARY])
    )
    assert across == alone
