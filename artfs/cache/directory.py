"""The cache's directory: private to its user, entered without following links, and the lock over it.

Everything is opened relative to descriptors of directories that were checked to be ours. Raises OSError throughout; the
cache's door (`artfs.cache.object_cache`) decides what that means.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artfs.cache.layout import VERSION_DIRECTORY
from artfs.store.durable import make_private

_LOCK_POLL_S = 0.01
_SEGMENT_MAX = 10**9
_BLOCK_BYTES = 512  # what st_blocks counts in
FREE_SHARE_KEPT = 20  # the cache leaves a twentieth of the disk free,
FREE_BYTES_KEPT = 1 << 30  # or this if that is less


def is_segment_name(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < len(str(_SEGMENT_MAX))


class OwnedFile:
    """A descriptor that is closed when nobody uses it any more, so that no thread meets another file under its number."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)

    def is_gone(self) -> bool:
        """Whether the file was removed or replaced."""
        return os.fstat(self.fd).st_nlink == 0


class LockBusy(OSError):
    """Another process is making room, or has been stopped while it did."""


class CacheDirectory:
    """Opened directories of one cache. Created, with mode 0700, if need be."""

    def __init__(self, root: Path) -> None:
        make_private(root)
        self._root = OwnedFile(_open_private(str(root), None))
        self.main = OwnedFile(_open_private(VERSION_DIRECTORY, self._root.fd))
        self.segments = OwnedFile(_open_private("segments", self.main.fd))
        self.pins = OwnedFile(_open_private("pins", self.main.fd))
        self._lock = self.open("lock", os.O_RDWR | os.O_CREAT)  # holds the number of the next segment

    def open(self, name: str, flags: int, within: OwnedFile | None = None) -> OwnedFile:
        """Open a file of the cache, never through a link."""
        directory = within or self.main
        return OwnedFile(os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory.fd))

    def remove(self, name: str, within: OwnedFile | None = None) -> None:
        os.unlink(name, dir_fd=(within or self.main).fd)

    def rename(self, old: str, new: str, within: OwnedFile | None = None) -> None:
        fd = (within or self.main).fd
        os.rename(old, new, src_dir_fd=fd, dst_dir_fd=fd)

    def is_gone(self) -> bool:
        return self.segments.is_gone()

    def occupied_bytes(self) -> int:
        """What `du` says."""
        directories = (self._root, self.main, self.segments, self.pins)
        found = sum(_disk_bytes(os.fstat(held.fd)) for held in directories)
        for held in directories:
            with os.scandir(held.fd) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        found += _entry_bytes(entry)
        return found

    def segment_sizes(self) -> dict[int, int]:
        """Disk space by segment; other files there are ignored."""
        with os.scandir(self.segments.fd) as entries:
            return {
                int(entry.name): _entry_bytes(entry)
                for entry in entries
                if is_segment_name(entry.name) and entry.is_file(follow_symlinks=False)
            }

    def next_segment(self, taken: Iterable[int]) -> int:
        """A number that no segment has or had. The caller holds the lock."""
        number = 1 + max(self.newest_segment(), *taken, 0)
        os.pwrite(self._lock.fd, (number + 1).to_bytes(8, "little"), 0)
        return number

    def newest_segment(self) -> int:
        """The highest number that was given to a segment, as far as is known; it may be gone by now."""
        following = int.from_bytes(os.pread(self._lock.fd, 8, 0), "little")
        return following - 1 if 0 < following <= _SEGMENT_MAX else 0  # otherwise it is damaged, or there was none

    def spare_bytes(self) -> int:
        """How much of the disk may still be used: its free space less what is left to others."""
        stat = os.fstatvfs(self.main.fd)
        kept = min(stat.f_blocks * stat.f_frsize // FREE_SHARE_KEPT, FREE_BYTES_KEPT)
        return stat.f_bavail * stat.f_frsize - kept

    @contextmanager
    def locked(self, wait_s: float) -> Iterator[None]:
        """Hold the lock. Raises LockBusy when it is not free within `wait_s`."""
        deadline = time.monotonic() + wait_s
        while not try_lock(self._lock):
            if time.monotonic() >= deadline:
                raise LockBusy(errno.EAGAIN, "the cache is busy")
            time.sleep(_LOCK_POLL_S)
        try:
            yield
        finally:
            fcntl.flock(self._lock.fd, fcntl.LOCK_UN)


def try_lock(file: OwnedFile) -> bool:
    try:
        fcntl.flock(file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open_private(name: str, within: int | None) -> int:
    if within is not None:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=within)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        stat = os.fstat(fd)
        if stat.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "the cache directory belongs to another user", name)
        if stat.st_mode & 0o077:
            os.fchmod(fd, 0o700)
    except OSError:
        os.close(fd)
        raise
    return fd


def _entry_bytes(entry: os.DirEntry[str]) -> int:
    try:
        return _disk_bytes(entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return 0


def _disk_bytes(stat: os.stat_result) -> int:
    return stat.st_blocks * _BLOCK_BYTES
