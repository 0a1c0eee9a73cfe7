"""Open files and directories inside drafts.

Bytes are read and written inline: the data files are on local disk and their pages in memory. What waits for a disk on purpose
(fsync) goes through the door. Owner of the handles: the event loop.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from artfs.model.lineage import VersionRef
from artfs.vfs.attributes import STAGED_BIT, Attributes, Caller
from artfs.vfs.door import Door, Lane
from artfs.vfs.kernel import DirectoryBuffer
from artfs.vfs.staging.contents import OpenInode
from artfs.vfs.staging.draft import Draft
from artfs.vfs.staging.inode import ContentState
from artfs.vfs.staging.listing import fill
from artfs.vfs.staging.nodes import free_name
from artfs.vfs.staging.table import DraftTable
from artfs.vfs.staging.writing import Writing


@dataclass(slots=True)
class _Handle:
    """`inode` is None for a directory."""

    draft: Draft
    number: int
    inode: OpenInode | None = None
    writable: bool = False


class DraftHandles:
    """Implements `StagedHandles`."""

    def __init__(self, table: DraftTable, writing: Writing, door: Door) -> None:
        self._table = table
        self._writing = writing
        self._door = door
        self._handles: dict[int, _Handle] = {}
        self._last = STAGED_BIT

    async def origin(self, inode: int) -> VersionRef | None:
        draft = await self._table.of(inode)
        if draft.base is None or draft.gone:
            return None
        found = await draft.resolver.inode(draft.number(inode))
        return draft.base if found.content_state == ContentState.LOWER else None

    async def open(self, inode: int, flags: int, caller: Caller) -> int:
        draft = await self._table.of(inode)
        draft.check_there()
        number = draft.number(inode)
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        if writable:
            await self._writing.room()
        held = await self._writing.open(draft, number, writable=writable, truncate=bool(flags & os.O_TRUNC))
        return self._add(_Handle(draft, number, held, writable))

    async def create(self, parent: int, name: str, mode: int, flags: int, caller: Caller) -> tuple[int, Attributes]:
        draft = await self._table.of(parent)
        await self._writing.room()
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        try:
            async with draft.changing:
                directory, position = await free_name(draft, parent, name)
                number = draft.index.take_numbers(1)
                inode, fd = self._writing.new_file(draft, (directory, name, position), number, mode, caller)
                held = self._writing.opened_new(draft, number, fd, writable=writable)
                handle = self._add(_Handle(draft, number, held, writable))
                return handle, draft.attributes(inode)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
        found = (await draft.resolver.name(await draft.resolver.directory(draft.number(parent)), name)).inode
        if found is None:
            raise OSError(errno.ESTALE, f"{name!r} was removed meanwhile")
        attributes = draft.attributes(found)
        handle = await self.open(attributes.inode, flags, caller)
        return handle, draft.attributes(await draft.resolver.inode(found.number))

    async def read(self, handle: int, offset: int, size_bytes: int) -> bytes:
        opened = self._handle(handle)
        held = _file(opened)
        if held.fd >= 0:
            return os.pread(held.fd, size_bytes, offset)
        content = held.lower
        if content is None:
            raise OSError(errno.EBADF, "not open for reading")
        return await opened.draft.lower.read(content, held.layout, offset, size_bytes)

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        opened = self._handle(handle)
        if not opened.writable:
            raise OSError(errno.EBADF, "not open for writing")
        await self._writing.room()
        return os.pwrite(_file(opened).fd, data, offset)

    async def fsync(self, handle: int, data_only: bool) -> None:
        opened = self._handle(handle)
        held = _file(opened)
        if not opened.draft.gone:
            await self._door.run(Lane.STAGING, _sync_file, opened.draft, held.fd, data_only)

    async def release(self, handle: int) -> None:
        opened = self._handles.pop(handle, None)
        if opened is not None and opened.inode is not None:
            self._writing.release(opened.draft, opened.inode, writable=opened.writable)

    async def open_directory(self, inode: int) -> int:
        draft = await self._table.of(inode)
        draft.check_there()
        number = draft.number(inode)
        await draft.resolver.directory(number)
        return self._add(_Handle(draft, number))

    async def read_directory(self, handle: int, start_id: int, buffer: DirectoryBuffer) -> None:
        opened = self._handle(handle)
        opened.draft.check_there()
        await fill(opened.draft, opened.number, start_id, buffer)

    async def release_directory(self, handle: int) -> None:
        self._handles.pop(handle, None)

    async def fsync_directory(self, handle: int, data_only: bool) -> None:
        opened = self._handle(handle)
        if not opened.draft.gone:
            await self._door.run(Lane.STAGING, opened.draft.sync)

    def _add(self, handle: _Handle) -> int:
        self._last += 1
        self._handles[self._last] = handle
        return self._last

    def _handle(self, handle: int) -> _Handle:
        found = self._handles.get(handle)
        if found is None:
            raise OSError(errno.EBADF, "no such handle")
        return found


def _file(handle: _Handle) -> OpenInode:
    if handle.inode is None:
        raise OSError(errno.EISDIR, "a directory")
    return handle.inode


def _sync_file(draft: Draft, fd: int, data_only: bool) -> None:
    if fd >= 0:
        (os.fdatasync if data_only else os.fsync)(fd)
    draft.sync()
