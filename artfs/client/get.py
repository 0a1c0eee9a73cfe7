"""`get`: a version, or a part of it, becomes files in a directory.

Only what is missing or different is written. The calling thread walks the tree and makes directories; batches of files are
compared, read and written by a few threads. Where and how files are written is `target`'s business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import NamedTuple

from artfs.client.files import FileReader, checked_length
from artfs.client.target import Target
from artfs.client.threads import Threads
from artfs.client.trees import Found, TreeReader
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.names import check_name
from artfs.model.tree import EntryKind
from artfs.vfs.ports import Bytes, ObjectSource
from artfs.wire.records import VersionRecord

WRITING_THREADS = 2
AHEAD_BATCHES = 4
REFERENCE_THREADS = 16  # each waits for somebody's server
AHEAD_REFERENCES = 2 * REFERENCE_THREADS
BATCH_FILES = 256
BATCH_BYTES = 8 << 20
REPORT_S = 0.2
BATCH_DIRECTORIES = 32  # each is an open descriptor


@dataclass(slots=True)
class GetResult:
    """What a get found and did, so far or in the end. `files` counts files and symbolic links, `size_bytes` all of them."""

    files: int = 0
    size_bytes: int = 0
    files_written: int = 0
    bytes_written: int = 0

    def add(self, other: GetResult) -> None:
        self.files += other.files
        self.size_bytes += other.size_bytes
        self.files_written += other.files_written
        self.bytes_written += other.bytes_written


Report = Callable[[GetResult], None]


class _Item(NamedTuple):
    """A file or symbolic link, and the directory it belongs into."""

    found: Found
    target: Target


@dataclass(slots=True)
class _Batch:
    """Items whose small files are read together. Each holds its directory open.

    `arrived_bytes` of large files were written so far; the thread that writes them says so.
    """

    items: list[_Item] = field(default_factory=list)
    size_bytes: int = 0
    arrived_bytes: int = 0
    directories: set[int] = field(default_factory=set)

    def add(self, found: Found, target: Target) -> None:
        self.items.append(_Item(found, target.share()))
        self.size_bytes += found.entry.size_bytes
        self.directories.add(id(target))

    @property
    def is_full(self) -> bool:
        return (
            len(self.items) >= BATCH_FILES
            or self.size_bytes >= BATCH_BYTES
            or len(self.directories) >= BATCH_DIRECTORIES
        )

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is one reference."""
        return self.items[0].found.entry.kind is EntryKind.REFERENCE

    def close(self) -> None:
        for item in self.items:
            item.target.close()


