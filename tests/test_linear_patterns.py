"""A regular expression of the package takes time in proportion to its text.

The patterns are found, not listed: whatever a module or one of its classes has
compiled. Each is given texts of nothing but its own beginnings, at a length and at
twice that length.
"""

import contextlib
import importlib
import itertools
import pkgutil
import re
import time
from pathlib import Path

import pytest

import pytest_memleak

SIZE = 4_000
# Less than this (in seconds) says nothing of how it grows; what is quadratic takes
# more.
NOTICED = 0.04
PLAIN = ("a", "A", "1", " ", "\n", ".", "-", "_", '"', "'", "<", "é", "漢", "\u0301")


def values_of(module):
    """Each value of a module and of its classes, by name."""
    for name, value in vars(module).items():
        yield name, value
        if isinstance(value, type):
            for key, inner in vars(value).items():
                yield f"{name}.{key}", inner


def patterns_in(value):
    """Compiled patterns: a value, or those of a collection."""
    held = [value]
    if isinstance(value, dict):
        held = [*value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        held = [*value]
    for number, item in enumerate(held):
        if isinstance(item, re.Pattern):
            yield number, item


def importable_modules():
    for package in pkgutil.walk_packages(pytest_memleak.__path__, "pytest_memleak."):
        # Some need an extra that isn't here.
        with contextlib.suppress(ImportError):
            yield importlib.import_module(package.name)


def package_patterns():
    """Each pattern by where it stands."""
    places = {}
    for module in importable_modules():
        for name, value in values_of(module):
            for number, pattern in patterns_in(value):
                key = (pattern.pattern, pattern.flags)
                places.setdefault(key, f"{module.__name__}.{name}[{number}]")
    return {place: re.compile(*key) for key, place in places.items()}


PATTERNS = package_patterns()


def pieces(pattern):
    """Texts to repeat: the words that stand in the pattern, by two and alone, and plain letters."""
    source = pattern.pattern
    source = source.decode("latin-1") if isinstance(source, bytes) else source
    words = re.findall(r"[A-Za-z]{2,12}", source)[:6]
    marks = sorted(
        {letter for letter in source if letter.isascii() and not letter.isalnum()}
    )[:12]
    single = dict.fromkeys([*words, *marks, *PLAIN])
    yield from single
    for first, second in itertools.islice(
        itertools.product([*words, *marks], PLAIN[:5]), 60
    ):
        yield first + second


def seconds(pattern, text, *, anchored):
    began = time.process_time()
    pattern.match(text)
    pattern.fullmatch(text)
    if not anchored:
        for _ in pattern.finditer(text):
            pass
    return time.process_time() - began


def only_at_the_beginning(place):
    """Whether its module uses it for nothing but to match from a place on."""
    module, _, name = place.partition("[")[0].rpartition(".")
    source = Path(importlib.import_module(module).__file__).read_text("utf-8")
    uses = re.findall(rf"\b{name}\b(?! *[=:])(?:\.(\w+))?", source)
    return bool(uses) and set(uses) <= {"match", "fullmatch"}


def test_patterns_of_the_package_are_found():
    assert len(PATTERNS) > 60
    assert any("credentials" in place for place in PATTERNS)


@pytest.mark.parametrize("place", sorted(PATTERNS))
def test_twice_the_text_takes_twice_the_time(place):
    pattern = PATTERNS[place]
    anchored = only_at_the_beginning(place)
    binary = isinstance(pattern.pattern, bytes)
    for piece in pieces(pattern):
        text = piece * (SIZE // len(piece)) + "\x00"
        texts = [text, piece * (2 * SIZE // len(piece)) + "\x00"]
        if binary:
            texts = [one.encode("latin-1", "replace") for one in texts]
        once = seconds(pattern, texts[0], anchored=anchored)
        if once > NOTICED:
            # Three times is a busy machine; what is quadratic takes four.
            twice = seconds(pattern, texts[1], anchored=anchored)
            assert twice < 3 * once, f"{place}: {piece!r}"
