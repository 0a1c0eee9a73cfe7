"""Making the object, edge and summary tables anew from sound packs.

Objects that something refers to but no pack holds become `lost`: known, not stored, and stored again as soon as somebody sends
them. So a version that lost a file keeps all others. Runs inside one writing transaction with foreign keys deferred.
"""

from __future__ import annotations

from typing import NamedTuple

from artfs.model.digest import Digest, ObjectKind
from artfs.registry.database import Transaction, allocate
from artfs.registry.examine import NO_OBJECT, Parent, describe
from artfs.registry.fsck import verified
from artfs.registry.objects import RawKey, find_ids, find_stored
from artfs.registry.resources import RandomBytes
from artfs.registry.salvage import SoundPack
from artfs.store.pack_file import PACK_ID_BYTES
from artfs.store.packs import PackStore
from artfs.wire.times import encode_times


class VersionRoot(NamedTuple):
    """A version's row and the tree it must have."""

    version_id: int
    project_id: int
    root: bytes


class Remembered(NamedTuple):
    """What the tables said of a tree or recipe that no pack holds any more: its summary, and its children."""

    summary: tuple[object, ...]
    children: list[RawKey]


Memory = dict[tuple[int, RawKey], Remembered]
"""By project row and key."""


def remember_lost(tx: Transaction, packs: list[SoundPack], projects: dict[bytes, int]) -> Memory:
    """What is known of parents that are in none of `packs`, so that what was below them stays held."""
    sound = {(projects[pack.name.project_uid], placed.key) for pack in packs for placed in pack.objects}
    rows = tx.rows("SELECT id, project_id, kind, digest FROM objects WHERE kind <> ?", (ObjectKind.CHUNK,))
    memory: Memory = {}
    for id_, project_id, kind, digest in rows:
        if (project_id, (kind, digest)) in sound:
            continue
        summary = tx.row(
            "SELECT level, entries, size, files, first_name, last_name, times FROM summaries WHERE object = ?", (id_,)
        )
        children = tx.rows(
            "SELECT o.kind, o.digest FROM edges e JOIN objects o ON o.id = e.child WHERE e.parent = ?", (id_,)
        )
        if summary is not None:
            memory[project_id, (kind, digest)] = Remembered(summary, [(child[0], child[1]) for child in children])
    return memory


