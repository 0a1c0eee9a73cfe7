"""The directories above and at the roots of versions, and the table of those that the kernel knows.

A node's value is its identity: equal nodes have one inode number. A version root's includes the name it was reached by and the
version it meant then, so that an open directory keeps its version when the alias moves. Owner: the event loop.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from artfs.model.digest import Digest
from artfs.model.lineage import VersionRef
from artfs.model.names import version_name
from artfs.vfs.attributes import ROOT_INODE
from artfs.vfs.entry_table import NUMBER_MASK
from artfs.vfs.identity import NODE_BIT, node_number
from artfs.vfs.page_numbers import PageKey


@dataclass(frozen=True, slots=True)
class RootNode:
    created_at_ns: int


@dataclass(frozen=True, slots=True)
class ProjectNode:
    project: str
    created_at_ns: int


@dataclass(frozen=True, slots=True)
class ArtifactNode:
    project: str
    artifact: str
    created_at_ns: int


@dataclass(frozen=True, slots=True)
class StagingNode:
    """An artifact's `.staging`."""

    project: str
    artifact: str
    created_at_ns: int


@dataclass(frozen=True, slots=True)
class VersionNode:
    """A version's root directory, reached as `name`: an alias or the version's own name.

    With `told_apart`, files in it are not those of other versions; so nor is the directory that of before.
    """

    project: str
    artifact: str
    name: str
    number: int
    root: Digest
    created_at_ns: int
    told_apart: bool = False

    @property
    def page(self) -> PageKey:
        return PageKey(self.project, self.root)

    @property
    def ref(self) -> VersionRef:
        return VersionRef(self.project, self.artifact, self.number)

    @property
    def version(self) -> str:
        return version_name(self.number)


CatalogNode = RootNode | ProjectNode | ArtifactNode | StagingNode
Node = CatalogNode | VersionNode


class _Known:
    __slots__ = ("count", "node")

    def __init__(self, node: Node, count: int) -> None:
        self.node = node
        self.count = count


class NodeTable:
    """Nodes by inode number, with the kernel's lookup counts. The root is always known."""

    def __init__(self, root: RootNode) -> None:
        self._known = {ROOT_INODE: _Known(root, 0)}
        self._numbers: dict[Node, int] = {root: ROOT_INODE}

    def __len__(self) -> int:
        return len(self._known)

    def number(self, node: Node) -> int:
        """The inode number that `node` has, or would have."""
        known = self._numbers.get(node)
        if known is not None:
            return known
        number = node_number((type(node).__name__, *_values(node)))
        while number in self._known:
            number = NODE_BIT | ((number + 1) & NUMBER_MASK)
        return number

    def count_lookup(self, node: Node) -> int:
        """Count one lookup of `node`; return its inode number."""
        number = self.number(node)
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = _Known(node, 0)
            self._numbers[node] = number
        known.count += 1
        return number

    def get(self, number: int) -> Node:
        """The node with this inode number. Raises OSError ESTALE if the kernel should not know it."""
        known = self._known.get(number)
        if known is None:
            raise OSError(errno.ESTALE, f"no inode {number}")
        return known.node

    def knows(self, number: int) -> bool:
        return number in self._known

    def forget(self, number: int, count: int) -> None:
        known = self._known.get(number)
        if known is None or number == ROOT_INODE:
            return
        known.count -= count
        if known.count <= 0:
            del self._known[number]
            del self._numbers[known.node]

    def catalog(self) -> list[tuple[int, Node]]:
        """The project and artifact directories that the kernel holds."""
        return [(n, k.node) for n, k in self._known.items() if isinstance(k.node, ProjectNode | ArtifactNode)]


def _values(node: Node) -> tuple[object, ...]:
    return tuple(getattr(node, name) for name in node.__slots__)
