"""An opened pack as bytes at offsets, as a protocol, and the implementation over a local file.

What the bytes mean, and whether they are what they were, is for the reader of the pack to find out.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from artfs.store.durable import reported


class PackBytes(Protocol):
    """A pack that stays what it was when it was opened. A context manager that closes it.

    Attributes:
        label: what messages call it; no secrets.
        size_bytes: its length.
    """

    label: str
    size_bytes: int

    def pread(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer at the end. Raises StorageFailed, and DamagedPack if the store can tell."""

    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class LocalPackBytes:
    """The `PackBytes` of a file. Raises FileNotFoundError when there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = str(path)
        with reported("open the pack", path, missing_passes=True):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size_bytes = os.fstat(self._fd).st_size

    def pread(self, offset: int, length: int) -> bytes:
        with reported("read the pack", self.path):
            return os.pread(self._fd, length, offset)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
