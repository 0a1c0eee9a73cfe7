"""A directory that a version is written into, held by handle, so that nothing is ever written outside of it.

The directory may be shared with hostile others and the version may come from one: names are opened one by one below a handle,
links are never followed, and a file appears under its name by rename, complete.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Self

from artfs.errors import AlreadyExists
from artfs.model.digest import Digest
from artfs.model.names import check_file_name
from artfs.store.durable import storage_error
from artfs.vfs.ports import Bytes

COMPARE_BYTES = 1 << 20
DIRECTORY_MODE = 0o777
FILE_MODE = 0o666
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


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

    @classmethod
    def open(cls, root: Path) -> Self:
        """The directory `root`, created if it is absent; links on the way to it are the user's own."""
        with _reported(root):
            root.mkdir(parents=True, exist_ok=True)
            return cls(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), root)

    def share(self) -> Self:
        with self._lock:
            self._users += 1
        return self

    def close(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
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
            return Target(os.open(name, _DIRECTORY, dir_fd=self._fd), path)

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
        temporary = _temporary_name()
        mode = FILE_MODE | (0o111 if executable else 0)
        with self._placing(temporary, name):
            with open(os.open(temporary, _NEW, mode, dir_fd=self._fd), "wb", buffering=0) as file:
                for piece in pieces:
                    _write_all(file.fileno(), piece)
                os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))

    def write_link(self, name: str, target: str) -> None:
        """Make `name` a symbolic link, under the same conditions."""
        temporary = _temporary_name()
        with self._placing(temporary, name):
            os.symlink(target, temporary, dir_fd=self._fd)

    @contextmanager
    def _placing(self, temporary: str, name: str) -> Iterator[None]:
        """What the block makes under a temporary name comes to be `name`."""
        path = self.path / check_file_name(name)
        with _reported(path):
            try:
                yield
                os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            except BaseException as error:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=self._fd)
                if isinstance(error, IsADirectoryError):
                    raise AlreadyExists(
                        f"{path} is a directory where the version has a file",
                        hint="move it away, or choose another root",
                    ) from None
                raise

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None


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


def _write_all(fd: int, data: Bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _temporary_name() -> str:
    return f".artfs-{os.urandom(8).hex()}.tmp"


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, "write", path) from error
