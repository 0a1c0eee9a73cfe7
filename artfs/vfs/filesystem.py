"""The filesystem as a whole: what a mount shows of a registry, without a kernel and without knowing one.

Its parts are by concern (`names`, `attributes`, `handles`, `xattrs`); each sends a call to the catalog, to a version or to
staging. All of it runs on one event loop, which owns every table; blocking work goes through the door. Errors are OSError
with the errno the caller is to see, or an ArtfsError.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import Any

from artfs.vfs.alias_moves import AliasWatcher
from artfs.vfs.attributes import STAGED_BIT, AttributeChange, Attributes, Caller, FilesystemStats
from artfs.vfs.catalog import CatalogNodes, CatalogParts, node_attributes
from artfs.vfs.door import Door, Lane
from artfs.vfs.handles import Handles
from artfs.vfs.inodes import Inodes, is_node
from artfs.vfs.kernel import KernelCaches, NoKernel
from artfs.vfs.names import Names
from artfs.vfs.nodes import RootNode, VersionNode
from artfs.vfs.ports import Catalog, ObjectSource
from artfs.vfs.reading import ContentReader
from artfs.vfs.staging_port import StagedXattrs, StagingArea
from artfs.vfs.tree_nodes import TreeNodes
from artfs.vfs.tree_pages import TreePages
from artfs.vfs.uses import NoRuns, Processes, Uses
from artfs.vfs.version_files import VersionFiles
from artfs.vfs.version_xattrs import VersionXattrs
from artfs.vfs.view import View
from artfs.wire.service import Registry


class Filesystem:
    """One mount of one registry.

    Args:
        staging: drafts; None for a mount without `.staging`.
        kernel: what is to be told of changes that come from elsewhere.
        known: what the client remembers of the catalog; None for a registry on this machine, which is quickly asked.
        processes: which of them belong to runs.
    """

    def __init__(
        self,
        registry: Registry,
        source: ObjectSource,
        view: View,
        *,
        door: Door,
        staging: StagingArea | None = None,
        kernel: KernelCaches | None = None,
        known: Catalog | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.view = view
        self.staging = staging
        self._inodes = inodes = Inodes(RootNode(view.mounted_at_ns))
        pages = TreePages(source, registry, door)
        tree = TreeNodes(pages, inodes, view)
        catalog = CatalogNodes(CatalogParts(registry, door, inodes, view, staging, known))
        self._reader = ContentReader(source, pages, door)
        kernel = kernel or NoKernel()
        self._watcher = AliasWatcher(registry, door, inodes, kernel, waits=known is not None)
        self.uses = uses = Uses(inodes, processes or NoRuns(), registry, door)
        self.names = Names(catalog, tree, inodes, staging, view, self._watcher.moved_here, uses)
        self.attributes = NodeAttributes(registry, tree, inodes, staging, view, door)
        self.handles = Handles(
            catalog, tree, VersionFiles(tree, self._reader, kernel, uses), inodes, staging, view, uses
        )
        self.xattrs = Xattrs(VersionXattrs(registry, door, inodes, tree, self._reader, view), staging, view)

    def background_tasks(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What is to run beside the requests, by name, each until cancelled."""
        tasks: dict[str, Callable[[], Awaitable[None]]] = {
            "following changes": self._watcher.run,
            "reading ahead": self._reader.run,
        }
        if self.staging is not None:
            tasks["staging"] = self.staging.run
        return tasks

    def status(self) -> dict[str, Any]:
        """What `artfs status` shows of the filesystem; JSON-encodable."""
        return {
            "open": self.handles.status(),
            "inodes": {
                "entries": len(self._inodes.entries),
                "nodes": len(self._inodes.nodes),
                "pages": len(self._inodes.pages),
            },
            "reading": self._reader.status(),
            "runs": self.uses.status(),
            "registry_error": self._watcher.last_error,
            "staging": {} if self.staging is None else dict(self.staging.status()),
        }


class NodeAttributes:
    """What stat, chmod, readlink and statfs see, and the kernel's lookup counts."""

    def __init__(
        self,
        registry: Registry,
        tree: TreeNodes,
        inodes: Inodes,
        staging: StagingArea | None,
        view: View,
        door: Door,
    ) -> None:
        self._registry = registry
        self._tree = tree
        self._inodes = inodes
        self._staging = staging
        self._view = view
        self._door = door

    async def get(self, inode: int) -> Attributes:
        if inode & STAGED_BIT:
            return await _required(self._staging).nodes.getattr(inode)
        if is_node(inode):
            return node_attributes(inode, self._inodes.nodes.get(inode), self._view)
        return await self._tree.attributes(inode)

    async def change(self, inode: int, change: AttributeChange, handle: int | None, caller: Caller) -> Attributes:
        """chmod, chown, truncate and utimens."""
        self._view.require_writable()
        if inode & STAGED_BIT:
            return await _required(self._staging).nodes.setattr(inode, change, handle, caller)
        if is_node(inode) and not isinstance(self._inodes.nodes.get(inode), VersionNode):
            raise PermissionError(errno.EPERM, "projects and artifacts have no attributes to change")
        raise OSError(errno.EROFS, "versions never change")

    async def read_link(self, inode: int) -> str:
        if inode & STAGED_BIT:
            return await _required(self._staging).nodes.readlink(inode)
        target = None if is_node(inode) else (await self._tree.found(inode)).entry.target
        if target is None:
            raise OSError(errno.EINVAL, "not a symbolic link")
        return target

    def forget(self, inode: int, count: int) -> None:
        """The kernel dropped `count` lookups of an inode."""
        if not inode & STAGED_BIT:
            self._inodes.forget(inode, count)
        elif self._staging is not None:
            self._staging.nodes.forget(inode, count)

    async def stats(self) -> FilesystemStats:
        """The space of the registry's storage."""
        stats = await self._door.run(Lane.LOCAL, os.statvfs, self._registry.spool)
        return FilesystemStats(
            block_bytes=stats.f_frsize,
            block_count=stats.f_blocks,
            free_blocks=stats.f_bfree,
            available_blocks=stats.f_bavail,
            file_count=stats.f_files,
            free_files=stats.f_ffree,
        )


class Xattrs:
    """Extended attributes wherever they are; names are whole (`user.x`)."""

    def __init__(self, versions: VersionXattrs, staging: StagingArea | None, view: View) -> None:
        self._versions = versions
        self._staging = staging
        self._view = view

    async def get(self, inode: int, name: str) -> bytes:
        if inode & STAGED_BIT:
            return await self._staged().get(inode, name)
        return await self._versions.get(inode, name)

    async def list(self, inode: int) -> list[str]:
        if inode & STAGED_BIT:
            return [*await self._staged().list(inode)]
        return await self._versions.list(inode)

    async def set(self, inode: int, name: str, value: bytes, caller: Caller) -> None:
        self._view.require_writable()
        if inode & STAGED_BIT:
            return await self._staged().set(inode, name, value, caller)
        await self._versions.set(inode, name, value)

    async def remove(self, inode: int, name: str) -> None:
        self._view.require_writable()
        if inode & STAGED_BIT:
            return await self._staged().remove(inode, name)
        await self._versions.remove(inode, name)

    def _staged(self) -> StagedXattrs:
        return _required(self._staging).xattrs


def _required(staging: StagingArea | None) -> StagingArea:
    if staging is None:
        raise OSError(errno.ESTALE, "the mount has no staging")
    return staging
