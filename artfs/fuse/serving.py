"""Serving a mount in this process: from the open backend to the last request.

The mount is taken away only on purpose (umount, SIGTERM, SIGINT). If this process fails later, the mount point stays and
answers ENOTCONN: an unmounted directory would look like an empty data set. Everything here is bounded: a mount in use is detached
lazily, and a process that cannot end is ended.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from artfs.errors import Busy, MachineNotReady
from artfs.fuse import mount_points
from artfs.fuse.backend import Backend, OpenBackend
from artfs.fuse.control_server import Answers, serve_control
from artfs.fuse.kernel_caches import PyfuseCaches
from artfs.fuse.kernel_read_ahead import raise_read_ahead
from artfs.fuse.loop_guard import end_at_once, ending_with_trio, have_memory_for_wakeups
from artfs.fuse.mount_points import Claim
from artfs.fuse.mount_records import MountRecord
from artfs.fuse.mount_request import Began, MountRequest, Ready
from artfs.fuse.operations import FuseOperations
from artfs.fuse.process_records import process_started_ticks
from artfs.fuse.request_loop import answer_requests
from artfs.fuse.running_runs import Ancestry
from artfs.fuse.tracking import TRACK, Tracking
from artfs.vfs.door import Door
from artfs.vfs.filesystem import Filesystem
from artfs.vfs.view import View

REQUESTS_MAX = 128  # handled at once; more wait in the kernel
IDLE_TASKS = 8  # kept for the next request, instead of ending and starting one each time
SWITCH_INTERVAL_S = 0.0005  # how long a thread that runs Python code may delay the event loop
LINGER_S = 5.0  # how long processes may finish with a mount that was detached
CLOSE_S = 20.0  # how long staging may take to make everything durable
END_S = 40.0  # after a signal the process ends, whatever happens
RESTART_S = 1.0
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger(__name__)


def serve(request: MountRequest, open_backend: OpenBackend, ready: Ready) -> None:
    """Mount and answer until unmounted. Raises ArtfsError if the mount cannot begin."""
    _tune_process()
    backend = open_backend()
    try:
        trio.run(_serve, request, backend, ready, restrict_keyboard_interrupt_to_checkpoints=True)
    except trio.TrioInternalError:
        with suppress(Exception):  # memory may be too short even for that
            _log.exception("trio failed")
        end_at_once("trio says that it is broken")
    finally:
        backend.close()


def _tune_process() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    have_memory_for_wakeups()
    logging.getLogger("pyfuse3").setLevel(logging.INFO)  # it has a debug line for every request
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # pages are large and acyclic: walking them again and again finds nothing
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(request: MountRequest, backend: Backend, ready: Ready) -> None:
    options, started_at_ns = request.options, time.time_ns()
    pinned_at = request.pinned_at
    if options.pin and pinned_at is None:
        pinned_at = await trio.to_thread.run_sync(backend.registry.changes.position)
    view = View(os.getuid(), os.getgid(), started_at_ns, options.read_only, pinned_at)
    door, kernel = Door(), PyfuseCaches()
    staging = None if options.read_only else backend.open_staging(view, door, kernel)
    ancestry = Ancestry()
    filesystem = Filesystem(
        backend.registry,
        backend.source,
        view,
        door=door,
        staging=staging,
        kernel=kernel,
        known=backend.known,
        processes=ancestry,
    )
    tracking = Tracking(request.records.runs, backend.registry, ancestry, filesystem.uses)
    operations = FuseOperations(filesystem)
    device = _mount(operations, request)
    record = _record(request, started_at_ns)
    status = partial(_status, record, filesystem, backend, operations)
    answers: Answers = {"status": status, TRACK: tracking.track}
    with _signals_to_end() as signals, ending_with_trio():
        try:
            request.records.write(record)
            await tracking.begin()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_unmount_on_signal, signals, request.mountpoint, device)
                await nursery.start(serve_control, Path(record.socket), answers)
                for name, task in filesystem.background_tasks().items():
                    nursery.start_soon(keep_running, name, task)
                kernel.mounted = True
                _log.info("mounted %s at %s", request.registry, request.mountpoint)
                nursery.start_soon(raise_read_ahead, request.mountpoint)
                nursery.start_soon(_begin, request.claim, ready, Began(device, view.pinned_at))
                await answer_requests(IDLE_TASKS, REQUESTS_MAX)
                nursery.cancel_scope.cancel()
        finally:
            began, kernel.mounted = kernel.mounted, False
            pyfuse3.close(unmount=not began)
            tracking.end()
            if staging is not None:
                with trio.move_on_after(CLOSE_S, shield=True):
                    await staging.close()
            request.records.remove(request.mountpoint, record.pid)
            _log.info("unmounted %s", request.mountpoint)


async def _begin(claim: Claim, ready: Ready, began: Began) -> None:
    claim.release()
    ready(began)


@contextmanager
def _signals_to_end() -> Iterator[AsyncIterator[int]]:
    """Signals that ask this process to end. What comes again while it ends changes nothing."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)  # what the receiver leaves behind, and hands over what it did not get to
    with trio.open_signal_receiver(*ENDING) as signals:
        yield signals


