"""The end of a mount process whose event loop has failed: what is left of it would answer nobody, and hang who asks.

Nothing is lost by ending so: it is what a SIGKILL does, which a mount withstands. Two ways to fail are known, both for want of
memory:

- One of trio's own tasks fails, which takes what threads bring back. trio then cancels all others and waits for them, those in
  threads for ever. A task of trio's that stands by notices (`ending_with_trio`).
- The loop's thread waits for ever, for a thread that died before it could say that it began, say. Another thread notices
  (`_watch`); what it holds for a loop that stands still is in `stillness`. Whatever stops this process stops its watch too.

And the one large piece of memory that trio asks for, 64 KiB each time that threads have finished, it has from the beginning here.
Must not know what a mount is.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import trio

from artfs.fuse import stillness
from artfs.fuse.stillness import Stillness, look_at_thread

WAKEUPS_BYTES = 4096

_log = logging.getLogger(__name__)


@contextmanager
def ending_with_trio() -> Iterator[None]:
    """For the main task: meanwhile this process ends when trio's own tasks do, or its loop stands still."""
    is_over = False

    async def stand_by() -> None:
        try:
            while True:  # noqa: ASYNC110  # what it waits for is the end
                await trio.sleep(stillness.TICK_S)
        finally:
            if not is_over:
                end_at_once("one of its own tasks failed")

    trio.lowlevel.spawn_system_task(stand_by)
    over = threading.Event()
    threading.Thread(target=_watch, args=(threading.get_native_id(), over), name="loop watch", daemon=True).start()
    try:
        yield
    finally:
        is_over = True
        over.set()


def _watch(loop_thread: int, over: threading.Event) -> None:
    found = Stillness()
    while True:
        with suppress(Exception):  # memory may be too short for a look
            if over.wait(stillness.LOOK_S):
                return
            if found.is_still(look_at_thread(loop_thread)):
                end_at_once(f"it has stood still for {stillness.LOOKS_MAX * stillness.LOOK_S:g} s")


def end_at_once(reason: str) -> NoReturn:
    """End this process without closing anything, and say what it was doing."""
    try:
        with suppress(Exception):  # memory may be too short even for that
            _log.critical("the event loop failed: %s; exiting", reason)
        with suppress(Exception):
            faulthandler.dump_traceback()
    finally:
        os._exit(1)


def have_memory_for_wakeups() -> None:
    """Have trio empty the socket that wakes its loop into memory that is there already; if it has one."""
    try:
        from trio._core._wakeup_socketpair import WakeupSocketpair
    except ImportError:  # not public: tests/faults/test_mount_kth_call.py notices
        return
    taken = bytearray(WAKEUPS_BYTES)

    def drain(self: WakeupSocketpair) -> None:
        with suppress(BlockingIOError):
            while True:
                self.wakeup_sock.recv_into(taken)

    WakeupSocketpair.drain = drain  # type: ignore[method-assign]  # what is trio's own asks for 64 KiB
