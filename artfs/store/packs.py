"""Where finished packs are kept, as a protocol, and the implementation that is a local directory.

A pack is named by its project's uid and its own id, is created once, never changed, and deleted as a whole. The store
does not look into packs. Nothing here is cached: the directory is the only state, shared with other processes.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from artfs.errors import AlreadyExists
from artfs.model.pack import FOOTER_BYTES
from artfs.store.durable import DIRECTORY_MODE, FILE_MODE, make_directories, reported, sync_directory

ID_BYTES = 16
_SUFFIX = ".pack"
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EACCES}


class PackName(NamedTuple):
    """Names a stored pack."""

    project_uid: bytes
    pack_id: bytes


class PackStore(Protocol):
    """Finished packs by name. Raises StorageFull and StorageFailed; reading what is absent raises FileNotFoundError."""

    def ingest(self, name: PackName, source: Path) -> None:
        """Store the finished file `source` durably, leaving `source` in place, perhaps as a second name of the file.

        Repeating it changes nothing. Raises AlreadyExists when another pack has the name.
        """

    def read(self, name: PackName, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer at the end of the pack."""

    def size_bytes(self, name: PackName) -> int: ...
    def delete(self, name: PackName) -> None:
        """Remove a pack. One that is absent is no error."""

    def delete_project(self, project_uid: bytes) -> None:
        """Remove what is left of a project that has no packs."""

    def names(self, project_uid: bytes | None = None) -> Iterator[PackName]:
        """Packs that are stored, of one project or of all."""

    def path(self, name: PackName) -> Path:
        """Where the pack is, or would be, as a local file."""

    def internal_path(self, name: PackName) -> str:
        """The pack's place below the store's root, with slashes."""

    def url(self, name: PackName) -> str:
        """Where a client reads the pack."""

    def check(self) -> None:
        """Raises StorageFailed if the store does not answer."""


class LocalPackStore:
    """Packs as `ROOT/<project uid>/<first 2 digits of pack id>/<pack id>.pack`, ids in hexadecimal.

    Args:
        root: the directory; created, with its parents existing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with reported("create the pack directory", root):
            root.mkdir(mode=DIRECTORY_MODE, exist_ok=True)

    def ingest(self, name: PackName, source: Path) -> None:
        target = self.path(name)
        with reported("store a pack in", target.parent):
            os.chmod(source, FILE_MODE)
            _sync_file(source)
            make_directories(target.parent, self.root)
            try:
                os.link(source, target)
            except FileExistsError:
                _check_same(source, target)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                _copy(source, target)
            sync_directory(target.parent)

    def read(self, name: PackName, offset: int, length: int) -> bytes:
        path = self.path(name)
        fd = _open(path)
        try:
            with reported("read the pack", path):
                return os.pread(fd, length, offset)
        finally:
            os.close(fd)

    def size_bytes(self, name: PackName) -> int:
        return self.path(name).stat().st_size

    def delete(self, name: PackName) -> None:
        path = self.path(name)
        with reported("delete the pack", path):
            path.unlink(missing_ok=True)

    def delete_project(self, project_uid: bytes) -> None:
        root = self.root / project_uid.hex()
        with suppress(OSError):  # something is left: fsck names it
            for shard in root.iterdir():
                shard.rmdir()
            root.rmdir()

    def names(self, project_uid: bytes | None = None) -> Iterator[PackName]:
        for path in sorted(self.root.glob(f"{'*' if project_uid is None else project_uid.hex()}/*/*{_SUFFIX}")):
            name = self.name_of(path)
            if name is not None:
                yield name

    def name_of(self, path: Path) -> PackName | None:
        """The pack that a file below the root is, or None for a file that has no business there."""
        try:
            uid, shard, file = path.relative_to(self.root).parts
            name = PackName(bytes.fromhex(uid), bytes.fromhex(file.removesuffix(_SUFFIX)))
        except ValueError:
            return None
        well_formed = len(name.project_uid) == ID_BYTES == len(name.pack_id) and shard == file[:2]
        return name if well_formed and self.path(name) == path else None

    def path(self, name: PackName) -> Path:
        digits = name.pack_id.hex()
        return self.root / name.project_uid.hex() / digits[:2] / f"{digits}{_SUFFIX}"

    def internal_path(self, name: PackName) -> str:
        return str(self.path(name).relative_to(self.root))

    def url(self, name: PackName) -> str:
        return f"file:{self.path(name)}"

    def check(self) -> None:
        with reported("read the pack directory", self.root):
            os.stat(self.root)


def _open(path: Path) -> int:
    with reported("open the pack", path, missing_passes=True):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_same(source: Path, target: Path) -> None:
    """A pack's footer holds a checksum over all its objects' digests, so equal ends mean equal packs."""
    if _end(source) != _end(target):
        raise AlreadyExists(f"another pack is stored as {target.name}", hint="build the pack again under a new id")


def _end(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - FOOTER_BYTES))
        return size, file.read()


def _copy(source: Path, target: Path) -> None:
    """Across file systems, or where there are no hard links: a reader never sees a part."""
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        shutil.copyfile(source, temporary)
        os.chmod(temporary, FILE_MODE)
        _sync_file(temporary)
        if target.exists():
            _check_same(source, target)
        else:
            os.rename(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
