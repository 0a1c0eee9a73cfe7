"""Tree pages with their dates, decoded once; where they are far, the places of a page's siblings are asked for with its own.

Safe from any thread; its lock is never held while anything is read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cachetools import LRUCache

from artfs.client.far_pages import FarPages
from artfs.client.places import Dates, Places
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.tree import decode_page
from artfs.vfs.ports import Bytes, DatedPage
from artfs.wire.times import PageTimes

PAGE_ENTRIES_MAX = 400_000  # entries in all decoded pages held
PARENTS_MAX = 65_536
BESIDE_MAX = 64  # pages whose places are asked for at once


class Objects(Protocol):
    """Where encoded pages come from."""

    def read(self, project: str, key: ObjectKey) -> Bytes: ...

    def held(self, project: str, keys: Sequence[ObjectKey]) -> list[Bytes]: ...


class Pages:
    """Args:
    keep: told of encoded pages that came unasked, to be kept where `objects` finds them.
    drop: told of an encoded page that is no longer needed, since it is decoded.
    is_far: whether asking for a page's place costs a round trip.
    far: asked for directories that nothing is known of; None where that saves nothing.
    """

    def __init__(
        self,
        places: Places,
        objects: Objects,
        keep: Callable[[str, Mapping[ObjectKey, Bytes]], None],
        drop: Callable[[str, ObjectKey], None],
        *,
        is_far: bool,
        far: FarPages | None = None,
    ) -> None:
        self._keep = keep
        self._far = far
        self._places = places
        self._objects = objects
        self._drop = drop
        self._is_far = is_far
        self._lock = threading.Lock()
        self._pages: LRUCache[tuple[str, Digest], DatedPage] = LRUCache(PAGE_ENTRIES_MAX, getsizeof=_weight)
        self._parents: LRUCache[tuple[str, Digest], Digest] = LRUCache(PARENTS_MAX)  # of pages that are far

    def __len__(self) -> int:
        return len(self._pages)

    def peek(self, project: str, digest: Digest) -> DatedPage | None:
        """The page if it is decoded."""
        with self._lock:
            return self._pages.get((project, digest))

    def held(self, project: str, digest: Digest) -> DatedPage | None:
        """The page if it is on this machine."""
        key = ObjectKey(ObjectKind.TREE, digest)
        dates = self._places.dates(project, key)
        data = self._objects.held(project, [key]) if dates is not None else []
        return self._dated(project, key, data[0], dates) if data and dates is not None else None

    def read(self, project: str, digest: Digest) -> DatedPage:
        """Raises ObjectMissing, DamagedObject, Unavailable."""
        held = self.peek(project, digest)
        if held is not None:
            return held
        key = ObjectKey(ObjectKind.TREE, digest)
        dates = self._places.dates(project, key)
        beside = self._beside(project, digest) if dates is None else []
        if dates is None and not beside and self._bring(project, digest):
            dates = self._places.dates(project, key)
        if dates is None:
            located = self._places.locate(project, [key, *beside], missing_ok=True)
            location = located.get(key) or self._places.locate(project, [key])[key]
            if not beside:  # it is there, and was not sent: the server does not send any
                self._far = None
            dates = Dates(location.created_at_ns, location.times)
        return self._dated(project, key, self._objects.read(project, key), dates)

    def _bring(self, project: str, digest: Digest) -> bool:
        """Fetch a directory's page, and some of those below it, in one request. Whether there was such a thing."""
        sent = [] if self._far is None else self._far.pages(project, digest)
        found = {ObjectKey(ObjectKind.TREE, page.digest): page for page in sent if Digest.of(page.data) == page.digest}
        self._places.learn(project, {key: page.place for key, page in found.items()})
        self._keep(project, {key: page.data for key, page in found.items()})
        return bool(found)

    def _beside(self, project: str, digest: Digest) -> list[ObjectKey]:
        """Far pages that whoever reads this one is likely to read next: to be located with it, in one request."""
        if self._places.knows(project, ObjectKey(ObjectKind.TREE, digest)):
            return []
        with self._lock:
            parent = self._parents.get((project, digest))
            dated = None if parent is None else self._pages.get((project, parent))
        if dated is None:
            return []
        pages = [key for key in dated.page.children() if key.kind is ObjectKind.TREE]
        here = next((i for i, key in enumerate(pages) if key.digest == digest), 0)
        return [key for key in pages[here : here + BESIDE_MAX] if key.digest != digest]

    def _dated(self, project: str, key: ObjectKey, data: Bytes, dates: Dates) -> DatedPage:
        digest = key.digest
        times = PageTimes(dates.times, dates.created_at_ns)
        dated = DatedPage(decode_page(bytes(data)), times, dates.created_at_ns)
        pages = [k.digest for k in dated.page.children() if k.kind is ObjectKind.TREE] if self._is_far else []
        with self._lock:
            if _weight(dated) <= self._pages.maxsize:
                self._pages[project, digest] = dated
                for below in pages:
                    self._parents[project, below] = digest
        self._drop(project, key)
        return dated


def _weight(dated: DatedPage) -> int:
    return len(dated.page) + 16
