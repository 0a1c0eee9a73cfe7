"""The version below a draft: entries of its trees and bytes of its files, as they lie in the registry.

Everything here is immutable, so an answer stays true across awaits. Pages and objects come from memory when they are there and
through the door when not. Knows nothing of drafts.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from artfs.errors import DamagedObject
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import Recipe, decode_recipe
from artfs.model.tree import EntryKind, IndexPage, LeafPage
from artfs.vfs.door import Door, Lane
from artfs.vfs.ports import Bytes, DatedPage, ObjectSource, OpenReference
from artfs.vfs.reading import read_reference
from artfs.vfs.staging.inode import LowerEntry
from artfs.wire.times import PageTimes

COPY_BYTES = 4 << 20  # of what a reference refers to, held at once

Layout = Recipe | OpenReference | None
"""The recipe of a LARGE_FILE, what a REFERENCE refers to, nothing for one that is a chunk."""


class LowerPage(NamedTuple):
    """A run of a directory's entries; `first` is the ordinal of the first of them."""

    first: int
    page: LeafPage
    times: PageTimes
    created_at_ns: int

    def at(self, ordinal: int) -> LowerEntry:
        position = ordinal - self.first
        entry = self.page.entry(position)
        time = self.created_at_ns if entry.kind is EntryKind.SYMLINK else self.times[position]
        return LowerEntry(ordinal, entry, time)


class Lower:
    """Reads one project's trees and files. Holds nothing."""

    def __init__(self, source: ObjectSource, project: str, door: Door) -> None:
        self._source = source
        self._project = project
        self._door = door

    async def root_page(self, digest: Digest) -> DatedPage:
        """The page that `digest` names: a directory's only page, or its index."""
        page = self._source.peek_page(self._project, digest)
        if page is not None:
            return page
        return await self._door.run(Lane.CONTENT, self._source.page, self._project, digest)

    async def find(self, directory: Digest, name: str) -> LowerEntry | None:
        first, dated = 0, await self.root_page(directory)
        while isinstance(dated.page, IndexPage):
            i = dated.page.page_of(name)
            first += dated.page.start(i)
            dated = await self.root_page(dated.page.digest(i))
        position = dated.page.find(name)
        if position is None:
            return None
        return LowerPage(first, dated.page, dated.times, dated.created_at_ns).at(first + position)

    async def page_at(self, directory: Digest, ordinal: int) -> LowerPage:
        """The page that holds entry number `ordinal`, which exists."""
        first, dated = 0, await self.root_page(directory)
        while isinstance(dated.page, IndexPage):
            i, start = dated.page.page_at(ordinal - first)
            first += start
            dated = await self.root_page(dated.page.digest(i))
        return LowerPage(first, dated.page, dated.times, dated.created_at_ns)

    async def read(self, content: FileContent, layout: Layout, offset: int, length: int) -> bytes:
        """Bytes of a file, whose layout is from `layout`."""
        if offset >= content.size_bytes or length <= 0:
            return b""
        if layout is None:
            (data,) = await self._objects([content.key])
            if len(data) != content.size_bytes:
                raise DamagedObject(f"{content.key} is {len(data)} bytes where {content.size_bytes} belong")
            return bytes(data[offset : offset + length])
        end = min(offset + length, content.size_bytes)
        if not isinstance(layout, Recipe):
            return bytes(await read_reference(self._door, layout, offset, length))
        spans = list(layout.spans(offset, length))
        chunks = await self._objects([ObjectKey(ObjectKind.CHUNK, span.digest) for span in spans])
        pieces = zip(spans, chunks, strict=True)
        return b"".join(chunk[max(0, offset - span.start) : end - span.start] for span, chunk in pieces)

    async def layout(self, content: FileContent) -> Layout:
        """How a file is put together. Raises ReferenceForbidden."""
        if content.kind is EntryKind.REFERENCE:
            opened = await self._door.run(Lane.CONTENT, self._source.open_references, self._project, [(content, "")])
            return opened[0]
        if content.kind is not EntryKind.LARGE_FILE:
            return None
        (data,) = await self._objects([content.key])
        return checked_recipe(content, data)

    async def copy(self, content: FileContent, fd: int, length: int) -> None:
        """Write the first `length` bytes of a file into the empty file `fd`."""
        lane = Lane.REFERENCES if content.kind is EntryKind.REFERENCE else Lane.STAGING
        await self._door.run(lane, copy_content, self._source, self._project, content, fd, length)

    async def _objects(self, keys: list[ObjectKey]) -> list[Bytes]:
        held = [self._source.peek(self._project, key) for key in keys]
        found = [data for data in held if data is not None]
        if len(found) == len(keys):
            return found
        return await self._door.run(Lane.CONTENT, self._source.read_many, self._project, keys)


def copy_content(source: ObjectSource, project: str, content: FileContent, fd: int, length: int) -> None:
    """`Lower.copy`, in a thread: one chunk in memory at a time. Raises OSError for what the disk does."""
    if length == 0:
        return
    if content.kind is EntryKind.REFERENCE:
        _copy_reference(source.open_references(project, [(content, "")])[0], fd, length)
        return
    data = source.read(project, content.key)
    if content.kind is not EntryKind.LARGE_FILE:
        _write_all(fd, data[:length], 0)
        return
    for span in checked_recipe(content, data).spans(0, length):
        chunk = source.read(project, ObjectKey(ObjectKind.CHUNK, span.digest))
        _write_all(fd, chunk[: length - span.start], span.start)


def _copy_reference(opened: OpenReference, fd: int, length: int) -> None:
    for offset in range(0, length, COPY_BYTES):
        _write_all(fd, opened.read(offset, min(COPY_BYTES, length - offset)), offset)


def checked_recipe(content: FileContent, data: Bytes) -> Recipe:
    recipe = decode_recipe(bytes(data))
    if recipe.size_bytes != content.size_bytes:
        raise DamagedObject(f"the recipe {content.digest.text} is of a file of another size")
    return recipe


def _write_all(fd: int, data: Bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
