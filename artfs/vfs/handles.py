"""Open files and directories: a call goes to a draft, by the STAGED_BIT of inode and handle, or to a version.

Owner of the handles: the event loop. A handle names what it opened itself, so it outlives aliases and names.
"""

from __future__ import annotations

import errno
import os
from itertools import count
from typing import Protocol, TypeVar

from artfs.vfs.attributes import STAGED_BIT, Attributes, Caller
from artfs.vfs.catalog import CatalogNodes
from artfs.vfs.inodes import Inodes, is_node
from artfs.vfs.kernel import DirectoryBuffer
from artfs.vfs.nodes import VersionNode
from artfs.vfs.ports import Bytes
from artfs.vfs.staging_port import StagedHandles, StagingArea
from artfs.vfs.tree_nodes import TreeNodes
from artfs.vfs.uses import Uses
from artfs.vfs.version_files import VersionFiles
from artfs.vfs.view import View

_CHANGING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC

_T = TypeVar("_T")


class OpenDirectory(Protocol):
    """A directory's entries behind an id; see `kernel.DirectoryBuffer`."""

    async def fill(self, start_id: int, buffer: DirectoryBuffer) -> None: ...


class Handles:
    """Open files and directories by handle."""

    def __init__(
        self,
        catalog: CatalogNodes,
        tree: TreeNodes,
        files: VersionFiles,
        inodes: Inodes,
        staging: StagingArea | None,
        view: View,
        uses: Uses,
    ) -> None:
        self._catalog = catalog
        self._tree = tree
        self._files = files
        self._inodes = inodes
        self._staging = staging
        self._view = view
        self._uses = uses
        self._numbers = count(1)
        self._directories: dict[int, OpenDirectory] = {}

    async def open(self, inode: int, flags: int, caller: Caller) -> int:
        """Raises OSError EROFS if a version's file is opened for anything but reading."""
        if inode & STAGED_BIT:
            if flags & _CHANGING:
                self._view.require_writable()
            return await self._open_staged(inode, flags, caller)
        if is_node(inode):
            raise OSError(errno.EISDIR, "a directory")
        if flags & _CHANGING:
            raise OSError(errno.EROFS, "versions never change")
        return await self._files.open(inode, caller.pid)

    async def create(self, parent: int, name: str, mode: int, flags: int, caller: Caller) -> tuple[int, Attributes]:
        self._view.require_writable()
        if parent & STAGED_BIT:
            return await self._area().create(parent, name, mode, flags, caller)
        if is_node(parent) and not isinstance(self._inodes.nodes.get(parent), VersionNode):
            raise PermissionError(errno.EPERM, "only directories can be made here; files go into a draft")
        raise OSError(errno.EROFS, "versions never change")

    async def read(self, handle: int, offset: int, size_bytes: int) -> Bytes:
        if handle & STAGED_BIT:
            return await self._area().read(handle, offset, size_bytes)
        return await self._files.read(handle, offset, size_bytes)

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        if handle & STAGED_BIT:
            return await self._area().write(handle, offset, data)
        raise OSError(errno.EROFS, "versions never change")

    async def fsync(self, handle: int, data_only: bool) -> None:
        if handle & STAGED_BIT:
            await self._area().fsync(handle, data_only)

    async def release(self, handle: int) -> None:
        if handle & STAGED_BIT:
            await self._area().release(handle)
        else:
            self._files.release(handle)

    async def open_directory(self, inode: int) -> int:
        if inode & STAGED_BIT:
            return await self._area().open_directory(inode)
        if is_node(inode) and not isinstance(self._inodes.nodes.get(inode), VersionNode):
            return self._keep(self._directories, await self._catalog.listing(inode))
        return self._keep(self._directories, await self._tree.listing(inode))

    async def fill_directory(self, handle: int, start_id: int, buffer: DirectoryBuffer) -> None:
        """Put the entries behind `start_id` (0 at first) into `buffer` until it is full."""
        if handle & STAGED_BIT:
            await self._area().read_directory(handle, start_id, buffer)
        else:
            await _held(self._directories, handle).fill(start_id, buffer)

    async def fsync_directory(self, handle: int, data_only: bool) -> None:
        if handle & STAGED_BIT:
            await self._area().fsync_directory(handle, data_only)

    async def release_directory(self, handle: int) -> None:
        if handle & STAGED_BIT:
            await self._area().release_directory(handle)
        else:
            self._directories.pop(handle, None)

    def status(self) -> dict[str, int]:
        return {"files": len(self._files), "directories": len(self._directories)}

    async def _open_staged(self, inode: int, flags: int, caller: Caller) -> int:
        area = self._area()
        origin = None
        if self._uses.run_of(caller.pid) is not None and not flags & os.O_TRUNC:
            origin = await area.origin(inode)
        handle = await area.open(inode, flags, caller)
        if origin is not None:
            self._uses.note_used(origin, caller.pid)
        return handle

    def _keep(self, table: dict[int, _T], opened: _T) -> int:
        handle = next(self._numbers)
        table[handle] = opened
        return handle

    def _area(self) -> StagedHandles:
        if self._staging is None:
            raise OSError(errno.EROFS, "the mount has no staging")
        return self._staging.handles


def _held(table: dict[int, _T], handle: int) -> _T:
    opened = table.get(handle)
    if opened is None:
        raise OSError(errno.EBADF, f"no open handle {handle}")
    return opened
