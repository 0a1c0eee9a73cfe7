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
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from artfs.errors import ArtfsError, Busy, MachineNotReady, NotFound, Unavailable, error_class
from artfs.fuse import control, mount_points
from artfs.fuse.mount_options import MountOptions
from artfs.fuse.mount_points import MountState
from artfs.fuse.mount_records import MountRecord, MountRecords, end_process

if TYPE_CHECKING:
    from artfs.fuse.backend import OpenBackend

READY_S = 120.0  # opening a registry may mean upgrading it
ANSWER_S = 10.0
UNMOUNT_S = 60.0  # staging may have much to make durable
LOG_BYTES_MAX = 5 << 20
LOG_FILES_KEPT = 3

_log = logging.getLogger(__name__)


def mount_in_foreground(
    mountpoint: Path, registry: str, options: MountOptions, records: MountRecords, open_backend: OpenBackend
) -> None:
    """Mount and answer requests in this process until unmounted. Raises ArtfsError if it cannot begin."""
    from artfs.fuse.serving import MountRequest, serve

    mountpoint = mount_points.resolve(mountpoint)
    mount_points.make_ready(mountpoint)
    serve(MountRequest(mountpoint, registry, options, records), open_backend, lambda: None)


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
    mountpoint = mount_points.resolve(mountpoint)
    mount_points.make_ready(mountpoint)
    log = records.log_path(mountpoint)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _become_daemon(
            lambda: _serve_as_daemon(mountpoint, registry, options, records, open_backend, writer, log), log, log_level
        )
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        _wait_for_report(pipe.fileno(), log)
    state = mount_points.look_at(mountpoint, ANSWER_S)
    record = records.find(mountpoint)
    if state is not MountState.LIVE or record is None:
        raise Unavailable(f"the mount at {mountpoint} does not answer", hint=f"see {log}")
    return record


def unmount(mountpoint: Path, records: MountRecords, *, lazy: bool = False) -> None:
    """Take a mount away, and wait until its process has ended and everything staged is durable.

    Raises NotFound if artfs is not mounted there, Busy if it is in use and not `lazy`.
    """
    mountpoint = mount_points.resolve(mountpoint)
    record = records.find(mountpoint)
    if mount_points.mounted_at(mountpoint) != mount_points.FILESYSTEM_TYPE:
        raise NotFound(f"artfs is not mounted at {mountpoint}", hint="artfs status lists the mounts")
    mount_points.unmount_now(mountpoint, lazy=lazy or record is None)
    if record is None:
        return
    if lazy:
        end_process(record, signal.SIGTERM)
    if not _wait_for(lambda: not record.is_alive, UNMOUNT_S):
        raise Busy(f"process {record.pid} of {mountpoint} has not ended yet", hint=f"see {record.log}")


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
        log_to_file(log, log_level)
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


def log_to_file(log: Path, level: str) -> None:
    """Send this process's log to a file that is rotated."""
    handler = RotatingFileHandler(log, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _serve_as_daemon(
    mountpoint: Path,
    registry: str,
    options: MountOptions,
    records: MountRecords,
    open_backend: OpenBackend,
    report: int,
    log: Path,
) -> int:
    """Serve, telling the parent through the pipe `report` that it began, or why it did not."""
    reported = False

    def tell(message: dict[str, str]) -> None:
        nonlocal reported
        if not reported:
            reported = True
            os.write(report, msgspec.json.encode(message))
            os.close(report)

    try:
        from artfs.fuse.serving import MountRequest, serve

        serve(MountRequest(mountpoint, registry, options, records, str(log)), open_backend, lambda: tell({"ready": ""}))
    except ArtfsError as error:
        _log.error("%s", error)
        tell({"code": error.code, "message": error.message, "hint": error.hint})
        return 1
    except ImportError as error:
        _log.exception("the mount process cannot start")
        tell({"code": MachineNotReady.code, "message": f"cannot load pyfuse3: {error}", "hint": "artfs doctor"})
        return 1
    return 0


def _wait_for_report(pipe: int, log: Path) -> None:
    """Return when the mount process says that it is ready. Raises the error that it tells otherwise."""
    os.set_blocking(pipe, False)
    data = bytearray()
    finished = False

    def read() -> bool:
        nonlocal finished
        try:
            part = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return False
        data.extend(part)
        finished = not part
        return finished

    if not _wait_for(read, READY_S):
        raise Unavailable(f"the mount is not ready after {READY_S:.0f} s", hint=f"see {log}")
    if not data:
        raise Unavailable("the mount process ended before it was ready", hint=f"see {log}")
    message = msgspec.json.decode(bytes(data), type=dict[str, str])
    if "ready" not in message:
        raise error_class(message["code"])(message["message"], hint=message["hint"])


def _wait_for(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
