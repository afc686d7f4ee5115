"""As tinker-cookbook has it."""


class TinkerCookbookError(Exception):
    """The base of its errors."""
