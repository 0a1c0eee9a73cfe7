"""How much to fetch around what is asked for from a far pack: the more of a pack is read, the larger the piece.

Objects that were stored together are read together, in whatever order, and a request costs a round trip. The first read in a
pack fetches just what was asked for. From the second on the pack's index is known, and a read takes along the aligned window
that it falls into, four times larger with each further read, up to WINDOW_BYTES_MAX. So a pack that is read here and there costs
little, and one that is read through costs a few requests.

Where what was fetched is lost again before it is used (no cache, or a full one), fetching it would only repeat: a read in a
window that was fetched before sets the pack back to single objects, and halves its growth for good. `allowance` bounds the bytes.

Owner of everything mutable: `PackWindows`, under its lock, never held while anything is fetched.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections import OrderedDict
from concurrent.futures import Future
from typing import Protocol

from cachetools import LRUCache

from artfs.client.allowance import Allowance
from artfs.client.pack_source import PackSource, PackVanished
from artfs.client.spans import Span
from artfs.errors import ArtfsError, DamagedPack
from artfs.model.digest import ObjectKey
from artfs.model.pack import FOOTER_BYTES, PackedObject, decode_places, index_place
from artfs.vfs.ports import Bytes
from artfs.wire.records import Location

WINDOW_BYTES_MAX = 8 << 20
WINDOW_BYTES_FIRST = 256 << 10
WINDOW_GROWTH = 4
INDEX_READ_BYTES = 192 << 10  # the end of a pack that is fetched for its index, which is mostly all of it
INDEX_BYTES_MAX = 4 << 20
INDEXED_OBJECTS_MAX = 150_000  # in all indexes held; about 400 bytes each
INDEXES_MAX = 256  # each is asked for the place of an object
PACKS_MAX = 4096
SETBACKS_MAX = 8

_log = logging.getLogger(__name__)


class FarPackSource(PackSource, Protocol):
    """Where a request costs a round trip."""

    def read_end(self, url: str, length: int) -> Bytes:
        """The last `length` bytes of a pack, or all of a shorter one."""


class _Index:
    """What is in a pack, by key and by offset."""

    def __init__(self, objects: list[PackedObject]) -> None:
        self.objects = objects
        self.starts = [placed.offset for placed in objects]
        self.by_key = {placed.key: placed for placed in objects}

    def within(self, start: int, end: int) -> list[PackedObject]:
        """The objects that begin between two offsets: each is in one window of a size, though it may reach beyond it."""
        return self.objects[bisect_left(self.starts, start) : bisect_left(self.starts, end)]


_NO_INDEX = _Index([])


class _Pack:
    """What is remembered of a pack's reads. `fetched` are windows, as (start, end); `url` is the newest that was told."""

    __slots__ = ("fetched", "project", "reads", "setbacks", "url")

    def __init__(self, project: str) -> None:
        self.project = project
        self.url = ""
        self.reads = 0
        self.setbacks = 0
        self.fetched: list[tuple[int, int]] = []


