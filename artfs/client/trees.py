"""Trees of a version: paths, listings, walks and what differs between two. Everything streams, page by page.

A subtree or page with the same digest on both sides of a comparison is never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from artfs.errors import DamagedObject, PathNotFound
from artfs.model.digest import Digest, ObjectKind
from artfs.model.links import Names, TargetAt
from artfs.model.tree import Entry, EntryKind, IndexPage, LeafPage
from artfs.vfs.ports import DatedPage, ObjectSource

AHEAD_PAGES = 64
TARGETS_MAX = 4096  # remembered of the paths that links pass
DEPTH_MAX = 2048  # a hostile tree may be deeper than any path


@dataclass(frozen=True, slots=True)
class Found:
    """An entry at its path inside a version, with when its content entered the project (ns since the epoch)."""

    path: str
    entry: Entry
    time_ns: int


class ChangeKind(Enum):
    ADDED = "+"
    REMOVED = "-"
    MODIFIED = "M"


@dataclass(frozen=True, slots=True)
class PathChange:
    """One path that differs. `old` is None for what was added, `new` for what was removed."""

    kind: ChangeKind
    path: str
    old: Entry | None
    new: Entry | None


class TreeReader:
    """The trees of one project."""

    def __init__(self, source: ObjectSource, project: str) -> None:
        self._source = source
        self._project = project

    def lookup(self, root: Digest, path: tuple[str, ...]) -> Found:
        """What is at `path` (not empty). Raises PathNotFound naming the first component that is absent."""
        digest = root
        for depth, name in enumerate(path):
            found = self._find(digest, name)
            here = "/".join(path[: depth + 1])
            if found is None:
                raise PathNotFound(f"{here!r} is not in this version", hint="artfs ls lists what is")
            entry, time_ns = found
            if depth == len(path) - 1:
                return Found(here, entry, time_ns)
            if entry.kind is not EntryKind.DIRECTORY:
                raise PathNotFound(f"{here!r} is not a directory", hint="artfs ls lists what is there")
            digest = entry.digest
        raise PathNotFound("an empty path names the version itself")

    def targets_below(self, root: Digest) -> TargetAt:
        """The symbolic links of a tree."""

        @lru_cache(TARGETS_MAX)
        def target_at(names: Names) -> str | None:
            try:
                return self.lookup(root, names).entry.target
            except PathNotFound:
                return None

        return target_at

    def list(self, directory: Digest, prefix: str = "", *, descend: bool = False) -> Iterator[Found]:
        """The entries of a directory, in order of names.

        Args:
            descend: the caller is about to list the directories in it too: read their pages ahead, many at a time.
        """
        for dated in self.leaves(directory):
            page = dated.page
            if isinstance(page, IndexPage):
                continue
            ahead = self._read_ahead(page) if descend else iter(())
            for i in range(len(page)):
                entry = page.entry(i)
                if entry.kind is EntryKind.DIRECTORY:
                    next(ahead, None)
                yield Found(prefix + entry.name, entry, dated.times[i])

    def _read_ahead(self, page: LeafPage) -> Iterator[None]:
        """Each step, one a directory in `page`, makes sure that the directory's page is in memory."""
        keys = [key for key in page.children() if key.kind is ObjectKind.TREE]
        for i in range(len(keys)):
            if i % AHEAD_PAGES == 0:
                self._source.read_many(self._project, keys[i : i + AHEAD_PAGES])
            yield

    def walk(self, directory: Digest, prefix: str = "") -> Iterator[Found]:
        """Everything below a directory, each directory before what is in it."""
        stack = [self.list(directory, prefix, descend=True)]
        while stack:
            found = next(stack[-1], None)
            if found is None:
                stack.pop()
                continue
            yield found
            if found.entry.kind is EntryKind.DIRECTORY:
                _check_depth(len(stack), found.path)
                stack.append(self.list(found.entry.digest, found.path + "/", descend=True))

    def leaves(self, directory: Digest) -> Iterator[DatedPage]:
        """The pages of entries of a directory, in order."""
        yield from self._leaves_of(self._source.page(self._project, directory))

    def _leaves_of(self, dated: DatedPage) -> Iterator[DatedPage]:
        if not isinstance(dated.page, IndexPage):
            yield dated
            return
        self._source.prepare(self._project, list(dated.page.children()))
        for i in range(len(dated.page)):
            yield from self._leaves_of(self._below(dated.page, i))

    def _below(self, index: IndexPage, i: int) -> DatedPage:
        dated = self._source.page(self._project, index.digest(i))
        index.checked(i, dated.page)
        return dated

    def diff(self, old: Digest, new: Digest, prefix: str = "") -> Iterator[PathChange]:
        """Every path below that differs, in order. A directory against a file is a removal and an addition."""
        stack = [(prefix, self._differing(old, new))] if old != new else []
        while stack:
            prefix, differing = stack[-1]
            pair = next(differing, None)
            if pair is None:
                stack.pop()
                continue
            before, after = pair
            if before is None or after is None or before.kind_word != after.kind_word:
                yield from self._all(before, ChangeKind.REMOVED, prefix)
                yield from self._all(after, ChangeKind.ADDED, prefix)
                continue
            path = prefix + before.entry.name
            is_directory = before.entry.kind is EntryKind.DIRECTORY
            if not is_directory or before.entry.xattrs != after.entry.xattrs:
                yield PathChange(ChangeKind.MODIFIED, path, before.entry, after.entry)
            if is_directory and before.entry.digest != after.entry.digest:
                _check_depth(len(stack), path)
                stack.append((path + "/", self._differing(before.entry.digest, after.entry.digest)))

    def _differing(self, old: Digest, new: Digest) -> Iterator[tuple[_Side | None, _Side | None]]:
        """Entries of two directories, by name, that are not the same. Pages on both sides are passed over."""
        pages_old, pages_new = self._page_digests(old), self._page_digests(new)
        both = pages_old.keys() & pages_new.keys()
        only_old = self._sides(d for d in pages_old if d not in both)
        only_new = self._sides(d for d in pages_new if d not in both)
        for before, after in _merge(only_old, only_new):
            if before is None or after is None or before.entry != after.entry:
                yield before, after

    def _page_digests(self, directory: Digest) -> dict[Digest, None]:
        page = self._source.page(self._project, directory).page
        return self._pages_below(page) if isinstance(page, IndexPage) else {directory: None}

    def _pages_below(self, index: IndexPage) -> dict[Digest, None]:
        found: dict[Digest, None] = {}
        for i in range(len(index)):
            below = self._below(index, i).page if index.level > 1 else None
            found.update(self._pages_below(below) if isinstance(below, IndexPage) else {index.digest(i): None})
        return found

    def _sides(self, pages: Iterator[Digest]) -> Iterator[_Side]:
        for digest in pages:
            page = self._source.page(self._project, digest).page
            if isinstance(page, IndexPage):
                raise DamagedObject(f"the tree {digest.text} is an index where entries belong")
            yield from map(_Side, page.entries())

    def _all(self, side: _Side | None, kind: ChangeKind, prefix: str) -> Iterator[PathChange]:
        """A whole side as added or removed; empty directories too, since a version keeps them."""
        if side is None:
            return
        path = prefix + side.entry.name
        yield _one(kind, path, side.entry)
        if side.entry.kind is EntryKind.DIRECTORY:
            for found in self.walk(side.entry.digest, path + "/"):
                yield _one(kind, found.path, found.entry)

    def _find(self, directory: Digest, name: str) -> tuple[Entry, int] | None:
        dated = self._source.page(self._project, directory)
        while isinstance(dated.page, IndexPage):
            dated = self._below(dated.page, dated.page.page_of(name))
        i = dated.page.find(name)
        return None if i is None else (dated.page.entry(i), dated.times[i])


def _check_depth(depth: int, path: str) -> None:
    if depth >= DEPTH_MAX:
        raise DamagedObject(f"{path!r} is deeper than any path can be")


@dataclass(frozen=True, slots=True)
class _Side:
    entry: Entry

    @property
    def kind_word(self) -> str:
        kind = self.entry.kind
        return "file" if kind in (EntryKind.FILE, EntryKind.LARGE_FILE, EntryKind.REFERENCE) else kind.name


def _one(kind: ChangeKind, path: str, entry: Entry) -> PathChange:
    return PathChange(kind, path, *((entry, None) if kind is ChangeKind.REMOVED else (None, entry)))


def _merge(old: Iterator[_Side], new: Iterator[_Side]) -> Iterator[tuple[_Side | None, _Side | None]]:
    """Pair two sorted streams by name."""
    before, after = next(old, None), next(new, None)
    while before is not None or after is not None:
        if after is None or (before is not None and before.entry.name < after.entry.name):
            assert before is not None
            yield before, None
            before = next(old, None)
        elif before is None or after.entry.name < before.entry.name:
            yield None, after
            after = next(new, None)
        else:
            yield before, after
            before, after = next(old, None), next(new, None)
