"""The layout of the cache's files: segments of records, and the slots of the index.

    v1/lock            held (flock) while segments are made or removed, and while the index is replaced
    v1/index           hash table: where each object probably is
    v1/counts          hits and misses, two u64
    v1/segments/ID     objects one after another; held (flock) by the process that appends to it
    v1/pins/NAME       the marks of the objects that one scope pins

A segment is its header, the time of last use of each of its records (u64, ns), and the records, each with a header that
says all about it. The index is only a hint, and may lose or invent anything: a record is believed when its header is the
expected one and its bytes have the digest. Numbers are little-endian.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from artfs.model.digest import Digest, ObjectKey, ObjectKind

VERSION_DIRECTORY = "v1"
PAGE_BYTES = 4096

SEGMENT_MAGIC = b"artfscs\1"
_SEGMENT_HEADER = struct.Struct("<8sQQI36x")  # magic, capacity in bytes, tail (0 while appended to), records at most
SEGMENT_HEADER_BYTES = _SEGMENT_HEADER.size

UNUSED = 0  # stamps: no record of this number yet
DEAD = 1  # a record that was removed
PINNED = 1 << 63

_RECORD_MAGIC = 0x31636572
_RECORD_HEADER = struct.Struct("<IBBHII16s32s")  # magic, kind, codec (0: raw), zero, length, number, project, digest
RECORD_HEADER_BYTES = _RECORD_HEADER.size

SLOT = struct.Struct("<QIIII")  # mark, segment, offset, length, number
SLOT_BYTES = SLOT.size
OFFSET_MAX = 0xFFFFFFFF


class SegmentHeader(NamedTuple):
    """`tail_bytes` is where the records end, 0 while a process appends (or died appending)."""

    capacity_bytes: int
    tail_bytes: int
    records_max: int

    @property
    def data_start(self) -> int:
        return round_up(SEGMENT_HEADER_BYTES + 8 * self.records_max)


class Record(NamedTuple):
    """One object in a segment: `offset` is of its header, `length` of its bytes behind it."""

    number: int
    offset: int
    length: int
    project_uid: bytes
    key: ObjectKey

    @property
    def end(self) -> int:
        return self.offset + RECORD_HEADER_BYTES + self.length


class Slot(NamedTuple):
    """An entry of the index."""

    mark: int
    segment: int
    offset: int
    length: int
    number: int


def mark_of(project_uid: bytes, key: ObjectKey) -> int:
    """64 bits that stand for an object of a project; never 0."""
    return (
        int.from_bytes(key.digest[:8], "little") ^ int.from_bytes(project_uid[:8], "little") ^ (key.kind << 20)
    ) or 1


def round_up(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


def segment_header_for(capacity_bytes: int) -> SegmentHeader:
    """The header of a new segment of about that size: space is wasted when objects average less than 2 KiB."""
    return SegmentHeader(capacity_bytes, 0, max(8, capacity_bytes // 2048))


def stamp_offset(number: int) -> int:
    """Where in its segment record `number`'s time of last use is."""
    return SEGMENT_HEADER_BYTES + 8 * number


def encode_segment_header(header: SegmentHeader) -> bytes:
    return _SEGMENT_HEADER.pack(SEGMENT_MAGIC, *header)


def decode_segment_header(data: bytes) -> SegmentHeader | None:
    """The header in `data`, or None if there is none that makes sense."""
    if len(data) != SEGMENT_HEADER_BYTES:
        return None
    magic, capacity, tail, records_max = _SEGMENT_HEADER.unpack(data)
    header = SegmentHeader(capacity, tail, records_max)
    plausible = magic == SEGMENT_MAGIC and header.data_start <= capacity <= OFFSET_MAX and tail <= capacity
    return header if plausible else None


def encode_record_header(project_uid: bytes, key: ObjectKey, length: int, number: int) -> bytes:
    return _RECORD_HEADER.pack(_RECORD_MAGIC, key.kind, 0, 0, length, number, project_uid, key.digest)


def decode_record_header(data: bytes, offset: int) -> Record | None:
    """The record whose header is `data`, or None if that is not one."""
    if len(data) != RECORD_HEADER_BYTES:
        return None
    magic, kind, codec, zero, length, number, project_uid, digest = _RECORD_HEADER.unpack(data)
    if magic != _RECORD_MAGIC or codec or zero or kind not in ObjectKind._value2member_map_:
        return None
    return Record(number, offset, length, project_uid, ObjectKey(ObjectKind(kind), Digest(digest)))
