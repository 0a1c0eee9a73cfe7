"""Extended attributes inside drafts: `user.*` of files and directories, and `user.artfs.*` of a draft's root.

The root directory of a version has no entry and so no attributes of its own: on a draft's root there are only those that describe
the version to be. Attributes of `user.artfs.` are not listed, so that tools which copy attributes do not copy them.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from artfs.errors import ObjectMissing
from artfs.model.recipe import Recipe
from artfs.model.tree import EntryKind
from artfs.vfs.attributes import Caller
from artfs.vfs.staging.draft import Draft
from artfs.vfs.staging.inode import ROOT_NUMBER, Changed, Inode
from artfs.vfs.staging.settings import SETTABLE, checked_setting, read_setting, write_setting
from artfs.vfs.staging.table import DraftTable

_USER = "user."
_ARTFS = "user.artfs."
_FILE_DIGEST = "user.artfs.sha256"
_REFERENCE_URI = "user.artfs.reference"
_INODE_BYTES_MAX = 64 << 10


class DraftXattrs:
    """Implements `StagedXattrs`."""

    def __init__(self, table: DraftTable) -> None:
        self._table = table

    async def get(self, inode: int, name: str) -> bytes:
        if not name.startswith(_USER):
            raise _no_data(name)
        draft = await self._table.of(inode)
        number = draft.number(inode)
        if number == ROOT_NUMBER:
            return _root_value(draft, name)
        found = await draft.resolver.inode(number)
        if name == _FILE_DIGEST:
            return await _file_digest(draft, found)
        if name == _REFERENCE_URI:
            return await _reference_uri(draft, found)
        if found.lower is not None:
            value = found.lower_xattrs.get(name.removeprefix(_USER))
        else:
            row = draft.index.fetch(
                "SELECT value FROM xattr WHERE inode = ? AND name = ?", (number, name.removeprefix(_USER))
            )
            value = None if row is None else row[0]
        if value is None:
            raise _no_data(name)
        return bytes(value)

    async def list(self, inode: int) -> Sequence[str]:
        draft = await self._table.of(inode)
        found = await draft.resolver.inode(draft.number(inode))
        if found.lower is not None:
            return [_USER + name for name in found.lower_xattrs]
        rows = draft.index.fetch_all("SELECT name FROM xattr WHERE inode = ? ORDER BY name", (found.number,))
        return [_USER + row[0] for row in rows]

    async def set(self, inode: int, name: str, value: bytes, caller: Caller) -> None:
        _check_name(name)
        draft = await self._table.of(inode)
        number = draft.number(inode)
        async with draft.changing:
            draft.check_writable()
            if number == ROOT_NUMBER:
                write_setting(draft.index, _setting(name), checked_setting(_setting(name), _text(value)))
                return
            if name.startswith(_ARTFS):
                raise _not_supported(name)
            kept = await draft.resolver.kept(await draft.resolver.inode(number))
            key = name.removeprefix(_USER)
            held = draft.index.fetch_one(
                "SELECT coalesce(sum(length(value) + length(name)), 0) FROM xattr WHERE inode = ? AND name != ?",
                (number, key),
            )[0]
            if held + len(value) + len(key) > _INODE_BYTES_MAX:
                raise OSError(errno.ENOSPC, "no room for more attributes on this file")
            _change(
                draft, kept, "INSERT INTO xattr VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = ?3", (key, value)
            )

    async def remove(self, inode: int, name: str) -> None:
        _check_name(name)
        draft = await self._table.of(inode)
        number = draft.number(inode)
        async with draft.changing:
            draft.check_writable()
            if number == ROOT_NUMBER:
                if read_setting(draft.index, _setting(name)) is None:
                    raise _no_data(name)
                write_setting(draft.index, _setting(name), None)
                return
            kept = await draft.resolver.kept(await draft.resolver.inode(number))
            key = name.removeprefix(_USER)
            if draft.index.fetch("SELECT 1 FROM xattr WHERE inode = ? AND name = ?", (number, key)) is None:
                raise _no_data(name)
            _change(draft, kept, "DELETE FROM xattr WHERE inode = ? AND name = ?", (key,))


def _change(draft: Draft, inode: Inode, sql: str, arguments: tuple[object, ...]) -> None:
    with draft.index.transaction():
        draft.index.execute(sql, (inode.number, *arguments))
        draft.namespace.note_changed(inode, Changed.ENTRY)


def _root_value(draft: Draft, name: str) -> bytes:
    if not name.startswith(_ARTFS):
        raise _no_data(name)
    key = name.removeprefix(_ARTFS)
    values = {"state": draft.state.value, "error": draft.error or None}
    value = read_setting(draft.index, key) if key in SETTABLE else values.get(key)
    if value is None:
        raise _no_data(name)
    return value.encode()


async def _file_digest(draft: Draft, inode: Inode) -> bytes:
    """SHA-256 of a file that nobody changed since it was sent."""
    content = inode.content
    if content is None:
        raise _no_data(_FILE_DIGEST)
    if content.kind is EntryKind.FILE:
        return content.digest.hex().encode()
    try:
        layout = await draft.lower.layout(content)
    except ObjectMissing:  # sent, and not yet stored
        raise _no_data(_FILE_DIGEST) from None
    assert layout is not None
    digest = layout.file_digest if isinstance(layout, Recipe) else layout.reference.sha256
    if digest is None:
        raise _no_data(_FILE_DIGEST)
    return digest.hex().encode()


async def _reference_uri(draft: Draft, inode: Inode) -> bytes:
    """What a file that nobody changed refers to."""
    content = inode.content
    layout = None if content is None or content.kind is not EntryKind.REFERENCE else await draft.lower.layout(content)
    if layout is None or isinstance(layout, Recipe):
        raise _no_data(_REFERENCE_URI)
    return layout.reference.uri.encode()


def _setting(name: str) -> str:
    """The setting of a version that an attribute of the root is. Raises OSError ENOTSUP for any other."""
    key = name.removeprefix(_ARTFS)
    if not name.startswith(_ARTFS) or key not in SETTABLE:
        raise _not_supported(name)
    return key


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise OSError(errno.EINVAL, "not UTF-8") from None


def _check_name(name: str) -> None:
    if not name.startswith(_USER) or name == _USER:
        raise _not_supported(name)


def _no_data(name: str) -> OSError:
    return OSError(errno.ENODATA, f"no attribute {name}")


def _not_supported(name: str) -> OSError:
    return OSError(errno.ENOTSUP, f"a version cannot hold the attribute {name}")
