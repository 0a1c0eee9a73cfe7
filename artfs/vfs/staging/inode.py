"""What a draft knows of one file, directory or symbolic link, whether it has a row of its own or lies unchanged below."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple

from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.tree import Entry, EntryKind, Xattrs
from artfs.vfs.attributes import BLOCK_BYTES, FOREVER_S, STAGED_BIT, Attributes

ROOT_NUMBER = 1
SLOT_SHIFT = 40
NUMBER_MASK = (1 << SLOT_SHIFT) - 1
SLOT_MASK = (1 << 22) - 1
DIRECTORY_BYTES = 4096
LINKS_MAX = 65000


def inode_number(slot: int, number: int) -> int:
    """What the kernel calls inode `number` of the draft in `slot`."""
    return STAGED_BIT | slot << SLOT_SHIFT | number


def slot_of(inode: int) -> int:
    return inode >> SLOT_SHIFT & SLOT_MASK


class ContentState(IntEnum):
    """Where a file's content is. The numbers are stored."""

    NONE = 0  # not a file
    UNSENT = 1  # in the data file, and maybe nowhere else
    LOWER = 2  # in the registry; there is no data file
    SENT = 3  # in the data file, and sent to the registry unless the stamp differs


class Changed(IntFlag):
    """What of a directory differs from the tree below. The numbers are stored."""

    NOTHING = 0
    CONTENTS = 1  # its own entries, or anything under them; then also those of all directories above
    ENTRY = 2  # its own attributes in the directory above


class LowerEntry(NamedTuple):
    """An entry of the tree below a directory; `ordinal` is its position there."""

    ordinal: int
    entry: Entry
    mtime_ns: int


@dataclass(slots=True)
class Inode:
    """A row of the table `inode`; the fields are its columns, in order.

    With `lower` set there is no row yet: it is that entry of directory `lower_parent`, as it lies below.
    """

    number: int
    kind: int
    mode: int
    uid: int
    gid: int
    link_count: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    changed: int = 0
    parent: int = 0
    target: str | None = None
    origin: bytes | None = None
    origin_entries: int = 0
    first_number: int | None = None
    content_state: int = ContentState.NONE
    content_kind: int | None = None
    content_digest: bytes | None = None
    content_bytes: int = 0
    content_session: int = 0
    stamp_mtime_ns: int = 0
    stamp_ctime_ns: int = 0
    lower: LowerEntry | None = None
    lower_parent: int = 0

    @property
    def is_directory(self) -> bool:
        return self.kind == EntryKind.DIRECTORY

    @property
    def is_file(self) -> bool:
        return self.kind == EntryKind.FILE

    @property
    def origin_digest(self) -> Digest | None:
        return None if self.origin is None else Digest(self.origin)

    @property
    def content(self) -> FileContent | None:
        """What the registry was sent or had; None when only the data file has it."""
        if self.content_kind is None or self.content_digest is None:
            return None
        return FileContent(EntryKind(self.content_kind), Digest(self.content_digest), self.content_bytes)

    def is_as_sent(self, found: os.stat_result) -> bool:
        """Whether the data file, of which `found` is the stat, is what was sent."""
        return (
            self.content_state == ContentState.SENT
            and found.st_size == self.content_bytes
            and found.st_mtime_ns == self.stamp_mtime_ns
            and found.st_ctime_ns == self.stamp_ctime_ns
        )

    @property
    def lower_xattrs(self) -> Xattrs:
        return {} if self.lower is None else self.lower.entry.xattrs

    @classmethod
    def of_lower(cls, lower: LowerEntry, number: int, parent: int, owner: tuple[int, int]) -> Inode:
        """An unchanged entry below directory `parent`; it belongs to `owner`, whom the draft's root belongs to."""
        inode = _from_entry(lower.entry, lower.mtime_ns, number, *owner)
        inode.lower = lower
        inode.lower_parent = parent
        return inode


def _from_entry(entry: Entry, mtime_ns: int, number: int, uid: int, gid: int) -> Inode:
    inode = Inode(number, EntryKind.FILE, 0o644, uid, gid, 1, mtime_ns, mtime_ns, mtime_ns)
    if entry.kind is EntryKind.DIRECTORY:
        inode.kind, inode.mode, inode.link_count, inode.origin = EntryKind.DIRECTORY, 0o755, 1, entry.digest
    elif entry.kind is EntryKind.SYMLINK:
        inode.kind, inode.mode, inode.target = EntryKind.SYMLINK, 0o777, entry.target
    else:
        if entry.executable:
            inode.mode = 0o755
        inode.content_state = ContentState.LOWER
        inode.content_kind, inode.content_digest = entry.kind, entry.digest
        inode.content_bytes = entry.size_bytes
    return inode


def from_version(entry: Entry, mtime_ns: int, number: int, uid: int, gid: int) -> Inode:
    """A new inode with the content of a version's file or symbolic link."""
    return _from_entry(entry, mtime_ns, number, uid, gid)


_TYPES = {EntryKind.FILE: stat.S_IFREG, EntryKind.DIRECTORY: stat.S_IFDIR, EntryKind.SYMLINK: stat.S_IFLNK}


def plain_attributes(inode: Inode, slot: int) -> Attributes:
    """What stat shows of anything without a data file."""
    if inode.kind == EntryKind.DIRECTORY:
        size = DIRECTORY_BYTES
    elif inode.kind == EntryKind.SYMLINK:
        size = len((inode.target or "").encode())
    else:
        size = inode.content_bytes
    return Attributes(
        inode=STAGED_BIT | slot << SLOT_SHIFT | inode.number,
        mode=_TYPES[EntryKind(inode.kind)] | inode.mode,
        size_bytes=size,
        uid=inode.uid,
        gid=inode.gid,
        link_count=inode.link_count,
        atime_ns=inode.atime_ns,
        mtime_ns=inode.mtime_ns,
        ctime_ns=inode.ctime_ns,
        block_count=(size + BLOCK_BYTES - 1) // BLOCK_BYTES if inode.kind != EntryKind.SYMLINK else 0,
        entry_timeout_s=0.0 if inode.number == ROOT_NUMBER else FOREVER_S,
    )
