"""How many random examples a test tries: a tenth, or all with MEMLEAK_EXAMPLES=all."""

import os

FEWEST = 25


def examples(number, *, fast=None):
    """Return how many of `number` examples this run tries; `fast`: in place of a tenth."""
    if os.environ.get("MEMLEAK_EXAMPLES") == "all":
        return number
    return fast or min(number, max(FEWEST, number // 10))
