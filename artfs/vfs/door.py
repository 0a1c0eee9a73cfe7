"""The one door from trio to threads.

Blocking work (storage, database, hashing) crosses here, with a named limit per resource, so that a slow disk cannot occupy the
threads that answer metadata. A trio deadline does not stop a thread: whatever goes through the door has its own bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TypeVar, TypeVarTuple

import trio

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Lane(Enum):
    """A resource with threads of its own."""

    METADATA = "metadata"  # registry queries
    CONTENT = "content"  # reading objects, wherever they are
    AHEAD = "ahead"  # reading what readers in order will want
    REFERENCES = "references"  # reading what references refer to: others' servers, however slow
    LOCAL = "local"  # reading what is on local disk: never waits for a registry
    FEED = "feed"  # the one call that waits for changes
    STAGING = "staging"  # copying up, fsync, long directory work
    COMMIT = "commit"  # hashing, packing and sealing


THREADS = {
    Lane.METADATA: 4,
    Lane.CONTENT: 8,
    Lane.AHEAD: 8,
    Lane.REFERENCES: 8,
    Lane.LOCAL: 8,
    Lane.FEED: 1,
    Lane.STAGING: 4,
    Lane.COMMIT: 2,
}


class Door:
    """Owner of the threads' limits; made once per filesystem."""

    def __init__(self) -> None:
        self._limiters = {lane: trio.CapacityLimiter(count) for lane, count in THREADS.items()}

    async def run(self, lane: Lane, function: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """Call `function` in a thread of `lane`. Not cancellable: the result of work begun is always awaited."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiters[lane])

    async def wait(self, lane: Lane, function: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        """The same for a call that only waits: when cancelled, its thread and its result are left alone."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiters[lane], abandon_on_cancel=True)
