"""Objects in memory: those used lately, and a part that stays while the cache on disk is full of what is as good.

Where a data set is read in epochs and fits nowhere, recency keeps exactly what is not needed next: see `cache.policy`. So half of
the memory may hold objects that the cache on disk did not take, and those stay until it takes in new ones again.

Not thread-safe; the owner serialises.
"""

from __future__ import annotations

from itertools import islice
from typing import Generic, TypeVar

from cachetools import LRUCache

from artfs.vfs.ports import Bytes

OVERHEAD_BYTES = 200  # of an object, besides its bytes
AHEAD_SHARE_MAX = 0.75  # of the memory, beyond which nothing is held that nobody asked for yet

_Name = TypeVar("_Name")


class ObjectMemory(Generic[_Name]):
    """Args:
    limit_bytes: of all that is held.
    kept_share: of that, what may stay at most.
    """

    def __init__(self, limit_bytes: int, kept_share: float = 0.0) -> None:
        self.limit_bytes = limit_bytes
        self._kept_bytes_max = int(limit_bytes * kept_share)
        self._recent: LRUCache[_Name, Bytes] = LRUCache(limit_bytes, getsizeof=_held_bytes)
        self._kept: dict[_Name, Bytes] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self._recent) + len(self._kept)

    def __contains__(self, name: object) -> bool:
        return name in self._recent or name in self._kept

    @property
    def size_bytes(self) -> int:
        return int(self._recent.currsize) + self._kept_bytes

    def get(self, name: _Name) -> Bytes | None:
        data = self._recent.get(name)
        return self._kept.get(name) if data is None and self._kept else data

    def keeps(self, name: _Name) -> bool:
        """Whether it stays."""
        return name in self._kept

    def add(self, name: _Name, data: Bytes) -> None:
        """What is used now; the least recently used makes room."""
        if _held_bytes(data) <= self.limit_bytes - self._kept_bytes_max and name not in self._kept:
            self._recent[name] = data
            self._make_room()

    def add_ahead(self, name: _Name, data: Bytes) -> None:
        """What nobody asked for yet, if there is room to spare: it displaces nothing."""
        if name not in self and self.size_bytes + _held_bytes(data) <= self.limit_bytes * AHEAD_SHARE_MAX:
            self._recent[name] = data

    def keep(self, name: _Name, data: Bytes) -> None:
        """What is to stay, if there is room."""
        if name not in self._kept and self._kept_bytes + _held_bytes(data) <= self._kept_bytes_max:
            self._kept[name] = data
            self._kept_bytes += _held_bytes(data)
            self._recent.pop(name, None)
            self._make_room()

    def keep_fewer(self, count: int) -> None:
        """So many of what stays need not stay any longer; those first that were kept first."""
        for name in list(islice(self._kept, count)):
            self._kept_bytes -= _held_bytes(self._kept.pop(name))

    def _make_room(self) -> None:
        while self.size_bytes > self.limit_bytes:
            self._recent.popitem()

    def drop(self, name: _Name) -> None:
        self._recent.pop(name, None)


def _held_bytes(data: Bytes) -> int:
    return len(data) + OVERHEAD_BYTES
