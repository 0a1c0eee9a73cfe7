"""Reading requests from the kernel with few switches of tasks: pyfuse3's loop, given another `trio` to run on.

pyfuse3 has several tasks that take turns at one descriptor: each waits for a lock, then until the descriptor can be read, and
both go through trio's scheduler, though the next request mostly waits already. That costs more than answering an open. Here

- a task that answered a request without having had to wait takes the next one itself, if there is one: the turn is passed on
  only when a task waits for something else than a request (`Turn`);
- whether there is one is asked of the kernel first (`Descriptor`), at most AT_ONCE times before all other tasks of the event
  loop have run.

And a task that fails, since there is no memory for its next request, say, begins anew instead of ending the mount (`_go_on`).

What is put in place of `trio` is what pyfuse3 itself replaces to run on asyncio (`pyfuse3.asyncio`); everything else in it is
trio's own. Must not know what requests mean. Owner of everything here: the event loop.
"""

from __future__ import annotations

import logging
import select
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace, coroutine
from typing import Any

import pyfuse3
import trio

AT_ONCE = 16  # requests answered before others have their turn: about half a millisecond
PAUSE_S = 0.05  # after a failure, which the next request may meet too

_log = logging.getLogger(__name__)


async def answer_requests(idle_tasks: int, tasks_max: int) -> None:
    """Answer what the kernel asks of the mounted file system until it is unmounted.

    Args:
        idle_tasks: tasks kept for the next request, instead of ending and starting one each time.
        tasks_max: requests that are handled at once; more wait in the kernel.
    """
    pyfuse3.trio = _trio_with(Turn(), Descriptor())  # type: ignore[attr-defined]  # what pyfuse3.asyncio does too
    try:
        await pyfuse3.main(min_tasks=idle_tasks, max_tasks=tasks_max)
    finally:
        pyfuse3.trio = trio  # type: ignore[attr-defined]  # its own again


class Turn:
    """A lock whose holder may take it again at once, as long as it goes on without waiting.

    Invariant, whenever no task runs: if tasks wait for it, it is taken or one of them was woken. `run` keeps it.
    """

    def __init__(self) -> None:
        self._taken = False
        self._woken = False
        self._waiting: deque[trio.lowlevel.Task] = deque()

    async def __aenter__(self) -> None:
        while self._taken:
            await self._wait()
        self._taken = True

    async def __aexit__(self, *_: object) -> None:
        self._taken = False

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task that takes turns: whenever it waits, or ends, and the turn is free, somebody else is woken."""
        try:
            await self._watched(work)
        finally:
            self._pass_on()

    async def _wait(self) -> None:
        task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiting.append(task)
        await trio.lowlevel.wait_task_rescheduled(abort)
        self._woken = False

    def _pass_on(self) -> None:
        if self._waiting and not self._taken and not self._woken:
            self._woken = True
            trio.lowlevel.reschedule(self._waiting.popleft())

    @coroutine
    def _watched(self, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """`yield from work`, noticing every time that it waits."""
        go_on: Callable[[Any], Any] = work.send
        value: Any = None
        try:
            while True:
                waits_for = go_on(value)
                self._pass_on()
                try:
                    value = yield waits_for
                    go_on = work.send
                except BaseException as error:
                    value, go_on = error, work.throw
        except StopIteration:
            return


class Descriptor:
    """Waits until a descriptor can be read, and asks the kernel before it lets other tasks run."""

    def __init__(self) -> None:
        self._fd = -1
        self._poll = select.poll()
        self._at_once = 0

    async def wait_readable(self, fd: int) -> None:
        if fd != self._fd:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
            self._fd = fd
        self._at_once += 1
        if self._at_once < AT_ONCE and self._poll.poll(0):
            return
        self._at_once = 0
        await trio.lowlevel.wait_readable(fd)


class _Tasks:
    """A nursery whose tasks take turns."""

    def __init__(self, nursery: trio.Nursery, turn: Turn) -> None:
        self._nursery = nursery
        self._turn = turn

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any, name: object = None) -> None:
        self._nursery.start_soon(lambda: self._turn.run(_go_on(function, *args)), name=name)


async def _go_on(function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
    """Call it until it ends by itself. What fails here is nobody's request: those answer their errors (`operations`)."""
    while True:
        try:
            return await function(*args)
        except Exception:
            with suppress(Exception):  # memory may be too short even for that
                _log.exception("taking requests failed; going on")
        await trio.sleep(PAUSE_S)


def _trio_with(turn: Turn, descriptor: Descriptor) -> Any:
    @asynccontextmanager
    async def open_nursery() -> AsyncIterator[_Tasks]:
        async with trio.open_nursery() as nursery:
            yield _Tasks(nursery, turn)

    lowlevel = SimpleNamespace(**vars(trio.lowlevel))
    lowlevel.wait_readable = descriptor.wait_readable
    replaced = SimpleNamespace(**vars(trio))
    replaced.lowlevel, replaced.open_nursery, replaced.Lock = lowlevel, open_nursery, lambda: turn
    return replaced
