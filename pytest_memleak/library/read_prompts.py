"""Prompts whose words were read once, for any number of texts that answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_memleak.scoring.prompt_trimming import PromptWords

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_memleak.scoring.multi_book_index import SharedIndex
    from pytest_memleak.scoring.prompt_trimming import Ranges
    from pytest_memleak.scoring.word_hashes import Keyed
    from pytest_memleak.scoring.word_ranges import Positions


class ReadPrompts:
    """Prompts; each word is read when the first text with a passage asks, then kept.

    So what a further text takes doesn't depend on how long the prompts are.
    """

    def __init__(
        self,
        prompts: Sequence[str],
        index: SharedIndex,
        *,
        trim: int,
    ) -> None:
        """Take prompts to texts that `index` matches with books.

        trim: words of a prompt in a row that don't count in a text; 0: none
        """
        self._prompts = prompts
        self._index = index
        self._trim = trim
        self._words: dict[bool, PromptWords] = {}  # by whether they are folded

    def __bool__(self) -> bool:
        """Tell whether any has text."""
        return any(self._prompts)

    def ranges(
        self,
        words: Keyed,
        prompt_of: Positions,
        *,
        folded: bool,
    ) -> Ranges:
        """Return where texts have words of their own prompts.

        words: the texts'; prompt_of: number of each text's prompt
        folded: whether the words are folded
        """
        if folded not in self._words:
            keyed = self._index.instructions(self._prompts, folded=folded)
            self._words[folded] = PromptWords(keyed, trim=self._trim)
        return self._words[folded].ranges(words, prompt_of)