def _mount(operations: FuseOperations, request: MountRequest) -> str:
    """The device number of the mount. Raises Busy or MachineNotReady with what libfuse says."""
    options = {"fsname=artfs", "subtype=artfs", "default_permissions", *request.options.kernel}
    if request.options.read_only:
        options.add("ro")
    if request.options.allow_other:
        options.add("allow_other")
    # No earlier: meanwhile it would look like an empty directory.
    mount_points.detach(request.mountpoint, request.replaces)
    try:
        with _stderr_captured() as said:
            pyfuse3.init(operations, str(request.mountpoint), options)
    except RuntimeError as error:
        reason = said() or str(error)
        if "user_allow_other" in reason:
            raise MachineNotReady(
                "allow_other is not permitted to users here",
                hint="as root, add the line user_allow_other to /etc/fuse.conf",
            ) from None
        raise Busy(f"cannot mount at {request.mountpoint}: {reason}", hint="artfs doctor") from None
    return mount_points.device_of(request.mountpoint) or ""


@contextmanager
def _stderr_captured() -> Iterator[Callable[[], str]]:
    """What C code writes to stderr meanwhile: libfuse tells its reasons only there."""
    with tempfile.TemporaryFile() as captured:
        text: list[str] = []
        saved = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield lambda: " ".join(text)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            captured.seek(0)
            text.extend(line.strip() for line in captured.read().decode(errors="replace").splitlines())


def _record(request: MountRequest, started_at_ns: int) -> MountRecord:
    return MountRecord(
        pid=os.getpid(),
        started_ticks=process_started_ticks(os.getpid()) or 0,
        mountpoint=str(request.mountpoint),
        registry=request.registry,
        started_at_ns=started_at_ns,
        read_only=request.options.read_only,
        pin=request.options.pin,
        socket=str(request.records.socket_path(request.mountpoint)),
        log=request.log,
    )


async def keep_running(name: str, task: Callable[[], Awaitable[None]]) -> None:
    """Run a background task again when it fails: its failure must not end the mount."""
    while True:
        try:
            await task()
            return
        except Exception:
            with suppress(Exception):  # memory may be too short even for that
                _log.exception("%s failed; starting it again", name)
        await trio.sleep(RESTART_S)


async def _unmount_on_signal(signals: AsyncIterator[int], mountpoint: Path, device: str) -> None:
    async for number in signals:
        _log.info("%s: unmounting %s", signal.Signals(number).name, mountpoint)
        try:
            _end_at_last()
            await trio.to_thread.run_sync(_take_away, mountpoint, device)
        except Exception:
            _log.exception("cannot take the mount away in order")
        with trio.move_on_after(LINGER_S):  # the last user's close ends `answer_requests`, which cancels this
            await trio.sleep_forever()
        _log.warning("%s is still in use: ending anyway", mountpoint)
        pyfuse3.terminate()


def _take_away(mountpoint: Path, device: str) -> None:
    if mount_points.device_of(mountpoint) != device:
        return  # somebody did, and may have mounted another
    try:
        mount_points.unmount_now(mountpoint)
    except Busy as busy:
        _log.info("%s; detaching it", busy)
        mount_points.unmount_now(mountpoint, lazy=True)


def _end_at_last() -> None:
    """End this process after END_S, even if a thread hangs in a system call."""

    def end() -> None:
        _log.critical("could not end in %g s: exiting", END_S)
        os._exit(1)

    timer = threading.Timer(END_S, end)
    timer.daemon = True
    timer.start()


async def _status(
    record: MountRecord, filesystem: Filesystem, backend: Backend, operations: FuseOperations, _: Mapping[str, str]
) -> Mapping[str, Any]:
    return {
        "pid": record.pid,
        "mountpoint": record.mountpoint,
        "registry": record.registry,
        "read_only": record.read_only,
        "pin": record.pin,
        "uptime_s": round((time.time_ns() - record.started_at_ns) / 1e9, 3),
        "memory_bytes": resident_bytes(),
        "last_errors": list(operations.last_errors),
        "filesystem": filesystem.status(),
        "cache": backend.status(),
    }


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
