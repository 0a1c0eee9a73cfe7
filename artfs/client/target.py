"""A directory that a version is written into, held by handle, so that nothing is ever written outside of it.

The directory may be shared with hostile others and the version may come from one: names are opened one by one below a handle,
links are never followed, and a file appears under its name at once, complete. Until then it has no name, so that nothing is left
of a process that is killed. What takes another's place is first in a directory that goes with its process (store/owned.py), and
so is all where the file system has no nameless files: who writes here next removes what was left.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Self

from artfs.errors import AlreadyExists
from artfs.model.digest import Digest
from artfs.model.names import check_file_name
from artfs.store.durable import storage_error
from artfs.store.owned import OwnedDirectory, remove_unowned
from artfs.vfs.ports import Bytes

COMPARE_BYTES = 1 << 20
DIRECTORY_MODE = 0o777
FILE_MODE = 0o666
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMELESS = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)  # the last three of old kernels
_DESCRIPTORS = "/proc/self/fd"  # by which a nameless file gets a name


class Target:
    """An open directory, closed when its last user is done. Safe to use from several threads.

    Attributes:
        path: what it is called in messages.
    """

    def __init__(self, fd: int, path: Path) -> None:
        self.path = path
        self._fd = fd
        self._users = 1
        self._lock = threading.Lock()
        self._workshop: OwnedDirectory | None = None
        self._has_nameless = _has_descriptors()

    @classmethod
    def open(cls, root: Path) -> Self:
        """The directory `root`, created if it is absent; links on the way to it are the user's own."""
        with _reported(root):
            root.mkdir(parents=True, exist_ok=True)
            fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        remove_unowned(fd)
        return cls(fd, root)

    def share(self) -> Self:
        with self._lock:
            self._users += 1
        return self

    def close(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
        if self._workshop is not None:
            self._workshop.remove()
        os.close(self._fd)

    def subdirectory(self, name: str) -> Target:
        """The directory `name` here, created if it is absent. A file or link in its place is replaced."""
        path = self.path / check_file_name(name)
        with _reported(path):
            status = self._status(name)
            if status is not None and not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=self._fd)
                status = None
            if status is None:
                os.mkdir(name, DIRECTORY_MODE, dir_fd=self._fd)
            fd = os.open(name, _DIRECTORY, dir_fd=self._fd)
        if status is not None:
            remove_unowned(fd)
        return Target(fd, path)

    def has_link(self, name: str, target: str) -> bool:
        with _reported(self.path / name):
            status = self._status(name)
            return status is not None and stat.S_ISLNK(status.st_mode) and os.readlink(name, dir_fd=self._fd) == target

    def has_file(
        self, name: str, size_bytes: int, digest: Callable[[], Digest], executable: bool, mtime_ns: int
    ) -> bool:
        """Whether the file `name` has this content; then its executable bit and mtime are made to be these too.

        Args:
            digest: of the wanted content; only asked for when the length is right.
        """
        with _reported(self.path / name):
            status = self._status(name)
            if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != size_bytes:
                return False
            try:
                fd = os.open(name, _EXISTING, dir_fd=self._fd)
            except PermissionError:
                return False
            try:
                if _digest(fd) != digest():
                    return False
                _adjust(fd, executable, mtime_ns)
                return True
            finally:
                os.close(fd)

    def write_file(self, name: str, pieces: Iterable[Bytes], executable: bool, mtime_ns: int) -> None:
        """Make `name` a file of these contents, in place of whatever but a directory is there.

        Raises AlreadyExists for a directory, StorageFull, StorageFailed and what `pieces` raises.
        """
        mode = FILE_MODE | (0o111 if executable else 0)
        with self._placing(name):
            fd = self._open_nameless(mode)
            if fd is None:
                with self._replacing(name) as (workshop, made):
                    with open(os.open(made, _NEW, mode, dir_fd=workshop), "wb", buffering=0) as file:
                        _fill(file.fileno(), pieces, mtime_ns)
                return
            with open(fd, "wb", buffering=0):
                _fill(fd, pieces, mtime_ns)
                self._link(fd, name)

    def write_link(self, name: str, target: str) -> None:
        """Make `name` a symbolic link, under the same conditions."""
        with self._placing(name):
            try:
                os.symlink(target, name, dir_fd=self._fd)
            except FileExistsError:
                with self._replacing(name) as (workshop, made):
                    os.symlink(target, made, dir_fd=workshop)

    def _link(self, fd: int, name: str) -> None:
        """Give an open file without a name this one."""
        file = f"{_DESCRIPTORS}/{fd}"
        try:
            os.link(file, name, dst_dir_fd=self._fd, follow_symlinks=True)
        except FileExistsError:
            with self._replacing(name) as (workshop, made):
                os.link(file, made, dst_dir_fd=workshop, follow_symlinks=True)

    def _open_nameless(self, mode: int) -> int | None:
        """A new file without a name, on the file system of the directory; None if that has none."""
        if self._has_nameless:
            try:
                return os.open(".", _NAMELESS, mode, dir_fd=self._fd)
            except OSError as error:
                if error.errno not in _NO_NAMELESS:
                    raise
                self._has_nameless = False
        return None

    @contextmanager
    def _replacing(self, name: str) -> Iterator[tuple[int, str]]:
        """A directory and a free name in it: what the block makes there comes to be `name`, or is removed if that fails."""
        with self._lock:
            if self._workshop is None:
                self._workshop = OwnedDirectory(self._fd)
            workshop = self._workshop.fd
        made = os.urandom(8).hex()
        try:
            yield workshop, made
            os.rename(made, name, src_dir_fd=workshop, dst_dir_fd=self._fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(made, dir_fd=workshop)
            raise

    @contextmanager
    def _placing(self, name: str) -> Iterator[None]:
        path = self.path / check_file_name(name)
        with _reported(path):
            try:
                yield
            except IsADirectoryError:
                raise AlreadyExists(
                    f"{path} is a directory where the version has a file",
                    hint="move it away, or choose another root",
                ) from None

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None


@cache
def _has_descriptors() -> bool:
    return os.path.isdir(_DESCRIPTORS)


def _digest(fd: int) -> Digest:
    digest = sha256()
    while block := os.read(fd, COMPARE_BYTES):
        digest.update(block)
    return Digest(digest.digest())


def _adjust(fd: int, executable: bool, mtime_ns: int) -> None:
    status = os.fstat(fd)
    mode = stat.S_IMODE(status.st_mode)
    if executable != bool(mode & 0o111):
        os.fchmod(fd, mode | (mode & 0o444) >> 2 if executable else mode & ~0o111)
    if status.st_mtime_ns != mtime_ns:
        os.utime(fd, ns=(mtime_ns, mtime_ns))


def _fill(fd: int, pieces: Iterable[Bytes], mtime_ns: int) -> None:
    for piece in pieces:
        _write_all(fd, piece)
    os.utime(fd, ns=(mtime_ns, mtime_ns))


def _write_all(fd: int, data: Bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, "write", path) from error
