"""Contents of files: any range of one, or all of it as a stream. Knows chunks, recipes and references; knows nothing of names."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from hashlib import sha256

from cachetools import LRUCache

from artfs.errors import DamagedObject
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import ChunkSpan, Recipe, decode_recipe
from artfs.model.tree import EntryKind
from artfs.vfs.ports import Bytes, ObjectSource, OpenReference

RECIPES_MAX = 16
STREAM_BYTES = 8 << 20  # read at a time; twice that is in memory


class FileReader:
    """Reads files of one project. Safe to use from several threads; owner of a few decoded recipes."""

    def __init__(self, source: ObjectSource, project: str) -> None:
        self._source = source
        self._project = project
        self._lock = threading.Lock()
        self._recipes: LRUCache[Digest, Recipe] = LRUCache(RECIPES_MAX)

    def read(self, content: FileContent, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer at the end of the file."""
        if content.kind is EntryKind.FILE:
            return bytes(self._whole(content)[offset : offset + length])
        if content.kind is EntryKind.REFERENCE:
            return bytes(self.reference(content).read(offset, length))
        spans = list(self.recipe(content).spans(offset, length))
        pieces = []
        for span, data in zip(spans, self._read_chunks(spans), strict=True):
            begin = max(0, offset - span.start)
            pieces.append(data[begin : offset + length - span.start])
        return b"".join(pieces)

    def stream(self, content: FileContent, ahead: Executor | None = None, *, name: str = "") -> Iterator[Bytes]:
        """The whole file in order.

        Args:
            ahead: a thread of it reads the next piece while the caller has this one.
            name: of the file, if it is known: see `ObjectSource.open_references`.
        """
        if content.kind is EntryKind.FILE:
            yield self._whole(content)
            return
        if content.kind is EntryKind.REFERENCE:
            yield from self.reference(content, name).stream()
            return
        groups = _groups(self.recipe(content))
        if ahead is None:
            for group in groups:
                yield from self._read_chunks(group)
            return
        coming: Future[list[Bytes]] | None = None
        for group in groups:
            following = ahead.submit(self._read_chunks, group)
            if coming is not None:
                yield from coming.result()
            coming = following
        if coming is not None:
            yield from coming.result()

    def file_digest(self, content: FileContent) -> Digest:
        """The SHA-256 of the file itself. What a reference without one refers to is read for it."""
        if content.kind is EntryKind.REFERENCE:
            opened = self.reference(content)
            return opened.reference.sha256 or _digest(opened.stream())
        return content.digest if content.kind is EntryKind.FILE else self.recipe(content).file_digest

    def reference(self, content: FileContent, name: str = "") -> OpenReference:
        """What a reference refers to. Raises ReferenceForbidden, DamagedObject."""
        return self._source.open_references(self._project, [(content, name)])[0]

    def recipe(self, content: FileContent) -> Recipe:
        """The recipe of a large file. Raises DamagedObject when it is of another length than the file."""
        with self._lock:
            recipe = self._recipes.get(content.digest)
        if recipe is None:
            recipe = decode_recipe(bytes(self._source.read(self._project, content.key)))
            with self._lock:
                self._recipes[content.digest] = recipe
        if recipe.size_bytes != content.size_bytes:
            raise DamagedObject(f"the {content.key} makes {recipe.size_bytes} bytes, not {content.size_bytes}")
        return recipe

    def _whole(self, content: FileContent) -> Bytes:
        return checked_length(content, self._source.read(self._project, content.key))

    def _read_chunks(self, spans: Sequence[ChunkSpan]) -> list[Bytes]:
        keys = [ObjectKey(ObjectKind.CHUNK, span.digest) for span in spans]
        pieces = self._source.read_many(self._project, keys)
        for span, data in zip(spans, pieces, strict=True):
            if len(data) != span.size_bytes:
                raise DamagedObject(f"the chunk {span.digest.text} is {len(data)} bytes, not {span.size_bytes}")
        return pieces


def checked_length(content: FileContent, data: Bytes) -> Bytes:
    """`data`, the chunk of a small file. Raises DamagedObject if the file's directory says another length."""
    if len(data) != content.size_bytes:
        raise DamagedObject(f"the {content.key} is {len(data)} bytes, not {content.size_bytes}")
    return data


def _digest(pieces: Iterator[Bytes]) -> Digest:
    digest = sha256()
    for piece in pieces:
        digest.update(piece)
    return Digest(digest.digest())


def _groups(recipe: Recipe) -> Iterator[list[ChunkSpan]]:
    group: list[ChunkSpan] = []
    size_bytes = 0
    for span in recipe.chunks():
        group.append(span)
        size_bytes += span.size_bytes
        if size_bytes >= STREAM_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group
