"""How many calls may run at once, where the suite does not say.

    pace = Pace(None)
    pace.at_once                 # 8 to begin with
    pace.answered()              # after each call that was answered
    pace.turned_away()           # after each that the server had no room for

It doubles for as long as that brings answers faster, and goes back where it does not: a server
that works one call off after another would only let them wait. Where one is turned away (429),
it is halved, and grows by one at a time from then on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST = 8
MOST = 64
# Twice as many calls at once must bring answers so many times as fast to be worth it.
_WORTH_IT = 1.25
# Answers that a pace is judged by, for each call at once.
_JUDGED_BY = 2


class Pace:
    """Of the calls to one endpoint, shared by threads.

    fixed: as many as the suite says, whatever the server does; None: as many as turns out well.
    clock: seconds.
    """

    def __init__(self, fixed: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.at_once = FIRST if fixed is None else max(1, fixed)
        self._fixed = self._settled = fixed is not None
        self._clock = clock
        self._lock = threading.Lock()
        self._doubling = True
        self._slower: tuple[int, float] | None = None  # calls at once, and answers a second
        self._answers = 0
        self._since = clock()
        self._excused = 0  # calls that were on their way when it was last halved

    def answered(self) -> None:
        """A call was answered."""
        with self._lock:
            self._answers += 1
            self._excused = max(0, self._excused - 1)
            if not self._settled and self._answers >= _JUDGED_BY * self.at_once:
                self._judge()

    def turned_away(self) -> None:
        """The server had no room for a call."""
        with self._lock:
            if self._fixed:
                return
            if self._excused:
                self._excused -= 1
                return
            self._excused = self.at_once - 1
            self._doubling = self._settled = False
            self._go_on(max(1, self.at_once // 2))

    def _judge(self) -> None:
        rate = self._answers / max(self._clock() - self._since, 1e-9)
        if not self._doubling:
            self._go_on(min(self.at_once + 1, MOST))
        elif self._slower is not None and rate < _WORTH_IT * self._slower[1]:
            self._settled = True
            self._go_on(self._slower[0])
        else:
            self._slower = (self.at_once, rate)
            self._go_on(min(2 * self.at_once, MOST))

    def _go_on(self, at_once: int) -> None:
        self.at_once = at_once
        self._answers = 0
        self._since = self._clock()
