"""What to fetch besides what is asked for from a far pack, so that one request serves many objects.

Objects that were stored together are read together, in whatever order, and a request costs a round trip. `density` judges from
the reads so far how large a window to fetch; this finds the objects in it, from the pack's index, and sees to it that nothing is
fetched twice. At the second read in a pack its end is looked at, which tells how large pack and index are; the index is fetched
when it is no more than INDEX_SHARE_MAX times what was asked for in the pack. It also tells where the other objects are, which
the registry need not be asked then. `allowance` bounds the bytes in all.

Where what was fetched is lost again before it is used (no cache, or a full one), fetching it would only repeat: a read in a
window that was fetched before sets the pack back, and ends all taking along for a while, longer with each time.

Owner of everything mutable: `PackWindows`, under its lock, never held while anything is fetched.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from artfs.client.allowance import Allowance
from artfs.client.density import WINDOW_BYTES_MAX, Density, PackReads
from artfs.client.pack_source import PackSource, PackVanished
from artfs.client.spans import Span
from artfs.errors import ArtfsError
from artfs.model.digest import ObjectKey
from artfs.model.pack import FOOTER_BYTES, PackedObject, decode_places, index_place
from artfs.vfs.ports import Bytes
from artfs.wire.records import Location

INDEX_SHARE_MAX = 2
END_BYTES = 8 << 10  # of a pack, looked at first: holds the index of 200 objects
INDEX_BYTES_MAX = 4 << 20
INDEXED_OBJECTS_MAX = 150_000  # in all indexes held; about 400 bytes each
INDEXES_MAX = 256  # each is asked for the place of an object
PACKS_MAX = 4096
LACKING_SHARE_MIN = 0.6  # of a window, which is not fetched if more of it is on this machine
PAUSE_READS_FIRST, PAUSE_READS_MAX = 64, 8192  # for which nothing is taken along once something was lost
PAUSE_HALVED_BY = 1024  # objects used that had been taken along

Lacking = Callable[[Sequence[ObjectKey]], Collection[ObjectKey]]
"""Those of some objects that are not on this machine."""

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
    """What is remembered of a pack.

    Attributes:
        url: the newest that was told.
        fetched, coming: windows, as (start, end).
        index_place: offset and length of its index, once its end was looked at.
    """

    __slots__ = ("coming", "fetched", "index_place", "project", "reads", "url")

    def __init__(self, project: str, url: str) -> None:
        self.project = project
        self.url = url
        self.reads = PackReads()
        self.fetched: list[tuple[int, int]] = []
        self.coming: list[tuple[int, int]] = []
        self.index_place: tuple[int, int] | None = None


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
        self._density = Density(window_bytes_max)
        self._lock = threading.Lock()
        self._packs: OrderedDict[str, _Pack] = OrderedDict()  # like the next: the most recently used last
        self._indexes: OrderedDict[str, _Index] = OrderedDict()
        self._indexed_objects = 0
        self._indexing: set[str] = set()
        self._pause_reads, self._next_pause_reads, self._used_objects = 0, PAUSE_READS_FIRST, 0

    def place(self, project: str, key: ObjectKey) -> Location | None:
        """Where a chunk or recipe of the project is, if it is in a pack whose index is at hand."""
        with self._lock:
            for name, index in self._indexes.items():
                placed = index.by_key.get(key)
                pack = self._packs.get(name) if placed is not None else None
                if placed is not None and pack is not None and pack.project == project:
                    return _location(pack.url, placed)
        return None

    def forget(self, url: str) -> None:
        """The pack is gone, or its URL is no longer valid."""
        with self._lock:
            self._drop(_name_of(url))

    def used(self, url: str, size_bytes: int) -> None:
        """Something that was taken along from the pack at `url` has been asked for."""
        self._allowance.used(size_bytes)
        with self._lock:
            pack = self._packs.get(_name_of(url))
            if pack is not None:
                self._density.used(pack.reads, size_bytes)
            self._used_objects += 1
            if self._used_objects % PAUSE_HALVED_BY == 0:
                self._next_pause_reads = max(PAUSE_READS_FIRST, self._next_pause_reads // 2)

    def widen(self, project: str, spans: list[Span], lacking: Lacking | None) -> list[Span]:
        """`spans` with what they should take along; those that fall into another's window are united with it.

        Each is to be given to `arrived` when it has been read, or could not be.

        Args:
            lacking: tells what is not on this machine yet; None if there is no room for what is taken along: nothing is.
        """
        widened: list[Span] = []
        for span in spans:
            last = widened[-1] if widened else None
            if last is not None and last.extras and last.url == span.url and span.end <= last.end:
                wanted = {key for key, _ in span.objects}
                last.objects += span.objects
                last.extras = [extra for extra in last.extras if extra[0] not in wanted]
                continue
            self._widen(project, span, lacking)
            widened.append(span)
        return widened

    def arrived(self, span: Span, *, kept: bool) -> None:
        """A span that was widened has been read; `kept` if what it took along is sound and at hand."""
        with self._lock:
            pack = self._packs.get(_name_of(span.url))
            if pack is not None and span.window in pack.coming:
                pack.coming.remove(span.window)
                if kept:
                    pack.fetched.append(span.window)

    def _widen(self, project: str, span: Span, lacking: Lacking | None) -> None:
        name = _name_of(span.url)
        length = sum(location.stored_bytes for _, location in span.objects)
        self._allowance.used(length)
        with self._lock:
            pack = self._noted(project, name, span, length)
        index = self._index(name, pack, span.url)
        if index is None or lacking is None:
            return
        own = (span.offset, span.end)
        with self._lock:
            if self._pause_reads:
                self._pause_reads -= 1
            elif not _is_within(span.offset, span.end, pack.coming):  # else whoever fetches that was first
                self._take_along(pack, index, span, length)
        if span.extras:
            _leave_out_held(span, own, lacking)

    def _noted(self, project: str, name: str, span: Span, length: int) -> _Pack:
        """Count a read. Under the lock."""
        pack = self._packs.get(name)
        if pack is None:
            pack = self._packs[name] = _Pack(project, span.url)
            while len(self._packs) > PACKS_MAX:
                self._drop(next(iter(self._packs)))
        self._packs.move_to_end(name)
        pack.url = span.url
        if _is_within(span.offset, span.end, pack.fetched):
            self._density.lost(pack.reads)
            pack.fetched = []
            if not self._pause_reads:
                self._pause_reads = self._next_pause_reads
                self._next_pause_reads = min(2 * self._pause_reads, PAUSE_READS_MAX)
        self._density.asked(pack.reads, span.offset, length)
        return pack

    def _take_along(self, pack: _Pack, index: _Index, span: Span, length: int) -> None:
        """Widen `span` to the window that it is worth. Under the lock."""
        start, end = self._density.window(pack.reads, span.offset, span.end - span.offset)
        at_hand = pack.fetched + pack.coming
        wanted = {key for key, _ in span.objects}
        extras = [
            placed
            for placed in index.within(start, end)
            if placed.key not in wanted and not _is_within(placed.offset, placed.offset + placed.stored_bytes, at_hand)
        ]
        if not extras:
            return
        offset = min(span.offset, extras[0].offset)
        end = max(span.end, extras[-1].offset + extras[-1].stored_bytes)
        if self._allowance.take(max(0, end - offset - length)):
            span.extras = [(placed.key, _location(span.url, placed)) for placed in extras]
            span.offset, span.end = span.window = offset, end
            pack.coming.append(span.window)

    def _index(self, name: str, pack: _Pack, url: str) -> _Index | None:
        """The pack's index, if it is at hand or worth fetching; an empty one if it cannot be had."""
        with self._lock:
            index = self._indexes.get(name)
            if index is not None:
                self._indexes.move_to_end(name)
                return index
            size_bytes = END_BYTES if pack.index_place is None else pack.index_place[1] + FOOTER_BYTES
            due = pack.reads.reads > 1 if pack.index_place is None else _is_worth_fetching(pack)
            if not due or name in self._indexing or not self._allowance.take(size_bytes):
                return None
            self._indexing.add(name)
        objects: list[PackedObject] | None = []
        try:
            objects = self._fetch_index(pack, url)
        except (ArtfsError, PackVanished) as error:  # reading goes on without, and meets what is wrong itself
            _log.debug("no index of %s: %s", name, error)
        finally:
            index = self._keep_index(name, pack, objects)
        return index

    def _keep_index(self, name: str, pack: _Pack, objects: list[PackedObject] | None) -> _Index | None:
        index = None if objects is None else _Index(objects) if objects else _NO_INDEX
        with self._lock:
            self._indexing.discard(name)
            if self._packs.get(name) is pack and pack.index_place is not None:
                self._density.reaches(pack.reads, pack.index_place[0])
            if index is not None:
                self._indexes[name] = index
                self._indexed_objects += len(index.objects)
            while self._indexed_objects > INDEXED_OBJECTS_MAX or len(self._indexes) > INDEXES_MAX:
                self._drop_index(next(iter(self._indexes)))
        return index

    def _drop(self, name: str) -> None:
        """Forget a pack. Under the lock."""
        pack = self._packs.pop(name, None)
        if pack is not None:
            self._density.forget(pack.reads)
        self._drop_index(name)

    def _drop_index(self, name: str) -> None:
        index = self._indexes.pop(name, None)
        self._indexed_objects -= 0 if index is None else len(index.objects)

    def _fetch_index(self, pack: _Pack, url: str) -> list[PackedObject] | None:
        """What is in the pack: nothing if its index is too large, None if that is not worth fetching yet."""
        end = b""
        if pack.index_place is None:
            end = bytes(self._source.read_end(url, END_BYTES))
            pack.index_place = index_place(end[-FOOTER_BYTES:])
        offset, length = pack.index_place
        if length > INDEX_BYTES_MAX:
            return []
        missing = length + FOOTER_BYTES - len(end)
        if missing > 0:
            if not _is_worth_fetching(pack) or not self._allowance.take(missing):
                return None
            end = bytes(self._source.read(url, offset, missing)) + end
        return decode_places(end[len(end) - length - FOOTER_BYTES : len(end) - FOOTER_BYTES])


