"""What the operating system's errors mean, and writes that survive power loss.

Every file that artfs relies on after a crash is created here or by the same steps: write, fsync, rename or link, fsync the
directory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artfs.errors import StorageFailed, StorageFull, Unavailable

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

_FULL = {errno.ENOSPC: "the file system is full", errno.EDQUOT: "the disk quota is used up"}


def storage_error(error: OSError, doing: str, path: Path) -> Unavailable:
    """The artfs error that `error` means while `doing` something to `path`."""
    full = _FULL.get(error.errno or 0)
    if full is not None:
        return StorageFull(f"cannot {doing} {path}: {full}", hint="free some space and try again")
    reason = error.strerror or str(error)
    return StorageFailed(f"cannot {doing} {path}: {reason}", hint="check the disk and the permissions of that path")


@contextmanager
def reported(doing: str, path: Path, *, missing_passes: bool = False) -> Iterator[None]:
    """Turn an OSError into StorageFull or StorageFailed saying what was done and where.

    Args:
        missing_passes: let FileNotFoundError through, for files that another process may have deleted.
    """
    try:
        yield
    except FileNotFoundError as error:
        if missing_passes:
            raise
        raise storage_error(error, doing, path) from error
    except OSError as error:
        raise storage_error(error, doing, path) from error


def make_private(path: Path) -> None:
    """Create the directory `path`, and what is missing above it, for nobody but its owner, whatever the umask. Raises OSError.

    One that is there stays as it is.
    """
    try:
        path.mkdir(mode=DIRECTORY_MODE)
    except FileNotFoundError:
        make_private(path.parent)
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    except FileExistsError:
        if not path.is_dir():
            raise


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by a file holding `data`, for nobody but its owner: all or nothing, not durably. Raises OSError.

    Its directory is made if need be.
    """
    make_private(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE), "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def sweep_private(path: Path, is_alive: Callable[[int], bool]) -> None:
    """Remove what `write_private` left beside `path` in processes that died within it. Raises OSError.

    Args:
        is_alive: whether there is a process of that number.
    """
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        writer = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if writer.isdecimal() and not is_alive(int(writer)):
            left.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make the names in `path` durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directories(path: Path, root: Path) -> None:
    """Create `path` below `root`, which exists, each new level durable and private to its owner. Raises OSError."""
    if path == root or path.is_dir():
        return
    make_directories(path.parent, root)
    with suppress(FileExistsError):
        path.mkdir(mode=DIRECTORY_MODE)
    sync_directory(path.parent)


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` by a file holding `data`, all or nothing and durably. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)