class Rebuilding:
    """One rebuilding. Owns nothing that outlives the transaction."""

    def __init__(
        self, tx: Transaction, store: PackStore, memory: Memory, now_ns: int, random_bytes: RandomBytes
    ) -> None:
        self._memory = memory
        self._tx = tx
        self._store = store
        self._now_ns = now_ns
        self._random_bytes = random_bytes
        self._lost_packs: dict[int, int] = {}

    def run(self, packs: list[SoundPack], projects: dict[bytes, int], roots: list[VersionRoot]) -> None:
        """Replace all objects by those of `packs`; `projects` are rows by uid."""
        for table in ("leases", "edges", "summaries", "objects", "packs"):
            self._tx.run(f"DELETE FROM {table}")
        self._tx.run(
            "UPDATE drafts SET state = 'ended', collected = 1, expires_at = ? WHERE state = 'open'", (self._now_ns,)
        )
        oldest_first = sorted(packs, key=lambda pack: (pack.created_at_ns, pack.name.pack_id))
        for pack in oldest_first:
            self._enter_pack(pack, projects[pack.name.project_uid])
        for level in sorted({level for pack in packs for level in pack.levels.values()}):
            for pack in oldest_first:
                self._enter_parents(pack, projects[pack.name.project_uid], level)
        for version in roots:
            root_id = self._tree(version.project_id, version.root)
            self._tx.run("UPDATE versions SET root = ? WHERE id = ?", (root_id, version.version_id))

    def _enter_pack(self, pack: SoundPack, project_id: int) -> None:
        pack_row = allocate(self._tx, "packs")
        self._tx.run(
            "INSERT INTO packs (id, project_id, pack_id, state, draft_id, created_at) VALUES (?, ?, ?, 'stored', NULL, ?)",
            (pack_row, project_id, pack.name.pack_id, pack.created_at_ns),
        )
        first_id = allocate(self._tx, "objects", len(pack.objects))
        inserted = self._tx.run_many(
            "INSERT INTO objects (id, project_id, kind, digest, size, codec, pack, start, stored)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest, project_id, kind) DO NOTHING",
            (
                (id_, project_id, key.kind, key.digest, size, codec, pack_row, start, stored)
                for id_, (key, size, codec, start, stored) in enumerate(pack.objects, first_id)
            ),
        )
        if inserted < len(pack.objects):
            self._tx.run("UPDATE packs SET state = 'dirty' WHERE id = ?", (pack_row,))

    def _enter_parents(self, pack: SoundPack, project_id: int, level: int) -> None:
        wanted = [pack.objects[position] for position, its in pack.levels.items() if its == level]
        if not wanted:
            return
        ids = find_ids(self._tx, project_id, (placed.key for placed in wanted))
        with self._store.open(pack.name) as opened:
            for placed in wanted:
                id_ = ids[placed.key]
                if self._tx.row("SELECT 1 FROM summaries WHERE object = ?", (id_,)) is not None:
                    continue  # a second copy
                data = verified(placed, opened.pread(placed.offset, placed.stored_bytes))
                self._enter_parent(project_id, id_, describe(0, placed.key.kind, data), pack.created_at_ns)

    def _enter_parent(self, project_id: int, id_: int, parent: Parent, created_at_ns: int) -> None:
        keys = list(parent.children())
        stored = find_stored(self._tx, project_id, (key for key in keys if key[0] != NO_OBJECT))
        ids = {key: one.id for key, one in stored.items()}
        for i, key in enumerate(keys):
            if key[0] != NO_OBJECT and key not in ids:
                files = parent.files_below[i] if parent.files_below else 1
                ids[key] = self._lost(project_id, key, max(0, parent.sizes[i]), files)
        self._tx.run_many(
            "INSERT INTO edges (parent, child) VALUES (?, ?)", ((id_, child) for child in sorted(set(ids.values())))
        )
        times = b""
        if parent.kind is ObjectKind.TREE:
            times = encode_times(stored[key].created_at_ns if key in stored else created_at_ns for key in keys)
        last_name = parent.last_name
        if parent.level:
            row = self._tx.row("SELECT last_name FROM summaries WHERE object = ?", (ids[keys[-1]],))
            last_name = str(row[0]) if row else ""
        self._summarize(
            (id_, parent.level, parent.entries, parent.size_bytes, parent.files, parent.first_name, last_name, times)
        )

    def _summarize(self, row: tuple[object, ...]) -> None:
        self._tx.run(
            "INSERT INTO summaries (object, level, entries, size, files, first_name, last_name, times)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    def _tree(self, project_id: int, digest: bytes) -> int:
        """The row of a version's root, which may have to be a lost one."""
        key = (int(ObjectKind.TREE), digest)
        id_ = find_ids(self._tx, project_id, [key]).get(key)
        return self._lost(project_id, key, 0, 0) if id_ is None else id_

    def _lost(self, project_id: int, key: RawKey, size_bytes: int, files: int) -> int:
        """A row for an object that nobody has, if there is none yet."""
        known = find_ids(self._tx, project_id, [key]).get(key)
        if known is not None:
            return known
        id_ = allocate(self._tx, "objects")
        self._tx.run(
            "INSERT INTO objects (id, project_id, kind, digest, size, codec, pack, start, stored)"
            " VALUES (?, ?, ?, ?, ?, 0, ?, 0, 0)",
            (id_, project_id, key[0], Digest(key[1]), size_bytes, self._lost_pack(project_id)),
        )
        if key[0] != ObjectKind.CHUNK:
            known_of = self._memory.get((project_id, key)) or Remembered((0, 0, size_bytes, files, "", "", b""), [])
            self._summarize((id_, *known_of.summary))
            ids = find_ids(self._tx, project_id, known_of.children)
            children = [
                ids[child] if child in ids else self._lost(project_id, child, 0, 0) for child in known_of.children
            ]
            self._tx.run_many("INSERT INTO edges (parent, child) VALUES (?, ?)", ((id_, child) for child in children))
        return id_

    def _lost_pack(self, project_id: int) -> int:
        if project_id not in self._lost_packs:
            self._lost_packs[project_id] = allocate(self._tx, "packs")
            self._tx.run(
                "INSERT INTO packs (id, project_id, pack_id, state, draft_id, created_at) VALUES (?, ?, ?, 'lost', NULL, ?)",
                (self._lost_packs[project_id], project_id, self._random_bytes(PACK_ID_BYTES), self._now_ns),
            )
        return self._lost_packs[project_id]
