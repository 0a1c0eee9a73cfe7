"""What the cache tells its users: plain records, printable."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from artfs.model.digest import ObjectKey
from artfs.model.sizes import format_size


class CacheInfo(NamedTuple):
    """The cache as it is.

    Attributes:
        size_bytes: what `du` says of its directory; space set aside by running processes is in it.
        object_count: objects held, of all projects and registries.
        segment_count: files they are in.
        pinned_count: of the objects, those a pin protects.
        pinned_bytes: what those occupy.
        pins: the scopes that are pinned, sorted.
        hits, misses: objects asked for since the cache was made or cleared, over all processes. A running
            process adds its own every half minute.
    """

    root: Path
    limit_bytes: int
    size_bytes: int
    object_count: int
    segment_count: int
    pinned_count: int
    pinned_bytes: int
    pins: list[str]
    hits: int
    misses: int


class PinInfo(NamedTuple):
    """What one pin protects: `object_count` objects, of which `held_count` are there now."""

    name: str
    object_count: int
    held_count: int


class CleanupPlan(NamedTuple):
    """Which objects a cleanup would remove: those not used since `keep_from_ns`, unless pinned.

    Attributes:
        limit_bytes: what the cache is to shrink to.
        size_bytes: what it occupies now.
        object_count: to be removed.
        freed_bytes: by removing them.
        keep_from_ns: objects last used then or later stay.
    """

    limit_bytes: int
    size_bytes: int
    object_count: int
    freed_bytes: int
    keep_from_ns: int

    @property
    def kept_bytes(self) -> int:
        return self.size_bytes - self.freed_bytes

    def __str__(self) -> str:
        if not self.object_count:
            return f"nothing to remove: the cache occupies {format_size(self.size_bytes)}"
        return f"remove the {self.object_count} least recently used objects, {format_size(self.freed_bytes)}"


class CleanupReport(NamedTuple):
    """What a cleanup did. `size_bytes` is what the cache occupies now."""

    object_count: int
    freed_bytes: int
    size_bytes: int


class VerifyReport(NamedTuple):
    """What `verify` found.

    Attributes:
        checked_count, checked_bytes: what was hashed.
        damaged: objects that were not what their digests say; they were removed.
        lost_count: objects that nothing tells the place of any more, because of damage between them; also removed.
    """

    checked_count: int
    checked_bytes: int
    damaged: list[ObjectKey]
    lost_count: int

    @property
    def damaged_count(self) -> int:
        return len(self.damaged) + self.lost_count
