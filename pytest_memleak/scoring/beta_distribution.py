"""The beta distribution and its quantiles.

The distribution is summed by its continued fraction (Lentz's method, Abramowitz and
Stegun 26.5.8), and its quantiles are found by Newton's steps inside a bracket.
"""

from __future__ import annotations

import math

_STEPS = 200
_LONGEST_FRACTION = 10_000
_EXACT = 1e-15
_TINY = 1e-300


def beta_quantile(
    probability: float,
    a: float,
    b: float,
) -> float:
    """Return where the beta distribution of `a` and `b` reaches the `probability`."""
    low = 0.0
    high = 1.0
    x = a / (a + b)
    for _ in range(_STEPS):
        excess = beta_share(x, a, b) - probability
        if excess > 0:
            high = x
        else:
            low = x
        density = _density(x, a, b)
        step = low
        if density > 0:
            step = x - excess / density
        if not low < step < high:
            step = (low + high) / 2
        if abs(step - x) <= _EXACT * x:
            return step
        x = step
    return x


def beta_share(
    x: float,
    a: float,
    b: float,
) -> float:
    """Return the share of the beta distribution of `a` and `b`, both above 0, up to x.

    x is taken within [0, 1].
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    border = (a + 1) / (a + b + 2)  # the fraction converges fast below it only
    if x > border:
        return 1 - _share_below_mean(1 - x, b, a)
    return _share_below_mean(x, a, b)


def _share_below_mean(
    x: float,
    a: float,
    b: float,
) -> float:
    log_height = _log_powers(x, a, b) - _log_beta(a, b)
    height = math.exp(log_height)
    return height * _continued_fraction(x, a, b) / a


def _continued_fraction(
    x: float,
    a: float,
    b: float,
) -> float:
    """Return the continued fraction, by Lentz's method."""
    first_term = (a + b) * x / (a + 1)
    d = 1 / _off_zero(1 - first_term)
    c = 1.0
    fraction = d
    for m in range(1, _LONGEST_FRACTION):
        a_2m = a + 2 * m
        even = m * (b - m) * x
        even /= (a_2m - 1) * a_2m
        odd = -(a + m) * (a + b + m) * x
        odd /= a_2m * (a_2m + 1)
        for term in (even, odd):
            d = 1 / _off_zero(1 + term * d)
            c = _off_zero(1 + term / c)
            factor = d * c
            fraction *= factor
        if abs(factor - 1) < _EXACT:
            break
    return fraction


def _density(
    x: float,
    a: float,
    b: float,
) -> float:
    log_powers = _log_powers(x, a - 1, b - 1)
    log_density = log_powers - _log_beta(a, b)
    return math.exp(log_density)


def _log_powers(
    x: float,
    a: float,
    b: float,
) -> float:
    """Return the logarithm of x ** a * (1 - x) ** b."""
    return a * math.log(x) + b * math.log1p(-x)


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _log_beta(a: float, b: float) -> float:
    log_product = math.lgamma(a) + math.lgamma(b)
    return log_product - math.lgamma(a + b)
