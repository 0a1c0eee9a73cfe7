"""The cache's door: what mounts, commands and clients use, and the only place that knows what a failing disk means.

`get` and `put` never fail: a cache that is full, read-only, damaged, removed or on a dead disk makes reading slower,
and says so once in the log. What the user asked for by name (cleanup, verification, pins) raises.

Open it after forking: a child would share the lock on the segment that its parent appends to.
Owners: the policy and the counters have `_lock`; everything on disk is `Writer`'s and `upkeep`'s.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Self

from artfs.cache import upkeep
from artfs.cache.counts import add_counts
from artfs.cache.directory import LockBusy
from artfs.cache.layout import mark_of
from artfs.cache.opened import Opened
from artfs.cache.policy import EpochPolicy
from artfs.cache.reader import note_uses, read, read_at_once
from artfs.cache.reports import CacheInfo, CleanupPlan, CleanupReport, PinInfo, VerifyReport
from artfs.cache.segment import Bytes
from artfs.cache.upkeep import Progress
from artfs.cache.writer import Writer
from artfs.errors import Busy, StorageFailed, StorageFull
from artfs.model.digest import ObjectKey

RETRY_S = 10.0  # after a failure, puts (or the whole cache, if it cannot be opened) are left alone for this long
_COUNTS_EVERY_S = 30.0
_log = logging.getLogger(__name__)


class ObjectCache:
    """Objects on local disk, of any number of projects, shared by all processes of a user.

    Args:
        root: the cache's own directory; created, with mode 0700.
        limit_bytes: what `du` of it may come to; 0 for a cache that keeps nothing.
        scope: whose objects these are: the registry's identity. Others' are neither seen nor served, but count and are
            evicted.
        clock: nanoseconds since 1970.
    """

    def __init__(self, root: Path, limit_bytes: int, scope: str = "", clock: Callable[[], int] = time.time_ns) -> None:
        self._root = root
        self.limit_bytes = limit_bytes
        self._scope = scope
        self._clock = clock
        self._uids: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._policy = EpochPolicy(1)
        self._hits = self._misses = 0  # not yet added to those of all processes
        self._hits_ever = self._misses_ever = 0  # added
        self._counted_at = time.monotonic()
        self._opened: Opened | None = None
        self._writer: Writer | None = None
        self._reopen_at = self._put_again_at = -RETRY_S
        self._reported: set[int | None] = set()
        self.pinned = Pinned(self._raising, self._uid)
        self.room = Room(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back space set aside for more."""
        with self._absorbing("close the cache"):
            self._add_counts()
            if self._opened is not None:
                note_uses(self._opened)
            if self._writer is not None:
                self._writer.close()
        self._opened = self._writer = None

    def get(self, project: str, keys: Sequence[ObjectKey], *, at_once: bool = False) -> dict[ObjectKey, Bytes]:
        """Those of `keys` that are held for the project; every one was verified just now.

        Args:
            at_once: for event loops: only what is small and needs no waiting for a disk. The others are no misses yet.
        """
        project_uid = self._uid(project)
        if at_once:
            return self._get_at_once(project_uid, keys)
        found: dict[ObjectKey, Bytes] = {}
        with self._absorbing("read the cache"):
            opened = self._open()
            if opened is not None:
                found.update(read(opened, project_uid, keys))
        with self._lock:
            self._hits += len(found)
            self._misses += len(keys) - len(found)
            for key in keys:
                self._policy.record(mark_of(project_uid, key), hit=key in found)
            due = time.monotonic() - self._counted_at > _COUNTS_EVERY_S
        if due:
            with self._absorbing("count the cache's hits"):
                self._add_counts()
        return found

    def absent(self, project: str, keys: Sequence[ObjectKey]) -> set[ObjectKey]:
        """Those of `keys` that are surely not held; the others most probably are. Reads none of them."""
        project_uid = self._uid(project)
        with self._absorbing("look into the cache"):
            opened = self._open()
            if opened is not None:
                opened.notice_changes()
                marks = ((key, opened.index.find(mark_of(project_uid, key))) for key in keys)
                return {key for key, slot in marks if slot is None or slot.segment not in opened.live}
        return set(keys)

    def put(self, project: str, objects: Mapping[ObjectKey, Bytes]) -> None:
        """Keep verified objects for the project, as far as the policy wants and there is room."""
        if time.monotonic() < self._put_again_at:
            return
        try:
            opened = self._open()
            if opened is None or self._writer is None:
                return
            if opened.is_gone():
                self._reopen_at = -RETRY_S
                self._opened = self._writer = None
                opened = self._open()
            if self._writer is not None and opened is not None:
                note_uses(opened)
                self._writer.write(self._uid(project), objects, make_room=self._policy.admit)
                self._policy.capacity_objects = self._writer.capacity_objects or self._policy.capacity_objects
                self._reported.clear()
        except LockBusy:
            _log.debug("not cached, since another process is making room")
        except OSError as error:
            self._put_again_at = time.monotonic() + RETRY_S
            self._report("write to the cache", error)

    def pin(self, name: str, project: str, keys: Iterable[ObjectKey]) -> int:
        """Protect `keys` from eviction under a name, besides what it already pins.

        Returns how many of them are held now; the others are protected as soon as they are put.
        """
        with self._raising("pin") as opened:
            return upkeep.pin(opened, name, self._uid(project), keys)

    def unpin(self, name: str) -> int:
        """Returns how many held objects nothing protects any more. No error if `name` is not pinned."""
        with self._raising("unpin") as opened:
            return upkeep.unpin(opened, name)

    def status(self) -> dict[str, int]:
        """What this process asked for since it began. Touches no disk."""
        with self._lock:
            return {"hits": self._hits_ever + self._hits, "misses": self._misses_ever + self._misses}

    def info(self) -> CacheInfo:
        """Counts are as of the last half minute."""
        with self._raising("inspect") as opened:
            self._add_counts()
            return upkeep.describe(opened, self._root, self.limit_bytes)

    def plan_cleanup(self, limit_bytes: int) -> CleanupPlan:
        """What `cleanup` would do to shrink the cache to `limit_bytes`: remove the least recently used objects."""
        with self._raising("inspect") as opened:
            return upkeep.plan_cleanup(opened, limit_bytes)

    def cleanup(self, plan: CleanupPlan) -> CleanupReport:
        """Remove what `plan` says."""
        with self._raising("clean up") as opened:
            return upkeep.execute_cleanup(opened, self._open_writer(), plan)

    def verify(self, progress: Progress = lambda done, total: None) -> VerifyReport:
        """Hash everything held and remove what is damaged. `progress` gets the bytes done and those there are."""
        with self._raising("verify") as opened:
            return upkeep.verify(opened, progress)

    def clear(self) -> CleanupReport:
        """Remove all objects, also pinned ones."""
        with self._raising("clear") as opened:
            return upkeep.clear(opened, self._open_writer())

    def _uid(self, project: str) -> bytes:
        """What stands for the project of this registry in the cache: objects are only served within it."""
        uid = self._uids.get(project)
        if uid is None:
            uid = self._uids[project] = sha256(f"{self._scope}/{project}".encode()).digest()[:16]
        return uid

    def _open(self) -> Opened | None:
        """The opened cache; None if it could not be opened a moment ago. Raises OSError when it cannot be now."""
        if self._opened is None and time.monotonic() >= self._reopen_at and self.limit_bytes > 0:
            self._reopen_at = time.monotonic() + RETRY_S
            self._open_now()
        return self._opened

    def _open_now(self) -> Opened:
        with self._lock:
            if self._opened is None:
                opened = Opened(self._root, self.limit_bytes, self._clock)
                writer = Writer(opened, self.limit_bytes)
                with suppress(LockBusy):  # whoever is making room sweeps as well as we would
                    upkeep.sweep(opened, writer)
                self._opened, self._writer = opened, writer
            return self._opened

    def _open_writer(self) -> Writer:
        assert self._writer is not None
        return self._writer

    def _add_counts(self) -> None:
        with self._lock:
            hits, misses = self._hits, self._misses
            self._hits_ever, self._misses_ever = self._hits_ever + hits, self._misses_ever + misses
            self._hits = self._misses = 0
            self._counted_at = time.monotonic()
        if self._opened is not None and (hits or misses):
            add_counts(self._opened.directory, hits, misses)

    def _get_at_once(self, project_uid: bytes, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Bytes]:
        opened = self._opened
        if opened is None:
            return {}
        read = ((key, read_at_once(opened, project_uid, key)) for key in keys)
        found: dict[ObjectKey, Bytes] = {key: data for key, data in read if data is not None}
        if found:
            with self._lock:
                self._hits += len(found)
                for key in found:
                    self._policy.record(mark_of(project_uid, key), hit=True)
        return found

    @contextmanager
    def _absorbing(self, what: str) -> Iterator[None]:
        try:
            yield
        except LockBusy:
            _log.debug("could not %s: it is busy", what)
        except OSError as error:
            self._report(what, error)

    def _report(self, what: str, error: OSError) -> None:
        """Log a kind of failure once, until a put succeeds again."""
        if error.errno not in self._reported:
            self._reported.add(error.errno)
            _log.warning("cannot %s in %s: %s; reading goes on without", what, self._root, error.strerror or error)

    @contextmanager
    def _raising(self, what: str) -> Iterator[Opened]:
        """For what a user asked by name. Raises Busy, StorageFull or StorageFailed."""
        try:
            yield self._opened or self._open_now()
        except LockBusy:
            raise Busy(
                f"cannot {what} the cache in {self._root}: another process is using it", hint="try again"
            ) from None
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(f"cannot {what} the cache in {self._root}: {reason}") from None
            raise StorageFailed(f"cannot {what} the cache in {self._root}: {reason}") from None


