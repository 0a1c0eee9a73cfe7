"""`get`: a version, or a part of it, becomes files in a directory.

Only what is missing or different is written, each file under a temporary name first. The directory may be shared with hostile
others and the version may come from one: names are opened one by one below a directory handle, links never followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from artfs.client.trees import Found, TreeReader
from artfs.errors import ArtfsError, StorageFailed
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.names import check_file_name
from artfs.model.recipe import Recipe, decode_recipe
from artfs.model.tree import Entry, EntryKind
from artfs.store.durable import storage_error
from artfs.vfs.ports import ObjectSource

BATCH_FILES = 256
BATCH_BYTES = 8 << 20
COMPARE_BYTES = 1 << 20
DIRECTORY_MODE = 0o777
FILE_MODE = 0o666
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class GetResult:
    """What a get found and did, so far or in the end. `files` counts files and symbolic links, `size_bytes` all of them."""

    files: int = 0
    size_bytes: int = 0
    files_written: int = 0
    bytes_written: int = 0


Report = Callable[[GetResult], None]


class Getter:
    """Writes trees of one project below directories.

    Args:
        report: told the result so far, now and then.
    """

    def __init__(self, source: ObjectSource, project: str, report: Report = lambda _: None) -> None:
        self._source = source
        self._project = project
        self._trees = TreeReader(source, project)
        self._report = report
        self.result = GetResult()

    def get_tree(self, tree: Digest, root: Path) -> GetResult:
        """Make everything in the directory `tree` be in `root`, which is created. Other files there stay.

        Raises StorageFull, StorageFailed, Damaged and what reading objects raises.
        """
        with _reported(root):
            root.mkdir(parents=True, exist_ok=True)
            fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._directory(tree, fd, root)
        finally:
            os.close(fd)
        return self.result

    def get_entry(self, found: Found, root: Path) -> GetResult:
        """Make one file or link be in the directory `root`, under its own name."""
        with _reported(root):
            root.mkdir(parents=True, exist_ok=True)
            fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._files([found], fd, root)
        finally:
            os.close(fd)
        return self.result

    def _directory(self, tree: Digest, fd: int, place: Path) -> None:
        for batch in _batches(self._trees.list(tree)):
            files = [found for found in batch if found.entry.kind is not EntryKind.DIRECTORY]
            self._files(files, fd, place)
            for found in batch:
                if found.entry.kind is EntryKind.DIRECTORY:
                    with self._subdirectory(found.entry.name, fd, place) as below:
                        self._directory(found.entry.digest, below, place / found.entry.name)

    @contextmanager
    def _subdirectory(self, name: str, fd: int, place: Path) -> Iterator[int]:
        path = place / check_file_name(name)
        with _reported(path):
            try:
                below = os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                os.mkdir(name, DIRECTORY_MODE, dir_fd=fd)
                below = os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
            except OSError:  # something that is no directory, or a link to one
                os.unlink(name, dir_fd=fd)
                os.mkdir(name, DIRECTORY_MODE, dir_fd=fd)
                below = os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
        try:
            yield below
        finally:
            os.close(below)

    def _files(self, files: list[Found], fd: int, place: Path) -> None:
        """Write those of `files` that differ from what is there; small ones are read together."""
        differing = [found for found in files if not self._is_there(found, fd, place)]
        keys = [found.entry.key for found in differing if found.entry.kind is EntryKind.FILE]
        small = [key for key in keys if key is not None]
        contents = dict(zip(small, self._source.read_many(self._project, small), strict=True))
        for found in differing:
            entry = found.entry
            with _reported(place / entry.name):
                if entry.kind is EntryKind.SYMLINK:
                    self._write_link(entry, fd)
                else:
                    key = entry.key
                    data = [contents[key]] if key in contents else self._chunks(entry)
                    self._write_file(found, data, fd)
            self.result.files_written += 1
            self.result.bytes_written += entry.size_bytes
        self.result.files += len(files)
        self.result.size_bytes += sum(found.entry.size_bytes for found in files)
        self._report(self.result)

    def _recipe(self, entry: Entry) -> Recipe:
        return decode_recipe(bytes(self._source.read(self._project, FileContent.of(entry).key)))

    def _chunks(self, entry: Entry) -> Iterator[bytes | memoryview]:
        for chunk in self._recipe(entry).chunks():
            yield self._source.read(self._project, ObjectKey(ObjectKind.CHUNK, chunk.digest))

    def _is_there(self, found: Found, fd: int, place: Path) -> bool:
        entry = found.entry
        check_file_name(entry.name)
        with _reported(place / entry.name):
            try:
                status = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                return False
            if entry.kind is EntryKind.SYMLINK:
                return stat.S_ISLNK(status.st_mode) and os.readlink(entry.name, dir_fd=fd) == entry.target
            if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size_bytes:
                return False
            if bool(status.st_mode & 0o100) != entry.executable:
                return False
            wanted = entry.digest if entry.kind is EntryKind.FILE else self._recipe(entry).file_digest
            return _file_digest(entry.name, fd) == wanted

    def _write_file(self, found: Found, data: Iterable[bytes | memoryview], fd: int) -> None:
        entry = found.entry
        temporary = _temporary_name()
        mode = FILE_MODE | (0o111 if entry.executable else 0)
        try:
            with open(os.open(temporary, _CREATE, mode, dir_fd=fd), "wb", buffering=0) as file:
                for piece in data:
                    file.write(piece)
                os.utime(file.fileno(), ns=(found.time_ns, found.time_ns))
            self._take_place(temporary, entry.name, fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=fd)
            raise

    def _write_link(self, entry: Entry, fd: int) -> None:
        temporary = _temporary_name()
        os.symlink(entry.target or "", temporary, dir_fd=fd)
        self._take_place(temporary, entry.name, fd)

    def _take_place(self, temporary: str, name: str, fd: int) -> None:
        try:
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except IsADirectoryError:
            os.unlink(temporary, dir_fd=fd)
            raise


def _batches(entries: Iterator[Found]) -> Iterator[list[Found]]:
    """Runs of entries whose small files are read together."""
    batch: list[Found] = []
    size_bytes = 0
    for found in entries:
        batch.append(found)
        size_bytes += found.entry.size_bytes if found.entry.kind is EntryKind.FILE else 0
        if len(batch) >= BATCH_FILES or size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _file_digest(name: str, fd: int) -> Digest:
    digest = sha256()
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd), "rb", buffering=0) as file:
        while block := file.read(COMPARE_BYTES):
            digest.update(block)
    return Digest(digest.digest())


def _temporary_name() -> str:
    return f".artfs-{os.getpid()}-{os.urandom(6).hex()}.tmp"


@contextmanager
def _reported(place: Path) -> Iterator[None]:
    try:
        yield
    except ArtfsError:
        raise
    except IsADirectoryError as error:
        raise StorageFailed(f"{place} is a directory where a file belongs", hint="move it away") from error
    except OSError as error:
        raise storage_error(error, "write", place) from error
