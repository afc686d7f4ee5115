"""The number of concurrent calls to one endpoint, adapted to what it answers.

It doubles while that brings answers faster, and steps back if it doesn't: a server that
works through calls one by one would only make them wait. After a rejection (429), it
halves, and then grows by one at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST_AT_ONCE = 8
MOST_AT_ONCE = 64
# Doubling must bring answers this many times as fast.
_WORTH_IT = 1.25
# Answers per concurrent call before their rate is judged.
_JUDGED_BY = 2


class AdaptiveConcurrency:
    """The number of concurrent calls to one endpoint, shared by threads.

    fixed: the suite's number, whatever the server does; None to adapt it.
    clock: seconds.
    """

    def __init__(
        self,
        fixed: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.at_once = FIRST_AT_ONCE if fixed is None else max(1, fixed)
        self._fixed = self._settled = fixed is not None
        self._clock = clock
        self._lock = threading.Lock()
        self._doubling = True
        # Calls at once, and answers a second.
        self._slower: tuple[int, float] | None = None
        self._answers = 0
        self._since = clock()
        self._excused = 0  # calls in flight when it last halved

    def answered(self) -> None:
        """Note that a call was answered."""
        with self._lock:
            self._answers += 1
            self._excused = max(0, self._excused - 1)
            enough = _JUDGED_BY * self.at_once
            if self._answers >= enough and not self._settled:
                self._judge_rate()

    def turned_away(self) -> None:
        """Note that the server had no room for a call."""
        with self._lock:
            if self._fixed:
                return
            if self._excused:
                self._excused -= 1
                return
            self._excused = self.at_once - 1
            self._doubling = False
            self._settled = False
            half = self.at_once // 2
            self._continue_with(max(1, half))

    def _judge_rate(self) -> None:
        seconds = self._clock() - self._since
        rate = self._answers / max(seconds, 1e-9)
        if not self._doubling:
            self._continue_with(min(self.at_once + 1, MOST_AT_ONCE))
            return
        if self._slower is not None:
            slower_at_once, slower_rate = self._slower
            if rate < _WORTH_IT * slower_rate:
                self._settled = True
                self._continue_with(slower_at_once)
                return
        self._slower = (self.at_once, rate)
        self._continue_with(min(2 * self.at_once, MOST_AT_ONCE))

    def _continue_with(self, at_once: int) -> None:
        self.at_once = at_once
        self._answers = 0
        self._since = self._clock()
