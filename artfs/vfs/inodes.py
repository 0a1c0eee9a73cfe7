"""All inodes outside staging that the kernel holds: catalog nodes, what is inside versions, and the parents of directories.

Owner: the event loop.
"""

from __future__ import annotations

import errno
from dataclasses import replace

from artfs.model.lineage import VersionRef
from artfs.vfs.attributes import ROOT_INODE
from artfs.vfs.entry_table import EntryPlace, EntryTable
from artfs.vfs.identity import NODE_BIT, Identity
from artfs.vfs.nodes import Node, NodeTable, RootNode, VersionNode
from artfs.vfs.page_numbers import PageNumbers


class Inodes:
    """Lookup counts of everything that is not staged.

    Attributes:
        told_apart: files of different versions are different inodes from now on, so that an open one tells its version.
    """

    def __init__(self, root: RootNode) -> None:
        self.told_apart = False
        self.nodes = NodeTable(root)
        self.pages = PageNumbers()
        self.entries = EntryTable(self.pages)
        self._parents = {ROOT_INODE: ROOT_INODE}

    def count_node(self, node: Node, parent: int) -> int:
        """Count one lookup of a catalog directory or version root; return its inode number."""
        if self.told_apart and isinstance(node, VersionNode):
            node = replace(node, told_apart=True)
        number = self.nodes.count_lookup(node)
        self._parents[number] = parent
        return number

    def count_directory(self, identity: Identity, parent: int, page: int, position: int) -> int:
        """Count one lookup of a directory inside a version."""
        number = self.entries.count_lookup(*identity, page, position)
        self._parents[number] = parent
        return number

    def place(self, number: int) -> EntryPlace:
        """Where an entry of a version is. Raises OSError ESTALE if the kernel should not know it."""
        place = self.entries.place(number)
        if place is None:
            raise OSError(errno.ESTALE, f"no inode {number}")
        return place

    def parent(self, number: int) -> int:
        """The directory above a directory."""
        return self._parents.get(number, ROOT_INODE)

    def origin(self, directory: int) -> VersionRef | None:
        """The version that a directory is in, where versions are told apart. Raises OSError ESTALE."""
        if not self.told_apart:
            return None
        while not is_node(directory):
            directory = self.parent(directory)
        node = self.nodes.get(directory)
        return node.ref if isinstance(node, VersionNode) else None

    def forget(self, number: int, count: int) -> None:
        if is_node(number):
            self.nodes.forget(number, count)
            if not self.nodes.knows(number):
                self._parents.pop(number, None)
        elif self.entries.forget(number, count):
            self._parents.pop(number, None)


def is_node(number: int) -> bool:
    """Whether an inode number that is not staged belongs to a catalog directory or version root."""
    return number == ROOT_INODE or bool(number & NODE_BIT)
