"""The log-probabilities of a book's windows, through the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_memleak.pipeline.logprob_endpoint import logprobs_in
from pytest_memleak.scoring.window_probability import window_log_probability

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_memleak.interfaces.abilities import TokenLogprobs
    from pytest_memleak.ledger.prompts import PairPrompts
    from pytest_memleak.pipeline.ledger_endpoint import LedgerEndpoint
    from pytest_memleak.pipeline.window_texts import BookWindow, WindowTexts


@dataclass(frozen=True, slots=True)
class WindowLogprobs:
    """Asks for the log-probabilities of a book's texts, and reads the answers.

    source: of a `LogprobEndpoint`
    """

    texts: WindowTexts
    source: LedgerEndpoint

    def prompts(self, *, foreseen: bool) -> Iterator[PairPrompts]:
        """Yield the book's parts as prompts, and its windows once they are answered.

        foreseen: before that, yield as many windows as there may be
        """
        parts = self.texts.parts()
        yield parts
        windows = self.windows()
        if windows is not None:
            yield self.texts.prompts_of(window.text for window in windows)
        elif foreseen:
            tokens = sum(map(self.source.terms.prompt_tokens, parts.specs))
            yield self.texts.foreseen_windows(tokens)

    def windows(self) -> list[BookWindow] | None:
        """Return the book's windows; None before all its parts are answered."""
        parts = self.texts.parts()
        answers = self._answers(parts)
        if len(answers) < len(parts.specs):
            return None
        return self.texts.windows(answers)

    def log_probabilities(
        self,
        windows: list[BookWindow],
    ) -> dict[BookWindow, float | None]:
        """Return the log-probability of each answered window; None if unreadable."""
        prompts = self.texts.prompts_of(window.text for window in windows)
        answers = self._answers(prompts)
        log_p_of = {}
        for window in windows:
            if window.text in answers:
                answer = answers[window.text]
                log_p_of[window] = window_log_probability(
                    answer.starts,
                    answer.logprobs,
                    window.prefix_length,
                )
        return log_p_of

    def _answers(self, prompts: PairPrompts) -> dict[str, TokenLogprobs]:
        """Return the ledger's answers, by text."""
        text_of = {each.excerpt_id: each.instruction for each in prompts.specs}
        answers = {}
        for generation in self.source.generations(prompts):
            answers[text_of[generation.excerpt_id]] = logprobs_in(generation.text)
        return answers
