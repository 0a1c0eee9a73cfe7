"""What is fetched besides what is asked for: how much there may be of it at once, and what became of it.

Windows are widened only as far as what they bring can be kept: in the cache on disk, a part of which may hold what nobody asked
for yet, less of it once the cache is full. A cache that is full and keeps what it has takes nothing, so nothing is brought.
What is on this machine already is left out. Whatever is asked for later is told to the windows, which grow by it.

Owner of what is remembered: itself, under its lock.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from artfs.client.spans import Span
from artfs.client.windows import PackWindows
from artfs.model.digest import ObjectKey

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache

SHARE, FULL_SHARE = 1 / 2, 1 / 8  # of the cache, for what was not asked for yet, unless the cache is full, and if it is
OBJECTS_MAX = 65_536
LOOKED_FOR_EVERY = 16  # of a window's objects, one is looked for before the others are
_NOTHING = ("", 0)


class TakenAlong:
    """Args:
    cache: where it is kept; None for memory only.
    """

    def __init__(self, windows: PackWindows, cache: ObjectCache | None) -> None:
        self._windows = windows
        self._cache = cache
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, ObjectKey], tuple[str, int]] = {}  # pack and bytes, the oldest first
        self._waiting_bytes = 0

    def widen(self, project: str, spans: list[Span]) -> list[Span]:
        """`spans` with what they take along. Each is to be given to `end` when it was read, or could not be."""
        return self._windows.widen(project, spans, partial(self._lacking, project) if self._may_keep() else None)

    def arrived(self, project: str, span: Span, sound: Collection[ObjectKey]) -> None:
        """Those of a span's extras that were taken along are at hand now."""
        self._windows.arrived(span, kept=bool(sound))
        with self._lock:
            for key, location in span.extras:
                if key in sound:
                    self._forget(project, key)
                    self._waiting[project, key] = (span.url, location.stored_bytes)
                    self._waiting_bytes += location.stored_bytes
            while len(self._waiting) > OBJECTS_MAX:
                self._forget(*next(iter(self._waiting)))

    def used(self, project: str, key: ObjectKey) -> None:
        """An object at hand is asked for. Never blocks for long."""
        if not self._waiting:
            return
        with self._lock:
            url, stored_bytes = self._forget(project, key)
        if stored_bytes:
            self._windows.used(url, stored_bytes)

    def end(self, project: str, spans: Iterable[Span]) -> None:
        """What was asked for in `spans` had to be fetched: if it was taken along before, it was lost."""
        for span in spans:
            self._windows.arrived(span, kept=False)
            with self._lock:
                for key, _ in span.objects:
                    self._forget(project, key)

    def _forget(self, project: str, key: ObjectKey) -> tuple[str, int]:
        found = self._waiting.pop((project, key), _NOTHING)
        self._waiting_bytes -= found[1]
        return found

    def _may_keep(self) -> bool:
        """Whether what is taken along can be kept until it is asked for."""
        if self._cache is None:
            return True
        share = FULL_SHARE if self._cache.room.is_full else SHARE
        return self._cache.room.takes_more and self._waiting_bytes <= self._cache.limit_bytes * share

    def _lacking(self, project: str, keys: Sequence[ObjectKey]) -> Collection[ObjectKey]:
        """Those of the keys of a window that are not on this machine: all of them, if none of a few is there."""
        if self._cache is None or len(self._cache.absent(project, few := keys[::LOOKED_FOR_EVERY])) == len(few):
            return keys
        return self._cache.absent(project, keys)
