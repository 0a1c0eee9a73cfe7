"""Listing a directory of a draft: the entries of the tree below in their order, then what is only in the draft.

A position in a directory belongs to one name for as long as the name is there, so an offset means the same to every handle, and
a name that stays is listed exactly once whatever is added, removed or changed meanwhile. Pages and rows are read as they are
needed, so memory does not depend on the directory.
"""

from __future__ import annotations

from artfs.vfs.kernel import DirectoryBuffer
from artfs.vfs.staging.draft import Draft
from artfs.vfs.staging.inode import Inode
from artfs.vfs.staging.lower import LowerPage

_SELF, _PARENT, _FIRST = (
    1,
    2,
    3,
)  # offsets behind "." and "..", and the distance from a position to the offset behind it
_ROWS = 32
_END = 1 << 62


async def fill(draft: Draft, number: int, offset: int, buffer: DirectoryBuffer) -> None:
    """Add what comes behind `offset` until the buffer is full."""
    directory = await draft.resolver.directory(number)
    if offset < _SELF and not buffer.add(".", draft.attributes(directory), _SELF):
        return
    if offset < _PARENT and not _add_parent(draft, directory, buffer):
        return
    if directory.link_count == 0:
        return
    position = max(0, offset - _FIRST + 1)
    if position < directory.origin_entries:
        if not await _add_below(draft, directory, position, buffer):
            return
        position = directory.origin_entries
    _add_rows(draft, directory, position, buffer)


def _add_parent(draft: Draft, directory: Inode, buffer: DirectoryBuffer) -> bool:
    parent = (
        draft.namespace.get(directory.parent) or directory
    )  # the root's own parent is outside, and the kernel knows it
    return buffer.add("..", draft.attributes(parent), _PARENT)


async def _add_below(draft: Draft, directory: Inode, position: int, buffer: DirectoryBuffer) -> bool:
    """The entries of the tree below, each as the draft has it; False if the buffer is full."""
    origin = directory.origin_digest
    assert origin is not None
    while position < directory.origin_entries:
        page = await draft.lower.page_at(origin, position)
        end = page.first + len(page.page)
        while position < end:
            stop = min(end, position + _ROWS)
            if not _add_run(draft, directory, page, range(position, stop), buffer):
                return False
            position = stop
    return True


def _add_run(draft: Draft, directory: Inode, page: LowerPage, run: range, buffer: DirectoryBuffer) -> bool:
    rows = {row.position: row.inode for row in draft.namespace.rows(directory.number, run.start, run.stop)}
    for position in run:
        if position in rows:
            inode = rows[position]
            if inode is None:
                continue
            name = page.page.names[position - page.first]
        else:
            entry = page.at(position)
            name = entry.entry.name
            inode = draft.resolver.unchanged(directory, entry)
        if not buffer.add(name, draft.attributes(inode), position + _FIRST):
            return False
    return True


def _add_rows(draft: Draft, directory: Inode, position: int, buffer: DirectoryBuffer) -> None:
    while True:
        rows = draft.namespace.rows(directory.number, position, _END, _ROWS)
        for row in rows:
            if row.inode is not None and not buffer.add(row.name, draft.attributes(row.inode), row.position + _FIRST):
                return
        if len(rows) < _ROWS:
            return
        position = rows[-1].position + 1
