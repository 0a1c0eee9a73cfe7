"""The layout of a pack: header, objects one after another, index, footer. docs/formats.md specifies every byte.

A pack describes itself: from its bytes alone its objects can be found, verified and registered again. Children precede
parents within a pack, and a pack's index lists objects in the order of their bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import accumulate
from typing import NamedTuple

import msgspec

from artfs.errors import DamagedPack, NewerFormat
from artfs.model.digest import DIGEST_BYTES, Digest, ObjectKey, ObjectKind

PACK_FORMAT = 1
PACK_BYTES_TARGET = 32 << 20
PACK_OBJECTS_MAX = 65_536
UNPACKED_BYTES_TARGET = 4 << 30  # of all objects of a pack, decoded
UNPACKED_BYTES_MAX = 8 << 30  # that a registry takes from others: some ten seconds of work
INDEX_BYTES_MAX = 16 << 20
OBJECT_BYTES_MAX = 64 << 20

_MAGIC = b"artfspk\n"
_END_MAGIC = b"\nkpsftra"
_HEADER = struct.Struct("<8sHH4x16s16sQ")  # magic, format, flags, pack id, project uid, creation time in ns
_FOOTER = struct.Struct("<QQ32s8s")  # index offset, index length, SHA-256 of header and index, magic
HEADER_BYTES = _HEADER.size
FOOTER_BYTES = _FOOTER.size


class PackHeader(NamedTuple):
    """What a pack says of itself: its id and its project's, 16 random bytes each, and when its objects entered."""

    pack_id: bytes
    project_uid: bytes
    created_at_ns: int


class PackedObject(NamedTuple):
    """One object's place in a pack.

    `size_bytes` is its length decoded, `stored_bytes` its length in the pack from `offset`.
    """

    key: ObjectKey
    size_bytes: int
    codec: int
    offset: int
    stored_bytes: int


class _IndexRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    kinds: bytes
    codecs: bytes
    digests: bytes
    sizes: list[int]
    stored: list[int]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_IndexRow)


def encode_header(header: PackHeader) -> bytes:
    return _HEADER.pack(_MAGIC, PACK_FORMAT, 0, header.pack_id, header.project_uid, header.created_at_ns)


def decode_header(data: bytes) -> PackHeader:
    """Read the first `HEADER_BYTES` of a pack. Raises DamagedPack or NewerFormat."""
    if len(data) != HEADER_BYTES:
        raise DamagedPack("a pack is shorter than its header")
    magic, pack_format, flags, pack_id, project_uid, created_at_ns = _HEADER.unpack(data)
    if magic != _MAGIC:
        raise DamagedPack("a pack does not begin as a pack")
    if pack_format > PACK_FORMAT:
        raise NewerFormat(f"a pack of format {pack_format}", hint="upgrade artfs")
    if flags:
        raise DamagedPack("a pack's header has unknown flags")
    return PackHeader(pack_id, project_uid, created_at_ns)


def encode_tail(header: PackHeader, objects: Sequence[PackedObject]) -> bytes:
    """The index and the footer that follow the last object's bytes."""
    index = _encoder.encode(
        _IndexRow(
            bytes(o.key.kind for o in objects),
            bytes(o.codec for o in objects),
            b"".join(o.key.digest for o in objects),
            [o.size_bytes for o in objects],
            [o.stored_bytes for o in objects],
        )
    )
    offset = objects[-1].offset + objects[-1].stored_bytes if objects else HEADER_BYTES
    checksum = sha256(encode_header(header) + index).digest()
    return index + _FOOTER.pack(offset, len(index), checksum, _END_MAGIC)


def decode_footer(data: bytes, pack_bytes: int) -> tuple[int, int]:
    """Offset and length of the index, from the last `FOOTER_BYTES` of a pack of `pack_bytes`. Raises DamagedPack."""
    offset, length = index_place(data)
    if length > INDEX_BYTES_MAX or offset < HEADER_BYTES or offset + length + FOOTER_BYTES != pack_bytes:
        raise DamagedPack("a pack's footer contradicts its length")
    return offset, length


def index_place(footer: bytes) -> tuple[int, int]:
    """Offset and length of the index, from a footer alone. Raises DamagedPack."""
    if len(footer) != FOOTER_BYTES:
        raise DamagedPack("a pack is shorter than its footer")
    offset, length, _, magic = _FOOTER.unpack(footer)
    if magic != _END_MAGIC:
        raise DamagedPack("a pack does not end as a pack: it was cut short or overwritten")
    return offset, length


def decode_index(header: bytes, index: bytes, footer: bytes) -> list[PackedObject]:
    """The objects of a pack, from its three parts. Raises DamagedPack unless checksum, order and lengths all hold."""
    offset, length, checksum, _ = _FOOTER.unpack(footer)
    if len(index) != length or sha256(header + index).digest() != checksum:
        raise DamagedPack("a pack's index does not match its checksum")
    objects = decode_places(index)
    end = objects[-1].offset + objects[-1].stored_bytes if objects else HEADER_BYTES
    if end != offset:
        raise DamagedPack("a pack's objects do not fill the space before its index")
    return objects


def decode_places(index: bytes) -> list[PackedObject]:
    """The objects that an index names, unchecked: for whoever verifies each object anyway. Raises DamagedPack."""
    try:
        row = _decoder.decode(index)
    except (msgspec.DecodeError, ValueError) as error:
        raise DamagedPack(f"a pack's index does not decode: {error}") from None
    return list(_objects(row))


def _objects(row: _IndexRow) -> Iterator[PackedObject]:
    count = len(row.sizes)
    if {len(row.kinds), len(row.codecs), len(row.stored), len(row.digests) // DIGEST_BYTES} != {count}:
        raise DamagedPack("a pack's index has columns of different lengths")
    if count > PACK_OBJECTS_MAX or len(row.digests) % DIGEST_BYTES:
        raise DamagedPack("a pack's index has too many objects or a cut digest")
    if min((*row.sizes, *row.stored), default=0) < 0 or max(row.sizes, default=0) > OBJECT_BYTES_MAX:
        raise DamagedPack("a pack's index has an impossible size")
    starts = accumulate(row.stored, initial=HEADER_BYTES)
    for i, offset in zip(range(count), starts, strict=False):
        try:
            kind = ObjectKind(row.kinds[i])
        except ValueError:
            raise DamagedPack(f"a pack's index has an object of unknown kind {row.kinds[i]}") from None
        key = ObjectKey(kind, Digest(row.digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]))
        yield PackedObject(key, row.sizes[i], row.codecs[i], offset, row.stored[i])
