"""Threads that work until the very end of a process, and where the machine has none to give.

When the main thread of a script is over, Python's own pools take nothing more, although other threads of the script, and
what it registered with `atexit`, go on: they may be about to log what was computed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads(ThreadPoolExecutor):
    """A pool of threads; where there are none any more, whoever submits work does it, after what was submitted before.

    What is submitted must not submit to the same pool, nor wait for what is submitted later.
    """

    _is_over = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """As of an executor. Raises RuntimeError after `shutdown`, and what work raises that is done at once."""
        if self._is_over:
            raise RuntimeError("these threads were ended")
        once = _Once(lambda: fn(*args, **kwargs))
        try:
            return super().submit(once)
        except RuntimeError:
            if self._is_over:
                raise
        if self._threads:  # they take nothing more: Python is ending
            super().shutdown(wait=True)
        future: Future[_T] = Future()
        future.set_result(once())
        return future

    def _adjust_thread_count(self) -> None:
        """What is submitted is in the queue already; those threads that there are will do it."""
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of an executor."""
        self._is_over = True
        super().shutdown(wait, cancel_futures=cancel_futures)


class _Once(Generic[_T]):
    """Work that is done by whoever comes first: it may be left in the queue of a pool that could not start a thread for it."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self._taken = threading.Lock()

    def __call__(self) -> _T:
        """Raises RuntimeError where it was begun before: nobody waits for that."""
        if not self._taken.acquire(blocking=False):
            raise RuntimeError("done by who submitted it")
        return self._work()
