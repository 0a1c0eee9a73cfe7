"""The cache's index: which object is where, and which segment was used when. An SQLite file shared by processes.

Every method is one transaction. Losing the newest ones to a power cut loses objects that can be fetched again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from artfs.cache.reports import CleanupPlan
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.store.durable import FILE_MODE

FORMAT = 1
BUSY_TIMEOUT_S = 10
LOOKUP_MAX = 400
CHECKPOINT_PAGES = 100
INDEX_GROWTH_BYTES = 64 << 10  # what entering one segment may add to the index

_SCHEMA = """
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    size INTEGER NOT NULL,
    used_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS segments_by_use ON segments (used_at);
CREATE TABLE IF NOT EXISTS objects (
    scope TEXT NOT NULL,
    kind INTEGER NOT NULL,
    digest BLOB NOT NULL,
    segment INTEGER NOT NULL,
    start INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (digest, kind, scope)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_segment ON objects (segment);
"""


class Place(NamedTuple):
    """An object's bytes in a segment."""

    segment: int
    offset: int
    size_bytes: int


class CacheIndex:
    """Raises apsw.Error and OSError."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE))
        self._path = path
        self._raw = apsw.Connection(str(path))
        self._raw.set_busy_timeout(BUSY_TIMEOUT_S * 1000)
        self._raw.pragma("auto_vacuum", "incremental")
        self._raw.pragma("journal_mode", "wal")
        self._raw.pragma("synchronous", "normal")
        self._raw.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        version = self._raw.pragma("user_version")
        if version == 0:
            self._raw.execute(_SCHEMA)
            self._raw.pragma("user_version", FORMAT)
        elif version != FORMAT:
            self._raw.close()
            raise apsw.NotADBError(f"index format {version}")

    def close(self) -> None:
        self._raw.close()

    def find(self, scope: str, keys: Sequence[ObjectKey]) -> dict[ObjectKey, Place]:
        wanted = set(keys)
        found: dict[ObjectKey, Place] = {}
        digests = [key.digest for key in keys]
        for start in range(0, len(digests), LOOKUP_MAX):
            part = digests[start : start + LOOKUP_MAX]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT kind, digest, segment, start, size FROM objects WHERE scope = ? AND digest IN ({marks})"
            for kind, digest, *place in self._rows(sql, (scope, *part)):
                key = ObjectKey(ObjectKind(kind), Digest(digest))
                if key in wanted:
                    found[key] = Place(*place)
        return found

    def add(
        self,
        scope: str,
        places: Mapping[ObjectKey, Place],
        size_bytes: int,
        limit_bytes: int,
        now_s: float,
        publish: Callable[[int], object],
    ) -> list[int]:
        """Enter a new segment, `publish` its file under its number, and return the segments evicted for it."""
        with self._write():
            evicted = self._evict(limit_bytes - size_bytes - self._index_bytes() - INDEX_GROWTH_BYTES)
            self._raw.execute("INSERT INTO segments (size, used_at) VALUES (?, ?)", (size_bytes, now_s))
            segment = self._raw.last_insert_rowid()
            self._raw.executemany(
                "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest, kind, scope)"
                " DO UPDATE SET segment = excluded.segment, start = excluded.start, size = excluded.size",
                ((scope, k.kind, k.digest, segment, p.offset, p.size_bytes) for k, p in places.items()),
            )
            publish(segment)
            return evicted

    def touch(self, segments: Sequence[int], now_s: float) -> None:
        with self._write():
            self._raw.executemany("UPDATE segments SET used_at = ? WHERE id = ?", ((now_s, s) for s in segments))

    def forget(self, scope: str, keys: Sequence[ObjectKey]) -> None:
        with self._write():
            self._raw.executemany(
                "DELETE FROM objects WHERE scope = ? AND kind = ? AND digest = ?",
                ((scope, key.kind, key.digest) for key in keys),
            )

    def remove(self, segments: Sequence[int]) -> list[int]:
        """Forget segments, and return those whose files are to be deleted."""
        with self._write():
            self._drop(segments)
        return list(segments)

    def plan_cleanup(self, limit_bytes: int) -> CleanupPlan:
        # Once nothing else is left, the index is empty too.
        total = self._segment_bytes()
        kept = total if limit_bytes >= total + self._index_bytes() else limit_bytes - self._index_bytes()
        chosen: list[int] = []
        freed = objects = 0
        for segment, size in self._rows("SELECT id, size FROM segments ORDER BY used_at, id"):
            if total - freed <= max(kept, 0):
                break
            chosen.append(segment)
            freed += size
            objects += self._count("SELECT count(*) FROM objects WHERE segment = ?", segment)
        return CleanupPlan(tuple(chosen), objects, freed, total - freed)

    def segments(self) -> set[int]:
        return {row[0] for row in self._rows("SELECT id FROM segments")}

    def counts(self) -> tuple[int, int]:
        """Segments and objects."""
        return self._count("SELECT count(*) FROM segments"), self._count("SELECT count(*) FROM objects")

    def total_bytes(self) -> int:
        """Segments and index; nothing for an index that holds nothing."""
        segments = self._segment_bytes()
        return segments + self._index_bytes() if segments else 0

    def all_objects(self) -> Iterator[tuple[int, str, ObjectKey, Place]]:
        sql = "SELECT segment, scope, kind, digest, start, size FROM objects ORDER BY segment, start"
        for segment, scope, kind, digest, start, size in self._rows(sql):
            yield segment, scope, ObjectKey(ObjectKind(kind), Digest(digest)), Place(segment, start, size)

    def shrink(self) -> None:
        """Give the index's free space back to the disk."""
        self._raw.pragma("incremental_vacuum")
        self._raw.pragma("wal_checkpoint", "truncate")

    def _evict(self, room_bytes: int) -> list[int]:
        """Drop the least recently used segments until the others fit into `room_bytes`."""
        total = self._segment_bytes()
        chosen: list[int] = []
        for segment, size in self._rows("SELECT id, size FROM segments ORDER BY used_at, id"):
            if total <= max(room_bytes, 0):
                break
            chosen.append(segment)
            total -= size
        self._drop(chosen)
        return chosen

    def _drop(self, segments: Sequence[int]) -> None:
        self._raw.executemany("DELETE FROM objects WHERE segment = ?", ((s,) for s in segments))
        self._raw.executemany("DELETE FROM segments WHERE id = ?", ((s,) for s in segments))

    def _segment_bytes(self) -> int:
        return self._count("SELECT coalesce(sum(size), 0) FROM segments")

    def _count(self, sql: str, *parameters: int) -> int:
        ((number,),) = self._rows(sql, parameters)
        return int(number)

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self._raw.execute(sql, tuple(parameters)))

    def _index_bytes(self) -> int:
        files = (self._path, f"{self._path}-wal", f"{self._path}-shm")
        return int(sum(os.path.getsize(file) for file in files if os.path.exists(file)))

    @contextmanager
    def _write(self) -> Iterator[None]:
        self._raw.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._raw.execute("COMMIT")
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            raise
