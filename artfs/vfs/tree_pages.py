"""Tree pages as the filesystem reads them: from memory at once, else through the door, each page once however many wait.

Decides what a missing page or chunk means: ESTALE if what referred to it is gone too (the version was deleted, and the kernel
walks the path again), damage otherwise.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

import trio

from artfs.errors import NotFound, ObjectMissing
from artfs.model.digest import ObjectKey, ObjectKind
from artfs.model.tree import Entry, IndexPage, LeafPage
from artfs.vfs.door import Door, Lane
from artfs.vfs.nodes import VersionNode
from artfs.vfs.page_numbers import PageKey
from artfs.vfs.ports import DatedPage, ObjectSource
from artfs.wire.service import Registry
from artfs.wire.times import PageTimes

Referrer = PageKey | VersionNode
"""What refers to a page or chunk: a page, or for a root page the version."""


class Leaf(NamedTuple):
    """A page of entries; `first` is the ordinal of its first entry in the directory."""

    key: PageKey
    page: LeafPage
    times: PageTimes
    created_at_ns: int
    first: int

    @classmethod
    def of(cls, key: PageKey, page: LeafPage, dated: DatedPage, first: int) -> Leaf:
        return cls(key, page, dated.times, dated.created_at_ns, first)


class FoundEntry(NamedTuple):
    """An entry and where it is."""

    leaf: Leaf
    position: int

    @property
    def entry(self) -> Entry:
        return self.leaf.page.entry(self.position)

    @property
    def mtime_ns(self) -> int:
        """When the content entered the project; a symbolic link's content is the page itself."""
        entry = self.entry
        return self.leaf.created_at_ns if entry.key is None else self.leaf.times[self.position]


class TreePages:
    """Loads pages. Owner of the flights: the event loop."""

    def __init__(self, source: ObjectSource, registry: Registry, door: Door) -> None:
        self._source = source
        self._registry = registry
        self._door = door
        self._flights: dict[PageKey, trio.Event] = {}

    def peek(self, key: PageKey) -> DatedPage | None:
        """The page if it is in memory."""
        return self._source.peek_page(key.project, key.digest)

    async def load(self, key: PageKey, referrer: Referrer) -> DatedPage:
        """Raises OSError ESTALE if the page went with its version, ObjectMissing or DamagedObject if it is damaged."""
        page = self._source.peek_page(key.project, key.digest)
        if page is not None:
            return page
        try:
            return await self._fetch(key.shared)
        except ObjectMissing as missing:
            await self.check_alive(key.project, referrer)
            raise missing from None

    async def check_alive(self, project: str, referrer: Referrer) -> None:
        """Raises OSError ESTALE if what referred to a missing object is gone as well."""
        if not await self._door.run(Lane.METADATA, self._is_alive, project, referrer):
            raise OSError(errno.ESTALE, "the version was deleted")

    async def find(self, root: PageKey, name: str, referrer: Referrer) -> FoundEntry | None:
        """The entry `name` of the directory whose root page is `root`."""
        key, first = root, 0
        dated = await self.load(key, referrer)
        while isinstance(dated.page, IndexPage):
            index, i = dated.page, dated.page.page_of(name)
            referrer, key = key, PageKey(root.project, index.digest(i), root.origin)
            dated = await self.load(key, referrer)
            index.checked(i, dated.page)
        leaf = Leaf.of(key, dated.page, dated, first)
        position = dated.page.find(name)
        return None if position is None else FoundEntry(leaf, position)

    async def leaf_at(self, root: PageKey, ordinal: int, referrer: Referrer) -> Leaf | None:
        """The page that holds the directory's entry number `ordinal`, None behind the last."""
        key, first = root, 0
        dated = await self.load(key, referrer)
        if ordinal >= dated.page.entry_count:
            return None
        while isinstance(dated.page, IndexPage):
            index = dated.page
            i, start = index.page_at(ordinal - first)
            first += start
            referrer, key = key, PageKey(root.project, index.digest(i), root.origin)
            dated = await self.load(key, referrer)
            index.checked(i, dated.page)
        return Leaf.of(key, dated.page, dated, first)

    async def _fetch(self, key: PageKey) -> DatedPage:
        while (flight := self._flights.get(key)) is not None:
            await flight.wait()
            page = self._source.peek_page(key.project, key.digest)
            if page is not None:
                return page
        flight = self._flights[key] = trio.Event()
        try:
            if self._source.has_cache:
                held = await self._door.run(Lane.LOCAL, self._source.held_page, key.project, key.digest)
                if held is not None:
                    return held
            return await self._door.run(Lane.CONTENT, self._source.page, key.project, key.digest)
        finally:
            del self._flights[key]
            flight.set()

    def _is_alive(self, project: str, referrer: Referrer) -> bool:
        try:
            if isinstance(referrer, VersionNode):
                record = self._registry.versions.resolve(project, referrer.artifact, referrer.version)
                return record.digest == referrer.root
            return self._registry.objects.locate(project, [ObjectKey(ObjectKind.TREE, referrer.digest)])[0] is not None
        except NotFound:
            return False
