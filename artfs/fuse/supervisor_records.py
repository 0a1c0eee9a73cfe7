"""Where the supervisor of a mount is written down, so that `artfs status` and `artfs umount` find it while no mount lives.

One JSON file a supervisor in the state directory, named by the mount point and written by the supervisor alone. A record whose
process is gone is removed by whoever meets it. Must not import pyfuse3 or trio.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from artfs.errors import StorageFailed
from artfs.fuse.process_records import ProcessRecord, read_living, record_name
from artfs.store.durable import write_private


class SupervisorRecord(ProcessRecord, frozen=True):
    """A supervisor at work.

    Attributes:
        restarts: how often it mounted again.
        restarted_at_ns: when it did last, 0 if never.
        trouble: why nothing is mounted now; empty while the mount lives.
    """

    mountpoint: str
    registry: str
    log: str
    restarts: int = 0
    restarted_at_ns: int = 0
    trouble: str = ""


class SupervisorRecords:
    """The supervisors of all mounts of this user."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir / "supervisors"

    def write(self, record: SupervisorRecord) -> None:
        """Raises StorageFailed."""
        path = self._path(Path(record.mountpoint))
        try:
            write_private(path, msgspec.json.encode(record))
        except OSError as error:
            raise StorageFailed(f"cannot write {path}: {error.strerror}") from None

    def find(self, mountpoint: Path) -> SupervisorRecord | None:
        """The living supervisor of `mountpoint`."""
        return read_living(self._path(mountpoint), SupervisorRecord)

    def list(self) -> list[SupervisorRecord]:
        """All living supervisors, by mount point."""
        records = (read_living(path, SupervisorRecord) for path in self._directory.glob("*.json"))
        return sorted((record for record in records if record is not None), key=lambda record: record.mountpoint)

    def remove(self, record: SupervisorRecord) -> None:
        """Remove the record of this process; another's is left alone."""
        found = self.find(Path(record.mountpoint))
        if found is not None and found.pid == record.pid:
            self._path(Path(record.mountpoint)).unlink(missing_ok=True)

    def _path(self, mountpoint: Path) -> Path:
        return self._directory / f"{record_name(mountpoint)}.json"
