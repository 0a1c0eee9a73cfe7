"""`put`: a directory or file becomes a version.

The source is scanned first, so that what a version cannot hold is refused before anything is sent. Then small files are read and
hashed by a few threads, ahead of the calling thread, which takes everything in the order of the tree, so that neighbours lie
together in a pack, and writes a directory when everything below it is known. Whatever fails, nothing was put. The draft is
abandoned then, except when the registry is not available: what it has got is not sent again by the next put.
"""

from __future__ import annotations

import logging
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeGuard

import msgspec

from artfs.client.client import Client
from artfs.client.scan import AnyStep, End, Ready, Source, Totals, find_problem, look, scan, user_xattrs, walk
from artfs.client.source_file import read_small
from artfs.client.threads import Threads
from artfs.client.upload import UploadSession
from artfs.errors import ArtfsError, ArtifactNotFound, RegistryUnavailable, TypeMismatch, UnsupportedFile
from artfs.model.chunking import WHOLE_FILE_BYTES_MAX
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.names import check_alias, check_file_name, check_name
from artfs.model.tree import NO_XATTRS, Entry, EntryKind, PageSummary, symlink_entry
from artfs.model.tree_build import DirectoryBuilder
from artfs.wire.records import SealRequest, VersionRecord

READING_THREADS = 2
AHEAD_GROUPS = 8
GROUP_STEPS = 128
GROUP_BYTES = 4 << 20  # about this, times AHEAD_GROUPS, is in memory

_log = logging.getLogger(__name__)


class Plan(Protocol):
    """What becomes a version."""

    @property
    def totals(self) -> Totals: ...
    def steps(self) -> Iterator[AnyStep]:
        """What goes into the version, in the order of a tree, what is in a directory between its Source and an End."""


@dataclass(frozen=True, slots=True)
class PutPlan:
    """What is to be put: a directory, or the one file of the version."""

    source: Source
    totals: Totals

    def steps(self) -> Iterator[AnyStep]:
        return walk(self.source.path) if self.source.is_directory else iter((self.source,))


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


def plan_put(source: Path) -> PutPlan:
    """Scan `source`; a symbolic link is followed. Raises UnsupportedFile naming everything that a version cannot hold."""
    found = look(os.path.realpath(source), source.name or source.resolve().name)
    if found.is_directory:
        return PutPlan(found, scan(found.path))
    check_file_name(found.name)
    problem = find_problem(found)
    if problem is not None:
        raise UnsupportedFile(f"a version cannot hold this: {problem}", hint="put a directory or a file")
    return PutPlan(found, Totals(1, found.size_bytes))


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
    check_names(project, request)
    return put_plan(client, project, plan_put(source), request, xattrs=xattrs, report=report)


def put_plan(
    client: Client,
    project: str,
    plan: Plan,
    request: SealRequest,
    *,
    xattrs: bool = False,
    report: Report = lambda _: None,
) -> PutResult:
    """The same for what a plan says, wherever its files are."""
    check_names(project, request)
    return store(client, project, request, lambda session: store_plan(session, plan, xattrs=xattrs, report=report))


def store(client: Client, project: str, request: SealRequest, fill: Callable[[UploadSession], Digest]) -> PutResult:
    """Make a version of what `fill` stores, whose root it returns. Whatever it raises, nothing was stored."""
    client.registry.projects.create(project, exist_ok=True)
    check_type(client, project, request)
    with upload_session(client, project) as session:
        result = session.seal(msgspec.structs.replace(request, root=fill(session)))
    return PutResult(result.version, result.created, session.sent.stored_bytes, session.sent.object_count)


def store_plan(session: UploadSession, plan: Plan, *, xattrs: bool = False, report: Report = lambda _: None) -> Digest:
    """Everything of the plan is stored durably in the session's draft, and this is its root."""
    with Threads(READING_THREADS, "artfs-read") as readers:
        try:
            return _Put(session, plan, xattrs=xattrs, report=report).run(readers)
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


@contextmanager
def upload_session(client: Client, project: str) -> Iterator[UploadSession]:
    """A session that the block ends. When it fails, the draft is abandoned, unless the registry is not available."""
    session = client.uploads.open(project)
    try:
        yield session
    except RegistryUnavailable:
        session.close()  # what was sent is kept for a day: putting again sends the rest
        raise
    except BaseException:
        _abandon(session)
        raise


def check_names(project: str, request: SealRequest) -> None:
    """Raises InvalidName for what a version cannot be called."""
    check_name("project", project)
    check_name("artifact", request.artifact)
    for alias in request.aliases:
        check_alias(alias)


