"""Fetching a version, or parts of one, into the cache before it is read, and pinning it there. Of a reference, its descriptor.

Decides in which order and how much at once: trees are walked in their own order, in which objects were packed, and what is not
held is read in large batches by a few threads. What is held already is skipped, so an interrupted run goes on where it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from artfs.cache.object_cache import ObjectCache
from artfs.client.trees import TreeReader
from artfs.errors import StorageFull
from artfs.model.digest import DIGEST_BYTES, Digest, ObjectKey, ObjectKind
from artfs.model.recipe import decode_recipe
from artfs.model.reference import block_bytes_for
from artfs.model.sizes import format_size
from artfs.model.tree import Entry, EntryKind, IndexPage, TreePage, decode_page
from artfs.vfs.ports import Bytes, ObjectSource

THREADS = 4
BATCH_BYTES = 16 << 20  # read at once by one thread
BATCH_KEYS = 2048
BATCHES_WAITING = THREADS + 2
PAGES_AT_ONCE = 64
RECIPES_AT_ONCE = 64
DESCRIPTOR_BYTES = 256  # of a reference, about, besides the digests of blocks
RECORD_BYTES = 80  # what an object takes in the cache besides its own bytes, about
PINNED_SHARE_MAX = 0.75  # of the cache's limit; the rest is for what is not pinned, and for moving segments

Sized = tuple[ObjectKey, int]
"""An object and how many bytes it has."""


@dataclass(slots=True)
class Prefetched:
    """What is done so far.

    Attributes:
        objects, size_bytes: met, held before or not; an object that occurs again counts again.
        fetched_objects, fetched_bytes: of those, what had to be fetched.
        lost_objects: fetched, and yet not held afterwards: the cache has no room for them.
    """

    files: int = 0
    objects: int = 0
    size_bytes: int = 0
    fetched_objects: int = 0
    fetched_bytes: int = 0
    lost_objects: int = 0


Report = Callable[[Prefetched], None]


class VersionObjects:
    """All objects of parts of a version, in the order in which they are stored.

    Args:
        paths: what of the version; the empty path is all of it. The directories on the way to each are included.
    """

    def __init__(self, source: ObjectSource, project: str, root: Digest, paths: Iterable[tuple[str, ...]]) -> None:
        self._source = source
        self._project = project
        self._root = root
        self._paths = [*paths]
        self.file_count = 0

    def check(self) -> int:
        """Bytes of the files in all parts. Raises PathNotFound for one that is not there."""
        tree = TreeReader(self._source, self._project)
        return sum(tree.lookup(self._root, path).entry.size_bytes for path in self._paths if path)

    def walk(self) -> Iterator[Sized]:
        """Objects with their sizes. One that occurs in several places may come several times."""
        self.file_count = 0
        for path in self._paths:
            yield from self._part(path)

    def _part(self, path: tuple[str, ...]) -> Iterator[Sized]:
        directory = self._root
        for name in path:
            yield from self._directory_pages(directory)
            entry = TreeReader(self._source, self._project).lookup(directory, (name,)).entry
            if entry.kind is not EntryKind.DIRECTORY:
                if entry.key is not None:
                    yield from self._files([(entry.key, _stored_bytes(entry))])
                return
            directory = entry.digest
        yield from self._tree(directory)

    def _directory_pages(self, directory: Digest) -> Iterator[Sized]:
        """The pages of a directory itself, without what is below."""
        waiting = deque([directory])
        while waiting:
            for key, data, page in self._read_pages(
                [waiting.popleft() for _ in range(min(len(waiting), PAGES_AT_ONCE))]
            ):
                yield key, len(data)
                if isinstance(page, IndexPage):
                    waiting.extend(page.digest(i) for i in range(len(page)))

    def _tree(self, root: Digest) -> Iterator[Sized]:
        stack = [root]
        while stack:
            batch = [stack.pop() for _ in range(min(len(stack), PAGES_AT_ONCE))]
            below: list[Digest] = []
            for key, data, page in self._read_pages(batch):
                yield key, len(data)
                if isinstance(page, IndexPage):
                    below.extend(page.digest(i) for i in range(len(page)))
                    continue
                entries = [page.entry(i) for i in range(len(page))]
                below.extend(entry.digest for entry in entries if entry.kind is EntryKind.DIRECTORY)
                files = (entry for entry in entries if entry.kind is not EntryKind.DIRECTORY)
                yield from self._files([(entry.key, _stored_bytes(entry)) for entry in files if entry.key is not None])
            stack.extend(reversed(below))

    def _read_pages(self, digests: list[Digest]) -> Iterator[tuple[ObjectKey, Bytes, TreePage]]:
        keys = [ObjectKey(ObjectKind.TREE, digest) for digest in digests]
        self._source.prepare(self._project, keys)  # their times are remembered too
        for key, data in zip(keys, self._source.read_many(self._project, keys), strict=True):
            yield key, data, decode_page(bytes(data))

    def _files(self, files: list[Sized]) -> Iterator[Sized]:
        """Contents of files; the chunks of a large one after its recipe."""
        self.file_count += len(files)
        large = [key for key, _ in files if key.kind is ObjectKind.RECIPE]
        for start in range(0, len(large), RECIPES_AT_ONCE):
            keys = large[start : start + RECIPES_AT_ONCE]
            for key, data in zip(keys, self._source.read_many(self._project, keys), strict=True):
                yield key, len(data)
                for span in decode_recipe(bytes(data)).chunks():
                    yield ObjectKey(ObjectKind.CHUNK, span.digest), span.size_bytes
        yield from (file for file in files if file[0].kind is ObjectKind.CHUNK)


class Prefetcher:
    """Fills `cache` through `source`, which keeps there what it reads."""

    def __init__(self, source: ObjectSource, cache: ObjectCache, project: str) -> None:
        self._source = source
        self._cache = cache
        self._project = project

    def fetch(self, objects: VersionObjects, report: Report = lambda _: None) -> Prefetched:
        """Fetch what is not held. Raises what reading raises; what was fetched until then is kept."""
        done = Prefetched()
        running: deque[tuple[Future[list[Bytes]], list[Sized]]] = deque()
        with ThreadPoolExecutor(THREADS, "artfs-prefetch") as threads:
            try:
                for batch in _batches(objects.walk()):
                    absent = self._cache.absent(self._project, [key for key, _ in batch])
                    wanted = list({key: size for key, size in batch if key in absent}.items())
                    done.files = objects.file_count
                    done.objects += len(batch)
                    done.size_bytes += sum(size for _, size in batch) - sum(size for _, size in wanted)
                    if wanted:
                        keys = [key for key, _ in wanted]
                        running.append((threads.submit(self._source.read_many, self._project, keys), wanted))
                    while len(running) >= BATCHES_WAITING:
                        self._finish(running, done)
                    report(done)
                while running:
                    self._finish(running, done)
                    report(done)
            finally:
                for reading, _ in running:
                    reading.cancel()
        done.files = objects.file_count
        return done

    def _finish(self, running: deque[tuple[Future[list[Bytes]], list[Sized]]], done: Prefetched) -> None:
        reading, wanted = running.popleft()
        reading.result()
        size_bytes = sum(size for _, size in wanted)
        done.size_bytes += size_bytes
        done.fetched_bytes += size_bytes
        done.fetched_objects += len(wanted)
        done.lost_objects += len(self._cache.absent(self._project, [key for key, _ in wanted]))


@dataclass(frozen=True, slots=True)
class PinPlan:
    """What a pin would protect. `new_bytes` is what no pin protects yet, `room_bytes` what may still be pinned."""

    name: str
    object_count: int
    size_bytes: int
    new_bytes: int
    room_bytes: int

    def check(self) -> None:
        """Raises StorageFull if it does not fit."""
        if self.new_bytes > self.room_bytes:
            raise StorageFull(
                f"pinning needs {format_size(self.new_bytes)} and the cache has room for {format_size(self.room_bytes)}"
                " of pinned objects",
                hint="raise cache_size, or unpin something: artfs cache pins",
            )


def plan_pin(cache: ObjectCache, name: str, project: str, objects: VersionObjects) -> PinPlan:
    """Look at all that `objects` are: their trees and recipes are read, nothing else is."""
    seen: set[int] = set()
    size_bytes = new_bytes = 0
    for batch in _batches(objects.walk()):
        fresh = {key: size + RECORD_BYTES for key, size in batch if _mark(key) not in seen}
        seen.update(map(_mark, fresh))
        size_bytes += sum(fresh.values())
        new_bytes += sum(fresh[key] for key in cache.pinned.missing(project, list(fresh)))
    info = cache.info()
    room_bytes = max(0, int(info.limit_bytes * PINNED_SHARE_MAX) - info.pinned_bytes)
    return PinPlan(name, len(seen), size_bytes, new_bytes, room_bytes)


def _stored_bytes(entry: Entry) -> int:
    """How long an entry's object is; of a reference's descriptor, about."""
    if entry.kind is not EntryKind.REFERENCE:
        return entry.size_bytes
    return DESCRIPTOR_BYTES + DIGEST_BYTES * (entry.size_bytes // block_bytes_for(entry.size_bytes))


def _mark(key: ObjectKey) -> int:
    return int.from_bytes(key.digest[:8], "big") ^ key.kind


def _batches(objects: Iterable[Sized]) -> Iterator[list[Sized]]:
    batch: list[Sized] = []
    size_bytes = 0
    for key, size in objects:
        batch.append((key, size))
        size_bytes += size
        if size_bytes >= BATCH_BYTES or len(batch) >= BATCH_KEYS:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
