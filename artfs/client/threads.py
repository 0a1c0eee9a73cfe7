"""Threads that work until the very end of a process.

When the main thread of a script is over, Python's own pools take nothing more, although other threads of the script, and
what it registered with `atexit`, go on: they may be about to log what was computed.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

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
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:
            if self._is_over:
                raise
        super().shutdown(wait=True)
        future: Future[_T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of an executor."""
        self._is_over = True
        super().shutdown(wait, cancel_futures=cancel_futures)
