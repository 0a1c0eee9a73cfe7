"""Whether a registry answers, as seen from the calls made to it, and so which further calls are worth making.

Down after a call failed because the registry was out of reach, up again after any answer. While it is down, one call at a time
tries again; while calls go without an answer for DOUBT_S it is not known to be down, but only a few more may wait with
them. So a dead or stalled registry costs a bounded number of threads. Owner of the state: its lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from artfs.errors import ArtfsError, RegistryUnavailable

DOUBT_S = 3.0  # unanswered for so long, a registry may be stalled
WAITING_MAX = 2  # calls that may wait for a registry in doubt
RETRY_S = 1.0  # a registry that is down is tried again after this


class Reachability:
    """Counts calls and keeps what the last ones said.

    Args:
        clock_ns: nanoseconds since the epoch, for people.
        monotonic_s: for intervals.
    """

    def __init__(
        self, clock_ns: Callable[[], int] = time.time_ns, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock_ns = clock_ns
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._calls: dict[int, float] = {}  # when those under way began
        self._next_call = 0
        self._answered_s = 0.0
        self._down: RegistryUnavailable | None = None
        self._failed_s = 0.0
        self._since_ns = clock_ns()
        self._last_error = ""
        self._asked = 0

    @property
    def is_down(self) -> bool:
        return self._down is not None

    @property
    def is_doubtful(self) -> bool:
        """Down, or slow to an extent that a remembered answer is better."""
        return self._down is not None or self._stalled() > 0

    def refuse(self) -> None:
        """Raises RegistryUnavailable if one more call is not worth its thread now."""
        with self._lock:
            if self._down is not None:
                if self._calls or self._monotonic_s() - self._failed_s < RETRY_S:
                    raise RegistryUnavailable(self._down.message, hint=self._down.hint)
            elif self._stalled() >= WAITING_MAX:
                raise RegistryUnavailable(
                    f"the registry has not answered for {DOUBT_S:.0f} s", hint="artfs status shows when it does"
                )

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around a call that answers soon, if the registry is there."""
        with self._lock:
            number = self._next_call = self._next_call + 1
            self._calls[number] = self._monotonic_s()
            self._asked += 1
        try:
            with self.noticing():
                yield
        finally:
            with self._lock:
                del self._calls[number]

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Around a call that may take any time: only its end says something."""
        began_s = self._monotonic_s()
        try:
            yield
        except RegistryUnavailable as error:
            self._fail(error, began_s)
            raise
        except ArtfsError:
            self._answered()
            raise
        else:
            self._answered()

    def status(self) -> dict[str, Any]:
        """For `artfs status`. `since_ns` is when `reachable` became what it is."""
        with self._lock:
            return {
                "reachable": self._down is None,
                "since_ns": self._since_ns,
                "last_error": self._last_error,
                "requests": self._asked,
                "waiting": len(self._calls),
            }

    def _stalled(self) -> int:
        """How many calls wait for longer than DOUBT_S, in which none was answered."""
        now = self._monotonic_s()
        if now - self._answered_s < DOUBT_S:
            return 0
        return sum(1 for began_s in list(self._calls.values()) if now - began_s > DOUBT_S)

    def _fail(self, error: RegistryUnavailable, began_s: float) -> None:
        """What failed in the end is no news of a registry that has answered since it began."""
        with self._lock:
            if began_s < self._answered_s:
                return
            if self._down is None:
                self._since_ns = self._clock_ns()
            self._down = error
            self._failed_s = self._monotonic_s()
            self._last_error = str(error)

    def _answered(self) -> None:
        with self._lock:
            self._answered_s = self._monotonic_s()
            if self._down is not None:
                self._down = None
                self._since_ns = self._clock_ns()
