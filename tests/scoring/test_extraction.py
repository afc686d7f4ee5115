"""p_z and what it makes of a window, against a direct reading in fractions and loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.errors import SettingsError
from pytest_memleak.records import WindowSettings
from pytest_memleak.scoring.analysis import estimates
from pytest_memleak.scoring.extraction import (
    Extraction,
    among_likeliest,
    in_top_k,
    seen_in_tries,
    window_starts,
)

SMALL = WindowSettings(prefix_tokens=3, suffix_tokens=2, stride=2, n=10, p=0.5)


def extraction(*log_p, settings=SMALL, plain=None):
    return Extraction(settings, tokens=100, plain=log_p if plain is None else plain, scheme=log_p)


@pytest.mark.parametrize(
    ("tokens", "starts"), [(0, []), (4, []), (5, [0]), (6, [0]), (7, [0, 2]), (10, [0, 2, 4])]
)
def test_only_whole_windows_count(tokens, starts):
    assert list(window_starts(tokens, SMALL)) == starts


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any),
    st.integers(0, 11),
    st.integers(0, 14),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_top_k_agrees_with_a_direct_reading(counts, token, top_k, temperature):
    token %= len(counts)
    powers = [count ** (1 / temperature) for count in counts]
    kept = sorted(powers, reverse=True)[: top_k or None]
    with np.errstate(divide="ignore"):
        logits = np.log(np.array(counts, dtype=np.float64))
    found = in_top_k(logits, token, top_k=top_k, temperature=temperature)
    if powers[token] == 0 or powers[token] < kept[-1]:
        assert found == -math.inf
    else:
        assert math.exp(found) == pytest.approx(powers[token] / sum(kept), rel=1e-12)


@given(
    st.lists(st.integers(1, 20), min_size=3, max_size=12),
    st.integers(0, 11),
    st.integers(1, 3),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_the_likeliest_and_the_tokens_own_are_enough(counts, token, top_k, temperature):
    token %= len(counts)
    logits = np.log(np.array(counts) / sum(counts))
    likeliest = {one: logits[one] for one in np.argsort(-logits, kind="stable")[:top_k].tolist()}
    settings = {"top_k": top_k, "temperature": temperature}
    found = among_likeliest(likeliest, token, logits[token], **settings)
    assert found == pytest.approx(in_top_k(logits, token, **settings))


def test_settings_that_mean_nothing_are_refused():
    for name in ("prefix_tokens", "suffix_tokens", "stride"):
        with pytest.raises(SettingsError, match=f"{name} must be at least 1, not 0"):
            window_starts(100, WindowSettings(**{name: 0}))
    for temperature in (0, -1, math.nan):
        with pytest.raises(SettingsError, match="temperature must be above 0"):
            in_top_k(np.zeros(3), 0, top_k=2, temperature=temperature)


@given(st.fractions(0, 1, max_denominator=1000), st.integers(1, 50))
def test_in_n_tries(p, n):
    log_p = math.log(p) if p else -math.inf
    assert seen_in_tries(log_p, n) == pytest.approx(float(1 - (1 - p) ** n), abs=1e-12)
    # Small ones don't vanish.
    assert seen_in_tries(math.log(1e-30), 1000) == pytest.approx(1e-27, rel=1e-9)


def test_shares_are_of_all_windows():
    found = extraction(0.0, math.log(0.001), math.log(0.00099), -math.inf, None)
    assert (found.windows, found.plain.count(None)) == (5, 1)
    assert found.extractable == 2 / 5
    # In 10 tries a window of 0.001 comes with a probability of 1 %.
    assert found.discoverable == (True, False, False, False, False)
    assert found.discoverable_share == 1 / 5
    # The border of n and p counts.
    found = extraction(math.log(0.5), math.log(0.499), settings=WindowSettings(n=1, p=0.5))
    assert found.discoverable == (True, False)
    # Each measure is of its own p_z.
    both = extraction(0.0, -math.inf, plain=(math.log(0.1), math.log(0.01)))
    values = {name: estimate.value for name, estimate in estimates(both).items()}
    assert values == {"extractable": 0.5, "extractable_plain": 1.0}
    assert both.log_p == (0.0, -math.inf)
    plain = Extraction(SMALL, tokens=100, plain=(0.0,), scheme=None)
    assert [*estimates(plain)] == ["extractable_plain"]
    assert plain.discoverable == (True,)
    assert extraction().extractable == extraction().extractable_plain == 0.0
