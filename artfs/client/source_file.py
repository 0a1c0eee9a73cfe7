"""Reading a file that must not change meanwhile: whole if it is small, else as chunks, block by block.

Knows nothing of registries. A large file is read by one thread, which also computes the digest of the whole, cut and hashed by
another, and consumed by the caller, all at once; the blocks' buffers are reused, so memory is bounded and stays warm.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from artfs.errors import FileChanged, StorageFailed, UnsupportedFile
from artfs.model.chunking import CHUNK_BYTES_MAX, WHOLE_FILE_BYTES_MAX, cut_points
from artfs.model.digest import Digest

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK_BYTES = 8 << 20
BUFFERS = 3  # one being read, one being cut, one with the caller
READ_ATTEMPTS = 3

Chunks = list[tuple[Digest, memoryview]]
Signature = tuple[int, int, int, int, int]


def read_small(source: Path | str) -> tuple[Digest, bytes]:
    """Digest and content of a file of at most WHOLE_FILE_BYTES_MAX.

    Raises FileChanged if it changed, grew or went meanwhile, StorageFailed if it cannot be read.
    """
    for _ in range(READ_ATTEMPTS):
        with opened(source) as (fd, before):
            size_bytes = before[0]
            if size_bytes <= WHOLE_FILE_BYTES_MAX:
                data = os.read(fd, size_bytes + 1)  # one more: it may have grown
                if len(data) == size_bytes and signature(fd) == before:
                    return Digest.of(data), data
    raise changed(source)


def changed(source: Path | str) -> FileChanged:
    return FileChanged(f"{source} changed while it was read", hint="try again when nobody writes to it")


def signature(fd: int) -> Signature:
    """What changes when a file does; its length in bytes first."""
    return _signature(os.fstat(fd))


def _signature(found: os.stat_result) -> Signature:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


@contextmanager
def opened(source: Path | str) -> Iterator[tuple[int, Signature]]:
    """A descriptor of a regular file and its signature before it is read.

    Raises FileChanged, UnsupportedFile and, also for errors within, StorageFailed.
    """
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise FileChanged(f"{source} vanished while it was read", hint="try again when nobody changes it") from None
    except OSError as error:
        raise StorageFailed(f"cannot read {source}: {error.strerror}", hint="check its permissions") from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise UnsupportedFile(f"{source} is not a regular file")
        yield fd, _signature(found)
    except OSError as error:
        raise StorageFailed(f"cannot read {source}: {error.strerror}", hint="check the disk") from error
    finally:
        os.close(fd)


class _Block(NamedTuple):
    """`length` bytes of the file, in `buffer` from CHUNK_BYTES_MAX on: before it, there is room for an unfinished chunk."""

    buffer: bytearray
    length: int


def chunks_of(fd: int, threads: Executor, whole: _Hash) -> Generator[Chunks, None, None]:
    """The chunks of an open file in order, about a block of them at a time, until the file ends.

    What is yielded is only valid until the next is asked for. `whole` has digested the file when this is exhausted.

    Args:
        threads: two of them are kept busy.
    """
    free = deque(bytearray(CHUNK_BYTES_MAX + BLOCK_BYTES) for _ in range(BUFFERS))
    reading = threads.submit(_fill, fd, free.popleft(), whole)
    pending: list[Future[Any]] = [reading]
    try:
        done: tuple[Chunks, bytearray] | None = None
        rest, is_last = b"", False
        while not is_last:
            block = reading.result()
            is_last = block.length < BLOCK_BYTES
            cutting = threads.submit(_cut, block, rest, is_last)
            if not is_last:
                reading = threads.submit(_fill, fd, free.popleft(), whole)
            pending = [reading, cutting]
            if done is not None:
                yield done[0]
                free.append(done[1])
            chunks, rest = cutting.result()
            done = chunks, block.buffer
        if done is not None:
            yield done[0]
    finally:
        wait(pending)  # they use the descriptor, which the caller is about to close


def _fill(fd: int, buffer: bytearray, whole: _Hash) -> _Block:
    """Read the next block, shorter only at the end."""
    view = memoryview(buffer)[CHUNK_BYTES_MAX:]
    length = 0
    while length < BLOCK_BYTES and (got := os.readv(fd, [view[length:]])):
        length += got
    whole.update(view[:length])
    return _Block(buffer, length)


def _cut(block: _Block, rest: bytes, is_last: bool) -> tuple[Chunks, bytes]:
    """The chunks of `rest` and the block, and the bytes at the end that belong to the next chunk."""
    start, end = CHUNK_BYTES_MAX - len(rest), CHUNK_BYTES_MAX + block.length
    block.buffer[start:CHUNK_BYTES_MAX] = rest
    view = memoryview(block.buffer)
    lengths = cut_points(view[start:end]) if start < end else []
    if lengths and not is_last:
        lengths.pop()
    chunks: Chunks = []
    for length in lengths:
        chunk = view[start : start + length]
        chunks.append((Digest(sha256(chunk).digest()), chunk))
        start += length
    return chunks, bytes(view[start:end])
