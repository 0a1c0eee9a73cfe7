"""Not asking a server again that just did not answer: so that a mount over a dead server answers at once.

Closed while calls succeed. After one failed for good it is open for a moment, in which every call fails without being tried;
then one call at a time may probe. Owner of the state: a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

FIRST_PAUSE_S = 1.0
PAUSE_S_MAX = 5.0
PROBE_S_MAX = 30.0  # a probe that has not come back by then no longer counts


class Breaker:
    """One server's.

    Args:
        clock: monotonic seconds.

    Attributes:
        reason: why the last call failed; empty while all is well.
        failing_since_s: when that began, by the clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pause_s = 0.0
        self._open_until_s = 0.0
        self._probe_began_s: float | None = None
        self.reason = ""
        self.failing_since_s: float | None = None
        self._succeeded_at_s = clock()

    def enter(self) -> bool | None:
        """False: do not call. True: call as usual. None: call once, as a probe."""
        with self._lock:
            if self.failing_since_s is None:
                return True
            now_s = self._clock()
            probing = self._probe_began_s is not None and now_s - self._probe_began_s < PROBE_S_MAX
            if now_s < self._open_until_s or probing:
                return False
            self._probe_began_s = now_s
            return None

    def succeeded(self) -> None:
        with self._lock:
            self._succeeded_at_s = self._clock()
            self.reason, self.failing_since_s = "", None
            self._pause_s, self._probe_began_s = 0.0, None

    def failed(self, reason: str, began_s: float) -> None:
        """A call that began at `began_s` failed: no news if another has succeeded since."""
        with self._lock:
            now_s = self._clock()
            if began_s < self._succeeded_at_s:
                return
            self.reason = reason
            if self.failing_since_s is None:
                self.failing_since_s = now_s
            self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), PAUSE_S_MAX)
            self._open_until_s = now_s + self._pause_s
            self._probe_began_s = None
