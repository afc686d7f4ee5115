"""Books whose text can't be matched: glued or split words, other letters, drawings."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import chain

from pytest_memleak.books.text_blocks import SpineDocument
from pytest_memleak.errors import BookError
from pytest_memleak.scoring.glued_words import validate_no_glued_words

_WORD = re.compile(r"[^\W_]+")
_SAMPLE = 100  # blocks of a document
_FEWEST_LETTERS = 1_000
_FEWEST_WORDS = 200
_MOST_ASCII = 0.9

# Chapters in Latin letters have words of 3 to 6.5 letters on average.
_SHORTEST = 2.2

# Chapters in the language have 10 to 35% of these words; lists and quotations may have
# none.
_FEWEST_COMMON = 0.05
_COMMONEST = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the of and to a in that is was he it for",
        "de": "der die und in den von zu das mit sich des er",
        "fr": "de la le et les des en un du une que à",
        "es": "de la que el en y a los se del las un",
        "it": "di e che la il un a per in una è non",
        "pt": "de a o que e do da em um para é com",
        "nl": "de en van ik te dat die in een hij het niet",
    }.items()
}
# Tools write "en" into books of any language: bookdown, Sigil, epub-gen.
_COMMONEST_ELSEWHERE = tuple(
    frozenset(words.split())
    for words in (
        "och att det som en på är av för den till med",  # Swedish
        "og det at er en til på som for den af av",  # Danish, Norwegian
        "ja on ei se että oli hän mutta ovat kun niin myös",  # Finnish
        "się na nie do to że jest jak od za po co",  # Polish
        "se na je že to si do ale jsem jako za byl",  # Czech
        "in je se na da za ki so pa ne bi po",  # Slovenian
        "je se na da su za od što nije kao ali bio",  # Croatian, Serbian
        "az és hogy nem is egy ez volt meg csak de el",  # Hungarian
        "de la și în nu cu pe că din care un să",  # Romanian
        "ve bir bu da de için ne çok ile gibi daha ama",  # Turkish
        "yang dan di itu dengan untuk dari ini tidak dalam pada ia",  # Indonesian
        "là và của có không một người cho được những trong đã",  # Vietnamese
        "et in est non ad ut cum qui quod sed si ab",  # Latin
        "ng sa ang na mga at ay ko siya hindi ni si",  # Tagalog
        "na ya wa kwa ni za katika la kuwa cha hiyo yake",  # Swahili
        "an na is ar go bhí sé mé le do agus ní",  # Irish
    )
)
_LATIN_LETTER = re.compile(r"[a-z\u00DF-\u024F\u1E00-\u1EFF]")
_HINT = (
    "use a different edition, or name the document in exclude (to skip it) or include "
    "(to keep it)"
)


def validate_readable_documents(
    leaves: Sequence[SpineDocument],
    *,
    language: str | None,
    excused: Collection[str],
    place: str,
) -> None:
    """Raise BookError, naming `place`, for documents that can't be matched.

    `excused` are documents to read as they are.
    """
    _validate_no_glued_words(leaves, place)
    leaves = [leaf for leaf in leaves if leaf.name not in excused]
    language_code = (language or "").lower()[:2]
    own = _COMMONEST.get(language_code)
    foreign: list[SpineDocument] = []
    for leaf in leaves:
        blocks = leaf.markup.blocks
        step = 1 + len(blocks) // _SAMPLE
        sample = " ".join(block.text for block in blocks[::step])
        words = _WORD.findall(sample.lower())
        _validate_no_spaced_letters(leaf.name, words, place)
        # Declared languages are often wrong, so a common word of any language counts.
        if own and len(words) >= _FEWEST_WORDS and _is_foreign_to_all(words):
            foreign.append(leaf)
    if foreign and 2 * _letters(foreign) > _letters(leaves):
        raise BookError(
            f"{foreign[0].name!r} has hardly any common words, though its language is "
            f"{language!r}: its fonts may show other letters than its text has",
            location=place,
            hint=_HINT,
        )
    hidden = [leaf for leaf in leaves if leaf.markup.unseen_words]
    unseen = sum(leaf.markup.unseen_words for leaf in hidden)
    seen = sum(leaf.spaced_words for leaf in leaves)
    if unseen > max(_FEWEST_WORDS, seen):
        raise BookError(
            "most of its text is hidden or in drawings (SVG), as in "
            f"{hidden[0].name!r}",
            location=place,
            hint="use a different edition",
        )


def _validate_no_glued_words(leaves: Sequence[SpineDocument], place: str) -> None:
    blocks = chain.from_iterable(leaf.markup.blocks for leaf in leaves)
    try:
        validate_no_glued_words(
            (block.text for block in blocks),
            mode="paper",
            place=place,
        )
    except BookError as error:
        worst = max(leaves, key=_longest_word)
        raise BookError(
            f"{worst.name!r}: {error.message}",
            location=place,
            hint=error.hint,
        ) from None


def _longest_word(leaf: SpineDocument) -> int:
    text = " ".join(block.text for block in leaf.markup.blocks)
    return max(map(len, text.split()), default=0)


def _is_foreign(words: Sequence[str], common: frozenset[str]) -> bool:
    count = sum(word in common for word in words)
    return count < _FEWEST_COMMON * len(words)


def _is_foreign_to_all(words: Sequence[str]) -> bool:
    """Whether Latin words are those of no language; the language is often misstated."""
    latin = [word for word in words if _LATIN_LETTER.match(word)]
    if 2 * len(latin) < len(words):
        return False
    languages = (*_COMMONEST.values(), *_COMMONEST_ELSEWHERE)
    return all(_is_foreign(latin, common) for common in languages)


def _letters(leaves: Sequence[SpineDocument]) -> int:
    return sum(leaf.letters for leaf in leaves)


def _validate_no_spaced_letters(
    name: str,
    words: Sequence[str],
    place: str,
) -> None:
    letters = sum(map(len, words))
    ascii_words = sum(map(str.isascii, words))
    are_short = letters < _SHORTEST * len(words)
    are_ascii = ascii_words >= _MOST_ASCII * len(words)
    if letters >= _FEWEST_LETTERS and are_short and are_ascii:
        raise BookError(
            f"{name!r} has words of {letters / len(words):.1f} letters on average: "
            "it has spaces between letters",
            location=place,
            hint=_HINT,
        )
