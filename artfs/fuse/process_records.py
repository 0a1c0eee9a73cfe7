"""Records that say what a process does, one JSON file each, and hold as long as it lives. Must not import pyfuse3 or trio."""

from __future__ import annotations

import os
import signal
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from artfs.wire.json import UNDECODABLE


class ProcessFacts(NamedTuple):
    """What /proc tells of a process or thread; `parent` is the process that it answers to now."""

    parent: int
    started_ticks: int


def read_process(pid: int) -> ProcessFacts | None:
    """None if there is none with this id, or only a zombie."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fields = os.read(fd, 4096).rpartition(b")")[2].split()
    except OSError:
        return None
    finally:
        os.close(fd)
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return ProcessFacts(int(fields[1]), int(fields[19]))


def process_started_ticks(pid: int) -> int | None:
    """When process `pid` was started, in clock ticks since boot; None if there is none, or only a zombie."""
    found = read_process(pid)
    return None if found is None else found.started_ticks


def read_status(path: Path) -> dict[str, str]:
    """What the kernel tells of a process or thread in its `status`, by name. Raises OSError if it is gone."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def is_dying(pid: int) -> bool:
    """Whether process `pid` was killed, or its main thread has ended, and not all of its threads have."""
    try:
        facts = read_status(Path(f"/proc/{pid}/status"))
    except OSError:
        return False
    pending = int(facts["SigPnd"], 16) | int(facts["ShdPnd"], 16)
    return facts["State"].split()[0] in "ZX" or bool(pending & 1 << (signal.SIGKILL - 1))


class ProcessRecord(msgspec.Struct, frozen=True):
    """What a process does. `started_ticks` tells it from a later one with the same id."""

    pid: int
    started_ticks: int

    @property
    def is_alive(self) -> bool:
        return process_started_ticks(self.pid) == self.started_ticks


_R = TypeVar("_R", bound=ProcessRecord)


def record_name(mountpoint: Path) -> str:
    """What records of a mount point are called, without their ending."""
    return sha256(os.fsencode(mountpoint)).hexdigest()[:16]


def read_living(path: Path, type_: type[_R]) -> _R | None:
    """The record in `path`; None if there is none that can be read, or its process is gone, which removes it. Raises OSError."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=type_)
    except (FileNotFoundError, *UNDECODABLE):
        return None
    if record.is_alive:
        return record
    path.unlink(missing_ok=True)
    return None