class Pinned:
    """What pins protect."""

    def __init__(self, using: Callable[[str], AbstractContextManager[Opened]], uid: Callable[[str], bytes]) -> None:
        self._using = using
        self._uid = uid

    def list(self) -> list[PinInfo]:
        """Every pin, by name."""
        with self._using("inspect") as opened:
            return upkeep.describe_pins(opened)

    def missing(self, project: str, keys: Sequence[ObjectKey]) -> Sequence[ObjectKey]:
        """Those of `keys` that no pin protects, held or not."""
        project_uid = self._uid(project)
        with self._using("inspect") as opened:
            opened.pins.refresh()
            return [key for key in keys if mark_of(project_uid, key) not in opened.pins]


class Room:
    """Whether there is room, as far as is known without looking: for whoever decides what to fetch."""

    def __init__(self, cache: ObjectCache) -> None:
        self._cache = cache

    @property
    def takes_more(self) -> bool:
        """Whether what is put now would be kept: it is not full, or makes room for something new."""
        return not self.is_full or self._cache._policy.admit

    @property
    def is_full(self) -> bool:
        """Whether the last put found no room but what others take."""
        writer = self._cache._writer
        return writer is not None and writer.is_full

    def note_use(self, project: str, key: ObjectKey) -> None:
        """An object was used that is not in the cache since it is in memory: the policy is to know."""
        with self._cache._lock:
            self._cache._policy.record(mark_of(self._cache._uid(project), key), hit=True)
