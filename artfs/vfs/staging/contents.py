"""Contents of a draft's files: one plain sparse file each, and which of them are open.

A file of a draft has a data file from its creation on, or content below and none until it is first written (`copy up`). All
handles of an inode share one descriptor, so descriptors are never more than handles. Owner: the event loop.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from artfs.model.content import FileContent
from artfs.store.durable import DIRECTORY_MODE, FILE_MODE, sync_directory
from artfs.vfs.staging.lower import Layout
from artfs.vfs.staging.turns import Turns

_TEMPORARY = "copying-"


@dataclass(slots=True)
class OpenInode:
    """A file that somebody has open: read from `fd`, or from `lower` until it is copied up.

    `written` is set by each opening for writing and each truncation; who releases the last writer takes it.
    """

    number: int
    fd: int = -1
    lower: FileContent | None = None
    layout: Layout = None
    handles: int = 0
    writers: int = 0
    written: bool = False
    opening: Turns = field(default_factory=Turns)


class DataFiles:
    """The data files of one draft, by inode number. Raises OSError."""

    def __init__(self, directory: Path) -> None:
        self._base = f"{directory}/data/"
        self._unsynced: set[str] = set()
        self._syncing = threading.Lock()

    def moved(self, directory: Path) -> None:
        """The draft's directory has another path now."""
        self._base = f"{directory}/data/"
        self._unsynced = {
            self._base,
            *(f"{self._base}{i:02x}" for i in range(256) if os.path.isdir(f"{self._base}{i:02x}")),
        }

    def path(self, number: int) -> Path:
        return Path(self._path(number))

    def create(self, number: int) -> int:
        """A new empty file, open for reading and writing."""
        path = self._path(number)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, FILE_MODE)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(os.path.dirname(path), DIRECTORY_MODE)
            self._unsynced.add(self._base)
            fd = os.open(path, flags, FILE_MODE)
        self._unsynced.add(os.path.dirname(path))
        return fd

    def open(self, number: int) -> int:
        try:
            return os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._lost(number) from None

    def stat(self, number: int) -> os.stat_result:
        try:
            return os.stat(self._path(number))
        except FileNotFoundError:
            raise self._lost(number) from None

    def remove(self, number: int) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path(number))

    def create_copy(self, number: int) -> int:
        """A file to copy into, which is nobody's until `publish_copy`."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return os.open(f"{self._base}{_TEMPORARY}{number:x}", flags, FILE_MODE)

    def publish_copy(self, number: int) -> None:
        path = self._path(number)
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(path), DIRECTORY_MODE)
        os.rename(f"{self._base}{_TEMPORARY}{number:x}", path)
        self._unsynced.update((self._base, os.path.dirname(path)))

    def drop_copy(self, number: int) -> None:
        with suppress(FileNotFoundError):
            os.unlink(f"{self._base}{_TEMPORARY}{number:x}")

    def sync_names(self) -> None:
        """Make the existence of all data files durable. In a thread: it fsyncs."""
        with self._syncing:  # who finds nothing to do must wait for who is doing it
            while self._unsynced:
                directory = self._unsynced.pop()
                try:
                    sync_directory(Path(directory))
                except BaseException:
                    self._unsynced.add(directory)
                    raise

    def sweep(self, numbers: Iterable[int]) -> None:
        """Delete what a crashed process left: half copies, and the files of `numbers`."""
        for name in os.listdir(self._base):
            if name.startswith(_TEMPORARY):
                os.unlink(self._base + name)
        for number in numbers:
            self.remove(number)

    def _path(self, number: int) -> str:
        return f"{self._base}{number & 0xFF:02x}/{number:x}"

    def _lost(self, number: int) -> OSError:
        return OSError(errno.EIO, f"the staged file {self._path(number)} is gone")


class OpenInodes:
    """Which inodes are open. Closes descriptors with their last handle."""

    def __init__(self) -> None:
        self._open: dict[int, OpenInode] = {}
        self._writing: set[int] = set()
        self._quiet = trio.Event()

    def get(self, number: int) -> OpenInode | None:
        return self._open.get(number)

    def hold(self, number: int) -> OpenInode:
        """The open inode, made if need be, with one handle more."""
        held = self._open.get(number)
        if held is None:
            held = self._open[number] = OpenInode(number)
        held.handles += 1
        return held

    def drop(self, held: OpenInode) -> None:
        held.handles -= 1
        if held.handles == 0:
            if held.fd >= 0:
                os.close(held.fd)
                held.fd = -1
            self._open.pop(held.number, None)

    def begin_writing(self, held: OpenInode) -> None:
        held.writers += 1
        self._writing.add(held.number)

    def end_writing(self, held: OpenInode) -> bool:
        """One writer less; whether it was the last one."""
        held.writers -= 1
        if held.writers == 0:
            self._writing.discard(held.number)
            if not self._writing:
                self._quiet.set()
                self._quiet = trio.Event()
        return held.writers == 0

    def writers(self) -> list[int]:
        """Numbers of the files open for writing."""
        return sorted(self._writing)

    async def wait_no_writers(self) -> None:
        while self._writing:
            await self._quiet.wait()
