"""An ObjectSource straight over a registry on this machine: locate, read, verify, and a memory without bound that counts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from threading import Lock
from urllib.parse import unquote, urlsplit

from artfs.errors import DamagedObject, ObjectMissing
from artfs.model import codec
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.tree import decode_page
from artfs.vfs.ports import Bytes, DatedPage
from artfs.wire.records import Location
from artfs.wire.service import Registry
from artfs.wire.times import PageTimes


class RegistrySource:
    """Owner of `reads` and the memory: whoever holds the lock."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = Lock()
        self._objects: dict[tuple[str, ObjectKey], Bytes] = {}
        self._pages: dict[tuple[str, Digest], DatedPage] = {}
        self.reads: Counter[ObjectKey] = Counter()
        self.prepared: list[Sequence[ObjectKey]] = []

    def forget(self) -> None:
        """Empty the memory."""
        with self._lock:
            self._objects.clear()
            self._pages.clear()

    def read(self, project: str, key: ObjectKey) -> Bytes:
        found = self.peek(project, key)
        if found is None:
            found = self._fetch(key, self._locate(project, key))
            with self._lock:
                self._objects[project, key] = found
        return found

    def read_many(self, project: str, keys: Sequence[ObjectKey]) -> list[Bytes]:
        return [self.read(project, key) for key in keys]

    def peek(self, project: str, key: ObjectKey) -> Bytes | None:
        return self._objects.get((project, key))

    def page(self, project: str, digest: Digest) -> DatedPage:
        key = ObjectKey(ObjectKind.TREE, digest)
        location = self._locate(project, key)
        page = decode_page(bytes(self._fetch(key, location)))
        dated = DatedPage(page, PageTimes(location.times, location.created_at_ns), location.created_at_ns)
        with self._lock:
            self._pages[project, digest] = dated
        return dated

    def peek_page(self, project: str, digest: Digest) -> DatedPage | None:
        return self._pages.get((project, digest))

    def prepare(self, project: str, keys: Sequence[ObjectKey]) -> None:
        self._registry.objects.locate(project, keys)
        with self._lock:
            self.prepared.append(keys)

    def _locate(self, project: str, key: ObjectKey) -> Location:
        (location,) = self._registry.objects.locate(project, [key])
        if location is None:
            raise ObjectMissing(f"{key} is not stored in {project}")
        return location

    def _fetch(self, key: ObjectKey, location: Location) -> Bytes:
        with self._lock:
            self.reads[key] += 1
        fd = os.open(unquote(urlsplit(location.url).path), os.O_RDONLY)
        try:
            stored = os.pread(fd, location.stored_bytes, location.offset)
        finally:
            os.close(fd)
        data = codec.decode(location.codec, stored, location.size_bytes)
        if Digest.of(data) != key.digest:
            raise DamagedObject(f"the bytes of {key} do not match its digest")
        return data
