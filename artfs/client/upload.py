"""An upload: files become chunks and recipes, pages become trees, and in the end a version is sealed.

Decides what a file is stored as, and notices files that change while they are read. How files are read is `source_file`'s
business, what is sent and how it is packed `packing`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

from artfs.client.packing import Packer
from artfs.client.source_file import READ_ATTEMPTS, changed, chunks_of, opened, read_small, signature
from artfs.client.threads import Threads
from artfs.errors import InvalidValue
from artfs.model.chunking import WHOLE_FILE_BYTES_MAX
from artfs.model.content import FileContent
from artfs.model.digest import Digest, ObjectKey, ObjectKind
from artfs.model.recipe import RECIPE_CHUNKS_MAX, encode_recipe
from artfs.model.tree import EntryKind
from artfs.wire.records import SealRequest, SealResult
from artfs.wire.service import Registry

THREADS = 3  # hash, cut and compress, for all sessions together

_T = TypeVar("_T")

Progress = Callable[[int], None]
"""Told how many more bytes were read."""


class Sent(NamedTuple):
    """How many objects, and their compressed bytes."""

    object_count: int
    stored_bytes: int


class Uploads:
    """Upload sessions into a registry, and the threads they share."""

    def __init__(self, registry: Registry, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._registry = registry
        self._clock_ns = clock_ns
        self._threads = Threads(THREADS, "artfs-upload")

    def open(self, project: str) -> UploadSession:
        """A session into `project`, which exists. Nothing is asked of the registry yet."""
        return UploadSession(self._registry, project, self._clock_ns, self._threads)

    def close(self) -> None:
        """End the threads; all sessions are closed before."""
        self._threads.shutdown()


class UploadSession:
    """See `artfs.vfs.ports.UploadSession`. Safe to call from several threads; `close` it unless it was sealed or abandoned.

    After a method raised a StorageFailed or the like, what was added before may be lost: `ensure` tells.
    """

    def __init__(self, registry: Registry, project: str, clock_ns: Callable[[], int], threads: Executor) -> None:
        self._registry = registry
        self._threads = threads
        self._packer = Packer(registry, project, clock_ns, threads)

    @property
    def sent(self) -> Sent:
        """What had to be sent so far."""
        return Sent(self._packer.object_count, self._packer.stored_bytes)

    def add_file(self, source: Path | str, progress: Progress = lambda _: None) -> FileContent:
        """Hash, cut and send a file. Raises FileChanged if it changed meanwhile, StorageFailed if it cannot be read."""
        for _ in range(READ_ATTEMPTS):
            with opened(source) as (fd, before):
                if before[0] > WHOLE_FILE_BYTES_MAX:
                    content = self._add_large(fd, before[0], progress)
                    if content is not None and signature(fd) == before:
                        return content
                    continue
            content = self.add_small(*read_small(source))
            progress(content.size_bytes)
            return content
        raise changed(source)

    def add_small(self, digest: Digest, data: bytes) -> FileContent:
        """Send a small file that `read_small` read."""
        self._packer.add(ObjectKey(ObjectKind.CHUNK, digest), data)
        return FileContent(EntryKind.FILE, digest, len(data))

    def ensure(self, contents: Sequence[FileContent]) -> list[FileContent]:
        """Lease contents added before; those that the registry does not hold are returned.

        That a recipe is stored means that its chunks are, and leasing it holds them.
        """
        absent = self._packer.hold(content.key for content in contents)
        return [content for content in contents if content.key in absent]

    def hold_tree(self, root: Digest) -> bool:
        return not self._packer.hold([ObjectKey(ObjectKind.TREE, root)])

    def store_page(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self._packer.add(ObjectKey(ObjectKind.TREE, digest), data)
        return digest

    def flush(self) -> None:
        self._packer.flush()

    def renew(self) -> None:
        self._packer.lease.renew()

    def seal(self, request: SealRequest) -> SealResult:
        """Flush and seal; the session is over when this returns, and goes on when it raises."""
        return self.end(lambda draft: self._registry.drafts.seal(draft, request))

    def end(self, call: Callable[[str], _T]) -> _T:
        """Flush, and end the session by a call that ends its draft, whose id it is given."""
        self._packer.flush()
        result = call(self._packer.lease.draft.id)
        self._packer.close()
        return result

    def close(self) -> None:
        """End the session without sealing; what was stored stays until the draft's leases run out."""
        self._packer.close()

    def abandon(self) -> None:
        """End the session and its draft; what only it held is deleted."""
        self._packer.close()
        self._packer.lease.abandon()

    def _add_large(self, fd: int, size_bytes: int, progress: Progress) -> FileContent | None:
        """Send a file as chunks and a recipe; None if it is not `size_bytes` long after all."""
        whole = sha256()
        chunks: list[tuple[Digest, int]] = []
        done_bytes = 0
        with closing(chunks_of(fd, self._threads, whole)) as blocks:
            for block in blocks:
                self._packer.add_at_once((ObjectKey(ObjectKind.CHUNK, digest), chunk) for digest, chunk in block)
                chunks += [(digest, len(chunk)) for digest, chunk in block]
                block_bytes = sum(len(chunk) for _, chunk in block)
                done_bytes += block_bytes
                progress(block_bytes)
                if done_bytes > size_bytes:  # it grows, perhaps for ever
                    return None
        if done_bytes != size_bytes:
            return None
        if len(chunks) == 1:
            return FileContent(EntryKind.FILE, chunks[0][0], size_bytes)
        return self._add_recipe(Digest(whole.digest()), chunks, size_bytes)

    def _add_recipe(self, file_digest: Digest, chunks: list[tuple[Digest, int]], size_bytes: int) -> FileContent:
        if len(chunks) > RECIPE_CHUNKS_MAX:
            raise InvalidValue(f"a file of {size_bytes} bytes is too large", hint="split it below 1.6 TB")
        data = encode_recipe(file_digest, chunks)
        digest = Digest.of(data)
        self._packer.add(ObjectKey(ObjectKind.RECIPE, digest), data)
        return FileContent(EntryKind.LARGE_FILE, digest, size_bytes)
