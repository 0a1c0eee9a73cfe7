"""Mounting and unmounting, as the command line and the API call it: in the foreground, or in a process of its own.

In the background the registry is opened after the fork, and success is reported only when the mount answers whoever asked for
it. Must not import pyfuse3 or trio before the fork: `serving` is imported by the process that serves.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artfs.errors import Busy, NotFound, Unavailable
from artfs.fuse import control, mount_points
from artfs.fuse.log_files import log_to_file
from artfs.fuse.mount_options import MountOptions
from artfs.fuse.mount_points import Claim, MountState
from artfs.fuse.mount_records import MountRecord, MountRecords, end_process
from artfs.fuse.mount_request import MountRequest, Ready, Run
from artfs.fuse.service_manager import notify
from artfs.fuse.starting import ReportPipe, run_and_report

if TYPE_CHECKING:
    from artfs.fuse.backend import OpenBackend

READY_S = 120.0  # opening a registry may mean upgrading it
ANSWER_S = 10.0
UNMOUNT_S = 60.0  # staging may have much to make durable

_log = logging.getLogger(__name__)


def mount_in_foreground(
    mountpoint: Path, registry: str, options: MountOptions, records: MountRecords, open_backend: OpenBackend
) -> None:
    """Serve a mount until it is taken away, in this process or one that it supervises. Raises ArtfsError if it cannot begin."""
    request = _claimed(mountpoint, registry, options, records)
    try:
        _run(options)(request, open_backend, lambda _: notify("READY=1"))
    finally:
        request.claim.close()


def mount_in_background(
    mountpoint: Path,
    registry: str,
    options: MountOptions,
    records: MountRecords,
    open_backend: OpenBackend,
    *,
    log_level: str = "info",
) -> MountRecord:
    """Mount in a new process, and return when the mount answers.

    Raises ArtfsError with the reason if it does not come to that; then nothing is left mounted.
    """
    log = records.log_path(mount_points.resolve(mountpoint))
    request = _claimed(mountpoint, registry, options, records, str(log))
    pipe = ReportPipe()
    child = os.fork()
    if child == 0:
        pipe.close()
        _become_daemon(partial(run_and_report, _run(options), request, open_backend, pipe.writer), log, log_level)
    request.claim.close()
    pipe.close_writer()
    try:
        os.waitpid(child, 0)
        if not _wait_for(pipe.read, READY_S):
            raise Unavailable(f"the mount is not ready after {READY_S:.0f} s", hint=f"see {log}")
        pipe.report(str(log))
    finally:
        pipe.close()
    state = mount_points.look_at(request.mountpoint, ANSWER_S)
    record = records.find(request.mountpoint)
    if state is not MountState.LIVE or record is None:
        raise Unavailable(f"the mount at {request.mountpoint} does not answer", hint=f"see {log}")
    return record


def _claimed(
    mountpoint: Path, registry: str, options: MountOptions, records: MountRecords, log: str = ""
) -> MountRequest:
    """What to mount, at a place that is ready for it and claimed by this process. Raises what `make_ready` and `Claim` do."""
    mountpoint = mount_points.resolve(mountpoint)
    supervisor = records.supervisors.find(mountpoint)
    if supervisor is not None and supervisor.trouble:
        raise Busy(
            f"process {supervisor.pid} is about to mount at {mountpoint} again: {supervisor.trouble}",
            hint=f"artfs umount {mountpoint}",
        )
    mount_points.make_ready(mountpoint)
    return MountRequest(mountpoint, registry, options, records, Claim(mountpoint), log)


def _run(options: MountOptions) -> Run:
    """What the process does that is to mount. Imports pyfuse3 and trio when it is called, in that process."""

    def run(request: MountRequest, open_backend: OpenBackend, ready: Ready) -> None:
        if options.supervise:
            from artfs.fuse.supervisor import supervise

            supervise(request, open_backend, ready)
        else:
            from artfs.fuse.serving import serve

            serve(request, open_backend, ready)

    return run


def unmount(mountpoint: Path, records: MountRecords, *, lazy: bool = False) -> None:
    """Take a mount away, and wait until its process and its supervisor have ended and everything staged is durable.

    Raises NotFound if artfs is not mounted there, Busy if it is in use and not `lazy`.
    """
    mountpoint = mount_points.resolve(mountpoint)
    record, supervisor = records.find(mountpoint), records.supervisors.find(mountpoint)
    if mount_points.mounted_at(mountpoint) == mount_points.FILESYSTEM_TYPE:
        mount_points.unmount_now(mountpoint, lazy=lazy or record is None)
    elif supervisor is None or not supervisor.trouble:
        raise NotFound(f"artfs is not mounted at {mountpoint}", hint="artfs status lists the mounts")
    if lazy and record is not None:
        end_process(record, signal.SIGTERM)
    if supervisor is not None:
        end_process(supervisor, signal.SIGTERM)  # it may have been mounting again meanwhile
    ending = [process for process in (record, supervisor) if process is not None]
    if not _wait_for(lambda: not any(process.is_alive for process in ending), UNMOUNT_S):
        living = next(process for process in ending if process.is_alive)
        raise Busy(f"process {living.pid} of {mountpoint} has not ended yet", hint=f"see {living.log}")


def mount_status(record: MountRecord) -> dict[str, Any]:
    """What the mount's process says of itself. Raises Unavailable."""
    return control.ask(record, "status")


def _become_daemon(work: Callable[[], int], log: Path, log_level: str) -> None:
    """Go on in a grandchild without terminal, and exit with what `work` returns; never returns."""
    status = 1
    try:
        os.setsid()
        if os.fork():
            status = 0
            return
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.chdir("/")
        _redirect_output(log)
        logging.getLogger().setLevel(log_level.upper())
        log_to_file(log)
        status = work()
    except BaseException:
        _log.exception("the mount process failed")
    finally:
        logging.shutdown()
        os._exit(status)


def _redirect_output(log: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)


def _wait_for(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
