"""Opening files of drafts, for reading and for writing: copying up, truncation, and what happens when the last writer is gone.

A file of the version below gets a data file when it is first opened for writing, so a handle always reads what the others wrote.
While a writer is counted no commit begins; when the last one is released the file is handed to `Sink`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from artfs.model.tree import EntryKind
from artfs.vfs.attributes import Caller
from artfs.vfs.staging.contents import OpenInode
from artfs.vfs.staging.draft import Draft
from artfs.vfs.staging.inode import ContentState, Inode
from artfs.vfs.staging.lower import Lower


class Sink(Protocol):
    """Where files go that nobody writes any more."""

    def closed(self, draft: Draft, number: int) -> None:
        """The last writer of a file is gone."""

    async def room(self) -> None:
        """Wait, bounded, while too much is on its way."""


class Writing:
    """The steps that `handles.py` and `nodes.py` share. Holds nothing of its own."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def room(self) -> None:
        await self._sink.room()

    async def open(self, draft: Draft, number: int, *, writable: bool, truncate: bool) -> OpenInode:
        """One handle more on a file; release it with `release`."""
        if writable or truncate:
            held = await self._open_to_write(draft, number, size=0 if truncate else None)
            if truncate:
                self._cut(draft, held, 0)
            if not writable:
                self._end_writing(draft, held)
            return held
        held = draft.open_inodes.hold(number)
        try:
            if held.fd < 0 and held.lower is None:
                async with held.opening:
                    await self._open_to_read(draft, held)
        except BaseException:
            draft.close_inode(held)
            raise
        return held

    def release(self, draft: Draft, held: OpenInode, *, writable: bool) -> None:
        if writable:
            self._end_writing(draft, held)
        draft.close_inode(held)

    async def truncate(self, draft: Draft, number: int, size: int) -> None:
        """truncate(2) and ftruncate(2)."""
        async with self._written(draft, number, size) as held:
            self._cut(draft, held, size)

    def new_file(
        self, draft: Draft, where: tuple[Inode, str, int | None], number: int, mode: int, caller: Caller
    ) -> tuple[Inode, int]:
        """An empty file under a free name, and its data file's descriptor."""
        directory, name, position = where
        fd = draft.files.create(number)
        try:
            now = draft.clock()
            inode = Inode(number, EntryKind.FILE, stat.S_IMODE(mode) & 0o1777, caller.uid, caller.gid, 1, now, now, now)
            inode.content_state = ContentState.UNSENT
            draft.namespace.add(directory, name, inode, position, {})
        except BaseException:
            os.close(fd)
            draft.files.remove(number)
            raise
        return inode, fd

    def opened_new(self, draft: Draft, number: int, fd: int, *, writable: bool) -> OpenInode:
        """The handle of a file just made."""
        held = draft.open_inodes.hold(number)
        draft.open_inodes.begin_writing(held)
        held.fd = fd
        held.written = True
        if not writable:
            self._end_writing(draft, held)
        return held

    def closed(self, draft: Draft, number: int, fd: int) -> None:
        """A file just made is not to be open."""
        os.close(fd)
        self._sink.closed(draft, number)

    @asynccontextmanager
    async def _written(self, draft: Draft, number: int, size: int) -> AsyncIterator[OpenInode]:
        held = await self._open_to_write(draft, number, size)
        try:
            yield held
        finally:
            self.release(draft, held, writable=True)

    async def _open_to_read(self, draft: Draft, held: OpenInode) -> None:
        if held.fd >= 0 or held.lower is not None:
            return
        inode = await draft.resolver.inode(held.number)
        _check_file(inode)
        if inode.content_state != ContentState.LOWER:
            held.fd = draft.files.open(held.number)
            return
        content = inode.content
        assert content is not None
        held.layout = await draft.lower.layout(content)
        held.lower = content

    async def _open_to_write(self, draft: Draft, number: int, size: int | None) -> OpenInode:
        """A counted writer with a data file; of content below, only the first `size` bytes are copied up."""
        draft.check_writable()
        held = draft.open_inodes.hold(number)
        draft.open_inodes.begin_writing(held)
        try:
            if held.writers == 1 or held.fd < 0 or held.lower is not None:
                async with held.opening:
                    await self._make_writable(draft, held, size)
        except BaseException:
            self._end_writing(draft, held)
            draft.close_inode(held)
            raise
        return held

    async def _make_writable(self, draft: Draft, held: OpenInode, size: int | None) -> None:
        inode = await draft.resolver.inode(held.number)
        _check_file(inode)
        if inode.lower is not None:
            async with draft.changing:
                inode = await draft.resolver.kept(await draft.resolver.inode(held.number))
        if inode.content_state == ContentState.LOWER:
            await _copy_up(draft, draft.lower, held, inode, size)
        elif held.fd < 0:
            held.fd = draft.files.open(held.number)
        draft.set_unsent(held.number)
        held.lower = held.layout = None
        held.written = True

    def _cut(self, draft: Draft, held: OpenInode, size: int) -> None:
        os.ftruncate(held.fd, size)

    def _end_writing(self, draft: Draft, held: OpenInode) -> None:
        if draft.open_inodes.end_writing(held) and held.written:
            held.written = False
            self._sink.closed(draft, held.number)


async def _copy_up(draft: Draft, lower: Lower, held: OpenInode, inode: Inode, size: int | None) -> None:
    content = inode.content
    assert content is not None
    length = content.size_bytes if size is None else min(size, content.size_bytes)
    fd = draft.files.create_copy(held.number)
    try:
        await lower.copy(content, fd, length)
        os.utime(fd, ns=(inode.atime_ns, inode.mtime_ns))
        draft.files.publish_copy(held.number)
    except BaseException:
        os.close(fd)
        draft.files.drop_copy(held.number)
        raise
    if held.fd >= 0:
        os.close(held.fd)
    held.fd = fd


def _check_file(inode: Inode) -> None:
    if inode.is_directory:
        raise IsADirectoryError(errno.EISDIR, "a directory")
    if not inode.is_file:
        raise OSError(errno.ELOOP, "a symbolic link")
