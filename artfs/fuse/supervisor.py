"""Keeping a mount up: a process that starts the one which serves, and another whenever that dies with its mount still there.

The supervisor opens nothing and starts no thread. It has what a mount is made of imported, so the next one is a fork that opens
the registry; the dead mount stays where it is, answering ENOTCONN, until the new one takes its place: an unmounted directory
would look like an empty data set. A mount that was taken away, by whomever, is not mounted again. Waits for signals, the end of
its child and its child's report, all at once; now and then it looks whether a child that was killed can die.
"""

from __future__ import annotations

import gc
import importlib
import logging
import math
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import msgspec

from artfs.errors import ArtfsError, Busy, StorageFailed, Unavailable
from artfs.fuse import mount_points, serving
from artfs.fuse.backend import OpenBackend
from artfs.fuse.log_files import log_beside, log_to_file
from artfs.fuse.mount_request import Began, MountRequest, Ready
from artfs.fuse.process_records import is_dying, process_started_ticks
from artfs.fuse.restarts import Restarts
from artfs.fuse.service_manager import notify
from artfs.fuse.starting import Report, ReportPipe, run_and_report
from artfs.fuse.supervisor_records import SupervisorRecord

READY_S = 120.0  # a process that is not usable by then is ended
END_S = serving.END_S + 10  # one that was asked to end, too
LOOK_S = 0.5  # between two looks whether it can die

_log = logging.getLogger(__name__)


def supervise(request: MountRequest, open_backend: OpenBackend, ready: Ready) -> None:
    """Mount in a process of its own, again whenever it dies, until the mount is taken away or a signal asks for that.

    For the main thread. Raises ArtfsError if the mount cannot begin, Unavailable if it dies at once again and again.
    """
    if request.log:
        log_beside(Path(request.log))
    with _Wakeups.listening() as wakeups:
        _Supervision(request, open_backend, wakeups).run(ready)


class _Wakeups:
    """What the supervisor waits for. A signal that asks to end is remembered; it wakes every wait, also one that begins later."""

    def __init__(self, reader: int) -> None:
        self._reader = reader
        self.is_ending = False

    @classmethod
    @contextmanager
    def listening(cls) -> Iterator[_Wakeups]:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in serving.ENDING}
        try:
            yield cls(reader)
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def wait(self, file: int | None, timeout_s: float | None) -> bool:
        """Whether `file` can be read; not if `timeout_s` is over or a signal came that asks to end."""
        poll = select.poll()
        for watched in (self._reader, *([] if file is None else [file])):
            poll.register(watched, select.POLLIN)
        found = {readable for readable, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)}
        if self._reader in found:
            with suppress(BlockingIOError):
                self.is_ending |= not set(serving.ENDING).isdisjoint(os.read(self._reader, 4096))
        return file in found


class _Child:
    """A process that serves, or is about to."""

    def __init__(self, request: MountRequest, open_backend: OpenBackend) -> None:
        self.pipe = ReportPipe()
        self.report = Report()
        self._pid = os.fork()
        if self._pid == 0:
            _serve_and_exit(request, open_backend, self.pipe)
        self.pipe.close_writer()
        self.ended = os.pidfd_open(self._pid)

    def tell(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.ended, number)

    def is_dying(self) -> bool:
        """Killed, or with its main thread at an end, while another thread of it still waits for something in the kernel."""
        return is_dying(self._pid)

    def bury(self) -> str:
        """How it ended."""
        _, status = os.waitpid(self._pid, 0)
        os.close(self.ended)
        self.pipe.close()
        code = os.waitstatus_to_exitcode(status)
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _serve_and_exit(request: MountRequest, open_backend: OpenBackend, pipe: ReportPipe) -> NoReturn:
    status = 1
    try:
        pipe.close()
        signal.set_wakeup_fd(-1)
        for number in serving.ENDING:
            signal.signal(number, signal.SIG_DFL)
        if request.log:
            log_to_file(Path(request.log))
        status = run_and_report(serving.serve, request, open_backend, pipe.writer)
    except BaseException:
        _log.exception("the mount process failed")
    finally:
        logging.shutdown()
        os._exit(status)


