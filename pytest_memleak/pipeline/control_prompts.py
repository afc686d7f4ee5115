"""Control calls: the same settings, for a story that anyone may quote.

A filter that drops 5% of all completions and a server that fails 5% of the time look
alike in a pair's own generations. A filter has nothing to drop here (docs/method.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_memleak.errors import SettingsError
from pytest_memleak.ledger.prompts import digest_of_parts
from pytest_memleak.pipeline.prompted_book import book_for_probe, pair_prompts
from pytest_memleak.records import BookSource, Probe
from pytest_memleak.records.measurement import BY_EXCERPT

if TYPE_CHECKING:
    from pytest_memleak.interfaces.protocols import Endpoint
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.pipeline.prepared_books import PreparedBooks
    from pytest_memleak.records import Pair

# In the wheel, and in a checkout.
_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "demo", _PACKAGE.parent)
_STORY = "fixtures/books/the-lamplighter"
_EXCERPTS = 5
_REPEAT = 1


@dataclass(frozen=True, slots=True)
class ControlCalls:
    """The control calls of an endpoint.

    books: reads the story
    endpoint: as the pair's probe finds it
    """

    books: PreparedBooks
    endpoint: Endpoint | None

    def prompts(self, pair: Pair, completions: int) -> PairPrompts:
        """Return prompts for so many completions, or the few more of whole rounds."""
        whole = self.books.cut_into_excerpts(_control_story_source())
        story = replace(whole, excerpts=whole.excerpts[:_EXCERPTS])
        rounds = math.ceil(completions / _EXCERPTS)
        sampling = replace(pair.sampling, samples=rounds)
        if pair.probe.kind not in BY_EXCERPT:
            pair = replace(pair, probe=Probe("instruction"))
        probed = book_for_probe(pair, story, self.endpoint)
        prompts = pair_prompts(replace(pair, sampling=sampling), probed)
        # A suite may test the story itself: its own prompts are others.
        apart = tuple(
            replace(
                prompt, instruction_digest=digest_of_parts(prompt.instruction, _REPEAT)
            )
            for prompt in prompts.specs
        )
        return replace(prompts, specs=apart)


def _control_story_source() -> BookSource:
    """Return the story. Raises SettingsError where the installation lacks it."""
    stem = next(
        (place / _STORY for place in _PLACES if (place / f"{_STORY}.epub").is_file()),
        None,
    )
    if stem is None:
        raise SettingsError(
            "this installation lacks the story of control calls",
            hint="reinstall pytest-memleak",
        )
    return BookSource(
        "the-lamplighter (control calls)",
        stem.with_suffix(".epub"),
        summaries=stem.with_suffix(".summaries.json"),
    )
