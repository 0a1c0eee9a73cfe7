"""An upload: files become chunks and recipes, pages become trees, and in the end a version is sealed.

Decides where files are cut and notices files that change while they are read. What is sent, and how it is packed, is
`packing.Packer`'s business.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from artfs.client.packing import Packer
from artfs.errors import FileChanged, InvalidValue, StorageFailed
from artfs.model.chunking import WHOLE_FILE_BYTES_MAX, cut_points
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import RECIPE_CHUNKS_MAX, encode_recipe
from artfs.model.tree import EntryKind
from artfs.wire.records import SealRequest, SealResult
from artfs.wire.service import Registry

READ_BYTES = 8 << 20
READ_ATTEMPTS = 3
HASHING_THREADS = 2

Progress = Callable[[int], None]
"""Told how many more bytes were read."""


class Uploads:
    """Upload sessions into a registry."""

    def __init__(self, registry: Registry, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._registry = registry
        self._clock_ns = clock_ns

    def open(self, project: str) -> UploadSession:
        """A session into `project`, which exists. Nothing is asked of the registry yet."""
        return UploadSession(self._registry, project, self._clock_ns)


class UploadSession:
    """See `artfs.vfs.ports.UploadSession`. Safe to call from several threads; `close` it unless it was sealed or abandoned.

    Attributes:
        packer: what was sent, in numbers.
    """

    def __init__(self, registry: Registry, project: str, clock_ns: Callable[[], int]) -> None:
        self._registry = registry
        self.packer = Packer(registry, project, clock_ns)
        self._hashers = ThreadPoolExecutor(HASHING_THREADS, "artfs-hash")

    def add_file(self, source: Path | str, progress: Progress = lambda _: None) -> FileContent:
        """Hash, cut and send a file. Raises FileChanged if it changed meanwhile, StorageFailed if it cannot be read."""
        for _ in range(READ_ATTEMPTS):
            with _open_regular(source) as fd:
                before = _signature(fd)
                if before[0] <= WHOLE_FILE_BYTES_MAX:
                    content: FileContent | None = self.add_small(*_read_whole(fd, before[0]))
                else:
                    content = self._add_large(fd, before[0], progress)
                if content is not None and content.size_bytes == before[0] and _signature(fd) == before:
                    return content
        raise _changed(source)

    def add_small(self, digest: Digest, data: bytes) -> FileContent:
        """Send a small file that `read_small` read."""
        self.packer.add(ObjectKey(ObjectKind.CHUNK, digest), data)
        return FileContent(EntryKind.FILE, digest, len(data))

    def add_object(self, key: ObjectKey, data: bytes) -> None:
        """Send an object whose digest was computed by the caller."""
        self.packer.add(key, data)

    def ensure(self, contents: Sequence[FileContent]) -> list[FileContent]:
        """Lease contents added before; those that the registry does not hold are returned.

        That a recipe is stored means that its chunks are, and leasing it holds them.
        """
        absent = self.packer.lease(content.key for content in contents)
        return [content for content in contents if content.key in absent]

    def store_page(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.packer.add(ObjectKey(ObjectKind.TREE, digest), data)
        return digest

    def flush(self) -> None:
        self.packer.flush()

    def renew(self) -> None:
        self.packer.renew()

    def seal(self, request: SealRequest) -> SealResult:
        """Flush and seal; the session is over when this returns, and goes on when it raises."""
        self.packer.flush()
        result = self._registry.drafts.seal(self.packer.draft.id, request)
        self._close(abandon=False)
        return result

    def close(self) -> None:
        """End the session without sealing; what was stored stays until the draft's leases run out."""
        self._close(abandon=False)

    def abandon(self) -> None:
        """End the session and its draft; what only it held is deleted."""
        self._close(abandon=True)

    def _close(self, *, abandon: bool) -> None:
        self._hashers.shutdown(wait=True, cancel_futures=True)
        self.packer.close(abandon=abandon)

    def _add_large(self, fd: int, size_bytes: int, progress: Progress) -> FileContent | None:
        """Cut, hash and send block by block, while another thread computes the digest of the whole file."""
        whole = sha256()
        hashing: Future[None] | None = None
        chunks: list[tuple[Digest, int]] = []
        rest, done_bytes = b"", 0
        while block := _read(fd, READ_BYTES):
            if hashing is not None:
                hashing.result()
            hashing = self._hashers.submit(whole.update, block)
            done_bytes += len(block)
            rest = self._add_chunks(rest + block, chunks, final=done_bytes >= size_bytes)
            progress(len(block))
        if rest:  # the file shrank
            return None
        if hashing is not None:
            hashing.result()
        if done_bytes != size_bytes:
            return None
        if len(chunks) == 1:
            return FileContent(EntryKind.FILE, chunks[0][0], size_bytes)
        return self._add_recipe(Digest(whole.digest()), chunks, size_bytes)

    def _add_chunks(self, data: bytes, chunks: list[tuple[Digest, int]], *, final: bool) -> bytes:
        """Send the chunks of `data` and return what belongs to the next one; nothing if this is the end."""
        lengths = cut_points(data)
        if not final:
            lengths.pop()
        start = 0
        for length in lengths:
            chunk = data[start : start + length]
            digest = Digest.of(chunk)
            self.packer.add(ObjectKey(ObjectKind.CHUNK, digest), chunk)
            chunks.append((digest, length))
            start += length
        return data[start:]

    def _add_recipe(self, file_digest: Digest, chunks: list[tuple[Digest, int]], size_bytes: int) -> FileContent:
        if len(chunks) > RECIPE_CHUNKS_MAX:
            raise InvalidValue(f"a file of {size_bytes} bytes is too large", hint="split it below 1.6 TB")
        data = encode_recipe(file_digest, chunks)
        digest = Digest.of(data)
        self.packer.add(ObjectKey(ObjectKind.RECIPE, digest), data)
        return FileContent(EntryKind.LARGE_FILE, digest, size_bytes)


def read_small(source: Path | str) -> tuple[Digest, bytes]:
    """Digest and content of a file of at most WHOLE_FILE_BYTES_MAX. Raises FileChanged, StorageFailed."""
    for _ in range(READ_ATTEMPTS):
        with _open_regular(source) as fd:
            before = _signature(fd)
            digest, data = _read_whole(fd, min(before[0], WHOLE_FILE_BYTES_MAX))
            if len(data) == before[0] and _signature(fd) == before:
                return digest, data
    raise _changed(source)


def _read_whole(fd: int, size_bytes: int) -> tuple[Digest, bytes]:
    data = _read(fd, size_bytes + 1)
    return Digest.of(data), data


def _changed(source: Path | str) -> FileChanged:
    return FileChanged(f"{source} changed while it was read", hint="try again when nobody writes to it")


def _signature(fd: int) -> tuple[int, int, int, int, int]:
    """What changes when a file does; its length first."""
    found = os.fstat(fd)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


@contextmanager
def _open_regular(source: Path | str) -> Iterator[int]:
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise StorageFailed(f"cannot read {source}: {error.strerror}", hint="check its permissions") from error
    try:
        yield fd
    except OSError as error:
        raise StorageFailed(f"cannot read {source}: {error.strerror}", hint="check the disk") from error
    finally:
        os.close(fd)


def _read(fd: int, length: int) -> bytes:
    """Up to `length` bytes, fewer only at the end."""
    data = os.read(fd, length)
    while len(data) < length:
        more = os.read(fd, length - len(data))
        if not more:
            break
        data += more
    return data
