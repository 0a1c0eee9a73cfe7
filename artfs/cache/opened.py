"""The opened files of one cache: its directory, index, segments and pins.

Owners: the set of opened segments has its lock; a segment stays open while anybody uses it, whoever drops it here. Whoever
notices that the index was replaced opens the new one. Raises OSError.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from cachetools import LRUCache

from artfs.cache.directory import CacheDirectory, try_lock
from artfs.cache.index import Index
from artfs.cache.layout import PINNED
from artfs.cache.pins import Pins
from artfs.cache.segment import Segment

SEGMENTS_OPEN_MAX = 256
LOCK_WAIT_S = 2.0


class LiveSegments:
    """Which segments exist, as of one look: those seen then, and any that may have come since. Numbers only rise."""

    __slots__ = ("_ids", "_newest")

    def __init__(self, ids: Iterable[int], newest: int) -> None:
        self._ids = set(ids)
        self._newest = max(newest, *self._ids, 0)

    def __contains__(self, id: object) -> bool:
        return id in self._ids or (isinstance(id, int) and id > self._newest)

    def add(self, id: int) -> None:
        self._ids.add(id)
        self._newest = max(self._newest, id)

    def discard(self, id: int) -> None:
        self._ids.discard(id)


class Opened:
    """A cache whose directory was found in order.

    Args:
        limit_bytes: of the whole cache: a small one begins with a small index.

    Attributes:
        live: the segments that exist, as of the last look.
        uses: segment, number, mark and time of what was used since the times of uses were last written.
    """

    def __init__(self, root: Path, limit_bytes: int, clock: Callable[[], int]) -> None:
        self._limit_bytes = limit_bytes
        self.directory = CacheDirectory(root)
        self.clock = clock
        self.pins = Pins(self.directory)
        self.live = LiveSegments((), 0)
        self._segments: LRUCache[int, Segment] = LRUCache(SEGMENTS_OPEN_MAX)
        self.uses: deque[tuple[Segment, int, int, int]] = deque()
        self._lock = threading.Lock()
        self.index = self.open_index()
        self.pins.refresh()
        self.refresh_live()

    def is_gone(self) -> bool:
        return self.directory.is_gone()

    def open_index(self) -> Index:
        """The index that is in place. If it is gone or damaged nothing can be found, and all starts anew."""
        index = Index.open(self.directory)
        if index is not None:
            return index
        with self.directory.locked(LOCK_WAIT_S):
            index = Index.open(self.directory)
            if index is not None:
                return index
            for id in self.directory.segment_sizes():
                segment = self.lockable(id)
                if segment is not None and try_lock(segment.file):
                    segment.discard(self.directory)
            return self.new_index()

    def new_index(self) -> Index:
        """An empty one in the place of what there is. The caller holds the directory's lock."""
        return Index.create(self.directory, self._limit_bytes)

    def notice_changes(self) -> None:
        """See pins that changed and an index that was replaced; two system calls when nothing did."""
        self.pins.refresh()
        if self.index.is_gone():
            self.index = self.open_index()
            self.refresh_live()

    def refresh_live(self) -> dict[int, int]:
        """Look which segments there are. Returns the disk space of each."""
        newest = self.directory.newest_segment()  # before looking: what comes meanwhile has a higher number
        sizes = self.directory.segment_sizes()
        self.live = LiveSegments(sizes, newest)
        with self._lock:
            for id in [id for id in self._segments if id not in sizes]:
                del self._segments[id]
        return sizes

    def segment(self, id: int) -> Segment | None:
        """None if it is gone."""
        with self._lock:
            segment = self._segments.get(id)
        if segment is None:
            segment = Segment.open(self.directory, id)
            if segment is not None:
                with self._lock:
                    self._segments[id] = segment
        return segment

    def segment_at_hand(self, id: int) -> Segment | None:
        """The same if it is open already."""
        with self._lock:
            return self._segments.get(id)

    def forget(self, id: int) -> None:
        with self._lock:
            self._segments.pop(id, None)

    def lockable(self, id: int) -> Segment | None:
        """A segment under a descriptor of its own, whose lock does not depend on readers."""
        return Segment.open(self.directory, id)

    def stamp_for(self, mark: int) -> int:
        """What to note as the time of a use now: pinned objects have none."""
        return self.stamp_at(mark, self.clock())

    def stamp_at(self, mark: int, time_ns: int) -> int:
        """The same for a use at another time."""
        return PINNED if self.pins and mark in self.pins else time_ns
