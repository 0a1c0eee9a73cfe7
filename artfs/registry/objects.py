"""Objects by key: looking them up and telling where they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from artfs.errors import DamagedObject, InvalidValue, ObjectMissing
from artfs.model import codec
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import decode_recipe
from artfs.registry.catalog import find_project
from artfs.registry.database import Transaction, rows_in
from artfs.registry.resources import Resources
from artfs.store.packs import PackName
from artfs.wire.records import Location
from artfs.wire.service import KEYS_MAX

BEGINNING_BYTES_MAX = 4 << 20
BEGINNING_CHUNKS_MAX = 64

RawKey = tuple[int, bytes]
"""Kind and digest as stored; equal to the ObjectKey of the same."""


class Stored(NamedTuple):
    """What a parent needs to know of a stored child. `created_at_ns` is its pack's."""

    id: int
    size_bytes: int
    created_at_ns: int


class StoredObject(NamedTuple):
    """An object's bytes as they are stored, and where."""

    key: ObjectKey
    location: Location
    data: bytes


def check_keys(keys: Sequence[ObjectKey]) -> None:
    """Raises InvalidValue for a batch that is too large."""
    if len(keys) > KEYS_MAX:
        raise InvalidValue(f"{len(keys)} keys at once", hint=f"ask for at most {KEYS_MAX}")


def digests_by_kind(keys: Iterable[RawKey]) -> dict[int, list[bytes]]:
    """Distinct digests by kind, sorted: neighbours in an index are then looked up one after another."""
    found: dict[int, dict[bytes, None]] = {}
    for kind, digest in keys:
        found.setdefault(kind, {})[digest] = None
    return {int(kind): sorted(digests) for kind, digests in found.items()}


def find_stored(tx: Transaction, project_id: int, keys: Iterable[RawKey]) -> dict[RawKey, Stored]:
    """Those of `keys` that the project has. What is in a lost pack it has not."""
    sql = "SELECT digest, id, size, pack FROM objects WHERE project_id = ? AND kind = ? AND digest IN ({})"
    rows = [
        (kind, row)
        for kind, digests in digests_by_kind(keys).items()
        for row in rows_in(tx, sql, (project_id, kind), digests)
    ]
    sql = "SELECT id, created_at FROM packs WHERE state <> 'lost' AND id IN ({})"
    times: dict[int, int] = dict(rows_in(tx, sql, (), list({row[3] for _, row in rows})))
    return {(kind, digest): Stored(id_, size, times[pack]) for kind, (digest, id_, size, pack) in rows if pack in times}


def find_ids(tx: Transaction, project_id: int, keys: Iterable[RawKey]) -> dict[RawKey, int]:
    """The rows of those of `keys` that the project knows, stored or lost."""
    sql = "SELECT digest, id FROM objects WHERE project_id = ? AND kind = ? AND digest IN ({})"
    return {
        (kind, digest): id_
        for kind, digests in digests_by_kind(keys).items()
        for digest, id_ in rows_in(tx, sql, (project_id, kind), digests)
    }


class Objects:
    """The `Objects` service."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        self._store = resources.store

    def locate(self, project: str, keys: Sequence[ObjectKey]) -> list[Location | None]:
        check_keys(keys)
        found: dict[RawKey, Location] = {}
        with self._database.read() as tx:
            of = find_project(tx, project)
            for kind, digests in digests_by_kind(keys).items():
                sql = _LOCATE_TREES if kind == ObjectKind.TREE else _LOCATE
                for row in rows_in(tx, sql, (of.id, kind), digests):
                    digest, size, codec, pack_id, start, stored, created_at, times = row
                    url = self._store.url(PackName(of.uid, pack_id))
                    found[kind, digest] = Location(size, codec, url, start, stored, created_at, times or b"")
        return [found.get(key) for key in keys]

    def read_beginning(self, project: str, recipe: Digest, offset: int, length: int) -> list[StoredObject]:
        """A recipe and the chunks with `length` bytes of its file from `offset`, as they are stored, unverified.

        Of the chunks, those from the first on that are there and have BEGINNING_BYTES_MAX in all. Raises ObjectMissing,
        DamagedObject, and FileNotFoundError for a pack that was rewritten meanwhile.
        """
        key = ObjectKey(ObjectKind.RECIPE, recipe)
        found = self._read_stored(project, [key])
        if not found:
            raise ObjectMissing(f"the {key} is not stored in project {project!r}", hint="was its version deleted?")
        data = codec.decode(found[0].location.codec, found[0].data, found[0].location.size_bytes)
        spans = decode_recipe(bytes(data)).spans(offset, length)
        chunks = [ObjectKey(ObjectKind.CHUNK, span.digest) for span in islice(spans, BEGINNING_CHUNKS_MAX)]
        return found + self._read_stored(project, chunks)

    def _read_stored(self, project: str, keys: Sequence[ObjectKey]) -> list[StoredObject]:
        """The beginning of `keys` that is stored, up to BEGINNING_BYTES_MAX but at least one."""
        with self._database.read() as tx:
            of = find_project(tx, project)
            places: dict[RawKey, tuple[Any, ...]] = {
                (kind, row[0]): row
                for kind, digests in digests_by_kind(keys).items()
                for row in rows_in(tx, _LOCATE, (of.id, kind), digests)
            }
        found: list[StoredObject] = []
        left_bytes = BEGINNING_BYTES_MAX
        for key in keys:
            place = places.get(key)
            if place is None:
                break
            _, size, how, pack_id, start, stored, created_at, _ = place
            left_bytes -= stored
            if left_bytes < 0 and found:
                break
            name = PackName(of.uid, pack_id)
            location = Location(size, how, self._store.url(name), start, stored, created_at, b"")
            found.append(StoredObject(key, location, self._store.read(name, start, stored)))
        return found

    def read(self, project: str, key: ObjectKey) -> bytes:
        """An object's bytes, verified. Raises ObjectMissing and DamagedObject."""
        with self._database.read() as tx:
            of = find_project(tx, project)
            row = tx.row(
                "SELECT p.pack_id, o.start, o.stored, o.codec, o.size FROM objects o JOIN packs p ON p.id = o.pack"
                " WHERE p.state <> 'lost' AND o.project_id = ? AND o.kind = ? AND o.digest = ?",
                (of.id, key.kind, key.digest),
            )
        if row is None:
            raise ObjectMissing(f"the {key} is not stored in project {project!r}", hint="was its version deleted?")
        pack_id, start, stored_bytes, how, size_bytes = row
        data = codec.decode(how, self._store.read(PackName(of.uid, pack_id), start, stored_bytes), size_bytes)
        if Digest.of(data) != key.digest:
            raise DamagedObject(f"the {key} does not match its digest", hint="run artfs fsck")
        return bytes(data)


_COLUMNS = "SELECT o.digest, o.size, o.codec, p.pack_id, o.start, o.stored, p.created_at"
_CONDITION = "WHERE p.state <> 'lost' AND o.project_id = ? AND o.kind = ? AND o.digest IN ({})"
_LOCATE = f"{_COLUMNS}, NULL FROM objects o JOIN packs p ON p.id = o.pack {_CONDITION}"
_LOCATE_TREES = (
    f"{_COLUMNS}, s.times FROM objects o JOIN packs p ON p.id = o.pack JOIN summaries s ON s.object = o.id {_CONDITION}"
)
