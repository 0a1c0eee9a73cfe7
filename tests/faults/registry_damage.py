"""What is damaged in a registry, told by comparing it with a sound copy, and what `artfs fsck` says of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.registry.findings import Severity
from artfs.registry.fsck import check


class Placed(NamedTuple):
    """An object where the sound registry has it; `pack` is its pack's file below `packs/`."""

    key: ObjectKey
    pack: Path
    start: int
    stored: int

    def is_in(self, packs: Path, sound: Path) -> bool:
        """Whether its bytes are as they were."""
        return _bytes(packs / self.pack, self) == _bytes(sound / self.pack, self)


def placed_objects(registry: Path) -> list[Placed]:
    """Every object of a sound registry."""
    sql = (
        "SELECT o.kind, o.digest, p.uid, k.pack_id, o.start, o.stored FROM objects o JOIN packs k ON k.id = o.pack"
        " JOIN projects p ON p.id = k.project_id WHERE k.state = 'stored'"
    )
    with closing(apsw.Connection(f"file:{registry / 'registry.db'}?immutable=1", flags=_READ)) as connection:
        rows: list[Any] = connection.execute(sql).fetchall()
    return [
        Placed(ObjectKey(ObjectKind(kind), Digest(digest)), _place(uid, pack), start, stored)
        for kind, digest, uid, pack, start, stored in rows
    ]


_READ = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


def damaged_packs(registry: Path, sound: Path) -> list[Path]:
    """The packs that are not byte by byte what they were, by their places below `packs/`."""
    return [
        path.relative_to(sound / "packs")
        for path in sorted((sound / "packs").rglob("*.pack"))
        if _whole(registry / "packs" / path.relative_to(sound / "packs")) != path.read_bytes()
    ]


def unnamed(registry: Path, sound: Path) -> list[str]:
    """The damaged packs and objects that fsck does not name as errors, after a look at every byte."""
    subjects = " ".join(f.subject for f in check(registry).findings if f.severity is Severity.ERROR)
    objects = placed_objects(sound)
    silent = []
    for pack in damaged_packs(registry, sound):
        its = [placed for placed in objects if placed.pack == pack]
        if pack.name not in subjects and not any(str(placed.key) in subjects for placed in its):
            silent.append(str(pack))
        for placed in its:
            is_named = pack.name in subjects or str(placed.key) in subjects
            if not is_named and not placed.is_in(registry / "packs", sound / "packs"):
                silent.append(str(placed.key))
    return silent


def _place(uid: bytes, pack: bytes) -> Path:
    return Path(uid.hex(), pack.hex()[:2], f"{pack.hex()}.pack")


def _whole(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _bytes(path: Path, placed: Placed) -> bytes | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        file.seek(placed.start)
        return file.read(placed.stored)
