"""How an object's bytes are stored in a pack: as they are, or compressed where that pays.

The codec is a property of the stored copy, never of the object: the digest is of the decoded bytes.
"""

from __future__ import annotations

import threading
from enum import IntEnum

import zstandard

from artfs.errors import DamagedObject, NewerFormat
from artfs.model.pack import OBJECT_BYTES_MAX

LEVEL = 3
WORTH = 0.93  # compressed bytes per byte above which an object is stored raw: decoding costs more than it saves
SAMPLE_BYTES = 64 << 10
SMALLEST_BYTES = 128


class Codec(IntEnum):
    """The numbers are stored: never reuse one (2 is kept for encrypted)."""

    RAW = 0
    ZSTD = 1


class _Local(threading.local):
    """zstandard's contexts must not be shared by threads."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
        self.decompressor = zstandard.ZstdDecompressor()


_local = _Local()


def encode(data: bytes | memoryview) -> tuple[Codec, bytes | memoryview]:
    """`data` as it is to be stored, and the codec that says how."""
    size = len(data)
    if size < SMALLEST_BYTES:
        return Codec.RAW, data
    compressor = _local.compressor
    if size > 2 * SAMPLE_BYTES:
        middle = size // 2
        sample = compressor.compress(data[middle : middle + SAMPLE_BYTES])
        if len(sample) > SAMPLE_BYTES * WORTH:
            return Codec.RAW, data
    stored = compressor.compress(data)
    return (Codec.ZSTD, stored) if len(stored) <= size * WORTH else (Codec.RAW, data)


def decode(codec: int, stored: bytes | memoryview, size_bytes: int) -> bytes | memoryview:
    """The object's bytes. Raises DamagedObject if they do not decode to exactly `size_bytes`; never allocates more."""
    if size_bytes > OBJECT_BYTES_MAX:  # a registry said so: nothing larger was ever stored
        raise DamagedObject(f"an object of {size_bytes} bytes, where {OBJECT_BYTES_MAX} are the most")
    if codec == Codec.RAW:
        data = stored
    elif codec == Codec.ZSTD:
        try:
            declared = zstandard.frame_content_size(stored)
            if declared != size_bytes:
                raise DamagedObject(f"a compressed object declares {declared} bytes where {size_bytes} belong")
            data = _local.decompressor.decompress(stored, max_output_size=size_bytes)
        except zstandard.ZstdError as error:
            raise DamagedObject(f"a compressed object does not decode: {error}") from None
    else:
        raise NewerFormat(f"an object stored with codec {codec}", hint="upgrade artfs")
    if len(data) != size_bytes:
        raise DamagedObject(f"an object is {len(data)} bytes where {size_bytes} belong")
    return data
