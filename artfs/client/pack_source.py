"""Where a pack's bytes come from: ranges of local files, of packs that only their store can read, or of URLs.

Knows nothing of objects. A source is asked for ranges and answers exactly so many bytes, or raises.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from artfs.errors import DamagedPack, StorageFailed
from artfs.model.digest import Digest, ObjectKey
from artfs.store.durable import storage_error
from artfs.store.packs import PackName, PackStore
from artfs.vfs.ports import Bytes
from artfs.wire.records import Location


class PackVanished(Exception):
    """The pack was rewritten or deleted since it was located: locate again."""


Places = Sequence[tuple[int, int]]
"""Offsets and lengths, each behind the end of the one before, and close to it."""


class PackSource(Protocol):
    def read(self, url: str, offset: int, length: int) -> Bytes:
        """Exactly `length` bytes. Raises PackVanished, DamagedPack for a short pack, StorageFailed."""

    def read_pieces(self, url: str, places: Places) -> list[Bytes]:
        """The bytes at each of `places`, read at once, each in memory of its own. Raises what `read` raises."""

    def close(self) -> None: ...


class RecipeSource(Protocol):
    """Large files' recipes where a round trip is dear."""

    def read_with_chunks(
        self, project: str, recipe: Digest, offset: int, length: int
    ) -> list[tuple[ObjectKey, Location, Bytes]]:
        """A recipe and chunks of a part of its file, perhaps not all, as they are stored; nothing where that cannot be had."""


class LocalPacks:
    """Packs of an embedded registry, read in place.

    A pack is opened for every range: that costs 5 µs, and a descriptor kept would keep the space of a deleted pack, and
    need a look at the file before each use, which costs as much.
    """

    def read(self, url: str, offset: int, length: int) -> bytes:
        path = url.removeprefix("file:")
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise PackVanished(path) from None
        except OSError as error:
            raise storage_error(error, "open the pack", Path(path)) from error
        try:
            return _read(fd, path, offset, length)
        except OSError as error:
            raise storage_error(error, "read the pack", Path(path)) from error
        finally:
            os.close(fd)

    def read_pieces(self, url: str, places: Places) -> list[Bytes]:
        return [self.read(url, offset, length) for offset, length in places]

    def close(self) -> None:
        pass


class StoredPacks:
    """Packs that are read through the registry's own store: `store:PROJECT_UID/PACK_ID`, in hexadecimal."""

    def __init__(self, store: PackStore) -> None:
        self._store = store

    def read(self, url: str, offset: int, length: int) -> bytes:
        uid, _, pack_id = url.removeprefix("store:").partition("/")
        try:
            data = self._store.read(PackName(bytes.fromhex(uid), bytes.fromhex(pack_id)), offset, length)
        except FileNotFoundError:
            raise PackVanished(url) from None
        if len(data) != length:
            raise DamagedPack(f"the pack {pack_id} ends before byte {offset + length}", hint="run artfs fsck")
        return data

    def read_pieces(self, url: str, places: Places) -> list[Bytes]:
        return [self.read(url, offset, length) for offset, length in places]

    def close(self) -> None:
        pass


class PackSources:
    """Several sources as one, chosen by what comes before the URL's first colon. They are closed with it."""

    def __init__(self, sources: Mapping[str, PackSource]) -> None:
        self._sources = sources

    def read(self, url: str, offset: int, length: int) -> Bytes:
        return self._source(url).read(url, offset, length)

    def read_pieces(self, url: str, places: Places) -> list[Bytes]:
        return self._source(url).read_pieces(url, places)

    def _source(self, url: str) -> PackSource:
        scheme = url.partition(":")[0]
        source = self._sources.get(scheme)
        if source is None:
            raise StorageFailed(
                f"a pack is at a URL that begins {scheme!r}, which cannot be read here", hint="upgrade artfs"
            )
        return source

    def close(self) -> None:
        for source in self._sources.values():
            source.close()


def _read(fd: int, path: str, offset: int, length: int) -> bytes:
    data = os.pread(fd, length, offset)
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise DamagedPack(f"the pack {path} ends before byte {offset + length}", hint="run artfs fsck")
        data += more
    return data