class PackWindows:
    """Widens what is about to be read from `source`.

    Args:
        window_bytes_max: less where little can be kept.
        allowance: bounds what is taken along in all.
    """

    def __init__(
        self,
        source: FarPackSource,
        window_bytes_max: int = WINDOW_BYTES_MAX,
        allowance: Allowance | None = None,
    ) -> None:
        self._source = source
        self._allowance = allowance or Allowance()
        self._window_bytes_max = window_bytes_max
        self._lock = threading.Lock()
        self._packs: LRUCache[str, _Pack] = LRUCache(PACKS_MAX)
        self._indexes: OrderedDict[str, _Index] = OrderedDict()  # the most recently used last
        self._indexed_objects = 0
        self._coming: dict[str, Future[_Index]] = {}

    def place(self, project: str, key: ObjectKey) -> Location | None:
        """Where a chunk or recipe of the project is, if it is in a pack whose index is at hand."""
        with self._lock:
            for pack, index in self._indexes.items():
                placed = index.by_key.get(key)
                held = self._packs.get(pack) if placed is not None else None
                if placed is not None and held is not None and held.project == project:
                    return _location(held.url, placed)
        return None

    def forget(self, url: str) -> None:
        """The pack is gone, or its URL is no longer valid."""
        pack = _pack_of(url)
        with self._lock:
            self._packs.pop(pack, None)
            self._drop_index(pack)

    def _drop_index(self, pack: str) -> None:
        index = self._indexes.pop(pack, None)
        self._indexed_objects -= 0 if index is None else len(index.objects)

    def used(self, size_bytes: int) -> None:
        """Something that was taken along has been asked for."""
        self._allowance.used(size_bytes)

    def widen(self, project: str, spans: list[Span]) -> list[Span]:
        """`spans` with what they should take along; those that fall into another's window are united with it."""
        widened: list[Span] = []
        for span in spans:
            last = widened[-1] if widened else None
            if last is not None and last.extras and last.url == span.url and span.end <= last.end:
                wanted = {key for key, _ in span.objects}
                last.objects += span.objects
                last.extras = [extra for extra in last.extras if extra[0] not in wanted]
                continue
            self._widen(project, span)
            widened.append(span)
        return widened

    def _widen(self, project: str, span: Span) -> None:
        pack = _pack_of(span.url)
        self._allowance.used(sum(location.stored_bytes for _, location in span.objects))
        size_bytes = self._size_for(project, pack, span)
        if size_bytes <= span.end - span.offset:
            return
        index = self._index(pack, span.url)
        size_bytes = min(size_bytes, self._allowance.spare_bytes)
        if index is None or size_bytes <= span.end - span.offset:
            return
        start = span.offset - span.offset % size_bytes
        wanted = {key for key, _ in span.objects}
        around = index.within(start, max(start + size_bytes, span.end))
        with self._lock:
            held = self._packs.get(pack)
            fetched = [] if held is None else list(held.fetched)
        extras = [
            placed
            for placed in around
            if placed.key not in wanted and not _is_within(placed.offset, placed.offset + placed.stored_bytes, fetched)
        ]
        if not extras:
            return
        offset = min(span.offset, extras[0].offset)
        end = max(span.end, extras[-1].offset + extras[-1].stored_bytes)
        if not self._allowance.take((end - offset) - (span.end - span.offset)):
            return
        span.extras = [(placed.key, _location(span.url, placed)) for placed in extras]
        span.offset, span.end = offset, end
        with self._lock:
            held = self._packs.get(pack)
            if held is not None:
                held.fetched.append((span.offset, span.end))

    def _size_for(self, project: str, pack: str, span: Span) -> int:
        """Count a read, and tell how large its window is to be; 0 for none."""
        with self._lock:
            held = self._packs.get(pack)
            if held is None:
                held = self._packs[pack] = _Pack(project)
            held.url = span.url
            if _is_within(span.offset, span.end, held.fetched):
                held.setbacks = min(held.setbacks + 1, SETBACKS_MAX)
                held.reads, held.fetched = 0, []
            held.reads += 1
            level = (held.reads >> held.setbacks) - 2
            if level < 0:
                return 0
            wanted: int = WINDOW_BYTES_FIRST * WINDOW_GROWTH ** min(level, 8)
            return min(wanted, self._window_bytes_max)

    def _index(self, pack: str, url: str) -> _Index | None:
        """The pack's index, fetched by one thread for all; an empty one if it cannot be had, None if it costs too much now."""
        with self._lock:
            index = self._indexes.get(pack)
            if index is not None:
                self._indexes.move_to_end(pack)
                return index
            coming = self._coming.get(pack)
            if coming is None and not self._allowance.take(INDEX_READ_BYTES):
                return None
            if coming is None:
                mine = self._coming[pack] = Future()
        if coming is not None:
            return coming.result()
        index = _NO_INDEX
        try:
            index = _Index(self._fetch_index(url))
        except (ArtfsError, PackVanished) as error:  # reading goes on without, and meets what is wrong itself
            _log.debug("no index of %s: %s", pack, error)
        finally:
            with self._lock:
                del self._coming[pack]
                self._indexes[pack] = index
                self._indexed_objects += len(index.objects)
                while self._indexed_objects > INDEXED_OBJECTS_MAX or len(self._indexes) > INDEXES_MAX:
                    self._drop_index(next(iter(self._indexes)))
            mine.set_result(index)
        return index

    def _fetch_index(self, url: str) -> list[PackedObject]:
        end = self._source.read_end(url, INDEX_READ_BYTES)
        length = index_place(bytes(end[-FOOTER_BYTES:]))[1]
        if length > INDEX_BYTES_MAX:
            return []
        wanted = length + FOOTER_BYTES
        if wanted > len(end):
            end = self._source.read_end(url, wanted)
        if len(end) < wanted:
            raise DamagedPack("a pack is shorter than its index")
        return decode_places(bytes(end[len(end) - wanted : len(end) - FOOTER_BYTES]))


def _is_within(start: int, end: int, windows: list[tuple[int, int]]) -> bool:
    return any(first <= start and end <= last for first, last in windows)


def _pack_of(url: str) -> str:
    """What stays the same in a pack's URL when it is signed anew."""
    return url.partition("?")[0]


def _location(url: str, placed: PackedObject) -> Location:
    return Location(placed.size_bytes, placed.codec, url, placed.offset, placed.stored_bytes, 0)
