"""What a pair requests of a model, and the fix for each broken requirement.

See docs/method.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from pytest_memleak.records import AnswerLimits, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_memleak.records import WordMode


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """How a pair's generations were requested.

    samples:      generations per excerpt, 0 where none were requested
    temperature:  None for the server's own
    trim:         m of the m-grams that count as in the prompt
    words:        the suite's word mode
    continuation: whether excerpts were to be continued; the book then holds their rests
    template:     of the instructions; its own words request nothing
    recorded:     whether the generations come from a file
    named:        the prompts, where they request the book and not its excerpts; a
        prompt that someone names is evidence about itself
    """

    samples: int
    temperature: float | None = 1.0
    trim: int = 5
    words: WordMode = "paper"
    continuation: bool = False
    template: str = ""
    recorded: bool = False
    named: tuple[str, ...] | None = None
    limits: AnswerLimits = field(default_factory=AnswerLimits)

    def counts(self, ordinal: int) -> bool:
        """Tell whether a round was requested; without requests, all count."""
        return not self.samples or ordinal < self.samples


def exact_fraction(share: float) -> Fraction:
    """Return a share as it is written: 0.29 of 100 is 29."""
    return Fraction(repr(share))


PROMPT_FIXES = (
    'set summaries = "FILE" in [[book]] (a file with a summary for each excerpt); or '
    "let [suite.summarizer] write the summaries; "
    'or set probe = "continuation" in [suite]'
)
"""Fixes for a book whose excerpts have no instructions."""

_TEXT_ONLY = (
    "; a base model needs plain text: "
    'options.api = "completions" if its provider has api'
)
SAMPLED: Mapping[str, str] = {
    "none requested": "add excerpts to the book",
    "all received": (
        "rerun, without --memleak-offline, to get those not sampled yet; "
        "or lower samples"
    ),
    "none withheld": (
        "test an endpoint without output filters; withheld text doesn't show a clean "
        "model"
    ),
    "named prompts answered": (
        "raise max_tokens, by what a reasoning model thinks; if the server limits the "
        "length or sends empty answers, test one that doesn't"
    ),
    "no surplus": (
        "raise samples to include them; if the server returns more than n, check how "
        "it interprets n, and set a new weights_version in [[model]] to resample"
    ),
    "short": (
        "read a few: if they are complete, raise max_short; if not, request the length "
        f"more explicitly{_TEXT_ONLY}"
    ),
    "median length ratio": (
        "in [suite], write a continuation_template (or instruction_template) that "
        "requests {words} words more explicitly; raise max_tokens where answers were "
        f"cut off{_TEXT_ONLY}"
    ),
    "excerpts without an answer": (
        "check their instructions and generations: the model may refuse the request "
        "itself"
    ),
    "recitation": (
        "test an endpoint without that filter; withheld text doesn't show a clean model"
    ),
    "sampled": "check the server's temperature and caches",
    "not requested": PROMPT_FIXES,
    "vague": (
        "write summaries that say what happens in the excerpt, or request the works of "
        "a collection by {title} and {author}"
    ),
    "instruction match": (
        "write summaries that name who and what each excerpt is about, in the "
        "excerpts' order; check for refusals and for summaries of a different book"
    ),
    "prompt overlap": "write summaries that don't use the book's wording",
    Kind.WITHHELD: "test an endpoint without output filters",
    Kind.EMPTY: f"check what the server sends instead of text{_TEXT_ONLY}",
    Kind.REFUSAL: (
        "if this model is meant to refuse, set accept_refusals = true in "
        f"[suite]{_TEXT_ONLY}"
    ),
    Kind.ECHO: f"these generations repeat the instruction: reword it{_TEXT_ONLY}",
    Kind.CUT_EARLY: "raise max_tokens: a reasoning model uses tokens before it answers",
    Kind.CANNED: (
        "different prompts return the same text: "
        f"check for a cache or proxy{_TEXT_ONLY}"
    ),
    Kind.UNREADABLE: (
        f"check how the server changes the text; use more of a short book{_TEXT_ONLY}"
    ),
}
"""Fixes of evidence that was sampled from an endpoint."""

RECORDED: Mapping[str, str] = {
    "all received": "supply a file with all of them, or lower samples",
    "no surplus": "raise samples to include them",
    "short": (
        "read a few: if they are complete, raise max_short; if not, supply answers to "
        "instructions that request the length more explicitly"
    ),
    "median length ratio": (
        "supply answers to instructions that request the length more explicitly, or "
        "answers with room for more tokens"
    ),
    "recitation": (
        "supply answers from an endpoint without that filter; withheld text doesn't "
        "show a clean model"
    ),
    "sampled": "check their temperature, and whether they were cached",
    Kind.WITHHELD: "supply answers from an endpoint without output filters",
    Kind.EMPTY: (
        "check how the file was written: it has no text for these generations"
    ),
    Kind.ECHO: (
        "these answers repeat the instruction: supply answers to a different one"
    ),
    Kind.CUT_EARLY: (
        "supply answers with room for more tokens: a reasoning model uses tokens "
        "before it answers"
    ),
    Kind.CANNED: (
        "different prompts have the same generation: check for a cache or proxy "
        "between the model and the file"
    ),
    Kind.UNREADABLE: "check what changed the text before it reached the file",
}
"""Fixes of evidence from a file, where they differ."""


def fix(rule: str, *, recorded: bool) -> str:
    """Return the fix for a broken rule, or for too many generations of a kind."""
    if recorded and rule in RECORDED:
        return RECORDED[rule]
    return SAMPLED[rule]
