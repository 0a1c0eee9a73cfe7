"""One segment file: appended to by one process, read by all, removed whole.

A segment never changes where something was written, except for the times of last use at its head. Raises OSError.
Owners: the appender owns its tail; stamps are written by anybody, the last one wins.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from artfs.cache.directory import CacheDirectory, OwnedFile
from artfs.cache.layout import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    UNUSED,
    Record,
    SegmentHeader,
    decode_record_header,
    decode_segment_header,
    encode_record_header,
    encode_segment_header,
    segment_header_for,
    stamp_offset,
)
from artfs.model.digest import ObjectKey
from artfs.model.pack import OBJECT_BYTES_MAX

Bytes = bytes | memoryview
_BUFFERS_MAX = 1000  # of one pwritev; the kernel takes 1,024


class NewRecord(NamedTuple):
    """An object to be appended, and the stamp it gets."""

    project_uid: bytes
    key: ObjectKey
    data: Bytes
    stamp: int

    @property
    def stored_bytes(self) -> int:
        return RECORD_HEADER_BYTES + len(self.data)


class Segment:
    """An opened segment.

    Attributes:
        id: its number, never used again.
    """

    def __init__(self, id: int, file: OwnedFile, header: SegmentHeader) -> None:
        self.id = id
        self.file = file
        self.header = header

    @classmethod
    def open(cls, directory: CacheDirectory, id: int) -> Segment | None:
        """None if it is gone, or is no segment."""
        try:
            file = directory.open(str(id), os.O_RDWR, directory.segments)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.EISDIR):
                return None
            raise
        header = decode_segment_header(os.pread(file.fd, SEGMENT_HEADER_BYTES, 0))
        return None if header is None else cls(id, file, header)

    @classmethod
    def create(cls, directory: CacheDirectory, id: int, capacity_bytes: int) -> Segment:
        """A new segment with its space allocated, so that appending cannot fail for want of it."""
        file = directory.open(str(id), os.O_RDWR | os.O_CREAT | os.O_EXCL, directory.segments)
        header = segment_header_for(capacity_bytes)
        try:
            os.posix_fallocate(file.fd, 0, capacity_bytes)
            _write_all(file.fd, [encode_segment_header(header)], 0)
        except OSError:
            directory.remove(str(id), directory.segments)
            raise
        return cls(id, file, header)

    def read(self, project_uid: bytes, key: ObjectKey, place: Record) -> memoryview | None:
        """The bytes at `place` if that is a record of `key`; not yet verified."""
        if place.length > OBJECT_BYTES_MAX or place.end > self.header.capacity_bytes:
            return None
        stored = memoryview(os.pread(self.file.fd, RECORD_HEADER_BYTES + place.length, place.offset))
        if len(stored) != RECORD_HEADER_BYTES + place.length:
            return None
        expected = encode_record_header(project_uid, key, place.length, place.number)
        return stored[RECORD_HEADER_BYTES:] if stored[:RECORD_HEADER_BYTES] == expected else None

    def read_at_once(self, project_uid: bytes, key: ObjectKey, place: Record) -> memoryview | None:
        """The same, and None too if that would have to wait for a disk. Raises OSError where it cannot be told."""
        if place.end > self.header.capacity_bytes:
            return None
        stored = bytearray(RECORD_HEADER_BYTES + place.length)
        if os.preadv(self.file.fd, [stored], place.offset, os.RWF_NOWAIT) != len(stored):
            return None
        if stored[:RECORD_HEADER_BYTES] != encode_record_header(project_uid, key, place.length, place.number):
            return None
        return memoryview(stored)[RECORD_HEADER_BYTES:]

    def set_stamp(self, number: int, stamp: int) -> None:
        if number < self.header.records_max:
            os.pwrite(self.file.fd, stamp.to_bytes(8, "little"), stamp_offset(number))

    def stamps(self) -> array[int]:
        """The time of last use of each record, in order; `DEAD` and `PINNED` are special."""
        stamps = array("Q")
        data = os.pread(self.file.fd, 8 * self.header.records_max, SEGMENT_HEADER_BYTES)
        stamps.frombytes(data[: len(data) // 8 * 8])
        try:
            return stamps[: stamps.index(UNUSED)]
        except ValueError:
            return stamps

    def records(self) -> Iterator[Record]:
        """All records, dead ones too, up to the end or the first damage."""
        offset = self.header.data_start
        end = os.fstat(self.file.fd).st_size
        number = 0
        while offset + RECORD_HEADER_BYTES <= end:
            record = decode_record_header(os.pread(self.file.fd, RECORD_HEADER_BYTES, offset), offset)
            if record is None or record.end > end or record.number != number:
                return
            yield record
            offset = record.end
            number += 1

    def is_gone(self) -> bool:
        """Whether it was discarded, or is being."""
        stat = os.fstat(self.file.fd)
        return not stat.st_nlink or not stat.st_size

    def is_sealed(self) -> bool:
        header = decode_segment_header(os.pread(self.file.fd, SEGMENT_HEADER_BYTES, 0))
        return header is not None and header.tail_bytes > 0

    def discard(self, directory: CacheDirectory) -> None:
        """Remove it. Its space is free at once, also when others have it open; they find nothing in it."""
        os.ftruncate(self.file.fd, 0)
        with suppress(FileNotFoundError):
            directory.remove(str(self.id), directory.segments)


class Appender:
    """The end of a segment that this process holds locked.

    Args:
        tail_bytes, records: where its records end, and how many there are.
    """

    def __init__(self, segment: Segment, tail_bytes: int, records: int) -> None:
        self.segment = segment
        self._tail = tail_bytes
        self._records = records

    @classmethod
    def at_end_of(cls, segment: Segment) -> Appender:
        """Find the end by walking the records: what a process that died left behind them is overwritten."""
        tail, count = segment.header.data_start, 0
        for record in segment.records():
            tail, count = record.end, record.number + 1
        return cls(segment, tail, count)

    def room_for(self, sizes: Sequence[int]) -> int:
        """How many of records of these stored sizes fit, from the first."""
        space = self.segment.header.capacity_bytes - self._tail
        fitting = 0
        for size in sizes[: self.segment.header.records_max - self._records]:
            space -= size
            if space < 0:
                break
            fitting += 1
        return fitting

    def append(self, new: Sequence[NewRecord]) -> list[Record]:
        """Write records, which must fit. They count as soon as this returns."""
        buffers: list[Bytes] = []
        placed: list[Record] = []
        offset = self._tail
        for number, record in enumerate(new, self._records):
            header = encode_record_header(record.project_uid, record.key, len(record.data), number)
            buffers += (header, record.data)
            placed.append(Record(number, offset, len(record.data), record.project_uid, record.key))
            offset = placed[-1].end
        fd = self.segment.file.fd
        _write_all(fd, buffers, self._tail)
        stamps = array("Q", [record.stamp for record in new])
        _write_all(fd, [stamps.tobytes()], stamp_offset(self._records))
        self._tail = offset
        self._records += len(new)
        return placed

    def seal(self) -> None:
        """Give back the space that is left. The segment may be appended to again later, by whoever locks it."""
        segment = self.segment
        fd = segment.file.fd
        if self._records:
            left = segment.stamps()[self._records :]  # of records that a crash cut off
            if left:
                os.pwrite(fd, bytes(8 * len(left)), stamp_offset(self._records))
        header = segment.header._replace(tail_bytes=self._tail)
        os.pwrite(fd, encode_segment_header(header), 0)
        os.ftruncate(fd, self._tail)

    def reopen(self) -> None:
        """Allocate the space of a sealed segment again, to append to it."""
        segment = self.segment
        os.posix_fallocate(segment.file.fd, 0, segment.header.capacity_bytes)
        segment.header = segment.header._replace(tail_bytes=0)
        os.pwrite(segment.file.fd, encode_segment_header(segment.header), 0)


def _write_all(fd: int, buffers: Sequence[Bytes], offset: int) -> None:
    for first in range(0, len(buffers), _BUFFERS_MAX):
        part = buffers[first : first + _BUFFERS_MAX]
        wanted = sum(map(len, part))
        if os.pwritev(fd, part, offset) != wanted:
            raise OSError(errno.ENOSPC, "a write to the cache was cut short")
        offset += wanted
