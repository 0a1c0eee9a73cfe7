"""Where a running mount is written down, so that `artfs status` and `artfs umount` find its process.

One JSON file a mount in the state directory, and a socket in the runtime directory, both named by the mount point. A
record whose process is gone is removed by whoever meets it. Must not import pyfuse3 or trio.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import msgspec

from artfs.errors import StorageFailed
from artfs.fuse.process_records import ProcessRecord, process_started_ticks, read_living, record_name
from artfs.fuse.running_runs import RunningRuns
from artfs.fuse.supervisor_records import SupervisorRecord, SupervisorRecords
from artfs.store.durable import make_private, sweep_private, write_private


class MountRecord(ProcessRecord, frozen=True):
    """A running mount."""

    mountpoint: str
    registry: str
    started_at_ns: int
    read_only: bool
    pin: bool
    socket: str
    log: str


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
        return self._sockets / f"{record_name(mountpoint)}.sock"

    def log_path(self, mountpoint: Path) -> Path:
        """Where the mount's process writes its log; the name says which mount it is."""
        make_private(self._logs)
        return self._logs / f"{mountpoint.name or 'root'}-{record_name(mountpoint)[:8]}.log"

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
        return self._records / f"{record_name(mountpoint)}.json"


def end_process(record: MountRecord | SupervisorRecord, number: signal.Signals) -> None:
    """Send a signal to the process of a record, unless it is gone."""
    if record.is_alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)
