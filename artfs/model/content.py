"""What a stored file is, whatever its name: one chunk, a recipe of many, or a reference."""

from __future__ import annotations

from typing import NamedTuple

from artfs.model.digest import Digest, ObjectKey
from artfs.model.tree import OBJECT_KINDS, Entry, EntryKind


class FileContent(NamedTuple):
    """Content of a regular file; `kind` is FILE, LARGE_FILE or REFERENCE, `digest` that of its chunk, recipe or descriptor."""

    kind: EntryKind
    digest: Digest
    size_bytes: int

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(OBJECT_KINDS[self.kind], self.digest)

    @classmethod
    def of(cls, entry: Entry) -> FileContent:
        return cls(entry.kind, entry.digest, entry.size_bytes)
