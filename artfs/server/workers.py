"""Several worker processes that share a listening socket, and the process that watches over them.

A worker that dies is replaced; if workers die at once again and again, the server ends. On SIGTERM and SIGINT they are asked to
stop, and killed when they have not within a bound. A worker whose watcher was killed stops by itself. Owner of the table of
children: the watching process, which opens no registry, so that nothing of one is inherited.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import NamedTuple, NoReturn

from artfs.errors import ArtfsError, MachineNotReady

YOUNG_S = 5.0  # a worker that lived shorter than this has failed to start
YOUNG_DEATHS_MAX = 5
KILL_AFTER_S = 10.0  # beyond the time that requests under way have
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger(__name__)


Work = Callable[[], int]


class _Child(NamedTuple):
    work: Work
    began_s: float


class Watch:
    """Runs each of `works`, whose results are exit codes, in a process of its own."""

    def __init__(self, works: Sequence[Work], stop_s: float) -> None:
        self._works = works
        self._stop_s = stop_s
        self._children: dict[int, _Child] = {}
        self._stopping = False
        self._young_deaths = 0
        self._alive, self._watcher_alive = os.pipe()  # closed by the kernel when the watcher ends, however it does

    def run(self) -> int:
        """Watch until stopped; the exit code."""
        for number in _SIGNALS:
            signal.signal(number, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        for work in self._works:
            self._start(work)
        while self._children:
            pid, status = os.wait()
            child = self._children.pop(pid, None)
            if child is None or self._stopping:
                continue
            _log.error("worker %d ended with status %d; starting another", pid, os.waitstatus_to_exitcode(status))
            self._young_deaths = self._young_deaths + 1 if time.monotonic() - child.began_s < YOUNG_S else 0
            if self._young_deaths > YOUNG_DEATHS_MAX:
                _log.error("workers end as soon as they begin; giving up")
                self._stop(signal.SIGTERM, None)
            else:
                self._start(child.work)
        return 1 if self._young_deaths > YOUNG_DEATHS_MAX else 0

    def _start(self, work: Work) -> None:
        if self._stopping:
            return
        old = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # a child is known before it can be told to stop
        try:
            pid = os.fork()
            if not pid:
                self._be_worker(work, old)
            self._children[pid] = _Child(work, time.monotonic())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def _be_worker(self, work: Work, mask: set[signal.Signals | int]) -> NoReturn:
        status = 1
        try:
            for number in (*_SIGNALS, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(self._watcher_alive)
            threading.Thread(target=_stop_without_watcher, args=(self._alive,), daemon=True).start()
            status = work()
        except Exception:
            _log.exception("a worker failed")
        finally:
            with suppress(OSError, ValueError):
                logging.shutdown()
                sys.stdout.flush()
            os._exit(status)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            signal.setitimer(signal.ITIMER_REAL, self._stop_s + KILL_AFTER_S)
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)

    def _kill(self, number: int, frame: FrameType | None) -> None:
        for pid in self._children:
            _log.error("worker %d did not stop in time: killed", pid)
            os.kill(pid, signal.SIGKILL)


def _stop_without_watcher(alive: int) -> None:
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def in_child(act: Callable[[], None]) -> None:
    """Do something in a process of its own, of which nothing remains. Raises the ArtfsError that it raises."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        _tell(writing, act)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    if not told:
        raise MachineNotReady("the registry could not be opened: its process ended", hint="see the messages above")
    error = pickle.loads(told)  # from our own child
    if isinstance(error, ArtfsError):
        raise error


def _tell(writing: int, act: Callable[[], None]) -> NoReturn:
    try:
        told: ArtfsError | None = None
        try:
            act()
        except ArtfsError as error:
            told = type(error)(error.message, hint=error.hint)
        with open(writing, "wb") as pipe:
            pipe.write(pickle.dumps(told))
    except Exception:
        _log.exception("opening the registry failed")
    finally:
        os._exit(0)
