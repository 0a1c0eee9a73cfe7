"""Fetching what the references of a version refer to into the cache, before it is read. What is held already is skipped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from artfs.cache.object_cache import ObjectCache
from artfs.client.prefetch import RECORD_BYTES
from artfs.client.references.reader import OpenedReference, ReferenceReader
from artfs.client.trees import TreeReader
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey
from artfs.model.tree import Entry, EntryKind
from artfs.vfs.ports import ObjectSource

THREADS = 16  # each waits for somebody's server
WAITING = 2 * THREADS


@dataclass(slots=True)
class PrefetchedReferences:
    """What is done so far.

    Attributes:
        references, reference_bytes: met, and how long what they refer to is.
        fetched_reference_bytes: of those, what had to be fetched.
        lost_blocks: fetched, and yet not held afterwards: the cache has no room for them.
    """

    references: int = 0
    reference_bytes: int = 0
    fetched_reference_bytes: int = 0
    lost_blocks: int = 0


@dataclass(slots=True)
class ReferencesPin:
    """What a pin of references is to protect. `new_bytes` is of what no pin protects yet, `keys` are the blocks known so far."""

    keys: list[ObjectKey] = field(default_factory=list)
    block_count: int = 0
    size_bytes: int = 0
    new_bytes: int = 0


def references_in(
    source: ObjectSource, project: str, root: Digest, paths: Iterable[tuple[str, ...]]
) -> Iterator[Entry]:
    """The references in parts of a version; the empty path is all of it."""
    trees = TreeReader(source, project)
    for path in paths:
        entry = trees.lookup(root, path).entry if path else None
        if entry is not None and entry.kind is not EntryKind.DIRECTORY:
            found = iter([entry])
        else:
            found = (one.entry for one in trees.walk(root if entry is None else entry.digest))
        yield from (one for one in found if one.kind is EntryKind.REFERENCE)


def pin_of_references(
    source: ObjectSource, reader: ReferenceReader, cache: ObjectCache, project: str, entries: Iterable[Entry]
) -> ReferencesPin:
    """What a pin of references would protect: blocks whose digests are known, and how large all blocks are."""
    pin = ReferencesPin()
    for entry in entries:
        opened = _opened(source, project, entry)
        size_bytes = entry.size_bytes + RECORD_BYTES * opened.reference.block_count
        keys = [*opened.known_keys()]
        pin.keys += keys
        pin.block_count += opened.reference.block_count
        pin.size_bytes += size_bytes
        if len(keys) < opened.reference.block_count or cache.pinned.missing(project, keys):
            pin.new_bytes += size_bytes
    return pin


def _opened(source: ObjectSource, project: str, entry: Entry) -> OpenedReference:
    (opened,) = source.open_references(project, [(FileContent.of(entry), entry.name)])
    assert isinstance(opened, OpenedReference)
    return opened


def prefetch_references(
    source: ObjectSource,
    reader: ReferenceReader,
    project: str,
    entries: Iterable[Entry],
    report: Callable[[PrefetchedReferences], None] = lambda _: None,
) -> PrefetchedReferences:
    """Raises what reading raises; what was fetched until then is kept."""
    done = PrefetchedReferences()
    before_bytes = reader.status()["fetched_bytes"]
    running: deque[Future[int]] = deque()

    def finish() -> None:
        done.lost_blocks += running.popleft().result()
        done.fetched_reference_bytes = reader.status()["fetched_bytes"] - before_bytes
        report(done)

    def fetch(entry: Entry) -> int:
        return _opened(source, project, entry).prefetch()

    with ThreadPoolExecutor(THREADS, "artfs-prefetch-references") as threads:
        try:
            for entry in entries:
                done.references += 1
                done.reference_bytes += entry.size_bytes
                running.append(threads.submit(fetch, entry))
                while len(running) >= WAITING:
                    finish()
            while running:
                finish()
        finally:
            for fetching in running:
                fetching.cancel()
    return done
