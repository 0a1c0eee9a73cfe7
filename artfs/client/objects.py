"""Verified objects by key: memory first, then the cache on disk, then ranges of packs, a few large ones for many objects.

Whatever enters memory was decoded and hashed here; nothing unverified leaves. Owners of mutable things: each small cache its
lock; a load in flight belongs to the thread that began it, and others wait for that thread's result.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from itertools import takewhile
from typing import TYPE_CHECKING

from cachetools import LRUCache

from artfs.client.far_pages import Dates, FarPages, PageDates
from artfs.client.learned.replay import Replay
from artfs.client.pack_source import LocalPacks, PackSource, PackVanished
from artfs.client.spans import Span, coalesce
from artfs.client.windows import PackWindows
from artfs.errors import ArtfsError, DamagedObject, DamagedPack, ObjectMissing, ReferenceForbidden, Unavailable
from artfs.model import codec
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.reference import decode_reference
from artfs.model.tree import decode_page
from artfs.vfs.ports import Bytes, DatedPage, OpenReference
from artfs.wire.records import Location
from artfs.wire.service import KEYS_MAX, Registry
from artfs.wire.times import PageTimes

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache
    from artfs.client.learned.starts import Starts
    from artfs.client.references.reader import ReferenceReader

MEMORY_BYTES = 128 << 20
PAGE_ENTRIES_MAX = 400_000  # entries in all decoded pages held
LOCATIONS_MAX = 50_000  # in units of LOCATION_BYTES
LOCATION_BYTES = 512
LOCATE_ATTEMPTS = 3
AHEAD_MAX = 65_536  # objects taken along that are remembered until they are asked for
PARENTS_MAX = 65_536
BESIDE_MAX = 64  # pages whose places are asked for at once

_log = logging.getLogger(__name__)
_Name = tuple[str, ObjectKey]


class _OthersFailed(Exception):
    """A load of several objects failed: each is to be tried by itself."""


class ObjectReader:
    """An `ObjectSource` over a registry.

    Args:
        packs: where packs are read from.
        memory_bytes: bound on the decoded objects held.
        cache: consulted before packs are read, and filled from them; None for none.
        dates: where the times of tree pages are remembered besides; None for nowhere.
        windows: what to take along when packs are far; None for those at hand.
        references: reads what references refer to; None to follow none.
        far_pages: asked for directories that nothing is known of; None where that saves nothing.
        starts: what is learned of how programs start, to be fetched ahead; None to learn nothing.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        packs: PackSource | None = None,
        memory_bytes: int = MEMORY_BYTES,
        cache: ObjectCache | None = None,
        dates: PageDates | None = None,
        windows: PackWindows | None = None,
        references: ReferenceReader | None = None,
        starts: Starts | None = None,
        far_pages: FarPages | None = None,
    ) -> None:
        self._registry = registry
        self._far_pages = far_pages
        self._references = references
        self._packs = packs or LocalPacks()
        self._cache = cache
        self._dates = dates
        self._windows = windows
        self._lock = threading.Lock()
        self._memory: LRUCache[_Name, Bytes] = LRUCache(memory_bytes, getsizeof=lambda data: len(data) + 200)
        self._pages: LRUCache[tuple[str, Digest], DatedPage] = LRUCache(PAGE_ENTRIES_MAX, getsizeof=_page_weight)
        self._locations: LRUCache[_Name, Location] = LRUCache(LOCATIONS_MAX, getsizeof=_location_weight)
        self._loading: dict[_Name, Future[Bytes]] = {}
        self._ahead: dict[_Name, int] = {}  # bytes of what was taken along and not asked for yet; the oldest first
        self._parents: LRUCache[tuple[str, Digest], Digest] = LRUCache(PARENTS_MAX)  # of pages that are far
        self._fetched_ranges = self._fetched_bytes = 0
        self.replay = None if starts is None else Replay(starts, _Fetching(self))

    def close(self) -> None:
        if self.replay is not None:
            self.replay.close()
        self._packs.close()
        if self._cache is not None:
            self._cache.close()

    def status(self) -> dict[str, int]:
        """Numbers for `artfs status`."""
        with self._lock:
            return {
                "objects": len(self._memory),
                "bytes": int(self._memory.currsize),
                "limit_bytes": int(self._memory.maxsize),
                "pages": len(self._pages),
                "loading": len(self._loading),
                "fetched_ranges": self._fetched_ranges,
                "fetched_bytes": self._fetched_bytes,
            }

    def read(self, project: str, key: ObjectKey) -> Bytes:
        """Raises ObjectMissing, DamagedObject, Unavailable."""
        return self.read_many(project, [key])[0]

    def peek(self, project: str, key: ObjectKey) -> Bytes | None:
        with self._lock:
            data = self._memory.get((project, key))
            if data is not None and self._ahead:
                self._use(project, key)
            return data

    def read_many(self, project: str, keys: Sequence[ObjectKey]) -> list[Bytes]:
        if self.replay is not None:
            self.replay.asked(project, keys)
            self.replay.missed(project, keys)
        found: dict[ObjectKey, Bytes] = {}
        waiting: dict[ObjectKey, Future[Bytes]] = {}
        mine: dict[ObjectKey, Future[Bytes]] = {}
        with self._lock:
            for key in dict.fromkeys(keys):
                name = (project, key)
                data = self._memory.get(name)
                if data is not None:
                    found[key] = data
                    self._use(project, key)
                elif name in self._loading:
                    waiting[key] = self._loading[name]
                else:
                    self._loading[name] = mine[key] = Future()
        if mine:
            found.update(self._load_mine(project, mine))
        for key, future in waiting.items():
            try:
                found[key] = future.result()
            except _OthersFailed:  # something else that its loader wanted as well may be to blame
                found[key] = self.read(project, key)
        return [found[key] for key in keys]

    @property
    def has_cache(self) -> bool:
        return self._cache is not None

    def held(self, project: str, keys: Sequence[ObjectKey]) -> list[Bytes]:
        with self._lock:
            found = {key: data for key in keys if (data := self._memory.get((project, key))) is not None}
            for key in found:
                self._use(project, key)
        wanted = [key for key in keys if key not in found]
        if wanted and self._cache is not None:
            absent = self._cache.absent(project, wanted)
            cached = self._cache.get(project, list(takewhile(lambda key: key not in absent, wanted)))
            self._remember(project, cached)
            found.update(cached)
            if cached and self.replay is not None:
                self.replay.asked(project, [*cached])
        return [found[key] for key in takewhile(found.__contains__, keys)]

    def held_page(self, project: str, digest: Digest) -> DatedPage | None:
        key = ObjectKey(ObjectKind.TREE, digest)
        dates = self._known_dates(project, key)
        data = self.held(project, [key]) if dates is not None else []
        return self._dated(project, key, data[0], dates) if data and dates is not None else None

    def page(self, project: str, digest: Digest) -> DatedPage:
        held = self.peek_page(project, digest)
        if held is not None:
            return held
        key = ObjectKey(ObjectKind.TREE, digest)
        dates = self._known_dates(project, key)
        beside = self._beside(project, digest) if dates is None else []
        if dates is None and not beside and self._bring_pages(project, digest):
            dates = self._known_dates(project, key)
        if dates is None:
            located = self._locate(project, [key, *beside], missing_ok=True)
            location = located.get(key) or self._locate(project, [key])[key]
            if not beside:  # it is there, and was not sent: the server does not send any
                self._far_pages = None
            dates = Dates(location.created_at_ns, location.times)
        return self._dated(project, key, self.read(project, key), dates)

    def _bring_pages(self, project: str, digest: Digest) -> bool:
        """Fetch a directory's page, and some of those below it, in one request. Whether there was such a thing."""
        sent = [] if self._far_pages is None else self._far_pages.pages(project, digest)
        found = {ObjectKey(ObjectKind.TREE, page.digest): page for page in sent if Digest.of(page.data) == page.digest}
        pages = {key: page.data for key, page in found.items()}
        places = {key: page.place for key, page in found.items()}
        with self._lock:
            for key, place in places.items():
                self._locations[project, key] = place
        self._keep_dates(project, places)
        self._remember(project, pages)
        with self._lock:
            self._ahead.update({(project, key): len(data) for key, data in pages.items()})
        if self._cache is not None:
            self._cache.put(project, pages)
        return bool(pages)

    def _beside(self, project: str, digest: Digest) -> list[ObjectKey]:
        """Far pages that whoever reads this one is likely to read next: to be located with it, in one request."""
        with self._lock:
            parent = self._parents.get((project, digest))
            if (project, ObjectKey(ObjectKind.TREE, digest)) in self._locations:
                return []
            dated = None if parent is None else self._pages.get((project, parent))
        if dated is None:
            return []
        pages = [key for key in dated.page.children() if key.kind is ObjectKind.TREE]
        here = next((i for i, key in enumerate(pages) if key.digest == digest), 0)
        return [key for key in pages[here : here + BESIDE_MAX] if key.digest != digest]

    def _known_dates(self, project: str, key: ObjectKey) -> Dates | None:
        return self._dates.dates(project, key.digest) if self._dates is not None else None

    def _keep_dates(self, project: str, located: Mapping[ObjectKey, Location | None]) -> None:
        pages = {key.digest: Dates(found.created_at_ns, found.times) for key, found in located.items() if found}
        if pages and self._dates is not None:
            self._dates.keep_dates(project, pages)

    def _lacks_dates(self, project: str, key: ObjectKey) -> bool:
        return key.kind is ObjectKind.TREE and self._known_dates(project, key) is None

    def _dated(self, project: str, key: ObjectKey, data: Bytes, dates: Dates) -> DatedPage:
        digest = key.digest
        times = PageTimes(dates.times, dates.created_at_ns)
        dated = DatedPage(decode_page(bytes(data)), times, dates.created_at_ns)
        far = self._windows is not None
        pages = [k.digest for k in dated.page.children() if k.kind is ObjectKind.TREE] if far else []
        with self._lock:
            if _page_weight(dated) <= self._pages.maxsize:
                self._pages[project, digest] = dated
                for below in pages:
                    self._parents[project, below] = digest
            self._memory.pop((project, key), None)
        return dated

    def peek_page(self, project: str, digest: Digest) -> DatedPage | None:
        with self._lock:
            return self._pages.get((project, digest))

    def prepare(self, project: str, keys: Sequence[ObjectKey]) -> None:
        absent = None if self._cache is None else self._cache.absent(project, keys)
        wanted = keys if absent is None else [key for key in keys if key in absent or self._lacks_dates(project, key)]
        try:
            for start in range(0, len(wanted), KEYS_MAX):
                self._locate(project, wanted[start : start + KEYS_MAX], missing_ok=True)
        except Unavailable as error:  # whoever reads them meets it again, and is told
            _log.debug("places not learned: %s", error)

    def open_reference(self, project: str, content: FileContent) -> OpenReference:
        reference = decode_reference(bytes(self.read(project, content.key)))
        if reference.size_bytes != content.size_bytes:
            raise DamagedObject(f"{content.key} refers to {reference.size_bytes} bytes, not {content.size_bytes}")
        if self._references is None:
            raise ReferenceForbidden("no references are followed here")
        return self._references.open(project, content.digest, reference)

    def _remember(self, project: str, objects: Mapping[ObjectKey, Bytes]) -> None:
        with self._lock:
            for key, data in objects.items():
                if len(data) + 200 <= self._memory.maxsize:
                    self._memory[project, key] = data

    def _load_mine(self, project: str, mine: dict[ObjectKey, Future[Bytes]]) -> dict[ObjectKey, Bytes]:
        try:
            loaded = self._load(project, list(mine))
        except BaseException as error:
            with self._lock:
                for key in mine:
                    del self._loading[project, key]
            for future in mine.values():
                future.set_exception(error if len(mine) == 1 and isinstance(error, ArtfsError) else _OthersFailed())
            raise
        with self._lock:
            for key, data in loaded.items():
                if len(data) + 200 <= self._memory.maxsize:
                    self._memory[project, key] = data
                del self._loading[project, key]
        for key, future in mine.items():
            future.set_result(loaded[key])
        return loaded

    def _load(self, project: str, keys: list[ObjectKey]) -> dict[ObjectKey, Bytes]:
        found = self._cache.get(project, keys) if self._cache is not None else {}
        with self._lock:
            for key in found:
                self._use(project, key)
        absent = [key for key in keys if key not in found]
        for start in range(0, len(absent), KEYS_MAX):
            fetched = self._fetch(project, absent[start : start + KEYS_MAX])
            if self._cache is not None:
                self._cache.put(project, fetched)
            found.update(fetched)
        return found

    def _fetch(self, project: str, keys: list[ObjectKey]) -> dict[ObjectKey, Bytes]:
        found: dict[ObjectKey, Bytes] = {}
        for attempt in range(LOCATE_ATTEMPTS):
            wanted = [key for key in keys if key not in found]
            locations = self._locate(project, wanted)
            spans = coalesce(locations)
            try:
                for span in spans if self._windows is None else self._windows.widen(project, spans):
                    found.update(self._read_span(project, span))
                break
            except PackVanished as vanished:
                self._forget(project, wanted, locations)
                _log.info("the pack %s is gone; asking where its objects are now", vanished)
                if attempt == LOCATE_ATTEMPTS - 1:
                    raise DamagedPack(f"the pack {vanished} is missing", hint="run artfs fsck") from None
        return found

    def _read_span(self, project: str, span: Span) -> dict[ObjectKey, Bytes]:
        if not span.extras:
            return self._read_objects(span)[0]
        return self._read_claimed(project, span, self._claim(project, span))

    def _read_claimed(
        self, project: str, span: Span, claimed: dict[ObjectKey, Future[Bytes]]
    ) -> dict[ObjectKey, Bytes]:
        extras: dict[ObjectKey, Bytes] = {}
        try:
            found, extras = self._read_objects(span)
            if self._cache is not None:
                self._cache.put(project, extras)
            return found
        finally:
            self._keep_extras(project, claimed, extras)

    def _claim(self, project: str, span: Span) -> dict[ObjectKey, Future[Bytes]]:
        """Let others wait for what a span takes along. What is held or on its way already is not taken again."""
        claimed: dict[ObjectKey, Future[Bytes]] = {}
        with self._lock:
            for key, _ in span.extras:
                if (project, key) not in self._loading and (project, key) not in self._memory:
                    self._loading[project, key] = claimed[key] = Future()
        span.extras = [extra for extra in span.extras if extra[0] in claimed]
        return claimed

    def _keep_extras(
        self, project: str, claimed: dict[ObjectKey, Future[Bytes]], extras: dict[ObjectKey, Bytes]
    ) -> None:
        with self._lock:
            for key in claimed:
                del self._loading[project, key]
                if key in extras:
                    self._ahead[project, key] = len(extras[key])
                if key in extras and self._memory.currsize + len(extras[key]) + 200 <= self._memory.maxsize // 2:
                    self._memory[project, key] = extras[key]  # without displacing what was asked for
            while len(self._ahead) > AHEAD_MAX:
                del self._ahead[next(iter(self._ahead))]
        for key, future in claimed.items():
            if key in extras:
                future.set_result(extras[key])
            else:
                future.set_exception(_OthersFailed())

    def _use(self, project: str, key: ObjectKey) -> None:
        """What was taken along is asked for. Under the lock."""
        size_bytes = self._ahead.pop((project, key), 0) if self._ahead else 0
        if size_bytes and self._windows is not None:
            self._windows.used(size_bytes)
        if size_bytes and self.replay is not None:
            self.replay.used(project, key, size_bytes)

    def _read_objects(self, span: Span) -> tuple[dict[ObjectKey, Bytes], dict[ObjectKey, Bytes]]:
        try:
            return self._decode_span(span)
        except (DamagedObject, DamagedPack) as damaged:
            _log.warning("reading again: %s", damaged)
            return self._decode_span(span)

    def _decode_span(self, span: Span) -> tuple[dict[ObjectKey, Bytes], dict[ObjectKey, Bytes]]:
        """What was asked for, and what of the extras is sound."""
        data = memoryview(self._packs.read(span.url, span.offset, span.end - span.offset))
        with self._lock:
            self._fetched_ranges += 1
            self._fetched_bytes += len(data)
        found: dict[ObjectKey, Bytes] = {}
        extras: dict[ObjectKey, Bytes] = {}
        alone = len(span.objects) + len(span.extras) == 1  # otherwise a view would keep the whole range in memory
        for key, location in span.objects:
            decoded = verified(key, location, _stored(data, span, location))
            found[key] = decoded if alone or isinstance(decoded, bytes) else bytes(decoded)
        for key, location in span.extras:
            try:
                extras[key] = bytes(verified(key, location, _stored(data, span, location)))
            except ArtfsError as damaged:
                _log.warning("not taken along: %s", damaged)
        return found, extras

    def _locate(
        self, project: str, keys: Sequence[ObjectKey], *, missing_ok: bool = False, ask: bool = True
    ) -> dict[ObjectKey, Location]:
        with self._lock:
            known = {key: self._locations.get((project, key)) for key in keys}
        if self._windows is not None:
            for key, location in known.items():
                if location is None and key.kind is not ObjectKind.TREE:  # whose times only the registry knows
                    known[key] = self._windows.place(project, key)
        unknown = [key for key, location in known.items() if location is None]
        if unknown and ask:
            answers = self._registry.objects.locate(project, unknown)
            with self._lock:
                for key, location in zip(unknown, answers, strict=True):
                    if location is not None:
                        known[key] = self._locations[project, key] = location
            self._keep_dates(project, {key: known[key] for key in unknown if key.kind is ObjectKind.TREE})
        located = {key: location for key, location in known.items() if location is not None}
        if not missing_ok and len(located) != len(known):
            key = next(key for key, location in known.items() if location is None)
            raise ObjectMissing(f"the {key} is not stored in project {project!r}", hint="was its version deleted?")
        return located

    def _forget(self, project: str, keys: Iterable[ObjectKey], locations: dict[ObjectKey, Location]) -> None:
        """What was believed of where `keys` are is no longer so."""
        with self._lock:
            for key in keys:
                self._locations.pop((project, key), None)
        if self._windows is not None:
            for url in {location.url for location in locations.values()}:
                self._windows.forget(url)


