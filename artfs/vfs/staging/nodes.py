"""Names and attributes inside drafts: what each call on them means, errno for errno as on ext4.

The kernel has checked permissions and holds its own locks; here `Draft.changing` makes each change of names one step, also
where it must first read the tree below. Contents of files are `handles.py`'s.
"""

from __future__ import annotations

import errno
import stat
from dataclasses import replace

from artfs.model.tree import EntryKind
from artfs.vfs.attributes import AttributeChange, Attributes, Caller
from artfs.vfs.staging.changes import apply_change
from artfs.vfs.staging.draft import Draft
from artfs.vfs.staging.inode import (
    LINKS_MAX,
    NUMBER_MASK,
    ROOT_NUMBER,
    Inode,
    from_version,
)
from artfs.vfs.staging.namespace import Name, is_below, new_directory
from artfs.vfs.staging.table import DraftTable, root_attributes
from artfs.vfs.staging.writing import Writing
from artfs.vfs.staging_port import VersionFile

NOREPLACE, EXCHANGE = 1, 2
_FORBIDDEN_BITS = stat.S_ISUID | stat.S_ISGID
_TARGET_BYTES_MAX = 4095


class _FoundNodes:
    """What is done with inodes that are there."""

    def __init__(self, table: DraftTable, writing: Writing) -> None:
        self._table = table
        self._writing = writing

    async def lookup(self, parent: int, name: str) -> Attributes:
        draft = await self._table.of(parent)
        directory = await draft.resolver.directory(draft.number(parent))
        found = (await draft.resolver.name(directory, name)).inode
        if found is None:
            raise OSError(errno.ENOENT, f"no {name!r}")
        return draft.attributes(found)

    def forget(self, inode: int, count: int) -> None:
        """Only the last reference matters, and only to a file without a name; the kernel gives all back at once."""
        place = self._table.known_place(inode)
        draft = None if place is None else self._table.adopted(place)
        if draft is not None:
            draft.forget(inode & NUMBER_MASK)

    async def getattr(self, inode: int) -> Attributes:
        if inode & NUMBER_MASK == ROOT_NUMBER:
            return root_attributes(self._table, self._table.place(inode))
        draft = await self._table.of(inode)
        return draft.attributes(await draft.resolver.inode(draft.number(inode)))

    async def setattr(self, inode: int, change: AttributeChange, handle: int | None, caller: Caller) -> Attributes:
        draft = await self._table.of(inode)
        draft.check_writable()
        if change.mode is not None and change.mode & _FORBIDDEN_BITS:
            raise PermissionError(errno.EPERM, "a version cannot hold setuid and setgid bits")
        number = draft.number(inode)
        if change.size_bytes is not None:
            await self._writing.truncate(draft, number, change.size_bytes)
            change = replace(change, size_bytes=None)
        async with draft.changing:
            draft.check_writable()
            kept = await draft.resolver.kept(await draft.resolver.inode(number))
            return draft.attributes(apply_change(draft, kept, change))

    async def readlink(self, inode: int) -> str:
        draft = await self._table.of(inode)
        found = await draft.resolver.inode(draft.number(inode))
        if found.target is None:
            raise OSError(errno.EINVAL, "not a symbolic link")
        return found.target


