"""Mount points: what is mounted where, whether it still lives, making one ready, and taking it away.

Looking at a mount whose process is stuck blocks, so every look is made by a thread that can be left behind. Knows only the
operating system; must not import pyfuse3 or trio.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from artfs.errors import Busy, MachineNotReady, StorageFailed

FILESYSTEM_TYPE = "fuse.artfs"
LOOK_S = 5.0
UNMOUNT_S = 10.0
UNCACHED = "user.artfs.alive"  # the kernel knows no answer, so it asks the process
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED)  # the second if the process ends while it is asked
CONNECTIONS = Path("/sys/fs/fuse/connections")
_MNT_FORCE = 1  # umount(2)
_MOUNTINFO = Path("/proc/self/mountinfo")


class MountState(Enum):
    ABSENT = "absent"  # nothing is mounted there
    LIVE = "live"
    DEAD = "dead"  # the process behind it is gone
    STUCK = "stuck"  # does not answer in time


class _Mount(NamedTuple):
    """A line of mountinfo."""

    device: str
    path: str
    kind: str


def _mounts() -> Iterator[_Mount]:
    """All mounts of this process's namespace, the topmost at a path last."""
    for line in _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        yield _Mount(fields[2], _unescape(fields[4]), right.split(" ")[0])


def _topmost_at(path: Path) -> _Mount | None:
    return next((mount for mount in reversed([*_mounts()]) if mount.path == str(path)), None)


def mounted_at(path: Path) -> str | None:
    """The type of the file system mounted exactly at `path`, or None. Never touches the mount itself."""
    mount = _topmost_at(path)
    return None if mount is None else mount.kind


def device_of(path: Path) -> str | None:
    """The device number (`0:55`) of what is mounted exactly at `path`, or None. Never touches the mount itself."""
    mount = _topmost_at(path)
    return None if mount is None else mount.device


def mounts_of_artfs() -> list[Path]:
    """Where artfs is mounted, dead mounts included."""
    return [Path(mount.path) for mount in _mounts() if mount.kind == FILESYSTEM_TYPE]


def look_at(path: Path, timeout_s: float = LOOK_S) -> MountState:
    """Whether an artfs mount at `path` answers."""
    if mounted_at(path) is None:
        return MountState.ABSENT
    errors: list[OSError | None] = []

    def look() -> None:
        try:
            os.getxattr(path, UNCACHED)
            errors.append(None)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not errors:
        return MountState.STUCK
    error = errors[0]
    return MountState.DEAD if error is not None and error.errno in _DEAD else MountState.LIVE


def resolve(path: Path) -> Path:
    """`path` absolute, without symbolic links in its parents; the last component itself is never looked at."""
    absolute = path.expanduser().absolute()
    return absolute.parent.resolve() / absolute.name if absolute.name else absolute


def make_ready(path: Path) -> None:
    """Make `path` an empty directory that can be mounted on: created if absent, freed of a dead artfs mount.

    Raises Busy if something is mounted there or it is not an empty directory, StorageFailed if it cannot be made.
    """
    kind = mounted_at(path)
    if kind == FILESYSTEM_TYPE:
        state = look_at(path)
        if state is not MountState.DEAD:
            raise Busy(f"{path} is a mount of artfs already", hint=f"artfs umount {path}")
        unmount_now(path, lazy=True)
        kind = mounted_at(path)
    if kind is not None:
        raise Busy(f"{path} is a mount point of {kind} already", hint="choose another directory")
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise Busy(f"{path} is not empty", hint="choose an empty directory, or one that does not exist")
    except FileExistsError:
        raise Busy(f"{path} is not a directory", hint="choose another one") from None
    except NotADirectoryError:
        raise Busy(f"{path} is not in a directory", hint="choose another one") from None
    except OSError as error:
        raise StorageFailed(f"cannot use {path} as a mount point: {error.strerror}") from None


class Claim:
    """The right of one process at a time to mount at `path`: a lock on the directory beneath, which goes with its holders.

    Raises Busy if another process is mounting there or has mounted, StorageFailed if the directory cannot be opened. Processes
    forked from the holder share it. Holding it, or having held it, stands in nobody's way who unmounts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageFailed(f"cannot open {path}: {error.strerror}") from None
        try:
            self.take()
            if mounted_at(path) is not None:
                raise Busy(f"{path} is a mount point already", hint="artfs status")
        except BaseException:
            self.close()
            raise

    def take(self) -> None:
        """Claim it again. Raises Busy."""
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another process is mounting at {self._path} just now", hint="artfs status") from None
        except OSError:
            pass  # a file system without locks: mount points are checked all the same

    def release(self) -> None:
        """Let others mount there, for all processes that share this claim."""
        with suppress(OSError):
            fcntl.flock(self._directory, fcntl.LOCK_UN)

    def beneath(self) -> list[str]:
        """Names in the directory that the mount hides."""
        return sorted(os.listdir(self._directory))

    def close(self) -> None:
        os.close(self._directory)


def detach(path: Path, device: str) -> bool:
    """Detach what is mounted at `path`, in use or not, if it is the mount with this device number. Whether it was."""
    if not device or device_of(path) != device:
        return False
    unmount_now(path, lazy=True)
    return True


def abort_requests(path: Path, device: str) -> bool:
    """Have the kernel end all requests to the mount with this device number at `path`, which stays, dead. Whether it did.

    By the control file system of FUSE (for the mount's owner), or where that is not mounted by umount(2) (for root only).
    """
    if not device or device_of(path) != device:
        return False
    with suppress(OSError):
        (CONNECTIONS / device.partition(":")[2] / "abort").write_text("1")
        return True
    with suppress(OSError), _kept_in_use(path):
        kernel = ctypes.CDLL(None, use_errno=True)
        kernel.umount2(os.fsencode(path), _MNT_FORCE)
        return ctypes.get_errno() == errno.EBUSY
    return False


@contextmanager
def _kept_in_use(path: Path) -> Iterator[None]:
    """Nobody can unmount it meanwhile. Asks nothing of the mount itself."""
    file = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield
    finally:
        os.close(file)


def unmount_now(path: Path, *, lazy: bool = False) -> None:
    """Take the mount at `path` away. Raises Busy if it is in use, which `lazy` ignores; bounded in time."""
    try:
        done = subprocess.run(
            ["fusermount3", "-u", *(["-z"] if lazy else []), "--", str(path)],
            capture_output=True,
            text=True,
            timeout=UNMOUNT_S,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise MachineNotReady("fusermount3 is missing", hint="as root: apt-get install fuse3") from None
    except subprocess.TimeoutExpired:
        raise Busy(f"unmounting {path} takes too long", hint=f"artfs umount --lazy {path}") from None
    if done.returncode and mounted_at(path) is not None:
        reason = done.stderr.strip().removeprefix("fusermount3: ")
        raise Busy(f"cannot unmount {path}: {reason}", hint="end what uses it, or: artfs umount --lazy")


def _unescape(text: str) -> str:
    """The kernel writes blanks and backslashes in mountinfo as octal."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, character)
    return text
