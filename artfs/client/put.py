"""`put`: a directory or file becomes a version.

Small files are read and hashed by a few threads, ahead of the main thread, which sends everything in the order of the tree,
so that neighbours lie together in a pack. A directory is written when everything below it is. Whatever fails, the draft is
abandoned and nothing was put.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from artfs.client.client import Client
from artfs.client.scan import Source, check_source, list_directory, look, user_xattrs
from artfs.client.source_file import read_small
from artfs.client.upload import UploadSession
from artfs.errors import UnsupportedFile
from artfs.model.chunking import WHOLE_FILE_BYTES_MAX
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.names import check_alias, check_file_name, check_name
from artfs.model.tree import NO_XATTRS, Entry, EntryKind, symlink_entry
from artfs.model.tree_build import build_directory
from artfs.wire.records import SealRequest, VersionRecord

READING_THREADS = 2
AHEAD_GROUPS = 8
GROUP_FILES = 64
GROUP_BYTES = 4 << 20  # about this, times AHEAD_GROUPS, is in memory


@dataclass(frozen=True, slots=True)
class PutProgress:
    """How far a put is. The totals are known from the first report on."""

    files: int
    size_bytes: int
    total_files: int
    total_bytes: int
    stored_bytes: int


Report = Callable[[PutProgress], None]


@dataclass(frozen=True, slots=True)
class PutResult:
    """What a put did. `created` is False when the newest version already was identical.

    `stored_bytes` are the compressed bytes of the `object_count` objects that were new to the project.
    """

    version: VersionRecord
    created: bool
    stored_bytes: int
    object_count: int


def put(
    client: Client,
    project: str,
    source: Path,
    request: SealRequest,
    *,
    xattrs: bool = False,
    report: Report = lambda _: None,
) -> PutResult:
    """Store `source` as a version of an artifact of `project`, which is created when absent.

    Args:
        source: a directory, or a file, which then is the only one in the version.
        request: what the version is to be; its `root` is set here.
        xattrs: keep `user.*` extended attributes as well.

    Raises UnsupportedFile naming everything that a version cannot hold, FileChanged, StorageFailed, TypeMismatch.
    """
    check_name("project", project)
    check_name("artifact", request.artifact)
    for alias in request.aliases:
        check_alias(alias)
    files = _Files(source)
    client.registry.projects.create(project, exist_ok=True)
    session = client.uploads.open(project)
    try:
        with _Put(session, files, xattrs=xattrs, report=report) as work:
            root = work.run()
        result = session.seal(_with_root(request, root))
    except BaseException:
        session.abandon()
        raise
    return PutResult(result.version, result.created, session.stored_bytes, session.object_count)


def _with_root(request: SealRequest, root: bytes) -> SealRequest:
    return SealRequest(
        artifact=request.artifact,
        root=root,
        aliases=request.aliases,
        type=request.type,
        description=request.description,
        metadata=request.metadata,
        created_by=request.created_by,
        keep_identical=request.keep_identical,
    )


class _Files:
    """The source, checked: a directory's entries, or the one file."""

    def __init__(self, source: Path) -> None:
        found = look(source, source.name)
        if found.target is not None:
            found = look(source.resolve(), source.name)
        self.is_directory = found.is_directory
        self.root = found
        if self.is_directory:
            totals = check_source(found.path)
            self.total_files, self.total_bytes = totals.file_count, totals.size_bytes
        else:
            check_file_name(found.name)
            if not os.path.isfile(found.path):
                raise UnsupportedFile(f"{source} is neither a file nor a directory")
            self.total_files, self.total_bytes = 1, found.status.st_size

    def entries(self) -> Iterator[Source]:
        return list_directory(self.root.path) if self.is_directory else iter([self.root])


class _Put:
    """One put under way, driven by the thread that calls `run`."""

    def __init__(self, session: UploadSession, files: _Files, *, xattrs: bool, report: Report) -> None:
        self._session = session
        self._files = files
        self._xattrs = xattrs
        self._report = report
        self._readers = ThreadPoolExecutor(READING_THREADS, "artfs-read")
        self._done_files = 0
        self._done_bytes = 0

    def __enter__(self) -> _Put:
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown(wait=True, cancel_futures=True)

    def run(self) -> bytes:
        """The digest of the root tree."""
        self._tell()
        digest = build_directory(self._entries(self._files.entries()), self._session.store_page).digest
        self._session.flush()
        self._tell()
        return digest

    def _entries(self, sources: Iterator[Source]) -> Iterator[Entry]:
        """The entries of one directory in order, its small files read ahead by the threads."""
        ahead: deque[Future[list[_SmallFile]] | Source] = deque()
        groups = _groups(sources)
        try:
            while True:
                for group in islice(groups, AHEAD_GROUPS - len(ahead)):
                    ahead.append(group if isinstance(group, Source) else self._readers.submit(_read_group, group))
                if not ahead:
                    return
                first = ahead.popleft()
                if isinstance(first, Source):
                    yield self._directory(first) if first.is_directory else self._large_file(first)
                else:
                    yield from map(self._small_file, first.result())
                self._tell()
        finally:
            for waiting in ahead:
                if not isinstance(waiting, Source):
                    waiting.cancel()

    def _directory(self, source: Source) -> Entry:
        summary = build_directory(self._entries(list_directory(source.path)), self._session.store_page)
        attributes = user_xattrs(source.path) if self._xattrs else NO_XATTRS
        return Entry(
            source.name,
            EntryKind.DIRECTORY,
            summary.digest,
            summary.size_bytes,
            file_count=summary.file_count,
            xattrs=attributes,
        )

    def _small_file(self, read: _SmallFile) -> Entry:
        source, digest, data = read
        if source.target is not None:
            self._done_files += 1
            return symlink_entry(source.name, source.target)
        return self._file(source, self._session.add_small(digest, data))

    def _large_file(self, source: Source) -> Entry:
        def progress(size_bytes: int) -> None:
            self._done_bytes += size_bytes
            self._tell()

        content = self._session.add_file(source.path, progress)
        self._done_bytes -= content.size_bytes  # `_file` counts it whole
        return self._file(source, content)

    def _file(self, source: Source, content: FileContent) -> Entry:
        self._done_files += 1
        self._done_bytes += content.size_bytes
        attributes = user_xattrs(source.path) if self._xattrs else NO_XATTRS
        return Entry(
            source.name, content.kind, content.digest, content.size_bytes, source.is_executable, xattrs=attributes
        )

    def _tell(self) -> None:
        files = self._files
        stored = self._session.stored_bytes
        self._report(PutProgress(self._done_files, self._done_bytes, files.total_files, files.total_bytes, stored))


class _SmallFile(NamedTuple):
    """A file that was read whole, or a symbolic link."""

    source: Source
    digest: Digest
    data: bytes


def _read_group(group: list[Source]) -> list[_SmallFile]:
    return [_SmallFile(source, *(read_small(source.path) if source.target is None else _NOTHING)) for source in group]


_NOTHING = (Digest.of(b""), b"")


def _groups(sources: Iterator[Source]) -> Iterator[list[Source] | Source]:
    """Runs of small files for one thread at a time; directories and large files by themselves."""
    group: list[Source] = []
    size_bytes = 0
    for source in sources:
        alone = source.is_directory or (source.target is None and source.status.st_size > WHOLE_FILE_BYTES_MAX)
        if group and (alone or len(group) >= GROUP_FILES or size_bytes >= GROUP_BYTES):
            yield group
            group, size_bytes = [], 0
        if alone:
            yield source
        else:
            group.append(source)
            size_bytes += source.status.st_size
    if group:
        yield group