def _is_worth_fetching(pack: _Pack) -> bool:
    return pack.index_place is not None and pack.index_place[1] <= INDEX_SHARE_MAX * pack.reads.asked_bytes


def _leave_out_held(span: Span, own: tuple[int, int], lacking: Lacking) -> None:
    """Narrow a widened span, which was `own`, to what is not on this machine yet, if that is most of it."""
    keys = lacking([key for key, _ in span.extras])
    if len(keys) == len(span.extras):
        return
    extras = [(key, location) for key, location in span.extras if key in keys]
    start = min([own[0], *(location.offset for _, location in extras)])
    end = max([own[1], *(location.offset + location.stored_bytes for _, location in extras)])
    if sum(location.stored_bytes for _, location in extras) < (end - start) * LACKING_SHARE_MIN:
        extras, start, end = [], *own
    span.extras, span.offset, span.end = extras, start, end


def _is_within(start: int, end: int, windows: list[tuple[int, int]]) -> bool:
    return any(first <= start and end <= last for first, last in windows)


def _name_of(url: str) -> str:
    """What stays the same in a pack's URL when it is signed anew."""
    return url.partition("?")[0]


def _location(url: str, placed: PackedObject) -> Location:
    return Location(placed.size_bytes, placed.codec, url, placed.offset, placed.stored_bytes, 0)