class Getter:
    """Writes trees of one project below directories. For one thread at a time.

    Args:
        report: told the result so far, now and then, in the calling thread; with the bytes of files that are not whole yet.
    """

    def __init__(self, source: ObjectSource, project: str, report: Report = lambda _: None) -> None:
        self._source = source
        self._project = project
        self._trees = TreeReader(source, project)
        self._files = FileReader(source, project)
        self._report = report
        self._stopping = Event()  # interrupted or failed: large files are not finished
        self.result = GetResult()

    def get_tree(self, tree: Digest, root: Path, below: Sequence[str] = ()) -> GetResult:
        """Make everything in the directory `tree` be in `root`, which is created. Other files there stay.

        Args:
            below: names of directories, one in another, to write into instead, never out of `root` by a link.

        Raises AlreadyExists for a directory in a file's place, StorageFull, StorageFailed, Damaged and what reading raises.
        """
        target = _opened(root, below)
        try:
            self._write(self._walk(tree, target))
        finally:
            target.close()
        return self.result

    def get_entry(self, found: Found, root: Path, below: Sequence[str] = ()) -> GetResult:
        """Make one file or link be in the directory `root`, or `below` that, under its own name."""
        target = _opened(root, below)
        try:
            self._write(_Item(item, target) for item in (found,))
        finally:
            target.close()
        return self.result

    def _walk(self, tree: Digest, root: Target) -> Generator[_Item, None, None]:
        """Every file and link below, its directory made. A target is only valid until the next item is asked for."""
        stack = [(root.share(), self._trees.list(tree, descend=True))]
        try:
            while stack:
                target, entries = stack[-1]
                found = next(entries, None)
                if found is None:
                    stack.pop()
                    target.close()
                elif found.entry.kind is EntryKind.DIRECTORY:
                    below = target.subdirectory(found.entry.name)
                    stack.append((below, self._trees.list(found.entry.digest, descend=True)))
                else:
                    yield _Item(found, target)
        finally:
            for target, _ in stack:
                target.close()

    def _write(self, items: Generator[_Item, None, None]) -> None:
        running: deque[tuple[_Batch, Future[GetResult]]] = deque()
        self._stopping.clear()
        with (
            Threads(WRITING_THREADS, "artfs-write") as writers,
            Threads(REFERENCE_THREADS, "artfs-references") as followers,
            Threads(1, "artfs-fetch") as ahead,
            closing(items),
            closing(_batches(items)) as batches,
        ):
            try:
                for batch in batches:
                    threads, most = (followers, AHEAD_REFERENCES) if batch.is_elsewhere else (writers, AHEAD_BATCHES)
                    running.append((batch, threads.submit(self._write_batch, batch, ahead)))
                    while len(running) >= most:
                        self._finish(running)
                while running:
                    self._finish(running)
            finally:
                self._stopping.set()  # all is written, or will not be
                for pool in (writers, followers):
                    pool.shutdown(wait=True, cancel_futures=True)
                for batch, _ in running:
                    batch.close()

    def _finish(self, running: deque[tuple[_Batch, Future[GetResult]]]) -> None:
        batch, writing = running[0]
        while not wait([writing], REPORT_S).done:
            self._tell(running)
        self.result.add(writing.result())
        running.popleft()
        batch.close()
        self._tell(running)

    def _tell(self, running: Iterable[tuple[_Batch, Future[GetResult]]]) -> None:
        arrived_bytes = sum(batch.arrived_bytes for batch, _ in running)
        self._report(replace(self.result, size_bytes=self.result.size_bytes + arrived_bytes))

    # In a writing thread.
    def _write_batch(self, batch: _Batch, ahead: Threads) -> GetResult:
        result = GetResult(len(batch.items), sum(item.found.entry.size_bytes for item in batch.items))
        differing = [item for item in batch.items if not self._is_there(item)]
        small = [item.found.entry for item in differing if item.found.entry.kind is EntryKind.FILE]
        keys = [FileContent.of(entry).key for entry in small]
        contents = dict(zip(keys, self._source.read_many(self._project, keys), strict=True))
        for item in differing:
            entry = item.found.entry
            if entry.kind is EntryKind.SYMLINK:
                item.target.write_link(entry.name, entry.target or "")
            else:
                content = FileContent.of(entry)
                small_file = contents.get(content.key) if content.kind is EntryKind.FILE else None
                pieces = (
                    self._files.stream(content, ahead, name=entry.name)
                    if small_file is None
                    else [checked_length(content, small_file)]
                )
                item.target.write_file(
                    entry.name, self._until_stopped(pieces, batch), entry.executable, item.found.time_ns
                )
            result.files_written += 1
            result.bytes_written += entry.size_bytes
        return result

    def _until_stopped(self, pieces: Iterable[Bytes], batch: _Batch) -> Iterator[Bytes]:
        for piece in pieces:
            if self._stopping.is_set():
                raise CancelledError
            yield piece
            batch.arrived_bytes += len(piece)

    def _is_there(self, item: _Item) -> bool:
        entry = item.found.entry
        if entry.kind is EntryKind.SYMLINK:
            return item.target.has_link(entry.name, entry.target or "")
        content = FileContent.of(entry)
        return item.target.has_file(
            entry.name,
            entry.size_bytes,
            lambda: self._files.file_digest(content),
            entry.executable,
            item.found.time_ns,
        )


def default_root(version: VersionRecord) -> Path:
    """Where a version is put where nobody says. Raises InvalidName, rather than follow a server out of the directory."""
    return Path("artifacts") / f"{check_name('artifact', version.artifact)}:{version.name}"


def _opened(root: Path, below: Sequence[str]) -> Target:
    target = Target.open(root)
    for name in below:
        try:
            inner = target.subdirectory(name)
        finally:
            target.close()
        target = inner
    return target


def _batches(items: Generator[_Item, None, None]) -> Generator[_Batch, None, None]:
    """Runs of items; a large file, or what is read elsewhere, is by itself, so that it keeps nothing waiting."""
    batch = _Batch()
    try:
        for found, target in items:
            is_large = found.entry.kind in (EntryKind.LARGE_FILE, EntryKind.REFERENCE)
            if batch.items and (is_large or batch.is_full):
                full, batch = batch, _Batch()
                yield full
            batch.add(found, target)
            if is_large:
                full, batch = batch, _Batch()
                yield full
        if batch.items:
            full, batch = batch, _Batch()
            yield full
    finally:
        batch.close()
