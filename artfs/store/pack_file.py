"""Writing a pack to a local file as a stream, and reading one back, from wherever it is, with everything checked.

One `PackWriter` has one owner, who calls `finish` or `discard`. Clock and randomness are arguments: the header comes from
the caller. What the bytes of a pack mean is `artfs.model.pack`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from artfs.errors import DamagedObject, DamagedPack
from artfs.model import codec
from artfs.model.digest import Digest, ObjectKey
from artfs.model.pack import (
    FOOTER_BYTES,
    HEADER_BYTES,
    PackedObject,
    PackHeader,
    decode_footer,
    decode_header,
    decode_index,
    encode_header,
    encode_tail,
)
from artfs.store.durable import FILE_MODE, reported, storage_error
from artfs.store.owned import OwnedPart
from artfs.store.pack_bytes import LocalPackBytes, PackBytes

Bytes = bytes | memoryview

PACK_ID_BYTES = 16
_BUFFER_BYTES = 1 << 20


def new_pack_header(project_uid: bytes, now_ns: int, random_bytes: Callable[[int], bytes] = os.urandom) -> PackHeader:
    """The header of a pack that begins now, under an id of its own."""
    return PackHeader(random_bytes(PACK_ID_BYTES), project_uid, now_ns)


class PackWriter:
    """A pack under construction at `path`, which must not exist yet.

    Args:
        part: the directory that it is in, if that is to go with it.

    Attributes:
        header: what the pack says of itself.
        objects: what is in it so far, in order.
        size_bytes: its length so far, without index and footer.
        unpacked_bytes: how much all objects are, decoded.

    Raises StorageFull or StorageFailed; then `discard` it.
    """

    def __init__(self, path: Path, header: PackHeader, part: OwnedPart | None = None) -> None:
        self.path = path
        self._part = part
        self.header = header
        self.objects: list[PackedObject] = []
        self.size_bytes = HEADER_BYTES
        self.unpacked_bytes = 0
        with reported("create the pack", path):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            self._file = os.fdopen(fd, "wb", _BUFFER_BYTES)
        self._write(encode_header(header))

    @classmethod
    def in_spool(cls, spool: Path, header: PackHeader) -> Self:
        """A pack in a directory of `spool` that goes with its process: who opens the registry next removes what was left."""
        part = OwnedPart(spool)
        try:
            return cls(part.path / f"{header.pack_id.hex()}.pack", header, part)
        except BaseException:
            part.remove()
            raise

    def add(self, key: ObjectKey, data: Bytes) -> PackedObject:
        """Append an object, compressed where that pays. `key.digest` is not recomputed."""
        how, stored = codec.encode(data)
        return self.add_encoded(key, len(data), how, stored)

    def add_encoded(self, key: ObjectKey, size_bytes: int, how: int, stored: Bytes) -> PackedObject:
        """Append an object that is already `stored` by codec `how`; `size_bytes` is its decoded length."""
        placed = PackedObject(key, size_bytes, how, self.size_bytes, len(stored))
        self._write(stored)
        self.objects.append(placed)
        self.size_bytes += len(stored)
        self.unpacked_bytes += size_bytes
        return placed

    def finish(self) -> Path:
        """Write index and footer, make the file's content durable, close it and return its path."""
        self._write(encode_tail(self.header, self.objects))
        with reported("write the pack", self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return self.path

    def discard(self) -> None:
        """Close and remove the file, finished or not. Repeatable."""
        with suppress(OSError):  # a buffer that a full disk did not take
            self._file.close()
        with suppress(OSError):
            self.path.unlink()
        if self._part is not None:
            self._part.remove()

    def _write(self, data: Bytes) -> None:
        try:  # not `reported`: a context manager costs more than the write of a small object
            self._file.write(data)
        except OSError as error:
            raise storage_error(error, "write the pack", self.path) from error


class PackReader:
    """A finished pack, opened and its header and index checked.

    Args:
        source: a local file, or an opened pack, which the reader closes.

    Attributes:
        header: what the pack says of itself.
        objects: its objects, in the order of their bytes.
        size_bytes: the pack's length.

    Raises DamagedPack, NewerFormat, StorageFailed, and FileNotFoundError when there is no such file.
    """

    def __init__(self, source: Path | PackBytes) -> None:
        self._bytes: PackBytes = LocalPackBytes(source) if isinstance(source, Path) else source
        try:
            self._open()
        except BaseException:
            self._bytes.close()
            raise

    def _open(self) -> None:
        self.size_bytes = self._bytes.size_bytes
        header = self._bytes.pread(0, HEADER_BYTES)
        self.header = decode_header(header)
        footer = self._bytes.pread(max(HEADER_BYTES, self.size_bytes - FOOTER_BYTES), FOOTER_BYTES)
        offset, length = decode_footer(footer, self.size_bytes)
        self.objects = decode_index(header, self._bytes.pread(offset, length), footer)

    def read_stored(self, placed: PackedObject) -> bytes:
        """An object's bytes as stored, unverified. Raises DamagedPack when the file is short."""
        stored = self._bytes.pread(placed.offset, placed.stored_bytes)
        if len(stored) != placed.stored_bytes:
            raise DamagedPack(f"{self._bytes.label} ends within an object")
        return stored

    def read(self, placed: PackedObject) -> Bytes:
        """An object's bytes, decoded and verified. Raises DamagedObject."""
        data = codec.decode(placed.codec, self.read_stored(placed), placed.size_bytes)
        if Digest.of(data) != placed.key.digest:
            raise DamagedObject(f"the bytes of {placed.key} in {self._bytes.label} do not match its digest")
        return data

    def verified(self) -> Iterator[tuple[PackedObject, Bytes]]:
        """Every object with its verified bytes, in order."""
        return ((placed, self.read(placed)) for placed in self.objects)

    def close(self) -> None:
        self._bytes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
