"""Names in directories, wherever they are: each call goes to the catalog, to a version, or to staging.

Here is decided what a rename or link between those worlds means; what it does is theirs. A draft renamed into an artifact
directory is a commit. Versions refuse every change with EROFS, for root too.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from artfs.errors import InvalidName
from artfs.model.names import check_alias
from artfs.model.tree import EntryKind
from artfs.vfs.attributes import STAGED_BIT, Attributes, Caller
from artfs.vfs.catalog import RENAME_NOREPLACE, CatalogNodes
from artfs.vfs.inodes import Inodes, is_node
from artfs.vfs.nodes import ArtifactNode, Node, StagingNode, VersionNode
from artfs.vfs.staging_port import DraftPlace, StagingArea, VersionFile
from artfs.vfs.tree_nodes import TreeNodes
from artfs.vfs.uses import Uses
from artfs.vfs.view import View

RENAME_EXCHANGE = 2


class Names:
    """Lookup and every change of a name. Calls on the event loop; `name` is UTF-8 already checked.

    Args:
        moved: told the artifact directory in which this mount moved aliases, before the caller learns that it did.
    """

    def __init__(
        self,
        catalog: CatalogNodes,
        tree: TreeNodes,
        inodes: Inodes,
        staging: StagingArea | None,
        view: View,
        moved: Callable[[int], None],
        uses: Uses,
    ) -> None:
        self._catalog = catalog
        self._tree = tree
        self._inodes = inodes
        self._staging = staging
        self._view = view
        self._moved = moved
        self._uses = uses

    async def lookup(self, parent: int, name: str) -> Attributes:
        """Attributes with inode 0 for a name that will never exist. Raises FileNotFoundError."""
        if parent & STAGED_BIT:
            return await self._area().nodes.lookup(parent, name)
        if self._is_tree(parent):
            return await self._tree.lookup(parent, name)
        return await self._catalog.lookup(parent, name)

    async def make_directory(self, parent: int, name: str, mode: int, caller: Caller) -> Attributes:
        self._view.require_writable()
        if parent & STAGED_BIT:
            return await self._area().nodes.mkdir(parent, name, mode, caller)
        node = self._changeable(parent)
        if isinstance(node, StagingNode):
            return await self._area().drafts.make(DraftPlace(node.project, node.artifact, name), mode, caller)
        return await self._catalog.make_directory(parent, name)

    async def remove_directory(self, parent: int, name: str) -> None:
        self._view.require_writable()
        if parent & STAGED_BIT:
            return await self._area().nodes.rmdir(parent, name)
        node = self._changeable(parent)
        if isinstance(node, StagingNode):
            return await self._area().drafts.remove(DraftPlace(node.project, node.artifact, name))
        return await self._catalog.remove_directory(parent, name)

    async def make_node(self, parent: int, name: str, mode: int, caller: Caller) -> Attributes:
        return await self._in_draft(parent).nodes.mknod(parent, name, mode, caller)

    async def make_symlink(self, parent: int, name: str, target: str, caller: Caller) -> Attributes:
        return await self._in_draft(parent).nodes.symlink(parent, name, target, caller)

    async def unlink(self, parent: int, name: str) -> None:
        await self._in_draft(parent).nodes.unlink(parent, name)

    async def link(self, inode: int, parent: int, name: str, caller: Caller) -> Attributes:
        """A hard link: between staged files, or from a version's file to a copy-on-write one in a draft."""
        area = self._in_draft(parent)
        if inode & STAGED_BIT:
            return await area.nodes.link(inode, parent, name, caller)
        if is_node(inode):
            raise PermissionError(errno.EPERM, "directories cannot be linked")
        found = await self._tree.found(inode)
        if found.entry.kind is EntryKind.DIRECTORY:
            raise PermissionError(errno.EPERM, "directories cannot be linked")
        source = VersionFile(found.leaf.key.project, found.entry, found.mtime_ns)
        linked = await area.nodes.link_version_file(source, parent, name, caller)
        self._uses.note_used(found.leaf.key.origin, caller.pid)
        return linked

    async def rename(self, parent: int, name: str, new_parent: int, new_name: str, flags: int, caller: Caller) -> None:
        """`flags` are those of renameat2(2)."""
        self._view.require_writable()
        if parent & STAGED_BIT and new_parent & STAGED_BIT:
            return await self._area().nodes.rename(parent, name, new_parent, new_name, flags)
        source = None if parent & STAGED_BIT else self._changeable(parent)
        target = None if new_parent & STAGED_BIT else self._changeable(new_parent)
        if source is None or target is None:
            raise OSError(errno.EXDEV, "drafts are renamed whole, and what is in them stays in them")
        if isinstance(source, StagingNode):
            return await self._rename_draft((source, name), target, (new_parent, new_name), flags, caller)
        if source != target or flags & RENAME_EXCHANGE:
            raise PermissionError(errno.EPERM, "only aliases within their artifact, and drafts, can be renamed")
        await self._catalog.rename_alias(parent, name, new_name, flags)
        self._moved(parent)

    async def _rename_draft(
        self, old: tuple[StagingNode, str], target: Node, new: tuple[int, str], flags: int, caller: Caller
    ) -> None:
        (source, name), (new_parent, new_name) = old, new
        draft = DraftPlace(source.project, source.artifact, name)
        if not isinstance(target, StagingNode | ArtifactNode):
            raise PermissionError(errno.EPERM, "a draft is renamed to an alias, in an artifact's directory")
        if source.project != target.project:
            raise OSError(errno.EXDEV, "the target is in another project")
        if isinstance(target, StagingNode):
            place = DraftPlace(target.project, target.artifact, new_name)
            return await self._area().drafts.rename(draft, place, flags)
        if flags & ~RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, "a commit cannot exchange")
        try:
            check_alias(new_name)
        except InvalidName as error:
            raise OSError(errno.EINVAL, str(error)) from None
        if flags & RENAME_NOREPLACE and await self._catalog.exists(new_parent, new_name):
            raise FileExistsError(errno.EEXIST, f"{new_name!r} exists")
        await self._commit(draft, target, new, caller)

    async def _commit(self, draft: DraftPlace, target: ArtifactNode, new: tuple[int, str], caller: Caller) -> None:
        new_parent, alias = new
        run = self._uses.run_of(caller.pid)
        noted = run if run is not None and await self._uses.before_commit(run) else None
        try:
            result = await self._area().drafts.commit(draft, target.artifact, alias, noted)
        finally:
            self._moved(new_parent)
        if run is not None:
            self._uses.note_logged(run, result)

    def _is_tree(self, inode: int) -> bool:
        return not is_node(inode) or isinstance(self._inodes.nodes.get(inode), VersionNode)

    def _changeable(self, inode: int) -> Node:
        """The catalog directory `inode`. Raises OSError EROFS for what is in a version."""
        if self._is_tree(inode):
            raise OSError(errno.EROFS, "versions never change")
        return self._inodes.nodes.get(inode)

    def _in_draft(self, parent: int) -> StagingArea:
        """Staging, if `parent` is in a draft. Raises OSError EROFS in a version, EPERM in the catalog."""
        self._view.require_writable()
        if not parent & STAGED_BIT:
            self._changeable(parent)
            raise PermissionError(errno.EPERM, "only directories can be made here; files go into a draft")
        return self._area()

    def _area(self) -> StagingArea:
        if self._staging is None:
            raise OSError(errno.EROFS, "the mount has no staging")
        return self._staging
