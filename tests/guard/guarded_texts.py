"""Texts in pieces, and the passages of a library in them."""

from functools import cache

from disguised_texts import book

from pytest_memleak.library import Library


@cache
def library():
    """Return the library of one novel."""
    return Library.of([book("the-lamplighter")])


def deltas(text, rng, most=8):
    """Yield a text in pieces of 1 to `most` characters."""
    at = 0
    while at < len(text):
        size = rng.randint(1, most)
        yield text[at : at + size]
        at += size


def longest(text, prompt="", *, protected=None):
    """Return the words of the longest passage in a text; 0 without any."""
    passages = (protected or library()).find([text], [prompt])
    return max((passage.words for passage in passages), default=0)


def every_7th(words):
    """Join words, every seventh of them replaced."""
    return " ".join("otherwise" if n % 7 == 6 else word for n, word in enumerate(words))


def without_names(value):
    """Return a result without what the guard replaces: ids, the model, a fingerprint."""
    if isinstance(value, dict):
        return {
            key: "..." if part and _is_replaced(key) else without_names(part)
            for key, part in value.items()
        }
    return [*map(without_names, value)] if isinstance(value, list) else value


def _is_replaced(key):
    return key in ("id", "model", "system_fingerprint") or key.endswith("_id")
