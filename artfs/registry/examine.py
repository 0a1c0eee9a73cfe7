"""Checking an arriving pack by itself: its header, its index, and every object in it that refers to others.

Decides what a pack claims: objects, and for each parent its children with the sizes it says they have. Whether the children
exist and agree is `registering`'s business, which sees the database. Reads one local file; owns nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from artfs.errors import DamagedObject, DamagedPack
from artfs.model.digest import DIGEST_BYTES, ObjectKind
from artfs.model.pack import UNPACKED_BYTES_MAX, PackedObject, PackHeader
from artfs.model.recipe import Recipe, decode_recipe
from artfs.model.tree import EXECUTABLE_FLAG, OBJECT_KINDS, EntryKind, IndexPage, LeafPage, decode_page
from artfs.registry.resources import Verify
from artfs.store.pack_file import Bytes, PackReader

NO_OBJECT = 0  # stands for a symbolic link among the kinds of children
NOT_SAID = -1  # how long a reference's descriptor is: an entry says how long that is which it refers to
_OBJECT_KINDS = {int(kind): object_kind for kind, object_kind in OBJECT_KINDS.items()}
_REFERENCES = frozenset((EntryKind.REFERENCE, EntryKind.REFERENCE | EXECUTABLE_FLAG))
_OBJECT_KIND_OF = bytes(_OBJECT_KINDS.get(flags & 0xF, NO_OBJECT) for flags in range(256))  # by an entry's flags


@dataclass(slots=True)
class Parent:
    """An object that refers to others, in columns: one item per child in the parent's order, symbolic links included.

    Attributes:
        position: its place in the pack.
        level, entries, size_bytes, files, first_name, last_name: see table `summaries`; `last_name` of an index is
            taken from its last page when that is known.
        kinds: the child's ObjectKind, or NO_OBJECT.
        digests: 32 bytes a child.
        sizes, counts, files_below: what the parent says of the child, a size perhaps NOT_SAID; `counts` only for an
            index's pages.
        firsts: first names of an index's pages.
    """

    position: int
    kind: ObjectKind
    level: int
    entries: int
    size_bytes: int
    files: int
    first_name: str
    last_name: str
    kinds: bytes
    digests: bytes
    sizes: array[int]
    files_below: array[int]
    counts: array[int]
    firsts: list[str]

    def __len__(self) -> int:
        return len(self.kinds)

    def children(self) -> Iterator[tuple[int, bytes]]:
        """Kind and digest of each child, in order."""
        digests = self.digests
        return ((kind, digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]) for i, kind in enumerate(self.kinds))


@dataclass(slots=True)
class ExaminedPack:
    """A pack that is sound in itself. `parents` are in the order of their bytes."""

    header: PackHeader
    objects: list[PackedObject]
    parents: list[Parent]
    size_bytes: int


def examine(path: Path, verify: Verify) -> ExaminedPack:
    """Read and check the finished pack at `path`. Raises DamagedPack, NewerFormat or StorageFailed."""
    try:
        with PackReader(path) as reader:
            unpacked_bytes = sum(placed.size_bytes for placed in reader.objects)
            if verify is Verify.ALL and unpacked_bytes > UNPACKED_BYTES_MAX:
                raise DamagedPack(f"the pack {path.name} unpacks to {unpacked_bytes} bytes", hint="send less at once")
            parents = [
                describe(position, placed.key.kind, data)
                for position, placed, data in _read(reader, verify)
                if placed.key.kind is not ObjectKind.CHUNK
            ]
            return ExaminedPack(reader.header, reader.objects, parents, reader.size_bytes)
    except DamagedObject as error:
        raise DamagedPack(f"the pack {path.name} is refused: {error.message}", hint="send it again") from error


def _read(reader: PackReader, verify: Verify) -> Iterator[tuple[int, PackedObject, Bytes]]:
    for position, placed in enumerate(reader.objects):
        if verify is Verify.ALL or placed.key.kind is not ObjectKind.CHUNK:
            yield position, placed, reader.read(placed)


def describe(position: int, kind: ObjectKind, data: Bytes) -> Parent:
    """A parent from its verified bytes. Raises DamagedObject or NewerFormat."""
    if kind is ObjectKind.RECIPE:
        return _of_recipe(position, decode_recipe(bytes(data)))
    page = decode_page(bytes(data))
    return _of_leaf(position, page) if isinstance(page, LeafPage) else _of_index(position, page)


def _of_recipe(position: int, recipe: Recipe) -> Parent:
    spans = list(recipe.chunks())
    return Parent(
        position,
        ObjectKind.RECIPE,
        level=0,
        entries=len(spans),
        size_bytes=recipe.size_bytes,
        files=1,
        first_name="",
        last_name="",
        kinds=bytes([ObjectKind.CHUNK]) * len(spans),
        digests=b"".join(span.digest for span in spans),
        sizes=array("q", (span.size_bytes for span in spans)),
        files_below=array("q"),
        counts=array("q"),
        firsts=[],
    )


def _of_leaf(position: int, page: LeafPage) -> Parent:
    flags, sizes, digests = page.columns
    kinds = flags.translate(_OBJECT_KIND_OF)
    files_below = array("q", [1]) * len(kinds)
    for i, kind in enumerate(kinds):
        if kind == ObjectKind.TREE:
            files_below[i] = page.entry(i).file_count
    children_sizes = array("q", sizes)
    if not _REFERENCES.isdisjoint(flags):
        for i, flag in enumerate(flags):
            if flag in _REFERENCES:
                children_sizes[i] = NOT_SAID
    return Parent(
        position,
        ObjectKind.TREE,
        level=0,
        entries=len(kinds),
        size_bytes=sum(sizes),
        files=sum(files_below),
        first_name=page.names[0] if kinds else "",
        last_name=page.names[-1] if kinds else "",
        kinds=kinds,
        digests=digests,
        sizes=children_sizes,
        files_below=files_below,
        counts=array("q"),
        firsts=[],
    )


def _of_index(position: int, page: IndexPage) -> Parent:
    pages = [page.page(i) for i in range(len(page))]
    return Parent(
        position,
        ObjectKind.TREE,
        level=page.level,
        entries=page.entry_count,
        size_bytes=sum(p.size_bytes for p in pages),
        files=sum(p.file_count for p in pages),
        first_name=page.firsts[0],
        last_name="",
        kinds=bytes([ObjectKind.TREE]) * len(pages),
        digests=b"".join(p.digest for p in pages),
        sizes=array("q", (p.size_bytes for p in pages)),
        files_below=array("q", (p.file_count for p in pages)),
        counts=array("q", (p.entry_count for p in pages)),
        firsts=page.firsts,
    )
