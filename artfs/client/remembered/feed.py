"""How far the registry's changes were followed, and whether that is up to date.

Whoever follows (`vfs.alias_moves`) calls `position`, `wait` and `since` of the registry; this sees the calls pass and keeps the
answers in step. Owner of the state: its lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from artfs.client.remembered.answers import Answers
from artfs.client.remembered.reachability import Reachability
from artfs.wire.records import Change
from artfs.wire.service import Changes

_T = TypeVar("_T")

HEARD_S_MAX = 20.0  # longer than any wait: a feed that says nothing for so long is not followed


class FollowedChanges:
    """A `Changes` service that tells `answers` what it passes on.

    Args:
        begun: called once, when what is asked from now on is covered.
    """

    def __init__(
        self,
        changes: Callable[[], Changes],
        answers: Answers,
        reachability: Reachability,
        monotonic_s: Callable[[], float] = time.monotonic,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self._changes = changes
        self._begun = begun
        self._answers = answers
        self._reachability = reachability
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._applied: int | None = None
        self._newest = 0
        self._heard_s: float | None = None

    @property
    def is_covering(self) -> bool:
        """Whether an answer given from now on will be outdated by what changes later."""
        return self._applied is not None

    @property
    def is_live(self) -> bool:
        """Whether what is covered is current."""
        heard_s = self._heard_s
        return heard_s is not None and self._newest == self._applied and self._monotonic_s() - heard_s < HEARD_S_MAX

    def position(self) -> int:
        with self._reachability.noticing():
            position = self._changes().position()
        with self._lock:
            is_first = self._applied is None
            if self._applied != position:
                self._answers.outdate_all()
            self._applied = self._newest = position
            self._heard_s = self._monotonic_s()
        if is_first:
            self._begun()
        return position

    def wait(self, seq: int, timeout_s: float) -> int:
        position = self._noticing_silence(lambda: self._changes().wait(seq, timeout_s))
        with self._lock:
            if seq == self._applied:
                self._newest = position
                self._heard_s = self._monotonic_s()
        return position

    def since(self, seq: int, limit: int = 1000) -> list[Change]:
        changes = self._noticing_silence(lambda: self._changes().since(seq, limit))
        with self._lock:
            if seq == self._applied:
                self._answers.outdate(changes)
                last = changes[-1].seq if changes else seq
                self._applied = last if len(changes) >= limit else max(last, self._newest)
                self._newest = max(self._newest, self._applied)
        return changes

    def _noticing_silence(self, call: Callable[[], _T]) -> _T:
        try:
            with self._reachability.noticing():
                return call()
        except BaseException:
            self._heard_s = None
            raise
