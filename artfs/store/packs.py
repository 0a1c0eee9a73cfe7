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

from artfs.errors import AlreadyExists, StorageFailed
from artfs.model.pack import FOOTER_BYTES
from artfs.store.durable import DIRECTORY_MODE, FILE_MODE, make_directories, reported, sync_directory
from artfs.store.pack_bytes import LocalPackBytes, PackBytes

ID_BYTES = 16
ENCRYPTED_MAGIC = b"artfsenc"  # how a file begins that only store/encrypted_file.py can read
_SUFFIX = ".pack"
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EACCES}


class PackName(NamedTuple):
    """Names a stored pack."""

    project_uid: bytes
    pack_id: bytes


class StoredFile(NamedTuple):
    """Something that lies in a store: its place below the store's root, with slashes, and the pack that it is, if any."""

    place: str
    name: PackName | None


def place_of(name: PackName) -> str:
    """Where a pack is below the root of any store."""
    digits = name.pack_id.hex()
    return f"{name.project_uid.hex()}/{digits[:2]}/{digits}{_SUFFIX}"


def name_at(place: str) -> PackName | None:
    """The pack whose place that is, or None for one where no pack has business to be."""
    try:
        uid, _, file = place.split("/")
        name = PackName(bytes.fromhex(uid), bytes.fromhex(file.removesuffix(_SUFFIX)))
    except ValueError:
        return None
    well_formed = len(name.project_uid) == ID_BYTES == len(name.pack_id)
    return name if well_formed and place_of(name) == place else None


class PackStore(Protocol):
    """Finished packs by name. Raises StorageFull and StorageFailed; reading what is absent raises FileNotFoundError."""

    def ingest(self, name: PackName, source: Path) -> None:
        """Store the finished file `source` durably, leaving `source` in place, perhaps as a second name of the file.

        Repeating it changes nothing. Raises AlreadyExists when another pack has the name.
        """

    def open(self, name: PackName) -> PackBytes:
        """The pack for many reads. One that is deleted meanwhile may be read on, or raise FileNotFoundError."""

    def read(self, name: PackName, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer at the end of the pack."""

    def size_bytes(self, name: PackName) -> int: ...
    def delete(self, name: PackName) -> None:
        """Remove a pack. One that is absent is no error."""

    def delete_project(self, project_uid: bytes) -> None:
        """Remove what is left of a project that has no packs."""

    def files(self, project_uid: bytes | None = None) -> Iterator[StoredFile]:
        """Everything that is stored, of one project or of all, sorted by place, also what has no business there."""

    def set_aside(self, place: str, mark: str) -> str:
        """Move what is at `place` to where nothing looks for packs, under a name with `mark`, and return that name."""

    def internal_path(self, name: PackName) -> str:
        """The pack's place below the store's root, with slashes."""

    def url(self, name: PackName) -> str:
        """Where a client reads the pack: `file:PATH`, `https://...`, or `store:UID/ID` for a pack that only the store reads."""

    def check(self) -> None:
        """Raises StorageFailed if the store does not answer."""


class LocalPackStore:
    """Packs as `ROOT/<project uid>/<first 2 digits of pack id>/<pack id>.pack`, ids in hexadecimal.

    Args:
        root: the directory; created, with its parents existing.
        quarantine: where `set_aside` moves files to, on the same file system; `quarantine` beside `root` unless given.
    """

    def __init__(self, root: Path, quarantine: Path | None = None) -> None:
        self.root = root
        self._quarantine = root.with_name("quarantine") if quarantine is None else quarantine
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

    def open(self, name: PackName) -> LocalPackBytes:
        """As `PackStore`. An encrypted file is refused: taken for a damaged pack, it would be repaired to nothing."""
        opened = LocalPackBytes(self.path(name))
        if opened.pread(0, len(ENCRYPTED_MAGIC)) == ENCRYPTED_MAGIC:
            opened.close()
            raise StorageFailed(f"{opened.label} is encrypted, and there are no keys", hint="set encryption_keys")
        return opened

    def read(self, name: PackName, offset: int, length: int) -> bytes:
        with self.open(name) as pack:
            return pack.pread(offset, length)

    def size_bytes(self, name: PackName) -> int:
        path = self.path(name)
        with reported("look at the pack", path, missing_passes=True):
            return path.stat().st_size

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

    def files(self, project_uid: bytes | None = None) -> Iterator[StoredFile]:
        top = self.root if project_uid is None else self.root / project_uid.hex()
        for path in sorted(path for path in top.rglob("*") if not path.is_dir()):
            place = path.relative_to(self.root).as_posix()
            yield StoredFile(place, name_at(place))

    def set_aside(self, place: str, mark: str) -> str:
        source = self.root / place
        target = self._quarantine / f"{place.replace('/', '-')}.{mark}"
        with reported("move", source):
            self._quarantine.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            source.rename(target)
        return target.name

    def path(self, name: PackName) -> Path:
        return self.root / place_of(name)

    def internal_path(self, name: PackName) -> str:
        return place_of(name)

    def url(self, name: PackName) -> str:
        return f"file:{self.path(name)}"

    def check(self) -> None:
        with reported("read the pack directory", self.root):
            os.stat(self.root)


def replace_pack(store: LocalPackStore, name: PackName, source: Path) -> None:
    """Put the finished file `source`, which may be gone then, in the place of a stored pack, all or nothing.

    Only for another encoding of the same pack, with the maintenance lock held: a pack deleted meanwhile would come back.
    """
    target = store.path(name)
    with reported("replace the pack", target):
        _sync_file(source)
        try:
            os.replace(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(source, target, over=True)
        sync_directory(target.parent)


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


def _copy(source: Path, target: Path, *, over: bool = False) -> None:
    """Across file systems, or where there are no hard links: a reader never sees a part."""
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        shutil.copyfile(source, temporary)
        os.chmod(temporary, FILE_MODE)
        _sync_file(temporary)
        if target.exists() and not over:
            _check_same(source, target)
        else:
            os.rename(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
