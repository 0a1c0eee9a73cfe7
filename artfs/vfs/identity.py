"""From what a file is to its inode number.

A file's identity is everything that its readers can see of it except its name: project, kind, executable bit, digest,
extended attributes and mtime. The same file in v1, v2 and `best` is one identity, so one inode; where versions are told apart,
the version belongs to it too (and `best` is another name of one). A directory's identity is its place, the parent's inode
and its name: directories are never shared. Pure.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from artfs.model.lineage import VersionRef
from artfs.model.tree import Xattrs
from artfs.vfs.entry_table import NUMBER_BITS, NUMBER_MASK

NODE_BIT = 1 << NUMBER_BITS
"""Set in the inode numbers of catalog directories and version roots, clear in those of what versions hold."""

FINGERPRINT_MASK = (1 << 64) - 1
_WORD = struct.Struct(">Q")


def _first_word(data: bytes) -> int:
    word: int = _WORD.unpack_from(data)[0]
    return word


class Identity(NamedTuple):
    """The preferred inode number, and 64 bits that tell identities with the same number apart in this process."""

    number: int
    fingerprint: int


class Salt(NamedTuple):
    """All of a file's identity but its digest, hashed; neighbours mostly share it."""

    word: int
    data: bytes

    def identity(self, digest: bytes) -> Identity:
        number = (_first_word(digest) ^ self.word) & NUMBER_MASK
        return Identity(number, hash(digest + self.data) & FINGERPRINT_MASK)


@lru_cache(maxsize=1024)
def file_salt(project: str, flags: int, mtime_ns: int, origin: VersionRef | None = None) -> Salt:
    """The salt of files without extended attributes. `flags` are the kind and the executable bit."""
    version = "" if origin is None else f"\0{origin}"
    data = sha256(f"{project}\0{flags}\0{mtime_ns}{version}".encode()).digest()
    return Salt(_first_word(data), data)


def salt_with_xattrs(project: str, flags: int, mtime_ns: int, xattrs: Xattrs, origin: VersionRef | None = None) -> Salt:
    """The salt of any file or symbolic link; without attributes it is `file_salt`'s."""
    plain = file_salt(project, flags, mtime_ns, origin)
    if not xattrs:
        return plain
    hasher = sha256(plain.data)
    for name in sorted(xattrs):
        for part in (name.encode(), xattrs[name]):
            hasher.update(struct.pack(">Q", len(part)) + part)
    data = hasher.digest()
    return Salt(_first_word(data), data)


def directory_identity(parent: int, name: str) -> Identity:
    data = b"%d/%b" % (parent, name.encode())
    return Identity(_first_word(sha256(data).digest()) & NUMBER_MASK, hash(data) & FINGERPRINT_MASK)


def node_number(key: tuple[object, ...]) -> int:
    """The preferred inode number of a catalog directory or version root."""
    digest = sha256(repr(key).encode()).digest()
    return NODE_BIT | (_first_word(digest) & NUMBER_MASK)
