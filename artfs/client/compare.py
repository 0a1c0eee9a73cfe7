"""Whether a directory still holds what a version says, file by file. Reads only; follows no links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from artfs.client.files import FileReader
from artfs.client.trees import Found, TreeReader
from artfs.errors import StorageFailed
from artfs.model.content import FileContent
from artfs.model.digest import Digest
from artfs.model.tree import Entry, EntryKind
from artfs.vfs.ports import ObjectSource

READ_BYTES = 1 << 20


class Difference(NamedTuple):
    """A path of the version that is not, or not like that, in the directory; `what` says why in words."""

    path: str
    what: str


def verify(source: ObjectSource, project: str, tree: Digest, root: Path) -> Iterator[Difference]:
    """Compare everything in `tree` with what is in `root`. Files that are only in `root` do not matter.

    Raises StorageFailed when a file cannot be read, and what reading objects raises.
    """
    files = FileReader(source, project)
    absent = ""  # below a directory that is not there, nothing else is said
    for found in TreeReader(source, project).walk(tree):
        if absent and found.path.startswith(absent):
            continue
        try:
            what = _difference(found, root / found.path, files)
        except OSError as error:
            raise StorageFailed(f"cannot read {root / found.path}: {error.strerror}", hint="check it") from error
        if what is not None:
            yield Difference(found.path, what)
            if found.entry.kind is EntryKind.DIRECTORY:
                absent = found.path + "/"


def _difference(found: Found, path: Path, files: FileReader) -> str | None:
    entry = found.entry
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    if entry.kind is EntryKind.DIRECTORY:
        return None if stat.S_ISDIR(status.st_mode) else "is not a directory"
    if entry.kind is EntryKind.SYMLINK:
        if not stat.S_ISLNK(status.st_mode):
            return "is not a symbolic link"
        return None if os.readlink(path) == entry.target else "points elsewhere"
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"
    if status.st_size != entry.size_bytes:
        return f"is {status.st_size} bytes, not {entry.size_bytes}"
    return _content_difference(entry, status, path, files)


def _content_difference(entry: Entry, status: os.stat_result, path: Path, files: FileReader) -> str | None:
    digest = sha256()
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    if digest.digest() != files.file_digest(FileContent.of(entry)):
        return "has other content"
    if bool(status.st_mode & 0o111) != entry.executable:
        return "is not executable" if entry.executable else "is executable"
    return None
