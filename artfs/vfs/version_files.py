"""Open files of versions: what training does most, so nothing here waits where all is in memory.

A handle names what it opened itself, so it outlives aliases and names. Owner: the event loop.
"""

from __future__ import annotations

import errno
from itertools import count

from artfs.model.content import FileContent
from artfs.model.tree import EntryKind, LeafPage
from artfs.vfs.kernel import KernelCaches
from artfs.vfs.page_pushes import PagePushes
from artfs.vfs.ports import Bytes
from artfs.vfs.reading import ContentReader, OpenFile
from artfs.vfs.tree_nodes import PagePlace, TreeNodes
from artfs.vfs.uses import Uses


class VersionFiles:
    """Files by handle."""

    def __init__(self, tree: TreeNodes, reader: ContentReader, kernel: KernelCaches, uses: Uses) -> None:
        self._tree = tree
        self._reader = reader
        self._kernel = kernel
        self._uses = uses
        self._pushes = PagePushes()
        self._numbers = count(1)
        self._files: dict[int, OpenFile] = {}

    def __len__(self) -> int:
        return len(self._files)

    async def open(self, inode: int, pid: int) -> int:
        """Raises OSError EISDIR, ELOOP or ESTALE."""
        place = self._tree.known(inode)
        if place is None:
            found = await self._tree.found(inode)
            place = PagePlace(found.leaf.key, found.leaf.page, found.position)
        key, page, position = place
        file = OpenFile(inode, key, position, _content(page, position))
        self._uses.note_used(key.origin, pid)
        if self._pushes.opened(inode, file.content.size_bytes):
            data = self._reader.at_hand(file)
            if data is not None:
                self._kernel.store_content(inode, data)
                file.watched = False
        handle = next(self._numbers)
        self._files[handle] = file
        return handle

    async def read(self, handle: int, offset: int, size_bytes: int) -> Bytes:
        file = self._files.get(handle)
        if file is None:
            raise OSError(errno.EBADF, f"no open handle {handle}")
        if file.watched:
            file.watched = False
            self._pushes.learned(True)
        return await self._reader.read(file, offset, size_bytes)

    def release(self, handle: int) -> None:
        file = self._files.pop(handle, None)
        if file is not None:
            self._pushes.released(file.inode)
            if file.stream is not None:
                file.stream.closed = True
            if file.watched:
                self._pushes.learned(False)


def _content(page: LeafPage, position: int) -> FileContent:
    """What the file at `position` holds. Every open passes here: no Entry is made. Raises OSError."""
    kind = page.kind(position)
    if kind is EntryKind.DIRECTORY:
        raise OSError(errno.EISDIR, "a directory")
    if kind is EntryKind.SYMLINK:
        raise OSError(errno.ELOOP, "a symbolic link")
    return FileContent(kind, page.digest(position), page.size_bytes(position))
