"""Going through the pack files of a registry and telling what of them can still be relied on.

Every object is read and verified. A file that is sound stays; of a damaged one the good objects are copied to a new pack.
Nothing is moved or deleted here, and the database is only asked where objects were in a pack whose own index is unreadable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from artfs.errors import DamagedObject, DamagedPack
from artfs.model.digest import ObjectKind
from artfs.model.pack import HEADER_BYTES, PackedObject, PackHeader, decode_header
from artfs.registry.examine import describe
from artfs.registry.fsck import verified
from artfs.registry.resources import RandomBytes
from artfs.store.pack_bytes import PackBytes
from artfs.store.pack_file import PACK_ID_BYTES, PackReader, PackWriter
from artfs.store.packs import PackName, PackStore

KnownPlaces = Callable[[PackName], list[PackedObject]]
"""What the database says is in a pack; empty when it knows nothing."""


@dataclass(slots=True)
class SoundPack:
    """A stored pack whose `objects` are all verified. `levels` are those of its trees and recipes, by position."""

    name: PackName
    created_at_ns: int
    objects: list[PackedObject]
    levels: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Salvaged:
    """What was found: packs to rely on, and places in the store of files to set aside."""

    packs: list[SoundPack] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)
    bad_object_count: int = 0


def salvage(
    store: PackStore, spool: Path, known_places: KnownPlaces, now_ns: int, random_bytes: RandomBytes
) -> Salvaged:
    """Read all packs. Raises StorageFull or StorageFailed when packs cannot be read or good objects not be copied,
    NewerFormat."""
    salvaged = Salvaged()
    for place, name in list(store.files()):
        sound, whole = (None, False) if name is None else _read(store, name, known_places, now_ns, salvaged)
        if sound is not None and whole:
            salvaged.packs.append(sound)
            continue
        salvaged.unfit.append(place)
        if sound is not None and sound.objects:
            salvaged.packs.append(_copy(store, spool, sound, random_bytes))
    return salvaged


def _read(
    store: PackStore, name: PackName, known_places: KnownPlaces, now_ns: int, salvaged: Salvaged
) -> tuple[SoundPack | None, bool]:
    """The good objects of a pack, and whether it is sound as a whole; None if the store can make nothing of it."""
    try:
        opened = store.open(name)
    except DamagedPack:
        return None, False
    with opened:
        header = _header(opened)
        try:
            with PackReader(store.open(name)) as reader:
                places, whole = reader.objects, PackName(reader.header.project_uid, reader.header.pack_id) == name
        except DamagedPack:
            places, whole = known_places(name), False
        sound = SoundPack(name, now_ns if header is None else min(header.created_at_ns, now_ns), [])
        for placed, data in _verified(opened, places):
            if data is None:
                whole = False
                salvaged.bad_object_count += 1
                continue
            if placed.key.kind is not ObjectKind.CHUNK:
                sound.levels[len(sound.objects)] = describe(0, placed.key.kind, data).level
            sound.objects.append(placed)
    return sound, whole


def _header(opened: PackBytes) -> PackHeader | None:
    try:
        return decode_header(opened.pread(0, HEADER_BYTES))
    except DamagedPack:
        return None


def _verified(opened: PackBytes, places: list[PackedObject]) -> Iterator[tuple[PackedObject, bytes | None]]:
    """Each object with its bytes, None where they are damaged. Raises NewerFormat."""
    for placed in places:
        try:
            yield placed, verified(placed, opened.pread(placed.offset, placed.stored_bytes))
        except (DamagedObject, DamagedPack):
            yield placed, None


def _copy(store: PackStore, spool: Path, sound: SoundPack, random_bytes: RandomBytes) -> SoundPack:
    """A new stored pack of the good objects of a damaged one."""
    name = PackName(sound.name.project_uid, random_bytes(PACK_ID_BYTES))
    writer = PackWriter.in_spool(spool, PackHeader(name.pack_id, name.project_uid, sound.created_at_ns))
    try:
        with store.open(sound.name) as opened:
            for placed in sound.objects:
                stored = opened.pread(placed.offset, placed.stored_bytes)
                writer.add_encoded(placed.key, placed.size_bytes, placed.codec, stored)
        store.ingest(name, writer.finish())
    finally:
        writer.discard()
    return SoundPack(name, sound.created_at_ns, writer.objects, sound.levels)
