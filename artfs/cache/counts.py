"""Hits and misses of all processes, in one small file. What a killed process had not added yet is lost."""

from __future__ import annotations

import fcntl
import os
import struct

from artfs.cache.directory import CacheDirectory, OwnedFile

_COUNTS = struct.Struct("<QQ")
_FILE = "counts"


def read_counts(directory: CacheDirectory) -> tuple[int, int]:
    """Hits and misses that were added so far."""
    file = directory.open(_FILE, os.O_RDWR | os.O_CREAT)
    return _read(file)


def add_counts(directory: CacheDirectory, hits: int, misses: int) -> None:
    """Add to both; a process that was stopped here would hold up others, so whoever cannot have the lock goes on."""
    file = directory.open(_FILE, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    old_hits, old_misses = _read(file)
    os.pwrite(file.fd, _COUNTS.pack(old_hits + hits, old_misses + misses), 0)


def reset_counts(directory: CacheDirectory) -> None:
    file = directory.open(_FILE, os.O_RDWR | os.O_CREAT)
    os.pwrite(file.fd, _COUNTS.pack(0, 0), 0)


def _read(file: OwnedFile) -> tuple[int, int]:
    data = os.pread(file.fd, _COUNTS.size, 0)
    return _COUNTS.unpack(data) if len(data) == _COUNTS.size else (0, 0)
