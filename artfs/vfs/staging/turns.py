"""One at a time, in the order of asking; free of cost and of scheduling points when nobody else is there."""

from __future__ import annotations

from collections import deque
from types import TracebackType

import trio


class Turns:
    """`async with turns:` is a critical section across awaits. Owner: the event loop."""

    __slots__ = ("_taken", "_waiting")

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[trio.Event] = deque()

    async def __aenter__(self) -> None:
        if not self._taken:
            self._taken = True
            return
        mine = trio.Event()
        self._waiting.append(mine)
        try:
            await mine.wait()
        except BaseException:
            if mine.is_set():
                self._pass_on()
            else:
                self._waiting.remove(mine)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._taken = False
