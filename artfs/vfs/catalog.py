"""The directories above versions: root, projects, artifacts and `.staging`; what is in them and what changes them.

Every answer comes from the registry, through the door, or from what the client remembers of it. Names here may come and go
at any time, so the kernel keeps them for CATALOG_TIMEOUT_S only, and `alias_moves` tells it sooner. Everything below a
version's root is `tree_nodes`'.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

from artfs.errors import InvalidName, NotFound
from artfs.model.names import LATEST, STAGING_NAME, check_alias, check_name, parse_version
from artfs.vfs.attributes import STAGED_BIT, Attributes
from artfs.vfs.door import Door, Lane
from artfs.vfs.inodes import Inodes
from artfs.vfs.kernel import DirectoryBuffer
from artfs.vfs.nodes import ArtifactNode, CatalogNode, Node, ProjectNode, RootNode, StagingNode, VersionNode
from artfs.vfs.ports import Catalog, NotRemembered
from artfs.vfs.staging_port import DraftPlace, StagingArea
from artfs.vfs.tree_nodes import directory_attributes
from artfs.vfs.view import View
from artfs.wire.records import ArtifactRecord, ProjectRecord, VersionRecord
from artfs.wire.service import Registry

CATALOG_TIMEOUT_S = 1.0
_VERSION_MODE = 0o555
_CATALOG_MODE = 0o755
RENAME_NOREPLACE = 1

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


def node_attributes(inode: int, node: Node, view: View) -> Attributes:
    """A node's attributes. Those never change, only the name may come to mean another node."""
    mode = _VERSION_MODE if isinstance(node, VersionNode) else _CATALOG_MODE
    created_at_ns = node.created_at_ns
    attributes = directory_attributes(inode, mode, created_at_ns, view)
    attributes.entry_timeout_s = CATALOG_TIMEOUT_S
    return attributes


