"""Copies of files that were added to an artifact and are not logged yet, so that what happens to the originals does not matter.

They are in a directory of this process below the data directory, which goes with the process; those of killed ones are removed by
whoever comes next.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from artfs.errors import FileChanged
from artfs.store.durable import DIRECTORY_MODE, make_private, reported

COPY_ATTEMPTS = 3
COPY_BYTES = 1 << 20
_FICLONE = 0x40049409  # ioctl: share the blocks of another file, where the file system can


class Scratch:
    """A place for files of one artifact, made when first needed. Safe to use from several threads.

    A forked child makes one of its own: below its parent's, all children would give their files the same names.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._root: Path | None = None
        self._pid = 0
        self._remover: weakref.finalize[..., Scratch] | None = None
        self._count = 0

    def new_path(self) -> Path:
        """Where no file is yet. Raises StorageFailed."""
        with self._lock:
            if self._root is None or self._pid != os.getpid():
                self._root, self._pid = _make_root(), os.getpid()
                self._remover = weakref.finalize(self, _remove, self._root, self._pid)
            self._count += 1
            return self._root / str(self._count)

    def remove(self) -> None:
        """Remove the files now: an interrupt meanwhile is raised, which a finalizer would swallow."""
        if self._remover is not None:
            self._remover()

    def copy(self, source: str, report: Callable[[int], None]) -> Path:
        """A copy of a regular file, of one moment.

        Args:
            report: told how many bytes of it are copied, now and then.

        Raises FileChanged, StorageFull, StorageFailed, UnsupportedFile.
        """
        from artfs.client.source_file import opened, signature

        path = self.new_path()
        for _ in range(COPY_ATTEMPTS):
            with opened(source) as (fd, before), reported("write", path):
                with open(fd, "rb", closefd=False) as original, path.open("wb") as copy:
                    _copy(original, copy, report)
                if signature(fd) == before:
                    return path
        raise FileChanged(f"{source} changed while it was copied", hint="add it when nobody writes to it")


def _copy(original: BinaryIO, copy: BinaryIO, report: Callable[[int], None]) -> None:
    try:
        fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
    except OSError:
        original.seek(0)
        while block := original.read(COPY_BYTES):
            copy.write(block)
            report(copy.tell())


def _make_root() -> Path:
    from artfs.assemble import configured
    from artfs.fuse.process_records import process_started_ticks

    above = configured({}).data_dir / "adding"
    with reported("create", above):
        make_private(above)
        _sweep(above)
        root = above / f"{os.getpid()}-{process_started_ticks(os.getpid())}-{os.urandom(4).hex()}"
        root.mkdir(mode=DIRECTORY_MODE)
    return root


def _sweep(above: Path) -> None:
    """Remove what processes left behind that were killed."""
    from artfs.fuse.process_records import process_started_ticks

    for name in os.listdir(above):
        pid, _, rest = name.partition("-")
        ticks = rest.partition("-")[0]
        if pid.isdigit() and ticks.isdigit() and process_started_ticks(int(pid)) != int(ticks):
            shutil.rmtree(above / name, ignore_errors=True)


def _remove(root: Path, pid: int) -> None:
    if os.getpid() == pid:  # a forked child has what its parent has
        with suppress(OSError):
            shutil.rmtree(root)
