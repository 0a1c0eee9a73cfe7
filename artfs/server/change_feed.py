"""Long polls on changes. One task looks at the registry's position while somebody waits; who waits occupies no thread.

Owner of the position and the waiters: the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from artfs.errors import ArtfsError, TooManyRequests

LOOK_EVERY_S = 0.05
LOOK_AGAIN_S = 1.0  # after a failure

_log = logging.getLogger(__name__)


class ChangeFeed:
    """Wakes waiters when the registry's position moves."""

    def __init__(self, position: Callable[[], Awaitable[int]], waiters_max: int) -> None:
        self._position = position
        self._waiters_max = waiters_max
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen = -1
        self.waiters = 0

    async def wait_beyond(self, seq: int, timeout_s: float) -> bool:
        """Whether the position is beyond `seq`, as soon as it is; False after `timeout_s`. Raises TooManyRequests."""
        if self.waiters >= self._waiters_max:
            raise TooManyRequests("too many clients wait for changes", hint="try again later")
        self.waiters += 1
        if self._task is None or self._task.done():
            self._seen = -1
            self._task = asyncio.create_task(self._look())
        deadline_s = time.monotonic() + timeout_s
        try:
            while self._seen <= seq and (left_s := deadline_s - time.monotonic()) > 0:
                moved = self._moved
                try:
                    await asyncio.wait_for(moved.wait(), left_s)
                except TimeoutError:
                    break
            return self._seen > seq
        finally:
            self.waiters -= 1

    async def _look(self) -> None:
        """Look at the position until nobody waits."""
        while self.waiters:
            pause_s = LOOK_EVERY_S
            try:
                position = await self._position()
                if position != self._seen:
                    self._seen = position
                    self._moved.set()
                    self._moved = asyncio.Event()
            except ArtfsError as error:
                _log.warning("cannot look for changes: %s", error)
                pause_s = LOOK_AGAIN_S
            await asyncio.sleep(pause_s)