class AskedCatalog:
    """A `Catalog` that asks the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def projects(self) -> list[ProjectRecord]:
        return self._registry.projects.list()

    def project(self, project: str) -> ProjectRecord:
        return self._registry.projects.get(project)

    def artifacts(self, project: str) -> list[ArtifactRecord]:
        return self._registry.artifacts.list(project)

    def artifact(self, project: str, artifact: str) -> ArtifactRecord:
        return self._registry.artifacts.get(project, artifact)

    def versions(self, project: str, artifact: str) -> list[VersionRecord]:
        return self._registry.versions.list(project, artifact)

    def version(self, project: str, artifact: str, selector: str, as_of: int | None) -> VersionRecord:
        return self._registry.versions.resolve(project, artifact, selector, as_of=as_of)

    def aliases(self, project: str, artifact: str, as_of: int | None) -> dict[str, int]:
        return self._registry.aliases.list(project, artifact, as_of=as_of)


class Queries:
    """What is in a catalog directory. Synchronous: over a catalog that asks, called behind the door."""

    def __init__(self, catalog: Catalog, view: View) -> None:
        self._catalog = catalog
        self._view = view

    def child(self, parent: CatalogNode, name: str) -> Node | None:
        """The node that `name` means now, or None."""
        try:
            if isinstance(parent, RootNode):
                return _project(self._catalog.project(check_name("project", name)))
            if isinstance(parent, ProjectNode):
                return _artifact(self._catalog.artifact(parent.project, check_name("artifact", name)))
            if isinstance(parent, ArtifactNode):
                return _version(self._resolve(parent, name), name)
        except (NotFound, InvalidName):
            pass
        return None

    def children(self, parent: CatalogNode) -> list[tuple[str, Node]]:
        """All that `parent` holds, `.staging` and drafts aside, by name."""
        if isinstance(parent, RootNode):
            return sorted((p.name, _project(p)) for p in self._catalog.projects())
        if isinstance(parent, ProjectNode):
            return sorted((a.name, _artifact(a)) for a in self._catalog.artifacts(parent.project))
        if isinstance(parent, ArtifactNode):
            return list(self._versions(parent))
        return []

    def _resolve(self, parent: ArtifactNode, name: str) -> VersionRecord:
        if parse_version(name) is not None:
            return self._catalog.version(parent.project, parent.artifact, name, None)
        return self._catalog.version(parent.project, parent.artifact, check_alias(name), self._view.pinned_at)

    def _versions(self, parent: ArtifactNode) -> Iterator[tuple[str, Node]]:
        aliases = self._catalog.aliases(parent.project, parent.artifact, self._view.pinned_at)
        versions = {record.number: record for record in self._catalog.versions(parent.project, parent.artifact)}
        for alias, number in sorted(aliases.items()):
            if number in versions:
                yield alias, _version(versions[number], alias)
        for record in versions.values():
            yield record.name, _version(record, record.name)


class Directories:
    """What is in catalog directories: from what is remembered, on the loop, and otherwise by asking, behind the door."""

    def __init__(self, parts: CatalogParts) -> None:
        self._door = parts.door
        self._asked = Queries(AskedCatalog(parts.registry), parts.view)
        self._known = None if parts.known is None else Queries(parts.known, parts.view)

    async def child(self, parent: CatalogNode, name: str) -> Node | None:
        """The node that `name` means now, or None."""
        if self._known is not None:
            try:
                return self._known.child(parent, name)
            except NotRemembered:
                pass
        return await self._door.run(Lane.METADATA, self._asked.child, parent, name)

    async def children(self, parent: CatalogNode) -> list[tuple[str, Node]]:
        """All that `parent` holds, `.staging` and drafts aside, by name."""
        if self._known is not None:
            try:
                return self._known.children(parent)
            except (NotRemembered, NotFound):
                pass
        return await self._door.run(Lane.METADATA, self._asked.children, parent)


def _project(record: ProjectRecord) -> ProjectNode:
    return ProjectNode(record.name, record.created_at_ns)


def _artifact(record: ArtifactRecord) -> ArtifactNode:
    return ArtifactNode(record.project, record.name, record.created_at_ns)


def _version(record: VersionRecord, name: str) -> VersionNode:
    return VersionNode(record.project, record.artifact, name, record.number, record.digest, record.created_at_ns)


@dataclass(frozen=True, slots=True)
class CatalogParts:
    """What catalog directories are made of."""

    registry: Registry
    door: Door
    inodes: Inodes
    view: View
    staging: StagingArea | None
    known: Catalog | None = None  # what need not be asked for


class CatalogNodes:
    """Lookup and changes in catalog directories."""

    def __init__(self, parts: CatalogParts) -> None:
        self._parts = parts
        self._registry = parts.registry
        self._directories = Directories(parts)

    async def lookup(self, parent: int, name: str) -> Attributes:
        """Raises FileNotFoundError."""
        node = self._node(parent)
        if isinstance(node, StagingNode):
            return await self._staging().drafts.lookup(DraftPlace(node.project, node.artifact, name))
        child = await self._child(node, name)
        if child is None:
            raise FileNotFoundError(errno.ENOENT, f"no {name!r}")
        return node_attributes(self._parts.inodes.count_node(child, parent), child, self._parts.view)

    async def listing(self, inode: int) -> CatalogListing:
        return CatalogListing(self._parts, self._directories, inode, self._node(inode))

    async def make_directory(self, parent: int, name: str) -> Attributes:
        """Create a project or an artifact. Raises AlreadyExists, InvalidName, PermissionError elsewhere."""
        node = self._node(parent)
        self._parts.view.require_writable()
        if isinstance(node, RootNode):
            await self._ask(self._registry.projects.create, name)
        elif isinstance(node, ProjectNode):
            await self._ask(self._registry.artifacts.create, node.project, name)
        else:
            raise PermissionError(errno.EPERM, "versions come from .staging: make a directory there")
        return await self.lookup(parent, name)

    async def remove_directory(self, parent: int, name: str) -> None:
        """Delete an empty project or artifact, or remove an alias. Raises NotEmpty, NotFound, PermissionError."""
        node = self._node(parent)
        self._parts.view.require_writable()
        if isinstance(node, RootNode):
            await self._ask(self._registry.projects.delete, name)
        elif isinstance(node, ProjectNode):
            if self._parts.staging is not None and await self._parts.staging.drafts.list(node.project, name):
                raise OSError(errno.ENOTEMPTY, "the artifact has drafts in .staging")
            await self._ask(self._registry.artifacts.delete, node.project, name)
        elif isinstance(node, ArtifactNode) and name != STAGING_NAME and parse_version(name) is None:
            await self._ask(self._registry.aliases.remove, node.project, node.artifact, name)
        else:
            raise PermissionError(errno.EPERM, "versions are deleted with `artfs rm`")

    async def rename_alias(self, parent: int, old: str, new: str, flags: int) -> None:
        """Give an alias another name in its artifact. Raises PermissionError for anything else that could be renamed."""
        node = self._node(parent)
        self._parts.view.require_writable()
        if not isinstance(node, ArtifactNode) or old in (STAGING_NAME, LATEST) or parse_version(old) is not None:
            raise PermissionError(errno.EPERM, "only aliases, other than latest, and drafts can be renamed")
        check_alias(new)
        aliases = await self._ask(self._registry.aliases.list, node.project, node.artifact)
        if old not in aliases:
            raise FileNotFoundError(errno.ENOENT, f"no {old!r}")
        if new in aliases and flags & RENAME_NOREPLACE:
            raise FileExistsError(errno.EEXIST, f"{new!r} exists")
        await self._ask(self._registry.aliases.move, node.project, node.artifact, new, aliases[old])
        await self._ask(self._registry.aliases.remove, node.project, node.artifact, old)

    async def exists(self, parent: int, name: str) -> bool:
        return await self._child(self._node(parent), name) is not None

    def _node(self, inode: int) -> CatalogNode:
        node = self._parts.inodes.nodes.get(inode)
        if isinstance(node, VersionNode):
            raise OSError(errno.EROFS, "versions never change")
        return node

    def _staging(self) -> StagingArea:
        if self._parts.staging is None:
            raise FileNotFoundError(errno.ENOENT, "a read-only mount has no drafts")
        return self._parts.staging

    async def _child(self, node: CatalogNode, name: str) -> Node | None:
        if isinstance(node, ArtifactNode) and name == STAGING_NAME:
            return staging_of(node) if self._parts.staging is not None else None
        return await self._directories.child(node, name)

    async def _ask(self, function: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
        return await self._parts.door.run(Lane.METADATA, function, *args)


def staging_of(node: ArtifactNode) -> StagingNode:
    return StagingNode(node.project, node.artifact, node.created_at_ns)


class CatalogListing:
    """An open catalog directory: what it held when it was read from the beginning."""

    def __init__(self, parts: CatalogParts, directories: Directories, inode: int, node: CatalogNode) -> None:
        self._parts = parts
        self._directories = directories
        self._inode = inode
        self._node = node
        self._names: list[tuple[str, Node | Attributes]] = []

    async def fill(self, start_id: int, buffer: DirectoryBuffer) -> None:
        if start_id == 0:
            self._names = await self._read()
        for position in range(start_id, len(self._names)):
            name, item = self._names[position]
            if isinstance(item, Attributes):
                fits = buffer.add(name, item, position + 1)
                if fits and item.inode & STAGED_BIT and self._parts.staging is not None:
                    self._parts.staging.drafts.listed(item.inode)
            else:
                inode = self._parts.inodes.count_node(item, self._inode)
                fits = buffer.add(name, node_attributes(inode, item, self._parts.view), position + 1)
                if not fits:
                    self._parts.inodes.forget(inode, 1)
            if not fits:
                return

    async def _read(self) -> list[tuple[str, Node | Attributes]]:
        parent = self._parts.inodes.parent(self._inode)
        names: list[tuple[str, Node | Attributes]] = [
            (".", node_attributes(self._inode, self._node, self._parts.view)),
            ("..", directory_attributes(parent, _CATALOG_MODE, 0, self._parts.view)),
        ]
        staging = self._parts.staging
        if staging is not None and isinstance(self._node, ArtifactNode):
            names.append((STAGING_NAME, staging_of(self._node)))
        if staging is not None and isinstance(self._node, StagingNode):
            names.extend(await staging.drafts.list(self._node.project, self._node.artifact))
        names.extend(await self._directories.children(self._node))
        return names
