"""Objects in segment files, one a batch, with an SQLite index that all processes of a user share.

Data sets are many small files, and a file an object would cost more than fetching it: what is put together is written as one
segment, and evicted as one, least recently used first. Nothing here is ever the only copy: whatever goes wrong is a miss, and is
logged. Owner of the mutable things in memory (when a segment was last marked as used): `ObjectCache`, under its lock.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import apsw

from artfs.cache.index import CacheIndex, Place
from artfs.cache.reports import CacheInfo, CleanupPlan, VerifyReport
from artfs.model.digest import Digest, ObjectKey
from artfs.store.durable import DIRECTORY_MODE, FILE_MODE

TOUCH_EVERY_S = 60.0  # a segment in use is marked at most this often
STALE_S = 3600.0  # temporary files older than this belong to nobody

_log = logging.getLogger(__name__)
Bytes = bytes | memoryview
_T = TypeVar("_T")


class ObjectCache:
    """A cache of at most `limit_bytes` on disk, index included.

    Args:
        root: made with mode 0700; nothing else may be in it.
        scope: whose objects these are: the registry's identity. Other registries' objects in the same directory are
            neither seen nor served, but count and are evicted.
        clock_s: seconds since the epoch.
    """

    def __init__(self, root: Path, limit_bytes: int, scope: str = "", clock_s: Callable[[], float] = time.time) -> None:
        self.root = root
        self.limit_bytes = limit_bytes
        self._scope = scope
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._index: CacheIndex | None = None
        self._broken = False
        self._touched: dict[int, float] = {}

    def get(self, project: str, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Bytes]:
        """Those of `keys` that are here, verified. Never raises: what cannot be read is absent."""

        def look(index: CacheIndex) -> dict[ObjectKey, Bytes]:
            by_segment: dict[int, list[tuple[ObjectKey, Place]]] = defaultdict(list)
            for key, place in index.find(self._name(project), keys).items():
                by_segment[place.segment].append((key, place))
            found: dict[ObjectKey, Bytes] = {}
            for segment, wanted in by_segment.items():
                found.update(self._read(index, project, segment, wanted))
            self._touch(index, by_segment)
            return found

        return self._attempt(look, {})

    def put(self, project: str, objects: Mapping[ObjectKey, Bytes]) -> None:
        """Keep verified objects, evicting others. Never raises: what cannot be kept is not."""
        size_bytes = sum(map(len, objects.values()))
        if not objects or size_bytes > self.limit_bytes:
            return

        def keep(index: CacheIndex) -> None:
            temporary = self.root / f".{os.getpid()}-{os.urandom(8).hex()}.tmp"

            def publish(segment: int) -> None:
                temporary.rename(self._path(segment))

            try:
                places = _write(temporary, objects)
                scope = self._name(project)
                self._delete(index.add(scope, places, size_bytes, self.limit_bytes, self._clock_s(), publish))
            finally:
                temporary.unlink(missing_ok=True)

        self._attempt(keep, None)

    def info(self) -> CacheInfo:
        """What is here. Zeros if there is no cache yet, or none that can be read."""

        def count(index: CacheIndex) -> CacheInfo:
            segments, objects = index.counts()
            return CacheInfo(self.root, self.limit_bytes, index.total_bytes(), objects, segments)

        return self._attempt(count, CacheInfo(self.root, self.limit_bytes, 0, 0, 0))

    def plan_cleanup(self, limit_bytes: int) -> CleanupPlan:
        """What would be removed, least recently used first, so that at most `limit_bytes` remain."""
        return self._attempt(lambda index: index.plan_cleanup(limit_bytes), CleanupPlan((), 0, 0, 0))

    def cleanup(self, plan: CleanupPlan) -> None:
        """Remove what `plan` names."""

        def remove(index: CacheIndex) -> None:
            self._delete(index.remove(plan.segments))
            index.shrink()

        self._attempt(remove, None)

    def verify(self, report: Callable[[int, int], None] = lambda done, total: None) -> VerifyReport:
        """Read everything, and remove what does not match its digest. `report` gets bytes done and in all."""

        def check(index: CacheIndex) -> VerifyReport:
            checked = damaged = done_bytes = 0
            total_bytes = index.total_bytes()
            for segment, scope, key, place in list(index.all_objects()):
                checked += 1
                done_bytes += place.size_bytes
                if _read_verified(self._path(segment), key, place) is None:
                    damaged += 1
                    index.forget(scope, [key])
                report(done_bytes, total_bytes)
            return VerifyReport(checked, damaged)

        return self._attempt(check, VerifyReport(0, 0))

    def close(self) -> None:
        with self._lock:
            index, self._index = self._index, None
        if index is not None:
            index.close()

    def _name(self, project: str) -> str:
        return f"{self._scope}/{project}"

    def _path(self, segment: int) -> Path:
        return self.root / f"{segment:x}.seg"

    def _attempt(self, work: Callable[[CacheIndex], _T], otherwise: _T) -> _T:
        """Do `work`, whose failure only costs speed: trouble is logged once, and answered with `otherwise`."""
        with self._lock:
            try:
                if self._index is None:
                    self._index = self._open()
                result = work(self._index)
                self._broken = False
                return result
            except (OSError, apsw.Error) as error:
                if not self._broken:
                    _log.warning("the cache in %s is not used: %s", self.root, error)
                self._broken = True
                if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
                    self._start_over()
                return otherwise

    def _open(self) -> CacheIndex:
        self.root.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        index = CacheIndex(self.root / "index.db")
        self._sweep(index)
        return index

    def _sweep(self, index: CacheIndex) -> None:
        """Remove files that crashed processes left, and rows whose file is gone."""
        known = index.segments()
        present = set()
        now_s = self._clock_s()
        for path in self.root.iterdir():
            if path.suffix == ".seg":
                present.add(int(path.stem, 16))
            is_lost = path.suffix == ".tmp" or (path.suffix == ".seg" and int(path.stem, 16) not in known)
            if is_lost and now_s - path.lstat().st_mtime > STALE_S:
                path.unlink(missing_ok=True)
        index.remove(sorted(known - present))

    def _start_over(self) -> None:
        """The index is damaged, so nothing here can be found again."""
        _log.warning("the cache's index in %s is damaged; starting with an empty cache", self.root)
        index, self._index = self._index, None
        with suppress(apsw.Error, OSError):
            if index is not None:
                index.close()
            for path in self.root.iterdir():
                if path.suffix in (".seg", ".tmp") or path.name.startswith("index.db"):
                    path.unlink(missing_ok=True)

    def _read(
        self, index: CacheIndex, project: str, segment: int, wanted: list[tuple[ObjectKey, Place]]
    ) -> dict[ObjectKey, Bytes]:
        found: dict[ObjectKey, Bytes] = {}
        bad: list[ObjectKey] = []
        for key, place in wanted:
            data = _read_verified(self._path(segment), key, place)
            if data is None:
                bad.append(key)
            else:
                found[key] = data
        if bad:
            _log.warning("%d damaged objects dropped from the cache in %s", len(bad), self.root)
            index.forget(self._name(project), bad)
        return found

    def _touch(self, index: CacheIndex, segments: Mapping[int, object]) -> None:
        now_s = self._clock_s()
        due = [segment for segment in segments if now_s - self._touched.get(segment, 0) >= TOUCH_EVERY_S]
        if due:
            index.touch(due, now_s)
            self._touched.update(dict.fromkeys(due, now_s))

    def _delete(self, segments: Sequence[int]) -> None:
        for segment in segments:
            self._touched.pop(segment, None)
            with suppress(OSError):
                self._path(segment).unlink()


def _write(path: Path, objects: Mapping[ObjectKey, Bytes]) -> dict[ObjectKey, Place]:
    places: dict[ObjectKey, Place] = {}
    offset = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, FILE_MODE), "wb") as file:
        for key, data in objects.items():
            file.write(data)
            places[key] = Place(0, offset, len(data))
            offset += len(data)
    return places


def _read_verified(path: Path, key: ObjectKey, place: Place) -> bytes | None:
    """The object, or None if its bytes are gone or wrong."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.pread(fd, place.size_bytes, place.offset)
    except OSError:
        return None
    finally:
        os.close(fd)
    return data if len(data) == place.size_bytes and Digest.of(data) == key.digest else None
