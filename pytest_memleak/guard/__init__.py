"""A guard that ends a model's answer at a passage of a protected book.

from pytest_memleak.guard import GuardedText
from pytest_memleak.library import Library

stream = GuardedText(Library.of(["novel.epub"]), prompt="what a model was asked")
sent = stream.feed("the first part of its answer") + stream.end()
"""

from pytest_memleak.guard.guarded_openai_answer import GuardedAnswer, StoppedChoice
from pytest_memleak.guard.guarded_responses_and_messages import GuardedItems
from pytest_memleak.guard.stop_at_passage import GuardedText

__all__ = ["GuardedAnswer", "GuardedItems", "GuardedText", "StoppedChoice"]
