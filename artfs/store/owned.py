"""Directories that belong to the process that made them for as long as it lives, however it ends: what is under way is in there.

Owner of each is who holds its file `lock` (flock), which the system lets go of with the process. Whoever comes later removes
those that nobody owns. Only names below a directory that is held open are used, and no links are followed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artfs.store.durable import DIRECTORY_MODE, FILE_MODE, reported

ATTEMPTS = 10  # to make one that nobody who tidies up takes for left
_LOCK = "lock"
_NAME = re.compile(r"\.artfs-[0-9a-f]{16}\.tmp")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class OwnedDirectory:
    """A new directory in the open directory `parent_fd`, for nobody but its user. It holds files and links only.

    Attributes:
        name: in its parent.
        fd: open until it is removed.

    Raises OSError.
    """

    def __init__(self, parent_fd: int) -> None:
        self._parent_fd = parent_fd
        for _ in range(ATTEMPTS):
            self.name = f".artfs-{os.urandom(8).hex()}.tmp"
            os.mkdir(self.name, DIRECTORY_MODE, dir_fd=parent_fd)
            try:
                if self._open():
                    return
            except FileNotFoundError:  # while it was nobody's, somebody tidied up
                continue
            except BaseException:
                with suppress(OSError):
                    os.rmdir(self.name, dir_fd=parent_fd)
                raise
        raise OSError(errno.EBUSY, "somebody else removes what is made here")

    def _open(self) -> bool:
        """Whether it is owned now."""
        self.fd = os.open(self.name, _DIRECTORY, dir_fd=self._parent_fd)
        try:
            self._lock_fd = os.open(_LOCK, _LOCK_FILE | os.O_CREAT | os.O_EXCL, FILE_MODE, dir_fd=self.fd)
        except BaseException:
            os.close(self.fd)
            raise
        if _lock(self._lock_fd) is not False and _is_lock(self._lock_fd, self.fd):
            return True
        self._close()
        return False

    def remove(self) -> None:
        """With all that is in it. What cannot be removed is left to who comes later."""
        with suppress(OSError):
            _remove(self._parent_fd, self.name, self.fd)
        self._close()

    def _close(self) -> None:
        os.close(self._lock_fd)
        os.close(self.fd)


class OwnedPart:
    """An owned directory in the directory `parent`, by its path. Raises StorageFull, StorageFailed."""

    def __init__(self, parent: Path) -> None:
        with reported("create a directory in", parent):
            self._fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._directory = OwnedDirectory(self._fd)
            except BaseException:
                os.close(self._fd)
                raise
        self.path = parent / self._directory.name

    def remove(self) -> None:
        """With all that is in it. Repeatable."""
        if self._fd >= 0:
            self._directory.remove()
            os.close(self._fd)
            self._fd = -1


@contextmanager
def owned_part(parent: Path) -> Iterator[Path]:
    """An owned directory for the block. Raises StorageFull, StorageFailed."""
    part = OwnedPart(parent)
    try:
        yield part.path
    finally:
        part.remove()


def is_owned(name: str) -> bool:
    """Whether that is what such a directory is called."""
    return _NAME.fullmatch(name) is not None


def remove_unowned(parent_fd: int) -> None:
    """Remove those in `parent_fd` that processes of this user left which are no more. Where locks do not work, none."""
    with suppress(OSError):
        for name in os.listdir(parent_fd):
            if is_owned(name):
                with suppress(OSError):
                    _remove_unowned(parent_fd, name)


def remove_unowned_in(parent: Path) -> None:
    """The same in the directory `parent`, if it is there."""
    with suppress(OSError):
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_unowned(fd)
        finally:
            os.close(fd)


def _remove_unowned(parent_fd: int, name: str) -> None:
    fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            return
        try:
            lock_fd = os.open(_LOCK, _LOCK_FILE, dir_fd=fd)
        except FileNotFoundError:
            os.rmdir(name, dir_fd=parent_fd)  # if it is empty: what else has no lock is nothing of this kind
            return
        try:
            if _lock(lock_fd) and _is_lock(lock_fd, fd):
                _remove(parent_fd, name, fd)
        finally:
            os.close(lock_fd)
    finally:
        os.close(fd)


def _lock(fd: int) -> bool | None:
    """Whether it is locked now; None where the file system has no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_lock(fd: int, directory_fd: int) -> bool:
    """Whether the file is the directory's lock, and was not removed before it was locked."""
    try:
        found = os.stat(_LOCK, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def _remove(parent_fd: int, name: str, fd: int) -> None:
    """By who holds the lock, which goes last."""
    for inside in os.listdir(fd):
        if inside != _LOCK:
            os.unlink(inside, dir_fd=fd)
    os.unlink(_LOCK, dir_fd=fd)
    os.rmdir(name, dir_fd=parent_fd)
