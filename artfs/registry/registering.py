"""Entering an examined pack's objects into the database: the one place where objects come to exist.

Keeps the invariant that an object is stored only after its children, and that parents say the truth about them. Runs inside
one write transaction of the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from artfs.errors import DamagedPack, ObjectMissing
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.database import Transaction, allocate, rows_in
from artfs.registry.examine import NO_OBJECT, NOT_SAID, ExaminedPack, Parent
from artfs.registry.objects import RawKey, Stored, find_ids, find_stored
from artfs.wire.times import encode_times

GROUP_CHILDREN = 50_000  # children looked up at a time: bounds memory and the number of lookups


class Summary(NamedTuple):
    """A row of `summaries`, without its times."""

    level: int
    entries: int
    size_bytes: int
    files: int
    first_name: str
    last_name: str


class Registered(NamedTuple):
    """What a pack brought: how many new objects, and the ids of those that the project had before."""

    new_count: int
    existing: list[int]


def register(tx: Transaction, project_id: int, pack_row: int, pack: ExaminedPack, created_at_ns: int) -> Registered:
    """Enter all objects of `pack` that the project does not have, in the pack with the row `pack_row`.

    Raises ObjectMissing when a child is neither stored nor earlier in the pack, DamagedPack when a parent's claim about a
    child is untrue.
    """
    registration = _Registration(tx, project_id, pack_row, pack, created_at_ns)
    existing = registration.enter_objects()
    for group in _groups(parent for parent in pack.parents if parent.position in registration.positions):
        registration.enter_parents(group)
    return Registered(len(registration.positions), existing)


class _Registration:
    """One pack on its way in. `positions` are those of the new objects."""

    def __init__(self, tx: Transaction, project_id: int, pack_row: int, pack: ExaminedPack, created_at_ns: int) -> None:
        self._tx = tx
        self._project_id = project_id
        self._pack_row = pack_row
        self._pack = pack
        self._created_at_ns = created_at_ns
        self._new: dict[RawKey, Stored] = {}
        self._position: dict[RawKey, int] = {}
        self._summaries: dict[int, Summary] = {}
        self.positions: set[int] = set()

    def enter_objects(self) -> list[int]:
        """Insert the rows of what is new and return the ids of what is not."""
        places: dict[RawKey, int] = {}
        for position, placed in enumerate(self._pack.objects):
            places.setdefault(placed.key, position)
        first_id = allocate(self._tx, "objects", len(places))
        ids = dict(zip(places, range(first_id, first_id + len(places)), strict=True))
        rows = (self._row(ids[key], places[key]) for key in sorted(places, key=_digest))  # along the index by digest
        inserted = self._tx.run_many(
            "INSERT INTO objects (id, project_id, kind, digest, size, codec, pack, start, stored)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest, project_id, kind) DO NOTHING",
            rows,
        )
        existing = {} if inserted == len(places) else self._existing(places, first_id, ids)
        objects = self._pack.objects
        for key, position in places.items():
            if key not in existing:
                self._position[key] = position
                self._new[key] = Stored(ids[key], objects[position].size_bytes, self._created_at_ns)
        self.positions.update(self._position.values())
        return [stored.id for stored in existing.values()]

    def _existing(self, places: dict[RawKey, int], first_id: int, ids: dict[RawKey, int]) -> dict[RawKey, Stored]:
        """What the project had before. What it had lost it has again, under the old id, which goes into `ids`.

        Raises DamagedPack when the pack disagrees on an object's length.
        """
        stored = find_stored(self._tx, self._project_id, places)
        lost = find_ids(self._tx, self._project_id, (key for key in places if key not in stored))
        for key, id_ in lost.items():
            _, _, _, _, size, codec, pack, start, stored_bytes = self._row(id_, places[key])
            self._tx.run(
                "UPDATE objects SET size = ?, codec = ?, pack = ?, start = ?, stored = ? WHERE id = ?",
                (size, codec, pack, start, stored_bytes, id_),
            )
            self._tx.run("DELETE FROM edges WHERE parent = ?", (id_,))
            self._tx.run("DELETE FROM summaries WHERE object = ?", (id_,))
        ids.update(lost)
        existing = {key: one for key, one in stored.items() if one.id < first_id}
        for key, one in existing.items():
            if one.size_bytes != self._pack.objects[places[key]].size_bytes:
                raise DamagedPack(f"the pack disagrees on the length of {_key(key)}, which is stored")
        return existing

    def _row(self, id_: int, position: int) -> tuple[object, ...]:
        (kind, digest), size, codec, start, stored = self._pack.objects[position]
        return (id_, self._project_id, kind, digest, size, codec, self._pack_row, start, stored)

    def enter_parents(self, group: list[Parent]) -> None:
        """Check the claims of `group` and insert their edges and summaries."""
        known = self._known_children(group)
        edges: list[tuple[int, int]] = []
        summaries: list[tuple[object, ...]] = []
        for parent in group:
            children = self._children(parent, known)
            self._check_claims(parent, children)
            id_ = self._new[self._pack.objects[parent.position].key].id
            summary = self._summarize(parent, children)
            self._summaries[id_] = summary
            edges.extend((id_, child) for child in sorted({stored.id for stored in children if stored is not None}))
            summaries.append((id_, *summary, self._times(parent, children)))
        self._tx.run_many("INSERT INTO edges (parent, child) VALUES (?, ?)", edges)
        self._tx.run_many(
            "INSERT INTO summaries (object, level, entries, size, files, first_name, last_name, times)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            summaries,
        )

    def _known_children(self, group: list[Parent]) -> dict[RawKey, Stored]:
        """The children of `group` that were stored before, with their summaries at hand."""
        new = self._new
        wanted = {key for parent in group for key in parent.children() if key not in new}
        known = find_stored(self._tx, self._project_id, (key for key in wanted if key[0] != NO_OBJECT))
        ids = [stored.id for (kind, _), stored in known.items() if kind != ObjectKind.CHUNK]
        sql = "SELECT object, level, entries, size, files, first_name, last_name FROM summaries WHERE object IN ({})"
        for id_, *summary in rows_in(self._tx, sql, (), ids):
            self._summaries[id_] = Summary(*summary)
        return known

    def _children(self, parent: Parent, known: dict[RawKey, Stored]) -> list[Stored | None]:
        """The rows of a parent's children, None for symbolic links. Raises ObjectMissing."""
        new, position_of, children = self._new, self._position, []
        for key in parent.children():
            stored = new.get(key)
            if stored is not None and position_of[key] >= parent.position:
                raise ObjectMissing(f"{self._name(parent)} comes before its child {_key(key)} in its pack")
            stored = stored or known.get(key)
            if stored is None and key[0] != NO_OBJECT:
                raise ObjectMissing(
                    f"{self._name(parent)} refers to {_key(key)}, which is not stored", hint="send children first"
                )
            children.append(stored)
        return children

    def _check_claims(self, parent: Parent, children: list[Stored | None]) -> None:
        """Raises DamagedPack unless every child is as long, and holds as much, as the parent says."""
        kinds, sizes = parent.kinds, parent.sizes
        for i, stored in enumerate(children):
            if stored is None:
                continue
            if kinds[i] == ObjectKind.CHUNK:
                agrees = sizes[i] in (stored.size_bytes, NOT_SAID)
            else:
                agrees = self._agrees(parent, i, self._summaries[stored.id])
            if not agrees:
                raise DamagedPack(f"{self._name(parent)} contradicts its child number {i}")
        if parent.level:
            self._check_order(parent, children)

    def _agrees(self, parent: Parent, i: int, child: Summary) -> bool:
        if child.size_bytes != parent.sizes[i]:
            return False
        if parent.kinds[i] == ObjectKind.RECIPE:
            return True
        if parent.level == 0:
            return child.files == parent.files_below[i]
        return (child.level, child.entries, child.files, child.first_name) == (
            parent.level - 1,
            parent.counts[i],
            parent.files_below[i],
            parent.firsts[i],
        )

    def _check_order(self, parent: Parent, children: list[Stored | None]) -> None:
        lasts = [self._summaries[stored.id].last_name for stored in children if stored is not None]
        if any(last >= first for last, first in zip(lasts, parent.firsts[1:], strict=False)):
            raise DamagedPack(f"{self._name(parent)} has pages that overlap")

    def _summarize(self, parent: Parent, children: list[Stored | None]) -> Summary:
        last_name = parent.last_name
        if parent.level and children[-1] is not None:
            last_name = self._summaries[children[-1].id].last_name
        return Summary(parent.level, parent.entries, parent.size_bytes, parent.files, parent.first_name, last_name)

    def _times(self, parent: Parent, children: list[Stored | None]) -> bytes:
        if parent.kind is ObjectKind.RECIPE:
            return b""
        own_ns = self._created_at_ns
        return encode_times(own_ns if stored is None else stored.created_at_ns for stored in children)

    def _name(self, parent: Parent) -> ObjectKey:
        return self._pack.objects[parent.position].key


def _digest(key: RawKey) -> bytes:
    return key[1]


def _key(key: RawKey) -> ObjectKey:
    return ObjectKey(ObjectKind(key[0]), Digest(key[1]))


def _groups(parents: Iterable[Parent]) -> Iterator[list[Parent]]:
    group: list[Parent] = []
    children = 0
    for parent in parents:
        group.append(parent)
        children += len(parent)
        if children >= GROUP_CHILDREN:
            yield group
            group, children = [], 0
    if group:
        yield group
