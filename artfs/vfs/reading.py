"""Reading files of versions: memory at once, otherwise one hop through the door, however many chunks a request touches.

What is on this machine is read in a lane of its own. Decides what is fetched beside what was asked for: a directory that is
read learns where all its files are stored, files read one after another are fetched in batches, and a large file read in
order is fetched ahead of its reader (`read_ahead`). Bytes arrive verified from the source. Owner of the mutable
things here (recipes, what was prepared): the event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial

from cachetools import LRUCache

from artfs.errors import ArtfsError, DamagedObject, ObjectMissing
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import ChunkSpan, Recipe, decode_recipe
from artfs.model.tree import EntryKind, LeafPage
from artfs.vfs.door import Door, Lane
from artfs.vfs.page_numbers import PageKey
from artfs.vfs.ports import Bytes, ObjectSource, OpenReference
from artfs.vfs.read_ahead import Piece, ReadAhead, Stream
from artfs.vfs.read_order import ReadOrder
from artfs.vfs.tree_pages import TreePages
from artfs.wire.service import KEYS_MAX

RECIPE_CHUNKS_MAX = 1_000_000  # in all recipes held; about 50 bytes each
PREPARE_AFTER = 16  # reads at random in a page before learning the places of all its files (30 ms) pays
PREPARE_AT_ONCE_MAX = 32  # entries of a page whose files' places cost little beside a round trip: some 10 KiB
PREPARED_MAX = 4096  # directories' pages and windows of large files whose places were learned
PREPARE_CHUNKS = 256  # chunks of a large file whose places are learned at once
BATCH_BYTES_MAX = 4 << 20  # of neighbouring small files fetched at once

Prepare = Callable[[], Sequence[ObjectKey]]
"""What is about to be read; called behind the door."""

_log = logging.getLogger(__name__)


class OpenFile:
    """An open file of a version. It names its content itself, so that it keeps reading what it opened."""

    __slots__ = ("content", "inode", "page", "position", "project", "reference", "stream", "watched")

    def __init__(self, inode: int, page: PageKey, position: int, content: FileContent) -> None:
        self.inode = inode
        self.project = page.project
        self.page = page.shared
        self.position = position
        self.content = content
        self.stream: Stream | None = None  # of a LARGE_FILE, once it is read
        self.reference: OpenReference | None = None  # of a REFERENCE, once it is read
        self.watched = True  # for whether it is read at all: see `page_pushes`


class ContentReader:
    """Content of files, by open file, offset and size."""

    def __init__(self, source: ObjectSource, pages: TreePages, door: Door) -> None:
        self._source = source
        self._pages = pages
        self._door = door
        self._recipes: LRUCache[tuple[str, Digest], Recipe] = LRUCache(RECIPE_CHUNKS_MAX, getsizeof=len)
        self._prepared: LRUCache[tuple[PageKey | Digest, int], int] = LRUCache(PREPARED_MAX)
        self._order = ReadOrder()
        self._ahead = ReadAhead()

    async def read(self, file: OpenFile, offset: int, size_bytes: int) -> Bytes:
        """At most `size_bytes` from `offset`, fewer only at the end of the file. Raises OSError ESTALE, Damaged, Unavailable."""
        if offset >= file.content.size_bytes or size_bytes <= 0:
            return b""
        try:
            if file.content.kind is EntryKind.LARGE_FILE:
                return await self._read_large(file, offset, size_bytes)
            if file.content.kind is EntryKind.REFERENCE:
                return await self._read_reference(file, offset, size_bytes)
            return await self._read_small(file, offset, size_bytes)
        except ObjectMissing as missing:
            await self._pages.check_alive(file.project, file.page)
            raise missing from None

    def at_hand(self, file: OpenFile) -> Bytes | None:
        """The whole content of a file that is one chunk, if nothing has to be waited for."""
        if file.content.kind is not EntryKind.FILE:
            return None
        data = self._source.peek(file.project, file.content.key)
        return data if data is not None and len(data) == file.content.size_bytes else None

    async def digest(self, file: OpenFile) -> Digest | None:
        """SHA-256 of the whole file; None for a reference to what nobody has read."""
        if file.content.kind is EntryKind.REFERENCE:
            return (await self.reference(file)).reference.sha256
        if file.content.kind is EntryKind.LARGE_FILE:
            return (await self._recipe(file)).file_digest
        return file.content.digest

    async def reference(self, file: OpenFile) -> OpenReference:
        """What a REFERENCE refers to. Raises ReferenceForbidden."""
        if file.reference is None:
            named = [(file.content, (await self._leaf(file)).names[file.position])]
            (file.reference,) = await self._door.run(Lane.CONTENT, self._source.open_references, file.project, named)
        return file.reference

    async def run(self) -> None:
        """Fetch what readers will want next, until cancelled. One task of the mount."""
        await self._ahead.run()

    def status(self) -> dict[str, int]:
        return {"recipes": len(self._recipes), "recipe_chunks": int(self._recipes.currsize)}

    async def _read_small(self, file: OpenFile, offset: int, size_bytes: int) -> Bytes:
        data = self._source.peek(file.project, file.content.key)
        if data is None:
            page = await self._leaf(file)
            count = self._order.batch(file.page, file.position)
            keys = [file.content.key, *self._following(file, page, count)]
            held = await self._held(file.project, keys, ahead=len(keys) - 1)
            if held:
                data = held[0]
            else:
                neighbours = self._neighbours(file, page, in_order=count > 1)
                with self._ahead.others_first():
                    data = await self._door.run(Lane.CONTENT, self._fetch_first, file.project, keys, neighbours)
        if len(data) != file.content.size_bytes:
            raise DamagedObject(f"{file.content.key} is {len(data)} bytes where {file.content.size_bytes} belong")
        return data if not offset and len(data) <= size_bytes else memoryview(data)[offset : offset + size_bytes]

    async def _leaf(self, file: OpenFile) -> LeafPage:
        page = (await self._pages.load(file.page, file.page)).page
        if not isinstance(page, LeafPage):
            raise DamagedObject(f"{file.page.digest.text} is an index where a page of entries belongs")
        return page

    def _following(self, file: OpenFile, page: LeafPage, count: int) -> Iterator[ObjectKey]:
        """The small files among the `count` entries from this one on, without itself."""
        left_bytes = BATCH_BYTES_MAX - file.content.size_bytes
        end = min(file.position + count, len(page))
        for i in range(file.position + 1, end):
            if page.kind(i) is EntryKind.FILE:
                left_bytes -= page.size_bytes(i)
                if left_bytes < 0:
                    return
                yield ObjectKey(ObjectKind.CHUNK, page.digest(i))

    def _neighbours(self, file: OpenFile, page: LeafPage, *, in_order: bool = False) -> Prepare:
        """The contents of the files beside this one, once for each page that is read more than here and there."""
        reads = self._prepared.get((file.page, 0), 0) + 1
        if reads > PREPARE_AFTER:
            return _nothing
        at_once = in_order or len(page) <= PREPARE_AT_ONCE_MAX
        self._prepared[file.page, 0] = PREPARE_AFTER if at_once else reads
        if reads < PREPARE_AFTER and not at_once:
            return _nothing
        return lambda: [key for key in page.children() if key.kind is not ObjectKind.TREE][:KEYS_MAX]

    async def _read_large(self, file: OpenFile, offset: int, size_bytes: int) -> Bytes:
        recipe = await self._recipe(file, offset, size_bytes)
        if file.stream is None:
            file.stream = Stream()
        if file.stream.read(offset, size_bytes):
            self._ahead.follow(file.stream, recipe, partial(self._fetch_piece, file, recipe))
        spans = list(recipe.spans(offset, size_bytes))
        keys = [ObjectKey(ObjectKind.CHUNK, span.digest) for span in spans]
        chunks = [self._source.peek(file.project, key) for key in keys]
        if None in chunks:
            fetched = await self._fetch(file, keys, lambda: self._window(file.content.digest, recipe, offset), offset)
        else:
            fetched = [chunk for chunk in chunks if chunk is not None]
        return _cut(spans, fetched, offset, size_bytes)

    async def _read_reference(self, file: OpenFile, offset: int, size_bytes: int) -> Bytes:
        return await read_reference(self._door, await self.reference(file), offset, size_bytes)

    def _window(self, digest: Digest, recipe: Recipe, offset: int) -> Prepare:
        """The chunks from `offset` on, once for each window of the file."""
        window = recipe.index_at(offset) // PREPARE_CHUNKS
        if (digest, window) in self._prepared:
            return _nothing
        self._prepared[digest, window] = 1
        first = window * PREPARE_CHUNKS
        last = min(first + PREPARE_CHUNKS + 1, len(recipe))
        return lambda: [ObjectKey(ObjectKind.CHUNK, recipe.chunk(i).digest) for i in range(first, last)]

    async def _fetch_piece(self, file: OpenFile, recipe: Recipe, piece: Piece) -> None:
        """Have the chunks of a piece in memory."""
        project = file.project
        keys = [ObjectKey(ObjectKind.CHUNK, chunk.digest) for chunk in piece.chunks]
        prepare = self._window(file.content.digest, recipe, piece.end - 1)
        try:  # all in a lane of its own: those who wait have theirs to themselves
            await self._door.run(Lane.AHEAD, self._fetch_ahead, project, keys, prepare)
        except ArtfsError as error:  # whoever reads it meets the error again, and is told
            _log.info("reading ahead failed: %s", error)

    def _fetch_ahead(self, project: str, keys: Sequence[ObjectKey], prepare: Prepare) -> None:
        held = self._source.held(project, keys, ahead=len(keys))
        if missing := keys[len(held) :]:
            self._fetch_now(project, missing, prepare, ahead=len(missing))

    async def _recipe(self, file: OpenFile, offset: int = 0, size_bytes: int = 0) -> Recipe:
        """The file's recipe; if that must be fetched, with what is about to be read."""
        name = (file.project, file.content.digest)
        recipe = self._recipes.get(name)
        if recipe is None:
            held = await self._held(file.project, [file.content.key])
            if held:
                (data,) = held
            else:
                with self._ahead.others_first():
                    read = partial(self._source.read, file.project, file.content.key, part=(offset, size_bytes))
                    data = await self._door.run(Lane.CONTENT, read)
            recipe = decode_recipe(bytes(data))
            if recipe.size_bytes != file.content.size_bytes:
                raise DamagedObject(
                    f"{file.content.key} makes {recipe.size_bytes} bytes where {file.content.size_bytes} belong"
                )
            if len(recipe) <= RECIPE_CHUNKS_MAX:
                self._recipes[name] = recipe
        return recipe

    async def _fetch(
        self, file: OpenFile, keys: Sequence[ObjectKey], neighbours: Callable[[], Prepare], offset: int = -1
    ) -> list[Bytes]:
        """A large file's recipe, or chunks of it, the first of which holds the byte at `offset`."""
        held = await self._held(file.project, keys)
        if len(held) == len(keys):
            return held
        is_coming = file.stream is not None and self._ahead.is_coming(file.stream, offset)
        with nullcontext() if is_coming else self._ahead.others_first():
            return await self._door.run(Lane.CONTENT, self._fetch_now, file.project, keys, neighbours())

    async def _held(self, project: str, keys: Sequence[ObjectKey], *, ahead: int = 0) -> list[Bytes]:
        """What of `keys` is on this machine, from the first on: readers of that do not queue behind a slow registry."""
        if not self._source.has_cache:
            return []
        return await self._door.run(Lane.LOCAL, partial(self._source.held, ahead=ahead), project, keys)

    def _fetch_first(self, project: str, keys: Sequence[ObjectKey], prepare: Prepare) -> Bytes:
        """The first of `keys`, whatever is wrong with the others, which nobody has asked for yet."""
        try:
            return self._fetch_now(project, keys, prepare, beside=True, ahead=len(keys) - 1)[0]
        except ArtfsError:
            if len(keys) == 1:
                raise
            return self._source.read(project, keys[0])

    def _fetch_now(
        self, project: str, keys: Sequence[ObjectKey], prepare: Prepare, *, beside: bool = False, ahead: int = 0
    ) -> list[Bytes]:
        """`keys`; with what lies `beside` them if that may be worth it: around a chunk of a large file it is not."""
        prepared = prepare()
        if prepared:
            self._source.prepare(project, prepared)
        return self._source.read_many(project, keys, beside=beside, ahead=ahead)


async def read_reference(door: Door, opened: OpenReference, offset: int, size_bytes: int) -> Bytes:
    """Bytes of what a reference refers to: from this machine without queueing behind a slow server."""
    data = opened.peek(offset, size_bytes)
    if data is None:
        data = await door.run(Lane.LOCAL, opened.held, offset, size_bytes)
    if data is None:
        data = await door.run(Lane.REFERENCES, opened.read, offset, size_bytes)
    return data


def _nothing() -> Sequence[ObjectKey]:
    return ()


def _cut(spans: Sequence[ChunkSpan], chunks: Sequence[Bytes], offset: int, size_bytes: int) -> Bytes:
    """The bytes from `offset` out of the chunks that hold them. Raises DamagedObject if a chunk has another length."""
    parts = []
    for span, chunk in zip(spans, chunks, strict=True):
        if len(chunk) != span.size_bytes:
            raise DamagedObject(f"chunk {span.digest.text} is {len(chunk)} bytes where {span.size_bytes} belong")
        begin, end = max(0, offset - span.start), min(span.size_bytes, offset + size_bytes - span.start)
        parts.append(memoryview(chunk)[begin:end])
    return parts[0] if len(parts) == 1 else b"".join(parts)
