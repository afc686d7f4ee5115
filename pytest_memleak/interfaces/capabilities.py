"""Optional capabilities of providers and endpoints, as protocols.

    if isinstance(provider, Closing):
        provider.close()

`isinstance` tests whether the names exist. All are optional; each docstring gives the default.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = [
    "Closing",
    "CountsEpochs",
    "CountsTokens",
    "Free",
    "ShapedByOptions",
    "StartsWithin",
]


# --- of a provider -------------------------------------------------------------------------


@runtime_checkable
class Free(Protocol):
    """A factory whose providers cost nothing, so that their pairs run without -m copyright."""

    free: bool


@runtime_checkable
class ShapedByOptions(Protocol):
    """The options that determine a fine-tune's weights or their location.

    Only these identify a fine-tune; by default, all options do.
    """

    weights_options: frozenset[str]


@runtime_checkable
class CountsEpochs(Protocol):
    """The epochs of a fine-tune, an int if the client knows it.

    Plans use it; by default, they use `epochs` of the suite's recipe.
    """

    @property
    def epochs(self) -> int | str | None:
        """The number of epochs, "auto", or None."""
        ...


@runtime_checkable
class StartsWithin(Protocol):
    """The deadline of `start_finetune` in seconds, None for no deadline.

    By default, the deadline of any call.
    """

    start_deadline: float | None


@runtime_checkable
class CountsTokens(Protocol):
    """A count of the tokens that a text is billed as, without a call, for plans and budgets.

    By default, 4/3 of the words.
    """

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of `text`."""
        ...


@runtime_checkable
class Closing(Protocol):
    """An object with connections, processes, or memory to release."""

    def close(self) -> None:
        """Release them; called once, at the end of the run."""
        ...
