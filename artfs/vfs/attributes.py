"""What lookup, getattr and readdir answer, and the numbering of inodes and handles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

FOREVER_S = 365 * 24 * 3600.0
STAGED_BIT = 1 << 62
"""Set in the inode numbers and file handles that belong to staging directories, clear in all others."""

ROOT_INODE = 1
BLOCK_BYTES = 512


@dataclass(slots=True)
class Attributes:
    """A stat result and how long the kernel may keep it.

    `mode` includes the file type. `entry_timeout_s` is for the name, `attribute_timeout_s` for the rest.
    """

    inode: int
    mode: int
    size_bytes: int
    uid: int
    gid: int
    link_count: int = 1
    atime_ns: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    block_count: int = 0
    entry_timeout_s: float = FOREVER_S
    attribute_timeout_s: float = FOREVER_S
    generation: int = 0


@dataclass(slots=True)
class AttributeChange:
    """What setattr is to change; None leaves as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size_bytes: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class Caller(NamedTuple):
    """Who asks: the process behind the system call."""

    uid: int
    gid: int
    pid: int
    umask: int = 0


@dataclass(frozen=True, slots=True)
class FilesystemStats:
    """What statfs answers. Counts of blocks are in `block_bytes`."""

    block_bytes: int
    block_count: int
    free_blocks: int
    available_blocks: int
    file_count: int
    free_files: int
    name_bytes_max: int = 255
