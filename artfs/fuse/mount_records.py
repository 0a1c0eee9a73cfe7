"""Where a running mount is written down, so that `artfs status` and `artfs umount` find its process.

One JSON file a mount in the state directory, and a socket in the runtime directory, both named by the mount point. A
record whose process is gone is removed by whoever meets it. Must not import pyfuse3 or trio.
"""

from __future__ import annotations

import contextlib
import os
import signal
from hashlib import sha256
from pathlib import Path

import msgspec

from artfs.errors import StorageFailed
from artfs.fuse.process_records import read_living
from artfs.fuse.running_runs import RunningRuns, read_process
from artfs.fuse.supervisor_records import SupervisorRecord, SupervisorRecords
from artfs.store.durable import make_private, sweep_private, write_private


class MountRecord(msgspec.Struct, frozen=True):
    """A running mount. `started_ticks` tells its process from a later one with the same id."""

    pid: int
    started_ticks: int
    mountpoint: str
    registry: str
    started_at_ns: int
    read_only: bool
    pin: bool
    socket: str
    log: str

    @property
    def is_alive(self) -> bool:
        return process_started_ticks(self.pid) == self.started_ticks


class MountRecords:
    """The records of all mounts of this user; `runs` are of the runs that they attend to, `supervisors` of who keeps them up.

    Args:
        state_dir: for the records and logs; kept.
        runtime_dir: for the sockets; made with mode 0700.
    """

    def __init__(self, state_dir: Path, runtime_dir: Path) -> None:
        self._records = state_dir / "mounts"
        self.runs = RunningRuns(state_dir)
        self.supervisors = SupervisorRecords(state_dir)
        self._logs = state_dir / "logs"
        self._sockets = runtime_dir

    def socket_path(self, mountpoint: Path) -> Path:
        make_private(self._sockets)
        return self._sockets / f"{_name(mountpoint)}.sock"

    def log_path(self, mountpoint: Path) -> Path:
        """Where the mount's process writes its log; the name says which mount it is."""
        make_private(self._logs)
        return self._logs / f"{mountpoint.name or 'root'}-{_name(mountpoint)[:8]}.log"

    def write(self, record: MountRecord) -> None:
        """Raises StorageFailed."""
        path = self._path(Path(record.mountpoint))
        try:
            sweep_private(path, lambda writer: process_started_ticks(writer) is not None)
            write_private(path, msgspec.json.format(msgspec.json.encode(record)))
        except OSError as error:
            raise StorageFailed(f"cannot write {path}: {error.strerror}") from None

    def find(self, mountpoint: Path) -> MountRecord | None:
        """The record of a living mount at `mountpoint`."""
        return read_living(self._path(mountpoint), MountRecord)

    def list(self) -> list[MountRecord]:
        """The records of all living mounts, by mount point."""
        records = (read_living(path, MountRecord) for path in sorted(self._records.glob("*.json")))
        return sorted((record for record in records if record is not None), key=lambda record: record.mountpoint)

    def remove(self, mountpoint: Path, pid: int) -> None:
        """Remove the record and socket of process `pid`; another's are left alone."""
        record = self.find(mountpoint)
        if record is not None and record.pid != pid:
            return
        self._path(mountpoint).unlink(missing_ok=True)
        self.socket_path(mountpoint).unlink(missing_ok=True)

    def _path(self, mountpoint: Path) -> Path:
        return self._records / f"{_name(mountpoint)}.json"


def process_started_ticks(pid: int) -> int | None:
    """When process `pid` was started, in clock ticks since boot; None if there is none, or only a zombie."""
    found = read_process(pid)
    return None if found is None else found.started_ticks


def end_process(record: MountRecord | SupervisorRecord, number: signal.Signals) -> None:
    """Send a signal to the process of a record, unless it is gone."""
    if record.is_alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)


def _name(mountpoint: Path) -> str:
    return sha256(os.fsencode(mountpoint)).hexdigest()[:16]
