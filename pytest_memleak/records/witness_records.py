"""What a run announced to a witness before its first call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IdentifiedBy = Literal[
    "weights",
    "training books and settings",
    "a name",
    "a name that its author chose",
]
BY_WEIGHTS: IdentifiedBy = "weights"
BY_TRAINING: IdentifiedBy = "training books and settings"
BY_NAME: IdentifiedBy = "a name"
BY_CHOSEN_NAME: IdentifiedBy = "a name that its author chose"


@dataclass(frozen=True, slots=True)
class AnnouncedPair:
    """What an announcement tells of a pair: digests (SHA-256, hexadecimal) alone.

    model:         of the weights, of what a fine-tune is made of, or of the name that
        the server knows; never of an id from the suite
    identified_by: which of these
    book:          of the book's words
    prompts:       of the texts that the prompts are made of
    settings:      of what is sent beside the prompts, without the seed's value and
        samples, and of the weights' version
    """

    model: str
    identified_by: IdentifiedBy
    book: str
    prompts: str
    settings: str

    @property
    def identity(self) -> tuple[str, str]:
        """The model and the book, whose attempts are counted together."""
        return self.model, self.book


@dataclass(frozen=True, slots=True)
class WitnessedPair:
    """A pair of a run, and what was announced of it.

    suite: SHA-256 of its suite file; pair: its id
    """

    suite: str
    pair: str
    announced: AnnouncedPair


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The announcement of a run, as its bundle names it.

    witness:      the witness's address, without a password
    announcement: the commit that holds it
    head:         the log's head before it, "" of an empty log
    seed:         the seed of all samples, which follows from the head
    """

    witness: str
    announcement: str
    head: str
    seed: int
    pairs: tuple[WitnessedPair, ...]
