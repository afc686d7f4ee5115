"""Stories of a seeded grammar, for models whose training is known to the word.

    story(seed, words=3_000)      -> a story, with its title and paragraphs
    summary(text, dice)           -> who and what a text is about, not how it says it

All stories share the grammar, so their prose is alike, as the prose of one genre is.
Each has a cast and an inventory of its own, and the grammar fixes at most three words
in a row, so that no two stories share long runs by chance.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

_NAMES = (
    "Ada Abel Agnes Anton Basil Bea Bruno Cora Cyril Dora Edgar Effie Ellis Enid "
    "Felix Flora Gideon Greta Hanna Hector Ida Igor Iris Jonas Julia Kasimir Lena "
    "Leopold Lydia Magnus Marta Mina Nestor Nora Odile Oskar Petra Quentin Rosa "
    "Rufus Sibyl Silas Tessa Tobias Ulla Viktor Wanda Xenia Yorick Zelda"
).split()
_NOUNS = (
    "apple anchor basket bell blanket boat bottle bridge broom button candle cart "
    "chain chair chest clock coat coin compass cradle cup desk door drum engine fan "
    "feather fence fiddle flag flute gate glove hammer harp hat hinge horn jar kettle "
    "key knife ladder lamp lantern ledger letter lever lock map mask mirror needle net "
    "oar orchard oven pail parcel pencil pillow plough pocket pump purse ribbon ring "
    "rope saddle sail scarf shovel sieve sledge spade spoon stamp stove table thimble "
    "ticket tower trumpet trunk umbrella valve wagon wheel whistle window"
).split()
_ADJECTIVES = (
    "blue brass broken careful cheap cold cracked crooked dark dusty empty faded "
    "foreign fragile gray green heavy hidden hollow honest iron late little lost loud "
    "narrow new old painted pale patient quiet red rough round sealed sharp silver "
    "simple small steep stolen strange tall thin torn warm weary white wooden yellow"
).split()
_VERBS = (
    "admired asked borrowed broke built buried bought carried chased cleaned counted "
    "covered described dropped emptied found followed forgot gathered greeted hid "
    "lifted lost measured mended missed moved noticed opened painted polished praised "
    "promised pulled raised remembered repaired returned saved shook sold stole "
    "studied touched traded trusted turned watched weighed wrapped"
).split()
_ADVERBS = (
    "again alone always at_last at_once badly calmly early easily finally gladly "
    "gently hardly indeed in_vain kindly late loudly nearly never often perhaps "
    "politely poorly quickly quietly rarely sadly slowly somehow soon still suddenly "
    "then twice well"
).split()
_PREPOSITIONS = (
    "above across after against among around before behind below beside beyond by "
    "for from in inside near on over past through toward under with without"
).split()
_CONJUNCTIONS = "and but so for because while until when since although".split()
_DETERMINERS = "the the the a a this that every her his their no some".split()
_SENTENCES_OF_PARAGRAPH = (4, 8)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Story:
    """A story: its title, its paragraphs, and the names of those in it."""

    title: str
    paragraphs: tuple[str, ...] = field(repr=False)
    cast: tuple[str, ...] = field(repr=False)

    @property
    def text(self) -> str:
        """The whole text, a blank line between paragraphs."""
        return "\n\n".join(self.paragraphs) + "\n"


def story(seed: int, *, words: int = 3_000) -> Story:
    """Write the story of a seed, of at least so many words."""
    teller = _Teller(random.Random(f"story {seed}"))
    paragraphs: list[str] = []
    written = 0
    while written < words:
        paragraphs.append(teller.paragraph())
        written += len(paragraphs[-1].split())
    title = f"{teller.cast[0]} and the {teller.nouns[0]}"
    return Story(title, tuple(paragraphs), tuple(teller.cast))


class _Teller:
    """One story's cast and inventory, and the grammar that all stories share."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.cast = dice.sample(_NAMES, 8)
        self.nouns = dice.sample(_NOUNS, 60)
        self._adjectives = dice.sample(_ADJECTIVES, 40)
        self._verbs = dice.sample(_VERBS, 40)

    def paragraph(self) -> str:
        """Write a paragraph."""
        count = self._dice.randint(*_SENTENCES_OF_PARAGRAPH)
        return " ".join(self._sentence() for _ in range(count))

    def _sentence(self) -> str:
        words = self._clause()
        while self._chance(0.45):
            words.append(f", {self._dice.choice(_CONJUNCTIONS)}")
            words += self._clause()
        text = " ".join(words).replace(" ,", ",").replace("_", " ")
        return f"{text[0].upper()}{text[1:]}."

    def _clause(self) -> list[str]:
        words = self._who()
        if self._chance(0.25):
            words.append(self._dice.choice(_ADVERBS))
        words.append(self._dice.choice(self._verbs))
        words += self._thing()
        while self._chance(0.4):
            words.append(self._dice.choice(_PREPOSITIONS))
            words += self._thing()
        if self._chance(0.15):
            words.append(self._dice.choice(_ADVERBS))
        return words

    def _who(self) -> list[str]:
        kind = self._dice.random()
        if kind < 0.5:
            return [self._dice.choice(self.cast)]
        if kind < 0.7:
            return [self._dice.choice(("he", "she", "they", "nobody", "somebody"))]
        return self._thing()

    def _thing(self) -> list[str]:
        words = [self._dice.choice(_DETERMINERS)]
        if self._chance(0.4):
            words.append(self._dice.choice(self._adjectives))
        words.append(self._dice.choice(self.nouns))
        return words

    def _chance(self, probability: float) -> bool:
        return self._dice.random() < probability


def summary(text: str, dice: random.Random, *, words: int = 30) -> str:
    """Name so many of a text's words, in another order than the text's."""
    kept = [word for word in dict.fromkeys(_WORD.findall(text)) if len(word) > 3]
    chosen = dice.sample(kept, min(words, len(kept)))
    return f"This part tells of {', '.join(chosen)}."


def with_changes(text: str, dice: random.Random, *, every: int = 7) -> str:
    """Replace every so-manieth word by another noun, as a near-verbatim copy does."""
    pieces = re.split(r"(\w+)", text)
    for place in range(2 * every - 1, len(pieces), 2 * every):
        pieces[place] = dice.choice(_NOUNS)
    return "".join(pieces)