class _Supervision:
    """One supervised mount. Everything here belongs to the process's only thread."""

    def __init__(self, request: MountRequest, open_backend: OpenBackend, wakeups: _Wakeups) -> None:
        self._request = request  # what the next process is to do
        self._place = request.mountpoint
        self._open_backend = open_backend
        self._wakeups = wakeups
        self._restarts = Restarts()
        self._records = request.records.supervisors
        ticks = process_started_ticks(os.getpid()) or 0
        self._record = SupervisorRecord(os.getpid(), ticks, str(self._place), request.registry, request.log)

    def run(self, ready: Ready) -> None:
        try:
            self._note()
            child = self._begin()
            if child is not None:
                ready(Began(child.report.device, child.report.pinned_at))
                _import_all(child.report.modules)
            while child is not None:
                since = time.monotonic()
                how = self._watch(child)
                if self._wakeups.is_ending or mount_points.device_of(self._place) != child.report.device:
                    break  # a mount that is not there any more was taken away on purpose
                _log.error("the process of %s died: %s", self._place, how)
                self._note(trouble=f"ended by {how}")
                child = self._mount_again(time.monotonic() - since)
        finally:
            if self._wakeups.is_ending:
                mount_points.detach(self._place, self._request.replaces)
            self._records.remove(self._record)

    def _begin(self) -> _Child | None:
        """A process that has mounted; None if a signal asks to end. Raises ArtfsError if it comes to nothing."""
        child = _Child(self._request, self._open_backend)
        try:
            while not child.pipe.read():
                if not self._wakeups.wait(child.pipe.reader, READY_S):
                    if self._wakeups.is_ending:
                        self._bury_what_did_not_begin(child)
                        return None
                    child.tell(signal.SIGKILL)  # which ends what it has to say
            child.report = child.pipe.report(self._request.log)
        except ArtfsError:
            self._bury_what_did_not_begin(child)
            raise
        self._request = replace(self._request, replaces=child.report.device, pinned_at=child.report.pinned_at)
        return child

    def _bury_what_did_not_begin(self, child: _Child) -> None:
        self._watch(child, within_s=END_S)
        self._request = replace(self._request, replaces=mount_points.device_of(self._place) or "")

    def _watch(self, child: _Child, within_s: float = math.inf) -> str:
        """Wait until the process has ended, passing a signal on that asks to end; how it ended."""
        kill_at, is_told = time.monotonic() + within_s, False
        while True:
            if self._wakeups.is_ending and not is_told:
                child.tell(signal.SIGTERM)
                kill_at, is_told = time.monotonic() + END_S, True
            if self._wakeups.wait(child.ended, min(LOOK_S, max(0.0, kill_at - time.monotonic()))):
                return child.bury()
            if child.is_dying():
                self._let_it_die(child)
            if time.monotonic() >= kill_at:
                child.tell(signal.SIGKILL)
                kill_at = time.monotonic() + END_S

    def _let_it_die(self, child: _Child) -> None:
        """A thread of it may wait for a directory that a caller holds, who waits for its answer: neither can be killed."""
        device = child.report.device or mount_points.device_of(self._place) or ""
        if mount_points.abort_requests(self._place, device):
            _log.warning("what waited for the dying process of %s was told so", self._place)

    def _mount_again(self, usable_s: float) -> _Child | None:
        """As `_begin`, until it comes to something. Raises Busy if somebody else mounts there, Unavailable to give up."""
        died = time.monotonic()
        while (delay_s := self._restarts.delay_after(usable_s)) is not None:
            if delay_s:
                _log.warning("mounting %s again in %g s", self._place, delay_s)
                self._wakeups.wait(None, delay_s)
            if self._wakeups.is_ending:
                return None
            self._request.claim.take()
            if (mount_points.device_of(self._place) or "") not in ("", self._request.replaces):
                raise Busy(f"another mount has taken the place of the dead one at {self._place}")
            try:
                child = self._begin()
            except ArtfsError as error:
                _log.error("cannot mount %s again: %s", self._place, error)
                self._note(trouble=str(error))
                usable_s = 0.0
                continue
            if child is not None:
                self._note(restarts=self._record.restarts + 1, restarted_at_ns=time.time_ns())
                _log.warning("mounted %s again after %.2f s", self._place, time.monotonic() - died)
                if hidden := self._request.claim.beneath():
                    _log.warning("made in the directory beneath while nothing was mounted: %s", ", ".join(hidden))
            return child
        raise Unavailable(
            f"the mount at {self._place} died {self._restarts.in_vain} times in a row: giving up",
            hint=f"see why in {self._request.log or 'the log'}, then: artfs mount {self._place}",
        )

    def _note(self, *, trouble: str = "", **changes: int) -> None:
        self._record = msgspec.structs.replace(self._record, trouble=trouble, **changes)
        notify(f"STATUS={trouble or f'mounted; {self._record.restarts} restarts'}")
        try:
            self._records.write(self._record)
        except StorageFailed as error:
            _log.error("%s", error)  # the mount matters more than what is told of it


def _import_all(modules: Iterable[str]) -> None:
    """Have imported what the process that serves has, so that the next one need not."""
    for name in modules:
        if name not in sys.modules:
            with suppress(Exception):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a fork shares the memory as long as nobody writes to it
