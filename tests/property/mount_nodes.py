"""What the model of a mount is made of: names, nodes, and what the kernel decides of a rename before a filesystem is asked."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from tests.contract.uploading import Tree

Names = tuple[str, ...]
STAGING = ".staging"
LATEST = "latest"
NOREPLACE, EXCHANGE = 1, 2


@dataclass(eq=False)
class File:
    """One of it may have several names in a draft; `borrowed` content was linked from a version."""

    content: bytes = b""
    mode: int = 0o644
    xattrs: dict[str, bytes] = field(default_factory=dict)
    borrowed: bool = False


@dataclass(eq=False)
class Link:
    target: str


@dataclass(eq=False)
class Directory:
    names: dict[str, File | Link | Directory] = field(default_factory=dict)
    mode: int = 0o755
    xattrs: dict[str, bytes] = field(default_factory=dict)


Node = File | Link | Directory


@dataclass
class Artifact:
    versions: dict[int, Directory] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    drafts: dict[tuple[int, str], Directory] = field(default_factory=dict)  # by mount and name


@dataclass
class Project:
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)  # the next version of an artifact, also of one that is gone


class Seen(NamedTuple):
    """What listing and looking tell of one name. Sizes and link counts only where they are promised."""

    kind: str
    mode: int
    links: int | None = None
    content: bytes | str | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()


class Place(NamedTuple):
    """Where a path leads: what is there, and in which world, which decides the errno of what is refused."""

    world: str  # catalog, version or draft
    node: Node | None  # of versions and drafts; their roots too
    path: Names


def refuse(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


def facts(node: Node) -> object:
    """What a version keeps of it, to compare."""
    if isinstance(node, Link):
        return node.target
    xattrs = tuple(sorted(node.xattrs.items()))
    if isinstance(node, File):
        return node.content, bool(node.mode & 0o111), xattrs
    return tuple((name, facts(below)) for name, below in sorted(node.names.items())), xattrs


def frozen(node: Node) -> Node:
    """As a version holds it: no two names for one file, no other mode than the executable bit."""
    if isinstance(node, Link):
        return Link(node.target)
    if isinstance(node, File):
        return File(node.content, 0o555 if node.mode & 0o111 else 0o444, dict(node.xattrs))
    return Directory({name: frozen(below) for name, below in node.names.items()}, 0o555, dict(node.xattrs))


def directory_of(tree: Tree) -> Directory:
    """A draft with what is in `tree`."""
    made = Directory()
    for name, value in tree.items():
        if isinstance(value, Mapping):
            made.names[name] = directory_of(value)
        else:
            made.names[name] = Link(value) if isinstance(value, str) else File(value)
    return made


def walk(node: Node, path: Names = ()) -> Iterator[tuple[Names, Node]]:
    yield path, node
    if isinstance(node, Directory):
        for name, below in node.names.items():
            yield from walk(below, (*path, name))


@dataclass(frozen=True)
class Renaming:
    """renameat2(2) as far as the kernel decides it, in its order; both parents are directories that exist."""

    old: Names
    new: Names
    flags: int

    def asks_filesystem(self, moves_directory: bool, replaces_directory: bool | None, *, same: bool) -> bool:
        """False if there is nothing to do. `replaces_directory` is None if nothing is at the new name. Raises OSError."""
        exchange = bool(self.flags & EXCHANGE)
        if self.flags & NOREPLACE and replaces_directory is not None:
            refuse(errno.EEXIST)
        if exchange and replaces_directory is None:
            refuse(errno.ENOENT)
        if self.new[:-1][: len(self.old)] == self.old:
            refuse(errno.EINVAL)
        if self.old[:-1][: len(self.new)] == self.new:
            refuse(errno.EINVAL if exchange else errno.ENOTEMPTY)
        if same:
            return False
        if replaces_directory is not None and not exchange and moves_directory != replaces_directory:
            refuse(errno.EISDIR if replaces_directory else errno.ENOTDIR)
        return True