def check_type(client: Client, project: str, request: SealRequest) -> None:
    """The seal would refuse a wrong type too, but only after everything was sent."""
    try:
        there = client.registry.artifacts.get(project, request.artifact).type
    except ArtifactNotFound:
        return
    if request.type is not None and there is not None and there != request.type:
        raise TypeMismatch(
            f"{project}/{request.artifact} has the type {there!r}, not {request.type!r}",
            hint="use that type, or another artifact",
        )


def _abandon(session: UploadSession) -> None:
    try:
        session.abandon()
    except ArtfsError as error:  # the first error is the one that says why
        _log.warning("an unfinished upload is left to expire: %s", error)


class _Directory:
    """A directory under way."""

    def __init__(self, source: Source | None, session: UploadSession) -> None:
        self.source = source  # None for the root
        self.builder = DirectoryBuilder(session.store_page)


class _Put:
    """One put under way, driven by the thread that calls `run`."""

    def __init__(self, session: UploadSession, plan: Plan, *, xattrs: bool, report: Report) -> None:
        self._session = session
        self._plan = plan
        self._totals = plan.totals
        self._xattrs = xattrs
        self._report = report
        self._open = [_Directory(None, session)]
        self._done_files = 0
        self._done_bytes = 0

    def run(self, readers: Threads) -> Digest:
        """Everything is stored durably, and this is its root."""
        self._tell()
        for steps, contents in _read_ahead(self._plan.steps(), readers):
            for step, small in zip(steps, contents, strict=True):
                self._take(step, small)
            self._tell()
        digest = self._open.pop().builder.finish().digest
        self._session.flush()
        self._tell()
        return digest

    def _take(self, step: AnyStep, small: _Small | None) -> None:
        if isinstance(step, End):
            done = self._open.pop()
            assert done.source is not None
            self._add(self._directory_entry(done.source, done.builder.finish()))
        elif isinstance(step, Ready):
            self._done_files += 1
            self._session.add_small(step.entry.digest, step.data)
            self._add(step.entry)
        elif step.is_directory:
            self._open.append(_Directory(step, self._session))
        elif step.target is not None:
            self._done_files += 1
            self._add(symlink_entry(step.name, step.target))
        elif small is not None:
            self._done_bytes += len(small[1])
            self._add_file(step, self._session.add_small(*small))
        else:
            self._add_file(step, self._session.add_file(step.path, self._progress))

    def _add(self, entry: Entry) -> None:
        self._open[-1].builder.add(entry)

    def _add_file(self, source: Source, content: FileContent) -> None:
        self._done_files += 1
        xattrs = user_xattrs(source.path) if self._xattrs else NO_XATTRS
        self._add(
            Entry(source.name, content.kind, content.digest, content.size_bytes, source.is_executable, xattrs=xattrs)
        )

    def _directory_entry(self, source: Source, summary: PageSummary) -> Entry:
        return Entry(
            source.name,
            EntryKind.DIRECTORY,
            summary.digest,
            summary.size_bytes,
            file_count=summary.file_count,
            xattrs=user_xattrs(source.path) if self._xattrs else NO_XATTRS,
        )

    def _progress(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        self._tell()

    def _tell(self) -> None:
        totals = self._totals
        self._report(
            PutProgress(
                self._done_files,
                self._done_bytes,
                totals.file_count,
                totals.size_bytes,
                self._session.sent.stored_bytes,
            )
        )


_Small = tuple[Digest, bytes]
_Group = list[AnyStep]


def _read_ahead(steps: Iterable[AnyStep], readers: Threads) -> Iterator[tuple[_Group, list[_Small | None]]]:
    """The steps in order, a group at a time, with what the small files among them hold."""
    groups = _groups(steps)
    ahead: deque[tuple[_Group, Future[list[_Small | None]]]] = deque()
    while True:
        while len(ahead) < AHEAD_GROUPS and (group := next(groups, None)) is not None:
            ahead.append((group, readers.submit(_read_group, group)))
        if not ahead:
            return
        group, reading = ahead.popleft()
        yield group, reading.result()


def _groups(steps: Iterable[AnyStep]) -> Iterator[_Group]:
    group: _Group = []
    size_bytes = 0
    for step in steps:
        group.append(step)
        if _is_small(step):
            size_bytes += step.size_bytes
        if len(group) >= GROUP_STEPS or size_bytes >= GROUP_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


def _read_group(group: _Group) -> list[_Small | None]:
    return [read_small(step.path) if _is_small(step) else None for step in group]


def _is_small(step: AnyStep) -> TypeGuard[Source]:
    """Whether it is a file that is read whole."""
    return isinstance(step, Source) and stat.S_ISREG(step.mode) and step.size_bytes <= WHOLE_FILE_BYTES_MAX
