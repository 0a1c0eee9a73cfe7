"""Verified objects by key: memory first, then the cache on disk, then ranges of packs, a few large ones for many objects.

Whatever enters memory was decoded and hashed here; nothing unverified leaves. Owners of mutable things: each small cache its
lock; a load in flight belongs to the thread that began it, and others wait for that thread's result.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from artfs.client.learned.replay import Replay
from artfs.client.memory import ObjectMemory
from artfs.client.pack_source import LocalPacks, PackSource, PackVanished, RecipeSource
from artfs.client.pages import Pages
from artfs.client.places import PageDates, Places
from artfs.client.spans import Span, coalesce
from artfs.client.taken_along import TakenAlong
from artfs.client.windows import PackWindows
from artfs.errors import ArtfsError, DamagedObject, DamagedPack, ReferenceForbidden, Unavailable
from artfs.model import codec
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey
from artfs.model.reference import decode_reference
from artfs.vfs.ports import Bytes, DatedPage, OpenReference, Part
from artfs.wire.records import Location
from artfs.wire.service import KEYS_MAX, Registry

if TYPE_CHECKING:
    from artfs.cache.object_cache import ObjectCache
    from artfs.client.far_pages import FarPages
    from artfs.client.learned.starts import Starts
    from artfs.client.references.reader import ReferenceReader

MEMORY_BYTES = 128 << 20
KEPT_SHARE = 0.5  # of memory, for what a full cache on disk does not take
LOCATE_ATTEMPTS = 3
APART_BYTES = 128 << 10  # objects of at least this on average are received apart

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
        recipes: reads recipes together with chunks; None where packs are at hand.
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
        recipes: RecipeSource | None = None,
        starts: Starts | None = None,
        far_pages: FarPages | None = None,
    ) -> None:
        self._recipes = recipes
        self._references = references
        self._packs = packs or LocalPacks()
        self._cache = cache
        self._lock = threading.Lock()
        self._memory: ObjectMemory[_Name] = ObjectMemory(memory_bytes, 0.0 if cache is None else KEPT_SHARE)
        self._places = Places(registry, windows, dates)
        self._pages = Pages(self._places, _Inside(self), far_pages, is_far=windows is not None)
        self._loading: dict[_Name, Future[Bytes]] = {}
        self._along = None if windows is None else TakenAlong(windows, cache)
        self._fetched_ranges = self._fetched_bytes = 0
        self.replay = None if starts is None else Replay(starts, _Inside(self))

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
                "bytes": self._memory.size_bytes,
                "limit_bytes": self._memory.limit_bytes,
                "pages": len(self._pages),
                "loading": len(self._loading),
                "fetched_ranges": self._fetched_ranges,
                "fetched_bytes": self._fetched_bytes,
            }

    def read(self, project: str, key: ObjectKey, *, part: Part | None = None) -> Bytes:
        """Raises ObjectMissing, DamagedObject, Unavailable."""
        if part is not None and self._recipes is not None:
            return self._read_recipe(self._recipes, project, key, part)
        return self.read_many(project, [key])[0]

    def peek(self, project: str, key: ObjectKey) -> Bytes | None:
        with self._lock:
            data = self._memory.get((project, key))
            if data is not None:
                self._use(project, key)
        if data is not None or self._cache is None:
            return data
        found = self._cache.get(project, [key], at_once=True)
        if not found:
            return None
        self._remember(project, found)
        with self._lock:
            self._use(project, key)
        return found[key]

    def read_many(self, project: str, keys: Sequence[ObjectKey], *, beside: bool = True, ahead: int = 0) -> list[Bytes]:
        if self.replay is not None:
            self.replay.asked(project, keys[: len(keys) - ahead])
            self.replay.missed(project, keys)
            if ahead and self.replay.foresees(project, keys[: len(keys) - ahead]):
                keys, ahead, beside = keys[: len(keys) - ahead], 0, False
        asked = frozenset(keys[: len(keys) - ahead])
        found: dict[ObjectKey, Bytes] = {}
        waiting: dict[ObjectKey, Future[Bytes]] = {}
        mine: dict[ObjectKey, Future[Bytes]] = {}
        with self._lock:
            for key in dict.fromkeys(keys):
                name = (project, key)
                data = self._memory.get(name)
                if data is not None:
                    found[key] = data
                    self._use(project, key, is_asked=key in asked)
                elif name in self._loading:
                    waiting[key] = self._loading[name]
                else:
                    self._loading[name] = mine[key] = Future()
        if mine:
            found.update(self._load_mine(project, mine, partial(self._load, project, beside=beside)))
        for key, future in waiting.items():
            try:
                found[key] = future.result()
            except _OthersFailed:  # something else that its loader wanted as well may be to blame
                found[key] = self.read(project, key)
        return [found[key] for key in keys]

    @property
    def has_cache(self) -> bool:
        return self._cache is not None

    def held(self, project: str, keys: Sequence[ObjectKey], *, ahead: int = 0) -> list[Bytes]:
        asked = frozenset(keys[: len(keys) - ahead])
        with self._lock:
            found = {key: data for key in keys if (data := self._memory.get((project, key))) is not None}
            for key in found:
                self._use(project, key, is_asked=key in asked)
        wanted = [key for key in keys if key not in found]
        if wanted and self._cache is not None:
            absent = self._cache.absent(project, wanted)
            cached = self._cache.get(project, list(takewhile(lambda key: key not in absent, wanted)))
            self._remember(project, cached)
            found.update(cached)
            with self._lock:
                for key in cached:
                    self._use(project, key, is_asked=False)
            if self.replay is not None and not asked.isdisjoint(cached):
                self.replay.asked(project, [key for key in cached if key in asked])
        return [found[key] for key in takewhile(found.__contains__, keys)]

    def held_page(self, project: str, digest: Digest) -> DatedPage | None:
        return self._pages.held(project, digest)

    def page(self, project: str, digest: Digest) -> DatedPage:
        return self._pages.read(project, digest)

    def peek_page(self, project: str, digest: Digest) -> DatedPage | None:
        return self._pages.peek(project, digest)

    def prepare(self, project: str, keys: Sequence[ObjectKey]) -> None:
        absent = None if self._cache is None else self._cache.absent(project, keys)
        wanted = (
            keys if absent is None else [key for key in keys if key in absent or self._places.lacks_dates(project, key)]
        )
        try:
            for start in range(0, len(wanted), KEYS_MAX):
                self._places.locate(project, wanted[start : start + KEYS_MAX], missing_ok=True)
        except Unavailable as error:  # whoever reads them meets it again, and is told
            _log.debug("places not learned: %s", error)

    def open_references(self, project: str, files: Sequence[tuple[FileContent, str]]) -> list[OpenReference]:
        contents = [content for content, _ in files]
        read = self.read_many(project, [content.key for content in contents])
        return [self._opened(project, content, data) for content, data in zip(contents, read, strict=True)]

    def _opened(self, project: str, content: FileContent, descriptor: Bytes) -> OpenReference:
        reference = decode_reference(bytes(descriptor))
        if reference.size_bytes != content.size_bytes:
            raise DamagedObject(f"{content.key} refers to {reference.size_bytes} bytes, not {content.size_bytes}")
        if self._references is None:
            raise ReferenceForbidden("no references are followed here")
        return self._references.open(project, content.digest, reference)

    def _read_recipe(self, source: RecipeSource, project: str, recipe: ObjectKey, part: Part) -> Bytes:
        """A recipe, whose file's chunks in `part` come into memory in the same round trip."""
        future: Future[Bytes] = Future()
        with self._lock:
            is_mine = (project, recipe) not in self._loading and (project, recipe) not in self._memory
            if is_mine:
                self._loading[project, recipe] = future
        if not is_mine:
            return self.read(project, recipe)
        load = partial(self._load_recipe, source, project, part)
        return self._load_mine(project, {recipe: future}, load)[recipe]

    def _load_recipe(
        self, source: RecipeSource, project: str, part: Part, keys: list[ObjectKey]
    ) -> dict[ObjectKey, Bytes]:
        held = self._cache.get(project, keys) if self._cache is not None else {}
        stored = [] if held else source.read_with_chunks(project, keys[0].digest, *part)
        try:
            found = {key: verified(key, location, data) for key, location, data in stored}
        except (DamagedObject, DamagedPack) as damaged:
            _log.warning("reading again: %s", damaged)
            found = {}
        if keys[0] not in found:
            return held or self._load(project, keys, beside=False)
        self._keep_all(project, found)
        return {keys[0]: found[keys[0]]}

    def _remember(self, project: str, objects: Mapping[ObjectKey, Bytes]) -> None:
        with self._lock:
            for key, data in objects.items():
                self._memory.add((project, key), data)

    def _keep_all(self, project: str, objects: Mapping[ObjectKey, Bytes]) -> None:
        self._remember(project, objects)
        if self._cache is not None:
            self._cache.put(project, objects)

    def _load_mine(
        self,
        project: str,
        mine: dict[ObjectKey, Future[Bytes]],
        load: Callable[[list[ObjectKey]], dict[ObjectKey, Bytes]],
    ) -> dict[ObjectKey, Bytes]:
        try:
            loaded = load(list(mine))
        except BaseException as error:
            with self._lock:
                for key in mine:
                    del self._loading[project, key]
            for future in mine.values():
                future.set_exception(error if len(mine) == 1 and isinstance(error, ArtfsError) else _OthersFailed())
            raise
        with self._lock:
            for key, data in loaded.items():
                self._memory.add((project, key), data)
                del self._loading[project, key]
        for key, future in mine.items():
            future.set_result(loaded[key])
        return loaded

    def _load(self, project: str, keys: list[ObjectKey], beside: bool) -> dict[ObjectKey, Bytes]:
        found = self._cache.get(project, keys) if self._cache is not None else {}
        with self._lock:
            for key in found:
                self._use(project, key, is_asked=False)  # `read_many` has said so
        absent = [key for key in keys if key not in found]
        for start in range(0, len(absent), KEYS_MAX):
            fetched = self._fetch(project, absent[start : start + KEYS_MAX], beside)
            if self._cache is not None:
                self._cache.put(project, fetched)
                self._keep(project, fetched, is_needed=not self._cache.room.takes_more)
            found.update(fetched)
        return found

    def _keep(self, project: str, fetched: Mapping[ObjectKey, Bytes], *, is_needed: bool) -> None:
        """Let memory hold what the full cache on disk did not take, as long as that takes nothing."""
        with self._lock:
            if not is_needed:
                self._memory.keep_fewer(len(fetched))
                return
            for key, data in fetched.items():
                self._memory.keep((project, key), data)

    def _fetch(self, project: str, keys: list[ObjectKey], beside: bool) -> dict[ObjectKey, Bytes]:
        found: dict[ObjectKey, Bytes] = {}
        for attempt in range(LOCATE_ATTEMPTS):
            wanted = [key for key in keys if key not in found]
            locations = self._places.locate(project, wanted)
            spans = coalesce(locations)
            try:
                if beside and self._along is not None:
                    spans = self._along.widen(project, spans)
                for span in spans:
                    found.update(self._read_span(project, span))
                break
            except PackVanished as vanished:
                self._places.forget(project, wanted, locations)
                _log.info("the pack %s is gone; asking where its objects are now", vanished)
                if attempt == LOCATE_ATTEMPTS - 1:
                    raise DamagedPack(f"the pack {vanished} is missing", hint="run artfs fsck") from None
            finally:
                if beside and self._along is not None:
                    self._along.end(project, spans)
        return found

    def _read_span(self, project: str, span: Span) -> dict[ObjectKey, Bytes]:
        if not span.extras:
            return self._read_objects(span)[0]
        claimed = self._claim(project, span)
        extras: dict[ObjectKey, Bytes] = {}
        try:
            found, extras = self._read_objects(span)
            if self._cache is not None:
                self._cache.put(project, extras)
            return found
        finally:
            self._keep_extras(project, span, claimed, extras)

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
        self, project: str, span: Span, claimed: dict[ObjectKey, Future[Bytes]], extras: dict[ObjectKey, Bytes]
    ) -> None:
        if self._along is not None:
            self._along.arrived(project, span, extras)
        self._settle(project, claimed, extras)

    def _settle(self, project: str, claimed: dict[ObjectKey, Future[Bytes]], extras: dict[ObjectKey, Bytes]) -> None:
        """Give what was claimed to those who wait for it."""
        with self._lock:
            for key in claimed:
                del self._loading[project, key]
                if key in extras:
                    self._memory.add_ahead((project, key), extras[key])
        for key, future in claimed.items():
            if key in extras:
                future.set_result(extras[key])
            else:
                future.set_exception(_OthersFailed())

    def _use(self, project: str, key: ObjectKey, *, is_asked: bool = True) -> None:
        """What is at hand is asked for, or read ahead because of what is. Under the lock."""
        if self._cache is not None and self._memory.keeps((project, key)):
            self._cache.room.note_use(project, key)
        if self._along is not None:
            self._along.used(project, key)
        if is_asked and self.replay is not None:
            self.replay.used(project, key)

    def _read_objects(self, span: Span) -> tuple[dict[ObjectKey, Bytes], dict[ObjectKey, Bytes]]:
        try:
            return self._decode_span(span)
        except (DamagedObject, DamagedPack) as damaged:
            _log.warning("reading again: %s", damaged)
            return self._decode_span(span)

    def _decode_span(self, span: Span) -> tuple[dict[ObjectKey, Bytes], dict[ObjectKey, Bytes]]:
        """What was asked for, and what of the extras is sound."""
        if not span.extras and span.end - span.offset >= APART_BYTES * len(span.objects):
            return self._decode_apart(span), {}
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

    def _decode_apart(self, span: Span) -> dict[ObjectKey, Bytes]:
        """Large objects, each into memory of its own: without a copy, and what is dropped later frees its memory."""
        pieces = self._packs.read_pieces(span.url, [(place.offset, place.stored_bytes) for _, place in span.objects])
        with self._lock:
            self._fetched_ranges += 1
            self._fetched_bytes += span.end - span.offset
        return {
            key: verified(key, location, piece) for (key, location), piece in zip(span.objects, pieces, strict=True)
        }


