"""What an artifact that is being made holds: a tree of files, links and references in memory, and the order to store it in.

Knows where the content of each file is on this machine, nothing of registries.
"""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from artfs.client.scan import AnyStep, End, Problems, Ready, Source, Totals, find_problem, look
from artfs.errors import AlreadyExists, FileChanged, InvalidName, PathNotFound
from artfs.model.links import Names
from artfs.model.names import split_path

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A regular file. `stamp` is set for one that is left in place: it must not change until it is logged."""

    path: str
    executable: bool
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class HeldLink:
    target: str


Leaf = HeldFile | HeldLink | Ready
Node = dict[str, "Node"] | Leaf


class DraftContent:
    """A directory tree. For one thread at a time."""

    def __init__(self) -> None:
        self._root: dict[str, Node] = {}

    def put(self, path: str, leaf: Leaf, *, overwrite: bool = False) -> None:
        """Make `leaf` be at `path`, its directories with it; the same again changes nothing.

        Raises AlreadyExists for other content there, and for a file in a directory's place; InvalidName.
        """
        *above, name = check_path(path)
        directory = self.directory("/".join(above))
        there = directory.get(name)
        if isinstance(there, dict):
            raise AlreadyExists(f"{path!r} is a directory in this artifact", hint="remove it, or choose another name")
        if there is not None and not overwrite and not _is_same(there, leaf):
            raise AlreadyExists(f"{path!r} is in this artifact already", hint="remove it first, or give overwrite=True")
        directory[name] = leaf

    def directory(self, path: str) -> dict[str, Node]:
        """The directory at `path`, made if it is absent."""
        directory = self._root
        for name in split_path(path):
            below = directory.setdefault(name, {})
            if not isinstance(below, dict):
                raise AlreadyExists(f"{name!r} in {path!r} is a file in this artifact", hint="choose another name")
            directory = below
        return directory

    def remove(self, path: str) -> None:
        """Take away a file, or a directory with all that is below. Raises PathNotFound."""
        *above, name = check_path(path)
        directory: Node | None = self._root
        for part in above:
            directory = directory.get(part) if isinstance(directory, dict) else None
        if not isinstance(directory, dict) or name not in directory:
            raise PathNotFound(f"{path!r} is not in this artifact")
        del directory[name]

    def leaves(self) -> Iterator[tuple[str, Leaf]]:
        """Everything but directories, by path."""
        stack: list[tuple[str, Node]] = [("", self._root)]
        while stack:
            path, node = stack.pop()
            if isinstance(node, dict):
                stack.extend((f"{path}/{name}" if path else name, node[name]) for name in sorted(node, reverse=True))
            else:
                yield path, node

    @property
    def totals(self) -> Totals:
        sizes = [os.stat(leaf.path).st_size if isinstance(leaf, HeldFile) else 0 for _, leaf in self.leaves()]
        return Totals(len(sizes), sum(sizes))

    def check(self) -> None:
        """Raises UnsupportedFile naming what a version cannot hold, FileChanged naming a file that was left in place."""
        problems = Problems()
        for path, leaf in self.leaves():
            *above, name = path.split("/")
            source = _source(name, leaf)
            problem = None if isinstance(source, Ready) else find_problem(source, tuple(above), self._target_at)
            if problem is not None:
                problems.add(f"{path}: {problem}")
        problems.raise_any()

    def steps(self) -> Iterator[AnyStep]:
        """What to store, in the order of a tree."""
        yield from _steps(self._root)

    def _target_at(self, names: Names) -> str | None:
        node: Node | None = self._root
        for name in names:
            node = node.get(name) if isinstance(node, dict) else None
        return node.target if isinstance(node, HeldLink) else None


def _steps(directory: dict[str, Node]) -> Iterator[AnyStep]:
    stack = [iter(sorted(directory.items()))]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            if stack:
                yield End()
            continue
        name, node = item
        if isinstance(node, dict):
            yield Source(name, "", stat.S_IFDIR | 0o755, 0, None)
            stack.append(iter(sorted(node.items())))
        else:
            yield _source(name, node)


def _source(name: str, leaf: Leaf) -> Source | Ready:
    if isinstance(leaf, Ready):
        return leaf
    if isinstance(leaf, HeldLink):
        return Source(name, name, stat.S_IFLNK | 0o777, 0, leaf.target)
    found = look(leaf.path, name)
    if leaf.stamp is not None and stamp_of(leaf.path) != leaf.stamp:
        raise FileChanged(f"{leaf.path} changed since it was added", hint="add it with policy='mutable', which copies")
    mode = stat.S_IFREG | (0o755 if leaf.executable else 0o644)
    return found._replace(mode=mode)


def stamp_of(path: str) -> Stamp:
    """What changes when a file does. Raises FileChanged."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise FileChanged(f"{path}: {error.strerror}", hint="keep it until the artifact is logged") from None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _is_same(there: Node, leaf: Leaf) -> bool:
    if isinstance(there, HeldFile) and isinstance(leaf, HeldFile):
        return there.executable == leaf.executable and filecmp.cmp(there.path, leaf.path, shallow=False)
    return there == leaf


def check_path(path: str) -> tuple[str, ...]:
    """The names on the way to a file. Raises InvalidName."""
    parts = split_path(path)
    if not parts:
        raise InvalidName(f"{path!r} names no file", hint="give the path that it has in the artifact")
    return parts
