"""Where objects are stored, and when tree pages entered their project: asked for once, remembered while there is room.

Safe from any thread; its lock is never held while the registry is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from cachetools import LRUCache

from artfs.client.windows import PackWindows
from artfs.errors import ObjectMissing
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.wire.records import Location
from artfs.wire.service import Registry

LOCATIONS_MAX = 50_000  # in units of LOCATION_BYTES
LOCATION_BYTES = 512


class Dates(NamedTuple):
    """When a tree page entered its project, and its entries: see `wire.times`."""

    created_at_ns: int
    times: bytes


class PageDates(Protocol):
    """The dates of tree pages, kept where asking for them needs no registry. Never blocks for long, never fails."""

    def dates(self, project: str, digest: Digest) -> Dates | None: ...
    def keep_dates(self, project: str, pages: Mapping[Digest, Dates]) -> None: ...


class Places:
    """Args:
    windows: knows the places in packs whose index it has; None where packs are at hand.
    dates: where the times of tree pages are remembered besides; None for nowhere.
    """

    def __init__(self, registry: Registry, windows: PackWindows | None, dates: PageDates | None) -> None:
        self._registry = registry
        self._windows = windows
        self._dates = dates
        self._lock = threading.Lock()
        self._known: LRUCache[tuple[str, ObjectKey], Location] = LRUCache(LOCATIONS_MAX, getsizeof=_weight)

    def knows(self, project: str, key: ObjectKey) -> bool:
        with self._lock:
            return (project, key) in self._known

    def locate(
        self, project: str, keys: Sequence[ObjectKey], *, missing_ok: bool = False, ask: bool = True
    ) -> dict[ObjectKey, Location]:
        """Raises ObjectMissing unless `missing_ok`, Unavailable. `ask` the registry for what is not known here."""
        with self._lock:
            known = {key: self._known.get((project, key)) for key in keys}
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
                        known[key] = self._known[project, key] = location
            self._keep_dates(project, {key: known[key] for key in unknown if key.kind is ObjectKind.TREE})
        located = {key: location for key, location in known.items() if location is not None}
        if not missing_ok and len(located) != len(known):
            key = next(key for key, location in known.items() if location is None)
            raise ObjectMissing(f"the {key} is not stored in project {project!r}", hint="was its version deleted?")
        return located

    def learn(self, project: str, found: Mapping[ObjectKey, Location]) -> None:
        """Tree pages are there, as the registry says."""
        with self._lock:
            for key, location in found.items():
                self._known[project, key] = location
        self._keep_dates(project, found)

    def forget(self, project: str, keys: Iterable[ObjectKey], locations: Mapping[ObjectKey, Location]) -> None:
        """What was believed of where `keys` are is no longer so."""
        with self._lock:
            for key in keys:
                self._known.pop((project, key), None)
        if self._windows is not None:
            for url in {location.url for location in locations.values()}:
                self._windows.forget(url)

    def dates(self, project: str, key: ObjectKey) -> Dates | None:
        """Those of a tree page, if they need not be asked for."""
        return self._dates.dates(project, key.digest) if self._dates is not None else None

    def lacks_dates(self, project: str, key: ObjectKey) -> bool:
        return key.kind is ObjectKind.TREE and self.dates(project, key) is None

    def _keep_dates(self, project: str, located: Mapping[ObjectKey, Location | None]) -> None:
        pages = {key.digest: Dates(found.created_at_ns, found.times) for key, found in located.items() if found}
        if pages and self._dates is not None:
            self._dates.keep_dates(project, pages)


def _weight(location: Location) -> int:
    """A location in units of LOCATION_BYTES: that of a tree page carries the times of its entries."""
    return 1 + len(location.times) // LOCATION_BYTES