class DraftNodes(_FoundNodes):
    """Implements `StagedNodes`."""

    async def mkdir(self, parent: int, name: str, mode: int, caller: Caller) -> Attributes:
        _check_mode(mode)
        draft = await self._table.of(parent)
        async with draft.changing:
            directory, position = await free_name(draft, parent, name)
            number = draft.index.take_numbers(1)
            owner = (caller.uid, caller.gid)
            inode = new_directory(number, directory.number, mode & 0o1777, owner, draft.clock())
            draft.namespace.add(directory, name, inode, position, {})
            return draft.attributes(inode)

    async def mknod(self, parent: int, name: str, mode: int, caller: Caller) -> Attributes:
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise PermissionError(errno.EPERM, "a version cannot hold devices, sockets and FIFOs")
        _check_mode(mode)
        draft = await self._table.of(parent)
        async with draft.changing:
            directory, position = await free_name(draft, parent, name)
            number = draft.index.take_numbers(1)
            inode, fd = self._writing.new_file(draft, (directory, name, position), number, mode, caller)
            self._writing.closed(draft, number, fd)
            return draft.attributes(inode)

    async def symlink(self, parent: int, name: str, target: str, caller: Caller) -> Attributes:
        if not target:
            raise FileNotFoundError(errno.ENOENT, "an empty target")
        if len(target.encode()) > _TARGET_BYTES_MAX:
            raise OSError(errno.ENAMETOOLONG, "the target is too long")
        draft = await self._table.of(parent)
        async with draft.changing:
            directory, position = await free_name(draft, parent, name)
            now = draft.clock()
            number = draft.index.take_numbers(1)
            inode = Inode(number, EntryKind.SYMLINK, 0o777, caller.uid, caller.gid, 1, now, now, now, target=target)
            draft.namespace.add(directory, name, inode, position, {})
            return draft.attributes(inode)

    async def link(self, inode: int, parent: int, name: str, caller: Caller) -> Attributes:
        draft = await self._table.of(parent)
        number = draft.number(inode)
        async with draft.changing:
            directory, position = await free_name(draft, parent, name)
            found = await draft.resolver.inode(number)
            if found.is_directory:
                raise PermissionError(errno.EPERM, "a directory has one name")
            kept = await draft.resolver.kept(await draft.resolver.inode(number))
            if kept.link_count == 0:
                raise FileNotFoundError(errno.ENOENT, "the file was removed")
            if kept.link_count >= LINKS_MAX:
                raise OSError(errno.EMLINK, "too many links")
            draft.namespace.link(directory, name, kept, position)
            return draft.attributes(await draft.resolver.inode(number))

    async def link_version_file(self, source: VersionFile, parent: int, name: str, caller: Caller) -> Attributes:
        draft = await self._table.of(parent)
        if source.project != draft.place.project:
            raise OSError(errno.EXDEV, "the version is of another project")
        async with draft.changing:
            directory, position = await free_name(draft, parent, name)
            number = draft.index.take_numbers(1)
            inode = from_version(source.entry, source.mtime_ns, number, caller.uid, caller.gid)
            draft.namespace.add(directory, name, inode, position, dict(source.entry.xattrs))
            return draft.attributes(inode)

    async def unlink(self, parent: int, name: str) -> None:
        draft = await self._table.of(parent)
        async with draft.changing:
            draft.check_writable()
            directory = await draft.resolver.directory(draft.number(parent))
            found = await draft.resolver.existing(directory, name)
            assert found.inode is not None
            if found.inode.is_directory:
                raise IsADirectoryError(errno.EISDIR, f"{name!r} is a directory")
            draft.namespace.remove(directory, name, found)

    async def rmdir(self, parent: int, name: str) -> None:
        draft = await self._table.of(parent)
        async with draft.changing:
            draft.check_writable()
            directory = await draft.resolver.directory(draft.number(parent))
            found = await draft.resolver.existing(directory, name)
            assert found.inode is not None
            _check_removable(draft, found.inode, name)
            draft.namespace.remove(directory, name, found)

    async def rename(self, parent: int, name: str, new_parent: int, new_name: str, flags: int) -> None:
        if flags & ~(NOREPLACE | EXCHANGE) or flags == NOREPLACE | EXCHANGE:
            raise OSError(errno.EINVAL, "these flags cannot be combined or are not known")
        draft = await self._table.of(parent)
        new_number = draft.number(new_parent)
        async with draft.changing:
            draft.check_writable()
            old_directory = await draft.resolver.directory(draft.number(parent))
            new_directory = await draft.resolver.living_directory(new_number)
            old = await draft.resolver.existing(old_directory, name)
            new = await draft.resolver.name(new_directory, new_name)
            if new.inode is not None and new.inode.lower is not None:
                new = await draft.resolver.existing(new_directory, new_name)
            _rename(draft, (old_directory, name, old), (new_directory, new_name, new), flags)


async def free_name(draft: Draft, parent: int, name: str) -> tuple[Inode, int | None]:
    """The directory, and the position of what was deleted under the name. Raises OSError EEXIST, ENOENT."""
    draft.check_writable()
    directory = await draft.resolver.living_directory(draft.number(parent))
    found = await draft.resolver.name(directory, name)
    if found.inode is not None:
        raise FileExistsError(errno.EEXIST, f"{name!r} exists")
    return directory, found.position


def _rename(draft: Draft, source: tuple[Inode, str, Name], target: tuple[Inode, str, Name], flags: int) -> None:
    moved, replaced = source[2].inode, target[2].inode
    assert moved is not None
    if flags & NOREPLACE and replaced is not None:
        raise FileExistsError(errno.EEXIST, f"{target[1]!r} exists")
    if flags & EXCHANGE and replaced is None:
        raise FileNotFoundError(errno.ENOENT, f"no {target[1]!r}")
    if replaced is not None and replaced.number == moved.number:
        return
    if moved.is_directory and is_below(draft.index, target[0].number, moved.number):
        raise OSError(errno.EINVAL, "a directory cannot be moved into itself")
    if flags & EXCHANGE:
        assert replaced is not None
        if replaced.is_directory and is_below(draft.index, source[0].number, replaced.number):
            raise OSError(errno.EINVAL, "a directory cannot be moved into itself")
        draft.namespace.exchange(source, target)
        return
    if replaced is not None:
        if replaced.is_directory and is_below(draft.index, source[0].number, replaced.number):
            raise OSError(errno.ENOTEMPTY, f"{target[1]!r} holds what is to replace it")
        _check_replaceable(draft, moved, replaced, target[1])
    draft.namespace.move(source, target)


def _check_replaceable(draft: Draft, moved: Inode, replaced: Inode, name: str) -> None:
    if moved.is_directory:
        _check_removable(draft, replaced, name)
    elif replaced.is_directory:
        raise IsADirectoryError(errno.EISDIR, f"{name!r} is a directory")


def _check_removable(draft: Draft, inode: Inode, name: str) -> None:
    if not inode.is_directory:
        raise NotADirectoryError(errno.ENOTDIR, f"{name!r} is not a directory")
    if not draft.namespace.is_empty(inode):
        raise OSError(errno.ENOTEMPTY, f"{name!r} is not empty")


def _check_mode(mode: int) -> None:
    if mode & _FORBIDDEN_BITS:
        raise PermissionError(errno.EPERM, "a version cannot hold setuid and setgid bits")
