"""From a number or a name to an inode: the draft's rows first, then the tree below.

Unchanged entries need no memory: a directory that is entered gets a row and a run of numbers, one for each entry below, so the
number of an entry says where it is. Rows are read after the last await, so an answer is true when it is returned.
"""

from __future__ import annotations

import errno
from dataclasses import replace

from artfs.model.tree import EntryKind, LeafPage
from artfs.vfs.staging.index import DraftIndex
from artfs.vfs.staging.inode import ROOT_NUMBER, Inode, LowerEntry
from artfs.vfs.staging.lower import Lower
from artfs.vfs.staging.namespace import Name, Namespace


class Resolver:
    """Finds inodes of one draft. Raises OSError ESTALE for numbers of inodes that are gone."""

    def __init__(self, index: DraftIndex, namespace: Namespace, lower: Lower) -> None:
        self._index = index
        self._namespace = namespace
        self._lower = lower
        self._owner: tuple[int, int] | None = None

    async def inode(self, number: int) -> Inode:
        found = self._namespace.get(number)
        if found is not None:
            return found
        home = self._namespace.home_of(number)
        if home is not None:
            directory, ordinal = home
            assert directory.origin_digest is not None
            entry = (await self._lower.page_at(directory.origin_digest, ordinal)).at(ordinal)
            return self._namespace.get(number) or self.unchanged(directory, entry)
        raise OSError(errno.ESTALE, "the file is gone")

    async def directory(self, number: int) -> Inode:
        """A directory that is to be looked into: with a row, and not removed."""
        found = self._namespace.get(number) or await self.inode(number)
        if not found.is_directory:
            raise OSError(errno.ENOTDIR, "not a directory")
        return found if found.lower is None else await self.kept(found)

    async def living_directory(self, number: int) -> Inode:
        """A directory in which names are to appear: ENOENT once it was removed, as on ext4."""
        found = await self.directory(number)
        if found.link_count == 0:
            raise OSError(errno.ENOENT, "the directory was removed")
        return found

    async def name(self, directory: Inode, name: str) -> Name:
        """What is under `name`; the inode may be an unchanged one."""
        row = self._namespace.name(directory.number, name)
        if row is not None or directory.origin_digest is None:
            return row or Name(None, None)
        entry = await self._lower.find(directory.origin_digest, name)
        row = self._namespace.name(directory.number, name)
        if row is not None or entry is None:
            return row or Name(None, None)
        return Name(entry.ordinal, self.unchanged(directory, entry))

    async def existing(self, directory: Inode, name: str) -> Name:
        """What is under `name`, with a row. Raises ENOENT."""
        found = await self.name(directory, name)
        if found.inode is None:
            raise OSError(errno.ENOENT, f"no {name!r}")
        if found.inode.lower is not None:
            return Name(found.position, await self.kept(found.inode))
        return found

    async def kept(self, inode: Inode) -> Inode:
        """The inode with a row of its own; made for an unchanged one."""
        if inode.lower is None:
            return inode
        lower, parent = inode.lower, inode.lower_parent
        kept = inode
        if inode.is_directory:
            kept = await self._entered(inode)
        current = self._namespace.get(inode.number)
        if current is not None:
            return current
        self._check_unchanged(parent, lower)
        if kept.is_directory:
            kept.first_number = self._index.take_numbers(kept.origin_entries) if kept.origin_entries else None
        self._namespace.keep(kept, lower.entry.name)
        return kept

    def unchanged(self, directory: Inode, entry: LowerEntry) -> Inode:
        """An entry below `directory` that has no row."""
        if self._owner is None:
            root = self._namespace.get(ROOT_NUMBER)
            assert root is not None
            self._owner = (root.uid, root.gid)
        number = (directory.first_number or 0) + entry.ordinal
        inode = Inode.of_lower(entry, number, directory.number, self._owner)
        if inode.is_directory:
            inode.parent = directory.number
        return inode

    def forget_owner(self) -> None:
        """The draft's root changed hands, and so did all that is unchanged."""
        self._owner = None

    async def _entered(self, inode: Inode) -> Inode:
        assert inode.origin_digest is not None
        page = (await self._lower.root_page(inode.origin_digest)).page
        links = link_count(page) if isinstance(page, LeafPage) else 1
        return replace(inode, origin_entries=page.entry_count, link_count=links)

    def _check_unchanged(self, parent: int, lower: LowerEntry) -> None:
        if self._namespace.name(parent, lower.entry.name) is not None:
            raise OSError(errno.ESTALE, f"{lower.entry.name!r} was replaced")


def link_count(page: LeafPage) -> int:
    """Of a directory with these entries: two, and one for each directory inside."""
    return 2 + sum(page.kind(i) is EntryKind.DIRECTORY for i in range(len(page)))