class _Fetching:
    """What fetching ahead needs of a reader."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    def places(self, project: str, keys: Sequence[ObjectKey], *, ask: bool) -> dict[ObjectKey, Location]:
        return self._reader._locate(project, keys, missing_ok=True, ask=ask)

    def lacking(self, project: str, keys: Sequence[ObjectKey]) -> Iterable[ObjectKey]:
        cache = self._reader._cache
        return keys if cache is None else cache.absent(project, keys)

    def claim(self, project: str, span: Span) -> dict[ObjectKey, Future[Bytes]]:
        return self._reader._claim(project, span)

    def take_along(self, project: str, span: Span, claimed: dict[ObjectKey, Future[Bytes]]) -> None:
        if claimed:
            self._reader._read_claimed(project, span, claimed)


def verified(key: ObjectKey, location: Location, stored: Bytes) -> Bytes:
    """Decode an object's stored bytes and check its digest. Raises DamagedObject naming object and place."""
    try:
        data = codec.decode(location.codec, stored, location.size_bytes)
    except DamagedObject as error:
        raise DamagedObject(f"the {key} in {location.url} is damaged: {error.message}", hint="run artfs fsck") from None
    if Digest.of(data) != key.digest:
        raise DamagedObject(f"the {key} in {location.url} does not match its digest", hint="run artfs fsck")
    return data


def _stored(data: memoryview, span: Span, location: Location) -> memoryview:
    start = location.offset - span.offset
    return data[start : start + location.stored_bytes]


def _location_weight(location: Location) -> int:
    """A location in units of LOCATION_BYTES: that of a tree page carries the times of its entries."""
    return 1 + len(location.times) // LOCATION_BYTES


def _page_weight(dated: DatedPage) -> int:
    return len(dated.page) + 16
