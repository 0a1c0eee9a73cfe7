"""Extended attributes outside staging: what a version says of itself, and a file's digest. docs/semantics.md has the table.

The attributes of artfs are answered by name and not listed: tools which copy attributes would write a digest beside content
that may change later, and a version's aliases and metadata to a draft made with `cp -a`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from artfs.errors import InvalidValue
from artfs.model.content import FileContent
from artfs.model.durations import NEVER, parse_ttl_s
from artfs.model.metadata import parse_metadata
from artfs.model.names import LATEST, check_alias
from artfs.model.tree import EntryKind
from artfs.vfs.door import Door, Lane
from artfs.vfs.inodes import Inodes, is_node
from artfs.vfs.nodes import Node, VersionNode
from artfs.vfs.reading import ContentReader, OpenFile
from artfs.vfs.tree_nodes import TreeNodes
from artfs.vfs.view import View
from artfs.wire.records import VersionChange, VersionRecord
from artfs.wire.service import Registry

USER = "user."
PREFIX = "user.artfs."
FILE_DIGEST = "user.artfs.sha256"
REFERENCE_URI = "user.artfs.reference"
SEALED = "sealed"

_ANSWERS: dict[str, Callable[[VersionRecord], str]] = {
    "version": lambda record: record.name,
    "digest": lambda record: record.digest.text,
    "type": lambda record: record.type,
    "aliases": lambda record: ",".join(sorted(record.aliases)),
    "description": lambda record: record.description,
    "metadata": lambda record: msgspec.json.encode(record.metadata).decode(),
    "state": lambda record: SEALED,
    "created_by": lambda record: record.created_by,
    "expires_at": lambda record: _expiry(record.expires_at_ns),
}
_REMOVED = {"description": b"", "metadata": b"{}", "aliases": b"", "ttl": NEVER.encode()}


class VersionXattrs:
    """Get, set, list and remove. Names are whole (`user.x`)."""

    def __init__(
        self, registry: Registry, door: Door, inodes: Inodes, tree: TreeNodes, reader: ContentReader, view: View
    ) -> None:
        self._registry = registry
        self._door = door
        self._inodes = inodes
        self._tree = tree
        self._reader = reader
        self._view = view

    async def get(self, inode: int, name: str) -> bytes:
        """Raises OSError ENODATA."""
        if not name.startswith(USER):
            raise _no_data(name)
        if not is_node(inode):
            return await self._entry_value(inode, name)
        node = self._inodes.nodes.get(inode)
        answer = _ANSWERS.get(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
        if answer is None or not isinstance(node, VersionNode):
            raise _no_data(name)
        return answer(await self._record(node)).encode()

    async def list(self, inode: int) -> list[str]:
        if is_node(inode):
            return []
        return [USER + name for name in (await self._tree.found(inode)).entry.xattrs]

    async def set(self, inode: int, name: str, value: bytes) -> None:
        """Description, metadata, type, aliases and time to live of a version. Raises InvalidValue, TypeMismatch, OSError."""
        self._view.require_writable()
        if not name.startswith(USER):
            raise OSError(errno.ENOTSUP, f"{name} cannot be kept; only user attributes can")
        node = self._settable(inode)
        setter = {
            PREFIX + "description": self._set_description,
            PREFIX + "metadata": self._set_metadata,
            PREFIX + "type": self._set_type,
            PREFIX + "aliases": self._set_aliases,
            PREFIX + "ttl": self._set_ttl,
        }.get(name)
        if setter is None:
            raise _immutable(name)
        await self._door.run(Lane.METADATA, setter, node, _text(name, value))

    async def remove(self, inode: int, name: str) -> None:
        """Empty a description, metadata or the aliases, or let a version live for ever.

        Raises OSError EROFS or EPERM for what always is.
        """
        self._view.require_writable()
        node = self._settable(inode)
        if name not in [PREFIX + known for known in (*_ANSWERS, *_REMOVED)]:
            raise _no_data(name)
        emptied = _REMOVED.get(name.removeprefix(PREFIX))
        if emptied is None:
            raise PermissionError(errno.EPERM, f"every version has {name}")
        await self.set(self._inodes.nodes.number(node), name, emptied)

    async def _entry_value(self, inode: int, name: str) -> bytes:
        found = await self._tree.found(inode)
        entry = found.entry
        file = OpenFile(inode, found.leaf.key, found.position, FileContent.of(entry))
        if name == FILE_DIGEST and entry.kind in (EntryKind.FILE, EntryKind.LARGE_FILE, EntryKind.REFERENCE):
            digest = await self._reader.digest(file)
            if digest is None:
                raise _no_data(name)
            return digest.hex().encode()
        if name == REFERENCE_URI and entry.kind is EntryKind.REFERENCE:
            return (await self._reader.reference(file)).reference.uri.encode()
        value = entry.xattrs.get(name.removeprefix(USER))
        if value is None:
            raise _no_data(name)
        return value

    def _settable(self, inode: int) -> VersionNode:
        node: Node | None = self._inodes.nodes.get(inode) if is_node(inode) else None
        if isinstance(node, VersionNode):
            return node
        if node is None:
            raise OSError(errno.EROFS, "versions never change")
        raise OSError(errno.EPERM, "attributes belong to versions and drafts")

    async def _record(self, node: VersionNode) -> VersionRecord:
        return await self._door.run(
            Lane.METADATA, self._registry.versions.resolve, node.project, node.artifact, node.version
        )

    def _set_description(self, node: VersionNode, text: str) -> None:
        self._registry.versions.update(node.project, node.artifact, node.number, VersionChange(description=text))

    def _set_metadata(self, node: VersionNode, text: str) -> None:
        change = VersionChange(metadata=parse_metadata(text))
        self._registry.versions.update(node.project, node.artifact, node.number, change)

    def _set_ttl(self, node: VersionNode, text: str) -> None:
        change = VersionChange(ttl_s=parse_ttl_s(text))
        self._registry.versions.update(node.project, node.artifact, node.number, change)

    def _set_type(self, node: VersionNode, text: str) -> None:
        self._registry.artifacts.update(node.project, node.artifact, type=text.strip())

    def _set_aliases(self, node: VersionNode, text: str) -> None:
        """Make `text` the version's aliases; `latest` moves by itself and is left alone."""
        wanted = {check_alias(alias) for alias in parse_aliases(text)} - {LATEST}
        current = self._registry.aliases.list(node.project, node.artifact)
        held = {alias for alias, number in current.items() if number == node.number} - {LATEST}
        change = VersionChange(added_aliases=sorted(wanted - held), removed_aliases=sorted(held - wanted))
        self._registry.versions.update(node.project, node.artifact, node.number, change)


def _expiry(expires_at_ns: int | None) -> str:
    """`2030-01-31T12:00:00Z`, or `never`."""
    if expires_at_ns is None:
        return NEVER
    return datetime.fromtimestamp(expires_at_ns // 10**9, UTC).isoformat().replace("+00:00", "Z")


def parse_aliases(text: str) -> list[str]:
    """Names separated by commas or white space."""
    return text.replace(",", " ").split()


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidValue(f"the value of {name} is not UTF-8") from None


def _no_data(name: str) -> OSError:
    return OSError(errno.ENODATA, f"no attribute {name}")


def _immutable(name: str) -> OSError:
    if name.startswith(PREFIX):
        return PermissionError(errno.EPERM, f"{name} cannot be set")
    return OSError(errno.EROFS, "versions never change")
