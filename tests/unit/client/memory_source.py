"""Objects in a dict, served as a client serves them, and counted."""

from __future__ import annotations

from collections.abc import Sequence

from artfs.errors import ObjectMissing, ReferenceForbidden
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.tree import decode_page
from artfs.vfs.ports import Bytes, DatedPage, OpenReference, Part
from artfs.wire.times import PageTimes

ENTERED_NS = 1_700_000_000 * 10**9


class MemorySource:
    """An `ObjectSource` over `objects`.

    Attributes:
        pages_read: digests of the pages asked for, in order.
        batches: how many keys each `read_many` asked for.
    """

    def __init__(self, objects: dict[ObjectKey, bytes]) -> None:
        self.objects = objects
        self.pages_read: list[Digest] = []
        self.batches: list[int] = []

    def read(self, project: str, key: ObjectKey, *, part: Part | None = None) -> Bytes:
        if key not in self.objects:
            raise ObjectMissing(f"the {key} is not stored in {project}")
        return self.objects[key]

    def read_many(self, project: str, keys: Sequence[ObjectKey], *, beside: bool = True, ahead: int = 0) -> list[Bytes]:
        self.batches.append(len(keys))
        return [self.read(project, key) for key in keys]

    def peek(self, project: str, key: ObjectKey) -> Bytes | None:
        return self.objects.get(key)

    @property
    def has_cache(self) -> bool:
        return False

    def held(self, project: str, keys: Sequence[ObjectKey], *, ahead: int = 0) -> list[Bytes]:
        return []

    def held_page(self, project: str, digest: Digest) -> DatedPage | None:
        return None

    def page(self, project: str, digest: Digest) -> DatedPage:
        self.pages_read.append(digest)
        page = decode_page(bytes(self.read(project, ObjectKey(ObjectKind.TREE, digest))))
        return DatedPage(page, PageTimes(b"", ENTERED_NS), ENTERED_NS)

    def peek_page(self, project: str, digest: Digest) -> DatedPage | None:
        return None

    def prepare(self, project: str, keys: Sequence[ObjectKey]) -> None:
        pass

    def open_references(self, project: str, files: Sequence[tuple[FileContent, str]]) -> list[OpenReference]:
        raise ReferenceForbidden("objects in memory follow no references")