class _Inside:
    """What a reader's parts need of it: `pages.Objects` and `learned.replay.Fetching`."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    def read(self, project: str, key: ObjectKey) -> Bytes:
        return self._reader.read(project, key)

    def held(self, project: str, keys: Sequence[ObjectKey]) -> list[Bytes]:
        return self._reader.held(project, keys)

    def keep(self, project: str, objects: Mapping[ObjectKey, Bytes]) -> None:
        self._reader._keep_all(project, objects)

    def drop(self, project: str, key: ObjectKey) -> None:
        with self._reader._lock:
            self._reader._memory.drop((project, key))

    def places(self, project: str, keys: Sequence[ObjectKey], *, ask: bool) -> dict[ObjectKey, Location]:
        return self._reader._places.locate(project, keys, missing_ok=True, ask=ask)

    def lacking(self, project: str, keys: Sequence[ObjectKey]) -> Iterable[ObjectKey]:
        cache = self._reader._cache
        if cache is None:
            return keys
        return cache.absent(project, keys) if cache.room.takes_more else ()

    def claim(self, project: str, span: Span) -> dict[ObjectKey, Future[Bytes]]:
        return self._reader._claim(project, span)

    def take_along(self, project: str, span: Span, claimed: dict[ObjectKey, Future[Bytes]]) -> None:
        extras: dict[ObjectKey, Bytes] = {}
        reader = self._reader
        try:
            if claimed:
                extras = reader._read_objects(span)[1]
            if reader._cache is not None:
                reader._cache.put(project, extras)
        finally:
            reader._settle(project, claimed, extras)


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
