"""Where a pack's bytes come from: ranges of local files, and later of URLs.

Knows nothing of objects. A source is asked for ranges and answers exactly so many bytes, or raises.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from artfs.errors import DamagedPack
from artfs.store.durable import storage_error

OPEN_PACKS_MAX = 64


class PackVanished(Exception):
    """The pack was rewritten or deleted since it was located: locate again."""


class PackSource(Protocol):
    def read(self, url: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises PackVanished, DamagedPack for a short pack, StorageFailed."""

    def close(self) -> None: ...


class LocalPacks:
    """Packs of an embedded registry, read in place. Owner of a bounded set of open files, least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _OpenPack] = OrderedDict()

    def read(self, url: str, offset: int, length: int) -> bytes:
        pack = self._borrow(url)
        try:
            return pack.read(offset, length)
        finally:
            self._give_back(pack)

    def close(self) -> None:
        with self._lock:
            packs, self._open = list(self._open.values()), OrderedDict()
            for pack in packs:
                pack.retired = True
                if not pack.users:
                    pack.close()

    def _borrow(self, url: str) -> _OpenPack:
        with self._lock:
            pack = self._open.get(url)
            if pack is None:
                pack = self._open[url] = _OpenPack(Path(url.removeprefix("file:")))
                while len(self._open) > OPEN_PACKS_MAX:
                    _, oldest = self._open.popitem(last=False)
                    oldest.retired = True
                    if not oldest.users:
                        oldest.close()
            else:
                self._open.move_to_end(url)
            pack.users += 1
            return pack

    def _give_back(self, pack: _OpenPack) -> None:
        with self._lock:
            pack.users -= 1
            if pack.retired and not pack.users:
                pack.close()


class _OpenPack:
    """An open pack file and how many threads are reading it now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.users = 0
        self.retired = False
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise PackVanished(str(path)) from None
        except OSError as error:
            raise storage_error(error, "open the pack", path) from error

    def read(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._fd, length, offset)
            while len(data) < length:
                more = os.pread(self._fd, length - len(data), offset + len(data))
                if not more:
                    raise DamagedPack(
                        f"the pack {self._path} ends before byte {offset + length}", hint="run artfs fsck"
                    )
                data += more
        except OSError as error:
            raise storage_error(error, "read the pack", self._path) from error
        return data

    def close(self) -> None:
        os.close(self._fd)
